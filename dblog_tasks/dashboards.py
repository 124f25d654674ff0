"""What a run leaves to look at, as Prefect shows it: of a plan and its log, of the runs it has to do with, and how far the reading is.

Law: of a plan names, counts and times; no value of a row. An update of a progress is a request, so there is at most one in
PROGRESS_SECONDS. When what is shown, is in `tasks` and `replay_tasks`.

    artifact          form      says
    dblog-radius-…    Markdown  the verdict; a picture of the rows undone over time, the bad window marked; tables, transactions, conflicts
    dblog-ledger-…    table     what became of every event
    dblog-coverage-…  table     of every log file which time it covers, and what of it could not be undone
    dblog-progress-…  progress  files, megabytes, rate and time left
    dblog-runs-…      Markdown  the runs of a plan, with links: who made it, who was asked, who replayed and verified it
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from time import monotonic
from typing import cast
from uuid import UUID

from prefect import get_client
from prefect.artifacts import create_markdown_artifact, create_progress_artifact, create_table_artifact, update_progress_artifact
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort
from prefect.runtime import flow_run
from prefect.utilities.urls import url_for

from dblog_tasks.event import JsonObject
from dblog_tasks.markdown import cell, table as markdown_table
from dblog_tasks.part import COMMAND, DELETE, INSERT, UPDATE, LogPart
from dblog_tasks.picture import SEGMENTS_MAX, Span, image, rows_over_time
from dblog_tasks.plan import Plan, not_in_log
from dblog_tasks.runs import tag_run
from dblog_tasks.storage import LogFile
from dblog_tasks.text import moment, size
from dblog_tasks.verdict import verdict

PROGRESS_SECONDS = 1.0
TABLES_SHOWN, TRANSACTIONS_SHOWN, RUNS_SHOWN = 50, 10, 50
FILES_SHOWN = 500  # of the coverage, the last ones


class PlanProgress:
    """A progress artifact of the reading of log files: files, megabytes, rate and time left."""

    def __init__(self, key: str, files: Sequence[LogFile]) -> None:
        self._files, self._size = len(files), sum(file.size or 0 for file in files)
        self._read = self._done = 0
        self._begun = monotonic()
        self._due = self._begun + PROGRESS_SECONDS
        self._artifact = cast("UUID", create_progress_artifact(progress=0.0, key=key, description=self._said(0)))

    def add(self, files: Sequence[LogFile]) -> None:
        """Note files that were read; show it when the last time is long enough ago."""
        self._done += len(files)
        self._read += sum(file.size or 0 for file in files)
        if monotonic() >= self._due:
            self.end()
            self._due = monotonic() + PROGRESS_SECONDS

    def end(self) -> None:
        """Show what was noted last."""
        share = self._read / self._size if self._size else self._done / self._files
        update_progress_artifact(artifact_id=self._artifact, progress=100.0 * share, description=self._said(monotonic() - self._begun))

    def _said(self, seconds: float) -> str:
        read = f", {size(self._read)} of {size(self._size)}" if self._size else ""
        said = f"{self._done:,} of {self._files:,} log files{read}"
        if not (self._read and seconds):
            return said
        rate = self._read / seconds
        left = timedelta(seconds=round((self._size - self._read) / rate))
        return f"{said}, {size(round(rate))} a second, {left} left"


def radius(plan: Plan, span: Span | None = None) -> str:
    """Return what a plan touches as Markdown: verdict, picture, tables, transactions, conflicts. No value of a row is in it.

    `span` is the time of the log it was made from, where that is known.
    """
    manifest = plan.manifest
    chosen, found = manifest["transactions"], manifest["conflicts"]
    tables = [(name, *(counts.get(kind, 0) for kind in (INSERT, UPDATE, DELETE, COMMAND))) for name, counts in manifest["tables"].items()]
    biggest = [(item["id"], item["time"] or "", item["rows"]) for item in chosen["biggest"]]
    known, start, end = found["known_up_to"], plan.start.position.value, plan.end.position.value
    lines = [
        f"# {plan.ledger.rows_undone} rows in {chosen['count']} transactions: {cell(verdict(plan))}",
        f"`{plan.id}`: {cell(manifest['source']['name'])}, after {cell(start or 'the beginning')} up to {cell(end)}",
        _picture(plan, span),
        markdown_table(("table", "inserted", "updated", "deleted", "commands"), tables, TABLES_SHOWN),
        markdown_table(("biggest transactions", "committed", "rows"), biggest, TRANSACTIONS_SHOWN),
        f"Later changes to these rows, known up to {cell(known['position'] or '-')}: **{found['hard']} hard**, {found['soft']} soft.",
    ]
    if chosen["partly_selected"]:
        also = ", ".join(cell(name) for name in chosen["also_touched"][:TABLES_SHOWN])
        lines.append(f"**{chosen['partly_selected']} transactions are undone in part**: they also changed {also}.")
    lines += [f"Not in this log: {cell(said)}." for said in not_in_log(manifest)]
    lines += [f"Not compared: {cell(table)} ({cell(why)})." for table, why in list(found["unknown"].items())[:TABLES_SHOWN]]
    return "\n\n".join(lines)


def _picture(plan: Plan, span: Span | None) -> str:
    drawn = rows_over_time(plan, span)
    if drawn is None:
        return f"No picture: the plan has more than {SEGMENTS_MAX} segments, or its log tells no times."
    return f"{image(drawn)}\n\nThe bad window: changes committed from {moment(drawn.window[0])} to {moment(drawn.window[1])}."


def log_span(parts: Sequence[LogPart]) -> Span | None:
    """Return the commit times of the first and last transaction of the log; None where it tells none."""
    spans = [part.span for part in parts if part.span]
    return (min(span[0] for span in spans), max(span[1] for span in spans)) if spans else None


def show_coverage(key: str, parts: Sequence[LogPart]) -> None:
    """Make the table of what is recoverable from which log file, the last files first."""
    span, gaps = log_span(parts), sum(bool(part.ledger.omitted) for part in parts)
    times = f"{moment(span[0])} to {moment(span[1])}" if span else "no times in these logs"
    said = f"{times}: {len(parts):,} log files, {gaps:,} with gaps" + (f"; the last {FILES_SHOWN}" if len(parts) > FILES_SHOWN else "")
    create_table_artifact(coverage_table(parts), key=key, description=said)


def coverage_table(parts: Sequence[LogPart]) -> list[JsonObject]:
    """Return a row for each log file: the time it covers, and whether all in it that was asked for can be undone."""
    return [
        {
            "log": part.log[0],
            "recoverable": _gap(part) if part.ledger.omitted else "all that was asked for",
            "from": moment(part.span[0]) if part.span else "",
            "until": moment(part.span[1]) if part.span else "",
            "up to": part.end.position.value,
            "events": part.ledger.total,
            "undone": part.ledger.undone,
            "omitted": part.ledger.omitted.total(),
        }
        for part in reversed(parts[-FILES_SHOWN:])
    ]


def ledger_table(plan: Plan) -> list[JsonObject]:
    """Return the ledger as rows of a table; the last one is the independent total."""
    ledger, fixes = plan.ledger, plan.manifest["fixes"]
    rows: list[JsonObject] = [{"events": ledger.undone, "became": "undone", "why": f"{ledger.rows_undone} rows", "fix": ""}]
    rows += [{"events": count, "became": "not needed", "why": reason, "fix": ""} for reason, count in ledger.not_needed.items()]
    rows += [
        {"events": count, "became": "omitted", "why": reason, "fix": fixes.get(reason, "")} for reason, count in ledger.omitted.items()
    ]
    return [*rows, {"events": ledger.total, "became": "read", "why": "balanced" if ledger.balanced else "NOT BALANCED", "fix": ""}]


def _gap(part: LogPart) -> str:
    return "GAP: " + ", ".join(f"{why} ({count})" for why, count in part.ledger.omitted.items())


def plan_tag(plan_id: str) -> str:
    """Return the tag of all runs that have to do with a plan."""
    return f"dblog-plan:{plan_id[:12]}"


def show_runs(key: str, plan_id: str) -> None:
    """Tag this flow run with the plan, and make the list of all runs of it, the first one first."""
    if not flow_run.id:
        return
    tag = plan_tag(plan_id)
    this = UUID(tag_run([tag]))
    with get_client(sync_client=True) as client:
        chosen = FlowRunFilter(tags=FlowRunFilterTags(all_=[tag]))
        found = client.read_flow_runs(flow_run_filter=chosen, sort=FlowRunSort.START_TIME_ASC, limit=RUNS_SHOWN)
        flows = {run.flow_id: client.read_flow(run.flow_id).name for run in found}
    rows = [f"| {_link(run)} | {cell(flows[run.flow_id])} | {_state(run, this)} | {_second(run)} |" for run in found]
    text = "\n".join([f"# Runs of a plan\n\n`{plan_id}`\n", "| run | flow | state | started |", "| --- | --- | --- | --- |", *rows])
    create_markdown_artifact(text, key=key, description=f"Who made plan {plan_id}, asked for approval, replayed and verified it")


def _link(run: FlowRun) -> str:
    where = url_for("flow-run", obj_id=run.id)
    return f"[{cell(run.name)}]({where})" if where else cell(run.name)


def _second(run: FlowRun) -> str:
    return moment(run.start_time.replace(microsecond=0)) if run.start_time else ""


def _state(run: FlowRun, this: UUID) -> str:
    return "this run" if run.id == this else cell(run.state.name if run.state else "")
