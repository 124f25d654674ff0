"""The header index of one closed log file: what its stretches hold, so that most of them need not be read again. No I/O.

A stretch is about STRETCH_SIZE bytes of the file, from the beginning of a transaction to the end of one.

    bytes  of an index
    8      magic dblogix1: its name and the version of its format
    32     SHA-256 of the rest
           JSON, packed with Zstandard:

    name       value
    log        identity of the file
    head       SHA-256 of its first bytes
    size       its bytes as stored
    sources    names of which its GTIDs are numbers: uuid, uuid:tag, or domain-server
    touched    [schema, table, operation, event type, events]; schema and table are null for what may have changed any table
    stretches  a list a column: the fields of `Stretch` but its start, in their order

Law: an index is made of a whole reading of a file that its server has closed, and trusted for no other file. What it cannot tell of a
stretch makes that opaque: XA transactions, whose time and outcome lie elsewhere, and transactions without an end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
import hashlib
from typing import Any, NamedTuple

import orjson
import zstandard

from dblog_tasks.mysql import binlog
from dblog_tasks.mysql.transactions import NOT_COMMITTED, Group, Touch

MAGIC = b"dblogix1"
STRETCH_SIZE = 1 << 20  # bytes; a longer transaction is a stretch of its own
THREADS_MAX, SOURCES_MAX = 64, 64  # that a stretch names; of one with more, none is known
TOUCHED_MAX = 50_000  # tables, operations and types of a file; one with more has no index
UNPACKED_MAX = 64 << 20
FIRST = len(binlog.MAGIC)  # where the first event starts
_NUMBER_MAX = 1 << 64
_CLOSING = frozenset({binlog.ROTATE, binlog.STOP})
_FROM_ELSEWHERE = binlog.FLAG_ARTIFICIAL | binlog.FLAG_RELAY

Span = tuple[int, int]  # microseconds since 1970


class Touched(NamedTuple):
    """Events of one table, operation and type. `table`: schema and name; None for what may have changed any table."""

    table: tuple[str, str] | None
    operation: str
    kind: int
    events: int


class Stretch(NamedTuple):
    """What a part of a file holds.

    Attributes:
        start, end: offsets in the file, unpacked; no transaction crosses them.
        events: by the transactions they are in.
        walked: by the walk over headers.
        transactions: how many.
        times: the first and the last of all its transactions, and events outside of any.
        span: of its transactions alone; None without one.
        touched: what it changed, as places in `HeaderIndex.touched`.
        gtids: first and last number by place in `HeaderIndex.sources`; None: not known.
        xids: the lowest and the highest; None without one.
        threads: who made its changes, 0 where the log does not tell; None: not known.
        opaque: it is to be read whatever is asked.
    """

    start: int
    end: int
    events: int
    walked: int
    transactions: int
    times: Span
    span: Span | None
    touched: tuple[int, ...]
    gtids: tuple[tuple[int, int, int], ...] | None
    xids: Span | None
    threads: tuple[int, ...] | None
    opaque: bool

    @property
    def begin(self) -> int:
        """Offset of the first byte to read: a file is read from its mark on."""
        return 0 if self.start == FIRST else self.start


@dataclass(frozen=True, slots=True)
class HeaderIndex:
    """The index of one file.

    Attributes:
        log, head, size: what tells the file: its identity, `digest` of its first bytes, bytes as stored.
        sources: names of which GTIDs are numbers.
        touched: all that the file changed.
        stretches: in order, without a gap.
    """

    log: str
    head: str
    size: int
    sources: tuple[str, ...]
    touched: tuple[Touched, ...]
    stretches: tuple[Stretch, ...]

    @property
    def end(self) -> int:
        """Bytes of the file, unpacked."""
        return self.stretches[-1].end

    def to_bytes(self) -> bytes:
        """Return the index as it is kept. Raises UnicodeEncodeError for names that are no text."""
        value = {
            "log": self.log,
            "head": self.head,
            "size": self.size,
            "sources": self.sources,
            "touched": [[*(found.table or (None, None)), *found[1:]] for found in self.touched],
            "stretches": [list(column) for column in list(zip(*self.stretches, strict=True))[1:]],
        }
        try:
            rest = zstandard.compress(orjson.dumps(value), 6)
        except orjson.JSONEncodeError as error:
            raise UnicodeEncodeError("utf-8", "", 0, 0, str(error)) from None
        return MAGIC + hashlib.sha256(rest).digest() + rest

    @classmethod
    def from_bytes(cls, data: bytes) -> HeaderIndex | None:
        """Return the index `to_bytes` wrote; None for anything else, a cut or damaged one too."""
        rest = data[len(MAGIC) + 32 :]
        if data[: len(MAGIC)] != MAGIC or hashlib.sha256(rest).digest() != data[len(MAGIC) : len(MAGIC) + 32]:
            return None
        with suppress(zstandard.ZstdError, ValueError, TypeError, KeyError, IndexError):
            with zstandard.ZstdDecompressor().stream_reader(rest) as reader:
                value = orjson.loads(reader.read(UNPACKED_MAX))
            touched = tuple(_touched(*found) for found in value["touched"])
            ends = [FIRST, *value["stretches"][0]]
            stretches = tuple(_stretch(*found) for found in zip(ends[:-1], *value["stretches"], strict=True))
            found = cls(
                str(value["log"]), str(value["head"]), _number(value["size"]), tuple(map(str, value["sources"])), touched, stretches
            )
            return found if found._is_sound() else None
        return None

    def _is_sound(self) -> bool:
        return bool(self.stretches) and all(
            found.start < found.end
            and all(place < len(self.touched) for place in found.touched)
            and all(place < len(self.sources) for place, _, _ in found.gtids or ())
            for found in self.stretches
        )


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value < _NUMBER_MAX:
        raise ValueError("not a number of an index")
    return value


def _numbers(values: Any) -> tuple[int, ...]:
    return tuple(map(_number, values))


def _four(values: Any) -> tuple[int, int, int, int]:
    end, events, walked, transactions = _numbers(values)
    return end, events, walked, transactions


def _span(values: Any) -> Span:
    first, last = _numbers(values)
    return first, last


def _touched(schema: Any, name: Any, operation: Any, kind: Any, events: Any) -> Touched:
    return Touched(None if schema is None else (str(schema), str(name)), str(operation), _number(kind), _number(events))


def _gtids(values: Any) -> Iterator[tuple[int, int, int]]:
    for value in values:
        place, first, last = _numbers(value)
        yield place, first, last


def _stretch(start: Any, *values: Any) -> Stretch:
    *counts, times, span, touched, gtids, xids, threads, opaque = values
    return Stretch(
        start,
        *_four(counts),
        _span(times),
        None if span is None else _span(span),
        _numbers(touched),
        None if gtids is None else tuple(_gtids(gtids)),
        None if xids is None else _span(xids),
        None if threads is None else _numbers(threads),
        bool(opaque),
    )


def _range(values: Sequence[int]) -> Span | None:
    return (min(values), max(values)) if values else None


def digest(head: bytes) -> str:
    """Return what tells two files apart whose first events are the same."""
    return hashlib.sha256(head).hexdigest()


class _Open:
    """The stretch that groups are being added to.

    Attributes:
        transactions: time, GTID, XID and thread of each.
        touched: what each changed.
        alone: times of what stands outside of any.
        events: in all of these.
    """

    __slots__ = ("alone", "events", "opaque", "touched", "transactions")

    def __init__(self) -> None:
        self.transactions: list[tuple[int, str, int, int]] = []
        self.touched: list[dict[Touch, int]] = []
        self.alone: list[int] = []
        self.events = 0
        self.opaque = False


class Recorder:
    """Makes the index of one file, of its groups from the first to the last."""

    def __init__(self, walked: int) -> None:
        """`walked`: what the walk over headers had counted before the file."""
        self._before = self._walked = walked
        self._open = _Open()
        self._start = self._end = FIRST
        self._touched: Counter[tuple[tuple[str, str] | None, str, int]] = Counter()
        self._places: dict[tuple[tuple[str, str] | None, str, int], int] = {}
        self._sources: dict[str, int] = {}
        self._stretches: list[Stretch] = []
        self._descriptions: list[binlog.Frame] = []
        self._last: binlog.Frame | None = None  # of the last group, when that is a single event

    def add(self, group: Group) -> bool:
        """Take in the next group; return whether the stretch is long enough to be closed."""
        found = self._open
        found.events += group.count
        if group.id is None:
            found.alone.append(group.time)
            self._alone(group)
        else:
            self._last = None
            found.transactions.append((group.time, group.gtid.gtid, group.xid, group.thread))
            found.touched.append(group.touched)
            if group.xa is not None or group.problem is NOT_COMMITTED:
                found.opaque = True
        self._end = group.end
        return group.end - self._start >= STRETCH_SIZE

    def _alone(self, group: Group) -> None:
        self._last = frame = next(group.outer())
        if frame.type == binlog.FORMAT_DESCRIPTION:
            self._descriptions.append(frame)

    def close(self, walked: int) -> None:
        """Close the stretch; `walked`: what the walk over headers has counted up to here."""
        found = self._open
        columns = list(zip(*found.transactions, strict=True)) or [(), (), (), ()]
        committed, gtids, xids, threads = columns
        times = [*committed, *found.alone]
        self._stretches.append(
            Stretch(
                self._start,
                self._end,
                found.events,
                walked - self._walked,
                len(committed),
                (min(times), max(times)),
                _range(committed),
                self._places_of(found.touched),
                self._ranges([gtid for gtid in gtids if gtid]),
                _range([xid for xid in xids if xid]),
                tuple(sorted(set(threads))) if len(set(threads)) <= THREADS_MAX else None,
                found.opaque,
            )
        )
        self._start, self._walked, self._open = self._end, walked, _Open()

    def _places_of(self, touched: Iterable[dict[Touch, int]]) -> tuple[int, ...]:
        counts: dict[Touch, int] = {}
        for each in touched:
            for touch, events in each.items():
                counts[touch] = counts.get(touch, 0) + events
        found = set()
        for (layout, operation, kind), events in counts.items():
            named = (None if layout is None else layout.name, operation, kind)
            self._touched[named] += events
            found.add(self._places.setdefault(named, len(self._places)))
        return tuple(sorted(found))

    def _ranges(self, gtids: Sequence[str]) -> tuple[tuple[int, int, int], ...] | None:
        numbers: dict[str, list[int]] = {}
        name, known = "", "\0"  # of the GTID before, as all that follow are most often
        for gtid in gtids:
            if not gtid.startswith(known) or not (text := gtid[len(known) :]).isdecimal():
                separator = ":" if ":" in gtid else "-"
                name, _, text = gtid.rpartition(separator)
                known = name + separator
                numbers.setdefault(name, [])
            numbers[name].append(int(text))
        if len(numbers) > SOURCES_MAX:
            return None
        return tuple((self._sources.setdefault(name, len(self._sources)), min(found), max(found)) for name, found in numbers.items())

    def finish(self, log: str, head: bytes, size: int | None, known: binlog.Format, walked: int) -> HeaderIndex | None:
        """Return the index; None where the file is not closed, or of a kind that can only be read from its beginning.

        `head`: the first bytes; `size`: bytes as stored; `known`: its format; `walked`: as for `close`, at the end of the file.
        """
        if self._end > self._start:
            self.close(walked)
        counted = sum(found.events for found in self._stretches)
        if size is None or known.unplaced or counted != walked - self._before or len(self._places) > TOUCHED_MAX or not self._is_closed():
            return None
        touched = tuple(Touched(*named, self._touched[named]) for named in self._places)
        return HeaderIndex(log, digest(head), size, tuple(self._sources), touched, tuple(self._stretches))

    def _is_closed(self) -> bool:
        """Whether the file begins with its only format description and ends with what a server writes last into its own log."""
        last = self._last
        if len(self._descriptions) != 1 or last is None or last.type not in _CLOSING or last.flags & _FROM_ELSEWHERE:
            return False
        first = self._descriptions[0]
        begins = first.start == FIRST and not first.flags & (binlog.FLAG_IN_USE | binlog.FLAG_RELAY)
        return begins and first.server_id == last.server_id
