"""Schema files: what CREATE TABLE statements say of columns, and whether a log speaks of the same ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import gc
import os
from pathlib import Path

from hypothesis import given, settings, strategies as st
import pytest

from dblog_tasks.errors import DblogError, InvalidInput, SchemaMismatch, StorageError
from dblog_tasks.event import Column
from dblog_tasks.mysql import binlog, catalog, table_map as wire
from dblog_tasks.mysql.catalog import Catalog, SchemaTable, connect, live_catalog, read_schema
from dblog_tasks.mysql.table_map import TableMap, read_table_map

FIXTURES = Path(os.environ.get("DBLOG_FIXTURES", Path(__file__).parents[3] / "shared" / "fixtures"))
SCENARIOS = sorted(str(path.relative_to(FIXTURES)).removesuffix(".tar.xz") for path in FIXTURES.glob("m[ya][sr][qi][la]*/*.tar.xz"))
CORPUS = Path(__file__).parents[1] / "corpus"
TEXT, BINARY = "utf8mb4", "binary"


def column_of(definition: str, options: str = "DEFAULT CHARSET=utf8mb4") -> Column:
    """Return the column `c` of a table that is made with this definition."""
    (column,) = only(f"CREATE TABLE t (c {definition}) {options}").table.columns
    return column


def only(text: str) -> SchemaTable:
    """Return the one table of a schema file."""
    (table,) = read_schema(text).tables.values()
    return table


def key_of(body: str) -> tuple[str, ...]:
    """Return the names of a table's key."""
    table = only(f"CREATE TABLE t ({body}) CHARSET=latin1").table
    return tuple(table.columns[place].name for place in table.key)


