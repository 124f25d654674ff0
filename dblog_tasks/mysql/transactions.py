"""Transactions: the frames of a file gathered from a transaction's first event to its last. No logs are read here.

    a group is                                              and ends with
    a GTID and one statement (MariaDB: standalone)          the statement
    a GTID, BEGIN (MariaDB: none), changes                  XID, COMMIT, ROLLBACK
    BEGIN and changes without a GTID                        the same
    a GTID, XA START, changes, XA END                       XA PREPARE
    a GTID and a compressed payload                         the payload
    any other event outside of these                        itself

A group cut by the end of the file, a rotation or the next GTID was not committed. Until its end is known its bytes are held,
beyond HELD_MAX in a temporary file; those of a compressed payload as they are, opened when they are gone through.

Rows of tables without transactions are logged apart from a transaction's (`engines_apart`). So what the log takes back, up to a
savepoint or as a whole, was taken back as far as it stands in rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from struct import Struct
from typing import IO, TYPE_CHECKING, Any
from weakref import finalize

from dblog_tasks import ledger as words
from dblog_tasks.errors import MalformedLog, UnsupportedLog
from dblog_tasks.event import JsonObject, Omission, Position, Transaction
from dblog_tasks.mysql import binlog, bodies, payload, queries
from dblog_tasks.mysql.layout import LAYOUTS_MAX, Layout, Layouts
from dblog_tasks.mysql.rows import DELETE, INSERT, UPDATE
from dblog_tasks.mysql.values import Memo

if TYPE_CHECKING:
    from dblog_tasks.mysql.xa import Outcome

HELD_MAX = 64 << 20  # bytes of one transaction held in memory
STATEMENTS_MAX, STATEMENT_MAX = 3, 400  # texts a transaction keeps, characters each
SAVEPOINTS_MAX = 1000  # savepoints, and ranges that were taken back, a transaction keeps; with more it is not undone
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

NOT_COMMITTED = Omission(words.NOT_COMMITTED, "give the next log file too")
PREPARED = Omission(words.PREPARED, "its COMMIT or ROLLBACK is not in these logs: give the next ones, or see XA RECOVER")
ROLLED_BACK_IN_PART = Omission("rolled back in part (ROLLBACK TO SAVEPOINT)", "the log has changes that were taken back: undo it by hand")
HEADLESS = Omission("the beginning of the transaction is not in this file", "undo it by hand: a relay log can divide a transaction")
ROLLED_BACK = Omission("rolled back", "changes to tables without transactions were kept: undo them by hand")

# Rows events by type: the operation of their rows.
ROWS: Mapping[int, str] = {
    20: INSERT,
    21: UPDATE,
    22: DELETE,
    binlog.WRITE_ROWS_V1: INSERT,
    binlog.UPDATE_ROWS_V1: UPDATE,
    binlog.DELETE_ROWS_V1: DELETE,
    binlog.WRITE_ROWS_V2: INSERT,
    binlog.UPDATE_ROWS_V2: UPDATE,
    binlog.DELETE_ROWS_V2: DELETE,
    binlog.PARTIAL_UPDATE_ROWS: UPDATE,
    binlog.WRITE_ROWS_COMPRESSED: INSERT,
    binlog.UPDATE_ROWS_COMPRESSED: UPDATE,
    binlog.DELETE_ROWS_COMPRESSED: DELETE,
}
# What may have changed any table: the operation of such an event.
STATEMENT, DEFINITION, INCIDENT = "statement", "definition", "incident"
WHOLE: Mapping[int, str] = {
    6: STATEMENT,
    10: STATEMENT,
    12: STATEMENT,
    binlog.EXECUTE_LOAD_QUERY: STATEMENT,
    binlog.INCIDENT: INCIDENT,
}
_QUERY_OPERATIONS = {queries.DATA: STATEMENT, queries.DEFINITION: DEFINITION}
_GTIDS = frozenset({binlog.GTID, binlog.ANONYMOUS_GTID, binlog.GTID_TAGGED, binlog.MARIADB_GTID})
_QUERIES = frozenset({binlog.QUERY, binlog.QUERY_COMPRESSED})
_TEXTS = frozenset({binlog.ROWS_QUERY, binlog.ANNOTATE_ROWS})
_HEADS = frozenset({binlog.FORMAT_DESCRIPTION, binlog.PREVIOUS_GTIDS, binlog.MARIADB_GTID_LIST, binlog.BINLOG_CHECKPOINT})
_ALONE = _HEADS | {binlog.ROTATE, binlog.STOP, binlog.HEARTBEAT, binlog.HEARTBEAT_V2}


Touch = tuple[Layout | None, str, int]
NO_GTID = bodies.Gtid("")


_TIMES: Memo[int, str] = Memo(lambda time: (EPOCH + timedelta(microseconds=time)).isoformat())


class Group:
    """A transaction being gathered, or a single event outside of any (`id` None).

    Attributes:
        id: GTID, else the position where it starts; None for an event outside of transactions.
        time: commit time in microseconds since 1970, else that of its last event.
        touched: how many events by layout, operation and type; layout None for what may change any table.
        problem: why it cannot be undone as a whole.
        packed: name of the file when a compressed payload is in it, else empty.
        xa: id of the XA transaction it prepares, or ends in another transaction's place; None when it does neither.
        commits: it ends that by a commit.
        outcome: GTID of that transaction's end, where the log has one.
        taken_back: ranges of its events, by their number from 0 on, whose rows were rolled back: `touched` leaves them out.
        rows_taken_back: how many rows events these are.
        changes: its events that changed something, with what they touched; None where its events have to be gone through for them.
    """

    # What few transactions have, and most leave as it is here.
    problem: Omission | None
    xid = thread = 0
    packed = outcome = ""
    xa: queries.XaId | None = None
    commits = rolled_back_in_part = headless = False
    taken_back: tuple[tuple[int, int], ...] = ()
    rows_taken_back = 0
    also_touched: tuple[str, ...] = ()
    _savepoints: dict[bytes, tuple[int, dict[Touch, int]]] | None = None
    _spilled: IO[bytes] | None = None
    _spilled_start = 0
    _info: Transaction | None = None

    def __init__(self, start: int) -> None:
        self.id: str | None = None
        self.start = start
        self.end = start
        self.time = 0
        self.count = 0
        self._last: binlog.Frame
        self.touched: dict[Touch, int] = {}
        self.changes: list[tuple[binlog.Frame, Touch]] | None = []
        self.problem = NOT_COMMITTED
        self.gtid = NO_GTID
        self.statements: list[str] = []
        self._frames: list[binlog.Frame] = []
        self._held = 0

    def add(self, frame: binlog.Frame) -> None:
        """Take in the next event."""
        self._frames.append(frame)
        self._last = frame
        self.count += 1
        self._held += frame.size
        if self._held > HELD_MAX:
            self._spill()

    def close(self, problem: Omission | None) -> None:
        """Note that no more events come: they end and were committed with the last one."""
        self.end = self._last.end
        self.time = self.gtid.committed or self._last.timestamp * 1_000_000
        self.problem = problem

    def touch(self, frame: binlog.Frame, touch: Touch) -> None:
        """Count an event that changed something."""
        self.touched[touch] = self.touched.get(touch, 0) + 1
        if self.changes is not None:
            self.changes.append((frame, touch))

    def _spill(self) -> None:
        if self._spilled is None:
            import tempfile  # noqa: PLC0415 - seldom needed

            self._spilled = tempfile.TemporaryFile(prefix="dblog-")  # noqa: SIM115 - lives as long as the group
            finalize(self, self._spilled.close)
            self._spilled_start = self._frames[0].start
            self.changes = None
        for frame in self._frames:
            self._spilled.write(Struct("<I").pack(frame.size - (frame.body_end - frame.at)) + frame.raw)
        self._frames, self._held = [], 0

    def save(self, name: bytes) -> None:
        """Keep a savepoint."""
        self._savepoints = {} if self._savepoints is None else self._savepoints
        if name in self._savepoints or len(self._savepoints) < SAVEPOINTS_MAX:
            self._savepoints[name] = self.count, dict(self.touched)

    def saved(self, name: bytes) -> tuple[int, dict[Touch, int]] | None:
        """Return how many events came before a savepoint and what they touched; None when it was not kept."""
        return self._savepoints.get(name) if self._savepoints else None

    def take_back(self, start: int, touched: dict[Touch, int]) -> None:
        """Note that the rows of all events from number `start` on were rolled back; `touched` is what was touched before them."""
        self.taken_back = (*(found for found in self.taken_back if found[0] < start), (start, self.count))
        rows = {touch: count for touch, count in self.touched.items() if touch[2] in ROWS}
        kept = {touch: count for touch, count in touched.items() if touch in rows}
        self.rows_taken_back += sum(rows.values()) - sum(kept.values())
        self.touched = {touch: count for touch, count in self.touched.items() if touch not in rows} | kept
        self.changes = None

    def end_with(self, outcome: Outcome) -> None:
        """Take in how the transaction that was prepared here ended: its time is that of its commit."""
        self.problem, self.outcome, self.time = None, outcome.gtid, outcome.time
        if not outcome.committed:
            self.take_back(0, {})

    def standing(self) -> Iterator[binlog.Frame]:
        """Yield the events but the rows that were taken back."""
        for number, frame in enumerate(self):
            if frame.type not in ROWS or not any(start <= number < end for start, end in self.taken_back):
                yield frame

    def __iter__(self) -> Iterator[binlog.Frame]:
        """All events; what a compressed payload holds before the event that holds it, as positions have it."""
        if not self.packed:
            return self.outer()
        return self._opened()

    def _opened(self) -> Iterator[binlog.Frame]:
        for frame in self.outer():
            if frame.type == binlog.TRANSACTION_PAYLOAD:
                yield from payload.events(frame, self.packed)
            yield frame

    def outer(self) -> Iterator[binlog.Frame]:
        """Yield the events as they lie in the log."""
        if self._spilled is not None:
            self._spilled.seek(0)
            yield from _spilled_frames(self._spilled, self._spilled_start)
        yield from self._frames

    @property
    def when(self) -> datetime:
        """Commit time, else the time of the last event."""
        return EPOCH + timedelta(microseconds=self.time)

    def names(self, file: str) -> tuple[str, ...]:
        """Return all that the transaction can be named by."""
        named = (self.gtid.gtid, f"{file}:{self.start}", str(self.xid) if self.xid else "", str(self.xa) if self.xa else "", self.outcome)
        return () if self.id is None else tuple([name for name in named if name])

    def info(self, file: str) -> Transaction | None:
        """Return what there is to know of the transaction; None outside one."""
        if self._info is None and self.id is not None:
            self._info = Transaction(
                self.id,
                Position("mysql", f"{file}:{self.start}"),
                Position("mysql", f"{file}:{self.end}"),
                self.when,
                self.names(file),
                self.thread,
                tuple(self.statements),
                self.also_touched,
                self.problem,
            )
        return self._info

    def described(self, file: str) -> JsonObject:
        """Return what a plan says of the transaction: `info` as JSON, got without it."""
        return {
            "id": self.id,
            "start": f"{file}:{self.start}",
            "end": f"{file}:{self.end}",
            "time": _TIMES[self.time],
            "names": self.names(file),
            "thread": self.thread,
            "statements": self.statements,
            "also_touched": self.also_touched,
        }

    def say(self, text: bytes) -> None:
        """Keep the text of a statement, when it is among the first and new."""
        if len(self.statements) < STATEMENTS_MAX:
            shown = text[:STATEMENT_MAX].decode("utf-8", "replace")
            if shown not in self.statements:
                self.statements.append(shown)


def _spilled_frames(file: IO[bytes], start: int) -> Iterator[binlog.Frame]:
    header = Struct("<IBIIIH")
    while sizes := file.read(4):
        head = file.read(binlog.HEADER_SIZE)
        timestamp, event_type, server, size, _, flags = header.unpack(head)
        data = head + file.read(size - binlog.HEADER_SIZE)
        start += size
        yield binlog.Frame(event_type, timestamp, server, flags, start, data, 0, size, size - Struct("<I").unpack(sizes)[0])


def _until_error(frames: Iterable[binlog.Frame], errors: list[MalformedLog | UnsupportedLog]) -> Iterator[binlog.Frame]:
    """Yield the frames; keep the error that ends them for later."""
    try:
        yield from frames
    except (MalformedLog, UnsupportedLog) as error:
        errors.append(error)


def engines_apart(version: str) -> bool:
    """Return whether a server of this version logs rows of tables without transactions apart from transactions: all from 5.5.9 on."""
    return not version or binlog.version_numbers(version) >= (5, 5, 9)


class Gatherer:
    """Puts the frames of one file into groups.

    `layout_of` and `operation_of` say of a frame that was just seen what table it concerns and what it does; they are also used
    when a group's frames are gone through again. `between`: the next frame begins a group.
    """

    @property
    def between(self) -> bool:
        return self._group is None

    def __init__(self, file: str, layouts: Layouts, version: str = "") -> None:
        """`version` is that of the server; empty: any of today's."""
        self._file = file
        self._engines_apart = engines_apart(version)
        self._layouts = layouts
        self.maps: dict[bytes, Layout] = {}  # by table id
        self._group: Group | None = None
        self._open = False  # inside BEGIN … COMMIT
        self._takes: Mapping[int, Callable[[Group, binlog.Frame], Omission | None]] = {
            **dict.fromkeys(ROWS, self._rows),
            **dict.fromkeys(WHOLE, self._whole),
            **dict.fromkeys(_QUERIES, self._query),
            **dict.fromkeys(_TEXTS, self._text),
            **dict.fromkeys(_GTIDS, self._gtid),
            binlog.TABLE_MAP: self._table_map,
            binlog.XID: self._xid,
            binlog.TRANSACTION_PAYLOAD: self._payload,
            binlog.XA_PREPARE: self._prepare,
        }

    def gather(self, frames: Iterable[binlog.Frame]) -> Iterator[Group]:
        """Yield the groups in order; the last one may be unfinished (`problem` NOT_COMMITTED), also before an error of `frames`."""
        errors: list[MalformedLog | UnsupportedLog] = []
        for frame in _until_error(frames, errors):
            kind = frame.type
            if kind in _GTIDS or kind in _ALONE:
                if self._group is not None:
                    yield self._finish(NOT_COMMITTED)
                if kind in _ALONE:
                    yield self._alone(frame)
                    continue
            group = self._group or self._begin(frame)
            group.add(frame)
            ending = self._take(group, frame)
            if ending is not None:
                yield self._finish(None if ending is _COMMITTED else ending)
        if self._group is not None:
            yield self._finish(NOT_COMMITTED)
        if errors:
            raise errors[0]

    def _take(self, group: Group, frame: binlog.Frame) -> Omission | None:
        """Note what an event says of its transaction; return how the transaction ends when it does with this event."""
        take = self._takes.get(frame.type)
        if take is not None:
            return take(group, frame)
        if frame.type not in binlog.EVENT_NAMES and not frame.flags & binlog.FLAG_IGNORABLE:
            raise UnsupportedLog(
                f"event type {frame.type} is not known: it may change anything",
                where=f"{self._file}:{frame.start}",
                hint="the server is newer than MySQL 9.7 or MariaDB 11.8",
            )
        return None if self._open or frame.type in _BEFORE_STATEMENT else _COMMITTED

    def _table_map(self, group: Group, frame: binlog.Frame) -> None:
        self.layout_of(frame)

    def _rows(self, group: Group, frame: binlog.Frame) -> Omission | None:
        if frame.body_end - frame.at < binlog.HEADER_SIZE + 8:
            raise MalformedLog("a rows event ends before its table id and flags", where=f"{self._file}:{frame.start}")
        group.touch(frame, (self.layout_of(frame), ROWS[frame.type], frame.type))
        return None if self._open else self._without_begin(group, frame)

    def _xid(self, group: Group, frame: binlog.Frame) -> Omission:
        at = frame.at + binlog.HEADER_SIZE
        whole = at + 8 <= frame.body_end
        group.xid = int.from_bytes(frame.data[at : at + 8], "little") if whole else self._body(frame).xid
        return _COMMITTED

    def _text(self, group: Group, frame: binlog.Frame) -> None:
        group.say(self._body(frame).text)

    def _whole(self, group: Group, frame: binlog.Frame) -> Omission | None:
        group.touch(frame, (None, WHOLE[frame.type], frame.type))
        return None if self._open else _COMMITTED

    def _without_begin(self, group: Group, frame: binlog.Frame) -> Omission | None:
        """Rows outside of a transaction: old servers log such, of newer ones it is the rest of one that another file begins."""
        if not self._engines_apart:
            return _COMMITTED if frame.data[frame.at + binlog.HEADER_SIZE + 6] & 1 else None  # ends with its statement
        self._open = group.headless = True
        return None

    def _payload(self, group: Group, frame: binlog.Frame) -> Omission | None:
        """Take in what a compressed payload holds; a transaction that ends in it ends with it."""
        group.packed, group.changes = self._file, None
        group.count -= 1  # the payload comes behind what it holds
        ending: Omission | None = None
        for inner in payload.events(frame, self._file):
            if ending is not None:
                raise MalformedLog("a compressed transaction goes on after its end", where=f"{self._file}:{frame.start}")
            group.count += 1
            ending = self._take(group, inner)
        group.count += 1
        return ending

    def _prepare(self, group: Group, frame: binlog.Frame) -> Omission:
        prepared: bodies.XaPrepare = self._body(frame)
        if prepared.one_phase:
            return _COMMITTED
        group.xa = queries.XaId(prepared.format_id, prepared.gtrid, prepared.bqual)
        return PREPARED

    def _gtid(self, group: Group, frame: binlog.Frame) -> None:
        gtid: bodies.Gtid = self._body(frame)
        group.gtid, group.thread = gtid, gtid.thread
        group.id = gtid.gtid or group.id
        self._open = bool(gtid.gtid) and not gtid.standalone and ":" not in gtid.gtid  # MariaDB's stands for BEGIN; MySQL writes one

    def _query(self, group: Group, frame: binlog.Frame) -> Omission | None:
        query = self._body(frame)
        group.thread = group.thread or query.thread
        kind = queries.classify(query.text)
        if kind in (queries.BEGIN, queries.XA_START):
            self._open = True
        elif kind in _QUERY_OPERATIONS:
            group.touch(frame, (None, _QUERY_OPERATIONS[kind], frame.type))
            group.say(query.text)
            self._open = self._open or queries.starts_transaction(query.text)
        elif kind in _TAKES_BACK:
            self._take_back(group, kind, query.text)
        if kind in _XA_ENDS and not (group.touched or group.rows_taken_back):
            group.xa, group.commits = queries.xa_id(query.text), kind == queries.XA_COMMIT
        ending = _ENDINGS.get(kind)
        if ending is not None:
            return ending
        return None if self._open else _COMMITTED

    def _take_back(self, group: Group, kind: str, text: bytes) -> None:
        """Keep savepoints; note what a ROLLBACK takes back, or that it cannot be told."""
        name = queries.savepoint(text)
        if kind == queries.SAVEPOINT:
            if name is not None:
                group.save(name)
            return
        known = group.saved(name or b"") if kind == queries.ROLLBACK_TO else (0, dict[Touch, int]())
        if known is None or not self._engines_apart or len(group.taken_back) >= SAVEPOINTS_MAX:
            group.rolled_back_in_part = kind == queries.ROLLBACK_TO or group.rolled_back_in_part
        else:
            group.take_back(*known)

    def _begin(self, frame: binlog.Frame) -> Group:
        if len(self.maps) >= LAYOUTS_MAX:  # a transaction brings its own table maps
            self.maps.clear()
        self._group = Group(frame.start)
        self._group.id = f"{self._file}:{frame.start}"
        self._open = False
        return self._group

    def _alone(self, frame: binlog.Frame) -> Group:
        group = Group(frame.start)
        group.add(frame)
        group.close(None)
        return group

    def _finish(self, problem: Omission | None) -> Group:
        group, self._group, self._open = self._group, None, False
        assert group is not None  # noqa: S101 - for the type checker: callers have looked
        group.close(ROLLED_BACK_IN_PART if problem is None and group.rolled_back_in_part else problem)
        if problem is None and group.headless:
            group.problem = HEADLESS
        if problem is ROLLED_BACK and group.taken_back:
            group.problem = None
        if not (group.gtid.gtid or group.touched or group.xid or group.count > 1):
            group.id, group.problem = None, None
        return group

    def _body(self, frame: binlog.Frame) -> Any:
        return bodies.read_body(frame, f"{self._file}:{frame.start}")

    def layout_of(self, frame: binlog.Frame) -> Layout | None:
        """Return the table of a rows event or table map; None when no table map came before."""
        at = frame.at + binlog.HEADER_SIZE
        table_id = frame.data[at : at + 6]
        if frame.type != binlog.TABLE_MAP:
            return self.maps.get(table_id)
        found = self._layouts.find(frame.data[at + 8 : frame.body_end], f"{self._file}:{frame.start}")
        self.maps[table_id] = found
        return found

    def operation_of(self, frame: binlog.Frame) -> str | None:
        """Return what an event does: insert, update, delete, one of this module's words, or None for structure."""
        if frame.type in _QUERIES:
            return _QUERY_OPERATIONS.get(queries.classify(self._body(frame).text))
        return ROWS.get(frame.type) or WHOLE.get(frame.type)


_BEFORE_STATEMENT = frozenset({binlog.INTVAR, binlog.RAND, binlog.USER_VAR, binlog.BEGIN_LOAD_QUERY, 9, binlog.TABLE_MAP, *_TEXTS, *_GTIDS})
_TAKES_BACK = frozenset({queries.SAVEPOINT, queries.ROLLBACK_TO, queries.ROLLBACK, queries.XA_ROLLBACK})
_XA_ENDS = frozenset({queries.XA_COMMIT, queries.XA_ROLLBACK})
_COMMITTED = Omission("")  # an ending that is no problem
_ENDINGS: Mapping[str, Omission] = {
    queries.COMMIT: _COMMITTED,
    queries.ROLLBACK: ROLLED_BACK,
    queries.XA_COMMIT: _COMMITTED,
    queries.XA_ROLLBACK: ROLLED_BACK,
}


def instants(span: tuple[int, int]) -> tuple[datetime, datetime]:
    """Return two times, in microseconds since 1970, as such."""
    return EPOCH + timedelta(microseconds=span[0]), EPOCH + timedelta(microseconds=span[1])
