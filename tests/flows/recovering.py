"""A shop on a real MariaDB with an accident in its log, and the flow `recover` run on it as a worker would."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID

from prefect import State, get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import Pause
from prefect.flow_engine import run_flow_sync

from dblog_tasks.approval import find_waiting
from dblog_tasks.blocks import DatabaseTarget
from dblog_tasks.plan import Plan
from dblog_tasks.planning import PlanRequest, make_plan, selection
from tests.live.servers import MariaDB

ROWS, DAMAGED = 20, 12
PASSWORD = "pass-of-the-shop-4711"  # noqa: S105 - of a server that lives as long as a test
ACCOUNT = "undo"


@dataclass(frozen=True, slots=True)
class Shop:
    """A database of one test.

    Attributes:
        server: it is on.
        name: of the database.
        before: all of its rows before the accident.
        plan: the undo of the accident.
    """

    server: MariaDB
    name: str
    before: str
    plan: Plan

    @property
    def target(self) -> str:
        """The database as a DSN, without the password."""
        return f"mysql://{ACCOUNT}@localhost/{self.name}?unix_socket={quote(str(self.server.socket), safe='')}"

    @property
    def rows(self) -> str:
        """All of its rows, without the record of replays."""
        return rows_of(self.server, self.name)

    def sql(self, text: str) -> None:
        """Let somebody work in it."""
        self.server.sql(text, self.name)

    def block(self) -> str:
        """Return the name of a block that leads here."""
        block = DatabaseTarget(user=ACCOUNT, password=PASSWORD, database=self.name, unix_socket=str(self.server.socket))
        block.save(self.name, overwrite=True)
        return f"block:{self.name}"

    def parameters(self, **more: Any) -> dict[str, Any]:
        """Return what the flow is asked for: the plan that is there, on the target by its block."""
        logs = [str(path) for path in self.server.binlogs()]
        return {"target": self.block(), "plan": self.plan.url, "logs": logs, "source": self.name, **more}


def rows_of(server: MariaDB, name: str) -> str:
    """Return a database's rows, without the record of replays."""
    return "".join(line for line in server.dump(name).splitlines(keepends=True) if "`dblog_replay`" not in line)


def make_shop(server: MariaDB, name: str, folder: Path) -> Shop:
    """Return a shop after an accident: somebody has set orders to nothing, one after the other."""
    values = ", ".join(f"({number}, {number}.50, 'customer-{number}')" for number in range(1, ROWS + 1))
    server.sql(f"""
        CREATE DATABASE {name}; USE {name};
        CREATE TABLE orders (id INT PRIMARY KEY, total DECIMAL(8,2) NOT NULL, customer VARCHAR(40) NOT NULL);
        INSERT INTO orders VALUES {values};
        CREATE USER IF NOT EXISTS '{ACCOUNT}'@'localhost' IDENTIFIED BY '{PASSWORD}';
        GRANT ALL ON *.* TO '{ACCOUNT}'@'localhost';
    """)
    before = rows_of(server, name)
    server.rotate()
    server.sql("; ".join(f"UPDATE orders SET total = 0 WHERE id = {number}" for number in range(1, DAMAGED + 1)), name)
    chosen = selection(tables=[f"{name}.orders"], kinds=["update"])
    logs = tuple(str(path) for path in server.binlogs())
    plan = make_plan(PlanRequest("mysql", logs, str(folder / "plan"), name, chosen))
    assert plan is not None
    return Shop(server, name, before, plan)


def created(deployment: UUID, parameters: dict[str, Any]) -> UUID:
    """Return the id of a new flow run of the deployment."""
    with get_client(sync_client=True) as client:
        return client.create_flow_run_from_deployment(deployment, parameters=parameters).id


def worked(run: UUID) -> State[Any]:
    """Let the run go on as a worker would, until it ends or is suspended; return its state."""
    from flows.recover import recover  # noqa: PLC0415 - two seconds to import

    found = read(run)
    with suppress(Pause):
        run_flow_sync(recover, flow_run=found, parameters=found.parameters, return_type="state")
    state = read(run).state
    assert state is not None
    return state


def read(run: UUID) -> FlowRun:
    """Return the run as the server has it."""
    with get_client(sync_client=True) as client:
        return client.read_flow_run(run)


def answered(run: UUID, **given: Any) -> None:
    """Answer what the run asks, as the form of Prefect's page does."""
    with get_client(sync_client=True) as client:
        done = client.resume_flow_run(run, run_input={"name": "Ann", **given})
    assert done.state is not None, done.details


def artifacts(run: UUID) -> dict[str, Any]:
    """Return the data of the run's artifacts, by the beginning of their keys."""
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run])))
    return {str(artifact.key).rpartition("-shop")[0]: artifact.data for artifact in found}


def task_run_counts(run: UUID, name: str) -> list[int]:
    """Return how often each run of a task of this name was begun."""
    with get_client(sync_client=True) as client:
        found = client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run])))
    return [task.run_count for task in found if task.name.startswith(f"{name}-")]


def screen(run: UUID) -> str:
    """Return what the run shows while it waits."""
    return find_waiting(str(run)).text
