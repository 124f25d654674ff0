"""Reading around damage: whatever happens to a file, what is taken was in the log, whole and once, and what is lost is said."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from struct import pack
from typing import Any

from hypothesis import given, strategies as st
import pytest

import dblog_tasks
from dblog_tasks import Checkpoint, InvalidInput, MalformedLog, Position, UnsupportedLog, cli, ledger as words, plan
from dblog_tasks.backend import SALVAGE
from dblog_tasks.ledger import Ledger
from dblog_tasks.mysql import binlog
from dblog_tasks.mysql.salvage import WINDOW, Damage, Salvage, Tape
from dblog_tasks.planning import PlanRequest, make_plan
from tests.examples import examples
from tests.mysql.binlog_writer import Log, event, gtid, names, query, rows, table_map
from tests.mysql.test_binlog import blocks

COLUMN = (3, b"")  # an INT
NAMES = names("id")
TRANSACTIONS = 5


def shop(version: str = "8.0.36", checksum: int | None = 1, *, gtids: bool = True, flags: int = 0) -> Log:
    """A log of some transactions of one row each, and the end of the file."""
    log = Log(version, checksum=checksum, flags=flags)
    for number in range(1, TRANSACTIONS + 1):
        if gtids:
            log.add(binlog.GTID, gtid(number))
        log.adds(
            (binlog.QUERY, query("BEGIN")),
            (binlog.TABLE_MAP, table_map([COLUMN], [NAMES])),
            (binlog.WRITE_ROWS_V1, rows(1, b"\0" + pack("<I", number))),
            (binlog.XID, number.to_bytes(8, "little")),
        )
    return log.add(binlog.ROTATE, pack("<Q", 4) + b"log.2")


def salvaged(data: bytes, size: int = 1 << 20, identity: str | None = None) -> list[binlog.Frame | Damage]:
    """All that is found in a damaged file read in blocks of that size."""
    return list(Salvage(blocks(data, size), "log", binlog.identity(data[:4096], "log") if identity is None else identity))


def transactions(found: Sequence[binlog.Frame | Damage]) -> list[bytes]:
    """The transactions taken, as their bytes; one that damage ends is not among them, bytes put in are passed over."""
    whole, current = [], b""
    for item in found:
        if isinstance(item, Damage):
            current = b"" if item.missing else current
        elif item.type == binlog.GTID or (item.type == binlog.QUERY and item.body.endswith(b"BEGIN") and not current):
            current = item.raw
        elif current:
            current += item.raw
            if item.type == binlog.XID:
                whole.append(current)
                current = b""
    return whole


def events(data: bytes) -> list[tuple[int, int]]:
    """Where each event of an undamaged log starts and ends."""
    return [(frame.start, frame.end) for frame in binlog.frames([data], "log")]


def check_covered(found: Sequence[binlog.Frame | Damage], data: bytes) -> None:
    """Every byte of the file is in one event or one damage, in order."""
    assert all(before.end == after.start for before, after in pairwise(found))
    assert (4, len(data)) == (found[0].start, found[-1].end)


WHOLE = shop().data
EVENTS = events(WHOLE)
TAKEN = transactions(salvaged(WHOLE))
FIRST = EVENTS[1][0]


def span(number: int) -> tuple[int, int]:
    """Where the transaction lies."""
    return EVENTS[1 + 5 * number][0], EVENTS[5 + 5 * number][1]


def test_an_undamaged_log_is_all_frames() -> None:
    """The same as without salvage, whatever the blocks."""
    expected = [(frame.start, frame.end, frame.raw) for frame in binlog.frames([WHOLE], "log")]

    assert TRANSACTIONS == len(TAKEN)
    for size in (1, 7, 100, 1 << 20):
        assert expected == [(item.start, item.end, item.raw) for item in salvaged(WHOLE, size) if isinstance(item, binlog.Frame)]


@pytest.mark.parametrize("bit", [0x01, 0x80])
def test_a_flipped_bit_costs_one_transaction(bit: int) -> None:
    """Anywhere in a transaction: this one is lost, all others are taken, and one damage says where."""
    for at in range(FIRST, len(WHOLE)):
        data = WHOLE[:at] + bytes([WHOLE[at] ^ bit]) + WHOLE[at + 1 :]
        found = salvaged(data)
        hit = [number for number in range(TRANSACTIONS) if span(number)[0] <= at < span(number)[1]]

        assert [taken for number, taken in enumerate(TAKEN) if number not in hit] == transactions(found), at
        damage = [item for item in found if isinstance(item, Damage) and item.kind < 0]
        assert len(damage) == 1
        assert (damage[0].start, damage[0].missing) == next((start, end - start) for start, end in EVENTS if start <= at < end)
        check_covered(found, data)


@pytest.mark.parametrize("blocksize", [50, 1 << 20])
def test_cut_out_bytes_cost_the_transactions_they_touch(blocksize: int) -> None:
    """Part of an event, whole events, several transactions: the others stand, also behind the gap, where nothing lies where it says."""
    bounds = [start for start, _ in EVENTS[1:]] + [start + 9 for start, _ in EVENTS[1:]]
    for start in bounds:
        for end in bounds:
            if start >= end:
                continue
            data = WHOLE[:start] + WHOLE[end:]
            found = salvaged(data, blocksize)
            kept = [taken for number, taken in enumerate(TAKEN) if span(number)[1] <= start or span(number)[0] >= end]

            taken = transactions(found)  # one more when the two ends happen to make one event
            assert kept == [raw for raw in taken if raw in kept], (start, end)
            assert taken == [raw for raw in TAKEN if raw in taken], (start, end)
            assert sum(item.missing for item in found if isinstance(item, Damage)) >= min(end - start, len(data) - start), (start, end)
            check_covered(found, data)


def test_doubled_bytes_cost_nothing() -> None:
    """Events, transactions, half of one: whatever stands twice is taken once, and nothing is missing."""
    bounds = [start for start, _ in EVENTS[1:]]
    for start in bounds:
        for end in [end for _, end in EVENTS if end > start]:
            data = WHOLE[:end] + WHOLE[start:end] + WHOLE[end:]
            found = salvaged(data)

            assert TAKEN == transactions(found), (start, end)
            assert [(end, 2 * end - start)] == [(item.start, item.end) for item in found if isinstance(item, Damage)]
            check_covered(found, data)


@pytest.mark.parametrize("junk", [bytes(300), b"\xaa" * 17, b"\x02\x00\x00\x00" * 64, WHOLE[FIRST + 5 : FIRST + 90]])
def test_bytes_put_in_cost_nothing(junk: bytes) -> None:
    """Between two events, also those of one transaction."""
    for at in [start for start, _ in EVENTS[1:]]:
        data = WHOLE[:at] + junk + WHOLE[at:]
        found = salvaged(data)

        assert TAKEN == transactions(found), at
        assert [(at, at + len(junk), 0)] == [(item.start, item.end, item.missing) for item in found if isinstance(item, Damage)]


def test_a_torn_tail_is_said_and_whole_transactions_stand() -> None:
    """Cut anywhere: what is there of the last event is lost, and nothing comes after it."""
    for cut in range(FIRST, len(WHOLE)):
        found = salvaged(WHOLE[:cut], 64)
        torn = cut not in {end for _, end in EVENTS}

        assert [taken for number, taken in enumerate(TAKEN) if span(number)[1] <= cut] == transactions(found)
        assert [True] * torn == [item.tail for item in found if isinstance(item, Damage)]
        check_covered(found, WHOLE[:cut])


@pytest.mark.parametrize("other", [WHOLE[4:], WHOLE, shop().data[4:]])
def test_a_log_that_stands_twice_is_taken_once(other: bytes) -> None:
    """The same log again behind itself is the same positions again."""
    found = salvaged(WHOLE + other)

    assert TAKEN == transactions(found)
    assert found[-1].end == len(WHOLE + other)


def test_a_torn_copy_that_goes_on_with_the_whole_one_is_whole() -> None:
    """What the first copy lacks, the second one has: positions tell that it is the same log."""
    for cut in (span(1)[1], span(2)[0] + 70, span(2)[0] + 200):
        assert TAKEN == transactions(salvaged(WHOLE[:cut] + WHOLE)), cut


def test_another_log_inside_is_not_taken() -> None:
    """Its positions say nothing about this one, and who gives it too would undo it twice."""
    longer = Log("8.0.36")
    longer.add(binlog.QUERY, query("x" * 4000))
    longer = Log("8.0.37")
    for number in range(100, 140):
        longer.adds((binlog.GTID, gtid(number)), (binlog.QUERY, query("BEGIN")), (binlog.XID, bytes(8)))
    found = salvaged(WHOLE + longer.data)

    assert len(longer.data) > 2 * len(WHOLE)
    assert TAKEN == transactions(found)
    assert (len(WHOLE), len(WHOLE + longer.data)) == (found[-1].start, found[-1].end)


def test_nothing_is_taken_from_within_a_transaction() -> None:
    """Rows whose table map was seen before the gap are another transaction's for all we know."""
    at = EVENTS[3][0] + 30  # in the table map of the first transaction
    found = salvaged(WHOLE[:at] + b"\xff" + WHOLE[at + 1 :])

    assert TAKEN[1:] == transactions(found)
    assert [-1, binlog.WRITE_ROWS_V1, binlog.XID] == [item.kind for item in found if isinstance(item, Damage)]
    assert [True, True, False] == [item.changes for item in found if isinstance(item, Damage)]


