"""The undo of recorded logs on a real PostgreSQL: loaded with what there was after, psql runs the script, what there was before is back."""

from __future__ import annotations

from pathlib import Path

import pytest

from dblog_tasks import cli
from dblog_tasks.ledger import ROLLED_BACK
from dblog_tasks.postgres.wal2json import LOST
from tests.conftest import Unpack
from tests.live.postgres_scenes import SHOP, SHOP_TABLES, WORK, dumped, load
from tests.live.servers import Postgres
from tests.postgres_fixtures import REPRESENTATIVE, SCENARIOS, WHOLE_ROWS, TableName, identities, omitted_tables, plan, states


@pytest.mark.skipif(not SCENARIOS, reason="no such fixtures (DBLOG_FIXTURES names their folder)")
@pytest.mark.parametrize("name", SCENARIOS)
def test_every_log_gives_back_what_there_was_before(
    name: str, scenario: Unpack, postgres: Postgres, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Through each format, for every table nothing is omitted of; among them are those with whole old rows."""
    folder = scenario(f"pg15/{name}")
    before = states(folder, "before")
    unknown = {("public", "ctas")}  # made in the window, and not among what there was after
    whole = {table for table, identity in identities(folder).items() if identity == WHOLE_ROWS}
    load(postgres, "loaded", folder, "after")
    before.pop(("public", "pt"), None)  # the rows are its partitions'
    for log in (folder / file for file in REPRESENTATIVE if (folder / file).exists()):
        if (name == "truncate" and "v1" in log.name) or (name == "hard_text" and log.name.endswith((".tsv", ".txt"))):
            continue  # the one does not show TRUNCATE, and what wrote the other lost a character
        first = plan(log, tmp_path / f"{log.name}-all")
        without = omitted_tables(first, set(identities(folder))) | unknown
        made = plan(log, tmp_path / f"{log.name}-some", without=without) if without else first
        assert cli.run(["show", made.url, "--as", "sql"]) == 0
        script = capsys.readouterr().out
        postgres.sql('DROP DATABASE IF EXISTS "undone"')
        postgres.sql('CREATE DATABASE "undone" TEMPLATE "loaded"')

        done = postgres.psql(script, "undone", "-v", "replica=1")

        assert (0, "", "") == (done.returncode, done.stderr, done.stdout.strip()), log.name
        for table, expected in before.items():
            if table not in without and not ("pgoutput" in log.name and table[1] in {"t_def_nopk", "t_nothing_pk"}):
                assert sorted(expected.decode().splitlines()) == dumped(postgres, "undone", table), (log.name, table)
        reasons = {line["reason"] for line in first.omitted() if line["table"] in {".".join(table) for table in whole}}
        assert {LOST.reason} >= reasons, log.name


@pytest.fixture
def shop(postgres: Postgres, tmp_path: Path) -> tuple[dict[TableName, list[str]], dict[str, Path]]:
    """A database in which something was done: its rows before, and logs of it by each plugin a server has."""
    postgres.make("shop")
    postgres.sql(SHOP, "shop")
    version = int(postgres.sql("SHOW server_version_num"))
    computed = " WITH (publish_generated_columns = stored)" if version >= 180000 else ""  # else it refuses updates of such a table
    postgres.sql(f"CREATE PUBLICATION pub FOR ALL TABLES{computed}", "shop")
    for slot, plugin in (("td", "test_decoding"), ("po", "pgoutput")):
        postgres.sql(f"SELECT pg_create_logical_replication_slot('{slot}', '{plugin}')", "shop")
    before = {table: dumped(postgres, "shop", table) for table in SHOP_TABLES}
    postgres.sql(WORK, "shop")
    found = {
        "td": postgres.received("shop", "td", "include-timestamp=1"),
        "po": postgres.received("shop", "po", "proto_version=3", "publication_names=pub", "streaming=on"),
    }
    (tmp_path / "schema.sql").write_text(postgres.schema_sql("shop"))
    for slot, data in found.items():
        (tmp_path / slot).write_bytes(data)
        postgres.sql(f"SELECT pg_drop_replication_slot('{slot}')", "shop")
    return before, {slot: tmp_path / slot for slot in found}


@pytest.mark.parametrize("slot", ["td", "po"])
def test_what_was_done_is_undone(
    slot: str,
    shop: tuple[dict[TableName, list[str]], dict[str, Path]],
    postgres: Postgres,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Cascades, rows that are equal, identities, computed columns and partition moves.

    The rows of a cascade come back before what they refer to, so a foreign key that is not deferrable stops the script unless it is off.
    """
    before, found = shop
    made = plan(found[slot], tmp_path / "plan")
    assert (slot == "po") == (made.ledger.not_needed[ROLLED_BACK] > 1000)  # a transaction so long is streamed
    assert not made.ledger.omitted
    cli.run(["show", made.url, "--as", "sql"])

    script = capsys.readouterr().out
    postgres.sql('DROP DATABASE IF EXISTS "copy"')
    postgres.sql('CREATE DATABASE "copy" TEMPLATE "shop"')

    refused, done = postgres.psql(script, "copy"), postgres.psql(script, "shop", "-v", "replica=1")

    assert (3, True) == (refused.returncode, "violates foreign key" in refused.stderr)
    assert (0, "", "") == (done.returncode, done.stderr, done.stdout.strip())
    assert before == {table: dumped(postgres, "shop", table) for table in SHOP_TABLES}


def test_a_row_that_is_not_as_the_log_left_it_stops_the_script(
    shop: tuple[dict[TableName, list[str]], dict[str, Path]], postgres: Postgres, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And nothing of its transaction is kept."""
    _, found = shop
    cli.run(["show", plan(found["td"], tmp_path / "plan").url, "--as", "sql"])
    script = capsys.readouterr().out
    postgres.sql("UPDATE always SET w = 7 WHERE w = 10", "shop")
    rows = {table: dumped(postgres, "shop", table) for table in SHOP_TABLES}

    done = postgres.psql(script, "shop")

    assert (3, True) == (done.returncode, "division by zero" in done.stderr)
    assert rows == {table: dumped(postgres, "shop", table) for table in SHOP_TABLES}
