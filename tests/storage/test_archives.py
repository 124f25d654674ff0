"""Logs in zip and tar files, in any store: folders, globs, single members, and archives that are damaged or replaced."""

from __future__ import annotations

import bz2
from collections.abc import Callable, Iterator
import gzip
import io
import lzma
import os
from pathlib import Path
import tarfile
from typing import Any
import uuid
import zipfile

from hypothesis import given, strategies as st
import pytest
import zstandard

from dblog_tasks.errors import DblogError, InvalidInput, LogGap, StorageError, UnsupportedLog
from dblog_tasks.storage import find_logs, head, join, list_folder, read_blocks, read_file, size_of, writable, write_file
from tests.storage.http_server import Site, serving

TEXT = b"".join(b"%d times %d\n" % (number, number * 7919 % 1013) for number in range(40_000))
MEMBERS = {"server/b.000001": TEXT, "server/b.000002.gz": gzip.compress(TEXT[::-1]), "server/b.index": b"./b.000001\n./b.000002\n"}


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a zip file."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def tarred(members: dict[str, bytes]) -> bytes:
    """Return a tar file."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return stream.getvalue()


KINDS: dict[str, Callable[[dict[str, bytes]], bytes]] = {
    "a.zip": zipped,
    "stored.zip": lambda members: zipped(members, zipfile.ZIP_STORED),
    "a.tar": tarred,
    "a.tar.gz": lambda members: gzip.compress(tarred(members)),
    "a.tgz": lambda members: gzip.compress(tarred(members)),
    "a.tar.bz2": lambda members: bz2.compress(tarred(members)),
    "a.tar.xz": lambda members: lzma.compress(tarred(members)),
    "a.tar.zst": lambda members: zstandard.compress(tarred(members)),
}


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """An HTTP server."""
    pytest.importorskip("aiohttp")
    with serving() as found:
        yield found


@pytest.fixture(params=["local", "file", "memory", "http", "zip"])
def put(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str, bytes], str]:
    """How to put a file into a kind of store and get its URL."""

    def into_http(name: str, data: bytes) -> str:
        site: Site = request.getfixturevalue("site")
        site.files[f"/{name}"] = data
        return f"{site.url}/{name}"

    def into_zip(name: str, data: bytes) -> str:
        (tmp_path / "outer.zip").write_bytes(zipped({f"deep/{name}": data}))
        return f"zip://deep/{name}::{tmp_path}/outer.zip"

    def into_store(name: str, data: bytes) -> str:
        url = {"local": f"{tmp_path}/{name}", "file": f"file://{tmp_path}/{name}", "memory": f"memory://{uuid.uuid4()}/{name}"}[
            request.param
        ]
        write_file(url, data, {})
        return url

    return {"http": into_http, "zip": into_zip}.get(request.param, into_store)


@pytest.mark.parametrize("name", KINDS)
def test_a_series_in_an_archive_is_found_and_read(put: Callable[[str, bytes], str], name: str) -> None:
    """Folder, glob, index and files give the same logs, whatever store the archive is in."""
    archive, protocol = put(name, KINDS[name](MEMBERS)), "tar" if "t" in name.partition(".")[2] else "zip"
    found = find_logs([f"{protocol}://server::{archive}"], {})
    assert ["b.000001", "b.000002"] == [file.name for file in found]
    assert [f"{protocol}://server/b.000001::{archive}", f"{protocol}://server/b.000002.gz::{archive}"] == [file.url for file in found]
    assert [len(TEXT), len(MEMBERS["server/b.000002.gz"])] == [file.size for file in found]
    for url in (
        [f"{protocol}://server/::{archive}"],
        [f"{protocol}://server/b.0*::{archive}"],
        [f"{protocol}://s*r/b.0*::{archive}"],
        [f"{protocol}://server/b.index::{archive}"],
        [file.url for file in found] + [f"{protocol}://server::{archive}"],
    ):
        assert found == find_logs(url, {}), url
    one, two = found
    assert TEXT[::-1] == b"".join(read_blocks(two, {}))
    assert TEXT == b"".join(read_blocks(one, {}, block_size=10_000))
    assert TEXT[5000:9000] == b"".join(read_blocks(one, {}, start=5000, stop=9000, block_size=777))
    assert (TEXT[:4], len(TEXT)) == (head(one, {}, 4), size_of(one, {}))


@pytest.mark.parametrize("url", ["zip::{}", "zip://::{}", "zip:///::{}", "zip://*::{}"])
def test_a_series_at_the_top_of_an_archive_is_found(tmp_path: Path, url: str) -> None:
    """The top is named by nothing, with or without slashes."""
    (tmp_path / "a.zip").write_bytes(zipped({"b.000001": TEXT, "b.000002": TEXT, "readme.txt": b""}))
    found = find_logs([url.format(tmp_path / "a.zip")], {})
    assert [TEXT, TEXT] == [b"".join(read_blocks(file, {})) for file in found]


def test_two_readers_of_one_archive_do_not_disturb_each_other(put: Callable[[str, bytes], str]) -> None:
    """Blocks of two members in turn, from one archive that is open once."""
    for name in ("a.zip", "a.tar", "a.tar.gz"):
        archive = put(name, KINDS[name]({"b.000001": TEXT, "b.000002": TEXT[::-1]}))
        files = find_logs([f"{'zip' if name == 'a.zip' else 'tar'}://::{archive}"], {})
        pairs = zip(*(read_blocks(file, {}, block_size=50_000) for file in files), strict=True)
        one, two = (b"".join(blocks) for blocks in zip(*pairs, strict=True))
        assert (TEXT, TEXT[::-1]) == (one, two)


def test_an_archive_of_10000_files_is_opened_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many of them are read; and again when it is another file."""
    path = tmp_path / "a.zip"
    path.write_bytes(zipped({f"b.{number:06d}": b"%d" % number for number in range(1, 10_001)}, zipfile.ZIP_STORED))
    opened: list[Any] = []
    start: Any = zipfile.ZipFile.__init__

    def noted(archive: zipfile.ZipFile, *args: Any, **more: Any) -> None:
        opened.append(archive)
        start(archive, *args, **more)

    monkeypatch.setattr(zipfile.ZipFile, "__init__", noted)
    found = find_logs([f"zip://::{path}"], {})
    assert [b"%d" % number for number in range(1, 101)] == [head(file, {}, 9) for file in found[:100]]
    assert (10_000, 1) == (len(found), len(opened))
    write_file(str(path), zipped({"b.000001": b"new"}), {})
    assert [b"new"] == [head(file, {}, 9) for file in find_logs([f"zip://::{path}"], {})]


