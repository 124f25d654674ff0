"""Logs on an HTTP server: found, read by range, and never taken for something else."""

from __future__ import annotations

from collections.abc import Iterator
import gzip
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
import socket
from threading import Event, Thread
from typing import Any

import pytest

from dblog_tasks.errors import DblogError, InvalidInput, StorageError
from dblog_tasks.storage import LogFile, find_logs, head, parse_storage_options, place, read_blocks, read_file, size_of, web
from tests.storage.http_server import Site, serving

pytest.importorskip("aiohttp")

TEXT = b"".join(b"%d times %d\n" % (number, number * 7919 % 1013) for number in range(400_000))
PAGE = b"""<html><a href="?C=M;O=A">Time</a><a href="../">Parent</a><a href="https://elsewhere/logs/b.000009">x</a>
<A HREF='/logs/b.000001'>b</a><a href="b.000002.gz">b</a><a href="./b%2e000003.xz">b</a><a href="sub/">s</a><a href="b.000004?x=1">q</a>
<a href="a%2fb.000005">s</a><a>none</a><a href="http://[">bad</a>"""


@pytest.fixture
def site() -> Iterator[Site]:
    """A server with one log."""
    with serving() as found:
        found.files["/logs/b.000001"] = TEXT
        yield found


def log(site: Site, path: str = "/logs/b.000001") -> LogFile:
    """Return the one log at a path, with the requests so far forgotten."""
    (found,) = find_logs([site.url + path], {})
    site.asked.clear()
    return found


def content(file: LogFile, **window: Any) -> bytes:
    """Return all bytes of a window."""
    return b"".join(read_blocks(file, {}, **window))


@pytest.mark.parametrize("path", ["/logs/", "/logs", "/logs/b.*", "/logs/b.00000[1-3]*"])
def test_a_page_that_lists_a_folder_is_a_folder(site: Site, path: str) -> None:
    """Its links to files directly below count, in any spelling; sorting, parents, other servers and queries do not."""
    site.files["/logs/"] = PAGE
    found = find_logs([site.url + path], {})
    assert ["b.000001", "b.000002", "b.000003"] == [file.name for file in found]
    assert ["", "gz", "xz"] == [file.compression for file in found]
    assert [f"{site.url}/logs/{name}" for name in ("b.000001", "b.000002.gz", "b%2e000003.xz")] == [file.url for file in found]


def test_a_folder_of_10000_files_is_listed_once(site: Site) -> None:
    """No file is asked for by itself."""
    site.files["/logs/"] = b"".join(b'<a href="b.%06d">b</a>\n' % number for number in range(1, 10_001))
    assert len(find_logs([f"{site.url}/logs/b.*"], {})) == 10_000
    assert ["/logs/"] == [request.path for request in site.asked]


def test_an_index_serves_where_the_server_lists_nothing(site: Site) -> None:
    """What it names is believed, and missed when it is read."""
    site.files["/logs/b.index"] = b"./b.000001\n./b.000002\n"
    one, two = find_logs([f"{site.url}/logs/b.index"], {})
    assert TEXT == content(one)
    with pytest.raises(StorageError, match="purged"):
        content(two)


REFUSED = [
    ("/nolist/", StorageError, "needs a page of the server that lists it: name each file, or an index file"),
    ("/nolist/b.*", StorageError, "the server lists no files here.*name each file, or an index file"),
    ("/none/b.*", StorageError, "no log matches"),
    ("/none", StorageError, "no such file or folder"),
    ("/l*s/b.000001", InvalidInput, "only the file name can be a glob"),
    ("/gone", StorageError, "no such file or folder"),
    ("/shut", StorageError, "no permission"),
    ("/sick", StorageError, "the server answered 500 .try again"),
    ("/odd", StorageError, "the server answered 418"),
]


@pytest.mark.parametrize(("path", "kind", "says"), REFUSED)
def test_what_a_server_does_not_give_is_told(site: Site, path: str, kind: type[DblogError], says: str) -> None:
    """Each in a line, with what to do."""
    site.files |= {"/nolist/": b"<h1>Welcome</h1>", "/gone": b"", "/shut": b"", "/sick": b"", "/odd": b""}
    site.status |= {"/gone": 410, "/shut": 403, "/sick": 500, "/odd": 418}
    with pytest.raises(kind, match=says):
        find_logs([site.url + path], {})


