"""The command line: bad input is one line that helps, exit codes say what happened, nothing half done is left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
import os
from pathlib import Path
import shlex
import shutil
import socket
import subprocess
import sys
from zlib import crc32

import orjson
import pytest

from dblog_tasks import cli_plan
from dblog_tasks.cli import run
from dblog_tasks.cli_options import DONE, INCOMPLETE
from dblog_tasks.plan import check, read_plan

ROOT = Path(__file__).parent.parent
SHOP = Path(__file__).parent / "corpus" / "shop"
FIRST, SECOND, LAST = (str(SHOP / f"shop.00000{number}") for number in (1, 2, 3))
ALL = str(SHOP / "shop.0*")
MYSQL = ("--driver", "mysql")
AOF = b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*2\r\n$4\r\nINCR\r\n$1\r\na\r\n*3\r\n$5\r\nRPUSH\r\n$1\r\nl\r\n$1\r\nx\r\n"
START_OF_A_PERSON = "shop.000001:19378"

# What stands in the files that the commands below are given; the rest is a copy of a real log.
FILES: dict[str, Callable[[bytes], bytes]] = {
    "text": lambda log: b"CREATE TABLE t (a int);\n" * 40,
    "noise": lambda log: bytes(range(256)) * 20,
    "empty": lambda log: b"",
    "cut.000001": lambda log: log[:-7],
    "magic": lambda log: log[:4],
    "encrypted": lambda log: b"\xfdbin" + log[4:],
    "torn.000001": lambda log: log[: len(log) // 2 + 1],
    "zeros": lambda log: log + bytes(4096),
    "damaged": lambda log: log[:9000] + b"\xff\xff" + log[9002:],
    "good.aof": lambda log: AOF,
    "torn.aof": lambda log: AOF[:-5],
    "noise.aof": lambda log: b"*2\r\n$9\r\nnot so\r\n",
    "rdb.aof": lambda log: b"REDIS0011\xfa",
    "packed.000001.gz": lambda log: log,
    "packed.000001.xz": lambda log: log,
    "gap.000001": lambda log: log,
    "gap.000003": lambda log: log,
    "other.000001": lambda log: log,
    "no.sql": lambda log: b"\xff\xfe\x00 not SQL at all",
    "another.sql": lambda log: b"CREATE TABLE `other`.`t` (`a` int);",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with all of FILES, which is where the commands run."""
    log = Path(FIRST).read_bytes()
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content(log))
    monkeypatch.chdir(tmp_path)
    return tmp_path


