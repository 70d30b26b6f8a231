"""Near real time with the real servers.

A POST to `sightline collector` becomes an alert line within seconds and a failed check in the lineage of `dagster dev`
within a minute; a second POST into the same open window adds to it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from sightline.collector.guard_log import read_alerts, read_counts
from sightline.home import Home, MonitorPaths
from sightline.lake.store.parts import scan_lake
from sightline.results.judgements import read_judgements
from sightline.spec.loader import load_monitor
from sightline.spec.model import MonitorSpec
from tests.support.collector_process import CollectorProcess, until
from tests.support.lineage import Server, check_executions, runs, serving

pytestmark = pytest.mark.e2e

ALERT_SECONDS, CHECK_SECONDS = 5, 60
MONITOR = """\
version: 1
model: {{id: m, task: binary_classification}}
columns:
  score: p
  features:
    age: {{kind: numeric, min: 0, max: 130}}
    plan: categorical
labels: {{column: churned}}
reference: {{kind: file, path: reference.parquet}}
start: {start:%Y-%m-%d}
"""
BEFORE_MIDNIGHT = timedelta(minutes=10)


@dataclass
class World:
    """Both servers over one home folder with one daily monitor whose only window is today."""

    spec: MonitorSpec
    paths: MonitorPaths
    collector: CollectorProcess
    server: Server
    window: datetime
    sent: list[dict[str, Any]] = field(default_factory=list)

    @property
    def partition(self) -> str:
        return self.spec.key(self.window)

    def events(self, name: str, n: int, n_broken: int) -> list[dict[str, Any]]:
        """New events of today, the first ones with an age outside the contract."""
        at = self.window + timedelta(minutes=1)
        return [
            {
                "id": f"{name}-{i}",
                "at": at.isoformat(),
                "score": 0.5,
                "features": {"age": 200 + i if i < n_broken else 30, "plan": "basic"},
            }
            for i in range(n)
        ]

    def post(self, events: list[dict[str, Any]]) -> dict[str, int]:
        status, answer = self.collector.post("/v1/monitors/m/inferences", events)
        assert status == 200, answer
        return {name: answer[name] for name in ("accepted", "duplicate", "rejected")}

    def failed(self, asset: str, check: str, run_ids: Callable[[], set[str]] | None = None) -> dict[str, Any] | None:
        """The newest failed execution of a check for today's partition; of other runs than the given ones."""
        others = run_ids() if run_ids else set()
        for execution in check_executions(self.server, "m", asset, check):
            evaluation = execution["evaluation"]
            if execution["partition"] == self.partition and evaluation and execution["runId"] not in others:
                assert evaluation["success"] is False, evaluation
                return execution
        return None

    def judged(self, metric: str, column: str = "") -> dict[str, Any] | None:
        """The latest judgement of today's window."""
        found = read_judgements(self.paths, metric=metric, column=column, segment="all", asset="data_quality")
        rows = found.filter(
            pl.col("model_version") == "all", pl.col("window_start") == self.window.replace(tzinfo=None)
        )
        return rows.row(0, named=True) if len(rows) else None


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    now = datetime.now(UTC)
    window = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if now >= window + timedelta(days=1) - BEFORE_MIDNIGHT:
        pytest.skip("the window of today ends during this test")
    root = tmp_path_factory.mktemp("near") / "home"
    root.mkdir()
    rng = np.random.default_rng(55)
    n = 2_000
    reference = {"age": rng.integers(18, 90, n), "plan": rng.choice(["basic", "plus"], n), "p": rng.random(n)}
    pl.DataFrame(reference | {"churned": rng.integers(0, 2, n)}).write_parquet(root / "reference.parquet")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SIGHTLINE_SENSOR_SECONDS", raising=False)  # the default interval is what is measured
        with (
            CollectorProcess(root, monitor=MONITOR.format(start=window)) as collector,
            serving(root) as server,
        ):
            home = Home(root)
            spec = load_monitor(home.monitors / "m.yaml", home=home)
            yield World(spec, home.monitor("m"), collector, server, window)


