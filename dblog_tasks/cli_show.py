"""The verbs that read a plan: `show`, `check`. No logic: options in, a verb called, its answer printed."""

from collections.abc import Callable, Iterator, Mapping
import sys
from typing import Annotated, Literal

import orjson

from dblog_tasks.cli_options import DIFFERS, DONE, Option, StorageOptions, store as _store
from dblog_tasks.errors import InvalidInput, MalformedPlan
from dblog_tasks.plan import Plan, check as check_plan, read_plan

Form = Annotated[Literal["summary", "sql", "redis", "json"], Option("One screen, the undo for a client, or everything.", "--as")]


def show(
    url: Annotated[str, Option("The plan's folder.", "PLAN")],
    /,
    *,
    as_: Form = "summary",
    mask: Annotated[bool, Option("Hide the values of sample rows in the summary.")] = False,
    storage_options: StorageOptions = [],  # noqa: B006
) -> int:
    """Show what a plan would do.

    Example: dblog show plan --as sql > undo.sql
    """
    print_plan(read_plan(url, _store(storage_options, url)), as_, mask=mask)
    return DONE


def print_plan(found: Plan, form: str, *, mask: bool = False) -> None:
    """Print a plan in one of the forms of `SHOWN`. Raises InvalidInput for one that the plan's driver has not."""
    for piece in SHOWN[form](found, mask):
        _print_piece(piece)


def _print_piece(piece: str | bytes) -> None:
    """Print text; UTF-8 goes past the text layer, behind what that holds, where there is something below it."""
    below = getattr(sys.stdout, "buffer", None)
    if isinstance(piece, bytes) and below is not None:
        sys.stdout.flush()
        below.write(piece)
    else:
        sys.stdout.write(piece if isinstance(piece, str) else piece.decode())


def _summary(found: Plan, mask: bool) -> Iterator[str]:  # noqa: FBT001 - one signature for all
    from dblog_tasks.report import summary  # noqa: PLC0415

    yield summary(found, mask=mask) + "\n"


def _json(found: Plan, mask: bool) -> Iterator[str]:  # noqa: FBT001
    from dblog_tasks.report import plan_json  # noqa: PLC0415

    yield orjson.dumps(plan_json(found), option=orjson.OPT_INDENT_2).decode() + "\n"


def _sql(found: Plan, mask: bool) -> Iterator[bytes]:  # noqa: FBT001
    if found.manifest["driver"] == "pg":
        from dblog_tasks.postgres.sql import plan_script as psql_script  # noqa: PLC0415

        steps = ((step.transaction, step.checkpoint.position.value, step.operation) for step in found.steps())
        return (piece.encode() for piece in psql_script(steps, header=_header(found)))
    from dblog_tasks.mysql.sql import plan_script  # noqa: PLC0415

    _check_driver(found, "mysql", "sql")
    return plan_script(found.stored_segments(), header=_header(found))


def _redis(found: Plan, mask: bool) -> Iterator[str]:  # noqa: FBT001
    from dblog_tasks.redis.text import undo_text  # noqa: PLC0415

    _check_driver(found, "redis", "redis")
    steps = ((step.transaction.id if step.transaction else None, step.operation) for step in found.steps())
    return (line + "\n" for line in undo_text(steps))


SHOWN: Mapping[str, Callable[[Plan, bool], Iterator[str] | Iterator[bytes]]] = {
    "summary": _summary,
    "json": _json,
    "sql": _sql,
    "redis": _redis,
}


def _check_driver(found: Plan, driver: str, form: str) -> None:
    if found.manifest["driver"] != driver:
        raise InvalidInput(f"a plan of {found.manifest['driver']} cannot be shown as {form}", where=found.url)


def _header(found: Plan) -> list[str]:
    conflicts, ledger = found.manifest["conflicts"], found.ledger
    known = conflicts["known_up_to"]["position"]
    transactions = found.manifest["transactions"]["count"]
    return [
        f"plan {found.id} of {found.manifest['source']['name']}: {ledger.rows_undone} rows, {transactions} transactions",
        f"log {found.start.position.value or 'from the beginning'} to {found.end.position.value}",
        f"{ledger.omitted.total()} events omitted; {conflicts['hard']} hard and {conflicts['soft']} soft conflicts known up to {known}",
    ]


def check(
    url: Annotated[str, Option("The plan's folder.", "PLAN")],
    /,
    *,
    storage_options: StorageOptions = [],  # noqa: B006
) -> int:
    """Read a plan wholly: hashes, counts and ledger must agree.

    Example: dblog check plan
    """
    try:
        found = read_plan(url, _store(storage_options, url))
        problems = check_plan(found)
    except MalformedPlan as error:
        problems = [str(error)]
    print("\n".join(problems) if problems else f"plan {found.id} is whole: {found.ledger.undone} events, {found.ledger.rows_undone} rows")
    return DIFFERS if problems else DONE
