"""Make the small real logs in this folder anew, on a MariaDB server of its own: `make corpus`.

    shop/shop.000001-3          an accident in a small shop: two sessions of traffic, a bad DELETE, a bad UPDATE, a slip in a
                                transaction; copied from the running server, so the last file is marked as in use
    shop/nolog/shop.000001-3    the same with binlog_row_metadata=NO_LOG; all files closed
    types/types.000001          every column type with its edges: inserted, updated, deleted
    types/compressed/           the same with NO_LOG and compressed events

Beside them: `schema.sql` (mariadb-dump), and the truth as the server tells it in SELECTs. A line of `*.exact.jsonl` is one row:
`{"db", "table", "row"}` with integers as integers, decimals and temporals as text, floats as `{"double"}`, text as `{"s", "hex"}`, enum
and set as `{"s", "n"}`, bytes and geometry as `{"hex"}`. `accident.json` names the bad transactions, `marks.json` where each state holds.
Statements carry their own timestamps, so that a second run gives the same rows and the same transaction ids.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
import json
from pathlib import Path
import shutil

import pymysql
from pymysql.connections import Connection
from pymysql.cursors import Cursor

from tests.corpus.columns import DATABASES, TABLES, Table, quoted, truth_of
from tests.live.servers import MariaDB, mariadb_server

HERE = Path(__file__).parent
NOON = 1_790_000_000  # 2026-09-21 14:13:20 UTC, when the shop's traffic starts
NO_LOG = "--binlog-row-metadata=NO_LOG"
SHOP = """
SET time_zone='+00:00', timestamp=1789000000;
CREATE DATABASE shop;
USE shop;
CREATE TABLE users (id int unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, email varchar(120) NOT NULL, name varchar(80) NOT NULL,
  balance decimal(12,2) NOT NULL DEFAULT 0, vip tinyint(1) NOT NULL DEFAULT 0, prefs json NULL, last_seen datetime(3) NULL,
  updated_at timestamp(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6), UNIQUE KEY (email));
CREATE TABLE orders (id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, user_id int unsigned NOT NULL,
  status enum('new','paid','shipped','cancelled') NOT NULL DEFAULT 'new', total decimal(12,2) NOT NULL,
  currency char(3) NOT NULL DEFAULT 'EUR', flags set('gift','express','fragile') NULL,
  placed_at datetime NOT NULL, comment text NULL, KEY (user_id));
CREATE TABLE order_items (order_id bigint unsigned NOT NULL, line smallint NOT NULL, sku char(12) NOT NULL, qty int NOT NULL,
  price decimal(10,2) NOT NULL, PRIMARY KEY (order_id, line));
INSERT INTO users (id,email,name,balance,vip,prefs,last_seen) SELECT seq, CONCAT('user',seq,'@example.com'), CONCAT('Üser ',seq),
  seq*3.25, seq%5=0, IF(seq%3=0,NULL,JSON_OBJECT('lang',IF(seq%2,'de','日本語'))), '2026-09-01 08:00:00.125' FROM seq_1_to_60;
INSERT INTO orders (id,user_id,status,total,flags,placed_at,comment) SELECT seq, 1+seq%60, ELT(1+seq%4,'new','paid','shipped','cancelled'),
  seq*1.5, IF(seq%7=0,NULL,seq%8), '2026-01-01'+INTERVAL seq DAY, IF(seq%6=0,NULL,CONCAT('it''s number ',seq)) FROM seq_1_to_180;
