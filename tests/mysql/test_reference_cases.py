"""Agreement with the reference implementation, and where we differ on purpose.

The cases are in a file named by DBLOG_CASES. A `match` case must agree in kinds, positions, errors, bodies (field by field, as far as we
keep a field) and flashbacks (by meaning); for an `improve` case IMPROVED does what its `want` says. What cannot be met yet is in NOT_YET.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
import json
import os
from pathlib import Path
from typing import Any

import pytest

import dblog_tasks
from dblog_tasks import (
    Checkpoint,
    DblogError,
    InvalidCheckpoint,
    MalformedLog,
    Position,
    RowChanges,
    TruncatedLog,
    UnsupportedLog,
)
from dblog_tasks.mysql import binlog, bodies
from dblog_tasks.mysql.place import position_key
from dblog_tasks.mysql.table_map import METADATA_SIZE, read_table_map
from tests.mysql.binlog_writer import LENGTHS, Log, frame, length, names, query, table_map
from tests.mysql.reference_bodies import FIELDS, Case, rows_of

PATH = Path(__file__).parents[2] / os.environ.get("DBLOG_CASES", "../shared/reference/dblog-cases.json")
CASES = [case for case in json.loads(PATH.read_text()) if case["backend"] == "mysql"] if PATH.exists() else []

SKIPPED = {
    "live_stream": "live servers are not read yet",
    "detect_dsn": "live servers are not read yet",
    "parse_dsn": "live servers are not read yet",
    "dsn_with_start_file": "live servers are not read yet",
}
NOT_YET = {
    "column_helpers": "its JSON bytes are no document: we decode JSON, the reference does not",
    "file_start_time": "an event's time is that of its transaction's commit: a transaction is inside a window as a whole",
    "file_end_time_exclusive": "an event's time is that of its transaction's commit: a transaction is inside a window as a whole",
}
EVENTS = (
    "CREATE TABLE dblog_ci.events (id BIGINT PRIMARY KEY, name VARCHAR(64), amount DECIMAL(10,2), note VARBINARY(64), created_at DATETIME)"
    " DEFAULT CHARSET=latin1;"
)


@dataclass(frozen=True)
class Got:
    """What came of a case."""

    events: list[Any]
    error: DblogError | None

    @property
    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]

    @property
    def positions(self) -> list[str]:
        return [event.position.value for event in self.events]

    @property
    def flashbacks(self) -> list[tuple[Any, RowChanges]]:
        return [(event, undo) for event in self.events if (undo := event.reverse()) is not None and undo.rows]


def read(path: Path, schema: str = "", **options: Any) -> Got:
    """Read a log to its end or to an error; a body that cannot be read is such an error."""
    if schema:
        (path.parent / "schema.sql").write_text(schema)
        options["schema"] = str(path.parent / "schema.sql")
    found: list[Any] = []
    try:
        with dblog_tasks.open("mysql", path=str(path), **options) as decoder:
            for event in decoder:
                assert event.body is not None
                found.append(event)
    except DblogError as error:
        return Got(found, error)
    return Got(found, None)


def stream(case: Case, folder: Path, schema: str = "") -> Got:
    """A case that reads a whole file, with the options of the reference in our terms."""
    given = case["options"]
    path = folder / given["source_name"]
    path.write_bytes(bytes.fromhex(case["input"]))
    options: dict[str, Any] = {}
    if "checkpoint" in given:
        options["checkpoint"] = Checkpoint(position=Position(given.get("checkpoint_driver", "mysql"), given["checkpoint"]))
    if "start_pos" in given or "end_pos" in given:
        start, stop = (
            Position("mysql", f"{path.name}:{given[name]}") if name in given else Position() for name in ("start_pos", "end_pos")
        )
        options["selection"] = (dblog_tasks.by_position(start, stop, position_key),)
    if "start_time" in given or "end_time" in given:
        times = [datetime.fromtimestamp(int(given[name]), UTC) if name in given else None for name in ("start_time", "end_time")]
        options["selection"] = (dblog_tasks.by_time(*times),)
    return read(path, schema, **options)


def same_kind(want: str, got: str) -> bool:
    """Whether a kind is the reference's; it has no names for MariaDB's."""
    return want == got or (want == "UNKNOWN_EVENT_TYPE" and got.startswith(("MARIADB_", "UNKNOWN_EVENT_")))


def agree(case: Case, got: Got, *, description: bool = True) -> None:
    """Hold everything against the reference; `description`: our events begin with the format description too."""
    first = 0 if description else 1
    assert (case["expected_error"] is None) == (got.error is None), got.error
    assert len(case["expected_kinds"]) - first == len(got.events)
    for want, kind in zip(case["expected_kinds"][first:], got.kinds, strict=True):
        assert same_kind(want, kind)
    assert case["expected_positions"][first:] == got.positions
    for want_body, event in zip(case["expected_bodies"][first:], got.events, strict=True):
        wanted, found = FIELDS[want_body["go_type"]](want_body, event.body)
        assert wanted == found
    flashbacks_agree(case, got)


def flashbacks_agree(case: Case, got: Got) -> None:
    """The same events can be undone, by the same operation on the same rows; ours undo the last row first."""
    assert len(case["expected_flashbacks"]) == len(got.flashbacks)
    for want, (_, undo) in zip(case["expected_flashbacks"], got.flashbacks, strict=True):
        body = want.get("body", want)
        wanted, found = rows_of(body, RowChanges(undo.table, undo.rows[::-1]))
        assert wanted == found
        assert same_operation(want["event_type"], undo)
    if case["expected_flashback_positions"]:
        assert case["expected_flashback_positions"] == [event.position.value for event, _ in got.flashbacks]


def same_operation(kind: int, undo: RowChanges) -> bool:
    """Whether all rows are inserted, updated or deleted, as an event of that type would."""
    wanted = {30: (True, False), 23: (True, False), 31: (False, False), 24: (False, False), 32: (False, True), 25: (False, True)}[kind]
    return all(wanted == (before is None, after is None) for before, after in undo.rows)


# --- one body --------------------------------------------------------------------------------------------------------------------


def event_body(case: Case, folder: Path) -> Any:
    """The body of one event; raises what is wrong with it."""
    kind, data = case["options"]["event_type"], bytes.fromhex(case["input"])
    if kind == binlog.FORMAT_DESCRIPTION:
        data += b"\1" + bytes(4)  # the reference is given the body without checksum algorithm and checksum
    if kind == binlog.TABLE_MAP:
        return read_table_map(data[8:], "case")
    if kind in (binlog.START_ENCRYPTION, binlog.WRITE_ROWS_V2):
        got = row_body(case, folder)
        if got.error:
            raise got.error
        return got.events
    return bodies.read_body(frame(kind, data), "case")


def row_body(case: Case, folder: Path, schema: str = "") -> Got:
    """A rows event in a transaction of its own, behind a table map made of what the case says of the table; a schema names it."""
    options = case["options"]
    if schema:
        options["table"] |= {"schema": "d", "table": "t"}
        for body in (*case["expected_bodies"], *case["expected_flashbacks"]):
            body["schema"] = "d"
    log = Log("10.11.2-MariaDB" if "mariadb" in options else "8.0.36", lengths=LENGTHS).add(binlog.QUERY, query("BEGIN"))
    table = options.get("table")
    if table is not None:
        codes = bytes.fromhex(table["types_hex"])
        columns = [(code, metadata(code, meta)) for code, meta in zip(codes, table["metas"], strict=True)]
        optional = [names(*(f"c{index}" for index in range(len(codes)))), (2, length(63))]
        where = {"schema": table.get("schema", ""), "table": table.get("table", "")}
        log.add(binlog.TABLE_MAP, table_map(columns, optional, table_id=table["table_id"], **where))
    log.add(options["event_type"], bytes.fromhex(case["input"])).add(binlog.XID, bytes(8))
    path = folder / "log.000001"
    path.write_bytes(log.data)
    got = read(path, schema)
    return Got([event for event in got.events if event.kind == binlog.EVENT_NAMES[options["event_type"]]], got.error)


def metadata(code: int, meta: int) -> bytes:
    """The bytes of a column's metadata in a table map."""
    if code in (247, 248):
        return bytes([code, meta])
    return meta.to_bytes(METADATA_SIZE.get(code, 0), "big" if code in (246, 254) else "little") if METADATA_SIZE.get(code) else b""