def test_a_small_member_of_a_big_archive_costs_little(site: Site) -> None:
    """The end, where a zip file lists its members, and what is around the member."""
    noise = bytes(os.urandom(1 << 20)) * 20
    site.files["/big.zip"] = zipped({"b.000001": noise, "b.000002": b"small", "b.000003": noise}, zipfile.ZIP_STORED)
    files = find_logs([f"zip://::{site.url}/big.zip"], {})
    site.asked.clear()
    assert b"small" == b"".join(read_blocks(files[1], {}))
    assert site.sent() < 3 << 20


@pytest.mark.parametrize("kind", ["local", "http"])
def test_an_archive_replaced_while_read_is_never_mixed(site: Site, tmp_path: Path, kind: str) -> None:
    """A local one renamed over is held; one written over, or another one on a server, is an error."""
    members = {"b.000001": os.urandom(8 << 20)}
    site.files["/r.zip"] = zipped(members, zipfile.ZIP_STORED)
    path = tmp_path / "r.zip"
    path.write_bytes(site.files["/r.zip"])
    (file,) = find_logs([f"zip://b.000001::{path if kind == 'local' else site.url + '/r.zip'}"], {})
    blocks = read_blocks(file, {}, block_size=1 << 16)
    found = next(blocks)
    site.files["/r.zip"] = site.files["/r.zip"][::-1]
    with path.open("r+b") as stream:
        stream.write(site.files["/r.zip"])
    os.utime(path, ns=(1, 1))
    with pytest.raises(StorageError, match="was replaced while being read"):
        for block in blocks:
            found += block
    assert members["b.000001"].startswith(found)


def encrypted() -> bytes:
    """Return a zip file whose member says that it is encrypted."""
    data = bytearray(zipped({"b.000001": TEXT}))
    data[6] |= 1
    data[data.rindex(b"PK\1\2") + 8] |= 1
    return bytes(data)


def wrong_sum() -> bytes:
    """Return a zip file with a flipped bit in the content of its member."""
    data = bytearray(zipped({"b.000001": TEXT}, zipfile.ZIP_STORED))
    data[1000] ^= 1
    return bytes(data)


