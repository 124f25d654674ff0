"""Replay on a real PostgreSQL: what is restored, what is left alone, what is refused, and what a killed one leaves."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
import os
import random
import signal
import subprocess
import sys

import orjson
import psycopg
import pytest

from dblog_tasks.cli import run
from dblog_tasks.errors import TargetRefused
from dblog_tasks.plan import check, read_plan
from dblog_tasks.replay import ReplayProgress, ReplayRequest, replay
from dblog_tasks.verify import verify
from tests.live.postgres_scenes import ITEMS, SHOP, WORK, MakePostgresScene
from tests.live.servers import Postgres

# ---- what is restored


def test_the_damage_is_undone_and_taken_back_again(postgres_scene: MakePostgresScene) -> None:
    """Replay, verify, the inverse plan, and the replay once more: each gives exactly the rows that were."""
    shop = postgres_scene(ITEMS)
    plan = shop.damage("DELETE FROM t WHERE id<5", "UPDATE t SET a=0, b=NULL WHERE id>15", "INSERT INTO t VALUES (99, 1, 'x')")
    damaged = shop.dump()

    report = shop.replay(approver="Ann")
    assert ("done", 0, {"applies": 10}) == (report.outcome, report.exit_code, report.rows)
    assert shop.before == shop.dump()
    assert {"equal": 10} == verify(plan.url, shop.dsn()).rows
    assert "Ann" == shop.sql("SELECT approver FROM dblog_replay").strip()
    assert {"applies": 10} == shop.replay().rows  # what is done is done

    undone = read_plan(report.inverse, {})
    assert ([], report.inverse_id) == (check(undone), undone.id)
    assert "done" == replay(ReplayRequest(undone.url, shop.dsn(), approve=undone.id)).outcome
    assert damaged == shop.dump()
    assert {"applies": 10} == shop.replay(max_lag=60.0, max_running=100).rows  # it has no replica that could be behind
    assert shop.before == shop.dump()


@pytest.mark.parametrize("rows", [1, 7, 100_000])
def test_cascades_identities_partitions_and_rows_that_are_equal(rows: int, postgres_scene: MakePostgresScene) -> None:
    """Foreign keys stay on: what they took along comes back after what it refers to, and goes before it when that is taken back."""
    shop = postgres_scene(SHOP)
    plan = shop.damage(*[f"{words}" for words in (part.partition("COMMIT")[0] for part in WORK.split("BEGIN;")[1:])])
    damaged = shop.dump()
    acknowledge = ("no key: public.keyless",)

    if rows == 1:  # less than a cascade has: its rows cannot be apart from what they refer to
        report = shop.replay(acknowledge=acknowledge, batch_rows=rows)
        assert (4, "stopped at a conflict") == (report.exit_code, report.outcome)
        report = shop.replay(acknowledge=acknowledge, atomic=True)
    else:
        report = shop.replay(acknowledge=acknowledge, batch_rows=rows)
    assert ("done", ()) == (report.outcome, report.conflicts)
    assert shop.before == shop.dump()
    found = verify(plan.url, shop.dsn())
    assert found.clean, found.differences[:3]
    undone = read_plan(report.inverse, {})
    again = replay(ReplayRequest(undone.url, shop.dsn(), approve=undone.id, acknowledge=acknowledge, batch_rows=100_000))
    assert ("done", ()) == (again.outcome, again.conflicts)
    assert damaged == shop.dump()


def test_dry_run_writes_nothing_and_says_all(postgres_scene: MakePostgresScene, capsys: pytest.CaptureFixture[str]) -> None:
    """Every row has its line; a conflict shows the row as it is now; not even the table of notes is made, nor anything logged."""
    shop = postgres_scene(ITEMS)
    shop.damage("UPDATE t SET a=0 WHERE id<4", later=("UPDATE t SET a=7 WHERE id=2", "UPDATE t SET a=3 WHERE id=3"))
    before = shop.dump()
    shop.server.received(shop.name, shop.name)
    capsys.readouterr()
    code = run(["replay", shop.plan.url, "--target", shop.dsn(), "--dry-run"])
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]

    assert 4 == code
    assert [("already applied", '{"id":"3"}'), ("conflict", '{"id":"2"}'), ("applies", '{"id":"1"}')] == [
        (line[0], line[2]) for line in lines[:3]
    ]
    assert 'column changed (a); now {"id":"2","a":"7","b":"b2"}' == lines[1][4]
    assert (before, "\n", b"") == (
        shop.dump(),
        shop.sql("SELECT to_regclass('dblog_replay')"),
        shop.server.received(shop.name, shop.name, "skip-empty-xacts=1"),
    )


def test_rows_changed_many_times_go_back_in_any_batches(postgres_scene: MakePostgresScene) -> None:
    """One row in many steps, in one batch or in many; keys that were shifted go back through each other's places."""
    for rows in (1, 3, 1000):
        shop = postgres_scene(ITEMS)
        shop.damage(
            *[f"UPDATE t SET a={n}, b='n{n}' WHERE id BETWEEN {n % 5} AND 9" for n in range(8)],
            "UPDATE t SET id=id+100; UPDATE t SET id=id-99; UPDATE t SET id=id+200 WHERE id<5",
            "DELETE FROM t WHERE id=203; INSERT INTO t VALUES (203, 8, 'z'); DELETE FROM t WHERE id=203",
        )
        damaged = shop.dump()
        report = shop.replay(batch_rows=rows)

        assert "done" == report.outcome
        assert shop.before == shop.dump(), rows
        inverse = read_plan(report.inverse, {})
        assert "done" == replay(ReplayRequest(inverse.url, shop.dsn(), approve=inverse.id)).outcome
        assert damaged == shop.dump(), rows


