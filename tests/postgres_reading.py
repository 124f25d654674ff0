"""Reading logs of PostgreSQL in tests. No tests."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, TypeAlias

import dblog_tasks
from dblog_tasks.event import RowChanges
from dblog_tasks.postgres.events import PostgresEvent

Read: TypeAlias = Callable[..., list[PostgresEvent]]


def reading(folder: Path) -> Read:
    """Return what reads all events of these bytes, with a schema or without; `folder` is for that."""

    def read(data: bytes | str, schema: str = "", **options: Any) -> list[PostgresEvent]:
        if schema:
            (folder / "schema.sql").write_text(schema)
            options["schema"] = str(folder / "schema.sql")
        stream = BytesIO(data if isinstance(data, bytes) else data.encode())
        with dblog_tasks.open("pg", reader=stream, **options) as decoder:
            return list(decoder)  # type: ignore[arg-type]

    return read


def rows(event: PostgresEvent) -> Any:
    """Return before and after, by column."""
    assert isinstance(event.body, RowChanges), event.body
    names = [column.name for column in event.body.table.columns]
    [pair] = event.body.rows
    return tuple(row and dict(zip(names, row, strict=True)) for row in pair)
