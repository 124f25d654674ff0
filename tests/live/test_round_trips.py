"""Kinds of damage under kinds of log settings, on a real MariaDB 10.11: planned from its own log and undone by its own client.

Every setting meets every damage. What the log is enough for is back byte for byte afterwards; of everything else the plan has said that
it is not, and only that may differ. (FULL_NODUP is of later servers; transactions are never divided between files, so rotations fall
between them.)
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
import subprocess

import pytest

from dblog_tasks.cli import run
from dblog_tasks.plan import Plan, check, read_plan
from tests.live.servers import MariaDB

NUMBERS = count(1)
PARTIAL, DEFINED = "partial row image", "schema change (DDL)"
GUARD = "Subquery returns more than 1 row"  # how the client is stopped where a statement does not find its row
OTHER_SCHEMA = frozenset({"the schema has no such table", "the schema given is not of that time"})  # where the log defines a table anew


@dataclass(frozen=True)
class Setting:
    """How the server writes its log.

    Attributes:
        variables: global variables.
        schema: whether the plan is given one.
        reasons: what may be omitted because of it, beside what the damage itself makes impossible.
    """

    variables: Mapping[str, str]
    schema: bool = True
    reasons: frozenset[str] = frozenset()


SETTINGS: Mapping[str, Setting] = {
    "names": Setting({}),
    "names without a schema": Setting({}, schema=False),
    "no names": Setting({"binlog_row_metadata": "NO_LOG"}, reasons=OTHER_SCHEMA),
    "compressed": Setting(
        {"binlog_row_metadata": "MINIMAL", "log_bin_compress": "ON", "log_bin_compress_min_len": "10", "binlog_checksum": "NONE"},
        reasons=OTHER_SCHEMA,
    ),
    "no annotations": Setting({"binlog_annotate_row_events": "OFF", "binlog_checksum": "NONE"}),
    "small files": Setting({"max_binlog_size": "4096"}),
    "blobs only when changed": Setting({"binlog_row_image": "NOBLOB"}, reasons=frozenset({PARTIAL})),
    "least": Setting({"binlog_row_image": "MINIMAL", "binlog_row_metadata": "NO_LOG"}, reasons=OTHER_SCHEMA | {PARTIAL}),
}


@dataclass(frozen=True)
class Damage:
    """What is done to a database, and what the undo of it cannot be.

    Attributes:
        tables: SQL that makes them, with their rows.
        statements: SQL that does the damage.
        reasons: why some of it cannot be undone, whatever the settings.
        lost: tables that are not as they were after the undo, although all was logged that the server ever logs.
        cascades: tables the plan must say foreign keys have changed.
        before_undo: SQL a person runs before the undo.
        after_undo: SQL a person runs after it.
        needs_schema: why it cannot be told from the log alone; empty: it can.
    """

    tables: str
    statements: str
    reasons: frozenset[str] = frozenset()
    lost: frozenset[str] = frozenset()
    cascades: frozenset[str] = frozenset()
    before_undo: str = ""
    after_undo: str = ""
    needs_schema: str = ""


ORDERS = """CREATE TABLE orders (id int PRIMARY KEY, status enum('new','paid') NOT NULL, total decimal(12,2), note text);
  CREATE TABLE items (order_id int, line int, sku varchar(20) NOT NULL, PRIMARY KEY (order_id, line));
  INSERT INTO orders SELECT seq, 1 + seq % 2, seq * 1.25, CONCAT('nöte ''', seq) FROM seq_1_to_60;
  INSERT INTO items SELECT seq, 1, CONCAT('sku', seq) FROM seq_1_to_60;"""
DAMAGES: Mapping[str, Damage] = {
    "single tables": Damage(
        ORDERS,
        "DELETE FROM orders WHERE id<9; UPDATE orders SET total=0, note=NULL WHERE id>50; INSERT INTO items VALUES (99,1,'n'),(99,2,'x');",
    ),
    "several tables at once": Damage(
        ORDERS,
        "UPDATE orders JOIN items ON id=order_id SET total=total+1, sku='gone' WHERE id<9; DELETE orders, items FROM orders JOIN items"
        " ON id=order_id WHERE id BETWEEN 5 AND 20; REPLACE INTO items VALUES (21,1,'other'),(900,1,'new');"
        " INSERT INTO items VALUES (22,1,'dup'),(901,1,'new') ON DUPLICATE KEY UPDATE sku='updated';",
    ),
    "duplicate rows without a key": Damage(
        "CREATE TABLE t (a int, b varchar(20), c float); INSERT INTO t VALUES (1,'x',0.1),(1,'x',0.1),(1,'x',0.1),(2,NULL,1e30),"
        "(2,NULL,1e30);",
        "DELETE FROM t WHERE a=1 LIMIT 2; UPDATE t SET b='z' WHERE a=2 LIMIT 1; INSERT INTO t VALUES (3,'c',-0.0),(3,'c',-0.0);",
    ),
    "generated, invisible and compressed columns": Damage(
        "CREATE TABLE t (id int PRIMARY KEY, a int, s int AS (a+1) STORED, v int AS (a*2) VIRTUAL, h int INVISIBLE DEFAULT 5,"
        " c varchar(300) COMPRESSED, b blob COMPRESSED); INSERT INTO t (id,a,h,c,b) SELECT seq, seq, seq*7, REPEAT('c',seq*5),"
        " REPEAT(x'00ff',seq) FROM seq_1_to_40;",
        "UPDATE t SET a=a+1, h=0 WHERE id<9; UPDATE t SET c='', b=NULL WHERE id>30; DELETE FROM t WHERE id BETWEEN 10 AND 20;"
        " INSERT INTO t (id,a) VALUES (99,1);",
        needs_schema="no log of MariaDB tells which columns are generated",
    ),
    "partitions": Damage(
        "CREATE TABLE t (id int PRIMARY KEY, a int) PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS"
        " THAN MAXVALUE); CREATE TABLE u (a int) PARTITION BY HASH (a) PARTITIONS 5; INSERT INTO t SELECT seq, seq FROM seq_1_to_30;"
        " INSERT INTO u SELECT seq % 7 FROM seq_1_to_30;",
        "UPDATE t SET id=id+100 WHERE id<5; DELETE FROM t WHERE id BETWEEN 8 AND 12; UPDATE u SET a=a+1 WHERE a=3; DELETE FROM u LIMIT 4;",
    ),
    "XA": Damage(
        ORDERS,
        "XA START 'a','b',7; DELETE FROM orders WHERE id<5; XA END 'a','b',7; XA PREPARE 'a','b',7; XA COMMIT 'a','b',7; FLUSH BINARY LOGS;"
        " XA START 'r'; DELETE FROM items; XA END 'r'; XA PREPARE 'r'; XA ROLLBACK 'r'; XA START 'o'; UPDATE orders SET total=1 WHERE id=9;"
        " XA END 'o'; XA COMMIT 'o' ONE PHASE;",
    ),
    "savepoints": Damage(
        ORDERS,
        "BEGIN; UPDATE orders SET total=1 WHERE id=1; SAVEPOINT s; DELETE FROM orders; ROLLBACK TO s; DELETE FROM items WHERE order_id=2;"
        " SAVEPOINT u; DELETE FROM items WHERE order_id=3; RELEASE SAVEPOINT u; COMMIT; BEGIN; DELETE FROM orders; ROLLBACK;",
    ),
    "tables without transactions": Damage(
        "CREATE TABLE m (id int PRIMARY KEY, a text) ENGINE=MyISAM; CREATE TABLE r (id int PRIMARY KEY, a text) ENGINE=Aria;"
        " INSERT INTO m SELECT seq, seq FROM seq_1_to_9; INSERT INTO r SELECT seq, seq FROM seq_1_to_9;",
        "DELETE FROM m WHERE id<4; UPDATE r SET a='x' WHERE id<4; INSERT INTO r VALUES (20,'y');",
    ),
    "loaded files": Damage(
        ORDERS,
        "SELECT seq, 1, CONCAT('l', seq) INTO OUTFILE '{folder}/{name}.txt' FROM seq_30_to_90;"
        " LOAD DATA INFILE '{folder}/{name}.txt' REPLACE INTO TABLE items;",
    ),
    "created by a query": Damage(
        ORDERS,
        "CREATE TABLE copied (PRIMARY KEY (id)) AS SELECT id, note FROM orders; DELETE FROM copied WHERE id<5;"
        " DELETE FROM orders WHERE id<5;",
        reasons=frozenset({DEFINED}),
    ),
    "triggers": Damage(
        f"{ORDERS} CREATE TABLE audit (n int AUTO_INCREMENT PRIMARY KEY, what text); CREATE TRIGGER d AFTER DELETE ON orders FOR EACH ROW"
        " INSERT INTO audit (what) VALUES (CONCAT('deleted ', OLD.id)); CREATE TRIGGER u BEFORE UPDATE ON orders FOR EACH ROW"
        " SET NEW.note='u';",
        "DELETE FROM orders WHERE id<9; UPDATE orders SET total=0 WHERE id>50;",
        before_undo="DROP TRIGGER d; DROP TRIGGER u;",
    ),
    "foreign keys": Damage(
        "CREATE TABLE p (id int PRIMARY KEY, a int); CREATE TABLE c (id int PRIMARY KEY, pid int, FOREIGN KEY (pid) REFERENCES p (id)"
        " ON DELETE CASCADE ON UPDATE CASCADE);"
        " CREATE TABLE g (id int PRIMARY KEY, cid int, FOREIGN KEY (cid) REFERENCES c (id) ON DELETE SET NULL);"
        " INSERT INTO p SELECT seq, seq FROM seq_1_to_9; INSERT INTO c SELECT seq*10, seq FROM seq_1_to_9; INSERT INTO g SELECT seq, seq*10"
        " FROM seq_1_to_9;",
        "DELETE FROM p WHERE id<4;",
        lost=frozenset({"c", "g"}),
        cascades=frozenset({"c", "g"}),
        needs_schema="a log does not tell of foreign keys",
    ),
    "system-versioned tables": Damage(
        "CREATE TABLE t (id int PRIMARY KEY, a int) WITH SYSTEM VERSIONING; INSERT INTO t SELECT seq, seq FROM seq_1_to_20;",
        "UPDATE t SET a=0 WHERE id<5; DELETE FROM t WHERE id>15; INSERT INTO t VALUES (50,1);",
        needs_schema="in a log, a versioned table is one with two columns more",
    ),
    "sequences": Damage(
        "CREATE SEQUENCE s INCREMENT BY 3 CACHE 2; CREATE TABLE t (id int DEFAULT NEXTVAL(s) PRIMARY KEY, a int); INSERT INTO t (a)"
        " VALUES (1);",
        "INSERT INTO t (a) VALUES (2),(3),(4),(5);",
        reasons=frozenset({"a sequence moved on"}),
    ),
    "altered in between": Damage(
        ORDERS,
        "DELETE FROM items WHERE order_id<5; DELETE FROM orders WHERE id<5; ALTER TABLE orders ADD COLUMN extra int; UPDATE orders"
        " SET extra=1, total=0 WHERE id<9; DELETE FROM orders WHERE id>50;",
        reasons=frozenset({DEFINED}),
        after_undo="ALTER TABLE orders DROP COLUMN extra;",
    ),
    "truncated": Damage(
        ORDERS,
        "DELETE FROM orders WHERE id<5; TRUNCATE TABLE items;",
        reasons=frozenset({DEFINED}),
        lost=frozenset({"items"}),
    ),
}
VERY_LARGE = Damage(
    "CREATE TABLE t (id int PRIMARY KEY, b longblob, c longtext); INSERT INTO t VALUES (1, REPEAT(x'00ff27', 14000000),"
    " REPEAT('ä''', 99));",
    "UPDATE t SET b='small'; DELETE FROM t;",
)
MIXED = Damage(
    ORDERS,
    "SET binlog_format=MIXED; DELETE FROM items WHERE order_id<5; UPDATE orders SET note=UUID() WHERE id<5;"
    " UPDATE orders SET total=0 WHERE id=9; SET binlog_format=ROW; DELETE FROM orders WHERE id>50;",
    reasons=frozenset({"statement format"}),
    lost=frozenset({"orders", "items"}),
)


@pytest.fixture(scope="module")
def server(start_mariadb: Callable[..., MariaDB]) -> MariaDB:
    """A server whose settings may be changed."""
    return start_mariadb("--max-binlog-size=1G")


@pytest.fixture(scope="module", params=SETTINGS)
def setting(request: pytest.FixtureRequest, server: MariaDB) -> Iterator[Setting]:
    """Each setting in turn; what was before comes back afterwards."""
    chosen = SETTINGS[request.param]
    names = list(chosen.variables)
    before = [server.sql(f"SELECT @@GLOBAL.{name}").strip() for name in names]
    server.sql("".join(f"SET GLOBAL {name}={value};" for name, value in chosen.variables.items()) + "FLUSH BINARY LOGS;")
    yield chosen
    server.sql("".join(f"SET GLOBAL {name}={value};" for name, value in zip(names, before, strict=True)) + "FLUSH BINARY LOGS;")


def rows_of(dump: str) -> Mapping[str, list[str]]:
    """Return the rows of a dump by table."""
    found: dict[str, list[str]] = defaultdict(list)
    for line in dump.splitlines():
        found[line.split("`")[1] if "`" in line else ""].append(line)
    return found


def named(plan: Plan) -> set[str]:
    """Return the tables that a plan says it does not restore wholly."""
    return {table.partition(".")[2] for table in [*plan.manifest["cascades"], *(line["table"] or "" for line in plan.omitted())]}


@pytest.fixture
def database(server: MariaDB) -> Iterator[str]:
    """The name of an empty database."""
    name = f"trip{next(NUMBERS)}"
    server.sql(f"CREATE DATABASE {name}")
    yield name
    server.sql(f"DROP DATABASE {name}")


@dataclass(frozen=True)
class Trip:
    """A damage done, planned and undone.

    Attributes:
        plan: of the undo.
        client: what the client said when it ran it.
        differing: tables whose rows are not what they were.
    """

    plan: Plan
    client: subprocess.CompletedProcess[str]
    differing: set[str]


Take = Callable[..., Trip]


@pytest.fixture
def take(server: MariaDB, database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Take:
    """`take(damage, schema=True)` does the damage, plans its undo from the server's own log, and runs that through its client."""

    def taken(damage: Damage, *, schema: bool = True) -> Trip:
        server.sql(damage.tables, database)
        before, given = server.dump(database), tmp_path / "schema.sql"
        given.write_text(server.schema_sql(database))
        start = ":".join(server.sql("SHOW MASTER STATUS").split("\t")[:2])
        server.sql(damage.statements.format(folder=server.datadir, name=database), database)
        assert before != server.dump(database)

        arguments = ["plan", str(server.datadir / "binlog.0*"), "--driver", "mysql", "--out", str(tmp_path / "plan"), "--start", start]
        code = run([*arguments, *(["--schema", str(given)] if schema else [])])
        plan = read_plan(str(tmp_path / "plan"), {})
        assert ([], 3 if plan.ledger.omitted else 0) == (check(plan), code)
        capsys.readouterr()
        assert 0 == run(["show", plan.url, "--as", "sql"])
        server.sql(damage.before_undo, database)
        client = server.client(capsys.readouterr().out)
        if not client.returncode:
            server.sql(damage.after_undo, database)
        wanted, got = rows_of(before), rows_of(server.dump(database))
        return Trip(plan, client, {table for table in {*wanted, *got} if wanted.get(table) != got.get(table)})

    return taken


