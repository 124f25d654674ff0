"""From log files to events: transactions are put together, the selection is applied early, what is left out is counted.

Law: the only module under `mysql/` that reads logs. A transaction is judged when its end has been read, so that its outcome
and commit time are known for its first event already; until then it is held as undecoded bytes, beyond HELD_MAX on disk.
Memory does not grow with the log.

Position: `<file>:<offset of the event's end>` (see `place`), ordered by the number in the file's name, then by offset.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from itertools import chain
from posixpath import basename
import sys
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from dblog_tasks import ledger as words, storage
from dblog_tasks.backend import SALVAGE, OpenOptions, check_cancelled
from dblog_tasks.errors import InvalidCheckpoint, MalformedLog
from dblog_tasks.event import Checkpoint, Omission, PackedRows, Position, RowChanges, Source
from dblog_tasks.filters import first_against
from dblog_tasks.mysql import binlog, bodies, compiled, images, payload
from dblog_tasks.mysql.binlog_event import BinlogEvent
from dblog_tasks.mysql.cascades import Cascades, cascades_are_logged
from dblog_tasks.mysql.indexes import HEAD_SIZE, indexes_of
from dblog_tasks.mysql.layout import Layout, Layouts
from dblog_tasks.mysql.place import BEGINNING, Place, place_of, split_position
from dblog_tasks.mysql.plain import PlainTransactions
from dblog_tasks.mysql.reading import DAMAGED, READINGS, DamagedEvent
from dblog_tasks.mysql.reading_on import WholeLog, entry
from dblog_tasks.mysql.selection import REPLAY_TABLE, TEXTS, Said, Selection, ends_statement, kind_name
from dblog_tasks.mysql.transactions import NOT_COMMITTED, ROWS, Gatherer, Group, Touch, instants
from dblog_tasks.mysql.values import Memo
from dblog_tasks.mysql.xa import XaTransactions
from dblog_tasks.selection import Probe

if TYPE_CHECKING:
    from dblog_tasks.mysql.catalog import Catalog
    from dblog_tasks.mysql.header_index import HeaderIndex, Recorder
    from dblog_tasks.mysql.header_search import Run, Sought

BLOCK_MAX = 4 << 20  # a transaction between two blocks is not read by compiled code: few blocks
NO_TABLE_MAP = Omission("rows without a table map", "the log was cut inside a statement")


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
        self._cascades = decoder.cascades if decoder.cascades and not cascades_are_logged(self.format) else None
        self._gatherer = self.gatherer()
        self._recorded = False  # an index is made: it needs all groups
        self._verdicts: Memo[tuple[Layout | None, str | None, int], str | None] = Memo(self._verdict)
        self._looks_at_rows = self._cascades is not None or (self._options.on_damage == SALVAGE and not self.format.checksum)
        self._chooses_events = bool(self._selection.event or self._selection.row or self._selection.doubtful)
        self._structure_wanted = any(self.verdict(None, None, kind) is None for kind in binlog.EVENT_NAMES if kind not in ROWS)

    def events(
        self,
        blocks: Iterable[bytes],
        at: int,
        known: binlog.Format | None,
        start: Place,
        stop: Place | None,
        recorder: Recorder | None = None,
    ) -> Iterator[BinlogEvent | DamagedEvent]:
        """Yield the selected events that end after `start`, up to `stop`; `at` is where `blocks` begin, `recorder` sees all groups."""
        reading = READINGS[self._options.on_damage](self, blocks, at, known)
        self._recorded = recorder is not None
        try:
            for group in reading.groups(start, stop):
                yield from self._judge(group, start, stop) if isinstance(group, Group) else self._lose(group, start, stop)
                self.end = group.end
                if isinstance(group, Group) and group.packed:
                    packed = (frame for frame in group.outer() if frame.type == binlog.TRANSACTION_PAYLOAD)
                    self._ledger.total += sum(payload.count(frame, self.name) for frame in packed)
                self._decoder.passed(self, group)
                if recorder is not None and isinstance(group, Group) and recorder.add(group):
                    recorder.close(self._ledger.total + reading.total(group.end))
                if stop is not None and group.end >= stop.outer:
                    return
        finally:
            self._ledger.total += reading.total(self.end)

    def passing(self, start: Place, stop: Place | None) -> binlog.Passing | None:
        """Return what hands in plain transactions before they become frames; None where somebody has to look at them."""
        options, extension = self._options, compiled.extension()
        looked_at = (
            self._chooses_events,
            self._looks_at_rows,
            self._selection.transaction,
            options.whole_transactions,
            stop,
            self._recorded,
        )
        if extension is None or options.lines is None or not options.changes_only or any(looked_at):
            return None
        bound = max(self.end, start.offset)  # a group has to come first, of what is read now
        plain = PlainTransactions(extension, self, self._decoder.layouts[self.format.mariadb], options.lines, self._ledger)

        def passing(data: bytes, at: int, base: int, checksum: int, placed: bool) -> int:  # noqa: FBT001 - as `Passing`
            begun = self.end > bound and self._gatherer.between
            return plain.hand_in(self._gatherer, data, at, base, checksum, placed) if begun else at

        return passing

    def note_times(self, earliest: int, latest: int) -> None:
        """Note commit times of transactions, in microseconds since 1970."""
        self._decoder.note_times(earliest, latest)

    def gatherer(self) -> Gatherer:
        """Return a new gatherer, which the file uses from now on."""
        self._gatherer = Gatherer(self.name, self._decoder.layouts[self.format.mariadb], self.format.server_version)
        return self._gatherer

    def layout_of(self, frame: binlog.Frame) -> Layout | None:
        """Return the table of a rows event or table map of the last group."""
        return self._gatherer.layout_of(frame)

    def _lose(self, event: DamagedEvent, start: Place, stop: Place | None) -> Iterator[DamagedEvent]:
        """Yield what was lost, or count it where the selection rules it out."""
        reason = event.against(self._options.selection, start, stop)
        if reason is None:
            yield event
        else:
            self._ledger.not_needed[reason] += 1

    def _judge(self, group: Group, start: Place, stop: Place | None) -> Iterable[BinlogEvent]:
        """Return what the selection keeps of a group; count the rest."""
        after = stop is not None and group.start >= stop.outer
        outside = words.BEFORE_START if group.end <= start.outer else words.AFTER_STOP if after else None
        if group.xa is not None and not outside:
            self._decoder.xa.meet(group, self.name)
        reason = outside or self._against_transaction(group)
        if reason is not None:
            self._ledger.not_needed[reason] += group.count
            return ()
        if group.taken_back:
            self._ledger.not_needed[words.ROLLED_BACK] += group.rows_taken_back
        verdicts = self._verdicts
        against = {touch: verdicts[touch] for touch in group.touched}
        if None not in against.values() and not self._structure_wanted:
            self._leave_out(group, against)
            return ()
        keep_all = self._options.whole_transactions and None in against.values() and self._any_wanted(group, start, stop)
        if not keep_all:
            left_out = [".".join(touch[0].name) for touch, reason in against.items() if reason and touch[0]]
            group.also_touched = tuple(sorted(set(left_out)))
            if self._options.changes_only and not self._chooses_events and _is_inside(group, start, stop):
                return self._changes(group, against)
        return self._kept(group, start, stop, keep_all=keep_all)

    def _kept(self, group: Group, start: Place, stop: Place | None, *, keep_all: bool) -> Iterator[BinlogEvent]:
        """Yield the events that the selection keeps; count the others."""
        for event, frame in self._events(group):
            reason = self._against_event(event, frame, start, stop, keep_all=keep_all)
            if reason is None:
                yield event
            else:
                self._ledger.not_needed[reason] += 1

    def _changes(self, group: Group, against: Mapping[Touch, str | None]) -> Iterator[BinlogEvent]:
        """Yield the events that changed a wanted table; count the others, and structure."""
        changes = group.changes or ()
        self._ledger.not_needed[words.STRUCTURE] += group.count - len(changes)
        for frame, touch in changes:
            reason = against[touch]
            if reason is None:
                yield BinlogEvent(self, group, frame, touch[0], touch[1])
            else:
                self._ledger.not_needed[reason] += 1

    def _events(self, group: Group) -> Iterator[tuple[BinlogEvent, binlog.Frame]]:
        """Yield the events of a group with their frames."""
        said: Said | None = None
        for frame in group.standing() if group.taken_back else group:
            is_rows = frame.type in ROWS
            layout = self._gatherer.layout_of(frame) if is_rows or frame.type == binlog.TABLE_MAP else None
            if frame.type in TEXTS:
                said = Said(frame, f"{self.name}:{frame.start}")
            yield BinlogEvent(self, group, frame, layout, self._gatherer.operation_of(frame), said), frame
            if said is not None and is_rows and ends_statement(frame):
                said = None

    def _any_wanted(self, group: Group, start: Place, stop: Place | None) -> bool:
        """Return whether the selection certainly holds for one of the group's changes, when it looks at more than tables."""
        if not self._selection.event and not self._selection.row:
            return True
        counted = self._ledger.rows_not_needed
        try:
            return any(
                event.operation is not None
                and self._against_event(event, frame, start, stop, keep_all=False) is None
                and self._selection.doubt(event) is None
                for event, frame in self._events(group)
            )
        finally:
            self._ledger.rows_not_needed = counted

    def _leave_out(self, group: Group, against: Mapping[Touch, str | None]) -> None:
        """Count a transaction of which nothing is wanted, without going through it again."""
        for touch, count in group.touched.items():
            self._ledger.not_needed[against[touch] or words.OTHER_FILTER] += count
        self._ledger.not_needed[words.STRUCTURE] += group.count - sum(group.touched.values()) - group.rows_taken_back

    def _against_transaction(self, group: Group) -> str | None:
        """Return why a whole group is not needed, or None."""
        if not self._options.own_replays and any(touch[0] and touch[0].name[1] == REPLAY_TABLE for touch in group.touched):
            return words.OWN_REPLAY
        if not self._selection.transaction:
            return None
        reason = first_against(self._selection.transaction, BinlogEvent(self, group, next(iter(group)), None, None))
        return words.STRUCTURE if reason and group.id is None else reason

    def verdict(self, layout: Layout | None, operation: str | None, kind: int) -> str | None:
        """Return why events of this table, operation and type are not needed, or None; asked once each."""
        return self._verdicts[layout, operation, kind]

    def _verdict(self, touch: tuple[Layout | None, str | None, int]) -> str | None:
        layout, operation, kind = touch
        return first_against(self._selection.table, Probe(kind_name(kind), operation, layout.name if layout else None))

    def _against_event(self, event: BinlogEvent, frame: binlog.Frame, start: Place, stop: Place | None, *, keep_all: bool) -> str | None:
        """Return why one event of a wanted transaction is not needed, or None."""
        if frame.end <= start.offset and place_of(frame) <= start:
            return words.BEFORE_START
        if stop is not None and frame.end >= stop.offset and place_of(frame) > stop:
            return words.AFTER_STOP
        selection = self._selection
        reason = None if keep_all else self.verdict(event.layout, event.operation, frame.type) or first_against(selection.event, event)
        if event.operation is None:
            return reason and words.STRUCTURE
        if reason is None:
            doubt = selection.doubt(event, whole=keep_all) if selection.doubtful else None
            if doubt is not None:
                event.keep(doubt)
            elif selection.row and not keep_all:
                reason = selection.against_rows(event, self._ledger)
        return reason

    def body(self, frame: binlog.Frame, layout: Layout | None) -> Any:
        """Return the body of an event: RowChanges, an Omission for rows that cannot be read, or what `bodies` makes of it."""
        where = f"{self.name}:{frame.start}"
        if frame.type in ROWS:
            return self._rows(frame, layout, where)
        return layout.map if layout is not None else bodies.read_body(frame, where)

    def packed(self, frame: binlog.Frame, layout: Layout) -> PackedRows | None:
        """Return the rows of an event as a plan writes them; None for other events, and where they need a look."""
        operation = ROWS.get(frame.type)
        if operation is None or self._looks_at_rows or images.is_carried(frame):
            return None
        at = f"{self.name}:{frame.end}"
        if frame.type not in layout.heads:
            layout.prepare(self._catalog, f"{self.name}:{frame.start}")
        found = images.packed_of(frame, operation, layout)
        return None if found is None else PackedRows(at, operation, *found)

    def _rows(self, frame: binlog.Frame, layout: Layout | None, where: str) -> RowChanges | Omission:
        if layout is None:
            return NO_TABLE_MAP
        layout.prepare(self._catalog, where)
        try:
            changes = images.changes_of(frame, ROWS[frame.type], layout, where)
        except MalformedLog:
            if self._options.on_damage != SALVAGE or self.format.checksum:
                raise
            return DAMAGED
        if self._cascades is not None:
            self._cascades.note(layout.name, ROWS[frame.type], changes)
        return changes


