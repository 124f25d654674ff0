"""What is planned of one log file: each event gets its verdict, steps and omissions go into segments of the plan's folder.

Law: writes segments, reads nothing back; the formats of lines and segments stand at the head of `plan`. What is passed on of a part
is small: names, counts, positions.
"""

from __future__ import annotations

from binascii import b2a_base64
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
import hashlib
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
import zstandard

from dblog_tasks import ledger as words, storage
from dblog_tasks.event import (
    Checkpoint,
    CommandChange,
    Event,
    JsonObject,
    LinesWanted,
    Omission,
    PackedRows,
    PackedTransactions,
    Row,
    RowChanges,
    RowPair,
    Table,
    Transaction,
    binary_columns,
)
from dblog_tasks.ledger import Ledger

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

SEGMENT_MAX = 4 << 20  # bytes of lines; one event may be larger
STEPS, OMITTED, CONFLICTS = "steps", "omitted", "conflicts"
LEVEL = 1  # of Zstandard: higher ones cost more time than the segment does
BIGGEST = 20  # transactions the manifest names
INSERT, UPDATE, DELETE, COMMAND = "insert", "update", "delete", "command"


class Segment(NamedTuple):
    """One file of a plan.

    Attributes:
        kind: steps, omitted or conflicts.
        name: below the plan's folder.
        sha256: of its lines.
        size: bytes of its lines.
        events, rows: what it holds.
    """

    kind: str
    name: str
    sha256: str
    size: int
    events: int
    rows: int = 0

    def to_json(self) -> JsonObject:
        """Return the segment as a JSON object; `Segment(**value)` gives it back."""
        return self._asdict()


class Pending(NamedTuple):
    """A prepared transaction that is not undone yet, since it may be rolled back: its id and where it stands in the log."""

    id: str
    start: str
    end: str


@dataclass(frozen=True, slots=True)
class LogPart:
    """What was planned of one log file: small values, the steps themselves lie in segments.

    Attributes:
        log: name and identity of the file.
        start, end: the part of it that was dealt with.
        ledger: what became of its events.
        segments: in log order.
        tables: rows by table and operation.
        transactions: the biggest, with their number of rows.
        transaction_count: of transactions with steps.
        partly: transactions of which the selection left something out, and the tables of that.
        omissions: the fix by reason.
        named: names of the selected transactions that a filter asked for.
        span: commit times of the first and last transaction, of all in the file.
        omitted_later: how many omissions came after the first step.
        prepared: ids of XA transactions that were prepared and did not end in the file.
        ended: ids of those that were committed in it, and prepared before it.
        pending: those a later run takes up when they are committed.
        cascades: tables that foreign keys may have changed with these rows, which the log does not hold.
        unread: why what was not read thanks to an index is not needed, in the ledger's words.
    """

    log: tuple[str, str]
    start: Checkpoint
    end: Checkpoint
    ledger: Ledger
    segments: tuple[Segment, ...] = ()
    tables: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    transactions: tuple[tuple[int, Transaction], ...] = ()
    transaction_count: int = 0
    partly: tuple[int, tuple[str, ...]] = (0, ())
    omissions: Mapping[str, str] = field(default_factory=dict)
    named: frozenset[str] = frozenset()
    span: tuple[datetime, datetime] | None = None
    omitted_later: int = 0
    cascades: tuple[str, ...] = ()
    prepared: frozenset[str] = frozenset()
    ended: tuple[str, ...] = ()
    pending: tuple[Pending, ...] = ()
    unread: frozenset[str] = frozenset()


