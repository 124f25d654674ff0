"""Text for a terminal of 100 columns and for a pipe, so plain: times, sizes, numbers of things, and one line of anything.

Law: a value in, text out. Text of any origin is made printable before it is shown.
"""

from __future__ import annotations

from datetime import UTC, datetime

WIDTH = 100
MASKED = "***"


def several(number: int, what: str) -> str:
    """Return a number of things in words; nothing for none."""
    return f"{number:,} {what}{'' if number == 1 else 's'}" if number else ""


def listed(*texts: object) -> str:
    """Return the texts that there are, between commas."""
    return ", ".join(str(text) for text in texts if text)


def moment(time: datetime | None) -> str:
    """Return a time in UTC, with as many digits as it has; `no time` for None."""
    if time is None:
        return "no time"
    shown = time.astimezone(UTC)
    return f"{shown:%Y-%m-%d %H:%M:%S}{f'.{shown.microsecond:06}' if shown.microsecond else ''}Z"


def size(count: int) -> str:
    """Return a number of bytes in the unit that leaves at most four digits."""
    units = ("bytes", "KiB", "MiB", "GiB", "TiB")
    power = min(len(units) - 1, max(0, (count.bit_length() - 1) // 10))
    return f"{count / (1 << 10 * power):.{1 if power else 0}f} {units[power]}"


def one_line(text: str, width: int = WIDTH) -> str:
    """Return a text of any origin as one printable line of at most `width` characters; what a terminal would act on is escaped."""
    indent = len(text) - len(text.lstrip(" "))
    shown = " " * indent + "".join(mark if mark.isprintable() else " " if mark.isspace() else ascii(mark)[1:-1] for mark in text.strip())
    return shown if len(shown) <= width else shown[: width - 1] + "…"
