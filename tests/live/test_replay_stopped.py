"""A replay among locks and other replays, stopped by a person, and killed, on a real MariaDB."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
import os
import random
import signal
import subprocess
import sys
from threading import Event
import time

import orjson
import pytest

from dblog_tasks.cli import run
from dblog_tasks.errors import TargetRefused
from dblog_tasks.judging import Verdict
from dblog_tasks.plan import check, read_plan
from dblog_tasks.replay import ReplayProgress, ReplayRequest, replay
from dblog_tasks.verify import verify
from tests.live.scenes import ITEMS, MakeScene, Scene


def test_a_lock_wait_undoes_the_batch_and_tries_again(scene: MakeScene) -> None:
    """Another session holds a row for longer than a lock is waited for; nothing of the half batch is kept meanwhile."""
    shop = scene(ITEMS)
    shop.damage("UPDATE t SET a=0 WHERE id<10", "UPDATE t SET a=0 WHERE id>=10")
    with closing(shop.session()) as holder, ThreadPoolExecutor(1) as pool, holder.cursor() as cursor:
        cursor.execute("SELECT * FROM t WHERE id=4 FOR UPDATE")
        running = pool.submit(shop.replay)
        while shop.server.sql("SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_current_waits'").split()[1] == "0":
            assert not running.done(), running.exception()
        time.sleep(5.5)  # what the server waits before it gives up
        holder.rollback()
        report = running.result()

    assert "done" == report.outcome
    assert shop.before == shop.dump()


def test_a_lost_connection_is_made_again(scene: MakeScene) -> None:
    """The server ends the session between batches and inside of one: what was committed is not done again."""
    shop = scene("CREATE TABLE t (id int PRIMARY KEY, a int); INSERT INTO t SELECT seq, 0 FROM seq_1_to_300;")
    plan = shop.damage(*[f"UPDATE t SET a=a+1 WHERE id BETWEEN {n} AND {n + 50}" for n in range(1, 200, 10)])
    killed: list[str] = []

    def end_session(found: ReplayProgress) -> None:
        if not found.checking and len(killed) < 3:
            number = shop.server.sql(f"SELECT ID FROM information_schema.PROCESSLIST WHERE DB = '{shop.name}'").strip()
            shop.server.sql(f"KILL {number}")
            killed.append(number)

    report = replay(ReplayRequest(plan.url, shop.dsn(), approve=plan.id, batch_rows=100), progress=end_session)

    assert ("done", 3) == (report.outcome, len(set(killed)))
    assert {"applies": plan.ledger.rows_undone} == report.rows
    assert shop.before == shop.dump()


COUNTED = "CREATE TABLE t (id int PRIMARY KEY, a int); INSERT INTO t SELECT seq, 0 FROM seq_1_to_300;"


def sessions_of(shop: Scene) -> list[str]:
    """Return the sessions a replay has in a database."""
    return shop.server.sql(f"SELECT ID FROM information_schema.PROCESSLIST WHERE DB = '{shop.name}'").split()


@pytest.mark.parametrize("kind", ["replay", "dry run"])
def test_a_connection_lost_while_every_step_is_checked_is_made_again(kind: str, scene: MakeScene) -> None:
    """The check goes on with the step it was at, by the rows as they are then: each row has one verdict."""
    shop = scene(COUNTED)
    plan = shop.damage(*[f"UPDATE t SET a=a+1 WHERE id BETWEEN {n} AND {n + 50}" for n in range(1, 200, 10)])
    killed: list[str] = []
    told: list[Verdict] = []
    dry_run = kind == "dry run"

    def end_session(found: ReplayProgress) -> None:
        if found.checking and len(killed) < 3:
            (number,) = sessions_of(shop)
            shop.server.sql(f"KILL {number}")
            killed.append(number)

    request = ReplayRequest(plan.url, shop.dsn(), approve="" if dry_run else plan.id, dry_run=dry_run, batch_rows=100)
    report = replay(request, progress=end_session, outcomes=told.append)

    rows = plan.ledger.rows_undone
    assert (3, rows, {"applies": rows}) == (len(set(killed)), len(told), report.rows)
    assert not dry_run or not shop.sql("SHOW TABLES LIKE 'dblog_replay'")
    assert dry_run or shop.before == shop.dump()


def test_a_table_that_is_locked_while_a_replay_begins_is_waited_for(scene: MakeScene) -> None:
    """`LOCK TABLES` of another session, longer than a lock is waited for: binding, checking and writing are tried again."""
    shop = scene(ITEMS)
    plan = shop.damage("UPDATE t SET a=0")
    waits = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE LIKE 'Waiting for table metadata lock'"
    with closing(shop.session()) as holder, ThreadPoolExecutor(1) as pool, holder.cursor() as cursor:
        cursor.execute("LOCK TABLES t WRITE")
        running = pool.submit(shop.replay)
        for wanted in ("1", "0", "1"):  # it waits, gives up, and waits again
            while shop.server.sql(waits).strip() != wanted:
                assert not running.done(), running.exception()
        cursor.execute("UNLOCK TABLES")
        report = running.result()

    assert {"applies": plan.ledger.rows_undone} == report.rows
    assert shop.before == shop.dump()


def test_a_connection_lost_while_rows_are_verified_is_made_again(scene: MakeScene) -> None:
    """What was held against the plan already is not counted twice."""
    shop = scene("CREATE TABLE t (id int PRIMARY KEY, a int); INSERT INTO t SELECT seq, 0 FROM seq_1_to_9000;")
    plan = shop.damage("UPDATE t SET a=1")
    shop.replay()
    killed: list[str] = []

    def end_session(done: int, total: int) -> None:
        if len(killed) < 2:
            killed.extend(number := sessions_of(shop))
            shop.server.sql(f"KILL {number[0]}")

    assert {"equal": 9000} == verify(plan.url, shop.dsn(), progress=end_session).rows
    assert 2 == len(set(killed))


def test_a_person_stops_the_check(scene: MakeScene) -> None:
    """Nothing is written then, and nothing is said to be done."""
    shop = scene(COUNTED)
    plan = shop.damage(*[f"UPDATE t SET a=a+1 WHERE id BETWEEN {n} AND {n + 50}" for n in range(1, 200, 10)])
    cancel = Event()
    request = ReplayRequest(plan.url, shop.dsn(), approve=plan.id, batch_rows=100)
    report = replay(request, cancel=cancel, progress=lambda found: cancel.set())

    assert ("cancelled", 130, 0, {}) == (report.outcome, report.exit_code, report.batches, report.rows)


def test_two_replays_at_once_do_every_step_once(scene: MakeScene) -> None:
    """One works, the other one waits for it and finds nothing left, or is refused."""
    shop = scene("CREATE TABLE t (id int PRIMARY KEY, a int); INSERT INTO t SELECT seq, 0 FROM seq_1_to_300;")
    shop.damage(*[f"UPDATE t SET a=a+1 WHERE id BETWEEN {n} AND {n + 100}" for n in range(1, 200, 10)])

    def go(_: int) -> str:
        try:
            return shop.replay(batch_rows=100).outcome
        except TargetRefused:
            return "refused"

    with ThreadPoolExecutor(2) as pool:
        outcomes = set(pool.map(go, range(2)))
    assert "done" in outcomes <= {"done", "refused"}
    assert shop.before == shop.dump()


def test_a_person_stops_it_and_it_goes_on_later(scene: MakeScene) -> None:
    """The batch under way is finished; what is committed can be taken back, and the rest done."""
    shop = scene(ITEMS)
    plan = shop.damage(*[f"UPDATE t SET a=0 WHERE id={n}" for n in range(1, 11)])
    cancel = Event()
    request = ReplayRequest(plan.url, shop.dsn(), approve=plan.id, batch_rows=3)
    report = replay(request, cancel=cancel, progress=lambda found: cancel.set() if found.steps and not found.checking else None)

    assert ("cancelled", 130, 3, 1) == (report.outcome, report.exit_code, report.steps, report.batches)
    assert 3 == read_plan(report.inverse, {}).ledger.rows_undone
    done = replay(request)
    assert ("done", 4, report.inverse) == (done.outcome, done.batches, done.inverse)
    assert 10 == read_plan(done.inverse, {}).ledger.rows_undone
    assert shop.before == shop.dump()


def test_no_password_on_the_command_line(scene: MakeScene, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A DSN with one is refused; a variable may hold it, and nothing prints it."""
    shop = scene(ITEMS)
    plan = shop.damage("UPDATE t SET a=0 WHERE id<3")
    shop.server.sql("CREATE OR REPLACE USER keeper@localhost IDENTIFIED BY 'pa:ss@word'; GRANT ALL ON *.* TO keeper@localhost")
    assert 1 == run(["replay", plan.url, "--target", shop.dsn("keeper:secret"), "--dry-run"])
    monkeypatch.setenv("TARGET", shop.dsn("keeper:pa%3Ass%40word"))
    assert 0 == run(["replay", plan.url, "--target", "env:TARGET", "--dry-run"])
    monkeypatch.setenv("DBLOG_TARGET_PASSWORD", "wrong")
    assert 1 == run(["replay", plan.url, "--target", shop.dsn("keeper"), "--dry-run"])
    monkeypatch.setenv("DBLOG_TARGET_PASSWORD", "pa:ss@word")
    assert 0 == run(["verify", plan.url, "--target", shop.dsn("keeper")]) - 5
    printed = "".join(capsys.readouterr())

    assert not [word for word in ("secret", "wrong", "pa:ss", "pa%3A") if word in printed]


