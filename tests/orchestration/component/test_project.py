"""The example of `docs/components.md` as it stands there: from the shell, beside a dbt project, under the real UI."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from tests.support.collector_process import free_port
from tests.support.dagster_server import Server
from tests.support.dg_project import PAGE, PROGRAMS, call, variables, write_project

pytestmark = pytest.mark.e2e

DBT_FILES = {
    "dbt/dbt_project.yml": "name: shop\nversion: '1.0'\nprofile: shop\nmodel-paths: [models]\n",
    "dbt/profiles.yml": "shop: {target: dev, outputs: {dev: {type: duckdb, path: shop.duckdb}}}\n",
    "dbt/models/regions.sql": "select 1 as region\n",
    "shop/defs/regions.py": """\
from pathlib import Path

import dagster as dg
from dagster_dbt import DbtCliResource, dbt_assets

FOLDER = Path(__file__).parents[2] / "dbt"


@dbt_assets(manifest=FOLDER / "target" / "manifest.json")
def regions(context: dg.AssetExecutionContext, dbt: DbtCliResource):
    yield from dbt.cli(["build"], context=context).stream()


defs = dg.Definitions(assets=[regions], resources={"dbt": DbtCliResource(project_dir=str(FOLDER))})
""",
}
"""The user's own dbt project, whose resource is called `dbt`."""
CHECKS = """query($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode { groupName
  assetMaterializations(limit: 1) { partition }
  assetChecksOrError { ... on AssetChecks { checks { name executionForLatestMaterialization { status } } } } } } }"""
RUNS = "{ runsOrError(limit: 50) { ... on Runs { results { status jobName } } } }"


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """The page's project, with a dbt project beside, after the page's commands."""
    folder = write_project(tmp_path_factory.mktemp("shop"))
    for name, text in DBT_FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    parsed = call(folder, "dbt", "parse", "--project-dir", "dbt", "--profiles-dir", "dbt")
    assert parsed.returncode == 0, parsed.stdout
    [block] = re.findall(r"```bash\n(export DAGSTER_HOME.*?)```", PAGE.read_text(), re.DOTALL)
    lines = "\n".join(line for line in block.splitlines() if not line.startswith("dg dev"))
    done = subprocess.run(
        ["bash", "-ec", lines],
        cwd=folder,
        env=variables(folder),
        capture_output=True,
        text=True,
        check=False,
        timeout=1800,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


@pytest.fixture
def server(project: Path) -> Iterator[Server]:
    """`dagster dev` on the project: web server, daemon and code server of a user's own."""
    port, log = free_port(), project / "dev.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [str(PROGRAMS / "dagster"), "dev", "-m", "shop.definitions", "-p", str(port)],
            cwd=project,
            env=variables(project, SIGHTLINE_SENSOR_SECONDS="2"),
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Server(port, log)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def test_the_command_line_knows_the_linked_monitor(project):
    [block] = re.findall(r"```bash\n(mkdir -p sightline_home/monitors.*?)```", PAGE.read_text(), re.DOTALL)
    lines = block.replace("sightline checks", f"{sys.executable} -m sightline.cli checks")
    done = subprocess.run(
        ["bash", "-ec", lines], cwd=project, env=variables(project), capture_output=True, text=True, check=False
    )
    assert "verdicts:" in done.stdout, done.stderr


def test_the_user_s_dbt_project_runs_beside(project):
    done = call(project, "dagster", "asset", "materialize", "-m", "shop.definitions", "--select", "key:regions")
    assert done.returncode == 0, done.stderr[-3000:]


def test_assets_picked_by_hand_run_with_the_user_s_executor(project):
    selected = "key:churn/data_quality or key:churn/drift"
    command = ("asset", "materialize", "-m", "shop.definitions", "--select", selected, "--partition", "2025-11-10")
    done = call(project, "dagster", *command)
    assert done.returncode == 0, done.stderr[-3000:]


def test_the_ui_shows_the_checks_and_the_sensors_work_up_what_lands(project, server):
    def reached() -> bool:
        try:
            return bool(server.ask(RUNS))
        except OSError:
            return False

    server.wait("the web server", reached, 300)
    ask = {"path": ["churn", "data_quality"]}
    node = server.wait("the code location", lambda: server.ask(CHECKS, key=ask)["assetNodeOrError"], 300)
    assert node["groupName"] == "churn"
    assert node["assetMaterializations"]
    states = {
        check["name"]: (check["executionForLatestMaterialization"] or {}).get("status")
        for check in node["assetChecksOrError"]["checks"]
    }
    assert states["row_volume"] == "SUCCEEDED"

    landing = project / "sightline_home/data/churn/landing/inferences"
    rows = pl.read_parquet(landing / "scores.parquet").tail(100)
    later = rows.with_columns(pl.col("at").dt.offset_by("1d"), pl.format("later-{}", "id").alias("id"))
    later.write_parquet(landing / ".later.parquet")
    (landing / ".later.parquet").rename(landing / "later.parquet")
    lake = project / "sightline_home/data/churn/lake/inferences/window=2025-11-11"
    server.wait("the rows in the lake", lambda: list(lake.glob("*.parquet")), 300)

    def succeeded() -> bool:
        runs = server.ask(RUNS)["runsOrError"]["results"]
        return any(run["status"] == "SUCCESS" and run["jobName"] == "churn__immediate" for run in runs)

    server.wait("the sensor's run", succeeded, 300)
