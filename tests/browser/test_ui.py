"""A person in the real UI: sees what is wrong, materializes an asset of one window, and reads the failed check.

Screenshots go to tests/.artifacts; with SIGHTLINE_UPDATE_PICTURES=1 the README's pictures in docs/images are made anew
(the first one by tests/demo/test_demo_end_to_end.py).
"""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from sightline.commands.ui import lineage_url
from tests.support.browser import lineage_colours, open_page, picture, red_assets
from tests.support.dagster_server import ROOT, Server, serving
from tests.support.workshop import DAYS, Workshop, make_workshop

pytestmark = pytest.mark.browser

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
    with open_page() as opened:
        yield opened


def finished_runs(server: Server, partition: str) -> list[dict]:
    """Runs of `drift` for one partition that the UI started and that have ended."""
    found = []
    for run in server.ask(RUNS)["runsOrError"]["results"]:
        tags = {tag["key"]: tag["value"] for tag in run["tags"]}
        is_drift = [key["path"] for key in run["assetSelection"] or []] == [["churn", "drift"]]
        if is_drift and tags.get("dagster/partition") == partition and run["status"] in ("SUCCESS", "FAILURE"):
            found.append(run)
    return found


def test_the_lineage_shows_where_something_is_wrong(workshop: Workshop, server: Server, page):
    """Input drift at the end of the history: red where it is, and nothing grey although today's window is empty."""
    colours = lineage_colours(page, server, lineage_url("", ["churn"]))
    red = red_assets(workshop.churn, workshop.home)
    assert {"drift", "alerts"} <= red and not {"inferences", "labels"} & red
    judged = ("data_quality", "drift", "estimated_quality", "model_quality")
    assets = ("inferences", "labels", "reference", *judged, "alerts", "evaluation")
    assert colours == {name: "red" if name in red else "green" for name in assets}
    page.get_by_text("dbt_models").first.wait_for()


def test_folded_a_monitor_is_one_box_with_the_number_of_red_assets(workshop: Workshop, server: Server, page):
    page.goto(f"{server.url}/asset-groups")
    box = page.locator("[class*=collapsedGroupNodeBox]")
    n_red = len(red_assets(workshop.churn, workshop.home))
    box.get_by_text(str(n_red), exact=True).wait_for()
    assert box.count() == 1 and "churn" in box.inner_text()


def test_materialize_from_the_ui_and_read_the_failed_check(workshop: Workshop, server: Server, page):
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

    page.goto(f"{server.url}/assets/churn/drift?view=checks&checkDetail=drift__age")
    page.get_by_text(re.compile("In incident .* since")).first.wait_for()
    page.get_by_text("Failed").first.wait_for()
    picture(page, "failed_check")
