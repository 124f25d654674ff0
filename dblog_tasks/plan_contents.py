"""What is in a plan's steps, by one reading that also proves their hashes: tables, columns that are looked at, counts.

Law: reads a plan, knows no database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from dblog_tasks.errors import InvalidInput, MalformedPlan
from dblog_tasks.event import JsonObject, RowChanges, Table
from dblog_tasks.part import CONFLICTS, OMITTED, STEPS
from dblog_tasks.plan import UNREADABLE, Plan, unreadable


@dataclass(frozen=True, slots=True)
class Contents:
    """What a plan's steps hold.

    Attributes:
        tables: each table in each form it has in the log.
        used: for each of them the columns its steps look at; None: all.
        steps, rows: how many there are.
    """

    tables: tuple[Table, ...]
    used: Mapping[int, frozenset[str] | None] = field(default_factory=dict)
    steps: int = 0
    rows: int = 0


def read_contents(plan: Plan) -> Contents:
    """Return what a plan holds. Raises MalformedPlan when it is not whole, InvalidInput when it holds no rows of tables."""
    numbers: dict[Table, int] = {}
    used: dict[int, set[int] | None] = {}
    steps = rows = 0
    for segment in plan.segments(STEPS):
        here: list[int] = []
        for line in plan.lines(segment):
            try:
                if "rows" in line:
                    steps += 1
                    rows += len(line["rows"])
                    _note_used(used, here[line["of"]], line)
                elif "table" in line:
                    here.append(numbers.setdefault(Table.from_json(line), len(numbers)))
                    used.setdefault(here[-1], set())
                elif "at" in line:
                    raise InvalidInput(
                        "the plan has steps that are no rows of tables", where=plan.url, hint="dblog show prints them for a client"
                    )
            except UNREADABLE as error:
                raise unreadable(error, segment.name) from None
    if (steps, rows) != (plan.ledger.undone, plan.ledger.rows_undone):
        raise MalformedPlan(f"{steps} steps with {rows} rows are not what the ledger counts", where=plan.url, hint="make the plan again")
    _check_others(plan)
    tables = tuple(numbers)
    names = {at: None if found is None else _names(tables[at], found) for at, found in used.items()}
    return Contents(tables, names, steps, rows)


def _check_others(plan: Plan) -> None:
    """Read the segments that are no steps. Raises MalformedPlan where one is not what the manifest names."""
    if not plan.ledger.balanced:
        raise MalformedPlan("the ledger does not account for every event", where=plan.url, hint="make the plan again")
    for segment in (*plan.segments(OMITTED), *plan.segments(CONFLICTS)):
        plan.lines(segment)


def _note_used(used: dict[int, set[int] | None], number: int, line: JsonObject) -> None:
    """Note which columns a step looks at: those it changes, or all of the row."""
    found = used[number]
    if found is None:
        return
    for before, after in line["rows"]:
        if before is None or after is None:
            used[number] = None
            return
        if len(found) < len(before):
            found.update([at for at, value in enumerate(before) if value != after[at]])


def _names(table: Table, places: set[int]) -> frozenset[str]:
    return frozenset(table.columns[at].name for at in {*places, *table.key})


class PlanRows(NamedTuple):
    """The rows of one step as they should be now and as the step makes them, newest first; the id of its transaction."""

    position: str
    transaction: str | None
    changes: RowChanges


_tuple: Callable[..., Any] = tuple.__new__  # makes a named tuple without looking at names: a million times


def steps_from(plan: Plan, done: int) -> Iterator[tuple[int, PlanRows]]:
    """Yield the steps newest first with their numbers, after the first `done` of them."""
    number = 0
    for segment in plan.stored_segments():
        for at in reversed(range(len(segment.places) // 2)):
            if number >= done:
                position, transaction, operation = segment.step(at)
                yield number, _tuple(PlanRows, (position, None if transaction is None else transaction[0], operation))
            number += 1
