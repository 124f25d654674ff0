"""What is fuzzed: a target takes an input and must come back, or raise a declared error. No tests."""

from __future__ import annotations

import bz2
from collections.abc import Callable, Iterator, Mapping
from functools import cache
import gzip
from io import BytesIO
from itertools import islice
import json
import lzma
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import orjson
import zstandard

import dblog_tasks
from dblog_tasks import part, plan as plans, storage
from dblog_tasks.backend import SALVAGE, STOP
from dblog_tasks.event import PackedRows, RowChanges, binary_columns
from dblog_tasks.mysql import json_binary, json_diff
from dblog_tasks.mysql.sql import TransactionInfo, undo_script
from dblog_tasks.planning import PlanRequest, make_plan
from dblog_tasks.postgres import sql as postgres_sql
from dblog_tasks.postgres.catalog import read_schema
from dblog_tasks.postgres.formats import NAMES as FORMAT_NAMES
from dblog_tasks.storage import compression
from tests.fixtures import ROOT
from tests.fuzz.mutations import CORPUS, binary_log, mutated, old_binary_log

OUTPUT_MAX = 64 << 20  # bytes of a decompressed stream that are looked at


class Target(NamedTuple):
    """A kind of input, and what takes it."""

    make: Callable[[Random], bytes]
    run: Callable[[bytes], None]


def read_log(data: bytes) -> None:
    """Read a binary log to its end, bodies, undos and their SQL, once to the damage and once around it."""
    for on_damage in (STOP, SALVAGE):
        operations: list[tuple[TransactionInfo, RowChanges]] = []
        try:
            with dblog_tasks.open("mysql", reader=BytesIO(data), on_damage=on_damage) as decoder:
                _look(decoder, operations)
        except dblog_tasks.DblogError:
            pass
        try:
            for _ in undo_script(operations):
                pass
        except dblog_tasks.DblogError:  # a value no column of the type can hold
            pass


def _look(decoder: Any, operations: list[tuple[TransactionInfo, RowChanges]]) -> None:
    event: Any
    for event in decoder:
        assert event.position.value
        assert event.kind
        packed: PackedRows | None = getattr(event, "packed", None)  # asked first: the body stands for itself afterwards
        _ = (event.raw, event.time, event.transaction_info, event.gtid, event.thread, event.statement, event.table, event.body)
        if packed is not None:
            rows = part.dumped(part._packed(event.body.rows, binary_columns(event.body.table)))[:-1]
            assert (event.position.value, event.operation, event.body.table, rows, len(event.body.rows)) == tuple(packed)
        undo = event.reverse()
        if isinstance(undo, RowChanges) and undo.rows:
            operations.append((TransactionInfo(str(event.transaction)), undo))


def json_document(random: Random) -> bytes:
    """A changed JSON document, as MySQL keeps it."""
    return mutated(random, random.choice(_documents()))


@cache
def _documents() -> tuple[bytes, ...]:
    lines = (ROOT / "tests" / "mysql" / "json_corpus.jsonl").read_text().split("\n")[:-1]
    return tuple(bytes.fromhex(json.loads(line)["hex"]) for line in lines)


def read_json(data: bytes) -> None:
    """Read a document in each of its forms."""
    for read in (json_binary.json_text, json_binary.is_faithful, json_binary.json_value, json_binary.json_expression):
        try:
            read(data)
        except (dblog_tasks.DblogError, ValueError):  # its callers name the place
            pass


def json_diffs(random: Random) -> bytes:
    """A document and changes to it, both damaged or not: two bytes of the first one's size before them."""
    document = random.choice(_documents())
    small = [value for value in _documents() if len(value) < 1000]
    changes = b""
    for _ in range(random.randint(1, 3)):
        path = random.choice((b"$", b"$.a", b"$[0]", b"$[1].b", b'$."k"[2]', b"$.a.b.c", b"$[last]", b"$.**", b"$.\xff"))
        value = random.choice(small)
        operation = random.randrange(4)
        changes += bytes([operation, len(path)]) + path
        if operation < 2:
            size = len(value).to_bytes(2, "little")
            changes += (bytes([len(value)]) if len(value) < 251 else b"\xfc" + size) + value
    if random.random() < 0.5:
        document = mutated(random, document)
    if random.random() < 0.7:
        changes = mutated(random, changes)
    return min(len(document), 0xFFFF).to_bytes(2, "little") + document + changes


