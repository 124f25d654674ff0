"""Trying again: how often, after how long, and what is done before. Knows targets, not what is done to them.

Law: only `TargetBusy` is tried again: a lock that was not had, a deadlock, a lost connection, a server that goes down. Tries are bounded,
and each waits twice as long as the one before it; a person who stops the run ends the waiting.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Event as CancelEvent
from typing import TypeVar

from dblog_tasks.errors import TargetBusy
from dblog_tasks.target import Target

TRIES_MAX = 10  # of one batch, or of one look: about 50 seconds
FIRST_SECONDS = 0.1

T = TypeVar("T")


def give_way(target: Target, error: TargetBusy, tries: int, cancel: CancelEvent) -> None:
    """Undo what was begun and wait before the next try. Raises the error when it was tried often enough."""
    if tries >= TRIES_MAX:
        raise error
    target.rollback()
    cancel.wait(FIRST_SECONDS * 2 ** (tries - 1))


def patiently(target: Target, cancel: CancelEvent, look: Callable[[], T], begin: Callable[[], None] = lambda: None) -> T:
    """Return what a look at the target gives that may be taken again; `begin` is called before each try but the first."""
    tries = 0
    while True:
        try:
            if tries:
                target.recover()
                begin()
            return look()
        except TargetBusy as error:
            tries += 1
            give_way(target, error, tries, cancel)
