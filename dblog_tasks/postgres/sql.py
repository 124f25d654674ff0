r"""The undo as a script for psql, every statement guarded.

Law: text only; nothing is run or read. A row is found by its key with plain `=`, which uses the index, and held to be as the log left it:
by the text of its columns, for json, xml or point have no `=`, and 1.0 = 1.00. Values are literals of the server's own output, which every
type takes in again. What a person or a machine has to know of the script stands at its head.

    of a row            statement                                                            check after it
    inserted            DELETE … WHERE key and all other columns                             one row
    deleted             INSERT … OVERRIDING SYSTEM VALUE, of many rows at once               as many rows
    updated             UPDATE … SET changed columns WHERE key and changed columns           one row
    … of its key        UPDATE … WHERE it is the first that is so in all columns             one row
    without a key       the same by all columns, of one of the rows that are equal           one row

A check that fails divides by zero: psql stops, and the server rolls the transaction back. Columns the database computes are never written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
import re
from typing import TypeAlias

from dblog_tasks.errors import MalformedPlan
from dblog_tasks.event import Column, Omission, Row, RowChanges, Table, Transaction, Value
from dblog_tasks.postgres.names import quoted
from dblog_tasks.postgres.type_names import BUILT_IN

PIECE_CHARACTERS = 1 << 16  # of a piece of the script, about
INSERT_ROWS_MAX = 500  # of one INSERT
INSERT_CHARACTERS_MAX = 1 << 18
_NAME_BYTES_MAX = 63
_HEAD = r"""-- The undo of one or more transactions, made by dblog. Run it with psql, as it is:
--     psql -X -d DATABASE -f FILE
-- Each statement changes a row only while it is as the log left it. Where one is not, the script stops with `division by zero` at the
-- line after the statement and the server rolls that transaction back; transactions before it are committed.
-- Triggers fire, and may write again what the log shows them to have written. Foreign keys that are not deferrable refuse the rows of
-- a cascade, which come back before what they refer to. With -v replica=1 neither is at work: that takes a superuser; look at the
-- foreign keys afterwards. Rows that refer by now to one that is deleted here go with it where a foreign key says so (ON DELETE CASCADE,
-- SET NULL): `dblog replay` stops there, this script does not know of them.
{comments}\set ON_ERROR_STOP on
\set QUIET on
\encoding UTF8
\pset format unaligned
\pset tuples_only on
SET standard_conforming_strings = on;
SET DateStyle = 'ISO, MDY';
SET IntervalStyle = 'postgres';
SET TimeZone = 'UTC';
SET bytea_output = 'hex';
SET extra_float_digits = 1;
SET lc_monetary = 'C';
SET xmloption = 'content';
SET row_security = off;
SET lock_timeout = '5s';
SET idle_in_transaction_session_timeout = '10min';
\if :{{?replica}}
SET session_replication_role = replica;
\endif
"""
_BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED;\nSET CONSTRAINTS ALL DEFERRED;\n"
_CHECK = " RETURNING 1)\nSELECT FROM done HAVING 1 / (count(*) = {rows})::int = 0;\n"
_NOT_IN_COMMENT = re.compile(r"[\0-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]")
_UNFIT = (TypeError, ValueError, LookupError, AttributeError)
Condition: TypeAlias = Callable[[Value], str]


@dataclass(frozen=True, slots=True)
class TransactionInfo:
    """A transaction of the log as its undo names it."""

    id: str  # its xid or position
    comment: str = ""  # what else a person wants to read above its undo: commit time, position


def undo_script(operations: Iterable[tuple[TransactionInfo, RowChanges]], *, header: Sequence[str] = ()) -> Iterator[str]:
    """Yield the script in pieces of many statements.

    `operations` are reversed already, newest first, those of a transaction next to each other; each transaction of the log is
    one of the script. `header` lines become comments at its top. Raises MalformedPlan for a table or value SQL cannot hold: what
    was yielded until then is no whole script, and psql rolls back the transaction it ends in.
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


def plan_script(steps: Iterable[tuple[Transaction | None, str, RowChanges]], *, header: Sequence[str] = ()) -> Iterator[str]:
    """Yield the script of a plan's steps: the transaction, position and undo of each, newest first. Raises MalformedPlan, as above."""
    return undo_script(((_info(transaction, at), operation) for transaction, at, operation in steps), header=header)