def test_a_log_decoded_in_another_session_is_the_same(postgres_scene: MakePostgresScene) -> None:
    """Another time zone, another form of bytes and intervals: values are compared in the target's form, keys among them."""
    shop = postgres_scene(
        "CREATE TABLE t (at timestamptz PRIMARY KEY, b bytea, i interval, f float8, r real, s timestamptz[]);"
        "INSERT INTO t SELECT '2024-03-01 12:00+00'::timestamptz + n * interval '1 hour', decode('00ff5c' || lpad(n::text, 2, '0'), 'hex'),"
        " n * interval '1 mon -3 days 02:03:04.5', 1e16 / n, 0.1 * n, ARRAY['2024-01-01 00:00+00'::timestamptz]"
        " FROM generate_series(1, 9) n;"
    )
    for name, value in (("TimeZone", "Asia/Tokyo"), ("bytea_output", "escape"), ("IntervalStyle", "iso_8601")):
        shop.sql(f"ALTER ROLE postgres IN DATABASE {shop.name} SET {name} = '{value}'")
    try:
        shop.damage("DELETE FROM t WHERE r < 0.35", "UPDATE t SET b = '', i = NULL, s = '{}' WHERE r > 0.45")
    finally:
        shop.sql(f"ALTER ROLE postgres IN DATABASE {shop.name} RESET ALL")

    assert {"applies": 8} == shop.replay().rows
    assert shop.before == shop.dump()
    assert {"equal": 8} == verify(shop.plan.url, shop.dsn()).rows


# ---- conflicts


def test_stop_changes_nothing_and_names_the_conflicts(postgres_scene: MakePostgresScene) -> None:
    """All steps are checked before the first write; skip restores the rest; force writes what the steps want."""
    shop = postgres_scene(ITEMS)
    later = ("UPDATE t SET a=5 WHERE id=3", "DELETE FROM t WHERE id=4", "INSERT INTO t VALUES (15,1,'other')")
    shop.damage("UPDATE t SET a=0 WHERE id<9", "DELETE FROM t WHERE id=15", later=later)
    before = shop.dump()
    report = shop.replay(batch_rows=1)

    assert ("stopped at a conflict", 4, 0, "") == (report.outcome, report.exit_code, report.batches, report.inverse)
    assert before == shop.dump()
    found = [(conflict["key"], conflict["what"], conflict["columns"], conflict["now"]) for conflict in report.conflicts]
    assert [
        ({"id": "15"}, "key reused", ["a", "b"], {"id": "15", "a": "1", "b": "other"}),
        ({"id": "4"}, "row gone", [], None),
        ({"id": "3"}, "column changed", ["a"], {"id": "3", "a": "5", "b": "b3"}),
    ] == found
    assert {"applies": 6, "skipped": 3} == shop.replay(on_conflict="skip").rows


