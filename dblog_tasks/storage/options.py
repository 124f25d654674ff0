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

_SUSPICIOUS = r"(?i)secret|passw|passphrase|pwd|token|key|credential|signature|\bsig\b|\bsas|conn(ection)?_?str|auth|cookie"
# What looks like a secret and is none, by the last part of its name: identifiers, paths, and words that choose a way to log in.
_HARMLESS_NAMES = {"bucketkeyenabled", "key_filename", "ssekmskeyid"}
_HARMLESS_VALUES: Mapping[str, set[str]] = {"token": {"anon", "browser", "cache", "cloud", "google_default"}}
_SECRET_LAST = {"query"}  # of a presigned URL
_WORDS: Mapping[str, bool] = {"true": True, "false": False}
# Expressions, compiled when they are first asked for: most commands are given no option, and a path of this machine.
_INTEGER = r"0|-?[1-9][0-9]{0,17}"
_NAME = r"[A-Za-z_][A-Za-z0-9_-]{0,99}(\.[A-Za-z_][A-Za-z0-9_-]{0,99}){0,7}"
_ENVIRONMENT = "env:"
_ENVIRONMENT_NAME = r"[A-Za-z_][A-Za-z0-9_]{0,99}"
# The second takes a slash in a password, but not the path after a port (http://host:80/a@b).
_USER_AND_PASSWORD = (r"://[^/]*:[^/]*@", r"://[^/:@]*:(?![0-9]*/)[^@]*@")
_QUERY_NAME = r"[?&]([^=&]*)="


def parse_storage_options(pairs: Sequence[str], environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the options of all pairs, nested by the dots of their names.

    Raises InvalidInput for what is no pair, a name given twice, a variable that is not set, and a secret written out.
    """
    options: dict[str, Any] = {}
    for number, pair in enumerate(pairs, 1):
        name, equals, text = pair.partition("=")
        if not equals or not re.fullmatch(_NAME, name):
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
    return int(text) if re.fullmatch(_INTEGER, text) else text


def _from_environment(name: str, variable: str, environ: Mapping[str, str]) -> str:
    if not re.fullmatch(_ENVIRONMENT_NAME, variable):
        raise InvalidInput(f"storage option {name}: what follows env: is no name of a variable")
    if variable not in environ:
        raise InvalidInput(f"storage option {name}: environment variable {variable} is not set")
    return environ[variable]


def _is_secret(name: str, text: str) -> bool:
    last = name.rpartition(".")[2].lower()
    secret = bool(re.search(_SUSPICIOUS, name)) and last not in _HARMLESS_NAMES and text not in _HARMLESS_VALUES.get(last, ())
    return secret or last in _SECRET_LAST


def holds_secret(url: str) -> bool:
    """Return whether a URL has a password before its host, or a query with the name of a secret (a presigned URL)."""
    if "://" not in url:
        return False
    whole, part = _USER_AND_PASSWORD
    if re.search(whole, url) or any(re.search(part, link) for link in url.split("::")):
        return True
    return any(re.search(_SUSPICIOUS, name) for name in re.findall(_QUERY_NAME, url))
