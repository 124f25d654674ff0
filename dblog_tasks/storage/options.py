"""Storage options as a user writes them, and what looks like a secret in them or in a URL.

Law: no I/O, no fsspec. A value never appears in an error; nor does a name that may be a value put in the wrong place.

    K=V             V as text; true, false and integers as such (an integer that must stay text: through the environment)
    K=env:NAME      the value of the environment variable, always as text; the only way for a secret
    A.B=V           V under B in the mapping under A, as client_kwargs.endpoint_url; s3.B, http.B … for that protocol alone
    query=env:NAME  for http(s): what follows the question mark of a presigned URL
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import re
from typing import Any

from dblog_tasks.errors import InvalidInput

_SECRET_NAME = re.compile(
    r"secret|passw|passphrase|pwd|token|key|credential|signature|\bsig\b|\bsas|conn(ection)?_?str|auth|cookie", re.IGNORECASE
)
# What looks like a secret and is none, by the last part of its name: identifiers, paths, and words that choose a way to log in.
_HARMLESS_NAMES = {"bucketkeyenabled", "key_filename", "ssekmskeyid"}
_HARMLESS_VALUES: Mapping[str, set[str]] = {"token": {"anon", "browser", "cache", "cloud", "google_default"}}
_SECRET_LAST = {"query"}  # of a presigned URL
_WORDS: Mapping[str, bool] = {"true": True, "false": False}
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,17}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,99}(\.[A-Za-z_][A-Za-z0-9_-]{0,99}){0,7}")
_ENVIRONMENT = "env:"
_ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
# The second takes a slash in a password, but not the path after a port (http://host:80/a@b).
_USER_AND_PASSWORD = (re.compile(r"://[^/]*:[^/]*@"), re.compile(r"://[^/:@]*:(?![0-9]*/)[^@]*@"))
_QUERY_NAME = re.compile(r"[?&]([^=&]*)=")


def parse_storage_options(pairs: Sequence[str], environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the options of all pairs, nested by the dots of their names.

    Raises InvalidInput for what is no pair, a name given twice, a variable that is not set, and a secret written out.
    """
    options: dict[str, Any] = {}
    for number, pair in enumerate(pairs, 1):
        name, equals, text = pair.partition("=")
        if not equals or not _NAME.fullmatch(name):
            raise InvalidInput(f"storage option {number} is no NAME=VALUE", hint="write NAME=VALUE, or NAME=env:VARIABLE for a secret")
        *groups, last = name.split(".")
        place = options
        for group in groups:
            place = place.setdefault(group, {})
            if not isinstance(place, dict):
                raise InvalidInput(f"storage option {name} is below another option, which has a value itself")
        if last in place:
            raise InvalidInput(f"storage option {name} is given twice")
        place[last] = _value(name, text, environ)
    return options


def _value(name: str, text: str, environ: Mapping[str, str]) -> str | int | bool:
    if text.startswith(_ENVIRONMENT):
        return _from_environment(name, text.removeprefix(_ENVIRONMENT), environ)
    if text in _WORDS:
        return _WORDS[text]
    if _is_secret(name, text) or holds_secret(text):
        raise InvalidInput(
            f"storage option {name}: a secret is not written out", hint=f"put it into the environment and write {name}=env:VARIABLE"
        )
    return int(text) if _INTEGER.fullmatch(text) else text


def _from_environment(name: str, variable: str, environ: Mapping[str, str]) -> str:
    if not _ENVIRONMENT_NAME.fullmatch(variable):
        raise InvalidInput(f"storage option {name}: what follows env: is no name of a variable")
    if variable not in environ:
        raise InvalidInput(f"storage option {name}: environment variable {variable} is not set")
    return environ[variable]


def _is_secret(name: str, text: str) -> bool:
    last = name.rpartition(".")[2].lower()
    secret = bool(_SECRET_NAME.search(name)) and last not in _HARMLESS_NAMES and text not in _HARMLESS_VALUES.get(last, ())
    return secret or last in _SECRET_LAST


def holds_secret(url: str) -> bool:
    """Return whether a URL has a password before its host, or a query with the name of a secret (a presigned URL)."""
    whole, part = _USER_AND_PASSWORD
    if whole.search(url) or any(part.search(link) for link in url.split("::")):
        return True
    return "://" in url and any(map(_SECRET_NAME.search, _QUERY_NAME.findall(url)))
