"""The recorded logs of real servers, wherever DBLOG_FIXTURES says they lie. No tests.

A scenario is an archive `SERVER/NAME.tar.xz` that holds one folder, or that folder itself. Nothing is known here of which servers and
scenarios there are; where there are none, tests over them are skipped by name.
"""

from __future__ import annotations

from collections.abc import Iterator
import os
from pathlib import Path
import tarfile

ROOT = Path(__file__).parent.parent
FIXTURES = ROOT / os.environ.get("DBLOG_FIXTURES", "../shared/fixtures")
NOT_HERE = "no such fixtures (DBLOG_FIXTURES names their folder)"
ARCHIVE = ".tar.xz"
OTHER_DRIVERS = ("pg", "redis", "valkey", "mongo")  # how their folders begin


def scenarios() -> list[str]:
    """Return the names (`mysql97/types_full`) of all scenarios of the MySQL family that are at hand."""
    return sorted(set(_names()))


def _names() -> Iterator[str]:
    for folder in sorted(FIXTURES.glob("*/")) if FIXTURES.is_dir() else ():
        if folder.is_dir() and not folder.name.startswith(OTHER_DRIVERS):
            yield from (f"{folder.name}/{path.name.removesuffix(ARCHIVE)}" for path in folder.glob(f"*{ARCHIVE}"))
            yield from (f"{folder.name}/{path.name}" for path in folder.iterdir() if path.is_dir())


def unpack(name: str, into: Path) -> Path | None:
    """Return the folder of a scenario, unpacked below `into` where it is an archive; None when there is none of that name."""
    if (FIXTURES / name).is_dir():
        return FIXTURES / name
    archive = FIXTURES / f"{name}{ARCHIVE}"
    if not archive.exists():
        return None
    with tarfile.open(archive) as files:
        files.extraction_filter = getattr(tarfile, "data_filter", None)  # not in Python 3.11.2, which Debian 12 has
        files.extractall(into)  # noqa: S202 - filtered
    whole = into / Path(name).name
    return whole if whole.is_dir() else next(path for path in into.iterdir() if path.is_dir())
