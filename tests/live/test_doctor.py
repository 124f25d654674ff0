"""The doctor on real servers: what it finds is there, and the statements it prints make it go away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import gc
from urllib.parse import quote

import pytest

from dblog_tasks.cli import run
from dblog_tasks.doctor import examine_server
from dblog_tasks.findings import CONFIGURATION, SQL, Examination
from tests.live.conftest import StartMariaDB
from tests.live.servers import MariaDB, Postgres

PASSWORD = "pass-of-the-doctor-4711"  # noqa: S105 - of a server that lives as long as a test
SICK = """
    CREATE DATABASE sick; USE sick;
    CREATE TABLE parent (id int PRIMARY KEY);
    CREATE TABLE `odd ``name` (id int PRIMARY KEY, p int, FOREIGN KEY `fk` (p) REFERENCES parent (id) ON DELETE CASCADE);
    CREATE TABLE heap (x int); CREATE TABLE counted (n int AUTO_INCREMENT, KEY (n));
    CREATE TABLE loose (x int, UNIQUE KEY (x));
    CREATE TABLE old (id int PRIMARY KEY) ENGINE=MyISAM;
    CREATE TRIGGER watch BEFORE INSERT ON parent FOR EACH ROW SET @seen = 1;
    CREATE USER low@'%'; GRANT SELECT ON sick.* TO low@'%';
"""
SET_BADLY = (
    "--binlog-format=MIXED",
    "--binlog-row-image=MINIMAL",
    "--binlog-row-metadata=MINIMAL",
    "--binlog-annotate-row-events=0",
    "--binlog-checksum=NONE",
    "--sync-binlog=0",
    "--binlog-expire-logs-seconds=3600",
    "--init-connect=SET sql_log_bin = 0",
)
EXPECTED = {
    ("lost", "binlog_format", ""),
    ("lost", "binlog_row_image", ""),
    ("lost", "init_connect", ""),
    ("lost", "foreign key", "sick.odd `name fk"),
    ("risk", "binlog_row_metadata", ""),
    ("risk", "binlog_checksum", ""),
    ("risk", "sync_binlog", ""),
    ("risk", "binlog_expire_logs_seconds", ""),
    ("risk", "engine", "sick.old"),
    ("risk", "no key", "sick.heap"),
    ("risk", "no key", "sick.counted"),
    ("risk", "no key", "sick.loose"),
    ("note", "binlog_annotate_row_events", ""),
    ("note", "trigger", "sick.parent"),
}


def dsn(server: MariaDB, schema: str, user: str = "root") -> str:
    """Return the DSN of a server."""
    return f"mysql://{user}@localhost/{schema}?unix_socket={quote(str(server.socket), safe='')}"


def told(found: Examination) -> set[tuple[str, str, str]]:
    """Return severity, check and subject of all findings."""
    return {(one.severity, one.check, one.subject) for one in found.findings}


@pytest.fixture(scope="module")
def sick(start_mariadb: StartMariaDB) -> MariaDB:
    """A server on which nearly everything is wrong."""
    server = start_mariadb(*SET_BADLY)
    server.sql(SICK)
    return server


def test_statements_for_mariadb_help(sick: MariaDB) -> None:
    """All is found that was set badly; after the statements that were printed only what no statement can change is left."""
    before = examine_server(dsn(sick, "sick"))
    for finding in before.findings:
        if finding.where == SQL:
            sick.sql(finding.fix)
    after = examine_server(dsn(sick, "sick"))

    assert EXPECTED == told(before)
    assert {("note", "trigger", "sick.parent")} == told(after)
    assert ("MINIMAL", "FULL") == (before.settings["binlog_row_image"], after.settings["binlog_row_image"])


def test_account_that_sees_little_is_told_so(sick: MariaDB) -> None:
    """What it cannot see is a finding with the GRANT that shows it, and the GRANT helps."""
    before = examine_server(dsn(sick, "sick", "low"))
    unseen = {("risk", "binlog_do_db", ""), ("risk", "privilege", "sick")}
    for finding in before.findings:
        if finding.check in ("binlog_do_db", "privilege"):
            sick.sql(finding.fix)
    after = examine_server(dsn(sick, "sick", "low"))

    assert unseen <= told(before)
    assert set() == unseen & told(after)
    assert ("note", "trigger", "sick.parent") in told(after) - told(before)


@pytest.mark.parametrize(
    ("options", "check", "healed"),
    [
        (("--skip-log-bin",), "log_bin", None),
        (("--binlog-ignore-db=shop", "--sync-binlog=1"), "binlog_ignore_db", ("--sync-binlog=1",)),
    ],
)
def test_configuration_for_mariadb_helps(
    start_mariadb: StartMariaDB, options: tuple[str, ...], check: str, healed: tuple[str, ...] | None
) -> None:
    """What only a restart changes: the lines that were printed, as options of the next start."""
    (found,) = [one for one in examine_server(dsn(start_mariadb(*options), "")).findings if one.check == check]
    lines = [line for line in found.fix.splitlines() if "=" in line]
    again = healed if healed is not None else tuple("--" + line.replace(" ", "") for line in lines)

    assert ("lost", CONFIGURATION) == (found.severity, found.where)
    assert check not in {one.check for one in examine_server(dsn(start_mariadb(*again), "")).findings}


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")  # PyMySQL leaves it to the garbage collector
def test_password_is_nowhere(sick: MariaDB, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Taken from the environment; shown neither when it is right nor when it is wrong."""
    sick.sql(f"CREATE USER 'secretive'@'localhost' IDENTIFIED BY '{PASSWORD}'")
    monkeypatch.setenv("SICK", dsn(sick, "", f"secretive:{PASSWORD}"))
    codes = [run(["doctor", "env:SICK"])]
    monkeypatch.setenv("SICK", dsn(sick, "", f"secretive:{PASSWORD}x"))
    codes.append(run(["doctor", "env:SICK"]))
    out, err = capsys.readouterr()

    gc.collect()

    assert 1 == codes[1] != codes[0]
    assert PASSWORD not in out + err
    assert "secretive@localhost" in out


