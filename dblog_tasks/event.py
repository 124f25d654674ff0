"""The values everything else is made of: places in a log, events, and the changes they hold.

Law: standard library only, no I/O, nothing of any one database. Values are frozen and compared by value.

A value in a row is one of (`Value`):

    None            NULL; a column the log does not hold is no NULL, it is never in a row
    int, float      numbers; integers of any size, a float is the nearest double of what the log holds
    str             text, decimals in canonical digits, temporals as the database prints them (UTC for instants), JSON text
    bytes           binary, geometry, and text or JSON whose bytes no text could give back exactly
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Protocol, Self, TypeAlias, runtime_checkable

from dblog_tasks.errors import InvalidInput

Value: TypeAlias = int | float | str | bytes | None
Row: TypeAlias = tuple[Value, ...]
JsonObject: TypeAlias = dict[str, Any]


class Source(NamedTuple):
    """Who wrote a log: the driver that reads it and a name of the user's choice. Empty: not set."""

    driver: str = ""
    name: str = ""

    def __bool__(self) -> bool:
        return bool(self.driver or self.name)

    def to_json(self) -> JsonObject:
        """Return the value as a JSON object; `from_json` gives it back equal."""
        return {"driver": self.driver, "name": self.name}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Return the value `to_json` wrote. Raises InvalidInput on anything else."""
        return cls(_text(value, "driver"), _text(value, "name"))


class Position(NamedTuple):
    """A place in a log, in the log's own terms (`binlog.000007:4523`), right after an event. Empty: the beginning.

    Only the backend of `driver` can order two of them (`position_key`).
    """

    driver: str = ""
    value: str = ""

    def __bool__(self) -> bool:
        return bool(self.value)

    def to_json(self) -> JsonObject:
        """Return the value as a JSON object; `from_json` gives it back equal."""
        return {"driver": self.driver, "value": self.value}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Return the value `to_json` wrote. Raises InvalidInput on anything else."""
        return cls(_text(value, "driver"), _text(value, "value"))


class Checkpoint(NamedTuple):
    """The last event that was dealt with: reading goes on after it.

    Attributes:
        source: whose log it is.
        position: where the event ended.
        log: identity of the log file that holds the position (see `storage`); empty: not checked on resuming.
    """

    source: Source = Source()
    position: Position = Position()
    log: str = ""

    def __bool__(self) -> bool:
        return bool(self.position)

    def to_json(self) -> JsonObject:
        """Return the value as a JSON object; `from_json` gives it back equal."""
        return {"source": self.source.to_json(), "position": self.position.to_json(), "log": self.log}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Return the value `to_json` wrote. Raises InvalidInput on anything else."""
        source, position = value.get("source"), value.get("position")
        if not isinstance(source, Mapping) or not isinstance(position, Mapping):
            raise InvalidInput(f"checkpoint: expected an object with source and position, got {value!r:.80}")
        return cls(Source.from_json(source), Position.from_json(position), _text(value, "log", default=""))


def _text(value: Mapping[str, Any], name: str, default: str | None = None) -> str:
    text = value.get(name, default) if isinstance(value, Mapping) else None
    if not isinstance(text, str):
        raise InvalidInput(f"checkpoint: expected text under {name!r}, got {text!r:.80}")
    return text


@runtime_checkable
class Event(Protocol):
    """One record of a log.

    Attributes:
        source: whose log.
        position: the end of the record: a checkpoint here reads on with the next one.
        kind: the log's own name of the record.
        raw: the exact bytes of the record.
        body: what it holds, of a type of the backend's; decoded when first asked for.
        time: commit time of its transaction (UTC), else its own time; None where the log has none.
        transaction: id of its transaction; None outside one.
        table: `(schema, table)`; None where the log has none.
    """

    @property
    def source(self) -> Source: ...
    @property
    def position(self) -> Position: ...
    @property
    def kind(self) -> str: ...
    @property
    def raw(self) -> bytes: ...
    @property
    def body(self) -> Any: ...
    @property
    def time(self) -> datetime | None: ...
    @property
    def transaction(self) -> str | None: ...
    @property
    def table(self) -> tuple[str, str] | None: ...


@runtime_checkable
class Reversible(Protocol):
    """What can say how to undo itself."""

    def reverse(self) -> Any:
        """Return the operation that undoes this one, None when the log does not hold enough for one."""


class Column(NamedTuple):
    """A column as a plan, its SQL and its readers need it.

    Attributes:
        name: as the database knows it.
        type: the database's type name with its sizes (`decimal(12,2)`, `enum`), lower case.
        unsigned: integers are unsigned.
        charset: character set of text and labels; `binary` for bytes; empty where it has no meaning.
        labels: members of an enum or set, in order; empty: not known.
        generated: the database computes it; never written.
        auto_update: the database sets it on every update (`ON UPDATE CURRENT_TIMESTAMP`); None: not known.
    """

    name: str
    type: str
    unsigned: bool = False
    charset: str = ""
    labels: tuple[str, ...] = ()
    generated: bool = False
    auto_update: bool | None = None

    def shown(self, value: Value) -> Value:
        """Return a value as people read it: the member of an enum, the members of a set, where their names are known."""
        if not self.labels or not isinstance(value, int):
            return value
        if self.type.startswith("enum"):
            return self.labels[value - 1] if 0 < value <= len(self.labels) else value
        return ",".join(label for bit, label in enumerate(self.labels) if value >> bit & 1) if value < 1 << len(self.labels) else value

    def to_json(self) -> JsonObject:
        """Return the column as a JSON object, defaults left out; `from_json` gives it back equal."""
        full = self._asdict()
        return {name: value for name, value in full.items() if value not in (False, "", (), None) or name in ("name", "type")} | (
            {"auto_update": False} if self.auto_update is False else {}
        )

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Return the column `to_json` wrote."""
        return cls(**{**value, "labels": tuple(value.get("labels", ()))})


