"""The approval as a person gives it: in a browser, on the page of a run that a worker began and another process goes on with."""

from __future__ import annotations

from collections.abc import Iterator
import os
from pathlib import Path
import time
from typing import Any, NamedTuple
from uuid import UUID

from playwright.sync_api import FloatRect, Locator, Page, expect
from prefect import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.objects import Artifact
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings
import pytest

from dblog_tasks import picture
from tests.flows.browser import PROGRAMS, chromium, prefect, prefect_server, prefect_worker
from tests.flows.recovering import DAMAGED, ROWS, Shop, make_shop, read
from tests.live.conftest import require
from tests.live.servers import MARIADB_PROGRAMS, mariadb_server

POOL = "dblog"
WAIT_SECONDS_MAX, PAGE_SECONDS_MAX, TAKEN_SECONDS_MAX = 300, 90, 30
TRIES_MAX = 3
CLIP = FloatRect(x=0, y=0, width=1280, height=860)  # of a page: what a person sees without scrolling


class Site(NamedTuple):
    """A Prefect server with the deployments of this project and a worker; a shop after an accident; a page."""

    where: str
    home: Path
    shop: Shop
    other: Shop
    depot: Shop
    parameters: dict[str, dict[str, Any]]
    page: Page
    pictures: Path

    def picture(self, name: str) -> None:
        """Keep what the page looks like when it is all there."""
        self.page.wait_for_load_state("networkidle")
        self.page.screenshot(path=self.pictures / f"{name}.png", clip=CLIP)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """All of it, with `prefect deploy --all` as a person runs it."""
    require((*MARIADB_PROGRAMS, *PROGRAMS))
    home = tmp_path_factory.mktemp("site")
    pictures = Path(os.environ.get("DBLOG_PICTURES", home))
    pictures.mkdir(exist_ok=True)
    with mariadb_server() as database, prefect_server(home) as where:
        prefect(home, where, "work-pool", "create", POOL, "--type", "process")
        prefect(home, where, "block", "register", "-m", "dblog_tasks.blocks")
        prefect(home, where, "--no-prompt", "deploy", "--all")
        with temporary_settings({PREFECT_API_URL: f"{where}/api", PREFECT_HOME: home}), prefect_worker(home, where, POOL):
            shop, other, depot = (make_shop(database, name, home / name) for name in ("shop", "other", "depot"))
            # This saves blocks, which cannot be done while a page is open: its driver has a loop of its own.
            parameters = {one.name: one.parameters() for one in (shop, other, depot)}
            with chromium() as page:
                page.set_default_timeout(PAGE_SECONDS_MAX * 1000)
                expect.set_options(timeout=PAGE_SECONDS_MAX * 1000)
                yield Site(where, home, shop, other, depot, parameters, page, pictures)


def start(site: Site, shop: Shop, **more: Any) -> UUID:
    """Return the id of a run of the deployment."""
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name("recover/on-demand")
        return client.create_flow_run_from_deployment(deployment.id, parameters=site.parameters[shop.name] | more).id


def wait_for(run: UUID, *names: str, after: str = "") -> str:
    """Wait until the run is in a state of one of these names; return its message."""
    give_up = time.monotonic() + WAIT_SECONDS_MAX
    while True:
        state = read(run).state
        if state is not None and state.name in names and str(state.id) != after:
            return str(state.message)
        assert time.monotonic() < give_up, state
        assert state is None or not state.is_final(), state
        time.sleep(1)  # each look is a request to a server that has other things to do


