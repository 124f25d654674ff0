"""CREATE TABLE statements, as the servers print them and dumps hold them: text in, tables out. No I/O.

Law: nothing of a definition is passed over that could change what a column is: it raises InvalidInput with line, table and column.

    statement        what becomes of it
    CREATE TABLE     a table (CREATE SEQUENCE too)
    USE              the schema of the names that follow
    CREATE DATABASE  the character set of its tables that state none (also ALTER DATABASE)
    DROP TABLE       the table is forgotten: old dumps make one for each view, and drop it (also DROP DATABASE)
    _PASSED_OVER     nothing: data, settings, views, triggers, routines
    any other        an error: ALTER TABLE, RENAME, CREATE UNIQUE INDEX change tables in ways that are not followed

Sources: the grammar in the manuals of MySQL 9.7 and MariaDB 11.8; SHOW CREATE TABLE of MySQL 9.7.4 and MariaDB 10.11.19. It is
read here because sqlglot's parser does not know all that they print (PERIOD FOR, FLOAT UNSIGNED, COMPRESSED, row versions).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
import re
from typing import NamedTuple

from dblog_tasks.errors import InvalidInput
from dblog_tasks.event import Column, Table
from dblog_tasks.mysql.column_definition import Draft, column_of, read_charset, read_column, settle
from dblog_tasks.mysql.statements import Cursor, statements

Name = tuple[str, str]


class ForeignKey(NamedTuple):
    """Columns that hold a key of another table, and what becomes of them with it: CASCADE, SET, or empty for nothing."""

    columns: tuple[str, ...]
    parent: Name
    parent_columns: tuple[str, ...]
    on_delete: str = ""
    on_update: str = ""


class Definition(NamedTuple):
    """A table, for each of its columns whether it can be NULL, which of them ends a row (WITH SYSTEM VERSIONING), foreign keys."""

    table: Table
    nullable: tuple[bool, ...]
    ended: int | None = None
    foreign_keys: tuple[ForeignKey, ...] = ()


@dataclass(slots=True)
class _Dump:
    """What the statements read so far add up to: current schema, tables, and the character set of each schema."""

    schema: str
    tables: dict[Name, Definition] = field(default_factory=dict)
    charsets: dict[str, str] = field(default_factory=dict)


def read_tables(text: str, default_schema: str = "") -> dict[Name, Definition]:
    """Return the tables of a dump by (schema, name); schema is empty where neither the text nor `default_schema` names one."""
    dump = _Dump(default_schema)
    for line, statement in statements(text):
        for pattern, read in _STATEMENTS:
            if pattern.match(statement):
                read(dump, statement, line)
                break
    return dump.tables


def _use(dump: _Dump, statement: str, line: int) -> None:
    cursor = Cursor(statement, line)
    cursor.expect("USE")
    dump.schema = cursor.name()


def _database(dump: _Dump, statement: str, line: int) -> None:
    cursor = Cursor(statement, line)
    cursor.skip_words("CREATE", "ALTER", "OR", "REPLACE", "DATABASE", "SCHEMA", "IF", "NOT", "EXISTS")
    schema = dump.schema if cursor.peek().word in ("DEFAULT", "CHARACTER", "CHARSET", "COLLATE") else cursor.name()
    charset = _options(cursor).charset
    if charset:
        dump.charsets[schema] = charset


def _drop_database(dump: _Dump, statement: str, line: int) -> None:
    cursor = Cursor(statement, line)
    cursor.skip_words("DROP", "DATABASE", "SCHEMA", "IF", "EXISTS")
    schema = cursor.name()
    dump.tables = {name: table for name, table in dump.tables.items() if name[0] != schema}


def _drop_table(dump: _Dump, statement: str, line: int) -> None:
    cursor = Cursor(statement, line)
    cursor.skip_words("DROP", "TABLE", "SEQUENCE", "IF", "EXISTS")
    dump.tables.pop(cursor.qualified(dump.schema), None)
    while cursor.accept(","):
        dump.tables.pop(cursor.qualified(dump.schema), None)


def _create_table(dump: _Dump, statement: str, line: int) -> None:
    cursor = Cursor(statement, line)
    cursor.expect("CREATE")
    again = cursor.accept("OR", "REPLACE")
    cursor.expect("TABLE")
    kept = cursor.accept("IF", "NOT", "EXISTS")
    name = cursor.qualified(dump.schema)
    cursor.where += f", table {'.'.join(filter(None, name))}"
    if name in dump.tables and not again:
        if kept:
            return
        cursor.refuse("the table is defined twice", "give one dump, of the time of the log")
    dump.tables[name] = _definition(cursor, name, dump.charsets.get(name[0], ""))


def _create_sequence(dump: _Dump, statement: str, line: int) -> None:
    cursor = Cursor(statement, line)
    cursor.skip_words("CREATE", "OR", "REPLACE", "SEQUENCE", "IF", "NOT", "EXISTS")
    name = cursor.qualified(dump.schema)
    if cursor.accept("AS") and not (cursor.accept("BIGINT") and not cursor.sees("UNSIGNED")):
        cursor.refuse("a sequence of another type than BIGINT is not followed", "give its SHOW CREATE TABLE")
    dump.tables[name] = _definition(Cursor(_SEQUENCE, line), name, "")


# The columns of every sequence of MariaDB, which logs its changes as rows.
_SEQUENCE = """(
    next_not_cached_value bigint not null, minimum_value bigint not null, maximum_value bigint not null, start_value bigint not null,
    increment bigint not null, cache_size bigint unsigned not null, cycle_option tinyint unsigned not null, cycle_count bigint not null)