def check_match(case: Case, folder: Path) -> None:
    """Hold a case against the reference."""
    operation = case["operation"]
    if operation == "event_body":
        assert same_kind(case["expected_kinds"][0], binlog.EVENT_NAMES.get(case["options"]["event_type"], "UNKNOWN_EVENT_"))
        wanted, got = FIELDS[case["expected_bodies"][0]["go_type"]](case["expected_bodies"][0], event_body(case, folder))
        assert wanted == got
    elif operation == "row_body":
        found = row_body(case, folder, SCHEMAS.get(case["name"], ""))
        assert (case["expected_error"] is None) == (found.error is None), found.error
        if found.error is None:
            assert case["expected_kinds"] == found.kinds
            wanted, got = rows_of(case["expected_bodies"][0], found.events[0].body)
            assert wanted == got
        flashbacks_agree(case, found)
    else:
        selected = {"start_pos", "end_pos", "start_time", "end_time"} & case["options"].keys()
        agree(
            case,
            stream(case, folder, SCHEMAS.get(case["name"], "")),
            description="start_pos" not in selected and "start_time" not in selected,
        )


# Old temporal values do not tell how wide they are: only a schema does.
MORE_TYPES = (
    "CREATE TABLE d.t (c0 tinyint, c1 smallint, c2 bigint, c3 mediumint, c4 year, c5 float, c6 double, c7 timestamp, c8 date, c9 datetime,"
    " c10 time, c11 timestamp(2), c12 datetime(2), c13 time(2), c14 enum('a','b','c'), c15 set('a','b','c'), c16 blob, c17 tinyblob,"
    " c18 longblob) DEFAULT CHARSET=latin1;"
)
SCHEMAS = {
    "more_column_types": MORE_TYPES,
    "fixture_mariadb_10_11_split_rows_events": EVENTS,
}


