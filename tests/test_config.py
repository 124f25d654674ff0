"""`dblog config`, and that settings cost nothing where they are not needed."""

from __future__ import annotations

import json
from pathlib import Path
import subprocess
import sys

import pytest

from dblog_tasks.cli import run
from dblog_tasks.cli_options import DONE, USAGE

ROOT = Path(__file__).parents[1]
SECRET = "hunter3-of-the-shop"  # noqa: S105 - what must not be told


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a secret in its .env."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DBLOG_RETRIES", "7")
    (tmp_path / ".env").write_text(f"DBLOG_STORAGE_OPTIONS__SECRET={SECRET}\nDBLOG_RETRYS=1")
    return tmp_path


def test_columns_show_value_and_origin(capsys: pytest.CaptureFixture[str]) -> None:
    """A line a setting; a slip of the pen is told beside."""
    assert DONE == run(["config"])
    said = capsys.readouterr()
    lines = [line.split(maxsplit=2) for line in said.out.splitlines()]

    assert ["retries", "7", "environment: DBLOG_RETRIES"] in lines
    assert ["storage_options.secret", "***", ".env: DBLOG_STORAGE_OPTIONS__SECRET"] in lines
    assert said.err == "dblog: DBLOG_RETRYS (.env) is no setting: DBLOG_RETRIES?\n"


def test_json_says_what_each_setting_means(capsys: pytest.CaptureFixture[str]) -> None:
    """For programs, and for who wants to know."""
    assert DONE == run(["config", "--as", "json"])
    found = json.loads(capsys.readouterr().out)

    assert ("7", "environment: DBLOG_RETRIES") == (found["retries"]["value"], found["retries"]["from"])
    assert all(one["means"] for one in found.values())
    assert SECRET not in str(found)


def test_bad_value_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Which setting, where it was set, what was expected; not the value."""
    monkeypatch.setenv("DBLOG_RETRIES", SECRET)

    assert USAGE == run(["config"])
    said = capsys.readouterr().err
    assert said.startswith("dblog: DBLOG_RETRIES (environment): setting: Input should be a valid integer")
    assert (1, False) == (said.count("\n"), SECRET in said)


def test_planning_and_showing_load_neither_prefect_nor_pydantic(tmp_path: Path) -> None:
    """What a shell waits for before the first output has no server, no settings and no forms in it."""
    log, out = ROOT / "tests" / "corpus" / "shop", tmp_path / "plan"
    script = f"""
import sys
from dblog_tasks.cli import run
codes = [
    run(["plan", {str(log)!r}, "--driver", "mysql", "--out", {str(out)!r}, "--schema", {str(log / "schema.sql")!r}]),
    run(["show", {str(out)!r}]),
]
heavy = [name for name in ("prefect", "pydantic", "pydantic_settings", "fastapi", "httpx") if name in sys.modules]
sys.exit(f"{{codes}} {{heavy}}" if heavy or any(code not in (0, 3) for code in codes) else 0)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert (0, "") == (done.returncode, done.stderr)