WINDOWS = [(0, None), (0, 4), (len(TEXT) - 1000, None), (5000, 9000), (len(TEXT) - 10, len(TEXT) + 10), (len(TEXT), None)]


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize(("start", "stop"), WINDOWS)
def test_a_window_is_the_same_with_and_without_ranges(site: Site, start: int, stop: int | None, *, ranges: bool) -> None:
    """Also when the server sends the whole file whatever is asked."""
    site.ranges = ranges
    blocks = list(read_blocks(log(site), {}, start=start, stop=stop, block_size=70_000))
    assert TEXT[start:stop] == b"".join(blocks)
    assert all(len(block) == 70_000 for block in blocks[:-1])


def test_a_window_at_the_end_asks_for_nothing_else(site: Site) -> None:
    """The bytes the server sent are those of the window, in one request."""
    file = log(site)
    assert TEXT[-1000:] == content(file, start=len(TEXT) - 1000)
    assert [(len(TEXT) - 1000, len(TEXT))] == [request.range for request in site.asked]
    assert (1000, 19) == (site.sent(), len(head(file, {}, 19)))
    assert site.sent() == 1000 + 19


def test_ranges_double_and_are_fetched_one_ahead(site: Site) -> None:
    """The next range is asked for while the last one is used, never more than one; together they are the file, once."""
    second = Event()
    site.before = lambda number, path: second.set() if number == 1 else None
    blocks = read_blocks(log(site), {}, block_size=1 << 20)
    found = [next(blocks)]
    assert second.wait(60)
    for block in blocks:
        found.append(block)
        assert len(site.asked) <= 2 + len(found)
    assert TEXT == b"".join(found)
    assert [(0, 1 << 20), (1 << 20, 3 << 20), (3 << 20, len(TEXT))] == [request.range for request in site.asked]


def test_who_stops_early_has_asked_for_little(site: Site) -> None:
    """No range is asked for after the one ahead."""
    blocks = read_blocks(log(site), {}, block_size=1 << 16)
    next(blocks)
    blocks.close()  # type: ignore[attr-defined]  # it is a generator
    assert site.sent() <= 3 << 16


@pytest.mark.parametrize("tags", [True, False])
def test_a_file_replaced_while_read_is_never_mixed_with_the_new_one(site: Site, *, tags: bool) -> None:
    """Told by the ETag, or by a shorter length."""
    site.tags = tags
    file = log(site)
    blocks = read_blocks(file, {}, block_size=1 << 16)
    found = next(blocks)
    site.files["/logs/b.000001"] = TEXT[::-1][: len(TEXT) if tags else 1 << 20]
    with pytest.raises(StorageError, match="was replaced while being read"):
        for block in blocks:
            found += block
    assert TEXT.startswith(found)


def test_a_file_that_only_grew_is_read_to_its_old_end(site: Site) -> None:
    """Its ETag is another one, its bytes are the same."""
    blocks = read_blocks(log(site), {}, block_size=1 << 16)
    found = next(blocks)
    site.files["/logs/b.000001"] = TEXT + b"more"
    assert TEXT == found + b"".join(blocks)
    assert TEXT + b"more" == content(log(site))


def test_a_file_removed_while_read_has_vanished(site: Site) -> None:
    """What was read before stays read."""
    blocks = read_blocks(log(site), {}, block_size=1 << 16)
    assert TEXT[: 1 << 16] == next(blocks)
    del site.files["/logs/b.000001"]
    with pytest.raises(StorageError, match=r"vanished while being read \(purged\?\)"):
        list(blocks)


def test_a_passing_failure_is_tried_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy server is asked once more for the range it did not give."""
    monkeypatch.setattr(web, "_PAUSE_SECONDS", 0)
    file = log(site)

    def busy(number: int, path: str) -> None:
        site.status = {"/logs/b.000001": 503} if number == 1 else {}

    site.before = busy
    assert TEXT == content(file)


@pytest.mark.parametrize("ranges", [True, False])
def test_an_answer_cut_short_is_never_the_end_of_a_file(site: Site, monkeypatch: pytest.MonkeyPatch, *, ranges: bool) -> None:
    """The length the server told is what must come."""
    file = log(site)
    site.ranges = ranges
    site.short = 5
    monkeypatch.setattr(web, "_PAUSE_SECONDS", 0)
    with pytest.raises(StorageError, match="cannot be read: the connection broke off"):
        content(file)


@pytest.mark.parametrize(
    "told",
    [
        "bytes 1-1000/{}",
        "bytes 0-{}/{}",
        "bytes 0-/1",
        "bytes */5",
        "bytes 5-0/{}",
        "items 0-1/2",
        "bytes 0-0/*",
        f"bytes 0-0/{'9' * 5000}",
    ],
)
def test_a_range_that_was_not_asked_for_is_refused(site: Site, told: str) -> None:
    """Whatever the server says of the range it sends, no byte is put where it does not belong."""
    file = log(site)
    site.told = told.replace("{}", str(len(TEXT)))
    with pytest.raises(StorageError):
        content(file)


def test_a_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the time it is given."""
    monkeypatch.setattr(place, "_WEB_TIMEOUT", {"total": None, "sock_connect": 5, "sock_read": 0.1})
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(50)
        with pytest.raises(StorageError, match="cannot be reached"):
            find_logs([f"http://127.0.0.1:{silent.getsockname()[1]}/b.000001"], {})


