"""What the servers' own decoders (`mysqlbinlog -v`, `mariadb-binlog -v`) print of a log. No tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
import re

_ROW = re.compile(r"### (INSERT INTO|UPDATE|DELETE FROM) `((?:[^`]|``)*)`\.`((?:[^`]|``)*)`\s*")

Rows = Counter[tuple[str, str]]  # by `schema.table` and INSERT, UPDATE or DELETE


_AT = re.compile(r"# at (\d+)\s*")


def vendor_rows(lines: Iterable[str], start: int = 0, stop: int | None = None) -> Rows:
    """Return how many rows of each table the decoder shows as inserted, updated and deleted by events that begin in these bounds."""
    rows: Rows = Counter()
    inside = True
    for line in lines:
        if line.startswith("### "):
            found = _ROW.fullmatch(line) if inside else None
            if found:
                rows[f"{found[2]}.{found[3]}".replace("``", "`"), found[1].split()[0]] += 1
        elif (at := _AT.fullmatch(line)) is not None:
            inside = start <= int(at[1]) and (stop is None or int(at[1]) < stop)
    return rows
