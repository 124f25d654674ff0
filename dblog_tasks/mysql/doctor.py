"""What an undo would miss of a MySQL or MariaDB server today, and the statement that helps. Asks, never writes.

Law: queries in, findings out; the connection is the caller's. What cannot be seen is a finding with the GRANT that would show it. A
setting that a server does not have is as that server's log always is, so nothing is said of it.

    settings    SETTINGS: one row each, and RULES where the words depend on more
    tables      engine, key, foreign keys whose work is not logged, triggers
    account     what a replay by it would be refused for
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import NamedTuple

from dblog_tasks.errors import DblogError
from dblog_tasks.findings import ADVICE, CONFIGURATION, LOST, NOTE, RISK, SHELL, Examination, Finding, examination
from dblog_tasks.mysql.binlog import Format
from dblog_tasks.mysql.cascades import cascades_are_logged
from dblog_tasks.mysql.literals import identifier, quote
from dblog_tasks.mysql.target_checks import Ask, Rights, Server, read_server

DAY = 86_400
_OWN = "('information_schema', 'performance_schema', 'mysql', 'sys')"
_HERE = f"TABLE_SCHEMA NOT IN {_OWN} AND TABLE_SCHEMA = COALESCE(DATABASE(), TABLE_SCHEMA)"


class Wanted(NamedTuple):
    """A setting as an undo wants it, and what it would miss otherwise."""

    name: str
    good: tuple[str, ...]  # the first one is what the statement sets
    severity: str
    misses: str


SETTINGS = (
    Wanted("binlog_format", ("ROW",), LOST, "changes are logged as statements, without the rows they changed: no undo of those"),
    Wanted(
        "binlog_row_image",
        ("FULL", "FULL_NODUP"),
        LOST,
        "deleted rows and old values are not in the log in full: no undo of a DELETE, half of one of an UPDATE",
    ),
    Wanted(
        "binlog_row_metadata",
        ("FULL",),
        RISK,
        "the log has no column names: every plan needs --schema, and after an ALTER TABLE the one of that time",
    ),
    Wanted(
        "binlog_rows_query_log_events", ("ON",), NOTE, "the log has no text of statements: nobody can tell which one did it, no --statement"
    ),
    Wanted(
        "binlog_annotate_row_events", ("ON",), NOTE, "the log has no text of statements: nobody can tell which one did it, no --statement"
    ),
    Wanted("binlog_checksum", ("CRC32",), RISK, "damage inside a log file is not noticed before a plan is made of it"),
    Wanted("sync_binlog", ("1",), RISK, "after a crash of the machine the log may lack the last committed transactions"),
    Wanted("binlog_encryption", ("OFF",), LOST, "copies of the log files are refused as encrypted"),
    Wanted("encrypt_binlog", ("OFF",), LOST, "copies of the log files are refused as encrypted"),
    Wanted("gtid_mode", ("ON",), NOTE, "transactions have no name that holds on all servers: they are picked by position"),
    Wanted("innodb_native_foreign_keys", ("OFF",), LOST, "what foreign keys delete or change is not in the log"),
)
# Settings that are only read here: their changes are told as drift.
_WATCHED = (
    "log_bin",
    "binlog_expire_logs_seconds",
    "expire_logs_days",
    "max_binlog_total_size",
    "binlog_row_value_options",
    "init_connect",
)
_CONFIGURED = {"encrypt_binlog", "innodb_native_foreign_keys"}  # cannot be set while the server runs
_FETCH = "{} --read-from-remote-server --raw --host=… --user=… FILE   # leaves the encryption on: the server sends its log in clear"
_GTID_STEPS = ("enforce_gtid_consistency = ON", "gtid_mode = OFF_PERMISSIVE", "gtid_mode = ON_PERMISSIVE", "gtid_mode = ON")


def examine(ask: Ask, of: str, *, keep_days: float) -> Examination:
    """Return what an undo would miss. `of`: the server's name without a secret; `keep_days`: how long the log should be kept.

    Raises what `ask` raises when not even the settings can be read.
    """
    server = read_server(ask)
    variables = {name or "": value or "" for name, value in ask("SHOW GLOBAL VARIABLES")}
    found = [*_settings(server, variables, keep_days)]
    if variables.get("log_bin", "").upper() == "ON":
        found += _filters(ask, server)
    for name, check in CHECKS.items():
        try:
            found += check(ask, server)
        except DblogError as error:
            found.append(Finding(RISK, name, f"cannot be looked at: {error.what}"))
    names = {wanted.name for wanted in SETTINGS} | set(_WATCHED)
    return examination(of, found, {name: variables[name] for name in sorted(names & variables.keys())} | {"version": server.version})


# ---- settings


def _settings(server: Server, variables: Mapping[str, str], keep_days: float) -> Iterator[Finding]:
    if variables.get("log_bin", "").upper() != "ON":
        misses = "nothing is logged: no change could be undone"
        yield Finding(
            LOST, "log_bin", misses, "", variables.get("log_bin", "OFF"), "[mysqld]\nserver_id = 1\nlog_bin = binlog", CONFIGURATION
        )
        return
    for wanted in SETTINGS:
        value = variables.get(wanted.name, wanted.good[0])
        if value.upper() not in wanted.good:
            fix, where = _fix(server, wanted)
            yield Finding(wanted.severity, wanted.name, wanted.misses, "", value, fix, where)
    yield from _retention(server, variables, keep_days)
    if "sql_log_bin" in variables.get("init_connect", "").lower():
        misses = "sessions begin with sql_log_bin turned off: what they change is not in the log"
        yield Finding(LOST, "init_connect", misses, "", variables["init_connect"], _set(server, "init_connect = ''"))


def _fix(server: Server, wanted: Wanted) -> tuple[str, str]:
    if wanted.name in ("binlog_encryption", "encrypt_binlog"):
        return _FETCH.format("mariadb-binlog" if server.mariadb else "mysqlbinlog"), SHELL
    if wanted.name in _CONFIGURED:
        return f"[mysqld]\n{wanted.name} = {wanted.good[0]}", CONFIGURATION
    if wanted.name == "gtid_mode":
        return "\n".join(_set(server, step) for step in _GTID_STEPS), "SQL"
    return _set(server, f"{wanted.name} = {wanted.good[0]}"), "SQL"


def _set(server: Server, assignment: str) -> str:
    """Return the statement that sets a variable, also for the server's next start where the server can remember it."""
    if server.mariadb:
        return f"SET GLOBAL {assignment};  -- and under [mysqld] in its configuration: {assignment}"
    return f"SET PERSIST {assignment};"


