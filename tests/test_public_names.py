"""What the package gives away: each name is there, and is what its own module has."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path
import subprocess
import sys

import pytest

import dblog_tasks

TREE = ast.parse(Path(dblog_tasks.__file__).read_bytes())
IMPORTED = {alias.name: node.module for node in ast.walk(TREE) if isinstance(node, ast.ImportFrom) for alias in node.names}


@pytest.mark.parametrize("name", dblog_tasks.__all__)
def test_a_name_is_what_type_checkers_see(name: str) -> None:
    """The module that a type checker is told of holds it."""
    assert getattr(import_module(str(IMPORTED[name])), name) is getattr(dblog_tasks, name)


def test_all_names_are_listed_before_any_is_used() -> None:
    """For `dir` and for `from dblog_tasks import *`."""
    script = (
        "import dblog_tasks; listed = dir(dblog_tasks); from dblog_tasks import *; print({*dblog_tasks.__all__} - ({*dir()} & {*listed}))"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert ("set()\n", "") == (done.stdout, done.stderr)


def test_no_other_name_is_there() -> None:
    """A name nobody gives away is an error as of any module, also one that a module inside has."""
    with pytest.raises(AttributeError, match="module 'dblog_tasks' has no attribute 'first_against'"):
        dblog_tasks.first_against  # type: ignore[attr-defined]  # noqa: B018
