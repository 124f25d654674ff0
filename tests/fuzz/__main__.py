"""Runs inputs: `python -m tests.fuzz TARGET --seed S --count N` or `--minutes M`. Exit code 1 when one failed.

A failure is any error that is not declared, HANG_SECONDS without an end, memory beyond MEMORY_MAX, or a crash of the interpreter. The
inputs of all but crashes are saved and the run goes on; of a crash, the number of the input stands in the progress file, and `--first`
runs it again.
"""

from __future__ import annotations

import argparse
import faulthandler
import os
from pathlib import Path
from random import Random
import resource
import signal
import sys
from time import monotonic
import traceback
from types import FrameType

from tests.fuzz.targets import TARGETS, with_logs

HANG_SECONDS = 30
MEMORY_MAX = 1 << 30  # bytes of address space beyond what the start took


class HangError(BaseException):
    """An input took too long."""


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("target", choices=sorted(TARGETS))
    parser.add_argument("--seed", default="0")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=0)
    parser.add_argument("--failures", type=Path, default=Path("fuzz-failures"))
    parser.add_argument("--logs", type=Path, action="append", default=[])
    given = parser.parse_args()
    prepare()
    return run(given)


def prepare() -> None:
    """Bound memory and time of this process."""
    faulthandler.enable()
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
    limit = pages * resource.getpagesize() + MEMORY_MAX
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    signal.signal(signal.SIGALRM, _hang)


def _hang(_number: int, _frame: FrameType | None) -> None:
    raise HangError


def run(given: argparse.Namespace) -> int:
    """Run the inputs one after the other; return whether one failed."""
    target = with_logs(tuple(given.logs))[given.target]
    end = monotonic() + given.minutes * 60
    failed: dict[str, int] = {}
    number = given.first
    progress = os.environ.get("FUZZ_PROGRESS")
    while number < given.first + given.count or monotonic() < end:
        if progress:
            Path(progress).write_text(str(number))
        data = target.make(Random(f"{given.target}:{given.seed}:{number}"))
        signal.setitimer(signal.ITIMER_REAL, HANG_SECONDS)
        faulthandler.dump_traceback_later(2 * HANG_SECONDS, exit=True)  # when not even the alarm is heard
        try:
            target.run(data)
        except (Exception, HangError) as error:  # noqa: BLE001 - that is what is looked for
            where = traceback.extract_tb(error.__traceback__)[-1]
            kind = f"{type(error).__name__} at {Path(where.filename).name}:{where.lineno}"
            failed[kind] = failed.get(kind, 0) + 1
            if failed[kind] == 1:
                _save(given, number, data, kind, error)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            faulthandler.cancel_dump_traceback_later()
        number += 1
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    say(f"{given.target}: {number - given.first} inputs of seed {given.seed}, {sum(failed.values())} failed, peak {peak} MiB: {failed}")
    return bool(failed)


def _save(given: argparse.Namespace, number: int, data: bytes, kind: str, error: BaseException) -> None:
    given.failures.mkdir(parents=True, exist_ok=True)
    path = given.failures / f"{given.target}-{given.seed}-{number}"
    path.write_bytes(data)
    trace = "".join(traceback.format_exception(error)[-12:])
    path.with_suffix(".txt").write_text(trace)
    say(f"{given.target} --seed {given.seed} --first {number} --count 1: {kind}: {str(error)[:200]} ({len(data)} bytes in {path})")


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
