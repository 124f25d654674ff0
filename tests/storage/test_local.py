"""Paths of this machine: told as fsspec tells of them, and without it."""

from __future__ import annotations

from collections.abc import Callable
import os
from pathlib import Path
import subprocess
import sys

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
import pytest

from dblog_tasks.storage.local import LocalFiles, is_local, path_of

PATHS = ("/", "/a", "/a/", "a", "a/b/", ".", "./a", "../a", "~", "~/a", "~nobody/a", "a~", "/a//b", "file:a", "a:b", "/a*[b]?", " ")


@pytest.mark.parametrize("begin", ["", "file://", "local://"])
@pytest.mark.parametrize("path", PATHS)
def test_a_url_means_the_path_that_fsspec_takes_it_for(begin: str, path: str) -> None:
    """Absolute, without a slash at its end; a tilde is somebody's home where there is one."""
    assert is_local(begin + path)
    assert url_to_fs(begin + path)[1] == path_of(begin + path)


@pytest.mark.parametrize("url", ["s3://bucket/a", "https://host/a", "zip://a::/b.zip", "simplecache::/a", "memory://a"])
def test_what_is_elsewhere_is_not_local(url: str) -> None:
    """Chained URLs are fsspec's, whatever they lead to."""
    assert not is_local(url)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with all that there can be in one."""
    (tmp_path / "file").write_bytes(b"1234")
    (tmp_path / "sub").mkdir()
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "to-folder").symlink_to("sub")
    (tmp_path / "lost").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    return tmp_path


@pytest.mark.parametrize("name", ["", "file", "sub", "link", "to-folder", "pipe"])
def test_a_path_is_told_as_fsspec_tells_it(folder: Path, name: str) -> None:
    """Every property that is given has fsspec's name and value."""
    ours, theirs = LocalFiles().info(f"{folder}/{name}"), LocalFileSystem().info(f"{folder}/{name}")
    assert {key: theirs[key] for key in ours} == ours
    assert {"name", "type", "size", "islink", "created", "mtime", "ino"} == set(ours)


def test_a_folder_is_listed_as_fsspec_lists_it(folder: Path) -> None:
    """Links are of the type `other` and as big as what they lead to; a file lists itself."""
    by_name: Callable[[dict[str, object]], str] = lambda info: str(info["name"])  # noqa: E731 - a key
    for path in (folder, folder / "sub", folder / "to-folder", folder / "file"):
        ours = sorted(LocalFiles().ls(str(path)), key=by_name)
        theirs = sorted(LocalFileSystem().ls(str(path), detail=True), key=by_name)
        assert [{key: info[key] for key in ours[0]} for info in theirs] == ours
        assert sorted(LocalFileSystem().ls(str(path))) == sorted(LocalFiles().ls(str(path), detail=False))


@pytest.mark.parametrize("name", ["nowhere", "lost", "file/below"])
def test_what_is_not_there_is_missed_as_in_fsspec(folder: Path, name: str) -> None:
    """The same errors: others look at their kinds."""
    for fs in (LocalFiles(), LocalFileSystem()):
        with pytest.raises((FileNotFoundError, NotADirectoryError)):
            fs.info(f"{folder}/{name}")


def test_everything_else_is_answered_by_fsspec(folder: Path) -> None:
    """A glob, for example."""
    assert [f"{folder}/file"] == LocalFiles().glob(f"{folder}/fi*")


def test_a_plan_of_local_files_is_made_without_what_takes_long_to_import(tmp_path: Path) -> None:
    """fsspec, the list of installed packages, processes, servers and SQL parsers are for those who need them."""
    log = Path(__file__).parent.parent / "corpus" / "shop" / "shop.000003"
    unwanted = {"fsspec", "importlib.metadata", "multiprocessing", "asyncio", "ssl", "sqlglot", "sqlite3", "rich", "prefect", "html.parser"}
    code = f"""import sys
from dblog_tasks.cli import run
code = run(["plan", {str(log)!r}, "--driver", "mysql", "--out", {str(tmp_path / "plan")!r}])
sys.exit(f"{{code}} {{sorted({unwanted!r} & set(sys.modules))}}")"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "0 []\n" == done.stderr