def test_without_checksums_a_chain_of_places_is_asked_for() -> None:
    """Cut out and doubled events are read around; what a single header says is not believed."""
    log = shop("5.5.62", None, gtids=False)
    whole, places = transactions(salvaged(log.data)), events(log.data)
    start, end = places[2]
    gap = log.data[:start] + log.data[end:]
    lone = event(binlog.QUERY, query("BEGIN"), len(gap) + 5000)

    assert TRANSACTIONS == len(whole)
    assert whole[1:] == transactions(salvaged(gap))
    assert whole[1:] == transactions(salvaged(gap + lone))
    assert whole == transactions(salvaged(log.data[:end] + log.data[start:]))


def test_without_checksums_an_event_no_server_writes_is_damage() -> None:
    """A type, a table map or a statement that cannot be: its transaction is lost, the next ones are not."""
    log = shop("5.5.62", None, gtids=False)
    whole, places = transactions(salvaged(log.data)), events(log.data)
    query_at, map_at = places[1][0], places[2][0]
    for at, value in ((query_at + 4, 99), (query_at + 19 + 8, 200), (map_at + 19 + 8, 250)):
        data = log.data[:at] + bytes([value]) + log.data[at + 1 :]

        assert whole[1:] == transactions(salvaged(data)), at


def test_relay_logs_are_read_to_the_damage() -> None:
    """Their events say where they ended elsewhere, so nothing proves what comes after it."""
    data = bytearray(shop(flags=binlog.FLAG_RELAY).data)
    data[span(2)[0] + 30] ^= 1
    found = salvaged(bytes(data))

    assert TAKEN[:2] == transactions(found)
    assert (span(2)[0], len(data), True) == (found[-1].start, found[-1].end, found[-1].tail)  # type: ignore[union-attr]


