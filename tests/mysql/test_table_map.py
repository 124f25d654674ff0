"""Table maps: what the log says of a table, with and without optional metadata."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given, strategies as st
import pytest

from dblog_tasks import MalformedLog, UnsupportedLog
from dblog_tasks.mysql import binlog, table_map as wire
from dblog_tasks.mysql.table_map import TableMap, WireColumn, read_table_map
from tests.examples import examples
from tests.mysql.binlog_writer import length, names, table_map

CORPUS = Path(__file__).parents[1] / "corpus"

# A column's type code and metadata as written -> type code and metadata as read.
TYPES: list[tuple[int, bytes, int, int]] = [
    *((code, b"", code, 0) for code in (1, 2, 3, 8, 9, 6, 7, 10, 11, 12, 13, 14)),
    (4, b"\4", 4, 4),
    (5, b"\10", 5, 8),
    (15, b"\xff\x00", 15, 255),
    (15, b"\xfc\xff", 15, 65532),
    (16, b"\x00\x01", 16, 8),
    (16, b"\x01\x00", 16, 1),
    (16, b"\x07\x07", 16, 63),
    (16, b"\x00\x08", 16, 64),
    *((code, bytes([digits]), code, digits) for code in (17, 18, 19) for digits in (0, 6)),
    (245, b"\4", 245, 4),
    (246, b"\x0a\x02", 246, 10 << 8 | 2),
    (246, b"\x41\x1e", 246, 65 << 8 | 30),
    (252, b"\1", 252, 1),
    (252, b"\4", 252, 4),
    (249, b"\0", 252, 1),
    (250, b"\0", 252, 3),
    (251, b"\0", 252, 4),
    (251, b"\2", 252, 2),
    (254, b"\xfe\x50", 254, 80),
    (254, b"\xfe\xff", 254, 255),
    (254, b"\xee\x2c", 254, 300),
    (254, b"\xde\x58", 254, 600),
    (254, b"\xce\xfc", 254, 1020),
    (254, b"\xf7\x01", 247, 1),
    (254, b"\xf7\x02", 247, 2),
    (254, b"\xf8\x08", 248, 8),
    (247, b"\xf7\x01", 247, 1),
    (255, b"\4", 255, 4),
    (242, b"\4", 242, 4),
    (140, b"\2", 140, 2),
    (141, b"\x64\x00", 141, 100),
]


def read(columns: list[tuple[int, bytes]], *optional: tuple[int, bytes], **options: Any) -> TableMap:
    """The table map as it is read; `options` are the writer's."""
    return read_table_map(table_map(columns, optional, **options)[8:], "log:4")


@pytest.mark.parametrize(("code", "meta", "read_code", "read_meta"), TYPES)
def test_type_and_metadata_of_a_column(code: int, meta: bytes, read_code: int, read_meta: int) -> None:
    """Between two other columns, so that what it takes of the metadata is right."""
    found = read([(3, b""), (code, meta), (18, b"\3")])

    assert [(3, 0), (read_code, read_meta), (18, 3)] == [(column.code, column.meta) for column in found.columns]


def test_a_map_without_optional_metadata_says_no_more_than_types() -> None:
    """Names, signedness, character sets and key are not known: none is made up."""
    found = read([(3, b""), (15, b"\x50\x00")], schema="d\u00e9", table="t \u20ac", nullable=b"\x02")

    assert (
        TableMap("d\u00e9", "t \u20ac", (WireColumn(3, 0, nullable=False), WireColumn(15, 80, nullable=True)), None, named=False) == found
    )
    assert [None, None] == [column.charset for column in found.columns]


COLUMNS = [
    (8, b""),
    (3, b""),
    (15, b"\x50\x00"),
    (254, b"\xf7\x01"),
    (254, b"\xf8\x01"),
    (252, b"\2"),
    (246, b"\x0a\x02"),
    (254, b"\xfe\x08"),
]


