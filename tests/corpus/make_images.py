"""Make `found/images-*`: statements under every binlog_row_image, beside what the server had before and after each of them.

    python -m tests.corpus.make_images DSN FOLDER NAME

DSN is that of an empty server with binlog_format=ROW and binlog_row_metadata=FULL, FOLDER where its logs are, NAME what the files are
called after: `images-NAME.000001` (the log), `images-NAME.sql` (CREATE TABLE), `images-NAME.jsonl`: a line for each statement that changed
something, with `image`, `does` (what it is there for), `table` and `before` and `after`, the rows as objects without generated columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
import json
from pathlib import Path
import shutil
import sys
from typing import Any, NamedTuple

from pymysql.cursors import Cursor

from dblog_tasks.mysql.catalog import connect

FOUND = Path(__file__).parent / "found"
LONG = "0123456789" * 9  # a document is logged as a difference only where that is shorter

TABLES = {
    "t": """CREATE TABLE t (id int PRIMARY KEY, a int DEFAULT 7, b varchar(20), c text, j json, j2 json, g int AS (a + 1) VIRTUAL,
        u timestamp NULL DEFAULT NULL)""",
    "n": "CREATE TABLE n (a int, b varchar(20), c text)",
    "q": "CREATE TABLE q (a int NOT NULL, b varchar(20) NOT NULL, c text, UNIQUE KEY (b))",
    "w": "CREATE TABLE w (id int PRIMARY KEY, a int, u timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP)",
}
MARIADB_TABLES = {
    "m": """CREATE TABLE m (id int PRIMARY KEY, u uuid, i6 inet6, i4 inet4, vc varchar(200) COMPRESSED, vb varbinary(300) COMPRESSED,
        tc text COMPRESSED, bc longblob COMPRESSED)""",
    "v": "CREATE TABLE v (id int PRIMARY KEY, a int) WITH SYSTEM VERSIONING",
}
HEX = ("blob", "longblob", "varbinary(300)")


class Statement(NamedTuple):
    """A statement on one table, and what it is there for."""

    table: str
    does: str
    text: str


ROWS = (
    Statement(
        "t", "insert all", f"INSERT INTO t (id, a, b, c, j, j2) VALUES (1, 1, 'x', 'text', '{{\"p\": \"{LONG}\", \"k\": [1, 2]}}', '[1]')"
    ),
    Statement("t", "insert some", "INSERT INTO t (id, b) VALUES (2, 'y')"),
    Statement("t", "update", "UPDATE t SET a = a + 1, u = '2024-01-02 03:04:05' WHERE id = 1"),
    Statement("t", "update a text", "UPDATE t SET c = NULL WHERE id = 1"),
    Statement("t", "update a document", "UPDATE t SET j = JSON_SET(j, '$.k[0]', 5) WHERE id = 1"),
    Statement("t", "change the key", "UPDATE t SET id = 10 WHERE id = 1"),
    Statement("t", "delete", "DELETE FROM t"),
    Statement("n", "insert all", "INSERT INTO n VALUES (1, 'x', 'text'), (1, 'x', 'text'), (2, 'y', NULL)"),
    Statement("n", "insert some", "INSERT INTO n (a) VALUES (3)"),
    Statement("n", "update", "UPDATE n SET a = 9 WHERE b = 'y'"),
    Statement("n", "update a text", "UPDATE n SET c = 'c' WHERE b = 'y'"),
    Statement("n", "delete", "DELETE FROM n"),
    Statement("q", "insert all", "INSERT INTO q VALUES (1, 'x', 'text'), (2, 'y', NULL)"),
    Statement("q", "insert some", "INSERT INTO q (a, b) VALUES (3, 'z')"),
    Statement("q", "update", "UPDATE q SET a = 9 WHERE b = 'y'"),
    Statement("q", "change the key", "UPDATE q SET b = 'yy' WHERE b = 'y'"),
    Statement("q", "delete", "DELETE FROM q"),
    Statement("w", "insert all", "INSERT INTO w VALUES (1, 1, '2024-01-02 03:04:05')"),
    Statement("w", "change the key", "UPDATE w SET id = 2, u = u"),
    Statement("w", "update", "UPDATE w SET a = 2"),
    Statement("w", "delete", "DELETE FROM w"),
)
DOCUMENT = f'{{"pad": "{LONG}", "a": [1, {{"b": 2}}, "x"], "ü k": null, "d": 1}}'
JSON_ROWS = (
    Statement("t", "insert all", f"INSERT INTO t (id, j, j2) VALUES (1, '{DOCUMENT}', '[\"{LONG}\", 1, 2, 3]')"),
    *(
        Statement("t", "patch", f"UPDATE t SET {changes}")
        for changes in (
            "j = JSON_SET(j, '$.d', 70000)",
            'j = JSON_SET(j, \'$."ü k"\', 1.5, \'$."q\\\\"\\\\\\\\t"\', TRUE)',
            "j = JSON_SET(j, '$.a[last]', 'y', '$.a[9]', 'z')",
            "j = JSON_SET(j, '$.a[1].b', CAST('2024-02-29 12:34:56.5' AS DATETIME(6)), '$.dec', CAST('1.50' AS DECIMAL(10,2)))",
            "j = JSON_REMOVE(j, '$.a[0]'), j2 = JSON_REPLACE(j2, '$[2]', JSON_OBJECT('k', j2->'$[1]'))",
            "j2 = JSON_REMOVE(j2, '$[last]', '$[last]')",
            "j = JSON_SET(j, '$.a', JSON_ARRAY()), a = 8",
            "j = JSON_REMOVE(j, '$.dec')",
            "j = JSON_SET(j, '$.d', 70000)",
            "j = JSON_SET(j, '$[0].d', 1)",
            "a = 9",
            "j = NULL, j2 = JSON_SET(j2, '$[1]', NULL)",
            "j = '{}'",
            "j2 = JSON_SET(j2, '$[1]', 'it''s'), b = 'b'",
        )
    ),
    Statement("t", "update a text", "UPDATE t SET j2 = JSON_SET(j2, '$[1]', 1), c = 'c'"),
    Statement("t", "delete", "DELETE FROM t"),
)
MARIADB_ROWS = (
    Statement(
        "m",
        "insert all",
        "INSERT INTO m VALUES (1, '00112233-4455-6677-8899-aabbccddeeff', '2001:db8::ff00:42:8300', '1.2.3.0', REPEAT('ö', 150),"
        f" REPEAT('y', 299), REPEAT('{LONG}', 30), REPEAT('\\0', 600)),"
        " (2, '00000000-0000-1000-8000-000000000000', '::', '0.0.0.0', '', '', '', ''),"
        " (3, NULL, '::ffff:1.2.3.4', NULL, NULL, NULL, 'short', 'x'),"
        " (4, UUID(), '::1.2.3.4', '255.0.0.255', 'ü', '\\0', NULL, NULL),"
        " (5, 'ffffffff-ffff-4fff-bfff-ffffffffff00', '1:0:2:3:0:0:7:8', NULL, NULL, NULL, NULL, NULL),"
        " (6, NULL, '1:0:2:3:4:5:6:7', NULL, NULL, NULL, NULL, NULL), (7, NULL, '1:2:3:4:5:6:7:8', NULL, NULL, NULL, NULL, NULL),"
        " (8, NULL, '1:0:0:2:3:0:0:4', NULL, NULL, NULL, NULL, NULL), (9, NULL, '::1', NULL, NULL, NULL, NULL, NULL),"
        " (10, NULL, 'a::', NULL, NULL, NULL, NULL, NULL), (11, NULL, '::2:3:4:5:6:7:8', NULL, NULL, NULL, NULL, NULL),"
        " (12, NULL, '::fffe:1.2.3.4', NULL, NULL, NULL, NULL, NULL)",
    ),
    Statement("m", "update", "UPDATE m SET u = UUID(), tc = CONCAT(tc, 'x'), i4 = '9.9.9.9' WHERE id < 4"),
    Statement("m", "delete", "DELETE FROM m"),
    Statement("v", "insert all", "INSERT INTO v VALUES (1, 1), (2, 2), (3, 3)"),
    Statement("v", "update", "UPDATE v SET a = a + 1 WHERE id < 3"),
    Statement("v", "change the key", "UPDATE v SET id = 10 WHERE id = 1"),
    Statement("v", "delete", "DELETE FROM v WHERE id = 2"),
    Statement("v", "replace", "REPLACE INTO v VALUES (3, 33)"),
    Statement("v", "delete the history", "DELETE HISTORY FROM v"),
    Statement("v", "delete", "DELETE FROM v"),
)


def main(dsn: str, folder: str, name: str) -> None:
    """Make the three files."""
    with closing(connect(dsn)) as connection, connection.cursor() as cursor:
        mariadb = "MariaDB" in _one(cursor, "SELECT VERSION()")
        tables = TABLES | (MARIADB_TABLES if mariadb else {})
        for text in ("CREATE DATABASE im", "USE im", "SET time_zone = '+00:00', timestamp = 1790000000", *tables.values()):
            cursor.execute(text)
        schema = [shown(cursor, table) for table in tables]
        cursor.execute("FLUSH BINARY LOGS")
        cursor.execute("SHOW BINARY LOGS")
        log = cursor.fetchall()[-1][0]
        (FOUND / f"images-{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in _lines(cursor, mariadb=mariadb)))
        (FOUND / f"images-{name}.sql").write_text("USE im;\n" + "".join(text + ";\n" for text in schema))
        cursor.execute("FLUSH BINARY LOGS")
    shutil.copy(Path(folder) / log, FOUND / f"images-{name}.000001")


def _lines(cursor: Cursor, *, mariadb: bool) -> Iterator[dict[str, Any]]:
    for image in ("MINIMAL", "NOBLOB", "FULL"):
        cursor.execute("COMMIT")
        cursor.execute(f"SET binlog_row_image = '{image}'")
        yield from _run(cursor, image, [*ROWS, *(MARIADB_ROWS if mariadb else ())])
        if not mariadb:
            cursor.execute("COMMIT")
            cursor.execute("SET binlog_row_value_options = 'PARTIAL_JSON'")
            yield from _run(cursor, f"{image} PARTIAL_JSON", [*JSON_ROWS, *ROWS])
            cursor.execute("COMMIT")
            cursor.execute("SET binlog_row_value_options = ''")


def _run(cursor: Cursor, image: str, statements: list[Statement]) -> Iterator[dict[str, Any]]:
    for number, (table, does, text) in enumerate(statements, 1):
        cursor.execute("COMMIT")
        cursor.execute(f"SET timestamp = {1790000000 + number}")
        before = rows_of(cursor, table)
        changed = cursor.execute(text)
        cursor.execute("COMMIT")
        if changed:
            yield {"image": image, "does": does, "table": table, "before": before, "after": rows_of(cursor, table)}


def rows_of(cursor: Cursor, table: str) -> list[dict[str, Any]]:
    """Return all rows, each value as a plan has it: text, numbers, bytes in hex, documents as the server prints them."""
    cursor.execute(
        "SELECT COLUMN_NAME, COLUMN_TYPE FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = 'im' AND TABLE_NAME = %s"
        " AND COALESCE(GENERATION_EXPRESSION, '') = '' ORDER BY ORDINAL_POSITION",
        [table],
    )
    columns = [(name, kind.partition(" /")[0]) for name, kind in cursor.fetchall()]
    chosen = ", ".join(f"HEX({name})" if kind in HEX else name if "int" in kind else f"CAST({name} AS CHAR)" for name, kind in columns)
    cursor.execute(f"SELECT {chosen} FROM {table} ORDER BY {', '.join(map(str, range(1, len(columns) + 1)))}")
    return [dict(zip([name for name, _ in columns], row, strict=True)) for row in cursor.fetchall()]


def _one(cursor: Cursor, text: str) -> Any:
    cursor.execute(text)
    row: Any = cursor.fetchone()
    return row[0]


def shown(cursor: Cursor, table: str) -> str:
    """Return the statement that makes the table."""
    cursor.execute(f"SHOW CREATE TABLE {table}")
    row: Any = cursor.fetchone()
    return str(row[1])


if __name__ == "__main__":
    main(*sys.argv[1:])
