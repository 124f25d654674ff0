"""Whole files and folders, on a local disk and in memory."""

from __future__ import annotations

from collections.abc import Callable
import os
from pathlib import Path
from threading import Barrier, Thread
import uuid

from hypothesis import given, strategies as st
import pytest

from dblog_tasks.errors import InvalidInput, StorageError
from dblog_tasks.storage import exists, join, list_folder, read_file, remove_folder, writable, write_exclusively, write_file


@pytest.fixture(params=["local", "file", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder of its own in each kind of store."""
    return {"local": str(tmp_path), "file": f"file://{tmp_path}", "memory": f"memory://{uuid.uuid4()}"}[request.param]


JOINED = [
    (("plans",), "plans"),
    (("plans", "a", "b"), "plans/a/b"),
    (("plans/", "/a/", "", "b/c"), "plans/a/b/c"),
    (("", "a"), "a"),
    (("/", "a"), "/a"),
    (("s3://bucket", "a"), "s3://bucket/a"),
    (("s3://", "bucket", "a"), "s3://bucket/a"),
    (("zip://logs::s3://b/x.zip", "a"), "zip://logs/a::s3://b/x.zip"),
    (("zip://::x.zip", "a"), "zip://a::x.zip"),
    (("simplecache::s3://b/logs", "a"), "simplecache::s3://b/logs/a"),
]


@pytest.mark.parametrize(("parts", "expected"), JOINED)
def test_join_goes_below_a_url(parts: tuple[str, ...], expected: str) -> None:
    """Slashes are single, and a chained URL is extended at its first path."""
    assert expected == join(*parts)


def test_what_is_written_is_read_listed_and_removed(folder: str) -> None:
    """Folders are made as needed, files replaced whole, and a removed folder is no more."""
    plan = join(folder, "plans", "one")
    assert (False, []) == (exists(plan, {}), list_folder(plan, {}))
    for data in (b"first", b"", b"second"):
        write_file(join(plan, "manifest.json"), data, {})
        assert data == read_file(join(plan, "manifest.json"), {})
    write_file(join(plan, "steps", "1"), b"x", {})
    assert (True, ["manifest.json", "steps"]) == (exists(plan, {}), list_folder(plan, {}))
    remove_folder(plan, {})
    remove_folder(plan, {})
    assert (False, []) == (exists(plan, {}), list_folder(plan, {}))


@given(st.binary(max_size=5000), st.none() | st.integers(0, 5000))
def test_a_limit_refuses_and_never_cuts(data: bytes, limit: int | None) -> None:
    """A file is given whole or not at all."""
    write_file("memory://limits/x", data, {})
    if limit is not None and len(data) > limit:
        with pytest.raises(StorageError, match=f"more than the {limit} bytes"):
            read_file("memory://limits/x", {}, limit)
    else:
        assert data == read_file("memory://limits/x", {}, limit)


def test_a_file_that_is_not_there_cannot_be_read(folder: str) -> None:
    """The error says so, with the URL."""
    with pytest.raises(StorageError, match="x/y: no such file"):
        read_file(f"{folder}/x/y", {})


def test_exclusive_writing_makes_a_file_once(folder: str) -> None:
    """Who comes later gets False, and the file stays as it was."""
    url = join(folder, "plan", "manifest.json")
    assert write_exclusively(url, b"one", {})
    assert not write_exclusively(url, b"two", {})
    assert (b"one", ["manifest.json"]) == (read_file(url, {}), list_folder(join(folder, "plan"), {}))


def race(count: int, write: Callable[[int], bool]) -> list[int]:
    """Call `write` in as many threads at once, and return the numbers of those that got True."""
    barrier, winners = Barrier(count), []

    def attempt(number: int) -> None:
        barrier.wait()
        if write(number):
            winners.append(number)

    threads = [Thread(target=attempt, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return winners


def test_exactly_one_of_many_writers_wins(folder: str) -> None:
    """The content is the winner's, whole."""
    for number in range(20):
        url = join(folder, f"race-{number}", "manifest.json")
        winners = race(8, lambda writer, url=url: write_exclusively(url, b"%d" % writer * 10000, {}))  # type: ignore[misc]
        assert len(winners) == 1
        assert b"%d" % winners[0] * 10000 == read_file(url, {})


def test_without_hard_links_a_file_is_still_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some file systems have none."""

    def refuse(*_: object) -> None:
        raise PermissionError(1, "no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    winners = race(8, lambda writer: write_exclusively(f"{tmp_path}/x", b"%d" % writer, {}))
    assert [read_file(f"{tmp_path}/x", {})] == [b"%d" % winner for winner in winners]
    assert ["x"] == list_folder(str(tmp_path), {})


def test_readers_never_find_half_a_file(tmp_path: Path) -> None:
    """While a file is replaced over and over, it is always one of the two."""
    contents = [bytes([number]) * 300_000 for number in (1, 2)]
    write_file(f"{tmp_path}/x", contents[0], {})

    def write() -> None:
        for number in range(40):
            write_file(f"{tmp_path}/x", contents[number % 2], {})

    writer = Thread(target=write)
    writer.start()
    while writer.is_alive():
        assert read_file(f"{tmp_path}/x", {}) in contents
        assert ["x"] == list_folder(str(tmp_path), {})
    writer.join()


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    """No space left has its own words."""
    (tmp_path / "full").symlink_to("/dev/full")
    with pytest.raises(StorageError, match="cannot be written: no space left"):
        write_file(f"{tmp_path}/full", b"x" * 100_000, {})
    assert [tmp_path / "full"] == list(tmp_path.iterdir())


def test_a_device_is_written_into_not_replaced() -> None:
    """The device is still there."""
    write_file("/dev/null", b"x", {})
    assert not Path("/dev/null").is_file()


IN_THE_WAY = [
    lambda url: write_file(f"{url}/x", b"", {}),
    lambda url: write_file(f"{url}/x/y", b"", {}),
    lambda url: write_exclusively(f"{url}/x", b"", {}),
    lambda url: writable(url, {}),
    lambda url: writable(f"{url}/x", {}),
]


@pytest.mark.parametrize("write", IN_THE_WAY)
def test_a_file_where_a_folder_should_be_is_a_storage_error(tmp_path: Path, write: Callable[[str], object]) -> None:
    """Nothing else comes through, and the file stays."""
    (tmp_path / "file").write_bytes(b"stays")
    with pytest.raises(StorageError, match="cannot be written"):
        write(f"{tmp_path}/file")
    assert b"stays" == (tmp_path / "file").read_bytes()


def test_a_folder_where_a_file_should_be_is_a_storage_error(folder: str) -> None:
    """It is not replaced."""
    write_file(f"{folder}/x/y", b"stays", {})
    if not folder.startswith("memory"):
        with pytest.raises(StorageError, match="cannot be written"):
            write_file(f"{folder}/x", b"", {})
        with pytest.raises(StorageError, match="cannot be opened"):
            read_file(f"{folder}/x", {})
    assert not write_exclusively(f"{folder}/x", b"", {})
    assert b"stays" == read_file(f"{folder}/x/y", {})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_not_writable(tmp_path: Path) -> None:
    """The check and the writing agree."""
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="no permission"):
        writable(f"{tmp_path}/new", {})
    with pytest.raises(StorageError, match="no permission"):
        write_file(f"{tmp_path}/new", b"", {})


def test_the_check_for_writing_leaves_nothing(folder: str) -> None:
    """Neither folders nor files are there afterwards that were not before."""
    write_file(join(folder, "x"), b"", {})
    writable(folder, {})
    writable(join(folder, "new", "folder"), {})
    assert ["x"] == list_folder(folder, {})


@pytest.mark.parametrize("url", ["/", "memory://", "file:///"])
def test_a_whole_store_is_not_removed(url: str) -> None:
    """A slip in a setting must not empty a disk."""
    with pytest.raises(InvalidInput):
        remove_folder(url, {})


def test_a_file_is_not_removed_as_a_folder(folder: str) -> None:
    """Only folders are."""
    write_file(join(folder, "x"), b"stays", {})
    with pytest.raises(InvalidInput):
        remove_folder(join(folder, "x"), {})
    assert b"stays" == read_file(join(folder, "x"), {})