@pytest.mark.parametrize(
    ("definition", "type", "charset"),
    [
        ("tinyint(4)", "tinyint", ""),
        ("BOOL", "tinyint", ""),
        ("boolean NOT NULL", "tinyint", ""),
        ("smallint(6)", "smallint", ""),
        ("mediumint", "mediumint", ""),
        ("int(11) DEFAULT NULL", "int", ""),
        ("INTEGER", "int", ""),
        ("bigint(20)", "bigint", ""),
        ("decimal(12,2)", "decimal(12,2)", ""),
        ("decimal", "decimal(10,0)", ""),
        ("numeric(7)", "decimal(7,0)", ""),
        ("float", "float", ""),
        ("float(7,4)", "float", ""),
        ("float(24)", "float", ""),
        ("float(25)", "double", ""),
        ("double precision", "double", ""),
        ("real", "double", ""),
        ("bit", "bit(1)", ""),
        ("bit(33)", "bit(33)", ""),
        ("year(4)", "year", ""),
        ("date DEFAULT DATE'2001-01-01'", "date", ""),
        ("time", "time", ""),
        ("time(3) /* mariadb-5.3 */", "time(3)", ""),
        ("datetime(0)", "datetime", ""),
        ("datetime(6)", "datetime(6)", ""),
        ("timestamp(6) NULL", "timestamp(6)", ""),
        ("char", "char(1)", TEXT),
        ("char(3)", "char(3)", TEXT),
        ("char(3) CHARACTER SET ascii COLLATE ascii_bin", "char(3)", "ascii"),
        ("char(3) COLLATE koi8r_bin", "char(3)", "koi8r"),
        ("char(3) CHARSET utf8", "char(3)", "utf8mb3"),
        ("char(3) ASCII", "char(3)", "latin1"),
        ("char(3) BYTE", "binary(3)", BINARY),
        ("char(3) CHARACTER SET binary", "binary(3)", BINARY),
        ("national char(3)", "char(3)", "utf8mb3"),
        ("nvarchar(9)", "varchar(9)", "utf8mb3"),
        ("character varying(9)", "varchar(9)", TEXT),
        ("varchar(80) /*M!100301 COMPRESSED*/ DEFAULT NULL", "varchar(80)", TEXT),
        ("varbinary(1000) COMPRESSED=zlib", "varbinary(1000)", BINARY),
        ("binary(16)", "binary(16)", BINARY),
        ("tinytext", "tinytext", TEXT),
        ("text", "text", TEXT),
        ("text(63)", "tinytext", TEXT),
        ("text(16384)", "mediumtext", TEXT),
        ("long varchar", "mediumtext", TEXT),
        ("longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin DEFAULT NULL CHECK (json_valid(`c`))", "longtext", TEXT),
        ("blob", "blob", BINARY),
        ("blob(70000)", "mediumblob", BINARY),
        ("longblob", "longblob", BINARY),
        ('json DEFAULT (json_array(1,\')\',"a\\"b"))', "json", TEXT),
        ("geometry", "geometry", ""),
        ("point NOT NULL /*!80003 SRID 4326 */", "geometry", ""),
        ("geometrycollection DEFAULT NULL", "geometry", ""),
        ("geomcollection", "geometry", ""),
        ("uuid DEFAULT uuid()", "uuid", ""),
        ("inet6", "inet6", ""),
        ("inet4", "inet4", ""),
        ("vector(2048)", "vector", ""),
    ],
)
def test_type_has_one_name(definition: str, type: str, charset: str) -> None:  # noqa: A002 - the column's word for it
    """However a type is written, it is named as servers print it, without display width, with the character set that holds."""
    assert (type, charset) == (column_of(definition).type, column_of(definition).charset)


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        ("int(10) unsigned zerofill", Column("c", "int", unsigned=True, auto_update=False)),
        ("serial", Column("c", "bigint", unsigned=True, auto_update=False)),
        ("int GENERATED ALWAYS AS ((`a` + 1)) STORED NOT NULL", Column("c", "int", generated=True, auto_update=False)),
        ("int AS (if(a,'),',2)) virtual COMMENT 'x, y)'", Column("c", "int", generated=True, auto_update=False)),
        ("int DEFAULT '7' /*!80023 INVISIBLE */", Column("c", "int", auto_update=False)),
        ("int(11) NOT NULL DEFAULT nextval(`ms`.`sq`)", Column("c", "int", auto_update=False)),
        ("int DEFAULT -1 REFERENCES p (id) ON DELETE SET NULL ON UPDATE CASCADE", Column("c", "int", auto_update=False)),
        ("datetime(3) DEFAULT (now() + interval 1 day)", Column("c", "datetime(3)", auto_update=False)),
        ("datetime DEFAULT now() ON UPDATE now()", Column("c", "datetime", auto_update=True)),
        (
            "timestamp(6) NOT NULL DEFAULT current_timestamp(6) ON UPDATE current_timestamp(6)",
            Column("c", "timestamp(6)", auto_update=True),
        ),
        ("timestamp", Column("c", "timestamp", auto_update=None)),
        ("timestamp NULL DEFAULT NULL", Column("c", "timestamp", auto_update=False)),
        (
            r"enum('','it''s','co\"m,ma','日本','back\\slash','x\ny  ') CHARACTER SET utf8mb3 NOT NULL DEFAULT 'it''s'",
            Column("c", "enum", charset="utf8mb3", labels=("", "it's", 'co"m,ma', "日本", "back\\slash", "x\ny"), auto_update=False),
        ),
        ("set('a','b') DEFAULT _utf8mb4'a' COMMENT 'no, really'", Column("c", "set", charset=TEXT, labels=("a", "b"), auto_update=False)),
        ("varchar(9) DEFAULT concat('a;b',char(39)) CHECK (c > 'x')", Column("c", "varchar(9)", charset=TEXT, auto_update=False)),
        ("varchar(9) COLUMN_FORMAT DYNAMIC STORAGE MEMORY foo=bar", Column("c", "varchar(9)", charset=TEXT, auto_update=False)),
        ("int CONSTRAINT positive CHECK (c > 0) NOT ENFORCED UNIQUE KEY", Column("c", "int", auto_update=False)),
    ],
)
def test_attributes_of_a_column(definition: str, expected: Column) -> None:
    """What matters for rows is read from among all that a definition may say."""
    assert expected == column_of(definition)


