"""The binary protocol of pgoutput, message by message."""

from __future__ import annotations

from pathlib import Path

import pytest

from dblog_tasks.ledger import NOT_COMMITTED, Ledger
from dblog_tasks.postgres import pgoutput, transactions
from dblog_tasks.postgres.place import position_key
from tests.postgres_reading import Read, reading, rows


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """All events of these bytes, with a schema or without."""
    return reading(tmp_path)


def message(letter: str, *parts: bytes) -> bytes:
    """A message with the line end of pg_recvlogical."""
    return letter.encode() + b"".join(parts) + b"\n"


def u(value: int, size: int) -> bytes:
    """A number."""
    return value.to_bytes(size, "big")


def table(identity: str, key: str = "10", oid: int = 7, xid: bytes = b"") -> bytes:
    """A relation of columns a (integer) and b (text); `key`: which are of the key."""
    columns = b"".join(
        u(int(flag), 1) + name + b"\0" + u(kind, 4) + u(0xFFFFFFFF, 4) for flag, name, kind in zip(key, (b"a", b"b"), (23, 25), strict=True)
    )
    return message("R", xid, u(oid, 4), b"public\0t\0", identity.encode(), u(2, 2), columns)


def values(*given: str | None) -> bytes:
    """A row; `~` stands for unchanged TOAST."""
    cells = [b"n" if value is None else b"u" if value == "~" else b"t" + u(len(value.encode()), 4) + value.encode() for value in given]
    return u(len(given), 2) + b"".join(cells)


BEGIN = message("B", u(0x20, 8), u(0, 8), u(9, 4))
COMMIT = message("C", b"\0", u(0x20, 8), u(0x30, 8), u(1_000_000, 8))


def test_the_letter_tells_a_whole_old_row_from_a_key(read: Read) -> None:
    """The columns of a key's row that are not of the key are no NULLs."""
    full = message("D", u(7, 4), b"O", values("1", None))
    key = message("D", u(7, 4), b"K", values("1", None))

    [whole] = [event for event in read(BEGIN + table("f", "11") + full + COMMIT) if event.operation]
    [part] = [event for event in read(BEGIN + table("d") + key + COMMIT) if event.operation]

    assert ({"a": "1", "b": None}, None) == rows(whole)
    assert "(replica identity DEFAULT)" in part.omission.reason  # type: ignore[union-attr]
    assert {"a": "1"} == part.body.before
    assert ("0/30/3", "9", "2000-01-01T00:00:01+00:00") == (whole.position.value, whole.transaction, whole.time and whole.time.isoformat())


def test_unchanged_toast_of_pgoutput(read: Read) -> None:
    """Is the old row's."""
    update = message("U", u(7, 4), b"O", values("1", "big\n"), b"N", values("2", "~"))
    assert ({"a": "1", "b": "big\n"}, {"a": "2", "b": "big\n"}) == rows(read(BEGIN + table("f", "11") + update + COMMIT)[2])


def test_a_key_of_all_columns_is_the_whole_row(read: Read) -> None:
    """Nothing else is there to be logged."""
    delete = message("D", u(7, 4), b"K", values("1", "x"))
    assert ({"a": "1", "b": "x"}, None) == rows(read(BEGIN + table("d", "11") + delete + COMMIT)[2])


def test_binary_values_are_refused(read: Read) -> None:
    """Not taken for text."""
    insert = message("I", u(7, 4), b"N", u(2, 2), b"b", u(4, 4), u(1, 4), b"n")
    assert "binary values" == read(BEGIN + table("f", "11") + insert + COMMIT)[2].omission.reason  # type: ignore[union-attr]


