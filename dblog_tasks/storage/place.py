"""A URL and the store it is in, opened by fsspec; and every way a store can fail as one error.

Law: nobody else calls `url_to_fs`, and nobody calls a store outside `reported`. What a store says is not repeated, for it may hold a
secret: the cause comes from the tables below, with the store's own error code where it has one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
import errno
import os
import re
from threading import Lock
from typing import Any, NamedTuple, TypeAlias

from dblog_tasks.errors import DblogError, InvalidInput, StorageError
from dblog_tasks.storage.options import holds_secret

Options: TypeAlias = Mapping[str, Any]
Info: TypeAlias = Mapping[str, Any]  # what fsspec tells of a file: `name`, `type`, `size`

# In these the first part of a path is a bucket, which we never make, and folders are only a way to look at names.
OBJECT_STORES = frozenset({"abfs", "abfss", "az", "gcs", "gs", "oci", "oss", "s3", "s3a"})
_LOCAL = frozenset({"file", "local"})
_S3 = frozenset({"s3", "s3a"})
# Seconds and attempts. botocore alone would try for minutes; s3fs repeats what botocore gave up (`_S3_REPEATS`).
_S3_CONFIG: Options = {"connect_timeout": 5, "read_timeout": 20, "retries": {"mode": "standard", "total_max_attempts": 2}}
_S3_REPEATS = 2
_READ_AHEAD = 8 << 20  # bytes that one request to a store brings, where the end is not known
MEMORY_LOCK = Lock()


class Place(NamedTuple):
    """A URL, opened: nothing has been asked of the store yet.

    Attributes:
        url: as given; holds no secret.
        fs: the fsspec file system.
        path: the path in it.
        protocol: of the URL; the first one of a chained URL.
        local: whether it is a path of this machine, to be used with `os`.
    """

    url: str
    fs: Any
    path: str
    protocol: str
    local: bool

    def info(self) -> Info | None:
        """Return what the store tells of this path, None when there is nothing."""
        with reported("cannot be looked up", self.url):
            return info_at(self.fs, self.path)

    def entries(self) -> dict[str, Info]:
        """Return what is in this folder by name; nothing when there is no such folder."""
        with reported("cannot be listed", self.url):
            try:
                listed: list[dict[str, Any]] = self.fs.ls(self.path, detail=True)
            except FileNotFoundError:
                return {}
        own = self.path.rstrip("/")  # a file is listed as itself, and so is the mark of a folder in an object store
        return {base_name(info["name"]): info for info in listed if info["name"].rstrip("/") != own}


def place_of(url: str, options: Options) -> Place:
    """Return the place of a URL. Raises InvalidInput for a URL with a secret, StorageError for a kind that cannot be opened."""
    if not url or "\0" in url:
        raise InvalidInput("an empty URL, or one with a zero byte", hint="give a path or a URL like s3://bucket/folder")
    if holds_secret(url):
        hint = "give it as a storage option, NAME=env:VARIABLE, or through the store's own environment variables"
        raise InvalidInput("a URL must not hold a password, key or signature", where=f"{_protocol(url)}://…", hint=hint)
    with reported("cannot be opened", url):
        import fsspec.core  # noqa: PLC0415 - takes 0.1 s, and not every command opens a file

        unknown = {_protocol(link) for link in url.split("::")} - set(fsspec.available_protocols())
        if unknown:
            raise StorageError(f"no kind of storage is called {min(unknown)!r}", where=url, hint="for example s3, gs, sftp, https, file")
        protocol = _protocol(url)
        local = protocol in _LOCAL and "::" not in url
        fs, path = fsspec.core.url_to_fs(url, **({} if local else _bounded(protocol, options)))
        if protocol in _S3:
            fs.retries = _S3_REPEATS
        fs.invalidate_cache()  # somebody else may have written since
        return Place(url, fs, path, protocol, local)


def _protocol(link: str) -> str:
    first, chained, _ = link.partition("::")
    protocol, separator, _ = first.partition("://")
    return protocol if separator or chained else "file"


def _bounded(protocol: str, options: Options) -> dict[str, Any]:
    """Return the options for fsspec, which changes nested ones in place; to S3 those are added that bound its time."""
    own = {name: dict(value) if isinstance(value, Mapping) else value for name, value in options.items()}
    if protocol not in _S3:
        return own
    own = {**own.pop(protocol, {}), **own}
    return {**own, "config_kwargs": {**_S3_CONFIG, **own.get("config_kwargs", {})}}


def info_at(fs: Any, path: str) -> Info | None:
    """Return what the store tells of a path, None when there is nothing. Raises what the store raises."""
    try:
        found: dict[str, Any] = fs.info(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and not isinstance(cause, FileNotFoundError):  # for http(s), a dead host is no such file
            raise cause from None
        return None
    return found


def join(url: str, *parts: str) -> str:
    """Return the URL of what lies below a folder; in a chained URL (`zip://logs::logs.zip`), below its first path."""
    first, chain, rest = url.partition("::")
    if chain and "://" not in first:
        return f"{first}::{join(rest, *parts)}"
    for part in filter(None, (part.strip("/") for part in parts)):
        first += part if not first or first.endswith("/") else f"/{part}"
    return first + chain + rest


def parent(url: str) -> str:
    """Return the URL of the folder a file is in; `join` with the file's name gives the file."""
    first, chain, rest = url.partition("::")
    if chain and "://" not in first:
        return f"{first}::{parent(rest)}"
    folder, slash, _ = first.rpartition("/")
    above = f"{folder}/" if slash and (not folder or folder.endswith("/")) else folder
    return (above or ("" if chain else ".")) + chain + rest


