"""What is asked of a plan: the values of a request, and predicates from what a person writes.

Law: text and values in, frozen values out; nothing is looked up. What two requests have in common that ask for the same is `filter`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from dblog_tasks.backend import STOP
from dblog_tasks.errors import InvalidInput
from dblog_tasks.event import Checkpoint, Position
from dblog_tasks.filters import (
    Predicate,
    any_of,
    by_kind,
    by_table,
    by_time,
    by_transaction,
    not_,
    predicate_json,
)


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """What is to be planned, from what, to where.

    Attributes:
        driver: of the log.
        logs: URLs.
        out: the plan's folder; with `resume` the folder that holds the plans of all runs.
        source: name of whose log it is; the logs' own name when empty.
        selection: predicates that must all hold.
        start, stop: events after the one, up to and including the other.
        schema: URL of CREATE TABLE statements, or a DSN.
        storage_options: for fsspec.
        whole_transactions: undo transactions wholly when any of their events is selected.
        own_replays: undo our own replays too.
        resume: go on after the end of the last plan of the same source and filter; what is not committed waits.
        on_damage: stop with an error, or salvage what is provably whole; no part of the filter, so that a later run may choose anew.
        format: name of the log's format, where its content does not tell.
        index: URL of the folder of header indexes, made and used where the driver has such; no part of the filter: the plan is the same.
    """

    driver: str
    logs: tuple[str, ...]
    out: str
    source: str = ""
    selection: tuple[Predicate, ...] = ()
    start: Checkpoint = Checkpoint()
    stop: Position = Position()
    schema: str = ""
    storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    whole_transactions: bool = False
    own_replays: bool = False
    resume: bool = False
    on_damage: str = STOP
    index: str = ""
    format: str = ""

    @property
    def filter(self) -> Any:
        """The filter as JSON: what makes two requests ask for the same."""
        return {
            "selection": [predicate_json(predicate) for predicate in self.selection],
            "stop": self.stop.value,
            "whole_transactions": self.whole_transactions,
            "own_replays": self.own_replays,
        }


def parse_time(text: str, option: str) -> datetime:
    """Return the instant a text names. Raises InvalidInput when it is none or has no zone."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(
            f"{text!r:.60} is no time", where=option, hint="write 2026-11-23T14:02:00Z or 2026-11-23 14:02:00+01:00"
        ) from None
    if time.tzinfo is None:
        raise InvalidInput(f"{text!r} has no zone", where=option, hint=f"write {text}Z for UTC, or an offset like {text}+02:00")
    return time


def selection(
    *,
    tables: Sequence[str] = (),
    kinds: Sequence[str] = (),
    since: str = "",
    until: str = "",
    transactions: Sequence[str] = (),
    gtids: Sequence[str] = (),
    threads: Sequence[str] = (),
    statements: Sequence[str] = (),
    columns: Sequence[str] = (),
    where: str = "",
) -> tuple[Predicate, ...]:
    """Return the predicates for what a person asked for: all must hold, several values of one any; `!value` rules out.

    Raises InvalidInput for a time without a zone, and for a set, number, pattern or expression that cannot be read.
    """
    asked: tuple[tuple[Sequence[str], Callable[[str], Predicate]], ...] = (
        (tables, by_table),
        (kinds, by_kind),
        (transactions, by_transaction),
        (gtids, _by_gtid),
        (threads, _by_thread),
        (statements, _by_statement),
        (columns, _by_column),
    )
    chosen: list[Predicate] = []
    for values, make in asked:
        wanted = [make(value) for value in values if not value.startswith("!")]
        chosen += [any_of(*wanted)] if len(wanted) > 1 else wanted
        chosen += [not_(make(value[1:])) for value in values if value.startswith("!")]
    if since or until:
        chosen.append(by_time(parse_time(since, "--since") if since else None, parse_time(until, "--until") if until else None))
    if where:
        from dblog_tasks.expression import parse  # noqa: PLC0415 - its parser takes long to import
        from dblog_tasks.row_filters import by_row  # noqa: PLC0415 - seldom needed

        chosen.append(by_row(parse(where)))
    return tuple(chosen)


def _by_column(text: str) -> Predicate:
    from dblog_tasks.row_filters import by_column  # noqa: PLC0415 - seldom needed

    return by_column(text)


def _by_gtid(text: str) -> Predicate:
    from dblog_tasks.mysql.gtid import parse  # noqa: PLC0415 - a log format's, and seldom needed
    from dblog_tasks.origin_filters import by_gtid  # noqa: PLC0415 - seldom needed

    return by_gtid(parse(text))


def _by_thread(text: str) -> Predicate:
    if not text.isascii() or not text.isdecimal() or len(text) > 20:
        raise InvalidInput(f"{text!r:.60} is no thread id", where="--thread", hint="write its number: 4711")
    from dblog_tasks.origin_filters import by_thread  # noqa: PLC0415 - seldom needed

    return by_thread(int(text))


def _by_statement(text: str) -> Predicate:
    from dblog_tasks.origin_filters import by_statement  # noqa: PLC0415 - seldom needed

    return by_statement(text)
