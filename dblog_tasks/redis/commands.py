"""The inverse of each command a log can hold, with how well it undoes, or the reason why there is none.

Law: a pure function of one command and of what the log proved about its keys before it; the table `RULES` is the whole of it.

    grade     run right after the command, the inverse gives back
    exact     the keys, values and expiries there were, in every state the log allows
    residue   the values, but something new stays behind (a counter of 0, an empty stream)
    inexact   the values in most states; the reason says in which not

Why an inverse holds, tried on Redis 7.0:

    LPUSH, RPUSH       A list was there, or nothing: popping as many elements removes a list that was not there. LPUSHX, RPUSHX too.
    INCR, DECR, …      A missing key counts from 0, so the inverse leaves 0 behind unless the log shows that the key was there. A key
                       the log shows to expire may be gone when the undo runs, which would then create it for good: inexact.
    HINCRBY            The same with a field.
    HINCRBYFLOAT,      Floating point: x + d - d is not always x. HINCRBYFLOAT is logged as HSET by servers; the rule serves other logs.
    ZINCRBY
    SETNX, MSETNX,     Logged only when they took effect, which proves that nothing was there before.
    HSETNX, RENAMENX,
    COPY, MOVE,
    SET NX, RESTORE
    LMOVE, RPOPLPUSH   A source that lost its last element also lost its expiry: exact where the log shows that it has none, or another
                       element.
    SWAPDB             Its own inverse.
    XADD               The stream keeps the last id it gave, and stays when it was created: residue. With trimming: none.
    any write of one   Where the log proves that the key was not there: DEL, exact.
    key
    SADD, ZADD, HSET   The log has the no-op parts too and no old values: none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
import re
from typing import NamedTuple, TypeAlias

from dblog_tasks.redis.keyspace import Keyspace, database_number

EXACT, RESIDUE, INEXACT = "exact", "residue", "inexact"

# Commands that change no key; they have no inverse and need none.
STRUCTURE = frozenset((b"select", b"multi", b"exec", b"ping", b"replconf", b"publish", b"spublish", b"pfcount"))


class Command(NamedTuple):
    """A command as a log holds it or a server takes it.

    Attributes:
        name: in lower case.
        arguments: all words after the name.
        database: number of the database it runs in.
    """

    name: bytes
    arguments: tuple[bytes, ...]
    database: int = 0

    @property
    def words(self) -> tuple[bytes, ...]:
        """Name and arguments."""
        return (self.name, *self.arguments)


class Inverse(NamedTuple):
    """What takes a command back."""

    command: Command
    grade: str  # empty: not fit for a plan at all
    reason: str  # why it is not exact; empty when it is


Rule: TypeAlias = Callable[[Command, Keyspace], Inverse | str]


def inverse(command: Command, keys: Keyspace) -> Inverse | str:
    """Return the command's inverse, or the reason why it has none; `keys` is what the log proved before it."""
    return RULES.get(command.name, _unknown)(command, keys)


_UNKNOWN = "redis: no inverse is known for this command"
_ARGUMENTS = "redis: no inverse exists for a command with these arguments"
_EXPIRES = "redis: the key expires, and an undo after that would create it anew (inexact)"
_FLOAT = "redis: undo of a floating point addition may be off in the last digits (inexact)"
_EMPTIED = "redis: if the source list lost its last element, undo does not restore its expiry (inexact)"
_COUNTER = "redis: undo leaves a key with 0 behind (residue)"
_FIELD = "redis: undo leaves a hash field with 0 behind (residue)"
_STREAM = "redis: undo leaves the stream with its last id behind (residue)"
_TRIMMED = "redis: XADD with trimming does not log the entries it removed"
_ZERO = "redis: adding 0 has no inverse a server accepts"
_OTHER_DATABASE = "redis: undo runs in another database than the command, which a plan step cannot say"


def _exact(command: Command, name: bytes, *arguments: bytes) -> Inverse:
    return Inverse(Command(name, arguments, command.database), EXACT, "")


