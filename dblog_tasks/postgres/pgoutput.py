"""The binary protocol of the output plugin pgoutput, versions 1 to 4.

Law: bytes in, messages out; no I/O. `pg_recvlogical -f` writes a line end after each message, and messages hold any byte: where one ends
is told by reading it. Every number is big-endian.

    B LSN time xid           begin                     R oid schema name identity n (flags name type typmod)*     relation
    C flags LSN end time     commit                    I oid N row          U oid [K row | O row] N row           rows
    M flags LSN prefix size  message                   D oid K|O row        T n options oid*
    O LSN name               origin                    Y oid schema name    type
    b, P, K, r               two-phase: begin prepare, prepare, commit prepared, rollback prepared
    S xid first, E, c, A, p  streamed: start, stop, commit, abort, prepare. Between S and E each of R Y I U D T M has an xid before the rest
    row: n (n | u | t size text | b size bytes)*       NULL, unchanged TOAST, text, binary

Values of the key alone have `n` for the other columns too, which are no NULLs: K and O tell the two apart. Generated columns are not here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from struct import Struct, error as StructError, unpack_from
from typing import Any, NamedTuple

from dblog_tasks.errors import MalformedLog, TruncatedLog, UnsupportedLog
from dblog_tasks.event import Omission
from dblog_tasks.postgres.message import (
    BEGIN,
    COMMIT,
    COMMIT_PREPARED,
    DELETE,
    FULL,
    INSERT,
    KEY,
    MESSAGE,
    NOTHING,
    ORIGIN,
    PREPARE,
    RELATION,
    ROLLBACK_PREPARED,
    ROWS,
    STREAM_ABORT,
    STREAM_COMMIT,
    STREAM_PREPARE,
    STREAM_START,
    STREAM_STOP,
    TRUNCATE,
    TYPE,
    UNCHANGED,
    UPDATE,
    Border,
    Logged,
    LoggedRow,
    LogicalMessage,
    Message,
    Shape,
    TableName,
    Truncate,
)
from dblog_tasks.postgres.test_decoding import gathered
from dblog_tasks.postgres.type_names import ARRAY_OF, TYPE_NAMES

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
MESSAGE_MAX = 1 << 30  # bytes
RELATIONS_MAX = 100_000
KINDS: Mapping[int, str] = {
    ord(letter): kind
    for letter, kind in {
        "B": BEGIN,
        "C": COMMIT,
        "O": ORIGIN,
        "R": RELATION,
        "Y": TYPE,
        "I": INSERT,
        "U": UPDATE,
        "D": DELETE,
        "T": TRUNCATE,
        "M": MESSAGE,
        "b": BEGIN,
        "P": PREPARE,
        "K": COMMIT_PREPARED,
        "r": ROLLBACK_PREPARED,
        "S": STREAM_START,
        "E": STREAM_STOP,
        "c": STREAM_COMMIT,
        "A": STREAM_ABORT,
        "p": STREAM_PREPARE,
    }.items()
}
_IN_STREAM = frozenset(b"RYIUDTM")  # these have an xid between stream start and stop
_IDENTITIES = {"d", "n", "f", "i"}
_U32, _U16 = Struct(">I"), Struct(">H")
_BORDER = Struct(">QQQ")
_NUL_MISSING = "a text without its end"
BINARY = Omission("binary values", "decode without the option binary")
NOT_UTF8 = Omission("text that is not UTF-8", "decode with client_encoding = UTF8")
NO_RELATION = Omission(
    "rows of a table the log does not describe", "start from where the decoding session started: its relation message is before this part"
)


class Relation(NamedTuple):
    """A table as its relation message tells; `shape` has no partly described columns."""

    oid: int
    shape: Shape
    key: tuple[bool, ...]


class PgOutput:
    """Reads messages, remembering relations, types and whether a stream is open. One for each log."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._relations: dict[int, Relation] = {}
        self._types: dict[int, str] = {}
        self._shapes: dict[Shape, Shape] = {}
        self._stream = 0  # xid of the open one
        self._xid = 0  # of the transaction that is open

    def size(self, data: bytes, at: int) -> int:
        """Return the offset after the message at `at`. Raises IndexError or struct.error where `data` ends before it does."""
        measure = _SIZES.get(data[at])
        if measure is None:
            raise MalformedLog(f"no message of pgoutput: {data[at : at + 1]!r}", where=self._name)
        start = at + 1 + (4 if self._stream and data[at] in _IN_STREAM else 0)
        end = measure(data, start)
        if end > len(data):
            raise IndexError
        return end

    def message(self, start: int, end: int, raw: bytes, data: bytes, lsn: int = 0, xid: int = 0) -> Message:
        """Return what `data` says, the bytes of one message. Raises MalformedLog."""
        try:
            kind = KINDS.get(data[0])
            if kind is None or self.size(data, 0) != len(data):
                raise MalformedLog("a message of pgoutput of another size than its own", where=f"{self._name}:{start}")
            at, subxid = 1, 0
            if self._stream and data[0] in _IN_STREAM:
                (subxid,) = _U32.unpack_from(data, 1)
                at, xid = 5, self._stream
            return self._read(kind, Message(start, end, raw, kind, None, lsn, xid or self._xid, None, "", (), subxid), data, at)
        except (IndexError, StructError):
            raise TruncatedLog("the log ends inside a message of pgoutput", where=f"{self._name}:{start}") from None
        except (ValueError, OverflowError) as error:
            raise MalformedLog(f"no message of pgoutput: {error}", where=f"{self._name}:{start}") from None

    def _read(self, kind: str, message: Message, data: bytes, at: int) -> Message:
        if kind in ROWS:
            relation = self._relations.get(_U32.unpack_from(data, at)[0])
            tables = ((relation.shape.schema, relation.shape.name),) if relation else (("", f"oid {_U32.unpack_from(data, at)[0]}"),)
            return message._replace(data=(relation, data, at + 4), tables=tables)
        if kind == RELATION:
            return message._replace(data=self._relation(data, at))
        if kind == TYPE:
            (oid,) = _U32.unpack_from(data, at)
            schema, at = _text(data, at + 4)
            name, _ = _text(data, at)
            if len(self._types) < RELATIONS_MAX:
                self._types[oid] = f"{schema}.{name}" if schema else name
            return message._replace(data=Border(TYPE, name))
        if kind == TRUNCATE:
            count, flags = unpack_from(">IB", data, at)
            oids = unpack_from(f">{count}I", data, at + 5)
            return message._replace(data=(flags, oids), tables=tuple(self._named(oid) for oid in oids))
        if kind == MESSAGE:
            prefix, after = _text(data, at + 9)
            content = LogicalMessage(prefix, data[after + 4 :], bool(data[at] & 1))
            return message._replace(data=content, lsn=message.lsn or unpack_from(">Q", data, at + 1)[0])
        return self._border(kind, message, data, at)

    def _border(self, kind: str, message: Message, data: bytes, at: int) -> Message:
        read = _BORDERS.get(data[0])
        told = read(data, at) if read else {}
        time = None if told.get("micros") is None else EPOCH + timedelta(microseconds=told["micros"])
        xid = told.get("xid", message.xid)
        if kind == STREAM_START:
            self._stream = xid
        elif kind == STREAM_STOP:
            xid, self._stream = self._stream, 0
        elif kind == BEGIN:
            self._xid = xid
        elif kind in {COMMIT, PREPARE}:
            self._xid = 0
        gid = told.get("gid", "")
        border = Border(kind, str(xid) if xid else "", gid, time.isoformat() if time else "")
        return message._replace(data=border, xid=xid, time=time, gid=gid, lsn=told.get("lsn") or message.lsn, subxid=told.get("subxid", 0))

    def _named(self, oid: int) -> TableName:
        relation = self._relations.get(oid)
        return ("", f"oid {oid}") if relation is None else (relation.shape.schema, relation.shape.name)

    def _relation(self, data: bytes, at: int) -> Shape:
        (oid,) = _U32.unpack_from(data, at)
        schema, at = _text(data, at + 4)
        name, at = _text(data, at)
        identity, (count,) = chr(data[at]), _U16.unpack_from(data, at + 1)
        if identity not in _IDENTITIES:
            raise ValueError(f"replica identity {identity!r}")
        at += 3
        names, types, key = [], [], []
        for _ in range(count):
            flags = data[at]
            column, at = _text(data, at + 1)
            type_oid, _typmod = unpack_from(">Ii", data, at)
            at += 8
            names.append(column)
            types.append(self._type(type_oid))
            key.append(bool(flags & 1))
        if len(set(names)) != len(names):
            raise ValueError("a column twice")
        found = tuple(number for number, is_key in enumerate(key) if is_key) if identity in "di" else ()
        shape = Shape(schema or "pg_catalog", name, tuple(names), tuple(types), found, identity)
        shape = self._shapes.setdefault(shape, shape)
        if len(self._relations) >= RELATIONS_MAX:
            raise UnsupportedLog(f"more than {RELATIONS_MAX} tables", where=self._name)
        self._relations[oid] = Relation(oid, shape, tuple(key))
        return shape

    def _type(self, oid: int) -> str:
        element = ARRAY_OF.get(oid)
        if element is not None:
            return f"{TYPE_NAMES[element]}[]"
        return TYPE_NAMES.get(oid) or self._types.get(oid) or f"type {oid}"

    # ---- rows

    def body(self, message: Message) -> Logged | Truncate | Border | LogicalMessage | Shape | Omission:
        """Return what a message holds. Raises MalformedLog."""
        if message.kind in ROWS:
            return self._row(message)
        if message.kind == TRUNCATE:
            flags = message.data[0]
            return Truncate(message.tables, tuple(word for bit, word in ((1, "cascade"), (2, "restart_seqs")) if flags & bit))
        data: Border | LogicalMessage | Shape = message.data
        return data

    def _row(self, message: Message) -> Logged | Omission:
        relation, data, at = message.data
        if relation is None:
            return NO_RELATION
        shape, where = relation.shape, f"{self._name}:{message.start}"
        rows: dict[int, LoggedRow] = {}
        try:
            while at < len(data):
                letter = data[at]
                rows[letter], at, problem = _tuple(data, at + 1, len(shape.names), where)
                if problem is not None:
                    return problem
        except UnicodeDecodeError:
            return NOT_UTF8
        old = rows.get(ord("O")) or rows.get(ord("K"))
        is_whole = ord("O") in rows or (old is not None and all(relation.key))
        told = FULL if is_whole else KEY if old is not None else NOTHING
        new = rows.get(ord("N"))
        booleans = [number for number, kind in enumerate(shape.types) if kind == "boolean"]
        if booleans:
            old, new = (row and _with_words(row, booleans) for row in (old, new))
        if told == KEY and old is not None:
            old = tuple([value if is_key else None for value, is_key in zip(old, relation.key, strict=True)])
        return Logged(shape, old, new, told)


