"""Findings: how they are told, kept, and compared with those of the last look."""

from __future__ import annotations

from typing import Any

import pytest

from dblog_tasks.errors import InvalidInput
from dblog_tasks.findings import LOST, NOTE, RISK, SHELL, SHOWN_MAX, Drift, Examination, Finding, drift, examination, finding_lines

IMAGE = Finding(LOST, "binlog_row_image", "old values", "", "MINIMAL", "SET GLOBAL binlog_row_image = FULL;")
KEYLESS = Finding(RISK, "no key", "rows are alike", "shop.a", "", "ALTER TABLE a ADD …;")
TEXT = Finding(NOTE, "text", "nobody knows who")


def look(*findings: Finding, **settings: str) -> Examination:
    """Return an examination of one server."""
    return examination("mysql://db1/shop", findings, settings)


def test_the_worst_comes_first_and_notes_are_healthy() -> None:
    """Whatever order the checks have."""
    found = look(TEXT, KEYLESS, IMAGE)

    assert (IMAGE, KEYLESS, TEXT) == found.findings
    assert (False, True, True) == (found.healthy, look(TEXT).healthy, look().healthy)


def test_an_examination_comes_back_equal() -> None:
    """From JSON."""
    found = look(IMAGE, KEYLESS, TEXT, version="10.11")

    assert found == Examination.from_json(found.to_json())


@pytest.mark.parametrize(
    "value",
    [None, [], {}, {"version": 2}, {"version": 1, "of": "a", "settings": {}, "findings": [{"severity": 3}]}, {"version": 1, "of": 1}],
)
def test_what_is_no_examination_is_refused(value: Any) -> None:
    """Whatever a file holds."""
    with pytest.raises(InvalidInput, match="no examination"):
        Examination.from_json(value)


@pytest.mark.parametrize(
    ("last", "now", "changed"),
    [
        (look(IMAGE), look(IMAGE), Drift()),
        (look(), look(IMAGE), Drift(("binlog_row_image = MINIMAL: old values",))),
        (look(IMAGE, KEYLESS), look(IMAGE), Drift((), ("no key of shop.a is no longer found",))),
        (
            look(Finding(LOST, "binlog_row_image", "old values", "", "NOBLOB")),
            look(IMAGE),
            Drift(("binlog_row_image = MINIMAL, before NOBLOB: old values",)),
        ),
        (look(keep="30"), look(keep="14"), Drift(("keep was 30 and is 14",))),
        (look(binlog_row_image="FULL"), look(IMAGE, binlog_row_image="MINIMAL"), Drift(("binlog_row_image = MINIMAL: old values",))),
        (
            look(IMAGE, binlog_row_image="MINIMAL"),
            look(binlog_row_image="FULL"),
            Drift((), ("binlog_row_image = MINIMAL is no longer found",)),
        ),
        (look(), look(keep=""), Drift(("keep was not there and is empty",))),
    ],
)
def test_drift(last: Examination, now: Examination, changed: Drift) -> None:
    """New findings and settings are worse, findings that are gone are better; each change is told once."""
    assert changed == drift(last, now)


def test_text_shows_statements_and_says_what_it_leaves_out() -> None:
    """Every finding with its statement on a line to paste, what is not SQL with what runs it."""
    many = [Finding(RISK, "no key", "rows are alike", f"shop.t{number}") for number in range(SHOWN_MAX + 3)]
    lines = list(finding_lines(look(IMAGE, Finding(LOST, "encrypted", "unreadable", "", "", "fetch it", SHELL), *many)))

    assert f"mysql://db1/shop: 2 lost, {len(many)} risk" == lines[0]
    assert ["lost  binlog_row_image = MINIMAL: old values", "      SET GLOBAL binlog_row_image = FULL;"] == lines[1:3]
    assert ["lost  encrypted: unreadable", "      shell:", "      fetch it"] == lines[3:6]
    assert "… and 3 more of no key: --as json" == lines[-1]
    assert ["mysql://db1/shop: nothing an undo would miss"] == list(finding_lines(look()))
