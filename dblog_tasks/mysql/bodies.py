"""What the events around the rows say: statements, transaction ids, rotation. No I/O: the bytes of one body in, a value out.

Readers take the body without header and checksum. `read_body` turns whatever goes wrong in one into MalformedLog; a type
without a reader gives `Opaque`. Sources: libbinlogevents of MySQL 9.7, sql/log_event.h of MariaDB 11.8.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from struct import Struct, error as StructError
from typing import Any, NamedTuple
import zlib

from dblog_tasks.errors import MalformedLog
from dblog_tasks.mysql import binlog, lengths
from dblog_tasks.mysql.lengths import exactly, read_variable, uuid

read_length = lengths.read_length


class Opaque(NamedTuple):
    """A body nobody here needs to understand."""

    data: bytes


class Query(NamedTuple):
    """A statement, or BEGIN, COMMIT, ROLLBACK and their kin. `text` is bytes in the client's character set."""

    thread: int
    seconds: int
    error: int
    schema: str
    text: bytes


class Rotate(NamedTuple):
    """The next file of the series."""

    position: int
    file: str


class Xid(NamedTuple):
    """The commit of a transaction of a transactional engine."""

    xid: int


class Gtid(NamedTuple):
    """The beginning of a transaction.

    Attributes:
        gtid: `uuid:number`, `uuid:tag:number`, `domain-server-sequence`; empty for an anonymous one.
        committed: microseconds since 1970 of the commit; 0 where the log has none.
        standalone: MariaDB: exactly one event follows, without COMMIT.
        thread: id of the session; 0 where the log has none.
        xa: MariaDB: `prepared`, `completed` or empty.
    """

    gtid: str
    committed: int = 0
    standalone: bool = False
    thread: int = 0
    xa: str = ""


class Statement(NamedTuple):
    """The text of the statement whose row events follow (ROWS_QUERY, ANNOTATE_ROWS)."""

    text: bytes


class XaPrepare(NamedTuple):
    """The end of a prepared transaction. `one_phase`: it is committed by this event."""

    one_phase: bool
    format_id: int
    gtrid: bytes
    bqual: bytes


class Intvar(NamedTuple):
    """LAST_INSERT_ID (1) or INSERT_ID (2) of the statement that follows."""

    type: int
    value: int


class Rand(NamedTuple):
    """Seeds of RAND() in the statement that follows."""

    seed1: int
    seed2: int


class Incident(NamedTuple):
    """The server lost events: the log is not complete here."""

    type: int
    message: str


class TransactionPayload(NamedTuple):
    """A compressed transaction; `payload` opens it.

    Attributes:
        size: bytes it has in the log, at the end of the body.
        compression: 0 zstd, 255 none.
        unpacked: bytes it has when it is opened.
    """

    size: int
    compression: int
    unpacked: int


_QUERY = Struct("<IIBHH")
_GTID = Struct("<B16sq")
_MARIADB_GTID = Struct("<QIB")
_XA = Struct("<BIII")
_TIME_MAX = 1 << 55  # microseconds since 1970: the year 3111


def _query(body: bytes, frame: binlog.Frame) -> Query:
    thread, seconds, schema_size, error, status_size = _QUERY.unpack_from(body)
    at = _QUERY.size + status_size
    schema = body[at : at + schema_size]
    if at + schema_size >= len(body) or body[at + schema_size]:
        raise ValueError(f"schema name of {schema_size} bytes at {at} is not ended by a zero byte")
    text = body[at + schema_size + 1 :]
    if frame.type == binlog.QUERY_COMPRESSED:
        text = inflate(text)
    return Query(thread, seconds, error, schema.decode("utf-8", "replace"), text)


