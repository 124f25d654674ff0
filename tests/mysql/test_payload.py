"""Compressed transactions: opened whole or refused, in little memory, at places of their own."""

from __future__ import annotations

from contextlib import suppress
import io
from pathlib import Path
import tracemalloc
from typing import Any

from hypothesis import given, strategies as st
import pytest
import zstandard

import dblog_tasks
from dblog_tasks import Checkpoint, DblogError, InvalidCheckpoint, Ledger, MalformedLog, Position, UnsupportedLog
from dblog_tasks.mysql import binlog as b, payload
from dblog_tasks.mysql.place import WHOLE, Place, position_key, split_position
from tests.mysql import binlog_writer as write
from tests.mysql.binlog_writer import Log, frame, gtid, query, rows, table_map

FOUND = Path(__file__).parents[1] / "corpus" / "found"
PACKED = FOUND / "packed-mysql97.000002"
MAP = (b.TABLE_MAP, table_map([(3, b"")], [write.names("id")]))
INSERT = (b.WRITE_ROWS_V2, rows(1, b"\0\1\0\0\0", version=2))
EVENTS = [(b.QUERY, query("BEGIN")), MAP, INSERT, (b.XID, bytes(8))]
PLAIN = b"".join(write.event(*event) for event in EVENTS)


def outer(body: bytes) -> b.Frame:
    """A compressed transaction as it stands in a log."""
    return frame(b.TRANSACTION_PAYLOAD, body)


def read(path: Path, **options: Any) -> list[Any]:
    """The events of a log."""
    with dblog_tasks.open("mysql", path=str(path), **options) as decoder:
        return list(decoder)


@pytest.mark.parametrize("size", [1, 19, 20, 100, 1 << 20])
@pytest.mark.parametrize("zstd", [True, False])
def test_events_come_out_as_they_went_in(size: int, zstd: bool, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: FBT001 - a column
    """Type, bytes and number of each, in blocks of any size; counted alike by their headers alone."""
    monkeypatch.setattr(payload, "BLOCK_SIZE", size)
    whole = outer(write.payload(*EVENTS, zstd=zstd))
    found = list(payload.events(whole, "log"))

    assert EVENTS == [(event.type, event.body) for event in found]
    assert PLAIN == b"".join(event.raw for event in found)
    assert [(1, whole.start, whole.end), (4, whole.start, whole.end)] == [(it.number, it.start, it.end) for it in (found[0], found[-1])]
    assert len(found) == payload.count(whole, "log")


def test_several_packed_blocks_are_one() -> None:
    """A server may flush in between."""
    half = zstandard.compress(PLAIN[:70]) + zstandard.compress(PLAIN[70:])
    body = write.payload(zstd=False, fields=[(2, 0), (3, len(PLAIN)), (1, len(half))]) + half

    assert EVENTS == [(event.type, event.body) for event in payload.events(outer(body), "log")]


SIZES = {1: len(zstandard.compress(PLAIN)), 2: 0, 3: len(PLAIN)}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (write.payload(*EVENTS, fields=[*(SIZES | {3: len(PLAIN) + 1}).items()]), "it declares"),
        (write.payload(*EVENTS, fields=[*(SIZES | {3: len(PLAIN) - 1}).items()]), "or more bytes, it declares"),
        (write.payload(*EVENTS, fields=[(1, SIZES[1]), (2, 0)]), "it declares 0"),
        (write.payload(*EVENTS, zstd=False, fields=[(1, len(PLAIN)), (2, 0), (3, 9)]), "cannot be unpacked"),
        (write.payload(*EVENTS, (b.TRANSACTION_PAYLOAD, b"")), "TRANSACTION_PAYLOAD_EVENT inside"),
        (write.payload((b.GTID, gtid(1))), "GTID_EVENT inside"),
        (write.payload((b.ROTATE, bytes(9))), "ROTATE_EVENT inside"),
        (write.payload(*EVENTS)[:-3], "bytes follow its fields"),
        (write.payload(zstd=False, fields=[(1, 30), (2, 255)]) + PLAIN[:30], "ends inside its event 1"),
        (write.payload(zstd=False, fields=[(1, 19), (2, 255)]) + bytes(19), "an event of 0 bytes"),
    ],
)
def test_one_that_contradicts_itself_is_malformed(body: bytes, words: str) -> None:
    """Sizes, kinds of events, packed bytes: the error has the place of the event that holds it."""
    with pytest.raises(MalformedLog, match=words) as caught:
        list(payload.events(outer(body), "log"))
    assert "log:4" == caught.value.where


def test_an_unknown_way_of_compressing_is_refused() -> None:
    """With what to do."""
    with pytest.raises(UnsupportedLog, match="number 7") as caught:
        list(payload.events(outer(write.payload(zstd=False, fields=[(1, 0), (2, 7), (3, 9)])), "log"))
    assert "binlog_transaction_compression" in str(caught.value)


def test_memory_does_not_grow_with_what_is_packed() -> None:
    """A hundred and twenty million bytes of events in a few thousand."""
    event = write.event(b.IGNORABLE, bytes(1 << 20))
    pack = zstandard.ZstdCompressor().compressobj()
    packed = b"".join(pack.compress(event) for _ in range(120)) + pack.flush()
    body = write.payload(zstd=False, fields=[(1, len(packed)), (2, 0), (3, 120 * len(event))]) + packed
    tracemalloc.start()
    try:
        number = sum(1 for _ in payload.events(outer(body), "log"))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert 120 == number == payload.count(outer(body), "log")
    assert peak < 24 << 20


