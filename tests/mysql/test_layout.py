"""Layouts: which tables can be read, with what names and types, and why others cannot."""

from __future__ import annotations

from typing import Any

import pytest

from dblog_tasks import MalformedLog, SchemaMismatch, UnsupportedLog
from dblog_tasks.mysql import layout as layouts
from dblog_tasks.mysql.catalog import Catalog, read_schema
from dblog_tasks.mysql.layout import NO_NAMES, NOT_IN_SCHEMA, OLD_TEMPORAL, UNREAD_TYPE, Layout, Layouts
from dblog_tasks.mysql.table_map import read_table_map
from tests.mysql.binlog_writer import length, names, table_map

SCHEMA = """CREATE TABLE d.t (id INT UNSIGNED NOT NULL, n VARCHAR(20) CHARACTER SET latin1, PRIMARY KEY (id));
CREATE TABLE d.old (a DATETIME, b DATETIME(3));
CREATE TABLE d.plain_old (a DATETIME, b TIMESTAMP NULL, c TIME);
CREATE TABLE d.maria (a UUID, b INET6, c INET4);
"""
TWO = [(3, b""), (15, b"\x14\x00")]


def prepared(columns: list[tuple[int, bytes]], *optional: tuple[int, bytes], catalog: Catalog | None = None, **options: Any) -> Layout:
    """The layout of a made table map, ready for rows."""
    made = Layout(read_table_map(table_map(columns, optional, **options)[8:], "log:4"))
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
    ("columns", "options", "with_schema", "problem"),
    [
        (TWO, {}, False, NO_NAMES),
        (TWO, {"table": "other"}, True, NOT_IN_SCHEMA),
        (TWO, {"schema": "other"}, True, NOT_IN_SCHEMA),
        ([(12, b""), (12, b"")], {"table": "old"}, True, None),
        ([(254, b"\xfe\x10"), (254, b"\xfe\x10"), (254, b"\xfe\x04")], {"table": "maria"}, True, None),
    ],
)
def test_a_table_that_cannot_be_read_says_why(columns: Any, options: Any, with_schema: bool, problem: Any) -> None:  # noqa: FBT001
    """No names, not in the schema, a type not read yet: no reader, and nothing is guessed."""
    made = prepared(columns, catalog=catalog() if with_schema else None, **options)

    assert made.reader is None
    assert made.table is None
    assert made.problem is not None
    assert made.problem == problem or (problem is None and made.problem.reason == UNREAD_TYPE)


def test_temporals_of_before_mysql_5_6_need_a_schema() -> None:
    """The log does not say whether they have a fraction; one that has none is read."""
    old = [(12, b""), (7, b""), (11, b"")]

    assert prepared(old, names("a", "b", "c")).problem == OLD_TEMPORAL
    assert prepared(old, catalog=catalog(), table="plain_old").reader is not None


@pytest.mark.parametrize("code", [0, 6, 20, 140, 141, 200, 243])
def test_a_column_type_that_is_not_read_is_named(code: int) -> None:
    """Whether the server has it or nobody does."""
    made = prepared([(3, b""), (code, b"\2\0" if code == 141 else b"\2" if code == 140 else b"")], names("id", "x"))

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
    with pytest.raises(UnsupportedLog, match="collation 2047"):
        prepared(TWO, (2, length(2047)), names("id", "n"))


@pytest.mark.parametrize(
    ("columns", "optional"),
    [
        ([(3, b"")], []),
        ([*TWO, (3, b"")], []),
        ([(8, b""), (15, b"\x14\x00")], []),
        (TWO, [names("id", "m")]),
        (TWO, [names("id", "n"), (1, b"\0")]),
        ([(3, b""), (15, b"\x15\x00")], []),
    ],
)
def test_a_schema_of_another_time_is_refused(columns: Any, optional: Any) -> None:
    """Other columns, types, names or signs than those of the log."""
    with pytest.raises(SchemaMismatch):
        prepared(columns, *optional, catalog=catalog())


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
]


@pytest.mark.parametrize(("column", "name"), TYPE_NAMES, ids=[name for _, name in TYPE_NAMES])
def test_type_of_a_column_only_the_log_describes(column: tuple[int, bytes], name: str) -> None:
    """As SQL names it, sizes in characters."""
    made = prepared([column], (2, length(45)), names("x"))

    assert made.table is not None
    assert name == made.table.columns[0].type


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

    assert ("d", "t") == made.name
    with pytest.raises(SchemaMismatch):
        made.prepare(catalog(), "log:4")
