"""Real database servers for tests: each in a temporary folder of its own, on a unix socket, stopped by its process id.

Law: knows how servers are started, asked and stopped; nothing of pytest, nothing of what is tested. No port is opened.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import getpass
import os
from pathlib import Path
import shutil
import socket
import subprocess
import tempfile
import time

import redis

START_SECONDS_MAX = 60
STOP_SECONDS_MAX = 30
_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])  # where Debian keeps mariadbd

MARIADB_PROGRAMS = ("mariadbd", "mariadb-install-db", "mariadb", "mariadb-dump")
REDIS_PROGRAMS = ("redis-server",)
POSTGRES_PROGRAMS = ("initdb", "postgres", "psql", "pg_dump", "pg_recvlogical")
POSTGRES_OPTIONS = {
    "listen_addresses": "",
    "wal_level": "logical",
    "max_prepared_transactions": "10",
    "max_replication_slots": "30",
    "max_wal_senders": "5",
    "logical_decoding_work_mem": "64kB",
    "fsync": "off",
    "shared_buffers": "32MB",
}
_POSTGRES_FOLDERS = ("/usr/lib/postgresql/15/bin",)  # where Debian keeps the programs of each version
MARIADB_OPTIONS = (
    "--skip-networking",
    "--server-id=1",
    "--log-bin=binlog",
    "--binlog-format=ROW",
    "--binlog-row-metadata=FULL",
    "--character-set-server=utf8mb4",
    "--collation-server=utf8mb4_general_ci",
    "--default-time-zone=+00:00",
    "--innodb-buffer-pool-size=64M",
    "--innodb-log-file-size=16M",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-flush-method=nosync",  # a test's server is never in danger of its power
    "--innodb-use-native-aio=0",
    "--max-allowed-packet=256M",
)


class ServerError(Exception):
    """A server did not start, or a client program failed; the text is what it said."""


class MariaDB:
    """A running MariaDB server and its client programs; user root, no password.

    Attributes:
        socket: the unix socket it listens on, and nothing else.
        datadir: its data folder, where its binary logs are.
    """

    def __init__(self, socket: Path, datadir: Path) -> None:
        self.socket = socket
        self.datadir = datadir

    def client(self, text: str, database: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run SQL text through the `mariadb` program as a person would; return its result, whatever it is."""
        options = ["--binary-mode", "--default-character-set=utf8mb4", "--skip-column-names"]
        return self._run("mariadb", *options, *([database] if database else []), text=text)

    def sql(self, text: str, database: str | None = None, *, check: bool = True) -> str:
        """Run SQL text; return the rows, one a line, columns divided by tabs, without a heading.

        Raises ServerError with what the client said; `check=False` returns that text instead, after the rows.
        """
        done = self.client(text, database)
        if check and done.returncode:
            raise ServerError(done.stderr)
        return done.stdout + done.stderr

    def dump(self, database: str) -> str:
        """Return all rows of a database as sorted INSERT statements: two equal dumps are two equal databases."""
        options = ["--no-create-info", "--order-by-primary", "--skip-extended-insert", "--hex-blob", "--compact", "--skip-triggers"]
        return "".join(sorted(self._dump(*options, database).splitlines(keepends=True)))

    def schema_sql(self, *databases: str) -> str:
        """Return the CREATE statements of databases, as an administrator would keep them."""
        return self._dump("--no-data", "--compact", "--databases", *databases)

    def rotate(self) -> None:
        """Close the binary log in use and begin the next one."""
        self.sql("FLUSH BINARY LOGS")

    def binlogs(self) -> list[Path]:
        """Return the binary log files, oldest first; the last one is in use."""
        return [self.datadir / line.split("\t")[0] for line in self.sql("SHOW BINARY LOGS").splitlines()]

    def _dump(self, *options: str) -> str:
        done = self._run("mariadb-dump", "--default-character-set=utf8mb4", "--max-allowed-packet=1G", *options)
        if done.returncode:
            raise ServerError(done.stderr)
        return done.stdout

    def _run(self, program: str, *options: str, text: str = "") -> subprocess.CompletedProcess[str]:
        command = [program, "--no-defaults", f"--socket={self.socket}", "--user=root", *options]
        return subprocess.run(command, input=text, capture_output=True, check=False, encoding="utf-8", errors="surrogateescape")


