"""Ranges of files that grow, shrink, vanish and are replaced: never bytes of two files, never more asked than needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
import os
from pathlib import Path
import threading
from typing import Any, ClassVar
import uuid

import fsspec
from fsspec.spec import AbstractBufferedFile, AbstractFileSystem
from hypothesis import given, strategies as st
import pytest

from dblog_tasks.errors import StorageError
from dblog_tasks.storage import find_logs, read_blocks, read_file, write_file
from dblog_tasks.storage.ranges import ahead
from tests.examples import examples

TEXT = b"".join(b"%d times %d\n" % (number, number * 7919 % 1013) for number in range(400_000))
BLOCK = 1 << 16


class Requests(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """A store that is read by requests for ranges, as most clouds are, and counts them; a file's version is its time."""

    protocol = "requests"
    cachable = False
    files: ClassVar[dict[str, tuple[bytes, int]]] = {}
    ranges: ClassVar[list[tuple[int, int]]] = []

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Tell size and time."""
        path = self._strip_protocol(path)
        if path not in self.files:
            raise FileNotFoundError(path)
        data, time = self.files[path]
        return {"name": path, "size": len(data), "type": "file", "mtime": time}

    def _open(self, path: str, mode: str = "rb", block_size: int | None = None, **options: Any) -> Any:
        return _RequestedFile(self, path, mode, block_size or 5 << 20, **options)


class _RequestedFile(AbstractBufferedFile):  # type: ignore[misc]  # fsspec has no types
    def _fetch_range(self, start: int, end: int) -> bytes:
        Requests.ranges.append((start, end))
        if self.path not in Requests.files:
            raise FileNotFoundError(self.path)
        return Requests.files[self.path][0][start:end]


@pytest.fixture(scope="module", autouse=True)
def _store() -> None:
    fsspec.register_implementation("requests", Requests, clobber=True)


class Stored:
    """One log in one store, and how others change it."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind, self.path = kind, folder / "b.000001"
        self.url = {"local": str(self.path), "requests": f"requests://{uuid.uuid4()}/b.000001"}[kind]
        self.key = self.url.removeprefix("requests://")
        self.time = 0
        self.put(TEXT)
        Requests.ranges.clear()

    def put(self, data: bytes) -> None:
        """Write over the file as it lies there."""
        self.time += 1
        if self.kind == "local":
            with self.path.open("r+b" if self.path.exists() else "wb") as stream:
                stream.write(data)
                stream.truncate()
            os.utime(self.path, ns=(self.time, self.time))
        else:
            Requests.files[self.key] = data, self.time

    def blocks(self, **window: Any) -> Iterator[bytes]:
        """Read it."""
        (file,) = find_logs([self.url], {})
        return read_blocks(file, {}, **window)


@pytest.fixture(params=["local", "requests"])
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Stored:
    """A log on a local disk, and in a store that is read by requests."""
    return Stored(request.param, tmp_path)


CHANGES: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("cut", lambda data: data[: len(data) // 2]),
    ("emptied", lambda data: b""),
    ("other content of the same length", lambda data: data[::-1]),
    ("other content, longer", lambda data: data[::-1] + data),
    ("other content, shorter", lambda data: data[-BLOCK * 8 :]),
]


@pytest.mark.parametrize(("change", "others"), CHANGES)
def test_a_file_written_over_while_read_is_never_mixed(stored: Stored, change: str, others: Callable[[bytes], bytes]) -> None:
    """An error comes instead of the first byte of the other content."""
    blocks = stored.blocks(block_size=BLOCK)
    found = next(blocks)
    stored.put(others(TEXT))
    with pytest.raises(StorageError, match="was replaced while being read"):
        for block in blocks:
            found += block
    assert TEXT.startswith(found)


def test_a_file_that_grows_while_read_ends_where_it_ended(stored: Stored) -> None:
    """Also when its first bytes are changed to mark it as closed; a second reading finds the rest."""
    blocks = stored.blocks(block_size=BLOCK)
    found = next(blocks)
    longer = TEXT[:21] + b"\0" + TEXT[22:] + b"more"
    stored.put(longer)
    assert TEXT == found + b"".join(blocks)
    assert longer == b"".join(stored.blocks())


def test_a_local_file_renamed_over_is_read_to_its_end(tmp_path: Path) -> None:
    """The one that was opened is held."""
    stored = Stored("local", tmp_path)
    blocks = stored.blocks(block_size=BLOCK)
    found = next(blocks)
    write_file(stored.url, TEXT[::-1], {})  # writes beside it and renames
    assert TEXT == found + b"".join(blocks)


def test_an_object_removed_while_read_has_vanished(tmp_path: Path) -> None:
    """A store without open files has nothing left."""
    stored = Stored("requests", tmp_path)
    blocks = stored.blocks(block_size=BLOCK)
    next(blocks)
    del Requests.files[stored.key]
    with pytest.raises(StorageError, match="vanished while being read"):
        list(blocks)


@given(st.integers(0, len(TEXT) + 10), st.none() | st.integers(0, len(TEXT) + 10), st.integers(5000, 1 << 21))
@examples(20)
def test_a_store_is_asked_for_exactly_the_window(start: int, stop: int | None, block_size: int) -> None:
    """No byte outside of it, none twice, and few requests."""
    Requests.files["w/b.000001"] = TEXT, 1
    (file,) = find_logs(["requests://w/b.000001"], {})
    Requests.ranges.clear()
    assert TEXT[start:stop] == b"".join(read_blocks(file, {}, start=start, stop=stop, block_size=block_size))
    asked = Requests.ranges
    assert len(TEXT[start:stop]) == sum(end - begin for begin, end in asked)
    assert all(end == begin for (_, end), (begin, _) in pairwise(asked))
    assert len(asked) <= (len(TEXT[start:stop]) // block_size).bit_length() + 1


def test_the_end_of_a_big_local_file_is_all_that_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One read of the window out of 1 GiB."""
    with (tmp_path / "b.000001").open("wb") as stream:
        stream.seek(1 << 30)
        stream.write(b"the end")
    reads: list[tuple[int, int]] = []
    pread = os.pread

    def noted(file: int, size: int, at: int) -> bytes:
        reads.append((size, at))
        return pread(file, size, at)

    monkeypatch.setattr(os, "pread", noted)
    (file,) = find_logs([str(tmp_path)], {})
    assert b"the end" == b"".join(read_blocks(file, {}, start=1 << 30))
    assert [(7, 1 << 30)] == reads


def test_a_pipe_is_read_forward(tmp_path: Path) -> None:
    """A schema may come out of one; it has no length."""
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes(TEXT))
    writer.start()
    assert TEXT == read_file(str(tmp_path / "pipe"), {})
    writer.join()


def test_reading_ahead_keeps_order_and_errors() -> None:
    """What was fetched before an error comes out first."""

    def fetch(wanted: tuple[int, int]) -> bytes:
        if wanted[0] == 3:
            raise StorageError("lost")
        return bytes(wanted)

    found = []
    with pytest.raises(StorageError, match="lost"):
        for block in ahead(fetch, ((number, number + 1) for number in range(9))):
            found.append(block)
    assert [b"\0\1", b"\1\2", b"\2\3"] == found
