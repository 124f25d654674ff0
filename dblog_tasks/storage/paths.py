"""A place: a path in a store, what the store tells of it, and the text of its URL.

Law: nothing here opens a store (`place.py` does) or reads a file (`ranges.py` does).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
import os
import re
from threading import Lock
from types import ModuleType
from typing import Any, NamedTuple, TypeAlias

from dblog_tasks.storage.failures import reported

Options: TypeAlias = Mapping[str, Any]
Info: TypeAlias = Mapping[str, Any]  # what fsspec tells of a file: `name`, `type`, `size`

# In these the first part of a path is a bucket, which we never make, and folders are only a way to look at names.
OBJECT_STORES = frozenset({"abfs", "abfss", "az", "gcs", "gs", "oci", "oss", "s3", "s3a"})
ARCHIVES = frozenset({"tar", "zip"})
MEMORY_LOCK = Lock()
_GLOB = re.compile(r"[*?\[]")
_WEB_MODULE = "fsspec.implementations.http"
_NO_LOCK: AbstractContextManager[Any] = nullcontext()


class Place(NamedTuple):
    """A URL, opened: of the store itself nothing has been asked yet, of an archive its list of members.

    Attributes:
        url: as given; holds no secret.
        fs: the fsspec file system.
        path: the path in it.
        protocol: of the URL; the first one of a chained URL.
        local: whether it is a path of this machine, to be used with `os`.
        store: equal for places in the same store opened with the same options.
        parallel: whether several threads may ask the store at once, and it takes long enough to be worth it.
        lock: held while a stream of this store is moved and read.
        real: where the links of local folders lead, as far as it was asked: once for all files in one.
    """

    url: str
    fs: Any
    path: str
    protocol: str
    local: bool
    store: object = None
    parallel: bool = False
    lock: AbstractContextManager[Any] = _NO_LOCK
    real: dict[str, str] | None = None

    @property
    def web(self) -> bool:
        """Whether an HTTP server is asked."""
        return _is_web(self.fs)

    @property
    def glob(self) -> bool:
        """Whether the path is a pattern."""
        return bool(_web().is_glob(self.path)) if self.web else bool(_GLOB.search(self.path))

    def info(self) -> Info | None:
        """Return what the store tells of this path, None when there is nothing."""
        with reported("cannot be looked up", self.url):
            return info_at(self.fs, self.path)

    def entries(self) -> dict[str, Info]:
        """Return what is in this folder by name; nothing when there is no such folder. One listing, whatever it holds."""
        with reported("cannot be listed", self.url):
            try:
                if self.web:
                    return dict(_web().entries(self.fs, self.path))
                listed: list[Info] = self.fs.ls(self.path, detail=True)
            except FileNotFoundError:
                return {}
        own = self.path.rstrip("/")  # a file is listed as itself, and so is the mark of a folder in an object store
        return {base_name(info["name"]): info for info in listed if info["name"].rstrip("/") != own}

    def matches(self) -> dict[str, Info]:
        """Return what this path matches as a glob, by path, in order."""
        with reported("cannot be searched", self.url):
            try:
                found: Mapping[str, Info] = _web().matches(self.fs, self.path) if self.web else self.fs.glob(self.path, detail=True)
            except FileNotFoundError:
                return {}
        return dict(sorted(found.items()))

    def name_of(self, path: str) -> str:
        """Return the last part of a path of this store, as a file name."""
        return str(_web().name_of(path)) if self.web else base_name(path)

    def url_of(self, name: str, info: Info) -> str:
        """Return the URL of one of `entries`."""
        return str(info["name"]) if self.web else join(self.url, name)

    def identity(self, info: Info) -> object:
        """Return what is equal for two names of one file: of a local one where its links lead, else the path in its store."""
        path = info["name"].rstrip("/")
        if not self.local:
            return self.store, path
        if info.get("islink") or self.real is None:
            return os.path.realpath(path)
        folder, _, name = path.rpartition("/")
        if folder not in self.real:
            self.real[folder] = os.path.realpath(folder or "/").rstrip("/")
        return f"{self.real[folder]}/{name}"


def _is_web(fs: Any) -> bool:
    """Return whether this is fsspec's file system of HTTP; one that keeps copies of its files is not."""
    return type(fs).__module__ == _WEB_MODULE


def _web() -> ModuleType:
    from dblog_tasks.storage import web  # noqa: PLC0415 - not every command asks a server

    return web


def info_at(fs: Any, path: str) -> Info | None:
    """Return what the store tells of a path, None when there is nothing. Raises what the store raises."""
    try:
        found: dict[str, Any] = _web().info(fs, path) if _is_web(fs) else fs.info(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and not isinstance(cause, FileNotFoundError):  # for http(s), a dead host is no such file
            raise cause from None
        return None
    return found


def protocol_of(link: str) -> str:
    """Return the protocol of a URL, of a chained one the first; `file` for a path."""
    first, chained, _ = link.partition("::")
    protocol, separator, _ = first.partition("://")
    return protocol if separator or chained else "file"


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