# --- where we differ -------------------------------------------------------------------------------------------------------------


def refused(error: type[DblogError]) -> Callable[[Case, Path], None]:
    """Ours is an error of this type."""

    def check(case: Case, folder: Path) -> None:
        if case["operation"] == "event_body":
            with pytest.raises(error):
                event_body(case, folder)
            return
        got = stream(case, folder)
        assert isinstance(got.error, error)
        assert case["expected_kinds"][: len(got.events)] == got.kinds

    return check


def kind_named(case: Case, folder: Path) -> None:
    """The kind has the name that is wanted; the body is there."""
    assert case["want"].split()[-1] == binlog.EVENT_NAMES[case["options"]["event_type"]]
    wanted, got = FIELDS[case["expected_bodies"][0]["go_type"]](case["expected_bodies"][0], event_body(case, folder))
    assert wanted == got


def encryption_named(case: Case, folder: Path) -> None:
    """The kind has its name, and a log that has one is refused as encrypted."""
    assert "MARIADB_START_ENCRYPTION_EVENT" == binlog.EVENT_NAMES[case["options"]["event_type"]]
    with pytest.raises(UnsupportedLog, match="encrypted"):
        event_body(case, folder)


def statement(wanted: str, schema: str | None = None) -> Callable[[Case, Path], None]:
    """The body is a statement with this text."""

    def check(case: Case, folder: Path) -> None:
        body = event_body(case, folder)
        assert wanted == body.text.decode()
        assert schema is None or schema == body.schema

    return check


def whole(case: Case, folder: Path) -> None:
    """As the reference where it is right, with names of columns, and every byte of the log in one event."""
    got = stream(case, folder)
    agree(case, got)
    assert bytes.fromhex(case["input"]) == b"\xfebin" + b"".join(event.raw for event in got.events)
    assert [["id", "n"]] * 3 == [[column.name for column in undo.table.columns] for _, undo in got.flashbacks]


