"""Replay of every column type of the corpus: the guard knows the rows the log left, and every change of one unit in any column."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
import re
from typing import Any, NamedTuple

import pytest

from dblog_tasks.cli import run
from dblog_tasks.plan import Plan, read_plan
from dblog_tasks.replay import ReplayReport, ReplayRequest, replay
from dblog_tasks.verify import verify
from tests.corpus.columns import DATABASES, TABLES, Table, quoted
from tests.corpus.make import PHASES
from tests.live.servers import MariaDB

ACCEPTED = ("engine: types.myisam", "no key: types.no_key")
# How a value is changed as little as its type allows, {} being the column.
ONE_UNIT: Mapping[str, str] = {
    r"(tiny|small|medium|big)?int|boolean": "IF({0} IS NULL, 1, IF({0} > 0, {0} - 1, {0} + 1))",
    r"year": "IF({0} <=> 2000, 2001, 2000)",
    r"bit": "IF({0} IS NULL, 1, {0} ^ 1)",
    r"enum|set": "IF({0} <=> 1, 2, 1)",
    r"decimal": "IF({0} IS NULL, 0, IF({0} > 0, {0} - {unit}, {0} + {unit}))",
    r"float unsigned": "IF(IFNULL({0}, 0) = 0, 1e-30, {0} * 0.9999999e0)",
    r"float\(|double\(": "IF({0} IS NULL, 0, IF({0} > 0, {0} - {unit}, {0} + {unit}))",
    r"float": "IF(IFNULL({0}, 0) = 0, 1e-30, {0} * 0.9999999e0)",
    r"double": "IF(IFNULL({0}, 0) = 0, 1e-300, {0} * 0.999999999999999e0)",
    r"date\b": "IF({0} <=> '2000-01-01', '2000-01-02', '2000-01-01')",
    r"time\(": "IF(IFNULL({0}, 0) = 0, '00:00:01', '00:00:00')",
    r"datetime|timestamp": "IF({0} <=> '2000-01-01 00:00:00', '2000-01-01 00:00:01', '2000-01-01 00:00:00')",
    r"uuid": "IF({0} <=> '00000000-0000-0000-0000-00000000000a', '00000000-0000-0000-0000-00000000000b', CONCAT(REPEAT('0', 31), 'a'))",
    r"inet6": "IF({0} <=> '::', '::1', '::')",
    r"inet4": "IF({0} <=> '0.0.0.0', '0.0.0.1', '0.0.0.0')",
    r"json": "IF({0} <=> '{{}}', '[]', '{{}}')",
    r"point|geometry": "IF({0} <=> POINT(7,7), POINT(7,8), POINT(7,7))",
    r"binary|varbinary|\w*blob": "IF(IFNULL({0}, '') = '', X'01', CONCAT(CHAR(ASCII({0}) ^ 1), SUBSTR({0}, 2)))",
    r"char|varchar|\w*text": "IF(IFNULL({0}, '') = '', 'a', CONCAT(IF(LEFT({0}, 1) = 'a', 'A', 'a'), SUBSTR({0}, 2)))",
}


class Corpus(NamedTuple):
    """A server that went through all phases, and the place in its log and the rows after each."""

    server: MariaDB
    places: Sequence[str]
    states: Sequence[Sequence[str]]
    schema: Path

    def here(self) -> str:
        """Return the end of the log as a position."""
        return ":".join(self.server.sql("SHOW MASTER STATUS").split("\t")[:2])

    def plan(self, number: int, folder: Path) -> Plan:
        """Plan the undo of one phase."""
        out, logs = str(folder / f"phase{number}"), str(self.server.datadir / "binlog.0*")
        bounds = ["--start", self.places[number - 1], "--stop", self.places[number]]
        assert run(["plan", logs, "--driver", "mysql", "--out", out, *bounds, "--schema", str(self.schema)]) in (0, 3)
        return read_plan(out, {})

    def replay(self, plan: Plan, **more: Any) -> ReplayReport:
        """Replay a plan."""
        dsn = f"mysql://root@localhost/types?unix_socket={self.server.socket}"
        acknowledged = (*ACCEPTED, "hard conflicts")
        return replay(ReplayRequest(plan.url, dsn, approve=plan.id, acknowledge=acknowledged, **more))

    def dumps(self) -> list[str]:
        """Return the rows of the corpus' databases."""
        return [
            "".join(line for line in self.server.dump(name).splitlines(keepends=True) if "`dblog_replay`" not in line) for name in DATABASES
        ]


