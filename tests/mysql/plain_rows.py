"""Row images read the slow, plain way: an oracle for `dblog_tasks.mysql.rows`, which it knows nothing of.

One function a column type, `(data, at, column) -> (value, at)`, written from the format (see `rows` and `values` for it). Nothing is
prepared, remembered or skipped; what ends early raises IndexError.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext
from ipaddress import IPv4Address
from struct import unpack
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID
import zlib

from dblog_tasks.mysql.charsets import decode_text
from dblog_tasks.mysql.json_binary import json_value


class Column(NamedTuple):
    """Type code and metadata as the log has them, signedness and character set from wherever they are known."""

    code: int
    meta: int = 0
    unsigned: bool = False
    charset: str = ""


Read: TypeAlias = Callable[[bytes, int, Column], tuple[Any, int]]


def take(data: bytes, at: int, size: int) -> tuple[bytes, int]:
    """Return that many bytes and the offset after them."""
    if at + size > len(data):
        raise IndexError(f"{size} bytes at {at}")
    return data[at : at + size], at + size


def number(width: int, *, signed: bool | None = None) -> Read:
    """Return the reader of an integer; signed None: the column says."""

    def read(data: bytes, at: int, column: Column) -> tuple[Any, int]:
        taken, at = take(data, at, width)
        return int.from_bytes(taken, "little", signed=not column.unsigned if signed is None else signed), at

    return read


def floating(width: int, form: str) -> Read:
    """Return the reader of a float."""

    def read(data: bytes, at: int, column: Column) -> tuple[Any, int]:
        taken, at = take(data, at, width)
        return unpack(form, taken)[0], at

    return read


def year(data: bytes, at: int, column: Column) -> tuple[Any, int]:
    """Return a YEAR: years since 1900, 0 for 0000."""
    taken, at = take(data, at, 1)
    return 1900 + taken[0] if taken[0] else 0, at


def date(data: bytes, at: int, column: Column) -> tuple[Any, int]:
    """Return a DATE."""
    taken, at = take(data, at, 3)
    bits = f"{int.from_bytes(taken, 'little'):024b}"
    return f"{int(bits[:15], 2):04}-{int(bits[15:19], 2):02}-{int(bits[19:], 2):02}", at


def fraction(data: bytes, at: int, digits: int) -> tuple[str, int]:
    """Return the text of a fraction, point included."""
    taken, at = take(data, at, (digits + 1) // 2)
    if not digits:
        return "", at
    return "." + str(int.from_bytes(taken, "big")).rjust(2 * len(taken), "0")[:digits], at


def datetime2(data: bytes, at: int, column: Column) -> tuple[Any, int]:
    """Return a DATETIME."""
    taken, at = take(data, at, 5)
    bits = f"{int.from_bytes(taken, 'big'):040b}"
    months, day, hour, minute, second = (int(bits[a:b], 2) for a, b in ((1, 18), (18, 23), (23, 28), (28, 34), (34, 40)))
    text, at = fraction(data, at, column.meta)
    return f"{months // 13:04}-{months % 13:02}-{day:02} {hour:02}:{minute:02}:{second:02}{text}", at


def timestamp2(data: bytes, at: int, column: Column) -> tuple[Any, int]:
    """Return a TIMESTAMP in UTC."""
    taken, at = take(data, at, 4)
    text, at = fraction(data, at, column.meta)
    seconds = int.from_bytes(taken, "big")
    if not seconds and not text.strip(".0"):
        return "0000-00-00 00:00:00" + text, at
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%d %H:%M:%S") + text, at


def time2(data: bytes, at: int, column: Column) -> tuple[Any, int]:
    """Return a TIME; one below zero is the negative of all its bytes together."""
    digits = column.meta
    size = 3 + (digits + 1) // 2
    taken, at = take(data, at, size)
    stored = int.from_bytes(taken, "big") - (1 << 8 * size - 1)
    positive = abs(stored).to_bytes(size, "big")
    bits = f"{int.from_bytes(positive[:3], 'big'):024b}"
    text, _ = fraction(positive, 3, digits)
    clock = f"{int(bits[2:12], 2):02}:{int(bits[12:18], 2):02}:{int(bits[18:], 2):02}"
    return ("-" if stored < 0 else "") + clock + text, at


def old_timestamp(data: bytes, at: int, column: Column) -> tuple[Any, int]:
    """Return a TIMESTAMP of before MySQL 5.6: seconds, little-endian; with a fraction big-endian, and the fraction as a number."""
    digits = column.meta
    taken, at = take(data, at, 4)
    if not digits:
        return timestamp2(taken[::-1], 0, Column(17))[0], at
    part, at = take(data, at, (digits + 1) // 2)
    number = int.from_bytes(part, "big")
    return timestamp2(taken + bytes([number != 0]), 0, Column(17, 1))[0][:19] + f".{number:0{digits}}", at


def old_datetime(data: bytes, at: int, column: Column) -> tuple[Any, int]:
    """Return a DATETIME of before MySQL 5.6: its digits as a number; with a fraction one number of all its parts."""
    digits = column.meta
    taken, at = take(data, at, (8, 6, 6, 7, 7, 7, 8)[digits])
    if digits:
        number = int.from_bytes(taken, "big")
        parts = []
        for size in (10**digits, 60, 60, 24, 32, 13):
            parts.append(number % size)
            number //= size
        part, second, minute, hour, day, month = parts
        return f"{number:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{part:0{digits}}", at
    text = str(int.from_bytes(taken, "little")).rjust(14, "0")
    return f"{text[:-10]}-{text[-10:-8]}-{text[-8:-6]} {text[-6:-4]}:{text[-4:-2]}:{text[-2:]}", at


def old_time(data: bytes, at: int, column: Column) -> tuple[Any, int]:
    """Return a TIME of before MySQL 5.6: its digits as a number; with a fraction units of the last digit since -839 hours."""
    digits = column.meta
    taken, at = take(data, at, (3, 4, 4, 5, 5, 5, 6)[digits])
    if digits:
        value = int.from_bytes(taken, "big") - 839 * 3600 * 10**digits
        text = str(abs(value) % 10**digits).rjust(digits, "0")
        seconds = abs(value) // 10**digits
        return f"{'-' if value < 0 else ''}{seconds // 3600:02}:{seconds % 3600 // 60:02}:{seconds % 60:02}.{text}", at
    value = int.from_bytes(taken, "little", signed=True)
    shown = str(abs(value)).rjust(6, "0")
    return f"{'-' if value < 0 else ''}{shown[:-4]}:{shown[-4:-2]}:{shown[-2:]}", at


def decimal(data: bytes, at: int, column: Column) -> tuple[Any, int]:
    """Return a DECIMAL, group of digits by group of digits."""
    precision, scale = divmod(column.meta, 256)
    whole = precision - scale
    groups = [whole % 9] + [9] * (whole // 9) + [9] * (scale // 9) + [scale % 9]
    widths = [(digits * 4 + 8) // 9 for digits in groups]
    taken, at = take(data, at, sum(widths))
    negative = not taken[0] & 0x80
    plain = bytes([taken[0] ^ 0x80]) + taken[1:]
    plain = bytes(byte ^ 0xFF for byte in plain) if negative else plain
    text, place = "", 0
    for digits, width in zip(groups, widths, strict=True):
        if digits:
            text += str(int.from_bytes(plain[place : place + width], "big")).rjust(digits, "0")
        place += width
    with localcontext(prec=80):
        value = Decimal(text).scaleb(-scale)
        value = -value if negative and value else value
    return format(value, "f"), at


def bits(data: bytes, at: int, column: Column) -> tuple[Any, int]:
    """Return a BIT as a number."""
    taken, at = take(data, at, -(-column.meta // 8))
    return int.from_bytes(taken, "big"), at


def members(data: bytes, at: int, column: Column) -> tuple[Any, int]:
    """Return the number of an ENUM, the bits of a SET."""
    taken, at = take(data, at, column.meta)
    return int.from_bytes(taken, "little"), at


def sized(data: bytes, at: int, width: int) -> tuple[bytes, int]:
    """Return bytes behind a length of that many bytes."""
    taken, at = take(data, at, width)
    return take(data, at, int.from_bytes(taken, "little"))


def text(data: bytes, column: Column) -> Any:
    """Return bytes as text, where they are."""
    return data if column.charset == "binary" else decode_text(data, column.charset)


def varchar(data: bytes, at: int, column: Column) -> tuple[Any, int]:
    """Return a VARCHAR; its length has two bytes when it can have more than 255."""
    taken, at = sized(data, at, 2 if column.meta > 255 else 1)
    return text(taken, column), at


def char(data: bytes, at: int, column: Column) -> tuple[Any, int]:
    """Return a CHAR; a BINARY, and what MariaDB makes of one, is filled up with zeros again."""
    value, at = varchar(data, at, column._replace(charset="binary") if column.charset in ADDRESSES else column)
    if not isinstance(value, bytes) or column.charset not in ("binary", *ADDRESSES):
        return value, at
    value += bytes(max(0, column.meta - len(value)))
    return ADDRESSES[column.charset](value) if column.charset in ADDRESSES else value, at


def inet6(data: bytes) -> str:
    """Return an INET6 as MariaDB prints it: the first longest run of zeros is two colons."""
    words = [f"{int.from_bytes(data[at : at + 2], 'big'):x}" for at in range(0, 16, 2)]
    for size in range(8, 0, -1):
        for start in range(9 - size):
            if words[start : start + size] == ["0"] * size:
                if start == 0 and (size == 6 or (size == 5 and words[5] == "ffff")):
                    return "::" + "ffff:" * (size == 5) + str(IPv4Address(data[12:]))
                return ":".join(words[:start]) + "::" + ":".join(words[start + size :])
    return ":".join(words)


ADDRESSES: Mapping[str, Callable[[bytes], str]] = {
    "uuid": lambda data: str(UUID(bytes=data)),
    "inet4": lambda data: str(IPv4Address(data)),
    "inet6": inet6,
}


def blob(data: bytes, at: int, column: Column) -> tuple[Any, int]:
    """Return a BLOB or TEXT."""
    taken, at = sized(data, at, column.meta)
    return text(taken, column), at


def unpacked(data: bytes) -> bytes:
    """Return the bytes of a value of a compressed column."""
    if data[:1] in (b"", b"\0"):
        return data[1:]
    return zlib.decompress(data[1 + (data[0] & 7) :], -15 if data[0] & 8 else 15)


def varchar_compressed(data: bytes, at: int, column: Column) -> tuple[Any, int]:
    """Return a VARCHAR that MariaDB compressed."""
    taken, at = sized(data, at, 2 if column.meta > 255 else 1)
    return text(unpacked(taken), column), at


def blob_compressed(data: bytes, at: int, column: Column) -> tuple[Any, int]:
    """Return a BLOB or TEXT that MariaDB compressed."""
    taken, at = sized(data, at, column.meta)
    return text(unpacked(taken), column), at


def raw(data: bytes, at: int, column: Column) -> tuple[Any, int]:
    """Return a geometry or vector as its bytes."""
    return sized(data, at, column.meta)


def json(data: bytes, at: int, column: Column) -> tuple[Any, int]:
    """Return a JSON document."""
    taken, at = sized(data, at, column.meta)
    return json_value(taken), at


READERS: Mapping[int, Read] = {
    1: number(1),
    2: number(2),
    9: number(3),
    3: number(4),
    8: number(8),
    4: floating(4, "<f"),
    5: floating(8, "<d"),
    13: year,
    10: date,
    14: date,
    17: timestamp2,
    18: datetime2,
    19: time2,
    7: old_timestamp,
    12: old_datetime,
    11: old_time,
    246: decimal,
    15: varchar,
    253: varchar,
    254: char,
    249: blob,
    250: blob,
    251: blob,
    252: blob,
    140: blob_compressed,
    141: varchar_compressed,
    247: members,
    248: members,
    16: bits,
    245: json,
    255: raw,
    242: raw,
}
Pair: TypeAlias = tuple[tuple[Any, ...] | None, tuple[Any, ...] | None]


def image(columns: Sequence[Column], data: bytes, at: int) -> tuple[tuple[Any, ...], int]:
    """Return one image: a bitmap of NULLs, then the other values."""
    nulls, at = take(data, at, (len(columns) + 7) // 8)
    row = []
    for index, column in enumerate(columns):
        value = None
        if not nulls[index // 8] & 1 << index % 8:
            value, at = READERS[column.code](data, at, column)
        row.append(value)
    return tuple(row), at


def pairs(operation: str, columns: Sequence[Column], data: bytes) -> list[Pair]:
    """Return the rows of an event, `data` being all its images."""
    found: list[Pair] = []
    at = 0
    while at < len(data):
        before = after = None
        if operation != "insert":
            before, at = image(columns, data, at)
        if operation != "delete":
            after, at = image(columns, data, at)
        found.append((before, after))
    return found


def images_of(body: bytes, *, version: int, update: bool) -> bytes:
    """Return the images of a rows event: what stands behind table id, flags, extra data, column count and bitmaps."""
    at = 8
    if version == 2:
        at += int.from_bytes(body[8:10], "little")
    count, at = (body[at], at + 1) if body[at] < 251 else (int.from_bytes(body[at + 1 : at + 3], "little"), at + 3)
    return body[at + (count + 7) // 8 * (1 + update) :]
