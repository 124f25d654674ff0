"""Whole files and folders of a store: what plans are kept in.

Law: a file is written whole or not at all wherever the store can do that; nothing here knows what is in one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
import re

from dblog_tasks.errors import InvalidInput, StorageError
from dblog_tasks.storage import local
from dblog_tasks.storage.failures import reported, store_code
from dblog_tasks.storage.paths import ARCHIVES, MEMORY_LOCK, OBJECT_STORES, Options, Place, info_at
from dblog_tasks.storage.place import place_of
from dblog_tasks.storage.ranges import stored_blocks

_UNFINISHED = re.compile(r"\..*\.[0-9a-f]{16}\.tmp", re.DOTALL)
_PROBE = ".dblog-writable"
_MISSING = "no such file"
_CONFLICTS_MAX = 20


def exists(url: str, options: Options) -> bool:
    """Return whether there is a file or folder. Raises StorageError when that cannot be known."""
    return place_of(url, options).info() is not None


def is_file(url: str, options: Options) -> bool:
    """Return whether there is a file, not a folder. Raises StorageError when that cannot be known."""
    info = place_of(url, options).info()
    return info is not None and info["type"] != "directory"


def list_folder(url: str, options: Options) -> list[str]:
    """Return the names of what is in the folder, sorted, without what is still being written; empty when there is no folder."""
    return sorted(name for name in place_of(url, options).entries() if not _UNFINISHED.fullmatch(name))


def read_if_there(url: str, options: Options, limit: int | None = None) -> bytes | None:
    """Return the whole content; None when there is no such file. Raises what `read_file` raises."""
    try:
        return read_file(url, options, limit)
    except StorageError as error:
        if error.what == _MISSING:
            return None
        raise


def read_file(url: str, options: Options, limit: int | None = None) -> bytes:
    """Return the whole content. Raises StorageError when there is none, or more than `limit` bytes of it."""
    stop = None if limit is None else limit + 1
    content = b"".join(stored_blocks(place_of(url, options), 0, stop, 1 << 20, missing=_MISSING))
    if limit is not None and len(content) > limit:
        raise StorageError(f"the file has more than the {limit} bytes expected of it", where=url)
    return content


def write_file(url: str, data: bytes, options: Options) -> None:
    """Write a whole file, in place of any there is; folders are made where the store has them.

    On a local disk it is durable on return, and a reader finds the old file or the new one. S3 and memory do the same; other stores
    may show a part meanwhile. What is no regular file (`/dev/stdout`) is written into. Raises StorageError.
    """
    place = place_of(url, options)
    with reported("cannot be written", url):
        _make_parent(place)
        if place.local:
            local.write(place.path, data)
        else:
            place.fs.pipe_file(place.path, data)


def write_exclusively(url: str, data: bytes, options: Options) -> bool:
    """Write a whole file unless there is one; return whether this call made it.

    Of concurrent callers exactly one gets True, and no reader finds a part: on a local disk (a hard link; where the disk has none,
    exclusive creation, which may show a part), in memory (within this process), and on S3 (If-None-Match, which the store must
    honour; when an answer is lost on its way, the one who made the file may get False). Other stores are asked first and then
    written to, which two callers can do at once. Raises StorageError.
    """
    place = place_of(url, options)
    with reported("cannot be written", url):
        _make_parent(place)
        return _EXCLUSIVE_WRITERS.get("file" if place.local else place.protocol, _write_if_absent)(place, data)


def remove_folder(url: str, options: Options) -> None:
    """Remove a folder with all in it; nothing happens when there is none. Raises StorageError; InvalidInput for no folder or a bucket."""
    place = place_of(url, options)
    info = place.info()
    if info is None:
        return
    path = place.path.strip("/")
    if info["type"] != "directory" or not path or (place.protocol in OBJECT_STORES and "/" not in path):
        raise InvalidInput("only a folder inside a store can be removed", where=url)
    with reported("cannot be removed", url):
        place.fs.rm(place.path, recursive=True)


def writable(url: str, options: Options) -> None:
    """Ensure that files can be written to this folder. Raises StorageError otherwise.

    A local folder need not exist, the nearest one that does is looked at. Elsewhere a small file is written and removed.
    """
    place = place_of(url, options)
    with reported("cannot be written", url):
        if place.local:
            local.check_writable(place.path)
        else:
            _refuse_archive(place)
            _probe(place)


def _probe(place: Place) -> None:
    path = f"{place.path.rstrip('/')}/{_PROBE}"
    place.fs.pipe_file(path, b"dblog")
    with suppress(Exception):  # a store may allow writing but no removal; the name is always the same, so one stays at most
        place.fs.rm_file(path)


def _refuse_archive(place: Place) -> None:
    if place.protocol in ARCHIVES:
        raise InvalidInput("an archive is only read", where=place.url, hint="write to a folder or bucket")


def _make_parent(place: Place) -> None:
    _refuse_archive(place)
    if place.local:
        local.make_parent(place.path)
    elif place.protocol not in OBJECT_STORES and place.protocol != "memory":  # there it would make a bucket, here it is not needed
        place.fs.makedirs(place.fs._parent(place.path), exist_ok=True)  # noqa: SLF001 - fsspec has no public way


def _write_new_s3(place: Place, data: bytes) -> bool:
    for _ in range(_CONFLICTS_MAX):
        try:
            place.fs.pipe_file(place.path, data, mode="create")
        except OSError as error:
            if isinstance(error, FileExistsError) or store_code(error) == "PreconditionFailed":
                return False
            if store_code(error) != "ConditionalRequestConflict":  # another write is under way, and may yet fail
                raise
        else:
            return True
    raise StorageError("others keep writing the same file", where=place.url, hint="try again")


def _write_new_in_memory(place: Place, data: bytes) -> bool:
    with MEMORY_LOCK:
        return _write_if_absent(place, data)


def _write_if_absent(place: Place, data: bytes) -> bool:
    if info_at(place.fs, place.path) is not None:
        return False
    place.fs.pipe_file(place.path, data)
    return True


_EXCLUSIVE_WRITERS: Mapping[str, Callable[[Place, bytes], bool]] = {
    "file": lambda place, data: local.write_new(place.path, data),
    "memory": _write_new_in_memory,
    "s3": _write_new_s3,
    "s3a": _write_new_s3,
}
