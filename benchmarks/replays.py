"""Plans of single-row steps to be replayed, and the same undo as plain statements for the database's own client.

Law: makes a table, its damage and the plan with a real server; what is measured is for others. The statements hold what the steps hold,
without guards: a row is found by its key, an update sets the columns the step changes. A transaction has 1000 steps, here as in the log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
import subprocess

from benchmarks.measure import COMPLETE, Command
from dblog_tasks.event import Row, Table
from dblog_tasks.mysql.literals import identifier
from dblog_tasks.mysql.target_rows import KeyCondition, form_of, title
from dblog_tasks.plan import read_plan
from dblog_tasks.plan_contents import steps_from
from tests.live.servers import MariaDB

SCHEMA = "replays"
STEPS_A_TRANSACTION = 1000
ORDERS = """CREATE TABLE {name} (id INT PRIMARY KEY, customer INT, status ENUM('new','paid'), total DECIMAL(12,2), note TEXT,
    placed TIMESTAMP(6) NULL, KEY (customer));
    INSERT INTO {name} SELECT seq, seq % 1000, 1 + seq % 2, seq * 1.25, CONCAT('note ', seq), '2026-01-01' FROM seq_1_to_{rows}"""
# What is done to each row, by its number; the undo of an insert is a delete.
DAMAGE: Mapping[str, str] = {
    "update": "UPDATE `update` SET total = 0, status = 1 WHERE id = {}",
    "insert": "DELETE FROM `insert` WHERE id = {}",
    "delete": "INSERT INTO `delete` SELECT id + 100000000, customer, status, total, note, placed FROM `delete` WHERE id = {}",
}


class Replays:
    """The plans and the scripts, by what the undo does: update, insert, delete; each on a table of that name."""

    def __init__(self, server: MariaDB, folder: Path, rows: int, dblog: str) -> None:
        self._server, self._folder, self._dblog = server, folder, dblog
        server.sql(f"CREATE DATABASE {SCHEMA}")
        self._plans = {kind: self._damaged(kind, rows) for kind in DAMAGE}

    def _damaged(self, kind: str, rows: int) -> str:
        server, plan = self._server, self._folder / f"undo-{kind}"
        server.sql(ORDERS.format(name=f"`{kind}`", rows=rows), SCHEMA)
        server.rotate()
        log = server.binlogs()[-1]
        server.sql(";\n".join(_transactions(DAMAGE[kind], rows)), SCHEMA)
        server.rotate()
        server.sql(f"CREATE TABLE damaged_{kind} AS SELECT * FROM `{kind}`", SCHEMA)
        command = [self._dblog, "plan", str(log), "--driver", "mysql", "--out", str(plan), "--table", f"{SCHEMA}.{kind}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode not in COMPLETE:
            raise SystemExit(f"{' '.join(command)}: {done.stderr}")
        with (self._folder / f"undo-{kind}.sql").open("w", encoding="utf-8") as script:
            script.writelines(f"{line};\n" for line in unguarded(str(plan)))
        return str(plan)

    def again(self, kind: str) -> Callable[[], None]:
        """Return what puts the damage of a kind back, with no note of a replay left."""

        def clean() -> None:
            rows = f"TRUNCATE TABLE `{kind}`; INSERT INTO `{kind}` SELECT * FROM damaged_{kind}"
            self._server.sql(f"{rows}; DROP TABLE IF EXISTS dblog_replay; FLUSH BINARY LOGS", SCHEMA)

        return clean

    def ours(self, kind: str) -> Command:
        """Return the command that replays a plan."""
        plan = self._plans[kind]
        target = f"mysql://root@localhost/{SCHEMA}?unix_socket={self._server.socket}"
        return [self._dblog, "replay", plan, "--target", target, "--approve", read_plan(plan, {}).id]

    def peer(self, kind: str) -> Command:
        """Return the command that runs the script."""
        options = ["--no-defaults", "--default-character-set=utf8mb4", f"--socket={self._server.socket}", "--user=root"]
        return ["mariadb", *options, SCHEMA, "-e", f"source {self._folder / f'undo-{kind}.sql'}"]


def _transactions(statement: str, rows: int) -> Iterator[str]:
    for number in range(1, rows + 1):
        if number % STEPS_A_TRANSACTION == 1:
            yield "BEGIN"
        yield statement.format(number)
        if number % STEPS_A_TRANSACTION == 0 or number == rows:
            yield "COMMIT"


def unguarded(url: str) -> Iterator[str]:
    """Yield the undo of a plan as plain statements."""
    last: object = None
    yield "SET time_zone = '+00:00'"
    for _, step in steps_from(read_plan(url, {}), 0):
        if step.transaction != last:
            yield from ("COMMIT", "START TRANSACTION")
            last = step.transaction
        for now, then in step.changes.rows:
            yield statement(step.changes.table, now, then)
    yield "COMMIT"


def statement(table: Table, now: Row | None, then: Row | None) -> str:
    """Return what makes a row what it was, as plain as a person would write it."""
    names = [identifier(column.name) for column in table.columns]
    writes = [form_of(column).write for column in table.columns]
    values = ["NULL" if value is None else write(value) for write, value in zip(writes, then or (), strict=bool(then))]
    if now is None:
        return f"INSERT INTO {title(table)} ({', '.join(names)}) VALUES ({', '.join(values)})"
    where = KeyCondition([table.columns[at] for at in table.key]).one(tuple([now[at] for at in table.key]))
    if then is None:
        return f"DELETE FROM {title(table)} WHERE {where}"
    sets = [f"{names[at]} = {values[at]}" for at in range(len(names)) if now[at] != then[at]]
    return f"UPDATE {title(table)} SET {', '.join(sets)} WHERE {where}"
