"""Bodies of the events around the rows: whole, cut short, followed by other bytes, and of any bytes."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
import gzip
from pathlib import Path
import re
from struct import pack
from typing import Any
import zlib

from hypothesis import example, given, strategies as st
import pytest

from dblog_tasks import MalformedLog, UnsupportedLog
from dblog_tasks.mysql import binlog as b, bodies
from dblog_tasks.mysql.bodies import (
    Gtid,
    Incident,
    Intvar,
    Opaque,
    Query,
    Rand,
    Rotate,
    Statement,
    TransactionPayload,
    XaPrepare,
    Xid,
    inflate,
    read_body,
)
from dblog_tasks.mysql.lengths import read_length, read_variable
from dblog_tasks.mysql.load_data import FileBlock, Load, LoadQuery, UserVariable
from dblog_tasks.mysql.replication import (
    BinlogCheckpoint,
    GtidList,
    Heartbeat,
    PreviousGtids,
    Started,
    StartEncryption,
    TransactionContext,
    ViewChange,
)
from tests.mysql.binlog_writer import SID, format_description, frame, gtid, length, maria_gtid, payload, query, tagged_gtid, varint, zigzag

TIME = 1_795_407_937_322_726  # microseconds
XID = pack("<I", 1) + b"\x02\x01gtb"  # of a MariaDB GTID: format, sizes, gtrid `gt`, bqual `b`


def squeezed(text: bytes, width: int = 2) -> bytes:
    """A compressed block as MariaDB writes it."""
    return bytes([0x80 | width]) + len(text).to_bytes(width, "big") + zlib.compress(text)


LOAD_QUERY = pack("<IIBHHIIIB", 7, 2, 1, 0, 2, 3, 9, 19, 1) + b"\0\0d\0LOAD DATA INFILE 'f' INTO TABLE t"
LOAD_HEAD = pack("<IIIBBI", 7, 0, 1, 1, 1, 2)
LOAD_TAIL = b"\1\2a\0bc\0t\0d\0f.txt"

# Type, body, what it says, and whether it is no longer complete when its last byte is missing.
BODIES: list[tuple[int, bytes, Any, bool]] = [
    (b.QUERY, query("BEGIN"), Query(7, 0, 0, "d", b"BEGIN"), False),
    (b.QUERY, query("", schema=""), Query(7, 0, 0, "", b""), True),
    (b.QUERY, query(b"\xff\0x", schema="\u00e9", status=b"\0" * 30), Query(7, 0, 0, "\u00e9", b"\xff\0x"), False),
    (b.QUERY_COMPRESSED, query(squeezed(b"create table t(id int)")), Query(7, 0, 0, "d", b"create table t(id int)"), True),
    (b.QUERY_COMPRESSED, query(squeezed(b"")), Query(7, 0, 0, "d", b""), True),
    (b.QUERY_COMPRESSED, query(b"\0" + zlib.compress(b"x")), Query(7, 0, 0, "d", b"x"), True),
    (b.ROTATE, pack("<Q", 4) + b"mysql-bin.2", Rotate(4, "mysql-bin.2"), False),
    (b.ROTATE, pack("<Q", 1 << 63) + b"mysql-bin.2\0\0\0rest", Rotate(1 << 63, "mysql-bin.2"), False),
    (b.INTVAR, pack("<BQ", 2, 8), Intvar(2, 8), True),
    (b.RAND, pack("<QQ", 1, 2), Rand(1, 2), True),
    (b.XID, pack("<Q", 1 << 63), Xid(1 << 63), True),
    (b.INCIDENT, b"\1\0\3bad", Incident(1, "bad"), True),
    (b.ROWS_QUERY, b"\x08select 1", Statement(b"select 1"), False),
    (b.ROWS_QUERY, b"\xff" + b"s" * 300, Statement(b"s" * 300), False),
    (b.ROWS_QUERY, b"select 1", Statement(b"select 1"), False),
    (b.ROWS_QUERY, b"", Statement(b""), False),
    (b.ANNOTATE_ROWS, b"delete from t", Statement(b"delete from t"), False),
    (b.XA_PREPARE, pack("<BIII", 1, 2, 1, 2) + b"gbb", XaPrepare(one_phase=True, format_id=2, gtrid=b"g", bqual=b"bb"), True),
    (b.XA_PREPARE, pack("<BIII", 0, 1, 0, 0), XaPrepare(one_phase=False, format_id=1, gtrid=b"", bqual=b""), True),
    (b.GTID, gtid(10), Gtid(f"{SID}:10"), False),
    (b.GTID, gtid(10)[:25], Gtid(f"{SID}:10"), True),
    (b.GTID, gtid(10, committed=TIME), Gtid(f"{SID}:10", TIME), False),
    (b.GTID, gtid(10, committed=TIME, tail=b"\4" + pack("<I", 80036)), Gtid(f"{SID}:10", TIME), False),
    (
        b.GTID,
        gtid((1 << 63) - 8, committed=TIME, original=TIME + 9, tail=b"\xfc\0\1" + bytes(8)),
        Gtid(f"{SID}:{(1 << 63) - 8}", TIME),
        False,
    ),
    (b.ANONYMOUS_GTID, gtid(0, committed=TIME, tail=b"\4"), Gtid("", TIME), False),
    (b.GTID_TAGGED, tagged_gtid("batch", 2, TIME), Gtid(f"{SID}:batch:2", TIME), True),
    (b.GTID_TAGGED, tagged_gtid("", 5, TIME), Gtid(f"{SID}:5", TIME), True),
    (b.MARIADB_GTID, maria_gtid(7, domain=8), Gtid("8-1-7"), False),
    (b.MARIADB_GTID, maria_gtid((1 << 64) - 1, domain=(1 << 32) - 1), Gtid(f"{(1 << 32) - 1}-1-{(1 << 64) - 1}"), False),
    (b.MARIADB_GTID, maria_gtid(7, flags=1 | 32), Gtid("0-1-7", standalone=True), False),
    (b.MARIADB_GTID, maria_gtid(7, flags=2, rest=bytes(8)), Gtid("0-1-7"), True),
    (b.MARIADB_GTID, maria_gtid(7, flags=64, rest=XID), Gtid("0-1-7", xa="prepared"), True),
    (b.MARIADB_GTID, maria_gtid(7, flags=128 | 2, rest=bytes(8) + XID), Gtid("0-1-7", xa="completed"), True),
    (b.MARIADB_GTID, maria_gtid(7, rest=b"\x01\x02"), Gtid("0-1-7"), False),
    (b.MARIADB_GTID, maria_gtid(7, rest=b"\x10" + pack("<I", 4711)), Gtid("0-1-7", thread=4711), False),
    (b.MARIADB_GTID, maria_gtid(7, flags=2, rest=bytes(8) + b"\x10" + pack("<I", 4711)), Gtid("0-1-7", thread=4711), True),
    (b.MARIADB_GTID, maria_gtid(7, flags=2, rest=bytes(8) + b"\x11\x01" + pack("<I", 4711)), Gtid("0-1-7", thread=4711), True),
    (b.MARIADB_GTID, maria_gtid(7, flags=2, rest=bytes(8) + b"\x12" + pack("<I", 4711)), Gtid("0-1-7", thread=4711), True),
    (b.MARIADB_GTID, maria_gtid(7, flags=2, rest=bytes(8) + b"\x14" + bytes(8) + pack("<I", 4711)), Gtid("0-1-7", thread=4711), True),
    (b.MARIADB_GTID, maria_gtid(7, flags=2, rest=bytes(8) + b"\x18" + bytes(8) + pack("<I", 4711)), Gtid("0-1-7", thread=4711), True),
    (b.TRANSACTION_PAYLOAD, payload((b.XID, bytes(8)), zstd=False), TransactionPayload(27, 255, 27), True),
    (b.TRANSACTION_PAYLOAD, b"\x09\2xx\2\1\0\3\3\xfc\0\1\1\1\4\0packed"[:-2], TransactionPayload(4, 0, 256), True),
    (b.BEGIN_LOAD_QUERY, pack("<I", 7) + b"1,2", FileBlock(7, b"1,2"), False),
    (b.APPEND_BLOCK, pack("<I", 7), FileBlock(7), True),
    (b.CREATE_FILE, pack("<I", 7) + b"x", FileBlock(7, b"x"), False),
    (b.EXEC_LOAD, pack("<I", 9), FileBlock(9), True),
    (b.DELETE_FILE, pack("<I", 9), FileBlock(9), True),
    (b.EXECUTE_LOAD_QUERY, LOAD_QUERY, LoadQuery(7, 2, 0, "d", b"LOAD DATA INFILE 'f' INTO TABLE t", 3, 9, 19, 1), False),
    (b.NEW_LOAD, LOAD_HEAD + b"\1,\0\1\n\0\1\\\0" + LOAD_TAIL, Load(7, 0, 1, "d", "t", ("a", "bc"), "f.txt"), False),
    (b.LOAD, LOAD_HEAD + b",\0\n\0\\\0\0" + LOAD_TAIL, Load(7, 0, 1, "d", "t", ("a", "bc"), "f.txt"), False),
    (b.USER_VAR, pack("<I", 1) + b"v\0" + pack("<BII", 0, 33, 3) + b"abc", UserVariable("v", null=False, charset=33, value=b"abc"), True),
    (
        b.USER_VAR,
        pack("<I", 1) + b"v\0" + pack("<BII", 2, 63, 1) + b"a\1",
        UserVariable("v", null=False, type=2, charset=63, value=b"a", flags=1),
        False,
    ),
    (b.USER_VAR, pack("<I", 1) + b"v\1", UserVariable("v", null=True), True),
    (b.START_V3, pack("<H50sI", 3, b"4.1.22-log", 99), Started(3, "4.1.22-log", 99), True),
    (b.HEARTBEAT, b"mysql-bin.1\0\0", Heartbeat("mysql-bin.1"), False),
    (b.HEARTBEAT_V2, b"\1\4bin.\2\3\xfc\0\2\0", Heartbeat("bin.", 512), False),
    (b.HEARTBEAT_V2, b"", Heartbeat(""), False),
    (b.PREVIOUS_GTIDS, bytes(8), PreviousGtids(()), True),
    (
        b.PREVIOUS_GTIDS,
        pack("<Q16sQQQQQ", 1, SID.bytes, 2, 1, 9, 10, 11),
        PreviousGtids(((str(SID), ((1, 8), (10, 10))),)),
        True,
    ),
    (
        b.PREVIOUS_GTIDS,
        pack("<Q", 1 << 56 | 2 << 8 | 1) + SID.bytes + b"\0" + pack("<QQQ", 1, 1, 5) + SID.bytes + b"\x04ab" + pack("<QQQ", 1, 7, 8),
        PreviousGtids(((str(SID), ((1, 4),)), (f"{SID}:ab", ((7, 7),)))),
        True,
    ),
    (
        b.TRANSACTION_CONTEXT,
        pack("<BIBIII", 3, 5, 1, 2, 2, 1) + b"uidsn" + b"\1\0a\0\0" + b"\2\0bc",
        TransactionContext("uid", 5, gtid_specified=True, snapshot=b"sn", written=(b"a", b""), read=(b"bc",)),
        True,
    ),
    (b.VIEW_CHANGE, pack("<40sQI", b"view:1", 2, 1) + b"\1\0k\2\0\0\0vv", ViewChange("view:1", 2, ((b"k", b"vv"),)), True),
    (b.MARIADB_GTID_LIST, pack("<IIIQIIQ", 1 << 28 | 2, 0, 1, 5, 7, 8, 9), GtidList(("0-1-5", "7-8-9")), True),
    (b.BINLOG_CHECKPOINT, pack("<I", 5) + b"bin.1", BinlogCheckpoint("bin.1"), True),
    (b.START_ENCRYPTION, pack("<BI", 1, 2) + b"123456789012", StartEncryption(1, 2, b"123456789012"), True),
    (b.STOP, b"", Opaque(b""), False),
    (43, b"\1\2\3", Opaque(b"\1\2\3"), False),
]


@pytest.mark.parametrize(("kind", "body", "said", "whole"), BODIES, ids=lambda value: str(value) if isinstance(value, int) else "")
def test_what_a_body_says(kind: int, body: bytes, said: Any, whole: bool) -> None:  # noqa: FBT001 - a column of the table
    """Each body, and each without its last byte where that is part of it."""
    assert said == read_body(frame(kind, body), "log:4")
    if whole:
        with pytest.raises(MalformedLog, match=b.EVENT_NAMES[kind]):
            read_body(frame(kind, body[:-1]), "log:4")


@pytest.mark.parametrize(("kind", "body", "said", "whole"), BODIES, ids=lambda value: str(value) if isinstance(value, int) else "")
def test_a_body_cut_short_or_followed_by_other_bytes(kind: int, body: bytes, said: Any, whole: bool) -> None:  # noqa: FBT001
    """At every length a body says something of the same type or is malformed; bytes behind it change nothing but texts."""
    for cut in range(len(body)):
        try:
            assert type(said) is type(read_body(frame(kind, body[:cut]), "log:4"))
        except MalformedLog as error:
            assert "log:4" == error.where
    if kind in (b.INTVAR, b.RAND, b.XID, b.INCIDENT, b.XA_PREPARE) or (whole and kind == b.MARIADB_GTID):
        assert said == read_body(frame(kind, body + b"\x2a" * 9), "log:4")


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (b.QUERY, query("x", schema="s" * 9)[:-11]),
        (b.QUERY, pack("<IIBHH", 1, 0, 1, 0, 0xFFFF) + b"d\0x"),
        (b.QUERY, pack("<IIBHH", 1, 0, 1, 0, 0) + b"ddx"),
        (b.QUERY_COMPRESSED, query("create table t(id int)")),
        (b.QUERY_COMPRESSED, query(b"\x80" + zlib.compress(b"x"))),
        (b.QUERY_COMPRESSED, query(b"\x85" + bytes(4) + b"\1" + zlib.compress(b"x"))),
        (b.QUERY_COMPRESSED, query(b"\x91\1" + zlib.compress(b"x"))),
        (b.QUERY_COMPRESSED, query(b"\x81\2" + zlib.compress(b"x"))),
        (b.QUERY_COMPRESSED, query(b"\x81\1" + zlib.compress(b"xy"))),
        (b.QUERY_COMPRESSED, query(b"\x84\xff\xff\xff\xff" + zlib.compress(b"x"))),
        (b.QUERY_COMPRESSED, query(b"\x81\1")),
        (b.QUERY_COMPRESSED, query(b"")),
        (b.QUERY_COMPRESSED, query(b"\0" + zlib.compress(b"x")[:-1])),
        (b.TRANSACTION_PAYLOAD, b"payload"),
        (b.TRANSACTION_PAYLOAD, payload((b.XID, bytes(8)), fields=[(2, 0), (3, 27)])),
        (b.TRANSACTION_PAYLOAD, payload((b.XID, bytes(8)), zstd=False, fields=[(1, 27)])),
        (b.TRANSACTION_PAYLOAD, payload((b.XID, bytes(8)), zstd=False, fields=[(2, 255), (1, 28)])),
        (b.PREVIOUS_GTIDS, bytes.fromhex("0000000000000040")),
        (b.PREVIOUS_GTIDS, pack("<Q16sQ", 1, SID.bytes, 1 << 62)),
        (b.PREVIOUS_GTIDS, pack("<Q16sQQQ", 1, SID.bytes, 1, 9, 9)),
        (b.PREVIOUS_GTIDS, pack("<Q16sQQQQQ", 1, SID.bytes, 2, 1, 9, 8, 11)),
        (b.PREVIOUS_GTIDS, pack("<Q", 1 << 56 | 1 << 8 | 1) + SID.bytes + b"\x04\xff\xff" + pack("<Q", 0)),
        (b.MARIADB_GTID_LIST, pack("<I", 0x0FFF_FFFF)),
        (b.VIEW_CHANGE, pack("<40sQI", b"v", 2, 0xFFFF_FFFF)),
        (b.TRANSACTION_CONTEXT, pack("<BIBIII", 0, 5, 1, 0, 0xFFFF_FFFF, 0)),
        (b.NEW_LOAD, pack("<IIIBBI", 7, 0, 1, 1, 1, 0xFFFF_FFFF) + bytes(9)),
        (b.NEW_LOAD, LOAD_HEAD + bytes(6) + b"\1\2a\0bcd"),
        (b.EXECUTE_LOAD_QUERY, LOAD_QUERY.replace(pack("<I", 19), pack("<I", 99))),
        (b.USER_VAR, pack("<I", 0xFFFF_FFFF) + b"v"),
        (b.XA_PREPARE, pack("<BIII", 0, 1, 0xFFFF_FFFF, 0xFFFF_FFFF)),
        (b.INCIDENT, b"\1\0\xff" + b"x" * 254),
        (b.GTID, gtid(1, committed=TIME, tail=b"\xfe")),
        (b.GTID, gtid(1, committed=TIME, tail=b"\xff")),
        (b.GTID_TAGGED, b""),
        (b.GTID_TAGGED, varint(2) + varint(3) + varint(10)),
        (b.GTID_TAGGED, varint(2) + varint(30) + varint(10) + varint(1) + b"".join(map(varint, range(300, 316)))),
        (b.GTID_TAGGED, varint(2) + varint(30) + varint(10) + varint(3) + varint(1 << 62) + b"x"),
        (b.GTID_TAGGED, tagged_gtid("x", 1) + varint(65) + varint(1)),
        (b.GTID_TAGGED, tagged_gtid("\u00e9", 1)),
        (b.GTID_TAGGED, tagged_gtid("x", 1, 1 << 55)),
        (b.GTID_TAGGED, tagged_gtid("x", 1, (1 << 64) - 1)),
        (b.MARIADB_GTID, maria_gtid(1)[:12]),
        (b.MARIADB_GTID, maria_gtid(1, flags=64, rest=pack("<IBB", 1, 255, 255))),
        (b.MARIADB_GTID, maria_gtid(1, flags=2, rest=bytes(8) + b"\x10\1\2\3")),
    ],
)
def test_a_body_that_contradicts_itself_is_malformed(kind: int, body: bytes) -> None:
    """Sizes that reach past the end, blocks that hold something else than they say: an error with its place."""
    with pytest.raises(MalformedLog, match=b.EVENT_NAMES[kind]) as caught:
        read_body(frame(kind, body), "log:4")
    assert "log:4" == caught.value.where


@given(st.sampled_from(sorted({*bodies.READERS, *bodies.further_readers()})), st.binary(max_size=90))
@example(b.GTID_TAGGED, b"\xff" * 40)
def test_any_bytes_are_a_body_or_malformed(kind: int, body: bytes) -> None:
    """Nothing but declared errors comes of a reader."""
    with suppress(MalformedLog, UnsupportedLog):
        assert read_body(frame(kind, body), "log:4") is not None


@given(st.sampled_from([entry[:2] for entry in BODIES]), st.data())
def test_a_damaged_body_is_a_body_or_malformed(known: tuple[int, bytes], data: st.DataObject) -> None:
    """Neither of a body in which some bytes are others."""
    body = bytearray(known[1])
    for _ in range(data.draw(st.integers(1, 3))):
        if body:
            body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.sampled_from([0, 1, 127, 128, 250, 251, 252, 253, 254, 255]))
    with suppress(MalformedLog, UnsupportedLog):
        assert read_body(frame(known[0], bytes(body)), "log:4") is not None


def test_previous_gtids_are_printed_as_servers_do() -> None:
    """Intervals of one number without a dash."""
    said = PreviousGtids(((str(SID), ((1, 8), (10, 10))), (f"{SID}:ab", ((7, 7),))))

    assert f"{SID}:1-8:10,{SID}:ab:7" == str(said)


def test_a_format_description_is_a_body_too() -> None:
    """With its checksum algorithm and checksum, which are no part of other bodies."""
    said = read_body(frame(b.FORMAT_DESCRIPTION, format_description("10.11.2-MariaDB", created=5) + b"\1" + bytes(4)), "log:4")

    assert ("10.11.2-MariaDB", True, 5, 4) == (said.server_version, said.mariadb, said.created, said.checksum)


def test_a_compressed_block_is_not_unpacked_past_its_size() -> None:
    """A block that says 10 bytes and holds ten million is refused after the eleventh."""
    with pytest.raises(ValueError, match="holds 11 bytes or more"):
        inflate(b"\x81\x0a" + zlib.compress(bytes(10_000_000)))


@given(st.integers(0, (1 << 64) - 1), st.binary(max_size=3))
def test_a_length_is_read_as_it_was_written(value: int, rest: bytes) -> None:
    """Of any size, whatever follows; cut short it is refused."""
    written = length(value)

    assert (value, len(written)) == read_length(written + rest, 0)
    for cut in range(len(written)):
        with pytest.raises((ValueError, IndexError)):
            read_length(written[:cut], 0)


@pytest.mark.parametrize("first", [251, 255])
def test_a_length_that_begins_like_none_is_refused(first: int) -> None:
    """251 stands for NULL where there may be one, 255 for an error: neither is a length."""
    with pytest.raises(ValueError, match="begins with"):
        read_length(bytes([first]) + bytes(9), 0)


@given(st.integers(0, (1 << 64) - 1), st.integers(-(1 << 63), (1 << 63) - 1))
def test_numbers_of_tagged_gtids_are_read_as_written(unsigned: int, signed: int) -> None:
    """One to nine bytes, with a sign or without."""
    assert (unsigned, len(varint(unsigned))) == read_variable(varint(unsigned), 0)
    assert signed == bodies._signed(read_variable(zigzag(signed), 0)[0])


def gtids(path: Path) -> list[tuple[int, str, int]]:
    """Where the GTIDs of a log end, with their names and times."""
    found = []
    for event in b.frames([path.read_bytes()], path.name):
        if event.type in (b.GTID, b.GTID_TAGGED, b.MARIADB_GTID):
            body = read_body(event, path.name)
            found.append((event.end, body.gtid, body.committed))
    return found


@pytest.mark.parametrize("name", ["mysql97/gtid", "mysql97/types_checksum_crc32"])
def test_gtids_are_those_of_mysqlbinlog(name: str, scenario: Any) -> None:
    """Plain and tagged, with the commit time to the microsecond, as the vendor's own decoder prints them."""
    compared = 0
    for log in sorted(scenario(name).glob("mysql-bin.00000?")):
        text = gzip.decompress((log.parent / "decoded" / f"{log.name}.txt.gz").read_bytes()).decode(errors="replace")
        ends = [int(end) for end in re.findall(r"end_log_pos (\d+) CRC32 0x[0-9a-f]+ \tGTID", text)]
        times = [int(time) for time in re.findall(r"^# immediate_commit_timestamp=(\d+)", text, re.MULTILINE)]
        names = re.findall(r"^SET @@SESSION.GTID_NEXT= '([^']+:[^']+)'", text, re.MULTILINE)

        assert list(zip(ends, names, times, strict=True)) == gtids(log)
        compared += len(ends)
    assert compared >= 15


