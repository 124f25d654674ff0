"""Binary logs for tests, written event by event. Facts of the format only; nothing of the decoder but its event numbers.

`Log` gives every event its position and checksum; the functions below it make bodies.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import pack
from uuid import UUID
from zlib import crc32

import zstandard

from dblog_tasks.mysql import binlog

MAGIC = b"\xfebin"
SID = UUID("ac652d7c-e6f4-11f1-8edd-02fc00000001")
STATEMENT_END = 1
# Post-header lengths of MySQL 8.0 for the types 1 to 41.
LENGTHS = bytes.fromhex("380d0008001200040404041200005f00041a08000000080808020000000a0a0a2a2a001234000a2800")


class Log:
    """A log being written.

    Attributes:
        data: the bytes of the file so far.
    """

    def __init__(self, version: str = "8.0.36", *, checksum: int | None = 1, flags: int = 0, lengths: bytes = LENGTHS) -> None:
        """Begin with a format description; `checksum` None: one of before there were any."""
        self.data = MAGIC
        self._crc = checksum == 1
        body = format_description(version, lengths) + (b"" if checksum is None else bytes([checksum]))
        self.add(binlog.FORMAT_DESCRIPTION, body if self._crc or checksum is None else body + bytes(4), flags=flags)

    def add(self, kind: int, body: bytes, *, timestamp: int = 1000, flags: int = 0, server: int = 1, position: int | None = None) -> Log:
        """Append an event; `position` is what it says of its end, by default the truth."""
        end = len(self.data) + 19 + len(body) + 4 * self._crc
        said = end & 0xFFFF_FFFF if position is None else position
        self.data += event(kind, body, said, timestamp=timestamp, flags=flags, server=server, checksum=self._crc)
        return self

    def adds(self, *events: tuple[int, bytes]) -> Log:
        """Append events given as type and body."""
        for kind, body in events:
            self.add(kind, body)
        return self


def event(
    kind: int, body: bytes, position: int = 0, *, timestamp: int = 1000, flags: int = 0, server: int = 1, checksum: bool = False
) -> bytes:
    """Return one event: header, body, checksum; that of a format description ignores the in-use flag."""
    size = 19 + len(body) + 4 * checksum
    whole = pack("<IBIIIH", timestamp, kind, server, size, position, flags) + body
    summed = whole
    if kind == binlog.FORMAT_DESCRIPTION:
        summed = pack("<IBIIIH", timestamp, kind, server, size, position, flags & ~1) + body
    return whole + (pack("<I", crc32(summed)) if checksum else b"")


def frame(kind: int, body: bytes, *, server: int = 1) -> binlog.Frame:
    """Return the frame of one event at offset 4, without checksum."""
    data = event(kind, body, server=server)
    return binlog.Frame(kind, 1000, server, 0, 4 + len(data), data, 0, len(data), len(data))


def format_description(version: str, lengths: bytes = LENGTHS, *, created: int = 0) -> bytes:
    """Return the body of a format description up to the post-header lengths."""
    return pack("<H50sIB", 4, version.encode(), created, 19) + lengths


def query(text: str | bytes, *, schema: str = "d", thread: int = 7, status: bytes = b"") -> bytes:
    """Return the body of a statement."""
    text = text.encode() if isinstance(text, str) else text
    name = schema.encode()
    return pack("<IIBHH", thread, 0, len(name), 0, len(status)) + status + name + b"\0" + text


def gtid(number: int, *, committed: int | None = None, original: int | None = None, tail: bytes = b"") -> bytes:
    """Return the body of a MySQL GTID; times in microseconds since 1970, as MySQL 8 writes them."""
    body = pack("<B16sqBqq", 1, SID.bytes, number, 2, 1, 2)
    if committed is not None:
        body += (committed | (original is not None) << 55).to_bytes(7, "little")
        body += b"" if original is None else original.to_bytes(7, "little")
    return body + tail


def maria_gtid(sequence: int, *, flags: int = 0, domain: int = 0, rest: bytes = b"") -> bytes:
    """Return the body of a MariaDB GTID, filled up to 19 bytes as the server does."""
    return (pack("<QIB", sequence, domain, flags) + rest).ljust(19, b"\0")


def varint(value: int) -> bytes:
    """Return an unsigned number as tagged GTIDs have them: one low bit set for each byte that follows the first."""
    extra = min(8, max(0, (value.bit_length() - 1) // 7))
    return b"\xff" + value.to_bytes(8, "little") if extra == 8 else (value << extra + 1 | (1 << extra) - 1).to_bytes(extra + 1, "little")


def zigzag(value: int) -> bytes:
    """Return a signed number of the same kind, its sign in the lowest bit."""
    return varint(value << 1 if value >= 0 else (-value - 1) << 1 | 1)


def tagged_gtid(tag: str, number: int, committed: int = 0) -> bytes:
    """Return the body of a tagged GTID."""
    fields = b"".join(
        (
            varint(0) + varint(0),
            varint(1) + b"".join(map(varint, SID.bytes)),
            varint(2) + zigzag(number),
            varint(3) + varint(len(tag)) + tag.encode(),
            varint(4) + zigzag(3),
            varint(5) + zigzag(4),
            varint(6) + varint(committed),
            varint(8) + varint(300),
            varint(9) + varint(90704),
        )
    )
    return varint(2) + varint(len(fields) + 3) + varint(10) + fields


def length(value: int) -> bytes:
    """Return a length-encoded integer."""
    for marker, width, limit in ((b"", 1, 251), (b"\xfc", 2, 1 << 16), (b"\xfd", 3, 1 << 24)):
        if value < limit:
            return marker + value.to_bytes(width, "little")
    return b"\xfe" + value.to_bytes(8, "little")


def table_map(
    columns: Sequence[tuple[int, bytes]],
    optional: Sequence[tuple[int, bytes]] = (),
    *,
    table_id: int = 7,
    schema: str = "d",
    table: str = "t",
    nullable: bytes | None = None,
) -> bytes:
    """Return the body of a table map; `columns` are type codes with their metadata, `optional` types with their values."""
    metadata = b"".join(meta for _, meta in columns)
    nulls = b"\xff" * ((len(columns) + 7) // 8) if nullable is None else nullable
    body = table_id.to_bytes(6, "little") + b"\x01\0"
    for name in (schema.encode(), table.encode()):
        body += bytes([len(name)]) + name + b"\0"
    body += length(len(columns)) + bytes(code for code, _ in columns) + length(len(metadata)) + metadata + nulls
    return body + b"".join(bytes([kind]) + length(len(value)) + value for kind, value in optional)


def payload(*events: tuple[int, bytes], zstd: bool = True, fields: Sequence[tuple[int, int]] | None = None) -> bytes:
    """Return the body of a compressed transaction; `fields` replace those that are true of it."""
    plain = b"".join(event(kind, body) for kind, body in events)
    packed = zstandard.ZstdCompressor().compress(plain) if zstd else plain
    true = ((2, 0), (3, len(plain)), (1, len(packed))) if zstd else ((2, 255), (1, len(packed)))
    head = b"".join(length(kind) + length(len(length(value))) + length(value) for kind, value in (true if fields is None else fields))
    return head + b"\0" + packed


def names(*given: str) -> tuple[int, bytes]:
    """Return the optional metadata that holds column names."""
    return 4, b"".join(length(len(name.encode())) + name.encode() for name in given)


def rows(count: int, images: bytes, *, version: int = 1, update: bool = False, flags: int = STATEMENT_END, table_id: int = 7) -> bytes:
    """Return the body of a rows event with all columns present."""
    present = b"\xff" * ((count + 7) // 8)
    head = table_id.to_bytes(6, "little") + pack("<H", flags) + (b"\2\0" if version == 2 else b"")
    return head + length(count) + present * (2 if update else 1) + images


def json_diff(operation: int, path: str, value: bytes | None = None) -> bytes:
    """Return one diff of a partial update; `value` is a document."""
    named = bytes([operation]) + length(len(path.encode())) + path.encode()
    return named if value is None else named + length(len(value)) + value
