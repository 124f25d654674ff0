"""The undo as SQL text: what each value, condition and statement looks like. That servers take it so is in tests/live."""

from __future__ import annotations

from collections.abc import Sequence
import re
from typing import Any

from hypothesis import given, strategies as st
import pytest

from dblog_tasks.errors import MalformedPlan
from dblog_tasks.event import Column, Omission, Row, RowChanges, RowPair, Table, Value
from dblog_tasks.mysql.json_binary import json_expression
from dblog_tasks.mysql.literals import FORMS, identifier, quote
from dblog_tasks.mysql.row_sql import SHAPES_MAX, Lines, Part, Statements, _writer, _written, omission
from dblog_tasks.mysql.sql import INSERT_CHARACTERS_MAX, INSERT_ROWS_MAX, TransactionInfo, undo_script

CHECK = "SELECT IF({}, 1, (SELECT 1 UNION ALL SELECT 2)) INTO @dblog_ok;"
ONE = CHECK.format("ROW_COUNT()=1")
STRICT = "SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES,STRICT_ALL_TABLES';"
LENIENT = STRICT.replace(",STRICT_ALL_TABLES", "")
UUID = "00112233-4455-6677-8899-aabbccddeeff"
ID, VALUE = Column("id", "int"), Column("v", "int")


def col(kind: str, **facts: Any) -> Column:
    return Column("c", kind, **facts)


def text(charset: str) -> Column:
    return col("varchar(20)", charset=charset)


def enum(*labels: str, charset: str = "utf8mb4") -> Column:
    return col("enum", charset=charset, labels=labels)


def members(*labels: str, charset: str = "utf8mb4") -> Column:
    return col("set", charset=charset, labels=labels)


def keyed(*columns: Column) -> Table:
    return Table("s", "t", (ID, *columns), (0,))


def script(*transactions: tuple[Table, Sequence[RowPair]], header: Sequence[str] = ()) -> str:
    operations = [(TransactionInfo(f"T{number}"), RowChanges(table, rows)) for number, (table, rows) in enumerate(transactions)]
    return "".join(undo_script(operations, header=header))


def body(table: Table, *rows: RowPair) -> list[str]:
    """Return the lines between START TRANSACTION and COMMIT."""
    lines = script((table, rows)).splitlines()
    return lines[lines.index("START TRANSACTION;") + 1 : lines.index("COMMIT;")]


