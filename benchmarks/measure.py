"""What a process takes, and how often as much a peer takes for the same. Law: whole processes, start-up included, output to a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
import os
from pathlib import Path
import re
from statistics import median
import subprocess
import time
from typing import NamedTuple, TypeAlias

Command: TypeAlias = Sequence[str]
_LOOK_SECONDS = 0.005
COMPLETE = (0, 3)  # exit codes of a job that was done: a plan with omissions or conflicts is one


class Cost(NamedTuple):
    """What processes took: seconds of CPU (user and system), and seconds by the clock."""

    cpu: float
    wall: float


class Task(NamedTuple):
    """One comparison.

    Attributes:
        name: what is done, and by which peer.
        ours, peer: the commands of both, run one after the other.
        floor: the ratio to reach; None where none is asked for.
        by_wall: whether the clock judges, not the CPU.
        clean: run before each of the two.
    """

    name: str
    ours: Sequence[Command]
    peer: Sequence[Command]
    floor: float | None = None
    by_wall: bool = False
    clean: Callable[[], None] = lambda: None


def run(commands: Sequence[Command], output: Path, environment: Mapping[str, str]) -> Cost:
    """Run commands one after the other, their output into a file; return what all took. Ends the program when one fails."""
    cpu, start = 0.0, time.perf_counter()
    for command in commands:
        with output.open("wb") as stream, subprocess.Popen(command, stdout=stream, stderr=subprocess.PIPE, env=environment) as process:
            said = process.stderr.read() if process.stderr else b""
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in COMPLETE:
            raise SystemExit(f"{' '.join(command)}: {said.decode(errors='replace')}")
        cpu += usage.ru_utime + usage.ru_stime
    return Cost(cpu, time.perf_counter() - start)


def peak_memory(command: Command, output: Path, environment: Mapping[str, str]) -> int:
    """Run a command, its output into a file; return its biggest resident set in bytes. Ends the program when it fails.

    Asked for again and again while it runs: what the kernel tells of a process that has ended is never less than what this one had when
    it began the other.
    """
    peak = 0
    with output.open("wb") as stream, subprocess.Popen(command, stdout=stream, stderr=subprocess.DEVNULL, env=environment) as process:
        while process.poll() is None:
            found = re.search(rb"VmHWM:\s+([0-9]+) kB", Path(f"/proc/{process.pid}/status").read_bytes())
            peak = int(found[1]) << 10 if found else peak
            time.sleep(_LOOK_SECONDS)
    if process.returncode not in COMPLETE:
        raise SystemExit(f"{' '.join(command)}: exit code {process.returncode}")
    return peak


def compared(task: Task, pairs: int, output: Path, environment: Mapping[str, str]) -> str:
    """Return a line with the medians of peer / ours over pairs of runs, which take turns."""
    found = []
    for _ in range(pairs):
        task.clean()
        ours = run(task.ours, output, environment)
        task.clean()
        peer = run(task.peer, output, environment)
        found.append((peer.cpu / ours.cpu, peer.wall / ours.wall))
    columns = [sorted(values) for values in zip(*found, strict=True)]
    shown = "  ".join(f"{median(values):6.2f} {f'[{values[0]:.2f}-{values[-1]:.2f}]':15}" for values in columns)
    return f"{task.name:{NAME_WIDTH}} {shown} {judged(median(columns[task.by_wall]), task.floor)}"


def judged(ratio: float, floor: float | None) -> str:
    """Return the floor, and whether a ratio reaches it."""
    return "" if floor is None else f"{floor:5.1f} {'pass' if ratio >= floor else 'below'}"


def heading() -> Iterator[str]:
    """Yield the lines above `compared`."""
    yield f"{'peer / ours: above 1 ours takes less':{NAME_WIDTH}} {'CPU [min-max]':>20}  {'wall [min-max]':>20}   floor"


NAME_WIDTH = 62