INSERT INTO order_items SELECT seq, 1, CONCAT('SKU',seq), 1+seq%3, seq*0.5 FROM seq_1_to_180;
INSERT INTO order_items SELECT seq*2, 2, CONCAT('SKU',seq), 1, 9.99 FROM seq_1_to_90;
RESET MASTER;
"""
# What should have been `... AND status='cancelled'`, `... WHERE id=17`, and a price of 12.50.
BAD = (
    ("DELETE FROM orders WHERE placed_at < '2026-04-01'",),
    ("UPDATE users SET balance=0 WHERE id<=40",),
    ("UPDATE orders SET total=1250 WHERE id=150", "DELETE FROM order_items WHERE order_id=150 AND line=2"),
)


class Traffic:
    """Two sessions of an application and one of a person, whose statements follow each other second by second."""

    def __init__(self, server: MariaDB) -> None:
        self.sessions = [_session(server, "shop") for _ in range(3)]
        self._clock = count(NOON)
        self._order = count(1000)

    def shop(self, rounds: int) -> None:
        """Orders are placed, paid and shipped: users above 40 and orders above 150, which the accident does not touch."""
        first, second, _ = self.sessions
        order = 0
        for number in range(rounds):
            order, user = next(self._order), 41 + number % 20
            self._run(
                first,
                "BEGIN",
                f"INSERT INTO orders (id,user_id,total,flags,placed_at,comment) VALUES ({order},{user},9.25,'gift',NOW(),'ε {number}')",
            )
            self._run(second, f"UPDATE users SET balance=balance-1, last_seen=NOW(3) WHERE id={user}")
            self._run(first, f"INSERT INTO order_items VALUES ({order},1,'SKU-A',1,9.00),({order},2,'SKU-B',2,0.25)", "COMMIT")
            self._run(second, f"UPDATE orders SET status='shipped' WHERE id={151 + number % 30}")
        self._run(first, "BEGIN", f"INSERT INTO order_items VALUES ({order},9,'SKU-C',1,1.00)", "ROLLBACK")
        self._run(second, f"DELETE FROM orders WHERE id={order}")

    def slip(self, statements: Sequence[str]) -> dict[str, object]:
        """Run one bad transaction; return its id, its statements and how many rows each changed."""
        person = self.sessions[2]
        rows = self._run(person, "BEGIN", *statements, "COMMIT")[1:-1]
        ((gtid,),) = _rows(person, "SELECT @@last_gtid")
        return {"gtid": gtid, "statements": list(statements), "rows": rows}

    def pause(self, statements: Sequence[str]) -> None:
        """Let the time of a bad transaction pass without it."""
        for _ in ("BEGIN", *statements, "COMMIT"):
            next(self._clock)

    def close(self) -> None:
        """End the sessions."""
        for session in self.sessions:
            session.close()

    def _run(self, session: Connection[Cursor], *statements: str) -> list[int]:
        changed = []
        with session.cursor() as cursor:
            for statement in statements:
                cursor.execute(f"SET timestamp={next(self._clock)}")
                changed.append(cursor.execute(statement))
        return changed


def make_shop(folder: Path, *options: str, in_use: bool) -> None:
    """Write the accident: logs, schema, the state after it, and the state that would be without it."""
    _empty(folder)
    with mariadb_server("--log-bin=shop", *options) as server:
        transactions = _run_shop(server, accident=True)
        _write(folder / "schema.sql", server.schema_sql("shop"))
        _write_shop(server, folder, "after")
        _write(
            folder / "accident.json", json.dumps({"server": _version(server), "transactions": transactions}, indent=1, ensure_ascii=False)
        )
        if not in_use:
            server.rotate()
        for log in server.binlogs()[:3]:
            shutil.copyfile(log, folder / log.name)
    with mariadb_server(*options) as server:
        _run_shop(server, accident=False)
        _write_shop(server, folder, "expected")


def _run_shop(server: MariaDB, *, accident: bool) -> list[dict[str, object]]:
    server.sql(SHOP)
    traffic = Traffic(server)
    found = []
    for statements in BAD:
        traffic.shop(12)
        if accident:
            found.append(traffic.slip(statements))
        else:
            traffic.pause(statements)
        traffic.shop(6)
        if statements is not BAD[-1]:
            server.rotate()
    traffic.close()
    return found


def _write_shop(server: MariaDB, folder: Path, state: str) -> None:
    _write(folder / f"{state}.sql", server.dump("shop"))
    with _session(server) as session:
        columns = {(schema, table): _declared(session, schema, table) for schema, table in _tables(session, "shop")}
        _write(
            folder / f"{state}.exact.jsonl", "".join(line for place, found in columns.items() for line in _truth(session, *place, found))
        )


def make_types(folder: Path, *options: str) -> None:
    """Write one log in which every column type is inserted, updated and deleted, and the state after each."""
    _empty(folder)
    with mariadb_server("--log-bin=types", "--sql-mode=", *options) as server, _session(server) as session:
        marks = []
        for number, (label, phase) in enumerate(PHASES.items(), 1):
            for statement in phase():
                _rows(session, f"SET timestamp={NOON + number}")
                _rows(session, statement)
            log, position, *_ = _rows(session, "SHOW MASTER STATUS")[0]
            ((gtid,),) = _rows(session, "SELECT @@gtid_current_pos")
            marks.append({"label": label, "file": log, "position": int(position), "gtid": gtid})
            lines = [line for table in TABLES for line in _truth(session, table.schema, table.name, table.columns)] if number > 1 else []
            _write(folder / f"{label}.exact.jsonl", "".join(lines))
        _write(folder / "schema.sql", server.schema_sql(*DATABASES))
        _write(folder / "marks.json", json.dumps({"server": _version(server), "marks": marks}, indent=1))
        server.rotate()
        shutil.copyfile(server.binlogs()[0], folder / "types.000001")


def _creates() -> Iterator[str]:
    for database in DATABASES:
        yield f"CREATE DATABASE {quoted(database)}"
    for table in TABLES:
        columns = ", ".join(f"{quoted(name)} {kind}" for name, kind in table.columns)
        yield f"CREATE TABLE {_place(table)} ({columns}{table.key}"


def _inserts() -> Iterator[str]:
    for table in TABLES:
        rows = ", ".join(f"({', '.join(row)})" for row in table.rows)
        names = ", ".join(quoted(name) for name, _ in table.columns)  # named: INSERT without names leaves out an invisible column
        yield f"INSERT INTO {_place(table)} ({names}) VALUES {rows}"


def _updates() -> Iterator[str]:
    """Each row of a numbered table takes the values of the next one; all in one transaction a table."""
    for table in TABLES:
        if table.columns[0][0] != "id" or table.name == "large":
            continue
        yield "BEGIN"
        for number, row in enumerate([*table.rows[1:], *table.rows[:1]], 1):
            pairs = zip(table.columns[1:], row[1:], strict=True)
            yield f"UPDATE {_place(table)} SET {', '.join(f'{quoted(name)}={value}' for (name, _), value in pairs)} WHERE id={number}"
        yield "COMMIT"
    yield "DELETE FROM types.large WHERE id=1"
    yield "UPDATE types.no_key SET b='y' WHERE a=1 LIMIT 1"
    yield "UPDATE types.two_keys SET a=a+1 ORDER BY a DESC"


def _deletes() -> Iterator[str]:
    """Half of the rows of each table go at once."""
    for table in TABLES:
        yield f"DELETE FROM {_place(table)} WHERE {'id%2=1' if table.columns[0][0] == 'id' else 'a=1'}"


PHASES = {"0-created": _creates, "1-inserted": _inserts, "2-updated": _updates, "3-deleted": _deletes}


def _place(table: Table) -> str:
    return f"{quoted(table.schema)}.{quoted(table.name)}"


def _truth(session: Connection[Cursor], schema: str, table: str, columns: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield a line a row, in order of all columns."""
    truths = [truth_of(kind) for _, kind in columns]
    wanted = [ask.format(quoted(name)) for (name, _), (asks, _) in zip(columns, truths, strict=True) for ask in asks]
    order = ", ".join(quoted(name) for name, _ in columns)
    for texts in _rows(session, f"SELECT {', '.join(wanted)} FROM {quoted(schema)}.{quoted(table)} ORDER BY {order}"):
        given = iter(texts)
        row = {}
        for (name, _), (asks, value) in zip(columns, truths, strict=True):
            found = [next(given) for _ in asks]
            row[name] = None if found[0] is None else value(*found)
        yield json.dumps({"db": schema, "table": table, "row": row}, ensure_ascii=False) + "\n"


