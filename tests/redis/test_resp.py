"""Frames of an append-only file: whole, in blocks of any size, cut short, and of rubbish."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from hypothesis import example, given, strategies as st
import pytest

from dblog_tasks.errors import DblogError, MalformedLog, TruncatedLog, UnsupportedLog
from dblog_tasks.redis import resp
from dblog_tasks.redis.resp import Frame, RecordCount, frames, timestamp

COMMANDS = st.lists(st.lists(st.binary(max_size=40), min_size=1, max_size=6).filter(lambda words: words[0]), max_size=8)


def record(*words: bytes) -> bytes:
    """The bytes a server writes for a command."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


def blocks(data: bytes, size: int) -> Iterator[bytes]:
    """The bytes in blocks of a size."""
    return (data[at : at + size] for at in range(0, len(data), size))


def outcome(data: bytes, size: int) -> tuple[list[Frame], type[DblogError] | None]:
    """All frames, and the class of the error that ends them; any other exception passes."""
    found = []
    try:
        for frame in frames(blocks(data, size), name="f"):
            found.append(frame)
    except DblogError as error:
        return found, type(error)
    return found, None


@given(COMMANDS, st.integers(1, 50))
def test_frames_give_back_what_was_written(commands: list[list[bytes]], size: int) -> None:
    """Words, exact bytes and offsets come back, in blocks of any size."""
    data = b"".join(record(*words) for words in commands)

    found, error = outcome(data, size)

    assert error is None
    assert [tuple(words) for words in commands] == [frame.arguments for frame in found]
    assert [record(*words) for words in commands] == [frame.raw for frame in found]
    assert all(data[frame.start : frame.end] == frame.raw for frame in found)


@given(COMMANDS.filter(bool), st.data())
def test_a_file_cut_anywhere_gives_its_whole_records_and_then_its_last_good_position(
    commands: list[list[bytes]], data: st.DataObject
) -> None:
    """A cut at a record's end is a shorter file; any other one is a TruncatedLog at the last whole record."""
    records = [record(*words) for words in commands]
    ends = [sum(map(len, records[:count])) for count in range(len(records) + 1)]
    cut = data.draw(st.integers(0, ends[-1]))

    found = []
    try:
        for frame in frames([b"".join(records)[:cut]], name="f"):
            found.append(frame.end)
    except TruncatedLog as error:
        assert cut not in ends
        assert f"f:{max(end for end in ends if end < cut)}" == error.where
    else:
        assert cut in ends
    assert [end for end in ends[1:] if end <= cut] == found


@given(
    st.binary(max_size=80) | st.lists(st.sampled_from([b"*1", b"*2", b"$1", b"$3", b"\r\n", b"a", b"abc", b"#TS:5", b"\n"])).map(b"".join),
    st.integers(1, 9),
)
@example(b"*1\r\n$536870913\r\n", 5)
@example(b"*1\r\n$536870912\r\nabc", 5)
@example(b"#" * 1023, 7)
@example(b"#" * 1025, 7)
def test_any_bytes_give_frames_or_a_declared_error_however_they_come(data: bytes, size: int) -> None:
    """Rubbish never raises anything else, and blocks do not matter."""
    assert outcome(data, max(len(data), 1)) == outcome(data, size)


@given(COMMANDS, st.binary(max_size=10), st.integers(1, 30))
def test_the_independent_count_agrees_with_the_frames(commands: list[list[bytes]], tail: bytes, size: int) -> None:
    """Two ways through the same bytes find the same number of records, rubbish at the end included."""
    data = b"#TS:1\r\n" + b"".join(record(*words) for words in commands) + tail
    count = RecordCount()

    counted = sum(count.feed(block) for block in blocks(data, size))

    assert sum(1 for frame in outcome(data, size)[0] if frame.arguments) == counted


@given(COMMANDS, st.integers(0, 400), st.integers(1, 30))
def test_the_independent_count_ends_where_it_is_told(commands: list[list[bytes]], stop: int, size: int) -> None:
    """Only records that end at or before the stop are counted."""
    data = b"".join(record(*words) for words in commands)
    count = RecordCount(stop)

    counted = sum(count.feed(block) for block in blocks(data, size))

    assert sum(1 for frame in outcome(data, 99)[0] if frame.end <= stop) == counted


