"""The doctor as Prefect tasks: what an undo would miss today, what changed since the last run, and what a run leaves to look at.

Law: names alone go from task to task, no secret: it is looked up inside the task. What was found last time is the data of the last run's
state, as with checkpoints, with the source it belongs to.

    Healthy     Completed    nothing but notes was found
    Examined    Completed    something was found: all of it known from the last run, or there was none
    Drifted     Failed       something is worse than at the last run; the message says what

    {"version": 1, "source": name, "examination": see `findings`}
    dblog-doctor-…    artifact: every finding, and all statements to paste
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
import re
from typing import Any

from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from dblog_tasks.blocks import BLOCK, database_target
from dblog_tasks.doctor import examine_log, examine_server
from dblog_tasks.errors import InvalidCheckpoint, InvalidInput
from dblog_tasks.event import JsonObject
from dblog_tasks.findings import LOST, NOTE, RISK, SQL, Drift, Examination, Finding, drift, examination
from dblog_tasks.markdown import bullets, cell, table as markdown_table
from dblog_tasks.planning import PlanRequest
from dblog_tasks.runs import last_data, source_tag, tag_run, tell
from dblog_tasks.tasks import PlanJob, artifact_key, opened, worth_retrying

FLOW = "doctor"
HEALTHY, EXAMINED, DRIFTED = "Healthy", "Examined", "Drifted"
DRIFT = "dblog.doctor.drift"
VERSION = 1
SHOWN_MAX = 200
_RETRIED: Mapping[str, Any] = {"cache_policy": NO_CACHE, "retry_condition_fn": worth_retrying, "persist_result": False}


@dataclass(frozen=True, slots=True)
class DoctorJob:
    """What is examined: names alone.

    Attributes:
        source: whose log it is.
        target: a DSN without a password, `env:NAME`, `block:NAME`; empty: no server.
        logs: URLs; none: only the server.
        driver, schema, storage_options: of the logs, as in a PlanJob.
        keep_days: how long the server's log should be kept.
    """

    source: str
    target: str = ""
    logs: tuple[str, ...] = ()
    driver: str = ""
    schema: str = ""
    storage_options: tuple[str, ...] = ()
    keep_days: float = 7


@task(name="examine server", **_RETRIED)
def examine_database(job: DoctorJob) -> Examination:
    """Return what an undo would miss of the server."""
    dsn, password = database_target(job.target) if job.target.startswith(BLOCK) else (job.target, None)
    return examine_server(dsn, password=password, keep_days=job.keep_days)


@task(name="examine logs", **_RETRIED)
def examine_logs(job: DoctorJob) -> Examination:
    """Return what an undo would miss of the logs."""
    request = opened(PlanJob(PlanRequest(job.driver, job.logs, "", job.source, schema=job.schema), job.storage_options))
    return examine_log(request, f"log of {job.source}")


def together(source: str, parts: list[Examination]) -> Examination:
    """Return all that was found as one; findings of a log are told from those of a server."""
    findings = [
        replace(found, subject=f"{found.subject} in the log" if found.subject else "the log") if part.of.startswith("log of ") else found
        for part in parts
        for found in part.findings
    ]
    settings = {name: value for part in parts for name, value in part.settings.items()}
    return examination(", ".join(part.of for part in parts) or source, findings, settings)


def begin(job: DoctorJob) -> Examination | None:
    """Mark the run as one of this source; return what the last one found, None when there was none or it was lost."""
    if not job.target and not job.logs:
        raise InvalidInput("there is nothing to examine", hint="give target, logs, or both")
    tag_run({source_tag(job.source)})
    try:
        found = last_data(FLOW, {source_tag(job.source)}, (HEALTHY, EXAMINED, DRIFTED))
        return None if found is None else _read(job, *found)
    except InvalidInput as error:
        get_run_logger().warning("%s; this run is the first to compare with.", error)
        return None


def _read(job: DoctorJob, where: str, data: Any) -> Examination:
    if not isinstance(data, dict) or (data.get("version"), data.get("source")) != (VERSION, job.source):
        raise InvalidCheckpoint("this is no examination of this source", where=where)
    return Examination.from_json(data.get("examination"))


def outcome(job: DoctorJob, last: Examination | None, now: Examination) -> tuple[str, str, Drift, JsonObject]:
    """Return name and message of the run's last state, what changed, and the state's data. An event tells of what is worse."""
    changed = drift(last, now) if last else Drift()
    counts = counted(now)
    name = DRIFTED if changed.worse else HEALTHY if now.healthy else EXAMINED
    message = "; ".join(changed.worse) if changed.worse else f"{counts}{_gone(changed)}"
    if changed.worse:
        tell(DRIFT, job.source, {"changes": len(changed.worse), "first": changed.worse[0][:500], "found": counts})
    return name, message[:2000], changed, {"version": VERSION, "source": job.source, "examination": now.to_json()}


def counted(found: Examination) -> str:
    """Return how much was found, in a few words."""
    numbers = {severity: sum(one.severity == severity for one in found.findings) for severity in (LOST, RISK, NOTE)}
    return ", ".join(f"{number} {severity}" for severity, number in numbers.items() if number) or "nothing an undo would miss"


def _gone(changed: Drift) -> str:
    return f"; {'; '.join(changed.better)}" if changed.better else ""


@task(name="show findings", **_RETRIED)
def show(job: DoctorJob, found: Examination, changed: Drift) -> None:
    """Make what was found an artifact, statements to paste among it."""
    text = markdown(found, changed)
    create_markdown_artifact(text, key=artifact_key("doctor", job.source), description=f"What an undo would miss: {counted(found)}")


def markdown(found: Examination, changed: Drift) -> str:
    """Return an examination as Markdown: what changed, a table of all findings, and what helps, by what runs it."""
    rows = [(one.severity, one.check, one.subject, one.value, one.misses) for one in found.findings]
    parts = [f"# {cell(found.of)}: {cell(counted(found))}"]
    for title, lines in (("Worse since the last run", changed.worse), ("Better since the last run", changed.better)):
        parts += [f"## {title}", bullets(lines)] if lines else []
    parts += [markdown_table(("", "what", "of", "is", "an undo would miss"), rows, SHOWN_MAX)] if rows else []
    ways = dict.fromkeys(one.where for one in found.findings if one.fix)
    parts += [f"## {cell(where)}\n\n{_fenced(where, [one for one in found.findings if one.where == where and one.fix])}" for where in ways]
    return "\n\n".join(parts)


def _fenced(where: str, findings: list[Finding]) -> str:
    """Return statements as code, in a fence that none of them can end."""
    text = "\n".join(dict.fromkeys(one.fix for one in findings[:SHOWN_MAX]))
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{'sql' if where == SQL else ''}\n{text}\n{fence}"
