"""A small fixed number of changed inputs of each kind: declared errors, an end, and bounded memory. `make soak` runs more."""

from __future__ import annotations

from importlib.util import find_spec
import os
from pathlib import Path
from random import Random
import subprocess
import sys

import pytest

from tests.fixtures import ROOT
from tests.fuzz.mutations import bases, binary_log
from tests.fuzz.soak import SHARES
from tests.fuzz.targets import TARGETS

COUNTS = {
    "binlog": 2000,
    "old": 3000,
    "json": 3000,
    "diffs": 2000,
    "redis": 3000,
    "logical": 1500,
    "schema": 500,
    "packed": 1000,
    "plan": 800,
}


def fuzzed(target: str, failures: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the inputs in a process of its own: its memory is bounded, and a crash is seen."""
    command = [sys.executable, "-m", "tests.fuzz", target, "--count", str(COUNTS[target]), "--failures", str(failures)]
    progress = {"FUZZ_PROGRESS": str(failures.with_suffix(".progress"))}
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **progress, **environment}, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("target", COUNTS)
def test_any_input_ends_in_a_declared_error(target: str, tmp_path: Path) -> None:
    """Or in none."""
    done = fuzzed(target, tmp_path / target)

    assert (0, "") == (done.returncode, done.stderr), done.stdout[-2000:]
    assert f"{target}: {COUNTS[target]} inputs" in done.stdout


@pytest.mark.slow
@pytest.mark.skipif(find_spec("dblog_tasks.mysql._native") is None, reason="there is no compiled code")
def test_any_log_ends_in_a_declared_error_without_compiled_code(tmp_path: Path) -> None:
    """The generated readers are told the same bytes."""
    assert (0, "") == ((done := fuzzed("binlog", tmp_path / "plain", DBLOG_NATIVE="0")).returncode, done.stderr), done.stdout[-2000:]


def test_every_target_is_run() -> None:
    """Here and by `make soak`."""
    assert TARGETS.keys() == COUNTS.keys() == SHARES.keys()


def test_an_input_is_named_by_seed_and_number() -> None:
    """The same names give the same bytes in every process, so that a failure can be run again."""
    for target in TARGETS.values():
        assert target.make(Random("seed:7")) == target.make(Random("seed:7"))


def test_changed_logs_reach_what_is_deep() -> None:
    """Most of them begin with a format description that is read, and every kind of event of the corpus is in one."""
    logs = [binary_log(Random(f"deep:{number}")) for number in range(600)]
    kinds = {log[4 + 4 + at] for log in logs for at in starts(log)}

    assert {15, 2, 16, 19, 40, 160, 162} <= kinds
    assert len(bases()) > 10


def starts(log: bytes) -> list[int]:
    """Offsets of events after the magic, by their sizes."""
    at, found = 4, []
    while at + 19 <= len(log) and (size := int.from_bytes(log[at + 9 : at + 13], "little")) >= 19:
        found.append(at - 4)
        at += size
    return found
