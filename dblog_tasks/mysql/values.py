"""Column values: the bytes of one value in, the value out (see `event.Value`). No I/O, no tables, no rows.

Formats (MySQL 5.0-9.7, MariaDB 5.1-11.8; sql-common/my_time.cc, strings/decimal.cc):

    DATE         3 bytes  little-endian: year << 9 | month << 5 | day
    TIMESTAMP2   4 bytes  big-endian seconds since 1970 UTC, 0 is the zero timestamp; then the fraction
    DATETIME2    5 bytes  big-endian, 2**39 added: (year * 13 + month) << 22 | day << 17 | hour << 12 | minute << 6 | second; fraction
    TIME2        3 bytes  big-endian, 2**23 added: hour << 12 | minute << 6 | second; fraction; a negative one with a fraction is the
                          negative of all its bytes together
    fraction     1, 2, 3 bytes big-endian for 1-2, 3-4, 5-6 digits: hundredths, ten-thousandths, millionths
    DATETIME     8 bytes  little-endian decimal digits YYYYMMDDhhmmss;  TIMESTAMP 4 bytes seconds;  TIME 3 bytes decimal hhmmss
    NEWDECIMAL   groups of 9 digits in 4 bytes, big-endian, the outer groups in fewer; the first bit inverted, all bits if negative

Text is as the database prints it: TIMESTAMP in UTC, fractions with the digits of the column, zero and impossible dates as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")
MEMO_MAX = 1 << 16
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
