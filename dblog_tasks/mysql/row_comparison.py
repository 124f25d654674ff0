"""Values asked of a server so that they come as the log has them, and what makes two values of a column the same. No I/O.

Law: a server's answer is bytes in the column's own character set (`character_set_results` is NULL, the session is in UTC); nothing in
between converts, rounds or pads. Two values are the same when their bytes are, whatever a collation, a float's text or a JSON writer says.

    type of the column        asked as             read as (what `rows` makes of the log)
    integers, year            c                    int
    bit                       c                    int of its bytes, the first one highest
    float, double             CAST(c AS DOUBLE)    float; 0.0 and -0.0 are two values
    decimal                   c                    text without the blanks and zeros of ZEROFILL
    temporals, uuid, inet     c                    text
    char, varchar, text       c                    text, or bytes that no text gives back (`charsets`)
    binary, blob, geometry    c                    bytes
    enum, set                 CAST(c AS UNSIGNED)  int: labels can be taken for one another, numbers cannot
    json                      c                    the text the server prints; a document of the log is compared by that text
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from dblog_tasks.event import Column, Row, Table
from dblog_tasks.mysql.charsets import decode_text
from dblog_tasks.mysql.json_binary import json_text
from dblog_tasks.mysql.literals import base_type, identifier

Reader: TypeAlias = Callable[[bytes], Any]  # the server's bytes of a value, never NULL, as the value


class Asked(NamedTuple):
    """How a column is asked for: an SQL expression, and what reads its answer; None: the bytes are the value."""

    expression: str
    read: Reader | None


def asked(column: Column) -> Asked:
    """Return how the exact value of a column is asked for."""
    expression, reader = _ASKED.get(base_type(column), ("{}", _text))
    return Asked(expression.format(identifier(column.name)), reader(column))


def row_reader(table: Table) -> tuple[str, Callable[[Sequence[tuple[bytes | None, ...]]], list[Row]]]:
    """Return the select list of all columns of a table, and what makes rows of the server's answer."""
    columns = [asked(column) for column in table.columns]
    readers = [column.read for column in columns]

    def read(answer: Sequence[tuple[bytes | None, ...]]) -> list[Row]:
        if not answer:
            return []
        found = zip(*answer, strict=True)
        return list(zip(*[_column(reader, values) for reader, values in zip(readers, found, strict=True)], strict=True))

    return ", ".join(column.expression for column in columns), read


def _column(reader: Reader | None, values: tuple[bytes | None, ...]) -> Iterable[Any]:
    if reader is None:
        return values
    if None in values:
        return [None if value is None else reader(value) for value in values]
    return map(reader, values)  # type: ignore[arg-type]  # no NULL among them


def _whole(_: Column) -> Reader:
    return int


def _double(_: Column) -> Reader:
    return float


def _bit(_: Column) -> Reader:
    return lambda data: int.from_bytes(data, "big")


def _ascii(_: Column) -> Reader:
    return bytes.decode


def _decimal(_: Column) -> Reader:
    def read(data: bytes) -> str:
        text = data.decode()
        if text.startswith("0") and text[1:2].isdigit():  # ZEROFILL
            text = text.lstrip("0")
            return text if text[:1].isdigit() else f"0{text}"
        return text

    return read


def _text(column: Column) -> Reader | None:
    if column.charset == "binary":
        return None
    charset = column.charset
    return lambda data: decode_text(data, charset)


def _bytes(_: Column) -> Reader | None:
    return None


_NUMBERS = ("tinyint", "smallint", "mediumint", "int", "bigint", "year")
_TEMPORALS = ("date", "time", "datetime", "timestamp")
# Type without its size -> expression, and what makes the reader.
_ASKED: Mapping[str, tuple[str, Callable[[Column], Reader | None]]] = {
    **dict.fromkeys(_NUMBERS, ("{}", _whole)),
    **dict.fromkeys(("float", "double"), ("CAST({} AS DOUBLE)", _double)),
    **dict.fromkeys(("enum", "set"), ("CAST({} AS UNSIGNED)", _whole)),
    **dict.fromkeys((*_TEMPORALS, "uuid", "inet4", "inet6"), ("{}", _ascii)),
    **dict.fromkeys(("geometry", "vector"), ("{}", _bytes)),
    "decimal": ("{}", _decimal),
    "bit": ("{}", _bit),
}


def exact(column: Column) -> Callable[[Any, Any], bool] | None:
    """Return what tells whether two values of a column are the same, None where `==` does."""
    return _EXACT.get(base_type(column))


def _same_double(one: Any, other: Any) -> bool:
    return one == other and (one != 0 or str(one) == str(other))


def _same_document(one: Any, other: Any) -> bool:
    return bool(_document(one) == _document(other))


def _document(value: Any) -> Any:
    return json_text(value) if isinstance(value, bytes) else value


_EXACT: Mapping[str, Callable[[Any, Any], bool]] = {"float": _same_double, "double": _same_double, "json": _same_document}
