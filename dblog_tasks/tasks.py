"""The verbs as Prefect tasks, what a run leaves to look at, and the checkpoint that a run leaves to the next one.

Law: a task is a few log files or a whole plan, never a row; it passes URLs, names and counts. A secret is looked up inside the task that
needs it, so that none is in a parameter, a state, an artifact or a log. Nothing is cached: a log that is written to is not the
same input twice. Tried again is what may work the next time: a store that cannot be reached.

The checkpoint is the data of a flow run's last state, whose name says what it is:

    Advanced    a plan was finished, or found finished; the next run goes on after `next`
    CaughtUp    there was nothing after `next`
    Planned     a plan of a part that was asked for; never a checkpoint

    {"version": 1, "source": {driver, name}, "filter": id, "next": checkpoint, "plan": id, "url": its folder, "previous": flow run id}

A plan's folder is named by where it starts, and its manifest is written exclusively. So of two runs with one start, or of one that was
killed and the next, one makes the plan and the other finds it and goes on after *its* end: whatever state was recorded last,
following the plans from there gives the place where the next one starts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
import os
from pathlib import Path
import re
from typing import Any

from prefect import State, get_client, get_run_logger, task
from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_table_artifact,
)
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateName,
    FlowRunFilterTags,
)
from prefect.client.schemas.sorting import FlowRunSort
from prefect.futures import PrefectFuture, as_completed
from prefect.runtime import task_run

from dblog_tasks import plan as plans, planning, storage
from dblog_tasks.backend import default_registry
from dblog_tasks.blocks import stored
from dblog_tasks.dashboards import PlanProgress, ledger_table, log_span, radius, show_coverage, show_runs
from dblog_tasks.errors import DblogError, InvalidCheckpoint, InvalidInput, LogGap, MalformedPlan, StorageError
from dblog_tasks.event import Checkpoint, JsonObject, Position, Source
from dblog_tasks.part import LogPart
from dblog_tasks.picture import Span
from dblog_tasks.plan import Plan
from dblog_tasks.planning import PlanRequest
from dblog_tasks.runners import grouped, lost, started
from dblog_tasks.runs import tell
from dblog_tasks.settings import Settings, read_settings
from dblog_tasks.storage import LogFile
from dblog_tasks.storage.options import holds_secret

CHECKPOINT_VERSION = 1
ADVANCED, CAUGHT_UP, PLANNED = "Advanced", "CaughtUp", "Planned"
PLAN_READY, OMISSIONS, COVERAGE_GAP = "dblog.plan.ready", "dblog.plan.omissions", "dblog.coverage.gap"
REASONS_TOLD = 20  # in an event, the most frequent ones
_ENVIRONMENT = "env:"
_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class PlanJob:
    """A request without its secrets: safe to be passed around.

    Attributes:
        request: without storage options; `schema` may be `env:NAME`.
        storage_options: `NAME=VALUE` or `NAME=env:VARIABLE`.
    """

    request: PlanRequest
    storage_options: tuple[str, ...] = ()

    @property
    def source(self) -> Source:
        """Whose log it is."""
        return Source(self.request.driver, self.request.source)

    @property
    def filter_id(self) -> str:
        """The short name of the filter."""
        return plans.filter_id(self.request.filter)

    @property
    def tags(self) -> set[str]:
        """What tells runs of this source and filter from all others."""
        return {f"dblog-source:{self.request.source}", f"dblog-filter:{self.filter_id}"}

    def starting_at(self, start: Checkpoint) -> PlanJob:
        """Return the job of the one plan that starts there, in its own folder."""
        return replace(self, request=replace(self.request, start=start, out=planning.folder_of(self.request, start)))


@dataclass(frozen=True, slots=True)
class FinishedPlan:
    """What a run passes on of a plan: the plan itself lies in its folder."""

    id: str
    url: str
    start: Checkpoint
    end: Checkpoint
    rows: int
    omitted: int
    hard: int
    soft: int
    source: str = ""

    @classmethod
    def of(cls, plan: Plan) -> FinishedPlan:
        """Return the values of a plan."""
        found = plan.manifest["conflicts"]
        numbers = (plan.ledger.rows_undone, plan.ledger.omitted.total(), found["hard"], found["soft"])
        return cls(plan.id, plan.url, plan.start, plan.end, *numbers, plan.manifest["source"]["name"])

    def __str__(self) -> str:
        blemishes = ((self.omitted, "events omitted"), (self.hard, "hard conflicts"), (self.soft, "soft conflicts"))
        found = "".join(f", {count} {name}" for count, name in blemishes if count)
        return f"{self.rows} rows to undo{found}, up to {self.end.position.value}: {self.url}"


@dataclass(frozen=True, slots=True)
class Committed:
    """The checkpoint an earlier run left: which run, where to go on, and the folder of its plan if it made one."""

    run: str
    next: Checkpoint
    url: str = ""


def worth_retrying(_task: Any, _run: Any, state: Any) -> bool:
    """Return whether a failed task may work the next time: a store failed, and not because the log has a gap."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, StorageError) and not isinstance(error, LogGap)


