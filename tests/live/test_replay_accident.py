"""The recorded accident: a shop of 200,000 orders, loaded as it was after it, replayed while others go on writing."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
import gzip
import json
from pathlib import Path
from threading import Event

import pymysql
import pytest

from dblog_tasks.cli import run
from dblog_tasks.plan import Plan, read_plan
from dblog_tasks.replay import ReplayRequest, replay
from dblog_tasks.verify import verify
from tests.fixtures import NOT_HERE, unpack
from tests.live.servers import MariaDB

FIRST = 90_000_000  # ids of the orders that are placed meanwhile: one block a session


@pytest.fixture
def accident(tmp_path: Path) -> Path:
    """The folder of the recording."""
    folder = unpack("mariadb1011/accident_clean", tmp_path)
    if folder is None:
        pytest.skip(NOT_HERE)
    return folder


def plan_of(folder: Path, out: Path) -> Plan:
    """Plan the undo of what the bad session did."""
    meta = json.loads((folder / "meta.json").read_text())
    start, stop = (meta["damage_window"][name] for name in ("start", "end"))
    said = [text for slip in meta["accident"]["statements"] for text in slip["sql"] if text.split()[0] in ("DELETE", "UPDATE")]
    bounds = ["--start", f"{start['file']}:{start['pos']}", "--stop", f"{stop['file']}:{stop['pos']}"]
    arguments = ["plan", str(folder / "mysql-bin.0*"), "--driver", "mysql", "--out", str(out), *bounds, "--whole-transactions"]
    arguments += [word for text in said for word in ("--statement", text)]
    assert run([*arguments, "--schema", str(folder / "01-before-accident.schema.sql")]) == 0
    return read_plan(str(out), {})


def write(server: MariaDB, session: int, stop: Event) -> list[int]:
    """Place, pay and ship orders until told to stop; return their ids."""
    placed: list[int] = []
    with closing(pymysql.connect(unix_socket=str(server.socket), user="root", database="shop", autocommit=True)) as connection:
        cursor = connection.cursor()
        while not stop.is_set():
            order = FIRST + session * 1_000_000 + len(placed)
            cursor.execute(f"INSERT INTO orders (id, user_id, total, placed_at) VALUES ({order}, 1, 1.5, NOW())")
            cursor.execute(f"UPDATE orders SET status='paid' WHERE id={order}")
            placed.append(order)
    return placed


@pytest.mark.slow
def test_the_accident_is_undone_while_others_write(accident: Path, start_mariadb: Callable[..., MariaDB], tmp_path: Path) -> None:
    """Every row is as it would be without the accident, the rows of three sessions that wrote all along are theirs, verify is clean."""
    server = start_mariadb()
    server.sql((accident / "after.schema.sql").read_text())
    server.sql(gzip.decompress((accident / "after.sql.gz").read_bytes()).decode().partition("\n")[2])
    plan = plan_of(accident, tmp_path / "plan")
    dsn = f"mysql://root@localhost/shop?unix_socket={server.socket}"
    stop = Event()
    with ThreadPoolExecutor(3) as pool:
        writers = [pool.submit(write, server, session, stop) for session in range(3)]
        try:
            report = replay(ReplayRequest(plan.url, dsn, approve=plan.id))
        finally:
            stop.set()
        placed = [order for writer in writers for order in writer.result()]

    assert (("done", {"applies": plan.ledger.rows_undone}), ()) == ((report.outcome, report.rows), report.conflicts)
    assert verify(plan.url, dsn).rows == {"equal": plan.ledger.rows_undone}
    assert len(placed) == int(server.sql(f"SELECT COUNT(*) FROM orders WHERE id >= {FIRST} AND status = 'paid'", "shop"))
    server.sql(f"DELETE FROM orders WHERE id >= {FIRST}", "shop")
    expected = json.loads((accident / "meta.json").read_text())["expected_after_undo"]["tables"]
    for table, known in expected.items():
        assert str(known["checksum"]) == server.sql(f"CHECKSUM TABLE {table}", "shop").split()[1], table
