"""What the tables of a recorded scenario held at its named instants, and a plain model of replaying a plan on them. No tests.

A state is, by table, a multiset of rows in the form its recording has them in, and what brings a plan's row into that form: the lossless
dumps (`NN-LABEL.exact.jsonl`), or where there are none the values of the SQL dumps as they stand there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
import gzip
from ipaddress import ip_address
import json
from pathlib import Path
import re
from typing import Any, TypeAlias
from uuid import UUID

from dblog_tasks import Column, Position, RowChanges
from dblog_tasks.mysql.catalog import read_schema
from dblog_tasks.mysql.charsets import encode_text
from dblog_tasks.mysql.json_binary import json_text
from dblog_tasks.plan import Plan

TableName: TypeAlias = tuple[str, str]
Tables: TypeAlias = dict[TableName, Counter[Any]]


@dataclass(frozen=True)
class State:
    """The rows of all tables at an instant.

    Attributes:
        tables: rows by table, as often as they are there.
        columns: what the recording has of each table that is not empty, in its order; of others it cannot be said what they hold.
        form: makes a row of the recording of the columns and values of one of a plan.
    """

    tables: Tables
    columns: Mapping[TableName, tuple[str, ...]]
    form: Callable[[Iterable[tuple[Column, Any]]], Any]

    def cells(self, table: TableName, row: Any) -> dict[str, Any]:
        """Return what a row of the recording holds, by column."""
        return dict(row) if self.form is exact_row else dict(zip(self.columns[table], _LITERAL.findall(row), strict=True))


@dataclass(frozen=True)
class Mark:
    """A named instant of a scenario.

    Attributes:
        label: its name.
        position: the end of the log then.
        schema: file with the CREATE TABLE statements of then.
        dump: file with all rows of then.
    """

    label: str
    position: Position
    schema: Path
    dump: Path


def marks(folder: Path, meta: Mapping[str, Any]) -> list[Mark]:
    """Return the instants whose rows are recorded, in log order."""
    found = []
    for mark in meta.get("marks", ()):
        dumps = [folder / mark[kind] for kind in ("exact", "dump") if mark.get(kind) and (folder / mark[kind]).exists()]
        if dumps:
            position = Position("mysql", f"{mark['file']}:{mark['pos']}")
            found.append(Mark(mark["label"], position, folder / mark["schema"], dumps[0]))
    return found


_LITERAL = re.compile(r"'(?:[^'\\]|\\.|'')*'|[^,]+", re.DOTALL)


# --- values --------------------------------------------------------------------------------------------------------------------------


# MariaDB's types whose values a log without a schema shows as the bytes they are; a server takes both.
ADDRESSES = ("uuid", "inet4", "inet6")
_ADDRESS = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d+(\.\d+){3}|(?=.*::|(?:[^:]*:){7})[0-9a-f:.]+")


def address_hex(value: str) -> str:
    """Return the bytes of a uuid or an address of the network, in hexadecimal digits."""
    packed = UUID(value).bytes if "-" in value else ip_address(value).packed
    return packed.hex().upper()


def exact(column: Column, value: Any) -> Any:
    """Return a value of a plan as the lossless dumps have it."""
    kind = column.type.split("(")[0]
    if value is None:
        return None
    if kind in ("enum", "set"):
        return "n", value
    if kind in ("float", "double"):
        return "double", repr(float(value))
    if kind == "json":
        return "json_text", json_text(value) if isinstance(value, bytes) else value
    if kind in ADDRESSES:
        return "hex", address_hex(value) if isinstance(value, str) else value.hex().upper()
    if isinstance(value, bytes) and not column.charset:
        return "hex", value.hex().upper()
    if column.charset:
        return "hex", (value if isinstance(value, bytes) else encode_text(value, column.charset)).hex().upper()
    return value


def dumped(value: Any) -> Any:
    """Return a value of a lossless dump without what it repeats."""
    if isinstance(value, str) and _ADDRESS.fullmatch(value):
        return "hex", address_hex(value)
    if not isinstance(value, dict):
        return value
    if "double" in value:
        return "double", repr(float(value["double"]))
    return next((name, value[name]) for name in ("n", "json_text", "hex") if name in value)


_ESCAPES = {ord(plain): f"\\{shown}" for plain, shown in zip("\\'\"\n\r\0\x1a", "\\'\"nr0Z", strict=True)}
_UNQUOTED = ("tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "float", "double", "year")


def literal(column: Column, value: Any) -> str:
    """Return a value of a plan as a SQL dump has it."""
    if value is None:
        return "NULL"
    shown = column.shown(value)
    if isinstance(shown, bytes):
        return f"0x{shown.hex().upper()}" if shown else "''"
    bare = column.type.split("(")[0] in _UNQUOTED and not column.labels
    return str(shown) if bare else f"'{str(shown).translate(_ESCAPES)}'"


def exact_row(cells: Iterable[tuple[Column, Any]]) -> frozenset[tuple[str, Any]]:
    """Return a row of a plan as the lossless dumps have it, whatever the order of its columns."""
    return frozenset((column.name, exact(column, value)) for column, value in cells)


def literal_row(cells: Iterable[tuple[Column, Any]]) -> str:
    """Return a row of a plan as a SQL dump has it."""
    return ",".join(literal(column, value) for column, value in cells)


# --- dumps ---------------------------------------------------------------------------------------------------------------------------


def read_state(dump: Path) -> State:
    """Return what a dump says."""
    lossless = dump.name.endswith(".jsonl")
    tables: Tables = {}
    columns: dict[TableName, tuple[str, ...]] = {}
    for table, names, row in _lossless(dump) if lossless else _inserted(dump):
        tables.setdefault(table, Counter())[row] += 1
        columns.setdefault(table, names)
    return State(tables, columns, exact_row if lossless else literal_row)


def _lossless(path: Path) -> Iterator[tuple[TableName, tuple[str, ...], Any]]:
    with path.open() as lines:
        for line in lines:
            record = json.loads(line)
            row = record["row"]
            yield (record["db"], record["table"]), tuple(row), frozenset((name, dumped(value)) for name, value in row.items())


_INSERT = re.compile(r"INSERT INTO `((?:[^`]|``)+)` \((.*?)\) VALUES \((.*)\);\n")


def _inserted(path: Path) -> Iterator[tuple[TableName, tuple[str, ...], Any]]:
    """Read a dump with its columns named and one row a statement."""
    schema, names = "", dict[str, tuple[str, ...]]()
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("USE `"):
                schema = line.split("`")[1]
            found = _INSERT.fullmatch(line)
            if found:
                if found[2] not in names:
                    names[found[2]] = tuple(name.strip("` ").replace("``", "`") for name in found[2].split("`, `"))
                yield (schema, found[1].replace("``", "`")), names[found[2]], found[3]


# --- the model -----------------------------------------------------------------------------------------------------------------------


class Replay:
    """A plan's steps applied to a state, newest first, each guarded by the row it expects.

    Attributes:
        unmet: tables whose steps did not find the row they expect, with the place of the first.
    """

    def __init__(self, plan: Plan, now: State, wanted: State, schema: Path) -> None:
        """`schema` is of the time of `wanted`."""
        self._schema = schema
        self.unmet: dict[TableName, str] = {}
        self._now, self._wanted = now, wanted
        self._whole = {table: Counter(rows) for table, rows in now.tables.items()}
        self._partial: dict[TableName, PartialRows] = {}
        for step in plan.steps():
            self._apply(step.operation, step.checkpoint.position.value)

    def _apply(self, changes: RowChanges, at: str) -> None:
        table = (changes.table.schema, changes.table.name)
        planned = tuple(column.name for column in changes.table.columns)
        known = self._now.columns.get(table) or self._wanted.columns.get(table) or planned
        if table in self._partial or not set(known) <= set(planned):
            if table not in self._partial:
                rows = self._whole.pop(table, Counter())
                self._partial[table] = PartialRows(self._now.cells(table, row) for row in rows.elements())
            met = self._apply_partial(table, changes, set(known))
        else:
            met = self._apply_whole(table, changes, known)
        if not met:
            self.unmet.setdefault(table, at)

    def _apply_whole(self, table: TableName, changes: RowChanges, known: Sequence[str]) -> bool:
        rows, met = self._whole.setdefault(table, Counter()), True
        places = {column.name: index for index, column in enumerate(changes.table.columns)}
        columns = [(changes.table.columns[places[name]], places[name]) for name in known]
        for before, after in changes.rows:
            if before is not None:
                expected = self._now.form((column, before[index]) for column, index in columns)
                met &= rows[expected] > 0
                rows[expected] -= 1
            if after is not None:
                rows[self._now.form((column, after[index]) for column, index in columns)] += 1
        return met

    def _apply_partial(self, table: TableName, changes: RowChanges, known: set[str]) -> bool:
        rows, met = self._partial[table], True
        keys = tuple(changes.table.columns[index].name for index in changes.table.key)
        value = exact if self._now.form is exact_row else literal
        for pair in changes.rows:
            before, after = (
                None if row is None else {column.name: value(column, found) for column, found in cells if column.name in known}
                for row, cells in ((row, zip(changes.table.columns, row or (), strict=row is not None)) for row in pair)
            )
            met &= rows.replace(before, after, keys)
        return met

    def differing(self) -> set[TableName]:
        """Return the tables that do not hold exactly the rows that are wanted, and those whose guards were not met."""
        whole = {table for table in {*self._wanted.tables, *self._whole} - self._partial.keys() if not self._same_whole(table)}
        return whole | {table for table in self._partial if not self._same_partial(table)} | self.unmet.keys()

    def _same_whole(self, table: TableName) -> bool:
        return +self._whole.get(table, Counter()) == self._wanted.tables.get(table, Counter())

    def _same_partial(self, table: TableName) -> bool:
        """Compare, but for columns that a row put back cannot have: the database computes them, or they were added since."""
        got = self._partial[table].rows
        wanted = [self._wanted.cells(table, row) for row in self._wanted.tables.get(table, Counter()).elements()]
        known = read_schema(self._schema.read_text()).find(*table)
        given = {column.name for column in known.table.columns if not column.generated} if known else set(self._wanted.columns[table])
        names = [name for name in self._wanted.columns.get(table, ()) if name in given or all(name in row for row in got)]
        return Counter(_projected(got, names)) == Counter(_projected(wanted, names))


def _projected(rows: Iterable[Mapping[str, Any]], names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    return (tuple(row.get(name, ABSENT) for name in names) for row in rows)


ABSENT = object()


class PartialRows:
    """Rows that are found by some of their cells.

    Attributes:
        rows: all of them, by column.
    """

    def __init__(self, rows: Iterable[dict[str, Any]]) -> None:
        self._rows = dict(enumerate(rows))
        self._next = len(self._rows)
        self._indexes: dict[tuple[str, ...], dict[Any, set[int]]] = {}

    @property
    def rows(self) -> list[dict[str, Any]]:
        """All rows, as they are now."""
        return list(self._rows.values())

    def replace(self, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None, keys: tuple[str, ...]) -> bool:
        """Take out a row that has the cells of `before`, put in what becomes of it; return whether there was one."""
        kept: dict[str, Any] = {}
        found = True
        if before is not None:
            number = self._find(before, tuple(name for name in keys if name in before) or tuple(sorted(before)))
            found = number is not None
            kept = self._remove(number) if number is not None else {}
        if after is not None:
            self._add({**kept, **after})
        return found

    def _find(self, cells: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
        if names not in self._indexes:
            self._indexes[names] = {}
            for number, row in self._rows.items():
                self._index(names, row).add(number)
        numbers = self._indexes[names].get(tuple(cells[name] for name in names), ())
        return next((number for number in sorted(numbers) if cells.items() <= self._rows[number].items()), None)

    def _index(self, names: tuple[str, ...], row: Mapping[str, Any]) -> set[int]:
        return self._indexes[names].setdefault(tuple(row.get(name) for name in names), set())

    def _remove(self, number: int) -> dict[str, Any]:
        row = self._rows.pop(number)
        for names in self._indexes:
            self._index(names, row).discard(number)
        return row

    def _add(self, row: dict[str, Any]) -> None:
        self._rows[self._next] = row
        for names in self._indexes:
            self._index(names, row).add(self._next)
        self._next += 1
