"""Every error of this package, and nothing else.

An error says what was being done, where, what was expected and what to do. It never carries a secret: whoever raises it has
redacted URLs and DSNs first. Callers of the package need to catch only `DblogError`; bad input never ends in another exception.

    DblogError
    ├── InvalidBackend          a backend without a driver name
    ├── BackendExists           a second backend for one driver
    ├── BackendNotFound         no backend for a driver
    ├── InvalidInput            what the user gave: an option, a URL, an expression, a schema
    │   ├── InvalidCheckpoint   a checkpoint that is not of this log, past its end, or inside an event
    │   ├── OutputExists        something is already where the result should go
    │   └── SchemaMismatch      the schema given does not fit the table the log describes
    ├── StorageError            a log or plan that cannot be reached, read or written
    │   └── LogGap              a file of a rotated series is missing
    ├── MalformedLog            bytes that are not what the format says, with their position
    │   └── TruncatedLog        the log ends inside a record: nothing after the last good position is used
    ├── UnsupportedLog          a log that is whole, of a kind this version cannot read (encrypted, another format)
    ├── MalformedPlan           a plan folder whose files do not agree with its manifest
    ├── TargetError             a database that cannot be reached, asked or written to
    │   ├── TargetRefused       what the database is, or how it is set up, forbids a replay: nothing was written
    │   ├── TargetBusy          a lock wait, a deadlock, a lost connection: nothing of the batch was kept, and it may be tried again
    │   └── RowRefused          a rule of the database is against a row: a unique key, a foreign key, a check; never tried again
    └── Cancelled               the caller's cancel event was set
"""

from __future__ import annotations


class DblogError(Exception):
    """What went wrong, where, and what to do: one line, fit to be shown to a person as it is.

    Attributes:
        what: what was being done or read, and what was found instead of what was expected.
        where: the file, position or option it concerns; empty when `what` says it.
        hint: what the reader can do about it; may be empty.
    """

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(what, where, hint)
        self.what = what
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        advice = f" ({self.hint})" if self.hint else ""
        return " ".join(f"{place}{self.what}{advice}".split())

    def __reduce__(self) -> tuple[object, ...]:
        """Keep the three parts when the error crosses a process border."""
        return (_rebuild, (type(self), self.what, self.where, self.hint))


def _rebuild(kind: type[DblogError], what: str, where: str, hint: str) -> DblogError:
    return kind(what, where=where, hint=hint)


class InvalidBackend(DblogError):
    """A backend without a driver name was registered."""


class BackendExists(DblogError):
    """A backend for this driver is registered already; the first one stays."""


class BackendNotFound(DblogError):
    """No backend is registered for this driver."""


class InvalidInput(DblogError):
    """An option, URL, expression or schema the user gave cannot be used."""


class InvalidCheckpoint(InvalidInput):
    """A checkpoint is not of this log, lies past its end, or inside an event."""


class OutputExists(InvalidInput):
    """Something is already where the result should go; it is left as it is."""


class SchemaMismatch(InvalidInput):
    """The schema given does not describe the table the log describes."""


class StorageError(DblogError):
    """A log or plan cannot be reached, read or written."""


class LogGap(StorageError):
    """A file of a rotated series is missing."""


class MalformedLog(DblogError):
    """Bytes of a log are not what its format says; `where` is the file and position."""


class TruncatedLog(MalformedLog):
    """A log ends inside a record; everything before `where` is whole."""


class UnsupportedLog(DblogError):
    """A log is whole but of a kind this version cannot read."""


class MalformedPlan(DblogError):
    """A plan's files do not agree with its manifest."""


class TargetError(DblogError):
    """A target database cannot be reached, asked or written to."""


class TargetRefused(TargetError):
    """A target database is not one that the plan may be replayed on; nothing was written."""


class TargetBusy(TargetError):
    """The database gave up on a batch that may be tried again; nothing of it was kept, or that is not known (a lost connection)."""


class RowRefused(TargetError):
    """A rule of the database is against the row a step would leave: a conflict, never tried again."""


class Cancelled(DblogError):
    """The caller's cancel event was set."""
