r"""The text of the output plugin test_decoding.

Law: bytes in, messages out; no I/O. Only `'` is doubled in a value, everything else in it is as it is, line ends too: where a record
ends is told from its quotes, never from a line alone.

    BEGIN 733                                     without include-xids: BEGIN
    table public.t: INSERT: id[integer]:1 "A b"[text[]]:'{a}' n[numeric]:null
    table public.t: UPDATE: old-key: id[integer]:1 new-tuple: id[integer]:2 big[text]:unchanged-toast-datum
    table public.t: DELETE: id[integer]:1         or (no-tuple-data)
    table public.a, public."B c": TRUNCATE: restart_seqs cascade
    message: transactional: 1 prefix: p, sz: 3 content:abc
    COMMIT 733 (at 2026-11-23 04:53:04.322278+00)
    PREPARE TRANSACTION 'gid', txid 733 …         COMMIT PREPARED …, ROLLBACK PREPARED …
    opening a streamed block …                    no rows are told of what is between this and its end

What the text does not tell: whether a column that is missing of an old row is NULL (identity FULL) or was not logged; the columns of a
table, but by the last row that was whole. One regular expression is learned for each table and operation from its first row; a row
that does not fit is read column by column.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
import re
from typing import NamedTuple, TypeAlias

from dblog_tasks.errors import MalformedLog, TruncatedLog, UnsupportedLog
from dblog_tasks.event import Omission
from dblog_tasks.postgres.message import (
    BEGIN,
    COMMIT,
    COMMIT_PREPARED,
    DELETE,
    FULL,
    INSERT,
    MESSAGE,
    NOTHING,
    PREPARE,
    ROLLBACK_PREPARED,
    ROWS,
    SKIMMED,
    STREAM_ABORT,
    STREAM_CHANGE,
    STREAM_COMMIT,
    STREAM_PREPARE,
    STREAM_START,
    STREAM_STOP,
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
    Skimmed,
    TableName,
    Truncate,
)
from dblog_tasks.postgres.names import PART, qualified, type_name, unquoted
from dblog_tasks.postgres.skim import skimmed

NOT_UTF8 = Omission(
    "text that is not UTF-8",
    "the log is in the database's encoding: make a copy in UTF-8 with iconv -f ENCODING -t UTF-8 and plan from that",
)
RECORD_MAX = 1 << 30  # bytes
SHAPES_MAX = 10_000  # tables a log is remembered by
_TABLE = b"table "
_NAMES = rf"{PART}(?:\.{PART})?"
_HEAD = re.compile(rf"table ({_NAMES}(?:, {_NAMES})*): (INSERT|UPDATE|DELETE|TRUNCATE):(?= |$)")
_ONE_NAME = re.compile(_NAMES)
_TYPE = r'(?:"(?:[^"]|"")*"|\[\]|[^\[\]"])+'
_COLUMN = re.compile(rf"""[ ]({PART})\[({_TYPE})\]:(?:'((?:[^']|'')*+)'|B'([01]*)'|([^\s']\S*))(?=[ ]|$)""")
_OLD, _NEW = " old-key:", " new-tuple:"
_NONE, _TOAST = "null", "unchanged-toast-datum"
_AT = r"(?: \(at (?P<time>[^)]*)\))?"
_XID = r"(?P<xid>[0-9]{1,20})"
_GID = r"'(?P<gid>(?:[^']|'')*)'(?:, txid (?P<xid>[0-9]{1,20}))?"
_TXN = r"(?: TXN (?P<xid>[0-9]{1,20}))?"
# Records without rows, by what they are.
_BORDERS: Mapping[str, re.Pattern[str]] = {
    kind: re.compile(pattern, re.DOTALL)
    for kind, pattern in {
        BEGIN: rf"BEGIN(?: {_XID})?",
        COMMIT: rf"COMMIT(?: {_XID})?{_AT}",
        PREPARE: rf"PREPARE TRANSACTION {_GID}{_AT}",
        COMMIT_PREPARED: rf"COMMIT PREPARED {_GID}{_AT}",
        ROLLBACK_PREPARED: rf"ROLLBACK PREPARED {_GID}{_AT}",
        STREAM_START: rf"opening a streamed block for transaction{_TXN}",
        STREAM_STOP: rf"closing a streamed block for transaction{_TXN}",
        STREAM_CHANGE: r"streaming (?:change|truncate) for (?:transaction|TXN (?P<xid>[0-9]{1,20}))",
        STREAM_COMMIT: rf"committing streamed transaction{_TXN}{_AT}",
        STREAM_ABORT: rf"aborting streamed \(sub\)transaction{_TXN}",
        STREAM_PREPARE: rf"preparing streamed transaction{_TXN}(?:, '(?P<gid>(?:[^']|'')*)')?(?:, txid [0-9]+)?{_AT}",
    }.items()
}
_MESSAGE = re.compile(rb"(?:streaming )?message: transactional: ([01]) prefix: ((?s:.*?)), sz: ([0-9]{1,10})(?: content:)?")
_MESSAGES = (b"message:", b"streaming m")
# How a record begins: what may follow the line end of another.
STARTS = re.compile(
    rb"(?:BEGIN|COMMIT|table |message: |streaming |PREPARE TRANSACTION |ROLLBACK PREPARED |opening a streamed|closing a streamed"
    rb"|committing streamed|aborting streamed|preparing streamed)"
)
PREFIX = rb"[0-9A-F]{1,8}/[0-9A-F]{1,8}[\t|][0-9]*[\t|]"
_NEXT = re.compile(rb"\s*(?:\Z|" + STARTS.pattern + rb"|\([0-9]+ rows?\)\s*\Z|" + PREFIX + rb")")
_QUOTED_LINE = re.compile(rb"""(?:[^'"\n]++|'[^']*+'|"[^"]*+")*+(\n)?""")
_ZONE = re.compile(r"([+-]\d\d)(?::?(\d\d))?(?::?(\d\d))?$")

Frame: TypeAlias = tuple[int, int, bytes]  # where it starts and ends, its bytes
Skim: TypeAlias = tuple[int, int, Skimmed]  # the same of several
Plain: TypeAlias = Callable[[bytes, int, int], tuple[int, Skimmed] | None]  # data, where a transaction begins in it, offset of the data


def record_end(data: bytes, at: int, *, last: bool) -> int:
    """Return where the record that starts at `at` ends, its line end included; -1 when more bytes are needed.

    `last`: nothing comes after `data`.
    """
    found = _MESSAGE.match(data, at)
    if found is not None:
        return _message_end(data, found, last=last)
    whole = _QUOTED_LINE.match(data, at)
    if whole is None or (whole[1] is None and (whole.end() < len(data) or not last)):
        return -1
    return whole.end()


def _message_end(data: bytes, found: re.Match[bytes], *, last: bool) -> int:
    """The content is raw: it has the size that is told, but where SQL cut it off at a NUL."""
    end = found.end() + int(found[3])
    if end + 1 >= len(data) and not last:
        return -1
    if data[end : end + 1] == b"\n" and _NEXT.match(data, end + 1):
        return end + 1
    line = data.find(b"\n", found.end())
    while 0 <= line <= end:
        if _NEXT.match(data, line + 1):
            return line + 1
        line = data.find(b"\n", line + 1)
    return len(data) if last and end >= len(data) else min(end + 1, len(data))


def frames(
    blocks: Iterable[bytes],
    name: str,
    prefix: re.Pattern[bytes] | None = None,
    needle: bytes | None = None,
    plain: Plain | None = None,
) -> Iterator[Frame | Skim]:
    """Yield the records of the text, each with its line end.

    `prefix`: what stands before each record, on its first line. Lines of blanks alone are no records. `needle`: pass over whole
    transactions that do not hold these bytes. `plain`: is asked at the begin of each transaction that follows a whole one, and says where
    the first begins that it has not dealt with.

    Raises TruncatedLog where the last record is not whole.
    """
    data, base, at = b"", 0, 0
    source, done = iter(blocks), False
    looked = 0  # up to here nothing can be passed over
    begun = False  # the first transaction is read: it tells the log from others
    ended = False  # what was read last ended a transaction
    while not done or at < len(data):
        if ended and plain is not None and data.startswith(b"BEGIN", at):
            dealt_with = plain(data, at, base)
            if dealt_with is not None:
                yield base + at, base + dealt_with[0], dealt_with[1]
                at = dealt_with[0]
                continue
        if at >= looked and needle and data.startswith(b"BEGIN", at):
            passed = skimmed(data, at, needle) if begun else None
            begun, is_first = True, not begun
            if passed is not None:
                yield base + at, base + passed[0], passed[1]
                at = passed[0]
            looked = len(data) if passed is None and not is_first else at + 1
        line = data.find(b"\n", at)
        end = line + 1 or (len(data) if done else -1)
        if end > 0:
            text = at if prefix is None or (found := prefix.match(data, at, end)) is None else found.end()
            if data.find(b'"', text, end) >= 0 or data.count(b"'", text, end) & 1 or data.startswith(_MESSAGES, text):
                end = record_end(data, text, last=done)
        if end > 0:
            raw = data[at:end]
            if not raw.isspace():
                yield base + at, base + end, raw
            at = end
            ended = raw.startswith(b"COMMIT")
            continue
        if done:
            raise TruncatedLog("the log ends inside a record", where=f"{name}:{base + at}")
        data, base, at, looked = data[at:], base + at, 0, 0
        if len(data) > RECORD_MAX:
            raise UnsupportedLog(f"a record of more than {RECORD_MAX} bytes", where=f"{name}:{base}")
        more, done = gathered(source, len(data))
        data += more


def gathered(source: Iterator[bytes], size: int) -> tuple[bytes, bool]:
    """Return the next blocks, of at least `size` bytes together, and whether they are the last: so nothing is copied too often."""
    more: list[bytes] = []
    wanted = max(size, 1)
    while wanted > 0:
        block = next(source, None)
        if block is None:
            return b"".join(more), True
        more.append(block)
        wanted -= len(block)
    return b"".join(more), False


class Learned(NamedTuple):
    """How rows of one table and operation look.

    Attributes:
        shape: the table.
        row: takes a whole record, its groups being the values.
        middle: how many of these are of the old row.
    """

    shape: Shape
    row: re.Pattern[str]
    middle: int


class TestDecoding:
    """Reads records, remembering the tables it met. One for each log."""

    __test__ = False  # no test, whatever its name begins with

    def __init__(self, name: str) -> None:
        self._name = name
        self._heads: dict[bytes, tuple[str, tuple[TableName, ...]]] = {}
        self._learned: dict[bytes, Learned] = {}
        self._shapes: dict[TableName, Shape] = {}

    def learned(self, head: bytes) -> Learned | None:
        """Return how rows of a table and operation look, as the last whole row of the table has it; None where that is not known."""
        found = self._learned.get(head)
        known = self._heads.get(head)
        return found if found is not None and known is not None and self._shapes.get(known[1][0]) is found.shape else None

    def skim(self, start: int, end: int, found: Skimmed) -> Message:
        """Return what was passed over as a message, with the time of its last commit."""
        time = self._border(start, end, b"", found.last, 0, 0).time
        return Message(start, end, b"", SKIMMED, found, 0, 0, time)

    def message(self, start: int, end: int, raw: bytes, text: bytes, lsn: int = 0, xid: int = 0) -> Message:
        """Return a record as a message; `text` is what of `raw` the plugin wrote. Raises MalformedLog for what is none of its records."""
        if text.startswith(_TABLE):
            head = _head_of(text)
            known = self._heads.get(head)
            if known is None:
                known = self._read_head(head, text, start)
            return Message(start, end, raw, known[0], (head, text), lsn, xid, None, "", known[1])
        if text.startswith((b"message: ", b"streaming message: ")):
            found = _MESSAGE.match(text)
            if found is not None:
                return Message(start, end, raw, MESSAGE, text, lsn, xid)
        return self._border(start, end, raw, text, lsn, xid)

    def _read_head(self, head: bytes, text: bytes, start: int) -> tuple[str, tuple[TableName, ...]]:
        found = _HEAD.match(_decoded(text))
        names = [] if found is None else [qualified(name) for name in _ONE_NAME.findall(found[1])]
        if found is None or None in names or (found[2] != "TRUNCATE" and len(names) != 1):
            raise self._invalid(text, start)
        known = (found[2].lower(), tuple(name for name in names if name is not None))
        if b'"' not in head and len(self._heads) < SHAPES_MAX:
            self._heads[head] = known
        return known

    def _border(self, start: int, end: int, raw: bytes, text: bytes, lsn: int, xid: int) -> Message:
        line = _decoded(text)
        for kind, pattern in _BORDERS.items():
            found = pattern.fullmatch(line)
            if found is not None:
                told = found.groupdict()
                gid = (told.get("gid") or "").replace("''", "'")
                time = commit_time(told.get("time") or "")
                border = Border(kind, told.get("xid") or "", gid, told.get("time") or "")
                return Message(start, end, raw, kind, border, lsn, int(told.get("xid") or xid), time, gid)
        raise self._invalid(text, start)

    def _invalid(self, text: bytes, start: int) -> MalformedLog:
        return MalformedLog(f"no record of test_decoding: {text[:80]!r}", where=f"{self._name}:{start}")

    # ---- rows

    def body(self, message: Message) -> Logged | Truncate | Border | LogicalMessage | Omission:
        """Return what a message holds. Raises MalformedLog."""
        if message.kind == MESSAGE:
            found = _MESSAGE.match(message.data)
            if found is None:
                raise self._invalid(message.data, message.start)
            content = message.data[found.end() :].removesuffix(b"\n")
            return LogicalMessage(found[2].decode("utf-8", "replace"), content, found[1] == b"1")
        if message.kind in ROWS:
            return self._row(message)
        if message.kind == TRUNCATE:
            options = _decoded(message.data[1]).rpartition(": TRUNCATE:")[2].split()
            return Truncate(message.tables, tuple(option for option in options if option != "(no-flags)"))
        border: Border = message.data
        return border

    def _row(self, message: Message) -> Logged | Omission:
        head, data = message.data
        try:
            text = data.decode()
        except UnicodeDecodeError:
            return NOT_UTF8
        learned = self._learned.get(head)
        if learned is not None:
            found = learned.row.fullmatch(text)
            if found is not None and (shape := self._shapes.get(message.tables[0])) is not None and (shape is learned.shape):
                return _logged(message.kind, learned, found.groups(), doubled="''" in text)
        return self._read_row(message, head, text)

    def _read_row(self, message: Message, head: bytes, text: str) -> Logged:
        """Read a row column by column, and learn how the next ones look."""
        found = _HEAD.match(text)
        rest = text[found.end() :].rstrip("\r\n") if found else ""
        where = f"{self._name}:{message.start}"
        table = message.tables[0]
        if rest == " (no-tuple-data)":
            return Logged(self._shapes.get(table) or Shape(*table, (), (), complete=False), None, None)
        old, at = _columns(rest, len(_OLD), where) if rest.startswith(_OLD) else ({}, 0)
        is_update = rest.startswith(_OLD)
        if is_update and not rest.startswith(_NEW, at):
            raise MalformedLog("an update without new-tuple:", where=where)
        columns, at = _columns(rest, at + len(_NEW) * is_update, where)
        if at != len(rest) or not (columns or message.kind == DELETE):  # of a deleted row whose columns are all NULL there is nothing
            raise MalformedLog(f"no column of a row: {rest[at : at + 60]!r}", where=where)
        if message.kind == DELETE:
            shape = self._shape_of_part(table, columns)
            logged = Logged(shape, _aligned(shape, columns), None, FULL if _holds(shape, columns) else UNTOLD)
        else:
            shape = self._shape_of_whole(table, columns, old)
            told = NOTHING if not old else FULL if _holds(shape, old) else UNTOLD
            logged = Logged(shape, _aligned(shape, old) if old else None, _aligned(shape, columns), told)
        if shape.complete and shape is self._shapes.get(table) and b'"' not in head:
            self._learned[head] = learn(
                message.kind, shape, text[: found.end() if found else 0], {**columns, **old}, updates_have_old=bool(old)
            )
        return logged

    def _shape_of_whole(self, table: TableName, columns: Mapping[str, _Cell], old: Mapping[str, _Cell]) -> Shape:
        named = {**columns, **{name: cell for name, cell in old.items() if name not in columns}}
        names, types = tuple(named), tuple(cell.type for cell in named.values())
        known = self._shapes.get(table)
        if known is not None and (known.names, known.types) == (names, types):
            return known
        shape = Shape(*table, names, types, complete=len(named) == len(columns))
        if len(self._shapes) < SHAPES_MAX and shape.complete:
            self._shapes[table] = shape
        return shape

    def _shape_of_part(self, table: TableName, columns: Mapping[str, _Cell]) -> Shape:
        """Return the table as its last whole row had it, where that has all these columns."""
        known = self._shapes.get(table)
        if known is not None:
            types = dict(zip(known.names, known.types, strict=True))
            if all(types.get(name) == cell.type for name, cell in columns.items()):
                return known
        return Shape(*table, tuple(columns), tuple(cell.type for cell in columns.values()), complete=False)


class _Cell(NamedTuple):
    type: str
    value: object
    head: str  # name and type as they are written


def _head_of(text: bytes) -> bytes:
    """Return the beginning of a record up to the end of its operation, where no name in it has a quote; else something else."""
    at = text.find(b": ", 6)
    return text[: text.find(b":", at + 2) + 1]


def _decoded(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape").rstrip("\r\n")


def _columns(text: str, at: int, where: str) -> tuple[dict[str, _Cell], int]:
    """Return the columns that begin there, and where they end. Raises MalformedLog for one that is named twice."""
    cells: dict[str, _Cell] = {}
    while (found := _COLUMN.match(text, at)) is not None:
        name, kind, text_, bits, bare = found.groups()
        name = unquoted(name)
        if name in cells:
            raise MalformedLog(f"column {name!r} twice in a row", where=where)
        value = text_.replace("''", "'") if text_ is not None else bits if bits is not None else _BARE.get(bare, bare)
        cells[name] = _Cell(type_name(kind), value, text[at : found.end(2) + 2])
        at = found.end()
    return cells, at


_BARE: Mapping[str, object] = {_NONE: None, _TOAST: UNCHANGED}


def _aligned(shape: Shape, cells: Mapping[str, _Cell]) -> LoggedRow:
    return tuple([cells[name].value if name in cells else None for name in shape.names])  # type: ignore[misc]


def _holds(shape: Shape, cells: Mapping[str, _Cell]) -> bool:
    return shape.complete and len(cells) == len(shape.names)


# ---- learned rows

_QUOTED = "'([^']*+(?:''[^']*+)*+)'"
_VALUES = {
    **dict.fromkeys(
        ("smallint", "integer", "bigint", "oid", "real", "double precision", "numeric", "boolean"), rf"(?!{_TOAST}|{_NONE})([^ '\r\n]++)"
    ),
    **dict.fromkeys(("bit", "bit varying"), "B'([01]*+)'"),
}


def learn(kind: str, shape: Shape, head: str, cells: Mapping[str, _Cell], *, updates_have_old: bool) -> Learned:
    """Return how rows like this one look. A column missing of an old row gives None, NULL in a new one too, anything else is no match."""
    heads = [
        re.escape(cells[name].head) if name in cells else _spelled(name, kind_)
        for name, kind_ in zip(shape.names, shape.types, strict=True)
    ]
    values = [_VALUES.get(kind_, _QUOTED) for kind_ in shape.types]
    old = "".join([f"(?:{column}{value})?" for column, value in zip(heads, values, strict=True)])
    new = "".join([rf"{column}(?:{value}|{_NONE}(?=[ \r\n]|$))" for column, value in zip(heads, values, strict=True)])
    patterns = {INSERT: new, DELETE: old, UPDATE: f"{_OLD}{old}{_NEW}{new}" if updates_have_old else new}
    middle = len(shape.names) if kind == DELETE or (kind == UPDATE and updates_have_old) else 0
    return Learned(shape, re.compile(f"{re.escape(head)}{patterns[kind]}[\r\n]*"), middle)


def _spelled(name: str, kind: str) -> str:
    """Return the two ways in which a column's name may be written, for one that no row has shown."""
    always = re.escape('"' + name.replace('"', '""') + '"')
    return f" (?:{re.escape(name)}|{always}){re.escape(f'[{kind}]:')}"


def _logged(kind: str, learned: Learned, groups: tuple[str | None, ...], *, doubled: bool) -> Logged:
    if doubled:
        groups = tuple([value.replace("''", "'") if value and "''" in value else value for value in groups])
    if kind == INSERT:
        return Logged(learned.shape, None, groups, NOTHING, None, unchanged=False)
    middle = learned.middle
    if kind == DELETE:
        return Logged(learned.shape, groups, None, UNTOLD if None in groups else FULL, None, unchanged=False)
    if not middle:
        return Logged(learned.shape, None, groups, NOTHING, None, unchanged=False)
    old = groups[:middle]
    return Logged(learned.shape, old, groups[middle:], UNTOLD if None in old else FULL, None, unchanged=False)


def commit_time(text: str) -> datetime | None:
    """Return the instant of a commit, UTC; None where it is not ISO 8601 with an offset: nobody can tell the day from the month."""
    found = _ZONE.search(text)
    if found is None:
        return None
    zone = f"{found[1]}:{found[2] or '00'}" + (f":{found[3]}" if found[3] else "")
    day, _, rest = text[: found.start()].partition(" ")
    seconds, _, fraction = rest.partition(".")
    try:
        return datetime.fromisoformat(f"{day}T{seconds}.{fraction:0<6.6}{zone}").astimezone(UTC)
    except (ValueError, OverflowError):
        return None
