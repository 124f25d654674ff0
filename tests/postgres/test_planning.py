"""Plans of PostgreSQL logs: conflicts, filters, own replays, and what is passed over unread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from dblog_tasks import ledger as words
from dblog_tasks.event import Checkpoint, Position
from dblog_tasks.plan import Plan, check
from dblog_tasks.planning import PlanRequest, make_plan, selection
from dblog_tasks.report import summary
from dblog_tasks.verdict import verdict

SCHEMA = """
CREATE TABLE public.t (a integer NOT NULL, b text);
ALTER TABLE ONLY public.t REPLICA IDENTITY FULL;
ALTER TABLE ONLY public.t ADD CONSTRAINT t_pkey PRIMARY KEY (a);
CREATE TABLE public.u (a integer NOT NULL, b text);
ALTER TABLE ONLY public.u REPLICA IDENTITY FULL;
"""
LOG = """BEGIN 1
table public.t: INSERT: a[integer]:1 b[text]:'one'
table public.t: INSERT: a[integer]:2 b[text]:'two'
table public.u: INSERT: a[integer]:1 b[text]:'u'
COMMIT 1 (at 2026-11-23 10:00:00+00)
BEGIN 2
table public.t: UPDATE: old-key: a[integer]:1 b[text]:'one' new-tuple: a[integer]:1 b[text]:'three'
COMMIT 2 (at 2026-11-23 11:00:00+00)
BEGIN 3
table public.dblog_replay: INSERT: id[integer]:1
table public.t: DELETE: a[integer]:2 b[text]:'two'
COMMIT 3 (at 2026-11-23 12:00:00+00)
BEGIN 4
table public.u: TRUNCATE: (no-flags)
table public.u: INSERT: a[integer]:2 b[text]:'it''s
table public.t: two'
COMMIT 4 (at 2026-11-23 13:00:00+00)
"""
Making = Callable[..., Plan]


@pytest.fixture
def planned(tmp_path: Path) -> Making:
    """Makes the plan of the log above, whole and balanced."""
    (tmp_path / "schema.sql").write_text(SCHEMA)
    (tmp_path / "changes.out").write_text(LOG)
    numbers = iter(range(100))

    def making(**more: Any) -> Plan:
        chosen = {
            name: more.pop(name) for name in ("tables", "kinds", "transactions", "since", "until", "where", "columns") if name in more
        }
        out = str(tmp_path / f"plan-{next(numbers)}")
        request = PlanRequest(
            "pg", (str(tmp_path / "changes.out"),), out, selection=selection(**chosen), schema=str(tmp_path / "schema.sql"), **more
        )
        made = make_plan(request)
        assert made is not None
        assert [] == check(made)
        return made

    return making


def undone(made: Plan) -> list[tuple[str, Any]]:
    """Table and rows of each step, newest first."""
    return [(step.operation.table.name, step.operation.rows[0]) for step in made.steps()]


def test_everything_but_our_own_replay(planned: Making) -> None:
    """TRUNCATE is omitted with its reason, each other record has a verdict."""
    made = planned()
    assert ["u", "t", "u", "t", "t"] == [table for table, _ in undone(made)]
    assert {"TRUNCATE of public.u": 1} == made.ledger.omitted
    assert 4 == made.ledger.not_needed[words.OWN_REPLAY]
    assert (16, 10) == (made.ledger.total, made.ledger.not_needed[words.STRUCTURE] + made.ledger.not_needed[words.OWN_REPLAY])
    assert "NOT SAFE" in verdict(made)
    assert "psql" not in summary(made)


def test_later_changes_of_the_same_rows_are_conflicts(planned: Making) -> None:
    """Of another transaction, and of our own replay."""
    made = planned(transactions=["1"], tables=["t"])
    assert [("insert", "1"), ("insert", "2")] == [("insert", now[0]) for _, (now, _) in reversed(undone(made))]
    assert [("hard", "column changed", ["1"]), ("hard", "row gone", ["2"])] == [
        (it["severity"], it["what"], it["key"]) for it in made.conflicts()
    ]
    assert {"public.t": 2} == made.manifest["conflicts"]["keys"]


@pytest.mark.parametrize(
    ("chosen", "tables", "reasons"),
    [
        ({"tables": ["public.u"]}, ["u", "u"], {words.OTHER_TABLE: 4, words.STRUCTURE: 6, words.OWN_REPLAY: 4}),
        (
            {"kinds": ["update"], "tables": ["t"]},
            ["t"],
            {words.OTHER_KIND: 2, words.OTHER_TABLE: 3, words.STRUCTURE: 6, words.OWN_REPLAY: 4},
        ),
        ({"transactions": ["2"]}, ["t"], {words.OTHER_TRANSACTION: 9, words.STRUCTURE: 2, words.OWN_REPLAY: 4}),
        (
            {"since": "2026-11-23T10:30:00Z", "until": "2026-11-23T11:30:00Z"},
            ["t"],
            {words.OUTSIDE_WINDOW: 9, words.STRUCTURE: 2, words.OWN_REPLAY: 4},
        ),
        (
            {"where": "b = 'one'", "kinds": ["insert"]},
            ["t"],
            {words.ROW_FILTER: 3, words.OTHER_KIND: 1, words.STRUCTURE: 6, words.OWN_REPLAY: 4},
        ),
        ({"tables": ["rare"], "own_replays": True}, [], {words.OTHER_TABLE: 8, words.STRUCTURE: 8}),
    ],
)
def test_filters_leave_out_with_their_reason(planned: Making, chosen: dict[str, Any], tables: list[str], reasons: dict[str, int]) -> None:
    """Every record that is left out is counted under the filter that did it."""
    made = planned(**chosen)
    omitted = made.ledger.omitted.total()
    assert tables == [table for table, _ in undone(made)]
    assert made.ledger.total == 16 == made.ledger.undone + omitted + made.ledger.not_needed.total()
    if not omitted:
        assert reasons == dict(made.ledger.not_needed)


def test_a_rare_table_is_found_among_transactions_that_are_passed_over(tmp_path: Path) -> None:
    """Its rows are those that reading everything gives, and the counts are the same."""
    row = "table public.t: INSERT: a[integer]:{} b[text]:'it''s'\n"
    parts = []
    for number in range(3000):
        rare = "table public.rare: INSERT: a[integer]:1\n" if number % 700 == 3 else ""
        odd = 'table public."T": INSERT: a[integer]:1\n' if number % 900 == 5 else ""
        several = (
            "table public.t: INSERT: a[integer]:1 b[text]:'x\ntable public.rare: INSERT: a[integer]:2\nBEGIN 5\n'\n"
            if number % 1100 == 7
            else ""
        )
        parts.append(f"BEGIN {number + 9}\n{row.format(number)}{rare}{odd}{several}COMMIT {number + 9} (at 2026-11-23 10:00:00+00)\n")
    (tmp_path / "changes.out").write_text("".join(parts))
    logs = (str(tmp_path / "changes.out"),)

    found = make_plan(PlanRequest("pg", logs, str(tmp_path / "one"), selection=selection(tables=["public.rare"])))
    slow = make_plan(PlanRequest("pg", logs, str(tmp_path / "two"), selection=selection(tables=["public.rar[e]"])))

    assert found is not None
    assert slow is not None
    assert 5 == found.ledger.undone
    assert slow.ledger == found.ledger
    assert [step.checkpoint for step in slow.steps()] == [step.checkpoint for step in found.steps()]
    assert (slow.end, slow.manifest["conflicts"]["known_up_to"]) == (found.end, found.manifest["conflicts"]["known_up_to"])


def test_a_run_goes_on_where_the_last_one_ended(planned: Making, tmp_path: Path) -> None:
    """A transaction without its end waits; the file grows."""
    whole = LOG.encode()
    out, log = str(tmp_path / "plans"), tmp_path / "growing.out"
    request = PlanRequest("pg", (str(log),), out, schema=str(tmp_path / "schema.sql"), resume=True)
    planned()
    steps = []
    for size in (whole.index(b"COMMIT 1") + 60, whole.index(b"COMMIT 3") + 60, len(whole)):
        log.write_bytes(whole[:size])
        made = make_plan(request)
        assert made is not None
        steps += [step.checkpoint.position.value for step in reversed(list(made.steps()))]
    assert make_plan(request) is None
    assert [step.checkpoint.position.value.rpartition(":")[2] for step in reversed(list(planned().steps()))] == [
        at.rpartition(":")[2] for at in steps
    ]


def test_a_checkpoint_of_another_log_is_refused(planned: Making) -> None:
    """By what its first change was."""
    start = Checkpoint(position=Position("pg", planned().end.position.value), log="0" * 32)
    with pytest.raises(Exception, match="another log"):
        planned(start=start)


def test_rows_are_chosen_by_what_their_text_means(planned: Making) -> None:
    """A condition on an integer, which the log has as text, takes the rows it means."""
    assert [("t", (("2", "two"), None))] == undone(planned(tables=["public.t"], where="after.a >= 1.5"))
    assert [("t", (("1", "three"), ("1", "one")))] == undone(planned(tables=["public.t"], where="before.a = 01"))


@pytest.mark.parametrize("cuts", [["BEGIN 2"], ["BEGIN 3"], ["BEGIN 2", "BEGIN 4"]])
def test_a_log_in_several_files_is_one_log(tmp_path: Path, cuts: list[str]) -> None:
    """Divided between transactions it has the same changes; later ones are looked for in all of its files, whatever is selected."""
    (tmp_path / "schema.sql").write_text(SCHEMA)
    places = [0, *map(LOG.index, cuts), len(LOG)]
    for number, (start, end) in enumerate(pairwise(places), 1):
        (tmp_path / f"log.{number:06}").write_text(LOG[start:end])
    (tmp_path / "whole.out").write_text(LOG)

    def steps(*logs: str, **chosen: Any) -> tuple[list[str], int]:
        paths = tuple(str(tmp_path / log) for log in logs)
        out = str(tmp_path / "-".join(["plan", *logs, *chosen]))
        made = make_plan(PlanRequest("pg", paths, out, selection=selection(**chosen), schema=str(tmp_path / "schema.sql")))
        assert made is not None
        return [str(step.operation) for step in made.steps()], made.manifest["conflicts"]["hard"]

    files = [f"log.{number:06}" for number in range(1, len(places))]
    assert steps("whole.out") == steps(*files)
    assert steps("whole.out", transactions=("1",)) == steps(*files, transactions=("1",))


def test_a_transaction_between_two_files_is_said(tmp_path: Path) -> None:
    """What the first file has of it was not committed there, and what the second one has is not all of it; also without the first."""
    cut = LOG.index("table public.u: INSERT: a[integer]:1")
    (tmp_path / "log.000001").write_text(LOG[:cut])
    (tmp_path / "log.000002").write_text(LOG[cut:])
    (tmp_path / "schema.sql").write_text(SCHEMA)
    schema = str(tmp_path / "schema.sql")
    request = PlanRequest("pg", (str(tmp_path / "log.*"),), str(tmp_path / "plan"), selection=selection(), schema=schema)
    made = make_plan(request)

    assert made is not None
    assert [] == check(made)
    assert LOG.count("\n") - 1 == made.ledger.total  # a text has an end of line in it
    assert 2 == made.ledger.omitted["not committed in this log"]
    assert 1 == made.ledger.omitted["a transaction that began before this log"]
    (tmp_path / "log.000001").unlink()
    made = make_plan(replace(request, out=str(tmp_path / "second")))
    assert made is not None
    assert 1 == made.ledger.omitted["a transaction that began before this log"]
