"""Foreign keys that change rows without a word in the log: which tables they may have reached. No I/O.

    logged by                        the rows a foreign key deletes or changes
    MariaDB, MySQL before 9.6        are not in the log: the engine changes them below the server
    MySQL from 9.6 on                are in it, like any others (but with innodb_native_foreign_keys=ON)

Law: nothing is said of a key that did not change. What is reached is said, not which rows of it: the log does not know.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from dblog_tasks.event import Omission, RowChanges
from dblog_tasks.mysql.binlog import Format, version_numbers
from dblog_tasks.mysql.rows import DELETE, UPDATE

if TYPE_CHECKING:  # its parser takes long to import
    from dblog_tasks.mysql.catalog import Catalog
    from dblog_tasks.mysql.create_table import ForeignKey, Name


class _Child(NamedTuple):
    name: Name
    key: ForeignKey

    def follows(self, operation: str) -> str:
        return self.key.on_delete if operation == DELETE else self.key.on_update


class Cascades:
    """What foreign keys may have changed, as far as rows were seen.

    Attributes:
        reached: tables, as `schema.table`.
    """

    def __init__(self, catalog: Catalog | None) -> None:
        self.reached: set[str] = set()
        self._children: dict[Name, list[_Child]] = defaultdict(list)
        for name, table in catalog.tables.items() if catalog else ():
            for key in table.foreign_keys:
                self._children[key.parent].append(_Child(name, key))
        self._watched: dict[tuple[Name, str], list[_Child]] = {}

    def __bool__(self) -> bool:
        return any(child.key.on_delete or child.key.on_update for children in self._children.values() for child in children)

    def note(self, name: Name, operation: str, changes: RowChanges | Omission) -> None:
        """Take note of rows of a table that were deleted or updated; of those that cannot be read, every key may have changed."""
        if (name, operation) not in self._watched:
            self._watched[name, operation] = [child for child in self._of(name) if child.follows(operation)]
        watched = self._watched[name, operation]
        hit = [child for child in watched if operation == DELETE or _changed(changes, child.key.parent_columns)] if watched else []
        for child in hit:
            watched.remove(child)
            self.reached.update(".".join((table[0] or name[0], table[1])) for table in self._reach(child, operation))

    def _of(self, name: Name) -> list[_Child]:
        """The tables that hold a table's keys; names of a file without schemas stand for every schema."""
        return self._children.get(name) or self._children.get(("", name[1])) or []

    def _reach(self, child: _Child, operation: str) -> Iterator[Name]:
        """Yield the table and all that its own keys reach."""
        waiting = [(child, operation)]
        seen: set[tuple[Name, str, tuple[str, ...]]] = set()
        while waiting:
            found, cause = waiting.pop()
            deleted = cause == DELETE and found.follows(cause) == "CASCADE"
            changed = () if deleted else found.key.columns
            if (found.name, cause, changed) in seen:
                continue
            seen.add((found.name, cause, changed))
            yield found.name
            effect = DELETE if deleted else UPDATE
            below = (other for other in self._of(found.name) if other.follows(effect))
            waiting += [(other, effect) for other in below if deleted or _meet(changed, other.key.parent_columns)]


def _changed(changes: RowChanges | Omission, columns: tuple[str, ...]) -> bool:
    """Whether any row has other values in these columns than before; no columns stand for the primary key."""
    if isinstance(changes, Omission):
        return True
    names = [column.name.lower() for column in changes.table.columns]
    wanted = {column.lower() for column in columns}
    places = [place for place, name in enumerate(names) if name in wanted] or list(changes.table.key)
    return any(before and after and any(before[place] != after[place] for place in places) for before, after in changes.rows)


def _meet(some: tuple[str, ...], others: tuple[str, ...]) -> bool:
    return not others or bool({name.lower() for name in some} & {name.lower() for name in others})


def cascades_are_logged(known: Format) -> bool:
    """Return whether a server logs what its foreign keys change."""
    return not known.mariadb and version_numbers(known.server_version) >= (9, 6)