@pytest.mark.parametrize("name", ["mariadb1011/gtid", "mariadb1011/maria_specials"])
def test_gtids_are_those_of_mariadb_binlog(name: str, scenario: Any) -> None:
    """Several domains and servers, as the vendor's own decoder prints them."""
    compared = 0
    for log in sorted(scenario(name).glob("mysql-bin.00000?")):
        text = gzip.decompress((log.parent / "decoded" / f"{log.name}.txt.gz").read_bytes()).decode(errors="replace")
        printed = re.findall(r"end_log_pos (\d+) (?:CRC32 0x[0-9a-f]+ )?\tGTID (\d+-\d+-\d+)", text)

        assert printed == [(str(end), gtid) for end, gtid, _ in gtids(log)]
        compared += len(printed)
    assert compared > 10


def test_all_gtids_of_a_server_are_in_its_log(scenario: Any) -> None:
    """What the server said it had executed, tags and all."""
    folder = scenario("mysql97/gtid")
    named = {gtid for log in folder.glob("mysql-bin.00000?") for _, gtid, _ in gtids(log)}

    assert {gtid.split(":")[1] for gtid in named if gtid.count(":") == 2} >= {"batch", "dba_fix", "tagx", "a" * 32}
    assert "bbbbbbbb-bbbb-bbbb-bbbb-bbbbbbbbbbbb:9223372036854775800" in named
    assert all(datetime.fromtimestamp(time / 1e6, UTC).year == 2026 for log in folder.glob("mysql-bin.00000?") for _, _, time in gtids(log))
