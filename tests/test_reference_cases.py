"""The root cases of the reference implementation: helpers over symbolic lists of events.

The cases come from DBLOG_CASES; where there are none the tests are skipped by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
import json
import os
from pathlib import Path
from typing import Any

import pytest

import dblog_tasks
from dblog_tasks import Checkpoint, DblogError, Position, Source, bodies, filter_events, flashbacks, recovery_plan

CASES = Path(os.environ.get("DBLOG_CASES", Path(__file__).parents[2] / "shared" / "reference" / "dblog-cases.json"))
ROOT = [case for case in json.loads(CASES.read_text()) if case["backend"] == "root"] if CASES.exists() else []
pytestmark = pytest.mark.skipif(not ROOT, reason="no reference cases: set DBLOG_CASES")


class DecodeError(DblogError):
    """What a symbolic list of events raises."""


@dataclass(frozen=True)
class SymbolicEvent:
    """An event as the cases describe it."""

    source: Source
    position: Position
    kind: str
    body: Any
    undo: Any
    raw: bytes = b""
    time: None = None
    transaction: None = None
    table: None = None

    def reverse(self) -> Any:
        """Return what the case says undoes it."""
        return self.undo


def symbolic(records: list[dict[str, Any] | None]) -> Iterator[SymbolicEvent | None]:
    """Yield the events of a case; raise where it has an error."""
    for record in records:
        if record is not None and "error" in record:
            raise DecodeError(record["error"])
        yield (
            None
            if record is None
            else SymbolicEvent(
                Source(record.get("driver", "test"), record.get("source", "fixture")),
                Position("test", record.get("position", "1")),
                record.get("kind", "fixture"),
                record.get("body"),
                record.get("reverse") if record.get("reversible") else None,
            )
        )


PREDICATES: dict[str, Any] = {"driver": dblog_tasks.by_driver, "kind": dblog_tasks.by_kind, "source": dblog_tasks.by_source}


def outcome(case: dict[str, Any]) -> tuple[list[Any], str | None]:
    """Run a case's helper; return what it gave before the end or an error, and the error's text."""
    options, events = case["options"], symbolic(json.loads(case["input"]))
    predicates: list[Any] = [found and PREDICATES[found[0]](*found[1:]) for found in options.get("predicates", [])]
    streams: dict[str, Callable[[], Iterator[Any]]] = {
        "bodies_str": lambda: bodies(events, str),
        "filter": lambda: filter_events(events, *predicates),
        "flashbacks": lambda: flashbacks(events),
        "recovery_plan": lambda: recovery_plan(events),
    }
    got: list[Any] = []
    try:
        for item in islice(streams[options["helper"]](), options.get("take")):
            got.append(item)
    except DecodeError as error:
        return got, str(error)
    return got, None


@pytest.mark.parametrize("case", ROOT, ids=lambda case: case["name"])
def test_root_case(case: dict[str, Any]) -> None:
    """The helpers give what the reference gives; a plan file, not the stream, has the rollback order (see test_plan)."""
    got, error = outcome(case)

    assert case["expected_error"] == error
    if case["options"]["helper"] == "recovery_plan":
        expected = [
            (Checkpoint(Source(*found["checkpoint"]["source"]), Position(*found["checkpoint"]["position"])), found["operation"])
            for found in case["expected_flashbacks"]
        ]
        assert expected == [(step.checkpoint, step.operation) for step in got]
    elif case["options"]["helper"] == "filter":
        assert case["expected_bodies"] == [event.body for event in got]
        assert case["expected_kinds"] == [event.kind for event in got]
    else:
        assert (case["expected_bodies"] or case["expected_flashbacks"]) == got
