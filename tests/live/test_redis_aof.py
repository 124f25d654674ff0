"""The append-only file of a real Redis server, undone through the real redis-cli."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from random import Random
import subprocess
from typing import Any, TypeAlias

import pytest
import redis

from dblog_tasks.backend import OpenOptions
from dblog_tasks.event import CommandChange
from dblog_tasks.redis import RedisEvent, backend, undo_text
from dblog_tasks.redis.commands import EXACT
from tests.live.conftest import require
from tests.live.servers import Redis

DATABASES = range(3)
LATER = "4102444800000"
Keys: TypeAlias = dict[tuple[int, bytes], tuple[Any, ...]]
Words: TypeAlias = tuple[str | bytes, ...]

READERS: dict[bytes | str, Callable[[redis.Redis, bytes], Any]] = {
    b"string": lambda client, key: client.get(key),
    b"list": lambda client, key: client.lrange(key, 0, -1),
    b"hash": lambda client, key: client.hgetall(key),
    b"set": lambda client, key: client.smembers(key),
    b"zset": lambda client, key: client.zrange(key, 0, -1, withscores=True),
    b"stream": lambda client, key: (client.xrange(key), client.xinfo_stream(key)["last-generated-id"]),
}


class Log:
    """A server with its append-only file, asked on one connection."""

    def __init__(self, server: Redis) -> None:
        self.server = server
        self.client = redis.Redis(unix_socket_path=str(server.socket), single_connection_client=True)
        self.clients = {number: redis.Redis(unix_socket_path=str(server.socket), db=number) for number in DATABASES}

    def run(self, *words: str | bytes) -> None:
        """Send one command; what the server refuses is not in its log either."""
        with suppress(redis.ResponseError):
            self.client.execute_command(*words)  # type: ignore[no-untyped-call]

    def size(self) -> int:
        """Length of the incremental file: written before the server answers."""
        return self.path.stat().st_size

    @property
    def path(self) -> Path:
        [path] = self.server.folder.glob("appendonlydir/*.incr.aof")
        return path

    def undo(self, changes: Iterable[tuple[str | None, CommandChange]]) -> str:
        """Give the undo to redis-cli as a person would; return what it answered."""
        text = "".join(f"{line}\n" for line in undo_text(changes))
        done = subprocess.run(["redis-cli", "-s", str(self.server.socket)], input=text, capture_output=True, check=True, encoding="latin-1")
        return done.stdout + done.stderr

    def keys(self) -> Keys:
        """Everything there is: type, value and expiry of every key."""
        return {
            (number, key): ((kind := client.type(key)), READERS[kind](client, key), client.pexpiretime(key))
            for number, client in self.clients.items()
            for key in client.scan_iter(count=1000)
        }

    def dumps(self) -> dict[tuple[int, bytes], tuple[Any, int]]:
        """Everything there is, in the server's own form, to set it back to."""
        return {
            (number, key): (client.dump(key), max(client.pexpiretime(key), 0))
            for number, client in self.clients.items()
            for key in client.scan_iter(count=1000)
        }

    def set_back(self, dumps: dict[tuple[int, bytes], tuple[Any, int]]) -> None:
        """Make everything what it was."""
        self.client.flushall()
        for (number, key), (dump, expires) in dumps.items():
            self.clients[number].restore(key, expires, dump, absttl=True)


@pytest.fixture(scope="module")
def log(start_redis: Callable[..., Redis]) -> Log:
    """A server whose incremental file is a plain append-only file."""
    require(("redis-cli",))
    timed = ("--aof-use-rdb-preamble", "no", "--aof-timestamp-enabled", "yes", "--auto-aof-rewrite-percentage", "0")
    return Log(start_redis(*timed, "--appendfsync", "no"))  # everysec puts writes off while it syncs: the file would lag behind


@pytest.fixture(autouse=True)
def fresh(log: Log) -> None:
    """Each test begins with a rewritten, hence new, file, and no key."""
    log.client.flushall()
    log.run("SELECT", "0")
    before = log.path
    log.run("BGREWRITEAOF")
    while (
        log.client.info("persistence")["aof_rewrite_in_progress"]
        or log.client.info("persistence")["aof_rewrite_scheduled"]
        or before.exists()
    ):
        log.client.ping()


