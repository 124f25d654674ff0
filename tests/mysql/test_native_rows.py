"""The compiled readers: what generated code gives, and not a byte beyond the rows. `test_rows` runs with both kinds as well."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
import gc
from pathlib import Path
from struct import pack, pack_into, unpack
from typing import Any
import zlib

from hypothesis import example, given, strategies as st
import pytest

from dblog_tasks import DblogError, MalformedLog, part
from dblog_tasks.mysql import binlog, charsets, compiled as extension, header_count, native
from dblog_tasks.mysql.rows import UNREADABLE, RowReader, Storage, field
from tests.examples import examples
from tests.mysql import plain_rows, test_rows

_native = pytest.importorskip("dblog_tasks.mysql._native", reason="installed without compiled code")

LOGS = sorted(path for path in test_rows.CORPUS.rglob("*.0*") if path.is_file())
TEXTS = [
    *(Storage(15, meta, charset=charset) for charset in (*charsets.BYTES_PER_CHARACTER, "binary") for meta in (80, 400)),
    *(Storage(252, size, charset=charset) for charset in ("utf8mb4", "utf8mb3", "latin1", "gbk", "binary") for size in (1, 2, 3, 4)),
]
OTHERS = [Storage(code, digits) for code in (7, 11, 12) for digits in range(7)] + [
    *(Storage(254, size, charset=name) for name, size in (("uuid", 16), ("inet6", 16), ("inet4", 4))),
    *(Storage(code, meta, charset=charset) for code, meta in ((140, 4), (141, 300)) for charset in ("utf8mb4", "binary")),
]

PLACED = True  # events say where they end in their file


def readable(storage: Storage) -> bool:
    """Whether the generated code reads this storage."""
    try:
        return bool(field(storage))
    except ValueError:
        return False


STORAGES = [storage for storage in [*(storage for storage, _ in test_rows.KINDS), *TEXTS, *OTHERS] if readable(storage)]
LAYOUTS = st.lists(st.sampled_from(STORAGES), min_size=1, max_size=12)
OPERATIONS = st.sampled_from(sorted(test_rows.OPERATIONS))


@pytest.fixture(scope="module", autouse=True)
def _compiled() -> Iterator[None]:
    """Compiled code is in use, whatever the environment says."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DBLOG_NATIVE", "1")
        yield


def readers(layout: list[Storage]) -> tuple[RowReader, RowReader]:
    """The compiled and the generated reader of a layout."""
    generated = RowReader(layout)
    generated._native = None
    return RowReader(layout), generated


def compiled(layout: list[Storage]) -> native.Readers:
    """The compiled reader alone, without the generated code behind it."""
    found = RowReader(layout)._native
    assert found is not None
    return found


def outcome(reader: RowReader, operation: str, data: bytes, at: int, end: int) -> str:
    """Rows with their types, or the error."""
    try:
        return repr(reader.read(operation, data, at, end, "log:4"))
    except DblogError as error:
        return repr(error)


@given(test_rows.events())
def test_compiled_code_reads_rows_by_itself(event: tuple[str, list[Storage], bytes, list[plain_rows.Pair]]) -> None:
    """What a server writes needs no generated code, wherever in a block it lies."""
    operation, layout, images, written = event
    read = compiled(layout).rows[operation]

    for before, after in ((b"", b""), (b"\xee" * 5, b"\xee" * 9)):
        got = read(before + images + after, len(before), len(before) + len(images))
        assert repr(written) == repr(got)


@given(test_rows.events())
def test_an_image_is_read_by_itself(event: tuple[str, list[Storage], bytes, list[plain_rows.Pair]]) -> None:
    """Images one by one are the images of the rows, and end where the next one begins."""
    _, layout, images, written = event
    image, at, got = compiled(layout).image, 0, []
    while at < len(images):
        row, at = image(images, at)
        got.append(row)

    assert repr([row for pair in written for row in pair if row is not None]) == repr(got)
    assert len(images) == at


