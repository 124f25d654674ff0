"""Limits on size and names, and what must not be in the project: style as a test."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
import re
import subprocess

import pytest

ROOT = Path(__file__).parent.parent
FUNCTION_LINES_MAX = 60
MODULE_LINES_MAX = 500
NAMES_WITHOUT_MEANING = {"base", "common", "core", "helpers", "manager", "misc", "models", "utils"}
# A path that exists on one machine only, and words about what is still to be done instead of what is.
FOREIGN = re.compile(rf"{re.escape(str(ROOT))}/|(?<![\w.])/(?:root|home/\w+|Users/\w+)/\w|(?i:\b(?:todo|fixme)\b)")
THIS_FILE = Path(__file__).relative_to(ROOT)


def tracked() -> list[Path]:
    """Return the files that are or would be in the repository; outside of one, all but hidden folders."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    names = listed.stdout.split("\0") if listed.returncode == 0 else [str(path.relative_to(ROOT)) for path in ROOT.rglob("*")]
    files = [Path(name) for name in names if name and not name.startswith((".venv/", ".git/"))]
    return [file for file in files if (ROOT / file).is_file()]


def modules() -> list[Path]:
    """Return the project's Python files."""
    return [file for file in tracked() if file.suffix == ".py"]


def untidy(file: Path, source: str) -> Iterator[str]:
    """Yield what is too long, badly named or without a docstring in one module."""
    tree = ast.parse(source)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    if source.count("\n") > MODULE_LINES_MAX:
        yield f"{source.count(chr(10))} lines"
    if NAMES_WITHOUT_MEANING & set(file.with_suffix("").parts):
        yield "a name that says nothing"
    for function in functions:
        length = (function.end_lineno or function.lineno) - function.lineno + 1
        if length > FUNCTION_LINES_MAX:
            yield f"{function.name}: {length} lines"
    if file.parts[0] == "tests":
        yield from (f"{test.name}: no docstring" for test in functions if test.name.startswith("test_") and not ast.get_docstring(test))
    else:
        yield from (f"{name}: no docstring" for name in _silent(tree, "module"))


def _silent(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> Iterator[str]:
    """Yield public things without docstring. A class speaks for its properties, and for what a Protocol only declares (`...`)."""
    if not ast.get_docstring(node):
        yield name
    if isinstance(node, ast.Module | ast.ClassDef):
        children = (child for child in node.body if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef))
        for child in children:
            if not child.name.startswith("_") and not _is_declared(child):
                yield from _silent(child, child.name)


def _is_declared(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    decorators = {ast.unparse(decorator) for decorator in node.decorator_list}
    return ast.unparse(node.body[-1]) == "..." or bool({"property", "cached_property"} & decorators)


@pytest.mark.parametrize("file", modules(), ids=str)
def test_module_is_tidy(file: Path) -> None:
    """No module is too long, holds a function that is, has an empty name, or leaves a public thing unexplained."""
    assert list(untidy(file, (ROOT / file).read_text())) == []


@pytest.mark.parametrize(
    ("file", "source", "found"),
    [
        ("dblog_tasks/a.py", '"""A."""\n' + "\n" * 500, "501 lines"),
        ("dblog_tasks/a.py", '"""A."""\ndef _f():\n' + "    x = 1\n" * 60, "_f: 61 lines"),
        ("dblog_tasks/utils.py", '"""A."""', "a name that says nothing"),
        ("dblog_tasks/core/a.py", '"""A."""', "a name that says nothing"),
        ("dblog_tasks/a.py", "", "module: no docstring"),
        ("dblog_tasks/a.py", '"""A."""\ndef f():\n    return 1', "f: no docstring"),
        ("flows/a.py", '"""A."""\nclass C:\n    "C."\n    def m(self):\n        return 1', "m: no docstring"),
        ("tests/test_a.py", "def test_a():\n    assert 1", "test_a: no docstring"),
    ],
)
def test_untidiness_is_found(file: str, source: str, found: str) -> None:
    """Each limit is seen when it is broken."""
    assert [found] == list(untidy(Path(file), source))


def test_nothing_foreign_is_in_the_project() -> None:
    """No file holds the path of a machine or words about how it came to be."""
    found = {
        str(file): match[0]
        for file in tracked()
        if file != THIS_FILE and (match := FOREIGN.search((ROOT / file).read_bytes().decode(errors="ignore")))
    }

    assert found == {}


@pytest.mark.parametrize("text", ["open('/Users/me/log')", "# TODO later"])
def test_foreign_text_is_found(text: str) -> None:
    """The pattern finds what it is for."""
    assert FOREIGN.search(text)


@pytest.mark.parametrize("text", ["https://example.org/home/page", "./Users/me/x", "method"])
def test_ordinary_text_is_not_foreign(text: str) -> None:
    """The pattern leaves addresses and relative paths alone."""
    assert FOREIGN.search(text) is None


def test_lock_names_no_address() -> None:
    """requirements.lock holds versions and hashes: where they come from is the installer's business."""
    lock = (ROOT / "requirements.lock").read_text()
    lines = [
        line
        for line in lock.splitlines()
        if not re.fullmatch(r"[\w.-]+==[\w.+!]+( ;[^:/]+)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?|#.*", line)
    ]

    assert lines == []
