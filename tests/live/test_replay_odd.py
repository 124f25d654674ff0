"""Tables and damages that a replay could silently get wrong: each goes back and forth in batches of any size, on a real server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import pytest

from dblog_tasks.errors import TargetRefused
from dblog_tasks.plan import read_plan
from dblog_tasks.replay import ReplayRequest, replay
from dblog_tasks.replay_request import DONE
from dblog_tasks.verify import verify
from tests.live.scenes import MakeScene, Scene
from tests.live.servers import MariaDB

N = "INSERT INTO t SELECT seq, seq, CONCAT('v', seq) FROM seq_1_to_9;"


class Odd(NamedTuple):
    """Tables with rows, and the damage: statements."""

    tables: str
    damage: tuple[str, ...]
    accepted: tuple[str, ...] = ()
    batches: tuple[int, ...] = (1, 3, 1000)


ODD: Mapping[str, Odd] = {
    "keys move along": Odd(
        f"CREATE TABLE t (id int PRIMARY KEY, a int, b text); {N}",
        ("UPDATE t SET id = id + 1 ORDER BY id DESC", "UPDATE t SET id = id - 3"),
    ),
    "keys change places": Odd(
        f"CREATE TABLE t (id int PRIMARY KEY, a int, b text); {N}",
        ("BEGIN; UPDATE t SET id=100 WHERE id=1; UPDATE t SET id=1 WHERE id=2; UPDATE t SET id=2 WHERE id=100; COMMIT",),
    ),
    "keys change places and values in one transaction": Odd(
        f"CREATE TABLE t (id int PRIMARY KEY, a int, b text); {N}",
        (
            (
                "BEGIN; UPDATE t SET id=0, a=-1 WHERE id=1; UPDATE t SET id=1, b='x' WHERE id=2; UPDATE t SET a=7 WHERE id=1;"
                " UPDATE t SET id=2 WHERE id=0; DELETE FROM t WHERE id=1; INSERT INTO t VALUES (1, 1, 'new'); COMMIT"
            ),
        ),
    ),
    "unique values change places": Odd(
        f"CREATE TABLE t (id int PRIMARY KEY, a int UNIQUE, b varchar(9) UNIQUE); {N}",
        (
            (
                "BEGIN; UPDATE t SET a=NULL, b=NULL WHERE id=1; UPDATE t SET a=1, b='v1' WHERE id=2; UPDATE t SET a=2, b='v2' WHERE"
                " id=1; COMMIT"
            ),
            "UPDATE t SET a = a + 1 ORDER BY a DESC",
            "DELETE FROM t WHERE id=5",
            "INSERT INTO t VALUES (50, 6, 'v5')",
        ),
    ),
    "one row, many times": Odd(
        f"CREATE TABLE t (id int PRIMARY KEY, a int, b text); {N}",
        (
            (
                "BEGIN; DELETE FROM t WHERE id=1; INSERT INTO t VALUES (1, 5, 'n'); UPDATE t SET a=6 WHERE id=1; DELETE FROM t WHERE id=1;"
                " INSERT INTO t VALUES (1, 7, 'm'); COMMIT"
            ),
            "DELETE FROM t WHERE id=1",
            "INSERT INTO t VALUES (1, 1, 'v1')",
            "BEGIN; INSERT INTO t VALUES (77, 1, 'x'); DELETE FROM t WHERE id=77; COMMIT",
            "REPLACE INTO t VALUES (2, 3, 'r'), (2, 4, 's')",
            "INSERT INTO t VALUES (3, 0, '') ON DUPLICATE KEY UPDATE a = a, b = 'dup'",
        ),
    ),
    "there and back": Odd(
        f"CREATE TABLE t (id int PRIMARY KEY, a int, b text); {N}",
        (
            "UPDATE t SET a = a + 1",
            "UPDATE t SET a = a - 1",
            "UPDATE t SET b = UPPER(b)",
            "UPDATE t SET b = LOWER(b)",
            "UPDATE t SET a = a * 2",
        ),
    ),
    "equal under the collation": Odd(
        "CREATE TABLE t (k varchar(20) COLLATE utf8mb4_general_ci PRIMARY KEY, a int); INSERT INTO t VALUES"
        " ('ä',1),('b',2),('C',3),('d',4);",
        (
            "UPDATE t SET k='A' WHERE k='ä'",
            "UPDATE t SET k=UPPER(k), a=a+1",
            "UPDATE t SET k='ç' WHERE k='c'",
            "DELETE FROM t WHERE k='d'",
            "INSERT INTO t VALUES ('D', 4)",
        ),
    ),
    "equal under the collation, two columns": Odd(
        "CREATE TABLE t (k varchar(20) COLLATE utf8mb4_general_ci, n int, a int, PRIMARY KEY (k, n)); INSERT INTO t SELECT 'key',"
        " seq, seq"
        " FROM seq_1_to_9;",
        ("UPDATE t SET k='KEY', a=a+1 WHERE n<5", "UPDATE t SET a=a*2", "DELETE FROM t WHERE n=3", "INSERT INTO t VALUES ('Key',3,1)"),
    ),
    "no key but a unique one with NULLs": Odd(
        "CREATE TABLE t (u int UNIQUE, a int); INSERT INTO t VALUES (1,1),(NULL,2),(NULL,2),(NULL,3);",
        ("UPDATE t SET a=9 WHERE u IS NULL AND a=2 LIMIT 1", "DELETE FROM t WHERE a=3", "UPDATE t SET u=NULL WHERE u=1"),
        ("no key: {}.t",),
    ),
    "a unique key that takes no NULL": Odd(
        "CREATE TABLE t (u int NOT NULL UNIQUE, a int); INSERT INTO t SELECT seq, seq FROM seq_1_to_9;",
        ("UPDATE t SET u=u+10 WHERE a<4", "DELETE FROM t WHERE a=5", "UPDATE t SET a=NULL"),
    ),
    "a generated column in the key": Odd(
        "CREATE TABLE t (a int NOT NULL, b int, g int AS (a * 2) STORED, UNIQUE KEY (g), PRIMARY KEY (a)); INSERT INTO t (a, b)"
        " SELECT seq, seq"
        " FROM seq_1_to_9;",
        ("UPDATE t SET a=a+100 WHERE a<4", "UPDATE t SET b=0", "DELETE FROM t WHERE a=5"),
    ),
    "a generated column is the only key": Odd(
        "CREATE TABLE t (a int NOT NULL, b int, g int AS (a * 2) STORED, UNIQUE KEY (g)); INSERT INTO t (a, b) SELECT seq, seq FROM"
        " seq_1_to_9;",
        ("UPDATE t SET a=a+100 WHERE a<4", "UPDATE t SET b=0", "DELETE FROM t WHERE a=5", "INSERT INTO t (a) VALUES (5)"),
        ("no key: {}.t",),
    ),
    "keys of bits, enums, sets, years": Odd(
        "CREATE TABLE t (k bit(9), e enum('b','a',''), s set('x','y'), y year, a int, PRIMARY KEY (k, e, s, y)); INSERT INTO t VALUES"
        " (b'1','a','x',2000,1),(b'100000000','b','',1901,2),(b'0','','x,y',0,3);",
        ("UPDATE t SET a=0", "UPDATE t SET e='a' WHERE a=0 AND k=0", "DELETE FROM t WHERE k=1", "UPDATE t SET s='y', y=2155"),
    ),
    "a key of an enum, one of a set": Odd(
        "CREATE TABLE t (e enum('b','a','10','2') PRIMARY KEY, a int); CREATE TABLE u (s set('x','y','1') PRIMARY KEY, a int);"
        " INSERT INTO t VALUES ('b',1),('a',2),('10',3),('2',4); INSERT INTO u VALUES ('',1),('x',2),('x,y',3),('1',4),('x,1',5);",
        (
            "UPDATE t SET a=-a",
            "DELETE FROM t WHERE e='2'",
            "UPDATE u SET a=-a",
            "DELETE FROM u WHERE s='1'",
            "UPDATE u SET s='y' WHERE s=''",
        ),
    ),
    "a key of a float": Odd(
        "CREATE TABLE t (k float PRIMARY KEY, a int); CREATE TABLE u (k double, d decimal(30,10), a int, PRIMARY KEY (k, d));"
        " INSERT INTO t VALUES (0.1,1),(16777216,2),(3.4e38,3),(-1e-38,4),(1.5,5); INSERT INTO u VALUES"
        " (0.1,0.1,1),(1e300,-5,2),(2,3,3);",
        (
            "UPDATE t SET a=-a",
            "DELETE FROM t WHERE k>1e30",
            "UPDATE t SET k=0.2 WHERE k<0",
            "UPDATE u SET a=0",
            "UPDATE u SET k=k/3, d=0.3",
        ),
    ),
    "keys of temporals": Odd(
        "SET sql_mode=''; CREATE TABLE t (d date, dt datetime(3), ts timestamp(6) NULL, tm time(2), a int, PRIMARY KEY (d, dt,"
        " tm)); INSERT INTO t"
        " VALUES ('0000-00-00','0000-00-00',0,'-838:59:59',1),('2024-02-31','2024-01-00 00:00:00.5','2024-03-31"
        " 01:30:00.000001','00:00:00.01',2);",
        ("SET sql_mode='ALLOW_INVALID_DATES'", "UPDATE t SET a=0", "UPDATE t SET ts=NULL", "UPDATE t SET tm='00:00:09'", "DELETE FROM t"),
    ),
    "zero in an auto-increment column": Odd(
        "SET sql_mode='NO_AUTO_VALUE_ON_ZERO'; CREATE TABLE t (id int AUTO_INCREMENT PRIMARY KEY, a int); INSERT INTO t VALUES"
        " (0,1),(-5,2),(3,3);",
        ("UPDATE t SET a=-a", "DELETE FROM t", "INSERT INTO t VALUES (7,7)"),
    ),
    "binary and padded keys": Odd(
        "CREATE TABLE t (k binary(4) PRIMARY KEY, a int); CREATE TABLE u (k varbinary(9) PRIMARY KEY, a int); CREATE TABLE c (k char(9)"
        " COLLATE utf8mb4_bin PRIMARY KEY, a int); INSERT INTO t VALUES (X'00',1),(X'6100',2),(X'0000FF27',3); INSERT INTO u VALUES"
        " ('',1),"
        "(X'61',2),(X'6100',3),(X'5C',4); INSERT INTO c VALUES ('',1),('a ',2),('\\\\',3);",
        ("UPDATE t SET a=-a", "UPDATE u SET a=-a", "UPDATE c SET a=-a", "DELETE FROM u WHERE k=X'61'", "DELETE FROM t", "DELETE FROM c"),
    ),
    "text with invalid bytes": Odd(
        "CREATE TABLE t (id int PRIMARY KEY, a varchar(20) CHARACTER SET ucs2, b varchar(20) CHARACTER SET sjis, c text, d text"
        " CHARACTER SET"
        " latin1); INSERT INTO t VALUES (1,'\\0\\Z','\\\\n',CONCAT(CHAR(0),'''\"`\\\\'),X'8090FF'),(2,'ä','ｱ','😀','');",
        ("UPDATE t SET a=REVERSE(a), b='\\\\', c=CONCAT(c,c), d=X'9D'", "DELETE FROM t WHERE id=1"),
    ),
    "a table that refers to itself": Odd(
        "CREATE TABLE t (id int PRIMARY KEY, up int, a int, FOREIGN KEY (up) REFERENCES t (id)); INSERT INTO t VALUES"
        " (5,NULL,0),(4,5,0),(9,4,0),"
        "(1,9,0),(2,2,0);",
        (
            "DELETE FROM t WHERE id=1",
            "DELETE FROM t WHERE id=9",
            "DELETE FROM t WHERE id=4",
            "UPDATE t SET a=1",
            "DELETE FROM t WHERE id=5",
        ),
    ),
    "a table that refers to itself, in one transaction": Odd(
        "CREATE TABLE t (id int PRIMARY KEY, up int, a int, FOREIGN KEY (up) REFERENCES t (id)); INSERT INTO t VALUES"
        " (5,NULL,0),(4,5,0),(9,4,0),"
        "(1,9,0),(2,2,0);",
        (
            (
                "BEGIN; DELETE FROM t WHERE id=1; DELETE FROM t WHERE id=9; DELETE FROM t WHERE id=4; DELETE FROM t"
                " WHERE id=5; INSERT INTO t"
                " VALUES (4,NULL,1),(1,4,1); COMMIT"
            ),
            "UPDATE t SET up=1 WHERE id=4",
        ),
    ),
    "two tables that refer to each other": Odd(
        "CREATE TABLE t (id int PRIMARY KEY, u int); CREATE TABLE u (id int PRIMARY KEY, t int, FOREIGN KEY (t) REFERENCES t (id));"
        " ALTER TABLE t"
        " ADD FOREIGN KEY (u) REFERENCES u (id); INSERT INTO t VALUES (1,NULL); INSERT INTO u VALUES (1,1); UPDATE t SET u=1;",
        ("BEGIN; UPDATE t SET u=NULL; DELETE FROM u; DELETE FROM t; COMMIT", "INSERT INTO t VALUES (2,NULL)", "INSERT INTO u VALUES (2,2)"),
    ),
    "rows gone in an order that foreign keys forbid": Odd(
        "CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE t (id int PRIMARY KEY, up int, p int, FOREIGN KEY (up) REFERENCES t"
        " (id), FOREIGN KEY"
        " (p) REFERENCES p (id)); INSERT INTO p VALUES (1),(2); INSERT INTO t VALUES (8,NULL,1),(9,8,1),(10,9,2),(5,10,2);",
        ("SET foreign_key_checks=0; BEGIN; DELETE FROM p; DELETE FROM t WHERE id IN (9,10); DELETE FROM t; COMMIT",),
        batches=(1000,),
    ),
    "checks and defaults that do not let a value by": Odd(
        "CREATE TABLE t (id int PRIMARY KEY, a int NOT NULL DEFAULT 7 CHECK (a <> 3), e enum('x') NOT NULL, v varchar(3) NOT NULL);"
        " INSERT INTO t"
        " VALUES (1,1,'x',''),(2,2,'x','abc');",
        ("UPDATE t SET a=DEFAULT", "DELETE FROM t WHERE id=2"),
    ),
    "values that mean something to SQL": Odd(
        "CREATE TABLE `a``b` (`se``lect` int PRIMARY KEY, `%s` text, `{}` varchar(200)); INSERT INTO `a``b` VALUES (1,'%s %d %%','{}'),"
        "(2,'NULL','X''00'''),(3,'--','/*! 1 */'),(4,'\\'','\\\\'),(5,NULL,'');",
        ("UPDATE `a``b` SET `%s`=CONCAT(`%s`,'%'), `{}`=CONCAT('-',`{}`)", "DELETE FROM `a``b`"),
    ),
}


@contextmanager
def set_globally(server: MariaDB, settings: Mapping[str, str]) -> Iterator[None]:
    """Set variables of the server for new sessions; what was before comes back."""
    before = {name: server.sql(f"SELECT @@GLOBAL.{name}").strip() for name in settings}
    server.sql(";".join(f"SET GLOBAL {name} = {value}" for name, value in settings.items()))
    try:
        yield
    finally:
        was = {name: value if value.isdigit() else f"'{value}'" for name, value in before.items()}
        server.sql(";".join(f"SET GLOBAL {name} = {value}" for name, value in was.items()))


def there_and_back(made: Scene, rows: int, accepted: tuple[str, ...], settings: Mapping[str, str] | None = None) -> None:
    """Undo, verify, undo the undo, on a server of these settings."""
    after = made.dump()
    accepted = (*accepted, "hard conflicts")
    with set_globally(made.server, settings or {}):
        report = made.replay(batch_rows=rows, acknowledge=accepted)
        found = verify(made.plan.url, made.dsn())
    assert ((), DONE) == (report.conflicts, report.outcome)
    assert made.before == made.dump()
    assert found.clean, found.differences
    inverse = read_plan(report.inverse, {})
    with set_globally(made.server, settings or {}):
        back = replay(ReplayRequest(inverse.url, made.dsn(), approve=inverse.id, batch_rows=rows, acknowledge=accepted))
    assert ((), DONE) == (back.conflicts, back.outcome)
    assert after == made.dump()


@pytest.mark.parametrize(("kind", "rows"), [(kind, rows) for kind, odd in ODD.items() for rows in odd.batches])
def test_odd_tables_go_back_and_forth(kind: str, rows: int, scene: MakeScene) -> None:
    """The dump after the replay is the one before the damage; after the replay of the inverse it is the one before the replay."""
    odd = ODD[kind]
    made = scene(odd.tables)
    made.damage(*odd.damage)
    there_and_back(made, rows, tuple(word.format(made.name) for word in odd.accepted))


SETTINGS = {
    "sql_mode": "'ANSI,NO_BACKSLASH_ESCAPES,NO_ZERO_DATE,NO_ZERO_IN_DATE,PAD_CHAR_TO_FULL_LENGTH,TRADITIONAL'",
    "sql_select_limit": "1",
    "completion_type": "1",
    "time_zone": "'+05:00'",
    "tx_isolation": "'SERIALIZABLE'",
    "character_set_server": "gbk",
}


@pytest.mark.parametrize("kind", ["values that mean something to SQL", "keys of temporals", "text with invalid bytes", "keys move along"])
def test_no_setting_of_the_server_is_relied_on(kind: str, scene: MakeScene) -> None:
    """How text is quoted, how many rows a query gives, what COMMIT does: the replay's session says it all."""
    made = scene(ODD[kind].tables)
    made.damage(*ODD[kind].damage)
    there_and_back(made, 3, (), SETTINGS)


