"""The hourly deployment as it runs for months, in minutes: a real server with its scheduler, a work pool, a worker that is killed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
import os
from pathlib import Path
import signal
import subprocess
import sys
import time
from typing import Any

from prefect import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, FlowRunFilterState, FlowRunFilterStateName
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort
from prefect.settings import PREFECT_API_URL, temporary_settings
import pytest
import yaml

from dblog_tasks import storage
from dblog_tasks.plan import MANIFEST, Plan, check, read_plan
from dblog_tasks.project import write_project
from tests.flows.browser import environment, prefect, prefect_server
from tests.flows.growing import GrowingLog, place, positions, transactions

RUNS, PIECES = 10, 10
EVERY_SECONDS = 5
SECONDS_MAX = (
    1500  # for all of it, on a busy machine: Prefect's SQLite may be locked, and a place that is lost so is free after five minutes
)
LOOK_SECONDS = 1.0  # between two looks at the server, whose database is busy enough
KILL_RUN_AFTER, KILL_WORKER_AFTER = 3, 6  # runs
LOGS, PLANS = "s3://backups/binlogs", "s3://backups/plans"
POOL = "dblog"
KEYS = {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}
COMMITTED = ("Advanced", "CaughtUp")


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Options for a bucket `backups` in S3, as moto plays it."""
    pytest.importorskip("s3fs")
    moto_server = pytest.importorskip("moto.server")
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    options = {"client_kwargs": {"endpoint_url": f"http://{host}:{port}"}}
    storage.place.place_of("s3://backups", options).fs.mkdir("backups")
    yield options
    server.stop()


@pytest.fixture
def where(tmp_path: Path) -> Iterator[str]:
    """The address of a Prefect server."""
    (tmp_path / "home").mkdir()
    with prefect_server(tmp_path / "home") as where, temporary_settings({PREFECT_API_URL: f"{where}/api"}):
        yield where


def deploy(folder: Path, home: Path, where: str) -> None:
    """Write a project, let its hourly plan run every few seconds over the bucket, and deploy it."""
    list(write_project(folder))
    project = yaml.safe_load((folder / "prefect.yaml").read_text())
    plan = project["deployments"][0]
    plan["parameters"] |= {"logs": [LOGS], "source": "shop", "out": PLANS}
    plan["schedules"] = [{"interval": EVERY_SECONDS, "slug": "seconds", "active": True}]
    project["deployments"] = [plan]
    (folder / "prefect.yaml").write_text(yaml.safe_dump(project))
    prefect(home, where, "work-pool", "create", POOL, "--type", "process")
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    done = subprocess.run(command, cwd=folder, env=environment(home, where), capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stdout + done.stderr


@contextmanager
def worker(home: Path, where: str, project: Path, options: dict[str, Any]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a worker of the pool."""
    variables = {
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PREFECT_WORKER_PREFETCH_SECONDS": "1",
        "DBLOG_PROJECT_DIR": str(project),
        "DBLOG_STORAGE_OPTIONS__CLIENT_KWARGS__ENDPOINT_URL": options["client_kwargs"]["endpoint_url"],
        "DBLOG_RETRY_DELAY_SECONDS": "1",
    }
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--type", "process"]
    with (
        (home / "worker.log").open("ab") as output,
        subprocess.Popen(command, cwd=project, env=environment(home, where) | variables, stdout=output, stderr=output) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()


def runs_that(*names: str) -> list[FlowRun]:
    """Return the runs whose state has one of these names, in the order they began; without names all that were begun or refused."""
    found: list[FlowRun] = []
    state = FlowRunFilterState(name=FlowRunFilterStateName(any_=list(names))) if names else None
    chosen = FlowRunFilter(state=state)
    with get_client(sync_client=True) as client:
        while more := client.read_flow_runs(flow_run_filter=chosen, sort=FlowRunSort.EXPECTED_START_TIME_ASC, limit=200, offset=len(found)):
            found += more
    return [run for run in found if run.state is not None and not run.state.is_scheduled()]


def committed() -> list[FlowRun]:
    """Return the runs that left a checkpoint, in the order they ended."""
    return sorted(runs_that(*COMMITTED), key=lambda run: str(run.end_time))


def at_work() -> FlowRun | None:
    """Return the run that is under way and can be found as a process."""
    return next((run for run in runs_that("Running") if run.infrastructure_pid), None)


def state_of(run: FlowRun) -> str:
    """Return the type of a run's state now."""
    with get_client(sync_client=True) as client:
        (found,) = client.read_flow_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id])))
    return str(found.state_type.value if found.state_type else "")


