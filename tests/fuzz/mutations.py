"""Inputs for fuzzing: real logs, changed in ways that reach deep parsers. No tests.

An input is a pure function of seed and number, so that naming the two names the input. Events are changed one by one, and mostly get
right sizes, positions and checksums again afterwards: otherwise every input would end at its first checksum.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from random import Random
from struct import Struct, pack
from zlib import crc32

import zstandard

from dblog_tasks.mysql import binlog
from tests.fixtures import ROOT

CORPUS = ROOT / "tests" / "corpus"
EVENTS_MAX = 40  # of a log, taken from one place of a real one
_HEADER = Struct("<IBIIIH")
_GTIDS = (binlog.GTID, binlog.ANONYMOUS_GTID, binlog.MARIADB_GTID, binlog.GTID_TAGGED)
_EXTREME = (0, 1, 0x7F, 0x80, 0xFA, 0xFB, 0xFC, 0xFD, 0xFE, 0xFF)
# Types whose bodies are worth changing more often than others.
_DEEP = frozenset({binlog.TABLE_MAP, binlog.TRANSACTION_PAYLOAD, *range(20, 26), *range(30, 33), 39, *range(165, 169)})

Event = tuple[int, int, int, bytes]  # type, timestamp, flags, body


class Base:
    """A real log, taken apart: its format description, and the other events."""

    def __init__(self, data: bytes) -> None:
        found = list(binlog.frames([data], "base"))
        first = found[0]
        self.description = first.raw[19:]
        self.checksum = self.description[-5] if binlog.read_format(self.description, "base").summed else None
        self.events: list[Event] = [(frame.type, frame.timestamp, frame.flags, frame.body) for frame in found[1:]]
        self.named = any(kind == binlog.TABLE_MAP and b"id" in body for kind, _, _, body in self.events)
        self.starts = [index for index, event in enumerate(self.events) if event[0] in _GTIDS] or [0]


@cache
def bases(folders: tuple[Path, ...] = (CORPUS,)) -> tuple[Base, ...]:
    """Return every binary log below the folders that is read without an error."""
    found = []
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            data = path.read_bytes() if path.is_file() else b""
            if data.startswith(binlog.MAGIC):
                try:
                    found.append(Base(data))
                except Exception:  # noqa: BLE001, S112 - a damaged fixture is no base
                    continue
    return tuple(found)


def binary_log(random: Random, folders: tuple[Path, ...] = (CORPUS,)) -> bytes:
    """Return a mutated binary log."""
    base = random.choice(bases(folders))
    if not base.named and random.random() < 0.8:  # most of them hold rows that nobody can read
        base = random.choice(bases(folders))
    begin = random.choice(base.starts)
    events = base.events[begin : begin + random.randint(1, EVENTS_MAX)]
    for _ in range(random.choice((0, 1, 1, 1, 2, 4))):
        events = random.choice(_ORDER)(random, events, base) or events
    deep = [index for index, event in enumerate(events) if event[0] in _DEEP] or list(range(len(events)))
    for _ in range(random.choice((0, 1, 1, 1, 2, 3))):
        index = random.choice(deep if random.random() < 0.85 else range(len(events)))
        events[index] = _changed(random, events[index])
    data = _written(random, base, events)
    return mutated(random, data) if random.random() < 0.15 else data


def old_binary_log(random: Random) -> bytes:
    """Return a changed binary log as MySQL 4.0 and 4.1 wrote them: no checksums, statements alone."""
    events = [(1, pack("<H50sI", random.choice((1, 2, 3, 3, 3, 3, 4)), b"4.1.22-log", 7))]
    events += random.choices(_OLD, k=random.randint(1, 12))
    data = binlog.MAGIC
    for kind, body in events:
        body = mutated(random, body) if random.random() < 0.2 else body
        data += _HEADER.pack(1000, kind, 1, 19 + len(body), len(data), 0) + body
    return mutated(random, data) if random.random() < 0.5 else data


_SAID = pack("<IIBH", 7, 0, 1, 0) + b"d\0"
_OLD: Sequence[tuple[int, bytes]] = (  # type and body
    *((binlog.QUERY, _SAID + text) for text in (b"BEGIN", b"COMMIT", b"ROLLBACK", b"insert into t values (1)", b"drop table t", b"")),
    (binlog.STOP, b""),
    (binlog.ROTATE, bytes(8) + b"log.000002"),
    (binlog.INTVAR, b"\2" + bytes(8)),
    (binlog.RAND, bytes(16)),
    (binlog.USER_VAR, pack("<I", 1) + b"a\0\0" + pack("<II", 8, 2) + b"xy"),
    (binlog.LOAD, pack("<IIIBBI", 7, 0, 0, 1, 1, 1) + b',"\n \\\0\0' + b"\1c\0t\0d\0file"),
    (binlog.CREATE_FILE, pack("<IIIBBI", 7, 0, 0, 1, 1, 1) + pack("<I", 1) + b'\1,\1"\1\n\0\1\\\0' + b"\1c\0t\0d\0file\0rows"),
    (binlog.APPEND_BLOCK, pack("<I", 1) + b"rows"),
    (binlog.EXEC_LOAD, pack("<I", 1)),
    (binlog.DELETE_FILE, pack("<I", 1)),
)


def _changed(random: Random, event: Event) -> Event:
    kind, timestamp, flags, body = event
    if kind == binlog.TRANSACTION_PAYLOAD and random.random() < 0.8:
        return kind, timestamp, flags, _repacked(random, body)
    if random.random() < 0.03:
        kind = random.choice((*binlog.EVENT_NAMES, random.randrange(256)))
    kept = random.choice((0, 0, 12, 12, 40)) if kind in _DEEP else 0  # what is beyond the head of rows
    return kind, timestamp, flags, body[:kept] + mutated(random, body[kept:])


def _repacked(random: Random, body: bytes) -> bytes:
    """Return a payload with what is packed in it changed: its events, or the bytes of them."""
    magic = body.find(b"\x28\xb5\x2f\xfd")
    if magic < 0:
        return mutated(random, body)
    try:
        with zstandard.ZstdDecompressor().stream_reader(body[magic:]) as reader:
            inner = bytearray(reader.read(1 << 20))
    except zstandard.ZstdError:  # changed before
        return mutated(random, body)
    at, spots = 0, []
    while at + 19 <= len(inner) and (size := int.from_bytes(inner[at + 9 : at + 13], "little")) >= 19:
        spots.append((at, size))
        at += size
    if not spots:
        return body
    at, size = random.choice(spots)
    changed = mutated(random, bytes(inner[at + 19 : at + size]))
    inner[at + 9 : at + size] = pack("<IIH", 19 + len(changed), 0, 0) + changed
    packed = zstandard.compress(bytes(inner)) * random.choice((1, 1, 1, 1, 2))
    head = bytearray()  # size of the packed bytes, algorithm, size of the plain ones: type, length, value each
    for kind, value in ((1, len(packed)), (2, 0), (3, len(inner) + random.choice((0, 0, 0, 1)))):
        text = value.to_bytes(2, "little") if value < 1 << 16 else value.to_bytes(3, "little")
        number = bytes([value]) if value < 251 else (b"\xfc" if len(text) == 2 else b"\xfd") + text
        head += bytes([kind, len(number)]) + number
    return bytes(head) + b"\0" + packed


def _written(random: Random, base: Base, events: Sequence[Event]) -> bytes:
    """Return the events as a file: right sizes, positions and checksums, or in places not."""
    description, checksum = base.description, base.checksum
    if checksum is not None and random.random() < 0.25:
        checksum = random.choice((0, 1))
        description = description[:-5] + bytes([checksum]) + bytes(4)
    if random.random() < 0.03:
        description = mutated(random, description)
    summed = bool(checksum)
    data = binlog.MAGIC
    careless = random.random() < 0.1
    for kind, timestamp, flags, body in ((15, 1000, 0, description[:-4] if checksum is not None else description), *events):
        summed_here = summed or (kind == 15 and checksum is not None)
        size = 19 + len(body) + 4 * summed_here
        end = (len(data) + size) & 0xFFFF_FFFF
        if careless and random.random() < 0.2:
            end, size = random.choice(((end, size + random.randint(-20, 20)), (random.randrange(1 << 32), size), (0, size), (end, 1 << 31)))
        event = _HEADER.pack(timestamp, kind, 1, size & 0xFFFF_FFFF, end, flags & 0xFFFF) + body
        data += event + (pack("<I", crc32(event)) if summed_here else b"")
    return data


def _cut(random: Random, events: list[Event], base: Base) -> list[Event]:
    at = random.randrange(len(events))
    return events[:at] + events[at + random.randint(1, 3) :]


def _doubled(random: Random, events: list[Event], base: Base) -> list[Event]:
    at = random.randrange(len(events))
    return events[: at + 1] + events[at:]


def _swapped(random: Random, events: list[Event], base: Base) -> list[Event]:
    events = list(events)
    one, other = (random.randrange(len(events)) for _ in range(2))
    events[one], events[other] = events[other], events[one]
    return events


def _borrowed(random: Random, events: list[Event], base: Base) -> list[Event]:
    at, whence = random.randrange(len(events) + 1), random.choice(bases())
    begin = random.randrange(len(whence.events))
    return events[:at] + whence.events[begin : begin + random.randint(1, 4)] + events[at:]


def _retyped(random: Random, events: list[Event], base: Base) -> list[Event]:
    """Rows under another type of rows event, or behind another table map."""
    events = list(events)
    rows = [index for index, event in enumerate(events) if event[0] in _DEEP]
    if rows:
        index = random.choice(rows)
        events[index] = (random.choice(sorted(_DEEP)), *events[index][1:])
    return events


_ORDER: Sequence[Callable[[Random, list[Event], Base], list[Event]]] = (_cut, _doubled, _swapped, _borrowed, _retyped)


def mutated(random: Random, data: bytes) -> bytes:
    """Return the bytes changed in one to four ways."""
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        at = random.randrange(len(changed) + 1)
        random.choice(_WAYS)(random, changed, at)
    return bytes(changed)


def _flip(random: Random, data: bytearray, at: int) -> None:
    if at < len(data):
        data[at] ^= 1 << random.randrange(8)


def _extreme(random: Random, data: bytearray, at: int) -> None:
    data[at : at + 1] = bytes([random.choice(_EXTREME)])


def _number(random: Random, data: bytearray, at: int) -> None:
    width = random.choice((2, 3, 4, 8))
    value = random.choice((0, 1, (1 << 8 * width) - 1, 1 << (8 * width - 1), random.getrandbits(8 * width), len(data)))
    data[at : at + width] = (value & (1 << 8 * width) - 1).to_bytes(width, random.choice(("little", "big")))


def _remove(random: Random, data: bytearray, at: int) -> None:
    del data[at : at + random.choice((1, 1, 2, 4, random.randint(1, 64)))]


def _insert(random: Random, data: bytearray, at: int) -> None:
    data[at:at] = random.choice((random.randbytes(random.randint(1, 16)), bytes(random.randint(1, 40)), b"\xff" * random.randint(1, 40)))


def _copy(random: Random, data: bytearray, at: int) -> None:
    begin = random.randrange(len(data) + 1)
    data[at : at + random.choice((0, 0, 8))] = data[begin : begin + random.randint(1, 64)]


def _truncate(random: Random, data: bytearray, at: int) -> None:
    del data[at:]


_WAYS: Sequence[Callable[[Random, bytearray, int], None]] = (_flip, _flip, _extreme, _extreme, _number, _remove, _insert, _copy, _truncate)
