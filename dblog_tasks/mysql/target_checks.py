"""What of a server forbids a replay: asked before the first write. Reads catalog and settings, writes nothing.

Law: what cannot be seen is never taken for what is not there: it is refused with the GRANT that would show it.

    refused                              unless
    read_only, super_read_only, replica  never
    own session not in ROW format        never, nor one that is not logged while the server has a log
    a table that is missing              never
    WITH SYSTEM VERSIONING               never: the undo would write history
    engine without transactions          acknowledged: `engine: schema.table` or the table's name
    no key that tells rows apart         acknowledged: `no key: schema.table` or the table's name
    triggers                             --triggers allow, or set:@variable=value
    triggers that cannot be seen         GRANT TRIGGER
    foreign keys that cannot be seen     GRANT PROCESS, or a right to write on all tables
    a column missing or of another type  it is not used, or --accept-drift
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence, Set as AbstractSet
import re
from typing import NamedTuple, TypeAlias

from dblog_tasks.errors import InvalidInput, TargetError, TargetRefused
from dblog_tasks.event import Column, Table
from dblog_tasks.mysql.catalog import SchemaTable, read_schema
from dblog_tasks.mysql.literals import FORMS, base_type, identifier, quote
from dblog_tasks.mysql.row_comparison import exact
from dblog_tasks.mysql.rows import ADDRESSES
from dblog_tasks.target import REFUSE, BoundTable, TargetOptions

Name: TypeAlias = tuple[str, str]
Ask: TypeAlias = Callable[[str], list[tuple[str | None, ...]]]  # a query -> its rows as text


class Reference(NamedTuple):
    """A foreign key that leads to a table: the child, its columns, and those they refer to."""

    child: Name
    columns: tuple[str, ...]
    parent_columns: tuple[str, ...]
    on_delete: str
    on_update: str


class Server(NamedTuple):
    """What a server says of itself."""

    version: str
    mariadb: bool
    id: str
    uuid: str
    account: str


# ---- the server


def read_server(ask: Ask) -> Server:
    """Return who the server is."""
    ((version, number, account),) = ask("SELECT VERSION(), @@server_id, CURRENT_USER()")
    mariadb = "mariadb" in (version or "").lower()
    uuid = _variable(ask, "server_uid" if mariadb else "server_uuid")
    return Server(version or "", mariadb, number or "", uuid, account or "")


def _variable(ask: Ask, name: str) -> str:
    """Return a variable's value, empty where the server has none of that name."""
    found = ask(f"SHOW VARIABLES LIKE {quote(name)}")
    return (found[0][1] or "") if found else ""


def check_server(ask: Ask, server: Server) -> list[str]:
    """Raise TargetRefused where nothing may be replayed; return what a person should know."""
    for name in ("read_only", "super_read_only", "innodb_read_only"):
        if _variable(ask, name).upper() not in ("", "OFF", "0", "NO"):
            raise TargetRefused(f"the server is {name}: it takes no writes, or is a replica", hint="replay on the primary")
    warnings = _check_replica(ask, server)
    if _variable(ask, "log_bin").upper() != "ON":
        warnings.append("the server writes no binary log: the undo itself will not be in one")
    elif _variable(ask, "binlog_format").upper() != "ROW":
        raise TargetRefused("this session would not be logged by rows", hint="SET GLOBAL binlog_format=ROW, or a right to set it")
    elif _variable(ask, "sql_log_bin").upper() == "OFF":
        raise TargetRefused("this session would not be logged at all: sql_log_bin is OFF", hint="look at the server's init_connect")
    else:
        warnings.append("the undo is written to the server's log: replicas, and whoever follows it for changes (CDC), will see it")
    return warnings


def transaction_max(ask: Ask) -> int:
    """Return how many bytes the server lets a transaction have, by what it says; 0: as many as anybody has."""
    limits = [_variable(ask, name) for name in ("max_binlog_cache_size", "wsrep_max_ws_size", "group_replication_transaction_size_limit")]
    return min((int(limit) for limit in limits if limit.isdecimal() and int(limit)), default=0)


