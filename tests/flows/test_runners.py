"""One plan whatever its files are read by, and however many of those are killed."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
import importlib.util
import os
from pathlib import Path
import signal
import threading
from typing import Any

from prefect.task_runners import ThreadPoolTaskRunner
import pytest

from dblog_tasks import runners
from dblog_tasks.plan import Plan, check, read_plan
from dblog_tasks.planning import PlanRequest, make_plan
from tests.flows.conftest import source_of

FILES = 64
POLL_SECONDS = 0.01
# What each needs beside the project; a runner that is not installed is not tested here.
NEEDED = {"threads": "prefect", "processes": "prefect", "dask": "prefect_dask", "ray": "prefect_ray"}


@pytest.fixture(scope="module")
def many(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of 64 files: the same real one under following names."""
    folder = tmp_path_factory.mktemp("many")
    for number in range(1, FILES + 1):
        os.link(corpus / "shop" / "shop.000001", folder / f"shop.{number:06}")
    return folder


@pytest.fixture(scope="module")
def expected(many: Path, tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """The plan as it is made without Prefect, in this process."""
    made = make_plan(PlanRequest("mysql", (str(many),), str(tmp_path_factory.mktemp("expected") / "plan"), "many"))
    assert made is not None
    return read_plan(made.url, {})


def planned(log: Path, out: Path) -> Plan:
    """Return the plan that the flow makes of a log from its beginning; the source is one that no other test has."""
    from flows.plan_recovery import plan_recovery  # noqa: PLC0415 - two seconds to import

    state: Any = plan_recovery(logs=[str(log)], source=source_of(out), out=str(out), return_state=True)
    assert state.name == "Advanced", state
    return read_plan(state.result()["url"], {})


def compared(plan: Plan) -> dict[str, Any]:
    """Return what a plan holds, but for the name of its source."""
    names = ("logs", "tables", "transactions", "ledger", "conflicts", "segments")
    return {name: plan.manifest[name] for name in names} | {"end": plan.end.position}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("name", "workers"), [("threads", 2), ("processes", 1), ("processes", 2), ("dask", 2), ("ray", 2)])
def test_plan_does_not_depend_on_the_runner(
    server: Path, many: Path, expected: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, workers: int
) -> None:
    """64 files: the same segments, counts and checkpoints as in one process without Prefect."""
    if importlib.util.find_spec(NEEDED[name]) is None:
        pytest.skip(f"{NEEDED[name]} is not installed")
    monkeypatch.setenv("DBLOG_TASK_RUNNER", name)
    monkeypatch.setenv("DBLOG_TASK_WORKERS", str(workers))
    plan = planned(many, tmp_path)

    assert compared(expected) == compared(plan)
    assert [] == check(plan)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_process_loses_and_repeats_nothing(
    server: Path, many: Path, expected: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of two is killed as soon as something was written: its work is done again, the plan is the same."""
    monkeypatch.setenv("DBLOG_TASK_RUNNER", "processes")
    monkeypatch.setenv("DBLOG_TASK_WORKERS", "2")
    with killed_when_something_is_in(tmp_path) as killed:
        plan = planned(many, tmp_path)

    assert 1 == len(killed)
    assert compared(expected) == compared(plan)


@contextmanager
def killed_when_something_is_in(folder: Path) -> Iterator[list[int]]:
    """Kill one process of the pool once a segment is there; its id is in the list."""
    killed: list[int] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(POLL_SECONDS):
            if any(folder.glob("*/steps/*")) and (found := pool_processes()):
                os.kill(found[0], signal.SIGKILL)
                killed.append(found[0])
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join()


def pool_processes() -> list[int]:
    """Return the ids of processes that this one has spawned as workers of a pool."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((process / "stat").read_text().rpartition(") ")[2].split()[1])
            if parent == os.getpid() and b"spawn_main" in (process / "cmdline").read_bytes():
                found.append(int(process.name))
        except OSError:  # it has ended
            continue
    return found


class LosesFirst(ThreadPoolTaskRunner):  # type: ignore[type-arg]  # it cannot be subscripted
    """A runner of which the first task is done and then lost, with its answer."""

    lost = 0

    def submit(self, *arguments: Any, **more: Any) -> Any:
        """Submit a task; the first one fails as with a process that is gone."""
        future = super().submit(*arguments, **more)
        if LosesFirst.lost:
            return future
        LosesFirst.lost += 1
        future.wait()
        gone: Future[Any] = Future()
        gone.set_exception(BrokenProcessPool("killed"))
        future._wrapped_future, future._final_state = gone, None
        return future


@pytest.mark.parametrize("retries", [1, 0])
def test_lost_task_is_begun_again(
    server: Path, many: Path, expected: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, retries: int
) -> None:
    """As often as the settings say; what it wrote before is found as it is."""
    monkeypatch.setenv("DBLOG_RETRIES", str(retries))
    monkeypatch.setattr(LosesFirst, "lost", 0)
    monkeypatch.setitem(runners.RUNNERS, "threads", lambda address, number: LosesFirst(max_workers=number))
    if not retries:
        with pytest.raises(AssertionError, match=r"BrokenProcessPool|killed"):
            planned(many, tmp_path)
        return

    assert compared(expected) == compared(planned(many, tmp_path))
    assert 1 == LosesFirst.lost