def _is_inside(group: Group, start: Place, stop: Place | None) -> bool:
    """Return whether all events of a group lie between two places, and those that changed something are at hand."""
    return group.changes is not None and group.start >= start.offset and (stop is None or group.end <= stop.outer)


class MySQLDecoder:
    """A binary log being read: one file, or several of a series as one.

    Attributes:
        options: as given.
        source: whose log.
        files: the files in log order; empty for a reader.
        cascades: what foreign keys of the schema may have changed by the rows that were read.
        xa: XA transactions that were met.
        unread: why what header indexes ruled out is not needed, in the ledger's words.
    """

    def __init__(self, options: OpenOptions) -> None:
        self.options = options
        self.selection = Selection.of(options.selection)
        self.catalog = _catalog(options)
        self.cascades = Cascades(self.catalog)
        self.layouts = {mariadb: Layouts(mariadb=mariadb) for mariadb in (False, True)}
        self.files = () if options.reader else options.files or storage.find_logs(options.paths, options.storage_options)
        self.source = options.source if options.source.name else Source(options.source.driver or "mysql", self._name())
        self._start = self._bound(options.checkpoint.position)
        self._stop = self._bound(options.stop)
        self._passed: tuple[FileDecoder, int] | None = None  # a file, and the offset of the last group that was dealt with
        self._earliest, self._latest = sys.maxsize, -1  # microseconds
        whole = WholeLog(options)
        self.xa = XaTransactions(whole.spot, whole.read_on)
        self._indexes = indexes_of(options)
        self.unread: set[str] = set()

    @property
    def span(self) -> tuple[datetime, datetime] | None:
        """Commit times of the first and the last transaction so far, of all in the log; None before the first."""
        if self._latest < 0:
            return None
        return instants((self._earliest, self._latest))

    @property
    def checkpoint(self) -> Checkpoint:
        """After the last group that was dealt with: reading can go on there."""
        if self._passed is None:
            return self.options.checkpoint
        file, end = self._passed
        return Checkpoint(self.source, Position("mysql", f"{file.name}:{end}"), file.identity)

    def passed(self, file: FileDecoder, group: Group | DamagedEvent) -> None:
        """Note that a group was dealt with: reading can go on after it, unless its end is missing."""
        if group.problem is not NOT_COMMITTED:
            self._passed = file, group.end
        if isinstance(group, Group) and group.id is not None:
            self.note_times(group.time, group.time)

    def note_times(self, earliest: int, latest: int) -> None:
        """Note commit times of transactions, in microseconds since 1970."""
        self._earliest = min(self._earliest, earliest)
        self._latest = max(self._latest, latest)

    def _pass_over(self, file: FileDecoder, run: Run) -> None:
        """Count what is not read, and note that it was dealt with."""
        run.count_into(self.options.ledger)
        self.unread |= run.reasons
        self._passed = file, run.end
        if run.span:
            self._earliest, self._latest = min(self._earliest, run.span[0]), max(self._latest, run.span[1])

    def _name(self) -> str:
        return self.files[0].name.rpartition(".")[0] or self.files[0].name if self.files else ""

    def _bound(self, position: Position) -> tuple[int, Place] | None:
        """Return a position as (index of its file, place); None for the empty one."""
        if not position:
            return None
        name, place = split_position(position)
        if not name and (len(self.files) == 1 or self.options.reader):
            return 0, place
        for index, file in enumerate(self.files):
            if file.name == name:
                return index, place
        held = f"{self.files[0].name} to {self.files[-1].name}" if self.files else "a stream without a name"
        raise InvalidCheckpoint(f"position {position.value} is not in this log", hint=f"it holds {held}")

    def __iter__(self) -> Iterator[BinlogEvent | DamagedEvent]:
        if self.options.reader is not None:
            blocks = iter(lambda: self.options.reader.read(1 << 20), b"")  # type: ignore[union-attr]
            yield from self._stream(blocks)
            return
        first = self._start[0] if self._start else 0
        last = self._stop[0] if self._stop else len(self.files) - 1
        chosen = self.files[first : last + 1]
        ahead = storage.ask_ahead(self._opened, chosen, self.options.storage_options) if self._indexes else map(self._opened, chosen)
        for index, opened in enumerate(ahead, first):
            yield from self._file(index, *opened)

    def _stream(self, blocks: Iterator[bytes]) -> Iterator[BinlogEvent | DamagedEvent]:
        head = next(blocks, b"")
        name = basename(str(getattr(self.options.reader, "name", "") or "stream"))
        file = FileDecoder(self, name, head)
        yield from file.events(
            chain([head], blocks), 0, None, self._start[1] if self._start else BEGINNING, self._stop[1] if self._stop else None
        )

    @cached_property
    def _sought(self) -> Sought:
        from dblog_tasks.mysql.header_search import Sought  # noqa: PLC0415 - only with indexes

        return Sought(self.selection, own_replays=self.options.own_replays)

    def _opened(self, file: storage.LogFile) -> tuple[FileDecoder, bytes, HeaderIndex | None]:
        """Return a file, its first bytes, and its index where there is one."""
        check_cancelled(self.options.cancel)
        head = storage.head(file, self.options.storage_options, HEAD_SIZE)
        decoder = FileDecoder(self, file.name, head)
        return decoder, head, self._indexes.read(file, decoder.identity, head) if self._indexes else None

    def _file(self, index: int, decoder: FileDecoder, head: bytes, found: HeaderIndex | None) -> Iterator[BinlogEvent | DamagedEvent]:
        """Yield the events of one file, from the checkpoint on when it lies in it."""
        options = self.options
        start = self._start[1] if self._start and self._start[0] == index else BEGINNING
        stop = self._stop[1] if self._stop and self._stop[0] == index else None
        at = entry(self.files[index], options, decoder.identity, decoder.format, start) if start.offset else 0
        if found is not None and self._indexes and max(start.offset, stop.offset if stop else 0) <= found.end:
            from dblog_tasks.mysql.header_search import runs  # noqa: PLC0415 - only with indexes

            yield from self._indexed(self.files[index], decoder, runs(found, self._sought, decoder.name, at, start, stop), start, stop)
            return
        recorder = self._indexes.recorder(options.ledger.total) if self._indexes and stop is None and not start.offset else None
        blocks = storage.read_blocks(self.files[index], options.storage_options, start=at, largest=BLOCK_MAX, cancel=options.cancel)
        yield from decoder.events(blocks, at, decoder.format if at else None, start, stop, recorder)
        if recorder is not None and self._indexes is not None:
            made = recorder.finish(decoder.identity, head, self.files[index].size, decoder.format, options.ledger.total)
            self._indexes.write(self.files[index], made)

    def _indexed(
        self, file: storage.LogFile, decoder: FileDecoder, chosen: Sequence[Run], start: Place, stop: Place | None
    ) -> Iterator[BinlogEvent | DamagedEvent]:
        """Yield the events of the parts of a file that its index does not rule out."""
        from dblog_tasks.mysql.header_search import as_one  # noqa: PLC0415 - only with indexes

        options = self.options
        for run in as_one(chosen) if file.compression else chosen:
            if run.reasons:
                self._pass_over(decoder, run)
                continue
            before = options.ledger.total
            blocks = storage.read_blocks(file, options.storage_options, start=run.begin, stop=run.end, cancel=options.cancel)
            begins, ends = run.bounds(start, stop)
            yield from decoder.events(blocks, run.begin, decoder.format if run.begin else None, begins, ends)
            run.check(options.ledger.total - before, decoder.end, file.name, stopped=ends is not None)

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
