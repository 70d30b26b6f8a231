"""A history worked up day by day, as its rows and labels came, has the judgements of one that was worked up at once."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from orchestration.backfill_command import backfill
from sightline.home import Home
from sightline.results.judgements import JUDGEMENT_KEY, read_judgements
from sightline.results.withdrawn import is_withdrawn
from sightline.spec.loader import load_monitor
from sightline.spec.model import MonitorSpec
from tests.support.workshop import land, write

pytestmark = pytest.mark.long

DAYS, LOADED, PER_DAY, DAY = 9, 6, 300, timedelta(days=1)
"""Days, and those of them whose rows and labels are there when monitoring begins, among them all of the reference."""

FIRST = datetime(2026, 1, 5, tzinfo=UTC)
OF_ARRIVAL = ("label_arrivals",)
"""It compares the labels of a window with what was usual when it was judged."""

YAML = f"""\
version: 1
model: {{id: small, task: binary_classification}}
columns:
  {{prediction_id: id, timestamp: at, score: p, model_version: version, features: {{x: numeric, plan: categorical}},
    segments: [plan]}}
labels: {{column: y, observed_at: known, expected_delay: 1d, give_up_after: 3d}}
quality: {{min_labels: 30, windows: [1d, 3d]}}
reference: {{kind: window, start: {FIRST:%Y-%m-%d}, end: {FIRST + 3 * DAY:%Y-%m-%d}}}
"""


def rows() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Predictions, and their labels up to two days later: those of a high score first, one in ten never."""
    rng = np.random.default_rng(616)
    n = DAYS * PER_DAY
    score, seconds = rng.random(n), np.sort(rng.random(n)) * DAYS * 86_400
    at = [FIRST.replace(tzinfo=None) + timedelta(seconds=int(second)) for second in seconds]
    made = pl.DataFrame(
        {
            "id": [f"i{k}" for k in range(n)],
            "at": at,
            "p": score,
            "x": rng.normal(size=n),
            "version": np.where(rng.random(n) < 0.6, "v1", "v2"),
            "plan": rng.choice(["a", "b", "c"], n),
        }
    )
    hours = 1 + rng.random(n) * (1.2 - score) * 36
    known = [moment + timedelta(hours=float(h)) for moment, h in zip(at, hours, strict=True)]
    labels = pl.DataFrame({"id": made["id"], "y": (rng.random(n) < score).astype(int), "known": known})
    return made, labels.filter(pl.Series(rng.random(n) < 0.9))


def home_of(root, patch: pytest.MonkeyPatch) -> tuple[Home, MonitorSpec]:
    home = Home(root)
    home.monitors.mkdir(parents=True)
    patch.setenv("SIGHTLINE_HOME", os.fspath(home.root))
    patch.setenv("DAGSTER_HOME", os.fspath(home.dagster))
    return home, load_monitor(write(home, "small", YAML), home=home)


def told(home: Home) -> pl.DataFrame:
    found = read_judgements(home.monitor("small")).filter(~is_withdrawn())
    return found.filter(~pl.col("metric").is_in(OF_ARRIVAL)).sort(JUDGEMENT_KEY)


def test_daily_runs_and_one_backfill_tell_the_same(tmp_path, monkeypatch):
    made, labels = rows()
    once, spec = home_of(tmp_path / "once", monkeypatch)
    land(once, "small", "inferences", "all", made)
    land(once, "small", "labels", "all", labels)
    backfill(once, spec)

    daily, spec = home_of(tmp_path / "daily", monkeypatch)
    for day in range(LOADED - 1, DAYS + 2):
        end = (FIRST + (day + 1) * DAY).replace(tzinfo=None)
        start = end - (DAY if day >= LOADED else LOADED * DAY)
        new = made.filter(pl.col("at").is_between(start, end, closed="left"))
        due = labels.filter(pl.col("known").is_between(start, end, closed="left"))
        for kind, frame in (("inferences", new), ("labels", due)):
            if not frame.is_empty():
                land(daily, "small", kind, f"day-{day:02}", frame)
        backfill(daily, spec)

    expected, found = told(once), told(daily)
    assert expected["window_start"].n_unique() >= DAYS
    assert set(expected["metric"]) >= {"psi", "roc_auc", "accuracy", "n_rows", "estimated_roc_auc"}
    columns = [*JUDGEMENT_KEY, "value", "ci_low", "ci_high", "n", "status", "reason"]
    assert_frame_equal(found.select(columns), expected.select(columns), rel_tol=1e-6, abs_tol=1e-9)