def test_full_metadata_is_read() -> None:
    """Names, signedness, character sets, members, key and visibility, each for the columns it is of."""
    labels = length(2) + length(1) + b"a" + length(2) + "\u00e9".encode()
    found = read(
        COLUMNS,
        (1, b"\x80"),
        (3, length(255) + length(63) + length(8)),
        names("id", "n", "\u00e4\u00f6", "e", "s", "b", "d", "c"),
        (5, length(1) + length(1) + b"x"),
        (6, labels),
        (8, length(0) + length(2)),
        (10, length(45)),
        (12, b"\xbf"),
    )

    assert found.named
    assert (0, 2) == found.key
    assert ["id", "n", "\u00e4\u00f6", "e", "s", "b", "d", "c"] == [column.name for column in found.columns]
    assert [True, False, False, False, False, False, False, False] == [column.unsigned for column in found.columns]
    assert [None, None, "utf8mb4", "utf8mb4", "utf8mb4", "binary", None, "latin1"] == [column.charset for column in found.columns]
    assert [None, None, None, ("a", "\u00e9"), ("x",), None, None, None] == [column.labels for column in found.columns]
    assert [True, False, True, True, True, True, True, True] == [column.visible for column in found.columns]


def test_a_default_collation_stands_for_all_but_those_listed() -> None:
    """The others are named by their place among the text columns."""
    found = read(COLUMNS, (2, length(255) + length(1) + length(63) + length(2) + length(33)), (10, length(8) + length(1) + length(45)))

    assert [None, None, 255, 8, 45, 63, None, 33] == [column.collation for column in found.columns]


def test_a_key_of_prefixes_is_a_key() -> None:
    """Pairs of column and length: only the columns matter here."""
    assert (2, 5) == read(COLUMNS, names(*"abcdefgh"), (9, length(2) + length(10) + length(5) + length(0))).key


def test_a_table_without_key_is_told_from_one_the_log_says_nothing_of() -> None:
    """With names, the log would have said."""
    assert () == read(COLUMNS, names(*"abcdefgh")).key
    assert read(COLUMNS).key is None


def test_members_no_text_can_hold_are_left_out() -> None:
    """Bytes that are not of the character set leave the numbers to do."""
    assert read([(254, b"\xf7\x01")], (6, length(1) + length(1) + b"\xff")).columns[0].labels is None


def test_unknown_metadata_is_passed_over() -> None:
    """A newer server may say more."""
    assert (0,) == read([(3, b"")], (99, b"whatever"), names("id"), (8, b"\0"), (200, b"")).key


