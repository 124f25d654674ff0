"""What an undo would miss of a PostgreSQL server today, and the statement that helps. Asks, never writes.

Law: queries in, findings out; the connection is the caller's. It speaks of the database it is connected to, whose slots alone can decode
its changes. A question that a server's version or an account forbids is a finding, never silence.

    server          wal_level, fsync, how long slots keep their WAL
    slots           one that is there before the accident, and has lost nothing
    tables          replica identity, key, logged at all
    publications    rows, columns and kinds of change that are left out, for slots that decode by them
    account         what reading a slot and an undo need
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from dblog_tasks.errors import DblogError
from dblog_tasks.findings import CONFIGURATION, LOST, NOTE, RISK, Examination, Finding, examination
from dblog_tasks.postgres.connection import Ask
from dblog_tasks.postgres.names import quoted, shown

_SLOT = "dblog"
_RELOAD = "SELECT pg_reload_conf();"
_USERS = "n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)'"


class Wanted(NamedTuple):
    """A setting as an undo wants it, and what it would miss otherwise."""

    name: str
    good: str
    severity: str
    misses: str
    restart: bool = False


SETTINGS = (
    Wanted("wal_level", "logical", LOST, "nothing can be decoded from the log: no change could be undone", restart=True),
    Wanted("fsync", "on", RISK, "after a crash of the machine the log and the tables may be damaged"),
    Wanted("max_slot_wal_keep_size", "-1", RISK, "a slot that is behind by more loses its place, and the changes with it"),
    Wanted("idle_replication_slot_timeout", "0", RISK, "a slot that nobody reads loses its place, and the changes with it"),
)
_WATCHED = ("server_version", "max_replication_slots", "max_wal_senders", "track_commit_timestamp")
_IDENTITIES = {"d": "DEFAULT", "n": "NOTHING", "i": "USING INDEX"}
_MISSED = {
    "d": "old rows are in the log by their key alone: no undo of a DELETE, half of one of an UPDATE",
    "n": "updates and deletes are not in the log: no undo of either",
    "i": "old rows are in the log by that index alone: no undo of a DELETE, half of one of an UPDATE",
}


def examine(ask: Ask, of: str, *, keep_days: float) -> Examination:
    """Return what an undo would miss. `of`: the server's name without a secret. `keep_days` is for logs that have an age: WAL has none.

    Raises what `ask` raises when not even the settings can be read.
    """
    settings = {name or "": value or "" for name, value in ask("SELECT name, setting FROM pg_settings")}
    found = [*_settings(settings)]
    for name, check in CHECKS.items():
        try:
            found += check(ask)
        except DblogError as error:
            found.append(Finding(RISK, name, f"cannot be looked at: {error.what}"))
    names = {wanted.name for wanted in SETTINGS} | set(_WATCHED)
    return examination(of, found, {name: settings[name] for name in sorted(names & settings.keys())})


def _settings(settings: Mapping[str, str]) -> Iterator[Finding]:
    for wanted in SETTINGS:
        value = settings.get(wanted.name, wanted.good)
        if value != wanted.good:
            assignment = f"ALTER SYSTEM SET {wanted.name} = '{wanted.good}';"
            fix = f"{assignment}   -- then restart the server" if wanted.restart else f"{assignment}\n{_RELOAD}"
            yield Finding(wanted.severity, wanted.name, wanted.misses, "", value, fix, CONFIGURATION if wanted.restart else "SQL")


# ---- slots


_SLOTS = """
    SELECT slot_name, plugin, active, wal_status FROM pg_replication_slots
    WHERE slot_type = 'logical' AND database = current_database() AND NOT temporary
