"""The language of row conditions: what it accepts, what it means for each type of column, and that it agrees with a slow oracle."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
import pickle
import re
import subprocess
import sys
from typing import Any

from hypothesis import given, strategies as st
import pytest

from dblog_tasks.errors import DblogError, InvalidInput
from dblog_tasks.event import Column, Row, Table
from dblog_tasks.expression import DEPTH_MAX, LENGTH_MAX, parse

ROOT = Path(__file__).parent.parent
COLUMNS = (
    Column("id", "bigint"),
    Column("price", "decimal(30,10)"),
    Column("f", "float"),
    Column("d", "double"),
    Column("name", "varchar(20)", charset="utf8mb4"),
    Column("latin", "varchar(20)", charset="latin1"),
    Column("code", "varbinary(8)", charset="binary"),
    Column("day", "date"),
    Column("at", "datetime(6)"),
    Column("span", "time"),
    Column("state", "enum", charset="utf8mb4", labels=("new", "paid")),
    Column("flags", "set", charset="utf8mb4", labels=("a", "b", "c")),
    Column("bare", "enum"),
    Column("bits", "bit(9)"),
    Column("doc", "json"),
    Column("place", "geometry"),
    Column("odd `name`", "int"),
    Column("order", "year"),
    Column("strange", "inet6"),
)
TABLE = Table("shop", "orders", COLUMNS, (0,))
VALUES: dict[str, Any] = {column.name: None for column in COLUMNS}


def row(**values: Any) -> Row:
    """Return a row of these values and NULL elsewhere."""
    assert values.keys() <= VALUES.keys()
    return tuple((VALUES | values).values())


def holds(text: str, **values: Any) -> bool:
    """Return whether the condition holds for the insert of a row of these values."""
    return parse(text).bind(TABLE)(None, row(**values))


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ("id = 5", {"id": 5}, True),
        ("5 < id", {"id": 6}, True),
        ("id = '5'", {"id": 5}, True),
        ("id <> 5", {"id": 6}, True),
        ("id != 5", {"id": 5}, False),
        ("id = 12345678901234567890123", {"id": 12345678901234567890123}, True),
        ("id > 9007199254740992.5", {"id": 9007199254740993}, True),
        ("id = TRUE AND bits = FALSE", {"id": 1, "bits": 0}, True),
        ("id = -1", {"id": -1}, True),
        ("id = 1e2", {"id": 100}, True),
        ("id IN (1, 2.0, '3')", {"id": 2}, True),
        ("id NOT IN (1, 2)", {"id": 3}, True),
        ("id BETWEEN 1 AND 3 AND NOT id BETWEEN 5 AND 6", {"id": 3}, True),
        ("id NOT BETWEEN 1 AND 3", {"id": 4}, True),
        ("price = 0.1", {"price": "0.1000000000"}, True),
        ("price = 1234567890123456789.0000000001", {"price": "1234567890123456789.0000000002"}, False),
        ("price < -0.5", {"price": "-0.5000000001"}, True),
        ("price > id", {"price": "1.5", "id": 1}, True),
        ("f = 0.1", {"f": 0.10000000149011612}, True),
        ("d = 0.1", {"d": 0.1}, True),
        ("d = 0.1", {"d": 0.10000000149011612}, False),
        ("f < 1e40", {"f": 3.0}, True),
        ("d < 1e400", {"d": 1.7e308}, True),
        ("d < " + "9" * 400, {"d": 1.7e308}, True),
        ("d = 1 OR d <> 1", {"d": float("nan")}, False),
        ("name = 'it''s'", {"name": "it's"}, True),
        ("name = 'It''s'", {"name": "it's"}, False),
        ("name = 'a '", {"name": "a"}, False),
        ('name = "x"', {"name": "x"}, True),
        (r"name = '\0\b\t\n\r\Z\\\'\"\%\_\q'", {"name": "\0\b\t\n\r\x1a\\'\"\\%\\_q"}, True),
        ("name > 'é'", {"name": "😀"}, True),
        ("name = X'C3A9'", {"name": "é"}, True),
        ("latin = 'é'", {"latin": "é"}, True),
        ("name = 'x' OR name <> 'x'", {"name": b"\xff"}, False),
        ("name = X'FF'", {"name": b"\xff"}, True),
        ("code = 'ab' AND code = X'6162'", {"code": b"ab"}, True),
        ("code LIKE X'61FF25'", {"code": b"a\xff\x00"}, True),
        ("name LIKE 'a%b_'", {"name": "a\n%bc"}, True),
        ("name LIKE 'a'", {"name": "ab"}, False),
        ("name NOT LIKE '%b'", {"name": "abc"}, True),
        (r"name LIKE '50\%%'", {"name": "50% off"}, True),
        (r"name LIKE '50\%%'", {"name": "500"}, False),
        (r"name LIKE '%\\'", {"name": "a\\"}, True),
        ("name LIKE '" + "%a" * 30 + "'", {"name": "a" * 5000 + "b"}, False),
        ("day = '2024-02-29'", {"day": "2024-02-29"}, True),
        ("day < '2024-02-29 00:00:01'", {"day": "2024-02-29"}, True),
        ("at = '2024-01-01'", {"at": "2024-01-01 00:00:00.000000"}, True),
        ("at = '2024-01-01T10:30'", {"at": "2024-01-01 10:30:00"}, True),
        ("at >= '2024-01-01 10:30:00.5'", {"at": "2024-01-01 10:30:00.500"}, True),
        ("at > day", {"at": "2024-01-01 00:00:00.000001", "day": "2024-01-01"}, True),
        ("at = '0000-00-00'", {"at": "0000-00-00 00:00:00"}, True),
        ("span > '-10:00:00'", {"span": "-09:59:59.999999"}, True),
        ("span > '99:59:59'", {"span": "838:59:59"}, True),
        ("state = 'paid' AND state = 2 AND state IN ('new', 'paid')", {"state": 2}, True),
        ("state < 'o'", {"state": 1}, True),
        ("state = ''", {"state": 0}, True),
        ("state = 'paid' OR state <> 'paid'", {"state": 3}, False),
        ("bare = 2", {"bare": 2}, True),
        ("flags = 'a,c' AND flags = 5 AND flags LIKE '%c'", {"flags": 5}, True),
        ("flags = 'c,a'", {"flags": 5}, False),
        ("flags = ''", {"flags": 0}, True),
        ("flags = 'a' OR flags <> 'a'", {"flags": 9}, False),
        ("doc = '{\"a\": 1}'", {"doc": '{"a": 1}'}, True),
        ("doc = 'x' OR doc <> 'x'", {"doc": b"\x04\x00"}, False),
        ("place = X'00'", {"place": b"\0"}, True),
        ("`odd ``name``` = 1 AND order = 2024 AND ORDER <> 2025", {"odd `name`": 1, "order": 2024}, True),
        ("id IS NULL AND name IS NOT NULL", {"name": ""}, True),
        ("place IS NULL AND strange IS NULL", {}, True),
        ("id = NULL OR id <> NULL OR NOT id = NULL", {"id": 1}, False),
        ("id = 1 OR NOT id = 1", {"id": None}, False),
        ("id IN (1, NULL)", {"id": 1}, True),
        ("id NOT IN (1, NULL)", {"id": 2}, False),
        ("id IN (NULL)", {"id": 2}, False),
        ("name LIKE NULL OR name NOT LIKE NULL", {"name": "a"}, False),
        ("(id) = (1) and not not (id = 1)", {"id": 1}, True),
        ("id = 1 OR id = 2 AND name = 'no'", {"id": 1, "name": "yes"}, True),
        ("NOT id = 1 AND name = 'no'", {"id": 2, "name": "yes"}, False),
    ],
)
def test_meaning(text: str, values: dict[str, Any], *, expected: bool) -> None:
    """Each type of column compares as the module's table says; what is unknown does not hold, nor does its NOT."""
    assert expected is holds(text, **values)


