"""The main job over a log that grows, is rotated, cut and replaced: every event is in exactly one plan."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import shutil
from typing import Any
from uuid import UUID

from prefect import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterTags,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.logging.handlers import APILogHandler
import pytest

from dblog_tasks import planning, runs, tasks
from dblog_tasks.errors import DblogError, InvalidInput, LogGap, MalformedLog, StorageError
from dblog_tasks.plan import Plan, check
from dblog_tasks.planning import PlanRequest, make_plan
from tests.flows.conftest import Run
from tests.flows.growing import GrowingLog, place, plans_in, positions, transactions

SECRET = "hunter2-of-the-shop"  # noqa: S105 - what must not be told


def middle(plan: Plan, file: str) -> tuple[str, str]:
    """Return start and end of a transaction in the middle of a file."""
    found = [item for item in transactions(plan) if item[0].startswith(file)]
    return found[len(found) // 2]


def moved(position: str, by: int) -> str:
    """Return the position so many bytes further."""
    file, _, offset = position.rpartition(":")
    return f"{file}:{int(offset) + by}"


def test_growing_log_is_planned_once(log: GrowingLog, plans: Path, whole: Plan, run: Run) -> None:
    """Runs between a transaction's end, an open one, a torn event, a rotation and the end plan every event once, in order."""
    open_start, open_end = middle(whole, "shop.000002")
    first, second = middle(whole, "shop.000001")[1], middle(whole, "shop.000003")[1]
    names = []
    for cut in (first, moved(first, 7), "shop.000002:3", open_start, moved(open_end, -20), open_end, "shop.000003:0", second, ""):
        log.grow(cut)
        names.append(run().name)

    made = plans_in(plans)

    assert ["Advanced", "CaughtUp", "Advanced", "Advanced", "CaughtUp", "Advanced", "Advanced", "Advanced", "Advanced"] == names
    assert list(whole.positions()) == positions(made)
    assert [plan.end for plan in made[:-1]] == [plan.start for plan in made[1:]]
    assert [[]] * len(made) == [check(plan) for plan in made]


def test_nothing_new_leaves_nothing(log: GrowingLog, plans: Path, run: Run) -> None:
    """A run that finds nothing keeps the checkpoint, names the run before, and leaves no folder."""
    log.grow()
    advanced = run()
    caught_up = run()

    before, after = advanced.result(), caught_up.result()

    assert ("Advanced", "CaughtUp", 1) == (advanced.name, caught_up.name, len(list(plans.iterdir())))
    assert (before["next"], str(advanced.state_details.flow_run_id), None) == (after["next"], after["previous"], after["plan"])


def test_checkpoint_is_plain_data(log: GrowingLog, plans: Path, run: Run, source: str) -> None:
    """The state's data says what it is of, where to go on, and which plan it stands for."""
    log.grow()
    data = run().result()
    (plan,) = plans_in(plans)

    expected = {
        "version": 1,
        "source": {"driver": "mysql", "name": source},
        "filter": "a79c220c",
        "next": plan.end.to_json(),
        "plan": plan.id,
        "url": plan.url,
        "previous": None,
    }

    assert expected == data


@pytest.mark.parametrize("lost", [1, 2])
def test_finished_plans_without_a_state_are_taken_up(log: GrowingLog, plans: Path, whole: Plan, run: Run, source: str, lost: int) -> None:
    """Plans nobody recorded, one or a chain, are followed: the run commits the end of the last, the next goes on there."""
    for cut in (middle(whole, "shop.000001")[1], middle(whole, "shop.000002")[1])[:lost]:
        log.grow(cut)
        made = make_plan(PlanRequest("mysql", (str(log.folder),), str(plans), source=source, resume=True))
    log.grow()

    taken_up, after = run(), run()

    assert made is not None
    assert ("Advanced", made.end.to_json(), made.id) == (taken_up.name, taken_up.result()["next"], taken_up.result()["plan"])
    assert ("Advanced", lost + 1) == (after.name, len(plans_in(plans)))
    assert list(whole.positions()) == positions(plans_in(plans))


