"""Transactions put together from events: what belongs together, how it ended, what it touched."""

from __future__ import annotations

from collections.abc import Iterable
import gc
from struct import pack
from typing import Any

from hypothesis import given, strategies as st
import pytest

from dblog_tasks import DblogError, UnsupportedLog
from dblog_tasks.mysql import binlog as b, transactions
from dblog_tasks.mysql.layout import Layouts
from dblog_tasks.mysql.transactions import HEADLESS, NOT_COMMITTED, PREPARED, ROLLED_BACK, ROLLED_BACK_IN_PART, Gatherer, Group
from tests.mysql import binlog_writer as write
from tests.mysql.binlog_writer import Log, gtid, maria_gtid, payload, query, rows, table_map

Event = tuple[int, bytes]
XID: Event = (b.XID, bytes(7) + b"\1")
MAP: Event = (b.TABLE_MAP, table_map([(3, b"")], [write.names("id")]))
ROW = rows(1, b"\0\1\0\0\0")
INSERT: Event = (b.WRITE_ROWS_V2, rows(1, b"\0\1\0\0\0", version=2))
INSERT_V1: Event = (b.WRITE_ROWS_V1, ROW)
MORE: Event = (b.WRITE_ROWS_V1, rows(1, b"\0\1\0\0\0", flags=0))
ANONYMOUS: Event = (b.ANONYMOUS_GTID, gtid(0))
STOP: Event = (b.STOP, b"")
ROTATE: Event = (b.ROTATE, pack("<Q", 4) + b"log.2")
PREPARE: Event = (b.XA_PREPARE, pack("<BIII", 0, 1, 1, 0) + b"a")
ONE_PHASE: Event = (b.XA_PREPARE, pack("<BIII", 1, 1, 1, 0) + b"a")


def q(text: str) -> Event:
    """A statement."""
    return b.QUERY, query(text)


def g(number: int) -> Event:
    """A MySQL GTID."""
    return b.GTID, gtid(number)


def m(sequence: int, flags: int = 0) -> Event:
    """A MariaDB GTID."""
    return b.MARIADB_GTID, maria_gtid(sequence, flags=flags)


def packed(*events: Event) -> Event:
    """A compressed transaction."""
    return b.TRANSACTION_PAYLOAD, payload(*events)


BEGIN, COMMIT = q("BEGIN"), q("COMMIT")
STANDALONE, PREPARED_XA, COMPLETED_XA = 1, 64, 128
SID = str(write.SID)
AT = "*"  # named by its position

