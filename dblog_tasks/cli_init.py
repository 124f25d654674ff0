"""`dblog init`: a project of the user's own, for a shell. Options in, the verb called, its answer printed. No logic."""

from __future__ import annotations

from pathlib import Path
import shlex
from typing import Annotated

from dblog_tasks.cli_options import DONE, Option
from dblog_tasks.project import KEPT, write_project


def init(
    folder: Annotated[Path, Option("Where the project goes; made when it is not there.", "FOLDER")],
    /,
    *,
    replace: Annotated[bool, Option("Replace files of these names that are other ones.")] = False,
) -> int:
    """Write flows, deployments and a container file into a folder; what is there already stays, and is named.

    Example: dblog init recovery
    """
    became = dict(write_project(folder, replace=replace))
    for name, what in became.items():
        print(f"{what:8}  {name}")
    kept = sum(what == KEPT for what in became.values())
    if kept:
        print(f"{kept} other files of these names were kept: --replace replaces them")
    where = shlex.quote(str(folder))
    print(f"next: change what prefect.yaml marks CHANGE, then: cd {where} && prefect --no-prompt deploy --all")
    return DONE
