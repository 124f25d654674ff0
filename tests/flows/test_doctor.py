"""The flow `doctor`: what it found is compared with what the last run found; what is worse fails, and says what."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
import re
from typing import Any, TypeAlias

from prefect import State, get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey, LogFilter
import pytest

from dblog_tasks.blocks import DatabaseTarget
from flows.doctor import SERVER, doctor
from tests.live.conftest import require
from tests.live.servers import MARIADB_PROGRAMS, MariaDB, mariadb_server

Examine: TypeAlias = Callable[..., State[Any]]
PASSWORD = "pass-of-the-flow-4711"  # noqa: S105 - of a server that lives as long as a test
AOF = b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n"


@pytest.fixture
def examine(server: Path, source: str) -> Examine:
    """`examine(**parameters)` runs the flow for a source of this test; return its last state."""

    def run(**given: Any) -> Any:
        return doctor(source, **given, return_state=True)

    return run


@pytest.fixture(scope="module")
def database() -> Iterator[MariaDB]:
    """A MariaDB server for this file."""
    require(MARIADB_PROGRAMS)
    with mariadb_server("--sync-binlog=1") as server:
        yield server


def test_drift_of_a_server_fails_once_and_is_named(database: MariaDB, examine: Examine, source: str) -> None:
    """Healthy, then worse, then known, then better; the statement is in the artifact, the password nowhere."""
    database.sql(f"""
        CREATE DATABASE shop; CREATE TABLE shop.orders (id int PRIMARY KEY);
        CREATE USER doctor@localhost IDENTIFIED BY '{PASSWORD}'; GRANT ALL ON *.* TO doctor@localhost;
    """)
    block = DatabaseTarget(user="doctor", password=PASSWORD, database="shop", unix_socket=str(database.socket))
    block.save("doctored", overwrite=True)
    found = [examine(target="block:doctored")]
    database.sql("SET GLOBAL binlog_row_image = MINIMAL; CREATE TABLE shop.loose (x int)")
    found += [examine(target="block:doctored"), examine(target="block:doctored")]
    database.sql("SET GLOBAL binlog_row_image = FULL")
    found += [examine(target="block:doctored")]
    database.sql("DROP TABLE shop.loose")
    found += [examine(target="block:doctored")]
    worse, better = str(found[1].message), str(found[3].message)

    assert ["Healthy", "Drifted", "Examined", "Examined", "Healthy"] == [state.name for state in found]
    assert [False, True, False, False, False] == [state.is_failed() for state in found]
    assert "binlog_row_image = MINIMAL: deleted rows" in worse
    assert "no key of shop.loose" in worse
    assert "1 risk; binlog_row_image = MINIMAL is no longer found" == better
    shown = artifact_texts(f"dblog-doctor-{source}")
    assert "SET GLOBAL binlog_row_image = FULL;" in shown[1]
    assert "## Worse since the last run" in shown[1]
    assert not any(PASSWORD in text for text in [*shown, *logged(), *(str(state) for state in found)])


def artifact_texts(key: str) -> list[str]:
    """Return the artifacts of a key, oldest first."""
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key])))
    return [str(artifact.data) for artifact in sorted(found, key=lambda artifact: str(artifact.created))]


def logged() -> list[str]:
    """Return what runs have logged."""
    with get_client(sync_client=True) as client:
        return [log.message for log in client.read_logs(LogFilter(), limit=200)]


def test_logs_are_compared_by_what_is_found_not_by_how_often(examine: Examine, tmp_path: Path) -> None:
    """More events of a kind that was found before are no drift; a new kind is."""
    log = tmp_path / "appendonly.aof"
    log.write_bytes(b"#TS:1690000000\r\n" + AOF)
    states = [examine(logs=[str(log)], driver="redis")]
    log.write_bytes(b"#TS:1690000000\r\n" + AOF + AOF)
    states += [examine(logs=[str(log)], driver="redis")]
    log.write_bytes(AOF + AOF)
    states += [examine(logs=[str(log)], driver="redis")]

    assert ["Examined", "Examined", "Drifted"] == [state.name for state in states]
    assert str(states[2].message).startswith("aof-timestamp-enabled of the log = no: no command has a time")


def test_lost_examination_is_no_drift(examine: Examine, tmp_path: Path, results: Callable[[], None]) -> None:
    """The next run is the first one to compare with; what cannot be read is said."""
    log = tmp_path / "appendonly.aof"
    log.write_bytes(AOF)
    examine(logs=[str(log)], driver="redis")
    results()

    assert "Examined" == examine(logs=[str(log)], driver="redis").name


@pytest.mark.parametrize("given", [{}, {"target": "postgresql://nobody@localhost/?host=/no/such"}, {"logs": ["/no/such"]}])
def test_what_cannot_be_examined_fails_in_one_line(examine: Examine, given: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """And is no examination: the next run compares with the one before it."""
    monkeypatch.setenv("DBLOG_RETRIES", "0")
    state = examine(**given)

    assert "Failed" == state.name
    assert "\n" not in str(state.message)


@pytest.mark.parametrize(
    ("target", "taken"),
    [
        ("", True),
        ("block:shop-1", True),
        ("env:SHOP", True),
        ("postgresql://ann@db1/shop?sslmode=verify-full", True),
        ("mysql://ann@/shop?unix_socket=%2Frun", True),
        ("postgresql://ann:secret@db1/shop", False),
        ("postgresql://ann@db1/shop?password=secret", False),
        ("redis://db1", False),
    ],
)
def test_target_holds_no_password(target: str, taken: bool) -> None:  # noqa: FBT001 - what is expected
    """Before it is stored."""
    assert taken == bool(re.search(SERVER, target))


def test_form_explains_every_parameter() -> None:
    """The form says of every parameter what it is; only the source must be given."""
    schema = doctor.parameters.model_dump()

    assert [] == [name for name, field in schema["properties"].items() if not field.get("description")]
    assert ["source"] == schema["required"]
