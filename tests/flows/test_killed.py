"""Runs that are killed, and runs at the same time, in processes of their own."""

from __future__ import annotations

import os
from pathlib import Path
import signal
import subprocess
import sys

from prefect.settings import PREFECT_API_URL
import pytest

from dblog_tasks.plan import Plan, check
from tests.flows.conftest import Run
from tests.flows.growing import GrowingLog, place, plans_in, positions, transactions

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.slow
def test_every_event_is_in_one_plan(log: GrowingLog, plans: Path, whole: Plan, run: Run, source: str, server: Path) -> None:
    """Killed after a part, before and after the manifest, and twice at once, on a growing log: nothing twice, nothing lost."""
    environ = {**os.environ, "PREFECT_API_URL": str(PREFECT_API_URL.value()), "PREFECT_HOME": str(server)}
    ends = [end for _, end in transactions(whole)]

    def start(point: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.flows.killed", point, str(log.folder), str(plans), source]
        return subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    codes = []
    for number, points in enumerate((("after-a-part",), ("before-the-manifest",), ("after-the-manifest",), ("nowhere", "nowhere")), 1):
        log.grow(ends[len(ends) * number // 6])
        codes += [process.wait() for process in [start(point) for point in points]]
    names = []
    for end in (ends[len(ends) * 5 // 6], "", "", ""):
        log.grow(end)
        names.append(run().name)

    made = plans_in(plans)

    assert [-signal.SIGKILL] * 3 + [0, 0] == codes
    assert ["Advanced", "CaughtUp"] == [names[0], names[-1]]
    assert list(whole.positions()) == positions(made)
    assert sorted(made, key=lambda plan: place(plan.start.position.value)) == made
    assert [[]] * len(made) == [check(plan) for plan in made]
