"""HTTP(S) servers: what they tell of a file, its bytes by range, and the names on a page that lists a folder.

Law: the only module that speaks HTTP, through the sessions of fsspec's file system; that one alone would take the page of a folder for
a file, a whole file for a range of it, and one file for another. Bodies are read as sent (`place.py` turns unpacking off), never more
of them than was asked for.

    answer to a range           taken as
    206 with Content-Range      those bytes, of a file of that length and version
    200                         no ranges here: the file from its beginning, read on from this one answer
    416                         the file ends before
    404, 410                    no such file
    401, 403, 407               no permission
    any other                   an error that tells the number

    URL                         taken as
    …/, also after redirection  a folder: the page's links to what is directly in it, without a query, are its files
    any other                   a file; the version is its ETag, else its Last-Modified
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from fnmatch import fnmatchcase
import re
import time
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

from dblog_tasks.errors import InvalidInput, StorageError
from dblog_tasks.storage.failures import NEEDS_RANGES, NO_LISTING, READ_AGAIN, REPLACED
from dblog_tasks.storage.version import Version

_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")
_GLOB = re.compile(r"[*\[]")  # a question mark begins a query
_PAGE_BYTES_MAX = 32 << 20
_SKIP_BYTES = 1 << 20
_ATTEMPTS = 3
_PAUSE_SECONDS = 0.5
_TRY_AGAIN = "try again"


class _Answer:
    """What a server answers to one request; the body has not been read. Whoever has it closes it.

    Attributes:
        ranged: whether the body is the range asked for, not the whole file.
        length: how many bytes the body has; None when that is not said.
        version: of the file.
        url: where it came from at last, after redirections.
    """

    def __init__(self, fs: Any, url: str, start: int, stop: int | None) -> None:
        last = "" if stop is None else stop - 1
        self._fs = fs
        self._response = _sync(fs, _get, fs, url, {"Range": f"bytes={start}-{last}"})
        try:
            self._judge(url, start, stop)
        except BaseException:
            self.close()
            raise

    def _judge(self, url: str, start: int, stop: int | None) -> None:
        status, headers = self._response.status, self._response.headers
        self.url = str(self._response.url)
        self.ranged = status in {206, 416}
        length = self._response.content_length
        match = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", "").strip())
        if status == 416:
            total, self.length = (int(match[3]) if match and match[3] != "*" else None), 0
        elif status == 206:
            if not match or match[1] is None or not start == int(match[1]) <= int(match[2]) or (stop and int(match[2]) >= stop):
                raise StorageError("the server gave another range than was asked for", where=url, hint=NEEDS_RANGES)
            self.length = int(match[2]) + 1 - start
            total = None if match[3] == "*" else int(match[3])
        elif status == 200:
            total = self.length = length
        else:
            _refuse(status, url)
        _refuse_packed(headers.get("Content-Encoding", ""), url)
        self.version = Version(total, headers.get("ETag") or headers.get("Last-Modified"))

    def read(self, size: int) -> bytes:
        """Return the next bytes of the body: `size` of them, fewer only at its end."""
        found: bytes = _sync(self._fs, _read, self._response, size)
        return found

    def close(self) -> None:
        """Let the server go."""
        with suppress(RuntimeError):  # at the end of the process its loop may be gone already
            self._fs.loop.call_soon_threadsafe(self._response.close)


async def _get(fs: Any, url: str, headers: Mapping[str, str]) -> Any:
    session = await fs.set_session()
    return await session.get(fs.encode_url(url), **{**fs.kwargs, "headers": {**fs.kwargs.get("headers", {}), **headers}})


async def _read(response: Any, size: int) -> bytes:
    found = []
    while size and (piece := await response.content.read(size)):
        found.append(piece)
        size -= len(piece)
    return b"".join(found)


def _sync(fs: Any, call: Any, *args: Any) -> Any:
    from fsspec.asyn import sync  # noqa: PLC0415 - not every command opens a file

    return sync(fs.loop, call, *args)


def _refuse(status: int, url: str) -> None:
    if status in {404, 410}:
        raise FileNotFoundError
    if status in {401, 403, 407}:
        raise PermissionError
    raise StorageError(f"the server answered {status}", where=url, hint=_TRY_AGAIN if status in _PASSING else "check the URL")


def _refuse_packed(encoding: str, url: str) -> None:
    """Refuse a body that is not the file as stored: some servers pack what they send. Some say so of a file that is packed itself."""
    name = encoding.strip().lower().removeprefix("x-")
    if name not in {"", "identity", "none"} and not urlsplit(url).path.endswith(_PACKED_NAMES.get(name, "\0")):
        shown = name if re.fullmatch("[a-z0-9-]{1,20}", name) else "something else"
        raise StorageError(f"the server sends it packed as {shown}, though asked not to", where=url, hint="get the file some other way")


def info(fs: Any, url: str) -> dict[str, Any]:
    """Return name, type and size of what a URL names, the size None when the server does not say. Raises what the server's no means."""
    answer = _Answer(fs, url, 0, 1)
    answer.close()
    kind = "directory" if urlsplit(answer.url).path.endswith("/") else "file"
    return {"name": url, "type": kind, "size": answer.version.size if kind == "file" else None, "version": answer.version}


