"""Zip and tar files as stores of their members, in whatever store the archive itself is.

Law: nothing is unpacked to disk, no archive is ever whole in memory. An archive is opened once and kept while it is the same file, as
finding its members can take a reading of all of it.

    zip://MEMBER::ARCHIVE    stored and deflated members; without Range on an HTTP server: `zip://MEMBER::simplecache::https://…`
    tar://MEMBER::ARCHIVE    plain, or packed as `compression.py` reads it: then every member costs reading from the beginning
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
import io
import os
from threading import Lock
from typing import Any, NamedTuple

from dblog_tasks.errors import StorageError
from dblog_tasks.storage.compression import SUFFIXES, decompress
from dblog_tasks.storage.failures import reported
from dblog_tasks.storage.paths import Info, Place
from dblog_tasks.storage.ranges import open_random

_KEPT_MAX = 4
_BLOCK_BYTES = 1 << 20
_TAR_NAMES: Mapping[str, str] = {"tgz": "gz", "tbz2": "bz2", "txz": "xz", "tzst": "zst"}


class Archive(NamedTuple):
    """An archive that is open: its fsspec file system, and the lock for all streams that read from it."""

    fs: Any
    lock: Any


_kept: OrderedDict[object, Archive] = OrderedDict()
_keeping = Lock()


def archive_of(protocol: str, place: Place) -> Archive:
    """Return the archive at a place, opened now or before. Raises StorageError when there is none or it is damaged, UnsupportedLog."""
    info = place.info()
    if info is None or info["type"] == "directory":
        raise StorageError("no such archive", where=place.url, hint="after `::` stands the path or URL of one archive")
    key = (protocol, place.identity(info), *(str(info.get(name)) for name in _VERSION))
    with _keeping:
        if key not in _kept:
            with reported("cannot be opened", place.url):
                _kept[key] = Archive(_OPENERS[protocol](place, info), Lock())
            if len(_kept) > _KEPT_MAX:
                _kept.popitem(last=False)  # who still reads from it keeps it open
        _kept.move_to_end(key)
        return _kept[key]


def _zip(place: Place, info: Info) -> Any:
    from fsspec.implementations.zip import ZipFileSystem  # noqa: PLC0415 - only who reads a zip file needs it

    return ZipFileSystem(open_random(place))


def _tar(place: Place, info: Info) -> Any:
    from fsspec.implementations.tar import TarFileSystem  # noqa: PLC0415 - only who reads a tar file needs it

    suffix = place.path.rpartition(".")[2].lower()
    compression = _TAR_NAMES.get(suffix) or SUFFIXES.get(suffix, "")
    stream = open_random(place)
    return TarFileSystem(io.BufferedReader(_Unpacked(stream, compression, place.url), _BLOCK_BYTES) if compression else stream)


class _Unpacked(io.RawIOBase):
    """The decompressed bytes of a stream, with a position: moving it back means to begin again."""

    def __init__(self, stored: io.BufferedReader, compression: str, url: str) -> None:
        super().__init__()
        self._stored, self._compression, self._url = stored, compression, url
        self._wanted, self._rest = 0, b""
        self._rewind()

    def _rewind(self) -> None:
        self._stored.seek(0)
        self._pieces: Iterator[bytes] = decompress(self._compression, iter(lambda: self._stored.read(_BLOCK_BYTES), b""), self._url)
        self._at, self._rest = 0, b""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_END:
            raise io.UnsupportedOperation
        self._wanted = offset + (self._wanted if whence == os.SEEK_CUR else 0)
        return self._wanted

    def tell(self) -> int:
        return self._wanted

    def readinto(self, buffer: Any) -> int:
        if self._wanted < self._at:
            self._rewind()
        while self._at + len(self._rest) <= self._wanted:
            self._at += len(self._rest)
            self._rest = next(self._pieces, b"")
            if not self._rest:
                return 0
        self._rest = self._rest[self._wanted - self._at :]
        found = self._rest[: len(buffer)]
        buffer[: len(found)] = found
        self._rest = self._rest[len(found) :]
        self._at = self._wanted = self._wanted + len(found)
        return len(found)

    def close(self) -> None:
        if not self.closed:
            self._stored.close()
        super().close()


_VERSION = ("size", "mtime", "ino", "created", "version", "ETag", "etag", "LastModified", "last_modified", "updated", "CRC", "date_time")
_OPENERS: Mapping[str, Callable[[Place, Info], Any]] = {"tar": _tar, "zip": _zip}
