"""What the decoder asks of a selection.

Law: no I/O; predicates are asked in the order of what they look at, so that the cheapest rules out first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dblog_tasks.event import Omission, RowChanges
from dblog_tasks.filters import EVENT, ROW, TABLE, TRANSACTION, ByTable, Predicate, doubt_of, reason_of, scope_of
from dblog_tasks.ledger import Ledger
from dblog_tasks.postgres.names import shown
from dblog_tasks.row_filters import bind_rows, may_mean, row_reason


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

        What has no whole rows cannot be ruled out. Raises InvalidInput for a column the table lacks.
        """
        if event.table is not None:
            elsewhere = [predicate for predicate in self.row if not may_mean(predicate, *event.table)]
            if elsewhere:
                return reason_of(elsewhere[0])
        body = event.body
        if not isinstance(body, RowChanges):
            return None
        tests = [bind_rows(predicate, body.table, event) for predicate in self.row]
        kept = [pair for pair in body.rows if all(test(*pair) for test in tests)]
        ledger.rows_not_needed += len(body.rows) - len(kept)
        return None if kept else row_reason(self.row[0], body.table)

    def needle(self) -> bytes | None:
        """Return bytes that every record of a table that is meant has; None where there are none."""
        for predicate in self.table:
            if isinstance(predicate, ByTable) and not set(predicate.glob) & set("*?["):
                return shown(predicate.glob.rpartition(".")[2]).encode()
        return None


@dataclass(frozen=True, slots=True)
class Probe:
    """What predicates of the scope `table` look at."""

    kind: str
    operation: str | None
    table: tuple[str, str] | None