def _unknown(command: Command, keys: Keyspace) -> str:
    return _UNKNOWN


def _none(reason: str) -> Rule:
    """No inverse whatever the keys."""
    return lambda command, keys: f"redis: {reason}"


def _created(command: Command, keys: Keyspace) -> Inverse | None:
    """The inverse of a write of a key that was not there."""
    if command.arguments and keys.known(command.database, command.arguments[0]).exists is False:
        return _exact(command, b"del", command.arguments[0])
    return None


def _write(reason: str) -> Rule:
    """No inverse but for a key that was not there."""
    text = f"redis: {reason}"
    return lambda command, keys: _created(command, keys) or text


def _push(pop: bytes) -> Rule:
    def rule(command: Command, keys: Keyspace) -> Inverse | str:
        if len(command.arguments) < 2:
            return _ARGUMENTS
        return _exact(command, pop, command.arguments[0], b"%d" % (len(command.arguments) - 1))

    return rule


def _step(opposite: bytes, *, arity: int) -> Rule:
    def rule(command: Command, keys: Keyspace) -> Inverse | str:
        if len(command.arguments) != arity or (arity == 2 and not _is_delta(command.arguments[1])):
            return _ARGUMENTS
        undo = Command(opposite, command.arguments, command.database)
        known = keys.known(command.database, command.arguments[0])
        if known.exists is None:
            return Inverse(undo, RESIDUE, _COUNTER)
        if known.expires:
            return Inverse(undo, INEXACT, _EXPIRES)
        return _created(command, keys) or Inverse(undo, EXACT, "")

    return rule


def _hincrby(command: Command, keys: Keyspace) -> Inverse | str:
    if len(command.arguments) != 3 or not (negated := _negated(_INTEGER, command.arguments[2])):
        return _ARGUMENTS
    if not -_INT64 < int(negated) < _INT64:
        return _ARGUMENTS
    key, field = command.arguments[:2]
    undo = Command(b"hincrby", (key, field, negated), command.database)
    if not int(negated):
        return Inverse(undo, "", _ZERO)
    known = keys.known(command.database, key)
    if known.exists is False:
        return _exact(command, b"del", key)
    if known.expires:
        return Inverse(undo, INEXACT, _EXPIRES)
    if field in (known.fields or ()):
        return Inverse(undo, EXACT, "")
    return Inverse(undo, RESIDUE, _FIELD)


def _add_float(delta_at: int) -> Rule:
    def rule(command: Command, keys: Keyspace) -> Inverse | str:
        arguments = command.arguments
        if len(arguments) != 3 or not (negated := _negated(_FLOATING, arguments[delta_at])):
            return _ARGUMENTS
        undone = (*arguments[:delta_at], negated, *arguments[delta_at + 1 :])
        return _created(command, keys) or Inverse(Command(command.name, undone, command.database), INEXACT, _FLOAT)

    return rule


def _set(command: Command, keys: Keyspace) -> Inverse | str:
    if len(command.arguments) > 2 and b"nx" in [option.lower() for option in command.arguments[2:]]:
        return _exact(command, b"del", command.arguments[0])
    return _created(command, keys) or "redis: SET does not log the old value"


def _setnx(command: Command, keys: Keyspace) -> Inverse | str:
    return _exact(command, b"del", command.arguments[0]) if len(command.arguments) == 2 else _ARGUMENTS


def _msetnx(command: Command, keys: Keyspace) -> Inverse | str:
    if not command.arguments or len(command.arguments) % 2:
        return _ARGUMENTS
    return _exact(command, b"del", *dict.fromkeys(command.arguments[::2]))


def _hsetnx(command: Command, keys: Keyspace) -> Inverse | str:
    return _exact(command, b"hdel", *command.arguments[:2]) if len(command.arguments) == 3 else _ARGUMENTS


