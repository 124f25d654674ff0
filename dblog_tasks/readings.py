"""How the values of a column are compared, by its type: what a row's value and a literal become, so that Python's operators mean it.

Law: types and values in, functions out; which of them a condition needs is `expression`'s to say. A value that cannot be read as its type
says is unknown (None), a literal that makes no sense is refused before any row is seen.

    columns of MySQL and MariaDB     compare as                             with literals
    integers, decimal, year, bit(n)  exact numbers                          numbers, 'numbers'
    float, double                    floats                                 numbers, 'numbers', rounded to their precision
    date, datetime, timestamp        instants (timestamps in UTC)           'YYYY-MM-DD[ hh:mm[:ss[.ffffff]]]': midnight
    time                             lengths of time                        '[-]hh:mm[:ss[.ffffff]]'
    char, varchar, text, json        characters exactly: no collation       'text'; X'hex' with UTF-8 character sets
    enum, set                        labels, in order of definition: 'a,b'  'text'; a number is the index, the bits
    binary, blob, geometry, vector   bytes exactly                          X'hex', 'text' as UTF-8
    uuid                             digits                                 'digits', with hyphens and braces or without

    columns of PostgreSQL, where other
    integer, oid, numeric            exact numbers, NaN the greatest        numbers, 'numbers', 'NaN', '[-]Infinity'
    real, double precision           floats, likewise                       the same, rounded to their precision
    boolean                          false before true                      TRUE, FALSE, 't', 'off', 'yes', …
    date, timestamp without …        instants, infinity too                 as above, '[-]infinity'
    timestamp with time zone         instants in UTC                        as above with +hh[:mm] or Z; without: UTC
    character varying, name          characters exactly: no collation       'text'
    character                        likewise, without blanks at the end    'text'
    bit, bit varying                 bits from the left                     '0101'

Columns of other types are compared with themselves only, as stored: arrays, jsonb, bytea, intervals, labels of an enum of PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import lru_cache, total_ordering
import re
import struct
from typing import Any, NamedTuple, TypeAlias

from dblog_tasks.event import Column

DIGITS_MAX = 1_000  # of a number, its exponent counted out

Literal: TypeAlias = int | Decimal | str | bytes | None


class Reading(NamedTuple):
    """How a column's values and literals are made comparable."""

    line: str  # columns of the same line can be compared with one another; empty: with themselves only
    load: Callable[[Any], Any] | None  # from a row's value; None for NULL and what is unknown. None: as it is
    literal: Callable[[Any], Any]  # from a literal; None for one that makes no sense here
    expected: str  # which literals do


def numeric(text: str) -> int | Decimal | None:
    """Return the number the digits say exactly; None when they say none, or one too long to compare."""
    found = _NUMBER.fullmatch(text)
    if found is None or len(text) > DIGITS_MAX or len(found["exponent"] or "") > 5:
        return None
    return Decimal(text) if found["fraction"] or found["exponent"] else int(text)


def _number(value: Literal) -> int | Decimal | None:
    number = numeric(value) if isinstance(value, str) else value
    return number if isinstance(number, int | Decimal) else None


def _rounded(form: str) -> Callable[[Literal], float | int | Decimal | None]:
    """Return the reader of a literal for floats of this size; one too large for it stays exact."""

    def read(value: Literal) -> float | int | Decimal | None:
        exact = _number(value)
        try:
            return exact if exact is None else float(struct.unpack(form, struct.pack(form, float(exact)))[0])
        except OverflowError:
            return exact

    return read


def _instant(value: Literal) -> str | None:
    found = _INSTANT.fullmatch(value) if isinstance(value, str) else None
    if found is None or any(int(found[part] or 0) > most for part, most in _INSTANT_MOST.items()):
        return None
    day, hour, minute, second, fraction = found.group("day", "hour", "minute", "second", "fraction")
    return f"{day} {hour or '00'}:{minute or '00'}:{second or '00'}.{fraction or '':0<6}"


