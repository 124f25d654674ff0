"""Rows of a server's answer, read off the connection: every value in bytes, as it was sent. Reads; asks nothing, decodes nothing.

Law: PyMySQL reads what comes before the rows, and any error; a replay reads millions of rows, whose packets are taken apart here in a
sixth of its time. What is no whole packet in its turn is a lost connection.

    packet   length (3 bytes), number (1), then of each value its length and its bytes; NULL is FB
    length   0 to FA itself; FC, FD, FE: the next 2, 3, 8 bytes
    end      FE in a packet of less than 9 bytes; FF: an error
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Answer: TypeAlias = tuple[tuple[bytes | None, ...], ...]

LENGTH_MAX = 0xFFFFFF  # of a packet; one that long goes on in the next
NULL, END, ERROR = 0xFB, 0xFE, 0xFF
_LENGTHS = {0xFC: 2, 0xFD: 3, 0xFE: 8}


def read_rows(read: Callable[[int], bytes], columns: int, number: int, refuse: Callable[[bytes], None]) -> Answer:
    """Return the rows of a result of so many columns whose first packet has this number.

    `read` returns that many bytes, fewer at the end of the connection; `refuse` raises the error a packet tells. Raises OSError.
    """
    rows: list[tuple[bytes | None, ...]] = []
    places = range(columns)
    while True:
        data = _packet(read, number)
        number = number + 1 + len(data) // LENGTH_MAX & 0xFF
        first = data[0]
        if first == END and len(data) < 9:
            return tuple(rows)
        if first == ERROR:
            refuse(data)
        row: list[bytes | None] = []
        at = 0
        for _ in places:
            length = data[at]
            at += 1
            if length < NULL:
                end = at + length
            elif length == NULL:
                row.append(None)
                continue
            else:
                start = at + _LENGTHS[length]
                end = start + int.from_bytes(data[at:start], "little")
                at = start
            row.append(data[at:end])
            at = end
        if at != len(data):
            raise OSError("a row that is not whole")
        rows.append(tuple(row))


def _packet(read: Callable[[int], bytes], number: int) -> bytes:
    """Return what the next packet holds, and those it goes on in."""
    header = read(4)
    if len(header) < 4 or header[3] != number:
        raise OSError("the connection was closed" if len(header) < 4 else f"packet {header[3]} instead of {number}")
    length = header[0] | header[1] << 8 | header[2] << 16
    data = read(length)
    if len(data) < length or not length:
        raise OSError("the connection was closed within a packet")
    if length < LENGTH_MAX:
        return data
    return data + _rest(read, number + 1 & 0xFF)


def _rest(read: Callable[[int], bytes], number: int) -> bytes:
    parts: list[bytes] = []
    while True:
        header = read(4)
        length = int.from_bytes(header[:3], "little")
        if len(header) < 4 or header[3] != number or len(data := read(length)) < length:
            raise OSError("the connection was closed within a packet")
        parts.append(data)
        if length < LENGTH_MAX:
            return b"".join(parts)
        number = number + 1 & 0xFF
