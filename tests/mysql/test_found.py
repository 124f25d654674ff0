"""Faults that real logs showed, each with the smallest log that shows it (tests/corpus/found)."""

from __future__ import annotations

from pathlib import Path

import pytest

import dblog_tasks

FOUND = Path(__file__).parents[1] / "corpus" / "found"
COLUMNS = {
    "a": ("int", False, "", ()),
    "b": ("int", True, "", ()),
    "x": ("text", False, "latin1", ()),
    "y": ("varchar(9)", False, "koi8r", ()),
    "e": ("enum", False, "latin1", ("m", "n")),
    "s": ("set", False, "koi8r", ("o", "p")),
    "c": ("bigint", False, "", ()),
    "id": ("bigint", True, "", ()),
}
ROW = (-1, 4294967295, "é", "ж", 2, 2, -9, 18446744073709551615)


@pytest.mark.parametrize(("log", "tables"), [("neighbours-mariadb1011.000002", 28), ("neighbours-mysql97.000007", 26)])
def test_a_column_keeps_its_facts_whatever_type_stands_before_it(log: str, tables: int) -> None:
    """Sign, character set and labels are counted over different kinds of columns, and the vendors do not count alike."""
    seen = 0
    with dblog_tasks.open("mysql", path=str(FOUND / log), selection=(dblog_tasks.by_kind("insert"),)) as decoder:
        for event in decoder:
            table = event.body.table
            facts = {column.name: (column.type, column.unsigned, column.charset, column.labels) for column in table.columns[1:]}

            assert (COLUMNS, ROW, (8,)) == (facts, event.body.rows[0][1][1:], table.key)
            seen += 1
    assert tables == seen
