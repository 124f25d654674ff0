"""Column values: the bytes of one value in, the value out (see `event.Value`). No I/O, no tables, no rows.

Formats (MySQL 5.0-9.7, MariaDB 5.1-11.8; sql-common/my_time.cc, strings/decimal.cc):

    DATE         3 bytes  little-endian: year << 9 | month << 5 | day
    TIMESTAMP2   4 bytes  big-endian seconds since 1970 UTC, 0 is the zero timestamp; then the fraction
    DATETIME2    5 bytes  big-endian, 2**39 added: (year * 13 + month) << 22 | day << 17 | hour << 12 | minute << 6 | second; fraction
    TIME2        3 bytes  big-endian, 2**23 added: hour << 12 | minute << 6 | second; fraction; a negative one with a fraction is the
                          negative of all its bytes together
    fraction     1, 2, 3 bytes big-endian for 1-2, 3-4, 5-6 digits: hundredths, ten-thousandths, millionths
    DATETIME     8 bytes  little-endian decimal digits YYYYMMDDhhmmss;  TIMESTAMP 4 bytes seconds;  TIME 3 bytes decimal hhmmss
    the same with a fraction (MariaDB 5.3 and later, mysql56_temporal_format=OFF), all big-endian, units of the last digit:
                 TIMESTAMP seconds (4), fraction (1, 1, 2, 2, 3, 3 for 1 to 6 digits); DATETIME (6, 6, 7, 7, 7, 8) ((((year * 13 +
                 month) * 32 + day) * 24 + hour) * 60 + minute) * 60 + second; TIME (4, 4, 5, 5, 5, 6) 3020400 seconds added
    compressed   MariaDB: nothing for no bytes; 0 and the bytes; or 0x80 (zlib) + 8 (without its header) + size of length, length of the
                 bytes (1 to 4, big-endian), deflated bytes
    UUID, INET6  16 bytes, INET4 4 bytes, in the order they are written
    NEWDECIMAL   groups of 9 digits in 4 bytes, big-endian, the outer groups in fewer; the first bit inverted, all bits if negative

Text is as the database prints it: TIMESTAMP in UTC, fractions with the digits of the column, zero and impossible dates as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import TypeVar
import zlib

K = TypeVar("K")
V = TypeVar("V")
MEMO_MAX = 1 << 16
INFLATED_MAX = 1 << 30  # bytes of one value: max_allowed_packet cannot be more
_EPOCH = date(1970, 1, 1).toordinal()
_DIGIT_BYTES = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)


class Memo(dict[K, V]):
    """A function's results by its argument, forgotten when they become too many."""

    def __init__(self, function: Callable[[K], V]) -> None:
        super().__init__()
        self._function = function

    def __missing__(self, key: K) -> V:
        if len(self) >= MEMO_MAX:
            self.clear()
        value = self[key] = self._function(key)
        return value


def date_text(packed: int) -> str:
    """Return a packed DATE as `YYYY-MM-DD`."""
    return "%04d-%02d-%02d" % (packed >> 9, packed >> 5 & 15, packed & 31)


def day_text(packed: int) -> str:
    """Return the upper 23 bits of a DATETIME2 as `YYYY-MM-DD`."""
    year, month = divmod(packed >> 5, 13)
    return "%04d-%02d-%02d" % (year, month, packed & 31)


def clock_text(packed: int) -> str:
    """Return the lower 17 bits of a DATETIME2 as ` hh:mm:ss`, blank first."""
    return " %02d:%02d:%02d" % (packed >> 12, packed >> 6 & 63, packed & 63)


def epoch_day_text(days: int) -> str:
    """Return the day that many days after 1970-01-01."""
    return date.fromordinal(_EPOCH + days).isoformat()


