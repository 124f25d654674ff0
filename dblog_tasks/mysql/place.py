"""Places in a binary log: how they are written, ordered, and held against what the log has. No I/O.

    <file>:<offset>      the end of an event
    <file>:<offset>/<n>  inside a compressed transaction: the end of the event that holds it, and the number of the event inside

A place inside lies before the end of the event that holds it, and after all that stands before that event.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
import re
import sys
from typing import NamedTuple

from dblog_tasks.errors import InvalidCheckpoint
from dblog_tasks.event import Position
from dblog_tasks.mysql import binlog, payload

_POSITION = re.compile(r"(?:(?P<file>.*):)?(?P<offset>[0-9]{1,20})(?:/(?P<number>[1-9][0-9]{0,17}))?", re.DOTALL)


class Place(NamedTuple):
    """A place in one file; compared as places lie in the log.

    Attributes:
        offset: end of an event.
        number: of the event inside it that ends there; `WHOLE` for the end itself.
    """

    offset: int
    number: int

    @property
    def outer(self) -> int:
        """The offset up to which events lie before the place wholly."""
        return self.offset if self.number == WHOLE else self.offset - 1

    def __str__(self) -> str:
        return str(self.offset) if self.number == WHOLE else f"{self.offset}/{self.number}"


WHOLE = sys.maxsize
BEGINNING = Place(0, WHOLE)


def place_of(frame: binlog.Frame) -> Place:
    """Return where an event ends."""
    return Place(frame.end, frame.number if isinstance(frame, payload.InnerFrame) else WHOLE)


def split_position(position: Position) -> tuple[str, Place]:
    """Return file and place of a position. Raises InvalidCheckpoint for another driver's or one that is none."""
    if position.driver not in ("", "mysql"):
        raise InvalidCheckpoint(f"checkpoint driver {position.driver!r} does not match 'mysql'")
    found = _POSITION.fullmatch(position.value)
    if found is None:
        raise InvalidCheckpoint(f"invalid position {position.value!r:.80}", hint="write <file>:<offset>, like mysql-bin.000007:4523")
    return found["file"] or "", Place(int(found["offset"]), int(found["number"] or WHOLE))


def position_key(position: Position) -> tuple[str, int, int, int]:
    """Return the sort key of a position: series, number of the file, offset, number inside."""
    file, place = split_position(position)
    stem, _, number = file.rpartition(".")
    return (stem, int(number), *place) if number.isascii() and number.isdigit() else (file, 0, *place)


def checked(frames: Iterable[binlog.Frame], bounds: Iterable[Place | None], file: str) -> Iterator[binlog.Frame]:
    """Return the frames; they raise InvalidCheckpoint when a bound lies inside an event or past the end."""
    waiting = sorted({bound for bound in bounds if bound and bound.offset > binlog.HEADER_SIZE}, reverse=True)
    return _checked(frames, waiting, file) if waiting else iter(frames)


def _checked(frames: Iterable[binlog.Frame], waiting: list[Place], file: str) -> Iterator[binlog.Frame]:
    end = 0
    for frame in frames:
        end = frame.end
        while waiting and waiting[-1].offset <= end:
            _check(waiting.pop(), frame, file)
        yield frame
    if waiting and waiting[-1].offset > end:
        raise InvalidCheckpoint(f"position {file}:{waiting[-1]} is past the end of the file", hint=f"its last event ends at {end}")


def _check(bound: Place, frame: binlog.Frame, file: str) -> None:
    if bound.offset not in (frame.end, frame.start):
        raise InvalidCheckpoint(f"position {file}:{bound} lies inside an event", hint=f"events end at {frame.start} and {frame.end}")
    if bound.number == WHOLE:
        return
    inside = payload.count(frame, file) if frame.type == binlog.TRANSACTION_PAYLOAD and frame.end == bound.offset else 0
    if bound.number > inside:
        raise InvalidCheckpoint(f"position {file}:{bound}: the event that ends there holds {inside} events")