@pytest.mark.parametrize(
    ("body", "key"),
    [
        ("a int, b int, PRIMARY KEY (b, a)", ("b", "a")),
        ("a int PRIMARY KEY, b int", ("a",)),
        ("a int KEY", ("a",)),
        ("`A` int, PRIMARY KEY USING BTREE (`a` DESC)", ("A",)),
        ("k varchar(200), CONSTRAINT x PRIMARY KEY (k(10)) COMMENT 'by (ten)'", ("k",)),
        ("a int, UNIQUE KEY u (a)", ()),
        ("a int, b int NOT NULL, UNIQUE u (a), UNIQUE INDEX v (b) USING HASH, UNIQUE (b, a)", ("b",)),
        ("a int NOT NULL, UNIQUE KEY f ((a + 1))", ()),
        ("a int NOT NULL, b int NOT NULL, UNIQUE KEY f (a, (b + 1)), CONSTRAINT UNIQUE (b)", ("b",)),
        ("a int NOT NULL UNIQUE", ("a",)),
        ("id int, s date, e date, PERIOD FOR p (s, e), PRIMARY KEY (id, p WITHOUT OVERLAPS)", ("id", "s", "e")),
        ("a int NOT NULL, KEY x (a), INDEX (a), FULLTEXT KEY (a), SPATIAL KEY (a), CHECK (a > 0)", ()),
        ("a int NOT NULL, CONSTRAINT f FOREIGN KEY (a) REFERENCES p (a) ON DELETE CASCADE", ()),
        ("period int NOT NULL, vector int, UNIQUE (period)", ("period",)),
    ],
)
def test_key_is_primary_or_unique_and_not_null(body: str, key: tuple[str, ...]) -> None:
    """The key is what tells rows apart: never one that can be NULL or is computed."""
    assert key == key_of(body)


def test_nullable_columns() -> None:
    """A column can be NULL unless it says otherwise or is in the primary key."""
    assert (False, False, True, True) == only("CREATE TABLE t (a int, b int NOT NULL, c int, d int NULL, PRIMARY KEY (a))").nullable


def test_row_versions_are_columns_of_the_log() -> None:
    """MariaDB logs the two columns it hides in a table WITH SYSTEM VERSIONING; the last one tells old versions of a row apart."""
    hidden = only("CREATE TABLE t (id int NOT NULL, PRIMARY KEY (id)) WITH SYSTEM VERSIONING")
    shown = only(
        "CREATE TABLE t (id int, s timestamp(6) GENERATED ALWAYS AS ROW START INVISIBLE, e timestamp(6) GENERATED ALWAYS AS ROW END,"
        " w int WITHOUT SYSTEM VERSIONING, PRIMARY KEY (id, e), PERIOD FOR SYSTEM_TIME (s, e)) WITH SYSTEM VERSIONING"
    )

    assert [("id", False), ("row_start", True), ("row_end", True)] == [(column.name, column.generated) for column in hidden.table.columns]
    assert ((0, 2), (False, False, False)) == (hidden.table.key, hidden.nullable)
    assert ((0, 2), 4) == (shown.table.key, len(shown.table.columns))


DUMP = r"""-- it's a dump
/*M!999999\- enable the sandbox mode */
/*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */;
CREATE DATABASE /*!32312 IF NOT EXISTS*/ `shop` /*!40100 DEFAULT CHARACTER SET latin1 */;
USE `shop`;
DROP TABLE IF EXISTS `odd ``name`, other;
CREATE TABLE `odd ``name` (`a;b` int /* ; */, `c` varchar(3) -- ;
) # ; '
/*!50100 PARTITION BY RANGE (`a;b`)
(PARTITION p1 VALUES LESS THAN (2010) ENGINE = InnoDB) */;
LOCK TABLES `odd ``name` WRITE;
/*!40000 ALTER TABLE `odd ``name` DISABLE KEYS */;
INSERT INTO `odd ``name` VALUES (1,'CREATE TABLE x (a int);\'"'),(2,"--");
UNLOCK TABLES;
/*!50001 CREATE TABLE `view1` (`a` tinyint NOT NULL) ENGINE=MyISAM */;
DELIMITER ;;
/*!50003 CREATE*/ /*!50017 DEFINER=`root`@`local host`*/ /*!50003 TRIGGER tr BEFORE INSERT ON t FOR EACH ROW BEGIN
  SET NEW.a = 1; /* inner */ SET @delimiter = ';;';
END */;;
CREATE DEFINER=`root`@`%` PROCEDURE p() BEGIN CREATE TABLE inside (a int); END ;;
delimiter ;
CREATE ALGORITHM=UNDEFINED DEFINER=`root`@`localhost` SQL SECURITY DEFINER VIEW v AS SELECT 1;
/*!50001 DROP TABLE IF EXISTS `view1`*/;
CREATE OR REPLACE TABLE other.t (
delimiter int, c char(1)) COLLATE=utf8mb4_bin;
CREATE TABLE IF NOT EXISTS other.t (x int);
CREATE TEMPORARY TABLE gone (a int);
CREATE SEQUENCE `sq` start with 1 minvalue 1 maxvalue 9 increment by 1 cache 1000 nocycle ENGINE=InnoDB;
DO SETVAL(`sq`, 1, 0);
CREATE DATABASE dropped; CREATE TABLE dropped.t (a int); DROP DATABASE dropped"""