OLD, NEW = row(id=1, name="a", place=b"1"), row(id=2, name=None, place=b"2")


@pytest.mark.parametrize(
    ("text", "insert", "update", "delete"),
    [
        ("id = 2", True, True, False),
        ("id = 1", False, True, True),
        ("id = 1 AND name IS NULL", False, False, False),
        ("NOT id = 1", True, True, False),
        ("before.id = 1", False, True, True),
        ("after.id = 2", True, True, False),
        ("NOT before.id = 2", False, True, True),
        ("before.id IS NULL OR before.id IS NOT NULL", False, True, True),
        ("after.name IS NULL", True, True, False),
        ("BEFORE.id <> After.ID", False, True, False),
        ("before.id < after.id", False, True, False),
        ("before.place <> after.place", False, True, False),
        ("id = 2 AND before.name = 'a'", False, True, False),
        ("id = 1 OR after.id = 2", True, True, True),
        ("id <> before.id", False, True, False),
    ],
)
def test_images(text: str, *, insert: bool, update: bool, delete: bool) -> None:
    """A bare column is of either row but all of one; a row that is not there makes everything said of it unknown."""
    test = parse(text).bind(TABLE)

    assert (insert, update, delete) == (test(None, NEW), test(OLD, NEW), test(OLD, None))


