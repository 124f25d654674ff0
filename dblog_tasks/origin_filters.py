"""Predicates over where an event comes from: driver, source and place; and over what only some logs tell: GTID, thread, statement.

Law: that of `filters`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol

from dblog_tasks import ledger
from dblog_tasks.errors import InvalidInput
from dblog_tasks.event import Event, Omission, Position, Source
from dblog_tasks.filters import EVENT, TRANSACTION

THREAD_MAX = (1 << 32) - 1

THREAD_UNKNOWN = Omission(
    "no thread id in the log", "leave --thread out and select by --gtid, --statement, --transaction or time: MariaDB 10.11 logs none"
)
STATEMENT_UNKNOWN = Omission(
    "no statement text in the log",
    "leave --statement out; for the future SET GLOBAL binlog_rows_query_log_events=ON (MySQL), binlog_annotate_row_events=ON (MariaDB)",
)


class GtidSet(Protocol):
    """GTIDs of a kind of server; `mysql.gtid.parse` makes them from text."""

    @property
    def text(self) -> str: ...

    def holds(self, gtid: str) -> bool:
        """Return whether a GTID is in the set. Raises InvalidInput for one of another kind of server."""


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


def _value_of(position: Position) -> str:
    return position.value


@dataclass(frozen=True)
class ByPosition:
    """Holds for events after `start`, up to and including `stop`; `key` is the backend's order of positions. Empty: open."""

    start: Position = Position()
    stop: Position = Position()
    key: Callable[[Position], Any] = field(default=_value_of, compare=False)
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
class ByGtid:
    """Holds for events of transactions whose GTID is in the set; one without a GTID is in none."""

    gtids: GtidSet
    scope = TRANSACTION
    reason = ledger.OTHER_GTID

    def __call__(self, event: Event | None) -> bool:
        gtid = "" if event is None else _told(event, "gtid", "GTIDs")
        return bool(gtid) and self.gtids.holds(gtid)

    def to_json(self) -> Any:
        """Return the predicate as JSON, the same for equal ones."""
        return {"gtid": self.gtids.text}


@dataclass(frozen=True)
class ByThread:
    """Holds for events of transactions that this thread (connection id) committed."""

    thread: int
    scope = TRANSACTION
    reason = ledger.OTHER_THREAD

    def __post_init__(self) -> None:
        if not 1 <= self.thread <= THREAD_MAX:
            raise InvalidInput(f"thread {self.thread} is none", hint=f"a log holds thread ids from 1 to {THREAD_MAX}")

    def __call__(self, event: Event | None) -> bool:
        return event is not None and _told(event, "thread", "thread ids") == self.thread

    def doubt(self, event: Event) -> Omission | None:
        """Return what is missing when the log does not tell the thread of a change."""
        return THREAD_UNKNOWN if _told(event, "thread", "thread ids") is None else None

    def to_json(self) -> Any:
        """Return the predicate as JSON, the same for equal ones."""
        return {"thread": self.thread}


@dataclass(frozen=True)
class ByStatement:
    """Holds for events of statements whose text has the pattern anywhere in it.

    In the pattern `*` stands for any text and a blank for any blanks; everything else for itself, in either case. The text is all of
    the statement as the log has it, before its rows (ROWS_QUERY, ANNOTATE_ROWS) or instead of them. It is read as UTF-8, and as
    Latin-1 where it is not. Searching takes time in proportion to the text, whatever the pattern.
    """

    pattern: str
    scope = EVENT
    reason = ledger.OTHER_STATEMENT

    def __post_init__(self) -> None:
        if not _pieces(self.pattern):
            raise InvalidInput(f"the statement pattern {self.pattern!r} says nothing", hint="write a part of the statement's text")

    def __call__(self, event: Event | None) -> bool:
        text = None if event is None else _told(event, "statement", "statements")
        return bool(text) and _says(text, self.pattern)

    def doubt(self, event: Event) -> Omission | None:
        """Return what is missing when the log does not tell which statement made a change."""
        return STATEMENT_UNKNOWN if _told(event, "statement", "statements") is None else None

    def to_json(self) -> Any:
        """Return the predicate as JSON, the same for equal ones."""
        return {"statement": self.pattern}


def _told(event: Event, name: str, what: str) -> Any:
    """Return what an event tells; None: its log does not. Raises InvalidInput for events of which no log does."""
    try:
        return getattr(event, name)
    except AttributeError:
        raise InvalidInput(f"logs of {event.source.driver or 'this kind'} hold no {what}", hint="leave this filter out") from None


def _pieces(pattern: str) -> list[str]:
    """Return what stands between the stars of a pattern."""
    return [piece for piece in " ".join(pattern.casefold().split()).split("*") if piece.strip()]


@lru_cache(maxsize=4)  # a statement may have a great many rows events: its text is the same object for all of them
def _says(text: bytes, pattern: str) -> bool:
    readings = [text.decode("utf-8", "replace")]
    if not readings[0].isascii() and "\ufffd" in readings[0]:
        readings.append(text.decode("latin-1"))
    return any(_has_in_turn(" ".join(reading.casefold().split()), _pieces(pattern)) for reading in readings)


def _has_in_turn(text: str, pieces: Iterable[str]) -> bool:
    at = 0
    for piece in pieces:
        found = text.find(piece, at)
        if found < 0:
            return False
        at = found + len(piece)
    return True


by_driver = ByDriver
by_source = BySource
by_position = ByPosition
by_gtid = ByGtid
by_thread = ByThread
by_statement = ByStatement
