"""Row images: from the bytes of a rows event to rows. No I/O.

Format (MySQL 5.1-9.7, MariaDB 5.1-11.8), after the 19 bytes of header:

    6   table id (4 in the oldest logs)
    2   flags, see `images`
    2+n v2 only: extra data, its length (these 2 bytes included) first
    length  number of columns
    bitmap  columns present in the (first) image, lowest bit first
    bitmap  updates only: columns present in the image after
    then rows: an image, for updates two; an image is a bitmap of NULLs over the columns present, then the values

A row is read by straight-line code that is generated for its table layout and for the NULL bitmap at hand, so that neighbours
of fixed width come out of one Struct and no column asks whether it is NULL. Rows whose bitmap stays rare are read eight columns
at a time, by code for the byte of the bitmap that is theirs. Generated source holds numbers and our own names
only, never a name from the log. Where there is compiled code (`compiled`), it reads the rows, and the generated code what is odd.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property, partial
from struct import Struct, error as StructError
from typing import Any, NamedTuple

from dblog_tasks.errors import MalformedLog
from dblog_tasks.event import Row, RowPair
from dblog_tasks.mysql import compiled, native, table_map as wire, values
from dblog_tasks.mysql.charsets import decode_text

INSERT, UPDATE, DELETE = "insert", "update", "delete"
RARE = 3  # a NULL bitmap seen this often gets code of its own
COMPILED_MAX = 64  # bitmaps with code of their own, a layout

Add = Callable[[RowPair], None]
Run = Callable[[bytes, int, int, Add], int]
Image = Callable[[bytes, int], tuple[Row, int]]
Json = Callable[[bytes, int, int], tuple[bytes, int]]
UNREADABLE = (StructError, IndexError, ValueError, OverflowError)


class Storage(NamedTuple):
    """How a column's values lie in an image.

    Attributes:
        code, meta: type and its metadata as the log has them; of a temporal of before MySQL 5.6 the digits of its fraction.
        unsigned: integers are unsigned.
        charset: of text; `binary` for bytes; `uuid`, `inet4`, `inet6` for bytes that are written as such.
    """

    code: int
    meta: int
    unsigned: bool = False
    charset: str = ""


class Field(NamedTuple):
    """What the generator knows of a type.

    Attributes:
        letters: Struct codes of the fixed part: the value, or the length of what follows.
        value: expression of the value over the fixed parts `{0}`, `{1}`; or over `{data}`, the bytes that follow.
        size: expression of the number of bytes that follow, over the fixed parts; empty for a value of fixed width.
        names: what the expressions need.
        fallible: the value is the bytes themselves where the expression cannot decode them.
    """

    letters: str
    value: str = "{0}"
    size: str = ""
    names: Mapping[str, Any] = {}
    fallible: bool = False


_LENGTHS = {1: ("B", "{0}"), 2: ("H", "{0}"), 3: ("HB", "{0} | {1} << 16"), 4: ("I", "{0}")}
_INTEGERS = {wire.TINY: "bB", wire.SHORT: "hH", wire.LONG: "iI", wire.LONGLONG: "qQ"}
_FAST_CHARSETS = {"utf8mb4": "", "ascii": "'ascii'"}  # argument of bytes.decode


def field(storage: Storage) -> Field:
    """Return how values of this storage are read. Raises ValueError for a type or size that cannot be read."""
    maker = FIELDS.get(storage.code)
    if maker is None:
        raise ValueError(f"column type {storage.code}")
    return maker(storage)


def _integer(storage: Storage) -> Field:
    return Field(_INTEGERS[storage.code][storage.unsigned])


def _int24(storage: Storage) -> Field:
    return Field("HB" if storage.unsigned else "Hb", "{0} | {1} << 16")


def _digits(storage: Storage) -> int:
    if storage.meta > 6:
        raise ValueError(f"{storage.meta} digits of a second")
    return storage.meta


def _temporal(width: int, reader: Callable[[int], Callable[[bytes], str]]) -> Callable[[Storage], Field]:
    """A temporal; the ones without a fraction come again and again and are remembered by their bytes."""

    def make(storage: Storage) -> Field:
        digits = _digits(storage)
        if digits == 0:
            return Field(f"{width}s", "temporal{n}[{0}]", names={"temporal{n}": values.Memo(reader(0))})
        return Field(f"{width + (digits + 1) // 2}s", "temporal{n}({0})", names={"temporal{n}": reader(digits)})

    return make


def _big(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _little(data: bytes) -> int:
    return int.from_bytes(data, "little")


def _decimal(storage: Storage) -> Field:
    precision, scale = storage.meta >> 8, storage.meta & 0xFF
    memo: values.Memo[bytes, str] = values.Memo(values.decimal_reader(precision, scale))
    return Field(f"{values.decimal_size(precision, scale)}s", "decimal{n}[{0}]", names={"decimal{n}": memo})


def _old(
    widths: Sequence[int], whole: Callable[[bytes], str], fraction: Callable[[int], Callable[[bytes], str]]
) -> Callable[[Storage], Field]:
    """A temporal of before MySQL 5.6; `widths` by digits of its fraction."""

    def make(storage: Storage) -> Field:
        digits = _digits(storage)
        return Field(f"{widths[digits]}s", "fixed{n}({0})", names={"fixed{n}": fraction(digits) if digits else whole})

    return make


def _text(storage: Storage, length_bytes: int) -> Field:
    letters, size = _LENGTHS[length_bytes]
    if storage.charset == "binary":
        return Field(letters, "{data}", size)
    codec = _FAST_CHARSETS.get(storage.charset)
    if codec is not None:
        return Field(letters, f"{{data}}.decode({codec})", size, fallible=True)
    return Field(letters, "text{n}({data})", size, {"text{n}": _decoder(storage.charset)})


def _unpacked(storage: Storage, length_bytes: int) -> Field:
    """A compressed column: most values are whole only after they were inflated."""
    letters, size = _LENGTHS[length_bytes]
    decode = _decoder(storage.charset) if storage.charset != "binary" else bytes
    return Field(letters, "text{n}(inflate({data}))", size, {"text{n}": decode, "inflate": values.inflate_column})


def _decoder(charset: str) -> Callable[[bytes], str | bytes]:
    return lambda data: decode_text(data, charset)


def _varchar(storage: Storage) -> Field:
    return _text(storage, 1 if storage.meta < 256 else 2)


def _varchar_compressed(storage: Storage) -> Field:
    return _unpacked(storage, 1 if storage.meta < 256 else 2)


def _char(storage: Storage) -> Field:
    """CHAR without its trailing blanks; BINARY without its trailing zeros, which are put back, and the like of it."""
    written = ADDRESSES.get(storage.charset)
    if written:
        value = "address{n}({data}.ljust(%d, zero))" % storage.meta
        return Field("B", value, "{0}", {"zero": b"\0", "address{n}": _sized(storage.meta, written)})
    made = _varchar(storage)
    return made._replace(value="{data}.ljust(%d, zero)" % storage.meta, names={"zero": b"\0"}) if storage.charset == "binary" else made


def _sized(size: int, written: Callable[[bytes], str]) -> Callable[[bytes], str]:
    def read(data: bytes) -> str:
        if len(data) != size:
            raise ValueError(f"{len(data)} bytes, expected {size}")
        return written(data)

    return read


# What stands for a character set where bytes are written in a form of their own.
ADDRESSES: Mapping[str, Callable[[bytes], str]] = {"uuid": values.uuid_text, "inet4": values.inet4_text, "inet6": values.inet6_text}


def _blob(storage: Storage) -> Field:
    if not 1 <= storage.meta <= 4:
        raise ValueError(f"a blob whose length has {storage.meta} bytes")
    return (_unpacked if storage.code == wire.BLOB_COMPRESSED else _text)(storage, storage.meta)


def _bytes(storage: Storage) -> Field:
    return _blob(Storage(storage.code, storage.meta, charset="binary"))


def _json(storage: Storage) -> Field:
    from dblog_tasks.mysql.json_binary import json_value  # noqa: PLC0415 - few tables hold such

    return _bytes(storage)._replace(value="json({data})", names={"json": json_value})


def _enum(storage: Storage) -> Field:
    if storage.meta not in (1, 2):
        raise ValueError(f"an enum of {storage.meta} bytes")
    return Field("BH"[storage.meta - 1])


def _set(storage: Storage) -> Field:
    if not 1 <= storage.meta <= 8:
        raise ValueError(f"a set of {storage.meta} bytes")
    letter = {1: "B", 2: "H", 4: "I", 8: "Q"}.get(storage.meta)
    return Field(letter) if letter else Field(f"{storage.meta}s", "little({0})", names={"little": _little})


def _bit(storage: Storage) -> Field:
    if not 1 <= storage.meta <= 64:
        raise ValueError(f"BIT({storage.meta})")
    return Field(f"{(storage.meta + 7) // 8}s", "be({0})", names={"be": _big})


# Column type -> how to read it. TYPED_ARRAY never stands in a log: the server leaves such hidden columns out.
FIELDS: Mapping[int, Callable[[Storage], Field]] = {
    **dict.fromkeys(_INTEGERS, _integer),
    wire.INT24: _int24,
    wire.FLOAT: lambda _: Field("f"),
    wire.DOUBLE: lambda _: Field("d"),
    wire.YEAR: lambda _: Field("B", "{0} and {0} + 1900"),
    wire.DATE: lambda _: Field("HB", "dates[{0} | {1} << 16]", names={"dates": values.DATES}),
    wire.NEWDATE: lambda _: Field("HB", "dates[{0} | {1} << 16]", names={"dates": values.DATES}),
    wire.DATETIME2: _temporal(5, values.datetime2_reader),
    wire.TIMESTAMP2: _temporal(4, values.timestamp2_reader),
    wire.TIME2: _temporal(3, values.time2_reader),
    wire.DATETIME: _old((8, 6, 6, 7, 7, 7, 8), values.old_datetime, values.hires_datetime_reader),
    wire.TIMESTAMP: _old((4, 5, 5, 6, 6, 7, 7), values.old_timestamp, values.hires_timestamp_reader),
    wire.TIME: _old((3, 4, 4, 5, 5, 5, 6), values.old_time, values.hires_time_reader),
    wire.NEWDECIMAL: _decimal,
    wire.VARCHAR: _varchar,
    wire.VAR_STRING: _varchar,
    wire.VARCHAR_COMPRESSED: _varchar_compressed,
    wire.STRING: _char,
    **dict.fromkeys((wire.TINY_BLOB, wire.BLOB, wire.MEDIUM_BLOB, wire.LONG_BLOB, wire.BLOB_COMPRESSED), _blob),
    wire.ENUM: _enum,
    wire.SET: _set,
    wire.BIT: _bit,
    wire.JSON: _json,
    wire.GEOMETRY: _bytes,
    wire.VECTOR: _bytes,
}


def _native_column(storage: Storage, made: Field) -> native.Column:
    """Return a column for the compiled reader; what that does not know is read by our expression over the bytes of the value."""
    known = None if storage.charset in ADDRESSES else native.column(storage)
    if known is not None:
        return known
    layout, value = Struct("<" + made.letters), made.value.replace("{n}", "")
    names = {name.replace("{n}", ""): thing for name, thing in made.names.items()} | {"unpack": layout.unpack}
    if made.size:
        source = f"lambda data: {value.format(data='data')}"
    else:
        parts = [f"parts[{part}]" for part in range(len(layout.unpack(bytes(layout.size))))]
        source = f"lambda data: (lambda parts: {value.format(*parts)})(unpack(data))"
    return "sized" if made.size else "fixed", layout.size, 0, eval(source, names)  # noqa: S307 - our own names, as below


class RowReader:
    """Reads the rows of one table layout: `read(operation, data, at, end, where)`."""

    def __init__(self, columns: Sequence[Storage]) -> None:
        """Raises ValueError when a column's type cannot be read."""
        if not columns:
            raise ValueError("a table without columns")
        self._fields = [field(column) for column in columns]
        self._width = (len(columns) + 7) // 8
        self._runs: dict[str, dict[bytes, Run]] = {INSERT: {}, UPDATE: {}, DELETE: {}}
        self._seen: dict[tuple[str, bytes], int] = {}
        self._native = native.readers(list(map(_native_column, columns, self._fields))) if compiled.extension() else None

    @cached_property
    def _image(self) -> Image:
        return _whole_image(self._fields)

    def image(self, data: bytes, at: int) -> tuple[Row, int]:
        """Return the image at `at` and where it ends. Raises what code for bytes raises; past the end of `data` is no error."""
        if self._native is not None:
            with suppress(MalformedLog, *UNREADABLE):  # as in `read`
                return self._native.image(data, at)
        return self._image(data, at)

    def json(self, operation: str, alone: bytes) -> Json | None:
        """Return the function that gives rows as a plan writes them, and their number; None without compiled code.

        It raises what `UNREADABLE` names, or MalformedLog: `read` tells why. `alone`: a byte for each column, not 0 where bytes stand as
        base64 and nothing around it.
        """
        return None if self._native is None else partial(self._native.json[operation], alone)

    def read(self, operation: str, data: bytes, at: int, end: int, where: str) -> list[RowPair]:
        """Return the rows between `at` and `end`. Raises MalformedLog when they do not end there exactly."""
        if self._native is not None:
            with suppress(MalformedLog, *UNREADABLE):  # what is odd is judged below
                return self._native.rows[operation](data, at, end)
        rows: list[RowPair] = []
        add, runs, width = rows.append, self._runs[operation], self._width
        try:
            while at < end:
                run = runs.get(data[at : at + width])
                at = run(data, at, end, add) if run else self._rare(operation, data, at, add)
        except UNREADABLE as error:
            raise MalformedLog(f"a row cannot be read: {error}", where=where) from None
        except MalformedLog as error:  # inside a value, whose own place says nothing
            raise MalformedLog(f"a row cannot be read: {error.what}", where=where) from None
        if at != end:
            raise MalformedLog(f"rows end {at - end} bytes after their event", where=where)
        return rows

    def _rare(self, operation: str, data: bytes, at: int, add: Add) -> int:
        """Read one row of a NULL bitmap without code of its own; make that when the bitmap has been seen often enough."""
        runs, nulls = self._runs[operation], data[at : at + self._width]
        if len(runs) < COMPILED_MAX:
            key = (operation, nulls)
            self._seen[key] = seen = self._seen.get(key, 0) + 1
            if seen >= RARE:
                runs[nulls] = _Source(self._fields, nulls, self._image).run(operation)
            if seen >= RARE or len(self._seen) > values.MEMO_MAX:
                self._seen.clear()
        before, at = (None, at) if operation == INSERT else self._image(data, at)
        after, at = (None, at) if operation == DELETE else self._image(data, at)
        add((before, after))
        return at


