"""Binary logs as a busy MariaDB server writes them, made here by a real one.

    narrow    as sysbench has it: a key, a number, two texts of 119 and 59 characters
    wide      30 columns of mixed types, a tenth of the values NULL where they may be
    rare      a table of which both logs hold a change now and then
    single    a table of which one small log alone holds changes

Inserts, updates and deletes of 1 to 100 rows a transaction, half of them of a single row; metadata and row images full, a CRC32 each
event, no statements noted. All tables are made before the first row of a log, so that no log holds a change of structure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count, islice
import os
from pathlib import Path
import random
import re
from struct import Struct

from tests.live.servers import MariaDB

SERVER_OPTIONS = ("--max-binlog-size=1G", "--log-bin-compress=OFF", "--binlog-annotate-row-events=OFF", "--binlog-checksum=CRC32")
NARROW = "CREATE TABLE narrow (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, k INT NOT NULL, c CHAR(120) NOT NULL, pad CHAR(60) NOT NULL)"
RARE = "CREATE TABLE rare (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, note VARCHAR(40))"
WIDE_TYPES = (
    "INT NOT NULL", "INT", "BIGINT UNSIGNED", "SMALLINT", "TINYINT NOT NULL", "DECIMAL(12,2) NOT NULL", "DECIMAL(20,6)", "DOUBLE", "FLOAT",
    "DATE", "DATETIME", "DATETIME(6)", "TIMESTAMP NULL", "TIME", "YEAR", "VARCHAR(20)", "VARCHAR(300)", "CHAR(12)", "TEXT", "BLOB",
    "ENUM('a','b','c')", "SET('x','y','z')", "BIT(9)", "BINARY(8)", "VARBINARY(20)", "INT", "BIGINT", "VARCHAR(40)", "DATETIME(3)",
)  # fmt: skip
WIDE = f"CREATE TABLE wide (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, {', '.join(f'c{n} {kind}' for n, kind in enumerate(WIDE_TYPES))})"
# What a value of a type is made of; R is a fresh random number below 1.
SAMPLES: Mapping[str, str] = {
    "INT": "FLOOR(R * 2e9)", "BIGINT": "FLOOR(R * 1e15)", "SMALLINT": "FLOOR(R * 3e4)", "TINYINT": "FLOOR(R * 100)",
    "DECIMAL": "ROUND(R * 1e8, 2)", "DOUBLE": "R * 1e6", "FLOAT": "R * 1e3", "DATE": "'2020-01-01' + INTERVAL FLOOR(R * 3000) DAY",
    "DATETIME": "'2020-01-01' + INTERVAL FLOOR(R * 2e14) MICROSECOND", "TIMESTAMP": "'2020-01-01 12:00' + INTERVAL FLOOR(R * 1e8) SECOND",
    "TIME": "SEC_TO_TIME(FLOOR(R * 8e4))", "YEAR": "1990 + FLOOR(R * 60)", "VARCHAR": "LEFT(MD5(R), 4 + FLOOR(R * 16))",
    "CHAR": "LEFT(MD5(R), 12)", "TEXT": "REPEAT(LEFT(MD5(R), 9), 1 + FLOOR(R * 9))", "BLOB": "UNHEX(SHA2(R, 256))",
    "ENUM": "1 + FLOOR(R * 3)", "SET": "FLOOR(R * 8)", "BIT": "FLOOR(R * 500)", "BINARY": "UNHEX(LEFT(MD5(R), 16))",
    "VARBINARY": "UNHEX(LEFT(MD5(R), 2 * FLOOR(R * 16)))",
}  # fmt: skip
_DIGITS = "LPAD(FLOOR(R * 1e11), 11, '0')"
NARROW_VALUES = ("FLOOR(R * 1e6)", *(f"CONCAT_WS('-', {', '.join([_DIGITS] * groups)})" for groups in (10, 5)))
SINGLE = "CREATE TABLE single (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, note VARCHAR(40))"
KINDS = ("narrow", "wide")
_STATEMENTS_AT_ONCE = 2000
_HEADER = Struct("<IBIIIH")  # of an event: time, type, server, size, end, flags
_XID = 16  # the type of the event that commits


def fill(server: MariaDB, megabytes: int) -> dict[str, Path]:
    """Write about that many megabytes of changes to each of two tables, some to a third; return the closed log of each kind."""
    chance = random.Random(1)  # noqa: S311 - the same statements each time
    server.sql("CREATE DATABASE perf; SET GLOBAL innodb_flush_log_at_trx_commit = 0; SET GLOBAL sync_binlog = 0")
    server.sql(f"{NARROW}; {WIDE}; {RARE}", "perf")
    found = {}
    for kind in KINDS:
        server.rotate()
        found[kind] = server.binlogs()[-1]
        changes = statements(kind, chance)
        while found[kind].stat().st_size < megabytes << 20:
            server.sql(";\n".join(islice(changes, _STATEMENTS_AT_ONCE)), "perf")
    server.rotate()
    return found


def single(server: MariaDB) -> Path:
    """Write a few changes of a table of its own; return the closed log that alone holds them."""
    server.sql(SINGLE, "perf")
    server.rotate()
    log = server.binlogs()[-1]
    server.sql(";\n".join(["INSERT INTO single (note) VALUES ('once')"] * 100), "perf")
    server.rotate()
    return log


def statements(table: str, chance: random.Random) -> Iterator[str]:
    """Yield inserts, updates and deletes of one table without end, half of them of a single row."""
    values = NARROW_VALUES if table == "narrow" else tuple(wide_values())
    columns = ("k", "c", "pad") if table == "narrow" else tuple(f"c{n}" for n in range(len(WIDE_TYPES)))
    source = re.sub(r"\bR\b", "RAND()", ", ".join(values))
    made = 0  # rows so far: their ids are 1, 2, …
    for number in count():
        rows = 1 if chance.random() < 0.5 else chance.randrange(1, 101)
        kind, first = chance.random(), chance.randrange(1, made + 2)
        if number % 500 == 0:
            yield "INSERT INTO rare (note) VALUES ('seldom')"
        elif kind < 0.5 or made < 1000:
            yield f"INSERT INTO {table} ({', '.join(columns)}) SELECT {source} FROM seq_1_to_{rows}"
            made += rows
        elif kind < 0.9:
            yield f"UPDATE {table} SET {columns[0]} = {columns[0]} ^ 1 WHERE id BETWEEN {first} AND {first + rows - 1}"
        else:
            yield f"DELETE FROM {table} WHERE id BETWEEN {first} AND {first + rows - 1}"


def wide_values() -> Iterator[str]:
    """Yield what each column of the wide table is filled with, a tenth of it NULL where that is allowed."""
    for kind in WIDE_TYPES:
        value = SAMPLES[kind.split("(")[0].split(" ")[0]]
        yield value if "NOT NULL" in kind else f"IF(R < 0.1, NULL, {value})"


def series(log: Path, folder: Path, members: int) -> Path:
    """Return a folder in which the log stands that many times under following names: a series as long, of the same changes again."""
    folder.mkdir()
    for number in range(1, members + 1):
        os.link(log, folder / f"{log.stem}.{number:06}")
    return folder


def middle(log: Path) -> int:
    """Return where the first transaction ends that ends in the second half of a log."""
    half = log.stat().st_size // 2
    with log.open("rb") as stream:
        stream.seek(4)
        while header := stream.read(_HEADER.size):
            _, kind, _, size, end, _ = _HEADER.unpack(header)
            if end > half and kind == _XID:
                return int(end)
            stream.seek(size - _HEADER.size, os.SEEK_CUR)
    return half
