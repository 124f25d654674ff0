"""What of a server forbids a replay: asked before the first write. Reads the catalog, writes nothing.

Law: every account sees PostgreSQL's whole catalog, so what is not found there is not there.

    refused                              unless
    a standby, default_transaction_read_only    never
    a table that is missing, a view, a foreign table    never
    rights that lack                     GRANT
    row security that hides rows         an account that passes it by
    triggers and rules                   --triggers allow, or set:session_replication_role=replica, or set:setting=value they look at
    no key that tells rows apart         acknowledged: `no key: schema.table` or the table's name
    a column missing or of another type  it is not used, or --accept-drift
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence, Set as AbstractSet
from dataclasses import dataclass
import re
from time import sleep
from typing import NamedTuple, TypeAlias

from dblog_tasks.errors import InvalidInput, MalformedPlan, RowRefused, StorageError, TargetBusy, TargetError, TargetRefused
from dblog_tasks.event import Column, Table
from dblog_tasks.postgres.names import quoted, type_name
from dblog_tasks.postgres.session import Answer, Session
from dblog_tasks.postgres.value_forms import reading
from dblog_tasks.target import REFUSE, BoundTable, TargetOptions

Name: TypeAlias = tuple[str, str]
ROLE = "session_replication_role"
_SETTING = re.compile(r"set:([A-Za-z_][A-Za-z0-9_.]*)=(.*)", re.DOTALL)
ASK_TRIES, ASK_SECONDS = 20, 0.2
RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE")


class Server(NamedTuple):
    """What a server says of itself."""

    version: str
    id: str  # system identifier of the cluster
    database: str
    account: str


class Reference(NamedTuple):
    """A foreign key: the table that refers, its columns, the table referred to, its columns."""

    child: Name
    columns: tuple[str, ...]
    parent: Name
    parent_columns: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Described:
    """A table of the target.

    Attributes:
        oid: its number.
        table: its columns in order, and the key that tells rows apart.
        title: its name in SQL, without the tables that inherit from it.
        casts: for each column the type to cast text to: without a size, so that nothing is cut off in silence.
        bases: the type below a domain.
        scales: digits after the point that a column keeps; None: all.
        triggers: name, and what tgenabled says; rules as well.
    """

    oid: str
    table: Table
    title: str
    casts: tuple[str, ...]
    bases: tuple[str, ...]
    scales: tuple[int | None, ...]
    triggers: tuple[tuple[str, str], ...]


# ---- the server


def read_server(session: Session) -> Server:
    """Return who the server is."""
    ((version, database, account),) = session.query("SELECT current_setting('server_version'), current_database(), current_user")
    try:
        ((number,),) = session.query("SELECT system_identifier FROM pg_control_system()")
    except TargetError:  # not everybody may ask
        number = ""
    return Server(version or "", number or "", database or "", account or "")


def check_server(session: Session) -> list[str]:
    """Raise TargetRefused where nothing may be replayed; return what a person should know."""
    ((standby, read_only, level),) = session.query(
        "SELECT pg_is_in_recovery(), current_setting('default_transaction_read_only'), current_setting('wal_level')"
    )
    if standby in ("t", "true"):
        raise TargetRefused(
            "the server is a standby: it takes no writes", hint="replay on the primary: the undo is replicated like any write"
        )
    if read_only == "on":
        raise TargetRefused("default_transaction_read_only is on: nothing is to be written here", hint="ask who has set it, and why")
    return [] if level == "logical" else [f"wal_level is {level}: the undo itself will not be in a log of logical decoding"]


def trigger_setting(triggers: str) -> tuple[str, str] | None:
    """Return the setting and its value that `--triggers set:…` names; None where it names none. Raises InvalidInput."""
    if not triggers.startswith("set:"):
        return None
    found = _SETTING.fullmatch(triggers)
    if found is None:
        raise InvalidInput(f"{triggers!r:.60} sets nothing", where="--triggers", hint=f"write set:{ROLE}=replica, or set:app.setting=value")
    return found[1], found[2]


# ---- the tables

_TABLE = """
    SELECT c.oid, c.relkind, row_security_active(c.oid), has_schema_privilege(n.oid, 'USAGE'),
           has_table_privilege(c.oid, 'SELECT'), has_table_privilege(c.oid, 'INSERT'),
           has_table_privilege(c.oid, 'UPDATE'), has_table_privilege(c.oid, 'DELETE')
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relname = %s AND CASE WHEN %s = '' THEN pg_table_is_visible(c.oid) ELSE n.nspname = %s END AND c.relkind NOT IN ('i', 'I', 'c')
"""
_COLUMNS = """
    WITH RECURSIVE below (number, type, base, modifier) AS (
        SELECT attnum, atttypid, atttypid, atttypmod FROM pg_attribute WHERE attrelid = %s::oid AND attnum > 0 AND NOT attisdropped
        UNION ALL
        SELECT number, below.type, t.typbasetype, t.typtypmod FROM below JOIN pg_type t ON t.oid = below.base WHERE t.typtype = 'd'
    )
    SELECT a.attname, format_type(a.atttypid, NULL), format_type(a.atttypid, -1), format_type(b.base, NULL),
           CASE WHEN b.base = 'numeric'::regtype AND b.modifier >= 4 THEN (b.modifier - 4) & 2047
                WHEN b.base IN ('timestamp'::regtype, 'timestamptz'::regtype, 'time'::regtype, 'timetz'::regtype) AND b.modifier >= 0
                THEN b.modifier END,
           a.attgenerated <> '', a.attnum
    FROM pg_attribute a JOIN below b ON b.number = a.attnum JOIN pg_type t ON t.oid = b.base AND t.typtype <> 'd'
    WHERE a.attrelid = %s::oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
