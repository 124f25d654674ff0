"""What a replay is told, and what a server is set to, on real MariaDB servers: each changes what it does, or stops it before it writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from dblog_tasks.cli import run
from dblog_tasks.errors import InvalidInput, TargetError, TargetRefused
from dblog_tasks.plan import read_plan
from dblog_tasks.replay import ReplayRequest, replay
from dblog_tasks.verify import verify
from tests.live.scenes import ITEMS, MakeScene, Scene
from tests.live.servers import MariaDB

FIRING = (
    ITEMS + "CREATE TABLE log (n int AUTO_INCREMENT PRIMARY KEY, id int);"
    "CREATE TRIGGER fires AFTER UPDATE ON t FOR EACH ROW INSERT INTO log (id) SELECT NEW.id FROM DUAL WHERE @quiet IS NULL;"
)


# ---- one transaction


def test_atomic_is_one_transaction(scene: MakeScene) -> None:
    """However small a batch may be; the undo of it is one transaction in the log."""
    shop = scene(ITEMS)
    shop.damage(*[f"UPDATE t SET a=0 WHERE id={n}" for n in range(1, 11)])
    start = shop.here()
    report = shop.replay(atomic=True, batch_rows=2)

    assert ("done", 1, shop.before) == (report.outcome, report.batches, shop.dump())
    out = str(shop.folder / "undo of the undo")
    asked = ["plan", shop.logs, "--driver", "mysql", "--out", out, "--table", f"{shop.name}.t", "--start", start, "--own-replays"]
    assert run(asked) in (0, 3)
    assert 1 == read_plan(out, {}).manifest["transactions"]["count"]


def test_atomic_keeps_nothing_where_a_late_step_meets_a_rule(scene: MakeScene) -> None:
    """A unique value given away meanwhile, which only the write itself tells: batches would have kept the steps before it."""
    shop = scene("CREATE TABLE t (id int PRIMARY KEY, a int UNIQUE); INSERT INTO t SELECT seq, seq FROM seq_1_to_20;")
    shop.damage(*[f"UPDATE t SET a=a+100 WHERE id={n}" for n in range(1, 11)], later=("INSERT INTO t VALUES (99, 1)",))
    damaged = shop.dump()
    report = shop.replay(atomic=True)
    assert ("stopped at a conflict", 0, "", damaged) == (report.outcome, report.steps, report.inverse, shop.dump())
    (conflict,) = report.conflicts
    assert conflict["wanted"] == {"id": 1, "a": 1}

    report = shop.replay(batch_rows=3)
    assert ("stopped at a conflict", 9, 3) == (report.outcome, report.steps, report.batches)
    inverse = read_plan(report.inverse, {})
    assert "done" == replay(ReplayRequest(inverse.url, shop.dsn(), approve=inverse.id)).outcome
    assert damaged == shop.dump()


# ---- triggers


def test_triggers_that_are_allowed_fire(scene: MakeScene) -> None:
    """What they do is in the log as what others did."""
    shop = scene(FIRING)
    shop.damage("SET @quiet=1; UPDATE t SET a=0 WHERE id<3")
    report = shop.replay(triggers="allow")

    assert ("done", "1\n2\n") == (report.outcome, shop.sql("SELECT id FROM log ORDER BY id"))
    assert [f"{shop.name}.t: triggers fire: fires (update)"] == [line for line in report.warnings if "trigger" in line]


@pytest.mark.parametrize("said", ["set:@quiet", "set:quiet=1", "set:@quiet=1; DROP TABLE t", "set:@quiet='x'"])
def test_what_triggers_look_at_is_a_variable_and_a_number(said: str, scene: MakeScene) -> None:
    """Nothing else gets into a statement."""
    shop = scene(FIRING)
    shop.damage("SET @quiet=1; UPDATE t SET a=0 WHERE id<3")

    with pytest.raises(InvalidInput, match="sets no variable"):
        shop.replay(triggers=said)


def test_what_triggers_look_at_is_set_again_after_a_lost_connection(scene: MakeScene) -> None:
    """A variable lives as long as its session."""
    shop = scene(FIRING)
    plan = shop.damage(*[f"SET @quiet=1; UPDATE t SET a=0 WHERE id={n}" for n in range(1, 11)])
    killed: list[str] = []

    def end_session(found: object) -> None:
        if not killed:
            killed.extend(shop.server.sql(f"SELECT ID FROM information_schema.PROCESSLIST WHERE DB = '{shop.name}'").split())
            shop.server.sql(f"KILL {killed[0]}")

    request = ReplayRequest(plan.url, shop.dsn(), approve=plan.id, batch_rows=2, triggers="set:@quiet=1")
    assert "done" == replay(request, progress=end_session).outcome
    assert shop.before == shop.dump()


# ---- the server


LOGGED_OTHERWISE = {
    "by statements": ("SET GLOBAL binlog_format=STATEMENT", "SET GLOBAL binlog_format=ROW"),
    "mixed": ("SET GLOBAL binlog_format=MIXED", "SET GLOBAL binlog_format=ROW"),
}


@pytest.mark.parametrize("how", LOGGED_OTHERWISE)
def test_an_account_that_cannot_be_logged_by_rows_is_refused(how: str, scene: MakeScene) -> None:
    """One that may set the format of its session does; one that may not is told how."""
    shop = scene(ITEMS)
    shop.damage("UPDATE t SET a=0 WHERE id<3")
    shop.server.sql(
        f"CREATE OR REPLACE USER clerk@localhost; GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, TRIGGER ON {shop.name}.* TO clerk@localhost"
    )
    shop.server.sql("GRANT PROCESS ON *.* TO clerk@localhost")
    shop.server.sql(LOGGED_OTHERWISE[how][0])
    try:
        with pytest.raises(TargetRefused, match="logged by rows"):
            shop.replay(user="clerk")
        assert not shop.sql("SHOW TABLES LIKE 'dblog_replay'")
        assert "done" == shop.replay().outcome
    finally:
        shop.server.sql(LOGGED_OTHERWISE[how][1])
    assert shop.before == shop.dump()
    inverse = read_plan(shop.replay().inverse, {})
    assert 2 == inverse.ledger.rows_undone


def test_a_session_that_is_not_logged_is_refused(scene: MakeScene) -> None:
    """`init_connect` of the server may turn the log off for those it is meant for."""
    shop = scene(ITEMS)
    shop.damage("UPDATE t SET a=0 WHERE id<3")
    rights = f"SELECT, INSERT, UPDATE, DELETE, CREATE, TRIGGER ON {shop.name}.*"
    shop.server.sql(
        f"CREATE OR REPLACE USER quiet@localhost; GRANT {rights} TO quiet@localhost; GRANT PROCESS, BINLOG ADMIN ON *.* TO quiet@localhost"
    )
    shop.server.sql("SET GLOBAL init_connect='SET SESSION sql_log_bin=0'")
    try:
        with pytest.raises(TargetRefused, match="sql_log_bin"):
            shop.replay(user="quiet")
    finally:
        shop.server.sql("SET GLOBAL init_connect=''")


def test_a_server_that_is_not_the_logs_is_named(scene: MakeScene, start_mariadb: Callable[..., MariaDB], tmp_path: Path) -> None:
    """A copy of the database elsewhere: replayed, with a warning; the server of the log gives none."""
    shop = scene(ITEMS)
    plan = shop.damage("UPDATE t SET a=0 WHERE id<3")
    other = start_mariadb("--server-id=77")
    copy = Scene(other, tmp_path, f"{ITEMS} UPDATE t SET a=0 WHERE id<3;")
    other.sql(f"CREATE DATABASE IF NOT EXISTS {shop.name}; DROP TABLE IF EXISTS {shop.name}.t; RENAME TABLE {copy.name}.t TO {shop.name}.t")
    request = ReplayRequest(plan.url, f"mysql://root@localhost/{shop.name}?unix_socket={other.socket}", approve=plan.id)
    (there,) = [line for line in replay(request).warnings if "wrote the log" in line]
    assert there.endswith("this is 77")

    assert [] == [line for line in shop.replay().warnings if "wrote the log" in line]


def test_who_follows_the_log_is_warned_of(scene: MakeScene) -> None:
    """The undo is in the log like any change: a report says so before the first write, and after."""
    shop = scene(ITEMS)
    shop.damage("UPDATE t SET a=0 WHERE id<3")

    assert [line for line in shop.replay().warnings if "CDC" in line]


@pytest.fixture
def small_transactions(mariadb: MariaDB) -> Iterator[Callable[[], str]]:
    """`small_transactions()` lets a transaction of a new session have 64 KB in the log, until the test's end."""
    before = mariadb.sql("SELECT @@max_binlog_cache_size").strip()
    yield lambda: mariadb.sql("SET GLOBAL max_binlog_cache_size=65536")
    mariadb.sql(f"SET GLOBAL max_binlog_cache_size={before}")


