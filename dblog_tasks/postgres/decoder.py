"""The files of a log, one after the other.

Law: the only module under `postgres/` that reads storage. Memory does not grow with the log.

A log is read from its beginning also when it is resumed: what was prepared or streamed before the checkpoint may be committed after it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from datetime import datetime
from functools import cached_property
from pathlib import PurePath
from types import TracebackType
from typing import Any, Self

from dblog_tasks import storage
from dblog_tasks.backend import STOP, OpenOptions, check_cancelled
from dblog_tasks.errors import InvalidInput, StorageError, UnsupportedLog
from dblog_tasks.event import Checkpoint, Position, Source
from dblog_tasks.postgres.columns import told_by_escapes
from dblog_tasks.postgres.events import FileDecoder, PostgresEvent
from dblog_tasks.postgres.formats import COPY, PSQL, head_of
from dblog_tasks.postgres.place import DRIVER, Place, place_text
from dblog_tasks.postgres.selection import Selection
from dblog_tasks.postgres.transactions import Group

_BLOCK = 1 << 20


class PostgresDecoder:
    """A log being read: one file, or several one after the other.

    Attributes:
        options: as given.
        source: whose log.
        checkpoint: after the last transaction that was dealt with.
        span: commit times of the first and the last transaction so far.
    """

    def __init__(self, options: OpenOptions) -> None:
        if options.on_damage != STOP:
            raise InvalidInput(
                "a logical decoding log has no checksums: nothing after damage can be proved whole", hint=f"leave --on-damage at {STOP}"
            )
        if options.dsn and not options.paths and options.reader is None:
            raise UnsupportedLog("pg: a live server cannot be read yet", hint="give the path of a file that pg_recvlogical or psql wrote")
        if not options.paths and options.reader is None:
            raise InvalidInput("pg: a path or a reader is required", hint="give a file that pg_recvlogical or psql wrote")
        self.options = options
        self.selection = Selection.of(options.selection)
        self.catalog = _catalog(options)
        self.files = () if options.reader else options.files or storage.find_logs(options.paths, options.storage_options)
        name = options.source.name or (self.files[0].name.rpartition(".")[0] or self.files[0].name if self.files else "")
        self.source = Source(options.source.driver or DRIVER, name)
        self.checkpoint = options.checkpoint
        self.span: tuple[datetime, datetime] | None = None
        self._events = self._read()

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The files of the whole log, of which these are some or all, oldest first."""
        whole = storage.find_logs(self.options.log, self.options.storage_options) if self.options.log else self.files
        return tuple(file.name for file in whole)

    @property
    def is_alone(self) -> bool:
        """Whether this is all of the log: then a checkpoint must be of it."""
        return len(self.files) < 2

    def passed(self, file: FileDecoder, group: Group) -> None:
        """Note that a group was dealt with: reading can go on after it."""
        self.checkpoint = Checkpoint(self.source, Position(DRIVER, place_text(group.end, file.offsets_of)), file.identity)
        if group.time is not None:
            self.note_times(group.time, group.time)

    def read_to(self, file: FileDecoder, end: Place) -> None:
        """Note that a file is read to its end, where none of its groups was passed."""
        if self.checkpoint == self.options.checkpoint:
            self.checkpoint = Checkpoint(self.source, Position(DRIVER, place_text(end, file.offsets_of)), file.identity)

    def note_times(self, earliest: datetime, latest: datetime) -> None:
        """Note the commit times of transactions that were dealt with."""
        first, last = self.span or (earliest, latest)
        self.span = (min(first, earliest), max(last, latest))

    def is_copy(self, name: str) -> bool:
        """Return False where the file cannot be COPY's. Raises UnsupportedLog where nothing tells."""
        file = next((file for file in self.files if file.name == name), None)
        if file is None or told_by_escapes(storage.read_blocks(file, self.options.storage_options, cancel=self.options.cancel)) is None:
            raise UnsupportedLog(
                "nothing tells whether psql or COPY wrote this, and they mean different things by a backslash",
                where=name,
                hint=f"say --format {PSQL} or --format {COPY}",
            )
        return False

    def _read(self) -> Generator[PostgresEvent]:
        if self.options.reader is not None:
            name = self.options.source.name or PurePath(str(getattr(self.options.reader, "name", "") or "reader")).name
            yield from self._file(name, _read_blocks(self.options.reader), last=True)
            return
        for file in self.files:
            check_cancelled(self.options.cancel)
            with closing(self._blocks(file)) as blocks:
                yield from self._file(file.name, blocks, last=file.name == self.names[-1])

    def _blocks(self, file: storage.LogFile) -> Generator[bytes]:
        yield from storage.read_blocks(file, self.options.storage_options, block_size=_BLOCK, cancel=self.options.cancel)

    def _file(self, name: str, blocks: Iterator[bytes], *, last: bool) -> Iterator[PostgresEvent]:
        head, blocks = head_of(blocks)
        yield from FileDecoder(self, name, head, last=last).events(blocks)

    def __iter__(self) -> Iterator[PostgresEvent]:
        return self._events

    def close(self) -> None:
        """Release what the decoder holds."""
        self._events.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _read_blocks(reader: Any) -> Iterator[bytes]:
    while True:
        try:
            block = reader.read(_BLOCK)
        except (OSError, ValueError) as error:
            raise StorageError(f"pg: the reader failed: {error}") from error
        if not block:
            return
        if not isinstance(block, bytes):
            raise InvalidInput(f"pg: the reader gives {type(block).__name__}, expected bytes", hint="open the file in binary mode")
        yield block


def _catalog(options: OpenOptions) -> Any:
    """Return what the schema option says of tables: a DSN is asked, a file is read; None without one."""
    if not options.schema:
        return None
    if options.schema.startswith(("postgres://", "postgresql://")):
        from dblog_tasks.postgres.live_catalog import live_catalog  # noqa: PLC0415 - an extra

        return live_catalog(options.schema)
    from dblog_tasks.postgres.catalog import read_schema  # noqa: PLC0415 - seldom needed

    return read_schema(storage.read_file(options.schema, options.storage_options).decode("utf-8", "surrogateescape"))
