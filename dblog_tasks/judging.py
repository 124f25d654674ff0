"""What becomes of each row of a plan, judged by the rows as they are now: values in, verdicts out. No I/O, no database.

Law: a row is changed only while it still is what the log left, in the columns the step changes (an undone insert: in all of them). What
already is as wanted is not changed. A conflict is a verdict, never an error, and it is never tried again.

    the step          the row now                        verdict
    changes columns   as the log left it                 applies
                      as it was before                   already applied
                      gone                               conflict: row gone
                      another value in one of them       conflict: column changed
                      its new key is taken               conflict: key reused
    brings a row back not there                          applies
                      there, as wanted                   already applied
                      there, other                       conflict: key reused
    takes a row away  as the log left it                 applies
                      not there                          already applied
                      another value in any column        conflict: column changed
    takes a row away, or changes what others refer to:
                      others refer to it                 conflict: referred to by other rows, whatever is said of conflicts

    stop    a conflict ends the replay, nothing of its batch is kept
    skip    it is left out, and with it every older step of that row, by the key before and after: an older step could find its value there
            again by chance
    force   the step is done all the same: the row gets what the step wants

Where a step finds its column as wanted already, somebody has set it, and what an older step finds in it is not from the log: that is a
conflict too. Columns the database sets by itself on an update are in no guard: they get the log's value back where they still hold
the log's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
import marshal
import sqlite3
from typing import Any, NamedTuple, Protocol, TypeAlias

from dblog_tasks.event import JsonObject, Row
from dblog_tasks.target import UNKNOWN, BoundTable, Child, Effect

STOP, SKIP, FORCE = "stop", "skip", "force"
APPLIES, ALREADY, CONFLICT, SKIPPED, FORCED = "applies", "already applied", "conflict", "skipped", "forced"
GONE, CHANGED, REUSED, REFERRED = "row gone", "column changed", "key reused", "referred to by other rows"
POISONED = "a newer step of this row was left out"
KEPT_MAX = 200_000  # rows kept in memory; more are kept in a file
MARKS = 1 << 25  # bits, 4 MB

Spot: TypeAlias = tuple[str, Row]  # a table's name and a key in it


class PlannedRow(NamedTuple):
    """One row of a step: what it should be now, and what the step makes of it, in the target's columns; its places then and now."""

    step: int
    position: str
    table: BoundTable
    now: Row | None
    then: Row | None
    spots: tuple[Spot, ...]  # by the key it has now, by the one it gets where that is another


_tuple: Callable[..., Any] = tuple.__new__  # makes a named tuple without looking at names: a million times


def planned_row(step: int, position: str, table: BoundTable, now: Row | None, then: Row | None) -> PlannedRow:
    """Return a row of a step with its places."""
    if not table.straight:
        now, then = table.row(now), table.row(then)
    spot = table.name, table.key_of(then if now is None else now)  # type: ignore[arg-type]  # a step has a row before or after
    spots: tuple[Spot, ...] = (spot,)
    if now is not None and then is not None and (new := table.key_of(then)) != spot[1]:
        spots = spot, (table.name, new)
    row: PlannedRow = _tuple(PlannedRow, (step, position, table, now, then, spots))
    return row


def parents_last(
    rows: Sequence[PlannedRow], children: Mapping[int, Sequence[Child]], states: States
) -> tuple[Sequence[PlannedRow], Mapping[int, Sequence[Child]]]:
    """Return rows, and who refers to them by place, with each row after those that refer to it and are in later steps themselves.

    A log has what a foreign key took along after the row it was taken for. A row stays before any other step of its own.
    """
    last = {spot: at for at, row in enumerate(rows) for spot in row.spots} if children else {}
    later = dict(_later(rows, children, states, last)) if children else {}
    places: dict[int, tuple[int, int]] = {}  # where a row goes: after the row of that place, and how deep above it
    for at in sorted(later, reverse=True):
        if all(last[spot] == at for spot in rows[at].spots):
            after, depth = max(places.get(place, (place, 0)) for place in later[at])
            places[at] = (after, depth + 1)
    if not places:
        return rows, children
    order = sorted(range(len(rows)), key=lambda at: (places.get(at, (at, 0)), at))
    return [rows[at] for at in order], {place: children[at] for place, at in enumerate(order) if at in children}


