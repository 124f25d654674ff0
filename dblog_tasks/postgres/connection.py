"""A PostgreSQL server that is asked: its DSN, its password, its answers as text.

Law: alone in opening a connection to ask; nothing is written. A password is in no DSN on a command line, no message, no error.

    postgresql://user@host:port/database?option=value     _OPTIONS; host=/run/postgresql: a unix socket
    password     given; ?password=env:NAME; DBLOG_PASSWORD; else as libpq finds it (PGPASSWORD, .pgpass)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
import os
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from dblog_tasks.errors import InvalidInput, StorageError, TargetError

Ask: TypeAlias = Callable[[str], list[tuple[str | None, ...]]]  # a query -> its rows as text
SCHEMES = ("postgresql", "postgres")
_OPTIONS = frozenset(
    {"host", "hostaddr", "port", "connect_timeout", "passfile", "service", "sslcert", "sslkey", "sslmode", "sslrootcert", "sslcrl"}
)
_HINT = "postgresql://user@host:port/database?sslmode=verify-full"
_PASSWORD_HINT = "set DBLOG_PASSWORD or PGPASSWORD in the environment, or write ?password=env:NAME"  # noqa: S105 - no password


@contextmanager
def asking(dsn: str, password: str | None = None) -> Iterator[Ask]:
    """Give what returns the rows of a query as text, each query by itself.

    Raises InvalidInput for a DSN that cannot be used, StorageError when the server cannot be reached, TargetError for what it refuses.
    """
    try:
        import psycopg  # noqa: PLC0415 - an extra
    except ImportError:
        raise InvalidInput("a live PostgreSQL server needs the package psycopg", hint="pip install 'dblog-tasks[pg]'") from None
    url, secret = opened(dsn, password)
    options: dict[str, Any] = {"password": secret} if secret else {}
    try:
        connection = psycopg.connect(url, autocommit=True, application_name="dblog", **options)
    except psycopg.Error as error:
        raise StorageError(f"cannot connect: {words_of(error, secret)}", where=shown(dsn)) from None
    with connection:
        connection.execute("SET default_transaction_read_only = on")

        def ask(query: str) -> list[tuple[str | None, ...]]:
            try:
                rows = connection.execute(query).fetchall()
                return [tuple(None if value is None else str(value) for value in row) for row in rows]
            except psycopg.OperationalError as error:
                raise StorageError(f"the server cannot be asked: {words_of(error, secret)}", where=shown(dsn)) from None
            except psycopg.Error as error:
                raise TargetError(f"the server says: {words_of(error, secret)}", where=shown(dsn)) from None

        yield ask


def opened(dsn: str, password: str | None) -> tuple[str, str]:
    """Return the DSN as libpq reads it, and the password; empty: libpq looks for one. Raises InvalidInput."""
    try:
        parts = urlsplit(dsn)
        secret, _ = parts.password, parts.port
    except ValueError:
        raise InvalidInput("the DSN is no URL", hint=_HINT) from None
    if parts.scheme not in SCHEMES:
        raise InvalidInput("the DSN does not begin with postgresql://", hint=_HINT)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    named = options.pop("password", "")
    if secret is not None or (named and not named.startswith("env:")):
        raise InvalidInput("the DSN holds a password, which logs and process lists would show", hint=_PASSWORD_HINT)
    unknown = sorted(options.keys() - _OPTIONS)
    if unknown:
        raise InvalidInput(f"the DSN's option {unknown[0]!r:.40} is not known", hint=f"known are password, {', '.join(sorted(_OPTIONS))}")
    variable = named.removeprefix("env:")
    if variable and variable not in os.environ:
        raise InvalidInput(f"the environment has no variable {variable!r:.80}, which the DSN names for the password")
    found = password or (os.environ[variable] if variable else os.environ.get("DBLOG_PASSWORD", ""))
    return urlunsplit(parts._replace(scheme=SCHEMES[0], query=urlencode(options, quote_via=quote))), found


def shown(dsn: str) -> str:
    """Return where a DSN leads, without its options."""
    return urlunsplit(urlsplit(dsn)._replace(query="", fragment=""))


def words_of(error: Exception, secret: str) -> str:
    """Return what an error says, in one line and without the password."""
    words = " ".join(str(error).split())
    return words.replace(secret, "***") if secret else words
