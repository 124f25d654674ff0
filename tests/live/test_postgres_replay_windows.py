"""Recorded windows replayed on a real PostgreSQL: the rows before come back, the inverse plan brings the rows after back."""

from __future__ import annotations

from pathlib import Path

import pytest

from dblog_tasks.plan import Plan, read_plan
from dblog_tasks.replay import ReplayReport, ReplayRequest, replay
from dblog_tasks.verify import verify
from tests.conftest import Unpack
from tests.live.postgres_scenes import dsn, dumped, load
from tests.live.servers import Postgres
from tests.postgres_fixtures import SCENARIOS, TableName, identities, omitted_tables, plan, states

LOGS = ("test_decoding.ts.tsv", "pgoutput.p2.hex", "wal2json.v1_full.data.txt")
INSTEAD = {  # a wal2json 1 log says nothing of TRUNCATE; what wrote the others lost a character of their text
    ("truncate", "wal2json.v1_full.data.txt"): "recvlogical.wal2json.v2.out",
    ("hard_text", "test_decoding.ts.tsv"): "recvlogical.test_decoding.ts.out",
    ("hard_text", "wal2json.v1_full.data.txt"): "recvlogical.wal2json.v2.out",
}


def replayed(found: Plan, server: Postgres, **more: object) -> ReplayReport:
    """Replay a plan with everything acknowledged; triggers and the actions of foreign keys are in the log already."""
    acknowledge = (*found.ledger.omitted, "hard conflicts", *[f"no key: {table}" for table in found.manifest["tables"]])
    triggers = "set:session_replication_role=replica"
    request = ReplayRequest(found.url, dsn(server, "undone"), approve=found.id, acknowledge=acknowledge, triggers=triggers, **more)  # type: ignore[arg-type]
    return replay(request)


@pytest.mark.skipif(not SCENARIOS, reason="no such fixtures (DBLOG_FIXTURES names their folder)")
@pytest.mark.parametrize("log", LOGS)
@pytest.mark.parametrize("name", SCENARIOS)
def test_every_window_is_replayed_there_and_back(name: str, log: str, scenario: Unpack, postgres: Postgres, tmp_path: Path) -> None:
    """Through each format, for every table nothing is omitted of: before exactly, verified, and with the inverse plan after exactly."""
    log = INSTEAD.get((name, log), log)
    folder = scenario(f"pg15/{name}")
    load(postgres, "undone", folder, "after")
    made, without = _without_omissions(folder, log, tmp_path)
    tables = [table for table in states(folder, "before") if table not in without and table != ("public", "pt")]
    if "pgoutput" in log:
        tables = [table for table in tables if table[1] not in {"t_def_nopk", "t_nothing_pk"}]
    after = {table: dumped(postgres, "undone", table) for table in tables}

    report = replayed(made, postgres)

    assert ("done", ()) == (report.outcome, report.conflicts)
    before = states(folder, "before")
    assert {table: sorted(before[table].decode().splitlines()) for table in tables} == {
        table: dumped(postgres, "undone", table) for table in tables
    }
    found = verify(made.url, dsn(postgres, "undone"))
    assert (True, ()) == (found.clean, found.differences)
    if report.inverse:
        taken_back = replayed(read_plan(report.inverse, {}), postgres)
        assert ("done", ()) == (taken_back.outcome, taken_back.conflicts)
        assert after == {table: dumped(postgres, "undone", table) for table in tables}


def _without_omissions(folder: Path, log: str, out: Path) -> tuple[Plan, set[TableName]]:
    """Return the plan of all tables nothing is omitted of, and the others."""
    first = plan(folder / log, out / "all")
    without = omitted_tables(first, set(identities(folder))) | {("public", "ctas")}  # made in the window, not among what there was after
    return plan(folder / log, out / "some", without=without), without