def _later(
    rows: Sequence[PlannedRow], children: Mapping[int, Sequence[Child]], states: States, last: Mapping[Spot, int]
) -> Iterator[tuple[int, list[int]]]:
    """Yield the place of each row that later steps' rows refer to when its turn comes, and the places of those steps."""
    ahead: dict[Spot, Row | None] = {}  # rows as the steps before leave them: what they no longer refer to needs no waiting for
    for at, row in enumerate(rows):
        places = []
        for child in children.get(at, ()):
            spot = child.table, child.key
            if last.get(spot, -1) > at and _still_refers(child, ahead if spot in ahead else states):
                places.append(last[spot])
        if places:
            yield at, places
        if row.table.key:
            ahead[row.spots[0]] = None
            ahead[row.spots[-1]] = row.then


class Verdict(NamedTuple):
    """What becomes of one row.

    Attributes:
        planned: the row.
        verdict: applies, already applied, conflict, skipped, forced.
        what: which conflict, or why it is skipped.
        columns: those that are in the way.
        found: the row as it is, where it is in the way.
        children: rows that refer to it, where they are.
    """

    planned: PlannedRow
    verdict: str
    what: str = ""
    columns: tuple[str, ...] = ()
    found: Row | None = None
    children: tuple[Child, ...] = ()

    def to_json(self) -> JsonObject:
        """Return the verdict as a JSON object: rows by column name, those in the way as they are now."""
        planned, table = self.planned, self.planned.table
        row = planned.now if planned.now is not None else planned.then
        return {
            "step": planned.step,
            "at": planned.position,
            "table": table.name,
            "key": None if row is None else _named(table, row, table.key or table.compared),
            "verdict": self.verdict,
            "what": self.what,
            "columns": list(self.columns),
            "expected": _named(table, planned.now),
            "wanted": _named(table, planned.then),
            "now": _named(table, self.found),
            "children": [{"table": child.table, "row": child.shown} for child in self.children],
        }


def _named(table: BoundTable, row: Row | None, columns: Iterable[int] | None = None) -> JsonObject | None:
    if row is None:
        return None
    places = range(len(row)) if columns is None else columns
    return {table.live.columns[at].name: table.live.columns[at].shown(row[at]) for at in places if row[at] is not UNKNOWN}


class States(Protocol):
    """Rows as they are, by table and key; of tables without a key how many there are."""

    def __getitem__(self, spot: Spot) -> Any: ...
    def __setitem__(self, spot: Spot, state: Any) -> None: ...


class KeptStates(dict[Spot, Any]):
    """Rows by table and key: in memory; those that `spill` finds to be more than `KEPT_MAX` are in a temporary file."""

    def __init__(self) -> None:
        super().__init__()
        self._file: sqlite3.Connection | None = None
        self._marks = bytearray()  # a bit by the hash of each key in the file: most that are not there are not looked for

    def __missing__(self, spot: Spot) -> Any:
        found = self._stored(spot)
        if found is None:
            raise KeyError(spot)
        return marshal.loads(found)  # noqa: S302 - our own, of this process

    def __contains__(self, spot: object) -> bool:
        return dict.__contains__(self, spot) or (self._file is not None and self._stored(spot) is not None)

    def get(self, spot: Spot, default: Any = None) -> Any:
        """Return a state, the default where there is none."""
        try:
            return self[spot]
        except KeyError:
            return default

    def _stored(self, spot: Any) -> bytes | None:
        place = hash(spot) & MARKS - 1
        if self._file is None or not self._marks[place >> 3] & 1 << (place & 7):
            return None
        found = self._file.execute("SELECT state FROM states WHERE spot = ?", (marshal.dumps(spot, 2),)).fetchone()
        return None if found is None else bytes(found[0])

    def spill(self) -> None:
        """Move what is in memory to the file where it is too much."""
        if len(self) <= KEPT_MAX:
            return
        if self._file is None:
            self._file = sqlite3.connect("", isolation_level=None)
            self._file.executescript(
                "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; CREATE TABLE states (spot BLOB PRIMARY KEY, state BLOB) WITHOUT ROWID;"
            )
            self._marks = bytearray(MARKS >> 3)
        for spot in self:
            place = hash(spot) & MARKS - 1
            self._marks[place >> 3] |= 1 << (place & 7)
        rows = ((marshal.dumps(spot, 2), marshal.dumps(state, 2)) for spot, state in self.items())
        self._file.execute("BEGIN")
        self._file.executemany("INSERT OR REPLACE INTO states VALUES (?, ?)", rows)
        self._file.execute("COMMIT")
        self.clear()

    def close(self) -> None:
        """Remove the file."""
        if self._file is not None:
            self._file.close()


