"""Later changes to the rows a plan touches, as far as the logs tell: known before anybody replays.

One pass over the events of the plan's tables, from its first step to the end of the logs. Rows of the plan are remembered by key in
a temporary SQLite database (memory does not grow with the plan), rows changed by anybody else are looked up in it.

    the plan undoes   somebody later                    conflict
    an update         changed one of its columns        hard: column changed
                      changed another column            soft: column changed
                      deleted or re-keyed the row       hard: row gone
    an insert         changed the row                   hard: column changed (the undo expects the whole row)
                      deleted or re-keyed the row       hard: row gone
    a delete          inserted a row of the same key    hard: key reused
    a command         ran any command on its keys       hard: key changed (every argument counts as a key: better one too many)

Keys of text are compared without case and trailing blanks, as most collations do: a conflict too many is looked at by a person, one
too few is not. Rows of tables without a key are told by all their columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
import sqlite3
from typing import Any

import orjson

from dblog_tasks.errors import SchemaMismatch
from dblog_tasks.event import CommandChange, Event, Row, RowChanges, Table

SOFT, HARD = 1, 2
NAMES = {SOFT: "soft", HARD: "hard"}
COLUMN, GONE, REUSED, KEY = "column changed", "row gone", "key reused", "key changed"
_ALL_KEYS = frozenset({"flushall", "flushdb", "swapdb"})  # commands on whole databases
_KEYS = "keys"  # of all databases: a command may move one to another
_BATCH = 10_000
_TABLES = """
    PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA locking_mode=EXCLUSIVE;
    CREATE TABLE touched (hash INTEGER, name TEXT, key BLOB, at TEXT, kind TEXT, columns BLOB, severity INTEGER DEFAULT 0);
    CREATE INDEX touched_hash ON touched (hash);
"""


@dataclass(frozen=True, slots=True)
class Conflict:
    """One later change that meets one row of the plan."""

    severity: int
    what: str
    table: str
    key: Sequence[Any]
    columns: Sequence[str]
    event: Event
    undo_at: str

    def to_json(self) -> dict[str, Any]:
        """Return the conflict as a line of the plan."""
        info = getattr(self.event, "transaction_info", None)
        return {
            "at": self.event.position.value,
            "severity": NAMES[self.severity],
            "what": self.what,
            "table": self.table,
            "key": self.key,
            "columns": list(self.columns),
            "time": self.event.time.isoformat() if self.event.time else None,
            "transaction": self.event.transaction,
            "statement": info.statements[0] if info and info.statements else None,
            "undo_at": self.undo_at,
        }


class TouchedRows:
    """The rows a plan touches, by key, on disk."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("")  # a temporary file of SQLite's own, kept in memory while small
        self._database.executescript(_TABLES)
        self._pending: list[tuple[Any, ...]] = []
        self.tables: set[str] = set()

    def add(self, changes: RowChanges, at: str) -> None:
        """Remember the rows of one step."""
        name, key = name_of(changes.table), key_of(changes.table)
        self.tables.add(name)
        for before, after in changes.rows:
            if before is None or after is None:
                row = after if before is None else before
                self._put(name, key, row, at, "insert" if before is None else "delete", ())
                continue
            self._put(name, key, after, at, "update", _changed(changes.table, before, after))
            if _key(key, before) != _key(key, after):
                self._put(name, key, before, at, "delete", ())
        if len(self._pending) >= _BATCH:
            self._flush()

    def add_command(self, change: CommandChange, at: str) -> None:
        """Remember the keys of one command."""
        for word in change.do[1:]:
            self._pending.append((_hash(_KEYS, word), _KEYS, word, at, "command", b"[]"))
        if len(self._pending) >= _BATCH:
            self._flush()

    def find_keys(self, words: Sequence[bytes]) -> list[tuple[int, str, bytes]]:
        """Return the remembered commands on these keys, on any for no words: rowid, position of the step, key."""
        if self._pending:
            self._flush()
        if not words:
            return self._database.execute("SELECT rowid, at, key FROM touched WHERE kind = 'command'").fetchall()
        query = "SELECT rowid, at, key FROM touched WHERE hash = ? AND name = ? AND key = ?"
        return [found for word in words for found in self._database.execute(query, (_hash(_KEYS, word), _KEYS, word))]

    def _put(self, name: str, key: Sequence[int], row: Row | None, at: str, kind: str, columns: Sequence[str]) -> None:
        data = _key(key, row)
        self._pending.append((_hash(name, data), name, data, at, kind, orjson.dumps(columns)))

    def _flush(self) -> None:
        self._database.executemany("INSERT INTO touched (hash, name, key, at, kind, columns) VALUES (?, ?, ?, ?, ?, ?)", self._pending)
        self._pending = []

    def find(self, name: str, key: Sequence[int], row: Row) -> list[tuple[int, str, str, list[str]]]:
        """Return the remembered rows of this key: rowid, position of the step, kind, changed columns."""
        if self._pending:
            self._flush()
        data = _key(key, row)
        found = self._database.execute(
            "SELECT rowid, at, kind, columns FROM touched WHERE hash = ? AND name = ? AND key = ?", (_hash(name, data), name, data)
        )
        return [(number, at, kind, orjson.loads(columns)) for number, at, kind, columns in found]

    def mark(self, number: int, severity: int) -> None:
        """Note that a remembered row has a conflict."""
        self._database.execute("UPDATE touched SET severity = max(severity, ?) WHERE rowid = ?", (severity, number))

    def count(self, severity: int) -> int:
        """Return how many rows of the plan have a conflict of this severity as their worst."""
        return int(self._database.execute("SELECT count(*) FROM touched WHERE severity = ?", (severity,)).fetchone()[0])

    def keys(self) -> dict[str, int]:
        """Return the number of distinct keys by table."""
        if self._pending:
            self._flush()
        return dict(self._database.execute("SELECT name, count(DISTINCT key) FROM touched GROUP BY name").fetchall())

    def close(self) -> None:
        """Give the disk back."""
        self._database.close()


