"""Rows written without their values: the plan is the same with compiled code and without it, to the last byte of its steps."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from dblog_tasks import DblogError, storage
from dblog_tasks.backend import default_registry, open_options
from dblog_tasks.event import Column, PackedRows, RowChanges, Table, binary_columns
from dblog_tasks.mysql.compiled import extension
from dblog_tasks.part import _packed, dumped, transaction_json
from dblog_tasks.planning import PlanRequest, make_plan, selection
from tests.mysql import test_rows

pytestmark = pytest.mark.skipif(extension() is None, reason="installed without compiled code")

NUMBERS = count()
LOGS = sorted(path for path in test_rows.CORPUS.rglob("*.0*") if path.is_file())
OPTIONS: dict[str, dict[str, Any]] = {
    "everything": {},
    "a table": {"selection": selection(tables=["orders", "t*"])},
    "a kind": {"selection": selection(kinds=["update"])},
    "whole transactions": {"selection": selection(tables=["users", "t"]), "whole_transactions": True},
    "rows": {"selection": selection(where="id < 30")},
    "a name": {"selection": selection(transactions=["0-1-35"])},
    "salvage": {"on_damage": "salvage"},
}


def made(log: bytes, options: dict[str, Any]) -> object:
    """What a plan says of itself, which names its segments by their hashes; or the error."""
    number = next(NUMBERS)
    url = f"memory://packed/{number}/log.000001"
    storage.write_file(url, log, {})
    try:
        plan = make_plan(PlanRequest("mysql", (url,), f"memory://packed/{number}/plan", **options))
    except DblogError as error:
        return str(error).replace(f"/{number}/", "/")
    return plan and dict(plan.manifest)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("path", LOGS, ids=lambda path: str(path.relative_to(test_rows.CORPUS)))
def test_a_plan_is_the_same_without_compiled_code(path: Path, options: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ledger, tables, transactions, steps and omissions, for every log of the corpus."""
    compiled = made(path.read_bytes(), OPTIONS[options])
    monkeypatch.setenv("DBLOG_NATIVE", "0")

    assert made(path.read_bytes(), OPTIONS[options]) == compiled


def events(log: bytes) -> Iterator[Any]:
    """The events of a log, up to an error."""
    url = f"memory://packed/{next(NUMBERS)}/log.000001"
    storage.write_file(url, log, {})
    try:
        yield from default_registry.get("mysql").open(open_options(path=url))
    except DblogError:
        return


@pytest.mark.parametrize("path", LOGS, ids=lambda path: str(path.relative_to(test_rows.CORPUS)))
def test_packed_rows_are_the_rows(path: Path) -> None:
    """Position, table, number and bytes; and the transaction is described as it is known."""
    for event in events(path.read_bytes()):
        packed: PackedRows | None = event.packed
        if event.transaction_info is not None:
            assert dumped(transaction_json(event.transaction_info)) == dumped(event.transaction_json)
        if packed is not None:
            assert event.omission is None
            assert isinstance(event.body, RowChanges)
            rows = dumped(_packed(event.body.rows, binary_columns(event.body.table)))[:-1]
            assert PackedRows(event.position.value, event.operation, event.body.table, rows, len(event.body.rows)) == packed


def test_most_rows_are_packed() -> None:
    """The corpus shows what the tests above are of."""
    found = [event.packed for path in LOGS for event in events(path.read_bytes()) if event.operation in ("insert", "update", "delete")]

    assert len(found) - found.count(None) > 100


def test_rows_that_were_looked_at_are_not_packed() -> None:
    """An event that stands for some of its rows has no others."""
    event = next(event for event in events((test_rows.SHOP / "shop.000001").read_bytes()) if event.packed)
    event.keep(RowChanges(event.body.table, event.body.rows[:0]))

    assert event.packed is None


def test_the_number_of_a_member_is_not_bytes() -> None:
    """Members of an ENUM or SET may be of the character set `binary`; what a row has of them is a number."""
    columns = [Column("a", kind, charset="binary") for kind in ("enum", "set", "varbinary(3)", "blob", "enum('a')")]

    assert binary_columns(Table("s", "t", tuple(columns))) == [2, 3]
