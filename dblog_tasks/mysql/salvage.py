"""Reading around damage: what of a damaged file is provably whole, and what is lost. No I/O: blocks of bytes in, frames and damage out.

Law: nothing is taken that is not proved. Proof of one event is its checksum and its place; of a file without checksums, its place and
that of the LINKS - 1 events after it, since a place alone may be a chance. After damage events are taken only from the start of a
transaction on. Nothing of tables, filters or omissions is known here.

The servers' word for a place is the position of an event's end, as the event says it. Bytes that are missing, doubled or put in
move all that follows; what an event says stays true. `reached` is how far the log was followed in the servers' own positions:

    the next whole event says that it starts    what became of the log
    at `reached`                                nothing is missing: the bytes between were doubled or put in
    where it lies in the file                   damaged in place: what lay there is lost
    after `reached`, elsewhere                  bytes are missing; believed of a small event that begins a transaction
    before `reached`                            it is here a second time, and passed over

Another log that begins in the middle of the file ends the reading: its positions say nothing about this one. So does any damage in a
relay log, whose events have the positions of another file.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
import re
from struct import Struct
from typing import NamedTuple
from zlib import crc32

from dblog_tasks.errors import MalformedLog, UnsupportedLog
from dblog_tasks.mysql import binlog, bodies, payload, queries
from dblog_tasks.mysql.binlog import CRC_SIZE, FLAG_ARTIFICIAL, FLAG_RELAY, HEADER_SIZE, Frame
from dblog_tasks.mysql.table_map import read_table_map
from dblog_tasks.mysql.transactions import ROWS, WHOLE

LINKS = 4  # headers in a row that fit, where there are no checksums
WINDOW = 1 << 20  # bytes looked through at a time
SIZE_MAX = 1 << 24  # of the first event after damage; a larger one is passed over
START_MAX = 1 << 13  # of the event that begins a transaction, where its place alone proves nothing
_HALF = 1 << 31

_HEADER = Struct("<IBIIIH")
GTIDS = frozenset({binlog.GTID, binlog.ANONYMOUS_GTID, binlog.GTID_TAGGED, binlog.MARIADB_GTID})
_ALONE = frozenset({binlog.FORMAT_DESCRIPTION, binlog.ROTATE, binlog.STOP, binlog.PREVIOUS_GTIDS, binlog.MARIADB_GTID_LIST})
_ENDS = frozenset({queries.COMMIT, queries.ROLLBACK, queries.XA_COMMIT, queries.XA_ROLLBACK})
# A header's type, six bytes that may be anything, and a size below SIZE_MAX; looked for at every byte.
_TYPES = b"".join(b"\\x%02x" % kind for kind in sorted(binlog.EVENT_NAMES) if kind)
_CANDIDATE = re.compile(rb"(?s)(?=[%b].{7}\x00)" % _TYPES)


class Damage(NamedTuple):
    """A part of a file of which nothing is taken.

    Attributes:
        start, end: offsets in the file; equal where bytes were cut out.
        what: the error that ended the reading there; of a whole event, why it is not taken.
        kind: type of a whole event whose transaction is not whole; -1 for bytes of nobody knows how many events.
        missing: bytes of the log that are not known; 0 where bytes were doubled or put in.
        tail: no whole event comes after it.
        changes: it may hold a change.
    """

    start: int
    end: int
    what: str
    kind: int = -1
    missing: int = 0
    tail: bool = False
    changes: bool = True


class _Place(NamedTuple):
    """A whole event: where it lies in the file, and where the server says that it starts."""

    at: int
    said: int


class Tape:
    """The bytes of a file, kept from where they may be wanted again.

    Attributes:
        end: offset after the last byte read so far.
    """

    def __init__(self, blocks: Iterable[bytes], at: int) -> None:
        self._source = iter(blocks)
        self._kept: deque[bytes] = deque()
        self._first = at  # offset of the first byte kept
        self.end = at

    def forget(self, at: int) -> None:
        """Let go of blocks before the offset."""
        while self._kept and self._first + len(self._kept[0]) <= at:
            self._first += len(self._kept.popleft())

    def read(self, at: int) -> Iterator[bytes]:
        """Yield the bytes from an offset on that was not let go."""
        index, start = 0, self._first  # of the block that is looked at, and where it begins
        while index < len(self._kept) or self._pull():
            block = self._kept[index]
            start, index = start + len(block), index + 1
            if start <= at:
                continue
            first, found = self._first, block[max(0, len(block) - (start - at)) :]
            at = start
            yield found
            if self._first != first:  # blocks were let go meanwhile
                index, start = 0, self._first

    def view(self, at: int, size: int) -> bytes:
        """Return the bytes from an offset on, fewer only at the end of the file."""
        parts: list[bytes] = []
        for block in self.read(at):
            parts.append(block[:size])
            size -= len(block)
            if size <= 0:
                break
        return b"".join(parts)

    def rest(self) -> int:
        """Read to the end of the file, keeping nothing; return its size."""
        self.forget(self.end)
        while self._pull():
            self.forget(self.end)
        return self.end

    def _pull(self) -> bool:
        block = next(filter(None, self._source), None)
        if block is None:
            return False
        self._kept.append(block)
        self.end += len(block)
        return True


class Salvage:
    """One file read around its damage: iterate once.

    Frames come in the order of the file; their ends are offsets in the file, whatever their positions say. Where a Damage with
    `missing` comes between two frames, what came before it and what comes after belong to different transactions.
    """

    def __init__(self, blocks: Iterable[bytes], name: str, identity: str, *, at: int = 0, known: binlog.Format | None = None) -> None:
        """`identity` of the file (see `binlog.identity`) tells another log in its middle; the rest is as for `binlog.frames`."""
        self._tape = Tape(blocks, at)
        self._name, self._identity = name, identity
        self._at = max(at, 4) if at else 0  # offset in the file of what comes next
        self._shift = 0  # what the servers' positions are ahead of the offsets in this file
        self._reached = at & 0xFFFF_FFFF  # the furthest end a whole event said, modulo 2**32
        self._known = known
        self._unplaced = known is not None and known.unplaced
        self._gtids = known is not None and _writes_gtids(known)
        self._between = True  # the event before was the end of a transaction
        self._whole = True  # the transaction's start was seen

    def __iter__(self) -> Iterator[Frame | Damage]:
        while True:
            error: MalformedLog | None = None
            try:
                yield from self._stretch()
            except MalformedLog as found:
                error = found
            if error is None:
                return
            if self._known is None:  # nothing can be read without the format
                raise error
            start, what = self._at, error.what
            place = None if self._unplaced else self._find(start)
            if place is None:
                end = self._tape.rest()
                yield Damage(start, end, what, missing=end - start, tail=True)
                return
            missing = (place.said - self._reached) % (1 << 32)
            yield Damage(start, place.at, what, missing=missing)
            self._at, self._shift = place.at, place.said - place.at
            self._whole = self._whole and not missing
            self._between = self._between and not missing

    def _stretch(self) -> Iterator[Frame | Damage]:
        """Yield whole events until damage or the end; those before a transaction's start as damage."""
        shift, tape = self._shift, self._tape
        summed = self._known is not None and bool(self._known.checksum)
        said_at = self._at + shift if self._at else 0
        for frame in binlog.frames(tape.read(self._at), self._name, at=said_at, known=self._known):
            if frame.type == binlog.FORMAT_DESCRIPTION:
                self._known = binlog.read_format(frame.data[frame.at + HEADER_SIZE : frame.at + frame.size], self._name)
                summed = bool(self._known.checksum)
                self._gtids = self._gtids or _writes_gtids(self._known)
                self._unplaced = self._unplaced or self._known.unplaced or bool(frame.flags & FLAG_RELAY)
            elif not summed:
                _check_body(frame, f"{self._name}:{frame.start - shift}", mariadb=self._known is not None and self._known.mariadb)
            self._reached = frame.end & 0xFFFF_FFFF
            found = frame._replace(end=frame.end - shift) if shift else frame
            self._at = found.end
            tape.forget(self._at)
            yield self._taken(found)

    def _taken(self, frame: Frame) -> Frame | Damage:
        kind = frame.type
        self._gtids = self._gtids or kind in GTIDS
        text = _text(frame) if kind in {binlog.QUERY, binlog.QUERY_COMPRESSED} else ""
        if not self._whole:
            begins = text in {queries.BEGIN, queries.XA_START} and not self._gtids
            self._whole = kind in GTIDS or kind in _ALONE or begins or self._between
        self._between = kind == binlog.XID or kind in _ALONE or text in _ENDS
        if self._whole:
            return frame
        changes = kind in ROWS or kind in WHOLE or text in {queries.DATA, queries.DEFINITION}
        return Damage(frame.start, frame.end, "its transaction is not whole", kind, frame.size, changes=changes)

    def _find(self, start: int) -> _Place | None:
        """Return the next whole event after the offset; None when there is none, or another log begins before it."""
        at = start
        while view := self._tape.view(at, WINDOW + HEADER_SIZE):
            self._tape.forget(at)
            for found in _CANDIDATE.finditer(view):
                offset = found.start() - 4
                if offset < 0 or offset + HEADER_SIZE > len(view) or (at + offset == start and self._refused(start)):
                    continue
                place, foreign = self._judge(view, offset, at + offset)
                if place is not None or foreign:
                    return place
            if len(view) <= HEADER_SIZE:
                return None
            at += len(view) - HEADER_SIZE + 1
        return None

    def _refused(self, start: int) -> bool:
        """Whether the event right at the damage is the one that was not accepted; one that lies elsewhere may still be whole."""
        head = self._tape.view(start, HEADER_SIZE)
        return len(head) < HEADER_SIZE or (_HEADER.unpack(head)[4] - _HEADER.unpack(head)[3] - start - self._shift) % (1 << 32) == 0

    def _judge(self, view: bytes, offset: int, at: int) -> tuple[_Place | None, bool]:
        """Return the event at the offset when it is whole and has a place in this log; and whether another log begins there."""
        _, kind, _, size, next_position, flags = _HEADER.unpack_from(view, offset)
        if size < HEADER_SIZE or not next_position or flags & (FLAG_ARTIFICIAL | FLAG_RELAY):
            return None, False
        said = (next_position - size) % (1 << 32)
        if kind == binlog.FORMAT_DESCRIPTION:
            return None, said == 4 and self._is_foreign(at, size)
        ahead = (said - self._reached) % (1 << 32)
        placed = ahead == 0 or (said == (at + self._shift) % (1 << 32) and ahead < _HALF)
        begins = ahead < _HALF and size <= START_MAX and (kind in GTIDS or (kind == binlog.QUERY and not self._gtids))
        if not (placed or begins) or not self._proved(view[offset : offset + size], at, size, next_position):
            return None, False
        return _Place(at, at + self._shift + _signed(said - at - self._shift)), False

    def _is_foreign(self, at: int, size: int) -> bool:
        """Whether a format description is another log's; one that is this log's own once more is passed over."""
        event = self._tape.view(at, size) if size <= START_MAX else b""
        try:
            first = next(binlog.frames([binlog.MAGIC, event], self._name), None)
        except (MalformedLog, UnsupportedLog):
            return False
        return first is not None and binlog.identity(binlog.MAGIC + event, self._name) != self._identity

    def _proved(self, event: bytes, at: int, size: int, next_position: int) -> bool:
        """Whether the event has a right checksum; where there are none, whether enough that follow fit. `event` may be cut."""
        if self._known is not None and self._known.checksum:
            event = event if len(event) == size else self._tape.view(at, size)
            return len(event) == size > HEADER_SIZE + CRC_SIZE and crc32(event[:-4]) == int.from_bytes(event[-4:], "little")
        for _ in range(LINKS - 1):
            at += size
            if at - self._tape.end > WINDOW:
                return False
            head = self._tape.view(at, HEADER_SIZE)
            if len(head) < HEADER_SIZE:
                return False
            _, kind, _, size, following, _ = _HEADER.unpack(head)
            if size < HEADER_SIZE or kind not in binlog.EVENT_NAMES or (following - size - next_position) % (1 << 32):
                return False
            next_position = following
        return True


