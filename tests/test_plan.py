"""The plan file: what is written is read back, newest first; what was touched afterwards is found; one folder is one plan."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
import gzip
from itertools import count, zip_longest
from pathlib import Path
import shutil
from threading import Barrier
from typing import Any

from hypothesis import given, strategies as st
import orjson
import pytest

from dblog_tasks import part as parts, plan as plans, planning, storage
from dblog_tasks.errors import DblogError, InvalidInput, MalformedPlan, OutputExists
from dblog_tasks.event import Checkpoint, Column, CommandChange, Omission, Position, RowChanges, Source, Table, Transaction
from dblog_tasks.ledger import Ledger
from dblog_tasks.part import LogPart, PartWriter
from dblog_tasks.plan import Plan, check, manifest_of, read_plan, write_manifest
from dblog_tasks.plan_contents import read_contents, steps_from
from dblog_tasks.planning import PlanRequest, make_plan, selection
from dblog_tasks.recovery import RecoveryStep
from tests.examples import examples

SHOP = sorted((Path(__file__).parent / "corpus" / "shop").glob("shop.0*"))
SOURCE = Source("made", "up")
NUMBERS = count()


@dataclass(frozen=True, slots=True)
class MadeEvent:
    """An event of no log: as much of one as a plan asks for."""

    at: int
    body: Any
    transaction_info: Transaction | None = None
    omission: Omission | None = None
    operation: str | None = "made"
    source: Source = SOURCE
    kind: str = "made"
    raw: bytes = b""
    table: tuple[str, str] | None = None
    time: datetime | None = None

    @property
    def position(self) -> Position:
        return Position("made", f"log:{self.at}")

    @property
    def transaction(self) -> str | None:
        return self.transaction_info.id if self.transaction_info else None


# Surrogates are no text: what a log holds beside text is bytes.
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
numbers = st.integers(-(1 << 63), (1 << 64) - 1) | st.integers()
values = st.none() | numbers | st.floats(allow_nan=False, allow_infinity=False) | words | st.binary(max_size=12)
commands = st.builds(
    CommandChange,
    st.integers(0, 15),
    st.lists(st.binary(max_size=8), min_size=1, max_size=4).map(tuple),
    st.lists(st.binary(max_size=8), min_size=1, max_size=4).map(tuple),
    st.sampled_from(["exact", "residue", "inexact"]),
)


documents = st.recursive(
    st.none() | st.integers(0, 9) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words | st.sampled_from(["format", "plan"]), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """Any table of one to four columns."""
    flag = st.booleans()
    columns = st.builds(Column, words, words, flag, words, st.lists(words, max_size=3).map(tuple), flag, st.none() | flag)
    found = draw(st.lists(columns, min_size=1, max_size=4))
    return Table(draw(words), draw(words), tuple(found), draw(st.sampled_from([(), (0,), tuple(range(len(found)))])))


@st.composite
def row_changes(draw: st.DrawFn, known: Sequence[Table]) -> RowChanges:
    """Rows of one kind, as one event has them."""
    table = draw(st.sampled_from(known))
    rows = st.tuples(*[values] * len(table.columns))
    pairs = draw(st.sampled_from([st.tuples(st.none(), rows), st.tuples(rows, st.none()), st.tuples(rows, rows)]))
    return RowChanges(table, draw(st.lists(pairs, min_size=1, max_size=4)))


@st.composite
def transactions(draw: st.DrawFn, name: int) -> Transaction:
    """A transaction with all a log may tell of it."""
    zone = st.none() | st.datetimes(datetime(1970, 1, 1), datetime(2106, 1, 1)).map(lambda time: time.replace(tzinfo=UTC, fold=0))  # noqa: DTZ001
    texts = st.lists(words, max_size=2).map(tuple)
    start, end = Position("made", f"log:{draw(words)}"), Position("made", draw(words))
    return Transaction(f"{name}", start, end, draw(zone), draw(texts), draw(st.integers(0, 1 << 32)), draw(texts), draw(texts))


@st.composite
def logs(draw: st.DrawFn) -> list[MadeEvent]:
    """Events in transactions and outside of any, in log order."""
    known = draw(st.lists(tables(), min_size=1, max_size=3))
    at, found = 0, []
    for name in range(draw(st.integers(0, 5))):
        transaction = draw(st.none() | transactions(name))
        for body in draw(st.lists(row_changes(known) | commands, min_size=1, max_size=4)):
            at += 1
            found.append(MadeEvent(at, body, transaction))
    return found


def written(events: Sequence[MadeEvent], options: dict[str, Any] | None = None) -> Plan:
    """Return the plan of these events, in a folder of its own in memory."""
    url = f"memory://plans/{next(NUMBERS)}"
    ledger = Ledger(total=len(events))
    writer = PartWriter(url, "log", ledger, options or {})
    for event in events:
        writer.add(event)
    segments = writer.finish()
    end = Checkpoint(SOURCE, events[-1].position if events else Position())
    part = LogPart(("log", "x"), Checkpoint(), end, ledger, segments, writer.tables, tuple(writer.biggest), writer.transaction_count)
    return write_manifest(url, manifest_of("made", SOURCE, {}, [part], plans.Conflicts()), {})


def expected_steps(events: Sequence[MadeEvent]) -> list[RecoveryStep]:
    """Return what a plan of these events must hold, put together without it."""
    undo = [RecoveryStep(Checkpoint(SOURCE, event.position), event.body.reverse(), event.transaction_info) for event in events]
    return undo[::-1]


def differing(expected: Iterable[Any], actual: Iterable[Any]) -> tuple[str, str] | None:
    """Return the first two that differ, also in a type or the sign of zero, as text; None when there are none."""
    pairs = zip_longest(map(repr, expected), map(repr, actual))
    return next(((one, other) for one, other in pairs if one != other), None)


@examples(30)
@given(log=logs())
def test_what_is_written_is_read_back_newest_first(log: list[MadeEvent]) -> None:
    """Steps, rows in them, types of values and transactions are those of the events, in reverse, each undone."""
    plan = written(log)

    again = read_plan(plan.url, {})

    assert differing(expected_steps(log), again.steps()) is None
    assert [event.position.value for event in log] == list(again.positions())
    assert (plan.id, []) == (again.id, check(again))


@examples(12)
@given(log=logs(), size=st.sampled_from([1, 80, 300, 1000]))
def test_where_segments_end_does_not_matter(log: list[MadeEvent], size: int) -> None:
    """Small segments hold the same steps as one."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(parts, "SEGMENT_MAX", size)
        plan = written(log)

    assert differing(expected_steps(log), plan.steps()) is None
    assert size > 1 or len(log) == len(plan.segments(parts.STEPS))
    assert [] == check(plan)