def _info(transaction: Transaction | None, at: str) -> TransactionInfo:
    if transaction is None:
        return TransactionInfo(at)
    committed = f"committed {transaction.time.isoformat()}" if transaction.time else ""
    return TransactionInfo(transaction.id, "; ".join(part for part in (committed, transaction.start.value) if part))


def omission(table: Table) -> Omission | None:
    """Return why no undo of this table can be written as SQL, None when one can."""
    title = f"{table.schema}.{table.name}"
    for name in (*([table.schema] if table.schema else []), table.name, *(column.name for column in table.columns)):
        if not name or "\0" in name or not _is_text(name) or len(name.encode()) > 4 * _NAME_BYTES_MAX:
            return Omission("a name that cannot be written in SQL", f"rename {name!r} of {title}")
    if len({column.name for column in table.columns}) != len(table.columns):
        return Omission("a table with a column twice", title)
    if not table.columns or all(column.generated for column in table.columns):
        return Omission("a table without a column that can be written", title)
    return None


def literal(value: Value) -> str:
    """Return a value as a literal that every type takes in. Raises ValueError for what no text of the server can be."""
    if value is None:
        return "NULL"
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.40} is no text")
    if "\0" in value or not (value.isascii() or _is_text(value)):
        raise ValueError("no text of UTF-8")
    return "'" + value.replace("'", "''") + "'"


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


# Types whose `=` takes only what has the same text: for a key of these nothing more is asked.
_EXACT = frozenset(
    {
        *("smallint", "integer", "bigint", "oid", "boolean", "uuid", "date", "bytea", "pg_lsn", "xid8", "bit", "bit varying", "macaddr"),
        *("timestamp without time zone", "timestamp with time zone", "time without time zone", '"char"', "inet", "cidr"),
    }
)
# Types that print differently in other sessions, or cast to text in another form than they print: read in first.
_READ_IN = frozenset(
    {
        *(
            "date",
            "timestamp without time zone",
            "timestamp with time zone",
            "time with time zone",
            "interval",
            "character",
            "bytea",
            "money",
        ),
        *("tsrange", "tstzrange", "daterange", "tsmultirange", "tstzmultirange", "datemultirange", "real", "double precision", "inet"),
    }
)
_COLLATED = frozenset({"text", "character varying", "character", "citext", "name"})


def _equal(column: Column) -> Condition:
    """Return the condition that a column has exactly a value."""
    name = quoted(column.name)
    element = column.type.removesuffix("[]")
    collated = ' COLLATE "C"' if element in _COLLATED or element not in BUILT_IN else ""
    if element in _READ_IN:
        read = column.type.replace("character", "bpchar")  # `character` alone is of one character
        return lambda value: f"{name} IS NULL" if value is None else f"{name}::text{collated} = {literal(value)}::{read}::text"
    if element in BUILT_IN:
        return lambda value: f"{name} IS NULL" if value is None else f"{name}::text{collated} = {literal(value)}"
    return lambda value: f"{name}::text IS NULL" if value is None else f"{name}::text{collated} = {literal(value)}"