def test_force_writes_what_the_steps_want(postgres_scene: MakePostgresScene) -> None:
    """Changed, gone and reused rows all become what they were before the damage."""
    shop = postgres_scene(ITEMS)
    later = ("UPDATE t SET a=5 WHERE id=3", "DELETE FROM t WHERE id=4", "INSERT INTO t VALUES (15,1,'o')")
    shop.damage("UPDATE t SET a=0 WHERE id<9", "DELETE FROM t WHERE id=15", later=later)

    assert 3 == shop.replay(on_conflict="force").rows["forced"]
    assert shop.before == shop.dump()


# Type -> a value, and one that is as near to it as the type allows.
NEAR = {
    "smallint": ("1", "2"),
    "bigint": ("9223372036854775807", "9223372036854775806"),
    "numeric": ("1.10", "1.1"),
    "numeric(30,10)": ("1", "1.0000000001"),
    "real": ("0.1", "0.10000001"),
    "double precision": ("0.1", "0.10000000000000002"),
    "boolean": ("true", "false"),
    "text": ("bob", "bob "),
    "varchar(9)": ("bob", "Bob"),
    "char(9)": ("bob", "boc"),
    '"char"': ("a", "b"),
    "name": ("a", "b"),
    "bytea": ("\\x00ff", "\\x00fe"),
    "date": ("2024-02-29", "2024-03-01"),
    "time": ("12:00:00", "12:00:00.000001"),
    "timetz": ("12:00:00+01", "12:00:00.000001+01"),
    "timestamp": ("2024-02-29 12:00:00", "2024-02-29 12:00:00.000001"),
    "timestamptz": ("2024-02-29 12:00:00+05", "2024-02-29 12:00:00.000001+05"),
    "interval": ("1 day", "24:00:00"),
    "uuid": ("00000000-0000-0000-0000-00000000000a", "00000000-0000-0000-0000-00000000000b"),
    "json": ('{"a": 1}', '{"a":1}'),
    "jsonb": ('{"a": 1}', '{"a": 1.0}'),
    "xml": ("<a/>", "<a />"),
    "money": ("1234.56", "1234.57"),
    "bit(3)": ("101", "100"),
    "varbit": ("101", "1010"),
    "inet": ("10.0.0.1/32", "10.0.0.1/31"),
    "cidr": ("10.0.0.0/8", "10.0.0.0/9"),
    "macaddr": ("08:00:2b:01:02:03", "08:00:2b:01:02:04"),
    "point": ("(1,2)", "(1,2.0000000000000004)"),
    "box": ("(1,1),(0,0)", "(1,1),(0,0.5)"),
    "polygon": ("((0,0),(1,1),(1,0))", "((0,0),(1,1),(1,0.5))"),
    "tsvector": ("'a':1 'b':2", "'a':1 'b':3"),
    "int4range": ("[1,5)", "[1,6)"),
    "tstzrange": ('["2024-01-01 00:00:00+00",)', '["2024-01-01 00:00:00.000001+00",)'),
    "int4multirange": ("{[1,5)}", "{[1,6)}"),
    "integer[]": ("{1,NULL,3}", "{1,NULL,4}"),
    "text[]": ('{a,"",NULL}', '{a,"","NULL"}'),
    "pg_lsn": ("0/1", "0/2"),
    "oid": ("4294967295", "4294967294"),
    "mood": ("sad", "very happy"),
    "email": ("a@b", "a@c"),
    "pair": ('(1,"x y")', '(1,"x  y")'),
}
TYPES = (
    "CREATE TYPE mood AS ENUM ('sad', 'very happy'); CREATE DOMAIN email AS varchar(80) CHECK (VALUE LIKE '%@%');"
    "CREATE TYPE pair AS (a int, b text);"
)


