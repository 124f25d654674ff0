"""Commands of an append-only file as events: databases, transactions, times, checkpoints, filters and the ledger."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
import gzip
from io import BytesIO, StringIO
import json
from pathlib import Path
from threading import Event as CancelEvent
from typing import Any

from hypothesis import given, strategies as st
import pytest

from dblog_tasks import event as contracts, ledger as reasons
from dblog_tasks.backend import OpenOptions
from dblog_tasks.errors import (
    Cancelled,
    DblogError,
    InvalidCheckpoint,
    InvalidInput,
    MalformedLog,
    StorageError,
    TruncatedLog,
    UnsupportedLog,
)
from dblog_tasks.event import Checkpoint, CommandChange, Position, Source
from dblog_tasks.filters import by_kind, by_time
from dblog_tasks.redis import NOT_COMMITTED, RedisEvent, backend, decoder, position_key
from tests.examples import examples


def aof(*lines: str) -> bytes:
    """The file a server writes for these commands, words divided by blanks; a line that begins with # is an annotation."""
    return b"".join(f"{line}\r\n".encode() if line[0] == "#" else record(*line.encode().split()) for line in lines)


def record(*words: bytes) -> bytes:
    """The bytes of one command."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


class InParts(BytesIO):
    """A reader that gives few bytes at a time, as a socket or pipe does."""

    def __init__(self, data: bytes, part: int) -> None:
        super().__init__(data)
        self.part = part

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(self.part)


def options(data: bytes, **given: Any) -> OpenOptions:
    """Options for these bytes in the file `a.aof`."""
    part = given.pop("part", 1 << 20)
    return OpenOptions(source=Source("redis", "a.aof"), reader=InParts(data, part), **given)


def read(data: bytes, **given: Any) -> list[RedisEvent]:
    """All events."""
    return list(backend.open(options(data, **given)))


def after(offset: int, log: str = "") -> Checkpoint:
    """A checkpoint in `a.aof`."""
    return Checkpoint(Source(), at(offset), log)


def at(offset: int) -> Position:
    """A position in `a.aof`."""
    return Position("redis", f"a.aof:{offset}")


LOG = aof(
    "SELECT 0", "SET a 1", "INCR a", "#TS:100", "SELECT 3", "MULTI", "INCR a", "SELECT 4", "LPUSH l x y", "#TS:101", "EXEC", "SETNX b 1"
)


def test_an_event_tells_all_there_is() -> None:
    """Every attribute of the contract, for one command in a transaction of another database."""
    events = read(LOG)
    start, push = LOG.index(b"*1\r\n$5\r\nMULTI"), events[8 - 1]

    assert isinstance(push, contracts.Event)
    assert isinstance(push, contracts.Reversible)
    assert "lpush" == push.kind
    assert Source("redis", "a.aof") == push.source
    assert at(LOG.index(b"#TS:101")) == push.position
    assert record(b"LPUSH", b"l", b"x", b"y") == push.raw
    assert (b"lpush", (b"l", b"x", b"y"), 4) == push.body
    assert (f"a.aof:{start}", (f"a.aof:{start}",)) == (push.transaction, push.transaction_names)
    assert push.table is None
    assert "command" == push.operation
    assert CommandChange(4, (b"lpush", b"l", b"x", b"y"), (b"lpop", b"l", b"2"), "exact") == push.change
    assert push.omission is None
    assert push.log == events[-1].log != ""


def test_structure_has_no_operation_and_no_omission() -> None:
    """SELECT, MULTI and EXEC are events, but change nothing."""
    structure = [event for event in read(LOG) if event.kind in ("select", "multi", "exec")]

    assert [(None, None, None, None)] * 5 == [(event.operation, event.omission, event.change, event.reverse()) for event in structure]


def test_what_is_not_exact_says_so() -> None:
    """Residue and missing old values are omissions; the first has a change all the same."""
    residue, none = read(aof("INCR a", "SET a 1"))

    assert ("redis: undo leaves a key with 0 behind (residue)", "residue") == (
        residue.omission and residue.omission.reason,
        residue.change and residue.change.grade,
    )
    assert ("redis: SET does not log the old value", None, None) == (none.omission and none.omission.reason, none.change, none.reverse())


def test_a_transaction_has_the_time_of_its_exec_and_other_commands_the_last_one_before() -> None:
    """Nothing is dated before the first annotation; annotations are no events."""
    times = [(event.kind, event.time and event.time.timestamp()) for event in read(LOG)]

    assert [("select", None), ("set", None), ("incr", None), ("select", 100)] == times[:4]
    assert [("multi", 101), ("incr", 101), ("select", 101), ("lpush", 101), ("exec", 101), ("setnx", 101)] == times[4:]
    assert datetime(2021, 8, 6, 2, 37, 50, tzinfo=UTC) == read(aof("#TS:1628217470", "PING"))[0].time


@pytest.mark.parametrize("tail", [b"", b"*2\r\n$3\r\nSET", b"rubbish\r\n"])
def test_a_transaction_the_file_breaks_off_is_not_committed(tail: bytes) -> None:
    """Its commands are shown and have no inverse; a torn record raises after them."""
    found = []
    try:
        for event in backend.open(options(aof("INCR a", "MULTI", "INCR b") + tail)):
            found.append((event.kind, event.omission and event.omission.reason, event.reverse(), event.operation))
    except MalformedLog:
        assert tail

    assert [("multi", None, None, None), ("incr", NOT_COMMITTED, None, "command")] == found[1:]


@pytest.mark.parametrize("log", [("EXEC",), ("MULTI", "MULTI"), ("SELECT x",), ("SELECT",), ("#TS:999999999999", "PING")])
def test_what_no_server_writes_is_malformed(log: tuple[str, ...]) -> None:
    """Two files joined, or damage, is not read as if it were whole."""
    with pytest.raises(MalformedLog, match=r"a\.aof:"):
        read(aof(*log))


def test_a_transaction_too_long_to_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded also without an EXEC."""
    monkeypatch.setattr(decoder, "TRANSACTION_MAX", 100)

    with pytest.raises(UnsupportedLog, match="transaction"):
        read(aof("MULTI", *["INCR a"] * 9, "EXEC"))


