r"""Sets of GTIDs, as text that servers print and people write. No I/O.

Law: text in, a frozen `GtidSet` out; nothing here knows of events.

    MySQL     uuid:1-5:7-9, uuid:tag:1-3    as SHOW BINARY LOG STATUS prints it: blanks and line ends between the parts, also a
                                            line end as the client writes it in batches (\n); a uuid in either case, with or without
                                            dashes; a tag stands for the intervals after it, up to the next tag
    MariaDB   0-1-5                         this one
              0-1-5..90, 0-1-5..0-1-90      of this domain and server those with sequence numbers 5 to 90
              0-*-5..90                     of this domain, whichever server wrote them
              0-1-5, 1-1-3..7               several

The two kinds are never in one set. Sources: Gtid_set::add_gtid_text of MySQL 9.7; MariaDB has no notation for sets: this is ours.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
import re
from typing import NamedTuple, NoReturn

from dblog_tasks.errors import InvalidInput

LENGTH_MAX = 4 << 20  # characters: more than a server's gtid_executed grows to
MYSQL, MARIADB = "MySQL", "MariaDB"
_NUMBER_MAX: Mapping[str, int] = {MYSQL: (1 << 63) - 2, MARIADB: (1 << 64) - 1}
_UUID = re.compile(r"[0-9a-f]{8}(-?)[0-9a-f]{4}\1[0-9a-f]{4}\1[0-9a-f]{4}\1[0-9a-f]{12}", re.ASCII)
_TAG = re.compile(r"[a-z_][a-z0-9_]{0,31}", re.ASCII)
_INTERVAL = re.compile(r"([0-9]{1,20})(?:\s*-\s*([0-9]{1,20}))?", re.ASCII)
_MARIADB = re.compile(
    r"([0-9]{1,10})-([0-9]{1,10}|\*)-([0-9]{1,20})(?:\s*\.\.\s*(?:([0-9]{1,10})-([0-9]{1,10}|\*)-)?([0-9]{1,20}))?", re.ASCII
)
_EXPECTED = "write uuid:1-5:7-9 or uuid:tag:1-3 for MySQL, 0-1-5, 0-1-5..90 or 0-*-5..90 for MariaDB, several with commas between"


class Interval(NamedTuple):
    """Numbers from `first` to `last`, both included, of what `name` stands for: uuid, uuid:tag, or domain-server."""

    name: str
    first: int
    last: int


@dataclass(frozen=True)
class GtidSet:
    """GTIDs of one kind of server; sets that hold the same intervals are equal however they were written.

    Attributes:
        kind: MySQL or MariaDB.
        intervals: sorted; those of one name neither touch nor overlap.
    """

    kind: str
    intervals: tuple[Interval, ...]

    def holds(self, gtid: str) -> bool:
        """Return whether a GTID, written as this package writes them, is in the set.

        Raises InvalidInput for one of the other kind of server: such a set says nothing of it.
        """
        kind = MYSQL if ":" in gtid else MARIADB
        if kind != self.kind:
            raise InvalidInput(f"the GTID set is of {self.kind}, the log holds {gtid}", where=f"GTID set {self.text:.60}", hint=_EXPECTED)
        name, _, number = gtid.rpartition(":" if kind == MYSQL else "-")
        return self._has(name, int(number)) or (kind == MARIADB and self._has(f"{name.partition('-')[0]}-*", int(number)))

    def _has(self, name: str, number: int) -> bool:
        firsts, lasts = self._bounds.get(name, ((), ()))
        at = bisect_right(firsts, number)
        return at > 0 and number <= lasts[at - 1]

    def may_hold(self, name: str, first: int, last: int) -> bool:
        """Return whether any of the numbers from `first` to `last` of this kind of server's `name` is in the set."""
        names = (name, f"{name.partition('-')[0]}-*") if self.kind == MARIADB else (name,)
        return any(low <= last and first <= high for known in names for low, high in zip(*self._bounds.get(known, ((), ())), strict=True))

    @cached_property
    def _bounds(self) -> dict[str, tuple[list[int], list[int]]]:
        found: dict[str, tuple[list[int], list[int]]] = {}
        for name, first, last in self.intervals:
            firsts, lasts = found.setdefault(name, ([], []))
            firsts.append(first)
            lasts.append(last)
        return found

    @property
    def text(self) -> str:
        """The set as text that `parse` reads again; the same for equal sets."""
        if self.kind == MARIADB:
            return ",".join(f"{name}-{first}" if first == last else f"{name}-{first}..{last}" for name, first, last in self.intervals)
        names = dict.fromkeys(found.name for found in self.intervals)
        written = {name: [] for name in names}  # type: dict[str, list[str]]
        for name, first, last in self.intervals:
            written[name].append(f"{first}" if first == last else f"{first}-{last}")
        return ",".join(":".join((name, *parts)) for name, parts in written.items())


