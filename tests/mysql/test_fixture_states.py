"""Every window between two named instants of every recorded scenario: planned, undone in a plain model, compared with what was recorded.

The scenarios come from DBLOG_FIXTURES (real servers, with the rows of all tables at each instant); where there are none the tests are
skipped by name. Of a window three things are held:

    a table that was not restored exactly is named by what the plan omits    nothing is silently wrong
    what is omitted is omitted for a reason the log gives                    nothing is left out for convenience
    the ledger is balanced, and the plan's files agree with its manifest
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
import gzip
from itertools import pairwise
import json
from pathlib import Path
import re
from typing import Any, NamedTuple

import pytest

import dblog_tasks
from dblog_tasks import Checkpoint, DblogError, RowChanges
from dblog_tasks.ledger import ROLLED_BACK, Ledger
from dblog_tasks.plan import Plan, check
from dblog_tasks.planning import PlanRequest, make_plan, selection
from tests.fixtures import NOT_HERE, scenarios
from tests.mysql.states import Mark, Replay, State, TableName, marks, read_state
from tests.mysql.vendor import Rows, vendor_rows

SCENARIOS = scenarios()
DEFINED = "schema change (DDL)"
pytestmark = [
    pytest.mark.skipif(not SCENARIOS, reason=NOT_HERE),
    pytest.mark.slow,
]

# Why a log cannot give a row back, and the setting whose value makes it so; empty: any server.
REASONS: Mapping[str, tuple[str, str]] = {
    "statement format": ("", ""),
    DEFINED: ("", ""),
    "rolled back": ("", ""),
    "rolled back in part (ROLLBACK TO SAVEPOINT)": ("", ""),
    "rows event of a server before 5.1.18": ("", ""),
    "incident: the server lost events": ("", ""),
    "deleted history of a system-versioned table": ("", ""),
    "a sequence moved on": ("", ""),
    "a table that looks system-versioned": ("", ""),
    "partial row image": ("binlog_row_image", "FULL"),
}
# Where the log itself defines a table anew, the schema of before is not that of its rows.
AFTER_DEFINITIONS = {"the schema given is not of that time", "the schema has no such table"}
CASCADES = re.compile(r"ON (DELETE|UPDATE) (CASCADE|SET NULL|SET DEFAULT)")


class Window(NamedTuple):
    """Two instants of a scenario."""

    first: Mark
    last: Mark

    @property
    def label(self) -> str:
        return f"{self.first.label} to {self.last.label}"


@dataclass(frozen=True)
class Recorded:
    """A scenario.

    Attributes:
        folder: where its files are.
        meta: what is recorded of it.
        marks: its instants, in log order.
        states: the rows of all tables at each, by label.
    """

    folder: Path
    meta: Mapping[str, Any]
    marks: Sequence[Mark]
    states: Mapping[str, State]

    @property
    def logs(self) -> tuple[str, ...]:
        """The log files in log order."""
        return tuple(str(self.folder / log["name"]) for log in self.meta["binlogs"])


@pytest.fixture(scope="module", params=SCENARIOS)
def recorded(request: pytest.FixtureRequest, scenario: Any) -> Recorded:
    """Each scenario in turn, read once for all tests; they are skipped where it is of another form."""
    folder = scenario(request.param)
    path = folder / "meta.json"
    meta = json.loads(path.read_text()) if path.exists() else {}
    found = marks(folder, meta)
    if not found:
        pytest.skip("no named instants in it")
    return Recorded(folder, meta, found, {mark.label: read_state(mark.dump) for mark in found})


def windows(found: Sequence[Mark]) -> list[Window]:
    """Return all adjacent windows, and the whole."""
    adjacent = [Window(*pair) for pair in pairwise(found)]
    return adjacent + [Window(found[0], found[-1])] * (len(adjacent) > 1)


def schema_of(scene: Recorded, mark: Mark) -> str:
    """Return the schema a user would give, the one of when the window begins: where the log has no names, or not all that was done."""
    settings = scene.meta["variables"]
    lacking = settings.get("binlog_row_metadata") != "FULL" or settings.get("mysql56_temporal_format") == "OFF"
    return str(mark.schema) if lacking or CASCADES.search(mark.schema.read_text()) else ""


def planned(scene: Recorded, window: Window, out: Path, schema: str) -> Plan:
    """Return the plan of a window, held against itself."""
    start = Checkpoint(position=window.first.position)
    made = make_plan(PlanRequest("mysql", scene.logs, str(out), start=start, stop=window.last.position, schema=schema))
    assert made is not None
    assert [] == check(made)
    return made


class Omitted:
    """Which tables a plan names in what it omits."""

    def __init__(self, plan: Plan, logs: Sequence[str]) -> None:
        self._tables = set(plan.manifest.get("cascades", ()))
        texts: set[str] = set()
        for line in plan.omitted():
            self._tables |= {line["table"]} if line["table"] else set()
            self._tables.update(line.get("tables", ()))
            texts |= set() if line["table"] else {line["at"]}
        self._texts = list(statements(logs, texts)) if texts else []

    def names(self, table: TableName) -> bool:
        """Return whether an omission is of this table: by name, or by a statement that has its name or drops its database."""
        schema, name = table
        return ".".join(table) in self._tables or any(
            said is None or _says(said, name) or (_says(said, schema) and "database" in said.lower()) for said in self._texts
        )


def _says(statement: str, name: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", statement, re.IGNORECASE) is not None


def statements(logs: Sequence[str], positions: set[str]) -> Iterator[str | None]:
    """Yield the texts of the events at these positions; None for one without."""
    with dblog_tasks.open("mysql", path=logs) as decoder:
        for event in decoder:
            if event.position.value in positions:
                said = getattr(event.body, "text", None)
                yield said.decode("utf-8", "replace") if isinstance(said, bytes) else said


def unfounded(plan: Plan, meta: Mapping[str, Any]) -> set[str]:
    """Return the reasons of omissions that neither the log nor the server's settings give."""
    settings = meta["variables"]
    founded = {reason for reason, (name, value) in REASONS.items() if not name or settings.get(name) != value}
    reasons = set(plan.ledger.omitted)
    return reasons - founded - (AFTER_DEFINITIONS if DEFINED in reasons else set())