class Dependent(NamedTuple):
    """Columns of another table that refer to rows of a table, and go, or lose what they hold, when those are deleted.

    `parent_columns`: what they refer to; empty: the key.
    """

    schema: str
    name: str
    columns: tuple[str, ...]
    parent_columns: tuple[str, ...] = ()


class Table(NamedTuple):
    """A table as an event found it.

    Attributes:
        schema: schema or database name.
        name: table name.
        columns: all columns in the order of the rows.
        key: indexes of the columns that tell a row from all others (primary, else unique and not null); empty: none known.
        dependents: what foreign keys take along when a row is deleted, as far as a schema was given.
    """

    schema: str
    name: str
    columns: tuple[Column, ...]
    key: tuple[int, ...] = ()
    dependents: tuple[Dependent, ...] = ()

    def to_json(self) -> JsonObject:
        """Return the table as a JSON object; `from_json` gives it back equal."""
        return {
            "schema": self.schema,
            "name": self.name,
            "columns": [column.to_json() for column in self.columns],
            "key": list(self.key),
            **({"dependents": [dependent._asdict() for dependent in self.dependents]} if self.dependents else {}),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Return the table `to_json` wrote."""
        columns = tuple(Column.from_json(column) for column in value["columns"])
        found = value.get("dependents", ())
        dependents = tuple(Dependent(one["schema"], one["name"], tuple(one["columns"]), tuple(one["parent_columns"])) for one in found)
        return cls(value["schema"], value["name"], columns, tuple(value["key"]), dependents)


def binary_columns(table: Table) -> list[int]:
    """Return the columns whose values are always bytes: they stand in a plan as base64 and nothing around it."""
    return [at for at, column in enumerate(table.columns) if column.charset == "binary" and not column.type.startswith(("enum", "set"))]


class Change(NamedTuple):
    """What one row was before and is after. `before` None: it was inserted; `after` None: it was deleted."""

    table: Table
    before: Row | None
    after: Row | None

    def reverse(self) -> Self:
        """Return the change that undoes this one; reversed twice, it is itself."""
        return self._replace(before=self.after, after=self.before)


RowPair: TypeAlias = tuple[Row | None, Row | None]


@dataclass(frozen=True, slots=True)
class RowChanges:
    """The changes of one event to one table: pairs of the row before and after, in log order.

    `carried`: a foreign key took them along with rows of another table, which the log has after them.
    """

    table: Table
    rows: Sequence[RowPair]
    carried: bool = False

    def reverse(self) -> "RowChanges":
        """Return what undoes all of it, last row first; reversed twice, it is itself."""
        return RowChanges(self.table, [(after, before) for before, after in reversed(self.rows)], self.carried)

    def __iter__(self) -> Iterator[Change]:
        return (Change(self.table, before, after) for before, after in self.rows)


class PackedRows(NamedTuple):
    """`RowChanges` as a plan writes them, for a backend that gets there without the values.

    Attributes:
        at: position of the event.
        operation: `insert`, `update` or `delete`.
        table: of the rows.
        rows: the pairs as JSON.
        number: how many they are.
    """

    at: str
    operation: str
    table: Table
    rows: bytes
    number: int


class LinesWanted(NamedTuple):
    """What whole transactions must be like for a backend to write them as lines of a plan by itself.

    Attributes:
        size: bytes that all lines together stay below.
        rows: of one transaction at most; -1 while each that is wanted has to come as events.
        tables: numbers of the tables that may be named, by the identity of the table.
        transactions: numbers by id of those before; the backend adds its own, the next number to each that is not there.
    """

    size: int
    rows: int
    tables: dict[int, int]
    transactions: dict[str, int]


class PackedTransactions(NamedTuple):
    """Whole committed transactions of which every change is wanted, as a plan writes them.

    Attributes:
        lines: of the transactions and their steps.
        number: of transactions.
        changes: table, `insert`, `update` or `delete`, number of events and of rows.
    """

    lines: bytes
    number: int
    changes: Sequence[tuple[Table, str, int, int]]


class PlanLines(Protocol):
    """Where a backend hands in transactions it has written as lines, in log order with the events it yields."""

    def wanted(self) -> LinesWanted | None:
        """Return what may be handed in now; None when every transaction has to come as events."""

    def take(self, packed: PackedTransactions) -> None:
        """Take lines in. An event that follows is never of one of their transactions."""


class CommandChange(NamedTuple):
    """A command and the command that undoes it, for logs of commands.

    Attributes:
        database: number of the database both run in.
        do: the command of the log, name first.
        undo: what takes it back.
        grade: how well: `exact`, `residue` or `inexact`.
    """

    database: int
    do: tuple[bytes, ...]
    undo: tuple[bytes, ...]
    grade: str

    def reverse(self) -> Self:
        """Return the change that undoes this one; reversed twice, it is itself."""
        return self._replace(do=self.undo, undo=self.do)


def source_of(event: Event | None) -> Source:
    """Return the event's source; None gives the empty value."""
    return Source() if event is None else event.source


def position_of(event: Event | None) -> Position:
    """Return the event's position; None gives the empty value."""
    return Position() if event is None else event.position


def checkpoint_of(event: Event | None) -> Checkpoint:
    """Return the checkpoint after the event; None gives the empty value."""
    if event is None:
        return Checkpoint()
    return Checkpoint(event.source, event.position, getattr(event, "log", ""))


class Omission(NamedTuple):
    """Why an event that changed something cannot be undone, and the setting or act that would have made it possible."""

    reason: str
    fix: str = ""


class Transaction(NamedTuple):
    """The transaction an event belongs to, as far as the log tells.

    Attributes:
        id: its GTID or xid, else the position where it starts.
        start: position where it starts (the end of the record before).
        end: position of its last record.
        time: of its commit, UTC; None where the log has none.
        names: everything it can be named by.
        thread: id of the session; 0: not in the log.
        statements: texts of its first statements where the log has them.
        also_touched: `schema.table` of changes in it that the selection left out.
        problem: what keeps all of it from being undone; None for a committed one.
    """

    id: str
    start: Position
    end: Position
    time: datetime | None = None
    names: tuple[str, ...] = ()
    thread: int = 0
    statements: tuple[str, ...] = ()
    also_touched: tuple[str, ...] = ()
    problem: Omission | None = None
