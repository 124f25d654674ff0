"""A PostgreSQL server that plans are replayed on: one session, its session, its transactions, the notes of what was done.

Law: the only module that writes to a server, with `target_writes`. The undo is logged like any write. Foreign keys stay on; those that may
be deferred are. A lost session, a deadlock and a lock that was not had undo the whole transaction before anything is tried again; what
the server has rules against is never tried again.

    dblog_replay          one row a batch, in the batch's own transaction: kill the replay anywhere, its notes tell what is done
      plan, batch         which batch of which plan
      done                steps of the plan that are dealt with after it, newest first
      note                JSON: what the replay has to know to go on, the segments of the inverse plan among it
      approver, written   who approved the plan, and when the batch was written

A replay also holds an advisory lock of its plan while it runs. Only where `--triggers set:session_replication_role=replica` asks for it,
neither triggers nor foreign keys are at work: then every row that was written is looked up in what it refers to before the commit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set as AbstractSet
from contextlib import suppress

import orjson

from dblog_tasks.effects import depth_of
from dblog_tasks.errors import DblogError, RowRefused, StorageError, TargetBusy, TargetError, TargetRefused
from dblog_tasks.event import JsonObject, Row, RowPair, Table
from dblog_tasks.postgres import target_checks as checks
from dblog_tasks.postgres.events import REPLAY_TABLE
from dblog_tasks.postgres.names import quoted
from dblog_tasks.postgres.session import LOCK_WAIT_SECONDS, Session
from dblog_tasks.postgres.target_checks import Described, Name, Reference, escaped
from dblog_tasks.postgres.target_rows import ChildReader, RowReader, children_of, columns_of, given, name_of
from dblog_tasks.postgres.target_writes import LATER, BatchWriter, TableWriter
from dblog_tasks.target import UNKNOWN, BoundTable, Child, Effect, Load, TargetOptions

CLAIM_SECONDS = 10  # how long another replay of the same plan is waited for: one that was killed is gone by then
_TABLE = """CREATE TABLE IF NOT EXISTS {} (
  plan text NOT NULL,
  batch integer NOT NULL,
  done bigint NOT NULL,
  note text NOT NULL,
  approver text NOT NULL,
  written timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (plan, batch)
)"""

_UNIQUE = """
    SELECT a.attname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY k (number, at)
    JOIN pg_attribute a ON a.attrelid = %s::oid AND a.attnum = k.number
    WHERE i.indrelid = a.attrelid AND c.relname = %s AND i.indisunique AND k.at <= i.indnkeyatts ORDER BY k.at
