"""What a schema file or a live server says of tables, and whether a log speaks of the same ones.

Law: CREATE TABLE statements are the one description. A live server is asked for its own (SHOW CREATE TABLE): unlike
information_schema it has all columns of the rows, and refuses where an account may not see some. What cannot be seen is never
taken for what is not there. Secrets are in no message.

    mysql://user@host:port/schema?option=value    _OPTIONS; without a schema: all of the server's
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from dblog_tasks.errors import InvalidInput, SchemaMismatch, StorageError, TargetError
from dblog_tasks.event import Column, Dependent, Table
from dblog_tasks.mysql import table_map as wire
from dblog_tasks.mysql.charsets import BYTES_PER_CHARACTER
from dblog_tasks.mysql.create_table import ForeignKey, Name, read_tables

if TYPE_CHECKING:
    import pymysql


@dataclass(frozen=True, slots=True)
class SchemaTable:
    """A table as its CREATE TABLE has it.

    Attributes:
        table: name, columns in the order of the log's rows (with the two that MariaDB hides in a table WITH SYSTEM VERSIONING), key.
        nullable: for each column whether it can be NULL.
        ended: which column ends a row, in a table WITH SYSTEM VERSIONING; None in any other.
        foreign_keys: what it holds of other tables' keys.
    """

    table: Table
    nullable: tuple[bool, ...]
    ended: int | None = None
    foreign_keys: tuple[ForeignKey, ...] = ()

    def check(self, columns: Sequence[tuple[int, int]], where: str) -> None:
        """Ensure that the log's columns, as (type code, metadata) of `table_map.WireColumn`, are these. Raises SchemaMismatch."""
        name, ours = f"table {self.table.schema}.{self.table.name}", self.table.columns
        if len(columns) != len(ours):
            raise _mismatch(f"{name}: the log has {len(columns)} columns, the schema {len(ours)}", where)
        for column, (code, meta) in zip(ours, columns, strict=True):
            logged, expected = _logged(code, meta), _expected(column)
            if logged not in expected and not (column.type == "vector" and code == wire.VARCHAR and meta % 4 == 0):
                usual = "" if column.type in expected else f" ({expected[0]})"
                raise _mismatch(f"{name}, column {column.name}: the log has {logged}, the schema {column.type}{usual}", where)


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
                hint=f"GRANT SELECT ON {_quoted(schema)}.* TO the account, and name no other schema in the DSN",
            )
        return found and replace(found, table=found.table._replace(schema=schema, dependents=self._dependents(schema, name)))

    def _dependents(self, schema: str, name: str) -> tuple[Dependent, ...]:
        """Return what foreign keys take along when a row of a table is deleted."""
        return tuple(
            Dependent(child[0] or schema, child[1], key.columns, key.parent_columns)
            for child, known in self.tables.items()
            for key in known.foreign_keys
            if key.on_delete and key.parent in ((schema, name), ("", name))
        )


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
    return tuple(words.format(size=size, type=column.type) for words in _EXPECTED.get(name, ("{type}",)))


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
    wire.VARCHAR_COMPRESSED: lambda meta: f"varchar of {meta - 1} bytes",  # one is for how it is compressed
    wire.ENUM: _bytes("enum"),
    wire.SET: _bytes("set"),
    wire.BLOB: _BLOB.format,
    wire.BLOB_COMPRESSED: _BLOB.format,
    wire.JSON: _always("json"),
    wire.GEOMETRY: _always("geometry"),
    wire.VECTOR: _always("vector"),
}

