"""Rows: the generated readers against the plain one, on real logs and on made ones."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
import json
from pathlib import Path
from struct import pack
from typing import Any
import zlib

from hypothesis import given, strategies as st
import pytest

import dblog_tasks
from dblog_tasks import DblogError, MalformedLog, RowChanges
from dblog_tasks.mysql import binlog, compiled, values
from dblog_tasks.mysql.rows import COMPILED_MAX, RARE, RowReader, Storage
from tests.examples import examples
from tests.mysql import plain_rows

CORPUS = Path(__file__).parents[1] / "corpus"
SHOP, TYPES = CORPUS / "shop", CORPUS / "types"
PARTIAL = "images-"  # rows without all columns: see test_images
LOGS = {
    **{f"shop/{n}": (SHOP / f"shop.00000{n}", "") for n in (1, 2, 3)},
    **{f"shop/nolog/{n}": (SHOP / "nolog" / f"shop.00000{n}", str(SHOP / "schema.sql")) for n in (1, 2, 3)},
    "types": (TYPES / "types.000001", ""),
    **{f"found/{path.name}": (path, "") for path in sorted((CORPUS / "found").glob("*.0*")) if not path.name.startswith(PARTIAL)},
    "types/compressed": (TYPES / "compressed" / "types.000001", str(TYPES / "schema.sql")),
}
SCENARIOS = [
    *(f"mariadb1011/types_{name}" for name in ("checksum_none", "compressed", "full", "meta_nolog")),
    *(f"mysql97/types_{name}" for name in ("checksum_crc32", "full", "meta_minimal")),
]
VERSION_2 = {binlog.WRITE_ROWS_V2, binlog.UPDATE_ROWS_V2, binlog.DELETE_ROWS_V2}
COMPRESSED = {binlog.WRITE_ROWS_COMPRESSED, binlog.UPDATE_ROWS_COMPRESSED, binlog.DELETE_ROWS_COMPRESSED}


@pytest.fixture(scope="module", autouse=True, params=["compiled", "generated"])
def _reader(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test of this file runs with the compiled readers and with the generated ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DBLOG_NATIVE", "1" if request.param == "compiled" else "0")
        if request.param == "compiled" and not compiled.extension():
            pytest.skip("installed without compiled code")
        yield


def read(path: Path, schema: str) -> Iterator[tuple[Any, RowChanges]]:
    """Yield the rows events of a log with their rows."""
    with dblog_tasks.open("mysql", path=str(path), schema=schema or None) as decoder:
        for event in decoder:
            if isinstance(event.body, RowChanges):
                yield event, event.body


def columns_of(event: Any) -> list[plain_rows.Column]:
    """The columns of an event's table for the plain reader."""
    found = []
    for logged, known in zip(event.layout.map.columns, event.layout.table.columns, strict=True):
        digits = int(known.type.partition("(")[2].rstrip(")") or 0) if logged.code in (7, 11, 12) else logged.meta
        charset = known.type if known.type in plain_rows.ADDRESSES else known.charset or "binary"
        found.append(plain_rows.Column(logged.code, digits, known.unsigned, charset))
    return found


def plainly(event: Any) -> list[plain_rows.Pair]:
    """The rows of an event by the plain reader."""
    kind = event._frame.type
    images = plain_rows.images_of(event._frame.body, version=2 if kind in VERSION_2 else 1, update=event.operation == "update")
    if kind in COMPRESSED:
        images = zlib.decompress(images[1 + (images[0] & 7) :])
    return plain_rows.pairs(event.operation, columns_of(event), images)


@pytest.mark.parametrize("name", LOGS)
def test_plain_reader_agrees_on_the_corpus(name: str) -> None:
    """Every rows event of every log of the corpus reads the same, value for value and type for type."""
    path, schema = LOGS[name]
    compared = 0
    for event, body in read(path, schema):
        expected = plainly(event)

        assert repr(expected) == repr(list(body.rows)), event
        compared += len(expected)
    assert compared > 0


PLAINLY: dict[str, list[int]] = {}  # what the plain reader reads of each event, read once for both of the others


