from collections.abc import Callable, Mapping, Sequence
from typing import Self

class Lines:
    def __new__(cls, slots: Sequence[tuple[int, bytes, bytes, str, Callable[..., str]]], tail: bytes, width: int) -> Self: ...

class Rows:
    def __new__(cls, flags: bytes, deletes: Lines, values: Lines) -> Self: ...

def undo(
    data: bytes,
    places: tuple[int, ...],
    left: int,
    transactions: tuple[bytes, ...],
    tables: tuple[tuple[Rows, Mapping[bytes, Lines]] | None, ...],
    begun: bytes,
) -> tuple[bytes, int, bytes, int, list[str] | None, int, bool]: ...
