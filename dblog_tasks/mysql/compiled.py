"""Whether there is compiled code.

Law: the extension `_native` is a matter of speed alone, and may be missing: an installation without a C compiler has none. Everything it
does is done in Python too, with the same result; DBLOG_NATIVE=0 leaves it to that.
"""

from __future__ import annotations

import os
from types import ModuleType

_extension: ModuleType | None
try:
    from dblog_tasks.mysql import _native as _extension
except ImportError:
    _extension = None


def extension() -> ModuleType | None:
    """Return the extension, None when there is none or the environment says not to use it."""
    return _extension if os.environ.get("DBLOG_NATIVE", "1") != "0" else None
