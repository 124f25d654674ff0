from typing import Any, Self, TypeVar

from dblog_tasks.event import Row, RowPair

_Frame = TypeVar("_Frame", bound=tuple[Any, ...])

class Reader:
    def __new__(cls, columns: list[tuple[str, int, int, object]]) -> Self: ...

def rows(before: Reader | None, after: Reader | None, data: bytes, at: int, end: int) -> list[RowPair]: ...
def json_rows(before: Reader | None, after: Reader | None, alone: bytes, data: bytes, at: int, end: int) -> tuple[bytes, int]: ...
def image(reader: Reader, data: bytes, at: int) -> tuple[Row, int]: ...
def frames(make: type[_Frame], block: bytes, at: int, base: int, checksum: int, placed: bool, most: int, last: int) -> list[_Frame]: ...
def plain(
    block: bytes,
    at: int,
    base: int,
    checksum: int,
    placed: bool,
    name: str,
    file: bytes,
    known: dict[bytes, tuple[object, bytes, dict[int, tuple[Any, ...]]]],
    maps: dict[bytes, Any],
    numbers: dict[int, int],
    transactions: dict[str, int],
    size: int,
    rows: int,
    tables: int,
) -> tuple[int, bytes, int, list[tuple[int, int, int]], int, int, int, tuple[bytes, int] | None]: ...
def hops(block: bytes, at: int, last: int) -> tuple[int, int, int]: ...
def crc32(data: bytes, folding: bool = True) -> int: ...
