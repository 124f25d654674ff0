"""`dblog`, and `python -m dblog_tasks`: memory is set up for a process that runs one verb, then the command line is imported.

Law: nothing but that; who imports the package keeps the memory as it is.
"""

from __future__ import annotations

import gc
from io import TextIOWrapper
import sys

MEMORY_KEPT = 8 << 20


def main() -> None:
    """Run the command line and leave with its exit code. What is printed is UTF-8 in every locale: scripts hold text of the database."""
    gc.set_threshold(50_000, 20, 100)  # what is imported stays; rows come and go by the million, and hold no cycles
    bytes(MEMORY_KEPT)  # once freed, the C library keeps freed memory up to this for the next block instead of returning it
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # what the interpreter made; nothing else can be told its encoding
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    from dblog_tasks.cli import run  # noqa: PLC0415 - what is imported is not looked through for garbage again and again

    code = run(sys.argv[1:])
    gc.freeze()  # the interpreter ends without looking through all of it
    sys.exit(code)


if __name__ == "__main__":
    main()
