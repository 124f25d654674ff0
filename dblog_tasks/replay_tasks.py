"""Replay and verify as Prefect tasks, the look at the target before a person is asked, and what they leave to look at.

Law: the name of a target is a parameter, its password is looked up inside the task that connects. A conflict is never tried again; what
may be tried again is a store that could not be reached, and what was committed is not done twice. Of a row no value is in a state, a
log or an event; artifacts hold them unless `mask` is set.

    artifact                     says
    dblog-approval-…             what is asked for, as in the form
    dblog-replay-progress-…      rows done, rate, time left; at most once a second
    dblog-replay-conflicts-…     rows that are not as the plan expects them
    dblog-verify-differences-…   rows that are not as the plan wants them
    dblog-replay-report-…        what was done, what verify found, plan and inverse plan

A person stops a replay by cancelling the flow run: the batch in flight ends, and what is committed is said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
import shlex
from threading import Event as CancelEvent
from time import monotonic
from typing import Any, cast
from uuid import UUID

import orjson
from prefect import get_client, task
from prefect.artifacts import create_markdown_artifact, create_progress_artifact, create_table_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.exceptions import TerminationSignal
from prefect.futures import PrefectFuture
from prefect.runtime import flow_run

from dblog_tasks import plan as plans, runs
from dblog_tasks.approval import Answer, Look
from dblog_tasks.blocks import BLOCK, database_target
from dblog_tasks.dashboards import show_runs
from dblog_tasks.event import JsonObject
from dblog_tasks.judging import ALREADY, APPLIES, CONFLICT, FORCED, SKIPPED
from dblog_tasks.markdown import cell, code, table as markdown_table
from dblog_tasks.plan import Plan
from dblog_tasks.planning import PlanRequest
from dblog_tasks.replay import replay
from dblog_tasks.replay_request import DRY_RUN, STOPPED, ReplayProgress, ReplayRequest, unacknowledged
from dblog_tasks.rescan import name_of, names_of, rescan
from dblog_tasks.tasks import FinishedPlan, PlanJob, artifact_key, opened, show_plan, worth_retrying
from dblog_tasks.text import MASKED
from dblog_tasks.verify import COUNTED, DIFFERING, EQUAL, MISSING, verify

REPLAY_DONE, REPLAY_CONFLICT, VERIFY_FAILED = "dblog.replay.done", "dblog.replay.conflict", "dblog.verify.failed"
UPDATE_SECONDS = 1.0  # between two updates of the progress, and two looks whether to stop: each is a request
CONFLICTS_SHOWN = 500
HIDDEN = frozenset({"key", "expected", "wanted", "now", "found", "children"})  # what of a conflict is values of a row
STOP_SECONDS = 25  # for the batch in flight, before whoever runs the process kills it
_RETRIED: Mapping[str, Any] = {"cache_policy": NO_CACHE, "retry_condition_fn": worth_retrying, "persist_result": False}


@dataclass(frozen=True, slots=True)
class ReplayJob:
    """What is replayed where: names alone, safe to be passed around.

    Attributes:
        plan: its folder.
        target: a DSN without a password, `env:NAME`, or `block:NAME`.
        source: whose log the plan is of; artifacts are named by it.
        options: of ReplayRequest, beside those here.
        log: where the log lies now; None: only the target is looked at.
        storage_options: `NAME=VALUE` or `NAME=env:VARIABLE`, for the plan.
        mask: show no value of a row.
    """

    plan: str
    target: str
    source: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    log: PlanJob | None = None
    storage_options: tuple[str, ...] = ()
    mask: bool = False


def open_plan(job: ReplayJob) -> Plan:
    """Return the plan, read with the secrets of this machine."""
    found = opened(PlanJob(PlanRequest("", (), job.plan), job.storage_options))
    return plans.read_plan(found.out, found.storage_options)


def requested(job: ReplayJob, plan: Plan, **more: Any) -> tuple[ReplayRequest, str | None]:
    """Return what is asked of a replay, and the password of the target where a block has it."""
    dsn, password = database_target(job.target) if job.target.startswith(BLOCK) else (job.target, None)
    options: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in {**job.options, **more}.items()}
    return ReplayRequest(plan.url, dsn, storage_options=plan.storage_options, **options), password


@task(name="read plan", **_RETRIED)
def read_plan(job: ReplayJob, *, show: bool) -> FinishedPlan:
    """Return the values of a finished plan, and show it."""
    plan = open_plan(job)
    return show_plan(plan, ready=False) if show else FinishedPlan.of(plan)


# ---- before a person is asked


@task(name="look at target and log", **_RETRIED)
def look(job: ReplayJob, *, log: bool) -> Look:
    """Return what a replay would meet now: every step tried without writing, and with `log` the tail of the log read."""
    plan = open_plan(job)
    words: list[str] = []
    names: frozenset[str] = frozenset()
    if log and job.log is not None:
        tail = rescan(plan, opened(job.log))
        words = [f"**The log**, read up to {cell(tail.position or 'its end')}: {tail.hard} hard conflicts, {tail.soft} soft."]
        words += [f"Not compared: {cell(name)} ({cell(why)})." for name, why in tail.unknown.items()]
        names |= tail.names
    request, password = requested(job, plan, dry_run=True)
    tried = replay(request, password=password).to_json()
    words.append(f"**The target** now: {counted(tried)}.")
    words += [f"{cell(warning, 400)}." for warning in tried["warnings"]]
    conflicts = tried["conflicts"]
    show_conflicts(job, conflicts, tried["rows"])
    names |= names_of(name_of(conflict) for conflict in conflicts)
    return Look(tuple(words), names, tuple(unacknowledged(plan, request.acknowledge)))


@task(name="ask for approval", **_RETRIED)
def show_screen(job: ReplayJob, text: str) -> None:
    """Make what a person is asked an artifact of the run, too."""
    create_markdown_artifact(text, key=artifact_key("approval", job.source), description="What is to be approved")


def counted(report: JsonObject) -> str:
    """Return what became or would become of the rows, in a line."""
    tried = report["outcome"] == DRY_RUN
    return ", ".join(f"{report['rows'][name]:,} {words[tried]}" for name, words in SAID.items() if report["rows"].get(name)) or "no rows"


# A verdict, and how a number of them is said: done, and tried.
SAID: Mapping[str, tuple[str, str]] = {
    APPLIES: ("rows undone", "rows can be undone"),
    ALREADY: ("rows were as wanted already", "rows are as wanted already"),
    SKIPPED: ("rows left out", "rows are left out"),
    FORCED: ("rows overwritten", "rows are overwritten"),
    CONFLICT: ("rows changed since", "rows were changed since"),
}


def committed(report: JsonObject) -> str:
    """Return in a line what is committed, and what takes it back."""
    back = f"; taken back by plan {report['inverse_id']} in {report['inverse']}" if report["inverse"] else ""
    return f"{report['steps']:,} of {report['steps_total']:,} steps are committed, {counted(report)}{back}"


def show_conflicts(job: ReplayJob, conflicts: Sequence[JsonObject], rows: Mapping[str, int]) -> None:
    """Make a table of the rows that are not as the plan expects them, if there are any."""
    if not conflicts:
        return
    number = sum(rows.get(name, 0) for name in (CONFLICT, SKIPPED, FORCED))
    lines = [{name: _text(value, mask=job.mask and name in HIDDEN) for name, value in it.items()} for it in conflicts[:CONFLICTS_SHOWN]]
    description = f"{number:,} rows are not as the plan expects them" + (f", the first {len(lines)}" if number > len(lines) else "")
    create_table_artifact(lines, key=artifact_key("replay-conflicts", job.source), description=description)


def _text(value: Any, *, mask: bool) -> Any:
    if mask and value:
        return MASKED
    return value if isinstance(value, str | int | None) else orjson.dumps(value, default=str).decode()


# ---- replay


@task(name="replay", **_RETRIED)
def replay_plan(job: ReplayJob, approve: str, answer: Answer, stop: CancelEvent) -> JsonObject:
    """Replay the plan that was approved; return the report. When `stop` is set, or the flow run is cancelled, the batch in flight ends."""
    plan = open_plan(job)
    accepted = (*job.options.get("acknowledge", ()), *answer.accepted)
    more = {"approve": approve, "approver": answer.name, "on_conflict": answer.on_conflict, "acknowledge": accepted}
    request, password = requested(job, plan, **more)
    progress = ReplayProgressShown(job, plan, stop)
    try:
        report = replay(request, progress=progress, cancel=stop, password=password).to_json()
    finally:
        progress.end()
    show_conflicts(job, report["conflicts"], report["rows"])
    event = REPLAY_CONFLICT if report["outcome"] == STOPPED else REPLAY_DONE
    tell(event, job, {"id": plan.id, "outcome": report["outcome"], "inverse": report["inverse"], **tally(report)})
    return report


class ReplayProgressShown:
    """A progress artifact of a replay, and the look whether somebody has cancelled the run: called after every batch."""

    def __init__(self, job: ReplayJob, plan: Plan, stop: CancelEvent) -> None:
        self._stop, self._run = stop, flow_run.id
        self._share, self._said = 0.0, f"0 of {plan.ledger.rows_undone:,} rows"
        self._due = monotonic()
        key = artifact_key("replay-progress", job.source)
        self._artifact = cast("UUID", create_progress_artifact(progress=0.0, key=key, description=self._said))

    def __call__(self, progress: ReplayProgress) -> None:
        """Note how far the replay is; show it when the last time is long enough ago."""
        self._share = 100.0 * progress.rows / max(progress.rows_total, 1)
        left = timedelta(seconds=round(progress.seconds_left))
        doing = "checked" if progress.checking else "done"
        self._said = f"{progress.rows:,} of {progress.rows_total:,} rows {doing}, {progress.rate:,.0f} a second, {left} left"
        if monotonic() >= self._due:
            self.end()
            self._look()
            self._due = monotonic() + UPDATE_SECONDS

    def _look(self) -> None:
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(UUID(self._run)).state if self._run else None
        if state is not None and (state.is_cancelling() or state.is_cancelled()):
            self._stop.set()

    def end(self) -> None:
        """Show what was noted last."""
        update_progress_artifact(artifact_id=self._artifact, progress=self._share, description=self._said)


def followed(future: PrefectFuture[JsonObject], stop: CancelEvent) -> JsonObject:
    """Return a task's result. When this process is told to end, the task is told to stop, and is waited for."""
    try:
        return future.result()
    except TerminationSignal:
        stop.set()
        future.wait(STOP_SECONDS)
        if not future.state.is_completed():
            raise
        return future.result()