VALUES: list[tuple[Column, Value, str, str]] = [
    (col("int"), -5, "-5", "`c` = -5"),
    (col("bigint", unsigned=True), 18446744073709551615, "18446744073709551615", "`c` = 18446744073709551615"),
    (col("year"), 0, "0", "`c` = 0"),
    (col("bit(64)"), 1 << 63, "9223372036854775808", "`c` = 9223372036854775808"),
    (col("float"), 0.10000000149011612, "0.10000000149011612e0", "`c` = 0.10000000149011612e0"),
    (col("double"), 1e23, "1e+23", "`c` = 1e+23"),
    (col("double"), -0.0, "-0.0e0", "`c` = -0.0e0"),
    (col("decimal(12,2)"), "-12.30", "-12.30", "`c` = -12.30"),
    (col("date"), "0000-00-00", "'0000-00-00'", "`c` = '0000-00-00'"),
    (col("time(2)"), "-838:59:59.00", "'-838:59:59.00'", "`c` = '-838:59:59.00'"),
    (col("datetime(6)"), "2024-01-02 03:04:05.678900", "'2024-01-02 03:04:05.678900'", "`c` = '2024-01-02 03:04:05.678900'"),
    (text("utf8mb4"), "it's", "'it''s'", "CAST(`c` AS BINARY) = 'it''s'"),
    (text("utf8mb4"), "日\n", "'日\\n'", "CAST(`c` AS BINARY) = '日\\n'"),
    (text("utf8mb4"), b"\xff", "X'FF'", "CAST(`c` AS BINARY) = X'FF'"),
    (text("utf8mb3"), "a\x1bb", "_utf8mb4 X'611B62'", "CAST(`c` AS BINARY) = _utf8mb4 X'611B62'"),
    (text("latin1"), "plain", "'plain'", "CAST(`c` AS BINARY) = 'plain'"),
    (text("latin1"), "é", "_latin1 X'E9'", "CAST(`c` AS BINARY) = X'E9'"),
    (text("latin1"), "a\x01", "_latin1 X'6101'", "CAST(`c` AS BINARY) = X'6101'"),
    (text("gbk"), "你", "_gbk X'C4E3'", "CAST(`c` AS BINARY) = X'C4E3'"),
    (text("sjis"), "ab", "_sjis X'6162'", "CAST(`c` AS BINARY) = X'6162'"),
    (text("ucs2"), "a", "_ucs2 X'0061'", "CAST(`c` AS BINARY) = X'0061'"),
    (text("dec8"), b"\xe9", "_dec8 X'E9'", "CAST(`c` AS BINARY) = X'E9'"),
    (text(""), b"\xe9", "X'E9'", "CAST(`c` AS BINARY) = X'E9'"),
    (text("binary"), b"a", "X'61'", "`c` = X'61'"),
    (col("blob"), b"", "X''", "`c` = X''"),
    (col("binary(2)"), b"\0\xff", "X'00FF'", "`c` = X'00FF'"),
    (enum("a", "it's"), 2, "'it''s'", "CAST(`c` AS BINARY) = 'it''s'"),
    (enum("a", "b"), 0, "0", "CAST(`c` AS BINARY) = ''"),
    (enum("é", charset="latin1"), 1, "_latin1 X'E9'", "CAST(`c` AS BINARY) = X'E9'"),
    (enum("a", "b", charset="binary"), 1, "'a'", "CAST(`c` AS BINARY) = 'a'"),
    (enum(), 3, "3", "CAST(`c` AS UNSIGNED) = 3"),
    (enum("", "b"), 1, "1", "CAST(`c` AS UNSIGNED) = 1"),
    (enum("a", "A"), 2, "2", "CAST(`c` AS UNSIGNED) = 2"),
    (enum("a", "a "), 2, "2", "CAST(`c` AS UNSIGNED) = 2"),
    (enum("日", charset="latin1"), 1, "1", "CAST(`c` AS UNSIGNED) = 1"),
    (members("x", "y", "z"), 5, "'x,z'", "CAST(`c` AS BINARY) = 'x,z'"),
    (members("x", "y"), 0, "''", "CAST(`c` AS BINARY) = ''"),
    (members("é", "y", charset="latin1"), 3, "_latin1 X'E92C79'", "CAST(`c` AS BINARY) = X'E92C79'"),
    (members(), 5, "5", "CAST(`c` AS UNSIGNED) = 5"),
    (col("json"), '{"a": "x\\n"}', '\'{"a": "x\\\\n"}\'', 'CAST(`c` AS BINARY) = \'{"a": "x\\\\n"}\''),
    (col("geometry"), b"\0\x01", "X'0001'", "HEX(`c`) = '0001'"),
    (col("uuid"), UUID, f"'{UUID}'", f"`c` = '{UUID}'"),
    (col("inet6"), "::ffff:1.2.3.4", "'::ffff:1.2.3.4'", "`c` = '::ffff:1.2.3.4'"),
    (col("inet4"), "1.2.3.4", "'1.2.3.4'", "`c` = '1.2.3.4'"),
    (col("vector(1)"), b"\0\0\x80?", "X'0000803F'", "HEX(`c`) = '0000803F'"),
    (col("int"), None, "NULL", "`c` IS NULL"),
    (text("gbk"), None, "NULL", "`c` IS NULL"),
]


