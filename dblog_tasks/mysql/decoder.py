"""From log files to events: transactions are put together, the selection is applied early, what is left out is counted.

Law: the only module under `mysql/` that reads storage. A transaction is judged when its end has been read, so that its outcome
and commit time are known for its first event already; until then it is held as undecoded bytes, beyond HELD_MAX on disk.
Memory does not grow with the log.

Position: `<file>:<offset of the event's end>`, ordered by the number in the file's name, then by offset.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from pathlib import PurePath
import re
import sys
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from zlib import error as ZlibError

from dblog_tasks import ledger as words, storage
from dblog_tasks.backend import OpenOptions, check_cancelled
from dblog_tasks.errors import InvalidCheckpoint, MalformedLog
from dblog_tasks.event import Checkpoint, Omission, Position, RowChanges, Source, Transaction
from dblog_tasks.filters import EVENT, ROW, TABLE, TRANSACTION, Predicate, bind_rows, reason_of, scope_of
from dblog_tasks.mysql import binlog, bodies
from dblog_tasks.mysql.layout import Layout, Layouts
from dblog_tasks.mysql.rows import UPDATE
from dblog_tasks.mysql.transactions import DEFINITION, EPOCH, INCIDENT, NOT_COMMITTED, PAYLOAD, ROWS, STATEMENT, Gatherer, Group, Touch

if TYPE_CHECKING:
    from dblog_tasks.mysql.catalog import Catalog

REPLAY_TABLE = "dblog_replay"  # written by our own replays, in the transaction of the undo
HEAD_SIZE = 4096  # enough for the first event of a file
_COMPRESSED = frozenset({binlog.WRITE_ROWS_COMPRESSED, binlog.UPDATE_ROWS_COMPRESSED, binlog.DELETE_ROWS_COMPRESSED})
_WITH_EXTRA = frozenset({binlog.WRITE_ROWS_V2, binlog.UPDATE_ROWS_V2, binlog.DELETE_ROWS_V2})
_BETWEEN_TRANSACTIONS = frozenset({binlog.GTID, binlog.ANONYMOUS_GTID, binlog.GTID_TAGGED, binlog.MARIADB_GTID, binlog.ROTATE, binlog.STOP})

# What is inside the filters and cannot be undone: by operation of a whole event, by type of a rows event.
WHOLE_PROBLEMS: Mapping[str, Omission] = {
    STATEMENT: Omission("statement format", "SET GLOBAL binlog_format=ROW for the future"),
    DEFINITION: Omission("schema change (DDL)", "restore the definition by hand before older changes are undone"),
    INCIDENT: Omission("incident: the server lost events", "restore from a backup up to here"),
    PAYLOAD: Omission("compressed transaction", "SET GLOBAL binlog_transaction_compression=OFF for the future"),
}
TYPE_PROBLEMS: Mapping[int, Omission] = {
    **dict.fromkeys((20, 21, 22), Omission("rows event of a server before 5.1.18", "")),
    binlog.PARTIAL_UPDATE_ROWS: Omission("partial JSON update", "SET GLOBAL binlog_row_value_options='' for the future"),
}
PARTIAL_IMAGE = Omission("partial row image", "SET GLOBAL binlog_row_image=FULL for the future")
NO_TABLE_MAP = Omission("rows without a table map", "the log was cut inside a statement")

_POSITION = re.compile(r"(?:(?P<file>.*):)?(?P<offset>[0-9]{1,20})", re.DOTALL)


def split_position(position: Position) -> tuple[str, int]:
    """Return file and offset of a position. Raises InvalidCheckpoint for another driver's or one that is none."""
    if position.driver not in ("", "mysql"):
        raise InvalidCheckpoint(f"checkpoint driver {position.driver!r} does not match 'mysql'")
    found = _POSITION.fullmatch(position.value)
    if found is None:
        raise InvalidCheckpoint(f"invalid position {position.value!r:.80}", hint="write <file>:<offset>, like mysql-bin.000007:4523")
    return found["file"] or "", int(found["offset"])


def position_key(position: Position) -> tuple[str, int, int]:
    """Return the sort key of a position: series, number of the file, offset."""
    file, offset = split_position(position)
    stem, _, number = file.rpartition(".")
    return (stem, int(number), offset) if number.isascii() and number.isdigit() else (file, 0, offset)