_RETRIED: Mapping[str, Any] = {"cache_policy": NO_CACHE, "retry_condition_fn": worth_retrying, "persist_result": False}


@task(name="find log files", **_RETRIED)
def find_log_files(job: PlanJob) -> tuple[LogFile, ...]:
    """Return the files that hold the part of the log that is asked for, in log order."""
    return planning.find_files(opened(job))


def _group_name() -> str:
    """Return how a task run is called: by the first and last of its files."""
    group = task_run.parameters["group"]
    return f"plan {group[0].name}" + (f" to {group[-1].name} ({len(group)} files)" if len(group) > 1 else "")


@task(name="plan log files", task_run_name=_group_name, **_RETRIED)
def plan_log_group(job: PlanJob, group: Sequence[LogFile], ends: Sequence[LogFile]) -> list[LogPart]:
    """Write the steps of log files into the plan's folder; return what was found in each. `ends` are the first and last of the log.

    It ends early at a file whose store fails: what is done is done, and the rest becomes a task with retries of its own.
    """
    request, parts = opened(job), list[LogPart]()
    for file in group:
        try:
            parts.append(planning.plan_file(request, file, ends))
        except StorageError:
            if not parts:
                raise
            break
    return parts


@task(name="finish plan", **_RETRIED)
def finish_plan(job: PlanJob, parts: Sequence[LogPart]) -> FinishedPlan:
    """Look for conflicts, write the manifest, and show the plan; it is the other run's plan when that was faster."""
    plan = planning.finish_plan(opened(job), parts)
    show_coverage(artifact_key("coverage", job.request.source), parts)
    return show_plan(plan, span=log_span(parts))


@task(name="follow finished plans", **_RETRIED)
def follow_plans(job: PlanJob, start: Checkpoint, *, certain: bool) -> FinishedPlan | None:
    """Return the last of the plans that lie end to start from `start` on in the folder of all plans, None when none starts there.

    A start that is not `certain` to be the end of a plan is checked against all plans of the folder. Raises InvalidInput when some
    lie beyond it: making another would plan events twice.
    """
    request = opened(job)
    found = list(_chain(request, start))
    end = found[-1].end if found else start
    if found:
        _refuse_other_log(request, end)
    if not certain:
        _refuse_overlap(request, end)
    return show_plan(found[-1]) if found else None


def _chain(request: PlanRequest, start: Checkpoint) -> Iterator[Plan]:
    passed = {start.position.value}
    while storage.exists(storage.join(planning.folder_of(request, start), plans.MANIFEST), request.storage_options):
        plan = plans.read_plan(planning.folder_of(request, start), request.storage_options)
        ours = (request.driver, request.source, request.filter, start.position, start.log or plan.start.log)
        if ours != (plan.manifest["driver"], plan.manifest["source"]["name"], plan.manifest["filter"], plan.start.position, plan.start.log):
            raise InvalidCheckpoint("the plan here is of another log or filter", where=plan.url, hint="give another out, or remove it")
        if plan.end.position.value in passed:
            raise MalformedPlan("a plan that does not lead further is where the next plan should go", where=plan.url, hint="remove it")
        passed.add(plan.end.position.value)
        yield plan
        start = plan.end


def _refuse_other_log(request: PlanRequest, end: Checkpoint) -> None:
    """Read the event a plan ends with; raise InvalidCheckpoint when it is of another log than the one that is here now."""
    request = replace(request, start=end, stop=end.position)
    for file in planning.find_files(request):
        path = {"path": file.url, "checkpoint": end, "stop": end.position, "storage_options": request.storage_options}
        path["on_damage"] = request.on_damage
        with default_registry.open(request.driver, **path) as decoder:
            for _ in decoder:
                pass


