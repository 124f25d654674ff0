"""XA transactions: undone only when they were committed, wherever in the log that is, and taken up by the run that sees it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from struct import pack
from typing import Any

import pytest

import dblog_tasks
from dblog_tasks import Checkpoint, Ledger, Position, ledger as words
from dblog_tasks.mysql import binlog as b, xa
from dblog_tasks.mysql.queries import XaId
from dblog_tasks.mysql.xa import Outcome, Outcomes
from dblog_tasks.plan import Plan
from dblog_tasks.planning import PlanRequest, make_plan
from tests.mysql import binlog_writer as write
from tests.mysql.binlog_writer import Log, gtid, query, rows, table_map

FOUND = Path(__file__).parents[1] / "corpus" / "found"
A, C = XaId(1, b"a", b""), XaId(1, b"c", b"")
MAP = (b.TABLE_MAP, table_map([(3, b"")], [write.names("id")]))
INSERT = (b.WRITE_ROWS_V2, rows(1, b"\0\1\0\0\0", version=2))


def prepared(number: int, name: XaId = A) -> list[tuple[int, bytes]]:
    """A transaction that inserts a row and is prepared."""
    said = [(b.QUERY, query(f"XA {verb} {name}")) for verb in ("START", "END")]
    body = pack("<BIII", 0, name.format_id, len(name.gtrid), 0) + name.gtrid
    return [(b.GTID, gtid(number)), said[0], MAP, INSERT, said[1], (b.XA_PREPARE, body)]


def ended(number: int, name: XaId = A, verb: str = "COMMIT", time: int = 5_000_000) -> list[tuple[int, bytes]]:
    """Its end."""
    return [(b.GTID, gtid(number, committed=time)), (b.QUERY, query(f"XA {verb} {name}"))]


def plain(number: int) -> list[tuple[int, bytes]]:
    """A transaction like any."""
    return [(b.GTID, gtid(number)), (b.QUERY, query("BEGIN")), MAP, INSERT, (b.XID, bytes(8))]


def stored(folder: Path, *logs: list[tuple[int, bytes]]) -> tuple[str, ...]:
    """Write a series of logs; return their paths."""
    paths = [folder / f"log.{number:06}" for number, _ in enumerate(logs, 1)]
    for path, events in zip(paths, logs, strict=True):
        path.write_bytes(Log().adds(*events).data)
    return tuple(map(str, paths))


def undone(plan: Plan | None) -> list[str]:
    """Where the steps of a plan are."""
    assert plan is not None
    assert plan.ledger.balanced
    return [step.checkpoint.position.value.partition(".")[2] for segment in plan.segments("steps") for step in plan.steps_of(segment)]


def planned(logs: tuple[str, ...], out: Path, **options: Any) -> Plan | None:
    """The plan of some logs."""
    return make_plan(PlanRequest("mysql", logs, str(out), **options))


@pytest.mark.parametrize(
    ("logs", "steps", "reasons", "before"),
    [
        ([[*prepared(1), *plain(2), *ended(3)]], 2, {}, []),
        ([[*prepared(1), *plain(2)], plain(3), ended(4)], 3, {}, []),
        ([[*prepared(1), *ended(2, C), *ended(3, A, "ROLLBACK")]], 0, {words.ROLLED_BACK: 1}, ["X'63',X'',1"]),
        ([[*prepared(1)], [*plain(2), *ended(3, A, "ROLLBACK")]], 1, {words.ROLLED_BACK: 1}, []),
        ([[*prepared(1), *ended(2, C)], [*prepared(3, C)], ended(4, C)], 1, {words.PREPARED: 1}, ["X'63',X'',1"]),
        ([[*prepared(1), *ended(2, A, "ROLLBACK"), *prepared(3), *ended(4)]], 1, {words.ROLLED_BACK: 1}, []),
        ([[*ended(1), *plain(2)]], 1, {}, ["X'61',X'',1"]),
    ],
)
def test_a_prepared_transaction_is_undone_when_it_was_committed(
    logs: list[list[tuple[int, bytes]]], steps: int, reasons: dict[str, int], before: list[str], tmp_path: Path
) -> None:
    """In the same file or later ones; the first end of its id counts; what was prepared before the logs is said."""
    plan = planned(stored(tmp_path, *logs), tmp_path / "plan")

    assert steps == len(undone(plan))
    assert plan is not None
    found = {**plan.ledger.not_needed, **plan.ledger.omitted}
    assert reasons == {reason: count for reason, count in found.items() if reason != words.STRUCTURE}
    assert before == plan.manifest["prepared_before"]


def test_its_time_is_that_of_its_commit(tmp_path: Path) -> None:
    """A window holds it when it was committed in it, and it has the name of its end too."""
    (path,) = stored(tmp_path, [*prepared(1), *ended(2)])
    with dblog_tasks.open("mysql", path=path, selection=(dblog_tasks.by_transaction(f"{write.SID}:2"),)) as decoder:
        changes: list[Any] = [event for event in decoder if getattr(event, "operation", None)]

    assert ["1970-01-01T00:00:05+00:00"] == [event.time.isoformat() for event in changes if event.time]
    assert str(A) in changes[0].transaction_names


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize(("name", "cut", "later"), [("xa-commit-mariadb1011.000004", 863, 1101), ("xa-commit-mysql97.000004", 525, 787)])
def test_a_run_takes_up_what_an_earlier_one_left_prepared(name: str, cut: int, later: int, jobs: int, tmp_path: Path) -> None:
    """A log that grows: the first run leaves it, a second one too, the third sees its commit; together they have every change once."""
    data = (FOUND / name).read_bytes()
    path = tmp_path / name
    request = PlanRequest("mysql", (str(path),), str(tmp_path / "plans"), resume=True)
    plans = []
    for end in (cut, later, len(data)):
        path.write_bytes(data[:end])
        plans.append(make_plan(request, jobs=jobs))
    whole = planned((str(FOUND / name),), tmp_path / "whole")

    steps = [undone(plan) for plan in plans]
    assert [0, 1, 5] == [len(found) for found in steps]
    assert sorted(undone(whole)) == sorted(step for found in steps for step in found)
    assert [(1, 0), (0, 0), (0, 0)] == [
        (len(plan.manifest["pending"]), len(plan.manifest["prepared_before"])) for plan in plans if plan is not None
    ]


def test_an_id_that_is_used_again_stands_for_its_last_transaction(tmp_path: Path) -> None:
    """What was rolled back, or taken up already, is not undone when the id comes again."""
    runs = [prepared(1), [*ended(2, verb="ROLLBACK"), *prepared(3)], ended(4), prepared(5), ended(6)]
    request = PlanRequest("mysql", (str(tmp_path / "log.*"),), str(tmp_path / "plans"), resume=True)
    steps = []
    for number in range(len(runs)):
        stored(tmp_path, *runs[: number + 1])
        steps.append(undone(make_plan(request)))

    assert [0, 0, 1, 0, 1] == [len(found) for found in steps]
    assert ["000002", "000004"] == [step.partition(":")[0] for found in steps for step in found]


def test_a_run_says_what_it_cannot_take_up(tmp_path: Path) -> None:
    """The file in which it was prepared is gone: the plan names the transaction."""
    logs = stored(tmp_path / ".", prepared(1), [*plain(2)], [*ended(3), *plain(4)])
    request = PlanRequest("mysql", logs[:2], str(tmp_path / "plans"), resume=True)
    first = make_plan(request)
    second = make_plan(replace(request, logs=logs[1:]))

    assert (1, 1) == (len(undone(first)), len(undone(second)))
    assert second is not None
    assert [str(A)] == second.manifest["prepared_before"]


def test_head_and_tail_are_the_whole(tmp_path: Path) -> None:
    """Any event's end splits a log in two readings that give the same together, also between PREPARE and COMMIT."""
    path = str(FOUND / "xa-commit-mysql97.000004")

    def facts(**options: Any) -> list[Any]:
        ledger = Ledger()
        with dblog_tasks.open("mysql", path=path, ledger=ledger, **options) as decoder:
            events: list[Any] = list(decoder)
            return [(event.position.value, event.raw, event.reverse()) for event in events]

    whole = facts()
    for place, *_ in whole:
        at = Position("mysql", place)

        assert whole == facts(stop=at) + facts(checkpoint=Checkpoint(position=at))


