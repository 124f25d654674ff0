"""What servers tell their replicas beside changes: what ran before, that they are alive, who is in the group. No I/O.

    type                  body
    START_V3              as a format description up to its time of creation
    PREVIOUS_GTIDS        number of servers (8); each: uuid (16), number of intervals (8), each first (8) and the one after the last (8).
                          With tags (8.3): 1, number of servers and tags (6), 1; behind each uuid a tag (variable length, text)
    HEARTBEAT             the name of the file
    HEARTBEAT_V2          fields of type, length, value (length-encoded): 1 file, 2 position; up to type 0
    TRANSACTION_CONTEXT   sizes of uuid (1), thread (4), whether the GTID was given (1), size of the snapshot, number of written and of
                          read items (4 each); uuid, snapshot, items with their sizes (2)
    VIEW_CHANGE           id (40, zero padded), sequence (8), number of entries (4), each key and value with their sizes (2, 4)
    MARIADB_GTID_LIST     number of entries (4; highest 4 bits: flags), each domain (4), server (4), sequence (8)
    MARIADB_BINLOG_CHECKPOINT   size (4) and name of a file
    MARIADB_START_ENCRYPTION    scheme (1), version of the key (4), nonce (12)

Sources: libs/mysql/binlog/event and libs/mysql/gtids of MySQL 9.7, sql/log_event.h of MariaDB 11.8.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from dblog_tasks.mysql import binlog
from dblog_tasks.mysql.lengths import counted, exactly, number, read_length, read_variable, uuid

_TAGGED = 1


@dataclass(frozen=True, slots=True)
class Started:
    """The beginning of a log of before MySQL 5.0."""

    version: int
    server_version: str
    created: int


@dataclass(frozen=True, slots=True)
class PreviousGtids:
    """All that ran before this log. `sets`: by uuid or uuid:tag the first and last number of each interval."""

    sets: tuple[tuple[str, tuple[tuple[int, int], ...]], ...]

    def __str__(self) -> str:
        """Return the set as servers print it."""
        ranges = ((name, ":".join(f"{a}-{z}" if a < z else f"{a}" for a, z in intervals)) for name, intervals in self.sets)
        return ",".join(f"{name}:{text}" for name, text in ranges)


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The sender is alive and has read as far as this."""

    file: str
    position: int = 0


@dataclass(frozen=True, slots=True)
class TransactionContext:
    """What group replication certifies a transaction by."""

    server_uuid: str
    thread: int
    gtid_specified: bool
    snapshot: bytes
    written: tuple[bytes, ...]
    read: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class ViewChange:
    """Servers came to a group or left it."""

    view_id: str
    sequence: int
    entries: tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class GtidList:
    """The last GTID by domain and server before this log."""

    gtids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BinlogCheckpoint:
    """The first file a recovery after a crash would need."""

    file: str


@dataclass(frozen=True, slots=True)
class StartEncryption:
    """What follows is encrypted."""

    scheme: int
    key_version: int
    nonce: bytes


def _text(data: bytes) -> str:
    return data.split(b"\0", 1)[0].decode("utf-8", "replace")


def _started(body: bytes, frame: binlog.Frame) -> Started:
    return Started(number(body, 0, 2), _text(exactly(body, 2, 50)), number(body, 52, 4))


def _previous_gtids(body: bytes, frame: binlog.Frame) -> PreviousGtids:
    head = number(body, 0, 8)
    tagged = head >> 56 == _TAGGED
    count = head >> 8 & (1 << 48) - 1 if tagged else head
    at, sets = 8, []
    for _ in range(counted(body, at, count, 24)):
        name = uuid(exactly(body, at, 16))
        at += 16
        if tagged:
            size, at = read_variable(body, at)
            tag = exactly(body, at, size).decode("ascii")
            at += size
            name = f"{name}:{tag}" if tag else name
        amount, at = number(body, at, 8), at + 8
        ends = [number(body, at + offset, 8) for offset in range(0, 16 * counted(body, at, amount, 16), 8)]
        if any(first >= after for first, after in pairwise(ends)):
            raise ValueError(f"the intervals of {name} overlap or are empty")
        sets.append((name, tuple((first, after - 1) for first, after in zip(ends[::2], ends[1::2], strict=True))))
        at += 16 * amount
    return PreviousGtids(tuple(sets))