_WORDS = {"t": "true", "f": "false"}


def _with_words(row: LoggedRow, booleans: list[int]) -> LoggedRow:
    """Return the row with booleans as a cast to text gives them."""
    values = list(row)
    for number in booleans:
        value = values[number]
        values[number] = _WORDS.get(value, value) if isinstance(value, str) else value
    return tuple(values)


def _tuple(data: bytes, at: int, count: int, where: str) -> tuple[LoggedRow, int, Omission | None]:
    """Return a row, the offset after it, and why it cannot be read. Raises MalformedLog, UnicodeDecodeError."""
    (number,) = _U16.unpack_from(data, at)
    if number != count:
        raise MalformedLog(f"a row of {number} columns for a table of {count}", where=where)
    at += 2
    values: list[Any] = []
    problem = None
    for _ in range(count):
        letter = data[at]
        at += 1
        if letter == 0x74:  # t
            end = at + 4 + int.from_bytes(data[at : at + 4], "big")
            values.append(data[at + 4 : end].decode())
            at = end
        elif letter == 0x6E:  # n
            values.append(None)
        elif letter == 0x75:  # u
            values.append(UNCHANGED)
        else:
            at += 4 + int.from_bytes(data[at : at + 4], "big")
            values.append(None)
            problem = BINARY
    return tuple(values), at, problem


