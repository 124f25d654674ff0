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
to the end of the logs, are held against that, and the few that may meet it are kept (`touches.py`); these are compared exactly with
the plan's rows, which are read once more. Where no later change is kept there is no third pass.

Keys of text are compared without case and trailing blanks, as most collations do: a conflict too many is looked at by a person, one
too few is not. Rows of tables without a key are told by all their columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from operator import itemgetter
from typing import Any, NamedTuple, TypeAlias

import orjson

from dblog_tasks.event import CommandChange, Event, JsonObject, Row, RowChanges, Table
from dblog_tasks.touches import KeyHashes, Later, Touch, Touches

SOFT, HARD = 1, 2
NAMES = {SOFT: "soft", HARD: "hard"}
COLUMN, GONE, REUSED, KEY = "column changed", "row gone", "key reused", "key changed"
KEYS_COUNTED_MAX = 100_000  # rows of a plan up to which distinct keys are counted
_ALL_KEYS = frozenset({"flushall", "flushdb", "swapdb"})  # commands on whole databases
_KEYS = "keys"  # of all databases: a command may move one to another
Step: TypeAlias = tuple[str, RowChanges | CommandChange]  # position and change, as the log has it


class Conflict(NamedTuple):
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
        self._touched, self._touches, self._later = KeyHashes(), Touches(), Later()
        self._first: dict[str, int] = {}  # number of a table's first step

    def find(self, events: Iterable[Event]) -> Iterator[Conflict]:
        """Yield the conflicts in log order; `events` are all of the plan's tables, in log order, from the first step on."""
        self._put_in()
        suspects = KeyHashes()
        for change in self._may_meet(events, suspects):
            self._later.add(_dumped(change) + b"\n")
        if not suspects.empty:
            yield from self._meet(suspects)
            self.counts |= self._touches.counts()

    def count_keys(self) -> None:
        """Count the distinct keys alone, for a plan after which nothing can come."""
        self._put_in()

    def close(self) -> None:
        """Give the disk back."""
        self._touches.close()
        self._later.close()

    # ---- first pass: the plan's keys

    def _put_in(self) -> None:
        distinct: dict[str, set[int]] | None = {}
        rows = 0
        for number, (_, change) in enumerate(self._steps()):
            name = _KEYS if isinstance(change, CommandChange) else name_of(change.table)
            self._first.setdefault(name, number)
            hashes = _hashes(name, change)
            rows += len(hashes)
            if rows > KEYS_COUNTED_MAX:
                distinct = None
            if distinct is not None:
                distinct.setdefault(name, set()).update(hashes)
            self._touched.update(hashes)
        self.keys = {name: len(found) for name, found in (distinct or {}).items()}

    # ---- second pass: what may meet them

    def _may_meet(self, events: Iterable[Event], suspects: KeyHashes) -> Iterator[Sequence[Any]]:
        """Yield what may meet the steps before it: their number, the table, the rows, and what is said of the event."""
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
                rows = self._rows(changes, suspects) if changes is not None else ()
                if changes is not None and rows:
                    yield number, name_of(changes.table), rows, _later(event)

    def _rows(self, changes: RowChanges, suspects: KeyHashes) -> Sequence[Any]:
        """Return the rows that may meet: their keys before and after, both as shown, and the columns an update changed."""
        name, columns, touched, found = name_of(changes.table), key_of(changes.table), self._touched, []
        hashed = _hashes_of(name, columns, [row for pair in changes.rows for row in pair if row is not None])
        if not touched.any_of(hashed):
            return ()
        following = iter(hashed)
        for before, after in changes.rows:
            rows = [row for row in (before, after) if row is not None]
            hashes = [*islice(following, len(rows))]
            if not touched.any_of(hashes):
                continue
            suspects.update(hashes)
            old, new = (None if row is None else _text(_key(columns, row)) for row in (before, after))
            changed = None if before is None or after is None else _changed(changes.table, before, after)
            found.append((old, new, [[row[column] for column in columns] for row in rows], changed))
        return found

    def _command(self, event: Event, number: int, suspects: KeyHashes) -> Iterator[Sequence[Any]]:
        every = event.kind in _ALL_KEYS
        words = [word for word in ([] if every else event.body.arguments) if hash((_KEYS, word)) in self._touched]
        if every:
            suspects.fill()
        suspects.update(hash((_KEYS, word)) for word in words)
        if words or every:
            shown = [f"db{event.body.database}", event.kind]
            found: list[str | None] = [word.decode("latin-1") for word in words]
            yield number, _KEYS, [(word, None, shown, None) for word in (found or [None])], _later(event)

    # ---- third pass: what does meet them

    def _meet(self, suspects: KeyHashes) -> Iterator[Conflict]:
        later = self._later.read()
        coming = next(later, None)
        for number, (at, change) in enumerate(self._steps()):
            while coming is not None and coming[0] <= number:
                yield from self._compare(*coming[1:])
                coming = next(later, None)
            if coming is None:
                return
            self._remember(at, change, suspects)
        while coming is not None:
            yield from self._compare(*coming[1:])
            coming = next(later, None)

    def _remember(self, at: str, change: RowChanges | CommandChange, suspects: KeyHashes) -> None:
        """Keep what a step touches, where a later change may meet it."""
        if isinstance(change, CommandChange):
            words = [word for word in change.do[1:] if hash((_KEYS, word)) in suspects]
            self._touches.add(_KEYS, at, [(word.decode("latin-1"), "command", ()) for word in words])
            return
        name = name_of(change.table)
        if suspects.any_of(_hashes(name, change)):
            found = [(key, kind, columns) for key, kind, columns in _touches(change) if hash((name, *key)) in suspects]
            self._touches.add(name, at, [(_text(key), kind, columns) for key, kind, columns in found])

    def _compare(self, name: str, rows: Sequence[Any], event: JsonObject) -> Iterator[Conflict]:
        """Yield what the rows of a later change meet, each with its keys before and after, as shown, and the columns that changed."""
        for old, new, key, columns in rows:
            if name == _KEYS:
                yield from self._meet_commands(old, key, event)
                continue
            moved = old is None or new is None or old != new
            changed = columns or []
            for touch in [] if old is None else self._touches.find(name, old):
                severity, what = _verdict(touch.kind, changed, touch.columns, gone=moved)
                if severity:
                    yield self._marked(touch, Conflict(severity, what, name, key[0], changed, event, touch.at))
            for touch in self._touches.find(name, new) if new is not None and moved else []:
                yield self._marked(touch, Conflict(HARD, REUSED, name, key[-1], [], event, touch.at))

    def _meet_commands(self, word: str | None, shown: Sequence[str], event: JsonObject) -> Iterator[Conflict]:
        for touch in self._touches.all_of(_KEYS) if word is None else self._touches.find(_KEYS, word):
            text = touch.key.encode("latin-1").decode("utf-8", "backslashreplace")
            yield self._marked(touch, Conflict(HARD, KEY, shown[0], [text], shown[1:], event, touch.at))

    def _marked(self, touch: Touch, conflict: Conflict) -> Conflict:
        self._touches.mark(touch, conflict.severity)
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


