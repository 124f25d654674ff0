"""With an index a plan is the plan without one, and less is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
import gzip
from pathlib import Path
from typing import Any

from hypothesis import given, settings, strategies as st
import pytest

import dblog_tasks
from dblog_tasks import storage
from dblog_tasks.event import Checkpoint, Position
from dblog_tasks.filters import Predicate, any_of, by_table, by_time, by_transaction, not_
from dblog_tasks.mysql import binlog, gtid, header_index, indexes
from dblog_tasks.origin_filters import by_gtid, by_thread
from dblog_tasks.plan import Plan
from dblog_tasks.planning import selection
from dblog_tasks.storage import logs as stored_logs
from tests.fixtures import NOT_HERE, scenarios
from tests.mysql import binlog_writer as write
from tests.mysql.indexed import SMALL, a_folder, closed, ends, indexed, plan_or_error, rows, said_by, series, unread

CORPUS = Path(__file__).parent.parent / "corpus"
SHOP = CORPUS / "shop"
FILES = sorted(SHOP.glob("shop.0*"))
FOUND = CORPUS / "found"
SCENARIOS = scenarios()


def selections(logs: Sequence[str]) -> st.SearchStrategy[tuple[Predicate, ...]]:
    """Return a strategy of selections of what a log holds, and of a little that it does not."""
    with dblog_tasks.open("mysql", path=tuple(logs), own_replays=True) as decoder:
        events = [event for event in decoder if event.transaction is not None]
    times = sorted({event.time for event in events if event.time}) or [datetime(2026, 1, 1, tzinfo=UTC)]
    tables = sorted({".".join(event.table) for event in events if event.table}) or ["d.t"]
    names = sorted({name for event in events for name in getattr(event, "transaction_names", ())}) or ["1"]
    gtids = sorted({found for event in events if (found := getattr(event, "gtid", ""))})
    threads = sorted({found for event in events if (found := getattr(event, "thread", 0))}) or [1]
    time = st.sampled_from([times[0] - timedelta(1), *times, times[-1] + timedelta(1)])
    table = st.sampled_from([*tables, "nobody.*", "*"]).map(by_table)
    kinds = st.sampled_from(["insert", "update", "delete", "QUERY_EVENT", "XID_EVENT"]).map(dblog_tasks.by_kind)
    window = st.tuples(time, time).map(lambda pair: by_time(min(pair), max(pair) + timedelta(microseconds=1)))
    sets = [st.sampled_from(gtids).map(lambda text: by_gtid(gtid.parse(text)))] if gtids else []
    simple = st.one_of(
        table, kinds, window, time.map(by_time), st.sampled_from(names).map(by_transaction),
        st.sampled_from(threads).map(by_thread), *sets,
    )  # fmt: skip
    one = st.one_of(simple, st.lists(simple, min_size=2, max_size=3).map(lambda found: any_of(*found)), table.map(not_), kinds.map(not_))
    return st.lists(one, max_size=3).map(tuple)


# --- with and without ----------------------------------------------------------------------------------------------------------------

ASKED: dict[str, dict[str, Any]] = {
    "a table": {"tables": ["orders"]},
    "another table": {"tables": ["users"]},
    "no table": {"tables": ["nobody.*"]},
    "not a table": {"tables": ["!orders", "!users", "!order_items"]},
    "a kind": {"kinds": ["delete"]},
    "a transaction": {"transactions": ["0-1-35"]},
    "a transaction by its place": {"transactions": ["shop.000001:9338"]},
    "a GTID set": {"gtids": ["0-1-30..40"]},
    "a GTID set of another domain": {"gtids": ["7-1-30..40"]},
    "a window": {"since": "2026-09-21T14:13:00Z", "until": "2026-09-21T14:13:30Z"},
    "a table in a window": {"tables": ["users"], "since": "2026-09-21T14:16:00Z"},
}


@pytest.mark.parametrize("asked", ASKED.values(), ids=list(ASKED))
def test_a_plan_with_an_index_is_the_plan_without(shop_index: str, asked: dict[str, Any]) -> None:
    """Steps, omissions, conflicts, checkpoints, spans and errors; the ledger's total and all it does not lay to a filter."""
    logs, chosen = [str(SHOP)], selection(**asked)

    expected, actual = (plan_or_error(logs, index, chosen) for index in ("", shop_index))

    assert said_by(expected) == said_by(actual)


def test_what_is_not_read_is_counted(shop_index: str) -> None:
    """Events of stretches that nothing asked for is in have a reason of their own."""
    asked = ("no table", "a transaction", "a kind")
    found = {name: unread(plan_or_error([str(SHOP)], shop_index, selection(**ASKED[name]))) for name in asked}

    assert dict.fromkeys(asked, True) == {name: number > 400 for name, number in found.items()}


