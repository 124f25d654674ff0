"""What a target is: a database that plans are replayed on, and what passes between it and a replay.

Law: contracts and values; nothing of any one database, no I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set as AbstractSet
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, NamedTuple, Protocol

from dblog_tasks.event import JsonObject, Row, RowPair, Table

REFUSE, ALLOW = "refuse", "allow"
LOCK_WAIT, TOO_MUCH = "lock wait", "too much for one transaction"  # hints of TargetBusy: a smaller batch may do
UNKNOWN: Any = ...  # stands in a row for a value that a plan does not hold


@dataclass(frozen=True, slots=True)
class TargetOptions:
    """How to reach a target and what was said about it.

    Attributes:
        dsn: where it is, without a password.
        password: None: from the environment.
        plan: id of the plan: its replays keep out of each other's way, and its progress is kept under it.
        acknowledge: reasons a person has accepted.
        guard_ignore: columns no guard looks at: `column`, `table.column` or `schema.table.column`.
        accept_drift: columns that may be missing or of another type in the target, likewise.
        triggers: `refuse`, `allow`, or `set:@variable=value` for triggers that look at it.
        progress_schema: where `dblog_replay` is; empty: the DSN's schema, else that of the plan's first table.
        read_only: the target must not be able to write anything.
        passing: called with a word at every read, write and commit; tests end the process there.
    """

    dsn: str
    password: str | None = field(default=None, repr=False)
    plan: str = ""
    acknowledge: tuple[str, ...] = ()
    guard_ignore: tuple[str, ...] = ()
    accept_drift: tuple[str, ...] = ()
    triggers: str = REFUSE
    progress_schema: str = ""
    read_only: bool = False
    passing: Callable[[str], None] = field(default=lambda point: None, repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class BoundTable:
    """A table of a plan as the target has it. Rows are in its order of columns; `UNKNOWN` stands for what a plan does not hold.

    Attributes:
        live: the table in the target.
        places: for each column of the plan where it is in the target; -1 where it is not.
        key: columns that tell a row from all others; empty: rows are told by all that is compared.
        written: columns that the plan holds and the database takes.
        compared: those of them that a guard looks at: not what the database sets by itself, nor what is to be ignored.
        automatic: those that the database sets on an update.
        exact: columns whose values need more than `==` to be the same, and what does it.
        referenced: whether foreign keys of other tables, or its own, lead here.
        transactional: a change of it is undone by a rollback.
        reread: rows have to be read again after they were written to know what they are.
        readings: what makes a plan's values values of the target's type, by their place in the target, where those are not the same.
        warnings: what a person should know of it.
    """

    live: Table
    places: tuple[int, ...]
    key: tuple[int, ...]
    written: tuple[int, ...]
    compared: tuple[int, ...]
    automatic: tuple[int, ...] = ()
    exact: Mapping[int, Callable[[Any, Any], bool]] = field(default_factory=dict)
    referenced: bool = False
    transactional: bool = True
    reread: bool = False
    readings: Mapping[int, Callable[[Any], Any]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    name: str = field(init=False)  # `schema.table`
    key_of: Callable[[Row], Row] = field(init=False, repr=False)  # what tells a row from all others
    straight: bool = field(init=False, repr=False)  # the plan's columns are the target's, in order

    def __post_init__(self) -> None:
        """Prepare what is asked of every row."""
        object.__setattr__(self, "name", f"{self.live.schema}.{self.live.name}")
        object.__setattr__(self, "key_of", _picker(self.key or self.compared))
        object.__setattr__(self, "straight", self.places == tuple(range(len(self.live.columns))) and not self.readings)

    def row(self, values: Row | None) -> Row | None:
        """Return a row of the plan in the order of the target's columns."""
        if values is None or self.straight:
            return values
        row: list[Any] = [UNKNOWN] * len(self.live.columns)
        for place, value in zip(self.places, values, strict=True):
            if place >= 0:
                row[place] = value
        for place, read in self.readings.items():
            if row[place] is not None and row[place] is not UNKNOWN:
                row[place] = read(row[place])
        return tuple(row)

    def differing(self, one: Row, other: Row, columns: Iterable[int]) -> list[int]:
        """Return which of the columns are not the same in two rows, byte for byte."""
        exact = self.exact
        if not exact:
            return [at for at in columns if one[at] != other[at]]
        return [at for at in columns if (not exact[at](one[at], other[at]) if at in exact else one[at] != other[at])]


