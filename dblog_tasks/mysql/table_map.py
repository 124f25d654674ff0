"""TABLE_MAP events: what the log says of a table before its rows. No I/O.

Format (MySQL 5.1-9.7, MariaDB 5.1-11.8), after the 19 bytes of header:

    6   table id (4 in the oldest logs: post-header length 6)
    2   flags
    1+n+1   schema name: length, bytes, zero
    1+n+1   table name
    length  number of columns, then a type code each
    length  bytes of metadata, then 0 to 2 bytes a column by its type (METADATA_SIZE)
    bitmap  columns that can be NULL, lowest bit first
    then    optional metadata: type, length, value (binlog_row_metadata=MINIMAL, FULL)

A number marked length is a length-encoded integer. Servers before 5.1.18 end after the type codes: how wide a CHAR is, and so
where the next value begins, is then nowhere in the log. After a type that is not known no metadata can be told apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from dblog_tasks.errors import MalformedLog
from dblog_tasks.mysql.bodies import read_length
from dblog_tasks.mysql.charsets import CHARSET_OF_COLLATION, charset_of, decode_text

COLUMNS_MAX = 4096  # InnoDB has 1017, the server 4096

DECIMAL, TINY, SHORT, LONG, FLOAT, DOUBLE, NULL, TIMESTAMP, LONGLONG, INT24 = range(10)
DATE, TIME, DATETIME, YEAR, NEWDATE, VARCHAR, BIT, TIMESTAMP2, DATETIME2, TIME2 = range(10, 20)
TYPED_ARRAY, BLOB_COMPRESSED, VARCHAR_COMPRESSED = 20, 140, 141
VECTOR, JSON, NEWDECIMAL, ENUM, SET, TINY_BLOB, MEDIUM_BLOB, LONG_BLOB, BLOB, VAR_STRING, STRING, GEOMETRY = 242, *range(245, 256)

# Bytes of metadata by column type; 0 where a type is not named.
METADATA_SIZE: Mapping[int, int] = {
    FLOAT: 1,
    DOUBLE: 1,
    TIMESTAMP2: 1,
    DATETIME2: 1,
    TIME2: 1,
    VARCHAR: 2,
    VAR_STRING: 2,
    VARCHAR_COMPRESSED: 2,
    BIT: 2,
    NEWDECIMAL: 2,
    STRING: 2,
    ENUM: 2,
    SET: 2,
    TINY_BLOB: 1,
    BLOB: 1,
    MEDIUM_BLOB: 1,
    LONG_BLOB: 1,
    BLOB_COMPRESSED: 1,
    JSON: 1,
    GEOMETRY: 1,
    VECTOR: 1,
}
BLOB_LENGTH: Mapping[int, int] = {TINY_BLOB: 1, MEDIUM_BLOB: 3, LONG_BLOB: 4}  # bytes of a value's length, where the metadata says 0
KNOWN = frozenset({*METADATA_SIZE, DECIMAL, TINY, SHORT, LONG, NULL, TIMESTAMP, LONGLONG, INT24, DATE, TIME, DATETIME, YEAR, NEWDATE})
NUMERIC = frozenset({TINY, SHORT, INT24, LONG, LONGLONG, NEWDECIMAL, FLOAT, DOUBLE, YEAR})  # what has a bit of signedness; YEAR too
_BLOBS = {TINY_BLOB, BLOB, MEDIUM_BLOB, LONG_BLOB, BLOB_COMPRESSED}
CHARACTER = frozenset({STRING, VAR_STRING, VARCHAR, VARCHAR_COMPRESSED, VECTOR, *_BLOBS})  # what has a collation; VECTOR too
BINARY_COLLATION = 63


class WireColumn(NamedTuple):
    """A column as the log has it.

    Attributes:
        code: type code; STRING is resolved to ENUM and SET where it stands for them, TINY_BLOB and the like, which servers
            write as BLOB, to that.
        meta: the type's metadata: sizes, precision and scale, fraction digits.
        nullable: it can be NULL.
        name, unsigned, collation, labels: from optional metadata; None: the log does not say.
        visible: False for a column hidden from SELECT *.
    """

    code: int
    meta: int
    nullable: bool
    name: str | None = None
    unsigned: bool | None = None
    collation: int | None = None
    labels: tuple[str, ...] | None = None
    visible: bool = True

    @property
    def charset(self) -> str | None:
        """Character set of text and labels; None: the log does not say."""
        return None if self.collation is None else charset_of(self.collation)


class TableMap(NamedTuple):
    """A table as the log has it.

    Attributes:
        schema, name: of the table.
        columns: in the order of the rows.
        key: indexes of the primary key's columns; None: the log does not say.
        named: it has column names, and with them all of binlog_row_metadata=FULL.
        sized: it has the columns' metadata; servers before 5.1.18 left it out.
    """

    schema: str
    name: str
    columns: tuple[WireColumn, ...]
    key: tuple[int, ...] | None = None
    named: bool = False
    sized: bool = True


def read_table_map(body: bytes, where: str, *, mariadb: bool = False) -> TableMap:
    """Return what a TABLE_MAP says; `body` begins after table id and flags. Raises MalformedLog.

    `mariadb`: MariaDB wrote it, which counts geometries among the columns that have a collation.
    """
    try:
        return _read(body, OPTIONAL_MARIADB if mariadb else OPTIONAL)
    except (ValueError, IndexError) as error:
        raise MalformedLog(f"TABLE_MAP_EVENT cannot be read: {error}", where=where) from None


def _read(body: bytes, optional: Mapping[int, Fact]) -> TableMap:
    schema, at = _name(body, 0)
    table, at = _name(body, at)
    count, at = read_length(body, at)
    if count > COLUMNS_MAX:
        raise ValueError(f"{count} columns, expected at most {COLUMNS_MAX}")
    codes, at = _take(body, at, count)
    if at == len(body) and count:
        return TableMap(schema, table, tuple(WireColumn(code, 0, nullable=True) for code in codes), sized=False)
    size, at = read_length(body, at)
    metadata, at = _take(body, at, size)
    nulls, at = _take(body, at, (count + 7) // 8)
    types = list(_types(codes, metadata))
    facts: dict[str, Any] = {}
    for kind, value in _optional(body, at):
        reader = optional.get(kind)
        if reader is not None:
            facts.update(reader(value, types))
    facts["labels"] = {
        column: _label_text(members, facts.get("label_collations", {}).get(column))
        for column, members in (facts.get("raw_enum", {}) | facts.get("raw_set", {})).items()
    }
    if "names" in facts and len(facts["names"]) != count:
        raise ValueError(f"{len(facts['names'])} names for {count} columns")
    columns = tuple(_column(index, *types[index], bool(nulls[index >> 3] >> (index & 7) & 1), facts) for index in range(count))
    named = "names" in facts
    key = facts.get("key", () if named else None)
    if key and max(key) >= count:
        raise ValueError(f"key column {max(key)} of {count}")
    return TableMap(schema, table, columns, key, named)


def _column(index: int, code: int, meta: int, nullable: bool, facts: Mapping[str, Any]) -> WireColumn:  # noqa: FBT001 - a value of the record
    return WireColumn(
        code,
        meta,
        nullable,
        facts["names"][index] if "names" in facts else None,
        facts["unsigned"].get(index, False) if "unsigned" in facts else None,
        facts.get("label_collations" if code in (ENUM, SET) else "collations", {}).get(index),
        facts.get("labels", {}).get(index),
        facts.get("visible", {}).get(index, True),
    )


def _name(body: bytes, at: int) -> tuple[str, int]:
    data, at = _take(body, at + 1, body[at])
    if body[at]:
        raise ValueError(f"a name at {at} is not ended by a zero byte")
    return data.decode("utf-8"), at + 1


def _take(body: bytes, at: int, size: int) -> tuple[bytes, int]:
    if at + size > len(body):
        raise ValueError(f"{size} bytes expected at {at}, {max(0, len(body) - at)} are there")
    return body[at : at + size], at + size


def _types(codes: bytes, metadata: bytes) -> Iterator[tuple[int, int]]:
    """Yield type code and metadata a column; metadata is u16 little-endian but for two bytes that mean two things."""
    at, strange = 0, False
    for code in codes:
        strange = strange or code not in KNOWN
        if strange:
            yield code, 0
            continue
        size = METADATA_SIZE.get(code, 0)
        data, at = _take(metadata, at, size)
        if code in (STRING, ENUM, SET):
            yield _string_type(data[0], data[1])
        elif code == NEWDECIMAL:
            yield code, data[0] << 8 | data[1]
        elif code == BIT:
            if data[0] > 7 or data[1] > 8:
                raise ValueError(f"BIT of {data[1]} bytes and {data[0]} bits")
            yield code, data[1] * 8 + data[0]
        else:
            size_of_length = BLOB_LENGTH.get(code)
            yield (BLOB if size_of_length else code), int.from_bytes(data, "little") or size_of_length or 0


def _string_type(first: int, second: int) -> tuple[int, int]:
    """STRING holds the real type in its first byte; for CHAR two bits of it, inverted, are the upper bits of the length."""
    if first in (ENUM, SET):
        return first, second
    if first & 0x30 != 0x30:
        return STRING, second | (first & 0x30 ^ 0x30) << 4
    return STRING, second


def _optional(body: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    while at < len(body):
        kind = body[at]
        size, at = read_length(body, at + 1)
        value, at = _take(body, at, size)
        yield kind, value


Types = list[tuple[int, int]]
Fact = Callable[[bytes, Types], dict[str, Any]]


def _label_text(members: tuple[bytes, ...], collation: int | None) -> tuple[str, ...] | None:
    """Members as text; None when one of them is not text in its character set, or nobody knows that: then the numbers have to do."""
    charset = "utf8mb4" if collation is None else CHARSET_OF_COLLATION.get(collation, "binary")
    texts = [decode_text(member, charset) for member in members]
    return tuple(text for text in texts if isinstance(text, str)) if all(isinstance(text, str) for text in texts) else None


def _columns_of(types: Types, codes: frozenset[int]) -> list[int]:
    return [index for index, (code, _) in enumerate(types) if code in codes]


def _signedness(value: bytes, types: Types) -> dict[str, Any]:
    """One bit a numeric column, highest first: it is unsigned. The one of YEAR is set and says nothing."""
    bits = {column: bool(value[bit >> 3] >> (7 - (bit & 7)) & 1) for bit, column in enumerate(_columns_of(types, NUMERIC))}
    return {"unsigned": {column: bit for column, bit in bits.items() if types[column][0] != YEAR}}


def _lengths(value: bytes) -> list[int]:
    numbers, at = [], 0
    while at < len(value):
        number, at = read_length(value, at)
        numbers.append(number)
    return numbers


def _default_collation(name: str, codes: frozenset[int]) -> Fact:
    """A default, then pairs of (which of these columns, its own collation)."""

    def read(value: bytes, types: Types) -> dict[str, Any]:
        numbers = _lengths(value)
        columns = _columns_of(types, codes)
        own = dict(zip(numbers[1::2], numbers[2::2], strict=True))
        return {name: {column: own.get(place, numbers[0]) for place, column in enumerate(columns)}}

    return read


def _collations(name: str, codes: frozenset[int]) -> Fact:
    """A collation for each of these columns."""

    def read(value: bytes, types: Types) -> dict[str, Any]:
        return {name: dict(zip(_columns_of(types, codes), _lengths(value), strict=True))}

    return read


def _names(value: bytes, types: Types) -> dict[str, Any]:
    names, at = [], 0
    while at < len(value):
        size, at = read_length(value, at)
        name, at = _take(value, at, size)
        names.append(name.decode("utf-8"))
    return {"names": names}


def _labels(codes: frozenset[int]) -> Fact:
    """For each of these columns the number of its members and their text, in the column's character set."""

    def read(value: bytes, types: Types) -> dict[str, Any]:
        found, at = {}, 0
        for column in _columns_of(types, codes):
            count, at = read_length(value, at)
            members = []
            for _ in range(count):
                size, at = read_length(value, at)
                member, at = _take(value, at, size)
                members.append(member)
            found[column] = tuple(members)
        return {"raw_enum" if ENUM in codes else "raw_set": found}

    return read


