"""What a plan would do, as text for people.

Law: a plan in, text out; nothing is read but a plan's own lines, of the newest segments only, and nothing is decided: every number is
the manifest's. Text of a log is made printable before it is shown. No value of a row is shown under `mask`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from itertools import islice
from typing import Any

from dblog_tasks.event import Column, CommandChange, JsonObject, Row, RowChanges, Table
from dblog_tasks.ledger import DAMAGE_REASONS, STRUCTURE, Ledger
from dblog_tasks.mysql.json_binary import json_text
from dblog_tasks.part import COMMAND, CONFLICTS, DELETE, INSERT, STEPS, UPDATE
from dblog_tasks.plan import Plan, not_in_log
from dblog_tasks.storage.options import holds_secret
from dblog_tasks.text import MASKED, WIDTH, listed, moment, one_line, several, size
from dblog_tasks.verdict import verdict

SAMPLES = 3  # of each table
SEGMENTS_READ_MAX = 8  # for samples, from the newest on
CONFLICTS_READ_MAX = OMITTED_READ_MAX = 10_000
LINES_MAX = 10  # of a list
TRANSACTIONS_MAX = 5
VALUE_MAX = 40  # characters of a value
# What the undo of a change does, in the order of the columns.
UNDO = {DELETE: "re-insert", UPDATE: "restore", INSERT: "delete", COMMAND: "commands"}
# How the undo is had as text, by driver.
NEXT = {"mysql": "--as sql > undo.sql", "pg": "--as sql > undo.sql", "redis": "--as redis > undo.redis"}
LOOK_CLOSER = "--as json"
NOT_IN_A_LOG = (
    "triggers, cascades and engines of the target are not in a log, and without --schema foreign keys and generated columns"
    " are not known either: look at its tables before the undo runs"
)


def summary(plan: Plan, *, mask: bool = False, zone: tzinfo | None = None) -> str:
    """Return the plan on one screen, without a line end after the last line; the plan is read, not checked.

    Under `mask` no value of a row and no text of a statement is shown. `zone` is of local time, None the machine's own.
    Raises MalformedPlan for a segment that is not the manifest's, and what the storage raises.
    """
    return "\n".join(line.rstrip() for part in sections(plan, mask=mask, zone=zone).values() for line in part)


def sections(plan: Plan, *, mask: bool = False, zone: tzinfo | None = None) -> dict[str, Iterable[str]]:
    """Return the parts of `summary` by name, each as lines, to be read once."""
    samples = _samples(plan)
    return {
        "verdict": [verdict(plan), ""],
        "origin": _origin(plan, zone),
        "tables": _tables(plan),
        "transactions": _transactions(plan, mask=mask),
        "conflicts": _conflicts(plan, mask=mask),
        "omissions": _omissions(plan),
        "ledger": _ledger(plan.ledger),
        "risks": _risks(plan, samples),
        "samples": _sampled(samples, mask=mask),
        "end": _end(plan),
    }


def plan_json(plan: Plan) -> JsonObject:
    """Return all that the plan says of itself: its manifest, every omission and every conflict, in log order."""
    return {"manifest": dict(plan.manifest), "omitted": list(plan.omitted()), "conflicts": list(plan.conflicts())}


def _entry(name: str, text: str, width: int = WIDTH) -> str:
    return one_line(f"{name:10} {text}", width)


def _origin(plan: Plan, zone: tzinfo | None) -> Iterator[str]:
    manifest = plan.manifest
    logs = [f"{log['name']} ({log['identity']})" for log in manifest["logs"]]
    selection = manifest["filter"]["selection"]
    windows = [chosen for chosen in selection if "since" in chosen]
    flags = [flag.replace("_", " ") for flag in ("whole_transactions", "own_replays") if manifest["filter"].get(flag)]
    yield _entry("source", f"{manifest['source']['name']} ({manifest['driver']})")
    yield _entry("logs", listed(*logs) if len(logs) < 3 else f"{logs[0]} to {logs[-1]}, {len(logs)} files")
    yield _entry("", f"{plan.start.position.value or 'from the beginning'} to {plan.end.position.value}")
    for window in windows:
        yield _entry("window", _between(window, moment))
        yield _entry("", f"{_between(window, lambda time: f'{time.astimezone(zone):%Y-%m-%d %H:%M:%S%z}')}, local time")
    words = [_words(chosen) for chosen in selection if "since" not in chosen]
    yield _entry("filter", "; ".join([*([] if windows else ["any time"]), *words, *flags]) or "none", 4 * WIDTH)


def _between(window: Mapping[str, str | None], shown: Callable[[datetime], str]) -> str:
    since, until = (bound and shown(datetime.fromisoformat(bound)) for bound in (window["since"], window["until"]))
    return f"{since or 'the beginning'} to {until or 'the end'}"


_FILTERS: Mapping[str, Callable[[Any], str]] = {
    "any": lambda value: " or ".join(map(_words, value)),
    "not": lambda value: f"not {_words(value)}",
    "where": lambda value: f"rows where {value}",
    "source": " ".join,
}


def _words(predicate: Mapping[str, Any]) -> str:
    """Return a predicate of the manifest in words."""
    return ", ".join(_FILTERS.get(name, f"{name} {{}}".format)(value) for name, value in predicate.items() if value)


def _tables(plan: Plan) -> Iterator[str]:
    tables, keys = plan.manifest["tables"], plan.manifest["conflicts"]["keys"]
    if not plan.ledger.rows_undone:
        yield from ("", "nothing is undone; what was read was not needed, by reason:")
        for reason, events in sorted(plan.ledger.not_needed.items(), key=lambda found: -found[1]):
            yield f"  {events:>12,} events  {reason}"
        return
    kinds = [kind for kind in UNDO if any(kind in counts for counts in tables.values())]
    wide = max(map(len, tables), default=0)
    yield from ("", f"{'the undo, rows to':{wide + 2}}{''.join(f'{UNDO[kind]:>14}' for kind in kinds)}{'distinct keys':>16}")
    ordered = sorted(tables.items(), key=lambda found: -sum(found[1].values()))
    for table, counts in ordered[:LINES_MAX]:
        numbers = "".join(f"{format(counts[kind], ',') if kind in counts else '-':>14}" for kind in kinds)
        yield f"  {one_line(table):{wide}}{numbers}{f'{keys[table]:,}' if table in keys else 'not counted':>16}"
    yield from _rest(len(tables), "table")


def _rest(number: int, what: str, shown: int = LINES_MAX) -> Iterator[str]:
    if number > shown:
        yield f"  and {several(number - shown, f'more {what}')}: dblog show --as json"


def _transactions(plan: Plan, *, mask: bool) -> Iterator[str]:
    found = plan.manifest["transactions"]
    biggest = found["biggest"][:TRANSACTIONS_MAX]
    more = ", the biggest:" if found["count"] > len(biggest) else ""
    yield _entry("undoes", (several(found["count"], "transaction") or "no transaction") + more)
    for it in biggest:
        thread = f", thread {it['thread']}" if it["thread"] else ""
        time = moment(it["time"] and datetime.fromisoformat(it["time"]))
        yield one_line(f"  {several(it['rows'], 'row'):>16}  {it['id']}  {it['start']}  {time}{thread}")
        if it["statements"] and not mask:
            yield one_line(f"{'':20}{' ; '.join(it['statements'])}")
    if found["partly_selected"]:
        number = several(found["partly_selected"], "transaction")
        yield _entry("partly", f"{number} partly selected, also touched {listed(*found['also_touched'])}", 4 * WIDTH)
        yield _entry("", "--whole-transactions takes them wholly")


def _conflicts(plan: Plan, *, mask: bool) -> Iterator[str]:
    conflicts = plan.manifest["conflicts"]
    known = conflicts["known_up_to"]
    number = listed(several(conflicts["hard"], "hard conflict"), several(conflicts["soft"], "soft conflict")) or "none"
    time = f" at {moment(datetime.fromisoformat(known['time']))}" if known["time"] else ""
    yield _entry("conflicts", f"{number}, known up to {known['position'] or 'nowhere'}{time}")
    found = list(islice(plan.conflicts(), CONFLICTS_READ_MAX))
    found.sort(key=lambda conflict: str(conflict["severity"]))  # hard before soft, each in log order
    for it in found[:LINES_MAX]:
        key = MASKED if mask else listed(*map(value_text, it["key"]))
        who = f"by {it['transaction'] or it['at']} at {moment(it['time'] and datetime.fromisoformat(it['time']))}"
        said = f"; {it['statement']}" if it["statement"] and not mask else ""
        yield one_line(f"  {it['severity']} {it['table']} [{key}] {who}: {it['what']} {listed(*it['columns'])}{said}".rstrip())
    yield from _rest(sum(segment.events for segment in plan.segments(CONFLICTS)), "later change")
    for table, why in islice(conflicts["unknown"].items(), LINES_MAX):
        yield one_line(f"  unknown for {table}: {why}")
    yield from _rest(len(conflicts["unknown"]), "table")


def _omissions(plan: Plan) -> Iterator[str]:
    omitted, fixes = plan.ledger.omitted, plan.manifest["fixes"]
    yield _entry("omitted", f"{several(omitted.total(), 'event')} inside the filter" if omitted else "nothing")
    for reason, events in omitted.most_common(LINES_MAX):
        fix = fixes.get(reason)
        yield one_line(f"  {events:>11,} events: {reason}{f'; {fix}' if fix else ''}", 2 * WIDTH)
    yield from _rest(len(omitted), "reason")
    yield from _lost(plan)


def _lost(plan: Plan) -> Iterator[str]:
    """Yield the parts of the log that could not be read, in log order."""
    if not DAMAGE_REASONS & plan.ledger.omitted.keys():
        return
    lost = [line for line in islice(plan.omitted(), OMITTED_READ_MAX) if "lost" in line]
    for line in lost[:LINES_MAX]:
        it = line["lost"]
        yield one_line(f"  lost: {it['start']} to {line['at']}, {it['missing']:,} bytes of the log: {it['what']}", 2 * WIDTH)
    yield from _rest(len(lost), "lost part")


def _ledger(ledger: Ledger) -> Iterator[str]:
    """Yield the equation that shows that nothing was lost."""
    parts = [f"{ledger.undone:,} undone", *(f"{events:,} {reason}" for reason, events in ledger.not_needed.items() if reason != STRUCTURE)]
    parts += [f"{ledger.omitted.total():,} omitted", f"{ledger.not_needed[STRUCTURE]:,} without a change"]
    yield _entry("ledger", f"{ledger.total:,} events {'=' if ledger.balanced else 'BUT'} {' + '.join(parts)}", 2 * WIDTH)


# ---- the undo itself, a few rows of it


@dataclass(slots=True)
class _Sample:
    """The newest rows of a table that the undo changes, and the table; None for commands."""

    table: Table | None = None
    rows: list[tuple[Row | None, Row | None]] = field(default_factory=list)
    commands: list[CommandChange] = field(default_factory=list)


def _samples(plan: Plan) -> dict[str, _Sample]:
    """Return some rows of each table, newest first, as far as the newest segments have them."""
    samples: dict[str, _Sample] = {}
    wanted = {table: min(SAMPLES, sum(counts.values())) for table, counts in plan.manifest["tables"].items()}
    for segment in list(reversed(plan.segments(STEPS)))[:SEGMENTS_READ_MAX]:
        for step in reversed(list(plan.steps_of(segment))):
            it = step.operation
            if isinstance(it, RowChanges):
                sample = samples.setdefault(f"{it.table.schema}.{it.table.name}", _Sample(it.table))
                sample.rows += it.rows[: SAMPLES - len(sample.rows)]
            elif isinstance(it, CommandChange):
                sample = samples.setdefault(f"db{it.database}", _Sample())
                sample.commands += [it][: SAMPLES - len(sample.commands)]
        if all(table in samples and len(samples[table].rows or samples[table].commands) >= rows for table, rows in wanted.items()):
            break
    return samples


def _risks(plan: Plan, samples: Mapping[str, _Sample]) -> Iterator[str]:
    tables = [sample.table for _, sample in sorted(samples.items()) if sample.table]
    keyless = [f"{table.schema}.{table.name}" for table in tables if not table.key]
    unsure = [f"{table.schema}.{table.name}.{column.name}" for table in tables for column in table.columns if _may_update(column)]
    unseen = [table for table in plan.manifest["tables"] if table not in samples]
    risks = [
        *not_in_log(plan.manifest),
        keyless and f"no key, so equal rows cannot be told apart: {listed(*keyless)}",
        unsure and f"no schema given: not known whether these set themselves on every update: {listed(*unsure)}",
        unseen and f"not looked at, only in older segments: {listed(*unseen)}",
        tables and NOT_IN_A_LOG,
    ]
    for number, risk in enumerate(risk for risk in risks if risk):
        yield _entry("" if number else "risks", str(risk), 2 * WIDTH)


def _may_update(column: Column) -> bool:
    return column.auto_update is None and column.type.startswith(("timestamp", "datetime"))


def _sampled(samples: Mapping[str, _Sample], *, mask: bool) -> Iterator[str]:
    if samples:
        yield from ("", "samples, newest first, as the undo will do it (before -> after)")
    for name, sample in islice(sorted(samples.items()), LINES_MAX):
        for before, after in sample.rows:
            yield one_line(f"  {name} {_change(sample.table, before, after, mask=mask)}") if sample.table else ""
        for it in sample.commands:
            words = [it.do[0], *([] if mask else it.do[1:])]
            yield one_line(f"  {name} {' '.join(map(value_text, words))}{f' {MASKED}' if mask else ''} ({it.grade})")


def _change(table: Table, before: Row | None, after: Row | None, *, mask: bool) -> str:
    """Return in a line what the undo does to a row: the columns it changes, or the whole row."""
    row = after if before is None else before
    if row is None:
        return ""
    values = [MASKED if mask else value_text(value, column) for value, column in zip(row, table.columns, strict=True)]
    named = [f"{column.name}={value}" for column, value in zip(table.columns, values, strict=True)]
    if before is None or after is None:
        return f"{'re-insert' if before is None else 'delete'} {listed(*named)}"
    changed = [
        f"{column.name}: {old} -> {MASKED if mask else value_text(new, column)}"
        for column, old, was, new in zip(table.columns, values, before, after, strict=True)
        if was != new
    ]
    return f"{listed(*(named[index] for index in table.key)) or 'row'}: restore {listed(*changed)}"


def value_text(value: Any, column: Column | None = None) -> str:
    """Return a value in at most VALUE_MAX characters: NULL, text as it is and '' where there is none, labels by name, bytes in hex."""
    if value is None:
        return "NULL"
    if isinstance(value, dict):
        text = f"base64 {value.get('base64', '')}"
    elif isinstance(value, bytes) and column is not None and column.type == "json":
        text = json_text(value)
    elif isinstance(value, bytes):
        text = value.decode() if value.isascii() and value.decode().isprintable() else f"0x{value[:VALUE_MAX].hex()}"
    else:
        text = str(value if column is None else column.shown(value))
    return one_line(text, VALUE_MAX) or "''"


def _end(plan: Plan) -> Iterator[str]:
    """Yield what names the plan, and the next command: to look closer where it is not safe, else the undo as text."""
    driver, ledger = plan.manifest["driver"], plan.ledger
    from shlex import quote  # noqa: PLC0415 - only here

    url = MASKED if holds_secret(plan.url) else quote(plan.url)
    if not ledger.rows_undone:
        yield _entry("plan", plan.id)
        yield _entry("next", f"dblog inspect LOG --driver {driver}")
        return
    bytes_ = sum(segment.size for segment in plan.segments(STEPS))
    most = f"{several(ledger.rows_undone, 'statement')} at most, {several(ledger.undone, 'step')}, {size(bytes_)}"
    unsafe = plan.manifest["conflicts"]["hard"] or ledger.omitted
    yield _entry("plan", f"{plan.id}, {most}")
    yield _entry("next", f"dblog show {url} {LOOK_CLOSER if unsafe else NEXT.get(driver, LOOK_CLOSER)}", 10 * WIDTH)
