"""A MySQL or MariaDB server that plans are replayed on: one connection, its session, its transactions, the notes of what was done.

Law: the only module that opens a connection to write. Everything but the notes is written by `target_writes`. The undo is logged like
any write: the session never turns the log off. A lost connection and a lock that was not had undo the whole transaction before anything
is tried again; what the server has rules against is never tried again.

    dblog_replay          one row a batch, in the batch's own transaction: kill the replay anywhere, its notes tell what is done
      plan, batch         which batch of which plan
      done                steps of the plan that are dealt with after it, newest first
      note                JSON: what the replay has to know to go on, the segments of the inverse plan among it
      approver, written   who approved the plan, and when the batch was written

A replay also holds the lock `dblog_replay:PLAN` (GET_LOCK) while it runs; on a cluster that has no such locks, the key of the notes does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set as AbstractSet
from contextlib import suppress
import re
import struct
from typing import Any

import orjson
import pymysql
from pymysql.constants import CLIENT
from pymysql.protocol import MysqlPacket

from dblog_tasks.effects import depth_of
from dblog_tasks.errors import DblogError, InvalidInput, RowRefused, StorageError, TargetBusy, TargetError, TargetRefused
from dblog_tasks.event import JsonObject, Row, RowPair, Table
from dblog_tasks.mysql import target_checks as checks
from dblog_tasks.mysql.answer import Answer, read_rows
from dblog_tasks.mysql.catalog import connect
from dblog_tasks.mysql.literals import identifier, quote
from dblog_tasks.mysql.row_comparison import row_reader
from dblog_tasks.mysql.selection import REPLAY_TABLE
from dblog_tasks.mysql.target_checks import Name, Reference, Rights
from dblog_tasks.mysql.target_rows import ChildReader, KeyCondition, RowReader, children_of, title
from dblog_tasks.mysql.target_writes import STRICT, BatchWriter
from dblog_tasks.target import LOCK_WAIT, TOO_MUCH, BoundTable, Child, Effect, Load, TargetOptions

CLAIM_SECONDS = 10  # how long another replay of the same plan is waited for: one that was killed is gone by then
LOCK_WAIT_SECONDS = 5
# Rules of the database that are against a row: unique keys, foreign keys, checks, values that do not fit, SIGNAL of a trigger.
REFUSALS = frozenset(
    {1022, 1048, 1062, 1169, 1216, 1217, 1264, 1265, 1292, 1364, 1366, 1406, 1451, 1452, 1557, 1644, 1761, 1762, 3819, 4025}
)
# What may be tried again: lock waits, deadlocks (Galera's and group replication's at COMMIT too), lost connections, a server going down.
BUSY = frozenset({1040, 1047, 1053, 1158, 1159, 1160, 1161, 1197, 1205, 1213, 1927, 2006, 2013, 2055, 3100, 3101, 3572, 4031})
# What a smaller batch may not meet: locks; max_binlog_cache_size, the limit of group replication.
SMALLER = {1205: LOCK_WAIT, 3572: LOCK_WAIT, 1197: TOO_MUCH, 3100: TOO_MUCH}
KEPT = frozenset({*SMALLER, 1213, 3101})  # the connection is as good as before
_INDEX = re.compile(r"Duplicate entry .* for key '(?:[^']*\.)?([^']+)'")  # MySQL puts the table before the name

_SESSION = (
    "SET NAMES utf8mb4",
    f"SET SESSION sql_mode = '{STRICT}', time_zone = '+00:00', foreign_key_checks = 1, unique_checks = 1, autocommit = 1",
    f"SET SESSION innodb_lock_wait_timeout = {LOCK_WAIT_SECONDS}, lock_wait_timeout = {LOCK_WAIT_SECONDS}",
    "SET SESSION character_set_results = NULL, sql_quote_show_create = 1, sql_safe_updates = 0, completion_type = 0, sql_auto_is_null = 0",
    "SET SESSION sql_select_limit = 18446744073709551615",  # a row that is not sent would be taken for one that is gone
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
)
# What not every server has, or lets everybody set.
_SESSION_WISHES = (
    "SET SESSION binlog_format = 'ROW'",
    "SET SESSION explicit_defaults_for_timestamp = 1",
    "SET SESSION in_predicate_conversion_threshold = 0",
    "SET SESSION range_optimizer_max_mem_size = 0",
    "SET SESSION show_gipk_in_create_table_and_information_schema = ON",
    "SET SESSION wait_timeout = 28800",
)
_TABLE = """CREATE TABLE IF NOT EXISTS {} (
  plan char(32) CHARACTER SET ascii NOT NULL,
  batch int unsigned NOT NULL,
  done bigint unsigned NOT NULL,
  note longtext CHARACTER SET utf8mb4 NOT NULL,
  approver varchar(255) CHARACTER SET utf8mb4 NOT NULL,
  written timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
  PRIMARY KEY (plan, batch)
) ENGINE=InnoDB"""


def replay_table_sql(schema: str) -> str:
    """Return the statement that makes `dblog_replay` in a schema."""
    return _TABLE.format(f"{identifier(schema)}.{identifier(REPLAY_TABLE)}")


class MySQLTarget:
    """See `target.Target`."""

    def __init__(self, options: TargetOptions) -> None:
        self._options = options
        self._connection: pymysql.Connection[Any] | None = None
        self._met, self._packet_max = 0, 1 << 30
        self._schema = options.progress_schema
        self._claimed = self._in_transaction = self._read_only = False
        self._children: dict[BoundTable, list[ChildReader]] = {}
        self._readers: dict[BoundTable, RowReader] = {}
        self._depths: dict[BoundTable, int | None] = {}
        self.warnings: list[str] = []
        self._connect()
        self._server = checks.read_server(self._ask)
        self._writer = BatchWriter(self._run, self._query, self._depths.get)
        ((limit,),) = self._ask("SELECT @@max_allowed_packet")
        self._packet_max = int(limit or 1 << 24)
        self.transaction_max = checks.transaction_max(self._ask)

    @property
    def server(self) -> JsonObject:
        """Who it is."""
        return {"version": self._server.version, "id": self._server.id, "uuid": self._server.uuid, "account": self._server.account}

    # ---- the connection

    def _connect(self) -> None:
        try:
            connection = connect(
                self._options.dsn, self._options.password, client_flag=CLIENT.FOUND_ROWS, use_unicode=False, autocommit=True
            )
        except StorageError as error:
            raise TargetBusy(error.what, where=error.where, hint=error.hint) from None
        self._connection = connection
        for statement in _SESSION:
            self._query(statement)
        for statement in _SESSION_WISHES:
            with suppress(TargetError):
                self._query(statement)
        if self._options.triggers.startswith("set:"):
            self._query(_trigger_switch(self._options.triggers))

    def _query(self, statement: str) -> Answer:
        """Return the rows a statement gives, in bytes. Raises TargetBusy, RowRefused, TargetError."""
        if self._connection is None:
            raise TargetBusy("the connection to the server is lost")
        try:
            if len(statement) > self._packet_max // 4 and len(statement.encode()) >= self._packet_max:
                raise TargetError(
                    f"a statement of {len(statement)} characters is more than the server takes", hint="raise max_allowed_packet"
                )
            return self._answer(self._connection, statement)
        except (pymysql.MySQLError, OSError, struct.error, LookupError) as error:
            raise self._error(error) from None
        except UnicodeEncodeError as error:
            raise TargetError(f"a value is no text: {error.reason}") from None

    def _answer(self, connection: Any, statement: str) -> Answer:
        self._met = connection.query(statement, unbuffered=True)
        result = connection._result  # noqa: SLF001 - the rows are read in its place
        if not result.unbuffered_active:
            return ()
        result.unbuffered_active = False  # whatever happens now: nobody is to read what is left
        rows = read_rows(connection._rfile.read, result.field_count, connection._next_seq_id, _refuse)  # noqa: SLF001
        self._met = len(rows)
        return rows

    def _run(self, statement: str) -> int:
        self._options.passing("write")
        self._query(statement)
        return self._met

    def _ask(self, statement: str) -> list[tuple[str | None, ...]]:
        return [tuple(None if value is None else value.decode(errors="replace") for value in row) for row in self._query(statement)]

    def _error(self, error: Exception) -> TargetError:
        number = error.args[0] if isinstance(error, pymysql.MySQLError) and error.args and isinstance(error.args[0], int) else 0
        text = error.args[-1] if error.args else type(error).__name__
        said = f"the server says: {text} ({number})" if number else f"the connection to the server is lost: {text or type(error).__name__}"
        if number in REFUSALS:
            return RowRefused(said)
        if isinstance(error, OSError | struct.error | pymysql.err.InterfaceError) or number in BUSY or not number:
            if number not in KEPT:
                self._drop()
            return TargetBusy(said, hint=SMALLER.get(number, ""))
        return TargetError(said)

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):
                connection._force_close()  # type: ignore[attr-defined]  # noqa: SLF001 - says no word to a server that may not answer

    # ---- what is here

    def bind(self, tables: Sequence[Table], used: Mapping[int, AbstractSet[str] | None]) -> Mapping[int, BoundTable]:
        """Return the plan's tables as they are here."""
        self.warnings = []  # of an earlier try
        if not self._options.read_only:
            self.warnings += checks.check_server(self._ask, self._server)
        rights = Rights(self._ask, self._server.account)
        described: dict[Name, checks.Described] = {}
        for table in tables:
            name = (table.schema, table.name)
            if name[1] == REPLAY_TABLE:
                raise TargetRefused(
                    f"the plan would change {'.'.join(name)}, which tells what was replayed", hint="leave it out of the plan"
                )
            described.setdefault(name, checks.describe(self._ask, name)) if name not in described else None
        references = self._references(rights, set(described))
        bound = {
            at: checks.bind(
                table,
                described[table.schema, table.name],
                self._options,
                rights,
                referenced=bool(references.get((table.schema, table.name))),
                used=used.get(at),
            )
            for at, table in enumerate(tables)
        }
        self._bind_children(list(bound.values()), references, described)
        self._schema = self._noted_in() or self._schema or self._default_schema() or (min(described)[0] if described else "")
        self.warnings += sorted({warning for table in bound.values() for warning in table.warnings})
        return bound

    def _references(self, rights: Rights, tables: AbstractSet[Name]) -> Mapping[Name, Sequence[Reference]]:
        """Return the foreign keys that lead to these tables; where nothing will be written, those that can be seen."""
        try:
            return checks.read_references(self._ask, rights, tables, mariadb=self._server.mariadb)
        except TargetRefused as error:
            if not self._options.read_only:
                raise
            self.warnings.append(f"{error.what}: {error.hint}")
            return {}

    def _noted_in(self) -> str:
        """Return the schema that has notes of this plan; empty where none has. Raises TargetRefused when another one is asked for."""
        found = self._schemas_noting(self._options.plan)
        if found and self._schema not in ("", *found):
            raise TargetRefused(f"the notes of this plan are in {found[0]}.{REPLAY_TABLE}", hint=f"--progress-schema {found[0]}")
        return found[0] if found else ""

    def _schemas_noting(self, plan: str) -> list[str]:
        """Return the schemas whose `dblog_replay` has notes of a plan."""
        tables = f"SELECT TABLE_SCHEMA FROM information_schema.TABLES WHERE TABLE_NAME = {quote(REPLAY_TABLE)} ORDER BY 1"  # noqa: S608
        noting = "SELECT 1 FROM {}.{} WHERE plan = {} LIMIT 1"
        names = [schema or "" for (schema,) in self._ask(tables)]
        return [name for name in names if self._ask(noting.format(identifier(name), identifier(REPLAY_TABLE), quote(plan)))]

    def _default_schema(self) -> str:
        ((name,),) = self._ask("SELECT DATABASE()")
        return name or ""

    def _bind_children(
        self, bound: Sequence[BoundTable], references: Mapping[Name, Sequence[Reference]], described: dict[Name, checks.Described]
    ) -> None:
        for table in bound:
            for reference in references.get((table.live.schema, table.live.name), ()):
                if reference.child not in described:
                    described[reference.child] = checks.describe(self._ask, reference.child)
                child = described[reference.child].known.table
                self._children.setdefault(table, []).append(ChildReader(table, child, reference))
        parents: dict[Name, set[Name]] = {}
        for parent, found in references.items():
            for reference in found:
                parents.setdefault(reference.child, set()).add(parent)
        for table in bound:
            self._depths[table] = depth_of((table.live.schema, table.live.name), parents)

    # ---- notes

    def claim(self) -> list[JsonObject]:
        """Keep other replays of this plan out, and return the notes of its committed batches."""
        self._lock()
        self._claimed = True
        if not self._ask(self._noted_sql("1", "LIMIT 1")) and not self._table_is_here():
            try:
                self._query(replay_table_sql(self._schema))
            except TargetError as error:
                raise TargetRefused(
                    f"the table {self._schema}.{REPLAY_TABLE} cannot be made: {error.what}",
                    hint=f"have it made: {' '.join(replay_table_sql(self._schema).split())}",
                ) from None
        return self.noted()

    def _table_is_here(self) -> bool:
        return bool(
            self._ask(
                "SELECT 1 FROM information_schema.TABLES"  # noqa: S608 - names are literals
                f" WHERE TABLE_SCHEMA={quote(self._schema)} AND TABLE_NAME={quote(REPLAY_TABLE)}"
            )
        )

    def _lock(self) -> None:
        name = quote(f"{REPLAY_TABLE}:{self._options.plan}")
        try:
            ((got,),) = self._ask(f"SELECT GET_LOCK({name}, {CLAIM_SECONDS})")
        except TargetBusy:
            raise
        except TargetError:
            return  # no such locks here: the key of the notes is what keeps others out
        if got != "1":
            raise TargetRefused("another replay of this plan is at work on this server", hint="wait for it to end")

    def _noted_sql(self, what: str, end: str) -> str:
        plan = quote(self._options.plan)
        if not self._table_is_here():
            return "SELECT 1 LIMIT 0"
        return f"SELECT {what} FROM {identifier(self._schema)}.{identifier(REPLAY_TABLE)} WHERE plan = {plan} {end}"  # noqa: S608

    def noted(self) -> list[JsonObject]:
        """Return the notes of this plan's committed batches."""
        return [orjson.loads(note or "null") for (note,) in self._ask(self._noted_sql("note", "ORDER BY batch"))]

    def note(self, note: JsonObject) -> None:
        """Add a note of the batch, in its transaction."""
        values = (quote(self._options.plan), str(note["batch"]), str(note["done"]), quote(orjson.dumps(note).decode()))
        approver = quote(str(note.get("approver", ""))[:255])
        place = f"{identifier(self._schema)}.{identifier(REPLAY_TABLE)}"
        try:
            self._run(f"INSERT INTO {place} (plan, batch, done, note, approver) VALUES ({', '.join(values)}, {approver})")  # noqa: S608
        except RowRefused:
            raise TargetError(
                "another replay of this plan has done this batch meanwhile", hint="run it again: it goes on from there"
            ) from None

    def forget(self, plan: str) -> None:
        """Remove the notes of a plan that is taken back, in this transaction."""
        for schema in self._schemas_noting(plan):
            self._run(f"DELETE FROM {identifier(schema)}.{identifier(REPLAY_TABLE)} WHERE plan = {quote(plan)}")  # noqa: S608

    # ---- transactions

    def begin(self, *, read_only: bool = False) -> None:
        """Begin a transaction; one that only reads sees one moment."""
        self._read_only = read_only
        if read_only:
            self._query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        self._query("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY" if read_only else "START TRANSACTION")
        self._in_transaction = True

    def commit(self) -> None:
        """Commit."""
        self._options.passing("commit")
        try:
            self._query("COMMIT")
        finally:
            self._in_transaction = False
        self._options.passing("committed")

    def rollback(self) -> None:
        """Undo all since `begin`."""
        self._in_transaction = False
        if self._connection is not None:
            with suppress(DblogError):
                self._query("ROLLBACK")

    def recover(self) -> None:
        """Connect again where the connection is lost, and claim again."""
        if self._connection is None:
            self._connect()
            if self._claimed:
                self._lock()

    # ---- rows

    @property
    def _locking(self) -> str:
        return "" if self._read_only else " FOR UPDATE"

    def _reader(self, table: BoundTable) -> RowReader:
        if table not in self._readers:
            self._readers[table] = RowReader(table)
        return self._readers[table]

    def rows(self, table: BoundTable, keys: Iterable[Row]) -> dict[Row, Row | None]:
        """Return the row of each key."""
        self._options.passing("read")
        return self._reader(table).read(self._query, keys, self._locking)

    def counts(self, table: BoundTable, keys: Iterable[Row]) -> dict[Row, int]:
        """Return how many rows there are of each."""
        self._options.passing("read")
        return {key: self._reader(table).count(self._query, key, self._locking) for key in keys}

    def children(self, table: BoundTable, changes: Sequence[RowPair]) -> list[list[Child]]:
        """Return for each change of a row the rows elsewhere that refer to what it would no longer hold."""
        return children_of(self._children.get(table, ()), changes, self._query, self._locking)

    def write(self, effects: Sequence[Effect]) -> Sequence[Effect]:
        """Write these effects."""
        try:
            return self._writer.write(effects)
        except RowRefused as error:
            effect = effects[int(error.where)]
            raise RowRefused(error.what + self._in_the_way(effect, error.what), where=error.where) from None

    def _in_the_way(self, effect: Effect, said: str) -> str:
        """Return in words which row holds what a unique key lets only one row hold; empty where none can be found."""
        index = _INDEX.search(said)
        live, after = effect.table.live, effect.after
        if index is None or after is None:
            return ""
        names = [
            (name or "").lower()
            for (name,) in self._ask(
                "SELECT COLUMN_NAME FROM information_schema.STATISTICS"  # noqa: S608 - names are literals
                f" WHERE TABLE_SCHEMA = {quote(live.schema)} AND TABLE_NAME = {quote(live.name)} AND INDEX_NAME = {quote(index[1])}"
            )
        ]
        places = [at for at, column in enumerate(live.columns) if column.name.lower() in names]
        condition = KeyCondition([live.columns[at] for at in places])
        select, read = row_reader(live)
        where = condition.one(tuple([after[at] for at in places]))
        rows = read(self._query(f"SELECT {select} FROM {title(live)} WHERE {where} LIMIT 1")) if places else []  # noqa: S608
        shown = [{column.name: column.shown(value) for column, value in zip(live.columns, row, strict=True)} for row in rows]
        return f"; in the way is {shown[0]!r:.500}" if shown else ""

    # ---- how it is

    def load(self) -> Load:
        """Return how busy the server is."""
        found = self._ask("SHOW GLOBAL STATUS LIKE 'Threads_running'")
        return Load(int(found[0][1] or 0) if found else 0)

    def close(self) -> None:
        """End the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):
                connection.close()


def _refuse(packet: bytes) -> None:
    MysqlPacket(packet, "utf8").raise_for_error()


def _trigger_switch(triggers: str) -> str:
    name, _, value = triggers.removeprefix("set:").partition("=")
    if not (name.startswith("@") and name[1:].isidentifier() and value.lstrip("-").isdigit()):
        raise InvalidInput(f"{triggers!r:.60} sets no variable", where="--triggers", hint="write set:@variable=1")
    return f"SET {name} = {value}"