_KEY = """
    SELECT array_to_string(i.indkey, ' '), i.indnkeyatts FROM pg_index i
    WHERE i.indrelid = %s::oid AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL
      AND NOT EXISTS (SELECT 1 FROM unnest(i.indkey::int2[]) WITH ORDINALITY k (number, at)
                      JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number
                      WHERE k.at <= i.indnkeyatts AND NOT a.attnotnull)
    ORDER BY NOT i.indisprimary, i.indnkeyatts, i.indexrelid LIMIT 1
"""
_TRIGGERS = """
    SELECT tgname, tgenabled FROM pg_trigger WHERE tgrelid = %s::oid AND NOT tgisinternal AND tgenabled <> 'D'
    UNION ALL SELECT 'rule ' || rulename, ev_enabled FROM pg_rewrite WHERE ev_class = %s::oid AND ev_type <> '1' AND ev_enabled <> 'D'
    ORDER BY 1
"""


def describe(session: Session, name: Name, options: TargetOptions) -> Described:
    """Return a table as the server has it. Raises TargetRefused when there is none, or it is none that rows are written to."""
    title = ".".join(part for part in name if part)
    found = session.query(_TABLE, (name[1], name[0], name[0]))
    if not found:
        raise TargetRefused(f"table {title} is not here", hint="is this the database of the log?")
    ((oid, kind, hidden, *rights),) = found
    if kind not in ("r", "p"):
        raise TargetRefused(f"{title} is a {_KINDS.get(kind or '', 'thing of another kind')}, not a table")
    _check_rights(session, name, [right in ("t", "true") for right in rights], options)
    if hidden in ("t", "true"):
        raise TargetRefused(f"policies hide rows of table {title} from this account", hint="use the table's owner, or one with BYPASSRLS")
    columns = session.query(_COLUMNS, (oid, oid))
    number = {place: at for at, (*_, place) in enumerate(columns)}
    keys = [(places or "").split()[: int(width or 0)] for places, width in session.query(_KEY, (oid,))]
    table = Table(
        name[0],
        name[1],
        tuple(
            Column(column or "", kind or "", generated=generated in ("t", "true"), auto_update=False)
            for column, kind, _, _, _, generated, _ in columns
        ),
        tuple(number[place] for place in keys[0]) if keys else (),
    )
    triggers = session.query(_TRIGGERS, (oid, oid))
    return Described(
        oid or "",
        table,
        f"{'ONLY ' if kind == 'r' else ''}{'.'.join(quoted(part) for part in name if part)}",
        tuple(cast or "" for _, _, cast, *_ in columns),
        tuple(base or "" for _, _, _, base, *_ in columns),
        tuple(None if scale is None else int(scale) for _, _, _, _, scale, *_ in columns),
        tuple((trigger or "", enabled or "") for trigger, enabled in triggers),
    )


