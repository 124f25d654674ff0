"""Rows of a server by their keys, as the log has them; and the rows of other tables that foreign keys tie to them.

Law: reads only. In a transaction that may write, what is read is locked (`FOR UPDATE`) to its end. Keys are sent as text, a parameter for
each column, and cast to the column's type by the server: a row is found by plain `=`, which uses the index. Whether the row found is the
row that was meant is for others to say, by its text.

A table without a key is read by the text of all that is compared; arrays of texts are equal where both are NULL, and can be hashed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

from dblog_tasks.event import Row, RowPair
from dblog_tasks.postgres.names import quoted
from dblog_tasks.postgres.session import Session
from dblog_tasks.postgres.target_checks import Described, Reference, escaped
from dblog_tasks.target import UNKNOWN, BoundTable, Child

KEYS_MAX = 1000  # of one statement

T = TypeVar("T")


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield lists of at most that many items."""
    given = iter(items)
    while chunk := list(islice(given, size)):
        yield chunk


def name_of(column: str) -> str:
    """Return a column's name in a statement with parameters."""
    return escaped(quoted(column))


def given(number: int) -> str:
    """Return what stands for rows of parameters, a column each, and their numbers from 1: `u (c0, c1, …, n)`."""
    names = ", ".join([*[f"c{at}" for at in range(number)], "n"])
    return f"unnest({', '.join(['%s::text[]'] * number)}) WITH ORDINALITY AS u ({names})"


def columns_of(rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """Return the parameters of `given`."""
    return [list(column) for column in zip(*rows, strict=True)]


class RowReader:
    """Reads the rows of one table."""

    def __init__(self, table: BoundTable, found: Described) -> None:
        self._table = table
        columns = table.live.columns
        self._select = ", ".join(_shown(f"t.{name_of(column.name)}", column.type) for column in columns)
        self._from = f"FROM {escaped(found.title)} t"
        self._key = " AND ".join(f"t.{name_of(columns[at].name)} = u.c{n}::{escaped(found.casts[at])}" for n, at in enumerate(table.key))
        texts = [f't.{name_of(columns[at].name)}::text COLLATE "C"' for at in table.compared]
        wanted = [f'u.c{n}::{escaped(found.casts[at])}::text COLLATE "C"' for n, at in enumerate(table.compared)]
        self._equal = f"ARRAY[{', '.join(texts)}] = ARRAY[{', '.join(wanted)}]"

    def read(self, session: Session, keys: Iterable[Row], lock: str) -> dict[Row, Row | None]:
        """Return the row of each key, None where there is none."""
        found: dict[Row, Row | None] = {}
        query = f"SELECT u.n, {self._select} {self._from} JOIN {given(len(self._table.key))} ON {self._key}{lock}"
        for wanted in chunks(keys, KEYS_MAX):
            found |= dict.fromkeys(wanted)
            for number, *row in session.query(query, columns_of(wanted)):
                found[wanted[int(number or 0) - 1]] = tuple(row)
        return found

    def count(self, session: Session, keys: Iterable[Row], lock: str) -> dict[Row, int]:
        """Return how many rows hold exactly these values in all that is compared."""
        return {key: len(places) for key, places in self.places(session, keys, lock).items()}

    def places(self, session: Session, keys: Iterable[Row], lock: str) -> dict[Row, list[tuple[str, str]]]:
        """Return where the rows are that hold exactly these values: numbers of the table and of the row in it."""
        found: dict[Row, list[tuple[str, str]]] = {}
        query = f"SELECT u.n, t.tableoid, t.ctid {self._from} JOIN {given(len(self._table.compared))} ON {self._equal}{lock}"
        for wanted in chunks(dict.fromkeys(keys), KEYS_MAX):
            found |= {key: [] for key in wanted}
            for number, table, place in session.query(query, columns_of(wanted)):
                found[wanted[int(number or 0) - 1]].append((table or "", place or ""))
        return found


def _shown(name: str, kind: str) -> str:
    """Return a column as the log shows it: by the type's output function, but for `true` and `false`."""
    return f"{name}::text" if kind == "boolean" else name


class ChildReader:
    """Reads the rows that one foreign key ties to rows of its parent."""

    def __init__(self, parent: BoundTable, above: Described, child: Described, reference: Reference) -> None:
        columns = {column.name: at for at, column in enumerate(child.table.columns)}
        parents = {column.name: at for at, column in enumerate(parent.live.columns)}
        self._child = child.table
        self._parent_places = [parents[name] for name in reference.parent_columns]
        self._places = [columns[name] for name in reference.columns]
        self._key = child.table.key or [at for at, column in enumerate(child.table.columns) if not column.generated]
        select = ", ".join(_shown(f"t.{name_of(column.name)}", column.type) for column in child.table.columns)
        pairs = zip(reference.columns, self._parent_places, strict=True)
        where = " AND ".join(f"t.{name_of(column)} = u.c{n}::{escaped(above.casts[at])}" for n, (column, at) in enumerate(pairs))
        self._query = f"SELECT u.n, {select} FROM {escaped(child.title)} t JOIN {given(len(self._places))} ON {where}"  # noqa: S608 - names are quoted

    def value_of(self, change: RowPair) -> Row | None:
        """Return the values the row is referred to by and would no longer hold; None where it keeps them or has a NULL in them."""
        before, after = change
        if before is None:
            return None
        value = tuple([before[at] for at in self._parent_places])
        kept = after is not None and value == tuple([after[at] for at in self._parent_places])
        return None if kept or None in value or UNKNOWN in value else value

    def read(self, session: Session, values: Iterable[Row], lock: str) -> Mapping[Row, list[Child]]:
        """Return the children by the values they refer to."""
        found: dict[Row, list[Child]] = defaultdict(list)
        name = f"{self._child.schema}.{self._child.name}"
        for wanted in chunks(dict.fromkeys(values), KEYS_MAX):
            for number, *row in session.query(self._query + lock, columns_of(wanted)):
                shown = {column.name: value for column, value in zip(self._child.columns, row, strict=True)}
                key = tuple([row[at] for at in self._key])
                refers = tuple([(at, row[at]) for at in self._places])
                found[wanted[int(number or 0) - 1]].append(Child(name, key, refers, shown))
        return found


def children_of(readers: Sequence[ChildReader], changes: Sequence[RowPair], session: Session, lock: str) -> list[list[Child]]:
    """Return for each change of a row the rows elsewhere that refer to what it would no longer hold."""
    found: list[list[Child]] = [[] for _ in changes]
    for reader in readers:
        values = [reader.value_of(change) for change in changes]
        wanted = [value for value in values if value is not None]
        children = reader.read(session, wanted, lock) if wanted else {}
        for at, value in enumerate(values):
            if value is not None:
                found[at] += children.get(value, ())
    return found