def silently_wrong(scene: Recorded, window: Window, plan: Plan) -> list[str]:
    """Return the tables that are not restored though no omission names them, with the place of a guard that is not met."""
    replay = Replay(plan, scene.states[window.last.label], scene.states[window.first.label], window.first.schema)
    omitted = Omitted(plan, scene.logs)
    differing = sorted(replay.differing())
    return [f"{'.'.join(table)} {replay.unmet.get(table, '')}".strip() for table in differing if not omitted.names(table)]


def test_every_window_is_restored_or_says_what_it_cannot(recorded: Recorded, tmp_path: Path) -> None:
    """The state at its end, minus the log of the window, is the state at its beginning, but for tables that omissions name."""
    wrong: dict[str, Any] = {}
    for number, window in enumerate(windows(recorded.marks)):
        try:
            plan = planned(recorded, window, tmp_path / str(number), schema_of(recorded, window.first))
        except DblogError as error:
            wrong[window.label] = str(error)
            continue
        found = silently_wrong(recorded, window, plan), unfounded(plan, recorded.meta)
        if any(found):
            wrong[window.label] = found

    assert {} == wrong


@pytest.mark.parametrize("given", ["none", "of the end"])
def test_no_schema_makes_an_undo_silently_wrong(recorded: Recorded, given: str, tmp_path: Path) -> None:
    """With none or a newer one, the whole window is restored but for tables that are named.

    Without a schema nobody can know of foreign keys: where they change rows that the log does not have, one is needed.
    """
    window = windows(recorded.marks)[-1]
    if given == "none" and CASCADES.search(window.first.schema.read_text()):
        pytest.skip("foreign keys change rows")
    plan = planned(recorded, window, tmp_path / "plan", "" if given == "none" else str(window.last.schema))

    assert [] == silently_wrong(recorded, window, plan)


# --- accidents -----------------------------------------------------------------------------------------------------------------------


