"""The daemon evaluates `alerts__operations`: heartbeat, a failed run as a fact, and both across a restart."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sightline.alerts.operational import heartbeat_age, read
from sightline.home import Home
from tests.support.dagster_server import Server, serving

pytestmark = pytest.mark.e2e

MONITOR = """\
version: 1
model: {id: churn, task: binary_classification}
columns: {score: p, features: {age: numeric}}
reference: {kind: window, start: 2026-11-01, end: 2026-11-11}
start: 2026-11-01
"""
LAUNCH = (
    "mutation($p: ExecutionParams!) { launchRun(executionParams: $p) { __typename ... on LaunchRunSuccess "
    "{ run { runId } } } }"
)
REPOSITORY = "{ repositoriesOrError { ... on RepositoryConnection { nodes { name location { name } } } } }"


def materialize(server: Server, *path: str) -> str:
    """Ask for one asset, as the button of the UI does; returns the run."""
    [node] = server.ask(REPOSITORY)["repositoriesOrError"]["nodes"]
    selector = {
        "repositoryName": node["name"],
        "repositoryLocationName": node["location"]["name"],
        "pipelineName": "__ASSET_JOB",
        "assetSelection": [{"path": list(path)}],
    }
    found = server.ask(LAUNCH, p={"selector": selector, "mode": "default", "executionMetadata": {"tags": []}})
    return found["launchRun"]["run"]["runId"]


def test_a_failed_run_is_a_fact_and_a_restart_counts_it_once(tmp_path: Path):
    home = Home(tmp_path)
    home.monitors.mkdir()
    (home.monitors / "churn.yaml").write_text(MONITOR)
    heartbeat, paths = home.data / "alerts" / "heartbeat.json", home.monitor("churn")
    with serving(tmp_path) as server:
        server.wait("the first heartbeat", heartbeat.exists)
        failed = materialize(server, "churn", "reference")
        server.wait("the fact", lambda: read(paths))
    first = json.loads(heartbeat.read_text())
    with serving(tmp_path) as server:
        server.wait("a heartbeat after the restart", lambda: json.loads(heartbeat.read_text())["pid"] != first["pid"])
        again = materialize(server, "churn", "reference")
        server.wait("the second fact", lambda: len(read(paths)) > 1)
    facts = [seen for _, seen in read(paths)]
    assert [(seen.cause, seen.run_id) for seen in facts] == [("run:chosen assets", run) for run in (failed, again)]
    assert facts[0].words.startswith("runs of chosen assets failed at reference: the rows of the reference")
    age = heartbeat_age(home, datetime.now(UTC))
    assert age is not None and age < 120
