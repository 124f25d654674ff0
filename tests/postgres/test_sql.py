"""The undo as a script for psql; that it runs is in tests/live."""

from __future__ import annotations

import pytest

from dblog_tasks.errors import MalformedPlan
from dblog_tasks.event import Column, Row, RowChanges, Table
from dblog_tasks.postgres.sql import Statements, TransactionInfo, literal, omission, undo_script

TABLE = Table("s", 'odd "t"', (Column("id", "integer"), Column("v", "json"), Column("twice", "integer", generated=True)), (0,))
CHECK = " RETURNING 1)\nSELECT FROM done HAVING 1 / (count(*) = 1)::int = 0;\n"
NAME = '"s"."odd ""t"""'

ONE = 'WHERE "id" = \'1\' AND "v" IS NULL LIMIT 1'


@pytest.mark.parametrize(
    ("now", "then", "expected"),
    [
        (("1", '{"a": 1}', "2"), None, f'DELETE FROM {NAME} WHERE "id" = \'1\' AND "v"::text = \'{{"a": 1}}\''),
        (None, ("1", None, "2"), f'INSERT INTO {NAME} ("id", "v") OVERRIDING SYSTEM VALUE VALUES (\'1\', NULL)'),
        (("1", "{}", "2"), ("1", None, "2"), f'UPDATE {NAME} SET "v" = NULL WHERE "id" = \'1\' AND "v"::text = \'{{}}\''),
        (
            ("1", None, "2"),
            ("2", None, "4"),
            f"UPDATE {NAME} SET \"id\" = '2' WHERE (tableoid, ctid) = (SELECT tableoid, ctid FROM {NAME} {ONE})",
        ),
    ],
)
def test_a_statement_is_guarded_and_checked(now: Row | None, then: Row | None, expected: str) -> None:
    """Key by =, the rest by text; what the database computes is not written."""
    assert f"WITH done AS ({expected}{CHECK}" == Statements(TABLE).statement(now, then)


def test_an_update_that_changes_nothing_is_a_comment() -> None:
    """One line, whatever the name of the table has in it."""
    statement = Statements(Table("s", "a\nb", (Column("id", "integer"),), (0,))).update(("1",), ("1",))
    assert statement.startswith("--")
    assert 1 == statement.count("\n")


@pytest.mark.parametrize(
    ("kind", "guard"),
    [
        ("text", '"c"::text COLLATE "C" = \'x\''),
        ("character", '"c"::text COLLATE "C" = \'x\'::bpchar::text'),
        ("timestamp with time zone", "\"c\"::text = 'x'::timestamp with time zone::text"),
        ("numeric", "\"c\"::text = 'x'"),
        ("bytea", "\"c\"::text = 'x'::bytea::text"),
        ("public.mood", '"c"::text COLLATE "C" = \'x\''),
    ],
)
def test_each_type_is_compared_by_its_text(kind: str, guard: str) -> None:
    """Read in first where it prints differently in another session, or casts to other text than it prints."""
    assert guard in Statements(Table("s", "t", (Column("c", kind),))).delete(("x",))


def test_null_of_a_composite_is_not_a_row_of_nulls() -> None:
    """IS NULL is true of both, but of the text of one."""
    assert '"c"::text IS NULL' in Statements(Table("s", "t", (Column("c", "public.pair"),))).delete((None,))


def test_rows_to_insert_are_put_together() -> None:
    """Those of one table that follow one another in one transaction; each transaction is one of the script."""
    inserts = [(TransactionInfo("2"), RowChanges(TABLE, [(None, (str(number), None, None))])) for number in range(3)]
    script = "".join(
        undo_script([*inserts, (TransactionInfo("1", "a\nb"), RowChanges(TABLE, [(("9", None, None), None)]))], header=["x\ny"])
    )

    assert (1, 1, 2) == (script.count("INSERT INTO"), script.count("count(*) = 3"), script.count("COMMIT;\n"))
    assert "\n-- x y\n" in script
    assert "\n-- Transaction 1 a b\n" in script
    assert script.index("ON_ERROR_STOP") < script.index("BEGIN")


@pytest.mark.parametrize("value", ["", "'", "\\", "\n", "'; DROP TABLE t; --", ":x", "é"])
def test_a_literal_holds_any_text(value: str) -> None:
    """With standard_conforming_strings only the quote is doubled."""
    assert value == literal(value)[1:-1].replace("''", "'")


@pytest.mark.parametrize("value", ["\0", "\ud800", 1, 1.5, b"x"])
def test_what_is_no_text_is_refused(value: object) -> None:
    """A plan of another driver, or a damaged one."""
    for table in (TABLE, Table("s", "t", TABLE.columns)):
        with pytest.raises(MalformedPlan):
            Statements(table).statement(None, ("1", value, None))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "table",
    [
        Table("s", "", TABLE.columns),
        Table("s", "a\0", TABLE.columns),
        Table("s", "t", (Column("", "text"),)),
        Table("s", "t", (Column("a", "text"), Column("a", "text"))),
        Table("s", "t", ()),
        Table("s", "t", (Column("a", "text", generated=True),)),
    ],
)
def test_tables_sql_cannot_name(table: Table) -> None:
    """Are refused with the reason."""
    assert omission(table) is not None
    with pytest.raises(MalformedPlan):
        Statements(table)
