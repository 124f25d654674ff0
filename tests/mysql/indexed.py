"""Plans made with header indexes and without, and small logs to make them of. No tests."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

from dblog_tasks import ledger as words
from dblog_tasks.errors import DblogError
from dblog_tasks.filters import Predicate
from dblog_tasks.mysql import binlog
from dblog_tasks.plan import Plan, check
from dblog_tasks.planning import PlanRequest, make_plan
from tests.mysql import binlog_writer as write

NUMBERS = count()
SMALL = 2_000  # bytes of a stretch: so that small logs have several


def a_folder() -> str:
    """Return the URL of a new folder in memory."""
    return f"memory://header-index/{next(NUMBERS)}"


def plan_or_error(logs: Sequence[str], index: str, chosen: Sequence[Predicate], **more: Any) -> Plan | str:
    """Return the plan, or what was said instead of one."""
    try:
        made = make_plan(PlanRequest("mysql", tuple(logs), a_folder(), selection=tuple(chosen), index=index, **more))
    except DblogError as error:
        return str(error)
    assert made is not None
    return made


def said_by(plan: Plan | str) -> Any:
    """Return all that a plan says but why events are not needed, and how many in all; an error as it is."""
    if isinstance(plan, str):
        return plan
    ledger = plan.ledger
    assert [] == check(plan)
    steps = [(step.checkpoint, step.operation, step.transaction) for step in plan.steps()]
    manifest = {name: value for name, value in plan.manifest.items() if name not in ("ledger", "sha256")}
    counted = (ledger.total, ledger.undone, dict(ledger.omitted), ledger.rows_undone, ledger.rows_not_needed, ledger.not_needed.total())
    return manifest, counted, steps, list(plan.omitted()), list(plan.conflicts())


def unread(plan: Plan | str) -> int:
    """Return how many events a plan did not read thanks to an index."""
    return 0 if isinstance(plan, str) else plan.ledger.not_needed[words.NOT_READ]


def indexed(logs: Sequence[str], **more: Any) -> str:
    """Return a folder with the indexes that one reading of a log leaves."""
    folder = a_folder()
    plan_or_error(logs, folder, (), **more)
    return folder


def rows(number: int, table: str, *, at: int = 0) -> list[tuple[int, bytes]]:
    """Return a transaction that inserts one row."""
    return [
        (binlog.GTID, write.gtid(number, committed=at or number * 1_000_000)),
        (binlog.QUERY, write.query("BEGIN")),
        (binlog.TABLE_MAP, write.table_map([(3, b"")], [(1, b"\0"), (4, b"\1a")], table=table)),
        (binlog.WRITE_ROWS_V2, bytes.fromhex("0700000000000100020001ff00") + number.to_bytes(4, "little")),
        (binlog.XID, number.to_bytes(8, "little")),
    ]  # fmt: skip


def closed(tables: Sequence[str] = ("t",), first: int = 1, ending: int = binlog.ROTATE, **description: Any) -> bytes:
    """Return a log of one transaction a table, closed by its server."""
    log = write.Log(**description)
    for number, table in enumerate(tables, first):
        log.adds(*rows(number, table))
    return log.add(ending, (4).to_bytes(8, "little") + b"next" if ending == binlog.ROTATE else b"").data


def series(folder: Path, tables: Sequence[str]) -> str:
    """Write a series of files, one table each; return its folder."""
    for number, table in enumerate(tables, 1):
        (folder / f"bin.{number:06}").write_bytes(closed([table] * 3 if table == "t" else [table], first=number * 10))
    return str(folder)


def ends(log: bytes) -> list[int]:
    """Return the ends of all events, read from sizes alone."""
    at, found = 4, []
    while at < len(log):
        at += int.from_bytes(log[at + 9 : at + 13], "little")
        found.append(at)
    return found
