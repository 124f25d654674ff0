"""What a backend is, and how one is found by the name of its driver.

Law: contracts and a registry; nothing of any log format, no I/O. Built-in backends stand in one table and are imported when
first used, third parties add theirs with `register` or an entry point in the group `dblog_tasks.backends`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from importlib import import_module
import sys
from threading import Event as CancelEvent, Lock
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Generic, NamedTuple, Protocol, Self, TypeVar, runtime_checkable

from dblog_tasks.errors import BackendExists, BackendNotFound, Cancelled, InvalidBackend, InvalidInput
from dblog_tasks.event import Checkpoint, Event, PlanLines, Position, Source
from dblog_tasks.filters import Predicate
from dblog_tasks.ledger import Ledger
from dblog_tasks.storage import LogFile

if TYPE_CHECKING:
    from importlib.metadata import EntryPoints

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


class PassedOver(NamedTuple):
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
    plans can be replayed offers `target(options)`: a `target.Target` that is connected.
    """

    @property
    def driver(self) -> str: ...

    def open(self, options: OpenOptions) -> Decoder[Event]:
        """Return a decoder over the log the options name. Raises DblogError; nothing else."""


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
        _debug("registered backend %s", driver)

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
        _debug("opening a log with backend %s", driver)
        return backend.open(open_options(**options))


def _debug(message: str, driver: str) -> None:
    """Log it; where nobody has imported logging yet, which takes long, nobody listens."""
    if "logging" in sys.modules:
        sys.modules["logging"].getLogger(__name__).debug(message, driver)


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
