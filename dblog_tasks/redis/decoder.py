"""The commands of an append-only file as events.

Law: frames in, events out, in the order of the file; no I/O. A transaction (MULTI … EXEC) comes whole or not at all committed, so it is
held until its EXEC, up to TRANSACTION_MAX bytes. Annotations are no events: they are the time of what follows.

    position      <file name>:<offset of the record's end>
    transaction   the position where its MULTI starts; None outside one
    identity      sha256 of the file up to the end of its first command that is no SELECT or MULTI (every file starts with those)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from hashlib import sha256
import re
from sys import maxsize
from typing import NamedTuple

from dblog_tasks import ledger as reasons
from dblog_tasks.errors import InvalidCheckpoint, InvalidInput, MalformedLog, UnsupportedLog
from dblog_tasks.event import Checkpoint, CommandChange, Omission, Position, Source, Transaction
from dblog_tasks.filters import Predicate, reason_of
from dblog_tasks.ledger import NOT_COMMITTED, Ledger
from dblog_tasks.redis.commands import EXACT, STRUCTURE, Command, Inverse, inverse
from dblog_tasks.redis.keyspace import Keyspace, database_number
from dblog_tasks.redis.resp import Frame, timestamp

DRIVER = "redis"
TRANSACTION_MAX = 256 << 20  # bytes of its records
IDENTITY_LENGTH = 32  # hex digits

_KINDS_MAX = 1024
_OFFSET = re.compile(r"\+?[0-9]{1,18}", re.ASCII)
_NUMBERS = re.compile(r"([0-9]{1,18})", re.ASCII)
_BORDERS = frozenset((b"multi", b"exec"))
_LAST_SECOND = 253_402_300_799  # of the year 9999


class RedisEvent(NamedTuple):
    r"""One command of the log.

    Attributes:
        source: whose log.
        file: name of the file.
        start: offset of the record's first byte.
        end: offset after its last one.
        kind: name of the command in lower case; bytes that are no UTF-8 as `\xHH`.
        raw: the exact bytes of the record.
        body: the command.
        time: UTC, of the last timestamp annotation before it (in a transaction, before its EXEC); None without one.
        transaction: where its transaction starts; None outside one.
        log: identity of the file; empty on what comes before the file has one.
        verdict: its inverse, or why there is none; None for a command that changes nothing.
    """

    source: Source
    file: str
    start: int
    end: int
    kind: str
    raw: bytes
    body: Command
    time: datetime | None
    transaction: str | None
    log: str
    verdict: Inverse | str | None

    @property
    def position(self) -> Position:
        """The end of the record."""
        return Position(DRIVER, f"{self.file}:{self.end}")

    @property
    def table(self) -> tuple[str, str] | None:
        """None: keys are in no table."""
        return None

    @property
    def operation(self) -> str | None:
        """`command`; None when it changes no key."""
        return None if self.verdict is None else "command"

    @property
    def transaction_names(self) -> tuple[str, ...]:
        """All its transaction can be named by: the position where it starts."""
        return () if self.transaction is None else (self.transaction,)

    @property
    def transaction_info(self) -> Transaction | None:
        """Its transaction; None outside one."""
        if self.transaction is None:
            return None
        return Transaction(self.transaction, Position(DRIVER, self.transaction), self.position, self.time, (self.transaction,))

    @property
    def change(self) -> CommandChange | None:
        """The command with its graded inverse; None without one a plan can hold."""
        if isinstance(self.verdict, Inverse) and self.verdict.grade:
            return CommandChange(self.body.database, self.body.words, self.verdict.command.words, self.verdict.grade)
        return None

    @property
    def omission(self) -> Omission | None:
        """Why a plan leaves it out unless asked; None when it is undone exactly, or needs no undo."""
        if isinstance(self.verdict, Inverse):
            return None if self.verdict.grade == EXACT else Omission(self.verdict.reason)
        return None if self.verdict is None else Omission(self.verdict)

    def reverse(self) -> Command | None:
        """Return the command that takes this one back, of any grade; None when there is none."""
        return self.verdict.command if isinstance(self.verdict, Inverse) else None


def events(frames: Iterable[Frame], source: Source, file: str) -> Iterator[RedisEvent]:
    """Yield the event of each record, with what the file proved before it.

    Raises what the frames raise, and MalformedLog on a SELECT, MULTI, EXEC or timestamp that no server writes.
    """
    keys, kinds, digest = Keyspace(), dict[bytes, str](), sha256()
    log, database, time = "", 0, None
    transaction: str | None = None
    for start, end, raw, arguments in frames:
        if not log:
            digest.update(raw)
        if not arguments:
            time = _time(raw, time, f"{file}:{start}")
            continue
        name = arguments[0].lower()
        command = Command(name, arguments[1:], database)
        verdict: Inverse | str | None = None
        if name not in STRUCTURE:
            verdict = inverse(command, keys)
            keys.apply(database, name, command.arguments)
            log = log or digest.hexdigest()[:IDENTITY_LENGTH]
        elif name == b"select":
            database = _selected(command, f"{file}:{start}")
        elif name in _BORDERS:
            if (name == b"multi") != (transaction is None):
                raise MalformedLog(f"{name.decode()} where no server writes one", where=f"{file}:{start}")
            transaction = transaction or f"{file}:{start}"
        kind = kinds.get(name) or _kind(kinds, name)
        yield RedisEvent(source, file, start, end, kind, raw, command, time, transaction, log, verdict)
        if name == b"exec":
            transaction = None


def transactions(stream: Iterable[RedisEvent]) -> Iterator[list[RedisEvent]]:
    """Yield the events of each transaction together, all with the time of its EXEC, and each other event alone.

    Events of a transaction that the log breaks off, by its end or by an error, are yielded last, as not committed. Raises what the
    events raise, and UnsupportedLog on a transaction of more than TRANSACTION_MAX bytes.
    """
    pending: list[RedisEvent] = []
    try:
        for event in stream:
            if event.transaction is None:
                yield [event]
                continue
            pending.append(event)
            if event.kind == "exec":
                committed, pending = pending, []
                yield [each if each.time == event.time else each._replace(time=event.time) for each in committed]
            elif event.end - pending[0].start > TRANSACTION_MAX:
                raise UnsupportedLog(f"a transaction of more than {TRANSACTION_MAX} bytes", where=event.transaction)
    except MalformedLog:
        if pending:
            yield _not_committed(pending)
        raise
    if pending:
        yield _not_committed(pending)


def between(groups: Iterable[list[RedisEvent]], start: Checkpoint, stop: Position, ledger: Ledger) -> Iterator[list[RedisEvent]]:
    """Yield what lies after `start` up to and including `stop`; empty values mean the ends of the log.

    The transaction that holds `stop` is read to its end, for only that tells whether it was committed. Raises InvalidCheckpoint when
    `start` is of another log or not the end of a record of this one, InvalidInput when `stop` is not.
    """
    first, final = offset_of(start.position), offset_of(stop) or maxsize
    last = 0
    for group in groups:
        kept = []
        for event in group:
            if start.log and event.log and event.log != start.log:
                raise InvalidCheckpoint(
                    f"{event.file} is not the file this checkpoint was made in", where=start.position.value, hint=_REWRITTEN
                )
            if last < first < event.end:
                raise InvalidCheckpoint("the checkpoint is not the end of a record", where=start.position.value)
            if last < final < event.end:
                raise InvalidInput("the stop position is not the end of a record", where=stop.value)
            last = event.end
            if last <= first:
                ledger.not_needed[reasons.BEFORE_START] += 1
            elif last <= final:
                kept.append(event)
        if kept:
            yield kept
        if last >= final and last >= first:
            return
    if last < first:
        raise InvalidCheckpoint(f"the checkpoint lies past the end of the file, {last}", where=start.position.value, hint=_REWRITTEN)
    if stop:
        raise InvalidInput(f"the stop position lies past the end of the file, {last}", where=stop.value)


def selected(groups: Iterable[list[RedisEvent]], selection: Sequence[Predicate], ledger: Ledger, *, whole: bool) -> Iterator[RedisEvent]:
    """Yield the events for which all predicates hold; with `whole`, all of a transaction when they hold for one of its events."""
    for group in groups:
        refused = [next((predicate for predicate in selection if not predicate(event)), None) for event in group]
        every = whole and None in refused
        for event, predicate in zip(group, refused, strict=True):
            if predicate is None or every:
                yield event
            else:
                ledger.not_needed[reason_of(predicate)] += 1


def offset_of(position: Position) -> int:
    """Return the offset of a position, 0 for the empty one. Raises InvalidCheckpoint."""
    return position_key(position)[1] if position else 0


def position_key(position: Position) -> tuple[tuple[str | int, ...], int]:
    """Return what orders positions: files by the numbers in their names, then offsets. Raises InvalidCheckpoint."""
    file, colon, offset = position.value.rpartition(":")
    if position.driver not in ("", DRIVER):
        raise InvalidCheckpoint(f"a position of driver {position.driver!r}, expected {DRIVER!r}", where=position.value)
    if not colon or not _OFFSET.fullmatch(offset):
        raise InvalidCheckpoint(f"expected <file name>:<offset>, got {position.value!r:.100}")
    return tuple(int(part) if part.isdecimal() else part for part in _NUMBERS.split(file)), int(offset)


def _not_committed(pending: list[RedisEvent]) -> list[RedisEvent]:
    return [event if event.verdict is None else event._replace(verdict=NOT_COMMITTED) for event in pending]


def _time(annotation: bytes, before: datetime | None, where: str) -> datetime | None:
    seconds = timestamp(annotation)
    if seconds is None:
        return before
    if seconds > _LAST_SECOND:
        raise MalformedLog(f"a timestamp of {seconds} seconds, past the year 9999", where=where)
    return datetime.fromtimestamp(seconds, UTC)


def _selected(command: Command, where: str) -> int:
    database = database_number(command.arguments[0]) if len(command.arguments) == 1 else None
    if database is None:
        raise MalformedLog("SELECT without the number of a database", where=where)
    return database


def _kind(kinds: dict[bytes, str], name: bytes) -> str:
    kind = name.decode("utf-8", "backslashreplace").lower()
    if len(kinds) < _KINDS_MAX:
        kinds[name] = kind
    return kind


_REWRITTEN = "a rewrite starts a new file; without a checkpoint the file is read from its start"
