"""Which content a stored file had when its bytes were read."""

from __future__ import annotations

from typing import NamedTuple


class Version(NamedTuple):
    """Which content a file had: two that are equal are the same one.

    Attributes:
        size: its length; None where the store does not say.
        mark: what else changes with the content (an ETag, a time).
    """

    size: int | None
    mark: object = None