def decodes_fully(case: Case, folder: Path) -> None:
    """No checksums, said by the format description: all is read."""
    got = stream(case, folder)
    assert got.error is None
    assert ["WRITE_ROWS_EVENTv2", "UPDATE_ROWS_EVENTv2", "DELETE_ROWS_EVENTv2"] == [event.kind for event, _ in got.flashbacks]
    assert len(case["input"]) // 2 == int(got.positions[-1].split(":")[1])


def decodes_rows(schema: str = "", skip: int = 0) -> Callable[[Case, Path], None]:
    """Kinds and positions as the reference's, but all rows events are decoded and can be undone."""

    def check(case: Case, folder: Path) -> None:
        got = stream(case, folder, schema)
        assert got.error is None
        assert case["expected_positions"][skip:] == got.positions
        changes = [event for event in got.events if event.operation is not None]
        assert changes
        assert changes == [event for event, _ in got.flashbacks]

    return check


def torn(case: Case, folder: Path) -> None:
    """The events before it, the last of them not committed, then the error."""
    got = stream(case, folder)
    assert isinstance(got.error, TruncatedLog)
    assert (case["expected_kinds"], case["expected_positions"]) == (got.kinds, got.positions)
    assert "not committed in this log" == got.events[-1].omission.reason


def unsigned(case: Case, folder: Path) -> None:
    """Signedness of the log's own metadata."""
    got = stream(case, folder, "CREATE TABLE d.t (a BIGINT UNSIGNED, b TINYINT UNSIGNED);")
    assert [[((18446744073709551615, 200), None)]] == [list(undo.rows) for _, undo in got.flashbacks]


def ends_in_error(case: Case, folder: Path) -> None:
    """All that is whole, then the error."""
    got = stream(case, folder)
    assert isinstance(got.error, MalformedLog)
    assert (case["expected_kinds"], case["expected_positions"]) == (got.kinds, got.positions)
    flashbacks_agree(case, got)


def own_position(case: Case, folder: Path) -> None:
    """An event that says 0 ends where it ends."""
    got = stream(case, folder)
    assert got.error is None
    assert len(case["input"]) // 2 == int(got.positions[-1].split(":")[1])


def typed(case: Case, folder: Path) -> None:
    """Every value as the statement in the log gave it; its own CREATE TABLE is the schema."""
    plain = stream(case, folder)
    schema = next(event.body for event in plain.events if event.kind == "QUERY_EVENT")
    got = stream(case, folder, f"CREATE DATABASE `{schema.schema}`; USE `{schema.schema}`; {schema.text.decode()} DEFAULT CHARSET=utf8mb4;")
    first, second, third = [body.rows[0][1] for body in (event.body for event in got.events) if isinstance(body, RowChanges)]
    assert first is not None
    assert second is not None
    assert third is not None
    assert first[:10] == (
        *(18446744073709551615, 200, 2, 5, "h\u00e9llo", first[5]),
        *("2026-07-01 01:02:03.456789", "-01:02:03.45", "2026-07-01", 2026),
    )
    assert str(first[5]).endswith(":00.123")
    assert first[10:] == (257, 1.5, -2.25, "5", "-5.01", "-0.005", '{"a":1}', b"z" * 300, "txt", -7)
    assert (None, "0000-00-00") == (second[6], second[8])
    assert "2024-00-00" == third[8]


def reversed_rows(schema: str, name: str) -> Callable[[Case, Path], None]:
    """The flashback has the rows in reverse order."""

    def check(case: Case, folder: Path) -> None:
        got = row_body(case, folder) if case["operation"] == "row_body" else stream(case, folder, schema)
        (event, undo) = next(found for found in got.flashbacks if found[0].kind.startswith(name))
        assert len(undo.rows) > 1
        assert [(after, before) for before, after in reversed(event.body.rows)] == list(undo.rows)

    return check


