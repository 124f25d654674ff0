"""What the decoder asks of a selection, and what of it can be found in the bytes of a record. No I/O."""

from __future__ import annotations

from typing import Any

from dblog_tasks import selection
from dblog_tasks.event import RowChanges
from dblog_tasks.filters import ByTable
from dblog_tasks.ledger import Ledger
from dblog_tasks.postgres.names import shown
from dblog_tasks.row_filters import bind_rows


class Selection(selection.Selection):
    """The predicates, asked of events of this driver."""

    __slots__ = ()

    def against_rows(self, event: Any, ledger: Ledger) -> str | None:
        """Have the event keep the rows that are meant; return why it is not needed when none is, else None.

        What has no whole rows cannot be ruled out. Raises InvalidInput for a column the table lacks.
        """
        reason = self.elsewhere(event.table)
        if reason:
            return reason
        body = event.body
        if not isinstance(body, RowChanges):
            return None
        return self.keep_rows(event, body, body.table, [bind_rows(predicate, body.table, event) for predicate in self.row], ledger)

    def needle(self) -> bytes | None:
        """Return bytes that every record of a table that is meant has; None where there are none."""
        for predicate in self.table:
            if isinstance(predicate, ByTable) and not set(predicate.glob) & set("*?["):
                return shown(predicate.glob.rpartition(".")[2]).encode()
        return None