def apply_diffs(data: bytes) -> None:
    """Apply changes to a document."""
    size = int.from_bytes(data[:2], "little")
    try:
        result = json_diff.apply_diffs(data[2 : 2 + size], data[2 + size :])
    except (dblog_tasks.DblogError, ValueError):  # its callers name the place
        return
    read_json(result)


def command(*words: bytes) -> bytes:
    """A command as the append-only file has it."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


_WORDS = (
    b"SET",
    b"GET",
    b"INCR",
    b"HSET",
    b"DEL",
    b"MULTI",
    b"EXEC",
    b"SELECT",
    b"RPUSH",
    b"LPOP",
    b"ZADD",
    b"SADD",
    b"SREM",
    b"PEXPIREAT",
)
_ARGUMENTS = (
    b"0",
    b"1",
    b"-1",
    b"k",
    b"key",
    b"9999999999999999999",
    b"nan",
    b"inf",
    b"1e400",
    b"",
    b"\xff\x00",
    b"NX",
    b"EX",
    b"GT",
    b"PXAT",
)


def append_only_file(random: Random) -> bytes:
    """Commands of all kinds, damaged or not."""
    data = b"".join(
        command(random.choice(_WORDS), *(random.choice(_ARGUMENTS) for _ in range(random.randrange(5))))
        for _ in range(random.randint(1, 12))
    )
    return mutated(random, data) if random.random() < 0.7 else data


def read_commands(data: bytes) -> None:
    """Read an append-only file, bodies and undos."""
    event: Any
    try:
        with dblog_tasks.open("redis", reader=BytesIO(data)) as decoder:
            for event in decoder:
                _ = (event.body, event.omission, event.reverse())
    except dblog_tasks.DblogError:
        pass


@cache
def _decoded() -> tuple[bytes, ...]:
    return tuple(path.read_bytes() for path in sorted((CORPUS / "pg").glob("*")) if path.name != "schema.sql")


def logical_log(random: Random) -> bytes:
    """A piece of a log of each format, damaged or not; the first byte names the format to believe."""
    data = random.choice(_decoded())
    lines = data.splitlines(keepends=True)
    begin = random.randrange(len(lines)) if random.random() < 0.5 else 0
    data = b"".join(lines[begin : begin + random.randint(1, 30)])
    for _ in range(random.choice((0, 1, 1, 2))):
        data = mutated(random, data)
    return bytes([random.choice((0, 0, 0, 0, 1, 2, 3, 4, 5))]) + data


def read_decoded(data: bytes) -> None:
    """Read a log of PostgreSQL to its end, bodies, undos and their SQL, with a schema and without."""
    name = ("", *FORMAT_NAMES)[data[0] % (len(FORMAT_NAMES) + 1)] if data else ""
    for schema in ("", str(CORPUS / "pg" / "schema.sql")):
        operations: list[tuple[postgres_sql.TransactionInfo, RowChanges]] = []
        event: Any
        try:
            with dblog_tasks.open("pg", reader=BytesIO(data[1:]), format=name, schema=schema) as decoder:
                for event in decoder:
                    assert event.position.value
                    _ = (event.raw, event.time, event.transaction_info, event.table, event.body, event.omission)
                    undo = event.reverse()
                    if isinstance(undo, RowChanges):
                        operations.append((postgres_sql.TransactionInfo(str(event.transaction)), undo))
        except dblog_tasks.DblogError:
            pass
        try:
            for _ in postgres_sql.undo_script(operations):
                pass
        except dblog_tasks.DblogError:  # a name or value no table can have
            pass


def schema_file(random: Random) -> bytes:
    """A schema file, damaged."""
    return mutated(random, (CORPUS / "pg" / "schema.sql").read_bytes())


def read_schema_file(data: bytes) -> None:
    """Read it."""
    try:
        read_schema(data.decode("utf-8", "surrogateescape"))
    except dblog_tasks.DblogError:
        pass


_PACKERS: Mapping[str, Callable[[bytes], bytes]] = {
    "gz": lambda plain: gzip.compress(plain, mtime=0),  # an input is the same whenever it is made
    "zst": zstandard.compress,
    "xz": lzma.compress,
    "bz2": bz2.compress,
}


def packed(random: Random) -> bytes:
    """A compressed stream, damaged; its first byte names the packer."""
    number = random.randrange(len(_PACKERS))
    pack = list(_PACKERS.values())[number]
    plain = random.choice((b"", b"abc" * 100, random.randbytes(500), bytes(random.choice((1000, 1 << 22)))))
    return bytes([number]) + mutated(random, pack(plain) * random.choice((1, 1, 2)))


def unpack(data: bytes) -> None:
    """Decompress as far as OUTPUT_MAX."""
    if not data:
        return
    name, seen = list(_PACKERS)[data[0] % len(_PACKERS)], 0
    try:
        for block in compression.decompress(name, (data[at : at + 97] for at in range(1, len(data), 97)), "file"):
            seen += len(block)
            if seen > OUTPUT_MAX:
                return
    except dblog_tasks.DblogError:
        pass


@cache
def _plan() -> dict[str, bytes]:
    """The files of a plan of the corpus."""
    url = "memory://fuzz/whole"
    logs = (str(CORPUS / "shop" / "shop.000003"),)
    assert make_plan(PlanRequest("mysql", logs, url)) is not None
    return {name: storage.read_file(f"{url}/{name}", {}) for name in _names(url)}


def _names(url: str) -> Iterator[str]:
    for name in storage.list_folder(url, {}):
        inside = storage.list_folder(f"{url}/{name}", {}) if "." not in name else []
        yield from (f"{name}/{below}" for below in inside)
        if not inside:
            yield name


def plan_manifest(random: Random) -> bytes:
    """A plan's manifest, damaged: as bytes, or in its values. Nobody seals a damaged one anew."""
    data = _plan()[plans.MANIFEST]
    if random.random() < 0.3:
        return mutated(random, data)
    manifest = orjson.loads(data)
    for _ in range(random.randint(1, 3)):
        _change_json(random, manifest)
    return orjson.dumps(manifest)


