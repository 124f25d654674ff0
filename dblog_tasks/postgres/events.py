"""The events of one log: transactions judged against the selection, what is left out counted.

Law: messages in, events out; no I/O but what the decoder of the whole log does. A transaction is judged when its end has been read, so
that its outcome and commit time are known for its first event already. Transactions of which a table that is asked for by its name is
not even mentioned are passed over in one step, where nothing else could be wanted of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from dblog_tasks import ledger as words
from dblog_tasks.errors import InvalidCheckpoint, InvalidInput, MalformedLog
from dblog_tasks.event import Omission, Position, RowChanges, Transaction
from dblog_tasks.filters import first_against
from dblog_tasks.postgres.formats import PGOUTPUT, TEST_DECODING, Format, detect
from dblog_tasks.postgres.images import Images
from dblog_tasks.postgres.message import (
    BEGIN,
    MESSAGE,
    OPERATIONS,
    ORIGIN,
    RELATION,
    ROWS,
    SKIMMED,
    STREAMED,
    TRUNCATE,
    TYPE,
    UPDATE,
    Logged,
    Message,
    PartialChange,
    TableName,
)
from dblog_tasks.postgres.place import BEGINNING, DRIVER, END, Place, place_of, place_text
from dblog_tasks.postgres.test_decoding import Plain
from dblog_tasks.postgres.transactions import BEGUN_BEFORE, PREPARED_BEFORE, Gatherer, Group
from dblog_tasks.selection import Probe

if TYPE_CHECKING:
    from dblog_tasks.postgres.decoder import PostgresDecoder

REPLAY_TABLE = "dblog_replay"  # written by our own replays, in the transaction of the undo
IDENTITY_LENGTH = 32  # hex digits
_TELLS_NOTHING = frozenset({BEGIN, RELATION, TYPE, ORIGIN, MESSAGE})
# The operation of what committed a transaction that this log does not hold, or not all of.
ENDS_ALONE: Mapping[Omission, str] = {PREPARED_BEFORE: "prepared", BEGUN_BEFORE: "begun"}

_TRUNCATED = "the log holds no rows of it: restore from a backup what was there"
# What is inside the filters and cannot be undone, by operation.
WHOLE_PROBLEMS: Mapping[str, Omission] = {
    STREAMED: Omission("streamed without rows", "decode without the option stream-changes"),
    **{operation: problem for problem, operation in ENDS_ALONE.items()},
}


class PostgresEvent:
    """One record of a log (see `event.Event`), decoded when its body is asked for.

    Beyond the contract: `operation` (insert, update, delete; truncate, streamed, prepared and begun for what tells no rows; None for
    structure), `transaction_info`, `omission` (why a change cannot be undone), `log` (identity of the file).
    """

    __slots__ = ("_body", "_file", "_group", "_message", "_place", "kind", "operation", "source", "table")

    def __init__(
        self, file: FileDecoder, group: Group, message: Message, place: Place, operation: str | None, table: TableName | None
    ) -> None:
        self.source = file.source
        self.kind = message.kind
        self.operation = operation
        self.table = table
        self._file, self._group, self._message, self._place = file, group, message, place
        self._body: Any = None

    @property
    def position(self) -> Position:
        return Position(DRIVER, place_text(self._place, self._file.offsets_of))

    @property
    def log(self) -> str:
        return self._file.identity

    @property
    def raw(self) -> bytes:
        return self._message.raw

    @property
    def time(self) -> datetime | None:
        return self._group.time

    @property
    def transaction(self) -> str | None:
        return self._file.id_of(self._group)

    @property
    def transaction_info(self) -> Transaction | None:
        return self._file.info_of(self._group)

    @property
    def transaction_names(self) -> tuple[str, ...]:
        info = self.transaction_info
        return () if info is None else info.names

    def keep(self, body: Any) -> None:
        """Have the event stand for this body: why it cannot be undone."""
        self._body = body

    @property
    def body(self) -> Any:
        if self._body is None:
            self._body = self._file.body(self._message)
        return self._body

    @property
    def omission(self) -> Omission | None:
        """Why this event's change cannot be undone; None when it can, or changed nothing."""
        if self.operation is None:
            return None
        if self._group.problem is not None:
            return self._group.problem
        if self.operation == TRUNCATE:
            return Omission(f"TRUNCATE of {', '.join('.'.join(table) for table in self._message.tables)}", _TRUNCATED)
        if self.operation in WHOLE_PROBLEMS:
            return WHOLE_PROBLEMS[self.operation]
        body = self.body
        if isinstance(body, PartialChange):
            return Omission(body.reason, body.fix)
        return body if isinstance(body, Omission) else None

    def reverse(self) -> RowChanges | PartialChange | None:
        """Return what undoes the change; of one that is not whole what is known of its undo, marked as PartialChange."""
        body = self.body if self.operation in ROWS else None
        if isinstance(body, PartialChange):
            return _partial_undo(self.operation, body)
        return body.reverse() if isinstance(body, RowChanges) else None

    def __repr__(self) -> str:
        return f"<{self.kind} {self.position.value}>"


