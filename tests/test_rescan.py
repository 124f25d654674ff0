"""The tail of the log once more: a plan of a part of the shop's log, held against all of it."""

from __future__ import annotations

from pathlib import Path
import shutil

import pytest

from dblog_tasks.plan import Plan
from dblog_tasks.planning import PlanRequest, make_plan, selection
from dblog_tasks.rescan import NAMES_MAX, names_of, rescan


def planned(logs: Path, out: Path) -> Plan:
    """Return the undo of all that was done to the shop's users."""
    made = make_plan(PlanRequest("mysql", (str(logs),), str(out), "shop", selection(tables=["shop.users"])))
    assert made is not None
    return made


@pytest.fixture
def early(corpus: Path, tmp_path: Path) -> Plan:
    """A plan made when the log had two files."""
    logs = tmp_path / "logs"
    logs.mkdir()
    for name in ("shop.000001", "shop.000002"):
        shutil.copy(corpus / "shop" / name, logs)
    return planned(logs, tmp_path / "plan")


def test_later_changes_are_found(corpus: Path, early: Plan) -> None:
    """What the third file did to rows of the plan: a change of its columns each, told apart by name and up to the end of the log."""
    found = rescan(early, PlanRequest("mysql", (str(corpus / "shop"),), ""))

    assert 0 == early.manifest["conflicts"]["hard"]
    assert (36, 0, "shop.000003:23587", {}) == (found.hard, found.soft, found.position, dict(found.unknown))
    assert {("column changed", "shop.users", "hard")} == {(line["what"], line["table"], line["severity"]) for line in found.lines}
    assert {line["at"].partition(":")[0] for line in found.lines} == {"shop.000003"}
    assert len(found.lines) == len(found.names) == 60


def test_nothing_new_is_nothing(corpus: Path, early: Plan, tmp_path: Path) -> None:
    """The same log again gives the same names; a log without more gives none."""
    logs = tmp_path / "logs"
    request = PlanRequest("mysql", (str(corpus / "shop"),), "")

    assert rescan(early, request) == rescan(early, request)
    assert (0, frozenset()) == (
        rescan(early, PlanRequest("mysql", (str(logs),), "")).hard,
        rescan(early, PlanRequest("mysql", (str(logs),), "")).names,
    )


def test_many_names_become_one() -> None:
    """Beyond the limit only that they are others is known."""
    names = [f"{number}" for number in range(NAMES_MAX)]

    assert frozenset(names) == names_of(names)
    assert 1 == len(names_of([*names, "more"]))
    assert names_of([*names, "more"]) != names_of([*names, "other"])
