"""Every command of the README is run, in order, and says what the README shows."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
import re
import shlex

import pytest

from dblog_tasks.cli import run
from dblog_tasks.cli_options import DONE, INCOMPLETE

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
# Commands of other programs are not run here: they need a server or a network, and are said by their first word.
OTHERS = frozenset({"mysql", "pip"})
TARGET = "--target"  # what goes to a database is run in tests/live/test_readme.py


def console_lines() -> list[tuple[str, list[str]]]:
    """Return the commands of the console blocks with the output shown for each."""
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    return found


def words_of(command: str) -> list[str]:
    """Return the words of a command as a shell gives them, comment left out, globs expanded."""
    words = shlex.split(command, comments=True)
    return [found for word in words for found in (sorted(map(str, Path().glob(word))) if "*" in word and "/" in word else [word])]


def test_every_command_of_the_readme_does_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a checkout, in a folder of one's own."""
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    monkeypatch.chdir(tmp_path)
    commands = [(command, shown) for command, shown in console_lines() if command.split()[0] not in OTHERS and TARGET not in command]
    for command, shown in commands:
        words, output = words_of(command), io.StringIO()
        target = words[words.index(">") + 1] if ">" in words else None
        with contextlib.redirect_stdout(output):
            code = run([word for word in words[1:] if word not in (">", target)])
        if target:
            Path(target).write_text(output.getvalue())

        assert code in (DONE, INCOMPLETE), command
        assert [] == [line for line in shown if line not in output.getvalue()], command
    assert len(commands) >= 8


def test_the_python_example_of_the_readme_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that needs no Prefect; it prints a step."""
    monkeypatch.chdir(ROOT)
    example = next(block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if block.startswith("import dblog_tasks"))
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(compile(example, "README.md", "exec"), {})  # noqa: S102 - what the README shows

    assert "RowChanges" in output.getvalue()


def test_every_link_of_the_readme_leads_somewhere() -> None:
    """Links to files of the checkout."""
    assert [] == [target for target in re.findall(r"\]\((?!http)([^)#]+)\)", README) if not (ROOT / target).exists()]


def test_pictures_of_the_documents_are_there_and_small() -> None:
    """Each that a page shows exists, each that exists is shown; a page of them loads fast."""
    docs = ROOT / "docs"
    shown = {name for page in docs.glob("*.md") for name in re.findall(r"\]\((pictures/[\w-]+\.png)\)", page.read_text())}
    there = {f"pictures/{picture.name}": picture.stat().st_size for picture in (docs / "pictures").iterdir()}

    assert shown == there.keys()
    assert max(there.values()) < 150_000
