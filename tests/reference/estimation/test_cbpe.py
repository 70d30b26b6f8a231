"""Estimated quality beside scikit-learn: isotonic calibration, and the metrics over many draws of the outcomes."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from sklearn import metrics as sk
from sklearn.isotonic import IsotonicRegression

from metrics_py.estimation.calibration import MOST_GROUPS, calibrate
from metrics_py.estimation.cbpe import ASSUMED, ESTIMATED, estimate
from tests.support.scores import draw, label_bins, score_bins

SETTINGS = {"positive": "1", "min_rows": 100, "by": ["window"]}


@pytest.fixture(scope="module")
def calibration():
    return calibrate(label_bins(*draw(np.random.default_rng(61), 400_000)))


def test_the_calibration_is_the_isotonic_regression_of_groups_of_equal_numbers():
    scores, outcomes = draw(np.random.default_rng(62), 20_000)
    found = calibrate(label_bins(scores, outcomes))
    bins = np.minimum((scores * 256).astype(int), 255)
    n = np.bincount(bins, minlength=256)
    middle = n.cumsum() - n / 2
    group = np.minimum((middle * MOST_GROUPS / n.sum()).astype(int), MOST_GROUPS - 1)[bins]
    fitted = IsotonicRegression().fit(group, outcomes).predict(group)
    assert np.allclose(found.probability[found.block[bins]], fitted, atol=1e-12)
    assert found.n.sum() == 20_000 and (np.diff(found.probability) > 0).all()


def test_expected_metrics_and_their_spread_are_those_of_many_draws(calibration):
    rng = np.random.default_rng(63)
    scores, _ = draw(rng, 2_000, shift=0.5)
    probability = (calibration.probability @ calibration.weights)[np.minimum((scores * 256).astype(int), 255)]
    decided = scores >= 0.5
    drawn: dict[str, list[float]] = {}
    for _ in range(400):
        y = rng.random(2_000) < probability
        values = {
            "roc_auc": sk.roc_auc_score(y, scores),
            "accuracy": sk.accuracy_score(y, decided),
            "balanced_accuracy": sk.balanced_accuracy_score(y, decided),
            "precision": sk.precision_score(y, decided),
            "recall": sk.recall_score(y, decided),
            "specificity": sk.recall_score(~y, ~decided),
            "f1": sk.f1_score(y, decided),
            "log_loss": sk.log_loss(y, scores),
            "brier": sk.brier_score_loss(y, scores),
            "average_precision": sk.average_precision_score(y, scores),
        }
        for name, value in values.items():
            drawn.setdefault(name, []).append(value)
    found = estimate(score_bins(scores, window=1), calibration, **SETTINGS)
    assert set(found["metric"]) == set(ESTIMATED) == set(drawn)
    for row in found.to_dicts():
        mean, spread = np.mean(drawn[row["metric"]]), np.std(drawn[row["metric"]])
        off = 0.006 if row["metric"] in ("roc_auc", "average_precision") else 0.001  # areas are of 256 score bins
        assert abs(row["value"] - mean) < off + 4 * spread / np.sqrt(400), row["metric"]
        assert np.sqrt(row["variance"]) == pytest.approx(spread, rel=0.15), row["metric"]
        assert (row["status"], row["reason"], row["reason_code"]) == ("ok", ASSUMED, "estimated")
        assert row["ci_low"] < row["value"] < row["ci_high"] and row["n"] == 2_000


def test_a_small_reference_widens_the_interval(calibration):
    scores, _ = draw(np.random.default_rng(64), 20_000)
    small = calibrate(label_bins(*draw(np.random.default_rng(65), 1_000)))
    near, far = (estimate(score_bins(scores, window=1), c, **SETTINGS) for c in (calibration, small))
    width = pl.col("ci_high") - pl.col("ci_low")
    assert (far.select(width).to_series() > 2 * near.select(width).to_series()).sum() >= 8


def test_each_window_alone_gives_the_same_as_all_together(calibration):
    rng = np.random.default_rng(66)
    windows = [score_bins(draw(rng, 300)[0], window=k) for k in range(40)]
    together = estimate(pl.concat(windows), calibration, **SETTINGS)
    alone = pl.concat([estimate(window, calibration, **SETTINGS) for window in windows])
    assert_frame_equal(together, alone.sort("window", "metric"), rel_tol=1e-12)


def one(found: pl.DataFrame, metric: str) -> dict:
    return found.row(by_predicate=pl.col("metric") == metric, named=True)


def test_what_cannot_be_estimated_says_why(calibration):
    rng = np.random.default_rng(67)
    few = estimate(score_bins(draw(rng, 60)[0], window=1), calibration, **SETTINGS)
    assert set(few["status"]) == {"insufficient_data"} and set(few["reason"]) == {"60 rows, 100 needed"}
    assert few["value"].null_count() == few["ci_low"].null_count() == len(few)

    young = calibrate(label_bins(*draw(rng, 200)))
    assert set(estimate(score_bins(draw(rng, 500)[0], window=1), young, **SETTINGS)["reason_code"]) == {"too_few_rows"}

    low, outcomes = draw(rng, 5_000)
    narrow = calibrate(label_bins(low[low < 0.5], outcomes[low < 0.5]))
    beyond = estimate(score_bins(low, window=1), narrow, **SETTINGS)
    assert set(beyond["reason_code"]) == {"not_identifiable"}
    assert beyond["reason"].str.contains("of the scores lie beyond those of the reference").all()

    never = one(estimate(score_bins(low, cut=2.0, window=1), calibration, **SETTINGS), "precision")
    assert (never["status"], never["reason"]) == ("insufficient_data", "no row was predicted positive")
    assert never["value"] is None


def test_windows_without_a_row_have_no_estimates(calibration):
    scores, _ = draw(np.random.default_rng(69), 100)
    nothing = estimate(score_bins(scores, window=1).clear(), calibration, **SETTINGS)
    assert nothing.is_empty() and {"window", "metric", "value", "status"} <= set(nothing.columns)


def test_a_reference_of_one_class_calibrates_nothing():
    scores, _ = draw(np.random.default_rng(68), 500)
    assert calibrate(label_bins(scores, np.zeros(500, dtype=bool))) is None
    assert calibrate(label_bins(scores[:0], np.zeros(0, dtype=bool))) is None
