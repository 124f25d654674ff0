"""Rows written in bulk: what a batch does to each row, as few statements as it takes.

Law: every statement names rows that were read and locked before, and must meet exactly as many: anything else is undone. Which rows
go into a statement, and in which order, is told in `effects`. Where that fails, one step is one statement, to name the step; one that a
rule is against is tried again after the others, and may find that a foreign key has taken its row along (ON UPDATE CASCADE).

    insert   INSERT … VALUES (…), (…)                                   delete   DELETE … WHERE key IN (…)
    update   UPDATE … SET c = CASE key WHEN … THEN … END WHERE key IN (…), rows that change the same columns together

Measured on MariaDB 10.11, a row: CASE 40 µs, a join with VALUES 52, a temporary table 34 (and a right to make one), single statements
in one packet 275, the client's own single statements 120.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
import re

from dblog_tasks.effects import DELETE, INSERT, Depth, folded, kind_of, runs, spots_of
from dblog_tasks.errors import DblogError, MalformedPlan, RowRefused
from dblog_tasks.event import Row
from dblog_tasks.mysql.literals import base_type, identifier
from dblog_tasks.mysql.target_rows import KeyCondition, Query, RowReader, chunks, form_of, title
from dblog_tasks.target import BoundTable, Effect

UPDATES_MAX = 200  # rows of one UPDATE: each row is looked for among the branches of CASE
ROWS_MAX = 500
CHARACTERS_MAX = 1 << 20  # of the values of one INSERT or UPDATE
LENIENT, STRICT = "NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES", "NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES,STRICT_ALL_TABLES"
SAVEPOINT, BACK = "SAVEPOINT dblog_batch", "ROLLBACK TO SAVEPOINT dblog_batch"
_CLASS = re.compile(r"[^'\d]*")  # what makes literals of one kind: introducer, X, a function; a number's is empty or a sign

Run = Callable[[str], int]  # a statement -> how many rows it met


class _Miscounted(DblogError):
    """A statement met another number of rows than were locked for it."""


class TableWriter:
    """Writes rows of one table."""

    def __init__(self, table: BoundTable, run: Run, query: Query) -> None:
        self._table, self._run, self._query = table, run, query
        columns = table.live.columns
        self._name = title(table.live)
        self._names = [identifier(column.name) for column in columns]
        self._writes = [form_of(columns[at]).write if at in table.written else str for at in range(len(columns))]
        self._key = KeyCondition([columns[at] for at in table.key])
        self._insert = f"INSERT INTO {self._name} ({', '.join(self._names[at] for at in table.written)}) VALUES "  # noqa: S608 - quoted
        self._enums = [at for at in table.written if base_type(columns[at]) == "enum"]
        vectors = [at for at in table.written if base_type(columns[at]) == "vector"]  # CASE of them and bytes has no type
        self._alone = frozenset([*table.key, *vectors])
        self._reader = RowReader(table)

    def _literal(self, at: int, value: object) -> str:
        return "NULL" if value is None else self._writes[at](value)

    def insert(self, rows: Sequence[Row]) -> None:
        """Insert rows."""
        written = self._table.written
        pending: list[str] = []
        size = 0
        for row in rows:
            text = f"({', '.join([self._literal(at, row[at]) for at in written])})"
            if pending and (len(pending) == ROWS_MAX or size + len(text) > CHARACTERS_MAX):
                self._exactly(len(pending), self._insert + ", ".join(pending))
                pending, size = [], 0
            pending.append(text)
            size += len(text)
        self._exactly(len(pending), self._insert + ", ".join(pending))

    def delete(self, rows: Sequence[Row]) -> None:
        """Delete the rows of these keys; of a table without a key, one row for each."""
        table = self._table
        if not table.key:
            for row in rows:
                self._exactly(1, f"DELETE FROM {self._name} WHERE {self._reader.exactly(table.key_of(row))} LIMIT 1")  # noqa: S608
            return
        for some in chunks(rows, ROWS_MAX):
            self._exactly(len(some), f"DELETE FROM {self._name} WHERE {self._key.any_of([table.key_of(row) for row in some])}")  # noqa: S608

    def update(self, pairs: Sequence[tuple[Row, Row]]) -> None:
        """Turn rows into others, those that change the same columns together."""
        shapes: dict[tuple[int, ...], list[tuple[Row, Row]]] = defaultdict(list)
        for before, after in pairs:
            shapes[tuple(self._table.differing(before, after, self._table.written))].append((before, after))
        for changed, some in shapes.items():
            if changed:
                alone = not self._table.key or not self._alone.isdisjoint(changed)
                for chunk in chunks(some, 1 if alone else UPDATES_MAX):
                    self._update(changed, chunk)

    def _update(self, changed: Sequence[int], pairs: Sequence[tuple[Row, Row]]) -> None:
        literals = [[self._literal(at, after[at]) for at in changed] for _, after in pairs]
        for group in _small(_uniform(range(len(pairs)), literals, len(changed)), literals):
            rows = [pairs[at][0] for at in group]
            sets = [self._assignment(at, rows, [literals[place][n] for place in group]) for n, at in enumerate(changed)]
            sets += [f"{self._names[at]} = {self._names[at]}" for at in self._table.automatic if at not in changed]
            keys = [self._table.key_of(row) for row in rows]
            where = self._key.any_of(keys) if self._table.key else f"{self._reader.exactly(keys[0])} LIMIT 1"
            self._exactly(len(group), f"UPDATE {self._name} SET {', '.join(sets)} WHERE {where}")  # noqa: S608 - values are literals

    def _assignment(self, at: int, rows: Sequence[Row], literals: Sequence[str]) -> str:
        name = self._names[at]
        if len(set(literals)) == 1:
            return f"{name} = {literals[0]}"
        keys = [self._table.key_of(row) for row in rows]
        branches = [f"WHEN {key} THEN {literal}" for key, literal in zip(self._key.branches(keys), literals, strict=True)]
        return f"{name} = CASE {self._key.subject} {' '.join(branches)} ELSE {name} END"

    def _exactly(self, count: int, statement: str) -> None:
        met = self._run(statement) if count else 0
        if met != count:
            raise _Miscounted(f"table {self._table.name}: {met} rows were met instead of {count}")

    def write(self, kind: str, effects: Sequence[Effect]) -> None:
        """Write effects of one kind; outside of strict mode where only that takes an enum's error value, and look at what was stored."""
        lenient = [effect for effect in effects if effect.after is not None and self._needs_lenience(effect)]
        strict = [effect for effect in effects if effect not in lenient] if lenient else effects
        self._write(kind, strict)
        if lenient:
            self._run(f"SET SESSION sql_mode = '{LENIENT}'")
            try:
                self._write(kind, lenient)
            finally:
                self._run(f"SET SESSION sql_mode = '{STRICT}'")
            self._check_stored([effect.after for effect in lenient if effect.after is not None])

    def stands(self, effect: Effect) -> bool:
        """Return whether a row whose key an effect changes is there already, as the effect leaves it."""
        table, before, after = self._table, effect.before, effect.after
        if not table.key or before is None or after is None or table.key_of(before) == table.key_of(after):
            return False
        found = self._reader.read(self._query, [table.key_of(after)], "")[table.key_of(after)]
        return found is not None and not table.differing(found, after, table.written)

    def _needs_lenience(self, effect: Effect) -> bool:
        after, before = effect.after, effect.before
        return any(after is not None and after[at] == 0 and (before is None or before[at] != 0) for at in self._enums)

    def _check_stored(self, rows: Sequence[Row]) -> None:
        if self._table.key:
            stored = self._reader.read(self._query, [self._table.key_of(row) for row in rows], "")
            for row in rows:
                found = stored[self._table.key_of(row)]
                if found is None or self._table.differing(row, found, self._table.written):
                    raise RowRefused(f"table {self._table.name} stored another value than {row!r:.200}")

    def _write(self, kind: str, effects: Sequence[Effect]) -> None:
        if kind == INSERT:
            self.insert([effect.after for effect in effects if effect.after is not None])
        elif kind == DELETE:
            self.delete([effect.before for effect in effects if effect.before is not None])
        else:
            self.update([(effect.before, effect.after) for effect in effects if effect.before is not None and effect.after is not None])


