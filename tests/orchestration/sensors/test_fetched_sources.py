"""Sensors and backfills of a monitor whose rows lie in a table, and whose labels lie in a database that is down."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
import pytest
from deltalake import write_deltalake

from orchestration.backfill import dagster_instance
from orchestration.backfill_command import backfill
from orchestration.definitions import build
from sightline.home import Home
from sightline.judging.intake_contract import intake_verdicts
from sightline.judging.verdicts import Verdict
from sightline.results.judgements import read_judgements
from sightline.spec import plan
from sightline.spec.loader import load_monitor
from sightline.spec.windows import keys_between
from tests.support.sources import counts
from tests.support.workshop import write

FIRST = datetime(2026, 1, 5, tzinfo=UTC)
PER_DAY = 120
YAML = """\
version: 1
model: {id: small, task: binary_classification}
columns: {prediction_id: id, timestamp: at, score: p, features: {x: numeric}}
labels: {column: y, expected_delay: 1d, give_up_after: 3d}
reference: {kind: window, start: 2026-01-05, end: 2026-01-07}
sources:
  inferences: {delta: {uri: table}}
  labels: {postgres: {host: 127.0.0.1, port: 1, database: d, user: u, table: t, cursor: at}}
"""
DOWN = "sources.labels.postgres (postgres://127.0.0.1:1/d/t): cannot connect"


def rows(day: int) -> pl.DataFrame:
    rng = np.random.default_rng(day)
    at = [FIRST.replace(tzinfo=None) + timedelta(days=day, minutes=10 * i) for i in range(PER_DAY)]
    ids = [f"{day}-{i}" for i in range(PER_DAY)]
    return pl.DataFrame({"id": ids, "at": at, "p": rng.random(PER_DAY), "x": rng.normal(size=PER_DAY)})


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """Three days in the table."""
    found = Home(tmp_path)
    found.monitors.mkdir()
    write(found, "small", YAML)
    for day in range(3):
        write_deltalake(tmp_path / "table", rows(day), mode="append")
    monkeypatch.setenv("SIGHTLINE_HOME", str(tmp_path))
    return found


def contract(home: Home, check: plan.PlannedCheck, keys: list[str]) -> list[tuple[plan.PlannedCheck, str, Verdict]]:
    spec = load_monitor(home.monitors / "small.yaml", home=home)
    return list(intake_verdicts(spec, home.monitor("small"), "labels", [check], keys))


def tick(home: Home, instance: dg.DagsterInstance, name: str, cursor: str | None = None) -> dg.SensorResult:
    repository = build(home).get_repository_def()
    context = dg.build_sensor_context(instance=instance, cursor=cursor, repository_def=repository, sensor_name=name)
    return repository.get_sensor_def(name)(context)


def test_a_sensor_asks_for_runs_of_what_it_fetched_and_tells_what_it_could_not(home: Home) -> None:
    with dagster_instance(home) as instance:
        first = tick(home, instance, "small__inferences")
        assert [request.job_name for request in first.run_requests or []] == ["small__backfill"]
        again = tick(home, instance, "small__inferences", first.cursor)
        assert [r.run_key for r in again.run_requests or []] == [r.run_key for r in first.run_requests or []]
        labels = tick(home, instance, "small__labels")
        assert not labels.run_requests
        assert labels.skip_reason is not None
        assert DOWN in str(labels.skip_reason)
        assert "see whether the server is up" in str(labels.skip_reason)


def test_a_backfill_fetches_all_and_goes_on_without_what_is_down(home: Home, capfd: pytest.CaptureFixture[str]) -> None:
    spec = load_monitor(home.monitors / "small.yaml", home=home)
    backfill(home, spec)
    assert DOWN in capfd.readouterr().out
    judged = read_judgements(home.monitor("small"), metric="n_rows", segment="all")
    totals = judged.filter(pl.col("model_version") == "all").sort("window_start")
    assert totals["value"].to_list()[:3] == [PER_DAY] * 3
    closed = keys_between(spec, "2026-01-05", "2026-01-07")
    today = spec.key(datetime.now(UTC))
    [check] = [check for check in plan.checks(spec) if check.asset == "labels" and check.name == "contract"]
    told = {key: verdict for _, key, verdict in contract(home, check, [*closed, today])}
    assert [told[key].level for key in closed] == ["ok"] * 3, "these ended before it went down"
    assert told[today].level == "warn"
    assert "Rows may be missing: its source could not be read since" in told[today].text
    write_deltalake(home.root / "table", rows(3), mode="append")
    backfill(home, spec)
    assert counts(spec, home)["rows"] == 4 * PER_DAY