def _partial_undo(operation: str | None, body: PartialChange) -> PartialChange | None:
    """An update is turned only where the old values of all its columns are known."""
    before, after = body.before, body.after
    if operation == UPDATE:
        return body.reverse() if before and after and after.keys() <= before.keys() else None
    return body.reverse() if before or after else None


class FileDecoder:
    """One file of a log: its groups, judged and decoded.

    Attributes:
        name: the file, as positions name it where it has no LSNs.
        identity: what tells the file from every other; empty before its first change or commit.
        source: whose log.
        offsets_of: `name` where positions are offsets in it; empty where they are LSNs.
    """

    def __init__(self, decoder: PostgresDecoder, name: str, head: bytes, *, last: bool) -> None:
        self.name, self.source = name, decoder.source
        self.identity = ""
        self._options, self._selection, self._decoder, self._last = decoder.options, decoder.selection, decoder, last
        detected = detect(head, name, decoder.options.format)
        self.lsns = detected.lsns
        self.offsets_of = "" if detected.lsns else name
        self._format = Format(name, detected, is_copy=lambda: decoder.is_copy(name), is_file=decoder.options.reader is None)
        self._images = Images(decoder.catalog, filtered=detected.plugin == PGOUTPUT, silent=detected.plugin != TEST_DECODING)
        self._ledger = decoder.options.ledger
        self._digest = sha256()
        self._read = 0  # offset of the end of the last message
        self._start = self._bound(decoder.options.checkpoint.position) or BEGINNING
        self._stop = self._bound(decoder.options.stop) or END
        self._verdicts: dict[tuple[str, str | None, TableName | None], str | None] = {}
        self._info: tuple[Group | None, Transaction | None] = (None, None)
        everything = self._start is BEGINNING and self._stop is END and not self._selection.transaction
        self._needle = self._selection.needle() if everything else None
        self._takes_all = everything and not decoder.options.selection

    def _bound(self, position: Position) -> Place | None:
        if not position:
            return None
        name, names = position.value.rpartition(":")[0], () if self.lsns else self._decoder.names
        if (
            name != self.name and name in names and self.name in names
        ):  # a place in another file of the same log is before or after all of this one
            return BEGINNING if names.index(name) < names.index(self.name) else END
        return place_of(position, lsns=self.lsns, file=self.name)

    # ---- reading

    def events(self, blocks: Iterable[bytes]) -> Iterator[PostgresEvent]:
        """Yield the selected events after the checkpoint up to the stop. What ends inside the log comes last, as not committed."""
        gatherer = Gatherer(self.name, lsns=self.lsns)
        stopped = False
        try:
            for group in gatherer.groups(self._counted(self._format.messages(blocks, self._needle, self._plain()))):
                yield from self._dealt(group)
                if group.end >= self._stop:
                    stopped = True
                    break
        except MalformedLog:
            yield from self._left(gatherer, stopped=False)
            raise
        yield from self._left(gatherer, stopped=stopped)
        if not stopped:
            self._check_ends(gatherer.last)
            end = gatherer.last if self.lsns else self._read
            if not self._last and end:  # others follow: it will get no more, so what it holds is told also when it ends no transaction
                self._decoder.read_to(self, Place(end))

    def _plain(self) -> Plain | None:
        """Return what hands plain transactions in, where every change is wanted and somebody takes them."""
        lines = self._options.lines
        if lines is None or not (self._takes_all and self._options.changes_only and self._format.is_text):
            return None
        from dblog_tasks.postgres.plain import PlainTransactions  # noqa: PLC0415 - a plan of everything alone needs it

        own = "" if self._options.own_replays else REPLAY_TABLE
        return PlainTransactions(self.name, self._format.reader, self._images, lines, self._decoder.note_times, own).hand_in

    def _dealt(self, group: Group) -> Iterator[PostgresEvent]:
        yield from self._judge(group)
        if group.problem is None or group.problem in ENDS_ALONE:
            self._decoder.passed(self, group)

    def _left(self, gatherer: Gatherer, *, stopped: bool) -> Iterator[PostgresEvent]:
        for group in gatherer.left():
            if stopped:
                self._ledger.not_needed[words.AFTER_STOP] += len(group.messages)
            else:
                yield from self._judge(group)

    def _counted(self, messages: Iterable[Message]) -> Iterator[Message]:
        bounds = () if self.lsns else (self._start.at, self._stop.at)
        for message in messages:
            self._ledger.total += 1 if message.kind != SKIMMED else message.data.changes + message.data.others
            self._read = message.end
            if not self.identity:
                self._digest.update(message.raw)
                if message.kind not in _TELLS_NOTHING:
                    self._identify()
            for bound in bounds:
                if message.start < bound < message.end:
                    raise InvalidCheckpoint("the position is not the end of a record", where=f"{self.name}:{bound}")
            yield message

    def _identify(self) -> None:
        self.identity = self._digest.hexdigest()[:IDENTITY_LENGTH]
        given = self._options.checkpoint.log
        if given and self._decoder.is_alone and given != self.identity:
            raise InvalidCheckpoint(
                f"the checkpoint is of another log than {self.name}",
                where=self._options.checkpoint.position.value,
                hint=f"it was made on log {given}, this is {self.identity}; --start takes a position of any log with LSNs",
            )

    def _check_ends(self, last: int) -> None:
        """Raise where a bound lies past the end of the log."""
        if not self._last:
            return
        end = last if self.lsns else self._read
        if self._start.at > end:
            raise InvalidCheckpoint(
                f"the position lies past the end of {self.name}",
                where=self._options.checkpoint.position.value,
                hint=f"it ends at {self._shown(end)}",
            )
        if self._stop is not END and self._stop.at > end:
            raise InvalidInput(f"the stop position lies past the end of {self.name}, {self._shown(end)}", where=self._options.stop.value)

    def _shown(self, at: int) -> str:
        return place_text(Place(at), self.offsets_of)

    # ---- judging

    def _judge(self, group: Group) -> Iterator[PostgresEvent]:
        """Yield what the selection keeps of a group; count the rest."""
        if group.last is not None and group.last.kind == SKIMMED:
            if not group.last.data.handed_in:
                self._ledger.not_needed[words.OTHER_TABLE] += group.last.data.changes
            self._ledger.not_needed[words.STRUCTURE] += group.last.data.others
            return
        first = next(iter(group.places()))[1] if group.by_offset else Place(group.end.at, 0)
        outside = words.BEFORE_START if group.end <= self._start else words.AFTER_STOP if first > self._stop else None
        reason = outside or (words.ROLLED_BACK if group.rolled_back else self._against_transaction(group))
        if reason is not None:
            self._ledger.not_needed[reason] += len(group.messages)
            return
        against = {touch: self._verdict_of(*touch) for touch in group.touched}
        structure_wanted = not against or any(self._verdict(kind, None, None) is None for kind in (BEGIN, "commit"))
        if None not in against.values() and not structure_wanted and not group.aborted:
            self._leave_out(group, against)
            return
        keep_all = self._options.whole_transactions and None in against.values() and self._any_wanted(group)
        self._info = (None, None)
        if not keep_all:
            touched = {".".join(table) for (_, tables), reason in against.items() if reason for table in tables}
            self._info = (group, self._told(group, tuple(sorted(touched))))
        if self._takes_all and not group.aborted:
            if self._options.changes_only and group.problem not in ENDS_ALONE:
                changes = (pair for pair in group.places() if pair[0].kind in OPERATIONS)
                yield from (self._event(group, message, place) for message, place in changes)
                self._ledger.not_needed[words.STRUCTURE] += len(group.messages) - sum(group.touched.values())
                return
            yield from (self._event(group, message, place) for message, place in group.places())
            return
        for message, place in group.places():
            if message.subxid in group.aborted and message.kind in OPERATIONS:
                self._ledger.not_needed[words.ROLLED_BACK] += 1
                continue
            event = self._event(group, message, place)
            reason = self._against_event(event, place, keep_all=keep_all)
            if reason is None:
                yield event
            else:
                self._ledger.not_needed[reason] += 1

    def _event(self, group: Group, message: Message, place: Place) -> PostgresEvent:
        operation = OPERATIONS.get(message.kind)
        if group.problem is not None and message is group.last:
            operation = ENDS_ALONE.get(group.problem, operation)
        tables = message.tables
        table = tables[0] if tables else None
        if len(tables) > 1:  # a truncate stands for the first of its tables that is meant
            table = next((name for name in message.tables if self._verdict(message.kind, operation, name) is None), table)
        return PostgresEvent(self, group, message, place, operation, table)

    def _leave_out(self, group: Group, against: Mapping[Any, str | None]) -> None:
        """Count a transaction of which nothing is wanted, without going through it again."""
        for touch, count in group.touched.items():
            self._ledger.not_needed[against[touch] or words.OTHER_FILTER] += count
        self._ledger.not_needed[words.STRUCTURE] += len(group.messages) - sum(group.touched.values())

    def _against_transaction(self, group: Group) -> str | None:
        """Return why a whole group is not needed, or None."""
        if not self._options.own_replays and any(table[1] == REPLAY_TABLE for _, tables in group.touched for table in tables):
            return words.OWN_REPLAY
        if not self._selection.transaction:
            return None
        message, place = next(iter(group.places()))
        reason = first_against(self._selection.transaction, PostgresEvent(self, group, message, place, None, None))
        return words.STRUCTURE if reason and not group.inside else reason

    def _verdict_of(self, kind: str, tables: tuple[TableName, ...]) -> str | None:
        """Return why changes of these tables are not needed; None when one of them is."""
        against = [self._verdict(kind, OPERATIONS[kind], table) for table in tables or (None,)]
        return None if None in against else against[0]

    def _verdict(self, kind: str, operation: str | None, table: TableName | None) -> str | None:
        """Return why events of this kind and table are not needed, or None; asked once each."""
        key = (kind, operation, table)
        if key not in self._verdicts:
            self._verdicts[key] = first_against(self._selection.table, Probe(*key)) if self._selection.table else None
        return self._verdicts[key]

    def _any_wanted(self, group: Group) -> bool:
        """Return whether the selection certainly holds for one of the group's changes, when it looks at more than tables."""
        if not self._selection.event and not self._selection.row:
            return True
        counted = self._ledger.rows_not_needed
        try:
            events = [self._event(group, message, place) for message, place in group.places()]
            return any(
                event.operation is not None
                and self._against_event(event, place, keep_all=False) is None
                and self._selection.doubt(event) is None
                for event, (_, place) in zip(events, group.places(), strict=True)
            )
        finally:
            self._ledger.rows_not_needed = counted

    def _against_event(self, event: PostgresEvent, place: Place, *, keep_all: bool) -> str | None:
        """Return why one event of a wanted transaction is not needed, or None."""
        if place <= self._start:
            return words.BEFORE_START
        if place > self._stop:
            return words.AFTER_STOP
        selection = self._selection
        reason = None
        if not keep_all:
            reason = self._verdict(event.kind, event.operation, event.table) or (
                first_against(selection.event, event) if selection.event else None
            )
        if event.operation is None:
            return reason and words.STRUCTURE
        if reason is None and (selection.doubtful or selection.row):
            doubt = selection.doubt(event, whole=keep_all) if selection.doubtful else None
            if doubt is not None:
                event.keep(doubt)
            elif selection.row and not keep_all:
                reason = selection.against_rows(event, self._ledger)
        return reason

    # ---- what events tell

    def body(self, message: Message) -> Any:
        """Return the body of an event: RowChanges, PartialChange, an Omission for what cannot be read, or what its format makes of it."""
        found = self._format.body(message)
        return self._images.changes_of(message.kind, found, f"{self.name}:{message.start}") if isinstance(found, Logged) else found

    def id_of(self, group: Group) -> str | None:
        """Return the id of a transaction: its xid, else where it starts; None for what is outside of any."""
        if group.xid and group.inside:
            return str(group.xid)
        return place_text(self._first(group), self.offsets_of) if group.inside else None

    def _first(self, group: Group) -> Place:
        return Place(group.start) if group.by_offset else Place(group.end.at, 0)

    def info_of(self, group: Group) -> Transaction | None:
        """Return what is known of a transaction; None for what is outside of any."""
        if self._info[0] is not group:
            self._info = (group, self._told(group, ()))
        return self._info[1]

    def _told(self, group: Group, also_touched: tuple[str, ...]) -> Transaction | None:
        name = self.id_of(group)
        if name is None:
            return None
        start = place_text(self._first(group), self.offsets_of)
        names = tuple(dict.fromkeys(text for text in (name, start, group.gid) if text))
        end = Position(DRIVER, place_text(group.end, self.offsets_of))
        return Transaction(name, Position(DRIVER, start), end, group.time, names, also_touched=also_touched, problem=group.problem)
