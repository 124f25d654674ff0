"""A function over many arguments in several processes, answers in order. Law: nothing here knows what the function does.

this process                       workers are
on Linux, with no other thread     forked: they have all that is imported, and begin at once
any other                          spawned: a fork of a process with threads may never get on
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
import multiprocessing
import sys
import threading
from typing import Any, TypeVar

R = TypeVar("R")


def in_processes(jobs: int, call: Callable[..., R], *arguments: Sequence[Any]) -> Iterator[R]:
    """Yield what `call` returns for each set of arguments, taken one of each sequence, in order; raise what it raises."""
    with ProcessPoolExecutor(min(jobs, len(arguments[0])), mp_context=multiprocessing.get_context(start_method())) as pool:
        yield from pool.map(call, *arguments)


def start_method() -> str:
    """Return how workers can be started from here: see the table above."""
    return "fork" if sys.platform == "linux" and threading.active_count() == 1 else "spawn"
