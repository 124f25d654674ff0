"""The flow `recover` on a real MariaDB: asked, answered, replayed, verified."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import os
from pathlib import Path
import signal
from typing import Any, TypeAlias
from uuid import UUID

from prefect import get_client
from prefect.exceptions import PrefectHTTPStatusError
from prefect.flows import load_flow_from_entrypoint
from prefect.settings import PREFECT_API_URL, PREFECT_SERVER_DATABASE_CONNECTION_URL, temporary_settings
from prefect.states import AwaitingRetry, Cancelling
import pytest

from dblog_tasks import cli, replay_tasks, runs
from dblog_tasks.blocks import DatabaseTarget
from dblog_tasks.plan import read_plan
from dblog_tasks.verify import verify
from tests.flows.recovering import (
    ACCOUNT,
    DAMAGED,
    PASSWORD,
    Shop,
    answered,
    artifacts,
    created,
    make_shop,
    read,
    screen,
    task_run_counts,
    worked,
)
from tests.live.conftest import require
from tests.live.servers import MARIADB_PROGRAMS, MariaDB, mariadb_server

Start: TypeAlias = Callable[..., UUID]
ROOT = Path(__file__).parent.parent.parent
ENTRYPOINT = f"{ROOT}/flows/recover.py:recover"


@pytest.fixture(scope="module")
def database() -> Iterator[MariaDB]:
    """A MariaDB server for this file."""
    require(MARIADB_PROGRAMS)
    with mariadb_server() as server:
        yield server


@pytest.fixture
def shop(database: MariaDB, server: Path, tmp_path: Path, source: str) -> Shop:
    """A shop of this test, after the accident."""
    return make_shop(database, "shop" + source.replace("-", ""), tmp_path)


@pytest.fixture(scope="module")
def deployment(server: Path) -> UUID:
    """The flow's deployment: only a run of one can be suspended."""
    flow: Any = load_flow_from_entrypoint(ENTRYPOINT)
    with get_client(sync_client=True) as client:
        return client.create_deployment(
            client.create_flow(flow),
            name="recover",
            entrypoint=ENTRYPOINT,
            path=str(ROOT),
            parameter_openapi_schema=flow.parameters.model_dump(),
            enforce_parameter_schema=True,
        )


@pytest.fixture
def api(server: Path) -> Iterator[str]:
    """The server as a setting, as the command line wants it."""
    where = str(PREFECT_API_URL.value())
    with temporary_settings({PREFECT_API_URL: where}):
        yield where


@pytest.fixture
def start(shop: Shop, deployment: UUID) -> Start:
    """`start(**parameters)` is a run that waits for its approval."""

    def start(**parameters: Any) -> UUID:
        run = created(deployment, shop.parameters(**parameters))
        state = worked(run)
        assert ("PAUSED", "Suspended") == (state.type.value, state.name), state.message
        return run

    return start


def test_approved_is_replayed_and_verified(shop: Shop, start: Start) -> None:
    """Suspended until the plan's id and a name are given; then the rows are as before the accident."""
    run = start()
    asked = screen(run)
    answered(run, decision="approve", plan_id=shop.plan.id)
    ended = worked(run)
    found = artifacts(run)

    assert shop.plan.id in asked
    assert f"{DAMAGED} rows can be undone" in asked
    assert "customer-1" in asked or "total" in asked
    assert ("COMPLETED", "Verified") == (ended.type.value, ended.name), ended.message
    assert shop.before == shop.rows
    assert {"dblog-approval", "dblog-replay-progress", "dblog-replay-report", "dblog-radius", "dblog-ledger", "dblog-plan"} <= set(found)
    assert "Verified" in found["dblog-replay-report"]


def test_declined_changes_nothing(shop: Shop, start: Start) -> None:
    """The run ends cancelled, says by whom, and no row is another one."""
    damaged = shop.rows
    run = start()
    answered(run, name="Bob")
    ended = worked(run)

    assert ("CANCELLED", "Declined", "declined by Bob, nothing was changed") == (ended.type.value, ended.name, ended.message)
    assert damaged == shop.rows


