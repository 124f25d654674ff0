"""What a flow run leaves to the next one and to whoever watches: its tags, the data of its last state, events.

Law: knows Prefect, nothing of logs, plans or servers. Data is small and plain, and holds no secret;
whoever reads it checks that it is theirs.

    tags      dblog-source:NAME, and what else tells runs of one job from all others
    data      of the last state, by its name: what an earlier run ended as
    tables    of artifacts: a trend goes on from the last one of its key
    events    dblog.<what>.<became>, of the resource dblog.source.NAME
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
import logging
from typing import Any
from uuid import UUID

import orjson
from prefect import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterKey,
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateName,
    FlowRunFilterTags,
)
from prefect.client.schemas.sorting import ArtifactSort, FlowRunSort
from prefect.events import emit_event
from prefect.runtime import flow_run

from dblog_tasks.errors import InvalidCheckpoint, InvalidInput

logger = logging.getLogger(__name__)


def source_tag(source: str) -> str:
    """Return the tag of all runs of a source."""
    return f"dblog-source:{source}"


def tag_run(tags: Iterable[str]) -> str:
    """Add tags to the flow run that is under way, so that later ones find it; return its id. Raises InvalidInput outside of one."""
    if not flow_run.id:
        raise InvalidInput("this belongs to a flow run", hint="call it inside a flow")
    this = UUID(flow_run.id)
    with get_client(sync_client=True) as client:
        now = client.read_flow_run(this).tags  # not those it began with: others were added meanwhile
        if not set(tags) <= set(now):
            client.update_flow_run(this, tags={*now, *tags})
    return str(this)


def last_data(flow: str, tags: Iterable[str], names: Sequence[str]) -> tuple[str, Any] | None:
    """Return name and data of the last run of a flow with these tags that ended as one of these; None when there was none.

    Raises InvalidCheckpoint when the data was lost.
    """
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=[flow])),
            flow_run_filter=FlowRunFilter(
                tags=FlowRunFilterTags(all_=sorted(tags)), state=FlowRunFilterState(name=FlowRunFilterStateName(any_=list(names)))
            ),
            sort=FlowRunSort.END_TIME_DESC,
            limit=1,
        )
    if not runs or runs[0].state is None:
        return None
    where = f"flow run {runs[0].name} ({runs[0].id})"
    try:
        return where, runs[0].state.result(raise_on_failure=False)
    except Exception:  # noqa: BLE001 - a result can be lost in as many ways as there are places to keep it
        raise InvalidCheckpoint(
            "what this run left cannot be read: it was lost, or lies where this machine cannot reach it", where=where
        ) from None


def last_table(key: str) -> Any:
    """Return the lines of the last table artifact of a key; None when there is none that can be read."""
    with get_client(sync_client=True) as client:
        chosen = ArtifactFilter(key=ArtifactFilterKey(any_=[key]))
        found = client.read_artifacts(artifact_filter=chosen, sort=ArtifactSort.CREATED_DESC, limit=1)
    data = found[0].data if found else None
    try:
        return orjson.loads(data) if isinstance(data, str | bytes) else data
    except orjson.JSONDecodeError:
        return None


def tell(event: str, source: str, payload: Mapping[str, Any]) -> None:
    """Emit an event of a source, for automations: numbers and names only. No event is worth failing a run for."""
    resource = {"prefect.resource.id": f"dblog.source.{source}", "prefect.resource.name": source}
    try:
        emit_event(event, resource=resource, payload=dict(payload))
    except Exception as error:  # noqa: BLE001 - no server, a server that is going down, a full queue
        logger.warning("The event %s could not be emitted: %s", event, type(error).__name__)
