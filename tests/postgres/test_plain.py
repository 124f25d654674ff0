"""Plain transactions handed in as lines: the plan is byte for byte the one that is made of events, compiled or not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
import random
from typing import Any

import pytest

from benchmarks.decoding_logs import SCHEMA, transactions
from dblog_tasks.plan import Plan, check
from dblog_tasks.planning import PlanRequest, make_plan
from dblog_tasks.postgres import plain
from dblog_tasks.postgres.events import FileDecoder
from dblog_tasks.postgres.skim import compiled, skim

ODD: Mapping[str, str] = {
    "nothing": "",
    "null": " id[integer]:7 customer[bigint]:null total[numeric]:NaN state[text]:null note[character varying]:'null' paid[boolean]:null"
    " placed[timestamp with time zone]:null",
    "infinity": " id[integer]:7 customer[bigint]:1 total[numeric]:Infinity state[text]:'' note[character varying]:'''' paid[boolean]:true"
    " placed[timestamp with time zone]:'infinity'",
    "escapes": " id[integer]:7 customer[bigint]:1 total[numeric]:-0 state[text]:'\\ \" \t \x01 \x7f' note[character varying]:'é'' ''\b\f'"
    " paid[boolean]:true placed[timestamp with time zone]:'2024-01-01 00:00:00+00'",
    "lines": " id[integer]:7 customer[bigint]:1 total[numeric]:1"
    " state[text]:'a\nCOMMIT 1\nBEGIN 2\ntable public.orders: INSERT: id[integer]:7'"
    " note[character varying]:'' paid[boolean]:true placed[timestamp with time zone]:'2024-01-01 00:00:00+00'",
    "carriage return": " id[integer]:7 customer[bigint]:1 total[numeric]:1"
    " state[text]:'a\rb' note[character varying]:'x' paid[boolean]:true"
    " placed[timestamp with time zone]:'2024-01-01 00:00:00+00'\r",
    "another column": " id[integer]:7 customer[bigint]:1 total[numeric]:1 state[text]:'a' more[text]:'b'",
}
MADE = ("all of it", "as events")


def log(row: str = "") -> str:
    """Return a log of many transactions, one of them with this row."""
    written = transactions(random.Random(3))
    text = "".join(next(written) for _ in range(160))
    if row:
        lines = f"BEGIN 9\ntable public.orders: INSERT:{row}\nCOMMIT 9 (at 2026-11-23 04:00:00.5+00)\n"
        half = text.index("BEGIN 1070")
        text = text[:half] + lines + text[half:]
    return text


def planned(tmp_path: Path, text: str | bytes, way: str, schema: str = SCHEMA, **more: object) -> Plan:
    """Return the plan of a log."""
    (tmp_path / "schema.sql").write_text(schema)
    (tmp_path / "changes.out").write_bytes(text if isinstance(text, bytes) else text.encode())
    given = str(tmp_path / "schema.sql") if schema else ""
    made = make_plan(PlanRequest("pg", (str(tmp_path / "changes.out"),), str(tmp_path / way), schema=given, **more))  # type: ignore[arg-type]
    assert made is not None
    assert [] == check(made)
    return made


def contents(plan: Plan) -> object:
    """Return all that a plan says."""
    manifest = {name: value for name, value in plan.manifest.items() if name not in ("segments", "made", "created")}
    return manifest, [repr((step.checkpoint.position, step.transaction, step.operation)) for step in plan.steps()]


@pytest.fixture(params=["compiled", "Python"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways; the one without the compiler is the same code everywhere."""
    if request.param == "Python":
        monkeypatch.setenv("DBLOG_NATIVE", "0")
    elif compiled is None:
        pytest.skip("not compiled here")
    return str(request.param)


@pytest.mark.parametrize("schema", [SCHEMA, ""], ids=["schema", "no schema"])
@pytest.mark.parametrize("odd", ODD)
def test_the_plan_is_the_same(odd: str, schema: str, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever stands among plain transactions, and whether NULL is known from the schema."""
    handed: list[int] = []
    hand_in = plain.PlainTransactions.hand_in

    def counted(self: plain.PlainTransactions, data: bytes, at: int, base: int) -> object:
        found = hand_in(self, data, at, base)
        handed.append(found[1].changes if found else 0)
        return found

    monkeypatch.setattr(plain.PlainTransactions, "hand_in", counted)
    ours = planned(tmp_path, log(ODD[odd]), "plain", schema)
    monkeypatch.setattr(FileDecoder, "_plain", lambda self: None)
    events = planned(tmp_path, log(ODD[odd]), "events", schema)

    assert contents(events) == contents(ours)
    assert events.id == ours.id
    assert sum(handed) > 0


@pytest.mark.parametrize("cut", [b"\xff\xfe", b"\0", b"'", b'"'])
def test_bytes_that_do_not_belong_are_met_alike(cut: bytes, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same error, or the same omissions."""
    data = log().encode()
    at = data.index(b"state[text]:'", len(data) * 2 // 3) + len(b"state[text]:'")
    data = data[:at] + cut + data[at:]
    outcomes = []
    for name in MADE:
        try:
            outcomes.append(contents(planned(tmp_path, data, name)))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the same
            outcomes.append(repr(error))
        monkeypatch.setattr(FileDecoder, "_plain", lambda self: None)

    assert outcomes[1] == outcomes[0]


@pytest.mark.skipif(compiled is None, reason="not compiled here")
@pytest.mark.parametrize("odd", [*ODD, "prepared", "message"])
def test_what_is_passed_over_is_counted_alike(odd: str) -> None:
    """Compiled or not."""
    more = {
        "prepared": "COMMIT PREPARED 'x', txid 7\n",
        "message": "message: transactional: 1 prefix: p, sz: 1 content:a\n",
        "cut": "table",
    }
    data = (log(ODD.get(odd, "")) + more.get(odd, "")).encode()

    assert compiled is not None
    assert skim(data, 0, len(data)) == compiled.skim(data, 0, len(data))


PIECES = (
    b"'",
    b'"',
    b"\n",
    b" ",
    b"null",
    b"table ",
    b"\\",
    b"\xff",
    b"\xc3\xa9",
    b"\r",
    b"''",
    b":",
    b"B'01'",
    b"\0",
    b" new-tuple:",
    b" old-key:",
)


@pytest.mark.skipif(compiled is None, reason="not compiled here")
def test_changed_bytes_are_read_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows with pieces put in or over them: compiled code and Python give the same lines, or both none."""
    calls: list[tuple[Any, ...]] = []
    rows = plain.PlainTransactions.rows

    def noted(self: plain.PlainTransactions, data: bytes, at: int, base: int, specs: Any, *more: int) -> Any:
        calls.append((data[at : data.find(b"\nBEGIN", at)], base, dict(specs), self.place, *more))
        return rows(self, data, at, base, specs, *more)

    monkeypatch.setattr(plain.PlainTransactions, "rows", noted)
    planned(tmp_path, log(), "plan")
    calls = [call for call in calls if call[2]]
    draw, read = random.Random(2), 0
    assert compiled is not None
    for _ in range(10_000):
        data, *given = draw.choice(calls)
        part = bytearray(data[: draw.randrange(1, 3000)])
        for _ in range(draw.randrange(4)):
            at, piece = draw.randrange(len(part) + 1), draw.choice(PIECES)
            part[at : at + draw.choice((0, len(piece)))] = piece
        ours = plain.rows(bytes(part), 0, *given)
        read += ours is not None

        assert ours == compiled.rows(bytes(part), 0, *given)
    assert read > 100
