"""Whether a plan can be trusted, in a line.

Law: nothing is decided but this, from the numbers of the manifest; nothing is read.

    verdict                                      when
    NOTHING TO UNDO[, n omitted]                 no row is undone
    NOT SAFE: n hard conflicts, n omitted        rows were changed again later, or changes inside the filter cannot be undone
    READY, n soft conflicts                      only other columns of the rows were changed again later
    READY, later changes unknown in n tables     the logs could not be compared
    READY                                        none of these
"""

from __future__ import annotations

from dblog_tasks.plan import Plan
from dblog_tasks.text import listed, several


def verdict(plan: Plan) -> str:
    """Return in a line whether the plan can be trusted; see the table above."""
    conflicts, ledger = plan.manifest["conflicts"], plan.ledger
    hard, soft, unknown = conflicts["hard"], conflicts["soft"], len(conflicts["unknown"])
    omitted = f"{ledger.omitted.total():,} omitted" if ledger.omitted else ""
    if not ledger.rows_undone:
        return listed("NOTHING TO UNDO", omitted)
    if hard or omitted:
        return f"NOT SAFE: {listed(several(hard, 'hard conflict'), omitted)}"
    return listed("READY", several(soft, "soft conflict"), unknown and f"later changes unknown in {several(unknown, 'table')}")
