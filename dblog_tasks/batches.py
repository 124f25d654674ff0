"""Steps of a plan in batches: what is written in one transaction. No I/O but the plan's.

Law: whole transactions of the log up to a size, or parts of one that has more; a step is in one batch only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

from dblog_tasks.errors import TargetRefused
from dblog_tasks.judging import PlannedRow, planned_row
from dblog_tasks.part import STEPS
from dblog_tasks.plan import Plan
from dblog_tasks.plan_contents import steps_from
from dblog_tasks.target import BoundTable


class Batch(NamedTuple):
    """Rows that are written together: steps `first` to `after`, which is not among them; `whole`: no transaction goes on after it."""

    first: int
    after: int
    rows: list[PlannedRow]
    whole: bool


def batches(plan: Plan, tables: Mapping[Any, BoundTable], done: int, size: int) -> Iterator[Batch]:
    """Yield the steps after the first `done` in batches: whole transactions up to that many rows, or parts of one that has more."""
    whole: list[tuple[int, list[PlannedRow]]] = []
    part: list[tuple[int, list[PlannedRow]]] = []
    rows = 0
    last: object = None
    met: object = None
    for number, (position, of, changes) in steps_from(plan, done):
        if changes.table is not met:  # a table is found by its value, which takes a while
            met = changes.table
            table = tables[met]
        planned = [planned_row(number, position, table, now, then) for now, then in changes.rows]
        transaction = number if of is None else of
        if part and (transaction != last or rows + len(planned) > size):
            ended = transaction != last
            if ended:
                whole += part
                part = []
            if rows + len(planned) > size:
                first, held = (whole, part) if whole else (part, [])
                yield _batch(first, whole=bool(whole) or ended)
                whole, part = [], held
                rows = sum(len(some) for _, some in held)
        part.append((number, planned))
        rows += len(planned)
        last = transaction
    if whole or part:
        yield _batch(whole + part, whole=True)


def _batch(steps: Sequence[tuple[int, list[PlannedRow]]], *, whole: bool) -> Batch:
    return Batch(steps[0][0], steps[-1][0] + 1, list(chain.from_iterable(rows for _, rows in steps)), whole)


def halves(batch: Batch) -> list[Batch]:
    """Return a batch of more than one step as two."""
    middle = (batch.first + batch.after) // 2
    older, newer = ([row for row in batch.rows if (row.step >= middle) is late] for late in (True, False))
    return [Batch(batch.first, middle, newer, whole=False), Batch(middle, batch.after, older, batch.whole)]


def fitting(plan: Plan, rows: int, limit: int, *, atomic: bool) -> int:
    """Return how many rows a batch may have where a transaction may have that many bytes; 0: no limit is known.

    A row is taken to be as long in the log as it is in the plan, on average. Raises TargetRefused where all in one would be too much.
    """
    size = sum(segment.size for segment in plan.segments(STEPS))
    if not limit or not size:
        return rows
    if atomic and size > limit:
        raise TargetRefused(
            f"the plan has about {size} bytes, and a transaction may have {limit} here", where="--atomic", hint="replay it in batches"
        )
    return rows if atomic else max(1, min(rows, limit * plan.ledger.rows_undone // size))
