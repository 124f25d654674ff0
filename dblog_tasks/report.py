"""Text for people: what a log holds, and what a plan would do. For a terminal of 100 columns and for a pipe, so plain.

Law: a value in, text out; nothing is read but a plan's own lines, of the newest segments only, and nothing is decided: every number is
the survey's or the manifest's. Text of a log is made printable before it is shown. No value of a row is shown under `mask`.

    verdict                                      when
    NOTHING TO UNDO[, n omitted]                 no row is undone
    NOT SAFE: n hard conflicts, n omitted        rows were changed again later, or changes inside the filter cannot be undone
    READY, n soft conflicts                      only other columns of the rows were changed again later
    READY, later changes unknown in n tables     the logs could not be compared
    READY                                        none of these
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import islice
import re
import shlex
from typing import Any

from dblog_tasks.event import Column, CommandChange, JsonObject, Row, RowChanges, Table
from dblog_tasks.ledger import DAMAGE_REASONS, STRUCTURE, Ledger
from dblog_tasks.mysql.json_binary import json_text
from dblog_tasks.part import COMMAND, CONFLICTS, DELETE, INSERT, STEPS, UPDATE
from dblog_tasks.plan import Plan, not_in_log
from dblog_tasks.storage.options import holds_secret
from dblog_tasks.survey import ANY_TABLE, SUSPECT_TIMES_USUAL, Big, Changes, Survey, Suspect

WIDTH = 100

# ---- a plan

SAMPLES = 3  # of each table
SEGMENTS_READ_MAX = 8  # for samples, from the newest on
CONFLICTS_READ_MAX = OMITTED_READ_MAX = 10_000
LINES_MAX = 10  # of a list
TRANSACTIONS_MAX = 5
VALUE_MAX = 40  # characters of a value
MASKED = "***"
# What the undo of a change does, in the order of the columns.
UNDO = {DELETE: "re-insert", UPDATE: "restore", INSERT: "delete", COMMAND: "commands"}
# How the undo is had as text, by driver.
NEXT = {"mysql": "--as sql > undo.sql", "redis": "--as redis > undo.redis"}
LOOK_CLOSER = "--as json"
NOT_IN_A_LOG = "triggers, cascades and engines of the target are not in a log: look at its tables before the undo runs"


def verdict(plan: Plan) -> str:
    """Return in a line whether the plan can be trusted; see the table above."""
    conflicts, ledger = plan.manifest["conflicts"], plan.ledger
    hard, soft, unknown = conflicts["hard"], conflicts["soft"], len(conflicts["unknown"])
    omitted = f"{ledger.omitted.total():,} omitted" if ledger.omitted else ""
    if not ledger.rows_undone:
        return _listed("NOTHING TO UNDO", omitted)
    if hard or omitted:
        return f"NOT SAFE: {_listed(_several(hard, 'hard conflict'), omitted)}"
    return _listed("READY", _several(soft, "soft conflict"), unknown and f"later changes unknown in {_several(unknown, 'table')}")


def summary(plan: Plan, *, mask: bool = False, zone: tzinfo | None = None) -> str:
    """Return the plan on one screen, without a line end after the last line.

    Args:
        plan: read, not checked.
        mask: show no value of a row, and no text of a statement.
        zone: of local time; None: the machine's own.

    Raises MalformedPlan for a segment that is not the manifest's, and what the storage raises.
    """
    samples = _samples(plan)
    parts = (
        [verdict(plan), ""],
        _origin(plan, zone),
        _tables(plan),
        _transactions(plan, mask=mask),
        _conflicts(plan, mask=mask),
        _omissions(plan),
        _ledger(plan.ledger),
        _risks(plan, samples),
        _sampled(samples, mask=mask),
        _end(plan),
    )
    return "\n".join(line.rstrip() for part in parts for line in part)


def plan_json(plan: Plan) -> JsonObject:
    """Return all that the plan says of itself: its manifest, every omission and every conflict, in log order."""
    return {"manifest": dict(plan.manifest), "omitted": list(plan.omitted()), "conflicts": list(plan.conflicts())}


def _several(number: int, what: str) -> str:
    """Return a number of things in words; nothing for none."""
    return f"{number:,} {what}{'' if number == 1 else 's'}" if number else ""


def _listed(*texts: object) -> str:
    return ", ".join(str(text) for text in texts if text)


def _entry(name: str, text: str, width: int = WIDTH) -> str:
    return one_line(f"{name:10} {text}", width)


def _origin(plan: Plan, zone: tzinfo | None) -> Iterator[str]:
    manifest = plan.manifest
    logs = [f"{log['name']} ({log['identity']})" for log in manifest["logs"]]
    selection = manifest["filter"]["selection"]
    windows = [chosen for chosen in selection if "since" in chosen]
    flags = [flag.replace("_", " ") for flag in ("whole_transactions", "own_replays") if manifest["filter"].get(flag)]
    yield _entry("source", f"{manifest['source']['name']} ({manifest['driver']})")
    yield _entry("logs", _listed(*logs) if len(logs) < 3 else f"{logs[0]} to {logs[-1]}, {len(logs)} files")
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
        yield f"  and {_several(number - shown, f'more {what}')}: dblog show --as json"


def _transactions(plan: Plan, *, mask: bool) -> Iterator[str]:
    found = plan.manifest["transactions"]
    biggest = found["biggest"][:TRANSACTIONS_MAX]
    more = ", the biggest:" if found["count"] > len(biggest) else ""
    yield _entry("undoes", (_several(found["count"], "transaction") or "no transaction") + more)
    for it in biggest:
        thread = f", thread {it['thread']}" if it["thread"] else ""
        time = moment(it["time"] and datetime.fromisoformat(it["time"]))
        yield one_line(f"  {_several(it['rows'], 'row'):>16}  {it['id']}  {it['start']}  {time}{thread}")
        if it["statements"] and not mask:
            yield one_line(f"{'':20}{' ; '.join(it['statements'])}")
    if found["partly_selected"]:
        number = _several(found["partly_selected"], "transaction")
        yield _entry("partly", f"{number} partly selected, also touched {_listed(*found['also_touched'])}", 4 * WIDTH)
        yield _entry("", "--whole-transactions takes them wholly")


def _conflicts(plan: Plan, *, mask: bool) -> Iterator[str]:
    conflicts = plan.manifest["conflicts"]
    known = conflicts["known_up_to"]
    number = _listed(_several(conflicts["hard"], "hard conflict"), _several(conflicts["soft"], "soft conflict")) or "none"
    time = f" at {moment(datetime.fromisoformat(known['time']))}" if known["time"] else ""
    yield _entry("conflicts", f"{number}, known up to {known['position'] or 'nowhere'}{time}")
    found = list(islice(plan.conflicts(), CONFLICTS_READ_MAX))
    found.sort(key=lambda conflict: str(conflict["severity"]))  # hard before soft, each in log order
    for it in found[:LINES_MAX]:
        key = MASKED if mask else _listed(*map(value_text, it["key"]))
        who = f"by {it['transaction'] or it['at']} at {moment(it['time'] and datetime.fromisoformat(it['time']))}"
        said = f"; {it['statement']}" if it["statement"] and not mask else ""
        yield one_line(f"  {it['severity']} {it['table']} [{key}] {who}: {it['what']} {_listed(*it['columns'])}{said}".rstrip())
    yield from _rest(sum(segment.events for segment in plan.segments(CONFLICTS)), "later change")
    for table, why in islice(conflicts["unknown"].items(), LINES_MAX):
        yield one_line(f"  unknown for {table}: {why}")
    yield from _rest(len(conflicts["unknown"]), "table")


def _omissions(plan: Plan) -> Iterator[str]:
    omitted, fixes = plan.ledger.omitted, plan.manifest["fixes"]
    yield _entry("omitted", f"{_several(omitted.total(), 'event')} inside the filter" if omitted else "nothing")
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
        keyless and f"no key, so equal rows cannot be told apart: {_listed(*keyless)}",
        unsure and f"no schema given: not known whether these set themselves on every update: {_listed(*unsure)}",
        unseen and f"not looked at, only in older segments: {_listed(*unseen)}",
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
        return f"{'re-insert' if before is None else 'delete'} {_listed(*named)}"
    changed = [
        f"{column.name}: {old} -> {MASKED if mask else value_text(new, column)}"
        for column, old, was, new in zip(table.columns, values, before, after, strict=True)
        if was != new
    ]
    return f"{_listed(*(named[index] for index in table.key)) or 'row'}: restore {_listed(*changed)}"


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
    url = MASKED if holds_secret(plan.url) else shlex.quote(plan.url)
    if not ledger.rows_undone:
        yield _entry("plan", plan.id)
        yield _entry("next", f"dblog inspect LOG --driver {driver}")
        return
    bytes_ = sum(segment.size for segment in plan.segments(STEPS))
    most = f"{_several(ledger.rows_undone, 'statement')} at most, {_several(ledger.undone, 'step')}, {size(bytes_)}"
    unsafe = plan.manifest["conflicts"]["hard"] or ledger.omitted
    yield _entry("plan", f"{plan.id}, {most}")
    yield _entry("next", f"dblog show {url} {LOOK_CLOSER if unsafe else NEXT.get(driver, LOOK_CLOSER)}", 10 * WIDTH)


# ---- a survey

SPARKS = "▁▂▃▄▅▆▇█"
SPARKS_WIDTH = 30
TABLES_SHOWN, LONGEST_SHOWN = 40, 3
# What would have put the text of statements into the log, by driver.
TEXT_SETTINGS = {
    "mysql": "MySQL: SET GLOBAL binlog_rows_query_log_events=ON; MariaDB: SET GLOBAL binlog_annotate_row_events=ON",
}


def inspect_text(
    found: Survey, *, urls: Sequence[str] = (), driver: str = "", schema: str = "", storage_options: Sequence[str] = ()
) -> Iterator[str]:
    """Yield the survey as lines of text, suspects with a command to paste last; then raise its `problem`, if it has one.

    The keywords are those of `suspect_command`.
    """
    for section in (_head, _over_time, _biggest, _obstacles, _statements):
        for line in section(found):
            yield line + "\n"
    yield "\n"
    if not found.suspects:
        yield f"suspects: none changed over {SUSPECT_TIMES_USUAL} times what others change of a table; to plan any other by its name:\n"
        yield f"  {suspect_command(urls, driver, 'NAME', schema, storage_options)}\n"
    for number, suspect in enumerate(found.suspects, 1):
        it = suspect.found.transaction
        yield one_line(f"suspect {number}: {_suspicion(suspect)}, at {moment(it.time)}", 2 * WIDTH) + "\n"
        yield from (f"  {one_line(text, WIDTH - 2)}\n" for text in it.statements)
        name = it.id if it.id.isprintable() else it.start.value
        yield f"  {suspect_command(urls, driver, name, schema, storage_options)}\n"
    if found.problem is not None:
        raise found.problem


def _suspicion(suspect: Suspect) -> str:
    usual = f"others usually up to {suspect.usual:,}" if suspect.usual else "no other transaction any"
    return f"{suspect.kind} of {suspect.amount:,} {suspect.unit} of {suspect.table}, {usual}"


_FROM_ENVIRONMENT = re.compile(r"=env:[A-Za-z_][A-Za-z0-9_]*")


def suspect_command(urls: Sequence[str], driver: str, transaction: str, schema: str = "", storage_options: Sequence[str] = ()) -> str:
    """Return the command line that plans the undo of a transaction, quoted for a shell.

    `storage_options` are as the user wrote them, `K=V` with secrets as `K=env:NAME`. What holds a secret all the same is left out as ***.
    """
    out = "undo-" + re.sub(r"[^A-Za-z0-9.]+", "_", transaction)
    words = ["dblog", "plan", *urls, "--driver", driver, "--transaction", transaction, "--out", out]
    words += ["--schema", schema] if schema else []
    words += [word for option in storage_options for word in ("--storage-option", option)]
    return shlex.join(MASKED if holds_secret(_FROM_ENVIRONMENT.sub("", word)) else word for word in words)


def _head(found: Survey) -> Iterator[str]:
    yield one_line(f"log      {found.source.name or found.source.driver}, {found.first} to {found.last}")
    if found.since is not None and found.until is not None:
        yield f"commits  {moment(found.since)} to {moment(found.until)}, {found.until - found.since}"
    yield f"holds    {found.events:,} events; {found.transactions:,} transactions with changes"
    if found.problem is not None:
        yield one_line(f"ENDS     {found.problem}", 10 * WIDTH)


def _over_time(found: Survey) -> Iterator[str]:
    yield ""
    if not found.changes:
        yield "changes  none"
        return
    wide = min(30, max(len(changes.table) for changes in found.changes))
    step = -(-len(found.changes[0].over_time) // SPARKS_WIDTH) or 1
    each = f"each {found.width * step}, from {moment(found.start)}" if found.start else ""
    yield f"{'changes':{wide + 2}} {'kind':10} {'rows':>12}  {f'over time: {each}' if each else ''}"
    for changes in found.changes[:TABLES_SHOWN]:
        sparks = sparkline(changes.over_time, step)
        rows = _several(changes.events, "event") if changes.table == ANY_TABLE else _at_least(changes.rows, changes.unread)
        yield f"  {one_line(changes.table):{wide}} {one_line(changes.kind):10} {rows:>12}  {sparks}{_peak(found, changes)}"
    more = found.changes[TABLES_SHOWN:]
    if more:
        yield f"  and {len(more)} more kinds of change, {sum(changes.rows for changes in more):,} rows"


def _peak(found: Survey, changes: Changes) -> str:
    if not found.start or not any(changes.over_time):
        return ""
    most = max(changes.over_time)
    time = found.start + changes.over_time.index(most) * found.width
    return f"  most {most:,} at {time:{'%H:%M:%S' if found.width <= timedelta(minutes=15) else '%m-%d %H:%M'}}"


def sparkline(values: Sequence[int], step: int = 1) -> str:
    """Return a block for each `step` values, as high as their sum; a blank where it is 0."""
    sums = [sum(values[at : at + step]) for at in range(0, len(values), step)]
    most = max(sums, default=0)
    return "".join(SPARKS[value * (len(SPARKS) - 1) // most] if value else " " for value in sums)


def _biggest(found: Survey) -> Iterator[str]:
    yield from _ranking("the biggest transactions, by rows", found.biggest)
    others = [big for big in found.longest if big not in found.biggest]
    yield from _ranking("not among them, but among the longest, by bytes", others[:LONGEST_SHOWN])


def _ranking(title: str, bigs: Sequence[Big]) -> Iterator[str]:
    if bigs:
        yield from ("", title)
    for big in bigs:
        it = big.transaction
        thread = f", thread {it.thread}" if it.thread else ""
        yield one_line(f"  {_at_least(big.rows, big.unread):>11}  {it.id}  {moment(it.time)}{thread}")
        span = f"{it.start.value} to {it.end.value.rpartition(':')[2]}, {size(big.size)}"
        yield one_line(f"{'':15}{span}: {'; '.join(map(_did, big.changes))}", 2 * WIDTH)
        if it.statements:
            yield one_line(f"{'':15}{' ; '.join(it.statements)}")


def _did(changes: Changes) -> str:
    number = _several(changes.events, "event") if changes.table == ANY_TABLE else _at_least(changes.rows, changes.unread)
    return f"{changes.kind} {number} {changes.table}"


def _obstacles(found: Survey) -> Iterator[str]:
    yield from ("", "what keeps changes from being undone" + ("" if found.obstacles else ": nothing found"))
    for obstacle in found.obstacles:
        yield one_line(f"  {obstacle.events:,} events: {obstacle.reason}, first at {obstacle.position}; {', '.join(obstacle.tables)}")
        if obstacle.fix:
            yield one_line(f"    {obstacle.fix}", 10 * WIDTH)
    if found.keyless:
        yield one_line(f"  tables without a key, where equal rows cannot be told apart: {', '.join(found.keyless)}")
    if found.silent:
        setting = TEXT_SETTINGS.get(found.source.driver)
        yield f"  {found.silent:,} of {found.transactions:,} transactions without the text of their statements"
        yield from [f"    for the future {setting}"] if setting else []


def _statements(found: Survey) -> Iterator[str]:
    if found.statements:
        yield from ("", "statements the log has instead of rows, the first with each word")
    for statement in found.statements:
        yield one_line(f"  {statement.position}  {moment(statement.time)}  {statement.kind}  {statement.text}")


def moment(time: datetime | None) -> str:
    """Return a time in UTC, with as many digits as it has; `no time` for None."""
    if time is None:
        return "no time"
    shown = time.astimezone(UTC)
    return f"{shown:%Y-%m-%d %H:%M:%S}{f'.{shown.microsecond:06}' if shown.microsecond else ''}Z"


def size(count: int) -> str:
    """Return a number of bytes in the unit that leaves at most four digits."""
    units = ("bytes", "KiB", "MiB", "GiB", "TiB")
    power = min(len(units) - 1, max(0, (count.bit_length() - 1) // 10))
    return f"{count / (1 << 10 * power):.{1 if power else 0}f} {units[power]}"


def one_line(text: str, width: int = WIDTH) -> str:
    """Return a text of any origin as one printable line of at most `width` characters; what a terminal would act on is escaped."""
    indent = len(text) - len(text.lstrip(" "))
    shown = " " * indent + "".join(mark if mark.isprintable() else " " if mark.isspace() else ascii(mark)[1:-1] for mark in text.strip())
    return shown if len(shown) <= width else shown[: width - 1] + "…"


def _at_least(rows: int, unread: int) -> str:
    return f"{'≥' if unread else ''}{rows:,}"
