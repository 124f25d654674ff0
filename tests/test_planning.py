"""Plans of parts are the plan of the whole: at every checkpoint, from files, compressed files and S3, and while a log grows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
import gzip
from itertools import count, zip_longest
import json
from pathlib import Path
import re
import shutil
from typing import Any

from hypothesis import given, strategies as st
import pytest

from dblog_tasks import ledger as words, storage
from dblog_tasks.cli import run
from dblog_tasks.errors import InvalidInput
from dblog_tasks.event import Checkpoint, Position
from dblog_tasks.ledger import Ledger
from dblog_tasks.plan import MANIFEST, Plan, check, read_plan
from dblog_tasks.planning import PlanRequest, make_plan, selection
from dblog_tasks.storage.place import place_of
from tests.examples import examples

SHOP = Path(__file__).parent / "corpus" / "shop"
FILES = sorted(SHOP.glob("shop.0*"))
NUMBERS = count()
CHOSEN = selection(tables=["orders", "users"])


def planned(logs: Sequence[str], start: str = "", stop: str = "", **options: Any) -> Plan:
    """Return the plan of a part of a log, in memory."""
    place: dict[str, Any] = {"start": Checkpoint(position=Position("mysql", start)), "stop": Position("mysql", stop)}
    out = f"memory://planning/{next(NUMBERS)}"
    plan = make_plan(
        PlanRequest("mysql", tuple(logs), out, selection=CHOSEN, **{name: place[name] for name in place if place[name]}, **options)
    )
    assert plan is not None
    return plan


def differing(expected: Sequence[Any], actual: Sequence[Any]) -> Any:
    """Return the first two that differ; None when there are none."""
    return next(((one, other) for one, other in zip_longest(expected, actual) if one != other), None)


def steps_of(plans: Sequence[Plan]) -> list[Any]:
    """Return the steps of all plans in log order."""
    return [(step.checkpoint.position.value, step.operation, step.transaction) for plan in plans for step in reversed(list(plan.steps()))]


def inside(plans: Sequence[Plan]) -> Ledger:
    """Return what the plans count of the parts they are of: what comes before their starts and after their stops left out."""
    ledger = sum((plan.ledger for plan in plans), Ledger())
    outside = sum(ledger.not_needed.pop(word, 0) for word in (words.BEFORE_START, words.AFTER_STOP))
    ledger.total -= outside
    return ledger


def ends() -> list[str]:
    """Return the ends of all events as positions, read from sizes alone."""
    found = []
    for file in FILES:
        log, at = file.read_bytes(), 4
        while at < len(log):
            at += int.from_bytes(log[at + 9 : at + 13], "little")
            found.append(f"{file.name}:{at}")
    return found


@pytest.fixture(scope="module")
def whole() -> Plan:
    """One plan over all of the log."""
    return planned([str(file) for file in FILES])


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The log, each file compressed."""
    folder = tmp_path_factory.mktemp("packed")
    for file in FILES:
        (folder / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
    return str(folder)


def assert_split(whole: Plan, logs: Sequence[str], place: str) -> None:
    """Plan up to a place and from it, and hold both against the whole."""
    parts = [planned(logs, stop=place), planned(logs, start=place)]

    assert differing(steps_of([whole]), steps_of(parts)) is None, place
    assert inside([whole]) == inside(parts), place
    assert parts[0].end.position.value == place
    assert [[], []] == [check(plan) for plan in parts]


@pytest.mark.slow
def test_every_transaction_end_splits_the_log(whole: Plan) -> None:
    """A plan up to any transaction's end and one from there are together the plan of all."""
    found = sorted(
        {step.transaction.end.value for step in whole.steps() if step.transaction}, key=lambda place: (place[:11], int(place[12:]))
    )
    assert len(found) > 100
    for place in found[::12]:
        assert_split(whole, [str(file) for file in FILES], place)


@pytest.mark.slow
def test_every_event_end_splits_the_log(whole: Plan) -> None:
    """The same inside transactions, and at the ends of files."""
    found = ends()
    edges = [place for place in found if any(place == f"{file.name}:{file.stat().st_size}" for file in FILES)]
    assert 3 == len(edges)
    for place in [*edges[:2], *found[1::97]]:
        assert_split(whole, [str(file) for file in FILES], place)


def test_compressed_files_split_the_same(whole: Plan, packed: str) -> None:
    """Positions in a compressed file are those of what it holds."""
    for place in ends()[5::297]:
        assert_split(whole, [packed], place)


@pytest.fixture(scope="module")
def bucket(packed: str) -> Iterator[dict[str, Any]]:
    """Options for an S3 store, as moto plays it, that holds the compressed log."""
    pytest.importorskip("s3fs")
    moto_server = pytest.importorskip("moto.server")
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patched:
        for name, value in {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1"}.items():
            patched.setenv(name, value)
        patched.setenv("AWS_EC2_METADATA_DISABLED", "true")
        options = {"client_kwargs": {"endpoint_url": f"http://{host}:{port}"}}
        place_of("s3://logs", options).fs.mkdir("logs")
        for file in Path(packed).iterdir():
            storage.write_file(f"s3://logs/shop/{file.name}", file.read_bytes(), options)
        yield options
    server.stop()


def test_an_index_on_s3_of_compressed_files_on_s3(whole: Plan, bucket: dict[str, Any]) -> None:
    """Made by the first plan and used by the second; both are the plan of plain files without one."""
    more: dict[str, Any] = {"storage_options": bucket, "index": "s3://logs/indexes"}

    plans = [planned(["s3://logs/shop"], **more) for _ in range(2)]
    nobody = make_plan(
        PlanRequest("mysql", ("s3://logs/shop",), "memory://planning/nobody", selection=selection(tables=["nobody"]), **more)
    )

    assert [None, None] == [differing(steps_of([whole]), steps_of([plan])) for plan in plans]
    assert 2 == len(storage.list_folder("s3://logs/indexes", bucket))
    assert nobody is not None
    assert nobody.ledger.not_needed[words.NOT_READ] > nobody.ledger.total / 2
    assert nobody.ledger.balanced


def test_checkpoints_split_a_log_on_s3(whole: Plan, bucket: dict[str, Any]) -> None:
    """The same from a glob of compressed objects."""
    for place in ends()[40::370]:
        logs = ["s3://logs/shop/shop.0*"]
        parts = [planned(logs, stop=place, storage_options=bucket), planned(logs, start=place, storage_options=bucket)]

        assert differing(steps_of([whole]), steps_of(parts)) is None, place
        assert inside([whole]) == inside(parts), place


def test_the_accident_is_planned_from_s3_to_s3(bucket: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """The bad transactions of the corpus, found by id in compressed objects; plan, check and undo go through the store."""
    bad = json.loads((SHOP / "accident.json").read_text())["transactions"]
    store = ("--storage-option", f"client_kwargs.endpoint_url={bucket['client_kwargs']['endpoint_url']}")
    wanted = [word for entry in bad for word in ("--transaction", entry["gtid"])]

    assert run(["plan", "s3://logs/shop/shop.0*", "--driver", "mysql", "--out", "s3://logs/plans/accident", *wanted, *store]) == 0
    assert run(["check", "s3://logs/plans/accident", *store]) == 0
    plan = read_plan("s3://logs/plans/accident", bucket)
    assert sum(rows for entry in bad for rows in entry["rows"]) == plan.ledger.rows_undone
    assert [entry["gtid"] for entry in reversed(bad)] == list(
        dict.fromkeys(step.transaction.id for step in plan.steps() if step.transaction)
    )
    capsys.readouterr()
    assert run(["show", "s3://logs/plans/accident", "--as", "sql", *store]) == 0
    assert "IF(ROW_COUNT()=89" in capsys.readouterr().out


def grow(folder: Path, size: int) -> None:
    """Let a folder hold the first bytes of the log, file after file."""
    for file in FILES:
        content = file.read_bytes()[:size]
        size -= len(content)
        (folder / file.name).write_bytes(content)
        if size <= 0:
            return


def plans_of(folder: Path) -> list[Plan]:
    """Return the finished plans of a folder, by where they end."""
    found = [read_plan(str(manifest.parent), {}) for manifest in folder.glob(f"*/{MANIFEST}")]
    return sorted(found, key=lambda plan: (plan.end.position.value[:11], int(plan.end.position.value[12:])))


LENGTH = sum(file.stat().st_size for file in FILES)


@examples(4)
@given(cuts=st.lists(st.integers(300, LENGTH), max_size=6), killed=st.sets(st.integers(0, 5)))
def test_a_growing_log_is_planned_once(whole: Plan, tmp_path_factory: pytest.TempPathFactory, cuts: list[int], killed: set[int]) -> None:
    """Cut anywhere, also inside an event or a transaction, and with runs that died before their manifest: every step once, in order."""
    folder = tmp_path_factory.mktemp("growing")
    logs, out = folder / "logs", folder / "plans"
    logs.mkdir()
    for number, cut in enumerate([*sorted(cuts), LENGTH]):
        grow(logs, cut)
        request = PlanRequest("mysql", (str(logs),), str(out), selection=CHOSEN, resume=True)
        made = make_plan(request)
        if number in killed and made is not None:
            (Path(made.url) / MANIFEST).unlink()
            make_plan(request)
    made_plans = plans_of(out)

    assert differing(steps_of([whole]), steps_of(made_plans)) is None
    assert [plan.end for plan in made_plans[:-1]] == [plan.start for plan in made_plans[1:]]
    assert Counter() == sum((plan.ledger.omitted for plan in made_plans), Counter())
    assert inside([whole]).rows_undone == inside(made_plans).rows_undone
    assert [] == [problem for plan in made_plans for problem in check(plan)]
    assert make_plan(PlanRequest("mysql", (str(logs),), str(out), selection=CHOSEN, resume=True)) is None


def made(**asked: Any) -> Plan:
    """Return the plan of the shop's log for what a person asks."""
    plan = make_plan(
        PlanRequest("mysql", tuple(map(str, FILES)), f"memory://planning/{next(NUMBERS)}", selection=selection(**asked), resume=False)
    )
    assert plan is not None
    return plan


BAD = [entry["gtid"] for entry in json.loads((SHOP / "accident.json").read_text())["transactions"]]


def test_a_gtid_set_undoes_the_transactions_it_names() -> None:
    """The same steps as the transactions one by one, as one set or several."""
    expected = steps_of([made(transactions=BAD)])

    assert expected
    assert expected == steps_of([made(gtids=[", ".join(BAD)])]) == steps_of([made(gtids=BAD)])
    assert expected == steps_of([made(gtids=["0-*-1..18446744073709551615"], transactions=BAD)])


def test_a_statement_undoes_what_its_text_did() -> None:
    """The accident found by what was typed: the whole statement, however it was spaced and cased."""
    statements = {step.transaction.statements[0] for step in made(transactions=BAD[:1]).steps() if step.transaction}
    (typed,) = statements

    assert steps_of([made(transactions=BAD[:1])]) == steps_of([made(statements=["  ".join(typed.upper().split())])])


NOT_TOLD = (
    ({"threads": ["5"]}, "no thread id in the log"),
    ({"threads": ["!5"]}, "no thread id in the log"),
    ({"gtids": ["0-1-99999"]}, "gtid 0-1-99999 is not in these logs"),
    ({"gtids": ["0-1-99999", "7-*-1..9"]}, "gtid 0-1-99999 or gtid 7-"),
    ({"gtids": ["3e11fa47-71ca-11e1-9e33-c80aa9429562:1"]}, "the log holds 0-1-"),
    ({"columns": ["nobody"]}, "no table that is selected has the column"),
    ({"columns": ["nobody", "none"]}, "no table that is selected has the column"),
    ({"columns": ["orders.nobody"]}, "no column 'nobody' in table shop.orders"),
)


@pytest.mark.parametrize(("asked", "message"), NOT_TOLD)
def test_what_these_logs_cannot_tell_or_do_not_hold_is_an_error(asked: dict[str, Any], message: str) -> None:
    """Never a plan of nothing without a word."""
    with pytest.raises(InvalidInput, match=re.escape(message)):
        made(**asked)


def test_what_may_come_yet_is_a_warning_of_the_first_run_that_resumes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A name that is wrong is told at once; a later run looks at what came since, and need not repeat it."""
    logs, out = tmp_path / "logs", tmp_path / "plans"
    logs.mkdir()
    request = PlanRequest("mysql", (str(logs),), str(out), selection=selection(transactions=["0-1-99999"]), resume=True)
    told = []
    for file in FILES[:2]:
        shutil.copy(file, logs)
        assert make_plan(request) is not None
        told.append([record.message for record in caplog.records])
        caplog.clear()

    assert [1, 0] == list(map(len, told))
    assert "transaction 0-1-99999 is not in these logs" in told[0][0]
    assert "a later run goes on looking" in told[0][0]


def test_what_nobody_changed_is_a_plan_of_nothing() -> None:
    """The log tells, and the answer is no."""
    for asked in ({"statements": ["DROP TABLE"]}, {"columns": ["orders.id"], "kinds": ["update"]}, {"gtids": ["0-1-1"], "kinds": ["none"]}):
        if "gtids" in asked:
            with pytest.raises(InvalidInput, match="or the other filters leave nothing of it"):
                made(**asked)
        else:
            assert made(**asked).ledger.undone == 0
