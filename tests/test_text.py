"""Text that fits the screen, and cannot be made to act on it."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from hypothesis import given, strategies as st
import pytest

from dblog_tasks.text import moment, one_line, size


@given(st.text(), st.integers(1, 200))
def test_one_line_is_one_printable_line(text: str, width: int) -> None:
    """No text gets a line end, an escape sequence or more than its place onto the screen."""
    shown = one_line(text, width)

    assert shown.isprintable()
    assert len(shown) <= width


@pytest.mark.parametrize(
    ("count", "expected"), [(0, "0 bytes"), (1023, "1023 bytes"), (1024, "1.0 KiB"), (5 << 30, "5.0 GiB"), (1 << 60, "1048576.0 TiB")]
)
def test_size(count: int, expected: str) -> None:
    """Bytes are told in a unit that can be read."""
    assert expected == size(count)


def test_moment_is_utc_at_full_precision() -> None:
    """A time is told in UTC, whatever its zone, with its microseconds."""
    time = datetime(2026, 11, 23, 14, 2, 3, 45, tzinfo=timezone(timedelta(hours=2)))

    assert ["2026-11-23 12:02:03.000045Z", "2026-11-23 12:02:03Z", "no time"] == [
        moment(time),
        moment(time.replace(microsecond=0)),
        moment(None),
    ]