class BinlogEvent:
    """One event of a binary log (see `event.Event`), decoded when its body is asked for.

    Beyond the contract: `operation` (insert, update, delete; statement and definition for events that may change any table; None
    for structure), `transaction_info`, `omission` (why a change cannot be undone), `log` (identity of the file).
    """

    __slots__ = ("_body", "_decoder", "_frame", "_group", "_layout", "operation", "source")

    def __init__(self, decoder: FileDecoder, group: Group, frame: binlog.Frame, layout: Layout | None, operation: str | None) -> None:
        self.source = decoder.source
        self.operation = operation
        self._decoder = decoder
        self._group = group
        self._frame = frame
        self._layout = layout
        self._body: Any = None

    @property
    def position(self) -> Position:
        return Position("mysql", f"{self._decoder.name}:{self._frame.end}")

    @property
    def log(self) -> str:
        return self._decoder.identity

    @property
    def kind(self) -> str:
        return kind_name(self._frame.type)

    @property
    def raw(self) -> bytes:
        return self._frame.raw

    @property
    def time(self) -> datetime | None:
        return self._group.when

    @property
    def transaction(self) -> str | None:
        return self._group.id

    @property
    def transaction_info(self) -> Transaction | None:
        return self._group.info(self._decoder.name)

    @property
    def transaction_names(self) -> tuple[str, ...]:
        return self._group.names(self._decoder.name)

    @property
    def table(self) -> tuple[str, str] | None:
        return None if self._layout is None else self._layout.name

    @property
    def layout(self) -> Layout | None:
        """The table's layout, for the decoder."""
        return self._layout

    def keep(self, body: RowChanges) -> None:
        """Have the event stand for these of its rows only."""
        self._body = body

    @property
    def body(self) -> Any:
        if self._body is None:
            self._body = self._decoder.body(self._frame, self._layout)
        return self._body

    @property
    def omission(self) -> Omission | None:
        """Why this event's change cannot be undone; None when it can, or changed nothing."""
        if self.operation is None:
            return None
        if self._group.problem is not None:
            return self._group.problem
        if self.operation in WHOLE_PROBLEMS:
            return WHOLE_PROBLEMS[self.operation]
        return self.body if isinstance(self.body, Omission) else None

    def reverse(self) -> RowChanges | None:
        """Return what undoes the event's rows, last first; None where the log does not hold enough."""
        return self.body.reverse() if self.omission is None and isinstance(self.body, RowChanges) else None

    def __repr__(self) -> str:
        return f"<{self.kind} {self.position.value}>"


@dataclass(frozen=True, slots=True)
class Selection:
    """The predicates of `OpenOptions.selection`, by what they look at."""

    table: tuple[Predicate, ...]
    transaction: tuple[Predicate, ...]
    event: tuple[Predicate, ...]
    row: tuple[Predicate, ...]

    @classmethod
    def of(cls, predicates: Sequence[Predicate]) -> Selection:
        """Sort the predicates by scope."""
        return cls(*(tuple(found for found in predicates if scope_of(found) == scope) for scope in (TABLE, TRANSACTION, EVENT, ROW)))


def first_against(predicates: Sequence[Predicate], event: Any) -> str | None:
    """Return the ledger's word of the first predicate that does not hold; None when all do."""
    return next((reason_of(predicate) for predicate in predicates if not predicate(event)), None)


def _checked(frames: Iterable[binlog.Frame], start: int, stop: int | None, file: str) -> Iterator[binlog.Frame]:
    """Pass the frames on; raise InvalidCheckpoint when a bound lies inside an event or past the end."""
    waiting = sorted({bound for bound in (start, stop) if bound and bound > binlog.HEADER_SIZE}, reverse=True)
    end = 0
    for frame in frames:
        end = frame.end
        while waiting and waiting[-1] <= end:
            bound = waiting.pop()
            if bound not in (end, frame.start):
                raise InvalidCheckpoint(f"position {file}:{bound} lies inside an event", hint=f"events end at {frame.start} and {end}")
        yield frame
    if waiting and waiting[-1] > end:
        raise InvalidCheckpoint(f"position {file}:{waiting[-1]} is past the end of the file", hint=f"its last event ends at {end}")


