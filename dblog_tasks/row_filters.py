"""Predicates over rows: which rows of an event are meant. Of the scope `row` of `filters`, whose law holds here too.

Law: a predicate of rows is bound to a table once and then asked of each row, before and after; a plan undoes the rows it keeps. What
changed something and does not tell its rows (a statement) is in doubt: it is not ruled out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from dblog_tasks import ledger
from dblog_tasks.errors import InvalidInput
from dblog_tasks.event import Event, Omission, Row, Table
from dblog_tasks.filters import ROW, ROWS_UNKNOWN, AnyOf, ByTable, Not, Predicate, reason_of

RowsTest: TypeAlias = Callable[[Row | None, Row | None], bool]


class RowTest(Protocol):
    """A condition on one row change; `expression.parse` makes them from text."""

    @property
    def text(self) -> str: ...

    def bind(self, table: Table) -> RowsTest:
        """Return the test for rows of this table. Raises InvalidInput when it names a column the table lacks."""


@dataclass(frozen=True)
class ByRow:
    """Holds for events with at least one row the test keeps; a plan then undoes those rows only."""

    test: RowTest
    scope = ROW
    reason = ledger.ROW_FILTER

    def __call__(self, event: Event | None) -> bool:
        return _any_row(self, event)

    def bind(self, table: Table) -> RowsTest:
        """Return the test of a row before and after. Raises InvalidInput for a column the table lacks."""
        return self.test.bind(table)

    def doubt(self, event: Event) -> Omission | None:
        """Return what is missing when the event may have changed any row."""
        return ROWS_UNKNOWN if _changes_unknown(event) else None

    def to_json(self) -> Any:
        """Return the predicate as JSON, the same for equal ones."""
        return {"where": self.test.text}


@dataclass(frozen=True)
class ByColumn:
    """Holds for events with at least one row in which this column changed; a plan then undoes those rows only.

    The column is `column`, `table.column` or `schema.table.column`, where the table may be a glob. An update changed it when its
    values before and after differ as stored, and did not when the log has it in neither; an insert or delete changes every column the
    table has. A table that lacks the column has no such rows, unless it was named: then that is an error.
    """

    column: str
    scope = ROW
    reason = ledger.OTHER_COLUMN

    def __post_init__(self) -> None:
        if not self.column.rpartition(".")[2]:
            raise InvalidInput(f"{self.column!r} names no column", hint="write column, table.column or schema.table.column")

    def __call__(self, event: Event | None) -> bool:
        return _any_row(self, event)

    def bind(self, table: Table, described: Table | None = None) -> RowsTest:
        """Return the test of a row before and after; `described` is the table with the columns that the rows lack.

        Raises InvalidInput when the column's table is named and lacks it.
        """
        glob, _, name = self.column.rpartition(".")
        if not self.may_mean(table.schema, table.name):
            return _no_row
        found = _index(table, name)
        if found is not None:
            return _changed(found)
        described = described or table
        if _index(described, name) is not None:
            return _not_updated
        if glob and not set(glob) & set("*?["):
            names = ", ".join(column.name for column in described.columns)
            raise InvalidInput(f"no column {name!r} in table {table.schema}.{table.name}", hint=f"its columns: {names}")
        return _no_row

    def reason_at(self, table: Table) -> str:
        """Return the ledger's word for what the predicate rules out of a table."""
        return ledger.NO_SUCH_COLUMN if self.may_mean(table.schema, table.name) and self.bind(table) is _no_row else self.reason

    def may_mean(self, schema: str, name: str) -> bool:
        """Return whether rows of a table of this name may be meant."""
        glob = self.column.rpartition(".")[0]
        return not glob or ByTable(glob).matches(schema, name)

    def doubt(self, event: Event) -> Omission | None:
        """Return what is missing when the event may have changed any row."""
        return ROWS_UNKNOWN if _changes_unknown(event) else None

    def to_json(self) -> Any:
        """Return the predicate as JSON, the same for equal ones."""
        return {"column": self.column}


def _changed(at: int) -> RowsTest:
    return lambda before, after: before is None or after is None or before[at] != after[at]


def _index(table: Table, name: str) -> int | None:
    """Return the place of a column, by its exact name, else in either case; None when none or several are called so."""
    names = [column.name for column in table.columns]
    found = [at for at, other in enumerate(names) if other == name]
    found = found or [at for at, other in enumerate(names) if other.casefold() == name.casefold()]
    return found[0] if len(found) == 1 else None


def _not_updated(before: Row | None, after: Row | None) -> bool:
    return before is None or after is None


def _no_row(_before: Row | None, _after: Row | None) -> bool:
    return False


def _any_row(predicate: ByRow | ByColumn, event: Event | None) -> bool:
    body = getattr(event, "body", None)
    rows, table = getattr(body, "rows", None), getattr(body, "table", None)
    if rows is None or table is None:
        return event is not None and _changes_unknown(event)
    return any(map_pair(predicate.bind(table), rows))


def _changes_unknown(event: Event) -> bool:
    """Return whether an event changed something and does not tell which rows."""
    return getattr(event, "operation", None) is not None and getattr(event.body, "rows", None) is None


def map_pair(test: RowsTest, rows: Iterable[tuple[Row | None, Row | None]]) -> Iterator[bool]:
    """Yield the test's answer for each pair of rows."""
    return (test(before, after) for before, after in rows)


def bind_rows(predicate: Predicate, table: Table, event: Event, described: Table | None = None) -> RowsTest:
    """Return the test a predicate makes of the rows of an event; one that does not look at rows says the same of all of them.

    `described` is the table with the columns that the rows lack. Raises InvalidInput for a column the table lacks.
    """
    if isinstance(predicate, ByColumn):
        return predicate.bind(table, described)
    if isinstance(predicate, ByRow):
        return predicate.bind(table)
    if isinstance(predicate, Not) and predicate.scope == ROW:
        inner = bind_rows(predicate.predicate, table, event, described)
        return lambda before, after: not inner(before, after)
    if isinstance(predicate, AnyOf) and predicate.scope == ROW:
        tests = [bind_rows(member, table, event, described) for member in predicate.predicates]
        return lambda before, after: any(test(before, after) for test in tests)
    holds = predicate(event)
    return lambda _before, _after: holds


def may_mean(predicate: Predicate, schema: str, name: str) -> bool:
    """Return whether the predicate may keep rows of a table of this name: what it says before any row is decoded."""
    if isinstance(predicate, AnyOf) and predicate.scope == ROW:
        return any(may_mean(member, schema, name) for member in predicate.predicates)
    return not isinstance(predicate, ByColumn) or predicate.may_mean(schema, name)


def row_reason(predicate: Predicate, table: Table) -> str:
    """Return the ledger's word for events of a table of which the predicate leaves no row."""
    if isinstance(predicate, ByColumn):
        return predicate.reason_at(table)
    words = {row_reason(member, table) for member in getattr(predicate, "predicates", ())}
    return words.pop() if len(words) == 1 else reason_of(predicate)


by_row = ByRow
by_column = ByColumn