def seconds_text(seconds: int) -> str:
    """Return a second of the day as ` hh:mm:ss`, blank first."""
    return " %02d:%02d:%02d" % (seconds // 3600, seconds // 60 % 60, seconds % 60)


DATES: Memo[int, str] = Memo(date_text)
DAYS: Memo[int, str] = Memo(day_text)
CLOCKS: Memo[int, str] = Memo(clock_text)
EPOCH_DAYS: Memo[int, str] = Memo(epoch_day_text)
SECONDS: Memo[int, str] = Memo(seconds_text)


def time_text(packed: int) -> str:
    """Return the 23 bits of a TIME2 without its sign as `hh:mm:ss`."""
    return "%02d:%02d:%02d" % (packed >> 12 & 0x3FF, packed >> 6 & 63, packed & 63)


TIMES: Memo[int, str] = Memo(time_text)


def _fraction(digits: int) -> tuple[int, int, str]:
    """Bits of a stored fraction, what divides it into units of the last digit, and its text as a format."""
    return 8 * ((digits + 1) // 2), 10 if digits & 1 else 1, ".%%0%dd" % digits


def datetime2_reader(digits: int) -> Callable[[bytes], str]:
    """Return the function that reads a DATETIME2 with that many digits of a second."""
    bits, unit, form = _fraction(digits)
    zero, mask, form = 0x80_0000_0000 << bits, (1 << bits) - 1, "%s%s" + form

    def read(data: bytes) -> str:
        packed = int.from_bytes(data, "big") - zero
        whole = packed >> bits
        return form % (DAYS[whole >> 17], CLOCKS[whole & 0x1FFFF], (packed & mask) // unit)

    def read_whole(data: bytes) -> str:
        packed = int.from_bytes(data, "big") - zero
        return DAYS[packed >> 17] + CLOCKS[packed & 0x1FFFF]

    return read if digits else read_whole


def timestamp2_reader(digits: int) -> Callable[[bytes], str]:
    """Return the function that reads a TIMESTAMP2 with that many digits of a second, in UTC."""
    bits, unit, form = _fraction(digits)
    mask, form = (1 << bits) - 1, "%s%s" + form if digits else "%s%s%.0s"

    def read(data: bytes) -> str:
        packed = int.from_bytes(data, "big")
        days, rest = divmod(packed >> bits, 86400)
        return form % (EPOCH_DAYS[days] if packed else "0000-00-00", SECONDS[rest], (packed & mask) // unit)

    return read


def time2_reader(digits: int) -> Callable[[bytes], str]:
    """Return the function that reads a TIME2, `-838:59:59.000000` to `838:59:59.000000`."""
    bits, unit, form = _fraction(digits)
    zero, mask, form = 0x80_0000 << bits, (1 << bits) - 1, "%s%s" + form if digits else "%s%s%.0s"

    def read(data: bytes) -> str:
        packed = int.from_bytes(data, "big") - zero
        sign, packed = ("-", -packed) if packed < 0 else ("", packed)
        return form % (sign, TIMES[packed >> bits], (packed & mask) // unit)

    return read


def old_datetime(data: bytes) -> str:
    """Return a DATETIME of before MySQL 5.6."""
    day, clock = divmod(int.from_bytes(data, "little"), 1_000_000)
    return "%04d-%02d-%02d %02d:%02d:%02d" % (day // 10000, day // 100 % 100, day % 100, clock // 10000, clock // 100 % 100, clock % 100)


def old_timestamp(data: bytes) -> str:
    """Return a TIMESTAMP of before MySQL 5.6, in UTC."""
    return _old_timestamp(data[::-1])


_old_timestamp = timestamp2_reader(0)


def old_time(data: bytes) -> str:
    """Return a TIME of before MySQL 5.6."""
    value = int.from_bytes(data, "little", signed=True)
    sign, value = ("-", -value) if value < 0 else ("", value)
    return "%s%02d:%02d:%02d" % (sign, value // 10000, value // 100 % 100, value % 100)


def hires_datetime_reader(digits: int) -> Callable[[bytes], str]:
    """Return the function that reads an old DATETIME with that many digits of a second, at least one."""
    unit, form = 10**digits, f"%04d-%02d-%02d %02d:%02d:%02d.%0{digits}d"

    def read(data: bytes) -> str:
        rest, fraction = divmod(int.from_bytes(data, "big"), unit)
        parts = []
        for base in (60, 60, 24, 32, 13):
            rest, part = divmod(rest, base)
            parts.append(part)
        return form % (rest, *reversed(parts), fraction)

    return read


def hires_timestamp_reader(digits: int) -> Callable[[bytes], str]:
    """Return the function that reads an old TIMESTAMP with that many digits of a second, at least one, in UTC."""
    form = f"%s.%0{digits}d"

    def read(data: bytes) -> str:
        fraction = int.from_bytes(data[4:], "big")
        return form % (_old_timestamp(data[:4]) if fraction or any(data[:4]) else "0000-00-00 00:00:00", fraction)

    return read


def hires_time_reader(digits: int) -> Callable[[bytes], str]:
    """Return the function that reads an old TIME with that many digits of a second, at least one."""
    unit, form = 10**digits, f"%s%02d:%02d:%02d.%0{digits}d"
    zero = 3_020_400 * unit  # 839 hours

    def read(data: bytes) -> str:
        value = int.from_bytes(data, "big") - zero
        seconds, fraction = divmod(abs(value), unit)
        return form % ("-" if value < 0 else "", seconds // 3600, seconds // 60 % 60, seconds % 60, fraction)

    return read


def inflate_column(data: bytes) -> bytes:
    """Return the bytes of a value of a compressed column. Raises ValueError."""
    if not data or not data[0]:
        return data[1:]
    width = data[0] & 7
    size = int.from_bytes(data[1 : 1 + width], "big")
    if data[0] >> 4 != 8 or not 1 <= width <= 4 or size > INFLATED_MAX:
        raise ValueError(f"a compressed value begins with {data[:5].hex()}, expected zlib and its length")
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS if data[0] & 8 else zlib.MAX_WBITS)
    try:
        plain = unpacker.decompress(data[1 + width :], size + 1)
    except zlib.error as error:
        raise ValueError(f"a compressed value: {error}") from None
    if len(plain) != size or not unpacker.eof:
        raise ValueError(f"a compressed value holds {len(plain)} bytes or more, it says {size}")
    return plain


def uuid_text(data: bytes) -> str:
    """Return a UUID as MariaDB prints it."""
    text = data.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def inet4_text(data: bytes) -> str:
    """Return an INET4 as MariaDB prints it."""
    return "%d.%d.%d.%d" % tuple(data)


def inet6_text(data: bytes) -> str:
    """Return an INET6 as MariaDB prints it: the first longest run of zeros as ::, also a single one; the end as IPv4 where meant."""
    words = [int.from_bytes(data[at : at + 2], "big") for at in range(0, 16, 2)]
    start, length = _longest_gap(words)
    if start == 0 and (length == 6 or (length == 5 and words[5] == 0xFFFF)):
        return f"::{'ffff:' if length == 5 else ''}{inet4_text(data[12:])}"
    before = ":".join(f"{word:x}" for word in words[:start])
    after = ":".join(f"{word:x}" for word in words[start + length :])
    return f"{before}::{after}" if length else after


def _longest_gap(words: list[int]) -> tuple[int, int]:
    best, run = (0, 0), 0
    for place, word in enumerate([*words, 1]):
        if word and run > best[1]:
            best = (place - run, run)
        run = 0 if word else run + 1
    return best


def decimal_size(precision: int, scale: int) -> int:
    """Return how many bytes a DECIMAL(precision, scale) takes. Raises ValueError for one that no server makes."""
    if not (0 < precision <= 65 and 0 <= scale <= 38 and scale <= precision):
        raise ValueError(f"DECIMAL({precision},{scale})")
    whole = precision - scale
    return whole // 9 * 4 + _DIGIT_BYTES[whole % 9] + scale // 9 * 4 + _DIGIT_BYTES[scale % 9]


def decimal_reader(precision: int, scale: int) -> Callable[[bytes], str]:
    """Return the function that turns the bytes of a DECIMAL into its digits, as many after the point as it has scale."""
    size = decimal_size(precision, scale)
    groups = list(_decimal_groups(precision, scale, size))
    top = 1 << (size * 8 - 1)
    one = 10**scale
    form = "%s%d.%0" + str(scale) + "d" if scale else "%s%d"

    def read(data: bytes) -> str:
        stored = int.from_bytes(data, "big")
        sign, stored = ("", stored ^ top) if stored & top else ("-", stored ^ (top - 1))
        value = 0
        for shift, mask, weight in groups:
            value += (stored >> shift & mask) * weight
        parts = (sign if value else "", *divmod(value, one)) if scale else (sign if value else "", value)
        return form % parts

    return read


def _decimal_groups(precision: int, scale: int, size: int) -> list[tuple[int, int, int]]:
    """Shift, mask and weight of each group of digits; the weight counts units of the last digit."""
    whole = precision - scale
    digits = [whole % 9, *[9] * (whole // 9)], [*[9] * (scale // 9), scale % 9]
    groups, bits, weight = [], size * 8, 10**precision
    for group in (*digits[0], *digits[1]):
        width = _DIGIT_BYTES[group] * 8
        bits -= width
        weight //= 10**group
        if width:
            groups.append((bits, (1 << width) - 1, weight))
    return groups
