from collections.abc import Mapping
from typing import Any

def skim(data: bytes, at: int, end: int) -> tuple[int, int, bytes, bytes] | None: ...
def rows(
    data: bytes, at: int, base: int, specs: Mapping[bytes, tuple[Any, ...]], place: bytes, transaction: int, limit: int
) -> tuple[int, bytes, list[int]] | None: ...
