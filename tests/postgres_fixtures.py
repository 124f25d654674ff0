"""The recorded logs of PostgreSQL, and what each of their tables held before and after. No tests."""

from __future__ import annotations

from collections.abc import Iterator
from glob import escape
import json
from pathlib import Path
from typing import Any

from dblog_tasks.filters import by_table, not_
from dblog_tasks.plan import Plan
from dblog_tasks.planning import PlanRequest, make_plan
from dblog_tasks.postgres.names import qualified
from tests.fixtures import ARCHIVE, FIXTURES

TableName = tuple[str, str]
SCENARIOS = sorted(path.name.removesuffix(ARCHIVE) for path in FIXTURES.glob("pg*/*") if path.name.endswith(ARCHIVE) or path.is_dir())
# Kinds of files, and how their names begin.
FORMS = ("test_decoding", "wal2json", "pgoutput", "recvlogical")
FOREIGN = "sqldmy"  # decoded in a session whose text means something else in others
WHOLE_ROWS = "f"
# A file of each plugin, and of each way of writing its output.
REPRESENTATIVE = (
    "test_decoding.ts.tsv",
    "test_decoding.default.copy",
    "recvlogical.test_decoding.ts.out",
    "pgoutput.p2.hex",
    "recvlogical.pgoutput.p1.bin",
    "wal2json.v1_full.data.txt",
    "wal2json.v1_chunks.tsv",
    "recvlogical.wal2json.v2.out",
)


def logs(folder: Path) -> list[Path]:
    """Return every log of a scenario that we read."""
    return sorted(path for path in folder.iterdir() if path.name.startswith(FORMS) and path.is_file())


def meta(folder: Path) -> dict[str, Any]:
    """Return what is known of a scenario."""
    found: dict[str, Any] = json.loads((folder / "meta.json").read_text())
    return found


def identities(folder: Path) -> dict[TableName, str]:
    """Return the replica identity of each table."""
    return {(table["schema"], table["table"]): table["replident"] for table in meta(folder)["catalog_before"] if table["relkind"] == "r"}


def states(folder: Path, when: str) -> dict[TableName, bytes]:
    """Return the rows of each table, as COPY writes them."""
    return {name: (folder / when / file).read_bytes() for name, file in _index(folder, when)}


def _index(folder: Path, when: str) -> Iterator[tuple[TableName, str]]:
    for text, file in json.loads((folder / when / "index.json").read_text()).items():
        schema, name = qualified(text.replace("\n", "\0").replace(" ", "\1").replace("\0", "\n").replace("\1", " ")) or ("", text)
        yield (schema or "public", name), file


def plan(log: Path, out: Path, *, schema: bool = True, without: set[TableName] | None = None, **more: Any) -> Plan:
    """Return the plan of the undo of all of a log, but for some tables."""
    selection = tuple(not_(by_table(escape(".".join(table)))) for table in sorted(without or ()))
    described = str(log.parent / "schema.sql") if schema else ""
    made = make_plan(PlanRequest("pg", (str(log),), str(out), selection=(*selection, *more.pop("selection", ())), schema=described, **more))
    assert made is not None
    return made


def omitted_tables(made: Plan, tables: set[TableName]) -> set[TableName]:
    """Return the tables, of these, of which a plan leaves something out."""
    named = {".".join(table): table for table in tables}
    found = set()
    for line in made.omitted():
        truncated = line["reason"].removeprefix("TRUNCATE of ").split(", ") if line["kind"] == "truncate" else []
        found |= {named[name] for name in (line["table"], *truncated) if name in named}
    return found
