"""Header indexes of files, kept in a folder at any URL: read where they are to be trusted, written when a file was read wholly.

    FOLDER/<file>-<identity>-<size>.headers

Law: an index never costs a result. One that is missing, damaged, of another format or of another file is as none; one that cannot be
read or written is said in a warning, once a folder and cause, and the log is read. Whoever writes the same index writes the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
import re
from typing import TYPE_CHECKING, Any

from dblog_tasks import storage
from dblog_tasks.backend import STOP, OpenOptions, PassedOver, check_cancelled
from dblog_tasks.errors import InvalidInput, StorageError
from dblog_tasks.event import Checkpoint, Position
from dblog_tasks.mysql import binlog
from dblog_tasks.mysql.selection import Selection
from dblog_tasks.mysql.transactions import instants

if TYPE_CHECKING:
    from dblog_tasks.mysql.header_index import HeaderIndex, Recorder

HEAD_SIZE = 4096  # enough for the first event of a file
_PLAIN = re.compile(r"[^A-Za-z0-9._-]")


class Indexes:
    """The indexes in one folder."""

    def __init__(self, url: str, storage_options: Mapping[str, Any]) -> None:
        self._url, self._options = url, storage_options

    def read(self, file: storage.LogFile, log: str, head: bytes) -> HeaderIndex | None:
        """Return the index of a file with this identity and these first bytes; None where there is none to be trusted.

        Raises InvalidInput for a URL that cannot be meant.
        """
        from dblog_tasks.mysql.header_index import UNPACKED_MAX, HeaderIndex, digest  # noqa: PLC0415 - only with indexes

        if not log or file.size is None:
            return None
        try:
            data = storage.read_if_there(self._place(file, log), self._options, UNPACKED_MAX)
        except StorageError as error:
            _warn(self._url, f"header indexes cannot be used, the logs are read: {error.what}")
            return None
        found = HeaderIndex.from_bytes(data) if data else None
        if found is None or (found.log, found.head, found.size) != (log, digest(head), file.size):
            return None
        return found if file.compression or found.end == file.size else None

    def recorder(self, total: int) -> Recorder:
        """Return what makes the index of a file, given the ledger's total before it."""
        from dblog_tasks.mysql.header_index import Recorder  # noqa: PLC0415 - only with indexes

        return Recorder(total)

    def write(self, file: storage.LogFile, index: HeaderIndex | None) -> None:
        """Keep the index of a file that has one, in place of any there is."""
        if index is None:
            return
        try:
            storage.write_file(self._place(file, index.log), index.to_bytes(), self._options)
        except (StorageError, InvalidInput) as error:
            _warn(self._url, f"header indexes cannot be written: {error.what}")
        except UnicodeEncodeError:
            _warn(self._url, f"no header index of {file.name!r}: a name in it is no text")

    def _place(self, file: storage.LogFile, log: str) -> str:
        return storage.join(self._url, f"{_PLAIN.sub('_', file.name)}-{log}-{file.size}.headers")


@cache
def _warn(url: str, what: str) -> None:
    """Say it once: a series has thousands of files."""
    import logging  # noqa: PLC0415 - takes long to import

    logging.getLogger(__name__).warning("%s: %s", url, what)


def indexes_of(options: OpenOptions) -> Indexes | None:
    """Return the indexes that the options name; None without, and where damage is to be salvaged: then all is looked at."""
    return Indexes(options.index, options.storage_options) if options.index and options.on_damage == STOP else None


def pass_over(options: OpenOptions) -> PassedOver | None:
    """Return what its index says of the one file of the options when nothing of it is needed, and count its events; else None."""
    indexes = indexes_of(options)
    if indexes is None or len(options.files) != 1 or options.checkpoint.position or options.stop:
        return None
    from dblog_tasks.mysql.header_search import Sought, runs  # noqa: PLC0415 - only with indexes

    file = options.files[0]
    check_cancelled(options.cancel)
    head = storage.head(file, options.storage_options, HEAD_SIZE)
    log = binlog.identity(head, file.name)
    index = indexes.read(file, log, head)
    found = runs(index, Sought(Selection.of(options.selection), own_replays=options.own_replays), file.name) if index else []
    if index is None or len(found) != 1 or not found[0].reasons:
        return None
    run = found[0]
    run.count_into(options.ledger)
    checkpoint = Checkpoint(options.source, Position("mysql", f"{file.name}:{run.end}"), log)
    return PassedOver(checkpoint, run.span and instants(run.span), run.reasons)
