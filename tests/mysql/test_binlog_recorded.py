"""Recorded logs, damaged or of servers of long ago, framed: how reading each of them ends."""

from __future__ import annotations

import json
from typing import Any

import dblog_tasks
from dblog_tasks import MalformedLog
from tests.mysql.test_binlog import DECLARED, outcome

# What is wrong with each damaged log, and the words that tell it; no word: reading ends without an error.
CORRUPTIONS = {
    "trunc-empty": "TruncatedLog: log: the file is empty",
    "trunc-magic-only": "",
    "trunc-in-fde": "TruncatedLog: log:4",
    "trunc-mid-header": "TruncatedLog: log:185211",
    "trunc-mid-rows": "TruncatedLog: log:185211",
    "trunc-after-table-map": "",
    "trunc-after-gtid": "",
    "trunc-before-xid": "",
    "zero-tail": "MalformedLog: log:185211: zero bytes",
    "garbage-tail": "MalformedLog: log:385542",
    "flip-rows-body": "MalformedLog: log:185211: the checksum",
    "flip-rows-crc": "MalformedLog: log:185211: the checksum",
    "flip-tablemap": "MalformedLog: log:182388: the checksum",
    "flip-type": "MalformedLog: log:185211: the checksum",
    "flip-size-small": "MalformedLog: log:185211: the checksum",
    "flip-size-huge": "MalformedLog: log:185211: the event says that it ends at 185512",
    "flip-timestamp": "MalformedLog: log:185211: the checksum",
    "flip-magic": "MalformedLog: log: not a binary log",
    "flip-fde": "MalformedLog: log:4: ",
    "flip-xid": "MalformedLog: log:4854: the checksum",
    "missing-event": "MalformedLog: log:185211: the event says that it ends at",
    "dup-event": "MalformedLog: log:185512: the event says that it ends at 185512",
    "swapped-files-concat": "MalformedLog: log:385542: a second format description",
    "nocrc-flip-rows-body": "",
    "nocrc-flip-colcount": "",
    "flip-compressed-payload": "MalformedLog: log:372372: the checksum",
    "trunc-compressed": "TruncatedLog: log:372372",
}


def test_recorded_damage_is_told_apart(scenario: Any) -> None:
    """Each damaged file ends in the error, at the place, that its description asks for."""
    folder = scenario("mysql97/corrupt")
    described = {entry["file"]: entry for entry in json.loads((folder / "corruptions.json").read_text())}

    assert CORRUPTIONS.keys() == described.keys()
    for name, words in CORRUPTIONS.items():
        _, error = outcome((folder / name).read_bytes(), 1 << 16)
        assert error.startswith(words), (name, error, described[name]["expect"])
        assert bool(words) == bool(error), (name, error, described[name]["expect"])


# Logs in the public collection that are damaged or too old, and how reading them ends.
REFUSED = {
    "polardb__polardbx-cdc__mysql_bin.19_1": "MalformedLog: log:4: the first event is no format",
    "stoneatom__stonedb__binlog_no_fd_event.000001": "MalformedLog: log:4: the first event is no format",
    "stoneatom__stonedb__master-bin.000001": "UnsupportedLog: log:4: a binary log of before MySQL 5.0, of version 2",
    "stoneatom__stonedb__ver_5_1-wl2325_r.001": "UnsupportedLog: log:4: a log of the try-out server 5.2.2-a_drop6p13",
    "stoneatom__stonedb__ver_5_1-wl2325_s.001": "UnsupportedLog: log:4: a log of the try-out server 5.2.2-a_drop6p13",
    "stoneatom__stonedb__binlog_truncated_prev_gtid_event.000001": "TruncatedLog: log:120",
    "webscalesql__webscalesql-5.6__bug11747416_32228_binlog.000001": "TruncatedLog: log:316",
}


def test_logs_of_other_peoples_tests_are_read_or_refused(scenario: Any) -> None:
    """Servers from 4.1 to 9 of several vendors: each log is read to its end, or refused with the words of the table."""
    folder = scenario("mysql-public").parent / "public"
    logs = [path for path in folder.iterdir() if path.suffix != ".tsv"]

    assert len(logs) > 50
    for path in logs:
        found, error = outcome(path.read_bytes())
        assert error.startswith(REFUSED.get(path.name, "")), (path.name, error)
        assert bool(error) == (path.name in REFUSED), (path.name, error)
        with dblog_tasks.open("mysql", path=str(path)) as decoder:
            try:
                assert sum("/" not in event.position.value for event in decoder if event.body is not None) <= len(found)
            except DECLARED:
                damaged_inside = ("corrupt-relay",)
                assert error or any(name in path.name for name in damaged_inside)


def test_a_transaction_cut_off_is_not_committed(scenario: Any) -> None:
    """A log that ends between two events of a transaction reads to its end, and says of the last one that its commit is missing."""
    folder = scenario("mysql97/corrupt")
    for name in ("trunc-after-table-map", "trunc-after-gtid", "trunc-before-xid"):
        with dblog_tasks.open("mysql", path=str(folder / name)) as decoder:
            last: Any = list(decoder)[-1]

        assert last.transaction_info.problem.reason == "not committed in this log", name


def test_damage_without_a_checksum_is_malformed_or_a_wrong_value(scenario: Any) -> None:
    """A column count that does not fit is refused; a bit in a value cannot be noticed by anybody."""
    folder = scenario("mysql97/corrupt")
    for name, raises in (("nocrc-flip-colcount", True), ("nocrc-flip-rows-body", False)):
        error = None
        try:
            with dblog_tasks.open("mysql", path=str(folder / name)) as decoder:
                assert all(found.body is not None for found in decoder)
        except MalformedLog as found_error:
            error = found_error
        assert raises == (error is not None), name
