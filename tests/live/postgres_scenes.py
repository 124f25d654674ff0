"""Databases of a PostgreSQL server for tests: loaded from what was recorded, or damaged and planned from the server's own log. No tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from dblog_tasks.plan import Plan
from dblog_tasks.postgres.names import quoted
from dblog_tasks.postgres.sql import literal
from dblog_tasks.replay import ReplayReport, ReplayRequest, replay
from tests.live.servers import Postgres
from tests.postgres_fixtures import TableName, plan, states


def title(table: TableName) -> str:
    """The table's name for SQL."""
    return ".".join(map(quoted, table))


def load(server: Postgres, database: str, folder: Path, when: str) -> None:
    """Make a database of the scenario's schema and rows."""
    server.make(database)
    server.sql((folder / "schema.sql").read_text(), database)
    # PostgreSQL 18 refuses updates of a published table whose computed columns are not published
    script = ["DROP PUBLICATION IF EXISTS pub;", "SET session_replication_role = replica;"]
    for table, rows in states(folder, when).items():
        columns = (
            "SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) AS columns FROM pg_attribute "
            f"WHERE attrelid = {literal(title(table))}::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '' \\gset"
        )
        script += [columns, f"CREATE TEMP TABLE loaded AS SELECT * FROM {title(table)} WITH NO DATA;", "COPY loaded FROM STDIN;"]
        script += [rows.decode() + "\\.", f"INSERT INTO {title(table)} (:columns) OVERRIDING SYSTEM VALUE SELECT :columns FROM loaded;"]
        script += ["DROP TABLE loaded;"]
    server.sql("\n".join(script) + "\n", database)


def dumped(server: Postgres, database: str, table: TableName) -> list[str]:
    """The rows of a table, computed columns among them, in some order that is always the same."""
    return sorted(server.sql(f"SET TimeZone = 'UTC'; COPY (SELECT * FROM {title(table)}) TO STDOUT", database).splitlines())


SHOP = """
CREATE TABLE parent (id int PRIMARY KEY, v text, at timestamptz, f real, n numeric, b bytea, j json, d char(5));
CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE);
CREATE TABLE keyless (a int, b text);
CREATE TABLE always (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, w int, area int GENERATED ALWAYS AS (w * 2) STORED);
CREATE TABLE part (id int, k int, v text, PRIMARY KEY (id, k)) PARTITION BY LIST (k);
CREATE TABLE part1 PARTITION OF part FOR VALUES IN (1);
CREATE TABLE part2 (v text, id int NOT NULL, k int NOT NULL);
ALTER TABLE part ATTACH PARTITION part2 FOR VALUES IN (2);
DO $$ DECLARE t text; BEGIN
  FOREACH t IN ARRAY ARRAY['parent', 'child', 'keyless', 'always', 'part1', 'part2'] LOOP
    EXECUTE format('ALTER TABLE %I REPLICA IDENTITY FULL', t);
  END LOOP;
END $$;
INSERT INTO parent SELECT g, 'p' || g, '2024-01-01'::timestamptz + g * interval '1 day', 0.1 * g, NULL, '\\x00ff', '{"a" : 1}', 'ab'
  FROM generate_series(1, 5) g;
INSERT INTO child SELECT g, 1 + g % 5 FROM generate_series(1, 10) g;
INSERT INTO keyless VALUES (1, 'x'), (1, 'x'), (2, NULL);
INSERT INTO always (w) VALUES (1), (2), (3);
INSERT INTO part VALUES (1, 1, 'a'), (2, 2, 'b');
"""
WORK = """
BEGIN; DELETE FROM parent WHERE id = 1; UPDATE parent SET id = 20, f = 'NaN', n = 1.10, j = NULL WHERE id = 2; COMMIT;
BEGIN; UPDATE keyless SET b = 'y' WHERE ctid IN (SELECT min(ctid) FROM keyless); DELETE FROM keyless WHERE a = 2;
  INSERT INTO keyless VALUES (NULL, ''); COMMIT;
BEGIN; DELETE FROM always WHERE id = 2; UPDATE always SET w = 30 WHERE id = 3; INSERT INTO always (w) VALUES (4); COMMIT;
BEGIN; UPDATE part SET k = 2 WHERE id = 1; UPDATE part SET k = 1, v = 'c' WHERE id = 2; COMMIT;
BEGIN; UPDATE parent SET at = at + interval '1 microsecond', d = 'x', b = '' WHERE id = 3;
  SAVEPOINT s; DELETE FROM child; ROLLBACK TO s; COMMIT;
BEGIN; INSERT INTO always (w) SELECT g FROM generate_series(10, 2000) g;
  SAVEPOINT s; INSERT INTO always (w) SELECT g FROM generate_series(3000, 5000) g; ROLLBACK TO s;
  UPDATE always SET w = w + 1 WHERE w > 1900; COMMIT;
"""
SHOP_TABLES = [("public", name) for name in ("parent", "child", "keyless", "always", "part1", "part2")]


