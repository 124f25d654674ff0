"""Integers of variable length, and pieces of bodies held against what is there. No I/O.

Law: ValueError and IndexError say what is wrong, the caller says where.

    first byte  value
    0 to 250    itself
    252         the next 2 bytes, little-endian
    253         the next 3
    254         the next 8

and, in tagged GTIDs, those of `read_variable`.
"""

from __future__ import annotations

from typing import NamedTuple

_WIDTHS = {252: 2, 253: 3, 254: 8}


class Length(NamedTuple):
    """A length-encoded integer and the offset after it."""

    value: int
    at: int


def read_length(data: bytes, at: int) -> Length:
    """Return the length-encoded integer at `at`. Raises ValueError, IndexError."""
    first = data[at]
    if first < 251:
        return Length(first, at + 1)
    width = _WIDTHS.get(first)
    if width is None or at + 1 + width > len(data):
        raise ValueError(f"length-encoded integer begins with {first} and {len(data) - at - 1} bytes follow")
    return Length(int.from_bytes(data[at + 1 : at + 1 + width], "little"), at + 1 + width)


def read_variable(data: bytes, at: int) -> Length:
    """Return the number at `at` as tagged GTIDs have them. Raises ValueError, IndexError.

    As many low one bits in the first byte as bytes follow; the value is what is above the zero bit after them.
    """
    first = data[at]
    extra = (~first & first + 1).bit_length() - 1 if first != 0xFF else 8
    value = int.from_bytes(exactly(data, at, extra + 1), "little") >> (extra + 1 if extra < 8 else 8)
    return Length(value, at + extra + 1)


def exactly(data: bytes, at: int, size: int) -> bytes:
    """Return `size` bytes from `at` on. Raises ValueError when they are not there."""
    if at + size > len(data):
        raise ValueError(f"{size} bytes expected at {at}, {max(0, len(data) - at)} are there")
    return data[at : at + size]


def number(data: bytes, at: int, size: int) -> int:
    """Return the little-endian number of `size` bytes at `at`. Raises ValueError when they are not there."""
    return int.from_bytes(exactly(data, at, size), "little")


def counted(data: bytes, at: int, count: int, size: int) -> int:
    """Return the count when as many entries of at least `size` bytes can follow. Raises ValueError when they cannot."""
    if count * size > len(data) - at:
        raise ValueError(f"{count} entries of {size} bytes or more expected at {at}, {max(0, len(data) - at)} bytes are there")
    return count


def uuid(data: bytes) -> str:
    """Return 16 bytes as a UUID is written. Raises ValueError for another number of bytes."""
    if len(data) != 16:
        raise ValueError(f"a server uuid of {len(data)} bytes")
    text = data.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
