"""What a backend is, what a target is, and how one is found by the name of its driver.

Law: contracts and a registry; nothing of any log format, no I/O. Built-in backends stand in one table and are imported when
first used, third parties add theirs with `register` or an entry point in the group `dblog_tasks.backends`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
from importlib import import_module
import logging
from operator import itemgetter
from threading import Event as CancelEvent, Lock
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Generic, NamedTuple, Protocol, Self, TypeVar, runtime_checkable

from dblog_tasks.errors import BackendExists, BackendNotFound, Cancelled, InvalidBackend, InvalidInput
from dblog_tasks.event import Checkpoint, Event, JsonObject, PlanLines, Position, Row, RowPair, Source, Table
from dblog_tasks.filters import Predicate
from dblog_tasks.ledger import Ledger
from dblog_tasks.storage import LogFile

if TYPE_CHECKING:
    from importlib.metadata import EntryPoints

logger = logging.getLogger(__name__)
STOP, SALVAGE = "stop", "salvage"
E_co = TypeVar("E_co", covariant=True)
E = TypeVar("E")


@dataclass(frozen=True, slots=True)
class OpenOptions:
    """How to open a log.

    Attributes:
        source: whose log it is; a backend names it after the path when empty.
        path: URLs of the log: one, or several in any order.
        dsn: a live server.
        reader: an open binary stream; never closed by us.
        cancel: set by the caller to stop; the decoder then raises Cancelled.
        checkpoint: read on after this one.
        stop: leave out everything after this position.
        selection: predicates that must all hold.
        storage_options: for fsspec, by protocol of the URLs.
        schema: URL of a file of CREATE TABLE statements, or a DSN, where the log does not describe its tables.
        ledger: counts what the decoder leaves out, and the total.
        whole_transactions: an event is kept when the selection holds for any event of its transaction.
        own_replays: keep the events of our own replays.
        log: URLs of the whole log that `path` is a part of, where it is one: looked into only for what begins in the part and ends later.
        on_damage: `stop` with an error at the first damage, or `salvage` what is provably whole and say what is lost.
        format: name of the log's format, where its content does not tell.
        changes_only: nobody looks at events that change nothing, nor at the text of statements: a decoder may count the ones as structure
            and leave out the other.
        index: URL of the folder of header indexes, for a backend that keeps such: what they rule out is not read. Empty: none.
        files: what `path` names, where that is known already: then it is not asked of the store again.
        lines: where whole transactions may be handed in as lines of a plan instead of as events; a decoder need not.
    """

    source: Source = Source()
    path: str | tuple[str, ...] = ()
    dsn: str = ""
    reader: BinaryIO | None = None
    cancel: CancelEvent | None = None
    checkpoint: Checkpoint = Checkpoint()
    stop: Position = Position()
    selection: tuple[Predicate, ...] = ()
    storage_options: Mapping[str, Any] = field(default_factory=dict)
    schema: str = ""
    ledger: Ledger = field(default_factory=Ledger)
    whole_transactions: bool = False
    own_replays: bool = False
    log: tuple[str, ...] = ()
    on_damage: str = STOP
    changes_only: bool = False
    index: str = ""
    files: tuple[LogFile, ...] = ()
    lines: PlanLines | None = None
    format: str = ""

    @property
    def paths(self) -> tuple[str, ...]:
        """The URLs as a tuple, also for a single one."""
        return (self.path,) if isinstance(self.path, str) and self.path else tuple(self.path)


class Decoder(Protocol[E_co]):
    """A log being read: iterate once, close when done. Yields events, then raises: what came before an error stays valid."""

    def __iter__(self) -> Iterator[E_co]: ...
    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...


class SeqDecoder(Generic[E]):
    """A decoder over any iterable of events. `close` may be called more than once; the function given is called once.

    Attributes:
        checkpoint: after the last transaction that was dealt with, for backends that keep it: reading can go on there.
        span: times of the first and last transaction so far, likewise.
    """

    def __init__(self, events: Iterable[E] | None, close: Callable[[], object] | None = None) -> None:
        self.checkpoint = Checkpoint()
        self.span: tuple[datetime, datetime] | None = None
        self._events: Iterable[E] = () if events is None else events
        self._close = close

    def read(self, events: Iterable[E], close: Callable[[], object] | None = None) -> None:
        """Set what is read, for a backend whose events note their progress in this decoder."""
        self._events, self._close = events, close

    def __iter__(self) -> Iterator[E]:
        return iter(self._events)

    def close(self) -> None:
        """Release what the decoder holds."""
        close, self._close = self._close, None
        if close is not None:
            close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A file of which nothing is needed, as its index shows: none of it was read. The ledger of the options has its events.

    Attributes:
        checkpoint: after the file.
        span: times of its first and last transaction; None without one.
        unread: why its events are not needed, in the ledger's words.
    """

    checkpoint: Checkpoint
    span: tuple[datetime, datetime] | None
    unread: frozenset[str]


@runtime_checkable
class Backend(Protocol):
    """One kind of log.

    A backend whose positions have an order also offers `position_key(position)`, a sort key. One that keeps indexes of files offers
    `pass_over(options)`: what there is to know of a file of which its index alone shows that nothing is needed, else None. One whose
    plans can be replayed offers `target(options)`: a `Target` that is connected.
    """

    @property
    def driver(self) -> str: ...

    def open(self, options: OpenOptions) -> Decoder[Event]:
        """Return a decoder over the log the options name. Raises DblogError; nothing else."""