def name_of(table: Table) -> str:
    """Return `schema.table`."""
    return f"{table.schema}.{table.name}"


def key_of(table: Table) -> Sequence[int]:
    """Return the columns that tell rows apart: the key, else all."""
    return table.key or range(len(table.columns))


def _key(columns: Sequence[int], row: Row | None) -> bytes:
    values = () if row is None else [_folded(row[column]) for column in columns]
    return orjson.dumps(values, default=bytes.hex)


def _folded(value: Any) -> Any:
    return value.casefold().rstrip(" ") if isinstance(value, str) else value


def _hash(name: str, key: bytes) -> int:
    return int.from_bytes(blake2b(key, digest_size=8, key=name.encode()[:64]).digest(), "big", signed=True)


def _changed(table: Table, before: Row, after: Row) -> list[str]:
    return [column.name for column, old, new in zip(table.columns, before, after, strict=True) if old != new]


def find_conflicts(
    steps: Iterable[tuple[str, RowChanges | CommandChange]], events: Iterable[Event], touched: TouchedRows, unknown: dict[str, str]
) -> Iterator[Conflict]:
    """Yield the conflicts in log order.

    Args:
        steps: position and changes (as the log has them) of the plan's steps, in log order.
        events: all events of the plan's tables, in log order, from the first step on.
        touched: empty; holds the plan's rows afterwards.
        unknown: filled with tables whose later changes cannot be compared, and why.
    """
    waiting = iter(steps)
    following = next(waiting, None)
    for event in events:
        if following is not None and event.position.value == following[0]:
            at, change = following
            touched.add(change, at) if isinstance(change, RowChanges) else touched.add_command(change, at)
            following = next(waiting, None)
            continue
        if getattr(event, "operation", None) == "command":
            yield from _compare_keys(event, touched)
            continue
        name = ".".join(event.table or ("", ""))
        if event.table is None and getattr(event, "operation", None) is not None:
            _note_statement(event, touched, unknown)
        if name not in touched.tables or getattr(event, "operation", None) is None:
            continue
        changes = _changes(event, unknown)
        if changes is not None:
            yield from _compare(event, changes, touched)


def _note_statement(event: Event, touched: TouchedRows, unknown: dict[str, str]) -> None:
    """Note the tables that an event without rows may have changed: all it names; where it names nothing we know, all there are."""
    text = bytes(getattr(event.body, "text", b"")).decode("utf-8", "replace").casefold()
    named = {name for name in touched.tables if name.partition(".")[2].casefold() in text or name.partition(".")[0].casefold() in text}
    reason = getattr(getattr(event, "omission", None), "reason", "a statement")
    for name in named if getattr(event, "operation", None) == "definition" else touched.tables:
        unknown.setdefault(name, f"from {event.position.value} on: {reason}")


def _compare_keys(event: Event, touched: TouchedRows) -> Iterator[Conflict]:
    words = () if event.kind in _ALL_KEYS else event.body.arguments
    if words or event.kind in _ALL_KEYS:
        for number, at, key in touched.find_keys(words):
            touched.mark(number, HARD)
            yield Conflict(HARD, KEY, f"db{event.body.database}", [key.decode("utf-8", "backslashreplace")], [event.kind], event, at)


def _changes(event: Event, unknown: dict[str, str]) -> RowChanges | None:
    """Return what an event changed; note the table where that cannot be told."""
    name = ".".join(event.table or ("", ""))
    try:
        body = event.body
    except SchemaMismatch as error:
        unknown.setdefault(name, f"from {event.position.value} on: {error.what}")
        return None
    if not isinstance(body, RowChanges):
        unknown.setdefault(name, f"from {event.position.value} on: {getattr(body, 'reason', 'not rows')}")
        return None
    return body


def _compare(event: Event, changes: RowChanges, touched: TouchedRows) -> Iterator[Conflict]:
    name, key = name_of(changes.table), key_of(changes.table)
    for before, after in changes.rows:
        moved = before is None or after is None or _key(key, before) != _key(key, after)
        if before is not None:
            columns = [] if after is None else _changed(changes.table, before, after)
            for number, at, kind, expected in touched.find(name, key, before):
                severity, what = _verdict(kind, columns, expected, gone=moved)
                if severity:
                    touched.mark(number, severity)
                    yield Conflict(severity, what, name, [before[column] for column in key], columns, event, at)
        if after is not None and moved:
            for number, at, _, _ in touched.find(name, key, after):
                touched.mark(number, HARD)
                yield Conflict(HARD, REUSED, name, [after[column] for column in key], [], event, at)


def _verdict(kind: str, columns: Sequence[str], expected: Sequence[str], *, gone: bool) -> tuple[int, str]:
    """Return severity and name of what a later change of a row means for a step of this kind; severity 0: nothing."""
    if not gone and not columns:  # written anew with the values it had
        return 0, ""
    if kind == "delete":
        return (0, "") if gone else (HARD, REUSED)
    if gone:
        return HARD, GONE
    return (HARD if kind == "insert" or set(columns) & set(expected) else SOFT), COLUMN
