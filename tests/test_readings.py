"""Values of PostgreSQL's columns, text as the log shows it, are compared by what they mean; `test_expression` has MySQL's."""

from __future__ import annotations

import itertools

import pytest

from dblog_tasks.errors import InvalidInput
from dblog_tasks.event import Column, Table
from dblog_tasks.expression import parse

TYPES = {
    "small": "smallint",
    "whole": "integer",
    "big": "bigint",
    "price": "numeric",
    "r": "real",
    "d": "double precision",
    "flag": "boolean",
    "name": "character varying",
    "note": "text",
    "code": "character",
    "day": "date",
    "at": "timestamp without time zone",
    "zoned": "timestamp with time zone",
    "hour": "time without time zone",
    "id": "uuid",
    "b": "bit",
    "bits": "bit varying",
    "doc": "jsonb",
    "list": "integer[]",
    "raw": "bytea",
    "span": "interval",
}
TABLE = Table("public", "t", tuple(Column(name, kind, auto_update=False) for name, kind in TYPES.items()))
UUID = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
# Values of each type, the smallest first.
SORTED = {
    "whole": ["-2147483648", "-9", "-1", "0", "9", "10"],
    "price": ["-Infinity", "-1.51", "-1.5", "0.00", "1.50", "1.5000000000000000000000001", "9", "10", "1" + "0" * 2000, "Infinity", "NaN"],
    "r": ["-Infinity", "-1e+20", "0.1", "0.25", "1e+20", "Infinity", "NaN"],
    "d": ["-Infinity", "-1e+200", "0.1", "0.10000000000000002", "1e+200", "Infinity", "NaN"],
    "flag": ["f", "t"],
    "day": ["-infinity", "0045-03-15 BC", "0044-01-01 BC", "0044-03-15 BC", "0001-01-01", "2024-02-29", "9999-12-31", "10000-01-01",
            "294276-12-31", "infinity"],
    "at": ["-infinity", "0044-03-15 10:00:00 BC", "2024-01-01 00:00:00", "2024-01-01 00:00:00.5", "2024-01-01 00:00:00.51",
           "10000-01-01 00:00:00", "infinity"],
    "zoned": ["-infinity", "4713-01-01 00:00:00+00 BC", "0001-12-31 23:00:00+00 BC", "0001-01-01 00:00:00+00", "2024-01-01 12:00:00+02",
              "2024-01-01 10:30:00+00", "2024-01-01 12:00:00.5+01:15", "2024-01-01 10:00:00-05", "294276-12-31 23:59:59.999999+00",
              "infinity"],
    "hour": ["00:00:00", "09:59:59.9", "10:00:00", "24:00:00"],
    "bits": ["", "0", "01", "010", "1", "10"],
}  # fmt: skip


def holds(text: str, **values: str | None) -> bool:
    """Return whether the condition holds for the insert of a row of these values."""
    assert values.keys() <= TYPES.keys()
    return parse(text).bind(TABLE)(None, tuple(values.get(name) for name in TYPES))


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ("small = 5 AND whole = '5' AND big IN (5, 6)", {"small": "5", "whole": "5", "big": "5"}, True),
        ("whole > 9", {"whole": "10"}, True),
        ("whole < big", {"whole": "9", "big": "10"}, True),
        ("price > whole", {"price": "9.01", "whole": "9"}, True),
        ("price = 1.5", {"price": "1.50"}, True),
        ("price IN (1, 1.5, 'NaN')", {"price": "1.500"}, True),
        ("price IN (1, 1.5, 'NaN')", {"price": "NaN"}, True),
        ("price > 1e300", {"price": "NaN"}, True),
        ("price = 'infinity' AND price > 5 AND price < 'NaN'", {"price": "Infinity"}, True),
        ("price = '-Infinity' OR price > -5", {"price": "-Infinity"}, True),
        ("r = 0.1", {"r": "0.1"}, True),
        ("d = 0.1", {"d": "0.1"}, True),
        ("d = 'NaN'", {"d": "NaN"}, True),
        ("d < 1e400", {"d": "1e+308"}, True),
        ("flag = TRUE", {"flag": "t"}, True),
        ("flag = TRUE AND flag = 'yes' AND flag <> FALSE", {"flag": "true"}, True),
        ("flag = FALSE AND NOT flag = 'T'", {"flag": "f"}, True),
        ("flag = TRUE OR flag = FALSE", {"flag": None}, False),
        ("name = 'paid' AND note LIKE 'p%'", {"name": "paid", "note": "p"}, True),
        ("name = 'Paid'", {"name": "paid"}, False),
        ("code = 'ab' AND code = 'ab  ' AND code = name", {"code": "ab   ", "name": "ab"}, True),
        ("day = '2024-02-29' AND day < '2024-02-29 00:00:01'", {"day": "2024-02-29"}, True),
        ("day > '9999-12-31'", {"day": "10000-01-01"}, True),
        ("day < '0001-01-01'", {"day": "0001-12-31 BC"}, True),
        ("day = 'infinity'", {"day": "infinity"}, True),
        ("at = '2024-01-01 10:30' AND at > day", {"at": "2024-01-01 10:30:00", "day": "2024-01-01"}, True),
        ("at >= '2024-01-01 10:30:00.5'", {"at": "2024-01-01 10:30:00.5"}, True),
        ("zoned = '2024-01-01 10:00'", {"zoned": "2024-01-01 12:00:00+02"}, True),
        ("zoned = '2024-01-01T10:00:00Z'", {"zoned": "2024-01-01 15:30:00+05:30"}, True),
        ("zoned < '2024-01-01 12:00:00+01:00'", {"zoned": "2024-01-01 12:00:00+02"}, True),
        ("zoned = '2024-01-01'", {"zoned": "2023-12-31 19:00:00-05"}, True),
        ("hour > '09:30'", {"hour": "10:00:00"}, True),
        (f"id = '{UUID.upper()}' AND id = '{{{UUID}}}' AND id = '{UUID.replace('-', '')}'", {"id": UUID}, True),
        ("b = '1' AND bits > '01'", {"b": "1", "bits": "011"}, True),
        ("before.doc <> after.doc", {"doc": "{}"}, False),
        ("doc IS NOT NULL AND list IS NULL", {"doc": "{}"}, True),
    ],
)
def test_meaning(text: str, values: dict[str, str | None], *, expected: bool) -> None:
    """Each type compares as the module's table says."""
    assert expected is holds(text, **values)