BAD_PLANS: dict[str, tuple[str, ...]] = {
    "no such file": ("nowhere.000001", *MYSQL),
    "no such glob": ("nowhere.0*", *MYSQL),
    "empty folder name": ("", *MYSQL),
    "zero byte in a name": ("a\0b", *MYSQL),
    "no log": MYSQL,
    "no driver": (FIRST,),
    "unknown driver": (FIRST, "--driver", "oracle"),
    "a redis file as mysql": ("good.aof", *MYSQL),
    "a binary log as redis": (FIRST, "--driver", "redis"),
    "several files as redis": (FIRST, SECOND, "--driver", "redis"),
    "text": ("text", *MYSQL),
    "text as redis": ("text", "--driver", "redis"),
    "noise": ("noise", *MYSQL),
    "noise as redis": ("noise", "--driver", "redis"),
    "empty file": ("empty", *MYSQL),
    "only the magic": ("magic", *MYSQL),
    "encrypted": ("encrypted", *MYSQL),
    "torn": ("torn.000001", *MYSQL),
    "cut": ("cut.000001", *MYSQL),
    "zero bytes": ("zeros", *MYSQL),
    "damaged": ("damaged", *MYSQL),
    "torn redis": ("torn.aof", "--driver", "redis"),
    "broken redis": ("noise.aof", "--driver", "redis"),
    "snapshot": ("rdb.aof", "--driver", "redis"),
    "no gzip": ("packed.000001.gz", *MYSQL),
    "unknown compression": ("packed.000001.xz", *MYSQL),
    "gap": ("gap.000001", "gap.000003", *MYSQL),
    "unknown column": (ALL, *MYSQL, "--table", "shop.orders", "--where", "colour = 'red'"),
    "syntax of --where": (ALL, *MYSQL, "--where", "status = = 1"),
    "empty parentheses": (ALL, *MYSQL, "--where", "()"),
    "deep --where": (ALL, *MYSQL, "--where", "(" * 5000 + "1" + ")" * 5000),
    "window before the log": (ALL, *MYSQL, "--until", "2001-01-01T00:00:00Z"),
    "window after the log": (ALL, *MYSQL, "--since", "2101-01-01T00:00:00Z"),
    "naive time": (ALL, *MYSQL, "--since", "2026-09-21T14:00:00"),
    "no time": (ALL, *MYSQL, "--since", "yesterday"),
    "start in another log": (ALL, *MYSQL, "--start", "binlog.000001:4"),
    "start inside an event": (ALL, *MYSQL, "--start", "shop.000001:19379"),
    "start past the end": (ALL, *MYSQL, "--start", "shop.000003:999999"),
    "stop inside an event": (ALL, *MYSQL, "--stop", "shop.000001:19379"),
    "stop past the end": (ALL, *MYSQL, "--stop", "shop.000003:999999"),
    "start after stop": (ALL, *MYSQL, "--start", START_OF_A_PERSON, "--stop", "shop.000001:4"),
    "start after the stop's file": (ALL, *MYSQL, "--start", "shop.000002:256", "--stop", START_OF_A_PERSON),
    "start that is none": (ALL, *MYSQL, "--start", "here"),
    "start of another driver": ("good.aof", "--driver", "redis", "--start", "good.aof:7"),
    "transaction not in the log": (ALL, *MYSQL, "--transaction", "0-1-99999"),
    "transaction of another table": (ALL, *MYSQL, "--transaction", "0-1-35", "--table", "shop.users"),
    "GTID set not in the log": (ALL, *MYSQL, "--gtid", "0-1-99999..100000"),
    "GTID set of another kind": (ALL, *MYSQL, "--gtid", "3E11FA47-71CA-11E1-9E33-C80AA9429562:1-5"),
    "GTID set that is none": (ALL, *MYSQL, "--gtid", "0-1-9..5"),
    "thread that is none": (ALL, *MYSQL, "--thread", "app"),
    "thread in a log without": (ALL, *MYSQL, "--thread", "5"),
    "thread ruled out in a log without": (ALL, *MYSQL, "--thread", "!5"),
    "thread in a log of another kind": ("good.aof", "--driver", "redis", "--thread", "5"),
    "statement that says nothing": (ALL, *MYSQL, "--statement", " * "),
    "column of no table": (ALL, *MYSQL, "--column", "colour"),
    "column that its table lacks": (ALL, *MYSQL, "--column", "shop.orders.colour"),
    "no schema file": (ALL, *MYSQL, "--schema", "nowhere.sql"),
    "schema of another kind": (ALL, *MYSQL, "--schema", "no.sql"),
    "schema with a wrong port": (ALL, *MYSQL, "--schema", "mysql://u@127.0.0.1:port/shop"),
    "unknown store": ("gopher://hole/logs", *MYSQL),
    "password in a URL": ("s3://key:secret@bucket/logs", *MYSQL),
    "secret written out": (ALL, *MYSQL, "--storage-option", "secret=hunter2"),
    "secret that is not set": (ALL, *MYSQL, "--storage-option", "secret=env:DBLOG_NOT_SET"),
    "storage option without value": (ALL, *MYSQL, "--storage-option", "anon"),
    "unknown option": (ALL, *MYSQL, "--colour", "red"),
    "no number": (ALL, *MYSQL, "--jobs", "many"),
    "damage, with two processes": (FIRST, "damaged", *MYSQL, "--jobs", "2"),
}


def one_line(said: str) -> str:
    """Return what was said on standard error when it is one line of ours."""
    lines = said.splitlines()
    assert len(lines) == 1, said
    assert lines[0].startswith("dblog: "), said
    assert "Traceback" not in said
    return lines[0]