# Events -> groups: number of events, name (None: outside of transactions), problem.
Wanted = list[tuple[int, str | None, Any]]
SEQUENCES: dict[str, tuple[list[Event], Wanted]] = {
    "MySQL, GTID": ([g(5), BEGIN, MAP, INSERT, XID, STOP], [(5, f"{SID}:5", None), (1, None, None)]),
    "MySQL, anonymous GTID": ([ANONYMOUS, BEGIN, MAP, INSERT, XID], [(5, AT, None)]),
    "MySQL, no GTID": ([BEGIN, MAP, INSERT_V1, XID, BEGIN, MAP, INSERT_V1, COMMIT], [(4, AT, None), (4, AT, None)]),
    "MySQL, definition": ([g(1), q("CREATE TABLE t (a int)"), g(2), q("DROP TABLE t")], [(2, f"{SID}:1", None), (2, f"{SID}:2", None)]),
    "definition without GTID": ([q("ALTER TABLE t ADD b int"), q("DROP TABLE t")], [(1, AT, None), (1, AT, None)]),
    "definition, anonymous": ([ANONYMOUS, q("DROP TABLE t"), ANONYMOUS, BEGIN, MAP, INSERT, XID], [(2, AT, None), (5, AT, None)]),
    "MySQL, CREATE SELECT": ([g(1), q("CREATE TABLE t (a int) START TRANSACTION"), MAP, INSERT, XID], [(5, f"{SID}:1", None)]),
    "MySQL, CREATE SELECT before 8.0.21": (
        [ANONYMOUS, q("CREATE TABLE t (a int)"), ANONYMOUS, BEGIN, MAP, INSERT, XID],
        [(2, AT, None), (5, AT, None)],
    ),
    "MySQL, empty": ([g(1), BEGIN, COMMIT], [(3, f"{SID}:1", None)]),
    "MySQL, statement with its context": (
        [ANONYMOUS, BEGIN, (b.INTVAR, b"\2" + bytes(8)), (b.RAND, bytes(16)), q("INSERT INTO t VALUES (1)"), XID],
        [(6, AT, None)],
    ),
    "MySQL, savepoint": ([g(1), BEGIN, MAP, INSERT, q("SAVEPOINT s"), MAP, INSERT, XID], [(8, f"{SID}:1", None)]),
    "MySQL, two statements": ([g(1), BEGIN, (b.ROWS_QUERY, b"\0insert"), MAP, MORE, INSERT, MAP, INSERT, XID], [(9, f"{SID}:1", None)]),
    "MySQL, XA": (
        [g(1), q("XA START X'61'"), MAP, INSERT, q("XA END X'61'"), PREPARE, g(2), q("XA COMMIT X'61'")],
        [(6, f"{SID}:1", PREPARED), (2, f"{SID}:2", None)],
    ),
    "MySQL, XA in one phase": ([g(1), q("XA START X'61'"), MAP, INSERT, q("XA END X'61'"), ONE_PHASE], [(6, f"{SID}:1", None)]),
    "MySQL, XA rolled back": (
        [g(1), q("XA START 'a'"), MAP, INSERT, q("XA END 'a'"), PREPARE, g(2), q("XA ROLLBACK 'a'")],
        [(6, f"{SID}:1", PREPARED), (2, f"{SID}:2", None)],
    ),
    "MySQL, compressed": ([g(1), packed(BEGIN, MAP, INSERT, XID), g(2), BEGIN, XID], [(6, f"{SID}:1", None), (3, f"{SID}:2", None)]),
    "MySQL, compressed and prepared": (
        [g(1), packed(q("XA START 'a'"), MAP, INSERT, PREPARE), STOP],
        [(6, f"{SID}:1", PREPARED), (1, None, None)],
    ),
    "MySQL, compressed without an end": (
        [g(1), packed(BEGIN, MAP, INSERT), g(2), BEGIN, XID],
        [(5, f"{SID}:1", NOT_COMMITTED), (3, f"{SID}:2", None)],
    ),
    "MySQL, compressed without GTIDs": ([packed(BEGIN, MAP, INSERT, XID), packed(BEGIN, MAP, INSERT, XID)], [(5, AT, None), (5, AT, None)]),
    "MySQL, nothing compressed": ([g(1), packed(), BEGIN, XID], [(4, f"{SID}:1", None)]),
    "MySQL, tagged": ([(b.GTID_TAGGED, write.tagged_gtid("tag", 7)), BEGIN, MAP, INSERT, XID], [(5, f"{SID}:tag:7", None)]),
    "MariaDB": ([m(4), MAP, INSERT_V1, XID, m(5), MAP, INSERT_V1, COMMIT], [(4, "0-1-4", None), (4, "0-1-5", None)]),
    "MariaDB, standalone": (
        [m(1, STANDALONE), q("CREATE TABLE t (a int)"), m(2), MAP, INSERT_V1, XID],
        [(2, "0-1-1", None), (4, "0-1-2", None)],
    ),
    "MariaDB, standalone with its context": (
        [m(1, STANDALONE), (b.INTVAR, b"\2" + bytes(8)), q("INSERT INTO t VALUES (1)")],
        [(3, "0-1-1", None)],
    ),
    "MariaDB, CREATE SELECT": (
        [m(1), q("CREATE TABLE t (a int)"), (b.ANNOTATE_ROWS, b"create"), MAP, INSERT_V1, XID],
        [(6, "0-1-1", None)],
    ),
    "MariaDB, compressed statement": (
        [m(1), (b.QUERY_COMPRESSED, write.query(b"\x81\x01\x78\x9c\x4b\x04\x00\x00\x62\x00\x62")), XID],
        [(3, "0-1-1", None)],
    ),
    "MariaDB, XA": (
        [m(1, PREPARED_XA), MAP, INSERT_V1, q("XA END X'61'"), PREPARE, m(2, COMPLETED_XA), q("XA COMMIT X'61'")],
        [(5, "0-1-1", PREPARED), (2, "0-1-2", None)],
    ),
    "MariaDB, rolled back to a savepoint": (
        [m(1), MAP, INSERT_V1, q("SAVEPOINT `s`"), MAP, INSERT_V1, q("ROLLBACK TO `s`"), MAP, INSERT_V1, XID, m(2), MAP, INSERT_V1, XID],
        [(10, "0-1-1", None), (4, "0-1-2", None)],
    ),
    "rolled back to a savepoint the log does not have": (
        [m(1), q("SAVEPOINT `s`"), MAP, INSERT_V1, q("ROLLBACK TO `t`"), XID],
        [(6, "0-1-1", ROLLED_BACK_IN_PART)],
    ),
    "rolled back": ([g(1), BEGIN, MAP, INSERT, q("ROLLBACK")], [(5, f"{SID}:1", None)]),
    "rolled back, MariaDB": ([m(1), MAP, INSERT_V1, q("ROLLBACK")], [(4, "0-1-1", None)]),
    "XA rolled back before it was prepared": ([BEGIN, MAP, INSERT_V1, q("XA ROLLBACK X'61'")], [(4, AT, None)]),
    "rows without BEGIN": ([MAP, INSERT_V1, MAP, MORE, INSERT_V1, XID, g(1), BEGIN, XID], [(6, AT, HEADLESS), (3, f"{SID}:1", None)]),
    "rows without BEGIN and end": ([MAP, INSERT_V1], [(2, AT, NOT_COMMITTED)]),
    "rows without a table map": ([BEGIN, INSERT_V1, XID], [(3, AT, None)]),
    "file ends inside": ([g(1), BEGIN, MAP, INSERT], [(4, f"{SID}:1", NOT_COMMITTED)]),
    "file ends after a GTID": ([g(1)], [(1, f"{SID}:1", NOT_COMMITTED)]),
    "file ends after BEGIN": ([BEGIN], [(1, None, None)]),
    "file ends after a part of a statement": ([MAP, MORE], [(2, AT, NOT_COMMITTED)]),
    "GTID after an unfinished one": ([g(1), BEGIN, MAP, INSERT, g(2), BEGIN, XID], [(4, f"{SID}:1", NOT_COMMITTED), (3, f"{SID}:2", None)]),
    "MariaDB GTID after an unfinished one": ([m(1), MAP, INSERT_V1, m(2), XID], [(3, "0-1-1", NOT_COMMITTED), (2, "0-1-2", None)]),
    "rotation inside": ([g(1), BEGIN, MAP, INSERT, ROTATE], [(4, f"{SID}:1", NOT_COMMITTED), (1, None, None)]),
    "server stops inside": ([m(1), MAP, INSERT_V1, STOP], [(3, "0-1-1", NOT_COMMITTED), (1, None, None)]),
    "rotation after a GTID": ([ANONYMOUS, ROTATE], [(1, None, None), (1, None, None)]),
    "events of no transaction": (
        [(b.PREVIOUS_GTIDS, bytes(8)), (b.MARIADB_GTID_LIST, bytes(4)), (b.BINLOG_CHECKPOINT, bytes(4)), ROTATE],
        [(1, None, None)] * 4,
    ),
    "LOAD DATA": ([BEGIN, (b.BEGIN_LOAD_QUERY, bytes(4)), (9, bytes(4)), (b.EXECUTE_LOAD_QUERY, bytes(40)), XID], [(5, AT, None)]),
    "LOAD DATA without BEGIN": (
        [(b.BEGIN_LOAD_QUERY, bytes(4)), (9, bytes(4)), (b.EXECUTE_LOAD_QUERY, bytes(40)), STOP],
        [(3, AT, None), (1, None, None)],
    ),
    "incident": ([(b.INCIDENT, b"\1\0\0"), m(1), MAP, INSERT_V1, XID], [(1, AT, None), (4, "0-1-1", None)]),
    "view change": ([g(1), BEGIN, (37, bytes(52)), COMMIT], [(4, f"{SID}:1", None)]),
    "settings": ([q("FLUSH TABLES"), q("GRANT ALL ON *.* TO u")], [(1, None, None), (1, None, None)]),
}


