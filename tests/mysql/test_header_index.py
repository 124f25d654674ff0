"""An index is read as it was written; no other bytes are one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given, strategies as st

from dblog_tasks import storage
from dblog_tasks.mysql import binlog, header_index
from dblog_tasks.mysql.header_index import HeaderIndex, Stretch, Touched
from dblog_tasks.planning import selection
from tests.mysql import binlog_writer as write
from tests.mysql.indexed import indexed, plan_or_error, rows, said_by

# --- the file ------------------------------------------------------------------------------------------------------------------------


numbers = st.integers(0, (1 << 64) - 1)
spans = st.tuples(numbers, numbers)
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
touches = st.builds(Touched, st.none() | st.tuples(names, names), names, numbers, numbers)


parts = st.tuples(st.integers(5, 99), st.tuples(numbers, numbers, numbers), spans, st.none() | spans, st.none() | spans, st.booleans())


@given(
    names, names, numbers, st.lists(names, min_size=1, max_size=3), st.lists(touches, min_size=1, max_size=3),
    st.lists(parts, min_size=1, max_size=4),
)  # fmt: skip
def test_an_index_is_read_as_it_was_written(log: str, head: str, size: int, sources: Any, touched: Any, found: Any) -> None:
    """Byte for byte, for all that fits its fields."""
    at, stretches = header_index.FIRST, list[Stretch]()
    for length, (events, walked, transactions), times, span, xids, opaque in found:
        gtids = ((0, *times),) if opaque else None
        stretches.append(Stretch(at, at + length, events, walked, transactions, times, span, (0,), gtids, xids, times, opaque))
        at += length
    index = HeaderIndex(log, head, size, tuple(sources), tuple(touched), tuple(stretches))

    assert index == HeaderIndex.from_bytes(index.to_bytes())


@given(st.binary(max_size=300))
def test_any_other_bytes_are_no_index(data: bytes) -> None:
    """Whatever they are."""
    assert HeaderIndex.from_bytes(data) is None


def test_an_index_is_small_and_its_stretches_are_whole(tmp_path: Path) -> None:
    """Less than a thousandth of a log of several blocks; in every stretch both counts agree, and what is between two can be left out."""
    parts, at = [write.Log().data], len(write.Log().data)
    for number, table in enumerate(["t", "u", "v"] * 5000 + ["rare"] + ["u"] * 200, 1):
        for kind, body in rows(number, table):
            at += 23 + len(body)
            parts.append(write.event(kind, body, at, checksum=True))
    log = b"".join([*parts, write.event(binlog.STOP, b"", at + 23, checksum=True)])
    (tmp_path / "bin.000001").write_bytes(log)
    logs, chosen = [str(tmp_path)], selection(tables=["rare"])
    folder = indexed(logs)
    [name] = storage.list_folder(folder, {})
    data = storage.read_file(f"{folder}/{name}", {})
    index = HeaderIndex.from_bytes(data)

    assert len(log) > 1000 * len(data)
    assert index is not None
    assert [4, 15_201] == [len(index.stretches), sum(stretch.transactions for stretch in index.stretches)]
    assert [stretch.events for stretch in index.stretches] == [stretch.walked for stretch in index.stretches]
    assert said_by(plan_or_error(logs, "", chosen)) == said_by(plan_or_error(logs, folder, chosen))
