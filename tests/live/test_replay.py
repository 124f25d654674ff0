"""Replay on a real MariaDB: what is restored, what is left alone, what is refused."""

from __future__ import annotations

import pytest

from dblog_tasks.plan import check, read_plan
from dblog_tasks.replay import ReplayRequest, replay
from dblog_tasks.verify import verify
from tests.live.scenes import ITEMS, MakeScene

# ---- what is restored


def test_the_damage_is_undone_and_taken_back_again(scene: MakeScene) -> None:
    """Replay, verify, the inverse plan, and the replay once more: each gives exactly the rows that were."""
    shop = scene(ITEMS)
    plan = shop.damage("DELETE FROM t WHERE id<5", "UPDATE t SET a=0, b=NULL WHERE id>15", "INSERT INTO t VALUES (99, 1, 'x')")
    damaged = shop.dump()

    report = shop.replay(approver="Ann")
    assert ("done", 0, {"applies": 10}) == (report.outcome, report.exit_code, report.rows)
    assert shop.before == shop.dump()
    assert {"equal": 10} == verify(plan.url, shop.dsn()).rows
    assert "Ann" == shop.sql("SELECT approver FROM dblog_replay").strip()

    undone = read_plan(report.inverse, {})
    assert ([], report.inverse_id) == (check(undone), undone.id)
    taken_back = replay(ReplayRequest(undone.url, shop.dsn(), approve=undone.id))
    assert "done" == taken_back.outcome
    assert damaged == shop.dump()

    assert {"applies": 10} == shop.replay().rows
    assert shop.before == shop.dump()


def test_a_second_replay_does_nothing(scene: MakeScene) -> None:
    """What is done is done: the notes tell, whatever the rows are by then."""
    shop = scene(ITEMS)
    shop.damage("UPDATE t SET a=0")
    shop.replay()
    shop.sql("UPDATE t SET a=0")
    report = shop.replay()

    assert ("done", 1) == (report.outcome, report.batches)
    assert 1 == len(shop.notes())
    assert "0" == shop.sql("SELECT SUM(a) FROM t").strip()


def test_what_is_as_wanted_already_is_left_alone(scene: MakeScene) -> None:
    """Somebody has repaired some rows by hand."""
    shop = scene(ITEMS)
    shop.damage(
        "DELETE FROM t WHERE id<3",
        "UPDATE t SET a=0 WHERE id>18",
        "INSERT INTO t VALUES (50,1,'x'),(51,1,'x')",
        later=("INSERT INTO t VALUES (1,1,'b1')", "UPDATE t SET a=20 WHERE id=20", "DELETE FROM t WHERE id=50"),
    )

    assert {"applies": 3, "already applied": 3} == shop.replay(acknowledge=("hard conflicts",)).rows
    assert shop.before == shop.dump()


def test_dry_run_writes_nothing_and_says_all(scene: MakeScene, capsys: pytest.CaptureFixture[str]) -> None:
    """Every row has its line; a conflict shows the row as it is now; not even the table of notes is made."""
    shop = scene(ITEMS)
    shop.damage("UPDATE t SET a=0 WHERE id<4", later=("UPDATE t SET a=7 WHERE id=2", "UPDATE t SET a=3 WHERE id=3"))
    before, end = shop.dump(), shop.here()
    capsys.readouterr()
    code = shop.command("replay", "--dry-run")
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]

    assert 4 == code
    assert [("already applied", '{"id":3}'), ("conflict", '{"id":2}'), ("applies", '{"id":1}')] == [
        (line[0], line[2]) for line in lines[:3]
    ]
    assert 'column changed (a); now {"id":2,"a":7,"b":"b2"}' == lines[1][4]
    assert (before, end) == (shop.dump(), shop.here())
    assert "" == shop.sql("SHOW TABLES LIKE 'dblog_replay'")


def test_key_changes_are_undone(scene: MakeScene) -> None:
    """Keys that were shifted go back through each other's places."""
    shop = scene(ITEMS)
    shop.damage("UPDATE t SET id=id+1 ORDER BY id DESC", "UPDATE t SET id=id+100 WHERE id<5", "UPDATE t SET id=3 WHERE id=104")

    assert "done" == shop.replay().outcome
    assert shop.before == shop.dump()


