"""The main job: plan the undo of what a log holds, run after run, each exactly after the last one.

Order only; the verbs are tasks. The checkpoint is this flow's last state (see `dblog_tasks.tasks`). No limit on concurrent runs is
needed for that: a limit of one only saves work that two would do twice.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Literal

from prefect import State, flow, get_run_logger
from prefect.runtime import flow_run
from prefect.states import Completed, Failed
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from dblog_tasks import planning, storage, tasks
from dblog_tasks.errors import DblogError
from dblog_tasks.event import Checkpoint, Position
from dblog_tasks.planning import PlanRequest
from dblog_tasks.runs import tag_run
from dblog_tasks.settings import read_settings
from dblog_tasks.tasks import ADVANCED, CAUGHT_UP, PLANNED, Committed, FinishedPlan, PlanJob

FLOW = "plan-recovery"


class Selection(BaseModel):
    """What is to be undone. All must hold; of several values of one, any; a value with ! before it is left out."""

    model_config = ConfigDict(extra="forbid")

    tables: list[str] = Field([], title="Tables", description="Names or globs: shop.orders, orders, shop.*, !shop.log")
    kinds: list[str] = Field([], title="Kinds of change", description="insert, update, delete, or the log's own names")
    where: str = Field("", title="Rows where", description="SQL over a row's columns, as in: status = 'paid' AND total > 100")
    since: AwareDatetime | None = Field(
        None, title="Committed since", description="With a zone. A window of its own makes a plan of its own"
    )
    until: AwareDatetime | None = Field(None, title="Committed before", description="With a zone")
    transactions: list[str] = Field([], title="Transactions", description="GTID, xid, or the position where it starts")
    gtids: list[str] = Field([], title="GTID sets", description="uuid:1-5:7,uuid:tag:3 or 0-1-5..90, as one value or several")
    threads: list[str] = Field([], title="Threads", description="Connection ids, where the log has them")
    statements: list[str] = Field([], title="Statements with", description="A part of their text, * for any text: DELETE FROM orders")
    columns: list[str] = Field([], title="Changed columns", description="status, orders.status: only the rows in which it changed")
    whole_transactions: Annotated[
        bool, Field(title="Whole transactions", description="Undo all of a transaction when a part of it is selected")
    ] = False
    own_replays: Annotated[bool, Field(title="Own replays too", description="Also undo what our own replays did")] = False


@flow(name=FLOW, flow_run_name="plan-{source}", persist_result=True, result_serializer="json", validate_parameters=True)
def plan_recovery(
    logs: Annotated[list[str], Field(min_length=1)],
    source: Annotated[str, Field(min_length=1, max_length=200)],
    out: Annotated[str, Field(min_length=1)],
    driver: Literal["mysql", "redis"] = "mysql",
    selection: Selection = Selection(),  # noqa: B008 - never changed
    schema_url: str = "",
    storage_options: tuple[str, ...] = (),
    start_at: str = "",
    stop_at: str = "",
    on_missing_checkpoint: Literal["fail", "earliest"] = "fail",
    on_damage: Literal["stop", "salvage"] = "stop",
    index: str = "",
) -> Any:
    """Plan the undo of what came into a log since the last run, or of a window of it.

    Without a window (since, until, transactions, gtids, stop_at) a run goes on where the last one of this source and selection ended, and
    ends as Advanced or CaughtUp. With one it makes a plan of that window, ends as Planned, and leaves the checkpoint alone.

    Args:
        logs: Where the log lies: folders, files, globs or an index, at any URL (file, s3, gs, sftp, https).
        source: Name of whose log it is. Checkpoints and plans belong to it.
        out: Folder that holds the plans, at any URL. Every plan gets a folder of its own in it.
        driver: What wrote the log. mysql stands for MariaDB too, redis for Valkey.
        selection: What is to be undone; everything when empty.
        schema_url: File of CREATE TABLE statements, where the log does not name columns. A DSN only as env:VARIABLE.
        storage_options: For the store, NAME=VALUE; a secret only as NAME=env:VARIABLE, which is looked up where the run runs.
        start_at: Position to go on after, instead of the checkpoint: binlog.000007:4523. With a window, where it starts.
        stop_at: Position up to which a plan of its own is made.
        on_missing_checkpoint: What to do when the last run's checkpoint was lost: earliest starts with the log, and follows plans in out.
        on_damage: stop with an error, or salvage what is provably whole and say what is lost.
        index: Folder for header indexes of closed log files, at any URL: later runs open only the files that matter. Empty: DBLOG_INDEX.
    """
    try:
        job = plan_job(logs, source, out, driver, selection, schema_url, storage_options, stop_at)
        job = replace(job, request=replace(job.request, on_damage=on_damage, index=index))
        start = Checkpoint(job.source, Position(driver, start_at)) if start_at else Checkpoint()
        if _has_window(selection, stop_at):
            return _plan_window(job, start)
        return _advance(replace(job, request=replace(job.request, resume=True)), start, lost_is_none=on_missing_checkpoint == "earliest")
    except DblogError as error:
        tasks.tell_gap(source, error)
        return Failed(message=str(error), data=error)


def _has_window(selection: Selection, stop_at: str) -> bool:
    return bool(selection.since or selection.until or selection.transactions or selection.gtids or stop_at)


def plan_job(
    logs: list[str],
    source: str,
    out: str,
    driver: str,
    selection: Selection,
    schema_url: str,
    storage_options: tuple[str, ...],
    stop_at: str,
) -> PlanJob:
    """Return what is to be planned. Raises InvalidInput for a selection that cannot be read."""
    chosen = planning.selection(
        tables=selection.tables,
        kinds=selection.kinds,
        since=_text(selection.since),
        until=_text(selection.until),
        transactions=selection.transactions,
        gtids=selection.gtids,
        threads=selection.threads,
        statements=selection.statements,
        columns=selection.columns,
        where=selection.where,
    )
    stop = Position(driver, stop_at) if stop_at else Position()
    request = PlanRequest(
        driver,
        tuple(logs),
        out,
        source,
        chosen,
        stop=stop,
        schema=schema_url,
        whole_transactions=selection.whole_transactions,
        own_replays=selection.own_replays,
    )
    return PlanJob(request, tuple(storage_options))


def _text(time: datetime | None) -> str:
    return time.isoformat() if time else ""


def _advance(job: PlanJob, start: Checkpoint, *, lost_is_none: bool) -> State[Any]:
    """Plan what came after the checkpoint, or take up what a run made that did not live to say so."""
    tag_run(job.tags)
    last = tasks.last_checkpoint(FLOW, job, or_none=lost_is_none or bool(start))
    _say_where(job, last, start)
    begin = start or (last.next if last else Checkpoint())
    settings = read_settings()
    found: FinishedPlan | None = tasks.retried(tasks.follow_plans, settings)(job, begin, certain=bool(last) and not start)
    if found and (last is None or found.end.position != last.next.position):
        return _advanced(job, found, last, "found finished: ")
    job = job.starting_at(found.end if found else begin)
    files = tasks.retried(tasks.find_log_files, settings)(job)
    parts = tasks.plan_log_files(job, files, settings)
    if parts[-1].end.position == job.request.start.position:
        end = job.request.start
        data = tasks.checkpoint_data(job, end, None, last)
        return Completed(name=CAUGHT_UP, message=f"nothing new after {end.position.value or 'the beginning'}", data=data)
    return _advanced(job, tasks.retried(tasks.finish_plan, settings)(job, parts), last)


def _say_where(job: PlanJob, last: Committed | None, start: Checkpoint) -> None:
    logger = get_run_logger()
    if start:
        logger.warning(
            "Going on after %s as asked, the last run ended at %s.",
            start.position.value,
            last.next.position.value if last else "no checkpoint",
        )
    elif last:
        logger.info("Going on after %s, where flow run %s ended.", last.next.position.value or "the beginning", last.run)
    else:
        logger.info("No checkpoint of an earlier run: starting with the log.")
    if last and last.url and not tasks.plan_is_there(job, last.url):
        logger.warning("The last run's plan is no longer in %s; to make it again, give another out and start_at.", last.url)


def _advanced(job: PlanJob, plan: FinishedPlan, last: Committed | None, how: str = "") -> State[Any]:
    return Completed(name=ADVANCED, message=f"{how}{plan}", data=tasks.checkpoint_data(job, plan.end, plan, last))


def _plan_window(job: PlanJob, start: Checkpoint) -> State[Any]:
    job = window(job, start)
    plan = plan_window(job)
    return Completed(name=PLANNED, message=str(plan), data=tasks.checkpoint_data(job, plan.end, plan, None))


def window(job: PlanJob, start: Checkpoint) -> PlanJob:
    """Return the job of a plan of its own, in a folder that belongs to this flow run."""
    folder = f"{planning.slug(job.request.source)}-once-{job.filter_id}-{str(flow_run.id)[:8]}"
    return replace(job, request=replace(job.request, start=start, out=storage.join(job.request.out, folder)))


def plan_window(job: PlanJob) -> FinishedPlan:
    """Make a plan of its own for a window; the checkpoint stays where it is."""
    settings = read_settings()
    try:
        files = tasks.retried(tasks.find_log_files, settings)(job)
        plan: FinishedPlan = tasks.retried(tasks.finish_plan, settings)(job, tasks.plan_log_files(job, files, settings))
    except DblogError:
        tasks.remove_unfinished(job)
        raise
    return plan
