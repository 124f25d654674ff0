"""The main job on a small shop: three slips among the work of a day, found in its log by name, and what would undo them.

Needs no server and no settings: Prefect starts a temporary server, and all that is written lies below ./demo-output.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
import json
import os
from pathlib import Path
import sys
from typing import Any

ROOT = Path(__file__).parent.parent
SHOP = ROOT / "tests" / "corpus" / "shop"
OUTPUT = Path("demo-output")
LINES_SHOWN = 40


def main() -> None:
    """Make the plan and print what it would do."""
    OUTPUT.mkdir(exist_ok=True)
    # Before Prefect is imported, which reads them then. The first start of its server migrates a fresh database.
    os.environ.pop("PREFECT_API_URL", None)
    os.environ["PREFECT_HOME"] = str((OUTPUT / "prefect").resolve())
    os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
    sys.path.insert(0, str(ROOT))  # as a script, the folder of this file is on the path instead
    from flows.plan_recovery import Selection, plan_recovery  # noqa: PLC0415 - see above

    accident = json.loads((SHOP / "accident.json").read_text())
    slips = [transaction["gtid"] for transaction in accident["transactions"]]
    plan: Any = plan_recovery(
        logs=[str(SHOP)],
        source="shop",
        out=str(OUTPUT / "plans"),
        selection=Selection(transactions=slips),
        schema_url=str(SHOP / "schema.sql"),
    )
    print(f"\nThree transactions were slips: {', '.join(slips)}. Their undo, newest first:\n")
    for line in islice(undo_lines(plan["url"]), LINES_SHOWN):
        print(f"    {line}")
    print(f"    …\n\nThe plan lies in {plan['url']}.")


def undo_lines(url: str) -> Iterator[str]:
    """Yield the undo of a plan as lines of SQL."""
    from dblog_tasks.mysql.sql import TransactionInfo, undo_script  # noqa: PLC0415 - after the environment is set
    from dblog_tasks.plan import read_plan  # noqa: PLC0415

    steps = read_plan(url, {}).steps()
    operations = ((TransactionInfo(step.transaction.id, str(step.transaction.time)), step.operation) for step in steps if step.transaction)
    for piece in undo_script(operations):
        yield from piece.splitlines()


if __name__ == "__main__":
    main()
