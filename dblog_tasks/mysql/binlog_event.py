"""One event of a binary log, as `event.Event` has it: decoded when its body is asked for.

Law: an event knows its transaction, its table and its bytes; how they are read is the file's business (`File`). No I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

from dblog_tasks.event import JsonObject, Omission, PackedRows, Position, RowChanges, Source, Transaction
from dblog_tasks.mysql import binlog
from dblog_tasks.mysql.layout import Layout
from dblog_tasks.mysql.place import place_of
from dblog_tasks.mysql.selection import TEXTS, Said, kind_name
from dblog_tasks.mysql.transactions import DEFINITION, INCIDENT, ROWS, STATEMENT, Group

# What is inside the filters and cannot be undone: by operation of a whole event, by type of a rows event.
WHOLE_PROBLEMS: Mapping[str, Omission] = {
    STATEMENT: Omission("statement format", "SET GLOBAL binlog_format=ROW for the future"),
    DEFINITION: Omission("schema change (DDL)", "restore the definition by hand before older changes are undone"),
    INCIDENT: Omission("incident: the server lost events", "restore from a backup up to here"),
}


class File(Protocol):
    """What an event asks of the decoder of its file."""

    name: str
    identity: str
    source: Source

    def body(self, frame: binlog.Frame, layout: Layout | None) -> Any:
        """Return the body of an event."""

    def packed(self, frame: binlog.Frame, layout: Layout) -> PackedRows | None:
        """Return the rows of an event as a plan writes them; None where they need a look."""


class BinlogEvent:
    """One event of a binary log (see `event.Event`), decoded when its body is asked for.

    Beyond the contract: `operation` (insert, update, delete; statement and definition for events that may change any table; None
    for structure), `transaction_info`, `omission` (why a change cannot be undone), `log` (identity of the file).
    """

    __slots__ = ("_body", "_decoder", "_frame", "_group", "_layout", "_said", "operation", "source")

    def __init__(
        self,
        decoder: File,
        group: Group,
        frame: binlog.Frame,
        layout: Layout | None,
        operation: str | None,
        said: Said | None = None,
    ) -> None:
        self.source = decoder.source
        self.operation = operation
        self._decoder = decoder
        self._group = group
        self._frame = frame
        self._layout = layout
        self._said = said
        self._body: Any = None

    @property
    def position(self) -> Position:
        return Position("mysql", f"{self._decoder.name}:{self._frame.end if not self._group.packed else place_of(self._frame)}")

    @property
    def log(self) -> str:
        return self._decoder.identity

    @property
    def kind(self) -> str:
        return kind_name(self._frame.type)

    @property
    def raw(self) -> bytes:
        return self._frame.raw

    @property
    def time(self) -> datetime | None:
        return self._group.when

    @property
    def transaction(self) -> str | None:
        return self._group.id

    @property
    def transaction_info(self) -> Transaction | None:
        return self._group.info(self._decoder.name)

    @property
    def transaction_json(self) -> JsonObject:
        """`transaction_info` as a plan writes it; of an event inside a transaction."""
        return self._group.described(self._decoder.name)

    @property
    def also_touched(self) -> tuple[str, ...]:
        return self._group.also_touched

    @property
    def transaction_names(self) -> tuple[str, ...]:
        return self._group.names(self._decoder.name)

    @property
    def gtid(self) -> str:
        return self._group.gtid.gtid

    @property
    def thread(self) -> int | None:
        """Id of the session of a transaction; None where it changed something and the log does not tell."""
        return self._group.thread or (None if self._group.touched else 0)

    @property
    def statement(self) -> bytes | None:
        """Text of the statement that changed something; None where the log does not tell."""
        if self.operation is None and self._frame.type not in TEXTS:
            return b""
        said = self._said if self._frame.type in ROWS else Said(self._frame, self.position.value)
        return said.text if said else None

    @property
    def table(self) -> tuple[str, str] | None:
        return None if self._layout is None else self._layout.name

    @property
    def layout(self) -> Layout | None:
        """The table's layout, for the decoder."""
        return self._layout

    def keep(self, body: RowChanges | Omission) -> None:
        """Have the event stand for these of its rows only, or for the reason why it cannot be undone."""
        self._body = body

    @property
    def body(self) -> Any:
        if self._body is None:
            self._body = self._decoder.body(self._frame, self._layout)
        return self._body

    @property
    def packed(self) -> PackedRows | None:
        """The rows as a plan writes them; None where `omission` and `body` say what there is of them."""
        if self._layout is None or self._body is not None or self._group.problem is not None or self._group.packed:
            return None
        return self._decoder.packed(self._frame, self._layout)

    @property
    def omission(self) -> Omission | None:
        """Why this event's change cannot be undone; None when it can, or changed nothing."""
        if self.operation is None:
            return None
        if self._group.problem is not None:
            return self._group.problem
        if self.operation in WHOLE_PROBLEMS:
            return WHOLE_PROBLEMS[self.operation]
        return self.body if isinstance(self.body, Omission) else None

    def reverse(self) -> RowChanges | None:
        """Return what undoes the event's rows, last first; None where the log does not hold enough."""
        return self.body.reverse() if self.omission is None and isinstance(self.body, RowChanges) else None

    def __repr__(self) -> str:
        return f"<{self.kind} {self.position.value}>"