def dsn(server: Postgres, database: str, user: str = "postgres") -> str:
    """Return the DSN of a database."""
    return f"postgresql://{user}@/{database}?host={server.folder}"


NUMBERS = count(1)
ITEMS = "CREATE TABLE t (id int PRIMARY KEY, a int, b varchar(20)); INSERT INTO t SELECT n, n, 'b' || n FROM generate_series(1, 20) n;"


class PostgresScene:
    """A database of its own on a server, all of whose tables log whole old rows.

    Attributes:
        server: where it is.
        name: of the database.
        before: its rows before the damage.
        plan: the plan that undoes the damage, once it is made.
    """

    def __init__(self, server: Postgres, folder: Path, tables: str) -> None:
        self.server, self.folder = server, folder
        self.name = f"scene{next(NUMBERS)}"
        server.make(self.name)
        self.sql(tables)
        names = self.sql("SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname !~ '^(pg_|information_schema)'")
        self.sql("".join(f"ALTER TABLE {name} REPLICA IDENTITY FULL;" for name in names.splitlines()))
        self.sql(f"SELECT pg_create_logical_replication_slot('{self.name}', 'test_decoding')")
        self.before = self.dump()
        self.plan: Plan

    def sql(self, text: str) -> str:
        """Run SQL in the database; return what it gives."""
        return self.server.sql(text, self.name)

    def damage(self, *statements: str, later: Sequence[str] = ()) -> Plan:
        """Do damage, each statement a transaction, plan its undo, and do what others do later."""
        for statement in statements:
            self.sql(f"BEGIN; {statement}; COMMIT;")
        log = self.folder / f"{self.name}.log"
        log.write_bytes(self.server.received(self.name, self.name, "include-timestamp=1"))
        (self.folder / "schema.sql").write_text(self.server.schema_sql(self.name))
        self.plan = plan(log, self.folder / f"plan-{self.name}-{next(NUMBERS)}")
        for statement in later:
            self.sql(statement)
        return self.plan

    def dsn(self, user: str = "postgres") -> str:
        """Return the DSN of the database."""
        return dsn(self.server, self.name, user)

    def replay(self, *, user: str = "postgres", **more: Any) -> ReplayReport:
        """Replay the plan, approved unless it is a dry run."""
        if not more.get("dry_run"):
            more.setdefault("approve", self.plan.id)
        return replay(ReplayRequest(self.plan.url, self.dsn(user), **more))

    def dump(self) -> str:
        """Return all rows of the database but those of `dblog_replay`."""
        names = self.sql("SELECT schemaname, tablename FROM pg_tables WHERE schemaname !~ '^(pg_|information_schema)' ORDER BY 1, 2")
        tables = [tuple(line.split("\t")) for line in names.splitlines()]
        return "\n".join(
            "\n".join([title(table), *dumped(self.server, self.name, table)])  # type: ignore[arg-type]  # of two parts
            for table in tables
            if table[1] != "dblog_replay"
        )

    def notes(self) -> int:
        """Return how many batches are noted."""
        return int(self.sql("SELECT count(*) FROM dblog_replay"))

    def drop(self) -> None:
        """Remove the database."""
        self.server.sql(f"SELECT pg_drop_replication_slot('{self.name}')", self.name)
        self.server.sql(f'DROP DATABASE "{self.name}" WITH (FORCE)')


MakePostgresScene = Callable[[str], PostgresScene]
