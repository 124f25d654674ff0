"""A survey counts what a log holds, within bounds, and finds the transactions that stand out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
import json
from pathlib import Path
from typing import Any

from hypothesis import given, strategies as st
import pytest

from dblog_tasks.backend import open as open_log
from dblog_tasks.errors import MalformedLog, StorageError, TruncatedLog
from dblog_tasks.event import Column, Omission, Position, RowChanges, Source, Table, Transaction
from dblog_tasks.survey import ANY_TABLE, BIGGEST, BUCKETS_MAX, EPOCH, OTHER, TABLES_MAX, TEXTS_MAX, WIDTHS, Changes, Survey, survey

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
ID = Column("id", "int")
AT, LOG = Position("mysql", "log.1:8"), Source("mysql", "log")


@dataclass(frozen=True)
class Record:
    """An event as a backend would give it."""

    body: Any = None
    operation: str | None = None
    table: tuple[str, str] | None = None
    transaction_info: Transaction | None = None
    omission: Omission | None = None
    time: datetime | None = NOON
    kind: str = "RECORD"
    raw: bytes = b"12345678"
    position: Position = AT
    source: Source = LOG

    @property
    def transaction(self) -> str | None:
        """The id of the transaction."""
        return self.transaction_info.id if self.transaction_info else None


@dataclass(frozen=True)
class Text:
    """The body of a statement."""

    text: bytes


def rows(
    count: int, table: str = "t", *, operation: str = "insert", name: str = "", time: datetime = NOON, key: tuple[int, ...] = (0,)
) -> Record:
    """Return an event of so many rows, in a transaction when that has a name."""
    change = RowChanges(Table("s", table, (ID,), key), [(None, (number,)) for number in range(count)])
    transaction = Transaction(name, Position("mysql", "log.1:4"), Position("mysql", "log.1:8"), time) if name else None
    return Record(change, operation, ("s", table), transaction, time=time)


def of_corpus(corpus: Path, folder: str = "shop") -> Survey:
    """Return the survey of the three files of the shop."""
    with open_log("mysql", path=str(corpus / folder / "shop.00*")) as decoder:
        return survey(decoder)


def test_recorded_log_is_counted_by_table_and_kind(corpus: Path) -> None:
    """Rows, transactions and texts of a real log are all there, and the buckets hold every row."""
    found = of_corpus(corpus)
    events = {(changes.table, changes.kind): changes for changes in found.changes}
    accident = json.loads((corpus / "shop" / "accident.json").read_text())

    assert {sum(changes.over_time) - changes.rows for changes in found.changes} == {0}
    assert found.source == Source("mysql", "shop")
    assert events["shop.orders", "delete"].rows >= accident["transactions"][0]["rows"][0]
    assert [big.rows for big in found.biggest[:2]] == [transaction["rows"][0] for transaction in accident["transactions"][:2]]
    assert [list(big.transaction.statements) for big in found.biggest[:2]] == [it["statements"] for it in accident["transactions"][:2]]
    assert (0, (), ()) == (found.silent, found.obstacles, found.keyless)


@pytest.mark.parametrize(("folder", "unit"), [("shop", "rows"), ("shop/nolog", "bytes")])
def test_accident_stands_out_with_and_without_column_names(corpus: Path, folder: str, unit: str) -> None:
    """The two big slips are the suspects, the delete first: by rows, or by bytes where the log has no names to count rows with."""
    accident = json.loads((corpus / "shop" / "accident.json").read_text())

    found = of_corpus(corpus, folder).suspects

    assert [(it["gtid"], unit) for it in accident["transactions"][:2]] == [
        (suspect.found.transaction.id, suspect.unit) for suspect in found
    ]
    assert ["delete", "update"] == [suspect.kind for suspect in found]


def test_missing_column_names_are_one_obstacle_with_its_fix(corpus: Path) -> None:
    """Every change that cannot be decoded counts as at least a row, and the obstacle says what to give."""
    found = of_corpus(corpus, "shop/nolog")

    assert [(sum(changes.events for changes in found.changes), True)] == [(it.events, "--schema" in it.fix) for it in found.obstacles]
    assert {changes.rows - changes.unread for changes in found.changes} == {0}


def test_statement_log_shows_its_statements(scenario: Any) -> None:
    """Statements and definitions have their text and position, a TRUNCATE among them, and count as changes of any table."""
    folder = scenario("mysql97/mixed_statements")
    with open_log("mysql", path=str(folder / "mysql-bin.000001")) as decoder:
        found = survey(decoder)

    assert "TRUNCATE TABLE ld" in [statement.text for statement in found.statements if statement.kind == "definition"]
    assert "UPDATE a SET n=n+1" in [statement.text for statement in found.statements if statement.kind == "statement"]
    assert {"definition", "statement"} == {changes.kind for changes in found.changes if changes.table == ANY_TABLE}
    assert {"statement format", "schema change (DDL)"} <= {obstacle.reason for obstacle in found.obstacles}


def test_nothing_gives_an_empty_survey() -> None:
    """Without events nothing is claimed."""
    assert Survey() == survey([])


def test_damage_ends_the_survey_with_what_came_before() -> None:
    """A cut log is surveyed up to the cut; another error is not the log's and is raised."""

    def broken(error: Exception) -> Iterator[Record]:
        yield rows(2)
        raise error

    cut = TruncatedLog("cut")

    assert (cut, 2) == (survey(broken(cut)).problem, survey(broken(MalformedLog("bad"))).changes[0].rows)
    with pytest.raises(StorageError):
        survey(broken(StorageError("gone")))


