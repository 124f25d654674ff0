"""Agreement with the reference implementation, and where we differ on purpose.

The cases are in a file named by DBLOG_CASES. The reference counts records, so its position n is here the end of the n-th line. Its undo is
a statement; ours is written in its words, which differ in nothing but how values are found to be equal.
"""

from __future__ import annotations

from io import BytesIO
import json
import os
from pathlib import Path
import re
from typing import Any, NamedTuple

import pytest

from dblog_tasks.backend import OpenOptions
from dblog_tasks.errors import DblogError, InvalidCheckpoint, InvalidInput, MalformedLog
from dblog_tasks.event import Checkpoint, Position, RowChanges, Source
from dblog_tasks.postgres import PostgresEvent, backend
from dblog_tasks.postgres.message import Border, PartialChange
from dblog_tasks.postgres.names import shown

PATH = Path(__file__).parents[2] / os.environ.get("DBLOG_CASES", "../shared/reference/dblog-cases.json")
CASES = [case for case in json.loads(PATH.read_text()) if case["backend"] == "pg"] if PATH.exists() else []
NO_CASES = pytest.mark.skipif(not CASES, reason="no reference cases (DBLOG_CASES names their file)")
ERRORS: dict[str | None, type[DblogError]] = {"ErrInvalidLine": MalformedLog, "ErrReaderRequired": InvalidInput, "other": DblogError}
LIVE = ("detect_dsn", "wire_data", "standby_status", "start_replication_query")
# Where the reference agrees with nobody: digits that a float drops, and a new row without a column of the old one.
ODD = ("real_type_numeric(10,2)_insert_321", "real_type_numeric(10,2)_delete_322", "old_key_superset")


class Improved(NamedTuple):
    """What we give where the reference is wrong."""

    kinds: list[str]
    undos: list[str] = []  # noqa: RUF012 - never changed
    omitted: str = ""


NUMBER = "DELETE FROM public.tp WHERE id = 1 AND v = {}"
INSERTED = "INSERT INTO public.tp (id, v) VALUES (1, {})"
IMPROVED = {
    "commit_with_timestamp": Improved(["commit"], [], "began before this log"),
    "commit_prepared": Improved(["commit_prepared"], omitted="a transaction that was prepared before this log"),
    "prepare_transaction": Improved(["prepare"]),
    "streamed_block": Improved(["stream_start"]),
    "truncate_no_flags": Improved(["truncate"], omitted="TRUNCATE of public.users"),
    "truncate_many": Improved(["truncate"], omitted="TRUNCATE of public.users, public.dflt"),
    "array_column": Improved(["insert"], ["DELETE FROM public.t WHERE a = 1 AND tags = '{a,b}'"]),
    "quoted_identifiers": Improved(
        ["insert"], ['DELETE FROM "My.Schema"."Weird: Table" WHERE "Mixed Case" = 1 AND order = \'it\'\'s\' AND "a[b]" = 2 AND plain = 3']
    ),
    "quoted_column_only": Improved(["delete"], ["INSERT INTO public.t (order, \"Name\") VALUES (1, 'x')"], "nobody can tell"),
    "quoted_table": Improved(["delete"], ['INSERT INTO public."Users" (id) VALUES (1)'], "nobody can tell"),
    "float_infinity": Improved(["delete"], ["INSERT INTO public.t (f) VALUES (-Infinity)"], "nobody can tell"),
    "bit_string": Improved(["delete"], ["INSERT INTO public.t (b) VALUES ('101')"], "nobody can tell"),
    "delete_default_identity_key_only": Improved(["delete"], ["INSERT INTO public.dflt (id) VALUES (2)"], "nobody can tell"),
    "delete_full_identity_null_left_out": Improved(["delete"], ["INSERT INTO public.fullnull (id) VALUES (2)"], "nobody can tell"),
    "json_column_insert": Improved(["insert"], ["DELETE FROM public.t WHERE id = 1 AND j = '{\"a\": 1}'"]),
    "upper_case_unquoted_name": Improved(["delete"], ['INSERT INTO public."Users" ("Name") VALUES (\'x\')'], "nobody can tell"),
    "newline_in_value": Improved(["begin", "insert", "commit"], ["DELETE FROM public.t WHERE a = 'l1\nl2'"]),
    "second_iteration_restarts_the_counter": Improved(["begin", "begin", "begin"]),
    "real_type_numeric_insert_319": Improved(["insert"], [NUMBER.format("12345678901234567890.1234567890")]),
    "real_type_numeric_delete_320": Improved(["delete"], [INSERTED.format("12345678901234567890.1234567890")], "nobody can tell"),
    "real_type_numeric_delete_324": Improved(["delete"], [INSERTED.format("NaN")], "nobody can tell"),
    "real_type_real_insert_325": Improved(["insert"], [NUMBER.format("1.1")]),
    "real_type_double precision_delete_330": Improved(["delete"], [INSERTED.format("Infinity")], "nobody can tell"),
    "real_type_bit(3)_delete_334": Improved(["delete"], [INSERTED.format("'101'")], "nobody can tell"),
    "real_type_bit varying(5)_insert_335": Improved(["insert"], [NUMBER.format("'1'")]),
    "real_type_bit varying(5)_delete_336": Improved(["delete"], [INSERTED.format("'1'")], "nobody can tell"),
    "real_type_json_insert_337": Improved(["insert"], [NUMBER.format("'{\"a\": 1}'")]),
    "real_type_point_insert_365": Improved(["insert"], [NUMBER.format("'(1,2)'")]),
    "real_type_integer[]_insert_377": Improved(["insert"], [NUMBER.format("'{1,2}'")]),
}


