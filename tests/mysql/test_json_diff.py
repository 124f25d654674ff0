"""JSON diffs: documents of a real server taken apart and put together again, and diffs of every kind that fit or do not."""

from __future__ import annotations

from collections.abc import Callable
import json
from pathlib import Path
from typing import Any

from hypothesis import given, strategies as st
import pytest

from dblog_tasks.errors import DblogError, MalformedLog
from dblog_tasks.mysql.json_binary import json_text
from dblog_tasks.mysql.json_diff import Scalar, apply_diffs, read_tree, write_tree
from tests.mysql.binlog_writer import json_diff
from tests.mysql.test_json_binary import VALUES, encode

CORPUS = [json.loads(line) for line in Path(__file__).with_name("json_corpus.jsonl").read_bytes().splitlines()]
REPLACE, INSERT, REMOVE = range(3)


def document(value: Any) -> bytes:
    """A value as a document, laid out as servers do."""
    return write_tree(read_tree(encode(value, large=True)))


def patched(value: Any, *diffs: tuple[Any, ...]) -> str:
    """The text of a document after diffs: operation, path and value."""
    written = b"".join(json_diff(operation, path, *map(document, new)) for operation, path, *new in diffs)
    return json_text(apply_diffs(document(value), written))


@pytest.mark.parametrize("row", CORPUS, ids=lambda row: row["text"][:40])
def test_a_document_of_a_server_is_put_together_as_it_was(row: dict[str, Any]) -> None:
    """Byte for byte, but for the holes that an update in its place leaves."""
    data = bytes.fromhex(row["hex"]) or b"\x04\0"
    again = write_tree(read_tree(data))

    assert data == again or len(data) > len(again)
    assert row["text"] == json_text(again)


def test_few_documents_of_the_corpus_have_holes() -> None:
    """Those it holds on purpose."""
    documents = [bytes.fromhex(row["hex"]) or b"\x04\0" for row in CORPUS]

    assert 4 == sum(data != write_tree(read_tree(data)) for data in documents)


@given(VALUES, st.booleans())
def test_a_document_of_any_layout_says_the_same(value: Any, large: bool) -> None:  # noqa: FBT001 - drawn
    """Small or large, with its numbers in their entries or not."""
    data = encode(value, large=large)
    again = write_tree(read_tree(data))

    assert json_text(data) == json_text(again)
    assert again == write_tree(read_tree(again))


@pytest.mark.parametrize("size", [65_530, 65_536, 70_000])
def test_a_document_that_outgrows_the_small_form_takes_the_large_one(size: int) -> None:
    """At an offset of more than 16 bits, in itself and in what holds it."""
    made = {"a": ["x" * size, 70_000], "b": 1}

    assert json.loads(patched(made, (REPLACE, "$.b", 70_000))) == {**made, "b": 70_000}
    assert json.loads(patched({"a": [], "b": 1}, (INSERT, "$.a[0]", "x" * size))) == {"a": ["x" * size], "b": 1}


DOC = {"a": [1, {"b": 2}, "x"], "k": "v", "ü k": None, 'q"': True}
DIFFS: list[tuple[tuple[Any, ...], Callable[[Any], Any]]] = [
    ((REPLACE, "$.k", 5), lambda d: d | {"k": 5}),
    ((REPLACE, "$.a", None), lambda d: d | {"a": None}),
    ((REPLACE, "$.a[1].b", 1 << 40), lambda d: d | {"a": [1, {"b": 1 << 40}, "x"]}),
    ((REPLACE, "$.a[last]", "y"), lambda d: d | {"a": [1, {"b": 2}, "y"]}),
    ((REPLACE, "$.a[last-2]", "y"), lambda d: d | {"a": ["y", {"b": 2}, "x"]}),
    ((REPLACE, '$."ü k"', 1.5), lambda d: d | {"ü k": 1.5}),
    ((REPLACE, '$."q\\""', []), lambda d: d | {'q"': []}),
    ((INSERT, "$.new", {"x": [1]}), lambda d: d | {"new": {"x": [1]}}),
    ((INSERT, '$."\\u00e9\\n"', False), lambda d: d | {"é\n": False}),
    ((INSERT, "$.a[0]", 0), lambda d: d | {"a": [0, *d["a"]]}),
    ((INSERT, "$.a[3]", 3), lambda d: d | {"a": [*d["a"], 3]}),
    ((INSERT, "$.a[9]", 9), lambda d: d | {"a": [*d["a"], 9]}),
    ((INSERT, "$.a[last]", 9), lambda d: d | {"a": [1, {"b": 2}, 9, "x"]}),
    ((REMOVE, "$.k"), lambda d: {key: value for key, value in d.items() if key != "k"}),
    ((REMOVE, "$.a[1]"), lambda d: d | {"a": [1, "x"]}),
    ((REMOVE, "$.a[1].b"), lambda d: d | {"a": [1, {}, "x"]}),
]


