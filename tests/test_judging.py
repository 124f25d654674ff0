"""What becomes of each row, by the rows as they are: no database."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hypothesis import given, strategies as st
import pytest

from dblog_tasks import judging
from dblog_tasks.event import Column, Row, Table
from dblog_tasks.judging import Judge, KeptStates, PlannedRow, Verdict, planned_row
from dblog_tasks.target import BoundTable, Child

COLUMNS = tuple(Column(name, "int") for name in ("id", "a", "b"))
ALL = (0, 1, 2)
T = BoundTable(Table("s", "t", COLUMNS, (0,)), ALL, (0,), ALL, ALL)
NO_KEY = BoundTable(Table("s", "n", COLUMNS), ALL, (), ALL, ALL)
Pair = tuple[Row | None, Row | None]


def judged(
    pairs: Sequence[Pair], states: dict[Any, Any], policy: str = "stop", *, table: BoundTable = T, children: Mapping[int, Any] | None = None
) -> tuple[list[Verdict], Judge]:
    """Judge steps, newest first, on rows by key."""
    rows: list[PlannedRow] = [planned_row(number, f"log:{number}", table, now, then) for number, (now, then) in enumerate(pairs)]
    known = {(table.name, key): state for key, state in states.items()}
    judge = Judge(policy, set(), {})
    return list(judge.judge(rows, known, children or {}, {})), judge


CASES: dict[str, tuple[Pair, dict[Any, Any], str, str]] = {
    "update": (((1, 9, 0), (1, 5, 0)), {(1,): (1, 9, 0)}, "applies", ""),
    "update beside another change": (((1, 9, 0), (1, 5, 0)), {(1,): (1, 9, 77)}, "applies", ""),
    "update done already": (((1, 9, 0), (1, 5, 0)), {(1,): (1, 5, 0)}, "already applied", ""),
    "update of another value": (((1, 9, 0), (1, 5, 0)), {(1,): (1, 7, 0)}, "conflict", "column changed"),
    "update of no row": (((1, 9, 0), (1, 5, 0)), {(1,): None}, "conflict", "row gone"),
    "insert": ((None, (1, 5, 0)), {(1,): None}, "applies", ""),
    "insert done already": ((None, (1, 5, 0)), {(1,): (1, 5, 0)}, "already applied", ""),
    "insert over another": ((None, (1, 5, 0)), {(1,): (1, 5, 1)}, "conflict", "key reused"),
    "delete": (((1, 5, 0), None), {(1,): (1, 5, 0)}, "applies", ""),
    "delete done already": (((1, 5, 0), None), {(1,): None}, "already applied", ""),
    "delete of a changed row": (((1, 5, 0), None), {(1,): (1, 5, 1)}, "conflict", "column changed"),
    "move": (((2, 5, 0), (1, 5, 0)), {(2,): (2, 5, 0), (1,): None}, "applies", ""),
    "move done already": (((2, 5, 0), (1, 5, 0)), {(2,): None, (1,): (1, 5, 0)}, "already applied", ""),
    "move onto another": (((2, 5, 0), (1, 5, 0)), {(2,): (2, 5, 0), (1,): (1, 1, 1)}, "conflict", "key reused"),
}


@pytest.mark.parametrize("case", CASES)
def test_verdicts(case: str) -> None:
    """The table of the module, line by line; a conflict writes nothing."""
    pair, states, verdict, what = CASES[case]
    (found,), judge = judged([pair], states)

    assert (verdict, what) == (found.verdict, found.what)
    assert (verdict == "applies") == bool(judge.effects)


def test_a_skipped_step_poisons_older_steps_by_both_keys() -> None:
    """The row was moved from 1 to 2 and changed before: what came before the move is the same row."""
    steps: list[Pair] = [((2, 9, 0), (2, 8, 0)), ((2, 8, 0), (1, 8, 0)), ((1, 8, 0), (1, 5, 0)), ((3, 1, 0), (3, 0, 0))]
    found, judge = judged(steps, {(1,): None, (2,): (2, 7, 0), (3,): (3, 1, 0)}, "skip")

    assert ["skipped", "skipped", "skipped", "applies"] == [verdict.verdict for verdict in found]
    assert {("s.t", (1,)), ("s.t", (2,))} == judge.poisoned


def test_what_somebody_set_to_a_value_between_is_not_the_logs() -> None:
    """5, 7, 9, then 7 by somebody: the older step must not write 5; other columns of the row are the log's still."""
    steps: list[Pair] = [((1, 9, 0), (1, 7, 0)), ((1, 7, 0), (1, 5, 0)), ((1, 5, 0), (1, 5, 4))]
    for policy, second in (("stop", "conflict"), ("skip", "skipped")):
        found, _ = judged(steps[:2], {(1,): (1, 7, 0)}, policy)
        assert ["already applied", second] == [verdict.verdict for verdict in found]
    found, _ = judged([steps[0], steps[2]], {(1,): (1, 7, 0)})
    assert ["already applied", "applies"] == [verdict.verdict for verdict in found]


def test_children_are_a_conflict_even_under_force_unless_newer_steps_took_them_away() -> None:
    """Rows that refer to what a step takes away."""
    child = Child("s.c", (7,), ((1, 1),), {"id": 7, "parent": 1})
    for policy in ("stop", "force"):
        (found,), judge = judged([((1, 5, 0), None)], {(1,): (1, 5, 0)}, policy, children={0: [child]})
        assert ("conflict", judging.REFERRED, []) == (found.verdict, found.what, judge.effects)
    same = Child("s.t", (2,), ((1, 1),), {"id": 2})
    found_all, _ = judged([((2, 1, 0), None), ((1, 5, 0), None)], {(1,): (1, 5, 0), (2,): (2, 1, 0)}, children={1: [same]})
    assert ["applies", "applies"] == [verdict.verdict for verdict in found_all]