def _restore(command: Command, keys: Keyspace) -> Inverse | str:
    if len(command.arguments) < 3:
        return _ARGUMENTS
    if b"replace" in [option.lower() for option in command.arguments[3:]]:
        return _created(command, keys) or "redis: RESTORE REPLACE does not log the old value"
    return _exact(command, b"del", command.arguments[0])


def _renamenx(command: Command, keys: Keyspace) -> Inverse | str:
    if len(command.arguments) != 2 or command.arguments[0] == command.arguments[1]:
        return _ARGUMENTS
    return _exact(command, b"renamenx", command.arguments[1], command.arguments[0])


def _rename(command: Command, keys: Keyspace) -> Inverse | str:
    if len(command.arguments) == 2 and keys.known(command.database, command.arguments[1]).exists is False:
        return _renamenx(command, keys)
    return "redis: RENAME does not log what the new name held"


def _copy(command: Command, keys: Keyspace) -> Inverse | str:
    if len(command.arguments) < 2:
        return _ARGUMENTS
    options = [option.lower() for option in command.arguments[2:]]
    if b"replace" in options:
        return "redis: COPY REPLACE does not log what the new name held"
    if not options:
        return _exact(command, b"del", command.arguments[1])
    target = database_number(options[1]) if options[0] == b"db" and len(options) == 2 else None
    if target is None:
        return _ARGUMENTS
    undo = Command(b"del", (command.arguments[1],), target)
    return Inverse(undo, EXACT, "") if target == command.database else Inverse(undo, "", _OTHER_DATABASE)


def _move(command: Command, keys: Keyspace) -> Inverse | str:
    target = database_number(command.arguments[1]) if len(command.arguments) == 2 else None
    if target is None:
        return _ARGUMENTS
    return Inverse(Command(b"move", (command.arguments[0], b"%d" % command.database), target), "", _OTHER_DATABASE)


def _swapdb(command: Command, keys: Keyspace) -> Inverse | str:
    if len(command.arguments) != 2 or None in map(database_number, command.arguments):
        return _ARGUMENTS
    return _exact(command, b"swapdb", *command.arguments)


def _lmove(command: Command, keys: Keyspace) -> Inverse | str:
    if len(command.arguments) != 4:
        return _ARGUMENTS
    source, target = command.arguments[:2]
    origin, end = (side.upper() for side in command.arguments[2:])
    if not {origin, end} <= {b"LEFT", b"RIGHT"}:
        return _ARGUMENTS
    undo = Command(b"lmove", (target, source, end, origin), command.database)
    if source == target:
        return Inverse(undo, EXACT, "")
    known = keys.known(command.database, source)
    if known.expires or keys.known(command.database, target).expires:
        return Inverse(undo, INEXACT, _EXPIRES)
    if known.expires is None and known.least < 2:
        return Inverse(undo, INEXACT, _EMPTIED)
    return Inverse(undo, EXACT, "")


def _rpoplpush(command: Command, keys: Keyspace) -> Inverse | str:
    if len(command.arguments) != 2:
        return _ARGUMENTS
    return _lmove(Command(b"lmove", (*command.arguments, b"RIGHT", b"LEFT"), command.database), keys)


def _xadd(command: Command, keys: Keyspace) -> Inverse | str:
    words = command.arguments[1:]
    if words and words[0].lower() == b"nomkstream":
        words = words[1:]
    if words and words[0].lower() in (b"maxlen", b"minid"):
        return _created(command, keys) or _TRIMMED
    if len(words) < 3 or len(words) % 2 == 0 or not _STREAM_ID.fullmatch(words[0]):
        return _ARGUMENTS
    undo = Command(b"xdel", (command.arguments[0], words[0]), command.database)
    return _created(command, keys) or Inverse(undo, RESIDUE, _STREAM)


def _is_delta(text: bytes) -> bool:
    """Whether a server takes it as a step and can take the same step back: INCRBY of -2^63 has no DECRBY."""
    return _CANONICAL.fullmatch(text) is not None and -_INT64 < int(text) < _INT64