def gather(log: Log, size: int = 1 << 20) -> list[Group]:
    """The groups of a log, its format description left out."""
    blocks = [log.data[at : at + size] for at in range(0, len(log.data), size)]
    return list(Gatherer("log", Layouts()).gather(b.frames(blocks, "log")))[1:]


@pytest.mark.parametrize("name", SEQUENCES)
def test_events_are_gathered_into_transactions(name: str) -> None:
    """Each group with its number of events, its name and its outcome; groups follow each other without a gap, in log order."""
    events, wanted = SEQUENCES[name]
    groups = gather(Log().adds(*events))
    named = [group.id if group.id != f"log:{group.start}" else AT for group in groups]

    assert wanted == [(group.count, name, group.problem) for group, name in zip(groups, named, strict=True)]
    assert [group.start for group in groups[1:]] == [group.end for group in groups[:-1]]
    assert [kind for kind, _ in events] == [frame.type for group in groups for frame in group.outer()]


SAVE, BACK, TABLE = q("SAVEPOINT `S`"), q("ROLLBACK TO `s`"), (("d", "t"), "insert", 23)


@pytest.mark.parametrize(
    ("events", "taken_back", "touched"),
    [
        ([m(1), MAP, INSERT_V1, XID], [], {TABLE: 1}),
        ([m(1), MAP, INSERT_V1, SAVE, MAP, INSERT_V1, BACK, MAP, INSERT_V1, XID], [5], {TABLE: 2}),
        ([m(1), SAVE, MAP, INSERT_V1, BACK, MAP, INSERT_V1, BACK, XID], [3, 6], {}),
        ([m(1), SAVE, MAP, INSERT_V1, SAVE, MAP, INSERT_V1, BACK, XID], [6], {TABLE: 1}),
        ([m(1), SAVE, MAP, INSERT_V1, q("SAVEPOINT `t`"), MAP, INSERT_V1, q("ROLLBACK TO `t`"), BACK, XID], [3, 6], {}),
        ([m(1), MAP, INSERT_V1, q("ROLLBACK")], [2], {}),
        ([m(1), MAP, INSERT_V1, q("DELETE FROM m"), q("ROLLBACK")], [2], {(None, "statement", 2): 1}),
        ([m(1), SAVE, MAP, INSERT_V1, BACK, MAP, INSERT_V1, q("ROLLBACK")], [3, 6], {}),
        ([g(1), packed(BEGIN, SAVE, MAP, INSERT_V1, BACK, MAP, INSERT_V1, XID)], [4], {TABLE: 1}),
        ([BEGIN, MAP, INSERT_V1, q("XA ROLLBACK X'61'")], [2], {}),
    ],
)
def test_rows_that_were_rolled_back_do_not_count(events: list[Event], taken_back: list[int], touched: dict[Any, int]) -> None:
    """Numbers of the rows events that were taken back; what is left is what the transaction touched."""
    (group,) = gather(Log().adds(*events))
    frames, standing = list(group), list(group.standing())

    assert taken_back == [number for number, frame in enumerate(frames) if frame not in standing]
    assert len(taken_back) == group.rows_taken_back
    assert touched == {(layout and layout.name, operation, kind): count for (layout, operation, kind), count in group.touched.items()}
    assert group.problem is None


