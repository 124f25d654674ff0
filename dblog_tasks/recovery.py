"""From events to what undoes them: the seed's two streams, in log order.

Law: no storage, no backend. What cannot be undone is passed over here, as in the seed; a plan (see `plan`) accounts for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from dblog_tasks.event import Checkpoint, Event, Reversible, Transaction, checkpoint_of


class RecoveryStep(NamedTuple):
    """One compensating operation, and the place of the event it undoes.

    Attributes:
        checkpoint: of the event.
        operation: what undoes it: RowChanges, CommandChange, or a backend's own.
        transaction: of the event, where it has one.
    """

    checkpoint: Checkpoint
    operation: Any
    transaction: Transaction | None = None


def flashbacks(events: Iterable[Event | None]) -> Iterator[Any]:
    """Yield the operation that undoes each event, in log order; events that cannot be undone are passed over."""
    return (step.operation for step in recovery_plan(events))


def recovery_plan(events: Iterable[Event | None]) -> Iterator[RecoveryStep]:
    """Yield a step for each event that can be undone, in log order: to be replayed last step first."""
    for event in events:
        if event is None or not isinstance(event, Reversible):
            continue
        operation = event.reverse()
        if operation is not None:
            yield RecoveryStep(checkpoint_of(event), operation, getattr(event, "transaction_info", None))
