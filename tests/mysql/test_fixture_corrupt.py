"""Recorded damage: every file is met as its description says, read, planned and salvaged.

A scenario of damage is a folder with `corruptions.json`: for each file the log it was made from, what is wrong and what a reader should
find, in the words of EXPECTED. Where damage begins is found by a walk of its own over the frames, and must be what those words say.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from functools import cache
import json
from pathlib import Path
import re
from struct import Struct
import tracemalloc
from typing import Any, NamedTuple
from zlib import crc32

import pytest

import dblog_tasks
from dblog_tasks import DblogError, MalformedLog, TruncatedLog
from dblog_tasks.cli import run
from dblog_tasks.ledger import NOT_COMMITTED
from dblog_tasks.plan import Plan, check, read_plan
from dblog_tasks.planning import PlanRequest
from tests.fixtures import NOT_HERE, scenarios

SCENARIOS = [name for name in scenarios() if "corrupt" in name]
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not SCENARIOS, reason=NOT_HERE)]

MEMORY_MAX = 64 << 20
SALVAGE = "on_damage" in {field.name for field in fields(PlanRequest)}


class Expected(NamedTuple):
    """What reading a damaged file ends with.

    Attributes:
        error: the type of error; None: it is read to its end.
        says: a word of it.
        whole: whether the walk over frames finds nothing wrong: what is damaged is inside, or only the end of a transaction is missing.
    """

    error: type[DblogError] | None
    says: str = ""
    whole: bool = False


# By the words of a description; the first that is found holds.
EXPECTED: Mapping[str, Expected] = {
    "not a binlog": Expected(MalformedLog, "binary log"),
    "empty log": Expected(None, whole=True),
    "unreadable": Expected(TruncatedLog, "ends inside"),
    "last good event ends at": Expected(TruncatedLog, "ends inside"),
    "truncated": Expected(TruncatedLog, "ends inside"),
    "transaction incomplete": Expected(None, whole=True),
    "stop at offset": Expected(MalformedLog, "zero"),
    "garbage reported": Expected(MalformedLog),
    "CRC32 mismatch": Expected(MalformedLog, "checksum"),
    "CRC mismatch": Expected(MalformedLog),
    "must not allocate": Expected(MalformedLog),
    "discontinuity": Expected(MalformedLog, "ends at"),
    "second FDE": Expected(MalformedLog, "format description"),
    "must report": Expected(MalformedLog, whole=True),
}
UNSAID = Expected(None, whole=True)  # `undetectable`, and words not known here


def described(folder: Path) -> list[dict[str, Any]]:
    """Return the descriptions of a scenario's files; the test is skipped where there are none."""
    path = folder / "corruptions.json"
    if not path.exists():
        pytest.skip("no corruptions.json in it")
    entries: list[dict[str, Any]] = json.loads(path.read_text())
    return entries


def expected_of(entry: Mapping[str, Any]) -> Expected:
    """Return what the words of a description ask for; other words: only that nothing but a declared error comes."""
    return next((found for words, found in EXPECTED.items() if words in entry["expect"]), UNSAID)


_HEADER = Struct("<IBIIIH")


def frames(data: bytes) -> Iterator[tuple[int, bool]]:
    """Yield where each event begins, and whether it is whole: size, checksum, the place it says it ends at. One that is not is the last."""
    at, checksum, whole = 4, 0, data[:4] == b"\xfebin"
    if not whole:
        yield 0, False
    while whole and at < len(data):
        _, kind, _, size, end, _ = _HEADER.unpack_from(data.ljust(at + 19, b"\0"), at)
        event = data[at : at + size]
        whole = 19 <= size == len(event) and end in (0, at + size)
        checksum = event[-5] if whole and kind == 15 else checksum
        whole = whole and (checksum != 1 or crc32(event[:-4]) == int.from_bytes(event[-4:], "little"))
        yield at, whole
        at += size


def place_of(entry: Mapping[str, Any], data: bytes) -> int | None:
    """Return where the damage is: by the walk, else by the description, which must not say otherwise."""
    walked = list(frames(data))
    said = re.search(r"\bat (\d+)", entry["expect"]) or re.search(r"\bat (\d+)|from (\d+) on", entry["what"])
    place = int(next(filter(None, said.groups()))) if said else None
    if walked and not walked[-1][1]:
        assert place is None or place <= walked[-1][0], entry  # a second copy comes after what it is a copy of
        return walked[-1][0]
    if expected_of(entry).error is None:
        return None
    changed = re.search(r"byte (\d+)", entry["what"])
    return place if place is not None or changed is None else max(at for at, _ in walked if at <= int(changed[1]))


