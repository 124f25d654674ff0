"""What an undo would miss today, of a live server or of a log, whatever wrote it.

Law: says who is asked, and turns what a survey found of a log into findings; what there is to ask of a server is with its own package.
Nothing is written anywhere. A server is asked for its settings and tables; of a log everything is read.

    mysql://…  mariadb://…  postgresql://…     a server; its password as `targets` and the packages' connections say
    env:NAME                                   a variable that holds such a DSN
    anything else                              a log, with --driver
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from importlib import import_module
from urllib.parse import urlsplit

from dblog_tasks.errors import InvalidInput, UnsupportedLog
from dblog_tasks.findings import ADVICE, LOST, NOTE, REDIS, RISK, SHELL, Examination, Finding, examination
from dblog_tasks.planning import PlanRequest, read_events
from dblog_tasks.survey import Survey, survey
from dblog_tasks.targets import resolve

KEEP_DAYS = 7.0
_SERVERS: Mapping[str, tuple[str, str]] = {
    "mysql": ("dblog_tasks.mysql.catalog", "dblog_tasks.mysql.doctor"),
    "mariadb": ("dblog_tasks.mysql.catalog", "dblog_tasks.mysql.doctor"),
    "postgresql": ("dblog_tasks.postgres.connection", "dblog_tasks.postgres.doctor"),
    "postgres": ("dblog_tasks.postgres.connection", "dblog_tasks.postgres.doctor"),
}
_SECONDHAND = {"redis": "appendonlydir/appendonly.aof.1.incr.aof", "rediss": "appendonlydir/appendonly.aof.1.incr.aof", "mongodb": ""}


def is_server(what: str) -> bool:
    """Return whether this names a server rather than a log. Raises InvalidInput for a server that cannot be asked."""
    scheme = what.partition(":")[0].lower()
    if scheme in _SECONDHAND:
        file = _SECONDHAND[scheme]
        raise InvalidInput(f"a live server of {scheme}:// cannot be asked", hint=f"name its log instead: {file}" if file else "")
    return scheme in _SERVERS or scheme == "env"


def examine_server(target: str, *, password: str | None = None, keep_days: float = KEEP_DAYS) -> Examination:
    """Return what an undo would miss of a server. `keep_days`: how long its log should be kept.

    Raises InvalidInput for a DSN that cannot be used, StorageError when the server cannot be reached, TargetError for what it will not say.
    """
    dsn, secret = resolve(target, password)
    scheme = urlsplit(dsn).scheme
    if scheme not in _SERVERS:
        raise InvalidInput(f"{scheme}:// is no server that can be asked", where="DSN", hint=f"known are {', '.join(sorted(_SERVERS))}")
    asking, examine = (import_module(name) for name in _SERVERS[scheme])
    opened: AbstractContextManager[Callable[[str], list[tuple[str | None, ...]]]] = asking.asking(dsn, secret)
    with opened as ask:
        found: Examination = examine.examine(ask, _named(dsn), keep_days=keep_days)
    return found


def _named(dsn: str) -> str:
    """Return where a DSN leads: no options, no account's password."""
    parts = urlsplit(dsn)
    return f"{parts.scheme}://{parts.netloc}{parts.path}"


def examine_log(request: PlanRequest, of: str) -> Examination:
    """Return what an undo would miss of a log, by what its events show; `of` names it. Raises DblogError for one that cannot be opened."""
    try:
        found = survey(read_events(replace(request, own_replays=True)))
    except UnsupportedLog as error:
        return examination(of, [Finding(LOST, "readable", error.what, error.where, "", error.hint, SHELL)])
    return examination(of, [*_of_survey(found, request.driver)])


def _of_survey(found: Survey, driver: str) -> Iterator[Finding]:
    if found.problem is not None:
        misses = f"the log ends in damage: {found.problem.what}"
        yield Finding(LOST, "damage", misses, "", "", found.problem.hint or "dblog plan … --on-damage salvage", ADVICE)
    for obstacle in found.obstacles:
        tables = f", of {', '.join(obstacle.tables)}" if obstacle.tables else ""
        misses = f"{obstacle.events:,} events cannot be undone, the first at {obstacle.position}{tables}"
        yield Finding(LOST, obstacle.reason, misses, "", "", obstacle.fix, ADVICE)
    for table in found.keyless:
        yield Finding(RISK, "no key", "no key tells its rows apart, as far as the log says", table, "", "--schema, if it has one", ADVICE)
    for check in _MORE.get(driver, ()):
        yield from check(found)


def _silent(found: Survey) -> Iterator[Finding]:
    if found.silent:
        fix = "SET GLOBAL binlog_rows_query_log_events = ON;  -- MySQL\nSET GLOBAL binlog_annotate_row_events = ON;  -- MariaDB"
        misses = f"{found.silent:,} of {found.transactions:,} transactions are without the text of their statements"
        yield Finding(NOTE, "statement text", misses, "", "", fix)


def _timeless(found: Survey) -> Iterator[Finding]:
    if found.changes and found.since is None:
        misses = "no command has a time: nothing can be picked by --since and --until"
        yield Finding(RISK, "aof-timestamp-enabled", misses, "", "no", "CONFIG SET aof-timestamp-enabled yes\nCONFIG REWRITE", REDIS)


_MORE: Mapping[str, tuple[Callable[[Survey], Iterator[Finding]], ...]] = {"mysql": (_silent,), "redis": (_timeless,)}