# ---- verify and report


@task(name="verify", **_RETRIED)
def verify_plan(job: ReplayJob, left_out: Sequence[JsonObject]) -> JsonObject:
    """Read back every row the plan touched; return what was found. `left_out` are the conflicts of the replay."""
    plan = open_plan(job)
    request, password = requested(job, plan)
    options: dict[str, Any] = {
        "guard_ignore": request.guard_ignore,
        "accept_drift": request.accept_drift,
        "storage_options": plan.storage_options,
    }
    report = verify(plan.url, request.target, password=password, **options).to_json()
    report["unexpected"] = unexpected(report, left_out)
    if report["unexpected"]:
        show_differences(job, report)
        tell(VERIFY_FAILED, job, {"id": plan.id, **tally(report)})
    return report


def unexpected(report: JsonObject, left_out: Sequence[JsonObject]) -> int:
    """Return how many rows are not as the plan wants them, and were not left out by the word of a person."""
    known = {_spot(it) for it in left_out if it["verdict"] == SKIPPED}
    number: int = report["rows"].get(DIFFERING, 0) + report["rows"].get(MISSING, 0)
    return number - sum(_spot(it) in known for it in report["differences"])


def _spot(line: JsonObject) -> str:
    return f"{line['table']} {line['key']}"


def show_differences(job: ReplayJob, report: JsonObject) -> None:
    """Make a table of the rows that are not as the plan wants them."""
    rows = [
        {name: _text(value, mask=job.mask and name in HIDDEN) for name, value in it.items()}
        for it in report["differences"][:CONFLICTS_SHOWN]
    ]
    create_table_artifact(rows, key=artifact_key("verify-differences", job.source), description=f"{report['unexpected']:,} rows differ")


