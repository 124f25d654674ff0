"""`dblog config`: what is set on this machine, and where each value comes from. No logic, no Prefect."""

from __future__ import annotations

from dataclasses import asdict
import sys
from typing import Annotated, Literal

from dblog_tasks.cli_options import DONE, Option


def config(
    *,
    as_: Annotated[
        Literal["text", "json"], Option("Columns for a person, or a JSON object with what each setting means.", "--as")
    ] = "text",
) -> int:
    """Show every setting, its value, and where that comes from; secrets as asterisks.

    Example: DBLOG_PROFILE=night dblog config
    """
    import orjson  # noqa: PLC0415 - this and the next take long to import

    from dblog_tasks.settings import explained, mistaken  # noqa: PLC0415

    found = explained()
    if as_ == "json":
        shown = {one.name: {"value": one.value, "from": one.origin, "means": one.meaning} for one in found}
        print(orjson.dumps(shown, option=orjson.OPT_INDENT_2).decode())
    else:
        rows = [tuple(asdict(one).values())[:3] for one in found]
        name_width, value_width = (max(len(row[column]) for row in rows) for column in (0, 1))
        print("\n".join(f"{name:{name_width}}  {value:{value_width}}  {origin}" for name, value, origin in rows))
    for line in mistaken():
        print(f"dblog: {line}", file=sys.stderr)
    return DONE
