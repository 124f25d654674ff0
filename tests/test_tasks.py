"""What tasks show and look up, without a server."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dblog_tasks.dashboards import ledger_table, radius
from dblog_tasks.errors import InvalidCheckpoint, InvalidInput, MalformedPlan
from dblog_tasks.event import Checkpoint, Position, Source
from dblog_tasks.ledger import Ledger
from dblog_tasks.part import LogPart
from dblog_tasks.plan import Conflicts, Plan, manifest_of, write_manifest
from dblog_tasks.planning import PlanRequest
from dblog_tasks.tasks import PlanJob, artifact_key, follow_plans, opened

SECRET = "hunter2-of-the-shop"  # noqa: S105 - what must not be told


def plan_of(table: str) -> Plan:
    """Return a plan over one table."""
    end = Checkpoint(Source("mysql", "shop"), Position("mysql", "shop.000001:400"), "id")
    ledger = Ledger(total=9, undone=1, rows_undone=5)
    ledger.not_needed["structure"] += 6
    ledger.omitted["statement format"] += 2
    part = LogPart(
        ("shop.000001", "id"),
        Checkpoint(),
        end,
        ledger,
        tables={table: {"delete": 5}},
        partly=(3, (table,)),
        omissions={"statement format": "use rows"},
    )
    return Plan("out", manifest_of("mysql", end.source, {}, [part], Conflicts(2, 1, unknown={table: "no key"})))


def job(*options: str, schema: str = "") -> PlanJob:
    """Return a job with these storage options."""
    return PlanJob(PlanRequest("mysql", ("log",), "out", "shop", schema=schema), options)


@pytest.mark.parametrize(
    ("source", "key"),
    [("shop", "dblog-plan-shop"), ("Shop_1.EU/prod", "dblog-plan-shop-1-eu-prod"), ("лавка", "dblog-plan"), ("-", "dblog-plan")],
)
def test_artifact_key_holds_what_prefect_allows(source: str, key: str) -> None:
    """Any source gives a key of lower case letters, digits and hyphens."""
    assert key == artifact_key("plan", source)


def test_radius_tells_what_is_touched() -> None:
    """Tables, conflicts and partly selected transactions are there."""
    text = radius(plan_of("shop.orders"))

    assert "# 5 rows in 0 transactions: NOT SAFE" in text
    assert "| shop.orders | 0 | 0 | 5 | 0 |" in text
    assert "**2 hard**, 1 soft" in text
    assert "**3 transactions are undone in part**: they also changed shop.orders." in text
    assert "Not compared: shop.orders (no key)." in text


def test_name_in_the_log_cannot_change_the_page() -> None:
    """A table named like Markdown or HTML stays a name in its cell."""
    text = radius(plan_of("shop.a|b\n# <script>`x`"))

    assert r"| shop.a\|b \# \<script\>\`x\` | 0 |" in text
    assert "<script>" not in text


def test_ledger_table_ends_with_the_total() -> None:
    """Every verdict is a line, an omission with its fix, and the last says what was read."""
    lines = [tuple(line.values()) for line in ledger_table(plan_of("shop.orders"))]

    assert [
        (1, "undone", "5 rows", ""),
        (6, "not needed", "structure", ""),
        (2, "omitted", "statement format", "use rows"),
        (9, "read", "balanced", ""),
    ] == lines


def test_options_of_run_and_machine_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a run is given wins over the settings; groups are merged; a schema may be looked up."""
    monkeypatch.setenv("DBLOG_STORAGE_OPTIONS__KEY", "machine")
    monkeypatch.setenv("DBLOG_STORAGE_OPTIONS__CLIENT_KWARGS__REGION_NAME", "eu")
    monkeypatch.setenv("DBLOG_TEST_SECRET", SECRET)
    request = opened(job("key=env:DBLOG_TEST_SECRET", "client_kwargs.endpoint_url=http://127.0.0.1:9", schema="env:DBLOG_TEST_SECRET"))

    assert {"key": SECRET, "client_kwargs": {"region_name": "eu", "endpoint_url": "http://127.0.0.1:9"}} == request.storage_options
    assert SECRET == request.schema


def test_a_run_without_an_index_folder_takes_that_of_its_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the run is given wins."""
    monkeypatch.setenv("DBLOG_INDEX", "s3://indexes")
    given = job()

    found = [opened(one).index for one in (given, replace(given, request=replace(given.request, index="here")))]

    assert ["s3://indexes", "here"] == found


@pytest.mark.parametrize(
    "bad",
    [
        job(schema="env:DBLOG_TEST_NONE"),
        job(schema=f"mysql://root:{SECRET}@shop/db"),
        job(f"secret={SECRET}"),
        job("key=env:DBLOG_TEST_NONE"),
    ],
)
def test_secret_that_is_written_out_or_missing_is_refused(bad: PlanJob) -> None:
    """The error names the option and not the secret."""
    with pytest.raises(InvalidInput) as caught:
        opened(bad)

    assert SECRET not in str(caught.value)


def at(position: str) -> Checkpoint:
    """Return a checkpoint of the shop's log."""
    return Checkpoint(Source("mysql", "shop"), Position("mysql", position), "id") if position else Checkpoint()


@pytest.mark.parametrize(
    "windows",
    [
        [("", "")],
        [("", "shop.000001:400"), ("shop.000001:400", "shop.000001:400")],
        [("", "shop.000001:400"), ("shop.000001:400", "")],
    ],
)
def test_plans_that_lead_nowhere_are_refused(tmp_path: Path, windows: list[tuple[str, str]]) -> None:
    """A plan that ends where it or one before it starts is an error, not a circle."""
    given = PlanJob(PlanRequest("mysql", ("log",), str(tmp_path), "shop"))
    for start, end in windows:
        part = LogPart(("shop.000001", "id"), at(start), at(end), Ledger())
        manifest = manifest_of("mysql", given.source, given.request.filter, [part], Conflicts())
        write_manifest(given.starting_at(at(start)).request.out, manifest, {})

    with pytest.raises(MalformedPlan, match="does not lead further"):
        follow_plans.fn(given, Checkpoint(), certain=True)


def test_plan_of_another_filter_is_refused(tmp_path: Path) -> None:
    """What lies where the next plan goes, and is of something else, is left alone."""
    given = PlanJob(PlanRequest("mysql", ("log",), str(tmp_path), "shop"))
    part = LogPart(("shop.000001", "id"), Checkpoint(), at("shop.000001:400"), Ledger())
    write_manifest(given.starting_at(Checkpoint()).request.out, manifest_of("mysql", given.source, {}, [part], Conflicts()), {})

    with pytest.raises(InvalidCheckpoint, match="another log or filter"):
        follow_plans.fn(given, Checkpoint(), certain=True)
