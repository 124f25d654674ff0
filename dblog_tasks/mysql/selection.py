"""What a decoder asks of a selection, and the text of the statement that an event belongs to. No I/O.

ROWS_QUERY or ANNOTATE_ROWS    the text of the rows events after it, up to the last one of the statement (a flag of theirs)
QUERY and its kin              its own text
rows without such a text       not told: whether the server wrote texts is a setting of each session
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dblog_tasks.errors import InvalidInput
from dblog_tasks.event import Omission, RowChanges
from dblog_tasks.filters import EVENT, ROW, TABLE, TRANSACTION, Predicate, doubt_of, reason_of, scope_of
from dblog_tasks.ledger import Ledger
from dblog_tasks.mysql import binlog, bodies
from dblog_tasks.row_filters import bind_rows, may_mean, row_reason

REPLAY_TABLE = "dblog_replay"  # written by our own replays, in the transaction of the undo
TEXTS = frozenset({binlog.ROWS_QUERY, binlog.ANNOTATE_ROWS})
LACKS_COLUMN = Omission(
    "partial row image", "the event lacks a column that --where asks for; SET GLOBAL binlog_row_image=FULL for the future"
)


@dataclass(frozen=True, slots=True)
class Selection:
    """The predicates of `OpenOptions.selection`, by what they look at; `doubtful`: those of transactions and events that may be."""

    table: tuple[Predicate, ...]
    transaction: tuple[Predicate, ...]
    event: tuple[Predicate, ...]
    row: tuple[Predicate, ...]
    doubtful: tuple[Predicate, ...]

    @classmethod
    def of(cls, predicates: Sequence[Predicate]) -> Selection:
        """Sort the predicates by scope."""
        table, transaction, event, row = (
            tuple(found for found in predicates if scope_of(found) == scope) for scope in (TABLE, TRANSACTION, EVENT, ROW)
        )
        return cls(table, transaction, event, row, tuple(found for found in (*transaction, *event) if hasattr(found, "doubt")))

    def doubt(self, event: Any, *, whole: bool = False) -> Omission | None:
        """Return what the log does not tell of an event that nothing rules out, and the selection asks; None when all is certain.

        `whole`: what is asked of its transaction only.
        """
        return next((found for predicate in (self.transaction if whole else self.doubtful) if (found := doubt_of(predicate, event))), None)

    def against_rows(self, event: Any, ledger: Ledger) -> str | None:
        """Have the event keep the rows that are meant; return why it is not needed when none is, else None.

        What has no rows cannot be ruled out. Raises InvalidInput for a column the table lacks.
        """
        if event.table is not None:
            elsewhere = [predicate for predicate in self.row if not may_mean(predicate, *event.table)]
            if elsewhere:
                return reason_of(elsewhere[0])
        body = event.body
        if not isinstance(body, RowChanges):
            return None
        described = event.layout.table if event.layout is not None and event.layout.table is not None else body.table
        try:
            tests = [bind_rows(predicate, body.table, event, described) for predicate in self.row]
        except InvalidInput:
            for predicate in self.row:
                bind_rows(predicate, described, event)
            event.keep(LACKS_COLUMN)
            return None
        kept = [pair for pair in body.rows if all(test(*pair) for test in tests)]
        ledger.rows_not_needed += len(body.rows) - len(kept)
        event.keep(RowChanges(body.table, kept))
        return None if kept else row_reason(self.row[0], described)


@dataclass(frozen=True, slots=True)
class Probe:
    """What predicates of the scope `table` look at."""

    kind: str
    operation: str | None
    table: tuple[str, str] | None


def kind_name(kind: int) -> str:
    """Return the server's name of an event type."""
    return binlog.EVENT_NAMES.get(kind, f"UNKNOWN_EVENT_{kind}")


class Said:
    """The text of a statement, read when it is asked for, once for all of the statement's events."""

    __slots__ = ("_body", "_frame", "_where")

    def __init__(self, frame: binlog.Frame, where: str) -> None:
        self._frame, self._where = frame, where
        self._body: Any = None

    @property
    def text(self) -> bytes | None:
        """The text, in the character set of the client; None where the event has none. Raises MalformedLog."""
        if self._body is None:
            self._body = bodies.read_body(self._frame, self._where)
        text: bytes | None = getattr(self._body, "text", None)
        return text


def ends_statement(frame: binlog.Frame) -> bool:
    """Return whether a rows event is the last one of its statement."""
    return bool(frame.data[frame.at + binlog.HEADER_SIZE + 6] & 1)