def test_force_does_the_step_whatever_is_there() -> None:
    """Changed, gone, reused."""
    steps: list[Pair] = [((1, 9, 0), (1, 5, 0)), ((2, 9, 0), (2, 5, 0)), (None, (3, 5, 0)), ((4, 5, 0), None)]
    states = {(1,): (1, 7, 6), (2,): None, (3,): (3, 1, 1), (4,): (4, 4, 4)}
    found, judge = judged(steps, states, "force")

    assert {"forced"} == {verdict.verdict for verdict in found}
    assert [(1, 5, 6), (2, 5, 0), (3, 5, 0), None] == [effect.after for effect in judge.effects]


def test_rows_without_a_key_are_counted() -> None:
    """As many as there are can be taken away."""
    row = (1, 1, 1)
    found, _ = judged([(row, None), (row, None), (row, None)], {row: 2}, table=NO_KEY)

    assert ["applies", "applies", "conflict"] == [verdict.verdict for verdict in found]


def test_columns_that_update_themselves_are_restored_where_they_are_the_logs() -> None:
    """They are in no guard."""
    table = BoundTable(T.live, ALL, (0,), ALL, (0, 1), automatic=(2,))
    for now, then in (((1, 9, 50), (1, 5, 40)), ((1, 9, 60), (1, 5, 60))):
        (found,), judge = judged([((1, 9, 50), (1, 5, 40))], {(1,): now}, table=table)
        assert ("applies", then) == (found.verdict, judge.effects[0].after)


def test_a_verdict_as_json_names_columns() -> None:
    """What a person reads: the row as expected, as wanted, as it is."""
    (found,), _ = judged([((1, 9, 0), (1, 5, 0))], {(1,): (1, 7, 0)})

    assert {
        "step": 0,
        "at": "log:0",
        "table": "s.t",
        "key": {"id": 1},
        "verdict": "conflict",
        "what": "column changed",
        "columns": ["a"],
        "expected": {"id": 1, "a": 9, "b": 0},
        "wanted": {"id": 1, "a": 5, "b": 0},
        "now": {"id": 1, "a": 7, "b": 0},
        "children": [],
    } == found.to_json()


def free_for(keys: set[Any]) -> Callable[[Row], bool]:
    """Return whether a row's key is one of these."""
    return lambda row: row[0] in keys


ROWS = st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 2))


@given(st.dictionaries(st.integers(0, 3), st.tuples(st.integers(0, 2), st.integers(0, 2))), st.data())
def test_any_history_is_undone_to_where_it_began(start: dict[int, tuple[int, int]], data: st.DataObject) -> None:
    """Random inserts, updates, moves and deletes, judged newest first, all apply and give the first rows back."""
    rows: dict[int, Row] = {key: (key, *values) for key, values in start.items()}
    first, history = dict(rows), list[Pair]()
    for _ in range(data.draw(st.integers(0, 8))):
        before = data.draw(st.sampled_from([None, *rows.values()]))
        free = set(range(4)) - set(rows) | ({before[0]} if before else set())
        after = data.draw(st.none() | ROWS.filter(free_for(free)))
        if before is not None:
            del rows[int(before[0])]  # type: ignore[arg-type]  # a key is a number here
        if after is not None:
            rows[after[0]] = after
        if before is not None or after is not None:
            history.append((after, before))
    states = {(key,): rows.get(key) for key in range(4)}
    found, judge = judged(history[::-1], states)

    assert {verdict.verdict for verdict in found} <= {"applies"}
    for effect in judge.effects:
        if effect.before is not None:
            del rows[int(effect.before[0])]  # type: ignore[arg-type]
        if effect.after is not None:
            rows[int(effect.after[0])] = effect.after  # type: ignore[arg-type]
    assert first == rows


def test_states_beyond_memory_are_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit goes to a file, newer states win."""
    monkeypatch.setattr(judging, "KEPT_MAX", 10)
    states = KeptStates()
    for number in range(100):
        states["s.t", (number % 40, b"k")] = (number, None, 1.5, "é", b"\0", ...)
        states.spill()

    assert [(80 + at if at < 20 else 40 + at) for at in range(40)] == [states["s.t", (at, b"k")][0] for at in range(40)]
    assert ("s.t", (41, b"k")) not in states
    states.close()


def test_what_a_server_shows_of_a_document_is_not_taken_for_the_document() -> None:
    """A DECIMAL in a JSON document is printed as a double is: what the undo of the undo brings back is the log's own document."""
    decimal = b"\x0f\xf6\x03\x03\x02\x81\x32"  # 1.50 as a DECIMAL
    columns = (Column("id", "int"), Column("j", "json"), Column("k", "json"))
    table = BoundTable(
        Table("s", "t", columns, (0,)), ALL, (0,), ALL, ALL, exact={1: lambda one, other: {one, other} == {decimal, "1.50"} or one == other}
    )
    for then in ((1, "[]", "{}"), None):
        _, judge = judged([((1, decimal, "{}"), then)], {(1,): (1, "1.50", "{}")}, table=table)

        assert [((1, decimal, "{}"), then)] == [(effect.before, effect.after) for effect in judge.effects]
