"""What a decoder asks of a selection, sorted by what the predicates look at.

Law: no I/O, nothing of a log's format; predicates are asked in the order of what they look at, so that the cheapest rules out first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Self

from dblog_tasks.event import Omission, RowChanges, Table
from dblog_tasks.filters import EVENT, ROW, TABLE, TRANSACTION, Predicate, doubt_of, reason_of, scope_of
from dblog_tasks.ledger import Ledger


class Selection(NamedTuple):
    """The predicates of `OpenOptions.selection`, by what they look at; `doubtful`: those of transactions and events that may be."""

    table: tuple[Predicate, ...]
    transaction: tuple[Predicate, ...]
    event: tuple[Predicate, ...]
    row: tuple[Predicate, ...]
    doubtful: tuple[Predicate, ...]

    @classmethod
    def of(cls, predicates: Sequence[Predicate]) -> Self:
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

    def elsewhere(self, table: tuple[str, str] | None) -> str | None:
        """Return why no row of a table is meant; None where some may be."""
        if table is None or not self.row:
            return None
        from dblog_tasks.row_filters import may_mean  # noqa: PLC0415 - rows are seldom filtered

        return next((reason_of(predicate) for predicate in self.row if not may_mean(predicate, *table)), None)

    def keep_rows(self, event: Any, body: RowChanges, described: Table, tests: Sequence[Callable[..., bool]], ledger: Ledger) -> str | None:
        """Have an event keep the rows that pass every test; return why it is not needed when none does, else None."""
        from dblog_tasks.row_filters import row_reason  # noqa: PLC0415 - rows are seldom filtered

        kept = [pair for pair in body.rows if all(test(*pair) for test in tests)]
        ledger.rows_not_needed += len(body.rows) - len(kept)
        event.keep(RowChanges(body.table, kept, body.carried))
        return None if kept else row_reason(self.row[0], described)


class Probe(NamedTuple):
    """What predicates of the scope `table` look at."""

    kind: str
    operation: str | None
    table: tuple[str, str] | None
