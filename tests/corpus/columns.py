"""Tables that hold every column type with its edge values, as SQL, and how the exact value of each is asked for.

Law: data and pure functions; `make.py` talks to the server. A table is (schema, name, columns, rows): columns as (name, SQL type), rows as
SQL literals. Values were chosen where formats change: sign and limits of integers, whole and partial groups of nine digits, one and two
length bytes, zero dates, odd and even fractions, one and two bytes of an enum, the edges of the bitmap of NULLs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import re
from typing import Any, NamedTuple, TypeAlias

Truth: TypeAlias = tuple[tuple[str, ...], Callable[..., Any]]  # SQL expressions over {}, and what makes one value of their texts

DATABASES = ("types", "odd `db`")


class Table(NamedTuple):
    """One table of the corpus; `key` is the end of its CREATE statement, from the key on."""

    schema: str
    name: str
    columns: Sequence[tuple[str, str]]
    rows: Sequence[Sequence[str]]
    key: str = ", PRIMARY KEY (id)) ENGINE=InnoDB"


def quoted(name: str) -> str:
    """Return an identifier between backquotes."""
    return "`" + name.replace("`", "``") + "`"


def truth_of(sql_type: str) -> Truth:
    """Return how the exact value of a column of this type is asked for and written down."""
    return next(truth for pattern, truth in TRUTH.items() if re.match(pattern, sql_type))


def _same(columns: str, *values: str) -> list[list[str]]:
    """One row a value: every column gets it."""
    return [[value] * len(columns.split(",")) for value in values]


def _columns(types: str, prefix: str = "c") -> list[tuple[str, str]]:
    return [(f"{prefix}{number}", sql_type.strip()) for number, sql_type in enumerate(types.split(";"))]


def _across(columns: Sequence[tuple[str, str]], values: Mapping[str, Sequence[str]], count: int) -> list[list[str]]:
    """One row a position in the lists of values; a column takes the list of the first pattern that its type matches."""
    lists = [next(found for pattern, found in values.items() if re.match(pattern, sql_type)) for _, sql_type in columns]
    return [[found[row % len(found)] for found in lists] for row in range(count)]


def _integers() -> tuple[list[tuple[str, str]], list[list[str]]]:
    bits = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}
    columns = [(f"{name}{sign[:2].strip()}", f"{name}{sign}") for name in bits for sign in ("", " unsigned")]
    limits = [
        (-(1 << (size - 1)), (1 << (size - 1)) - 1) if not sign else (0, (1 << size) - 1) for size in bits.values() for sign in (0, 1)
    ]
    rows = [[str(low) for low, _ in limits], [str(high) for _, high in limits], ["1"] * 10, ["NULL"] * 10]
    rows.append([str(high // 2 + 1) for _, high in limits])
    return columns, rows


def _decimals() -> tuple[list[tuple[str, str]], list[list[str]]]:
    sizes = [
        (1, 0),
        (1, 1),
        (4, 2),
        (5, 2),
        (9, 0),
        (9, 9),
        (10, 0),
        (10, 2),
        (18, 9),
        (19, 10),
        (20, 5),
        (28, 1),
        (30, 30),
        (38, 10),
        (65, 0),
        (65, 30),
    ]
    columns = [(f"d{digits}_{scale}", f"decimal({digits},{scale})") for digits, scale in sizes]

    def nines(sign: str, digits: int, scale: int) -> str:
        return f"{sign}{'9' * (digits - scale) or '0'}" + (f".{'9' * scale}" if scale else "")

    most, least = [nines("", *size) for size in sizes], [nines("-", *size) for size in sizes]
    smallest = [f"0.{'0' * (scale - 1)}1" if scale else "1" for _, scale in sizes]
    return columns, [most, least, smallest, ["0"] * len(sizes), ["NULL"] * len(sizes), [f"-{text}" for text in smallest]]


def _temporals() -> tuple[list[tuple[str, str]], list[list[str]]]:
    columns = [("d", "date"), ("y", "year")]
    columns += [(f"{name}{digits}", f"{name}({digits})") for name in ("time", "datetime", "timestamp") for digits in range(7)]
    columns = [(name, f"{kind} NULL" if kind.startswith("timestamp") else kind) for name, kind in columns]
    values = {
        "date$": ["'0000-00-00'", "'1000-01-01'", "'9999-12-31'", "'2024-02-29'", "NULL", "'2024-00-00'", "'1970-01-01'"],
        "year": ["0", "1901", "2155", "2024", "NULL", "1970", "2000"],
        "time\\(": ["'00:00:00'", "'-838:59:59'", "'838:59:59'", "'-00:00:00.500001'", "NULL", "'-00:00:01.999999'", "'12:34:56.789012'"],
        "datetime": [
            "'0000-00-00'", "'1000-01-01'", "'9999-12-31 23:59:59'", "'2024-02-29 12:34:56.789012'", "NULL",
            "'2024-00-00 01:02:03.5'", "'1969-12-31 23:59:59.000001'",
        ],
        "timestamp": [
            "'0000-00-00'", "'1970-01-01 00:00:01'", "'2038-01-19 03:14:06.999999'", "'2024-02-29 12:34:56.789012'", "NULL",
            "'2000-01-01'", "'2026-10-25 01:30:00.1'",
        ],
    }  # fmt: skip
    return columns, _across(columns, values, 7)


def _texts() -> tuple[list[tuple[str, str]], list[list[str]]]:
    sets = {
        "latin1": "é", "ascii": "a", "utf8mb3": "日", "utf8mb4": "😀", "cp1251": "Ж", "koi8r": "ж", "latin2": "ž", "greek": "λ",
        "hebrew": "א", "gbk": "啊", "big5": "測", "sjis": "表", "euckr": "시",
        "ucs2": "語", "utf16": "😀", "utf16le": "😀", "utf32": "😀", "cp850": "ñ",
    }  # fmt: skip
    columns = [(f"{kind}_{name}", f"{kind}(20) CHARACTER SET {name}") for name in sets for kind in ("char", "varchar")]
    marks = [mark for mark in sets.values() for _ in range(2)]
    rows = [[f"'{mark}'" for mark in marks], [f"'x{mark}\\\\\\'\"y'" for mark in marks], ["''"] * len(marks), ["NULL"] * len(marks)]
    return columns, [*rows, ["'two  '"] * len(marks), [f"'{mark * 20}'" for mark in marks]]


def _lengths() -> tuple[list[tuple[str, str]], list[list[str]]]:
    latin, wide = "CHARACTER SET latin1", "CHARACTER SET utf8mb4"
    columns = _columns(
        f"char(1) {latin}; char(255) {latin}; char(63) {wide}; char(64) {wide}; char(255) {wide};"
        f"varchar(255) {latin}; varchar(256) {latin}; varchar(63) {wide}; varchar(64) {wide};"
        "binary(1); binary(16); binary(255); varbinary(255); varbinary(256);"
        "tinytext; text; mediumtext; longtext; tinyblob; blob; mediumblob; longblob"
    )

    rows = [[f"REPEAT('z', {length})"] * len(columns) for length in (0, 1, 63, 64, 255, 256)]  # cut to what a column takes
    odd = ["X'00FF0A0D1A275C2200'" if "binary" in kind or "blob" in kind else r"'\0\n\r\Z'" for _, kind in columns]
    return columns, [*rows, odd, ["NULL"] * len(columns)]


def _choices() -> tuple[list[tuple[str, str]], list[list[str]]]:
    def members(number: int) -> str:
        return ",".join(f"'m{member}'" for member in range(1, number + 1))

    columns = _columns(
        f"enum('a','b','c'); enum('','it''s','co\"m,ma','日本','back\\\\slash'); enum({members(255)}); enum({members(256)});"
        "enum('é','ü') CHARACTER SET latin1;" + ";".join(f"set({members(number)})" for number in (1, 8, 9, 16, 17, 24, 25, 33, 64))
    )
    last = [str(kind.count("','") + 1) if kind.startswith("enum") else f"{(1 << (kind.count(',') + 1)) - 1}" for _, kind in columns]
    top = ["2" if kind.startswith("enum") else f"{1 << kind.count(',')}" for _, kind in columns]
    return columns, [["1"] * len(columns), last, top, ["NULL"] * len(columns), ["0"] * len(columns)]  # enum 0: what an invalid value became


def _nulls() -> tuple[list[tuple[str, str]], list[list[str]]]:
    columns = [(f"n{number}", "int" if number % 2 else "varchar(9)") for number in range(70)]
    patterns = ("N" * 70, "v" * 70, "Nv" * 35, "v" * 69 + "N", "N" * 63 + "v" + "N" * 6, "NNNNNNNv" * 9)
    return columns, [["NULL" if mark == "N" else f"'{number}'" for number, mark in enumerate(pattern[:70])] for pattern in patterns]


FLOATS = _columns("float; double; float unsigned; float(7,4); double(15,5)")
FLOAT_VALUES = {
    "float unsigned": ["3.4028e38", "0", "0.1", "NULL", "1.5e-38", "16777217"],
    "float$": ["-3.40282e38", "-0e0", "0.1", "NULL", "1.17549e-38", "16777217"],
    "double$": ["-1.7976931348623157e308", "-0e0", "0.1", "NULL", "2.2250738585072014e-308", "9007199254740993"],
    "": ["-999.9999", "0", "0.1", "NULL", "0.0001", "12.5"],
}
BITS = _columns(";".join(f"bit({size})" for size in (1, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 48, 63, 64)))
BIT_SIZES = [int(kind[4:-1]) for _, kind in BITS]
BIT_ROWS = [
    [f"{(1 << size) - 1}" for size in BIT_SIZES],
    ["0"] * 14,
    ["1"] * 14,
    ["NULL"] * 14,
    [f"{1 << (size - 1)}" for size in BIT_SIZES],
]
MARIADB = _columns("uuid; inet6; inet4; varchar(500) COMPRESSED; blob COMPRESSED; json; point; geometry; int zerofill; boolean")
MARIADB_ROWS = [
    [
        "'123e4567-e89b-12d3-a456-426655440000'", "'2001:db8::ff00:42:8329'", "'192.0.2.1'", "REPEAT('ab',200)", "REPEAT(X'00FF',300)",
        """'{"a": [1, 2.50, "日本"]}'""", "POINT(1,-2.5)", "LINESTRING(POINT(0,0),POINT(1,1))", "42", "1",
    ],
    [
        "'00000000-0000-0000-0000-000000000000'", "'::'", "'0.0.0.0'", "''", "''",
        "'null'", "ST_GEOMFROMTEXT('POINT(3 4)',4326)", "POINT(0,0)", "0", "0",
    ],
    [
        "'ffffffff-ffff-ffff-ffff-ffffffffffff'", "'::ffff:192.0.2.1'", "'255.255.255.255'", "'short'", "X'00'",
        "'{}'", "POINT(0,0)", "NULL", "4294967295", "NULL",
    ],
    ["NULL"] * 10,
]  # fmt: skip
GENERATED = [
    ("a", "int"),
    ("v", "int AS (a * 2) VIRTUAL"),
    ("s", "varchar(20) AS (CONCAT('n', a)) STORED"),
    ("hidden", "int INVISIBLE"),
    ("z", "int"),
]
NO_KEY = [("a", "int NOT NULL"), ("b", "varchar(10)")]
ODD = [("select", "int"), ('we`ird "col"', "varchar(10)"), ("日本語列", "varchar(10)"), ("col with space", "int")]


def _numbered(columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[str]]) -> tuple[list[tuple[str, str]], list[list[str]]]:
    """Put a key before the columns."""
    return [("id", "int NOT NULL"), *columns], [[str(number), *row] for number, row in enumerate(rows, 1)]


TABLES = (
    Table("types", "integers", *_numbered(*_integers())),
    Table("types", "decimals", *_numbered(*_decimals())),
    Table("types", "floats", *_numbered(FLOATS, _across(FLOATS, FLOAT_VALUES, 6))),
    Table("types", "bits", *_numbered(BITS, BIT_ROWS)),
    Table("types", "temporals", *_numbered(*_temporals())),
    Table("types", "texts", *_numbered(*_texts())),
    Table("types", "lengths", *_numbered(*_lengths())),
    Table("types", "choices", *_numbered(*_choices())),
    Table("types", "nulls", *_numbered(*_nulls())),
    Table("types", "mariadb", *_numbered(MARIADB, MARIADB_ROWS)),
    Table(
        "types", "generated", *_numbered(GENERATED, [["1", "DEFAULT", "DEFAULT", "7", "9"], ["NULL", "DEFAULT", "DEFAULT", "NULL", "8"]])
    ),
    Table("types", "large", *_numbered([("b", "mediumblob")], [["REPEAT(X'F00D', 32768)"], ["X'F00D'"]])),
    Table("types", "myisam", *_numbered([("a", "varchar(10)")], [["'one'"], ["'two'"]]), ", PRIMARY KEY (id)) ENGINE=MyISAM"),
    Table("types", "no_key", NO_KEY, [["1", "'x'"], ["1", "'x'"], ["2", "NULL"]], ") ENGINE=InnoDB"),
    Table(
        "types",
        "unique_key",
        [("n", "int"), *NO_KEY],
        [["NULL", "1", "'x'"], ["2", "2", "NULL"]],
        ", UNIQUE (n), UNIQUE (a)) ENGINE=InnoDB",
    ),
    Table("types", "two_keys", [("z", "int"), *NO_KEY], [["5", "1", "'x'"], ["6", "1", "'y'"]], ", PRIMARY KEY (b, a)) ENGINE=InnoDB"),
    Table("odd `db`", "t odd`name", *_numbered(ODD, [["1", "'x'", "'é'", "5"], ["NULL", "NULL", "NULL", "NULL"]])),
)

_TEXT = "HEX({})"
_UNICODE = "HEX(CONVERT({} USING utf8mb4))"


def _text(stored: str, unicode: str) -> dict[str, str]:
    return {"s": bytes.fromhex(unicode).decode(), "hex": stored}


def _choice(unicode: str, number: str) -> dict[str, object]:
    return {"s": bytes.fromhex(unicode).decode(), "n": int(number)}


TRUTH: Mapping[str, Truth] = {
    r"(tiny|small|medium|big)?int|bit|year|boolean": (("{}+0",), int),
    r"float|double": (("CAST({} AS DOUBLE)",), lambda text: {"double": repr(float(text))}),
    r"enum|set": ((_UNICODE, "CAST({} AS UNSIGNED)"), _choice),
    r"binary|varbinary|\w*blob|point|geometry": ((_TEXT,), lambda stored: {"hex": stored}),
    r"char|varchar|\w*text|json": ((_TEXT, _UNICODE), _text),
    r"decimal|date|time|uuid|inet": (("{}",), str),
}
