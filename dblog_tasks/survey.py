"""What a log holds, in one pass: changes over time, transactions that stand out, and what no undo could bring back.

Law: events in, a value out, text from the value; nothing is read, written or kept of a log but counts, names and a few texts. Memory
does not grow with the log:

    bound                  beyond it
    TABLES_MAX             further tables and kinds of change count together, as OTHER
    BUCKETS_MAX            the buckets of time get the next of WIDTHS; each is a multiple of the one before, so they merge
    TRANSACTION_TABLES_MAX the same as TABLES_MAX, for one transaction
    BIGGEST, TEXTS_MAX     the biggest and the first are kept, all are counted

A rows event that cannot be decoded counts as one row: its number of rows is at least that, and is shown so (≥).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from heapq import heappush, heappushpop
from itertools import count
import re
import shlex

from dblog_tasks.errors import MalformedLog, SchemaMismatch
from dblog_tasks.event import Event, Omission, Position, RowChanges, Source, Transaction
from dblog_tasks.storage.options import holds_secret

TABLES_MAX = 1000
TRANSACTION_TABLES_MAX = 50
BUCKETS_MAX = 60
BIGGEST = 10
TEXTS_MAX, TEXT_MAX = 10, 400  # statements kept of each kind, characters of each
REASONS_MAX = 100
SUSPECTS, SUSPECTS_A_TABLE = 5, 3
SUSPECT_ROWS, SUSPECT_TIMES_USUAL = 30, 20  # a suspect changes more rows than the one, and than the other times the table's median
OTHER, ANY_TABLE = ("(other tables)", "other"), "(any table)"
WIDTHS = tuple(
    timedelta(seconds=seconds)
    for seconds in (1, 5, 15, 30, 60, 300, 900, 1800, 3600, 10_800, 21_600, 43_200, 86_400, 604_800, 2_419_200, 31_449_600, 314_496_000, 6_289_920_000)
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
    """A transaction that stands out: it changed `rows` of a table of which another transaction usually changes `usual`."""

    found: Big
    table: str
    kind: str
    rows: int
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
        statements: the first ones of each kind.
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
        self._timeline = _Timeline()
        self._transactions = _Transactions()
        self._obstacles: dict[str, tuple[Obstacle, Counter[str]]] = {}
        self._statements: dict[str, list[Statement]] = {}
        self._keyless: set[str] = set()

    def add(self, event: Event) -> None:
        """Count one event."""
        self._events += 1
        self._first = self._first or event
        self._last = event
        operation: str | None = getattr(event, "operation", None)
        if operation is None:
            return
        rows, omission = self._rows(event)
        table, kind = _key(event, operation)
        if omission is not None:
            self._obstruct(omission, table, event.position)
        if event.table is None and kind == operation:
            self._say(event, kind)
        size = len(event.raw)
        _tally(self._tallies, (table, kind), TABLES_MAX).add(rows, size)
        if event.time is not None:
            self._note_time(event.time, (table, kind), rows)
        self._transactions.add(getattr(event, "transaction_info", None), (table, kind), rows, size)

    def _rows(self, event: Event) -> tuple[int | None, Omission | None]:
        """Return the number of rows, None where it is not known, and what keeps the event from being undone."""
        try:
            omission: Omission | None = getattr(event, "omission", None)
            body = event.body
        except SchemaMismatch as error:
            return None, Omission("the schema given is not of that time", error.hint)
        if isinstance(body, RowChanges):
            if not body.table.key and len(self._keyless) < TABLES_MAX:
                self._keyless.add(f"{body.table.schema}.{body.table.name}")
            return len(body.rows), omission
        return (None if event.table else 1), omission

    def _obstruct(self, omission: Omission, table: str, position: Position) -> None:
        if omission.reason not in self._obstacles and len(self._obstacles) >= REASONS_MAX:
            omission = Omission("other reasons", "")
        obstacle = Obstacle(omission.reason, omission.fix, 0, position.value)
        tables = self._obstacles.setdefault(omission.reason, (obstacle, Counter()))[1]
        tables[table if table in tables or len(tables) < TABLES_MAX else OTHER[0]] += 1

    def _say(self, event: Event, kind: str) -> None:
        text = getattr(event.body, "text", b"")
        said = self._statements.setdefault(kind, [])
        if text and len(said) < TEXTS_MAX:
            shown = text[:TEXT_MAX].decode("utf-8", "replace") if isinstance(text, bytes) else str(text)[:TEXT_MAX]
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
    database = getattr(event.body, "database", None)
    return (ANY_TABLE, operation) if database is None else (f"db{database}", event.kind)


def _tally(tallies: dict[_Key, _Tally], key: _Key, most: int) -> _Tally:
    if key not in tallies and len(tallies) >= most:
        key = OTHER
    return tallies.setdefault(key, _Tally())


def _changes(tallies: dict[_Key, _Tally], timeline: _Timeline | None = None) -> tuple[Changes, ...]:
    ordered = sorted(tallies.items(), key=lambda found: (-found[1].rows, found[0]))
    return tuple(
        Changes(*key, tally.rows, tally.unread, tally.events, tally.size, timeline.over_time(key) if timeline else ()) for key, tally in ordered
    )


class _Timeline:
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
        buckets = self._buckets.get(key, {})
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
        self._usual: dict[str, Counter[int]] = {}  # transactions by the bit length of the rows they change, by table
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
        for table, rows in _by_table(big).items():
            if table in self._usual or len(self._usual) < TABLES_MAX:
                self._usual.setdefault(table, Counter())[rows.bit_length()] += 1
        for key, tally in tallies.items():
            if tally.rows > SUSPECT_ROWS and (key in self._standing_out or len(self._standing_out) < TABLES_MAX):
                self._standing_out.setdefault(key, _Top(SUSPECTS_A_TABLE)).add(tally.rows, big)

    def suspects(self) -> tuple[Suspect, ...]:
        """Return the transactions that stand out, deletes first, each once."""
        found = [
            Suspect(big, *key, rows, usual)
            for key, top in self._standing_out.items()
            for big in top.found()
            for rows in (next(changes.rows for changes in big.changes if (changes.table, changes.kind) == key),)
            for usual in (self._usual_without(key[0], _by_table(big)[key[0]]),)
            if rows > SUSPECT_TIMES_USUAL * usual
        ]
        found.sort(key=lambda suspect: (_SUSPICION.get(suspect.kind, len(_SUSPICION)), -suspect.rows))
        once = {suspect.found.transaction.id: suspect for suspect in reversed(found)}
        return tuple(suspect for suspect in found if once[suspect.found.transaction.id] is suspect)[:SUSPECTS]

    def _usual_without(self, table: str, rows: int) -> int:
        """Return the median of the rows that the other transactions change of a table, rounded up to a power of two less one."""
        others = Counter(self._usual.get(table, {}))
        others[rows.bit_length()] -= 1
        passed = 0
        for length in sorted(others):
            passed += others[length]
            if passed * 2 >= others.total() > 0:
                return (1 << length) - 1
        return 0


_SUSPICION = {"delete": 0, "update": 1, "insert": 2}


def _by_table(big: Big) -> Counter[str]:
    rows: Counter[str] = Counter()
    for changes in big.changes:
        rows[changes.table] += changes.rows
    return rows


# ---- text, for a terminal of 100 columns and for a pipe

TEXT_WIDTH = 100
SPARKS = "▁▂▃▄▅▆▇█"
SPARKS_WIDTH = 30
TABLES_SHOWN = 40
# What would have put the text of statements into the log, by driver.
TEXT_SETTINGS = {
    "mysql": "MySQL: SET GLOBAL binlog_rows_query_log_events=ON; MariaDB: SET GLOBAL binlog_annotate_row_events=ON",
}


def inspect_text(
    found: Survey, *, urls: Sequence[str] = (), driver: str = "", schema: str = "", storage_options: Sequence[str] = ()
) -> Iterator[str]:
    """Yield the survey as lines of text, suspects with a command to paste last; then raise its `problem`, if it has one.

    The keywords are those of `suspect_command`.
    """
    for section in (_head, _over_time, _biggest, _obstacles, _statements):
        for line in section(found):
            yield line + "\n"
    yield "\n"
    if not found.suspects:
        yield f"suspects: none; no transaction changed over {SUSPECT_ROWS} rows and {SUSPECT_TIMES_USUAL} times what its table is used to\n"
        yield "plan one of those above by the name after its number of rows:\n"
        yield f"  {suspect_command(urls, driver, 'NAME', schema, storage_options)}\n"
    for number, suspect in enumerate(found.suspects, 1):
        big = suspect.found
        said = f"suspect {number}: {suspect.kind} of {_at_least(suspect.rows, big.unread)} rows of {suspect.table}"
        yield one_line(f"{said}, where others change {suspect.usual or 'none'}, at {moment(big.transaction.time)}") + "\n"
        yield from (f"  {one_line(text, TEXT_WIDTH - 2)}\n" for text in big.transaction.statements)
        yield f"  {suspect_command(urls, driver, big.transaction.id, schema, storage_options)}\n"
    if found.problem is not None:
        raise found.problem


def suspect_command(urls: Sequence[str], driver: str, transaction: str, schema: str = "", storage_options: Sequence[str] = ()) -> str:
    """Return the command line that plans the undo of a transaction, quoted for a shell.

    `storage_options` are as the user wrote them, `K=V` with secrets as `K=env:NAME`. What holds a secret all the same is left out as ***.
    """
    out = "undo-" + re.sub(r"[^A-Za-z0-9.]+", "_", transaction)
    words = ["dblog", "plan", *urls, "--driver", driver, "--transaction", transaction, "--out", out]
    words += ["--schema", schema] if schema else []
    words += [word for option in storage_options for word in ("--storage-option", option)]
    return shlex.join("***" if holds_secret(word) else word for word in words)


def _head(found: Survey) -> Iterator[str]:
    yield one_line(f"log      {found.source.name or found.source.driver}, {found.first} to {found.last}")
    if found.since is not None and found.until is not None:
        yield f"commits  {moment(found.since)} to {moment(found.until)}, {found.until - found.since}"
    yield f"holds    {found.events:,} events; {found.transactions:,} transactions with changes"
    if found.problem is not None:
        yield one_line(f"ENDS     {found.problem}", 10 * TEXT_WIDTH)


def _over_time(found: Survey) -> Iterator[str]:
    yield ""
    if not found.changes:
        yield "changes  none"
        return
    wide = min(30, max(len(changes.table) for changes in found.changes))
    step = -(-len(found.changes[0].over_time) // SPARKS_WIDTH) or 1
    each = f"each {found.width * step}, from {moment(found.start)}" if found.start else ""
    yield f"{'changes':{wide + 2}} {'kind':10} {'rows':>12}  {f'over time: {each}' if each else ''}"
    for changes in found.changes[:TABLES_SHOWN]:
        sparks = sparkline(changes.over_time, step)
        rows = _at_least(changes.rows, changes.unread)
        yield f"  {one_line(changes.table):{wide}} {one_line(changes.kind):10} {rows:>12}  {sparks}{_peak(found, changes)}"
    more = found.changes[TABLES_SHOWN:]
    if more:
        yield f"  and {len(more)} more kinds of change, {sum(changes.rows for changes in more):,} rows"


def _peak(found: Survey, changes: Changes) -> str:
    if not found.start or not any(changes.over_time):
        return ""
    most = max(changes.over_time)
    time = found.start + changes.over_time.index(most) * found.width
    return f"  most {most:,} at {time:{'%H:%M:%S' if found.width < timedelta(hours=1) else '%m-%d %H:%M'}}"


def sparkline(values: Sequence[int], step: int = 1) -> str:
    """Return a block for each `step` values, as high as their sum; a blank where it is 0."""
    sums = [sum(values[at : at + step]) for at in range(0, len(values), step)]
    most = max(sums, default=0)
    return "".join(SPARKS[value * (len(SPARKS) - 1) // most] if value else " " for value in sums)


def _biggest(found: Survey) -> Iterator[str]:
    yield from _ranking("the biggest transactions, by rows", found.biggest)
    others = [big for big in found.longest if big not in found.biggest]
    yield from _ranking("not among them, but among the longest, by bytes", others)


def _ranking(title: str, bigs: Sequence[Big]) -> Iterator[str]:
    if bigs:
        yield from ("", title)
    for big in bigs:
        it = big.transaction
        thread = f", thread {it.thread}" if it.thread else ""
        yield f"  {_at_least(big.rows, big.unread):>11}  {it.id}  {moment(it.time)}, {size(big.size)}{thread}"
        span = f"{it.start.value} to {it.end.value.rpartition(':')[2]}"
        did = "; ".join(f"{changes.kind} {_at_least(changes.rows, changes.unread)} {changes.table}" for changes in big.changes)
        yield one_line(f"               {span}: {did}")
        if it.statements:
            yield one_line(f"               {' ; '.join(it.statements)}")


def _obstacles(found: Survey) -> Iterator[str]:
    yield from ("", "what keeps changes from being undone" + ("" if found.obstacles else ": nothing found"))
    for obstacle in found.obstacles:
        yield one_line(f"  {obstacle.events:,} events: {obstacle.reason}, first at {obstacle.position}; {', '.join(obstacle.tables)}")
        if obstacle.fix:
            yield one_line(f"    {obstacle.fix}", 10 * TEXT_WIDTH)
    if found.keyless:
        yield one_line(f"  tables without a key, where equal rows cannot be told apart: {', '.join(found.keyless)}")
    if found.silent:
        setting = TEXT_SETTINGS.get(found.source.driver)
        yield f"  {found.silent:,} of {found.transactions:,} transactions without the text of their statements"
        yield from [f"    for the future {setting}"] if setting else []


def _statements(found: Survey) -> Iterator[str]:
    if found.statements:
        yield from ("", "statements the log has instead of rows, the first of each kind")
    for statement in found.statements:
        yield one_line(f"  {statement.position}  {moment(statement.time)}  {statement.kind}  {statement.text}")


def moment(time: datetime | None) -> str:
    """Return a time in UTC, with as many digits as it has; `no time` for None."""
    if time is None:
        return "no time"
    shown = time.astimezone(UTC)
    return f"{shown:%Y-%m-%d %H:%M:%S}{f'.{shown.microsecond:06}' if shown.microsecond else ''}Z"


def size(count: int) -> str:
    """Return a number of bytes in the unit that leaves at most four digits."""
    units = ("bytes", "KiB", "MiB", "GiB", "TiB")
    power = min(len(units) - 1, max(0, (count.bit_length() - 1) // 10))
    return f"{count / (1 << 10 * power):.{1 if power else 0}f} {units[power]}"


def one_line(text: str, width: int = TEXT_WIDTH) -> str:
    """Return a text of any origin as one printable line of at most `width` characters; what a terminal would act on is escaped."""
    indent = len(text) - len(text.lstrip(" "))
    shown = " " * indent + "".join(mark if mark.isprintable() else " " if mark.isspace() else ascii(mark)[1:-1] for mark in text.strip())
    return shown if len(shown) <= width else shown[: width - 1] + "…"


def _at_least(rows: int, unread: int) -> str:
    return f"{'≥' if unread else ''}{rows:,}"


__all__ = [
    "Big",
    "Changes",
    "Obstacle",
    "Statement",
    "Survey",
    "Suspect",
    "inspect_text",
    "moment",
    "one_line",
    "size",
    "sparkline",
    "suspect_command",
    "survey",
]
