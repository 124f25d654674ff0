"""Rows written in bulk: what a batch does to each row, as few statements as it takes.

Law: every statement names rows that were read and locked before, and must meet exactly as many: anything else is undone. Values are
parameters, a list of texts for each column, and cast by the server to the column's type without its size, so that what does not fit is
refused and never cut off. What rounds in silence, a number or time of fewer digits, is refused here.

    insert   INSERT … OVERRIDING SYSTEM VALUE SELECT … FROM unnest(…)
    delete   DELETE … USING unnest(…) WHERE key = …
    update   UPDATE … SET changed columns FROM unnest(…) WHERE key = …, rows that change the same columns together
    without a key: the same by the row's place (tableoid, ctid), which was found by all that is compared

Groups are written in the orders of `effects`, and at last one by one, to name the step a rule is against. Constraints that are deferred are
checked at the end of each of these ways.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence

from dblog_tasks.effects import DELETE, INSERT, Depth, Group, folded, kind_of, runs, spots_of
from dblog_tasks.errors import DblogError, RowRefused
from dblog_tasks.event import Row
from dblog_tasks.postgres.session import Session
from dblog_tasks.postgres.target_checks import Described, escaped
from dblog_tasks.postgres.target_rows import RowReader, chunks, columns_of, given, name_of
from dblog_tasks.target import BoundTable, Effect

ROWS_MAX = 1000
CHARACTERS_MAX = 1 << 24  # of the values of one statement, about
SAVEPOINT, BACK = "SAVEPOINT dblog_batch", "ROLLBACK TO SAVEPOINT dblog_batch"
STEP, STEP_BACK, STEP_KEPT = "SAVEPOINT dblog_step", "ROLLBACK TO SAVEPOINT dblog_step", "RELEASE SAVEPOINT dblog_step"
NOW, LATER = "SET CONSTRAINTS ALL IMMEDIATE", "SET CONSTRAINTS ALL DEFERRED"
Passing = Callable[[str], None]


class _Miscounted(DblogError):
    """A statement met another number of rows than were locked for it."""


class TableWriter:
    """Writes rows of one table."""

    def __init__(self, table: BoundTable, found: Described, session: Session, passing: Passing) -> None:
        self._table, self._session, self._passing = table, session, passing
        self._found, self._title = found, escaped(found.title)
        self._names = [name_of(column.name) for column in table.live.columns]
        self._casts = [escaped(cast) for cast in found.casts]
        self._rounding = [(at, scale) for at, scale in enumerate(found.scales) if scale is not None and at in table.written]
        self._reader = RowReader(table, found)

    def write(self, kind: str, effects: Sequence[Effect]) -> None:
        """Write effects of one kind."""
        for some in _small(effects):
            for effect in some:
                self._check(effect)
            if kind == INSERT:
                self._insert([effect.after for effect in some if effect.after is not None])
            elif kind == DELETE:
                self._delete([effect.before for effect in some if effect.before is not None])
            else:
                self._update([(effect.before, effect.after) for effect in some if effect.before is not None and effect.after is not None])

    def _check(self, effect: Effect) -> None:
        for at, scale in self._rounding if effect.after is not None else ():
            value = effect.after[at]  # type: ignore[index]  # it is not None here
            if isinstance(value, str) and len(value.partition(".")[2].partition("+")[0].partition("-")[0].partition(" ")[0]) > scale:
                raise RowRefused(f"{self._table.name}: {self._names[at]} keeps {scale} digits after the point, and {value:.60} has more")

    def _insert(self, rows: Sequence[Row]) -> None:
        written = self._table.written
        names = ", ".join([self._names[at] for at in written])
        values = ", ".join([f"u.c{n}::{self._casts[at]}" for n, at in enumerate(written)])
        statement = f"INSERT INTO {self._title.removeprefix('ONLY ')} ({names}) OVERRIDING SYSTEM VALUE SELECT {values} FROM "  # noqa: S608 - names are quoted, values parameters
        self._exactly(len(rows), f"{statement}{given(len(written))} ORDER BY u.n", [[row[at] for at in written] for row in rows])

    def _delete(self, rows: Sequence[Row]) -> None:
        where, keys = self._places(rows)
        self._exactly(len(rows), f"DELETE FROM {self._title} t USING {given(len(keys[0]))} WHERE {where}", keys)  # noqa: S608 - as above

    def _update(self, pairs: Sequence[tuple[Row, Row]]) -> None:
        """Turn rows into others, those that change the same columns together; one by one where they change their key."""
        shapes: dict[tuple[int, ...], list[tuple[Row, Row]]] = defaultdict(list)
        for before, after in pairs:
            shapes[tuple(self._table.differing(before, after, self._table.written))].append((before, after))
        for changed, some in shapes.items():
            if changed:
                moves = not set(self._table.key).isdisjoint(changed)
                for chunk in chunks(some, 1 if moves else ROWS_MAX):
                    self._update_alike(changed, chunk)

    def _update_alike(self, changed: Sequence[int], pairs: Sequence[tuple[Row, Row]]) -> None:
        where, keys = self._places([before for before, _ in pairs])
        width = len(keys[0])
        sets = ", ".join([f"{self._names[at]} = u.c{width + n}::{self._casts[at]}" for n, at in enumerate(changed)])
        values = [[*key, *[after[at] for at in changed]] for key, (_, after) in zip(keys, pairs, strict=True)]
        statement = f"UPDATE {self._title} t SET {sets} FROM {given(width + len(changed))} WHERE {where}"  # noqa: S608 - as above
        self._exactly(len(pairs), statement, values)

    def _places(self, rows: Sequence[Row]) -> tuple[str, list[list[object]]]:
        """Return the condition that finds these rows, and its parameters by row."""
        table = self._table
        if table.key:
            where = " AND ".join([f"t.{self._names[at]} = u.c{n}::{self._casts[at]}" for n, at in enumerate(table.key)])
            return where, [list(table.key_of(row)) for row in rows]
        keys = [table.key_of(row) for row in rows]
        places = self._reader.places(self._session, keys, " FOR UPDATE OF t")
        used: Counter[Row] = Counter()
        found: list[list[object]] = []
        for key in keys:
            if used[key] >= len(places[key]):
                raise _Miscounted(f"table {table.name}: fewer rows are equal than were counted")
            found.append(list(places[key][used[key]]))
            used[key] += 1
        return "t.tableoid = u.c0::oid AND t.ctid = u.c1::tid", found

    def _exactly(self, count: int, statement: str, rows: Sequence[Sequence[object]]) -> None:
        self._passing("write")
        self._session.query(statement, columns_of(rows))
        if self._session.met != count:
            raise _Miscounted(f"table {self._table.name}: {self._session.met} rows were met instead of {count}")


def _small(effects: Sequence[Effect]) -> Iterator[list[Effect]]:
    """Yield the effects in parts that are no more than one statement takes, as far as a row is not more by itself."""
    part: list[Effect] = []
    size = 0
    for effect in effects:
        row = effect.before if effect.after is None else effect.after
        more = sum([len(value) for value in row or () if isinstance(value, str)])
        if part and (len(part) >= ROWS_MAX or size + more > CHARACTERS_MAX):
            yield part
            part, size = [], 0
        part.append(effect)
        size += more
    if part:
        yield part


class BatchWriter:
    """Writes the effects of a batch; `check` looks at what was written where the server itself does not."""

    def __init__(self, session: Session, writer: Callable[[BoundTable], TableWriter], depth: Depth, check: Callable[..., None]) -> None:
        self._session, self._writer, self._depth, self._check = session, writer, depth, check

    def write(self, effects: Sequence[Effect]) -> list[Effect]:
        """Write the effects; return what was done, in that order.

        Raises RowRefused whose `where` is the number of the effect a rule of the database is against.
        """
        self._session.query(SAVEPOINT)
        for groups in (folded(effects, self._depth), runs(effects)):
            try:
                self._groups(groups)
            except (RowRefused, _Miscounted):
                self._session.query(BACK)
                self._session.query(LATER)
            else:
                return [effect for _, some in groups for effect in some]
        self._session.query(NOW)
        done = self._one_by_one(effects)
        self._check(effects)
        return done

    def _groups(self, groups: Sequence[Group]) -> None:
        for kind, some in groups:
            self._writer(some[0].table).write(kind, some)
        self._session.query(NOW)
        self._check([effect for _, some in groups for effect in some])

    def _one_by_one(self, effects: Sequence[Effect]) -> list[Effect]:
        """Write one effect after the other.

        One that a rule is against may wait for others to make room (a row that others refer to, a value that is unique), and with it those
        of the same row after it.
        """
        done: list[Effect] = []
        waiting = list(enumerate(effects))
        while waiting:
            left: list[tuple[int, Effect]] = []
            held: set[tuple[str, Row]] = set()
            first: RowRefused | None = None
            for number, effect in waiting:
                if held.isdisjoint(spots_of(effect)):
                    refused = self._refused(effect)
                    if refused is None:
                        done.append(effect)
                        continue
                    first = first or RowRefused(refused.what, where=str(number), hint=refused.hint)
                held |= spots_of(effect)
                left.append((number, effect))
            if first is not None and len(left) == len(waiting):
                raise first
            waiting = left
        return done

    def _refused(self, effect: Effect) -> DblogError | None:
        """Write one effect; return what is against it, None when it is written."""
        self._session.query(STEP)
        try:
            self._writer(effect.table).write(kind_of(effect), [effect])
        except (RowRefused, _Miscounted) as error:
            self._session.query(STEP_BACK)
            return error
        self._session.query(STEP_KEPT)
        return None