@pytest.mark.parametrize(
    ("data", "error", "where"),
    [
        (b"SET k v\r\n", MalformedLog, "f:0"),
        (b"*0\r\n", MalformedLog, "f:0"),
        (b"*-1\r\n", MalformedLog, "f:0"),
        (b"*1\r\n$-1\r\n", MalformedLog, "f:0"),
        (b"*1\r\n$3\r\nSET\n", MalformedLog, "f:0"),
        (b"*1\n$4\nPING\n", MalformedLog, "f:0"),
        (b"*1\r\n$0\r\n\r\n", MalformedLog, "f:0"),
        (b"*1\r\n$536870913\r\n", MalformedLog, "f:0"),
        (b"*16777217\r\n", MalformedLog, "f:0"),
        (b"*1_0\r\n", MalformedLog, "f:0"),
        (record(b"PING") + b"\0" * 512, MalformedLog, "f:14"),
        (record(b"PING") + b"#" * 2000 + b"\r\n", MalformedLog, "f:14"),
        (record(b"PING") + b"#TS:1\n", MalformedLog, "f:14"),
        (record(b"PING") + b"$3\r\nabc\r\n", MalformedLog, "f:14"),
        (b"*3\r\n$3\r\nSET\r\n*3\r\n", MalformedLog, "f:0"),
        (b"*2\r", TruncatedLog, "f:0"),
        (b"#TS:1628217470\r", TruncatedLog, "f:0"),
        (b"*8193\r\n", TruncatedLog, "f:0"),
        (b"*1\r\n$536870912\r\nabc", TruncatedLog, "f:0"),
        (b"REDIS0011\xfa\tredis-ver", UnsupportedLog, "f:0"),
        (b"VALKEY080\xfa", UnsupportedLog, "f:0"),
        (b"file appendonly.aof.1.base.rdb seq 1 type b\n", UnsupportedLog, "f:0"),
    ],
)
def test_what_is_no_append_only_file_is_told_with_its_place(data: bytes, error: type[DblogError], where: str) -> None:
    """Each kind of bad bytes has its error class and position."""
    with pytest.raises(DblogError) as caught:
        list(frames([data], name="f"))

    assert (error, where) == (type(caught.value), caught.value.where)


def test_a_record_longer_than_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many arguments of legal size do not add up to any memory."""
    monkeypatch.setattr(resp, "RECORD_MAX", 100)

    with pytest.raises(MalformedLog, match="more than 100 bytes"):
        list(frames([record(*[b"x" * 30] * 4)]))


def test_a_value_of_several_blocks_is_whole() -> None:
    """Long values take another path than short ones."""
    value = bytes(range(256)) * 12_000
    data = record(b"SET", b"k", value)

    assert [(b"SET", b"k", value)] == [frame.arguments for frame in frames(blocks(data, 1 << 20))]


@pytest.mark.parametrize(
    ("line", "seconds"), [(b"#TS:1628217470\r\n", 1628217470), (b"#TS:-1\r\n", None), (b"#TS:x\r\n", None), (b"#\r\n", None)]
)
def test_only_a_timestamp_annotation_has_a_time(line: bytes, seconds: int | None) -> None:
    """Other annotations are frames without meaning."""
    assert seconds == timestamp(line)
    assert [()] == [frame.arguments for frame in frames([line])]


DAMAGED = {
    "bad_argc": (MalformedLog, 135),
    "bad_len": (MalformedLog, 135),
    "garbage_mid": (MalformedLog, 135),
    "lf_only": (MalformedLog, 0),
    "tail_zeros": (MalformedLog, 404),
    "cut_in_multi": (TruncatedLog, 93),
    "cut_last_crlf": (TruncatedLog, 363),
    "cut_mid_header": (TruncatedLog, 135),
    "cut_mid_value": (TruncatedLog, 135),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_real_files_damaged_on_purpose_end_at_their_last_whole_record(case: str, scenario: Callable[[str], Path]) -> None:
    """The same places redis-check-aof finds."""
    path = scenario("redis7/truncated_corrupted") / case / "appendonlydir" / "appendonly.aof.2.incr.aof"

    with pytest.raises(MalformedLog) as caught:
        list(frames([path.read_bytes()], name="f"))

    assert (DAMAGED[case][0], f"f:{DAMAGED[case][1]}") == (type(caught.value), caught.value.where)