class Statements:
    """Writes the statements of one table, each with its check; what does not depend on a row is prepared once.

    All methods raise MalformedPlan for a value that its column cannot have.
    """

    def __init__(self, table: Table) -> None:
        """Raises MalformedPlan where there is an `omission`."""
        problem = omission(table)
        if problem:
            raise MalformedPlan(f"{problem.reason}: {problem.fix}")
        self._table = table
        self._title = f"{table.schema}.{table.name}"
        self._name = f"{quoted(table.schema)}.{quoted(table.name)}" if table.schema else quoted(table.name)
        self._names = [quoted(column.name) for column in table.columns]
        self._written = [at for at, column in enumerate(table.columns) if not column.generated]
        self._equal = [_equal(column) for column in table.columns]
        self._inexact = [at for at in table.key if table.columns[at].type not in _EXACT]
        self._insert = (
            f"WITH done AS (INSERT INTO {self._name} ({', '.join(self._names[at] for at in self._written)}) OVERRIDING SYSTEM VALUE VALUES "  # noqa: S608 - names are quoted, values literals
        )

    def statement(self, now: Row | None, then: Row | None) -> str:
        """Return what turns the row `now` into the row `then`; None stands for no row."""
        if now is not None:
            return self.delete(now) if then is None else self.update(now, then)
        if then is None:
            raise MalformedPlan(f"{self._title}: a change with a row neither before nor after")
        return self.insert([self.row(then)])

    def row(self, row: Row) -> str:
        """Return the row as `insert` takes it."""
        try:
            if len(row) != len(self._names):
                raise ValueError(f"a row of {len(row)} values for {len(self._names)} columns")
            return f"({', '.join([literal(row[at]) for at in self._written])})"
        except _UNFIT as error:
            raise MalformedPlan(f"{self._title}: {error}") from None

    def insert(self, rows: Sequence[str]) -> str:
        """Return the INSERT of rows made by `row`."""
        separator = ",\n  " if len(rows) > 1 else ""
        return f"{self._insert}{separator.join(rows)}{_CHECK.format(rows=len(rows))}"

    def delete(self, row: Row) -> str:
        """Return the DELETE of exactly this row."""
        try:
            return f"WITH done AS (DELETE FROM {self._name} WHERE {self._where(row, self._written)}{_CHECK.format(rows=1)}"  # noqa: S608
        except _UNFIT as error:
            raise MalformedPlan(f"{self._title}: {error}") from None

    def update(self, now: Row, then: Row) -> str:
        """Return the UPDATE of the row from `now` to `then`; a comment when both are the same."""
        try:
            if not len(now) == len(then) == len(self._names):
                raise ValueError(f"rows of {len(now)} and {len(then)} values for {len(self._names)} columns")
            changed = [at for at in self._written if now[at] != then[at]]
            if not changed:
                return f"-- A row of {self._name} is the same before and after: nothing to write.\n".replace("\n", " ").rstrip() + "\n"
            sets = ", ".join([f"{self._names[at]} = {literal(then[at])}" for at in changed])
            moved = not set(self._table.key).isdisjoint(changed)  # its old key may be another row's until the transaction ends
            where = self._of_one(now, self._written) if moved else self._where(now, changed if self._table.key else self._written)
            return f"WITH done AS (UPDATE {self._name} SET {sets} WHERE {where}{_CHECK.format(rows=1)}"  # noqa: S608
        except _UNFIT as error:
            raise MalformedPlan(f"{self._title}: {error}") from None

    def _where(self, row: Row, columns: Sequence[int]) -> str:
        """The condition that finds the row, and holds it to be as expected in these columns."""
        return self._conditions(row, columns) if self._table.key else self._of_one(row, columns)

    def _of_one(self, row: Row, columns: Sequence[int]) -> str:
        """The condition that finds one of the rows that are as expected, where there may be several."""
        return f"(tableoid, ctid) = (SELECT tableoid, ctid FROM {self._name} WHERE {self._conditions(row, columns)} LIMIT 1)"  # noqa: S608

    def _conditions(self, row: Row, columns: Sequence[int]) -> str:
        key = self._table.key
        found = [f"{self._names[at]} = {literal(row[at])}" for at in key]
        guards = [*self._inexact, *[at for at in columns if at not in key]]
        return " AND ".join([*found, *[self._equal[at](row[at]) for at in guards]])


def _script(operations: Iterable[tuple[TransactionInfo, RowChanges]], header: Sequence[str]) -> Iterator[str]:
    yield _HEAD.format(comments="".join(map(_comment, header)))
    writers: dict[Table, Statements] = {}
    count = 0
    for transaction, group in groupby(operations, key=lambda operation: operation[0]):
        count += 1
        yield f"\n{_comment(f'Transaction {transaction.id} {transaction.comment}')}{_BEGIN}"
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
            full = len(pending) >= INSERT_ROWS_MAX or size + len(row) > INSERT_CHARACTERS_MAX
            if owner and (full or not row or owner is not writer):
                yield owner.insert(pending)
                pending, size, owner = [], 0, None
            if row:
                pending.append(row)
                size += len(row)
                owner = writer
            else:
                yield writer.statement(now, then)
    if owner:
        yield owner.insert(pending)