def events_of(data: bytes) -> list[RedisEvent]:
    """The events of the bytes of a file."""
    return list(backend.open(OpenOptions(reader=BytesIO(data))))


def changes_of(events: list[RedisEvent]) -> list[tuple[str | None, CommandChange]]:
    """The steps of an undo, newest first."""
    return [(event.transaction, event.change.reverse()) for event in reversed(events) if event.change is not None]


BYTES = bytes(range(256))
BEFORE: list[Words] = [
    ("SET", "n", "41"),
    ("SET", "going", "1", "PXAT", LATER),
    ("RPUSH", "l", "a", "b", "c"),
    ("PEXPIREAT", "l", LATER),
    ("RPUSH", "p", "a", "b", "c"),
    ("HSET", "h", "f", "7", BYTES, "x"),
    ("SADD", "taken", "x"),
]
EXACTLY: list[Words] = [
    ("SET", "n", "41", "XX"),
    ("INCR", "n"),
    ("DECRBY", "n", "50"),
    ("LPUSH", "l", BYTES, "", "two words"),
    ("RPUSH", BYTES, "1"),
    ("RPUSHX", "l", "z"),
    ("LMOVE", "p", "l2", "LEFT", "RIGHT"),
    ("RPOPLPUSH", "l", "l"),
    ("HSETNX", "h", "new\n", "1"),
    ("SETNX", "\"quoted\\'", "v"),
    ("MSETNX", "m1", "1", "m2", "2"),
    ("RENAMENX", "h", "h2"),
    ("COPY", "l", "l3"),
    ("MULTI",),
    ("SETNX", "in multi", "1"),
    ("SELECT", "2"),
    ("LPUSH", "other", "1", "2"),
    ("SELECT", "0"),
    ("INCRBY", "n", "-9"),
    ("EXEC",),
    ("SWAPDB", "0", "1"),
    ("SET", "n", "0", "NX"),
    ("SWAPDB", "0", "1"),
]


def test_exact_undos_give_back_every_key(log: Log) -> None:
    """Newest first, through redis-cli: values of any bytes, expiries, databases and a transaction."""
    for words in BEFORE:
        log.run(*words)
    start, before = log.size(), log.keys()
    for words in EXACTLY:
        log.run(*words)

    data = log.path.read_bytes()
    events = [event for event in events_of(data) if event.end > start]
    kinds = [event.kind for event in events if event.omission is not None]
    answer = log.undo(changes_of([event for event in events if event.omission is None]))

    assert ["set"] == kinds  # XX is a plain overwrite, with the value it had
    assert "ERR" not in answer
    assert before == log.keys()


RESIDUES = [
    ("INCR", "n", {(0, b"n"): (b"string", b"0", -1)}),
    ("HINCRBY", "h f 3", {(0, b"h"): (b"hash", {b"f": b"0"}, -1)}),
    ("XADD", "s 5-1 f v", {(0, b"s"): (b"stream", ([], b"5-1"), -1)}),
]


@pytest.mark.parametrize(("name", "arguments", "left"), RESIDUES, ids=[name for name, *_ in RESIDUES])
def test_a_residue_is_what_its_reason_says(log: Log, name: str, arguments: str, left: Keys) -> None:
    """Undone on a server where the key was not there, it leaves exactly that."""
    log.run(name, *arguments.split())
    events = events_of(log.path.read_bytes())
    log.undo(changes_of(events))

    assert "residue" in str(events[-1].omission)
    assert left == log.keys()


def test_an_emptied_list_loses_its_expiry(log: Log) -> None:
    """Why moving what may be the last element is not exact."""
    log.run("RPUSH", "a", "x")
    log.run("PEXPIREAT", "a", LATER)
    start, before = log.size(), log.keys()
    log.run("LMOVE", "a", "b", "LEFT", "LEFT")
    [event] = [event for event in events_of(log.path.read_bytes()) if event.end > start and event.kind == "lmove"]
    log.undo(changes_of([event]))

    assert event.change is not None
    assert "inexact" == event.change.grade
    assert {(0, b"a"): (b"list", [b"x"], -1)} == log.keys() != before


