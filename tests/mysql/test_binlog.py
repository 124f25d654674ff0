"""Frames: every server's format description, blocks of any size, and damage told apart from the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from struct import pack
from typing import Any

from hypothesis import given, strategies as st
import pytest

import dblog_tasks
from dblog_tasks import Checkpoint, DblogError, MalformedLog, TruncatedLog, UnsupportedLog
from dblog_tasks.mysql import binlog
from dblog_tasks.mysql.header_count import HeaderCount
from tests.examples import examples
from tests.mysql.binlog_writer import LENGTHS, MAGIC, Log, event, format_description, gtid, query

DECLARED = (MalformedLog, UnsupportedLog)


def frames(data: bytes, size: int = 1 << 20, **options: Any) -> list[binlog.Frame]:
    """All frames of a log read in blocks of that size."""
    return list(binlog.frames(blocks(data, size), "log", **options))


def blocks(data: bytes, size: int) -> Iterator[bytes]:
    """The log in blocks."""
    return (data[at : at + size] for at in range(0, len(data), size))


def outcome(data: bytes, size: int = 1 << 20) -> tuple[list[tuple[int, int, bytes, bytes]], str]:
    """What frames are found before the end or an error, and the error."""
    found = []
    try:
        for frame in binlog.frames(blocks(data, size), "log"):
            found.append((frame.start, frame.end, frame.raw, frame.body))
    except DECLARED as error:
        return found, f"{type(error).__name__}: {error}"
    return found, ""


def small(checksum: int | None = 1) -> Log:
    """A log of a few events."""
    log = Log("8.0.36" if checksum is not None else "5.5.62", checksum=checksum)
    return log.adds((binlog.ANONYMOUS_GTID, gtid(0)), (binlog.QUERY, query("BEGIN")), (binlog.XID, bytes(8)))


@pytest.mark.parametrize(
    ("version", "checksum", "mariadb"),
    [
        ("5.0.96", None, False),
        ("5.1.73-log", None, False),
        ("5.5.62", None, False),
        ("5.6.0-m4", None, False),
        ("5.6.1-m5", 1, False),
        ("5.6.51-log", 0, False),
        ("5.7.44-48-log", 1, False),
        ("8.0.36", 1, False),
        ("8.4.0", 0, False),
        ("9.7.4-2", 1, False),
        ("5.2.14-MariaDB", None, True),
        ("5.3.0-MariaDB-alpha", 1, True),
        ("5.5.68-MariaDB", 0, True),
        ("10.0.38-MariaDB", 1, True),
        ("5.5.5-10.1.2-MariaDB", 1, True),
        ("10.11.19-MariaDB-0+deb12u1-log", 1, True),
        ("11.8.2-MariaDB-ubu2404", 1, True),
        ("12.1.1-mariadb", 0, True),
    ],
)
def test_format_of_every_server(version: str, checksum: int | None, mariadb: bool) -> None:  # noqa: FBT001 - a column of the table
    """Whether there is a checksum follows from the version that introduced it, then from its byte."""
    log = Log(version, checksum=checksum).add(binlog.XID, bytes(8))
    description, xid = frames(log.data)
    form = binlog.read_format(description.raw[19:], "log:4")

    assert (version, mariadb, 4 * (checksum or 0)) == (form.server_version, form.mariadb, form.checksum)
    assert form.header_lengths == LENGTHS
    assert (bytes(8), len(log.data)) == (xid.body, xid.end)
    assert (LENGTHS[1], 0, 0) == (form.header_length(2), form.header_length(0), form.header_length(200))


@pytest.mark.parametrize("version", ["", "garbage", "8", "mariadb", "x.y.z", "-8.0", ".5.6", "\u0668.0"])
def test_a_version_that_is_none_is_malformed(version: str) -> None:
    """Without a version nobody knows whether there are checksums."""
    with pytest.raises(MalformedLog, match="version"):
        frames(Log(version).data)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", MalformedLog),
        (format_description("8.0.36")[:57], MalformedLog),
        (format_description("8.0.36", b"")[:57] + b"\x00", MalformedLog),
        (format_description("8.0.36", b"\x01\x00\x00"), MalformedLog),
        (b"\x03" + format_description("4.1.22")[1:], UnsupportedLog),
        (b"\x01" + format_description("3.23.58")[1:], UnsupportedLog),
        (format_description("8.0.36")[:56] + b"\x0d" + bytes(60), MalformedLog),
        (format_description("8.0.36") + b"\x02" + bytes(4), UnsupportedLog),
        (format_description("8.0.36") + b"\xff" + bytes(4), UnsupportedLog),
    ],
)
def test_a_format_nobody_writes_is_refused(body: bytes, error: type[DblogError]) -> None:
    """Other versions of the format are unsupported, sizes that cannot be are malformed."""
    with pytest.raises(error):
        binlog.read_format(body, "log:4")
    with pytest.raises(DECLARED):
        frames(MAGIC + event(binlog.FORMAT_DESCRIPTION, body))


@given(st.binary(max_size=120) | st.binary(max_size=70).map(lambda tail: format_description("8.0.36", b"") + tail))
def test_any_bytes_are_a_format_or_an_error(body: bytes) -> None:
    """A format description is read or refused."""
    try:
        assert binlog.read_format(body, "log:4").checksum in (0, 4)
    except DECLARED as error:
        assert error.where == "log:4"


@pytest.mark.parametrize("checksum", [None, 0, 1])
def test_blocks_of_any_size_give_the_same(checksum: int | None) -> None:
    """Whole, byte by byte, and every size between: frames with their bytes, and the count of headers."""
    log = small(checksum).add(binlog.QUERY, query("x" * 300)).add(binlog.XID, bytes(8))
    whole = outcome(log.data)

    assert (6, "") == (len(whole[0]), whole[1])
    for size in [*range(1, 60), 127, 128, len(log.data) - 1, len(log.data)]:
        count = HeaderCount()
        found = [(frame.start, frame.end, frame.raw, frame.body) for frame in binlog.frames(count.watch(blocks(log.data, size)), "log")]
        assert whole[0] == found
        assert len(found) == count.finish(len(log.data))


@pytest.mark.parametrize("checksum", [None, 0, 1])
def test_a_log_cut_anywhere_says_so(checksum: int | None) -> None:
    """Cut between two events it is a shorter log; inside one it is truncated there, whatever the blocks."""
    data = small(checksum).data
    ends = {4: 0} | {end: number for number, (_, end, _, _) in enumerate(outcome(data)[0], 1)}
    for cut in range(len(data)):
        for size in (1, 7, 1 << 20):
            found, error = outcome(data[:cut], size)
            if cut in ends:
                assert (ends[cut], "") == (len(found), error)
            else:
                assert error.startswith("TruncatedLog: log"), (cut, error)
                assert len(found) == sum(end < cut for end in ends if end > 4)


def test_reading_goes_on_at_any_event() -> None:
    """With the format known, frames from an event's start are those of the whole file from there."""
    data = small().data
    whole = frames(data)
    known = binlog.read_format(whole[0].raw[19:], "log")
    for index, frame in enumerate(whole[1:], 1):
        rest = list(binlog.frames([data[frame.start :]], "log", at=frame.start, known=known))
        count = HeaderCount(frame.start)
        for _ in count.watch(blocks(data[frame.start :], 11)):
            pass

        assert [found.raw for found in whole[index:]] == [found.raw for found in rest]
        assert [found.end for found in whole[index:]] == [found.end for found in rest]
        assert len(rest) == count.finish(len(data))


