"""Rows as the log has them against the rows the server had, at every named instant of the recorded scenarios.

The scenarios come from DBLOG_FIXTURES (made by real servers, with lossless dumps `NN-LABEL.exact.jsonl`); where there are none the
tests are skipped by name.
"""

from __future__ import annotations

from collections.abc import Iterator
import json
import os
from pathlib import Path
import tarfile
from typing import Any

import pytest

import dblog_tasks
from dblog_tasks import Checkpoint, Position, RowChanges
from dblog_tasks.mysql.charsets import encode_text
from dblog_tasks.mysql.json_binary import json_text

FIXTURES = Path(os.environ.get("DBLOG_FIXTURES", Path(__file__).parents[3] / "shared" / "fixtures"))
SCENARIOS = sorted(FIXTURES.glob("m[ya][sr][qi][la]*/types_*.tar.xz"))

State = dict[tuple[str, str], dict[Any, dict[str, Any]]]


def exact(column: dblog_tasks.Column, value: Any) -> Any:
    """Return a value as the lossless dumps write it, as far as they can be compared."""
    kind = column.type.split("(")[0]
    if value is None:
        return None
    if kind in ("enum", "set"):
        return {"n": value}
    if kind in ("float", "double"):
        return {"double": value}
    if kind == "json":
        return {"json_text": json_text(value) if isinstance(value, bytes) else value}
    if kind in ("geometry", "vector") or column.charset == "binary":
        return {"hex": value.hex().upper()}
    if column.charset:
        return {"hex": (value if isinstance(value, bytes) else encode_text(value, column.charset)).hex().upper()}
    return value


def comparable(value: Any, kind: str) -> Any:
    """Return a value of a lossless dump without what it repeats."""
    if not isinstance(value, dict):
        return value
    if "n" in value:
        return {"n": value["n"]}
    if "double" in value:
        return {"double": float(value["double"])}
    return {"hex": value["hex"]} if "hex" in value else value


def states(folder: Path, meta: dict[str, Any]) -> Iterator[tuple[str, State, set[str]]]:
    """Yield the rows at each mark, put together from the log alone, with the tables that could not be read until then."""
    rows: State = {}
    event: Any
    unread: set[str] = set()
    start = Checkpoint()
    schema = None if meta["variables"]["binlog_row_metadata"] == "FULL" else str(folder / "before.schema.sql")
    for mark in meta["marks"]:
        stop = Position("mysql", f"{mark['file']}:{mark['pos']}")
        with dblog_tasks.open("mysql", path=str(folder / mark["file"]), checkpoint=start, stop=stop, schema=schema) as decoder:
            for event in decoder:
                if isinstance(event.body, RowChanges):
                    apply(rows.setdefault(event.table, {}), event.body)
                elif event.operation in ("insert", "update", "delete"):
                    unread.add(event.table[1])
        start = Checkpoint(position=stop)
        yield mark["label"], rows, unread


def apply(rows: dict[Any, dict[str, Any]], changes: RowChanges) -> None:
    """Make the changes to the rows, and hold what they say of the rows before against what is there."""
    names = [column.name for column in changes.table.columns]
    kinds = list(changes.table.columns)

    def shown(row: Any) -> dict[str, Any]:
        return {name: exact(kind, value) for name, kind, value in zip(names, kinds, row, strict=True)}

    for before, after in changes.rows:
        if before is not None:
            assert rows.pop(before[0]) == shown(before)
        if after is not None:
            rows[after[0]] = shown(after)


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A function that unpacks a scenario and returns its folder."""

    def unpack(archive: Path) -> Path:
        folder = tmp_path_factory.mktemp(archive.parent.name)
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
        return folder / archive.name.removesuffix(".tar.xz")

    return unpack


@pytest.mark.skipif(not SCENARIOS, reason="no recorded scenarios: set DBLOG_FIXTURES")
@pytest.mark.parametrize("archive", SCENARIOS, ids=lambda path: f"{path.parent.name}/{path.name.removesuffix('.tar.xz')}")
def test_rows_of_the_log_are_the_rows_of_the_server(archive: Path, unpacked: Any) -> None:
    """At every mark each table holds exactly what the server held, or was said not to be readable."""
    folder = unpacked(archive)
    meta = json.loads((folder / "meta.json").read_text())
    compared = 0
    for mark, (label, rows, unread) in zip(meta["marks"], states(folder, meta), strict=True):
        expected: dict[tuple[str, str], list[dict[str, Any]]] = {}
        dump = folder / f"{mark['n']:02}-{label}.exact.jsonl"
        for line in dump.read_text().splitlines():
            record = json.loads(line)
            expected.setdefault((record["db"], record["table"]), []).append(record["row"])
        for table in sorted({*expected, *rows}):
            if table[1] in unread:
                continue
            got = sorted(rows.get(table, {}).values(), key=lambda row: row["id"])
            want = sorted(expected.get(table, []), key=lambda row: row["id"])
            want = [{name: comparable(value, "") for name, value in row.items()} for row in want]
            assert len(want) == len(got), f"{label} {table}"
            for row_wanted, row_got in zip(want, got, strict=True):
                differing = {name: (row_wanted[name], row_got.get(name)) for name in row_wanted if row_wanted[name] != row_got.get(name)}
                assert {} == differing, f"{label} {table} {row_got['id']}"
            compared += len(want)
    assert compared > 0 or unread