class Reading(NamedTuple):
    """What came of reading a log: kind, end and bytes of each event, how its transaction ended, and the error."""

    events: list[tuple[str, int, bytes, str]]
    error: DblogError | None
    whole: int  # end of the last transaction that is whole


@cache
def reading(path: Path) -> Reading:
    """Read a log to its end, or to the error; once for all tests."""
    events: list[tuple[str, int, bytes, str]] = []
    event: Any
    decoder: Any = dblog_tasks.open("mysql", path=str(path))
    with decoder:
        try:
            for event in decoder:
                assert event.body is not None
                if "/" in event.position.value:  # inside a compressed transaction, which comes behind what it holds
                    continue
                problem = event.transaction_info.problem if event.transaction_info else None
                events.append((event.kind, offset(event.position.value), event.raw, problem.reason if problem else ""))
        except DblogError as error:
            return Reading(events, error, offset(decoder.checkpoint.position.value))
        return Reading(events, None, offset(decoder.checkpoint.position.value))


def offset(position: str) -> int:
    """Return the place in its file of a position; of an event inside a compressed transaction, of that."""
    return int(position.rpartition(":")[2].partition("/")[0] or 0)


def problems_of(entry: Mapping[str, Any], path: Path) -> Iterator[str]:
    """Yield what of a file's reading is not as described."""
    data, expected = path.read_bytes(), expected_of(entry)
    place, got = place_of(entry, data), reading(path)
    if expected is UNSAID:
        if got.error is not None and not isinstance(got.error, MalformedLog):
            yield f"{got.error!r}"
        return
    if (expected.error is None) != (got.error is None) or not isinstance(got.error, expected.error or type(None)):
        yield f"expected {expected.error}, got {got.error!r}"
        return
    if got.error is not None:
        named = got.error.where.removeprefix(path.name).lstrip(":")
        if (int(named) if named else 0) != place:
            yield f"damage at {place}, said to be at {got.error.where}"
        if expected.says not in str(got.error) or not got.error.where.startswith(path.name):
            yield f"{got.error}"
    yield from _usable(got, len(data) if place is None else place, framed=got.error is None or not expected.whole)
    cut = [reason for *_, reason in got.events if reason]
    if "transaction incomplete" in entry["expect"] and not cut:
        yield "the last transaction is not said to be incomplete"


def _usable(got: Reading, place: int, *, framed: bool) -> Iterator[str]:
    """Everything before the damage is there, whole transactions as usable, the one that is cut as not committed.

    `framed`: the damage is one of the frames, so that the transaction that has it is cut; inside of an event it is committed all the same.
    """
    ends = [end for _, end, *_ in got.events]
    if ends != sorted(ends) or len({event[1:3] for event in got.events}) < len(got.events):
        yield "events are doubled or out of order"
    if ends and ends[-1] > place:
        yield f"an event that ends at {ends[-1]} is behind the damage at {place}"
    for kind, end, _, reason in got.events:
        if (reason == NOT_COMMITTED) != (end > got.whole) and framed:
            yield f"{kind} at {end}: {reason or 'committed'}, whole up to {got.whole}"


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_damaged_file_is_met_as_described(name: str, scenario: Any) -> None:
    """Kind and place of the damage are told, what is whole before it is given, and a cut transaction is no committed one."""
    folder = scenario(name)
    wrong = {}
    for entry in described(folder):
        found = list(problems_of(entry, folder / entry["file"]))
        if found:
            wrong[entry["file"]] = (entry["expect"], found[:3])

    assert {} == wrong


@pytest.mark.parametrize("name", SCENARIOS)
def test_what_was_read_is_what_the_log_held_before(name: str, scenario: Any) -> None:
    """Byte for byte, every event before the damage is the one of the log that was damaged."""
    folder = scenario(name)
    compared = 0
    for entry in described(folder):
        base = base_of(entry, scenario)
        if base is not None and expected_of(entry) is not UNSAID:
            whole = reading(base)
            got = [event[:3] for event in reading(folder / entry["file"]).events]
            assert [event[:3] for event in whole.events[: len(got)]] == got, entry["file"]
            compared += len(got)

    assert compared > 0


def base_of(entry: Mapping[str, Any], scenario: Any) -> Path | None:
    """Return the log a file was made from; None when its scenario is not at hand."""
    name, _, file = entry["base"].rpartition("/")
    return Path(scenario(name)) / file if name in scenarios() else None


