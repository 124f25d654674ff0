"""`dblog replay` and `dblog verify`: options in, the verb called, its answer printed. No logic."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
import shlex
import signal
import sys
from threading import Event as CancelEvent
from types import FrameType
from typing import Annotated, Any, Literal

import orjson

from dblog_tasks.cli_options import Option, StorageOptions, store
from dblog_tasks.judging import Verdict
from dblog_tasks.replay import ReplayProgress, ReplayReport, ReplayRequest, replay as replay_plan
from dblog_tasks.replay_request import BATCH_ROWS, DRY_RUN
from dblog_tasks.verify import VerifyReport, verify as verify_plan

Plan = Annotated[str, Option("The plan's folder.", "PLAN")]
Where = Annotated[
    str,
    Option("mysql://user@host/schema or postgresql://user@host/db, env:NAME of a variable that holds one, or block:NAME.", "--target"),
]
OnConflict = Annotated[Literal["stop", "skip", "force"], Option("What to do with a row that is not as the log left it.")]
Report = Annotated[Literal["text", "json"], Option("Sentences, or the report as JSON.", "--as")]
SHOWN_MAX = 20


def replay(
    url: Plan,
    /,
    *,
    target: Where,
    approve: Annotated[str, Option("Id of the plan that was looked at and approved.")] = "",
    approver: Annotated[str, Option("Who approved it; kept with the progress.")] = "",
    dry_run: Annotated[bool, Option("Check every step and say what would become of it; nothing at all is written.")] = False,
    acknowledge: Annotated[
        list[str], Option("A reason you accept: of an omission, 'hard conflicts', 'new conflicts', 'engine: TABLE', 'no key: TABLE'.")
    ] = [],  # noqa: B006
    on_conflict: OnConflict = "stop",
    batch_rows: Annotated[int, Option("Rows of one transaction; whole transactions of the log where they fit.")] = BATCH_ROWS,
    atomic: Annotated[bool, Option("All in one transaction.")] = False,
    max_rate: Annotated[float, Option("Rows a second; 0: no limit.")] = 0,
    max_running: Annotated[int, Option("Hold when more sessions are at work on the server; 0: no limit.")] = 0,
    max_lag: Annotated[float, Option("Hold when a replica is more seconds behind (PostgreSQL); 0: no limit.")] = 0,
    guard_ignore: Annotated[list[str], Option("A column no guard looks at: what a trigger touches.")] = [],  # noqa: B006
    accept_drift: Annotated[list[str], Option("A column that may be missing or of another type in the target; it is left out.")] = [],  # noqa: B006
    triggers: Annotated[
        str, Option("refuse, allow, or set:@variable=1 for what triggers look at; PostgreSQL: set:setting=value.")
    ] = "refuse",
    progress_schema: Annotated[str, Option("Schema of the table dblog_replay; the DSN's, else that of the plan's first table.")] = "",
    log: Annotated[list[str], Option("The logs of the plan: what came after it is looked at again before anything is written.")] = [],  # noqa: B006
    schema: Annotated[str, Option("For those logs: CREATE TABLE statements, or a DSN, as the plan was made with.")] = "",
    as_: Report = "text",
    storage_options: StorageOptions = [],  # noqa: B006
) -> int:
    """Do an approved plan to a database: rows that are as the log left them, each step once; run it again to go on.

    Example: dblog replay plan --target mysql://admin@db1/shop --approve 16faba862abc91d90db9f4864302aaef
    """
    dsn, password = _reached(target)
    request = ReplayRequest(
        url,
        dsn,
        approve=approve,
        approver=approver,
        dry_run=dry_run,
        acknowledge=tuple(acknowledge),
        on_conflict=on_conflict,
        batch_rows=batch_rows,
        atomic=atomic,
        max_rate=max_rate,
        max_running=max_running,
        max_lag=max_lag,
        guard_ignore=tuple(guard_ignore),
        accept_drift=tuple(accept_drift),
        triggers=triggers,
        progress_schema=progress_schema,
        logs=tuple(log),
        schema=schema,
        storage_options=store(storage_options, url, *log),
    )
    with _interruptible() as cancel, _bar() as advance:
        report = replay_plan(request, progress=advance, cancel=cancel, password=password, outcomes=_print_verdict if dry_run else None)
    for line in [_as_json(report)] if as_ == "json" else _replay_lines(report, target):
        print(line)
    return report.exit_code


def _reached(target: str) -> tuple[str, str | None]:
    """Return the DSN of a target and its password: those of a Prefect block, or what is said and None."""
    if not target.startswith("block:"):
        return target, None
    from dblog_tasks.blocks import database_target  # noqa: PLC0415 - Prefect takes long to import

    return database_target(target)


def _as_json(report: ReplayReport | VerifyReport) -> str:
    return orjson.dumps(report.to_json(), default=_plain, option=orjson.OPT_INDENT_2).decode()


def _plain(value: Any) -> Any:
    return {"hex": value.hex()} if isinstance(value, bytes) else str(value)


def _print_verdict(verdict: Verdict) -> None:
    print(_verdict_line(verdict.to_json()))


def _verdict_line(found: dict[str, Any]) -> str:
    """Return a line: verdict, table, key, place in the log; what is in the way, and the row as it is now."""
    line = f"{found['verdict']}\t{found['table']}\t{_row(found['key'])}\t{found['at']}"
    if not found["what"]:
        return line
    columns = f" ({', '.join(found['columns'])})" if found["columns"] else ""
    children = "".join(f"; {child['table']} {_row(child['row'])}" for child in found["children"][:3])
    return f"{line}\t{found['what']}{columns}; now {_row(found['now'])}{children}"


def _row(row: dict[str, Any] | None) -> str:
    return "no such row" if row is None else orjson.dumps(row, default=_plain).decode()


def _replay_lines(report: ReplayReport, target: str) -> Iterator[str]:
    yield f"{report.outcome}: plan {report.plan}, {report.steps} of {report.steps_total} steps committed in {report.batches} batches"
    rows = ", ".join(f"{count} {verdict}" for verdict, count in sorted(report.rows.items()))
    yield f"rows: {rows or 'none'}; {report.seconds:.1f} s; server {report.server['id']} {report.server['uuid']} {report.server['version']}"
    yield from (f"warning: {warning}" for warning in report.warnings)
    if report.divided:
        yield f"warning: {report.divided} batches end inside of a transaction of the log"
    if report.outcome != DRY_RUN:
        yield from (_verdict_line(conflict) for conflict in report.conflicts[:SHOWN_MAX])
        yield from [f"… {len(report.conflicts) - SHOWN_MAX} more, see --as json"] if len(report.conflicts) > SHOWN_MAX else []
    if report.inverse_id:
        words = ("dblog", "replay", report.inverse, "--target", target, "--approve", report.inverse_id)
        yield f"committed; to take it back: {shlex.join(words)}"
    elif report.outcome != DRY_RUN:
        yield "nothing is committed"


def verify(
    url: Plan,
    /,
    *,
    target: Where,
    guard_ignore: Annotated[list[str], Option("A column that is not looked at.")] = [],  # noqa: B006
    accept_drift: Annotated[list[str], Option("A column that may be missing or of another type in the target.")] = [],  # noqa: B006
    as_: Report = "text",
    storage_options: StorageOptions = [],  # noqa: B006
) -> int:
    """Read back every row a plan touched, and say which are as it wants, differ, or are missing.

    Example: dblog verify plan --target mysql://admin@db1/shop
    """
    dsn, password = _reached(target)
    options = store(storage_options, url)
    ignore, drift = tuple(guard_ignore), tuple(accept_drift)
    report = verify_plan(url, dsn, storage_options=options, password=password, guard_ignore=ignore, accept_drift=drift)
    for line in [_as_json(report)] if as_ == "json" else _verify_lines(report):
        print(line)
    return report.exit_code


def _verify_lines(report: VerifyReport) -> Iterator[str]:
    rows = ", ".join(f"{count} {verdict}" for verdict, count in sorted(report.rows.items()))
    yield f"{'clean' if report.clean else 'NOT as the plan wants'}: plan {report.plan}, rows: {rows or 'none'}"
    for found in report.differences[:SHOWN_MAX]:
        yield f"{found['verdict']}\t{found['table']}\t{_row(found['key'])}\twanted {_row(found['wanted'])}, found {_row(found['found'])}"


@contextmanager
def _interruptible() -> Iterator[CancelEvent]:
    """Give an event that the first interruption sets, so that the batch under way is finished; the second one ends it."""
    cancel = CancelEvent()

    def interrupt(number: int, frame: FrameType | None) -> None:
        if cancel.is_set():
            raise KeyboardInterrupt
        cancel.set()
        print("dblog: interrupted, the batch under way is finished first", file=sys.stderr)

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield cancel
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _bar() -> Iterator[Callable[[ReplayProgress], None] | None]:
    """Show a progress bar on a terminal; nothing in a pipe."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import Progress  # noqa: PLC0415

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("checking", total=None)
        yield lambda found: bar.update(
            task, completed=found.steps, total=found.steps_total, description="checking" if found.checking else "writing"
        )
