"""Work in several processes: the same answers in the same order however the workers are started."""

from __future__ import annotations

import os
import subprocess
import sys
from threading import Event, Thread

import pytest

from dblog_tasks.processes import in_processes, start_method


def test_answers_come_in_order_and_errors_are_raised() -> None:
    """As `map` gives them."""
    assert [1, 4, 9] == list(in_processes(2, pow, [1, 2, 3], [2, 2, 2]))
    with pytest.raises(ZeroDivisionError):
        list(in_processes(2, divmod, [1, 1], [1, 0]))


def test_the_work_is_done_elsewhere() -> None:
    """No call is made in this process."""
    workers = set(in_processes(2, _process, [0, 1, 2, 3]))
    assert os.getpid() not in workers
    assert 1 <= len(workers) <= 2


def _process(_: int) -> int:
    return os.getpid()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere workers are always spawned")
def test_a_process_with_threads_is_not_forked() -> None:
    """The thread may hold a lock that nobody in the fork would ever release."""
    code = "from dblog_tasks.processes import start_method; print(start_method())"
    assert "fork\n" == subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    ended = Event()
    thread = Thread(target=ended.wait)
    thread.start()
    try:
        assert "spawn" == start_method()
    finally:
        ended.set()
        thread.join()
