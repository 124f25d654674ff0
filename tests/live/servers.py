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


def missing_programs(programs: tuple[str, ...]) -> list[str]:
    """Return which of these programs are not installed."""
    return [name for name in programs if shutil.which(name, path=_PATH) is None]


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


def _found(program: str) -> str:
    path = shutil.which(program, path=_PATH)
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
