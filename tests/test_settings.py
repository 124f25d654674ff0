"""Settings: where they come from, what wins, and that no secret is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from dblog_tasks.errors import InvalidInput
from dblog_tasks.settings import read_settings

SECRET = "hunter2-of-the-shop"  # noqa: S105 - what must not be told


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and no settings in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in ("DBLOG_RETRIES", "DBLOG_RETRY_DELAY_SECONDS", "DBLOG_STORAGE_OPTIONS", "DBLOG_INDEX"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_nothing_set_gives_defaults() -> None:
    """A machine without settings tries three times and knows no storage options."""
    assert (2, 10, {}) == (read_settings().retries, read_settings().retry_delay_seconds, read_settings().open_storage_options())


def test_environment_wins_over_env_file_over_pyproject(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is nearest to the run wins; each source may add an option of its own."""
    (folder / "pyproject.toml").write_text(
        "[tool.dblog]\nretries = 5\nretry_delay_seconds = 1\n[tool.dblog.storage_options]\nanon = true\nport = 1"
    )
    (folder / ".env").write_text("DBLOG_RETRIES=6\nDBLOG_STORAGE_OPTIONS__KEY=shop\nOTHER=1")
    monkeypatch.setenv("DBLOG_RETRIES", "7")
    monkeypatch.setenv("DBLOG_STORAGE_OPTIONS__CLIENT_KWARGS__ENDPOINT_URL", "http://127.0.0.1:9")
    settings = read_settings()

    assert (7, 1) == (settings.retries, settings.retry_delay_seconds)
    assert {
        "anon": True,
        "port": 1,
        "key": "shop",
        "client_kwargs": {"endpoint_url": "http://127.0.0.1:9"},
    } == settings.open_storage_options()


def test_secrets_are_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret is in clear only where it is asked for."""
    monkeypatch.setenv("DBLOG_STORAGE_OPTIONS__SECRET", SECRET)
    settings = read_settings()

    assert {"secret": SECRET} == settings.open_storage_options()
    assert SECRET not in f"{settings!r} {settings} {settings.model_dump_json()}"


@pytest.mark.parametrize(
    ("name", "value", "where"),
    [
        ("DBLOG_RETRIES", SECRET, "DBLOG_RETRIES"),
        ("DBLOG_RETRIES", "-1", "DBLOG_RETRIES"),
        ("DBLOG_STORAGE_OPTIONS", f'{{"secret": {SECRET}', "DBLOG_"),
        ("DBLOG_STORAGE_OPTIONS", f'["{SECRET}"]', "DBLOG_STORAGE_OPTIONS"),
        ("DBLOG_STORAGE_OPTIONS__A__B__C", SECRET, "DBLOG_STORAGE_OPTIONS"),
    ],
)
def test_bad_setting_is_one_clear_line(monkeypatch: pytest.MonkeyPatch, name: str, value: str, where: str) -> None:
    """A setting that cannot be used is named; its value is not told."""
    monkeypatch.setenv(name, value)
    with pytest.raises(InvalidInput) as caught:
        read_settings()

    assert str(caught.value).startswith(where)
    assert (False, None, True) == (SECRET in str(caught.value), caught.value.__cause__, caught.value.__suppress_context__)


def test_file_that_is_no_toml_is_named(folder: Path) -> None:
    """A broken pyproject.toml is an error of ours."""
    (folder / "pyproject.toml").write_text("[tool.dblog")
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_settings()
