"""How a target is named, and where its password comes from; and the places of rows as text, for notes. No I/O but the environment.

Law: a password is in no argument, log, error or plan. A DSN on a command line that holds one is refused; one in the environment may.

    mysql://user@host:port/schema?unix_socket=PATH&ssl_ca=…   the DSN; its password from DBLOG_TARGET_PASSWORD, else as the driver says
    postgresql://user@host:port/database?host=DIR&sslmode=…   likewise
    env:NAME                                                  a variable that holds such a DSN, with a password or without
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
import os
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from dblog_tasks.errors import InvalidInput
from dblog_tasks.event import JsonObject, Row, Value

PASSWORD = "DBLOG_TARGET_PASSWORD"  # noqa: S105 - the name of a variable
# What a flow's parameter may name: checked before it is stored, so that no password ever is.
_OPTION = (
    r"(password=env:[A-Za-z_]\w*"
    r"|(unix_socket|read_default_file|ssl_\w+|connect_timeout|read_timeout"
    r"|host|hostaddr|port|passfile|service|sslmode|sslrootcert|sslcert|sslkey|sslcrl)=[^&@#]*)"
)
_DSN = rf"(mysql|mariadb|postgresql|postgres)://([^:@/?#]*@)?[^@?#]*(\?{_OPTION}(&{_OPTION})*)?"
NAMED = rf"(block:[a-z0-9-]+|env:[A-Za-z_]\w*|{_DSN})"
_HINT = f"set {PASSWORD}, or give env:NAME of a variable that holds the whole DSN"


def resolve(target: str, password: str | None = None) -> tuple[str, str | None]:
    """Return the DSN without a password, and the password; None: whatever the driver finds. Raises InvalidInput."""
    if target.startswith("env:"):
        name = target.removeprefix("env:")
        if name not in os.environ:
            raise InvalidInput(f"the environment has no variable {name!r:.60}", where="--target")
        dsn, secret = split_secret(os.environ[name])
    elif target.startswith("block:"):
        raise InvalidInput("a block is looked up by a Prefect flow", where="--target", hint="give a DSN or env:NAME here")
    else:
        dsn, secret = split_secret(target)
        if secret is not None:
            raise InvalidInput("the DSN holds a password, which logs and process lists would show", where="--target", hint=_HINT)
    return dsn, next((found for found in (password, secret, os.environ.get(PASSWORD)) if found is not None), None)


def split_secret(dsn: str) -> tuple[str, str | None]:
    """Return a DSN without its password, and the password. Raises InvalidInput for what is no URL."""
    try:
        parts = urlsplit(dsn)
        secret = parts.password
    except ValueError:
        raise InvalidInput(
            "the DSN is no URL", where="--target", hint="mysql://user@host:port/schema or postgresql://user@host:port/database"
        ) from None
    if "://" not in dsn:
        raise InvalidInput("the DSN is no URL", where="--target", hint="mysql://user@host:port/schema?unix_socket=PATH")
    if secret is None:
        return dsn, None
    user, _, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user.partition(':')[0]}@{host}")), unquote(secret)


def spots_json(spots: Iterable[tuple[str, Row]]) -> list[JsonObject]:
    """Return places of rows as JSON that `read_spots` gives back equal: their keys may hold bytes."""
    return [{"table": table, "key": [_packed(value) for value in key]} for table, key in spots]


def _packed(value: Value) -> Any:
    return {"base64": b64encode(value).decode()} if isinstance(value, bytes) else value


def read_spots(spots: Sequence[JsonObject]) -> list[tuple[str, Row]]:
    """Return the places `spots_json` wrote."""
    return [
        (spot["table"], tuple([b64decode(value["base64"]) if isinstance(value, dict) else value for value in spot["key"]]))
        for spot in spots
    ]