def spots(frames: list[tuple[int, bytes]]) -> list[tuple[int, b.Frame]]:
    """Frames of one file."""
    return [(0, frame) for frame in b.frames([Log().adds(*frames).data], "log")][1:]


def test_ends_are_read_once_for_many_and_again_when_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """No more of the log is read than needed; of ends nobody asked for, few are kept."""
    events = spots([*prepared(1), *prepared(2, C), *ended(3), *ended(4, C, "ROLLBACK"), *plain(5)])
    read: list[int] = []

    def later(spot: xa.Spot) -> Iterator[tuple[int, b.Frame]]:
        for index, frame in events:
            if frame.start >= spot[1]:
                read.append(frame.end)
                yield index, frame

    places = {number: frame.end for number, (_, frame) in enumerate(events) if frame.type == b.XA_PREPARE}
    first, second = places.values()
    ends = {number: events[number][1].end for number in (13, 15)}
    want = [Outcome(True, 5_000_000, f"{write.SID}:3", (0, ends[13])), Outcome(False, 5_000_000, f"{write.SID}:4", (0, ends[15]))]  # noqa: FBT003 - the fields in order
    for limit, again in ((10, 0), (0, 2)):
        monkeypatch.setattr(xa, "OUTCOMES_MAX", limit)
        outcomes = Outcomes(later)
        read.clear()
        assert want == [outcomes.find(A, (0, first)), outcomes.find(C, (0, second))]
        assert max(read) == ends[15]
        assert again == len(read) - len(set(read))
        assert outcomes.find(A, (0, ends[15])) is None


def test_damage_ends_the_search() -> None:
    """It is reported where reading comes to it; the transaction stays prepared."""

    def later(spot: xa.Spot) -> Iterator[tuple[int, b.Frame]]:
        yield from spots(plain(1))
        raise dblog_tasks.MalformedLog("damage", where="log:9")

    assert Outcomes(later).find(A, (0, 4)) is None
