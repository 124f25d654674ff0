"""A compressed transaction opened: the events inside a TRANSACTION_PAYLOAD (MySQL 8.0.20 and later). No I/O.

    body      what `bodies.TransactionPayload` says of it, then the packed bytes: one zstd frame or more, or plain
    unpacked  events, one behind the other: header and body as elsewhere in a log, position 0, no checksum

Law: unpacked piece by piece, as often as needed, so that memory is that of one event however much is packed; what is found is held
against the sizes the body declares. Whatever the bytes, the only errors are MalformedLog and UnsupportedLog.

Place of an event inside: the end of the event that holds it, and its own number, from 1 on.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct

import zstandard

from dblog_tasks.errors import MalformedLog, UnsupportedLog
from dblog_tasks.mysql import binlog, bodies
from dblog_tasks.mysql.header_count import HeaderCount

BLOCK_SIZE = 1 << 20
WINDOW_MAX = 1 << 27  # bytes zstd may look back: that of its highest level
ZSTD, PLAIN = 0, 255
_HEADER = Struct("<IBIIIH")
# Each stands for itself in a log, and never inside a transaction.
_NEVER_PACKED = frozenset(
    {binlog.TRANSACTION_PAYLOAD, binlog.FORMAT_DESCRIPTION, binlog.ROTATE, binlog.STOP, binlog.PREVIOUS_GTIDS}
    | {binlog.GTID, binlog.ANONYMOUS_GTID, binlog.GTID_TAGGED, binlog.MARIADB_GTID, binlog.START_ENCRYPTION}
)


class InnerFrame(binlog.Frame):
    """An event inside a compressed transaction. `end` and `start` are those of the event that holds it.

    Attributes:
        number: of the event inside, from 1 on.
        outer_start: offset in the file of the event that holds it.
    """

    number: int
    outer_start: int

    @property
    def start(self) -> int:
        return self.outer_start


def events(outer: binlog.Frame, name: str) -> Iterator[InnerFrame]:
    """Yield the events inside, in order; `name` is the file's, for errors. Raises MalformedLog, UnsupportedLog."""
    source = _unpacked(outer, name)
    data, at, number = b"", 0, 0
    while True:
        need = _size(data, at, f"{name}:{outer.start}") if len(data) - at >= binlog.HEADER_SIZE else binlog.HEADER_SIZE
        if len(data) - at < need:
            data, at = _filled(data[at:], source, need), 0
            if not data:
                return
            if len(data) < need:
                raise MalformedLog(f"a compressed transaction ends inside its event {number + 1}", where=f"{name}:{outer.start}")
            continue
        number += 1
        yield _inner(outer, data, at, number, name)
        at += need


def _size(data: bytes, at: int, where: str) -> int:
    size = int.from_bytes(data[at + 9 : at + 13], "little")
    if not binlog.HEADER_SIZE <= size <= binlog.EVENT_SIZE_MAX:
        raise MalformedLog(f"an event of {size} bytes in a compressed transaction", where=where)
    return size


def _filled(rest: bytes, source: Iterator[bytes], need: int) -> bytes:
    """Return `rest` and what follows, at least `need` bytes where there are as many."""
    parts, have = [rest], len(rest)
    while have < need and (block := next(source, None)) is not None:
        parts.append(block)
        have += len(block)
    return b"".join(parts)


def _inner(outer: binlog.Frame, data: bytes, at: int, number: int, name: str) -> InnerFrame:
    timestamp, kind, server, size, _, flags = _HEADER.unpack_from(data, at)
    if kind in _NEVER_PACKED:
        raise MalformedLog(f"{binlog.EVENT_NAMES[kind]} inside a compressed transaction", where=f"{name}:{outer.start}")
    frame = InnerFrame(kind, timestamp, server, flags, outer.end, data, at, size, at + size)
    frame.number, frame.outer_start = number, outer.start
    return frame


def _unpacked(outer: binlog.Frame, name: str) -> Iterator[bytes]:
    """Yield what is packed, in blocks; raise when it is not as long as declared."""
    where = f"{name}:{outer.start}"
    head: bodies.TransactionPayload = bodies.read_body(outer, where)
    packed = memoryview(outer.data)[outer.body_end - head.size : outer.body_end]
    if head.compression not in (ZSTD, PLAIN):
        raise UnsupportedLog(
            f"a transaction is compressed in a way that is not known, number {head.compression}",
            where=where,
            hint="the server is newer than MySQL 9.7: SET GLOBAL binlog_transaction_compression=OFF for the future",
        )
    size = 0
    for block in _plain(packed) if head.compression == PLAIN else _zstd(packed, where):
        size += len(block)
        if size > head.unpacked:
            break
        yield block
    if size != head.unpacked:
        found = f"{size} or more" if size > head.unpacked else f"{size}"
        raise MalformedLog(f"a compressed transaction holds {found} bytes, it declares {head.unpacked}", where=where)


def _plain(packed: memoryview) -> Iterator[bytes]:
    return (bytes(packed[at : at + BLOCK_SIZE]) for at in range(0, len(packed), BLOCK_SIZE))


def _zstd(packed: memoryview, where: str) -> Iterator[bytes]:
    reader = zstandard.ZstdDecompressor(max_window_size=WINDOW_MAX).stream_reader(packed, read_across_frames=True)
    try:
        while block := reader.read(BLOCK_SIZE):
            yield block
    except zstandard.ZstdError as error:
        raise MalformedLog(f"a compressed transaction cannot be unpacked: {error}", where=where) from None


def count(outer: binlog.Frame, name: str) -> int:
    """Return the number of events inside by hopping from header to header: the ledger's total, independent of `events`."""
    end = binlog.HEADER_SIZE
    walk = HeaderCount(end)
    for block in walk.watch(_unpacked(outer, name)):
        end += len(block)
    return walk.finish(end)