@pytest.fixture(scope="module")
def shop_index() -> str:
    """A folder with indexes of the shop's files, in small stretches."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(header_index, "STRETCH_SIZE", SMALL)
        return indexed([str(SHOP)])


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_selection_tells_an_index(shop_index: str, data: st.DataObject) -> None:
    """Whatever is asked for, with bounds and transactions whole or not: the plan is the same."""
    logs = [str(file) for file in FILES]
    chosen = data.draw(SHOP_SELECTIONS)
    bounds = sorted(data.draw(st.lists(st.sampled_from(_places()), max_size=2, unique=True)))
    more: dict[str, Any] = {"whole_transactions": data.draw(st.booleans()), "own_replays": data.draw(st.booleans())}
    if bounds:
        more["start"] = Checkpoint(position=Position("mysql", bounds[0][1]))
    if len(bounds) == 2:
        more["stop"] = Position("mysql", bounds[1][1])

    assert said_by(plan_or_error(logs, "", chosen, **more)) == said_by(plan_or_error(logs, shop_index, chosen, **more))


SHOP_SELECTIONS = selections([str(file) for file in FILES])


def _places() -> list[tuple[tuple[str, int], str]]:
    found = []
    for file in FILES:
        log, at = file.read_bytes(), 4
        while at < len(log):
            at += int.from_bytes(log[at + 9 : at + 13], "little")
            found.append(((file.name, at), f"{file.name}:{at}"))
    return found


@pytest.mark.slow
@pytest.mark.skipif(not SCENARIOS, reason=NOT_HERE)
@pytest.mark.parametrize("name", SCENARIOS)
def test_no_selection_of_a_recorded_log_tells_an_index(name: str, scenario: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same over what real servers wrote: XA, DDL, statements, compressed transactions, cascades, damage."""
    monkeypatch.setattr(header_index, "STRETCH_SIZE", SMALL)
    folder = scenario(name)
    logs = [str(path) for path in sorted(folder.rglob("*.0*")) if path.is_file() and path.suffix[1:].isdigit()]
    groups = [logs] if not isinstance(plan_or_error(logs, "", ()), str) else [[log] for log in logs]
    for group in groups:
        if isinstance(plan_or_error(group, "", ()), str):
            continue
        compare_many(group)


def compare_many(logs: Sequence[str]) -> None:
    """Hold plans of many selections of a log against those made with its index."""
    index = indexed(logs)

    examples = 15 if sum(Path(log).stat().st_size for log in logs) < 1 << 20 else 3

    @settings(max_examples=examples, deadline=None, database=None)
    @given(chosen=selections(logs), whole=st.booleans())
    def same(chosen: tuple[Predicate, ...], whole: bool) -> None:  # noqa: FBT001 - Hypothesis gives it
        expected, actual = (plan_or_error(logs, url, chosen, whole_transactions=whole) for url in ("", index))
        assert said_by(expected) == said_by(actual)

    same()


# --- what is read --------------------------------------------------------------------------------------------------------------------


class Reading:
    """What is read of log files while it is watched: ranges by name of the file."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ranges: list[tuple[str, int, int | None]] = []
        read_blocks = stored_logs.read_blocks

        def watched(file: storage.LogFile, options: Any, **more: Any) -> Iterator[bytes]:
            self.ranges.append((file.name, more.get("start", 0), more.get("stop")))
            return read_blocks(file, options, **more)

        monkeypatch.setattr(stored_logs, "read_blocks", watched)
        monkeypatch.setattr(storage, "read_blocks", watched)

    def beyond_heads(self) -> list[tuple[str, int, int | None]]:
        """Return the ranges but those of the first bytes of a file."""
        return [found for found in self.ranges if found[1:] != (0, indexes.HEAD_SIZE)]


def test_only_files_that_hold_a_table_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a series in which one file holds a table, that one alone is read beyond its head, by the plan and by its second pass."""
    logs = series(tmp_path, tables=["t", "t", "rare", "t", "t"])
    index = indexed([logs])
    reading = Reading(monkeypatch)

    plan = plan_or_error([logs], index, selection(tables=["rare"], kinds=["insert"]))

    assert isinstance(plan, Plan)
    assert 1 == plan.ledger.undone
    assert {"bin.000003"} == {name for name, _, _ in reading.beyond_heads()}


