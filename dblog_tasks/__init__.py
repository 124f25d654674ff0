"""Recovery plans from database logs.

Reads MySQL and MariaDB binary logs and Redis append-only files, filters them, and plans what undoes them. Nothing here needs
Prefect; `dblog_tasks.tasks` does.
"""

from __future__ import annotations

__version__ = "0.1.0"

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dblog_tasks.backend import (
        Backend,
        Decoder,
        OpenOptions,
        Registry,
        SeqDecoder,
        cancel_of,
        default_registry,
        events,
        open,  # noqa: A004 - the public name
        register,
        start_position_of,
    )
    from dblog_tasks.errors import (
        BackendExists,
        BackendNotFound,
        Cancelled,
        DblogError,
        InvalidBackend,
        InvalidCheckpoint,
        InvalidInput,
        LogGap,
        MalformedLog,
        MalformedPlan,
        OutputExists,
        SchemaMismatch,
        StorageError,
        TruncatedLog,
        UnsupportedLog,
    )
    from dblog_tasks.event import (
        Change,
        Checkpoint,
        Column,
        CommandChange,
        Event,
        Omission,
        Position,
        Reversible,
        RowChanges,
        Source,
        Table,
        Transaction,
        checkpoint_of,
        position_of,
        source_of,
    )
    from dblog_tasks.filters import (
        Predicate,
        any_of,
        bodies,
        by_kind,
        by_table,
        by_time,
        by_transaction,
        filter_events,
        not_,
    )
    from dblog_tasks.ledger import Ledger
    from dblog_tasks.origin_filters import by_driver, by_gtid, by_position, by_source, by_statement, by_thread
    from dblog_tasks.recovery import RecoveryStep, flashbacks, recovery_plan
    from dblog_tasks.row_filters import by_column, by_row

__all__ = [
    "Backend",
    "BackendExists",
    "BackendNotFound",
    "Cancelled",
    "Change",
    "Checkpoint",
    "Column",
    "CommandChange",
    "DblogError",
    "Decoder",
    "Event",
    "InvalidBackend",
    "InvalidCheckpoint",
    "InvalidInput",
    "Ledger",
    "LogGap",
    "MalformedLog",
    "MalformedPlan",
    "Omission",
    "OpenOptions",
    "OutputExists",
    "Position",
    "Predicate",
    "RecoveryStep",
    "Registry",
    "Reversible",
    "RowChanges",
    "SchemaMismatch",
    "SeqDecoder",
    "Source",
    "StorageError",
    "Table",
    "Transaction",
    "TruncatedLog",
    "UnsupportedLog",
    "any_of",
    "bodies",
    "by_column",
    "by_driver",
    "by_gtid",
    "by_kind",
    "by_position",
    "by_row",
    "by_source",
    "by_statement",
    "by_table",
    "by_thread",
    "by_time",
    "by_transaction",
    "cancel_of",
    "checkpoint_of",
    "default_registry",
    "events",
    "filter_events",
    "flashbacks",
    "not_",
    "open",
    "position_of",
    "recovery_plan",
    "register",
    "source_of",
    "start_position_of",
]

# Where the names are, lowest first. A module is imported when a name is first asked for: who needs one does not wait for all.
_PLACES = ("errors", "event", "ledger", "filters", "origin_filters", "row_filters", "backend", "recovery")


if not TYPE_CHECKING:  # a type checker would take every name for one of ours

    def __getattr__(name: str) -> Any:
        """Return a public name, or one of the modules that hold them."""
        if name in _PLACES:
            return import_module(f"{__name__}.{name}")
        if name in __all__:
            modules = (import_module(f"{__name__}.{place}") for place in _PLACES)
            globals()[name] = found = next(vars(module)[name] for module in modules if name in vars(module))
            return found
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
