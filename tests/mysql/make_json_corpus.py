"""Makes json_corpus.jsonl: binary JSON from a real MySQL's log beside the text the same server prints.

    python tests/mysql/make_json_corpus.py HOST PORT USER [PASSWORD]

Each line holds `hex` (the column's bytes in a WRITE_ROWS event), `text` (`CAST(j AS CHAR)`) and `same`: whether the server, given
the text, makes an equal document that prints the same. Also checks on the server that `json_expression` builds every document
again. Needs a MySQL 8.0.4 or later with a binary log in row format; makes and drops the schema `json_corpus`.
"""

from __future__ import annotations

from collections.abc import Iterator
import json
from pathlib import Path
import random
import struct
import sys
from typing import Any

import pymysql
from pymysql.cursors import Cursor

from dblog_tasks.mysql.json_binary import json_expression

CORPUS = Path(__file__).with_name("json_corpus.jsonl")
BINLOG_DUMP, NO_WAIT, WRITE_ROWS = 0x12, 1, 30
MODE = "ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"

TEXTS = (
    *("null", "true", "false", "[]", "{}", '""', "[[]]", "[{}]", '{"": {}}', "[null, true, false]"),
    *(str(sign * 2**bits + step) for bits in (0, 7, 8, 15, 16, 31, 32, 53, 63) for sign in (1, -1) for step in (-1, 0, 1)),
    *("18446744073709551615", "18446744073709551616", "-9223372036854775809", "[32767, -32768, 65535, 65536, 2147483648]"),
    *("0.0", "-0.0", "1.0", "-1.5", "0.1", "1e100", "1e-7", "1.5e-14", "1e-15", "9.99e-16", "1e14", "999999999999999.9", "1e15"),
    *("1234567890123456.5", "1e16", "1.7976931348623157e308", "2.2250738585072014e-308", "5e-324", "123456789.123456789"),
    json.dumps('"\\/\b\f\n\r\t\x00\x1f\x7f\u2028é日本😀'),
    json.dumps(
        {"é": "ключ", "😀": ["日本", "\U0010ffff"], 'a"q\\': 1, "": 2, " ": 3, "a.b": 4, "aa": 5, "b": 6, "ab": 7}, ensure_ascii=False
    ),
    *(json.dumps("x" * length) for length in (1, 127, 128, 129)),
    json.dumps({"k" * length: length for length in (1, 127, 128, 300)}),
    *(("[" * depth + "]" * depth) for depth in (2, 50, 100)),
    *('{"k": ' * depth + "1" + "}" * depth for depth in (2, 99, 100)),
    json.dumps({f"key{n:03}": [n, -n, n * 70000, n / 7, str(n), None, {"n": n % 2 == 0}] for n in range(40)}),
    json.dumps(list(range(-300, 300, 7))),
    json.dumps(
        {"wide": ["x" * 65536, 1, -1, 40000, 70000, -70000, 2**40, 1.5, None, True, "s", [1], {"a": 70000}], "i": -70000, "n": None}
    ),
)
EXPRESSIONS = (
    *(f"CAST('{digits}' AS DECIMAL({size}))" for digits, size in (("1.5", "2,1"), ("1.50", "10,2"), ("-0.005", "4,3"), ("0", "65,30"))),
    *(f"CAST('{digits}' AS DECIMAL({size}))" for digits, size in (("1" * 35 + "." + "9" * 30, "65,30"), ("-123456789.123456789", "18,9"))),
    *(f"CAST('{digits}' AS DECIMAL({size}))" for digits, size in (("12345678901", "11,0"), (".1234567890", "10,10"), ("-99.9", "3,1"))),
    *(f"CAST('{day}' AS DATE)" for day in ("2024-02-29", "0000-00-00", "9999-12-31", "2024-00-00")),
    *(f"CAST('{time}' AS TIME(6))" for time in ("00:00:00", "-00:00:00.000001", "838:59:59", "-838:59:59", "12:34:56.789")),
    *(f"CAST('{time}' AS DATETIME(6))" for time in ("2024-02-29 12:34:56.123456", "0000-00-00 00:00:00", "9999-12-31 23:59:59")),
    "(SELECT ts FROM kinds)",
    *(f"(SELECT {name} FROM kinds)" for name in ("b", "vb", "bl", "tb", "mb", "lb", "bt", "e", "s", "y", "g", "d", "f")),
    *("X''", "X'00FF41'", "REPEAT(X'AB', 57)", "REPEAT(X'AB', 58)", "REPEAT(X'CD', 200)", "CAST(1 AS UNSIGNED)", "1 = 1", "1.5e0"),
)
NESTS = (
    "JSON_ARRAY({})",
    "JSON_OBJECT('a', {}, 'it''s', 1, 'q\"\\\\', 'x', 'l', JSON_ARRAY(1, '\"\\\\ é 😀', NULL, TRUE, {}))",
    "JSON_EXTRACT(JSON_ARRAY({}), '$[0]')",
)
KINDS = """CREATE TABLE kinds (b BINARY(4), vb VARBINARY(9), bl BLOB, tb TINYBLOB, mb MEDIUMBLOB, lb LONGBLOB, bt BIT(64), e ENUM('a', 'b'),
    s SET('a', 'b'), y YEAR, g POINT, ts TIMESTAMP(6) NULL, d DECIMAL(10, 2), f FLOAT)"""
KIND = """INSERT INTO kinds VALUES ('ab', 'cd', X'00', 'gh', X'FF', '', 18446744073709551615, 'a', 'a,b', 2020, POINT(1, 2.5),
    '2024-02-29 01:02:03.5', 1.5, 0.1)"""
