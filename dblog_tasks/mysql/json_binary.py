"""MySQL's binary JSON: the bytes a JSON column has in the log, as the text the server prints, or as SQL that builds it again.

Law: bytes in, text out; no I/O. The text is the server's own (`CAST(j AS CHAR)`), byte for byte. Every offset is checked, nesting
stops at the server's limit, and no more is read in all than the document has bytes, so parts that overlap are refused. Source:
`json_binary.h` of MySQL 5.7 to 9.7; printing and round trips are those of MySQL 9.7.

    document     type (1), value; no bytes at all: JSON null
    type         0, 1 object small, large; 2, 3 array small, large; 4 literal; 5, 6 int16, uint16; 7, 8 int32, uint32;
                 9, 10 int64, uint64; 11 double; 12 string; 15 opaque
    object       count, size, key entries, value entries, keys, values; sorted by length of key, then by bytes
    array        count, size, value entries, values
                 count, size and offsets are 2 bytes wide in the small form, 4 in the large one; offsets start at `count`
    key entry    offset, length (2)
    value entry  type (1), then as wide as an offset: the value itself for types 4 to 6 (large: 4 to 8), else its offset
    literal      0 null, 1 true, 2 false (1)
    string       length (7 bits a byte, low first, at most 5 bytes), UTF-8
    opaque       column type (1), length (as above), bytes; 5.7 makes type 253 of what is 15 in later versions
    decimal      opaque 246: precision (1), scale (1), digits as in a DECIMAL column
    temporal     opaque 7, 10, 11, 12: 8 bytes, date and time of day << 24 | microseconds

A text does not tell an opaque value from the string or number it prints as. A document with one is not faithful: it stays
bytes, and `json_expression` builds it again.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from functools import lru_cache
from json import loads
from json.encoder import encode_basestring  # escapes what MySQL escapes, and no more
from math import isfinite
from operator import add
from struct import Struct
from typing import Any, NamedTuple, NoReturn, TypeAlias

from dblog_tasks.errors import MalformedLog, UnsupportedLog

DEPTH_MAX = 100
DECIMAL_DIGITS_MAX = 81  # 9 groups of 9: the server counts a leading zero of a decimal(65) in
SMALL_OBJECT, LARGE_OBJECT, SMALL_ARRAY, LARGE_ARRAY, LITERAL, INT16, UINT16, INT32, UINT32, INT64, UINT64, DOUBLE, STRING = range(13)
OPAQUE = 15
LITERALS = {0: "null", 1: "true", 2: "false"}


class Opaque(NamedTuple):
    """A value JSON text has no form of: what it prints as, its column type and its bytes."""

    text: str
    type: int
    payload: bytes


class Holder(NamedTuple):
    """An object or array with an opaque value inside; `keys` is None for an array, else JSON text with a colon."""

    text: str
    keys: list[str] | None
    values: list[Node]


Node: TypeAlias = str | Opaque | Holder  # a str is faithful JSON text


def json_text(data: bytes) -> str:
    """Return the text MySQL prints for the document. Raises MalformedLog."""
    node = _document(data)
    return node if isinstance(node, str) else node.text


def is_faithful(data: bytes) -> bool:
    """Return whether MySQL, given the text, makes an equal document that prints the same. Raises MalformedLog."""
    return isinstance(_document(data), str)


def json_value(data: bytes) -> str | bytes:
    """Return the text where it is faithful, else the document's own bytes. Raises MalformedLog."""
    node = _document(data)
    return node if isinstance(node, str) else data


def json_expression(data: bytes) -> str:
    """Return SQL for which MySQL 8.0.4 and later build an equal document that prints the same.

    It means the same with and without NO_BACKSLASH_ESCAPES and for every character set of the connection; zero dates need a
    sql_mode without NO_ZERO_DATE and NO_ZERO_IN_DATE. Raises MalformedLog, and UnsupportedLog where no SQL makes such a value.
    """
    node = _document(data)
    sql = _sql(node)
    return f"JSON_EXTRACT(JSON_ARRAY({sql}), '$[0]')" if isinstance(node, Opaque) else sql


