"""How many examples the property tests look at: few in each run of the suite, DBLOG_EXAMPLES times as many in `make soak`. No tests."""

from __future__ import annotations

import os

from hypothesis import settings

TIMES = int(os.environ.get("DBLOG_EXAMPLES", "1"))
USUAL = 30


def examples(count: int) -> settings:
    """Have a test look at so many examples, or as many times that as are asked for."""
    return settings(max_examples=count * TIMES)
