"""The backtest in worlds that stand still: how often it finds decay, or data worth dropping, where there is none."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from metrics_py.retraining.decay import decay
from metrics_py.retraining.paired import mean_difference
from sightline.retraining.backtest import losses_of, over
from sightline.retraining.history import History
from sightline.spec.model import MonitorSpec
from tests.support.measured import interval, record

RUNS = [10, pytest.param(60, marks=pytest.mark.full)]
START, DAYS, ROWS, INPUTS = datetime(2026, 1, 5), 84, 30, 6
SPEC = MonitorSpec.model_validate(
    {
        "model": {"id": "m", "task": "regression"},
        "columns": {"prediction": "p", "features": {f"x{k}": "numeric" for k in range(INPUTS)}},
        "labels": {"column": "y", "observed_at": "seen"},
        "reference": {"start": "2026-01-05", "end": "2026-01-12"},
        "retraining": {"estimator": "m:f", "max_fits": 36},
    }
)


class LeastSquares:
    """No randomness of its own."""

    def fit(self, x, y):
        self.weights = np.linalg.lstsq(x.to_numpy(), y, rcond=None)[0]

    def predict(self, x):
        return x.to_numpy() @ self.weights


def history(rng: np.random.Generator, turn: float) -> History:
    """Twelve weeks, whose weights turn by `turn` a day; noise comes and goes with the season."""
    n = DAYS * ROWS
    x = rng.normal(size=(n, INPUTS))
    at = [START + timedelta(minutes=1440 / ROWS * k) for k in range(n)]
    angle = turn * np.repeat(np.arange(DAYS), ROWS)
    noise = 1.5 + 0.5 * np.sin(np.arange(n) * 2 * np.pi / (28 * ROWS))
    y = np.cos(angle) * x[:, 0] + np.sin(angle) * x[:, 1] + noise * rng.normal(size=n)
    rows = pl.DataFrame(
        {
            "prediction_id": [f"{k}" for k in range(n)],
            "predicted_at": at,
            "window_key": [f"{each:%Y-%m-%d}" for each in at],
            "bucket": rng.integers(0, 64, n),
            "sample_order": rng.integers(0, 2**60, n),
            **{f"f_x{k}": x[:, k] for k in range(INPUTS)},
        }
    )
    labels = pl.DataFrame(
        {
            "prediction_id": rows["prediction_id"],
            "observed_at": [each + timedelta(hours=12) for each in at],
            "place": np.arange(n),
            "label_class": pl.Series([None] * n, dtype=pl.String),
            "label_value": y,
            "is_retracted": [False] * n,
        }
    )
    known = rows.join(labels.select("prediction_id", "label_class", "label_value"), on="prediction_id")
    return History(
        known.sort("predicted_at"), labels, rows.select("prediction_id"), None, n, START + timedelta(days=DAYS)
    )


@pytest.mark.parametrize("runs", RUNS)
def test_a_world_that_stands_still_shows_decay_by_chance_only_and_one_that_turns_shows_it(runs):
    rng = np.random.default_rng(96)
    worse = shorter = found = 0
    for _ in range(runs):
        still = over(SPEC, history(rng, 0.0), LeastSquares)
        worse += decay(still.cells).change == "worse"
        both = losses_of(still.blocks, ("usual", "half"))
        gain = mean_difference(both["loss_usual"].to_numpy(), both["loss_half"].to_numpy())
        assert gain.ci_high is not None
        shorter += gain.ci_high < 0
        found += decay(over(SPEC, history(rng, 0.04), LeastSquares).cells).change == "worse"
    measured = {
        "still: decay found": worse / runs,
        "still: half of the history called better": shorter / runs,
        "turning: decay found": found / runs,
    }
    promise = "backtests of worlds that stand still show decay, or old data worth dropping, in at most 0.05"
    record("retraining-backtest", promise, measured, runs, "When to retrain")
    assert interval(worse, runs)[0] <= 0.05, measured
    assert interval(shorter, runs)[0] <= 0.05, measured
    assert found / runs >= 0.8, measured
