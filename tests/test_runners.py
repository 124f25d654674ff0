"""Task runners by setting, and how many log files a task is given: no server."""

from __future__ import annotations

from concurrent.futures.process import BrokenProcessPool
import sys

from hypothesis import given, strategies as st
from prefect.task_runners import ProcessPoolTaskRunner, ThreadPoolTaskRunner
import pytest

from dblog_tasks.errors import InvalidInput
from dblog_tasks.runners import GROUP_MIN, MEGABYTE, REMOTE, RUNNERS, TASKS_MAX, grouped, lost, task_runner, workers
from dblog_tasks.settings import Settings
from dblog_tasks.storage import LogFile


def files(*sizes: int | None) -> list[LogFile]:
    """Return log files of these sizes."""
    return [LogFile(f"/log.{number:06}", f"log.{number:06}", size, "") for number, size in enumerate(sizes)]


@pytest.mark.parametrize(
    ("sizes", "megabytes", "tasks"),
    [
        ([1], 64, [1]),
        ([100 * MEGABYTE] * 3, 64, [1, 1, 1]),
        ([1000] * 64, 64, [8] * 8),  # each as much as a megabyte: GROUP_MIN
        ([None] * 64, 64, [8] * 8),
        ([16 * MEGABYTE] * 64, 64, [4] * 16),
        ([16 * MEGABYTE] * 64, 16, [1] * 64),
        ([4 * MEGABYTE] * 64, 64, [8] * 8),  # a share of each worker's
        ([1000, 200 * MEGABYTE, 1000, 1000], 64, [1, 1, 2]),
    ],
)
def test_small_files_share_a_task(sizes: list[int | None], megabytes: int, tasks: list[int]) -> None:
    """As many as make up its size, and not so many that a worker has nothing to do."""
    settings = Settings(task_runner="processes", task_workers=2, task_megabytes=megabytes)

    assert tasks == [len(group) for group in grouped(files(*sizes), settings)]
    assert GROUP_MIN == 8 * MEGABYTE


@given(st.lists(st.none() | st.integers(0, 1 << 34), min_size=1, max_size=3000), st.integers(1, 64), st.integers(1, 1024))
def test_no_file_is_left_out_and_tasks_are_few(sizes: list[int | None], number: int, megabytes: int) -> None:
    """Every file once, in order, whatever the sizes; no more tasks than that."""
    given_files = files(*sizes)
    groups = grouped(given_files, Settings(task_workers=number, task_megabytes=megabytes))

    assert given_files == [file for group in groups for file in group]
    assert all(groups)
    assert len(groups) <= TASKS_MAX


@pytest.mark.parametrize(("name", "kind"), [("threads", ThreadPoolTaskRunner), ("processes", ProcessPoolTaskRunner)])
def test_setting_chooses_the_runner(name: str, kind: type[object]) -> None:
    """With as many workers as it says."""
    runner = task_runner(Settings(task_runner=name, task_workers=3))

    assert (kind, 3) == (type(runner), vars(runner)["_max_workers"])


@pytest.mark.parametrize("name", sorted(REMOTE))
def test_missing_package_is_said_with_what_to_install(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line that can be pasted."""
    monkeypatch.setitem(sys.modules, f"prefect_{name}.task_runners", None)

    with pytest.raises(
        InvalidInput, match=rf"^DBLOG_TASK_RUNNER: prefect_{name}.* is not installed \(pip install 'dblog-tasks\[{name}\]'\)$"
    ):
        task_runner(Settings(task_runner=name))


@pytest.mark.parametrize("name", sorted(set(RUNNERS) - REMOTE))
def test_address_of_what_has_none_is_refused(name: str) -> None:
    """It would be overlooked, and the work done here."""
    with pytest.raises(InvalidInput, match=r"^DBLOG_TASK_ADDRESS: .* work on this machine alone"):
        task_runner(Settings(task_runner=name, task_address="tcp://host:8786"))


def test_as_many_workers_as_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads wait for a store, so there are more of them."""
    monkeypatch.setattr("os.cpu_count", lambda: 4)

    assert [8, 4, 4, 2] == [
        workers(Settings(task_runner=name, task_workers=number))
        for name, number in (("threads", 0), ("processes", 0), ("dask", 0), ("ray", 2))
    ]


def test_only_what_was_lost_is_begun_again() -> None:
    """An error of the task itself is none of a lost process."""
    killed_worker = type("KilledWorker", (Exception,), {})

    assert [True, True, False] == [lost(error) for error in (BrokenProcessPool(), killed_worker(), InvalidInput("no"))]
