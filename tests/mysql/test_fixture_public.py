"""Logs of other people's tests, of servers from 4.1 to 9: each is read wholly, or refused for what is wrong with it.

They come with `provenance.tsv`: events by type, counted by another reader, and notes of where a file is cut. Rows are counted by
`mariadb-binlog` where that is installed. Nothing of the data is in this repository.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
import csv
from pathlib import Path
import re
import shutil
import subprocess
from typing import Any

import pytest

import dblog_tasks
from dblog_tasks import DblogError, MalformedLog, RowChanges, TruncatedLog, UnsupportedLog
from dblog_tasks.mysql import table_map as wire
from dblog_tasks.mysql.charsets import BYTES_PER_CHARACTER
from dblog_tasks.mysql.table_map import TableMap, WireColumn
from tests.mysql.vendor import Rows, vendor_rows

PUBLIC = "mysql-public"
VENDOR = "mariadb-binlog"

# Events of names of their own in the provenance.
NAMES: Mapping[str, str] = {
    **{f"{name}_ROWS": f"{name}_ROWS_EVENTv2" for name in ("WRITE", "UPDATE", "DELETE")},
    **{f"{name}_ROWS_V1": f"{name}_ROWS_EVENTv1" for name in ("WRITE", "UPDATE", "DELETE")},
    "START_V3": "START_EVENT_V3",
    **{f"PRE_GA_{name}_ROWS": f"{name}_ROWS_EVENTv0" for name in ("WRITE", "UPDATE", "DELETE")},
}
# What is wrong with a log beyond what the provenance notes, and the words that say it.
DAMAGED: Mapping[str, tuple[type[DblogError], str]] = {
    "stoneatom__stonedb__corrupt-relay-bin.000624": (MalformedLog, ":91204: QUERY_EVENT cannot be read"),
    "stoneatom__stonedb__ver_5_1-wl2325_r.001": (UnsupportedLog, "try-out server"),  # event types have numbers of their own
    "stoneatom__stonedb__ver_5_1-wl2325_s.001": (UnsupportedLog, "try-out server"),
}


@pytest.fixture(scope="module")
def public(scenario: Any) -> Path:
    """The folder of the logs."""
    return Path(scenario(PUBLIC))


def provenance(folder: Path) -> dict[str, dict[str, str]]:
    """Return what is known of each log that is there, by file name."""
    with (folder / "provenance.tsv").open() as table:
        rows = {line["file"].split(" (")[0]: line for line in csv.DictReader(table, delimiter="\t")}
    return {name: row for name, row in rows.items() if (folder / name).exists()}


def counted(row: Mapping[str, str]) -> Counter[str]:
    """Return the events of the provenance by our names of their types."""
    pairs = (part.split("=") for part in row["events"].split())
    return Counter({_name(name): int(count) for name, count in pairs})


def _name(name: str) -> str:
    return f"UNKNOWN_EVENT_{name[5:]}" if name.startswith("TYPE_") else NAMES.get(name, f"{name}_EVENT")


def read(path: Path, **options: Any) -> tuple[list[Any], DblogError | None]:
    """Read a log to its end, or to the error."""
    found: list[Any] = []
    try:
        with dblog_tasks.open("mysql", path=str(path), **options) as decoder:
            for event in decoder:
                assert event.body is not None
                found.append(event)
    except DblogError as error:
        return found, error
    return found, None


def refusal(name: str, row: Mapping[str, str]) -> tuple[type[DblogError], str] | None:
    """Return the error a log must be refused with, by what is known of it; None: it is read to its end."""
    cut = re.search(r"(?:TRUNCATED: event \w+|trailing \d+ bytes) at (\d+)", row["notes"])
    if cut:
        return TruncatedLog, f"{name}:{cut[1]}: the file ends inside an event"
    if "FORMAT_DESCRIPTION" not in row["events"] and "START_V3" not in row["events"]:
        return MalformedLog, "no format description"
    return DAMAGED.get(name)


def test_each_log_is_read_or_refused_for_what_is_wrong_with_it(public: Path) -> None:
    """Events of each type are as many as another reader counted; errors are those the provenance gives reason for."""
    wrong = {}
    for name, row in provenance(public).items():
        found, error = read(public / name)
        kinds, refused = Counter(event.kind for event in found if "/" not in event.position.value), refusal(name, row)
        if error is None:
            missed = counted(row) - kinds, kinds - counted(row), refused
            if any(missed):
                wrong[name] = str(missed)
        elif refused is None or not isinstance(error, refused[0]) or refused[1] not in str(error):
            wrong[name] = f"{error!r}"

    assert {} == wrong


# --- rows ----------------------------------------------------------------------------------------------------------------------------


def _text(size: int, name: str, charset: str | None) -> str:
    """Return a type of text that takes so many bytes a value."""
    if charset == "binary":
        return f"{name.replace('char', 'binary')}({size})"
    wide = next(known for known in (charset, "latin1", "utf8mb4", "utf8mb3") if known and _fits(size, name, known))
    return f"{name}({size // BYTES_PER_CHARACTER[wide]}) CHARACTER SET {wide}"


def _fits(size: int, name: str, charset: str) -> bool:
    return size % BYTES_PER_CHARACTER[charset] == 0 and (name == "varchar" or size // BYTES_PER_CHARACTER[charset] <= 255)


def _labels(count: int) -> str:
    return "(" + ", ".join(f"'{number}'" for number in range(count)) + ") CHARACTER SET latin1"


def sql_type(column: WireColumn) -> str:
    """Return a type whose values a log holds in the same form."""
    meta = column.meta
    if column.code in (wire.VARCHAR, wire.VAR_STRING, wire.STRING):
        return _text(meta, "char" if column.code == wire.STRING else "varchar", column.charset)
    sized = {
        wire.NEWDECIMAL: f"decimal({meta >> 8},{meta & 0xFF})",
        wire.BIT: f"bit({meta})",
        wire.ENUM: f"enum{_labels(300 if meta == 2 else 1)}",
        wire.SET: f"set{_labels(64 if meta == 8 else 8 * meta)}",
        wire.BLOB: {1: "tinyblob", 2: "blob", 3: "mediumblob", 4: "longblob"}.get(meta, ""),
        wire.TIMESTAMP2: f"timestamp({meta})",
        wire.DATETIME2: f"datetime({meta})",
        wire.TIME2: f"time({meta})",
    }
    return sized.get(column.code) or PLAIN[column.code]


PLAIN: Mapping[int, str] = {
    wire.TINY: "tinyint",
    wire.SHORT: "smallint",
    wire.INT24: "mediumint",
    wire.LONG: "int",
    wire.LONGLONG: "bigint",
    wire.FLOAT: "float",
    wire.DOUBLE: "double",
    wire.YEAR: "year",
    wire.DATE: "date",
    wire.NEWDATE: "date",
    wire.TIMESTAMP: "timestamp",
    wire.DATETIME: "datetime",
    wire.TIME: "time",
    wire.JSON: "json",
    wire.GEOMETRY: "geometry",
}


def schema_of(maps: list[TableMap]) -> str:
    """Return CREATE TABLE statements for the tables of a log that does not name its columns."""
    statements = {}
    for found in maps:
        columns = (
            f"`{column.name or f'c{number}'}` {sql_type(column)}{' unsigned' if column.unsigned else ''}"
            for number, column in enumerate(found.columns)
        )
        statements[found.schema, found.name] = (
            f"CREATE DATABASE IF NOT EXISTS `{found.schema}`; USE `{found.schema}`; CREATE TABLE `{found.name}` ({', '.join(columns)});"
        )
    return "\n".join(statements.values())


# Why rows cannot be counted, whatever the schema: a log of NDB has only the columns that changed, one of before 5.1.18 another form.
UNCOUNTED = ("partial row image", "rows event of a server before 5.1.18")


def our_rows(path: Path, schema: Path) -> tuple[Rows, set[tuple[str, str]]]:
    """Return the rows by table and operation, read with a schema made of what the log says of types; and those that are not counted."""
    found, _ = read(path)
    schema.write_text(schema_of([event.body for event in found if event.kind == "TABLE_MAP_EVENT"]))
    rows: Rows = Counter()
    uncounted = set()
    for event in read(path, schema=str(schema))[0]:
        if event.operation in ("insert", "update", "delete"):
            key = ".".join(event.table), event.operation.upper()
            if isinstance(event.body, RowChanges):
                rows[key] += len(event.body.rows)
            else:
                assert event.body.reason in UNCOUNTED
                uncounted.add(key)
    return rows, uncounted


@pytest.mark.skipif(shutil.which(VENDOR) is None, reason=f"no {VENDOR} here")
def test_rows_are_as_many_as_the_server_s_own_decoder_counts(public: Path, tmp_path: Path) -> None:
    """By table and operation, for each log that the decoder reads to its end."""
    compared: Counter[str] = Counter()
    for name in provenance(public):
        decoded = subprocess.run([VENDOR, "-v", "--base64-output=decode-rows", public / name], capture_output=True, check=False)
        if decoded.returncode == 0:
            wanted = vendor_rows(decoded.stdout.decode("utf-8", "replace").splitlines())
            rows, uncounted = our_rows(public / name, tmp_path / "schema.sql")
            assert wanted.keys() - uncounted <= rows.keys(), name
            assert {} == {key: count for key, count in (wanted - rows).items() if key not in uncounted}, name
            assert Counter() == rows - wanted, name
            compared[name] += rows.total()

    assert compared.total() > 0