def frames(blocks: Iterable[bytes], name: str, reader: PgOutput) -> Iterator[tuple[int, int, bytes]]:
    """Yield the messages of a file that `pg_recvlogical -f` wrote, without the line end after each; `reader` reads each before the next.

    Raises TruncatedLog at the end, MalformedLog.
    """
    data, base, at, done = b"", 0, 0, False
    source = iter(blocks)
    while True:
        try:
            while at < len(data):
                end = reader.size(data, at)
                if end >= len(data) and not done:
                    raise IndexError
                if end < len(data) and data[end] != 0x0A:
                    raise MalformedLog("no line end after a message of pgoutput", where=f"{name}:{base + end}")
                yield base + at, base + min(end + 1, len(data)), data[at:end]
                at = end + 1
        except (IndexError, StructError):
            if done:
                raise TruncatedLog("the log ends inside a message of pgoutput", where=f"{name}:{base + at}") from None
        except (ValueError, OverflowError) as error:
            raise MalformedLog(f"no message of pgoutput: {error}", where=f"{name}:{base + at}") from None
        if done:
            return
        data, base, at = data[at:], base + at, 0
        if len(data) > MESSAGE_MAX:
            raise MalformedLog(f"a message of more than {MESSAGE_MAX} bytes", where=f"{name}:{base}")
        more, done = gathered(source, len(data))
        data += more


def _text(data: bytes, at: int) -> tuple[str, int]:
    end = data.find(b"\0", at)
    if end < 0:
        raise IndexError(_NUL_MISSING)
    return data[at:end].decode("utf-8", "surrogateescape"), end + 1


