"""Whole plain transactions of test_decoding handed in as lines of a plan: no message, group or event is made of them. No I/O.

Law: only faster, never different. Plain is a transaction of a line each: BEGIN, rows of tables the plan knows already that look as the
learned ones do (`test_decoding.learn`) and are whole, COMMIT with its time. The first that is not ends what is handed in, and is read as
any other. A line that is only a part of a value never looks so: the value's quotes are not closed in it. Compiled code (`_plain.c`) goes
over the rows where there is some; `rows` does the same in Python.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
import os
import re
from typing import NamedTuple, TypeAlias

import orjson

from dblog_tasks.event import LinesWanted, PackedTransactions, PlanLines, Table
from dblog_tasks.postgres.images import DATES, Images
from dblog_tasks.postgres.message import DELETE, INSERT, UPDATE, Skimmed
from dblog_tasks.postgres.names import shown
from dblog_tasks.postgres.skim import compiled
from dblog_tasks.postgres.test_decoding import Learned, TestDecoding, commit_time

REGION_MAX = 1 << 20  # bytes that are handed in together
_BEGIN = re.compile(rb"BEGIN(?: ([1-9][0-9]{0,19}))?")
_COMMIT = re.compile(rb"COMMIT(?: ([1-9][0-9]{0,19}))?(?: \(at ([^)]*)\))?")
_DAY = re.compile(r"[0-9]{4}-[^']*")
_INSERT, _UPDATE, _DELETE = 0, 1, 2
_BARE, _QUOTED, _BITS, _DATE = 0, 1, 2, 3
_BARE_TYPES = ("smallint", "integer", "bigint", "oid", "real", "double precision", "numeric", "boolean")
_KINDS: Mapping[str, int] = {**dict.fromkeys(_BARE_TYPES, _BARE), "bit": _BITS, "bit varying": _BITS}
_DATE_TYPES = frozenset({"date", "timestamp without time zone", "timestamp with time zone"})
_OPERATIONS: Mapping[bytes, tuple[int, str]] = {b"INSERT:": (_INSERT, INSERT), b"UPDATE:": (_UPDATE, UPDATE), b"DELETE:": (_DELETE, DELETE)}
NoteTimes: TypeAlias = Callable[[datetime, datetime], None]


class Spec(NamedTuple):
    """Rows of a table and operation that are plain, by the beginning of their lines.

    Attributes:
        operation: insert, update, delete by number.
        nulls: a column that is missing of an old row is NULL.
        number: of the table in the segment.
        columns: how each begins, and how its value is written.
        slot: what is counted together.
        learned: what Python reads them by.
    """

    operation: int
    nulls: bool
    number: int
    columns: tuple[tuple[bytes, int], ...]
    slot: int
    learned: Learned


Rows: TypeAlias = tuple[int, bytes, list[int]]  # where they end, their lines, the slot of each


def rows(data: bytes, at: int, base: int, specs: Mapping[bytes, Spec], place: bytes, transaction: int, limit: int) -> Rows | None:
    """Return the lines of the rows that begin there; None where one of them is not plain, or there are more than the limit."""
    lines: list[bytes] = []
    slots: list[int] = []
    while data.startswith(b"table ", at):
        end = data.find(b"\n", at)
        spec = specs.get(data[at : data.find(b":", at + 6, end) + 9])
        packed = _row(data[at:end], spec) if spec is not None and end >= 0 and len(slots) < limit else None
        if spec is None or packed is None:
            return None
        lines.append(b'{"at":%b%d","in":%d,"of":%d,"rows":%b}\n' % (place, base + end + 1, transaction, spec.number, packed))
        slots.append(spec.slot)
        at = end + 1
    return at, b"".join(lines), slots


def _row(line: bytes, spec: Spec) -> bytes | None:
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return None
    found = None if line.endswith(b"\r") else spec.learned.row.fullmatch(text)
    if found is None:
        return None
    groups = tuple([value.replace("''", "'") if value and "''" in value else value for value in found.groups()])
    middle = spec.learned.middle
    old = None if spec.operation == _INSERT else groups[:middle]
    new = None if spec.operation == _DELETE else groups[middle:]
    for row in (old, new):
        if row is not None and any(
            kind == _DATE and value is not None and not _DAY.fullmatch(value) for value, (_, kind) in zip(row, spec.columns, strict=True)
        ):
            return None
    return None if old is not None and None in old and not spec.nulls else orjson.dumps(((old, new),))


class PlainTransactions:
    """Hands the plain transactions of one file to `lines`."""

    def __init__(self, name: str, reader: TestDecoding, images: Images, lines: PlanLines, note_times: NoteTimes, own: str) -> None:
        """`own`: name of the table that tells our own replays, whose transactions are not plain."""
        self._place = orjson.dumps(f"{name}:")[:-1]
        self._reader, self._images, self._lines, self._note_times, self._own = reader, images, lines, note_times, own
        self._rows: Callable[..., Rows | None] = rows if compiled is None or os.environ.get("DBLOG_NATIVE", "1") == "0" else compiled.rows

    def hand_in(self, data: bytes, at: int, base: int) -> tuple[int, Skimmed] | None:
        """Return where in `data` the first transaction begins that is not handed in, and what is; None where nothing is."""
        wanted = self._lines.wanted()
        if wanted is None:
            return None
        region = _Region(self, data, base, wanted)
        end = at
        while end - at < REGION_MAX and (after := region.transaction(end)):
            end = after
        if end == at:
            return None
        if region.times:
            self._note_times(min(region.times), max(region.times))
        if region.number:
            changes = [(*region.slots[slot], count, count) for slot, count in region.counts.items()]
            self._lines.take(PackedTransactions(b"".join(region.lines), region.number, changes))
        return end, Skimmed(sum(region.counts.values()), region.others, b"", region.last, handed_in=True)

    @property
    def place(self) -> bytes:
        """The beginning of each position, as JSON."""
        return self._place

    def rows(self, data: bytes, at: int, base: int, specs: Mapping[bytes, Spec], transaction: int, limit: int) -> Rows | None:
        """Return the lines of the rows that begin there; None where one of them is not plain."""
        return self._rows(data, at, base, specs, self._place, transaction, limit)

    def spec(self, head: bytes, wanted: LinesWanted, slot: int) -> tuple[Spec, Table, str] | None:
        """Return how plain rows of a table and operation look; None where none is plain."""
        learned, operation = self._reader.learned(head), _OPERATIONS.get(head[-7:])
        if learned is None or operation is None or learned.shape.name == self._own:
            return None
        shape, layout = learned.shape, self._images.layout_of(learned.shape)
        if layout.problem is not None or layout.picks or id(layout.table) not in wanted.tables:
            return None
        if operation[0] != _INSERT and not (layout.whole and learned.middle):
            return None
        if any(check(".") is not DATES or shape.types[at] not in _DATE_TYPES for at, check in layout.checks):
            return None
        kinds = [_DATE if kind in _DATE_TYPES else _KINDS.get(kind, _QUOTED) for kind in shape.types]
        columns = zip(shape.names, shape.types, kinds, strict=True)
        spelled = tuple((f" {shown(name)}[{type_}]:".encode(), kind) for name, type_, kind in columns)
        spec = Spec(operation[0], layout.identity == "f", wanted.tables[id(layout.table)], spelled, slot, learned)
        return spec, layout.table, operation[1]


class _Region:
    """Transactions that are handed in together."""

    def __init__(self, plain: PlainTransactions, data: bytes, base: int, wanted: LinesWanted) -> None:
        self._plain, self._data, self._base, self._wanted = plain, data, base, wanted
        self._specs: dict[bytes, Spec] = {}
        self._room = wanted.size
        self.slots: list[tuple[Table, str]] = []
        self.counts: Counter[int] = Counter()
        self.lines: list[bytes] = []
        self.number = self.others = 0
        self.times: list[datetime] = []
        self.last = b""

    def transaction(self, at: int) -> int:
        """Take the transaction that begins there in and return where it ends; 0 where it is not plain, or too much."""
        data, wanted = self._data, self._wanted
        end = data.find(b"\n", at)
        begun = _BEGIN.fullmatch(data, at, end) if end >= 0 else None
        found = self._found(end + 1) if begun is not None else None
        if begun is None or found is None:
            return 0
        after, lines, slots = found
        end = data.find(b"\n", after)
        ended = _COMMIT.fullmatch(data, after, end) if end >= 0 else None
        if ended is None or ended[1] != begun[1]:
            return 0
        committed = commit_time((ended[2] or b"").decode("ascii", "replace"))
        start, id_ = b'%b%d"' % (self._plain.place, self._base + at), begun[1]
        name = orjson.loads(start) if id_ is None else id_.decode()
        if name in wanted.transactions:
            return 0
        head = (
            _head(len(wanted.transactions), id_, start, b'%b%d"' % (self._plain.place, self._base + end + 1), committed) if slots else b""
        )
        self._room -= len(head) + len(lines)
        if self._room <= 0:
            return 0
        if slots:
            wanted.transactions[name] = len(wanted.transactions)
            self.number += 1
            self.lines += (head, lines)
            self.counts.update(slots)
        self.others += 2
        self.times += [committed] if committed else []
        self.last = data[after:end]
        return end + 1

    def _found(self, at: int) -> Rows | None:
        """Return the rows of a transaction, for which tables may have to be looked up that no transaction before it had."""
        given = (self._data, at, self._base, self._specs, len(self._wanted.transactions), self._wanted.rows)
        found = self._plain.rows(*given)
        return self._plain.rows(*given) if found is None and self._look_up(at) else found

    def _look_up(self, at: int) -> bool:
        """Look up the tables of the transaction's first rows; return whether that helps."""
        data, known = self._data, len(self._specs)
        for _ in range(self._wanted.rows + 1):
            if not data.startswith(b"table ", at):
                break
            end = data.find(b"\n", at)
            head = data[at : data.find(b":", at + 6, end) + 9]
            if head not in self._specs:
                found = self._plain.spec(head, self._wanted, len(self.slots))
                if found is None:
                    return False
                self._specs[head] = found[0]
                self.slots.append(found[1:])
            if end < 0:
                break
            at = end + 1
        return len(self._specs) > known


def _head(number: int, id_: bytes | None, start: bytes, end: bytes, time: datetime | None) -> bytes:
    """Return the line of a transaction, as `part.transaction_json` has it."""
    name = start if id_ is None else b'"%b"' % id_
    names = name if id_ is None else b"%b,%b" % (name, start)
    told = orjson.dumps(time.isoformat() if time else None)
    return b'{"transaction":%d,"id":%b,"start":%b,"end":%b,"time":%b,"names":[%b],"thread":0,"statements":[],"also_touched":[]}\n' % (
        number,
        name,
        start,
        end,
        told,
        names,
    )
