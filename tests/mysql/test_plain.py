"""Transactions written as lines without events: the plan is the same as by events, to the last byte of its steps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from struct import pack
from typing import Any

from hypothesis import given, settings, strategies as st
import pytest

from dblog_tasks import part
from dblog_tasks.event import PackedTransactions
from dblog_tasks.mysql import binlog
from dblog_tasks.mysql.compiled import extension
from dblog_tasks.mysql.decoder import FileDecoder
from dblog_tasks.mysql.place import Place
from dblog_tasks.mysql.transactions import Group
from dblog_tasks.planning import selection
from tests.mysql import binlog_writer as writer, test_packed, test_rows

pytestmark = pytest.mark.skipif(extension() is None, reason="installed without compiled code")

OPTIONS: dict[str, dict[str, Any]] = {
    "everything": {},
    "tables": {"selection": selection(tables=["order*", "t*", "!d.u"])},
    "one table": {"selection": selection(tables=["d.u", "orders"])},
    "a kind": {"selection": selection(kinds=["update"])},
    "own replays": {"own_replays": True},
    "next run": {"resume": True},
}
Event = tuple[int, bytes]


@pytest.fixture(autouse=True)
def most_are_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first transaction that is the biggest comes as events; of the others few do."""
    monkeypatch.setattr(part, "BIGGEST", 1)


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[PackedTransactions]:
    """What was handed in."""
    found: list[PackedTransactions] = []
    take = part.PartWriter.take

    def note(self: part.PartWriter, packed: PackedTransactions) -> None:
        found.append(packed)
        take(self, packed)

    monkeypatch.setattr(part.PartWriter, "take", note)
    return found


def both(log: bytes, options: str) -> tuple[object, object]:
    """The plan made with compiled code, and without."""
    with pytest.MonkeyPatch.context() as patch:
        compiled = test_packed.made(log, OPTIONS[options])
        patch.setenv("DBLOG_NATIVE", "0")
        return test_packed.made(log, OPTIONS[options]), compiled