def _heartbeat(body: bytes, frame: binlog.Frame) -> Heartbeat:
    return Heartbeat(_text(body))


def _heartbeat_v2(body: bytes, frame: binlog.Frame) -> Heartbeat:
    at, file, position = 0, "", 0
    while at < len(body) and (field := read_length(body, at)).value:
        size = read_length(body, field.at)
        value = exactly(body, size.at, size.value)
        at = size.at + size.value
        if field.value == 1:
            file = _text(value)
        elif field.value == 2:
            position = read_length(value, 0).value
    return Heartbeat(file, position)


def _items(body: bytes, at: int, count: int) -> tuple[tuple[bytes, ...], int]:
    found = []
    for _ in range(counted(body, at, count, 2)):
        found.append(exactly(body, at + 2, number(body, at, 2)))
        at += 2 + len(found[-1])
    return tuple(found), at


def _transaction_context(body: bytes, frame: binlog.Frame) -> TransactionContext:
    uuid_size, thread, specified = number(body, 0, 1), number(body, 1, 4), number(body, 5, 1)
    snapshot_size, written_count, read_count = (number(body, at, 4) for at in (6, 10, 14))
    server = exactly(body, 18, uuid_size)
    snapshot = exactly(body, 18 + uuid_size, snapshot_size)
    written, at = _items(body, 18 + uuid_size + snapshot_size, written_count)
    read, _ = _items(body, at, read_count)
    return TransactionContext(_text(server), thread, bool(specified), snapshot, written, read)


def _view_change(body: bytes, frame: binlog.Frame) -> ViewChange:
    view_id, sequence, count = _text(exactly(body, 0, 40)), number(body, 40, 8), number(body, 48, 4)
    at, entries = 52, []
    for _ in range(counted(body, at, count, 6)):
        key = exactly(body, at + 2, number(body, at, 2))
        at += 2 + len(key)
        value = exactly(body, at + 4, number(body, at, 4))
        at += 4 + len(value)
        entries.append((key, value))
    return ViewChange(view_id, sequence, tuple(entries))


def _gtid_list(body: bytes, frame: binlog.Frame) -> GtidList:
    count = counted(body, 4, number(body, 0, 4) & 0x0FFF_FFFF, 16)
    return GtidList(
        tuple(f"{number(body, at, 4)}-{number(body, at + 4, 4)}-{number(body, at + 8, 8)}" for at in range(4, 4 + 16 * count, 16))
    )


def _binlog_checkpoint(body: bytes, frame: binlog.Frame) -> BinlogCheckpoint:
    return BinlogCheckpoint(_text(exactly(body, 4, number(body, 0, 4))))


def _start_encryption(body: bytes, frame: binlog.Frame) -> StartEncryption:
    return StartEncryption(number(body, 0, 1), number(body, 1, 4), exactly(body, 5, 12))


READERS: Mapping[int, Callable[[bytes, binlog.Frame], Any]] = {
    binlog.START_V3: _started,
    binlog.PREVIOUS_GTIDS: _previous_gtids,
    binlog.HEARTBEAT: _heartbeat,
    binlog.HEARTBEAT_V2: _heartbeat_v2,
    binlog.TRANSACTION_CONTEXT: _transaction_context,
    binlog.VIEW_CHANGE: _view_change,
    binlog.MARIADB_GTID_LIST: _gtid_list,
    binlog.BINLOG_CHECKPOINT: _binlog_checkpoint,
    binlog.START_ENCRYPTION: _start_encryption,
}
