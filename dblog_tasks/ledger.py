"""The ledger: what became of every event that was read, so that nothing is dropped in silence.

Law: a count is raised by the code that decides, at the place where it decides, once an event. `total` is never derived from
the other counts: it comes from a walk over the log's framing that knows nothing of filters (`total` is raised there only). Of
what was not read thanks to an index, the index holds both: what that walk counted, and what was to be judged.

    total = undone + sum(not_needed) + sum(omitted)

Rows are counted beside it, where they are decoded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from dblog_tasks.event import JsonObject

# Why an event is not needed: the filter that ruled it out. `structure` is what holds no change (headers, commits, table maps).
STRUCTURE = "structure"
BEFORE_START = "before the start"
AFTER_STOP = "after the stop"
OUTSIDE_WINDOW = "outside the time window"
OTHER_TRANSACTION = "other transaction"
OTHER_GTID = "other GTID"
OTHER_THREAD = "other thread"
OTHER_STATEMENT = "other statement"
OTHER_COLUMN = "other column"
NO_SUCH_COLUMN = "no such column"
OTHER_TABLE = "other table"
OTHER_KIND = "other kind"
ROW_FILTER = "row filter"
OTHER_FILTER = "other filter"
OWN_REPLAY = "own replay"
ROLLED_BACK = "rolled back"
NO_DATA_CHANGE = "no data change"
NEXT_RUN = "left to the next run"
NOT_READ = "not read thanks to an index"  # it shows that other filters rule all of them out

# Reasons of omissions that come from where a log ends or is damaged.
NOT_COMMITTED = "not committed in this log"  # the end of its transaction is missing
CUT_OFF = "cut off: no whole event comes after it"
DAMAGED = "damaged"
DOUBLED = "doubled or foreign bytes"
DAMAGE_REASONS = frozenset({CUT_OFF, DAMAGED, DOUBLED})
PREPARED = "prepared XA transaction"  # likewise: it is prepared, and neither committed nor rolled back
WAITING = frozenset({NOT_COMMITTED, CUT_OFF})  # what a log that still grows may yet complete


@dataclass(slots=True)
class Ledger:
    """Counts of events (and rows) by what became of them.

    Attributes:
        total: events in the part of the log that was read, by the independent walk.
        undone: events a plan undoes, wholly or in the rows its row filter kept.
        not_needed: by filter.
        omitted: by reason; what was inside the filters and cannot be undone.
        rows_undone: rows of the undone events that the plan undoes.
        rows_not_needed: rows of the undone events, or of events ruled out by it, that the row filter left out.
    """

    total: int = 0
    undone: int = 0
    not_needed: Counter[str] = field(default_factory=Counter)
    omitted: Counter[str] = field(default_factory=Counter)
    rows_undone: int = 0
    rows_not_needed: int = 0

    @property
    def accounted(self) -> int:
        """Events with a verdict; equal to `total` when nothing was lost."""
        return self.undone + self.not_needed.total() + self.omitted.total()

    @property
    def balanced(self) -> bool:
        """Whether every event read has exactly one verdict."""
        return self.accounted == self.total

    def __add__(self, other: Ledger) -> Ledger:
        """Return the ledger of both parts of a log."""
        return Ledger(
            self.total + other.total,
            self.undone + other.undone,
            self.not_needed + other.not_needed,
            self.omitted + other.omitted,
            self.rows_undone + other.rows_undone,
            self.rows_not_needed + other.rows_not_needed,
        )

    def to_json(self) -> JsonObject:
        """Return the ledger as a JSON object; `from_json` gives it back equal."""
        return {
            "total": self.total,
            "undone": self.undone,
            "not_needed": dict(sorted(self.not_needed.items())),
            "omitted": dict(sorted(self.omitted.items())),
            "rows_undone": self.rows_undone,
            "rows_not_needed": self.rows_not_needed,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Return the ledger `to_json` wrote."""
        return cls(
            value["total"],
            value["undone"],
            Counter(value["not_needed"]),
            Counter(value["omitted"]),
            value["rows_undone"],
            value["rows_not_needed"],
        )
