"""Plans of recorded logs against what their tables held: after, without what the log did, is before. No server is needed."""

from __future__ import annotations

from collections import Counter
import json
from pathlib import Path
import re
from typing import Any

import pytest

import dblog_tasks
from dblog_tasks.event import Checkpoint, RowChanges
from dblog_tasks.plan import check
from dblog_tasks.postgres.events import PostgresEvent
from dblog_tasks.postgres.wal2json import LOST
from tests.conftest import Unpack
from tests.postgres_fixtures import (
    FOREIGN,
    REPRESENTATIVE,
    SCENARIOS,
    WHOLE_ROWS,
    TableName,
    identities,
    logs,
    meta,
    omitted_tables,
    plan,
    states,
)

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not SCENARIOS, reason="no such fixtures (DBLOG_FIXTURES names their folder)")]
LOST_A_CHARACTER = ("hard_text", (".tsv", ".txt"))  # what wrote these files has lost U+10FFFF
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
NO_IDENTITY = ("public", "ctas")  # pgoutput and wal2json would not tell of its updates, so nothing of it is undone
Rows = Counter[tuple[str | None, ...]]


def read(log: Path, **more: Any) -> list[PostgresEvent]:
    """All events of a log, with the schema beside it."""
    with dblog_tasks.open("pg", path=str(log), schema=str(log.parent / "schema.sql"), **more) as decoder:
        return list(decoder)  # type: ignore[arg-type]


def copied(data: bytes) -> Rows:
    """The rows of a table as COPY wrote them."""
    rows: Rows = Counter()
    for line in data.decode().split("\n")[:-1]:
        values = [
            None if field == r"\N" else re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), field)
            for field in line.split("\t")
        ]
        rows[tuple(values)] += 1
    return rows


def columns_of(folder: Path, table: TableName) -> list[dict[str, Any]]:
    """The columns of a table that is in both catalogs."""
    found = next(described for described in meta(folder)["catalog_before"] if (described["schema"], described["table"]) == table)
    return [column for column in found["columns"] if not column["dropped"]]


def undone(folder: Path, events: list[PostgresEvent], table: TableName) -> Rows:
    """The rows after the events of a table, without what they did: newest first, each as it expects to find them."""
    columns = columns_of(folder, table)
    kept = [at for at, column in enumerate(columns) if not column["generated"]]
    booleans = {at for at, column in enumerate(columns) if column["type"] == "boolean"}
    words = {"t": "true", "f": "false"}
    rows: Rows = Counter()
    for row, count in copied(states(folder, "after")[table]).items():
        rows[tuple(words.get(row[at] or "", row[at]) if at in booleans else row[at] for at in kept)] += count
    for event in reversed(events):
        undo = event.reverse() if event.table == table and event.omission is None else None
        if isinstance(undo, RowChanges):
            for now, then in undo.rows:
                if now is not None:
                    assert rows[now] > 0, (event, now)  # type: ignore[index]
                    rows[now] -= 1  # type: ignore[index]
                if then is not None:
                    rows[then] += 1  # type: ignore[index]
    return +rows


def expected(folder: Path, table: TableName) -> Rows:
    """The rows before, without what the database computes."""
    columns = columns_of(folder, table)
    rows: Rows = Counter()
    words = {"t": "true", "f": "false"}
    for row, count in copied(states(folder, "before")[table]).items():
        values = [
            words.get(value or "", value) if column["type"] == "boolean" else value for value, column in zip(row, columns, strict=True)
        ]
        rows[tuple(value for value, column in zip(values, columns, strict=True) if not column["generated"])] += count
    return rows


@pytest.mark.parametrize("file", REPRESENTATIVE)
@pytest.mark.parametrize("name", SCENARIOS)
def test_the_undo_of_all_gives_what_there_was_before(name: str, file: str, scenario: Unpack) -> None:
    """For each table nothing is omitted of; those with whole old rows are among them, but where wal2json lost what it was."""
    folder = scenario(f"pg15/{name}")
    if not (folder / file).exists():
        pytest.skip("no such file in the scenario")
    if name == LOST_A_CHARACTER[0] and file.endswith(LOST_A_CHARACTER[1]):
        pytest.skip("the file lost a character when it was written")
    events = read(folder / file)
    omitted = {event.table for event in events if event.omission is not None}
    omitted |= {table for event in events if event.kind == "truncate" for table in event.body.tables}
    whole = {table for table, identity in identities(folder).items() if identity == WHOLE_ROWS}
    unseen = {("public", table) for table in ("t_def_nopk", "t_nothing_pk")} if "pgoutput" in file else set()
    for table in set(identities(folder)) & states(folder, "before").keys() - omitted - unseen:
        if not (name == "truncate" and "v1" in file):  # it does not show them
            assert expected(folder, table) == undone(folder, events, table), table

    assert whole & omitted <= {event.table for event in events if event.omission is not None and event.omission.reason == LOST.reason}


