r"""The JSON of the output plugin wal2json, format versions 1 and 2.

Law: bytes in, messages out; no I/O. JSON has no line end inside a text, so whatever stands before it on a line (columns of SQL) is
taken off line by line; one object may span lines, and in version 1 written in chunks it spans records.

    1   {"xid": 733, "nextlsn": "0/192A6A8", "timestamp": "…", "change": [{"kind": "insert", "schema": …, "table": …,
        "columnnames": […], "columntypes": […], "columnvalues": […], "oldkeys": {"keynames": […], "keyvalues": […]}}, …]}
    2   {"action": "B"} {"action": "I", "schema": …, "table": …, "columns": [{"name": …, "type": …, "value": …}], "identity": […]}
        {"action": "C"}

Numbers are kept as their digits. What the plugin loses is not made up: NaN and Infinity are null here, so null of such a column is not
trusted; binary text that is no hexadecimal was cut off; a column that is missing of the new row did not change (TOAST). Rows of tables
without identity, and TRUNCATE in version 1, are not in the log at all: nobody can tell that from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
import json
import re
from typing import Any, NamedTuple

from dblog_tasks.errors import MalformedLog, TruncatedLog, UnsupportedLog
from dblog_tasks.event import Omission
from dblog_tasks.postgres.message import (
    BEGIN,
    COMMIT,
    DELETE,
    FULL,
    INSERT,
    MESSAGE,
    NOTHING,
    ROWS,
    TRUNCATE,
    UNCHANGED,
    UNTOLD,
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
from dblog_tasks.postgres.names import type_name
from dblog_tasks.postgres.place import LSN_MAX
from dblog_tasks.postgres.test_decoding import commit_time

ACTIONS = {"B": BEGIN, "I": INSERT, "U": UPDATE, "D": DELETE, "T": TRUNCATE, "M": MESSAGE, "C": COMMIT}
KINDS = frozenset((INSERT, UPDATE, DELETE, TRUNCATE, MESSAGE))
OBJECT_MAX = 1 << 30  # bytes
SHAPES_MAX = 10_000
_NUMERIC = frozenset({"real", "double precision", "numeric"})
_HEX = re.compile(r"(?:[0-9a-f]{2})*", re.ASCII)
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[\]{}]', re.DOTALL)
_STARTED = re.compile(rb'"(?:[^"\\]|\\.)*+\Z', re.DOTALL)
LOST = Omission(
    "wal2json writes NaN and Infinity as null: whether this is NULL cannot be told",
    "decode with test_decoding or pgoutput, which write them out",
)
CUT_OFF = Omission(
    "binary text that wal2json cut off", "decode in a session with bytea_output = hex: ALTER DATABASE … SET bytea_output = hex"
)


class Piece(NamedTuple):
    """One object of the JSON, or a part of one.

    Attributes:
        start, end: offsets of its bytes.
        raw: these bytes, columns of SQL among them.
        text: the object alone; of a transaction of version 1 what stands before and after its changes.
        depth: 0 for a whole object; 1 for a change inside one; -1 for the head, and -2 for the foot of such.
        lsn, xid: of the columns.
    """

    start: int
    end: int
    raw: bytes
    text: bytes
    depth: int
    lsn: int = 0
    xid: int = 0


class Splitter:
    """Takes lines, gives the objects in them: changes of version 1 one by one, so that no transaction is held."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._text = bytearray()  # of the object that is open, from `_at` on not looked at
        self._at = self._depth = self._start = self._size = 0
        self._raw: list[bytes] = []
        self._changes = False  # inside the changes of version 1
        self._end = 0

    def feed(self, start: int, end: int, raw: bytes, text: bytes, lsn: int = 0, xid: int = 0) -> Iterator[Piece]:
        """Yield what a line completes. Raises MalformedLog."""
        if not self._raw:
            self._start = start
            if not self._depth and text.startswith(b'{"action":') and text.rstrip().endswith(b"}"):  # version 2 has an object a line
                yield Piece(start, end, raw, text, 0, lsn, xid)
                return
        self._raw.append(raw)
        self._size += len(raw)
        self._end = end
        self._text += text
        if self._size > OBJECT_MAX:
            raise UnsupportedLog(f"an object of more than {OBJECT_MAX} bytes", where=f"{self._name}:{self._start}")
        yield from self._pieces(lsn, xid)

    def _pieces(self, lsn: int, xid: int) -> Iterator[Piece]:
        where = f"{self._name}:{self._start}"
        while (found := _TOKEN.search(self._text, self._at)) is not None:
            self._at = found.end()
            token = found[0]
            if token in (b"{", b"["):
                self._depth += 1
                if self._depth == 2 and token == b"[" and _CHANGE.search(self._text, 0, found.end()):
                    yield self._cut(found.end(), -1, lsn, xid)
                    self._changes = True
            elif token in (b"}", b"]"):
                self._depth -= 1
                if self._depth < 0:
                    raise MalformedLog("JSON closes what is not open", where=where)
                if self._depth == 2 and self._changes and token == b"}":
                    yield self._cut(found.end(), 1, lsn, xid)
                elif self._depth == 0:
                    yield self._cut(found.end(), -2 if self._changes else 0, lsn, xid)
                    self._changes = False
        open_text = _STARTED.search(self._text, self._at)
        if open_text is None and not self._depth and not self._text[self._at :].isspace() and self._text[self._at :]:
            raise MalformedLog(f"no JSON: {bytes(self._text[self._at : self._at + 40])!r}", where=where)

    def _cut(self, at: int, depth: int, lsn: int, xid: int) -> Piece:
        """Return the piece that ends at `at`. What follows it on the line belongs to the next one."""
        text = bytes(self._text[:at])
        raw = b"".join(self._raw)
        rest = len(self._text) - at
        kept = bytes(self._text[at:])
        taken = raw[: len(raw) - rest] if rest and raw.endswith(kept) else raw
        if not kept.strip():
            taken, kept = raw, b""
        piece = Piece(self._start, self._start + len(taken), taken, text.strip().removeprefix(b",").strip(), depth, lsn, xid)
        self._start += len(taken)
        self._raw = [kept] if kept else []
        self._size = len(kept)
        self._text = bytearray(kept)
        self._at = 0
        return piece

    def finish(self) -> None:
        """Raise TruncatedLog where an object is open."""
        if self._depth or self._text.strip():
            raise TruncatedLog("the log ends inside an object", where=f"{self._name}:{self._end}")


