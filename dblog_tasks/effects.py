"""In which order the effects of a batch are written: values in, groups out. No I/O, no database.

Law: the order of the steps is the truth; it is left only where nobody can tell. A group is of one kind and one table, so that one statement
may write all of it.

    folded   each row once, from what it was to what it becomes: deletes, children first; inserts, parents first; updates
    runs     steps in their order, neighbours of one kind together, no row twice in one: where a key changes, or rules of the database
             were against the folded order
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import TypeAlias

from dblog_tasks.event import Row
from dblog_tasks.target import BoundTable, Effect

INSERT, UPDATE, DELETE = "insert", "update", "delete"
Group: TypeAlias = tuple[str, list[Effect]]
Depth: TypeAlias = Callable[[BoundTable], int | None]  # how deep a table stands below those it refers to; None: it goes in circles
_PHASE: Mapping[str, int] = {DELETE: 0, INSERT: 1, UPDATE: 2}
_WEIGHT: Mapping[str, int] = {DELETE: -1, INSERT: 1, UPDATE: 0}


def kind_of(effect: Effect) -> str:
    """Return what an effect is to the database."""
    return INSERT if effect.before is None else DELETE if effect.after is None else UPDATE


def spots_of(effect: Effect) -> set[tuple[str, Row]]:
    """Return the places of the row before and after."""
    return {(effect.table.name, effect.table.key_of(row)) for row in (effect.before, effect.after) if row is not None}


def folded(effects: Sequence[Effect], depth: Depth) -> list[Group]:
    """Return what becomes of each row in the end, in an order that suits foreign keys; the runs where rows cannot be told apart."""
    rows: dict[tuple[BoundTable, Row], Effect] = {}
    for effect in effects:
        table, before, after = effect.table, effect.before, effect.after
        row = after if before is None else before
        if not table.key or row is None or (before is not None and after is not None and table.key_of(before) != table.key_of(after)):
            return runs(effects)
        first = rows.get((table, table.key_of(row)))
        rows[table, table.key_of(row)] = effect if first is None else effect._replace(before=first.before)
    groups: dict[tuple[str, BoundTable], list[Effect]] = defaultdict(list)
    for effect in rows.values():
        if effect.before is not None or effect.after is not None:
            groups[kind_of(effect), effect.table].append(effect)
    depths = {table: depth(table) for _, table in groups}
    if None in depths.values() or len({table.name for table in depths}) < len(depths):
        return runs(effects)
    ordered = sorted(groups.items(), key=lambda item: (_PHASE[item[0][0]], _WEIGHT[item[0][0]] * (depths[item[0][1]] or 0)))
    return [(kind, some) for (kind, _), some in ordered]


def runs(effects: Sequence[Effect]) -> list[Group]:
    """Return neighbours of one kind and table together, no row twice in one. Of a table without a key, inserts and deletes may be equal."""
    found: list[Group] = []
    for (kind, table), some in groupby(effects, key=lambda effect: (kind_of(effect), effect.table)):
        seen: set[Row] = set()
        run: list[Effect] = []
        for effect in some:
            keys = {table.key_of(row) for row in (effect.before, effect.after) if row is not None}
            if run and (not seen.isdisjoint(keys) if table.key or kind == UPDATE else False):
                found.append((kind, run))
                run, seen = [], set()
            run.append(effect)
            seen |= keys
        found.append((kind, run))
    return found


def depth_of(name: tuple[str, str], parents: Mapping[tuple[str, str], set[tuple[str, str]]]) -> int | None:
    """Return how many tables stand above a table by foreign keys; None where they go in circles."""
    return _depth(name, parents, frozenset())


def _depth(name: tuple[str, str], parents: Mapping[tuple[str, str], set[tuple[str, str]]], below: frozenset[tuple[str, str]]) -> int | None:
    if name in below:
        return None
    depths = [_depth(parent, parents, below | {name}) for parent in parents.get(name, ())]
    return None if None in depths else 1 + max((depth for depth in depths if depth is not None), default=-1)
