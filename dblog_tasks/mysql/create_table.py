"""CREATE TABLE statements as the servers print them and dumps hold them: text in, tables out. No I/O.

Law: nothing of a definition is passed over that could change what a column is; it raises InvalidInput with line, table and column.
Statements are cut out of the text here (strings, comments, DELIMITER are the client's business), their tokens are sqlglot's, and
the definitions are read here: sqlglot's own reading lacks what servers print (PERIOD FOR, FLOAT UNSIGNED, COMPRESSED).

    statement        what becomes of it
    CREATE TABLE     a table
    USE              the schema of the names that follow
    CREATE DATABASE  the character set of its tables that state none (also ALTER DATABASE)
    DROP TABLE       the table is forgotten: old dumps make one for each view, and drop it (also DROP DATABASE)
    _PASSED_OVER     nothing: data, settings, views, triggers, routines
    any other        an error: ALTER TABLE, RENAME, CREATE UNIQUE INDEX change tables in ways that are not followed

`/*!80023 text */` and `/*M!100301 text */` are read as text for any version but 99…, which no server has.
Sources: the grammar of MySQL 9.7 and MariaDB 11.8 manuals; SHOW CREATE TABLE of MySQL 9.7.4 and MariaDB 10.11.19.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
import re
from typing import NamedTuple, NoReturn, TypeVar

from dblog_tasks.errors import InvalidInput
from dblog_tasks.event import Column, Table
from dblog_tasks.mysql.charsets import BYTES_PER_CHARACTER, charset_named

Name = tuple[str, str]
T = TypeVar("T")


class Definition(NamedTuple):
    """A table and, for each of its columns, whether it can be NULL."""

    table: Table
    nullable: tuple[bool, ...]


@dataclass(slots=True)
class _Dump:
    """What the statements read so far add up to: current schema, tables, and the character set of each schema."""

    schema: str
    tables: dict[Name, Definition] = field(default_factory=dict)
    charsets: dict[str, str] = field(default_factory=dict)


def read_tables(text: str, default_schema: str = "") -> dict[Name, Definition]:
    """Return the tables of a dump by (schema, name); schema is empty where neither the text nor `default_schema` names one."""
    dump = _Dump(default_schema)
    for line, statement in _statements(text):
        for pattern, read in _STATEMENTS:
            if pattern.match(statement):
                read(dump, statement, line)
                break
    return dump.tables


# ---- statements

# What must be known to see where a statement ends. END stands for the delimiter.
_LEXEMES = r"""
    (?P<quoted> '(?:[^'\\]++|\\.|'')*+' | "(?:[^"\\]++|\\.|"")*+" | `(?:[^`]++|``)*+` )
  | (?P<comment> --(?=[\s\x00-\x1f]|\Z)[^\n]* | \#[^\n]* | /\*M?!99\d{3,4}.*?\*/ | /\*(?!M?!).*?\*/ )
  | (?P<open> /\*M?!(?!99\d{3,4})(?:\d{5,6})? )
  | (?P<close> \*/ )
  | (?P<delimiter> ^[\ \t]*delimiter[\ \t]+ )
  | (?P<unended> ['"`] | /\* )
  | (?P<end> END )
"""
_DEPTH = {"open": 1, "close": -1}


def _lexemes(delimiter: str) -> re.Pattern[str]:
    return re.compile(_LEXEMES.replace("END", re.escape(delimiter)), re.VERBOSE | re.DOTALL | re.MULTILINE | re.IGNORECASE)


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Yield each statement with its line, comments blanked, conditional comments opened."""
    lexemes, parts, depth, at, start, line = _lexemes(";"), list[str](), 0, 0, 0, 1
    while (found := lexemes.search(text, at)) is not None:
        kind, word = found.lastgroup, found.group()
        parts.append(text[at : found.start()])
        at = found.end()
        if kind == "unended":
            raise InvalidInput(f"{word} is not ended", where=f"schema, line {line + text.count(chr(10), start, at)}")
        if kind == "delimiter" and not "".join(parts).strip():
            at = (text.find("\n", at) + 1) or len(text)
            lexemes, kind = _lexemes(text[found.end() : at].strip() or ";"), "end"
        if kind == "end" and depth == 0:
            yield _with_line("".join(parts), line)
            line += text.count("\n", start, at)
            parts, start = [], at
        elif kind in ("comment", "open", "close"):
            depth = max(0, depth + _DEPTH.get(kind, 0))
            parts.append("\n" * word.count("\n") or " ")
        else:
            parts.append(word)
    if depth:
        raise InvalidInput("/*! is not ended", where=f"schema, line {line}")
    yield _with_line("".join(parts) + text[at:], line)


def _with_line(statement: str, line: int) -> tuple[int, str]:
    body = statement.lstrip()
    return line + statement.count("\n", 0, len(statement) - len(body)), body


class _Token(NamedTuple):
    """`kind` is word, name (quoted), text, number, sign or end."""

    kind: str
    text: str


_END = _Token("end", "the end")
_KINDS = {"IDENTIFIER": "name", "STRING": "text", "NATIONAL_STRING": "text", "NUMBER": "number", "HEX_STRING": "number", "BIT_STRING": "number"}


def _tokens(statement: str, where: str) -> Iterator[_Token]:
    from sqlglot import tokenize  # noqa: PLC0415 - a quarter of a second, and only a schema needs it
    from sqlglot.errors import SqlglotError  # noqa: PLC0415

    try:
        tokens = tokenize(statement, dialect="mysql")
    except SqlglotError as error:
        raise InvalidInput(f"not SQL: {error!s:.80}", where=where) from None
    for token in tokens:
        kind = _KINDS.get(token.token_type.name)
        if kind is None:  # PRIMARY KEY and the like are one token there
            yield from (_Token("word" if word[0].isalnum() or word[0] in "_$" else "sign", word) for word in token.text.split())
        else:
            yield _Token(kind, token.text)


class _Cursor:
    """The tokens of a statement, read from the front. `where` is told in errors."""

    def __init__(self, statement: str, line: int) -> None:
        self.where = f"schema, line {line}"
        self._tokens = list(_tokens(statement, self.where))
        self._at = 0

    def fail(self, expected: str, hint: str = "") -> NoReturn:
        found = self.peek()
        raise InvalidInput(f"{found.text!r:.40} found, {expected} expected", where=self.where, hint=hint)

    def peek(self, ahead: int = 0) -> _Token:
        at = self._at + ahead
        return self._tokens[at] if at < len(self._tokens) else _END

    def take(self) -> _Token:
        token = self.peek()
        self._at += 1
        return token

    def sees(self, *words: str) -> bool:
        """Whether the next tokens are these words or signs (upper case)."""
        return all(
            token.kind in ("word", "sign") and token.text.upper() == word for token, word in ((self.peek(n), w) for n, w in enumerate(words))
        )

    def accept(self, *words: str) -> bool:
        """Go past these words if they are next, and say whether they were."""
        found = self.sees(*words)
        if found:
            self._at += len(words)
        return found

    def expect(self, *words: str) -> None:
        if not self.accept(*words):
            self.fail(" ".join(words))

    def name(self) -> str:
        if self.peek().kind not in ("word", "name"):
            self.fail("a name")
        return self.take().text

    def qualified(self, schema: str) -> Name:
        """Return a name as (schema, name); `schema` is for one that stands alone."""
        first = self.name()
        return (first, self.name()) if self.accept(".") else (schema, first)

    def number(self) -> int:
        digits = self.peek().text
        if self.peek().kind != "number" or not (digits.isascii() and digits.isdigit()) or len(digits) > 10:
            self.fail("a number")
        self.take()
        return int(digits)

    def text(self) -> str:
        if self.peek().kind != "text":
            self.fail("text in quotes")
        return self.take().text

    def skip_group(self) -> None:
        """Go past a pair of parentheses with all that is in it."""
        self.expect("(")
        self.skip_to(")")
        self.expect(")")

    def skip_to(self, *ends: str) -> None:
        """Go to the first of these signs that is not inside parentheses, or to the end."""
        depth = 0
        while self.peek() is not _END and not (depth == 0 and any(self.sees(end) for end in ends)):
            depth += self.sees("(") - self.sees(")")
            self.take()

    def list_of(self, read: Callable[[], T]) -> list[T]:
        """Return what `read` gives for each part of a list in parentheses."""
        self.expect("(")
        parts = [read()]
        while self.accept(","):
            parts.append(read())
        self.expect(")")
        return parts


def _use(dump: _Dump, statement: str, line: int) -> None:
    cursor = _Cursor(statement, line)
    cursor.expect("USE")
    dump.schema = cursor.name()


def _database(dump: _Dump, statement: str, line: int) -> None:
    cursor = _Cursor(statement, line)
    cursor.skip_words("CREATE", "ALTER", "OR", "REPLACE", "DATABASE", "SCHEMA", "IF", "NOT", "EXISTS")
    named = not cursor.sees("CHARACTER", "SET") and not cursor.sees("CHARSET") and not cursor.sees("COLLATE") and not cursor.sees("DEFAULT")
    schema = cursor.name() if named else dump.schema
    charset = _options(cursor).charset
    if charset:
        dump.charsets[schema] = charset


def _drop_database(dump: _Dump, statement: str, line: int) -> None:
    cursor = _Cursor(statement, line)
    cursor.skip_words("DROP", "DATABASE", "SCHEMA", "IF", "EXISTS")
    schema = cursor.name()
    dump.tables = {name: table for name, table in dump.tables.items() if name[0] != schema}


def _drop_table(dump: _Dump, statement: str, line: int) -> None:
    cursor = _Cursor(statement, line)
    cursor.skip_words("DROP", "TABLE", "IF", "EXISTS")
    while True:
        dump.tables.pop(cursor.qualified(dump.schema), None)
        if not cursor.accept(","):
            break


def _create_table(dump: _Dump, statement: str, line: int) -> None:
    cursor = _Cursor(statement, line)
    cursor.expect("CREATE")
    again = cursor.accept("OR", "REPLACE")
    cursor.expect("TABLE")
    kept = cursor.accept("IF", "NOT", "EXISTS")
    name = cursor.qualified(dump.schema)
    cursor.where += f", table {'.'.join(filter(None, name))}"
    if name in dump.tables and not again:
        if kept:
            return
        cursor.fail("no second definition of this table", "give one dump, of the time of the log")
    dump.tables[name] = _definition(cursor, name, dump.charsets.get(name[0], ""))


def _pass_over(dump: _Dump, statement: str, line: int) -> None:
    """Leave a statement alone that changes no table."""


def _refuse(dump: _Dump, statement: str, line: int) -> None:  # noqa: ARG001 - one signature
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
    r"(?:ALTER|DROP)\s+(?:VIEW|TRIGGER|PROCEDURE|FUNCTION|EVENT|PACKAGE|USER|ROLE|SERVER|TEMPORARY|SEQUENCE)\b",
    r"ALTER\s+TABLE\s+(?:`(?:[^`]|``)+`|[^\s`]+)\s+(?:DIS|EN)ABLE\s+KEYS\s*\Z",
)
_STATEMENTS: Sequence[tuple[re.Pattern[str], Callable[[_Dump, str, int], None]]] = [
    (re.compile(pattern, re.IGNORECASE), read)
    for pattern, read in (
        (r"USE\b", _use),
        (r"(?:CREATE(?:\s+OR\s+REPLACE)?|ALTER)\s+(?:DATABASE|SCHEMA)\b", _database),
        (r"DROP\s+(?:DATABASE|SCHEMA)\b", _drop_database),
        (r"CREATE\s+(?:OR\s+REPLACE\s+)?TABLE\b", _create_table),
        (r"DROP\s+TABLE\b", _drop_table),
        ("|".join(_PASSED_OVER), _pass_over),
        ("", _refuse),
    )
]


# ---- a table


@dataclass(slots=True)
class _Draft:
    """A column while its definition is read. `charset` empty: the table's."""

    name: str
    base: str = ""
    sizes: list[int] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    unsigned: bool = False
    charset: str = ""
    nullable: bool | None = None
    has_default: bool = False
    generated: bool = False
    auto_update: bool = False
    row_version: bool = False
    versioned: bool = False
    primary: bool = False
    unique: bool = False


@dataclass(slots=True)
class _Body:
    """What stands between the parentheses. A part of a key is a column's or a period's name, None for an expression."""

    columns: list[_Draft] = field(default_factory=list)
    primary: list[str | None] = field(default_factory=list)
    unique: list[list[str | None]] = field(default_factory=list)
    periods: dict[str, tuple[str, str]] = field(default_factory=dict)


class _Options(NamedTuple):
    """What stands after the parentheses."""

    charset: str
    versioned: bool


def _definition(cursor: _Cursor, name: Name, charset: str) -> Definition:
    if cursor.sees("LIKE") or cursor.sees("(", "LIKE"):
        cursor.fail("columns", "CREATE TABLE … LIKE needs the other table: give this one's SHOW CREATE TABLE")
    body, where = _Body(), cursor.where
    cursor.list_of(lambda: _item(cursor, body))
    options = _options(cursor)
    default = options.charset or charset
    for draft in body.columns:
        cursor.where = f"{where}, column {draft.name}"
        _settle(cursor, draft, default)
    cursor.where = where
    if (options.versioned or any(draft.versioned for draft in body.columns)) and not any(draft.row_version for draft in body.columns):
        body.columns += _hidden_versions()
    return _assemble(cursor, name, body)


def _hidden_versions() -> list[_Draft]:
    """Return the columns MariaDB adds unseen, and logs, in a table WITH SYSTEM VERSIONING that names none."""
    return [
        _Draft(name, "timestamp", [6], nullable=False, generated=True, row_version=True, has_default=True) for name in ("row_start", "row_end")
    ]


def _assemble(cursor: _Cursor, name: Name, body: _Body) -> Definition:
    places = {draft.name.lower(): place for place, draft in enumerate(body.columns)}
    if len(places) != len(body.columns) or not places:
        cursor.fail("columns, each of another name")
    primary = _places(cursor, body.primary or [draft.name for draft in body.columns if draft.primary], body, places)
    for place in primary or ():
        body.columns[place].nullable = False
    uniques = [_places(cursor, parts, body, places) for parts in body.unique] + [
        (place,) for place, draft in enumerate(body.columns) if draft.unique
    ]
    nullable = tuple(draft.nullable is not False for draft in body.columns)
    key = primary or next((key for key in uniques if key and not any(nullable[place] for place in key)), ())
    end = places.get("row_end", 0)
    if key and body.columns[end].row_version and end not in key:  # old versions of a row have its key too
        key = (*key, end)
    return Definition(Table(*name, tuple(map(_column, body.columns)), key), nullable)


def _places(cursor: _Cursor, parts: Sequence[str | None], body: _Body, places: Mapping[str, int]) -> tuple[int, ...] | None:
    """Return the columns of a key, those of a period among them; None when a part is an expression."""
    if None in parts:
        return None
    names = [name for part in parts if part is not None for name in body.periods.get(part.lower(), (part,))]
    unknown = [name for name in names if name.lower() not in places]
    if unknown:
        cursor.fail(f"no key over {unknown[0]!r:.40}, which is no column")
    return tuple(places[name.lower()] for name in names)


def _column(draft: _Draft) -> Column:
    implicit = draft.base == "timestamp" and draft.nullable is None and not draft.has_default and not draft.generated
    return Column(
        draft.name,
        draft.base + _SIZED.get(draft.base, _unsized)(draft.sizes),
        draft.unsigned,
        draft.charset,
        tuple(draft.labels),
        draft.generated,
        None if implicit and not draft.auto_update else draft.auto_update,  # old servers set it by themselves
    )


def _options(cursor: _Cursor) -> _Options:
    """Read what follows a table's or a database's name and columns, up to the end."""
    charset, collation, versioned = "", "", False
    while cursor.peek() is not _END:
        if cursor.accept("CHARSET") or cursor.accept("CHARACTER", "SET"):
            charset = _charset(cursor)
        elif cursor.accept("COLLATE"):
            collation = _charset(cursor)
        elif cursor.accept("WITH", "SYSTEM", "VERSIONING"):
            versioned = True
        elif cursor.peek().kind == "word" and cursor.peek().text.upper() in ("SELECT", "AS", "LIKE", "TABLE", "VALUES", "WITH"):
            cursor.fail("table options", "a table made of another one: give its SHOW CREATE TABLE")
        elif cursor.sees("("):
            cursor.skip_group()
        else:
            cursor.take()
    return _Options(charset or collation, versioned)


def _charset(cursor: _Cursor) -> str:
    """Read the name of a character set or collation; DEFAULT, and collations that name no character set, are empty."""
    cursor.accept("=")
    name = cursor.text() if cursor.peek().kind == "text" else cursor.name()
    charset = charset_named(name)
    if charset is None and name.lower() != "default" and not name.lower().startswith("uca1400"):
        cursor.fail(f"a known character set or collation, not {name!r:.40},")
    return charset or ""


def _item(cursor: _Cursor, body: _Body) -> None:
    """Read a column, key or constraint."""
    if cursor.peek().kind == "name" or (cursor.sees("PERIOD") and not cursor.sees("PERIOD", "FOR")):
        body.columns.append(_read_column(cursor))
    elif cursor.accept("PERIOD", "FOR"):
        name = cursor.name()
        start, end = cursor.list_of(cursor.name)
        body.periods[name.lower()] = (start, end)
    elif cursor.accept("CONSTRAINT"):
        if not any(map(cursor.sees, ("PRIMARY", "UNIQUE", "FOREIGN", "CHECK"))):
            cursor.name()
        _item(cursor, body)
    elif cursor.accept("PRIMARY", "KEY"):
        body.primary = _key_parts(cursor)
    elif cursor.accept("UNIQUE"):
        body.unique.append(_key_parts(cursor))
    elif any(map(cursor.sees, ("KEY", "INDEX", "FULLTEXT", "SPATIAL", "FOREIGN", "CHECK"))) or cursor.sees("VECTOR", "KEY") or cursor.sees("VECTOR", "INDEX"):
        cursor.skip_to(",", ")")
    else:
        body.columns.append(_read_column(cursor))


def _key_parts(cursor: _Cursor) -> list[str | None]:
    """Read the columns of a key from anywhere before them, and go to its end."""
    while cursor.peek() is not _END and not cursor.sees("("):
        cursor.take()
    parts = cursor.list_of(lambda: _key_part(cursor))
    cursor.skip_to(",", ")")
    return parts


def _key_part(cursor: _Cursor) -> str | None:
    name = None if cursor.sees("(") else cursor.name()
    cursor.skip_to(",", ")")  # a length, ASC, DESC, WITHOUT OVERLAPS, an expression
    return name
