"""Layouts: which tables can be read, with what names and types, and why others cannot."""

from __future__ import annotations

from typing import Any

import pytest

from dblog_tasks import MalformedLog, UnsupportedLog
from dblog_tasks.mysql import layout as layouts
from dblog_tasks.mysql.catalog import Catalog, read_schema
from dblog_tasks.mysql.layout import (
    NO_NAMES,
    NOT_IN_SCHEMA,
    OLD_TEMPORAL,
    OTHER_SCHEMA,
    SEQUENCE,
    SEQUENCE_COLUMNS,
    UNREAD_TYPE,
    UNSIZED,
    VERSIONED,
    Layout,
    Layouts,
)
from dblog_tasks.mysql.rows import Storage
from dblog_tasks.mysql.table_map import read_table_map
from tests.mysql.binlog_writer import length, names, table_map

SCHEMA = """CREATE TABLE d.t (id INT UNSIGNED NOT NULL, n VARCHAR(20) CHARACTER SET latin1, PRIMARY KEY (id));
CREATE TABLE d.old (a DATETIME, b DATETIME(3));
CREATE TABLE d.plain_old (a DATETIME, b TIMESTAMP NULL, c TIME);
CREATE TABLE d.maria (a UUID, b INET6, c INET4);
CREATE TABLE d.versioned (id INT PRIMARY KEY) WITH SYSTEM VERSIONING;
CREATE TABLE d.named (id INT PRIMARY KEY, s BIGINT UNSIGNED AS ROW START, e BIGINT UNSIGNED AS ROW END, n INT,
    PERIOD FOR SYSTEM_TIME (s, e)) WITH SYSTEM VERSIONING;
CREATE SEQUENCE d.seq;
"""
TWO = [(3, b""), (15, b"\x14\x00")]


def prepared(columns: list[tuple[int, bytes]], *optional: tuple[int, bytes], catalog: Catalog | None = None, **options: Any) -> Layout:
    """The layout of a made table map, ready for rows; `options` are the writer's, and `mariadb`: that server wrote it."""
    mariadb = options.pop("mariadb", False)
    made = Layout(read_table_map(table_map(columns, optional, **options)[8:], "log:4", mariadb=mariadb), mariadb=mariadb)
    made.prepare(catalog, "log:4")
    return made


def catalog() -> Catalog:
    """The schema of these tests."""
    return read_schema(SCHEMA)


def test_names_of_the_log_are_enough() -> None:
    """With full metadata no schema is needed."""
    made = prepared(TWO, (1, b"\x80"), (2, length(8)), names("id", "n"), (8, b"\0"))

    assert made.problem is None
    assert made.reader is not None
    assert made.table is not None
    assert [("id", "int", True, ""), ("n", "varchar(20)", False, "latin1")] == [
        (c.name, c.type, c.unsigned, c.charset) for c in made.table.columns
    ]
    assert (0,) == made.table.key
    assert [(None, (7, "\u00e9"))] == made.reader.read("insert", b"\0\7\0\0\0\1\xe9", 0, 7, "log:4")


def test_names_of_the_schema_stand_in() -> None:
    """Signedness, character set and key come with them."""
    made = prepared(TWO, catalog=catalog())

    assert made.table is not None
    assert made.reader is not None
    assert [("id", True, ""), ("n", False, "latin1")] == [(c.name, c.unsigned, c.charset) for c in made.table.columns]
    assert (0,) == made.table.key
    assert [(None, (0xFFFFFFFF, "\u00e9"))] == made.reader.read("insert", b"\0\xff\xff\xff\xff\1\xe9", 0, 7, "log:4")


@pytest.mark.parametrize(
    ("options", "with_schema", "problem"),
    [({}, False, NO_NAMES), ({"table": "other"}, True, NOT_IN_SCHEMA), ({"schema": "other"}, True, NOT_IN_SCHEMA)],
)
def test_a_table_that_cannot_be_read_says_why(options: Any, with_schema: bool, problem: Any) -> None:  # noqa: FBT001
    """No names, not in the schema: no reader, and nothing is guessed."""
    made = prepared(TWO, catalog=catalog() if with_schema else None, **options)

    assert (problem, None, None) == (made.problem, made.reader, made.table)


def test_temporals_of_before_mysql_5_6_need_a_schema() -> None:
    """The log does not say whether they have a fraction, and so not how long they are."""
    old = [(12, b""), (7, b""), (11, b"")]

    assert prepared(old, names("a", "b", "c")).problem == OLD_TEMPORAL
    assert [Storage(12, 0), Storage(7, 0), Storage(11, 0)] == prepared(old, catalog=catalog(), table="plain_old").storages
    assert [Storage(12, 0), Storage(12, 3)] == prepared([(12, b""), (12, b"")], catalog=catalog(), table="old").storages


