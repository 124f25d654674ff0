"""What the three formats have in common: messages, and the rows a change was logged with.

Law: values only. A format makes messages of bytes; `transactions` puts them together, `images` makes row changes of them.

    kind              operation   what it is
    begin             -           a transaction begins
    insert …          the same    one row
    truncate          truncate    tables emptied
    message           -           what pg_logical_emit_message wrote
    commit            -           the transaction is committed
    prepare           -           … prepared, to be committed or rolled back later
    commit_prepared   -           a prepared one is committed
    rollback_prepared -           … rolled back
    stream_start …    -           parts of a transaction that was not over when they were written; stream_commit, stream_abort end it
    stream_change     streamed    a change of one, of which the log tells no row
    relation, type, origin  -     what pgoutput says of the tables to come
    skimmed           -           whole transactions of which nothing is wanted, counted
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeAlias

from dblog_tasks.event import JsonObject, Value

INSERT, UPDATE, DELETE, TRUNCATE = "insert", "update", "delete", "truncate"
BEGIN, COMMIT, MESSAGE = "begin", "commit", "message"
PREPARE, COMMIT_PREPARED, ROLLBACK_PREPARED = "prepare", "commit_prepared", "rollback_prepared"
STREAM_START, STREAM_STOP, STREAM_CHANGE = "stream_start", "stream_stop", "stream_change"
STREAM_COMMIT, STREAM_ABORT, STREAM_PREPARE = "stream_commit", "stream_abort", "stream_prepare"
RELATION, TYPE, ORIGIN = "relation", "type", "origin"
SKIMMED = "skimmed"
ROWS = frozenset({INSERT, UPDATE, DELETE})
STREAMED = "streamed"
OPERATIONS = {INSERT: INSERT, UPDATE: UPDATE, DELETE: DELETE, TRUNCATE: TRUNCATE, STREAM_CHANGE: STREAMED}
TableName: TypeAlias = tuple[str, str]


class Message(NamedTuple):
    """One record of a log, as a format frames it.

    Attributes:
        start, end: offsets of its bytes in the file.
        raw: these bytes.
        kind: see the head of the module.
        data: what the format needs to read the rest of it.
        lsn: end of the transaction for what ends one; of the record itself for others; 0 where the log has none.
        xid: of its transaction, 0 where it is not told.
        time: of commit or prepare; None where it is not told.
        gid: name of a prepared transaction.
        tables: tables of a change; more than one in a truncate.
        subxid: of the subtransaction, in a streamed part.
    """

    start: int
    end: int
    raw: bytes
    kind: str
    data: Any = None
    lsn: int = 0
    xid: int = 0
    time: datetime | None = None
    gid: str = ""
    tables: tuple[TableName, ...] = ()
    subxid: int = 0


class Skimmed(NamedTuple):
    """Whole transactions: how many changes, how many other records, and the first and last commit; `handed_in`: to the plan already."""

    changes: int
    others: int
    first: bytes
    last: bytes
    handed_in: bool = False


class Unchanged:
    """Stands in a row for a value that the log leaves out because it did not change."""

    def __repr__(self) -> str:
        return "unchanged"


UNCHANGED: Final = Unchanged()
# What the log tells of the row before a change: all of it; its key; nothing; or some, and not whether the rest is NULL or not logged.
FULL, KEY, NOTHING, UNTOLD = "full", "key", "nothing", "untold"
LoggedRow: TypeAlias = tuple[Value | Unchanged, ...]


@dataclass(frozen=True, slots=True)
class Shape:
    """A table as a format tells it: columns with their types, in the order of the rows.

    Attributes:
        schema, name: of the table.
        names, types: of its columns.
        key: indexes of the columns of the primary key, where the format tells them.
        identity: replica identity as in pg_class: d, n, f, i; empty where it is not told.
        complete: no column is missing.
    """

    schema: str
    name: str
    names: tuple[str, ...]
    types: tuple[str, ...]
    key: tuple[int, ...] = ()
    identity: str = ""
    complete: bool = True


class Logged(NamedTuple):
    """The row of one change before and after it, as far as the log tells, in the columns of `shape`.

    Attributes:
        shape: the table.
        old: before; None: nothing is logged. Where `told` is not FULL, None in it stands for what is not there.
        new: after; None: there is none.
        told: see above.
        problem: why the values cannot be trusted, and what would help; empty when they can.
        unchanged: UNCHANGED is among the values of `new`.
    """

    shape: Shape
    old: LoggedRow | None
    new: LoggedRow | None
    told: str = NOTHING
    problem: tuple[str, str] | None = None
    unchanged: bool = True


@dataclass(frozen=True, slots=True)
class Truncate:
    """Tables emptied at once."""

    tables: tuple[TableName, ...]
    options: tuple[str, ...] = ()
    reason: str = "TRUNCATE"


@dataclass(frozen=True, slots=True)
class Border:
    """What begins or ends a transaction."""

    action: str
    id: str = ""
    gid: str = ""
    time: str = ""


@dataclass(frozen=True, slots=True)
class LogicalMessage:
    """What pg_logical_emit_message wrote."""

    prefix: str
    content: bytes
    transactional: bool


@dataclass(frozen=True, slots=True)
class PartialChange:
    """A change of which the log does not hold the whole rows: what there is of them, and why that is not enough."""

    table: TableName
    before: JsonObject | None
    after: JsonObject | None
    reason: str = ""
    fix: str = ""

    def reverse(self) -> PartialChange | None:
        """Return what would undo as much as is known; None where nothing can be said."""
        if self.before is None and self.after is None:
            return None
        return PartialChange(self.table, self.after, self.before, self.reason, self.fix)
