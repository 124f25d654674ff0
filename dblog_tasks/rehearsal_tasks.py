"""A rehearsal as Prefect tasks: a plan is chosen, the scratch server looked at, the recovery measured, the trend shown.

Law: as `replay_tasks`: names and numbers go from task to task. The replay itself, verify and their artifacts are `replay_tasks`, under the
name SOURCE-rehearsal, so that no event or artifact of a rehearsal is taken for one of a recovery.

    Rehearsed           Completed    replayed, verified, taken back: the recovery time is measured
    NothingToRehearse   Completed    no plan undoes a row
    Conflict            Failed       rows of the scratch server are not as the log left them, or none is
    Differs             Failed       replayed, and rows are not as they should be
    NotTakenBack        Failed       what takes it back is said
    Failed              Failed       one line that says what, where and what to do

    dblog-rehearsal-…    artifact: a line for each of the last rehearsals, the newest first
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from threading import Event as CancelEvent
from time import monotonic
from typing import Any

from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from dblog_tasks import planning, replay_tasks, storage
from dblog_tasks.approval import APPROVED, Answer
from dblog_tasks.backend import default_registry
from dblog_tasks.blocks import BLOCK, database_target
from dblog_tasks.errors import InvalidInput
from dblog_tasks.event import JsonObject
from dblog_tasks.filters import ByTime, Predicate
from dblog_tasks.judging import APPLIES, FORCED
from dblog_tasks.rehearsal import Rehearsal, check_scratch, newest_plan, trend
from dblog_tasks.replay_request import DONE, unacknowledged
from dblog_tasks.replay_tasks import ReplayJob
from dblog_tasks.runs import last_table
from dblog_tasks.tasks import FinishedPlan, PlanJob, artifact_key, opened, worth_retrying

FLOW = "rehearsal"
REHEARSED, NOTHING, CONFLICT, DIFFERS, NOT_TAKEN_BACK = "Rehearsed", "NothingToRehearse", "Conflict", "Differs", "NotTakenBack"
APPROVER = "a rehearsal"
_RETRIED: Mapping[str, Any] = {"cache_policy": NO_CACHE, "retry_condition_fn": worth_retrying, "persist_result": False}


@dataclass(frozen=True, slots=True)
class Measured:
    """What a rehearsal came to: how it ended and why, the numbers, the server, and the inverse plans it left."""

    ended: str
    why: str
    rehearsal: Rehearsal
    server: str
    inverses: tuple[str, ...] = ()


@task(name="choose plan", **_RETRIED)
def choose_plan(job: PlanJob) -> FinishedPlan | None:
    """Return the newest plan of the source that undoes something; None when there is none."""
    request = opened(job)
    found = newest_plan(request.out, request.source, request.storage_options, default_registry.get(request.driver))
    return FinishedPlan.of(found) if found else None


def sampled(job: PlanJob, since: datetime) -> PlanJob:
    """Return the job of a sample: what was committed since then, unless a window was asked for."""
    if any(isinstance(predicate, ByTime) for predicate in job.request.selection):
        return job
    chosen: tuple[Predicate, ...] = (*job.request.selection, ByTime(since, None))
    return replace(job, request=replace(job.request, selection=chosen))


@task(name="look at scratch server", **_RETRIED)
def look_at_scratch(job: ReplayJob, *, same_server: bool) -> str:
    """Return who the scratch server is. Raises InvalidInput when it is the server the log is of, and that was not asked for."""
    plan = replay_tasks.open_plan(job)
    dsn, password = database_target(job.target) if job.target.startswith(BLOCK) else (job.target, None)
    request = opened(job.log) if job.log is not None else None
    try:
        files = planning.find_files(request) if request else ()
        return check_scratch(plan, files, request.storage_options if request else {}, dsn, password)
    except InvalidInput:
        if not same_server:
            raise
        return "the server of the log, as asked for"


def measure(job: ReplayJob, found: FinishedPlan, server: str, plan_seconds: float | None) -> Measured:
    """Replay, verify, and take back; return how long it took. Whatever was found, what was committed is taken back."""
    when = datetime.now(UTC).isoformat(timespec="seconds")
    replayed = _replayed(job, found.id)
    verified, verify_seconds = None, None
    if replayed["outcome"] == DONE:
        began = monotonic()
        verified = replay_tasks.verify_plan(job, replayed["conflicts"])
        verify_seconds = monotonic() - began
    back = _taken_back(job, replayed) if replayed["inverse"] else None
    rows = sum(replayed["rows"].get(name, 0) for name in (APPLIES, FORCED))
    ended, why = _ended(job, rows, replayed, verified, back)
    numbers = Rehearsal(when, found.id, rows, plan_seconds, replayed["seconds"], verify_seconds, back["seconds"] if back else None, ended)
    inverses = (replayed["inverse"], back["inverse"]) if back and back["outcome"] == DONE else ()
    return Measured(ended, why, numbers, server, tuple(url for url in inverses if url))


def _replayed(job: ReplayJob, plan_id: str) -> JsonObject:
    accepted = tuple(unacknowledged(replay_tasks.open_plan(job), ()))  # on a scratch server nobody is asked
    answer = Answer(APPROVED, APPROVER, "a rehearsal on a scratch server", job.options.get("on_conflict", "stop"), accepted)
    return replay_tasks.replay_plan(job, plan_id, answer, CancelEvent())


def _taken_back(job: ReplayJob, replayed: JsonObject) -> JsonObject:
    return _replayed(replace(job, plan=replayed["inverse"]), replayed["inverse_id"])


def _ended(job: ReplayJob, rows: int, replayed: JsonObject, verified: JsonObject | None, back: JsonObject | None) -> tuple[str, str]:
    """Return the name of the last state, and why it is that: see the table above."""
    if back is not None and back["outcome"] != DONE:
        return NOT_TAKEN_BACK, f"taking it back {back['outcome']}: dblog replay {replayed['inverse']} --approve {replayed['inverse_id']}"
    if verified is None or not rows:
        why = replayed["outcome"] if verified is None else "no row could be undone"
        return CONFLICT, f"{why}: the scratch server is not as the log left its own ({replay_tasks.counted(replayed)})"
    if verified["unexpected"]:
        return DIFFERS, replay_tasks.verified(verified)
    return REHEARSED, replay_tasks.verified(verified)


@task(name="clear away", **_RETRIED)
def clear_away(job: ReplayJob, urls: Sequence[str]) -> None:
    """Remove the inverse plans of a rehearsal, which is taken back."""
    options = replay_tasks.open_plan(job).storage_options
    for url in urls:
        storage.remove_folder(url, options)


@task(name="show rehearsal", **_RETRIED)
def show(source: str, found: Measured, most: int) -> None:
    """Add the rehearsal to the trend, which is an artifact: a table of the last ones."""
    key = artifact_key("rehearsal", source)
    numbers = found.rehearsal
    rate = f"{numbers.rows:,} rows in {numbers.total_seconds:.1f} s, {numbers.rows_a_second:,.0f} a second replayed"
    create_table_artifact(trend(last_table(key), numbers, most), key=key, description=f"{found.ended}: {rate}; {found.server}")


def message(found: Measured) -> str:
    """Return the message of the run's last state."""
    numbers = found.rehearsal
    return f"{found.why}; {numbers.rows:,} rows recovered in {numbers.total_seconds:.1f} s ({numbers.rows_a_second:,.0f} rows a second)"
