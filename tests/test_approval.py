"""What an answer means, what is shown, and Markdown: no server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dblog_tasks import approval
from dblog_tasks.approval import APPROVED, CHANGED, DECLINED, EXPIRED, UNACCEPTED, UNCLEAR, WRONG_ID, Approval, Look, Shown
from dblog_tasks.markdown import bullets, cell, code, table
from dblog_tasks.plan import Plan
from dblog_tasks.planning import PlanRequest, make_plan
from dblog_tasks.text import MASKED

ID, OTHER = "a" * 32, "b" * 32
ASKED = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def plan(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """The undo of all the shop did."""
    made = make_plan(PlanRequest("mysql", (str(corpus / "shop"),), str(tmp_path_factory.mktemp("approval") / "plan"), source="shop"))
    assert made is not None
    return made


@pytest.mark.parametrize(
    ("given", "shown", "now", "became", "why"),
    [
        ({}, {}, ASKED, DECLINED, "declined by Ann, nothing was changed"),
        ({"plan_id": ID}, {}, ASKED, UNCLEAR, "Ann gave a plan id, and chose to decline"),
        ({"decision": "approve", "plan_id": ID}, {}, ASKED, APPROVED, "approved by Ann"),
        ({"decision": "approve", "plan_id": f"\n{ID} "}, {}, ASKED, APPROVED, "approved by Ann"),
        ({"decision": "approve"}, {}, ASKED, WRONG_ID, "no id is not the id of this plan, nothing was changed"),
        ({"decision": "approve", "plan_id": OTHER}, {}, ASKED, WRONG_ID, f"“{OTHER}” is not the id of this plan, nothing was changed"),
        ({"decision": "approve", "plan_id": ID[:8]}, {}, ASKED, WRONG_ID, "“aaaaaaaa” is not the id of this plan, nothing was changed"),
        ({"decision": "approve", "plan_id": OTHER}, {"plan": OTHER}, ASKED, CHANGED, "the plan is another one than the one that was shown"),
        ({"decision": "approve", "plan_id": ID}, {}, ASKED + HOUR, APPROVED, "approved by Ann"),
        (
            {"decision": "approve", "plan_id": ID},
            {},
            ASKED + HOUR + timedelta(microseconds=1),
            EXPIRED,
            "the approval by Ann came or was used later than 1 hour after it was asked for",
        ),
        (
            {"decision": "approve", "plan_id": ID},
            {"to_accept": ("TRUNCATE",)},
            ASKED,
            UNACCEPTED,
            "Ann did not accept what is named under To accept",
        ),
        ({"decision": "approve", "plan_id": ID, "accept": True}, {"to_accept": ("TRUNCATE",)}, ASKED, APPROVED, "approved by Ann"),
    ],
)
def test_an_answer_means(given: dict[str, Any], shown: dict[str, Any], now: datetime, became: str, why: str) -> None:
    """The table at the head of the module, with its borders."""
    what = {"plan": ID, "conflicts": frozenset(), "to_accept": (), "on_conflict": "stop", "at": ASKED, **shown}

    answer = approval.judge(Approval(name=" Ann ", **given), Shown(**what), ID, now=now, counts=HOUR)

    assert (became, "Ann", why) == (answer.became, answer.name, answer.why)


@pytest.mark.parametrize(("said", "done"), [({}, "skip"), ({"on_conflict": "force"}, "force")])
def test_conflicts_are_dealt_with_as_said(said: dict[str, Any], done: str) -> None:
    """What the form was not asked counts as the run was started; what was accepted is named."""
    shown = Shown(ID, frozenset(), ("TRUNCATE",), "skip", ASKED)

    answer = approval.judge(Approval(decision="approve", plan_id=ID, name="Ann", accept=True, **said), shown, ID, now=ASKED, counts=HOUR)

    assert (done, ("TRUNCATE",)) == (answer.on_conflict, answer.accepted)


@pytest.mark.parametrize(
    ("found", "became"),
    [
        (Look(), APPROVED),
        (Look((), frozenset({"one"})), APPROVED),
        (Look((), frozenset({"one", "two"})), CHANGED),
        (Look((), frozenset(), ("hard conflicts",)), CHANGED),
    ],
)
def test_what_is_new_was_not_approved(found: Look, became: str) -> None:
    """A conflict that is gone takes nothing away; a new one does."""
    shown = Shown(ID, frozenset({"one"}), (), "stop", ASKED)

    assert became == approval.compared(approval.Answer(APPROVED, "Ann", ""), shown, found).became


@pytest.mark.parametrize(
    ("look", "asked"),
    [
        (Look(), ["decision", "plan_id", "name"]),
        (Look((), frozenset({"one"})), ["decision", "plan_id", "name", "on_conflict"]),
        (Look((), frozenset(), ("TRUNCATE",)), ["decision", "plan_id", "name", "accept"]),
    ],
)
def test_form_asks_for_what_there_is_to_say(look: Look, asked: list[str]) -> None:
    """Every field has a title and a description, and nothing is asked that does not matter."""
    fields = approval.form("text", look, "skip").model_json_schema()["properties"]

    assert asked == list(fields)
    assert [] == [name for name, field in fields.items() if not (field.get("title") and field.get("description"))]
    assert fields.get("on_conflict", {"default": "skip"})["default"] == "skip"


@pytest.mark.parametrize("mask", [False, True])
def test_screen_says_what_is_approved(plan: Plan, *, mask: bool) -> None:
    """Verdict, rows, target, id, tables, samples; under mask no value of a row."""
    look = Look(("**The target** now: 3 rows.",), frozenset(), ("TRUNCATE of shop.orders",))

    text = approval.screen(plan, look, target="block:shop", mask=mask, counts=HOUR, now=ASKED, why="a *reason*")

    lines = text.split("\n\n")
    assert ["**Asked again:** a \\*reason\\*.", "## READY", "Undo of **362 rows** of shop on `block:shop`."] == lines[:3]
    assert f"the plan id `{plan.id}`, before 2026-11-23 15:00:00Z" in lines[3]
    assert "| shop.orders | 95 | 10 | 54 |" in text
    assert "**To accept**:\n\n- TRUNCATE of shop.orders" in text
    assert (mask, not mask) == (cell(MASKED) in text, "SKU-B" in text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(3600, "1 hour"), (7200, "2 hours"), (60, "1 minute"), (5400, "90 minutes"), (1.5, "1.5 seconds"), (86400, "1 day")],
)
def test_durations_in_words(seconds: float, text: str) -> None:
    """In the largest unit that it is a whole number of."""
    assert text == approval.duration(timedelta(seconds=seconds))


def test_text_of_a_log_is_text_in_markdown() -> None:
    """Nothing that a value holds is taken for a mark, a cell, a row or a link."""
    evil = "a|b `c` <script> [x](http://y) *z*\nnext"

    assert "a\\|b \\`c\\` \\<script\\> \\[x\\](http://y) \\*z\\* next" == cell(evil)
    assert "| h |\n| --- |\n| a\\|b |\n\n… and 1 more" == table(("h",), [("a|b",), ("c",)], 1)
    assert ("- a\n- b", "`it is`") == (bullets(["a", "b"]), code("`it\nis`"))