def inflate(data: bytes) -> bytes:
    """Return what MariaDB compressed: a byte (low 3 bits: how many bytes of length follow, next 3: algorithm 0), then zlib."""
    width, algorithm = data[0] & 7, data[0] >> 4 & 7
    if algorithm or not (1 <= width <= 4 or data[0] == 0):
        raise ValueError(f"compressed block begins with {data[0]:#x}, expected zlib and a length of 1 to 4 bytes")
    size = int.from_bytes(data[1 : 1 + width], "big") if width else -1
    if size > binlog.EVENT_SIZE_MAX:
        raise ValueError(f"compressed block says that it holds {size} bytes")
    unpacker = zlib.decompressobj()
    plain = unpacker.decompress(data[1 + width :], size + 1 if width else binlog.EVENT_SIZE_MAX)
    if (width and len(plain) != size) or not unpacker.eof:
        raise ValueError(f"compressed block holds {len(plain)} bytes or more, it says {size}")
    return plain


def _rotate(body: bytes, frame: binlog.Frame) -> Rotate:
    name = body[8:].split(b"\0", 1)[0].decode("utf-8", "replace").strip()
    return Rotate(int.from_bytes(exactly(body, 0, 8), "little"), name)


def _xid(body: bytes, frame: binlog.Frame) -> Xid:
    return Xid(int.from_bytes(exactly(body, 0, 8), "little"))


def _gtid(body: bytes, frame: binlog.Frame) -> Gtid:
    _, sid, number = _GTID.unpack_from(body)
    committed = 0
    if len(body) >= 49 and body[25] == 2:  # a logical clock of 16 bytes, then 7 bytes of time
        committed = int.from_bytes(body[42:49], "little")
        at = 56 if committed & _TIME_MAX else 49  # with the highest bit, the time of the commit at its origin follows
        if at < len(body):
            read_length(body, at)  # of the transaction: of no use, but a body that ends inside it is damaged
        committed &= ~_TIME_MAX
    gtid = "" if frame.type == binlog.ANONYMOUS_GTID else f"{uuid(sid)}:{number}"
    return Gtid(gtid, committed)


def _mariadb_gtid(body: bytes, frame: binlog.Frame) -> Gtid:
    sequence, domain, flags = _MARIADB_GTID.unpack_from(body)
    at, thread = _MARIADB_GTID.size, 0
    if flags & 2:  # group commit id
        exactly(body, at, 8)
        at += 8
    if flags & (64 | 128):  # a prepared or completed XA transaction: its id
        at += 6 + sum(exactly(body, at, 6)[4:])  # format (4), two sizes
        exactly(body, at, 0)
    if at < len(body):
        extra, at = body[at], at + 1
        at += 1 if extra & 1 else 0  # engines of a multi-engine transaction
        at += 8 if extra & (4 | 8) else 0  # end of an ALTER in two phases: number of its start
        if extra & 16:
            thread = int.from_bytes(exactly(body, at, 4), "little")
    xa = "prepared" if flags & 64 else "completed" if flags & 128 else ""
    return Gtid(f"{domain}-{frame.server_id}-{sequence}", 0, bool(flags & 1), thread, xa)


def _tagged_gtid(body: bytes, frame: binlog.Frame) -> Gtid:
    """Fields by number, all integers of variable length (mysql::serialization, MySQL 8.3 and later)."""
    _, at = read_variable(body, 0)  # version of the serialization
    _, at = read_variable(body, at)  # size
    _, at = read_variable(body, at)  # last field that may not be ignored
    sid, number, tag, committed = b"", 0, "", 0
    while at < len(body):
        field, at = read_variable(body, at)
        if field == 1:
            values = []
            for _ in range(16):
                value, at = read_variable(body, at)
                values.append(value)
            sid = bytes(values)
        elif field == 3:
            size, at = read_variable(body, at)
            tag = exactly(body, at, size).decode("ascii")
            at += size
        else:
            value, at = read_variable(body, at)
            number = _signed(value) if field == 2 else number
            committed = value if field == 6 else committed
        if field > 64:
            raise ValueError(f"tagged GTID has a field {field}")
    if committed >= _TIME_MAX:
        raise ValueError(f"tagged GTID was committed {committed} microseconds after 1970")
    name = f"{uuid(sid)}:{tag}:{number}" if tag else f"{uuid(sid)}:{number}"
    return Gtid(name, committed)


def _signed(value: int) -> int:
    """Signed numbers have their sign in the lowest bit."""
    return -(value >> 1) - 1 if value & 1 else value >> 1


