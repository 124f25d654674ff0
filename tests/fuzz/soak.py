"""A long run over all targets: `python -m tests.fuzz.soak MINUTES [SEED]`. Seeds are printed, failing inputs are kept."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys

from tests.fixtures import ROOT
from tests.fuzz.__main__ import say
from tests.fuzz.targets import TARGETS

SHARES = {"binlog": 10, "old": 1, "json": 1, "diffs": 2, "redis": 1, "packed": 1, "plan": 1, "logical": 3, "schema": 1}
PLAIN = 3  # the share of binary logs without compiled code
FAILURES = ROOT / "fuzz-failures"


def main(minutes: float, seed: str) -> int:
    """Run every target for its share of the time; return whether an input failed."""
    FAILURES.mkdir(exist_ok=True)
    runs = [*((name, SHARES[name], "1") for name in TARGETS), ("binlog", PLAIN, "0")]
    whole = sum(share for _, share, _ in runs)
    failed = [run(name, f"{seed}-{native}", minutes * share / whole, native) for name, share, native in runs]
    return any(failed)


def run(name: str, seed: str, minutes: float, native: str) -> bool:
    """Run one target in a process of its own; a crash is told by the number of its input."""
    progress = FAILURES / f"{name}-{seed}.progress"
    say(f"{name}: seed {seed}, {minutes:.1f} minutes{'' if native == '1' else ', without compiled code'}")
    command = [sys.executable, "-m", "tests.fuzz", name, "--seed", seed, "--minutes", str(minutes), "--failures", str(FAILURES)]
    environment = {**os.environ, "DBLOG_NATIVE": native, "FUZZ_PROGRESS": str(progress)}
    code = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
    if code not in {0, 1}:
        say(f"{name}: ended with {code}; run again: -m tests.fuzz {name} --seed {seed} --first {progress.read_text()} --count 1")
    progress.unlink(missing_ok=True)
    return code != 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else secrets.token_hex(4)))
