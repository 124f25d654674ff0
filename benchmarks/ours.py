"""The jobs that are measured, each run as a process: `python -m benchmarks.ours JOB LOG …`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
import sys
from typing import Any

import dblog_tasks
from dblog_tasks.cli import run
from dblog_tasks.mysql.sql import TransactionInfo, undo_script


def decode(log: str) -> None:
    """Decode every row of a log."""
    event: Any
    rows = 0
    with dblog_tasks.open("mysql", path=log) as decoder:
        for event in decoder:
            if event.operation and event.omission is None:
                rows += len(event.body.rows)
    print(rows)


def undo(log: str, table: str = "") -> None:
    """Write the undo of a log as SQL, in log order: what a plan's steps cost without the plan."""
    selection = (dblog_tasks.by_table(table),) if table else ()
    with dblog_tasks.open("mysql", path=log, selection=selection) as decoder:
        steps = ((TransactionInfo(step.checkpoint.position.value), step.operation) for step in dblog_tasks.recovery_plan(decoder))
        for piece in undo_script(steps):
            sys.stdout.write(piece)


def plan(log: str, out: str) -> None:
    """Make a plan and show it as SQL."""
    run(["plan", log, "--driver", "mysql", "--out", out])
    run(["show", out, "--as", "sql"])


def peer(socket: str, log: str, end: str) -> None:
    """Decode the log with mysql-replication, which reads from a server."""
    from pymysqlreplication import BinLogStreamReader  # noqa: PLC0415 - only in the benchmarks' environment
    from pymysqlreplication.row_event import DeleteRowsEvent, UpdateRowsEvent, WriteRowsEvent  # noqa: PLC0415

    stream = BinLogStreamReader(
        connection_settings={"unix_socket": socket, "user": "root"},
        server_id=4711,
        log_file=log,
        log_pos=4,
        resume_stream=True,
        only_events=[DeleteRowsEvent, UpdateRowsEvent, WriteRowsEvent],
    )
    rows = 0
    for event in stream:
        if stream.log_file != log or stream.log_pos >= int(end):
            break
        rows += len(event.rows)
    print(rows)


JOBS: Mapping[str, Callable[..., None]] = {"decode": decode, "undo": undo, "plan": plan, "peer": peer}

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    JOBS[sys.argv[1]](*sys.argv[2:])