@pytest.mark.parametrize(("column", "value", "written", "condition"), VALUES)
def test_a_value_is_written_and_found(column: Column, value: Value, written: str, condition: str) -> None:
    """INSERT, the guard of DELETE and both halves of UPDATE hold the same two forms of a value."""
    table = keyed(column)

    assert f"INSERT INTO `s`.`t` (`id`, `c`) VALUES (1, {written});" in body(table, (None, (1, value)))
    assert [f"DELETE FROM `s`.`t` WHERE `id` = 1 AND {condition};", ONE] == body(table, ((1, value), None))
    if value is not None:
        assert [f"UPDATE `s`.`t` SET `c` = NULL WHERE `id` = 1 AND {condition};", ONE] == body(table, ((1, value), (1, None)))
        assert f"UPDATE `s`.`t` SET `c` = {written} WHERE `id` = 1 AND `c` IS NULL;" in body(table, ((1, None), (1, value)))


def test_binary_json_is_built_and_guarded_by_its_text() -> None:
    """A document that its text does not tell is written as an expression, and compared as the server prints it."""
    decimal = bytes.fromhex("0ff60402018105")  # opaque decimal(2,1) 1.5
    insert, delete = (body(keyed(col("json")), pair)[0] for pair in ((None, (1, decimal)), ((1, decimal), None)))

    assert f"INSERT INTO `s`.`t` (`id`, `c`) VALUES (1, {json_expression(decimal)});" == insert
    assert "DELETE FROM `s`.`t` WHERE `id` = 1 AND CAST(`c` AS BINARY) = '1.5';" == delete


@pytest.mark.parametrize(
    ("column", "value", "condition"),
    [
        (Column("k", "bigint"), 7, "`k` = 7"),
        (Column("k", "binary(1)"), b"a", "`k` = X'61'"),
        (Column("k", "varchar(9)", charset="utf8mb4"), "Bob", "`k` = 'Bob' AND CAST(`k` AS BINARY) = 'Bob'"),
        (Column("k", "varchar(9)", charset="gbk"), "你", "`k` = _gbk X'C4E3' AND CAST(`k` AS BINARY) = X'C4E3'"),
        (Column("k", "enum", charset="utf8mb4", labels=("a",)), 1, "`k` = 'a' AND CAST(`k` AS BINARY) = 'a'"),
        (Column("k", "int", generated=True), 7, "`k` = 7"),
        (Column("k", "timestamp", auto_update=True), "2024-01-01 00:00:00", "`k` = '2024-01-01 00:00:00'"),
    ],
)
def test_a_key_is_found_by_plain_equality_and_its_bytes(column: Column, value: Value, condition: str) -> None:
    """Plain `=` leads to the index; where a collation could take two values for one the bytes are compared as well."""
    table = Table("s", "t", (VALUE, column), (1,))

    assert f"DELETE FROM `s`.`t` WHERE {condition} AND `v` = 1;" == body(table, ((1, value), None))[0]


def test_an_update_sets_and_guards_what_changed_alone() -> None:
    """Other columns may have changed since; a changed key is looked for as it is now."""
    table = Table("s", "t", (ID, VALUE, text("latin1")), (0,))

    assert [
        "UPDATE `s`.`t` SET `v` = NULL WHERE `id` = 1 AND `v` = 2;",
        ONE,
        "UPDATE `s`.`t` SET `id` = 2, `c` = 'b' WHERE `id` = 1 AND CAST(`c` AS BINARY) = 'a';",
        ONE,
    ] == body(table, ((1, 2, "x"), (1, None, "x")), ((1, 2, "a"), (2, 2, "b")))


def test_an_update_that_changes_nothing_is_a_comment() -> None:
    """There is nothing to restore, and a statement that changes no row would fail its check."""
    assert ["-- A row of `s`.`t` is the same before and after: nothing to write."] == body(keyed(VALUE), ((1, 2), (1, 2)))


@pytest.mark.parametrize("kind", ["float", "double"])
def test_the_sign_of_zero_is_a_change(kind: str) -> None:
    """0.0 and -0.0 are two values of a row."""
    assert "UPDATE `s`.`t` SET `c` = -0.0e0 WHERE `id` = 1 AND `c` = 0.0e0;" == body(keyed(col(kind)), ((1, 0.0), (1, -0.0)))[0]