def test_headers_are_counted_up_to_where_reading_went() -> None:
    """Events of the last block that start at the end or after it are not counted."""
    whole = frames(data := small().data)
    for frame in whole:
        count = HeaderCount()
        for _ in count.watch([data[: frame.start], data[frame.start :]]):
            pass

        assert sum(found.start < frame.end for found in whole) == count.finish(frame.end)


def test_an_event_left_open_by_the_server_is_read() -> None:
    """The in-use flag of a file being written is not part of its checksum; nor of its identity."""
    closed, opened = Log().add(binlog.XID, bytes(8)).data, Log(flags=binlog.FLAG_IN_USE).add(binlog.XID, bytes(8)).data

    assert closed != opened
    assert len(frames(closed)) == len(frames(opened)) == 2
    assert binlog.identity(closed, "log") == binlog.identity(opened, "log")


def test_artificial_and_relayed_events_say_no_position() -> None:
    """A rotation the server made up says 0, an event written by a replica what it likes."""
    log = Log().add(binlog.ROTATE, pack("<Q", 4) + b"log.2", flags=binlog.FLAG_ARTIFICIAL, position=0)
    log.add(binlog.ROTATE, pack("<Q", 4) + b"log.3", flags=binlog.FLAG_ARTIFICIAL, position=99)
    log.add(binlog.ROTATE, pack("<Q", 4) + b"log.4", flags=binlog.FLAG_RELAY, position=99).add(binlog.XID, bytes(8))

    assert [frame.end for frame in frames(log.data)] == [126, 162, 198, 234, 265]


