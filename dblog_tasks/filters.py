"""Predicates over events, as values: a decoder can look into them and leave out early what they would rule out.

Law: a predicate of ours is a frozen, callable value with a `scope` and a `reason`; it never reads, decodes or counts. Any other
callable works too and is asked last. All predicates of a selection must hold; `any_of` needs one of its own.

    scope        what a predicate looks at                  a decoder may ask it
    table        kind, operation and table                  once a table layout
    transaction  transaction id and commit time             once a transaction
    event        anything that needs no decoding            once an event
    row          the rows                                   for every row (`keeps`)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import translate
from functools import cached_property
import re
from typing import Any, Protocol, TypeAlias, TypeVar

from dblog_tasks import ledger
from dblog_tasks.errors import InvalidInput
from dblog_tasks.event import Event, Position, Row, Source, Table

Predicate: TypeAlias = Callable[[Event], bool]
T = TypeVar("T")

TABLE, TRANSACTION, EVENT, ROW = "table", "transaction", "event", "row"
_WIDTH = {TABLE: 0, TRANSACTION: 1, EVENT: 2, ROW: 3}


class RowTest(Protocol):
    """A condition on one row change; `expression.parse` makes them from text."""

    @property
    def text(self) -> str: ...

    def bind(self, table: Table) -> Callable[[Row | None, Row | None], bool]:
        """Return the test for rows of this table. Raises InvalidInput when it names a column the table lacks."""


@dataclass(frozen=True)
class ByDriver:
    """Holds for events whose source has this driver."""

    driver: str
    scope = EVENT
    reason = ledger.OTHER_FILTER

    def __call__(self, event: Event | None) -> bool:
        return event is not None and event.source.driver == self.driver

    def to_json(self) -> Any:
        """Return the predicate as JSON, the same for equal ones."""
        return {"driver": self.driver}


@dataclass(frozen=True)
class BySource:
    """Holds for events of this source: driver and name."""

    driver: str
    name: str
    scope = EVENT
    reason = ledger.OTHER_FILTER

    def __call__(self, event: Event | None) -> bool:
        return event is not None and event.source == Source(self.driver, self.name)

    def to_json(self) -> Any:
        """Return the predicate as JSON, the same for equal ones."""
        return {"source": [self.driver, self.name]}


@dataclass(frozen=True)
class ByKind:
    """Holds for events of this kind: the log's own name exactly, or insert, update, delete where an event has an `operation`."""

    kind: str
    scope = TABLE
    reason = ledger.OTHER_KIND

    def __call__(self, event: Event | None) -> bool:
        return event is not None and (event.kind == self.kind or getattr(event, "operation", None) == self.kind)

    def to_json(self) -> Any:
        """Return the predicate as JSON, the same for equal ones."""
        return {"kind": self.kind}


@dataclass(frozen=True)
class ByTable:
    """Holds for events of tables whose `schema.name` matches a glob; a glob without a dot means any schema.

    An event that may have changed any table (`table` None, `operation` set: a statement) holds: it cannot be ruled out.
    """

    glob: str
    scope = TABLE
    reason = ledger.OTHER_TABLE

    def __call__(self, event: Event | None) -> bool:
        if event is None:
            return False
        if event.table is None:
            return getattr(event, "operation", None) is not None
        return self.matches(*event.table)

    def matches(self, schema: str, name: str) -> bool:
        """Return whether a table of this name is meant."""
        return self._pattern.fullmatch(f"{schema}.{name}" if "." in self.glob else name) is not None

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile(translate(self.glob))

    def to_json(self) -> Any:
        """Return the predicate as JSON, the same for equal ones."""
        return {"table": self.glob}


@dataclass(frozen=True)
class ByTime:
    """Holds for events of transactions committed in [since, until). None: open on that side. An event without a time never holds."""

    since: datetime | None = None
    until: datetime | None = None
    scope = TRANSACTION
    reason = ledger.OUTSIDE_WINDOW

    def __post_init__(self) -> None:
        for bound in (self.since, self.until):
            if bound is not None and bound.tzinfo is None:
                raise InvalidInput(
                    f"time {bound.isoformat()} has no zone", hint=f"write {bound.isoformat()}Z for UTC, or an offset like +02:00"
                )

    def __call__(self, event: Event | None) -> bool:
        if event is None or event.time is None:
            return False
        return (self.since is None or event.time >= self.since) and (self.until is None or event.time < self.until)

    def to_json(self) -> Any:
        """Return the predicate as JSON, the same for equal ones."""
        return {"since": self.since and self.since.isoformat(), "until": self.until and self.until.isoformat()}


@dataclass(frozen=True)
class ByPosition:
    """Holds for events after `start`, up to and including `stop`; `key` is the backend's order of positions. Empty: open."""

    start: Position = Position()
    stop: Position = Position()
    key: Callable[[Position], Any] = field(default=lambda position: position.value, compare=False)
    scope = EVENT
    reason = ledger.AFTER_STOP

    def __call__(self, event: Event | None) -> bool:
        if event is None:
            return False
        at = self.key(event.position)
        return (not self.start or at > self.key(self.start)) and (not self.stop or at <= self.key(self.stop))

    def to_json(self) -> Any:
        """Return the predicate as JSON, the same for equal ones."""
        return {"start": self.start.value, "stop": self.stop.value}