LONG = "CREATE TABLE t (id int PRIMARY KEY, a longtext); INSERT INTO t SELECT seq, {} FROM seq_1_to_600;"


def test_what_a_transaction_may_have_sets_the_size_of_batches(scene: MakeScene, small_transactions: Callable[[], str]) -> None:
    """`max_binlog_cache_size`: all in one is refused before the first write, batches are made to fit."""
    shop = scene(LONG.format("REPEAT('x', 700)"))
    shop.damage(*[f"UPDATE t SET a=REPEAT('y', 500) WHERE id BETWEEN {n} AND {n + 9}" for n in range(1, 300, 10)])
    small_transactions()
    with pytest.raises(TargetRefused, match="--atomic"):
        shop.replay(atomic=True)
    assert [] == shop.notes()

    report = shop.replay()
    assert ("done", shop.before) == (report.outcome, shop.dump())
    assert report.batches > 4


def test_a_batch_that_is_more_than_a_transaction_may_have_is_divided(scene: MakeScene, small_transactions: Callable[[], str]) -> None:
    """A few long rows among short ones: the average of the plan says nothing of their batch."""
    shop = scene(LONG.format("IF(seq > 590, REPEAT('x', 15000), 'x')"))
    shop.damage(*[f"UPDATE t SET a='z' WHERE id={n}" for n in range(1, 601)])
    small_transactions()

    assert "done" == shop.replay().outcome
    assert shop.before == shop.dump()