@pytest.mark.parametrize("name", BAD_PLANS)
def test_bad_input_is_one_line_and_leaves_nothing(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever is wrong: exit code 1, one line, no secret in it, and no folder where the plan would be."""
    code = run(["plan", *BAD_PLANS[name], "--out", str(folder / "made" / "plan")])

    said = capsys.readouterr()
    assert (1, "") == (code, said.out)
    assert "hunter2" not in one_line(said.err)
    assert not (folder / "made" / "plan").exists()


READERS = {
    "events of text": ("events", "text", *MYSQL),
    "events of nothing": ("events", "nowhere", *MYSQL),
    "events of noise": ("events", "noise", "--driver", "redis"),
    "inspect of noise": ("inspect", "noise", *MYSQL),
    "inspect of an encrypted log": ("inspect", "encrypted", *MYSQL),
    "show of nothing": ("show", "nowhere"),
    "show of a file": ("show", "text"),
    "check of nothing": ("check", "nowhere"),
    "check of a log folder": ("check", str(SHOP)),
    "no such command": ("undo",),
    "no such form": ("show", "nowhere", "--as", "html"),
}


@pytest.mark.parametrize("name", READERS)
def test_bad_input_of_the_other_commands_is_one_line_too(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What only reads fails the same way."""
    assert run(READERS[name]) == 1
    one_line(capsys.readouterr().err)


def plan_of(out: Path, *options: str, logs: str = ALL) -> int:
    """Plan the undo of the bad DELETE; return the exit code."""
    return run(["plan", logs, *MYSQL, "--out", str(out), *(options or ("--transaction", "0-1-35"))])


def test_what_is_there_already_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A plan, another file, or a file in the way of the folder: each is refused and left as it is."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    assert plan_of(tmp_path / "plan") == 0
    before = read_plan(str(tmp_path / "plan"), {})
    capsys.readouterr()

    said = {
        "plan": "a plan is here already",
        "mine": "the folder is not empty: notes.txt",
        "mine/notes.txt": "a file is here already",
        "mine/notes.txt/below": "part of the path is a file, not a folder",
    }
    for out, reason in said.items():
        assert plan_of(tmp_path / out) == 1, out
        assert reason in one_line(capsys.readouterr().err)

    assert (before.id, []) == (read_plan(before.url, {}).id, check(before))
    assert ["notes.txt"] == [path.name for path in (tmp_path / "mine").iterdir()]
    assert "mine" == (tmp_path / "mine" / "notes.txt").read_text()


def command(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    program = [sys.executable, "-c", "from dblog_tasks.__main__ import main; main()", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **(options.pop("env", None) or {})}  # type: ignore[dict-item]
    return subprocess.run(program, capture_output=True, text=True, check=False, env=environment, **options)  # type: ignore[call-overload, no-any-return]


@pytest.mark.parametrize("name", ["no such file", "text", "gap", "unknown column", "damage, with two processes"])
def test_the_installed_command_says_the_same(name: str, folder: Path) -> None:
    """A real process: exit code 1 and one line."""
    done = command("plan", *BAD_PLANS[name], "--out", str(folder / "plan"))

    assert (1, "") == (done.returncode, done.stdout)
    one_line(done.stderr)
    assert not (folder / "plan").exists()


LIMIT = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))
"""


def test_a_file_that_cannot_grow_is_one_line(tmp_path: Path) -> None:
    """A limit on the size of files is an error of the store; what was written goes."""
    program = [sys.executable, "-c", LIMIT + "from dblog_tasks.__main__ import main; main()"]
    arguments = ["plan", ALL, *MYSQL, "--out", str(tmp_path / "plan"), "--transaction", "0-1-35"]
    done = subprocess.run(
        [*program, *arguments], capture_output=True, text=True, check=False, cwd=ROOT, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    )

    assert done.returncode == 1
    one_line(done.stderr)
    assert not (tmp_path / "plan").exists()


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """Mount a disk of 16 KiB; skipped where that is not allowed."""
    folder.mkdir()
    if (
        os.geteuid() != 0
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "dblog", folder], capture_output=True, check=False).returncode
    ):
        pytest.skip("mounting a small disk needs rights this user has not")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No space left: exit code 1, and what was written is gone again."""
    with small_disk(tmp_path / "disk") as disk:
        assert plan_of(disk / "plan", "--table", "shop.*") == 1
        assert "no space" in one_line(capsys.readouterr().err)
        assert [] == list(disk.iterdir())


def test_output_to_a_full_device_is_one_line() -> None:
    """What cannot be printed is an error, not silence."""
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
        done = subprocess.run(
            [sys.executable, "-c", "from dblog_tasks.__main__ import main; main()", "events", FIRST, *MYSQL],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False, cwd=ROOT,
        )  # fmt: skip

    assert done.returncode == 1
    one_line(done.stderr)


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    """`dblog events … | head -1` ends quietly."""
    program = f"{sys.executable} -c 'from dblog_tasks.__main__ import main; main()' events '{FIRST}' --driver mysql | head -1"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {program}"], capture_output=True, text=True, check=False, cwd=ROOT)

    assert (0, "", 1) == (done.returncode, done.stderr, done.stdout.count("\n"))


