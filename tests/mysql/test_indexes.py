"""An index is made of a closed log alone, and one that does not fit is as none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
import logging
from pathlib import Path
from typing import Any

import pytest

from dblog_tasks import ledger as words, storage
from dblog_tasks.cli import run
from dblog_tasks.errors import MalformedLog
from dblog_tasks.mysql import binlog, header_index, indexes
from dblog_tasks.mysql.header_index import HeaderIndex
from dblog_tasks.plan import Plan
from dblog_tasks.planning import PlanRequest, make_plan, selection
from tests.mysql import binlog_writer as write
from tests.mysql.indexed import a_folder, closed, ends, indexed, plan_or_error, rows, said_by, series, unread

# --- trust ---------------------------------------------------------------------------------------------------------------------------


def with_flags(log: bytes, flags: int) -> bytes:
    """Return a log whose description has these flags."""
    return log[:21] + flags.to_bytes(2, "little") + log[23:]


OPEN: dict[str, bytes] = {
    "no end": closed()[: ends(closed())[-2]],
    "in use": with_flags(closed(), binlog.FLAG_IN_USE),
    "a rotation of another server": write.Log().adds(*rows(1, "t")).add(binlog.ROTATE, bytes(8) + b"next", server=2).data,
    "an artificial rotation": write.Log().adds(*rows(1, "t")).add(binlog.ROTATE, bytes(8) + b"next", flags=binlog.FLAG_ARTIFICIAL).data,
    "a rotation before the end": write.Log().add(binlog.ROTATE, bytes(8) + b"next").adds(*rows(1, "t")).data,
    "an open transaction": write.Log().adds(*rows(1, "t")[:-1]).data,
    "a relay log": closed(flags=binlog.FLAG_RELAY),
    "two descriptions": write.Log()
    .adds((binlog.FORMAT_DESCRIPTION, write.format_description("8.0.36") + b"\1"))
    .add(binlog.STOP, b"")
    .data,
}


@pytest.mark.parametrize("log", OPEN.values(), ids=list(OPEN))
def test_a_log_that_may_still_grow_has_no_index(log: bytes, tmp_path: Path) -> None:
    """Only what a server has closed, and can be read from any transaction on."""
    (tmp_path / "bin.000001").write_bytes(log)
    folder = a_folder()

    plan_or_error([str(tmp_path)], folder, ())

    assert [] == storage.list_folder(folder, {})


@pytest.mark.parametrize("ending", [binlog.ROTATE, binlog.STOP])
@pytest.mark.parametrize("checksum", [0, 1])
def test_a_closed_log_has_an_index(ending: int, checksum: int, tmp_path: Path) -> None:
    """By a rotation or the end of its server, with checksums or without."""
    (tmp_path / "bin.000001").write_bytes(closed(ending=ending, checksum=checksum))
    folder = a_folder()

    plan_or_error([str(tmp_path)], folder, ())

    assert 1 == len(storage.list_folder(folder, {}))


OTHERS: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda data: data[: len(data) // 2],
    "empty": lambda _: b"",
    "one bit": lambda data: data[:60] + bytes([data[60] ^ 1]) + data[61:],
    "another format": lambda data: b"dblogix0" + data[8:],
    "another file": lambda data: other(data, log="0" * 16),
    "another beginning": lambda data: other(data, head="0" * 64),
    "another size": lambda data: other(data, size=1),
}


def other(data: bytes, **changed: Any) -> bytes:
    """Return an index with a mark of another file."""
    found = HeaderIndex.from_bytes(data)
    assert found is not None
    return replace(found, **changed).to_bytes()


@pytest.mark.parametrize("change", OTHERS.values(), ids=list(OTHERS))
def test_an_index_that_does_not_fit_is_as_none_and_made_anew(change: Callable[[bytes], bytes], tmp_path: Path) -> None:
    """A damaged one, one of another format, of another file."""
    (tmp_path / "bin.000001").write_bytes(closed())
    folder = indexed([str(tmp_path)])
    [name] = storage.list_folder(folder, {})
    good = storage.read_file(f"{folder}/{name}", {})
    storage.write_file(f"{folder}/{name}", change(good), {})

    plan = plan_or_error([str(tmp_path)], folder, selection(tables=["nobody"]))

    assert 0 == unread(plan)
    assert good == storage.read_file(f"{folder}/{name}", {})


def test_a_file_that_was_replaced_is_read(tmp_path: Path) -> None:
    """One that grew, and one of the same size with another beginning."""
    (tmp_path / "bin.000001").write_bytes(closed(tables=["t", "t"]))
    folder = indexed([str(tmp_path)])
    for log in (closed(tables=["t", "t", "u"]), closed(tables=["u", "u"])):
        (tmp_path / "bin.000001").write_bytes(log)

        plan = plan_or_error([str(tmp_path)], folder, selection(tables=["u"]))

        assert isinstance(plan, Plan)
        assert plan.ledger.undone == log.count(b"u\0\x01")
        assert 0 == unread(plan)


def test_a_file_that_only_looks_the_same_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read is held against the index: nothing is guessed when it does not agree."""
    monkeypatch.setattr(indexes, "HEAD_SIZE", 200)
    monkeypatch.setattr(header_index, "STRETCH_SIZE", 300)
    whole = write.Log().adds(*[event for number in range(1, 9) for event in rows(number, "t")]).add(binlog.STOP, b"").data
    (tmp_path / "bin.000001").write_bytes(whole)
    folder = indexed([str(tmp_path)])
    [name] = storage.list_folder(folder, {})
    found = HeaderIndex.from_bytes(storage.read_file(f"{folder}/{name}", {}))
    assert found is not None
    wrong = [stretch._replace(walked=stretch.walked + 1) for stretch in found.stretches]
    storage.write_file(f"{folder}/{name}", replace(found, stretches=tuple(wrong)).to_bytes(), {})

    with pytest.raises(MalformedLog, match="not the one its header index was made of"):
        make_plan(PlanRequest("mysql", (str(tmp_path),), a_folder(), index=folder))