def entries(fs: Any, url: str) -> dict[str, dict[str, Any]]:
    """Return what the page of a folder links to directly below it, by file name; empty when it links to nothing."""
    folder = url.rstrip("/") + "/"
    answer = _Answer(fs, folder, 0, None)
    try:
        page = answer.read(_PAGE_BYTES_MAX + 1)
    finally:
        answer.close()
    if len(page) > _PAGE_BYTES_MAX:
        raise StorageError(f"the page of this folder has more than {_PAGE_BYTES_MAX >> 20} MiB", where=folder, hint=NO_LISTING)
    from dblog_tasks.storage.page import links_of  # noqa: PLC0415 - only who lists a folder of a server needs it

    found: dict[str, dict[str, Any]] = {}
    for link in links_of(page.decode("utf-8", "replace")):
        name = _below(answer.url, link)
        if name:
            kind = "directory" if name.endswith("/") else "file"
            found[unquote(name.rstrip("/"))] = {"name": folder + name.rstrip("/"), "type": kind, "size": None}
    return found


def _below(page: str, link: str) -> str:
    """Return the name of what a link leads to when that is directly below the page's folder, with a slash for a folder; else empty."""
    try:
        target, source = urlsplit(urljoin(page, link)), urlsplit(page)
    except ValueError:
        return ""
    folder = source.path.rpartition("/")[0] + "/"
    if target.netloc != source.netloc or target.query or not target.path.startswith(folder):
        return ""
    name = target.path.removeprefix(folder)
    plain = unquote(name).rstrip("/")
    return name if plain and "/" not in plain and "\0" not in plain else ""


def matches(fs: Any, url: str) -> dict[str, dict[str, Any]]:
    """Return what a glob in the last part of a URL matches in the server's listing, by URL. Raises InvalidInput for one further up."""
    folder, _, pattern = url.rpartition("/")
    if is_glob(folder + "/"):
        raise InvalidInput("over http only the file name can be a glob", where=url)
    listed = entries(fs, folder)
    if not listed:
        raise StorageError("the server lists no files here", where=folder + "/", hint=NO_LISTING)
    return {entry["name"]: entry for name, entry in listed.items() if fnmatchcase(name, unquote(pattern))}


def is_glob(url: str) -> bool:
    """Return whether a URL may be a glob, after its host."""
    return bool(_GLOB.search(url.partition("://")[2].partition("/")[2]))


def name_of(url: str) -> str:
    """Return the name of the file a URL names, without what is only there for URLs."""
    return unquote(urlsplit(url).path.rstrip("/").rpartition("/")[2])


class WebFile:
    """The bytes of one file, by range; without ranges, forward only and from one single answer.

    Attributes:
        length: of the file when it was opened; None when the server does not say.
        version: of the content the last bytes came from.
        ranged: whether any range can be asked for.
    """

    def __init__(self, fs: Any, url: str, start: int, stop: int | None) -> None:
        self._fs, self._url = fs, url
        self._answer: _Answer | None = _Answer(fs, url, start, stop)
        self._at = start
        self.version, self.length, self.ranged = self._answer.version, self._answer.version.size, self._answer.ranged
        if self.ranged and self.length is None:
            self.close()
            raise StorageError("the server gives ranges of a file, but not its length", where=url, hint=NEEDS_RANGES)
        if not self.ranged:
            self._at = 0

    def fetch(self, start: int, stop: int) -> bytes:
        """Return the bytes from `start` to `stop`, fewer at the end. The first range is the one asked for when it was opened."""
        return self._range(start, stop) if self.ranged else self._forward(start, stop)

    def _range(self, start: int, stop: int) -> bytes:
        found = b""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                while start + len(found) < stop and (piece := self._piece(start + len(found), stop, first=not found)):
                    found += piece
            except Exception as error:
                if attempt == _ATTEMPTS or not _is_passing(error):
                    raise
                time.sleep(_PAUSE_SECONDS * attempt)
            else:
                break
        return found

    def _piece(self, start: int, stop: int, *, first: bool) -> bytes:
        """Return bytes from `start` on, as many as the server gives at once; `first` when none of the same range came before."""
        answer = self._answer if self._answer and self._at == start else _Answer(self._fs, self._url, start, stop)
        self._answer = None
        try:
            if not answer.ranged:
                raise StorageError("the server stopped giving ranges", where=self._url, hint=_TRY_AGAIN)
            if not first and answer.version != self.version:
                raise StorageError(REPLACED, where=self._url, hint=READ_AGAIN)
            self.version = answer.version
            size = answer.length or 0
            piece = answer.read(size)
            if len(piece) < size:
                raise ConnectionResetError
            return piece
        finally:
            answer.close()

    def _forward(self, start: int, stop: int) -> bytes:
        if start < self._at or not self._answer:
            raise StorageError("the server cannot send parts of a file", where=self._url, hint=NEEDS_RANGES)
        while self._at < start:
            skipped = self._answer.read(min(_SKIP_BYTES, start - self._at))
            if not skipped:
                return b""
            self._at += len(skipped)
        found = self._answer.read(stop - start)
        self._at += len(found)
        return found

    def close(self) -> None:
        """Let the server go."""
        if self._answer:
            self._answer.close()
            self._answer = None


def _is_passing(error: Exception) -> bool:
    if isinstance(error, StorageError):
        return error.hint == _TRY_AGAIN
    if isinstance(error, FileNotFoundError | PermissionError):
        return False
    return isinstance(error, OSError | TimeoutError) or any(kind.__name__ in _BROKEN for kind in type(error).__mro__)


_PASSING = frozenset({408, 429, 500, 502, 503, 504})
_BROKEN = frozenset({"ClientConnectionError", "ClientPayloadError"})
_PACKED_NAMES: Mapping[str, str | tuple[str, ...]] = {"gzip": (".gz", ".tgz"), "zstd": (".zst", ".zstd"), "bzip2": ".bz2", "xz": ".xz"}
