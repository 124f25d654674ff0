"""`dblog init`, and the files it writes: nothing is overwritten unasked, and what no machine here can run has the right form."""

from __future__ import annotations

from importlib import resources
import json
from pathlib import Path
import re
from typing import Any

import pytest
import yaml

from dblog_tasks.cli import run
from dblog_tasks.cli_options import DONE, USAGE
from dblog_tasks.project import FILES, KEPT, REPLACED, SAME, WRITTEN, write_project

ROOT = Path(__file__).parent.parent
DEPLOYMENTS = ROOT / "deployments"
INSTRUCTIONS = {"FROM", "ENV", "WORKDIR", "COPY", "RUN", "USER"}


def test_files_are_those_of_the_checkout(tmp_path: Path) -> None:
    """All of them, in a folder that is made."""
    became = dict(write_project(tmp_path / "new" / "project"))

    assert dict.fromkeys(FILES, WRITTEN) == became
    assert {name: (ROOT / name).read_bytes() for name in FILES} == {name: (tmp_path / "new/project" / name).read_bytes() for name in FILES}


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    """A file of the user's stays, and is named; replaced only when asked to."""
    (tmp_path / "prefect.yaml").write_text("name: mine\n")
    first, second = dict(write_project(tmp_path)), dict(write_project(tmp_path))
    kept = (tmp_path / "prefect.yaml").read_text()
    third = dict(write_project(tmp_path, replace=True))

    assert ((KEPT, WRITTEN), (KEPT, SAME), (REPLACED, SAME)) == tuple(
        (it["prefect.yaml"], it["flows/doctor.py"]) for it in (first, second, third)
    )
    assert "name: mine\n" == kept
    assert (ROOT / "prefect.yaml").read_bytes() == (tmp_path / "prefect.yaml").read_bytes()


def test_command_says_what_became_of_every_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And what comes next."""
    (tmp_path / "prefect.yaml").write_text("name: mine\n")
    code = run(["init", str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()

    assert DONE == code
    assert [f"{KEPT if name == 'prefect.yaml' else WRITTEN:8}  {name}" for name in FILES] == lines[: len(FILES)]
    assert "1 other files of these names were kept: --replace replaces them" == lines[-2]
    assert lines[-1].endswith(f"cd {tmp_path} && prefect --no-prompt deploy --all")


def test_a_file_in_the_way_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the folder should be, and where one below it should be."""
    (tmp_path / "file").write_text("")
    (tmp_path / "flows").write_text("")
    codes = [run(["init", str(tmp_path / "file")]), run(["init", str(tmp_path)])]

    assert [USAGE, USAGE] == codes
    assert 2 == len(capsys.readouterr().err.splitlines())


@pytest.mark.parametrize(("package", "kind"), [("prefect-docker", "docker"), ("prefect-kubernetes", "kubernetes")])
def test_job_templates_are_prefects_own_with_other_defaults(package: str, kind: str) -> None:
    """No worker of these types can run here: but for defaults and texts the templates are those that Prefect gives for them."""
    views = resources.files("prefect.server.api.collections_data.views") / "aggregate-worker-metadata.json"
    theirs = json.loads(views.read_text())[package][kind]["default_base_job_configuration"]
    ours = json.loads((DEPLOYMENTS / f"{kind}-job-template.json").read_text())
    changed = {
        name for name, variable in ours["variables"]["properties"].items() if variable != theirs["variables"]["properties"].get(name)
    }

    assert without_defaults(theirs) == without_defaults(ours)
    assert {"env", "image"} <= changed
    for name in changed:
        variable = ours["variables"]["properties"][name]
        assert type_of(variable["default"]) in types_of(variable), name


def without_defaults(template: dict[str, Any]) -> dict[str, Any]:
    """Return a template without the defaults of its variables."""
    properties = {
        name: {word: value for word, value in variable.items() if word != "default"}
        for name, variable in template["variables"]["properties"].items()
    }
    return {**template, "variables": {**template["variables"], "properties": properties}}


def types_of(variable: dict[str, Any]) -> set[str]:
    """Return the JSON types a variable may have."""
    return {str(choice.get("type")) for choice in [variable, *variable.get("anyOf", [])]}


def type_of(value: Any) -> str:
    """Return the JSON type of a value."""
    return {bool: "boolean", str: "string", dict: "object", list: "array", int: "integer"}[type(value)]


def test_containerfile_has_the_form_of_one() -> None:
    """Known instructions; a base of a fixed version; everything it copies is made or in the project; no secret; not run as root."""
    text = re.sub(r"\\\n", " ", (DEPLOYMENTS / "Containerfile").read_text())
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#")]
    words = [word for word, _ in lines]
    copied = [part.split()[0].rstrip("/") for word, part in lines if word == "COPY"]

    assert INSTRUCTIONS == set(words)
    assert ("FROM", 1, "USER") == (words[0], words.count("FROM"), words[-1])
    assert re.fullmatch(r"[a-z./]+:\d[\w.-]+", lines[0][1])
    assert ["requirements.lock", "dist", "prefect.yaml", "flows"] == copied
    assert [] == [name for name in copied if name != "dist" and not any(file.split("/")[0] == name for file in FILES)]
    assert "--require-hashes" in text
    assert "Untried" in text
    assert re.search(r"password|secret|token", text, re.IGNORECASE) is None


def test_deployments_name_their_source_once_each() -> None:
    """Every deployment can run once at a time, and only what a person starts has no schedule."""
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]

    assert {1} == {deployment["concurrency_limit"]["limit"] for deployment in deployments}
    assert ["on-demand"] == [deployment["name"] for deployment in deployments if not deployment.get("schedules")]
    assert [False] == [item["active"] for deployment in deployments if deployment["name"] == "nightly" for item in deployment["schedules"]]
