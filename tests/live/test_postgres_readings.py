"""Conditions on rows sort values as a real PostgreSQL does: what `tests/test_readings.py` takes for sorted, the server does too."""

from __future__ import annotations

import pytest

from dblog_tasks.postgres.sql import literal
from tests.live.servers import Postgres
from tests.test_readings import SORTED, TYPES


@pytest.mark.parametrize("name", SORTED)
def test_the_server_sorts_so(name: str, postgres: Postgres) -> None:
    """Any two values, of each type."""
    rows = ", ".join(f"({number}, {literal(value)}::{TYPES[name]})" for number, value in enumerate(SORTED[name]))
    pairs = f"FROM (VALUES {rows}) a (at, value), (VALUES {rows}) b (at, value)"

    odd = postgres.sql(
        f"SELECT a.value, b.value {pairs} WHERE (a.at < b.at) <> (a.value < b.value) OR (a.at = b.at) <> (a.value = b.value)"
    )

    assert odd == ""
