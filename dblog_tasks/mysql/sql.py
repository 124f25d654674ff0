"""The undo as text for the vendor's own client (`mariadb`, `mysql`): values in, SQL out. No I/O, no server is asked.

Law: a statement changes a row only while the row still is what the log left, byte for byte; the check after it ends the client
when it did not change exactly its rows, and the server rolls the transaction back. Nothing a session, a collation or the client
could read in another way is left to it: how values are written and compared is told in `literals`. Valid for MariaDB 10.11 and later,
MySQL 5.7 to 9.7, and an account without SUPER.

One statement is one line: what a client reads in its own way inside a string (line ends, NUL, Ctrl-Z) is escaped; text with
other control characters is written in hex, for the sake of the terminal it may be printed on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
import re
from typing import Any, NamedTuple

from dblog_tasks.errors import DblogError, MalformedPlan
from dblog_tasks.event import Column, Omission, Row, RowChanges, Table
from dblog_tasks.mysql.charsets import BYTES_PER_CHARACTER
from dblog_tasks.mysql.literals import FORMS, Literal, base_type, identifier, quote, unicode_literal

INSERT_ROWS_MAX = 200
INSERT_CHARACTERS_MAX = 256 * 1024
PIECE_CHARACTERS = 256 * 1024
SHAPES_MAX = 1000  # sets of changed columns kept, a table

# No automatic number for a stored 0, and the impossible dates a server may hold from laxer times.
_LENIENT = "SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES';\n"
_STRICT = "SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES,STRICT_ALL_TABLES';\n"
_HEAD = f"""\
-- Undo made by dblog-tasks, newest change first, for the client of MariaDB (mariadb) or MySQL (mysql).
{{comments}}-- Run it as: mariadb --default-character-set=utf8mb4 --max-allowed-packet=1G < FILE
-- NEVER run it with --force, nor in a tool that goes on after an error.
-- A row is changed only while it is as the log left it. Where one is not, the client ends with ERROR 1242 at the line after the
-- statement and the server rolls that transaction back; transactions before it are committed. Tables of an engine without
-- transactions (MyISAM, Aria, MEMORY) keep what was done.
SET NAMES utf8mb4;
{_STRICT}\
SET SESSION time_zone = '+00:00', foreign_key_checks = 1, unique_checks = 1, autocommit = 1, sql_safe_updates = 0;
"""
_CHECK = "SELECT IF(%s, 1, (SELECT 1 UNION ALL SELECT 2)) INTO @dblog_ok;\n"
_ONE_ROW = ";\n" + _CHECK % "ROW_COUNT()=1"

_UNFIT = (TypeError, ValueError, LookupError, AttributeError, DblogError)


@dataclass(frozen=True, slots=True)
class TransactionInfo:
    """A transaction of the log as its undo names it."""

    id: str  # its GTID, xid or position
    comment: str = ""  # what else a person wants to read above its undo: commit time, position


def undo_script(operations: Iterable[tuple[TransactionInfo, RowChanges]], *, header: Sequence[str] = ()) -> Iterator[str]:
    """Yield the script in pieces of many statements.

    `operations` are reversed already, newest first, those of a transaction next to each other; each transaction of the log is
    one of the script. `header` lines become comments at its top. Raises MalformedPlan for a table or value SQL cannot hold: what
    was yielded until then is no whole script, and the client rolls back the transaction it ends in.
    """
    piece: list[str] = []
    size = 0
    for statement in _script(operations, header):
        piece.append(statement)
        size += len(statement)
        if size >= PIECE_CHARACTERS:
            yield "".join(piece)
            piece, size = [], 0
    yield "".join(piece)


def omission(table: Table) -> Omission | None:
    """Return why no undo of this table can be written as SQL, None when one can."""
    title = _title(table)
    for name in (table.schema, table.name, *(column.name for column in table.columns)):
        if not name or not _NAME.fullmatch(name):
            return Omission("a name that cannot be written in SQL", f"rename {name!r} of {title}")
    for column in table.columns:
        if base_type(column) not in FORMS:
            return Omission("a column type that cannot be written in SQL", f"{column.name} {column.type} of {title}")
        if column.charset and column.charset not in BYTES_PER_CHARACTER:
            return Omission("a character set that is not known", f"{column.name} {column.charset} of {title}")
    if all(column.generated for column in table.columns):
        return Omission("a table without a column that can be written", title)
    return None


_NAME = re.compile(r"[^\0\n\r\ud800-\udfff]*")
_NOT_IN_COMMENT = re.compile(r"[\0-\x1f\x7f-\x9f\ud800-\udfff]")


def _title(table: Table) -> str:
    return f"{table.schema}.{table.name}"


class Part(NamedTuple):
    """One of a list of conditions or assignments."""

    at: int  # the column
    before: str  # what stands before its value
    literal: Literal
    null: str  # all of it where the value is NULL


def _joined(parts: Sequence[Part], row: Row, separator: str) -> str:
    return separator.join([null if (value := row[at]) is None else before + literal(value) for at, before, literal, null in parts])


def _joiner(parts: Sequence[Part], separator: str, width: int) -> Callable[[Row], str]:
    """Return `_joined` for rows of this width as straight-line code, made of numbers and our own names."""
    names: dict[str, Any] = {}
    source = ["def join(row):", f"{', '.join(f'v{at}' for at in range(width))}, = row"]
    for n, (at, before, literal, null) in enumerate(parts):
        names |= {f"before{n}": before, f"literal{n}": literal, f"null{n}": null}
        common = _COMMON.get(literal, "").format(before=f"{{before{n}}}", v=f"v{at}", text=f"{{v{at}}}")
        source.append(f"t{n} = {common} null{n} if v{at} is None else before{n} + literal{n}(v{at})")
    source.append(f"return f'{separator.join(f'{{t{n}}}' for n in range(len(parts)))}'")
    exec("\n    ".join(source), names)  # noqa: S102 - see above
    join: Callable[[Row], str] = names["join"]
    return join


# What a literal makes of most values, without a call.
_COMMON_TEXT = """f"{before}'{text}'" if type({v}) is str and {v}.isprintable() and "'" not in {v} and "\\\\" not in {v} else"""
_COMMON: Mapping[Literal, str] = {
    int.__repr__: 'f"{before}{text}" if type({v}) is int else',
    quote: _COMMON_TEXT,
    unicode_literal: _COMMON_TEXT,
}


class Shape(NamedTuple):
    """An update by the columns it changes."""

    sets: Sequence[Part]  # assignments of the changed columns, but for those that the database sets by itself on an update
    automatic: Sequence[int]  # these
    kept: str  # assignments to themselves of others that it would set, a comma before each
    where: Sequence[Part]
    enums: Sequence[int]  # changed columns of type enum


class Statements:
    """Writes the statements of one table, each with its check; what does not depend on a row is prepared once.

    All methods raise MalformedPlan for a value that its column cannot have.
    """

    def __init__(self, table: Table) -> None:
        """Raises MalformedPlan where there is an `omission`."""
        problem = omission(table)
        if problem:
            raise MalformedPlan(f"{problem.reason}: {problem.fix}")
        columns = dict(enumerate(table.columns))
        self._table = table
        self._name = f"{identifier(table.schema)}.{identifier(table.name)}"
        self._names = [identifier(column.name) for column in table.columns]
        self._forms = [FORMS[base_type(column)](column) for column in table.columns]
        self._written = [at for at, column in columns.items() if not column.generated]
        self._floats = [at for at in self._written if base_type(columns[at]) in ("float", "double")]
        self._enums = [at for at in self._written if base_type(columns[at]) == "enum"]
        self._self_updating = [at for at in self._written if _may_update_itself(columns[at])]
        self._exact = [Part(at, f"{form.side} = ", form.exact, f"{self._names[at]} IS NULL") for at, form in enumerate(self._forms)]
        self._key = [part for at in table.key for part in self._key_parts(at)]
        self._whole = self._guard(self._written)
        self._conditions = _joiner(self._whole, " AND ", len(columns))
        self._values = _joiner([Part(at, "", self._forms[at].write, "NULL") for at in self._written], ", ", len(columns))
        self._insert = f"INSERT INTO {self._name} ({', '.join(self._names[at] for at in self._written)}) VALUES "  # noqa: S608 - names are quoted
        self._limit = "" if table.key else " LIMIT 1"
        self._shapes: dict[tuple[int, ...], Shape] = {}

    def statement(self, now: Row | None, then: Row | None) -> str:
        """Return what turns the row `now` into the row `then`; None stands for no row."""
        if now is not None:
            return self.delete(now) if then is None else self.update(now, then)
        if then is None:
            raise MalformedPlan(f"{_title(self._table)}: a change with a row neither before nor after")
        insert = self.insert([self.row(then)])
        return self._leniently(insert, self._whole, then) if self.stands_alone(then) else insert

    def row(self, row: Row) -> str:
        """Return the row as `insert` takes it."""
        try:
            return f"({self._values(row)})"
        except _UNFIT as error:
            raise self._unfit(error, row) from None

    def stands_alone(self, row: Row) -> bool:
        """Return whether the row, one that `row` took, is not for an INSERT of many: strict mode refuses an enum's error value."""
        return bool(self._enums) and 0 in [row[at] for at in self._enums]

    def insert(self, rows: Sequence[str]) -> str:
        """Return the INSERT of rows made by `row`."""
        return f"{self._insert}{', '.join(rows)};\n{_CHECK % f'ROW_COUNT()={len(rows)}'}"

    def delete(self, row: Row) -> str:
        """Return the DELETE of exactly this row."""
        try:
            return f"DELETE FROM {self._name} WHERE {self._conditions(row)}{self._limit}{_ONE_ROW}"  # noqa: S608 - and values are literals
        except _UNFIT as error:
            raise self._unfit(error, row) from None

    def update(self, now: Row, then: Row) -> str:
        """Return the UPDATE of the row from `now` to `then`; a comment when both are the same."""
        try:
            if not len(now) == len(then) == len(self._names):
                raise ValueError(f"rows of {len(now)} and {len(then)} values for {len(self._names)} columns")
            changed = [at for at in self._written if now[at] != then[at]]
            # 0.0 and -0.0 are equal, and two values of a row
            changed += [at for at in self._floats if now[at] == then[at] == 0.0 and str(now[at]) != str(then[at])]
            return self._update(self._shape(tuple(changed)), now, then)
        except _UNFIT as error:
            raise self._unfit(error, now, then) from None

    def _update(self, shape: Shape, now: Row, then: Row) -> str:
        sets = _joined(shape.sets, then, ", ")
        if shape.automatic:
            automatic = [self._automatic(at, now[at], then[at]) for at in shape.automatic]
            sets = ", ".join([sets, *automatic] if sets else automatic)
        if not sets:
            return f"-- A row of {self._name} is the same before and after: nothing to write.\n"
        where = _joined(shape.where, now, " AND ")
        update = f"UPDATE {self._name} SET {sets}{shape.kept} WHERE {where}{self._limit}{_ONE_ROW}"  # noqa: S608
        return self._leniently(update, shape.where, then) if 0 in [then[at] for at in shape.enums] else update

    def _shape(self, changed: tuple[int, ...]) -> Shape:
        shape = self._shapes.get(changed)
        if shape is None:
            if len(self._shapes) >= SHAPES_MAX:
                self._shapes.clear()
            names, automatic = self._names, [at for at in changed if self._table.columns[at].auto_update]
            shape = self._shapes[changed] = Shape(
                [Part(at, f"{names[at]} = ", self._forms[at].write, f"{names[at]} = NULL") for at in changed if at not in automatic],
                automatic,
                "".join([f", {names[at]} = {names[at]}" for at in self._self_updating if at not in changed]),
                self._guard(changed) if self._key else self._whole,
                [at for at in self._enums if at in changed],
            )
        return shape

    def _guard(self, columns: Sequence[int]) -> list[Part]:
        """The conditions that find the row by its key and hold it to be as expected in these columns.

        What the database computes is not compared, nor what it sets on an update: any later update would be in the way.
        """
        guarded = [at for at in columns if at not in self._table.key and not self._table.columns[at].auto_update]
        return self._key + [self._exact[at] for at in guarded]

    def _key_parts(self, at: int) -> list[Part]:
        """Plain `=` for the index, and the bytes where a collation could take two values for one."""
        plain = self._exact[at]._replace(before=f"{self._names[at]} = ", literal=self._forms[at].write)
        return [plain] if plain == self._exact[at] else [plain, self._exact[at]]

    def _automatic(self, at: int, now: Any, then: Any) -> str:
        """Restore a column that updates itself only where it still is what the log left."""
        name, write = self._names[at], self._forms[at].write
        logged, restored = ("NULL" if value is None else write(value) for value in (now, then))
        return f"{name} = IF({name} <=> {logged}, {restored}, {name})"

    def _leniently(self, statement: str, where: Sequence[Part], row: Row) -> str:
        """Outside strict mode the server bends values until they fit, so what it stored is looked at."""
        stored = f"EXISTS(SELECT 1 FROM {self._name} WHERE {_joined(where, row, ' AND ')})"  # noqa: S608
        return f"{_LENIENT}{statement}{_STRICT}{_CHECK % stored}"

    def _unfit(self, error: Exception, *rows: Row) -> MalformedPlan:
        """Return the error that names the first value that does not fit its column."""
        for row in rows:
            for column, form, value in zip(self._table.columns, self._forms, row, strict=False):
                try:
                    if value is not None:
                        form.exact(value)
                        form.write(value)
                except _UNFIT as found:
                    return MalformedPlan(f"{_title(self._table)}: {value!r:.80} is no value of {column.name} {column.type}: {found}")
        return MalformedPlan(f"{_title(self._table)}: {error}")