@given(log=logs())
def test_a_step_undone_twice_is_the_event(log: list[MadeEvent]) -> None:
    """`reverse` of what is read is what was written."""
    again = [step.operation.reverse() for step in written(log).steps()]

    assert differing([event.body for event in log], again[::-1]) is None


def test_omissions_are_kept_with_reason_and_fix() -> None:
    """What cannot be undone is in the plan, and counted."""
    event = MadeEvent(7, None, omission=Omission("gone", "look for it"), table=("a", "b"), time=datetime(2026, 1, 1, tzinfo=UTC))
    plan = written([event])

    expected = {
        "at": "log:7",
        "kind": "made",
        "table": "a.b",
        "transaction": None,
        "time": "2026-01-01T00:00:00+00:00",
        "reason": "gone",
        "fix": "look for it",
    }
    assert [expected] == list(plan.omitted())
    assert {"gone": 1} == plan.ledger.omitted


def test_the_biggest_transactions_come_first() -> None:
    """The manifest names as many as it may, by rows, and counts all."""
    table = Table("s", "t", (Column("a", "int"),))
    start, time = Position("made", "log:0"), datetime(2026, 1, 1, tzinfo=UTC)
    log = [
        MadeEvent(
            at, RowChanges(table, [(None, (row,)) for row in range(at % 7 + 1)]), Transaction(f"{at}", start, start, time + timedelta(at))
        )
        for at in range(1, 60)
    ]
    found = written(log).manifest["transactions"]

    assert (59, parts.BIGGEST, 7) == (found["count"], len(found["biggest"]), found["biggest"][0]["rows"])
    assert sorted((entry["rows"] for entry in found["biggest"]), reverse=True) == [entry["rows"] for entry in found["biggest"]]