class SegmentWriter:
    """Writes lines into segments of one kind below a plan's folder; a full one is packed and stored beside, while lines go on coming."""

    def __init__(self, folder: str, kind: str, stem: str, storage_options: Mapping[str, Any]) -> None:
        self.segments: list[Segment] = []
        self._folder, self._kind, self._stem, self._options = folder, kind, stem, storage_options
        self._lines: list[bytes] = []
        self._size = self._events = self._rows = 0
        self._beside: ThreadPoolExecutor | None = None
        self._storing: Future[Segment] | None = None

    @property
    def room(self) -> int:
        """Bytes until the segment is full."""
        return SEGMENT_MAX - self._size

    def add(self, *line: bytes, events: int = 0, rows: int = 0) -> bool:
        """Add a line, in parts and as `dumped` makes it; return whether the segment is full and should be flushed."""
        self._lines += line
        self._size += sum(map(len, line))
        self._events += events
        self._rows += rows
        return self._size >= SEGMENT_MAX

    def flush(self) -> None:
        """Begin to store what is pending as a segment; the one before it is stored then. Raises StorageError, here or in `finish`."""
        if not self._lines:
            return
        self._stored()
        if self._beside is None:
            from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - a plan of one segment needs none

            self._beside = ThreadPoolExecutor(1, thread_name_prefix="dblog-segment")
        self._storing = self._beside.submit(self._store, len(self.segments), self._lines, self._events, self._rows)
        self._lines, self._size, self._events, self._rows = [], 0, 0, 0

    def finish(self) -> Sequence[Segment]:
        """Store what is pending; return all segments, in order."""
        self._stored()
        if self._lines:
            self.segments.append(self._store(len(self.segments), self._lines, self._events, self._rows))
        self.close()
        return self.segments

    def close(self) -> None:
        """Wait until nothing more is written, whatever came of it."""
        if self._beside is not None:
            self._beside.shutdown()

    def _stored(self) -> None:
        if self._storing is not None:
            self.segments.append(self._storing.result())
            self._storing = None

    def _store(self, number: int, pending: Sequence[bytes], events: int, rows: int) -> Segment:
        lines = b"".join(pending)
        digest = hashlib.sha256(lines).hexdigest()
        name = f"{self._kind}/{self._stem}-{number:04}-{digest[:12]}.jsonl.zst"
        storage.write_file(storage.join(self._folder, name), zstandard.compress(lines, LEVEL), self._options)
        return Segment(self._kind, name, digest, len(lines), events, rows)


def dumped(line: Any) -> bytes:
    """Return a line of a segment."""
    try:
        return orjson.dumps(line, default=_plain, option=orjson.OPT_APPEND_NEWLINE)
    except orjson.JSONEncodeError:  # an integer of more than 64 bits
        return orjson.dumps(_wide(line), default=_plain, option=orjson.OPT_APPEND_NEWLINE)


