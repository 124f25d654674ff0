"""The import contract: imports point one way, and what is heavy or outside has one door."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
import subprocess
import sys

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = "dblog_tasks"

# Lowest first. A module imports from lower lines and from its own folder, never from its neighbours. A new module needs its place here.
ORDER = (
    ("errors", "text"),
    ("event",),
    ("ledger", "findings", "readings"),
    ("filters", "expression", "storage"),
    ("row_filters", "origin_filters"),
    ("selection",),
    ("backend", "target"),
    ("effects",),
    ("mysql", "postgres", "redis"),
    ("recovery",),
    ("part", "processes", "survey", "touches"),
    ("conflicts",),
    ("plan", "missing"),
    ("request",),
    ("verdict",),
    ("planning", "report", "inspection", "judging", "picture", "inverse", "targets", "plan_contents", "markdown", "tries"),
    ("replay_request", "batches", "doctor"),
    ("rescan",),
    ("replay",),
    ("verify", "rehearsal"),
    ("settings", "project"),
    ("runs",),
    ("blocks", "approval", "dashboards", "runners"),
    ("cli_options",),
    ("cli_approve", "cli_config", "cli_doctor", "cli_init", "cli_replay", "cli_show"),
    ("cli_plan",),
    ("tasks", "cli"),
    ("__main__",),
    ("replay_tasks", "doctor_tasks"),
    ("rehearsal_tasks",),
    ("flows",),
)
RANK: Mapping[str, int] = {name: rank for rank, line in enumerate(ORDER) for name in line}

# What only these may import: a module, or a folder with all that is in it.
DOORS: Mapping[str, tuple[str, ...]] = {
    "prefect": ("tasks", "blocks", "approval", "dashboards", "replay_tasks", "doctor_tasks", "rehearsal_tasks", "runners", "runs", "flows"),
    "prefect_dask": ("runners",),
    "prefect_ray": ("runners",),
    "fsspec": ("storage",),
    "psycopg": ("postgres.connection", "postgres.session"),
    "pymysql": ("mysql.catalog", "mysql.target"),
}
# A log format is bytes in, events out: of its folder, these alone may read storage.
FORMATS = ("mysql", "postgres", "redis")
READ_STORAGE = ("", ".decoder", ".indexes", ".reading_on", ".catalog")


def broken_rules(root: Path) -> list[str]:
    """Return every import below `root` that the contract forbids, as `file:line: why`."""
    files = sorted([*(root / PACKAGE).rglob("*.py"), *(root / "flows").rglob("*.py")])
    return [f"{file.relative_to(root)}:{line}: {why}" for file in files for line, why in _broken_in(root, file)]


def _broken_in(root: Path, file: Path) -> Iterator[tuple[int, str]]:
    parts = file.relative_to(root).with_suffix("").parts
    name = ".".join(part for part in parts if part not in (PACKAGE, "__init__"))
    if name and name.partition(".")[0] not in RANK:
        yield 1, f"{name} has no place in ORDER"
        return
    for node in ast.walk(ast.parse(file.read_bytes())):
        for target in _imported(root, node):
            why = _forbidden(name, target)
            if why:
                yield node.lineno, why  # type: ignore[attr-defined]  # an import has a line


def _imported(root: Path, node: ast.AST) -> Iterator[str]:
    """Yield the full names of modules that a statement imports; `from package import name` may name a module or what it holds."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        if node.level:
            yield "a relative import"
        folder = root.joinpath(*(node.module or "").split("."))
        for alias in node.names:
            is_module = (folder / f"{alias.name}.py").exists() or (folder / alias.name).is_dir()
            yield f"{node.module}.{alias.name}" if is_module or (node.module, alias.name) == (PACKAGE, "__version__") else f"{node.module}"


