"""Settings of a machine: what a run needs and no parameter may hold, because parameters are stored and shown.

Law: read when a run starts, never at import; no Prefect here. Nothing that is set wrongly is overlooked, and no value of a secret is
told. Sources, first wins; of `storage_options` each may add some:

    environment             DBLOG_RETRIES=5, nested with __: DBLOG_STORAGE_OPTIONS__CLIENT_KWARGS__ENDPOINT_URL=…
    .env                    the same names, in the working directory
    profile                 [tool.dblog.profiles.NAME] of pyproject.toml, where DBLOG_PROFILE=NAME or `profile` in [tool.dblog] chooses it
    pyproject.toml          [tool.dblog], in the working directory
    default                 as below

Where results lie, and with them the checkpoints of flows, is Prefect's own setting: PREFECT_DEFAULT_RESULT_STORAGE_BLOCK.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
import os
from typing import Any, Literal, TypeAlias

from pydantic import Field, SecretStr, StrictBool, StrictInt, ValidationError
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    PyprojectTomlConfigSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings.exceptions import SettingsError

from dblog_tasks.errors import InvalidInput
from dblog_tasks.storage.options import holds_secret
from dblog_tasks.text import MASKED

Option: TypeAlias = StrictBool | StrictInt | SecretStr
PREFIX, NESTED = "DBLOG_", "__"
PROFILE, PROFILES = "profile", "profiles"
ENVIRONMENT, DOTENV, TABLE, DEFAULT = "environment", ".env", "pyproject.toml", "default"


class Settings(BaseSettings):
    """What is set on this machine. Every field says what it is in its description."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter=NESTED,
        env_file=".env",
        pyproject_toml_table_header=("tool", "dblog"),
        extra="ignore",  # variables of the environment that are something else; tables are looked through by `_checked`
    )

    profile: str = Field("", description="name of the profile: a table [tool.dblog.profiles.NAME] whose values win over [tool.dblog]")
    storage_options: dict[str, Option | dict[str, Option]] = Field(
        default_factory=dict, description="for fsspec, beside those that a run is given; every text is treated as a secret"
    )
    index: str = Field("", description="URL of the folder of header indexes; the command line takes it from the environment alone")
    retries: int = Field(2, ge=0, le=100, description="attempts after the first one when a store cannot be reached")
    retry_delay_seconds: float = Field(10, ge=0, le=3600, description="before each of them")
    task_runner: Literal["threads", "processes", "dask", "ray"] = Field("threads", description="where the log files of a run are read")
    task_workers: int = Field(0, ge=0, le=10_000, description="how many are read at once; 0: as many as there are processors")
    task_address: str = Field("", description="of a Dask scheduler or Ray cluster; empty: one on this machine, as long as the run")
    task_megabytes: int = Field(64, ge=1, le=1 << 20, description="small log files are put together in one task up to this size")
    approval_seconds: float = Field(
        3600, gt=0, le=30 * 86400, description="how long an approval counts after its screen was shown; later a person is asked again"
    )
    approval_wait_seconds: int = Field(7 * 86400, ge=60, le=366 * 86400, description="how long a run waits for an answer before it fails")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return where settings come from, first wins."""
        return init_settings, *_sources(settings_cls).values()

    def open_storage_options(self) -> dict[str, Any]:
        """Return the storage options with their secrets in clear, for fsspec only."""
        return _in_clear(self.storage_options)


@dataclass(frozen=True, slots=True)
class Explained:
    """One setting as a person is shown it.

    Attributes:
        name: of the setting; of an option `storage_options.secret`.
        value: as text, a secret as asterisks.
        origin: where the value comes from.
        meaning: what the setting is.
    """

    name: str
    value: str
    origin: str
    meaning: str


def read_settings() -> Settings:
    """Return the settings as they are now. Raises InvalidInput for one that cannot be used; its value is not repeated."""
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        path = tuple(str(part) for part in first["loc"][:2])
        origin = next((origin for origin, source in _sources(Settings).items() if path[0] in source()), DEFAULT)
        raise InvalidInput(f"setting: {first['msg']}", where=f"{_variable(path)} ({origin})") from None
    except (SettingsError, ValueError):  # JSON or TOML that is none; what it holds may be secret
        raise InvalidInput("the settings cannot be read", where="DBLOG_…, .env or [tool.dblog] of pyproject.toml") from None


def explained() -> tuple[Explained, ...]:
    """Return every setting with its value and where that comes from. Raises InvalidInput as `read_settings` does."""
    settings = read_settings()
    given = {origin: dict(_leaves(source())) for origin, source in _sources(Settings).items()}
    found: list[Explained] = []
    for name, field in Settings.model_fields.items():
        values = dict(_leaves({name: getattr(settings, name)})) or {(name,): "{}"}
        for path, value in values.items():
            origin = next((origin for origin, there in given.items() if path in there), DEFAULT)
            found.append(Explained(".".join(path), _shown(value), _origin(origin, path), field.description or ""))
    return tuple(found)


def mistaken() -> Iterator[str]:
    """Yield in sentences which variables of the environment or .env look like a setting and are none."""
    dotenv = DotEnvSettingsSource(Settings).env_vars
    known = {*(f"{PREFIX}{name.upper()}" for name in Settings.model_fields), *OTHER_VARIABLES}
    for origin, names in ((ENVIRONMENT, os.environ), (DOTENV, dotenv)):
        for name in sorted(name.upper() for name in names):
            if name.startswith(PREFIX) and (first := name.partition(NESTED)[0]) not in known:
                like = get_close_matches(first, known, n=1, cutoff=0.8)
                if like:
                    yield f"{name} ({origin}) is no setting: {like[0]}?"


# Variables that are no settings: read on their own, by what needs them.
OTHER_VARIABLES: Mapping[str, str] = {
    "DBLOG_PASSWORD": "password of the DSN a schema is read from",
    "DBLOG_TARGET_PASSWORD": "password of the target of a replay",
    "DBLOG_PROJECT_DIR": "folder of the flows, for a worker",
    "DBLOG_NATIVE": "0: rows are read by Python alone",
}


class _Table(PyprojectTomlConfigSettingsSource):
    """[tool.dblog], without its profiles; a name in it that is no setting is an error."""

    def __init__(self, settings_cls: type[BaseSettings]) -> None:
        super().__init__(settings_cls)
        self.profiles: Mapping[str, Any] = self.toml_data.get(PROFILES) or {}
        self.init_kwargs = _checked({name: value for name, value in self.toml_data.items() if name != PROFILES}, settings_cls, "tool.dblog")


def _sources(settings_cls: type[BaseSettings]) -> dict[str, PydanticBaseSettingsSource]:
    """Return where values come from, first wins, by how that is called. Raises InvalidInput for a profile that is not there."""
    environment, dotenv, table = EnvSettingsSource(settings_cls), DotEnvSettingsSource(settings_cls), _Table(settings_cls)
    above: dict[str, PydanticBaseSettingsSource] = {ENVIRONMENT: environment, DOTENV: dotenv}
    name = next((str(found[PROFILE]) for found in (environment(), dotenv(), table()) if found.get(PROFILE)), "")
    if not name:
        return {**above, TABLE: table}
    if not isinstance(table.profiles, Mapping) or not isinstance(table.profiles.get(name), Mapping):
        there = ", ".join(table.profiles) if isinstance(table.profiles, Mapping) else ""
        raise InvalidInput(
            f"there is no profile {name!r}", where=_variable((PROFILE,)), hint=f"profiles of [tool.dblog.profiles]: {there or 'none'}"
        )
    chosen = _checked(table.profiles[name], settings_cls, f"tool.dblog.profiles.{name}")
    return {**above, f"profile {name}": InitSettingsSource(settings_cls, dict(chosen)), TABLE: table}


def _checked(values: Mapping[str, Any], settings_cls: type[BaseSettings], table: str) -> dict[str, Any]:
    unknown = [name for name in values if name not in settings_cls.model_fields]
    if unknown:
        like = get_close_matches(unknown[0], settings_cls.model_fields, n=1)
        raise InvalidInput(
            f"{unknown[0]} is no setting",
            where=f"[{table}] of pyproject.toml",
            hint=f"{like[0]}?" if like else "`dblog config` shows them all",
        )
    return dict(values)


def _leaves(values: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*above, str(name)))
        else:
            yield (*above, str(name)), value


def _shown(value: Any) -> str:
    if isinstance(value, SecretStr) or (isinstance(value, str) and holds_secret(value)):
        return MASKED
    return str(value).lower() if isinstance(value, bool) else str(value)


def _origin(origin: str, path: tuple[str, ...]) -> str:
    """Return where a value comes from, with the name of its variable where it has one."""
    return f"{origin}: {_variable(path)}" if origin in (ENVIRONMENT, DOTENV) else origin


def _variable(path: tuple[str, ...]) -> str:
    return f"{PREFIX}{NESTED.join(path).upper()}"


def _in_clear(options: Mapping[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for name, value in options.items():
        if isinstance(value, Mapping):
            plain[name] = _in_clear(value)
        else:
            plain[name] = value.get_secret_value() if isinstance(value, SecretStr) else value
    return plain