def _uniform(places: Iterable[int], literals: Sequence[Sequence[str]], width: int) -> Iterator[list[int]]:
    """Yield groups of rows whose literals of each column are of one kind: CASE would turn them all into one type."""
    groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
    kinds = [{_kind(literal) for row in literals if (literal := row[at]) != "NULL"} for at in range(width)]
    mixed = [at for at in range(width) if len(kinds[at]) > 1]
    if not mixed:
        yield list(places)
        return
    for place in places:
        groups[tuple([_kind(literals[place][at]) for at in mixed])].append(place)
    yield from groups.values()


def _small(groups: Iterable[list[int]], literals: Sequence[Sequence[str]]) -> Iterator[list[int]]:
    """Yield the groups in parts that are no more than one statement takes, as far as a row is not more by itself."""
    for group in groups:
        part: list[int] = []
        size = 0
        for place in group:
            more = sum(map(len, literals[place]))
            if part and size + more > CHARACTERS_MAX:
                yield part
                part, size = [], 0
            part.append(place)
            size += more
        yield part


def _kind(literal: str) -> str:
    return _CLASS.match(literal)[0].lstrip("-")  # type: ignore[index]  # it matches everything


class BatchWriter:
    """Writes the effects of a batch. `depth` says how deep a table stands below those it refers to; None: it goes in circles."""

    def __init__(self, run: Run, query: Query, depth: Depth) -> None:
        self._run, self._query, self._depth = run, query, depth
        self._writers: dict[BoundTable, TableWriter] = {}

    def write(self, effects: Sequence[Effect]) -> list[Effect]:
        """Write the effects; return what was done, in that order.

        Raises RowRefused whose `where` is the number of the effect a rule of the database is against.
        """
        if not all(effect.table.transactional for effect in effects):
            return self._one_by_one(effects, patient=False)
        self._run(SAVEPOINT)
        for groups in (folded(effects, self._depth), runs(effects)):
            try:
                for kind, some in groups:
                    self._of(some[0].table).write(kind, some)
            except (RowRefused, _Miscounted):
                self._run(BACK)
            else:
                return [effect for _, some in groups for effect in some]
        return self._one_by_one(effects, patient=True)

    def _one_by_one(self, effects: Sequence[Effect], *, patient: bool) -> list[Effect]:
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
                    first = first or RowRefused(refused.what, where=str(number))
                    if not patient:
                        raise first
                held |= spots_of(effect)
                left.append((number, effect))
            if first is not None and len(left) == len(waiting):
                raise first
            waiting = left
        return done

    def _refused(self, effect: Effect) -> DblogError | None:
        """Write one effect; return what is against it, None when it is written or a foreign key has taken the row along."""
        writer = self._of(effect.table)
        try:
            writer.write(kind_of(effect), [effect])
        except _Miscounted as error:
            return None if writer.stands(effect) else error
        except RowRefused as error:
            return error
        return None

    def _of(self, table: BoundTable) -> TableWriter:
        if table not in self._writers:
            self._writers[table] = TableWriter(table, self._run, self._query)
        return self._writers[table]


def unfit(table: BoundTable, error: Exception) -> MalformedPlan:
    """Return the error for a value that no column of its type can have."""
    return MalformedPlan(f"a value does not fit table {table.name}: {error}", hint="make the plan again")