def shop_plan(out: str, *, jobs: int = 1, **changes: Any) -> Plan:
    """Return a plan of two small tables' changes in the shop's log."""
    known = {"logs": tuple(map(str, SHOP)), "selection": selection(tables=["orders"], kinds=["delete"])}
    made = make_plan(PlanRequest("mysql", out=out, **{**known, **changes}), jobs=jobs)
    assert made is not None
    return made


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """A plan of several segments, with conflicts."""
    monkeypatch.setattr(parts, "SEGMENT_MAX", 2000)
    return shop_plan(str(tmp_path / "plan"), selection=selection(tables=["users", "orders"], until="2026-09-21T14:15:00Z"))


def problems_of(url: str) -> list[str]:
    """Return what a check of the plan in a folder says, however it says it."""
    try:
        return check(read_plan(url, {}))
    except (InvalidInput, MalformedPlan) as error:
        return [str(error)]


def test_a_fresh_plan_is_whole(plan: Plan) -> None:
    """Nothing is found where nothing was done."""
    kinds = {segment.kind for segment in (*plan.segments(parts.STEPS), *plan.segments(parts.CONFLICTS))}

    assert ([], {parts.STEPS, parts.CONFLICTS}) == (problems_of(plan.url), kinds)
    assert len(plan.segments(parts.STEPS)) > 2


