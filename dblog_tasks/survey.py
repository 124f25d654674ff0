"""What a log holds, in one pass: changes over time, transactions that stand out, and what no undo could bring back.

Law: events in, a value out; nothing is kept of a log but counts, names and a few texts. Memory does not grow with the log:

    bound                  beyond it
    TABLES_MAX             further tables and kinds of change count together, as OTHER
    BUCKETS_MAX            the buckets of time get the next of WIDTHS; each is a multiple of the one before, so they merge
    TRANSACTION_TABLES_MAX the same as TABLES_MAX, for one transaction
    BIGGEST, TEXTS_MAX     the biggest and the first are kept, all are counted

A rows event that cannot be decoded counts as one row: its number of rows is at least that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from heapq import heappush, heappushpop
from itertools import count

from dblog_tasks.errors import MalformedLog
from dblog_tasks.event import Event, Omission, Position, RowChanges, Source, Transaction

TABLES_MAX = 1000
TRANSACTION_TABLES_MAX = 50
BUCKETS_MAX = 60
BIGGEST = 10
TEXTS_MAX, TEXT_MAX, VERBS_MAX = 5, 400, 30  # statements kept with each first word, characters of each, first words
REASONS_MAX = 100
SUSPECTS, SUSPECTS_A_TABLE = 5, 3
ROWS, BYTES = "rows", "bytes"  # what a transaction is measured by: rows, or bytes where rows cannot be counted
SUSPECT_OVER = {ROWS: 30, BYTES: 2000}  # a suspect changes more of a table than that,
SUSPECT_TIMES_USUAL = 20  # and more than so many times the median of the other transactions
OTHER, ANY_TABLE = ("(other tables)", "other"), "(any table)"
WIDTHS = tuple(
    timedelta(seconds=seconds)
    for seconds in (
        1,
        5,
        15,
        30,
        60,
        300,
        900,
        1800,
        3600,
        10_800,
        21_600,
        43_200,
        86_400,
        604_800,
        2_419_200,
        31_449_600,
        314_496_000,
        6_289_920_000,
    )
)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Changes:
    """What was changed of one table in one way.

    Attributes:
        table: `schema.table`; `db<number>` for a log of commands; ANY_TABLE for what may have changed any.
        kind: insert, update, delete; statement, definition; a command's name.
        rows: at least so many: exactly, when `unread` is 0.
        unread: events of which the rows could not be counted.
        events, size: events and their bytes.
        over_time: rows in each of the survey's buckets.
    """

    table: str
    kind: str
    rows: int = 0
    unread: int = 0
    events: int = 0
    size: int = 0
    over_time: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Big:
    """A transaction and what it changed; `rows` as in Changes, `size` in bytes of its events."""

    transaction: Transaction
    rows: int
    unread: int
    size: int
    changes: tuple[Changes, ...]


@dataclass(frozen=True, slots=True)
class Suspect:
    """A transaction that stands out: it changed far more of a table than others usually do (`usual`: at most so much, 0: nothing).

    `amount` and `usual` are in `unit`: ROWS, or BYTES where the rows cannot be counted.
    """

    found: Big
    table: str
    kind: str
    unit: str
    amount: int
    usual: int


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why events cannot be undone, how many, what would have helped, and where: the first position and some tables."""

    reason: str
    fix: str
    events: int
    position: str
    tables: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement of which the log has the text instead of the rows; `kind` is statement or definition."""

    kind: str
    position: str
    time: datetime | None
    text: str


@dataclass(frozen=True, slots=True)
class Survey:
    """What a log holds.

    Attributes:
        source: whose log.
        first, last: positions of the first and last event.
        since, until: earliest and latest commit of a change, UTC; None without a change that has a time.
        events, transactions: how many; transactions are those with changes.
        silent: transactions with changes of which the log has no statement text.
        start, width: of the first bucket of `Changes.over_time`, and of each.
        changes: by table and kind, most rows first.
        biggest, longest: transactions by rows and by bytes, with the most first.
        suspects: the most suspicious first.
        obstacles: most events first.
        statements: the first ones with each first word.
        keyless: tables without a key that tells rows apart.
        problem: the error that ended the reading: the survey is of what came before it.
    """

    source: Source = Source()
    first: str = ""
    last: str = ""
    since: datetime | None = None
    until: datetime | None = None
    events: int = 0
    transactions: int = 0
    silent: int = 0
    start: datetime | None = None
    width: timedelta = WIDTHS[0]
    changes: tuple[Changes, ...] = ()
    biggest: tuple[Big, ...] = ()
    longest: tuple[Big, ...] = ()
    suspects: tuple[Suspect, ...] = ()
    obstacles: tuple[Obstacle, ...] = ()
    statements: tuple[Statement, ...] = ()
    keyless: tuple[str, ...] = ()
    problem: MalformedLog | None = None


def survey(events: Iterable[Event]) -> Survey:
    """Return what a log holds. A damaged or cut log gives what came before the damage, with `problem`; other errors are raised."""
    counts = _Counts()
    problem = None
    try:
        for event in events:
            counts.add(event)
    except MalformedLog as error:
        problem = error
    return counts.survey(problem)


@dataclass(slots=True)
class _Tally:
    """Changes of one table and kind, being counted."""

    rows: int = 0
    unread: int = 0
    events: int = 0
    size: int = 0

    def add(self, rows: int | None, size: int) -> None:
        self.rows += 1 if rows is None else rows
        self.unread += rows is None
        self.events += 1
        self.size += size


_Key = tuple[str, str]  # table, kind


class _Counts:
    """The counts of a survey, being raised."""

    def __init__(self) -> None:
        self._events = 0
        self._first: Event | None = None
        self._last: Event | None = None
        self._span: tuple[datetime, datetime] | None = None
        self._tallies: dict[_Key, _Tally] = {}
        self._timeline = Timeline()
        self._transactions = _Transactions()
        self._obstacles: dict[str, tuple[Obstacle, Counter[str]]] = {}
        self._statements: dict[str, list[Statement]] = {}
        self._keyless: set[str] = set()

    def add(self, event: Event) -> None:
        """Count one event."""
        self._events += 1
        self._first = event if self._first is None else self._first
        self._last = event
        operation: str | None = getattr(event, "operation", None)
        if operation is None:
            return
        rows, omission = self._rows(event)
        table, kind = _key(event, operation)
        if omission is not None:
            self._obstruct(omission, table, event.position)
        if table == ANY_TABLE:
            self._say(event, kind)
        size = len(event.raw)
        _tally(self._tallies, (table, kind), TABLES_MAX).add(rows, size)
        if event.time is not None:
            self._note_time(event.time, (table, kind), rows)
        self._transactions.add(getattr(event, "transaction_info", None), (table, kind), rows, size)

    def _rows(self, event: Event) -> tuple[int | None, Omission | None]:
        """Return the number of rows, None where it is not known, and what keeps the event from being undone."""
        omission: Omission | None = getattr(event, "omission", None)
        body = event.body
        if isinstance(body, RowChanges):
            if not body.table.key and len(self._keyless) < TABLES_MAX:
                self._keyless.add(f"{body.table.schema}.{body.table.name}")
            return len(body.rows), omission
        return (1 if _database(event) is not None else None), omission

    def _obstruct(self, omission: Omission, table: str, position: Position) -> None:
        if omission.reason not in self._obstacles and len(self._obstacles) >= REASONS_MAX:
            omission = Omission("other reasons", "")
        obstacle = Obstacle(omission.reason, omission.fix, 0, position.value)
        tables = self._obstacles.setdefault(omission.reason, (obstacle, Counter()))[1]
        tables[table if table in tables or len(tables) < TABLES_MAX else OTHER[0]] += 1

    def _say(self, event: Event, kind: str) -> None:
        text = getattr(event.body, "text", b"")
        shown = text[:TEXT_MAX].decode("utf-8", "replace") if isinstance(text, bytes) else str(text)[:TEXT_MAX]
        verb = shown.split(maxsplit=1)[0].upper() if shown.strip() else ""
        said = self._statements.setdefault(verb if verb in self._statements or len(self._statements) < VERBS_MAX else "", [])
        if verb and len(said) < TEXTS_MAX:
            said.append(Statement(kind, event.position.value, event.time, shown))

    def _note_time(self, time: datetime, key: _Key, rows: int | None) -> None:
        earliest, latest = self._span or (time, time)
        self._span = (min(earliest, time), max(latest, time))
        self._timeline.add(key if key in self._tallies else OTHER, time, 1 if rows is None else rows)

    def survey(self, problem: MalformedLog | None) -> Survey:
        """Return what was counted."""
        self._transactions.close()
        obstacles = (
            Obstacle(found.reason, found.fix, tables.total(), found.position, tuple(table for table, _ in tables.most_common(BIGGEST)))
            for found, tables in self._obstacles.values()
        )
        since, until = self._span or (None, None)
        return Survey(
            source=self._first.source if self._first else Source(),
            first=self._first.position.value if self._first else "",
            last=self._last.position.value if self._last else "",
            since=since,
            until=until,
            events=self._events,
            transactions=self._transactions.count,
            silent=self._transactions.silent,
            start=self._timeline.start,
            width=self._timeline.width,
            changes=_changes(self._tallies, self._timeline),
            biggest=self._transactions.by_rows.found(),
            longest=self._transactions.by_size.found(),
            suspects=self._transactions.suspects(),
            obstacles=tuple(sorted(obstacles, key=lambda obstacle: -obstacle.events)),
            statements=tuple(statement for said in self._statements.values() for statement in said),
            keyless=tuple(sorted(self._keyless)),
            problem=problem,
        )


def _key(event: Event, operation: str) -> _Key:
    if event.table is not None:
        return ".".join(event.table), operation
    database = _database(event)
    return (ANY_TABLE, operation) if database is None else (f"db{database}", event.kind)


def _database(event: Event) -> int | None:
    """Return the database of a command; None for what is none."""
    return getattr(event.body, "database", None) if event.table is None else None


def _tally(tallies: dict[_Key, _Tally], key: _Key, most: int) -> _Tally:
    if key not in tallies and len(tallies) >= most:
        key = OTHER
    return tallies.setdefault(key, _Tally())


def _changes(tallies: dict[_Key, _Tally], timeline: Timeline | None = None) -> tuple[Changes, ...]:
    ordered = sorted(tallies.items(), key=lambda found: (-found[1].rows, found[0]))
    return tuple(
        Changes(*key, tally.rows, tally.unread, tally.events, tally.size, timeline.over_time(key) if timeline else ())
        for key, tally in ordered
    )


class Timeline:
    """Rows by key in buckets of one width, which grows with the span of time."""

    def __init__(self) -> None:
        self._widths = iter(WIDTHS)
        self.width = next(self._widths)
        self._buckets: dict[_Key, Counter[int]] = {}
        self._low = self._high = -1

    def add(self, key: _Key, time: datetime, rows: int) -> None:
        """Count rows at a time."""
        bucket = (time - EPOCH) // self.width
        if not self._buckets:
            self._low = self._high = bucket
        self._buckets.setdefault(key, Counter())[bucket] += rows
        self._low, self._high = min(self._low, bucket), max(self._high, bucket)
        while self._high - self._low >= BUCKETS_MAX:
            self._widen()

    def _widen(self) -> None:
        old, self.width = self.width, next(self._widths)
        times = self.width // old
        for key, buckets in self._buckets.items():
            merged: Counter[int] = Counter()
            for bucket, rows in buckets.items():
                merged[bucket // times] += rows
            self._buckets[key] = merged
        self._low, self._high = self._low // times, self._high // times

    @property
    def start(self) -> datetime | None:
        """When the first bucket begins."""
        return EPOCH + self._low * self.width if self._buckets else None

    def over_time(self, key: _Key) -> tuple[int, ...]:
        """Return the rows of a key in each bucket."""
        buckets = self._buckets.get(key, Counter())
        return tuple(buckets.get(bucket, 0) for bucket in range(self._low, self._high + 1)) if self._buckets else ()


class _Top:
    """The transactions with the most of something."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._heap: list[tuple[int, int, Big]] = []
        self._number = count(0, -1)  # of equal ones the first stays

    def add(self, amount: int, big: Big) -> None:
        """Take it in when it is among the biggest so far."""
        entry = (amount, next(self._number), big)
        if len(self._heap) < self._most:
            heappush(self._heap, entry)
        else:
            heappushpop(self._heap, entry)

    def found(self) -> tuple[Big, ...]:
        """Return them, the biggest first."""
        return tuple(big for _, _, big in sorted(self._heap, key=lambda entry: entry[:2], reverse=True))