def test_rows_changed_many_times_go_back_in_any_batches(scene: MakeScene) -> None:
    """One row in many steps, in one batch or in many."""
    for rows in (1, 3, 1000):
        shop = scene(ITEMS)
        shop.damage(
            *[f"UPDATE t SET a={n}, b='n{n}' WHERE id BETWEEN {n % 5} AND 9" for n in range(8)],
            "DELETE FROM t WHERE id=3",
            "INSERT INTO t VALUES (3, 8, 'z')",
            "DELETE FROM t WHERE id=3",
            "INSERT INTO t VALUES (30, 8, 'z')",
            "DELETE FROM t WHERE id=30",
        )
        damaged = shop.dump()
        report = shop.replay(batch_rows=rows)

        assert "done" == report.outcome
        assert shop.before == shop.dump(), rows
        inverse = read_plan(report.inverse, {})
        assert "done" == replay(ReplayRequest(inverse.url, shop.dsn(), approve=inverse.id)).outcome
        assert damaged == shop.dump(), rows


# ---- conflicts


def test_stop_changes_nothing_and_names_the_conflicts(scene: MakeScene) -> None:
    """All steps are checked before the first write."""
    shop = scene(ITEMS)
    shop.damage(
        "UPDATE t SET a=0 WHERE id<9",
        "DELETE FROM t WHERE id=15",
        later=("UPDATE t SET a=5 WHERE id=3", "DELETE FROM t WHERE id=4", "INSERT INTO t VALUES (15,1,'other')"),
    )
    before = shop.dump()
    report = shop.replay(acknowledge=("hard conflicts",), batch_rows=1)

    assert ("stopped at a conflict", 4, 0, "") == (report.outcome, report.exit_code, report.batches, report.inverse)
    assert before == shop.dump()
    found = [(conflict["key"], conflict["what"], conflict["columns"], conflict["now"]) for conflict in report.conflicts]
    assert [
        ({"id": 15}, "key reused", ["a", "b"], {"id": 15, "a": 1, "b": "other"}),
        ({"id": 4}, "row gone", [], None),
        ({"id": 3}, "column changed", ["a"], {"id": 3, "a": 5, "b": "b3"}),
    ] == found


def test_skip_restores_the_rest(scene: MakeScene) -> None:
    """Rows that others changed keep what they have, all others go back."""
    shop = scene(ITEMS)
    shop.damage("UPDATE t SET a=0 WHERE id<9", later=("UPDATE t SET a=5 WHERE id=3",))
    report = shop.replay(acknowledge=("hard conflicts",), on_conflict="skip")

    assert ({"applies": 7, "skipped": 1}, 0) == (report.rows, report.exit_code)
    assert shop.before.replace("(3,3,", "(3,5,") == shop.dump()


@pytest.mark.parametrize("rows", [1, 100])
def test_a_skipped_step_poisons_the_older_ones_of_its_row(rows: int, scene: MakeScene) -> None:
    """5, 7, 9, and a colleague sets 7 again: the older step would find its value and write 5 over it."""
    shop = scene("CREATE TABLE t (id int PRIMARY KEY, a int); INSERT INTO t VALUES (1,5),(2,5);")
    shop.damage("UPDATE t SET a=7", "UPDATE t SET a=9", later=("UPDATE t SET a=7 WHERE id=1",))
    report = shop.replay(acknowledge=("hard conflicts",), on_conflict="skip", batch_rows=rows)

    assert {"applies": 2, "already applied": 1, "skipped": 1} == report.rows
    assert "1\t7\n2\t5\n" == shop.sql("SELECT * FROM t ORDER BY id")


def test_force_writes_what_the_steps_want(scene: MakeScene) -> None:
    """Changed, gone and reused rows all become what they were before the damage."""
    shop = scene(ITEMS)
    shop.damage(
        "UPDATE t SET a=0 WHERE id<9",
        "DELETE FROM t WHERE id=15",
        "INSERT INTO t VALUES (60, 6, 'n')",
        later=(
            "UPDATE t SET a=5 WHERE id=3",
            "DELETE FROM t WHERE id=4",
            "INSERT INTO t VALUES (15,1,'o')",
            "UPDATE t SET b='m' WHERE id=60",
        ),
    )
    report = shop.replay(acknowledge=("hard conflicts",), on_conflict="force")

    assert {"applies": 6, "forced": 4, "already applied": 0} == {"already applied": 0, **report.rows}
    assert shop.before == shop.dump()


