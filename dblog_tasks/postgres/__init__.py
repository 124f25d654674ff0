"""PostgreSQL: logs of logical decoding, as the output plugins test_decoding, pgoutput and wal2json write them.

place           places in a log                                 no I/O
message         what the formats have in common                 no I/O
names           identifiers and types as text                   no I/O
type_names      the types every server has                      no I/O
test_decoding, pgoutput, wal2json   a format each               no I/O
columns         what SQL writes around them                     no I/O
formats         which format a log is in                        no I/O
transactions    messages put together                           no I/O but a temporary file
catalog         what a schema file says of tables               no I/O
live_catalog    what a live server says of them
images          whole rows, or why there are none               no I/O
selection       what the decoder asks of a selection            no I/O
events          the events of a log, judged and counted         no I/O
plain, skim     whole transactions at once: as lines of a plan, or only counted; with compiled code where there is some   no I/O
decoder         log files to events
sql             changes as text for psql                        no I/O
connection      a server, reached by a DSN
value_forms     values in the form a target shows them          no I/O
target          a server that plans are replayed on; target_checks, target_rows, target_writes are parts of it
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dblog_tasks.backend import OpenOptions
from dblog_tasks.event import Position
from dblog_tasks.postgres.decoder import PostgresDecoder
from dblog_tasks.postgres.events import PostgresEvent
from dblog_tasks.postgres.place import DRIVER, position_key
from dblog_tasks.target import TargetOptions

if TYPE_CHECKING:
    from dblog_tasks.postgres.target import PostgresTarget

__all__ = ["PostgresBackend", "PostgresEvent", "backend"]


class PostgresBackend:
    """Opens logs of logical decoding."""

    driver = DRIVER

    def open(self, options: OpenOptions) -> PostgresDecoder:
        """Return a decoder over the files or the reader. Raises InvalidInput without either, and what storage raises."""
        return PostgresDecoder(options)

    def position_key(self, position: Position) -> tuple[int, tuple[str | int, ...], int, int]:
        """Return the sort key of a position."""
        return position_key(position)

    def target(self, options: TargetOptions) -> PostgresTarget:
        """Return the server, connected. Raises InvalidInput for the DSN, TargetBusy when it cannot be reached."""
        from dblog_tasks.postgres.target import PostgresTarget  # noqa: PLC0415 - psycopg is an extra

        return PostgresTarget(options)


backend = PostgresBackend()
