"""The tail of the log once more: what came after a plan was made and touches its rows.

Law: a plan and where the log lies now in, what is known now out; nothing is written, the plan stays as it is. A plan says until where its
conflicts are known; between that and a replay there is time, and people.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
import hashlib
from threading import Event as CancelEvent

import orjson

from dblog_tasks.backend import default_registry
from dblog_tasks.conflicts import HARD, SOFT, ConflictSearch
from dblog_tasks.errors import InvalidInput
from dblog_tasks.event import Checkpoint, JsonObject
from dblog_tasks.plan import Plan
from dblog_tasks.planning import PlanRequest, forward, later_options, until_torn
from dblog_tasks.replay_request import ReplayRequest

NAMES_MAX = 1000  # of conflicts that are told one from the other; of more, only that they are others
LINES_MAX = 500  # of conflicts that are kept as they are
NEW = "new conflicts"  # what acknowledges those the log has and the plan does not know


@dataclass(frozen=True, slots=True)
class Rescan:
    """What the log says now of later changes to the rows of a plan.

    Attributes:
        hard, soft: rows of the plan by the severity of their worst conflict.
        position: up to which the log was read.
        lines: the first conflicts, as a plan has them.
        names: of all conflicts, without a value of a row.
        unknown: tables that could not be compared, and why.
    """

    hard: int = 0
    soft: int = 0
    position: str = ""
    lines: tuple[JsonObject, ...] = ()
    names: frozenset[str] = frozenset()
    unknown: Mapping[str, str] = field(default_factory=dict)


def rescan(plan: Plan, request: PlanRequest, cancel: CancelEvent | None = None) -> Rescan:
    """Return what the logs of a request say of the plan's rows now. What the request selects is of no matter.

    Raises what reading the logs raises; an end that is being written is no error.
    """
    if not plan.manifest["tables"]:
        return Rescan()
    request = replace(request, driver=plan.manifest["driver"])
    search = ConflictSearch(lambda: forward(plan), plan.positions)
    lines: list[JsonObject] = []
    found: list[str] = []
    try:
        with default_registry.get(request.driver).open(later_options(request, plan, cancel)) as decoder:
            for conflict in search.find(until_torn(decoder)):
                line = conflict.to_json()
                found.append(name_of(line))
                lines += [line][: LINES_MAX - len(lines)]
            position = getattr(decoder, "checkpoint", Checkpoint()).position.value
        return Rescan(search.counts[HARD], search.counts[SOFT], position, tuple(lines), names_of(found), search.unknown)
    finally:
        search.close()


def check_tail(plan: Plan, request: ReplayRequest, cancel: CancelEvent | None = None) -> str:
    """Return in a line what the logs say now. Raises InvalidInput for new hard conflicts that nobody accepted, but for a dry run."""
    asked = PlanRequest(plan.manifest["driver"], request.logs, "", schema=request.schema, storage_options=request.storage_options)
    tail = rescan(plan, asked, cancel)
    known = {name_of(line) for line in plan.conflicts()}
    new = [line for line in tail.lines if line["severity"] == HARD and name_of(line) not in known]
    if (new or tail.hard > plan.manifest["conflicts"]["hard"]) and NEW not in request.acknowledge and not request.dry_run:
        first = f", the first in {new[0]['table']} at {new[0]['at']}" if new else ""
        raise InvalidInput(
            f"since the plan was made the log has hard conflicts it does not know{first}: {tail.hard} rows now",
            hint=f"make the plan again, or --acknowledge {NEW!r}",
        )
    compared = f"; not compared: {', '.join(sorted(tail.unknown))}" if tail.unknown else ""
    return f"the log was read again up to {tail.position or 'its end'}: {tail.hard} hard conflicts, {tail.soft} soft{compared}"


def name_of(line: JsonObject) -> str:
    """Return a short name of a conflict: equal conflicts have equal names, and no value is in it."""
    return hashlib.sha256(orjson.dumps(line, option=orjson.OPT_SORT_KEYS, default=str)).hexdigest()[:16]


def names_of(names: Iterable[str]) -> frozenset[str]:
    """Return the names, or of too many a single one for all of them."""
    found = frozenset(names)
    return found if len(found) <= NAMES_MAX else frozenset([name_of({"all": sorted(found)})])
