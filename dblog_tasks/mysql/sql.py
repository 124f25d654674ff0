"""The undo as text for the vendor's own client (`mariadb`, `mysql`): values in, SQL out. No I/O, no server is asked.

Law: a statement changes a row only while the row still is what the log left, byte for byte; the check after it ends the client
when it did not change exactly its rows, and the server rolls the transaction back. Nothing a session, a collation or the client
could read in another way is left to it: how values are written and compared is told in `literals`. Valid for MariaDB 10.11 and later,
MySQL 5.7 to 9.7, and an account without SUPER.

Rows that a foreign key took along (in the log of MySQL from 9.6 on) are told in `carried`: they come in another order, and where the server
takes one along again, its check takes a row that is as wanted for one that was changed.

One statement is one line: what a client reads in its own way inside a string (line ends, NUL, Ctrl-Z) is escaped; text with
other control characters is written in hex, for the sake of the terminal it may be printed on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
import re
from typing import Any, Protocol, TypeAlias

from dblog_tasks.errors import MalformedPlan
from dblog_tasks.event import Row, RowChanges, Table
from dblog_tasks.mysql import native_sql
from dblog_tasks.mysql.carried import carried_steps, in_order_of_keys, is_carried
from dblog_tasks.mysql.row_sql import STRICT, Statements

INSERT_ROWS_MAX = 200
INSERT_CHARACTERS_MAX = 256 * 1024
PIECE_BYTES = 256 * 1024
STATEMENT_MAX = 120  # characters of a statement above its undo
TABLES_MAX = 1000  # kept by identity

_HEAD = f"""\
-- Undo made by dblog-tasks, newest change first, for the client of MariaDB (mariadb) or MySQL (mysql).
{{comments}}-- Run it as: mariadb --default-character-set=utf8mb4 --max-allowed-packet=1G < FILE
-- NEVER run it with --force, nor in a tool that goes on after an error.
-- A row is changed only while it is as the log left it. Where one is not, the client ends with ERROR 1242 at the line after the
-- statement and the server rolls that transaction back; transactions before it are committed. Tables of an engine without
-- transactions (MyISAM, Aria, MEMORY) keep what was done.
-- Rows that refer by now to one that is deleted here would go with it where a foreign key says so (ON DELETE CASCADE, SET NULL). The
-- script stops there, with the same error, if the plan was made with --schema; it cannot know of them otherwise.
SET NAMES utf8mb4;
{STRICT}\
SET SESSION time_zone = '+00:00', foreign_key_checks = 1, unique_checks = 1, autocommit = 1, sql_safe_updates = 0;
"""


@dataclass(frozen=True, slots=True)
class TransactionInfo:
    """A transaction of the log as its undo names it."""

    id: str  # its GTID, xid or position
    comment: str = ""  # what else a person wants to read above its undo: commit time, position


# A transaction as `plan` finds it in a segment: its id, where it starts, when it was committed, and its first statement.
StoredTransaction: TypeAlias = tuple[str, str, str | None, str]


class StoredSegment(Protocol):
    """The steps of a segment of a plan, in log order, as they are stored.

    Attributes:
        data: the segment.
        places: where in it the lines of its steps begin and end, by turns.
        tables, transactions: what those lines name by number.
    """

    @property
    def data(self) -> bytes: ...
    @property
    def places(self) -> tuple[int, ...]: ...
    @property
    def tables(self) -> Sequence[Table]: ...
    @property
    def transactions(self) -> Sequence[StoredTransaction]: ...

    def step(self, number: int) -> tuple[str, StoredTransaction | None, Any]:
        """Return the position of a step, its transaction, and its undo."""


def undo_script(operations: Iterable[tuple[TransactionInfo, RowChanges]], *, header: Sequence[str] = ()) -> Iterator[str]:
    """Yield the script in pieces of many statements.

    `operations` are reversed already, newest first, those of a transaction next to each other; each transaction of the log is
    one of the script. `header` lines become comments at its top. Raises MalformedPlan for a table or value SQL cannot hold: what
    was yielded until then is no whole script, and the client rolls back the transaction it ends in.
    """
    script = _Script(header)
    for transaction, changes in operations:
        for piece in script.add(transaction, changes):
            yield piece.decode()
    yield script.end().decode()


def plan_script(segments: Iterable[StoredSegment], *, header: Sequence[str] = ()) -> Iterator[bytes]:
    """Yield the script of a plan, its newest segment first, as `undo_script` does; in UTF-8."""
    script = _Script(header)
    for segment in segments:
        yield from script.add_segment(segment)
    yield script.end()


_NOT_IN_COMMENT = re.compile(r"[\0-\x1f\x7f-\x9f\ud800-\udfff]")


def _comment(text: str) -> str:
    words = text if text.isprintable() else _NOT_IN_COMMENT.sub(" ", text)
    return f"-- {' '.join(words.split())}\n"


def _beginning(name: str, comment: str) -> bytes:
    return f"\n{_comment(f'Transaction {name} {comment}')}START TRANSACTION;\n".encode()


def _told(transaction: StoredTransaction) -> str:
    """Return what a person wants to read of a transaction."""
    _, start, time, statement = transaction
    told = f"committed {time}" if time else ""
    if start:
        told = f"{told}; {start}" if told else start
    said = " ".join(statement.split())[:STATEMENT_MAX] if statement else ""
    return f"{told}; {said}" if told and said else told or said


class _Writers(dict[Table, Statements]):
    """Statements by table, made when asked for."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[int, tuple[Table, Statements]] = {}  # by identity, the tables kept alive: finding one by its value takes a while

    def __missing__(self, table: Table) -> Statements:
        writer = self[table] = Statements(table)
        return writer

    def of(self, table: Table) -> Statements:
        """Return the statements of a table."""
        found = self._last.get(id(table))
        if found is None:
            if len(self._last) >= TABLES_MAX:
                self._last.clear()
            found = self._last[id(table)] = (table, self[table])
        return found[1]

    def compiled(self, table: Table) -> native_sql.Table | None:
        """Return a table for compiled code, None where no undo of it can be written."""
        try:
            return self.of(table).compiled
        except MalformedPlan:
            return None


