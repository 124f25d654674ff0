"""Fixtures for all tests: where data is, and Prefect's own test server for those that run flows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import os
from pathlib import Path
import shutil
from typing import TypeAlias

from hypothesis import HealthCheck, settings
import pytest

from tests.examples import TIMES, USUAL
from tests.fixtures import NOT_HERE, ROOT, unpack

Unpack: TypeAlias = Callable[[str], Path]

# How long an example takes, or takes to make, measures the machine, not the code. In CI a failure must be the same one on the next run.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=USUAL * TIMES)
settings.register_profile("ci", settings.get_profile("default"), derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Flows run last: a thread of Prefect's client pings with numbers from `random`, which Hypothesis takes for its strategy's doing."""
    items.sort(key=lambda item: item.get_closest_marker("flow") is not None)


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder of small real logs, made by tests/corpus/make.py."""
    return ROOT / "tests" / "corpus"


@pytest.fixture(scope="session")
def scenario(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Unpack]:
    """`scenario("mariadb1011/gtid")` is the unpacked folder of a large fixture; the test is skipped where those are not at hand."""
    unpacked: dict[str, Path] = {}
    below = tmp_path_factory.mktemp("scenarios")

    def unpacked_once(name: str) -> Path:
        if name not in unpacked:
            into = below / str(len(unpacked))
            into.mkdir(exist_ok=True)
            folder = unpack(name, into)
            if folder is None:
                pytest.skip(f"{name}: {NOT_HERE}")
            unpacked[name] = folder
        return unpacked[name]

    yield unpacked_once
    shutil.rmtree(below)  # hundreds of megabytes


@pytest.fixture(scope="session")
def prefect_api() -> Iterator[None]:
    """Prefect's test server with a fresh database; only tests marked `flow` should pay for it."""
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings  # noqa: PLC0415 - two seconds to import
    from prefect.testing.utilities import prefect_test_harness  # noqa: PLC0415

    # A synchronous flow joins its heartbeat thread, which sleeps in steps of a second.
    with prefect_test_harness(server_startup_timeout=120), temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield
