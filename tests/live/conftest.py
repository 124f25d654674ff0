"""Fixtures with real servers, and the mark `live` for every test of this folder.

A test whose server is not installed is skipped by name; in CI it fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
import os
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.live.postgres_scenes import MakePostgresScene, PostgresScene
from tests.live.scenes import MakeScene, Scene
from tests.live.servers import (
    MARIADB_PROGRAMS,
    POSTGRES_PROGRAMS,
    REDIS_PROGRAMS,
    MariaDB,
    Postgres,
    Redis,
    mariadb_server,
    missing_programs,
    postgres_server,
    redis_server,
)

StartMariaDB: TypeAlias = Callable[..., MariaDB]
StartRedis: TypeAlias = Callable[..., Redis]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder as live."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.live)


def require(programs: tuple[str, ...]) -> None:
    """Skip the test when a program is not installed; with CI set, fail it."""
    missing = missing_programs(programs)
    if missing:
        reason = f"not installed: {', '.join(missing)} (as root on Debian: make servers)"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


@pytest.fixture(scope="session")
def start_mariadb() -> Iterator[StartMariaDB]:
    """`start_mariadb(*options)` starts another MariaDB server; all are stopped at the end of the run."""
    require(MARIADB_PROGRAMS)
    with ExitStack() as servers:
        yield lambda *options: servers.enter_context(mariadb_server(*options))


@pytest.fixture(scope="session")
def mariadb(start_mariadb: StartMariaDB) -> MariaDB:
    """The MariaDB server that tests share: each makes and drops a database of its own."""
    return start_mariadb()


@pytest.fixture(scope="session")
def start_redis() -> Iterator[StartRedis]:
    """`start_redis(*options)` starts a Redis server; all are stopped at the end of the run."""
    require(REDIS_PROGRAMS)
    with ExitStack() as servers:
        yield lambda *options: servers.enter_context(redis_server(*options))


@pytest.fixture
def scene(mariadb: MariaDB, tmp_path: Path) -> Iterator[MakeScene]:
    """`scene(tables)` makes a database of these tables on the shared server; it is dropped afterwards."""
    made: list[Scene] = []

    def make(tables: str) -> Scene:
        made.append(Scene(mariadb, tmp_path, tables))
        return made[-1]

    yield make
    for one in made:
        mariadb.sql(f"DROP DATABASE {one.name}")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The PostgreSQL server that tests share: each makes a database of its own. DBLOG_POSTGRES names the programs of another version."""
    require(POSTGRES_PROGRAMS)
    with postgres_server(os.environ.get("DBLOG_POSTGRES", "")) as server:
        yield server


@pytest.fixture
def postgres_scene(postgres: Postgres, tmp_path: Path) -> Iterator[MakePostgresScene]:
    """`postgres_scene(tables)` makes a database of these tables on the shared server; it is dropped afterwards."""
    made: list[PostgresScene] = []

    def make(tables: str) -> PostgresScene:
        made.append(PostgresScene(postgres, tmp_path, tables))
        return made[-1]

    yield make
    for one in made:
        one.drop()