def test_a_log_packed_on_the_way_is_refused(site: Site) -> None:
    """Only a file that is packed itself may be announced as packed; it is read as it is stored."""
    packed = gzip.compress(TEXT)
    site.files["/logs/b.000002.gz"] = packed
    site.headers["Content-Encoding"] = "gzip"
    assert packed == read_file(f"{site.url}/logs/b.000002.gz", {})
    assert TEXT == content(log(site, "/logs/b.000002.gz"))
    with pytest.raises(StorageError, match="packed as gzip"):
        find_logs([f"{site.url}/logs/b.000001"], {})


def test_a_presigned_query_stays_out_of_url_and_errors(site: Site) -> None:
    """It is a storage option from the environment, and goes with every request."""
    signed = "X-Amz-Signature=hunter2%2F%3D&versionId=7"
    with pytest.raises(InvalidInput, match="query=env:VARIABLE") as refused:
        find_logs([f"{site.url}/logs/b.000001?{signed}"], {})
    assert "hunter2" not in repr(refused.value)
    options = parse_storage_options(["query=env:SIGNED"], {"SIGNED": f"?{signed}"})
    (file,) = find_logs([f"{site.url}/logs/b.000001"], options)
    assert (TEXT, len(TEXT)) == (b"".join(read_blocks(file, options)), size_of(file, options))
    assert f"{site.url}/logs/b.000001" == file.url
    assert {"versionId=7"} == {request.path.partition("&")[2] for request in site.asked}
    assert all("hunter2" in request.path for request in site.asked)
    site.status["/logs/b.000001"] = 403
    with pytest.raises(StorageError, match="no permission") as told:
        list(read_blocks(file, options))
    assert "hunter2" not in repr(told.value)


def test_folders_on_a_server_are_listed_at_once(site: Site) -> None:
    """The second one is asked before the first has been answered; the logs keep the order given."""
    site.files |= {"/one/": b'<a href="b.000001">', "/two/": b'<a href="a.000002"><a href="a.000001">'}
    both = {"/one/": Event(), "/two/": Event()}

    def wait(_: int, path: str) -> None:
        both[path].set()
        assert all(event.wait(60) for event in both.values())

    site.before = wait
    found = find_logs([f"{site.url}/one/", f"{site.url}/two/"], {})
    assert ["b.000001", "a.000001", "a.000002"] == [file.name for file in found]


def test_a_file_copied_to_a_cache_first_is_read(site: Site, tmp_path: Path) -> None:
    """As fsspec chains it."""
    site.ranges = False
    options = {"simplecache": {"cache_storage": str(tmp_path)}}
    (file,) = find_logs([f"simplecache::{site.url}/logs/b.000001"], options)
    assert TEXT[7:-7] == b"".join(read_blocks(file, options, start=7, stop=len(TEXT) - 7))


def test_the_standard_librarys_server_is_read(tmp_path: Path) -> None:
    """It lists folders, has no ranges, and redirects to a folder's own URL."""
    (tmp_path / "my logs").mkdir()
    (tmp_path / "my logs" / "b.000001").write_bytes(TEXT)
    (tmp_path / "my logs" / "b.000002").write_bytes(TEXT[::-1])

    class Quiet(SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(tmp_path))

        def log_message(self, *_: object) -> None:
            pass

        def copyfile(self, source: Any, outputfile: Any) -> None:
            try:
                super().copyfile(source, outputfile)
            except OSError:  # whoever asked has heard enough
                self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        for url in ("my%20logs", "my%20logs/", "my logs/b.*"):
            one, two = find_logs([f"http://127.0.0.1:{server.server_address[1]}/{url}"], {})
            assert TEXT[5000:9000] == content(one, start=5000, stop=9000)
            assert TEXT[::-1] == content(two)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