def _may_update_itself(column: Column) -> bool:
    return base_type(column) in ("timestamp", "datetime") if column.auto_update is None else column.auto_update


def _script(operations: Iterable[tuple[TransactionInfo, RowChanges]], header: Sequence[str]) -> Iterator[str]:
    yield _HEAD.format(comments="".join(map(_comment, header)))
    writers: dict[Table, Statements] = {}
    count = 0
    for transaction, group in groupby(operations, key=lambda operation: operation[0]):
        count += 1
        yield f"\n{_comment(f'Transaction {transaction.id} {transaction.comment}')}START TRANSACTION;\n"
        yield from _statements((changes for _, changes in group), writers)
        yield "COMMIT;\n"
    yield f"\n-- End of the undo: {count} transactions.\n"


def _comment(text: str) -> str:
    return f"-- {' '.join(_NOT_IN_COMMENT.sub(' ', text).split())}\n"


def _statements(operations: Iterable[RowChanges], writers: dict[Table, Statements]) -> Iterator[str]:
    """Yield the statements of one transaction; neighbouring rows to insert into one table become one INSERT."""
    pending: list[str] = []
    size = 0
    table: Table | None = None
    owner: Statements | None = None  # of the pending rows
    for changes in operations:
        if changes.table is not table:  # a table is found by its value, which takes a while
            table = changes.table
            writer = writers.get(table) or writers.setdefault(table, Statements(table))
        for now, then in changes.rows:
            row = writer.row(then) if now is None and then is not None else ""
            together = row and then is not None and not writer.stands_alone(then)
            full = len(pending) >= INSERT_ROWS_MAX or size + len(row) > INSERT_CHARACTERS_MAX
            if owner and (full or not together or owner is not writer):
                yield owner.insert(pending)
                pending, size, owner = [], 0, None
            if together:
                pending.append(row)
                size += len(row)
                owner = writer
            else:
                yield writer.statement(now, then)
    if owner:
        yield owner.insert(pending)
