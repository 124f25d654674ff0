"""What the benchmarks measure with: the statements that fill their logs, and the arithmetic of their lines."""

from __future__ import annotations

from itertools import islice
import os
from pathlib import Path
import random
import re
import sys

import pytest

from benchmarks.logs import KINDS, middle, series, statements, wide_values
from benchmarks.measure import Task, compared, judged, run
import dblog_tasks

LOG = Path(__file__).parent / "corpus" / "shop" / "shop.000001"


@pytest.mark.parametrize("kind", KINDS)
def test_half_of_the_transactions_are_of_a_single_row(kind: str) -> None:
    """The others of up to 100; all the same each time."""
    made = [[*islice(statements(kind, random.Random(1)), 4000)] for _ in range(2)]
    rows = [int(found[1]) for text in made[0] if (found := re.search(r"FROM seq_1_to_(\d+)", text))]
    assert made[0] == made[1]
    assert 0.45 < rows.count(1) / len(rows) < 0.55
    assert max(rows) == 100
    assert 8 == sum("INTO rare" in text for text in made[0])


def test_a_tenth_of_the_wide_values_is_null_where_that_is_allowed() -> None:
    """The key comes besides: 30 columns."""
    values = list(wide_values())
    assert 29 == len(values)
    assert 26 == sum("R < 0.1" in value for value in values)


def test_the_middle_of_a_log_is_where_a_transaction_ends() -> None:
    """The first one that ends in the second half."""
    end = middle(LOG)
    with dblog_tasks.open("mysql", path=str(LOG)) as decoder:
        ends = sorted({int(event.transaction_info.end.value.rpartition(":")[2]) for event in decoder if event.transaction_info})  # type: ignore[attr-defined]
    assert min(at for at in ends if at > LOG.stat().st_size // 2) == end


def test_a_series_is_the_same_log_again(tmp_path: Path) -> None:
    """Under following names, and without a copy."""
    log = tmp_path / "shop.000007"
    log.write_bytes(LOG.read_bytes())
    made = series(log, tmp_path / "series", 3)
    assert ["shop.000001", "shop.000002", "shop.000003"] == sorted(path.name for path in made.iterdir())
    assert 4 == log.stat().st_nlink


def test_a_line_says_how_much_more_the_peer_takes(tmp_path: Path) -> None:
    """Of both figures, with the floor and whether it is reached."""
    command = [sys.executable, "-c", "pass"]
    task = Task("one", [command], [command], floor=0.0)
    line = compared(task, 1, tmp_path / "output", os.environ)
    assert re.fullmatch(r"one +\d+\.\d\d \[\d+\.\d\d-\d+\.\d\d\] +\d+\.\d\d \[\d+\.\d\d-\d+\.\d\d\] +0\.0 pass", line)
    assert ["  1.2 below", "  1.2 pass", ""] == [judged(1.19, 1.2), judged(1.2, 1.2), judged(9, None)]


def test_a_command_that_fails_ends_the_benchmark(tmp_path: Path) -> None:
    """A figure of half a job would be a lie; a plan with omissions is a whole one."""
    run([[sys.executable, "-c", "raise SystemExit(3)"]], tmp_path / "output", os.environ)
    with pytest.raises(SystemExit, match="no such job"):
        run([[sys.executable, "-c", "raise SystemExit('no such job')"]], tmp_path / "output", os.environ)