"""


def _pass_over(dump: _Dump, statement: str, line: int) -> None:
    """Leave a statement alone that changes no table."""


def _refuse(dump: _Dump, statement: str, line: int) -> None:
    words = " ".join(statement.split())
    hint = "give the CREATE TABLE statements as they were at the time of the log, as mysqldump --no-data writes them"
    raise InvalidInput(f"a statement that is not followed: {words:.60}", where=f"schema, line {line}", hint=hint)


_DEFINER = r"DEFINER\s*=\s*(?:`[^`]*`|'[^']*'|[^\s`'@]+)(?:\s*@\s*(?:`[^`]*`|'[^']*'|[^\s`']+))?"
_BEFORE_KIND = rf"(?:(?:OR\s+REPLACE|ALGORITHM\s*=\s*\w+|{_DEFINER}|SQL\s+SECURITY\s+\w+|AGGREGATE|TEMPORARY|FULLTEXT|SPATIAL)\s+)*+"
_PASSED_OVER = (
    r"\Z",
    r"(?:SET|LOCK|UNLOCK|INSERT|REPLACE|DELETE|UPDATE|TRUNCATE|LOAD|SELECT|SHOW|CALL|DO|XA)\b",
    r"(?:START|BEGIN|COMMIT|ROLLBACK|SAVEPOINT|PREPARE|EXECUTE|DEALLOCATE)\b",
    r"(?:ANALYZE|OPTIMIZE|FLUSH|RESET|STOP|CHANGE|GRANT|REVOKE|INSTALL)\b",
    rf"CREATE\s+{_BEFORE_KIND}(?:VIEW|TRIGGER|PROCEDURE|FUNCTION|EVENT|PACKAGE|USER|ROLE|SERVER|INDEX|TABLESPACE|LOGFILE)\b",
    r"CREATE\s+TEMPORARY\s+TABLE\b",
    r"(?:ALTER|DROP)\s+(?:VIEW|TRIGGER|PROCEDURE|FUNCTION|EVENT|PACKAGE|USER|ROLE|SERVER|TEMPORARY)\b",
    r"ALTER\s+TABLE\s+(?:`(?:[^`]|``)+`|[^\s`]+)\s+(?:DIS|EN)ABLE\s+KEYS\s*\Z",
)
_STATEMENTS: Sequence[tuple[re.Pattern[str], Callable[[_Dump, str, int], None]]] = [
    (re.compile(pattern, re.IGNORECASE), read)
    for pattern, read in (
        (r"USE\b", _use),
        (r"(?:CREATE(?:\s+OR\s+REPLACE)?|ALTER)\s+(?:DATABASE|SCHEMA)\b", _database),
        (r"DROP\s+(?:DATABASE|SCHEMA)\b", _drop_database),
        (r"CREATE\s+(?:OR\s+REPLACE\s+)?TABLE\b", _create_table),
        (r"CREATE\s+(?:OR\s+REPLACE\s+)?SEQUENCE\b", _create_sequence),
        (r"DROP\s+(?:TABLE|SEQUENCE)\b", _drop_table),
        ("|".join(_PASSED_OVER), _pass_over),
        ("", _refuse),
    )
]


# ---- a table


@dataclass(slots=True)
class _Body:
    """What stands between the parentheses. A part of a key is a column's or a period's name, None for an expression."""

    columns: list[Draft] = field(default_factory=list)
    primary: list[str | None] = field(default_factory=list)
    unique: list[list[str | None]] = field(default_factory=list)
    periods: dict[str, list[str]] = field(default_factory=dict)
    foreign_keys: list[ForeignKey] = field(default_factory=list)
    schema: str = ""


class _Options(NamedTuple):
    """What stands after the parentheses."""

    charset: str
    versioned: bool


def _definition(cursor: Cursor, name: Name, charset: str) -> Definition:
    if cursor.sees("LIKE") or cursor.sees("(", "LIKE"):
        cursor.refuse("CREATE TABLE … LIKE does not say what the columns are", "give the table's own SHOW CREATE TABLE")
    body, where = _Body(schema=name[0]), cursor.where
    cursor.list_of(lambda: _item(cursor, body))
    options = _options(cursor)
    default = options.charset or charset
    for draft in body.columns:
        cursor.where = f"{where}, column {draft.name}"
        settle(cursor, draft, default)
    cursor.where = where
    hidden = options.versioned or any(draft.versioned for draft in body.columns)
    return _assemble(cursor, name, body, hidden=hidden and not any(draft.row_version for draft in body.columns))


def _assemble(cursor: Cursor, name: Name, body: _Body, *, hidden: bool) -> Definition:
    """Return the table; `hidden`: MariaDB adds two columns, unseen but logged, and the last one to every unique key."""
    places = {draft.name.lower(): place for place, draft in enumerate(body.columns)}
    if len(places) != len(body.columns) or not places:
        cursor.refuse("a table needs columns, each of another name")
    primary = _places(cursor, body.primary, body, places) or ()
    for place in primary:
        body.columns[place].nullable = False
    nullable = [draft.nullable is not False for draft in body.columns]
    keys = [primary, *(_places(cursor, parts, body, places) for parts in body.unique)]
    key = next((key for key in keys if key and not any(nullable[place] for place in key)), ())
    columns = [*map(column_of, body.columns)]
    if hidden:
        columns += [Column(end, "timestamp(6)", generated=True, auto_update=False) for end in ("row_start", "row_end")]
        key = key and (*key, len(columns) - 1)
    ended = len(columns) - 1 if hidden else next((at for at, draft in enumerate(body.columns) if draft.row_end), None)
    nulls = (*nullable, *[False] * (len(columns) - len(nullable)))
    return Definition(Table(*name, tuple(columns), key), nulls, ended, tuple(body.foreign_keys))


def _places(cursor: Cursor, parts: Sequence[str | None], body: _Body, places: Mapping[str, int]) -> tuple[int, ...] | None:
    """Return the columns of a key, those of a period among them; None when a part is an expression."""
    if None in parts:
        return None
    names = [name for part in parts if part is not None for name in body.periods.get(part.lower(), [part])]
    unknown = [name for name in names if name.lower() not in places]
    if unknown:
        cursor.refuse(f"a key is over {unknown[0]!r:.40}, which is no column")
    return tuple(places[name.lower()] for name in names)


def _options(cursor: Cursor) -> _Options:
    """Read what follows a table's or a database's name and columns, up to the end."""
    charset, collation, versioned = "", "", False
    while not cursor.ended:
        if cursor.accept("CHARSET") or cursor.accept("CHARACTER", "SET") or cursor.accept("CHAR", "SET"):
            charset = read_charset(cursor)
        elif cursor.accept("COLLATE"):
            collation = read_charset(cursor)
        elif cursor.accept("WITH", "SYSTEM", "VERSIONING"):
            versioned = True
        elif cursor.peek().word in _QUERY_WORDS:
            cursor.refuse("a table made of a query does not say what its columns are", "give the table's own SHOW CREATE TABLE")
        elif cursor.sees("("):
            cursor.skip_group()
        else:
            cursor.take()
    return _Options(charset or collation, versioned)


_QUERY_WORDS = frozenset({"SELECT", "AS", "LIKE", "TABLE", "VALUES", "WITH"})


def _item(cursor: Cursor, body: _Body) -> None:
    """Read a column, key or constraint."""
    if cursor.accept("CONSTRAINT"):
        if cursor.peek().word not in _CONSTRAINTS:
            cursor.name()
        if cursor.peek().word not in _CONSTRAINTS:
            cursor.fail("a constraint")
    if cursor.accept("PRIMARY", "KEY"):
        body.primary = _key_parts(cursor)
    elif cursor.accept("UNIQUE"):
        body.unique.append(_key_parts(cursor))
    elif cursor.accept("PERIOD", "FOR"):
        period = cursor.name().lower()
        body.periods[period] = cursor.list_of(cursor.name)
    elif cursor.accept("FOREIGN", "KEY"):
        body.foreign_keys.append(_foreign_key(cursor, body.schema))
    elif any(cursor.sees(*words) for words in _IDLE_ITEMS):
        cursor.skip_to(",", ")")
    else:
        draft = read_column(cursor)
        body.columns.append(draft)
        if draft.primary:
            body.primary = [draft.name]
        if draft.unique:
            body.unique.append([draft.name])


_CONSTRAINTS = ("PRIMARY", "UNIQUE", "FOREIGN", "CHECK")
_IDLE_ITEMS = (("KEY",), ("INDEX",), ("FULLTEXT",), ("SPATIAL",), ("CHECK",), ("VECTOR", "KEY"), ("VECTOR", "INDEX"))


def _foreign_key(cursor: Cursor, schema: str) -> ForeignKey:
    """Read a foreign key from behind its first words, and go to its end."""
    while not cursor.ended and not cursor.sees("("):
        cursor.take()
    columns = tuple(cursor.list_of(cursor.name))
    cursor.expect("REFERENCES")
    parent = cursor.qualified(schema)
    parents = tuple(cursor.list_of(cursor.name)) if cursor.sees("(") else ()
    actions = {"DELETE": "", "UPDATE": ""}
    while not cursor.ended and not cursor.sees(",") and not cursor.sees(")"):
        when = next((when for when in actions if cursor.accept("ON", when)), None)
        if when is None:
            cursor.take()
        elif cursor.peek().word in ("CASCADE", "SET"):
            actions[when] = cursor.peek().word
    return ForeignKey(columns, parent, parents, actions["DELETE"], actions["UPDATE"])


def _key_parts(cursor: Cursor) -> list[str | None]:
    """Read the columns of a key from anywhere before them, and go to its end."""
    while not cursor.ended and not cursor.sees("("):
        cursor.take()
    parts = cursor.list_of(lambda: _key_part(cursor))
    cursor.skip_to(",", ")")
    return parts


def _key_part(cursor: Cursor) -> str | None:
    name = None if cursor.sees("(") else cursor.name()
    cursor.skip_to(",", ")")  # a length, ASC, DESC, WITHOUT OVERLAPS, an expression
    return name