class Judge:
    """Judges rows in the order of the replay, and keeps what each verdict does to the rows.

    Attributes:
        effects: what is to be written, in order.
        poisoned: places no older step may touch.
        ahead: columns, by place, that were as wanted before their step was done; None: all of the row.
    """

    def __init__(self, policy: str, poisoned: set[Spot], ahead: dict[Spot, frozenset[int] | None]) -> None:
        self._policy = policy
        self.poisoned = poisoned
        self.ahead = ahead
        self.effects: list[Effect] = []

    def judge(
        self, rows: Sequence[PlannedRow], states: States, children: Mapping[int, Sequence[Child]], refused: Mapping[int, str]
    ) -> Iterator[Verdict]:
        """Yield the verdict of each row.

        `children` (who refers to it) and `refused` (what the database said) go by a row's place in `rows`; `states` is what is, and
        becomes what will be.
        """
        for at, planned in enumerate(rows):
            if self.poisoned and any(spot in self.poisoned for spot in planned.spots):
                self.poisoned.update(planned.spots)
                yield Verdict(planned, SKIPPED, POISONED)
                continue
            _, _, table, now, then, spots = planned
            found = states[spots[0]]
            plain = found == now and len(spots) == 1 and table.key and not table.exact
            if plain and not self.ahead and at not in children and at not in refused:
                states[spots[0]] = then
                self.effects.append(_tuple(Effect, (table, found, then, at)))
                yield _tuple(Verdict, (planned, APPLIES, "", (), found, ()))
                continue
            effect: Effect | None
            if plain:
                verdict, effect = Verdict(planned, APPLIES, found=found), Effect(table, found, then, at)
            else:
                verdict, effect = (_keyed if table.key else _counted)(planned, states)
            overtaken = self._overtaken(planned) if self.ahead else ()
            if overtaken and self._policy != FORCE:
                verdict, effect = Verdict(planned, CONFLICT, CHANGED, _names(planned.table, overtaken), states[planned.spots[0]]), None
            elif at in refused:
                verdict, effect = Verdict(planned, CONFLICT, refused[at], found=verdict.found), None
            elif effect is not None and at in children:
                verdict, effect = _referred(verdict, effect, children[at], states)
            yield self._settle(at, verdict, effect, states)

    def _note_ahead(self, planned: PlannedRow) -> None:
        whole = planned.now is None or planned.then is None
        for spot in planned.spots:
            known = self.ahead.get(spot, frozenset())
            self.ahead[spot] = None if whole or known is None else known.union(_touched(planned))

    def _overtaken(self, planned: PlannedRow) -> Sequence[int]:
        """Return the columns of a step that somebody has set to what a newer step wanted."""
        touched = _touched(planned)
        for spot in planned.spots:
            if spot in self.ahead:
                columns = self.ahead[spot]
                found = touched if columns is None else [at for at in touched if at in columns]
                if found:
                    return found
        return ()

    def _settle(self, at: int, verdict: Verdict, effect: Effect | None, states: States) -> Verdict:
        planned = verdict.planned
        if verdict.verdict == CONFLICT and self._policy == FORCE and _can_be_forced(verdict):
            effect = _forced(planned, states)
            verdict = Verdict(planned, FORCED, verdict.what, verdict.columns, verdict.found)
        if verdict.verdict == CONFLICT and self._policy == SKIP:
            self.poisoned.update(planned.spots)
            return Verdict(planned, SKIPPED, verdict.what, verdict.columns, verdict.found, verdict.children)
        if verdict.verdict == ALREADY:
            self._note_ahead(planned)
        if effect is not None:
            _take(effect, states)
            effect = _with_logged_values(effect, planned) if planned.table.exact else effect
            self.effects.append(effect if effect.row == at else effect._replace(row=at))
        return verdict