_CHANGE = re.compile(rb'"change"\s*:\s*\[\Z')


class Wal2Json:
    """Reads objects. One for each log."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._shapes: dict[Shape, Shape] = {}
        self._whole: dict[TableName, Shape] = {}
        self._begun: Message | None = None  # of the transaction of version 1 that is open

    def message(self, piece: Piece) -> Message:
        """Return what a piece says. Raises MalformedLog."""
        where = f"{self._name}:{piece.start}"
        if piece.depth == -2:
            begun = self._begun
            told = begun or Message(0, 0, b"", BEGIN)
            border = Border(COMMIT, str(told.xid) if told.xid else "")
            return Message(piece.start, piece.end, piece.raw, COMMIT, border, piece.lsn or told.lsn, piece.xid or told.xid, told.time)
        text = piece.text + b"]}" if piece.depth == -1 else piece.text
        try:
            found = _load(text)
        except (ValueError, RecursionError) as error:
            raise MalformedLog(f"no JSON of wal2json: {error}", where=where) from None
        if not isinstance(found, dict):
            raise MalformedLog("no object of wal2json", where=where)
        message = self._message(piece, found, where)
        self._begun = message if piece.depth == -1 else self._begun
        return message

    def _message(self, piece: Piece, found: dict[str, Any], where: str) -> Message:
        kind = BEGIN if piece.depth == -1 else found.get("kind") if piece.depth == 1 else ACTIONS.get(str(found.get("action")))
        if kind not in KINDS and kind not in {BEGIN, COMMIT}:
            raise MalformedLog("no object of wal2json: neither change nor action", where=where)
        time = commit_time(str(found.get("timestamp") or ""))
        xid = int(found.get("xid") or piece.xid) if str(found.get("xid") or piece.xid).isdecimal() else piece.xid
        lsn = _lsn(found.get("nextlsn")) if kind in {BEGIN, COMMIT} else 0
        if kind in {BEGIN, COMMIT}:
            data: Any = Border(kind, str(xid) if xid else "", "", str(found.get("timestamp") or ""))
            return Message(piece.start, piece.end, piece.raw, kind, data, lsn or piece.lsn, xid, time)
        if kind == MESSAGE:
            content = str(found.get("content") or "").encode("utf-8", "surrogatepass")
            data = LogicalMessage(str(found.get("prefix") or ""), content, found.get("transactional") is True)
            return Message(piece.start, piece.end, piece.raw, kind, data, _lsn(found.get("lsn")) or piece.lsn, xid, time)
        table = (str(found.get("schema") or ""), str(found.get("table") or ""))
        if not table[1]:
            raise MalformedLog("a change of no table", where=where)
        return Message(piece.start, piece.end, piece.raw, str(kind), found, piece.lsn, xid, time, "", (table,))

    # ---- rows

    def body(self, message: Message) -> Logged | Truncate | Border | LogicalMessage | Omission:
        """Return what a message holds. Raises MalformedLog."""
        if message.kind == TRUNCATE:
            return Truncate(message.tables)
        if message.kind not in ROWS:
            data: Border | LogicalMessage = message.data
            return data
        try:
            new = _cells(message.data, "column", "columns")
            old = _cells(message.data.get("oldkeys") or message.data, "key", "identity")
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise MalformedLog(f"no row of wal2json: {error}", where=f"{self._name}:{message.start}") from None
        return self._logged(message, new, old)

    def _logged(self, message: Message, new: dict[str, _Cell], old: dict[str, _Cell]) -> Logged:
        table = message.tables[0]
        key = {str(cell.get("name")) for cell in message.data.get("pk") or () if isinstance(cell, Mapping)} | set(_pk_of_1(message.data))
        shape = self._shape(table, new, old, key, whole=message.kind == INSERT)
        told_any = message.kind != INSERT and ("oldkeys" in message.data or "identity" in message.data)
        told = NOTHING if not told_any else FULL if shape.complete and len(old) == len(shape.names) else UNTOLD
        if message.kind != INSERT and old and any(cell.value is None for cell in old.values()):
            told = FULL if shape.complete else told  # no column of a key is NULL
        before = tuple([old[name].value if name in old else None for name in shape.names]) if told_any else None
        after = tuple([new[name].value if name in new else UNCHANGED for name in shape.names]) if message.kind != DELETE else None
        return Logged(shape, before, after, told, _problem(shape, before, after))

    def _shape(self, table: TableName, new: dict[str, _Cell], old: dict[str, _Cell], key: set[str], *, whole: bool) -> Shape:
        cells = old if new.keys() <= old.keys() else {**new, **{name: cell for name, cell in old.items() if name not in new}}
        known = self._whole.get(table)
        if known is not None and not whole:
            types = dict(zip(known.names, known.types, strict=True))
            if all(types.get(name) == cell.type for name, cell in cells.items()):
                return known
        names = tuple(cells)
        complete = whole or (bool(old) and len(cells) > len(old.keys() & key) and bool(new))
        shape = Shape(
            *table,
            names,
            tuple(cell.type for cell in cells.values()),
            tuple(at for at, name in enumerate(names) if name in key),
            "",
            complete,
        )
        shape = self._shapes.setdefault(shape, shape) if len(self._shapes) < SHAPES_MAX else shape
        if whole and len(self._whole) < SHAPES_MAX:
            self._whole[table] = shape
        return shape


class _Cell(NamedTuple):
    type: str
    value: str | None


def _cells(found: Mapping[str, Any], prefix: str, columns: str) -> dict[str, _Cell]:
    """Return the columns of a row by their names, of version 2 or 1."""
    if columns in found:
        listed = [(str(cell["name"]), str(cell["type"]), cell.get("value")) for cell in found[columns]]
    else:
        parts = [found.get(f"{prefix}{part}") or [] for part in ("names", "types", "values")]
        listed = [(str(name), str(kind), value) for name, kind, value in zip(*parts, strict=True)]
    cells: dict[str, _Cell] = {}
    for name, written, value in listed:
        if name in cells:
            raise ValueError(f"column {name!r} twice")
        kind = type_name(written)
        cells[name] = _Cell(kind, _value(kind, value))
    return cells


def _value(kind: str, value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.40} is no value")
    return f"\\x{value}" if kind == "bytea" else value


def _pk_of_1(found: Mapping[str, Any]) -> list[str]:
    pk = found.get("pk")
    return [str(name) for name in pk.get("pknames") or ()] if isinstance(pk, Mapping) else []


def _problem(shape: Shape, *rows: LoggedRow | None) -> tuple[str, str] | None:
    for row in rows:
        for kind, value in zip(shape.types, row or (), strict=False):
            if kind in _NUMERIC and value is None and row is not None:
                return LOST.reason, LOST.fix
            if kind == "bytea" and isinstance(value, str) and not _HEX.fullmatch(value, 2):
                return CUT_OFF.reason, CUT_OFF.fix
    return None


def _lsn(text: Any) -> int:
    high, _, low = str(text or "").partition("/")
    try:
        found = int(high, 16) << 32 | int(low, 16)
    except ValueError:
        return 0
    return found if 0 < found <= LSN_MAX else 0


def _load(text: bytes) -> Any:
    return json.loads(text, parse_float=str, parse_int=str, parse_constant=str)
