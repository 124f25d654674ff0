"""CREATE TABLE statements: what dumps and people write, and what becomes of it."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings, strategies as st
import pytest

from dblog_tasks.errors import DblogError, InvalidInput
from dblog_tasks.event import Column
from dblog_tasks.mysql.catalog import Catalog, SchemaTable, read_schema

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


# ---- whatever the input

WORDS = r"""
CREATE TABLE t ( ) , ; a b int varchar ( 3 ) enum ( 'a' ) NOT NULL DEFAULT PRIMARY KEY UNIQUE `q` "d" 'text' /* */ /*! /*!50001 */
-- # DELIMITER $$ 1 . = - @ USE s CONSTRAINT CHECK PERIOD FOR AS ROW START WITH SYSTEM VERSIONING GENERATED ALWAYS ON UPDATE ' " `
CHARACTER SET latin1 COLLATE LIKE SELECT DROP DATABASE SEQUENCE REFERENCES timestamp decimal float { % {{ {% \
"""
PIECES = [*WORDS.split(), "\n", "\udc80", "\0"]


def reads(text: str) -> Catalog | None:
    """Return the catalog, or None after an error of this package."""
    try:
        return read_schema(text)
    except DblogError:
        return None


@given(st.text() | st.lists(st.sampled_from(PIECES), max_size=40).map(" ".join))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No text ends in another error."""
    reads(text)


@given(st.lists(st.sampled_from(PIECES), max_size=12).map(" ".join), st.sampled_from(["(", "(a int", "(a enum(", "(a int,", "(a int)"]))
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