def _signed(difference: int) -> int:
    """Return the difference of two positions that are known modulo 2**32."""
    return (difference + _HALF) % (1 << 32) - _HALF


def _writes_gtids(known: binlog.Format) -> bool:
    """Whether servers of this version begin every transaction with a GTID or its like: MySQL from 5.7, MariaDB from 10.0."""
    return binlog.version_numbers(known.server_version) >= ((10, 0, 0) if known.mariadb else (5, 7, 4))


def _text(frame: Frame) -> str:
    """Return what kind of statement it is; empty when it cannot be read."""
    try:
        return queries.classify(bodies.read_body(frame, "").text)
    except MalformedLog:
        return ""


def _check_body(frame: Frame, where: str, *, mariadb: bool) -> None:
    """Raise MalformedLog for an event that no server writes, where no checksum would tell."""
    size = frame.body_end - frame.at - HEADER_SIZE
    if frame.type not in binlog.EVENT_NAMES and not frame.flags & binlog.FLAG_IGNORABLE:
        raise MalformedLog(f"event type {frame.type} is not known", where=where)
    if (frame.type in ROWS or frame.type == binlog.TABLE_MAP) and size < 8:
        raise MalformedLog(f"{binlog.EVENT_NAMES[frame.type]} of {size} bytes", where=where)
    if frame.type == binlog.TABLE_MAP:
        read_table_map(frame.body[8:], where, mariadb=mariadb)
    if frame.type == binlog.TRANSACTION_PAYLOAD:
        for inner in payload.events(frame, where):
            _check_body(inner, where, mariadb=mariadb)
    bodies.read_body(frame, where)