def test_dump_is_read_as_a_client_would() -> None:
    """Comments, quotes, delimiters and conditional comments are what they are to a server; only tables are kept."""
    tables = read_schema(DUMP).tables

    assert [("shop", "odd `name"), ("other", "t"), ("shop", "sq")] == list(tables)
    assert [("a;b", "int", ""), ("c", "varchar(3)", "latin1")] == [
        (column.name, column.type, column.charset) for column in tables["shop", "odd `name"].table.columns
    ]
    assert ["delimiter", "c"] == [column.name for column in tables["other", "t"].table.columns]
    assert 8 == len(tables["shop", "sq"].table.columns)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("CREATE TABLE a LIKE b", "table a: CREATE TABLE … LIKE"),
        ("USE s;\nCREATE TABLE a (LIKE b)", "line 2, table s.a: CREATE TABLE … LIKE"),
        ("CREATE TABLE a (x int) AS SELECT 1", "table a: a table made of a query"),
        ("CREATE TABLE a SELECT 1", "table a: 'SELECT' found"),
        ("\n\nALTER TABLE a ADD x int", "line 3: a statement that is not followed: ALTER TABLE a ADD x int"),
        ("RENAME TABLE a TO b", "not followed"),
        ("CREATE UNIQUE INDEX a ON b (c)", "not followed"),
        ("hello", "not followed: hello"),
        ("CREATE TABLE a (x money)", "table a, column x: 'money' found, a type that is known expected"),
        ("CREATE TABLE a (x int sparkling)", "table a, column x: 'sparkling' found, a column attribute"),
        ("CREATE TABLE a (x int,", "table a: 'the end' found, a name expected"),
        ("CREATE TABLE a (x int", "column x: 'the end' found"),
        ("CREATE TABLE a (x int NOT)", "column x: ')' found, NULL expected"),
        ("CREATE TABLE a (x char(3))", "column x: the character set is not stated"),
        ("CREATE TABLE a (x char(3) CHARACTER SET klingon)", "column x: 'klingon' is no character set"),
        ("CREATE TABLE a (x varchar) CHARSET=utf8mb4", "column x: a varchar needs a length"),
        ("CREATE TABLE a (x enum) CHARSET=utf8mb4", "column x: an enum needs members"),
        ("CREATE TABLE a (x int(99999999999))", "column x: '99999999999' found, a number"),
        ("CREATE TABLE a (x int, X int)", "table a: a table needs columns, each of another name"),
        ("CREATE TABLE a (PRIMARY KEY (x), y int)", "table a: a key is over 'x', which is no column"),
        ("CREATE TABLE a (x int); CREATE TABLE a (x int)", "table a: the table is defined twice"),
        ("CREATE SEQUENCE s AS INT", "a sequence of another type"),
        ("SELECT '\n", "line 1: ' is not ended"),
        ("SELECT 1;\n/* ", "line 2: /* is not ended"),
        ("SELECT 1;\n/*!50000 SET a", "line 2: /*! is not ended"),
    ],
)
def test_what_is_not_understood_is_told(text: str, message: str) -> None:
    """Whatever could change what a column is raises an error that names line, table and column."""
    with pytest.raises(InvalidInput) as raised:
        read_schema(text)

    assert message in str(raised.value)


def test_file_without_schemas_stands_for_every_schema() -> None:
    """A dump of one database names no schema: its tables are found by name, unless the file knows better."""
    plain = read_schema("CREATE TABLE t (a int)")
    both = read_schema("CREATE TABLE t (a int); USE s; CREATE TABLE t (b int)")
    named = read_schema("CREATE TABLE t (a int)", "s")

    assert ("s", "a") == tell(plain, "s", "t")
    assert ("s", "b") == tell(both, "s", "t")
    assert ("s", "a") == tell(named, "s", "t")
    assert [None, None, None] == [plain.find("s", "T"), both.find("other", "t"), named.find("other", "t")]


