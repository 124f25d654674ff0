"""The files a log is made of, in log order, and their bytes.

Law: names and sizes only, nothing of what a log holds; never a whole file in memory.

    name                        read as
    NAME.000007                 member 7 of the rotated series NAME (six digits or more, ordered as numbers)
    NAME.000007.gz              the same, compressed (`compression.py` has the suffixes); it is called NAME.000007 everywhere
    NAME.index                  one path a line, in log order, as a MySQL or MariaDB server writes it
    anything else               a log of its own
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
import re
from threading import Event as CancelEvent
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, TypeVar

from dblog_tasks.errors import Cancelled, DblogError, InvalidInput, LogGap, StorageError, UnsupportedLog
from dblog_tasks.storage.compression import SUFFIXES, UNREADABLE, decompress, split_suffix
from dblog_tasks.storage.failures import NO_LISTING, reported
from dblog_tasks.storage.files import read_file
from dblog_tasks.storage.paths import OBJECT_STORES, Info, Options, Place, base_name, info_at, join, parent
from dblog_tasks.storage.place import place_of
from dblog_tasks.storage.ranges import stored_blocks

if TYPE_CHECKING:
    from concurrent.futures import Future

T = TypeVar("T")
_MEMBER = re.compile(r"(?P<series>.+)\.(?P<number>[0-9]{6,19})", re.DOTALL)
_INDEX = ".index"
_INDEX_BYTES_MAX = 16 << 20
_BLOCK_BYTES = 1 << 20
_ASKED_AT_ONCE = 8  # stores, when many URLs are given
_TAR = re.compile(r".+\.(tar(\.[A-Za-z0-9]+)?|tgz|tbz2|txz|tzst)", re.DOTALL)
_VANISHED = "vanished while being read (purged?)"


class LogFile(NamedTuple):
    """One stored file of a log.

    Attributes:
        url: as it is opened; holds no secret.
        name: file name without folder and without the suffix of its compression (`mysql-bin.000007`).
        size: bytes as stored; None where the store does not say.
        compression: `gz`, `zst`, `xz`, `bz2`, or empty.
    """

    url: str
    name: str
    size: int | None
    compression: str


class _Found(NamedTuple):
    """A file, and what tells it from all others: the same file can be named in several ways."""

    identity: object
    file: LogFile


_Folders: TypeAlias = dict[str, tuple[Place, Mapping[str, Info]]]


def find_logs(urls: Sequence[str], storage_options: Options) -> tuple[LogFile, ...]:
    """Return the files of a log, each once, in log order.

    A URL is a file, a folder or glob with one rotated series in it, or a server's index file. Members of a series come in numeric
    order; series, and files that belong to none, in the order given. Local files ignore the storage options.

    Raises InvalidInput for what cannot be meant, LogGap for a missing member, UnsupportedLog for a compression that is not read,
    StorageError for what is not there or cannot be reached.
    """
    places = [place_of(url, storage_options) for url in ([urls] if isinstance(urls, str) else urls)]
    found: dict[object, LogFile] = {}
    for files in _asked(places, storage_options):
        for identity, file in files:
            found.setdefault(identity, file)
    if not found:
        raise InvalidInput("no log is named", hint="give at least one file, folder, glob or index file")
    return _in_log_order(found.values())


def _asked(places: Sequence[Place], options: Options) -> Iterator[list[_Found]]:
    """Yield what each place holds, in order; where asking takes long, several are asked at once."""
    if sum(place.parallel for place in places) < 2:
        yield from (_files_of(place, options) for place in places)
        return
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - local files need none

    with ThreadPoolExecutor(_ASKED_AT_ONCE, thread_name_prefix="listing") as pool:
        asked = [pool.submit(_files_of, place, options) if place.parallel else None for place in places]
        try:
            for place, answer in zip(places, asked, strict=True):
                yield answer.result() if answer else _files_of(place, options)
        finally:
            pool.shutdown(cancel_futures=True)


def _files_of(place: Place, options: Options) -> list[_Found]:
    info = None if place.glob and place.web else place.info()  # a server may answer anything for a file that it does not have
    if info is None and place.glob:
        return _of_glob(place, options)
    if info is None:
        raise _nothing_at(place, "no such file or folder")
    if info["type"] == "directory":
        return _of_folder(place, options)
    if place.name_of(place.path).endswith(_INDEX):
        return list(_of_index(place, options))
    if not _is_file(info):
        raise InvalidInput("neither a file nor a folder", where=place.url, hint="copy what it gives to a file first")
    return [_found(place, place.url, info)]


def _nothing_at(place: Place, what: str) -> StorageError:
    bucket = place.path.strip("/").partition("/")[0]
    with reported("cannot be looked up", place.url):
        lost = place.protocol in OBJECT_STORES and info_at(place.fs, bucket) is None
    hint = "check the spelling, and the endpoint of an object store"
    return StorageError(f"no bucket is called {bucket!r}" if lost else what, where=place.url, hint=hint)


def _of_folder(place: Place, options: Options) -> list[_Found]:
    files = {name: info for name, info in place.entries().items() if _is_file(info) and not name.startswith(".")}
    members = [name for name in files if _member(name)]
    indexes = [name for name in files if name.endswith(_INDEX)]
    if len(_series(members)) > 1 and len(indexes) == 1:
        return list(_of_index(place_of(join(place.url, indexes[0]), options), options))
    if not members:
        hint = "name the files themselves" if files or not place.web else NO_LISTING
        raise StorageError("no log in this folder: expected files like NAME.000001", where=place.url, hint=hint)
    _refuse_mixture(place.url, members)
    return [_found(place, place.url_of(name, files[name]), files[name]) for name in members]


def _of_glob(place: Place, options: Options) -> list[_Found]:
    files = {path: info for path, info in place.matches().items() if _is_file(info) and not place.name_of(path).startswith(".")}
    members = [path for path in files if _member(place.name_of(path))]
    chosen = members or [path for path in files if not path.endswith(_INDEX)]
    if not chosen:
        raise _nothing_at(place, "no log matches")
    _refuse_mixture(place.url, map(place.name_of, chosen))
    if place.local or place.web:
        return [_found(place, path, files[path]) for path in chosen]
    root = place_of(parent(place.url), options)
    while root.glob:
        root = place_of(parent(root.url), options)
    return [_found(place, join(root.url, path[len(root.path) :]), files[path]) for path in chosen]


def _of_index(place: Place, options: Options) -> Iterator[_Found]:
    """Yield the files an index lists: at the path it gives, else beside it; compressed or not."""
    data = read_file(place.url, options, limit=_INDEX_BYTES_MAX)
    try:
        entries = [line.strip() for line in data.decode().split("\n") if line.strip()]
    except UnicodeDecodeError as error:
        raise InvalidInput(f"no index of logs: byte {error.start} is not UTF-8", where=place.url) from None
    if not entries:
        raise StorageError("the index lists no log", where=place.url)
    listed: _Folders = {}
    for entry in entries:
        folders = _folders_of(entry, place)
        found = next(filter(None, (_beside(entry, folder, listed, options) for folder in folders)), None)
        if not found:
            raise StorageError(
                f"the index lists {entry[:200]!r}, which is not there", where=place.url, hint="copy it, or name the files you have"
            )
        yield from found


def _folders_of(entry: str, index: Place) -> list[str]:
    """Return where the file of an entry can be, best guess first: an absolute path may be one of another machine."""
    path = entry.replace("\\", "/")  # as servers on Windows write it
    folder, beside = path.removeprefix("./").rpartition("/")[0], parent(index.url)
    if path.startswith("/") or re.match("[A-Za-z]:", path):
        return [folder or "/", beside] if index.local else [beside]
    return [join(beside, folder)]


def _beside(entry: str, folder: str, listed: _Folders, options: Options) -> list[_Found]:
    if folder not in listed:
        place = place_of(folder, options)
        listed[folder] = place, place.entries()
    place, entries = listed[folder]
    plain = base_name(entry.replace("\\", "/"))
    if place.web and not entries:  # a server that lists nothing: that the file is there shows when it is read
        return [_found(place, join(folder, plain), {"name": join(folder, plain)})]
    names = [plain, *(f"{plain}.{suffix}" for suffix in (*SUFFIXES, *UNREADABLE))]
    return [_found(place, place.url_of(name, entries[name]), entries[name]) for name in names if name in entries]


def _found(place: Place, url: str, info: Info) -> _Found:
    path = info["name"].rstrip("/")
    stored_name = place.name_of(path)
    name, compression = split_suffix(stored_name)
    if compression == "zip" or _TAR.fullmatch(stored_name):
        kind = "zip" if compression == "zip" else "tar"
        raise UnsupportedLog("an archive, not a log", where=url, hint=f"name what is in it: {kind}://MEMBER::{url}")
    if compression in UNREADABLE:
        readable = ", ".join(f".{suffix}" for suffix in SUFFIXES)
        raise UnsupportedLog(f"compressed as {compression}", where=url, hint=f"unpack it; plain files and {readable} are read")
    return _Found(place.identity(info), LogFile(url, name, info.get("size"), compression))


def _is_file(info: Info) -> bool:
    return info["type"] == "file" or bool(info.get("islink") and info["type"] != "directory")


def _in_log_order(files: Iterable[LogFile]) -> tuple[LogFile, ...]:
    groups: dict[tuple[str, bool], list[tuple[int, LogFile]]] = {}
    for file in files:
        member = _MEMBER.fullmatch(file.name)
        series, number = ((member["series"], True), int(member["number"])) if member else ((file.name, False), 0)
        groups.setdefault(series, []).append((number, file))
    return tuple(file for (series, _), group in groups.items() for file in _without_gap(series, group))


def _without_gap(series: str, group: list[tuple[int, LogFile]]) -> Iterator[LogFile]:
    group.sort(key=lambda member: member[0])
    for (before, one), (number, other) in pairwise(group):
        if number == before:
            raise InvalidInput(f"{one.url} and {other.url} are both {one.name}", hint="leave one of them out")
        if number > before + 1:
            first, last = f"{series}.{before + 1:06d}", f"{series}.{number - 1:06d}"
            missing = f"{first} is missing" if first == last else f"{first} to {last} are missing"
            hint = "add what is missing (from a backup?), or name only the files on one side of the gap"
            raise LogGap(f"gap in the log: {missing} after {one.name}", where=other.url, hint=hint)
    return (file for _, file in group)


def _refuse_mixture(url: str, names: Iterable[str]) -> None:
    series = _series(names)
    if len(series) > 1:
        listed = ", ".join(series[:5])
        raise InvalidInput(f"more than one series of logs: {listed}", where=url, hint="name the index file, or a glob like NAME.0*")


def _series(names: Iterable[str]) -> list[str]:
    return sorted({member["series"] for member in map(_member, names) if member})


def _member(name: str) -> re.Match[str] | None:
    return _MEMBER.fullmatch(split_suffix(name)[0])


def read_blocks(
    file: LogFile,
    storage_options: Options,
    *,
    start: int = 0,
    stop: int | None = None,
    block_size: int = _BLOCK_BYTES,
    largest: int = 0,
    cancel: CancelEvent | None = None,
) -> Iterator[bytes]:
    """Yield the decompressed bytes from offset `start` up to `stop` (exclusive), in blocks of `block_size`, never an empty one.

    Where `largest` is more, those of a plain file grow up to it: a whole reading has few of them, a short one reads little.

    A plain file is read from `start` to its end at that moment, and no more than that is asked of a store with ranges; a compressed
    one is read from its beginning. What can be read before damage or a cut is yielded first. Raises TruncatedLog and MalformedLog with
    the decompressed offset, UnsupportedLog, Cancelled, and StorageError, also when the file vanishes or is replaced meanwhile.
    """
    if start < 0 or block_size < 1:
        raise InvalidInput(f"cannot read blocks of {block_size} bytes from offset {start}", where=file.url)
    if stop is not None and stop <= start:
        return
    if file.compression:
        parts = _until_cancelled(_content(file, storage_options, block_size), cancel)
        yield from _in_blocks(_window(parts, start, stop), block_size)
    else:
        place = place_of(file.url, storage_options)
        yield from _until_cancelled(stored_blocks(place, start, stop, block_size, largest, missing=_VANISHED), cancel)


def ask_ahead(ask: Callable[[LogFile], T], files: Sequence[LogFile], storage_options: Options) -> Iterator[T]:
    """Yield what `ask` gives for each file, in order; where a store takes long to answer, of a few files ahead at once."""
    if len(files) < 2 or not place_of(files[0].url, storage_options).parallel:
        yield from map(ask, files)
        return
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - local files need none

    with ThreadPoolExecutor(_ASKED_AT_ONCE, thread_name_prefix="ask-ahead") as pool:
        waiting: deque[Future[T]] = deque()
        try:
            for file in files:
                waiting.append(pool.submit(ask, file))
                if len(waiting) > _ASKED_AT_ONCE:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def head(file: LogFile, storage_options: Options, size: int) -> bytes:
    """Return the first bytes, decompressed: `size` of them, fewer when the file ends before. Raises what `read_blocks` raises."""
    return b"".join(read_blocks(file, storage_options, stop=size, block_size=max(size, 1 << 16)))


def size_of(file: LogFile, storage_options: Options) -> int:
    """Return how many bytes the file holds now, decompressed; a compressed one is read through. Raises what `read_blocks` raises."""
    if not file.compression:
        info = place_of(file.url, storage_options).info()
        if info is None:
            raise StorageError(_VANISHED, where=file.url)
        if info.get("size") is not None:
            return int(info["size"])
    return sum(map(len, _content(file, storage_options, _BLOCK_BYTES)))


def _content(file: LogFile, options: Options, block_size: int) -> Iterator[bytes]:
    stored = stored_blocks(place_of(file.url, options), 0, None, block_size, missing=_VANISHED)
    return decompress(file.compression, stored, file.url) if file.compression else stored


def _until_cancelled(parts: Iterable[bytes], cancel: CancelEvent | None) -> Iterator[bytes]:
    for part in parts:
        if cancel is not None and cancel.is_set():
            raise Cancelled("reading was cancelled")
        yield part


def _window(parts: Iterable[bytes], start: int, stop: int | None) -> Iterator[bytes]:
    at = 0
    for part in parts:
        low = max(start - at, 0)
        high = len(part) if stop is None else min(len(part), stop - at)
        at += len(part)
        if low < high:
            yield part[low:high]
        if stop is not None and at >= stop:
            return


def _in_blocks(parts: Iterable[bytes], size: int) -> Iterator[bytes]:
    held: list[bytes] = []
    count = 0
    try:
        for part in parts:
            held.append(part)
            count += len(part)
            if count >= size:
                whole = b"".join(held)
                full = count - count % size
                held, count = [whole[full:]], count - full
                yield from (whole[at : at + size] for at in range(0, full, size))
    except DblogError:
        if count:
            yield b"".join(held)
        raise
    if count:
        yield b"".join(held)
