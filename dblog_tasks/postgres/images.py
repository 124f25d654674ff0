"""From what a change was logged with to whole rows before and after, or the reason why there are none.

Law: no I/O. A value that is not in the log is never made up: what is missing of an old row is NULL only where the log, or the schema, says
that all of it was logged (REPLICA IDENTITY FULL). A value the log left out because it did not change is the old row's.

    told of the old row            identity f          identity d, i, n         identity not known
    full                           whole               whole                    whole
    untold (columns are missing)   whole, NULL         not logged               nobody can tell
    key, nothing                   -                   not logged               not logged

Columns the database computes are left out. Dates, intervals and money are taken only in forms that mean the same in every session.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
import re
from typing import Any, NamedTuple

from dblog_tasks.errors import MalformedLog
from dblog_tasks.event import Column, Omission, Row, RowChanges, Table
from dblog_tasks.postgres.catalog import Catalog, Described
from dblog_tasks.postgres.message import (
    DELETE,
    FULL,
    INSERT,
    UNCHANGED,
    UNTOLD,
    Logged,
    LoggedRow,
    PartialChange,
    Shape,
)
from dblog_tasks.postgres.names import shown

IDENTITIES = {"d": "DEFAULT", "n": "NOTHING", "i": "USING INDEX", "f": "FULL", "": "not known"}
LAYOUTS_MAX = 10_000
_ISO = re.compile(r"\d{4,7}-\d\d-\d\d(?:[ T].*)?|-?infinity", re.DOTALL)
_NOT_ISO = re.compile(r"\b\d{1,2}[-/.]\d\d[-/.]\d{4,}|\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) [A-Z][a-z][a-z] |\b\d\d [A-Z][a-z][a-z] \d\d:\d\d")
_SIGNED = re.compile(r"-\d+(?:-\d+)?(?: -?\d+)? \+?\d+:\d\d.*")
_MONEY = re.compile(r"-?\$\d{1,3}(?:,?\d{3})*\.\d\d", re.ASCII)
DATES = Omission("dates that are not ISO 8601", "decode with DateStyle = ISO: here nobody can tell the day from the month")
INTERVALS = Omission("intervals of the SQL standard", "decode with IntervalStyle = postgres: the sign is read in two ways")
MONEY = Omission("money in the form of another country", "decode with lc_monetary = C")
_CHECKS: Mapping[str, Callable[[str], Omission | None]] = {
    **dict.fromkeys(
        ("date", "timestamp without time zone", "timestamp with time zone"),
        lambda value: None if value[4:5] == "-" or _ISO.fullmatch(value) else DATES,
    ),
    **dict.fromkeys(
        (
            "date[]",
            "timestamp without time zone[]",
            "timestamp with time zone[]",
            *("tsrange", "tstzrange", "daterange", "tsmultirange", "tstzmultirange", "datemultirange"),
            *("tsrange[]", "tstzrange[]", "daterange[]"),
        ),
        lambda value: DATES if _NOT_ISO.search(value) else None,
    ),
    "interval": lambda value: INTERVALS if value[:1] == "-" and _SIGNED.fullmatch(value) else None,
    "money": lambda value: None if _MONEY.fullmatch(value) else MONEY,
}


class Layout(NamedTuple):
    """How rows of a shape become rows of a plan.

    Attributes:
        table: as the plan has it.
        whole: the shape has every column the table is known to have.
        picks: indexes in the shape of the table's columns, None for one the shape lacks; empty where they are the same.
        checks: columns of the shape whose text may mean something else in another session.
        identity: replica identity, by the log, else the schema; empty: not known.
        problem: why nothing of it can be undone.
    """

    table: Table
    whole: bool
    picks: tuple[int | None, ...]
    checks: tuple[tuple[int, Callable[[str], Omission | None]], ...]
    identity: str
    problem: Omission | None


class Images:
    """Makes row changes.

    `filtered`: the log is a publication's, which may leave out rows and columns. `silent`: the plugin says nothing of updates and
    deletes of tables without a replica identity.
    """

    def __init__(self, catalog: Catalog | None, *, filtered: bool, silent: bool) -> None:
        self._catalog, self._filtered, self._silent = catalog, filtered, silent
        self._layouts: dict[int, tuple[Shape, Layout]] = {}  # by identity: the shape is kept alive

    def changes_of(self, kind: str, logged: Logged, where: str) -> RowChanges | PartialChange:
        """Return the change with its whole rows, or what there is of it and why that is not enough. Raises MalformedLog."""
        shape = logged.shape
        layout = self.layout_of(shape)
        needs_no_old = kind == INSERT or (logged.told == FULL and layout.whole)
        problem = layout.problem or (None if needs_no_old else self._problem(kind, logged, layout))
        if problem is None and logged.problem is not None:
            problem = Omission(*logged.problem)
        if problem is None and layout.checks:
            problem = _untrusted(layout, logged)
        if problem is not None:
            return PartialChange(
                (shape.schema, shape.name),
                _named(shape, logged.old, whole=logged.told == FULL),
                _named(shape, logged.new, whole=True),
                problem.reason,
                problem.fix,
            )
        old, new = logged.old, logged.new
        if logged.unchanged and new is not None and any(value is UNCHANGED for value in new):
            if old is None:
                raise MalformedLog("a value of a new row is left out", where=where)
            new = tuple([before if value is UNCHANGED else value for before, value in zip(old, new, strict=True)])
        if kind == INSERT:
            old = None
        return RowChanges(layout.table, ((_picked(layout, old), _picked(layout, new)),))

    def _problem(self, kind: str, logged: Logged, layout: Layout) -> Omission | None:
        """Return why the old row is not whole; None when it is, or is not needed."""
        title, table = f"{layout.table.schema}.{layout.table.name}", _shown(layout.table)
        if kind == INSERT:
            return None
        is_full = logged.told == FULL or (logged.told == UNTOLD and layout.identity == "f")
        if is_full and layout.whole:
            return None
        fix = f"for the future: ALTER TABLE {table} REPLICA IDENTITY FULL;"
        if logged.old is None and kind == DELETE and not layout.identity:
            return Omission(f"{title}: the old row is not in the log (no replica identity)", fix)
        if layout.identity == "f" or is_full:
            return Omission(f"{title}: nobody can tell which columns a whole row has", "give --schema, a file that pg_dump -s wrote")
        if not layout.identity and logged.told == UNTOLD:
            told = "nobody can tell NULL from not logged (replica identity not known)"
            return Omission(f"{title}: {told}", f"give --schema, a file that pg_dump -s wrote; if it is not FULL, {fix}")
        identity = f"replica identity {IDENTITIES[layout.identity]}" if layout.identity else "replica identity is not FULL"
        return Omission(f"{title}: the old row is not in the log ({identity})", fix)

    def layout_of(self, shape: Shape) -> Layout:
        """Return how rows of a shape are read; prepared once."""
        found = self._layouts.get(id(shape))
        if found is None:
            if len(self._layouts) >= LAYOUTS_MAX:
                self._layouts.clear()
            found = self._layouts[id(shape)] = (shape, self._prepared(shape))
        return found[1]

    def _prepared(self, shape: Shape) -> Layout:
        described = self._catalog.table(shape.schema, shape.name) if self._catalog else None
        checks = tuple((at, _CHECKS[kind]) for at, kind in enumerate(shape.types) if kind in _CHECKS)
        if described is None:
            silent = self._silent and shape.identity and (shape.identity == "n" or (shape.identity == "d" and not shape.key))
            columns = tuple(Column(name, kind, auto_update=False) for name, kind in zip(shape.names, shape.types, strict=True))
            return Layout(
                Table(shape.schema, shape.name, columns, shape.key),
                shape.complete,
                (),
                checks,
                shape.identity,
                _unseen(shape) if silent else None,
            )
        return self._described(shape, described, checks)

    def _described(self, shape: Shape, described: Described, checks: Any) -> Layout:
        title = f"{shape.schema}.{shape.name}"
        places = {name: at for at, name in enumerate(shape.names)}
        known = {column.name: column for column in described.columns}
        problem = None
        unknown = [name for name in shape.names if name not in known]
        missing = [column.name for column in described.columns if not column.generated and column.name not in places]
        if unknown:
            problem = Omission(f"{title}: the schema given has no column {unknown[0]}", "give the schema of that time: pg_dump -s")
        elif self._filtered and described.row_filtered:
            reason = f"{title}: published with a row filter, so an insert or delete here may have been an update"
            problem = Omission(reason, "decode with a publication without WHERE")
        elif self._silent and ((shape.identity or described.identity) == "n" or (described.identity == "d" and not described.primary)):
            problem = _unseen(shape)
        elif missing and shape.complete:
            reason = f"{title}: the log lacks column {missing[0]} of the schema given"
            problem = Omission(reason, "publish all columns, or give the schema of that time: pg_dump -s")
        if problem is not None:
            known, missing = {name: Column(name, kind, auto_update=False) for name, kind in zip(shape.names, shape.types, strict=True)}, []
        written = [name for name in shape.names if not known[name].generated]
        names = [column.name for column in described.columns if not column.generated] if missing else written
        types = dict(zip(shape.names, shape.types, strict=True))
        columns = tuple(Column(name, types.get(name, known[name].type), auto_update=False) for name in names)
        at = {name: number for number, name in enumerate(names)}
        key = tuple(at[name] for name in described.key if name in at) if set(described.key) <= at.keys() else ()
        picks = () if names == list(shape.names) else tuple(places.get(name) for name in names)
        table = Table(shape.schema, shape.name, columns, key)
        identity = shape.identity or described.identity
        return Layout(table, shape.complete or not missing or identity == "f", picks, checks, identity, problem)


def _unseen(shape: Shape) -> Omission:
    table = ".".join(shown(name) for name in (shape.schema, shape.name) if name)
    reason = f"{shape.schema}.{shape.name}: without a replica identity, so its updates and deletes are not in this log"
    return Omission(reason, f"for the future: ALTER TABLE {table} REPLICA IDENTITY FULL;")


def _shown(table: Table) -> str:
    return ".".join(shown(name) for name in (table.schema, table.name) if name)


def _picked(layout: Layout, row: LoggedRow | None) -> Row | None:
    if row is None or not layout.picks:
        return row  # type: ignore[return-value]  # what did not change was filled in
    return tuple([None if at is None else row[at] for at in layout.picks])  # type: ignore[misc]


def _untrusted(layout: Layout, logged: Logged) -> Omission | None:
    for row in (logged.old, logged.new):
        if row is not None:
            for at, check in layout.checks:
                value = row[at]
                if isinstance(value, str) and (problem := check(value)) is not None:
                    return problem
    return None


def _named(shape: Shape, row: LoggedRow | None, *, whole: bool) -> dict[str, Any] | None:
    """Return what is logged of a row, by column; where it is not whole, None stands for what is not there."""
    if row is None:
        return None
    return {name: value for name, value in zip(shape.names, row, strict=True) if value is not UNCHANGED and (whole or value is not None)}
