"""An HTTP server on this machine that gives what a test puts into it, the way the test says: with ranges or without, and so on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
import re
from threading import Thread
from typing import NamedTuple
from urllib.parse import unquote


class Asked(NamedTuple):
    """One request: its method, path with query, range as (start, stop) if any, and how many bytes the body of the answer has."""

    method: str
    path: str
    range: tuple[int, int] | None
    sent: int


@dataclass
class Site:
    """What a server has and how it answers; changes count from the next request on.

    Attributes:
        files: content by path; a folder's page under its path with a slash at the end.
        ranges: whether it knows ranges.
        tags: whether it sends an ETag (of the content).
        headers: further ones for every file.
        status: by path, an answer to all requests for it.
        told: the Content-Range to send, instead of the right one.
        short: how many bytes of every answer are not sent, before the connection is closed.
        before: called with the number of requests so far and the path, before a request is answered.
        asked: all requests so far.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    tags: bool = True
    headers: dict[str, str] = field(default_factory=dict)
    status: dict[str, int] = field(default_factory=dict)
    short: int = 0
    told: str = ""
    before: Callable[[int, str], None] = lambda number, path: None
    asked: list[Asked] = field(default_factory=list)
    url: str = ""

    def sent(self) -> int:
        """Return how many bytes all answers have together."""
        return sum(request.sent for request in self.asked)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: Site

    def do_GET(self) -> None:
        site = self.site
        site.before(len(site.asked), self.path)
        path = unquote(self.path.partition("?")[0])
        content = site.files.get(path)
        status = site.status.get(path, 200)
        if content is None and f"{path}/" in site.files:
            self._answer(301, b"", {"Location": f"{path}/"})
        elif content is None or status != 200:
            self._answer(404 if status == 200 else status, b"no")
        else:
            self._file(content, {"Content-Type": "text/html"} if path.endswith("/") else {})

    def _file(self, content: bytes, headers: dict[str, str]) -> None:
        headers = {**headers, **self.site.headers}
        if self.site.tags:
            headers["ETag"] = f'"{hash(content)}"'
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")) if self.site.ranges else None
        if not match:
            self._answer(200, content, headers)
            return
        start, stop = int(match[1]), min(int(match[2] or len(content) - 1) + 1, len(content))
        if start >= len(content):
            self._answer(416, b"", {**headers, "Content-Range": f"bytes */{len(content)}"})
        else:
            found = content[start:stop]
            told = self.site.told or f"bytes {start}-{stop - 1}/{len(content)}"
            self._answer(206, found, {**headers, "Content-Range": told}, (start, stop))

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None, given: tuple[int, int] | None = None) -> None:
        self.site.asked.append(Asked(self.command, self.path, given, len(body)))
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.close_connection = bool(self.site.short)
        try:
            self.wfile.write(body[: len(body) - self.site.short])
        except OSError:  # whoever asked has heard enough
            self.close_connection = True

    def do_HEAD(self) -> None:
        self._answer(405, b"")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def serving() -> Iterator[Site]:
    """Give a site that is being served, empty at first."""
    site = Site()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"site": site}))
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # who closes a connection early means it
    site.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
