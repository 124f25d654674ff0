"""Every window between two named instants of every recorded scenario, replayed on a real server and taken back again.

The rows of the window's end are loaded, its plan is replayed, and the dump is held against that of the window's beginning; the inverse
plan brings the rows of the end back. A table that is not restored must be named by what the plan omits, a window that is refused or
stopped must have a reason that the log gives. A scenario whose tables this server does not take is skipped by what the server says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
import gzip
import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from dblog_tasks.errors import TargetRefused
from dblog_tasks.judging import REFERRED
from dblog_tasks.plan import Plan, read_plan
from dblog_tasks.plan_contents import read_contents
from dblog_tasks.replay import ReplayReport, ReplayRequest, replay
from dblog_tasks.replay_request import DONE
from dblog_tasks.verify import verify
from tests.fixtures import FIXTURES, NOT_HERE, scenarios
from tests.live.servers import MariaDB, ServerError
from tests.mysql.states import State, marks
from tests.mysql.test_fixture_states import DEFINED, Omitted, Recorded, Window, planned, schema_of, windows

HEAVY = 300_000  # bytes of an archive from which on a scenario is slow
VERSIONED = "SYSTEM VERSIONING"
# A dump has a statement for every row: each in a transaction and a log of its own takes minutes.
LOADING = "SET sql_mode='', foreign_key_checks=0, unique_checks=0, autocommit=0, sql_log_bin=0;\n"
Rows = Mapping[str, list[str]]


def _scenarios() -> Iterator[Any]:
    for name in scenarios():
        archive = FIXTURES / f"{name}.tar.xz"
        heavy = archive.exists() and archive.stat().st_size > HEAVY
        yield pytest.param(name, marks=[pytest.mark.slow] if heavy else [])


SCENARIOS = list(_scenarios())
pytestmark = pytest.mark.skipif(not SCENARIOS, reason=NOT_HERE)


@dataclass(frozen=True)
class Stage:
    """A server that the states of a scenario are loaded into."""

    server: MariaDB
    scene: Recorded

    @property
    def names(self) -> list[str]:
        """The scenario's databases."""
        return list(self.scene.meta["databases"])

    @property
    def dsn(self) -> str:
        """The DSN of the first."""
        return f"mysql://root@localhost/{self.names[0]}?unix_socket={self.server.socket}"

    def load(self, label: str) -> Rows:
        """Make the databases what they were at an instant; return their rows by table."""
        mark = next(mark for mark in self.scene.marks if mark.label == label)
        self.server.sql("".join(f"DROP DATABASE IF EXISTS `{name}`;" for name in self.names))
        self.server.sql("SET sql_mode='', foreign_key_checks=0;\n" + text_of(mark.schema))
        rows = text_of(mark.schema.with_name(rows_file(self.scene, label)))
        self.server.sql(f"{LOADING}{rows}\nCOMMIT;\n{''.join(exact_floats(mark.dump))}COMMIT;\n")
        return self.rows()

    def rows(self) -> Rows:
        """Return the rows of all tables, those of `dblog_replay` left out."""
        found: dict[str, list[str]] = {}
        for name in self.names:
            for line in self.server.dump(name).splitlines():
                if line.startswith("INSERT INTO `") and "`dblog_replay`" not in line:
                    found.setdefault(f"{name}.{line.split('`')[1]}", []).append(line)
        return found

    def replay(self, plan: Plan) -> ReplayReport:
        """Replay a plan with all it omits accepted."""
        titles = {f"{table.schema}.{table.name}" for table in read_contents(plan).tables}
        accepted = [f"{what}: {title}" for title in sorted(titles) for what in ("engine", "no key")]
        return replay(ReplayRequest(plan.url, self.dsn, approve=plan.id, acknowledge=(*plan.ledger.omitted, "hard conflicts", *accepted)))


def text_of(path: Path) -> str:
    """Return SQL as it is, bytes that are no text among it."""
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    lines = data.decode("utf-8", "surrogateescape").split("\n")
    return "\n".join(line for line in lines if not line.startswith("/*M!999999"))


