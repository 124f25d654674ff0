"""The bytes of a log file in the order they are read, for a reader of whole events. No I/O: blocks come in.

Law: a block is handed on as it is; copied is only what an event between two blocks needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator


class Stream:
    """The bytes of a file as they are read: block by block, and of the next one no more than an event that began before it needs."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._source = filter(None, blocks)
        self._block, self._at = b"", 0  # read, and taken up to here

    def block(self) -> tuple[bytes, int]:
        """Return the next block, uncopied, and the place in it where what was not taken yet begins; at the end of the file an empty one."""
        found = (self._block, self._at) if self._at < len(self._block) else (next(self._source, b""), 0)
        self._block, self._at = b"", 0
        return found

    def after(self, data: bytes, need: int) -> bytes:
        """Return data and what follows it, together `need` bytes where the file has as many."""
        parts, missing = [data], need - len(data)
        while missing > 0:
            block, at = self.block()
            if not block:
                break
            parts.append(block[at : at + missing])
            missing -= len(parts[-1])
            self._block, self._at = block, at + len(parts[-1])
        return b"".join(parts)

    def left(self) -> Iterator[bytes]:
        """Yield what was not taken yet."""
        while (found := self.block())[0]:
            yield found[0][found[1] :]
