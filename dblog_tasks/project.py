"""The files of a project of the user's own: flows, deployments, container file. In the wheel; in a checkout they are where they are used.

Law: what is there already is never changed without being asked to; what was done with every file is said. Nothing is run.

    written     it was not there
    the same    it was there, byte for byte
    kept        another one is there, and stays
    replaced    another one was there; asked for
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from dblog_tasks.errors import InvalidInput, StorageError

WRITTEN, SAME, KEPT, REPLACED = "written", "the same", "kept", "replaced"
_PACKAGE = Path(__file__).parent
_IN_WHEEL, _CHECKOUT = _PACKAGE / "project_files", _PACKAGE.parent
FILES = (
    "prefect.yaml",
    "requirements.lock",
    "flows/doctor.py",
    "flows/plan_recovery.py",
    "flows/recover.py",
    "flows/rehearsal.py",
    "deployments/README.md",
    "deployments/Containerfile",
    "deployments/docker-job-template.json",
    "deployments/kubernetes-job-template.json",
    "deployments/serve.py",
    "deployments/automations/behind.yaml",
    "deployments/automations/notify.yaml",
    "deployments/automations/recover-on-request.yaml",
)


def project_files() -> Mapping[str, bytes]:
    """Return the files by name. Raises StorageError when this installation has none."""
    root = _IN_WHEEL if _IN_WHEEL.is_dir() else _CHECKOUT
    try:
        return {name: (root / name).read_bytes() for name in FILES}
    except OSError as error:
        raise StorageError(
            f"the files of a project are missing here: {error.strerror}", where=str(root), hint="install the wheel"
        ) from None


def write_project(folder: Path, *, replace: bool = False) -> Iterator[tuple[str, str]]:
    """Write the files into a folder, which is made; yield each name and what became of it. `replace`: others of these names too.

    Raises InvalidInput where something is in the way, StorageError when it cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise InvalidInput("this is no folder", where=str(folder))
    for name, content in project_files().items():
        path = folder / name
        try:
            yield name, _write(path, content, replace=replace)
        except OSError as error:
            raise StorageError(f"cannot be written: {error.strerror}", where=str(path)) from None


def _write(path: Path, content: bytes, *, replace: bool) -> str:
    there = path.read_bytes() if path.exists() else None
    if there == content:
        return SAME
    if there is not None and not replace:
        return KEPT
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return WRITTEN if there is None else REPLACED