def as_logged(table: BoundTable, found: Row, known: Row) -> Row:
    """Return a row as it was read, with values of `known` where they are the same: what a server shows of a value may be less than it is.

    MySQL prints a decimal or a date in a JSON document as what text reads back as a double or a string.
    """
    same = {
        at for at, equal in table.exact.items() if found[at] is not known[at] and UNKNOWN is not known[at] and equal(found[at], known[at])
    }
    return tuple([known[at] if at in same else value for at, value in enumerate(found)]) if same else found


def _with_logged_values(effect: Effect, planned: PlannedRow) -> Effect:
    before, after = effect.before, effect.after
    if before is not None and planned.now is not None:
        before = as_logged(planned.table, before, planned.now)
        after = after if after is None else as_logged(planned.table, after, before)
    return effect._replace(before=before, after=after)


def _touched(planned: PlannedRow) -> Sequence[int]:
    table, now, then = planned.table, planned.now, planned.then
    return table.written if now is None or then is None else table.differing(now, then, table.written)


def _keyed(planned: PlannedRow, states: States) -> tuple[Verdict, Effect | None]:
    """Return the verdict on a row that has a key, and what is to be written."""
    table, now, then = planned.table, planned.now, planned.then
    if now is None:
        return _bring_back(planned, states)
    key = table.key_of(now)
    found = states[table.name, key]
    if found is not None and table.key_of(found) != key:  # the database takes another key for this one
        return Verdict(planned, CONFLICT, CHANGED, _names(table, table.differing(found, now, table.key)), found), None
    if then is None:
        if found is None:
            return Verdict(planned, ALREADY), None
        differing = table.differing(found, now, [at for at in table.compared if now[at] is not UNKNOWN])
        if differing:
            return Verdict(planned, CONFLICT, CHANGED, _names(table, differing), found), None
        return Verdict(planned, APPLIES, found=found), Effect(table, found, None)
    return _change(planned, found, states)


def _bring_back(planned: PlannedRow, states: States) -> tuple[Verdict, Effect | None]:
    table, then = planned.table, planned.then
    assert then is not None  # noqa: S101 - a step has a row before or after
    found = states[table.name, table.key_of(then)]
    if found is None:
        return Verdict(planned, APPLIES), Effect(table, None, then)
    differing = table.differing(found, then, [at for at in table.compared if then[at] is not UNKNOWN])
    if not differing:
        return Verdict(planned, ALREADY, found=found), None
    return Verdict(planned, CONFLICT, REUSED, _names(table, differing), found), None


