"""Redis and Valkey: the commands of a plain append-only file.

Law: only wiring; the format is `resp`, what commands prove `keyspace`, their inverses `commands`, events `decoder`, the undo as
text `text`. A multi-part append-only file is read by its incremental file alone.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import BinaryIO

from dblog_tasks import storage
from dblog_tasks.backend import STOP, OpenOptions, SeqDecoder, check_cancelled
from dblog_tasks.errors import InvalidCheckpoint, InvalidInput, StorageError, UnsupportedLog
from dblog_tasks.event import Position, Source, checkpoint_of
from dblog_tasks.ledger import NOT_COMMITTED
from dblog_tasks.redis.commands import Command, Inverse
from dblog_tasks.redis.decoder import DRIVER, RedisEvent, between, events, offset_of, position_key, selected, transactions
from dblog_tasks.redis.resp import RecordCount, frames
from dblog_tasks.redis.text import undo_text

__all__ = ["NOT_COMMITTED", "Command", "Inverse", "RedisBackend", "RedisEvent", "backend", "position_key", "undo_text"]

_BLOCK = 1 << 20
_ONE_FILE = "name one plain file, such as appendonlydir/appendonly.aof.1.incr.aof"


@dataclass(frozen=True, slots=True)
class RedisBackend:
    """The backend of driver `redis`."""

    driver: str = DRIVER

    def open(self, options: OpenOptions) -> SeqDecoder[RedisEvent]:
        """Return a decoder over the file or reader the options name.

        Raises InvalidInput without one, InvalidCheckpoint on a position of another file, UnsupportedLog on several files, a
        manifest, an RDB snapshot or a live server, and what the storage raises.
        """
        if options.on_damage != STOP:
            raise InvalidInput(
                "an append-only file has no checksums: nothing after damage can be proved whole",
                hint=f"leave --on-damage at {STOP}; redis-check-aof --fix cuts a copy off at the damage",
            )
        name, blocks = _input(options)
        for position in (options.checkpoint.position, options.stop):
            _check_file(position, name)
        source = Source(options.source.driver or DRIVER, options.source.name or _default_name(options, name))
        decoder: SeqDecoder[RedisEvent] = SeqDecoder(None)
        stream = _read(options, source, name, blocks, decoder)
        decoder.read(stream, stream.close)
        decoder.checkpoint = options.checkpoint
        return decoder

    def position_key(self, position: Position) -> tuple[tuple[str | int, ...], int]:
        """Return a sort key for positions of one log. Raises InvalidCheckpoint on text that is no position."""
        return position_key(position)


backend = RedisBackend()


def _read(
    options: OpenOptions, source: Source, name: str, blocks: Generator[bytes], decoder: SeqDecoder[RedisEvent]
) -> Generator[RedisEvent]:
    stop = max(offset_of(options.stop), offset_of(options.checkpoint.position)) if options.stop else None
    with closing(blocks):
        stream = events(frames(_counted(blocks, RecordCount(stop), options), name=name), source, name)
        groups = between(transactions(stream), options.checkpoint, options.stop, options.ledger)
        yield from selected(_passed(groups, decoder), options.selection, options.ledger, whole=options.whole_transactions)


def _passed(groups: Iterable[list[RedisEvent]], decoder: SeqDecoder[RedisEvent]) -> Iterator[list[RedisEvent]]:
    """Pass the groups on, and note in the decoder how far they were dealt with."""
    for group in groups:
        yield group
        last = group[-1]
        if last.transaction is None or last.kind == "exec":
            decoder.checkpoint = checkpoint_of(last)
        if last.time is not None:
            earliest, latest = decoder.span or (last.time, last.time)
            decoder.span = (min(earliest, last.time), max(latest, last.time))


def _counted(blocks: Iterable[bytes], count: RecordCount, options: OpenOptions) -> Iterator[bytes]:
    for block in blocks:
        check_cancelled(options.cancel)
        options.ledger.total += count.feed(block)
        yield block


def _input(options: OpenOptions) -> tuple[str, Generator[bytes]]:
    """Return the name that stands in positions, and the blocks."""
    if options.reader is not None:
        return options.source.name or "reader", _read_blocks(options.reader)
    if options.paths:
        file = _plain_file(options)
        return file.name, _file_blocks(file, options)
    if options.dsn:
        raise UnsupportedLog("redis: a live server cannot be read yet", hint="give the path of its append-only file")
    raise InvalidInput("redis: a path or a reader is required", hint=_ONE_FILE)


def _plain_file(options: OpenOptions) -> storage.LogFile:
    for path in options.paths:
        if any(name.endswith(".manifest") for name in storage.list_folder(path, options.storage_options)):
            raise UnsupportedLog("redis: a multi-part append-only file cannot be read as a whole yet", hint=_ONE_FILE)
    files = storage.find_logs(options.paths, options.storage_options)
    if len(files) != 1:
        raise UnsupportedLog(f"redis: {len(files)} files, expected one: several cannot be read as one log yet", hint=_ONE_FILE)
    return files[0]


def _file_blocks(file: storage.LogFile, options: OpenOptions) -> Generator[bytes]:
    yield from storage.read_blocks(file, options.storage_options, block_size=_BLOCK, cancel=options.cancel)


def _read_blocks(reader: BinaryIO) -> Generator[bytes]:
    while True:
        try:
            block = reader.read(_BLOCK)
        except (OSError, ValueError) as error:
            raise StorageError(f"redis: the reader failed: {error}") from error
        if not block:
            return
        if not isinstance(block, bytes):
            raise InvalidInput(f"redis: the reader gives {type(block).__name__}, expected bytes", hint="open the file in binary mode")
        yield block


def _check_file(position: Position, name: str) -> None:
    if position:
        offset_of(position)
        if position.value.rpartition(":")[0] != name:
            raise InvalidCheckpoint(f"a position in another file than {name}", where=position.value)


def _default_name(options: OpenOptions, name: str) -> str:
    """The path as given; the bare file name where the path may hold a password."""
    return "" if options.reader is not None else name if "@" in options.paths[0] else options.paths[0]