# Updates in place leave holes and values out of order in the stored document.
IN_PLACE = (
    "JSON_REPLACE(j, '$.a', 'short')",
    "JSON_REMOVE(j, '$.b', '$.c[1]')",
    "JSON_REPLACE(JSON_REMOVE(j, '$.c'), '$.a', JSON_ARRAY(1, 2), '$.d', 70000)",
    "JSON_SET(JSON_REMOVE(j, '$.a'), '$.b', 'a longer text than it was before it was cut')",
)
IN_PLACE_BASE = json.dumps({"a": "long text " * 8, "b": "medium text", "c": ["one", {"two": 2}, "three"], "d": 2**40, "e": 1.25})


def main(host: str, port: str, user: str, password: str = "") -> None:
    """Write the corpus."""
    server: dict[str, Any] = {"host": host, "port": int(port), "user": user, "password": password, "charset": "utf8mb4", "autocommit": True}
    cursor = pymysql.connect(**server).cursor()
    cursor.execute("DROP SCHEMA IF EXISTS json_corpus")
    cursor.execute("CREATE SCHEMA json_corpus")
    cursor.execute("USE json_corpus")
    cursor.execute("SET binlog_format = ROW, binlog_row_image = FULL, binlog_row_value_options = '', time_zone = '+00:00'")
    cursor.execute(f"SET sql_mode = '{MODE}'")
    place = _fill(cursor)
    cursor.execute(
        "SELECT id, text, j = again AND text = CAST(again AS CHAR)"
        " FROM (SELECT id, j, CAST(j AS CHAR) AS text, CAST(CAST(j AS CHAR) AS JSON) AS again FROM t) AS d"
    )
    printed = {number: (text, bool(same)) for number, text, same in cursor.fetchall()}
    found = dict(_rows(server, *place))
    assert printed.keys() == found.keys()
    for number, data in found.items():
        _check_expression(cursor, number, data)
    lines = {found[number]: {"hex": found[number].hex(), "text": text, "same": same} for number, (text, same) in sorted(printed.items())}
    CORPUS.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines.values()), encoding="utf-8")
    cursor.execute("DROP SCHEMA json_corpus")
    print(f"{len(lines)} documents, {CORPUS.stat().st_size} bytes")  # noqa: T201 - a script


def _fill(cursor: Cursor) -> tuple[str, int]:
    """Insert the documents; return the log file and position before them."""
    cursor.execute("CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, j JSON)")
    cursor.execute("CREATE TABLE held (j JSON)")
    cursor.execute(KINDS)
    cursor.execute(KIND)
    cursor.execute("SHOW BINARY LOG STATUS")
    row: Any = cursor.fetchone()
    for text in (*TEXTS, *_random_texts()):
        cursor.execute("INSERT INTO t (j) VALUES (%s)", (text,))
    for nest in NESTS:
        for expression in EXPRESSIONS:
            cursor.execute(f"INSERT INTO t (j) VALUES ({nest.replace('{}', expression)})")
    cursor.execute("INSERT INTO t (j) VALUES (" + "JSON_ARRAY(" * 100 + "1.25" + ")" * 100 + ")")
    for change in IN_PLACE:
        cursor.execute("DELETE FROM held")
        cursor.execute("INSERT INTO held VALUES (%s)", (IN_PLACE_BASE,))
        cursor.execute(f"UPDATE held SET j = {change}")
        cursor.execute("INSERT INTO t (j) SELECT j FROM held")
    return row[0], row[1]


def _random_texts() -> Iterator[str]:
    source = random.Random(20240229)

    def value(depth: int) -> Any:
        pick = source.randrange(8 if depth < 4 else 6)
        if pick == 6:
            return [value(depth + 1) for _ in range(source.randrange(5))]
        if pick == 7:
            return {chr(source.randrange(33, 1200)) * source.randrange(4): value(depth + 1) for _ in range(source.randrange(5))}
        return (
            None,
            source.random() < 0.5,
            source.randrange(-(2**63), 2**64),
            source.uniform(-1e9, 1e9),
            10 ** source.uniform(-30, 30),
            "é" * source.randrange(9),
        )[pick]

    for _ in range(80):
        yield json.dumps(value(0), ensure_ascii=False)


def _check_expression(cursor: Cursor, number: int, data: bytes) -> None:
    expression = json_expression(data)
    made = f"SELECT id, j, {expression} AS v FROM t"
    cursor.execute(f"SELECT j = v AND CAST(j AS CHAR) = CAST(v AS CHAR), CAST(v AS CHAR) FROM ({made}) AS d WHERE id = {number}")
    row: Any = cursor.fetchone()
    assert row[0] == 1, (expression, row)


def _rows(server: dict[str, Any], file: str, position: int) -> Iterator[tuple[int, bytes]]:
    """Yield id and document of the rows of table t in the server's log: column count 2, an INT and a JSON, nothing left out."""
    connection: Any = pymysql.connect(**server)
    cursor = connection.cursor()
    cursor.execute("SET @source_binlog_checksum = @@global.binlog_checksum, @master_binlog_checksum = @@global.binlog_checksum")
    cursor.execute("SELECT @@global.binlog_checksum")
    row: Any = cursor.fetchone()
    checksum = 0 if row[0] == "NONE" else 4
    connection._execute_command(BINLOG_DUMP, struct.pack("<IHI", position, NO_WAIT, 4242) + file.encode())
    while not (packet := connection._read_packet()).is_eof_packet():
        event = packet.get_all_data()[1:]
        event = event[: len(event) - checksum]
        extra = int.from_bytes(event[27:29], "little")
        body = event[27 + extra :]
        if event[4] == WRITE_ROWS and body[0] == 2:
            rows = body[2:]
            while rows:
                number, length = struct.unpack_from("<iI", rows, 1)
                yield number, rows[9 : 9 + length]
                rows = rows[9 + length :]
    connection.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