def _change_json(random: Random, value: Any) -> None:
    while isinstance(value, dict | list) and value:
        key = random.choice(list(value) if isinstance(value, dict) else range(len(value)))
        if not isinstance(value[key], dict | list) or random.random() < 0.2:
            value[key] = random.choice((None, 0, -1, 1 << 60, "", "x", "../../x", [], {}, [1], {"a": 1}, True, 1.5))
            return
        value = value[key]


def read_plan(data: bytes) -> None:
    """Read a plan whose manifest this is: checked, as text, and its first steps."""
    from dblog_tasks.report import summary  # noqa: PLC0415 - only here

    url = "memory://fuzz/damaged"
    for name, whole in _plan().items():
        storage.write_file(f"{url}/{name}", data if name == plans.MANIFEST else whole, {})
    try:
        found = plans.read_plan(url, {})
        plans.check(found)
        list(islice(found.steps(), 50))
        summary(found)
    except dblog_tasks.DblogError:
        pass


TARGETS: Mapping[str, Target] = {
    "binlog": Target(binary_log, read_log),
    "old": Target(old_binary_log, read_log),
    "json": Target(json_document, read_json),
    "diffs": Target(json_diffs, apply_diffs),
    "redis": Target(append_only_file, read_commands),
    "logical": Target(logical_log, read_decoded),
    "schema": Target(schema_file, read_schema_file),
    "packed": Target(packed, unpack),
    "plan": Target(plan_manifest, read_plan),
}


def with_logs(folders: tuple[Path, ...]) -> Mapping[str, Target]:
    """Return the targets, with logs below these folders beside those of the corpus."""
    return {**TARGETS, "binlog": Target(lambda random: binary_log(random, (CORPUS, *folders)), read_log)}