@pytest.mark.parametrize(
    ("version", "apart"),
    [("", True), ("5.1.73-log", False), ("5.5.8", False), ("5.5.44-log", True), ("9.7.4", True), ("10.11.19-MariaDB-log", True)],
)
def test_old_servers_log_tables_without_transactions_with_the_others(version: str, apart: bool) -> None:  # noqa: FBT001 - a column
    """Before 5.5.9 a rollback does not say of which rows it is."""
    log = Log().adds(BEGIN, MAP, INSERT_V1, q("ROLLBACK"), BEGIN, SAVE, MAP, INSERT_V1, BACK, XID)
    groups = list(Gatherer("log", Layouts(), version).gather(b.frames([log.data], "log")))[1:]

    assert ([None, None] if apart else [ROLLED_BACK, ROLLED_BACK_IN_PART]) == [group.problem for group in groups]


def test_old_servers_log_rows_without_transactions() -> None:
    """Before 5.5.9 a statement's rows may stand alone; they end with it."""
    log = Log().adds(MAP, INSERT_V1, MAP, MORE, MORE, INSERT_V1)
    groups = list(Gatherer("log", Layouts(), "5.1.30-log").gather(b.frames([log.data], "log")))[1:]

    assert [(2, None), (4, None)] == [(group.count, group.problem) for group in groups]


