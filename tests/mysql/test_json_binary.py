"""Binary JSON: the corpus of a real server, documents written by a small encoder, and bytes that are no document."""

from __future__ import annotations

import json
from pathlib import Path
import struct
from typing import Any

from hypothesis import given, strategies as st
import pytest

from dblog_tasks.errors import DblogError, MalformedLog, UnsupportedLog
from dblog_tasks.mysql.json_binary import DEPTH_MAX, is_faithful, json_expression, json_text, json_value

CORPUS = [json.loads(line) for line in Path(__file__).with_name("json_corpus.jsonl").read_bytes().splitlines()]
DOCUMENTS = [bytes.fromhex(row["hex"]) for row in CORPUS]
SMALL = [data for data in DOCUMENTS if 0 < len(data) < 2000]
OPAQUE = 15
COLUMN = "(SELECT v FROM JSON_TABLE('{}', '$[0]' COLUMNS (v {} PATH '$' ERROR ON ERROR)) AS t)"


def opaque(type_: int, payload: bytes) -> bytes:
    """Return a document that is one opaque value of fewer than 128 bytes."""
    return bytes([OPAQUE, type_, len(payload)]) + payload


def encode(value: Any, *, large: bool) -> bytes:
    """Return the document, its objects and arrays all in the small or all in the large form, nothing but literals inline."""
    kind, body = _encode(value, large=large)
    return bytes([kind]) + body


def _encode(value: Any, *, large: bool) -> tuple[int, bytes]:
    if value is None or isinstance(value, bool):
        return 4, bytes([{None: 0, True: 1, False: 2}[value]])
    if isinstance(value, int):
        return (9, struct.pack("<q", value)) if value < 2**63 else (10, struct.pack("<Q", value))
    if isinstance(value, float):
        return 11, struct.pack("<d", value)
    if isinstance(value, str):
        return 12, _length(len(value.encode())) + value.encode()
    keys = sorted((key.encode() for key in value), key=lambda key: (len(key), key)) if isinstance(value, dict) else []
    values = [value[key.decode()] for key in keys] if isinstance(value, dict) else value
    return _container(keys, [_encode(item, large=large) for item in values], keyed=isinstance(value, dict), large=large)


def _length(size: int) -> bytes:
    return bytes([size]) if size < 128 else bytes([size & 127 | 128]) + _length(size >> 7)


def _container(keys: list[bytes], values: list[tuple[int, bytes]], *, keyed: bool, large: bool) -> tuple[int, bytes]:
    width, letter = (4, "I") if large else (2, "H")
    at = 2 * width + len(keys) * (width + 2) + len(values) * (width + 1)
    key_entries = value_entries = data = b""
    for key in keys:
        key_entries += struct.pack(f"<{letter}H", at + len(data), len(key))
        data += key
    for kind, body in values:
        value_entries += struct.pack(f"<B{letter}", kind, body[0] if kind == 4 else at + len(data))
        data += b"" if kind == 4 else body
    return (0 if keyed else 2) + large, struct.pack(f"<{letter}{letter}", len(values), at + len(data)) + key_entries + value_entries + data


SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=200)
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=9), inner, max_size=5), max_leaves=20
)


@pytest.mark.parametrize("row", CORPUS, ids=lambda row: row["text"][:40])
def test_text_is_what_the_server_prints(row: dict[str, Any]) -> None:
    """Every document of a real server prints as that server prints it."""
    assert row["text"] == json_text(bytes.fromhex(row["hex"]))


def test_faithful_documents_survive_their_text() -> None:
    """What is called faithful, the server gave back equal and printed the same from its text."""
    claimed = [row["text"] for row in CORPUS if is_faithful(bytes.fromhex(row["hex"]))]
    kept = {row["text"] for row in CORPUS if row["same"]}

    assert [] == [text for text in claimed if text not in kept]
    assert len(claimed) > 100


def test_value_is_the_text_or_the_bytes() -> None:
    """A document the server did not get back from its text stays bytes; none is changed."""
    values = [(row, bytes.fromhex(row["hex"]), json_value(bytes.fromhex(row["hex"]))) for row in CORPUS]

    assert [] == [row["text"] for row, data, value in values if value not in (row["text"], data)]
    assert [] == [row["text"] for row, data, value in values if not row["same"] and value != data]


