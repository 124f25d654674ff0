"""Later changes to the rows a plan touches, as far as the logs tell: known before anybody replays.

    the plan undoes   somebody later                    conflict
    an update         changed one of its columns        hard: column changed
                      changed another column            soft: column changed
                      deleted or re-keyed the row       hard: row gone
    an insert         changed the row                   hard: column changed (the undo expects the whole row)
                      deleted or re-keyed the row       hard: row gone
    a delete          inserted a row of the same key    hard: key reused
    a command         ran any command on its keys       hard: key changed (every argument counts as a key: better one too many)

Three passes, none of which grows with plan or log: the plan's keys go into a filter; the events of its tables, from its first step
to the end of the logs, are held against that, and the few that may meet it are kept in a temporary SQLite database; these are
compared exactly with the plan's rows, which are read once more. Where no later change is kept there is no third pass.

Keys of text are compared without case and trailing blanks, as most collations do: a conflict too many is looked at by a person, one
too few is not. Rows of tables without a key are told by all their columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import orjson

from dblog_tasks.event import CommandChange, Event, JsonObject, Row, RowChanges, Table

if TYPE_CHECKING:
    from sqlite3 import Connection

SOFT, HARD = 1, 2
NAMES = {SOFT: "soft", HARD: "hard"}
COLUMN, GONE, REUSED, KEY = "column changed", "row gone", "key reused", "key changed"
KEYS_COUNTED_MAX = 100_000  # rows of a plan up to which distinct keys are counted
_ALL_KEYS = frozenset({"flushall", "flushdb", "swapdb"})  # commands on whole databases
_KEYS = "keys"  # of all databases: a command may move one to another
_TOUCHED = """
    PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA locking_mode=EXCLUSIVE;
    CREATE TABLE touched (name TEXT, key BLOB, at TEXT, kind TEXT, columns BLOB, severity INTEGER DEFAULT 0);
    CREATE INDEX touched_key ON touched (name, key);
    CREATE TABLE later (step INTEGER, name TEXT, old BLOB, new BLOB, shown BLOB, columns BLOB, event BLOB);
