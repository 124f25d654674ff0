"""The text a person decides by: says what the plan or the survey says, fits the screen, and cannot be made to lie by a log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta, timezone
import json
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from dblog_tasks.event import Checkpoint, Column, CommandChange, Position, Source
from dblog_tasks.ledger import Ledger
from dblog_tasks.part import LogPart, PartWriter
from dblog_tasks.plan import Conflicts, Plan, manifest_of, read_plan
from dblog_tasks.planning import PlanRequest, make_plan, selection
from dblog_tasks.report import plan_json, summary, value_text
from dblog_tasks.text import WIDTH
from dblog_tasks.verdict import verdict

MakePlan: TypeAlias = Callable[..., Plan]


@pytest.fixture
def plan_of(corpus: Path, tmp_path: Path) -> MakePlan:
    """`plan_of(folder, **what)` is a plan of the shop with these words of `selection`."""

    def make(folder: str = "shop", schema: str = "", **what: Any) -> Plan:
        made = make_plan(
            PlanRequest("mysql", (str(corpus / folder / "shop.00*"),), str(tmp_path / "plan"), selection=selection(**what), schema=schema)
        )
        assert made is not None
        return made

    return make


@pytest.fixture
def accident(corpus: Path, plan_of: MakePlan) -> Plan:
    """The plan that undoes the shop's accident."""
    named = json.loads((corpus / "shop" / "accident.json").read_text())["transactions"]
    return plan_of(transactions=[transaction["gtid"] for transaction in named])


def entry(text: str, name: str) -> str:
    """Return what stands after a name at the beginning of a line."""
    return next(line.removeprefix(name).strip() for line in text.splitlines() if line.startswith(name))


def changed(plan: Plan, **parts: Any) -> Plan:
    """Return the plan with other parts in its manifest."""
    return replace(plan, manifest={**plan.manifest, **parts})


def test_accident_is_one_screen(accident: Plan) -> None:
    """The undo of an accident says it is ready, in few lines of at most the width, and how to go on."""
    text = summary(accident)
    lines = text.splitlines()

    assert "READY" == lines[0]
    assert len(lines) <= 40
    assert [line for line in lines if len(line) > WIDTH and not line.startswith(("risks", "next", " " * 11))] == []
    assert f"dblog show {accident.url} --as sql > undo.sql" == entry(text, "next")
    assert entry(text, "plan").startswith(accident.id)


def test_rows_are_those_of_the_accident(accident: Plan, corpus: Path) -> None:
    """The table of what the undo does has the rows that the accident changed."""
    named = json.loads((corpus / "shop" / "accident.json").read_text())["transactions"]
    text = summary(accident)

    assert entry(text, "  shop.users").split() == ["-", str(named[1]["rows"][0]), str(named[1]["rows"][0])]
    assert entry(text, "  shop.orders").split() == [str(named[0]["rows"][0]), str(named[2]["rows"][0]), str(named[0]["rows"][0] + 1)]
    assert all(transaction["statements"][0] in text for transaction in named)


def test_samples_show_what_the_undo_does(accident: Plan, corpus: Path) -> None:
    """An updated row shows its change backwards, a deleted one its columns, labels by name; at most three of each table."""
    text = summary(accident)
    samples = text[text.index("samples") :].splitlines()

    assert any(line.startswith("  shop.orders id=150: restore total: 1250.00 -> ") for line in samples)
    assert any(line.startswith("  shop.order_items re-insert order_id=150, line=2, sku=") for line in samples)
    assert any("status=" in line and "status=1" not in line for line in samples)
    assert 3 == len([line for line in samples if line.startswith("  shop.users")])


def test_mask_hides_every_value(plan_of: MakePlan) -> None:
    """Under mask neither rows, keys nor statements show a value."""
    plan = plan_of(transactions=["0-1-1"])
    shown, masked = summary(plan), summary(plan, mask=True)

    assert "id=41" in shown
    assert "[41]" in shown
    assert "41]" not in masked
    assert "shop.users [***] by " in masked
    assert "id=***: restore balance: *** -> ***" in masked
    assert "UPDATE users" not in masked