"""


def replay_table_sql(schema: str) -> str:
    """Return the statement that makes `dblog_replay` in a schema."""
    return _TABLE.format(f"{quoted(schema)}.{quoted(REPLAY_TABLE)}")


class PostgresTarget:
    """See `target.Target`."""

    def __init__(self, options: TargetOptions) -> None:
        self._options = options
        self._setting = checks.trigger_setting(options.triggers)
        self._claimed = self._read_only = False
        self._schema = options.progress_schema
        self._described: dict[Name, Described] = {}
        self._children: dict[BoundTable, list[ChildReader]] = {}
        self._depths: dict[BoundTable, int | None] = {}
        self._parents: dict[Name, list[Reference]] = {}
        self._readers: dict[BoundTable, RowReader] = {}
        self._writers: dict[BoundTable, TableWriter] = {}
        self.warnings: list[str] = []
        try:
            self._session = Session(options.dsn, options.password, self._prepare)
        except StorageError as error:
            raise TargetBusy(error.what, where=error.where, hint=error.hint) from None
        self._server = checks.read_server(self._session)

    @property
    def server(self) -> JsonObject:
        """Who it is."""
        found = self._server
        return {"version": found.version, "id": found.id, "uuid": found.database, "account": found.account}

    def _prepare(self, session: Session) -> None:
        """Set what `--triggers` asks for, and keep other replays out again where that was done already."""
        if self._setting is not None and not self._options.read_only:
            name = self._setting[0]
            try:
                session.query("SELECT set_config(%s, %s, false)", self._setting)
            except TargetBusy:
                raise
            except TargetError as error:
                hint = f"as a superuser: GRANT SET ON PARAMETER {name} TO the account;"
                raise TargetRefused(f"{name} cannot be set: {error.what}", hint=hint) from None
        if self._claimed:
            self._lock(session)

    # ---- what is here

    def bind(self, tables: Sequence[Table], used: Mapping[int, AbstractSet[str] | None]) -> Mapping[int, BoundTable]:
        """Return the plan's tables as they are here."""
        self.warnings, self._children, self._parents = [], {}, {}  # of an earlier try
        if not self._options.read_only:
            self.warnings += checks.check_server(self._session)
        for table in tables:
            if table.name == REPLAY_TABLE:
                raise TargetRefused(
                    f"the plan would change {table.schema}.{table.name}, which tells what was replayed", hint="leave it out of the plan"
                )
            self._describe((table.schema, table.name))
        names = set(self._described)
        references = [found for found in checks.read_references(self._session) if {found.parent, found.child} & names]
        referenced = {found.parent for found in references}
        bound = {
            at: checks.bind(
                self._session,
                table,
                self._described[table.schema, table.name],
                self._options,
                referenced=(table.schema, table.name) in referenced,
                used=used.get(at),
            )
            for at, table in enumerate(tables)
        }
        self._bind_children(list(bound.values()), references)
        self._schema = self._noted_in() or self._schema or self._default_schema() or (min(names)[0] if names else "")
        self.warnings += sorted({warning for table in bound.values() for warning in table.warnings})
        return bound

    def _describe(self, name: Name) -> Described:
        if name not in self._described:
            self._described[name] = checks.describe(self._session, name, self._options)
        return self._described[name]

    def _bind_children(self, bound: Sequence[BoundTable], references: Sequence[Reference]) -> None:
        parents: dict[Name, set[Name]] = {}
        for reference in references:
            parents.setdefault(reference.child, set()).add(reference.parent)
            self._parents.setdefault(reference.child, []).append(reference)
        for table in bound:
            name = (table.live.schema, table.live.name)
            for reference in references:
                if reference.parent == name:
                    found = ChildReader(table, self._described[name], self._describe(reference.child), reference)
                    self._children.setdefault(table, []).append(found)
            self._depths[table] = depth_of(name, parents)

    # ---- notes

    def _noted_in(self) -> str:
        """Return the schema that has notes of this plan; empty where none has. Raises TargetRefused when another one is asked for."""
        found = self._schemas_noting(self._options.plan)
        if found and self._schema not in ("", *found):
            raise TargetRefused(f"the notes of this plan are in {found[0]}.{REPLAY_TABLE}", hint=f"--progress-schema {found[0]}")
        return found[0] if found else ""

    def _schemas_noting(self, plan: str) -> list[str]:
        """Return the schemas whose `dblog_replay` has notes of a plan."""
        names = self._session.query(
            "SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE c.relname = %s AND c.relkind = 'r' AND has_table_privilege(c.oid, 'SELECT') ORDER BY 1",
            (REPLAY_TABLE,),
        )
        noting = "SELECT 1 FROM {} WHERE plan = %s LIMIT 1"
        return [name or "" for (name,) in names if self._session.query(noting.format(_place(name or "")), (plan,))]

    def _default_schema(self) -> str:
        ((name,),) = self._session.query("SELECT current_schema()")
        return name or ""

    def claim(self) -> list[JsonObject]:
        """Keep other replays of this plan out, and return the notes of its committed batches."""
        self._lock(self._session)
        self._claimed = True
        if not self._table_is_here():
            try:
                self._session.query(replay_table_sql(self._schema))
            except TargetError as error:
                raise TargetRefused(
                    f"the table {self._schema}.{REPLAY_TABLE} cannot be made: {error.what}",
                    hint=f"have it made: {' '.join(replay_table_sql(self._schema).split())}",
                ) from None
        return self.noted()

    def _table_is_here(self) -> bool:
        ((found,),) = self._session.query("SELECT to_regclass(%s) IS NOT NULL", (f"{quoted(self._schema)}.{quoted(REPLAY_TABLE)}",))
        return found == "t"

    def _lock(self, session: Session) -> None:
        session.query(f"SET lock_timeout = '{CLAIM_SECONDS}s'")
        try:
            session.query("SELECT pg_advisory_lock(hashtextextended(%s, 0))", (f"{REPLAY_TABLE}:{self._options.plan}",))
        except TargetBusy as error:
            if not error.hint:
                raise
            raise TargetRefused("another replay of this plan is at work on this server", hint="wait for it to end") from None
        session.query(f"SET lock_timeout = '{LOCK_WAIT_SECONDS}s'")

    def noted(self) -> list[JsonObject]:
        """Return the notes of this plan's committed batches."""
        if not self._table_is_here():
            return []
        found = self._session.query(f"SELECT note FROM {_place(self._schema)} WHERE plan = %s ORDER BY batch", (self._options.plan,))  # noqa: S608 - names are quoted
        return [orjson.loads(note or "null") for (note,) in found]

    def note(self, note: JsonObject) -> None:
        """Add a note of the batch, in its transaction."""
        values = (self._options.plan, note["batch"], note["done"], orjson.dumps(note).decode(), str(note.get("approver", "")))
        self._options.passing("write")
        try:
            self._session.query(
                f"INSERT INTO {_place(self._schema)} (plan, batch, done, note, approver) VALUES (%s, %s, %s, %s, %s)",  # noqa: S608 - names are quoted
                values,
            )
        except RowRefused:
            raise TargetError(
                "another replay of this plan has done this batch meanwhile", hint="run it again: it goes on from there"
            ) from None

    def forget(self, plan: str) -> None:
        """Remove the notes of a plan that is taken back, in this transaction."""
        for schema in self._schemas_noting(plan):
            self._session.query(f"DELETE FROM {_place(schema)} WHERE plan = %s", (plan,))  # noqa: S608 - names are quoted

    # ---- transactions

    def begin(self, *, read_only: bool = False) -> None:
        """Begin a transaction; one that only reads sees one moment."""
        self._read_only = read_only
        kind = "REPEATABLE READ READ ONLY" if read_only else "READ COMMITTED READ WRITE"
        self._session.query(f"BEGIN ISOLATION LEVEL {kind}")
        if not read_only:
            self._session.query(LATER)

    def commit(self) -> None:
        """Commit."""
        self._options.passing("commit")
        self._session.query("COMMIT")
        self._options.passing("committed")

    def rollback(self) -> None:
        """Undo all since `begin`."""
        if not self._session.is_lost:
            with suppress(DblogError):
                self._session.query("ROLLBACK")

    def recover(self) -> None:
        """Connect again where the connection is lost, and claim again."""
        try:
            self._session.open()
        except StorageError as error:
            raise TargetBusy(error.what, where=error.where, hint=error.hint) from None

    # ---- rows

    @property
    def _locking(self) -> str:
        return "" if self._read_only else " FOR UPDATE OF t"

    def _reader(self, table: BoundTable) -> RowReader:
        if table not in self._readers:
            self._readers[table] = RowReader(table, self._described[table.live.schema, table.live.name])
        return self._readers[table]

    def _writer(self, table: BoundTable) -> TableWriter:
        if table not in self._writers:
            found = self._described[table.live.schema, table.live.name]
            self._writers[table] = TableWriter(table, found, self._session, self._options.passing)
        return self._writers[table]

    def rows(self, table: BoundTable, keys: Iterable[Row]) -> dict[Row, Row | None]:
        """Return the row of each key."""
        self._options.passing("read")
        return self._reader(table).read(self._session, keys, self._locking)

    def counts(self, table: BoundTable, keys: Iterable[Row]) -> dict[Row, int]:
        """Return how many rows there are of each."""
        self._options.passing("read")
        return self._reader(table).count(self._session, keys, self._locking)

    def children(self, table: BoundTable, changes: Sequence[RowPair]) -> list[list[Child]]:
        """Return for each change of a row the rows elsewhere that refer to what it would no longer hold."""
        return children_of(self._children.get(table, ()), changes, self._session, self._locking)

    def write(self, effects: Sequence[Effect]) -> Sequence[Effect]:
        """Write these effects."""
        writer = BatchWriter(self._session, self._writer, self._depths.get, self._check_references)
        try:
            return writer.write(effects)
        except RowRefused as error:
            raise RowRefused(error.what + self._in_the_way(effects[int(error.where or 0)], error.hint), where=error.where) from None

    def _in_the_way(self, effect: Effect, constraint: str) -> str:
        """Return in words which row holds what a unique key lets only one row hold; empty where none can be found."""
        table, after = effect.table, effect.after
        if not constraint or after is None:
            return ""
        found = self._described[table.live.schema, table.live.name]
        places = {column.name: at for at, column in enumerate(table.live.columns)}
        with suppress(DblogError):
            columns = [places[name or ""] for (name,) in self._session.query(_UNIQUE, (found.oid, constraint))]
            where = " AND ".join(
                [f"t.{name_of(table.live.columns[at].name)} = u.c{n}::{escaped(found.casts[at])}" for n, at in enumerate(columns)]
            )
            query = f"SELECT t.* FROM {escaped(found.title)} t JOIN {given(len(columns))} ON {where} LIMIT 1"  # noqa: S608 - names are quoted
            rows = self._session.query(query, columns_of([[after[at] for at in columns]])) if columns else []
            shown = [{column.name: value for column, value in zip(table.live.columns, row, strict=True)} for row in rows]
            return f"; in the way is {shown[0]!r:.500}" if shown else ""
        return ""

    def _check_references(self, effects: Sequence[Effect]) -> None:
        """Look up what the rows written refer to, where the server does not. Raises RowRefused."""
        if self._setting is None or self._setting[0].lower() != checks.ROLE or self._setting[1].lower() != "replica":
            return
        last = {(effect.table, effect.table.key_of(row)): at for at, effect in enumerate(effects) if (row := effect.after) is not None}
        gone = {(effect.table, effect.table.key_of(row)): at for at, effect in enumerate(effects) if (row := effect.before) is not None}
        for (table, key), at in last.items():
            if gone.get((table, key), -1) > at:
                continue
            for reference in self._parents.get((table.live.schema, table.live.name), ()):
                self._check_reference(table, effects[at].after or (), reference, at)

    def _check_reference(self, table: BoundTable, row: Row, reference: Reference, at: int) -> None:
        places = {column.name: place for place, column in enumerate(table.live.columns)}
        values = [row[places[name]] for name in reference.columns]
        if None in values or UNKNOWN in values:
            return
        child, parent = self._described[table.live.schema, table.live.name], self._describe(reference.parent)
        pairs = zip(reference.parent_columns, reference.columns, strict=True)
        where = " AND ".join([f"t.{name_of(above)} = u.c{n}::{escaped(child.casts[places[own]])}" for n, (above, own) in enumerate(pairs)])
        query = f"SELECT 1 FROM {escaped(parent.title)} t JOIN {given(len(values))} ON {where} LIMIT 1"  # noqa: S608 - names are quoted
        if not self._session.query(query, columns_of([values])):
            raise RowRefused(f"{table.name} would refer to a row of {'.'.join(reference.parent)} that is not there", where=str(at))

    # ---- how it is

    def load(self) -> Load:
        """Return how busy the server is."""
        ((running, lag),) = self._session.query(
            "SELECT (SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND backend_type = 'client backend'),"
            " (SELECT coalesce(extract(epoch FROM max(replay_lag)), 0) FROM pg_stat_replication)"  # without one: none is behind
        )
        return Load(int(running or 0), float(lag or 0))

    def close(self) -> None:
        """End the connection."""
        self._session.drop()


def _place(schema: str) -> str:
    return escaped(f"{quoted(schema)}.{quoted(REPLAY_TABLE)}")
