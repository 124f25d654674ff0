r"""RESP commands as an append-only file holds them, from blocks of bytes.

Law: bytes in, frames out. Nothing here opens a file, or knows what a command means.

    record       *<count>\r\n  then <count> times  $<length>\r\n<length bytes>\r\n      one command, its name first
    annotation   #<text>\r\n                                                             between records only
                 #TS:<unix seconds>\r\n                                                  the time of the records after it

Formats and limits are those of Redis 7.0 `aof.c` and `networking.c`, and of Valkey 9.
https://redis.io/docs/latest/develop/reference/protocol-spec/

    limit           value      a real one
    ARGUMENTS_MAX   2^24       no limit but memory
    BULK_MAX        512 MiB    proto-max-bulk-len
    RECORD_MAX      1 GiB      client-query-buffer-limit
    HEADER_MAX      32         length of a header line with its line end
    ANNOTATION_MAX  1024       AOF_ANNOTATION_LINE_MAX_LEN
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from io import BufferedReader, RawIOBase
import re
from typing import TYPE_CHECKING, NamedTuple

from dblog_tasks.errors import MalformedLog, TruncatedLog, UnsupportedLog

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

ARGUMENTS_MAX = 1 << 24
BULK_MAX = 512 << 20
RECORD_MAX = 1 << 30
HEADER_MAX = 32
ANNOTATION_MAX = 1024

_READ_AHEAD = 256 << 10
_MEMO_MAX = 4096
_PART = 1 << 20
_LOST = -1
_NUMBER = re.compile(rb"\+?[0-9]{1,20}")
_CUT_HEADER = re.compile(rb"\+?[0-9]{0,20}\r?")
_TIMESTAMP = re.compile(rb"#TS:([0-9]{1,12})\r\n")
_WHOLE_RECORDS = "records up to there are whole; compare with redis-check-aof"


class Frame(NamedTuple):
    """One record or annotation of the file."""

    start: int  # offset of its first byte
    end: int  # offset after its last byte
    raw: bytes  # its exact bytes
    arguments: tuple[bytes, ...]  # name first; empty: an annotation


def frames(blocks: Iterable[bytes], *, name: str = "") -> Iterator[Frame]:
    """Yield the frames of a file, then raise if it does not end after one.

    The name is told in errors. Raises TruncatedLog with the last good position when the bytes end inside a record, MalformedLog
    on any other bytes, UnsupportedLog when the file is another kind of Redis file.
    """
    stream = BufferedReader(_Blocks(blocks), _READ_AHEAD)
    readline, read = stream.readline, stream.read
    counts: dict[bytes, int] = {}
    lengths: dict[bytes, int] = {}
    at = 0
    while line := readline(ANNOTATION_MAX):
        start = at
        if line[0] == 35:  # '#'
            _check_annotation(line, name, start)
            at += len(line)
            yield Frame(start, at, line, ())
            continue
        count = counts.get(line)
        if count is None:
            count = _count(line, name, start)
            if len(counts) < _MEMO_MAX:
                counts[line] = count
        pieces, arguments, size = [line], [], 0
        for _ in range(count):
            line = readline(HEADER_MAX)
            length = lengths.get(line)
            if length is None:
                length = _length(line, name, start)
                if len(lengths) < _MEMO_MAX:
                    lengths[line] = length
            payload = read(length + 2) if length < _PART else _read_in_parts(stream, length + 2)
            if len(payload) != length + 2 or payload[length:] != b"\r\n":
                raise _bad_payload(payload, length, name, start)
            size += length
            if size > RECORD_MAX:
                raise _malformed(f"a record of more than {RECORD_MAX} bytes", name, start)
            arguments.append(payload[:length])
            pieces += (line, payload)
        if not arguments[0]:
            raise _malformed("a record with an empty command name", name, start)
        raw = b"".join(pieces)
        at += len(raw)
        yield Frame(start, at, raw, tuple(arguments))


def timestamp(annotation: bytes) -> int | None:
    """Return the seconds since 1970 of a `#TS:` annotation; None for any other one."""
    found = _TIMESTAMP.fullmatch(annotation)
    return int(found[1]) if found else None


class RecordCount:
    """Counts whole records by hopping from length to length; it knows nothing of what they hold and builds none.

    Records that end after `stop` (an offset; None: no limit) are not counted, nor anything after bytes that are no record.
    """

    __slots__ = ("_base", "_hops", "_left", "_rest", "_skip", "_stop")

    def __init__(self, stop: int | None = None) -> None:
        self._stop = stop
        self._base = 0  # offset of the first byte of `_rest`
        self._rest = b""  # a header line the last block cut
        self._skip = 0  # payload bytes the last block cut off
        self._left = 0  # arguments of the record yet to come; _LOST: what follows cannot be read
        self._hops: dict[bytes, int] = {}

    def feed(self, block: bytes) -> int:
        """Return how many records end within the next block of the file."""
        if self._left == _LOST:
            return 0
        data, left, at, counted = self._rest + block, self._left, self._skip, 0
        size = len(data)
        limit = size if self._stop is None else min(size, self._stop - self._base)
        if self._skip and not left and at <= limit:
            counted = 1
        find, hops = data.find, self._hops
        while at < size and (end := find(b"\n", at) + 1):
            line = data[at:end]
            hop = hops.get(line)
            if hop is None:
                hop = _hop(line)
                if len(hops) < _MEMO_MAX:
                    hops[line] = hop
            at = end
            if hop > 0 and left:
                at += hop
                left -= 1
                if not left and at <= limit:
                    counted += 1
            elif hop < 0 and not left:
                left = -hop
            elif hop or left or line[:1] != b"#":
                left = _LOST
                break
        if size - at > ANNOTATION_MAX:
            left = _LOST
        self._base, self._rest, self._skip, self._left = self._base + min(at, size), data[at:], max(at - size, 0), left
        return counted


def _hop(line: bytes) -> int:
    """Return how many bytes follow the header of an argument, less than 0 for a record of that many arguments, 0 for any other line."""
    number = line[1:-2]
    if line[-2:] != b"\r\n" or line[:1] not in (b"*", b"$") or not number.removeprefix(b"+").isdigit() or len(line) > HEADER_MAX:
        return 0
    return -int(number) if line[:1] == b"*" else int(number) + 2


class _Blocks(RawIOBase):
    """Blocks of bytes as a file, so that the interpreter's own buffered reader can look for line ends."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._blocks = iter(blocks)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        while not self._rest:
            block = next(self._blocks, None)
            if block is None:
                return 0
            self._rest = memoryview(block)
        target = memoryview(buffer).cast("B")
        size = min(len(target), len(self._rest))
        target[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


def _read_in_parts(stream: BufferedReader[_Blocks], size: int) -> bytes:
    """Return up to `size` bytes without asking for memory that a false length would not fill."""
    parts = []
    while size and (part := stream.read(min(size, _PART))):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _check_annotation(line: bytes, name: str, start: int) -> None:
    if line.endswith(b"\r\n"):
        return
    if not line.endswith(b"\n") and len(line) < ANNOTATION_MAX:
        raise _truncated("inside an annotation", name, start)
    raise _malformed(f"an annotation without CRLF in its first {ANNOTATION_MAX} bytes", name, start)


def _count(line: bytes, name: str, start: int) -> int:
    if start == 0:
        _refuse_other_files(line, name)
    count = _number(line, b"*", name, start)
    if not 1 <= count <= ARGUMENTS_MAX:
        raise _malformed(f"a record of {count} arguments, expected 1 to {ARGUMENTS_MAX}", name, start)
    return count


def _length(line: bytes, name: str, start: int) -> int:
    length = _number(line, b"$", name, start)
    if length > BULK_MAX:
        raise _malformed(f"an argument of {length} bytes, expected at most {BULK_MAX}", name, start)
    return length


def _number(line: bytes, mark: bytes, name: str, start: int) -> int:
    if line[:1] == mark and line[-2:] == b"\r\n" and _NUMBER.fullmatch(line, 1, len(line) - 2):
        return int(line[1:-2])
    if not line or (line[:1] == mark and _CUT_HEADER.fullmatch(line, 1)):
        raise _truncated("inside a record", name, start)
    raise _malformed(f"expected {mark.decode()}<number> and CRLF, got {line[:16]!r}", name, start)


def _bad_payload(payload: bytes, length: int, name: str, start: int) -> MalformedLog:
    if b"\r\n".startswith(payload[length:]) and len(payload) < length + 2:
        return _truncated("inside a record", name, start)
    return _malformed(f"expected CRLF after an argument of {length} bytes, got {payload[length:]!r}", name, start)


def _refuse_other_files(line: bytes, name: str) -> None:
    for magic, (kind, advice) in _OTHER_FILES.items():
        if line.startswith(magic):
            raise UnsupportedLog(f"this is {kind}, expected an append-only file of commands", where=f"{name}:0", hint=advice)


def _truncated(place: str, name: str, start: int) -> TruncatedLog:
    return TruncatedLog(f"the file ends {place} that starts here", where=f"{name}:{start}", hint=_WHOLE_RECORDS)


def _malformed(what: str, name: str, start: int) -> MalformedLog:
    return MalformedLog(f"in the record that starts here: {what}", where=f"{name}:{start}", hint=_WHOLE_RECORDS)


_INCREMENTAL = "give the plain incremental file, appendonlydir/*.incr.aof"
_OTHER_FILES = {
    b"REDIS0": ("an RDB snapshot, or an append-only file with an RDB preamble", _INCREMENTAL),
    b"VALKEY": ("a Valkey snapshot, or an append-only file with such a preamble", _INCREMENTAL),
    b"file ": ("the manifest of a multi-part append-only file", _INCREMENTAL),
}