@given(LAYOUTS, OPERATIONS, st.binary(max_size=300), st.integers(0, 8), st.integers(0, 8))
@examples(150)
def test_any_bytes_read_the_same(layout: list[Storage], operation: str, data: bytes, at: int, behind: int) -> None:
    """Whatever the bytes, both give the same rows or the same error, all character sets and types included."""
    at, end = min(at, len(data)), max(min(at, len(data)), len(data) - behind)
    fast, slow = readers(layout)

    assert outcome(slow, operation, data, at, end) == outcome(fast, operation, data, at, end)


@given(test_rows.events(), st.data())
@examples(100)
def test_damaged_rows_read_the_same(event: tuple[str, list[Storage], bytes, list[plain_rows.Pair]], data: st.DataObject) -> None:
    """One wrong byte, or an end too early, gives the same rows or the same error, not judged by compiled code."""
    operation, layout, images, _ = event
    place, wrong = data.draw(st.integers(0, len(images) - 1)), data.draw(st.integers(0, 255))
    damaged = images[:place] + bytes([wrong]) + images[place + 1 :]
    end = data.draw(st.just(len(images)) | st.integers(0, len(images)))
    fast, slow = readers(layout)

    assert outcome(slow, operation, damaged, 0, end) == outcome(fast, operation, damaged, 0, end)


@given(LAYOUTS, OPERATIONS, st.binary(max_size=200))
@examples(100)
def test_compiled_code_refuses_what_it_does_not_read(layout: list[Storage], operation: str, data: bytes) -> None:
    """Its only errors are those that generated code answers, and what it reads is what the bytes up to the end hold."""
    read = compiled(layout).rows[operation]
    try:
        alone = repr(read(data, 0, len(data)))
    except (ValueError, MalformedLog):
        return
    assert alone == repr(read(data + bytes(64), 0, len(data)))
    assert alone == repr(read(data + b"\xff" * 64, 0, len(data)))


DAYS = [0, 1, 59, 60, 365, 789, 790, 11015, 11016, 11017, 19781, 19782, 47540, 47541, 49709, 49710]


