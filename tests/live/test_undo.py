"""The main job on a real MariaDB: it is damaged among other sessions' writes, planned from its own log, and undone by its own client."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import pymysql
import pytest

from dblog_tasks import ledger as words
from dblog_tasks.cli import run
from dblog_tasks.event import Position
from dblog_tasks.mysql.place import position_key
from dblog_tasks.plan import Plan, check, read_plan
from tests.corpus.columns import DATABASES
from tests.corpus.make import PHASES
from tests.live.servers import MariaDB

NUMBERS = count(1)
NOON = 1_790_000_000  # 2026-09-21 14:13:20 UTC; the bad statements come at 14:30, the other sessions' before and after
BAD = NOON + 1000
WINDOW = ("--since", "2026-09-21T14:30:00Z", "--until", "2026-09-21T14:30:10Z")
TABLES = """
CREATE TABLE orders (id int PRIMARY KEY, status enum('new','paid') NOT NULL, total decimal(12,2), note text,
  updated_at timestamp(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6));
CREATE TABLE items (order_id int, line int, sku varchar(20) NOT NULL, PRIMARY KEY (order_id, line));
CREATE TABLE dblog_replay (id int PRIMARY KEY, done int);
INSERT INTO orders (id, status, total, note) SELECT seq, 1 + seq % 2, seq * 1.25, CONCAT('nöte ''', seq, '\\\\') FROM seq_1_to_200;
INSERT INTO items SELECT seq, 1, CONCAT('sku', seq) FROM seq_1_to_200;
"""
DAMAGE = ["DELETE FROM orders WHERE id <= 40", "UPDATE orders SET total=0, note=NULL WHERE id BETWEEN 41 AND 80"]


class Shop:
    """A database of its own on a server, with the part of the log that is about it.

    Attributes:
        server: where it is.
        name: of the database.
        start: the end of the log when the shop was opened.
    """

    def __init__(self, server: MariaDB, *, tables: str = TABLES) -> None:
        self.server = server
        self.name = f"undo{next(NUMBERS)}"
        server.sql(f"CREATE DATABASE {self.name}")
        server.sql(f"SET timestamp={NOON};\n{tables}", self.name)
        self.start = self.here()

    def here(self) -> str:
        """Return the end of the log as a position."""
        log, offset, *_ = self.server.sql("SHOW MASTER STATUS").split("\t")
        return f"{log}:{offset}"

    def transaction(self, *statements: str, at: int = NOON) -> str:
        """Run statements as one transaction of a session of its own; return its GTID."""
        session = pymysql.connect(unix_socket=str(self.server.socket), user="root", charset="utf8mb4", database=self.name)
        with closing(session), session.cursor() as cursor:
            for statement in (f"SET timestamp={at}", "BEGIN", *statements, "COMMIT", "SELECT @@last_gtid"):
                cursor.execute(statement)
            return str(cursor.fetchall()[0][0])

    def plan(self, out: Path, *options: str, code: int = 0, tables: str = "*") -> Plan:
        """Plan from the server's own log, by the command line."""
        logs = str(self.server.datadir / "binlog.0*")
        arguments = ["plan", logs, "--driver", "mysql", "--out", str(out), "--table", f"{self.name}.{tables}", "--start", self.start]
        assert run([*arguments, *options]) == code
        found = read_plan(str(out), {})
        assert [] == check(found)
        return found

    def dump(self) -> str:
        """Return all rows of the database."""
        return self.server.dump(self.name)


@pytest.fixture
def script(capsys: pytest.CaptureFixture[str]) -> Callable[[Plan], str]:
    """A function that returns a plan's undo as the command line prints it."""

    def shown(plan: Plan) -> str:
        capsys.readouterr()
        assert run(["show", plan.url, "--as", "sql"]) == 0
        return capsys.readouterr().out

    return shown


Script = Callable[[Plan], str]


