"""The frame of a binary log: magic, event headers, format description, checksums. No I/O: blocks of bytes in, frames out.

Format (binlog version 4: MySQL 5.0-9.7, MariaDB 5.1-11.8; of versions 2 and 3 see OldFrame), all numbers little-endian:

    offset size  file
         0    4  magic fe 62 69 6e
         4       events, the first a format description

    offset size  event
         0    4  timestamp, seconds since 1970
         4    1  type, key of EVENT_NAMES
         5    4  server id
         9    4  size: header, body and checksum together
        13    4  position of the next event, modulo 2**32; 0 for artificial events
        17    2  flags
        19       post-header (length by type: format description), body
     size-4    4  CRC32 over everything before, when the format description says so

    offset size  format description (type 15) after its header
         0    2  binlog version, 4
         2   50  server version, NUL padded
        52    4  created, seconds since 1970; 0 after a rotation
        56    1  header length, 19
        57    n  post-header length of each type, from type 1 on
       end    1  checksum algorithm (0 none, 1 CRC32) and 4 bytes CRC32: MySQL from 5.6.1, MariaDB from 5.3

Law: frames know nothing of filters, tables or transactions. Whatever the bytes, the only errors are MalformedLog, TruncatedLog
and UnsupportedLog, each with file and position.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
import hashlib
from itertools import chain
import re
from struct import Struct
from typing import NamedTuple
from zlib import crc32

from dblog_tasks.errors import MalformedLog, TruncatedLog, UnsupportedLog
from dblog_tasks.mysql import compiled
from dblog_tasks.mysql.stream import Stream

MAGIC = b"\xfebin"
ENCRYPTED_MAGIC = b"\xfdbin"
HEADER_SIZE = 19
CRC_SIZE = 4
OLD_VERSIONS = (2, 3)  # of the format: MySQL 4.0.0 and 4.0.1, 4.0.2 to 4.1; the first event is START_EVENT_V3
START_SIZE, SMALL_HEADER_SIZE = 56, 13  # bytes of its body; of event headers in version 1, MySQL 3.23
DESCRIPTION_MAX = 4096  # bytes of a format description; the longest known has 126
PLAIN_MAX = 512  # frames that compiled code gives at once
EVENT_SIZE_MAX = (1 << 30) + (1 << 20)  # a packet of 1 GiB and its header; a larger size is damage
FLAG_IN_USE = 0x01  # set while the server writes the file; not part of the checksum
FLAG_ARTIFICIAL = 0x20
FLAG_RELAY = 0x40
FLAG_IGNORABLE = 0x80  # who does not know the event's type may pass over it
_PLACELESS = FLAG_RELAY | FLAG_ARTIFICIAL  # what such an event says of its end is not true of this file

_VERSION = re.compile(r"[0-9]{1,3}\.[0-9]")
_HEADER = Struct("<IBIIIH")
assert _HEADER.size == HEADER_SIZE  # noqa: S101 - a law of the format, checked once

UNKNOWN, START_V3, QUERY, STOP, ROTATE, INTVAR = 0, 1, 2, 3, 4, 5
LOAD, CREATE_FILE, APPEND_BLOCK, EXEC_LOAD, DELETE_FILE, NEW_LOAD = 6, 8, 9, 10, 11, 12
TRANSACTION_CONTEXT, VIEW_CHANGE, HEARTBEAT_V2 = 36, 37, 41
RAND, USER_VAR, FORMAT_DESCRIPTION, XID, BEGIN_LOAD_QUERY, EXECUTE_LOAD_QUERY, TABLE_MAP = 13, 14, 15, 16, 17, 18, 19
INCIDENT, HEARTBEAT, IGNORABLE, ROWS_QUERY = 26, 27, 28, 29
WRITE_ROWS_V1, UPDATE_ROWS_V1, DELETE_ROWS_V1, WRITE_ROWS_V2, UPDATE_ROWS_V2, DELETE_ROWS_V2 = 23, 24, 25, 30, 31, 32
GTID, ANONYMOUS_GTID, PREVIOUS_GTIDS, XA_PREPARE, PARTIAL_UPDATE_ROWS, TRANSACTION_PAYLOAD, GTID_TAGGED = 33, 34, 35, 38, 39, 40, 42
ANNOTATE_ROWS, BINLOG_CHECKPOINT, MARIADB_GTID, MARIADB_GTID_LIST, START_ENCRYPTION, QUERY_COMPRESSED = 160, 161, 162, 163, 164, 165
WRITE_ROWS_COMPRESSED, UPDATE_ROWS_COMPRESSED, DELETE_ROWS_COMPRESSED = 166, 167, 168

_DESCRIBING = frozenset({START_V3, FORMAT_DESCRIPTION})

# The servers' own names (mysql: libbinlogevents, 9.7; mariadb: log_event.h, 11.8).
EVENT_NAMES = {
    0: "UNKNOWN_EVENT",
    1: "START_EVENT_V3",
    2: "QUERY_EVENT",
    3: "STOP_EVENT",
    4: "ROTATE_EVENT",
    5: "INTVAR_EVENT",
    6: "LOAD_EVENT",
    7: "SLAVE_EVENT",
    8: "CREATE_FILE_EVENT",
    9: "APPEND_BLOCK_EVENT",
    10: "EXEC_LOAD_EVENT",
    11: "DELETE_FILE_EVENT",
    12: "NEW_LOAD_EVENT",
    13: "RAND_EVENT",
    14: "USER_VAR_EVENT",
    15: "FORMAT_DESCRIPTION_EVENT",
    16: "XID_EVENT",
    17: "BEGIN_LOAD_QUERY_EVENT",
    18: "EXECUTE_LOAD_QUERY_EVENT",
    19: "TABLE_MAP_EVENT",
    20: "WRITE_ROWS_EVENTv0",
    21: "UPDATE_ROWS_EVENTv0",
    22: "DELETE_ROWS_EVENTv0",
    23: "WRITE_ROWS_EVENTv1",
    24: "UPDATE_ROWS_EVENTv1",
    25: "DELETE_ROWS_EVENTv1",
    26: "INCIDENT_EVENT",
    27: "HEARTBEAT_EVENT",
    28: "IGNORABLE_EVENT",
    29: "ROWS_QUERY_EVENT",
    30: "WRITE_ROWS_EVENTv2",
    31: "UPDATE_ROWS_EVENTv2",
    32: "DELETE_ROWS_EVENTv2",
    33: "GTID_EVENT",
    34: "ANONYMOUS_GTID_EVENT",
    35: "PREVIOUS_GTIDS_EVENT",
    36: "TRANSACTION_CONTEXT_EVENT",
    37: "VIEW_CHANGE_EVENT",
    38: "XA_PREPARE_LOG_EVENT",
    39: "PARTIAL_UPDATE_ROWS_EVENT",
    40: "TRANSACTION_PAYLOAD_EVENT",
    41: "HEARTBEAT_EVENT_V2",
    42: "GTID_TAGGED_LOG_EVENT",
    160: "MARIADB_ANNOTATE_ROWS_EVENT",
    161: "MARIADB_BINLOG_CHECKPOINT_EVENT",
    162: "MARIADB_GTID_EVENT",
    163: "MARIADB_GTID_LIST_EVENT",
    164: "MARIADB_START_ENCRYPTION_EVENT",
    165: "MARIADB_QUERY_COMPRESSED_EVENT",
    166: "MARIADB_WRITE_ROWS_COMPRESSED_EVENT_V1",
    167: "MARIADB_UPDATE_ROWS_COMPRESSED_EVENT_V1",
    168: "MARIADB_DELETE_ROWS_COMPRESSED_EVENT_V1",
}


class Frame(NamedTuple):
    """One event, not yet decoded: its header, and where its bytes lie in a block."""

    type: int
    timestamp: int  # seconds since 1970
    server_id: int
    flags: int
    end: int  # offset in the file of the byte after the event
    data: bytes  # the block that holds the event
    at: int  # offset of the header in the block
    size: int  # header, body and checksum
    body_end: int  # offset in the block of the byte after the body, checksum left out

    @property
    def start(self) -> int:
        """Offset of the event in the file."""
        return self.end - self.size

    @property
    def raw(self) -> bytes:
        """The exact bytes of the event."""
        return self.data[self.at : self.at + self.size]

    @property
    def body(self) -> bytes:
        """The bytes between header and checksum."""
        return self.data[self.at + HEADER_SIZE : self.body_end]


class OldFrame(Frame):
    """An event of binlog versions 2 and 3: as in version 4, but that a statement has no status variables, and so no size of them."""

    @property
    def body(self) -> bytes:
        body = super().body
        return body[:11] + b"\0\0" + body[11:] if self.type == QUERY else body


class Format(NamedTuple):
    """What a format description says.

    Attributes:
        server_version: as the server wrote it.
        mariadb: it is MariaDB.
        created: seconds since 1970; 0 after a rotation.
        header_lengths: post-header length of type 1, 2, ….
        checksum: bytes of checksum at the end of every event, 0 or 4.
        summed: the description itself ends with one.
        unplaced: events inside of transactions say where they ended in a cache: servers of before MySQL 5.1 was released.
    """

    server_version: str
    mariadb: bool
    created: int
    header_lengths: bytes
    checksum: int
    summed: bool = False
    unplaced: bool = False

    def header_length(self, event_type: int) -> int:
        """Return the post-header length of a type, 0 where the description has none."""
        return self.header_lengths[event_type - 1] if 0 < event_type <= len(self.header_lengths) else 0


def read_format(body: bytes, where: str) -> Format:
    """Return the format description in `body` (checksum included). Raises MalformedLog, UnsupportedLog."""
    if len(body) < 58:
        raise MalformedLog(f"format description of {len(body)} bytes, expected at least 58", where=where)
    version = int.from_bytes(body[:2], "little")
    if version != 4:
        raise UnsupportedLog(f"binlog version {version}, expected 4 (MySQL 5.0 and later, MariaDB)", where=where)
    if body[56] != HEADER_SIZE:
        raise MalformedLog(f"event headers of {body[56]} bytes, expected {HEADER_SIZE}", where=where)
    server_version = body[2:52].split(b"\0", 1)[0].decode("ascii", "replace")
    if not _VERSION.match(server_version):
        raise MalformedLog(f"server version {server_version!r}, expected numbers and points", where=where)
    mariadb = "mariadb" in server_version.lower()
    if "a_drop" in server_version:
        raise UnsupportedLog(f"a log of the try-out server {server_version}, whose event types have other numbers", where=where)
    lengths, numbers = body[57:], version_numbers(server_version)
    checksum, summed = 0, numbers >= ((5, 3, 0) if mariadb else (5, 6, 1))
    if summed:
        if len(lengths) < 1 + CRC_SIZE:
            raise MalformedLog("format description ends before its checksum algorithm", where=where)
        algorithm = lengths[-1 - CRC_SIZE]
        if algorithm not in (0, 1):
            raise UnsupportedLog(f"checksum algorithm {algorithm}, expected 0 (none) or 1 (CRC32)", where=where)
        checksum, lengths = CRC_SIZE * algorithm, lengths[: -1 - CRC_SIZE]
    created = int.from_bytes(body[52:56], "little")
    return Format(server_version, mariadb, created, lengths, checksum, summed, not mariadb and numbers < (5, 1, 30))


def version_numbers(server_version: str) -> tuple[int, ...]:
    """Return the first three numbers of a server's version; MariaDB's own after the 5.5.5- that old replicas want to see."""
    digits = server_version.removeprefix("5.5.5-").split("-", 1)[0].split(".")
    return tuple(int("".join(c for c in part if c.isdigit())[:6] or 0) for part in digits[:3])


def identity(head: bytes, where: str) -> str:
    """Return what tells this file from every other: a hash of its first event; empty while there is none.

    `head` is the beginning of the file, magic included. Raises MalformedLog, TruncatedLog, UnsupportedLog.
    """
    check_magic(head, where)
    if len(head) == 4:
        return ""
    if len(head) < 4 + HEADER_SIZE:
        raise TruncatedLog("the file ends before its format description", where=f"{where}:{len(head)}")
    size = _HEADER.unpack_from(head, 4)[3]
    if not HEADER_SIZE <= size <= EVENT_SIZE_MAX:
        raise _bad_size(size, head[4:], f"{where}:4")
    event = bytearray(head[4 : 4 + size])
    event[17] &= ~FLAG_IN_USE & 0xFF  # the server clears it when it closes the file
    event[-CRC_SIZE:] = b""  # and does not always write the checksum anew
    return hashlib.sha256(event).hexdigest()[:16]


def format_of(head: bytes, where: str) -> Format:
    """Return the format description at the beginning of a file; of a file without events, any. Raises as `frames`."""
    if head == MAGIC:
        return Format("", mariadb=False, created=0, header_lengths=b"", checksum=0)
    first = next(frames([head], where), None)
    if isinstance(first, OldFrame):
        return _old_format(first.type, first.body, where)
    if first is None or first.type != FORMAT_DESCRIPTION:
        raise TruncatedLog("the file ends before its format description", where=f"{where}:{len(head)}")
    return read_format(first.data[first.at + HEADER_SIZE : first.at + first.size], where)


def check_magic(head: bytes, where: str) -> None:
    """Raise when the file does not begin as a binary log does."""
    if head[:4] == MAGIC:
        return
    if not head:
        raise TruncatedLog("the file is empty, expected a binary log", where=where, hint="was it copied completely?")
    if MAGIC.startswith(head):
        raise TruncatedLog(f"the file ends after {len(head)} bytes, inside the mark of a binary log", where=where)
    if head[:4] == ENCRYPTED_MAGIC:
        raise UnsupportedLog(
            "the binary log is encrypted (binlog_encryption)",
            where=where,
            hint="fetch it through the server: mysqlbinlog --read-from-remote-server --raw",
        )
    raise MalformedLog(
        f"not a binary log: begins with {head[:4].hex(' ')}, expected {MAGIC.hex(' ')}", where=where, hint="is --driver right?"
    )


Passing = Callable[[bytes, int, int, int, bool], int]  # block, place, offset of the block, checksum, placed -> place


def frames(
    blocks: Iterable[bytes], name: str, *, at: int = 0, known: Format | None = None, passing: Passing | None = None
) -> Iterator[Frame]:
    """Yield the frames of one file in order; checksums and positions are verified.

    Args:
        blocks: the bytes of the file from offset `at` on, in blocks of any size.
        name: the file, for errors.
        at: 0, or the offset of an event's start.
        known: the file's format, when `at` is past its format description.
        passing: asked before frames are made of a block: what lies before the place it returns is passed over.

    Raises MalformedLog for damage, TruncatedLog when the file ends inside an event, UnsupportedLog for what is not read.
    """
    source = Stream(blocks)
    if at == 0:
        check_magic(source.after(b"", 4), name)
        at = 4
    seen = _Seen(name, known, passing)
    data, place = source.block()
    base = at - place  # offset in the file of data
    while data:
        while place + HEADER_SIZE <= len(data):
            place = seen.passed(data, place, base)
            plain = seen.plain(data, place, base)
            if plain:
                yield from plain
                place = plain[-1].at + plain[-1].size
                continue
            frame = seen.next(data, place, base)
            if frame is None:
                break
            if seen.known is None or frame.type == START_ENCRYPTION:
                yield from _old_frames(data[place:], source.left(), name, frame.start)
                return
            yield frame
            place += frame.size
        rest, at = data[place:], base + place
        if not rest:
            data, place = source.block()
            base = at - place
            continue
        need = int.from_bytes(rest[9:13], "little") if len(rest) >= HEADER_SIZE else HEADER_SIZE
        data, place, base = source.after(rest, need), 0, at
        if len(data) < need:
            raise _torn(data, need, f"{name}:{at}")


class _Seen:
    """What has been seen of a file, and what its next event must be like.

    Attributes:
        known: its format; None before the first format description.
    """

    def __init__(self, name: str, known: Format | None, passing: Passing | None) -> None:
        self.known = known
        self._passing, self._last = passing, -1 if passing is None else XID  # frames up to the next place to pass from
        self._name = name
        self._unplaced = known is not None and known.unplaced  # or a replica wrote the file: its events say where they ended elsewhere
        self._origin = -1  # server id of the first format description
        self._extension = compiled.extension()

    def plain(self, data: bytes, place: int, at: int) -> Sequence[Frame]:
        """Return the next frames by compiled code, up to one that `next` has to judge; `at`: where in the file the block begins."""
        if self._extension is None or self.known is None:
            return ()
        given = (place, at, self.known.checksum, not self._unplaced)
        found: list[Frame] = self._extension.frames(Frame, data, *given, PLAIN_MAX, self._last)
        return found

    def passed(self, data: bytes, place: int, at: int) -> int:
        """Return the place from which frames are to be made."""
        if self._passing is None or self.known is None:
            return place
        return self._passing(data, place, at, self.known.checksum, not self._unplaced)

    def next(self, data: bytes, place: int, at: int) -> Frame | None:
        """Return the frame at `place`, None when the block ends inside it. Raises MalformedLog, UnsupportedLog."""
        timestamp, event_type, server_id, size, next_position, flags = _HEADER.unpack_from(data, place)
        where = f"{self._name}:{at + place}"
        if size < HEADER_SIZE or size > EVENT_SIZE_MAX:
            raise _bad_size(size, data[place:], where)
        stop = place + size
        end = at + stop
        misplaced = next_position != end & 0xFFFF_FFFF and next_position and not (flags & _PLACELESS or self._unplaced)
        if stop > len(data):
            if misplaced and (event_type not in _DESCRIBING or size > DESCRIPTION_MAX):  # all a torn event can be told by
                raise _misplaced(next_position, where)
            return None
        if event_type == FORMAT_DESCRIPTION:
            self._describe(data[place:stop], server_id, flags, where)
            if misplaced and not self._unplaced:
                raise _unlike(_SECOND, where, _SECOND_HINT)
        elif self.known is not None:
            if self.known.checksum and not _is_summed(data, place, stop):
                raise _unlike(_CHECKSUM, where)
            if misplaced and event_type != START_ENCRYPTION:
                raise _misplaced(next_position, where)
        checksum = self.known.checksum if self.known is not None else 0
        return Frame(event_type, timestamp, server_id, flags, end, data, place, size, stop - checksum)

    def _describe(self, event: bytes, server_id: int, flags: int, where: str) -> None:
        """Take in a format description."""
        self.known = _described(event, self.known, where)
        self._origin = server_id if self._origin < 0 else self._origin
        self._unplaced = self._unplaced or self.known.unplaced or bool(flags & FLAG_RELAY) or server_id != self._origin


def _is_summed(data: bytes, start: int, stop: int) -> bool:
    """Return whether an event ends with its checksum."""
    inside = stop - start >= HEADER_SIZE + CRC_SIZE
    return inside and crc32(memoryview(data)[start : stop - CRC_SIZE]) == int.from_bytes(data[stop - CRC_SIZE : stop], "little")


def _torn(data: bytes, need: int, where: str) -> MalformedLog:
    if not data.strip(b"\0"):
        return MalformedLog(
            f"{len(data)} zero bytes after the last event", where=where, hint="the tail was never written: everything before is whole"
        )
    return TruncatedLog(
        f"the file ends inside an event: {len(data)} of {need} bytes are there",
        where=where,
        hint="everything before is whole; copy the file again",
    )


def _bad_size(size: int, rest: bytes, where: str) -> MalformedLog:
    if not rest.strip(b"\0"):
        return MalformedLog("zero bytes after the last event", where=where, hint="the tail was never written: everything before is whole")
    return MalformedLog(
        f"an event of {size} bytes, expected {HEADER_SIZE} to {EVENT_SIZE_MAX}", where=where, hint="the file is damaged here"
    )


_SECOND = "a second format description: another log begins here, or this one again"
_SECOND_HINT = "files were joined: give each by itself"
_CHECKSUM = "the checksum of the event does not match its bytes"


def _unlike(what: str, where: str, hint: str = "the file is damaged: copy it again") -> MalformedLog:
    return MalformedLog(what, where=where, hint=hint)


def _misplaced(next_position: int, where: str) -> MalformedLog:
    return _unlike(f"the event says that it ends at {next_position}", where, "bytes are missing or doubled before it; or it is a relay log")


def _old_frames(data: bytes, source: Iterator[bytes], name: str, at: int) -> Iterator[Frame]:
    """Yield the frames of a log of before MySQL 5.0, `data` beginning with its first event. Raises for any other log."""
    timestamp, event_type, server_id, size, _, flags = _HEADER.unpack_from(data)
    known = _old_format(event_type, data[HEADER_SIZE:size], f"{name}:{at}")
    yield OldFrame(event_type, timestamp, server_id, flags, at + size, data, 0, size, size)
    yield from map(OldFrame._make, frames(chain([data[size:]], source), name, at=at + size, known=known))


def _old_format(event_type: int, body: bytes, where: str) -> Format:
    """Return the format that a log of before MySQL 5.0 begins with. Raises for every other event: nothing can be read before a format."""
    if event_type == START_V3 and HEADER_SIZE + len(body) == SMALL_HEADER_SIZE + START_SIZE:
        raise UnsupportedLog(f"a binary log of MySQL 3.23, of version 1: event headers of {SMALL_HEADER_SIZE} bytes", where=where)
    if event_type != START_V3 or len(body) < START_SIZE:
        raise _unreadable(event_type, where)
    version = int.from_bytes(body[:2], "little")
    if version not in OLD_VERSIONS:
        raise UnsupportedLog(f"a binary log of before MySQL 5.0, of version {version}, expected 2 or 3 (MySQL 4.0 and 4.1)", where=where)
    server_version = body[2:52].split(b"\0", 1)[0].decode("ascii", "replace")
    return Format(server_version, False, int.from_bytes(body[52:56], "little"), b"", 0, unplaced=True)  # noqa: FBT003 - no MariaDB


def _unreadable(event_type: int, where: str) -> MalformedLog | UnsupportedLog:
    """What cannot be read: an encrypted log, or one that does not begin with a format description."""
    if event_type == START_ENCRYPTION:
        return UnsupportedLog(
            "the binary log is encrypted (encrypt_binlog)",
            where=where,
            hint="fetch it through the server: mariadb-binlog --read-from-remote-server --raw",
        )
    return MalformedLog("the first event is no format description", where=where)


def _described(event: bytes, before: Format | None, where: str) -> Format:
    """Return what a format description says; `before` is the one that held so far: after it, one that cannot be read is damage."""
    try:
        known = read_format(event[HEADER_SIZE:], where)
    except (MalformedLog, UnsupportedLog) as error:
        if before is None:
            raise
        raise _unlike(f"no format description, though its type says so: {error.what}", where) from None
    _check_description(event, known, where)
    return known


def _check_description(event: bytes, known: Format, where: str) -> None:
    """The checksum is of the event as it was before the server set or cleared the in-use flag; it is there even where no event has one."""
    if not known.summed:
        return
    plain = bytearray(event)
    plain[17] &= ~FLAG_IN_USE & 0xFF
    stored = int.from_bytes(event[-CRC_SIZE:], "little")
    if crc32(plain[:-CRC_SIZE]) != stored and (stored or known.checksum):
        raise _unlike("the checksum of the format description does not match its bytes", where)
