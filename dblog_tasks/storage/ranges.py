"""The bytes of one stored file, by range, all of one content: that of the moment it was opened.

Law: never a whole file in memory, never bytes of two files in one reading; no more is asked of a store than the range needs, but for
what is read ahead of a reader that goes on.

    store                      what is held             how other content is noticed              what is asked for
    local                      the descriptor           size and time of change after each range  the range
    http, https                ETag, else the time      in every answer                           the range, or all before it too
    s3                         ETag                     If-Match (by s3fs)                        the range
    others read by requests    what the store tells     asked again after each range              the range
    sftp, memory, archives …   the store's own stream   it stays with the file it was opened on   by seeking in it

A file that only grew is read to the length it had. That it only grew is known from the last bytes given before, read once more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, suppress
import errno
import io
from itertools import chain, islice
import os
import stat
from typing import Any, Protocol, TypeAlias, TypeVar

from dblog_tasks.errors import StorageError, UnsupportedLog
from dblog_tasks.storage.failures import NEEDS_RANGES, READ_AGAIN, REPLACED, reported
from dblog_tasks.storage.paths import Info, Place, info_at
from dblog_tasks.storage.version import Version

_REQUEST_BYTES_MAX = 8 << 20
_WITNESS_BYTES = 512  # of the bytes given before, compared when a file changed
_MARK_BYTES = 64  # at the beginning of a file, where servers mark it as closed: never compared
_ARCHIVE_BUFFER_BYTES = {False: 1 << 16, True: 1 << 20}  # by whether each read is a request
_ATTRIBUTES = ("ETag", "etag", "generation", "LastModified", "last_modified", "mtime", "modified", "modify", "updated")
_ZIP_METHODS = frozenset({0, 8})  # stored and deflated: the others give their output without bound
_Range: TypeAlias = tuple[int, int]
Wanted = TypeVar("Wanted")
Fetched = TypeVar("Fetched")


class Source(Protocol):
    """A file that is open.

    Attributes:
        length: when it was opened; None when that is not known.
        version: of the content the bytes fetched last came from.
        ranged: whether any range can be fetched, not only one behind the last.
    """

    length: int | None
    version: Version
    ranged: bool

    def fetch(self, start: int, stop: int) -> bytes:
        """Return the bytes from `start` to `stop`, fewer only at the end of the file."""
        ...

    def close(self) -> None:
        """Release the file."""
        ...


class _LocalFile:
    """A path of this machine; what is no regular file (a pipe) is read forward only."""

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            status = os.fstat(self._descriptor)
            if stat.S_ISDIR(status.st_mode):
                raise IsADirectoryError
        except BaseException:
            self.close()
            raise
        self.ranged, self._at = stat.S_ISREG(status.st_mode), 0
        self.length = status.st_size if self.ranged else None
        self.version = Version(self.length, status.st_mtime_ns)

    def fetch(self, start: int, stop: int) -> bytes:
        if not self.ranged:
            return self._forward(start, stop)
        found = os.pread(self._descriptor, stop - start, start)
        while len(found) < stop - start and (more := os.pread(self._descriptor, stop - start - len(found), start + len(found))):
            found += more
        status = os.fstat(self._descriptor)
        self.version = Version(status.st_size, status.st_mtime_ns)
        return found

    def _forward(self, start: int, stop: int) -> bytes:
        if start != self._at:
            raise OSError(errno.ESPIPE, os.strerror(errno.ESPIPE))
        found = b""
        while len(found) < stop - start and (more := os.read(self._descriptor, stop - start - len(found))):
            found += more
        self._at += len(found)
        return found

    def close(self) -> None:
        os.close(self._descriptor)


class _RequestFile:
    """A file of a store that fsspec reads by requests for ranges: made without fsspec's cache, so that only the range is asked for."""

    ranged = True

    def __init__(self, place: Place, stream: Any) -> None:
        from fsspec.caching import BaseCache  # noqa: PLC0415 - not every command opens a file

        stream.cache = BaseCache(stream.cache.blocksize, stream.cache.fetcher, stream.size)
        self._place, self._stream = place, stream
        self._checked = not getattr(stream, "read_kw", {}).get("IfMatch")  # otherwise s3fs has the store check the ETag
        self.length: int | None = stream.size
        self.version = _version_of(stream.details)

    def fetch(self, start: int, stop: int) -> bytes:
        self._stream.seek(start)
        found = bytes(self._stream.read(stop - start))
        if self._checked:
            self._place.fs.invalidate_cache()
            info = info_at(self._place.fs, self._place.path)
            if info is None:
                raise FileNotFoundError
            self.version = _version_of(info)
        return found

    def close(self) -> None:
        self._stream.close()