def traffic(shop: Shop, session: int) -> None:
    """One application session: rows of its own, in transactions, at times outside of the window."""
    for number in range(25):
        order, at = 1000 * session + number, NOON + 10 * number + (2000 if number % 2 else 0)
        shop.transaction(
            f"INSERT INTO orders VALUES ({order}, 'new', {number}.5, 'from {session}', FROM_UNIXTIME({at}))",
            f"INSERT INTO items VALUES ({order}, 1, 'a'), ({order}, 2, 'b')",
            at=at,
        )
        shop.transaction(f"UPDATE orders SET total=total+1 WHERE id={100 + 20 * session + number % 20}", at=at)
        if number % 5 == 4:
            shop.transaction(f"DELETE FROM items WHERE order_id={order}", f"UPDATE orders SET status='paid' WHERE id={order}", at=at)


def accident(shop: Shop, damage: Sequence[str], *, rotate: bool = True) -> list[str]:
    """Let three sessions write at the same time, and a person damage rows in between; return the GTIDs of the damage."""
    with ThreadPoolExecutor(4) as pool:
        sessions = [pool.submit(traffic, shop, number) for number in (1, 2, 3)]
        gtids = []
        for number, statement in enumerate(damage):
            gtids.append(shop.transaction(statement, at=BAD + number))
            if rotate:
                shop.server.rotate()
        for session in sessions:
            session.result()
    return gtids


@pytest.fixture
def twin(mariadb: MariaDB) -> Iterator[str]:
    """What the shop holds when nobody damages it."""
    shop = Shop(mariadb)
    accident(shop, [], rotate=False)
    yield shop.dump()
    mariadb.sql(f"DROP DATABASE {shop.name}")


WAYS: dict[str, Callable[[Sequence[str]], list[str]]] = {
    "by transaction": lambda gtids: [word for gtid in gtids for word in ("--transaction", gtid)],
    "by window": lambda gtids: list(WINDOW),
    "by rows": lambda gtids: ["--where", "before.id <= 80"],
}


@pytest.mark.parametrize("way", WAYS)
def test_the_accident_is_undone_among_other_writes(way: str, mariadb: MariaDB, twin: str, tmp_path: Path, script: Script) -> None:
    """However the bad statements are found, afterwards the shop is byte for byte what it would be without them."""
    shop = Shop(mariadb)
    gtids = accident(shop, DAMAGE)
    damaged = shop.dump()
    plan = shop.plan(tmp_path / "plan", *WAYS[way](gtids), tables="orders")
    assert (80, 2) == (plan.ledger.rows_undone, plan.manifest["transactions"]["count"])

    done = mariadb.client(script(plan))

    assert (0, "") == (done.returncode, done.stderr)
    assert twin != damaged
    assert twin == shop.dump()


@pytest.fixture(scope="module")
def nameless(start_mariadb: Callable[..., MariaDB]) -> MariaDB:
    """A server whose log has no names of columns."""
    return start_mariadb("--binlog-row-metadata=NO_LOG")


def test_a_log_without_names_is_undone_with_the_schema(nameless: MariaDB, tmp_path: Path, script: Script) -> None:
    """binlog_row_metadata=NO_LOG: CREATE TABLE statements give the names; without them the rows are omissions."""
    server = nameless
    twin, shop = Shop(server), Shop(server)
    accident(twin, [], rotate=False)
    gtids = accident(shop, DAMAGE)
    schema = tmp_path / "schema.sql"
    schema.write_text(server.schema_sql(shop.name))
    wanted = WAYS["by transaction"](gtids)
    assert 2 == shop.plan(tmp_path / "without", *wanted, code=3).ledger.omitted.total()

    done = server.client(script(shop.plan(tmp_path / "plan", *wanted, "--schema", str(schema))))

    assert (0, "") == (done.returncode, done.stderr)
    assert twin.dump() == shop.dump()


