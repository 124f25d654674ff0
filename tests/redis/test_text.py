"""Undo commands as redis-cli reads them."""

from __future__ import annotations

from ast import literal_eval
import re

from hypothesis import given, strategies as st

from dblog_tasks.event import CommandChange
from dblog_tasks.redis.text import command_line, undo_text

WORD = re.compile(r'"(?:[^"\\]|\\.)*"|[^" ]+')


def split(line: str) -> tuple[bytes, ...]:
    """The words of a line; Python reads the escapes we write as redis-cli does."""
    return tuple(literal_eval(f"b{word}") if word[0] == '"' else word.encode() for word in WORD.findall(line))


def undo(database: int, *words: bytes) -> CommandChange:
    """A reversed change that runs these words."""
    return CommandChange(database, words, (b"do",), "exact")


@given(st.lists(st.binary(max_size=12), min_size=1))
def test_any_words_survive_as_one_line_of_printable_text(words: list[bytes]) -> None:
    """Blanks, quotes, line ends, NUL and bytes that are no text included."""
    line = command_line(words)

    assert line.isascii()
    assert line.isprintable()
    assert tuple(words) == split(line)


def test_transactions_and_databases_are_kept() -> None:
    """MULTI and EXEC stand around each transaction, SELECT only where the database changes."""
    steps = [
        (None, undo(0, b"decr", b"a")),
        ("f:90", undo(0, b"lpop", b"l", b"2")),
        ("f:90", undo(3, b"del", b"k x")),
        ("f:10", undo(3, b"decr", b"b")),
        (None, undo(0, b"decr", b"c")),
    ]

    expected = ["SELECT 0", "decr a", "MULTI", "lpop l 2", "SELECT 3", 'del "k x"', "EXEC", "MULTI", "decr b", "EXEC", "SELECT 0", "decr c"]
    assert expected == list(undo_text(steps))


def test_a_transaction_at_the_end_is_closed() -> None:
    """The last line of a transaction is its EXEC; nothing gives nothing."""
    assert ["SELECT 1", "MULTI", "decr b", "EXEC"] == list(undo_text([("f:10", undo(1, b"decr", b"b"))]))
    assert [] == list(undo_text([]))