@pytest.mark.slow
@pytest.mark.timeout(900)  # three processes of Prefect and a browser, on a machine that may be busy
def test_person_approves_in_the_browser(site: Site) -> None:
    """A wrong id is asked again, the right one is replayed and verified; nobody works while the person thinks."""
    run = start(site, site.shop)
    wait_for(run, "Suspended")
    first = str(read(run).state_id)
    opened(site, run)
    expect(site.page.get_by_role("dialog").get_by_text(site.shop.plan.id)).to_be_visible()
    site.picture("1-form")
    answer(site, run, "f" * 32)
    wait_for(run, "Suspended", after=first)
    opened(site, run)
    expect(site.page.get_by_role("dialog").get_by_text("is not the id of this plan")).to_be_visible()
    site.picture("3-asked-again")
    answer(site, run, site.shop.plan.id)
    message = wait_for(run, "Verified")
    site.page.goto(f"{site.where}/v2/runs/flow-run/{run}?tab=Artifacts")
    expect(site.page.get_by_text("Verified").first).to_be_visible()
    expect(site.page.get_by_text("dblog-replay-report").first).to_be_visible()
    site.picture("4-artifacts")
    site.page.goto(f"{site.where}/v2/artifacts/artifact/{report(run).id}")
    expect(site.page.get_by_text("What takes it back").first).to_be_visible()
    site.picture("5-report")

    assert "approved by Ann" in message
    assert site.shop.before == site.shop.rows


@pytest.mark.slow
@pytest.mark.timeout(900)  # as above
def test_new_user_fills_in_the_form_and_reads_what_the_run_shows(site: Site) -> None:
    """From the list of deployments to a verified replay of a plan that the form asked for; what each page says is read on the way."""
    run = asked_for_in_the_form(site, site.depot)
    wait_for(run, "Suspended")
    site.page.goto(f"{site.where}/v2/runs/flow-run/{run}?tab=Artifacts")
    expect(site.page.get_by_text("dblog-coverage-depot").first).to_be_visible()
    site.picture("run")
    shown = {str(artifact.key): artifact for artifact in artifacts_of(run)}
    for kind, words in READ.items():
        site.page.goto(f"{site.where}/v2/artifacts/artifact/{shown[f'dblog-{kind}-depot'].id}")
        for word in words:
            expect(site.page.get_by_text(word).first).to_be_visible()
        site.picture(kind)
    site.page.goto(f"{site.where}/v2/artifacts/artifact/{shown['dblog-radius-depot'].id}")
    image = site.page.get_by_role("img", name="rows undone over time")
    expect(image).to_be_visible()
    wide = image.evaluate("image => image.naturalWidth")
    plan_id = str(shown["dblog-radius-depot"].description).split()[2]
    answer(site, run, plan_id)
    wait_for(run, "Verified")
    link(site, run, "runs").click()
    site.page.wait_for_url(f"**/flow-run/{run}**")

    assert picture.WIDTH == wide
    assert site.depot.before == site.depot.rows


# What a person finds on the page of each artifact.
READ = {
    "radius": (f"{DAMAGED} rows in {DAMAGED} transactions", "The bad window"),
    "ledger": ("balanced",),
    "coverage": ("all that was asked for",),
    "progress": ("log files",),
    "runs": ("Runs of a plan", "this run"),
}


def asked_for_in_the_form(site: Site, shop: Shop) -> UUID:
    """Return the run that a person asks for in the form of the deployment; filled in again where a busy machine lost something of it."""
    for _ in range(TRIES_MAX):
        fill_in(site, shop)
        site.page.get_by_role("button", name="Submit").click()
        give_up = time.monotonic() + TAKEN_SECONDS_MAX
        while time.monotonic() < give_up:
            if made := runs_with(shop):
                return made[0]
            time.sleep(0.5)
    pytest.fail("the form was not taken")


def fill_in(site: Site, shop: Shop) -> None:
    """Go to the form from the list of deployments, and fill it in."""
    page, logs = site.page, f"{shop.server.binlogs()[0].with_suffix('')}.0*"
    page.goto(f"{site.where}/v2/deployments")
    page.get_by_role("link", name="on-demand").click()
    page.get_by_role("button", name="Run").first.click()
    page.get_by_role("menuitem", name="Custom run").click()
    field(page, "target").fill(site.parameters[shop.name]["target"])
    field(page, "source (Optional)").fill(shop.name)
    for label, value in (("Tables (Optional)", f"{shop.name}.orders"), ("Kinds of change (Optional)", "update")):
        page.locator(f'//label[normalize-space()="{label}"]/following::button[normalize-space()="Add item"][1]').click()
        field(page, label).fill(value)
    site.picture("form")
    field(page, "logs (Optional)").fill(logs)
    field(page, "out (Optional)").fill(str(site.home / "plans"))


