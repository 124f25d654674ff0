"""Binary logs of MySQL and MariaDB.

binlog         frames: magic, headers, checksums              no I/O
bodies         statements, transaction ids, rotation          no I/O
table_map      what the log says of a table                   no I/O
charsets       character sets and their codecs                no I/O
values, json_binary, rows   values and row images             no I/O
json_diff      documents after partial updates                no I/O
layout         log and schema together, prepared once         no I/O
images         what the columns of an event are enough for    no I/O
row_versions   changes of system-versioned tables             no I/O
statements     what kind of statement a text is               no I/O
payload        compressed transactions opened                 no I/O
place          places in a log                                no I/O
salvage        frames around damage                           no I/O
reading        a file to the damage, or around it             no I/O
transactions   frames put together                            no I/O but a temporary file
header_index   what a closed file holds, to be kept           no I/O
header_search  what of a file is to be read                   no I/O
indexes        where header indexes are kept
reading_on     reading begun inside of a log
catalog        what a schema file or a server says
decoder        log files to events
literals       values as SQL                                  no I/O
sql            changes as text for the client                 no I/O
carried        rows a foreign key took along, in its order    no I/O
row_comparison values asked of a server, as the log has them  no I/O
target_checks  what of a server forbids a replay
target_rows    rows read, and locked, by key
target_writes  rows written in bulk
target         a server that plans are replayed on
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what is imported here is imported with every module of this folder: each verb takes what it needs
    from dblog_tasks.backend import OpenOptions, PassedOver
    from dblog_tasks.event import Position
    from dblog_tasks.mysql.decoder import MySQLDecoder
    from dblog_tasks.target import Target, TargetOptions


class MySQLBackend:
    """Opens binary logs of MySQL and MariaDB."""

    driver = "mysql"

    def open(self, options: OpenOptions) -> MySQLDecoder:
        """Return a decoder over the files or the reader. Raises InvalidInput without either, and what storage raises."""
        from dblog_tasks.mysql.decoder import MySQLDecoder  # noqa: PLC0415

        return MySQLDecoder(options)

    def pass_over(self, options: OpenOptions) -> PassedOver | None:
        """Return what its header index says of the one file of the options when nothing of it is needed, else None; see `PassedOver`."""
        from dblog_tasks.mysql.indexes import pass_over  # noqa: PLC0415

        return pass_over(options)

    def target(self, options: TargetOptions) -> Target:
        """Return the server of a DSN, connected. Raises InvalidInput for a DSN that cannot be used, TargetError."""
        from dblog_tasks.mysql.target import MySQLTarget  # noqa: PLC0415 - takes long to import, seldom needed

        return MySQLTarget(options)

    def position_key(self, position: Position) -> tuple[str, int, int, int]:
        """Return the sort key of a position."""
        from dblog_tasks.mysql.place import position_key  # noqa: PLC0415

        return position_key(position)


backend = MySQLBackend()