class _Transactions:
    """Transactions put together from their events, which follow one another; the biggest of them, and how big they usually are."""

    def __init__(self) -> None:
        self.count = self.silent = 0
        self.by_rows, self.by_size = _Top(BIGGEST), _Top(BIGGEST)
        self._open: Transaction | None = None
        self._tallies: dict[_Key, _Tally] = {}
        self._usual: dict[tuple[str, str], Counter[int]] = {}  # by table and unit: transactions by the bit length of what they change
        self._standing_out: dict[_Key, _Top] = {}

    def add(self, transaction: Transaction | None, key: _Key, rows: int | None, size: int) -> None:
        """Count one event; one outside a transaction is not looked at."""
        if transaction is None:
            return
        if self._open is None or self._open.id != transaction.id:
            self.close()
            self._open = transaction
        _tally(self._tallies, key, TRANSACTION_TABLES_MAX).add(rows, size)

    def close(self) -> None:
        """Deal with the transaction that is open."""
        transaction, tallies = self._open, self._tallies
        self._open, self._tallies = None, {}
        if transaction is None:
            return
        self.count += 1
        self.silent += not transaction.statements
        found = tallies.values()
        totals = (sum(tally.rows for tally in found), sum(tally.unread for tally in found), sum(tally.size for tally in found))
        big = Big(transaction, *totals, _changes(tallies))
        self.by_rows.add(big.rows, big)
        self.by_size.add(big.size, big)
        for measured, amount in _measured(big).items():
            if measured in self._usual or len(self._usual) < TABLES_MAX:
                self._usual.setdefault(measured, Counter())[amount.bit_length()] += 1
        for changes in big.changes:
            key, (unit, amount) = (changes.table, changes.kind), _amount(changes)
            if amount > SUSPECT_OVER[unit] and (key in self._standing_out or len(self._standing_out) < TABLES_MAX):
                self._standing_out.setdefault(key, _Top(SUSPECTS_A_TABLE)).add(amount, big)

    def suspects(self) -> tuple[Suspect, ...]:
        """Return the transactions that stand out, deletes first, each once."""
        found = [suspect for key, top in self._standing_out.items() for big in top.found() for suspect in self._judged(big, key)]
        found.sort(key=lambda suspect: (_SUSPICION.get(suspect.kind, len(_SUSPICION)), -suspect.amount))
        once = {suspect.found.transaction.id: suspect for suspect in reversed(found)}
        return tuple(suspect for suspect in found if once[suspect.found.transaction.id] is suspect)[:SUSPECTS]

    def _judged(self, big: Big, key: _Key) -> Iterator[Suspect]:
        """Yield the transaction as a suspect when it is one."""
        unit, amount = next(_amount(changes) for changes in big.changes if (changes.table, changes.kind) == key)
        measured = (key[0], unit)
        usual = _median(self._usual.get(measured, Counter()) - Counter([_measured(big).get(measured, 0).bit_length()]))
        if key[0] != ANY_TABLE and amount > SUSPECT_TIMES_USUAL * usual:
            yield Suspect(big, *key, unit, amount, usual)


def _median(lengths: Counter[int]) -> int:
    """Return the median of numbers of these bit lengths, rounded up to all bits set; 0 of none."""
    passed = 0
    for length in sorted(lengths):
        passed += lengths[length]
        if passed * 2 >= lengths.total():
            return (1 << length) - 1
    return 0


_SUSPICION = {"delete": 0, "update": 1, "insert": 2}


def _amount(changes: Changes) -> tuple[str, int]:
    """Return what a change is measured by, and how much it is."""
    return (BYTES, changes.size) if changes.unread else (ROWS, changes.rows)


def _measured(big: Big) -> Counter[tuple[str, str]]:
    """Return how much a transaction changed of each table, in each unit that is known of all its changes to the table."""
    unread = {changes.table for changes in big.changes if changes.unread}
    amounts: Counter[tuple[str, str]] = Counter()
    for changes in big.changes:
        amounts[changes.table, BYTES] += changes.size
        if changes.table not in unread:
            amounts[changes.table, ROWS] += changes.rows
    return amounts
