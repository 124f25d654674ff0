"""A recovery on a scratch server, every night: how long it would take today is measured, and a plan that cannot be replayed is found early.

Order only; the verbs are tasks, and what a run ends as stands in `dblog_tasks.rehearsal_tasks`. What is changed on the scratch server is
taken back at the end, so the next night finds it as it was.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Annotated, Any, Literal

from prefect import State, flow
from prefect.states import Completed, Failed
from pydantic import Field

from dblog_tasks import rehearsal_tasks as verbs, tasks
from dblog_tasks.errors import DblogError
from dblog_tasks.event import Checkpoint
from dblog_tasks.rehearsal_tasks import FLOW, NOTHING, REHEARSED, Measured
from dblog_tasks.replay_tasks import ReplayJob, read_plan
from dblog_tasks.runs import source_tag, tag_run
from dblog_tasks.settings import Settings, read_settings
from dblog_tasks.tasks import FinishedPlan
from flows.plan_recovery import Selection, plan_job, plan_window, window
from flows.recover import TARGET, ReplayOptions


@flow(name=FLOW, flow_run_name="rehearse-{source}", persist_result=True, result_serializer="json", validate_parameters=True)
def rehearsal(
    source: Annotated[str, Field(min_length=1, max_length=200)],
    scratch_target: Annotated[str, Field(pattern=TARGET)],
    out: Annotated[str, Field(min_length=1)],
    plan: str = "",
    logs: list[str] = [],  # noqa: B006 - never changed
    driver: Literal["mysql"] = "mysql",
    selection: Selection = Selection(),  # noqa: B008 - never changed
    sample_hours: Annotated[float, Field(gt=0, le=8784)] = 1,
    schema_url: str = "",
    storage_options: tuple[str, ...] = (),
    options: ReplayOptions = ReplayOptions(),  # noqa: B008 - never changed
    same_server: bool = False,  # noqa: FBT001, FBT002 - a switch of the form
    mask: bool = False,  # noqa: FBT001, FBT002 - a switch of the form
    runs_shown: Annotated[int, Field(ge=1, le=500)] = 30,
) -> Any:
    """Replay the newest plan on a scratch server, verify it, take it back, and record how long that took.

    Args:
        source: Name of whose log it is.
        scratch_target: A scratch server with a copy of the data as the log left it, where everything may be changed. Never the server
            of the log. block:NAME of a Database target, env:NAME of the worker, or a DSN without a password: mysql://user@scratch/shop.
        out: Folder that holds the plans of the source, at any URL.
        plan: Folder of the plan to rehearse. Empty: the newest of the source in out that undoes something.
        logs: Where the log lies: to make a plan when there is none, and to tell whose server the log is of.
        driver: What wrote the log. mysql stands for MariaDB too.
        selection: What is undone by a plan that is made; its window is the sample, without one the last sample_hours.
        sample_hours: How many hours of the log a plan is made of when there is none.
        schema_url: File of CREATE TABLE statements, where the log does not name columns. A DSN only as env:VARIABLE.
        storage_options: For the stores, NAME=VALUE; a secret only as NAME=env:VARIABLE, which is looked up where the run runs.
        options: Batches, pace, and what to do where rows and tables are not as expected.
        same_server: The scratch server has the id of the log's server, and is a copy all the same.
        mask: Show no value of a row on the run's page.
        runs_shown: How many rehearsals the trend shows.
    """
    try:
        tag_run({source_tag(source)})
        settings = read_settings()
        log = plan_job(logs, source, out, driver, selection, schema_url, storage_options, "")
        found, seconds = _plan(log, plan, settings, sample_hours, storage_options)
        if found is None or not found.rows:
            return Completed(name=NOTHING, message="no plan of this source undoes a row")
        shown_as = f"{source}-rehearsal"
        job = ReplayJob(found.url, scratch_target, shown_as, options.model_dump(), log if logs else None, tuple(storage_options), mask)
        server = tasks.retried(verbs.look_at_scratch, settings)(job, same_server=same_server)
        measured = verbs.measure(job, found, server, seconds)
        verbs.show(source, measured, runs_shown)
        return _state(job, measured)
    except DblogError as error:
        return Failed(message=str(error), data=error)


def _plan(
    log: tasks.PlanJob, url: str, settings: Settings, sample_hours: float, storage_options: tuple[str, ...]
) -> tuple[FinishedPlan | None, float | None]:
    """Return the plan, and how long it took where it was made here."""
    if url:
        return tasks.retried(read_plan, settings)(ReplayJob(url, "", storage_options=tuple(storage_options)), show=False), None
    found: FinishedPlan | None = tasks.retried(verbs.choose_plan, settings)(log)
    if found is not None or not log.request.logs:
        return found, None
    since = datetime.now(UTC) - timedelta(hours=sample_hours)
    began = monotonic()
    made = plan_window(window(verbs.sampled(log, since), Checkpoint()))
    return made, monotonic() - began


def _state(job: ReplayJob, measured: Measured) -> State[Any]:
    verbs.clear_away(job, measured.inverses)
    data = {"version": 1, **asdict(measured.rehearsal), "total_seconds": measured.rehearsal.total_seconds}
    return (Completed if measured.ended == REHEARSED else Failed)(name=measured.ended, message=verbs.message(measured), data=data)
