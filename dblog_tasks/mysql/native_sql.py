"""Statements by compiled code: which kind of `_sql` writes which literal. No I/O.

The extension is a matter of speed alone, and may be missing, as that of `native`; DBLOG_NATIVE=0 does without it. What a kind does is
told in `_sql.c`; a literal of no kind, and a value that its kind does not take, is written by the function that `literals` has for it.

    type                                    kind
    integers, year, bit                     integer
    float, double; decimal                  double; decimal
    temporals, uuid, inet, json             text
    char, varchar, text                     text, ascii, hex    by character set
    binary, blob                            hex
    enum, set, geometry, vector             none; integer where labels do not tell
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import os
from types import ModuleType
from typing import NamedTuple, TypeAlias

_extension: ModuleType | None
try:
    from dblog_tasks.mysql import _sql as _extension
except ImportError:
    _extension = None

BINARY, WRITTEN, ENUM = 1, 2, 4  # what a column is: flags of `rows`
Slot: TypeAlias = tuple[int, bytes, bytes, str, Callable[..., str]]  # index of a value, text before it, text for NULL, kind, literal
Lines: TypeAlias = object
Rows: TypeAlias = object
Table: TypeAlias = tuple[Rows, Mapping[bytes, Lines]]  # and the lines of an update by the columns it changes, a byte each


class Done(NamedTuple):
    """What `undo` has done.

    Attributes:
        written: whole statements.
        left: steps that are left.
        begun: the beginning of the current transaction.
        transactions: how many began.
        rows: of the step before those left, as text; they are to be inserted, after what is written.
        table: the number of their table.
        odd: Python has to write the last step that is left.
    """

    written: bytes
    left: int
    begun: bytes
    transactions: int
    rows: list[str] | None
    table: int
    odd: bool


def available() -> bool:
    """Return whether statements are written by compiled code. Where it is not, nothing else here may be called."""
    return _extension is not None and os.environ.get("DBLOG_NATIVE", "1") != "0"


def lines(slots: Sequence[Slot], tail: bytes, width: int) -> Lines:
    """Return what is written around the values of a row of this width, and behind the last."""
    made: Lines = _extension.Lines(slots, tail, width)  # type: ignore[union-attr]  # see `available`
    return made


def rows(flags: bytes, deletes: Lines, values: Lines) -> Rows:
    """Return the rows of a table with these flags, one a column."""
    made: Rows = _extension.Rows(flags, deletes, values)  # type: ignore[union-attr]
    return made


def undo(
    data: bytes, places: tuple[int, ...], left: int, transactions: tuple[bytes, ...], tables: tuple[Table | None, ...], begun: bytes
) -> Done:
    """Write the undo of some of the steps of a segment (`sql.StoredSegment`) that are left, the last one first.

    `transactions`: what stands at the beginning of each; `begun`: of the current one, empty where there is none. `tables`: None where
    Python has to write them.
    """
    return Done(*_extension.undo(data, places, left, transactions, tables, begun))  # type: ignore[union-attr]
