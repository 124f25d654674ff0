r"""Undo commands as text for `redis-cli`, newest first.

Law: text only; nothing is read or run. Each line is one command as `redis-cli` splits it: words of safe characters stand bare,
any other word in double quotes with `\xHH` for each byte that is not printable ASCII, so any key or value passes unchanged.

What is printed, and nothing else, for `redis-cli` has no comments:

    SELECT <n>      before the first command, and whenever the database changes
    MULTI … EXEC    around the commands of one transaction of the log
    the undo        one line each

There are no guards in it: run it while nothing else writes to these keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
import re

from dblog_tasks.event import CommandChange

_BARE = re.compile(rb"[A-Za-z0-9_.:/@{}+-]+")
_ESCAPES = {byte: f"\\x{byte:02x}" for byte in range(256) if not 32 <= byte < 127} | {34: '\\"', 92: "\\\\"}
_QUOTED = [_ESCAPES.get(byte, chr(byte)) for byte in range(256)]


def undo_text(steps: Iterable[tuple[str | None, CommandChange]]) -> Iterator[str]:
    """Yield the lines, without line ends, that undo the changes.

    Each step is a reversed change, what it does being the undo, and the id of its transaction (None: outside one); newest first.
    """
    database: int | None = None
    opened: str | None = None
    for transaction, change in steps:
        if opened is not None and transaction != opened:
            yield "EXEC"
        if change.database != database:
            database = change.database
            yield f"SELECT {database}"
        if transaction is not None and transaction != opened:
            yield "MULTI"
        opened = transaction
        yield command_line(change.do)
    if opened is not None:
        yield "EXEC"


def command_line(words: Iterable[bytes]) -> str:
    """Return a command as one line that `redis-cli` reads back as exactly these words."""
    return " ".join(_word(word) for word in words)


def _word(word: bytes) -> str:
    return word.decode() if _BARE.fullmatch(word) else '"' + "".join([_QUOTED[byte] for byte in word]) + '"'