"""


def _slots(ask: Ask) -> Iterator[Finding]:
    slots = ask(_SLOTS)
    if not slots:
        misses = "changes are kept for nobody: what happens before there is a slot cannot be decoded"
        yield Finding(LOST, "slot", misses, "", "", _create(_SLOT, "test_decoding"))
    for name, plugin, _, status in slots:
        text = (name or "").replace("'", "''")
        if status == "lost":
            fix = f"SELECT pg_drop_replication_slot('{text}');\n{_create(text, plugin or '')}"
            yield Finding(LOST, "slot", "it has lost its place: what is changed is kept for nobody", name or "", status, fix)
        elif status in ("unreserved", "extended"):
            fix = f"ALTER SYSTEM SET max_slot_wal_keep_size = -1;\n{_RELOAD}" if status == "unreserved" else ""
            misses = "its WAL may be removed at the next checkpoint: read it now" if fix else "it is behind by more than max_wal_size"
            yield Finding(LOST if fix else NOTE, "slot", misses, name or "", status, fix)


def _create(name: str, plugin: str) -> str:
    return f"SELECT pg_create_logical_replication_slot('{name}', '{plugin}');"


# ---- tables


_TABLES = f"""
    SELECT n.nspname, c.relname, c.relreplident, c.relpersistence,
           EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indpred IS NULL
                   AND i.indexprs IS NULL AND NOT EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = c.oid
                       AND a.attnum = ANY (i.indkey::int2[]) AND NOT a.attnotnull))
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND {_USERS} ORDER BY 1, 2
"""  # noqa: S608 - of constants


def _tables(ask: Ask) -> Iterator[Finding]:
    for schema, name, identity, persistence, keyed in ask(_TABLES):
        title = f"{shown(schema or '')}.{shown(name or '')}"
        place = f"{quoted(schema or '')}.{quoted(name or '')}"
        if persistence == "u":
            yield Finding(LOST, "unlogged", "its changes are not in the log at all", title, "", f"ALTER TABLE {place} SET LOGGED;")
        if identity != "f":
            fix = f"ALTER TABLE {place} REPLICA IDENTITY FULL;"
            value = _IDENTITIES.get(identity or "", identity or "")
            yield Finding(LOST, "replica identity", _MISSED.get(identity or "", _MISSED["d"]), title, value, fix)
        if keyed != "True":
            fix = f"ALTER TABLE {place} ADD COLUMN row_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY;"
            yield Finding(RISK, "no key", "no key tells its rows apart: equal rows are told by their number only", title, "", fix)


# ---- publications


_PUBLICATIONS = "SELECT pubname, puballtables, pubinsert, pubupdate, pubdelete FROM pg_publication ORDER BY 1"
_CUT = """
    SELECT p.pubname, n.nspname, c.relname, r.prqual IS NOT NULL, r.prattrs IS NOT NULL
    FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid JOIN pg_class c ON c.oid = r.prrelid
         JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE r.prqual IS NOT NULL OR r.prattrs IS NOT NULL ORDER BY 1, 2, 3
"""
_UNPUBLISHED = f"""
    SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND {_USERS}
      AND NOT EXISTS (SELECT 1 FROM pg_publication_tables t WHERE t.schemaname = n.nspname AND t.tablename = c.relname) ORDER BY 1, 2
"""  # noqa: S608


def _publications(ask: Ask) -> Iterator[Finding]:
    """Yield what publications leave out; it is missing from the log of a slot that decodes with pgoutput."""
    publications = ask(_PUBLICATIONS)
    for name, _, *kinds in publications:
        if "False" in kinds:
            words = [word for word, published in zip(("insert", "update", "delete"), kinds, strict=True) if published == "False"]
            fix = f"ALTER PUBLICATION {quoted(name or '')} SET (publish = 'insert, update, delete, truncate');"
            misses = f"a log decoded by this publication has no {', '.join(words)}"
            yield Finding(RISK, "publication", misses, shown(name or ""), f"without {', '.join(words)}", fix)
    if int(ask("SHOW server_version_num")[0][0] or 0) >= 150_000:
        for name, schema, table, filtered, _ in ask(_CUT):
            publication, place = quoted(name or ""), f"{quoted(schema or '')}.{quoted(table or '')}"
            fix = f"ALTER PUBLICATION {publication} DROP TABLE {place};\nALTER PUBLICATION {publication} ADD TABLE {place};"
            what = "row filter" if filtered == "True" else "column list"
            misses = f"a log decoded by publication {name} lacks what its {what} leaves out"
            yield Finding(RISK, what, misses, f"{name}: {shown(schema or '')}.{shown(table or '')}", "", fix)
    if any(plugin == "pgoutput" for _, plugin, *_ in ask(_SLOTS)):
        yield from _unpublished(ask, [name or "" for name, *_ in publications])


def _unpublished(ask: Ask, publications: list[str]) -> Iterator[Finding]:
    for schema, table in ask(_UNPUBLISHED):
        place = f"{quoted(schema or '')}.{quoted(table or '')}"
        fix = (
            f"ALTER PUBLICATION {quoted(publications[0])} ADD TABLE {place};"
            if publications
            else f"CREATE PUBLICATION {_SLOT} FOR ALL TABLES;"
        )
        yield Finding(
            LOST, "not published", "its changes are not in a log of pgoutput", f"{shown(schema or '')}.{shown(table or '')}", "", fix
        )


# ---- the account


_ACCOUNT = "SELECT current_user, rolsuper OR rolreplication FROM pg_roles WHERE rolname = current_user"
_LACKING = f"""
    SELECT DISTINCT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND {_USERS} AND NOT (has_schema_privilege(n.oid, 'USAGE')
      AND has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT')
      AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE')) ORDER BY 1
"""  # noqa: S608


def _rights(ask: Ask) -> Iterator[Finding]:
    ((account, replicates),) = ask(_ACCOUNT)
    role = quoted(account or "")
    if replicates != "True":
        misses = "this account may not read a slot"
        yield Finding(NOTE, "privilege", misses, "replication", "", f"ALTER ROLE {role} REPLICATION;")
    for (schema,) in ask(_LACKING):
        where = quoted(schema or "")
        fix = f"GRANT USAGE ON SCHEMA {where} TO {role};\nGRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {where} TO {role};"
        yield Finding(NOTE, "privilege", "an undo by this account may be refused", f"schema {shown(schema or '')}", "", fix)


CHECKS: Mapping[str, Callable[[Ask], Iterator[Finding]]] = {
    "slots": _slots,
    "tables": _tables,
    "publications": _publications,
    "privileges": _rights,
}