def _check_replica(ask: Ask, server: Server) -> list[str]:
    for statement in ("SHOW ALL SLAVES STATUS",) if server.mariadb else ("SHOW REPLICA STATUS", "SHOW SLAVE STATUS"):
        try:
            found = ask(statement)
        except TargetError:
            continue
        if found:
            raise TargetRefused(
                "the server is a replica of another one", hint="replay on the primary: the undo is replicated like any write"
            )
        return []
    grant = "SLAVE MONITOR" if server.mariadb else "REPLICATION CLIENT"
    return [f"whether the server is a replica cannot be seen (GRANT {grant} ON *.* TO {server.account})"]


# ---- what the account may see


class Rights:
    """What SHOW GRANTS says of the account: privileges by place. The names of schemas in it are patterns, as in LIKE."""

    def __init__(self, ask: Ask, account: str) -> None:
        self.account = account
        self._granted: list[tuple[set[str], re.Pattern[str], str]] = []
        for (line,) in ask("SHOW GRANTS"):
            match = _GRANT.match(line or "")
            if match:
                words = {word.strip().upper() for word in re.sub(r"\([^)]*\)", "", match["words"]).split(",")}
                schema = match["schema"]
                pattern = ".*" if schema == "*" else _like(_unquoted(schema))
                self._granted.append((words, re.compile(pattern, re.DOTALL | re.IGNORECASE), _unquoted(match["table"])))

    def holds(self, privilege: str, schema: str = "", table: str = "") -> bool:
        """Return whether the privilege is granted for a table, for a schema where none is given, for everything where neither is."""
        return any(
            words & {privilege, "ALL PRIVILEGES", "ALL"}
            and (pattern.pattern == ".*" if not schema else pattern.fullmatch(schema) is not None)
            and place in ("*", table)
            for words, pattern, place in self._granted
        )

    def sees_all_keys(self) -> bool:
        """Return whether foreign keys of every table would be seen in REFERENTIAL_CONSTRAINTS."""
        return any(self.holds(word) for word in ("INSERT", "UPDATE", "DELETE", "ALTER", "CREATE", "DROP", "INDEX"))


_QUOTED = "`(?:[^`]|``)+`"
_GRANT = re.compile(rf"GRANT (?P<words>.+) ON (?:TABLE )?(?P<schema>\*|{_QUOTED})\.(?P<table>\*|{_QUOTED}) TO ")


def _unquoted(name: str) -> str:
    return name if name == "*" else name[1:-1].replace("``", "`")


def _like(pattern: str) -> str:
    parts = re.findall(r"\\.|.", pattern, re.DOTALL)
    return "".join({"%": ".*", "_": "."}.get(part, re.escape(part[-1])) for part in parts)


def read_references(ask: Ask, rights: Rights, parents: AbstractSet[Name], *, mariadb: bool) -> dict[Name, list[Reference]]:
    """Return the foreign keys that lead to these tables, by table. Raises TargetRefused where some may be unseen."""
    if rights.sees_all_keys():
        rows = ask(_REFERENCES)
    else:
        try:
            rows = ask(_ENGINE_REFERENCES.format(*(("INNODB_SYS_", "INNODB_SYS_") if mariadb else ("INNODB_", "INNODB_"))))
        except TargetError:
            raise TargetRefused(
                "foreign keys of other tables cannot be seen by this account, and an undo could set them off",
                hint=f"GRANT PROCESS ON *.* TO {rights.account}",
            ) from None
        rows = [_engine_reference(row) for row in rows]
    keys: dict[tuple[str | None, ...], list[tuple[str, str]]] = defaultdict(list)
    for schema, table, _name, parent_schema, parent, on_delete, on_update, column, parent_column, _at in rows:
        keys[schema, table, _name, parent_schema, parent, on_delete, on_update].append((column or "", parent_column or ""))
    found: dict[Name, list[Reference]] = defaultdict(list)
    wanted = {(schema.lower(), name.lower()): (schema, name) for schema, name in parents}
    for (schema, table, _, parent_schema, parent, on_delete, on_update), pairs in keys.items():
        place = wanted.get(((parent_schema or "").lower(), (parent or "").lower()))
        if place:
            columns, parent_columns = zip(*pairs, strict=True)
            found[place].append(Reference((schema or "", table or ""), columns, parent_columns, on_delete or "", on_update or ""))
    return found


