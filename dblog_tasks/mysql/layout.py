"""A table layout: what a TABLE_MAP and a schema say together, prepared once for all events that carry the same bytes. No I/O.

The bytes of a TABLE_MAP (without its table id) are the key: an event of a table nobody asked for costs one look-up. Names, keys
and signedness come from the log's metadata; where it lacks them (binlog_row_metadata below FULL), from the schema, which must
describe the same columns. Without either the rows cannot be read and the layout says why. What describes another table (a schema
of another time, a definition that changed inside the log) is not used: the log's own names are enough, where it has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dblog_tasks.errors import MalformedLog, SchemaMismatch, UnsupportedLog
from dblog_tasks.event import Column, Omission, Table
from dblog_tasks.mysql import table_map as wire
from dblog_tasks.mysql.charsets import BYTES_PER_CHARACTER
from dblog_tasks.mysql.row_versions import COLUMNS as VERSION_COLUMNS
from dblog_tasks.mysql.rows import ADDRESSES, FIELDS, RowReader, Storage

if TYPE_CHECKING:
    from dblog_tasks.mysql.catalog import Catalog, SchemaTable

LAYOUTS_MAX = 10_000  # prepared layouts kept; more mean a log of ever new tables

NO_NAMES = Omission(
    "the log has no column names", "give --schema (CREATE TABLE statements or a DSN); for the future SET GLOBAL binlog_row_metadata=FULL"
)
NOT_IN_SCHEMA = Omission(
    "the schema has no such table", "give a --schema of the time of the log, or SET GLOBAL binlog_row_metadata=FULL for the future"
)
OTHER_SCHEMA = "the schema given is not of that time"
UNREAD_TYPE = "a column type that is not read"
OLD_TEMPORAL = Omission(
    "temporal columns in the format of before MySQL 5.6", "give --schema: the log does not say whether they have a fraction"
)
UNSIZED = Omission("rows event of a server before 5.1.18", "the log lacks the sizes of its columns: undo it by hand")
SEQUENCE = Omission("a sequence moved on", "nothing is lost; ALTER SEQUENCE … RESTART where an old number is wanted")
VERSIONED = "a table that looks system-versioned"


# The columns of every sequence of MariaDB, which logs its moves as rows.
SEQUENCE_COLUMNS = (
    *("next_not_cached_value", "minimum_value", "maximum_value", "start_value"),
    *("increment", "cache_size", "cycle_option", "cycle_count"),
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
_SIZED = frozenset({wire.VARCHAR, wire.VAR_STRING, wire.VARCHAR_COMPRESSED, wire.STRING})
_OLD_TEMPORALS = frozenset({wire.TIMESTAMP, wire.DATETIME, wire.TIME})


class Layout:
    """One table as the rows events that follow its TABLE_MAP need it.

    Names and columns of the log are there at once; the rest is prepared when rows are first wanted, so that a table nobody
    asked for is never held against the schema.

    Attributes:
        map: what the log says.
        name: `(schema, table)`.
        table: columns with their names; None when there is a `problem`. After `prepare`.
        storages: how the values of its columns lie in an image. After `prepare`.
        reader: reads its rows; None when there is a `problem`. After `prepare`.
        ended: the column that ends a row of a system-versioned table; None for any other. After `prepare`.
        problem: why rows of this table cannot be read. After `prepare`.
        images, heads: for `images`, which makes and keeps there what events with fewer columns need, and how events begin.
    """

    __slots__ = ("_mariadb", "_prepared", "ended", "heads", "images", "map", "name", "problem", "reader", "storages", "table")

    def __init__(self, table_map: wire.TableMap, *, mariadb: bool = False) -> None:
        self.map = table_map
        self.name = (table_map.schema, table_map.name)
        self.table: Table | None = None
        self.storages: list[Storage] = []
        self.reader: RowReader | None = None
        self.ended: int | None = None
        self.problem: Omission | None = None
        self.images: dict[Any, Any] = {}
        self.heads: dict[int, Any] = {}
        self._mariadb = mariadb
        self._prepared = False

    def prepare(self, catalog: Catalog | None, where: str) -> None:
        """Find names and make the reader. Raises UnsupportedLog for a character set nobody knows, MalformedLog."""
        if not self._prepared:
            self.problem = self._prepare(catalog, where)
            self._prepared = True

    def _prepare(self, catalog: Catalog | None, where: str) -> Omission | None:
        title = ".".join(self.name)
        if not self.map.sized:
            return UNSIZED
        strange = [column for column in self.map.columns if column.code not in FIELDS]
        if strange:
            return Omission(UNREAD_TYPE, f"column type {strange[0].code} of {title}")
        table, problem = self._described(catalog, where)
        if table is None or problem is not None:
            return problem
        if tuple(column.name for column in table.columns) == SEQUENCE_COLUMNS and self._mariadb:
            return SEQUENCE
        try:
            self.storages = [self._storage(*pair, where) for pair in zip(self.map.columns, table.columns, strict=True)]
            self.reader = RowReader(self.storages)
        except ValueError as error:
            raise MalformedLog(f"a column of table {title} that no server makes: {error}", where=where) from None
        self.table = table
        return None

    def _described(self, catalog: Catalog | None, where: str) -> tuple[Table | None, Omission | None]:
        """Return the table by the schema or, where that lacks or does not fit it, by the log; or why neither describes it."""
        title = ".".join(self.name)
        known = None if catalog is None else catalog.find(*self.name)
        if known is not None:
            try:
                table = self._from_schema(known, where)
                self.ended = known.ended
            except SchemaMismatch as error:
                if not self.map.named:
                    return None, Omission(OTHER_SCHEMA, f"{error.what}; {error.hint}")
                import logging  # noqa: PLC0415 - takes long to import

                logging.getLogger(__name__).warning("%s; the log's own description is used", error)
            else:
                return table, None
        if not self.map.named:
            return None, NO_NAMES if catalog is None else NOT_IN_SCHEMA
        if any(column.code in _OLD_TEMPORALS for column in self.map.columns):
            return None, OLD_TEMPORAL
        if self._mariadb and tuple(column.name for column in self.map.columns[-2:]) == VERSION_COLUMNS:
            return None, Omission(VERSIONED, f"give --schema: only that says whether {title} is WITH SYSTEM VERSIONING")
        return self._from_log(where), None

    def _from_log(self, where: str) -> Table:
        columns = []
        for column in self.map.columns:
            charset = self._charset(column, column.name or "", where)
            columns.append(Column(column.name or "", _type_name(column), bool(column.unsigned), charset, column.labels or ()))
        return Table(*self.name, tuple(columns), self.map.key or ())

    def _charset(self, column: wire.WireColumn, name: str, where: str) -> str:
        try:
            return column.charset or ""
        except UnsupportedLog as error:
            what = f"table {'.'.join(self.name)}, column {name}: {error.what}"
            raise UnsupportedLog(what, where=where, hint=f"give --schema; {error.hint}") from None

    def _from_schema(self, known: SchemaTable, where: str) -> Table:
        known.check([(column.code, column.meta) for column in self.map.columns], where)
        table = known.table
        for ours, theirs in zip(self.map.columns, table.columns, strict=True):
            _agree(".".join(self.name), theirs, ours, where)
        return Table(*self.name, table.columns, table.key, table.dependents)

    def _storage(self, column: wire.WireColumn, known: Column, where: str) -> Storage:
        if column.code in _OLD_TEMPORALS:
            digits = known.type.partition("(")[2].rstrip(")")
            return Storage(column.code, int(digits or 0))
        charset = known.charset if column.code in _TEXTUAL else ""
        if known.type in ADDRESSES:
            charset = known.type
        return Storage(column.code, column.meta, known.unsigned, charset or self._charset(column, known.name, where) or "binary")


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
    if column.code in _SIZED:
        name = "char" if column.code == wire.STRING else "varchar"
        meta = column.meta - (column.code == wire.VARCHAR_COMPRESSED)  # one byte is for how it is compressed
        size = meta if binary else meta // BYTES_PER_CHARACTER[column.charset or ""]
        return f"{'binary' if name == 'char' else 'varbinary'}({size})" if binary else f"{name}({size})"
    return _BLOBS.get(column.meta, "") + ("blob" if binary else "text")


class Layouts:
    """Layouts by the bytes of their TABLE_MAP, of one vendor's logs.

    Attributes:
        known: what `plain` keeps of the layouts, for as long as these are kept.
    """

    def __init__(self, *, mariadb: bool = False) -> None:
        self._mariadb = mariadb
        self._layouts: dict[bytes, Layout] = {}
        self.known: dict[bytes, tuple[Layout, bytes, dict[int, Any]]] = {}

    def seen(self, body: bytes) -> Layout | None:
        """Return the layout of a TABLE_MAP body that was found before; None for any other."""
        return self._layouts.get(body)

    def find(self, body: bytes, where: str) -> Layout:
        """Return the layout of a TABLE_MAP body that begins after table id and flags. Raises MalformedLog."""
        found = self._layouts.get(body)
        if found is None:
            if len(self._layouts) >= LAYOUTS_MAX:
                self._layouts.clear()
                self.known.clear()
            found = self._layouts[body] = Layout(wire.read_table_map(body, where, mariadb=self._mariadb), mariadb=self._mariadb)
        return found
