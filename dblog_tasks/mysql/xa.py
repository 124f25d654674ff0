"""How prepared XA transactions ended. No I/O: frames from any place on are given.

    XA START, changes, XA END, XA PREPARE      one transaction of the log; nobody sees its changes yet
    XA COMMIT or XA ROLLBACK of the same id    another one, any time later, maybe files later

Law: the first end of an id after its PREPARE is its own. The log is read on only as far as that, once for many, and no more than
OUTCOMES_MAX ends are kept that nobody asked for yet; what was forgotten is read again.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NamedTuple

from dblog_tasks.errors import MalformedLog, UnsupportedLog
from dblog_tasks.mysql import binlog, bodies, queries
from dblog_tasks.mysql.transactions import PREPARED, Group

OUTCOMES_MAX = 50_000
_KINDS = {queries.XA_COMMIT: True, queries.XA_ROLLBACK: False}
_QUERIES = frozenset({binlog.QUERY, binlog.QUERY_COMPRESSED})
_GTIDS = frozenset({binlog.GTID, binlog.GTID_TAGGED, binlog.ANONYMOUS_GTID, binlog.MARIADB_GTID})

Spot = tuple[int, int]  # index of a file of the log, offset in it
Read = Callable[[Spot], Iterator[tuple[int, binlog.Frame]]]


class Outcome(NamedTuple):
    """The end of a prepared transaction.

    Attributes:
        committed: else it was rolled back.
        time: of that, microseconds since 1970.
        gtid: of that; empty where the log has none.
        end: where.
    """

    committed: bool
    time: int
    gtid: str
    end: Spot


class XaTransactions:
    """Those that were met in a part of a log.

    Attributes:
        prepared: ids of those that were prepared and did not end so far.
        ended: ids of those that were committed, and prepared before all that was read.
    """

    def __init__(self, spot_of: Callable[[str, int], Spot | None], read: Read) -> None:
        """`spot_of` gives file and offset as a place of the whole log, None where that cannot be read; `read` as for `Outcomes`."""
        self.prepared: set[str] = set()
        self.ended: list[str] = []
        self._spot_of = spot_of
        self._outcomes = Outcomes(read)

    def meet(self, group: Group, file: str) -> None:
        """Tell a group that prepares one how it ended, its problem stays when that is not known; note the end of one."""
        if group.xa is None:
            return
        name = str(group.xa)
        if group.problem is PREPARED:
            self.prepared.add(name)
            spot = self._spot_of(file, group.end)
            outcome = spot and self._outcomes.find(group.xa, spot)
            if outcome:
                group.end_with(outcome)
        elif name in self.prepared:
            self.prepared.remove(name)
        elif group.commits:
            self.ended.append(name)


class Outcomes:
    """Ends of prepared transactions, found by reading on."""

    def __init__(self, read: Read) -> None:
        """`read` gives the frames from a place on to the end of the log, each with the index of its file."""
        self._read = read
        self._found: dict[queries.XaId, deque[Outcome]] = defaultdict(deque)
        self._kept = 0
        self._known_from: Spot = (0, 0)
        self._coming: Iterator[tuple[queries.XaId, Outcome]] | None = None

    def find(self, xa: queries.XaId, prepared: Spot) -> Outcome | None:
        """Return how the transaction that was prepared there ended; None when the log does not tell. Damage ends the search."""
        if self._coming is None or prepared < self._known_from:
            self._begin(prepared)
        known = self._found[xa]
        while known and known[0].end <= prepared:
            known.popleft()
        with suppress(MalformedLog, UnsupportedLog):  # reported when reading comes there
            while not known and (ended := next(self._coming or iter(()), None)) is not None:
                self._keep(*ended)
                known = self._found[xa]
        outcome = known.popleft() if known else None
        if not known:
            del self._found[xa]
        return outcome

    def _begin(self, at: Spot) -> None:
        self._found.clear()
        self._kept, self._known_from = 0, at
        self._coming = ends(self._read(at))

    def _keep(self, xa: queries.XaId, outcome: Outcome) -> None:
        self._kept += 1
        if self._kept > OUTCOMES_MAX:
            self._found.clear()
            self._kept, self._known_from = 1, outcome.end
        self._found[xa].append(outcome)


def ends(frames: Iterator[tuple[int, binlog.Frame]]) -> Iterator[tuple[queries.XaId, Outcome]]:
    """Yield every end of a prepared transaction."""
    gtid = bodies.Gtid("")
    for index, frame in frames:
        if frame.type in _GTIDS:
            gtid = bodies.read_body(frame, "")
        elif frame.type in _QUERIES:
            text = bodies.read_body(frame, "").text
            committed = _KINDS.get(queries.classify(text))
            xa = None if committed is None else queries.xa_id(text)
            if committed is not None and xa is not None:
                yield xa, Outcome(committed, gtid.committed or frame.timestamp * 1_000_000, gtid.gtid, (index, frame.end))