def test_a_step_that_is_more_than_a_transaction_may_have_is_an_error(scene: MakeScene, small_transactions: Callable[[], str]) -> None:
    """It cannot be divided: nothing of it is kept."""
    shop = scene(LONG.format("IF(seq = 9, REPEAT('x', 80000), 'x')"))
    shop.damage("UPDATE t SET a='z' WHERE id = 9")
    damaged = shop.dump()
    small_transactions()

    with pytest.raises(TargetError, match="max_binlog_cache_size"):
        shop.replay()
    assert damaged == shop.dump()


def test_who_may_not_make_the_table_of_notes_is_told_how_it_is_made(scene: MakeScene) -> None:
    """The statement that is printed makes it, and then the replay needs no such right."""
    shop = scene(ITEMS)
    shop.damage("UPDATE t SET a=0 WHERE id<3")
    rights = f"SELECT, INSERT, UPDATE, DELETE, TRIGGER ON {shop.name}.*"
    shop.server.sql(
        f"CREATE OR REPLACE USER lesser@localhost; GRANT {rights} TO lesser@localhost; GRANT PROCESS ON *.* TO lesser@localhost"
    )
    with pytest.raises(TargetRefused, match="cannot be made") as refused:
        shop.replay(user="lesser")
    shop.sql(refused.value.hint.removeprefix("have it made: "))

    assert "done" == shop.replay(user="lesser").outcome
    assert shop.before == shop.dump()