def test_the_bad_transactions_of_an_accident_are_undone(recorded: Recorded, tmp_path: Path) -> None:
    """The state at the end, minus exactly these transactions, is what the same server came to without them."""
    bad = recorded.meta.get("accident", {}).get("transactions")
    if not bad:
        pytest.skip("no accident in it")
    named = selection(transactions=[transaction["gtid"] or f"{transaction['file']}:{transaction['start']}" for transaction in bad])
    schema = recorded.folder / "before.schema.sql"
    plan = make_plan(PlanRequest("mysql", recorded.logs, str(tmp_path / "plan"), selection=named, schema=str(schema)))
    assert plan is not None
    assert [] == check(plan)
    assert {} == plan.ledger.omitted

    wanted = read_state(recorded.folder / recorded.meta["expected_after_undo"]["dump"])
    replay = Replay(plan, recorded.states[recorded.marks[-1].label], wanted, schema)

    assert (set(), {}) == (replay.differing(), replay.unmet)
    assert sum(sum(statement["affected"]) for statement in recorded.meta["accident"]["statements"]) == plan.ledger.rows_undone


# --- what the server's own decoder says ----------------------------------------------------------------------------------------------

# Columns at which a decoder stops a row without saying so: of such tables it shows too few.
STOPS = ("geometry", "vector")


class OurRows(NamedTuple):
    """A window's rows by table and operation.

    Attributes:
        rows: of events that could be read and are not known to be rolled back.
        unread: tables with rows that cannot be read.
        fewer: tables of which the decoder shows fewer: it has a type of STOPS.
        rolled_back: whether rows were left out because they were rolled back; the decoder shows them.
    """

    rows: Rows
    unread: set[str]
    fewer: set[str]
    rolled_back: bool


def our_rows(scene: Recorded, window: Window) -> OurRows:
    """Count the rows of a window."""
    rows: Rows = Counter()
    unread, fewer, ledger = set(), set(), Ledger()
    event: Any
    schema, start, stop = schema_of(scene, window.first), Checkpoint(position=window.first.position), window.last.position
    with dblog_tasks.open("mysql", path=scene.logs, schema=schema, checkpoint=start, stop=stop, ledger=ledger) as decoder:
        for event in decoder:
            if event.operation not in ("insert", "update", "delete"):
                continue
            table = ".".join(event.table)
            if isinstance(event.body, RowChanges):
                rows[table, event.operation.upper()] += len(event.body.rows)
                fewer |= {table} if any(column.type in STOPS for column in event.body.table.columns) else set()
            else:
                unread.add(table)
    return OurRows(rows, unread, fewer, ROLLED_BACK in ledger.not_needed)


def differing_counts(wanted: Rows, ours: OurRows) -> dict[tuple[str, str], tuple[int, int]]:
    """Return the counts that are not the same, theirs and ours, but for those there is a reason for."""
    return {
        key: (wanted[key], ours.rows[key])
        for key in {*wanted, *ours.rows}
        if key[0] not in ours.unread
        and (wanted[key] < ours.rows[key] or not ours.rolled_back)
        and (wanted[key] > ours.rows[key] or key[0] not in ours.fewer)
        and wanted[key] != ours.rows[key]
    }


def decoded_rows(scene: Recorded, window: Window) -> Rows:
    """Return the rows of a window that the server's own decoder shows."""
    rows: Rows = Counter()
    names = [log["name"] for log in scene.meta["binlogs"]]
    (first, start), (last, stop) = (position.value.rsplit(":", 1) for position in (window.first.position, window.last.position))
    for name in names[names.index(first) : names.index(last) + 1]:
        with gzip.open(scene.folder / "decoded" / f"{name}.txt.gz", "rt", encoding="utf-8", errors="replace") as lines:
            rows += vendor_rows(lines, int(start) if name == first else 0, int(stop) if name == last else None)
    return rows


def test_rows_are_as_many_as_the_server_s_own_decoder_counts(recorded: Recorded) -> None:
    """By table and operation in every window, but for tables with rows that cannot be read; never fewer than the decoder shows."""
    if not (recorded.folder / "decoded").is_dir() or any(log["vendor_decoder"]["rc"] for log in recorded.meta["binlogs"]):
        pytest.skip("nothing decoded by the server's own decoder, or not to its end")
    wrong = {}
    for window in windows(recorded.marks):
        wanted = decoded_rows(recorded, window)
        try:
            ours = our_rows(recorded, window)
        except DblogError as error:
            wrong[window.label] = str(error)
            continue
        wrong |= {f"{window.label}: {key}": str(pair) for key, pair in differing_counts(wanted, ours).items()}

    assert {} == wrong
