"""A project of the user's own, from an installed wheel: `dblog init` writes it, and Prefect deploys it."""

from __future__ import annotations

from contextlib import suppress
import os
from pathlib import Path
import shutil
import subprocess
import sys
import sysconfig
import venv
from zipfile import ZipFile

from prefect import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectAlreadyExists
from prefect.settings import PREFECT_API_URL
import pytest
import yaml

ROOT = Path(__file__).parent.parent.parent
SOURCE = ("dblog_tasks", "flows", "deployments", "pyproject.toml", "setup.py", "MANIFEST.in", "prefect.yaml", "requirements.lock")
TEXTS = ("README.md", "LICENSE", "CHANGELOG.md")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built from a copy of it."""
    copy, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in (*SOURCE, *TEXTS):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
        else:
            shutil.copy(ROOT / name, copy)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "-w",
        str(out),
        str(copy),
    ]
    run(command, copy, dict(os.environ))
    (found,) = out.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a fresh environment with the wheel in it; other packages are those of this one, the checkout is not on its path."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    site = next(folder.glob("lib/python*/site-packages"))
    (site / "locked.pth").write_text(sysconfig.get_path("purelib") + "\n")
    run([sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index", str(wheel)], folder)
    return python


def run(command: list[str], folder: Path, environ: dict[str, str] | None = None) -> str:
    """Run a command in a folder; return what it printed."""
    plain = {name: value for name, value in (environ or dict(os.environ)).items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=folder, env=plain, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_project_of_an_installed_wheel_is_deployed(server: Path, wheel: Path, installed: Path, tmp_path: Path) -> None:
    """The wheel has no package `flows`; what `dblog init` wrote goes to a server, entry points of the project and modules of the wheel."""
    project = tmp_path / "project"
    run([str(installed.parent / "dblog"), "init", str(project)], tmp_path)
    with get_client(sync_client=True) as client, suppress(ObjectAlreadyExists):
        client.create_work_pool(WorkPoolCreate(name="dblog", type="process"))
    environ = {
        **os.environ,
        "PREFECT_API_URL": str(PREFECT_API_URL.value()),
        "PREFECT_HOME": str(server),
        "DBLOG_PROJECT_DIR": str(project),
    }
    run([str(installed), "-m", "prefect", "--no-prompt", "deploy", "--all"], project, environ)
    show = "import dblog_tasks, flows.rehearsal; print(dblog_tasks.__file__); print(flows.rehearsal.__file__)"
    package, flow = run([str(installed), "-c", show], project, environ).splitlines()
    wanted = yaml.safe_load((project / "prefect.yaml").read_text())["deployments"]
    with get_client(sync_client=True) as client:
        names = [f"{it['entrypoint'].partition(':')[2].replace('_', '-')}/{it['name']}" for it in wanted]
        made = [client.read_deployment_by_name(name) for name in names]

    assert [] == [name for name in ZipFile(wheel).namelist() if name.startswith("flows")]
    assert installed.parents[1] in Path(package).parents
    assert str(project / "flows" / "rehearsal.py") == flow
    assert [it["entrypoint"] for it in wanted] == [deployment.entrypoint for deployment in made]
    assert {"dblog"} == {deployment.work_pool_name for deployment in made}
