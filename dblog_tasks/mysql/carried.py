"""Rows that a foreign key took along, in the order in which they can come back. Steps in, rows out. No I/O.

A statement that deletes or changes what others refer to has in the log of MySQL from 9.6 on:

    rows of children, each before what is below it, those below the first child before the next child    carried
    the row they refer to                                                                                 after them

Law: newest first would bring a row back before the one it refers to, which a foreign key refuses. So what was carried comes after its
parent, in the order of the log; a row that was carried more than once comes where it was last, its changes newest first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any, Protocol, TypeAlias

from dblog_tasks.event import Row, RowChanges, Table

ROWS_MAX = 200_000  # of one row that others refer to: those of one part of more come before those of the part before it

Undo: TypeAlias = tuple[Table, Row | None, Row | None]  # a row as it is now, and as it was then


class Steps(Protocol):
    """Steps in log order, as `sql.StoredSegment` has them."""

    @property
    def step(self) -> Callable[[int], tuple[str, Any, Any]]:
        """Position, transaction and undo of a step, by its number."""

    @property
    def places(self) -> Sequence[int]:
        """Two for each step."""


def carried_steps(segment: Steps, left: int) -> list[RowChanges]:
    """Return the undo of the steps before number `left` that were carried with the row after them, newest first; empty where none was.

    What has the table of that row was not carried: a session without foreign key checks wrote it.
    """
    _, owner, newest = segment.step(left - 1)
    table = newest.table.name if is_carried(newest) and 2 * left < len(segment.places) else None
    if table is not None:
        _, other, parent = segment.step(left)
        table = None if other != owner or is_carried(parent) else parent.table.name
    found: list[RowChanges] = []
    rows = 0
    for number in range(left - 1, -1, -1):
        _, transaction, changes = segment.step(number)
        if transaction != owner or not is_carried(changes) or changes.table.name == table or rows >= ROWS_MAX:
            break
        found.append(changes)
        rows += len(changes.rows)
    return found


def is_carried(operation: Any) -> bool:
    """Return whether an operation is of rows that were carried."""
    return isinstance(operation, RowChanges) and operation.carried


def in_order_of_keys(steps: Sequence[RowChanges]) -> Iterator[Undo]:
    """Yield the rows of steps, given newest first, with each after those it refers to."""
    undone = [(changes.table, now, then) for changes in reversed(steps) for now, then in reversed(changes.rows)]
    chains: dict[object, list[int]] = {}  # numbers of the changes of one row, by its place after the last of them
    gone = count()
    for number, (table, now, then) in enumerate(undone):
        chain = chains.pop(_spot(table, then), [])
        chains[_spot(table, now) if now is not None and table.key else next(gone)] = [*chain, number]
    last = {chain[-1]: chain for chain in chains.values()}
    for number in sorted(last):
        for place in reversed(last[number]):
            yield undone[place]


def _spot(table: Table, row: Row | None) -> object:
    return None if row is None else (table.schema, table.name, tuple([row[at] for at in table.key]))
