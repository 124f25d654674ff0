"""Which format a log is in, and its bytes as messages.

Law: bytes in, messages out; no I/O. The content tells the format; a name given is believed.

    name            what it is
    test_decoding   the text as it comes (pg_recvlogical -f, SELECT data)
    wal2json        JSON as it comes, version 1 or 2
    pgoutput        messages as pg_recvlogical -f writes them
    psql            columns lsn, xid, data of any plugin, as psql -At prints them
    copy            the same as COPY writes them
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
import re
from typing import Any, NamedTuple

from dblog_tasks.errors import InvalidInput, MalformedLog, TruncatedLog, UnsupportedLog
from dblog_tasks.postgres import columns, pgoutput, test_decoding
from dblog_tasks.postgres.columns import Record
from dblog_tasks.postgres.message import Message
from dblog_tasks.postgres.pgoutput import PgOutput
from dblog_tasks.postgres.test_decoding import TestDecoding
from dblog_tasks.postgres.wal2json import Splitter, Wal2Json

HEAD_SIZE = 64 << 10  # bytes that are looked at
TEST_DECODING, WAL2JSON, PGOUTPUT, PSQL, COPY = "test_decoding", "wal2json", "pgoutput", "psql", "copy"
NAMES = (TEST_DECODING, WAL2JSON, PGOUTPUT, PSQL, COPY)
_TEXT_START = re.compile(rb"\s*(?:" + test_decoding.STARTS.pattern + rb")")
_HEX = re.compile(rb"(?:\\{0,2}x)?(?:[0-9a-f]{2})+\s*", re.IGNORECASE)
_HEX_START = re.compile(
    rb"(?:\\{1,2}x|(?:42|43|4f|52|59|49|55|44|54|4d|62|50|4b|72|53|45|63|41|70)[0-9a-f]{2})[0-9a-f]*\s*\Z", re.IGNORECASE
)


class Detected(NamedTuple):
    """The format of a log.

    Attributes:
        plugin: test_decoding, wal2json or pgoutput.
        columns: psql, copy, or empty: the plugin's output as it comes.
        lsns: the log tells the LSNs of the ends of transactions.
        is_copy: whether backslashes are COPY's; None: not known.
    """

    plugin: str
    columns: str
    lsns: bool
    is_copy: bool | None = None


def detect(head: bytes, name: str, given: str = "") -> Detected:
    """Return the format of a log by its first bytes and its name.

    Raises InvalidInput for a name of a format that is none, UnsupportedLog, MalformedLog.
    """
    if given and given not in NAMES:
        raise InvalidInput(f"{given!r:.60} is no format of a PostgreSQL log", where="--format", hint=f"it is one of {', '.join(NAMES)}")
    if columns.ALIGNED.match(head):
        raise UnsupportedLog("a table that psql drew for reading", where=name, hint="print it with psql -At -F '\t'")
    text = columns.HEADING.sub(b"", head, count=1) if columns.HEADING.match(head) else head
    first = columns.PREFIX.match(text)
    if first is not None and given in {"", PSQL, COPY}:
        is_copy = given == COPY if given else name.endswith(".copy") or None
        return _in_columns(text, first.end(), COPY if is_copy else PSQL)._replace(is_copy=is_copy)
    if given in {PSQL, COPY}:
        raise MalformedLog("expected columns lsn, xid and data", where=f"{name}:0")
    plugin = given or (
        TEST_DECODING
        if _TEXT_START.match(head) or not head.strip()
        else WAL2JSON
        if head.lstrip()[:1] == b"{"
        else PGOUTPUT
        if _is_pgoutput(head)
        else TEST_DECODING
    )
    return Detected(plugin, "", plugin == PGOUTPUT or (plugin == WAL2JSON and b'"nextlsn"' in head))


def _in_columns(head: bytes, at: int, form: str) -> Detected:
    line = head[at : head.find(b"\n", at)] if b"\n" in head[at:] else head[at:]
    if line.lstrip()[:1] in (b"{", b"]", b","):
        has_ends = b'"change"' in head or b'"action":"B"' in head or b'"action":"C"' in head
        return Detected(WAL2JSON, form, has_ends)
    if _HEX_START.match(line) or (_HEX.fullmatch(line) and len(line) > 8):
        return Detected(PGOUTPUT, form, lsns=True)
    return Detected(TEST_DECODING, form, lsns=True)


def _is_pgoutput(head: bytes) -> bool:
    """Return whether a message begins there: one that is whole, or of which no byte is against it."""
    try:
        PgOutput("").size(head, 0)
    except (MalformedLog, ValueError, OverflowError):
        return False
    except Exception:  # noqa: BLE001 - it ends before its message does
        return True
    return True


class Format:
    """A log's bytes as messages, and messages as what they hold. One for each log, read once from its beginning.

    `is_file`: a last record of text without its line end is cut off, for nobody can tell what is missing of it.
    `is_copy` answers whether columns are COPY's where the first escape is met; it may read the whole log for that.
    """

    def __init__(self, name: str, detected: Detected, *, is_copy: Callable[[], bool], is_file: bool = False) -> None:
        self._name, self.detected, self._is_file = name, detected, is_file
        self._is_copy = is_copy
        self._copied = detected.is_copy
        self._reader: Any = READERS[detected.plugin](name)

    @property
    def reader(self) -> Any:
        """What reads the records of the plugin."""
        return self._reader

    @property
    def is_text(self) -> bool:
        """Whether the log is the text of test_decoding and nothing around it."""
        return self.detected.plugin == TEST_DECODING and not self.detected.columns

    def messages(self, blocks: Iterable[bytes], needle: bytes | None = None, plain: test_decoding.Plain | None = None) -> Iterator[Message]:
        """Yield the messages of a log.

        `needle`: whole transactions without these bytes may be passed over, and counted. `plain`: see `test_decoding.frames`.

        Raises MalformedLog, TruncatedLog, UnsupportedLog.
        """
        if self.is_text:
            return self._text(blocks, needle, plain)
        return _MESSAGES[self.detected.plugin](self, blocks)

    def body(self, message: Message) -> Any:
        """Return what a message holds: Logged, Truncate, Border and the like, an Omission where it cannot be read. Raises MalformedLog."""
        return self._reader.body(message)

    def _records(self, frames: Iterable[tuple[int, int, Any]]) -> Iterator[Record]:
        """Yield records with the text of the plugin, columns taken off; a line of JSON that goes on has none."""
        goes_on = self.detected.plugin == WAL2JSON
        lsn = xid = 0
        for start, end, raw in frames:
            if goes_on and not columns.PREFIX.match(raw) and not columns.FOOTING.fullmatch(raw) and not columns.HEADING.fullmatch(raw):
                yield Record(start, end, raw, raw, lsn, xid)
                continue
            record = columns.split(start, end, raw, self._name)
            if record is None:
                continue
            lsn, xid = record.lsn, record.xid
            if b"\\" in record.text:
                if self._copied is None:
                    self._copied = self._is_copy()
                record = columns.unescaped(record, self._name) if self._copied else record
            yield record

    def _text(self, blocks: Iterable[bytes], needle: bytes | None, plain: test_decoding.Plain | None) -> Iterator[Message]:
        reader: TestDecoding = self._reader
        for start, end, raw in test_decoding.frames(blocks, self._name, None, needle, plain):
            if isinstance(raw, bytes):
                self._check_end(start, raw)
                yield reader.message(start, end, raw, raw)
            else:
                yield reader.skim(start, end, raw)

    def _check_end(self, start: int, raw: bytes) -> None:
        if self._is_file and not raw.endswith(b"\n"):
            raise TruncatedLog("the log ends inside a record", where=f"{self._name}:{start}", hint="if it is whole, end its last line")

    def _test_decoding(self, blocks: Iterable[bytes]) -> Iterator[Message]:
        reader: TestDecoding = self._reader
        is_lines = self.detected.columns == COPY
        frames = columns.lines(blocks, self._name) if is_lines else test_decoding.frames(blocks, self._name, columns.PREFIX)
        for record in self._records(frames):
            self._check_end(record.start, record.raw)
            yield reader.message(*record)

    def _wal2json(self, blocks: Iterable[bytes]) -> Iterator[Message]:
        splitter, reader = Splitter(self._name), self._reader
        frames = columns.lines(blocks, self._name)
        records = self._records(frames) if self.detected.columns else (Record(start, end, raw, raw) for start, end, raw in frames)
        for record in records:
            for piece in splitter.feed(*record):
                yield reader.message(piece)
        splitter.finish()

    def _pgoutput(self, blocks: Iterable[bytes]) -> Iterator[Message]:
        reader: PgOutput = self._reader
        if not self.detected.columns:
            for start, end, data in pgoutput.frames(blocks, self._name, reader):
                yield reader.message(start, end, data, data)
            return
        for record in self._records(columns.lines(blocks, self._name)):
            yield reader.message(record.start, record.end, record.raw, columns.hexadecimal(record, self._name), record.lsn, record.xid)


def head_of(blocks: Iterator[bytes], size: int = HEAD_SIZE) -> tuple[bytes, Iterator[bytes]]:
    """Return the first bytes of a log, and all of its blocks."""
    taken: list[bytes] = []
    length = 0
    for block in blocks:
        taken.append(block)
        length += len(block)
        if length >= size:
            break
    return b"".join(taken)[:size], chain(taken, blocks)


READERS: Mapping[str, Callable[[str], Any]] = {TEST_DECODING: TestDecoding, WAL2JSON: Wal2Json, PGOUTPUT: PgOutput}
_MESSAGES: Mapping[str, Callable[[Format, Iterable[bytes]], Iterator[Message]]] = {
    TEST_DECODING: Format._test_decoding,  # noqa: SLF001 - a table of this class
    WAL2JSON: Format._wal2json,  # noqa: SLF001
    PGOUTPUT: Format._pgoutput,  # noqa: SLF001
}