def test_events_of_a_relay_log_keep_the_positions_of_their_origin() -> None:
    """In a file a replica wrote, events say where they ended in the log they came from: their place is where they lie."""
    log = Log(flags=binlog.FLAG_RELAY).add(binlog.QUERY, query("BEGIN"), position=70_000).add(binlog.XID, bytes(8), position=70_031)

    assert [frame.end for frame in frames(log.data)] == [126, 169, 200]


def test_a_relay_log_is_read_on_from_any_transaction(tmp_path: Path) -> None:
    """The file's first event says whose positions its events have, so reading on begins there."""
    log = Log(flags=binlog.FLAG_RELAY)
    for number in (1, 2, 3):
        log.add(binlog.GTID, gtid(number), position=70_000).add(binlog.QUERY, query("BEGIN"), position=70_000).add(
            binlog.XID, bytes(8), position=70_000
        )
    path = tmp_path / "relay.000001"
    path.write_bytes(log.data)
    ends = [event.position for event in dblog_tasks.open("mysql", path=str(path))]

    assert 10 == len(ends)
    for index, end in enumerate(ends, 1):
        with dblog_tasks.open("mysql", path=str(path), checkpoint=Checkpoint(position=end)) as decoder:
            assert ends[index:] == [event.position for event in decoder]


@pytest.mark.parametrize("size", [1, 50, 1 << 20])
def test_a_relay_log_without_the_flag_is_known_by_its_second_format_description(size: int) -> None:
    """Replicas of before MySQL 5.5 do not mark them: the origin's description, of another server, follows their own."""
    log = Log("5.1.43", checksum=None)
    own = len(log.data)
    log.add(binlog.ROTATE, pack("<Q", 4) + b"log.3", flags=binlog.FLAG_ARTIFICIAL, position=0)
    log.add(binlog.FORMAT_DESCRIPTION, format_description("5.1.40"), server=2, position=own)
    log.add(binlog.QUERY, query("BEGIN"), server=2, position=4000).add(binlog.XID, bytes(8), server=2, position=4027)

    assert [15, 4, 15, 2, 16] == [frame.type for frame in frames(log.data, size)]


def test_checksums_may_begin_and_end_inside_a_file() -> None:
    """A relay log has its own format description, without, and that of the log it came from, with them; and the other way round."""
    for own, origin in ((0, 1), (1, 0)):
        log, other = Log(checksum=own, flags=binlog.FLAG_RELAY), Log(checksum=origin).add(binlog.XID, bytes(8))
        data = log.add(binlog.XID, bytes(8)).data + other.data[4:]

        assert [bytes(8)] * 2 == [frame.body for frame in frames(data) if frame.type == binlog.XID]
        damaged = data[:-1] + bytes([data[-1] ^ 1])
        assert ("checksum" in outcome(damaged)[1]) == (origin == 1)


@pytest.mark.parametrize("version", ["5.0.96", "5.0.30-enterprise-gpl-log", "5.1.17-beta-debug-log"])
def test_old_servers_say_places_in_the_cache_of_a_transaction(version: str) -> None:
    """What such an event says of its end is not held against it; of a later server it is."""
    for name, whole in ((version, True), ("5.1.30", False)):
        log = (
            Log(name, checksum=None).add(binlog.QUERY, query("BEGIN")).add(binlog.QUERY, query("x"), position=28).add(binlog.XID, bytes(8))
        )

        assert ("" if whole else "ends at 28") in outcome(log.data)[1]
        assert whole == (outcome(log.data)[1] == "")


