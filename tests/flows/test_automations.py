"""The automations of `deployments/automations` on a real server: Prefect's command line takes them, and an event starts what it should."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
import subprocess
import sys
import time
from typing import Any
from uuid import UUID

from prefect import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId
from prefect.settings import PREFECT_API_URL, temporary_settings
import pytest
import yaml

from dblog_tasks import replay_tasks, tasks
from dblog_tasks.doctor_tasks import DRIFT
from dblog_tasks.project import FILES, write_project
from tests.flows.browser import environment, prefect, prefect_server

AUTOMATIONS = Path(__file__).parents[2] / "deployments" / "automations"
NOBODY = "00000000-0000-0000-0000-000000000000"
SECONDS_MAX = 120
NOTIFIED = {tasks.OMISSIONS, replay_tasks.REPLAY_CONFLICT, replay_tasks.VERIFY_FAILED, tasks.COVERAGE_GAP, DRIFT}


def read(name: str) -> dict[str, Any]:
    """Return an automation."""
    found: dict[str, Any] = yaml.safe_load((AUTOMATIONS / f"{name}.yaml").read_text())
    return found


def test_events_are_those_that_are_emitted() -> None:
    """And `dblog init` writes the files."""
    assert NOTIFIED == set(read("notify")["trigger"]["expect"])
    assert {"prefect.flow-run.Advanced", "prefect.flow-run.CaughtUp"} == set(read("behind")["trigger"]["expect"])
    assert {f"deployments/automations/{file.name}" for file in AUTOMATIONS.iterdir()} <= set(FILES)


@pytest.fixture
def where(tmp_path: Path) -> Iterator[str]:
    """The address of a Prefect server to which a project is deployed."""
    home, project = tmp_path / "home", tmp_path / "project"
    home.mkdir()
    list(write_project(project))
    with prefect_server(home) as where, temporary_settings({PREFECT_API_URL: f"{where}/api"}):
        prefect(home, where, "work-pool", "create", "dblog", "--type", "process")
        command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
        done = subprocess.run(command, cwd=project, env=environment(home, where), capture_output=True, text=True, check=False)
        assert 0 == done.returncode, done.stdout + done.stderr
        yield where


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_event_starts_a_recovery_for_approval(where: str, tmp_path: Path) -> None:
    """Loaded as the files say, with an id in the place that is marked; the run has the plan that was asked for, other events start none."""
    with get_client(sync_client=True) as client:
        wanted = client.read_deployment_by_name("recover/on-demand").id
    for name in ("recover-on-request", "notify", "behind"):
        file = tmp_path / f"{name}.yaml"
        file.write_text((AUTOMATIONS / file.name).read_text().replace(NOBODY, str(wanted)))
        prefect(tmp_path / "home", where, "automation", "create", "--from-file", str(file))
    listed = prefect(tmp_path / "home", where, "automation", "ls")
    for event, plan in (("dblog.plan.ready", "s3://plans/other"), ("dblog.recover.asked", "s3://plans/shop-1")):
        emitted(where, tmp_path / "home", event, plan)
    give_up = time.monotonic() + SECONDS_MAX
    while not (runs := runs_of(wanted)) and time.monotonic() < give_up:
        time.sleep(0.2)

    assert ["s3://plans/shop-1"] == [parameters["plan"] for parameters in runs]
    assert [{"target": "block:shop", "source": "shop"}] == [{name: it[name] for name in ("target", "source")} for it in runs]
    assert all(name in listed for name in ("recover on", "notify", "behind"))


def emitted(where: str, home: Path, event: str, plan: str) -> None:
    """Emit an event as the file says, in a process of its own, which ends when it is sent."""
    script = f"from dblog_tasks.runs import tell; tell({event!r}, 'shop', {{'plan': {plan!r}}})"
    done = subprocess.run([sys.executable, "-c", script], env=environment(home, where), capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stderr


def runs_of(deployment: UUID) -> list[dict[str, Any]]:
    """Return the parameters of the runs of a deployment."""
    with get_client(sync_client=True) as client:
        found = client.read_flow_runs(flow_run_filter=FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[deployment])))
    return [run.parameters for run in found]