AT = "2024-01-01 00:00:00"
LATER = "2024-01-01 00:00:01"


@pytest.mark.parametrize(
    ("kind", "auto_update", "now", "then", "sets", "guard"),
    [
        ("timestamp", True, (1, AT), (2, LATER), f"`v` = 2, `c` = IF(`c` <=> '{AT}', '{LATER}', `c`)", " AND `v` = 1"),
        ("timestamp", True, (1, AT), (1, None), f"`c` = IF(`c` <=> '{AT}', NULL, `c`)", ""),
        ("timestamp", True, (1, None), (2, None), "`v` = 2, `c` = `c`", " AND `v` = 1"),
        ("datetime(3)", None, (1, AT), (2, AT), "`v` = 2, `c` = `c`", " AND `v` = 1"),
        ("datetime", None, (1, AT), (2, LATER), f"`v` = 2, `c` = '{LATER}'", f" AND `v` = 1 AND `c` = '{AT}'"),
        ("datetime", False, (1, AT), (2, AT), "`v` = 2", " AND `v` = 1"),
        ("date", None, (1, "2024-01-01"), (2, "2024-01-01"), "`v` = 2", " AND `v` = 1"),
    ],
)
def test_columns_that_update_themselves(kind: str, *, auto_update: bool | None, now: Row, then: Row, sets: str, guard: str) -> None:
    """They are always set, to the log's value only where the row still holds the log's; without a schema any time may be one."""
    table = keyed(VALUE, col(kind, auto_update=auto_update))

    assert f"UPDATE `s`.`t` SET {sets} WHERE `id` = 1{guard};" == body(table, ((1, *now), (1, *then)))[0]


def test_generated_and_self_updating_columns_are_no_guard_of_a_row() -> None:
    """What the database computes is never written; what it sets on an update would be in the way of every later update."""
    table = keyed(Column("g", "int", generated=True), Column("at", "timestamp", auto_update=True), VALUE)
    row = (1, 9, AT, 5)

    assert "DELETE FROM `s`.`t` WHERE `id` = 1 AND `v` = 5;" == body(table, (row, None))[0]
    assert f"INSERT INTO `s`.`t` (`id`, `at`, `v`) VALUES (1, '{AT}', 5);" == body(table, (None, row))[0]
    assert body(table, (row, (1, 10, AT, 5)))[0].startswith("-- A row")


def test_without_a_key_the_whole_row_is_the_guard_of_one_row() -> None:
    """Of equal rows one is changed."""
    table = Table("s", "t", (ID, VALUE))

    assert "DELETE FROM `s`.`t` WHERE `id` = 1 AND `v` IS NULL LIMIT 1;" == body(table, ((1, None), None))[0]
    assert "UPDATE `s`.`t` SET `v` = 3 WHERE `id` = 1 AND `v` = 2 LIMIT 1;" == body(table, ((1, 2), (1, 3)))[0]


def test_the_error_value_of_an_enum_leaves_strict_mode_for_one_statement() -> None:
    """It is refused by strict mode; what was stored is looked at, and the rows around it stay in INSERTs of many."""
    table = keyed(enum("a"))
    stored = CHECK.format("EXISTS(SELECT 1 FROM `s`.`t` WHERE `id` = 2 AND CAST(`c` AS BINARY) = '')")

    assert [
        "INSERT INTO `s`.`t` (`id`, `c`) VALUES (1, 'a');",
        ONE,
        LENIENT,
        "INSERT INTO `s`.`t` (`id`, `c`) VALUES (2, 0);",
        ONE,
        STRICT,
        stored,
        "INSERT INTO `s`.`t` (`id`, `c`) VALUES (3, 'a'), (4, NULL);",
        CHECK.format("ROW_COUNT()=2"),
    ] == body(table, (None, (1, 1)), (None, (2, 0)), (None, (3, 1)), (None, (4, None)))
    update = "UPDATE `s`.`t` SET `c` = 0 WHERE `id` = 2 AND CAST(`c` AS BINARY) = 'a';"
    assert [LENIENT, update, ONE, STRICT, stored] == body(table, ((2, 1), (2, 0)))