def during(monkeypatch: pytest.MonkeyPatch, act: Callable[[], Any]) -> list[Any]:
    """Let something happen once, when a run has read the log and not said yet what it found; its result is in the list."""
    found: list[Any] = []
    read = tasks.plan_log_files

    def plan_log_files(*arguments: Any) -> Any:
        parts = read(*arguments)
        if not found:
            found.append(None)
            with ThreadPoolExecutor(1) as elsewhere:
                found[0] = elsewhere.submit(act).result()
        return parts

    monkeypatch.setattr(tasks, "plan_log_files", plan_log_files)
    return found


def test_slower_of_two_runs_takes_up_the_plan_of_the_faster(
    log: GrowingLog, plans: Path, whole: Plan, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runs from one checkpoint on a log that grew between them make one plan and commit the same end."""
    log.grow(middle(whole, "shop.000001")[1])
    run()
    log.grow(middle(whole, "shop.000002")[1])

    def faster() -> Any:
        log.grow(middle(whole, "shop.000003")[1])
        return run()

    other = during(monkeypatch, faster)
    state = run()
    log.grow()
    run()

    assert state.result() == other[0].result()
    assert (3, list(whole.positions())) == (len(plans_in(plans)), positions(plans_in(plans)))


def test_stale_state_recorded_last_does_no_harm(
    log: GrowingLog, plans: Path, whole: Plan, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that saw nothing new, recorded after one that did, sets the checkpoint back: the plan is taken up, not made again."""
    log.grow(middle(whole, "shop.000001")[1])
    run()

    def faster() -> Any:
        log.grow(middle(whole, "shop.000002")[1])
        return run()

    other = during(monkeypatch, faster)
    stale = run()
    log.grow()
    taken_up, after = run(), run()

    assert ("CaughtUp", "Advanced", "Advanced") == (stale.name, taken_up.name, after.name)
    assert other[0].result()["plan"] == taken_up.result()["plan"]
    assert list(whole.positions()) == positions(plans_in(plans))


@pytest.mark.parametrize(
    ("parameters", "rows"),
    [
        ({"selection": {"transactions": ["0-1-35"]}}, 89),
        ({"selection": {"since": "2026-09-21T14:16:37Z", "until": "2026-09-21T14:16:38Z", "kinds": ["update"], "tables": ["users"]}}, 40),
        ({"stop_at": "shop.000001:23597", "start_at": "shop.000001:19378"}, 89),
    ],
)
def test_window_of_its_own_leaves_the_checkpoint_alone(log: GrowingLog, run: Run, parameters: dict[str, Any], rows: int) -> None:
    """A one-off plan ends as Planned, and the next run finds the checkpoint where it was."""
    log.grow()
    before = run()
    planned, after = run(**parameters), run()

    assert ("Planned", "CaughtUp") == (planned.name, after.name)
    assert planned.message.startswith(f"{rows} rows to undo")
    assert before.result()["next"] == after.result()["next"]


def test_failed_window_leaves_nothing(log: GrowingLog, plans: Path, run: Run) -> None:
    """A one-off plan that cannot be made leaves no folder."""
    log.grow()
    state = run(selection={"transactions": ["0-1-35", "0-1-999"]})

    assert "transaction 0-1-999 is not in these logs" in state.message
    assert [] == list(plans.iterdir())


def test_selections_have_checkpoints_of_their_own(log: GrowingLog, run: Run) -> None:
    """A run with another selection starts with the log."""
    log.grow()
    names = [run().name, run(selection={"tables": ["orders"]}).name, run(selection={"tables": ["orders"]}).name]

    assert ["Advanced", "Advanced", "CaughtUp"] == names


def test_checkpoint_of_another_log_is_one_clear_line(log: GrowingLog, plans: Path, run: Run, corpus: Path) -> None:
    """When other files have taken the names of the log, the run fails, says so, and plans nothing."""
    log.grow("shop.000001:31297")
    run()
    shutil.copy(corpus / "types" / "types.000001", log.folder / "shop.000001")
    state = run()

    assert state.is_failed()
    assert "another log than shop.000001" in state.message
    assert ("\n" not in state.message, 1) == (True, len(plans_in(plans)))


def test_plan_of_another_log_is_not_taken_up(log: GrowingLog, plans: Path, run: Run, corpus: Path, source: str) -> None:
    """A finished plan that starts in the same place of another log is refused."""
    log.grow("shop.000001:31297")
    make_plan(PlanRequest("mysql", (str(log.folder),), str(plans), source=source, resume=True))
    shutil.copy(corpus / "types" / "types.000001", log.folder / "shop.000001")
    state = run()

    assert (True, True) == (state.is_failed(), "another log than shop.000001" in state.message)


def test_lost_checkpoint_fails_or_follows_the_plans(
    log: GrowingLog, plans: Path, whole: Plan, run: Run, results: Callable[[], None]
) -> None:
    """A checkpoint that cannot be read is an error; started over on request, the plans that are there are not made again."""
    log.grow(middle(whole, "shop.000002")[1])
    run()
    results()
    log.grow()

    failed = run()
    states = [run(on_missing_checkpoint="earliest"), run()]

    assert (True, True) == (failed.is_failed(), "the checkpoint cannot be read" in failed.message)
    assert (["Advanced", "Advanced"], list(whole.positions())) == ([state.name for state in states], positions(plans_in(plans)))


def test_start_that_would_plan_twice_is_refused(log: GrowingLog, plans: Path, whole: Plan, run: Run, tmp_path: Path) -> None:
    """Going back into a plan that is there is an error; in another folder it is what was asked for."""
    log.grow()
    run()
    back = middle(whole, "shop.000002")[1]
    refused, again = run(start_at=back), run(start_at=back, out=str(tmp_path / "again"))
    (plan,) = plans_in(tmp_path / "again")

    assert "plans up to shop.000003:23587 are here already" in refused.message
    assert ("Advanced", back, 1) == (again.name, plan.start.position.value, len(plans_in(plans)))


def test_start_at_a_plan_goes_on_after_it(log: GrowingLog, plans: Path, whole: Plan, run: Run) -> None:
    """A start given run after run does not keep the job from going on."""
    start = middle(whole, "shop.000001")[1]
    names = []
    for cut in (middle(whole, "shop.000002")[1], middle(whole, "shop.000003")[1], ""):
        log.grow(cut)
        names.append(run(start_at=start).name)

    expected = [position for position in whole.positions() if place(position) > place(start)]

    assert ["Advanced"] * 3 == names
    assert expected == positions(plans_in(plans))


@pytest.mark.parametrize(
    ("error", "attempts"),
    [(StorageError("gone"), 3), (LogGap("gap"), 1), (MalformedLog("bad"), 1), (InvalidInput("what"), 1), (ValueError("bug"), 1)],
)
def test_only_a_failing_store_is_tried_again(
    log: GrowingLog, run: Run, monkeypatch: pytest.MonkeyPatch, error: Exception, attempts: int
) -> None:
    """What cannot get better fails at once."""
    tried = []

    def find_files(request: PlanRequest) -> Any:
        tried.append(request)
        raise error

    monkeypatch.setattr(planning, "find_files", find_files)
    state = run()

    assert (True, attempts) == (state.is_failed(), len(tried))
    assert isinstance(error, DblogError) is (state.message == str(error))


def test_store_that_comes_back_is_no_failure(log: GrowingLog, plans: Path, whole: Plan, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file part made again after its store failed is the same part."""
    log.grow()
    plan_file, failed = planning.plan_file, set[str]()

    def flaky(request: PlanRequest, file: Any, files: Any) -> Any:
        part = plan_file(request, file, files)
        if file.name not in failed:
            failed.add(file.name)
            raise StorageError("gone")
        return part

    monkeypatch.setattr(planning, "plan_file", flaky)
    state = run()
    (plan,) = plans_in(plans)

    assert ("Advanced", 3, list(whole.positions())) == (state.name, len(failed), list(plan.positions()))


def test_plan_is_shown_and_announced(log: GrowingLog, run: Run, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    """A run leaves the radius, the ledger, a link and its progress, and says that the plan is ready."""
    events = []
    monkeypatch.setattr(runs, "emit_event", lambda event, **details: events.append((event, details)))
    log.grow()
    state = run(selection={"where": "id = 150", "tables": ["orders"]})
    found = artifacts_of(state)

    assert {f"dblog-{kind}-{source}": shape for kind, shape in SHOWN.items()} == {
        artifact.key: artifact.type for artifact in found.values()
    }
    assert "| shop.orders | 0 | 1 | 0 | 0 |" in found[f"dblog-radius-{source}"].data
    assert "data:image/svg+xml;base64," in found[f"dblog-radius-{source}"].data
    assert "balanced" in found[f"dblog-ledger-{source}"].data
    assert "all that was asked for" in found[f"dblog-coverage-{source}"].data
    assert f"plan-{source}" in found[f"dblog-runs-{source}"].data
    assert "3 of 3 log files" in str(found[f"dblog-progress-{source}"].description)
    assert 100 == found[f"dblog-progress-{source}"].data
    assert [("dblog.plan.ready", f"dblog.source.{source}", state.result()["url"])] == [
        (event, details["resource"]["prefect.resource.id"], details["payload"]["plan"]) for event, details in events
    ]


def test_omissions_and_gaps_are_announced(log: GrowingLog, run: Run, monkeypatch: pytest.MonkeyPatch, corpus: Path) -> None:
    """With their reasons and numbers; a file that is missing, so that the next plan cannot go on, is told as a gap."""
    events = []
    monkeypatch.setattr(runs, "emit_event", lambda event, **details: events.append((event, details["payload"])))
    monkeypatch.setenv("DBLOG_RETRIES", "0")
    log.grow()
    run(logs=[str(corpus / "shop" / "nolog")], selection={"tables": ["shop.orders"]})
    (log.folder / "shop.000002").unlink()
    failed = run()

    assert ["dblog.plan.ready", "dblog.plan.omissions", "dblog.coverage.gap"] == [event for event, _ in events]
    assert {"the log has no column names"} == set(events[1][1]["reasons"])
    assert "Failed" == failed.name
    assert "gap in the log" in events[2][1]["what"]


def test_an_event_that_cannot_be_sent_fails_no_run(log: GrowingLog, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a word in the log."""

    def down(*_: Any, **__: Any) -> None:
        raise ConnectionError("the server is going down")

    monkeypatch.setattr(runs, "emit_event", down)
    log.grow()

    assert "Advanced" == run().name


SHOWN = {
    "radius": "markdown",
    "ledger": "table",
    "coverage": "table",
    "plan": "markdown",
    "runs": "markdown",
    "progress": "progress",
}


def artifacts_of(state: Any) -> dict[str, Any]:
    """Return the artifacts of a flow run by key."""
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(
            artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[state.state_details.flow_run_id]))
        )
    return {artifact.key: artifact for artifact in found if artifact.key}  # the flow's own result has none


