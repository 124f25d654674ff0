"""Agreement with the reference implementation, and where we differ on purpose.

The cases are in a file named by DBLOG_CASES. The reference counts records, so its position n is here the end of the n-th record.
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
from dblog_tasks.errors import DblogError, InvalidCheckpoint, InvalidInput, MalformedLog, TruncatedLog
from dblog_tasks.event import Checkpoint, Position, Source
from dblog_tasks.redis import Command, RedisEvent, backend
from dblog_tasks.redis.resp import frames

PATH = Path(__file__).parents[2] / os.environ.get("DBLOG_CASES", "../shared/reference/dblog-cases.json")
CASES = [case for case in json.loads(PATH.read_text()) if case["backend"] == "redis"] if PATH.exists() else []

ERRORS: dict[str | None, type[DblogError]] = {"ErrInvalidRESP": MalformedLog, "ErrReaderRequired": InvalidInput, "other": DblogError}

NOT_YET = {
    "live_stream": "live servers are not read yet",
    "detect_dsn": "live servers are not read yet",
    "parse_dsn": "live servers are not read yet",
    "reject_mixed_rdb_and_resp": "an RDB preamble is refused as unsupported, not skipped yet",
}


class Improved(NamedTuple):
    """What we give where the reference is wrong."""

    kinds: list[str]
    flashbacks: list[tuple[int, str]] = []  # noqa: RUF012 - never changed
    error: type[DblogError] | None = None


IMPROVED = {
    "reject_oversized_array": Improved([], error=TruncatedLog),
    "reverse: INCRBY k not-a-number": Improved(["incrby"]),
    "reverse: HINCRBY h f --5": Improved(["hincrby"]),
    "reverse: HINCRBY h f abc": Improved(["hincrby"]),
    "reverse: HINCRBY h f -9223372036854775808": Improved(["hincrby"]),
    "reverse_missing: HSETNX h f v": Improved(["hsetnx"], [(0, "hdel h f")]),
    "reverse_missing: LMOVE a b LEFT RIGHT": Improved(["lmove"], [(0, "lmove b a RIGHT LEFT")]),
    "reverse_missing: SWAPDB 0 1": Improved(["swapdb"], [(0, "swapdb 0 1")]),
    "reverse_missing: MOVE k 5": Improved(["move"], [(5, "move k 0")]),
    "truncated_after_array_header": Improved([], error=TruncatedLog),
    "truncated_in_bulk_header": Improved([], error=TruncatedLog),
    "truncated_array_header": Improved([], error=TruncatedLog),
    "non_utf8_name": Improved(["\\xffget"]),
    "aof_timestamp_annotation": Improved(["ping"]),
    "checkpoint '99'": Improved([], error=InvalidCheckpoint),
    "fixture_redis_7_0_15_aof": Improved(
        [
            "select",
            "hset",
            "sadd",
            "lpush",
            "incr",
            "hincrby",
            "hset",
            "zincrby",
            "select",
            "incr",
            "select",
            "multi",
            "incr",
            "lpush",
            "exec",
            "setnx",
        ],
        [
            (0, "lpop queue 1"),
            (0, "decr counter"),
            (0, "hincrby user:1 visits -3"),
            (0, "zincrby leaderboard -2.5 ada"),
            (3, "decr counter"),
            (0, "decr m"),
            (0, "lpop ml 2"),
            (0, "del nk"),
        ],
    ),
}


def bytes_of(case: dict[str, Any]) -> bytes:
    """The input of a case."""
    return bytes.fromhex(case["input"]) if case["input_encoding"] == "hex" else case["input"].encode()


def read(case: dict[str, Any]) -> tuple[list[RedisEvent], DblogError | None]:
    """All events of a case and the error that ends them."""
    found: list[RedisEvent] = []
    try:
        found.extend(backend.open(options_of(case))) if case["operation"] == "stream" else found.extend(first(case))
    except DblogError as error:
        return found, error
    return found, None


def options_of(case: dict[str, Any]) -> OpenOptions:
    """The options of a case: a count of records becomes the end of the last of them."""
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
    """Where the whole records of a case end."""
    ends = []
    try:
        for frame in frames([bytes_of(case)]):
            ends.append(frame.end)
    except DblogError:
        pass
    return ends


def first(case: dict[str, Any]) -> list[RedisEvent]:
    """The first event, for the cases that parse one command."""
    return [next(iter(backend.open(options_of(case))))]


def text_of(value: Any) -> bytes:
    """Text of a case as bytes."""
    return bytes.fromhex(value["hex"]) if isinstance(value, dict) else value.encode()


def command(value: dict[str, Any]) -> tuple[bytes, ...]:
    """A command of a case: name and arguments."""
    return (text_of(value["name"]), *map(text_of, value["args"] or ()))


def flashbacks(events: list[RedisEvent]) -> list[tuple[RedisEvent, Command]]:
    """The events that have an inverse, with it."""
    return [(event, undo) for event in events if (undo := event.reverse()) is not None]


def skip_what_is_not_yet(case: dict[str, Any]) -> None:
    """Skip, by name, what this version cannot meet."""
    reason = NOT_YET.get(case["operation"]) or NOT_YET.get(case["name"])
    if reason:
        pytest.skip(reason)


@pytest.mark.skipif(not CASES, reason="no reference cases (DBLOG_CASES names their file)")
@pytest.mark.parametrize("case", [case for case in CASES if case["verdict"] == "match"], ids=lambda case: case["name"])
def test_we_agree_with_the_reference(case: dict[str, Any]) -> None:
    """Kinds, positions, bodies, flashbacks and their positions, and the class of error."""
    skip_what_is_not_yet(case)
    events, error = read(case)
    ends = ends_of(case)

    assert (case["expected_error"] is None) == (error is None)
    assert isinstance(error, ERRORS.get(case["expected_error"], type(None)))
    assert case["expected_kinds"] == [event.kind for event in events]
    assert [command(body) for body in case["expected_bodies"]] == [event.body.words for event in events]
    assert [command(undo) for undo in case["expected_flashbacks"]] == [undo.words for _, undo in flashbacks(events)]
    if case["operation"] == "stream":
        assert [ends[int(count) - 1] for count in case["expected_positions"]] == [event.end for event in events]
        assert [ends[int(count) - 1] for count in case["expected_flashback_positions"]] == [event.end for event, _ in flashbacks(events)]


@pytest.mark.skipif(not CASES, reason="no reference cases (DBLOG_CASES names their file)")
@pytest.mark.parametrize("case", [case for case in CASES if case["verdict"] == "improve"], ids=lambda case: case["name"])
def test_we_differ_where_the_reference_is_wrong(case: dict[str, Any]) -> None:
    """Each improvement is written down above."""
    skip_what_is_not_yet(case)
    events, error = read(case)
    want = IMPROVED[case["name"]]

    assert want.error == (None if error is None else type(error))
    assert want.kinds == [event.kind for event in events]
    assert want.flashbacks == [(undo.database, b" ".join(undo.words).decode()) for _, undo in flashbacks(events)]


@pytest.mark.skipif(not CASES, reason="no reference cases (DBLOG_CASES names their file)")
def test_every_improvement_is_a_case() -> None:
    """No line of the table outlives its case."""
    assert set() == IMPROVED.keys() - {case["name"] for case in CASES}