def test_neighbouring_rows_become_one_insert_in_their_order() -> None:
    """Only rows of one table in one transaction, next to each other, across the events that held them."""
    one, two = keyed(VALUE), Table("s", "u", (ID,), (0,))
    info, after = TransactionInfo("A"), TransactionInfo("B")
    operations = [
        (info, RowChanges(one, [(None, (3, 3)), (None, (2, 2))])),
        (info, RowChanges(keyed(VALUE), [(None, (1, 1)), ((9, 9), None), (None, (0, 0))])),
        (info, RowChanges(two, [(None, (7,))])),
        (after, RowChanges(two, [(None, (6,))])),
    ]
    statements = [line for line in "".join(undo_script(operations)).splitlines() if line.startswith(("INSERT", "DELETE", "COMMIT"))]

    assert [
        "INSERT INTO `s`.`t` (`id`, `v`) VALUES (3, 3), (2, 2), (1, 1);",
        "DELETE FROM `s`.`t` WHERE `id` = 9 AND `v` = 9;",
        "INSERT INTO `s`.`t` (`id`, `v`) VALUES (0, 0);",
        "INSERT INTO `s`.`u` (`id`) VALUES (7);",
        "COMMIT;",
        "INSERT INTO `s`.`u` (`id`) VALUES (6);",
        "COMMIT;",
    ] == statements


