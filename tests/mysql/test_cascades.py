"""What foreign keys may have changed without a word in the log."""

from __future__ import annotations

from pathlib import Path

import pytest

from dblog_tasks.event import Column, Omission, RowChanges, RowPair, Table
from dblog_tasks.mysql.binlog import Format
from dblog_tasks.mysql.cascades import Cascades, cascades_are_logged
from dblog_tasks.mysql.catalog import read_schema
from dblog_tasks.mysql.sql import plan_script
from dblog_tasks.planning import PlanRequest, make_plan

SCHEMA = """
USE d;
CREATE TABLE p (id INT PRIMARY KEY, code INT UNIQUE, note INT);
CREATE TABLE c (id INT PRIMARY KEY, p INT, CONSTRAINT x FOREIGN KEY `i` (p) REFERENCES p (id) ON DELETE CASCADE ON UPDATE CASCADE);
CREATE TABLE n (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES `p` (`id`) ON UPDATE RESTRICT ON DELETE SET NULL, KEY (p));
CREATE TABLE u (id INT, code INT, FOREIGN KEY (code) REFERENCES d.p (code) MATCH SIMPLE ON UPDATE CASCADE ON DELETE NO ACTION);
CREATE TABLE g (id INT, c INT, FOREIGN KEY (c) REFERENCES c (id) ON DELETE CASCADE);
CREATE TABLE h (id INT, p INT, FOREIGN KEY (p) REFERENCES c (p) ON UPDATE CASCADE ON DELETE RESTRICT);
CREATE TABLE s (id INT PRIMARY KEY, up INT, FOREIGN KEY (up) REFERENCES s (id) ON DELETE CASCADE);
CREATE TABLE r (id INT, p INT, FOREIGN KEY (p) REFERENCES p (id));
"""
P = Table("d", "p", (Column("id", "int"), Column("code", "int"), Column("note", "int")), (0,))
S = Table("d", "s", (Column("id", "int"), Column("up", "int")), (0,))
ROW = (1, 2, 3)


@pytest.mark.parametrize(
    ("table", "operation", "rows", "reached"),
    [
        (P, "delete", [(ROW, None)], {"d.c", "d.n", "d.g"}),
        (P, "insert", [(None, ROW)], set()),
        (P, "update", [(ROW, (1, 2, 4))], set()),
        (P, "update", [(ROW, (1, 2, 4)), (ROW, (5, 2, 3))], {"d.c", "d.h"}),
        (P, "update", [(ROW, (1, 9, 3))], {"d.u"}),
        (S, "delete", [((1, None), None)], {"d.s"}),
        (S, "update", [((1, None), (2, None))], set()),
    ],
)
def test_tables_a_changed_key_reaches(table: Table, operation: str, rows: list[RowPair], reached: set[str]) -> None:
    """Through any number of tables, by what the keys do when a row is deleted or the key itself changes."""
    cascades = Cascades(read_schema(SCHEMA))
    for _ in range(2):
        cascades.note((table.schema, table.name), operation, RowChanges(table, rows))

        assert reached == cascades.reached


def test_rows_that_cannot_be_read_may_have_changed_every_key() -> None:
    """What is omitted is taken for the worst."""
    cascades = Cascades(read_schema(SCHEMA))
    cascades.note(("d", "p"), "update", Omission("partial row image"))

    assert {"d.c", "d.h", "d.u"} == cascades.reached


def test_a_schema_file_without_schemas_stands_for_every_schema() -> None:
    """Names are those of the log."""
    cascades = Cascades(read_schema(SCHEMA.replace("USE d;", "").replace("d.p", "p")))
    cascades.note(("shop", "p"), "delete", RowChanges(P, [(ROW, None)]))

    assert {"shop.c", "shop.n", "shop.g"} == cascades.reached


@pytest.mark.parametrize(
    ("schema", "watches"),
    [("", False), ("CREATE TABLE t (a INT);", False), ("CREATE TABLE t (a INT REFERENCES t(a));", False), (SCHEMA, True)],
)
def test_nothing_is_watched_where_no_key_does_anything(schema: str, watches: bool) -> None:  # noqa: FBT001 - a column of the table
    """Without a schema, without keys, with keys that only refuse."""
    assert watches == bool(Cascades(read_schema(schema) if schema else None))


@pytest.mark.parametrize(
    ("version", "mariadb", "logged"),
    [("9.6.0", False, True), ("9.7.4", False, True), ("8.4.3", False, False), ("11.8.2-MariaDB", True, False)],
)
def test_which_servers_log_what_foreign_keys_change(version: str, mariadb: bool, logged: bool) -> None:  # noqa: FBT001 - columns
    """MySQL from 9.6 on."""
    assert logged == cascades_are_logged(Format(version, mariadb, 0, b"", 4))


@pytest.mark.parametrize(("log", "wanted"), [("cascades-mariadb1011.000020", ["s.ch"]), ("cascades-mysql97.000020", [])])
def test_a_plan_names_the_tables(log: str, wanted: list[str], tmp_path: Path) -> None:
    """A parent's row deleted, another's key changed: MariaDB's log has nothing of the children, MySQL's has."""
    path = Path(__file__).parents[1] / "corpus" / "found" / log
    (tmp_path / "schema.sql").write_text(
        "USE s; CREATE TABLE p(id INT PRIMARY KEY);"
        "CREATE TABLE ch(id INT PRIMARY KEY, p INT, FOREIGN KEY(p) REFERENCES p(id) ON DELETE CASCADE ON UPDATE CASCADE);"
    )
    plan = make_plan(PlanRequest("mysql", (str(path),), str(tmp_path / "plan"), schema=str(tmp_path / "schema.sql")))

    assert plan is not None
    assert wanted == plan.manifest["cascades"]
    assert "s.ch" in plan.manifest["tables"]


def test_a_key_that_took_rows_along_comes_back_with_them(tmp_path: Path) -> None:
    """MySQL logs the child's row before the parent's; the undo of the parent's brings both back, and the child's finds it done."""
    path = Path(__file__).parents[1] / "corpus" / "found" / "cascades-mysql97.000020"
    plan = make_plan(PlanRequest("mysql", (str(path),), str(tmp_path / "plan")))
    assert plan is not None
    there = "SELECT 1 FROM `s`.`ch` WHERE `id` = 1 AND `p` = 1"
    lines = b"".join(plan_script(plan.stored_segments())).decode().splitlines()

    assert [
        "UPDATE `s`.`p` SET `id` = 1 WHERE `id` = 5;",
        "SELECT IF(ROW_COUNT()=1, 1, (SELECT 1 UNION ALL SELECT 2)) INTO @dblog_ok;",
        "UPDATE `s`.`ch` SET `p` = 1 WHERE `id` = 1 AND `p` = 5;",
        f"SELECT IF(ROW_COUNT()=1 OR EXISTS({there}), 1, (SELECT 1 UNION ALL SELECT 2)) INTO @dblog_ok;",
    ] == lines[lines.index("START TRANSACTION;") + 1 : lines.index("COMMIT;")]