def ends(data: bytes) -> list[int]:
    """Where the records end."""
    return [event.end for event in read(data)]


@pytest.mark.parametrize("end", ends(LOG))
def test_the_log_up_to_any_position_and_the_log_after_it_are_the_whole_log(end: int) -> None:
    """Grades, databases, times and transactions are those of the whole reading, and both ledgers balance."""
    whole = read(LOG)
    head, tail = options(LOG, stop=at(end), part=7), options(LOG, checkpoint=after(end, whole[-1].log), part=7)
    first, second = list(backend.open(head)), list(backend.open(tail))

    assert whole == first + second
    assert (len(first), 0) == (head.ledger.total, head.ledger.accounted)
    assert (len(whole), {reasons.BEFORE_START: len(first)}) == (tail.ledger.total, dict(tail.ledger.not_needed))


def test_a_stop_before_the_checkpoint_gives_nothing() -> None:
    """A window that closed before the last run leaves nothing to do, and the ledger balances."""
    first, second, third, *_ = ends(LOG)
    given = options(LOG, checkpoint=after(third), stop=at(first))

    assert [] == list(backend.open(given))
    assert (3, 3) == (given.ledger.total, given.ledger.accounted)
    assert second < third


@pytest.mark.parametrize(
    ("checkpoint", "message"),
    [
        (after(1), "not the end of a record"),
        (after(LOG.index(b"#TS:101") + 9), "not the end of a record"),
        (after(len(LOG) + 1), "past the end"),
        (after(len(LOG), "0" * 32), "not the file"),
        (Checkpoint(position=Position("redis", "b.aof:23")), "another file"),
        (Checkpoint(position=Position("pg", "a.aof:23")), "driver"),
        (Checkpoint(position=Position("", "a.aof:-1")), "expected <file name>:<offset>"),
        (Checkpoint(position=Position("", "a.aof:1.0")), "expected <file name>:<offset>"),
        (Checkpoint(position=Position("", "23")), "expected <file name>:<offset>"),
    ],
)
def test_a_checkpoint_that_is_not_of_this_log_is_refused(checkpoint: Checkpoint, message: str) -> None:
    """Nothing is read from a guessed place."""
    with pytest.raises(InvalidCheckpoint, match=message):
        read(LOG, checkpoint=checkpoint)