# Columns whose words in the log are not their type. JSON on MariaDB is LONGTEXT, VECTOR a VARBINARY of 4 bytes a number.
_EXPECTED: Mapping[str, tuple[str, ...]] = {
    **{name: ("{type}", name + _OLD) for name in ("time", "datetime", "timestamp")},
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


# ---- a schema file, a live server


def read_schema(text: str, default_schema: str = "") -> Catalog:
    """Return the tables of a file of CREATE TABLE statements, as mysqldump --no-data writes them.

    `default_schema` is for tables before any USE. Raises InvalidInput naming line, table and column.
    """
    return Catalog({name: SchemaTable(*found) for name, found in read_tables(text, default_schema).items()})


def live_catalog(dsn: str, password: str | None = None) -> Catalog:
    """Return the tables of a running server that the account may see.

    Raises InvalidInput for a DSN that cannot be used, StorageError when the server cannot be reached or asked.
    """
    with closing(connect(dsn, password)) as connection:
        import pymysql  # noqa: PLC0415 - an extra

        try:
            return _ask(connection.cursor(), lambda error: isinstance(error, pymysql.MySQLError) and error.args[0] < 2000)
        except (pymysql.MySQLError, OSError, ValueError) as error:
            raise StorageError(f"the server cannot be asked for its tables: {_words(error)}", where=_shown(_split(dsn))) from None


def connect(dsn: str, password: str | None = None, **settings: Any) -> pymysql.Connection[Any]:
    """Return a connection to the server a DSN names; text is utf8mb4. `settings` are PyMySQL's, over those of the DSN.

    Without `password` it is taken from the environment: the variable of `?password=env:NAME`, else DBLOG_PASSWORD, else MYSQL_PWD; a
    client option file (`?read_default_file=`) gives what neither says. Raises as `live_catalog` does.
    """
    try:
        import pymysql  # noqa: PLC0415 - an extra
    except ImportError:
        raise InvalidInput("a live MySQL server needs the package pymysql", hint="pip install 'dblog-tasks[mysql]'") from None
    parts = _split(dsn)
    options, named = _options(parts)
    secret = _password(named) if password is None else password
    try:
        return pymysql.connect(
            host=parts.hostname or (None if "read_default_file" in options else "localhost"),
            port=parts.port or (0 if "read_default_file" in options else 3306),
            user=unquote(parts.username or "") or None,
            password=secret,
            database=unquote(parts.path.strip("/")) or None,
            charset="utf8mb4",
            **options | settings,
        )
    except Exception as error:  # noqa: BLE001 - what is not a MySQL server makes PyMySQL raise anything
        words = _words(error).replace(secret, "***") if secret else _words(error)
        raise StorageError(f"cannot connect: {words}", where=_shown(parts)) from None


@contextmanager
def asking(dsn: str, password: str | None = None) -> Iterator[Callable[[str], list[tuple[str | None, ...]]]]:
    """Give what returns the rows of a query as text. Raises as `live_catalog` does, TargetError for what the server will not answer."""
    with closing(connect(dsn, password, autocommit=True)) as connection:
        import pymysql  # noqa: PLC0415 - an extra

        def ask(query: str) -> list[tuple[str | None, ...]]:
            try:
                with connection.cursor() as cursor:
                    cursor.execute(query)
                    return [tuple(None if value is None else str(value) for value in row) for row in cursor.fetchall()]
            except (pymysql.MySQLError, OSError, ValueError) as error:
                if isinstance(error, pymysql.MySQLError) and isinstance(error.args[0], int) and error.args[0] < 2000:
                    raise TargetError(f"the server says: {_words(error)}", where=_shown(_split(dsn))) from None
                raise StorageError(f"the server cannot be asked: {_words(error)}", where=_shown(_split(dsn))) from None

        yield ask


# What a DSN may say after its question mark, beside password=env:NAME.
_OPTIONS: Mapping[str, Callable[[str], Any]] = {
    "unix_socket": str,
    "read_default_file": str,
    "ssl_ca": str,
    "ssl_cert": str,
    "ssl_key": str,
    "ssl_verify_identity": lambda value: value.lower() in ("1", "true", "yes"),
    "connect_timeout": int,
    "read_timeout": int,
}
_DSN_HINT = "mysql://user@host:port/schema?unix_socket=PATH"
_PASSWORD_HINT = "set DBLOG_PASSWORD or MYSQL_PWD in the environment, or write ?password=env:NAME"  # noqa: S105 - no password


def _split(dsn: str) -> SplitResult:
    try:
        parts = urlsplit(dsn)
        secret, _ = parts.password, parts.port
    except ValueError:
        raise InvalidInput("the DSN is no URL", hint=_DSN_HINT) from None
    if parts.scheme not in ("mysql", "mariadb"):
        raise InvalidInput("the DSN does not begin with mysql://", hint=_DSN_HINT)
    if secret is not None or "@" in parts.path + parts.fragment:
        raise InvalidInput("the DSN holds a password, which logs and process lists would show", hint=_PASSWORD_HINT)
    return parts


def _options(parts: SplitResult) -> tuple[dict[str, Any], str]:
    """Return the options of a DSN, and the environment variable it names for the password."""
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    named = options.pop("password", "")
    if named and not named.startswith("env:"):
        raise InvalidInput("the DSN holds a password, which logs and process lists would show", hint=_PASSWORD_HINT)
    for name, value in options.items():
        read = _OPTIONS.get(name)
        if read is None or (read is int and not (value.isascii() and value.isdigit())):
            raise InvalidInput(
                f"the DSN's option {name!r:.40} is not known or no number", hint=f"known are password, {', '.join(_OPTIONS)}"
            )
    return {name: _OPTIONS[name](value[:4096]) for name, value in options.items()}, named.removeprefix("env:")


def _password(variable: str) -> str:
    if variable and variable not in os.environ:
        raise InvalidInput(f"the environment has no variable {variable!r:.80}, which the DSN names for the password")
    return os.environ[variable] if variable else os.environ.get("DBLOG_PASSWORD", os.environ.get("MYSQL_PWD", ""))


def _shown(parts: SplitResult) -> str:
    return f"{parts.scheme}://{parts.netloc}{parts.path}"


def _words(error: Exception) -> str:
    return " ".join(map(str, error.args)) or type(error).__name__


_SESSION = (
    "SET SESSION sql_mode = '', sql_quote_show_create = 1, lock_wait_timeout = 30",
    "/*!80030 SET SESSION show_gipk_in_create_table_and_information_schema = ON */",  # no MariaDB reads 50700 to 99999
)
_TABLES = (
    "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES WHERE TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED', 'SEQUENCE')"
    " AND TABLE_SCHEMA NOT IN ('information_schema', 'performance_schema', 'mysql', 'sys')"
    " AND TABLE_SCHEMA = COALESCE(DATABASE(), TABLE_SCHEMA)"
)
_SEES_ALL = "SELECT 1 FROM information_schema.USER_PRIVILEGES WHERE PRIVILEGE_TYPE = 'SELECT' AND DATABASE() IS NULL"
_SEEN = (
    "SELECT s.SCHEMA_NAME FROM information_schema.SCHEMATA s WHERE s.SCHEMA_NAME = COALESCE(DATABASE(), s.SCHEMA_NAME) AND ("
    "EXISTS (SELECT 1 FROM information_schema.USER_PRIVILEGES u WHERE u.PRIVILEGE_TYPE = 'SELECT') OR"
    " EXISTS (SELECT 1 FROM information_schema.SCHEMA_PRIVILEGES p"
    " WHERE p.PRIVILEGE_TYPE = 'SELECT' AND s.SCHEMA_NAME LIKE p.TABLE_SCHEMA))"
)


def _ask(cursor: pymysql.cursors.Cursor, refused: Callable[[Exception], bool]) -> Catalog:
    """Read every table to be seen; `refused` tells a server's answer about one table from a lost connection."""
    for statement in _SESSION:
        cursor.execute(statement)
    sees_all = cursor.execute(_SEES_ALL) > 0
    cursor.execute(_SEEN)
    seen = frozenset(schema for (schema,) in cursor.fetchall())
    cursor.execute(_TABLES)
    tables: dict[Name, SchemaTable] = {}
    unreadable: dict[Name, str] = {}
    for name in cursor.fetchall():
        try:
            cursor.execute("SHOW CREATE TABLE {}.{}".format(*map(_quoted, name)))
            ((_, definition, *_),) = cursor.fetchall()
            tables |= read_schema(definition, name[0]).tables
        except InvalidInput as error:
            unreadable[name] = str(error)
        except Exception as error:
            if not refused(error):
                raise
            unreadable[name] = _words(error)
    return Catalog(tables, unreadable, None if sees_all else seen)


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
