"""What a run's artifacts say, without a server."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from dblog_tasks import dashboards
from dblog_tasks.dashboards import FILES_SHOWN, PlanProgress, coverage_table, log_span, plan_tag
from dblog_tasks.event import Checkpoint, Position
from dblog_tasks.ledger import Ledger
from dblog_tasks.part import LogPart
from dblog_tasks.storage import LogFile


def part(number: int, *, omitted: int = 0, hours: tuple[int, int] | None = None) -> LogPart:
    """Return what was planned of a log file: seven events, some of them omitted."""
    ledger = Ledger(total=7, undone=7 - omitted, omitted=Counter({"statement": omitted} if omitted else {}))
    span = tuple(datetime(2026, 11, 23, hour, tzinfo=UTC) for hour in hours) if hours else None
    end = Checkpoint(position=Position("mysql", f"log.{number:06}:99"))
    return LogPart((f"log.{number:06}", "identity"), Checkpoint(), end, ledger, span=span)  # type: ignore[arg-type]  # of two


def test_coverage_says_for_every_file_what_is_recoverable() -> None:
    """The last file first; a gap is named with how often."""
    assert [
        {
            "log": "log.000002",
            "recoverable": "GAP: statement (3)",
            "from": "",
            "until": "",
            "up to": "log.000002:99",
            "events": 7,
            "undone": 4,
            "omitted": 3,
        },
        {
            "log": "log.000001",
            "recoverable": "all that was asked for",
            "from": "2026-11-23 09:00:00Z",
            "until": "2026-11-23 11:00:00Z",
            "up to": "log.000001:99",
            "events": 7,
            "undone": 7,
            "omitted": 0,
        },
    ] == coverage_table([part(1, hours=(9, 11)), part(2, omitted=3)])


def test_coverage_of_many_files_is_of_the_last() -> None:
    """A page of thousands of lines is read by nobody."""
    found = coverage_table([part(number) for number in range(FILES_SHOWN + 5)])

    assert (FILES_SHOWN, f"log.{FILES_SHOWN + 4:06}") == (len(found), found[0]["log"])


def test_span_is_of_all_files_that_tell_times() -> None:
    """None where no file does."""
    first, last = (datetime(2026, 11, 23, hour, tzinfo=UTC) for hour in (9, 14))

    assert (first, last) == log_span([part(1, hours=(9, 11)), part(2), part(3, hours=(12, 14))])
    assert log_span([part(1)]) is None


def test_progress_tells_rate_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """By bytes; shown at most once a second, and in the end."""
    shown: list[tuple[float, str]] = []
    now = [100.0]
    monkeypatch.setattr(dashboards, "monotonic", lambda: now[0])

    def note(**given: Any) -> UUID:
        shown.append((given["progress"], given["description"]))
        return uuid4()

    monkeypatch.setattr(dashboards, "create_progress_artifact", note)
    monkeypatch.setattr(dashboards, "update_progress_artifact", note)
    files = [LogFile(f"/log.{number}", f"log.{number}", 1 << 20, "") for number in range(4)]
    progress = PlanProgress("key", files)
    for file, seconds in zip(files, (0.5, 1.0, 0.2, 0.3), strict=True):
        now[0] += seconds
        progress.add([file])
    progress.end()

    assert [
        (0.0, "0 of 4 log files, 0 bytes of 4.0 MiB"),
        (50.0, "2 of 4 log files, 2.0 MiB of 4.0 MiB, 1.3 MiB a second, 0:00:02 left"),
        (100.0, "4 of 4 log files, 4.0 MiB of 4.0 MiB, 2.0 MiB a second, 0:00:00 left"),
    ] == shown


def test_progress_without_sizes_counts_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that does not say how big its files are."""
    shown: list[Any] = []
    monkeypatch.setattr(dashboards, "create_progress_artifact", lambda **given: uuid4())
    monkeypatch.setattr(dashboards, "update_progress_artifact", lambda **given: shown.append((given["progress"], given["description"])))
    files = [LogFile("/a", "a", None, ""), LogFile("/b", "b", None, "")]
    progress = PlanProgress("key", files)
    progress.add(files[:1])
    progress.end()

    assert (50.0, "1 of 2 log files") == shown[-1]


def test_tag_of_a_plan_is_short() -> None:
    """It stands on the page of a run."""
    assert "dblog-plan:16faba862abc" == plan_tag("16faba862abc91d90db9f4864302aaef")