@dataclass(frozen=True)
class ByTransaction:
    """Holds for events of this transaction: its GTID or xid, or the position where it starts."""

    transaction: str
    scope = TRANSACTION
    reason = ledger.OTHER_TRANSACTION

    def __call__(self, event: Event | None) -> bool:
        return event is not None and self.transaction in getattr(event, "transaction_names", (event.transaction,))

    def to_json(self) -> Any:
        """Return the predicate as JSON, the same for equal ones."""
        return {"transaction": self.transaction}


@dataclass(frozen=True)
class ByRow:
    """Holds for events with at least one row the test keeps; a plan then undoes those rows only."""

    test: RowTest
    scope = ROW
    reason = ledger.ROW_FILTER

    def __call__(self, event: Event | None) -> bool:
        body = getattr(event, "body", None)
        rows, table = getattr(body, "rows", None), getattr(body, "table", None)
        if rows is None or table is None:
            return getattr(event, "operation", None) is not None and rows is None
        return any(map_pair(self.test.bind(table), rows))

    def to_json(self) -> Any:
        """Return the predicate as JSON, the same for equal ones."""
        return {"where": self.test.text}


def map_pair(test: Callable[[Row | None, Row | None], bool], rows: Iterable[tuple[Row | None, Row | None]]) -> Iterator[bool]:
    """Yield the test's answer for each pair of rows."""
    return (test(before, after) for before, after in rows)


@dataclass(frozen=True)
class AnyOf:
    """Holds when one of its predicates holds."""

    predicates: tuple[Predicate, ...]

    @property
    def scope(self) -> str:
        return _widest(self.predicates)

    @property
    def reason(self) -> str:
        return reason_of(self.predicates[0]) if self.predicates else ledger.OTHER_FILTER

    def __call__(self, event: Event | None) -> bool:
        return event is not None and any(predicate(event) for predicate in self.predicates)

    def to_json(self) -> Any:
        """Return the predicate as JSON, the same for equal ones."""
        return {"any": [predicate_json(predicate) for predicate in self.predicates]}


@dataclass(frozen=True)
class Not:
    """Holds when its predicate does not."""

    predicate: Predicate

    @property
    def scope(self) -> str:
        return scope_of(self.predicate)

    @property
    def reason(self) -> str:
        return reason_of(self.predicate)

    def __call__(self, event: Event | None) -> bool:
        return event is not None and not self.predicate(event)

    def to_json(self) -> Any:
        """Return the predicate as JSON, the same for equal ones."""
        return {"not": predicate_json(self.predicate)}


def bind_rows(predicate: Predicate, table: Table) -> Callable[[Row | None, Row | None], bool]:
    """Return the test a predicate of scope `row` makes of the rows of a table. Raises InvalidInput for a column it lacks."""
    if isinstance(predicate, ByRow):
        return predicate.test.bind(table)
    if isinstance(predicate, Not):
        inner = bind_rows(predicate.predicate, table)
        return lambda before, after: not inner(before, after)
    tests = [bind_rows(member, table) for member in getattr(predicate, "predicates", ())]
    return lambda before, after: any(test(before, after) for test in tests)


def scope_of(predicate: Predicate) -> str:
    """Return what the predicate looks at; a foreign callable may look at anything but is not asked for rows."""
    return getattr(predicate, "scope", EVENT)


def reason_of(predicate: Predicate) -> str:
    """Return the ledger's word for what the predicate rules out."""
    return getattr(predicate, "reason", ledger.OTHER_FILTER)


def predicate_json(predicate: Predicate) -> Any:
    """Return the predicate as JSON, the same for equal predicates in every process."""
    to_json = getattr(predicate, "to_json", None)
    return to_json() if to_json else {"callable": getattr(predicate, "__qualname__", type(predicate).__qualname__)}


def _widest(predicates: Sequence[Predicate]) -> str:
    scopes = {scope_of(predicate) for predicate in predicates}
    return TABLE if not scopes else EVENT if len(scopes) > 1 and ROW not in scopes else max(scopes, key=_WIDTH.__getitem__)


by_driver = ByDriver
by_source = BySource
by_kind = ByKind
by_table = ByTable
by_time = ByTime
by_position = ByPosition
by_transaction = ByTransaction
by_row = ByRow
not_ = Not


def any_of(*predicates: Predicate) -> AnyOf:
    """Return the predicate that holds when one of these does."""
    return AnyOf(predicates)


def filter_events(events: Iterable[Event | None], *predicates: Predicate | None) -> Iterator[Event]:
    """Yield the events for which all predicates hold; None among events or predicates is passed over."""
    wanted = [predicate for predicate in predicates if predicate is not None]
    return (event for event in events if event is not None and all(predicate(event) for predicate in wanted))


def bodies(events: Iterable[Event | None], type: type[T]) -> Iterator[T]:  # noqa: A002 - the public name
    """Yield the bodies of this type; events with other bodies are passed over."""
    return (event.body for event in events if event is not None and isinstance(event.body, type))
