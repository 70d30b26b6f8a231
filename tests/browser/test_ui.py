"""A person in the real UI: materializes an asset of one window, and finds the failed check in the lineage.

Screenshots go to tests/.artifacts; with SIGHTLINE_UPDATE_PICTURES=1 the README's pictures in docs/images are made anew.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.dagster_server import ROOT, Server, serving
from tests.support.workshop import DAYS, Workshop, make_workshop

pytestmark = pytest.mark.browser
sync_api = pytest.importorskip("playwright.sync_api")

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
OFFLINE = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
ARTIFACTS, IMAGES = ROOT / "tests" / ".artifacts", ROOT / "docs" / "images"
PATIENCE_MS = 120_000
HISTORY = """
import sys
from pathlib import Path
from orchestration.backfill import materialize_range
from sightline.home import Home
from sightline.spec.loader import find_monitor
home = Home(Path(sys.argv[1]))
materialize_range(home, find_monitor(home, sys.argv[2]), sys.argv[3], sys.argv[4])
"""
RUNS = """{ runsOrError(limit: 20) {
  ... on Runs { results { runId status assetSelection { path } tags { key value } } } } }"""


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """The churn monitor up to yesterday, whose last days moved."""
    made = make_workshop(tmp_path_factory.mktemp("browser") / "home", ended_days_ago=0)
    (made.home.monitors / "price.yaml").unlink()
    arguments = [str(made.home.root), "churn", made.day(0), made.day(DAYS - 1)]
    environment = {**os.environ, "SIGHTLINE_HOME": str(made.home.root), "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", HISTORY, *arguments], check=True, env=environment, cwd=made.home.root)
    return made


@pytest.fixture(scope="module")
def server(workshop: Workshop):
    with serving(workshop.home.root, SIGHTLINE_SENSOR_SECONDS="3600") as running:
        yield running


@pytest.fixture
def page():
    if not Path(CHROMIUM).exists():
        pytest.fail(f"no Chromium at {CHROMIUM}: install it (apt-get install chromium) or name it with CHROMIUM=")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OFFLINE)
        opened = browser.new_page(viewport={"width": 1500, "height": 900})
        opened.set_default_timeout(PATIENCE_MS)
        yield opened
        browser.close()


def picture(page, name: str) -> None:
    """Keep a screenshot."""
    folders = [ARTIFACTS, *([IMAGES] if os.environ.get("SIGHTLINE_UPDATE_PICTURES") else [])]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=folder / f"{name}.png")


def finished_runs(server: Server, partition: str) -> list[dict]:
    """Runs of `drift` for one partition that the UI started and that have ended."""
    found = []
    for run in server.ask(RUNS)["runsOrError"]["results"]:
        tags = {tag["key"]: tag["value"] for tag in run["tags"]}
        is_drift = [key["path"] for key in run["assetSelection"] or []] == [["churn", "drift"]]
        if is_drift and tags.get("dagster/partition") == partition and run["status"] in ("SUCCESS", "FAILURE"):
            found.append(run)
    return found


def test_materialize_from_the_ui_and_find_the_failed_check_in_the_lineage(workshop: Workshop, server: Server, page):
    partition = workshop.day(DAYS - 1)
    page.goto(f"{server.url}/assets/churn/drift")
    page.locator("button", has_text="Materialize").first.click()
    dialog = page.locator(".bp5-dialog, .bp4-dialog, [role=dialog]").last
    keys = dialog.locator("input[type=text], input:not([type])").first
    keys.fill(partition)
    keys.press("Enter")
    dialog.locator("button", has_text="Launch").click()
    [run] = server.wait("the run started in the UI", lambda: finished_runs(server, partition), 240)
    assert run["status"] == "SUCCESS"

    page.goto(f"{server.url}/assets/churn/drift?view=lineage")
    node = page.locator("text=drift").first
    node.wait_for()
    failed = page.get_by_text(re.compile(r"\d+ ?/ ?\d+ Passed")).first
    failed.wait_for()
    page.get_by_text(re.compile(r"[0-3] ?/ ?4 Passed")).wait_for()
    picture(page, "lineage")

    page.goto(f"{server.url}/assets/churn/drift?view=checks&checkDetail=drift__age")
    page.get_by_text(re.compile("In incident .* since")).first.wait_for()
    page.get_by_text("Failed").first.wait_for()
    picture(page, "failed_check")