@pytest.mark.parametrize(
    "later",
    [
        "INSERT INTO orders VALUES (7, 'new', 1, 'again', NOW(6))",
        "UPDATE orders SET total=5 WHERE id=60",
        "DELETE FROM orders WHERE id=80",
        "UPDATE orders SET note='x' WHERE id=41",
        "UPDATE orders SET id=9999 WHERE id=50",
    ],
)
def test_a_row_changed_afterwards_stops_the_client(later: str, mariadb: MariaDB, tmp_path: Path, script: Script) -> None:
    """What was planned before somebody changed a row is refused by the guard; that transaction leaves nothing behind."""
    shop = Shop(mariadb)
    gtid = shop.transaction(*DAMAGE, at=BAD)
    plan = shop.plan(tmp_path / "plan", "--transaction", gtid)
    shop.transaction(later)
    before = shop.dump()

    done = mariadb.client(script(plan))

    assert 1 == done.returncode
    assert "ERROR" in done.stderr
    assert before == shop.dump()


class Later(NamedTuple):
    """What somebody does after the damage, and what the plan must say of it."""

    statement: str
    severity: str
    what: str
    key: list[Any]
    columns: list[str]


LATER = {
    "same column": Later("UPDATE orders SET total=7 WHERE id=45", "hard", "column changed", [45], ["total"]),
    "another column": Later("UPDATE orders SET status='paid' WHERE id=46", "soft", "column changed", [46], ["status"]),
    "row gone": Later("DELETE FROM orders WHERE id=47", "hard", "row gone", [47], []),
    "key changed": Later("UPDATE orders SET id=4800 WHERE id=48", "hard", "row gone", [48], ["id"]),
    "key reused": Later("INSERT INTO orders VALUES (9, 'new', 1, 'again', '2026-01-01')", "hard", "key reused", [9], []),
    "key taken by another row": Later("UPDATE orders SET id=10 WHERE id=190", "hard", "key reused", [10], []),
}
NO_AUTO = TABLES.replace(" ON UPDATE CURRENT_TIMESTAMP(6)", "")


@pytest.mark.parametrize("name", LATER)
@pytest.mark.parametrize("bounded", [False, True], ids=["to the end", "beyond the stop"])
def test_later_changes_are_conflicts(name: str, bounded: bool, mariadb: MariaDB, tmp_path: Path) -> None:  # noqa: FBT001 - a parameter
    """Each is listed once with table, key, columns, place, time and transaction; only hard ones make the exit code 3."""
    shop, later = Shop(mariadb, tables=NO_AUTO), LATER[name]
    shop.transaction(*DAMAGE, at=BAD)
    stop = shop.here()
    mariadb.rotate()
    gtid = shop.transaction(later.statement, at=NOON + 5000)
    shop.transaction("UPDATE items SET sku='other' WHERE order_id=45", "UPDATE orders SET total=1 WHERE id=150")
    bounds = ["--stop", stop, *WINDOW] if bounded else list(WINDOW)
    end = shop.here()
    plan = shop.plan(tmp_path / "plan", *bounds, code=3 if later.severity == "hard" else 0)

    (found,) = plan.conflicts()
    expected = (later.severity, later.what, f"{shop.name}.orders", later.key, "2026-09-21T15:36:40+00:00", gtid)
    assert expected == tuple(found[name] for name in ("severity", "what", "table", "key", "time", "transaction"))
    assert later.columns == found["columns"]
    said = plan.manifest["conflicts"]
    assert (1, 0) == ((said["hard"], said["soft"]) if later.severity == "hard" else (said["soft"], said["hard"]))
    known = Position("mysql", said["known_up_to"]["position"])
    assert position_key(Position("mysql", end)) <= position_key(known)  # the server adds a checkpoint event when it likes


def test_rows_of_a_table_altered_later_are_compared_by_name(mariadb: MariaDB, tmp_path: Path) -> None:
    """Where the log has names, a change after ALTER TABLE is still seen for what it is; the definition itself is no row."""
    shop = Shop(mariadb, tables=NO_AUTO)
    shop.transaction(*DAMAGE, at=BAD)
    stop = shop.here()
    mariadb.sql("ALTER TABLE orders DROP COLUMN status", shop.name)
    shop.transaction("UPDATE orders SET total=7 WHERE id=45")
    plan = shop.plan(tmp_path / "plan", *WINDOW, "--stop", stop, code=3)

    assert [("hard", [45], ["total"])] == [(found["severity"], found["key"], found["columns"]) for found in plan.conflicts()]
    assert "schema change (DDL)" in plan.manifest["conflicts"]["unknown"][f"{shop.name}.orders"]