@pytest.mark.parametrize("name", SORTED)
def test_values_sort_as_on_the_server(name: str) -> None:
    """Of two values, the one the server sorts first is less; each is equal to itself."""
    test = {operator: parse(f"before.{name} {operator} after.{name}").bind(TABLE) for operator in ("<", "<=", ">", ">=")}
    for (one, left), (two, right) in itertools.product(enumerate(SORTED[name]), repeat=2):
        rows = [tuple(value if column == name else None for column in TYPES) for value in (left, right)]
        expected = {"<": one < two, "<=": one <= two, ">": one > two, ">=": one >= two}
        assert expected == {operator: holding(*rows) for operator, holding in test.items()}, (left, right)


@pytest.mark.parametrize("name", [name for name in TYPES if name not in ("name", "note", "code", "doc", "list", "raw", "span")])
def test_a_value_that_is_none_of_its_type_is_unknown(name: str) -> None:
    """What cannot be read as the type says is neither less nor equal nor greater."""
    other = {"day": "infinity", "at": "infinity", "zoned": "infinity", "hour": "10:00", "id": UUID, "b": "1", "bits": "1"}.get(name, "1")

    assert not holds(f"{name} <= '{other}' OR {name} > '{other}'", **{name: "(none)"})


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("whole = 'many'", r"column whole \(integer\) of public.t cannot be compared: = 'many' \(expected a number\)"),
        ("whole LIKE '1%'", "LIKE '1%'"),
        ("price = X'01'", "expected a number"),
        ("bits LIKE '01%'", "LIKE '01%'"),
        ("flag = 2", "expected TRUE or FALSE"),
        ("flag = 'perhaps'", "expected TRUE or FALSE"),
        ("name = 5", "expected 'text'"),
        ("name = X'61'", "expected 'text'"),
        ("day = '2024'", "expected 'YYYY-MM-DD'"),
        ("at = '2024-01-01 10:00:00+02'", "expected 'YYYY-MM-DD'"),
        ("zoned = '2024-13-01'", "expected 'YYYY-MM-DD"),
        ("zoned = '2024-02-30 10:00'", "expected 'YYYY-MM-DD"),
        ("zoned = at", r"= at \(timestamp without time zone\)"),
        ("id = 'a0eebc99'", "expected a uuid"),
        ("b = 1", "expected bits"),
        ("bits = '012'", "expected bits"),
        ("flag = whole", r"= whole \(integer\)"),
        ("doc = '{}'", "expected IS NULL, or"),
        ("list = '{1}'", "expected IS NULL, or"),
        ("raw = X'00'", "expected IS NULL, or"),
        ("span > '1 day'", "expected IS NULL, or"),
    ],
)
def test_what_cannot_be_compared_is_refused(text: str, found: str) -> None:
    """A comparison the type has no sense for is refused before any row is seen."""
    with pytest.raises(InvalidInput, match=found):
        parse(text).bind(TABLE)