@pytest.mark.parametrize(
    ("size", "count", "expected"),
    [
        (1, INSERT_ROWS_MAX, [INSERT_ROWS_MAX]),
        (1, INSERT_ROWS_MAX + 1, [INSERT_ROWS_MAX, 1]),
        (INSERT_CHARACTERS_MAX // 3, 4, [2, 2]),
        (INSERT_CHARACTERS_MAX + 1, 2, [1, 1]),
    ],
)
def test_an_insert_has_a_largest_size(size: int, count: int, expected: list[int]) -> None:
    """A row larger than that still goes, alone."""
    lines = body(keyed(text("ascii")), *((None, (number, "x" * size)) for number in range(count)))

    assert expected == [line.count("'x") for line in lines if line.startswith("INSERT")]
    assert [CHECK.format(f"ROW_COUNT()={rows}") for rows in expected] == lines[1::2]


def test_the_script_is_transactions_between_a_head_and_an_end() -> None:
    """What it is comes first, then the session, then a transaction of the log in each of the script's."""
    lines = script((keyed(VALUE), [((1, 1), None)]), (keyed(VALUE), []), header=["plan 1234", "made\n-- by; 'me`\x1b"]).splitlines()
    comments = lines[: lines.index("SET NAMES utf8mb4;")]

    assert all(line.startswith("-- ") for line in comments)
    assert ["-- plan 1234", "-- made -- by; 'me`"] == comments[1:3]
    assert "--force" in "".join(comments)
    assert [
        "SET NAMES utf8mb4;",
        STRICT,
        "SET SESSION time_zone = '+00:00', foreign_key_checks = 1, unique_checks = 1, autocommit = 1, sql_safe_updates = 0;",
        "",
        "-- Transaction T0",
        "START TRANSACTION;",
        "DELETE FROM `s`.`t` WHERE `id` = 1 AND `v` = 1;",
        ONE,
        "COMMIT;",
        "",
        "-- Transaction T1",
        "START TRANSACTION;",
        "COMMIT;",
        "",
        "-- End of the undo: 2 transactions.",
    ] == lines[len(comments) :]


def test_a_long_script_comes_in_pieces() -> None:
    """Pieces join to the same script, and none is a line or all of it."""
    changes = RowChanges(keyed(VALUE), [((number, number), None) for number in range(20_000)])
    pieces = list(undo_script(iter([(TransactionInfo("T"), changes)])))

    assert 5 < len(pieces) < 50
    assert (
        script((changes.table, changes.rows)).splitlines()[12:]
        == "".join(pieces).replace("Transaction T\n", "Transaction T0\n").splitlines()[12:]
    )


def test_more_kinds_of_updates_than_are_kept_are_written_all_the_same() -> None:
    """What is prepared for each set of changed columns is bounded."""
    width = 12
    table = Table("s", "t", (ID, *(Column(f"c{number}", "int") for number in range(width))), (0,))
    statements = Statements(table)
    masks = range(1, SHAPES_MAX + 200)

    written = [statements.update((1, *[0] * width), (1, *(mask >> bit & 1 for bit in range(width)))) for mask in masks]
    assert [mask.bit_count() for mask in masks] == [statement.count(" = 1,") + statement.count(" = 1 WHERE") for statement in written]


BAD: list[tuple[Column, Any]] = [
    (col("int"), "1; DROP TABLE t"),
    (col("int"), 1.5),
    (col("int"), b"1"),
    (col("float"), 1),
    (col("double"), float("nan")),
    (col("double"), float("-inf")),
    (col("decimal(5,2)"), "1-2"),
    (col("decimal(5,2)"), "1e5"),
    (col("decimal(5,2)"), "nan"),
    (col("decimal(5,2)"), ""),
    (col("decimal(5,2)"), 5),
    (col("date"), 20240101),
    (col("date"), b"2024-01-01"),
    (text("utf8mb4"), 5),
    (text("utf8mb4"), "\ud800"),
    (text("latin1"), "日"),
    (text("gbk"), 5),
    (text("dec8"), "é"),
    (col("blob"), "text"),
    (enum("a"), 2),
    (enum("a"), -1),
    (enum("a"), "a"),
    (enum(), "a"),
    (members("a"), 2),
    (members("a"), -1),
    (members("a"), "a"),
    (col("json"), 5),
    (col("json"), b"\xff"),
    (col("geometry"), "POINT(1 1)"),
]


@pytest.mark.parametrize(("column", "value"), BAD)
def test_a_value_that_is_none_of_its_column_is_named(column: Column, value: Any) -> None:
    """Nothing is bent to fit, and nothing gets into the script unquoted."""
    for pair in ((None, (1, value)), ((1, value), None), ((1, value), (1, None)), ((1, None), (1, value))):
        with pytest.raises(MalformedPlan, match=r"^s\.t: .* is no value of c "):
            body(keyed(column), pair)


@pytest.mark.parametrize("pair", [(None, (1,)), ((1,), None), ((1, 2, 3), None), ((1, 2), (1,)), (None, ()), (None, None)])
def test_rows_of_another_width_are_refused(pair: RowPair) -> None:
    """A row must be what its table says."""
    with pytest.raises(MalformedPlan, match=r"^s\.t: "):
        body(keyed(VALUE), pair)


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (keyed(VALUE), None),
        (Table("s", "t`; --", (ID,)), None),
        (Table("s", "a\nb", (ID,)), "a name that cannot be written in SQL"),
        (Table("", "t", (ID,)), "a name that cannot be written in SQL"),
        (Table("s", "t", (Column("", "int"),)), "a name that cannot be written in SQL"),
        (Table("s", "t", (Column("\udc80", "int"),)), "a name that cannot be written in SQL"),
        (keyed(col("xmltype")), "a column type that cannot be written in SQL"),
        (keyed(col("varchar(9)", charset="klingon")), "a character set that is not known"),
        (Table("s", "t", (Column("g", "int", generated=True),)), "a table without a column that can be written"),
        (Table("s", "t", ()), "a table without a column that can be written"),
    ],
)
def test_a_table_that_cannot_be_written_is_said(table: Table, reason: str | None) -> None:
    """The reason is there to be asked for, and writing raises it."""
    found = omission(table)

    assert reason == (found and found.reason)
    if isinstance(found, Omission):
        with pytest.raises(MalformedPlan, match=found.reason):
            script((table, []), (table, [(None, (1,))]))


