"""Transactions of test_decoding that are passed over unread, and counted.

Law: bytes in, counts out; no I/O. What is passed over is proved to be whole lines, each a record of its own: no value of several lines, no
name in quotes, nothing but rows and the borders of transactions. Compiled code (`_plain.c`) counts where there is some; `skim` does the
same in Python.
"""

from __future__ import annotations

import os
from types import ModuleType

from dblog_tasks.postgres.message import Skimmed

compiled: ModuleType | None
try:
    from dblog_tasks.postgres import _plain as compiled
except ImportError:  # an installation without a C compiler has none
    compiled = None
_TABLE = b"table "


def skimmed(data: bytes, at: int, needle: bytes) -> tuple[int, Skimmed] | None:
    """Return where the next transaction begins that may hold the needle, and what is before it; None where a closer look is needed.

    At `at` a transaction begins. There are no names in quotes, messages or prepared transactions in what is passed over, and no value
    of several lines: each line is a record.
    """
    found = data.find(needle, at)
    end = data.rfind(b"\nBEGIN", at, found if found >= 0 else len(data)) + 1
    if end <= at or data.find(_REPLAY, at, end) >= 0:
        return None
    native = compiled.skim if compiled is not None and os.environ.get("DBLOG_NATIVE", "1") != "0" else skim
    told = native(data, at, end)
    return None if told is None else (end, Skimmed(*told))


def skim(data: bytes, at: int, end: int) -> tuple[int, int, bytes, bytes] | None:
    """Return how many rows and other records these lines are, the first and the last commit; None where a closer look is needed."""
    part = data[at:end]
    if any(word in part for word in _CLOSER):
        return None
    lines = part.split(b"\n")
    lines.pop()
    others = [line for line in lines if line[:6] != _TABLE]
    if any(line.count(b"'") & 1 for line in lines) or not all(line[:5] == b"BEGIN" or line[:6] == b"COMMIT" for line in others):
        return None
    return (len(lines) - len(others), len(others), others[1] if len(others) > 1 else b"", others[-1]) if others else None


_REPLAY = b"dblog_replay"
_CLOSER = (b'"', b"COMMIT PREPARED")
