"""A Prefect server with its pages, a worker, and Chromium to look at them: each in a process of its own, stopped by its id."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import os
from pathlib import Path
import shutil
import socket
import subprocess
import sys
import time
from urllib.error import URLError
from urllib.request import urlopen

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parent.parent.parent
PROGRAMS = ("chromium",)
START_SECONDS_MAX = 120
STOP_SECONDS_MAX = 30


@contextmanager
def prefect_server(home: Path) -> Iterator[str]:
    """Start a Prefect server with its pages; the value is its address."""
    port = free_port()
    where = f"http://127.0.0.1:{port}"
    environ = environment(home, where) | {"PREFECT_SERVER_API_PORT": str(port)}
    with _running(home / "server.log", environ, "server", "start", "--host", "127.0.0.1", "--port", str(port)) as process:
        give_up = time.monotonic() + START_SECONDS_MAX
        while not _answers(f"{where}/api/health"):
            assert process.poll() is None, (home / "server.log").read_text()[-4000:]
            assert time.monotonic() < give_up, (home / "server.log").read_text()[-4000:]
            time.sleep(0.1)
        yield where


@contextmanager
def prefect_worker(home: Path, where: str, pool: str, **variables: str) -> Iterator[None]:
    """Start a worker of a pool with variables in its environment."""
    environ = environment(home, where) | {"PREFECT_WORKER_QUERY_SECONDS": "1", "DBLOG_PROJECT_DIR": str(ROOT)} | variables
    with _running(home / "worker.log", environ, "worker", "start", "--pool", pool, "--type", "process"):
        yield


def prefect(home: Path, where: str, *arguments: str) -> str:
    """Run Prefect's command line; return what it printed."""
    command = [sys.executable, "-m", "prefect", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment(home, where), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def environment(home: Path, where: str) -> dict[str, str]:
    """Return the environment of a process that belongs to this server."""
    return os.environ | {
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": f"{where}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_DATABASE_TIMEOUT": "60",  # seconds; SQLite is locked longer than usual on a busy machine
    }


@contextmanager
def chromium() -> Iterator[Page]:
    """Open a page in the Chromium of this system, without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"])
        try:
            yield browser.new_page(viewport={"width": 1280, "height": 1100})
        finally:
            browser.close()


def free_port() -> int:
    """Return a port nobody listens on now."""
    with socket.socket() as link:
        link.bind(("127.0.0.1", 0))
        port: int = link.getsockname()[1]
        return port


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=5) as answer:  # noqa: S310 - of this machine
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False


@contextmanager
def _running(log: Path, environ: dict[str, str], *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "prefect", *arguments]
    with log.open("wb") as output, subprocess.Popen(command, cwd=ROOT, env=environ, stdout=output, stderr=output) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                process.kill()
