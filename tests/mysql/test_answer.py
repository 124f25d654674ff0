"""Rows off a connection: what a server packs is unpacked, and what is cut, out of turn or an error is never a row."""

from __future__ import annotations

import io

from hypothesis import given, strategies as st
import pytest

from dblog_tasks.mysql.answer import Answer, read_rows
from tests.examples import examples

END = b"\xfe\0\0\x02\0"
values = st.none() | st.binary(max_size=9) | st.sampled_from([250, 251, 255, 256, 65535, 65536]).map(bytes)


class Refused(Exception):
    """What an error packet is made."""


def refuse(data: bytes) -> None:
    raise Refused(data)


def value(data: bytes | None) -> bytes:
    """Return a value as the protocol has it."""
    if data is None:
        return b"\xfb"
    size = len(data)
    for limit, mark, width in ((251, b"", 1), (1 << 16, b"\xfc", 2), (1 << 24, b"\xfd", 3)):
        if size < limit:
            return mark + size.to_bytes(width, "little") + data
    return b"\xfe" + size.to_bytes(8, "little") + data


def packed(*payloads: bytes, number: int = 7) -> bytes:
    """Return payloads as packets, those of 16 MB and more in several."""
    stream = bytearray()
    for payload in payloads:
        for at in range(0, len(payload) + 1, 0xFFFFFF):
            part = payload[at : at + 0xFFFFFF]
            stream += len(part).to_bytes(3, "little") + bytes([number]) + part
            number = number + 1 & 0xFF
    return bytes(stream)


def read(stream: bytes, columns: int) -> Answer:
    return read_rows(io.BytesIO(stream).read, columns, 7, refuse)


@examples(50)
@given(data=st.data())
def test_rows_are_what_was_packed(data: st.DataObject) -> None:
    """Values of all lengths, and NULL."""
    columns = data.draw(st.integers(1, 5))
    rows = data.draw(st.lists(st.tuples(*[values] * columns), max_size=6))

    assert tuple(rows) == read(packed(*[b"".join(map(value, row)) for row in rows], END), columns)


def test_more_packets_than_a_number_counts() -> None:
    """The numbers begin again at 0."""
    rows = tuple((b"%d" % number, None) for number in range(600))

    assert rows == read(packed(*[b"".join(map(value, row)) for row in rows], END), 2)


@pytest.mark.parametrize("size", [0xFFFFFF - 4, 0xFFFFFF - 5, 0xFFFFFF])
def test_a_row_of_several_packets_is_one(size: int) -> None:
    """The last one may hold nothing."""
    rows = ((bytes(size),), (b"next",))

    assert rows == read(packed(*[value(row[0]) for row in rows], END), 1)


def test_an_error_among_rows_is_raised() -> None:
    """A lock that was not had comes after rows that were."""
    with pytest.raises(Refused):
        read(packed(value(b"row"), b"\xff\xb5\x04#HY000Lock wait timeout exceeded"), 1)


@examples(50)
@given(data=st.data())
def test_what_is_cut_or_out_of_turn_is_a_lost_connection(data: st.DataObject) -> None:
    """Wherever the connection ends; whichever packet is missing."""
    rows = data.draw(st.lists(st.tuples(values, values), min_size=2, max_size=5))
    payloads = [b"".join(map(value, row)) for row in rows]
    stream = packed(*payloads, END)
    with pytest.raises(OSError, match=r"clos"):
        read(stream[: data.draw(st.integers(0, len(stream) - 1))], 2)
    with pytest.raises(OSError, match="packet 8 instead of 7"):
        read(stream[4 + len(payloads[0]) :], 2)


@examples(50)
@given(st.binary(max_size=60), st.integers(1, 4))
def test_noise_is_an_error_or_rows(noise: bytes, columns: int) -> None:
    """Nothing else is raised than what the target takes for a lost connection."""
    try:
        found = read(packed(noise, END), columns)
    except (OSError, LookupError, Refused):
        return
    assert all(len(row) == columns for row in found)