def test_rows_that_are_together_more_than_a_packet_are_written_apart(scene: MakeScene) -> None:
    """Forty rows of 300 kB each go back on a server that takes statements of 4 MB."""
    made = scene(
        "CREATE TABLE t (id int PRIMARY KEY, b mediumblob); INSERT INTO t SELECT seq, REPEAT(CHAR(seq, 0, 255), 100000) FROM seq_1_to_40;"
    )
    made.damage("UPDATE t SET b = CONCAT(b, id)", "DELETE FROM t WHERE id > 20")
    there_and_back(made, 1000, (), {"max_allowed_packet": str(4 << 20)})


def test_a_plan_goes_on_wherever_its_notes_are(scene: MakeScene, mariadb: MariaDB) -> None:
    """Rows without a key would be taken away twice where the notes of the first replay are not found; the undo forgets them there."""
    made = scene("CREATE TABLE t (a int); INSERT INTO t VALUES (1),(1),(1),(1);")
    made.damage("INSERT INTO t VALUES (1),(1)")
    accepted = (f"no key: {made.name}.t", "hard conflicts")
    mariadb.sql(f"CREATE DATABASE {made.name}_notes")
    try:
        first = made.replay(acknowledge=accepted, progress_schema=f"{made.name}_notes")
        again = made.replay(acknowledge=accepted)
        assert (DONE, DONE, 2, made.before) == (first.outcome, again.outcome, again.rows["applies"], made.dump())
        with pytest.raises(TargetRefused, match="notes of this plan"):
            made.replay(acknowledge=accepted, progress_schema=made.name)

        inverse = read_plan(first.inverse, {})
        replay(ReplayRequest(inverse.url, made.dsn(), approve=inverse.id, acknowledge=accepted))
        assert "" == mariadb.sql(f"SELECT * FROM {made.name}_notes.dblog_replay")
        assert 2 == made.replay(acknowledge=accepted).rows["applies"]
        assert made.before == made.dump()
    finally:
        mariadb.sql(f"DROP DATABASE {made.name}_notes")


def test_who_may_only_read_may_look(scene: MakeScene, mariadb: MariaDB) -> None:
    """A dry run and verify write nothing: SELECT is enough for them, and what the account cannot see is said; a replay is refused."""
    made = scene(f"CREATE TABLE t (id int PRIMARY KEY, a int, b text); {N}")
    made.damage("DELETE FROM t WHERE id=1")
    mariadb.sql(f"CREATE USER looker@localhost; GRANT SELECT ON {made.name}.* TO looker@localhost")
    try:
        report = made.replay(user="looker", dry_run=True)
        assert {"applies": 1} == report.rows
        assert any("triggers" in warning for warning in report.warnings)
        assert any("foreign keys" in warning for warning in report.warnings)
        assert {"missing": 1} == verify(made.plan.url, made.dsn("looker")).rows
        with pytest.raises(TargetRefused):
            made.replay(user="looker")
    finally:
        mariadb.sql("DROP USER looker@localhost")