@pytest.mark.parametrize(
    ("data", "faithful"),
    [
        (encode([1, 2.5, "é", None, {"a": [True]}], large=False), True),
        (encode(-0.0, large=False), True),
        (encode(2**64 - 1, large=False), True),
        (b"", True),
        (opaque(246, bytes.fromhex("0201 8105")), False),
        (opaque(15, b"\0"), False),
        (opaque(253, b"text"), False),
    ],
)
def test_faithfulness(data: bytes, *, faithful: bool) -> None:
    """Plain JSON is faithful; decimals, temporals and bytes are not, even where the text looks the same."""
    assert faithful == is_faithful(data)


@given(value=VALUES, large=st.booleans())
def test_documents_round_trip(value: Any, *, large: bool) -> None:
    """Python's own parser gets back from the text what was encoded, in either form, and the document is faithful."""
    data = encode(value, large=large)

    assert repr(_sorted(value)) == repr(json.loads(json_text(data)))
    assert is_faithful(data)


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value, key=lambda key: (len(key.encode()), key.encode()))}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e14, "100000000000000.0"),
        (1e15, "1e15"),
        (1234567890123456.5, "1234567890123456.5"),
        (1e-15, "0.000000000000001"),
        (1e-16, "1e-16"),
        (-1.5e300, "-1.5e300"),
        (5e-324, "5e-324"),
        (-0.0, "-0.0"),
    ],
)
def test_doubles_print_as_the_server_does(value: float, text: str) -> None:
    """An exponent only from 1e15 and below 1e-15, without a plus sign, and never an integer."""
    assert text == json_text(encode(value, large=False))


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "null"),
        (b"\x04\x01 what follows", "true"),
        (opaque(253, "é\n".encode()), '"é\\n"'),
        (opaque(253, b"\xff"), '"base64:type253:/w=="'),
        (opaque(13, b"abc"), '"base64:type13:YWJj"'),
    ],
)
def test_rare_documents(data: bytes, text: str) -> None:
    """No bytes are null, what follows a document is not part of it, and old or unknown opaque types print."""
    assert text == json_text(data)


@pytest.mark.parametrize(
    ("data", "sql"),
    [
        (b"", "CAST(_utf8mb4'null' AS JSON)"),
        (encode("it's", large=False), "CAST(_utf8mb4'\"it''s\"' AS JSON)"),
        (encode("a\\b", large=False), "CAST(_utf8mb4 X'22615c5c6222' AS JSON)"),
        (opaque(246, bytes.fromhex("0302 8132")), "JSON_EXTRACT(JSON_ARRAY(CAST('1.50' AS DECIMAL(3,2))), '$[0]')"),
        (opaque(15, b"\0A"), "JSON_EXTRACT(JSON_ARRAY(X'0041'), '$[0]')"),
        (b"\0" + struct.pack("<HHHHBH", 1, 15, 11, 1, OPAQUE, 12) + b"k\x0f\1\xff", "JSON_OBJECT(_utf8mb4'k', X'ff')"),
        (
            opaque(16, b"\1\2"),
            f"JSON_EXTRACT(JSON_ARRAY({COLUMN.format('[258]', 'BIT(16)')}), '$[0]')",
        ),
    ],
)
def test_expression(data: bytes, sql: str) -> None:
    """What is faithful is a cast of its text; the rest is built of its parts. The corpus' maker tries all of them on a server."""
    assert sql == json_expression(data)


def test_every_document_of_a_server_has_an_expression() -> None:
    """Every document the server made can be made again, by text that means the same in every sql_mode: without a backslash."""
    assert [] == [data.hex() for data in DOCUMENTS if "\\" in json_expression(data)]


