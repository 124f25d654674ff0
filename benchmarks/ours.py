"""Jobs for which there is no command, each run as a process: `python -m benchmarks.ours JOB LOG …`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
import sys
from typing import Any

from benchmarks.decoding_logs import read
import dblog_tasks


def decode(log: str) -> None:
    """Decode every row of a log."""
    event: Any
    rows = 0
    with dblog_tasks.open("mysql", path=log) as decoder:
        for event in decoder:
            if event.operation and event.omission is None:
                rows += len(event.body.rows)
    print(rows)


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


def fields(log: str) -> None:
    """Decode every field of a test_decoding log with one regular expression for all."""
    print(read(log))


JOBS: Mapping[str, Callable[..., None]] = {"decode": decode, "fields": fields, "peer": peer}

if __name__ == "__main__":
    JOBS[sys.argv[1]](*sys.argv[2:])
