"""What stands around statements: files of LOAD DATA, and variables. No I/O: the bytes of one body in, a value out.

    type                                  body
    BEGIN_LOAD_QUERY, APPEND_BLOCK        number of the file (4), a block of it
    CREATE_FILE                           the same (servers before 5.0 alone write it, and put a LOAD body before the block)
    EXEC_LOAD, DELETE_FILE                number of the file (4)
    EXECUTE_LOAD_QUERY                    as a statement, with 13 bytes before its status: number of the file, where in the text its name
                                          begins and ends (4 each), what becomes of duplicates (1)
    LOAD, NEW_LOAD                        thread, seconds, lines to skip (4 each), sizes of table and schema (1 each), number of fields (4);
                                          five terminators (LOAD: one byte each; NEW_LOAD: with their sizes), flags (1; LOAD: 2), sizes
                                          of the fields' names, then these, table, schema, each ended by a zero byte, and the file
    USER_VAR                              size of the name (4), name, whether it is NULL (1); else type (1), collation (4), size of the
                                          value (4), value; since 5.6 flags (1): 1 unsigned

Sources: libs/mysql/binlog/event of MySQL 9.7, sql/log_event.h of MariaDB 11.8.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from struct import Struct
from typing import Any

from dblog_tasks.mysql import binlog
from dblog_tasks.mysql.lengths import counted, exactly, number

_LOAD = Struct("<IIIBBI")
_EXECUTE = Struct("<IIBHHIIIB")
_UNSIGNED = 1


@dataclass(frozen=True, slots=True)
class FileBlock:
    """A part of a file that LOAD DATA reads; without data, the file as a whole."""

    file_id: int
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class LoadQuery:
    """A LOAD DATA statement. `text[start:end]` is the name of the file, whose bytes came before as blocks of `file_id`."""

    thread: int
    seconds: int
    error: int
    schema: str
    text: bytes
    file_id: int
    start: int
    end: int
    duplicates: int


@dataclass(frozen=True, slots=True)
class Load:
    """A LOAD DATA of before MySQL 5.0, without its text."""

    thread: int
    seconds: int
    skip_lines: int
    schema: str
    table: str
    fields: tuple[str, ...]
    file: str


@dataclass(frozen=True, slots=True)
class UserVariable:
    """A variable the statement that follows reads.

    Attributes:
        name: without @.
        null: it has no value.
        type: how the value is written (0 text, 1 double, 2 integer, 4 decimal).
        charset: number of its collation.
        value: its bytes.
        flags: 1: an integer without sign.
    """

    name: str
    null: bool
    type: int = 0
    charset: int = 0
    value: bytes = b""
    flags: int = 0


def _block(body: bytes, frame: binlog.Frame) -> FileBlock:
    return FileBlock(number(body, 0, 4), body[4:])


def _file(body: bytes, frame: binlog.Frame) -> FileBlock:
    return FileBlock(number(body, 0, 4))


def _execute(body: bytes, frame: binlog.Frame) -> LoadQuery:
    thread, seconds, schema_size, error, status_size, file_id, start, end, duplicates = _EXECUTE.unpack_from(body)
    at = _EXECUTE.size + status_size
    schema = exactly(body, at, schema_size + 1)
    text = body[at + schema_size + 1 :]
    if schema[-1] or not start <= end <= len(text):
        raise ValueError(f"schema name of {schema_size} bytes at {at}, file name at {start} to {end} of {len(text)} bytes")
    return LoadQuery(thread, seconds, error, schema[:-1].decode("utf-8", "replace"), text, file_id, start, end, duplicates)


def _load(body: bytes, frame: binlog.Frame) -> Load:
    thread, seconds, skip_lines, table_size, schema_size, count = _LOAD.unpack_from(body)
    at = _LOAD.size
    if frame.type == binlog.LOAD:
        at += 7
    else:
        for _ in range(5):
            at += 1 + number(body, at, 1)
        at += 1
    sizes = exactly(body, at, counted(body, at, count, 2))
    at += count
    names = []
    for size in (*sizes, table_size, schema_size):
        name = exactly(body, at, size + 1)
        if name[-1]:
            raise ValueError(f"name of {size} bytes at {at} is not ended by a zero byte")
        names.append(name[:-1].decode("utf-8", "replace"))
        at += size + 1
    file = body[at:].split(b"\0", 1)[0].decode("utf-8", "replace")
    return Load(thread, seconds, skip_lines, names[-1], names[-2], tuple(names[:-2]), file)


def _user_variable(body: bytes, frame: binlog.Frame) -> UserVariable:
    size = number(body, 0, 4)
    name = exactly(body, 4, size).decode("utf-8", "replace")
    at = 4 + size
    if number(body, at, 1):
        return UserVariable(name, null=True)
    value = exactly(body, at + 10, number(body, at + 6, 4))
    flags = body[at + 10 + len(value)] if at + 10 + len(value) < len(body) else 0
    return UserVariable(name, False, body[at + 1], number(body, at + 2, 4), value, flags)  # noqa: FBT003 - the fields in order


READERS: Mapping[int, Callable[[bytes, binlog.Frame], Any]] = {
    **dict.fromkeys((binlog.CREATE_FILE, binlog.APPEND_BLOCK, binlog.BEGIN_LOAD_QUERY), _block),
    **dict.fromkeys((binlog.EXEC_LOAD, binlog.DELETE_FILE), _file),
    **dict.fromkeys((binlog.LOAD, binlog.NEW_LOAD), _load),
    binlog.EXECUTE_LOAD_QUERY: _execute,
    binlog.USER_VAR: _user_variable,
}