def test_a_later_truncate_is_said_and_one_of_another_table_is_not(mariadb: MariaDB, tmp_path: Path) -> None:
    """What has no rows in the log may have changed the plan's rows all the same."""
    shop = Shop(mariadb)
    shop.transaction("DELETE FROM items WHERE order_id<5")
    stop = shop.here()
    mariadb.sql("CREATE TABLE elsewhere (id int)", "mysql")
    before = shop.plan(tmp_path / "before", "--stop", stop)
    mariadb.sql("TRUNCATE TABLE items; DROP TABLE mysql.elsewhere", shop.name)
    after = shop.plan(tmp_path / "after", "--stop", stop)

    assert [] == list(before.manifest["conflicts"]["unknown"])
    assert [f"{shop.name}.items"] == list(after.manifest["conflicts"]["unknown"])


def test_a_table_altered_later_is_unknown_without_names(nameless: MariaDB, tmp_path: Path) -> None:
    """Where only a schema gives the names, changes to a table of another shape cannot be compared, and the plan says from where on."""
    shop = Shop(nameless)
    shop.transaction(*DAMAGE, at=BAD)
    stop, schema = shop.here(), tmp_path / "schema.sql"
    schema.write_text(nameless.schema_sql(shop.name))
    nameless.sql("ALTER TABLE orders DROP COLUMN status", shop.name)
    shop.transaction("UPDATE orders SET total=7 WHERE id=45")
    plan = shop.plan(tmp_path / "plan", *WINDOW, "--stop", stop, "--schema", str(schema))

    assert [f"{shop.name}.orders"] == list(plan.manifest["conflicts"]["unknown"])


def test_own_replays_are_left_out_unless_asked_for(mariadb: MariaDB, tmp_path: Path) -> None:
    """A transaction that writes `dblog_replay` is one of ours: the ledger says so, and the flag takes it in."""
    shop = Shop(mariadb)
    shop.transaction("DELETE FROM items WHERE order_id<5")
    shop.transaction("INSERT INTO dblog_replay VALUES (1, 1)", "INSERT INTO items VALUES (1,1,'sku1'),(2,1,'sku2')")
    plan = shop.plan(tmp_path / "without", code=3)
    without = plan.ledger
    with_them = shop.plan(tmp_path / "with", "--own-replays").ledger

    assert (4, 7) == (without.rows_undone, with_them.rows_undone)
    assert without.not_needed[words.OWN_REPLAY] > 4
    assert 0 == with_them.not_needed[words.OWN_REPLAY]
    assert [[1, 1], [2, 1]] == [found["key"] for found in plan.conflicts()], "what was undone already is a conflict"


def test_partly_selected_transactions_are_named_or_taken_wholly(mariadb: MariaDB, tmp_path: Path, script: Script) -> None:
    """A table cuts a transaction that wrote another one too; --whole-transactions takes both."""
    shop = Shop(mariadb)
    before = shop.dump()
    shop.transaction("DELETE FROM orders WHERE id<10", "DELETE FROM items WHERE order_id<20")
    arguments = ["plan", str(mariadb.datadir / "binlog.0*"), "--driver", "mysql", "--start", shop.start, "--table", f"{shop.name}.orders"]
    assert run([*arguments, "--out", str(tmp_path / "part")]) == 0
    assert run([*arguments, "--out", str(tmp_path / "all"), "--whole-transactions"]) == 0
    part, everything = (read_plan(str(tmp_path / name), {}) for name in ("part", "all"))

    assert (1, [f"{shop.name}.items"]) == (part.manifest["transactions"]["partly_selected"], part.manifest["transactions"]["also_touched"])
    assert (0, 9, 28) == (everything.manifest["transactions"]["partly_selected"], part.ledger.rows_undone, everything.ledger.rows_undone)
    assert 0 == mariadb.client(script(everything)).returncode
    assert before == shop.dump()


