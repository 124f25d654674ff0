"""Messages put together: each transaction whole, in the order of the commits, with its outcome.

Law: messages in, groups out; no I/O but a temporary file for what is too long to be held. Nothing is decoded here.

    begin … commit                        in one piece: a group
    begin … prepare, later commit_prepared   a group where it is committed; rolled back: one whose changes never were
    stream_start … stream_stop, later stream_commit   likewise; subtransactions that were aborted never were
    commit, where the begin is missing    a group with a `problem`, of what was gathered since
    a message, or a change, outside       a group of its own
    no end in this log                    a group with a `problem`, last
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
import pickle
from tempfile import TemporaryFile
from typing import IO, Any
from weakref import finalize

from dblog_tasks.errors import MalformedLog, UnsupportedLog
from dblog_tasks.event import Omission
from dblog_tasks.ledger import NOT_COMMITTED as NOT_COMMITTED_REASON, PREPARED as PREPARED_REASON
from dblog_tasks.postgres.message import (
    BEGIN,
    COMMIT,
    COMMIT_PREPARED,
    OPERATIONS,
    PREPARE,
    ROLLBACK_PREPARED,
    SKIMMED,
    STREAM_ABORT,
    STREAM_COMMIT,
    STREAM_PREPARE,
    STREAM_START,
    STREAM_STOP,
    Message,
    Shape,
    TableName,
)
from dblog_tasks.postgres.place import BEGINNING, WHOLE, Place

HELD_MAX = 64 << 20  # bytes of a transaction's records in memory
BATCH = 2000  # records written to the temporary file at once
OPEN_MAX = 1000  # transactions that are streamed or prepared at the same time
NOT_COMMITTED = Omission(NOT_COMMITTED_REASON, "add the log that holds its COMMIT")
PREPARED = Omission(PREPARED_REASON, "plan again when it was committed or rolled back: SELECT * FROM pg_prepared_xacts")
PREPARED_BEFORE = Omission("a transaction that was prepared before this log", "add the log that holds its PREPARE TRANSACTION")
BEGUN_BEFORE = Omission("a transaction that began before this log", "add the log that holds its BEGIN: what it did there is not undone")


class Held:
    """Messages in order: the first HELD_MAX bytes in memory, the rest in a temporary file."""

    def __init__(self) -> None:
        self._held: list[Message] = []
        self._size = 0
        self._file: IO[bytes] | None = None
        self._offsets: list[int] = []
        self._later: list[Message] = []
        self._shared: list[Any] = []  # what messages refer to and is not copied
        self._numbers: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._held) + BATCH * len(self._offsets) + len(self._later)

    def add(self, message: Message) -> None:
        """Keep a message."""
        if self._size < HELD_MAX:
            self._held.append(message)
            self._size += len(message.raw) + 300
            return
        self._later.append(message)
        if len(self._later) == BATCH:
            self._write()

    def _write(self) -> None:
        if self._file is None:
            self._file = TemporaryFile(prefix="dblog-")  # noqa: SIM115 - it goes when the group does
            finalize(self, self._file.close)
        self._offsets.append(self._file.seek(0, 2))
        pickler = pickle.Pickler(self._file, pickle.HIGHEST_PROTOCOL)
        pickler.persistent_id = self._number  # type: ignore[method-assign]
        pickler.dump(self._later)
        self._later = []

    def _number(self, value: Any) -> int | None:
        if not isinstance(value, Shape):
            return None
        if id(value) not in self._numbers:
            self._numbers[id(value)] = len(self._shared)
            self._shared.append(value)
        return self._numbers[id(value)]

    def __iter__(self) -> Iterator[Message]:
        yield from self._held
        for offset in self._offsets:
            if self._file is not None:
                self._file.seek(offset)
                unpickler = pickle.Unpickler(self._file)  # noqa: S301 - what this object wrote, into a file nobody else can open
                unpickler.persistent_load = self._shared.__getitem__  # type: ignore[method-assign]
                yield from unpickler.load()
        yield from self._later


@dataclass(slots=True)
class Group:
    """A transaction, or what is outside of any.

    Attributes:
        messages: in order.
        xid, gid, time: as far as they are told.
        whole: its records follow one another in the log.
        start, end: offset of the first byte, place of the last record.
        id: xid, else the position where it starts, by whoever knows the log's name; empty: outside of any.
        problem: why nothing of it can be undone.
        rolled_back: nothing of it ever was.
        aborted: subtransactions of which nothing ever was.
        touched: changes by table and operation.
        ended: what ended it was read.
        by_offset: each record is placed by its own offset.
        last: the last message.
    """

    messages: Held = field(default_factory=Held)
    xid: int = 0
    gid: str = ""
    time: datetime | None = None
    whole: bool = True
    start: int = 0
    end: Place = BEGINNING
    inside: bool = True
    problem: Omission | None = None
    rolled_back: bool = False
    aborted: set[int] = field(default_factory=set)
    touched: dict[tuple[str, tuple[TableName, ...]], int] = field(default_factory=dict)
    ended: bool = False
    by_offset: bool = False
    last: Message | None = None

    def add(self, message: Message) -> None:
        """Take a message in."""
        if not self.messages:
            self.start = message.start
        self.messages.add(message)
        self.last = message
        if message.kind in OPERATIONS:
            touch = (message.kind, message.tables)
            self.touched[touch] = self.touched.get(touch, 0) + 1
        self.xid = self.xid or message.xid
        self.time = message.time or self.time
        self.gid = message.gid or self.gid

    def places(self) -> Iterator[tuple[Message, Place]]:
        """Yield the messages with their places."""
        last, at = len(self.messages) if self.ended else 0, self.end.at
        for number, message in enumerate(self.messages, 1):
            yield message, Place(message.end) if self.by_offset else Place(at, WHOLE if number == last else number)


class Gatherer:
    """Puts messages together. `lsns`: the log tells the LSNs of the ends of transactions."""

    def __init__(self, name: str, *, lsns: bool) -> None:
        self._name, self._lsns = name, lsns
        self._open: Group | None = None
        self._streams: dict[int, Group] = {}
        self._prepared: dict[str, Group] = {}
        self._stream = 0
        self.last = 0  # LSN, or offset, of the last end

    def groups(self, messages: Iterable[Message]) -> Iterator[Group]:
        """Yield the groups as they end. Raises MalformedLog, UnsupportedLog, and what the messages raise."""
        for message in messages:
            if message.kind == SKIMMED:
                before = self._broken_off()
                if before is not None:
                    yield before
                yield self._alone(message)
                continue
            handle = _HANDLERS.get(message.kind, Gatherer._other)
            found = handle(self, message)
            if found is not None:
                yield found
        if self._open is not None and not self._bordered:
            yield self._close(self._open)
            self._open = None

    def left(self) -> list[Group]:
        """Return what has no end so far, in no particular order, each with its problem."""
        groups = [*self._prepared.values(), *self._streams.values(), *([self._open] if self._open else [])]
        for group in groups:
            group.problem = group.problem or NOT_COMMITTED
            self._set_end(group, group.end.at if self._lsns or not group.last else group.last.end, ended=False)
        self._open, self._streams, self._prepared = None, {}, {}
        return groups

    _bordered = True  # the open group began with a begin

    def _broken_off(self) -> Group | None:
        """Return the open group, that something else follows: without its end, where it has one."""
        before, self._open = self._open, None
        if before is None:
            return None
        if self._bordered:
            before.problem = NOT_COMMITTED
        return self._close(before)

    def _begin(self, message: Message) -> Group | None:
        before = self._broken_off()
        self._open, self._bordered = Group(), True
        self._open.add(message)
        return before

    def _commit(self, message: Message) -> Group | None:
        group = self._open or Group()
        if self._open is None or not self._bordered:
            group.problem = BEGUN_BEFORE
        self._open = None
        if group.xid and message.xid and group.xid != message.xid:
            raise MalformedLog(f"the end of transaction {message.xid} in transaction {group.xid}", where=f"{self._name}:{message.start}")
        group.add(message)
        self._set_end(group, message.lsn if self._lsns else message.end, ended=True)
        return group

    def _close(self, group: Group) -> Group:
        last = group.last
        self._set_end(group, (last.lsn if self._lsns else last.end) if last else 0, ended=group.problem is None)
        return group

    def _set_end(self, group: Group, at: int, *, ended: bool) -> None:
        """Give a group its place: after all before it."""
        group.ended, group.by_offset = ended, group.whole and not self._lsns
        group.end = Place(max(at if ended and at else at or 1, self.last + (not ended)))
        if ended:
            self.last = group.end.at

    def _prepare(self, message: Message) -> Group | None:
        group = self._open or Group()
        self._open = None
        group.add(message)
        return self._keep(group, message)

    def _keep(self, group: Group, message: Message) -> Group | None:
        before = self._prepared.pop(message.gid, None)
        group.problem, group.whole = PREPARED, False
        group.end = Place(message.lsn if self._lsns else message.end)
        self._prepared[message.gid] = group
        self._check_open(message)
        return None if before is None else self._close(before)

    def _commit_prepared(self, message: Message) -> Group:
        group = self._prepared.pop(message.gid, None)
        if group is None:
            group = Group(problem=PREPARED_BEFORE if message.kind == COMMIT_PREPARED else None)
            group.add(message)
            self._set_end(group, message.lsn if self._lsns else message.end, ended=True)
            return group
        group.problem, group.rolled_back = None, message.kind == ROLLBACK_PREPARED
        group.time = None
        group.add(message)
        return self._close(group)

    def _stream_start(self, message: Message) -> Group | None:
        before = self._broken_off()
        self._stream = message.xid
        if message.xid not in self._streams:
            self._streams[message.xid] = Group(whole=False)
            self._check_open(message)
        self._streams[message.xid].add(message)
        return before

    def _stream_stop(self, message: Message) -> Group | None:
        group = self._streams.get(self._stream)
        self._stream = 0
        if group is None:
            return self._other(message)
        group.add(message)
        return None

    def _stream_abort(self, message: Message) -> Group | None:
        group = self._streams.get(message.xid)
        if group is None:
            return self._alone(message)
        group.add(message)
        if message.subxid and message.subxid != message.xid:
            group.aborted.add(message.subxid)
            return None
        del self._streams[message.xid]
        group.rolled_back = True
        return self._close(group)

    def _stream_end(self, message: Message) -> Group | None:
        group = self._streams.pop(message.xid, None)
        if group is None:
            group = Group(problem=NOT_COMMITTED if message.kind == STREAM_PREPARE else PREPARED_BEFORE)
        group.whole = False
        group.add(message)
        return self._keep(group, message) if message.kind == STREAM_PREPARE else self._close(group)

    def _other(self, message: Message) -> Group | None:
        if self._stream:
            self._streams[self._stream].add(message)
            return None
        if self._open is None and (message.kind not in OPERATIONS or self._lsns or not message.xid):
            return self._alone(message)
        if self._open is None or (not self._bordered and self._open.xid != message.xid):
            before, self._open, self._bordered = self._open, Group(), False
            self._open.add(message)
            return None if before is None else self._close(before)
        self._open.add(message)
        return None

    def _alone(self, message: Message) -> Group:
        """Return a group of what is outside of any transaction, or of one whose begin the log does not have."""
        group = Group(inside=bool(message.xid) and message.kind in OPERATIONS)
        group.add(message)
        return self._close(group)

    def _check_open(self, message: Message) -> None:
        if len(self._streams) + len(self._prepared) > OPEN_MAX:
            raise UnsupportedLog(f"more than {OPEN_MAX} transactions that are streamed or prepared", where=f"{self._name}:{message.start}")


_HANDLERS: dict[str, Any] = {
    BEGIN: Gatherer._begin,  # noqa: SLF001 - a table of this class
    COMMIT: Gatherer._commit,  # noqa: SLF001
    PREPARE: Gatherer._prepare,  # noqa: SLF001
    COMMIT_PREPARED: Gatherer._commit_prepared,  # noqa: SLF001
    ROLLBACK_PREPARED: Gatherer._commit_prepared,  # noqa: SLF001
    STREAM_START: Gatherer._stream_start,  # noqa: SLF001
    STREAM_STOP: Gatherer._stream_stop,  # noqa: SLF001
    STREAM_ABORT: Gatherer._stream_abort,  # noqa: SLF001
    STREAM_COMMIT: Gatherer._stream_end,  # noqa: SLF001
    STREAM_PREPARE: Gatherer._stream_end,  # noqa: SLF001
}