def _retention(server: Server, variables: Mapping[str, str], keep_days: float) -> Iterator[Finding]:
    """Yield how long the log is kept, when that is too short. 0 stands for ever."""
    seconds = _number(variables.get("binlog_expire_logs_seconds", "0")) or _number(variables.get("expire_logs_days", "0")) * DAY
    if variables.get("binlog_expire_logs_auto_purge", "ON").upper() != "ON":
        seconds = 0
    wanted = round(keep_days * DAY)
    if seconds and seconds < wanted:
        name = "binlog_expire_logs_seconds" if "binlog_expire_logs_seconds" in variables else "expire_logs_days"
        value = wanted if name.endswith("seconds") else -(-wanted // DAY)
        misses = f"what is older than {timedelta(seconds=seconds)} is deleted from the log, {timedelta(seconds=wanted)} is wanted"
        yield Finding(RISK, name, misses, "", variables[name], _set(server, f"{name} = {value}"))
    if _number(variables.get("max_binlog_total_size", "0")):
        misses = "the log is deleted when it is larger, however young it is"
        fix = _set(server, "max_binlog_total_size = 0")
        yield Finding(RISK, "max_binlog_total_size", misses, "", variables["max_binlog_total_size"], fix)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0


def _filters(ask: Ask, server: Server) -> Iterator[Finding]:
    """Yield which databases are not logged."""
    problem: DblogError | None = None
    for statement in ("SHOW MASTER STATUS", "SHOW BINARY LOG STATUS"):  # the second one from MySQL 8.4 on
        try:
            rows = ask(statement)
        except DblogError as error:
            problem = error if problem is None or "1064" in problem.what else problem  # what no server of its kind knows says nothing
            continue
        for name, value, what in zip(_FILTERS, rows[0][2:4] if rows else (), ("all but these are", "these are"), strict=False):
            if value:
                fix = f"[mysqld]   # without the line {name}"
                yield Finding(LOST, name, f"{what} not in the log, by the database a session uses", "", value, fix, CONFIGURATION)
        return
    grant = "BINLOG MONITOR" if server.mariadb else "REPLICATION CLIENT"
    what = problem.what if problem else ""
    fix = f"GRANT {grant} ON *.* TO {_account(server.account)};"
    yield Finding(RISK, _FILTERS[0], f"whether databases are left out of the log cannot be seen: {what}", "", "", fix)


_FILTERS = ("binlog_do_db", "binlog_ignore_db")


def _account(account: str) -> str:
    """Return an account as a GRANT names it."""
    user, _, host = account.rpartition("@")
    return f"{quote(user)}@{quote(host)}"


# ---- tables


_TABLES = f"""
    SELECT t.TABLE_SCHEMA, t.TABLE_NAME, t.ENGINE, e.TRANSACTIONS, t.TABLE_TYPE
    FROM information_schema.TABLES t LEFT JOIN information_schema.ENGINES e ON e.ENGINE = t.ENGINE
    WHERE t.TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED') AND t.{_HERE.replace(" AND ", " AND t.")} ORDER BY 1, 2
"""  # noqa: S608 - of constants
_KEYED = f"""
    SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.STATISTICS WHERE NON_UNIQUE = 0 AND {_HERE}
    GROUP BY TABLE_SCHEMA, TABLE_NAME, INDEX_NAME HAVING SUM(NULLABLE = 'YES') = 0 AND COUNT(COLUMN_NAME) = COUNT(*)
"""  # noqa: S608
_COUNTED = f"SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME FROM information_schema.COLUMNS WHERE EXTRA LIKE '%auto_increment%' AND {_HERE}"  # noqa: S608


def _tables(ask: Ask, server: Server) -> Iterator[Finding]:
    tables = ask(_TABLES)
    keyed = {(schema, name) for schema, name in ask(_KEYED)}
    counted = {(schema, name): column or "" for schema, name, column in ask(_COUNTED)}
    for schema, name, engine, transactions, kind in tables:
        place = f"{identifier(schema or '')}.{identifier(name or '')}"
        title = f"{schema}.{name}"
        if transactions != "YES":
            misses = "a ROLLBACK leaves what was changed, a crash leaves log and table apart, and a replay is not all or nothing"
            yield Finding(RISK, "engine", misses, title, engine or "none", f"ALTER TABLE {place} ENGINE = InnoDB;")
        if (schema, name) not in keyed:
            misses = "no key tells its rows apart: equal rows are told by their number only, and every step reads the whole table"
            yield Finding(RISK, "no key", misses, title, "", f"ALTER TABLE {place} ADD {_key(counted.get((schema, name)))};")
        if kind == "SYSTEM VERSIONED":
            yield Finding(NOTE, "system versioning", "a replay would write history: its rows come back from there", title)


def _key(counted: str | None) -> str:
    if counted:
        return f"PRIMARY KEY ({identifier(counted)})"
    return "COLUMN row_id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT INVISIBLE PRIMARY KEY"


_KEYS = f"""
    SELECT r.CONSTRAINT_SCHEMA, r.TABLE_NAME, r.CONSTRAINT_NAME, r.DELETE_RULE, r.UPDATE_RULE, k.COLUMN_NAME,
           k.REFERENCED_TABLE_SCHEMA, k.REFERENCED_TABLE_NAME, k.REFERENCED_COLUMN_NAME
    FROM information_schema.REFERENTIAL_CONSTRAINTS r JOIN information_schema.KEY_COLUMN_USAGE k
      ON k.CONSTRAINT_SCHEMA = r.CONSTRAINT_SCHEMA AND k.CONSTRAINT_NAME = r.CONSTRAINT_NAME AND k.TABLE_NAME = r.TABLE_NAME
    WHERE k.REFERENCED_TABLE_NAME IS NOT NULL AND k.{_HERE.replace(" AND ", " AND k.")}
    ORDER BY r.CONSTRAINT_SCHEMA, r.TABLE_NAME, r.CONSTRAINT_NAME, k.ORDINAL_POSITION
"""  # noqa: S608
_SILENT = {"CASCADE", "SET NULL"}


def _cascades(ask: Ask, server: Server) -> Iterator[Finding]:
    """Yield foreign keys that change rows without a word in the log."""
    if cascades_are_logged(Format(server.version, server.mariadb, 0, b"", 0)):
        return
    columns: dict[tuple[str, ...], list[tuple[str, str]]] = defaultdict(list)
    for row in ask(_KEYS):
        schema, table, name, on_delete, on_update, column, *parent, parent_column = (value or "" for value in row)
        if {on_delete, on_update} & _SILENT:
            columns[schema, table, name, on_delete, on_update, *parent].append((column, parent_column))
    for (schema, table, name, on_delete, on_update, *parent), pairs in columns.items():
        place = f"ALTER TABLE {identifier(schema)}.{identifier(table)}"
        own, others = (", ".join(map(identifier, side)) for side in zip(*pairs, strict=True))
        there = ".".join(map(identifier, parent))
        fix = (
            f"{place} DROP FOREIGN KEY {identifier(name)};\n"
            f"{place} ADD CONSTRAINT {identifier(name)} FOREIGN KEY ({own}) REFERENCES {there} ({others});"
        )
        misses = f"rows that the key to {'.'.join(parent)} takes along are not in the log: have the application change them itself"
        rules = ", ".join(f"ON {event} {rule}" for event, rule in (("DELETE", on_delete), ("UPDATE", on_update)) if rule in _SILENT)
        yield Finding(LOST, "foreign key", misses, f"{schema}.{table} {name}", rules, fix)


def _triggers(ask: Ask, server: Server) -> Iterator[Finding]:
    where = _HERE.replace("TABLE_SCHEMA", "EVENT_OBJECT_SCHEMA")
    query = (
        "SELECT EVENT_OBJECT_SCHEMA, EVENT_OBJECT_TABLE, GROUP_CONCAT(TRIGGER_NAME ORDER BY 1 SEPARATOR ', ')"  # noqa: S608 - constants
        f" FROM information_schema.TRIGGERS WHERE {where} GROUP BY 1, 2"
    )
    for schema, table, names in ask(query):
        misses = "triggers would fire again in a replay, which refuses that until told what to do"
        yield Finding(NOTE, "trigger", misses, f"{schema}.{table}", names or "", "dblog replay … --triggers allow", ADVICE)


# ---- the account


def _rights(ask: Ask, server: Server) -> Iterator[Finding]:
    rights = Rights(ask, server.account)
    schemas = [schema or "" for (schema,) in ask(f"SELECT DISTINCT TABLE_SCHEMA FROM information_schema.TABLES WHERE {_HERE}")]  # noqa: S608
    for schema in schemas:
        lacking = [word for word in ("SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "TRIGGER") if not rights.holds(word, schema)]
        if lacking:
            words = ", ".join(lacking)
            fix = f"GRANT {words} ON {identifier(schema)}.* TO {_account(server.account)};"
            blind = not rights.holds("TRIGGER", schema) or not any(rights.holds(word, schema) for word in ("INSERT", "UPDATE", "DELETE"))
            unseen = "foreign keys and triggers cannot all be seen by this account, and " if blind else ""
            yield Finding(RISK if blind else NOTE, "privilege", f"{unseen}a replay by it may be refused: it lacks {words}", schema, "", fix)


CHECKS: Mapping[str, Callable[[Ask, Server], Iterator[Finding]]] = {
    "tables": _tables,
    "foreign keys": _cascades,
    "triggers": _triggers,
    "privileges": _rights,
}
