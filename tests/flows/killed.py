"""Run the flow in a process of its own and let it die at a chosen point: `python -m tests.flows.killed POINT LOG OUT SOURCE`."""

from __future__ import annotations

from collections.abc import Callable
import os
import signal
import sys
from typing import Any

from dblog_tasks import plan, planning
from flows.plan_recovery import plan_recovery


def die(*_: Any) -> None:
    """End this process at once: nothing is cleaned up."""
    os.kill(os.getpid(), signal.SIGKILL)


def after(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function that dies when it is done."""
    return lambda *arguments: die(function(*arguments))


POINTS: dict[str, Callable[[], None]] = {
    "nowhere": lambda: None,
    "after-a-part": lambda: setattr(planning, "plan_file", after(planning.plan_file)),
    "before-the-manifest": lambda: setattr(plan, "write_manifest", die),
    "after-the-manifest": lambda: setattr(plan, "write_manifest", after(plan.write_manifest)),
}

if __name__ == "__main__":
    point, log, out, source = sys.argv[1:]
    POINTS[point]()
    plan_recovery(logs=[log], source=source, out=out)
