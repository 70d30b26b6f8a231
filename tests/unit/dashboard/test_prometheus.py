"""`/metrics` of the dashboard, and the Grafana dashboard that asks for it."""

from __future__ import annotations

import json
import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from sightline.collector.metrics import Metrics
from sightline.dashboard.server.security import Access
from tests.support.dashboard import served
from tests.support.published import make_published

GRAFANA = Path(__file__).resolve().parents[3] / "docs" / "grafana" / "sightline.json"


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_numbers_are_those_of_the_overview_with_one_series_per_monitor(tmp_path):
    world = make_published(tmp_path / "home", ("churn", "price"))
    with served(world.home) as client:
        found = samples(client.get("/metrics").text)
        rows = {row["monitor"]: row for row in client.get("/index.json").json()["monitors"]}
    one = (("monitor", "churn"),)
    assert found["sightline_monitor_open_incidents", one] == rows["churn"]["open_incidents"] == 1
    assert found["sightline_monitor_drifting_columns", one] == rows["churn"]["drifting"] == 1
    assert found["sightline_monitor_predictions", one] == rows["churn"]["rows"]
    assert found["sightline_monitor_quality", (("metric", "roc_auc"), *one)] == 0.61
    states = {
        dict(labels)["state"]: v for (name, labels), v in found.items() if name.endswith("_state") and one[0] in labels
    }
    assert states == {"ok": 0.0, "warn": 0.0, "bad": 1.0, "none": 0.0}
    assert {dict(labels)["monitor"] for _, labels in found} == {"churn", "price"}
    assert {name for _, labels in found for name, _ in labels} == {"monitor", "metric", "state"}


def test_a_token_is_needed_where_pages_need_one(tmp_path):
    world = make_published(tmp_path / "home", days=3)
    with served(world.home, Access(read_token="r" * 20)) as client:
        assert client.get("/metrics").status_code == 401
        assert client.get("/metrics", headers={"authorization": f"Bearer {'r' * 20}"}).status_code == 200


def test_every_name_that_grafana_asks_for_is_told(tmp_path):
    world = make_published(tmp_path / "home", days=5)
    collector = Metrics()
    collector.events["churn", "inferences", "accepted"] += 1
    collector.rejections["churn", "bad_type"] += 1
    with served(world.home) as client:
        told = client.get("/metrics").text + collector.render([])
    known = {name for name, _ in samples(told)}
    board = json.loads(GRAFANA.read_text(encoding="utf-8"))
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    asked += [each["query"]["query"] for each in board["templating"]["list"] if each["type"] == "query"]
    names = {name for text in asked for name in re.findall(r"sightline_[a-z0-9_]+", text)}
    assert len(asked) >= 10 and names and names <= known, names - known
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