def test_only_the_part_of_a_file_that_holds_a_table_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A range of whole transactions around it."""
    monkeypatch.setattr(header_index, "STRETCH_SIZE", 500)
    log = closed(tables=["t"] * 20 + ["rare"] + ["t"] * 20)
    (tmp_path / "bin.000001").write_bytes(log)
    index = indexed([str(tmp_path)])
    reading = Reading(monkeypatch)

    plan = plan_or_error([str(tmp_path)], index, selection(tables=["rare"]))

    [(_, start, stop), *_] = found = reading.beyond_heads()
    assert isinstance(plan, Plan)
    assert 1 == len(set(found))
    assert 1000 < start < log.index(b"rare") < (stop or 0) < len(log) - 1000
    assert (1, plan.ledger.total) == (plan.ledger.undone, plan.ledger.accounted)


def test_a_packed_file_is_unpacked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first part that matters to the last, whatever lies between; positions are those of what it holds."""
    monkeypatch.setattr(header_index, "STRETCH_SIZE", 500)
    log = closed(tables=["t"] * 9 + ["rare"] + ["t"] * 9 + ["rare"] + ["t"] * 9)
    (tmp_path / "bin.000001.gz").write_bytes(gzip.compress(log))
    logs = [str(tmp_path)]
    index = indexed(logs)
    expected = plan_or_error(logs, "", selection(tables=["rare"]))
    reading = Reading(monkeypatch)

    actual = plan_or_error(logs, index, selection(tables=["rare"]))

    assert said_by(expected) == said_by(actual)
    assert 1 == len(set(reading.beyond_heads()))
    assert unread(actual) > 0


def test_a_checkpoint_inside_makes_no_index_and_uses_one(tmp_path: Path) -> None:
    """A reading from the middle does not know the whole file."""
    (tmp_path / "bin.000001").write_bytes(closed(tables=["t"] * 9))
    start = Checkpoint(position=Position("mysql", "bin.000001:" + str(ends(closed(tables=["t"] * 9))[10])))
    folder = a_folder()

    plan_or_error([str(tmp_path)], folder, (), start=start)
    none = storage.list_folder(folder, {})
    plan_or_error([str(tmp_path)], folder, ())
    made = storage.list_folder(folder, {})

    assert ([], 1) == (none, len(made))


def test_events_are_the_same(shop_index: str) -> None:
    """Whoever looks at a log by table or time sees what is there, structure too where nothing rules it out."""
    chosen = selection(since="2026-09-21T14:14:00Z"), selection(tables=["orders"]), selection(transactions=["0-1-35"]), ()
    for predicates in chosen:
        found = []
        for index in ("", shop_index):
            with dblog_tasks.open("mysql", path=(str(SHOP),), selection=predicates, index=index) as decoder:
                found.append(([(event.position, event.kind, event.raw) for event in decoder], decoder.checkpoint, decoder.span))  # type: ignore[attr-defined]
        assert found[0] == found[1]


@pytest.mark.parametrize("name", ["xa-commit-mariadb1011.000004", "xa-commit-mysql97.000004", "xa-rollback-mysql97.000006"])
def test_prepared_transactions_are_always_read(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their time and outcome lie elsewhere: a window around the commit finds what was prepared long before."""
    monkeypatch.setattr(header_index, "STRETCH_SIZE", 100)
    log = (FOUND / name).read_bytes()
    (tmp_path / name).write_bytes(log)
    logs = [str(tmp_path / name)]
    index = indexed(logs)
    assert said_by(plan_or_error(logs, "", ())) == said_by(plan_or_error(logs, index, ()))

    compare_many(logs)


def test_the_end_of_a_prepared_transaction_is_looked_for_where_it_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading on to it passes over what holds no XA transaction."""
    said = [(binlog.QUERY, write.query(f"XA {verb} X'61',X'',1")) for verb in ("START", "END", "COMMIT")]
    start, *changes, _ = rows(1, "t")
    body = bytes(1) + b"\1\0\0\0\1\0\0\0\0\0\0\0a"
    prepared = [start, said[0], *changes[1:], said[1], (binlog.XA_PREPARE, body)]
    committed = [(binlog.GTID, write.gtid(99, committed=99_000_000)), said[2]]
    for number, events in enumerate((prepared, rows(50, "u"), rows(51, "u"), committed), 1):
        (tmp_path / f"bin.{number:06}").write_bytes(write.Log().adds(*events).add(binlog.STOP, b"").data)
    logs, chosen = [str(tmp_path)], selection(since="1970-01-01T00:01:39Z", tables=["t"])
    index = indexed(logs)
    reading = Reading(monkeypatch)

    plan = plan_or_error(logs, index, chosen)

    assert isinstance(plan, Plan)
    assert 1 == plan.ledger.undone
    assert {"bin.000001", "bin.000004"} == {name for name, _, _ in reading.beyond_heads()}
    assert said_by(plan) == said_by(plan_or_error(logs, "", chosen))