def test_declining_with_an_id_is_asked_again(shop: Shop, start: Start) -> None:
    """Whoever gives the plan's id and leaves the decision as it stands is asked what was meant."""
    run = start()
    answered(run, plan_id=shop.plan.id)

    assert "Suspended" == worked(run).name
    assert "**Asked again:** Ann gave a plan id, and chose to decline." in screen(run)


def test_wrong_id_is_asked_again(shop: Shop, start: Start) -> None:
    """Another plan's id is refused with a message, and the right one counts afterwards."""
    damaged = shop.rows
    run = start()
    answered(run, decision="approve", plan_id="0" * 32)
    again = worked(run)
    asked, untouched = screen(run), shop.rows
    answered(run, decision="approve", plan_id=f" {shop.plan.id} ")
    ended = worked(run)

    assert ("Suspended", damaged) == (again.name, untouched)
    assert f"**Asked again:** “{'0' * 32}” is not the id of this plan, nothing was changed." in asked
    assert ("Verified", shop.before) == (ended.name, shop.rows)


def test_expired_approval_is_asked_again(shop: Shop, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """An approval that came too late does not count: the tail of the log is read, and what came meanwhile is shown."""
    run = start()
    shop.sql("UPDATE orders SET total = 7 WHERE id = 3")
    monkeypatch.setenv("DBLOG_APPROVAL_SECONDS", "0.001")
    answered(run, decision="approve", plan_id=shop.plan.id)
    again = worked(run)
    asked = screen(run)
    monkeypatch.setenv("DBLOG_APPROVAL_SECONDS", "3600")
    answered(run, decision="approve", plan_id=shop.plan.id, on_conflict="skip")
    ended = worked(run)

    assert "Suspended" == again.name
    assert "**Asked again:** the approval by Ann came or was used later than" in asked
    assert "1 hard conflicts, 0 soft" in asked
    assert f"{DAMAGED - 1} rows can be undone, 1 rows were changed since" in asked
    assert "COMPLETED" == ended.type.value, ended.message
    assert shop.before.replace("(3,3.50,", "(3,7.00,") == shop.rows


def test_new_conflict_is_asked_about(shop: Shop, start: Start) -> None:
    """What came between the screen and the replay was not approved: it is asked again, and nothing was changed."""
    run = start()
    shop.sql("UPDATE orders SET total = 7 WHERE id = 3")
    damaged = shop.rows
    answered(run, decision="approve", plan_id=shop.plan.id)
    again = worked(run)

    assert ("Suspended", damaged) == (again.name, shop.rows)
    assert "**Asked again:** there are new conflicts since Ann was shown them." in screen(run)


def test_conflict_ends_the_run(shop: Shop, start: Start) -> None:
    """With `stop` a row that was changed since fails the run, which says that nothing is committed; it is not tried again."""
    shop.sql("UPDATE orders SET total = 7 WHERE id = 3")
    damaged = shop.rows
    run = start()
    answered(run, decision="approve", plan_id=shop.plan.id)
    ended = worked(run)

    assert ("FAILED", "Conflict") == (ended.type.value, ended.name)
    assert "stopped at a conflict: 0 of 12 steps are committed" in str(ended.message)
    assert damaged == shop.rows
    assert "column changed" in artifacts(run)["dblog-replay-conflicts"]
    assert [1] == task_run_counts(run, "replay")


def test_rows_that_differ_fail_the_run(shop: Shop, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Verify's outcome is the run's state: what somebody does between replay and verify is seen."""
    run = start()
    answered(run, decision="approve", plan_id=shop.plan.id)

    def late(*given: Any, **more: Any) -> Any:
        shop.sql("UPDATE orders SET total = 7 WHERE id = 3; DELETE FROM orders WHERE id = 4")
        return verify(*given, **more)

    monkeypatch.setattr(replay_tasks, "verify", late)
    ended = worked(run)

    assert ("FAILED", "Differs") == (ended.type.value, ended.name), ended.message
    assert "1 differ, 1 are missing" in str(ended.message)


def test_plan_is_made_on_the_way(shop: Shop, start: Start, tmp_path: Path) -> None:
    """Without a plan one is made of logs and selection, once: the run that goes on finds it."""
    out = tmp_path / "plans"
    run = start(plan="", out=str(out), selection={"tables": [f"{shop.name}.orders"], "kinds": ["update"]})
    (made,) = out.iterdir()
    answered(run, decision="approve", plan_id=read_plan(str(made), {}).id)
    ended = worked(run)

    assert ("Verified", shop.before) == (ended.name, shop.rows), ended.message
    assert [made] == [folder for folder in out.iterdir() if "inverse" not in folder.name]


def test_approved_at_once_is_not_asked(shop: Shop, deployment: UUID) -> None:
    """With the plan's id and a name in its parameters a run is not suspended; with another id it fails and changes nothing."""
    damaged = shop.rows
    refused = worked(created(deployment, shop.parameters(approve="0" * 32, approver="Ann")))
    untouched = shop.rows
    ended = worked(created(deployment, shop.parameters(approve=shop.plan.id, approver="Ann")))

    assert ("FAILED", damaged) == (refused.type.value, untouched)
    assert f"“{'0' * 32}” is not the id of this plan" in str(refused.message)
    assert ("Verified", shop.before) == (ended.name, shop.rows), ended.message


def test_cancelled_run_stops_after_its_batch(shop: Shop, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cancelling the run lets the batch in flight end, and the state says what is committed and what takes it back."""
    run = start(options={"batch_rows": 1})
    answered(run, decision="approve", plan_id=shop.plan.id)
    monkeypatch.setattr(replay_tasks, "UPDATE_SECONDS", 0)
    shown = replay_tasks.ReplayProgressShown.__call__

    def cancelled(progress: Any, done: Any) -> None:
        if not done.checking:
            with get_client(sync_client=True) as client:
                client.set_flow_run_state(run, Cancelling(), force=True)
        shown(progress, done)

    monkeypatch.setattr(replay_tasks.ReplayProgressShown, "__call__", cancelled)
    ended = worked(run)

    assert ("CANCELLED", "Stopped") == (ended.type.value, ended.name), ended.message
    assert "stopped by a person: 1 of 12 steps are committed, 1 rows undone; taken back by plan" in str(ended.message)
    assert "Stopped" in artifacts(run)["dblog-replay-report"]


def test_process_told_to_end_lets_the_batch_end(shop: Shop, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that cancels a run tells its process to end: the batch in flight is committed, and said."""
    run = start(options={"batch_rows": 1, "max_rate": 20})
    answered(run, decision="approve", plan_id=shop.plan.id)
    shown = replay_tasks.ReplayProgressShown.__call__

    def ended_by_worker(progress: Any, done: Any) -> None:
        shown(progress, done)
        if not done.checking:
            os.kill(os.getpid(), signal.SIGTERM)
            progress._stop.wait(60)

    monkeypatch.setattr(replay_tasks.ReplayProgressShown, "__call__", ended_by_worker)
    ended = worked(run)

    assert ("CANCELLED", "Stopped") == (ended.type.value, ended.name), ended.message
    assert "1 of 12 steps are committed, 1 rows undone; taken back by plan" in str(ended.message)


def test_events_tell_automations(shop: Shop, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ended how, of which plan, in numbers: nothing of a row."""
    told: list[tuple[str, Any]] = []
    monkeypatch.setattr(runs, "emit_event", lambda event, **more: told.append((event, more)))
    shop.sql("UPDATE orders SET total = 7 WHERE id = 3")
    for on_conflict in ("stop", "skip"):
        run = start()
        answered(run, decision="approve", plan_id=shop.plan.id, on_conflict=on_conflict)
        worked(run)

    assert [replay_tasks.REPLAY_CONFLICT, replay_tasks.REPLAY_DONE] == [event for event, _ in told]
    assert {f"dblog.source.{shop.name}"} == {more["resource"]["prefect.resource.id"] for _, more in told}
    assert [shop.plan.id] * 2 == [more["payload"]["id"] for _, more in told]
    assert (1, DAMAGED - 1) == (told[0][1]["payload"]["conflict"], told[1][1]["payload"]["applies"])


def test_rows_left_out_as_approved_are_no_difference(shop: Shop, start: Start) -> None:
    """With `skip` the run ends verified, and says how many rows are not as the plan wants them."""
    shop.sql("UPDATE orders SET total = 7 WHERE id = 3")
    run = start()
    answered(run, decision="approve", plan_id=shop.plan.id, on_conflict="skip")
    ended = worked(run)

    assert "Verified" == ended.name, ended.message
    assert f"{DAMAGED - 1} rows are as wanted, 1 differ" in str(ended.message)


def test_finished_run_begun_again_asks_again(shop: Shop, start: Start) -> None:
    """A person lets a declined run begin anew: what was said before does not count."""
    run = start()
    answered(run)
    worked(run)
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run, AwaitingRetry(), force=True)
    again = worked(run)
    answered(run, decision="approve", plan_id=shop.plan.id)
    ended = worked(run)

    assert ("Suspended", "Verified") == (again.name, ended.name), ended.message


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 0, "## READY"),
        (("--approve", "0" * 32, "--by", "Ann"), 1, "is not the id of the plan that waits"),
        (("--approve", "x", "--decline", "--by", "Ann"), 1, "approve or decline, not both"),
        (("--decline",), 1, "an answer has a name"),
        (("--decline", "--by", "Bob"), 0, "declined by Bob; the run goes on"),
    ],
)
def test_answer_in_a_shell(
    arguments: tuple[str, ...], code: int, said: str, shop: Shop, start: Start, api: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """`dblog approve` shows the screen and takes the answer; a wrong one does not reach the run."""
    run = start()
    capfd.readouterr()
    answer = cli.run(["approve", str(run), *arguments])
    told = capfd.readouterr()
    state = worked(run) if "go on" in said or "goes on" in said else read(run).state

    assert code == answer, told.err
    assert said in told.out + told.err
    assert state is not None
    assert ("Declined" if "Bob" in arguments else "Suspended") == state.name


def test_approved_in_a_shell_by_name(shop: Shop, start: Start, api: str) -> None:
    """The run goes on to its end, by the name of the run, and with the target's block on the command line it verifies there too."""
    run = start()
    name = read(run).name
    code = cli.run(["approve", name, "--approve", shop.plan.id, "--by", "Ann"])
    ended = worked(run)
    verified = cli.run(["verify", shop.plan.url, "--target", f"block:{shop.name}"])

    assert (0, "Verified", 0) == (code, ended.name, verified)


def test_values_are_masked_when_asked(shop: Shop, start: Start) -> None:
    """With `mask` no value of a row is in form or artifacts, also where there are conflicts."""
    shop.sql("UPDATE orders SET total = 713.13 WHERE id = 3")
    run = start(mask=True)
    shown = screen(run) + str(artifacts(run))

    assert "713" not in shown
    assert "values hidden" in shown


@pytest.mark.parametrize("target", [f"mysql://{ACCOUNT}:{PASSWORD}@localhost/", f"mysql://{ACCOUNT}@localhost/?password={PASSWORD}"])
def test_password_is_no_parameter(target: str, shop: Shop, deployment: UUID) -> None:
    """The server refuses a target with a password before it is stored, where the deployment has it check parameters."""
    with pytest.raises(PrefectHTTPStatusError, match="does not match"):
        created(deployment, shop.parameters(target=target))


def test_password_is_nowhere(shop: Shop, start: Start, deployment: UUID, server: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The target's password is in no file of the server but encrypted, in no result, no artifact, no log; nor is a wrong one."""
    run = start()
    answered(run, decision="approve", plan_id=shop.plan.id)
    ended = worked(run)
    DatabaseTarget(user=ACCOUNT, password=PASSWORD + "-wrong", unix_socket=str(shop.server.socket)).save(f"{shop.name}-wrong")
    failed = worked(created(deployment, shop.parameters(target=f"block:{shop.name}-wrong")))
    said = capfd.readouterr()
    database = Path(str(PREFECT_SERVER_DATABASE_CONNECTION_URL.value()).partition("///")[2])
    files = [*database.parent.glob(f"{database.name}*"), *(file for file in server.rglob("*") if file.is_file())]
    held = [str(file) for file in files if PASSWORD.encode() in file.read_bytes()]

    assert ("Verified", "FAILED") == (ended.name, failed.type.value)
    assert "Access denied" in str(failed.message)
    assert database in files
    assert [] == held
    assert PASSWORD not in str(artifacts(run)) + said.out + said.err + str(failed.message)
