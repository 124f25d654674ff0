r"""What stands around the text of a plugin where SQL wrote it: columns lsn, xid and data, as psql prints them or COPY does.

Law: bytes in, records out; nothing is known of the formats but where the text of a record ends. No I/O.

    0/192A5D8 TAB 733 TAB BEGIN 733         psql -At -F TAB; or with | between them
    0/192A5D8 TAB 733 TAB a\nb              COPY: a line is a record, line ends, tabs and backslashes are escaped
    0/192A5D8 TAB 733 TAB 42000000...       encode(data, 'hex') of a binary plugin, or \x42...

Nothing tells COPY from psql where every backslash could be the beginning of an escape: then the log has to be named as the one or the
other (`FORMATS`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
import re
from typing import NamedTuple

from dblog_tasks.errors import MalformedLog, TruncatedLog
from dblog_tasks.postgres.test_decoding import PREFIX as _LSN_AND_XID

PREFIX = re.compile(_LSN_AND_XID)
HEADING = re.compile(rb"lsn[\t|]xid[\t|](?:data|encode|\?column\?)[^\n]*\n")
FOOTING = re.compile(rb"\([0-9]+ rows?\)\s*")
ALIGNED = re.compile(rb" +lsn +\| +xid +\|")
LINE_MAX = 1 << 30
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_MEANS = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v", b"\\": b"\\"}
_NO_ESCAPE = re.compile(rb"\\[^bfnrtv\\]", re.DOTALL)


class Record(NamedTuple):
    """One record.

    Attributes:
        start, end: offsets of its bytes.
        raw: these bytes.
        text: what the plugin wrote, with a line end or without.
        lsn, xid: of the columns; 0 where there are none.
    """

    start: int
    end: int
    raw: bytes
    text: bytes
    lsn: int = 0
    xid: int = 0


def lines(blocks: Iterable[bytes], name: str) -> Iterator[tuple[int, int, bytes]]:
    """Yield each line that is not blank, with its line end. Raises MalformedLog for one of more than LINE_MAX bytes."""
    rest, base = b"", 0
    for block in blocks:
        pieces = (rest + block).split(b"\n")
        rest = pieces.pop()
        for piece in pieces:
            end = base + len(piece) + 1
            if piece and not piece.isspace():
                yield base, end, piece + b"\n"
            base = end
        if len(rest) > LINE_MAX:
            raise MalformedLog(f"a line of more than {LINE_MAX} bytes", where=f"{name}:{base}")
    if rest and not rest.isspace():
        yield base, base + len(rest), rest


def split(start: int, end: int, raw: bytes, name: str) -> Record | None:
    """Return the record without its columns; None for the number of rows that psql prints last. Raises MalformedLog."""
    found = PREFIX.match(raw)
    if found is None:
        if FOOTING.fullmatch(raw) or HEADING.fullmatch(raw):
            return None
        raise MalformedLog(f"expected lsn, xid and data, got {raw[:60]!r}", where=f"{name}:{start}")
    divider = raw[found.end() - 1 : found.end()]
    lsn, xid, _ = raw[: found.end()].split(divider)
    high, _, low = lsn.partition(b"/")
    return Record(start, end, raw, raw[found.end() :], int(high, 16) << 32 | int(low, 16), int(xid or b"0"))


def unescaped(record: Record, name: str) -> Record:
    """Return the record with its text as it was before COPY. Raises MalformedLog for what COPY does not write."""
    if _NO_ESCAPE.search(record.text.replace(b"\\\\", b"")):
        raise MalformedLog("no escape of COPY", where=f"{name}:{record.start}", hint="was this written by psql? say --format psql")
    return record._replace(text=_ESCAPE.sub(lambda found: _MEANS[found[1]], record.text))


def told_by_escapes(blocks: Iterable[bytes]) -> bool | None:
    """Return False when these bytes cannot be COPY's, None when nothing tells: every backslash may begin an escape, or there is none.

    What tells: a backslash before what COPY never escapes, or a record of several lines.
    """
    rest = b""
    for block in blocks:
        data = rest + block
        cut = data.rfind(b"\n") + 1
        rest = data[cut:]
        whole = data[:cut]
        if _NO_ESCAPE.search(whole.replace(b"\\\\", b"")):
            return False
        if any(
            line and not PREFIX.match(line) and not FOOTING.fullmatch(line) and not HEADING.match(line + b"\n")
            for line in whole.split(b"\n")
        ):
            return False
    return None


def hexadecimal(record: Record, name: str) -> bytes:
    """Return the bytes that the text of a record stands for. Raises MalformedLog, TruncatedLog."""
    text = record.text.strip().removeprefix(b"\\\\x").removeprefix(b"\\x")
    try:
        return bytes.fromhex(text.decode("ascii"))
    except ValueError:
        if len(text) % 2:
            raise TruncatedLog("half a byte", where=f"{name}:{record.end}") from None
        raise MalformedLog(f"no hexadecimal digits: {text[:40]!r}", where=f"{name}:{record.start}") from None