def test_damage_leaves_no_index_and_salvaging_uses_none(tmp_path: Path) -> None:
    """Where damage is to be looked for, all is looked at."""
    log = closed(tables=["t"] * 3)
    (tmp_path / "bin.000001").write_bytes(log[:300] + bytes([log[300] ^ 1]) + log[301:])
    folder = a_folder()
    for on_damage in ("stop", "salvage"):
        plan_or_error([str(tmp_path)], folder, (), on_damage=on_damage)
    none = storage.list_folder(folder, {})
    (tmp_path / "bin.000001").write_bytes(log)

    plan = plan_or_error([str(tmp_path)], indexed([str(tmp_path)]), selection(tables=["nobody"]), on_damage="salvage")

    assert ([], 0) == (none, unread(plan))


def test_a_folder_that_cannot_be_written_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Said once, and the plan is made."""
    (tmp_path / "file").write_bytes(b"")
    logs = tmp_path / "logs"
    logs.mkdir()
    with caplog.at_level(logging.WARNING):
        plan = plan_or_error([series(logs, ["t", "t"])], str(tmp_path / "file"), selection(tables=["t"]))

    assert isinstance(plan, Plan)
    assert 1 == caplog.text.count("header indexes cannot be written")


def test_indexes_may_lie_beside_the_logs(tmp_path: Path) -> None:
    """They are no logs."""
    logs = series(tmp_path, ["t", "t"])

    plans = [plan_or_error([logs], logs, selection(tables=["t"])) for _ in range(2)]

    assert said_by(plans[0]) == said_by(plans[1])


def test_several_processes_make_and_use_indexes(tmp_path: Path) -> None:
    """Files read at the same time leave the same indexes."""
    logs, folder = series(tmp_path, ["t", "rare", "t"]), str(tmp_path / "indexes")
    for _ in range(2):
        out = a_folder()
        made = make_plan(PlanRequest("mysql", (logs,), str(tmp_path / out[-3:].strip("/")), index=folder), jobs=2)
        assert made is not None
        assert 7 == made.ledger.undone

    assert 3 == len(storage.list_folder(folder, {}))


# --- the command line ----------------------------------------------------------------------------------------------------------------


def test_commands_say_what_was_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """By option or setting, each with the same answer as without."""
    folder, logs = tmp_path / "logs", str(tmp_path / "indexes")
    folder.mkdir()
    given = [series(folder, ["t", "rare", "t"]), "--driver", "mysql", "--table", "rare"]
    assert 0 == run(["plan", *given, "--out", str(tmp_path / "one"), "--index", logs])
    assert "not read" not in capsys.readouterr().out
    monkeypatch.setenv("DBLOG_INDEX", logs)
    assert 0 == run(["plan", *given, "--out", str(tmp_path / "two")])
    assert f"34 of 41 events {words.NOT_READ}\n" in capsys.readouterr().out
    assert 0 == run(["show", str(tmp_path / "two")])
    assert f"34 {words.NOT_READ}" in " ".join(capsys.readouterr().out.split())
    for command in ("events", "inspect"):
        assert 0 == run([command, *given])
        with_index = capsys.readouterr()
        assert 0 == run([command, *given, "--index", ""])
        without = capsys.readouterr()
        assert (without.out, "", f"34 of 41 events {words.NOT_READ}\n") == (with_index.out, without.err, with_index.err)