@pytest.mark.parametrize(
    ("text", "place", "found"),
    [
        ("", 1, "not a condition"),
        ("  ", 1, "not a condition"),
        ("id", 1, "not a condition"),
        ("1 = 1", 1, "expected a column"),
        ("id = 1 OR", 8, "something is missing"),
        ("id = 1 name", 1, "not a condition"),
        ("id = (1", 7, "something is missing"),
        ("id = 1)", 7, "something is missing"),
        ("id = sleep(9)", 6, "neither a column nor a literal"),
        ("sleep(9)", 1, "not a condition"),
        ("id = 1 + 1", 8, "'+': not allowed"),
        ("id = 5 - 3", 6, "neither a column nor a literal"),
        ("id = -name", 7, "not after '-'"),
        ("id = (SELECT 1)", 14, "something is missing"),
        ("id = 1; DROP TABLE t", 7, "not allowed"),
        ("id = 1 -- all", 7, "no comments"),
        ("id = 1 /* all */", 7, "no comments"),
        ("# all", 1, "no comments"),
        ("id <=> 1", 4, "not allowed"),
        ("id = 1 && id = 2", 8, "not allowed"),
        ("!id = 1", 1, "not allowed"),
        ("id = @x", 6, "not allowed"),
        ("id = ?", 6, "not allowed"),
        ("id = b'1'", 6, "not allowed"),
        ("name = _latin1'x'", 1, "not a condition"),
        ("name = 'a' 'b'", 8, "neither a column nor a literal"),
        ("name LIKE 'a' ESCAPE '|'", 22, "something is missing or too much"),
        ("name LIKE code", 1, "expected literals after LIKE"),
        ("name RLIKE 'a'", 12, "something is missing or too much"),
        ("id IN ()", 1, "neither a column nor a literal"),
        ("id IN (1,)", 10, "not after ','"),
        ("id IN (1, price)", 1, "expected literals after IN"),
        ("id IS TRUE", 1, "expected NULL or NOT NULL"),
        ("1 IS NULL", 1, "expected a column"),
        ("id < 2 < 3", 1, "neither a column nor a literal"),
        ("a.b.id = 1", 1, "neither a column nor a literal"),
        ("orders.id = 1", 1, "before. or after."),
        ("code = X'4'", 8, "two digits for each byte"),
        ("id = 1e999999", 6, "at most 1000 digits"),
        ("id = " + "1" * 1001, 6, "at most 1000 digits"),
        ("(" * (DEPTH_MAX + 1) + "id = 1" + ")" * (DEPTH_MAX + 1), DEPTH_MAX + 1, "levels"),
        ("NOT " * (DEPTH_MAX + 1) + "id = 1", 4 * DEPTH_MAX + 1, "levels"),
        ("NOT (" * DEPTH_MAX + "id = 1" + ")" * DEPTH_MAX, 5 * DEPTH_MAX // 2 + 1, "levels"),
    ],
)
def test_other_text_is_refused_with_its_place(text: str, place: int, found: str) -> None:
    """What the grammar lacks is refused, with the character where it starts and what is allowed."""
    with pytest.raises(InvalidInput, match=f"character {place}:.*{re.escape(found)}.*allowed: "):
        parse(text)


@pytest.mark.parametrize(("text", "found"), [("name = 'a", "quote"), ("name = 'a" + "x" * LENGTH_MAX, "at most 262144")])
def test_text_without_a_place_is_refused(text: str, found: str) -> None:
    """An open quote and a text that is too long are named."""
    with pytest.raises(InvalidInput, match=found):
        parse(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("nope = 1", r"no column 'nope' in table shop.orders \(its columns: id, price, .*, strange\)"),
        ("before.nope IS NULL", "no column 'nope'"),
        ("id = 1 OR id = 'many'", r"column id \(bigint\) of shop.orders cannot be compared: = 'many' \(expected a number\)"),
        ("id = X'01'", "expected a number"),
        ("id LIKE '1%'", "LIKE '1%'"),
        ("price = 'NaN'", "expected a number"),
        ("name = 5", "cannot be compared: = 5"),
        ("name IN ('a', 1)", "cannot be compared: IN 1"),
        ("name = TRUE", "cannot be compared: = 1"),
        ("latin = X'E9'", "expected 'text'"),
        ("code = 1", "expected X'hex'"),
        ("day = '2024'", "expected 'YYYY-MM-DD'"),
        ("day = '2024-13-01'", "expected 'YYYY-MM-DD'"),
        ("at = '2024-01-01 00:00:00+02:00'", "expected 'YYYY-MM-DD'"),
        ("at = 20240101", "expected 'YYYY-MM-DD'"),
        ("at LIKE '2024%'", "no LIKE"),
        ("span = '10'", "expected 'hh:mm:ss.ffffff'"),
        ("span = '10:60'", "expected 'hh:mm:ss.ffffff'"),
        ("bare = 'new'", "the labels are not in the log"),
        ("bare IN ('new', 1)", "the labels are not in the log"),
        ("strange = 'x'", "IS NULL, or"),
        ("before.strange < after.strange", "IS NULL, or"),
        ("name = id", r"= id \(bigint\)"),
        ("d = id", r"= id \(bigint\)"),
    ],
)
def test_senseless_comparison_is_refused_for_the_table(text: str, found: str) -> None:
    """A column the table lacks and a comparison its type has no sense for are refused before any row is seen."""
    expression = parse(text)

    with pytest.raises(InvalidInput, match=found):
        expression.bind(TABLE)