"""

_INSERT = "INSERT INTO touched (name, key, at, kind, columns) VALUES (?, ?, ?, ?, ?)"

Step: TypeAlias = tuple[str, RowChanges | CommandChange]  # position and change, as the log has it


@dataclass(frozen=True, slots=True)
class Conflict:
    """One later change that meets one row of the plan. `later`: position, time, transaction and statement of that change."""

    severity: int
    what: str
    table: str
    key: Sequence[Any]
    columns: Sequence[str]
    later: JsonObject
    undo_at: str

    def to_json(self) -> JsonObject:
        """Return the conflict as a line of the plan."""
        return {
            "at": self.later["at"],
            "severity": NAMES[self.severity],
            "what": self.what,
            "table": self.table,
            "key": self.key,
            "columns": list(self.columns),
            **{name: self.later[name] for name in ("time", "transaction", "statement")},
            "undo_at": self.undo_at,
        }


class KeyFilter:
    """Which keys may have been put in: never says no to one that was, seldom says yes to another. 8 MiB, whatever is put in."""

    _BITS = 26

    def __init__(self) -> None:
        self._bytes = bytearray(1 << self._BITS - 3)
        self.empty = True

    def add(self, hashed: int) -> None:
        """Put a key in, by its hash of 64 bits."""
        self.empty = False
        one, other = hashed & (1 << self._BITS) - 1, hashed >> self._BITS & (1 << self._BITS) - 1
        self._bytes[one >> 3] |= 1 << (one & 7)
        self._bytes[other >> 3] |= 1 << (other & 7)

    def fill(self) -> None:
        """Put every key in."""
        self.empty = False
        self._bytes = bytearray(b"\xff") * len(self._bytes)

    def __contains__(self, hashed: int) -> bool:
        one, other = hashed & (1 << self._BITS) - 1, hashed >> self._BITS & (1 << self._BITS) - 1
        return bool(self._bytes[one >> 3] >> (one & 7) & self._bytes[other >> 3] >> (other & 7) & 1)


class ConflictSearch:
    """The three passes.

    Attributes:
        unknown: tables whose later changes could not be compared, and why.
        counts: rows of the plan by the severity of their worst conflict.
        keys: distinct keys of the plan by table; empty for plans of more than KEYS_COUNTED_MAX rows.
    """

    def __init__(self, steps: Callable[[], Iterable[Step]], positions: Callable[[], Iterable[str]]) -> None:
        """`steps` gives the plan's steps in log order, each time it is called; `positions` theirs."""
        self.unknown: dict[str, str] = {}
        self.counts = {SOFT: 0, HARD: 0}
        self.keys: dict[str, int] = {}
        self._steps, self._positions = steps, positions
        self._touched = KeyFilter()
        self._first: dict[str, int] = {}  # number of a table's first step

    def find(self, events: Iterable[Event]) -> Iterator[Conflict]:
        """Yield the conflicts in log order; `events` are all of the plan's tables, in log order, from the first step on."""
        self._put_in()
        suspects = KeyFilter()
        self._store.executemany("INSERT INTO later VALUES (?, ?, ?, ?, ?, ?, ?)", self._may_meet(events, suspects))
        if not suspects.empty:
            yield from self._meet(suspects)
            counted = self._store.execute("SELECT severity, count(*) FROM touched WHERE severity > 0 GROUP BY severity")
            self.counts |= dict(counted)

    def count_keys(self) -> None:
        """Count the distinct keys alone, for a plan after which nothing can come."""
        self._put_in()

    def close(self) -> None:
        """Give the disk back."""
        if "_store" in self.__dict__:
            self._store.close()

    @cached_property
    def _store(self) -> Connection:
        import sqlite3  # noqa: PLC0415 - not every plan has later changes

        store = sqlite3.connect("")  # a temporary file of SQLite's own, kept in memory while small
        store.executescript(_TOUCHED)
        return store

    # ---- first pass: the plan's keys

    def _put_in(self) -> None:
        distinct: dict[str, set[int]] | None = {}
        rows = 0
        for number, (_, change) in enumerate(self._steps()):
            name = _KEYS if isinstance(change, CommandChange) else name_of(change.table)
            self._first.setdefault(name, number)
            hashes = list(_hashes(change))
            rows += len(hashes)
            if rows > KEYS_COUNTED_MAX:
                distinct = None
            if distinct is not None:
                distinct.setdefault(name, set()).update(hashes)
            for hashed in hashes:
                self._touched.add(hashed)
        self.keys = {name: len(found) for name, found in (distinct or {}).items()}

    # ---- second pass: what may meet them

    def _may_meet(self, events: Iterable[Event], suspects: KeyFilter) -> Iterator[tuple[Any, ...]]:
        waiting = iter(self._positions())
        following = next(waiting, None)
        number = 0  # of steps so far
        for event in events:
            operation = getattr(event, "operation", None)
            if following is not None and event.position.value == following:
                following = next(waiting, None)
                number += 1
            elif operation == "command":
                yield from self._command(event, number, suspects)
            elif operation is not None and event.table is None:
                _note_statement(event, {name for name, first in self._first.items() if first < number}, self.unknown)
            elif operation is not None and self._first.get(".".join(event.table), number) < number:  # type: ignore[arg-type]
                changes = _changes(event, self.unknown)
                if changes is not None:
                    yield from self._rows(event, changes, number, suspects)

    def _rows(self, event: Event, changes: RowChanges, number: int, suspects: KeyFilter) -> Iterator[tuple[Any, ...]]:
        name, columns, touched = name_of(changes.table), key_of(changes.table), self._touched
        for before, after in changes.rows:
            old, new = (None if row is None else hash((name, *_key(columns, row))) for row in (before, after))
            if (old is None or old not in touched) and (new is None or new not in touched):
                continue
            for hashed in {old, new} - {None}:
                suspects.add(hashed)  # type: ignore[arg-type]
            rows = [row for row in (before, after) if row is not None]
            yield (
                number,
                name,
                None if before is None else _dumped(_key(columns, before)),
                None if after is None else _dumped(_key(columns, after)),
                _dumped([[row[column] for column in columns] for row in rows]),
                None if before is None or after is None else _dumped(_changed(changes.table, before, after)),
                _later(event),
            )

    def _command(self, event: Event, number: int, suspects: KeyFilter) -> Iterator[tuple[Any, ...]]:
        every = event.kind in _ALL_KEYS
        words = [word for word in ([] if every else event.body.arguments) if hash((_KEYS, word)) in self._touched]
        if every:
            suspects.fill()
        for word in words:
            suspects.add(hash((_KEYS, word)))
        if words or every:
            shown = _dumped([f"db{event.body.database}", event.kind])
            yield from ((number, _KEYS, word, None, shown, None, _later(event)) for word in (words or [None]))

    # ---- third pass: what does meet them

    def _meet(self, suspects: KeyFilter) -> Iterator[Conflict]:
        later = self._store.execute("SELECT * FROM later ORDER BY rowid")
        coming = later.fetchone()
        for number, (at, change) in enumerate(self._steps()):
            while coming is not None and coming[0] <= number:
                yield from self._compare(*coming[1:])
                coming = later.fetchone()
            if coming is None:
                return
            self._remember(at, change, suspects)
        while coming is not None:
            yield from self._compare(*coming[1:])
            coming = later.fetchone()

    def _remember(self, at: str, change: RowChanges | CommandChange, suspects: KeyFilter) -> None:
        """Keep what a step touches, where a later change may meet it."""
        if isinstance(change, CommandChange):
            words = [word for word in change.do[1:] if hash((_KEYS, word)) in suspects]
            self._store.executemany(_INSERT, [(_KEYS, word, at, "command", b"[]") for word in words])
            return
        name = name_of(change.table)
        found = [(key, kind, columns) for key, kind, columns in _touches(change) if hash((name, *key)) in suspects]
        self._store.executemany(_INSERT, [(name, _dumped(key), at, kind, _dumped(columns)) for key, kind, columns in found])

    def _compare(
        self, name: str, old: bytes | None, new: bytes | None, shown: bytes, columns: bytes | None, event: bytes
    ) -> Iterator[Conflict]:
        """Yield what a later change meets; `columns` are those an update changed."""
        key, later = orjson.loads(shown), orjson.loads(event)
        if name == _KEYS:
            yield from self._meet_commands(old, key, later)
            return
        moved = old is None or new is None or old != new
        changed = [] if columns is None else orjson.loads(columns)
        for number, at, kind, expected in [] if old is None else self._find(name, old):
            severity, what = _verdict(kind, changed, orjson.loads(expected), gone=moved)
            if severity:
                yield self._marked(number, Conflict(severity, what, name, key[0], changed, later, at))
        for number, at, _, _ in self._find(name, new) if new is not None and moved else []:
            yield self._marked(number, Conflict(HARD, REUSED, name, key[-1], [], later, at))

    def _meet_commands(self, word: bytes | None, shown: Sequence[str], later: JsonObject) -> Iterator[Conflict]:
        query = "SELECT rowid, at, key FROM touched WHERE name = ? AND key = coalesce(?, key)"
        for number, at, key in self._store.execute(query, (_KEYS, word)).fetchall():
            text = key.decode("utf-8", "backslashreplace")
            yield self._marked(number, Conflict(HARD, KEY, shown[0], [text], shown[1:], later, at))

    def _find(self, name: str, key: bytes) -> list[tuple[int, str, str, bytes]]:
        query = "SELECT rowid, at, kind, columns FROM touched WHERE name = ? AND key = ?"
        return self._store.execute(query, (name, key)).fetchall()

    def _marked(self, number: int, conflict: Conflict) -> Conflict:
        self._store.execute("UPDATE touched SET severity = max(severity, ?) WHERE rowid = ?", (conflict.severity, number))
        return conflict