def _after_text(data: bytes, at: int) -> int:
    end = data.find(b"\0", at)
    if end < 0:
        raise IndexError(_NUL_MISSING)
    return end + 1


def _after_rows(data: bytes, at: int) -> int:
    at += 4
    while data[at] != 0x4E:  # K or O before N; D has no N
        if data[at] not in b"KO":
            raise MalformedLog(f"no row of pgoutput: {data[at : at + 1]!r}")
        at = _after_tuple(data, at + 1)
    return _after_tuple(data, at + 1)


def _after_deleted(data: bytes, at: int) -> int:
    if data[at + 4] not in b"KO":
        raise MalformedLog(f"no old row of pgoutput: {data[at + 4 : at + 5]!r}")
    return _after_tuple(data, at + 5)


def _after_tuple(data: bytes, at: int) -> int:
    (count,) = _U16.unpack_from(data, at)
    at += 2
    for _ in range(count):
        letter = data[at]
        at += 1
        if letter in b"tb":
            at += 4 + _U32.unpack_from(data, at)[0]
        elif letter not in b"nu":
            raise MalformedLog(f"no value of pgoutput: {data[at - 1 : at]!r}")
    return at


def _after_relation(data: bytes, at: int) -> int:
    at = _after_text(data, _after_text(data, at + 4)) + 1
    (count,) = _U16.unpack_from(data, at)
    at += 2
    for _ in range(count):
        at = _after_text(data, at + 1) + 8
    return at


def _after_message(data: bytes, at: int) -> int:
    at = _after_text(data, at + 9)
    return at + 4 + int(_U32.unpack_from(data, at)[0])


def _after_abort(data: bytes, at: int) -> int:
    """Two numbers; with streaming in parallel (version 4) LSN and time after them, whose first byte is no line end."""
    return at + 8 if len(data) <= at + 8 or data[at + 8] == 0x0A else at + 24


_SIZES: Mapping[int, Callable[[bytes, int], int]] = {
    ord("B"): lambda data, at: at + 20,
    ord("C"): lambda data, at: at + 25,
    ord("O"): lambda data, at: _after_text(data, at + 8),
    ord("R"): _after_relation,
    ord("Y"): lambda data, at: _after_text(data, _after_text(data, at + 4)),
    ord("I"): _after_rows,
    ord("U"): _after_rows,
    ord("D"): _after_deleted,
    ord("T"): lambda data, at: at + 5 + 4 * int(_U32.unpack_from(data, at)[0]),
    ord("M"): _after_message,
    ord("b"): lambda data, at: _after_text(data, at + 28),
    ord("P"): lambda data, at: _after_text(data, at + 29),
    ord("K"): lambda data, at: _after_text(data, at + 29),
    ord("r"): lambda data, at: _after_text(data, at + 37),
    ord("S"): lambda data, at: at + 5,
    ord("E"): lambda data, at: at,
    ord("c"): lambda data, at: at + 29,
    ord("A"): _after_abort,
    ord("p"): lambda data, at: _after_text(data, at + 29),
}


def _prepared(data: bytes, at: int) -> dict[str, Any]:
    _, lsn, micros, xid = unpack_from(">QQqI", data, at)
    return {"lsn": lsn, "micros": micros, "xid": xid, "gid": _text(data, at + 28)[0]}


def _rolled_back(data: bytes, at: int) -> dict[str, Any]:
    _, lsn, _, micros, xid = unpack_from(">QQqqI", data, at + 1)
    return {"lsn": lsn, "micros": micros, "xid": xid, "gid": _text(data, at + 37)[0]}


# What each message that begins or ends something tells.
_BORDERS: Mapping[int, Callable[[bytes, int], dict[str, Any]]] = {
    ord("B"): lambda data, at: dict(zip(("final", "micros", "xid"), unpack_from(">QqI", data, at), strict=True)),
    ord("C"): lambda data, at: dict(zip(("final", "lsn", "micros"), unpack_from(">QQq", data, at + 1), strict=True)),
    ord("b"): lambda data, at: {"xid": unpack_from(">I", data, at + 24)[0], "gid": _text(data, at + 28)[0]},
    ord("P"): lambda data, at: _prepared(data, at + 1),
    ord("K"): lambda data, at: _prepared(data, at + 1),
    ord("r"): _rolled_back,
    ord("S"): lambda data, at: {"xid": _U32.unpack_from(data, at)[0]},
    ord("c"): lambda data, at: dict(zip(("xid", "lsn", "micros"), unpack_from(">I9xQq", data, at), strict=True)),
    ord("A"): lambda data, at: dict(zip(("xid", "subxid"), unpack_from(">II", data, at), strict=True)),
    ord("p"): lambda data, at: _prepared(data, at + 1),
}
