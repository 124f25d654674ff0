"""A database that is damaged, planned from its server's own log, and replayed on. No tests."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import orjson
import pymysql

from dblog_tasks.cli import run
from dblog_tasks.plan import Plan, read_plan
from dblog_tasks.replay import ReplayReport, ReplayRequest, replay
from tests.live.servers import MariaDB

NUMBERS = count(1)
ITEMS = "CREATE TABLE t (id int PRIMARY KEY, a int, b varchar(20)); INSERT INTO t SELECT seq, seq, CONCAT('b', seq) FROM seq_1_to_20;"


class Scene:
    """A database of its own on a server, and the part of the log about what is done in it.

    Attributes:
        server: where it is.
        name: of the database.
        before: its rows before the damage.
        plan: the plan that undoes the damage, once it is made.
    """

    def __init__(self, server: MariaDB, folder: Path, tables: str) -> None:
        self.server, self.folder = server, folder
        self.name = f"scene{next(NUMBERS)}"
        server.sql(f"CREATE DATABASE {self.name}")
        server.sql(tables, self.name)
        self.start = self.here()
        self.before = self.dump()
        self.plan: Plan

    @property
    def logs(self) -> str:
        """The server's logs."""
        return str(self.server.datadir / "binlog.0*")

    def here(self) -> str:
        """Return the end of the log as a position."""
        log, offset, *_ = self.server.sql("SHOW MASTER STATUS").split("\t")
        return f"{log}:{offset}"

    def sql(self, text: str) -> str:
        """Run SQL in the database; return what it gives."""
        return self.server.sql(text, self.name)

    def session(self, **more: Any) -> pymysql.Connection[Any]:
        """Return a session of its own in the database."""
        return pymysql.connect(unix_socket=str(self.server.socket), user="root", database=self.name, charset="utf8mb4", **more)

    def damage(self, *statements: str, options: tuple[str, ...] = (), later: tuple[str, ...] = ()) -> Plan:
        """Do damage, each statement a transaction, and what others do later; plan the undo of the damage."""
        with closing(self.session(autocommit=True)) as session, session.cursor() as cursor:
            for statement in statements:
                for part in statement.split(";"):
                    cursor.execute(part)
        stop = self.here()
        out = str(self.folder / f"plan-{self.name}-{next(NUMBERS)}")
        arguments = [
            "plan",
            self.logs,
            "--driver",
            "mysql",
            "--out",
            out,
            "--table",
            f"{self.name}.*",
            "--start",
            self.start,
            "--stop",
            stop,
        ]
        assert run([*arguments, *options]) in (0, 3)
        for statement in later:
            self.sql(statement)
        self.plan = read_plan(out, {})
        return self.plan

    def dsn(self, user: str = "root") -> str:
        """Return the DSN of the database."""
        return f"mysql://{user}@localhost/{self.name}?unix_socket={self.server.socket}"

    def replay(self, *, user: str = "root", **more: Any) -> ReplayReport:
        """Replay the plan, approved unless it is a dry run."""
        if not more.get("dry_run"):
            more.setdefault("approve", self.plan.id)
        return replay(ReplayRequest(self.plan.url, self.dsn(user), **more))

    def command(self, verb: str, *options: str) -> int:
        """Run `dblog replay` or `dblog verify` of the plan; return its exit code."""
        return run([verb, self.plan.url, "--target", self.dsn(), *options])

    def dump(self) -> str:
        """Return all rows of the database but those of `dblog_replay`."""
        return "".join(line for line in self.server.dump(self.name).splitlines(keepends=True) if "INTO `dblog_replay`" not in line)

    def notes(self) -> list[Any]:
        """Return the notes of all replays here."""
        return [orjson.loads(line) for line in self.sql("SELECT note FROM dblog_replay ORDER BY plan, batch").splitlines()]


MakeScene = Callable[[str], Scene]