def tell(known: Catalog, schema: str, name: str) -> tuple[str, str]:
    """Return the schema and the first column of a table that is found."""
    found = known.find(schema, name)
    assert found is not None
    return found.table.schema, found.table.columns[0].name


def test_unseen_is_not_absent() -> None:
    """What an account may not see raises an error; None is said only where all can be seen."""
    known = Catalog({}, {("s", "t"): "SELECT command denied"}, frozenset({"s"}))

    assert known.find("s", "other") is None
    with pytest.raises(InvalidInput, match=r"s\.t cannot be described: SELECT command denied"):
        known.find("s", "t")
    with pytest.raises(InvalidInput, match=r"hidden\.t is not to be seen.*GRANT SELECT ON `hidden`"):
        known.find("hidden", "t")


# ---- against logs


def table_maps(log: Path) -> Iterator[TableMap]:
    """Yield the table maps of a log file, one of each kind."""
    bodies = {frame.body[8:]: None for frame in binlog.frames([log.read_bytes()], log.name) if frame.type == binlog.TABLE_MAP}
    return (read_table_map(body, log.name) for body in bodies)


def layout(table: TableMap) -> list[tuple[int, int]]:
    """Return a table map's columns as `check` takes them."""
    return [(column.code, column.meta) for column in table.columns]


def fits(known: SchemaTable | None, logged: TableMap) -> bool:
    """Return whether the log's table is the schema's: in layout and in all else the log says."""
    if known is None:
        return False
    try:
        known.check(layout(logged), "log")
    except SchemaMismatch:
        return False
    return all(
        (theirs.name is None or theirs.name == ours.name)
        and (not theirs.unsigned or ours.unsigned)
        and (theirs.labels is None or theirs.labels == ours.labels)
        and (theirs.charset is None or theirs.charset == (ours.charset or "binary"))
        and theirs.nullable == nullable
        for theirs, ours, nullable in zip(logged.columns, known.table.columns, known.nullable, strict=True)
    )


@pytest.mark.parametrize("log", sorted(CORPUS.rglob("*.00000?")), ids=lambda log: str(log.relative_to(CORPUS)))
def test_corpus_speaks_of_its_schema(log: Path) -> None:
    """Every table of a log is the one its schema file describes."""
    schema = next(parent / "schema.sql" for parent in log.parents if (parent / "schema.sql").exists())
    known = read_schema(schema.read_text())
    logged = list(table_maps(log))

    assert logged
    assert [] == [f"{table.schema}.{table.name}" for table in logged if not fits(known.find(table.schema, table.name), table)]


@pytest.mark.parametrize("name", SCENARIOS)
def test_fixture_speaks_of_its_schema(name: str, scenario: Callable[[str], Path]) -> None:
    """Every schema file of a recorded scenario is read, and every table of its logs is one of its time."""
    folder = scenario(name)
    catalogs = [read_schema(text) for text in {path.read_text() for path in folder.glob("*.schema.sql")}]
    logged = [table for log in sorted(folder.glob("*.00000?")) for table in table_maps(log)]
    unfit = {
        f"{table.schema}.{table.name}"
        for table in logged
        if not any(fits(known.find(table.schema, table.name), table) for known in catalogs)
    }

    assert catalogs or name.endswith("corrupt")
    assert unfit <= BETWEEN_DUMPS.get(Path(name).name, set())


# Tables that were made and dropped between two dumps.
BETWEEN_DUMPS = {"ddl_in_window": {"other.x"}}


