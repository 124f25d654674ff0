"""Row images: what the columns that are in the log are enough for, on real logs under every binlog_row_image and on made ones."""

from __future__ import annotations

from collections.abc import Iterator
import json
from pathlib import Path
from typing import Any

from hypothesis import given, strategies as st
import pytest

import dblog_tasks
from dblog_tasks import DblogError, MalformedLog, Omission, RowChanges
from dblog_tasks.mysql import binlog
from dblog_tasks.mysql.catalog import read_schema
from dblog_tasks.mysql.images import CLUSTER, PARTIAL, UNREAD_PARTIAL, changes_of
from dblog_tasks.mysql.json_binary import json_text
from dblog_tasks.mysql.layout import UNSIZED, Layout
from dblog_tasks.mysql.row_versions import HISTORY
from dblog_tasks.mysql.table_map import read_table_map
from tests.mysql.binlog_writer import frame, json_diff, length, names, table_map

FOUND = Path(__file__).parents[1] / "corpus" / "found"
State = list[dict[str, Any]]

# What cannot be undone of the recorded statements: image, table, and what they are there for.
LACKING = {
    "MINIMAL": {
        *(("t", does) for does in ("update", "update a text", "update a document", "delete")),
        *(("v", does) for does in ("update", "change the key", "delete", "replace", "delete the history")),
        *(("q", does) for does in ("update", "delete")),
        *(("w", does) for does in ("change the key", "update", "delete")),
        *(("m", does) for does in ("update", "delete")),
    },
    "MINIMAL PARTIAL_JSON": {("t", "patch")},
    "NOBLOB": {("t", "update a text"), ("t", "delete"), ("q", "delete"), ("m", "delete"), ("m", "update")},
    "FULL": set(),
}
LACKING["MINIMAL PARTIAL_JSON"] |= LACKING["MINIMAL"]
LACKING |= {"NOBLOB PARTIAL_JSON": LACKING["NOBLOB"], "FULL PARTIAL_JSON": set()}
# MariaDB logs defaults too where there is no key; its documents are texts.
OF_ONE_SERVER = {("mysql97", "n", "insert some"), ("mariadb1011", "t", "update a document")}


def recorded(name: str) -> Iterator[tuple[dict[str, Any], Any]]:
    """Yield each recorded statement with its events that changed rows."""
    log, schema = (str(FOUND / f"images-{name}.{kind}") for kind in ("000001", "sql"))
    lines = [json.loads(line) for line in (FOUND / f"images-{name}.jsonl").read_text().splitlines()]
    with dblog_tasks.open("mysql", path=log, schema=schema) as decoder:
        transactions: dict[Any, list[Any]] = {}
        event: Any
        for event in decoder:
            if event.operation in ("insert", "update", "delete"):
                transactions.setdefault(event.transaction, []).append(event)
    assert len(lines) == len(transactions)
    yield from zip(lines, transactions.values(), strict=True)


def undone(state: State, changes: RowChanges) -> None:
    """Take changes back in a state: each finds the one row it left, as far as the log holds it; of equal ones, any."""
    for old, new in ((shown(changes, before), shown(changes, after)) for before, after in reversed(changes.rows)):
        found = [] if new is None else [row for row in state if new.items() <= row.items()]
        if new is not None:
            assert found
            assert found == [found[0]] * (1 if changes.table.key else len(found))
            state.remove(found[0])
        if old is not None:
            state.append((found[0] if found else {}) | old)


def shown(changes: RowChanges, row: Any) -> dict[str, Any] | None:
    """A row as it is recorded, without generated columns."""
    columns = changes.table.columns
    return None if row is None else {c.name: plain(c, value) for c, value in zip(columns, row, strict=True) if not c.generated}


def plain(column: dblog_tasks.Column, value: Any) -> Any:
    """A value as it is recorded."""
    if not isinstance(value, bytes):
        return value
    return json_text(value) if column.type == "json" else value.hex().upper()


