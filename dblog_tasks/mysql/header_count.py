"""The ledger's total of a binary log: how many events its headers say there are. No I/O.

Law: knows nothing of what an event is, and shares nothing with `binlog.frames` but the size of a header: one is held against the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dblog_tasks.mysql import binlog, compiled


def hops(block: bytes, at: int, last: int) -> tuple[int, int, int]:
    """Return how many headers there are from `at` up to `last`, where the next one begins, and the last; not of an event without size."""
    count, found = 0, -1
    while at <= last:
        size = int.from_bytes(block[at + 9 : at + 13], "little")
        if size < binlog.HEADER_SIZE:
            break
        count, found = count + 1, at
        at += size
    return count, at, found


class HeaderCount:
    """Counts events by hopping from header to header.

    Blocks are fed as they are read; the last one is held back until it is known how far reading went.
    """

    def __init__(self, at: int = 0) -> None:
        self.total = 0
        self._next = at or 4  # offset in the file of the next header
        self._last = -1  # and of the last one that was counted
        self._base = at  # offset in the file of the first byte held
        self._held = b""
        extension = compiled.extension()
        self._hops = extension.hops if extension else hops

    def watch(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the blocks unchanged, counting their headers."""
        for block in blocks:
            self._hop(self._base + len(self._held))
            self._held += block
            yield block

    def finish(self, end: int) -> int:
        """Return the number of events that start before the file offset `end`; only the last one may start there, torn."""
        self._hop(end)
        return self.total - (self._last >= end)

    def _hop(self, end: int) -> None:
        held, base = self._held, self._base
        at, last = self._next - base, min(len(held) - 13, end - base - 1)
        if at >= 0:
            count, at, found = self._hops(held, at, last)
            self.total += count
            self._last = base + found if count else self._last
        self._next = base + at
        keep = max(0, min(at, len(held)))
        self._held, self._base = held[keep:], base + keep