def _negated(number: re.Pattern[bytes], text: bytes) -> bytes:
    """Return the number with its sign turned, digit for digit; nothing when it is no number."""
    if not number.fullmatch(text):
        return b""
    return text[1:] if text[:1] == b"-" else b"-" + text.removeprefix(b"+")


_INT64 = 1 << 63
_CANONICAL = re.compile(rb"0|-?[1-9][0-9]{0,18}")
_INTEGER = re.compile(rb"[+-]?[0-9]{1,19}")
_FLOATING = re.compile(rb"[+-]?(?:[0-9]{1,400}(?:\.[0-9]{0,400})?|\.[0-9]{1,400})(?:[eE][+-]?[0-9]{1,4})?")
_STREAM_ID = re.compile(rb"[0-9]{1,20}(?:-[0-9]{1,20})?")


def _each(names: str, form: Callable[[str], Rule], text: str) -> dict[bytes, Rule]:
    """One rule for each name, its reason beginning with the command's name."""
    return {name.lower().encode(): form(f"{name} {text}") for name in names.split()}


RULES: Mapping[bytes, Rule] = {
    b"lpush": _push(b"lpop"),
    b"rpush": _push(b"rpop"),
    b"lpushx": _push(b"lpop"),
    b"rpushx": _push(b"rpop"),
    b"incr": _step(b"decr", arity=1),
    b"decr": _step(b"incr", arity=1),
    b"incrby": _step(b"decrby", arity=2),
    b"decrby": _step(b"incrby", arity=2),
    b"hincrby": _hincrby,
    b"hincrbyfloat": _add_float(2),
    b"zincrby": _add_float(1),
    b"set": _set,
    b"setnx": _setnx,
    b"msetnx": _msetnx,
    b"hsetnx": _hsetnx,
    b"restore": _restore,
    b"rename": _rename,
    b"renamenx": _renamenx,
    b"copy": _copy,
    b"move": _move,
    b"swapdb": _swapdb,
    b"lmove": _lmove,
    b"rpoplpush": _rpoplpush,
    b"xadd": _xadd,
    **_each("SETEX PSETEX GETSET APPEND SETRANGE SETBIT BITFIELD INCRBYFLOAT PFADD PFMERGE", _write, "does not log the old value"),
    **_each("HSET HMSET", _write, "does not log the old values of the fields"),
    **_each("SADD ZADD GEOADD", _write, "does not log which members were new, nor old scores"),
    **_each("SINTERSTORE SUNIONSTORE SDIFFSTORE ZINTERSTORE ZUNIONSTORE ZDIFFSTORE", _write, "does not log what it replaced"),
    **_each("ZRANGESTORE GEOSEARCHSTORE", _write, "does not log what it replaced"),
    **_each("MSET BITOP SORT GEORADIUS GEORADIUSBYMEMBER LSET XSETID", _none, "does not log what it replaced"),
    **_each("DEL UNLINK GETDEL FLUSHDB FLUSHALL", _none, "does not log what it deleted"),
    **_each("LPOP RPOP LREM LTRIM", _none, "does not log the elements it removed"),
    **_each("SREM SPOP ZREM ZPOPMIN ZPOPMAX", _none, "does not log which members were there, nor scores"),
    **_each("ZREMRANGEBYRANK ZREMRANGEBYSCORE ZREMRANGEBYLEX", _none, "does not log the members it removed"),
    **_each("HDEL XDEL XTRIM", _none, "does not log the values it removed"),
    **_each("EXPIRE PEXPIRE EXPIREAT PEXPIREAT PERSIST", _none, "does not log the expiry there was"),
    **_each("LINSERT SMOVE", _none, "does not log the place or member it met"),
    **_each("XGROUP XACK XCLAIM XAUTOCLAIM", _none, "does not log the state of the group before"),
    **_each("FUNCTION SCRIPT", _none, "does not log what it replaced"),
}
