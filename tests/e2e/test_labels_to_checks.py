"""The whole way in the real `dagster dev`, from a label file to checks.

A label file lands, the sensor ticks, one run works up its window alone, quality changes, the check fails on the right
asset and partition, and the labels are fresh again.
"""

from __future__ import annotations

import os
import subprocess
import sys

import polars as pl
import pytest

from sightline.results.judgements import read_judgements
from tests.support.dagster_server import ROOT, Server, serving
from tests.support.lineage import asset_key, check_executions, runs
from tests.support.workshop import DAYS, Workshop, churn_rows, land, make_workshop

pytestmark = pytest.mark.e2e

TICKS = """query { sensorOrError(sensorSelector: {
  repositoryLocationName: "sightline", repositoryName: "__repository__", sensorName: "churn__labels"}) {
    ... on Sensor { sensorState { status ticks(limit: 500, statuses: [SUCCESS]) { runIds runKeys } } } } }"""
FRESHNESS = """query($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) {
  ... on AssetNode { freshnessStatusInfo { freshnessStatus } } } }"""
HISTORY = """
import sys
from pathlib import Path
from orchestration.backfill import materialize_range
from sightline.home import Home
from sightline.spec.loader import find_monitor
home = Home(Path(sys.argv[1]))
materialize_range(home, find_monitor(home, sys.argv[2]), sys.argv[3], sys.argv[4])
"""


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """The churn monitor with its history, made through the product; labels must come every minute and a half."""
    made = make_workshop(tmp_path_factory.mktemp("e2e") / "home")
    (made.home.monitors / "price.yaml").unlink()
    file = made.home.monitors / "churn.yaml"
    file.write_text(file.read_text() + "freshness: {labels: 90s}\n")
    arguments = [str(made.home.root), "churn", made.day(0), made.day(DAYS - 1)]
    environment = {**os.environ, "SIGHTLINE_HOME": str(made.home.root), "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", HISTORY, *arguments], check=True, env=environment, cwd=made.home.root)
    return made


@pytest.fixture(scope="module")
def server(workshop: Workshop):
    with serving(workshop.home.root, SIGHTLINE_SENSOR_SECONDS="5", FRESHNESS_DAEMON_INTERVAL_SECONDS="5") as running:
        yield running


def freshness(server: Server, name: str) -> str:
    found = server.ask(FRESHNESS, key=asset_key("churn", name))["assetNodeOrError"]["freshnessStatusInfo"]
    return found["freshnessStatus"] if found else ""


def label_runs(server: Server, partition: str) -> list[dict]:
    return runs(server, "churn", "delayed", partition)


def roc_auc(workshop: Workshop) -> pl.DataFrame:
    found = read_judgements(workshop.home.monitor("churn"), metric="roc_auc", segment="all")
    return found.filter(pl.col("model_version") == "all").select("window_start", "value", "revision")


def test_a_label_file_becomes_a_failed_check(workshop: Workshop, server: Server):
    spec, partition = workshop.churn, workshop.day(DAYS - 2)
    start = spec.window_start(partition).replace(tzinfo=None)
    before = roc_auc(workshop)
    assert before.filter(pl.col("window_start") == start)["value"].to_list() == [None]
    stale = server.wait(
        "stale labels", lambda: (found := freshness(server, "labels")) in ("DEGRADED", "WARNING") and found, 240
    )
    assert stale

    labels = churn_rows(spec.first_window)[1].filter(pl.col("day") == DAYS - 2).drop("day")
    land(workshop.home, "churn", "labels", "wrong", labels.with_columns(churned=1 - pl.col("churned")))

    [run] = server.wait("the run of the sensor", lambda: label_runs(server, partition))
    done = server.wait(
        "its end", lambda: [r for r in label_runs(server, partition) if r["status"] in ("SUCCESS", "FAILURE")], 240
    )
    assert [r["status"] for r in done] == ["SUCCESS"]
    assert {t["key"]: t["value"] for t in run["tags"]}["dagster/partition"] == partition
    ticks = server.ask(TICKS)["sensorOrError"]["sensorState"]
    assert ticks["status"] == "RUNNING"
    assert [run["runId"]] in [tick["runIds"] for tick in ticks["ticks"]]

    after = roc_auc(workshop)
    assert after.filter(pl.col("window_start") == start)["value"].item() < 0.4
    assert after.filter(pl.col("window_start") != start).equals(before.filter(pl.col("window_start") != start))

    executions = check_executions(server, "churn", "model_quality", "quality__roc_auc")
    latest = next(e for e in executions if e["partition"] == partition)
    assert latest["runId"] == run["runId"]
    assert latest["status"] == "EXECUTION_FAILED" or latest["status"] == "FAILED"
    assert latest["evaluation"]["success"] is False
    assert {"value", "interval", "n", "reference", "bound"} <= {
        e["label"] for e in latest["evaluation"]["metadataEntries"]
    }
    assert [e["partition"] for e in executions if e["runId"] == run["runId"]] == [partition], (
        "no other partition was judged"
    )

    assert server.wait("fresh labels", lambda: freshness(server, "labels") == "HEALTHY", 60)
    assert len(label_runs(server, partition)) == 1, "no run twice for the same data"