_REFERENCES = """
    SELECT r.CONSTRAINT_SCHEMA, r.TABLE_NAME, r.CONSTRAINT_NAME, r.UNIQUE_CONSTRAINT_SCHEMA, r.REFERENCED_TABLE_NAME,
           r.DELETE_RULE, r.UPDATE_RULE, k.COLUMN_NAME, k.REFERENCED_COLUMN_NAME, k.ORDINAL_POSITION
    FROM information_schema.REFERENTIAL_CONSTRAINTS r JOIN information_schema.KEY_COLUMN_USAGE k
      ON k.CONSTRAINT_SCHEMA = r.CONSTRAINT_SCHEMA AND k.CONSTRAINT_NAME = r.CONSTRAINT_NAME AND k.TABLE_NAME = r.TABLE_NAME
    WHERE k.REFERENCED_TABLE_NAME IS NOT NULL
    ORDER BY r.CONSTRAINT_SCHEMA, r.TABLE_NAME, r.CONSTRAINT_NAME, k.ORDINAL_POSITION
"""
_ENGINE_REFERENCES = """
    SELECT f.ID, f.FOR_NAME, f.REF_NAME, f.TYPE, c.FOR_COL_NAME, c.REF_COL_NAME, c.POS
    FROM information_schema.{}FOREIGN f JOIN information_schema.{}FOREIGN_COLS c ON c.ID = f.ID ORDER BY f.ID, c.POS
"""


def _engine_reference(row: tuple[str | None, ...]) -> tuple[str | None, ...]:
    """Return a row of InnoDB's own tables as one of `_REFERENCES`. TYPE: 1 delete cascades, 2 sets NULL; 4 and 8 the same of updates."""
    name, child, parent, kind, column, parent_column, at = row
    rules = int(kind or 0)
    on_delete = "CASCADE" if rules & 1 else "SET NULL" if rules & 2 else "RESTRICT"
    on_update = "CASCADE" if rules & 4 else "SET NULL" if rules & 8 else "RESTRICT"
    return (*_engine_name(child), name, *_engine_name(parent), on_delete, on_update, column, parent_column, at)


def _engine_name(name: str | None) -> Name:
    """Return schema and table of `schema/table`, where @0020 stands for the character of that number."""
    schema, _, table = re.sub(r"@([0-9a-f]{4})", lambda found: chr(int(found[1], 16)), name or "").partition("/")
    return schema, table.partition("#")[0]


# ---- the tables


class Described(NamedTuple):
    """A table of the target: its definition, engine, whether that has transactions, and triggers by name and event."""

    known: SchemaTable
    engine: str
    transactional: bool
    triggers: tuple[tuple[str, str], ...]


