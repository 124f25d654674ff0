"""Predicates: values that compare, combine, and are written the same in every process."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, strategies as st
import pytest

from dblog_tasks.errors import DblogError, InvalidInput
from dblog_tasks.event import Position, RowChanges, Source
from dblog_tasks.filters import (
    any_of,
    bodies,
    by_driver,
    by_kind,
    by_position,
    by_source,
    by_table,
    by_time,
    by_transaction,
    filter_events,
    not_,
    predicate_json,
)
from dblog_tasks.planning import parse_time, selection

NOON = datetime(2026, 9, 21, 12, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Made:
    """An event of no log."""

    source: Source = Source("mysql", "shop")
    position: Position = Position("mysql", "log:5")
    kind: str = "WRITE"
    raw: bytes = b""
    body: Any = None
    time: datetime | None = NOON
    transaction: str | None = "0-1-7"
    table: tuple[str, str] | None = ("shop", "orders")
    operation: str | None = "insert"
    transaction_names: tuple[str, ...] = ("0-1-7", "log:1")
    transaction_start: str = "log:1"


HOLDS: list[tuple[Any, bool]] = [
    (by_driver("mysql"), True),
    (by_driver("redis"), False),
    (by_source("mysql", "shop"), True),
    (by_source("mysql", "other"), False),
    (by_kind("insert"), True),
    (by_kind("WRITE"), True),
    (by_kind("write"), False),
    (by_table("orders"), True),
    (by_table("shop.*"), True),
    (by_table("o?ders"), True),
    (by_table("shop.order"), False),
    (by_table("Orders"), False),
    (by_time(NOON), True),
    (by_time(NOON + timedelta(microseconds=1)), False),
    (by_time(None, NOON), False),
    (by_time(None, NOON + timedelta(microseconds=1)), True),
    (by_position(Position("mysql", "log:4"), Position("mysql", "log:5")), True),
    (by_position(Position("mysql", "log:5")), False),
    (by_transaction("0-1-7"), True),
    (by_transaction("log:1"), True),
    (by_transaction("0-1-8"), False),
    (any_of(by_kind("delete"), by_table("orders")), True),
    (any_of(by_kind("delete"), by_table("users")), False),
    (any_of(), False),
    (not_(by_kind("delete")), True),
    (not_(not_(by_kind("delete"))), False),
]


@pytest.mark.parametrize(("predicate", "expected"), HOLDS, ids=[str(predicate_json(predicate)) for predicate, _ in HOLDS])
def test_a_predicate_holds_for_what_it_says(predicate: Any, expected: bool) -> None:  # noqa: FBT001 - a parameter
    """Each kind of predicate on one event; none holds for no event."""
    assert predicate(Made()) is expected
    assert predicate(None) is False


def test_what_may_have_changed_any_table_is_not_ruled_out_by_table() -> None:
    """A statement has no table: it is inside every table's filter; structure is in none."""
    statement, structure = Made(table=None, operation="statement"), Made(table=None, operation=None)

    assert (True, False) == (by_table("users")(statement), by_table("users")(structure))


@given(st.lists(st.sampled_from([predicate for predicate, _ in HOLDS]), max_size=4))
def test_all_predicates_of_a_selection_must_hold(chosen: list[Any]) -> None:
    """`filter_events` keeps what all predicates keep; None is passed over on both sides."""
    kept = list(filter_events([Made(), None], *chosen, None))

    assert all(predicate(Made()) for predicate in chosen) is bool(kept)


def test_bodies_are_those_of_one_type() -> None:
    """`bodies` yields bodies of the type asked for."""
    assert ["a"] == list(bodies([Made(body="a"), None, Made(body=1)], str))
    assert [] == list(bodies([Made(body="a")], RowChanges))


def test_equal_predicates_are_written_equally() -> None:
    """JSON of a predicate depends on what it asks, not on the object; different ones differ."""
    again = [any_of(by_kind("delete"), by_table("orders")), not_(by_kind("delete"))]
    written = [str(predicate_json(predicate)) for predicate, _ in HOLDS]

    assert again == [any_of(by_kind("delete"), by_table("orders")), not_(by_kind("delete"))]
    assert len(written) == len(set(written))


@given(st.text(max_size=30))
def test_any_text_is_a_selection_or_a_declared_error(text: str) -> None:
    """Whatever a person writes for a filter, nothing but our errors come of it, and what is accepted can be asked."""
    for option in ("tables", "kinds", "transactions"):
        assert all(isinstance(predicate(Made()), bool) for predicate in selection(**{option: [text]}))  # type: ignore[arg-type]
    for option in ("since", "until", "where"):
        try:
            selection(**{option: text})
        except DblogError:
            continue


@given(st.datetimes(timezones=st.timezones()))
def test_a_time_with_its_zone_is_read_as_that_instant(time: datetime) -> None:
    """ISO text names an instant whatever its zone; without a zone it is refused."""
    assert time.astimezone(UTC) == parse_time(time.isoformat(), "--since").astimezone(UTC)
    with pytest.raises(InvalidInput):
        parse_time(time.replace(tzinfo=None).isoformat(), "--since")
