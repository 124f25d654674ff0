"""What a selection asks of a binary log: the statement rows belong to, the thread of a transaction, and what a log does not tell."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

import dblog_tasks
from dblog_tasks import ledger as words
from dblog_tasks.ledger import Ledger
from dblog_tasks.mysql import binlog as b
from dblog_tasks.planning import selection
from tests.mysql import binlog_writer as write
from tests.mysql.binlog_writer import Log, gtid, query, rows, table_map

CORPUS = Path(__file__).parents[1] / "corpus"
LOGS = [*sorted((CORPUS / "shop").glob("shop.0*")), CORPUS / "types" / "types.000001", *sorted((CORPUS / "found").glob("*.0*"))]
CHANGES = ("insert", "update", "delete")


@pytest.mark.parametrize("log", LOGS, ids=lambda log: log.name)
def test_rows_belong_to_the_statement_whose_text_came_last(log: Path) -> None:
    """Held against the texts in the order of the log: these servers wrote one before the rows of each statement."""
    said, seen = None, 0
    with dblog_tasks.open("mysql", path=str(log)) as decoder:
        for event in decoder:
            said = event.body.text if event.kind in ("ROWS_QUERY_EVENT", "MARIADB_ANNOTATE_ROWS_EVENT") else said
            operation = getattr(event, "operation")  # noqa: B009 - of this backend's events
            if operation in CHANGES:
                assert said == getattr(event, "statement")  # noqa: B009
                seen += 1
            elif operation is not None and event.kind == "QUERY_EVENT":
                assert event.body.text == getattr(event, "statement")  # noqa: B009

    assert seen > 0


MAP = (b.TABLE_MAP, table_map([(3, b"")], [write.names("id")]))
ROWS = (b.WRITE_ROWS_V2, rows(1, b"\0\1\0\0\0", version=2))
MORE = (b.WRITE_ROWS_V2, rows(1, b"\0\1\0\0\0", version=2, flags=0))
XID = (b.XID, bytes(7) + b"\1")


def said(text: str) -> tuple[int, bytes]:
    """The text before the rows of a statement."""
    return b.ROWS_QUERY, bytes([min(len(text), 255)]) + text.encode()


def started(number: int, thread: int = 7) -> tuple[tuple[int, bytes], ...]:
    """The beginning of a transaction of a thread."""
    return (b.GTID, gtid(number)), (b.QUERY, query("BEGIN", thread=thread))


# Three transactions: texts and none in one, another thread, and a statement whose rows are in two events and two tables.
MADE: Sequence[tuple[int, bytes]] = (
    *(*started(1), said("one"), MAP, ROWS, MAP, ROWS, said("two"), MAP, ROWS, XID),
    *(*started(2, thread=8), said("one more"), MAP, MORE, MAP, ROWS, XID),
    *(*started(3, thread=0), MAP, ROWS, XID),
)


def read(**options: Any) -> tuple[list[str], Ledger]:
    """Return what is kept of the changes above, as their statement or the reason why they cannot be undone, and the ledger."""
    ledger, log = Ledger(), bytes(Log().adds(*MADE).data)
    with dblog_tasks.open("mysql", reader=BytesIO(log), ledger=ledger, **options) as decoder:
        changes: list[Any] = [event for event in decoder if getattr(event, "operation")]  # noqa: B009
    return [event.omission.reason if event.omission else (event.statement or b"?").decode() for event in changes], ledger


NO_TEXT, NO_THREAD = "no statement text in the log", "no thread id in the log"
KEPT: tuple[tuple[dict[str, Any], list[str]], ...] = (
    ({}, ["one", "?", "two", "one more", "one more", "?"]),
    ({"statements": ["one"]}, ["one", NO_TEXT, "one more", "one more", NO_TEXT]),
    ({"statements": ["ONE*MORE"]}, [NO_TEXT, "one more", "one more", NO_TEXT]),
    ({"statements": ["!one"]}, [NO_TEXT, "two", NO_TEXT]),
    ({"statements": ["one", "two"]}, ["one", NO_TEXT, "two", "one more", "one more", NO_TEXT]),
    ({"threads": ["7"]}, ["one", "?", "two", NO_THREAD]),
    ({"threads": ["!7"]}, ["one more", "one more", NO_THREAD]),
    ({"threads": ["7", "8"]}, ["one", "?", "two", "one more", "one more", NO_THREAD]),
    ({"threads": ["7"], "statements": ["two"]}, [NO_TEXT, "two", NO_THREAD]),
    ({"threads": ["7"], "gtids": [f"{write.SID}:1-2"]}, ["one", "?", "two"]),
    ({"gtids": [f"!{write.SID}:1:3"]}, ["one more", "one more"]),
    ({"columns": ["id"], "threads": ["8"]}, ["one more", "one more", NO_THREAD]),
    ({"columns": ["other"]}, []),
    ({"tables": ["nobody"], "threads": ["8"]}, []),
)


@pytest.mark.parametrize(("asked", "expected"), KEPT)
def test_what_the_log_does_not_tell_cannot_be_undone_and_is_not_lost(asked: dict[str, Any], expected: list[str]) -> None:
    """Rows without a text or thread are kept with that as the reason, whether a filter wants or rules out; others decide first."""
    kept, ledger = read(selection=selection(**asked))

    assert expected == kept
    assert ledger.total >= ledger.not_needed.total() + len(kept)


WHOLE: tuple[tuple[dict[str, Any], list[str]], ...] = (
    ({"statements": ["two"]}, ["one", "?", "two", NO_TEXT]),
    ({"statements": ["more"]}, [NO_TEXT, "one more", "one more", NO_TEXT]),
    ({"threads": ["8"], "statements": ["more"]}, ["one more", "one more", NO_THREAD]),
    ({"where": "id = 2"}, []),
    ({"columns": ["id"]}, ["one", "?", "two", "one more", "one more", "?"]),
)


@pytest.mark.parametrize(("asked", "expected"), WHOLE)
def test_whole_transactions_are_those_of_which_a_change_is_meant(asked: dict[str, Any], expected: list[str]) -> None:
    """By its rows and its statement too, not by its tables alone; a doubt makes no transaction wanted."""
    assert expected == read(selection=selection(**asked), whole_transactions=True)[0]


def test_the_ledger_says_which_filter_ruled_out() -> None:
    """A word for each filter."""
    ruled_out: tuple[tuple[dict[str, Any], str], ...] = (
        ({"threads": ["9"]}, words.OTHER_THREAD),
        ({"statements": ["nothing"]}, words.OTHER_STATEMENT),
        ({"columns": ["other"]}, words.NO_SUCH_COLUMN),
        ({"columns": ["nobody.id"]}, words.OTHER_COLUMN),
        ({"gtids": [f"{write.SID}:9"]}, words.OTHER_GTID),
    )
    for asked, word in ruled_out:
        assert read(selection=selection(**asked))[1].not_needed[word] > 0
