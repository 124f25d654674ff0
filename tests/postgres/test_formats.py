"""What surprises in the formats, each as a server wrote it."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

from hypothesis import given, strategies as st
import pytest

import dblog_tasks
from dblog_tasks.errors import DblogError, InvalidCheckpoint, InvalidInput, MalformedLog, TruncatedLog, UnsupportedLog
from dblog_tasks.event import Checkpoint, Position
from dblog_tasks.ledger import NOT_COMMITTED, PREPARED, ROLLED_BACK, Ledger
from dblog_tasks.postgres.names import qualified, quoted, shown, type_name
from dblog_tasks.postgres.place import Place, place_text, position_key
from tests.postgres_reading import Read, reading, rows

FULL = "CREATE TABLE public.t (a integer NOT NULL, b text, c numeric);\nALTER TABLE ONLY public.t REPLICA IDENTITY FULL;\n"
KEYED = FULL + "ALTER TABLE ONLY public.t ADD CONSTRAINT t_pkey PRIMARY KEY (a);\n"
DEFAULT = (
    "CREATE TABLE public.t (a integer NOT NULL, b text, c numeric);\nALTER TABLE ONLY public.t ADD CONSTRAINT t_pkey PRIMARY KEY (a);\n"
)


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """All events of these bytes, with a schema or without."""
    return reading(tmp_path)


def test_null_is_left_out_of_old_rows(read: Read) -> None:
    """Under FULL what is missing is NULL; under DEFAULT it was not logged; without a schema nobody can tell."""
    data = "table public.t: UPDATE: old-key: a[integer]:1 c[numeric]:1.10 new-tuple: a[integer]:1 b[text]:'x' c[numeric]:NaN\n"

    [full], [default], [untold] = read(data, FULL), read(data, DEFAULT), read(data)

    assert ({"a": "1", "b": None, "c": "1.10"}, {"a": "1", "b": "x", "c": "NaN"}) == rows(full)
    assert "public.t: the old row is not in the log (replica identity DEFAULT)" == default.omission.reason  # type: ignore[union-attr]
    assert "for the future: ALTER TABLE public.t REPLICA IDENTITY FULL;" == default.omission.fix  # type: ignore[union-attr]
    assert "nobody can tell NULL from not logged" in untold.omission.reason  # type: ignore[union-attr]
    assert "--schema" in untold.omission.fix  # type: ignore[union-attr]


def test_a_row_of_nulls_is_deleted(read: Read) -> None:
    """Nothing is said of it at all."""
    [first] = read("table public.t: DELETE:\n", FULL)
    assert ({"a": None, "b": None, "c": None}, None) == rows(first)


@pytest.mark.parametrize(
    "text", ["table public.t: DELETE: (no-tuple-data)\n", "table public.t: UPDATE: a[integer]:1 b[text]:'x' c[numeric]:1\n"]
)
def test_without_an_old_row_nothing_is_undone(read: Read, text: str) -> None:
    """Whatever is known of the table."""
    for schema in ("", DEFAULT, FULL):
        [event] = read(text, schema)
        assert event.omission is not None, schema
        assert event.reverse() is None, schema


def test_unchanged_toast_is_the_old_value(read: Read) -> None:
    """Under FULL. The text of the same letters is a value."""
    data = "table public.t: UPDATE: old-key: a[integer]:1 b[text]:'big' c[numeric]:1 new-tuple: a[integer]:1 b[text]:{} c[numeric]:2\n"

    [toast], [text] = read(data.format("unchanged-toast-datum"), FULL), read(data.format("'unchanged-toast-datum'"), FULL)

    assert "big" == rows(toast)[1]["b"]
    assert "unchanged-toast-datum" == rows(text)[1]["b"]


def test_null_and_the_text_of_it_are_two(read: Read) -> None:
    """`null` bare and quoted."""
    events = read("table public.t: INSERT: a[integer]:1 b[text]:null\ntable public.t: INSERT: a[integer]:null b[text]:'null'\n")
    assert [(None, {"a": "1", "b": None}), (None, {"a": None, "b": "null"})] == [rows(event) for event in events]


def test_a_learned_row_is_left_for_one_that_does_not_fit(read: Read) -> None:
    """A column added between two rows, and a row as before it."""
    lines = ["a[integer]:1 b[text]:'x'", "a[integer]:2 b[text]:'y' c[boolean]:true", "a[integer]:3 b[text]:'z'", "b[text]:'w' a[integer]:4"]
    events = read("".join(f"table public.t: INSERT: {line}\n" for line in lines))
    assert [["a", "b"], ["a", "b", "c"], ["a", "b"], ["b", "a"]] == [list(rows(event)[1]) for event in events]


HARD = [
    "",
    "'",
    "''",
    "\\",
    "\\'",
    "\n",
    "BEGIN 1\n",
    "x'\ntable public.t: DELETE: a[integer]:1",
    " new-tuple: a[integer]:1",
    '"',
    "\r\n\t",
    "漢字😀",
    "\x01",
]
# A record ends at a line end, so the name of a column with one has to be told from it.
NAMES = ["b", "Mixed", 'a "b" c', "a'b", "a[b]", "new-tuple:", "x\ny", "漢字", "select", "a.b", "a: b", "a b"]


@pytest.mark.parametrize("name", NAMES)
def test_any_text_under_any_name(read: Read, name: str) -> None:
    """Only quotes are doubled; the same row twice, read column by column and as learned."""
    for value in HARD:
        written = value.replace("'", "''")
        row = f"table public.{quoted('T ' + name)}: INSERT: {quoted(name)}[text]:'{written}'\n"
        events = read(f"BEGIN 7\n{row}{row}COMMIT 7\n")
        assert ["begin", "insert", "insert", "commit"] == [event.kind for event in events], value
        assert [(None, {name: value})] * 2 == [rows(event) for event in events[1:3]]
        assert ("public", f"T {name}") == events[1].table


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=1, max_size=4), st.integers(1, 50))
def test_any_text_in_blocks_of_any_size(values: list[str], size: int) -> None:
    """What is written is read, wherever the blocks are cut."""
    columns = " ".join(f"c{number}[text]:'{value.replace(chr(39), chr(39) * 2)}'" for number, value in enumerate(values))
    data = f"BEGIN 7\ntable public.t: INSERT: {columns}\nCOMMIT 7\n".encode()

    class Cut(BytesIO):
        def read(self, _size: int | None = -1, /) -> bytes:
            return super().read(size)

    with dblog_tasks.open("pg", reader=Cut(data)) as decoder:
        events: list[Any] = list(decoder)
    assert [dict(enumerate(values))] == [dict(enumerate(pair[1])) for pair in events[1].body.rows]
    assert data == b"".join(event.raw for event in events)


def test_types_in_brackets(read: Read) -> None:
    """Arrays, the type of one byte, types in quotes, and bits."""
    columns = (
        "a[text[]]:'{x}' b[\"char\"]:'c' d[public.\"My ]T\"]:'v' e[bit varying]:B'10' f[timestamp with time zone]:'2024-01-01 00:00:00+00'"
    )
    [event] = read(f"table public.t: INSERT: {columns}\n")
    assert {"a": "{x}", "b": "c", "d": "v", "e": "10", "f": "2024-01-01 00:00:00+00"} == rows(event)[1]
    assert ["text[]", '"char"', 'public."My ]T"', "bit varying", "timestamp with time zone"] == [
        column.type for column in event.body.table.columns
    ]


@pytest.mark.parametrize(
    ("text", "kinds", "content"),
    [
        (b"message: transactional: 1 prefix: p, sz: 5 content:a'b\nc\nBEGIN 1\n", ["message", "begin"], b"a'b\nc"),
        (b"message: transactional: 0 prefix: p, sz: 9 content:cut\nBEGIN 1\n", ["message", "begin"], b"cut"),  # at a NUL, by SQL
        (b"message: transactional: 0 prefix: p, sz: 3 content:\0\xff\n\nBEGIN 1\n", ["message", "begin"], b"\0\xff\n"),
        (b"message: transactional: 0 prefix: p, sz: 0 content:\nCOMMIT 1\n", ["message", "commit"], b""),
    ],
)
def test_messages_are_raw(read: Read, text: bytes, kinds: list[str], content: bytes) -> None:
    """Their size tells where they end, but where SQL cut them off."""
    events = read(text)
    assert (kinds, content) == ([event.kind for event in events], events[0].body.content)


PREPARED_LOG = (
    "BEGIN 5\ntable public.t: INSERT: a[integer]:1\nPREPARE TRANSACTION 'g it''s', txid 5 (at 2026-11-23 04:18:02.928051+00)\n"
    "BEGIN 6\ntable public.t: INSERT: a[integer]:2\nCOMMIT 6\n"
)


@pytest.mark.parametrize(
    ("end", "order", "reason"),
    [
        ("COMMIT PREPARED 'g it''s', txid 5\n", ["2", "1"], None),
        ("ROLLBACK PREPARED 'g it''s', txid 5\n", ["2"], None),
        ("", ["2", "1"], PREPARED),
    ],
)
def test_a_prepared_transaction_counts_when_it_was_committed(read: Read, end: str, order: list[str], reason: str | None) -> None:
    """It stands where it was committed; rolled back it never was."""
    ledger = Ledger()
    events = read(PREPARED_LOG + end, ledger=ledger)
    inserts = [event for event in events if event.kind == "insert"]

    assert order == [rows(event)[1]["a"] for event in inserts]
    assert reason == (inserts[-1].omission and inserts[-1].omission.reason)
    assert (4 if "ROLLBACK" in end else 0) == ledger.not_needed[ROLLED_BACK]
    positions = [position_key(event.position) for event in events]
    assert sorted(positions) == positions
    assert len(set(positions)) == len(positions) == ledger.total - ledger.not_needed.total()


def test_the_end_of_a_transaction_that_is_not_in_the_log_is_no_secret(read: Read) -> None:
    """Its rows were changed, and nobody knows which."""
    [event] = read("COMMIT PREPARED 'g', txid 5\n")
    assert "a transaction that was prepared before this log" == event.omission.reason  # type: ignore[union-attr]


def test_a_transaction_without_its_end_is_not_committed(read: Read) -> None:
    """Its changes come last, with the reason."""
    events = read("BEGIN 5\ntable public.t: INSERT: a[integer]:1\n")
    assert [None, NOT_COMMITTED] == [event.omission and event.omission.reason for event in events]


@pytest.mark.parametrize("word", ["TXN 9", "transaction"])
def test_streamed_text_tells_no_rows(read: Read, word: str) -> None:
    """The option stream-changes prints no rows."""
    name = f"transaction {word}" if word != "transaction" else "transaction"
    events = read(
        f"opening a streamed block for {name}\nstreaming change for {word}\nclosing a streamed block for {name}\n"
        f"committing streamed {name}\nBEGIN 10\nCOMMIT 10\n"
    )
    assert ["streamed without rows"] == [event.omission.reason for event in events if event.omission]


def test_text_of_another_encoding_is_not_read(read: Read) -> None:
    """Latin-1 as pg_recvlogical writes it."""
    [event] = read(b"table public.t: INSERT: a[text]:'caf\xe9'\n")
    assert "text that is not UTF-8" == event.omission.reason  # type: ignore[union-attr]


ENVELOPE = "0/10\t7\tBEGIN 7\n0/10\t7\ttable public.t: INSERT: a[text]:'{}'\n0/20\t7\tCOMMIT 7\n"


@pytest.mark.parametrize(
    ("value", "options", "expected"),
    [
        ("plain", {}, "plain"),
        (r"a\nb", {"format": "copy"}, "a\nb"),
        (r"a\nb", {"format": "psql"}, r"a\nb"),
        (r"a\\b\tc", {"format": "copy"}, "a\\b\tc"),
        ("a\nb", {}, "a\nb"),
    ],
)
def test_columns_of_psql_and_of_copy(read: Read, value: str, options: dict[str, str], expected: str) -> None:
    """A backslash means two things in them."""
    events = read(ENVELOPE.format(value), **options)
    assert [["0/20/1", "0/20/2", "0/20"], expected] == [[event.position.value for event in events], rows(events[1])[1]["a"]]


def test_nothing_tells_copy_from_psql(tmp_path: Path) -> None:
    r"""Where every backslash may begin an escape, the log has to be named; `\x` is none, nor has COPY a record of two lines."""
    log = tmp_path / "log.tsv"
    log.write_text(ENVELOPE.format(r"C:\new"))
    with pytest.raises(UnsupportedLog, match="--format psql or --format copy"):
        list(dblog_tasks.open("pg", path=str(log)))
    for evidence in (r"\x41", "a\nb"):
        log.write_text(ENVELOPE.format(r"C:\new") + ENVELOPE.format(evidence))
        events: list[Any] = list(dblog_tasks.open("pg", path=str(log)))
        assert r"C:\new" == events[1].body.rows[0][1][0]
    (tmp_path / "log.copy").write_text(ENVELOPE.format(r"C:\new"))
    copied: list[Any] = list(dblog_tasks.open("pg", path=str(tmp_path / "log.copy")))
    assert "C:\new" == copied[1].body.rows[0][1][0]


def test_a_heading_and_a_footing_are_no_records(read: Read) -> None:
    """As psql prints them without -t."""
    events = read("lsn|xid|data\n0/10|7|BEGIN 7\n0/20|7|COMMIT 7\n(2 rows)\n")
    assert ["begin", "commit"] == [event.kind for event in events]


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"hello\n", MalformedLog),
        (b"table public.t: INSERT: a[text]:'open\n", TruncatedLog),
        (b" lsn | xid | data\n-----+-----+------\n", UnsupportedLog),
        (b"BEGIN 1\nCOMMIT 2\n", MalformedLog),
        (b'{"action":"X"}\n', MalformedLog),
        (b'{"action":"I"\n', TruncatedLog),
        (b"0/10\t7\t420000\n", MalformedLog),
        (b"B\0\0\0", TruncatedLog),
        (b"\xff\xfe\n", MalformedLog),
    ],
)
def test_what_is_no_log_is_an_error(read: Read, data: bytes, error: type[DblogError]) -> None:
    """Of the declared kinds."""
    with pytest.raises(error):
        read(data)


def test_another_format_than_there_is(read: Read) -> None:
    """The names are told."""
    with pytest.raises(InvalidInput, match="test_decoding, wal2json, pgoutput, psql, copy"):
        read(b"BEGIN 1\n", format="csv")


# ---- wal2json


def test_numbers_keep_their_digits_and_nan_is_not_null(read: Read) -> None:
    """wal2json writes NaN as null, so null of a float is not trusted; of an integer it is."""
    head = '{"action":"I","schema":"public","table":"t","columns":['
    exact = head + '{"name":"a","type":"numeric(30,2)","value":12345678901234567890.10},{"name":"b","type":"integer","value":null}]}\n'
    lost = head + '{"name":"a","type":"double precision","value":null}]}\n'

    events = read('{"action":"B"}\n' + exact + lost + '{"action":"C"}\n')

    assert {"a": "12345678901234567890.10", "b": None} == rows(events[1])[1]
    assert "NaN and Infinity" in events[2].omission.reason  # type: ignore[union-attr]


def test_binary_of_wal2json_has_no_prefix(read: Read) -> None:
    """And was cut off when it is no hexadecimal."""
    head = '{"action":"I","schema":"public","table":"t","columns":[{"name":"a","type":"bytea","value":'
    events = read(head + '"00ff"}]}\n' + head + '"\\\\303"}]}\n')
    assert {"a": "\\x00ff"} == rows(events[0])[1]
    assert "cut off" in events[1].omission.reason  # type: ignore[union-attr]


def test_a_column_that_is_missing_did_not_change(read: Read) -> None:
    """TOAST of wal2json: taken of the whole old row."""
    data = (
        '{"action":"U","schema":"public","table":"t","columns":[{"name":"a","type":"integer","value":2}],'
        '"identity":[{"name":"a","type":"integer","value":1},{"name":"b","type":"text","value":"big"},{"name":"c","type":"numeric","value":1.0}]}\n'
    )
    assert ({"a": "1", "b": "big", "c": "1.0"}, {"a": "2", "b": "big", "c": "1.0"}) == rows(read(data, FULL)[0])


def test_tables_without_identity_are_told_of_by_test_decoding_alone(read: Read) -> None:
    """What wal2json does not tell of them might be anything, so nothing of them is undone."""
    schema = "CREATE TABLE public.t (a integer);\n"
    [told] = read("table public.t: INSERT: a[integer]:1\n", schema)
    [silent] = read('{"action":"I","schema":"public","table":"t","columns":[{"name":"a","type":"integer","value":1}]}\n', schema)
    assert (None, True) == (told.omission, "without a replica identity" in str(silent.omission))


# ---- places, names, memory


@pytest.mark.parametrize("text", ["0/16B3748", "0/16B3748/3", "FF/0/0"])
def test_a_place_is_its_text(text: str) -> None:
    """There and back."""
    kind, _, at, number = position_key(Position("pg", text))
    assert (0, text) == (kind, place_text(Place(at, number)))


@pytest.mark.parametrize("value", ["", "x", "0/0/0/0", "log:", "log:x", "G/1"])
def test_what_is_no_place(value: str) -> None:
    """Is said."""
    with pytest.raises(InvalidCheckpoint):
        position_key(Position("pg", value))


@pytest.mark.parametrize(
    ("position", "hint"),
    [("0/10", "has no LSNs"), ("other:5", "another file"), ("reader:3", "not the end"), ("reader:999", "past the end")],
)
def test_a_checkpoint_of_another_log_is_an_error(read: Read, position: str, hint: str) -> None:
    """Of the other kind, file, or place."""
    with pytest.raises(InvalidCheckpoint, match=hint):
        read("BEGIN 5\nCOMMIT 5\n", checkpoint=Checkpoint(position=Position("pg", position)))


@pytest.mark.parametrize("name", [*NAMES, "a_1", "Ä", 'q"'])
def test_a_name_in_quotes_is_the_name(name: str) -> None:
    """However odd."""
    assert ("s", name) == qualified(f"s.{quoted(name)}") == qualified(f"s.{shown(name)}")


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("numeric(12,2)", "numeric"),
        ("character varying(100)[]", "character varying[]"),
        ("timestamp(3) without time zone", "timestamp without time zone"),
        ("interval day to second(3)", "interval"),
        ('"char"', '"char"'),
        ('public."My (T)"', 'public."My (T)"'),
        ("char", '"char"'),
    ],
)
def test_a_type_has_no_sizes(written: str, name: str) -> None:
    """As test_decoding writes them."""
    assert name == type_name(written)