def _refuse_overlap(request: PlanRequest, start: Checkpoint) -> None:
    backend = default_registry.get(request.driver)
    last = planning.last_plan(request.out, planning.folder_stem(request), request.storage_options, backend)
    key: Callable[[Position], Any] = getattr(backend, "position_key", lambda position: position.value)
    if last and (not start or key(last.end.position) > key(start.position)):
        raise InvalidInput(
            f"plans up to {last.end.position.value} are here already, and none starts at {start.position.value or 'the beginning'}",
            where=request.out,
            hint=f"give another out to plan that part again, or start_at {last.end.position.value} to go on after them",
        )


def opened(job: PlanJob) -> PlanRequest:
    """Return the request with its secrets, from the environment and the settings of this machine. Raises InvalidInput."""
    given = storage.parse_storage_options(job.storage_options, os.environ)
    schema = job.request.schema
    if schema.startswith(_ENVIRONMENT):
        name = schema.removeprefix(_ENVIRONMENT)
        if name not in os.environ:
            raise InvalidInput(f"environment variable {name} is not set", where="schema_url")
        schema = os.environ[name]
    elif holds_secret(schema):
        raise InvalidInput(
            "a password is not written out", where="schema_url", hint="put the DSN into the environment and write env:VARIABLE"
        )
    settings = read_settings()
    (out, *logs), of_blocks = stored((job.request.out, *job.request.logs))
    options = _merged(_merged(settings.open_storage_options(), of_blocks), given)
    index = job.request.index or settings.index
    return replace(job.request, logs=tuple(logs), out=out, schema=schema, storage_options=options, index=index)


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return both options as one; `above` wins, groups are merged."""
    groups = {
        name: _merged(below[name], value) for name, value in above.items() if isinstance(value, dict) and isinstance(below.get(name), dict)
    }
    return {**below, **above, **groups}


def plan_log_files(job: PlanJob, files: Sequence[LogFile], settings: Settings) -> list[LogPart]:
    """Plan every file, several to a task and a task where the settings say, and show how far it is; return the parts in log order.

    Tasks that are lost with what they worked in are begun again. A last file in which nothing is whole yet is left to the next run.
    """
    left, found, losses = grouped(files, settings), dict[LogFile, LogPart](), settings.retries
    one, progress = retried(plan_log_group, settings), PlanProgress(artifact_key("progress", job.request.source), files)
    while left:
        with started(settings) as runner:
            futures = {runner.submit(one, {"job": job, "group": group, "ends": (files[0], files[-1])}): group for group in left}
            left, gone = [], False
            for future in as_completed(list(futures)):
                group, parts = futures[future], _done(future, losses)
                gone = gone or not parts
                found.update(zip(group, parts, strict=False))
                progress.add(group[: len(parts)])
                left += [group[len(parts) :]] if len(parts) < len(group) else []
        losses -= gone
    progress.end()
    ready = [found[file] for file in files]
    while len(ready) > 1 and not ready[-1].end:
        ready.pop()
    return ready


def _done(future: PrefectFuture[list[LogPart]], losses: int) -> list[LogPart]:
    """Return what a task found; nothing when it was lost with what it worked in, which may happen to a run `losses` times."""
    try:
        return future.result()
    except Exception as error:
        if not lost(error) or not losses:
            raise
        get_run_logger().warning("A task was lost with what it worked in (%s): it is begun again.", type(error).__name__)
        return []


def retried(verb: Any, settings: Settings) -> Any:
    """Return the task with the retries of this machine's settings."""
    return verb.with_options(retries=settings.retries, retry_delay_seconds=settings.retry_delay_seconds)


def artifact_key(kind: str, source: str) -> str:
    """Return the key of an artifact: what Prefect allows in one is `[a-z0-9-]`."""
    return re.sub(r"[^a-z0-9]+", "-", f"dblog-{kind}-{source}".lower()).strip("-")