def _picker(places: Sequence[int]) -> Callable[[Row], Row]:
    """Return what picks these columns of a row as a tuple."""
    if len(places) == 1:
        at = places[0]
        return lambda row: (row[at],)
    return itemgetter(*places) if places else lambda row: ()


class Child(NamedTuple):
    """A row that a foreign key ties to another one."""

    table: str
    key: Row  # by the child's own key; all that is compared of it where it has none
    refers: tuple[tuple[int, Any], ...]  # the columns that refer, and their values
    shown: JsonObject


class Effect(NamedTuple):
    """What a step does to one row."""

    table: BoundTable
    before: Row | None
    after: Row | None
    row: int = -1  # its place in the batch


class Load(NamedTuple):
    """How busy a target is: sessions at work, seconds its replicas are behind (None: not known)."""

    running: int
    lag: float | None = None


class Target(Protocol):
    """A database that plans are replayed on; alone in writing to it.

    One connection; `transaction_max`, where it has it, says how many bytes a transaction may have, 0 for no limit. What is read
    inside of a transaction is locked until its end, unless the transaction is read-only. Raises
    TargetRefused before the first write, TargetBusy for what may be tried again after `recover`, RowRefused for conflicts,
    TargetError for all else; a secret is in none of them.
    """

    warnings: list[str]

    @property
    def server(self) -> JsonObject:
        """Who it is: version, and the ids it writes into its log."""

    def bind(self, tables: Sequence[Table], used: Mapping[int, AbstractSet[str] | None]) -> Mapping[int, BoundTable]:
        """Return the plan's tables, by their place in the sequence, as they are here; everything is checked that can be before a write.

        `used`: columns the steps of a table look at, None for all.
        """

    def claim(self) -> list[JsonObject]:
        """Keep other replays of this plan out, and return the notes of its committed batches, in order; makes `dblog_replay` if missing."""

    def noted(self) -> list[JsonObject]:
        """Return the notes of this plan's committed batches without claiming anything."""

    def begin(self, *, read_only: bool = False) -> None:
        """Begin a transaction."""

    def rows(self, table: BoundTable, keys: Iterable[Row]) -> dict[Row, Row | None]:
        """Return the row of each key. A row that the database takes for that of a key, though its bytes differ, is returned as it is."""

    def counts(self, table: BoundTable, keys: Iterable[Row]) -> dict[Row, int]:
        """Return how many rows there are that are the same in all that is compared, for tables without a key."""

    def children(self, table: BoundTable, changes: Sequence[RowPair]) -> list[list[Child]]:
        """Return for each change of a row the rows elsewhere that refer to what the row holds now and would no longer hold."""

    def write(self, effects: Sequence[Effect]) -> Sequence[Effect]:
        """Write these, each row once and in this order as far as anyone can tell; return what was done to each row, in the order it was.

        Raises RowRefused, with `where` the effect's index.
        """

    def note(self, note: JsonObject) -> None:
        """Add a note of the batch, in its transaction. Raises TargetRefused when another replay has added it."""

    def forget(self, plan: str) -> None:
        """Remove the notes of a plan that is taken back, in this transaction."""

    def commit(self) -> None:
        """Commit. After TargetBusy it is not known whether it was: the notes tell."""

    def rollback(self) -> None:
        """Undo all since `begin`; never raises."""

    def recover(self) -> None:
        """Connect again where the connection is lost, and claim again."""

    def load(self) -> Load:
        """Return how busy the server is."""

    def close(self) -> None:
        """End the connection; never raises."""
