"""How a command line is read: in any order, no option twice, what is wrong in words that help."""

from __future__ import annotations

from pathlib import Path
import sys

import pytest

from dblog_tasks.cli import VERBS, run
from dblog_tasks.plan import read_plan

FIRST, SECOND, LAST = (str(Path(__file__).parent / "corpus" / "shop" / f"shop.00000{number}") for number in (1, 2, 3))
MYSQL = ("--driver", "mysql")

# Command lines that are taken as if they were `plan LOGS --driver mysql --transaction 0-1-35`.
SAME_LINES = {
    "logs behind the options": ("--driver", "mysql", "--transaction", "0-1-35", FIRST, SECOND, LAST),
    "logs between the options": (FIRST, "--driver", "mysql", SECOND, "--transaction", "0-1-35", LAST),
    "logs behind a double dash": ("--driver", "mysql", "--transaction", "0-1-35", "--", FIRST, SECOND, LAST),
    "values behind an equals sign": (FIRST, SECOND, LAST, "--driver=mysql", "--transaction=0-1-35"),
    "a value that begins with a dash": (FIRST, SECOND, LAST, "--driver=mysql", "--transaction=0-1-35", "--where", "-1 < id"),
}


@pytest.mark.parametrize("name", SAME_LINES)
def test_options_and_logs_may_stand_in_any_order(name: str, tmp_path: Path) -> None:
    """The plan is the same."""
    assert run(["plan", FIRST, SECOND, LAST, *MYSQL, "--transaction", "0-1-35", "--out", str(tmp_path / "first")]) == 0
    first, *rest = SAME_LINES[name]
    assert run(["plan", "--out", str(tmp_path / "second"), first, *rest]) == 0

    one, other = (read_plan(str(tmp_path / name), {}) for name in ("first", "second"))
    assert one.ledger.undone == other.ledger.undone > 0


WRONG_LINES = {
    ("plan", "--tabel", "a"): "unknown option --tabel (did you mean --table?)",
    ("plan", FIRST, *MYSQL): "the following arguments are required: --out (dblog plan --help)",
    ("plan", FIRST, *MYSQL, "--out", "a", "--out", "b"): "--out is given twice (dblog plan --help)",
    ("plan", FIRST, *MYSQL, "--out"): "argument --out: expected one argument (dblog plan --help)",
    ("plan", FIRST, *MYSQL, "--out", "a", "--jobs", "two"): "argument --jobs: invalid int value: 'two' (dblog plan --help)",
    ("plan", FIRST, *MYSQL, "--out", "a", "--on-damage", "go on"): (
        "argument --on-damage: invalid choice: 'go on' (choose from 'stop', 'salvage') (dblog plan --help)"
    ),
    ("show", "a", "b"): "unrecognized arguments: b (dblog show --help)",
    ("undo",): (
        "no verb undo, expected one of plan, show, replay, verify, events, inspect, check, approve, doctor, init, config (dblog --help)"
    ),
}


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the words are those of Python 3.11")
@pytest.mark.parametrize("words", WRONG_LINES, ids=" ".join)
def test_a_wrong_command_line_is_said(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """What is wrong, and where help is."""
    assert run(words) == 1
    assert f"dblog: {WRONG_LINES[words]}" == capsys.readouterr().err.rstrip()


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Usage, what it does, every option with what it means."""
    assert run([verb, "--help"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"usage: dblog {verb} ")
    assert [] == [line for line in said.splitlines() if len(line) > 140]
    assert (0, f"  {verb} ") == (run(["--help"]), f"  {verb} " if f"  {verb} " in capsys.readouterr().out else "")
