"""Paths of this machine, as fsspec tells of them: without fsspec, whose import takes longer than most commands do.

Law: what is asked for on every run (a file, what is in a folder) is answered here, equal to fsspec's answers; all else by fsspec.
"""

from __future__ import annotations

from collections.abc import Iterator
import os
import stat
from typing import Any

PROTOCOLS = frozenset({"file", "local"})
_BEGINNINGS = tuple(f"{protocol}{mark}" for protocol in sorted(PROTOCOLS) for mark in ("://", ":"))
_TYPES = ((stat.S_ISDIR, "directory"), (stat.S_ISREG, "file"))


def is_local(url: str) -> bool:
    """Return whether a URL is a path of this machine, written as on every machine but those of Windows."""
    protocol, separator, _ = url.partition("://")
    return os.sep == "/" and "::" not in url and (not separator or protocol in PROTOCOLS)


def path_of(url: str) -> str:
    """Return the absolute path of a local URL, without a slash at its end."""
    path = next((url.removeprefix(begin) for begin in _BEGINNINGS if url.startswith(begin)), url)
    if path.startswith("~"):
        path = os.path.expanduser(path)  # noqa: PTH111 - pathlib would take a tilde it cannot expand for an error
    elif not path.startswith("/"):
        path = f"{os.getcwd()}/{'' if path == '.' else path.removeprefix('./')}"  # noqa: PTH109 - a string is wanted
    return path.rstrip("/") or "/"


class LocalFiles:
    """The file system of this machine, with the methods of fsspec's."""

    def info(self, path: str) -> dict[str, Any]:
        """Return name, type and size of what is at a path; of a link, of what it leads to. Raises OSError."""
        status = os.lstat(path)
        link = stat.S_ISLNK(status.st_mode)
        return _info(path.rstrip("/") or "/", os.stat(path) if link else status, link=link)  # noqa: PTH116 - a string is at hand

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
