"""The decoder over the corpus: resuming anywhere, blocks of any size, filters, and the ledger."""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import io
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings, strategies as st
import pytest

import dblog_tasks
from dblog_tasks import Checkpoint, DblogError, InvalidCheckpoint, Ledger, MalformedLog, Position, TruncatedLog
from dblog_tasks.mysql import binlog
from tests.examples import examples

CORPUS = Path(__file__).parents[1] / "corpus"
SHOP = sorted((CORPUS / "shop" / "full").glob("*.0*")) or sorted((CORPUS / "shop").glob("*.0*"))


def facts(events: Any) -> list[tuple[Any, ...]]:
    """What is compared of events: place, kind, bytes, and what undoes them."""
    return [(event.position.value, event.kind, event.raw, event.transaction, event.reverse()) for event in events]


def read(path: str | tuple[str, ...], **options: Any) -> list[tuple[Any, ...]]:
    """Return the facts of all events of a log."""
    with dblog_tasks.open("mysql", path=path, **options) as decoder:
        return facts(decoder)


@pytest.fixture(scope="module")
def whole() -> list[tuple[Any, ...]]:
    """The facts of all events of the shop's log."""
    return read(tuple(map(str, SHOP)))


def test_every_checkpoint_splits_the_log_without_loss(whole: list[tuple[Any, ...]]) -> None:
    """Reading up to any event's end and after it gives what reading at once gives, also inside a transaction."""
    paths = tuple(map(str, SHOP))
    for index in range(0, len(whole), 29):
        place = Position("mysql", whole[index][0])
        head = read(paths, stop=place)
        tail = read(paths, checkpoint=Checkpoint(position=place))

        assert whole == head + tail


@settings(examples(8), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(size=st.integers(1, 5000))
def test_blocks_of_any_size_give_the_same_frames(size: int) -> None:
    """Frames do not depend on how the bytes arrive."""
    data = SHOP[0].read_bytes()

    def frames(width: int) -> list[tuple[int, int, bytes]]:
        blocks = (data[at : at + width] for at in range(0, len(data), width))
        return [(frame.type, frame.end, frame.raw) for frame in binlog.frames(blocks, "log")]

    assert frames(len(data)) == frames(size)


def test_a_reader_gives_what_a_path_gives() -> None:
    """An open stream is read like the file it comes from."""
    with dblog_tasks.open("mysql", reader=io.BytesIO(SHOP[0].read_bytes())) as decoder:
        from_reader = [fact[1:3] for fact in facts(decoder)]

    assert [fact[1:3] for fact in read(str(SHOP[0]))] == from_reader


def test_every_event_has_one_verdict_whatever_is_selected() -> None:
    """The ledger's total is met by what was left out and what was yielded."""
    for selection in (
        (),
        (dblog_tasks.by_table("nothing.*"),),
        (dblog_tasks.by_table("orders"),),
        (dblog_tasks.by_kind("delete"),),
        (dblog_tasks.by_kind("XID_EVENT"),),
        (dblog_tasks.not_(dblog_tasks.by_table("orders")),),
        (dblog_tasks.by_transaction("0-1-3"),),
    ):
        ledger = Ledger()
        yielded = len(read(tuple(map(str, SHOP)), selection=selection, ledger=ledger))

        assert ledger.total == yielded + ledger.accounted, selection


@pytest.mark.parametrize(
    ("place", "error"),
    [
        ("{0}:77", InvalidCheckpoint),
        ("{0}:999999999", InvalidCheckpoint),
        ("other.000001:4", InvalidCheckpoint),
        ("{0}:x", InvalidCheckpoint),
    ],
)
def test_a_checkpoint_that_is_no_place_of_this_log_is_refused(place: str, error: type[DblogError]) -> None:
    """Inside an event, past the end, in another file, or no position at all."""
    with pytest.raises(error):
        read(str(SHOP[0]), checkpoint=Checkpoint(position=Position("mysql", place.format(SHOP[0].name))))


def test_a_checkpoint_of_another_log_of_the_same_name_is_refused() -> None:
    """The identity of the log is part of a checkpoint."""
    place = Position("mysql", read(str(SHOP[0]))[-3][0])
    with pytest.raises(InvalidCheckpoint):
        read(str(SHOP[0]), checkpoint=Checkpoint(position=place, log="0123456789abcdef"))


def test_what_comes_before_a_torn_tail_is_yielded() -> None:
    """A file cut anywhere gives whole events and then one error."""
    data = SHOP[0].read_bytes()
    with dblog_tasks.open("mysql", reader=io.BytesIO(data)) as decoder:
        ends = {int(event.position.value.rpartition(":")[2]) for event in decoder}
    for cut in range(300, len(data), 1997):
        seen = 0
        with dblog_tasks.open("mysql", reader=io.BytesIO(data[:cut])) as decoder:
            events: Iterator[Any] = iter(decoder)
            if cut in ends:
                assert list(events)
                continue
            with pytest.raises(TruncatedLog):
                for event in events:
                    seen = int(event.position.value.rpartition(":")[2])
        assert seen <= cut


@examples(15)
@given(data=st.data())
def test_a_flipped_byte_is_an_error_or_says_nothing_new(data: st.DataObject) -> None:
    """Checksums are verified: damage never gives another change than the log had."""
    plain = SHOP[0].read_bytes()
    at = data.draw(st.integers(4, len(plain) - 1))
    flipped = bytearray(plain)
    flipped[at] ^= data.draw(st.integers(1, 255))
    with dblog_tasks.open("mysql", reader=io.BytesIO(bytes(flipped))) as decoder:
        seen = []
        with contextlib.suppress(DblogError):
            seen.extend(facts(decoder))
    expected = [fact[3:] for fact in read_stream(plain)[: len(seen)]]
    assert expected == [fact[3:] for fact in seen]


def read_stream(data: bytes) -> list[tuple[Any, ...]]:
    """Return the facts of a log in memory."""
    with dblog_tasks.open("mysql", reader=io.BytesIO(data)) as decoder:
        return facts(decoder)


@examples(60)
@given(tail=st.binary(max_size=400))
def test_any_bytes_end_in_a_declared_error_or_the_end(tail: bytes) -> None:
    """Noise after a good beginning raises nothing but our errors."""
    head = SHOP[0].read_bytes()[:256]
    for data in (tail, binlog.MAGIC + tail, head + tail):
        try:
            read_stream(data)
        except MalformedLog:
            continue
        except DblogError:
            continue


def test_what_was_rolled_back_is_not_undone() -> None:
    """Up to a savepoint or as a whole, beside rows of a table without transactions, which stay."""
    ledger = Ledger()
    path = CORPUS / "found" / "rolled-back-mariadb1011.000014"
    with dblog_tasks.open("mysql", path=str(path), ledger=ledger) as decoder:
        events: list[Any] = [event for event in decoder if getattr(event, "operation", None)]
    kept = [(event.table[1], after[0], after[1]) for event in events for _, after in event.body.rows]

    assert [("m", 41, "stays"), ("t", 40, "keep"), ("t", 43, "keep2"), ("m", 51, "stays"), ("m", 60, "x"), ("m", 1, "u")] == kept
    assert {"rolled back": 3} == ledger.not_needed
    assert {None} == {event.omission for event in events}