def test_columns_that_differ_by_case_are_told_apart() -> None:
    """A name is taken exactly; in another case only where one column has it."""
    table = Table("s", "t", (Column("a", "int"), Column("A", "int"), Column("B", "int")))

    assert parse("a = 1 AND A = 2 AND b = 3").bind(table)(None, (1, 2, 3))
    with pytest.raises(InvalidInput, match="no column 'ä'"):
        parse("ä = 1").bind(table)
    with pytest.raises(InvalidInput, match="no column 'Aa'"):
        parse("Aa = 1").bind(Table("s", "t", (Column("AA", "int"), Column("aa", "int"))))


def test_expression_is_a_value() -> None:
    """Equal texts make equal expressions, which survive a process border and keep their text."""
    expression = parse("id = 1 AND name LIKE 'a%'")

    assert expression == parse("id = 1 AND name LIKE 'a%'")
    assert expression == pickle.loads(pickle.dumps(expression))  # noqa: S301 - our own
    assert "id = 1 AND name LIKE 'a%'" == expression.text


def test_long_conditions_are_read() -> None:
    """Thousands of ids and of ORs are no deep nesting."""
    assert holds(f"id IN ({', '.join(map(str, range(5000)))})", id=4999)
    assert holds(" OR ".join(f"id = {number}" for number in range(1000)), id=999)


def test_reader_is_imported_when_first_needed() -> None:
    """A run without a condition does not pay for the SQL reader."""
    program = "import sys, dblog_tasks.expression as e; print('sqlglot' in sys.modules); e.parse('a = 1'); print('sqlglot' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=ROOT)

    assert ["False", "True"] == done.stdout.split()