def started(version: int, server: str) -> bytes:
    """The beginning of a log of before MySQL 5.0."""
    return MAGIC + event(binlog.START_V3, pack("<H50sI", version, server.encode(), 7), 4)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("size", [1, 30, 1 << 20])
def test_logs_of_before_5_0_are_read(size: int, version: int) -> None:
    """Their events say where they begin, and their statements have no status variables."""
    data = (
        started(version, "4.1.24-log")
        + event(binlog.QUERY, pack("<IIBH", 7, 0, 1, 0) + b"d\0BEGIN", 79)
        + event(binlog.ROTATE, bytes(8), 117)
    )
    start, begin, rotate = frames(data, size)
    known = binlog.format_of(data, "log")

    assert ("4.1.24-log", 0, 7, False) == (known.server_version, known.checksum, known.created, known.mariadb)
    assert (79, len(data), query("BEGIN")) == (start.end, rotate.end, begin.body)
    assert b"".join(frame.raw for frame in (start, begin, rotate)) == data[4:]


@pytest.mark.parametrize("version", [1, 4])
def test_logs_that_begin_as_old_ones_and_are_none_are_unsupported(version: int) -> None:
    """What comes after their first event has another form."""
    with pytest.raises(UnsupportedLog, match=f"of version {version}"):
        frames(started(version, "3.23.58"))


@pytest.mark.parametrize("read", [frames, lambda data: binlog.format_of(data, "log")])
def test_logs_of_mysql_3_23_are_unsupported(read: Callable[[bytes], object]) -> None:
    """Their event headers are smaller, and lack the place and the flags."""
    body = pack("<H50sI", 1, b"3.23.58-log", 7)
    with pytest.raises(UnsupportedLog, match=r"MySQL 3\.23"):
        read(MAGIC + pack("<IBII", 7, binlog.START_V3, 1, 13 + len(body)) + body + pack("<IBII", 8, binlog.STOP, 1, 13))


def test_try_out_servers_with_other_event_types_are_unsupported() -> None:
    """Their numbers stand for other types, so nothing may be read."""
    with pytest.raises(UnsupportedLog, match=r"5\.2\.2-a_drop6"):
        frames(Log("5.2.2-a_drop6p13-log", checksum=None).data)


def test_an_event_that_becomes_a_format_description_is_damage() -> None:
    """Its type is all that says so; what it holds is no server's."""
    data = bytearray(Log(checksum=0).add(binlog.XID, bytes(8)).data)
    data[-31 + 4 + 4] = binlog.FORMAT_DESCRIPTION

    assert outcome(bytes(data))[1].startswith("MalformedLog: log:126: no format description")


def test_past_four_gigabytes_positions_begin_anew() -> None:
    """The end of an event is stored modulo 2**32."""
    start = (1 << 32) - 10
    known = binlog.read_format(format_description("8.0.36") + b"\x01" + bytes(4), "log")
    data = event(binlog.XID, bytes(8), 21, checksum=True)

    assert [start + 31] == [frame.end for frame in binlog.frames([data], "log", at=start, known=known)]


def test_a_missing_or_doubled_event_is_noticed() -> None:
    """Without checksum and with: the next event is not where it says."""
    for checksum in (None, 0, 1):
        data = small(checksum).data
        whole = frames(data)
        for frame in whole[1:-1]:
            assert "ends at" in outcome(data[: frame.start] + data[frame.end :])[1]
        for frame in whole[1:]:
            assert "ends at" in outcome(data[: frame.end] + data[frame.start :])[1]
        assert "second format description" in outcome(data + data[4:])[1]


@pytest.mark.parametrize("count", [1, 12, 18, 19, 20, 4096])
def test_a_tail_of_zeros_is_told_from_a_torn_one(count: int) -> None:
    """Space a file system gave and nobody wrote: everything before is whole."""
    for size in (1, 100, 1 << 20):
        found, error = outcome(small().data + bytes(count), size)

        assert len(found) == 4
        assert error.startswith("MalformedLog: log:")
        assert "zero bytes" in error


