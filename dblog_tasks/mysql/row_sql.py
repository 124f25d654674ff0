"""The undo of rows of one table as statements, each with its check. No I/O.

Law: that of `sql`. What does not depend on a row is prepared once a table, as lists of what stands around its values: Python writes a
row at a time from them, compiled code (`native_sql`) many, and both the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
import re
from typing import Any, NamedTuple

from dblog_tasks.errors import DblogError, MalformedPlan
from dblog_tasks.event import Column, Omission, Row, Table, binary_columns
from dblog_tasks.mysql import native_sql
from dblog_tasks.mysql.charsets import BYTES_PER_CHARACTER
from dblog_tasks.mysql.literals import FORMS, Literal, base_type, identifier, quote, unicode_literal
from dblog_tasks.mysql.values import Memo

SHAPES_MAX = 1000  # sets of changed columns kept, a table

# No automatic number for a stored 0, and the impossible dates a server may hold from laxer times.
LENIENT = "SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES';\n"
STRICT = "SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES,STRICT_ALL_TABLES';\n"
_CHECK = "SELECT IF(%s, 1, (SELECT 1 UNION ALL SELECT 2)) INTO @dblog_ok;\n"
_ONE_ROW = ";\n" + _CHECK % "ROW_COUNT()=1"

_UNFIT = (TypeError, ValueError, LookupError, AttributeError, DblogError)


def omission(table: Table) -> Omission | None:
    """Return why no undo of this table can be written as SQL, None when one can."""
    title = _title(table)
    for name in (table.schema, table.name, *(column.name for column in table.columns)):
        if not name or not _NAME.fullmatch(name):
            return Omission("a name that cannot be written in SQL", f"rename {name!r} of {title}")
    for column in table.columns:
        if base_type(column) not in FORMS:
            return Omission("a column type that cannot be written in SQL", f"{column.name} {column.type} of {title}")
        if column.charset and column.charset not in BYTES_PER_CHARACTER:
            return Omission("a character set that is not known", f"{column.name} {column.charset} of {title}")
    if all(column.generated for column in table.columns):
        return Omission("a table without a column that can be written", title)
    return None


_NAME = re.compile(r"[^\0\n\r\ud800-\udfff]*")


def _title(table: Table) -> str:
    return f"{table.schema}.{table.name}"


class Part(NamedTuple):
    """One of a list of conditions, assignments or values."""

    at: int  # the value's index in the row
    before: str  # what stands before the value
    literal: Literal
    null: str  # all of it where the value is NULL
    kind: str = ""  # of the literal, for `native_sql`


class Lines(NamedTuple):
    """What is written of a row: its parts one after the other, then the tail."""

    parts: Sequence[Part]
    tail: str


def _listed(head: str, parts: Sequence[Part], separator: str, tail: str = "") -> Lines:
    """Return the lines of a list, with what stands between its parts."""
    if not parts:
        return Lines((), head + tail)
    before = (head, *[separator] * (len(parts) - 1))
    return Lines([part._replace(before=text + part.before, null=text + part.null) for text, part in zip(before, parts, strict=True)], tail)


def _joined(one: Lines, other: Lines) -> Lines:
    if not other.parts:
        return Lines(one.parts, one.tail + other.tail)
    first, *rest = other.parts
    first = first._replace(before=one.tail + first.before, null=one.tail + first.null)
    return Lines([*one.parts, first, *rest], other.tail)


def _written(lines: Lines, row: Row) -> str:
    parts = [null if (value := row[at]) is None else before + literal(value) for at, before, literal, null, _ in lines.parts]
    return "".join(parts) + lines.tail


def _writer(lines: Lines, width: int) -> Callable[[Row], str]:
    """Return `_written` for rows of this width as straight-line code, made of numbers and our own names."""
    names: dict[str, Any] = {"tail": lines.tail}
    source = ["def write(row):", f"{', '.join(f'v{at}' for at in range(width))}, = row"]
    for n, (at, before, literal, null, _) in enumerate(lines.parts):
        names |= {f"before{n}": before, f"literal{n}": literal, f"null{n}": null}
        common = _COMMON.get(literal, "").format(before=f"{{before{n}}}", v=f"v{at}", text=f"{{v{at}}}")
        source.append(f"t{n} = {common} null{n} if v{at} is None else before{n} + literal{n}(v{at})")
    source.append(f"return f'{''.join(f'{{t{n}}}' for n in range(len(lines.parts)))}{{tail}}'")
    exec("\n    ".join(source), names)  # noqa: S102 - see above
    write: Callable[[Row], str] = names["write"]
    return write


# What a literal makes of most values, without a call.
_COMMON_TEXT = """f"{before}'{text}'" if type({v}) is str and {v}.isprintable() and "'" not in {v} and "\\\\" not in {v} else"""
_COMMON: Mapping[Literal, str] = {
    int.__repr__: 'f"{before}{text}" if type({v}) is int else',
    quote: _COMMON_TEXT,
    unicode_literal: _COMMON_TEXT,
}


class Shape(NamedTuple):
    """An update by the columns it changes: what is written of the row then and the row now, next to each other."""

    lines: Lines
    enums: Sequence[int]  # changed columns of type enum
    stored: Lines  # whether the row is there as written, for them


class Statements:
    """Writes the statements of one table, each with its check; what does not depend on a row is prepared once.

    All methods raise MalformedPlan for a value that its column cannot have.
    """

    def __init__(self, table: Table) -> None:
        """Raises MalformedPlan where there is an `omission`."""
        problem = omission(table)
        if problem:
            raise MalformedPlan(f"{problem.reason}: {problem.fix}")
        columns = dict(enumerate(table.columns))
        self._table = table
        self._name = f"{identifier(table.schema)}.{identifier(table.name)}"
        self._names = [identifier(column.name) for column in table.columns]
        self._forms = [FORMS[base_type(column)](column) for column in table.columns]
        self._written = [at for at, column in columns.items() if not column.generated]
        self._floats = [at for at in self._written if base_type(columns[at]) in ("float", "double")]
        self._enums = [at for at in self._written if base_type(columns[at]) == "enum"]
        self._self_updating = [at for at in self._written if _may_update_itself(columns[at])]
        self._exact = [
            Part(at, f"{form.side} = ", form.exact, f"{self._names[at]} IS NULL", form.kind) for at, form in enumerate(self._forms)
        ]
        self._key = [part for at in table.key for part in self._key_parts(at)]
        self._whole = self._guard(self._written)
        self._limit = "" if table.key else " LIMIT 1"
        deletes = _listed(f"DELETE FROM {self._name} WHERE ", self._whole, " AND ", f"{self._limit}{_ONE_ROW}")  # noqa: S608 - names are quoted
        deletes = self._untied(deletes)
        values = _listed("(", [self._part(at, "", "NULL") for at in self._written], ", ", ")")
        self._deletes, self._values = deletes, values
        self._insert = f"INSERT INTO {self._name} ({', '.join(self._names[at] for at in self._written)}) VALUES "  # noqa: S608
        self._shapes: dict[tuple[int, ...], Shape] = {}
        self._members: dict[Literal, Memo[Any, str]] = {}

    @cached_property
    def compiled(self) -> native_sql.Table:
        """The table for compiled code. Only where that is available."""
        return self._compiled_rows(), _CompiledShapes(self._compiled_shape)

    @cached_property
    def _write_delete(self) -> Callable[[Row], str]:
        return _writer(self._deletes, len(self._names))

    @cached_property
    def _write_values(self) -> Callable[[Row], str]:
        return _writer(self._values, len(self._names))

    def statement(self, now: Row | None, then: Row | None) -> str:
        """Return what turns the row `now` into the row `then`; None stands for no row."""
        if now is not None:
            return self.delete(now) if then is None else self.update(now, then)
        if then is None:
            raise MalformedPlan(f"{_title(self._table)}: a change with a row neither before nor after")
        insert = self.insert([self.row(then)])
        return self._leniently(insert, self._exists(self._whole), then) if self.stands_alone(then) else insert

    def row(self, row: Row) -> str:
        """Return the row as `insert` takes it."""
        try:
            return self._write_values(row)
        except _UNFIT as error:
            raise self._unfit(error, row) from None

    def stands_alone(self, row: Row) -> bool:
        """Return whether the row, one that `row` took, is not for an INSERT of many: strict mode refuses an enum's error value."""
        return bool(self._enums) and 0 in [row[at] for at in self._enums]

    def insert(self, rows: Sequence[str]) -> str:
        """Return the INSERT of rows made by `row`."""
        return f"{self._insert}{', '.join(rows)};\n{_CHECK % f'ROW_COUNT()={len(rows)}'}"

    def delete(self, row: Row) -> str:
        """Return the DELETE of exactly this row."""
        try:
            return self._write_delete(row)
        except _UNFIT as error:
            raise self._unfit(error, row) from None

    def update(self, now: Row, then: Row, *, carried: bool = False) -> str:
        """Return the UPDATE of the row from `now` to `then`; a comment when both are the same.

        `carried`: a foreign key may have taken the row along already, which is as wanted then.
        """
        try:
            if not len(now) == len(then) == len(self._names):
                raise ValueError(f"rows of {len(now)} and {len(then)} values for {len(self._names)} columns")
            changed = [at for at in self._written if now[at] != then[at]]
            # 0.0 and -0.0 are equal, and two values of a row
            changed += [at for at in self._floats if now[at] == then[at] == 0.0 and str(now[at]) != str(then[at])]
            shape = self._shape(tuple(changed))
            update = _written(shape.lines, (*then, *now))
            if carried and None not in [now[at] for at in changed] and update.endswith(_ONE_ROW):
                update = f"{update.removesuffix(_ONE_ROW)};\n{_CHECK % f'ROW_COUNT()=1 OR {_written(shape.stored, then)}'}"
            return self._leniently(update, shape.stored, then) if 0 in [then[at] for at in shape.enums] else update
        except _UNFIT as error:
            raise self._unfit(error, now, then) from None

    def _shape(self, changed: tuple[int, ...]) -> Shape:
        shape = self._shapes.get(changed)
        if shape is None:
            if len(self._shapes) >= SHAPES_MAX:
                self._shapes.clear()
            where = self._guard(changed) if self._key else self._whole
            enums = [at for at in self._enums if at in changed]
            shape = self._shapes[changed] = Shape(self._updates(changed, where), enums, self._exists(where))
        return shape

    def _updates(self, changed: tuple[int, ...], where: Sequence[Part]) -> Lines:
        """Return the lines of an update of these columns."""
        names, width = self._names, len(self._names)
        automatic = [at for at in changed if self._table.columns[at].auto_update]
        head = f"UPDATE {self._name} SET "  # noqa: S608
        parts, tail = _listed(head, [self._part(at, f"{names[at]} = ") for at in changed if at not in automatic], ", ")
        parts = list(parts)
        for at in automatic:  # restored only where the row still is what the log left
            logged = f"{tail}{', ' if parts else ''}{names[at]} = IF({names[at]} <=> "
            parts += [self._part(at, logged)._replace(at=at + width), self._part(at, ", ")]
            tail = f", {names[at]})"
        if not parts:
            return Lines((), f"-- A row of {self._name} is the same before and after: nothing to write.\n")
        kept = "".join([f", {names[at]} = {names[at]}" for at in self._self_updating if at not in changed])
        guard = _listed(f"{tail}{kept} WHERE ", where, " AND ", f"{self._limit}{_ONE_ROW}")
        return Lines([*parts, *[part._replace(at=part.at + width) for part in guard.parts]], guard.tail)

    def _guard(self, columns: Sequence[int]) -> list[Part]:
        """The conditions that find the row by its key and hold it to be as expected in these columns.

        What the database computes is not compared, nor what it sets on an update: any later update would be in the way.
        """
        guarded = [at for at in columns if at not in self._table.key and not self._table.columns[at].auto_update]
        return self._key + [self._exact[at] for at in guarded]

    def _part(self, at: int, before: str, null: str | None = None) -> Part:
        """A value as it is written."""
        return Part(at, before, self._forms[at].write, f"{before}NULL" if null is None else null, self._forms[at].kind)

    def _key_parts(self, at: int) -> list[Part]:
        """Plain `=` for the index, and the bytes where a collation could take two values for one."""
        plain = self._exact[at]._replace(before=f"{self._names[at]} = ", literal=self._forms[at].write)
        return [plain] if plain == self._exact[at] else [plain, self._exact[at]]

    def _untied(self, lines: Lines) -> Lines:
        """Put before lines that delete a row what holds others not to refer to it: they would go with it, unseen."""
        places = {column.name.lower(): at for at, column in enumerate(self._table.columns)}
        for dependent in reversed(self._table.dependents):
            parents = [places.get(name.lower(), -1) for name in dependent.parent_columns] or list(self._table.key)
            if -1 in parents or len(parents) != len(dependent.columns):
                continue  # the event has no such column
            tied = [self._part(at, f"{identifier(name)} = ") for name, at in zip(dependent.columns, parents, strict=True)]
            head = f"SELECT 1 FROM {identifier(dependent.schema)}.{identifier(dependent.name)} WHERE "  # noqa: S608 - names are quoted
            itself = (dependent.schema, dependent.name) == (self._table.schema, self._table.name) and bool(self._key)
            other = _listed(" AND NOT (", self._key, " AND ", ")") if itself else Lines((), "")
            before, _, after = (_CHECK % f"NOT EXISTS({head}|)").partition("|")
            lines = _joined(_joined(_listed(before, tied, " AND "), other), _joined(Lines((), after), lines))
        return lines

    def _exists(self, where: Sequence[Part]) -> Lines:
        return _listed(f"EXISTS(SELECT 1 FROM {self._name} WHERE ", where, " AND ", ")")  # noqa: S608 - and values are literals

    def _leniently(self, statement: str, stored: Lines, row: Row) -> str:
        """Outside strict mode the server bends values until they fit, so what it stored is looked at."""
        return f"{LENIENT}{statement}{STRICT}{_CHECK % _written(stored, row)}"

    def _compiled_rows(self) -> native_sql.Rows:
        binary = binary_columns(self._table)
        flags = [
            native_sql.WRITTEN * (at in self._written) | native_sql.ENUM * (at in self._enums) | native_sql.BINARY * (at in binary)
            for at in range(len(self._names))
        ]
        deletes, values = (self._compiled_lines(lines, len(flags)) for lines in (self._deletes, self._values))
        return native_sql.rows(bytes(flags), deletes, values)

    def _compiled_shape(self, changed: bytes) -> native_sql.Lines:
        shape = self._shape(tuple([at for at, change in enumerate(changed) if change]))
        return self._compiled_lines(shape.lines, 2 * len(changed))

    def _compiled_lines(self, lines: Lines, width: int) -> native_sql.Lines:
        slots = [
            (at, before.encode(), null.encode(), *self._compiled_kind(kind, literal)) for at, before, literal, null, kind in lines.parts
        ]
        return native_sql.lines(slots, lines.tail.encode(), width)

    def _compiled_kind(self, kind: str, literal: Literal) -> tuple[str, Literal]:
        """Sets have no kind of their own, and few values: they are remembered."""
        return ("", self._members.setdefault(literal, Memo(literal)).__getitem__) if kind == "members" else (kind, literal)

    def _unfit(self, error: Exception, *rows: Row) -> MalformedPlan:
        """Return the error that names the first value that does not fit its column."""
        for row in rows:
            for column, form, value in zip(self._table.columns, self._forms, row, strict=False):
                try:
                    if value is not None:
                        form.exact(value)
                        form.write(value)
                except _UNFIT as found:
                    return MalformedPlan(f"{_title(self._table)}: {value!r:.80} is no value of {column.name} {column.type}: {found}")
        return MalformedPlan(f"{_title(self._table)}: {error}")


def _may_update_itself(column: Column) -> bool:
    return base_type(column) in ("timestamp", "datetime") if column.auto_update is None else column.auto_update


class _CompiledShapes(dict[bytes, native_sql.Lines]):
    """Compiled lines of updates by the columns they change, a byte each; made when asked for."""

    def __init__(self, make: Callable[[bytes], native_sql.Lines]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, changed: bytes) -> native_sql.Lines:
        if len(self) >= SHAPES_MAX:
            self.clear()
        lines = self[changed] = self._make(changed)
        return lines
