"""Binary logs of MySQL and MariaDB.

binlog         frames: magic, headers, checksums              no I/O
bodies         statements, transaction ids, rotation          no I/O
table_map      what the log says of a table                   no I/O
charsets       character sets and their codecs                no I/O
values, json_binary, rows   values and row images             no I/O
layout         log and schema together, prepared once         no I/O
statements     what kind of statement a text is               no I/O
transactions   frames put together                            no I/O but a temporary file
catalog        what a schema file or a server says
decoder        log files to events
sql            changes as text for the client
"""

from __future__ import annotations

from dblog_tasks.backend import OpenOptions
from dblog_tasks.event import Position
from dblog_tasks.mysql.decoder import MySQLDecoder, position_key


class MySQLBackend:
    """Opens binary logs of MySQL and MariaDB."""

    driver = "mysql"

    def open(self, options: OpenOptions) -> MySQLDecoder:
        """Return a decoder over the files or the reader. Raises InvalidInput without either, and what storage raises."""
        return MySQLDecoder(options)

    def position_key(self, position: Position) -> tuple[str, int, int]:
        """Return the sort key of a position."""
        return position_key(position)


backend = MySQLBackend()
