"""Blocks as the server keeps them."""

from __future__ import annotations

import os
from pathlib import Path
import subprocess
import sys
from uuid import uuid4

from prefect import get_client
from prefect.settings import PREFECT_API_URL, PREFECT_HOME
import pytest

from dblog_tasks.blocks import DatabaseTarget, LogStore, database_target, stored
from dblog_tasks.errors import InvalidInput

ROOT = Path(__file__).parents[2]
COMMAND = ("prefect", "block", "register", "-m", "dblog_tasks.blocks")
SECRET = "open-sesame-4712"  # noqa: S105 - looked for, not kept


@pytest.fixture
def name(server: Path) -> str:
    """A name no other block has."""
    return f"block-{uuid4()}"


def test_target_is_found_by_name(name: str) -> None:
    """DSN and password come back as they were; what the server tells of the block has no secret."""
    DatabaseTarget(user="u", password=SECRET, host="db1").save(name)
    with get_client(sync_client=True) as client:
        told = client.read_block_document_by_name(name, "database-target", include_secrets=False).model_dump_json()

    assert ("mysql://u@db1:3306/", SECRET) == database_target(f"block:{name}")
    assert SECRET not in told


def test_store_is_found_by_name(name: str) -> None:
    """What follows the name is below the store's URL; its options come along, also nested ones."""
    options = {"key": "k", "secret": SECRET, "client_kwargs": {"endpoint_url": "http://localhost:1"}}
    LogStore(url="s3://backups/binlogs", storage_options=options).save(name)

    assert (("s3://backups/binlogs/db1", "s3://backups/binlogs", "/plans"), options) == stored(
        (f"block:{name}/db1", f"block:{name}", "/plans")
    )


def test_two_stores_with_other_options_are_refused(name: str) -> None:
    """A URL opened with another's secrets would fail somewhere else, and say so less clearly."""
    LogStore(url="s3://a", storage_options={"secret": SECRET}).save(name)
    LogStore(url="s3://b", storage_options={"secret": SECRET + "2"}).save(f"{name}-2")

    with pytest.raises(InvalidInput, match="one set of storage options") as refused:
        stored((f"block:{name}", f"block:{name}-2"))
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("look", [database_target, lambda name: stored((name,))])
def test_missing_block_is_refused(look: object, name: str) -> None:
    """By its name, with what to do."""
    with pytest.raises(InvalidInput, match=f"block:{name}: there is no .* of this name .make one on Prefect's page Blocks"):
        look(f"block:{name}")  # type: ignore[operator]  # one of the two above


def test_one_command_registers_both_kinds(server: Path) -> None:
    """The documented one; afterwards the server has forms with choices, examples and hidden fields."""
    environ = os.environ | {"PREFECT_API_URL": str(PREFECT_API_URL.value()), "PREFECT_HOME": str(PREFECT_HOME.value())}
    done = subprocess.run([sys.executable, "-m", *COMMAND], cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with get_client(sync_client=True) as client:
        kinds = {slug: client.read_block_type_by_slug(slug) for slug in ("database-target", "log-store")}
        forms = {slug: client.get_most_recent_block_schema_for_block_type(kind.id) for slug, kind in kinds.items()}
    target, store = (form.fields for form in forms.values() if form)

    assert [] == [slug for slug, kind in kinds.items() if not (kind.description and kind.code_example)]
    assert ["off", "verify-ca", "verify-identity"] == target["properties"]["tls"]["enum"]
    assert ["db1.example.org"] == target["properties"]["host"]["examples"]
    assert (["password"], ["storage_options.*"]) == (target["secret_fields"], store["secret_fields"])


@pytest.mark.parametrize("page", ["docs/approval.md", "dblog_tasks/blocks.py"])
def test_command_is_in_the_documents(page: str) -> None:
    """Where it is looked for."""
    assert " ".join(COMMAND) in (ROOT / page).read_text()