@pytest.mark.parametrize(("offset", "message"), [(1, "not the end of a record"), (len(LOG) + 1, "past the end")])
def test_a_stop_that_is_no_position_is_refused(offset: int, message: str) -> None:
    """A window with a wrong end is not silently a longer or shorter one."""
    with pytest.raises(InvalidInput, match=message):
        read(LOG, stop=at(offset))


def test_a_grown_file_keeps_its_identity_and_another_has_another() -> None:
    """The common first SELECT does not make two files one."""
    one, grown, other = (read(aof("SELECT 0", *lines))[-1].log for lines in (["SET a 1"], ["SET a 1", "INCR a"], ["SET a 2"]))

    assert one == grown != other
    assert ["", one] == [event.log for event in read(aof("SELECT 0", "SET a 1"))]


def test_filters_are_counted_where_they_decide() -> None:
    """What the selection rules out is in the ledger by reason; the rest is counted by whoever takes it."""
    given = options(LOG, selection=(by_time(since=datetime(1970, 1, 1, 0, 1, 41, tzinfo=UTC)), by_kind("lpush")))

    assert ["lpush"] == [event.kind for event in backend.open(given)]
    assert {reasons.OUTSIDE_WINDOW: 4, reasons.OTHER_KIND: 5} == dict(given.ledger.not_needed)
    assert 10 == given.ledger.total


def test_whole_transactions_are_kept_when_asked() -> None:
    """One wanted command keeps its MULTI … EXEC, and nothing else."""
    given = options(LOG, selection=(by_kind("lpush"),), whole_transactions=True)

    assert ["multi", "incr", "select", "lpush", "exec"] == [event.kind for event in backend.open(given)]
    assert {reasons.OTHER_KIND: 5} == dict(given.ledger.not_needed)


LINES = st.sampled_from(
    ["SELECT 1", "MULTI", "EXEC", "INCR a", "SET a 1", "DEL a", "LPUSH l x", "HINCRBY h f 1", "#TS:5", "#TS:9", "PING", "NEW x"]
)


@examples(60)
@given(st.lists(LINES, max_size=12).map(lambda lines: aof(*lines)), st.binary(max_size=6), st.integers(1, 20))
def test_blocks_do_not_matter_and_the_ledger_counts_every_event(log: bytes, tail: bytes, part: int) -> None:
    """Read whole or in parts, with rubbish at the end or not: the same events, the same error, as many as the walk counts."""
    outcomes = []
    for size in (1 << 20, part):
        given, kind = options(log + tail, part=size), None
        found: list[RedisEvent] = []
        try:
            found.extend(backend.open(given))
        except DblogError as error:
            kind = type(error)
        outcomes.append((found, kind))
        assert kind is not None or len(found) == given.ledger.total

    assert outcomes[0] == outcomes[1]


@given(st.binary(max_size=60))
def test_any_bytes_give_events_or_a_declared_error(data: bytes) -> None:
    """The whole way, not only the frames."""
    try:
        read(data)
    except DblogError:
        pass


@given(st.lists(LINES.filter(lambda line: line not in ("MULTI", "EXEC")), max_size=12))
def test_a_change_reversed_twice_is_itself(lines: list[str]) -> None:
    """The undo of the undo is the command."""
    for event in read(aof(*lines)):
        if event.change:
            assert event.change == event.change.reverse().reverse()
            assert (event.change.undo, event.change.do) == (event.change.reverse().do, event.change.reverse().undo)


def test_cancelled_is_not_the_end() -> None:
    """A set cancel event raises before the next block."""
    cancel = CancelEvent()
    stream = iter(backend.open(options(aof("PING", "PING", "PING"), cancel=cancel, part=14)))
    next(stream)
    cancel.set()

    with pytest.raises(Cancelled):
        list(stream)