def random_words(random: Random) -> Words:
    """A command over few keys, so that they meet."""
    key, other = random.choice("abcd"), random.choice("abcd")
    number = str(random.randint(-3, 3))
    some = [random.choice("xyz") for _ in range(random.randint(1, 3))]
    side = [random.choice(("LEFT", "RIGHT")) for _ in range(2)]
    choices: list[Words] = [
        *[("INCR", key), ("DECR", key), ("INCRBY", key, number), ("DECRBY", key, number)],
        *[("LPUSH", key, *some), ("RPUSH", key, *some), ("LPUSHX", key, *some), ("RPUSHX", key, *some)],
        *[("LPOP", key), ("RPOP", key, "2"), ("LMOVE", key, other, *side), ("RPOPLPUSH", key, other), ("LREM", key, "1", "x")],
        *[("SET", key, number), ("SET", key, number, "NX"), ("SET", key, number, "PXAT", LATER), ("SET", key, number, "KEEPTTL")],
        *[("SETNX", key, number), ("MSETNX", key, "1", other, "2"), ("MSET", key, "1", other, "2"), ("APPEND", key, "1")],
        *[("HSET", key, "f", number), ("HSETNX", key, "g", number), ("HINCRBY", key, "f", number), ("HINCRBY", key, "g", "2")],
        *[("HDEL", key, "f", "g"), ("DEL", key), ("UNLINK", key, other), ("GETDEL", key), ("PERSIST", key)],
        *[("PEXPIREAT", key, LATER), ("RENAME", key, other), ("RENAMENX", key, other), ("COPY", key, other), ("MOVE", key, "1")],
        *[("COPY", key, other, "REPLACE"), ("COPY", key, other, "DB", "1"), ("SWAPDB", "0", "1")],
        *[("SADD", key, *some), ("SREM", key, "x"), ("ZADD", key, "1", "m"), ("ZINCRBY", key, "1.5", "m"), ("XADD", key, "*", "f", "v")],
        *[
            ("SETRANGE", key, "1", "1"),
            ("SINTERSTORE", key, other),
            ("SORT", key, "ALPHA", "STORE", other),
            ("LINSERT", key, "BEFORE", "x", "y"),
        ],
    ]
    return random.choice(choices)


def random_step(random: Random) -> list[Words]:
    """One command, now and then a transaction, another database, or a flush."""
    if random.random() < 0.02:
        return [(random.choice(("FLUSHDB", "FLUSHALL")),)]
    if random.random() < 0.1:
        return [("SELECT", str(random.randint(0, 1)))]
    if random.random() < 0.15:
        return [("MULTI",), *(random_words(random) for _ in range(random.randint(1, 4))), ("EXEC",)]
    return [random_words(random)]


@pytest.mark.parametrize("seed", range(3))
def test_every_exact_grade_holds_on_the_server(log: Log, seed: int) -> None:
    """After each command or transaction whose inverses are all exact, their undo gives the state there was before it."""
    random = Random(seed)
    states, dumps, ends = [log.keys()], [log.dumps()], [log.size()]
    for _ in range(120):
        for words in random_step(random):
            log.run(*words)
        states.append(log.keys())
        dumps.append(log.dumps())
        ends.append(log.size())
    events = events_of(log.path.read_bytes())
    proven = 0
    for step in range(1, len(ends)):
        within = [event for event in events if ends[step - 1] < event.end <= ends[step]]
        changes = changes_of(within)
        if changes and all(event.omission is None for event in within):
            assert {EXACT} == {change.grade for _, change in changes}
            log.set_back(dumps[step])
            answer = log.undo(changes)
            assert states[step - 1] == log.keys(), (changes, answer)
            proven += 1

    assert proven > 8
