"""A log that grows as a server writes it: real files, cut anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
import shutil

from dblog_tasks.part import STEPS
from dblog_tasks.plan import Plan, read_plan
from dblog_tasks.planning import PlanRequest, make_plan


@dataclass(frozen=True, slots=True)
class GrowingLog:
    """A folder into which the files of a whole log are copied bit by bit.

    Attributes:
        folder: what a flow reads.
        whole: the folder of the whole log.
    """

    folder: Path
    whole: Path

    def grow(self, position: str = "") -> None:
        """Let the log hold everything up to `<file>:<offset>`, to its end without one."""
        last, _, size = position.partition(":")
        self.folder.mkdir(exist_ok=True)
        for file in sorted(self.whole.glob("shop.0*")):
            if not last or file.name < last:
                shutil.copy(file, self.folder)
            elif file.name == last:
                (self.folder / last).write_bytes(file.read_bytes()[: int(size)])


def whole_plan(log: Path, out: Path) -> Plan:
    """Return one plan over all of a log."""
    made = make_plan(PlanRequest("mysql", (str(log),), str(out), source="shop"))
    assert made is not None
    return made


def plans_in(folder: Path) -> list[Plan]:
    """Return the finished plans of a folder, by where they end."""
    found = [read_plan(str(manifest.parent), {}) for manifest in folder.glob("*/manifest.json")]
    return sorted(found, key=lambda plan: place(plan.end.position.value))


def positions(plans: list[Plan]) -> list[str]:
    """Return the positions of the steps of all plans, in log order."""
    return [position for plan in plans for position in plan.positions()]


def transactions(plan: Plan) -> Iterator[tuple[str, str]]:
    """Yield start and end of the plan's transactions, in log order."""
    for segment in plan.segments(STEPS):
        yield from ((line["start"], line["end"]) for line in plan.lines(segment) if "transaction" in line)


def place(position: str) -> tuple[str, int]:
    """Return a position as file and offset."""
    file, _, offset = position.rpartition(":")
    return file, int(offset or 0)
