"""Ratios against real peers, measured in one run on binary logs made here by a real MariaDB.

    python -m benchmarks [--megabytes N] [--pairs N] [--keep FOLDER]

Each task runs ours and the peer in turn (A B A B …) as whole processes; printed is the median of peer / ours for CPU (user and
system) and wall time: above 1 ours is faster. Seconds are not printed: on a shared machine they mean nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
import os
from pathlib import Path
import random
import shutil
from statistics import median
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

from tests.live.servers import MariaDB, mariadb_server

NARROW = "CREATE TABLE narrow (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, k INT NOT NULL, c CHAR(120) NOT NULL, pad CHAR(60) NOT NULL)"
RARE = "CREATE TABLE rare (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, note VARCHAR(40))"
WIDE_TYPES = (
    "INT NOT NULL", "INT", "BIGINT UNSIGNED", "SMALLINT", "TINYINT NOT NULL", "DECIMAL(12,2) NOT NULL", "DECIMAL(20,6)", "DOUBLE", "FLOAT",
    "DATE", "DATETIME", "DATETIME(6)", "TIMESTAMP NULL", "TIME", "YEAR", "VARCHAR(20)", "VARCHAR(300)", "CHAR(12)", "TEXT", "BLOB",
    "ENUM('a','b','c')", "SET('x','y','z')", "BIT(9)", "BINARY(8)", "VARBINARY(20)", "INT", "BIGINT", "VARCHAR(40)", "DATETIME(3)",
)  # fmt: skip
WIDE = f"CREATE TABLE wide (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, {', '.join(f'c{n} {kind}' for n, kind in enumerate(WIDE_TYPES))})"


class Cost(NamedTuple):
    """What a process took, in seconds."""

    cpu: float
    wall: float


class Task(NamedTuple):
    """One comparison: both commands do the same job on the same files."""

    name: str
    ours: Sequence[str]
    peer: Sequence[str]
    clean: Callable[[], None] = lambda: None


def fill(server: MariaDB, megabytes: int) -> None:
    """Write about that many megabytes of changes to each of the two tables, and a few to a third."""
    chance = random.Random(1)  # noqa: S311 - the same data each time
    server.sql("CREATE DATABASE perf")
    for table, definition in (("narrow", NARROW), ("wide", WIDE)):
        server.sql(f"{definition}; {RARE.replace('TABLE', 'TABLE IF NOT EXISTS')}; FLUSH BINARY LOGS", "perf")
        written = 0
        while written < megabytes << 20:
            rows = 100
            values = [narrow_row(chance) if table == "narrow" else wide_row(chance) for _ in range(rows)]
            columns = "k, c, pad" if table == "narrow" else ", ".join(f"c{n}" for n in range(len(WIDE_TYPES)))
            batch = [f"INSERT INTO {table} ({columns}) VALUES {', '.join(values)}"] * 40
            change = f"UPDATE {table} SET {'k = k + 1' if table == 'narrow' else 'c0 = c0 + 1'} ORDER BY id DESC LIMIT 1200"
            server.sql(
                ";\n".join([*batch, change, f"DELETE FROM {table} ORDER BY id LIMIT 900", "INSERT INTO rare (note) VALUES ('seldom')"]),
                "perf",
            )
            written = size_of(server)
    server.rotate()


def size_of(server: MariaDB) -> int:
    """Return the size of the log in use."""
    return server.binlogs()[-1].stat().st_size


def narrow_row(chance: random.Random) -> str:
    """Return a row as sysbench has it."""
    digits = "-".join(f"{chance.randrange(10**11):011}" for _ in range(10))
    return f"({chance.randrange(10**6)}, '{digits}', '{digits[:59]}')"


def wide_row(chance: random.Random) -> str:
    """Return a row of many types, a tenth of its values NULL where that is allowed."""
    number, text = chance.randrange(100), "t" * chance.randrange(1, 8)
    samples = {
        "INT": number, "BIGINT": number * 10**9, "SMALLINT": number, "TINYINT": number % 100, "DECIMAL": f"{number}.25",
        "DOUBLE": f"{number}.125e0", "FLOAT": f"{number}.5", "DATE": "'2026-01-17'",
        "DATETIME": f"'2026-01-{number % 28 + 1:02} 10:11:{number % 60:02}.123456'",
        "TIMESTAMP": f"'2026-02-{number % 28 + 1:02} 01:02:03'", "TIME": f"'{number}:01:02'", "YEAR": 2000 + number,
        "ENUM": f"'{'abc'[number % 3]}'",
        "SET": "'x,z'", "BIT": number, "BINARY": f"X'{number:02}ff'", "VARBINARY": f"X'{number:02}00ff'", "BLOB": f"X'{'ab' * 40}'",
    }  # fmt: skip
    values = []
    for kind in WIDE_TYPES:
        name = kind.split("(")[0].split(" ")[0]
        missing = "NOT NULL" not in kind and chance.random() < 0.1
        values.append("NULL" if missing else str(samples.get(name, f"'{text} {number}'")))
    return f"({', '.join(values)})"


def run(command: Sequence[str]) -> Cost:
    """Run a command to its end, its output thrown away; return what it and its children took."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 3):
        raise SystemExit(f"{' '.join(command)}: {process.stderr.read().decode() if process.stderr else ''}")
    return Cost(usage.ru_utime + usage.ru_stime, time.perf_counter() - start)


