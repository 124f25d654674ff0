"""Which inverse each command has, how good it is, and what the log must have shown for that."""

from __future__ import annotations

from hypothesis import given, strategies as st
import pytest

from dblog_tasks.redis.commands import RULES, STRUCTURE, Command, Inverse, inverse
from dblog_tasks.redis.keyspace import EFFECTS, Keyspace


def verdict(*lines: str, memory_max: int = 1 << 20) -> Inverse | str:
    """The inverse of the last command after those before it; each line is split at blanks, `N:` in front runs it in database N."""
    keys = Keyspace(memory_max)
    for line in lines:
        database, _, text = line.rpartition(":")
        name, *arguments = text.encode().split(b" ")
        command = Command(name.lower(), tuple(arguments), int(database or 0))
        found = inverse(command, keys)
        keys.apply(command.database, command.name, command.arguments)
    return found


# lines of a log -> undo of the last one, its grade
GRADED = [
    # pushes: whatever was there
    ("LPUSH k a b c", "lpop k 3", "exact"),
    ("RPUSH k a", "rpop k 1", "exact"),
    ("LPUSHX k a", "lpop k 1", "exact"),
    ("RPUSHX k a b", "rpop k 2", "exact"),
    ("PEXPIREAT k 9|LPUSH k a", "lpop k 1", "exact"),
    # counters: by what is known of the key
    ("INCR k", "decr k", "residue"),
    ("DECRBY k 7", "incrby k 7", "residue"),
    ("INCR k|INCR k", "decr k", "exact"),
    ("SET k 5|INCRBY k -5", "decrby k -5", "exact"),
    ("INCRBY k 0|DECR k", "incr k", "exact"),
    ("SET k 5 PXAT 99|INCR k", "decr k", "inexact"),
    ("SET k 5|PEXPIREAT k 99|INCR k", "decr k", "inexact"),
    ("SET k 5 PXAT 99|SET k 6 KEEPTTL|INCR k", "decr k", "inexact"),
    ("SET k 5 PXAT 99|SET k 6|INCR k", "decr k", "exact"),
    ("SET k 5 PXAT 99|PERSIST k|INCR k", "decr k", "exact"),
    ("SET k 5|DEL k|INCR k", "del k", "exact"),
    ("SET k 5|1:INCR k", "decr k", "residue"),
    ("SET k 5|RENAME k j|INCR j", "decr j", "exact"),
    ("SET k 5|RENAME k j|INCR k", "del k", "exact"),
    ("SET k 5|MOVE k 2|2:INCR k", "decr k", "exact"),
    ("SET k 5|COPY k j|INCR j", "decr j", "exact"),
    ("SET k 5|SWAPDB 0 2|2:INCR k", "decr k", "exact"),
    ("SET k 5|SWAPDB 0 2|INCR k", "decr k", "residue"),
    ("SWAPDB 0 1|1:DEL k|INCR k", "decr k", "residue"),
    ("FLUSHDB|INCR k", "del k", "exact"),
    ("FLUSHDB|1:INCR k", "decr k", "residue"),
    ("FLUSHALL|7:INCR k", "del k", "exact"),
    ("FLUSHALL|SWAPDB 1 2|SREM k m|INCR k", "decr k", "residue"),
    ("SET k 5|JSON.SET j . 1|INCR k", "decr k", "residue"),
    # fields
    ("HINCRBY h f 3", "hincrby h f -3", "residue"),
    ("HINCRBY h f 3|HINCRBY h f -3", "hincrby h f 3", "exact"),
    ("HSET h g 1 f 2|HINCRBY h f 3", "hincrby h f -3", "exact"),
    ("HSET h f 1|HDEL h f|HINCRBY h f 3", "hincrby h f -3", "residue"),
    ("HSET h f 1 g 2|HDEL h f|HINCRBY h g 3", "hincrby h g -3", "exact"),
    ("HSET h f 1|PEXPIREAT h 99|HINCRBY h f 3", "hincrby h f -3", "inexact"),
    ("HSET h f 1|DEL h|HINCRBY h f 3", "del h", "exact"),
    ("HSET h f 1|COPY h j|HDEL h f|HINCRBY j f 3", "hincrby j f -3", "residue"),
    # floating point
    ("HINCRBYFLOAT h f -1.25", "hincrbyfloat h f 1.25", "inexact"),
    ("ZINCRBY z 2.5e1 m", "zincrby z -2.5e1 m", "inexact"),
    ("DEL z|ZINCRBY z 2.5 m", "del z", "exact"),
    # logged only when it took effect
    ("SETNX k v", "del k", "exact"),
    ("SET k v nx", "del k", "exact"),
    ("MSETNX a 1 b 2 a 3", "del a b", "exact"),
    ("HSETNX h f v", "hdel h f", "exact"),
    ("RENAMENX a b", "renamenx b a", "exact"),
    ("COPY a b", "del b", "exact"),
    ("COPY a b DB 0", "del b", "exact"),
    ("RESTORE k 0 x", "del k", "exact"),
    ("SWAPDB 0 1", "swapdb 0 1", "exact"),
    # moves of elements: an emptied list forgets its expiry
    ("LMOVE a b LEFT RIGHT", "lmove b a RIGHT LEFT", "inexact"),
    ("RPUSH a x|LMOVE a b left right", "lmove b a RIGHT LEFT", "inexact"),
    ("RPUSH a x y|LMOVE a b LEFT LEFT", "lmove b a LEFT LEFT", "exact"),
    ("RPUSH a x y z|LPOP a 2|LMOVE a b LEFT LEFT", "lmove b a LEFT LEFT", "inexact"),
    ("DEL a|RPUSH a x|LMOVE a b LEFT LEFT", "lmove b a LEFT LEFT", "exact"),
    ("RPUSH a x y|PEXPIREAT b 99|LMOVE a b LEFT LEFT", "lmove b a LEFT LEFT", "inexact"),
    ("LMOVE a a LEFT RIGHT", "lmove a a RIGHT LEFT", "exact"),
    ("RPOPLPUSH a a", "lmove a a LEFT RIGHT", "exact"),
    ("RPUSH a x y|RPOPLPUSH a b", "lmove b a LEFT RIGHT", "exact"),
    # streams
    ("XADD s 5-1 f v", "xdel s 5-1", "residue"),
    ("XADD s NOMKSTREAM 5-1 f v", "xdel s 5-1", "residue"),
    ("DEL s|XADD s MAXLEN = 5 5-1 f v", "del s", "exact"),
    # any write of a key that was not there
    ("DEL k|SET k v", "del k", "exact"),
    ("UNLINK j k|HSET k f v", "del k", "exact"),
    ("DEL k|SADD k a b", "del k", "exact"),
    ("DEL b|RENAME a b", "renamenx b a", "exact"),
]


