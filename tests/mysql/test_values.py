"""Column values: every reader against values written another way, and against the plain reader."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from itertools import pairwise
from struct import pack
import zlib

from hypothesis import given, strategies as st
import pytest

from dblog_tasks.mysql import values
from tests.mysql import plain_rows

# Reader, bytes, text: bounds, zero values, and what no calendar has.
TEXTS: list[tuple[Callable[[bytes], str], str, str]] = [
    (values.datetime2_reader(0), "8000000000", "0000-00-00 00:00:00"),
    (values.datetime2_reader(0), "99ba420000", "2026-07-01 00:00:00"),
    (values.datetime2_reader(6), "fef3ff7efb0f423f", "9999-12-31 23:59:59.999999"),
    (values.datetime2_reader(3), "80000000002706", "0000-00-00 00:00:00.999"),
    (values.timestamp2_reader(0), "00000000", "0000-00-00 00:00:00"),
    (values.timestamp2_reader(6), "00000000000000", "0000-00-00 00:00:00.000000"),
    (values.timestamp2_reader(6), "00000000000001", "1970-01-01 00:00:00.000001"),
    (values.timestamp2_reader(0), "00000001", "1970-01-01 00:00:01"),
    (values.timestamp2_reader(2), "7fffffff63", "2038-01-19 03:14:07.99"),
    (values.timestamp2_reader(0), "ffffffff", "2106-02-07 06:28:15"),
    (values.time2_reader(0), "800000", "00:00:00"),
    (values.time2_reader(0), "b46efb", "838:59:59"),
    (values.time2_reader(0), "4b9105", "-838:59:59"),
    (values.time2_reader(0), "7fffff", "-00:00:01"),
    (values.time2_reader(1), "7ffffff6", "-00:00:00.1"),
    (values.time2_reader(2), "7fffffff", "-00:00:00.01"),
    (values.time2_reader(6), "7fffffffffff", "-00:00:00.000001"),
    (values.time2_reader(6), "4b9105000000", "-838:59:59.000000"),
    (values.old_datetime, pack("<Q", 20240229123456).hex(), "2024-02-29 12:34:56"),
    (values.old_datetime, "00" * 8, "0000-00-00 00:00:00"),
    (values.old_timestamp, "00" * 4, "0000-00-00 00:00:00"),
    (values.old_timestamp, pack("<I", 86399).hex(), "1970-01-01 23:59:59"),
    (values.old_time, "00" * 3, "00:00:00"),
    (values.old_time, (8385959).to_bytes(3, "little").hex(), "838:59:59"),
    (values.old_time, (-8385959).to_bytes(3, "little", signed=True).hex(), "-838:59:59"),
]


@pytest.mark.parametrize(("reader", "data", "text"), TEXTS, ids=lambda value: value if isinstance(value, str) else "")
def test_temporal_as_the_database_prints_it(reader: Callable[[bytes], str], data: str, text: str) -> None:
    """Bounds, zero values and dates of no calendar."""
    assert text == reader(bytes.fromhex(data))


@pytest.mark.parametrize("digits", range(7))
@given(data=st.binary(min_size=8, max_size=8))
def test_temporals_of_any_bytes_are_those_of_the_plain_reader(digits: int, data: bytes) -> None:
    """Whatever the bits, both say the same, but of fractions no server writes."""
    width = (digits + 1) // 2
    fraction = (int.from_bytes(data[5:], "big") % 10**digits * 10 ** (digits & 1)).to_bytes(width, "big")
    for reader, code, plain, size in (
        (values.datetime2_reader, 18, plain_rows.datetime2, 5),
        (values.timestamp2_reader, 17, plain_rows.timestamp2, 4),
    ):
        stored = data[:size] + fraction
        if code == 18:
            stored = bytes([stored[0] | 0x80]) + stored[1:]

        assert plain(stored, 0, plain_rows.Column(code, digits))[0] == reader(digits)(stored)


@pytest.mark.parametrize("digits", range(7))
@given(seconds=st.integers(0, 838 * 3600 + 59 * 60 + 59), part=st.integers(0, 999_999), negative=st.booleans())
def test_time_of_either_sign(digits: int, seconds: int, part: int, negative: bool) -> None:  # noqa: FBT001 - drawn
    """A time below zero is the negative of all its bytes together."""
    part %= 10**digits
    width = 3 + (digits + 1) // 2
    hours, rest = divmod(seconds, 3600)
    clock = hours << 12 | rest // 60 << 6 | rest % 60
    number = (clock << 8 * (width - 3)) + part * (10 if digits & 1 else 1)
    negative = negative and number > 0
    stored = ((1 << 8 * width - 1) + (-number if negative else number)).to_bytes(width, "big")
    text = f"{'-' if negative else ''}{hours:02}:{rest // 60:02}:{rest % 60:02}" + (f".{part:0{digits}}" if digits else "")

    assert text == values.time2_reader(digits)(stored)
    assert text == plain_rows.time2(stored, 0, plain_rows.Column(19, digits))[0]


SHAPES = st.integers(1, 65).flatmap(lambda precision: st.tuples(st.just(precision), st.integers(0, min(precision, 38))))


@given(SHAPES, st.data())
def test_decimal_of_any_size(shape: tuple[int, int], data: st.DataObject) -> None:
    """Digits, sign and scale come back; no zero is negative."""
    precision, scale = shape
    number = data.draw(
        st.integers(1 - 10**precision, 10**precision - 1) | st.sampled_from([0, 1, -1, 10**precision - 1, 1 - 10**precision])
    )
    digits, whole = str(abs(number)).rjust(precision, "0"), precision - scale
    cuts = [0, *range(whole % 9, whole + 1, 9)] if whole else [0]
    groups = [digits[a:b] for a, b in pairwise(cuts)] + [digits[at : at + 9] for at in range(whole, precision, 9)]
    stored = b"".join(int(group).to_bytes((len(group) * 4 + 8) // 9, "big") for group in groups if group)
    stored = bytes(byte ^ 0xFF for byte in stored) if number < 0 else stored
    stored = bytes([stored[0] ^ 0x80]) + stored[1:]
    text = values.decimal_reader(precision, scale)(stored)

    assert len(stored) == values.decimal_size(precision, scale)
    assert Decimal(text) == Decimal((number < 0, tuple(map(int, digits)), -scale))
    assert text == plain_rows.decimal(stored, 0, plain_rows.Column(246, precision << 8 | scale))[0]


@pytest.mark.parametrize(("precision", "scale"), [(0, 0), (66, 0), (65, 39), (5, 6), (-1, 0), (10, -1)])
def test_a_decimal_no_server_makes_is_refused(precision: int, scale: int) -> None:
    """65 digits at most, 38 of them behind the point."""
    with pytest.raises(ValueError, match="DECIMAL"):
        values.decimal_reader(precision, scale)


@given(st.integers(0, (1 << 24) - 1))
def test_date_of_any_bits(packed: int) -> None:
    """Days and months past the end of theirs stay as they are."""
    assert plain_rows.date(packed.to_bytes(3, "little"), 0, plain_rows.Column(10))[0] == values.date_text(packed)


def test_a_memo_forgets_when_it_holds_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is remembered is bounded, and what was forgotten is found again."""
    monkeypatch.setattr(values, "MEMO_MAX", 10)
    memo = values.Memo(str)

    assert [str(number) for number in range(100)] == [memo[number] for number in range(100)]
    assert len(memo) <= 10
    assert "3" == memo[3]


