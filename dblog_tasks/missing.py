"""What was asked for by name, place or time and is not in the logs at all: an error, since nothing would be undone without a word.

Law: judges by what the parts say of themselves; reads nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dblog_tasks import ledger as words
from dblog_tasks.errors import InvalidInput
from dblog_tasks.filters import ByTime, ByTransaction, Predicate
from dblog_tasks.ledger import Ledger
from dblog_tasks.part import LogPart


def names_asked_for(predicates: Sequence[Predicate]) -> set[str]:
    """Return the names of the transactions a selection asks for."""
    found: set[str] = set()
    for predicate in predicates:
        inner = getattr(predicate, "predicates", ())
        found |= {predicate.transaction} if isinstance(predicate, ByTransaction) else names_asked_for(inner)
    return found


def check_found(selection: Sequence[Predicate], parts: Sequence[LogPart], *, may_come: bool = False) -> None:
    """Ensure that the parts hold what the selection asks for. Raises InvalidInput; warns where it `may_come` in a later run."""
    try:
        _check_transactions(selection, parts)
        _check_told(selection, sum((part.ledger for part in parts), Ledger()))
        _check_window(selection, parts)
    except InvalidInput as error:
        if not may_come:
            raise
        import logging  # noqa: PLC0415 - takes long to import

        logging.getLogger(__name__).warning("%s; a later run goes on looking", error.what)


def _check_transactions(selection: Sequence[Predicate], parts: Sequence[LogPart]) -> None:
    missing = names_asked_for(selection) - {name for part in parts for name in part.named}
    if missing:
        raise InvalidInput(
            f"transaction {min(missing)} is not in these logs, or the other filters leave nothing of it",
            hint="`dblog inspect` names the transactions of a log",
        )


def _check_told(selection: Sequence[Predicate], ledger: Ledger) -> None:
    if ledger.undone:
        return
    from dblog_tasks.origin_filters import STATEMENT_UNKNOWN, THREAD_UNKNOWN  # noqa: PLC0415 - most plans undo something

    for unknown in (THREAD_UNKNOWN, STATEMENT_UNKNOWN):
        if ledger.omitted[unknown.reason]:
            raise InvalidInput(f"nothing can be selected: {unknown.reason}", hint=unknown.fix)
    if ledger.omitted:
        return
    if ledger.not_needed.keys() & {words.OTHER_COLUMN, words.NO_SUCH_COLUMN} == {words.NO_SUCH_COLUMN}:
        raise InvalidInput("no table that is selected has the column that was asked for", hint="`dblog events` names the columns of a log")
    named = list(_named(selection))
    if named:
        raise InvalidInput(f"{' or '.join(named):.200} is not in these logs, or the other filters leave nothing of it")


def _named(predicates: Sequence[Predicate]) -> Iterator[str]:
    """Yield the GTID sets and threads a selection asks for, as text."""
    from dblog_tasks.origin_filters import ByGtid, ByThread  # noqa: PLC0415 - most plans undo something

    for predicate in predicates:
        if isinstance(predicate, ByGtid | ByThread):
            yield " ".join(str(part) for pair in predicate.to_json().items() for part in pair)
        yield from _named(getattr(predicate, "predicates", ()))


def _check_window(selection: Sequence[Predicate], parts: Sequence[LogPart]) -> None:
    spans = [part.span for part in parts if part.span]
    window = next((predicate for predicate in selection if isinstance(predicate, ByTime)), None)
    if not spans or window is None:
        return
    earliest, latest = min(span[0] for span in spans), max(span[1] for span in spans)
    if (window.since and window.since > latest) or (window.until and window.until <= earliest):
        raise InvalidInput(f"the window lies outside the log, which holds {earliest.isoformat()} to {latest.isoformat()}")
