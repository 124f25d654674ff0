"""Which files make a log, in which order, and their bytes; on a local disk and in memory."""

from __future__ import annotations

import bz2
from collections.abc import Callable
from contextlib import suppress
import gzip
import lzma
import os
from pathlib import Path
import subprocess
import sys
from threading import Event
from typing import Any
import uuid
import zipfile

import fsspec
from hypothesis import given, strategies as st
import pytest
import zstandard

from dblog_tasks.errors import Cancelled, DblogError, InvalidInput, LogGap, MalformedLog, StorageError, TruncatedLog, UnsupportedLog
from dblog_tasks.storage import LogFile, find_logs, head, read_blocks, read_file, size_of, write_file
from dblog_tasks.storage.place import place_of

PACK: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "gz": gzip.compress,
    "zst": zstandard.compress,
    "xz": lzma.compress,
    "bz2": bz2.compress,
}
TEXT = b"".join(b"%d times %d\n" % (number, number * 7919 % 1013) for number in range(20000))


@pytest.fixture(params=["local", "file", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder of its own in each kind of store."""
    return {"local": str(tmp_path), "file": f"file://{tmp_path}", "memory": f"memory://{uuid.uuid4()}"}[request.param]


def fill(folder: str, *names: str, **contents: bytes) -> None:
    """Write files into the folder: their own names where no content is given."""
    for name in names:
        write_file(f"{folder}/{name}", contents.get(name, name.encode()), {})


def names(*urls: str) -> list[str]:
    """Return the names of the logs found, in order."""
    return [file.name for file in find_logs(urls, {})]


FOLDERS = [
    (["b.000010", "b.000009", "b.000011"], ["b.000009", "b.000010", "b.000011"]),
    (["b.1000000", "b.999999"], ["b.999999", "b.1000000"]),
    (["b.000002.gz", "b.000001.zst", "b.000003"], ["b.000001", "b.000002", "b.000003"]),
    (["b.000002.bz2", "b.000001.zstd", "b.000003.xz"], ["b.000001", "b.000002", "b.000003"]),
    (["b.000001", "b.index", ".b.000002", "b.000001.tmp", "b.00001", "notes.txt", "sub/b.000007"], ["b.000001"]),
    (["b.c.000001", "b.c.000002"], ["b.c.000001", "b.c.000002"]),
]


@pytest.mark.parametrize(("files", "expected"), FOLDERS)
def test_a_folder_gives_its_series_in_numeric_order(folder: str, files: list[str], expected: list[str]) -> None:
    """Only members count, compressed or not, and their numbers order them."""
    fill(folder, *files)
    assert expected == names(folder)
    assert expected == names(f"{folder}/")


def test_a_log_file_tells_url_size_and_compression(folder: str) -> None:
    """The size is that of the stored bytes, the name has no suffix, and the URL opens it."""
    packed = gzip.compress(TEXT)
    write_file(f"{folder}/b.000001.gz", packed, {})
    expected = LogFile(f"{folder}/b.000001.gz", "b.000001", len(packed), "gz")
    assert (expected,) == find_logs([f"{folder}/b.000001.gz"], {}) == find_logs([folder], {})
    assert packed == read_file(expected.url, {})


REFUSED_FOLDERS = [
    (["b.000001", "b.000003"], LogGap, "b.000002 is missing after b.000001"),
    (["b.000001", "b.000005.gz"], LogGap, "b.000002 to b.000004 are missing"),
    (["b.000001", "b.000001.gz"], InvalidInput, "are both b.000001"),
    (["b.000001", "c.000001"], InvalidInput, "b, c"),
    (["b.000001", "c.000001", "b.index", "c.index"], InvalidInput, "b, c"),
    (["b.000001.lz4", "b.000002"], UnsupportedLog, "lz4.*\\.gz, \\.zst, \\.zstd, \\.xz, \\.bz2 are read"),
    (["notes.txt", "b.index"], StorageError, "no log in this folder"),
]


@pytest.mark.parametrize(("files", "kind", "says"), REFUSED_FOLDERS)
def test_a_folder_that_is_no_one_log_is_refused(folder: str, files: list[str], kind: type[DblogError], says: str) -> None:
    """Gaps, doubles, mixtures and unreadable members each have their error, and nothing is chosen."""
    fill(folder, *files)
    with pytest.raises(kind, match=says):
        find_logs([folder], {})


def test_a_gap_names_the_missing_file_whole(folder: str) -> None:
    """Number and width are as the server writes them, also where they grow."""
    fill(folder, "b.999999", "b.1000001")
    with pytest.raises(LogGap, match=r"b\.1000000 is missing.*add what is missing"):
        find_logs([folder], {})


def test_an_index_chooses_between_two_series_in_its_folder(folder: str) -> None:
    """A single index says which files are meant, also when the server was renamed in between."""
    fill(folder, "new.000001", "new.000002", "old.000008", "old.000009", "other.000001")
    write_file(f"{folder}/b.index", b"./old.000008\n./old.000009\n./new.000001\n./new.000002\n", {})
    expected = ["old.000008", "old.000009", "new.000001", "new.000002"]
    assert expected == names(folder) == names(f"{folder}/b.index")


INDEXES = [
    b"b.000001\nb.000002\n",
    b"./b.000001\n./b.000002",
    b".\\b.000001\r\n.\\b.000002\r\n",
    b"/no/such/folder/b.000001\n/no/such/folder/b.000002\n",
    b"C:\\data\\b.000001\nC:\\data\\b.000002\n",
    b"\nb.000002\n\nb.000001\nb.000002\n",
]


@pytest.mark.parametrize("content", INDEXES)
def test_an_index_lists_files_beside_it(folder: str, content: bytes) -> None:
    """Relative, dotted, foreign absolute and Windows paths are taken beside the index, compressed files too."""
    fill(folder, "b.000001", "b.000002.zst", "b.000003")
    write_file(f"{folder}/b.index", content, {})
    assert ["b.000001", "b.000002"] == names(f"{folder}/b.index")


def test_an_index_may_point_elsewhere(tmp_path: Path) -> None:
    """An absolute path of this machine, and a path below the index, are followed."""
    fill(str(tmp_path), "there/b.000001", "here/sub/b.000002", "here/b.000001")
    write_file(f"{tmp_path}/here/b.index", f"{tmp_path}/there/b.000001\nsub/b.000002\n".encode(), {})
    found = find_logs([f"{tmp_path}/here/b.index"], {})
    assert [f"{tmp_path}/there/b.000001", f"{tmp_path}/here/sub/b.000002"] == [file.url for file in found]


REFUSED_INDEXES = [
    (b"b.000001\nb.000002\n", StorageError, "b.000002"),
    (b"b.000001\nb.000003\n", LogGap, "b.000002"),
    (b"\n \n", StorageError, "lists no log"),
    (b"b.000001\n\xff\n", InvalidInput, "byte 9 is not UTF-8"),
    (b"b.000001\0\n", StorageError, "is not there"),
]


@pytest.mark.parametrize(("content", "kind", "says"), REFUSED_INDEXES)
def test_an_index_that_does_not_fit_is_refused(folder: str, content: bytes, kind: type[DblogError], says: str) -> None:
    """What it lists must be there, without gaps, and it must be text."""
    fill(folder, "b.000001", "b.000003")
    write_file(f"{folder}/b.index", content, {})
    with pytest.raises(kind, match=says):
        find_logs([f"{folder}/b.index"], {})


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_index_gives_logs_or_a_declared_error(content: bytes) -> None:
    """No content of an index ends in another exception."""
    write_file("memory://fuzz/b.index", content, {})
    write_file("memory://fuzz/b.000001", b"", {})
    with suppress(DblogError):
        assert find_logs(["memory://fuzz/b.index"], {})


def test_a_glob_finds_what_it_matches(folder: str) -> None:
    """Members of a series are preferred to what else matches; without any, all visible files are taken by name."""
    fill(folder, "b.000001", "b.000002.gz", "b.index", "b.notes", ".b.000003", "sub/b.000003", "x.log", "w.log")
    assert ["b.000001", "b.000002"] == names(f"{folder}/b.*")
    assert ["b.000003"] == names(f"{folder}/s?b/b.*")
    assert ["b.000001", "b.000002", "b.000003"] == names(f"{folder}/b.0*", f"{folder}/sub/b*")
    assert ["w.log", "x.log"] == names(f"{folder}/*.log")
    assert head(find_logs([f"{folder}/[x].log"], {})[0], {}, 9) == b"x.log"
    with pytest.raises(StorageError, match="no log matches"):
        find_logs([f"{folder}/z*"], {})


@pytest.mark.parametrize("folder", ["file", "memory"], indirect=True)
def test_a_series_of_10000_files_is_listed_once(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folder, glob or index: one listing of the folder, and no file is asked about by itself."""
    expected = [f"b.{number:06d}" for number in range(1, 10_001)]
    fs, path = fsspec.core.url_to_fs(folder)
    fs.makedirs(path, exist_ok=True)
    for name in expected:
        fs.pipe_file(f"{path}/{name}", b"")
    fs.pipe_file(f"{path}/b.index", "\n".join(expected).encode())
    calls: list[str] = []
    kinds = {type(fs), type(place_of(folder, {}).fs)}  # a local folder may be answered by one or the other
    for kind, method in [(kind, method) for kind in kinds for method in ("ls", "find", "info") if hasattr(kind, method)]:
        whole = getattr(kind, method)

        def noted(self: Any, path: Any, *args: Any, whole: Any = whole, method: str = method, **options: Any) -> Any:
            calls.append(method if isinstance(path, str) else "entry of a listing")
            return whole(self, path, *args, **options)

        monkeypatch.setattr(kind, method, noted)
    for way in ("", "/b.*", "/b.index"):
        calls.clear()
        assert expected == names(f"{folder}{way}")
        assert 1 == len([call for call in calls if call == "ls"]) or "find" in calls
        assert len([call for call in calls if call != "entry of a listing"]) <= 8


def test_a_glob_over_two_series_is_refused(folder: str) -> None:
    """Their order would be a guess."""
    fill(folder, "b.000001", "c.000001")
    with pytest.raises(InvalidInput, match="b, c"):
        find_logs([f"{folder}/*"], {})


def test_a_name_that_looks_like_a_glob_is_a_file_first(folder: str) -> None:
    """A file that is there by this very name is meant."""
    fill(folder, "x[1].log", "x1.log")
    assert ["x[1].log"] == names(f"{folder}/x[1].log")


def test_several_urls_make_one_log(folder: str) -> None:
    """A file named in several ways counts once; series and single files keep the order given."""
    fill(folder, "c.000001", "b.000002", "b.000001", "x.log", "w.log")
    urls = [f"{folder}/x.log", f"{folder}/b.000002", f"{folder}/c.000001", f"{folder}/b.*", f"{folder}/w.log", f"{folder}/x.log"]
    assert ["x.log", "b.000001", "b.000002", "c.000001", "w.log"] == names(*urls)


def test_a_member_in_two_folders_is_refused(folder: str) -> None:
    """Two servers may well have files of the same name."""
    fill(folder, "one/b.000001", "two/b.000001")
    with pytest.raises(InvalidInput, match=r"one/b.000001 and .*two/b.000001 are both b.000001"):
        find_logs([f"{folder}/one", f"{folder}/two"], {})


def test_links_lead_to_one_file(tmp_path: Path) -> None:
    """A symbolic link and its target are the same file; a folder of links is read like one of files."""
    fill(str(tmp_path), "data/b.000001")
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "b.000001").symlink_to(tmp_path / "data" / "b.000001")
    assert ["b.000001"] == names(f"{tmp_path}/links", f"{tmp_path}/data")
    assert find_logs([f"{tmp_path}/links"], {})[0].size == len("data/b.000001")


def test_relative_paths_stay_as_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are relative to the working folder, for files, folders and indexes."""
    fill(str(tmp_path), "logs/b.000001")
    write_file(f"{tmp_path}/logs/b.index", b"./b.000001\n", {})
    monkeypatch.chdir(tmp_path / "logs")
    for url in ("b.000001", ".", "b.index", "*.000001", "../logs", "../logs/b.index"):
        assert ["b.000001"] == names(url), url
    assert find_logs(["b.000001"], {})[0].url == "b.000001"


def test_logs_are_read_out_of_an_archive(tmp_path: Path) -> None:
    """Chained URLs work: folder, glob and file inside a zip file."""
    with zipfile.ZipFile(tmp_path / "logs.zip", "w") as archive:
        archive.writestr("server/b.000001", TEXT)
        archive.writestr("server/b.000002.gz", gzip.compress(TEXT))
    for url in (
        f"zip://server::{tmp_path}/logs.zip",
        f"zip://server/b.0*::{tmp_path}/logs.zip",
        f"zip://server::file://{tmp_path}/logs.zip",
    ):
        found = find_logs([url], {})
        assert [TEXT, TEXT] == [b"".join(read_blocks(file, {})) for file in found]


NOT_THERE = [
    ("/no/such/folder", StorageError, "no such file or folder"),
    ("/no/such/b.*", StorageError, "no log matches"),
    ("/etc/passwd/b.000001", StorageError, "no such file or folder"),
    ("memory://no/such", StorageError, "no such file or folder"),
    ("file:///no/such", StorageError, "no such file or folder"),
    ("", InvalidInput, "empty URL"),
    ("a\0b", InvalidInput, "zero byte"),
    ("/dev/null", InvalidInput, "neither a file nor a folder"),
    ("nosuch://x/y", StorageError, "no kind of storage is called 'nosuch'"),
    ("zip://x::nosuch://y", StorageError, "no kind of storage is called 'nosuch'"),
    ("/" + "x" * 5000, StorageError, "name too long"),
    ("\udc80", StorageError, "no such file or folder"),
    ("http://127.0.0.1:9/b.000001", StorageError, "cannot be reached"),
]


@pytest.mark.parametrize(("url", "kind", "says"), NOT_THERE)
def test_what_is_not_there_has_one_clear_line(url: str, kind: type[DblogError], says: str) -> None:
    """Nothing but a declared error, which tells what was looked for."""
    with pytest.raises(kind, match=f"(?i){says}") as caught:
        find_logs([url], {})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "module", "package"),
    [
        ("s3://b/k", "s3fs", "'dblog-tasks\\[s3\\]'"),
        ("https://h/p", "aiohttp", "'dblog-tasks\\[http\\]'"),
        ("zip://m::http://h/p.zip", "aiohttp", "'dblog-tasks\\[http\\]'"),
        ("simplecache::http://h/p", "aiohttp", "'dblog-tasks\\[http\\]'"),
        ("sftp://h/p", "paramiko", "paramiko"),
        ("gs://b/k", "gcsfs", "gcsfs"),
        ("az://b/k", "adlfs", "adlfs"),
        ("abfs://b/k", "adlfs", "adlfs"),
        ("hdfs://h/p", "pyarrow", "pyarrow"),
        ("smb://h/p", "smbclient", "smbprotocol"),
    ],
)
def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, url: str, module: str, package: str) -> None:
    """The error says what to install."""
    monkeypatch.setitem(sys.modules, module, None)
    for protocol in ("s3", "http", "https", "sftp", "gs", "az", "abfs", "hdfs", "smb"):
        monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, protocol, raising=False)
    for implementation in ("http", "sftp", "arrow", "smb"):
        monkeypatch.delitem(sys.modules, f"fsspec.implementations.{implementation}", raising=False)
    with pytest.raises(StorageError, match=f"{module} is not installed .pip install {package}"):
        find_logs([url], {})


def test_no_log_named_is_an_input_error() -> None:
    """An empty list is not an empty log."""
    with pytest.raises(InvalidInput, match="no log is named"):
        find_logs([], {})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_without_permission_says_so(tmp_path: Path) -> None:
    """Not allowed is told from not there."""
    fill(str(tmp_path), "shut/b.000001")
    (tmp_path / "shut").chmod(0)
    try:
        with pytest.raises(StorageError, match="no permission"):
            find_logs([f"{tmp_path}/shut"], {})
    finally:
        (tmp_path / "shut").chmod(0o700)


def test_a_secret_in_a_url_is_refused_and_not_repeated() -> None:
    """The hint says where secrets go."""
    with pytest.raises(InvalidInput, match="env:") as caught:
        find_logs(["sftp://me:hunter2@host/b.000001"], {})
    assert "hunter2" not in repr(caught.value)
    assert caught.value.__cause__ is None


@pytest.fixture(scope="module", params=list(PACK))
def stored(request: pytest.FixtureRequest) -> LogFile:
    """The text in memory, plain and compressed."""
    url = f"memory://blocks/b.000001.{request.param}".rstrip(".")
    write_file(url, PACK[request.param](TEXT), {})
    return find_logs([url], {})[0]


@given(st.integers(0, len(TEXT) + 10), st.none() | st.integers(0, len(TEXT) + 10), st.integers(1, 1 << 20))
def test_blocks_of_any_size_join_to_the_bytes_asked_for(stored: LogFile, start: int, stop: int | None, block_size: int) -> None:
    """Any window in any blocks is the same bytes; none is empty, all but the last are full."""
    block_size = max(block_size, 64) if stored.compression else max(block_size, 500)
    blocks = list(read_blocks(stored, {}, start=start, stop=stop, block_size=block_size))
    assert TEXT[start:stop] == b"".join(blocks)
    assert all(len(block) == block_size for block in blocks[:-1])
    assert all(blocks)


@pytest.mark.parametrize("block_size", [1, 2, 3])
def test_the_smallest_blocks_work(stored: LogFile, block_size: int) -> None:
    """Byte by byte is the same as at once."""
    blocks = list(read_blocks(stored, {}, start=100, stop=140, block_size=block_size))
    assert TEXT[100:140] == b"".join(blocks)
    assert -(-40 // block_size) == len(blocks)


def test_head_and_size_count_decompressed_bytes(stored: LogFile) -> None:
    """Both are of the content, however it is stored."""
    assert TEXT[:19] == head(stored, {}, 19)
    assert TEXT == head(stored, {}, len(TEXT) + 1)
    assert head(stored, {}, 0) == b""
    assert len(TEXT) == size_of(stored, {})


@pytest.mark.parametrize("compression", [compression for compression in PACK if compression])
@pytest.mark.parametrize(("kind", "change"), [(TruncatedLog, lambda data: data[:-9]), (MalformedLog, lambda data: data + b"rubbish")])
def test_what_is_whole_before_damage_is_yielded(
    folder: str, compression: str, kind: type[DblogError], change: Callable[[bytes], bytes]
) -> None:
    """The blocks before the error are a beginning of the log, and the error tells file and offset."""
    url = f"{folder}/b.000001.{compression}"
    write_file(url, change(PACK[compression](TEXT)), {})
    found, error = [], None
    try:
        for block in read_blocks(find_logs([url], {})[0], {}, block_size=1000):
            found.append(block)
    except MalformedLog as raised:
        error = raised
    assert kind is type(error)
    assert TEXT.startswith(b"".join(found))
    assert error is not None
    assert f"{url}: after {len(b''.join(found))} decompressed bytes" == error.where


def test_the_head_of_a_cut_log_is_readable(folder: str) -> None:
    """A cut at the end does not matter to who reads the beginning."""
    write_file(f"{folder}/b.000001.gz", gzip.compress(TEXT)[:-9], {})
    assert TEXT[:4] == head(find_logs([folder], {})[0], {}, 4)


@pytest.mark.parametrize("compression", ["", "gz"])
def test_a_log_that_vanished_is_told_as_purged(folder: str, compression: str) -> None:
    """The file was listed, then purged."""
    url = f"{folder}/b.000001.{compression}".rstrip(".")
    write_file(url, PACK[compression](TEXT), {})
    file = find_logs([url], {})[0]
    fsspec.core.url_to_fs(url)[0].rm_file(fsspec.core.url_to_fs(url)[1])
    for read in (lambda: list(read_blocks(file, {})), lambda: size_of(file, {}), lambda: head(file, {}, 4)):
        with pytest.raises(StorageError, match=r"vanished while being read \(purged\?\)"):
            read()


def test_a_local_log_purged_while_read_is_read_to_its_end(tmp_path: Path) -> None:
    """The open file keeps its bytes."""
    write_file(f"{tmp_path}/b.000001", TEXT, {})
    blocks = read_blocks(find_logs([str(tmp_path)], {})[0], {}, block_size=1000)
    first = next(blocks)
    (tmp_path / "b.000001").unlink()
    assert TEXT == first + b"".join(blocks)


def test_a_growing_log_is_read_to_its_current_end(tmp_path: Path) -> None:
    """Bytes written after the size was taken belong to the log."""
    write_file(f"{tmp_path}/b.000001", b"old", {})
    file = find_logs([str(tmp_path)], {})[0]
    with (tmp_path / "b.000001").open("ab") as stream:
        stream.write(b"new")
    assert (3, 6, b"oldnew") == (file.size, size_of(file, {}), b"".join(read_blocks(file, {})))


@pytest.mark.parametrize("start", [0, len(TEXT) - 1])
def test_reading_stops_when_cancelled(stored: LogFile, start: int) -> None:
    """Also while a compressed log is skipped to the start."""
    cancel = Event()
    cancel.set()
    with pytest.raises(Cancelled):
        list(read_blocks(stored, {}, start=start, block_size=1000, cancel=cancel))


@pytest.mark.parametrize("window", [{"start": -1}, {"block_size": 0}])
def test_a_window_that_cannot_be_is_an_input_error(stored: LogFile, window: dict[str, int]) -> None:
    """Offsets count from zero, and a block holds something."""
    with pytest.raises(InvalidInput):
        list(read_blocks(stored, {}, **window))  # type: ignore[arg-type]


def test_local_files_ignore_storage_options(tmp_path: Path) -> None:
    """Options are meant for the remote URLs of the same call."""
    fill(str(tmp_path), "b.000001")
    assert len(find_logs([str(tmp_path)], {"key": "x", "nonsense": {"a": 1}})) == 1


def test_importing_does_not_import_the_stores() -> None:
    """Packages of stores are slow to import; they wait for the first URL."""
    code = "import dblog_tasks.storage, sys; sys.exit(bool({'fsspec', 's3fs', 'botocore', 'zstandard'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
