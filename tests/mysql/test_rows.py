"""Rows: the generated readers against the plain one, on real logs and on made ones."""

from __future__ import annotations

from collections.abc import Iterator
import json
from pathlib import Path
from struct import pack
from typing import Any
import zlib

from hypothesis import given, settings, strategies as st
import pytest

import dblog_tasks
from dblog_tasks import DblogError, MalformedLog, RowChanges
from dblog_tasks.mysql import binlog, rows
from dblog_tasks.mysql.rows import RowReader, Storage
from tests.mysql import plain_rows

CORPUS = Path(__file__).parents[1] / "corpus"
SHOP, TYPES = CORPUS / "shop", CORPUS / "types"
LOGS = {
    **{f"shop/{n}": (SHOP / f"shop.00000{n}", "") for n in (1, 2, 3)},
    **{f"shop/nolog/{n}": (SHOP / "nolog" / f"shop.00000{n}", str(SHOP / "schema.sql")) for n in (1, 2, 3)},
    "types": (TYPES / "types.000001", ""),
    "types/compressed": (TYPES / "compressed" / "types.000001", str(TYPES / "schema.sql")),
}
SCENARIOS = [
    *(f"mariadb1011/types_{name}" for name in ("checksum_none", "compressed", "full", "meta_nolog", "old_temporal")),
    *(f"mysql97/types_{name}" for name in ("checksum_crc32", "full", "meta_minimal")),
]
VERSION_2 = {binlog.WRITE_ROWS_V2, binlog.UPDATE_ROWS_V2, binlog.DELETE_ROWS_V2}
COMPRESSED = {binlog.WRITE_ROWS_COMPRESSED, binlog.UPDATE_ROWS_COMPRESSED, binlog.DELETE_ROWS_COMPRESSED}


def read(path: Path, schema: str) -> Iterator[tuple[Any, RowChanges]]:
    """Yield the rows events of a log with their rows."""
    with dblog_tasks.open("mysql", path=str(path), schema=schema or None) as decoder:
        for event in decoder:
            if isinstance(event.body, RowChanges):
                yield event, event.body


def columns_of(event: Any) -> list[plain_rows.Column]:
    """The columns of an event's table for the plain reader."""
    found = []
    for logged, known in zip(event.layout.map.columns, event.layout.table.columns, strict=True):
        found.append(plain_rows.Column(logged.code, logged.meta, known.unsigned, known.charset or "binary"))
    return found


def plainly(event: Any) -> list[plain_rows.Pair]:
    """The rows of an event by the plain reader."""
    kind = event._frame.type
    images = plain_rows.images_of(event._frame.body, version=2 if kind in VERSION_2 else 1, update=event.operation == "update")
    if kind in COMPRESSED:
        images = zlib.decompress(images[1 + (images[0] & 7) :])
    return plain_rows.pairs(event.operation, columns_of(event), images)


def same(expected: list[plain_rows.Pair], got: Any) -> bool:
    """Whether rows are equal and of equal types; NaN equals itself."""
    return expected == list(got) and repr(expected) == repr(list(got)) or repr(expected) == repr(list(got))


@pytest.mark.parametrize("name", LOGS)
def test_plain_reader_agrees_on_the_corpus(name: str) -> None:
    """Every rows event of every log of the corpus reads the same, value for value and type for type."""
    path, schema = LOGS[name]
    compared = 0
    for event, body in read(path, schema):
        expected = plainly(event)

        assert repr(expected) == repr(list(body.rows)), event
        compared += len(expected)
    assert compared > 50


@pytest.mark.parametrize("name", SCENARIOS)
def test_plain_reader_agrees_on_the_scenarios(name: str, scenario: Any) -> None:
    """Every rows event of the recorded logs of both vendors reads the same."""
    folder = scenario(name)
    variables = json.loads((folder / "meta.json").read_text())["variables"]
    schema = "" if variables["binlog_row_metadata"] == "FULL" else str(folder / "before.schema.sql")
    compared = 0
    for log in sorted(folder.glob("mysql-bin.0*")):
        for event, body in read(log, schema):
            expected = plainly(event)

            assert repr(expected) == repr(list(body.rows)), event
            compared += len(expected)
    assert compared > 0
