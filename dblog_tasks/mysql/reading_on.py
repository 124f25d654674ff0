"""Reading begun inside of a log: at a checkpoint, and after a prepared XA transaction, whose end stands further on.

Law: as little is read as tells it. What lies beyond the part that is asked for is found when it is first needed, and read forward
only; of a file with a header index only what is opaque: no XA transaction is anywhere else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dblog_tasks import storage
from dblog_tasks.backend import OpenOptions
from dblog_tasks.errors import InvalidCheckpoint, MalformedLog
from dblog_tasks.mysql import binlog
from dblog_tasks.mysql.indexes import HEAD_SIZE, indexes_of
from dblog_tasks.mysql.place import WHOLE, Place
from dblog_tasks.mysql.xa import Spot

_BETWEEN_TRANSACTIONS = frozenset({binlog.GTID, binlog.ANONYMOUS_GTID, binlog.GTID_TAGGED, binlog.MARIADB_GTID, binlog.ROTATE, binlog.STOP})


def entry(file: storage.LogFile, options: OpenOptions, log: str, known: binlog.Format, place: Place) -> int:
    """Return where reading may begin for events after the checkpoint's place in this file, whose identity is `log`.

    There, when a transaction starts there, else at the file's start. That it does is told from a whole event with a right checksum
    that begins a transaction and says where it ends. Raises InvalidCheckpoint for a checkpoint of another log.
    """
    if options.checkpoint.log not in ("", log):
        raise InvalidCheckpoint(
            f"the checkpoint is of another log than {file.name}", hint=f"it was made on log {options.checkpoint.log}, this is {log}"
        )
    start = place.offset
    if file.compression or not known.checksum or start <= binlog.HEADER_SIZE or place.number != WHOLE:
        return 0
    blocks = storage.read_blocks(file, options.storage_options, start=start, stop=start + HEAD_SIZE, block_size=HEAD_SIZE)
    try:
        frame = next(binlog.frames(blocks, file.name, at=start, known=known), None)
    except MalformedLog:
        return 0
    return start if frame is not None and frame.type in _BETWEEN_TRANSACTIONS else 0


class WholeLog:
    """All files of a log that the options name, or name a part of."""

    def __init__(self, options: OpenOptions) -> None:
        self._options = options
        self._files: Sequence[storage.LogFile] = ()
        self._indexes = indexes_of(options)

    def spot(self, file: str, offset: int) -> Spot | None:
        """Return where in the whole log a place lies; None when that cannot be read on from."""
        options = self._options
        if not self._files and not options.reader:
            self._files = storage.find_logs(options.log or options.paths, options.storage_options)
        return next(((index, offset) for index, found in enumerate(self._files) if found.name == file), None)

    def read_on(self, spot: Spot) -> Iterator[tuple[int, binlog.Frame]]:
        """Yield the frames from a transaction's end on to the end of the log, with the index of their file."""
        at = spot[1]
        for index, file in enumerate(self._files[spot[0] :], spot[0]):
            head = storage.head(file, self._options.storage_options, HEAD_SIZE)
            for start, stop in self._ranges(file, head, at):
                blocks = storage.read_blocks(file, self._options.storage_options, start=start, stop=stop, cancel=self._options.cancel)
                for frame in binlog.frames(blocks, file.name, at=start, known=binlog.format_of(head, file.name) if start else None):
                    if frame.start >= at:
                        yield index, frame
            at = 0

    def _ranges(self, file: storage.LogFile, head: bytes, at: int) -> Iterator[tuple[int, int | None]]:
        """Yield what of a file is to be read from offset `at` on."""
        found = self._indexes.read(file, binlog.identity(head, file.name), head) if self._indexes else None
        if found is None or file.compression:
            if found is None or any(stretch.opaque and stretch.end > at for stretch in found.stretches):
                yield 0 if file.compression else at, None
            return
        for stretch in found.stretches:
            if stretch.opaque and stretch.end > at:
                yield max(at, stretch.begin), stretch.end