def describe(ask: Ask, name: Name) -> Described:
    """Return a table as the server has it. Raises TargetRefused when there is none, or it is a view."""
    title = ".".join(name)
    where = f"TABLE_SCHEMA = {quote(name[0])} AND TABLE_NAME = {quote(name[1])}"
    found = ask(
        "SELECT t.TABLE_TYPE, t.ENGINE, e.TRANSACTIONS FROM information_schema.TABLES t"  # noqa: S608 - names are literals
        f" LEFT JOIN information_schema.ENGINES e ON e.ENGINE = t.ENGINE WHERE {where}"
    )
    if not found:
        raise TargetRefused(f"table {title} is not here, or cannot be seen", hint=f"GRANT SELECT ON {identifier(name[0])}.* TO the account")
    ((kind, engine, transactions),) = found
    if kind not in ("BASE TABLE", "SYSTEM VERSIONED"):
        raise TargetRefused(f"{title} is a {(kind or 'thing').lower()}, not a table")
    ((_, definition, *_),) = ask(f"SHOW CREATE TABLE {identifier(name[0])}.{identifier(name[1])}")
    try:
        known = next(iter(read_schema(definition or "", name[0]).tables.values()))
    except InvalidInput as error:
        raise TargetRefused(f"table {title} cannot be described: {error.what}") from None
    triggers = ask(
        "SELECT TRIGGER_NAME, EVENT_MANIPULATION FROM information_schema.TRIGGERS"  # noqa: S608 - names are literals
        f" WHERE EVENT_OBJECT_SCHEMA = {quote(name[0])} AND EVENT_OBJECT_TABLE = {quote(name[1])} ORDER BY 1"
    )
    return Described(known, engine or "", transactions == "YES", tuple((str(trigger), str(event)) for trigger, event in triggers))


def bind(
    table: Table, found: Described, options: TargetOptions, rights: Rights, *, referenced: bool, used: AbstractSet[str] | None
) -> BoundTable:
    """Return a plan's table as the target has it. `used`: columns the steps change; None: all. Raises TargetRefused."""
    title = f"{table.schema}.{table.name}"
    live = found.known.table
    _check_rights((table.schema, table.name), options, rights)
    warnings = [*_check_kind(title, found, options), *_check_triggers((table.schema, table.name), found, options, rights)]
    places, lost = _places(table, live, options, used)
    key = live.key if set(live.key) <= set(places) else ()
    if not key and not {f"no key: {title}", title} & set(options.acknowledge) and not options.read_only:
        raise TargetRefused(
            f"table {title} has no key that tells its rows apart: each step reads all of it, and equal rows are told by their number only",
            hint=f"--acknowledge 'no key: {title}'",
        )
    written = tuple(at for at in places if at >= 0 and not live.columns[at].generated)
    automatic = tuple(at for at in written if live.columns[at].auto_update is not False and _may_update_itself(live.columns[at]))
    ignored = {at for at in written if _names_column(live.columns[at].name, table, options.guard_ignore)}
    return BoundTable(
        live,
        places,
        key,
        written,
        tuple(at for at in written if at not in automatic and at not in ignored),
        automatic,
        {at: same for at, column in enumerate(live.columns) if (same := exact(column)) is not None},
        referenced,
        found.transactional,
        reread=bool(found.triggers) or len(written) < sum(not column.generated for column in live.columns),
        readings={
            at: ADDRESSES[base_type(live.columns[at])]
            for column, at in zip(table.columns, places, strict=True)
            if at >= 0 and base_type(column) == "binary" and base_type(live.columns[at]) in ADDRESSES
        },
        warnings=(*warnings, *lost),
    )


def _may_update_itself(column: Column) -> bool:
    return base_type(column) in ("timestamp", "datetime") if column.auto_update is None else column.auto_update


def _check_kind(title: str, found: Described, options: TargetOptions) -> list[str]:
    if found.known.ended is not None:
        raise TargetRefused(
            f"table {title} is WITH SYSTEM VERSIONING: an undo would be written into its history as if it had happened",
            hint="restore its rows by hand from the history, or show the plan as SQL",
        )
    if not found.transactional:
        if not {f"engine: {title}", title} & set(options.acknowledge) and not options.read_only:
            raise TargetRefused(
                f"table {title} is of engine {found.engine}, which keeps a change after ROLLBACK",
                hint=f"--acknowledge 'engine: {title}'",
            )
        return [f"{title}: engine {found.engine} has no transactions, what is written stays"]
    return []


def _check_rights(name: Name, options: TargetOptions, rights: Rights) -> None:
    needed = ("SELECT",) if options.read_only else ("SELECT", "INSERT", "UPDATE", "DELETE")
    lacking = [word for word in needed if not rights.holds(word, *name)]
    if lacking:
        hint = f"GRANT {', '.join(lacking)} ON {identifier(name[0])}.* TO {rights.account}"
        raise TargetRefused(f"the account may not {', '.join(lacking).lower()} in table {'.'.join(name)}", hint=hint)


