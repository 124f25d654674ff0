"""Prefect's test server in a home of its own, and a log that grows. Everything in this folder is marked `flow`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
import shutil
from typing import Any, TypeAlias

import pytest

from dblog_tasks.plan import Plan
from tests.flows.growing import GrowingLog, whole_plan

Run: TypeAlias = Callable[..., Any]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder as flow."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.flow)


@pytest.fixture(scope="session")
def prefect_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home of Prefect for these tests, never the user's."""
    from prefect.settings import PREFECT_HOME, PREFECT_LOCAL_STORAGE_PATH, PREFECT_SERVER_ANALYTICS_ENABLED, temporary_settings  # noqa: PLC0415

    home = tmp_path_factory.mktemp("prefect")
    updates = {PREFECT_HOME: home, PREFECT_LOCAL_STORAGE_PATH: home / "storage", PREFECT_SERVER_ANALYTICS_ENABLED: False}
    with temporary_settings(updates):
        yield home


@pytest.fixture(scope="session")
def server(prefect_home: Path, prefect_api: None) -> Path:
    """Prefect's test server; the value is the home of its results."""
    return prefect_home


@pytest.fixture(autouse=True)
def no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again at once."""
    monkeypatch.setenv("DBLOG_RETRY_DELAY_SECONDS", "0")


@pytest.fixture(scope="session")
def whole(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """One plan over all of the shop's log: what all plans of a growing one must add up to."""
    return whole_plan(corpus / "shop", tmp_path_factory.mktemp("whole") / "plan")


@pytest.fixture
def log(corpus: Path, tmp_path: Path) -> GrowingLog:
    """The shop's log, empty as yet."""
    return GrowingLog(tmp_path / "log", corpus / "shop")


@pytest.fixture
def plans(tmp_path: Path) -> Path:
    """The folder for plans."""
    return tmp_path / "plans"


@pytest.fixture
def run(server: Path, log: GrowingLog, plans: Path, tmp_path: Path) -> Run:
    """`run(**parameters)` runs the flow over the growing log and returns its last state; each test has a source of its own."""
    from flows.plan_recovery import plan_recovery  # noqa: PLC0415 - two seconds to import

    def run(**parameters: Any) -> Any:
        given = {"logs": [str(log.folder)], "source": source_of(tmp_path), "out": str(plans), **parameters}
        return plan_recovery(**given, return_state=True)

    return run


@pytest.fixture
def source(tmp_path: Path) -> str:
    """The source of this test's runs: checkpoints of another test are not found."""
    return source_of(tmp_path)


def source_of(folder: Path) -> str:
    """Return a name no other test has."""
    return folder.name.replace("_", "-")


@pytest.fixture
def results(server: Path) -> Callable[[], None]:
    """`results()` loses all results that flows have left."""
    return lambda: shutil.rmtree(server / "storage")
