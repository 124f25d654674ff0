"""What a schema file or a live server says of tables: names, types, character sets, keys. Not what a log says of them.

Law: CREATE TABLE statements are the one description; a live server is asked for its own (SHOW CREATE TABLE), which also has what
information_schema leaves out: an account that may not see a table is told so. Nothing of a definition is passed over that could
change what a column is. A statement is cut out of the text here (strings, comments, DELIMITER), its tokens are sqlglot's, and the
definitions are read here: no parser at hand knows all that servers print (PERIOD FOR, FLOAT UNSIGNED, COMPRESSED, row versions).

    text             what becomes of it
    CREATE TABLE     a table
    USE              the schema of the names that follow
    CREATE DATABASE  the character set of tables that state none
    DROP TABLE       the table is forgotten (dumps make one for each view, and drop it)
    _PASSED_OVER     nothing: data, settings, views, triggers, routines
    anything else    InvalidInput (ALTER TABLE, CREATE TABLE … LIKE: they need what the file does not hold)

    /*!80023 text */ is read as text, whatever the version; /*!99… and /*M!99… are comments for every server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
import os
import re
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import parse_qsl, unquote, urlsplit

from dblog_tasks.errors import InvalidInput, SchemaMismatch, StorageError
from dblog_tasks.event import Column, Table
from dblog_tasks.mysql import table_map as wire
from dblog_tasks.mysql.charsets import BYTES_PER_CHARACTER, charset_named

if TYPE_CHECKING:
    import pymysql

Name = tuple[str, str]


@dataclass(frozen=True, slots=True)
class SchemaTable:
    """A table as its CREATE TABLE has it.

    Attributes:
        table: name, columns in the order of the log's rows (with the two that MariaDB hides in a table WITH SYSTEM VERSIONING), key.
        nullable: for each column whether it can be NULL.
    """

    table: Table
    nullable: tuple[bool, ...]

    def check(self, columns: Sequence[tuple[int, int]], where: str) -> None:
        """Ensure that the log's columns, as (type code, metadata) of `table_map.WireColumn`, are these. Raises SchemaMismatch."""
        name, ours = f"table {self.table.schema}.{self.table.name}", self.table.columns
        if len(columns) != len(ours):
            raise _mismatch(f"{name}: the log has {len(columns)} columns, the schema {len(ours)}", where)
        for column, (code, meta) in zip(ours, columns, strict=True):
            logged, expected = _logged(code, meta), _expected(column)
            if logged not in expected:
                raise _mismatch(f"{name}, column {column.name}: the log has {logged}, the schema {column.type} ({expected[0]})", where)


def _mismatch(what: str, where: str) -> SchemaMismatch:
    return SchemaMismatch(what, where=where, hint="give a --schema of the time of the log")


@dataclass(frozen=True, slots=True)
class Catalog:
    """Tables by (schema, name).

    Attributes:
        tables: what is known; schema is empty for tables of a file that names none.
        unreadable: tables that are there but cannot be described, and why.
        seen: schemas of which every table is known or unreadable; None: all of them.
    """

    tables: Mapping[Name, SchemaTable]
    unreadable: Mapping[Name, str] = field(default_factory=dict)
    seen: frozenset[str] | None = None

    def find(self, schema: str, name: str) -> SchemaTable | None:
        """Return the table; one of a file without schemas stands for every schema, unless the file also has it in a named one.

        None: there is none. Raises InvalidInput when there may be one that the account cannot see.
        """
        reason = self.unreadable.get((schema, name))
        if reason is not None:
            raise InvalidInput(f"table {schema}.{name} cannot be described: {reason}", where="schema")
        found = self.tables.get((schema, name))
        if found is None and sum(other == name for _, other in self.tables) == 1:
            found = self.tables.get(("", name))
        if found is None and self.seen is not None and schema not in self.seen:
            raise InvalidInput(
                f"table {schema}.{name} is not to be seen: it may not exist, or the account may lack the right",
                where="schema",
                hint=f"GRANT SELECT ON {_quote(schema)}.* TO the account, and name no other schema in the DSN",
            )
        return found and replace(found, table=replace(found.table, schema=schema))


