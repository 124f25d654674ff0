"""A URL and the store it is in, opened by fsspec where it is not this machine, with bounds on the time it may take.

Law: nobody else calls `url_to_fs`. Options named after a protocol are for its links alone (`s3.key`), all others for the last link of
a chained URL: the store its bytes come from.

    URL                                  opened as
    path, file://                        a path of this machine, without options (`local.py`)
    http(s)://                           with the option `query` after every URL asked for: that of a presigned URL, kept out of its text
    zip://, tar:// MEMBER::URL           a member, folder or glob in an archive at any URL
    simplecache::URL, filecache::URL …   as fsspec chains them
    any other that fsspec knows          by its own package, which must be installed
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from dblog_tasks.errors import InvalidInput, StorageError
from dblog_tasks.storage.failures import reported
from dblog_tasks.storage.local import PROTOCOLS as LOCAL, LocalFiles, is_local, path_of
from dblog_tasks.storage.options import holds_secret
from dblog_tasks.storage.paths import ARCHIVES, MEMORY_LOCK, Options, Place, protocol_of

_WEB = frozenset({"http", "https"})
_S3 = frozenset({"s3", "s3a"})
# Seconds and attempts. botocore alone would try for minutes; s3fs repeats what botocore gave up (`_S3_REPEATS`).
_S3_CONFIG: Options = {"connect_timeout": 5, "read_timeout": 20, "retries": {"mode": "standard", "total_max_attempts": 2}}
_S3_REPEATS = 2
_WEB_TIMEOUT: Options = {"total": None, "sock_connect": 5, "sock_read": 20}
_NO_LOCK: AbstractContextManager[Any] = nullcontext()


def place_of(url: str, options: Options) -> Place:
    """Return the place of a URL. Raises InvalidInput for a URL with a secret, StorageError for a kind that cannot be opened."""
    if not url or "\0" in url:
        raise InvalidInput("an empty URL, or one with a zero byte", hint="give a path or a URL like s3://bucket/folder")
    protocol = protocol_of(url)
    if holds_secret(url):
        hint = "give it as a storage option, NAME=env:VARIABLE, or through the store's own environment variables"
        if "?" in url and url.startswith(("http://", "https://")):
            hint = "leave out the question mark and what follows, and give that as the storage option query=env:VARIABLE"
        raise InvalidInput("a URL must not hold a password, key or signature", where=f"{protocol}://…", hint=hint)
    with reported("cannot be opened", url):
        if is_local(url):
            return Place(url, LocalFiles(), path_of(url), protocol, local=True, real={})
        return _opened(url, protocol, options)


def _opened(url: str, protocol: str, options: Options) -> Place:
    import fsspec.core  # noqa: PLC0415 - takes 0.1 s, and not every command opens a file

    known = {*fsspec.available_protocols(), *fsspec.registry}
    first, _, rest = url.partition("::")
    unknown = {protocol_of(link if "://" in link or link not in known else f"{link}://") for link in url.split("::")} - known
    if unknown:
        raise StorageError(f"no kind of storage is called {min(unknown)!r}", where=url, hint="for example s3, gs, sftp, https, file")
    if protocol in ARCHIVES and rest:
        return _member(f"{protocol}://::{rest}" if first == protocol else url, protocol, options)
    if protocol in ARCHIVES:
        raise InvalidInput("an archive is named after its member", where=url, hint=f"write {protocol}://MEMBER::ARCHIVE")
    local = protocol in LOCAL and not rest
    fs, path = fsspec.core.url_to_fs(url, **({} if local else _options(url, options, known)))
    if protocol in _S3:
        fs.retries = _S3_REPEATS
    fs.invalidate_cache()  # somebody else may have written since
    parallel = not rest and bool(getattr(fs, "async_impl", False))
    store = None if local else (type(fs).__name__, fsspec.utils.tokenize(fs.storage_options))
    return Place(url, fs, path, protocol, local, store, parallel, MEMORY_LOCK if protocol == "memory" else _NO_LOCK, {})


def _member(url: str, protocol: str, options: Options) -> Place:
    from dblog_tasks.storage.archives import archive_of  # noqa: PLC0415 - only who reads an archive needs it

    first, _, rest = url.partition("::")
    archive = place_of(rest, options)
    fs, lock = archive_of(protocol, archive)
    path = first.partition("://")[2].strip("/")
    return Place(url, fs, path, protocol, local=False, store=(protocol, archive.store, archive.path), parallel=archive.parallel, lock=lock)


def _options(url: str, options: Options, known: set[str]) -> dict[str, Any]:
    """Return the options for fsspec, which changes nested ones in place, each for its link of the URL; time is bounded where it can be."""
    links = [protocol_of(link if "://" in link else f"{link}://" if link in known else link) for link in url.split("::")]
    own = {name: dict(value) if isinstance(value, Mapping) else value for name, value in options.items()}
    named = {name: own.pop(name) for name in list(own) if name in known and isinstance(own[name], dict)}
    last = links[-1]
    flat: dict[str, Any] = _BOUNDS.get(last, dict)({**named.get(last, {}), **own})
    if len(links) == 1:
        return flat
    return {**{link: named[link] for link in links[:-1] if link in named}, last: flat}


def _bounded_s3(options: dict[str, Any]) -> dict[str, Any]:
    return {**options, "config_kwargs": {**_S3_CONFIG, **options.get("config_kwargs", {})}}


def _bounded_web(options: dict[str, Any]) -> dict[str, Any]:
    """Bodies are asked for, and left, as stored: what is unpacked on the way has no ranges."""
    from urllib.parse import parse_qs  # noqa: PLC0415 - only here

    from aiohttp import ClientTimeout  # noqa: PLC0415 - an extra

    query = options.pop("query", "")
    if query:
        options["params"] = {**parse_qs(str(query).removeprefix("?"), keep_blank_values=True), **options.get("params", {})}
    client = {"timeout": ClientTimeout(**_WEB_TIMEOUT), "auto_decompress": False, **options.get("client_kwargs", {})}
    return {**options, "headers": {"Accept-Encoding": "identity", **options.get("headers", {})}, "client_kwargs": client}


_BOUNDS: Mapping[str, Any] = {**dict.fromkeys(_S3, _bounded_s3), **dict.fromkeys(_WEB, _bounded_web)}