def _document(data: bytes) -> Node:
    return _value(data, [len(data)], data[0], 1, len(data), 0) if data else "null"


def _value(data: bytes, budget: list[int], kind: int, at: int, end: int, depth: int) -> Node:
    """Return the value of this type that starts at `at` and ends before `end`; `budget` holds how many bytes may still be read."""
    reader = _READERS.get(kind)
    if reader is None:
        malformed(f"type {kind}, expected 0 to 12 or 15", at)
    return reader(data, budget, kind, at, end, depth)


def _container(data: bytes, budget: list[int], kind: int, at: int, end: int, depth: int) -> Node:
    if depth >= DEPTH_MAX:
        malformed(f"more than {DEPTH_MAX} levels", at)
    layout = LAYOUTS[kind]
    count, size, header = read_head(data, layout, at, end)
    spend(budget, header, at)
    stop, first = at + size, at + header - count * layout.entry.size
    keys = _keys(data, budget, layout, at, stop, at + header, count) if layout.keyed else None
    inline, faithful = layout.inline, True
    values: list[Any] = []
    for type_, raw in layout.entry.iter_unpack(data[first : at + header]):
        if type_ in inline:
            values.append(inline[type_](raw))
            continue
        if raw < header:
            malformed(f"a value at offset {raw} inside the header of {header} bytes", at)
        value = _value(data, budget, type_, at + raw, stop, depth + 1)
        faithful = faithful and type(value) is str
        values.append(value)
    if faithful:
        return _joined(keys, values)
    return Holder(_joined(keys, [value if isinstance(value, str) else value.text for value in values]), keys, values)


def read_head(data: bytes, layout: Layout, at: int, end: int) -> tuple[int, int, int]:
    """Return count of entries, size in bytes, and size of all that stands before keys and values."""
    if end - at < layout.head.size:
        malformed(f"{end - at} bytes left, expected {layout.head.size} of count and size", at)
    count, size = layout.head.unpack_from(data, at)
    header = layout.head.size + count * (layout.entry.size + (layout.key.size if layout.keyed else 0))
    if not header <= size <= end - at:
        malformed(f"size {size}, expected {header} to {end - at}", at)
    return count, size, header


def _keys(data: bytes, budget: list[int], layout: Layout, at: int, stop: int, lowest: int, count: int) -> list[str]:
    """Return the keys as JSON text, each with its colon."""
    start, left, before, previous = at + layout.head.size, budget[0], -1, b""
    keys: list[str] = []
    for offset, length in layout.key.iter_unpack(data[start : start + count * layout.key.size]):
        first = at + offset
        left -= length
        if first < lowest or first + length > stop or left < 0:
            malformed(f"a key of {length} bytes at offset {offset}, outside its object or over another part", at)
        key = data[first : first + length]
        if length <= before and (length < before or key <= previous):
            malformed(f"key {key!r:.80} after {previous!r:.80}, expected ascending keys", first)
        try:
            keys.append(_key(key))
        except UnicodeDecodeError as error:
            malformed(f"{error.reason} in a key, expected UTF-8", first + error.start)
        before, previous = length, key
    budget[0] = left
    return keys


@lru_cache(maxsize=1024)  # most documents of a column have the same keys
def _key(data: bytes) -> str:
    return encode_basestring(data.decode()) + ": "


def _joined(keys: list[str] | None, texts: list[str]) -> str:
    """Return the object or array of these values."""
    if keys is None:
        return f"[{', '.join(texts)}]"
    return "{" + ", ".join(map(add, keys, texts)) + "}"


def _number(data: bytes, budget: list[int], kind: int, at: int, end: int, _: int) -> str:
    form = NUMBERS[kind]
    if end - at < form.size:
        malformed(f"{end - at} bytes left, expected a number of {form.size}", at)
    spend(budget, form.size, at)
    (value,) = form.unpack_from(data, at)
    return _double(value, at) if kind == DOUBLE else str(value)