class _StreamFile:
    """A file of a store that gives a stream of its own, which stays with the content it was opened on."""

    ranged = True

    def __init__(self, stream: Any, length: int | None, lock: AbstractContextManager[Any]) -> None:
        self._stream, self.length, self._lock = stream, length, lock
        self.version = Version(length)

    def fetch(self, start: int, stop: int) -> bytes:
        found = []
        with self._lock:  # several readers may share the stream itself, or the file below it
            self._stream.seek(start)
            while start < stop and (piece := bytes(self._stream.read(stop - start))):
                found.append(piece)
                start += len(piece)
        return b"".join(found)

    def close(self) -> None:
        self._stream.close()


def _version_of(info: Info) -> Version:
    return Version(info.get("size"), tuple(str(info[name]) for name in _ATTRIBUTES if info.get(name) is not None))


def open_source(place: Place, start: int, stop: int | None) -> Source:
    """Return the file, open; the range is the one that will be fetched first. Raises what the store raises."""
    if place.local:
        return _LocalFile(place.path)
    if place.web:
        from dblog_tasks.storage.web import WebFile  # noqa: PLC0415 - not every command asks a server

        return WebFile(place.fs, place.path, start, stop)
    with place.lock:
        if place.protocol == "zip":
            _refuse_member(place)
        stream = place.fs.open(place.path, "rb")
        if "::" not in place.url and _is_read_by_requests(stream):  # in a chain it may be what fills another one's cache
            return _RequestFile(place, stream)
        length = getattr(stream, "size", None)
        if not isinstance(length, int):
            length = (info_at(place.fs, place.path) or {}).get("size")
        return _StreamFile(stream, length, place.lock)


def _is_read_by_requests(stream: Any) -> bool:
    from fsspec.spec import AbstractBufferedFile  # noqa: PLC0415 - not every command opens a file

    return isinstance(stream, AbstractBufferedFile) and isinstance(stream.size, int) and hasattr(stream.cache, "fetcher")


def _refuse_member(place: Place) -> None:
    info = info_at(place.fs, place.path) or {}
    if info.get("flag_bits", 0) & 1:
        raise UnsupportedLog("encrypted in its archive", where=place.url, hint="unpack it")
    if info.get("compress_type", 0) not in _ZIP_METHODS:
        raise UnsupportedLog("packed into its archive by a method that is not read", where=place.url, hint="unpack it")