def verified(report: JsonObject) -> str:
    """Return in a line what verify found."""
    found = ", ".join(f"{report['rows'][name]:,} {words}" for name, words in VERIFIED.items() if report["rows"].get(name))
    return f"{found or 'no rows'} after the replay"


VERIFIED = {EQUAL: "rows are as wanted", DIFFERING: "differ", MISSING: "are missing", COUNTED: "without a key were not looked at"}


@task(name="report", **_RETRIED)
def show_report(job: ReplayJob, plan: str, name: str, why: str, replayed: JsonObject, verified: JsonObject | None) -> None:
    """Make the report of a replay: how it ended, what was done and found, and where plan and inverse plan are."""
    lines = [
        f"# {cell(name)}",
        f"{cell(why, 400)}.",
        f"**Plan** {code(job.plan)}, on {code(job.target)}.",
        f"**Committed**: {replayed['steps']:,} of {replayed['steps_total']:,} steps in {replayed['batches']:,} batches.",
        _numbers("rows by what became of them", replayed),
        _numbers("rows by what they are now", verified) if verified else "",
        _taken_back(job, replayed) if replayed["inverse"] else "Nothing is committed that could be taken back.",
        *(f"{cell(warning, 400)}." for warning in replayed["warnings"]),
    ]
    text = "\n\n".join(line for line in lines if line)
    create_markdown_artifact(text, key=artifact_key("replay-report", job.source), description=f"{name}: {why}")
    show_runs(artifact_key("runs", job.source), plan)


def _taken_back(job: ReplayJob, replayed: JsonObject) -> str:
    words = ["dblog", "replay", replayed["inverse"], "--target", job.target, "--dry-run"]
    return f"**Inverse plan** {code(replayed['inverse_id'])}. What takes it back, tried first:\n\n```sh\n{shlex.join(words)}\n```"


def _numbers(title: str, report: JsonObject) -> str:
    return markdown_table((title, ""), [(name, f"{number:,}") for name, number in report["rows"].items()], 20)


def tally(report: JsonObject) -> dict[str, int]:
    """Return the numbers of a report, without any value of a row."""
    return {name: number for name, number in {**report, **report.get("rows", {})}.items() if type(number) is int}


def tell(event: str, job: ReplayJob, payload: Mapping[str, Any]) -> None:
    """Emit an event of the source, for automations. Numbers and names only."""
    runs.tell(event, job.source, {"plan": job.plan, "target": job.target, **payload})