class FileDecoder:
    """One file of a log: its groups, judged and decoded.

    Attributes:
        name: the file, as positions name it.
        identity: what tells the file from every other.
        format: what its format description says.
        source: whose log.
        end: offset after the last group that was dealt with.
    """

    def __init__(self, decoder: MySQLDecoder, name: str, head: bytes) -> None:
        self.name = name
        self.identity = binlog.identity(head, name)
        self.format = binlog.format_of(head, name)
        self.source = decoder.source
        self.end = 0
        self._decoder = decoder
        self._options = decoder.options
        self._ledger = decoder.options.ledger
        self._selection = decoder.selection
        self._catalog = decoder.catalog
        self._gatherer = Gatherer(name, decoder.layouts[self.format.mariadb])
        self._verdicts: dict[tuple[Layout | None, str | None, int], str | None] = {}
        self._structure_wanted = any(self._verdict(None, None, kind) is None for kind in binlog.EVENT_NAMES if kind not in ROWS)

    def events(self, blocks: Iterable[bytes], at: int, known: binlog.Format | None, start: int, stop: int | None) -> Iterator[BinlogEvent]:
        """Yield the selected events that end after `start`, up to `stop`; `at` is where `blocks` begin."""
        count = binlog.HeaderCount(at)
        frames = binlog.frames(count.watch(blocks), self.name, at=at, known=known)
        try:
            for group in self._gatherer.gather(_checked(frames, start, stop, self.name)):
                yield from self._judge(group, start, stop)
                self.end = group.end
                self._decoder.passed(self, group)
                if stop is not None and group.end >= stop:
                    return
        finally:
            self._ledger.total += count.finish(self.end)

    def _judge(self, group: Group, start: int, stop: int | None) -> Iterator[BinlogEvent]:
        """Yield what the selection keeps of a group; count the rest."""
        outside = words.BEFORE_START if group.end <= start else words.AFTER_STOP if stop is not None and group.start >= stop else None
        reason = outside or self._against_transaction(group)
        if reason is not None:
            self._ledger.not_needed[reason] += group.count
            return
        against = {touch: self._verdict(*touch) for touch in group.touched}
        if None not in against.values() and not self._structure_wanted:
            self._leave_out(group, against)
            return
        keep_all = self._options.whole_transactions and None in against.values()
        if not keep_all:
            group.also_touched = tuple(sorted({".".join(layout.name) for (layout, *_), reason in against.items() if reason and layout}))
        for frame in group:
            layout = self._gatherer.layout_of(frame) if frame.type in ROWS or frame.type == binlog.TABLE_MAP else None
            event = BinlogEvent(self, group, frame, layout, self._gatherer.operation_of(frame))
            reason = self._against_event(event, frame, start, stop, keep_all=keep_all)
            if reason is None:
                yield event
            else:
                self._ledger.not_needed[reason] += 1

    def _leave_out(self, group: Group, against: Mapping[Touch, str | None]) -> None:
        """Count a transaction of which nothing is wanted, without going through it again."""
        for touch, count in group.touched.items():
            self._ledger.not_needed[against[touch] or words.OTHER_FILTER] += count
        self._ledger.not_needed[words.STRUCTURE] += group.count - sum(group.touched.values())

    def _against_transaction(self, group: Group) -> str | None:
        """Return why a whole group is not needed, or None."""
        if not self._options.own_replays and any(layout and layout.name[1] == REPLAY_TABLE for layout, *_ in group.touched):
            return words.OWN_REPLAY
        if not self._selection.transaction:
            return None
        reason = first_against(self._selection.transaction, BinlogEvent(self, group, next(iter(group)), None, None))
        return words.STRUCTURE if reason and group.id is None else reason

    def _verdict(self, layout: Layout | None, operation: str | None, kind: int) -> str | None:
        """Return why events of this table, operation and type are not needed, or None; asked once each."""
        key = (layout, operation, kind)
        if key not in self._verdicts:
            self._verdicts[key] = first_against(self._selection.table, _Probe(kind_name(kind), operation, layout.name if layout else None))
        return self._verdicts[key]

    def _against_event(self, event: BinlogEvent, frame: binlog.Frame, start: int, stop: int | None, *, keep_all: bool) -> str | None:
        """Return why one event of a wanted transaction is not needed, or None."""
        if frame.end <= start:
            return words.BEFORE_START
        if stop is not None and frame.end > stop:
            return words.AFTER_STOP
        if keep_all:
            return None
        reason = self._verdict(event.layout, event.operation, frame.type) or first_against(self._selection.event, event)
        if reason is None and event.operation is not None and self._selection.row:
            reason = self._against_rows(event)
        return words.STRUCTURE if reason and event.operation is None else reason

    def _against_rows(self, event: BinlogEvent) -> str | None:
        """Keep the rows the row predicates hold for; return their word when none is left. What has no rows cannot be ruled out."""
        body = event.body
        if not isinstance(body, RowChanges):
            return None
        tests = [bind_rows(predicate, body.table) for predicate in self._selection.row]
        kept = [pair for pair in body.rows if all(test(*pair) for test in tests)]
        self._ledger.rows_not_needed += len(body.rows) - len(kept)
        event.keep(RowChanges(body.table, kept))
        return None if kept else reason_of(self._selection.row[0])

    def body(self, frame: binlog.Frame, layout: Layout | None) -> Any:
        """Return the body of an event: RowChanges, an Omission for rows that cannot be read, or what `bodies` makes of it."""
        where = f"{self.name}:{frame.start}"
        if frame.type in ROWS:
            return TYPE_PROBLEMS.get(frame.type) or self._rows(frame, layout, where)
        return layout.map if layout is not None else bodies.read_body(frame, where)

    def _rows(self, frame: binlog.Frame, layout: Layout | None, where: str) -> RowChanges | Omission:
        if layout is None:
            return NO_TABLE_MAP
        layout.prepare(self._catalog, where)
        if layout.problem is not None or layout.table is None or layout.reader is None:
            return layout.problem or NO_TABLE_MAP
        operation = ROWS[frame.type]
        data, at, end = frame.data, frame.at + binlog.HEADER_SIZE + 8, frame.body_end
        try:
            if frame.type in _WITH_EXTRA:
                at += int.from_bytes(data[at : at + 2], "little")
            count, at = bodies.read_length(data, at)
            width = (count + 7) // 8 * (2 if operation == UPDATE else 1)
            present, at = data[at : at + width], at + width
            if count != len(layout.map.columns) or at > end:
                raise MalformedLog(f"rows of {count} columns, the table map has {len(layout.map.columns)}", where=where)
            if not _all_present(present, count):
                return PARTIAL_IMAGE
            if frame.type in _COMPRESSED:
                data = bodies.inflate(data[at:end])
                at, end = 0, len(data)
        except (ValueError, IndexError, ZlibError) as error:
            raise MalformedLog(f"a rows event cannot be read: {error}", where=where) from None
        return RowChanges(layout.table, layout.reader.read(operation, data, at, end, where))