@pytest.mark.parametrize("count", [1, 8, 9, 250, 251, 1017, 4096])
def test_tables_of_many_columns(count: int) -> None:
    """A bitmap and a length of any number of bytes."""
    found = read([(3, b"")] * count, names(*(f"c{index}" for index in range(count))), nullable=b"\x55" * ((count + 7) // 8))

    assert [f"c{index}" for index in range(count)] == [column.name for column in found.columns]
    assert [index % 2 == 0 for index in range(count)] == [column.nullable for column in found.columns]


@pytest.mark.parametrize(
    "optional",
    [
        [(1, b"")],
        [(2, b"")],
        [(2, length(255) + length(1))],
        [(3, length(255))],
        [(3, length(255) * 4)],
        [(4, b"")],
        [names("a", "b")],
        [names(*"abcdefghi")],
        [(4, b"\xff")],
        [(4, length(1 << 62))],
        [(4, length(1) + b"\xff" + b"\1a" * 7)],
        [(5, b"")],
        [(6, length(1 << 62) + b"\1a")],
        [(6, length((1 << 64) - 1))],
        [(8, length(8))],
        [(8, length(1 << 62))],
        [(8, b"\xfb")],
        [(9, length(8) + length(0))],
        [(12, b"")],
        [(4, names(*"abcdefgh")[1] + b"\5")],
    ],
)
def test_metadata_that_does_not_fit_the_columns_is_malformed(optional: list[tuple[int, bytes]]) -> None:
    """Too few, too many, or about columns that are not there."""
    with pytest.raises(MalformedLog, match="TABLE_MAP_EVENT") as caught:
        read(COLUMNS, *optional)
    assert "log:4" == caught.value.where


@pytest.mark.parametrize(
    "body",
    [
        b"\1d\0\1t\0" + length(4097) + bytes(5000),
        b"\1d\0\1t\0" + length((1 << 64) - 1),
        b"\1d\0\1t\0" + length(1) + b"\3" + length(1 << 62),
        b"\1d\1\1t\0\1\3\0\0",
        b"\xffd\0\1t\0\1\3\0\0",
        b"\1\xff\0\1t\0\1\3\0\0",
        b"\1d\0\1t\0\1\x10\2\x08\0\0",
        b"\1d\0\1t\0\1\x10\2\0\x09\0",
        b"\1d\0\1t\0\1\x0f\1\x50\0",
        b"\1d\0\1t\0\1\3\0\0\4",
        b"\1d\0\1t\0\1\3\0\0\4\xfe",
    ],
)
def test_a_map_that_contradicts_itself_is_malformed(body: bytes) -> None:
    """Lengths past the end, names that do not end, sizes no column has."""
    with pytest.raises(MalformedLog, match="TABLE_MAP_EVENT"):
        read_table_map(body, "log:4")


def full() -> bytes:
    """The body of a map with all kinds of metadata."""
    optional = [(1, b"\xc0"), (2, length(255)), names(*"abcdefgh"), (5, b"\1\1x"), (6, b"\1\1a"), (8, b"\0"), (10, b"\x2d"), (12, b"\xff")]
    return table_map(COLUMNS, optional)[8:]


def test_a_map_cut_short_says_less_or_is_malformed() -> None:
    """At every length; only behind the fixed part may it end, between two pieces of metadata, or where the oldest servers ended."""
    body = full()
    whole = read_table_map(body, "log:4")
    fixed, codes = len(table_map(COLUMNS)[8:]), body.index(bytes(code for code, _ in COLUMNS)) + len(COLUMNS)
    for cut in range(len(body)):
        try:
            found = read_table_map(body[:cut], "log:4")
        except MalformedLog:
            continue
        assert cut >= fixed or (cut == codes and not found.sized)
        if found.sized:
            assert [column.code for column in whole.columns] == [column.code for column in found.columns]


def test_a_map_of_the_oldest_servers_has_no_sizes() -> None:
    """MySQL 5.1.5 to 5.1.17 end after the types: CHAR(50) is 254 and no more."""
    body = bytes.fromhex("0474657374000274310002 03fe")

    assert TableMap("test", "t1", (WireColumn(3, 0, nullable=True), WireColumn(254, 0, nullable=True)), sized=False) == read_table_map(
        body, "log:4"
    )


@pytest.mark.parametrize("code", [20, 200, 243])
def test_no_metadata_is_read_past_a_type_that_is_not_known(code: int) -> None:
    """Nobody knows how much of it is its own; names and the columns before are still there."""
    found = read([(246, b"\x0a\x02"), (code, b"\1\2\3"), (15, b"\x50\x00")], names("a", "b", "c"))

    assert [(246, 10 << 8 | 2, "a"), (code, 0, "b"), (15, 0, "c")] == [(column.code, column.meta, column.name) for column in found.columns]


@examples(100)
@given(st.data())
def test_any_bytes_are_a_map_or_malformed(data: st.DataObject) -> None:
    """Bytes of any kind, and a map in which some are others."""
    body = bytearray(data.draw(st.one_of(st.just(full()), st.binary(max_size=120))))
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(body)))
        body[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    try:
        assert len(read_table_map(bytes(body), "log:4").columns) <= wire.COLUMNS_MAX
    except (MalformedLog, UnsupportedLog) as error:
        assert isinstance(error, UnsupportedLog) or "log:4" == error.where


@pytest.mark.parametrize("log", ["shop/shop.000001", "shop/nolog/shop.000001", "types/types.000001"])
def test_maps_of_real_logs_are_read(log: str) -> None:
    """With names where the server writes them, and a key that names some of the columns."""
    maps = [frame for frame in binlog.frames([(CORPUS / log).read_bytes()], log) if frame.type == binlog.TABLE_MAP]

    assert len(maps) > 10
    for frame in maps:
        found = read_table_map(frame.body[8:], log)
        assert ("nolog" not in log) == found.named == all(column.name is not None for column in found.columns)
        assert found.key is None or set(found.key) <= set(range(len(found.columns)))