EVERY_TYPE = """
CREATE TABLE t (a tinyint, b smallint, c mediumint, d int, e bigint, f float, g double, h decimal(12,2), i bit(9), j year, k date,
l time, m datetime(3), n timestamp(6), o char(3), p char(255), q varchar(80), r binary(16), s varbinary(7), t tinytext, u text,
v mediumblob, w longtext, x json, y enum('a','b'), z set('a','b','c','d','e','f','g','h','i'), aa geometry, bb uuid, cc inet4,
dd vector(3)) CHARSET=utf8mb4"""
AS_LOGGED = [
    (wire.TINY, 0),
    (wire.SHORT, 0),
    (wire.INT24, 0),
    (wire.LONG, 0),
    (wire.LONGLONG, 0),
    (wire.FLOAT, 4),
    (wire.DOUBLE, 8),
    (wire.NEWDECIMAL, 12 << 8 | 2),
    (wire.BIT, 9),
    (wire.YEAR, 0),
    (wire.DATE, 0),
    (wire.TIME2, 0),
    (wire.DATETIME2, 3),
    (wire.TIMESTAMP2, 6),
    (wire.STRING, 12),
    (wire.STRING, 1020),
    (wire.VARCHAR, 320),
    (wire.STRING, 16),
    (wire.VARCHAR, 7),
    (wire.BLOB, 1),
    (wire.BLOB, 2),
    (wire.BLOB, 3),
    (wire.BLOB, 4),
    (wire.JSON, 4),
    (wire.ENUM, 1),
    (wire.SET, 2),
    (wire.GEOMETRY, 4),
    (wire.STRING, 16),
    (wire.STRING, 4),
    (wire.VECTOR, 4),
]
# Pairs of columns of this table that a log cannot tell apart, and JSON, which on MariaDB is a LONGTEXT.
ALIKE = {frozenset({"r", "bb"}), frozenset({"w", "x"}), frozenset({"dd", "q"})}
OTHER_CODES = {
    (wire.TIME2, 0): (wire.TIME, 0),
    (wire.DATETIME2, 3): (wire.DATETIME, 0),
    (wire.TIMESTAMP2, 6): (wire.TIMESTAMP, 0),
    (wire.DATE, 0): (wire.NEWDATE, 0),
    (wire.VARCHAR, 320): (wire.VARCHAR_COMPRESSED, 321),
    (wire.BLOB, 2): (wire.BLOB_COMPRESSED, 2),
    (wire.JSON, 4): (wire.BLOB, 4),
    (wire.VECTOR, 4): (wire.VARCHAR, 12),
}


def test_every_type_is_known_in_a_log() -> None:
    """Each type has its code and metadata, and those of old formats and of MariaDB."""
    known = only(EVERY_TYPE)

    known.check(AS_LOGGED, "log")
    known.check([OTHER_CODES.get(column, column) for column in AS_LOGGED], "log")


@pytest.mark.parametrize("place", range(len(AS_LOGGED)), ids=lambda place: only(EVERY_TYPE).table.columns[place].type)
def test_another_column_is_refused(place: int) -> None:
    """A column of any other type or size does not pass for this one, and the error names it."""
    known = only(EVERY_TYPE)
    for other, logged in enumerate([*AS_LOGGED, (wire.NULL, 0), (wire.DECIMAL, 0), (20, 0)]):
        names = {known.table.columns[at].name for at in (place, other) if at < len(AS_LOGGED)}
        if logged == AS_LOGGED[place] or names in ALIKE:
            continue
        with pytest.raises(SchemaMismatch, match=rf"^log: table \.t, column {known.table.columns[place].name}: the log has "):
            known.check([*AS_LOGGED[:place], logged, *AS_LOGGED[place + 1 :]], "log")


@pytest.mark.parametrize("logged", [AS_LOGGED[:-1], [*AS_LOGGED, (wire.LONG, 0)], []], ids=["one less", "one more", "none"])
def test_another_number_of_columns_is_refused(logged: list[tuple[int, int]]) -> None:
    """A column more or less is another table."""
    with pytest.raises(SchemaMismatch, match=f"the log has {len(logged)} columns, the schema {len(AS_LOGGED)}"):
        only(EVERY_TYPE).check(logged, "log")


def test_mismatch_says_what_is_where() -> None:
    """The error has table, column, what the log says, what the schema says, the place and what to do."""
    known = read_schema("CREATE TABLE orders (id int, note varchar(80)) CHARSET=utf8mb4", "shop").tables["shop", "orders"]

    with pytest.raises(SchemaMismatch) as raised:
        known.check([(wire.LONG, 0), (wire.VARCHAR, 240)], "binlog.000007:4523")

    assert str(raised.value) == (
        "binlog.000007:4523: table shop.orders, column note: the log has varchar of 240 bytes,"
        " the schema varchar(80) (varchar of 320 bytes) (give a --schema of the time of the log)"
    )


# ---- whatever the input