class Redis:
    """A running Redis server with its append-only file switched on.

    Attributes:
        socket: the unix socket it listens on, and nothing else.
        folder: its working folder; the append-only files are in `folder / "appendonlydir"`.
        client: a connection that gives and takes bytes.
    """

    def __init__(self, socket: Path, folder: Path) -> None:
        self.socket = socket
        self.folder = folder
        self.client = redis.Redis(unix_socket_path=str(socket))


class Postgres:
    """A running PostgreSQL server and its client programs; user postgres, no password.

    Attributes:
        folder: where its unix socket is, and nothing else listens.
        programs: where its programs are.
    """

    def __init__(self, folder: Path, programs: str) -> None:
        self.folder = folder
        self.programs = programs

    def psql(self, text: str, database: str, *options: str) -> subprocess.CompletedProcess[str]:
        """Run a script through `psql` as a person would; return its result, whatever it is."""
        return self._run("psql", "-X", "-q", "-d", database, *options, "-f", "-", text=text)

    def sql(self, text: str, database: str = "postgres") -> str:
        """Run SQL text; return the rows, one a line, columns divided by tabs. Raises ServerError with what the client said."""
        done = self.psql(text, database, "-A", "-t", "-F", "\t", "-v", "ON_ERROR_STOP=1")
        if done.returncode:
            raise ServerError(done.stderr)
        return done.stdout

    def make(self, database: str) -> None:
        """Make an empty database of this name, another of that name being dropped."""
        self.sql(f'DROP DATABASE IF EXISTS "{database}"')
        self.sql(f"CREATE DATABASE \"{database}\" ENCODING 'UTF8' TEMPLATE template0")

    def schema_sql(self, database: str) -> str:
        """Return the schema of a database, as an administrator would keep it."""
        return self._checked("pg_dump", "-s", "-d", database)

    def received(self, database: str, slot: str, *options: str) -> bytes:
        """Return what `pg_recvlogical` writes of a slot up to now."""
        end = self.sql("SELECT pg_current_wal_insert_lsn()").strip()
        command = [
            "--slot",
            slot,
            "--start",
            "-f",
            "-",
            "--no-loop",
            "--endpos",
            end,
            *(word for option in options for word in ("-o", option)),
        ]
        done = subprocess.run([*self._command("pg_recvlogical"), "-d", database, *command], capture_output=True, check=False)
        if done.returncode:
            raise ServerError(done.stderr.decode(errors="replace"))
        return done.stdout

    def _checked(self, program: str, *options: str) -> str:
        done = self._run(program, *options)
        if done.returncode:
            raise ServerError(done.stderr)
        return done.stdout

    def _command(self, program: str) -> list[str]:
        found = shutil.which(program, path=os.pathsep.join([self.programs, _PATH])) or program
        return [found, "-h", str(self.folder), "-U", "postgres"]

    def _run(self, program: str, *options: str, text: str = "") -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PGCLIENTENCODING": "UTF8"}
        command = [*self._command(program), *options]
        return subprocess.run(
            command, input=text, capture_output=True, check=False, encoding="utf-8", errors="surrogateescape", env=environment
        )


def missing_programs(programs: tuple[str, ...]) -> list[str]:
    """Return which of these programs are not installed."""
    return [name for name in programs if shutil.which(name, path=os.pathsep.join([_PATH, *_POSTGRES_FOLDERS])) is None]


