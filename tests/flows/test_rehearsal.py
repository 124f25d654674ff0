"""The flow `rehearsal` on two real MariaDB servers: one whose log it is, and a scratch one with a copy of its data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

from prefect import State
import pytest

from dblog_tasks.blocks import DatabaseTarget
from dblog_tasks.runs import last_table
from flows.plan_recovery import Selection, plan_recovery
from flows.rehearsal import rehearsal
from tests.flows.recovering import ACCOUNT, DAMAGED, PASSWORD, Shop, make_shop, rows_of
from tests.live.conftest import require
from tests.live.servers import MARIADB_PROGRAMS, MariaDB, mariadb_server

Rehearse: TypeAlias = Callable[..., State[Any]]


@pytest.fixture(scope="module")
def database() -> Iterator[MariaDB]:
    """The server whose log it is."""
    require(MARIADB_PROGRAMS)
    with mariadb_server() as server:
        yield server


@pytest.fixture(scope="module")
def scratch() -> Iterator[MariaDB]:
    """Another one."""
    with mariadb_server("--server-id=2") as server:
        server.sql(f"CREATE USER '{ACCOUNT}'@'localhost' IDENTIFIED BY '{PASSWORD}'; GRANT ALL ON *.* TO '{ACCOUNT}'@'localhost'")
        yield server


@pytest.fixture
def shop(database: MariaDB, scratch: MariaDB, server: Path, tmp_path: Path, source: str) -> Shop:
    """A shop of this test after the accident, with its copy on the scratch server."""
    shop = make_shop(database, "shop" + source.replace("-", ""), tmp_path)
    scratch.sql(database.schema_sql(shop.name) + f"USE {shop.name};" + database.dump(shop.name))
    return shop


@pytest.fixture
def rehearse(shop: Shop, scratch: MariaDB, tmp_path: Path) -> Rehearse:
    """`rehearse(**parameters)` runs the flow on the scratch server; return its last state."""
    run: Any = rehearsal
    block = DatabaseTarget(user=ACCOUNT, password=PASSWORD, database=shop.name, unix_socket=str(scratch.socket))
    block.save(f"scratch-{shop.name}", overwrite=True)
    given = {"source": shop.name, "scratch_target": f"block:scratch-{shop.name}", "out": str(tmp_path / "plans"), "logs": [logs_of(shop)]}
    return lambda **more: run(**{**given, **more}, return_state=True)


def logs_of(shop: Shop) -> str:
    """Return where the log of a shop's accident lies."""
    return str(shop.server.binlogs()[-1])


@pytest.fixture
def hourly(shop: Shop, tmp_path: Path) -> None:
    """The plan that the hourly flow has made."""
    run: Any = plan_recovery
    run([logs_of(shop)], shop.name, str(tmp_path / "plans"), selection=Selection(tables=[f"{shop.name}.orders"]))


def trend_of(source: str) -> list[dict[str, Any]]:
    """Return the lines of the trend."""
    lines: list[dict[str, Any]] = last_table(f"dblog-rehearsal-{source}")
    return lines


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("hourly")
def test_recovery_time_is_measured_and_the_scratch_server_left_as_it_was(
    rehearse: Rehearse, shop: Shop, scratch: MariaDB, tmp_path: Path
) -> None:
    """The newest plan, replayed, verified, taken back; night after night, each a line of the trend; the log's server is not touched."""
    before, production = rows_of(scratch, shop.name), shop.rows
    states = [rehearse(), rehearse(), rehearse(runs_shown=2)]
    data = states[0].result()
    lines = trend_of(shop.name)

    assert ["Rehearsed"] * 3 == [state.name for state in states]
    assert (DAMAGED, None) == (data["rows"], data["plan_seconds"])
    assert data["total_seconds"] == data["replay_seconds"] + data["verify_seconds"] > 0
    assert before == rows_of(scratch, shop.name)
    assert production == shop.rows
    assert 2 == len(lines)
    assert {(DAMAGED, "Rehearsed", data["plan"])} == {(line["rows"], line["ended"], line["plan"]) for line in lines}
    assert [] == [entry.name for entry in (tmp_path / "plans").iterdir() if entry.name.startswith("inverse")]
    assert f"{DAMAGED} rows recovered in " in str(states[0].message)


@pytest.mark.usefixtures("hourly")
def test_the_server_of_the_log_is_refused(rehearse: Rehearse, shop: Shop, tmp_path: Path) -> None:
    """Before anything is written; a copy that has its id is taken when that is said."""
    before = shop.rows
    refused = rehearse(scratch_target=shop.block())
    unknown = rehearse(scratch_target=shop.block(), logs=[])
    after = shop.rows
    told = rehearse(scratch_target=shop.block(), same_server=True)

    assert ("Failed", "Failed", "Rehearsed") == (refused.name, unknown.name, told.name)
    assert "this is the server that wrote the log: server 1" in str(refused.message)
    assert before == after == shop.rows


def test_without_a_plan_one_is_made_of_the_last_hours(rehearse: Rehearse, shop: Shop) -> None:
    """And the time that takes is part of the recovery."""
    state = rehearse(selection=Selection(tables=[f"{shop.name}.orders"], kinds=["update"]))
    data = state.result()

    assert ("Rehearsed", DAMAGED) == (state.name, data["rows"])
    assert data["plan_seconds"] > 0


def test_without_a_plan_and_a_log_nothing_is_rehearsed(rehearse: Rehearse) -> None:
    """Which is no failure."""
    assert "NothingToRehearse" == rehearse(logs=[]).name


@pytest.mark.usefixtures("hourly")
def test_copy_of_another_time_is_a_failure_and_stays_as_it_is(rehearse: Rehearse, shop: Shop, scratch: MariaDB) -> None:
    """Its rows are not as the log left them: nothing is measured, nothing is changed, the trend says so."""
    scratch.sql("UPDATE orders SET total = 77 WHERE id < 4", shop.name)
    before = rows_of(scratch, shop.name)
    stopped = rehearse()
    skipped = rehearse(options={"on_conflict": "skip"})

    assert ("Conflict", "Rehearsed") == (stopped.name, skipped.name)
    assert DAMAGED - 3 == skipped.result()["rows"]
    assert before == rows_of(scratch, shop.name)
    assert ["Rehearsed", "Conflict"] == [line["ended"] for line in trend_of(shop.name)]


def test_form_explains_every_parameter() -> None:
    """The form says of every parameter what it is."""
    schema = rehearsal.parameters.model_dump()

    assert [] == [name for name, field in schema["properties"].items() if not field.get("description")]
    assert ["source", "scratch_target", "out"] == schema["required"]
