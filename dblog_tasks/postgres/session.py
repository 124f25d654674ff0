"""The session a plan is replayed in: a value's text is the text the log has of it.

Law: values go both ways as the text of the server's own output and input functions; nothing in between converts. What the server says
becomes one of our errors; no password is in one.

    SQLSTATE                              becomes
    08, 40001, 40P01, 53300, 55P03, 57P   TargetBusy: serialization, deadlock, too many connections, lock timeout, shutdown, lost
    22, 23, 428C9, 44000, P0001           RowRefused: a value that does not fit, a constraint, RAISE of a trigger
    all others                            TargetError
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias

from dblog_tasks.errors import InvalidInput, RowRefused, StorageError, TargetBusy, TargetError
from dblog_tasks.postgres.connection import opened, shown, words_of
from dblog_tasks.target import LOCK_WAIT

if TYPE_CHECKING:
    import psycopg

Answer: TypeAlias = list[tuple[str | None, ...]]
LOCK_WAIT_SECONDS = 5
CONNECT_SECONDS = 10
_NO_LOCK = "55P03"
_BUSY = ("08", "40001", "40P01", "53300", _NO_LOCK, "57P0", "25P03", "25P04")
_LOST = ("08", "57P0", "25P03", "25P04")
_REFUSALS = ("22", "23", "428C9", "44000", "P0001")
_SESSION = (
    "SET standard_conforming_strings = on",
    "SET DateStyle = 'ISO, MDY'",
    "SET IntervalStyle = 'postgres'",
    "SET TimeZone = 'UTC'",
    "SET bytea_output = 'hex'",
    "SET extra_float_digits = 1",
    "SET lc_monetary = 'C'",
    "SET xmloption = 'content'",
    "SET row_security = off",  # rows that a policy hides would be taken for rows that are gone
    "SET statement_timeout = 0",
    f"SET lock_timeout = '{LOCK_WAIT_SECONDS}s'",
    "SET idle_in_transaction_session_timeout = '10min'",
)


class Session:
    """One session; statements outside of `BEGIN` and `COMMIT` are committed at once. `prepare` is called with each new connection.

    Raises StorageError where the server cannot be reached, InvalidInput for the DSN.
    """

    def __init__(self, dsn: str, password: str | None, prepare: Callable[[Session], None]) -> None:
        self._dsn, self._password, self._prepare = dsn, password, prepare
        self._link: psycopg.Connection[Any] | None = None
        self.met = 0  # rows the last statement met
        self.open()

    def open(self) -> None:
        """Connect, where the connection is lost."""
        if self._link is None:
            self._link = _connected(self._dsn, self._password)
            try:
                for statement in _SESSION:
                    self.query(statement)
                self._prepare(self)
            except BaseException:
                self.drop()
                raise

    @property
    def is_lost(self) -> bool:
        """Whether the server cannot be asked any more."""
        return self._link is None

    def query(self, statement: str, parameters: Sequence[Any] | None = None) -> Answer:
        """Return the rows a statement gives, as text. Raises TargetBusy, RowRefused, TargetError."""
        import psycopg  # noqa: PLC0415 - an extra

        if self._link is None:
            raise TargetBusy("the connection to the server is lost")
        try:
            cursor = self._link.execute(statement.encode(), parameters)
            self.met = cursor.rowcount
            return cursor.fetchall() if cursor.description else []
        except psycopg.Error as error:
            raise self._error(error) from None
        except UnicodeError as error:
            raise TargetError(f"a value is no text of UTF-8: {error.reason}") from None  # type: ignore[attr-defined]  # both kinds have it

    def _error(self, error: psycopg.Error) -> TargetError:
        state = error.sqlstate or ""
        words = " ".join(part.strip() for part in (error.diag.message_primary or str(error), error.diag.message_detail) if part)
        said = f"the server says: {words} ({state})" if state else f"the connection to the server is lost: {words or type(error).__name__}"
        if state.startswith(_REFUSALS):
            return RowRefused(said, hint=error.diag.constraint_name or "")
        if state.startswith(_LOST) or self._link is None or self._link.closed or self._link.broken:
            self.drop()
            return TargetBusy(said)
        if state.startswith(_BUSY):
            return TargetBusy(said, hint=LOCK_WAIT if state == _NO_LOCK else "")
        return TargetError(said)

    def drop(self) -> None:
        """End the connection; never raises."""
        link, self._link = self._link, None
        if link is not None:
            with suppress(Exception):
                link.close()


def _connected(dsn: str, password: str | None) -> psycopg.Connection[Any]:
    """Return a connection to the server a DSN names, every value as text. Raises InvalidInput, StorageError."""
    try:
        import psycopg  # noqa: PLC0415 - an extra
        from psycopg import postgres  # noqa: PLC0415
        from psycopg.types.string import TextLoader  # noqa: PLC0415
    except ImportError:
        raise InvalidInput("a live PostgreSQL server needs the package psycopg", hint="pip install 'dblog-tasks[pg]'") from None
    url, secret = opened(dsn, password)
    settings: dict[str, Any] = {"password": secret} if secret else {}
    if "connect_timeout" not in url:
        settings["connect_timeout"] = CONNECT_SECONDS
    try:
        link = psycopg.connect(url, autocommit=True, prepare_threshold=None, application_name="dblog", client_encoding="UTF8", **settings)
    except psycopg.Error as error:
        raise StorageError(f"cannot connect: {words_of(error, secret)}", where=shown(dsn)) from None
    for found in postgres.types:
        link.adapters.register_loader(found.oid, TextLoader)
        if found.array_oid:
            link.adapters.register_loader(found.array_oid, TextLoader)
    return link