@pytest.mark.parametrize("name", SCENARIOS)
def test_plain_reader_agrees_on_the_scenarios(name: str, scenario: Any) -> None:
    """Every rows event of the recorded logs of both vendors reads the same."""
    folder = scenario(name)
    variables = json.loads((folder / "meta.json").read_text())["variables"]
    schema = "" if variables["binlog_row_metadata"] == "FULL" else str(folder / "before.schema.sql")
    changes = [found for log in sorted(folder.glob("mysql-bin.0*")) for found in read(log, schema)]
    if name not in PLAINLY:
        PLAINLY[name] = [hash(repr(plainly(event))) for event, _ in changes]

    assert changes
    for expected, (event, body) in zip(PLAINLY[name], changes, strict=True):
        rows = repr(list(body.rows))
        assert hash(rows) == expected or rows == repr(plainly(event)), event  # the latter shows where they differ


CODEPOINTS = {"utf-8": 0x10FFFF, "ascii": 0x7F, "utf-16-be": 0xFF}
Cell = tuple[bytes, Any]  # a value as the log has it, and as it is read


def integer(code: int, width: int, *, unsigned: bool) -> tuple[Storage, st.SearchStrategy[Cell]]:
    """An integer type and its values."""
    low, high = (0, (1 << 8 * width) - 1) if unsigned else (-(1 << 8 * width - 1), (1 << 8 * width - 1) - 1)
    return Storage(code, 0, unsigned), st.integers(low, high).map(lambda n: (n.to_bytes(width, "little", signed=not unsigned), n))


def text(code: int, meta: int, charset: str, codec: str, width: int) -> tuple[Storage, st.SearchStrategy[Cell]]:
    """A text type and its values."""
    encoded = st.text(st.characters(codec="utf-8", max_codepoint=CODEPOINTS[codec]), max_size=12).map(lambda t: (t.encode(codec), t))
    return Storage(code, meta, charset=charset), encoded.map(lambda c: (len(c[0]).to_bytes(width, "little") + c[0], c[1]))


def raw(code: int, meta: int, width: int, *, fill: int = 0) -> tuple[Storage, st.SearchStrategy[Cell]]:
    """A binary type and its values; `fill`: how long a BINARY is."""
    cells = st.binary(max_size=fill or 300 if width > 1 else fill or 12)
    return Storage(code, meta, charset="binary"), cells.map(lambda b: (len(b).to_bytes(width, "little") + b, b.ljust(fill, b"\0")))


def decimal(precision: int, scale: int) -> tuple[Storage, st.SearchStrategy[Cell]]:
    """A DECIMAL and its values."""
    return Storage(246, precision << 8 | scale), st.integers(1 - 10**precision, 10**precision - 1).map(
        lambda n: (packed_decimal(n, precision, scale), decimal_text(n, scale))
    )