def _span(value: Any) -> int | None:
    """Return a length of time in microseconds."""
    found = _SPAN.fullmatch(value) if isinstance(value, str) else None
    if found is None or int(found["minute"]) > 59 or int(found["second"] or 0) > 59:
        return None
    seconds = int(found["hour"]) * 3600 + int(found["minute"]) * 60 + int(found["second"] or 0)
    micro = seconds * 1_000_000 + int(f"{found['fraction'] or '':0<6}")
    return -micro if found["sign"] else micro


def _plain_digits(value: Any) -> Decimal | None:
    return Decimal(value) if type(value) is str and value.removeprefix("-").replace(".", "", 1).isdecimal() else None


def _not_nan(value: Any) -> float | None:
    return value if value == value else None  # noqa: PLR0124 - NaN is not itself


def _text(value: Any) -> str | None:
    return value if type(value) is str else None


def _octets(value: Any) -> bytes | None:
    return value if type(value) is bytes else value.encode("utf-8", "surrogatepass") if type(value) is str else None


def _textual(column: Column, kinds: frozenset[str]) -> Reading:
    if column.charset == "binary":
        return _BYTES
    return _BYTES if kinds == {"bytes"} and column.charset in _UTF8 else _TEXT


def _enum(column: Column, kinds: frozenset[str]) -> Reading:
    names = {0: "", **dict(enumerate(column.labels, start=1))}
    return _labelled(column, kinds, names.get)


def _set(column: Column, kinds: frozenset[str]) -> Reading:
    @lru_cache(maxsize=1024)
    def names(mask: Any) -> str | None:
        if type(mask) is not int or mask >> len(column.labels):
            return None
        return ",".join(label for bit, label in enumerate(column.labels) if mask >> bit & 1)

    return _labelled(column, kinds, names)


def _labelled(column: Column, kinds: frozenset[str], names: Callable[[Any], str | None]) -> Reading:
    if kinds == {"number"}:
        return _INTEGER
    return Reading("text", names, _text, "'text' or a number") if column.labels else _UNNAMED


@total_ordering
class _NaN:
    """The number that is none: equal to itself and greater than all others, as PostgreSQL has it."""

    def __eq__(self, other: object) -> bool:
        return self is other

    def __gt__(self, other: object) -> bool:
        return self is not other

    def __hash__(self) -> int:
        return id(self)


def _special(value: str) -> float | _NaN | None:
    """Return what the name of a number that has no digits stands for; None for anything else."""
    return _SPECIAL.get(value.strip().lower())


def _exact(value: Any) -> int | Decimal | float | _NaN | None:
    """Return the number a value of PostgreSQL's says, however long."""
    if type(value) is not str:
        return None
    try:
        return Decimal(value) if value[-1:].isdecimal() else _special(value)
    except InvalidOperation:
        return None


def _float_of(form: str) -> Callable[[Any], float | _NaN | None]:
    """Return the reader of a value of PostgreSQL's floats of this size."""

    def read(value: Any) -> float | _NaN | None:
        if type(value) is not str:
            return None
        try:
            return float(struct.unpack(form, struct.pack(form, float(value)))[0]) if value[-1:].isdecimal() else _special(value)
        except (OverflowError, ValueError):
            return None

    return read


def _or_special(read: Callable[[Literal], Any]) -> Callable[[Literal], Any]:
    """Return the reader of a literal that may be a number without digits, too."""

    def either(value: Literal) -> Any:
        special = _special(value) if isinstance(value, str) else None
        return read(value) if special is None else special

    return either


def _truth(value: Any) -> int | None:
    return _TRUTHS.get(value.strip().lower() if type(value) is str else value)


def _wide_instant(value: Any) -> str | None:
    """Return a date or time of day that sorts as text: those of MySQL as they are, PostgreSQL's of any year."""
    if type(value) is not str:
        return None
    if value[4:5] == "-" and value[-1:].isdecimal():
        return value + _MIDNIGHT[len(value) :]
    if value in _NEVER:
        return _NEVER[value]
    found = _FAR_DAY.fullmatch(value)
    if found is None:
        return None
    year = (
        f"-{10_000_000 - int(found['year'])}" if found["era"] else f":{int(found['year']):07}" if len(found["year"]) > 4 else found["year"]
    )
    rest = f"{found['rest']}"
    return f"{year}{rest}{_MIDNIGHT[4 + len(rest) :]}"