def exact_floats(dump: Path) -> Iterator[str]:
    """Yield the statements that give floats all of their digits: a dump shows six."""
    for line in dump.read_text().splitlines() if dump.suffix == ".jsonl" else ():
        record = json.loads(line)
        floats = {name: value["double"] for name, value in record["row"].items() if isinstance(value, dict) and "double" in value}
        if floats and "id" in record["row"]:
            sets = ", ".join(f"`{name}` = {value if 'e' in value else value + 'e0'}" for name, value in floats.items())
            yield f"UPDATE `{record['db']}`.`{record['table']}` SET {sets} WHERE id = {record['row']['id']};\n"


def rows_file(scene: Recorded, label: str) -> str:
    """Return the name of the dump of an instant."""
    return str(next(mark["dump"] for mark in scene.meta["marks"] if mark["label"] == label))


@pytest.fixture(scope="module")
def stage_server(start_mariadb: Callable[..., MariaDB]) -> MariaDB:
    """A server of its own: scenarios bring their own names of databases."""
    return start_mariadb()


@pytest.fixture(scope="module", params=SCENARIOS)
def stage(request: pytest.FixtureRequest, scenario: Any, stage_server: MariaDB) -> Stage:
    """Each scenario in turn; skipped where its first and last state do not go into this server."""
    folder = scenario(request.param)
    path = folder / "meta.json"
    meta = json.loads(path.read_text()) if path.exists() else {}
    found = marks(folder, meta)
    if not found:
        pytest.skip("no named instants in it")
    made = Stage(stage_server, Recorded(folder, meta, found, dict[str, State]()))
    try:
        for mark in (found[0], found[-1]):
            made.load(mark.label)
    except ServerError as error:
        pytest.skip(f"{request.param}: {str(error).strip()[-200:]}")
    return made


class Trip(NamedTuple):
    """What became of a window: why not (empty: it was replayed wholly), tables that are not restored, or not brought back."""

    stopped: str
    differing: set[str]
    not_back: set[str]
    unverified: Any


def taken(stage: Stage, window: Window, out: Path) -> tuple[Plan, Trip]:
    """Undo a window, and undo the undo."""
    plan = planned(stage.scene, window, out, schema_of(stage.scene, window.first))
    before, after = stage.load(window.first.label), stage.load(window.last.label)
    try:
        report = stage.replay(plan)
    except TargetRefused as refused:
        return plan, Trip(str(refused), set(), differing(after, stage.rows()), ())
    if report.outcome != DONE:
        said = "; ".join(sorted({conflict["what"] for conflict in report.conflicts}))
        return plan, Trip(said or report.outcome, set(), differing(after, stage.rows()), ())
    lost = differing(before, stage.rows())
    found = verify(plan.url, stage.dsn)
    if report.inverse:
        stage.replay(read_plan(report.inverse, {}))
    return plan, Trip("", lost, differing(after, stage.rows()), found.differences[:2])


def differing(wanted: Rows, got: Rows) -> set[str]:
    """Return the tables whose rows are not the same."""
    return {table for table in {*wanted, *got} if wanted.get(table) != got.get(table)}


def wrong(stage: Stage, window: Window, out: Path) -> Any:
    """Return what of a window is neither restored nor said, empty where all is well."""
    plan, trip = taken(stage, window, out)
    omitted = Omitted(plan, stage.scene.logs)
    unsaid = {table for table in trip.differing if not omitted.names(tuple(table.split(".", 1)))}  # type: ignore[arg-type]  # two
    if trip.stopped and may_stop(trip.stopped, plan):
        return sorted(trip.not_back)
    return [found for found in (trip.stopped, sorted(unsaid), sorted(trip.not_back), trip.unverified) if found]


def may_stop(said: str, plan: Plan) -> bool:
    """Return whether the log gives a reason for what a replay says when it does nothing."""
    return DEFINED in plan.ledger.omitted or VERSIONED in said or (said == REFERRED and bool(plan.manifest["cascades"]))


@pytest.mark.timeout(1800)  # the largest scenario is loaded four times, a statement for each of its 300,000 rows
def test_every_window_goes_back_and_forth(stage: Stage, tmp_path: Path) -> None:
    """The rows of its end become those of its beginning, verify finds them, and the undo of the undo brings back those of its end."""
    found = {}
    for number, window in enumerate(windows(stage.scene.marks)):
        problems = wrong(stage, window, tmp_path / str(number))
        if problems:
            found[window.label] = problems

    assert {} == found