@pytest.fixture(scope="module", params=["full", "compressed, no names"])
def corpus(request: pytest.FixtureRequest, start_mariadb: Callable[..., MariaDB], tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """All phases, on a server that logs names and on one that does not."""
    options = () if request.param == "full" else ("--binlog-row-metadata=NO_LOG", "--log-bin-compress=ON", "--log-bin-compress-min-len=10")
    server = start_mariadb("--sql-mode=", *options)
    places, states = [], []
    for phase in PHASES.values():
        server.sql("SET timestamp=1790000000;\n" + ";\n".join(phase()) + ";\n")
        places.append(":".join(server.sql("SHOW MASTER STATUS").split("\t")[:2]))
        states.append([server.dump(name) for name in DATABASES])
    schema = tmp_path_factory.mktemp("corpus") / "schema.sql"
    schema.write_text(server.schema_sql(*DATABASES))
    return Corpus(server, places, states, schema)


def test_every_type_goes_back_and_forth(corpus: Corpus, tmp_path: Path) -> None:
    """Each phase is undone to the rows of the one before, verified, and the undo is undone again."""
    for number in (3, 2, 1):
        plan = corpus.plan(number, tmp_path)
        assert set(corpus.replay(plan, dry_run=True).rows) == {"applies"}, number
        report = corpus.replay(plan)
        assert (("done", {"applies"}), []) == ((report.outcome, set(report.rows)), list(report.conflicts)), number
        assert corpus.states[number - 1] == corpus.dumps(), number
        found = verify(plan.url, f"mysql://root@localhost/types?unix_socket={corpus.server.socket}")
        assert found.clean, found.differences[:3]

        inverse = read_plan(report.inverse, {})
        assert "done" == corpus.replay(inverse).outcome, number
        assert corpus.states[number] == corpus.dumps(), number
        assert "done" == corpus.replay(plan).outcome, number
    for number in (1, 2, 3):
        inverse = read_plan(next(str(folder) for folder in sorted(tmp_path.glob(f"inverse-*-of-phase{number}"), key=_made)[-1:]), {})
        assert "done" == corpus.replay(inverse).outcome, number
    assert corpus.states[3] == corpus.dumps()


def _made(folder: Path) -> float:
    return (folder / "manifest.json").stat().st_mtime_ns


def changed_by_one(table: Table, name: str, sql_type: str) -> str:
    """Return the assignment that changes a column of a row by one unit."""
    form = next(form for pattern, form in ONE_UNIT.items() if re.match(pattern, sql_type))
    scale = re.search(r",(\d+)\)", sql_type)
    unit = (
        f"1e-{scale[1]}"
        if scale and not sql_type.startswith("decimal")
        else f"0.{'0' * (int(scale[1]) - 1)}1"
        if scale and scale[1] != "0"
        else "1"
    )
    return f"{quoted(name)} = {form.format(quoted(name), unit=unit)}"


TOUCHED = [table for table in TABLES if table.columns[0][0] == "id" and table.name not in ("large", "myisam")]


@pytest.mark.parametrize("table", TOUCHED, ids=lambda table: table.name)
def test_a_change_of_one_unit_in_any_column_is_a_conflict(table: Table, corpus: Corpus, tmp_path: Path) -> None:
    """Rows are as the log left them until another session changes each column by one unit: then each column is named."""
    server, place = corpus.server, f"{quoted(table.schema)}.{quoted(table.name)}"
    columns = [column for column in table.columns[1:] if " AS (" not in column[1]]
    names = ", ".join(quoted(name) for name, _ in columns)
    start = corpus.here()
    server.sql(f"SET sql_mode=''; INSERT INTO {place} (id, {names}) SELECT id + 1000, {names} FROM {place} WHERE id < 1000")
    try:
        plan = Corpus(server, [start, corpus.here()], (), corpus.schema).plan(1, tmp_path)
        count = plan.ledger.rows_undone
        assert {"applies": count} == corpus.replay(plan, dry_run=True).rows
        changes = ", ".join(changed_by_one(table, *column) for column in columns)
        server.sql(f"SET sql_mode=''; UPDATE {place} SET {changes} WHERE id > 1000")
        found = corpus.replay(plan, dry_run=True).conflicts

        assert [{name for name, _ in columns}] * count == [set(conflict["columns"]) for conflict in found]
    finally:
        server.sql(f"DELETE FROM {place} WHERE id > 1000")
