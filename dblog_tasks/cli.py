"""`dblog`: the verbs for a shell. No logic: options in, a verb called, its answer printed.

Exit codes: 0 done; 1 usage or input error (one line on standard error); 3 plan written, with omissions or hard conflicts inside its
filter; 4 replay stopped at a conflict; 5 check failed, verify differs; 6 found by the doctor; 130 interrupted.
Prefect is not imported here. Each verb is imported when it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
import os
import sys

from dblog_tasks import __version__
from dblog_tasks.cli_options import DONE, INTERRUPTED, USAGE, Verb, call, usage
from dblog_tasks.errors import DblogError, InvalidInput

# Where the function of each verb is, and what it does in a line; more is said in its docstring.
VERBS: Mapping[str, tuple[str, str]] = {
    "plan": ("cli_plan", "Plan the undo of what is selected, and write the plan; nothing is changed in any database."),
    "show": ("cli_show", "Show what a plan would do; --as sql is the undo for a client."),
    "replay": ("cli_replay", "Do an approved plan to a database, each step once."),
    "verify": ("cli_replay", "Read back every row a plan touched."),
    "events": ("cli_plan", "Print the events that are selected, one a line."),
    "inspect": ("cli_plan", "Say what a log holds, with suspects and a plan line to paste."),
    "check": ("cli_show", "Read a plan wholly: hashes, counts and ledger must agree."),
    "approve": ("cli_approve", "Answer a flow run that waits for approval."),
    "doctor": ("cli_doctor", "Say what an undo would miss today, and the statement that helps."),
    "init": ("cli_init", "Write flows and deployments for a project of your own."),
    "config": ("cli_config", "Show what is set on this machine, and where each value comes from."),
}
OVERVIEW = """usage: dblog VERB … | dblog VERB --help | dblog --version

Recovery plans from database logs: find what went wrong, see what an undo would do, get it as SQL.

{verbs}
"""


def run(arguments: Sequence[str]) -> int:
    """Return the exit code of a command line; errors are one line on standard error."""
    try:
        code = _answer(arguments)
        sys.stdout.flush()
    except DblogError as error:
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
    else:
        return code


def _answer(arguments: Sequence[str]) -> int:
    """Return the exit code of a verb, or print what there is to know of verbs."""
    verb, *words = arguments or ("--help",)
    if verb == "--version":
        print(f"dblog-tasks {__version__}")
        return DONE
    if verb in ("--help", "-h"):
        print(OVERVIEW.format(verbs="\n".join(f"  {name:9} {said}" for name, (_, said) in VERBS.items())), end="")
        return DONE
    if verb not in VERBS:
        raise InvalidInput(f"no verb {verb}, expected one of {', '.join(VERBS)}", hint="dblog --help")
    function: Verb = getattr(import_module(f"dblog_tasks.{VERBS[verb][0]}"), verb)
    if "--help" in words or "-h" in words:
        print(usage(function), end="")
        return DONE
    return call(function, words)
