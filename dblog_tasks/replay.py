"""Replay: an approved plan is done to a database, batch by batch, each step once.

    plan ─ hashes, approval, tables ─▶ every step checked, nothing written ─▶ batch ─▶ batch ─▶ … ─▶ report
                                                                               │
              rows read and locked, judged, written; inverse stored; note; commit

Law: knows order, batches, approval, progress, and when to stop; no SQL (`target.Target`), no rule for a row (`judging`). Steps are done
newest first, in batches of whole transactions. What a batch did, its note and the place of its inverse are committed together: a replay
that was killed anywhere goes on after the last note. A lock that was not had, a deadlock or a lost connection undoes the batch, which
is tried again; a conflict never is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
import gc
from itertools import chain, groupby
from operator import attrgetter
import os
import signal
from threading import Event as CancelEvent
from time import monotonic
from typing import Any, TypeAlias
import uuid

from dblog_tasks import inverse
from dblog_tasks.backend import default_registry
from dblog_tasks.batches import Batch, batches, fitting, halves
from dblog_tasks.errors import InvalidInput, RowRefused, TargetBusy
from dblog_tasks.event import JsonObject, Row
from dblog_tasks.judging import ALREADY, APPLIES, CONFLICT, SKIP, Judge, KeptStates, PlannedRow, Spot, Verdict, as_logged, parents_last
from dblog_tasks.plan import Plan, read_plan
from dblog_tasks.plan_contents import Contents, read_contents
from dblog_tasks.replay_request import (
    BATCH_ROWS,
    CANCELLED,
    CONFLICTS_MAX,
    DONE,
    DRY_RUN,
    HELD,
    STOPPED,
    ReplayProgress,
    ReplayReport,
    ReplayRequest,
    check_request,
)
from dblog_tasks.target import LOCK_WAIT, TOO_MUCH, BoundTable, Effect, Target, TargetOptions
from dblog_tasks.targets import read_spots, resolve, spots_json
from dblog_tasks.tries import give_way, patiently

__all__ = ["ReplayProgress", "ReplayReport", "ReplayRequest", "replay"]
_TABLE_OF, _SPOTS_OF = attrgetter("table"), attrgetter("spots")
KILL_AT = "DBLOG_KILL_AT"  # `7`: the process kills itself at its seventh read, write or commit; `commit:2`: at the second commit
Outcomes: TypeAlias = Callable[[Verdict], None]


def replay(
    request: ReplayRequest,
    *,
    progress: Callable[[ReplayProgress], None] | None = None,
    cancel: CancelEvent | None = None,
    password: str | None = None,
    outcomes: Outcomes | None = None,
) -> ReplayReport:
    """Replay a plan and return what became of it; a conflict is part of that and raises nothing.

    `cancel` is looked at between batches. `outcomes` is called with the verdict on every row, of the check or the dry run. Raises
    InvalidInput for what was asked, MalformedPlan for the plan, TargetRefused before the first write, TargetError for what no
    further try helps against: what is committed by then stays, and the same call goes on from there.
    """
    plan = read_plan(request.plan, request.storage_options)
    check_request(request, plan)
    contents = read_contents(plan)
    dsn, secret = resolve(request.target, password)
    options = TargetOptions(
        dsn,
        secret,
        plan.id,
        request.acknowledge,
        request.guard_ignore,
        request.accept_drift,
        request.triggers,
        request.progress_schema,
        request.dry_run,
        kill_point(os.environ.get(KILL_AT, "")),
    )
    with closing(open_target(plan.manifest["driver"], options)) as target:
        cancel = cancel or CancelEvent()
        bound = patiently(target, cancel, lambda: target.bind(contents.tables, contents.used))
        if request.max_lag and not request.dry_run and target.load().lag is None:
            raise InvalidInput(
                "this server cannot tell how far its replicas are behind, which max_lag limits",
                hint="leave it out, and limit the rate (max_rate) or the sessions at work (max_running)",
            )
        tables = {table: bound[at] for at, table in enumerate(contents.tables)}
        return _Replay(request, plan, contents, target, tables, progress, cancel, outcomes, options.passing).run()


def open_target(driver: str, options: TargetOptions) -> Target:
    """Return the target of a driver, connected. Raises InvalidInput where the driver has none."""
    backend = default_registry.get(driver)
    opener: Callable[[TargetOptions], Target] | None = getattr(backend, "target", None)
    if opener is None:
        raise InvalidInput(f"plans of {driver} cannot be replayed yet", hint="dblog show prints them for the database's own client")
    return opener(options)


def kill_point(text: str) -> Callable[[str], None]:
    """Return what ends this process at the point a test names; nothing is done anywhere without one."""
    if not text:
        return lambda point: None
    word, _, number = text.rpartition(":")
    left = [int(number)]

    def passing(point: str) -> None:
        if word in ("", point):
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)

    return passing


class _Stop(Exception):
    """The verdicts that end the replay."""

    def __init__(self, verdicts: Sequence[Verdict]) -> None:
        super().__init__()
        self.verdicts = verdicts


class _Replay:
    """One run."""

    def __init__(
        self,
        request: ReplayRequest,
        plan: Plan,
        contents: Contents,
        target: Target,
        tables: Mapping[Any, BoundTable],
        progress: Callable[[ReplayProgress], None] | None,
        cancel: CancelEvent,
        outcomes: Outcomes | None,
        passing: Callable[[str], None],
    ) -> None:
        self._request, self._plan, self._contents, self._target, self._tables = request, plan, contents, target, tables
        self._progress, self._cancel, self._outcomes, self._passing = progress, cancel, outcomes, passing
        self._batch_rows = contents.rows + 1 if request.atomic else request.batch_rows
        self._started = monotonic()
        self._notes: list[JsonObject] = []
        self._run = uuid.uuid4().hex[:8]
        self._done = self._rows_now = 0
        self._rows: Counter[str] = Counter()
        self._poisoned: set[Spot] = set()
        self._ahead: dict[Spot, frozenset[int] | None] = {}
        self._conflicts: list[JsonObject] = []
        self._warnings: list[str] = []

    def run(self) -> ReplayReport:
        """Check, write, report; without the collector, which would go through millions of rows that are in no circle."""
        collecting = gc.isenabled()
        gc.disable()
        try:
            return self._checked_and_written()
        finally:
            if collecting:
                gc.enable()

    def _checked_and_written(self) -> ReplayReport:
        self._resume(patiently(self._target, self._cancel, self._target.noted if self._request.dry_run else self._target.claim))
        self._look_around()
        if self._request.dry_run:
            return self._report(DRY_RUN if self._check() else CANCELLED)
        if self._request.on_conflict != SKIP and not self._request.atomic:
            if not self._check():
                return self._report(CANCELLED)
            if self._rows[CONFLICT]:
                return self._report(STOPPED)
        try:
            return self._report(self._write())
        except _Stop as stop:
            for verdict in stop.verdicts:
                self._count(verdict)
            return self._report(STOPPED)

    def _look_around(self) -> None:
        """Read the tail of the log again, and fit the batches to what one transaction may have. Raises InvalidInput, TargetRefused."""
        request, plan = self._request, self._plan
        if request.logs and not self._notes:  # what this plan's own batches did would be later changes too
            from dblog_tasks.rescan import check_tail  # noqa: PLC0415 - reads logs, which a replay otherwise does not

            self._warnings.append(check_tail(plan, request, self._cancel))
        if not request.dry_run:
            self._batch_rows = fitting(plan, self._batch_rows, getattr(self._target, "transaction_max", 0), atomic=request.atomic)

    def _resume(self, notes: Sequence[JsonObject]) -> None:
        """Go on after the batches that are committed."""
        for note in notes:
            self._notes.append(note)
            self._run, self._done = note["run"], note["done"]
            self._poisoned |= set(read_spots(note["poisoned"]))
            ahead = zip(read_spots(note["ahead"]), note["ahead_columns"], strict=True)
            self._ahead |= {spot: None if columns is None else frozenset(columns) for spot, columns in ahead}
            self._rows.update(note["rows"])

    # ---- the check: every step, nothing locked, nothing written

    def _check(self) -> bool:
        """Judge every step by one moment of the database, or from where a connection was lost by another; say whether it was finished."""
        states, poisoned, ahead = KeptStates(), set(self._poisoned), dict(self._ahead)
        before = Counter(self._rows)
        patiently(self._target, self._cancel, self._begin_look)
        try:
            for batch in self._batches(self._batch_rows if not self._request.atomic else BATCH_ROWS):
                if self._cancel.is_set():
                    self._rows = before
                    return False
                judge = Judge(self._request.on_conflict, poisoned, ahead)
                rows, children = patiently(self._target, self._cancel, partial(self._seen, batch.rows, states), self._begin_look)
                for verdict in judge.judge(rows, states, children, {}):
                    if self._outcomes:
                        self._outcomes(verdict)
                    self._count(verdict)
                states.spill()
                self._tell(batch.after, checking=True)
        finally:
            self._target.rollback()
            states.close()
        if not self._request.dry_run and not self._rows[CONFLICT]:
            self._rows = before
        return True

    def _begin_look(self) -> None:
        self._target.begin(read_only=True)

    def _seen(self, rows: Sequence[PlannedRow], states: Any) -> tuple[Sequence[PlannedRow], Mapping[int, Any]]:
        """Read the rows that are not known yet; return the rows as they are to be judged, and those elsewhere that refer to them."""
        self._read(rows, states)
        return parents_last(rows, self._children(rows), states)

    def _read(self, rows: Sequence[PlannedRow], states: Any) -> None:
        """Read the rows as they are that are not known yet."""
        wanted: dict[BoundTable, dict[Spot, None]] = {}
        for table, some in groupby(rows, key=_TABLE_OF):
            wanted.setdefault(table, {}).update(dict.fromkeys(chain.from_iterable(map(_SPOTS_OF, some))))
        for table, spots in wanted.items():
            unknown = [spot[1] for spot in spots if spot not in states]
            if unknown:
                name, key_of = table.name, table.key_of
                found: Mapping[Row, Any] = (self._target.rows if table.key else self._target.counts)(table, unknown)
                for key, state in found.items():
                    if state is None or not table.key or (own := key_of(state)) == key:
                        states[name, key] = state
                    else:  # a row that the database takes for this key's may be known by its own, and have gone since
                        states[name, key] = states.get((name, own), state)

    def _children(self, rows: Sequence[PlannedRow]) -> dict[int, Any]:
        """Return the rows elsewhere that refer to what a row would no longer hold, by the row's place."""
        found: dict[int, Any] = {}
        referring: dict[BoundTable, list[int]] = {}
        for at, row in enumerate(rows):
            if row.table.referenced and row.now is not None:
                referring.setdefault(row.table, []).append(at)
        for table, places in referring.items():
            children = self._target.children(table, [(rows[at].now, rows[at].then) for at in places])
            found |= {at: some for at, some in zip(places, children, strict=True) if some}
        return found

    # ---- the batches

    def _batches(self, size: int) -> Iterator[Batch]:
        return batches(self._plan, self._tables, self._done, size)

    def _write(self) -> str:
        for batch in self._batches(self._batch_rows):
            waiting = [batch]
            tries = 0
            while waiting:
                if self._cancel.is_set():
                    return CANCELLED
                try:
                    if self._too_busy():
                        return HELD
                    self._write_batch(waiting[0])
                    waiting.pop(0)
                    tries = 0
                except TargetBusy as error:
                    tries += 1
                    self._retry(error, tries)
                    waiting = self._again(waiting, error)
                self._tell(self._done)
        return DONE

    def _too_busy(self) -> bool:
        request = self._request
        if not request.max_running and not request.max_lag:
            return False
        load = self._target.load()
        lagging = request.max_lag and load.lag is not None and load.lag > request.max_lag
        return bool((request.max_running and load.running > request.max_running) or lagging)

    def _retry(self, error: TargetBusy, tries: int) -> None:
        """Undo the batch and find out whether it was committed after all. Raises the error when it was tried often enough."""
        give_way(self._target, error, tries, self._cancel)
        try:
            self._target.recover()
            committed = self._target.noted()
        except TargetBusy:  # not there yet: the next try finds that out, and comes back here
            return
        if len(committed) > len(self._notes):
            self._resume(committed[len(self._notes) :])

    def _again(self, waiting: list[Batch], error: TargetBusy) -> list[Batch]:
        """Return what is left to be done; the batch in two halves where a smaller one may do."""
        left = [batch for batch in waiting if batch.after > self._done]
        if error.hint in (LOCK_WAIT, TOO_MUCH) and left:
            if left[0].after - left[0].first > 1 and not self._request.atomic:
                left[:1] = halves(left[0])
            elif error.hint == TOO_MUCH:
                raise error
        return left

    def _write_batch(self, batch: Batch) -> None:
        """Do one batch in one transaction. Raises TargetBusy, when it may be tried again, or _Stop; nothing of it is kept then."""
        started = monotonic()
        refused: dict[int, str] = {}
        while True:
            self._target.begin()
            try:
                verdicts, judge = self._judged(batch, refused)
                written = self._target.write(judge.effects)
                self._finish(batch, verdicts, judge, written)
                break
            except RowRefused as error:
                self._target.rollback()
                refused[judge.effects[int(error.where or 0)].row] = error.what
            except BaseException:
                self._target.rollback()
                raise
        for verdict in verdicts:
            self._count(verdict, counted=True)
        self._throttle(len(batch.rows), started)

    def _judged(self, batch: Batch, refused: Mapping[int, str]) -> tuple[list[Verdict], Judge]:
        states: dict[Spot, Any] = {}
        rows, children = self._seen(batch.rows, states)
        judge = Judge(self._request.on_conflict, set(self._poisoned), dict(self._ahead))
        verdicts = list(judge.judge(rows, states, children, refused))
        conflicts = [verdict for verdict in verdicts if verdict.verdict == CONFLICT]
        if conflicts:
            raise _Stop(conflicts)
        return verdicts, judge

    def _finish(self, batch: Batch, verdicts: Sequence[Verdict], judge: Judge, written: Sequence[Effect]) -> None:
        """Store the inverse, which is of what was written in the order it was, add the note, commit."""
        number = len(self._notes)
        url = self._inverse_url
        rows = Counter(verdict.verdict for verdict in verdicts)
        ahead = {spot: columns for spot, columns in judge.ahead.items() if self._ahead.get(spot, ()) != columns}
        note: JsonObject = {
            "batch": number,
            "done": batch.after,
            "run": self._run,
            "rows": dict(rows),
            "poisoned": spots_json(judge.poisoned - self._poisoned),
            "ahead": spots_json(ahead),
            "ahead_columns": [None if columns is None else sorted(columns) for columns in ahead.values()],
            "inverse": inverse.store_batch(url, self._run, number, self._as_written(written), self._plan.storage_options),
            "approver": self._request.approver,
            "whole": batch.whole,
        }
        self._passing("stored")
        self._target.note(note)
        taken_back = self._plan.manifest["filter"].get("inverse_of")
        if taken_back and batch.after >= self._contents.steps:
            self._target.forget(taken_back)
        self._target.commit()
        self._notes.append(note)
        self._done = batch.after
        self._rows.update(rows)
        self._poisoned, self._ahead = judge.poisoned, judge.ahead

    def _as_written(self, effects: Sequence[Effect]) -> Sequence[Effect]:
        """Return the effects with rows as the database has them now, where it may have made others of them."""
        last: dict[tuple[BoundTable, Row], int] = {}
        for at, effect in enumerate(effects):
            if effect.table.reread and effect.table.key:
                if effect.before is not None:  # what an effect before this one made of the row is no more
                    last.pop((effect.table, effect.table.key_of(effect.before)), None)
                if effect.after is not None:
                    last[effect.table, effect.table.key_of(effect.after)] = at
        if not last:
            return effects
        written = list(effects)
        for table in {table for table, _ in last}:
            rows = self._target.rows(table, [key for other, key in last if other is table])
            for key, row in rows.items():
                at = last[table, key]
                effect = written[at]
                written[at] = effect._replace(after=row if row is None or effect.after is None else as_logged(table, row, effect.after))
        return written

    @property
    def _inverse_url(self) -> str:
        return inverse.inverse_url(self._plan.url, self._run)

    def _throttle(self, rows: int, started: float) -> None:
        if self._request.max_rate:
            self._cancel.wait(max(0.0, rows / self._request.max_rate - (monotonic() - started)))

    # ---- what is said of it

    def _count(self, verdict: Verdict, *, counted: bool = False) -> None:
        """Count a verdict, and keep it where it is a conflict."""
        if not counted:
            self._rows[verdict.verdict] += 1
        if verdict.verdict not in (APPLIES, ALREADY) and len(self._conflicts) < CONFLICTS_MAX:
            self._conflicts.append(verdict.to_json())

    def _tell(self, steps: int, *, checking: bool = False) -> None:
        if self._progress is None:
            return
        total = self._contents
        rows = round(total.rows * steps / max(1, total.steps))
        rate = rows / max(0.001, monotonic() - self._started)
        left = (total.rows - rows) / rate if rate else 0.0
        self._progress(ReplayProgress(steps, total.steps, rows, total.rows, rate, left, checking))

    def _report(self, outcome: str) -> ReplayReport:
        written = [note["inverse"] for note in self._notes]
        url = identifier = ""
        if any(batch["segments"] for batch in written):
            url = self._inverse_url
            if not self._request.dry_run:
                identifier = inverse.store_manifest(url, self._plan, self._run, written)
        return ReplayReport(
            self._plan.id,
            outcome,
            self._target.server,
            self._done,
            self._contents.steps,
            dict(self._rows),
            len(self._notes),
            sum(not note["whole"] for note in self._notes),
            tuple(self._conflicts),
            url,
            identifier,
            (*self._warnings, *self._target.warnings, *_other_server(self._plan, self._target)),
            monotonic() - self._started,
        )


def _other_server(plan: Plan, target: Target) -> Iterable[str]:
    """Yield a warning when the names of the plan's transactions are those of another server."""
    ours = {str(target.server["id"]), str(target.server["uuid"]).lower()}
    for transaction in plan.manifest["transactions"]["biggest"][:1]:
        names = [name for name in transaction["names"] if _writer(name)]
        if names and not any(_writer(name) in ours for name in names):
            yield f"the target is not the server that wrote the log: {names[0]} is of {_writer(names[0])}, this is {target.server['id']}"


def _writer(name: str) -> str:
    """Return the server a GTID names: the middle of 0-1-23, what is before the colon of UUID:23; empty for no GTID."""
    parts = name.split("-")
    if len(parts) == 3 and all(part.isdigit() for part in parts):
        return parts[1]
    return name.partition(":")[0].lower() if name.count("-") == 4 and ":" in name else ""