# ---- PostgreSQL


@pytest.fixture
def clinic(postgres: Postgres) -> Iterator[Callable[[str], Examination]]:
    """`clinic(user)` examines a database of its own, of which slots and publications are removed afterwards."""
    postgres.make("clinic")
    yield lambda user: examine_server(f"postgresql://{user}@/clinic?host={quote(str(postgres.folder), safe='')}")
    postgres.sql("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = 'clinic'")
    postgres.sql("DROP DATABASE clinic; DROP ROLE IF EXISTS low_clinic")


def test_statements_for_postgresql_help(postgres: Postgres, clinic: Callable[[str], Examination]) -> None:
    """All is found that is wrong; after the statements nothing is left but what the command line of the test's server says."""
    postgres.sql(
        """
        CREATE TABLE a (id int PRIMARY KEY, x int); CREATE TABLE "odd ""name" (x int); CREATE UNLOGGED TABLE fast (id int PRIMARY KEY);
        CREATE TABLE nothing (id int PRIMARY KEY); ALTER TABLE nothing REPLICA IDENTITY NOTHING;
        CREATE TABLE good (id int PRIMARY KEY); ALTER TABLE good REPLICA IDENTITY FULL;
        CREATE PUBLICATION part FOR TABLE a WHERE (id > 3), nothing (id) WITH (publish = 'insert');
        """,
        "clinic",
    )
    before = clinic("postgres")
    heal(postgres, before)
    postgres.sql("SELECT pg_create_logical_replication_slot('out', 'pgoutput')", "clinic")
    published = clinic("postgres")
    heal(postgres, published)

    assert {
        ("lost", "slot", ""),
        ("lost", "unlogged", "public.fast"),
        ("lost", "replica identity", "public.a"),
        ("lost", "replica identity", 'public."odd ""name"'),
        ("lost", "replica identity", "public.fast"),
        ("lost", "replica identity", "public.nothing"),
        ("risk", "no key", 'public."odd ""name"'),
        ("risk", "publication", "part"),
        ("risk", "row filter", "part: public.a"),
        ("risk", "column list", "part: public.nothing"),
        ("risk", "fsync", ""),
    } == told(before)
    assert ("lost", "not published", "public.good") in told(published)
    assert {("risk", "fsync", "")} == told(clinic("postgres"))


def heal(postgres: Postgres, found: Examination) -> None:
    """Run all statements that were printed."""
    for finding in found.findings:
        if finding.where == SQL:
            for statement in finding.fix.splitlines():
                postgres.sql(statement, "clinic")


def test_account_of_postgresql_that_may_little(postgres: Postgres, clinic: Callable[[str], Examination]) -> None:
    """The grants it lacks are printed, and help."""
    postgres.sql("CREATE TABLE a (id int PRIMARY KEY); CREATE ROLE low_clinic LOGIN", "clinic")
    before = clinic("low_clinic")
    heal(postgres, before)

    assert {("note", "privilege", "replication"), ("note", "privilege", "schema public")} <= told(before)
    assert not any(check == "privilege" for _, check, _ in told(clinic("low_clinic")))
    postgres.sql("DROP OWNED BY low_clinic", "clinic")


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")  # PyMySQL leaves it to the garbage collector
@pytest.mark.parametrize(("scheme", "option"), [("mysql", "unix_socket"), ("postgresql", "host")])
def test_server_that_is_not_there_is_one_line(scheme: str, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With exit code 1, no traceback."""
    code = run(["doctor", f"{scheme}://nobody@localhost/x?{option}=/no/such/place"])
    gc.collect()

    assert 1 == code
    assert 1 == capsys.readouterr().err.count("cannot connect")