@pytest.mark.parametrize(("log", "undo", "grade"), GRADED, ids=[log for log, *_ in GRADED])
def test_an_inverse_is_graded_by_what_the_log_shows(log: str, undo: str, grade: str) -> None:
    """The undo and its grade; a reason in words unless it is exact."""
    found = verdict(*log.split("|"))

    assert isinstance(found, Inverse)
    assert (tuple(undo.encode().split()), grade) == (found.command.words, found.grade)
    assert (grade == "exact") == (found.reason == "")


NONE = [
    "SET k v",
    "HSET h f v",
    "SADD s m",
    "ZADD z 1 m",
    "DEL k",
    "LPOP l",
    "RENAME a b",
    "COPY a b REPLACE",
    "RESTORE k 0 x REPLACE",
    "PEXPIREAT k 99",
    "FLUSHALL",
    "JSON.SET k . 1",
    "XADD s MAXLEN 5 5-1 f v",
    "XADD s * f v",
    "INCR",
    "INCR a b",
    "INCRBY k",
    "INCRBY k abc",
    "INCRBY k +5",
    "INCRBY k 9223372036854775808",
    "INCRBY k -9223372036854775808",
    "HINCRBY h f abc",
    "HINCRBY h f --5",
    "HINCRBY h f -",
    "HINCRBY h f ",
    "HINCRBY h f -9223372036854775808",
    "ZINCRBY z inf m",
    "ZINCRBY z 2.5",
    "LPUSH k",
    "LMOVE a b UP DOWN",
    "MOVE k x",
    "SWAPDB 0 x",
    "RENAMENX a a",
    "MSETNX a",
    "COPY a b DB",
]


@pytest.mark.parametrize("line", NONE)
def test_a_command_without_an_inverse_says_why(line: str) -> None:
    """Neither an old value nor a number is made up."""
    found = verdict(line)

    assert isinstance(found, str)
    assert found.startswith("redis: ")


@pytest.mark.parametrize(
    ("line", "undo", "database"),
    [("3:MOVE k 5", b"move k 3", 5), ("COPY a b DB 4", b"del b", 4), ("HINCRBY h f 0", b"hincrby h f -0", 0)],
)
def test_an_inverse_no_plan_can_hold_is_known_all_the_same(line: str, undo: bytes, database: int) -> None:
    """It has no grade, and a reason."""
    found = verdict(line)

    assert isinstance(found, Inverse)
    assert (tuple(undo.split()), database, "") == (found.command.words, found.command.database, found.grade)
    assert found.reason


def test_what_does_not_fit_into_memory_is_forgotten_not_guessed() -> None:
    """A counter proven long ago counts as unknown again."""
    lines = ["SET k 5", *(f"SET other{number} x" for number in range(10)), "INCR k"]

    assert ("exact", "residue") == (verdict(*lines).grade, verdict(*lines, memory_max=1000).grade)  # type: ignore[union-attr]


def test_every_rule_has_an_effect_or_makes_everything_unknown() -> None:
    """A command with an exact inverse must also be followed; what is left out is what may store anywhere."""
    assert {b"sort", b"georadius", b"georadiusbymember"} == RULES.keys() - EFFECTS.keys()
    assert set() == EFFECTS.keys() - RULES.keys()
    assert set() == STRUCTURE & RULES.keys()


WORDS = st.sampled_from(
    [b"", b"a", b"b", b"1", b"-1", b"0", b"2", b"LEFT", b"RIGHT", b"NX", b"DB", b"5-1", b"f", b"MAXLEN", b"keepttl", b"99"]
)


@given(
    st.lists(st.tuples(st.integers(0, 2), st.sampled_from(sorted(RULES)), st.lists(WORDS | st.binary(max_size=5), max_size=6)), max_size=12)
)
def test_any_commands_have_a_verdict(log: list[tuple[int, bytes, list[bytes]]]) -> None:
    """Arguments no server would log raise nothing, and an exact inverse is one a server takes in the same database."""
    keys = Keyspace(2000)
    for database, name, arguments in log:
        command = Command(name, tuple(arguments), database)
        found = inverse(command, keys)
        keys.apply(database, name, command.arguments)
        if isinstance(found, Inverse) and found.grade:
            assert database == found.command.database
