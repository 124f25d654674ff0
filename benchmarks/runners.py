"""What the task runners of the flow cost and bring: one plan of 64 log files over each, ratios of whole flow runs.

    python -m benchmarks.runners [--megabytes N] [--runners threads-1 processes-1 processes-2 dask-2 ray-2] [--small N]

    ratio          the flow run over the first runner / over this one, by the clock: above 1 this one is faster
    plan           whether the plan is that of the first runner, hash by hash
    seconds        of the whole process, and of one that finds nothing to do: what Prefect takes, and the start of the runner

The log is a real one of a MariaDB, N megabytes in 64 files (the same closed log 64 times, as a series). `--small N` instead plans N files
of a few kilobytes, to show how many tasks they become. A real Prefect server is started; a flow run is a process, its start included.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
import json
import os
from pathlib import Path
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

from benchmarks.logs import SERVER_OPTIONS, fill, series
from tests.flows.browser import environment, prefect_server
from tests.live.servers import mariadb_server

FILES = 64
ROOT = Path(__file__).parent.parent
SMALL = ROOT / "tests" / "corpus" / "shop" / "shop.000001"
RUN = """
import sys, json
from flows.plan_recovery import plan_recovery
if __name__ == "__main__":
    state = plan_recovery(logs=[sys.argv[1]], source=sys.argv[3], out=sys.argv[2], return_state=True)
    print(json.dumps(state.result()))
"""


class Timed(NamedTuple):
    """One flow run: seconds by the clock, and the hashes of what it planned."""

    seconds: float
    hashes: tuple[str, ...]


def timed(log: Path, folder: Path, runner: str, environ: dict[str, str]) -> Timed:
    """Return what a flow run over the log took. Ends the program when it fails."""
    name, _, workers = runner.partition("-")
    script, out = folder / "run.py", folder / f"plans-{runner}"
    script.write_text(RUN)
    chosen = {"DBLOG_TASK_RUNNER": name, "DBLOG_TASK_WORKERS": workers, "PYTHONPATH": str(ROOT)}
    begun = time.perf_counter()
    command = [sys.executable, str(script), str(log), str(out), runner]
    done = subprocess.run(command, env=environ | chosen, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - begun
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    url = json.loads(done.stdout.splitlines()[-1])["url"]
    manifest = json.loads(Path(url, "manifest.json").read_text()) if url else {"segments": []}
    return Timed(seconds, tuple(segment["sha256"] for segment in manifest["segments"]))


def lines(log: Path, folder: Path, runners: Sequence[str], environ: dict[str, str]) -> None:
    """Print a line for each runner."""
    first: Timed | None = None
    for runner in runners:
        found = timed(log, folder, runner, environ)
        first = first or found
        same = "same plan" if found.hashes == first.hashes else "ANOTHER PLAN"
        nothing = timed(log, folder, runner, environ)
        print(
            f"{runner:12} x{first.seconds / found.seconds:5.2f}  {same}  {found.seconds:6.1f} s  nothing to do {nothing.seconds:5.1f} s",
            flush=True,
        )


def main() -> None:
    """Make the log, run the flow over each runner, print a line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=1024, help="of log in all")
    parser.add_argument("--small", type=int, default=0, help="plan so many small files instead")
    parser.add_argument("--runners", nargs="+", default=["threads-1", "processes-1", "processes-2", "dask-2"])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dblog-runners-") as made:
        folder = Path(made)
        if options.small:
            log = series(SMALL, folder / "log", options.small)
        else:
            with mariadb_server(*SERVER_OPTIONS) as server:
                closed = fill(server, max(options.megabytes // FILES, 1))["narrow"]
                one = folder / closed.name
                one.write_bytes(closed.read_bytes())
            log = series(one, folder / "log", FILES)
        with prefect_server(folder) as where:
            lines(log, folder, options.runners, environment(folder, where) | {"PREFECT_LOGGING_LEVEL": os.environ.get("LEVEL", "ERROR")})


if __name__ == "__main__":
    main()