def _tables(session: Connection[Cursor], schema: str) -> list[tuple[str, ...]]:
    return _rows(session, f"SELECT table_schema, table_name FROM information_schema.tables WHERE table_schema='{schema}' ORDER BY 2")


def _declared(session: Connection[Cursor], schema: str, table: str) -> list[Sequence[str]]:
    place = f"table_schema='{schema}' AND table_name='{table}'"
    return [*_rows(session, f"SELECT column_name, column_type FROM information_schema.columns WHERE {place} ORDER BY ordinal_position")]


def _session(server: MariaDB, database: str | None = None) -> Connection[Cursor]:
    """Return a connection whose values are all text, as the server prints them."""
    return pymysql.connect(unix_socket=str(server.socket), user="root", charset="utf8mb4", conv={}, autocommit=True, database=database)


def _rows(session: Connection[Cursor], statement: str) -> list[tuple[str, ...]]:
    with session.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall())


def _version(server: MariaDB) -> str:
    return server.sql("SELECT VERSION()").strip()


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", errors="surrogateescape")


def _empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()


def _keep_what_differs(folder: Path, same: Path) -> None:
    """Remove from a variant's folder what the first one says of it too. Exits when the truth of the two is not the same."""
    for file in folder.glob("*.*"):
        if file.suffix in {".jsonl", ".sql"} or file.name == "accident.json":
            if file.read_bytes() != (same / file.name).read_bytes():
                raise SystemExit(f"{file} is not what {same} says: the two logs would need a truth each")
            file.unlink()


if __name__ == "__main__":
    make_shop(HERE / "shop", in_use=True)
    make_shop(HERE / "shop" / "nolog", NO_LOG, in_use=False)
    _keep_what_differs(HERE / "shop" / "nolog", HERE / "shop")
    make_types(HERE / "types")
    make_types(HERE / "types" / "compressed", NO_LOG, "--log-bin-compress=ON", "--log-bin-compress-min-len=10")
    _keep_what_differs(HERE / "types" / "compressed", HERE / "types")