@given(st.data())
def test_a_damaged_one_is_opened_or_refused(data: st.DataObject) -> None:
    """Only declared errors."""
    body = bytearray(write.payload(*EVENTS, zstd=data.draw(st.booleans())))
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    with suppress(MalformedLog, UnsupportedLog):
        assert len(list(payload.events(outer(bytes(body)), "log"))) == payload.count(outer(bytes(body)), "log")


# --- in a log ------------------------------------------------------------------------------------------------------------------------


def facts(events: list[Any]) -> list[Any]:
    """What is compared of events."""
    return [(event.position.value, event.kind, event.raw, event.transaction, event.reverse()) for event in events]


def test_a_log_with_compressed_and_plain_transactions() -> None:
    """Every row of both, at places in order, each event once in the ledger."""
    ledger = Ledger()
    events = read(PACKED, ledger=ledger)
    places = [event.position for event in events]

    assert len(events) == ledger.total
    assert places == sorted(places, key=position_key)
    assert len(places) == len(set(places))
    changes = {event.position.value.partition(":")[2]: (event.operation, len(event.body.rows)) for event in events if event.reverse()}
    assert {"508/3": ("insert", 2), "508/5": ("update", 3), "508/7": ("delete", 1), "789": ("update", 1), "1085/3": ("delete", 2)} == {
        place: changes[place] for place in list(changes)[:5]
    }


def test_every_place_splits_the_log() -> None:
    """Also one inside a compressed transaction."""
    whole = facts(read(PACKED))
    for place, *_ in whole:
        at = Position("mysql", place)

        assert whole == facts(read(PACKED, stop=at)) + facts(read(PACKED, checkpoint=Checkpoint(position=at)))


def test_every_event_has_one_verdict_whatever_is_selected() -> None:
    """Tables, kinds, transactions and bounds: what is left out and what comes is all there is."""
    first = f"{PACKED.name}:508/3"
    for options in (
        {"selection": (dblog_tasks.by_table("nothing"),)},
        {"selection": (dblog_tasks.by_table("s.t"),)},
        {"selection": (dblog_tasks.by_kind("delete"),)},
        {"selection": (dblog_tasks.by_kind("TRANSACTION_PAYLOAD_EVENT"),)},
        {"selection": (dblog_tasks.by_position(Position("mysql", first), Position("mysql", f"{PACKED.name}:1085/3"), position_key),)},
        {"checkpoint": Checkpoint(position=Position("mysql", first))},
        {"stop": Position("mysql", first)},
    ):
        ledger = Ledger()
        yielded = len(read(PACKED, ledger=ledger, **options))

        assert ledger.total == yielded + ledger.accounted, options


@pytest.mark.parametrize("place", ["508/9", "789/1", "277/1", "500/1", "508/0", "508/-1", "508/", "99999/1"])
def test_a_place_that_is_not_in_the_log_is_refused(place: str) -> None:
    """No such event inside, nothing to be inside of, or no place at all."""
    with pytest.raises(InvalidCheckpoint):
        read(PACKED, checkpoint=Checkpoint(position=Position("mysql", f"{PACKED.name}:{place}")))


def test_a_compressed_transaction_that_goes_on_after_its_end_is_malformed(tmp_path: Path) -> None:
    """What comes before it is read."""
    path = tmp_path / "log.000001"
    path.write_bytes(
        Log().adds((b.GTID, gtid(1)), *EVENTS, (b.GTID, gtid(2)), (b.TRANSACTION_PAYLOAD, write.payload(*EVENTS, *EVENTS))).data
    )
    with dblog_tasks.open("mysql", path=str(path)) as decoder:
        events = iter(decoder)
        kinds = [next(events).kind for _ in range(6)]
        with pytest.raises(MalformedLog, match="goes on after its end"):
            next(events)
    assert "XID_EVENT" == kinds[-1]


@given(st.data())
def test_a_log_with_damaged_ones_is_read_or_refused(data: st.DataObject) -> None:
    """Without checksums anything may be in one."""
    body = bytearray(write.payload(*EVENTS, zstd=False))
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(8, len(body) - 1))] = data.draw(st.integers(0, 255))
    log = Log(checksum=0).adds((b.GTID, gtid(1)), (b.TRANSACTION_PAYLOAD, bytes(body)), (b.STOP, b"")).data
    with suppress(DblogError), dblog_tasks.open("mysql", reader=io.BytesIO(log)) as decoder:
        for event in decoder:
            assert event.raw in log


# --- places --------------------------------------------------------------------------------------------------------------------------


def test_places_are_ordered_as_they_lie_in_the_log() -> None:
    """Inside before the end of what holds it; files by number."""
    texts = [
        "log.000009:4",
        "log.000009:508/1",
        "log.000009:508/2",
        "log.000009:508/10",
        "log.000009:508",
        "log.000009:789",
        "log.000010:5/1",
    ]
    places = [Position("mysql", text) for text in texts]

    assert places == sorted(places, key=position_key)
    assert ("log.000009", Place(508, 10)) == split_position(places[3])
    assert [text.partition(":")[2] for text in texts] == [str(split_position(place)[1]) for place in places]
    assert (507, 508) == (Place(508, 10).outer, Place(508, WHOLE).outer)