def test_the_nearest_other_value_of_every_type_is_a_conflict(postgres: Postgres, postgres_scene: MakePostgresScene) -> None:
    """A guard is by text: rows are as the log left them, until another session changes each column as little as its type allows."""
    has_xml = not postgres.psql("SELECT '<a/>'::xml", "postgres", "-v", "ON_ERROR_STOP=1").returncode
    near = {kind: values for kind, values in NEAR.items() if kind != "xml" or has_xml}
    columns = {f"c{n}": kind for n, kind in enumerate(near)}
    shop = postgres_scene(f"CREATE SCHEMA s; {TYPES} CREATE TABLE t (id int PRIMARY KEY, {', '.join(map(' '.join, columns.items()))});")
    literals = {name: [f"'{value.replace(chr(39), chr(39) * 2)}'" for value in near[kind]] for name, kind in columns.items()}
    shop.damage(
        f"INSERT INTO t VALUES (1, {', '.join(first for first, _ in literals.values())}); INSERT INTO t VALUES (2)",
        f"INSERT INTO t SELECT 10 + n, {', '.join(columns)} FROM t, generate_series(1, {len(columns)}) n WHERE id = 1",
    )
    count = len(columns) + 2
    assert {"applies": count} == shop.replay(dry_run=True).rows
    shop.sql("".join(f"UPDATE t SET {name} = {other} WHERE id = {11 + n};" for n, (name, (_, other)) in enumerate(literals.items())))
    shop.sql("".join(f"UPDATE t SET {name} = {first} WHERE id = 2;" for name, (first, _) in literals.items()))

    report = shop.replay(dry_run=True)

    found = {conflict["key"]["id"]: conflict["columns"] for conflict in report.conflicts}
    assert {"2": list(columns), **{str(11 + n): [name] for n, name in enumerate(columns)}} == found
    assert {"applies": 1, "conflict": count - 1} == report.rows


