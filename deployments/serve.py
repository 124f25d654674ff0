"""The main job on a schedule without a work pool: one process that waits, runs, and pauses its schedule when it is stopped.

python deployments/serve.py SOURCE OUT LOG…      with PREFECT_API_URL set to a server
"""

from __future__ import annotations

import argparse
from datetime import timedelta

from flows.plan_recovery import plan_recovery


def main() -> None:
    """Serve the flow for one source, every hour, one run at a time, until interrupted."""
    parser = argparse.ArgumentParser(description="Plan the undo of what came into a log, every hour.")
    parser.add_argument("source", help="name of whose log it is")
    parser.add_argument("out", help="folder that holds the plans")
    parser.add_argument("logs", nargs="+", metavar="log", help="folders, files or globs at any URL")
    given = parser.parse_args()
    parameters = {"logs": given.logs, "source": given.source, "out": given.out}
    plan_recovery.serve(name=given.source, interval=timedelta(hours=1), parameters=parameters, tags=["dblog"], global_limit=1)


if __name__ == "__main__":
    main()
