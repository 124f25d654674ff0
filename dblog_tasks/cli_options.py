"""What the verbs of the command line share: exit codes, options, and the options of a store."""

from __future__ import annotations

from collections.abc import Sequence
import os
from typing import Annotated, Any

from cyclopts import Parameter

from dblog_tasks import storage

DONE, USAGE, INCOMPLETE, CONFLICTING, DIFFERS, DRIFTED, INTERRUPTED = 0, 1, 3, 4, 5, 6, 130


def given(help: str, name: str | None = None) -> Parameter:  # noqa: A002 - the parser's word
    """Return an option whose default is nothing, so none is shown."""
    return Parameter(name=name, help=help, show_default=False)


StorageOptions = Annotated[list[str], given("K=V for the store; secrets as K=env:NAME.", "--storage-option")]


def store(pairs: Sequence[str], *urls: str) -> dict[str, Any]:
    """Return the storage options given, over those of the settings where a URL leads to another machine."""
    options = storage.parse_storage_options(pairs, os.environ)
    if all("://" not in url or url.startswith(("file://", "memory://")) for url in urls):
        return options
    from dblog_tasks.settings import read_settings  # noqa: PLC0415 - takes long to import

    return read_settings().open_storage_options() | options