class Deadline:
    """The time box of the test."""

    def __init__(self, home: Path) -> None:
        self._end, self._home = time.monotonic() + SECONDS_MAX, home

    def until(self, condition: Callable[[], Any], what: str) -> Any:
        """Return what the condition gives once it holds; fail with the logs when the time is over."""
        while not (found := condition()):
            assert time.monotonic() < self._end, f"{what}: not in time; {told()}\n{(self._home / 'worker.log').read_text()[-3000:]}"
            time.sleep(LOOK_SECONDS)
        return found


def told() -> list[str]:
    """Return name and message of the states of all runs, for a failed test."""
    return [f"{run.state_name}: {run.state.message if run.state else ''}"[:200] for run in runs_that()]


def kill_run(run: FlowRun) -> None:
    """End the process of a run at once."""
    with suppress(ProcessLookupError):
        os.kill(int(str(run.infrastructure_pid).rpartition(":")[2]), signal.SIGKILL)


class Scene:
    """A log on S3 that grows by a piece whenever a run has left a checkpoint."""

    def __init__(self, log: GrowingLog, whole: Plan, options: dict[str, Any]) -> None:
        ends = [end for _, end in transactions(whole)]
        self._pieces = [ends[len(ends) * number // PIECES] for number in range(1, PIECES)] + [""]
        self._log, self._options, self._given = log, options, 0
        self.grow()

    @property
    def whole(self) -> bool:
        """Whether all of the log is there."""
        return self._given >= PIECES

    def grow(self) -> None:
        """Put the next piece into the bucket."""
        if self.whole:
            return
        self._log.grow(self._pieces[self._given])
        for file in sorted(self._log.folder.iterdir()):
            storage.write_file(f"{LOGS}/{file.name}", file.read_bytes(), self._options)
        self._given += 1


@pytest.mark.slow
@pytest.mark.timeout(SECONDS_MAX + 300)
def test_every_event_is_in_one_plan_whatever_is_killed(
    log: GrowingLog, whole: Plan, store: dict[str, Any], where: str, tmp_path: Path
) -> None:
    """Ten runs and more every few seconds, one killed and its worker, too: nothing twice, nothing lost, never two at a time."""
    home, project = tmp_path / "home", tmp_path / "project"
    deadline, scene = Deadline(home), Scene(log, whole, store)
    deploy(project, home, where)

    def passed(number: int) -> None:
        """Wait for so many runs in all, and let the log grow with each."""
        while (before := len(committed())) < number:
            deadline.until(lambda: len(committed()) > before, f"run {before + 1}")
            scene.grow()

    with worker(home, where, project, store) as first:
        passed(KILL_RUN_AFTER)
        killed = deadline.until(at_work, "a run to be killed")
        kill_run(killed)
        deadline.until(lambda: state_of(killed) != "RUNNING", "the killed run's end")
        passed(KILL_WORKER_AFTER)
        orphan = deadline.until(at_work, "a run whose worker is killed")
        first.kill()
        first.wait()
    deadline.until(lambda: state_of(orphan) != "RUNNING", "the end of the run without a worker")
    with worker(home, where, project, store):
        passed(RUNS)
        while not scene.whole:
            passed(len(committed()) + 1)
        deadline.until(lambda: committed()[-1].state_name == "CaughtUp", "the end of the log")
    runs, made = runs_that(), plans_in(store)

    assert list(whole.positions()) == positions(made)
    assert [[]] * len(made) == [check(plan) for plan in made]
    assert RUNS <= len(committed())
    assert "CRASHED" == state_of(killed)
    assert any(run.state_name == "Cancelled" for run in runs), told()
    spans = sorted((run.start_time, run.end_time) for run in runs if run.start_time and run.end_time and run.state_name != "Cancelled")
    assert len(committed()) < len(spans)
    assert [] == [(one, other) for one, other in pairwise(spans) if one[1] > other[0]]


def plans_in(options: dict[str, Any]) -> list[Plan]:
    """Return the finished plans in the bucket, in log order."""
    urls = [storage.join(PLANS, name) for name in storage.list_folder(PLANS, options)]
    found = [read_plan(url, options) for url in urls if storage.exists(storage.join(url, MANIFEST), options)]
    return sorted(found, key=lambda plan: place(plan.end.position.value))
