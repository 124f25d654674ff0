"""What a replay refuses before it writes anything, on a real MariaDB."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
import re

import pytest

from dblog_tasks.errors import InvalidInput, MalformedPlan, TargetRefused
from dblog_tasks.plan import read_plan
from dblog_tasks.replay import ReplayRequest, replay
from tests.live.scenes import ITEMS, MakeScene, Scene
from tests.live.servers import MariaDB


def grant(shop: Scene, user: str, *rights: str) -> None:
    """Make an account with these rights."""
    shop.server.sql(f"CREATE OR REPLACE USER {user}@localhost; " + "; ".join(f"GRANT {right} TO {user}@localhost" for right in rights))


def test_a_plan_is_replayed_by_its_approved_id_alone(scene: MakeScene) -> None:
    """No approval, one of another plan, one that is old, omissions nobody accepted: refused before any connection."""
    shop = scene(ITEMS)
    plan = shop.damage("UPDATE t SET a=0", "TRUNCATE TABLE t")
    for more, words in (
        ({"approve": ""}, plan.id),
        ({"approve": plan.id[:8]}, plan.id),
        ({"approved_at": "2026-01-01T00:00:00Z"}, "expired"),
        ({}, re.escape("--acknowledge 'schema change (DDL)'")),
    ):
        with pytest.raises(InvalidInput, match=words):
            shop.replay(**more)


def test_a_plan_that_was_changed_is_not_replayed(scene: MakeScene) -> None:
    """A segment's hash is looked at before anything is written."""
    shop = scene(ITEMS)
    plan = shop.damage("UPDATE t SET a=0")
    segment = next(Path(plan.url).glob("steps/*"))
    segment.write_bytes(segment.read_bytes()[:-1] + b"\0")

    with pytest.raises(MalformedPlan):
        shop.replay()


@pytest.mark.parametrize("engine", ["MyISAM", "Aria", "MEMORY"])
def test_engines_without_transactions_are_refused_unless_accepted(engine: str, scene: MakeScene) -> None:
    """They keep a change after ROLLBACK."""
    shop = scene(f"CREATE TABLE t (id int PRIMARY KEY, a int) ENGINE={engine}; INSERT INTO t VALUES (1,1);")
    shop.damage("UPDATE t SET a=0")
    with pytest.raises(TargetRefused, match=engine):
        shop.replay()

    assert "done" == shop.replay(acknowledge=(f"engine: {shop.name}.t",)).outcome
    assert shop.before == shop.dump()


def test_system_versioned_tables_are_refused(scene: MakeScene, tmp_path: Path) -> None:
    """The undo would be written into the history."""
    shop = scene("CREATE TABLE t (id int PRIMARY KEY, a int) WITH SYSTEM VERSIONING; INSERT INTO t VALUES (1,1);")
    schema = tmp_path / "schema.sql"
    schema.write_text(shop.server.schema_sql(shop.name))
    shop.damage("UPDATE t SET a=0", options=("--schema", str(schema)))

    with pytest.raises(TargetRefused, match="SYSTEM VERSIONING"):
        shop.replay()


def test_triggers_are_refused_unless_told(scene: MakeScene) -> None:
    """They fire again: refused, allowed, or told by a variable to keep still."""
    shop = scene(
        ITEMS + "CREATE TABLE log (n int AUTO_INCREMENT PRIMARY KEY, id int);"
        "CREATE TRIGGER fires AFTER UPDATE ON t FOR EACH ROW INSERT INTO log (id) SELECT NEW.id FROM DUAL WHERE @quiet IS NULL;"
    )
    shop.damage("SET @quiet=1; UPDATE t SET a=0 WHERE id<3")
    with pytest.raises(TargetRefused, match="fires"):
        shop.replay()

    assert 0 == shop.replay(triggers="set:@quiet=1").exit_code
    assert shop.before == shop.dump()


def test_a_catalog_that_cannot_be_seen_is_not_an_empty_one(scene: MakeScene) -> None:
    """Without the rights to see triggers and foreign keys: refused with the GRANT, one after the other."""
    shop = scene(ITEMS)
    shop.damage("UPDATE t SET a=0 WHERE id<3")
    rights = [f"SELECT, INSERT, UPDATE, DELETE, CREATE ON {shop.name}.*"]
    for wanted in ("PROCESS ON *.* TO blind@localhost", f"TRIGGER ON `{shop.name}`.* TO blind@localhost"):
        grant(shop, "blind", *rights)
        with pytest.raises(TargetRefused) as refused:
            shop.replay(user="blind")
        assert f"GRANT {wanted}" == refused.value.hint
        rights.append(wanted.partition(" TO ")[0])
    grant(shop, "blind", *rights)

    assert "done" == shop.replay(user="blind").outcome