# ---- what the log says, and what a column looks like there: both in the same words


def _logged(code: int, meta: int) -> str:
    words = _LOGGED.get(code)
    return f"type code {code}" if words is None else words(meta)


def _expected(column: Column) -> tuple[str, ...]:
    """Return how the column can appear in a log, the usual way first."""
    name, _, sizes = column.type.partition("(")
    size = int(sizes[:-1]) if sizes[:-1].isdigit() else 0
    if name in ("char", "varchar"):
        return (f"{name} of {size * BYTES_PER_CHARACTER[column.charset]} bytes",)
    if name in ("enum", "set"):
        count = len(column.labels)
        return (f"{name} of {(1 if count < 256 else 2) if name == 'enum' else _set_bytes(count)} bytes",)
    return tuple(words.format(size=size) for words in _EXPECTED.get(name, (column.type,)))


def _set_bytes(members: int) -> int:
    return 8 if members > 32 else (members + 7) // 8


def _always(words: str) -> Callable[[int], str]:
    return lambda _: words


def _bytes(name: str) -> Callable[[int], str]:
    return lambda meta: f"{name} of {meta} bytes"


def _fraction(name: str) -> Callable[[int], str]:
    return lambda meta: f"{name}({meta})" if meta else name


_BLOB = "text or blob with {} bytes of length"
_OLD = " of the old format"

_LOGGED: Mapping[int, Callable[[int], str]] = {
    wire.TINY: _always("tinyint"),
    wire.SHORT: _always("smallint"),
    wire.INT24: _always("mediumint"),
    wire.LONG: _always("int"),
    wire.LONGLONG: _always("bigint"),
    wire.FLOAT: _always("float"),
    wire.DOUBLE: _always("double"),
    wire.YEAR: _always("year"),
    wire.DATE: _always("date"),
    wire.NEWDATE: _always("date"),
    wire.TIME: _always("time" + _OLD),
    wire.DATETIME: _always("datetime" + _OLD),
    wire.TIMESTAMP: _always("timestamp" + _OLD),
    wire.TIME2: _fraction("time"),
    wire.DATETIME2: _fraction("datetime"),
    wire.TIMESTAMP2: _fraction("timestamp"),
    wire.NEWDECIMAL: lambda meta: f"decimal({meta >> 8},{meta & 0xFF})",
    wire.BIT: lambda meta: f"bit({meta})",
    wire.STRING: _bytes("char"),
    wire.VARCHAR: _bytes("varchar"),
    wire.VAR_STRING: _bytes("varchar"),
    wire.VARCHAR_COMPRESSED: _bytes("varchar"),
    wire.ENUM: _bytes("enum"),
    wire.SET: _bytes("set"),
    wire.BLOB: _BLOB.format,
    wire.BLOB_COMPRESSED: _BLOB.format,
    wire.JSON: _always("json"),
    wire.GEOMETRY: _always("geometry"),
    wire.VECTOR: _always("vector"),
}

# Columns whose words in the log are not their type. JSON on MariaDB is LONGTEXT.
_EXPECTED: Mapping[str, tuple[str, ...]] = {
    "binary": ("char of {size} bytes",),
    "varbinary": ("varchar of {size} bytes",),
    **dict.fromkeys(("tinytext", "tinyblob"), (_BLOB.format(1),)),
    **dict.fromkeys(("text", "blob"), (_BLOB.format(2),)),
    **dict.fromkeys(("mediumtext", "mediumblob"), (_BLOB.format(3),)),
    **dict.fromkeys(("longtext", "longblob"), (_BLOB.format(4),)),
    "json": ("json", _BLOB.format(4)),
    "uuid": ("char of 16 bytes",),
    "inet6": ("char of 16 bytes",),
    "inet4": ("char of 4 bytes",),
}