def streamed(*ends: bytes) -> bytes:
    """Three rows of transaction 9, the second and third of subtransactions 10 and 11, in two streams; another transaction between."""
    row = [message("I", u(xid, 4), u(7, 4), b"N", values(str(xid), None)) for xid in (9, 10, 11)]
    start, stop = message("S", u(9, 4), b"\1"), message("E")
    other = message("B", u(0x10, 8), u(0, 8), u(20, 4)) + message("I", u(7, 4), b"N", values("20", None))
    other += message("C", b"\0", u(0x10, 8), u(0x18, 8), u(0, 8))
    return start + table("f", "11", xid=u(9, 4)) + row[0] + row[1] + stop + other + start + row[2] + stop + b"".join(ends)


STREAM_COMMIT = message("c", u(9, 4), b"\0", u(0x20, 8), u(0x30, 8), u(0, 8))


@pytest.mark.parametrize(
    ("ends", "expected", "reason"),
    [
        ([STREAM_COMMIT], ["20", "9", "10", "11"], None),
        ([message("A", u(9, 4), u(10, 4)), STREAM_COMMIT], ["20", "9", "11"], None),
        ([message("A", u(9, 4), u(10, 4), u(0x15, 8), u(0, 8)), STREAM_COMMIT], ["20", "9", "11"], None),  # version 4
        ([message("A", u(9, 4), u(9, 4))], ["20"], None),
        ([], ["20", "9", "10", "11"], NOT_COMMITTED),
    ],
)
def test_streamed_transactions_count_when_they_are_committed(
    read: Read, ends: list[bytes], expected: list[str], reason: str | None
) -> None:
    """Where they are; aborted subtransactions not at all."""
    ledger = Ledger()
    events = read(streamed(*ends), ledger=ledger)
    inserts = [event for event in events if event.kind == "insert"]

    assert expected == [rows(event)[1]["a"] for event in inserts]
    assert reason == (inserts[-1].omission and inserts[-1].omission.reason)
    assert ledger.total == len(events) + ledger.not_needed.total()
    positions = [position_key(event.position) for event in events]
    assert sorted(positions) == positions


def test_a_message_holds_any_byte(read: Read) -> None:
    """Line ends and letters of messages among them."""
    events = read(message("M", b"\0", u(0x20, 8), b"p\0", u(6, 4), b"\nB\0C\n\xff") + BEGIN + COMMIT)
    assert (["message", "begin", "commit"], b"\nB\0C\n\xff") == ([event.kind for event in events], events[0].body.content)


def test_rows_of_a_table_the_log_does_not_describe(read: Read) -> None:
    """Its relation message was before this log."""
    assert pgoutput.NO_RELATION == read(BEGIN + message("I", u(7, 4), b"N", values("1", None)) + COMMIT)[1].omission


def test_a_row_filter_makes_other_changes_of_updates(read: Read) -> None:
    """So nothing of such a table is undone; the schema tells that there is one."""
    schema = (
        "CREATE TABLE public.t (a integer NOT NULL, b text);\nALTER TABLE ONLY public.t REPLICA IDENTITY FULL;\nCREATE PUBLICATION p;\n"
    )
    insert = message("I", u(7, 4), b"N", values("1", None))
    plain = read(BEGIN + table("f", "11") + insert + COMMIT, schema)[2]
    filtered = read(BEGIN + table("f", "11") + insert + COMMIT, schema + "ALTER PUBLICATION p ADD TABLE ONLY public.t WHERE ((a > 5));\n")[
        2
    ]
    assert (None, True) == (plain.omission, "row filter" in str(filtered.omission))


def test_a_long_transaction_is_held_on_disk(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    """And read back as it was."""
    monkeypatch.setattr(transactions, "HELD_MAX", 1000)
    monkeypatch.setattr(transactions, "BATCH", 7)
    for data in (
        "BEGIN 5\n" + "".join(f"table public.t: INSERT: a[integer]:{number}\n" for number in range(100)) + "COMMIT 5\n",
        BEGIN + table("f", "11") + b"".join(message("I", u(7, 4), b"N", values(str(number), None)) for number in range(100)) + COMMIT,
    ):
        found = [rows(event)[1]["a"] for event in read(data) if event.operation]
        assert [str(number) for number in range(100)] == found
