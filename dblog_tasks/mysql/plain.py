"""Whole plain transactions handed in as lines of a plan: no frame, group or event is made of them. No I/O.

Law: only faster, never different. Compiled code (`_native_plain.c`, which says what is plain) goes from transaction to transaction and ends
before the first that is not; what it did of tables and rows has been done by Python before: a table map, or a type of rows of it, is made
known here once Python has read one. What may not be known is never plain: tables of our own replays.
"""

from __future__ import annotations

from functools import partial
from types import ModuleType
from typing import NamedTuple, Protocol

import orjson

from dblog_tasks import ledger as words
from dblog_tasks.event import PackedTransactions, PlanLines, Table
from dblog_tasks.ledger import Ledger
from dblog_tasks.mysql.images import Head
from dblog_tasks.mysql.layout import LAYOUTS_MAX, Layout, Layouts
from dblog_tasks.mysql.selection import REPLAY_TABLE
from dblog_tasks.mysql.transactions import ROWS, Gatherer


class File(Protocol):
    """What is asked of the decoder of a file."""

    name: str

    def verdict(self, layout: Layout | None, operation: str | None, kind: int) -> str | None:
        """Return why events of this table, operation and type are not needed, or None."""

    def note_times(self, earliest: int, latest: int) -> None:
        """Note commit times of transactions, in microseconds since 1970."""


class _Slot(NamedTuple):
    """What is counted together: rows of a table and operation, or events that are not needed for a reason."""

    reason: str | None
    table: Table | None
    operation: str


class PlainTransactions:
    """Hands the plain transactions of one file to `lines`, and counts what the ledger has of them."""

    def __init__(self, extension: ModuleType, file: File, layouts: Layouts, lines: PlanLines, ledger: Ledger) -> None:
        self._plain = extension.plain
        self._file, self._layouts, self._lines, self._ledger = file, layouts, lines, ledger
        self._place = orjson.dumps(f"{file.name}:")[:-1]
        self._slots: list[_Slot] = []
        layouts.known.clear()  # slots are of this file

    def hand_in(self, gatherer: Gatherer, data: bytes, at: int, base: int, checksum: int, placed: bool) -> int:  # noqa: FBT001 - as `Passing`
        """Return where the transaction begins that Python has to go on with; what lies before it is handed in."""
        wanted = self._lines.wanted()
        while wanted is not None:
            block = (data, at, base, checksum, placed, self._file.name, self._place)
            tables = (self._layouts.known, gatherer.maps, wanted.tables)
            found = self._plain(*block, *tables, wanted.transactions, wanted.size, wanted.rows, LAYOUTS_MAX)
            end: int
            end, lines, number, changes, structure, earliest, latest, missing = found
            if end > at:
                self._count(lines, number, changes, structure)
                self._file.note_times(earliest, latest)
                return end
            if missing is None or not self._learn(*missing):
                return at
        return at

    def _count(self, lines: bytes, number: int, changes: list[tuple[int, int, int]], structure: int) -> None:
        """Note what became of the events, and hand the lines in."""
        self._ledger.not_needed[words.STRUCTURE] += structure
        taken: list[tuple[Table, str, int, int]] = []
        for at, events, rows in changes:
            slot = self._slots[at]
            if slot.table is not None:
                taken.append((slot.table, slot.operation, events, rows))
            elif slot.reason is not None:
                self._ledger.not_needed[slot.reason] += events
        if number:
            self._lines.take(PackedTransactions(lines, number, taken))

    def _learn(self, body: bytes, kind: int) -> bool:
        """Make a table map known, or rows of a type of it; return whether it was possible."""
        layout = self._layouts.seen(body)
        if layout is None or layout.name[1] == REPLAY_TABLE:
            return False
        if len(self._slots) >= LAYOUTS_MAX:  # a log of ever new tables
            self._slots.clear()
            self._layouts.known.clear()
        kinds = self._layouts.known.setdefault(body, (layout, body, {}))[2]
        if not kind:
            return True
        reason, operation = self._file.verdict(layout, ROWS[kind], kind), ROWS[kind]
        head: Head | None = layout.heads.get(kind)
        if reason is not None:
            kinds[kind] = (self._slot(_Slot(reason, None, operation)),)
        elif head is not None and isinstance(head.json, partial):
            kinds[kind] = (self._slot(_Slot(None, head.table, operation)), head.data, *head.json.args, id(head.table))
        return kind in kinds

    def _slot(self, slot: _Slot) -> int:
        self._slots.append(slot)
        return len(self._slots) - 1