def test_a_folder_without_permission_is_one_line(tmp_path: Path) -> None:
    """Where this user may not write, one line says so."""
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0o500)
    if os.geteuid() != 0:
        done = command("plan", ALL, *MYSQL, "--transaction", "0-1-35", "--out", str(closed / "plan"))
    elif Path("/proc/version").exists():  # root may write everywhere but there
        done = command("plan", ALL, *MYSQL, "--transaction", "0-1-35", "--out", "/proc/dblog/plan")
    else:
        pytest.skip("root may write everywhere")

    assert done.returncode == 1
    one_line(done.stderr)
    assert [] == list(closed.iterdir())


def test_a_store_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    """An S3 endpoint on a port nobody listens on: for the logs and for the plan."""
    pytest.importorskip("s3fs")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        keys = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "hunter2", "AWS_EC2_METADATA_DISABLED": "true"}
        options = ("--storage-option", f"client_kwargs.endpoint_url={address}")
        for logs, out in (("s3://bucket/logs/", str(tmp_path / "plan")), (ALL, "s3://bucket/plan")):
            done = command("plan", logs, *MYSQL, "--transaction", "0-1-35", "--out", out, *options, env=keys)

            assert done.returncode == 1
            assert "hunter2" not in one_line(done.stderr)
    assert not (tmp_path / "plan").exists()


def test_a_checkpoint_of_another_log_of_that_name_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A log that was begun anew under the same name is not followed by --resume."""
    logs, out = tmp_path / "logs", tmp_path / "plans"
    logs.mkdir()
    log = bytearray(Path(FIRST).read_bytes())
    (logs / "shop.000001").write_bytes(log)
    assert run(["plan", str(logs), *MYSQL, "--out", str(out), "--resume"]) in (0, 3)
    log[4 + 19 + 52] ^= 1  # when the server was started, in the format description
    log[21] = 0  # and its flag that the file is in use, so that the checksum is of what is there
    log[252:256] = crc32(log[4:252]).to_bytes(4, "little")
    (logs / "shop.000001").write_bytes(log)
    capsys.readouterr()

    assert run(["plan", str(logs), *MYSQL, "--out", str(out), "--resume"]) == 1
    assert "another log" in one_line(capsys.readouterr().err)


EXIT_CODES = {
    "the bad DELETE": (("--transaction", "0-1-35"), 0),
    "its other name": (("--transaction", START_OF_A_PERSON), 0),
    "nothing": (("--table", "nobody.*"), 0),
    "all of it": (("--source", "shop"), 0),
    "rows that were changed later": (("--table", "shop.users", "--kind", "update", "--until", "2026-09-21T14:14:00Z"), 3),
}


@pytest.mark.parametrize("name", EXIT_CODES)
def test_exit_codes_of_plans(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """0 for a plan to be run, 3 for one with omissions or hard conflicts; what to do next is printed."""
    options, code = EXIT_CODES[name]

    assert plan_of(tmp_path / "plan", *options) == code
    said = capsys.readouterr()
    assert "" == said.err
    assert "dblog show" in said.out
    assert [] == check(read_plan(str(tmp_path / "plan"), {}))


def test_what_cannot_be_read_without_a_schema_is_an_omission(tmp_path: Path) -> None:
    """Exit code 3 for logs without column names, whatever else the schema given describes."""
    other = tmp_path / "other.sql"
    other.write_text("CREATE TABLE other.t (a int);")
    nolog = str(SHOP / "nolog" / "shop.0*")

    assert plan_of(tmp_path / "a", "--table", "orders", logs=nolog) == 3
    assert plan_of(tmp_path / "b", "--table", "orders", "--schema", str(other), logs=nolog) == 3
    assert plan_of(tmp_path / "c", "--table", "orders", "--schema", str(SHOP / "schema.sql"), logs=nolog) == 0


def test_a_tampered_plan_fails_its_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0 for a whole plan, 5 for one with a changed segment or manifest."""
    plan_of(tmp_path / "plan")
    assert run(["check", str(tmp_path / "plan")]) == 0
    manifest = tmp_path / "plan" / "manifest.json"
    whole = manifest.read_bytes()
    manifest.write_bytes(orjson.dumps(orjson.loads(whole) | {"tables": {}}))
    assert run(["check", str(tmp_path / "plan")]) == 5
    manifest.write_bytes(whole)
    next((tmp_path / "plan" / "steps").iterdir()).write_bytes(b"")
    assert run(["check", str(tmp_path / "plan")]) == 5
    assert "" == capsys.readouterr().err


