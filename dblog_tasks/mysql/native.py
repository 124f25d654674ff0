"""Row images by compiled code: which reader of `_native` reads which column. No I/O.

Where there is no compiled code (`compiled`), the generated code of `rows` reads everything. What a reader does is told in `_native.c`;
a column that has none here is read by the function that its caller gives.

    type                                  reader                 where
    integers                              signed, unsigned       width in bytes
    FLOAT, DOUBLE, YEAR, DATE             one each
    DATETIME2, TIMESTAMP2, TIME2          one each               digits of a second
    NEWDECIMAL                            decimal                precision, scale
    ENUM, SET; BIT                        unsigned; big          width in bytes
    CHAR, VARCHAR, BLOB, TEXT, GEOMETRY   bytes, utf8, ascii     bytes of the length; by character set
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple, Protocol, TypeAlias

import orjson

from dblog_tasks.event import Row, RowPair
from dblog_tasks.mysql import compiled, table_map as wire
from dblog_tasks.mysql.charsets import decode_text

Column: TypeAlias = tuple[str, int, int, object]  # a reader of `_native`, what it is told, and what it calls or None


class Stored(Protocol):
    """How a column's values lie in an image: `rows.Storage`."""

    @property
    def code(self) -> int: ...
    @property
    def meta(self) -> int: ...
    @property
    def unsigned(self) -> bool: ...
    @property
    def charset(self) -> str: ...


class Readers(NamedTuple):
    """The compiled functions for one table layout; ValueError, or what a column's function raises, is for generated code to judge.

    Attributes:
        rows: `(data, at, end)` -> rows, by operation.
        json: `(alone, data, at, end)` -> the same as JSON and how many they are; `alone`: a byte for each column, not 0 where bytes
            stand as base64 and nothing around it.
        image: `(data, at)` -> one image and where it ends.
    """

    rows: Mapping[str, Callable[[bytes, int, int], list[RowPair]]]
    json: Mapping[str, Callable[[bytes, bytes, int, int], tuple[bytes, int]]]
    image: Callable[[bytes, int], tuple[Row, int]]


def readers(columns: Sequence[Column]) -> Readers | None:
    """Return how images of these columns are read, None when there is no compiled code."""
    extension = compiled.extension()
    if extension is None:
        return None
    reader = extension.Reader(list(columns))
    images = {"insert": (None, reader), "update": (reader, reader), "delete": (reader, None)}
    rows = {operation: partial(extension.rows, *pair) for operation, pair in images.items()}
    json = {operation: partial(extension.json_rows, *pair) for operation, pair in images.items()}
    return Readers(rows, json, partial(extension.image, reader))


def column(storage: Stored) -> Column | None:
    """Return the column for `readers`, None for a type or character set that only Python reads. Its size has been checked."""
    maker = _MAKERS.get(storage.code)
    return None if maker is None else maker(storage)


def _integer(width: int) -> Callable[[Stored], Column]:
    return lambda storage: ("unsigned" if storage.unsigned else "signed", width, 0, None)


def _temporal(name: str) -> Callable[[Stored], Column]:
    return lambda storage: (name, storage.meta, 0, None)


def _single(name: str) -> Callable[[Stored], Column]:
    return lambda storage: (name, 0, 0, None)


def _text(charset: str, length_bytes: int, fill: int = 0) -> Column | None:
    if charset == "binary":
        return "bytes", length_bytes, fill, None
    if charset in ("utf8mb4", "utf8mb3"):
        return "utf8", length_bytes, charset == "utf8mb3", None
    if charset in ("ascii", "latin1"):
        return "ascii", length_bytes, 0, partial(decode_text, charset=charset)
    return None


def _char(storage: Stored) -> Column | None:
    return _text(storage.charset, 1 if storage.meta < 256 else 2, storage.meta if storage.code == wire.STRING else 0)


_MAKERS: Mapping[int, Callable[[Stored], Column | None]] = {
    wire.TINY: _integer(1),
    wire.SHORT: _integer(2),
    wire.INT24: _integer(3),
    wire.LONG: _integer(4),
    wire.LONGLONG: _integer(8),
    wire.FLOAT: lambda _: ("float", 0, 0, orjson.dumps),
    wire.DOUBLE: lambda _: ("double", 0, 0, orjson.dumps),
    wire.YEAR: _single("year"),
    wire.DATE: _single("date"),
    wire.NEWDATE: _single("date"),
    wire.DATETIME2: _temporal("datetime"),
    wire.TIMESTAMP2: _temporal("timestamp"),
    wire.TIME2: _temporal("time"),
    wire.NEWDECIMAL: lambda storage: ("decimal", storage.meta >> 8, storage.meta & 0xFF, None),
    wire.ENUM: lambda storage: ("unsigned", storage.meta, 0, None),
    wire.SET: lambda storage: ("unsigned", storage.meta, 0, None),
    wire.BIT: lambda storage: ("big", (storage.meta + 7) // 8, 0, None),
    **dict.fromkeys((wire.VARCHAR, wire.VAR_STRING, wire.STRING), _char),
    **dict.fromkeys((wire.TINY_BLOB, wire.BLOB, wire.MEDIUM_BLOB, wire.LONG_BLOB), lambda storage: _text(storage.charset, storage.meta)),
    **dict.fromkeys((wire.GEOMETRY, wire.VECTOR), lambda storage: _text("binary", storage.meta)),
}