def bytes_of(case: dict[str, Any]) -> bytes:
    """The input of a case."""
    return bytes.fromhex(case["input"]) if case["input_encoding"] == "hex" else case["input"].encode()


def read(case: dict[str, Any]) -> tuple[list[PostgresEvent], DblogError | None]:
    """All events of a case and the error that ends them."""
    found: list[PostgresEvent] = []
    try:
        for event in backend.open(options_of(case)):
            _ = event.body  # decoded when it is asked for
            found.append(event)
    except DblogError as error:
        return found, error
    return found, None


def options_of(case: dict[str, Any]) -> OpenOptions:
    """The options of a case: a count of lines becomes the end of the last of them."""
    given = case["options"]
    if "no_input" in given:
        return OpenOptions()
    name, position = given.get("source_name", ""), Position()
    if "checkpoint" in given:
        text, ends = given["checkpoint"], ends_of(case)
        count = int(text) if re.fullmatch(r"\+?[0-9]+", text) else None
        offset = text if count is None else ends[count - 1] if count <= len(ends) else ends[-1] + count
        position = Position(given.get("checkpoint_driver", ""), f"{name or 'reader'}:{offset}")
    return OpenOptions(source=Source("", name), reader=BytesIO(bytes_of(case)), checkpoint=Checkpoint(position=position))


def ends_of(case: dict[str, Any]) -> list[int]:
    """Where the lines of a case end."""
    ends, end = [], 0
    for line in bytes_of(case).splitlines(keepends=True):
        end += len(line)
        ends.append(end)
    return ends


def words(event: PostgresEvent) -> str | None:
    """The undo of an event as the reference writes it."""
    undo = event.reverse()
    if isinstance(undo, RowChanges):
        [(now, then)] = undo.rows
        columns = undo.table.columns
        before, after = ({column.name: value for column, value in zip(columns, row, strict=True)} if row else None for row in (now, then))
        table = (undo.table.schema, undo.table.name)
    elif isinstance(undo, PartialChange):
        before, after, table = undo.before, undo.after, undo.table
    else:
        return None
    name = ".".join(shown(part) for part in table if part)
    where = " AND ".join(f"{shown(column)} = {literal(value, column, event)}" for column, value in (before or {}).items())
    if after is None:
        return f"DELETE FROM {name} WHERE {where}"
    values = [literal(value, column, event) for column, value in after.items()]
    if before is None:
        return f"INSERT INTO {name} ({', '.join(map(shown, after))}) VALUES ({', '.join(values)})"
    return f"UPDATE {name} SET {', '.join(f'{shown(column)} = {value}' for column, value in zip(after, values, strict=True))} WHERE {where}"