@contextmanager
def mariadb_server(*options: str) -> Iterator[MariaDB]:
    """Start a MariaDB server, yield it, stop it and remove its data. Options come after ours, so they win."""
    with tempfile.TemporaryDirectory(prefix="dblog-") as name:
        folder = Path(name)
        datadir, where = folder / "data", folder / "socket"
        owner = f"--user={getpass.getuser()}"
        install = ["mariadb-install-db", "--no-defaults", owner, f"--datadir={datadir}", "--auth-root-authentication-method=normal"]
        done = subprocess.run([*install, "--skip-test-db"], capture_output=True, check=False, text=True)
        if done.returncode:
            raise ServerError(done.stdout + done.stderr)
        command = [
            _found("mariadbd"),
            "--no-defaults",
            owner,
            f"--datadir={datadir}",
            f"--socket={where}",
            f"--tmpdir={folder}",
            *MARIADB_OPTIONS,
            *options,
        ]
        with _running(command, where, folder / "server.log"):
            yield MariaDB(where, datadir)


@contextmanager
def redis_server(*options: str) -> Iterator[Redis]:
    """Start a Redis server, yield it, stop it and remove its data. Options are those of redis.conf: `"--appendfsync", "always"`."""
    with tempfile.TemporaryDirectory(prefix="dblog-") as name:
        folder = Path(name)
        where = folder / "socket"
        command = [_found("redis-server"), "--port", "0", "--unixsocket", str(where), "--dir", str(folder)]
        command += ["--appendonly", "yes", "--save", "", *options]
        with _running(command, where, folder / "server.log"):
            server = Redis(where, folder)
            try:
                yield server
            finally:
                server.client.close()


@contextmanager
def postgres_server(programs: str = "") -> Iterator[Postgres]:
    """Start a PostgreSQL server, yield it, stop it and remove its data. `programs`: the folder of another version than Debian's.

    The server refuses to run as root: then it runs as the user postgres.
    """
    programs = programs or next(
        (folder for folder in _POSTGRES_FOLDERS if Path(folder, "initdb").exists()), str(Path(_found("initdb")).parent)
    )
    as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory(prefix="dblog-") as name:
        folder = Path(name)
        if as_user:
            shutil.chown(folder, "postgres", "postgres")
        data = folder / "data"
        install = [*as_user, f"{programs}/initdb", "-D", str(data), "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "-A", "trust", "-N"]
        done = subprocess.run(install, capture_output=True, check=False, text=True, cwd=folder)
        if done.returncode:
            raise ServerError(done.stdout + done.stderr)
        options = {**POSTGRES_OPTIONS, "unix_socket_directories": str(folder)}
        settings = [word for pair in options.items() for word in ("-c", "=".join(pair))]
        with _running([*as_user, f"{programs}/postgres", "-D", str(data), *settings], folder / ".s.PGSQL.5432", folder / "server.log"):
            server = Postgres(folder, programs)
            _wait_until_ready(server)
            yield server


def _wait_until_ready(server: Postgres) -> None:
    give_up = time.monotonic() + START_SECONDS_MAX
    while server.psql("SELECT 1", "postgres").returncode:
        if time.monotonic() > give_up:
            raise ServerError("PostgreSQL does not take connections")
        time.sleep(0.02)


def _found(program: str) -> str:
    path = shutil.which(program, path=os.pathsep.join([_PATH, *_POSTGRES_FOLDERS]))
    if path is None:
        raise ServerError(f"{program} is not installed")
    return path


@contextmanager
def _running(command: list[str], where: Path, log: Path) -> Iterator[None]:
    with log.open("wb") as output, subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output) as process:
        try:
            _wait_for(process, where, log)
            yield
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_for(process: subprocess.Popen[bytes], where: Path, log: Path) -> None:
    """Return once the server takes connections. Raises ServerError with its log when it ends before, or never does."""
    give_up = time.monotonic() + START_SECONDS_MAX
    while not _answers(where):
        if process.poll() is not None or time.monotonic() > give_up:
            raise ServerError(f"{process.args!r} did not start:\n{log.read_text(errors='replace')[-4000:]}")
        time.sleep(0.02)


def _answers(where: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as link:
        try:
            link.connect(str(where))
        except OSError:
            return False
    return True
