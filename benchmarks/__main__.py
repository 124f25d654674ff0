"""Ratios against real peers, measured in one run on binary logs made here by a real MariaDB.

    python -m benchmarks [--megabytes N] [--pairs N] [--rows N] [--keep FOLDER]

    figure           is
    CPU              seconds of user and system of the peer / ours, the median over pairs of runs that take turns (A B A B …)
    wall             the same by the clock
    [min-max]        the smallest and the biggest of the pairs: how far the machine's other work reaches
    floor            the ratio asked for, and whether the median of CPU reaches it; of two processes, the median of wall
    peak memory      the biggest resident set of our processes, at N megabytes of log and at four times as many (the same closed log
                     four times, as a series), and how much bigger the second is

Above 1 ours takes less. Seconds are not printed: on a shared machine they mean nothing. What is measured are whole processes, their
start included, as people run them: `dblog plan`, then `dblog show --as sql`, which writes the undo with its guards, are two, and
`dblog plan --as sql` does both in one. A process that is over in a fifth of a second mostly starts: Python's own start is in all of ours,
and an interpreter that was built with profiles (Debian's python3) starts in four fifths of the time of one that was not.
The output of ours and peers goes to a file alike; a plan, which the peers do not write, is written to disk besides. Both verify
the checksum of every event, but for mysql-replication, which cannot; of that only the client is counted in CPU, not the
server it reads from. Our modules are compiled once before, as they are when the package is installed.

Replay: `dblog replay` of a plan of N single-row steps (--rows; few, so that it stays short: 1000000 is what the floor is for), its
start, check, guards, notes and inverse plan included, and the plain client with the unguarded statements of the same plan; the server
works in both, so the clock judges.

Header indexes: ours plans a second time, with the indexes that the first time made of 40 files; the peer is ours without them.

PostgreSQL: a log of test_decoding that is made here, and a reader that takes it apart field by field with one regular expression, and does
nothing with what it finds.

Conflicts: ours searches the second half of the log for later changes of the rows it undoes; the peer only undoes the first half.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
import os
from pathlib import Path
import shutil
import sys
import tempfile

from benchmarks import decoding_logs
from benchmarks.logs import KINDS, SERVER_OPTIONS, fill, middle, series, single
from benchmarks.measure import NAME_WIDTH, Command, Task, compared, heading, peak_memory, run
from benchmarks.replays import DAMAGE, Replays
from tests.live.servers import MariaDB, mariadb_server

INDEXED = 40  # files of a series with header indexes, all but one of them the same closed log
SERIES = 4  # times a log stands in the series for memory
MEMORY_MAX = 100 << 20
GROWTH_MAX = 1.1  # of memory, where the log is that many times as long
DECODING_FLOOR, RARE_FLOOR, JOBS_FLOOR, REPLAY_FLOOR = 15, 3, 1.5, 1
FLOORS = {"narrow": (2, 1.4), "wide": (1.2, 1)}  # of a plan alone, and with show
PEER = ("mariadb-binlog", "--no-defaults", "--verify-binlog-checksum")
FLASHBACK = (*PEER, "--flashback", "-v")


class Bench:
    """The comparisons over one log of each kind, and where they write."""

    def __init__(self, folder: Path, server: MariaDB, logs: dict[str, Path]) -> None:
        self.logs = logs
        self.output = folder / "output"
        self.environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        self.environment["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode")
        self._folder, self._server, self._out = folder, server, folder / "out"
        self._series: dict[tuple[str, int], Path] = {}

    def warm(self) -> None:
        """Have our modules compiled."""
        for commands in (self._plan_and_show(self.logs["narrow"], "--table", "perf.rare"), [self._job("decode", self.logs["narrow"])]):
            self._clean()
            run(commands, self.output, self.environment)

    def tasks(self) -> Iterator[Task]:
        """Yield all comparisons."""
        for kind in KINDS:
            yield from self._undo_tasks(kind)
            yield from self._decoding_tasks(kind)
            yield self._conflicts_task(kind)
        yield from self._header_index_tasks()
        yield from map(self._jobs_task, KINDS)

    def _undo_tasks(self, kind: str) -> Iterator[Task]:
        log, (plan_floor, show_floor) = self.logs[kind], FLOORS[kind]
        plan, flashback = self._plan(log), [*FLASHBACK, str(log)]
        yield self._task(f"{kind}: plan / mariadb-binlog --flashback -v", [plan], flashback, plan_floor)
        yield self._task(f"{kind}: plan / mariadb-binlog --flashback", [plan], [*PEER, "--flashback", str(log)])
        yield self._task(f"{kind}: plan, show --as sql / --flashback -v", self._plan_and_show(log), flashback, show_floor)
        rare, picked = ("--table", "perf.rare"), [*FLASHBACK, "-d", "perf", "-T", "rare", str(log)]
        yield self._task(f"{kind}: rare table, plan / --flashback -v -d -T", [self._plan(log, *rare)], picked, RARE_FLOOR)
        yield self._task(f"{kind}: rare table, plan --as sql / the same", [self._plan(log, *rare, "--as", "sql")], picked)
        yield self._task(f"{kind}: rare table, plan, show --as sql / the same", self._plan_and_show(log, *rare), picked)

    def _decoding_tasks(self, kind: str) -> Iterator[Task]:
        log = self.logs[kind]
        rows = [*PEER, "-v", "--base64-output=decode-rows", str(log)]
        yield self._task(f"{kind}: decoding / mariadb-binlog -v", [self._job("decode", log)], rows)
        peer = self._job("peer", self._server.socket, log.name, log.stat().st_size)
        yield self._task(f"{kind}: plan / mysql-replication decoding alone", [self._plan(log)], peer, DECODING_FLOOR)

    def _conflicts_task(self, kind: str) -> Task:
        log = self.logs[kind]
        stop = middle(log)
        plan = self._plan(log, "--table", f"perf.{kind}", "--stop", f"{log.name}:{stop}")
        peer = [*FLASHBACK, "-d", "perf", "-T", kind, f"--stop-position={stop}", str(log)]
        return self._task(f"{kind}: first half, conflicts in the second / --flashback -v", [plan], peer)

    def _header_index_tasks(self) -> Iterator[Task]:
        """Yield the comparison of a second planning with the header indexes of the logs, which the first one made."""
        log, folder, index = self.logs["narrow"], self._folder / "indexed", self._folder / "index"
        os.link(single(self._server), series(log, folder, INDEXED - 1) / f"{log.stem}.{INDEXED:06}")
        plan = self._plan(folder, "--table", "perf.single")
        indexed = [*plan, "--index", str(index)]
        self._clean()
        run([indexed], self.output, self.environment)
        yield self._task(f"table in 1 of {INDEXED} files, with their indexes / without", [indexed], plan)

    def _jobs_task(self, kind: str) -> Task:
        two = str(self._series_of(kind, 2))
        ours, peer = self._plan(two, "--jobs", "2"), self._plan(two, "--jobs", "1")
        return self._task(f"{kind}: plan of two files, --jobs 2 / --jobs 1", [ours], peer, JOBS_FLOOR, by_wall=True)

    def replay_tasks(self, rows: int) -> Iterator[Task]:
        """Yield the comparisons of replays."""
        replays = Replays(self._server, self._folder, rows, _dblog())
        for kind in DAMAGE:
            name = f"replay of {rows} steps, {kind} / client, unguarded"
            yield Task(name, [replays.ours(kind)], [replays.peer(kind)], REPLAY_FLOOR, by_wall=True, clean=replays.again(kind))

    def memory(self) -> Iterator[str]:
        """Yield a line for each kind and verb with the peak memory at one length of log and at another."""
        for kind in KINDS:
            peaks: dict[str, list[float]] = {"plan": [], "show --as sql": []}
            for log in (self.logs[kind], self._series_of(kind, SERIES)):
                self._clean()
                for verb, command in zip(peaks, self._plan_and_show(log), strict=True):
                    peaks[verb].append(peak_memory(command, self.output, self.environment))
            for verb, (one, more) in peaks.items():
                fits = max(one, more) < MEMORY_MAX and more < one * GROWTH_MAX
                name = f"{kind}: peak memory of {verb}, log and {SERIES} times as long"
                shown = f"{one / (1 << 20):6.0f} MB {more / (1 << 20):6.0f} MB, x{more / one:.2f}"
                yield f"{name:{NAME_WIDTH}} {shown} (below {MEMORY_MAX >> 20} MB, x{GROWTH_MAX}) {'pass' if fits else 'below'}"

    def _task(self, name: str, ours: Sequence[Command], peer: Command, floor: float | None = None, *, by_wall: bool = False) -> Task:
        return Task(name, ours, [peer], floor, by_wall, self._clean)

    def _clean(self) -> None:
        shutil.rmtree(self._out, ignore_errors=True)

    def _plan(self, log: object, *options: str) -> Command:
        return self._plan_of(log, "mysql", *options)

    def _plan_of(self, log: object, driver: str, *options: str) -> Command:
        return [_dblog(), "plan", str(log), "--driver", driver, "--out", str(self._out), *options]

    def decoding_log_tasks(self, megabytes: int) -> Iterator[Task]:
        """Yield the comparisons over a log of PostgreSQL."""
        yield from decoding_logs.tasks(self._folder, megabytes, self._plan_of, self._job, self._clean)

    def _plan_and_show(self, log: object, *options: str) -> Sequence[Command]:
        return [self._plan(log, *options), [_dblog(), "show", str(self._out), "--as", "sql"]]

    def _job(self, name: str, *arguments: object) -> Command:
        return [sys.executable, "-m", "benchmarks.ours", name, *map(str, arguments)]

    def _series_of(self, kind: str, members: int) -> Path:
        if (kind, members) not in self._series:
            self._series[kind, members] = series(self.logs[kind], self._folder / f"{kind}-{members}", members)
        return self._series[kind, members]


def _dblog() -> str:
    return str(Path(sys.executable).with_name("dblog"))


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
    parser.add_argument("--megabytes", type=int, default=256, help="of log, for each kind of rows")
    parser.add_argument("--pairs", type=int, default=5, help="runs of each command")
    parser.add_argument("--rows", type=int, default=100_000, help="steps of each plan that is replayed")
    parser.add_argument("--keep", help="folder that stays; a new one")
    options = parser.parse_args()
    with workplace(options.keep) as folder, mariadb_server(*SERVER_OPTIONS) as server:
        bench = Bench(folder, server, fill(server, options.megabytes))
        sizes = ", ".join(f"{kind} {log.stat().st_size >> 20} MB" for kind, log in bench.logs.items())
        print(f"{sizes}; {options.pairs} pairs", *heading(), sep="\n", flush=True)
        bench.warm()
        for task in chain(bench.tasks(), bench.decoding_log_tasks(options.megabytes), bench.replay_tasks(options.rows)):
            print(compared(task, options.pairs, bench.output, bench.environment), flush=True)
        for line in bench.memory():
            print(line, flush=True)


if __name__ == "__main__":
    main()