def packed_decimal(value: int, precision: int, scale: int) -> bytes:
    """The bytes of a decimal given in units of its last digit."""
    digits, whole = str(abs(value)).rjust(precision, "0"), precision - scale
    groups = [digits[: whole % 9], *(digits[at : at + 9] for at in range(whole % 9, whole, 9))]
    groups += [digits[at : at + 9] for at in range(whole, precision, 9)]
    packed = b"".join(int(group).to_bytes((len(group) * 4 + 8) // 9, "big") for group in groups if group)
    packed = bytes(byte ^ 0xFF for byte in packed) if value < 0 else packed
    return bytes([packed[0] ^ 0x80]) + packed[1:]


def decimal_text(value: int, scale: int) -> str:
    """A decimal given in units of its last digit, as the database prints it."""
    digits = str(abs(value)).rjust(scale + 1, "0")
    return ("-" if value < 0 else "") + (f"{digits[:-scale]}.{digits[-scale:]}" if scale else digits)


def micro(digits: int) -> st.SearchStrategy[tuple[bytes, str]]:
    """A fraction of that many digits: its bytes and its text."""
    width = (digits + 1) // 2
    return st.integers(0, 10**digits - 1).map(
        lambda n: ((n * 10 ** (digits & 1)).to_bytes(width, "big"), f".{n:0{digits}}" if digits else "")
    )


def datetime2(digits: int) -> tuple[Storage, st.SearchStrategy[Cell]]:
    """A DATETIME and its values, impossible days too."""

    def cell(y: int, m: int, d: int, h: int, i: int, s: int, f: tuple[bytes, str]) -> Cell:
        number = (1 << 39) + ((y * 13 + m) << 22 | d << 17 | h << 12 | i << 6 | s)
        return number.to_bytes(5, "big") + f[0], f"{y:04}-{m:02}-{d:02} {h:02}:{i:02}:{s:02}{f[1]}"

    parts = st.integers(0, 9999), st.integers(0, 12), st.integers(0, 31), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59)
    return Storage(18, digits), st.builds(cell, *parts, micro(digits))


def timestamp2(digits: int) -> tuple[Storage, st.SearchStrategy[Cell]]:
    """A TIMESTAMP and its values."""

    def cell(seconds: int, f: tuple[bytes, str]) -> Cell:
        shown = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
        return seconds.to_bytes(4, "big") + f[0], f"{shown:%Y-%m-%d %H:%M:%S}{f[1]}"

    return Storage(17, digits), st.builds(cell, st.integers(1, 0xFFFF_FFFF), micro(digits))


def time2(digits: int) -> tuple[Storage, st.SearchStrategy[Cell]]:
    """A TIME and its values, of both signs."""

    def cell(h: int, i: int, s: int, f: tuple[bytes, str], negative: bool) -> Cell:  # noqa: FBT001 - drawn
        width = 3 + len(f[0])
        number = int.from_bytes((h << 12 | i << 6 | s).to_bytes(3, "big") + f[0], "big")
        sign = "-" if negative and number else ""
        return ((1 << 8 * width - 1) + (-number if negative else number)).to_bytes(width, "big"), f"{sign}{h:02}:{i:02}:{s:02}{f[1]}"

    return Storage(19, digits), st.builds(cell, st.integers(0, 838), st.integers(0, 59), st.integers(0, 59), micro(digits), st.booleans())


def day(code: int) -> tuple[Storage, st.SearchStrategy[Cell]]:
    """A DATE and its values."""
    return Storage(code, 0), st.builds(
        lambda y, m, d: ((y << 9 | m << 5 | d).to_bytes(3, "little"), f"{y:04}-{m:02}-{d:02}"),
        st.integers(0, 9999),
        st.integers(0, 15),
        st.integers(0, 31),
    )


def unsigned_number(code: int, meta: int, width: int, order: str) -> tuple[Storage, st.SearchStrategy[Cell]]:
    """An ENUM, SET or BIT and its values."""
    return Storage(code, meta), st.integers(0, (1 << 8 * width) - 1).map(lambda n: (n.to_bytes(width, order), n))  # type: ignore[arg-type]


def old_fraction(code: int, digits: int) -> tuple[Storage, st.SearchStrategy[Cell]]:
    """A temporal of before MySQL 5.6 with a fraction, and its values."""
    unit = 10**digits

    def stamp(seconds: int, part: int) -> Cell:
        shown = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
        return seconds.to_bytes(4, "big") + part.to_bytes((digits + 1) // 2, "big"), f"{shown:%Y-%m-%d %H:%M:%S}.{part:0{digits}}"

    def moment(y: int, m: int, d: int, seconds: int, part: int) -> Cell:
        number = (((y * 13 + m) * 32 + d) * 86400 + seconds) * unit + part
        shown = f"{y:04}-{m:02}-{d:02} {seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{part:0{digits}}"
        return number.to_bytes((6, 6, 7, 7, 7, 8)[digits - 1], "big"), shown

    def clock(value: int) -> Cell:
        seconds, part = divmod(abs(value), unit)
        shown = f"{'-' * (value < 0)}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{part:0{digits}}"
        return (value + 3_020_400 * unit).to_bytes((4, 4, 5, 5, 5, 6)[digits - 1], "big"), shown

    parts, last = st.integers(0, unit - 1), 3_020_399 * unit
    cells = {
        7: st.builds(stamp, st.integers(1, (1 << 31) - 1), parts),
        12: st.builds(moment, st.integers(0, 9999), st.integers(0, 12), st.integers(0, 31), st.integers(0, 86399), parts),
        11: st.integers(-last, last).map(clock),
    }
    return Storage(code, digits), cells[code]


def compressed(code: int, meta: int, charset: str) -> tuple[Storage, st.SearchStrategy[Cell]]:
    """A compressed column and its values: empty, as they are, deflated with and without a header."""
    width = meta if code == 140 else 2 if meta > 255 else 1

    def cell(text: str, how: int) -> Cell:
        data = text.encode()
        packer = zlib.compressobj(wbits=-15 if how == 2 else 15)
        packed = bytes([0x82 + 8 * (how == 2)]) + len(data).to_bytes(2, "big") + packer.compress(data) + packer.flush()
        stored = b"" if not data else b"\0" + data if how == 0 else packed
        return len(stored).to_bytes(width, "little") + stored, data if charset == "binary" else text

    return Storage(code, meta, charset=charset), st.builds(cell, st.text(max_size=40), st.integers(0, 2))


def address(charset: str, size: int) -> tuple[Storage, st.SearchStrategy[Cell]]:
    """A UUID, INET4 or INET6 and its values, zeros at the end left out."""
    words = st.lists(st.sampled_from([b"\0\0", b"\0\0", b"\xff\xff", b"\0\1", b"\xab\xcd"]), min_size=size // 2, max_size=size // 2)
    cells = words.map(b"".join) | st.binary(min_size=size, max_size=size)
    return Storage(254, size, charset=charset), cells.map(
        lambda data: (bytes([len(data.rstrip(b"\0"))]) + data.rstrip(b"\0"), plain_rows.ADDRESSES[charset](data))
    )


KINDS: list[tuple[Storage, st.SearchStrategy[Cell]]] = [
    *(integer(code, width, unsigned=u) for code, width in ((1, 1), (2, 2), (9, 3), (3, 4), (8, 8)) for u in (False, True)),
    (Storage(4, 4), st.floats(width=32, allow_nan=False).map(lambda x: (pack("<f", x), x))),
    (Storage(5, 8), st.floats(allow_nan=False).map(lambda x: (pack("<d", x), x))),
    (Storage(13, 0), st.integers(1, 255).map(lambda n: (bytes([n]), 1900 + n)) | st.just((b"\0", 0))),
    day(10),
    day(14),
    *(make(digits) for make in (datetime2, timestamp2, time2) for digits in range(7)),
    *(decimal(p, s) for p, s in ((1, 0), (1, 1), (9, 0), (9, 9), (10, 2), (18, 9), (19, 0), (30, 17), (38, 38), (65, 0), (65, 30))),
    text(15, 80, "utf8mb4", "utf-8", 1),
    text(15, 400, "utf8mb4", "utf-8", 2),
    text(253, 80, "ascii", "ascii", 1),
    text(254, 40, "ucs2", "utf-16-be", 1),
    text(252, 2, "utf8mb4", "utf-8", 2),
    text(252, 4, "utf8mb3", "ascii", 4),
    raw(15, 255, 1),
    raw(15, 256, 2),
    raw(254, 12, 1, fill=12),
    raw(254, 300, 2, fill=300),
    *(raw(252, n, n) for n in (1, 2, 3, 4)),
    raw(255, 4, 4),
    raw(242, 4, 4),
    unsigned_number(247, 1, 1, "little"),
    unsigned_number(247, 2, 2, "little"),
    *(unsigned_number(248, n, n, "little") for n in range(1, 9)),
    *(unsigned_number(16, n, (n + 7) // 8, "big") for n in (1, 8, 9, 63, 64)),
    (Storage(245, 4), st.sampled_from([(b"\x03\x00\x00\x00\x05\x07\x00", "7"), (b"\x00\x00\x00\x00", "null")])),
    (Storage(12, 0), st.just(((20240229235958).to_bytes(8, "little"), "2024-02-29 23:59:58"))),
    (Storage(7, 0), st.just((bytes(4), "0000-00-00 00:00:00")) | st.just(((86400).to_bytes(4, "little"), "1970-01-02 00:00:00"))),
    *(old_fraction(code, digits) for code in (7, 11, 12) for digits in range(1, 7)),
    *(compressed(140, width, charset) for width in (2, 3, 4) for charset in ("utf8mb4", "binary")),
    *(compressed(141, meta, charset) for meta in (255, 256) for charset in ("utf8mb4", "binary")),
    *(address(charset, size) for charset, size in (("uuid", 16), ("inet6", 16), ("inet4", 4))),
    (Storage(11, 0), st.sampled_from([((-8385959).to_bytes(3, "little", signed=True), "-838:59:59"), (b"\0\0\0", "00:00:00")])),
]

SIZES = st.integers(1, 7) | st.sampled_from([8, 9, 15, 16, 17, 33, 64, 65, 130])
OPERATIONS = {"insert": (False, True), "update": (True, True), "delete": (True, False)}


@st.composite
def events(draw: st.DrawFn) -> tuple[str, list[Storage], bytes, list[plain_rows.Pair]]:
    """A rows event: operation, layout, images, and the rows they hold; bitmaps come again, so that some get code of their own."""
    n = draw(SIZES)
    drawn = [KINDS[index] for index in draw(st.lists(st.integers(0, len(KINDS) - 1), min_size=1, max_size=6))]
    pool = [[draw(kind[1]) for _ in range(2)] for kind in drawn]
    kinds, cells = (drawn * n)[:n], (pool * n)[:n]
    patterns = draw(st.lists(st.integers(0, (1 << n) - 1) | st.sampled_from([0, (1 << n) - 1]), min_size=1, max_size=3))
    operation = draw(st.sampled_from(sorted(OPERATIONS)))
    images = b""
    pairs: list[plain_rows.Pair] = []
    for _ in range(draw(st.integers(1, 8))):
        pair: list[tuple[Any, ...] | None] = []
        for present in OPERATIONS[operation]:
            if not present:
                pair.append(None)
                continue
            nulls, which = draw(st.sampled_from(patterns)), draw(st.integers(0, 1))
            row = [None if nulls >> index & 1 else cells[index][(which + index) % 2] for index in range(n)]
            images += nulls.to_bytes((n + 7) // 8, "little") + b"".join(cell[0] for cell in row if cell)
            pair.append(tuple(cell and cell[1] for cell in row))
        pairs.append((pair[0], pair[1]))
    return operation, [kind[0] for kind in kinds], images, pairs


def plain_columns(layout: list[Storage]) -> list[plain_rows.Column]:
    """A layout for the plain reader."""
    return [plain_rows.Column(column.code, column.meta, column.unsigned, column.charset) for column in layout]


@given(events())
def test_what_was_written_is_read(event: tuple[str, list[Storage], bytes, list[plain_rows.Pair]]) -> None:
    """Both readers give back the rows that were encoded, wherever in a block they lie, the first time and when code is at hand."""
    operation, layout, images, written = event
    reader = RowReader(layout)

    assert written == plain_rows.pairs(operation, plain_columns(layout), images)
    for block in (images, b"\xee" * 5 + images + b"\xee" * 9, images):
        at = block.index(images)
        assert repr(written) == repr(reader.read(operation, block, at, at + len(images), "log:4"))


def test_every_null_pattern_of_nine_columns_is_read() -> None:
    """All 512 bitmaps over two bytes, each often enough to get code of its own or, past the limit, none."""
    layout = [Storage(3, 0), Storage(15, 80, charset="utf8mb4"), Storage(18, 3)] * 3
    full = [(b"\1\0\0\0", 1), (b"\2ab", "ab"), (bytes.fromhex("80000000000000"), "0000-00-00 00:00:00.000")] * 3
    reader = RowReader(layout)
    for mask in range(512):
        row = [None if mask >> index & 1 else cell for index, cell in enumerate(full)]
        images = (mask.to_bytes(2, "little") + b"".join(cell[0] for cell in row if cell)) * (RARE + 2)

        assert [(tuple(cell and cell[1] for cell in row), None)] * (RARE + 2) == reader.read("delete", images, 0, len(images), "log:4")


def test_memory_does_not_grow_with_null_bitmaps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bitmaps that never come again are forgotten, and code is made for a limited number."""
    monkeypatch.setenv("DBLOG_NATIVE", "0")
    monkeypatch.setattr(values, "MEMO_MAX", 50)
    reader = RowReader([Storage(13, 0)] * 16)
    for times in (1, RARE):
        for mask in range(1000):
            images = (mask.to_bytes(2, "little") + b"\1" * (16 - mask.bit_count())) * times
            reader.read("insert", images, 0, len(images), "log:4")

            assert len(reader._seen) <= 51
    assert len(reader._runs["insert"]) == COMPILED_MAX


@given(events(), st.data())
def test_rows_that_end_early_are_malformed(event: tuple[str, list[Storage], bytes, list[plain_rows.Pair]], data: st.DataObject) -> None:
    """Cut anywhere but between two rows, alone or before other bytes, an event is refused; between two, the rows before are read."""
    operation, layout, images, written = event
    end = data.draw(st.integers(0, len(images) - 1))
    for block in (images[:end], images):
        reader = RowReader(layout)
        try:
            got = reader.read(operation, block, 0, end, "log:4")
        except MalformedLog as error:
            assert error.where in ("log:4", "")
        else:
            assert repr(written[: len(got)]) == repr(got)
            assert got == plain_rows.pairs(operation, plain_columns(layout), images[:end])


@given(
    st.lists(st.sampled_from([storage for storage, _ in KINDS]), min_size=1, max_size=20),
    st.sampled_from(sorted(OPERATIONS)),
    st.binary(max_size=400),
)
@examples(80)
def test_any_bytes_are_rows_or_malformed(layout: list[Storage], operation: str, data: bytes) -> None:
    """Whatever the bytes, each row takes at least one of them, and the only error is a declared one."""
    reader = RowReader(layout)
    for block in (data, data + data, data * 3):
        try:
            assert len(reader.read(operation, block, 0, len(data), "log:4")) <= len(data)
        except DblogError as error:
            assert isinstance(error, MalformedLog)


@pytest.mark.parametrize(
    "storage",
    [
        Storage(0, 0),
        Storage(6, 0),
        Storage(20, 0),
        Storage(140, 0),
        Storage(7, 7),
        Storage(200, 0),
        Storage(246, 0),
        Storage(246, 66 << 8),
        Storage(246, 5 << 8 | 6),
        Storage(18, 7),
        Storage(17, 255),
        Storage(19, 9),
        Storage(252, 0),
        Storage(252, 5),
        Storage(245, 0),
        Storage(255, 9),
        Storage(247, 0),
        Storage(247, 3),
        Storage(248, 0),
        Storage(248, 9),
        Storage(16, 0),
        Storage(16, 65),
    ],
    ids=lambda storage: f"{storage.code}({storage.meta})",
)
def test_a_type_no_server_makes_has_no_reader(storage: Storage) -> None:
    """A type code or size out of the format is refused before any row is read."""
    with pytest.raises(ValueError, match=r"."):
        RowReader([storage])


def test_a_table_without_columns_has_no_reader() -> None:
    """Rows of no bytes would never end."""
    with pytest.raises(ValueError, match="without columns"):
        RowReader([])


@pytest.mark.parametrize("charset", ["utf8mb4", "utf8mb3", "ascii", "latin1", "gbk", "ucs2"])
@given(data=st.binary(max_size=12) | st.text(max_size=3).map(str.encode))
def test_text_is_what_the_character_set_says(charset: str, data: bytes) -> None:
    """The short way for common character sets gives what the table of character sets gives."""
    layout = [Storage(15, 80, charset=charset)]
    image = b"\0" + bytes([len(data)]) + data

    assert plain_rows.pairs("insert", plain_columns(layout), image) == RowReader(layout).read("insert", image, 0, len(image), "log:4")