def literal(value: Any, column: str, event: PostgresEvent) -> str:
    """A value in the words of the reference: bare where the log has it bare."""
    text = str(value)
    bare = re.search(rf'{re.escape(column)}"?\[[^:]*\]:{re.escape(text)}(?= |$)', event.raw.decode())
    if not bare:
        return "'" + text.replace("'", "''") + "'"
    return text.upper() if text in {"true", "false"} else text


@NO_CASES
@pytest.mark.parametrize("case", [case for case in CASES if case["verdict"] == "match"], ids=lambda case: case["name"])
def test_we_agree_with_the_reference(case: dict[str, Any]) -> None:
    """Kinds, positions, flashbacks and their positions, and the class of error."""
    if case["operation"] in LIVE:
        pytest.skip("live servers are not read yet")
    events, error = read(case)
    ends = ends_of(case)

    assert (case["expected_error"] is None) == (error is None)
    assert isinstance(error, ERRORS.get(case["expected_error"], type(None)))
    assert case["expected_kinds"] == [event.kind for event in events]
    if case["name"] not in ODD:
        assert [text.removesuffix(";") for text in case["expected_flashbacks"]] == [text for event in events if (text := words(event))]
    if case["operation"] == "stream":
        assert [f"{case['options'].get('source_name') or 'reader'}:{ends[int(count) - 1]}" for count in case["expected_positions"]] == [
            event.position.value for event in events
        ]
    ids = [body["id"] for body in case["expected_bodies"] if body.get("go_type") == "Transaction"]
    assert ids == [event.body.id for event in events if isinstance(event.body, Border)]


@NO_CASES
@pytest.mark.parametrize("case", [case for case in CASES if case["verdict"] == "improve"], ids=lambda case: case["name"])
def test_we_differ_where_the_reference_is_wrong(case: dict[str, Any]) -> None:
    """Each improvement is written down above. What is not whole is undone by nobody: it has a reason."""
    if case["operation"] in LIVE:
        pytest.skip("live servers are not read yet")
    events, error = read(case)
    want = IMPROVED[case["name"]]
    reasons = [str(event.omission.reason) for event in events if event.operation is not None and event.omission is not None]

    assert error is None
    assert want.kinds == [event.kind for event in events]
    assert want.undos == [text for event in events if (text := words(event))]
    assert bool(want.omitted) == bool(reasons)
    assert all(want.omitted in reason for reason in reasons)


def test_a_commit_tells_its_time_and_id_apart() -> None:
    """As the cases want it."""
    [event] = backend.open(OpenOptions(reader=BytesIO(b"COMMIT 42 (at 2024-01-01 00:00:00+00)")))
    assert ("42", "2024-01-01T00:00:00+00:00") == (event.body.id, event.time and event.time.isoformat())


def test_a_position_past_the_end_is_an_error() -> None:
    """And one inside a record."""
    for offset in (4, 99):
        position = Position("pg", f"reader:{offset}")
        with pytest.raises(InvalidCheckpoint):
            list(backend.open(OpenOptions(reader=BytesIO(b"BEGIN 1\nCOMMIT 1\n"), checkpoint=Checkpoint(position=position))))


@NO_CASES
def test_every_improvement_is_a_case() -> None:
    """No line of the table outlives its case."""
    assert set() == IMPROVED.keys() - {case["name"] for case in CASES}