def parse(text: str) -> GtidSet:
    """Return the set a text says. Raises InvalidInput, with the part that cannot be read."""
    if len(text) > LENGTH_MAX:
        raise InvalidInput(f"the GTID set has {len(text)} characters, expected at most {LENGTH_MAX}")
    parts = [part for part in map(str.strip, text.replace("\\n", "\n").split(",")) if part]
    if not parts:
        raise InvalidInput("the GTID set is empty", hint=_EXPECTED)
    kind = MYSQL if ":" in parts[0] else MARIADB
    read = _mysql if kind == MYSQL else _mariadb
    found = sorted(interval for part in parts for interval in read(part))
    return GtidSet(kind, tuple(_merged(found)))


def _mysql(part: str) -> Iterator[Interval]:
    uuid, *rest = (piece.strip().lower() for piece in part.split(":"))
    if not _UUID.fullmatch(uuid):
        _refuse(part, f"{uuid!r:.60} is no server uuid")
    digits = uuid.replace("-", "")
    source = "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
    name, pending = source, True  # a uuid or tag without an interval after it
    for piece in rest:
        bounds = _INTERVAL.fullmatch(piece)
        if bounds:
            yield _interval(part, MYSQL, name, bounds[1], bounds[2])
        elif _TAG.fullmatch(piece) and not (pending and name != source):
            name = f"{source}:{piece}"
        else:
            _refuse(part, f"{piece!r:.60} is neither an interval nor a tag before one")
        pending = not bounds
    if pending:
        _refuse(part, "an interval is missing at the end")


def _mariadb(part: str) -> Iterator[Interval]:
    found = _MARIADB.fullmatch(part)
    if not found:
        _refuse(part, "not a GTID, nor a range of them")
    domain, server, first, domain_after, server_after, last = found.groups()
    if domain_after and (int(domain_after), server_after) != (int(domain), server):
        _refuse(part, f"a range is of one domain and server; write {domain}-*-{first}..{last} for any server of one domain")
    if server == "*" and not last:
        _refuse(part, f"write {part}..{first}: what any server wrote is a range")
    if any(int(number) >= 1 << 32 for number in (domain, server) if number != "*"):
        _refuse(part, "domain and server are below 4294967296")
    name = f"{int(domain)}-{server if server == '*' else int(server)}"
    yield _interval(part, MARIADB, name, first, last)


def _interval(part: str, kind: str, name: str, first: str, last: str | None) -> Interval:
    found = Interval(name, int(first), int(last or first))
    if not 1 <= found.first <= found.last <= _NUMBER_MAX[kind]:
        _refuse(part, f"numbers run upwards from 1 to {_NUMBER_MAX[kind]}")
    return found


def _merged(intervals: list[Interval]) -> Iterator[Interval]:
    """Yield sorted intervals, those that touch or overlap as one."""
    pending = intervals[0]
    for interval in intervals[1:]:
        if interval.name == pending.name and interval.first <= pending.last + 1:
            pending = pending._replace(last=max(pending.last, interval.last))
        else:
            yield pending
            pending = interval
    yield pending


def _refuse(part: str, why: str) -> NoReturn:
    raise InvalidInput(f"{' '.join(part.split())!r:.80} in the GTID set: {why}", hint=_EXPECTED)