@pytest.mark.parametrize(
    ("head", "error", "word"),
    [
        (b"", TruncatedLog, "empty"),
        (b"\xfe", TruncatedLog, "ends after 1"),
        (b"\xfebi", TruncatedLog, "ends after 3"),
        (b"\xfdbin" + bytes(100), UnsupportedLog, "encrypted"),
        (b"\xfdbi", MalformedLog, "not a binary log"),
        (b"\x1f\x8b\x08\x00", MalformedLog, "not a binary log"),
        (b"*2\r\n$6\r\n", MalformedLog, "not a binary log"),
        (bytes(30), MalformedLog, "not a binary log"),
        (MAGIC[::-1] + bytes(30), MalformedLog, "not a binary log"),
    ],
)
def test_what_is_no_binary_log_is_said_at_once(head: bytes, error: type[DblogError], word: str) -> None:
    """By its first four bytes, for frames and for the identity."""
    with pytest.raises(error, match=word):
        frames(head)
    with pytest.raises(error, match=word):
        binlog.identity(head, "log")


def test_a_log_of_its_mark_alone_is_empty() -> None:
    """The server wrote the mark and nothing else yet: no events, and no identity to hold a checkpoint against."""
    assert [] == frames(MAGIC)
    assert "" == binlog.identity(MAGIC, "log")


def test_an_encrypted_log_is_unsupported() -> None:
    """MariaDB says so after the format description, and all behind it is noise."""
    log = Log("10.11.19-MariaDB").add(binlog.START_ENCRYPTION, b"\x01" + pack("<I", 1) + bytes(12))
    with pytest.raises(UnsupportedLog, match="encrypted"):
        frames(log.data + b"\xaa" * 500)


def test_the_first_event_must_be_a_format_description() -> None:
    """Nothing can be said of events of an unknown format."""
    with pytest.raises(MalformedLog, match="no format description"):
        frames(MAGIC + event(binlog.XID, bytes(8), 31))


@pytest.mark.parametrize("size", [0, 1, 18, 0x4000_0000, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF])
@pytest.mark.parametrize("block", [1, 13, 40, 64, 4096])
def test_a_size_that_cannot_be_takes_no_memory(size: int, block: int) -> None:
    """Damage in a size field is reported before the bytes it promises are gathered."""
    log = small()
    read = 0

    def endless() -> Iterator[bytes]:
        nonlocal read
        damaged = log.data + pack("<IBIIIH", 1000, 2, 1, size, 12345, 0)
        for part in blocks(damaged, block):
            read += len(part)
            yield part
        while read < 1 << 24:
            read += block
            yield b"\xaa" * block

    with pytest.raises(MalformedLog):
        list(binlog.frames(endless(), "log"))
    assert read <= len(log.data) + 19 + block


def test_identity_is_of_the_first_event() -> None:
    """Logs of other times or servers differ; what comes behind the first event, and the checksum, say nothing."""
    log = small()

    assert binlog.identity(log.data[:126], "log") == binlog.identity(log.data, "log")
    assert binlog.identity(log.data, "log") != binlog.identity(Log("8.0.37").data, "log")


@given(st.binary(max_size=60) | st.integers(0, 40).map(lambda size: bytes(9) + size.to_bytes(4, "little") + bytes(30)))
def test_identity_of_any_bytes_is_text_or_an_error(tail: bytes) -> None:
    """A head of anything has an identity or is refused."""
    try:
        assert isinstance(binlog.identity(MAGIC + tail, "log"), str)
    except DECLARED as error:
        assert error.where.startswith("log")


@examples(100)
@given(st.data(), st.sampled_from([None, 0, 1]))
def test_damage_anywhere_ends_in_an_error_or_a_log(data: st.DataObject, checksum: int | None) -> None:
    """Bytes changed, put in, taken out or added: frames are contiguous, and only declared errors come."""
    whole = bytearray(small(checksum).data)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at : at + data.draw(st.integers(0, 6))] = data.draw(st.binary(max_size=6))
    found, _ = outcome(bytes(whole), data.draw(st.sampled_from([1, 5, 64, 1 << 20])))

    assert [start for start, *_ in found[1:]] == [end for _, end, *_ in found[:-1]]