def base_name(path: str) -> str:
    """Return the last part of a path or URL without chain."""
    return path.rstrip("/").rpartition("/")[2]


def stored_blocks(place: Place, start: int, stop: int | None, block_size: int, *, missing: str) -> Iterator[bytes]:
    """Yield a file's bytes as stored, from offset `start` up to `stop` or its end at that moment; `missing` as for `reported`.

    The file is opened once, so a local one that is removed meanwhile can be read to its end.
    """
    ahead = _READ_AHEAD if stop is None else min(_READ_AHEAD, max(stop - start, 1))
    with reported("cannot be opened", place.url, missing=missing):
        stream = place.fs.open(place.path, "rb", block_size=ahead)
    # Every reader of a file in memory is given the same stream, so its seek and read must not be torn apart.
    lock = MEMORY_LOCK if place.protocol == "memory" else nullcontext()
    try:
        at = start
        while stop is None or at < stop:
            size = block_size if stop is None else min(block_size, stop - at)
            with reported("cannot be read", place.url, missing=missing), lock:
                stream.seek(at)
                block = bytes(stream.read(size))
            if not block:
                return
            yield block
            at += len(block)
    finally:
        with suppress(Exception):  # nothing was written, so nothing can be lost
            stream.close()


@contextmanager
def reported(doing: str, url: str, *, missing: str = "") -> Iterator[None]:
    """Turn whatever a store raises into a StorageError; `missing` is what to say, alone, when the file is not there."""
    try:
        yield
    except DblogError:
        raise
    except Exception as error:  # noqa: BLE001 - stores raise what they like; from None, since its text may hold a secret
        if missing and (isinstance(error, FileNotFoundError) or getattr(error, "errno", None) == errno.ESTALE):
            raise StorageError(missing, where=url) from None
        what, hint = _cause(error)
        raise StorageError(f"{doing}: {what}", where=url, hint=hint) from None


def store_code(error: BaseException) -> str:
    """Return the code an S3 store answered with (`NoSuchBucket`), empty when it gave none."""
    response = getattr(error, "response", None) or getattr(error.__cause__, "response", None)
    code = response.get("Error", {}).get("Code") if isinstance(response, Mapping) else ""
    return code if isinstance(code, str) and re.fullmatch(r"[A-Za-z0-9.]{1,64}", code) else ""


def _cause(error: Exception) -> tuple[str, str]:
    if isinstance(error, ImportError):
        missing = getattr(error.__cause__, "name", None) or error.name or "the package of this kind of storage"
        package = _PACKAGES.get(missing.partition(".")[0], missing.partition(".")[0])
        return f"{missing} is not installed", f"pip install {package}"
    number = error.errno if isinstance(error, OSError) else None
    known = [_CAUSES[kind.__name__] for kind in type(error).__mro__ if kind.__name__ in _CAUSES]
    if number in _ERRNO_CAUSES:
        what, hint = _ERRNO_CAUSES[number]
    elif known:
        what, hint = known[0]
    else:
        what, hint = os.strerror(number) if number else type(error).__name__, ""
    code = store_code(error)
    return (f"{what} [{code}]" if code else what), hint


_UNREACHABLE = ("it cannot be reached", "check the endpoint, the network, and that the store is up")
_NO_CREDENTIALS = ("no credentials, or not all of them", "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give storage options")
_NOT_UNDERSTOOD = ("the store does not understand the URL or a storage option", "check the names and values of the storage options")
_FULL = ("no space left", "make room, or write elsewhere")

# By the name of an exception's class or of the first of its bases found here: the packages of most stores are not imported.
_CAUSES: Mapping[str, tuple[str, str]] = {
    "FileNotFoundError": ("no such file, folder or bucket", "check the spelling, and the endpoint of an object store"),
    "FileExistsError": ("something else of that name is in the way", ""),
    "FileExpired": ("it was replaced while being read", "read it again"),
    "IsADirectoryError": ("it is a folder", ""),
    "NotADirectoryError": ("part of the path is a file, not a folder", ""),
    "PermissionError": ("no permission", "check the credentials and what they allow"),
    "NotImplementedError": ("this kind of storage cannot do that", ""),
    "NoCredentialsError": _NO_CREDENTIALS,
    "PartialCredentialsError": _NO_CREDENTIALS,
    "ProfileNotFound": ("no such profile of credentials", "check AWS_PROFILE and the profile option"),
    "HTTPClientError": _UNREACHABLE,
    "ClientConnectionError": _UNREACHABLE,
    "ConnectionError": _UNREACHABLE,
    "TimeoutError": _UNREACHABLE,
    "gaierror": _UNREACHABLE,
    "ParamValidationError": _NOT_UNDERSTOOD,
    "TypeError": _NOT_UNDERSTOOD,
    "ValueError": _NOT_UNDERSTOOD,
}
_ERRNO_CAUSES: Mapping[int | None, tuple[str, str]] = {errno.ENOSPC: _FULL, errno.EDQUOT: _FULL}
# Module that is missing -> what to install, where the two differ.
_PACKAGES: Mapping[str, str] = {
    "aiobotocore": "'dblog-tasks[s3]'",
    "botocore": "'dblog-tasks[s3]'",
    "s3fs": "'dblog-tasks[s3]'",
    "smbclient": "smbprotocol",
}
