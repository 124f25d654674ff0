"""`dblog`: the verbs for a shell. No logic: options in, a verb called, its answer printed.

Exit codes: 0 done; 1 usage or input error (one line on standard error); 3 plan written, with omissions or hard conflicts inside its
filter; 4 replay stopped at a conflict; 5 check failed, verify differs; 6 found by the doctor; 130 interrupted.
Prefect is not imported here. Each verb is imported when it is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
import gc
from io import TextIOWrapper
import os
import sys

from cyclopts import App, CycloptsError, Parameter

from dblog_tasks import __version__
from dblog_tasks.cli_options import DONE, INTERRUPTED, USAGE
from dblog_tasks.errors import DblogError

app = App(
    name="dblog",
    version=f"dblog-tasks {__version__}",
    help="Recovery plans from database logs: find what went wrong, see what an undo would do, get it as SQL.",
    help_format="plaintext",
    result_action="return_value",
    default_parameter=Parameter(negative=()),
    suppress_keyboard_interrupt=False,
)

MEMORY_KEPT = 8 << 20

VERBS = {
    "dblog_tasks.cli_plan:plan": (
        "Plan the undo of what is selected, and write the plan; nothing is changed in any database.\n\n"
        "Example: dblog plan /var/lib/mysql/mysql-bin.0* --driver mysql --out plan --table shop.orders --since 2026-11-23T14:00:00Z"
    ),
    "dblog_tasks.cli_show:show": ("Show what a plan would do.\n\nExample: dblog show plan --as sql > undo.sql"),
    "dblog_tasks.cli_plan:events": (
        "Print the events that are selected, one a line: position, kind, time, transaction, table, body.\n\n"
        "Example: dblog events mysql-bin.000007 --driver mysql --kind delete --as json"
    ),
    "dblog_tasks.cli_plan:inspect": (
        "Say what a log holds: changes over time, the biggest transactions, what could not be undone, and suspects with a plan line to "
        "paste.\n\n"
        "Example: dblog inspect /var/lib/mysql/mysql-bin.0* --driver mysql"
    ),
    "dblog_tasks.cli_show:check": ("Read a plan wholly: hashes, counts and ledger must agree.\n\nExample: dblog check plan"),
    "dblog_tasks.cli_replay:replay": "Do an approved plan to a database, each step once.",
    "dblog_tasks.cli_approve:approve": "Answer a flow run that waits for approval.",
    "dblog_tasks.cli_doctor:doctor": "Say what an undo would miss today, and the statement that helps.",
    "dblog_tasks.cli_init:init": "Write flows and deployments for a project of your own.",
    "dblog_tasks.cli_replay:verify": "Read back every row a plan touched.",
    "dblog_tasks.cli_config:config": "Show what is set on this machine, and where each value comes from.",
}
for verb, said in VERBS.items():
    app.command(verb, help=said)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code. What is printed is UTF-8 in every locale: scripts hold text of the database."""
    gc.freeze()  # what is imported stays; rows come and go by the million, and hold no cycles
    gc.set_threshold(50_000, 20, 100)
    bytes(MEMORY_KEPT)  # once freed, the C library keeps freed memory up to this for the next block instead of returning it
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # what the interpreter made; nothing else can be told its encoding
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Return the exit code of a command line; errors are one line on standard error."""
    try:
        code = app(arguments, exit_on_error=False, print_error=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else DONE
    except (DblogError, CycloptsError) as error:
        line = " ".join(str(error).split()).encode(errors="backslashreplace").decode()  # what a file holds may be no text
        print(f"dblog: {line}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        print("dblog: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # whoever read our output has seen enough
        return DONE
    except OSError as error:
        print(f"dblog: output cannot be written: {error.strerror}", file=sys.stderr)
        return USAGE
