"""The whole way back: plan what went wrong, ask a person, replay, verify, report.

Order only; the verbs are tasks, what an answer means is in `dblog_tasks.approval`. While a person thinks, the run is suspended and holds
no worker; when it goes on it begins at its beginning, finds the plan it made and the answer that was given.

    ends as          type         means
    Verified         Completed    replayed, and every row is as it should be
    NothingToUndo    Completed    the plan undoes no row; nobody was asked
    Declined         Cancelled    a person said no; nothing was changed
    Stopped          Cancelled    a person cancelled the run during the replay; what is committed is said
    Held             Failed       the server was too busy; what is committed is said, and the next run goes on
    Conflict         Failed       rows were not as the plan expects them; what is committed is said
    Differs          Failed       replayed, and rows are not as they should be
    Failed           Failed       one line that says what, where and what to do
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Event as CancelEvent
from typing import Annotated, Any, Literal

from prefect import State, flow, get_client, get_run_logger
from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext
from prefect.runtime import flow_run
from prefect.states import Cancelled, Completed, Failed
from pydantic import BaseModel, ConfigDict, Field

from dblog_tasks import approval, replay_tasks, tasks
from dblog_tasks.approval import APPROVED, DECLINED, Answer, Approval, Shown
from dblog_tasks.errors import DblogError, InvalidInput
from dblog_tasks.event import Checkpoint, JsonObject
from dblog_tasks.replay_request import DONE, STOPPED
from dblog_tasks.replay_tasks import ReplayJob
from dblog_tasks.settings import Settings, read_settings
from dblog_tasks.targets import NAMED
from dblog_tasks.tasks import FinishedPlan, PlanJob
from flows.plan_recovery import Selection, plan_job, plan_window, window

FLOW = "recover"
TARGET = rf"^{NAMED}$"


class ReplayOptions(BaseModel):
    """How the plan is replayed."""

    model_config = ConfigDict(extra="forbid")

    on_conflict: Literal["stop", "skip", "force"] = Field(
        "stop", title="On a conflict", description="stop before anything of the batch is written, skip the row, or force the old value"
    )
    acknowledge: list[str] = Field([], title="Acknowledge", description="Risks you accept, in the words the refusal names them with")
    batch_rows: int = Field(2000, title="Rows a batch", ge=1, le=100_000, description="Rows in one transaction of the target")
    atomic: Annotated[bool, Field(title="All or nothing", description="One transaction for the whole plan, for small ones")] = False
    max_rate: float = Field(0, title="Rows a second, at most", ge=0, description="0: as fast as the target takes them")
    max_running: int = Field(0, title="Sessions at work, at most", ge=0, description="Held when the server has more; 0: no limit")
    max_lag: float = Field(
        0, title="Seconds behind, at most", ge=0, description="Held when a replica is more; PostgreSQL only; 0: no limit"
    )
    guard_ignore: list[str] = Field([], title="Columns to overlook", description="Whose value does not matter: what a trigger sets")
    accept_drift: list[str] = Field([], title="Changed columns to accept", description="Missing or of another type in the target")
    triggers: str = Field(
        "refuse",
        title="Triggers",
        pattern=r"^(refuse|allow|set:(@\w+|[\w.]+)=.*)$",
        description="refuse, allow, set:@variable=1; PostgreSQL: set:setting=1",
    )


def _run_name() -> str:
    given = flow_run.parameters
    return f"recover-{given.get('source') or str(given.get('plan')).rstrip('/').rpartition('/')[2] or 'plan'}"


@flow(name=FLOW, flow_run_name=_run_name, persist_result=True, result_serializer="json", validate_parameters=True)
def recover(
    target: Annotated[str, Field(pattern=TARGET)],
    plan: str = "",
    logs: list[str] = [],  # noqa: B006 - never changed
    source: Annotated[str, Field(max_length=200)] = "",
    out: str = "",
    driver: Literal["mysql", "pg"] = "mysql",
    selection: Selection = Selection(),  # noqa: B008 - never changed
    schema_url: str = "",
    storage_options: tuple[str, ...] = (),
    options: ReplayOptions = ReplayOptions(),  # noqa: B008 - never changed
    mask: bool = False,  # noqa: FBT001, FBT002 - a switch of the form
    approve: str = "",
    approver: str = "",
) -> Any:
    """Undo in a database what a plan says, after a person has approved it, and check the result.

    Without a plan one is made first, of the logs and the selection. Then the run is suspended: on its page, Resume shows what would be done
    and asks for the plan id and a name. Cancelling the run during the replay stops it after the batch in flight.

    Args:
        target: Where it is undone. block:NAME of a Database target, env:NAME of the worker, or a DSN without a password: mysql://user@host/shop,
            postgresql://user@host/shop.
        plan: Folder of a plan that is there already, at any URL. Empty to make one.
        logs: Where the log lies: for a plan to be made, and to look for later changes before it is replayed.
        source: Name of whose log it is.
        out: Folder that holds the plans, for a plan to be made.
        driver: What wrote the log. mysql stands for MariaDB too, pg for PostgreSQL.
        selection: What is to be undone, for a plan to be made; everything when empty.
        schema_url: File of CREATE TABLE statements, where the log does not name columns. A DSN only as env:VARIABLE.
        storage_options: For the stores, NAME=VALUE; a secret only as NAME=env:VARIABLE, which is looked up where the run runs.
        options: Batches, pace, and what to do where rows and tables are not as expected.
        mask: Show no value of a row in the form and on the run's page.
        approve: Id of the plan, to approve it right away: nobody is asked.
        approver: Who approves it so.
    """
    try:
        log = plan_job(logs, source, out, driver, selection, schema_url, storage_options, "") if logs else None
        settings = read_settings()
        found, job = _plan(plan, log, target, source, storage_options, options, mask=mask)
        if not found.rows:
            return Completed(name="NothingToUndo", message=str(found), data=_data(found))
        answer = _given_at_once(found, approve, approver, options, settings) if approve else _asked(job, found, settings, new=not plan)
        if answer.became == DECLINED:
            return Cancelled(name="Declined", message=answer.why)
        get_run_logger().info("Plan %s, %s.", found.id, answer.why)
        return _replay(job, found, answer, settings)
    except DblogError as error:
        return Failed(message=str(error), data=error)


def _plan(
    url: str,
    log: PlanJob | None,
    target: str,
    source: str,
    storage_options: Sequence[str],
    options: ReplayOptions,
    *,
    mask: bool,
) -> tuple[FinishedPlan, ReplayJob]:
    """Return the plan, made or found, and the job of replaying it. It is shown once: a run that goes on finds it."""
    if not url:
        if log is None or not source or not log.request.out:
            raise InvalidInput("there is no plan, and not all that one is made of", hint="give plan, or logs, source and out")
        log = window(log, Checkpoint())
        url = tasks.opened(log).out
    job = ReplayJob(url, target, source, options.model_dump(), log, tuple(storage_options), mask)
    if log is not None and log.request.out and not tasks.plan_is_there(log, url):
        found = plan_window(log)
    else:
        found = tasks.retried(replay_tasks.read_plan, read_settings())(job, show=not _this_run().empirical_policy.pause_keys)
    return found, replace(job, source=found.source)


def _this_run() -> FlowRun:
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        raise InvalidInput("an approval belongs to a flow run", hint="call this inside a flow")
    return context.flow_run


def _given_at_once(plan: FinishedPlan, approve: str, approver: str, options: ReplayOptions, settings: Settings) -> Answer:
    """Return what an approval in the run's own parameters means: it was given when the run was created."""
    if not approver.strip():
        raise InvalidInput("an approval has a name", where="approver")
    now = datetime.now(UTC)
    given = Approval(decision="approve", plan_id=approve, name=approver)
    shown = Shown(plan.id, frozenset(), (), options.on_conflict, _this_run().created or now)
    answer = approval.judge(given, shown, plan.id, now=now, counts=timedelta(seconds=settings.approval_seconds))
    if answer.became != APPROVED:
        raise InvalidInput(answer.why, where="approve", hint=f"the plan is {plan.id}")
    return answer