def show_plan(plan: Plan, *, ready: bool = True, span: Span | None = None) -> FinishedPlan:
    """Make the artifacts of a plan and, when it is new, tell that it is `ready`; return its values. `span` is of its log."""
    finished, source = FinishedPlan.of(plan), plan.manifest["source"]["name"]
    create_markdown_artifact(radius(plan, span), key=artifact_key("radius", source), description=f"What plan {plan.id} undoes")
    create_table_artifact(ledger_table(plan), key=artifact_key("ledger", source), description=f"What became of every event: plan {plan.id}")
    create_link_artifact(_link(plan.url), link_text=plan.url, key=artifact_key("plan", source), description=f"Plan {plan.id}")
    show_runs(artifact_key("runs", source), plan.id)
    if ready:
        numbers = {"rows": finished.rows, "omitted": finished.omitted, "hard": finished.hard, "soft": finished.soft}
        tell(PLAN_READY, source, {"plan": plan.url, "id": plan.id, **numbers})
        if finished.omitted:
            tell(OMISSIONS, source, {"plan": plan.url, "id": plan.id, "reasons": dict(plan.ledger.omitted.most_common(REASONS_TOLD))})
    return finished


def tell_gap(source: str, error: DblogError) -> None:
    """Tell it when an error means that logs do not go on where the last plan ended; of other errors nothing is told."""
    if isinstance(error, LogGap | InvalidCheckpoint):
        tell(COVERAGE_GAP, source, {"what": error.what, "where": error.where})


def _link(url: str) -> str:
    return url if _URL.match(url) else Path(url).resolve().as_uri()


def last_checkpoint(flow: str, job: PlanJob, *, or_none: bool = False) -> Committed | None:
    """Return the checkpoint that the last run of this flow, source and filter left; None when there was no such run.

    Raises InvalidCheckpoint when it cannot be read or belongs to something else; with `or_none` that is None, too.
    """
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=[flow])),
            flow_run_filter=FlowRunFilter(
                tags=FlowRunFilterTags(all_=sorted(job.tags)),
                state=FlowRunFilterState(name=FlowRunFilterStateName(any_=[ADVANCED, CAUGHT_UP])),
            ),
            sort=FlowRunSort.END_TIME_DESC,
            limit=1,
        )
    if not runs or runs[0].state is None:
        return None
    where, state = f"flow run {runs[0].name} ({runs[0].id})", runs[0].state
    try:
        return _committed(_result(state, where), job, where, str(runs[0].id))
    except InvalidCheckpoint as error:
        if not or_none:
            raise
        get_run_logger().warning("%s", error)
        return None


def _result(state: State[Any], where: str) -> Any:
    try:
        return state.result()
    except Exception:  # noqa: BLE001 - a result can be lost in as many ways as there are places to keep it
        raise InvalidCheckpoint(
            "the checkpoint cannot be read: its result was lost, or lies where this machine cannot reach it",
            where=where,
            hint="give start_at, or on_missing_checkpoint=earliest: plans in the same folder are followed, not made again",
        ) from None


def _committed(data: Any, job: PlanJob, where: str, run: str) -> Committed:
    if not isinstance(data, dict) or data.get("version") != CHECKPOINT_VERSION:
        raise InvalidCheckpoint("this is no checkpoint this version can read", where=where, hint="give start_at")
    if (data.get("source"), data.get("filter")) != (job.source.to_json(), job.filter_id):
        raise InvalidCheckpoint("the checkpoint is of another source or filter", where=where, hint="give start_at")
    return Committed(run, Checkpoint.from_json(data.get("next") or {}), data.get("url") or "")


def checkpoint_data(job: PlanJob, end: Checkpoint, plan: FinishedPlan | None, previous: Committed | None) -> JsonObject:
    """Return the checkpoint as the data of a flow's last state."""
    return {
        "version": CHECKPOINT_VERSION,
        "source": job.source.to_json(),
        "filter": job.filter_id,
        "next": end.to_json(),
        "plan": plan.id if plan else None,
        "url": plan.url if plan else None,
        "previous": previous.run if previous else None,
    }


def remove_unfinished(job: PlanJob) -> None:
    """Remove the folder of a plan that will not be finished, as far as the store allows. Only for a folder no other run uses."""
    with suppress(DblogError):
        request = opened(job)
        if not storage.exists(storage.join(request.out, plans.MANIFEST), request.storage_options):
            storage.remove_folder(request.out, request.storage_options)


def plan_is_there(job: PlanJob, url: str) -> bool:
    """Return whether a complete plan lies in a folder; a store that cannot be asked counts as yes."""
    try:
        return storage.exists(storage.join(url, plans.MANIFEST), opened(job).storage_options)
    except DblogError:
        return True