def test_without_its_format_nothing_of_a_file_is_taken() -> None:
    """Nobody knows then whether there are checksums."""
    for at in (0, 6, 30, 100):
        with pytest.raises((MalformedLog, UnsupportedLog)):
            salvaged(WHOLE[:at] + bytes([WHOLE[at] ^ 1]) + WHOLE[at + 1 :], identity="")


def test_events_of_any_size_are_found_again() -> None:
    """A transaction that begins beyond the bytes looked through at a time."""
    log = Log()
    log.adds((binlog.GTID, gtid(1)), (binlog.QUERY, query("BEGIN")), (binlog.ROWS_QUERY, b"x" * (WINDOW + 100)), (binlog.XID, bytes(8)))
    after = len(log.data)
    log.adds((binlog.GTID, gtid(2)), (binlog.QUERY, query("BEGIN")), (binlog.XID, bytes(8)))
    data = log.data[:400] + b"\0" + log.data[401:]
    found = salvaged(data, 1 << 16)

    assert [log.data[after:]] == transactions(found)


@examples(100)
@given(st.data(), st.sampled_from([None, 0, 1]), st.booleans())
def test_whatever_happens_what_is_taken_was_there_once(data: st.DataObject, checksum: int | None, gtids: bool) -> None:  # noqa: FBT001
    """Bytes changed, put in, taken out or moved in several places: with checksums nothing is invented or doubled."""
    log = shop("8.0.36" if checksum is not None else "5.5.62", checksum, gtids=gtids)
    whole = transactions(salvaged(log.data))
    damaged = bytearray(log.data)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(events(log.data)[0][1], len(damaged)))
        moved = data.draw(
            st.binary(max_size=40)
            | st.tuples(st.integers(4, len(damaged)), st.integers(0, 500)).map(lambda it: bytes(damaged[it[0] : sum(it)]))
        )
        damaged[at : at + data.draw(st.sampled_from([0, 0, 1, 4, 40, 400]))] = moved
    found = salvaged(bytes(damaged), data.draw(st.sampled_from([33, 1000, 1 << 20])))
    taken = transactions(found)

    check_covered(found, bytes(damaged))
    if checksum:
        assert [raw for raw in whole if raw in taken] == taken


