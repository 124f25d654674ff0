"""Catalogs: what is found in them, whether a log speaks of the same tables, and how a server is reached."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import gc
from pathlib import Path

from hypothesis import given, strategies as st
import pytest

from dblog_tasks.errors import InvalidInput, SchemaMismatch, StorageError
from dblog_tasks.event import Dependent, Table
from dblog_tasks.mysql import binlog, catalog, table_map as wire
from dblog_tasks.mysql.catalog import Catalog, SchemaTable, connect, live_catalog, read_schema
from dblog_tasks.mysql.table_map import TableMap, read_table_map
from tests.fixtures import scenarios

CORPUS = Path(__file__).parents[1] / "corpus"


def only(text: str) -> SchemaTable:
    """Return the one table of a schema file."""
    (table,) = read_schema(text).tables.values()
    return table


def test_what_goes_with_a_deleted_row_is_known_of_its_table() -> None:
    """Foreign keys that delete, or set to NULL; names of a file without schemas stand for every schema."""
    keys = (
        "CREATE TABLE p (id int PRIMARY KEY, v int UNIQUE); CREATE TABLE a (x int, FOREIGN KEY (x) REFERENCES {}p (id) ON DELETE CASCADE);"
        "CREATE TABLE b (y int, FOREIGN KEY (y) REFERENCES {}p (v) ON DELETE SET NULL);"
        "CREATE TABLE c (z int, FOREIGN KEY (z) REFERENCES {}p (id) ON UPDATE CASCADE ON DELETE RESTRICT);"
    )
    expected = (Dependent("s", "a", ("x",), ("id",)), Dependent("s", "b", ("y",), ("v",)))

    for text in (keys.format("", "", ""), f"USE s; {keys.format('', 's.', '')}"):
        found = read_schema(text).find("s", "p")
        assert found is not None
        assert expected == found.table.dependents
        assert Table.from_json(found.table.to_json()) == found.table


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


@pytest.mark.parametrize(
    "log", sorted({*CORPUS.rglob("*.00000?")} - {*CORPUS.glob("found/*")}), ids=lambda log: str(log.relative_to(CORPUS))
)
def test_corpus_speaks_of_its_schema(log: Path) -> None:
    """Every table of a log is the one its schema file describes."""
    schema = next(parent / "schema.sql" for parent in log.parents if (parent / "schema.sql").exists())
    known = read_schema(schema.read_text())
    logged = list(table_maps(log))

    assert logged
    assert [] == [f"{table.schema}.{table.name}" for table in logged if not fits(known.find(table.schema, table.name), table)]


@pytest.mark.parametrize("name", scenarios())
def test_fixture_speaks_of_its_schema(name: str, scenario: Callable[[str], Path]) -> None:
    """Every schema file of a recorded scenario is read, and every table of its logs is one of its time."""
    folder = scenario(name)
    catalogs = [read_schema(text) for text in {path.read_text() for path in folder.glob("*.schema.sql")}]
    if not catalogs:
        pytest.skip("no schema in it")
    logged = [table for log in sorted(folder.glob("*.00000?")) for table in table_maps(log)]
    unfit = {
        f"{table.schema}.{table.name}"
        for table in logged
        if not any(fits(known.find(table.schema, table.name), table) for known in catalogs)
    }

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
        live_catalog(f"mysql://app@nowhere/shop?unix_socket={tmp_path}/none", password="No such")  # noqa: S106 - to be hidden

    assert str(raised.value).startswith("mysql://app@nowhere/shop: cannot connect: 2003 ")
    assert "*** file" in str(raised.value)
    assert "No such" not in repr(raised.value)
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
