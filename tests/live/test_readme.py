"""The commands of the README that go to a database, run in order on the shop as its accident left it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dblog_tasks.cli import run
from dblog_tasks.plan import read_plan
from tests.live.servers import MariaDB
from tests.test_readme import TARGET, console_lines, words_of

SHOP = Path(__file__).parents[1] / "corpus" / "shop"
README_TARGET = "mysql://root@localhost/shop"


def load(server: MariaDB, data: str) -> str:
    """Make the shop afresh of one of its dumps; return all its rows."""
    server.sql(f"DROP DATABASE IF EXISTS shop; {(SHOP / 'schema.sql').read_text()}")
    server.sql(f"SET foreign_key_checks = 0, time_zone = '+00:00';\n{(SHOP / data).read_text()}", "shop")
    return rows(server)


def rows(server: MariaDB) -> str:
    """Return all rows of the shop but the replay's own notes."""
    return "".join(line for line in server.dump("shop").splitlines(keepends=True) if "INTO `dblog_replay`" not in line)


def test_what_the_readme_replays_is_as_if_nothing_had_happened(
    mariadb: MariaDB, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Plan as it says, then dry run, replay and verify: the shop with nothing of the accident but what was not planned."""
    (tmp_path / "tests").symlink_to(SHOP.parents[1])
    monkeypatch.chdir(tmp_path)
    commands = [command for command, _ in console_lines()]
    plan = next(command for command in commands if command.startswith("dblog plan"))
    load(mariadb, "expected.sql")
    for transaction in json.loads((SHOP / "accident.json").read_text())["transactions"]:
        if transaction["gtid"] not in plan:
            mariadb.sql(";".join(transaction["statements"]), "shop")
    expected = rows(mariadb)
    damaged = load(mariadb, "after.sql")
    replays = [command for command in commands if TARGET in command]

    assert 0 == run(words_of(plan)[1:])
    dumps = []
    for command in replays:
        socket = f"{README_TARGET}?unix_socket={mariadb.socket}"
        words = command.replace(README_TARGET, socket).replace("PLAN_ID", read_plan("undo", {}).id)
        assert 0 == run(words_of(words)[1:]), capsys.readouterr()
        dumps.append(rows(mariadb))

    assert [damaged, expected, expected] == dumps
