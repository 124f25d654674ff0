"""How one file of a log is read: to the first damage, or around it. Frames come in, groups go out; no I/O.

    stop       groups, then the error
    salvage    groups of whole transactions, and between them what is lost, as events of their own

Law: what was read around is omitted by reason, never left out. Table maps and open transactions end at damage: what comes after it
is read as if the file began there.

    omitted because                           of what
    damaged                                   bytes that are no events, whole events whose transaction is not whole
    cut off: no whole event comes after it    the same at the end of a file: of one that still grows, the next run may know more
    doubled or foreign bytes                  bytes between two events that follow one another in the log: nothing is lost
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from dblog_tasks import ledger as words
from dblog_tasks.backend import SALVAGE, STOP
from dblog_tasks.errors import MalformedLog
from dblog_tasks.event import JsonObject, Omission, Position, Source, Transaction
from dblog_tasks.filters import AnyOf, ByTransaction, Predicate
from dblog_tasks.mysql import binlog
from dblog_tasks.mysql.header_count import HeaderCount
from dblog_tasks.mysql.layout import Layout
from dblog_tasks.mysql.place import Place, checked
from dblog_tasks.mysql.selection import kind_name
from dblog_tasks.mysql.transactions import NOT_COMMITTED, ROWS, Gatherer, Group

if TYPE_CHECKING:
    from dblog_tasks.mysql.salvage import Damage

DAMAGE = "damage"  # the kind of bytes that are no events, and the operation of everything lost
_FIX = "copy the file again, or take a replica's log of that time"
DAMAGED = Omission(words.DAMAGED, _FIX)
CUT_OFF = Omission(words.CUT_OFF, _FIX)
DOUBLED = Omission(words.DOUBLED, "nothing of the log is missing there; copy the file again to be sure")


class Lost(NamedTuple):
    """The body of a `DamagedEvent`: what is wrong with that part of the file.

    Attributes:
        what: the damage in words.
        start: position where it begins.
        size: bytes of the file.
        missing: bytes of the log that are not known.
    """

    what: str
    start: str
    size: int
    missing: int


class DamagedEvent:
    """A part of a file of which nothing is taken, as an event (see `event.Event`): of any table, at a time nobody knows."""

    time: datetime | None = None
    transaction: str | None = None
    transaction_info: Transaction | None = None
    transaction_names: tuple[str, ...] = ()
    table: tuple[str, str] | None = None
    gtid = ""
    thread: int | None = None
    statement: bytes | None = None
    operation = DAMAGE
    raw = b""
    id = None

    def __init__(self, damage: Damage, source: Source, file: str, log: str) -> None:
        self.source, self.log = source, log
        self.start, self.end, self.changes = damage.start, damage.end, damage.changes
        self.position = Position("mysql", f"{file}:{damage.end}")
        self.kind = DAMAGE if damage.kind < 0 else kind_name(damage.kind)
        self.body = Lost(damage.what, f"{file}:{damage.start}", damage.end - damage.start, damage.missing)
        self.omission = CUT_OFF if damage.tail else DAMAGED if damage.missing else DOUBLED
        self.problem = DAMAGED if self.omission is DAMAGED else NOT_COMMITTED  # reading goes on after it, or before it

    @property
    def lost(self) -> JsonObject:
        """What is lost, as a plan names it."""
        return {"start": self.body.start, "bytes": self.body.size, "missing": self.body.missing, "what": self.body.what}

    def reverse(self) -> None:
        """Return None: nothing undoes what nobody knows."""

    def against(self, selection: Iterable[Predicate], start: Place, stop: Place | None) -> str | None:
        """Return why it is not needed: only a position, or other transactions asked for by name, rule out what nobody knows."""
        if self.end < start.outer or (self.end == start.outer and self.start < self.end):  # bytes cut out right there come after it
            return words.BEFORE_START
        if stop is not None and self.start >= stop.outer:
            return words.AFTER_STOP
        if not self.changes:
            return words.STRUCTURE
        return words.OTHER_TRANSACTION if any(map(_names_transactions, selection)) else None


def _names_transactions(predicate: Predicate) -> bool:
    return isinstance(predicate, ByTransaction) or (isinstance(predicate, AnyOf) and all(map(_names_transactions, predicate.predicates)))


class File(Protocol):
    """What reading asks of the decoder of a file."""

    name: str
    identity: str
    source: Source
    format: binlog.Format

    def passing(self, start: Place, stop: Place | None) -> binlog.Passing | None:
        """Return what deals with transactions before they become frames; None where all have to."""

    def gatherer(self) -> Gatherer:
        """Return a new gatherer, which the file uses from now on."""

    def verdict(self, layout: Layout | None, operation: str | None, kind: int) -> str | None:
        """Return why events of this table, operation and type are not needed, or None."""

    def layout_of(self, frame: binlog.Frame) -> Layout | None:
        """Return the table of a rows event or table map."""

    def body(self, frame: binlog.Frame, layout: Layout | None) -> Any:
        """Return the body of an event; DAMAGED for rows that cannot be read, where no checksum told so."""


class Reading:
    """A file read to the first damage."""

    def __init__(self, file: File, blocks: Iterable[bytes], at: int, known: binlog.Format | None) -> None:
        self._file, self._at, self._known = file, at, known
        self._count = HeaderCount(at)
        self._blocks = self._count.watch(blocks)

    def groups(self, start: Place, stop: Place | None) -> Iterator[Group | DamagedEvent]:
        """Yield the groups in order. Raises MalformedLog at damage, with what to do about it."""
        file = self._file
        frames = binlog.frames(self._blocks, file.name, at=self._at, known=self._known, passing=file.passing(start, stop))
        whole = self._at
        try:
            for group in file.gatherer().gather(checked(frames, (start, stop), file.name)):
                whole = whole if group.problem is NOT_COMMITTED else group.end
                yield group
        except MalformedLog as error:
            more = f"whole transactions end at {file.name}:{whole}; --on-damage salvage reads on where it can"
            raise type(error)(error.what, where=error.where, hint=f"{error.hint}; {more}" if error.hint else more) from None

    def total(self, end: int) -> int:
        """Return how many events start before the offset where reading ended: a count of its own."""
        return self._count.finish(end)


class Salvaging:
    """A file read around its damage."""

    def __init__(self, file: File, blocks: Iterable[bytes], at: int, known: binlog.Format | None) -> None:
        self._file, self._at = file, at
        from dblog_tasks.mysql.salvage import Salvage  # noqa: PLC0415 - few logs are damaged

        self._found = Salvage(blocks, file.name, file.identity, at=at, known=known)
        self._pending: list[DamagedEvent] = []  # doubled bytes, met inside a group
        self._cut: DamagedEvent | None = None  # where a stretch of frames ended
        self._frames = self._damaged = 0
        self._last = -1  # where the last frame starts

    def groups(self, start: Place, stop: Place | None) -> Iterator[Group | DamagedEvent]:
        """Yield groups and damage in order."""
        file = self._file
        found: Iterator[Any] = checked(self._found, (start, stop), file.name)  # type: ignore[arg-type]  # damage has a place too
        while True:
            self._cut = None
            for group in file.gatherer().gather(self._stretch(found)):
                yield from self._lost()
                if self._is_damaged(group):
                    group.problem = DAMAGED
                yield group
            if self._cut is None:
                yield from self._lost()
                return
            self._pending.append(self._cut)
            yield from self._lost()

    def _stretch(self, found: Iterator[binlog.Frame | Damage]) -> Iterator[binlog.Frame]:
        """Yield frames up to damage with a loss."""
        for item in found:
            if isinstance(item, binlog.Frame):
                self._frames += 1
                self._last = item.start
                yield item
                continue
            damage = DamagedEvent(item, self._file.source, self._file.name, self._file.identity)
            if item.missing:
                self._cut = damage
                return
            self._pending.append(damage)

    def _lost(self) -> Iterator[DamagedEvent]:
        pending, self._pending = self._pending, []
        self._damaged += len(pending)
        yield from pending

    def _is_damaged(self, group: Group) -> bool:
        """Whether damage ended the group, or is in its rows."""
        if group.problem is NOT_COMMITTED:
            return self._cut is not None and self._cut.omission is DAMAGED
        return group.problem is None and not self._file.format.checksum and self._is_unreadable(group)

    def _is_unreadable(self, group: Group) -> bool:
        """Whether rows that are wanted cannot be read: where there are no checksums, nothing else tells."""
        file = self._file
        for frame in group:
            if frame.type not in ROWS and frame.type != binlog.TABLE_MAP:
                continue
            layout = file.layout_of(frame)
            wanted = frame.type in ROWS and file.verdict(layout, ROWS[frame.type], frame.type) is None
            if wanted and file.body(frame, layout) is DAMAGED:
                return True
        return False

    def total(self, end: int) -> int:
        """Return how many events and parts were met up to the offset where reading ended."""
        return self._frames - (self._last >= end) + self._damaged


# By what to do at damage.
READINGS: Mapping[str, Callable[[File, Iterable[bytes], int, binlog.Format | None], Reading | Salvaging]] = {
    STOP: Reading,
    SALVAGE: Salvaging,
}