def test_a_server_at_work_holds_the_replay(scene: MakeScene) -> None:
    """More sessions at work than `--max-running`: what is committed stays, the same command goes on later."""
    shop = scene(ITEMS)
    shop.damage("UPDATE t SET a=0 WHERE id<3")
    report = shop.replay(max_running=1)
    assert ("done", 0) == (report.outcome, report.exit_code)
    report = replay(ReplayRequest(report.inverse, shop.dsn(), approve=report.inverse_id))

    with closing(shop.session()) as busy, ThreadPoolExecutor(1) as pool, busy.cursor() as cursor:
        sleeping = pool.submit(cursor.execute, "SELECT SLEEP(600)")
        while not (number := shop.server.sql("SELECT ID FROM information_schema.PROCESSLIST WHERE INFO='SELECT SLEEP(600)'").strip()):
            assert not sleeping.done()
        held = shop.replay(max_running=1)
        shop.server.sql(f"KILL QUERY {number}")
        sleeping.exception()
    assert ("held: the server is too busy", 4, 0) == (held.outcome, held.exit_code, held.steps)
    assert "done" == shop.replay(max_running=1).outcome
    assert shop.before == shop.dump()


def test_a_limit_that_the_server_cannot_tell_is_refused(scene: MakeScene) -> None:
    """It is not left out without a word."""
    shop = scene(ITEMS)
    shop.damage("UPDATE t SET a=0 WHERE id<4")
    with pytest.raises(InvalidInput, match="cannot tell how far its replicas are behind"):
        shop.replay(max_lag=5.0)
    assert "dry run" == shop.replay(max_lag=5.0, dry_run=True).outcome


# ---- the log since the plan was made


def test_what_came_after_the_plan_is_looked_at_again(scene: MakeScene) -> None:
    """New hard conflicts in the log stop it before anything is written, unless they are accepted; then the rows decide."""
    shop = scene(ITEMS)
    shop.damage("UPDATE t SET a=0 WHERE id<4")
    quiet = shop.replay(dry_run=True, logs=(shop.logs,))
    assert [line for line in quiet.warnings if ": 0 hard conflicts, 0 soft" in line]
    shop.sql("UPDATE t SET a=7 WHERE id=2; UPDATE t SET a=0 WHERE id=2")
    tried = shop.replay(dry_run=True, logs=(shop.logs,))
    assert [line for line in tried.warnings if ": 1 hard conflicts, 0 soft" in line]
    with pytest.raises(InvalidInput, match="--acknowledge 'new conflicts'"):
        shop.replay(logs=(shop.logs,))
    assert not shop.sql("SELECT * FROM dblog_replay")

    report = shop.replay(logs=(shop.logs,), acknowledge=("new conflicts",), batch_rows=1)
    assert ("done", shop.before) == (report.outcome, shop.dump())
    again = shop.replay(logs=(shop.logs,))
    assert ("done", {"applies": 3}) == (again.outcome, again.rows)


def test_the_command_looks_at_the_log_again(scene: MakeScene, capsys: pytest.CaptureFixture[str]) -> None:
    """`--log`, as often as there are logs."""
    shop = scene(ITEMS)
    plan = shop.damage("UPDATE t SET a=0 WHERE id<4")
    assert 0 == shop.command("replay", "--approve", plan.id, "--log", shop.logs)

    assert "the log was read again up to binlog." in capsys.readouterr().out


# ---- verify


def test_what_was_accepted_for_the_replay_needs_no_word_for_verify(scene: MakeScene) -> None:
    """It reads only: engines without transactions, tables without a key, triggers and a server that is read_only are no obstacle."""
    shop = scene(
        "CREATE TABLE t (id int PRIMARY KEY, a int) ENGINE=Aria; INSERT INTO t VALUES (1,1),(2,2);"
        "CREATE TABLE nokey (a int); INSERT INTO nokey VALUES (1);"
        "CREATE TRIGGER fires AFTER UPDATE ON t FOR EACH ROW SET @seen=1;"
    )
    plan = shop.damage("UPDATE t SET a=0", "UPDATE nokey SET a=2")
    shop.replay(acknowledge=(f"engine: {shop.name}.t", f"no key: {shop.name}.nokey"), triggers="allow")
    shop.server.sql("SET GLOBAL read_only=1")
    try:
        assert {"equal": 2, "counted": 1} == verify(plan.url, shop.dsn()).rows
    finally:
        shop.server.sql("SET GLOBAL read_only=0")