def test_conflicts_are_told_with_row_column_and_author(plan_of: MakePlan) -> None:
    """A row that was changed again later makes the plan unsafe, and the screen says by what."""
    plan = plan_of(transactions=["0-1-1"])
    text = summary(plan)
    first = next(plan.conflicts())

    assert f"NOT SAFE: {plan.manifest['conflicts']['hard']} hard conflict" == text.splitlines()[0]
    line = entry(text, "  hard")
    assert line.startswith(f"shop.users [41] by {first['transaction']} at ")
    assert f": column changed {first['columns'][0]}, " in line
    assert f"dblog show {plan.url} --as json" == entry(text, "next")
    assert "known up to shop.000003:" in entry(text, "conflicts")


def test_plan_of_nothing_says_which_filter_left_it_out(plan_of: MakePlan) -> None:
    """A plan of no row shows how many events each filter removed."""
    plan = plan_of(tables=["nothing"])
    text = summary(plan)

    assert "NOTHING TO UNDO" == verdict(plan)
    assert f"{plan.ledger.not_needed['other table']} events  other table" in text
    assert "dblog inspect LOG --driver mysql" == entry(text, "next")


def test_omissions_come_with_their_fix(plan_of: MakePlan) -> None:
    """What cannot be undone is counted by reason, with what would help."""
    plan = plan_of("shop/nolog", tables=["orders"])
    text = summary(plan)

    assert f"NOTHING TO UNDO, {plan.ledger.omitted.total()} omitted" == verdict(plan)
    assert f"{plan.ledger.omitted.total()} events: the log has no column names; give --schema" in text


def test_partly_selected_transactions_are_told(plan_of: MakePlan) -> None:
    """A table filter that cuts transactions says how many and what else they touched."""
    plan = plan_of(tables=["orders"], kinds=["insert"])

    assert (
        f"{plan.manifest['transactions']['partly_selected']} transactions partly selected, also touched "
        in entry(summary(plan), "partly") + " "
    )
    assert "shop.order_items" in entry(summary(plan), "partly")


def test_window_is_told_in_utc_and_local_time(plan_of: MakePlan) -> None:
    """A window is shown as an instant and as the clock on the wall had it."""
    lines = summary(plan_of(since="2026-01-01T00:00:00Z"), zone=timezone(timedelta(hours=2))).splitlines()
    place = next(number for number, line in enumerate(lines) if line.startswith("window"))

    assert ["window     2026-01-01 00:00:00Z to the end", "           2026-01-01 02:00:00+0200 to the end, local time"] == lines[
        place : place + 2
    ]


def test_filters_are_told_in_words(plan_of: MakePlan) -> None:
    """Each predicate of the selection reads as a person asked for it."""
    plan = plan_of(tables=["orders", "users"], kinds=["!delete"], where="id = 150")

    assert "any time; table orders or table users; not kind delete; rows where id = 150" == entry(summary(plan), "filter")


def test_what_no_log_tells_is_a_risk(plan_of: MakePlan) -> None:
    """Of cascades and generated columns only a schema tells."""
    text = " ".join(summary(plan_of(transactions=["0-1-74"])).split())

    assert "triggers, cascades and engines of the target are not in a log" in text
    assert "without --schema foreign keys and generated columns are not known either" in text


def test_unknown_automatic_columns_are_a_risk(plan_of: MakePlan) -> None:
    """Columns that may set themselves are named where no schema said whether they do."""
    text = summary(plan_of(transactions=["0-1-74"]))

    assert "shop.users.updated_at" in entry(text, "risks")


