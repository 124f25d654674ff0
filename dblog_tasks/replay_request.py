"""What a replay is asked for and what it says: values, and whether what a person said of a plan is enough to replay it. No I/O.

Law: an approval names the plan by its id, exactly. What a plan could not undo, and what it knows to be in the way, is accepted by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from dblog_tasks.errors import InvalidInput
from dblog_tasks.event import JsonObject
from dblog_tasks.judging import CONFLICT, FORCE, SKIP, STOP
from dblog_tasks.plan import Plan
from dblog_tasks.target import REFUSE

BATCH_ROWS = 2000
ATOMIC_ROWS_MAX = 100_000  # of one transaction with `atomic`
CONFLICTS_MAX = 1000  # kept in a report; all are counted
DONE, STOPPED, CANCELLED, DRY_RUN, HELD = "done", "stopped at a conflict", "cancelled", "dry run", "held: the server is too busy"
HARD = "hard conflicts"  # what acknowledges those a plan knows of


@dataclass(frozen=True, slots=True)
class ReplayRequest:
    """What is to be replayed, where, and what was said about it.

    Attributes:
        plan: URL of the plan.
        target: DSN without a password, or `env:NAME` of a variable that holds one, with or without.
        approve: id of the plan that was approved; needed but for a dry run.
        approver: who approved it.
        approved_at: when, as text with a zone; empty: now.
        expires: seconds an approval holds.
        dry_run: check every step, write nothing at all.
        acknowledge: reasons a person accepts: those of omissions, `hard conflicts`, `engine: TABLE`, `no key: TABLE`.
        on_conflict: stop, skip or force (`judging`).
        batch_rows: rows of a batch; a transaction with more is divided.
        atomic: one transaction for all.
        max_rate: rows a second; 0: no limit.
        max_running: sessions at work on the server above which the replay is held; 0: no limit.
        max_lag: seconds its replicas may be behind; a target that cannot tell (MySQL, MariaDB) is refused; 0: no limit.
        guard_ignore: columns no guard looks at.
        accept_drift: columns that may be missing or of another type, and are left out then.
        triggers: refuse, allow, or `set:@variable=1`.
        progress_schema: where `dblog_replay` is.
        logs: URLs of the logs the plan was made of: what came after it is looked at again before the first batch; none: the rows alone are.
        schema: for those logs, as in a plan's request.
        storage_options: for the plan's URL, and the logs'.
    """

    plan: str
    target: str
    approve: str = ""
    approver: str = ""
    approved_at: str = ""
    expires: float = 3600
    dry_run: bool = False
    acknowledge: tuple[str, ...] = ()
    on_conflict: str = STOP
    batch_rows: int = BATCH_ROWS
    atomic: bool = False
    max_rate: float = 0
    max_running: int = 0
    max_lag: float = 0
    guard_ignore: tuple[str, ...] = ()
    accept_drift: tuple[str, ...] = ()
    triggers: str = REFUSE
    progress_schema: str = ""
    logs: tuple[str, ...] = ()
    schema: str = ""
    storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class ReplayProgress:
    """How far a replay is: steps and rows dealt with, of how many; rows a second; seconds left by that."""

    steps: int
    steps_total: int
    rows: int
    rows_total: int
    rate: float
    seconds_left: float
    checking: bool = False

    def to_json(self) -> JsonObject:
        """Return it as a JSON object."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """What became of a replay.

    Attributes:
        plan: its id.
        outcome: done, stopped at a conflict, cancelled, held, dry run.
        server: who the target is.
        steps, steps_total: dealt with, by this and earlier runs, and all.
        rows: by verdict: applies, already applied, skipped, forced, conflict.
        batches: committed, by this and earlier runs.
        divided: transactions written in more than one batch.
        conflicts: the first of them, with the row as it is now.
        inverse, inverse_id: where the plan is that takes back what is committed, and its id; empty: nothing is.
        warnings: what a person should know.
        seconds: it took.
    """

    plan: str
    outcome: str
    server: JsonObject
    steps: int = 0
    steps_total: int = 0
    rows: Mapping[str, int] = field(default_factory=dict)
    batches: int = 0
    divided: int = 0
    conflicts: tuple[JsonObject, ...] = ()
    inverse: str = ""
    inverse_id: str = ""
    warnings: tuple[str, ...] = ()
    seconds: float = 0

    @property
    def exit_code(self) -> int:
        """The exit code of the command line."""
        if self.outcome == DRY_RUN:
            return 4 if self.rows.get(CONFLICT) else 0
        return {DONE: 0, CANCELLED: 130}.get(self.outcome, 4)

    def to_json(self) -> JsonObject:
        """Return it as a JSON object."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        return {**fields, "rows": dict(self.rows), "conflicts": list(self.conflicts), "warnings": list(self.warnings)}


def unacknowledged(plan: Plan, acknowledge: Sequence[str]) -> list[str]:
    """Return what a person has to accept before the plan is replayed, and has not."""
    hard = [HARD] if plan.manifest["conflicts"]["hard"] else []
    return [reason for reason in [*plan.ledger.omitted, *hard] if reason not in acknowledge]


def check_request(request: ReplayRequest, plan: Plan) -> None:
    """Raise InvalidInput where the plan may not be replayed on what was said."""
    if request.on_conflict not in (STOP, SKIP, FORCE):
        raise InvalidInput(f"{request.on_conflict!r:.40} is nothing to do at a conflict", where="--on-conflict", hint="stop, skip or force")
    if request.batch_rows < 1 or request.max_rate < 0:
        raise InvalidInput("a batch has at least one row, and a rate is not negative", where="--batch-rows, --max-rate")
    if request.dry_run:
        return
    if request.approve != plan.id:
        given = f"{request.approve!r:.60} was approved" if request.approve else "nobody approved it"
        raise InvalidInput(f"this is plan {plan.id}, and {given}", where="--approve", hint="look at it with dblog show, then give its id")
    _check_age(request)
    missing = unacknowledged(plan, request.acknowledge)
    if missing:
        words = " ".join(f"--acknowledge {reason!r}" for reason in missing)
        raise InvalidInput(f"the plan does not undo everything, or meets later changes: {', '.join(missing)}", hint=words)
    if request.atomic and plan.ledger.rows_undone > ATOMIC_ROWS_MAX:
        raise InvalidInput(
            f"{plan.ledger.rows_undone} rows are too many for one transaction", where="--atomic", hint=f"at most {ATOMIC_ROWS_MAX}"
        )


def _check_age(request: ReplayRequest) -> None:
    if request.approved_at:
        approved = datetime.fromisoformat(request.approved_at)
        if approved.tzinfo is None or datetime.now(UTC) - approved > timedelta(seconds=request.expires):
            raise InvalidInput(f"the approval of {request.approved_at} has expired", hint="look at the plan again, and approve it again")
