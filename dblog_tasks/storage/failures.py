"""Every way a store can fail, as one error.

Law: nobody calls a store outside `reported`. What a store says is not repeated, for it may hold a secret: the cause comes from the
tables below, with the store's own error code where it has one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
import errno
import os
import re

from dblog_tasks.errors import DblogError, StorageError

REPLACED = "was replaced while being read"
NO_LISTING = "over http a folder or glob needs a page of the server that lists it: name each file, or an index file"
NEEDS_RANGES = "copy it first, or put simplecache:: before its URL"
READ_AGAIN = "read it again, or a copy of it when others keep writing there"
_DAMAGED_ARCHIVE = ("the archive is damaged or cut", "get the archive again")


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
        if any(kind.__name__ == "FileExpired" for kind in type(error).__mro__):  # s3fs: the ETag is another one
            raise StorageError(REPLACED, where=url, hint=READ_AGAIN) from None
        what, hint = _cause(error)
        raise StorageError(f"{doing}: {what}", where=url, hint=hint) from None


def store_code(error: BaseException) -> str:
    """Return the code an S3 store answered with (`NoSuchBucket`), empty when it gave none."""
    response = getattr(error, "response", None) or getattr(error.__cause__, "response", None)
    code = response.get("Error", {}).get("Code") if isinstance(response, Mapping) else ""
    return code if isinstance(code, str) and re.fullmatch(r"[A-Za-z0-9.]{1,64}", code) else ""


def _cause(error: Exception) -> tuple[str, str]:
    if isinstance(error, ImportError):
        module = getattr(error.__cause__, "name", None) or error.name or "the package of this kind of storage"
        missing = module.partition(".")[0]
        return f"{missing} is not installed", f"pip install {_PACKAGES.get(missing, missing)}"
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
    "IsADirectoryError": ("it is a folder", ""),
    "NotADirectoryError": ("part of the path is a file, not a folder", ""),
    "PermissionError": ("no permission", "check the credentials and what they allow"),
    "NotImplementedError": ("this kind of storage cannot do that", ""),
    "NoCredentialsError": _NO_CREDENTIALS,
    "PartialCredentialsError": _NO_CREDENTIALS,
    "ProfileNotFound": ("no such profile of credentials", "check AWS_PROFILE and the profile option"),
    "BadZipFile": _DAMAGED_ARCHIVE,
    "TarError": _DAMAGED_ARCHIVE,
    "EOFError": ("it is cut", "get it again"),
    "HTTPClientError": _UNREACHABLE,
    "ClientConnectorCertificateError": ("its certificate is not trusted", "name a file with the certificates to trust in SSL_CERT_FILE"),
    "ClientConnectionError": _UNREACHABLE,
    "ClientPayloadError": ("the connection broke off", "try again"),
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
    "aiohttp": "'dblog-tasks[http]'",
    "aiobotocore": "'dblog-tasks[s3]'",
    "botocore": "'dblog-tasks[s3]'",
    "s3fs": "'dblog-tasks[s3]'",
    "smbclient": "smbprotocol",
    "yarl": "'dblog-tasks[http]'",
}