def _instant_or_never(value: Literal) -> str | None:
    return _NEVER.get(value.lower(), _instant(value)) if isinstance(value, str) else None


def _moment(value: Any) -> int | float | None:
    """Return a time with its offset from UTC (none: 0) in microseconds, of any year; midnight where it says only the day."""
    if type(value) is not str:
        return None
    found = _MOMENT.fullmatch(value)
    if found is None:
        return {"infinity": _INFINITY, "-infinity": -_INFINITY}.get(value.lower())
    parts = [int(found[name] or 0) for name in ("month", "date", "hour", "minute", "second")]
    cycle, year = divmod(1 - int(found["year"]) if found["era"] else int(found["year"]), 400)  # the calendar is the same again then
    hours, minutes, seconds = (int(part or 0) for part in found.group("hours", "minutes", "seconds"))
    offset = timedelta(hours=hours, minutes=minutes, seconds=seconds) * (-1 if found["sign"] == "-" else 1)
    try:
        moment = datetime(year + 400, *parts, int(f"{found['fraction'] or '':0<6}"), tzinfo=UTC) - offset  # type: ignore[arg-type, misc]
    except ValueError:
        return None
    return cycle * _CYCLE + (moment - _EPOCH) // timedelta(microseconds=1)


def _unpadded(value: Any) -> str | None:
    return value.rstrip(" ") if type(value) is str else None


def _bits(value: Any) -> str | None:
    return value if type(value) is str and not value.strip("01") else None


def _bit(column: Column, _kinds: frozenset[str]) -> Reading:
    return _INTEGER if column.type.endswith(")") else _BITS  # PostgreSQL's has no size here and is text


def _uuid(value: Any) -> str | None:
    digits = value.lower() if type(value) is str else ""
    digits = digits[1:-1] if digits[:1] + digits[-1:] == "{}" else digits
    return digits.replace("-", "") if _UUID.fullmatch(digits) else None


def _always(reading: Reading) -> Callable[[Column, frozenset[str]], Reading]:
    return lambda _column, _kinds: reading