def _hashes(name: str, change: RowChanges | CommandChange) -> list[int]:
    """Return the hash of each key that a step touches."""
    if isinstance(change, CommandChange):
        return [hash((_KEYS, word)) for word in change.do[1:]]
    columns = key_of(change.table)
    key = itemgetter(*columns) if columns else len
    rows = [after for _, after in change.rows if after is not None]
    for before, after in change.rows:
        if before is not None and (after is None or key(before) != key(after)):
            rows.append(before)
    return _hashes_of(name, columns, rows)


def _hashes_of(name: str, columns: Sequence[int], rows: Sequence[Row]) -> list[int]:
    """Return the hash of each row's key: most keys are of one column."""
    if len(columns) != 1:
        return [hash((name, *_key(columns, row))) for row in rows]
    values = [row[columns[0]] for row in rows]
    return [hash((name, value.casefold().rstrip(" ") if isinstance(value, str) else value)) for value in values]


def _dumped(value: Any) -> bytes:
    return orjson.dumps(value, default=_plain)


def _text(key: Sequence[Any]) -> str:
    return _dumped(key).decode()


def _plain(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)  # an integer of more than 64 bits


def _changed(table: Table, before: Row, after: Row) -> list[str]:
    return [column.name for column, old, new in zip(table.columns, before, after, strict=True) if old != new]


def _later(event: Event) -> JsonObject:
    """What a conflict says of the later event."""
    info = getattr(event, "transaction_info", None)
    return {
        "at": event.position.value,
        "time": event.time.isoformat() if event.time else None,
        "transaction": event.transaction,
        "statement": info.statements[0] if info and info.statements else None,
    }


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
