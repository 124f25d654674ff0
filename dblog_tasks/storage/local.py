"""Paths of this machine, as fsspec tells of them, and whole files written to them.

Without fsspec, whose import takes longer than most commands do, and without pathlib, whose import takes longer than what is done here.

Law: what is asked for on every run (a file, what is in a folder) is answered here, equal to fsspec's answers; all else by fsspec. What is
written is on disk on return, and no reader finds a part of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
import errno
import os
import stat
from typing import Any, BinaryIO

PROTOCOLS = frozenset({"file", "local"})
_BEGINNINGS = tuple(f"{protocol}{mark}" for protocol in sorted(PROTOCOLS) for mark in ("://", ":"))
_NO_HARD_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
_TYPES = ((stat.S_ISDIR, "directory"), (stat.S_ISREG, "file"))


def is_local(url: str) -> bool:
    """Return whether a URL is a path of this machine, written as on every machine but those of Windows."""
    protocol, separator, _ = url.partition("://")
    return os.sep == "/" and "::" not in url and (not separator or protocol in PROTOCOLS)


def path_of(url: str) -> str:
    """Return the absolute path of a local URL, without a slash at its end."""
    path = next((url.removeprefix(begin) for begin in _BEGINNINGS if url.startswith(begin)), url)
    if path.startswith("~"):
        path = os.path.expanduser(path)  # pathlib would take a tilde it cannot expand for an error
    elif not path.startswith("/"):
        path = f"{os.getcwd()}/{'' if path == '.' else path.removeprefix('./')}"
    return path.rstrip("/") or "/"


class LocalFiles:
    """The file system of this machine, with the methods of fsspec's."""

    def info(self, path: str) -> dict[str, Any]:
        """Return name, type and size of what is at a path; of a link, of what it leads to. Raises OSError."""
        status = os.lstat(path)
        link = stat.S_ISLNK(status.st_mode)
        return _info(path.rstrip("/") or "/", os.stat(path) if link else status, link=link)

    def ls(self, path: str, *, detail: bool = True) -> list[Any]:
        """Return what is in a folder; of a file itself. A link is of the type `other`, its size that of what it leads to."""
        try:
            found = list(_entries(path))
        except NotADirectoryError:
            found = [self.info(path)]
        return found if detail else [info["name"] for info in found]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        from fsspec.implementations.local import LocalFileSystem  # noqa: PLC0415 - takes 0.1 s, and is seldom needed

        return getattr(LocalFileSystem(), name)


def _entries(folder: str) -> Iterator[dict[str, Any]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                status, link = entry.stat(follow_symlinks=False), entry.is_symlink()
            except FileNotFoundError:  # removed since it was listed
                continue
            yield {**_info(entry.path, status, link=link), **({"size": _size_behind(entry)} if link else {})}


def _size_behind(link: os.DirEntry[str]) -> int:
    try:
        return link.stat().st_size
    except OSError:  # it leads nowhere
        return 0


def _info(path: str, status: os.stat_result, *, link: bool) -> dict[str, Any]:
    kind = next((name for is_kind, name in _TYPES if is_kind(status.st_mode)), "other")
    created = getattr(status, "st_birthtime", status.st_ctime)
    found = {"name": path, "type": kind, "size": status.st_size, "islink": link}
    return {**found, "created": created, "mtime": status.st_mtime, "ino": status.st_ino}


def make_parent(path: str) -> None:
    """Make the folder that a file is to be in. Raises OSError."""
    os.makedirs(os.path.dirname(path), exist_ok=True)


def check_writable(folder: str) -> None:
    """Ensure that files can be written to a folder, or to the nearest one above that exists. Raises OSError."""
    while not os.path.lexists(folder):
        folder = os.path.dirname(folder)
    if not os.path.isdir(folder):
        raise NotADirectoryError
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        raise PermissionError


def write(path: str, data: bytes) -> None:
    """Write a whole file, in place of any there is; what is no regular file (`/dev/stdout`) is written into. Raises OSError."""
    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        with open(path, "wb") as stream:
            stream.write(data)
        return
    with _unfinished(path, data) as unfinished:
        os.replace(unfinished, path)


def write_new(path: str, data: bytes) -> bool:
    """Write a whole file unless there is one; return whether this call made it. Raises OSError."""
    with _unfinished(path, data) as unfinished:
        try:
            os.link(unfinished, path)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
        else:
            return True
    return _create(path, data)


@contextmanager
def _unfinished(path: str, data: bytes) -> Iterator[str]:
    """Give the path of a hidden file beside `path` that holds the data, on disk; what is left of it afterwards is removed."""
    folder, name = os.path.split(path)
    unfinished = f"{folder}/.{name[:100]}.{os.urandom(8).hex()}.tmp"
    try:
        with open(unfinished, "xb") as stream:
            _write_through(stream, data)
        yield unfinished
        _sync_folder(folder)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(unfinished)


def _write_through(stream: BinaryIO, data: bytes) -> None:
    stream.write(data)
    stream.flush()
    os.fsync(stream.fileno())


def _sync_folder(folder: str) -> None:
    with suppress(OSError):  # not every file system lets a folder be synced; the file itself is on disk
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _create(path: str, data: bytes) -> bool:
    try:
        stream = open(path, "xb")  # noqa: SIM115 - closed below; what goes wrong here leaves nothing to be removed
    except FileExistsError:
        return False
    with stream:
        try:
            _write_through(stream, data)
        except OSError:
            os.unlink(path)  # half a file must not pass for one
            raise
    return True