def _whole_image(fields: Sequence[Field]) -> Image:
    """Return the function that reads an image of any NULL bitmap: eight columns at a time, by the byte of the bitmap that is theirs."""
    names: dict[str, Any] = {f"chunk{first}": _chunk(fields[first : first + 8], first) for first in range(0, len(fields), 8)}
    parts = [f"r{first}, q = chunk{first}[buf[p + {first // 8}]](buf, q)" for first in range(0, len(fields), 8)]
    row = " + ".join(f"r{first}" for first in range(0, len(fields), 8))
    exec(f"def image(buf, p):\n{_indent([f'q = p + {(len(fields) + 7) // 8}', *parts, f'return {row}, q'], 1)}", names)  # noqa: S102
    image: Image = names["image"]
    return image


def _chunk(fields: Sequence[Field], first: int) -> values.Memo[int, Image]:
    """Return the readers of up to eight columns, by their byte of the NULL bitmap, made when first asked for."""
    return values.Memo(lambda mask: _Source(fields, bytes([mask]), None, first).image())


class _Source:
    """Writes the source of a function for one NULL bitmap, and gathers the objects it needs."""

    def __init__(self, fields: Sequence[Field], nulls: bytes, other: Image | None, first: int = 0) -> None:
        """`other` reads an image of any bitmap; `first` is the number of the first column, for names."""
        self.names: dict[str, Any] = {"nulls": nulls, "other": other}
        self._fields = fields
        self._width = len(nulls)
        self._mask = int.from_bytes(nulls, "little")
        self._first = first

    def image(self) -> Image:
        """Return the function that reads these columns, the bitmap being read already: row and offset after it."""
        lines, row = self._image("a", 0)
        made: Image = self._made(f"def run(buf, p):\n{_indent([*lines, f'return {row}, p'], 1)}")
        return made

    def run(self, operation: str) -> Run:
        """Return the function that reads rows for as long as they have this bitmap, the images of updates both."""
        before = self._image("a", self._width) if operation != INSERT else ([], "None")
        after = self._image("b", self._width) if operation != DELETE else ([], "None")
        lines = [*before[0], *after[0], f"add(({before[1]}, {after[1]}))"]
        if operation == UPDATE:
            unlike = [f"if not ({self._same()}):", "    r, p = other(buf, p)", f"    add(({before[1]}, r))", "    continue"]
            lines = [*before[0], *unlike, *after[0], lines[-1]]
        made: Run = self._made(f"def run(buf, p, end, add):\n    while p < end and {self._same()}:\n{_indent(lines, 2)}\n    return p")
        return made

    def _made(self, source: str) -> Any:
        exec(source, self.names)  # noqa: S102 - source made of numbers and our own names
        return self.names["run"]

    def _same(self) -> str:
        """The condition that the image at `p` has our bitmap."""
        return f"buf[p] == {self._mask}" if self._width == 1 else f"buf[p:p + {self._width}] == nulls"

    def _image(self, prefix: str, off: int) -> tuple[list[str], str]:
        lines: list[str] = []
        parts = _Parts(self, lines, off)
        for index, made in enumerate(self._fields):
            if not self._mask >> index & 1:
                parts.add(made, f"{prefix}{index}", self._first + index)
        parts.end()
        row = ("None" if self._mask >> index & 1 else f"{prefix}{index}" for index in range(len(self._fields)))
        return lines, f"({', '.join(row)},)"


