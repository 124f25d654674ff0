"""Files and objects at any URL fsspec opens: which files a log is made of, their bytes, and whole files written safely.

Law: the only package that opens a file or an object store. It knows file names and compression, nothing of what a log holds. No
whole log is ever in memory, no secret in a URL, an error or a `LogFile`. fsspec is imported when a URL of another
machine is first opened, the package of a store when that store is.

    options.py      `K=V` as storage options; what looks like a secret
    failures.py     every failure of a store as one error
    page.py         the links on a page of HTML
    local.py        paths of this machine and files written there, without fsspec
    web.py          HTTP(S): ranges, versions, and listings of folders
    paths.py        a path in a store, and the text of its URL
    compression.py  gzip, zstd, xz and bzip2, bytes in, bytes out
    version.py      which content a file had
    ranges.py       the bytes of a file by range, all of one content
    archives.py     zip and tar files as stores of their members
    place.py        a URL and the store it is in
    files.py        whole files and folders, for plans
    logs.py         the files of a log in their order, and their bytes
"""

from dblog_tasks.storage.files import (
    exists,
    is_file,
    list_folder,
    read_file,
    read_if_there,
    remove_folder,
    writable,
    write_exclusively,
    write_file,
)
from dblog_tasks.storage.logs import LogFile, ask_ahead, find_logs, head, read_blocks, size_of
from dblog_tasks.storage.options import parse_storage_options
from dblog_tasks.storage.paths import join
from dblog_tasks.storage.ranges import ahead

__all__ = [
    "LogFile",
    "ahead",
    "ask_ahead",
    "exists",
    "find_logs",
    "head",
    "is_file",
    "join",
    "list_folder",
    "parse_storage_options",
    "read_blocks",
    "read_file",
    "read_if_there",
    "remove_folder",
    "size_of",
    "writable",
    "write_exclusively",
    "write_file",
]
