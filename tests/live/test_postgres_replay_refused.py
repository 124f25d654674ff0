"""What a replay refuses before it writes anything, and what it takes, on a real PostgreSQL."""

from __future__ import annotations

import pytest

from dblog_tasks.errors import InvalidInput, TargetRefused
from tests.live.postgres_scenes import ITEMS, MakePostgresScene


def test_a_table_without_a_key_is_replayed_when_that_is_accepted(postgres_scene: MakePostgresScene) -> None:
    """Equal rows are told by their number: as many as were are there again."""
    shop = postgres_scene(
        "CREATE TABLE t (a int, j json, n numeric); INSERT INTO t VALUES (1,'{}',1.0),(1,'{}',1.0),(1,'{}',1.00),(2,NULL,NULL);"
    )
    shop.damage(
        "DELETE FROM t WHERE ctid IN (SELECT min(ctid) FROM t WHERE a=1)",
        "UPDATE t SET n=1.0, a=1 WHERE a=2",
        "INSERT INTO t SELECT * FROM t",
    )
    with pytest.raises(TargetRefused, match="no key"):
        shop.replay()

    report = shop.replay(acknowledge=("no key: public.t",), dry_run=True)
    assert {"applies": 5} == report.rows
    assert "done" == shop.replay(acknowledge=("no key: public.t",)).outcome
    assert shop.before == shop.dump()


AUDITED = (
    "CREATE TABLE t (id int PRIMARY KEY, a int); INSERT INTO t VALUES (1,1),(2,2); CREATE TABLE audit (id serial PRIMARY KEY, t int);"
    "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN IF current_setting(''app.quiet'', true) IS DISTINCT FROM ''1'' THEN"
    " INSERT INTO audit (t) VALUES (NEW.id); END IF; RETURN NEW; END';"
    "CREATE TRIGGER fires AFTER UPDATE ON t FOR EACH ROW EXECUTE FUNCTION note();"
)


@pytest.mark.parametrize(("triggers", "noted"), [("allow", "1\n"), ("set:app.quiet=1", ""), ("set:session_replication_role=replica", "")])
def test_triggers_are_refused_unless_told(triggers: str, noted: str, postgres_scene: MakePostgresScene) -> None:
    """They fire again: refused, allowed, told by a setting to keep still, or off for the session."""
    shop = postgres_scene(AUDITED)
    shop.damage("SET app.quiet = '1'; UPDATE t SET a=0 WHERE id=1")
    with pytest.raises(TargetRefused, match="fires"):
        shop.replay()
    with pytest.raises(InvalidInput, match="sets nothing"):
        shop.replay(triggers="set:@quiet")

    assert 0 == shop.replay(triggers=triggers).exit_code
    assert ("1\t1\n2\t2\n", noted) == (shop.sql("SELECT * FROM t ORDER BY id"), shop.sql("SELECT t FROM audit"))


def test_without_foreign_keys_what_is_written_is_looked_up(postgres_scene: MakePostgresScene) -> None:
    """session_replication_role=replica would leave a row that refers to nothing."""
    shop = postgres_scene("CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE t (id int PRIMARY KEY, u int REFERENCES p);"
                          "INSERT INTO p VALUES (5),(6); INSERT INTO t VALUES (1,5),(2,6)")  # fmt: skip
    shop.damage("DELETE FROM t", later=("DELETE FROM p WHERE id=5",))
    report = shop.replay(triggers="set:session_replication_role=replica")

    assert "public.t would refer to a row of public.p that is not there" in report.conflicts[0]["what"]
    assert "" == shop.sql("SELECT * FROM t")


def test_what_the_account_may_not_do_or_see_is_said_with_its_remedy(postgres_scene: MakePostgresScene) -> None:
    """Rights and row security: refused with what grants them."""
    shop = postgres_scene(
        ITEMS + "CREATE ROLE keeper LOGIN; REVOKE ALL ON SCHEMA public FROM PUBLIC; GRANT USAGE, CREATE ON SCHEMA public TO keeper;"
    )
    try:
        shop.damage("UPDATE t SET a=0 WHERE id<3")
        with pytest.raises(TargetRefused) as refused:
            shop.replay(user="keeper")
        assert 'GRANT SELECT, INSERT, UPDATE, DELETE ON "public"."t" TO keeper;' == refused.value.hint
        shop.sql(f"{refused.value.hint} ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY few ON t USING (id > 2);")
        with pytest.raises(TargetRefused, match="policies"):
            shop.replay(user="keeper")
        shop.sql("ALTER TABLE t DISABLE ROW LEVEL SECURITY")
        assert {"applies": 2} == shop.replay(user="keeper").rows
    finally:
        shop.sql("DROP OWNED BY keeper; DROP ROLE keeper")


DRIFTS = {
    "gone": ("ALTER TABLE t DROP b", "column public.t.b is missing"),
    "renamed": ("ALTER TABLE t RENAME b TO c", "column public.t.b is missing"),
    "retyped": ("ALTER TABLE t ALTER b TYPE int USING 0", "was character varying and is integer"),
    "table": ("ALTER TABLE t RENAME TO u", "table public.t is not here"),
    "view": ("ALTER TABLE t RENAME TO u; CREATE VIEW t AS SELECT * FROM u", "is a view"),
}


@pytest.mark.parametrize("kind", DRIFTS)
def test_a_table_that_was_altered_is_refused(kind: str, postgres_scene: MakePostgresScene) -> None:
    """Before the first write."""
    later, said = DRIFTS[kind]
    shop = postgres_scene(ITEMS)
    shop.damage("DELETE FROM t WHERE id<3", later=(later,))
    with pytest.raises(TargetRefused, match=said):
        shop.replay()


def test_alterations_that_are_in_nobody_s_way_are_taken(postgres_scene: MakePostgresScene) -> None:
    """A wider type, another order, a new column; and a lost one that a person gives up."""
    shop = postgres_scene(ITEMS)
    shop.damage("DELETE FROM t WHERE id<3", later=("ALTER TABLE t ALTER a TYPE bigint, ALTER b TYPE text, ADD c int DEFAULT 7",))
    assert {"applies": 2} == shop.replay().rows
    assert "1\t1\tb1\t7\n" == shop.sql("SELECT * FROM t WHERE id=1")

    other = postgres_scene(ITEMS)
    other.damage("DELETE FROM t WHERE id<3", later=("ALTER TABLE t DROP b",))
    assert {"applies": 2} == other.replay(accept_drift=("b",)).rows
