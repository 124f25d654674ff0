"""Rows of a server by their keys, as the log has them; and the rows of other tables that foreign keys tie to them.

Law: reads only. In a transaction that may write, what is read is locked (`FOR UPDATE`) to its end. A key is looked up by plain `=`,
so that an index is used; whether the row found is the row that was meant is for others to say, by its bytes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TypeAlias, TypeVar

from dblog_tasks.event import Column, Row, RowPair, Table
from dblog_tasks.mysql.literals import FORMS, Form, base_type, identifier
from dblog_tasks.mysql.row_comparison import row_reader
from dblog_tasks.mysql.target_checks import Reference
from dblog_tasks.target import UNKNOWN, BoundTable, Child

KEYS_MAX = 500  # of one statement; from 1000 on MariaDB makes a derived table of an IN list

T = TypeVar("T")
Answer: TypeAlias = Sequence[tuple[bytes | None, ...]]
Query: TypeAlias = Callable[[str], Answer]


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield lists of at most that many items."""
    given = iter(items)
    while chunk := list(islice(given, size)):
        yield chunk


def form_of(column: Column) -> Form:
    """Return how values of a column stand in SQL."""
    return FORMS[base_type(column)](column)


def title(table: Table) -> str:
    """Return the table's name in SQL."""
    return f"{identifier(table.schema)}.{identifier(table.name)}"


class KeyCondition:
    """Finds rows by the values of some columns: `c IN (…)`, or `(a = … AND b = …) OR …`."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._names = [identifier(column.name) for column in columns]
        self._writes = [form_of(column).write for column in columns]

    @property
    def subject(self) -> str:
        """What CASE looks at: the column, nothing where there are several."""
        return self._names[0] if len(self._names) == 1 else ""

    def branches(self, keys: Sequence[Row]) -> list[str]:
        """Return what CASE looks for, a key each."""
        if len(self._names) == 1:
            write = self._writes[0]
            return [write(value) for (value,) in keys]
        return [self.one(key) for key in keys]

    def one(self, key: Row) -> str:
        """Return the condition of one key."""
        pairs = zip(self._names, self._writes, key, strict=True)
        return " AND ".join([f"{name} = {write(value)}" if value is not None else f"{name} IS NULL" for name, write, value in pairs])

    def any_of(self, keys: Sequence[Row]) -> str:
        """Return the condition of any of these keys."""
        if len(self._names) == 1:
            write = self._writes[0]
            return f"{self._names[0]} IN ({', '.join([write(value) for (value,) in keys])})"
        return " OR ".join([f"({self.one(key)})" for key in keys])


class RowReader:
    """Reads the rows of one table."""

    def __init__(self, table: BoundTable) -> None:
        self._table = table
        self._select, self._rows = row_reader(table.live)
        self._name = title(table.live)
        self._key = KeyCondition([table.live.columns[at] for at in table.key])
        self._exact = [(at, form_of(table.live.columns[at]), identifier(table.live.columns[at].name)) for at in table.compared]

    def read(self, query: Query, keys: Iterable[Row], lock: str) -> dict[Row, Row | None]:
        """Return the row of each key, None where there is none."""
        found: dict[Row, Row | None] = {}
        key_of = self._table.key_of
        for wanted in chunks(keys, KEYS_MAX):
            rows = self._select_rows(query, self._key.any_of(wanted), lock)
            here: dict[Row, Row | None] = {key_of(row): row for row in rows}
            missing = [key for key in wanted if key not in here]
            if missing and len(missing) > len(wanted) - len(rows):  # a row was found by a key that the database takes for its own
                here |= {key: next(iter(self._select_rows(query, self._key.one(key), lock)), None) for key in missing}
            found |= {key: here.get(key) for key in wanted}
        return found

    def _select_rows(self, query: Query, condition: str, lock: str) -> list[Row]:
        return self._rows(query(f"SELECT {self._select} FROM {self._name} WHERE {condition}{lock}"))  # noqa: S608 - values are literals

    def count(self, query: Query, key: Row, lock: str) -> int:
        """Return how many rows hold exactly these values in all that is compared."""
        ((count,),) = query(f"SELECT COUNT(*) FROM {self._name} WHERE {self.exactly(key)}{lock}")  # noqa: S608 - values are literals
        return int(count or 0)

    def exactly(self, key: Row) -> str:
        """Return the condition of a row of a table without a key."""
        parts = zip(self._exact, key, strict=True)
        return " AND ".join(
            [f"{form.side} = {form.exact(value)}" if value is not None else f"{name} IS NULL" for (_, form, name), value in parts]
        )


class ChildReader:
    """Reads the rows that one foreign key ties to rows of its parent."""

    def __init__(self, parent: BoundTable, child: Table, reference: Reference) -> None:
        columns = {column.name.lower(): at for at, column in enumerate(child.columns)}
        parents = {column.name.lower(): at for at, column in enumerate(parent.live.columns)}
        self._child = child
        self._parent_places = [parents[name.lower()] for name in reference.parent_columns]
        self._places = [columns[name.lower()] for name in reference.columns]
        self._condition = KeyCondition([child.columns[at] for at in self._places])
        self._key = child.key or [at for at, column in enumerate(child.columns) if not column.generated and not column.auto_update]
        self._select, self._rows = row_reader(child)

    def value_of(self, change: RowPair) -> Row | None:
        """Return the values the row is referred to by and would no longer hold; None where it keeps them or has a NULL in them."""
        before, after = change
        if before is None:
            return None
        value = tuple([before[at] for at in self._parent_places])
        kept = after is not None and value == tuple([after[at] for at in self._parent_places])
        return None if kept or None in value or UNKNOWN in value else value

    def read(self, query: Query, values: Iterable[Row], lock: str) -> Mapping[Row, list[Child]]:
        """Return the children by the values they refer to."""
        found: dict[Row, list[Child]] = defaultdict(list)
        for wanted in chunks(dict.fromkeys(values), KEYS_MAX):
            here = self._children(query, self._condition.any_of(wanted), lock)
            if set(here) <= set(wanted):
                found |= here
                continue
            for value in wanted:  # a collation takes other bytes for a value: whose child it is only the server knows
                found[value] = [
                    child for children in self._children(query, self._condition.one(value), lock).values() for child in children
                ]
        return found

    def _children(self, query: Query, condition: str, lock: str) -> Mapping[Row, list[Child]]:
        found: dict[Row, list[Child]] = defaultdict(list)
        name = f"{self._child.schema}.{self._child.name}"
        answer = query(f"SELECT {self._select} FROM {title(self._child)} WHERE {condition}{lock}")  # noqa: S608 - values are literals
        for row in self._rows(answer):
            value = tuple([row[at] for at in self._places])
            shown = {column.name: column.shown(value) for column, value in zip(self._child.columns, row, strict=True)}
            key = tuple([row[at] for at in self._key])
            found[value].append(Child(name, key, tuple(zip(self._places, value, strict=True)), shown))
        return found


def children_of(readers: Sequence[ChildReader], changes: Sequence[RowPair], query: Query, lock: str) -> list[list[Child]]:
    """Return for each change of a row the rows elsewhere that refer to what it would no longer hold."""
    found: list[list[Child]] = [[] for _ in changes]
    for reader in readers:
        values = [reader.value_of(change) for change in changes]
        wanted = [value for value in values if value is not None]
        children = reader.read(query, wanted, lock) if wanted else {}
        for at, value in enumerate(values):
            if value is not None:
                found[at] += children.get(value, ())
    return found
