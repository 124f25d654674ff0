"""The undo as SQL text, run by the vendor's client on a real server: every type finds, writes and refuses exactly its bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from socket import AF_INET6, inet_pton
import struct
import subprocess
from typing import Any, NamedTuple

import pytest

from dblog_tasks.event import Column, RowChanges, RowPair, Table, Value
from dblog_tasks.mysql.charsets import decode_text
from dblog_tasks.mysql.sql import TransactionInfo, undo_script
from tests.live.servers import MariaDB

SCHEMA = "undo sql"
BYTES = bytes(range(256))


class Case(NamedTuple):
    """A column as SQL declares it and as the log describes it, and values as the log has them with SQL that makes each.

    Neighbours in the list differ by as little as the type allows.
    """

    declared: str
    column: Column
    values: Sequence[tuple[Value, str]]


def case(declared: str, *values: tuple[Value, str], type: str = "", **facts: Any) -> Case:  # noqa: A002 - as Column names it
    return Case(declared, Column("c", type or declared, **facts), [*values, (None, "NULL")])


def integers(declared: str, *values: int, **facts: Any) -> Case:
    return case(declared, *((value, str(value)) for value in values), **facts)


def quoted(declared: str, *values: str, **facts: Any) -> Case:
    return case(declared, *((value, f"'{value}'") for value in values), **facts)


def text(kind: str, charset: str, *values: str) -> Case:
    return quoted(f"{kind} CHARACTER SET {charset}", *values, type=kind, charset=charset)


def binary(declared: str, *values: bytes, type: str = "") -> Case:  # noqa: A002 - as Column names it
    return case(declared, *((value, f"0x{value.hex()}" if value else "''") for value in values), type=type)


def single(value: float) -> float:
    return float(struct.unpack("f", struct.pack("f", value))[0])


POINTS = [struct.pack("<IBIdd", srid, 1, 1, x, 1.0) for srid, x in ((0, 1.0), (4326, 1.0), (0, 1.0000000000000002))]
MADE_POINTS = [f"ST_GeomFromText('POINT({x} 1)', {srid})" for srid, x in ((0, "1"), (4326, "1"), (0, "1.0000000000000002"))]
SIXTY_FOUR = tuple(f"m{number}" for number in range(64))
DIGITS = "1234567890123456789012345678901234"

UUIDS = ("00112233-4455-6677-8899-aabbccddeeff", "00112233-4455-6677-8899-aabbccddee00", "00000000-0000-0000-0000-000000000000")
INET6 = tuple((shown, inet_pton(AF_INET6, shown)) for shown in ("::", "::1", "2001:db8::ff00:42:8300", "::ffff:1.2.3.4", "::1.2.3.4"))

CASES = {
    "tinyint": integers("tinyint", -128, -127, 0, 127),
    "smallint": integers("smallint unsigned", 65535, 65534, 0, type="smallint", unsigned=True),
    "mediumint": integers("mediumint", -8388608, -8388607, 8388607),
    "int": integers("int", -2147483648, -2147483647, 2147483647),
    "bigint": integers("bigint", -9223372036854775808, -9223372036854775807, 9223372036854775807, 9223372036854775806),
    "bigint_unsigned": integers("bigint unsigned", 18446744073709551615, 18446744073709551614, type="bigint", unsigned=True),
    "year": integers("year", 0, 1901, 2000, 2001, 2155),
    "bit1": integers("bit(1)", 0, 1),
    "bit64": integers("bit(64)", 18446744073709551615, 18446744073709551614, 9223372036854775808),
    "float": case("float", *((single(value), literal) for value, literal in (
        (0.1, "0.1"), (0.10000000894069672, "0.10000000894069672"), (3.4028234663852886e38, "3.4028234663852886e38"), (1e-38, "1e-38"),
    ))),
    "double": case("double", *((value, repr(value)) for value in (
        0.1, 0.10000000000000002, 1.7976931348623157e308, 1.7976931348623155e308, 2.2250738585072014e-308, 1e23, -123456789.123, 0.0,
    ))),
    "decimal": case("decimal(65,30)", *((value, value) for value in (f"-{DIGITS}.{'0' * 29}1", f"-{DIGITS}.{'0' * 29}2", f"0.{'0' * 30}"))),
    "decimal_small": case("decimal(12,2)", ("-12.30", "-12.3"), ("-12.31", "-12.31"), ("0.00", "0")),
    "date": quoted("date", "0000-00-00", "2024-02-31", "2024-00-15", "2024-01-00", "9999-12-31", "2024-02-29"),
    "datetime": quoted("datetime", "0000-00-00 00:00:00", "2024-02-31 23:59:59", "2024-03-31 02:30:00"),
    "datetime6": quoted("datetime(6)", "2024-01-02 03:04:05.678900", "2024-01-02 03:04:05.678901", "0000-00-00 00:00:00.000000"),
    "timestamp": quoted(
        "timestamp NULL", "0000-00-00 00:00:00", "1970-01-01 00:00:01", "2024-10-27 00:30:00", "2024-10-27 01:30:00", "2038-01-19 03:14:07",
        type="timestamp",
    ),
    "timestamp3": quoted("timestamp(3) NULL", "2024-01-02 03:04:05.678", "2024-01-02 03:04:05.679", type="timestamp(3)"),
    "time2": quoted("time(2)", "-838:59:59.00", "838:59:59.00", "-00:00:00.01", "00:00:00.00", "00:00:00.01"),
    "ci": text("varchar(20)", "utf8mb4", "bob", "Bob", "Bob ", "bob\t", "böb", ""),
    "escapes": case(
        "varchar(300) CHARACTER SET utf8mb4",
        *((bytes([byte] * 2 + [97]).decode(), f"CONVERT(0x{byte:02x}{byte:02x}61 USING utf8mb4)") for byte in range(128)),
        ("\r\n\\'\0\x1a\\", "CONVERT(0x0d0a5c27001a5c USING utf8mb4)"),
        ("\x85\x9b\u2028\ufeff", "CONVERT(0xc285c29be280a8efbbbf USING utf8mb4)"),
        ("😀''\\n; -- \n-- x", "CONVERT(0xf09f988027275c6e3b202d2d200a2d2d2078 USING utf8mb4)"),
        type="varchar(300)", charset="utf8mb4",
    ),
    "char": text("char(10)", "utf8mb3", "ab", "aB", "日本", ""),
    "longtext": text("longtext", "utf8mb4", "x" * 70_000, "x" * 69_999 + "X"),
    "ascii": text("text", "ascii", "a", "A"),
    "latin1": case(
        "varchar(300) CHARACTER SET latin1",
        (decode_text(BYTES, "latin1"), f"0x{BYTES.hex()}"), ("é", "'é'"), ("e", "'e'"),
        type="varchar(300)", charset="latin1",
    ),
    "gbk": text("varchar(20)", "gbk", "啊a", "啊A", "誠", "plain"),
    "sjis": text("varchar(20)", "sjis", "表", "ソ", "ascii"),
    "sjis_backslash": case(
        "varchar(20) CHARACTER SET sjis", (b"\x81\x5f", "0x815f"), (b"\x83\x5c\x5c", "0x835c5c"), type="varchar(20)", charset="sjis"
    ),
    "ucs2": text("varchar(20)", "ucs2", "語", "a", "A", "ab  "),
    "utf16": text("char(20)", "utf16", "😀", "a", "A"),
    "utf32": text("varchar(20)", "utf32", "😀", "x"),
    "koi8r": text("text", "koi8r", "Ж", "ж"),
    "dec8": case("varchar(20) CHARACTER SET dec8", (b"\xe9", "0xe9"), (b"a", "0x61"), type="varchar(20)", charset="dec8"),
    "swe7": case("varchar(20) CHARACTER SET swe7", (b"\x5b\x40", "0x5b40"), (b"a", "0x61"), type="varchar(20)", charset="swe7"),
    "binary": binary("binary(4)", b"a\0\0\0", b"a\0\0\x20", b"\0\0\0\0"),
    "varbinary": binary("varbinary(300)", BYTES, BYTES[:-1], b"", b"\0", b"\0\0", b" "),
    "blob": binary("longblob", BYTES * 300, BYTES * 300 + b"\0", b""),
    "text_binary": case("text CHARACTER SET binary", (b"\xff\0", "0xff00"), (b"a", "0x61"), type="text", charset="binary"),
    "enum": integers("enum('a','B','é') CHARACTER SET latin1", 1, 2, 3, type="enum", charset="latin1", labels=("a", "B", "é")),
    "enum_numbered": integers("enum('a','b','c')", 1, 2, 3, type="enum"),
    "enum_empty": integers("enum('','b')", 1, 2, type="enum", charset="utf8mb4", labels=("", "b")),
    "set": integers("set('x','y','日')", 0, 1, 2, 4, 7, type="set", charset="utf8mb4", labels=("x", "y", "日")),
    "set64": integers(f"set{SIXTY_FOUR}", (1 << 64) - 1, (1 << 64) - 2, 1 << 63, type="set", charset="utf8mb4", labels=SIXTY_FOUR),
    "set64_numbered": integers(f"set{SIXTY_FOUR}", (1 << 64) - 1, (1 << 64) - 2, 1 << 63, type="set"),
    "uuid": quoted("uuid", *UUIDS),
    "uuid_unnamed": case("uuid", *((bytes.fromhex(value.replace("-", "")), f"'{value}'") for value in UUIDS), type="binary(16)"),
    "inet6": quoted("inet6", *(shown for shown, _ in INET6)),
    "inet6_unnamed": case("inet6", *((data, f"'{shown}'") for shown, data in INET6), type="binary(16)"),
    "inet4": quoted("inet4", "0.0.0.1", "0.0.1.0", "255.255.255.255", "1.2.3.0"),
    "inet4_unnamed": case("inet4", (b"\1\2\3\0", "'1.2.3.0'"), (bytes(4), "'0.0.0.0'"), (b"1234", "'49.50.51.52'"), type="binary(4)"),
    "compressed": case("text COMPRESSED CHARACTER SET latin1", ("é" * 99, "REPEAT('é', 99)"), ("e", "'e'"), type="text", charset="latin1"),
    "compressed_binary": binary("varbinary(300) COMPRESSED", BYTES, b"", b"\0", type="varbinary(300)"),
    "json": case("json", *((value, "'" + value.replace("\\", "\\\\").replace("'", "''") + "'") for value in (
        '{"a": [1, 2.5, null, "x\\ny\\u0001"], "b": "it\'s 😀"}', '{"a": [1, 2.5, null, "x\\ny\\u0002"], "b": "it\'s 😀"}', "[]",
    ))),
    "geometry": case("geometry", *zip(POINTS, MADE_POINTS, strict=True)),
    "point": case("point", (POINTS[0], MADE_POINTS[0]), (POINTS[2], MADE_POINTS[2])),
}  # fmt: skip


TABLE = "rows"


def table_of(name: str) -> Table:
    return Table(SCHEMA, TABLE, (Column("id", "int"), CASES[name].column), (0,))


def quiet(server: MariaDB, sql: str) -> None:
    """Run SQL in a session that takes every value as it is."""
    server.sql("SET NAMES utf8mb4, sql_mode='NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES', time_zone='+00:00';\n" + sql, SCHEMA)


def make(server: MariaDB, declared: str, *rows: str) -> None:
    """Make the one table of the database anew."""
    quiet(server, f"CREATE OR REPLACE TABLE `{TABLE}` ({declared});" + "".join(f"INSERT INTO `{TABLE}` VALUES {row};" for row in rows))


def fill(server: MariaDB, name: str) -> None:
    """Make the table of a case, a row a value."""
    make(
        server, f"id INT PRIMARY KEY, c {CASES[name].declared}", *(f"({n},{literal})" for n, (_, literal) in enumerate(CASES[name].values))
    )


@pytest.fixture(scope="module")
def server(mariadb: MariaDB) -> Iterator[MariaDB]:
    """The shared server with a database for this module; each test makes the tables it needs."""
    mariadb.sql(f"CREATE OR REPLACE DATABASE `{SCHEMA}`")
    yield mariadb
    mariadb.sql(f"DROP DATABASE `{SCHEMA}`")


def script(table: Table, *transactions: Sequence[RowPair]) -> str:
    """Return the undo script of transactions on one table."""
    return "".join(
        undo_script([(TransactionInfo(f"T{n}", "it's; a \\ `comment"), RowChanges(table, rows)) for n, rows in enumerate(transactions)])
    )


def run(server: MariaDB, text: str, *options: str) -> subprocess.CompletedProcess[bytes]:
    """Give a script to the client as a person would, without --binary-mode."""
    command = ["mariadb", "--no-defaults", f"--socket={server.socket}", "--user=root", "--default-character-set=utf8mb4", *options]
    return subprocess.run(command, input=text.encode(), capture_output=True, check=False)


def applied(server: MariaDB, text: str, *options: str) -> None:
    """Run a script that must go through, and say nothing."""
    done = run(server, text, *options)

    assert (0, b"", b"") == (done.returncode, done.stdout, done.stderr)


def refused(server: MariaDB, text: str) -> None:
    """Run a script whose check must end the client, and leave the database as it was."""
    before = server.dump(SCHEMA)
    done = run(server, text)

    assert (1, b"") == (done.returncode, done.stdout)
    assert b"ERROR 1242" in done.stderr
    assert before == server.dump(SCHEMA)


@pytest.mark.parametrize("name", CASES)
def test_rows_are_found_removed_and_put_back(server: MariaDB, name: str) -> None:
    """A row as the log has it is found byte for byte; deleted and inserted again it is what it was."""
    fill(server, name)
    stored = server.dump(SCHEMA)
    rows = [(number, value) for number, (value, _) in enumerate(CASES[name].values)]

    applied(server, script(table_of(name), [(row, None) for row in rows]))
    assert "INSERT" not in server.dump(SCHEMA)

    applied(server, script(table_of(name), [(None, row) for row in rows]))
    assert stored == server.dump(SCHEMA)


@pytest.mark.parametrize("name", CASES)
def test_updates_go_forth_and_back(server: MariaDB, name: str) -> None:
    """Every value is set where its neighbour was, NULL among them, and the other way round."""
    fill(server, name)
    stored = server.dump(SCHEMA)
    values = [value for value, _ in CASES[name].values]
    forth: list[RowPair] = [((number, value), (number, values[number - 1])) for number, value in enumerate(values)]

    applied(server, script(table_of(name), forth))
    turned = server.dump(SCHEMA)
    quiet(
        server,
        "".join(f"UPDATE `{TABLE}` SET c = {CASES[name].values[number - 1][1]} WHERE id = {number};" for number in range(len(values))),
    )
    assert turned == server.dump(SCHEMA)

    applied(server, script(table_of(name), [(after, before) for before, after in forth]))
    assert stored == server.dump(SCHEMA)


@pytest.mark.parametrize("name", CASES)
def test_the_nearest_other_value_is_refused(server: MariaDB, name: str) -> None:
    """A row that holds another value than the log left ends the client, and the whole transaction is undone."""
    fill(server, name)
    rows = [(number, value) for number, (value, _) in enumerate(CASES[name].values)]
    for number, value in rows[:7]:
        other = (number, rows[number - 1][1])
        witness = rows[number - 2]

        refused(server, script(table_of(name), [(witness, None), (other, None)]))
        refused(server, script(table_of(name), [(witness, None), (other, (number, value))]))


@pytest.mark.parametrize(
    ("charset", "stored", "other"), [("utf8mb4", "Bob", "bob"), ("utf8mb4", "bob", "bob "), ("gbk", "啊a", "啊A"), ("ucs2", "a", "A")]
)
def test_a_key_that_only_a_collation_takes_for_the_logged_one_is_refused(server: MariaDB, charset: str, stored: str, other: str) -> None:
    """`=` on a text key finds 'Bob ' for 'bob'; the bytes do not."""
    table = Table(SCHEMA, TABLE, (Column("k", "varchar(20)", charset=charset), Column("v", "int")), (0,))
    make(server, f"k VARCHAR(20) CHARACTER SET {charset} PRIMARY KEY, v INT", f"('{stored}', 1)")

    refused(server, script(table, [((other, 1), None)]))
    refused(server, script(table, [((other, 1), (other, 2))]))
    applied(server, script(table, [((stored, 1), (other, 2)), ((other, 2), (stored, 3)), ((stored, 3), None)]))
    assert "INSERT" not in server.dump(SCHEMA)


@pytest.mark.parametrize(
    "column",
    [
        Column("k", "varchar(9)", charset="latin1"),
        Column("k", "varchar(9)", charset="gbk"),
        Column("k", "varchar(9)", charset="ucs2"),
        Column("k", "varchar(9)", charset="utf8mb3"),
    ],
    ids=lambda column: column.charset,
)
def test_a_text_key_is_found_by_its_index(server: MariaDB, column: Column) -> None:
    """The literal of a key needs no conversion of the column: the index answers."""
    make(
        server,
        f"k VARCHAR(9) CHARACTER SET {column.charset} PRIMARY KEY, v INT",
        *(f"('k{number}', 0)" for number in range(50)),
        "('ä', 0)",
    )
    table = Table(SCHEMA, TABLE, (column, Column("v", "int")), (0,))
    delete = next(
        line for line in script(table, [(("ä" if column.charset != "gbk" else "k1", 0), None)]).splitlines() if line.startswith("DELETE")
    )

    assert "\tPRIMARY\t" in server.sql(f"EXPLAIN FORMAT=TRADITIONAL {delete}")


ON_UPDATE = "id INT PRIMARY KEY, v INT, at TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3)"
FIRST, SECOND, LATER = "2024-01-01 00:00:00.000", "2024-01-01 12:00:00.500", "2024-02-02 00:00:00.000"


@pytest.mark.parametrize(
    ("auto_update", "stored", "left"), [(True, SECOND, FIRST), (True, LATER, LATER), (False, SECOND, FIRST), (None, SECOND, FIRST)]
)
def test_a_column_that_updates_itself_is_restored_where_it_is_as_logged(
    server: MariaDB, *, auto_update: bool | None, stored: str, left: str
) -> None:
    """A later touch of the column alone is no conflict and stays; the undo never sets it to the time of the undo."""
    table = Table(SCHEMA, TABLE, (Column("id", "int"), Column("v", "int"), Column("at", "timestamp(3)", auto_update=auto_update)), (0,))
    make(server, ON_UPDATE, f"(1, 2, '{stored}')")

    applied(server, script(table, [((1, 2, SECOND), (1, 1, FIRST))]))
    assert f"1\t1\t{left}\n" == server.sql(f"SELECT * FROM `{TABLE}`", SCHEMA)


@pytest.mark.parametrize("auto_update", [True, None])
def test_a_column_that_updates_itself_keeps_what_the_log_did_not_change(server: MariaDB, *, auto_update: bool | None) -> None:
    """An update of another column alone leaves it as it is."""
    table = Table(SCHEMA, TABLE, (Column("id", "int"), Column("v", "int"), Column("at", "timestamp(3)", auto_update=auto_update)), (0,))
    make(server, ON_UPDATE, f"(1, 2, '{LATER}')")

    applied(server, script(table, [((1, 2, FIRST), (1, 1, FIRST))]))
    assert f"1\t1\t{LATER}\n" == server.sql(f"SELECT * FROM `{TABLE}`", SCHEMA)


def test_a_touched_column_that_is_not_known_to_update_itself_is_a_conflict(server: MariaDB) -> None:
    """Without a schema a later time is a later change."""
    table = Table(SCHEMA, TABLE, (Column("id", "int"), Column("v", "int"), Column("at", "timestamp(3)")), (0,))
    make(server, ON_UPDATE, f"(1, 2, '{LATER}')")

    refused(server, script(table, [((1, 2, SECOND), (1, 1, FIRST))]))


ENUM = Table(
    SCHEMA,
    TABLE,
    (Column("id", "int"), Column("e", "enum", charset="utf8mb4", labels=("a", "b")), Column("v", "varchar(3)", charset="utf8mb4")),
    (0,),
)
ENUM_DECLARED = "id INT PRIMARY KEY, e ENUM('a','b') NOT NULL, v VARCHAR(3)"


def test_the_error_value_of_an_enum_is_found_and_restored(server: MariaDB) -> None:
    """The value strict mode refuses goes in and out like any other, and strict mode is back after it."""
    make(server, ENUM_DECLARED, "(1, 0, 'x')", "(2, 0, 'y')", "(3, 2, NULL)")
    stored = server.dump(SCHEMA)
    forth: list[RowPair] = [((3, 2, None), None), ((2, 0, "y"), (2, 1, "y")), ((1, 0, "x"), None)]

    applied(server, script(ENUM, forth))
    assert "2\ta\ty\n" == server.sql(f"SELECT * FROM `{TABLE}`", SCHEMA)
    applied(server, script(ENUM, [(after, before) for before, after in reversed(forth)]))
    assert stored == server.dump(SCHEMA)
    assert 1 == run(server, script(ENUM, [(None, (4, 0, "x")), (None, (5, 1, "long"))])).returncode
    assert stored == server.dump(SCHEMA)


def test_nothing_is_bent_to_fit_beside_the_error_value_of_an_enum(server: MariaDB) -> None:
    """Outside strict mode a text too long would be cut: the check of what was stored sees it."""
    make(server, ENUM_DECLARED, "(1, 1, 'x')")

    refused(server, script(ENUM, [(None, (2, 0, "long"))]))
    refused(server, script(ENUM, [((1, 1, "x"), (1, 0, "long"))]))


def test_one_of_equal_rows_without_a_key_is_changed(server: MariaDB) -> None:
    """Without a key the whole row is the guard, and one of several equal ones is enough."""
    table = Table(SCHEMA, TABLE, (Column("a", "int"), Column("f", "float"), Column("t", "text", charset="utf8mb4")))
    make(server, "a INT, f FLOAT, t TEXT", "(1, 0.1, 'x'), (1, 0.1, 'x'), (1, 0.1, 'X'), (NULL, NULL, NULL)")
    row = (1, single(0.1), "x")

    applied(server, script(table, [(row, None), (row, (2, None, "x")), ((None, None, None), row)]))
    assert ["1\t0.1\tX", "1\t0.1\tx", "2\tNULL\tx"] == sorted(server.sql(f"SELECT * FROM `{TABLE}`", SCHEMA).splitlines())
    refused(server, script(table, [((1, single(0.1), "x "), None)]))


def test_many_rows_are_inserted_at_once_and_zero_is_no_automatic_number(server: MariaDB) -> None:
    """An INSERT of many rows is checked as one; a key of 0 stays 0."""
    table = Table(SCHEMA, TABLE, (Column("id", "int"), Column("g", "int", generated=True), Column("v", "int")), (0,))
    make(server, "id INT PRIMARY KEY AUTO_INCREMENT, g INT AS (v + 1) STORED, v INT")
    rows = [(number, 0, number) for number in range(501)]

    applied(server, script(table, [(None, row) for row in rows]))
    assert "0\t500\t501\t125751\n" == server.sql(f"SELECT MIN(id), MAX(id), COUNT(*), SUM(g) FROM `{TABLE}`", SCHEMA)
    applied(server, script(table, [((number, 7, number), (number, 9, -number)) for number in range(1, 501)], [((0, 5, 0), None)]))
    assert "1\t500\t-125250\n" == server.sql(f"SELECT MIN(id), COUNT(*), SUM(v) FROM `{TABLE}`", SCHEMA)


def test_a_key_that_is_in_use_again_ends_the_script(server: MariaDB) -> None:
    """A row that must come back under a key somebody else took meanwhile is never replaced."""
    table = Table(SCHEMA, TABLE, (Column("id", "int"), Column("v", "int")), (0,))
    make(server, "id INT PRIMARY KEY, v INT", "(5, 5)")
    stored = server.dump(SCHEMA)

    done = run(server, script(table, [(None, (4, 4)), (None, (5, 6))]))
    assert (1, True) == (done.returncode, b"ERROR 1062" in done.stderr)
    assert stored == server.dump(SCHEMA)


def test_transactions_before_the_refused_one_stay(server: MariaDB) -> None:
    """Each transaction of the log is one of the script: newer ones are committed when an older one cannot be undone."""
    table = Table(SCHEMA, TABLE, (Column("id", "int"), Column("v", "int")), (0,))
    make(server, "id INT PRIMARY KEY, v INT", "(1, 1), (2, 2), (3, 3)")

    done = run(server, script(table, [((1, 1), None)], [((2, 2), None), ((3, 4), None)], [((2, 2), None)]))
    assert 1 == done.returncode
    assert "2\t2\n3\t3\n" == server.sql(f"SELECT * FROM `{TABLE}`", SCHEMA)


NAMES = ["back`tick", "a b", "select", "q'u\"o;te -- x", "back\\slash", "100%s {n}", "日本", ".", "\\`", "tab\there"]


@pytest.mark.parametrize("name", NAMES)
def test_odd_names_are_written(server: MariaDB, name: str) -> None:
    """Schema, table and columns may have any name."""
    quoted_name = "`" + name.replace("`", "``") + "`"
    table = Table(name, name, (Column(name, "int"), Column(name + "2", "timestamp", auto_update=None)), (0,))
    columns = f"{quoted_name} INT PRIMARY KEY, {quoted_name[:-1]}2` TIMESTAMP NULL"
    server.sql(f"CREATE DATABASE {quoted_name}; CREATE TABLE {quoted_name}.{quoted_name} ({columns});")
    try:
        applied(server, script(table, [(None, (1, None)), ((1, None), (2, None)), ((2, None), None), (None, (3, "2024-01-01 00:00:00"))]))
        assert "3\t2024-01-01 00:00:00\n" == server.sql(f"SELECT * FROM {quoted_name}.{quoted_name}")
    finally:
        server.sql(f"DROP DATABASE {quoted_name}")


SESSIONS = [
    "SET sql_mode='ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PAD_CHAR_TO_FULL_LENGTH,TRADITIONAL'",
    "SET time_zone='+05:00', foreign_key_checks=0, unique_checks=0, autocommit=0",
    "SET NAMES latin1",
    "SET sql_safe_updates=1",
]


@pytest.mark.parametrize("session", SESSIONS)
def test_the_session_it_is_run_in_does_not_matter(server: MariaDB, session: str) -> None:
    """What a server or an option file sets for sessions is set again by the script."""
    columns = (Column("a", "char(5)", charset="utf8mb4"), Column("b", "timestamp"), Column("c", "date"), Column("id", "int"))
    table = Table(SCHEMA, TABLE, columns)
    make(
        server,
        "a CHAR(5), b TIMESTAMP NULL, c DATE, id INT PRIMARY KEY AUTO_INCREMENT",
        "('\\\\ä', '2024-01-01 05:00:00', '0000-00-00', 0)",
    )
    stored = server.dump(SCHEMA)
    row = ("\\ä", "2024-01-01 05:00:00", "0000-00-00", 0)

    applied(server, script(table, [(row, None)], [(None, row)]), f"--init-command={session}")
    assert stored == server.dump(SCHEMA)


def test_an_account_with_rights_on_the_rows_only_can_run_it(server: MariaDB) -> None:
    """No setting of the script needs SUPER."""
    table = Table(SCHEMA, TABLE, (Column("id", "int"), Column("e", "enum", labels=("a",))), (0,))
    make(server, "id INT PRIMARY KEY, e ENUM('a')", "(1, 'a')")
    server.sql(f"CREATE OR REPLACE USER clerk; GRANT SELECT, INSERT, UPDATE, DELETE ON `{SCHEMA}`.* TO clerk")

    applied(server, script(table, [((1, 1), (1, 0)), (None, (2, 1))]), "--user=clerk")
    assert "1\t\n2\ta\n" == server.sql(f"SELECT * FROM `{TABLE}`", SCHEMA)
