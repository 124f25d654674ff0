"""`dblog doctor` of logs: what their events show, and what cannot be asked."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from dblog_tasks.cli import run
from dblog_tasks.cli_options import DONE, DRIFTED, USAGE

CORPUS = Path(__file__).parent / "corpus"
AOF = b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n"


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Return the exit code of `dblog doctor` and what it printed."""
    code = run(["doctor", *arguments])
    out, err = capsys.readouterr()
    return code, out + err


def test_log_says_what_its_events_lack(capsys: pytest.CaptureFixture[str]) -> None:
    """The obstacles of the shop's log, and what helps: column names and what a server could log better."""
    code, text = said(capsys, str(CORPUS / "shop" / "nolog" / "shop.0*"), "--driver", "mysql")

    assert DRIFTED == code
    assert "the log has no column names" in text
    assert "SET GLOBAL binlog_row_metadata=FULL" in text


def test_encrypted_log_is_a_finding_with_the_command_that_helps(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Not an error: it is what the doctor was asked for."""
    log = tmp_path / "binlog.000001"
    log.write_bytes(b"\xfdbin" + (CORPUS / "shop" / "shop.000001").read_bytes()[4:])

    code, text = said(capsys, str(log), "--driver", "mysql")

    assert DRIFTED == code
    assert "encrypted (binlog_encryption)" in text
    assert "mysqlbinlog --read-from-remote-server --raw" in text


def test_damage_is_a_finding(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """What came before it is examined all the same."""
    log = tmp_path / "shop.000001"
    log.write_bytes((CORPUS / "shop" / "shop.000001").read_bytes()[:-7])

    code, text = said(capsys, str(log), "--driver", "mysql")

    assert DRIFTED == code
    assert "damage: the log ends in damage" in text


@pytest.mark.parametrize(("annotated", "missing"), [(b"", True), (b"#TS:1690000000\r\n", False)])
def test_append_only_file_without_times(capsys: pytest.CaptureFixture[str], tmp_path: Path, annotated: bytes, missing: bool) -> None:  # noqa: FBT001
    """Annotations are seen from the file alone."""
    log = tmp_path / "appendonly.aof"
    log.write_bytes(annotated + AOF)

    _, text = said(capsys, str(log), "--driver", "redis")

    assert missing == ("CONFIG SET aof-timestamp-enabled yes" in text)


def test_drift_since_the_last_examination_decides_on_the_exit_code(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """What is known already is no drift, however bad it is."""
    plain, annotated = tmp_path / "a.aof", tmp_path / "b.aof"
    plain.write_bytes(AOF)
    annotated.write_bytes(b"#TS:1690000000\r\n" + AOF)
    before, after = tmp_path / "before.json", tmp_path / "after.json"
    for file, log in ((before, annotated), (after, plain)):
        file.write_text(said(capsys, str(log), "--driver", "redis", "--as", "json")[1])
    last = ("--driver", "redis", "--last")

    same = said(capsys, str(plain), *last, str(after))
    worse = said(capsys, str(plain), *last, str(before))
    better = said(capsys, str(annotated), *last, str(after))

    assert (DONE, DRIFTED, DONE) == (same[0], worse[0], better[0])
    assert "nothing changed since the last examination" in same[1]
    assert "worse   aof-timestamp-enabled = no: no command has a time" in worse[1]
    assert "better  aof-timestamp-enabled = no is no longer found" in better[1]
    assert 1 == orjson.loads(after.read_bytes())["version"]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("shop.000001",), "a log without --driver"),
        (("redis://db1",), "cannot be asked (name its log instead: appendonlydir/appendonly.aof.1.incr.aof)"),
        (("mongodb://db1",), "a live server of mongodb:// cannot be asked"),
        (("mysql://ann:secret@db1/shop",), "the DSN holds a password"),
        (("postgresql://ann:secret@db1/shop",), "the DSN holds a password"),
        (("postgresql://ann@db1/shop?password=secret",), "the DSN holds a password"),
        (("postgresql://ann@db1/shop?colour=secret",), "the DSN's option 'colour' is not known"),
        (("mysql://ann@db1/shop", "shop.000001"), "one server at a time"),
        (("env:NO_SUCH_VARIABLE",), "the environment has no variable 'NO_SUCH_VARIABLE'"),
        (("x.aof", "--driver", "redis", "--last", "no/such.json"), "no/such.json: cannot be read"),
    ],
)
def test_bad_input_is_one_line_without_a_secret(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], line: str
) -> None:
    """And exit code 1."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.aof").write_bytes(AOF)

    code, text = said(capsys, *arguments)

    assert USAGE == code
    assert line in text
    assert "secret" not in text
