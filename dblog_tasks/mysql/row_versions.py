"""Rows of system-versioned tables (MariaDB): which of their changes are changes of the table as it is. No I/O.

Law: a row whose time has ended is no row of the table. What the server does to keep the history is not undone, it happens again by
itself when the change is undone; the history itself, once deleted, does not come back.

    statement        the log has                                           here
    INSERT           a row that has not ended                              an insert
    UPDATE           the row, changed; an insert of the old one, ended     an update; nothing
    DELETE           an update that ends the row                           a delete
    DELETE HISTORY   a delete of ended rows                                omitted

A row has not ended while its end is the last moment there is: of a TIMESTAMP(6) in 32 bits, signed or (MariaDB 11.5 and later) not, or of
the numbers of transactions.
"""

from __future__ import annotations

from collections.abc import Sequence

from dblog_tasks.event import Omission, Row, RowChanges, RowPair, Table

NEVER = frozenset({"2038-01-19 03:14:07.999999", "2106-02-07 06:28:15.999999", (1 << 64) - 1})
HISTORY = Omission("deleted history of a system-versioned table", "it is not in the table any more, and cannot be written back")
COLUMNS = ("row_start", "row_end")  # as MariaDB names them itself


def current_changes(table: Table, rows: Sequence[RowPair], ended: int) -> RowChanges | Omission:
    """Return the changes of rows that have not ended; `ended` is the column that says when they did."""

    def current(row: Row | None) -> Row | None:
        return row if row is not None and row[ended] in NEVER else None

    if any(after is None and before is not None and current(before) is None for before, after in rows):
        return HISTORY
    pairs = [(current(before), current(after)) for before, after in rows]
    return RowChanges(table, [pair for pair in pairs if pair != (None, None)])