def test_a_post_becomes_a_failed_check_within_a_minute(world: World, record_property: Callable[[str, Any], None]):
    events = world.events("first", 50, 20)
    started = time.monotonic()
    assert world.post(events) == {"accepted": 50, "duplicate": 0, "rejected": 0}
    world.sent += events

    def alerts() -> pl.DataFrame:
        now = datetime.now(UTC)
        return read_alerts(world.paths, world.window, now + timedelta(days=1))

    until(lambda: len(alerts()), ALERT_SECONDS, "the alert line")
    alert_seconds = time.monotonic() - started
    assert alerts().select("column", "rule", "state", "n", "n_events", "example").rows() == [
        ("age", "out_of_contract", "open", 20, 50, "200")
    ]

    guarded = world.server.wait("row_guards", lambda: world.failed("inferences", "row_guards"), CHECK_SECONDS)
    guard_seconds = time.monotonic() - started
    judged = world.server.wait("contract__age", lambda: world.failed("data_quality", "contract__age"), CHECK_SECONDS)
    judged_seconds = time.monotonic() - started
    for name, seconds in (
        ("alert line", alert_seconds),
        ("row_guards", guard_seconds),
        ("contract__age", judged_seconds),
    ):
        record_property(name, round(seconds, 1))
        print(f"POST to {name}: {seconds:.1f} s")
    assert alert_seconds < ALERT_SECONDS
    assert guard_seconds < CHECK_SECONDS
    assert judged_seconds < CHECK_SECONDS

    evaluation = guarded["evaluation"]
    assert evaluation["severity"] == "ERROR"
    facts = {entry["label"]: entry.get("intValue", entry.get("mdStr")) for entry in evaluation["metadataEntries"]}
    assert (facts["value"], facts["n"]) == (20, 50)
    assert "| age | out_of_contract | hard | 20 |" in facts["violations"]
    assert {"window", "what to do"} <= facts.keys()
    assert judged["runId"] == guarded["runId"]
    assert world.judged("n_rows")["value"] == 50
    assert world.judged("contract_rate", "age")["value"] == pytest.approx(20 / 50)


def test_a_second_post_into_the_same_window_adds_to_it(world: World):
    assert world.sent, "the first test has to run before this one"
    finished = [run for run in runs(world.server, "m", "immediate", world.partition) if run["status"] == "SUCCESS"]
    assert finished or world.server.wait("the end of the first run", lambda: _ended(world, 1))
    known = {run["runId"] for run in runs(world.server, "m", "immediate", world.partition)}
    more = world.events("second", 30, 4)
    assert world.post([*more, *world.sent[:10]]) == {"accepted": 30, "duplicate": 10, "rejected": 0}
    assert world.post(more) == {"accepted": 0, "duplicate": 30, "rejected": 0}  # an answer was lost: sent again
    world.sent += more

    world.server.wait("the second run", lambda: world.failed("data_quality", "contract__age", lambda: known))
    world.server.wait("its row_guards", lambda: world.failed("inferences", "row_guards", lambda: known))
    world.server.wait("its end", lambda: _ended(world, 2))

    rows = world.judged("n_rows")
    assert rows["value"] == 80 and rows["revision"] >= 1, "the judgement of the first run is revised, not replaced"
    assert world.judged("contract_rate", "age")["value"] == pytest.approx(24 / 80)
    ids = scan_lake(world.spec, world.paths, "inferences").collect()["prediction_id"].to_list()
    assert sorted(ids) == sorted(event["id"] for event in world.sent), "no row is lost, and none is there twice"
    assert world.collector.stop() == 0
    counts = read_counts(world.paths, world.window, world.window + world.spec.window)
    assert counts.filter(pl.col("rule") == "out_of_contract")["n"].sum() == 24
    assert counts.filter(pl.col("rule") == "duplicate")["n"].sum() == 40


def _ended(world: World, n: int) -> bool:
    found = [run["status"] for run in runs(world.server, "m", "immediate", world.partition)]
    assert "FAILURE" not in found
    return found.count("SUCCESS") >= n