@pytest.mark.parametrize("name", SCENARIOS)
def test_no_damage_takes_memory(name: str, scenario: Any) -> None:
    """A size that is not true is not allocated."""
    folder = scenario(name)
    for entry in described(folder):
        tracemalloc.start()
        try:
            reading_only(folder / entry["file"])
            assert tracemalloc.get_traced_memory()[1] < MEMORY_MAX, entry["file"]
        finally:
            tracemalloc.stop()


def reading_only(path: Path) -> None:
    """Read a log to its end, or to the error, and keep nothing."""
    with dblog_tasks.open("mysql", path=str(path)) as decoder:
        try:
            for event in decoder:
                assert event.body is not None
        except DblogError:
            pass


# --- the command line ----------------------------------------------------------------------------------------------------------------


def schema_option(entry: Mapping[str, Any], scenario: Any) -> list[str]:
    """Return the option that gives a schema, where the log has no names and there is one."""
    base = base_of(entry, scenario)
    meta = json.loads((base.parent / "meta.json").read_text()) if base else {}
    named = meta.get("variables", {}).get("binlog_row_metadata", "FULL") == "FULL"
    return [] if base is None or named else ["--schema", str(base.parent / meta["marks"][-1]["schema"])]


def planned(path: Path, out: Path, *options: str) -> int:
    return run(["plan", str(path), "--driver", "mysql", "--out", str(out), *options])


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_damaged_log_is_not_planned(name: str, scenario: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line that names file and place, exit code 1, and nothing left behind; a log cut between two events is planned up to its end."""
    folder = scenario(name)
    for entry in described(folder):
        path, out = folder / entry["file"], tmp_path / entry["file"]
        code = planned(path, out, *schema_option(entry, scenario))
        said = capsys.readouterr().err
        expected = expected_of(entry)
        if (expected.error is None and not entry["expect"].startswith("empty")) or (expected is UNSAID and code != 1):
            assert code in (0, 3), (entry["file"], said)
            assert [] == check(read_plan(str(out), {})), entry["file"]
            continue
        assert (1, 1) == (code, said.count("\n")), (entry["file"], said)
        place = place_of(entry, path.read_bytes())
        assert said.startswith("dblog: "), said
        assert f"{entry['file']}:{place}:" in said or (place in (0, None) and entry["file"] in said), (entry["file"], said)
        assert not out.exists(), entry["file"]


def steps_of(plan: Plan, until: int | None = None) -> Counter[tuple[str, str]]:
    """Return the steps as (table, rows) in text; `until`: those of transactions that end by then."""
    return Counter(
        (f"{step.operation.table.schema}.{step.operation.table.name}", repr(step.operation.rows))
        for step in plan.steps()
        if until is None or (step.transaction is not None and offset(step.transaction.end.value) <= until)
    )


NOTHING_PROVABLE, FIRST_EVENT = ("not a binlog", "empty log"), 4


@pytest.mark.skipif(not SALVAGE, reason="there is no --on-damage yet")
@pytest.mark.parametrize("name", SCENARIOS)
def test_what_is_salvaged_is_what_was_there(name: str, scenario: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All of what is whole before the damage, nothing that the undamaged log does not hold, nothing twice, and the loss is said."""
    folder = scenario(name)
    bases: dict[Path, Plan] = {}
    for entry in described(folder):
        path, out, base = folder / entry["file"], tmp_path / entry["file"], base_of(entry, scenario)
        options = schema_option(entry, scenario)
        code = planned(path, out, "--on-damage", "salvage", *options)
        said = capsys.readouterr().err
        if entry["expect"].startswith(NOTHING_PROVABLE) or place_of(entry, path.read_bytes()) == FIRST_EVENT:
            assert (1, 1, False) == (code, said.count("\n"), out.exists()), (entry["file"], said)
            continue
        assert code in (0, 3), (entry["file"], said)
        plan = read_plan(str(out), {})
        assert [] == check(plan), entry["file"]
        if base is None or expected_of(entry) is UNSAID:
            continue
        if base not in bases:
            assert planned(base, tmp_path / f"base{len(bases)}", *options) in (0, 3)
            bases[base] = read_plan(str(tmp_path / f"base{len(bases)}"), {})
        got, place = steps_of(plan), place_of(entry, path.read_bytes())
        assert Counter() == got - steps_of(bases[base]), entry["file"]
        assert Counter() == steps_of(bases[base], place if place is not None else path.stat().st_size) - got, entry["file"]
        assert place is None or losses(plan, bases[base]), entry["file"]


def losses(plan: Plan, base: Plan) -> Sequence[str]:
    """Return the reasons of omissions that the undamaged log does not have, or has less often."""
    return list(Counter(plan.ledger.omitted) - Counter(base.ledger.omitted))
