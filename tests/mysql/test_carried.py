"""Rows that a foreign key took along: which they are, and in which order they come back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import pytest

import dblog_tasks
from dblog_tasks.event import Column, RowChanges, RowPair, Table
from dblog_tasks.mysql import carried
from dblog_tasks.mysql.carried import carried_steps, in_order_of_keys
from dblog_tasks.mysql.sql import plan_script
from dblog_tasks.plan import Plan
from dblog_tasks.planning import PlanRequest, make_plan

LOG = Path(__file__).parents[1] / "corpus" / "found" / "carried-mysql97.000001"
A, B = Column("a", "int"), Column("b", "int")
P, C, G = (Table("s", name, (A, B), (0,)) for name in "pcg")
KEYLESS = Table("s", "k", (A, B))
Step: TypeAlias = tuple[int, Any]  # a step's transaction and its undo


class Steps:
    """Steps in log order."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = steps
        self.places = (0, 0) * len(steps)

    def step(self, number: int) -> tuple[str, Any, Any]:
        """Return one of them."""
        return f"log:{number}", *self._steps[number]


def undo(table: Table, *rows: RowPair, taken: bool = True) -> RowChanges:
    """The undo of rows as an event has them."""
    return RowChanges(table, rows, taken).reverse()


GONE = ((1, 1), None)


@pytest.mark.parametrize(
    ("steps", "left", "count"),
    [
        ([(0, undo(C, GONE)), (0, undo(G, GONE)), (0, undo(P, GONE, taken=False))], 2, 2),
        ([(0, undo(C, GONE)), (0, undo(G, GONE))], 2, 2),
        ([(9, undo(G, GONE)), (0, undo(C, GONE)), (0, undo(P, GONE, taken=False))], 2, 1),
        ([(0, undo(G, GONE, taken=False)), (0, undo(C, GONE)), (0, undo(P, GONE, taken=False))], 2, 1),
        ([(0, "an operation of its own"), (0, undo(C, GONE)), (0, undo(P, GONE, taken=False))], 2, 1),
        ([(0, undo(C, GONE)), (0, undo(C, GONE)), (0, undo(C, GONE, taken=False))], 2, 0),
        ([(0, undo(C, GONE)), (0, undo(G, GONE)), (0, undo(C, GONE, taken=False))], 2, 1),
        ([(0, undo(C, GONE)), (0, undo(G, GONE)), (9, undo(C, GONE, taken=False))], 2, 2),
        ([(0, undo(C, GONE)), (0, undo(C, GONE)), (0, undo(C, GONE))], 2, 2),
        ([(0, undo(P, GONE, taken=False)), (0, undo(C, GONE))], 1, 0),
    ],
)
def test_what_was_carried_with_a_row(steps: list[Step], left: int, count: int) -> None:
    """All of its transaction before it that are marked and of other tables than its own; the row may be in another segment."""
    found = carried_steps(Steps(steps), left)

    assert [steps[left - 1 - number][1] for number in range(count)] == found


def test_more_than_is_held_comes_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest is told as carried by the step that was the last of the part before it."""
    steps = Steps([*((0, undo(C, GONE, GONE)) for _ in range(5)), (0, undo(P, GONE, taken=False))])
    monkeypatch.setattr(carried, "ROWS_MAX", 4)

    assert [2, 2, 1] == [len(carried_steps(steps, left)) for left in (5, 3, 1)]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([(C, [((1, 0), None)]), (G, [((1, 1), None), ((2, 1), None)]), (C, [((2, 0), None)]), (G, [((3, 2), None)])], "c1 g1 g2 c2 g3"),
        ([(C, [((1, 0), None)]), (G, [((1, 1), (1, None)), ((2, 1), (2, None))]), (G, [((1, None), None)])], "c1 g2:1 g1 g1:1"),
        ([(G, [((1, 1), (1, 2))]), (C, [((2, 0), None)]), (G, [((1, 2), (4, 2))]), (G, [((4, 2), (4, 3))])], "c2 g4:2 g1:2 g1:1"),
        ([(KEYLESS, [((1, 1), (1, 2)), ((1, 1), (1, 2))]), (KEYLESS, [((1, 2), None)])], "k1:1 k1:1 k1"),
        ([], ""),
    ],
)
def test_parents_come_first_and_the_changes_of_a_row_newest_first(events: list[tuple[Table, list[RowPair]]], expected: str) -> None:
    """Each row where it was reached last: what it refers to is back by then."""
    rows = in_order_of_keys([undo(table, *rows) for table, rows in reversed(events)])

    assert expected.split() == [f"{table.name}{then[0]!r}" + (f":{then[1]!r}" if now else "") for table, now, then in rows if then]


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """The plan of the log."""
    made = make_plan(PlanRequest("mysql", (str(LOG),), str(tmp_path / "plan")))
    assert made is not None
    return made


def marked() -> Iterator[tuple[str, bool]]:
    """Yield the tables of the log's events, and whether their rows were carried."""
    with dblog_tasks.open("mysql", path=str(LOG), selection=()) as decoder:
        for event in decoder:
            if isinstance(event.body, RowChanges):
                yield event.body.table.name, event.body.carried


def test_a_log_says_which_rows_were_carried(plan: Plan) -> None:
    """Those of children, and not what a statement of their own does with them; a plan says it too."""
    expected = list(marked())

    assert {("p", False), ("c", True), ("g", True), ("h", True), ("u", True), ("u", False)} == set(expected)
    assert expected == [(step.operation.table.name, step.operation.carried) for step in plan.steps()][::-1]


@pytest.mark.parametrize("native", ["0", "1"])
def test_the_script_brings_parents_back_first(native: str, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled code leaves the rows to Python and goes on after them."""
    monkeypatch.setenv("DBLOG_NATIVE", native)
    lines = b"".join(plan_script(plan.stored_segments())).decode().splitlines()
    newest = lines[lines.index("START TRANSACTION;") + 1 : lines.index("COMMIT;") : 2]

    assert [
        "INSERT INTO `carried`.`p` (`id`, `code`) VALUES (5, 'd');",
        "INSERT INTO `carried`.`c` (`id`, `pid`) VALUES (40, 5);",
        "INSERT INTO `carried`.`h` (`cid`, `note`) VALUES (40, 'z');",
        "INSERT INTO `carried`.`g` (`id`, `cid`, `pid`) VALUES (7, NULL, 5);",
        "UPDATE `carried`.`g` SET `cid` = 40 WHERE `id` = 7 AND `cid` IS NULL;",
        "INSERT INTO `carried`.`u` (`n`, `code`) VALUES (1, 'd');",
        "UPDATE `carried`.`u` SET `n` = 1 WHERE `code` = 'changed' AND CAST(`code` AS BINARY) = 'changed' AND `n` = 9;",
        "UPDATE `carried`.`p` SET `id` = 3, `code` = 'b' WHERE `id` = 50 AND CAST(`code` AS BINARY) = 'changed';",
        "UPDATE `carried`.`c` SET `pid` = 3 WHERE `id` = 20 AND `pid` = 50;",
        "UPDATE `carried`.`g` SET `pid` = 3 WHERE `id` = 5 AND `pid` = 50;",
        "UPDATE `carried`.`u` SET `code` = 'b' WHERE `code` = 'changed' AND CAST(`code` AS BINARY) = 'changed' AND `n` = 1;",
    ] == newest
    assert 3 == lines.count("COMMIT;")
