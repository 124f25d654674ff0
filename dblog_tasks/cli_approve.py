"""`dblog approve`: the answer to a flow run that waits, given in a shell. Options in, the verb called, its answer printed. No logic."""

from __future__ import annotations

import sys
from typing import Annotated, Literal

from dblog_tasks.cli_options import DONE, Option
from dblog_tasks.errors import InvalidInput


def approve(
    run: Annotated[str, Option("Id or name of the suspended flow run.", "RUN")],
    /,
    *,
    approve: Annotated[str, Option("Id of the plan, as the screen shows it: approves it.")] = "",
    decline: Annotated[bool, Option("Say no: the run ends, nothing is changed.")] = False,
    by: Annotated[str, Option("Your name, kept with the run.")] = "",
    on_conflict: Annotated[
        Literal["stop", "skip", "force"] | None, Option("What to do with rows that were changed since, where there are any.")
    ] = None,
    accept: Annotated[bool, Option("Accept what the screen names under To accept.")] = False,
) -> int:
    """Show what a flow run asks, and answer it; on a terminal the answer is asked for, in a pipe the screen alone is shown.

    Example: dblog approve recover-shop --approve 16faba862abc91d90db9f4864302aaef --by ann
    """
    from dblog_tasks import approval  # noqa: PLC0415 - takes long to import

    if approve and decline:
        raise InvalidInput("approve or decline, not both", where="--approve, --decline")
    waiting = approval.find_waiting(run)
    if not (approve or decline):
        _show(waiting.text)
        if not sys.stdin.isatty():
            return DONE
        approve = _ask("Plan id to approve, empty to decline: ")
        by = by or _ask("Your name: ")
        accept = accept or ("**To accept**" in waiting.text and _ask("Accept what is named under To accept? yes or no: ") == "yes")
    if not by.strip():
        raise InvalidInput("an answer has a name", where="--by")
    decision: Literal["decline", "approve"] = "approve" if approve else "decline"
    approval.answer(waiting, approval.Approval(decision=decision, plan_id=approve, name=by, on_conflict=on_conflict, accept=accept))
    print(f"{waiting.name}: {'approved' if approve else 'declined'} by {by}; the run goes on")
    return DONE


def _ask(question: str) -> str:
    print(question, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip()


def _show(text: str) -> None:
    """Print the screen: as it is in a pipe, set on a terminal."""
    if not sys.stdout.isatty():
        print(text)
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.markdown import Markdown  # noqa: PLC0415

    Console().print(Markdown(text))