def test_files_are_read_plain_and_compressed(tmp_path: Path) -> None:
    """The name in positions is that of the file without its compression; the source is the path."""
    path = tmp_path / "appendonly.aof.1.incr.aof"
    path.write_bytes(LOG)
    (tmp_path / "c").mkdir()
    packed = tmp_path / "c" / f"{path.name}.gz"
    packed.write_bytes(gzip.compress(LOG))

    plain, unpacked = (list(backend.open(OpenOptions(path=str(name)))) for name in (path, packed))

    assert f"{path.name}:{len(LOG)}" == plain[-1].position.value == unpacked[-1].position.value
    assert Source("redis", str(path)) == plain[0].source
    assert [event.raw for event in plain] == [event.raw for event in unpacked]


def test_a_multi_part_file_is_refused_as_a_whole(tmp_path: Path) -> None:
    """Folder, manifest, snapshot and several files are told apart from a plain file, with what to do."""
    names = {"a.aof.1.base.rdb": b"REDIS0010\xfa", "a.aof.1.incr.aof": LOG, "a.aof.manifest": b"file a.aof.1.base.rdb seq 1 type b\n"}
    paths = [tmp_path / name for name in names]
    for part in paths:
        part.write_bytes(names[part.name])

    for path in (str(tmp_path), str(paths[0]), str(paths[2]), tuple(map(str, paths))):
        with pytest.raises(UnsupportedLog, match=r"incr\.aof"):
            list(backend.open(OpenOptions(path=path)))


def test_without_input_or_with_a_wrong_one_it_says_what_is_wanted() -> None:
    """No path, a server, a reader of text, a closed reader."""
    closed = BytesIO()
    closed.close()
    wrong = [
        (OpenOptions(), InvalidInput, "required"),
        (OpenOptions(dsn="redis://user:secret@host"), UnsupportedLog, "live"),
        (OpenOptions(reader=StringIO("x")), InvalidInput, "expected bytes"),  # type: ignore[arg-type]
        (OpenOptions(reader=closed), StorageError, "closed"),
        (OpenOptions(path="/nowhere/a.aof"), StorageError, "nowhere"),
    ]

    for wanted, error, message in wrong:
        with pytest.raises(error, match=message) as caught:
            list(backend.open(wanted))
        assert "secret" not in str(caught.value)


def test_positions_sort_by_file_number_and_offset() -> None:
    """Not as text; what is no position is refused."""
    texts = ["a.aof.2.incr.aof:900", "a.aof.10.incr.aof:7", "a.aof.10.incr.aof:23"]

    shuffled = [texts[1], texts[2], texts[0]]

    assert texts == sorted(shuffled, key=lambda text: position_key(Position("redis", text)))
    assert position_key(Position("redis", texts[0])) == backend.position_key(Position("redis", texts[0]))
    with pytest.raises(InvalidCheckpoint):
        position_key(Position("redis", "x"))


@pytest.mark.parametrize("name", ["all_commands", "multi_lua", "expire"])
def test_real_files_hold_the_commands_their_servers_were_given(name: str, scenario: Callable[[str], Path]) -> None:
    """Words, offsets and databases agree with the trace another reader wrote while the server ran."""
    folder = scenario(f"redis7/{name}")
    [path] = folder.glob("appendonlydir/*.incr.aof")
    events = list(backend.open(OpenOptions(path=str(path))))
    compared = 0
    for line in (folder / "trace.jsonl").read_text().splitlines():
        entry = json.loads(line)
        within = [event for event in events if entry["aof_from"] < event.end <= entry["aof_to"]]
        if all(isinstance(word, str) for command in entry["aof"] for word in command):
            written = [tuple(word.encode() for word in command) for command in entry["aof"] if isinstance(command, list)]
            assert [(words[0].lower(), *words[1:]) for words in written] == [event.body.words for event in within]
            compared += len(written)
        changed = {key["db"] for key in entry.get("changed", ())}
        kinds = {event.kind for event in within}
        if changed and kinds.isdisjoint(("swapdb", "move", "copy", "flushall")):
            assert changed <= {event.body.database for event in within}

    assert compared > 20


def test_a_torn_tail_raises_after_what_is_whole() -> None:
    """The events before it stay valid."""
    found = []
    with pytest.raises(TruncatedLog, match=rf"a\.aof:{len(LOG)}:"):
        for event in backend.open(options(LOG + b"*2\r\n$4\r\nINCR\r\n")):
            found.append(event)

    assert read(LOG) == found
