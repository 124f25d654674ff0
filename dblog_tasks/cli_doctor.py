"""`dblog doctor`: what an undo would miss today, for a shell. Options in, the verb called, its answer printed. No logic."""

from __future__ import annotations

from pathlib import Path
import sys
from typing import Annotated, Any, Literal

import orjson

from dblog_tasks.cli_options import DONE, DRIFTED, Option, StorageOptions, store
from dblog_tasks.doctor import KEEP_DAYS, examine_log, examine_server, is_server
from dblog_tasks.errors import InvalidInput
from dblog_tasks.findings import Drift, Examination, drift, finding_lines
from dblog_tasks.request import PlanRequest

What = Annotated[
    list[str],
    Option(
        "mysql://user@host/schema, postgresql://user@host/database, env:NAME, block:NAME; or files, folders, globs of a log.", "DSN|LOG"
    ),
]


def doctor(
    what: What,
    /,
    *,
    driver: Annotated[str, Option("What the log is, where one is given: mysql, pg, redis.")] = "",
    schema: Annotated[str, Option("CREATE TABLE statements or a DSN, for what the log does not tell of tables.")] = "",
    keep_days: Annotated[float, Option("How long the log should be kept.")] = KEEP_DAYS,
    last: Annotated[str, Option("What an earlier `--as json` wrote: say what changed since, and only that decides on the exit code.")] = "",
    as_: Annotated[Literal["text", "json"], Option("Sentences with statements to paste, or JSON.", "--as")] = "text",
    storage_options: StorageOptions = [],  # noqa: B006
) -> int:
    """Say what an undo would miss today, and the statement that helps. Exit code 6: it would miss something, or more than last time.

    Example: dblog doctor mysql://admin@db1/shop
    """
    found = _examined(what, driver, schema, keep_days, storage_options)
    changed = drift(_read(last), found) if last else None
    if as_ == "json":
        sys.stdout.write(orjson.dumps(found.to_json(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode())
    else:
        for line in [*finding_lines(found), *(_drift_lines(changed) if changed else ())]:
            print(line)
    worse = bool(changed.worse) if changed else not found.healthy
    return DRIFTED if worse else DONE


def _examined(what: list[str], driver: str, schema: str, keep_days: float, storage_options: list[str]) -> Examination:
    if what and what[0].startswith("block:"):
        from dblog_tasks.blocks import database_target  # noqa: PLC0415 - Prefect takes long to import

        dsn, password = database_target(_only(what))
        return examine_server(dsn, password=password, keep_days=keep_days)
    if any(is_server(name) for name in what):
        return examine_server(_only(what), keep_days=keep_days)
    if not driver:
        raise InvalidInput("a log without --driver", hint="--driver mysql, pg or redis; a server is a DSN: mysql://user@host/schema")
    options: dict[str, Any] = store(storage_options, *what)
    return examine_log(PlanRequest(driver, tuple(what), "", schema=schema, storage_options=options), ", ".join(what))


def _only(what: list[str]) -> str:
    if len(what) != 1:
        raise InvalidInput("one server at a time, and no logs beside it", hint="run it once for each")
    return what[0]


def _read(file: str) -> Examination:
    try:
        return Examination.from_json(orjson.loads(Path(file).read_bytes()))
    except OSError as error:
        raise InvalidInput(f"cannot be read: {error.strerror}", where=file) from None
    except orjson.JSONDecodeError:
        raise InvalidInput("no JSON", where=file, hint="give what `dblog doctor … --as json` wrote") from None


def _drift_lines(changed: Drift) -> list[str]:
    lines = [f"worse   {line}" for line in changed.worse] + [f"better  {line}" for line in changed.better]
    return ["", *(lines or ["nothing changed since the last examination"])]