def _key(value: bytes, types: Types) -> dict[str, Any]:
    return {"key": tuple(_lengths(value))}


def _prefix_key(value: bytes, types: Types) -> dict[str, Any]:
    return {"key": tuple(_lengths(value)[::2])}


def _visibility(value: bytes, types: Types) -> dict[str, Any]:
    return {"visible": {column: bool(value[column >> 3] >> (7 - (column & 7)) & 1) for column in range(len(types))}}


_LABELLED = frozenset({ENUM, SET})

# Optional metadata: MySQL 8.0-9.7 and MariaDB 10.5-11.8; unknown types are passed over, as the servers do.
OPTIONAL: Mapping[int, Fact] = {
    1: _signedness,
    2: _default_collation("collations", CHARACTER),
    3: _collations("collations", CHARACTER),
    4: _names,
    5: _labels(frozenset({SET})),
    6: _labels(frozenset({ENUM})),
    8: _key,
    9: _prefix_key,
    10: _default_collation("label_collations", _LABELLED),
    11: _collations("label_collations", _LABELLED),
    12: _visibility,
}
_WITH_GEOMETRY = CHARACTER | {GEOMETRY}
OPTIONAL_MARIADB: Mapping[int, Fact] = {
    **OPTIONAL,
    2: _default_collation("collations", _WITH_GEOMETRY),
    3: _collations("collations", _WITH_GEOMETRY),
}
