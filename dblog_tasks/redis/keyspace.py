"""What the commands of a log prove about its keys.

Law: only what follows from commands seen so far, in every database. A log holds nothing but commands that took effect, so an
`INCR` proves that its key exists; a key never seen is unknown, not absent, for a snapshot may precede the log. A command that is
not in the table may have touched any key: everything is forgotten. Past MEMORY_MAX everything is forgotten too.

Not seen, and so not provable: writes of scripts under `redis.set_repl(redis.REPL_NONE)`, of modules that do not replicate
themselves, and of DEBUG.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

MEMORY_MAX = 64 << 20  # bytes of names, and an allowance for each, counted when first noted
_ENTRY = 200


class Known(NamedTuple):
    """What is proven of one key. None: not known."""

    exists: bool | None = None
    expires: bool | None = None
    least: int = 0  # elements a list holds at least
    fields: set[bytes] | None = None  # fields a hash holds; only the keyspace adds to it


UNKNOWN = Known()
ABSENT = Known(exists=False, expires=False)
Effect: TypeAlias = "Callable[[Keyspace, int, tuple[bytes, ...]], None]"


class Keyspace:
    """The keys of all databases, as far as the log has shown them. Owned by one reader."""

    __slots__ = ("_databases", "_memory", "_memory_max", "_others")

    def __init__(self, memory_max: int = MEMORY_MAX) -> None:
        self._memory_max = memory_max
        self.forget_all()

    def known(self, database: int, key: bytes) -> Known:
        """Return what is proven of a key."""
        found = self._databases.get(database)
        return self._others if found is None else found[0].get(key, found[1])

    def apply(self, database: int, name: bytes, arguments: tuple[bytes, ...]) -> None:
        """Take in a command that ran; `name` is in lower case."""
        least, effect = EFFECTS.get(name, _ANYTHING)
        if len(arguments) < least:
            self.forget_all()
        else:
            effect(self, database, arguments)
        if self._memory > self._memory_max:
            self.forget_all()

    def note(self, database: int, key: bytes, known: Known) -> None:
        """Replace what is proven of a key."""
        if database not in self._databases:
            self._memory += _ENTRY
        keys, others = self._databases.setdefault(database, ({}, self._others))
        if known == others:
            keys.pop(key, None)
            return
        if key not in keys:
            self._memory += len(key) + _ENTRY
        keys[key] = known

    def add_fields(self, database: int, key: bytes, names: tuple[bytes, ...]) -> None:
        """Take in that a hash holds these fields."""
        known = self.known(database, key)
        fields = known.fields
        if fields is None:
            fields = set()
            self.note(database, key, Known(exists=True, expires=_expiry_kept(known), fields=fields))
        for name in names:
            if name not in fields:
                fields.add(name)
                self._memory += len(name) + _ENTRY

    def flush(self, database: int | None) -> None:
        """Take in that a database, or with None every one, was emptied."""
        if database is None:
            self._databases.clear()
            self._others, self._memory = ABSENT, 0
        else:
            self._memory += _ENTRY
            self._databases[database] = ({}, ABSENT)

    def swap(self, one: int, other: int) -> None:
        """Take in that two databases changed places."""
        first = self._databases.pop(one, ({}, self._others))
        second = self._databases.pop(other, ({}, self._others))
        self._databases[one], self._databases[other] = second, first
        self._memory += _ENTRY

    def forget_all(self) -> None:
        """Take in that anything may have happened."""
        self._databases: dict[int, tuple[dict[bytes, Known], Known]] = {}
        self._others = UNKNOWN
        self._memory = 0


def database_number(text: bytes) -> int | None:
    """Return the number of a database, None when the text is none."""
    return int(text) if text.isdigit() and len(text) < 10 else None


def _expiry_kept(known: Known) -> bool | None:
    return False if known.exists is False else known.expires


def _existing(keys: Keyspace, database: int, key: bytes) -> None:
    known = keys.known(database, key)
    if not known.exists:
        keys.note(database, key, Known(exists=True, expires=_expiry_kept(known)))


def _written(keys: Keyspace, database: int, arguments: tuple[bytes, ...]) -> None:
    _existing(keys, database, arguments[0])


def _second_existing(keys: Keyspace, database: int, arguments: tuple[bytes, ...]) -> None:
    _existing(keys, database, arguments[1])


def _unclear(keys: Keyspace, database: int, arguments: tuple[bytes, ...]) -> None:
    keys.note(database, arguments[0], UNKNOWN)


def _two_unclear(keys: Keyspace, database: int, arguments: tuple[bytes, ...]) -> None:
    for key in arguments[:2]:
        keys.note(database, key, UNKNOWN)


def _second_unclear(keys: Keyspace, database: int, arguments: tuple[bytes, ...]) -> None:
    keys.note(database, arguments[1], UNKNOWN)


def _deleted(keys: Keyspace, database: int, arguments: tuple[bytes, ...]) -> None:
    for key in arguments:
        keys.note(database, key, ABSENT)


def _set(keys: Keyspace, database: int, arguments: tuple[bytes, ...]) -> None:
    options = {argument.lower() for argument in arguments[2:]}
    if b"keepttl" in options:
        expires = _expiry_kept(keys.known(database, arguments[0]))
    else:
        expires = not options.isdisjoint((b"pxat", b"exat", b"px", b"ex"))
    keys.note(database, arguments[0], Known(exists=True, expires=expires))


def _set_expiring(keys: Keyspace, database: int, arguments: tuple[bytes, ...]) -> None:
    keys.note(database, arguments[0], Known(exists=True, expires=True))


def _set_many(keys: Keyspace, database: int, arguments: tuple[bytes, ...]) -> None:
    for key in arguments[::2]:
        keys.note(database, key, Known(exists=True, expires=False))


def _restored(keys: Keyspace, database: int, arguments: tuple[bytes, ...]) -> None:
    keys.note(database, arguments[0], Known(exists=True, expires=arguments[1] != b"0"))


def _expiring(keys: Keyspace, database: int, arguments: tuple[bytes, ...]) -> None:
    known = keys.known(database, arguments[0])
    keys.note(database, arguments[0], known._replace(exists=True, expires=True))


def _persistent(keys: Keyspace, database: int, arguments: tuple[bytes, ...]) -> None:
    known = keys.known(database, arguments[0])
    keys.note(database, arguments[0], known._replace(exists=True, expires=False))


def _grow(keys: Keyspace, database: int, key: bytes, count: int) -> None:
    known = keys.known(database, key)
    keys.note(database, key, Known(exists=True, expires=_expiry_kept(known), least=known.least + count))


def _shrink(keys: Keyspace, database: int, key: bytes, count: int) -> None:
    known = keys.known(database, key)
    keys.note(database, key, known._replace(least=known.least - count) if known.least > count else UNKNOWN)


def _pushed(keys: Keyspace, database: int, arguments: tuple[bytes, ...]) -> None:
    _grow(keys, database, arguments[0], len(arguments) - 1)


def _popped(keys: Keyspace, database: int, arguments: tuple[bytes, ...]) -> None:
    count = arguments[1] if len(arguments) > 1 else b"1"
    _shrink(keys, database, arguments[0], int(count) if count.isdigit() and len(count) < 20 else 1 << 63)


def _moved_element(keys: Keyspace, database: int, arguments: tuple[bytes, ...]) -> None:
    origin, target = arguments[:2]
    if origin == target:
        _existing(keys, database, origin)
    else:
        _shrink(keys, database, origin, 1)
        _grow(keys, database, target, 1)


def _fields_set(keys: Keyspace, database: int, arguments: tuple[bytes, ...]) -> None:
    keys.add_fields(database, arguments[0], arguments[1::2])


def _field_set(keys: Keyspace, database: int, arguments: tuple[bytes, ...]) -> None:
    keys.add_fields(database, arguments[0], arguments[1:2])


def _fields_deleted(keys: Keyspace, database: int, arguments: tuple[bytes, ...]) -> None:
    known = keys.known(database, arguments[0])
    if known.fields:
        known.fields.difference_update(arguments[1:])
    keys.note(database, arguments[0], known if known.fields else UNKNOWN)


def _renamed(keys: Keyspace, database: int, arguments: tuple[bytes, ...]) -> None:
    known = keys.known(database, arguments[0])
    keys.note(database, arguments[0], ABSENT)
    keys.note(database, arguments[1], known._replace(exists=True))


def _moved(keys: Keyspace, database: int, arguments: tuple[bytes, ...]) -> None:
    target = database_number(arguments[1])
    if target is None:
        keys.forget_all()
        return
    known = keys.known(database, arguments[0])
    keys.note(database, arguments[0], ABSENT)
    keys.note(target, arguments[0], known._replace(exists=True))


def _copied(keys: Keyspace, database: int, arguments: tuple[bytes, ...]) -> None:
    options = [option.lower() for option in arguments[2:]]
    number = options[options.index(b"db") + 1 :][:1] if b"db" in options else [b"%d" % database]
    target = database_number(number[0]) if number else None
    if target is None:
        keys.forget_all()
        return
    known = keys.known(database, arguments[0])
    keys.note(target, arguments[1], known._replace(exists=True, fields=None))


def _swapped(keys: Keyspace, database: int, arguments: tuple[bytes, ...]) -> None:
    one, other = database_number(arguments[0]), database_number(arguments[1])
    if one is None or other is None:
        keys.forget_all()
    else:
        keys.swap(one, other)


def _flushed(keys: Keyspace, database: int, arguments: tuple[bytes, ...]) -> None:
    keys.flush(database)


def _flushed_all(keys: Keyspace, database: int, arguments: tuple[bytes, ...]) -> None:
    keys.flush(None)


def _anything(keys: Keyspace, database: int, arguments: tuple[bytes, ...]) -> None:
    keys.forget_all()


def _nothing(keys: Keyspace, database: int, arguments: tuple[bytes, ...]) -> None:
    pass


_ANYTHING: tuple[int, Effect] = (0, _anything)

# Name -> (arguments it has at least, what it proves). Redis 7.0 and Valkey 9, as they write them to the log.
EFFECTS: Mapping[bytes, tuple[int, Effect]] = {
    b"set": (2, _set),
    b"setex": (3, _set_expiring),
    b"psetex": (3, _set_expiring),
    b"setnx": (2, _set_many),
    b"getset": (2, _set_many),
    b"mset": (2, _set_many),
    b"msetnx": (2, _set_many),
    b"restore": (3, _restored),
    b"del": (1, _deleted),
    b"unlink": (1, _deleted),
    b"getdel": (1, _deleted),
    b"expire": (2, _expiring),
    b"pexpire": (2, _expiring),
    b"expireat": (2, _expiring),
    b"pexpireat": (2, _expiring),
    b"persist": (1, _persistent),
    b"rename": (2, _renamed),
    b"renamenx": (2, _renamed),
    b"move": (2, _moved),
    b"copy": (2, _copied),
    b"swapdb": (2, _swapped),
    b"flushdb": (0, _flushed),
    b"flushall": (0, _flushed_all),
    b"lpush": (2, _pushed),
    b"rpush": (2, _pushed),
    b"lpushx": (2, _pushed),
    b"rpushx": (2, _pushed),
    b"lpop": (1, _popped),
    b"rpop": (1, _popped),
    b"lmove": (4, _moved_element),
    b"rpoplpush": (2, _moved_element),
    b"hset": (3, _fields_set),
    b"hmset": (3, _fields_set),
    b"hsetnx": (3, _field_set),
    b"hincrby": (3, _field_set),
    b"hincrbyfloat": (3, _field_set),
    b"hdel": (2, _fields_deleted),
    # the key is there afterwards, its expiry as it was
    **dict.fromkeys((b"incr", b"decr"), (1, _written)),
    **dict.fromkeys((b"incrby", b"decrby", b"incrbyfloat", b"append"), (2, _written)),
    **dict.fromkeys((b"setrange", b"setbit", b"bitfield", b"lset", b"linsert"), (3, _written)),
    **dict.fromkeys((b"sadd", b"pfadd", b"pfmerge"), (1, _written)),
    **dict.fromkeys((b"zadd", b"zincrby", b"geoadd"), (3, _written)),
    **dict.fromkeys((b"xadd", b"xdel", b"xtrim", b"xack", b"xclaim", b"xautoclaim", b"xsetid"), (2, _written)),
    b"xgroup": (2, _second_existing),
    # it may have taken the last element away, or stored an empty result
    **dict.fromkeys((b"lrem", b"ltrim", b"srem", b"spop", b"zrem", b"zpopmin", b"zpopmax"), (1, _unclear)),
    **dict.fromkeys((b"zremrangebyrank", b"zremrangebyscore", b"zremrangebylex"), (1, _unclear)),
    **dict.fromkeys((b"sinterstore", b"sunionstore", b"sdiffstore", b"geosearchstore"), (1, _unclear)),
    **dict.fromkeys((b"zinterstore", b"zunionstore", b"zdiffstore", b"zrangestore"), (1, _unclear)),
    b"smove": (3, _two_unclear),
    b"bitop": (2, _second_unclear),
    # no key
    **dict.fromkeys((b"script", b"function"), (0, _nothing)),
}