REFUSED_BY_RULES = {
    "unique": ("CREATE TABLE t (id int PRIMARY KEY, u int UNIQUE)", "INSERT INTO t VALUES (1,5),(2,6)", "DELETE FROM t WHERE id=1",
               "INSERT INTO t VALUES (9,5)", "in the way is {'id': '9', 'u': '5'}"),
    "check": ("CREATE TABLE t (id int PRIMARY KEY, u int)", "INSERT INTO t VALUES (1,-5),(2,6)", "DELETE FROM t WHERE id=1",
              "ALTER TABLE t ADD CONSTRAINT positive CHECK (u > 0)", "positive"),
    "parent": ("CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE t (id int PRIMARY KEY, u int REFERENCES p)",
               "INSERT INTO p VALUES (5),(6); INSERT INTO t VALUES (1,5),(2,6)", "DELETE FROM t WHERE id=1", "DELETE FROM p WHERE id=5",
               "is not present in table"),
    "deferred": ("CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE t (id int PRIMARY KEY, u int REFERENCES p INITIALLY DEFERRED)",
                 "INSERT INTO p VALUES (5),(6); INSERT INTO t VALUES (1,5),(2,6)", "DELETE FROM t WHERE id=1", "DELETE FROM p WHERE id=5",
                 "is not present in table"),
    "rounding": ("CREATE TABLE t (id int PRIMARY KEY, u int, n numeric)", "INSERT INTO t VALUES (1,5,1.25),(2,6,1)",
                 "DELETE FROM t WHERE id=1", "ALTER TABLE t ALTER n TYPE numeric(9,1)", "keeps 1 digits"),
    "length": ("CREATE TABLE t (id int PRIMARY KEY, u int, v text)", "INSERT INTO t VALUES (1,5,'abcdef'),(2,6,'')",
               "DELETE FROM t WHERE id=1", "ALTER TABLE t ALTER v TYPE varchar(3)", "too long"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED_BY_RULES)
def test_what_the_database_refuses_is_a_conflict(kind: str, postgres_scene: MakePostgresScene) -> None:
    """Unique keys, checks, foreign keys, values that no longer fit: stopped with what was said, skipped on demand, the rest restored."""
    tables, rows, damage, later, said = REFUSED_BY_RULES[kind]
    shop = postgres_scene(f"{tables}; {rows}")
    shop.damage(damage, "UPDATE t SET u=60 WHERE id=2" if kind not in ("parent", "deferred") else "UPDATE t SET u=NULL WHERE id=2",
                later=(later,))  # fmt: skip
    before = shop.dump()
    report = shop.replay()

    assert ("stopped at a conflict", 1) == (report.outcome, len(report.conflicts))
    assert said in report.conflicts[0]["what"]
    assert before == shop.dump()
    assert {"applies": 1, "skipped": 1} == shop.replay(on_conflict="skip").rows


FAMILY = (
    "CREATE TABLE p (id int PRIMARY KEY, a int); CREATE TABLE c (id int PRIMARY KEY, pid int REFERENCES p (id)"
    " ON DELETE {} ON UPDATE CASCADE); INSERT INTO p VALUES (1,1),(2,2);"
)


@pytest.mark.parametrize("rule", ["CASCADE", "SET NULL", "RESTRICT"])
@pytest.mark.parametrize("policy", ["stop", "skip", "force"])
def test_children_that_are_not_in_the_plan_are_a_conflict(rule: str, policy: str, postgres_scene: MakePostgresScene) -> None:
    """The undo of an INSERT would delete rows that others tied to it since; also under force."""
    shop = postgres_scene(FAMILY.format(rule))
    shop.damage("INSERT INTO p VALUES (7,7),(8,8)", later=("INSERT INTO c VALUES (70,7)",))
    report = shop.replay(on_conflict=policy)

    assert "referred to by other rows" == report.conflicts[0]["what"]
    assert [{"table": "public.c", "row": {"id": "70", "pid": "7"}}] == report.conflicts[0]["children"]
    assert "70\t7\n" == shop.sql("SELECT * FROM c")


def test_children_come_and_go_with_their_parents_whatever_the_log_s_order(postgres_scene: MakePostgresScene) -> None:
    """A transaction that defers its keys may write children first; a child that is in the way keeps its parent."""
    shop = postgres_scene(
        "CREATE TABLE p (id int PRIMARY KEY, a int);"
        "CREATE TABLE c (id int PRIMARY KEY, pid int REFERENCES p ON DELETE CASCADE INITIALLY DEFERRED);"
    )
    shop.damage("INSERT INTO c VALUES (70,7),(71,7),(80,8); INSERT INTO p VALUES (7,7),(8,8)", later=("UPDATE c SET pid=8 WHERE id=71",))
    report = shop.replay(on_conflict="skip")

    assert {"applies": 3, "skipped": 2} == report.rows
    assert ["public.c", "71\t8", "public.p", "8\t8"] == [line.replace('"', "") for line in shop.dump().splitlines()]


# ---- locks, lost connections, kills


def test_locks_that_are_not_had_are_waited_for(postgres_scene: MakePostgresScene) -> None:
    """Another session holds a row for longer than a lock is waited for; nothing of the half batch is kept meanwhile."""
    shop = postgres_scene(ITEMS)
    shop.damage("UPDATE t SET a=0 WHERE id<10", "UPDATE t SET a=0 WHERE id>=10")
    with psycopg.connect(shop.dsn()) as holder, ThreadPoolExecutor(1) as pool:
        holder.execute("SELECT * FROM t WHERE id=4 FOR UPDATE")
        running = pool.submit(shop.replay)
        timed_out = "SELECT count(*) FROM pg_stat_database WHERE datname = current_database() AND xact_rollback > %s"
        ((before,),) = holder.execute("SELECT xact_rollback FROM pg_stat_database WHERE datname = current_database()").fetchall()
        while holder.execute(timed_out.encode(), (before,)).fetchone() == (0,):
            assert not running.done(), running.exception()
            holder.execute("SELECT pg_stat_clear_snapshot(), pg_sleep(0.1)")
        holder.rollback()
        report = running.result()

    assert "done" == report.outcome
    assert shop.before == shop.dump()


def test_a_lost_connection_is_made_again(postgres_scene: MakePostgresScene) -> None:
    """The server ends the session between batches: what was committed is not done again."""
    shop = postgres_scene("CREATE TABLE t (id int PRIMARY KEY, a int); INSERT INTO t SELECT n, 0 FROM generate_series(1, 300) n;")
    plan = shop.damage(*[f"UPDATE t SET a=a+1 WHERE id BETWEEN {n} AND {n + 50}" for n in range(1, 200, 10)])
    ended: list[str] = []

    def end_session(found: ReplayProgress) -> None:
        if not found.checking and len(ended) < 3:
            ended.append(shop.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'dblog'").strip())

    report = replay(ReplayRequest(plan.url, shop.dsn(), approve=plan.id, batch_rows=100), progress=end_session)

    assert ("done", ["t"] * 3) == (report.outcome, ended)
    assert {"applies": plan.ledger.rows_undone} == report.rows
    assert shop.before == shop.dump()


def test_two_replays_at_once_do_every_step_once(postgres_scene: MakePostgresScene) -> None:
    """One works, the other one waits for it and finds nothing left, or is refused."""
    shop = postgres_scene("CREATE TABLE t (id int PRIMARY KEY, a int); INSERT INTO t SELECT n, 0 FROM generate_series(1, 300) n;")
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


def test_no_password_is_said(
    postgres_scene: MakePostgresScene, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A DSN with one is refused, however it is written; a variable may hold it, and nothing prints it."""
    shop = postgres_scene(ITEMS)
    plan = shop.damage("UPDATE t SET a=0 WHERE id<3")
    assert 1 == run(["replay", plan.url, "--target", shop.dsn("postgres:secret"), "--dry-run"])
    assert 1 == run(["replay", plan.url, "--target", f"{shop.dsn()}&password=secret", "--dry-run"])
    monkeypatch.setenv("TARGET", shop.dsn("postgres:pa%3Ass%40word"))
    assert 0 == run(["replay", plan.url, "--target", "env:TARGET", "--dry-run"])
    monkeypatch.setenv("DBLOG_TARGET_PASSWORD", "pa:ss@word")
    assert 1 == run(["replay", plan.url, "--target", shop.dsn("nobody"), "--dry-run"])
    printed = "".join(capsys.readouterr())

    assert not [word for word in ("secret", "pa:ss", "pa%3A") if word in printed]


COMMAND = [sys.executable, "-c", "from dblog_tasks.__main__ import main; main()"]
MOVES = (
    "CREATE TABLE t (id int PRIMARY KEY, a int, b text); CREATE TABLE nokey (a int);"
    "INSERT INTO t SELECT n, 0, 'b' || n FROM generate_series(1, 400) n; INSERT INTO nokey SELECT n % 5 FROM generate_series(1, 40) n;"
)
KILLS = 10


def test_a_replay_killed_anywhere_goes_on_and_does_every_step_once(postgres_scene: MakePostgresScene) -> None:
    """A real process ends itself at reads, writes, stores and commits, again and again; the next one goes on where it was."""
    shop = postgres_scene(MOVES)
    damage = [f"UPDATE t SET a=a+1 WHERE id BETWEEN {n * 9} AND {n * 9 + 60}" for n in range(30)]
    shop.damage(*damage, "DELETE FROM t WHERE id % 3 = 0", "DELETE FROM nokey WHERE a = 2", "INSERT INTO nokey VALUES (1),(1),(9)")
    damaged = shop.dump()
    draw = random.Random(4)
    command = [*COMMAND, "replay", shop.plan.url, "--target", shop.dsn(), "--approve", shop.plan.id, "--batch-rows", "60"]
    command += ["--acknowledge", "no key: public.nokey", "--on-conflict", "skip", "--as", "json"]
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
    replay(ReplayRequest(inverse.url, shop.dsn(), approve=inverse.id, acknowledge=("no key: public.nokey",)))
    assert damaged == shop.dump()
