"""Markdown as Prefect's pages show it: text of any origin stays text.

Law: text in, text out; nothing of a plan, nothing of Prefect.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
import re
from typing import Any

CELL_CHARACTERS = 200
_MARKS = re.compile(r"([\\`*_\[\]|<>&#~])")


def cell(value: Any, width: int = CELL_CHARACTERS) -> str:
    """Return a value of any origin as plain text of one line, at most `width` characters before its marks are escaped."""
    return _MARKS.sub(r"\\\1", " ".join(str(value).split())[:width])


def table(head: Sequence[str], rows: Sequence[Sequence[Any]], limit: int) -> str:
    """Return a table of at most `limit` rows, and below it how many more there are."""
    lines = [head, ["---"] * len(head), *rows[:limit]]
    more = f"\n\n… and {len(rows) - limit} more" if len(rows) > limit else ""
    return "\n".join(f"| {' | '.join(cell(value) for value in line)} |" for line in lines) + more


def bullets(lines: Iterable[str]) -> str:
    """Return a list of one item a line."""
    return "\n".join(f"- {cell(line)}" for line in lines)


def code(text: str) -> str:
    """Return a name as code, without what would end it."""
    return f"`{' '.join(text.replace('`', '').split())}`"
