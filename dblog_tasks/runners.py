"""Where the tasks of a run work: threads, processes, Dask or Ray, by one setting; and how many log files one of them is given.

Law: what a task does is the same wherever it does it. A task that is lost, because the process or machine it was on is gone, is begun
again: it writes the same segments under the same names, so nothing is there twice. Dask and Ray are imported only when they are chosen.

    runner       one task costs    start-up          is for
    threads      5-10 ms           none              logs that are waited for (a store far away); the default
    processes    0.1 s             5 s               one machine with several processors, from about a gigabyte of log on
    dask         0.15 s            3 s, a cluster 0  several machines (`pip install dblog-tasks[dask]`)
    ray          0.1 s             14 s, likewise    several machines (`pip install dblog-tasks[ray]`)

Small files are put together until a task has something to do (GROUP_MIN to `task_megabytes`), and however many files there are, tasks are
at most TASKS_MAX. A file counts at least FILE_COST: opening one takes as long as reading that much.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
import os
from typing import Any, TypeAlias

from prefect import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner, ThreadPoolTaskRunner

from dblog_tasks.errors import InvalidInput
from dblog_tasks.settings import Settings
from dblog_tasks.storage import LogFile

MEGABYTE = 1 << 20
FILE_COST = MEGABYTE
GROUP_MIN = 8 * MEGABYTE
TASKS_MAX = 400
TASKS_A_WORKER = 4  # so that a worker that is done early finds something to do
THREADS_MAX = 32  # where nothing is said: as many as Python's own pools have

AnyRunner: TypeAlias = TaskRunner[Any]


@contextmanager
def started(settings: Settings) -> Iterator[AnyRunner]:
    """Give the task runner of the settings, started. Raises InvalidInput as `task_runner` does."""
    runner = task_runner(settings)
    with ExitStack() as held:
        if settings.task_runner != "threads" and not PREFECT_API_URL.value():
            # Other processes would each start a temporary server of their own: this run's does for all.
            client = held.enter_context(get_client(sync_client=True))
            held.enter_context(temporary_settings({PREFECT_API_URL: str(client.api_url)}))
        yield held.enter_context(runner)


def task_runner(settings: Settings) -> AnyRunner:
    """Return the task runner of the settings, not started yet. Raises InvalidInput when it is not installed, or takes no address."""
    if settings.task_address and settings.task_runner not in REMOTE:
        raise InvalidInput(
            f"{settings.task_runner} work on this machine alone", where="DBLOG_TASK_ADDRESS", hint="choose dask or ray, or none"
        )
    try:
        return RUNNERS[settings.task_runner](settings.task_address, workers(settings))
    except ImportError as error:
        raise InvalidInput(
            f"{error.name or settings.task_runner} is not installed",
            where="DBLOG_TASK_RUNNER",
            hint=f"pip install 'dblog-tasks[{settings.task_runner}]'",
        ) from None


def workers(settings: Settings) -> int:
    """Return how many tasks are worked at at once."""
    processors = os.cpu_count() or 1
    usual = min(THREADS_MAX, processors + 4) if settings.task_runner == "threads" else processors
    return settings.task_workers or usual


def _threads(address: str, number: int) -> AnyRunner:
    return ThreadPoolTaskRunner(max_workers=number)


def _processes(address: str, number: int) -> AnyRunner:
    return ProcessPoolTaskRunner(max_workers=number)


def _dask(address: str, number: int) -> AnyRunner:
    from prefect_dask.task_runners import DaskTaskRunner  # noqa: PLC0415 - an extra

    cluster = {"n_workers": number, "threads_per_worker": 1, "dashboard_address": None}
    runner: AnyRunner = DaskTaskRunner(address=address) if address else DaskTaskRunner(cluster_kwargs=cluster)
    return runner


def _ray(address: str, number: int) -> AnyRunner:
    from prefect_ray.task_runners import RayTaskRunner  # noqa: PLC0415 - an extra

    cluster = {"num_cpus": number, "include_dashboard": False}
    runner: AnyRunner = RayTaskRunner(address=address) if address else RayTaskRunner(init_kwargs=cluster)
    return runner


RUNNERS: Mapping[str, Callable[[str, int], AnyRunner]] = {"threads": _threads, "processes": _processes, "dask": _dask, "ray": _ray}
REMOTE = frozenset({"dask", "ray"})


def lost(error: BaseException) -> bool:
    """Return whether a task failed because what it worked in is gone: then it can be begun again."""
    return isinstance(error, BrokenProcessPool) or type(error).__name__ in LOST


# By name: the packages of which these are may not be installed.
LOST = frozenset({"KilledWorker", "CommClosedError", "FutureCancelledError", "WorkerCrashedError", "NodeDiedError", "OwnerDiedError"})


def grouped(files: Sequence[LogFile], settings: Settings) -> list[tuple[LogFile, ...]]:
    """Return the files in groups, in order: each group is one task."""
    costs = [max(file.size or 0, FILE_COST) for file in files]
    share = sum(costs) / (workers(settings) * TASKS_A_WORKER)
    size = max(min(settings.task_megabytes * MEGABYTE, max(share, GROUP_MIN)), 2 * sum(costs) / TASKS_MAX)
    found: list[list[LogFile]] = []
    held = size
    for file, cost in zip(files, costs, strict=True):
        if held + cost > size:
            found.append([])
            held = 0
        found[-1].append(file)
        held += cost
    return [tuple(group) for group in found]