WORDS = (
    "CREATE TABLE t ( ) , ; a b int varchar ( 3 ) enum ( 'a' ) NOT NULL DEFAULT PRIMARY KEY UNIQUE `q` \"d\" 'text' /* */ /*! /*!50001 */"
    " -- # DELIMITER $$ \n 1 . = - @ USE s CONSTRAINT CHECK PERIOD FOR AS ROW START WITH SYSTEM VERSIONING GENERATED ALWAYS ON UPDATE"
    " CHARACTER SET latin1 COLLATE LIKE SELECT DROP DATABASE SEQUENCE REFERENCES timestamp decimal float \udc80 \x00 { % {{ {% \\"
).split(" ")  # noqa: SIM905 - read as what it is


def reads(text: str) -> Catalog | None:
    """Return the catalog, or None after an error of this package."""
    try:
        return read_schema(text)
    except DblogError:
        return None


@given(st.text() | st.lists(st.sampled_from(WORDS), max_size=40).map(" ".join))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No text ends in another error."""
    reads(text)


@given(st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join), st.sampled_from(["(", "(a int", "(a enum(", "(a int,", "(a int)"]))
def test_any_table_is_read_or_refused(text: str, beginning: str) -> None:
    """No definition ends in another error."""
    reads(f"CREATE TABLE t {beginning} {text}")


SHOP = (CORPUS / "shop" / "schema.sql").read_text()


@given(st.integers(0, len(SHOP)), st.integers(0, 60))
def test_damaged_schema_is_read_or_refused(start: int, size: int) -> None:
    """A piece cut out of a schema file leaves tables or an error."""
    reads(SHOP[:start] + SHOP[start + size :])


@settings(max_examples=20)
@given(st.sampled_from(["CONSTRAINT ", "(", "a int,", "/*!50000 ", "`", "'", "/*!99999 ", "DEFAULT (", "(LIKE "]), st.integers(1, 4))
def test_depth_is_bounded(piece: str, magnitude: int) -> None:
    """However often something is nested or repeated, it is read or refused."""
    reads("CREATE TABLE t (" + piece * 10**magnitude)
    reads(piece * 10**magnitude)


# ---- DSNs


@pytest.mark.parametrize(
    ("dsn", "message"),
    [
        ("mysql://app:hunter2@db/shop", "holds a password"),
        ("mysql://app:@db/shop", "holds a password"),
        ("mysql://app@db/shop?password=hunter2", "holds a password"),
        ("mysql://app:12/hunter2@db/shop", "holds a password"),
        ("mysql://app:hunter2/x@db/shop", "no URL"),
        ("mysql://app@db:hunter2/shop", "no URL"),
        ("mysql://[hunter2/shop", "no URL"),
        ("app:hunter2@db/shop", "does not begin with mysql://"),
        ("", "does not begin with mysql://"),
        ("postgres://app@db/shop", "does not begin with mysql://"),
        ("mysql://app@db/shop?passwd=hunter2", "option 'passwd' is not known"),
        ("mysql://app@db/shop?connect_timeout=hunter2", "option 'connect_timeout' is not known or no number"),
        ("mysql://app@db/shop?password=env:DBLOG_NO_SUCH_VARIABLE", "no variable 'DBLOG_NO_SUCH_VARIABLE'"),
    ],
)
def test_dsn_that_cannot_be_used_is_refused(dsn: str, message: str) -> None:
    """A DSN with a password in it, or with anything unknown, is refused, and what may be a password is not shown."""
    with pytest.raises(InvalidInput) as raised:
        connect(dsn)

    assert message in str(raised.value)
    assert "hunter2" not in repr(raised.value) + str(raised.value)


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")  # PyMySQL leaves it to the garbage collector
def test_password_is_not_in_a_connection_error(tmp_path: Path) -> None:
    """A server that cannot be reached is told with its address, without the password."""
    with pytest.raises(StorageError) as raised:
        live_catalog(f"mysql://app@nowhere/shop?unix_socket={tmp_path}/hunter2", password="hunter2")  # noqa: S106 - to be hidden

    assert str(raised.value).startswith("mysql://app@nowhere/shop: cannot connect: 2003 ")
    assert "/***" in str(raised.value)
    assert "hunter2" not in repr(raised.value)
    del raised
    gc.collect()


@given(st.text().map("mysql://".__add__) | st.text())
def test_any_dsn_is_read_or_refused(dsn: str) -> None:
    """No DSN ends in another error."""
    try:
        parts = catalog._split(dsn)
        catalog._options(parts)
    except InvalidInput:
        return

    assert not parts.password
