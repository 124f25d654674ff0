"""JSON diffs: a document before a partial update and the diffs of the log, to the document after it. No I/O.

Law: bytes in, bytes out, in the format of `json_binary`. A diff that does not fit its document means that log and document do not
belong together: it is an error, nothing is made to fit. The document that comes out is laid out as a server would lay out a new one;
one that was updated in its place may have holes and old parts, but is equal.

Format (binary_log_row_value_options=PARTIAL_JSON, MySQL 8.0.3-9.7), in the after image of a PARTIAL_UPDATE_ROWS event:

    diffs        one after the other, until their bytes end (the length of all stands before them)
    diff         operation (1), path (length, bytes), and but for REMOVE a value (length, document)
    operation    0 REPLACE what is at the path; 1 INSERT: a new key, or an element before the one at that place; 2 REMOVE
    path         $ and legs: .key, ."key as JSON text", [place], [last], [last-places]

A length is a length-encoded integer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from json import loads
import re
from struct import error as StructError
from typing import NamedTuple, TypeAlias

from dblog_tasks.errors import MalformedLog
from dblog_tasks.mysql.bodies import read_length
from dblog_tasks.mysql.json_binary import (
    DEPTH_MAX,
    INT16,
    INT32,
    LARGE_ARRAY,
    LARGE_OBJECT,
    LAYOUTS,
    LITERAL,
    NUMBERS,
    OPAQUE,
    SMALL_ARRAY,
    SMALL_OBJECT,
    STRING,
    UINT16,
    UINT32,
    malformed,
    read_extent,
    read_head,
    spend,
)

REPLACE, INSERT, REMOVE = range(3)
NULL = b"\x04\x00"  # what no bytes at all stand for


class Scalar(NamedTuple):
    """A value without parts: its type, and its bytes as they stand outside of an entry."""

    kind: int
    data: bytes


Node: TypeAlias = "dict[bytes, Node] | list[Node] | Scalar"
Leg: TypeAlias = bytes | int  # a key; a place, below zero from the end


def apply_diffs(document: bytes, diffs: bytes) -> bytes:
    """Return the document after the diffs. Raises MalformedLog when one of them is no diff or does not fit."""
    if not diffs:
        return document
    tree = read_tree(document)
    at = 0
    try:
        while at < len(diffs):
            operation, legs, value, at = _diff(diffs, at)
            _APPLY[operation](_parent(tree, legs), legs[-1], value)
    except (ValueError, LookupError, TypeError) as error:
        raise MalformedLog(f"a JSON diff does not fit its document: {error}", where=f"JSON diff byte {at}") from None
    try:
        return write_tree(tree)
    except StructError:
        raise MalformedLog("a JSON diff makes a key of more than 65,535 bytes") from None


# ---- diffs and paths


def _diff(diffs: bytes, at: int) -> tuple[int, Sequence[Leg], Node, int]:
    operation = diffs[at]
    size, at = read_length(diffs, at + 1)
    legs = _legs(_exactly(diffs, at, size).decode())
    at += size
    if operation == REMOVE:
        return operation, legs, Scalar(LITERAL, NULL[1:]), at
    if operation not in _APPLY:
        raise ValueError(f"operation {operation}, expected 0 to 2")
    size, at = read_length(diffs, at)
    return operation, legs, read_tree(_exactly(diffs, at, size)), at + size


def _exactly(data: bytes, at: int, size: int) -> bytes:
    if at + size > len(data):
        raise ValueError(f"{size} bytes expected at {at}, {len(data) - at} are there")
    return data[at : at + size]


_LEG = re.compile(r'\.(?:(?P<quoted>"(?:[^"\\]|\\.)*")|(?P<key>[^\s."\[\]]+))|\[(?P<last>last-?)?(?P<place>[0-9]{0,10})\]', re.DOTALL)


def _legs(path: str) -> list[Leg]:
    legs: list[Leg] = []
    at = 1
    while at < len(path):
        found = _LEG.match(path, at)
        if found is None or (not found["place"] and found[0].endswith(("[]", "-]"))):
            raise ValueError(f"path {path!r:.80}")
        at = found.end()
        if found["quoted"] or found["key"]:
            key: str = loads(found["quoted"], strict=False) if found["quoted"] else found["key"]
            legs.append(key.encode())
        else:
            place = int(found["place"] or 0)
            legs.append(-1 - place if found["last"] else place)
    if not legs or not path.startswith("$"):
        raise ValueError(f"path {path!r:.80}, expected $ and what is below it")
    return legs


def _parent(tree: Node, legs: Sequence[Leg]) -> Node:
    for leg in legs[:-1]:
        if isinstance(leg, int):
            array, place = _element(tree, leg)
            tree = array[place]
        else:
            tree = _object(tree)[leg]
    return tree


def _object(node: Node) -> dict[bytes, Node]:
    if not isinstance(node, dict):
        raise TypeError("a key of what is no object")
    return node


def _array(node: Node) -> list[Node]:
    if not isinstance(node, list):
        raise TypeError("a place in what is no array")
    return node


def _element(node: Node, place: int) -> tuple[list[Node], int]:
    """Return the array and the place counted from its start. Raises IndexError when nothing is there."""
    array = _array(node)
    found = place + len(array) if place < 0 else place
    if not 0 <= found < len(array):
        raise IndexError(f"no place {place} in an array of {len(array)}")
    return array, found


def _replace(parent: Node, leg: Leg, value: Node) -> None:
    if isinstance(leg, int):
        array, place = _element(parent, leg)
        array[place] = value
    elif leg in _object(parent):
        _object(parent)[leg] = value
    else:
        raise KeyError(f"no key {leg!r:.80}")


def _insert(parent: Node, leg: Leg, value: Node) -> None:
    if isinstance(leg, int):
        array = _array(parent)
        array.insert(leg if leg >= 0 else max(0, leg + len(array)), value)
    elif leg in _object(parent):
        raise KeyError(f"there is a key {leg!r:.80} already")
    else:
        _object(parent)[leg] = value


def _remove(parent: Node, leg: Leg, value: Node) -> None:
    if isinstance(leg, int):
        array, place = _element(parent, leg)
        del array[place]
    else:
        del _object(parent)[leg]


_APPLY: Mapping[int, Callable[[Node, Leg, Node], None]] = {REPLACE: _replace, INSERT: _insert, REMOVE: _remove}


# ---- documents


def read_tree(document: bytes) -> Node:
    """Return the document as nested objects, arrays and scalars. Raises MalformedLog."""
    document = document or NULL
    return _node(document, [len(document)], document[0], 1, len(document), 0)


def _node(data: bytes, budget: list[int], kind: int, at: int, end: int, depth: int) -> Node:
    if kind in LAYOUTS:
        return _container(data, budget, kind, at, end, depth)
    if kind == LITERAL:
        stop = at + 1
    elif kind in NUMBERS:
        stop = at + NUMBERS[kind].size
    elif kind in (STRING, OPAQUE):
        _, stop = read_extent(data, at + (kind == OPAQUE), end)
    else:
        malformed(f"type {kind}, expected 0 to 12 or 15", at)
    if stop > end:
        malformed(f"{end - at} bytes left, expected {stop - at}", at)
    spend(budget, stop - at, at)
    return Scalar(kind, data[at:stop])


def _container(data: bytes, budget: list[int], kind: int, at: int, end: int, depth: int) -> Node:
    if depth >= DEPTH_MAX:
        malformed(f"more than {DEPTH_MAX} levels", at)
    layout = LAYOUTS[kind]
    count, size, header = read_head(data, layout, at, end)
    spend(budget, header, at)
    stop, entries = at + size, at + header - count * layout.entry.size
    values: list[Node] = []
    width = layout.entry.size - 1
    for type_, raw in layout.entry.iter_unpack(data[entries : at + header]):
        if type_ in layout.inline:
            values.append(Scalar(type_, (raw & (1 << 8 * width) - 1).to_bytes(width, "little")[: _INLINE_SIZES[type_]]))
        elif raw < header:
            malformed(f"a value at offset {raw} inside the header of {header} bytes", at)
        else:
            values.append(_node(data, budget, type_, at + raw, stop, depth + 1))
    if not layout.keyed:
        return values
    keys: list[bytes] = []
    for offset, length in layout.key.iter_unpack(data[at + layout.head.size : entries]):
        if offset < header or offset + length > size:
            malformed(f"a key of {length} bytes at offset {offset}, outside its object", at)
        spend(budget, length, at)
        keys.append(data[at + offset : at + offset + length])
    members = dict(zip(keys, values, strict=True))
    if len(members) != count:
        malformed("a key that is there twice", at)
    return members


_INLINE_SIZES: Mapping[int, int] = {LITERAL: 1, INT16: 2, UINT16: 2, INT32: 4, UINT32: 4}


def write_tree(tree: Node) -> bytes:
    """Return the document, laid out as a server lays out a new one. Raises MalformedLog for one that no server can hold."""
    kind, data = _written(tree, 0)
    return bytes([kind]) + data


def _written(node: Node, depth: int) -> tuple[int, bytes]:
    if isinstance(node, Scalar):
        return node.kind, node.data
    if depth >= DEPTH_MAX:
        malformed(f"more than {DEPTH_MAX} levels", 0)
    keys = sorted(node, key=lambda key: (len(key), key)) if isinstance(node, dict) else []
    members = [node[key] for key in keys] if isinstance(node, dict) else node
    parts = [_written(member, depth + 1) for member in members]
    small, large = (SMALL_OBJECT, LARGE_OBJECT) if isinstance(node, dict) else (SMALL_ARRAY, LARGE_ARRAY)
    data = _laid_out(small, keys, parts)
    return (small, data) if data is not None else (large, _laid_out(large, keys, parts) or b"")


def _laid_out(kind: int, keys: Sequence[bytes], parts: Sequence[tuple[int, bytes]]) -> bytes | None:
    """Return head, entries, keys and values; None when an offset has no room in this form."""
    layout = LAYOUTS[kind]
    width = layout.entry.size - 1
    first = layout.head.size + len(parts) * layout.entry.size + len(keys) * layout.key.size
    size = first + sum(map(len, keys)) + sum([len(data) for type_, data in parts if type_ not in layout.inline])
    if size >> 8 * width:
        if width == 4:
            malformed(f"a document of {size} bytes", 0)
        return None
    pieces, offset = [layout.head.pack(len(parts), size)], first
    for key in keys:
        pieces.append(layout.key.pack(offset, len(key)))
        offset += len(key)
    for type_, data in parts:
        inline = type_ in layout.inline
        pieces.append(bytes([type_]) + (_inlined(type_, data, width) if inline else offset.to_bytes(width, "little")))
        offset += 0 if inline else len(data)
    return b"".join([*pieces, *keys, *[data for type_, data in parts if type_ not in layout.inline]])


def _inlined(kind: int, data: bytes, width: int) -> bytes:
    """Return a value as it stands in its entry: a negative number with its sign up to the end."""
    return data.ljust(width, b"\xff" if kind == INT16 and data[-1] & 0x80 else b"\0")
