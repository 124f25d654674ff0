"""What a real server says of tables and text, against what is read from it and from its dumps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
import os
from pathlib import Path
import re
from typing import Any

import pytest

from dblog_tasks.errors import InvalidInput, StorageError
from dblog_tasks.event import Column, Table
from dblog_tasks.mysql.catalog import SchemaTable, connect, live_catalog, read_schema
from dblog_tasks.mysql.charsets import BYTES_PER_CHARACTER, CODECS, charset_named, charset_of, decode_text
from tests.live.servers import MariaDB

FIXTURES = Path(os.environ.get("DBLOG_FIXTURES", Path(__file__).parents[3] / "shared" / "fixtures"))
SCENARIOS = sorted(str(path.relative_to(FIXTURES)).removesuffix(".tar.xz") for path in FIXTURES.glob("mariadb*/*.tar.xz"))
ODD = r"""
CREATE DATABASE odd CHARACTER SET utf8mb4; USE odd;
CREATE SEQUENCE sq;
CREATE TABLE `t odd``name;` (id int DEFAULT (1+2), `s;'"` varchar(20) DEFAULT (_utf8mb4'a' COLLATE utf8mb4_bin) COMMENT 'a, b)''--',
  u uuid DEFAULT uuid(), t datetime DEFAULT (now() + INTERVAL 1 DAY), x int DEFAULT -1, y varchar(9) DEFAULT concat('a;b',char(39)),
  z timestamp(3) NOT NULL DEFAULT now(3) ON UPDATE now(3), e enum('a\\b','it''s','x
y','日本') CHARACTER SET utf8mb3, p text COMPRESSED, v int INVISIBLE DEFAULT (abs(3)), g int AS (id+1) PERSISTENT UNIQUE,
  h int AS (id) VIRTUAL, k int CHECK (k > 0), dd date DEFAULT DATE'2001-01-01', bb bit(3) DEFAULT b'101', hh binary(3) DEFAULT x'410000',
  n int NOT NULL DEFAULT NEXT VALUE FOR sq, cb char(3) CHARACTER SET binary, t2 text(1000), t3 blob(70000), t4 nchar(3),
  dp double precision, nn numeric, fl float(30), yy year, ss set('a','b') CHARACTER SET koi8r NOT NULL, zf int(5) zerofill,
  ge polygon NOT NULL, b4 inet4, b6 inet6, js json, UNIQUE KEY two (n, ss), KEY (x), SPATIAL KEY (ge));
CREATE TABLE bytes (a char(3), b varchar(9), c mediumtext, e enum('x'), PRIMARY KEY (a, b)) CHARSET=binary;
CREATE TABLE latin (a char(3) PRIMARY KEY, b varchar(9) COLLATE utf8mb4_uca1400_ai_ci) COLLATE=latin1_bin COMMENT='CHARSET=utf8';
CREATE TABLE periods (id int, s date, e date, PERIOD FOR p (s, e), PRIMARY KEY (id, p WITHOUT OVERLAPS));
CREATE TABLE versions (id int PRIMARY KEY, v int, s timestamp(6) GENERATED ALWAYS AS ROW START INVISIBLE,
  e timestamp(6) GENERATED ALWAYS AS ROW END, w int WITHOUT SYSTEM VERSIONING, PERIOD FOR SYSTEM_TIME (s, e)) WITH SYSTEM VERSIONING;
CREATE TABLE parts (a int, b int, PRIMARY KEY (b, a)) PARTITION BY HASH (a) PARTITIONS 3;
CREATE VIEW v AS SELECT 1 AS one, 'CREATE TABLE x (a int);' AS two;
CREATE EVENT ev ON SCHEDULE EVERY 1 YEAR DISABLE DO SELECT ';';
CREATE FUNCTION f() RETURNS int DETERMINISTIC RETURN 1;
"""
ROUTINES = """
delimiter //
CREATE PROCEDURE odd.p() BEGIN CREATE TABLE inside (a int); /* ; */ SELECT 1; END//
CREATE TRIGGER odd.tr BEFORE INSERT ON odd.parts FOR EACH ROW BEGIN SET NEW.a = 1; /* ;; */ SET @x = ';;'; END//
delimiter ;
"""


@pytest.fixture(scope="module")
def ask(mariadb: MariaDB) -> Iterator[Callable[[str], list[tuple[Any, ...]]]]:
    """`ask(sql)` returns the rows of a query to the shared server."""
    with closing(connect(dsn(mariadb))) as connection, connection.cursor() as cursor:

        def rows(sql: str, values: list[tuple[bytes]] | None = None) -> list[tuple[Any, ...]]:
            _ = cursor.execute(sql) if values is None else cursor.executemany(sql, values)
            return list(cursor.fetchall())

        yield rows


def dsn(server: MariaDB, user: str = "root", schema: str = "") -> str:
    """Return the DSN of a server."""
    return f"mysql://{user}@localhost/{schema}?unix_socket={server.socket}"


@pytest.fixture
def odd(mariadb: MariaDB) -> Iterator[MariaDB]:
    """The shared server with a database of everything odd."""
    mariadb.sql("DROP DATABASE IF EXISTS odd;" + ODD + ROUTINES)
    yield mariadb
    mariadb.sql("DROP DATABASE odd")


# ---- tables


def described(ask: Callable[[str], list[tuple[Any, ...]]], schema: str, name: str) -> SchemaTable:
    """Return a table as information_schema has it: an account of it that owes nothing to CREATE TABLE."""
    where = f"WHERE TABLE_SCHEMA = '{schema}' AND TABLE_NAME = '{name.replace(chr(39), chr(39) * 2)}'"
    columns = ask(
        "SELECT COLUMN_NAME, COLUMN_TYPE, CHARACTER_SET_NAME, IS_NULLABLE, EXTRA, GENERATION_EXPRESSION"
        f" FROM information_schema.COLUMNS {where} ORDER BY ORDINAL_POSITION"
    )
    parts = ask(f"SELECT INDEX_NAME, COLUMN_NAME, NULLABLE, SEQ_IN_INDEX FROM information_schema.STATISTICS {where} AND NOT NON_UNIQUE")
    names = [column[0] for column in columns]
    keys = {part[0]: sorted((p[3], names.index(p[1]), p[2]) for p in parts if p[0] == part[0]) for part in parts}
    usable = {name: tuple(place for _, place, _ in key) for name, key in keys.items() if not any(null == "YES" for _, _, null in key)}
    key = usable.get("PRIMARY") or next(iter(usable.values()), ())
    made = tuple(plain(column, kind, charset, extra, expression) for column, kind, charset, _, extra, expression in columns)
    return SchemaTable(Table(schema, name, made, key), tuple(column[3] == "YES" for column in columns))


def plain(name: str, type: str, charset: str | None, extra: str, expression: str | None) -> Column:  # noqa: A002 - its column
    """Return a column from the words of information_schema."""
    base, _, rest = type.partition("(")
    base = base.split()[0]
    sizes = "(" + rest.split(")")[0] + ")" if base in ("char", "varchar", "binary", "varbinary", "decimal", "bit") else ""
    if base in ("time", "datetime", "timestamp") and rest:
        sizes = f"({rest[0]})"
    labels = re.findall(r"'((?:[^']|'')*)'", rest) if base in ("enum", "set") else []
    geometry = base in ("point", "polygon", "linestring", "geometrycollection") or base.startswith("multi")
    binary = base.endswith(("binary", "blob")) or (labels and charset is None)
    return Column(
        name,
        ("geometry" if geometry else base) + sizes,
        unsigned="unsigned" in type,
        charset="binary" if binary else charset or "",
        labels=tuple(label.replace("''", "'").replace("\\\\", "\\").replace("\\n", "\n") for label in labels),
        generated=bool(expression),
        auto_update="on update" in extra.lower(),
    )


def assert_as_described(server: MariaDB, ask: Callable[[str], list[tuple[Any, ...]]], schema: str) -> None:
    """Ensure that catalog, dump and information_schema agree about every table of a schema."""
    live = live_catalog(dsn(server, schema=schema))
    dumped = read_schema(server.schema_sql(schema))
    hidden = {name for name, known in live.tables.items() if known.table.columns[-1].name == "row_end"}  # not in information_schema

    assert not live.unreadable
    assert live.tables == dumped.tables
    for name in live.tables.keys() - hidden:
        known, expected = live.tables[name], described(ask, *name)
        assert expected.table.columns == known.table.columns
        assert (name, expected.nullable, sorted(expected.table.key)) == (name, known.nullable, sorted(known.table.key))


def test_catalog_is_what_information_schema_says(odd: MariaDB, ask: Callable[[str], list[tuple[Any, ...]]]) -> None:
    """Every column of a table of all that is odd: name, type, character set, members, NULL, key."""
    assert_as_described(odd, ask, "odd")


def test_dump_with_routines_is_read(odd: MariaDB) -> None:
    """A whole dump, with views, triggers, routines, events and data, gives the tables of the server."""
    odd.sql("INSERT INTO parts VALUES (1, 2)", "odd")
    dump = odd._dump("--routines", "--events", "--triggers", "--databases", "odd")

    assert "BEGIN SET NEW.a" in dump
    assert "INSERT INTO" in dump
    assert live_catalog(dsn(odd, schema="odd")).tables == read_schema(dump).tables


@pytest.mark.parametrize("name", SCENARIOS)
def test_fixture_schema_is_what_the_server_makes_of_it(
    name: str, scenario: Callable[[str], Path], mariadb: MariaDB, ask: Callable[[str], list[tuple[Any, ...]]]
) -> None:
    """The last schema of a recorded scenario, loaded and asked for again, is the same in file, dump and information_schema."""
    text = (scenario(name) / "after.schema.sql").read_text()
    text = re.sub(r"CREATE TABLE `sq` .*?;\n", "CREATE SEQUENCE `sq`;\n", text, flags=re.DOTALL)
    schema = re.findall(r"^USE `(\w+)`", text, re.MULTILINE)[0]
    order = sorted(re.split(r"(?<=;)\n+(?=CREATE (?:TABLE|SEQUENCE))", text), key=lambda part: "REFERENCES" in part or "nextval" in part)
    try:
        mariadb.sql("SET foreign_key_checks = 0;" + "\n".join(order))
        assert read_schema(text).tables == live_catalog(dsn(mariadb, schema=schema)).tables
        assert_as_described(mariadb, ask, schema)
    finally:
        mariadb.sql(f"DROP DATABASE IF EXISTS {schema}")


def test_what_an_account_may_not_see_is_told(odd: MariaDB) -> None:
    """A table whose columns are hidden, and a schema that is, raise an error with the right to grant; a dropped one is not there."""
    odd.sql(
        "CREATE DATABASE other; CREATE TABLE other.t (a int);"
        "CREATE USER blind, one_column, whole; GRANT SELECT (a) ON odd.parts TO one_column; GRANT SELECT ON odd.* TO whole"
    )
    try:
        blind, column, whole = (live_catalog(dsn(odd, user)) for user in ("blind", "one_column", "whole"))
        assert (set(), {("odd", "parts")}) == (set(blind.tables), set(column.unreadable))
        assert ("odd", "parts") in whole.tables
        assert whole.find("odd", "gone") is None
        for known, schema, table in ((blind, "odd", "parts"), (column, "odd", "bytes"), (whole, "other", "t")):
            with pytest.raises(InvalidInput, match=f"GRANT SELECT ON `{schema}`"):
                known.find(schema, table)
        with pytest.raises(InvalidInput, match=r"odd\.parts cannot be described: .*denied"):
            column.find("odd", "parts")
        assert live_catalog(dsn(odd)).find("other", "gone") is None
        with pytest.raises(InvalidInput, match="name no other schema in the DSN"):
            live_catalog(dsn(odd, schema="odd")).find("other", "t")
    finally:
        odd.sql("DROP DATABASE other; DROP USER blind, one_column, whole")


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_refused_connection_is_told(mariadb: MariaDB, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's own words, the address, no password; the password comes from where it should."""
    mariadb.sql("CREATE USER keeper IDENTIFIED BY 'hunter2'")
    try:
        with pytest.raises(StorageError, match=r"^mysql://keeper@localhost/: cannot connect: 1045 Access denied") as raised:
            live_catalog(dsn(mariadb, "keeper"), "hunter")
        assert "hunter" not in str(raised.value)
        with pytest.raises(StorageError, match="1049 Unknown database 'none'"):
            live_catalog(dsn(mariadb, schema="none"))
        for environment in ({"SECRET": "hunter2"}, {"MYSQL_PWD": "hunter2"}, {"DBLOG_PASSWORD": "hunter2", "MYSQL_PWD": "wrong"}):
            with monkeypatch.context() as patch:
                for name, value in environment.items():
                    patch.setenv(name, value)
                connect(dsn(mariadb, "keeper") + ("&password=env:SECRET" if "SECRET" in environment else "")).close()
    finally:
        mariadb.sql("DROP USER keeper")


# ---- text


def test_collations_of_the_server_are_known(ask: Callable[[str], list[tuple[Any, ...]]]) -> None:
    """Every collation id and name has the character set, and every character set the size, that the server says."""
    collations = ask("SELECT ID, FULL_COLLATION_NAME, CHARACTER_SET_NAME FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY")
    sizes = dict(ask("SELECT CHARACTER_SET_NAME, MAXLEN FROM information_schema.CHARACTER_SETS"))

    assert len(collations) > 300
    assert [] == [row for row in collations if row[2] not in (charset_of(row[0]), *([charset_named(row[1])] if row[1] else []))]
    assert sizes == {charset: BYTES_PER_CHARACTER[charset] for charset in sizes}


@pytest.fixture(scope="module")
def sequences(ask: Callable[..., list[tuple[Any, ...]]]) -> Iterator[None]:
    """A table of all sequences of one byte, of two from 0x80 on, and a sample of longer ones."""
    short = [bytes([byte]) for byte in range(256)]
    pairs = [bytes([lead, trail]) for lead in range(0x80, 256) for trail in range(256)]
    triples = [
        bytes([lead, *rest]) for lead in (0x8E, 0x8F, 0xE3, 0xEF) for rest in zip(range(0x80, 0xFF), range(0xFE, 0x7F, -1), strict=True)
    ]
    quads = [f"{number:08x}" for number in (0x41, 0xE9, 0x20AC, 0x65E5, 0xFFFF, 0x1F600, 0xD83DDE00, 0x3DD800DE, 0xF09F9880, 0x81308130)]
    ask("CREATE DATABASE texts")
    ask("CREATE TABLE texts.t (v varbinary(4) PRIMARY KEY)")
    ask("INSERT INTO texts.t VALUES (%s)", [(data,) for data in {*short, *pairs, *triples, *map(bytes.fromhex, quads)}])
    yield
    ask("DROP DATABASE texts")


@pytest.mark.parametrize("charset", sorted(CODECS.keys() - {"gb18030"}))  # MariaDB has no gb18030
def test_text_is_what_the_server_reads(charset: str, sequences: None, ask: Callable[[str], list[tuple[Any, ...]]]) -> None:
    """Bytes that become text here are this very text to the server, which writes it as these bytes; all others stay bytes."""
    size = 4 if BYTES_PER_CHARACTER[charset] > 1 else 1
    text = f"CONVERT(CONVERT(v USING {charset}) USING utf8mb4)"
    wrong = [
        (data, decode_text(data, charset), read)
        for data, read, written in ask(
            f"SELECT v, CAST({text} AS BINARY), CAST(CONVERT({text} USING {charset}) AS BINARY) FROM texts.t WHERE LENGTH(v) <= {size}"
        )
        if isinstance(found := decode_text(data, charset), str) and (found.encode(), data) != (read, written)
    ]

    assert [] == wrong