def test_interrupted_is_130_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C between two files: one line, 130, no folder."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli_plan._progress, "_advance", interrupt)

    assert plan_of(tmp_path / "plan") == 130
    one_line(capsys.readouterr().err)
    assert not (tmp_path / "plan").exists()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_what_is_printed_is_the_same_in_every_locale(encoding: str) -> None:
    """What is printed is UTF-8 wherever it runs: a script in another encoding would write other text."""
    program = [sys.executable, "-c", "from dblog_tasks.__main__ import main; main()", "events", FIRST, *MYSQL, "--kind", "update"]
    done = subprocess.run(program, capture_output=True, check=False, cwd=ROOT, env={**os.environ, "PYTHONIOENCODING": encoding})

    assert (0, b"") == (done.returncode, done.stderr)
    assert "Üser".encode() in done.stdout


def test_the_undo_of_a_redis_log_undoes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--as redis` prints what takes the commands back, newest first."""
    (tmp_path / "a.aof").write_bytes(AOF)
    run(["plan", str(tmp_path / "a.aof"), "--driver", "redis", "--out", str(tmp_path / "plan")])
    capsys.readouterr()

    assert run(["show", str(tmp_path / "plan"), "--as", "redis"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert ["SELECT 0", "rpop l 1"] == lines[:2]


def test_a_file_name_that_is_no_text_is_no_crash(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A name that is not UTF-8 cannot stand in a plan: one line says so."""
    name = os.fsdecode(os.fsencode(tmp_path) + b"/sh\xffp.000001")
    shutil.copy(FIRST, name)

    assert run(["plan", name, *MYSQL, "--out", str(tmp_path / "plan")]) == 1
    assert not (tmp_path / "plan").exists()
    one_line(capsys.readouterr().err)


def test_a_plan_can_be_printed_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`plan --as sql` prints what `show --as sql` prints, and the verdict beside it."""
    assert plan_of(tmp_path / "plan", "--transaction", "0-1-35", "--as", "sql") == 0
    at_once = capsys.readouterr()
    assert run(["show", str(tmp_path / "plan"), "--as", "sql"]) == 0

    assert (at_once.out, "READY") == (capsys.readouterr().out, at_once.err.splitlines()[0])


FORMS = [("events", FIRST, *MYSQL, "--as", form) for form in ("json", "text")] + [("inspect", FIRST, *MYSQL)]


@pytest.mark.parametrize("arguments", FORMS, ids=["json", "text", "inspect"])
def test_what_reads_prints_something(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """The commands that only read end with 0 and an answer."""
    assert run(arguments) == 0
    said = capsys.readouterr()
    assert "" == said.err
    assert said.out.count("\n") > 10


FILTERS_PAGE = (ROOT / "docs" / "filters.md").read_text()


@pytest.mark.parametrize("command", [line[2:] for line in FILTERS_PAGE.splitlines() if line.startswith("$ ")])
def test_every_example_of_the_page_about_filters_selects_something(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As it stands there, from a checkout."""
    words = [str(ROOT / word) if word.startswith("tests/") else word for word in shlex.split(command)[1:]]
    out = [str(tmp_path / words.pop(words.index("--out") + 1))] if "--out" in words else []

    assert run([*words, *out]) in (DONE, INCOMPLETE)
    assert read_plan(out[0], {}).ledger.undone > 0 if out else capsys.readouterr().out.count("\n") > 0


def test_every_filter_of_the_command_line_is_on_the_page() -> None:
    """Each with its row in the table."""
    options = {found.name.replace("_", "-") for found in fields(cli_plan.Filters)}
    asked = {"tables": "table", "kinds": "kind", "transactions": "transaction", "gtids": "gtid", "threads": "thread"}
    asked |= {"statements": "statement", "columns": "column"}

    assert [] == [name for name in options - {"own-replays", "on-damage", "format"} if f"`--{asked.get(name, name)}`" not in FILTERS_PAGE]
