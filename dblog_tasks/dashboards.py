"""What a run leaves to look at, as Prefect shows it: tables and Markdown of a plan, and how far the reading of a log is.

Law: of a plan names, counts and times; no value of a row. An update of a progress is a request, so there is at most one in
PROGRESS_SECONDS. What tells somebody something is in `tasks`; here it is only put into words.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from time import monotonic
from typing import cast
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact

from dblog_tasks.event import JsonObject
from dblog_tasks.markdown import cell, table as markdown_table
from dblog_tasks.part import COMMAND, DELETE, INSERT, UPDATE
from dblog_tasks.plan import Plan, not_in_log
from dblog_tasks.report import verdict
from dblog_tasks.storage import LogFile

PROGRESS_SECONDS = 1.0
TABLES_SHOWN, TRANSACTIONS_SHOWN = 50, 10
MEGABYTE = 1 << 20


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
        size = f", {self._read / MEGABYTE:,.1f} of {self._size / MEGABYTE:,.1f} MB" if self._size else ""
        said = f"{self._done:,} of {self._files:,} log files{size}"
        if not (self._read and seconds):
            return said
        rate = self._read / seconds
        left = timedelta(seconds=round((self._size - self._read) / rate))
        return f"{said}, {rate / MEGABYTE:,.1f} MB a second, {left} left"


def radius(plan: Plan) -> str:
    """Return what a plan touches as Markdown: verdict, tables, transactions, conflicts. No value of a row is in it."""
    manifest = plan.manifest
    chosen, found = manifest["transactions"], manifest["conflicts"]
    tables = [(name, *(counts.get(kind, 0) for kind in (INSERT, UPDATE, DELETE, COMMAND))) for name, counts in manifest["tables"].items()]
    biggest = [(item["id"], item["time"] or "", item["rows"]) for item in chosen["biggest"]]
    known, start, end = found["known_up_to"], plan.start.position.value, plan.end.position.value
    lines = [
        f"# {plan.ledger.rows_undone} rows in {chosen['count']} transactions: {cell(verdict(plan))}",
        f"`{plan.id}`: {cell(manifest['source']['name'])}, after {cell(start or 'the beginning')} up to {cell(end)}",
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


def ledger_table(plan: Plan) -> list[JsonObject]:
    """Return the ledger as rows of a table; the last one is the independent total."""
    ledger, fixes = plan.ledger, plan.manifest["fixes"]
    rows: list[JsonObject] = [{"events": ledger.undone, "became": "undone", "why": f"{ledger.rows_undone} rows", "fix": ""}]
    rows += [{"events": count, "became": "not needed", "why": reason, "fix": ""} for reason, count in ledger.not_needed.items()]
    rows += [
        {"events": count, "became": "omitted", "why": reason, "fix": fixes.get(reason, "")} for reason, count in ledger.omitted.items()
    ]
    return [*rows, {"events": ledger.total, "became": "read", "why": "balanced" if ledger.balanced else "NOT BALANCED", "fix": ""}]