def _edited(edit: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def tamper(folder: Path) -> None:
        manifest = orjson.loads((folder / plans.MANIFEST).read_bytes())
        edit(manifest)
        (folder / plans.MANIFEST).write_bytes(orjson.dumps(manifest))

    return tamper


def _segments(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.zst"))


def _swap_files(folder: Path) -> None:
    one, other = _segments(folder)[-2:]
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)


TAMPERINGS: dict[str, Callable[[Path], object]] = {
    "segment removed": lambda folder: _segments(folder)[-1].unlink(),
    "segment emptied": lambda folder: _segments(folder)[-1].write_bytes(b""),
    "segment cut": lambda folder: _segments(folder)[-1].write_bytes(_segments(folder)[-1].read_bytes()[:-20]),
    "segments swapped": _swap_files,
    "segment replaced": lambda folder: shutil.copy(_segments(folder)[-1], _segments(folder)[-2]),
    "no manifest": lambda folder: (folder / plans.MANIFEST).unlink(),
    "manifest cut": lambda folder: (folder / plans.MANIFEST).write_bytes((folder / plans.MANIFEST).read_bytes()[:-9]),
    "manifest no object": lambda folder: (folder / plans.MANIFEST).write_bytes(b"[]"),
    "manifest noise": lambda folder: (folder / plans.MANIFEST).write_bytes(bytes(range(256))),
    "names swapped": _edited(lambda manifest: _swap_names(manifest["segments"])),
    "segment left out": _edited(lambda manifest: manifest["segments"].pop(0)),
    "conflicts left out": _edited(lambda manifest: manifest["segments"].pop()),
    "order changed": _edited(lambda manifest: manifest["segments"].reverse()),
    "hash changed": _edited(lambda manifest: manifest["segments"][0].update(sha256="0" * 64)),
    "size changed": _edited(lambda manifest: manifest["segments"][0].update(size=10)),
    "size gone": _edited(lambda manifest: manifest["segments"][0].pop("size")),
    "kind changed": _edited(lambda manifest: manifest["segments"][0].update(kind="omitted")),
    "hard conflicts hidden": _edited(lambda manifest: manifest["conflicts"].update(hard=0)),
    "ledger made even": _edited(
        lambda manifest: (manifest["ledger"]["not_needed"].update(structure=1), manifest["ledger"].update(total=1))
    ),
    "tables changed": _edited(lambda manifest: manifest.update(tables={})),
    "filter changed": _edited(lambda manifest: manifest["filter"].update(stop="shop.000001:4")),
    "end changed": _edited(lambda manifest: manifest["end"]["position"].update(value="shop.000009:4")),
    "driver changed": _edited(lambda manifest: manifest.update(driver="redis")),
    "format changed": _edited(lambda manifest: manifest.update(format="dblog-plan/1")),
    "plan id changed": _edited(lambda manifest: manifest.update(plan="0" * 32)),
    "ledger gone": _edited(lambda manifest: manifest.pop("ledger")),
}


def _swap_names(segments: list[dict[str, Any]]) -> None:
    segments[0]["name"], segments[1]["name"] = segments[1]["name"], segments[0]["name"]


@pytest.mark.parametrize("tampering", TAMPERINGS)
def test_what_was_touched_afterwards_is_found(plan: Plan, tampering: str) -> None:
    """Whatever is changed in a plan's folder, a check says so, with a declared error at most."""
    TAMPERINGS[tampering](Path(plan.url))

    assert problems_of(plan.url)


BROKEN_LINES = {
    "no JSON": b'{"at":"log:1","in":null,"of":0,"rows":[[[1],[2]]',
    "no object": b"[1]",
    "no rows of pairs": b'{"at":"log:1","in":null,"of":0,"rows":[5]}',
    "of a table that is not there": b'{"at":"log:1","in":null,"of":7,"rows":[[[1],[2]]]}',
    "of a transaction that is not there": b'{"at":"log:1","in":3,"of":0,"rows":[[[1],[2]]]}',
    "of a broken table": b'{"table":1,"schema":"s"}',
    "of a broken transaction": b'{"transaction":0,"id":4}',
    "of broken base64": b'{"at":"log:1","in":null,"of":0,"rows":[[[{"base64":"A"}],[2]]]}',
}


@pytest.mark.parametrize("line", BROKEN_LINES.values(), ids=BROKEN_LINES)
@pytest.mark.parametrize("reader", [lambda plan: list(plan.steps()), lambda plan: (read_contents(plan), list(steps_from(plan, 0)))])
def test_a_line_no_writer_of_ours_wrote_is_a_declared_error(
    line: bytes, reader: Callable[[Plan], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where its hash is the one the manifest names."""
    table = Table("s", "t", (Column("id", "int"),), (0,))
    made = written([MadeEvent(1, RowChanges(table, [((1,), (2,))]))])
    (segment,) = made.segments(parts.STEPS)
    data = made._read(segment) + line + b"\n"
    monkeypatch.setattr(Plan, "_read", lambda *_: data)

    with pytest.raises(MalformedPlan):
        reader(made)


@examples(20)
@given(data=st.data())
def test_a_flipped_byte_never_gives_other_steps(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """A flipped byte in any file of a plan is found, or says nothing else than before."""
    folder = tmp_path_factory.mktemp("plan") / "plan"
    made = shop_plan(str(folder))
    steps = list(made.steps())
    file = data.draw(st.sampled_from([*_segments(folder), folder / plans.MANIFEST]))
    content = bytearray(file.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    file.write_bytes(content)

    assert problems_of(made.url) or differing(steps, read_plan(made.url, {}).steps()) is None


def test_writers_of_one_plan_leave_one(tmp_path: Path) -> None:
    """Whoever comes second has the plan of the first: there is one, and it is whole."""
    out, barrier = str(tmp_path / "plan"), Barrier(4)

    def write(_: int) -> str:
        barrier.wait()
        try:
            return shop_plan(out).id
        except OutputExists:
            return ""

    with ThreadPoolExecutor(4) as pool:
        ids = set(pool.map(write, range(4))) - {""}

    assert {read_plan(out, {}).id} == ids
    assert [] == problems_of(out)


def test_writers_of_different_plans_leave_one(tmp_path: Path) -> None:
    """Who loses the race for a folder says so: another filter's plan is not his."""
    out, barrier = str(tmp_path / "plan"), Barrier(2)

    def write(kind: str) -> str:
        barrier.wait()
        try:
            return shop_plan(out, selection=selection(kinds=[kind])).id
        except OutputExists:
            return ""

    with ThreadPoolExecutor(2) as pool:
        ids = sorted(pool.map(write, ["insert", "update"]))

    assert ["", read_plan(out, {}).id] == ids
    assert [] == problems_of(out)


def test_a_plan_of_another_filter_is_not_taken_for_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan that appears while another one is made stays, and the other one fails."""
    out = str(tmp_path / "plan")
    first = shop_plan(out)
    monkeypatch.setattr(planning, "_refuse_existing", lambda *_: None)

    with pytest.raises(OutputExists):
        shop_plan(out, selection=selection(kinds=["update"]))
    with pytest.raises(InvalidInput):
        shop_plan(out, selection=selection(transactions=["0-1-9999"]))

    assert (first.id, []) == (read_plan(out, {}).id, problems_of(out))


def test_the_plan_id_tells_what_is_done_not_where(tmp_path: Path) -> None:
    """Folder, store, compression, number of processes and order of the URLs do not matter; filter and logs do."""
    packed = tmp_path / "packed"
    packed.mkdir()
    for file in SHOP:
        (packed / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
    same = {
        "disk": shop_plan(str(tmp_path / "a")).id,
        "memory": shop_plan(f"memory://ids/{next(NUMBERS)}").id,
        "two processes": shop_plan(str(tmp_path / "b"), jobs=2).id,
        "gz": shop_plan(str(tmp_path / "c"), logs=(str(packed),)).id,
        "other order": shop_plan(str(tmp_path / "d"), logs=tuple(map(str, reversed(SHOP)))).id,
    }
    other = {
        shop_plan(str(tmp_path / "e"), selection=selection(tables=["orders"])).id,
        shop_plan(str(tmp_path / "f"), source="another").id,
        shop_plan(str(tmp_path / "g"), logs=tuple(map(str, SHOP[:2]))).id,
    }

    assert {same["disk"]} == set(same.values())
    assert 3 == len(other - set(same.values()))


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    """Nothing is added to a folder that holds something else."""
    (tmp_path / "mine.txt").write_text("mine")

    with pytest.raises(OutputExists):
        shop_plan(str(tmp_path))

    assert ["mine.txt"] == [path.name for path in tmp_path.iterdir()]


def test_a_failed_plan_leaves_nothing(tmp_path: Path) -> None:
    """Damage in the last file takes away what the first ones gave."""
    damaged = tmp_path / "logs"
    damaged.mkdir()
    for file in SHOP:
        shutil.copy(file, damaged)
    with (damaged / SHOP[-1].name).open("r+b") as last:
        last.seek(9000)
        last.write(b"\0" * 40)

    with pytest.raises(DblogError):
        shop_plan(str(tmp_path / "out" / "plan"), logs=(str(damaged),))

    assert not (tmp_path / "out" / "plan").exists()


def test_a_folder_of_one_plan_stands_for_it(tmp_path: Path) -> None:
    """The folder above a single plan is read as that plan; above several, they are named."""
    one = shop_plan(str(tmp_path / "one"))

    assert one.id == read_plan(str(tmp_path), {}).id

    shop_plan(str(tmp_path / "other"))
    with pytest.raises(DblogError, match="one, other"):
        read_plan(str(tmp_path), {})


@examples(30)
@given(content=st.binary(max_size=60) | documents.map(orjson.dumps))
def test_any_manifest_is_a_plan_or_a_declared_error(content: bytes) -> None:
    """Whatever lies where the manifest should be, nothing but our errors come of it."""
    url = f"memory://noise/{next(NUMBERS)}"
    storage.write_file(storage.join(url, plans.MANIFEST), content, {})

    with pytest.raises(DblogError):
        read_plan(url, {})