def name_of(table: Table) -> str:
    """Return `schema.table`."""
    return f"{table.schema}.{table.name}"


def key_of(table: Table) -> Sequence[int]:
    """Return the columns that tell rows apart: the key, else all."""
    return table.key or range(len(table.columns))


def _key(columns: Sequence[int], row: Row) -> tuple[Any, ...]:
    return tuple([value.casefold().rstrip(" ") if isinstance(value := row[column], str) else value for column in columns])


def _touches(changes: RowChanges) -> Iterator[tuple[tuple[Any, ...], str, Sequence[str]]]:
    """Yield key, kind and changed columns of what a step touches; an update of the key touches two."""
    columns = key_of(changes.table)
    for before, after in changes.rows:
        old, new = (None if row is None else _key(columns, row) for row in (before, after))
        if before is None or after is None:
            yield (new or old or (), "insert" if before is None else "delete", ())
            continue
        yield new or (), "update", _changed(changes.table, before, after)
        if old is not None and old != new:
            yield old, "delete", ()


def _hashes(change: RowChanges | CommandChange) -> Iterator[int]:
    """Yield the hash of each key that a step touches."""
    if isinstance(change, CommandChange):
        yield from (hash((_KEYS, word)) for word in change.do[1:])
        return
    name, columns = name_of(change.table), key_of(change.table)
    for before, after in change.rows:
        if after is not None:
            yield hash((name, *_key(columns, after)))
        if before is not None and (after is None or any(before[column] != after[column] for column in columns)):
            yield hash((name, *_key(columns, before)))