TYPE_OPTIONS = {
    "full": (),
    "compressed": ("--binlog-row-metadata=NO_LOG", "--log-bin-compress=ON", "--log-bin-compress-min-len=10"),
    "temporals of before 5.6": ("--mysql56-temporal-format=OFF", "--binlog-row-metadata=MINIMAL", "--binlog-checksum=NONE"),
}


@pytest.mark.parametrize("options", TYPE_OPTIONS.values(), ids=TYPE_OPTIONS)
def test_every_type_goes_back(options: tuple[str, ...], start_mariadb: Callable[..., MariaDB], tmp_path: Path, script: Script) -> None:
    """All column types of the corpus: inserted, updated, half deleted; the undo of each phase gives the rows of the one before."""
    server = start_mariadb("--sql-mode=", *options)
    states, places = [], []
    for phase in PHASES.values():
        server.sql("SET timestamp=1790000000;\n" + ";\n".join(phase()) + ";\n")
        states.append([server.dump(database) for database in DATABASES])
        places.append(":".join(server.sql("SHOW MASTER STATUS").split("\t")[:2]))
    schema = tmp_path / "schema.sql"
    schema.write_text(server.schema_sql(*DATABASES))

    for number in (3, 2, 1):
        out, logs = tmp_path / str(number), str(server.datadir / "binlog.0*")
        arguments = ["plan", logs, "--driver", "mysql", "--out", str(out), "--start", places[number - 1], "--stop", places[number]]
        assert run([*arguments, "--schema", str(schema)]) in (0, 3)  # also tells which columns are generated: no log does
        plan = read_plan(str(out), {})
        assert {} == plan.ledger.omitted
        done = server.client(script(plan))

        assert (0, "") == (done.returncode, done.stderr[-2000:]), number
        for state, database in zip(states[number - 1], DATABASES, strict=True):
            assert state.splitlines() == server.dump(database).splitlines(), (number, database)


def test_an_insert_is_undone_only_while_nothing_would_go_with_it(mariadb: MariaDB, tmp_path: Path, script: Script) -> None:
    """ON DELETE CASCADE deletes what others wrote since, and no log tells."""
    child = "CREATE TABLE c (id int PRIMARY KEY, pid int, FOREIGN KEY (pid) REFERENCES p (id) ON DELETE CASCADE)"
    shop = Shop(mariadb, tables=f"CREATE TABLE p (id int PRIMARY KEY); {child}; INSERT INTO p VALUES (1);")
    before = shop.dump()
    (tmp_path / "schema.sql").write_text(mariadb.schema_sql(shop.name))
    shop.transaction("INSERT INTO p VALUES (5)", "INSERT INTO c VALUES (50, 5)")
    undo = script(shop.plan(tmp_path / "plan", "--schema", str(tmp_path / "schema.sql")))
    mariadb.sql("INSERT INTO c VALUES (51, 5)", shop.name)
    damaged = shop.dump()

    assert "ERROR 1242" in mariadb.sql(undo, check=False)
    assert damaged == shop.dump()
    mariadb.sql("DELETE FROM c WHERE id=51", shop.name)
    assert "" == mariadb.sql(undo)
    assert before == shop.dump()


def test_rows_that_foreign_keys_took_along_come_back_by_a_log_that_has_them(
    mariadb: MariaDB, corpus: Path, tmp_path: Path, script: Script
) -> None:
    """The log of a MySQL 9.7; the keys are those of this server, which takes the same rows along."""
    found = corpus / "found"
    mariadb.sql("CREATE DATABASE carried")
    mariadb.sql((found / "carried-mysql97.tables.sql").read_text(), "carried")
    before = mariadb.dump("carried")
    mariadb.sql((found / "carried-mysql97.damage.sql").read_text(), "carried")
    assert before != mariadb.dump("carried")

    assert 0 == run(["plan", str(found / "carried-mysql97.000001"), "--driver", "mysql", "--out", str(tmp_path / "plan")])
    mariadb.sql(script(read_plan(str(tmp_path / "plan"), {})))
    assert before == mariadb.dump("carried")