@pytest.mark.parametrize(("diff", "then"), DIFFS, ids=[f"{diff[0]} {diff[1]}" for diff, _ in DIFFS])
def test_a_diff_changes_what_its_path_names(diff: tuple[Any, ...], then: Callable[[Any], Any]) -> None:
    """And nothing else."""
    assert then(DOC) == json.loads(patched(DOC, diff))


def test_diffs_follow_each_other() -> None:
    """Each sees what those before it made; none at all leave the bytes as they are."""
    assert "[1, 3]" == patched([1, 2], (INSERT, "$[2]", 3), (REMOVE, "$[1]"))
    assert b"odd" == apply_diffs(b"odd", b"")


def test_an_opaque_value_stays_what_it_is() -> None:
    """Its bytes are carried along: a decimal is no number, a date no string."""
    decimal = bytes.fromhex("0ff60402018105")

    changed = apply_diffs(encode({"a": 1}, large=False), json_diff(INSERT, "$.d", decimal))

    assert {b"a": Scalar(9, b"\1".ljust(8, b"\0")), b"d": Scalar(15, decimal[1:])} == read_tree(changed)


@pytest.mark.parametrize(
    "diff",
    [
        (REPLACE, "$.none", 1),
        (REPLACE, "$.a[3]", 1),
        (REPLACE, "$.k.x", 1),
        (REPLACE, "$.k[0]", 1),
        (REPLACE, "$.a[last-3]", 1),
        (INSERT, "$.k", 1),
        (INSERT, "$.a.x", 1),
        (INSERT, "$.k[0]", 1),
        (INSERT, "$.none.x", 1),
        (REMOVE, "$.none"),
        (REMOVE, "$.a[3]"),
        (REMOVE, "$.a.b"),
        (REMOVE, "$"),
        (REMOVE, "k"),
        (REMOVE, "$.a[]"),
        (REMOVE, "$.a[last-]"),
        (REMOVE, "$.a[*]"),
        (REMOVE, "$**.b"),
        (REMOVE, '$."k'),
        (3, "$.k", 1),
    ],
)
def test_a_diff_that_does_not_fit_is_malformed(diff: tuple[Any, ...]) -> None:
    """Nothing where it points, something where it inserts, no path: the log and the document do not belong together."""
    with pytest.raises(MalformedLog, match="JSON diff"):
        patched(DOC, diff)


def test_a_key_no_document_can_hold_is_malformed() -> None:
    """Its length has two bytes."""
    with pytest.raises(MalformedLog, match="65,535"):
        patched({}, (INSERT, f"$.{'k' * 70_000}", 1))


@given(VALUES, st.binary(max_size=40) | st.just(json_diff(INSERT, "$.a", b"\x04\0")), st.data())
def test_any_bytes_are_diffs_or_malformed(value: Any, diffs: bytes, data: st.DataObject) -> None:
    """Whatever the bytes, of document and diffs, the only error is a declared one, and what comes out is a document."""
    made = bytearray(encode(value, large=data.draw(st.booleans())))
    for _ in range(data.draw(st.integers(0, 2))):
        made[data.draw(st.integers(0, len(made) - 1))] = data.draw(st.integers(0, 255))
    try:
        json_text(apply_diffs(bytes(made), diffs))
    except DblogError as error:
        assert isinstance(error, MalformedLog)