# ---- killed


COMMAND = [sys.executable, "-c", "from dblog_tasks.__main__ import main; main()"]
MOVES = """CREATE TABLE t (id int PRIMARY KEY, a int, b varchar(20)); CREATE TABLE nokey (a int);
    INSERT INTO t SELECT seq, 0, CONCAT('b', seq) FROM seq_1_to_400; INSERT INTO nokey SELECT seq % 5 FROM seq_1_to_40;"""
KILLS = 10


def test_a_replay_killed_anywhere_goes_on_and_does_every_step_once(scene: MakeScene) -> None:
    """A real process ends itself at reads, writes, stores and commits, again and again; the next one goes on where it was."""
    shop = scene(MOVES)
    damage = [f"UPDATE t SET a=a+1 WHERE id BETWEEN {n * 9} AND {n * 9 + 60}" for n in range(30)]
    shop.damage(*damage, "DELETE FROM t WHERE id % 3 = 0", "DELETE FROM nokey LIMIT 7", "INSERT INTO nokey VALUES (1),(1),(9)")
    damaged = shop.dump()
    draw = random.Random(4)
    command = [*COMMAND, "replay", shop.plan.url, "--target", shop.dsn(), "--approve", shop.plan.id, "--batch-rows", "60"]
    command += ["--acknowledge", f"no key: {shop.name}.nokey", "--on-conflict", "skip", "--as", "json"]
    kills = 0
    for _ in range(60):
        point = f"{draw.choice(['read', 'write', 'stored', 'commit', 'committed'])}:{draw.randint(1, 4)}" if kills < KILLS else ""
        done = subprocess.run(command, env={**os.environ, "DBLOG_KILL_AT": point}, capture_output=True, text=True, check=False)
        if not done.returncode:
            break
        assert -signal.SIGKILL == done.returncode, done.stderr
        kills += 1
    report = orjson.loads(done.stdout)

    assert (0, "done") == (done.returncode, report["outcome"])
    assert kills >= KILLS
    assert {"applies": shop.plan.ledger.rows_undone} == report["rows"]
    assert shop.before == shop.dump()
    inverse = read_plan(report["inverse"], {})
    assert ([], shop.plan.ledger.rows_undone) == (check(inverse), inverse.ledger.rows_undone)
    replay(ReplayRequest(inverse.url, shop.dsn(), approve=inverse.id, acknowledge=(f"no key: {shop.name}.nokey",)))
    assert damaged == shop.dump()
