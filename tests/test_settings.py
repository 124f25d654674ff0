"""Settings: where they come from, what wins, and that no secret is told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dblog_tasks.errors import InvalidInput
from dblog_tasks.settings import Settings, explained, mistaken, read_settings

SECRET = "hunter2-of-the-shop"  # noqa: S105 - what must not be told


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and no settings in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("DBLOG_")]:
        monkeypatch.delenv(name)
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


PYPROJECT = """
[tool.dblog]
retries = 5
index = "/srv/index"
[tool.dblog.storage_options]
anon = true
[tool.dblog.profiles.night]
retries = 6
approval_seconds = 60
[tool.dblog.profiles.night.storage_options]
key = "shop"
"""


def test_profile_wins_over_the_table_and_not_over_the_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile holds what differs from [tool.dblog]; its options are added to those there."""
    (folder / "pyproject.toml").write_text(PYPROJECT)
    (folder / ".env").write_text("DBLOG_PROFILE=night")
    monkeypatch.setenv("DBLOG_APPROVAL_SECONDS", "61")
    settings = read_settings()

    assert ("night", 6, "/srv/index", 61) == (settings.profile, settings.retries, settings.index, settings.approval_seconds)
    assert {"anon": True, "key": "shop"} == settings.open_storage_options()


def test_profile_can_be_chosen_in_the_table(folder: Path) -> None:
    """A project may say which of its profiles holds where nothing else is said."""
    (folder / "pyproject.toml").write_text(PYPROJECT.replace("retries = 5", 'profile = "night"'))

    assert ("night", 6) == (read_settings().profile, read_settings().retries)


@pytest.mark.parametrize(
    ("pyproject", "said"),
    [
        ("[tool.dblog.profiles.night]", r"^DBLOG_PROFILE: there is no profile 'day' \(profiles of \[tool.dblog.profiles\]: night\)$"),
        ("[tool.dblog]", "there is no profile 'day' .*: none"),
        ("[tool.dblog]\nprofiles = 1", "there is no profile 'day'"),
        ("[tool.dblog]\nprofiles.day = 1", "there is no profile 'day'"),
        ("[tool.dblog]\nretrys = 1", r"^\[tool.dblog\] of pyproject.toml: retrys is no setting \(retries\?\)$"),
        (
            "[tool.dblog.profiles.day]\nxyzzy = 1",
            r"^\[tool.dblog.profiles.day\] .*: xyzzy is no setting \(`dblog config` shows them all\)$",
        ),
        ("[tool.dblog.profiles.day]\nretries = -1", r"^DBLOG_RETRIES \(profile day\): setting: Input should be"),
    ],
)
def test_bad_table_is_one_clear_line(folder: Path, monkeypatch: pytest.MonkeyPatch, pyproject: str, said: str) -> None:
    """What is not there, or is no setting, is named with what there is."""
    (folder / "pyproject.toml").write_text(pyproject)
    monkeypatch.setenv("DBLOG_PROFILE", "day")

    with pytest.raises(InvalidInput, match=said):
        read_settings()


def test_every_value_is_told_with_where_it_comes_from(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of the five origins, options one by one, secrets as asterisks."""
    (folder / "pyproject.toml").write_text(PYPROJECT)
    (folder / ".env").write_text("DBLOG_RETRY_DELAY_SECONDS=3")
    monkeypatch.setenv("DBLOG_PROFILE", "night")
    monkeypatch.setenv("DBLOG_STORAGE_OPTIONS__CLIENT_KWARGS__TOKEN", SECRET)
    monkeypatch.setenv("DBLOG_INDEX", f"s3://user:{SECRET}@bucket/index")
    found = {one.name: (one.value, one.origin) for one in explained()}

    assert {
        "profile": ("night", "environment: DBLOG_PROFILE"),
        "storage_options.anon": ("true", "pyproject.toml"),
        "storage_options.key": ("***", "profile night"),
        "storage_options.client_kwargs.token": ("***", "environment: DBLOG_STORAGE_OPTIONS__CLIENT_KWARGS__TOKEN"),
        "index": ("***", "environment: DBLOG_INDEX"),
        "retries": ("6", "profile night"),
        "retry_delay_seconds": ("3.0", ".env: DBLOG_RETRY_DELAY_SECONDS"),
        "approval_seconds": ("60.0", "profile night"),
        "approval_wait_seconds": ("604800", "default"),
    }.items() <= found.items()


def test_variables_that_look_like_a_setting_are_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slip of the pen in the environment cannot be an error: other programs may have such variables too."""
    (folder / ".env").write_text("DBLOG_INDEXX=1\nOTHER=1")
    for name in ("DBLOG_RETRY", "DBLOG_TARGET_PASSWORD", "DBLOG_STORAGE_OPTIONS__X", "DBLOG_QUITE_ELSE", "OTHER_RETRIES"):
        monkeypatch.setenv(name, SECRET)

    assert ["DBLOG_RETRY (environment) is no setting: DBLOG_RETRIES?", "DBLOG_INDEXX (.env) is no setting: DBLOG_INDEX?"] == list(
        mistaken()
    )


def test_every_setting_is_in_the_documents() -> None:
    """By the name of its variable."""
    text = (Path(__file__).parents[1] / "docs" / "settings.md").read_text()

    assert [] == [name for name in Settings.model_fields if f"`DBLOG_{name.upper()}" not in text]
    assert [] == [name for name, field in Settings.model_fields.items() if not field.description]
