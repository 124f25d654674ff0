"""The same on S3, as moto's server plays it on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import gzip
from http.client import HTTPConnection
import io
from itertools import pairwise
import os
import socket
from threading import Barrier, Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit
import zipfile

import fsspec
import pytest

from dblog_tasks.errors import LogGap, StorageError
from dblog_tasks.storage import (
    exists,
    find_logs,
    head,
    list_folder,
    parse_storage_options,
    read_blocks,
    read_file,
    remove_folder,
    size_of,
    writable,
    write_exclusively,
    write_file,
)
from dblog_tasks.storage.place import place_of

pytest.importorskip("s3fs")
moto_server = pytest.importorskip("moto.server")
s3_models = pytest.importorskip("moto.s3.models")

TEXT = b"".join(b"%d times %d\n" % (number, number * 7919 % 1013) for number in range(20000))


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """The URL of a store that is up for this module."""
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def post(url: str, body: str = "") -> None:
    """Tell moto's server to change its ways."""
    host, _, path = url.removeprefix("http://").partition("/")
    connection = HTTPConnection(host)
    connection.request("POST", f"/{path}", body, {"Content-Type": "text/plain"})
    assert connection.getresponse().status == 200
    connection.close()


@pytest.fixture
def options(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Options for the store, empty but for a bucket; credentials come from the environment."""
    for name, value in {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    post(f"{endpoint}/moto-api/reset")
    found = parse_storage_options([f"client_kwargs.endpoint_url={endpoint}"], {})
    place_of("s3://bucket", found).fs.mkdir("bucket")
    return found


def test_a_series_on_s3_is_found_and_read(options: dict[str, Any]) -> None:
    """Folder, glob, index and file give the same logs; plain ones are read by range, compressed ones through."""
    write_file("s3://bucket/logs/b.000009", TEXT, options)
    write_file("s3://bucket/logs/b.000010.gz", gzip.compress(TEXT), options)
    write_file("s3://bucket/logs/b.index", b"/var/lib/mysql/b.000009\n/var/lib/mysql/b.000010\n", options)
    found = find_logs(["s3://bucket/logs"], options)
    assert ["s3://bucket/logs/b.000009", "s3://bucket/logs/b.000010.gz"] == [file.url for file in found]
    for url in ("s3://bucket/logs/", "s3://bucket/logs/b.0*", "s3://bucket/l*s/*", "s3://bucket/logs/b.index"):
        assert found == find_logs([url], options), url
    for file in found:
        assert TEXT[5000:9000] == b"".join(read_blocks(file, options, start=5000, stop=9000, block_size=777))
        assert TEXT == b"".join(read_blocks(file, options, block_size=100_000))
        assert (TEXT[:4], len(TEXT)) == (head(file, options, 4), size_of(file, options))
        assert [] == list(read_blocks(file, options, start=len(TEXT)))


def test_a_listing_is_never_an_old_one(options: dict[str, Any]) -> None:
    """What another process wrote or removed in between is seen."""
    write_file("s3://bucket/logs/b.000001", b"1", options)
    assert len(find_logs(["s3://bucket/logs"], options)) == 1
    other = fsspec.filesystem("s3", skip_instance_cache=True, **options)
    other.pipe_file("bucket/logs/b.000003", b"3")
    with pytest.raises(LogGap):
        find_logs(["s3://bucket/logs"], options)
    other.rm_file("bucket/logs/b.000003")
    assert (["b.000001"], False) == (list_folder("s3://bucket/logs", options), exists("s3://bucket/logs/b.000003", options))


@pytest.fixture
def asked(options: dict[str, Any]) -> Iterator[list[tuple[str, str, str]]]:
    """All requests from here on: method, what is asked for, range."""
    requests: list[tuple[str, str, str]] = []

    def note(request: Any, **_: Any) -> None:
        ranged = request.headers.get("Range", b"")
        url = urlsplit(request.url)
        requests.append((request.method, parse_qs(url.query).get("prefix", [url.path])[0], ranged.decode() if ranged else ""))

    events = place_of("s3://bucket", options).fs.s3.meta.events
    events.register("before-send.s3", note, unique_id="noted")
    yield requests
    events.unregister("before-send.s3", note, unique_id="noted")


def test_a_window_asks_for_its_bytes_only(options: dict[str, Any], asked: list[tuple[str, str, str]]) -> None:
    """At the end of an object, a head, and all of one: no byte is asked for twice."""
    data = os.urandom(5 << 20)
    write_file("s3://bucket/logs/b.000001", data, options)
    (file,) = find_logs(["s3://bucket/logs"], options)
    asked.clear()
    assert data[-1000:] == b"".join(read_blocks(file, options, start=len(data) - 1000))
    assert [f"bytes={len(data) - 1000}-{len(data) - 1}"] == [ranged for _, _, ranged in asked if ranged]
    asked.clear()
    assert data[:19] == head(file, options, 19)
    assert ["bytes=0-18"] == [ranged for _, _, ranged in asked if ranged]
    asked.clear()
    assert data == b"".join(read_blocks(file, options))
    edges = (0, 1 << 20, 3 << 20, 5 << 20)
    assert [f"bytes={start}-{stop - 1}" for start, stop in pairwise(edges)] == [ranged for _, _, ranged in asked if ranged]


@pytest.mark.slow
def test_a_series_of_10000_objects_is_listed_by_pages(options: dict[str, Any], asked: list[tuple[str, str, str]]) -> None:
    """A thousand a page; no object is asked for by itself, and an index costs its own reading more."""
    (backend,) = [account["aws"] for account in s3_models.s3_backends.values()]
    names = [f"b.{number:06d}" for number in range(1, 10_001)]
    for name in names:
        backend.put_object("bucket", f"logs/{name}", b"")
    write_file("s3://bucket/logs/b.index", "\n".join(names).encode(), options)
    for url, most in (("s3://bucket/logs", 14), ("s3://bucket/logs/b.*", 16), ("s3://bucket/logs/b.index", 14)):
        asked.clear()
        assert names == [file.name for file in find_logs([url], options)], url
        assert len(asked) <= most, url
        assert not [path for _, path, _ in asked if "b.0" in path], url


def test_many_folders_are_listed(options: dict[str, Any]) -> None:
    """In whatever order the store answers, the logs come in the order given."""
    for number in range(20):
        write_file(f"s3://bucket/{number}/x{number:02d}.000001", b"1", options)
    urls = [f"s3://bucket/{number}" for number in range(20)]
    assert [f"x{number:02d}.000001" for number in range(20)] == [file.name for file in find_logs(urls, options)]
    assert find_logs(urls, options) == find_logs([*urls, *urls], options)
    with pytest.raises(StorageError, match="bucket/20: no such file or folder"):
        find_logs([*urls, "s3://bucket/20"], options)


def test_an_object_replaced_while_read_is_never_mixed_with_the_new_one(options: dict[str, Any]) -> None:
    """The store itself compares the ETag."""
    write_file("s3://bucket/logs/b.000001", bytes(20 << 20), options)
    blocks = read_blocks(find_logs(["s3://bucket/logs"], options)[0], options)
    assert len(next(blocks)) == 1 << 20
    write_file("s3://bucket/logs/b.000001", b"\1" * (20 << 20), options)
    with pytest.raises(StorageError, match="was replaced while being read"):
        for block in blocks:
            assert bytes(len(block)) == block


def test_an_archive_in_a_bucket_is_read(options: dict[str, Any], asked: list[tuple[str, str, str]]) -> None:
    """With the options of the store, and by range."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("logs/b.000001", os.urandom(12 << 20))
        archive.writestr("logs/b.000002", TEXT)
    write_file("s3://bucket/a.zip", stream.getvalue(), options)
    asked.clear()
    files = find_logs(["zip://logs::s3://bucket/a.zip"], options)
    assert ["b.000001", "b.000002"] == [file.name for file in files]
    assert TEXT == b"".join(read_blocks(files[1], options))
    ranges = [ranged.removeprefix("bytes=").split("-") for _, _, ranged in asked if ranged]
    assert sum(int(last) + 1 - int(first) for first, last in ranges) < 4 << 20


def test_an_object_removed_while_read_has_vanished(options: dict[str, Any]) -> None:
    """What was read before stays read."""
    write_file("s3://bucket/logs/b.000001", bytes(20 << 20), options)
    blocks = read_blocks(find_logs(["s3://bucket/logs"], options)[0], options)
    assert len(next(blocks)) == 1 << 20
    remove_folder("s3://bucket/logs", options)
    with pytest.raises(StorageError, match=r"vanished while being read \(purged\?\)"):
        list(blocks)


def test_plans_live_on_s3(options: dict[str, Any]) -> None:
    """Files are written, read, listed and removed; the bucket cannot be."""
    plan = "s3://bucket/plans/one"
    writable("s3://bucket/plans", options)
    assert (False, []) == (exists(plan, options), list_folder(plan, options))
    write_file(f"{plan}/manifest.json", b"{}", options)
    write_file(f"{plan}/steps/1", b"", options)
    assert (True, ["manifest.json", "steps"]) == (exists(plan, options), list_folder(plan, options))
    assert (b"{}", b"") == (read_file(f"{plan}/manifest.json", options, 2), read_file(f"{plan}/steps/1", options, 0))
    remove_folder(plan, options)
    assert (False, []) == (exists(plan, options), list_folder("s3://bucket/plans", options))


def test_exactly_one_of_many_writers_wins(options: dict[str, Any]) -> None:
    """The store decides, by If-None-Match."""
    count, barrier, answers = 6, Barrier(6), []

    def write(number: int) -> None:
        barrier.wait()
        answers.append((write_exclusively("s3://bucket/manifest", b"%d" % number, options), number))

    threads = [Thread(target=write, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [number for won, number in answers if won]
    assert (1, count) == (len(winners), len(answers))
    assert b"%d" % winners[0] == read_file("s3://bucket/manifest", options)
    assert not write_exclusively("s3://bucket/manifest", b"late", options)


MISSING = [
    (lambda options: find_logs(["s3://nowhere/logs"], options), "no bucket is called 'nowhere'"),
    (lambda options: find_logs(["s3://nowhere/logs/*"], options), "no bucket is called 'nowhere'"),
    (lambda options: find_logs(["s3://bucket/logs/b.000001"], options), "no such file or folder"),
    (lambda options: find_logs(["s3://bucket/logs/*"], options), "no log matches"),
    (lambda options: find_logs(["s3://Not_A_Bucket!/logs"], options), "does not understand the URL"),
    (lambda options: write_file("s3://nowhere/x", b"", options), "NoSuchBucket"),
    (lambda options: write_exclusively("s3://nowhere/x", b"", options), "NoSuchBucket"),
    (lambda options: writable("s3://nowhere", options), "NoSuchBucket"),
    (lambda options: read_file("s3://bucket/x", options), "no such file"),
    (lambda options: find_logs(["s3://bucket/x"], {**options, "no_such_option": 1}), "a storage option"),
]


@pytest.mark.parametrize(("act", "says"), MISSING)
def test_what_is_missing_on_s3_is_told(options: dict[str, Any], act: Callable[[dict[str, Any]], object], says: str) -> None:
    """Bucket, object and option are told apart, and no bucket is made by the way."""
    with pytest.raises(StorageError, match=says):
        act(options)
    assert ["bucket"] == place_of("s3://", options).fs.ls("")


EVERY_WAY = [
    lambda options: find_logs(["s3://bucket/logs"], options),
    lambda options: find_logs(["s3://bucket/logs/*"], options),
    lambda options: exists("s3://bucket/x", options),
    lambda options: list_folder("s3://bucket/x", options),
    lambda options: read_file("s3://bucket/x", options),
    lambda options: write_file("s3://bucket/x", b"", options),
    lambda options: write_exclusively("s3://bucket/x", b"", options),
    lambda options: remove_folder("s3://bucket/x", options),
    lambda options: writable("s3://bucket/x", options),
]


def authenticate(endpoint: str, *, after: float) -> None:
    """Let the store look at credentials after this many requests."""
    post(f"{endpoint}/moto-api/reset-auth", str(after))


@pytest.mark.parametrize("act", EVERY_WAY)
def test_wrong_credentials_are_a_storage_error_without_the_secret(
    endpoint: str, options: dict[str, Any], act: Callable[[dict[str, Any]], object]
) -> None:
    """The store refuses them, and the error shows neither key nor secret."""
    authenticate(endpoint, after=0)
    try:
        with pytest.raises(StorageError, match="no permission") as caught:
            act({**options, "key": "AKIAWRONG", "secret": "hunter2hunter2"})
    finally:
        authenticate(endpoint, after=float("inf"))
    assert "hunter2" not in repr(caught.value)
    assert "AKIA" not in repr(caught.value)
    assert caught.value.__cause__ is None


def test_no_credentials_are_a_storage_error(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """The hint names the environment variables."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(StorageError, match=r"no credentials.*AWS_ACCESS_KEY_ID"):
        find_logs(["s3://bucket/logs"], {**options, "use_ssl": False})


@pytest.fixture(scope="module")
def dead_endpoint() -> Iterator[str]:
    """A URL where nobody listens."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{nobody.getsockname()[1]}"


@pytest.mark.usefixtures("options")
@pytest.mark.parametrize("act", EVERY_WAY)
def test_a_store_that_is_down_is_a_storage_error(dead_endpoint: str, act: Callable[[dict[str, Any]], object]) -> None:
    """Whatever is asked of it."""
    with pytest.raises(StorageError, match="cannot be reached"):
        act({"client_kwargs": {"endpoint_url": dead_endpoint}})


@pytest.mark.usefixtures("options")
def test_a_store_that_never_answers_is_given_up() -> None:
    """Attempts are few, and the user's own timeout holds."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(50)
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(StorageError, match="cannot be reached"):
            find_logs(["s3://bucket/logs"], {"client_kwargs": {"endpoint_url": endpoint}, "config_kwargs": {"read_timeout": 0.1}})
        silent.settimeout(0)
        attempts = 0
        try:
            while True:
                silent.accept()[0].close()
                attempts += 1
        except BlockingIOError:
            pass
    assert 1 <= attempts <= 4
