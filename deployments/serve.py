"""The flows on a schedule without a work pool: one process that waits, runs, and pauses its schedules when it is stopped.

python deployments/serve.py SOURCE OUT LOG… [--target DSN] [--scratch DSN]      with PREFECT_API_URL set to a server

    SOURCE/plan        every hour
    SOURCE/recover     on demand, with --target
    SOURCE/doctor      every hour: of the target, or of the logs
    SOURCE/rehearsal   every night, with --scratch
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
import sys
from typing import Any

from prefect import serve
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy

sys.path.insert(0, str(Path(__file__).parent.parent))  # as a script, the folder of this file is on the path instead

from flows.doctor import doctor
from flows.plan_recovery import plan_recovery
from flows.recover import recover
from flows.rehearsal import rehearsal

ONE = ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW)
HOURLY, NIGHTLY = timedelta(hours=1), "30 2 * * *"


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve the flows for one source, one run of each at a time, until interrupted."""
    parser = argparse.ArgumentParser(description="Plan the undo of what came into a log, every hour.")
    parser.add_argument("source", help="name of whose log it is")
    parser.add_argument("out", help="folder that holds the plans")
    parser.add_argument("logs", nargs="+", metavar="log", help="folders, files or globs at any URL")
    parser.add_argument("--target", default="", help="the server: block:NAME, env:NAME, or a DSN without a password")
    parser.add_argument("--scratch", default="", help="a scratch server with a copy of the data, likewise")
    serve(*deployed(parser.parse_args(arguments)))


def deployed(given: argparse.Namespace) -> Iterator[Any]:
    """Yield the deployments that were asked for."""
    name, whole = given.source, {"logs": given.logs, "source": given.source, "out": given.out}
    shared: dict[str, Any] = {"tags": ["dblog"], "concurrency_limit": ONE, "enforce_parameter_schema": True}
    yield plan_recovery.to_deployment(name, interval=HOURLY, parameters=whole, **shared)
    seen = {"target": given.target} if given.target else {"logs": given.logs}
    yield doctor.to_deployment(name, interval=HOURLY, parameters={"source": name, **seen}, **shared)
    if given.target:
        yield recover.to_deployment(name, parameters={**whole, "target": given.target}, **shared)
    if given.scratch:
        yield rehearsal.to_deployment(name, cron=NIGHTLY, parameters={**whole, "scratch_target": given.scratch}, **shared)


if __name__ == "__main__":
    main()
