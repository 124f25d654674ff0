"""What a person is asked before a plan is replayed, and what an answer means.

Law: a flow run that waits is suspended and holds no worker; all that is known of its asks is kept by the Prefect server, so that any
worker can go on, also one that has nothing of the first one's files. An approval names the plan. Of the text that is shown, nothing is
a secret, and under `mask` nothing is a value of a row.

    the answer                                     becomes
    decline                                        DECLINED: the run ends so, by whose word
    decline, with an id                            UNCLEAR: asked again
    approve, with another id                       WRONG_ID: asked again
    approve, without accepting what is named       UNACCEPTED: asked again
    approve, later than the approval counts        EXPIRED: looked at anew, asked again
    approve, and there are new conflicts           CHANGED: asked again
    approve                                        APPROVED

An ask is a suspension of the run with a key of its own: 1, 2 and so on. A key is never used again in a run: the server keeps its form.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeAlias, cast
from uuid import UUID

from httpx import HTTPError
import orjson
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import SetStateStatus
from prefect.exceptions import ObjectNotFound
from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput
from prefect.input.actions import create_flow_run_input
from prefect.input.run_input import keyset_from_base_key
from prefect.settings import PREFECT_API_URL
from pydantic import Field, create_model

from dblog_tasks.errors import InvalidInput
from dblog_tasks.markdown import bullets, cell, code, table
from dblog_tasks.plan import Plan
from dblog_tasks.report import LINES_MAX, NOT_IN_A_LOG, UNDO, sections
from dblog_tasks.text import moment
from dblog_tasks.verdict import verdict

APPROVED, DECLINED, UNCLEAR, WRONG_ID = "approved", "declined", "unclear", "wrong id"
UNACCEPTED, EXPIRED, CHANGED = "unaccepted", "expired", "changed"
ID_SHOWN_MAX = 64  # characters of an id somebody gave
NAME_MAX = 100
INPUTS_MAX = 200  # of a run: each ask leaves four
OnConflict: TypeAlias = Literal["stop", "skip", "force"]
_SUSPENDED, _SHOWN = "suspended", "shown"  # how the keys of what belongs to an ask begin


class Approval(RunInput):
    """All that an answer may hold. The form asks for a conflict's way out, and for acceptance, only where there is something to say."""

    decision: Literal["decline", "approve"] = Field(
        "decline", title="Decision", description="Nothing is changed in the database unless you choose approve."
    )
    plan_id: str = Field("", title="Plan id", max_length=200, description="To approve, the id of the plan as it is shown above.")
    name: str = Field(title="Your name", min_length=1, max_length=NAME_MAX, description="Kept with the run as who decided.")
    on_conflict: OnConflict | None = None
    accept: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of an ask.

    Attributes:
        became: one of the words above.
        name: who answered.
        why: in a sentence, for the next ask or for the last state.
        on_conflict: what is to be done with rows that somebody changed since.
        accepted: what was accepted, by name.
    """

    became: str
    name: str
    why: str
    on_conflict: str = "stop"
    accepted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Look:
    """What target and log were found to hold, just before somebody is asked.

    Attributes:
        words: for the screen, as Markdown.
        conflicts: names of the conflicts, so that new ones can be told from those that were shown.
        to_accept: what the replay refuses to begin with unless it is accepted, by name.
    """

    words: tuple[str, ...] = ()
    conflicts: frozenset[str] = frozenset()
    to_accept: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Shown:
    """What an ask showed.

    Attributes:
        plan: its id.
        conflicts, to_accept: as they were looked at.
        on_conflict: what is done at a conflict when nothing else is said.
        at: when it was asked, by the server's clock.
    """

    plan: str
    conflicts: frozenset[str]
    to_accept: tuple[str, ...]
    on_conflict: str
    at: datetime


def judge(given: Approval, shown: Shown, plan_id: str, *, now: datetime, counts: timedelta) -> Answer:
    """Return what an answer to what was shown means now, for the plan of this id; `counts` is for how long an approval does."""
    name, told = " ".join(given.name.split()), given.plan_id.strip()
    if given.decision == "decline" and told:
        return Answer(UNCLEAR, name, f"{name} gave a plan id, and chose to decline")
    if given.decision == "decline":
        return Answer(DECLINED, name, f"declined by {name}, nothing was changed")
    if told != shown.plan:
        return Answer(WRONG_ID, name, f"{_quoted(told)} is not the id of this plan, nothing was changed")
    if shown.plan != plan_id:
        return Answer(CHANGED, name, "the plan is another one than the one that was shown")
    if shown.to_accept and not given.accept:
        return Answer(UNACCEPTED, name, f"{name} did not accept what is named under To accept")
    if now - shown.at > counts:
        return Answer(EXPIRED, name, f"the approval by {name} came or was used later than {duration(counts)} after it was asked for")
    return Answer(APPROVED, name, f"approved by {name}", given.on_conflict or shown.on_conflict, shown.to_accept)


def compared(answer: Answer, shown: Shown, found: Look) -> Answer:
    """Return the approval if there is nothing now that was not shown; else that it changed."""
    if found.conflicts - shown.conflicts or set(found.to_accept) - set(shown.to_accept):
        return Answer(CHANGED, answer.name, f"there are new conflicts since {answer.name} was shown them")
    return answer


def _quoted(told: str) -> str:
    shown = "".join(mark for mark in told if mark.isprintable())[:ID_SHOWN_MAX]
    return f"“{shown}”" if shown else "no id"


def duration(counts: timedelta) -> str:
    """Return a time in the largest unit that it is a whole number of."""
    seconds = counts.total_seconds()
    number, unit = next(((seconds / size, unit) for size, unit in _UNITS if seconds % size == 0), (seconds, "second"))
    return f"{number:g} {unit}{'' if number == 1 else 's'}"


_UNITS = ((86400, "day"), (3600, "hour"), (60, "minute"))


# ---- what is shown


def screen(plan: Plan, look: Look, *, target: str, mask: bool, counts: timedelta, now: datetime, why: str = "") -> str:
    """Return as Markdown what a person is shown: why again, the verdict, what would be done where, and how to approve it."""
    parts = {name: _lines(lines) for name, lines in sections(plan, mask=mask).items()}
    parts["risks"] = [line for line in parts["risks"] if NOT_IN_A_LOG not in line]  # the target was looked at
    until = moment((now + counts).replace(microsecond=0))
    said = [
        f"**Asked again:** {cell(why, 400)}." if why else "",
        f"## {cell(verdict(plan))}",
        f"Undo of **{plan.ledger.rows_undone:,} rows** of {cell(plan.manifest['source']['name'])} on {code(target)}.",
        f"**To approve**: *approve*, your name, and the plan id {code(plan.id)}, before {until}. **To decline**: your name.",
        _tables(plan),
        *look.words,
        "**To accept**:\n\n" + bullets(look.to_accept) if look.to_accept else "",
        *(_section(parts[name]) for name in ("conflicts", "omissions", "risks")),
        f"**Samples**, newest first{', values hidden' if mask else ''}:" if parts["samples"] else "",
        bullets(parts["samples"][1:]),
    ]
    return "\n\n".join(text for text in said if text)


def _section(lines: list[str]) -> str:
    """Return a part of the summary: what it is called, what it says, and the rest as a list."""
    if not lines:
        return ""
    name, _, text = lines[0].partition(" ")
    return f"**{cell(name.capitalize())}**: {cell(text, 400)}\n\n{bullets(lines[1:])}".rstrip()


def _tables(plan: Plan) -> str:
    tables = plan.manifest["tables"]
    kinds = [kind for kind in UNDO if any(kind in counts for counts in tables.values())]
    ordered = sorted(tables.items(), key=lambda found: -sum(found[1].values()))
    rows = [(name, *(f"{counts[kind]:,}" if kind in counts else "-" for kind in kinds)) for name, counts in ordered]
    return table(("rows to", *(UNDO[kind] for kind in kinds)), rows, LINES_MAX)


def _lines(part: Iterable[str]) -> list[str]:
    return [line for line in part if line.strip()]


# ---- asking


def keys(run: FlowRun, client: SyncPrefectClient) -> tuple[str, str]:
    """Return the key of the ask that was answered last since the run began, empty when none was, and the key of the next ask.

    Of several answers only the last one counts: whoever was asked again is not bound to what was said before. A run that had ended
    and was let begin anew asks anew.
    """
    states = client.read_flow_run_states(run.id)
    began = max((state.timestamp for state in states if state.is_final()), default=datetime.min.replace(tzinfo=UTC))
    asked = [str(state.state_details.pause_key) for state in states if state.is_paused() and state.timestamp > began]
    answered = max((key for key in asked if key in (run.empirical_policy.pause_keys or ())), key=int, default="")
    inputs = client.filter_flow_run_input(flow_run_id=run.id, key_prefix="", limit=INPUTS_MAX, exclude_keys=set())
    numbers = [int(number) for given in inputs for number in given.key.split("-")[1:2] if number.isdigit()]
    return answered, str(max(numbers, default=0) + 1)


def ask(key: str, text: str, look: Look, plan: Plan, *, on_conflict: str, seconds: int) -> None:
    """Suspend this flow run until somebody answers. This does not return: the run goes on from its beginning."""
    record = {"plan": plan.id, "conflicts": sorted(look.conflicts), "to_accept": look.to_accept, "on_conflict": on_conflict}
    create_flow_run_input(f"{_SHOWN}-{key}", record)
    suspend_flow_run(wait_for_input=form(text, look, on_conflict), key=key, timeout=seconds)


def form(text: str, look: Look, on_conflict: str) -> type[RunInput]:
    """Return the form with a text above it: a name and a decision, and what else there is to be said."""
    wanted = [*_ALWAYS, *(["on_conflict"] if look.conflicts else []), *(["accept"] if look.to_accept else [])]
    fields: Any = {name: (field.annotation, field) for name, field in Approval.model_fields.items() if name in _ALWAYS}
    fields["on_conflict"] = (OnConflict, Field(on_conflict, title="Rows that were changed since", description=_CHOICES))
    fields["accept"] = (bool, Field(default=False, title="Accept", description="I accept what is named above under To accept."))
    made = create_model("Approval", __base__=RunInput, **{name: fields[name] for name in wanted})
    return made.with_initial_data(description=text)


_ALWAYS = ("decision", "plan_id", "name")
_CHOICES = "stop: change nothing when there is one. skip: leave these rows as they are. force: overwrite them."


def given(key: str) -> Approval:
    """Return what somebody answered to an ask of this flow run."""
    return cast("Approval", Approval.load(keyset_from_base_key(f"{_SUSPENDED}-{key}")))


def read_shown(run: UUID, key: str, client: SyncPrefectClient) -> Shown:
    """Return what an ask showed, and when."""
    found = orjson.loads(client.read_flow_run_input(flow_run_id=run, key=f"{_SHOWN}-{key}"))
    states = [state for state in client.read_flow_run_states(run) if state.is_paused() and state.state_details.pause_key == key]
    at = max(state.timestamp for state in states)
    return Shown(found["plan"], frozenset(found["conflicts"]), tuple(found["to_accept"]), found["on_conflict"], at)


# ---- answering elsewhere than in Prefect's pages


@dataclass(frozen=True, slots=True)
class Waiting:
    """A flow run that waits for an approval.

    Attributes:
        id, name: of the run.
        text: what is shown, as Markdown.
        plan_id: of the plan that is to be approved.
    """

    id: UUID
    name: str
    text: str
    plan_id: str


def find_waiting(run: str) -> Waiting:
    """Return the flow run of this id or name that waits for an approval. Raises InvalidInput when there is none, or several."""
    with _client() as client:
        waiting = [found for found in _runs(run, client) if found.state and found.state.is_paused() and found.state.state_details.pause_key]
        if len(waiting) != 1:
            many = f"{len(waiting)} flow runs of this name wait" if waiting else "no flow run of this id or name waits for an approval"
            raise InvalidInput(many, where=run, hint="give the id of a suspended run; `prefect flow-run ls --state Suspended` lists them")
        found = waiting[0]
        key = str(found.state.state_details.pause_key) if found.state else ""
        text = orjson.loads(client.read_flow_run_input(flow_run_id=found.id, key=f"{_SUSPENDED}-{key}-description"))
        return Waiting(found.id, found.name, text, read_shown(found.id, key, client).plan)


@contextmanager
def _client() -> Iterator[SyncPrefectClient]:
    """Give a client of the server that is set; none is started for the purpose."""
    where = PREFECT_API_URL.value()
    if not where:
        raise InvalidInput("no Prefect server is set", hint="prefect config set PREFECT_API_URL=http://HOST:4200/api")
    try:
        with get_client(sync_client=True) as client:
            yield client
    except HTTPError as error:
        raise InvalidInput(f"the Prefect server does not answer as it should: {type(error).__name__}", where=where) from None


def _runs(run: str, client: SyncPrefectClient) -> list[FlowRun]:
    try:
        return [client.read_flow_run(UUID(run))]
    except ObjectNotFound:
        return []
    except ValueError:  # no id, so a name
        return list(client.read_flow_runs(flow_run_filter=FlowRunFilter(name=FlowRunFilterName(any_=[run]))))


def answer(waiting: Waiting, given: Approval) -> None:
    """Let a run go on with an answer. Raises InvalidInput for another plan's id, and when the run no longer waits."""
    if given.decision == "approve" and given.plan_id.strip() != waiting.plan_id:
        raise InvalidInput(f"{_quoted(given.plan_id.strip())} is not the id of the plan that waits", where=waiting.name)
    with _client() as client:
        done = client.resume_flow_run(waiting.id, run_input=given.model_dump(exclude_defaults=True))
    if done.status != SetStateStatus.ACCEPT:
        raise InvalidInput(f"the answer was not taken: {getattr(done.details, 'reason', done.status)}", where=waiting.name)
