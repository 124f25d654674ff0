"""Settings of a machine: what a run needs and no parameter may hold, because parameters are stored and shown.

Law: read when a run starts, never at import; no Prefect here. Sources, first wins: environment (`DBLOG_…`, nested with `__`),
`.env`, `[tool.dblog]` of the pyproject.toml in the working directory.

    DBLOG_STORAGE_OPTIONS__SECRET=…                              an option for fsspec; every text is treated as a secret
    DBLOG_STORAGE_OPTIONS__CLIENT_KWARGS__ENDPOINT_URL=…         an option below another
    DBLOG_INDEX=…                                                folder of header indexes, for runs that are given none
    DBLOG_RETRIES=5, DBLOG_RETRY_DELAY_SECONDS=30                when a store cannot be reached
    DBLOG_APPROVAL_SECONDS=3600                                  how long an approval counts after its screen was shown
    DBLOG_APPROVAL_WAIT_SECONDS=604800                           how long a run waits for one

Where results lie, and with them the checkpoints of flows, is Prefect's own setting: PREFECT_DEFAULT_RESULT_STORAGE_BLOCK.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from pydantic import Field, SecretStr, StrictBool, StrictInt, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, PyprojectTomlConfigSettingsSource, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError

from dblog_tasks.errors import InvalidInput

Option: TypeAlias = StrictBool | StrictInt | SecretStr


class Settings(BaseSettings):
    """What is set on this machine.

    Attributes:
        storage_options: for fsspec, beside those that a run is given.
        index: URL of the folder of header indexes; empty: none are made. The command line takes it from the environment alone.
        retries: attempts after the first one when a store cannot be reached.
        retry_delay_seconds: before each of them.
        approval_seconds: how long an approval counts after its screen was shown; later a person is asked again.
        approval_wait_seconds: how long a run waits for an answer before it fails.
    """

    model_config = SettingsConfigDict(
        env_prefix="DBLOG_",
        env_nested_delimiter="__",
        env_file=".env",
        pyproject_toml_table_header=("tool", "dblog"),
        extra="ignore",
    )

    storage_options: dict[str, Option | dict[str, Option]] = Field(default_factory=dict)
    index: str = ""
    retries: int = Field(2, ge=0, le=100)
    retry_delay_seconds: float = Field(10, ge=0, le=3600)
    approval_seconds: float = Field(3600, gt=0, le=30 * 86400)
    approval_wait_seconds: int = Field(7 * 86400, ge=60, le=366 * 86400)

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
        return init_settings, env_settings, dotenv_settings, PyprojectTomlConfigSettingsSource(settings_cls)

    def open_storage_options(self) -> dict[str, Any]:
        """Return the storage options with their secrets in clear, for fsspec only."""
        return _in_clear(self.storage_options)


def read_settings() -> Settings:
    """Return the settings as they are now. Raises InvalidInput for one that cannot be used; its value is not repeated."""
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = "__".join(["DBLOG", *(str(part) for part in first["loc"][:2])]).replace("__", "_", 1).upper()
        raise InvalidInput(f"setting: {first['msg']}", where=name) from None
    except (SettingsError, ValueError):  # JSON or TOML that is none; what it holds may be secret
        raise InvalidInput("the settings cannot be read", where="DBLOG_…, .env or [tool.dblog] of pyproject.toml") from None


def _in_clear(options: Mapping[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for name, value in options.items():
        if isinstance(value, Mapping):
            plain[name] = _in_clear(value)
        else:
            plain[name] = value.get_secret_value() if isinstance(value, SecretStr) else value
    return plain
