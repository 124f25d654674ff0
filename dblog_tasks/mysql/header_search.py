"""What of a file is to be read, as its header index shows. No I/O.

    what is asked for          rules out a stretch when
    a time                     all of it lies outside the window
    tables, kinds of change    none that it changed is meant, and no statement or DDL is in it that may have changed any
    a GTID set, a transaction  none of its GTIDs, numbers and places can be meant
    a thread                   it is not among those of the stretch, and of all the log tells the thread
    anything else              never

Law: what cannot matter is passed over, what is in doubt is read. What is opaque is always read.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from dblog_tasks import ledger as words
from dblog_tasks.errors import MalformedLog
from dblog_tasks.filters import AnyOf, ByTime, ByTransaction, Predicate, first_against, reason_of
from dblog_tasks.ledger import Ledger
from dblog_tasks.mysql import binlog
from dblog_tasks.mysql.gtid import MARIADB, MYSQL, GtidSet
from dblog_tasks.mysql.header_index import FIRST, HeaderIndex, Span, Stretch
from dblog_tasks.mysql.place import BEGINNING, Place
from dblog_tasks.mysql.selection import REPLAY_TABLE, Selection, kind_name
from dblog_tasks.mysql.transactions import ROWS, instants
from dblog_tasks.origin_filters import ByGtid, ByThread
from dblog_tasks.selection import Probe

NEVER: Span = (1, 0)  # of no moment


class Sought:
    """What is asked of a log, to be held against what an index says of it."""

    def __init__(self, selection: Selection, *, own_replays: bool) -> None:
        """`own_replays`: whether our own replays are asked for too."""
        self._selection, self._own_replays = selection, own_replays
        kinds = binlog.EVENT_NAMES.keys() - ROWS.keys()
        self._structure = any(first_against(selection.table, Probe(kind_name(kind), None, None)) is None for kind in kinds)

    def table_reasons(self, index: HeaderIndex) -> list[str | None]:
        """Return why the events that each of `index.touched` counts are not needed, None where they may be."""
        return [
            first_against(self._selection.table, Probe(kind_name(kind), operation, table)) for table, operation, kind, _ in index.touched
        ]

    def against(self, stretch: Stretch, index: HeaderIndex, reasons: Sequence[str | None], file: str) -> frozenset[str]:
        """Return why nothing of a stretch is needed, as the ledger has it; nothing where something may be.

        `reasons`: those of `table_reasons`; `file`: the name in positions.
        """
        if stretch.opaque:
            return frozenset()
        if not self._structure:
            stretch = stretch._replace(times=stretch.span or NEVER)
        for predicate in self._selection.transaction:
            if not _may_hold(predicate, stretch, index, file):
                return frozenset({reason_of(predicate) if stretch.span else words.STRUCTURE})
        found = {reasons[place] for place in stretch.touched}
        if self._structure or None in found:
            return frozenset()
        own = not self._own_replays and any((index.touched[place].table or ("", ""))[1] == REPLAY_TABLE for place in stretch.touched)
        return frozenset({words.STRUCTURE, *filter(None, found), *([words.OWN_REPLAY] if own else [])})


def _may_hold(predicate: Predicate, stretch: Stretch, index: HeaderIndex, file: str) -> bool:
    """Return whether a predicate may hold, or be in doubt, for anything of a stretch. True for every predicate not known here."""
    if isinstance(predicate, AnyOf):
        return any(_may_hold(found, stretch, index, file) for found in predicate.predicates)
    if isinstance(predicate, ByTime):
        if stretch.times == NEVER:
            return False
        first, last = instants(stretch.times)
        return (predicate.since is None or last >= predicate.since) and (predicate.until is None or first < predicate.until)
    if isinstance(predicate, ByThread):
        return stretch.threads is None or not {0, predicate.thread}.isdisjoint(stretch.threads)
    if isinstance(predicate, ByTransaction):
        return _may_name(predicate.transaction, stretch, index, file)
    if isinstance(predicate, ByGtid) and isinstance(predicate.gtids, GtidSet):
        return _may_hold_gtids(predicate.gtids, stretch, index)
    return True


def _may_name(name: str, stretch: Stretch, index: HeaderIndex, file: str) -> bool:
    """Return whether a transaction of the stretch may be called so: by its place, its GTID or its xid."""
    before, _, text = name.rpartition(":")
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 21 else -1
    if before == file and stretch.start <= number < stretch.end:
        return True
    if not before and stretch.xids is not None and stretch.xids[0] <= number <= stretch.xids[1]:
        return True
    if stretch.gtids is None:
        return True
    names = {index.sources[place]: (first, last) for place, first, last in stretch.gtids}
    for separator in ":-":
        before, _, text = name.rpartition(separator)
        first, last = names.get(before, (1, 0))
        if text.isascii() and text.isdecimal() and len(text) < 21 and first <= int(text) <= last:
            return True
    return False


def _may_hold_gtids(gtids: GtidSet, stretch: Stretch, index: HeaderIndex) -> bool:
    if stretch.gtids is None:
        return True
    for place, first, last in stretch.gtids:
        name = index.sources[place]
        kind = MYSQL if len(name.partition(":")[0]) == _UUID_LENGTH else MARIADB
        if kind != gtids.kind or gtids.may_hold(name, first, last):  # of another kind: an error when it is read
            return True
    return False


_UUID_LENGTH = 36  # longer than any domain and server


class Run(NamedTuple):
    """Neighbouring stretches of a file, all of them to be read or none. `reasons`: why they are not; empty for those to read."""

    start: int
    end: int
    stretches: tuple[Stretch, ...]
    reasons: frozenset[str]

    @property
    def walked(self) -> int:
        return sum(found.walked for found in self.stretches)

    def count_into(self, ledger: Ledger) -> None:
        """Count its events as not read: all that the walk over headers counted, and what there was to judge."""
        ledger.total += self.walked
        reason = words.BEFORE_START if words.BEFORE_START in self.reasons else words.NOT_READ
        ledger.not_needed[reason] += sum(found.events for found in self.stretches)

    @property
    def span(self) -> Span | None:
        """Times of the first and last transaction; None without one."""
        spans = [found.span for found in self.stretches if found.span]
        return (min(first for first, _ in spans), max(last for _, last in spans)) if spans else None

    @property
    def begin(self) -> int:
        """Offset of the first byte to read."""
        return 0 if self.start == FIRST else self.start

    def bounds(self, start: Place, stop: Place | None) -> tuple[Place, Place | None]:
        """Return those of the bounds that lie in it."""
        return start if start.offset > self.start else BEGINNING, stop if stop is not None and stop.offset <= self.end else None

    def check(self, walked: int, end: int, file: str, *, stopped: bool) -> None:
        """Raise MalformedLog when what was read is not what the index has: `walked` events up to `end`, or up to a stop in it."""
        begun_inside = self.start != self.stretches[0].start
        if not stopped and (end != self.end or (walked != self.walked and not begun_inside)):
            raise MalformedLog(
                "the file is not the one its header index was made of, though it begins like it and is as long",
                where=f"{file}:{self.start}",
                hint="remove the index, which is named after the file, or leave --index out",
            )


def runs(index: HeaderIndex, sought: Sought, file: str, at: int = 0, start: Place = BEGINNING, stop: Place | None = None) -> list[Run]:
    """Return how to go through a file from offset `at`, a transaction's start, to its end or `stop`: what to read, what to pass over.

    `start`: what ends up to there is not needed. Stretches that `start` or `stop` lie in are read.
    """
    reasons = sought.table_reasons(index)
    bounds = [bound.offset for bound in (start, stop) if bound]
    chosen: list[tuple[Stretch, frozenset[str]]] = []
    for stretch in index.stretches:
        if stop is not None and stretch.start >= stop.outer:
            break
        if stretch.end <= at:
            continue
        if any(stretch.start < bound <= stretch.end for bound in bounds):
            chosen.append((stretch, frozenset()))
        elif stretch.end <= start.outer:
            chosen.append((stretch, frozenset({words.BEFORE_START})))
        else:
            chosen.append((stretch, sought.against(stretch, index, reasons, file)))
    return [_run(at, list(group)) for _, group in groupby(chosen, lambda found: (bool(found[1]), words.BEFORE_START in found[1]))]


def _run(at: int, chosen: Sequence[tuple[Stretch, frozenset[str]]]) -> Run:
    stretches = tuple(stretch for stretch, _ in chosen)
    start = max(at, stretches[0].start)
    return Run(start, stretches[-1].end, stretches, frozenset().union(*(reasons for _, reasons in chosen)))


def as_one(found: Sequence[Run]) -> list[Run]:
    """Return the runs with all from the first to the last that is to be read as one: of a packed file nothing can be left out between."""
    to_read = [number for number, run in enumerate(found) if not run.reasons]
    if not to_read:
        return list(found)
    first, last = to_read[0], to_read[-1] + 1
    stretches = tuple(stretch for run in found[first:last] for stretch in run.stretches)
    return [*found[:first], Run(found[first].start, found[last - 1].end, stretches, frozenset()), *found[last:]]