def ordered(state: State) -> list[str]:
    """A state whatever its order."""
    return sorted(json.dumps(row, sort_keys=True) for row in state)


@pytest.mark.parametrize("name", ["mysql97", "mariadb1011"])
def test_every_statement_is_undone_or_says_what_it_lacks(name: str) -> None:
    """What the server had after it, with the rows of the log taken back, is what it had before, under every row image."""
    counted = 0
    for line, events in recorded(name):
        state = line["after"]
        about = f"{line['image']}: {line['does']} {line['table']}"
        reasons = set()
        for event in reversed(events):
            if isinstance(event.body, Omission):
                reasons.add(event.body.reason)
            else:
                undone(state, event.body)
        lacking = (line["table"], line["does"]) in LACKING[line["image"]]
        lacking |= (name, line["table"], line["does"]) in OF_ONE_SERVER and not line["image"].startswith("FULL")
        expected = {PARTIAL} if lacking else {HISTORY.reason} if line["does"] == "delete the history" else set()

        assert expected == reasons, about
        assert reasons or ordered(line["before"]) == ordered(state), about
        counted += not reasons
    assert counted > 60


# ---- made events


def layout(columns: list[tuple[int, bytes]], *optional: tuple[int, bytes], schema: str = "") -> Layout:
    """A layout ready for rows."""
    made = Layout(read_table_map(table_map(columns, optional)[8:], "log:4"), mariadb=False)
    made.prepare(read_schema(schema) if schema else None, "log:4")
    return made


def rows(kind: int, count: int, bitmaps: bytes, images: bytes, *, extra: bytes = b"") -> binlog.Frame:
    """The frame of a rows event of version 2."""
    head = (7).to_bytes(6, "little") + b"\1\0" + (len(extra) + 2).to_bytes(2, "little") + extra
    return frame(kind, head + length(count) + bitmaps + images)


OPERATIONS = {
    binlog.WRITE_ROWS_V1: "insert",
    binlog.WRITE_ROWS_V2: "insert",
    binlog.UPDATE_ROWS_V2: "update",
    binlog.DELETE_ROWS_V2: "delete",
    binlog.PARTIAL_UPDATE_ROWS: "update",
    binlog.UPDATE_ROWS_COMPRESSED: "update",
}
TWO = [(3, b""), (15, b"\x14\x00")]
NAMED = ((2, length(255)), names("id", "n"), (8, b"\0"))
ROW = b"\0\7\0\0\0\1x"


def test_an_image_after_with_the_changes_alone_is_filled_from_the_one_before() -> None:
    """FULL_NODUP: what is not there was not changed; without any column, nothing was."""
    some = rows(binlog.UPDATE_ROWS_V2, 2, b"\3\2", ROW + b"\0\1y" + ROW + b"\1")
    none = rows(binlog.UPDATE_ROWS_V2, 2, b"\3\0", ROW + ROW)
    made = layout(TWO, *NAMED)

    assert RowChanges(made.table, [((7, "x"), (7, "y")), ((7, "x"), (7, None))]) == changes_of(some, "update", made, "log:4")  # type: ignore[arg-type]
    assert RowChanges(made.table, [((7, "x"), (7, "x"))] * 2) == changes_of(none, "update", made, "log:4")  # type: ignore[arg-type]


def test_the_table_of_a_narrower_image_is_made_once() -> None:
    """Plans tell tables apart by identity, a key is found by its name, and columns after the last one are none."""
    made = layout([(15, b"\x14\x00"), (3, b"")], (2, length(255)), names("n", "id"), (8, b"\1"))
    event = rows(binlog.WRITE_ROWS_V2, 2, b"\xfe", b"\0\7\0\0\0")
    first, second = (changes_of(event, "insert", made, "log:4") for _ in range(2))

    assert isinstance(first, RowChanges)
    assert isinstance(second, RowChanges)
    assert first.table is second.table
    assert (["id"], (0,), [(None, (7,))]) == ([column.name for column in first.table.columns], first.table.key, first.rows)