def _check_triggers(name: Name, found: Described, options: TargetOptions, rights: Rights) -> list[str]:
    title = ".".join(name)
    if not rights.holds("TRIGGER", *name):
        if options.read_only:
            return [f"triggers of {title} cannot be seen by this account"]
        raise TargetRefused(
            f"triggers of {title} cannot be seen by this account, and they would fire again",
            hint=f"GRANT TRIGGER ON {identifier(name[0])}.* TO {rights.account}",
        )
    if not found.triggers:
        return []
    named = ", ".join(f"{trigger} ({event.lower()})" for trigger, event in found.triggers)
    if options.triggers == REFUSE and not options.read_only:
        raise TargetRefused(
            f"triggers of {title} would fire again: {named}", hint="--triggers allow, or set:@variable=1 for what they look at"
        )
    return [f"{title}: triggers fire: {named}"]


def _places(table: Table, live: Table, options: TargetOptions, used: AbstractSet[str] | None) -> tuple[tuple[int, ...], list[str]]:
    """Return for each column of the plan where it is in the target, and what is accepted of those that are not as they were."""
    by_name = {column.name.lower(): at for at, column in enumerate(live.columns)}
    places, lost = [], []
    for column in table.columns:
        at = by_name.get(column.name.lower(), -1)
        problem = "is missing" if at < 0 else _retyped(column, live.columns[at])
        if problem:
            title = f"{table.schema}.{table.name}.{column.name}"
            needed = used is None or column.name in used
            if needed and not _names_column(column.name, table, options.accept_drift):
                raise TargetRefused(
                    f"column {title} {problem}", hint=f"the table was altered since: --accept-drift {column.name} leaves it out"
                )
            lost.append(f"{title} {problem}: it is left out")
            at = -1
        places.append(at)
    return tuple(places), lost


def _names_column(column: str, table: Table, given: Sequence[str]) -> bool:
    full = f"{table.schema}.{table.name}.{column}".lower()
    return any(full == word.lower() or full.endswith(f".{word.lower()}") for word in given)


def _retyped(was: Column, now: Column) -> str:
    """Return how a column is of another type than the log's, empty when values of the one are values of the other."""
    if was.generated and now.generated:
        return ""
    one, other = base_type(was), base_type(now)
    if other not in FORMS:
        return f"is {now.type}, which cannot be written"
    sizes = _numbers(was.type), _numbers(now.type)
    if one in _INTEGERS and other in _INTEGERS:
        same = was.unsigned == now.unsigned and _INTEGERS.index(other) >= _INTEGERS.index(one)
    elif one == other == "json":  # MySQL's, which a log gives no character set
        same = True
    elif {one, other} <= _TEXTS or {one, other} <= _BLOBS:
        same = was.charset == now.charset and (one != other or sizes[1] >= sizes[0])
    elif one == "binary" and other in ADDRESSES:  # a log does not tell one from the other
        same = sizes[0] == [4 if other == "inet4" else 16]
    elif one in ("enum", "set"):
        same = one == other and now.labels[: len(was.labels)] == was.labels
    elif one == "decimal":
        same = one == other and sizes[0][1:] == sizes[1][1:] and sizes[1] >= sizes[0]
    else:
        same = one == other and sizes[0] == sizes[1]
    return "" if same else f"was {was.type} {was.charset} and is {now.type} {now.charset}".replace("  ", " ")


def _numbers(type_name: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", type_name.partition("(")[2])]


_INTEGERS = ("tinyint", "smallint", "mediumint", "int", "bigint")
_TEXTS = frozenset({"char", "varchar", "tinytext", "text", "mediumtext", "longtext", "json"})
_BLOBS = frozenset({"varbinary", "tinyblob", "blob", "mediumblob", "longblob"})
