"""Windows that were judged before the reference had labels are judged again, once, when it has them."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from orchestration.backfill_command import backfill
from sightline.home import Home
from sightline.results.judgements import read_judgements
from sightline.spec.loader import load_monitor
from tests.support.workshop import land, write

DAYS, OF_REFERENCE, PER_DAY, DAY = 6, 3, 200, timedelta(days=1)
FIRST = datetime(2026, 1, 5, tzinfo=UTC)
YAML = f"""\
version: 1
model: {{id: small, task: binary_classification}}
columns: {{prediction_id: id, timestamp: at, score: p, features: {{x: numeric}}}}
labels: {{column: y, observed_at: known, expected_delay: 1d, give_up_after: 3d}}
reference: {{kind: window, start: {FIRST:%Y-%m-%d}, end: {FIRST + OF_REFERENCE * DAY:%Y-%m-%d}}}
"""


def rows() -> tuple[pl.DataFrame, pl.DataFrame]:
    rng = np.random.default_rng(717)
    n = DAYS * PER_DAY
    score = rng.random(n)
    at = [FIRST.replace(tzinfo=None) + k // PER_DAY * DAY + timedelta(seconds=400 * (k % PER_DAY)) for k in range(n)]
    made = pl.DataFrame({"id": [f"i{k}" for k in range(n)], "at": at, "p": score, "x": rng.normal(size=n)})
    known = [moment + timedelta(hours=float(h)) for moment, h in zip(at, rng.uniform(1, 12, n), strict=True)]
    labels = pl.DataFrame({"id": made["id"], "y": (rng.random(n) < score).astype(int), "known": known})
    return made, labels


def test_windows_without_an_estimate_get_one_when_the_reference_gets_its_labels(tmp_path, monkeypatch):
    home = Home(tmp_path / "home")
    home.monitors.mkdir(parents=True)
    monkeypatch.setenv("SIGHTLINE_HOME", os.fspath(home.root))
    monkeypatch.setenv("DAGSTER_HOME", os.fspath(home.dagster))
    spec = load_monitor(write(home, "small", YAML), home=home)
    made, labels = rows()
    days = [spec.key(FIRST + k * DAY) for k in range(DAYS)]

    def estimates() -> pl.DataFrame:
        found = read_judgements(home.monitor("small"), "estimated_roc_auc", segment="all").sort("window_start")
        return found.filter(model_version="all")

    land(home, "small", "inferences", "all", made)
    backfill(home, spec)
    before = estimates()
    assert len(before) == DAYS and set(before["reason_code"]) == {"no_labels"}

    land(home, "small", "labels", "reference", labels.head(OF_REFERENCE * PER_DAY))
    outcome = backfill(home, spec)
    found = estimates()
    assert set(found["status"]) == {"ok"} and found["value"].is_between(0.7, 0.95).all()
    assert set(days) <= outcome.windows
    assert not backfill(home, spec).windows, "once"

    later = labels.slice((OF_REFERENCE - 1) * PER_DAY, 5).with_columns(y=1 - pl.col("y"), known=pl.col("known") + DAY)
    land(home, "small", "labels", "corrected", later)
    assert backfill(home, spec).windows == {days[OF_REFERENCE - 1]}, "who has an estimate keeps it"
