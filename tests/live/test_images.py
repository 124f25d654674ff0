"""Statements under every binlog_row_image on a real server: the undo of each, by the vendor's client, is the state before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
import subprocess
from typing import Any

import pymysql
from pymysql.cursors import Cursor
import pytest

import dblog_tasks
from dblog_tasks import Checkpoint, Omission, Position, RowChanges
from dblog_tasks.mysql.sql import TransactionInfo, undo_script
from tests.corpus.make_images import MARIADB_ROWS, MARIADB_TABLES, ROWS, TABLES, Statement, rows_of, shown
from tests.live.servers import MariaDB

Run = Callable[[str], subprocess.CompletedProcess[str]]


@pytest.fixture
def cursor(mariadb: MariaDB) -> Iterator[Cursor]:
    """A session in a database of these tables."""
    connection = pymysql.connect(unix_socket=str(mariadb.socket), user="root", charset="utf8mb4")
    with closing(connection), connection.cursor() as made:
        for text in ("CREATE DATABASE im", "USE im", "SET time_zone = '+00:00'", *TABLES.values(), *MARIADB_TABLES.values()):
            made.execute(text)
        yield made
        made.execute("DROP DATABASE im")


@pytest.mark.parametrize("image", ["MINIMAL", "NOBLOB", "FULL"])
def test_what_is_planned_of_a_row_image_is_undone(image: str, mariadb: MariaDB, cursor: Cursor, tmp_path: Path) -> None:
    """Each statement that can be undone is, and run again; none is undone in part."""
    cursor.execute(f"SET binlog_row_image = '{image}'")
    schema = tmp_path / "schema.sql"
    schema.write_text("USE im;\n" + "".join(shown(cursor, table) + ";\n" for table in (*TABLES, *MARIADB_TABLES)))

    done = undo_each(cursor, [*ROWS, *MARIADB_ROWS], mariadb.datadir, str(schema), mariadb.client)

    assert done > (10 if image == "MINIMAL" else 20)


def undo_each(cursor: Cursor, statements: list[Statement], logs: Path, schema: str, client: Run) -> int:
    """Run each statement; where its log is enough undo it, compare, and run it again. Return how many were."""
    done = 0
    for table, does, text in statements:
        before, start = rows_of(cursor, table), position(cursor)
        cursor.execute(text)
        cursor.execute("COMMIT")
        after, events = rows_of(cursor, table), list(changes(logs, schema, start, position(cursor)))
        if any(isinstance(body, Omission) for body in events):
            continue
        script = "".join(undo_script((TransactionInfo("x"), body.reverse()) for body in reversed(events)))
        ran = client(script)

        assert (0, "") == (ran.returncode, ran.stderr), (does, table, script)
        assert before == rows_of(cursor, table), (does, table, script)
        cursor.execute(text)
        cursor.execute("COMMIT")
        assert len(after) == len(rows_of(cursor, table))
        done += 1
    return done


def position(cursor: Cursor) -> Position:
    """The end of the log."""
    cursor.execute("COMMIT")
    cursor.execute("SHOW BINARY LOGS")
    name, size, *_ = cursor.fetchall()[-1]
    return Position("mysql", f"{name}:{size}")


def changes(logs: Path, schema: str, start: Position, stop: Position) -> Iterator[Any]:
    """Yield the bodies of what changed rows between two positions of one log."""
    path = str(logs / stop.value.partition(":")[0])
    event: Any
    with dblog_tasks.open("mysql", path=path, checkpoint=Checkpoint(position=start), stop=stop, schema=schema) as decoder:
        for event in decoder:
            if event.operation in ("insert", "update", "delete"):
                assert isinstance(event.body, RowChanges | Omission)
                yield event.body