@pytest.mark.parametrize("kind", DAMAGES)
def test_what_the_log_is_enough_for_is_undone(kind: str, setting: Setting, database: str, take: Take) -> None:
    """The dump after the undo is the one before the damage, but for what the plan says that it cannot give back."""
    damage = DAMAGES[kind]
    if damage.needs_schema and not setting.schema:
        pytest.skip(damage.needs_schema)
    trip = take(damage, schema=setting.schema)
    omitted = set(trip.plan.ledger.omitted)

    assert damage.reasons <= omitted <= damage.reasons | setting.reasons
    assert {f"{database}.{table}" for table in damage.cascades} == set(trip.plan.manifest["cascades"])
    if trip.client.returncode and omitted & setting.reasons:
        assert GUARD in trip.client.stderr  # an older change of a row whose newer one is omitted
        return
    assert (0, "") == (trip.client.returncode, trip.client.stderr[-1000:])
    assert trip.differing <= damage.lost | named(trip.plan)
    assert trip.differing == damage.lost or omitted & setting.reasons


@pytest.mark.slow
@pytest.mark.parametrize("setting", ["names", "compressed"], indirect=True)
def test_values_of_tens_of_megabytes_go_back(setting: Setting, take: Take) -> None:
    """A row that is larger than anything the log is read by."""
    trip = take(VERY_LARGE)

    assert (0, "", set(), 2) == (trip.client.returncode, trip.client.stderr, trip.differing, trip.plan.ledger.rows_undone)


@pytest.mark.parametrize("setting", ["names"], indirect=True)
def test_what_a_mixed_log_has_as_statements_is_said(setting: Setting, take: Take) -> None:
    """Statements are omitted, rows undone."""
    trip = take(MIXED)

    assert {"statement format": 2} == trip.plan.ledger.omitted
    assert (0, "") == (trip.client.returncode, trip.client.stderr)
    assert 4 + 10 == trip.plan.ledger.rows_undone
    assert trip.differing == MIXED.lost