@pytest.mark.parametrize(
    ("hard", "soft", "unknown", "omitted", "expected"),
    [
        (0, 0, {}, {}, "READY"),
        (0, 2, {}, {}, "READY, 2 soft conflicts"),
        (0, 1, {"s.t": "why"}, {}, "READY, 1 soft conflict, later changes unknown in 1 table"),
        (3, 2, {}, {"a": 5, "b": 7}, "NOT SAFE: 3 hard conflicts, 12 omitted"),
        (0, 0, {}, {"a": 1}, "NOT SAFE: 1 omitted"),
    ],
)
def test_verdict(accident: Plan, hard: int, soft: int, unknown: dict[str, str], omitted: dict[str, int], expected: str) -> None:
    """The first line says the worst there is."""
    conflicts = {**accident.manifest["conflicts"], "hard": hard, "soft": soft, "unknown": unknown}

    assert expected == verdict(changed(accident, conflicts=conflicts, ledger={**accident.manifest["ledger"], "omitted": omitted}))


def test_unbalanced_ledger_is_seen(accident: Plan) -> None:
    """Counts that do not agree do not look like ones that do."""
    ledger = accident.manifest["ledger"]

    assert " = " in entry(summary(accident), "ledger")
    assert " BUT " in entry(summary(changed(accident, ledger={**ledger, "total": ledger["total"] + 1})), "ledger")


def test_json_is_manifest_omissions_and_conflicts(plan_of: MakePlan) -> None:
    """The whole plan but its steps is there, as JSON can hold it."""
    plan = read_plan(plan_of(transactions=["0-1-1"]).url, {})
    found = plan_json(plan)

    assert found == json.loads(json.dumps(found))
    assert (plan.manifest, [], list(plan.conflicts())) == (found["manifest"], found["omitted"], found["conflicts"])


@dataclass(frozen=True)
class Command:
    """An event of a log of commands."""

    body: CommandChange
    position = Position("redis", "a.aof:8")
    transaction = None


def test_commands_are_sampled_with_their_grade(tmp_path: Path) -> None:
    """A plan of commands counts them by database and shows what the undo runs, its arguments only without mask."""
    ledger, end = Ledger(total=1), Checkpoint(Source("redis", "a"), Position("redis", "a.aof:8"))
    writer = PartWriter(str(tmp_path), "a.aof", ledger, {})
    writer.add(Command(CommandChange(2, (b"SET", b"key", b"new"), (b"DEL", b"key"), "exact")))  # type: ignore[arg-type]  # as far as needed
    segments = writer.finish()
    part = LogPart(("a.aof", "1"), Checkpoint(), end, ledger, segments, writer.tables)
    conflicts = Conflicts(unknown={"db2": "later commands are not compared"})
    plan = Plan(str(tmp_path), manifest_of("redis", end.source, {"selection": []}, [part], conflicts))

    assert "READY, later changes unknown in 1 table" == verdict(plan)
    assert "  db2 DEL key (exact)" in summary(plan).splitlines()
    assert "  db2 DEL *** (exact)" in summary(plan, mask=True).splitlines()
    assert f"dblog show {tmp_path} --as redis > undo.redis" == entry(summary(plan), "next")


@pytest.mark.parametrize(
    ("value", "column", "expected"),
    [
        (None, None, "NULL"),
        (-5, None, "-5"),
        ("a\nb\x1b[2J", None, "a b\\x1b[2J"),
        (b"\x00\xff", None, "0x00ff"),
        (b"session:1", None, "session:1"),
        ({"base64": "AP8="}, None, "base64 AP8="),
        (2, Column("c", "enum", labels=("new", "paid")), "paid"),
        (0, Column("c", "enum", labels=("new", "paid")), "0"),
        (5, Column("c", "set", labels=("a", "b", "c")), "a,c"),
        (0, Column("c", "set", labels=("a", "b", "c")), "''"),
        (9, Column("c", "set", labels=("a", "b", "c")), "9"),
        ("", None, "''"),
    ],
)
def test_value_is_shown_as(value: Any, column: Column | None, expected: str) -> None:
    """NULL, nothing, bytes and labels can be told apart."""
    assert expected == value_text(value, column)
