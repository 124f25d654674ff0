"""Predicates over events, as values: a decoder can look into them and leave out early what they would rule out.

Law: a predicate of ours is a frozen, callable value with a `scope` and a `reason`; it never reads, decodes or counts. Any other
callable works too and is asked last. All predicates of a selection must hold; `any_of` needs one of its own.

    scope        what a predicate looks at                  a decoder may ask it
    table        kind, operation and table                  once a table layout
    transaction  transaction id, thread and commit time     once a transaction
    event        anything that needs no decoding            once an event
    row          the rows (see `row_filters`)               for every row

In doubt. A log may not tell what a predicate asks: whose table a statement changed, which thread committed. Then neither the predicate
nor its `not_` can be trusted: `doubt_of` returns an Omission that says what is missing, and a decoder keeps the event, as one that
cannot be undone, unless another predicate rules it out. Asked alone, a predicate holds for what it certainly holds for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import translate
from functools import cached_property
import re
from typing import Any, TypeAlias, TypeVar

from dblog_tasks import ledger
from dblog_tasks.errors import InvalidInput
from dblog_tasks.event import Event, Omission

Predicate: TypeAlias = Callable[[Event], bool]
T = TypeVar("T")

TABLE, TRANSACTION, EVENT, ROW = "table", "transaction", "event", "row"
_WIDTH = {TABLE: 0, TRANSACTION: 1, EVENT: 2, ROW: 3}


CHANGES = frozenset({"insert", "update", "delete"})
_CERTAIN = CHANGES | {None, "definition"}  # the operations that are no statement, incident or unread transaction

TABLE_UNKNOWN, ROWS_UNKNOWN = Omission("table not known", ""), Omission("rows not known", "")


@dataclass(frozen=True)
class ByKind:
    """Holds for events of this kind: the log's own name exactly, or insert, update, delete where an event has an `operation`.

    A statement whose rows are not in the log may have been any of the three: in doubt.
    """

    kind: str
    scope = TABLE
    reason = ledger.OTHER_KIND

    def __call__(self, event: Event | None) -> bool:
        return event is not None and (event.kind == self.kind or getattr(event, "operation", None) == self.kind)

    def doubt(self, event: Event) -> Omission | None:
        """Return what is missing when the event may have changed rows in any way."""
        operation = getattr(event, "operation", None)
        return ROWS_UNKNOWN if self.kind in CHANGES and operation not in _CERTAIN and event.kind != self.kind else None

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

    def doubt(self, event: Event) -> Omission | None:
        """Return what is missing when the event may have changed any table; None when its table is known."""
        return TABLE_UNKNOWN if event.table is None and getattr(event, "operation", None) is not None else None

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

    def doubt(self, event: Event) -> Omission | None:
        """Return what is missing when none certainly holds and one is in doubt."""
        doubts = [found for predicate in self.predicates if (found := doubt_of(predicate, event))]
        return doubts[0] if doubts and not self(event) else None

    def to_json(self) -> Any:
        """Return the predicate as JSON, the same for equal ones."""
        return {"any": [predicate_json(predicate) for predicate in self.predicates]}


@dataclass(frozen=True)
class Not:
    """Holds when its predicate certainly does not."""

    predicate: Predicate

    @property
    def scope(self) -> str:
        return scope_of(self.predicate)

    @property
    def reason(self) -> str:
        return reason_of(self.predicate)

    def __call__(self, event: Event | None) -> bool:
        return event is not None and not self.predicate(event) and doubt_of(self.predicate, event) is None

    def doubt(self, event: Event) -> Omission | None:
        """Return what its predicate misses."""
        return doubt_of(self.predicate, event)

    def to_json(self) -> Any:
        """Return the predicate as JSON, the same for equal ones."""
        return {"not": predicate_json(self.predicate)}


def doubt_of(predicate: Predicate, event: Event) -> Omission | None:
    """Return what the log does not tell of an event and the predicate asks; None when the predicate's answer is certain."""
    doubt = getattr(predicate, "doubt", None)
    return doubt(event) if doubt else None


def first_against(predicates: Iterable[Predicate], event: Any) -> str | None:
    """Return the ledger's word of the first predicate that rules the event out; None when none does."""
    return next((reason_of(found) for found in predicates if not found(event) and doubt_of(found, event) is None), None)


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


by_kind = ByKind
by_table = ByTable
by_time = ByTime
by_transaction = ByTransaction
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