def test_addresses_are_bytes_that_only_a_schema_knows_by_name() -> None:
    """MariaDB logs UUID, INET6 and INET4 as BINARY of their size."""
    columns = [(254, b"\xfe\x10"), (254, b"\xfe\x10"), (254, b"\xfe\x04")]
    by_log = prepared(columns, (2, length(63)), names("a", "b", "c"), mariadb=True)

    assert ["uuid", "inet6", "inet4"] == [storage.charset for storage in prepared(columns, catalog=catalog(), table="maria").storages]
    assert by_log.table is not None
    assert ["binary(16)", "binary(16)", "binary(4)"] == [column.type for column in by_log.table.columns]


def test_a_log_of_the_oldest_servers_has_no_sizes() -> None:
    """Its rows cannot be told apart, whatever the schema says."""
    made = Layout(read_table_map(bytes.fromhex("01640001740002 030f"), "log:4"))
    made.prepare(catalog(), "log:4")

    assert (UNSIZED, None) == (made.problem, made.reader)


@pytest.mark.parametrize("by_schema", [False, True])
def test_a_sequence_is_none_of_the_tables(by_schema: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """Its moves are rows in MariaDB's log, and nothing to undo. Elsewhere a table may have these columns."""
    columns = [*[(8, b"")] * 6, (1, b""), (8, b"")]
    optional = [] if by_schema else [names(*SEQUENCE_COLUMNS)]
    known = catalog() if by_schema else None

    assert SEQUENCE == prepared(columns, *optional, catalog=known, table="seq", mariadb=True).problem
    assert prepared(columns, names(*SEQUENCE_COLUMNS)).problem is None


def test_row_versions_are_known_from_the_schema() -> None:
    """Two columns of a table WITH SYSTEM VERSIONING say when a row began and ended, under whatever names."""
    hidden = prepared([(3, b""), (17, b"\6"), (17, b"\6")], catalog=catalog(), table="versioned", mariadb=True)
    named = prepared([(3, b""), (8, b""), (8, b""), (3, b"")], catalog=catalog(), table="named", mariadb=True)

    assert (2, 2, None) == (hidden.ended, named.ended, prepared(TWO, catalog=catalog()).ended)


def test_what_looks_like_row_versions_needs_a_schema() -> None:
    """The log does not say whether the server makes these columns or a person."""
    columns, named = [(3, b""), (17, b"\6"), (17, b"\6")], names("id", "row_start", "row_end")
    made = prepared(columns, named, mariadb=True)

    assert made.problem is not None
    assert (VERSIONED, True) == (made.problem.reason, "d.t" in made.problem.fix)
    assert prepared(columns, named).problem is None


@pytest.mark.parametrize("code", [0, 6, 20, 200, 243])
def test_a_column_type_that_is_not_read_is_named(code: int) -> None:
    """Whether the server has it or nobody does."""
    made = prepared([(3, b""), (code, b"")], names("id", "x"))

    assert made.problem is not None
    assert (UNREAD_TYPE, made.reader) == (made.problem.reason, None)
    assert str(code) in made.problem.fix


@pytest.mark.parametrize(
    "column",
    [
        (246, b"\0\0"),
        (246, b"\x42\0"),
        (246, b"\5\6"),
        (252, b"\0"),
        (252, b"\x05"),
        (245, b"\0"),
        (17, b"\7"),
        (18, b"\xff"),
        (254, b"\xf7\0"),
        (254, b"\xf8\x09"),
        (16, b"\0\0"),
    ],
)
def test_a_column_no_server_makes_is_malformed(column: tuple[int, bytes]) -> None:
    """Sizes out of the format: the log is damaged there."""
    with pytest.raises(MalformedLog) as caught:
        prepared([(3, b""), column], names("id", "x"))
    assert "log:4" == caught.value.where


def test_a_table_without_columns_is_malformed() -> None:
    """Its rows would have no bytes."""
    with pytest.raises(MalformedLog):
        prepared([], names())


def test_an_unknown_collation_is_unsupported() -> None:
    """A server newer than this one: the text cannot be told from bytes."""
    with pytest.raises(UnsupportedLog, match=r"log:4: table d\.t, column n: collation 2047 .*give --schema"):
        prepared(TWO, (2, length(2047)), names("id", "n"))
    assert prepared(TWO, (2, length(2047)), catalog=catalog()).problem is None


@pytest.mark.parametrize(
    ("columns", "optional"),
    [
        ([(3, b"")], []),
        ([*TWO, (3, b"")], []),
        ([(8, b""), (15, b"\x14\x00")], []),
        (TWO, [(1, b"\0")]),
        ([(3, b""), (15, b"\x15\x00")], []),
    ],
)
def test_a_schema_of_another_time_is_not_used(columns: Any, optional: Any) -> None:
    """Other columns, types or signs than those of the log: it says so, and names the table."""
    made = prepared(columns, *optional, catalog=catalog())

    assert made.problem is not None
    assert (OTHER_SCHEMA, None) == (made.problem.reason, made.reader)
    assert made.problem.fix.startswith("table d.t")


@pytest.mark.parametrize("named", [names("id", "m"), names("id", "n")])
def test_the_names_of_the_log_win_over_a_schema_of_another_time(named: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A definition that changed inside the log: each event by the one of its time, and it is said."""
    made = prepared(TWO, (1, b"\0"), (2, length(8)), named, catalog=catalog())

    assert made.table is not None
    assert [("id", False, None), (named[1][4:].decode(), False, None)] == [(c.name, c.unsigned, c.auto_update) for c in made.table.columns]
    assert "log:4: table d.t" in caplog.text


TYPE_NAMES = [
    ((1, b""), "tinyint"),
    ((2, b""), "smallint"),
    ((9, b""), "mediumint"),
    ((8, b""), "bigint"),
    ((4, b"\4"), "float"),
    ((5, b"\x08"), "double"),
    ((13, b""), "year"),
    ((10, b""), "date"),
    ((17, b"\0"), "timestamp"),
    ((17, b"\6"), "timestamp(6)"),
    ((18, b"\3"), "datetime(3)"),
    ((19, b"\1"), "time(1)"),
    ((246, b"\x0a\x02"), "decimal(10,2)"),
    ((16, b"\1\1"), "bit(9)"),
    ((254, b"\xf7\1"), "enum"),
    ((254, b"\xf8\1"), "set"),
    ((245, b"\4"), "json"),
    ((255, b"\4"), "geometry"),
    ((242, b"\4"), "vector"),
    ((252, b"\1"), "tinytext"),
    ((252, b"\2"), "text"),
    ((252, b"\3"), "mediumtext"),
    ((252, b"\4"), "longtext"),
    ((15, b"\x50\x00"), "varchar(20)"),
    ((254, b"\xfe\x50"), "char(20)"),
    ((254, b"\xee\xfc"), "char(127)"),
    ((141, b"\x51\x00"), "varchar(20)"),
    ((140, b"\3"), "mediumtext"),
]


@pytest.mark.parametrize(("column", "name"), TYPE_NAMES, ids=[name for _, name in TYPE_NAMES])
def test_type_of_a_column_only_the_log_describes(column: tuple[int, bytes], name: str) -> None:
    """As SQL names it, sizes in characters."""
    made = prepared([column], (2, length(45)), names("x"))

    assert made.table is not None
    assert name == made.table.columns[0].type


def test_a_vector_of_mariadb_is_told_by_the_schema() -> None:
    """It is logged as a VARBINARY of four bytes a number."""
    schema = read_schema("CREATE TABLE d.t (v vector(2))")
    made = Layout(read_table_map(table_map([(15, b"\x08\x00")])[8:], "log:4"), mariadb=True)
    made.prepare(schema, "log:4")

    assert made.table is not None
    assert made.reader is not None
    assert "vector" == made.table.columns[0].type
    assert [(None, (b"\0\0\x80\x3f\0\0\0\x40",))] == made.reader.read("insert", b"\0\x08\0\0\x80\x3f\0\0\0\x40", 0, 10, "log:4")


@pytest.mark.parametrize(
    ("column", "name"),
    [((252, b"\2"), "blob"), ((15, b"\x50\x00"), "varbinary(80)"), ((254, b"\xfe\x50"), "binary(80)"), ((252, b"\4"), "longblob")],
)
def test_type_of_a_binary_column(column: tuple[int, bytes], name: str) -> None:
    """The binary collation makes bytes of what would be text."""
    made = prepared([column], (2, length(63)), names("x"))

    assert made.table is not None
    assert name == made.table.columns[0].type


def test_the_same_bytes_are_the_same_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    """One look-up an event; however many layouts a log has, a bounded number is kept."""
    monkeypatch.setattr(layouts, "LAYOUTS_MAX", 5)
    known = Layouts()
    bodies = [table_map(TWO, table=f"t{number}")[8:] for number in range(20)]
    first = known.find(bodies[0], "log:4")

    assert first is known.find(bytes(bodies[0]), "log:4")
    assert [f"t{number}" for number in range(20)] == [known.find(body, "log:4").name[1] for body in bodies]
    assert len(known._layouts) <= 5


def test_a_table_nobody_asked_for_is_not_held_against_the_schema() -> None:
    """Only preparing looks at the schema; its name is there before."""
    made = Layout(read_table_map(table_map([(8, b"")])[8:], "log:4"))

    assert (("d", "t"), None) == (made.name, made.problem)
    made.prepare(catalog(), "log:4")
    assert made.problem is not None
