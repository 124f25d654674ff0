"""What a log holds, as text for people: changes over time, the biggest transactions, obstacles, and suspects with a line to paste.

Law: a survey in, text out; nothing is read and nothing is decided: every number is the survey's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
import re
import shlex

from dblog_tasks.storage.options import holds_secret
from dblog_tasks.survey import ANY_TABLE, SUSPECT_TIMES_USUAL, Big, Changes, Survey, Suspect
from dblog_tasks.text import MASKED, WIDTH, moment, one_line, several, size

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
        rows = several(changes.events, "event") if changes.table == ANY_TABLE else _at_least(changes.rows, changes.unread)
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
    number = several(changes.events, "event") if changes.table == ANY_TABLE else _at_least(changes.rows, changes.unread)
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


def _at_least(rows: int, unread: int) -> str:
    return f"{'≥' if unread else ''}{rows:,}"
