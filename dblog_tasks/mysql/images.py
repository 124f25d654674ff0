"""Which columns the images of a rows event hold, what they are enough for, and their rows. No I/O.

Law: what is in the log is used, what is not is an omission by reason; nothing stands for a value that is not there. An event whose
images lack columns has a table without them, made once for all events that lack the same.

Head of a rows event (MySQL 5.1-9.7, MariaDB 5.1-11.8), after the 19 bytes of header:

    6   table id (4 in the oldest logs)
    2   flags: 1 = last event of its statement, 2 = foreign keys are not checked, 16 = what they change is logged (MySQL 9.6)
    2+n v2 only: extra data, its length (these 2 bytes included) first, then its type: 0 NDB Cluster, 1 partition
    length  number of columns
    bitmap  columns present in the (first) image, lowest bit first
    bitmap  updates only: columns present in the image after
    then rows (see `rows`); compressed events of MariaDB have all rows in one zlib block

binlog_row_image     inserted          before an update    after an update     deleted
FULL                 all               all                 all                 all
FULL_NODUP           all               all                 changed             all
NOBLOB               all but unset blobs, texts            and unchanged       but blobs, texts
MINIMAL              written           key                 changed             key

    undo of an       needs in the log                                                 as
    insert           the key                                                          delete
    update           the key; every changed column before; what updates itself       update
    delete           every column that is not generated                              insert

A partial update (type 39, binlog_row_value_options=PARTIAL_JSON) has before the NULL bitmap of its image after: options (length), and
when they have bit 1, a bitmap over all JSON columns of the table: those are diffs (see `json_diff`) to the document before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from struct import error as StructError
from typing import NamedTuple, Protocol
from zlib import error as ZlibError

from dblog_tasks.errors import MalformedLog
from dblog_tasks.event import Column, Omission, Row, RowChanges, RowPair, Table, binary_columns
from dblog_tasks.mysql import binlog, bodies, table_map as wire
from dblog_tasks.mysql.layout import UNSIZED, Layout
from dblog_tasks.mysql.row_versions import current_changes
from dblog_tasks.mysql.rows import INSERT, UNREADABLE, UPDATE, Json, RowReader, Storage

COMPRESSED = frozenset({binlog.WRITE_ROWS_COMPRESSED, binlog.UPDATE_ROWS_COMPRESSED, binlog.DELETE_ROWS_COMPRESSED})
WITH_EXTRA = frozenset({binlog.WRITE_ROWS_V2, binlog.UPDATE_ROWS_V2, binlog.DELETE_ROWS_V2, binlog.PARTIAL_UPDATE_ROWS})
VERSION_0 = frozenset({20, 21, 22})
NAMES_MAX = 5  # missing columns an omission names
_FIXED = binlog.HEADER_SIZE + 8  # bytes of header, table id and flags
_END, _UNCHECKED, _KEYS_LOGGED = 1, 2, 16  # flags

CLUSTER = Omission("rows of NDB Cluster", "it may log an update as an insert: undo it by hand")
PARTIAL = "partial row image"
UNREAD_PARTIAL = "partial JSON update"
_FULL_IMAGE = "SET GLOBAL binlog_row_image=FULL for the future"


class Reader(Protocol):
    """Reads the rows between two offsets, as `RowReader` does."""

    def read(self, operation: str, data: bytes, at: int, end: int, where: str) -> list[RowPair]:
        """Return the rows between `at` and `end`. Raises MalformedLog when they do not end there exactly."""


class Images(NamedTuple):
    """How the rows of events with the same columns are read, the table those columns make, and which says that a row has ended.

    `json` gives the rows as a plan writes them, where they need no second look.
    """

    table: Table
    reader: Reader
    ended: int | None = None
    json: Json | None = None


class Head(NamedTuple):
    """What stands between the flags and the rows of an event, and how such rows are written."""

    data: bytes
    table: Table
    json: Json


def changes_of(frame: binlog.Frame, operation: str, layout: Layout, where: str) -> RowChanges | Omission:
    """Return the rows of an event, or why they are not enough for an undo; the layout is prepared. Raises MalformedLog.

    A partial update that does not fit its documents, or is no such thing to the server that wrote it, is an omission too.
    """
    found, data, at, end = _located(frame, operation, layout, where)
    if isinstance(found, Omission):
        return found
    try:
        rows = found.reader.read(operation, data, at, end, where)
    except MalformedLog as error:
        if frame.type != binlog.PARTIAL_UPDATE_ROWS:
            raise
        return Omission(UNREAD_PARTIAL, f"{error.what}, at {where}; SET GLOBAL binlog_row_value_options='' for the future")
    return RowChanges(found.table, rows, is_carried(frame)) if found.ended is None else current_changes(found.table, rows, found.ended)


def is_carried(frame: binlog.Frame) -> bool:
    """Return whether a foreign key took the rows of an event along: it checks none, and is not the last of its statement."""
    at = frame.at + _FIXED - 2
    flags = int.from_bytes(frame.data[at : at + 1], "little")
    return flags & (_END | _UNCHECKED | _KEYS_LOGGED) == _UNCHECKED | _KEYS_LOGGED and frame.type in WITH_EXTRA


def packed_of(frame: binlog.Frame, operation: str, layout: Layout) -> tuple[Table, bytes, int] | None:
    """Return the rows of an event as a plan writes them, with their table and number; None where only `changes_of` says what they are.

    The head of the last event of each type is kept: neighbours mostly have the same.
    """
    data, at = frame.data, frame.at + _FIXED
    head: Head | None = layout.heads.get(frame.type)
    try:
        if head is None or not data.startswith(head.data, at):
            found, data, rows_at, _ = _located(frame, operation, layout, "")
            if isinstance(found, Omission) or found.json is None or data is not frame.data:
                return None
            head = layout.heads[frame.type] = Head(data[at:rows_at], found.table, found.json)
        rows, count = head.json(data, at + len(head.data), frame.body_end)
    except (MalformedLog, *UNREADABLE):
        return None
    return head.table, rows, count


def _located(frame: binlog.Frame, operation: str, layout: Layout, where: str) -> tuple[Images | Omission, bytes, int, int]:
    """Return how the rows of an event are read, and where they lie: data, beginning, end. Raises MalformedLog."""
    data, at, end = frame.data, frame.at + _FIXED, frame.body_end
    if layout.problem is not None or frame.type in VERSION_0:
        return layout.problem or UNSIZED, data, at, end
    try:
        if frame.type in WITH_EXTRA:
            extra = int.from_bytes(data[at : at + 2], "little")
            if extra > 2 and data[at + 2] == 0 and operation == INSERT:
                return CLUSTER, data, at, end
            at += extra
        count, at = bodies.read_length(data, at)
        width = (count + 7) // 8 * (2 if operation == UPDATE else 1)
        present, at = data[at : at + width], at + width
        if count != len(layout.map.columns) or at > end:
            raise MalformedLog(f"rows of {count} columns, the table map has {len(layout.map.columns)}", where=where)
        if frame.type in COMPRESSED:
            data = bodies.inflate(data[at:end])
            at, end = 0, len(data)
    except (ValueError, IndexError, ZlibError) as error:
        raise MalformedLog(f"a rows event cannot be read: {error}", where=where) from None
    partial = frame.type == binlog.PARTIAL_UPDATE_ROWS
    key = (operation, present, partial)
    found = layout.images.get(key)
    if found is None:
        found = layout.images[key] = _images(layout, operation, present, partial=partial)
    return found, data, at, end


def _images(layout: Layout, operation: str, present: bytes, *, partial: bool) -> Images | Omission:
    table, reader = layout.table, layout.reader
    if table is None or reader is None:
        raise ValueError("a layout that is not prepared")
    width = (len(table.columns) + 7) // 8
    first, second = (_present(present[at : at + width], len(table.columns)) for at in (0, width if operation == UPDATE else 0))
    problem = _problem(layout, table, operation, first, second)
    if problem is not None:
        return problem
    ended = None if layout.ended is None else first.index(layout.ended)
    if partial:
        return Images(_narrowed(table, first), PartialReader(layout.storages, first, second), ended)
    if first == second:
        narrowed = _narrowed(table, first)
        plain = reader if narrowed is table else RowReader([layout.storages[at] for at in first])
        alone = bytes(at in binary_columns(narrowed) for at in range(len(first)))
        return Images(narrowed, plain, ended, plain.json(operation, alone) if ended is None else None)
    return Images(_narrowed(table, first), MergingReader(layout.storages, first, second), ended)


def _present(bitmap: bytes, count: int) -> list[int]:
    """Return the columns of a bitmap; the bits after the last column mean nothing."""
    bits = int.from_bytes(bitmap, "little")
    return [at for at in range(count) if bits >> at & 1]


def _problem(layout: Layout, table: Table, operation: str, first: Sequence[int], second: Sequence[int]) -> Omission | None:
    """Return why the undo needs more than these columns of the (first) image, None when it does not."""
    columns = dict(enumerate(table.columns))
    lacking = [at for at in columns if at not in first]
    needed = [at for at in lacking if not columns[at].generated]
    if operation == INSERT and needed:
        needed = [at for at in table.key if at in lacking] if table.key else needed
    elif operation == UPDATE and needed and layout.ended not in second:  # what may end a row is its delete
        changed = {*table.key, *second, *(at for at in lacking if _may_update_itself(columns[at]))} if table.key else columns.keys()
        needed = [at for at in needed if at in changed]
    needed += [at for at in lacking if at == layout.ended or not first]
    if not needed:
        return None
    names = ", ".join(columns[at].name for at in needed[:NAMES_MAX]) + (", …" if len(needed) > NAMES_MAX else "")
    return Omission(PARTIAL, f"{table.schema}.{table.name}: the event lacks {names}; {_FULL_IMAGE}")


def _may_update_itself(column: Column) -> bool:
    return column.type.startswith(("timestamp", "datetime")) if column.auto_update is None else column.auto_update


def _narrowed(table: Table, columns: Sequence[int]) -> Table:
    """Return the table without the other columns; without its key when it lacks a column of that."""
    if len(columns) == len(table.columns):
        return table
    places = {at: place for place, at in enumerate(columns)}
    key = tuple(places[at] for at in table.key if at in places)
    kept = tuple(table.columns[at] for at in columns)
    return table._replace(columns=kept, key=key if len(key) == len(table.key) else ())


Join = Callable[[Row, bytes, int], tuple[Row, Row, int]]  # the image before, and where the one after begins: both, and where it ends


class MergingReader:
    """Reads updates whose images hold different columns: what the image after lacks was not changed."""

    def __init__(self, storages: Sequence[Storage], first: Sequence[int], second: Sequence[int]) -> None:
        self._before = RowReader([storages[at] for at in first]).image
        self._after = RowReader([storages[at] for at in second]).image if second else None
        places = {at: place for place, at in enumerate(first)}
        self._places = [places.get(at) for at in second]  # None: a generated column that only the image after has

    def read(self, operation: str, data: bytes, at: int, end: int, where: str) -> list[RowPair]:
        """Return the rows between `at` and `end`. Raises MalformedLog when they do not end there exactly."""
        return _pairs(data, at, end, where, self._before, self._joined)

    def _joined(self, before: Row, data: bytes, at: int) -> tuple[Row, Row, int]:
        changed, at = self._after(data, at) if self._after else ((), at)
        after = list(before)
        for place, value in zip(self._places, changed, strict=True):
            if place is not None:
                after[place] = value
        return before, tuple(after), at


class PartialReader:
    """Reads partial updates: JSON columns of the image after may be diffs to the document before."""

    def __init__(self, storages: Sequence[Storage], first: Sequence[int], second: Sequence[int]) -> None:
        raw = [Storage(wire.BLOB, column.meta, charset="binary") if column.code == wire.JSON else column for column in storages]
        documents = [at for at, column in enumerate(storages) if column.code == wire.JSON]
        self._before = RowReader([raw[at] for at in first]).image
        self._after = RowReader([raw[at] for at in second]).image if second else None
        self._bitmap = (len(documents) + 7) // 8
        places = {at: place for place, at in enumerate(first)}
        bits = {at: bit for bit, at in enumerate(documents)}
        self._places = [(places.get(at), bits.get(at)) for at in second]
        self._documents = [places[at] for at in documents if at in places]

    def read(self, operation: str, data: bytes, at: int, end: int, where: str) -> list[RowPair]:
        """Return the rows between `at` and `end`. Raises MalformedLog when they do not end there exactly."""
        return _pairs(data, at, end, where, self._before, self._joined)

    def _joined(self, before: Row, data: bytes, at: int) -> tuple[Row, Row, int]:
        options, at = bodies.read_length(data, at)
        if options > 1:
            raise ValueError(f"options {options} of a partial update, expected 0 or 1")
        partial = int.from_bytes(data[at : at + self._bitmap], "little") if options else 0
        at += self._bitmap if options else 0
        changed, at = self._after(data, at) if self._after else ((), at)
        after = list(before)
        for (place, bit), value in zip(self._places, changed, strict=True):
            if place is not None:
                after[place] = _patched(before[place], value) if bit is not None and partial >> bit & 1 else value
        return self._shown(before), self._shown(after), at

    def _shown(self, row: Sequence[object]) -> Row:
        from dblog_tasks.mysql.json_binary import json_value  # noqa: PLC0415 - few logs hold such

        shown = list(row)
        for place in self._documents:
            document = shown[place]
            shown[place] = json_value(document) if isinstance(document, bytes) else None
        return tuple(shown)  # type: ignore[arg-type]  # values of a row before, and text and bytes since


def _patched(document: object, diffs: object) -> bytes | None:
    """Return the document after its diffs; NULL stays NULL."""
    if diffs is None:
        return None
    if not isinstance(document, bytes) or not isinstance(diffs, bytes):
        raise ValueError("a JSON diff to no document")  # noqa: TRY004 - of the log's bytes, not of ours
    from dblog_tasks.mysql.json_diff import apply_diffs  # noqa: PLC0415 - few logs hold such

    return apply_diffs(document, diffs)


def _pairs(data: bytes, at: int, end: int, where: str, before: Callable[[bytes, int], tuple[Row, int]], join: Join) -> list[RowPair]:
    """Read updates one by one."""
    rows: list[RowPair] = []
    try:
        while at < end:
            row, at = before(data, at)
            old, new, at = join(row, data, at)
            rows.append((old, new))
    except (StructError, IndexError, ValueError, OverflowError) as error:
        raise MalformedLog(f"a row cannot be read: {error}", where=where) from None
    except MalformedLog as error:
        raise MalformedLog(f"a row cannot be read: {error.what}", where=where) from None
    if at != end:
        raise MalformedLog(f"rows end {at - end} bytes after their event", where=where)
    return rows
