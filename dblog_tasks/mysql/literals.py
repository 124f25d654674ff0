"""Values of MySQL and MariaDB as SQL: how they are written, and how a row is found that holds exactly this value. No I/O.

Law: nothing a session, a collation or the client could read in another way is left to it; what is compared are the bytes of a value.
What is valid here is so for MariaDB 10.11 and later and MySQL 5.7 to 9.7, in a session as `sql` sets it up.

    type of the column     written as                     compared as (a column of the key first by `c` = what is written)
    integers, year, bit    -5                             `c` = -5
    float, double          1.0000000149011612e-01         `c` = 1.0000000149011612e-01       a FLOAT's own double
    decimal                -12.30                         `c` = -12.30
    temporals              '2024-01-02 03:04:05.678900'   `c` = '2024-01-02 03:04:05.678900' in UTC
    binary, blob           X'00FF'                        `c` = X'00FF'
    char, varchar, text    'text' or _gbk X'C4E3'         CAST(`c` AS BINARY) = 'text' or X'C4E3'
    enum, set              'label' or 'a,b'; else 3       CAST(`c` AS BINARY) = 'label'; else CAST(`c` AS UNSIGNED) = 3
    json                   '{"a": 1}' or JSON_OBJECT(…)   CAST(`c` AS BINARY) = '{"a": 1}'   the text the server prints
    geometry, vector       X'000000000101…'               HEX(`c`) = '000000000101…'         SRID and WKB; floats
    uuid, inet4, inet6     '::1'                          `c` = '::1'
    NULL                   NULL                           `c` IS NULL

Text with control characters but the common ones is written in hex, for the sake of the terminal it may be printed on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
import re
from typing import Any, NamedTuple, TypeAlias

from dblog_tasks.errors import InvalidInput
from dblog_tasks.event import Column
from dblog_tasks.mysql.charsets import encode_text
from dblog_tasks.mysql.json_binary import json_expression, json_text
from dblog_tasks.mysql.values import Memo

Literal: TypeAlias = Callable[[Any], str]  # a value, never None, as SQL; raises something for one that does not fit


def identifier(name: str) -> str:
    """Return the name in backquotes."""
    return "`" + name.replace("`", "``") + "`"


def quote(text: str) -> str:
    """Return text as a literal for a session in utf8mb4 whose sql_mode lets the backslash escape. Raises UnicodeEncodeError."""
    if text.isprintable() and "'" not in text and "\\" not in text:
        return f"'{text}'"
    data = text.encode()
    return f"_utf8mb4 {_hex(data)}" if _CONTROL.search(text) else f"'{text.translate(_ESCAPES)}'"


_CONTROL = re.compile(r"[\x01-\x08\x0b\x0c\x0e-\x19\x1b-\x1f\x7f-\x9f]")
_ESCAPES = str.maketrans({"'": "''", "\\": "\\\\", "\0": "\\0", "\n": "\\n", "\r": "\\r", "\x1a": "\\Z"})


def base_type(column: Column) -> str:
    """Return the type of a column without its size."""
    return column.type.partition("(")[0]


class Form(NamedTuple):
    """How values of one column stand in SQL."""

    write: Literal  # the value as it is assigned, and compared with by an index
    side: str  # what is compared to find exactly this value: the column, or its bytes
    exact: Literal  # the value as it is compared with `side`
    kind: str = ""  # what both are for most values, as `native_sql` knows them


def _plain(literal: Literal, kind: str) -> Callable[[Column], Form]:
    """The form of types whose equality is that of their bytes."""
    return lambda column: Form(literal, identifier(column.name), literal, kind)


def _double(value: float) -> str:
    """A double, not a decimal: with an exponent. A FLOAT is the double it holds exactly."""
    text = float.__repr__(value)
    if "n" in text:
        raise ValueError("not a finite number")
    return text if "e" in text else text + "e0"


def _decimal(value: str) -> str:
    float(value)
    if value.strip("-.0123456789"):
        raise ValueError("not a decimal")
    return value


def _hex(value: bytes) -> str:
    return f"X'{bytes.hex(value).upper()}'"


def _hexed(column: Column) -> Form:
    return Form(_hex, f"HEX({identifier(column.name)})", lambda value: f"'{bytes.hex(value).upper()}'")


def _bytes_of(column: Column) -> str:
    return f"CAST({identifier(column.name)} AS BINARY)"


def _text(column: Column) -> Form:
    if column.charset == "binary":
        return _plain(_hex, "hex")(column)
    write, exact = _text_literals(column.charset)
    kind = "text" if column.charset in _UNICODE else "" if column.charset in _NOT_ASCII else "ascii"
    return Form(write, _bytes_of(column), exact, kind)


# Character sets that hold the connection's UTF-8 as it is, and those that are no superset of ASCII on the servers.
_UNICODE = frozenset({"utf8mb4", "utf8mb3", "utf8", "ascii"})
_NOT_ASCII = frozenset({"ucs2", "utf16", "utf16le", "utf32", "sjis", "swe7"})


def _text_literals(charset: str) -> tuple[Literal, Literal]:
    """Return how text is assigned, with nothing for the server to convert, and how its bytes are written.

    Text whose bytes do not decode is bytes; the server refuses to assign them where they are no text for it either.
    """
    if charset in _UNICODE:
        return unicode_literal, unicode_literal

    def literal(introducer: str) -> Literal:
        def write(value: str | bytes) -> str:
            if isinstance(value, bytes):
                return introducer + _hex(value)
            if charset not in _NOT_ASCII and value.isascii() and (value.isprintable() or not _CONTROL.search(value)):
                return quote(value)
            return introducer + _hex(encode_text(value, charset))

        return write

    return literal(f"_{charset} " if charset else ""), literal("")


def unicode_literal(value: str | bytes) -> str:
    """Return text of a character set that UTF-8 holds as it is, or bytes that are no text of it."""
    return quote(value) if isinstance(value, str) else _hex(value)


def _enum(column: Column) -> Form:
    """By label, so that a target whose labels have another order is not misread; by number where labels cannot tell."""
    literals = _label_literals(column)
    if literals is None:
        return _by_number(column)
    written, exact = (dict(enumerate(map(literal, column.labels), 1)) for literal in literals)
    written[0], exact[0] = "0", "''"  # the error value
    return Form(written.__getitem__, _bytes_of(column), exact.__getitem__)


def _set(column: Column) -> Form:
    literals = _label_literals(column)
    if literals is None:
        return _by_number(column)
    write, exact = literals

    def members(mask: int) -> str:
        if not 0 <= mask < 1 << len(column.labels):
            raise ValueError(f"the set has {len(column.labels)} members")
        return ",".join([label for bit, label in enumerate(column.labels) if mask >> bit & 1])

    return Form(lambda mask: write(members(mask)), _bytes_of(column), lambda mask: exact(members(mask)), "members")


def _by_number(column: Column) -> Form:
    return Form(int.__repr__, f"CAST({identifier(column.name)} AS UNSIGNED)", int.__repr__, "integer")


def _label_literals(column: Column) -> tuple[Literal, Literal] | None:
    """Return how labels are assigned and how their bytes are written.

    None: they are not known, could be taken for one another by a collation that ignores case and trailing blanks or for the
    error value, or their character set is beyond us.
    """
    distinct = {"", *(label.rstrip(" ").casefold() for label in column.labels)}
    if not column.labels or len(distinct) <= len(column.labels):
        return None
    literals = (quote, quote) if column.charset in ("", "binary") else _text_literals(column.charset)
    try:
        for label in column.labels:
            literals[0](label)
    except (InvalidInput, UnicodeEncodeError):
        return None
    return literals


def _json(column: Column) -> Form:
    return Form(
        lambda value: json_expression(value) if isinstance(value, bytes) else quote(value),
        _bytes_of(column),
        lambda value: quote(json_text(value) if isinstance(value, bytes) else value),
        "text",
    )


# Type of the column, without its size -> its form.
FORMS: Mapping[str, Callable[[Column], Form]] = {
    **dict.fromkeys(("tinyint", "smallint", "mediumint", "int", "bigint", "year", "bit"), _plain(int.__repr__, "integer")),
    **dict.fromkeys(("float", "double"), _plain(_double, "double")),
    "decimal": _plain(Memo(_decimal).__getitem__, "decimal"),
    **dict.fromkeys(("date", "time", "datetime", "timestamp"), _plain(quote, "text")),
    **dict.fromkeys(("uuid", "inet4", "inet6"), _plain(quote, "text")),
    **dict.fromkeys(("char", "varchar", "tinytext", "text", "mediumtext", "longtext"), _text),
    **dict.fromkeys(("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"), _plain(_hex, "hex")),
    "enum": _enum,
    "set": _set,
    "json": _json,
    **dict.fromkeys(("vector", "geometry", "point", "linestring", "polygon", "geometrycollection", "geomcollection"), _hexed),
    **dict.fromkeys(("multipoint", "multilinestring", "multipolygon"), _hexed),
}
