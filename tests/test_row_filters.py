"""Predicates over rows: which rows of an event a changed column keeps, alone and with others."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest

from dblog_tasks.errors import InvalidInput
from dblog_tasks.event import Column, Omission, Position, Row, RowChanges, Source, Table
from dblog_tasks.expression import parse
from dblog_tasks.filters import any_of, by_kind, by_table, doubt_of, not_
from dblog_tasks.origin_filters import by_thread
from dblog_tasks.row_filters import bind_rows, by_column, by_row, may_mean, row_reason

ORDERS = Table("shop", "orders", (Column("id", "int"), Column("Status", "varchar(9)"), Column("total", "int")), (0,))
NARROWED = Table("shop", "orders", (Column("id", "int"), Column("total", "int")), (0,))
INSERTED, DELETED = (None, (1, "new", 5)), ((1, "new", 5), None)
PAID, CHEAPER, SAME = ((1, "new", 5), (1, "paid", 5)), ((1, "new", 5), (1, "new", 0)), ((1, None, 5), (1, None, 5))
ALL = (INSERTED, DELETED, PAID, CHEAPER, SAME)


@dataclass(frozen=True, slots=True)
class Made:
    """An event with rows."""

    body: Any
    table: tuple[str, str] | None = ("shop", "orders")
    operation: str | None = "update"
    kind: str = "UPDATE"
    source: Source = Source("mysql", "shop")
    position: Position = Position("mysql", "log:5")
    raw: bytes = b""
    time: datetime | None = None
    transaction: str | None = None
    thread: int = 7


def kept(predicate: Any, rows: tuple[tuple[Row | None, Row | None], ...] = ALL, table: Table = ORDERS) -> list[Any]:
    """Return the rows a predicate keeps of an event."""
    test = bind_rows(predicate, table, Made(RowChanges(table, list(rows))), ORDERS)
    return [pair for pair in rows if test(*pair)]


KEPT: tuple[tuple[Any, list[Any]], ...] = (
    (by_column("Status"), [INSERTED, DELETED, PAID]),
    (by_column("status"), [INSERTED, DELETED, PAID]),
    (by_column("orders.total"), [INSERTED, DELETED, CHEAPER]),
    (by_column("shop.ord*.total"), [INSERTED, DELETED, CHEAPER]),
    (by_column("users.total"), []),
    (by_column("other"), []),
    (by_column("*.other"), []),
    (not_(by_column("status")), [CHEAPER, SAME]),
    (not_(by_column("other")), list(ALL)),
    (any_of(by_column("status"), by_column("total")), [INSERTED, DELETED, PAID, CHEAPER]),
    (any_of(by_column("status"), by_row(parse("after.total = 0"))), [INSERTED, DELETED, PAID, CHEAPER]),
    (any_of(by_row(parse("after.total = 0")), by_table("users")), [CHEAPER]),
    (any_of(by_row(parse("after.total = 0")), by_table("orders")), list(ALL)),
    (any_of(by_column("total"), by_thread(7)), list(ALL)),
    (any_of(by_column("total"), by_kind("delete")), [INSERTED, DELETED, CHEAPER]),
    (not_(any_of(by_column("total"), by_thread(8))), [PAID, SAME]),
)


@pytest.mark.parametrize(("predicate", "expected"), KEPT)
def test_the_rows_that_are_meant_are_kept(predicate: Any, expected: list[Any]) -> None:
    """An insert or delete changes every column; what does not look at rows says the same of all of them."""
    assert expected == kept(predicate)


def test_an_event_holds_when_one_of_its_rows_is_meant() -> None:
    """What has no rows and changed something may have changed any."""
    for rows, expected in (((SAME, PAID), True), ((SAME,), False)):
        assert expected is by_column("status")(Made(RowChanges(ORDERS, list(rows))))
    assert by_column("status")(None) is False
    assert by_column("status")(Made(None, operation=None)) is False
    assert by_column("status")(Made(Omission("unread", "")))
    assert doubt_of(not_(by_column("status")), Made(Omission("unread", ""))) is not None


def test_a_column_the_images_lack_was_not_updated() -> None:
    """An insert or delete changed it all the same; a column that the table lacks is another thing."""
    rows = ((None, (1, 5)), ((1, 5), (1, 0)))

    assert [rows[0]] == kept(by_column("orders.status"), rows, NARROWED)
    assert list(rows) == kept(by_column("total"), rows, NARROWED)


@pytest.mark.parametrize("column", ["orders.other", "shop.orders.other"])
def test_a_named_table_without_the_column_is_an_error(column: str) -> None:
    """Nobody means a column that is not there."""
    with pytest.raises(InvalidInput, match=r"no column 'other' .*id, Status, total"):
        by_column(column).bind(ORDERS)


@pytest.mark.parametrize("column", ["", "orders."])
def test_what_names_no_column_is_refused(column: str) -> None:
    """At once, not at the first row."""
    with pytest.raises(InvalidInput, match="names no column"):
        by_column(column)


REASONS = (
    (by_column("status"), "other column"),
    (by_column("other"), "no such column"),
    (by_column("users.other"), "other column"),
    (any_of(by_column("other"), by_column("none")), "no such column"),
    (any_of(by_column("other"), by_column("status")), "other column"),
    (not_(by_column("status")), "other column"),
    (by_row(parse("id = 1")), "row filter"),
)


@pytest.mark.parametrize(("predicate", "expected"), REASONS)
def test_the_ledger_tells_a_missing_column_from_an_unchanged_one(predicate: Any, expected: str) -> None:
    """A word of its own for tables that lack what was asked for."""
    assert expected == row_reason(predicate, ORDERS)


def test_tables_that_are_not_meant_need_no_decoding() -> None:
    """Told from the name alone."""
    asked: list[Any] = [
        by_column("users.x"),
        by_column("x"),
        any_of(by_column("users.x"), by_column("items.x")),
        not_(by_column("users.x")),
    ]

    assert [False, True, False, True] == [may_mean(predicate, "shop", "orders") for predicate in asked]
