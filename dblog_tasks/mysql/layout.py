"""A table layout: what a TABLE_MAP and a schema say together, prepared once for all events that carry the same bytes. No I/O.

The bytes of a TABLE_MAP (without its table id) are the key: an event of a table nobody asked for costs one look-up. Names, keys
and signedness come from the log's metadata; where it lacks them (binlog_row_metadata below FULL), from the schema, which must
describe the same columns. Without either the rows cannot be read and the layout says why.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dblog_tasks.errors import MalformedLog, SchemaMismatch
from dblog_tasks.event import Column, Omission, Table
from dblog_tasks.mysql import table_map as wire
from dblog_tasks.mysql.charsets import BYTES_PER_CHARACTER
from dblog_tasks.mysql.rows import FIELDS, RowReader, Storage

if TYPE_CHECKING:
    from dblog_tasks.mysql.catalog import Catalog, SchemaTable

LAYOUTS_MAX = 10_000  # prepared layouts kept; more mean a log of ever new tables

NO_NAMES = Omission(
    "the log has no column names", "give --schema (CREATE TABLE statements or a DSN); for the future SET GLOBAL binlog_row_metadata=FULL"
)
NOT_IN_SCHEMA = Omission(
    "the schema has no such table", "give a --schema of the time of the log, or SET GLOBAL binlog_row_metadata=FULL for the future"
)
UNREAD_TYPE = "a column type that is not read yet"
OLD_TEMPORAL = Omission(
    "temporal columns in the format of before MySQL 5.6", "give --schema: the log does not say whether they have a fraction"
)

_INTEGERS = {wire.TINY: "tinyint", wire.SHORT: "smallint", wire.INT24: "mediumint", wire.LONG: "int", wire.LONGLONG: "bigint"}
_TEMPORALS = {wire.TIMESTAMP2: "timestamp", wire.DATETIME2: "datetime", wire.TIME2: "time"}
_PLAIN = {
    wire.FLOAT: "float",
    wire.DOUBLE: "double",
    wire.YEAR: "year",
    wire.DATE: "date",
    wire.NEWDATE: "date",
    wire.TIMESTAMP: "timestamp",
    wire.DATETIME: "datetime",
    wire.TIME: "time",
    wire.ENUM: "enum",
    wire.SET: "set",
    wire.JSON: "json",
    wire.GEOMETRY: "geometry",
    wire.VECTOR: "vector",
    **_INTEGERS,
}
_BLOBS = {1: "tiny", 2: "", 3: "medium", 4: "long"}
_TEXTUAL = wire.CHARACTER | {wire.ENUM, wire.SET}
_OLD_TEMPORALS = frozenset({wire.TIMESTAMP, wire.DATETIME, wire.TIME})
_UNREAD_TYPES = frozenset({"uuid", "inet4", "inet6"})


class Layout:
    """One table as the rows events that follow its TABLE_MAP need it.

    Names and columns of the log are there at once; the rest is prepared when rows are first wanted, so that a table nobody
    asked for is never held against the schema.

    Attributes:
        map: what the log says.
        name: `(schema, table)`.
        table: columns with their names; None when there is a `problem`. After `prepare`.
        reader: reads its rows; None when there is a `problem`. After `prepare`.
        problem: why rows of this table cannot be read. After `prepare`.
    """

    __slots__ = ("_prepared", "map", "name", "problem", "reader", "table")

    def __init__(self, table_map: wire.TableMap) -> None:
        self.map = table_map
        self.name = (table_map.schema, table_map.name)
        self.table: Table | None = None
        self.reader: RowReader | None = None
        self.problem: Omission | None = None
        self._prepared = False

    def prepare(self, catalog: Catalog | None, where: str) -> None:
        """Find names and make the reader. Raises SchemaMismatch when the schema describes another table."""
        if not self._prepared:
            self.problem = self._prepare(catalog, where)
            self._prepared = True

    def _prepare(self, catalog: Catalog | None, where: str) -> Omission | None:
        known = None if catalog is None else catalog.find(*self.name)
        if known is None and not self.map.named:
            return NO_NAMES if catalog is None else NOT_IN_SCHEMA
        strange = [column for column in self.map.columns if column.code not in FIELDS]
        if strange:
            return Omission(UNREAD_TYPE, f"column type {strange[0].code} of {'.'.join(self.name)}")
        self.table = self._from_log() if known is None else self._from_schema(known, where)
        old = [column for column, logged in zip(self.table.columns, self.map.columns, strict=True) if logged.code in _OLD_TEMPORALS]
        if old and known is None:
            self.table = None
            return OLD_TEMPORAL
        if any("(" in column.type for column in old):
            self.table = None
            return Omission(UNREAD_TYPE, f"{old[0].name} {old[0].type} of {'.'.join(self.name)}, in the format of before MySQL 5.6")
        odd = [column for column in self.table.columns if column.type in _UNREAD_TYPES]
        if odd:
            self.table = None
            return Omission(UNREAD_TYPE, f"{odd[0].name} {odd[0].type} of {'.'.join(self.name)}")
        try:
            self.reader = RowReader(list(map(_storage, self.map.columns, self.table.columns)))
        except ValueError as error:
            raise MalformedLog(f"a column of table {'.'.join(self.name)} that no server makes: {error}", where=where) from None
        return None

    def _from_log(self) -> Table:
        columns = tuple(
            Column(column.name or "", _type_name(column), bool(column.unsigned), column.charset or "", column.labels or ())
            for column in self.map.columns
        )
        return Table(*self.name, columns, self.map.key or ())

    def _from_schema(self, known: SchemaTable, where: str) -> Table:
        known.check([(column.code, column.meta) for column in self.map.columns], where)
        table = known.table
        for ours, theirs in zip(self.map.columns, table.columns, strict=True):
            _agree(".".join(self.name), theirs, ours, where)
        return Table(*self.name, table.columns, table.key)


def _agree(table: str, theirs: Column, ours: wire.WireColumn, where: str) -> None:
    """Raise when what the log says of a column beyond its type is not what the schema says."""
    facts: Sequence[tuple[str, object, object]] = (
        ("name", ours.name, theirs.name),
        ("signedness", ours.unsigned if ours.code in _INTEGERS else None, theirs.unsigned),
        ("members", ours.labels, theirs.labels),
    )
    for what, logged, given in facts:
        if logged is not None and logged != given:
            raise SchemaMismatch(
                f"table {table}, column {theirs.name}: the log has {what} {logged!r:.80}, the schema {given!r:.80}",
                where=where,
                hint="give a --schema of the time of the log",
            )


def _storage(column: wire.WireColumn, known: Column) -> Storage:
    charset = known.charset if column.code in _TEXTUAL else ""
    return Storage(column.code, column.meta, known.unsigned, charset or column.charset or "binary")


def _type_name(column: wire.WireColumn) -> str:
    """Return the SQL type of a column that only the log describes."""
    plain = _PLAIN.get(column.code)
    if plain:
        return plain
    if column.code in _TEMPORALS:
        return f"{_TEMPORALS[column.code]}({column.meta})" if column.meta else _TEMPORALS[column.code]
    if column.code == wire.NEWDECIMAL:
        return f"decimal({column.meta >> 8},{column.meta & 0xFF})"
    if column.code == wire.BIT:
        return f"bit({column.meta})"
    binary = column.charset in (None, "binary")
    if column.code in (wire.VARCHAR, wire.VAR_STRING, wire.STRING):
        name = "char" if column.code == wire.STRING else "varchar"
        size = column.meta if binary else column.meta // BYTES_PER_CHARACTER[column.charset or ""]
        return f"{'binary' if name == 'char' else 'varbinary'}({size})" if binary else f"{name}({size})"
    return _BLOBS.get(column.meta, "") + ("blob" if binary else "text")


class Layouts:
    """Layouts by the bytes of their TABLE_MAP, of one vendor's logs."""

    def __init__(self, *, mariadb: bool = False) -> None:
        self._mariadb = mariadb
        self._layouts: dict[bytes, Layout] = {}

    def find(self, body: bytes, where: str) -> Layout:
        """Return the layout of a TABLE_MAP body that begins after table id and flags. Raises MalformedLog."""
        found = self._layouts.get(body)
        if found is None:
            if len(self._layouts) >= LAYOUTS_MAX:
                self._layouts.clear()
            found = self._layouts[body] = Layout(wire.read_table_map(body, where, mariadb=self._mariadb))
        return found