class _Script:
    """The script; neighbouring rows to insert into one table become one INSERT. What is long enough is yielded."""

    def __init__(self, header: Sequence[str]) -> None:
        self._pieces: list[bytes] = []  # not yielded yet
        self._size = 0  # of them
        self._writers = _Writers()
        self._transactions = 0
        self._transaction: TransactionInfo | None = None  # the one that was begun last, where it is known
        self._begun = b""  # its beginning
        self._owner: Statements | None = None  # of the rows that wait for their INSERT
        self._rows: list[str] = []
        self._rows_size = 0
        self._put(_HEAD.format(comments="".join(map(_comment, header))).encode())

    def add(self, transaction: TransactionInfo, changes: RowChanges) -> Iterator[bytes]:
        """Write one operation."""
        self._begin_of(transaction)
        for now, then in changes.rows:
            self._add_row(changes.table, now, then)
            if self._size >= PIECE_BYTES:
                yield self._taken()

    def _begin_of(self, transaction: TransactionInfo) -> None:
        if transaction is not self._transaction:
            self._begin(_beginning(transaction.id, transaction.comment))
            self._transaction = transaction

    def _add_row(self, table: Table, now: Row | None, then: Row | None, *, carried: bool = False) -> None:
        writer = self._writers.of(table)
        row = writer.row(then) if now is None and then is not None else ""
        if row and then is not None and not writer.stands_alone(then):
            self._wait(writer, row)
        else:
            self._insert()
            statement = writer.update(now, then, carried=True) if carried and now and then else writer.statement(now, then)
            self._put(statement.encode())

    def add_segment(self, segment: StoredSegment) -> Iterator[bytes]:
        """Write the steps of a segment, last one first; those that foreign keys took along in the order of the keys."""
        left = len(segment.places) // 2
        compiled = native_sql.available()
        if compiled:
            beginnings = tuple([_beginning(transaction[0], _told(transaction)) for transaction in segment.transactions])
            tables = tuple(map(self._writers.compiled, segment.tables))
        while left:
            if compiled:
                self._transaction = None
                done = native_sql.undo(segment.data, segment.places, left, beginnings, tables, self._begun)
                left = self._take(done, segment)
            if left and (not compiled or done.odd):
                position, transaction, changes = segment.step(left - 1)
                info = TransactionInfo(*((position,) if transaction is None else (transaction[0], _told(transaction))))
                steps = carried_steps(segment, left) if is_carried(changes) else []
                yield from self._add_carried(info, steps) if steps else self.add(info, changes)
                left -= len(steps) or 1
            if self._size >= PIECE_BYTES:
                yield self._taken()

    def _add_carried(self, transaction: TransactionInfo, steps: Sequence[RowChanges]) -> Iterator[bytes]:
        self._begin_of(transaction)
        for table, now, then in in_order_of_keys(steps):
            self._add_row(table, now, then, carried=True)
            if self._size >= PIECE_BYTES:
                yield self._taken()

    def _take(self, done: native_sql.Done, segment: StoredSegment) -> int:
        """Take what compiled code has written; return how many steps are left."""
        if done.written:
            self._insert()
            self._put(done.written)
        self._begun = done.begun
        self._transactions += done.transactions
        if done.rows:
            owner = self._writers.of(segment.tables[done.table])
            self._wait_all(owner, done.rows)
        return done.left

    def end(self) -> bytes:
        """Write what comes after the last operation; return what was not yielded yet."""
        self._commit()
        self._put(f"\n-- End of the undo: {self._transactions} transactions.\n".encode())
        return self._taken()

    def _taken(self) -> bytes:
        pieces, self._pieces, self._size = self._pieces, [], 0
        return b"".join(pieces)

    def _begin(self, beginning: bytes) -> None:
        if beginning != self._begun:
            self._commit()
            self._begun = beginning
            self._transactions += 1
            self._put(beginning)

    def _commit(self) -> None:
        self._insert()
        if self._begun:
            self._put(b"COMMIT;\n")

    def _put(self, data: bytes) -> None:
        self._pieces.append(data)
        self._size += len(data)

    def _wait_all(self, owner: Statements, rows: Sequence[str]) -> None:
        size = sum(map(len, rows))
        if (
            self._owner in (None, owner)
            and len(self._rows) + len(rows) <= INSERT_ROWS_MAX
            and self._rows_size + size <= INSERT_CHARACTERS_MAX
        ):
            self._owner = owner
            self._rows += rows
            self._rows_size += size
        else:
            for row in rows:
                self._wait(owner, row)

    def _wait(self, owner: Statements, row: str) -> None:
        full = len(self._rows) >= INSERT_ROWS_MAX or self._rows_size + len(row) > INSERT_CHARACTERS_MAX
        if full or owner is not self._owner:
            self._insert()
        self._owner = owner
        self._rows.append(row)
        self._rows_size += len(row)

    def _insert(self) -> None:
        """Write the INSERT of the rows that wait."""
        if self._owner is not None:
            self._put(self._owner.insert(self._rows).encode())
            self._owner, self._rows, self._rows_size = None, [], 0