REFUSED_BY_RULES = {
    "unique": ("CREATE TABLE t (id int PRIMARY KEY, u int UNIQUE)", "INSERT INTO t VALUES (1,5),(2,6)", "DELETE FROM t WHERE id=1",
               "INSERT INTO t VALUES (9,5)", "in the way is {'id': 9, 'u': 5}"),
    "check": ("CREATE TABLE t (id int PRIMARY KEY, u int)", "INSERT INTO t VALUES (1,-5),(2,6)", "DELETE FROM t WHERE id=1",
              "ALTER TABLE t ADD CONSTRAINT CHECK (u > 0)", "CONSTRAINT"),
    "parent": ("CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE t (id int PRIMARY KEY, u int, FOREIGN KEY (u) REFERENCES p (id))",
               "INSERT INTO p VALUES (5),(6); INSERT INTO t VALUES (1,5),(2,6)", "DELETE FROM t WHERE id=1", "DELETE FROM p WHERE id=5",
               "foreign key constraint fails"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED_BY_RULES)
def test_what_the_database_refuses_is_a_conflict(kind: str, scene: MakeScene) -> None:
    """1062, CHECK and 1452: stopped with what the server said, skipped on demand; nothing else is lost by it."""
    tables, rows, damage, later, said = REFUSED_BY_RULES[kind]
    shop = scene(f"{tables}; {rows}")
    shop.damage(damage, "UPDATE t SET u=60 WHERE id=2" if kind != "parent" else "UPDATE t SET u=NULL WHERE id=2", later=(later,))
    before = shop.dump()
    acknowledged = ("hard conflicts", "schema change (DDL)")
    report = shop.replay(acknowledge=acknowledged)

    assert ("stopped at a conflict", 1) == (report.outcome, len(report.conflicts))
    assert said in report.conflicts[0]["what"]
    assert before == shop.dump()
    assert {"applies": 1, "skipped": 1} == shop.replay(acknowledge=acknowledged, on_conflict="skip").rows


FAMILY = (
    "CREATE TABLE p (id int PRIMARY KEY, a int); CREATE TABLE c (id int PRIMARY KEY, pid int, FOREIGN KEY (pid) REFERENCES p (id)"
    " ON DELETE {} ON UPDATE CASCADE); INSERT INTO p VALUES (1,1),(2,2);"
)


@pytest.mark.parametrize("rule", ["CASCADE", "SET NULL", "RESTRICT"])
@pytest.mark.parametrize("policy", ["stop", "skip", "force"])
def test_children_that_are_not_in_the_plan_are_a_conflict(rule: str, policy: str, scene: MakeScene) -> None:
    """The undo of an INSERT would delete rows that others tied to it since, without a word in the log; also under force."""
    shop = scene(FAMILY.format(rule))
    shop.damage("INSERT INTO p VALUES (7,7),(8,8)", later=("INSERT INTO c VALUES (70,7)",))
    report = shop.replay(on_conflict=policy)

    assert "referred to by other rows" == report.conflicts[0]["what"]
    assert [{"table": f"{shop.name}.c", "row": {"id": 70, "pid": 7}}] == report.conflicts[0]["children"]
    assert "70\t7\n" == shop.sql("SELECT * FROM c")
    assert ("1\n2\n7\n" if policy == "skip" else "1\n2\n7\n8\n") == shop.sql("SELECT id FROM p ORDER BY id")


def test_children_of_a_moved_key_are_a_conflict(scene: MakeScene) -> None:
    """ON UPDATE CASCADE would move rows along that are not in the plan."""
    shop = scene(FAMILY.format("CASCADE"))
    shop.damage("UPDATE p SET id=5 WHERE id=2", later=("INSERT INTO c VALUES (70,5)",))

    assert ["referred to by other rows"] == [conflict["what"] for conflict in shop.replay().conflicts]
    assert "70\t5\n" == shop.sql("SELECT * FROM c")


@pytest.mark.parametrize("key", ["id", "pid, id"])
@pytest.mark.parametrize("atomic", [False, True])
def test_rows_that_a_key_took_along_in_the_log_come_back(key: str, scene: MakeScene, *, atomic: bool) -> None:
    """A server that logs what ON UPDATE CASCADE changes (MySQL from 9.6 on) has the children first; the undo sets it off again."""
    shop = scene(
        "CREATE TABLE p (id int PRIMARY KEY, a int);"
        f"CREATE TABLE c (id int, pid int, PRIMARY KEY ({key}), KEY (pid), FOREIGN KEY (pid) REFERENCES p (id) ON UPDATE CASCADE);"
        "INSERT INTO p VALUES (1,1),(2,2),(3,3); INSERT INTO c VALUES (10,1),(11,1),(20,2);"
    )
    logged = "UPDATE c SET pid=5 WHERE pid=1;UPDATE p SET id=5 WHERE id=1;UPDATE c SET pid=6 WHERE pid=2;UPDATE p SET id=6, a=0 WHERE id=2"
    shop.damage(f"SET foreign_key_checks=0;BEGIN;{logged};COMMIT")

    assert {"applies": 5} == shop.replay(atomic=atomic).rows
    assert shop.before == shop.dump()


def test_parents_and_children_come_and_go_together(scene: MakeScene) -> None:
    """Foreign keys stay on: parents first when they come back, children first when they go, in few statements."""
    for rows in (1, 1000):
        shop = scene(FAMILY.format("CASCADE") + "INSERT INTO c VALUES (10,1),(11,1),(20,2);")
        shop.damage(
            "DELETE FROM c WHERE id=10",
            "INSERT INTO p VALUES (7,7)",
            "INSERT INTO c VALUES (70,7),(71,7)",
            "DELETE FROM c",
            "DELETE FROM p",
            "INSERT INTO p VALUES (9,9)",
            "INSERT INTO c VALUES (90,9)",
        )
        assert "done" == shop.replay(batch_rows=rows).outcome
        assert shop.before == shop.dump()


# ---- equality


def test_columns_that_update_themselves_get_back_what_they_were(scene: MakeScene) -> None:
    """ON UPDATE is in no guard, is restored where it still is the log's, and is kept where a later edit has set it."""
    shop = scene(
        "SET timestamp=1790000000; CREATE TABLE t (id int PRIMARY KEY, a int, b int,"
        " u timestamp(6) NOT NULL DEFAULT NOW(6) ON UPDATE NOW(6)); INSERT INTO t (id, a, b) VALUES (1,1,1),(2,2,2);"
    )
    shop.damage("SET timestamp=1790000100; UPDATE t SET a=0", later=("SET timestamp=1790000200; UPDATE t SET b=5 WHERE id=2",))

    assert {"applies": 2} == shop.replay().rows
    assert "1\t1\t1\t2026-09-21 14:13:20.000000\n2\t2\t5\t2026-09-21 14:16:40.000000\n" == shop.sql("SELECT * FROM t ORDER BY id")


def test_guard_ignore_leaves_a_column_out_of_the_guard(scene: MakeScene) -> None:
    """What a trigger touches would be in the way of every row."""
    shop = scene("CREATE TABLE t (id int PRIMARY KEY, a int, hits int); INSERT INTO t VALUES (1,1,0);")
    shop.damage("UPDATE t SET a=0, hits=1", later=("UPDATE t SET hits=2",))

    assert 4 == shop.replay(acknowledge=("hard conflicts",)).exit_code
    assert 0 == shop.replay(acknowledge=("hard conflicts",), guard_ignore=("t.hits",)).exit_code
    assert "1\t1\t0\n" == shop.sql("SELECT * FROM t")


ALIKE = {
    "case": ("varchar(20)", "'bob'", "'Bob'"),
    "blanks": ("varchar(20)", "'bob'", "'bob '"),
    "accents": ("varchar(20)", "'bob'", "'böb'"),
    "float": ("float", "0.1", "0.10000001"),
    "double": ("double", "0.1", "0.10000000000000002"),
}


@pytest.mark.parametrize("kind", ALIKE)
def test_what_a_collation_or_a_number_takes_for_equal_is_not(kind: str, scene: MakeScene) -> None:
    """A guard is byte for byte."""
    sql_type, logged, other = ALIKE[kind]
    shop = scene(f"CREATE TABLE t (id int PRIMARY KEY, a {sql_type}); INSERT INTO t VALUES (1,NULL);")
    shop.damage(f"UPDATE t SET a={logged}")
    assert {"applies": 1} == shop.replay(dry_run=True).rows
    shop.sql(f"UPDATE t SET a=NULL; UPDATE t SET a={other}")

    assert {"conflict": 1} == shop.replay(dry_run=True).rows


def test_keys_a_collation_takes_for_one_another(scene: MakeScene) -> None:
    """A row whose key was written in another case is another row, and is in the way of its twin."""
    shop = scene("CREATE TABLE t (k varchar(9) PRIMARY KEY, a int); INSERT INTO t VALUES ('bob',1),('eve',1),('ada',1);")
    shop.damage(
        "DELETE FROM t WHERE k='bob'",
        "UPDATE t SET a=2 WHERE k='eve'",
        later=("INSERT INTO t VALUES ('BOB',9)", "UPDATE t SET k='EVE' WHERE k='eve'"),
    )
    report = shop.replay(dry_run=True)

    assert [({"k": "eve"}, {"k": "EVE", "a": 2}), ({"k": "bob"}, {"k": "BOB", "a": 9})] == [
        (conflict["key"], conflict["now"]) for conflict in report.conflicts
    ]