@pytest.mark.parametrize("schema", ["env:DBLOG_TEST_DSN", f"mysql://root:{SECRET}@127.0.0.1:1/shop"])
def test_secrets_are_not_told(log: GrowingLog, run: Run, monkeypatch: pytest.MonkeyPatch, server: Path, source: str, schema: str) -> None:
    """What comes from environment and settings is in no state, log, artifact or result, also when the run fails with it."""
    monkeypatch.setenv("DBLOG_TEST_DSN", f"mysql://root:{SECRET}@127.0.0.1:1/shop")
    monkeypatch.setenv("DBLOG_STORAGE_OPTIONS__SECRET", SECRET)
    monkeypatch.setenv("DBLOG_RETRIES", "1")
    log.grow()
    options = ["token=env:DBLOG_STORAGE_OPTIONS__SECRET"]
    states = [run(storage_options=options), run(storage_options=options, schema_url=schema, selection={"tables": ["orders"]})]
    told = [everything_about(source, state.state_details.flow_run_id) for state in states]
    told += [file.read_text() for file in server.glob("storage/*")]

    assert ["Advanced", "Failed"] == [state.name for state in states]
    assert [] == [text for text in told if SECRET in text.replace(schema, "")]


def everything_about(source: str, run_id: UUID | None) -> str:
    """Return what the server knows of a flow run and of all runs of its source."""
    assert run_id is not None
    APILogHandler().flush()
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(flow_run_filter=FlowRunFilter(tags=FlowRunFilterTags(all_=[f"dblog-source:{source}"])))
        task_runs = client.read_task_runs(flow_run_filter=FlowRunFilter(id={"any_": [run_id]}))
        logs = client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run_id])))
        artifacts = client.read_artifacts(artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run_id])))
        states = client.read_flow_run_states(run_id)
    assert {"prefect.flow_runs", "prefect.task_runs"} == {line.name for line in logs}
    return "\n".join(item.model_dump_json() for group in (runs, task_runs, logs, artifacts, states) for item in group)