def ratios(task: Task, pairs: int) -> str:
    """Return a line with the medians of peer / ours over pairs of runs."""
    found = []
    for _ in range(pairs):
        task.clean()
        ours, peer = run(task.ours), run(task.peer)
        found.append((peer.cpu / ours.cpu, peer.wall / ours.wall))
    cpu, wall = (sorted(values) for values in zip(*found, strict=True))
    return f"{task.name:58} {median(cpu):6.2f} [{cpu[0]:.2f}-{cpu[-1]:.2f}] {median(wall):6.2f} [{wall[0]:.2f}-{wall[-1]:.2f}]"


def tasks(folder: Path, server: MariaDB) -> Iterator[Task]:
    """Yield the comparisons: decoding, undo, undo of one seldom table, for both kinds of rows."""
    logs = server.binlogs()
    files = {"narrow": max(logs, key=lambda path: path.stat().st_size if b"narrow" in path.read_bytes()[:200_000] else 0)}
    files["wide"] = max((path for path in logs if path != files["narrow"]), key=lambda path: path.stat().st_size)
    python = [sys.executable, "-m", "benchmarks.ours"]
    out = folder / "out"

    def clean() -> None:
        shutil.rmtree(out, ignore_errors=True)

    for name, log in files.items():
        size = log.stat().st_size >> 20
        yield Task(
            f"decode {name} {size} MB / mariadb-binlog -v",
            [*python, "decode", str(log)],
            ["mariadb-binlog", "--no-defaults", "-v", "--base64-output=decode-rows", str(log)],
        )
        yield Task(
            f"undo SQL {name} / mariadb-binlog --flashback",
            [*python, "undo", str(log)],
            ["mariadb-binlog", "--no-defaults", "--flashback", "-v", str(log)],
        )
        yield Task(
            f"plan and show --as sql {name} / mariadb-binlog --flashback",
            [*python, "plan", str(log), str(out)],
            ["mariadb-binlog", "--no-defaults", "--flashback", "-v", str(log)],
            clean,
        )
        yield Task(
            f"undo of a seldom table {name} / mariadb-binlog --flashback",
            [*python, "undo", str(log), "perf.rare"],
            ["mariadb-binlog", "--no-defaults", "--flashback", "-v", "-d", "perf", "-T", "rare", str(log)],
        )
        yield Task(
            f"decode {name} / mysql-replication",
            [*python, "decode", str(log)],
            [*python, "peer", str(server.socket), log.name, str(log.stat().st_size)],
        )


@contextmanager
def workplace(keep: str | None) -> Iterator[Path]:
    """Yield a folder for servers and output, removed afterwards unless it is to be kept."""
    folder = Path(keep or tempfile.mkdtemp(prefix="dblog-bench-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield folder
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """Make the logs, run the comparisons, print a line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=24, help="of log, for each kind of rows")
    parser.add_argument("--pairs", type=int, default=3, help="runs of each command")
    parser.add_argument("--keep", help="folder that stays")
    options = parser.parse_args()
    with workplace(options.keep) as folder, mariadb_server("--max-binlog-size=1G", "--log-bin-compress=OFF") as server:
        fill(server, options.megabytes)
        print(f"{'peer / ours, above 1 ours is faster':58} {'CPU':>6} [min-max] {'wall':>7} [min-max]")
        for task in tasks(folder, server):
            print(ratios(task, options.pairs), flush=True)


if __name__ == "__main__":
    main()