def _string(data: bytes, budget: list[int], _: int, at: int, end: int, __: int) -> str:
    start, stop = read_extent(data, at, end)
    spend(budget, stop - at, at)
    return _text(data[start:stop], start)


def _literal_value(data: bytes, _: list[int], __: int, at: int, end: int, ___: int) -> str:
    return _literal(data[at] if at < end else -1)


def _opaque(data: bytes, budget: list[int], _: int, at: int, end: int, __: int) -> Opaque:
    start, stop = read_extent(data, at + 1, end)
    spend(budget, stop - at, at)
    type_, payload = data[at], data[start:stop]
    return Opaque(_PRINT.get(type_, _base64)(payload, type_, at), type_, payload)


def read_extent(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Return start and end of the bytes whose length stands at `at`."""
    if at < end and data[at] < 0x80 and at + data[at] < end:
        return at + 1, at + 1 + data[at]
    length = 0
    for shift in range(0, 35, 7):
        if at >= end:
            malformed("the end, expected a length", at)
        byte = data[at]
        at += 1
        length |= (byte & 0x7F) << shift
        if byte < 0x80:
            if length > end - at:
                malformed(f"{end - at} bytes left, expected {length}", at)
            return at, at + length
    return malformed("a length of more than 5 bytes", at)


def spend(budget: list[int], size: int, at: int) -> None:
    """Take the bytes of one part from what may still be read. Raises MalformedLog when there are not so many."""
    budget[0] -= size
    if budget[0] < 0:
        malformed("parts that overlap", at)


def _text(data: bytes, at: int) -> str:
    try:
        return encode_basestring(data.decode())
    except UnicodeDecodeError as error:
        raise MalformedLog(f"binary JSON: {error.reason}, expected UTF-8", where=f"JSON byte {at + error.start}") from None


def malformed(found: str, at: int) -> NoReturn:
    """Raise MalformedLog: what was found in the document, and at which of its bytes."""
    raise MalformedLog(f"binary JSON: {found}", where=f"JSON byte {at}")


def _literal(raw: int) -> str:
    text = LITERALS.get(raw & 0xFF)
    if text is None:
        raise MalformedLog(f"binary JSON: literal {raw & 0xFF}, expected 0, 1 or 2")
    return text


def _double(value: float, at: int) -> str:
    """Return the shortest digits that give the double back, with an exponent from 1e15 and below 1e-15."""
    text = repr(value)
    if "e" not in text and (abs(value) < 1e15 or not text.endswith(".0")):
        if not isfinite(value):
            malformed(f"double {text}, expected a finite one", at)
        return text
    from decimal import Decimal  # noqa: PLC0415 - only here

    exact = Decimal(text).normalize()
    _, digits, _ = exact.as_tuple()
    point = exact.adjusted() + 1
    if -14 <= point < len(digits):
        return format(exact, "f")
    mantissa = "".join(map(str, digits))
    return f"{'-' * (value < 0)}{mantissa[0]}{'.' * (len(mantissa) > 1)}{mantissa[1:]}e{point - 1}"


def _decimal(payload: bytes, _: int, at: int) -> str:
    """Return the digits: groups of 9 in 4 bytes, what is left over at either end in fewer; the first bit is set when positive."""
    if len(payload) < 2:
        malformed("a decimal without precision and scale", at)
    precision, scale = payload[0], payload[1]
    whole = precision - scale
    head, tail = _GROUP_BYTES[whole % 9] if whole >= 0 else 0, _GROUP_BYTES[scale % 9]
    size = head + whole // 9 * 4 + scale // 9 * 4 + tail
    if not (0 < precision <= DECIMAL_DIGITS_MAX and scale <= 30 and whole >= 0 and len(payload) == 2 + size):
        malformed(f"decimal({precision},{scale}) in {len(payload) - 2} bytes", at)
    flipped = bytes([payload[2] ^ 0x80]) + payload[3:]
    negative = payload[2] < 0x80
    if negative:
        flipped = bytes(byte ^ 0xFF for byte in flipped)
    groups, start = "", 0
    for width, digits in [(head, whole % 9), *[(4, 9)] * (whole // 9 + scale // 9), (tail, scale % 9)]:
        number = int.from_bytes(flipped[start : start + width], "big")
        if number >= 10**digits:
            malformed(f"{number} as {digits} decimal digits", at)
        groups += f"{number:0{digits}}" if digits else ""
        start += width
    return f"{'-' * negative}{groups[:whole].lstrip('0') or '0'}{'.' * (scale > 0)}{groups[whole:]}"


def _date(payload: bytes, type_: int, at: int) -> str:
    return f'"{_datetime(payload, type_, at)[1:11]}"'


def _datetime(payload: bytes, _: int, at: int) -> str:
    packed = _packed(payload, at)
    days, clock = packed >> 41, packed >> 24 & 0x1FFFF
    year, month = divmod(days >> 5, 13)
    if packed < 0 or year > 9999 or clock >> 12 > 23:
        malformed(f"temporal value {packed}", at)
    return f'"{year:04}-{month:02}-{days & 31:02} {_clock(packed, clock, at)}"'


def _time(payload: bytes, _: int, at: int) -> str:
    packed = _packed(payload, at)
    return f'"{"-" * (packed < 0)}{_clock(abs(packed), abs(packed) >> 24, at)}"'


def _packed(payload: bytes, at: int) -> int:
    if len(payload) != 8:
        malformed(f"a temporal value of {len(payload)} bytes, expected 8", at)
    return int.from_bytes(payload, "little", signed=True)


def _clock(packed: int, clock: int, at: int) -> str:
    hour, minute, second, micro = clock >> 12, clock >> 6 & 63, clock & 63, packed & 0xFFFFFF
    if hour > 838 or minute > 59 or second > 59 or micro > 999_999:
        malformed(f"temporal value {packed}", at)
    return f"{hour:02}:{minute:02}:{second:02}.{micro:06}"


def _characters(payload: bytes, type_: int, at: int) -> str:
    """Return text as text: what MySQL 9.7 prints of a value MySQL 5.7 made of bytes. Where it prints nothing, base64 like 5.7."""
    try:
        return encode_basestring(payload.decode())
    except UnicodeDecodeError:
        return _base64(payload, type_, at)


def _base64(payload: bytes, type_: int, _: int) -> str:
    """Return the bytes as the server prints them: base64 in lines of 76."""
    digits = b64encode(payload).decode()
    lines = [digits[start : start + 76] for start in range(0, len(digits), 76)]
    return encode_basestring(f"base64:type{type_}:" + "\n".join(lines))


def _sql(node: Node) -> str:
    """Return SQL for the value as an argument of JSON_ARRAY or JSON_OBJECT."""
    if isinstance(node, str):
        return f"CAST({_sql_text(node)} AS JSON)"
    if isinstance(node, Opaque):
        make = _MAKE.get(node.type)
        if make is None:
            raise UnsupportedLog(f"no SQL makes a JSON value of opaque type {node.type}")
        return make(node)
    if node.keys is None:
        return f"JSON_ARRAY({', '.join(map(_sql, node.values))})"
    names = (_sql_text(loads(key[:-2])) for key in node.keys)
    return f"JSON_OBJECT({', '.join(f'{name}, {_sql(value)}' for name, value in zip(names, node.values, strict=True))})"


def _sql_text(text: str) -> str:
    """Return a literal; hex where a backslash would mean different things in different sql_modes."""
    return f"_utf8mb4 X'{text.encode().hex()}'" if "\\" in text else "_utf8mb4'" + text.replace("'", "''") + "'"


def _sql_decimal(node: Opaque) -> str:
    return f"CAST('{node.text}' AS DECIMAL({min(node.payload[0], 65)},{node.payload[1]}))"


def _sql_temporal(type_: str) -> Callable[[Opaque], str]:
    return lambda node: f"CAST('{node.text[1:-1]}' AS {type_})"


def _sql_bytes(type_: str, size_max: int) -> Callable[[Opaque], str]:
    """Return the maker of a value of a binary column type: only a column has such a type, and JSON_TABLE is one without a table."""

    def make(node: Opaque) -> str:
        size = len(node.payload)
        if size > size_max:
            raise UnsupportedLog(f"a JSON value of opaque type {node.type} has {size} bytes, expected at most {size_max}")
        return _sql_column(f"JSON_ARRAY(X'{node.payload.hex()}')", type_.format(size))

    return make


def _sql_bit(node: Opaque) -> str:
    if not 0 < len(node.payload) <= 8:
        raise UnsupportedLog(f"a JSON value of opaque type {node.type} has {len(node.payload)} bytes, expected 1 to 8")
    return _sql_column(f"'[{int.from_bytes(node.payload, 'big')}]'", f"BIT({8 * len(node.payload)})")


def _sql_column(source: str, type_: str) -> str:
    return f"(SELECT v FROM JSON_TABLE({source}, '$[0]' COLUMNS (v {type_} PATH '$' ERROR ON ERROR)) AS t)"  # noqa: S608 - hex, digits and a type of ours


class Layout(NamedTuple):
    """How an object or array is laid out.

    Attributes:
        head, key, entry: count and size; a key entry; a value entry.
        inline: makers of the text of the values that stand in their entry.
        keyed: it is an object.
    """

    head: Struct
    key: Struct
    entry: Struct
    inline: dict[int, Callable[[int], str]]
    keyed: bool


_INLINE_SMALL: dict[int, Callable[[int], str]] = {
    LITERAL: _literal,
    INT16: lambda raw: str((raw & 0xFFFF ^ 0x8000) - 0x8000),
    UINT16: lambda raw: str(raw & 0xFFFF),
}
_INLINE_LARGE = _INLINE_SMALL | {INT32: lambda raw: str((raw ^ 0x80000000) - 0x80000000), UINT32: str}
_SMALL = (Struct("<HH"), Struct("<HH"), Struct("<BH"), _INLINE_SMALL)
_LARGE = (Struct("<II"), Struct("<IH"), Struct("<BI"), _INLINE_LARGE)
LAYOUTS = {
    SMALL_OBJECT: Layout(*_SMALL, keyed=True),
    LARGE_OBJECT: Layout(*_LARGE, keyed=True),
    SMALL_ARRAY: Layout(*_SMALL, keyed=False),
    LARGE_ARRAY: Layout(*_LARGE, keyed=False),
}
NUMBERS = {
    INT16: Struct("<h"),
    UINT16: Struct("<H"),
    INT32: Struct("<i"),
    UINT32: Struct("<I"),
    INT64: Struct("<q"),
    UINT64: Struct("<Q"),
    DOUBLE: Struct("<d"),
}
_READERS: dict[int, Callable[[bytes, list[int], int, int, int, int], Node]] = {
    **dict.fromkeys(LAYOUTS, _container),
    **dict.fromkeys(NUMBERS, _number),
    LITERAL: _literal_value,
    STRING: _string,
    OPAQUE: _opaque,
}
_GROUP_BYTES = (0, 1, 1, 2, 2, 3, 3, 4, 4)  # of 0 to 8 decimal digits
# Opaque values by column type: how they print, and the SQL that makes one. Others print as base64, and no SQL makes them.
_PRINT: dict[int, Callable[[bytes, int, int], str]] = {
    7: _datetime,
    10: _date,
    11: _time,
    12: _datetime,
    246: _decimal,
    253: _characters,
}
_MAKE: dict[int, Callable[[Opaque], str]] = {
    7: _sql_temporal("DATETIME(6)"),  # a timestamp equals the datetime it prints as
    10: _sql_temporal("DATE"),
    11: _sql_temporal("TIME(6)"),
    12: _sql_temporal("DATETIME(6)"),
    15: lambda node: f"X'{node.payload.hex()}'",
    16: _sql_bit,
    246: _sql_decimal,
    249: _sql_bytes("TINYBLOB", 255),
    250: _sql_bytes("MEDIUMBLOB", 2**24 - 1),
    251: _sql_bytes("LONGBLOB", 2**32 - 1),
    252: _sql_bytes("BLOB", 65535),
    254: _sql_bytes("BINARY({})", 255),
}
