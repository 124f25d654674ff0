"""Recovery plans from database logs.

Reads MySQL and MariaDB binary logs and Redis append-only files, filters them, and plans what undoes them. Nothing here needs
Prefect; `dblog_tasks.tasks` does.
"""

from __future__ import annotations

__version__ = "0.1.0"

from dblog_tasks.backend import (
    Backend,
    Decoder,
    OpenOptions,
    Registry,
    SeqDecoder,
    cancel_of,
    default_registry,
    events,
    open,
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
    by_driver,
    by_kind,
    by_position,
    by_row,
    by_source,
    by_table,
    by_time,
    by_transaction,
    filter_events,
    not_,
)
from dblog_tasks.ledger import Ledger
from dblog_tasks.recovery import RecoveryStep, flashbacks, recovery_plan

__all__ = sorted(name for name in dict(globals()) if not name.startswith("_") and name not in {"annotations", "backend", "errors", "event", "filters", "ledger", "recovery", "storage", "mysql", "redis"})