def _wide(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _wide(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_wide(member) for member in value]
    return {"integer": hex(value)} if isinstance(value, int) and not -(1 << 63) <= value < 1 << 64 else value


def _plain(value: Any) -> Any:
    """What JSON has no form for."""
    if isinstance(value, bytes):
        return {"base64": b2a_base64(value, newline=False).decode()}
    raise TypeError(f"a value of type {type(value).__name__} cannot stand in a plan")


def _packed(rows: Sequence[RowPair], binary: Sequence[int]) -> list[list[list[Any] | None]]:
    return [[None if row is None else _packed_row(row, binary) for row in pair] for pair in rows]


def _packed_row(row: Row, binary: Sequence[int]) -> list[Any]:
    values = list(row)
    for at in binary:
        if values[at] is not None:
            values[at] = b2a_base64(values[at], newline=False).decode()  # type: ignore[arg-type]
    return values


class _Numbered(NamedTuple):
    """A table of a segment: its number there, the table itself so that it stays alive, its columns of bytes, its rows so far."""

    number: int
    table: Table
    binary: list[int]
    counts: Counter[str]


class PartWriter:
    """Takes the selected events of one log file, gives each its verdict, and writes steps and omissions."""

    def __init__(
        self,
        folder: str,
        file: str,
        ledger: Ledger,
        storage_options: Mapping[str, Any],
        *,
        tail_waits: bool = False,
        carries: bool = False,
        asked_for: AbstractSet[str] = frozenset(),
    ) -> None:
        """`tail_waits`: what is not committed is left to the next run instead of being an omission.

        `carries`: what is prepared is left to the run that sees it committed; it is in `pending` afterwards.
        `asked_for`: names of transactions to look out for; those that were seen are in `named` afterwards.
        """
        self._ledger = ledger
        self._tail_waits, self._carries = tail_waits, carries
        self.pending: dict[str, Pending] = {}
        self._steps = SegmentWriter(folder, STEPS, file, storage_options)
        self._omitted = SegmentWriter(folder, OMITTED, file, storage_options)
        self._tables: dict[int, _Numbered] = {}  # by identity
        self._transactions: dict[str, int] = {}
        self._asked_for = frozenset(asked_for)
        self.tables: dict[str, Counter[str]] = {}
        self.biggest: list[tuple[int, Transaction]] = []
        self.transaction_count = 0
        self.partly = 0  # transactions of which the selection left something out
        self.also_touched: set[str] = set()  # and the tables of that
        self.omissions: dict[str, str] = {}
        self.omitted_later = 0  # omissions after the first step
        self.named: set[str] = set()
        self._current: Event | None = None  # the last of the transaction that rows are counted of
        self._current_id: str | None = None
        self._current_rows = 0

    def add(self, event: Event) -> None:
        """Give one event its verdict."""
        if self._asked_for and event.transaction is not None:
            self.named |= self._asked_for.intersection(_transaction_of(event).names)
        packed: PackedRows | None = getattr(event, "packed", None)
        if packed is None:
            self._judge(event)
        else:
            self._packed_step(event, packed)

    def wanted(self) -> LinesWanted | None:
        """Return what may be taken in without events: no transaction of those before, none of the biggest, no end of a segment."""
        if self._asked_for:
            return None
        rows = sorted([self._current_rows, *(found[0] for found in self.biggest)], reverse=True)[:BIGGEST]
        numbers = {key: table.number for key, table in self._tables.items()}
        none = self._current_id not in self._transactions or len(rows) < BIGGEST  # yet: the next that is wanted comes as events
        return LinesWanted(self._steps.room, -1 if none else rows[-1], numbers, self._transactions)

    def take(self, packed: PackedTransactions) -> None:
        """Take in transactions that are written already, as `wanted` has them."""
        self._close_transaction()
        self.transaction_count += packed.number
        all_events = all_rows = 0
        for table, operation, events, rows in packed.changes:
            all_events += events
            all_rows += rows
            if rows:
                self._tables[id(table)].counts[operation] += rows
        self._ledger.undone += all_events
        self._ledger.rows_undone += all_rows
        self._steps.add(packed.lines, events=all_events, rows=all_rows)

    def _judge(self, event: Event) -> None:
        transaction: Transaction | None = getattr(event, "transaction_info", None)
        omission: Omission | None = getattr(event, "omission", None)
        operation = _forward(event) if omission is None else None
        if omission is not None and self._tail_waits and omission.reason in words.WAITING:
            self._ledger.not_needed[words.NEXT_RUN] += 1
        elif omission is not None and self._carries and omission.reason == words.PREPARED and transaction is not None:
            self._ledger.not_needed[words.NEXT_RUN] += 1
            name = next((name for name in transaction.names if name.startswith("X'")), transaction.id)
            self.pending[transaction.id] = Pending(name, transaction.start.value, transaction.end.value)
        elif omission is not None:
            self._omit(event, transaction, omission)
        elif operation is None:
            self._ledger.not_needed[words.STRUCTURE] += 1
        else:
            self._step(event, operation)

    def _omit(self, event: Event, transaction: Transaction | None, omission: Omission) -> None:
        self._ledger.omitted[omission.reason] += 1
        self.omitted_later += self._ledger.undone > 0
        self.omissions.setdefault(omission.reason, omission.fix)
        line = {
            "at": event.position.value,
            "kind": event.kind,
            "table": ".".join(event.table) if event.table else None,
            "transaction": transaction.id if transaction else None,
            "time": event.time.isoformat() if event.time else None,
            "reason": omission.reason,
            "fix": omission.fix,
        }
        lost: JsonObject | None = getattr(event, "lost", None)
        if self._omitted.add(dumped(line if lost is None else {**line, "lost": lost}), events=1):
            self._omitted.flush()

    def _step(self, event: Event, operation: Any) -> None:
        rows = len(operation.rows) if isinstance(operation, RowChanges) else 1
        line: JsonObject = {"at": event.position.value, "in": self._transaction(event, rows)}
        if isinstance(operation, RowChanges):
            table = self._table(operation.table)
            line |= {"of": table.number, **({"carried": True} if operation.carried else {})}
            line["rows"] = _packed(operation.rows, table.binary) if table.binary else operation.rows
            for before, after in operation.rows[:1]:  # all rows of an event are of one kind
                table.counts[INSERT if before is None else DELETE if after is None else UPDATE] += rows
        elif isinstance(operation, CommandChange):
            line |= {"database": operation.database, "do": operation.do, "undo": operation.undo, "grade": operation.grade}
            self.tables.setdefault(f"db{operation.database}", Counter())[COMMAND] += 1
        else:
            line |= {"operation": operation}
        self._undone(rows, dumped(line))

    def _packed_step(self, event: Event, packed: PackedRows) -> None:
        """Write rows that are JSON already: the line is that of `_step`."""
        transaction = self._transaction(event, packed.number)
        table = self._table(packed.table)
        if packed.number:
            table.counts[packed.operation] += packed.number
        at, number = orjson.dumps(packed.at), b"null" if transaction is None else b"%d" % transaction
        self._undone(packed.number, b'{"at":%b,"in":%b,"of":%d,"rows":' % (at, number, table.number), packed.rows, b"}\n")

    def _undone(self, rows: int, *line: bytes) -> None:
        self._ledger.undone += 1
        self._ledger.rows_undone += rows
        if self._steps.add(*line, events=1, rows=rows):
            self._steps.flush()
            self._tables, self._transactions = {}, {}

    def _table(self, table: Table) -> _Numbered:
        found = self._tables.get(id(table))
        if found is None:
            counts = self.tables.setdefault(f"{table.schema}.{table.name}", Counter())
            found = self._tables[id(table)] = _Numbered(len(self._tables), table, binary_columns(table), counts)
            self._steps.add(dumped({"table": found.number, **table.to_json()}))
        return found

    def _transaction(self, event: Event, rows: int) -> int | None:
        """Return the number of the event's transaction in this segment, and count its rows."""
        name = event.transaction
        if name is None:
            return None
        if name != self._current_id:
            self._close_transaction()
            self._current_id = name
        self._current = event
        self._current_rows += rows
        number = self._transactions.get(name)
        if number is None:
            number = self._transactions[name] = len(self._transactions)
            described: JsonObject = getattr(event, "transaction_json", None) or transaction_json(_transaction_of(event))
            self._steps.add(dumped({"transaction": number, **described}))
        return number

    def _close_transaction(self) -> None:
        if self._current is None:
            return
        event, rows = self._current, self._current_rows
        self._current, self._current_id, self._current_rows = None, None, 0
        self.transaction_count += 1
        also_touched: tuple[str, ...] | None = getattr(event, "also_touched", None)
        also_touched = _transaction_of(event).also_touched if also_touched is None else also_touched
        if also_touched:
            self.partly += 1
            self.also_touched.update(also_touched)
        if len(self.biggest) < BIGGEST or rows > self.biggest[-1][0]:
            self.biggest = sorted([*self.biggest, (rows, _transaction_of(event))], key=lambda found: -found[0])[:BIGGEST]

    def finish(self) -> tuple[Segment, ...]:
        """Write what is pending; return the segments, steps first."""
        self._close_transaction()
        return (*self._steps.finish(), *self._omitted.finish())

    def close(self) -> None:
        """Wait until nothing more is written, whatever came of it."""
        self._steps.close()
        self._omitted.close()


def _forward(event: Event) -> Any:
    """Return what is kept of an event that can be undone: its change where that can be reversed later, else the undo itself."""
    if getattr(event, "operation", ...) is None:
        return None
    change = getattr(event, "change", None) or (event.body if isinstance(event.body, RowChanges | CommandChange) else None)
    if change is not None:
        return change
    reverse: Callable[[], Any] | None = getattr(event, "reverse", None)
    return reverse() if reverse else None


def _transaction_of(event: Event) -> Transaction:
    """Return the transaction of an event that has the id of one."""
    transaction: Transaction = event.transaction_info  # type: ignore[attr-defined]  # who has an id has the rest
    return transaction


def transaction_json(transaction: Transaction) -> JsonObject:
    """Return a transaction as a JSON object."""
    return {
        "id": transaction.id,
        "start": transaction.start.value,
        "end": transaction.end.value,
        "time": transaction.time.isoformat() if transaction.time else None,
        "names": transaction.names,
        "thread": transaction.thread,
        "statements": transaction.statements,
        "also_touched": transaction.also_touched,
    }