# The oracle: a condition is a tree, its text is written from the tree, its value is found by walking the tree for each row.
Tree = tuple[Any, ...]
Truth = bool | None
FIELDS: dict[str, tuple[Any, Any, Any]] = {
    "id": (st.integers(-3, 3), int, str),
    "price": (st.sampled_from(["-1.50", "0.00", "0.10", "2.00"]), Decimal, str),
    "name": (st.text("aB%_'\\", max_size=3), str, lambda value: "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"),
    "code": (st.binary(max_size=2), bytes, lambda value: f"X'{value.hex()}'"),
    "at": (
        st.sampled_from(["2024-01-01", "2024-01-01 00:00:00", "2024-06-30 12:00:00.5"]),
        lambda value: value.ljust(26, "~"),
        "'{}'".format,
    ),
    "state": (st.sampled_from(["new", "paid", "lost"]), str, "'{}'".format),
}
LOGGED: dict[str, Any] = {
    "state": lambda value: {"new": 1, "paid": 2}.get(value, 9),
    "at": lambda value: value + "0000-00-00 00:00:00.000000"[len(value) :],
}
COMPARE: dict[str, Any] = {
    "=": lambda left, right: left == right,
    "<>": lambda left, right: left != right,
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
}


def comparable(name: str, value: Any) -> Any:
    """Return a literal's or row's value of a field as the oracle compares it; None: unknown."""
    if value is None or (name == "state" and value == "lost"):
        return None
    return FIELDS[name][1](LOGGED["at"](value) if name == "at" else value)


@st.composite
def leaves(draw: st.DrawFn) -> Tree:
    """Draw a comparison."""
    name = draw(st.sampled_from(sorted(FIELDS)))
    image = draw(st.sampled_from(["", "before.", "after."]))
    literal = st.none() | FIELDS[name][0]
    kind = draw(st.sampled_from(["compare", "in", "null", "between", "other", *["like"] * (name == "name")]))
    if kind == "compare":
        return kind, image, name, draw(st.sampled_from(sorted(COMPARE))), draw(literal)
    if kind == "in":
        return kind, image, name, draw(st.lists(literal, min_size=1, max_size=3))
    if kind == "other":
        return kind, image, name, draw(st.sampled_from(sorted(COMPARE))), draw(st.sampled_from(["", "before.", "after."]))
    return (kind, image, name, *[draw(literal) for _ in range({"null": 0, "between": 2, "like": 1}[kind])])


TREES = st.recursive(
    leaves(), lambda inner: st.tuples(st.just("NOT"), inner) | st.tuples(st.sampled_from(["AND", "OR"]), inner, inner), max_leaves=6
)


def literal(name: str, value: Any) -> str:
    """Return a field's value as a condition has it."""
    return "NULL" if value is None else str(FIELDS[name][2](value))


WRITTEN: dict[str, Callable[..., str]] = {
    "compare": lambda name, operator, value: f"{operator} {literal(name, value)}",
    "in": lambda name, values: f"IN ({', '.join(literal(name, value) for value in values)})",
    "null": lambda _: "IS NULL",
    "between": lambda name, low, high: f"BETWEEN {literal(name, low)} AND {literal(name, high)}",
    "like": lambda name, pattern: f"LIKE {literal(name, pattern)}",
    "other": lambda name, operator, image: f"{operator} {image}{name}",
}


def written(tree: Tree) -> str:
    """Return the tree as text."""
    if tree[0] == "NOT":
        return f"NOT ({written(tree[1])})"
    if tree[0] in ("AND", "OR"):
        return f"({written(tree[1])}) {tree[0]} ({written(tree[2])})"
    kind, image, name, *rest = tree
    return f"{image}{name} {WRITTEN[kind](name, *rest)}"


def both(left: Truth, right: Truth) -> Truth:
    """AND of three values."""
    return False if left is False or right is False else None if left is None or right is None else True


def opposite(value: Truth) -> Truth:
    """NOT of three values."""
    return None if value is None else not value