def _all_present(bitmaps: bytes, count: int) -> bool:
    """Whether every column is in every image; the bits after the last column mean nothing."""
    width = (count + 7) // 8
    full = (1 << count) - 1
    return all(int.from_bytes(bitmaps[at : at + width], "little") & full == full for at in range(0, len(bitmaps), width))


def kind_name(kind: int) -> str:
    """Return the server's name of an event type."""
    return binlog.EVENT_NAMES.get(kind, f"UNKNOWN_EVENT_{kind}")


@dataclass(frozen=True, slots=True)
class _Probe:
    """What predicates of the scope `table` look at."""

    kind: str
    operation: str | None
    table: tuple[str, str] | None


class MySQLDecoder:
    """A binary log being read: one file, or several of a series as one.

    Attributes:
        options: as given.
        source: whose log.
        files: the files in log order; empty for a reader.
    """

    def __init__(self, options: OpenOptions) -> None:
        self.options = options
        self.selection = Selection.of(options.selection)
        self.catalog = _catalog(options)
        self.layouts = {mariadb: Layouts(mariadb=mariadb) for mariadb in (False, True)}
        self.files = () if options.reader else storage.find_logs(options.paths, options.storage_options)
        self.source = options.source if options.source.name else Source(options.source.driver or "mysql", self._name())
        self._start = self._bound(options.checkpoint.position)
        self._stop = self._bound(options.stop)
        self.checkpoint = options.checkpoint
        self._earliest, self._latest = sys.maxsize, -1  # microseconds

    @property
    def span(self) -> tuple[datetime, datetime] | None:
        """Commit times of the first and the last transaction so far, of all in the log; None before the first."""
        if self._latest < 0:
            return None
        return EPOCH + timedelta(microseconds=self._earliest), EPOCH + timedelta(microseconds=self._latest)

    def passed(self, file: FileDecoder, group: Group) -> None:
        """Note that a group was dealt with: reading can go on after it, unless its end is missing."""
        if group.problem is not NOT_COMMITTED:
            self.checkpoint = Checkpoint(self.source, Position("mysql", f"{file.name}:{group.end}"), file.identity)
        if group.id is not None:
            self._earliest = min(self._earliest, group.time)
            self._latest = max(self._latest, group.time)

    def _name(self) -> str:
        return self.files[0].name.rpartition(".")[0] or self.files[0].name if self.files else ""

    def _bound(self, position: Position) -> tuple[int, int] | None:
        """Return a position as (index of its file, offset); None for the empty one."""
        if not position:
            return None
        name, offset = split_position(position)
        if not name and (len(self.files) == 1 or self.options.reader):
            return 0, offset
        for index, file in enumerate(self.files):
            if file.name == name:
                return index, offset
        held = f"{self.files[0].name} to {self.files[-1].name}" if self.files else "a stream without a name"
        raise InvalidCheckpoint(f"position {position.value} is not in this log", hint=f"it holds {held}")

    def __iter__(self) -> Iterator[BinlogEvent]:
        if self.options.reader is not None:
            blocks = iter(lambda: self.options.reader.read(1 << 20), b"")  # type: ignore[union-attr]
            yield from self._stream(blocks)
            return
        first = self._start[0] if self._start else 0
        last = self._stop[0] if self._stop else len(self.files) - 1
        for index in range(first, last + 1):
            yield from self._file(index)

    def _stream(self, blocks: Iterator[bytes]) -> Iterator[BinlogEvent]:
        head = next(blocks, b"")
        name = PurePath(str(getattr(self.options.reader, "name", "") or "stream")).name
        file = FileDecoder(self, name, head)
        yield from file.events(chain([head], blocks), 0, None, self._start[1] if self._start else 0, self._stop[1] if self._stop else None)

    def _file(self, index: int) -> Iterator[BinlogEvent]:
        """Yield the events of one file, from the checkpoint on when it lies in it."""
        file, options = self.files[index], self.options
        check_cancelled(options.cancel)
        head = storage.head(file, options.storage_options, HEAD_SIZE)
        decoder = FileDecoder(self, file.name, head)
        start = self._start[1] if self._start and self._start[0] == index else 0
        stop = self._stop[1] if self._stop and self._stop[0] == index else None
        at, known = 0, None
        if start:
            if options.checkpoint.log and options.checkpoint.log != decoder.identity:
                raise InvalidCheckpoint(
                    f"the checkpoint is of another log than {file.name}",
                    hint=f"it was made on log {options.checkpoint.log}, this is {decoder.identity}",
                )
            at = self._entry(index, decoder.format, start)
            known = decoder.format if at else None
        blocks = storage.read_blocks(file, options.storage_options, start=at, cancel=options.cancel)
        yield from decoder.events(blocks, at, known, start, stop)

    def _entry(self, index: int, known: binlog.Format, start: int) -> int:
        """Return where reading may begin for events after `start`: there, when a transaction starts there, else at the file's start.

        That it does is told from a whole event with a right checksum that begins a transaction and says where it ends.
        """
        file, options = self.files[index], self.options
        if file.compression or not known.checksum or start <= binlog.HEADER_SIZE:
            return 0
        blocks = storage.read_blocks(file, options.storage_options, start=start, stop=start + HEAD_SIZE, block_size=HEAD_SIZE)
        try:
            frame = next(binlog.frames(blocks, file.name, at=start, known=known), None)
        except MalformedLog:
            return 0
        return start if frame is not None and frame.type in _BETWEEN_TRANSACTIONS else 0

    def close(self) -> None:
        """Release what the decoder holds."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _catalog(options: OpenOptions) -> Catalog | None:
    """Return what the schema option says of tables: a DSN is asked, a file is read; None without one."""
    if not options.schema:
        return None
    if options.schema.startswith("mysql://"):
        from dblog_tasks.mysql.catalog import live_catalog  # noqa: PLC0415 - an extra

        return live_catalog(options.schema)
    from dblog_tasks.mysql.catalog import read_schema  # noqa: PLC0415 - its parser takes long to import

    return read_schema(storage.read_file(options.schema, options.storage_options).decode("utf-8", "surrogateescape"))