def _dumped(value: Any) -> bytes:
    return orjson.dumps(value, default=_plain)


def _plain(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)  # an integer of more than 64 bits


def _changed(table: Table, before: Row, after: Row) -> list[str]:
    return [column.name for column, old, new in zip(table.columns, before, after, strict=True) if old != new]


def _later(event: Event) -> bytes:
    """What a conflict says of the later event."""
    info = getattr(event, "transaction_info", None)
    return orjson.dumps(
        {
            "at": event.position.value,
            "time": event.time.isoformat() if event.time else None,
            "transaction": event.transaction,
            "statement": info.statements[0] if info and info.statements else None,
        }
    )


def _note_statement(event: Event, tables: set[str], unknown: dict[str, str]) -> None:
    """Note the tables that an event without rows may have changed: all it names; where it names nothing we know, all there are."""
    text = bytes(getattr(event.body, "text", b"")).decode("utf-8", "replace").casefold()
    named = {name for name in tables if name.partition(".")[2].casefold() in text or name.partition(".")[0].casefold() in text}
    reason = getattr(getattr(event, "omission", None), "reason", "a statement")
    for name in named if getattr(event, "operation", None) == "definition" else tables:
        unknown.setdefault(name, f"from {event.position.value} on: {reason}")


def _changes(event: Event, unknown: dict[str, str]) -> RowChanges | None:
    """Return what an event changed; note the table where that cannot be told."""
    name = ".".join(event.table or ("", ""))
    body = event.body
    if not isinstance(body, RowChanges):
        unknown.setdefault(name, f"from {event.position.value} on: {getattr(body, 'reason', 'not rows')}")
        return None
    return body


def _verdict(kind: str, columns: Sequence[str], expected: Sequence[str], *, gone: bool) -> tuple[int, str]:
    """Return severity and name of what a later change of a row means for a step of this kind; severity 0: nothing."""
    if not gone and not columns:  # written anew with the values it had
        return 0, ""
    if kind == "delete":
        return (0, "") if gone else (HARD, REUSED)
    if gone:
        return HARD, GONE
    return (HARD if kind == "insert" or set(columns) & set(expected) else SOFT), COLUMN