_KINDS = {"v": "view", "m": "materialized view", "f": "foreign table", "S": "sequence", "t": "TOAST table"}


def _check_rights(session: Session, name: Name, rights: Sequence[bool], options: TargetOptions) -> None:
    schema, *others = rights
    needed = RIGHTS[:1] if options.read_only else RIGHTS
    lacking = [word for word, held in zip(RIGHTS, others, strict=True) if word in needed and not held]
    ((account,),) = session.query("SELECT quote_ident(current_user)")
    if not schema:
        raise TargetRefused(f"the account may not use schema {name[0]}", hint=f"GRANT USAGE ON SCHEMA {quoted(name[0])} TO {account};")
    if lacking:
        title = ".".join(quoted(part) for part in name if part)
        raise TargetRefused(
            f"the account may not {', '.join(lacking).lower()} in table {'.'.join(name)}",
            hint=f"GRANT {', '.join(lacking)} ON {title} TO {account};",
        )


def read_references(session: Session) -> list[Reference]:
    """Return every foreign key of the database."""
    keys: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    for number, *rest in session.query(_REFERENCES):
        keys[number or ""].append(tuple(word or "" for word in rest))
    found = []
    for pairs in keys.values():
        (schema, table, _, parent_schema, parent, _), *_ = pairs
        found.append(
            Reference((schema, table), tuple(pair[2] for pair in pairs), (parent_schema, parent), tuple(pair[5] for pair in pairs))
        )
    return found


_REFERENCES = """
    SELECT f.oid, cn.nspname, c.relname, ca.attname, pn.nspname, p.relname, pa.attname
    FROM pg_constraint f
    JOIN pg_class c ON c.oid = f.conrelid JOIN pg_namespace cn ON cn.oid = c.relnamespace
    JOIN pg_class p ON p.oid = f.confrelid JOIN pg_namespace pn ON pn.oid = p.relnamespace
    CROSS JOIN LATERAL unnest(f.conkey, f.confkey) WITH ORDINALITY k (child, parent, at)
    JOIN pg_attribute ca ON ca.attrelid = c.oid AND ca.attnum = k.child
    JOIN pg_attribute pa ON pa.attrelid = p.oid AND pa.attnum = k.parent
    WHERE f.contype = 'f' AND c.relkind = 'r' ORDER BY f.oid, k.at
"""


# ---- the plan's tables


def bind(
    session: Session, table: Table, found: Described, options: TargetOptions, *, referenced: bool, used: AbstractSet[str] | None
) -> BoundTable:
    """Return a plan's table as the target has it. `used`: columns the steps change; None: all. Raises TargetRefused."""
    title = f"{table.schema}.{table.name}"
    live = found.table
    warnings = _check_triggers(title, found, options)
    places, lost = _places(table, found, options, used)
    key = live.key if set(live.key) <= set(places) else ()
    if not key and not {f"no key: {title}", title} & set(options.acknowledge) and not options.read_only:
        raise TargetRefused(
            f"table {title} has no key that tells its rows apart: each step reads all of it, and equal rows are told by their number only",
            hint=f"--acknowledge 'no key: {title}'",
        )
    written = tuple(at for at in places if at >= 0 and not live.columns[at].generated)
    ignored = {at for at in written if _names_column(live.columns[at].name, table, options.guard_ignore)}
    return BoundTable(
        live,
        places,
        key,
        written,
        tuple(at for at in written if at not in ignored),
        referenced=referenced,
        reread=bool(found.triggers) or len(written) < len(live.columns),
        readings={
            at: read
            for at in places
            if at >= 0 and (read := reading(found.bases[at], _asking(session, title, live.columns[at].name, found.casts[at]))) is not None
        },
        warnings=(*warnings, *lost),
    )


