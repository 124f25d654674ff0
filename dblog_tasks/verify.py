"""Verify: every row a plan touched is read back and held against what the plan wants; nothing is written.

Law: what a row should be is told by the oldest step that touched each of its columns. Segments are read in log order, so the first step
that names a column decides; of each row only which columns are decided is kept. A column that the database sets by itself is not held
against anything, nor what a plan left out.

    equal     every column the plan restored is as it wants; a row that should not be is not
    differs   a column is not, or a row is there that should not be
    missing   a row is not there
    counted   rows of a table without a key: told by their number only, and not looked at
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from threading import Event as CancelEvent
from typing import Any

from dblog_tasks.event import JsonObject, Row, RowChanges, RowPair
from dblog_tasks.judging import KeptStates, Spot
from dblog_tasks.part import STEPS
from dblog_tasks.plan import Plan, read_plan
from dblog_tasks.plan_contents import read_contents
from dblog_tasks.replay import open_target
from dblog_tasks.target import UNKNOWN, BoundTable, Target, TargetOptions
from dblog_tasks.targets import resolve
from dblog_tasks.tries import patiently

ROWS_MAX = 2000  # of one look
SHOWN_MAX = 1000  # differences kept in a report; all are counted
EQUAL, DIFFERING, MISSING, COUNTED = "equal", "differs", "missing", "counted"


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What was found.

    Attributes:
        plan: its id.
        server: who the target is.
        rows: how many are equal, differ, are missing, counted.
        differences: the first of them, with what is wanted and what is there.
    """

    plan: str
    server: JsonObject
    rows: Mapping[str, int] = field(default_factory=dict)
    differences: tuple[JsonObject, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether nothing differs and nothing is missing."""
        return not self.rows.get(DIFFERING) and not self.rows.get(MISSING)

    @property
    def exit_code(self) -> int:
        """The exit code of the command line."""
        return 0 if self.clean else 5

    def to_json(self) -> JsonObject:
        """Return it as a JSON object."""
        found = {name: getattr(self, name) for name in self.__slots__}
        return {**found, "rows": dict(self.rows), "differences": list(self.differences)}


def verify(
    plan_url: str,
    target: str,
    *,
    storage_options: Mapping[str, Any] | None = None,
    password: str | None = None,
    guard_ignore: Sequence[str] = (),
    accept_drift: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> VerifyReport:
    """Return how the rows a plan touched stand to what it wants. `progress` gets rows done and their number. Raises as `replay` does."""
    plan = read_plan(plan_url, storage_options or {})
    contents = read_contents(plan)
    dsn, secret = resolve(target, password)
    options = TargetOptions(dsn, secret, plan.id, guard_ignore=tuple(guard_ignore), accept_drift=tuple(accept_drift), read_only=True)
    with closing(open_target(plan.manifest["driver"], options)) as found:
        bound = patiently(found, CancelEvent(), lambda: found.bind(contents.tables, contents.used))
        tables = {table: bound[at] for at, table in enumerate(contents.tables)}
        return _Verification(plan, found, tables).run(contents.rows, progress)


@dataclass(slots=True)
class _Wanted:
    """What a row should be, as far as one look goes: values by column; None: no such row."""

    table: BoundTable
    key: Row
    values: dict[int, Any] | None


class _Verification:
    def __init__(self, plan: Plan, target: Target, tables: Mapping[Any, BoundTable]) -> None:
        self._plan, self._target, self._tables = plan, target, tables
        self._decided = KeptStates()  # by place: a bit for each column that an older step has decided, -1 for all
        self._rows: Counter[str] = Counter()
        self._differences: list[JsonObject] = []
        self._cancel = CancelEvent()  # nobody sets it: it only waits

    def _begin(self) -> None:
        self._target.begin(read_only=True)

    def run(self, total: int, progress: Callable[[int, int], None] | None) -> VerifyReport:
        done = 0
        patiently(self._target, self._cancel, self._begin)
        try:
            for table, pairs in self._looks():
                self._look(table, pairs)
                self._decided.spill()
                done += len(pairs)
                if progress:
                    progress(done, total)
        finally:
            self._target.rollback()
            self._decided.close()
        return VerifyReport(self._plan.id, self._target.server, dict(self._rows), tuple(self._differences))

    def _looks(self) -> Iterator[tuple[BoundTable, Sequence[RowPair]]]:
        """Yield rows oldest first, as (now, then), those of a table together as far as they are neighbours."""
        table: BoundTable | None = None
        pairs: list[RowPair] = []
        for segment in self._plan.segments(STEPS):
            for step in self._plan.steps_of(segment):
                if not isinstance(step.operation, RowChanges):
                    continue
                bound = self._tables[step.operation.table]
                if table is not None and (bound is not table or len(pairs) >= ROWS_MAX):
                    yield table, pairs
                    pairs = []
                table = bound
                pairs += [(bound.row(now), bound.row(then)) for now, then in reversed(step.operation.rows)]
        if table is not None and pairs:
            yield table, pairs

    def _look(self, table: BoundTable, pairs: Sequence[RowPair]) -> None:
        if not table.key:
            self._rows[COUNTED] += len(pairs)
            return
        wanted: dict[Row, _Wanted] = {}
        for now, then in pairs:
            for key, values in _decisions(table, now, then):
                self._decide(table, key, values, wanted)
        found = patiently(self._target, self._cancel, lambda: self._target.rows(table, wanted), self._begin)
        for key, row in wanted.items():
            self._compare(row, found[key])

    def _decide(self, table: BoundTable, key: Row, values: dict[int, Any] | None, wanted: dict[Row, _Wanted]) -> None:
        """Note what a step wants of a row in the columns no older step has decided."""
        spot: Spot = (table.name, key)
        decided = self._decided.get(spot, 0)
        if decided == -1:
            return
        if values is None:
            if not decided:
                wanted[key] = _Wanted(table, key, None)
            self._decided[spot] = -1
            return
        new = {at: value for at, value in values.items() if not decided >> at & 1}
        if key not in wanted:
            wanted[key] = _Wanted(table, key, {})
        held = wanted[key].values
        if held is not None:
            held.update(new)
        self._decided[spot] = decided | sum(1 << at for at in new)

    def _compare(self, wanted: _Wanted, found: Row | None) -> None:
        table, values = wanted.table, wanted.values
        differing: list[int] = []
        if values is None:
            verdict = EQUAL if found is None or table.key_of(found) != wanted.key else DIFFERING
        elif found is None:
            verdict = MISSING
        else:
            full = [UNKNOWN] * len(found)
            for at, value in values.items():
                full[at] = value
            differing = table.differing(tuple(full), found, values)
            verdict = DIFFERING if differing else EQUAL
        self._rows[verdict] += 1
        if verdict != EQUAL and len(self._differences) < SHOWN_MAX:
            self._differences.append(_difference(wanted, found, verdict, differing))


def _decisions(table: BoundTable, now: Row | None, then: Row | None) -> Iterator[tuple[Row, dict[int, Any] | None]]:
    """Yield what one step wants: of the row it makes, and of the place it leaves."""
    if then is not None:
        columns = table.compared if now is None else [at for at in table.differing(now, then, table.written) if at in table.compared]
        yield table.key_of(then), {at: then[at] for at in {*columns, *table.key} if then[at] is not UNKNOWN}
    if now is not None and (then is None or table.key_of(now) != table.key_of(then)):
        yield table.key_of(now), None


def _difference(wanted: _Wanted, found: Row | None, verdict: str, differing: Sequence[int]) -> JsonObject:
    columns = wanted.table.live.columns
    places = differing or list(wanted.values or range(len(columns)))
    return {
        "table": wanted.table.name,
        "key": {columns[at].name: columns[at].shown(value) for at, value in zip(wanted.table.key, wanted.key, strict=True)},
        "verdict": verdict,
        "wanted": None if wanted.values is None else {columns[at].name: columns[at].shown(wanted.values[at]) for at in places},
        "found": None if found is None else {columns[at].name: columns[at].shown(found[at]) for at in places},
    }