@pytest.mark.parametrize(
    ("events", "touched"),
    [
        ([g(1), BEGIN, MAP, INSERT, INSERT, XID], {(("d", "t"), "insert", 30): 2}),
        ([m(1), MAP, INSERT_V1, XID], {(("d", "t"), "insert", 23): 1}),
        ([BEGIN, INSERT_V1, XID], {(None, "insert", 23): 1}),
        ([g(1), q("DROP TABLE t")], {(None, "definition", 2): 1}),
        ([BEGIN, q("DELETE FROM t"), q("SET @a = 1"), XID], {(None, "statement", 2): 1}),
        ([m(1), q("set statement max_statement_time=1 for delete from t"), XID], {(None, "statement", 2): 1}),
        ([(b.BEGIN_LOAD_QUERY, bytes(4)), (b.EXECUTE_LOAD_QUERY, bytes(40))], {(None, "statement", 18): 1}),
        ([(b.INCIDENT, b"\1\0\0")], {(None, "incident", 26): 1}),
        ([g(1), packed(BEGIN, MAP, INSERT, INSERT, XID)], {(("d", "t"), "insert", 30): 2}),
        ([g(1), BEGIN, XID], {}),
    ],
)
def test_what_a_transaction_touches_is_counted(events: list[Event], touched: dict[Any, int]) -> None:
    """By table, operation and type; no table: it may be any."""
    (group,) = gather(Log().adds(*events))

    assert touched == {(layout and layout.name, operation, kind): count for (layout, operation, kind), count in group.touched.items()}


def test_what_there_is_to_know_of_a_transaction() -> None:
    """Its names, session, statements and commit time; the GTID's time before the events' own."""
    committed = 1_700_000_000_123_456
    log = Log().add(b.GTID, gtid(9, committed=committed)).add(b.QUERY, query("BEGIN", thread=77))
    for text in (b"first", b"first", b"second", b"third", b"fourth"):
        log.add(b.ROWS_QUERY, bytes([min(len(text), 255)]) + text)
    (group,) = gather(log.adds(MAP, INSERT, (b.XID, (42).to_bytes(8, "little"))))
    info = group.info("log")

    assert info is not None
    assert (f"{SID}:9", f"log:{group.start}", "42") == info.names
    assert (77, ("first", "second", "third"), None) == (info.thread, info.statements, info.problem)
    assert committed == group.time
    assert "2023-11-14T22:13:20.123456+00:00" == group.when.isoformat()
    assert group.when == info.time
    assert (f"log:{group.start}", f"log:{group.end}") == (info.start.value, info.end.value)


def test_the_thread_of_a_mariadb_transaction_is_in_its_gtid() -> None:
    """From 11.8 on; before, a session cannot be told from the log."""
    told = maria_gtid(1, flags=2, rest=bytes(8) + b"\x10" + pack("<I", 4711))
    first, second = gather(Log("11.8.2-MariaDB").adds((b.MARIADB_GTID, told), MAP, INSERT_V1, XID, m(2), MAP, INSERT_V1, XID))

    assert (4711, 0) == (first.thread, second.thread)