def _change(planned: PlannedRow, found: Row | None, states: States) -> tuple[Verdict, Effect | None]:
    table, now, then = planned.table, planned.now, planned.then
    assert now is not None  # noqa: S101 - see `_keyed`
    assert then is not None  # noqa: S101
    old, new = table.key_of(now), table.key_of(then)
    changed = table.differing(now, then, table.written)
    guarded = [at for at in changed if at in table.compared and at not in table.key]
    taken = states[table.name, new] if new != old else None
    if taken is not None and table.key_of(taken) == old:  # the row itself: the database takes one key for the other
        taken = None
    differing = None if found is None else table.differing(found, now, guarded)
    if found is not None and not differing and taken is None:
        return Verdict(planned, APPLIES, found=found), Effect(table, found, _changed(table, found, now, then, changed))
    wanted = taken if new != old else found
    if wanted is not None and (new == old or found is None) and not table.differing(wanted, then, [*guarded, *table.key]):
        return Verdict(planned, ALREADY, found=wanted), None
    if found is None:
        return Verdict(planned, CONFLICT, GONE, found=taken), None
    if differing:
        return Verdict(planned, CONFLICT, CHANGED, _names(table, differing), found), None
    return Verdict(planned, CONFLICT, REUSED, _names(table, table.key), taken), None


def _changed(table: BoundTable, found: Row, now: Row, then: Row, changed: Sequence[int]) -> Row:
    """Return the row with the step's columns; those the database sets by itself only where they still are what the log left."""
    row: list[Any] = list(found)
    for at in changed:
        if at not in table.automatic or found[at] == now[at]:
            row[at] = then[at]
    return tuple(row)


def _can_be_forced(verdict: Verdict) -> bool:
    """Return whether a step can be done against what was found: not where another row would have to give way for it."""
    planned = verdict.planned
    return bool(planned.table.key) and (verdict.what in (GONE, CHANGED) or (verdict.what == REUSED and planned.now is None))


def _forced(planned: PlannedRow, states: States) -> Effect | None:
    """Return what a forced step does: the row gets what the step wants, whatever it is now."""
    table, now, then = planned.table, planned.now, planned.then
    key = table.key_of(then if then is not None else now)  # type: ignore[arg-type]  # one of them is there
    found = states[table.name, key]
    if then is None:
        return None if found is None else Effect(table, found, None)
    if now is None or found is None:
        old = None if now is None else states[table.name, table.key_of(now)]
        if old is not None and now is not None:
            return Effect(table, old, _changed(table, old, now, then, table.differing(now, then, table.written)))
        if found is None:
            return Effect(table, None, then)
        return Effect(
            table, found, tuple([then[at] if at in table.written and then[at] is not UNKNOWN else found[at] for at in range(len(found))])
        )
    return Effect(table, found, _changed(table, found, now, then, table.differing(now, then, table.written)))


def _counted(planned: PlannedRow, states: States) -> tuple[Verdict, Effect | None]:
    """Return the verdict on a row of a table without a key: equal rows are told by their number only."""
    table, now = planned.table, planned.now
    if now is not None and states[table.name, table.key_of(now)] < 1:
        return Verdict(planned, CONFLICT, GONE), None
    return Verdict(planned, APPLIES, found=now), Effect(table, now, planned.then)


def _referred(verdict: Verdict, effect: Effect, children: Sequence[Child], states: States) -> tuple[Verdict, Effect | None]:
    """Return a conflict where rows refer to what the step takes away, unless newer steps have dealt with them."""
    left = tuple([child for child in children if _still_refers(child, states)])
    if left:
        return Verdict(verdict.planned, CONFLICT, REFERRED, found=effect.before, children=left), None
    return verdict, effect


def _still_refers(child: Child, states: States) -> bool:
    try:
        state = states[child.table, child.key]
    except KeyError:
        return True
    if not isinstance(state, tuple):  # gone, or so many of them
        return state is not None and state != 0
    return all(state[at] == value for at, value in child.refers)


def _take(effect: Effect, states: States) -> None:
    """Let the rows be as the effect leaves them."""
    table, before, after = effect.table, effect.before, effect.after
    if table.key:
        if before is not None:
            states[table.name, table.key_of(before)] = None
        if after is not None:
            states[table.name, table.key_of(after)] = after
        return
    for row, more in ((before, -1), (after, 1)):
        if row is not None:
            states[table.name, table.key_of(row)] += more


def _names(table: BoundTable, columns: Iterable[int]) -> tuple[str, ...]:
    return tuple(table.live.columns[at].name for at in columns)
