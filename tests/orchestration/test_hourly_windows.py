"""Hours worked up as they came have the judgements of one backfill, sliding windows and stretches among them."""

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

HOUR, HOURS, PER_HOUR = timedelta(hours=1), 54, 40
FIRST = datetime(2026, 1, 5, tzinfo=UTC)
PORTIONS = (30, 41, HOURS)
OF_ARRIVAL = ("label_arrivals",)
"""It compares the labels of a window with what was usual when it was judged."""
YAML = f"""\
version: 1
model: {{id: small, task: binary_classification}}
schedule: hourly
columns: {{prediction_id: id, timestamp: at, score: p, features: {{x: numeric}}}}
labels: {{column: y, observed_at: known, expected_delay: 1h, give_up_after: 4h}}
quality: {{min_labels: 60, windows: [1h, 6h]}}
reference: {{kind: window, start: "{FIRST:%Y-%m-%dT%H:%M:%SZ}", end: "{FIRST + 24 * HOUR:%Y-%m-%dT%H:%M:%SZ}"}}
"""


def rows() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Forty predictions an hour, too few to judge one; their labels up to three hours later."""
    rng = np.random.default_rng(919)
    n = HOURS * PER_HOUR
    score, seconds = rng.random(n), np.sort(rng.random(n)) * HOURS * 3600
    at = [FIRST.replace(tzinfo=None) + timedelta(seconds=int(second)) for second in seconds]
    made = pl.DataFrame({"id": [f"i{k}" for k in range(n)], "at": at, "p": score, "x": rng.normal(size=n)})
    known = [moment + 3 * float(d) * HOUR for moment, d in zip(at, rng.random(n), strict=True)]
    return made, pl.DataFrame({"id": made["id"], "y": (rng.random(n) < score).astype(int), "known": known})


def home_of(root, patch: pytest.MonkeyPatch) -> tuple[Home, MonitorSpec]:
    home = Home(root)
    home.monitors.mkdir(parents=True)
    patch.setenv("SIGHTLINE_HOME", os.fspath(home.root))
    patch.setenv("DAGSTER_HOME", os.fspath(home.dagster))
    return home, load_monitor(write(home, "small", YAML), home=home)


def told(home: Home) -> pl.DataFrame:
    found = read_judgements(home.monitor("small")).filter(~is_withdrawn())
    return found.filter(~pl.col("metric").is_in(OF_ARRIVAL)).sort(JUDGEMENT_KEY)


def test_hours_as_they_came_and_one_backfill_tell_the_same(tmp_path, monkeypatch):
    made, labels = rows()
    once, spec = home_of(tmp_path / "once", monkeypatch)
    land(once, "small", "inferences", "all", made)
    land(once, "small", "labels", "all", labels)
    backfill(once, spec)

    parts, spec = home_of(tmp_path / "parts", monkeypatch)
    since = FIRST.replace(tzinfo=None)
    for number, hours in enumerate((*PORTIONS, HOURS + 3)):
        until = FIRST.replace(tzinfo=None) + hours * HOUR
        for kind, frame, moment in (("inferences", made, "at"), ("labels", labels, "known")):
            new = frame.filter(pl.col(moment).is_between(since, until, closed="left"))
            if not new.is_empty():
                land(parts, "small", kind, f"part-{number}", new)
        since = until
        backfill(parts, spec)

    expected, found = told(once), told(parts)
    ends = expected.filter(metric="accuracy@6h", status="ok")
    assert len(ends) >= HOURS - 8, "hours are too small, six of them are not"
    assert set(expected.filter(metric="accuracy")["status"]) == {"insufficient_data"}
    stretch = expected.filter(pl.col("reason").str.contains("over 24 hours"), metric="psi")
    assert stretch["window_start"].n_unique() >= 2
    columns = [*JUDGEMENT_KEY, "value", "ci_low", "ci_high", "n", "status", "reason"]
    assert_frame_equal(found.select(columns), expected.select(columns), rel_tol=1e-6, abs_tol=1e-9)