def _forbidden(name: str, target: str) -> str:
    """Return why module `name` of ours may not import `target`; empty when it may."""
    top, _, rest = target.partition(".")
    if top in DOORS and not any(name == door or name.startswith(f"{door}.") for door in DOORS[top]):
        return f"only {', '.join(DOORS[top])} may import {top}"
    if top not in (PACKAGE, "flows"):
        return "a relative import" if target == "a relative import" else ""
    there = "flows" if top == "flows" else rest.partition(".")[0]
    here = name.partition(".")[0]
    if there in (here, "__version__"):
        return ""
    if not name:  # the package itself gathers what it gives away
        return "" if RANK.get(there, 0) < RANK["tasks"] else f"{PACKAGE} must not need {there}"
    if RANK.get(there, len(ORDER)) >= RANK[here]:
        return f"{here} is not above {there or PACKAGE}"
    if there == "storage" and here in FORMATS and name.removeprefix(here) not in READ_STORAGE:
        return f"{name} must not read: bytes in, events out"
    return ""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of empty modules, as far as the cases below name them."""
    for module in ("storage/options.py", "mysql/rows.py", "planning.py", "tasks.py", "blocks.py"):
        _write(tmp_path, f"{PACKAGE}/{module}", "")
    _write(tmp_path, "flows/approval.py", "")
    return tmp_path


def test_imports_point_one_way() -> None:
    """No module of the package or the flows breaks the contract."""
    assert broken_rules(ROOT) == []


@pytest.mark.parametrize(
    ("file", "source", "broken"),
    [
        ("dblog_tasks/event.py", "from dblog_tasks.filters import by_table", "event is not above filters"),
        ("dblog_tasks/event.py", "def late():\n    from dblog_tasks import storage", "event is not above storage"),
        ("dblog_tasks/filters.py", "import dblog_tasks.storage", "filters is not above storage"),
        ("dblog_tasks/redis/text.py", "from dblog_tasks.mysql import sql", "redis is not above mysql"),
        ("dblog_tasks/plan.py", "from dblog_tasks import open", "plan is not above dblog_tasks"),
        ("dblog_tasks/plan.py", "from . import storage", "a relative import"),
        ("dblog_tasks/plan.py", "import fsspec.core", "only storage may import fsspec"),
        (
            "dblog_tasks/cli.py",
            "from prefect import flow",
            f"only {', '.join(DOORS['prefect'])} may import prefect",
        ),
        ("dblog_tasks/cli.py", "from dblog_tasks.tasks import plan", "cli is not above tasks"),
        ("dblog_tasks/cli.py", "import flows.recover", "cli is not above flows"),
        ("dblog_tasks/__init__.py", "from dblog_tasks.tasks import plan", "dblog_tasks must not need tasks"),
        ("dblog_tasks/mysql/sql.py", "import pymysql", "only mysql.catalog, mysql.target may import pymysql"),
        ("dblog_tasks/mysql/rows.py", "from dblog_tasks.storage import head", "mysql.rows must not read: bytes in, events out"),
        ("dblog_tasks/helpers.py", "", "helpers has no place in ORDER"),
        ("flows/recover.py", "import pymysql", "only mysql.catalog, mysql.target may import pymysql"),
    ],
)
def test_contract_finds(project: Path, file: str, source: str, broken: str) -> None:
    """Each rule is seen when it is broken, also inside a function."""
    _write(project, file, source)

    assert [broken] == [line.partition(": ")[2] for line in broken_rules(project)]


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("dblog_tasks/__init__.py", "from dblog_tasks.planning import make_plan"),
        ("dblog_tasks/plan.py", "from dblog_tasks import __version__, storage"),
        ("dblog_tasks/storage/place.py", "import fsspec\nfrom dblog_tasks.storage.options import parse"),
        ("dblog_tasks/mysql/decoder.py", "from dblog_tasks import storage\nfrom dblog_tasks.mysql import rows"),
        ("dblog_tasks/mysql/__init__.py", "from dblog_tasks import storage"),
        ("dblog_tasks/mysql/catalog.py", "import pymysql"),
        ("dblog_tasks/tasks.py", "import prefect\nfrom dblog_tasks.blocks import LogStore"),
        ("flows/recover.py", "import prefect\nfrom dblog_tasks.tasks import plan\nfrom flows import approval"),
    ],
)
def test_contract_allows(project: Path, file: str, source: str) -> None:
    """What the contract is for is not in its way."""
    _write(project, file, source)

    assert broken_rules(project) == []


@pytest.mark.parametrize("module", [PACKAGE, f"{PACKAGE}.cli"])
@pytest.mark.parametrize("heavy", ["prefect", "fsspec", "psycopg", "pymysql", "sqlglot"])
def test_command_line_starts_light(module: str, heavy: str) -> None:
    """Importing the package or its command line loads nothing that takes long; what needs it imports it then."""
    if not (ROOT / module.replace(".", "/")).with_suffix(".py").exists() and module != PACKAGE:
        pytest.skip(f"{module} is not written yet")
    script = f"import sys, {module}; sys.exit({heavy!r} in sys.modules)"

    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)

    assert (0, "") == (done.returncode, done.stderr)


def _write(root: Path, file: str, source: str) -> None:
    path = root / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source)
