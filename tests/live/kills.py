"""One replay killed at random instants, again and again, on a real MariaDB: `python -m tests.live.kills KILLS [SEED]`. No tests.

The same damage is done to two databases and both are planned. One plan is replayed in peace; the other one by processes that are killed,
each followed by the next: half of them end themselves at a read, write, store or commit drawn by lot (`DBLOG_KILL_AT`), half are killed
from outside a moment after they began to work. In the end both databases are equal, every step was done once, and the inverse plan of
the killed replay brings the damage back. The seed is printed; what a kill from outside meets is not in it.

    skip    later changes by others are in the way of some steps
    stop    nothing is in the way; every process checks all that is left before it writes
"""

from __future__ import annotations

from contextlib import closing
import os
from pathlib import Path
import random
import secrets
import signal
import subprocess
import sys
import tempfile
import time

import orjson

from dblog_tasks.plan import check, read_plan
from dblog_tasks.replay import KILL_AT, ReplayReport, ReplayRequest, replay
from tests.fuzz.__main__ import say
from tests.live.scenes import Scene
from tests.live.servers import MariaDB, mariadb_server

COMMAND = [sys.executable, "-c", "from dblog_tasks.__main__ import main; main()"]
TABLES = """CREATE TABLE t (id int PRIMARY KEY, a int, b varchar(20)); CREATE TABLE nokey (a int);
    INSERT INTO t SELECT seq, 0, CONCAT('b', seq) FROM seq_1_to_900; INSERT INTO nokey SELECT seq % 5 FROM seq_1_to_40;"""
POINTS = ("read", "write", "stored", "commit", "committed")
BATCH_ROWS = 20  # less than a step has: a batch each
ROWS_A_STEP = 25
STEPS_A_KILL = 40  # so many that the plan is not done before the last kill, on a fast machine too
WORK_SECONDS = 0.05  # a process is killed from outside within this time after it has begun
CHECK_SECONDS = 0.0001  # and where it checks first, this much more for each step that is left: less than its check takes
POLICIES = ("skip", "stop")
WAIT_SECONDS = 60  # for a process to begin


class KilledReplay:
    """A plan whose replay is killed.

    Attributes:
        kills: how many there were, by where.
    """

    def __init__(self, scene: Scene, policy: str, draw: random.Random) -> None:
        self.kills = {"at a point": 0, "from outside": 0}
        self._scene, self._policy, self._draw = scene, policy, draw
        options = ["--approve", scene.plan.id, "--batch-rows", str(BATCH_ROWS), "--on-conflict", policy, "--as", "json"]
        self._command = [*COMMAND, "replay", scene.plan.url, "--target", scene.dsn(), "--acknowledge", _no_key(scene), *options]

    def run(self, kills: int) -> dict[str, int]:
        """Kill processes until there were that many, then let one end; return its counts of rows. Raises AssertionError."""
        while sum(self.kills.values()) < kills:
            outside = bool(self._draw.randrange(2))
            point = "" if outside else self._point()
            with subprocess.Popen(
                self._command, env={**os.environ, KILL_AT: point}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            ) as process:
                if outside:
                    self._kill(process)
                _, said = process.communicate()
            assert process.returncode, f"the plan was done after {self.kills}: too short for {kills} kills"
            assert -signal.SIGKILL == process.returncode, said.decode()
            self.kills["from outside" if outside else "at a point"] += 1
        ended = subprocess.run(self._command, capture_output=True, check=False)
        report = orjson.loads(ended.stdout)
        assert (0, "done") == (ended.returncode, report["outcome"]), ended.stderr.decode()
        self.inverse: str = report["inverse"]
        return dict(report["rows"])

    def _point(self) -> str:
        point = self._draw.choice(POINTS)
        return f"{point}:{self._draw.randint(1, 8 + self._checked() if point == 'read' else 8)}"

    def _checked(self) -> int:
        """Return how many steps are checked before anything is written."""
        if self._policy != "stop":
            return 0
        made = self._scene.sql("SHOW TABLES LIKE 'dblog_replay'")
        done = int(self._scene.sql("SELECT COALESCE(MAX(done), 0) FROM dblog_replay")) if made else 0
        return self._scene.plan.ledger.undone - done

    def _kill(self, process: subprocess.Popen[bytes]) -> None:
        """Kill a process a moment after it has claimed the plan."""
        after = self._draw.uniform(0, WORK_SECONDS + CHECK_SECONDS * self._checked())
        end = time.monotonic() + WAIT_SECONDS
        with closing(self._scene.session(autocommit=True)) as session, session.cursor() as cursor:
            while process.poll() is None and time.monotonic() < end:
                cursor.execute(f"SELECT IS_USED_LOCK('dblog_replay:{self._scene.plan.id}')")
                if cursor.fetchall()[0][0]:
                    break
        time.sleep(after)
        process.kill()


def _no_key(scene: Scene) -> str:
    return f"no key: {scene.name}.nokey"


def damaged(server: MariaDB, folder: Path, kills: int, policy: str, seed: str) -> Scene:
    """Return a database with its plan: the same damage for the same seed, and for `skip` the same later changes."""
    draw = random.Random(seed)
    scene = Scene(server, folder, TABLES)
    statements = []
    for _ in range(max(30, kills * STEPS_A_KILL)):
        first = draw.randint(1, 900 - ROWS_A_STEP)
        statements.append(f"UPDATE t SET a=a+1 WHERE id BETWEEN {first} AND {first + ROWS_A_STEP - 1}")
        if draw.random() < 0.1:
            statements.append(f"DELETE FROM nokey WHERE a={draw.randrange(5)} LIMIT 1; INSERT INTO nokey VALUES ({draw.randrange(9)})")
    statements += ["DELETE FROM t WHERE id % 9 = 0", "INSERT INTO t SELECT seq, 7, 'new' FROM seq_1001_to_1030"]
    later = ("UPDATE t SET a=-1 WHERE id % 50 = 1", "DELETE FROM t WHERE id IN (500, 1007)") if policy == "skip" else ()
    scene.damage(*statements, later=later)
    return scene


def killed(server: MariaDB, folder: Path, kills: int, policy: str, seed: str) -> KilledReplay:
    """Replay a plan in peace and its twin under kills, and compare. Raises AssertionError where they differ."""
    peaceful, twin = (damaged(server, folder, kills, policy, seed) for _ in range(2))
    damage = twin.dump()
    report: ReplayReport = peaceful.replay(batch_rows=BATCH_ROWS, on_conflict=policy, acknowledge=(_no_key(peaceful),))
    run = KilledReplay(twin, policy, random.Random(seed))
    rows = run.run(kills)
    assert report.rows == rows
    assert peaceful.dump() == twin.dump()
    inverse = read_plan(run.inverse, {})
    assert [] == check(inverse)
    assert rows["applies"] == inverse.ledger.rows_undone
    replay(ReplayRequest(inverse.url, twin.dsn(), approve=inverse.id, acknowledge=(_no_key(twin),)))
    assert damage == twin.dump()
    return run


def main(kills: int, seed: str) -> None:
    """Kill a replay that many times for each answer to conflicts, and say what was seen."""
    with mariadb_server() as server, tempfile.TemporaryDirectory(prefix="dblog-kills-") as folder:
        for policy in POLICIES:
            say(f"replay killed, on_conflict={policy}: seed {seed}")
            run = killed(server, Path(folder), kills, policy, seed)
            counts = ", ".join(f"{count} {where}" for where, count in run.kills.items())
            say(f"replay killed, on_conflict={policy}: {counts}; as the one in peace, and back again")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else secrets.token_hex(4))