def field(page: Page, label: str) -> Locator:
    """Return what is filled in below a label; of a list its first item."""
    return page.locator(f'//label[normalize-space()="{label}"]/following::textarea[1]')


def runs_with(shop: Shop) -> list[UUID]:
    """Return the runs that were asked for with this source."""
    with get_client(sync_client=True) as client:
        return [run.id for run in client.read_flow_runs() if run.parameters.get("source") == shop.name]


def link(site: Site, run: UUID, kind: str) -> Locator:
    """Open the last artifact of a kind that a run has left; return the link to the run on it."""
    found = [one for one in artifacts_of(run) if str(one.key).startswith(f"dblog-{kind}-")]
    site.page.goto(f"{site.where}/v2/artifacts/artifact/{max(found, key=lambda one: str(one.created)).id}")
    found_link = site.page.locator(f'a[href*="{run}"]').first
    expect(found_link).to_be_visible()
    site.picture(f"{kind}-last")
    return found_link


@pytest.mark.slow
@pytest.mark.timeout(900)  # as above
def test_run_cancelled_on_its_page_stops_after_its_batch(site: Site) -> None:
    """The worker ends the process; the batch in flight is committed, the report says how much is, and the rest is as it was."""
    slow = {"batch_rows": 1, "max_rate": 0.5}
    damaged = site.other.rows
    run = start(site, site.other, approve=site.other.plan.id, approver="Ann", options=slow)
    give_up = time.monotonic() + WAIT_SECONDS_MAX
    while site.other.rows == damaged:
        assert time.monotonic() < give_up, read(run).state
        time.sleep(0.2)
    site.page.goto(f"{site.where}/v2/runs/flow-run/{run}")
    site.page.get_by_role("button", name="Open menu").click()
    site.page.get_by_role("menuitem", name="Cancel").click()
    site.page.get_by_role("dialog").or_(site.page.get_by_role("alertdialog")).get_by_role("button", name="Cancel").last.click()
    wait_for(run, "Stopped", "Cancelled")
    said = str(report(run).data)
    undone = [line for line in site.other.rows.splitlines() if line in site.other.before.splitlines()]

    assert "# Stopped\n\nstopped by a person." in said
    assert damaged != site.other.rows != site.other.before
    assert f"| applies | {len(undone) - (ROWS - DAMAGED) - 1} |" in said


def report(run: UUID) -> Artifact:
    """Return the report of a run."""
    return next(artifact for artifact in artifacts_of(run) if str(artifact.key).startswith("dblog-replay-report"))


def artifacts_of(run: UUID) -> list[Artifact]:
    """Return all that a run has left to look at."""
    with get_client(sync_client=True) as client:
        return client.read_artifacts(artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run])))


def opened(site: Site, run: UUID) -> None:
    """Open the form of the run that waits, as a person does."""
    site.page.goto(f"{site.where}/v2/runs/flow-run/{run}")
    site.page.get_by_role("button", name="Open menu").click()
    site.page.get_by_role("menuitem", name="Resume").click()


def answer(site: Site, run: UUID, plan_id: str) -> None:
    """Fill the form in, by what its fields are called, and send it; once more where the server was too busy to take it."""
    asked = read(run).state_id
    for _ in range(TRIES_MAX):
        opened(site, run)
        site.page.get_by_label("Decision").click()
        site.page.get_by_role("option", name="approve").click()
        site.page.get_by_label("Plan id").fill(plan_id)
        site.page.get_by_label("Your name").fill("Ann")
        site.picture("2-filled-in")
        site.page.get_by_role("dialog").get_by_role("button", name="Resume").click()
        give_up = time.monotonic() + TAKEN_SECONDS_MAX
        while time.monotonic() < give_up:
            if read(run).state_id != asked:
                return
            time.sleep(0.5)
    pytest.fail(f"the answer was not taken, the run is {read(run).state}")