@given(st.lists(st.binary(max_size=9), max_size=9), st.data())
def test_a_tape_gives_the_bytes_again(parts: list[bytes], data: st.DataObject) -> None:
    """From any place that was not let go, while more is let go."""
    whole = b"".join(parts)
    tape = Tape(iter(parts), 100)
    at = 0
    while at < len(whole):
        assert whole[at : at + 5] == tape.view(100 + at, 5)
        got = b""
        for block in tape.read(100 + at):
            got += block
            tape.forget(100 + at + len(got) - data.draw(st.integers(0, len(got))))
            if data.draw(st.booleans()):
                break
        assert whole[at:].startswith(got)
        at += max(len(got), 1)
        tape.forget(100 + at)


# ---- as events, planned


def opened(path: Path, **options: Any) -> Iterator[Any]:
    """The events of a file, read around its damage."""
    with dblog_tasks.open("mysql", path=str(path), on_damage=SALVAGE, **options) as decoder:
        yield from decoder


def reasons(found: Sequence[Any]) -> list[tuple[str, str]]:
    """Kinds and reasons of what is lost."""
    return [(event.kind, event.omission.reason) for event in found if event.omission is not None]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a damaged log goes."""
    return tmp_path / "log.000001"


def damaged_rows(number: int) -> bytes:
    """The log with a bit flipped in the rows of a transaction."""
    at = EVENTS[4 + 5 * number][0] + 25
    return WHOLE[:at] + bytes([WHOLE[at] ^ 4]) + WHOLE[at + 1 :]


def test_damage_is_an_event_of_its_own(path: Path) -> None:
    """It stands where it lies, of any table, at no time, and cannot be undone."""
    path.write_bytes(damaged_rows(2))
    ledger = Ledger()
    found = list(opened(path, ledger=ledger))
    lost = next(event for event in found if event.kind == "damage")
    start, end = EVENTS[14]

    assert [("damage", words.DAMAGED)] == reasons(found)
    assert (f"log.000001:{end}", None, None, None, b"") == (lost.position.value, lost.table, lost.time, lost.transaction, lost.raw)
    assert (f"log.000001:{start}", end - start, end - start) == (lost.body.start, lost.body.size, lost.body.missing)
    assert "checksum" in lost.body.what
    assert lost.reverse() is None
    assert [1, 2, 4, 5] == [row[0] for event in found if event.operation == "insert" for _, row in event.body.rows]
    assert len(EVENTS) == ledger.total == len(found) + ledger.not_needed.total()


def test_rows_before_damage_are_lost_with_their_transaction(path: Path) -> None:
    """They are whole, their transaction is not: both sides of the gap are omitted by the same reason."""
    start, end = EVENTS[15]  # its commit
    path.write_bytes(WHOLE[:start] + WHOLE[end:])
    found = list(opened(path))

    assert [("WRITE_ROWS_EVENTv1", words.DAMAGED), ("damage", words.DAMAGED)] == reasons(found)
    assert [end - start] == [event.body.missing for event in found if event.kind == "damage"]


def test_table_maps_do_not_outlive_damage(path: Path) -> None:
    """Rows of the next transaction without their own map have no table."""
    log = Log("5.5.62", checksum=None)
    begin, row = (binlog.QUERY, query("BEGIN")), (binlog.WRITE_ROWS_V1, rows(1, b"\0" + pack("<I", 1)))
    log.adds(begin, (binlog.TABLE_MAP, table_map([COLUMN], [NAMES])), row, (binlog.XID, bytes(8)))
    at = len(log.data)
    log.adds(begin, row, (binlog.XID, bytes(8)), begin, row, (binlog.XID, bytes(8)))
    path.write_bytes(log.data[:at] + b"\xaa" * 30 + log.data[at + 30 :])

    assert [("damage", words.DAMAGED), ("WRITE_ROWS_EVENTv1", words.DAMAGED)] == reasons(list(opened(path)))[:2]
    assert ("WRITE_ROWS_EVENTv1", "rows without a table map") in reasons(list(opened(path)))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (WHOLE + bytes(4096), [("damage", words.CUT_OFF)]),
        (WHOLE[: EVENTS[14][1] - 3], [("damage", words.CUT_OFF)]),
        (WHOLE[: EVENTS[15][1] - 3], [("WRITE_ROWS_EVENTv1", words.NOT_COMMITTED), ("damage", words.CUT_OFF)]),
        (WHOLE[: EVENTS[14][1]] + WHOLE[EVENTS[14][0] :], [("damage", words.DOUBLED)]),
        (WHOLE[: EVENTS[15][1]] + WHOLE[EVENTS[1][0] :], [("damage", words.DOUBLED)]),
        (WHOLE[:4] + WHOLE[4:], []),
    ],
)
def test_tails_and_doubled_bytes_are_omitted_by_their_own_reason(path: Path, data: bytes, expected: list[tuple[str, str]]) -> None:
    """A tail may be written yet; bytes that stand twice cost nothing."""
    path.write_bytes(data)

    assert expected == reasons(list(opened(path)))


def test_only_positions_and_names_of_transactions_rule_damage_out(path: Path) -> None:
    """It may have been any table, at any time; but not a transaction that was found whole."""
    path.write_bytes(damaged_rows(2))
    start, end = EVENTS[14]
    selections: dict[str, tuple[Any, dict[str, Any]]] = {
        "table": ((dblog_tasks.by_table("d.other"),), {}),
        "kind": ((dblog_tasks.by_kind("delete"),), {}),
        "transaction": ((dblog_tasks.by_transaction("ac652d7c-e6f4-11f1-8edd-02fc00000001:1"),), {}),
        "before": ((), {"stop": Position("mysql", f"log.000001:{start}")}),
        "at": ((), {"checkpoint": Checkpoint(position=Position("mysql", f"log.000001:{start}"))}),
        "after": ((), {"checkpoint": Checkpoint(position=Position("mysql", f"log.000001:{end}"))}),
    }
    for name, (selection, options) in selections.items():
        ledger = Ledger()
        found = list(opened(path, selection=selection, ledger=ledger, **options))

        assert (name in {"table", "kind", "at"}) == (("damage", words.DAMAGED) in reasons(found)), name
        assert ledger.total == len(found) + ledger.not_needed.total(), name


def test_reading_goes_on_at_any_end_of_what_was_salvaged(path: Path) -> None:
    """Head and tail together are the whole, at every position between, also behind bytes that were cut out."""
    for data in (damaged_rows(2), WHOLE[: EVENTS[14][0]] + WHOLE[EVENTS[14][1] :], WHOLE[: EVENTS[15][1]] + WHOLE[EVENTS[11][0] :]):
        path.write_bytes(data)
        whole = [(event.position.value, event.kind) for event in opened(path)]
        for position in dict.fromkeys(position for position, _ in whole):
            head = opened(path, stop=Position("mysql", position))
            tail = opened(path, checkpoint=Checkpoint(position=Position("mysql", position)))

            assert sorted(whole) == sorted((event.position.value, event.kind) for event in (*head, *tail)), position


def test_where_rows_cannot_be_read_without_checksums_their_transaction_is_lost(path: Path) -> None:
    """Row data that do not fit the table map, found only when they are decoded."""
    log = shop("5.5.62", None, gtids=False)
    start = events(log.data)[3][0]
    path.write_bytes(log.data[: start + 27] + b"\x07" + log.data[start + 28 :])  # the number of columns
    with dblog_tasks.open("mysql", path=str(path)) as decoder, pytest.raises(MalformedLog):
        assert all(event.body is not None for event in decoder)

    assert [("WRITE_ROWS_EVENTv1", words.DAMAGED)] == reasons(list(opened(path)))


def test_stopping_says_where_whole_transactions_end(path: Path) -> None:
    """And what else can be done."""
    path.write_bytes(damaged_rows(2))
    with (
        dblog_tasks.open("mysql", path=str(path)) as decoder,
        pytest.raises(MalformedLog, match=f"end at log.000001:{span(1)[1]}; --on-damage"),
    ):
        list(decoder)


def test_what_to_do_is_one_of_two(path: Path) -> None:
    """Another word is refused, and so is salvage where nothing can be proved."""
    path.write_bytes(WHOLE)
    for driver, word in (("mysql", "guess"), ("redis", SALVAGE)):
        with pytest.raises(InvalidInput):
            list(dblog_tasks.open(driver, path=str(path), on_damage=word))


# ---- from the command line


def test_a_salvaged_plan_says_what_is_lost(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In its omissions, on its screen and by its exit code; and it undoes all that is whole."""
    path.write_bytes(damaged_rows(2))
    start, end = EVENTS[14]
    command = ["plan", str(path), "--driver", "mysql", "--out", str(tmp_path / "plan")]

    assert cli.run(command) == 1
    assert f"log.000001:{start}: " in capsys.readouterr().err
    assert cli.run([*command, "--on-damage", "salvage"]) == 3
    found = plan.read_plan(str(tmp_path / "plan"), {})
    lost = {"start": f"log.000001:{start}", "bytes": end - start, "missing": end - start}
    assert [lost] == [{name: line["lost"][name] for name in lost} for line in found.omitted()]
    assert [] == plan.check(found)
    assert [5, 4, 2, 1] == [row[0] for step in found.steps() for row, _ in step.operation.rows]
    assert cli.run(["show", str(tmp_path / "plan")]) == 0
    assert f"lost: log.000001:{start} to log.000001:{end}, {end - start} bytes of the log" in capsys.readouterr().out


def test_later_changes_are_unknown_from_damage_on(path: Path, tmp_path: Path) -> None:
    """Rows that lost transactions touched cannot be compared."""
    path.write_bytes(damaged_rows(2))
    request = PlanRequest(
        "mysql", (str(path),), str(tmp_path / "plan"), stop=Position("mysql", f"log.000001:{span(1)[1]}"), on_damage=SALVAGE
    )
    made = make_plan(request)

    assert made is not None
    assert {"d.t": f"from log.000001:{EVENTS[14][1]} on: {words.DAMAGED}"} == made.manifest["conflicts"]["unknown"]
    assert {} == made.ledger.omitted


def test_a_tail_waits_for_the_next_run(path: Path, tmp_path: Path) -> None:
    """A log that is still written: what is whole now is planned, the rest when more of it is there; once."""
    request = PlanRequest("mysql", (str(path),), str(tmp_path / "plans"), on_damage=SALVAGE, resume=True)
    undone = []
    for data in (WHOLE[: EVENTS[9][1] - 3], damaged_rows(2)[: EVENTS[14][1]], damaged_rows(2)):
        path.write_bytes(data)
        made = make_plan(request)
        assert made is not None
        undone.append((made.ledger.undone, dict(made.ledger.omitted), made.ledger.balanced))

    assert [(1, {}, True), (1, {}, True), (2, {words.DAMAGED: 1}, True)] == undone
