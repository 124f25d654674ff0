"""Later changes to a plan's rows: every pair of what is undone and what came later, against the table in the module's head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hypothesis import given, strategies as st
import pytest

from dblog_tasks import touches
from dblog_tasks.conflicts import HARD, SOFT, Conflict, ConflictSearch, Step
from dblog_tasks.event import Column, Omission, Position, RowChanges, RowPair, Table

TABLE = Table("s", "t", (Column("id", "int"), Column("a", "int"), Column("b", "varchar(9)")), (0,))
KEYLESS = Table("s", "t", TABLE.columns)


@dataclass(frozen=True, slots=True)
class Made:
    """An event of no log."""

    position: Position
    body: Any
    operation: str = "made"
    table: tuple[str, str] = ("s", "t")
    time: datetime | None = None
    transaction: str | None = None


def found(undone: Sequence[RowPair], later: Sequence[RowPair], table: Table = TABLE) -> list[tuple[int, str, list[str]]]:
    """Return severity, name and columns of the conflicts of a step with a later event."""
    step = ("log:1", RowChanges(table, undone))
    events = [Made(Position("", "log:1"), step[1]), Made(Position("", "log:2"), RowChanges(table, later))]
    conflicts, search = searched(step, events)
    assert len({conflict.undo_at for conflict in conflicts} - {"log:1"}) == 0
    assert sum(search.counts.values()) <= len(undone) * 2
    assert bool(conflicts) is any(search.counts.values())
    return [(conflict.severity, conflict.what, list(conflict.columns)) for conflict in conflicts]


def searched(step: Step, events: Sequence[Made]) -> tuple[list[Conflict], ConflictSearch]:
    """Return the conflicts of a plan of one step, and the search after its end."""
    search = ConflictSearch(lambda: [step], lambda: [step[0]])
    try:
        return list(search.find(events)), search  # type: ignore[arg-type]
    finally:
        search.close()


OLD, NEW = (1, 10, "x"), (1, 11, "x")
UPDATE: Sequence[RowPair] = [(OLD, NEW)]
INSERT: Sequence[RowPair] = [(None, NEW)]
DELETE: Sequence[RowPair] = [(NEW, None)]
MATRIX: dict[str, tuple[Sequence[RowPair], Sequence[RowPair], list[tuple[int, str, list[str]]]]] = {
    "update, same column": (UPDATE, [(NEW, (1, 12, "x"))], [(HARD, "column changed", ["a"])]),
    "update, another column": (UPDATE, [(NEW, (1, 11, "y"))], [(SOFT, "column changed", ["b"])]),
    "update, both": (UPDATE, [(NEW, (1, 12, "y"))], [(HARD, "column changed", ["a", "b"])]),
    "update, deleted": (UPDATE, [(NEW, None)], [(HARD, "row gone", [])]),
    "update, key changed": (UPDATE, [(NEW, (2, 11, "x"))], [(HARD, "row gone", ["id"])]),
    "update, other row": (UPDATE, [((2, 1, "x"), (2, 2, "x"))], []),
    "insert, any column": (INSERT, [(NEW, (1, 11, "y"))], [(HARD, "column changed", ["b"])]),
    "insert, deleted": (INSERT, [(NEW, None)], [(HARD, "row gone", [])]),
    "delete, inserted": (DELETE, [(None, (1, 0, ""))], [(HARD, "key reused", [])]),
    "delete, another row takes the key": (DELETE, [((2, 0, ""), (1, 0, ""))], [(HARD, "key reused", [])]),
    "delete, another row": (DELETE, [(None, (2, 11, "x"))], []),
    "key changed, old key reused": ([(OLD, (2, 10, "x"))], [(None, OLD)], [(HARD, "key reused", [])]),
    "key changed, new key changed": ([(OLD, (2, 10, "x"))], [((2, 10, "x"), (2, 12, "x"))], [(SOFT, "column changed", ["a"])]),
}


@pytest.mark.parametrize("name", MATRIX)
def test_a_later_change_is_the_conflict_it_is(name: str) -> None:
    """Severity, name and columns for each pair of what is undone and what came later."""
    undone, later, expected = MATRIX[name]

    assert expected == found(undone, later)


def test_rows_without_a_key_are_told_by_all_columns() -> None:
    """Without a key, a row is gone when any of its columns changed."""
    assert [(HARD, "row gone", ["b"])] == found(UPDATE, [(NEW, (1, 11, "y"))], KEYLESS)
    assert [] == found(UPDATE, [((1, 11, "z"), (1, 11, "y"))], KEYLESS)


def test_keys_of_text_are_compared_as_most_collations_do() -> None:
    """Case and trailing blanks do not make another key: a conflict too many is better than one too few."""
    table = Table("s", "t", TABLE.columns, (2,))

    assert [(HARD, "key reused", [])] == found([((1, 1, "Bob"), None)], [(None, (2, 2, "bob "))], table)


def test_what_is_no_rows_makes_its_table_unknown() -> None:
    """A later event that cannot be read is said, with the place from which on, once a table."""
    step = ("log:1", RowChanges(TABLE, UPDATE))
    unread = [Made(Position("", f"log:{number}"), Omission("no names")) for number in (2, 3)]

    conflicts, search = searched(step, [Made(Position("", "log:1"), step[1]), *unread])

    assert [] == conflicts
    assert {"s.t": "from log:2 on: no names"} == search.unknown


rows = st.tuples(st.integers(1, 3), st.integers(0, 2), st.sampled_from("xy"))


@given(undone=st.tuples(rows, rows), later=st.tuples(rows, rows))
def test_a_change_to_another_key_is_never_a_conflict(undone: Any, later: Any) -> None:
    """Updates of rows are in conflict exactly when they share a key."""
    shared = {undone[0][0], undone[1][0]} & {later[0][0], later[1][0]}
    changed = later[0] != later[1]

    if not shared or not changed:
        assert [] == found([undone], [later])
    elif later[0][0] == undone[1][0]:
        assert found([undone], [later])


changes = st.one_of(
    st.tuples(st.none(), rows),
    st.tuples(rows, st.none()),
    st.tuples(rows, rows),
)
tables = st.sampled_from([TABLE, KEYLESS, Table("s", "u", TABLE.columns, (2, 0))])
steps = st.lists(st.tuples(st.booleans(), tables, st.lists(changes, min_size=1, max_size=4)), max_size=9)


@given(log=steps)
def test_what_is_kept_on_disk_gives_what_is_kept_in_memory(log: Any) -> None:
    """Limits of memory change nothing but where things are kept."""
    events = [
        Made(Position("", f"log:{at}"), RowChanges(table, pairs), table=(table.schema, table.name))
        for at, (_, table, pairs) in enumerate(log)
    ]
    undone = [(event.position.value, event.body) for event, (is_step, _, _) in zip(events, log, strict=True) if is_step]

    def outcome() -> Any:
        search = ConflictSearch(lambda: undone, lambda: [at for at, _ in undone])
        try:
            return list(search.find(events)), search.counts, search.keys, search.unknown  # type: ignore[arg-type]
        finally:
            search.close()

    in_memory = outcome()
    for limits in ({"HASHES_MAX": 0}, {"TOUCHES_MAX": 0}, {"DEEDS_MAX": 0}, {"LATER_BYTES_MAX": 1}, {"HASHES_MAX": 3, "TOUCHES_MAX": 4}):
        with pytest.MonkeyPatch.context() as patch:
            for name, limit in limits.items():
                patch.setattr(touches, name, limit)
            assert in_memory == outcome()
