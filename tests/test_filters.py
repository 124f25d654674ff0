"""Predicates: values that compare, combine, and are written the same in every process."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
import pickle
import re
from typing import Any

from hypothesis import given, strategies as st
import pytest

from dblog_tasks.errors import DblogError, InvalidInput
from dblog_tasks.event import Position, RowChanges, Source
from dblog_tasks.filters import (
    any_of,
    bodies,
    by_kind,
    by_table,
    by_time,
    by_transaction,
    doubt_of,
    filter_events,
    first_against,
    not_,
    predicate_json,
)
from dblog_tasks.mysql.gtid import parse as gtids
from dblog_tasks.origin_filters import by_driver, by_gtid, by_position, by_source, by_statement, by_thread
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
    gtid: str = "0-1-7"
    thread: int | None = 33
    statement: bytes | None = b"UPDATE  orders\n SET total = 0, note='\xc3\xa9' WHERE id < 10"


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
    (by_gtid(gtids("0-1-5..90")), True),
    (by_gtid(gtids("0-1-8..90")), False),
    (by_thread(33), True),
    (by_thread(34), False),
    (by_statement("orders"), True),
    (by_statement("update orders set TOTAL"), True),
    (by_statement("ORDERS*id < 10"), True),
    (by_statement("NOTE='É'"), True),
    (by_statement("id < 10*orders"), False),
    (by_statement("updateorders"), False),
    (by_statement("DELETE"), False),
    (any_of(by_thread(34), by_statement("where")), True),
    (not_(by_thread(33)), False),
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
    for option in ("tables", "kinds", "transactions", "gtids", "threads", "statements", "columns"):
        try:
            assert all(isinstance(predicate(Made()), bool) for predicate in selection(**{option: [text]}))  # type: ignore[arg-type]
        except DblogError:
            assert option not in ("tables", "kinds", "transactions")
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


UNTOLD = Made(thread=None, statement=None)
STATEMENT = Made(table=None, operation="statement")
DOUBTED = (
    (by_thread(33), UNTOLD, "no thread id in the log"),
    (by_statement("orders"), UNTOLD, "no statement text in the log"),
    (by_table("orders"), STATEMENT, "table not known"),
    (by_kind("delete"), STATEMENT, "rows not known"),
    (any_of(by_thread(33), by_statement("x")), UNTOLD, "no thread id in the log"),
)


@pytest.mark.parametrize(("predicate", "event", "reason"), DOUBTED)
def test_what_the_log_does_not_tell_is_in_doubt_and_not_ruled_out(predicate: Any, event: Made, reason: str) -> None:
    """Neither by a predicate nor by its opposite, and the doubt says what is missing."""
    for asked in (predicate, not_(predicate), not_(not_(predicate))):
        found = doubt_of(asked, event)

        assert found is not None
        assert reason == found.reason
        assert first_against([asked], event) is None


def test_what_certainly_holds_or_not_is_in_no_doubt() -> None:
    """One member that holds settles `any_of`; a definition is no delete of rows."""
    assert doubt_of(any_of(by_thread(33), by_table("orders")), UNTOLD) is None
    assert first_against([any_of(by_thread(33), by_table("users"))], UNTOLD) is None
    assert first_against([by_kind("delete")], Made(table=None, operation="definition")) == "other kind"
    assert first_against([by_thread(34)], Made()) == "other thread"


@given(st.lists(st.sampled_from([predicate for predicate, _ in HOLDS]), max_size=4), st.sampled_from([Made(), UNTOLD, STATEMENT]))
def test_a_predicate_and_its_opposite_never_both_hold(chosen: list[Any], event: Made) -> None:
    """Without a doubt exactly one of them holds."""
    one, other = any_of(*chosen), not_(any_of(*chosen))

    assert not (one(event) and other(event)) or doubt_of(one, event) is not None
    assert (doubt_of(one, event) is None) <= (one(event) != other(event))


@given(st.text(alphabet="ab* \n", max_size=8), st.text(alphabet="abAB \n", max_size=20))
def test_a_pattern_means_what_a_regular_expression_would(pattern: str, text: str) -> None:
    """`*` any text, blanks any blanks, the rest itself in either case."""
    if not pattern.replace("*", "").strip():
        with pytest.raises(InvalidInput, match="says nothing"):
            by_statement(pattern)
        return
    words = [re.escape(piece) for piece in " ".join(pattern.split()).split("*") if piece.strip()]
    expected = re.search(".*".join(words), " ".join(text.split()), re.DOTALL | re.IGNORECASE) is not None

    assert expected == by_statement(pattern)(Made(statement=text.encode()))


def test_a_text_that_is_not_utf_8_is_read_as_latin_1() -> None:
    """A client of another character set wrote it; what is ASCII in it is found in any case."""
    text = "INSERT INTO müll VALUES ('x')".encode("latin-1")

    assert by_statement("MÜLL")(Made(statement=text))
    assert by_statement("values ('x')")(Made(statement=text))


@pytest.mark.parametrize("thread", ["0", "-1", "x", "", "4294967296", "9" * 30, "٣", "1.5"])
def test_what_is_no_thread_id_is_refused(thread: str) -> None:
    """Numbers from 1 on, of 32 bits."""
    with pytest.raises(InvalidInput, match="thread"):
        selection(threads=[thread])


@dataclass(frozen=True, slots=True)
class Other:
    """An event of a log that knows neither threads nor statements."""

    source: Source = Source("redis", "cache")


@pytest.mark.parametrize("predicate", [by_thread(1), by_statement("x"), by_gtid(gtids("0-1-1"))])
def test_a_log_of_another_kind_refuses_what_it_cannot_tell(predicate: Any) -> None:
    """Instead of selecting nothing."""
    with pytest.raises(InvalidInput, match="logs of redis hold no"):
        predicate(Other())


@pytest.mark.parametrize(("predicate", "expected"), HOLDS, ids=[str(predicate_json(predicate)) for predicate, _ in HOLDS])
def test_a_predicate_is_the_same_in_another_process(predicate: Any, expected: bool) -> None:  # noqa: FBT001 - a parameter
    """Also after it was asked: what it remembers does not go with it."""
    predicate(Made())
    again = pickle.loads(pickle.dumps(predicate))  # noqa: S301 - our own bytes

    assert (predicate, predicate_json(predicate), expected) == (again, predicate_json(again), again(Made()))
