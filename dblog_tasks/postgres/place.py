"""Places in a log of PostgreSQL, as text and in order.

    log                                     position
    with LSNs                               <LSN of its transaction's end>            after the last record of a transaction
                                            <LSN of its transaction's end>/<n>        after its n-th record
    without (test_decoding as it comes)     <file name>:<offset of the record's end>
    the same, in a transaction whose end    <file name>:<offset of the end of what ended it>/<n>
    came after other transactions

Records share LSNs, and those of changes go back and forth, for a log has transactions in the order of their commits. The ends of
transactions rise in it, always: so a change is placed by the end of its transaction and its number in it. Any LSN will do as a bound.

Law: text only; nothing is read.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from dblog_tasks.errors import InvalidCheckpoint
from dblog_tasks.event import Position

DRIVER = "pg"
WHOLE = 1 << 62  # the number of a record after all others of its transaction
LSN_MAX = (1 << 64) - 1
_LSN = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})(?:/([0-9]{1,18}))?", re.ASCII)
_OFFSET = re.compile(r"(\+?[0-9]{1,18})(?:/([0-9]{1,18}))?", re.ASCII)
_NUMBERS = re.compile(r"([0-9]{1,18})", re.ASCII)


class Place(NamedTuple):
    """Where a record ends: the LSN (where the log has none: the offset) of the end of its transaction, and its number in it."""

    at: int
    number: int = WHOLE


BEGINNING = Place(0)
END = Place(WHOLE)


def lsn_text(lsn: int) -> str:
    """Return an LSN as the server prints it."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def place_text(place: Place, file: str = "") -> str:
    """Return a place as the text of a position; `file`: the log's name, where it has no LSNs."""
    at = f"{file}:{place.at}" if file else lsn_text(place.at)
    return at if place.number == WHOLE else f"{at}/{place.number}"


def place_of(position: Position, *, lsns: bool, file: str) -> Place:
    """Return the place of a position in a log; `lsns`: the log has them; `file`: its name.

    Raises InvalidCheckpoint for one of another driver, another file, or of the other kind.
    """
    _check_driver(position)
    found = _LSN.fullmatch(position.value)
    if found is not None and lsns:
        number = WHOLE if found[3] is None else int(found[3])
        return Place(int(found[1], 16) << 32 | int(found[2], 16), number)
    name, _, offset = position.value.rpartition(":")
    told = _OFFSET.fullmatch(offset)
    if found is not None or told is None:
        expected = "an LSN like 0/16B3748" if lsns else f"{file}:<offset>, for this log has no LSNs"
        raise InvalidCheckpoint(f"expected {expected}, got {position.value!r:.100}")
    if lsns:
        raise InvalidCheckpoint(
            "this log has LSNs, and the position is an offset", where=position.value, hint="write an LSN like 0/16B3748"
        )
    if name and name != file:
        raise InvalidCheckpoint(f"a position in another file than {file}", where=position.value)
    return Place(int(told[1]), WHOLE if told[2] is None else int(told[2]))


def position_key(position: Position) -> tuple[int, tuple[str | int, ...], int, int]:
    """Return what orders positions of one log. Raises InvalidCheckpoint on text that is no position."""
    _check_driver(position)
    found = _LSN.fullmatch(position.value)
    if found is not None:
        return 0, (), int(found[1], 16) << 32 | int(found[2], 16), WHOLE if found[3] is None else int(found[3])
    name, colon, offset = position.value.rpartition(":")
    told = _OFFSET.fullmatch(offset)
    if not colon or told is None:
        raise InvalidCheckpoint(f"expected an LSN or <file name>:<offset>, got {position.value!r:.100}")
    return (
        1,
        tuple(int(part) if part.isdecimal() else part for part in _NUMBERS.split(name)),
        int(told[1]),
        WHOLE if told[2] is None else int(told[2]),
    )


def _check_driver(position: Position) -> None:
    if position.driver not in ("", DRIVER):
        raise InvalidCheckpoint(f"a position of driver {position.driver!r}, expected {DRIVER!r}", where=position.value)