_UTF8 = frozenset({"utf8mb4", "utf8mb3", "utf8", "ascii"})
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.(?P<fraction>\d*))?|\.\d+)(?:[eE](?P<exponent>[+-]?\d+))?", re.ASCII)
_INSTANT = re.compile(
    r"(?P<day>\d{4}-(?P<month>\d\d)-(?P<date>\d\d))"
    r"(?:[ T](?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:\.(?P<fraction>\d{1,6}))?)?)?",
    re.ASCII,
)
_INSTANT_MOST = {"month": 12, "date": 31, "hour": 23, "minute": 59, "second": 59}
_MIDNIGHT = "0000-00-00 00:00:00.000000"
_SPAN = re.compile(r"(?P<sign>-?)(?P<hour>\d{1,3}):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:\.(?P<fraction>\d{1,6}))?)?", re.ASCII)
_NAN, _INFINITY = _NaN(), float("inf")
_SPECIAL: Mapping[str, float | _NaN] = {
    "nan": _NAN,
    **dict.fromkeys(("infinity", "+infinity", "inf", "+inf"), _INFINITY),
    **dict.fromkeys(("-infinity", "-inf"), -_INFINITY),
}
_TRUTHS: Mapping[Any, int] = {
    **dict.fromkeys((1, "t", "true", "y", "yes", "on", "1"), 1),
    **dict.fromkeys((0, "f", "false", "n", "no", "off", "0"), 0),
}
_NEVER = {"infinity": "~", "-infinity": ""}  # after and before all digits
_FAR_DAY = re.compile(r"(?P<year>\d{4,7})(?P<rest>-\d\d-\d\d(?: \d\d:\d\d:\d\d(?:\.\d{1,6})?)?)(?P<era> BC)?", re.ASCII)
_MOMENT = re.compile(
    r"(?P<year>\d{4,7})-(?P<month>\d\d)-(?P<date>\d\d)"
    r"(?:[ T](?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:\.(?P<fraction>\d{1,6}))?)?)?"
    r"(?:Z|(?P<sign>[+-])(?P<hours>\d\d)(?::?(?P<minutes>[0-5]\d)(?::(?P<seconds>[0-5]\d))?)?)?(?P<era> BC)?",
    re.ASCII,
)
_EPOCH = datetime(400, 1, 1, tzinfo=UTC)
_CYCLE = 146_097 * 86_400_000_000  # microseconds in 400 years
_UUID = re.compile(r"[0-9a-f]{4}(?:-?[0-9a-f]{4}){7}")
AS_STORED = Reading("", None, lambda _: None, "IS NULL, or = or != with the same column of the other image")
_UNNAMED = Reading("", None, lambda _: None, "a number: the labels are not in the log, but a schema tells them")
_INTEGER = Reading("number", lambda value: _plain_digits(value) if type(value) is str else value, _number, "a number")
_TEXT = Reading("text", _text, _text, "'text'")
_BYTES = Reading("bytes", _octets, _octets, "X'hex' or 'text'")
_INSTANTS = Reading("instant", _wide_instant, _instant, "'YYYY-MM-DD' or 'YYYY-MM-DD hh:mm:ss.ffffff', and no LIKE")
_DAYS = Reading("instant", _wide_instant, _instant_or_never, "'YYYY-MM-DD', 'YYYY-MM-DD hh:mm:ss.ffffff' or '[-]infinity', and no LIKE")
_BITS = Reading("bits", _bits, _bits, "bits: '0101'")
# Column types and how they are read; the makers get the column and the kinds of the literals it is compared with.
READINGS: Mapping[str, Callable[[Column, frozenset[str]], Reading]] = {
    **dict.fromkeys(("tinyint", "smallint", "mediumint", "int", "bigint", "year"), _always(_INTEGER)),
    "decimal": _always(Reading("number", _plain_digits, _number, "a number")),
    "float": _always(Reading("float", _not_nan, _rounded("f"), "a number")),
    "double": _always(Reading("float", _not_nan, _rounded("d"), "a number")),
    **dict.fromkeys(("datetime", "timestamp"), _always(_INSTANTS)),
    "date": _always(_DAYS),
    "time": _always(Reading("time", _span, _span, "'hh:mm:ss.ffffff'")),
    **dict.fromkeys(("char", "varchar", "tinytext", "text", "mediumtext", "longtext"), _textual),
    "json": _always(_TEXT),
    "enum": _enum,
    "set": _set,
    **dict.fromkeys(("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", "geometry", "vector"), _always(_BYTES)),
    "bit": _bit,
    "uuid": _always(Reading("uuid", _uuid, _uuid, "a uuid: 'xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx'")),
    # Those only PostgreSQL has.
    **dict.fromkeys(("integer", "oid", "numeric"), _always(Reading("number", _exact, _or_special(_number), "a number"))),
    "real": _always(Reading("float", _float_of("f"), _or_special(_rounded("f")), "a number")),
    "double precision": _always(Reading("float", _float_of("d"), _or_special(_rounded("d")), "a number")),
    "boolean": _always(Reading("boolean", _truth, _truth, "TRUE or FALSE")),
    "timestamp without time zone": _always(_DAYS),
    "timestamp with time zone": _always(Reading("moment", _moment, _moment, "'YYYY-MM-DD hh:mm:ss+00' or '[-]infinity', and no LIKE")),
    "time without time zone": _always(Reading("time", _span, _span, "'hh:mm:ss.ffffff'")),
    **dict.fromkeys(("character varying", "name"), _always(_TEXT)),
    "character": _always(Reading("text", _unpadded, _unpadded, "'text'")),
    "bit varying": _always(_BITS),
}