@pytest.mark.parametrize("digits", range(7))
@given(st.integers(0, 0xFFFF_FFFF) | st.builds(lambda day, second: day * 86400 + second, st.sampled_from(DAYS[:-1]), st.integers(0, 86399)))
def test_every_second_of_a_timestamp_reads_the_same(digits: int, seconds: int) -> None:
    """Days of leap years and of the ends of months and centuries too."""
    data = b"\0" + seconds.to_bytes(4, "big") + b"\0" * ((digits + 1) // 2)
    fast, slow = readers([Storage(17, digits)])

    assert outcome(slow, "insert", data, 0, len(data)) == outcome(fast, "insert", data, 0, len(data))
    assert len(compiled([Storage(17, digits)]).rows["insert"](data, 0, len(data))) == 1


def test_every_day_of_a_timestamp_reads_the_same() -> None:
    """All 49,711 days, as the rows of one event."""
    data = b"".join(b"\0" + (day * 86400).to_bytes(4, "big") for day in range(49_711))
    fast, slow = readers([Storage(17, 0)])

    assert slow.read("insert", data, 0, len(data), "log:4") == fast.read("insert", data, 0, len(data), "log:4")


@pytest.mark.parametrize("precision", range(1, 66))
def test_every_decimal_reads_the_same(precision: int) -> None:
    """Every precision and scale: the ends of the range, single digits, zero of both signs."""
    for scale in range(min(precision, 38) + 1):
        numbers = {sign * number for power in range(precision + 1) for number in (10**power - 1, 10**power // 2) for sign in (1, -1)}
        data = b"".join(b"\0" + test_rows.packed_decimal(number, precision, scale) for number in sorted(numbers))
        data += b"\0" + bytes(byte ^ 0xFF for byte in test_rows.packed_decimal(0, precision, scale))
        expected = [test_rows.decimal_text(number, scale) for number in [*sorted(numbers), 0]]

        assert [(None, (text,)) for text in expected] == compiled([Storage(246, precision << 8 | scale)]).rows["insert"](data, 0, len(data))


def test_the_collector_is_not_told_of_plain_rows() -> None:
    """Rows of numbers and text are not tracked; a row that holds what could be part of a cycle is."""
    image = b"\0\7\0\0\0\2ab"
    plain = _native.Reader([("signed", 4, 0, None), ("utf8", 1, 0, None)])
    cyclic = _native.Reader([("signed", 4, 0, None), ("sized", 1, 0, lambda data: [data])])
    untracked, tracked = (_native.rows(None, reader, image, 0, len(image))[0] for reader in (plain, cyclic))

    assert ((None, (7, "ab")), (None, (7, [b"ab"]))) == (untracked, tracked)
    assert [False, False, True, True] == [gc.is_tracked(thing) for pair in (untracked, tracked) for thing in (pair, pair[1])]


def test_an_absent_column_takes_no_byte_and_no_bit() -> None:
    """Columns that are not in the image have the value they were given."""
    gone = object()
    reader = _native.Reader([("absent", 0, 0, gone), ("unsigned", 1, 0, None), ("absent", 0, 0, gone), ("year", 0, 0, None)])

    assert [(None, (gone, 9, gone, None))] == _native.rows(None, reader, b"\2\x09", 0, 2)


def test_an_error_of_a_function_is_passed_on() -> None:
    """What decodes a value may refuse it; a reader that reads itself meanwhile comes to no harm."""
    inner: list[Any] = []

    def again(data: bytes) -> object:
        if len(data) > 1:
            return _native.rows(None, inner[0], data[1:], 0, len(data) - 1)
        raise MalformedLog("refused")

    inner.append(_native.Reader([("date", 0, 0, None), ("sized", 1, 0, again)]))
    with pytest.raises(MalformedLog, match="refused"):
        _native.rows(None, inner[0], b"\0\1\1\1\7+" + b"\0\2\2\2\1x", 0, 12)


@pytest.mark.parametrize(
    "columns",
    [
        [],
        [("absent", 0, 0, None)],
        [("nothing", 0, 0, None)],
        [("signed", 0, 0, None)],
        [("signed", 9, 0, None)],
        [("signed", -1, 0, None)],
        [("datetime", 7, 0, None)],
        [("decimal", 66, 0, None)],
        [("decimal", 5, 6, None)],
        [("decimal", 5, -1, None)],
        [("bytes", 5, 0, None)],
        [("bytes", 1, 65536, None)],
        [("fixed", 0, 0, bytes)],
        [("sized", 1, 0, None)],
        [("ascii", 1, 0, "text")],
        [("year", 0, 0, bytes)],
        [("year", 0, 0)],
        ["year"],
        [("year", 2**70, 0, None)],
        (("year", 0, 0, None),),
        None,
    ],
    ids=repr,
)
def test_a_column_that_cannot_be_read_is_refused(columns: Any) -> None:
    """Nothing is read by guess."""
    with pytest.raises((ValueError, TypeError, OverflowError)):
        _native.Reader(columns)


@pytest.mark.parametrize(
    "arguments",
    [
        (None, None, b"ab", 0, 2),
        (None, 0, b"ab", 0, 1),
        (None, 1, b"ab", 0, 3),
        (None, 1, b"ab", -1, 2),
        (1, None, b"ab", 2, 1),
        (None, 1, "ab", 0, 2),
    ],
    ids=repr,
)
def test_rows_outside_of_their_data_are_refused(arguments: tuple[Any, ...]) -> None:
    """No offset leads out of the bytes given; 1 stands for a reader."""
    reader = _native.Reader([("year", 0, 0, None)])
    with pytest.raises((ValueError, TypeError)):
        _native.rows(*(reader if given == 1 and place < 2 else given for place, given in enumerate(arguments)))


def test_compiled_code_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """DBLOG_NATIVE=0 reads with generated code."""
    monkeypatch.setenv("DBLOG_NATIVE", "0")

    assert extension.extension() is None
    assert RowReader([Storage(13, 0)])._native is None


@pytest.mark.parametrize("folding", [True, False])
@given(st.binary(max_size=600) | st.integers(0, 300).map(bytes), st.integers(0, 17))
@example(bytes(range(256)) * 64, 0)
def test_checksum_is_that_of_zlib(folding: bool, data: bytes, skipped: int) -> None:  # noqa: FBT001 - a parameter of the test
    """Both ways to the checksum give it, whatever the size and wherever the bytes lie."""
    assert zlib.crc32(data[skipped:]) == _native.crc32(memoryview(data)[skipped:], folding)


def hop(block: bytes, base: int, checksum: int, most: int = 1 << 30) -> list[binlog.Frame]:
    """The frames from the first event of a block, passing over format descriptions as `binlog.frames` would."""
    at, found = 0, []
    while True:
        got = _native.frames(binlog.Frame, block, at, base, checksum, PLACED, most, -1)
        found += got
        at = got[-1].end - base if got else at
        if len(block) < at + 19 or block[at + 4] != binlog.FORMAT_DESCRIPTION:
            return found
        at += int.from_bytes(block[at + 9 : at + 13], "little")


def plain_frames(blocks: list[bytes]) -> list[binlog.Frame]:
    """The frames that come before an error, format descriptions left out."""
    found = []
    try:
        for frame in binlog.frames(blocks, "log"):
            if frame.type != binlog.FORMAT_DESCRIPTION:
                found.append(frame)
    except DblogError:
        pass
    return found


def facts(frames: list[binlog.Frame]) -> list[tuple[Any, ...]]:
    """Frames without the block that holds them."""
    return [(*frame[:5], frame.size, frame.body, frame.raw) for frame in frames]


@pytest.mark.parametrize("path", LOGS, ids=lambda path: str(path.relative_to(test_rows.CORPUS)))
def test_frames_are_those_of_python(path: Path) -> None:
    """Every whole and right event of every log of the corpus, up to the first that is not."""
    log = path.read_bytes()
    expected = plain_frames([log])
    checksum = binlog.format_of(log[: 1 << 16], "log").checksum
    got = hop(log[4:], 4, checksum)

    assert facts(expected) == facts(got)
    assert {binlog.Frame} >= {type(frame) for frame in got}
    if expected:
        assert facts(expected)[:3] == facts(_native.frames(binlog.Frame, log, expected[0].start, 0, checksum, PLACED, 3, -1))


def test_a_wrong_byte_stops_frames_where_python_stops() -> None:
    """Each byte of a log in turn is wrong: no frame comes that `binlog.frames` would not give."""
    log = (test_rows.SHOP / "shop.000001").read_bytes()[:3000]  # the last event is torn
    head = 4 + int.from_bytes(log[13:17], "little")
    checksum = binlog.format_of(log, "log").checksum
    assert checksum == 4
    for place in range(head, len(log)):
        wrong = bytearray(log)
        wrong[place] ^= 0x41

        assert facts(plain_frames([bytes(wrong)])) == facts(hop(bytes(wrong[head:]), head, checksum))


@given(st.binary(max_size=200), st.lists(st.integers(0, 80), max_size=6), st.sampled_from([0, 4]))
def test_frames_of_any_bytes_lie_in_their_block(data: bytes, sizes: list[int], checksum: int) -> None:
    """Whatever the headers say, frames follow each other and end in the block."""
    block, at = bytearray(data), 0
    for size in sizes:
        if at + 19 <= len(block):
            pack_into("<4xB4xII", block, at, 2, size, 0)
            at += size
    got = _native.frames(binlog.Frame, bytes(block), 0, 0, checksum, PLACED, 100, -1)
    place = 0
    for frame in got:
        assert place == frame.at
        place += frame.size
        assert 19 + checksum <= frame.size
        assert frame.body_end + checksum == place <= len(block)


@pytest.mark.parametrize(
    "arguments", [(int, b"", 0, 0, 0), (tuple, b"", 1, 0, 0), (tuple, b"", -1, 0, 0), (tuple, b"", 0, 0, 3), (tuple, "", 0, 0, 0)], ids=repr
)
def test_frames_outside_of_their_block_are_refused(arguments: tuple[Any, ...]) -> None:
    """No offset leads out of the block, and what is made of a frame is a tuple."""
    with pytest.raises((ValueError, TypeError)):
        _native.frames(*arguments, PLACED, 100, -1)


def test_a_relay_log_says_where_events_were() -> None:
    """Where places are not this file's, they are not checked."""
    log = (test_rows.SHOP / "shop.000001").read_bytes()
    head = 4 + int.from_bytes(log[13:17], "little")
    placed, free = (_native.frames(binlog.Frame, log, head, 1000, 4, placed, 1 << 30, -1) for placed in (True, False))

    assert ([], len(plain_frames([log]))) == (placed, len(free))


def as_json(rows: Any, binary: list[int]) -> bytes:
    """Rows as a plan writes them by way of their values."""
    return part.dumped(part._packed(rows, binary))[:-1]


def bytes_columns(layout: list[Storage]) -> list[int]:
    """The columns of a layout whose values are bytes, whatever they hold."""
    return [at for at, storage in enumerate(layout) if storage.charset == "binary" and storage.code in (15, 252, 253, 254)]


def json_of(layout: list[Storage], operation: str, data: bytes, binary: list[int]) -> tuple[bytes, int] | None:
    """The rows by compiled code alone; None when it leaves them to other code."""
    write = RowReader(layout).json(operation, bytes(at in binary for at in range(len(layout))))
    assert write is not None
    try:
        return write(data, 0, len(data))
    except (MalformedLog, *UNREADABLE):
        return None


@given(test_rows.events())
def test_rows_are_written_as_their_values_would_be(event: tuple[str, list[Storage], bytes, list[plain_rows.Pair]]) -> None:
    """What a server writes: byte for byte, with bytes as an object or alone."""
    operation, layout, images, written = event
    for binary in ([], bytes_columns(layout)):
        assert (as_json(written, binary), len(written)) == json_of(layout, operation, images, binary)


@given(LAYOUTS, OPERATIONS, st.binary(max_size=300))
@examples(600)
def test_any_bytes_are_written_as_they_are_read(layout: list[Storage], operation: str, data: bytes) -> None:
    """Whatever the bytes: what compiled code writes is what the rows are, and it writes none that cannot be read."""
    got = json_of(layout, operation, data, [])
    if got is None:
        return
    rows = readers(layout)[1].read(operation, data, 0, len(data), "log:4")

    assert (as_json(rows, []), len(rows)) == got


ODD_TEXT = st.text(st.sampled_from('\0\1\x07\b\t\n\x0b\f\r\x1f "\\/\x7f\x80é€\ud7ff\ue000\uffff😀\U0010ffff'), max_size=40)


@given(ODD_TEXT | st.text(max_size=60), st.sampled_from(["utf8mb4", "utf8mb3", "latin1", "gbk"]), st.binary(max_size=3), st.integers(0, 40))
def test_text_is_written_as_it_is_read(text: str, charset: str, wrong: bytes, place: int) -> None:
    """Characters of every width, with and without escapes, and bytes between them that are no text."""
    raw = text.encode()
    raw = raw[:place] + wrong + raw[place:]
    layout, data = [Storage(252, 2, charset=charset)], b"\0" + len(raw).to_bytes(2, "little") + raw
    rows = readers(layout)[1].read("insert", data, 0, len(data), "log:4")

    assert (as_json(rows, []), 1) == json_of(layout, "insert", data, [])


def test_long_text_is_written_as_it_is_read() -> None:
    """Longer than what there is room for at first, all of it escaped, and a character across each border of a part."""
    for raw in (b"\1" * 5000, *(b"a" * size + "😀é€".encode() * 900 for size in range(4))):
        layout, data = [Storage(252, 2, charset="utf8mb4")], b"\0" + len(raw).to_bytes(2, "little") + raw

        assert (as_json([(None, (raw.decode(),))], []), 1) == json_of(layout, "insert", data, [])


@given(st.floats() | st.floats(width=32) | st.decimals(-(10**10), 10**10, places=7).map(float) | st.integers(-(2**60), 2**60).map(float))
@example(0.0)
@example(-0.0)
@example(1e-3)
@example(0.0009999999)
@example(999999999.9999999)
@example(1e9)
@example(0.1 + 0.2)
@example(5e-324)
def test_a_number_has_the_digits_it_has_elsewhere(number: float) -> None:
    """Short decimals are written without orjson, and as it would."""
    for code, form in ((5, "<d"), (4, "<f")):
        with suppress(OverflowError):  # of what is no 4 bytes
            data = b"\0" + pack(form, number)
            rows = [(None, unpack(form, data[1:]))]

            assert (as_json(rows, []), 1) == json_of([Storage(code, len(data) - 1)], "insert", data, [])


def written(value: object, alone: int) -> tuple[bytes, int]:
    """A row of one column, whose function decodes it to that value."""
    reader = _native.Reader([("sized", 1, 0, lambda _: value)])
    got: tuple[bytes, int] = _native.json_rows(None, reader, bytes([alone]), b"\0\0", 0, 2)
    return got


@pytest.mark.parametrize(
    ("value", "alone"), [(1 << 64, 0), (-(1 << 63) - 1, 0), ("\ud800", 0), (1.5, 0), (True, 0), ([], 0), ("a", 1), (1, 1)], ids=repr
)
def test_what_is_no_json_is_left_to_other_code(value: object, alone: int) -> None:
    """Wide integers, halves of pairs, what is no value, text where only bytes may be: nothing is written in another form."""
    with pytest.raises(ValueError):  # noqa: PT011 - whatever it says
        written(value, alone)


@pytest.mark.parametrize(
    ("value", "shown"),
    [((1 << 64) - 1, b"18446744073709551615"), (-(1 << 63), b"-9223372036854775808"), (None, b"null"), (b"a", b'"YQ=="'), ("a", b'"a"')],
    ids=repr,
)
def test_what_a_function_decodes_is_written_by_its_type(value: object, shown: bytes) -> None:
    """The ends of 64 bits, NULL, bytes, text."""
    assert (b"[[null,[%b]]]" % shown, 1) == written(value, int(isinstance(value, bytes)))


@pytest.mark.parametrize("alone", [b"", b"\0\0"])
def test_a_byte_for_each_column_is_asked_for(alone: bytes) -> None:
    """No column is looked up behind the end."""
    with pytest.raises(ValueError, match="a byte for each column"):
        _native.json_rows(None, _native.Reader([("year", 0, 0, None)]), alone, b"\0\1", 0, 2)


@pytest.mark.parametrize("arguments", [(b"", 0, 0), (bytes(12), 0, 0), (bytes(20), -1, 5), (bytes(20), 0, 8)], ids=repr)
def test_headers_outside_of_their_block_are_not_counted(arguments: tuple[bytes, int, int]) -> None:
    """The size of an event is read inside the block alone."""
    with pytest.raises(ValueError, match="outside"):
        _native.hops(*arguments)


@given(st.binary(max_size=200), st.lists(st.integers(0, 80), max_size=6), st.integers(0, 220), st.integers(-1, 220))
def test_headers_are_counted_as_python_counts(data: bytes, sizes: list[int], start: int, last: int) -> None:
    """As many, up to the same place."""
    block, at = bytearray(data), 0
    for size in sizes:
        if at + 19 <= len(block):
            pack_into("<4xB4xII", block, at, 2, size, 0)
            at += size
    last = min(last, len(block) - 13)

    assert header_count.hops(bytes(block), start, last) == _native.hops(bytes(block), start, last)
