"""The picture of a plan: every row once, where it belongs, and nothing that is not a picture."""

from __future__ import annotations

from base64 import b64decode
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
import re
from xml.etree import ElementTree as ET

import pytest

from dblog_tasks import picture
from dblog_tasks.picture import RowsOverTime, image, rows_over_time, svg
from dblog_tasks.plan import Plan
from dblog_tasks.planning import PlanRequest, make_plan, selection

SVG = "{http://www.w3.org/2000/svg}"
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def plan(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """The undo of a whole shop's log."""
    made = make_plan(PlanRequest("mysql", (str(corpus / "shop"),), str(tmp_path_factory.mktemp("drawn") / "plan"), "shop"))
    assert made is not None
    return made


def drawn_of(plan: Plan) -> RowsOverTime:
    """Return what is drawn of a plan."""
    found = rows_over_time(plan)
    assert found is not None
    return found


def test_every_row_is_drawn_once(plan: Plan) -> None:
    """The bars of a table add up to what the manifest says, the table with the most rows comes first."""
    expected = {name: sum(counts.values()) for name, counts in plan.manifest["tables"].items()}
    found = {name: sum(rows) for name, rows in drawn_of(plan).tables}

    assert expected == found
    assert sorted(expected.values(), reverse=True) == [*found.values()]


def test_bad_window_is_from_the_first_to_the_last_change(plan: Plan) -> None:
    """Within the time that is drawn."""
    drawn = drawn_of(plan)
    times = sorted(step.transaction.time for step in plan.steps() if step.transaction and step.transaction.time)

    assert (times[0], times[-1]) == drawn.window
    assert drawn.start <= times[0] <= times[-1] <= drawn.end


def test_axis_is_as_long_as_the_log(plan: Plan) -> None:
    """A window of a minute in a log of a day is seen as what it is."""
    first, last = drawn_of(plan).window
    found = rows_over_time(plan, (first - timedelta(hours=6), last + timedelta(hours=6)))

    assert found is not None
    assert timedelta(hours=12) <= found.end - found.start <= timedelta(hours=26)
    assert (first, last) == found.window


def test_picture_is_an_image_that_holds_all_of_itself(plan: Plan) -> None:
    """SVG that can be read, with a bar for each filled bucket, and no address of anything else."""
    drawn = drawn_of(plan)
    found = re.fullmatch(r"!\[rows undone over time\]\(data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)\)", image(drawn))
    assert found
    root = ET.fromstring(b64decode(found[1]))  # noqa: S314 - of our own making
    bars = [rect for rect in root.iter(f"{SVG}rect") if rect.get("fill") == "#c0392b"]

    assert sum(1 for _, rows in drawn.tables for count in rows if count) == len(bars)
    assert "http" not in svg(drawn).replace("http://www.w3.org/2000/svg", "")
    assert all(0 <= float(rect.get("x", -1)) <= picture.WIDTH for rect in bars)


def test_name_of_a_table_is_only_text() -> None:
    """Whatever somebody called it."""
    drawn = RowsOverTime((('a."</text><script>', (1, 0)),), NOON, NOON + timedelta(seconds=2), (NOON, NOON))
    texts = [text.text for text in ET.fromstring(svg(drawn)).iter(f"{SVG}text")]  # noqa: S314 - as above

    assert 'a."</text><script>' in texts


def test_many_tables_share_the_last_band() -> None:
    """What is not shown by name is counted."""
    tables = tuple((f"shop.t{number}", (1,)) for number in range(picture.TABLES_MAX))
    drawn = RowsOverTime((*tables, ("(3 other tables)", (7,))), NOON, NOON + timedelta(seconds=1), (NOON, NOON))

    assert "(3 other tables)" in svg(drawn)


def test_what_cannot_be_drawn_is_none(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan without steps, and one that would take long to read."""
    empty = replace(plan, manifest={**plan.manifest, "segments": []})
    assert rows_over_time(empty) is None
    monkeypatch.setattr(picture, "SEGMENTS_MAX", 0)
    assert rows_over_time(plan) is None


def test_selected_rows_alone_are_drawn(corpus: Path, tmp_path: Path) -> None:
    """A plan of one table has one band."""
    request = PlanRequest("mysql", (str(corpus / "shop"),), str(tmp_path / "plan"), "shop", selection(tables=["shop.orders"]))
    made = make_plan(request)
    assert made is not None

    assert ["shop.orders"] == [name for name, _ in drawn_of(made).tables]