def unquoted(literal: str) -> str:
    """Return the text a server makes of a literal, read a character at a time."""
    if literal.startswith("_utf8mb4 X'"):
        return bytes.fromhex(literal[len("_utf8mb4 X'") : -1]).decode()
    inner, out, at = literal[1:-1], [], 0
    while at < len(inner):
        two = inner[at : at + 2]
        out.append(
            {"''": "'", "\\\\": "\\", "\\n": "\n", "\\r": "\r", "\\0": "\0", "\\Z": "\x1a"}[two] if inner[at] in "'\\" else inner[at]
        )
        at += 2 if inner[at] in "'\\" else 1
    return "".join(out)


@given(st.text() | st.text("'\\\n\r\0\x1a\t\x1b\x85a;-é"))
def test_quoted_text_reads_back_from_one_printable_line(value: str) -> None:
    """The literal holds exactly the text, and nothing that ends a line, a string or a client's patience."""
    literal = quote(value)

    assert value == unquoted(literal)
    assert not re.search(r"[\0-\x08\n-\x1f\x7f-\x9f]", literal)


@given(st.text())
def test_a_name_in_backquotes_reads_back(name: str) -> None:
    """A backquote in a name is doubled, everything else stands for itself."""
    written = identifier(name)

    assert name == written[1:-1].replace("``", "`")
    assert written.count("`") % 2 == 0


ANYTHING = (
    st.none()
    | st.integers()
    | st.floats()
    | st.text(max_size=9)
    | st.binary(max_size=9)
    | st.sampled_from(["1.5", "2024-01-01", 0, 1, b"\x04\x00"])
)
EVERY_TYPE = [col(kind, charset=charset) for kind in FORMS for charset in ("utf8mb4", "latin1", "ucs2", "binary", "")]


@given(st.sampled_from([*EVERY_TYPE, enum("a", "b"), members("a", "b")]), ANYTHING, ANYTHING)
def test_any_value_gives_statements_on_lines_of_their_own_or_an_error(column: Column, now: Value, then: Value) -> None:
    """Whatever a plan holds: a line starts with one of our words, or there is one clear error."""
    words = (
        "UPDATE `s`.`t` SET ",
        "DELETE FROM `s`.`t` WHERE ",
        "INSERT INTO `s`.`t` ",
        "SELECT IF(",
        "SET SESSION sql_mode",
        "-- A row of ",
    )
    for pair in (((1, now), (1, then)), ((1, now), None), (None, (1, then))):
        try:
            lines = "\n".join(body(keyed(column), pair)).split("\n")
        except MalformedPlan:
            continue
        assert all(line.startswith(words) for line in lines)


PARTS = st.tuples(
    st.integers(0, 3), st.sampled_from(["", "`a` = ", "`{b}'\"\\` = "]), st.sampled_from([int.__repr__, quote, repr]), st.just("NULL")
)


@given(
    st.lists(PARTS.map(lambda part: Part(*part)), min_size=1, max_size=6), st.tuples(*[st.none() | st.integers() | st.text(max_size=5)] * 4)
)
def test_generated_code_writes_what_the_plain_loop_writes(parts: list[Part], row: Row) -> None:
    """The straight-line code of a table is a faster `_written`, errors included."""
    lines = Lines(parts, ";\n")

    def outcome(write: Any) -> str:
        try:
            return str(write())
        except (TypeError, AttributeError, UnicodeEncodeError) as error:
            return type(error).__name__

    assert outcome(lambda: _written(lines, row)) == outcome(lambda: _writer(lines, 4)(row))


def test_a_table_may_have_as_many_columns_as_an_engine_allows() -> None:
    """1017 columns are InnoDB's limit."""
    row = tuple(range(1017))
    table = Table("s", "t", tuple(Column(f"c{number}", "int") for number in row), (0,))
    delete, _, insert, _ = body(table, (row, None), (None, row))

    assert delete.endswith(" AND `c1016` = 1016;")
    assert insert.endswith(", 1016);")
