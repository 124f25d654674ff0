"""Rows of system-versioned tables: what the server writes for its history is no change of the table."""

from __future__ import annotations

from typing import Any

import pytest

from dblog_tasks import Column, RowChanges, Table
from dblog_tasks.mysql.row_versions import HISTORY, NEVER, current_changes

TABLE = Table("d", "t", (Column("id", "int"), Column("row_start", "timestamp(6)"), Column("row_end", "timestamp(6)")), (0,))
THEN = "2026-11-23 04:26:21.865564"


def row(number: int, end: Any) -> tuple[Any, ...]:
    """A row that ends then."""
    return number, "2026-01-01 00:00:00.000000", end


@pytest.mark.parametrize("never", sorted(NEVER, key=str))
def test_a_row_that_has_ended_is_no_row(never: Any) -> None:
    """An update that ends it deletes it; the old one that an update writes again is not inserted."""
    given = [
        (None, row(1, never)),
        (row(1, never), row(2, never)),
        (None, row(1, THEN)),
        (row(2, never), row(2, THEN)),
        (row(3, THEN), row(3, never)),
        (row(4, never), None),
    ]

    assert RowChanges(
        TABLE,
        [
            (None, row(1, never)),
            (row(1, never), row(2, never)),
            (row(2, never), None),
            (None, row(3, never)),
            (row(4, never), None),
        ],
    ) == current_changes(TABLE, given, 2)


def test_history_that_is_gone_stays_gone() -> None:
    """No statement writes it back: said, whatever else the event did."""
    never = next(iter(NEVER))

    assert HISTORY == current_changes(TABLE, [(row(1, never), None), (row(2, THEN), None)], 2)