@pytest.mark.parametrize("segment", [700, 4 << 20])
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("path", test_packed.LOGS, ids=lambda path: str(path.relative_to(test_rows.CORPUS)))
def test_a_plan_is_the_same_without_compiled_code(path: Path, options: str, segment: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """For every log of the corpus; in short segments, which end inside of transactions too."""
    monkeypatch.setattr(part, "SEGMENT_MAX", segment)
    expected, compiled = both(path.read_bytes(), options)

    assert expected == compiled


def test_most_transactions_are_handed_in(taken: list[PackedTransactions]) -> None:
    """The logs of the shop show what the tests above are of."""
    for path in sorted(test_rows.SHOP.glob("shop.0*")):
        test_packed.made(path.read_bytes(), {})

    assert sum(packed.number for packed in taken) > 100


TABLES = {7: "t", 8: "u", 9: "dblog_replay"}
TEXTS = [b"INSERT", b'say "x" \\ \n\x01', b"y" * 500, "\u00fc".encode() * 199 + b"yz\xc3\xbc", "y\u2028".encode() * 99, b"\xff", b""]


def named_table(number: int) -> Event:
    """A table map of two columns, a number and a byte."""
    metadata = [writer.names("id", "n"), (1, b"\0"), (8, b"\0")]
    return binlog.TABLE_MAP, writer.table_map([(3, b""), (1, b"")], metadata, table_id=number, table=TABLES[number])


def changes(number: int, version: int) -> list[Event]:
    """Rows events of each operation, of two rows and of none; and some that are not plain."""
    one = b"\0" + pack("<ib", number, -1)
    kinds = (binlog.WRITE_ROWS_V1, binlog.UPDATE_ROWS_V1, binlog.DELETE_ROWS_V1)
    given: dict[str, Any] = {"version": version, "table_id": number}
    events = [(kind + 7 * (version == 2), writer.rows(2, one * 2, update=kind == kinds[1], **given)) for kind in kinds]
    events += [
        (events[0][0], writer.rows(2, b"\2" + pack("<i", 5) + one * 9, flags=0, **given)),
        (events[2][0], writer.rows(2, b"", **given)),
    ]
    other = writer.rows(2, one, **given)
    partial_image = other.replace(b"\2\xff", b"\2\1") if version == 1 else other[:11] + b"\1" + pack("<xi", 3)
    return [*events, (events[0][0], partial_image), (events[0][0], other[:-1]), (events[0][0], other[:7])]


def starts(number: int, *, mariadb: bool) -> list[list[Event]]:
    """How a transaction of that number begins; and so that Python has to look."""
    begin = (binlog.QUERY, writer.query("BEGIN"))
    if mariadb:
        rests = (b"", b"12345678", b"\x10" + pack("<I", 77), b"12345678\x10" + pack("<I", 77), b"\1\2", b"\x14" + bytes(12))
        flags = (0, 2, 0, 2, 0, 0)
        maria = [[(binlog.MARIADB_GTID, writer.maria_gtid(number, flags=flags[at], rest=rests[at]))] for at in range(6)]
        return [*maria, [(binlog.MARIADB_GTID, writer.maria_gtid(number, flags=1))], [maria[0][0], begin], [begin]]
    times = [{"committed": 1_600_000_000_123_456}, {"committed": 951_782_400_000_000, "original": 5}, {"committed": 0}]
    tails = (b"", b"\x20", b"\xfc\0\1", b"\xfc\0", b"\xff")
    bodies = [writer.gtid(number), *(writer.gtid(number, **given, tail=tail) for tail in tails for given in times), writer.gtid(-number)]
    named = [[(binlog.GTID, body), begin] for body in bodies] + [[(binlog.GTID, bodies[0])], [begin], []]
    quiet = (binlog.QUERY, writer.query("BEGIN", thread=0, status=b"\0\1\2\3\4", schema=""))
    return [[(binlog.ANONYMOUS_GTID, bodies[0]), begin], [(binlog.ANONYMOUS_GTID, bodies[2]), quiet], *named]


ENDS: list[list[Event]] = [
    *([(binlog.XID, pack("<q", number))] for number in (1, 2, 0, -1)),
    *([(binlog.QUERY, writer.query(text))] for text in ("COMMIT", "ROLLBACK", "CREATE TABLE x (a int)")),
    [(binlog.XID, b"")],
    [],
]


def mostly(choices: Sequence[Any], plain: int) -> st.SearchStrategy[Any]:
    """One of the choices; the first, which are plain, come often."""
    return st.sampled_from([*list(choices[:plain]) * 100, *choices])


@st.composite
def logs(draw: st.DrawFn) -> bytes:
    """A log of transactions most of which are plain."""
    mariadb = draw(st.booleans())
    text = binlog.ANNOTATE_ROWS if mariadb else binlog.ROWS_QUERY
    log = writer.Log("10.11.6-MariaDB" if mariadb else "8.0.36", checksum=draw(st.sampled_from([1, 1, 1, 0])))
    version = 1 if mariadb else 2
    statement = st.tuples(mostly(list(TABLES), 2), st.lists(mostly(range(8), 3), min_size=1, max_size=2), mostly([None, *TEXTS], 2))
    transaction = st.tuples(st.lists(statement, min_size=1, max_size=2), mostly(ENDS, 2), mostly([1, 0], 1))
    number = 1
    for statements, end, step in draw(st.lists(transaction, min_size=15, max_size=40)):
        number += step  # with 0, the name of the one before
        log.adds(*draw(mostly(starts(number, mariadb=mariadb), 6)))
        for table, kinds, said in statements:
            given = [] if said is None else [(text, said if mariadb else bytes([min(255, len(said))]) + said)]
            log.adds(*given, named_table(table), *(changes(table, version)[kind] for kind in kinds))
        log.adds(*end)
    return log.data


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(logs(), st.sampled_from(list(OPTIONS)), st.sampled_from([2500, 4 << 20]))
def test_any_transactions_make_the_same_plan(log: bytes, options: str, segment: int) -> None:
    """Named twice, of several tables, half wanted, with texts, odd, torn: compiled code is only faster."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(part, "SEGMENT_MAX", segment)
        expected, compiled = both(log, options)

    assert expected == compiled


def test_transactions_of_the_same_name_are_one(taken: list[PackedTransactions]) -> None:
    """A name that comes again is looked at by Python; those around it are handed in."""
    log = writer.Log()
    for number in (1, 2, 3, 4, 5, 5, 6, 7, 8, 5, 9, 10):
        log.adds((binlog.GTID, writer.gtid(number)), (binlog.QUERY, writer.query("BEGIN")), named_table(7))
        log.adds(changes(7, 2)[0], (binlog.XID, pack("<q", number)))
    expected, compiled = both(log.data, "everything")

    assert expected == compiled
    assert [3, 2, 1] == [packed.number for packed in taken]


def test_what_is_not_wanted_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also before the first transaction that is wanted, and while few were: of a rare table there may be only these."""
    judged: list[int] = []
    judge = FileDecoder._judge

    def note(self: FileDecoder, group: Group, start: Place, stop: Place | None) -> Iterable[object]:
        judged.append(group.start)
        return judge(self, group, start, stop)

    monkeypatch.setattr(FileDecoder, "_judge", note)
    monkeypatch.setattr(part, "BIGGEST", 20)
    log = writer.Log()
    for number in range(1, 101):
        log.adds((binlog.GTID, writer.gtid(number)), (binlog.QUERY, writer.query("BEGIN")), named_table(8 if number in (40, 70) else 7))
        log.adds(changes(8 if number in (40, 70) else 7, 2)[0], (binlog.XID, pack("<q", number)))
    compiled = test_packed.made(log.data, OPTIONS["one table"])
    by_python, judged[:] = len(judged), []
    monkeypatch.setenv("DBLOG_NATIVE", "0")

    assert test_packed.made(log.data, OPTIONS["one table"]) == compiled
    assert (True, True) == (by_python < 12, len(judged) > 100)


def test_own_replays_are_never_handed_in(taken: list[PackedTransactions]) -> None:
    """Whether they are wanted is for Python to say."""
    log = writer.Log()
    for number in range(1, 9):
        log.adds((binlog.GTID, writer.gtid(number)), (binlog.QUERY, writer.query("BEGIN")), named_table(9))
        log.adds(changes(9, 2)[0], (binlog.XID, pack("<q", number)))

    for options in ("everything", "own replays"):
        expected, compiled = both(log.data, options)
        assert expected == compiled
    assert taken == []
