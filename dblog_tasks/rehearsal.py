"""A rehearsal of a recovery on a scratch server: what it measures, its trend, and whether the server may be one. No Prefect.

Law: values and judgements; the replay is `replay`, the reading `verify`. A server is a scratch one only when it is another than the one
that wrote the log: what cannot be told is refused, not guessed.

    same uuid as in the log's GTIDs                       the log's own server
    same server id, and no uuid to tell them apart        the log's own server
    neither id nor uuid of the log known                  nobody knows: refused
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

from dblog_tasks import plan as plans, storage
from dblog_tasks.backend import Backend
from dblog_tasks.errors import InvalidInput
from dblog_tasks.event import JsonObject, Position
from dblog_tasks.mysql.origin import HEAD, server_id_of, servers_of
from dblog_tasks.plan import Plan
from dblog_tasks.planning import slug
from dblog_tasks.replay import open_target
from dblog_tasks.target import TargetOptions
from dblog_tasks.targets import resolve

LOOKED_AT_MAX = 200  # folders of plans, those with the last names
_TOLD = "tell it with same_server=true if it is a copy all the same"


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """How long a recovery took: seconds, and rows a second of the replay.

    Attributes:
        when: it began, as text.
        plan: its id.
        rows: undone on the scratch server.
        plan_seconds: None where the plan was there already.
        total_seconds: plan, replay and verify: the recovery time. Taking it back is no part of a recovery.
        ended: name of the run's last state.
    """

    when: str
    plan: str
    rows: int
    plan_seconds: float | None
    replay_seconds: float
    verify_seconds: float | None
    take_back_seconds: float | None
    ended: str

    @property
    def total_seconds(self) -> float:
        return sum(seconds for seconds in (self.plan_seconds, self.replay_seconds, self.verify_seconds) if seconds)

    @property
    def rows_a_second(self) -> float:
        return self.rows / self.replay_seconds if self.replay_seconds > 0 else 0

    def line(self) -> JsonObject:
        """Return it as a line of the trend."""
        numbers = {
            name.replace("_", " "): "" if value is None else round(value, 2) if isinstance(value, float) else value
            for name, value in asdict(self).items()
        }
        ended = numbers.pop("ended")
        return {**numbers, "recovery seconds": round(self.total_seconds, 2), "rows a second": round(self.rows_a_second), "ended": ended}


def trend(earlier: Any, now: Rehearsal, most: int) -> list[JsonObject]:
    """Return the lines of a trend, the newest first: this one, and those of the table that the last rehearsal left, at most so many."""
    lines = [line for line in earlier if isinstance(line, dict)] if isinstance(earlier, list) else []
    return [now.line(), *lines][:most]


def newest_plan(out: str, source: str, storage_options: Mapping[str, Any], backend: Backend) -> Plan | None:
    """Return the plan of a source, of any filter, that reaches furthest among those that undo something; None when there is none."""
    names = sorted(name.rstrip("/") for name in storage.list_folder(out, storage_options) if name.startswith(f"{slug(source)}-"))
    urls = [storage.join(out, name) for name in names[-LOOKED_AT_MAX:]]
    made = [plans.read_plan(url, storage_options) for url in urls if storage.exists(storage.join(url, plans.MANIFEST), storage_options)]
    key: Callable[[Position], Any] = getattr(backend, "position_key", lambda position: position.value)
    ours = [plan for plan in made if plan.manifest["source"]["name"] == source and plan.ledger.rows_undone]
    return max(ours, key=lambda plan: key(plan.end.position), default=None)


def check_scratch(
    plan: Plan, logs: Sequence[storage.LogFile], storage_options: Mapping[str, Any], target: str, password: str | None
) -> str:
    """Return who the scratch server is. Raises InvalidInput when it is the server the log is of, or when nobody can tell."""
    dsn, secret = resolve(target, password)
    with closing(open_target(plan.manifest["driver"], TargetOptions(dsn, secret, plan.id, read_only=True))) as opened:
        server = opened.server
    ids, uuids = servers_of(str(chosen["id"]) for chosen in plan.manifest["transactions"]["biggest"])
    ids |= {found for file in logs[-1:] if (found := server_id_of(storage.head(file, storage_options, HEAD)))}
    name = f"server {server['id']} {server['uuid']} {server['version']}"
    if not ids and not uuids:
        raise InvalidInput("nobody can tell which server wrote the log", where="scratch_target", hint=f"give logs, or {_TOLD}")
    same = str(server["uuid"]).lower() in uuids if uuids else str(server["id"]) in ids
    if same:
        raise InvalidInput(f"this is the server that wrote the log: {name}", where="scratch_target", hint=f"name another one, or {_TOLD}")
    return name