@pytest.mark.parametrize("kind", [43, 60, 150, 255])
@pytest.mark.parametrize("inside", [False, True])
def test_an_event_of_an_unknown_type_is_refused_unless_it_may_be_passed_over(kind: int, inside: bool) -> None:  # noqa: FBT001
    """It may hold changes; the server marks those that hold none."""
    start = [m(1), MAP, INSERT_V1] if inside else []
    with pytest.raises(UnsupportedLog, match=f"event type {kind}"):
        gather(Log().adds(*start).add(kind, b"x"))
    groups = gather(Log().adds(*start).add(kind, b"x", flags=b.FLAG_IGNORABLE).adds(*([XID] if inside else [])))

    assert [None] == [group.problem for group in groups]


@pytest.mark.parametrize("held", [0, 1, 100, 500, 10_000])
@pytest.mark.parametrize("checksum", [0, 1])
def test_a_transaction_on_disk_is_the_same(held: int, checksum: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit the frames lie in a temporary file: the same ones come back, as often as asked, and their tables with them."""
    events = [m(1), *[MAP, MORE, MORE, INSERT_V1] * 5, XID, m(2), MAP, INSERT_V1, XID]
    log = Log("10.11.2-MariaDB", checksum=checksum).adds(*events)
    whole = [[frame_facts(frame) for frame in group] for group in gather(log)]
    monkeypatch.setattr(transactions, "HELD_MAX", held)
    groups = gather(log, 50)

    assert (held < 1000) == (groups[0]._spilled is not None)
    for _ in range(2):
        assert whole == [[frame_facts(frame) for frame in group] for group in groups]
    del groups
    gc.collect()  # warnings are errors: the file is closed with its group


def frame_facts(frame: b.Frame) -> tuple[Any, ...]:
    """What makes a frame, wherever its bytes lie."""
    return frame.type, frame.timestamp, frame.server_id, frame.flags, frame.start, frame.end, frame.raw, frame.body


def test_memory_does_not_grow_with_a_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it is, no more than the limit and one event are held."""
    monkeypatch.setattr(transactions, "HELD_MAX", 2000)
    held: list[int] = []

    def watched(frames: Iterable[b.Frame]) -> Iterable[b.Frame]:
        for frame in frames:
            yield frame
            if gatherer._group is not None:
                held.append(sum(kept.size for kept in gatherer._group._frames))

    gatherer = Gatherer("log", Layouts())
    log = Log().adds(m(1), MAP, *[MORE] * 3000, INSERT_V1, XID)
    groups = list(gatherer.gather(watched(b.frames([log.data], "log"))))

    assert 3004 == groups[1].count == sum(1 for _ in groups[1])
    assert max(held) <= 2000


@given(
    st.lists(
        st.sampled_from(
            [
                g(1),
                m(1),
                m(2, STANDALONE),
                ANONYMOUS,
                BEGIN,
                COMMIT,
                q("ROLLBACK"),
                q("ROLLBACK TO s"),
                q("DROP TABLE t"),
                q("INSERT"),
                MAP,
                INSERT,
                INSERT_V1,
                MORE,
                XID,
                PREPARE,
                ONE_PHASE,
                STOP,
                ROTATE,
                (b.INTVAR, b"\1" + bytes(8)),
                (b.HEARTBEAT, b""),
                (b.INCIDENT, b"\1\0\0"),
            ]
        ),
        max_size=25,
    )
)
def test_any_sequence_is_gathered_without_loss(events: list[Event]) -> None:
    """Every event is in one group, in order; only the last of its transaction ends one."""
    groups = gather(Log().adds(*events))

    assert [kind for kind, _ in events] == [frame.type for group in groups for frame in group]
    assert len(events) == sum(group.count for group in groups)
    for group in groups:
        assert not group.touched or group.id is not None


@given(st.lists(st.tuples(st.sampled_from(sorted(b.EVENT_NAMES.keys() - {15, 164})), st.binary(max_size=60)), max_size=6))
def test_any_bodies_are_gathered_or_malformed(events: list[Event]) -> None:
    """Whatever the bodies hold, only declared errors come; commit times are times."""
    try:
        for group in gather(Log().adds(*events)):
            assert group.when.year >= 1970
            assert group.info("log") is None or group.id is not None
    except DblogError as error:
        assert error.where.startswith("log:") or "collation" in str(error)
