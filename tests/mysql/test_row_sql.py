"""Statements that look at other rows than the one they change: those of foreign keys. `test_sql` has all others."""

from __future__ import annotations

import pytest

from dblog_tasks.event import Column, Dependent, Row, Table
from dblog_tasks.mysql.row_sql import Statements
from tests.mysql.test_sql import CHECK, ID, ONE, VALUE, body, keyed


@pytest.mark.parametrize(
    ("now", "then", "check"),
    [
        ((7, 5, 3), (7, 1, 3), CHECK.format("ROW_COUNT()=1 OR EXISTS(SELECT 1 FROM `s`.`c` WHERE `id` = 7 AND `p` = 1)")),
        ((7, 5, 3), (8, 1, 3), CHECK.format("ROW_COUNT()=1 OR EXISTS(SELECT 1 FROM `s`.`c` WHERE `id` = 8 AND `p` = 1)")),
        ((7, None, 3), (7, 1, 3), ONE),
    ],
)
def test_a_row_that_a_foreign_key_took_along_may_be_as_wanted_already(now: Row, then: Row, check: str) -> None:
    """Its parent's undo takes it along again; what was set to NULL nothing brings back but its own."""
    table = Statements(Table("s", "c", (ID, Column("p", "int"), VALUE), (0,)))

    assert f"{check}\n" == table.update(now, then, carried=True).partition("\n")[2]
    assert f"{ONE}\n" == table.update(now, then).partition("\n")[2]


ORDERS = Dependent("s", "o", ("a", "B`"), ("V", "id"))
NO_TIES = "SELECT IF(NOT EXISTS(SELECT 1 FROM {}), 1, (SELECT 1 UNION ALL SELECT 2)) INTO @dblog_ok;"


@pytest.mark.parametrize(
    ("dependents", "row", "checks"),
    [
        ([], (1, 2), []),
        ([Dependent("x", "c", ("p",))], (1, 2), ["`x`.`c` WHERE `p` = 1"]),
        ([ORDERS, Dependent("s", "c", ("p",), ("id",))], (1, 2), ["`s`.`o` WHERE `a` = 2 AND `B``` = 1", "`s`.`c` WHERE `p` = 1"]),
        ([ORDERS], (1, None), ["`s`.`o` WHERE `a` = NULL AND `B``` = 1"]),
        ([Dependent("s", "t", ("v",))], (1, 2), ["`s`.`t` WHERE `v` = 1 AND NOT (`id` = 1)"]),
        ([Dependent("s", "c", ("p",), ("not in the event",)), Dependent("s", "c", ("p", "q"))], (1, 2), []),
    ],
)
def test_a_row_is_deleted_only_while_nothing_would_go_with_it(dependents: list[Dependent], row: Row, checks: list[str]) -> None:
    """What a foreign key takes along no log of most servers would have."""
    table = keyed(VALUE)._replace(dependents=tuple(dependents))
    found = body(table, (row, None), ((1, 1), (1, 2)))

    assert [NO_TIES.format(check) for check in checks] == found[: len(checks)]
    assert found[len(checks)].startswith("DELETE FROM `s`.`t` WHERE `id` = 1 AND ")
    assert [ONE, "UPDATE `s`.`t` SET `v` = 2 WHERE `id` = 1 AND `v` = 1;", ONE] == found[len(checks) + 1 :]