def truth(tree: Tree, images: dict[str, dict[str, Any] | None]) -> Truth:
    """Return whether the tree holds for the images, None for unknown."""
    if tree[0] == "NOT":
        return opposite(truth(tree[1], images))
    if tree[0] == "AND":
        return both(truth(tree[1], images), truth(tree[2], images))
    if tree[0] == "OR":
        return opposite(both(opposite(truth(tree[1], images)), opposite(truth(tree[2], images))))
    kind, image, name, *rest = tree
    source = images[image]
    if source is None:
        return None
    if kind == "null":
        return source[name] is None
    value = comparable(name, source[name])
    if kind == "in":
        found = [compared("=", value, comparable(name, literal) if literal != "lost" else literal) for literal in rest[0]]
        return True if True in found else None if None in found else False
    if kind == "between":
        return both(compared(">=", value, text_of(name, rest[0])), compared("<=", value, text_of(name, rest[1])))
    if kind == "like":
        return None if value is None or rest[0] is None else like(value, rest[0])
    if kind == "other":
        return other(rest[0], source, images[rest[1]], name)
    return compared(rest[0], value, text_of(name, rest[1]))


def other(operator: str, source: dict[str, Any], target: dict[str, Any] | None, name: str) -> Truth:
    """Compare the same column of two images: as stored for = and <>, in its order otherwise."""
    if target is None:
        return None
    if operator in ("=", "<>"):
        return compared(operator, source[name], target[name])
    return compared(operator, comparable(name, source[name]), comparable(name, target[name]))


def text_of(name: str, literal: Any) -> Any:
    """Return a literal as the oracle compares it: a label no row can have is still text."""
    return literal if name == "state" else comparable(name, literal)


def compared(operator: str, left: Any, right: Any) -> Truth:
    """Compare two values, one of which may be unknown."""
    return None if left is None or right is None else COMPARE[operator](left, right)


def like(value: str, pattern: str) -> bool:
    """Match a LIKE pattern by trying everything."""
    if not pattern:
        return not value
    if pattern[0] == "%":
        return any(like(value[start:], pattern[1:]) for start in range(len(value) + 1))
    step = 2 if pattern[0] == "\\" and len(pattern) > 1 else 1
    wanted = pattern[step - 1]
    return bool(value) and (value[0] == wanted or (step == 1 and wanted == "_")) and like(value[1:], pattern[step:])


RECORDS = st.none() | st.fixed_dictionaries({name: st.none() | values for name, (values, _, _) in FIELDS.items()})


def logged(record: dict[str, Any] | None) -> Row | None:
    """Return the row the log holds of a record."""
    if record is None:
        return None
    return row(**{name: value if value is None else LOGGED.get(name, lambda same: same)(value) for name, value in record.items()})


@given(TREES, RECORDS, RECORDS)
def test_compiled_conditions_agree_with_the_oracle(tree: Tree, before: dict[str, Any] | None, after: dict[str, Any] | None) -> None:
    """A generated condition holds for a change exactly when the oracle says so for one of its two rows."""
    images = {"before.": before, "after.": after}
    expected = any(truth(tree, images | {"": image}) is True for image in (before, after) if image is not None)

    assert expected is parse(written(tree)).bind(TABLE)(logged(before), logged(after))


@given(TREES, TREES, RECORDS, RECORDS)
def test_laws_of_logic(left: Tree, right: Tree, before: dict[str, Any] | None, after: dict[str, Any] | None) -> None:
    """NOT NOT x is x, and NOT (x AND y) is NOT x OR NOT y, for every change."""
    pairs = [
        (("NOT", ("NOT", left)), left),
        (("NOT", ("AND", left, right)), ("OR", ("NOT", left), ("NOT", right))),
        (("NOT", ("OR", left, right)), ("AND", ("NOT", left), ("NOT", right))),
    ]
    answers = [[parse(written(tree)).bind(TABLE)(logged(before), logged(after)) for tree in pair] for pair in pairs]

    assert all(one is two for one, two in answers)


SCRAPS = "id;name;before.;after.;=;<>;<;(;);,;AND;OR;NOT;IN;LIKE;IS;NULL;BETWEEN;1;-1;'x';X'41';`;';\";*;.;-;SELECT;CASE;--;/*"


@given(st.text(max_size=60) | st.lists(st.sampled_from(re.findall("[^;]+", SCRAPS)), max_size=12).map(" ".join))
def test_any_text_is_a_condition_or_refused(text: str) -> None:
    """Text of any kind is parsed and bound, or refused with a declared error."""
    with suppress(DblogError):
        assert parse(text).bind(TABLE)(OLD, NEW) in (True, False)