def stored_blocks(place: Place, start: int, stop: int | None, block_size: int, largest: int = 0, *, missing: str) -> Iterator[bytes]:
    """Yield a file's bytes as stored, from offset `start` up to `stop` or its end at that moment; `missing` as for `reported`.

    The first block has `block_size` bytes, the next ones twice as many each until they have `largest`, if that is more. Raises
    StorageError, also when the file is replaced or cut meanwhile.
    """
    first = start + block_size if stop is None else min(stop, start + block_size)
    with reported("cannot be opened", place.url, missing=missing):
        source = open_source(place, start, first)
    try:
        end = source.length if stop is None else stop if source.length is None else min(stop, source.length)
        reading = _Reading(place, source, start, end, missing)
        largest = max(block_size, largest)
        asked = largest if place.local else max(largest, _REQUEST_BYTES_MAX // block_size * block_size)
        ranges = _ranges(start, end, block_size, asked)
        for found in ahead(reading.fetch, ranges) if place.parallel else map(reading.fetch, ranges):
            if not found:
                return
            yield from [found] if len(found) <= largest else (found[at : at + largest] for at in range(0, len(found), largest))
    finally:
        with suppress(Exception):  # nothing was written, so nothing can be lost
            source.close()


def _ranges(start: int, end: int | None, size: int, largest: int) -> Iterator[_Range]:
    """Yield the ranges to ask for, each twice as big as the one before until they are `largest`: who stops early has asked for little."""
    while end is None or start < end:
        stop = start + size if end is None else min(start + size, end)
        yield start, stop
        start, size = stop, min(2 * size, largest)


def ahead(fetch: Callable[[Wanted], Fetched], wanted: Iterable[Wanted]) -> Iterator[Fetched]:
    """Yield what `fetch` gives for each in order, while one thread fetches the next one; never more than one ahead."""
    following = iter(wanted)
    first = list(islice(following, 2))
    if len(first) < 2:
        yield from map(fetch, first)
        return
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - what is read at once needs none

    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as pool:
        coming = None
        for each in chain(first, following):
            found, coming = coming, pool.submit(fetch, each)
            if found:
                yield found.result()
        if coming:
            yield coming.result()


class _Reading:
    """One reading of a file from `start` to `end`, range after range: every range is of the content that was opened, or an error."""

    def __init__(self, place: Place, source: Source, start: int, end: int | None, missing: str) -> None:
        self._place, self._source, self._missing = place, source, missing
        self._start, self._at, self._end = start, start, end
        self._version, self._witness = source.version, b""
        self._ended = False

    def fetch(self, wanted: _Range) -> bytes:
        """Return the bytes of the range that follows the last one, fewer or none where a file of unknown length ends."""
        if self._ended:
            return b""
        with reported("cannot be read", self._place.url, missing=self._missing):
            found = self._source.fetch(*wanted)
            if self._source.version != self._version:
                self._refuse_other_content()
            self._ended = len(found) < wanted[1] - wanted[0]
            if self._ended and self._end is not None:
                raise StorageError(REPLACED, where=self._place.url, hint=READ_AGAIN)
        self._at += len(found)
        self._witness = (self._witness + found[-_WITNESS_BYTES:])[-_WITNESS_BYTES:]
        return found

    def _refuse_other_content(self) -> None:
        version = self._source.version
        low = max(self._at - len(self._witness), _MARK_BYTES)
        witness = self._witness[low - self._at :] if low < self._at else b""
        shorter = version.size is not None and self._end is not None and version.size < self._end
        if shorter or (witness and self._source.fetch(low, self._at) != witness):
            raise StorageError(REPLACED, where=self._place.url, hint=READ_AGAIN)
        self._version = version


class _RandomFile(io.RawIOBase):
    """A file as what reads an archive wants it: with a position that can be moved anywhere. Any change of the content is an error."""

    def __init__(self, place: Place, source: Source, length: int) -> None:
        super().__init__()
        self._place, self._source, self._length, self._at = place, source, length, 0
        self._version = source.version

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = max(offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._length}[whence], 0)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        stop = min(self._at + len(buffer), self._length)
        if stop <= self._at:
            return 0
        found = self._source.fetch(self._at, stop)
        if self._source.version != self._version or len(found) < stop - self._at:
            raise StorageError(REPLACED, where=self._place.url, hint=READ_AGAIN)
        buffer[: len(found)] = found
        self._at = stop
        return len(found)

    def close(self) -> None:
        if not self.closed:
            with suppress(Exception):  # nothing was written, so nothing can be lost
                self._source.close()
        super().close()


def open_random(place: Place) -> io.BufferedReader:
    """Return the file as a stream with a position, a buffer before it. Raises StorageError when its store gives no ranges."""
    with reported("cannot be opened", place.url, missing="no such archive"):
        source = open_source(place, 0, 1)
    if not source.ranged or source.length is None:
        source.close()
        raise StorageError("an archive is read by parts, which this store cannot give", where=place.url, hint=NEEDS_RANGES)
    return io.BufferedReader(_RandomFile(place, source, source.length), _ARCHIVE_BUFFER_BYTES[place.parallel])