def test_what_the_database_computes_may_lack() -> None:
    """A deleted row comes back without its generated columns."""
    made = layout([(3, b""), (3, b"")], schema="CREATE TABLE d.t (id int PRIMARY KEY, g int AS (id + 1))")
    found = changes_of(rows(binlog.DELETE_ROWS_V2, 2, b"\1", b"\0\7\0\0\0"), "delete", made, "log:4")

    assert isinstance(found, RowChanges)
    assert [((7,), None)] == found.rows


@pytest.mark.parametrize("clock", ["timestamp NOT NULL DEFAULT NOW() ON UPDATE NOW()", "timestamp"])
def test_a_clock_that_would_move_on_is_needed(clock: str) -> None:
    """An update of the key alone would set it, and the log does not say to what to set it back."""
    made = layout([(3, b""), (17, b"\0")], schema=f"CREATE TABLE d.t (id int PRIMARY KEY, u {clock})")
    found = changes_of(rows(binlog.UPDATE_ROWS_V2, 2, b"\1\1", b"\0\7\0\0\0\0\x08\0\0\0"), "update", made, "log:4")

    assert isinstance(found, Omission)
    assert (PARTIAL, True) == (found.reason, "lacks u" in found.fix)


@pytest.mark.parametrize("bitmap", [b"\0", b"\2"])
def test_rows_that_cannot_be_found_are_not_undone(bitmap: bytes) -> None:
    """Without the key, or without any column."""
    found = changes_of(rows(binlog.WRITE_ROWS_V2, 2, bitmap, b"\0\1x"), "insert", layout(TWO, *NAMED), "log:4")

    assert isinstance(found, Omission)
    assert "lacks id" in found.fix


def test_many_missing_columns_are_named_in_part() -> None:
    """A message stays one line."""
    made = layout([(3, b"")] * 9, names(*"abcdefghi"), (8, b"\0"))
    found = changes_of(rows(binlog.DELETE_ROWS_V2, 9, b"\1\0", b"\0\7\0\0\0"), "delete", made, "log:4")

    assert isinstance(found, Omission)
    assert "d.t: the event lacks b, c, d, e, f, …;" in found.fix


def test_extra_data_is_passed_over() -> None:
    """A partition's number changes nothing; NDB Cluster logs updates as inserts, which are not undone."""
    made = layout(TWO, *NAMED)
    partition, cluster = b"\1\5\0\6\0", b"\0\5\0\1\1"
    found = changes_of(rows(binlog.WRITE_ROWS_V2, 2, b"\3", ROW, extra=partition), "insert", made, "log:4")

    assert isinstance(found, RowChanges)
    assert CLUSTER == changes_of(rows(binlog.WRITE_ROWS_V2, 2, b"\3", ROW, extra=cluster), "insert", made, "log:4")
    assert isinstance(changes_of(rows(binlog.DELETE_ROWS_V2, 2, b"\3", ROW, extra=cluster), "delete", made, "log:4"), RowChanges)


@pytest.mark.parametrize("kind", [20, 21, 22])
def test_events_of_the_oldest_servers_are_not_read(kind: int) -> None:
    """They have the NULL bits of the server's own record, whose number only the server knows."""
    assert UNSIZED == changes_of(frame(kind, bytes(8) + b"\2\3" + ROW), "insert", layout(TWO, *NAMED), "log:4")