class _Parts:
    """Gathers neighbours of fixed width into one Struct; `off` is how far the image is read past `p`."""

    def __init__(self, source: _Source, lines: list[str], off: int) -> None:
        self._source, self._lines, self._off = source, lines, off
        self._letters = ""
        self._targets: list[str] = []
        self._after: list[str] = []

    def add(self, made: Field, target: str, index: int) -> None:
        """Write the reading of one column into `target`."""
        count = len(Struct("<" + made.letters).unpack(bytes(Struct("<" + made.letters).size)))
        parts = [f"{target}_{part}" for part in range(count)]
        for name, thing in made.names.items():
            self._source.names[name.replace("{n}", str(index))] = thing
        value = made.value.replace("{n}", str(index))
        self._letters += made.letters
        if made.size:
            self._targets += parts
            self._follow(made, value, target, made.size.format(*parts))
        elif value == "{0}":
            self._targets.append(target)
        else:
            self._targets += parts
            self._after.append(f"{target} = {value.format(*parts)}")

    def _follow(self, made: Field, value: str, target: str, size: str) -> None:
        self._flush()
        self._lines += [f"p += {self._off}", f"e = p + ({size})"] if self._off else [f"e = p + ({size})"]
        assignment = f"{target} = {value.format(data='buf[p:e]')}"
        if made.fallible:
            self._lines += [f"try: {assignment}", f"except UnicodeDecodeError: {target} = buf[p:e]"]
        else:
            self._lines.append(assignment)
        self._lines.append("p = e")
        self._off = 0

    def _flush(self) -> None:
        if self._letters == "B":  # a lone byte, most often a length: no Struct is faster
            self._lines.append(f"{self._targets[0]} = buf[p + {self._off}]")
            self._off += 1
        elif self._letters:
            layout = Struct("<" + self._letters)
            name = f"u{len(self._source.names)}"
            self._source.names[name] = layout.unpack_from
            place = f"p + {self._off}" if self._off else "p"
            self._lines.append(f"{', '.join(self._targets)}, = {name}(buf, {place})")
            self._off += layout.size
        self._lines += self._after
        self._letters, self._targets, self._after = "", [], []

    def end(self) -> None:
        """Write what is pending and move `p` past the image."""
        self._flush()
        if self._off:
            self._lines.append(f"p += {self._off}")


def _indent(lines: Sequence[str], depth: int) -> str:
    return "\n".join("    " * depth + line for line in lines)