@pytest.mark.parametrize(
    "data",
    [
        b"\x82",
        b"\x80" + zlib.compress(b"abc"),
        b"\x85\0\0\0\0\3" + zlib.compress(b"abc"),
        b"\x71\3" + zlib.compress(b"abc"),
        b"\x81\2" + zlib.compress(b"abc"),
        b"\x81\4" + zlib.compress(b"abc"),
        b"\x81\3" + zlib.compress(b"abc")[:-5],
        b"\x89\3" + zlib.compress(b"abc"),
        b"\x84\xff\xff\xff\xff" + zlib.compress(bytes(1000)),
    ],
)
def test_a_compressed_value_that_is_not_what_it_says_is_refused(data: bytes) -> None:
    """Another method, another length, cut short; and nothing is inflated beyond what it says."""
    with pytest.raises(ValueError, match="a compressed value"):
        values.inflate_column(data)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("::", "0 0 0 0 0 0 0 0"),
        ("::1", "0 0 0 0 0 0 0 1"),
        ("::1.2.3.4", "0 0 0 0 0 0 102 304"),
        ("::ffff:1.2.3.4", "0 0 0 0 0 ffff 102 304"),
        ("::fffe:102:304", "0 0 0 0 0 fffe 102 304"),
        ("a::", "a 0 0 0 0 0 0 0"),
        ("1::2:3:0:0:4", "1 0 0 2 3 0 0 4"),
        ("1:0:2:3::7:8", "1 0 2 3 0 0 7 8"),
        ("1::2:3:4:5:6:7", "1 0 2 3 4 5 6 7"),
        ("1:2:3:4:5:6:7:8", "1 2 3 4 5 6 7 8"),
        ("::2:3:4:5:6:7:8", "0 2 3 4 5 6 7 8"),
    ],
)
def test_inet6_is_printed_as_mariadb_does(text: str, words: str) -> None:
    """As MariaDB 10.11.19 printed each of them."""
    assert text == values.inet6_text(b"".join(int(word, 16).to_bytes(2, "big") for word in words.split()))
