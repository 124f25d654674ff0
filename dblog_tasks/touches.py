"""What a plan's steps touch, by key, while later changes are held against it; and those changes, until they are.

Law: memory is bounded whatever comes. Nothing here knows what a conflict is.

    held             in memory                          beyond
    hashes of keys   exact, up to HASHES_MAX            a filter of 8 MiB: never a no to one that was put in, seldom a yes to another
    touches          up to TOUCHES_MAX                  a temporary SQLite database, from then on
    later changes    up to LATER_BYTES_MAX of JSON      a temporary file
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import orjson

if TYPE_CHECKING:
    from sqlite3 import Connection

HASHES_MAX = 100_000
TOUCHES_MAX = 150_000
DEEDS_MAX = 10_000  # of kinds with their columns
LATER_BYTES_MAX = 4 << 20
_BITS = 26
_MASK = (1 << _BITS) - 1
_TABLE = """
    PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA locking_mode=EXCLUSIVE;
    CREATE TABLE touches (name TEXT, key TEXT, at TEXT, kind TEXT, columns TEXT, severity INTEGER);
    CREATE INDEX touches_key ON touches (name, key);
"""


class KeyHashes:
    """Which keys may have been put in, by their hashes of 64 bits."""

    def __init__(self) -> None:
        self._exact: set[int] | None = set()
        self._filter = bytearray()
        self._all = False

    @property
    def empty(self) -> bool:
        """Whether nothing was put in."""
        return not (self._all or self._exact or self._filter)

    def update(self, hashes: Iterable[int]) -> None:
        """Put keys in."""
        if self._exact is None:
            self._sift(hashes)
            return
        self._exact.update(hashes)
        if len(self._exact) > HASHES_MAX:
            self._filter = bytearray(1 << _BITS - 3)
            self._sift(self._exact)
            self._exact = None

    def fill(self) -> None:
        """Put every key in."""
        self._all = True

    def any_of(self, hashes: Iterable[int]) -> bool:
        """Return whether one of these may be in."""
        if self._exact is not None and not self._all:
            return not self._exact.isdisjoint(hashes)
        return any(hashed in self for hashed in hashes)

    def __contains__(self, hashed: int) -> bool:
        if self._all or self._exact is not None:
            return self._all or hashed in self._exact  # type: ignore[operator]
        one, other = hashed & _MASK, hashed >> _BITS & _MASK
        found = self._filter
        return bool(found[one >> 3] >> (one & 7) & 1) and bool(found[other >> 3] >> (other & 7) & 1)

    def _sift(self, hashes: Iterable[int]) -> None:
        found = self._filter
        for hashed in hashes:
            one, other = hashed & _MASK, hashed >> _BITS & _MASK
            found[one >> 3] |= 1 << (one & 7)
            found[other >> 3] |= 1 << (other & 7)


class Touch(NamedTuple):
    """What a step does to a key: where, which kind of change, which columns; `id` names it to `mark`."""

    id: int
    key: str
    at: str
    kind: str
    columns: Sequence[str]


class Touches:
    """What the steps so far touch, by table and key, and the worst that was found of each."""

    def __init__(self) -> None:
        self._store: Connection | None = None
        self._forget()

    def _forget(self) -> None:
        self._newest: dict[str, dict[str, int]] = {}  # by table and key: id of the last touch
        self._before = array("q")  # by id: that of the touch of the same key before, -1 for none
        self._at, self._does, self._severities = array("L"), array("L"), bytearray()  # by id
        self._places: list[str] = []
        self._deeds: list[tuple[str, tuple[str, ...]]] = []  # kinds with their columns
        self._numbers: dict[tuple[str, tuple[str, ...]], int] = {}  # of those

    def add(self, name: str, at: str, found: Iterable[tuple[str, str, Sequence[str]]]) -> None:
        """Take key, kind and columns of each touch of a table by the step at a position."""
        if self._store is not None:
            rows = [(name, key, at, kind, orjson.dumps(columns).decode()) for key, kind, columns in found]
            self._store.executemany("INSERT INTO touches VALUES (?, ?, ?, ?, ?, 0)", rows)
            return
        newest = self._newest.setdefault(name, {})
        for key, kind, columns in found:
            if not self._places or self._places[-1] != at:
                self._places.append(at)
            self._before.append(newest.get(key, -1))
            newest[key] = len(self._at)
            self._at.append(len(self._places) - 1)
            self._does.append(self._number((kind, tuple(columns))))
            self._severities.append(0)
        if len(self._at) > TOUCHES_MAX or len(self._deeds) > DEEDS_MAX:
            self._spill()

    def find(self, name: str, key: str) -> Sequence[Touch]:
        """Return the touches of a key so far, in order."""
        if self._store is not None:
            return [*self._asked("name = ? AND key = ? ORDER BY rowid", name, key)]
        found = self._newest[name].get(key, -1) if name in self._newest else -1
        return self._chain(key, found) if found >= 0 else ()

    def all_of(self, name: str) -> Sequence[Touch]:
        """Return all touches of a table so far, by key."""
        if self._store is not None:
            return [*self._asked("name = ? ORDER BY key, rowid", name)]
        return [touch for key, newest in sorted(self._newest.get(name, {}).items()) for touch in self._chain(key, newest)]

    def mark(self, touch: Touch, severity: int) -> None:
        """Note what was found of a touch; the worst counts."""
        if self._store is None:
            self._severities[touch.id] = max(self._severities[touch.id], severity)
        else:
            self._store.execute("UPDATE touches SET severity = max(severity, ?) WHERE rowid = ?", (severity, touch.id + 1))

    def counts(self) -> dict[int, int]:
        """Return the number of touches by the worst found of them, where anything was."""
        if self._store is None:
            return {severity: self._severities.count(severity) for severity in {*self._severities} - {0}}
        return dict(self._store.execute("SELECT severity, count(*) FROM touches WHERE severity > 0 GROUP BY severity"))

    def close(self) -> None:
        """Give the disk back."""
        if self._store is not None:
            self._store.close()

    def _number(self, deed: tuple[str, tuple[str, ...]]) -> int:
        number = self._numbers.get(deed)
        if number is None:
            number = self._numbers[deed] = len(self._deeds)
            self._deeds.append(deed)
        return number

    def _chain(self, key: str, number: int) -> list[Touch]:
        found = []
        while number >= 0:
            found.append(Touch(number, key, self._places[self._at[number]], *self._deeds[self._does[number]]))
            number = self._before[number]
        return found[::-1]

    def _asked(self, where: str, *values: str) -> Iterator[Touch]:
        query = f"SELECT rowid - 1, key, at, kind, columns FROM touches WHERE {where}"  # noqa: S608 - fixed texts of this class
        for number, key, at, kind, columns in self._store.execute(query, values).fetchall():  # type: ignore[union-attr]
            yield Touch(number, key, at, kind, orjson.loads(columns))

    def _spill(self) -> None:
        import sqlite3  # noqa: PLC0415 - for big plans only

        store = sqlite3.connect("")  # a temporary file of SQLite's own, kept in memory while small
        store.executescript(_TABLE)
        for name, keys in self._newest.items():
            touches = (touch for key, newest in keys.items() for touch in self._chain(key, newest))
            rows = (
                (at + 1, name, key, place, kind, orjson.dumps(columns).decode(), self._severities[at])
                for at, key, place, kind, columns in touches
            )
            store.executemany("INSERT INTO touches (rowid, name, key, at, kind, columns, severity) VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        self._forget()
        self._store = store


class Later:
    """Changes that may meet the plan's, each a value that JSON can hold, in order: all are put in, then all are read."""

    def __init__(self) -> None:
        self._lines: IO[bytes] | None = None

    def add(self, line: bytes) -> None:
        """Put in one line of JSON."""
        if self._lines is None:
            import tempfile  # noqa: PLC0415 - not every plan has later changes

            self._lines = tempfile.SpooledTemporaryFile(LATER_BYTES_MAX, prefix="dblog-")  # noqa: SIM115 - closed by `close`
        self._lines.write(line)

    def read(self) -> Iterator[Any]:
        """Yield what was put in."""
        if self._lines is None:
            return iter(())
        self._lines.seek(0)
        return map(orjson.loads, self._lines)

    def close(self) -> None:
        """Give the disk back."""
        if self._lines is not None:
            self._lines.close()
