"""What a decoder asks of a selection, and the text of the statement that an event belongs to. No I/O.

ROWS_QUERY or ANNOTATE_ROWS    the text of the rows events after it, up to the last one of the statement (a flag of theirs)
QUERY and its kin              its own text
rows without such a text       not told: whether the server wrote texts is a setting of each session
"""

from __future__ import annotations

from typing import Any

from dblog_tasks import selection
from dblog_tasks.errors import InvalidInput
from dblog_tasks.event import Omission, RowChanges
from dblog_tasks.ledger import Ledger
from dblog_tasks.mysql import binlog, bodies

REPLAY_TABLE = "dblog_replay"  # written by our own replays, in the transaction of the undo
TEXTS = frozenset({binlog.ROWS_QUERY, binlog.ANNOTATE_ROWS})
LACKS_COLUMN = Omission(
    "partial row image", "the event lacks a column that --where asks for; SET GLOBAL binlog_row_image=FULL for the future"
)


class Selection(selection.Selection):
    """The predicates, asked of events of this driver."""

    __slots__ = ()

    def against_rows(self, event: Any, ledger: Ledger) -> str | None:
        """Have the event keep the rows that are meant; return why it is not needed when none is, else None.

        What has no rows cannot be ruled out. Raises InvalidInput for a column the table lacks.
        """
        reason = self.elsewhere(event.table)
        if reason:
            return reason
        body = event.body
        if not isinstance(body, RowChanges):
            return None
        from dblog_tasks.row_filters import bind_rows  # noqa: PLC0415 - rows are seldom filtered

        described = event.layout.table if event.layout is not None and event.layout.table is not None else body.table
        try:
            tests = [bind_rows(predicate, body.table, event, described) for predicate in self.row]
        except InvalidInput:
            for predicate in self.row:
                bind_rows(predicate, described, event)
            event.keep(LACKS_COLUMN)
            return None
        return self.keep_rows(event, body, described, tests, ledger)


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