def _asked(job: ReplayJob, plan: FinishedPlan, settings: Settings, *, new: bool) -> Answer:
    """Return the answer that counts; without one, ask: this run is suspended then, and begins again when somebody has answered."""
    run, counts = _this_run(), timedelta(seconds=settings.approval_seconds)
    look = tasks.retried(replay_tasks.look, settings)
    why, found = "", None
    with get_client(sync_client=True) as client:
        last, following = approval.keys(run, client)
        if last:
            shown = approval.read_shown(run.id, last, client)
            answer = approval.judge(approval.given(last), shown, plan.id, now=datetime.now(UTC), counts=counts)
            if answer.became == APPROVED:
                found = look(job, log=True)
                answer = approval.compared(answer, shown, found)
            if answer.became in {APPROVED, DECLINED}:
                return answer
            why = answer.why
            get_run_logger().warning("Asking again: %s.", why)
    found = found or look(job, log=bool(why) or not new)
    opened = replay_tasks.open_plan(job)
    text = approval.screen(opened, found, target=job.target, mask=job.mask, counts=counts, now=datetime.now(UTC), why=why)
    tasks.retried(replay_tasks.show_screen, settings)(job, text)
    approval.ask(following, text, found, opened, on_conflict=job.options["on_conflict"], seconds=settings.approval_wait_seconds)
    raise InvalidInput("the run was not suspended")


def _replay(job: ReplayJob, plan: FinishedPlan, answer: Answer, settings: Settings) -> State[Any]:
    stop = CancelEvent()
    future = tasks.retried(replay_tasks.replay_plan, settings).submit(job, plan.id, answer, stop)
    replayed = replay_tasks.followed(future, stop)
    done = replayed["outcome"] == DONE and not stop.is_set()
    verified = tasks.retried(replay_tasks.verify_plan, settings)(job, replayed["conflicts"]) if done else None
    name, type_, why = _outcome(answer, replayed, verified, stopped=stop.is_set())
    replay_tasks.show_report(job, plan.id, name, why, replayed, verified)
    message = f"{why}: {replay_tasks.committed(replayed)}"
    return type_(name=name, message=message, data=_data(plan, answer, replayed, verified))


def _outcome(
    answer: Answer, replayed: JsonObject, verified: JsonObject | None, *, stopped: bool
) -> tuple[str, Callable[..., State[Any]], str]:
    """Return name and type of the last state, and why it is that: see the table above."""
    if stopped:
        return "Stopped", Cancelled, "stopped by a person"
    if verified is None:
        return "Conflict" if replayed["outcome"] == STOPPED else "Held", Failed, replayed["outcome"]
    if verified["unexpected"]:
        return "Differs", Failed, replay_tasks.verified(verified)
    return "Verified", Completed, f"{replay_tasks.verified(verified)}, {answer.why}"


def _data(
    plan: FinishedPlan, answer: Answer | None = None, replayed: JsonObject | None = None, verified: JsonObject | None = None
) -> JsonObject:
    """Return what the last state holds: names and numbers."""
    return {
        "version": 1,
        "plan": plan.id,
        "url": plan.url,
        "approver": answer.name if answer else None,
        "inverse": replayed["inverse"] if replayed else None,
        "inverse_id": replayed["inverse_id"] if replayed else None,
        "replayed": replay_tasks.tally(replayed) if replayed else None,
        "verified": replay_tasks.tally(verified) if verified else None,
    }