def test_servers_that_take_no_writes_are_refused(scene: MakeScene) -> None:
    """read_only, and a session that would not be logged by rows."""
    shop = scene(ITEMS)
    shop.damage("UPDATE t SET a=0 WHERE id<3")
    shop.server.sql("SET GLOBAL read_only=1")
    try:
        with pytest.raises(TargetRefused, match="read_only"):
            shop.replay()
    finally:
        shop.server.sql("SET GLOBAL read_only=0")
    assert {"applies": 2} == shop.replay(dry_run=True).rows


def test_a_configured_replica_is_refused(start_mariadb: Callable[..., MariaDB], tmp_path: Path) -> None:
    """Also one whose replication does not run."""
    server = start_mariadb()
    shop = Scene(server, tmp_path, ITEMS)
    shop.damage("UPDATE t SET a=0 WHERE id<3")
    server.sql("CHANGE MASTER TO MASTER_HOST='localhost', MASTER_USER='nobody'")

    with pytest.raises(TargetRefused, match="replica"):
        shop.replay()


def test_a_table_that_was_altered_harmlessly_is_no_obstacle(scene: MakeScene) -> None:
    """A new index, a new nullable column, a wider column, another order."""
    shop = scene(ITEMS)
    shop.damage("DELETE FROM t WHERE id<3", "UPDATE t SET a=0 WHERE id>18", "INSERT INTO t VALUES (50, 1, 'x')")
    damaged = shop.dump()
    shop.sql("ALTER TABLE t ADD COLUMN n int DEFAULT 4 FIRST, ADD INDEX (a), MODIFY b varchar(40)")
    report = shop.replay()

    assert "done" == report.outcome
    inverse = read_plan(report.inverse, {})
    assert 4 * 20 == int(shop.sql("SELECT SUM(n) FROM t"))
    assert "done" == replay(ReplayRequest(inverse.url, shop.dsn(), approve=inverse.id)).outcome
    shop.sql("ALTER TABLE t DROP COLUMN n")
    assert damaged == shop.dump()


def test_a_used_column_that_is_gone_or_retyped_is_refused_unless_accepted(scene: MakeScene) -> None:
    """What the steps look at must be there; what they do not may be missing."""
    shop = scene(ITEMS)
    shop.damage("UPDATE t SET a=0 WHERE id>18")
    shop.sql("ALTER TABLE t DROP COLUMN b")
    assert {"applies": 2} == shop.replay(dry_run=True).rows
    shop.sql("ALTER TABLE t MODIFY a varchar(9)")
    with pytest.raises(TargetRefused, match="--accept-drift a"):
        shop.replay()

    assert {"applies": 2} == shop.replay(dry_run=True, accept_drift=("a",)).rows


def test_tables_without_a_key_count_their_rows(scene: MakeScene) -> None:
    """Accepted by name; equal rows are told by their number."""
    shop = scene(
        "CREATE TABLE t (a int, f float, b varchar(9)); INSERT INTO t VALUES (1,0.1,'x'),(1,0.1,'x'),(1,0.1,'x'),(2,NULL,'y'),(2,NULL,'y');"
    )
    shop.damage("DELETE FROM t WHERE a=1 LIMIT 2", "UPDATE t SET b='z' WHERE a=2 LIMIT 1", "INSERT INTO t VALUES (3,-0.0,'c'),(3,-0.0,'c')")
    with pytest.raises(TargetRefused, match="no key"):
        shop.replay()
    named = (f"no key: {shop.name}.t",)
    report = shop.replay(acknowledge=named)
    assert ("done", shop.before) == (report.outcome, shop.dump())
    inverse = read_plan(report.inverse, {})
    replay(ReplayRequest(inverse.url, shop.dsn(), approve=inverse.id, acknowledge=named))
    shop.sql("DELETE FROM t WHERE a=3 LIMIT 1")

    report = shop.replay(acknowledge=named)

    assert (4, ["row gone"]) == (report.exit_code, [found["what"] for found in report.conflicts])