# ---- a database that plans are replayed on

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


class Registry:
    """Backends by driver name. Safe to use from several threads."""

    def __init__(self) -> None:
        self._backends: dict[str, Backend] = {}
        self._lock = Lock()

    def register(self, backend: Backend | None) -> None:
        """Add a backend. Raises InvalidBackend without a driver name, BackendExists when its driver has one."""
        driver = getattr(backend, "driver", "")
        if backend is None or not driver:
            raise InvalidBackend("invalid backend: empty driver")
        with self._lock:
            if driver in self._backends:
                raise BackendExists(f"a backend for driver {driver!r} is registered already")
            self._backends[driver] = backend
        logger.debug("registered backend %s", driver)

    def get(self, driver: str) -> Backend:
        """Return the backend of a driver. Raises BackendNotFound."""
        with self._lock:
            found = self._backends.get(driver)
        if found is None:
            raise BackendNotFound(f"no backend for driver {driver!r}", hint=f"known: {', '.join(self.drivers()) or 'none'}")
        return found

    def drivers(self) -> list[str]:
        """Return the names of all registered drivers, sorted."""
        with self._lock:
            return sorted(self._backends)

    def open(self, driver: str, **options: Any) -> Decoder[Event]:
        """Open a log with the backend of a driver; the keywords are those of `open`."""
        backend = self.get(driver)
        logger.debug("opening a log with backend %s", driver)
        return backend.open(open_options(**options))


BUILT_IN: Mapping[str, str] = {
    "mysql": "dblog_tasks.mysql",
    "pg": "dblog_tasks.postgres",
    "redis": "dblog_tasks.redis",
}


class DefaultRegistry(Registry):
    """The process-wide registry: the built-in backends and those of installed entry points, imported on first use."""

    def register(self, backend: Backend | None) -> None:
        """Add a backend. Raises InvalidBackend without a driver name, BackendExists when its driver has one, built in or not."""
        driver = getattr(backend, "driver", "")
        if driver in BUILT_IN:
            self.get(driver)
        super().register(backend)

    def get(self, driver: str) -> Backend:
        """Return the backend of a driver, importing it when needed. Raises BackendNotFound."""
        with self._lock:
            known = driver in self._backends
        if not known and driver in BUILT_IN:
            self._adopt(import_module(BUILT_IN[driver]).backend)
        elif not known:
            for found in _installed().select(name=driver):
                loaded = found.load()
                self._adopt(loaded() if isinstance(loaded, type) else loaded)
        return super().get(driver)

    def drivers(self) -> list[str]:
        """Return the names of all drivers that can be opened, sorted."""
        return sorted({*super().drivers(), *BUILT_IN, *(found.name for found in _installed())})

    def _adopt(self, backend: Backend) -> None:
        with self._lock:
            self._backends.setdefault(backend.driver, backend)


def _installed() -> EntryPoints:
    from importlib.metadata import entry_points  # noqa: PLC0415 - takes long to import, and built-in backends do not need it

    return entry_points(group="dblog_tasks.backends")


default_registry = DefaultRegistry()


def register(backend: Backend | None) -> None:
    """Add a backend to the default registry. Raises InvalidBackend or BackendExists."""
    default_registry.register(backend)


def open(driver: str, **options: Any) -> Decoder[Event]:  # noqa: A001 - the public name
    """Open a log of the default registry.

    Keywords: source, path, dsn, reader, cancel, checkpoint, selection, stop, storage_options, schema, index (see OpenOptions). A
    checkpoint fills the source unless one is given. Raises BackendNotFound, and what the backend's `open` raises.
    """
    return default_registry.open(driver, **options)


def open_options(**options: Any) -> OpenOptions:
    """Return the options; a checkpoint's source is taken where no source is given, None stands for "not given"."""
    given = {name: value for name, value in options.items() if value is not None}
    checkpoint = given.get("checkpoint", Checkpoint())
    if checkpoint.source:
        given.setdefault("source", checkpoint.source)
    if given.get("on_damage", STOP) not in {STOP, SALVAGE}:
        raise InvalidInput(f"{given['on_damage']!r:.60} is nothing to do on damage", hint=f"it is {STOP} or {SALVAGE}")
    return OpenOptions(**given)


def events(decoder: Decoder[Event] | None) -> Iterator[Event]:
    """Yield the decoder's events; None gives none."""
    return iter(() if decoder is None else decoder)


def start_position_of(options: OpenOptions | None) -> Position:
    """Return where reading starts: the checkpoint's position; None gives the empty one."""
    return Position() if options is None else options.checkpoint.position


def cancel_of(options: OpenOptions | None) -> CancelEvent:
    """Return the caller's cancel event; never None: without one, an event nobody sets."""
    return CancelEvent() if options is None or options.cancel is None else options.cancel


def check_cancelled(cancel: CancelEvent | None) -> None:
    """Raise Cancelled when the caller asked to stop."""
    if cancel is not None and cancel.is_set():
        raise Cancelled("reading was cancelled")