def test_every_file_of_a_window_tells_the_same_changes(scenario: Unpack) -> None:
    """Whatever the plugin, its options and what is around its text: the changes that can be undone are those of another plugin."""
    for name in ("basic_crud_full", "generated_identity", "toast", "txns"):
        folder = scenario(f"pg15/{name}")
        told: dict[str, list[Any]] = {}
        for log in logs(folder):
            if "binary" not in log.name:
                told[log.name] = changes_of(read(log))
        base = told["recvlogical.test_decoding.ts.out"]
        assert base
        for file, changes in told.items():
            assert sorted(map(repr, base)) == sorted(map(repr, changes)), (name, file)


def changes_of(events: list[PostgresEvent]) -> list[Any]:
    """What can be undone, by columns."""
    found: list[Any] = []
    for event in events:
        if event.omission is None and isinstance(event.body, RowChanges) and event.table != NO_IDENTITY:
            names = [column.name for column in event.body.table.columns]
            found += [(event.table, [row and dict(zip(names, row, strict=True)) for row in pair]) for pair in event.body.rows]
    return found


def test_an_accident_under_the_default_identity_is_refused_with_the_reason(scenario: Unpack, tmp_path: Path) -> None:
    """Each row of the two bad transactions is omitted, and the ALTER TABLE that would have kept it is told."""
    folder = scenario("pg15/dba_accident_default")
    for file in ("recvlogical.test_decoding.ts.out", "recvlogical.pgoutput.p1.bin", "recvlogical.wal2json.v2.out"):
        for xid in meta(folder)["bad_xids"]:
            made = plan(folder / file, tmp_path / f"{file}-{xid}", selection=(dblog_tasks.by_transaction(str(xid)),))
            [reason] = made.ledger.omitted

            assert (0, "public.orders: the old row is not in the log (replica identity DEFAULT)") == (made.ledger.rows_undone, reason)
            assert "for the future: ALTER TABLE public.orders REPLICA IDENTITY FULL;" == made.manifest["fixes"][reason]
            assert {"2012": 400, "2133": 488}[str(xid)] == made.ledger.omitted.total()


@pytest.mark.parametrize("file", REPRESENTATIVE)
@pytest.mark.parametrize("name", ["basic_crud_full", "txns"])
def test_the_plan_of_the_head_and_of_the_tail_are_the_plan_of_the_whole(name: str, file: str, scenario: Unpack, tmp_path: Path) -> None:
    """At every position an event has: shared and falling LSNs, prepared transactions and all."""
    log = scenario(f"pg15/{name}") / file
    whole = plan(log, tmp_path / "whole")
    steps = [(step.checkpoint.position.value, json.dumps(step.operation.rows)) for step in whole.steps()]
    positions = list(dict.fromkeys(event.position for event in read(log)))[:-1]  # after the last one there is nothing
    assert len(steps) > 10

    for number, position in enumerate(positions[:: max(1, len(positions) // 12)]):
        head = plan(log, tmp_path / f"head-{number}", stop=position)
        tail = plan(log, tmp_path / f"tail-{number}", start=Checkpoint(position=position))
        parts = [(step.checkpoint.position.value, json.dumps(step.operation.rows)) for made in (tail, head) for step in made.steps()]

        assert (steps, [], []) == (parts, check(head), check(tail)), position


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_event_has_a_verdict(name: str, scenario: Unpack, tmp_path: Path) -> None:
    """The ledger of every file is balanced, without a schema too, and the plan is whole."""
    folder = scenario(f"pg15/{name}")
    for log in logs(folder):
        if FOREIGN not in log.name:
            made = plan(log, tmp_path / log.name, schema="ts" in log.name)

            assert [] == check(made), log.name


def test_text_of_another_session_is_not_trusted(scenario: Unpack, tmp_path: Path) -> None:
    """Dates as 29/02/2024, and binary that wal2json cut off."""
    folder = scenario("pg15/types_all")
    for log in logs(folder):
        if FOREIGN in log.name:
            made = plan(log, tmp_path / log.name)

            assert ("public", "types_full") in omitted_tables(made, set(identities(folder))), log.name
            assert any("ISO 8601" in reason or "wal2json" in reason for reason in made.ledger.omitted), log.name


def test_times_are_those_of_the_commits(scenario: Unpack) -> None:
    """As the log's servers noted them."""
    folder = scenario("pg15/basic_crud_full")
    noted = {
        str(it["xid"]): it["commit_timestamp"].replace(" ", "T").removesuffix("+00")
        for it in meta(folder)["transactions"]
        if "commit_timestamp" in it
    }
    for file in ("test_decoding.ts.tsv", "pgoutput.p1.hex", "wal2json.v1_full.data.txt", "recvlogical.wal2json.v2.out"):
        for event in read(folder / file):
            assert event.time is not None
            assert event.transaction is not None
            assert noted[event.transaction].ljust(26, "0") == event.time.strftime("%Y-%m-%dT%H:%M:%S.%f")
