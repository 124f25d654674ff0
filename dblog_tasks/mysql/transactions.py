"""Transactions: the frames of a file gathered from a transaction's first event to its last. No logs are read here.

    a group is                                              and ends with
    a GTID and one statement (MariaDB: standalone)          the statement
    a GTID, BEGIN (MariaDB: none), changes                  XID, COMMIT, ROLLBACK
    BEGIN and changes without a GTID                        the same
    a GTID, XA START, changes, XA END                       XA PREPARE
    a GTID and a compressed payload                         the payload
    any other event outside of these                        itself

A group cut by the end of the file, a rotation or the next GTID was not committed. Until its end is known its bytes are held,
beyond HELD_MAX in a temporary file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from struct import Struct
import tempfile
from typing import IO, Any
from weakref import finalize

from dblog_tasks import ledger as words
from dblog_tasks.errors import MalformedLog, UnsupportedLog
from dblog_tasks.event import Omission, Position, Transaction
from dblog_tasks.mysql import binlog, bodies, queries
from dblog_tasks.mysql.layout import LAYOUTS_MAX, Layout, Layouts
from dblog_tasks.mysql.rows import DELETE, INSERT, UPDATE

HELD_MAX = 64 << 20  # bytes of one transaction held in memory
STATEMENTS_MAX, STATEMENT_MAX = 3, 400  # texts a transaction keeps, characters each
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

NOT_COMMITTED = Omission(words.NOT_COMMITTED, "give the next log file too")
PREPARED = Omission("prepared XA transaction", "its COMMIT or ROLLBACK is a transaction of its own")
ROLLED_BACK_IN_PART = Omission("rolled back in part (ROLLBACK TO SAVEPOINT)", "the log has changes that were taken back: undo it by hand")
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
STATEMENT, DEFINITION, INCIDENT, PAYLOAD = "statement", "definition", "incident", "payload"
WHOLE: Mapping[int, str] = {
    6: STATEMENT,
    10: STATEMENT,
    12: STATEMENT,
    binlog.EXECUTE_LOAD_QUERY: STATEMENT,
    binlog.INCIDENT: INCIDENT,
    binlog.TRANSACTION_PAYLOAD: PAYLOAD,
}
_QUERY_OPERATIONS = {queries.DATA: STATEMENT, queries.DEFINITION: DEFINITION}
_GTIDS = frozenset({binlog.GTID, binlog.ANONYMOUS_GTID, binlog.GTID_TAGGED, binlog.MARIADB_GTID})
_QUERIES = frozenset({binlog.QUERY, binlog.QUERY_COMPRESSED})
_TEXTS = frozenset({binlog.ROWS_QUERY, binlog.ANNOTATE_ROWS})
_ALONE = frozenset(
    {
        binlog.FORMAT_DESCRIPTION,
        binlog.ROTATE,
        binlog.STOP,
        binlog.PREVIOUS_GTIDS,
        binlog.MARIADB_GTID_LIST,
        binlog.BINLOG_CHECKPOINT,
        binlog.HEARTBEAT,
        41,
    }
)


Touch = tuple[Layout | None, str, int]


class Group:
    """A transaction being gathered, or a single event outside of any (`id` None).

    Attributes:
        id: GTID, else the position where it starts; None for an event outside of transactions.
        time: commit time in microseconds since 1970, else that of its last event.
        touched: how many events by layout, operation and type; layout None for what may change any table.
        problem: why it cannot be undone as a whole.
    """

    def __init__(self, start: int) -> None:
        self.id: str | None = None
        self.start = start
        self.end = start
        self.time = 0
        self.count = 0
        self.touched: dict[Touch, int] = {}
        self.problem: Omission | None = NOT_COMMITTED
        self.gtid = bodies.Gtid("")
        self.xid = 0
        self.thread = 0
        self.rolled_back_in_part = False
        self.statements: list[str] = []
        self.also_touched: tuple[str, ...] = ()
        self._frames: list[binlog.Frame] = []
        self._held = 0
        self._spilled: IO[bytes] | None = None
        self._spilled_start = 0
        self._info: Transaction | None = None

    def add(self, frame: binlog.Frame) -> None:
        """Take in the next event."""
        self._frames.append(frame)
        self.count += 1
        self.end = frame.end
        self.time = self.gtid.committed or frame.timestamp * 1_000_000
        self._held += frame.size
        if self._held > HELD_MAX:
            self._spill()

    def touch(self, touch: Touch) -> None:
        """Count an event that changed something."""
        self.touched[touch] = self.touched.get(touch, 0) + 1

    def _spill(self) -> None:
        if self._spilled is None:
            self._spilled = tempfile.TemporaryFile(prefix="dblog-")  # noqa: SIM115 - lives as long as the group
            finalize(self, self._spilled.close)
            self._spilled_start = self._frames[0].start
        for frame in self._frames:
            self._spilled.write(Struct("<I").pack(frame.size - (frame.body_end - frame.at)) + frame.raw)
        self._frames, self._held = [], 0

    def __iter__(self) -> Iterator[binlog.Frame]:
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
        named = (self.gtid.gtid, f"{file}:{self.start}", str(self.xid) if self.xid else "")
        return () if self.id is None else tuple(name for name in named if name)

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


class Gatherer:
    """Puts the frames of one file into groups.

    `layout_of` and `operation_of` say of a frame that was just seen what table it concerns and what it does; they are also used
    when a group's frames are gone through again.
    """

    def __init__(self, file: str, layouts: Layouts) -> None:
        self._file = file
        self._layouts = layouts
        self._maps: dict[bytes, Layout] = {}
        self._group: Group | None = None
        self._open = False  # inside BEGIN … COMMIT

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
            ending = self._take(group, frame, kind)
            if ending is not None:
                yield self._finish(None if ending is _COMMITTED else ending)
        if self._group is not None:
            yield self._finish(NOT_COMMITTED)
        if errors:
            raise errors[0]

    def _take(self, group: Group, frame: binlog.Frame, kind: int) -> Omission | None:
        """Note what an event says of its transaction; return how the transaction ends when it does with this event."""
        if kind == binlog.TABLE_MAP:
            self.layout_of(frame)
        elif kind in ROWS:
            if frame.body_end - frame.at < binlog.HEADER_SIZE + 8:
                raise MalformedLog("a rows event ends before its table id and flags", where=f"{self._file}:{frame.start}")
            group.touch((self.layout_of(frame), ROWS[kind], kind))
            if not self._open and frame.data[frame.at + binlog.HEADER_SIZE + 6] & 1:  # last of its statement, and no BEGIN before
                return _COMMITTED
        elif kind == binlog.XID:
            group.xid = self._body(frame).xid
            return _COMMITTED
        elif kind in _QUERIES:
            return self._query(group, frame)
        elif kind in _TEXTS:
            group.say(self._body(frame).text)
        elif kind in _GTIDS:
            self._gtid(group, self._body(frame))
        elif kind in WHOLE:
            group.touch((None, WHOLE[kind], kind))
            return _COMMITTED if kind == binlog.TRANSACTION_PAYLOAD or not self._open else None
        elif kind == binlog.XA_PREPARE:
            return _COMMITTED if self._body(frame).one_phase else PREPARED
        elif kind not in binlog.EVENT_NAMES and not frame.flags & binlog.FLAG_IGNORABLE:
            raise UnsupportedLog(
                f"event type {kind} is not known: it may change anything",
                where=f"{self._file}:{frame.start}",
                hint="the server is newer than MySQL 9.7 or MariaDB 11.8",
            )
        elif not self._open and kind not in _BEFORE_STATEMENT:
            return _COMMITTED
        return None

    def _gtid(self, group: Group, gtid: bodies.Gtid) -> None:
        group.gtid, group.thread = gtid, gtid.thread
        group.id = gtid.gtid or group.id
        self._open = bool(gtid.gtid) and not gtid.standalone and self._is_mariadb(gtid)

    @staticmethod
    def _is_mariadb(gtid: bodies.Gtid) -> bool:
        """MariaDB's GTID stands for BEGIN; MySQL writes one."""
        return ":" not in gtid.gtid

    def _query(self, group: Group, frame: binlog.Frame) -> Omission | None:
        query = self._body(frame)
        group.thread = group.thread or query.thread
        kind = queries.classify(query.text)
        if kind in (queries.BEGIN, queries.XA_START):
            self._open = True
        elif kind in _QUERY_OPERATIONS:
            group.touch((None, _QUERY_OPERATIONS[kind], frame.type))
            group.say(query.text)
            self._open = self._open or queries.starts_transaction(query.text)
        group.rolled_back_in_part |= kind == queries.ROLLBACK_TO
        ending = _ENDINGS.get(kind)
        if ending is not None:
            return ending
        return None if self._open else _COMMITTED

    def _begin(self, frame: binlog.Frame) -> Group:
        if len(self._maps) >= LAYOUTS_MAX:  # a transaction brings its own table maps
            self._maps.clear()
        self._group = Group(frame.start)
        self._group.id = f"{self._file}:{frame.start}"
        self._open = False
        return self._group

    def _alone(self, frame: binlog.Frame) -> Group:
        group = Group(frame.start)
        group.add(frame)
        group.problem = None
        return group

    def _finish(self, problem: Omission | None) -> Group:
        group, self._group, self._open = self._group, None, False
        assert group is not None  # noqa: S101 - for the type checker: callers have looked
        group.problem = ROLLED_BACK_IN_PART if problem is None and group.rolled_back_in_part else problem
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
            return self._maps.get(table_id)
        found = self._layouts.find(frame.data[at + 8 : frame.body_end], f"{self._file}:{frame.start}")
        self._maps[table_id] = found
        return found

    def operation_of(self, frame: binlog.Frame) -> str | None:
        """Return what an event does: insert, update, delete, one of this module's words, or None for structure."""
        if frame.type in _QUERIES:
            return _QUERY_OPERATIONS.get(queries.classify(self._body(frame).text))
        return ROWS.get(frame.type) or WHOLE.get(frame.type)


_BEFORE_STATEMENT = frozenset({binlog.INTVAR, binlog.RAND, binlog.USER_VAR, binlog.BEGIN_LOAD_QUERY, 9, binlog.TABLE_MAP, *_TEXTS, *_GTIDS})
_COMMITTED = Omission("")  # an ending that is no problem
_ENDINGS: Mapping[str, Omission] = {
    queries.COMMIT: _COMMITTED,
    queries.ROLLBACK: ROLLED_BACK,
    queries.XA_COMMIT: _COMMITTED,
    queries.XA_ROLLBACK: _COMMITTED,
}