@pytest.mark.parametrize(
    ("type_", "payload"), [(253, b"a"), (13, b"a"), (255, b""), (249, b"x" * 256), (254, b"x" * 256), (16, b"x" * 9), (16, b"")]
)
def test_value_no_sql_makes_is_refused(type_: int, payload: bytes) -> None:
    """A type no expression has, or a value too long for its type, is named instead of built as something else."""
    with pytest.raises(UnsupportedLog, match=f"opaque type {type_}"):
        json_expression(bytes([OPAQUE, type_]) + _length(len(payload)) + payload)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"\x0dabc", "type 13, expected 0 to 12 or 15"),
        (b"\x04", "literal"),
        (b"\x04\x03", "literal 3"),
        (b"\x05\x01", "1 bytes left, expected a number of 2"),
        (b"\x0b" + struct.pack("<d", float("nan")), "double nan"),
        (b"\x0c\x05abc", "3 bytes left, expected 5"),
        (b"\x0c" + b"\x80" * 6, "more than 5 bytes"),
        (b"\x0c\x80", "the end, expected a length"),
        (b"\x0c\x02\xff\xfe", "expected UTF-8"),
        (b"\x02\x01\x00", "2 bytes left, expected 4 of count"),
        (b"\x02\x00\x00\x05\x00", "size 5, expected 4 to 4"),
        (b"\x02\x00\x00\x03\x00", "size 3, expected 4 to 4"),
        (b"\x02\x01\x00\x07\x00\x0c\x04\x00", "offset 4 inside the header of 7 bytes"),
        (b"\x02\x01\x00\x07\x00\x0c\xff\xff", "the end, expected a length"),
        (b"\x00\x01\x00\x0b\x00\xff\x00\x01\x00\x04\x00\x00", "a key of 1 bytes at offset 255"),
        (b"\x00" + struct.pack("<HHHHHHBHBH", 2, 20, 18, 1, 19, 1, 4, 0, 4, 0) + b"ba", "expected ascending keys"),
        (b"\x00" + struct.pack("<HHHHHHBHBH", 2, 19, 18, 1, 18, 1, 4, 0, 4, 0) + b"a", "expected ascending keys"),
        (b"\x00" + struct.pack("<HHHHBH", 1, 12, 11, 1, 4, 0) + b"\xff", "in a key, expected UTF-8"),
        (b"\x02" + struct.pack("<HHBHBH", 2, 15, 12, 10, 12, 10) + b"\x04abcd", "parts that overlap"),
        (opaque(246, b"\x01"), "a decimal without precision"),
        (opaque(246, b"\x02\x03\x80\x00"), "decimal(2,3)"),
        (opaque(246, b"\x05\x00\x80"), "decimal(5,0) in 1 bytes"),
        (opaque(246, b"\x02\x00\xff"), "127 as 2 decimal digits"),
        (opaque(12, b"\x00" * 7), "7 bytes, expected 8"),
        (opaque(12, struct.pack("<q", -1)), "temporal value -1"),
        (opaque(12, struct.pack("<q", 24 << 36)), "temporal value"),
        (opaque(11, struct.pack("<q", 60 << 24)), "temporal value"),
        (opaque(7, struct.pack("<q", 1_000_000)), "temporal value"),
    ],
)
def test_malformed_document_is_refused(data: bytes, found: str) -> None:
    """What is not a document is refused with what was found and at which byte."""
    with pytest.raises(MalformedLog) as caught:
        json_text(data)

    assert found in str(caught.value)


def test_nesting_ends_where_the_servers_does() -> None:
    """100 levels are read; the 101st is refused."""
    deepest: Any = []
    for _ in range(DEPTH_MAX - 1):
        deepest = [deepest]

    assert "[" * 100 + "]" * 100 == json_text(encode(deepest, large=False))
    with pytest.raises(MalformedLog, match="more than 100 levels"):
        json_text(encode([deepest], large=False))


def test_overlapping_parts_cost_no_more_than_the_document() -> None:
    """90 arrays, each holding the next one twice, would be 2**90 values: the reader stops after the document's own size."""
    body = struct.pack("<HH", 0, 4)
    for _ in range(90):
        body = struct.pack("<HHBHBH", 2, 10 + len(body), 2, 10, 2, 10) + body

    with pytest.raises(MalformedLog, match="overlap"):
        json_text(b"\x02" + body)


def test_cut_document_is_refused() -> None:
    """No document of a server can be cut anywhere and still be one."""
    for data in SMALL:
        for end in range(1, len(data), 1 + len(data) // 50):
            with pytest.raises(MalformedLog):
                json_text(data[:end])


@given(st.binary(max_size=400))
def test_any_bytes_are_a_value_or_malformed(data: bytes) -> None:
    """Bytes of any kind give text of bounded size or a declared error."""
    _check_total(data)


@given(st.sampled_from(SMALL), st.data())
def test_damaged_documents_are_a_value_or_malformed(document: bytes, data: st.DataObject) -> None:
    """A server's document with some bytes changed gives text of bounded size or a declared error."""
    changed = bytearray(document)
    for at in data.draw(st.lists(st.integers(0, len(document) - 1), min_size=1, max_size=4)):
        changed[at] = data.draw(st.integers(0, 255))
    _check_total(bytes(changed))


def _check_total(data: bytes) -> None:
    try:
        text = json_text(data)
        json.loads(text)
        assert len(text) <= 8 * len(data) + 8
        json_expression(data)
    except DblogError:
        pass