def test_rows_that_cannot_be_read_are_an_obstacle() -> None:
    """They are counted as unread, and the log is read on."""
    unread = Omission("of another time", "give the old one")

    found = survey([Record(unread, "update", ("s", "t"), omission=unread), rows(1)])

    assert [("give the old one", 1, ("s.t",))] == [(it.fix, it.events, it.tables) for it in found.obstacles]
    assert {("update", 1), ("insert", 0)} == {(changes.kind, changes.unread) for changes in found.changes}


def test_commands_count_by_database_and_name() -> None:
    """A log of commands is counted by what the commands do, one change each."""

    @dataclass(frozen=True)
    class Command:
        database: int

    found = survey([Record(Command(3), "command", kind="del", time=None)] * 2)

    assert (Changes("db3", "del", 2, 0, 2, 16),) == found.changes


def test_table_without_key_is_named() -> None:
    """Tables whose rows cannot be told apart are listed."""
    assert ("s.log",) == survey([rows(1), rows(1, "log", key=())]).keyless


def test_transaction_that_is_usual_is_no_suspect() -> None:
    """A table that is always changed in bulk has no suspects; one bulk change among single ones is one, with what is usual."""
    bulk = [rows(500, name=str(number)) for number in range(5)]
    single = [rows(1, "u", name=f"u{number}") for number in range(5)]
    slip = rows(500, "u", operation="delete", name="slip")

    assert () == survey(bulk).suspects
    assert [("slip", 500, 1)] == [(it.found.transaction.id, it.amount, it.usual) for it in survey([*bulk, *single, slip]).suspects]


def test_transaction_with_several_slips_is_one_suspect() -> None:
    """A transaction that stands out twice is listed once, for the worse."""
    slips = [rows(40, "u", operation="update", name="x"), rows(50, "v", operation="delete", name="x")]

    assert [("s.v", "delete")] == [(it.table, it.kind) for it in survey(slips).suspects]


def test_tables_beyond_the_bound_count_together() -> None:
    """No change is lost when there are more tables than are kept apart."""
    found = survey(rows(2, f"t{number}") for number in range(TABLES_MAX + 5))

    assert TABLES_MAX + 1 == len(found.changes)
    assert (10, 10) == next((changes.rows, sum(changes.over_time)) for changes in found.changes if (changes.table, changes.kind) == OTHER)


def test_lists_are_bounded() -> None:
    """Of many transactions the biggest are kept, of many statements with one first word the first."""
    texts = [Record(Text(b"DROP TABLE t%d" % number), "definition", position=Position("mysql", f"log.1:{number}")) for number in range(20)]
    found = survey([*(rows(number % 7 + 1, name=str(number)) for number in range(100)), *texts])

    assert [7] * BIGGEST == [big.rows for big in found.biggest]
    assert [f"DROP TABLE t{number}" for number in range(TEXTS_MAX)] == [statement.text for statement in found.statements]
    assert (100, 100) == (found.transactions, found.silent)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 250_000_000_000).map(lambda second: EPOCH + timedelta(seconds=second)), st.integers(0, 3), st.sampled_from("ab")
        )
    )
)
def test_buckets_hold_every_row_at_its_time(stamped: list[tuple[datetime, int, str]]) -> None:
    """However the times lie, there are few buckets, they hold all rows, and each row's time lies in its bucket."""
    found = survey(rows(count, table, time=time) for time, count, table in stamped)

    assert all(len(it.over_time) <= BUCKETS_MAX for it in found.changes)
    expected: dict[tuple[str, int], int] = {}
    for time, count, table in stamped:
        assert found.start is not None
        place = (f"s.{table}", (time - found.start) // found.width)
        expected[place] = expected.get(place, 0) + count
    got = {(it.table, bucket): number for it in found.changes for bucket, number in enumerate(it.over_time) if number}
    assert {place: number for place, number in expected.items() if number} == got
    assert (min((time for time, *_ in stamped), default=None), max((time for time, *_ in stamped), default=None)) == (
        found.since,
        found.until,
    )


def test_each_width_is_a_multiple_of_the_one_before() -> None:
    """Buckets can be merged from any width to the next, and the widest ones hold all times there are."""
    assert [timedelta(0)] * (len(WIDTHS) - 1) == [wide % narrow for narrow, wide in pairwise(WIDTHS)]
    assert timedelta(days=10_000 * 366) < WIDTHS[-1] * (BUCKETS_MAX - 1)