def _rows_query(body: bytes, frame: binlog.Frame) -> Statement:
    return Statement(body[1:] if body and body[0] == min(len(body) - 1, 255) else body)  # servers write the size before it


def _annotate(body: bytes, frame: binlog.Frame) -> Statement:
    return Statement(body)


def _xa_prepare(body: bytes, frame: binlog.Frame) -> XaPrepare:
    one_phase, format_id, gtrid_size, bqual_size = _XA.unpack_from(body)
    gtrid = exactly(body, _XA.size, gtrid_size)
    return XaPrepare(bool(one_phase), format_id, gtrid, exactly(body, _XA.size + gtrid_size, bqual_size))


def _intvar(body: bytes, frame: binlog.Frame) -> Intvar:
    return Intvar(body[0], int.from_bytes(exactly(body, 1, 8), "little"))


def _rand(body: bytes, frame: binlog.Frame) -> Rand:
    return Rand(int.from_bytes(exactly(body, 0, 8), "little"), int.from_bytes(exactly(body, 8, 8), "little"))


def _incident(body: bytes, frame: binlog.Frame) -> Incident:
    return Incident(int.from_bytes(exactly(body, 0, 2), "little"), exactly(body, 3, body[2]).decode("utf-8", "replace"))


def _payload(body: bytes, frame: binlog.Frame) -> TransactionPayload:
    """Fields: type, length of the value, value; up to type 0. What is not known is passed over, as servers do."""
    at, fields = 0, dict[int, int]()
    while (field := read_length(body, at)).value:
        size = read_length(body, field.at)
        value = exactly(body, size.at, size.value)
        at = size.at + size.value
        if field.value in (1, 2, 3):
            fields[field.value] = read_length(value, 0).value
    if fields.get(1) != len(body) - field.at:
        raise ValueError(f"{len(body) - field.at} bytes follow its fields, they say {fields.get(1)}")
    if 2 not in fields:
        raise ValueError("no field says how it is compressed")
    return TransactionPayload(fields[1], fields[2], fields.get(3, fields[1] if fields[2] == 255 else 0))


def _description(body: bytes, frame: binlog.Frame) -> binlog.Format:
    return binlog.read_format(frame.data[frame.at + binlog.HEADER_SIZE : frame.at + frame.size], "format description")


READERS: Mapping[int, Callable[[bytes, binlog.Frame], Any]] = {
    binlog.QUERY: _query,
    binlog.QUERY_COMPRESSED: _query,
    binlog.ROTATE: _rotate,
    binlog.INTVAR: _intvar,
    binlog.RAND: _rand,
    binlog.FORMAT_DESCRIPTION: _description,
    binlog.XID: _xid,
    binlog.INCIDENT: _incident,
    binlog.ROWS_QUERY: _rows_query,
    binlog.GTID: _gtid,
    binlog.ANONYMOUS_GTID: _gtid,
    binlog.GTID_TAGGED: _tagged_gtid,
    binlog.MARIADB_GTID: _mariadb_gtid,
    binlog.ANNOTATE_ROWS: _annotate,
    binlog.XA_PREPARE: _xa_prepare,
    binlog.TRANSACTION_PAYLOAD: _payload,
}


@cache
def further_readers() -> Mapping[int, Callable[[bytes, binlog.Frame], Any]]:
    """Return the readers of what few logs hold or nobody undoes, by type."""
    from dblog_tasks.mysql import load_data, replication  # noqa: PLC0415 - seldom needed

    return {**load_data.READERS, **replication.READERS}


def read_body(frame: binlog.Frame, where: str) -> Any:
    """Return the body of an event that is neither rows nor a table map. Raises MalformedLog."""
    reader = READERS.get(frame.type) or further_readers().get(frame.type)
    if reader is None:
        return Opaque(frame.body)
    try:
        return reader(frame.body, frame)
    except (ValueError, IndexError, StructError, zlib.error) as error:
        name = binlog.EVENT_NAMES[frame.type]
        raise MalformedLog(f"{name} cannot be read: {error}", where=where) from None
