"""prefect.yaml: what it deploys can be deployed, and the form shows what a person needs to know."""

from __future__ import annotations

import argparse
from contextlib import suppress
import os
from pathlib import Path
import re
import subprocess
import sys
from typing import Any

from prefect import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectAlreadyExists
from prefect.flows import Flow, load_flow_from_entrypoint
from prefect.settings import PREFECT_API_URL
import pytest
import yaml

from flows.doctor import SERVER, doctor
from flows.plan_recovery import plan_recovery
from flows.recover import TARGET, recover
from flows.rehearsal import rehearsal

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def deployments() -> list[dict[str, Any]]:
    """The deployments of prefect.yaml."""
    found: list[dict[str, Any]] = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    return found


def test_deployments_run_the_flow(deployments: list[dict[str, Any]]) -> None:
    """Every entry point exists and takes its parameters."""
    for deployment in deployments:
        flow: Flow[..., Any] = load_flow_from_entrypoint(str(ROOT / deployment["entrypoint"]))

        assert deployment["entrypoint"].partition(":")[2] == flow.name.replace("-", "_")
        assert deployment["parameters"].items() <= flow.validate_parameters(deployment["parameters"]).items()


def test_form_explains_every_parameter() -> None:
    """The form says of every parameter, and of every field of the selection, what it is."""
    schema = plan_recovery.parameters.model_dump()
    fields = {**schema["properties"], **schema["definitions"]["Selection"]["properties"]}

    assert [] == [name for name, field in fields.items() if not field.get("description")]
    assert ["logs", "source", "out"] == schema["required"]
    assert (["mysql", "redis"], "date-time") == (schema["properties"]["driver"]["enum"], fields["since"]["anyOf"][0]["format"])


def test_form_of_recover_explains_every_parameter() -> None:
    """So does the one of the way back, and of how it is replayed; only the target must be given."""
    schema = recover.parameters.model_dump()
    fields = {**schema["properties"], **schema["definitions"]["ReplayOptions"]["properties"]}

    assert [] == [name for name, field in fields.items() if not field.get("description")]
    assert ["target"] == schema["required"]


@pytest.mark.parametrize(
    ("target", "taken"),
    [
        ("block:shop-1", True),
        ("env:SHOP_DSN", True),
        ("mysql://undo@db1:3306/shop", True),
        ("mysql://undo@db1/shop?unix_socket=%2Frun%2Fs&password=env:NAME", True),
        ("mysql://undo@db1/shop?ssl_ca=/ca.pem&ssl_verify_identity=1", True),
        ("postgresql://undo@db1/shop?host=/run/postgresql&sslmode=verify-full", True),
        ("postgresql://undo@db1/shop?sslpassword=secret", False),
        ("mysql://undo:secret@db1/shop", False),
        ("mysql://undo@db1/shop?password=secret", False),
        ("mysql://undo@db1/shop?ssl_ca=/ca.pem&password=secret", False),
        ("mysql://undo@db1/shop?token=secret", False),
        ("block:shop/../x", False),
        ("", False),
    ],
)
def test_target_without_a_password(target: str, taken: bool) -> None:  # noqa: FBT001 - what is expected
    """What the server checks a target by before it stores it; the doctor may also do without one."""
    assert taken == bool(re.search(TARGET, target))
    assert (taken or not target) == bool(re.search(SERVER, target))


@pytest.mark.slow
def test_prefect_deploys_it(server: Path, deployments: list[dict[str, Any]]) -> None:
    """Prefect's own command line takes the file; what it made has the schedule, the limit and the schema."""
    with get_client(sync_client=True) as client, suppress(ObjectAlreadyExists):
        client.create_work_pool(WorkPoolCreate(name="dblog", type="process"))
    environ = {**os.environ, "PREFECT_API_URL": str(PREFECT_API_URL.value()), "PREFECT_HOME": str(server)}
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    with get_client(sync_client=True) as client:
        made = [
            client.read_deployment_by_name(f"{deployment['entrypoint'].partition(':')[2].replace('_', '-')}/{deployment['name']}")
            for deployment in deployments
        ]

    assert 0 == done.returncode, done.stderr
    flows: tuple[Flow[..., Any], ...] = (plan_recovery, recover, rehearsal, doctor)
    for flow, deployment in zip(flows, made, strict=True):
        told = deployment.model_dump(mode="json")
        assert (True, 1) == (told["enforce_parameter_schema"], told["global_concurrency_limit"]["limit"])
        assert flow.parameters.model_dump()["properties"] == told["parameter_openapi_schema"]["properties"]
    all_told = [deployment.model_dump(mode="json") for deployment in made]
    crons = [[(item["schedule"]["cron"], item["active"]) for item in one["schedules"]] for one in all_told]
    assert [[("0 * * * *", True)], [], [("30 2 * * *", False)], [("15 * * * *", True)]] == crons
    assert ["CANCEL_NEW", "ENQUEUE", "CANCEL_NEW", "CANCEL_NEW"] == [one["concurrency_options"]["collision_strategy"] for one in all_told]


def test_one_process_serves_what_was_asked_for() -> None:
    """`deployments/serve.py`: the plan and the doctor always, recover with a target, the rehearsal with a scratch server."""
    with (ROOT / "deployments" / "serve.py").open() as file:
        module: dict[str, Any] = {"__name__": "serve", "__file__": file.name}
        exec(compile(file.read(), file.name, "exec"), module)  # noqa: S102 - a script that is no module
    given = argparse.Namespace(source="shop", out="/plans", logs=["/logs"], target="", scratch="")
    least = list(module["deployed"](given))
    given.target, given.scratch = "block:shop", "block:scratch"
    most = list(module["deployed"](given))

    assert ["plan-recovery", "doctor"] == [deployment.flow_name for deployment in least]
    assert ["plan-recovery", "doctor", "recover", "rehearsal"] == [deployment.flow_name for deployment in most]
    assert {"shop"} == {deployment.name for deployment in most}
    assert {1} == {deployment.concurrency_limit for deployment in most}
    served: tuple[Flow[..., Any], ...] = (plan_recovery, doctor, recover, rehearsal)
    for deployment, flow in zip(most, served, strict=True):
        assert deployment.parameters.items() <= flow.validate_parameters(deployment.parameters).items()