def reported(case: Case, folder: Path) -> None:
    """No flashback; each change says why."""
    got = stream(case, folder, EVENTS)
    changes = [event for event in got.events if event.operation is not None]
    assert [] == got.flashbacks
    assert ["partial row image"] * 2 == [event.omission.reason for event in changes]


def compressed(case: Case, folder: Path) -> None:
    """Rows decoded and reversible, with the table's name."""
    case["options"]["table"] |= {"schema": "d", "table": "t"}
    ((event, undo),) = row_body(case, folder).flashbacks
    assert ("d", "t") == event.table
    assert [((7,), None)] == list(undo.rows)


IMPROVED: Mapping[str, Callable[[Case, Path], None]] = {
    "rows_query_server_format": statement("select 1"),
    "transaction_payload_opaque": refused(MalformedLog),
    "multi_row_update_order": reversed_rows("", "UPDATE_ROWS_EVENT"),
    **dict.fromkeys(("malformed_intvar_empty", "malformed_table_map_short", "malformed_previous_gtids_huge_count"), refused(MalformedLog)),
    **dict.fromkeys(("malformed_rotate_short", "malformed_gtid_short_tail", "malformed_decimal_zero_precision"), refused(MalformedLog)),
    **dict.fromkeys(("mariadb_binlog_checkpoint", "mariadb_gtid_group_commit", "mariadb_gtid_list"), kind_named),
    "mariadb_start_encryption": encryption_named,
    "mariadb_query_compressed_as_tested": refused(MalformedLog),
    "mariadb_query_compressed_server_format": statement("create table t(id int)", "db"),
    "mariadb_write_rows_compressed": compressed,
    "file_basic_crc32": whole,
    "file_checksum_none_8_0": decodes_fully,
    "file_resume_at_385": decodes_rows(),
    "file_resume_inside_an_event": refused(InvalidCheckpoint),
    "file_resume_past_the_end": refused(InvalidCheckpoint),
    "file_resume_other_file_name": refused(InvalidCheckpoint),
    "file_truncated_in_header": torn,
    "file_unsigned_columns": unsigned,
    "file_unknown_event_45_auto": refused(UnsupportedLog),
    "file_start_pos_at_rows_event": decodes_rows(skip=1),
    "file_version_without_dot": refused(MalformedLog),
    "file_event_size_below_header": ends_in_error,
    "file_short_format_description": refused(MalformedLog),
    "file_log_pos_zero_with_checkpoint": own_position,
    "fixture_mariadb_10_11_types": typed,
    "fixture_mariadb_10_11_multi_row_update": reversed_rows(EVENTS, "UPDATE_ROWS_EVENT"),
    "fixture_mariadb_10_11_row_image_minimal": reported,
    "fixture_mariadb_split_rows_resume_1047": decodes_rows(EVENTS),
}


def check(case: Case, folder: Path) -> None:
    """Do what the case's verdict asks for."""
    if case["verdict"] == "match":
        check_match(case, folder)
    else:
        IMPROVED[case["name"]](case, folder)


@pytest.mark.skipif(not CASES, reason="no reference cases (DBLOG_CASES names their file)")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_reference_case(case: Case, tmp_path: Path) -> None:
    """As the reference, or as wanted instead; what is said not to be met yet must not be met."""
    if case["operation"] in SKIPPED:
        pytest.skip(SKIPPED[case["operation"]])
    if case["name"] not in NOT_YET:
        check(case, tmp_path)
        return
    try:
        check(case, tmp_path)
    except (AssertionError, DblogError, KeyError, AttributeError, ValueError, pytest.fail.Exception):
        return
    pytest.fail(f"{case['name']} is met now: take it out of NOT_YET")


@pytest.mark.skipif(not CASES, reason="no reference cases (DBLOG_CASES names their file)")
def test_every_line_of_the_tables_is_a_case() -> None:
    """No line outlives its case, and every improvement has its check."""
    found = {case["name"] for case in CASES}
    improved = {case["name"] for case in CASES if case["verdict"] == "improve" and case["operation"] not in SKIPPED}

    assert set() == (NOT_YET.keys() | SCHEMAS.keys()) - found
    assert improved == set(IMPROVED)
