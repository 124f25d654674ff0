"""Which server a log is of. No I/O.

server id     in the header of every event; the first one is of the server that wrote the file
server uuid   what MySQL's GTIDs begin with: 3e11fa47-71ca-11e1-9e33-c80aa9429562:23
MariaDB's     GTIDs hold the server id: 0-1-35
"""

from __future__ import annotations

from collections.abc import Iterable
import re

from dblog_tasks.mysql.binlog import MAGIC

HEAD = 19 + len(MAGIC)  # bytes that hold the first event's header
_UUID = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}):", re.ASCII | re.IGNORECASE)
_MARIADB = re.compile(r"[0-9]+-([0-9]+)-[0-9]+", re.ASCII)


def server_id_of(head: bytes) -> str:
    """Return the id of the server that wrote a file which begins so; empty for what is no binary log."""
    return str(int.from_bytes(head[9:13], "little")) if head.startswith(MAGIC) and len(head) >= HEAD else ""


def servers_of(names: Iterable[str]) -> tuple[set[str], set[str]]:
    """Return the server ids and uuids that the names of transactions tell."""
    names = list(names)
    ids = {found[1] for name in names if (found := _MARIADB.fullmatch(name))}
    uuids = {found[1].lower() for name in names if (found := _UUID.match(name))}
    return ids, uuids