REFUSED = [
    ("zip://b.000001::{}", b"no archive", StorageError, "the archive is damaged or cut"),
    ("zip://b.000001::{}", b"", StorageError, "the archive is damaged or cut"),
    ("zip://b.000001::{}", zipped({"b.000001": TEXT})[:-10], StorageError, "the archive is damaged or cut"),
    ("zip://b.000001::{}", wrong_sum(), StorageError, "the archive is damaged or cut"),
    ("zip://b.000001::{}", encrypted(), UnsupportedLog, "encrypted in its archive"),
    ("zip://b.000001::{}", zipped({"b.000001": TEXT}, zipfile.ZIP_LZMA), UnsupportedLog, "a method that is not read"),
    ("zip://b.000001::{}", zipped({"b.000001": TEXT}, zipfile.ZIP_BZIP2), UnsupportedLog, "a method that is not read"),
    ("zip://b.000002::{}", zipped({"b.000001": TEXT}), StorageError, "no such file or folder"),
    ("zip://c/*::{}", zipped({"b.000001": TEXT}), StorageError, "no log matches"),
    ("zip://::{}", zipped({"b.000001": TEXT, "b.000003": TEXT}), LogGap, "b.000002"),
    ("zip://::{}", zipped({"b.000001": TEXT, "c.000003": TEXT}), InvalidInput, "more than one series"),
    ("tar://::{}", b"no archive", StorageError, "the archive is damaged or cut"),
    ("tar://::{}", tarred({"b.000001": TEXT})[:70_000], StorageError, "cannot be opened|replaced|damaged or cut"),
    ("zip://{}", b"", InvalidInput, "zip://MEMBER::ARCHIVE"),
    ("zip://x::{}/no.zip", b"", StorageError, "no such archive"),
    ("{}", zipped({"b.000001": TEXT}), UnsupportedLog, "zip://MEMBER::"),
]


@pytest.mark.parametrize(("url", "data", "kind", "says"), REFUSED)
def test_an_archive_that_cannot_be_read_is_told(tmp_path: Path, url: str, data: bytes, kind: type[DblogError], says: str) -> None:
    """Damage, encryption, other methods and missing members each have their line."""
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(kind, match=says):
        for file in find_logs([url.format(tmp_path / "a.zip")], {}):
            list(read_blocks(file, {}))


@pytest.mark.parametrize("name", ["b.tar", "b.000001.tar.gz", "b.tgz"])
def test_a_tar_file_named_as_a_log_is_told(tmp_path: Path, name: str) -> None:
    """The hint says how to name what is in it."""
    (tmp_path / name).write_bytes(tarred({"b.000001": TEXT}))
    with pytest.raises(UnsupportedLog, match=f"tar://MEMBER::.*{name}"):
        find_logs([str(tmp_path / name)], {})


def test_an_archive_on_a_server_without_ranges_is_copied_first(site: Site) -> None:
    """Its end is needed before its beginning: the error names the way, and the way works."""
    site.files["/n.zip"] = zipped({"b.000001": TEXT})
    site.ranges = False
    try:
        with pytest.raises(StorageError, match="simplecache::"):
            find_logs([f"zip://b.000001::{site.url}/n.zip"], {})
        (file,) = find_logs([f"zip://b.000001::simplecache::{site.url}/n.zip"], {})
        assert TEXT == b"".join(read_blocks(file, {}))
    finally:
        site.ranges = True


def test_options_reach_the_store_of_an_archive(site: Site) -> None:
    """Flat ones, and ones named after its protocol."""
    site.files["/o.zip"] = zipped({"b.000001": TEXT})
    ways: list[dict[str, Any]] = [{"query": "sig=1"}, {"http": {"query": "sig=1"}, "s3": {"anon": True}}]
    for number, options in enumerate(ways):
        site.files[f"/{number}.zip"] = site.files["/o.zip"]
        site.asked.clear()
        (file,) = find_logs([f"zip://b.000001::{site.url}/{number}.zip"], options)
        assert TEXT == b"".join(read_blocks(file, options))
        assert {f"/{number}.zip?sig=1"} == {request.path for request in site.asked}


def test_nothing_is_written_into_an_archive(tmp_path: Path) -> None:
    """A plan needs a folder."""
    (tmp_path / "a.zip").write_bytes(zipped({"x": b"1"}))
    url = f"zip://::{tmp_path}/a.zip"
    with pytest.raises(InvalidInput, match="an archive is only read"):
        write_file(join(url, "y"), b"", {})
    with pytest.raises(InvalidInput, match="an archive is only read"):
        writable(url, {})
    assert (["x"], b"1") == (list_folder(url, {}), read_file(join(url, "x"), {}))


@given(st.sampled_from(sorted(KINDS)), st.integers(0, 3000), st.binary(min_size=1, max_size=3))
def test_a_damaged_archive_gives_its_content_or_a_declared_error(name: str, at: int, patch: bytes) -> None:
    """Wherever the damage is; tar has sums of its headers only."""
    whole = KINDS[name]({"b.000001": b"one", "b.000002": b"two"})
    at %= len(whole)
    write_file(f"memory://damaged/{name}", whole[:at] + patch + whole[at + len(patch) :], {})
    try:
        for file in find_logs([f"{'tar' if 't' in name.partition('.')[2] else 'zip'}://::memory://damaged/{name}"], {}):
            assert len(b"".join(read_blocks(file, {}))) <= 1 << 20
    except DblogError:
        pass