@pytest.mark.parametrize(
    "event",
    [
        rows(binlog.WRITE_ROWS_V2, 3, b"\7", ROW),
        rows(binlog.WRITE_ROWS_V2, 2, b"\3", ROW[:-1]),
        rows(binlog.WRITE_ROWS_V2, 2, b"\1", ROW),
        rows(binlog.WRITE_ROWS_V2, 2, b"", b""),
        rows(binlog.UPDATE_ROWS_V2, 2, b"\3\2", ROW),
        rows(binlog.UPDATE_ROWS_V2, 2, b"\3\2", ROW + b"\0\2y"),
        frame(binlog.WRITE_ROWS_V2, bytes(8)),
        frame(binlog.WRITE_ROWS_V2, bytes(8) + b"\xff\xff"),
        frame(binlog.WRITE_ROWS_COMPRESSED, bytes(8) + b"\2\3\x81\7zlib"),
    ],
)
def test_an_event_cut_short_is_malformed(event: binlog.Frame) -> None:
    """In its head, in its bitmaps, in either image, or packed in another way than it says."""
    operation = "update" if event.type == binlog.UPDATE_ROWS_V2 else "insert"
    with pytest.raises(MalformedLog) as caught:
        changes_of(event, operation, layout(TWO, *NAMED), "log:4")
    assert "log:4" == caught.value.where


JSON = [(3, b""), (245, b"\4"), (245, b"\4")]
ARRAY = b"\x05\0\0\0\2\0\0\4\0"


def patch(options: bytes, after: bytes) -> Any:
    """What a partial update of (7, [], NULL) is read as."""
    made = layout(JSON, names("id", "j", "k"), (8, b"\0"))
    before = b"\4\7\0\0\0" + ARRAY
    return changes_of(rows(binlog.PARTIAL_UPDATE_ROWS, 3, b"\7\7", before + options + after), "update", made, "log:4")


def test_a_partial_update_holds_diffs_and_whole_documents() -> None:
    """A bit for each JSON column says which; without options there are no bits."""
    diffs = json_diff(1, "$[0]", b"\4\1")
    sized = len(diffs).to_bytes(4, "little") + diffs
    whole = b"\2\0\0\0\4\2"

    assert [((7, "[]", None), (8, "[true]", "false"))] == patch(b"\1\1", b"\0\x08\0\0\0" + sized + whole).rows
    assert [((7, "[]", None), (8, "[]", None))] == patch(b"\1\1", b"\4\x08\0\0\0" + bytes(4)).rows
    assert [((7, "[]", None), (7, None, "false"))] == patch(b"\0", b"\2\7\0\0\0" + whole).rows


@pytest.mark.parametrize(
    ("options", "after"),
    [
        (b"\2\1", b"\6\7\0\0\0"),
        (b"\1\2", b"\2\7\0\0\0" + bytes(4)),
        (b"\1\1", b"\4\7\0\0\0\1\0\0\0\7"),
        (b"\1\1", b"\4\7\0\0\0\5\0\0\0"),
        (b"", b""),
        (b"\0", b"\6\7\0\0"),
    ],
)
def test_a_partial_update_that_cannot_be_read_is_not_undone(options: bytes, after: bytes) -> None:
    """Unknown options, a diff to NULL, what is no diff, an image cut short: said, with the place."""
    found = patch(options, after)

    assert isinstance(found, Omission)
    assert (UNREAD_PARTIAL, True) == (found.reason, "log:4" in found.fix)


@given(st.sampled_from([*sorted(OPERATIONS)]), st.binary(max_size=80), st.booleans())
def test_any_bytes_are_rows_or_omitted_or_malformed(kind: int, body: bytes, documents: bool) -> None:  # noqa: FBT001 - drawn
    """Whatever follows the table id and the flags: only declared errors, and no row of another width than its table."""
    made = layout(JSON, names("id", "j", "k"), (8, b"\0")) if documents else layout(TWO, *NAMED)
    try:
        found = changes_of(frame(kind, bytes(8) + body), OPERATIONS[kind], made, "log:4")
    except DblogError as error:
        assert isinstance(error, MalformedLog)
        return
    if isinstance(found, RowChanges):
        assert {len(found.table.columns)} >= {len(row) for pair in found.rows for row in pair if row is not None}