def _asking(session: Session, title: str, column: str, cast: str) -> Callable[[str], str]:
    statement = f"SELECT %s::text::{escaped(cast)}"

    def ask(value: str) -> str:
        try:
            ((found,),) = _patiently(session, statement, value)
        except RowRefused as error:
            raise MalformedPlan(f"a value does not fit {title}.{column}: {error.what}", hint="make the plan again") from None
        return found or ""

    return ask


def _patiently(session: Session, statement: str, value: str) -> Answer:
    """Return the answer to a question that stands outside of every transaction, over a new connection where the old one is lost."""
    for _ in range(ASK_TRIES):
        try:
            session.open()
            return session.query(statement, (value,))
        except (StorageError, TargetBusy):
            sleep(ASK_SECONDS)
    session.open()
    return session.query(statement, (value,))


def escaped(sql: str) -> str:
    """Return SQL for a statement with parameters, where a percent sign means something."""
    return sql.replace("%", "%%")


def _check_triggers(title: str, found: Described, options: TargetOptions) -> list[str]:
    setting = trigger_setting(options.triggers)
    off = setting is not None and setting[0].lower() == ROLE and setting[1].lower() == "replica"
    firing = [name for name, enabled in found.triggers if enabled in ("AR" if off else "AO")]
    named = ", ".join(firing)
    if firing and options.triggers == REFUSE and not options.read_only:
        raise TargetRefused(
            f"triggers of {title} would fire again: {named}", hint=f"--triggers allow, or set:{ROLE}=replica, or set:app.setting=value"
        )
    return [f"{title}: triggers fire: {named}"] if firing else []


def _places(table: Table, found: Described, options: TargetOptions, used: AbstractSet[str] | None) -> tuple[tuple[int, ...], list[str]]:
    """Return for each column of the plan where it is in the target, and what is accepted of those that are not as they were."""
    columns = found.table.columns
    by_name = {column.name: at for at, column in enumerate(columns)}
    places, lost = [], []
    for column in table.columns:
        at = by_name.get(column.name, -1)
        problem = "is missing" if at < 0 else _retyped(column, columns[at], found.bases[at])
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


def _names_column(column: str, table: Table, given: Iterable[str]) -> bool:
    full = f"{table.schema}.{table.name}.{column}"
    return any(full == word or full.endswith(f".{word}") for word in given)


def _retyped(was: Column, now: Column, base: str) -> str:
    """Return how a column is of another type than the log's, empty when values of the one are values of the other.

    `base`: the type below a domain, which is what pgoutput names.
    """
    if was.generated and now.generated:
        return ""
    one = _bare(was.type)
    for other in (_bare(now.type), _bare(base)):
        wider = any(one in family and other in family and family.index(other) >= family.index(one) for family in _WIDER)
        if one == other or wider or {one, other} <= _TEXTS:
            return ""
    return f"was {was.type} and is {now.type}"


def _bare(kind: str) -> str:
    """Return a type's name without its schema: which one is in a log depends on the search path of the session that decoded it."""
    parts = re.findall(r'"(?:[^"]|"")*"|[^".]+', type_name(kind))
    name = parts[-1] if not parts[-1].startswith("[") else "".join(parts[-2:])
    return f"{type_name(name[1:])}[]" if name.startswith("_") else name  # as pg_type has arrays, and pgoutput names them


_WIDER = (("smallint", "integer", "bigint"),)
_TEXTS = frozenset({"character varying", "text"})
