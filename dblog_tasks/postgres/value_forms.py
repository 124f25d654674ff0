r"""Values of a plan in the form the target's session shows them, so that one text stands for one value. No I/O of its own.

Law: a log was decoded in a session of its own: its time zone, its interval style, its form of bytes. What surely has the target's form
already is left as it is; of anything else the server is asked what it makes of it, once for each value.

    type                          surely has the form
    timestamp with time zone      every offset in it is +00
    bytea                         \x, hexadecimal digits
    interval                      1 year 2 mons -3 days 04:05:06.7
    real, double precision        so few digits that none of them is too many
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
import re
from typing import TypeAlias

KEPT_MAX = 10_000  # answers kept for a column
Sure: TypeAlias = Callable[[str], bool]
_OFFSET = re.compile(r"\d([+-]\d\d(?::\d\d){0,2})(?= BC|[\"',)\]}]|$)")
_INTERVAL = re.compile(r"(?:(?:-?\d+ (?:years?|mons?|days?)|-?\d\d+:\d\d:\d\d(?:\.\d+)?)(?: |$))+")
_FEW_DIGITS = re.compile(r"-?(?=[\d.]{1,7}$)(?:0|[1-9]\d*)(?:\.\d+)?|NaN|-?Infinity")


def _in_utc(value: str) -> bool:
    return all(offset == "+00" for offset in _OFFSET.findall(value))


def _double(value: str) -> bool:
    if _FEW_DIGITS.fullmatch(value):
        return True
    try:
        shortest = repr(float(value))
    except ValueError:  # the server will say what it thinks of it
        return False
    return "e" not in shortest and value in (shortest, shortest.removesuffix(".0"))


# Type without `[]` -> what tells that a value surely has the form.
_SURE: Mapping[str, Sure] = {
    **dict.fromkeys(("timestamp with time zone", "tstzrange", "tstzmultirange"), _in_utc),
    "bytea": lambda value: value.startswith("\\x"),
    "bytea[]": lambda value: '"' not in value or value.count('"\\\\x') * 2 == value.count('"'),
    "interval": lambda value: _INTERVAL.fullmatch(value) is not None,
    "real": lambda value: _FEW_DIGITS.fullmatch(value) is not None,
    "double precision": _double,
}


def reading(kind: str, ask: Callable[[str], str]) -> Callable[[str], str] | None:
    """Return what gives values of a type the target's form; None where every log has it. `ask` gives what the server makes of one."""
    sure = _SURE.get(kind) or _SURE.get(kind.removesuffix("[]"))
    if sure is None:
        return None
    asked = lru_cache(KEPT_MAX)(ask)
    return lambda value: value if sure(value) else asked(value)
