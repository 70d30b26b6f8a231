"""Estimated quality beside scikit-learn: isotonic calibration, and the metrics over many draws of the outcomes."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from scipy.special import expit, logit
from sklearn import metrics as sk
from sklearn.isotonic import IsotonicRegression

from metrics_py.estimation.calibration import calibrate
from metrics_py.estimation.cbpe import (
    ASSUMED,
    ESTIMATED,
    SUMS,
    Z95,
    _split,
    estimate,
)
from metrics_py.quality.binary_metrics import BINARY
from metrics_py.quality.business_value import business_value
from tests.support.scores import draw, label_bins, score_bins

SETTINGS = {"positive": "1", "min_rows": 100, "by": ["window"]}


@pytest.fixture(scope="module")
def calibration():
    return calibrate(label_bins(*draw(np.random.default_rng(61), 400_000)))


def groups(n: np.ndarray) -> np.ndarray:
    """A group ends at 78 rows (one in 256 of 20,000), or after 4 score bins with 20."""
    found, members = [], []
    for score_bin in range(256):
        members.append(score_bin)
        rows = n[members].sum()
        if rows >= n.sum() / 256 or (rows >= 20 and len(members) >= 4):
            found.append(members)
            members = []
    if members and (n[members].sum() >= 20 or not found):
        found.append(members)
    elif members:
        found[-1] += members
    return np.repeat(np.arange(len(found)), [len(part) for part in found])


@pytest.mark.parametrize("offset", [0.0, -4.0], ids=["dense", "rare"])
def test_the_calibration_is_the_isotonic_regression_of_groups(offset):
    rng = np.random.default_rng(62)
    signal = expit(logit(draw(rng, 20_000)[0]) + offset)
    outcomes = rng.random(20_000) < signal
    found = calibrate(label_bins(signal, outcomes))
    bins = np.minimum((signal * 256).astype(int), 255)
    group = groups(np.bincount(bins, minlength=256))[bins]
    fitted = IsotonicRegression().fit(group, outcomes).predict(group)
    assert np.allclose(found.probability[found.block[bins]], fitted, atol=1e-12)
    assert found.n.sum() == found.rows.sum() == 20_000 and (np.diff(found.probability) > 0).all()


def rare(rng: np.random.Generator, n: int, mean: float = -6.5, spread: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Well calibrated scores of a class of about 1 %."""
    scores = expit(rng.normal(mean, spread, n))
    return scores, rng.random(n) < scores


def test_precision_of_a_rare_class_is_that_of_its_few_high_scores():
    rng = np.random.default_rng(70)
    scores, _ = rare(rng, 100_000)
    decided = scores >= 0.5
    found = estimate(score_bins(scores, window=1), calibrate(label_bins(*rare(rng, 400_000))), **SETTINGS)
    assert one(found, "precision")["value"] == pytest.approx(scores[decided].mean(), abs=0.06)
    assert one(found, "recall")["value"] == pytest.approx(scores[decided].sum() / scores.sum(), rel=0.15)


def test_metrics_of_a_decision_whose_scores_the_reference_hardly_has_are_not_told():
    rng = np.random.default_rng(71)
    reference = rare(rng, 20_000)
    found = estimate(score_bins(rare(rng, 20_000)[0], window=1), calibrate(label_bins(*reference)), **SETTINGS)
    assert (reference[0] >= 0.5).sum() == 8
    for name in ("precision", "recall", "f1", "balanced_accuracy"):
        row = one(found, name)
        assert (row["status"], row["reason_code"], row["value"]) == ("insufficient_data", "too_few_rows", None)
        assert row["reason"].endswith(" labelled reference rows have scores of those predicted positive, 50 needed")
        assert int(row["reason"].split()[0]) <= 8
    assert {one(found, name)["status"] for name in ("accuracy", "roc_auc", "log_loss", "brier")} == {"ok"}


def test_a_threshold_within_a_score_bin_widens_the_interval_or_leaves_no_estimate():
    """All decisions differ within the lowest bin, scores below 0.004: which of its rows are positive is not known."""
    rng = np.random.default_rng(72)
    reference, (scores, y) = rare(rng, 50_000, -7.5, 1.2), rare(rng, 100_000, -7.5, 1.2)
    found = estimate(score_bins(scores, cut=0.002, window=1), calibrate(label_bins(*reference)), **SETTINGS)
    assert {one(found, name)["reason_code"] for name in ("recall", "roc_auc")} == {"not_identifiable"}
    precision, realised = one(found, "precision"), y[scores >= 0.002].mean()
    assert precision["ci_low"] < realised < precision["ci_high"] and realised > 1.2 * precision["value"]


def test_the_log_loss_of_scores_in_the_lowest_bin_lies_within_the_interval():
    """Whoever takes all rows of the bin to be alike finds too much: the likelier ones have the higher scores."""
    rng = np.random.default_rng(73)
    scores, _ = rare(rng, 1_000_000, -7.5, 1.2)
    calibration = calibrate(label_bins(*rare(rng, 1_000_000, -7.5, 1.2)))
    log_loss = one(estimate(score_bins(scores, window=1), calibration, **SETTINGS), "log_loss")
    expected = -(scores * np.log(scores) + (1 - scores) * np.log1p(-scores)).mean()
    assert log_loss["ci_low"] < expected < log_loss["value"] - 2 * np.sqrt(log_loss["variance"])


def test_the_ends_of_an_interval_of_a_bin_with_both_decisions_are_those_of_its_positives_on_one_side():
    """100 rows in one bin, 40 of them decided positive, of which 30 in 100 are positive: 0 or 30 of the 40."""
    calibration = calibrate(
        pl.DataFrame(
            {"score_bin": [50, 50, 200, 200], "is_positive": [False, True] * 2, "n": [7_000_000, 3_000_000, 1, 9_999]}
        )
    )
    bins = pl.DataFrame({"predicted_class": ["0", "1"], "score_bin": [50, 50], "n": [60, 40], "window": [1, 1]})
    bins = bins.with_columns(pl.lit(0.0).alias(name) for name in SUMS[1:])
    dense = np.zeros((len(SUMS), 1, 2, 256))
    dense[0, 0, :, 50] = 60, 40
    accuracy = next(metric for metric in BINARY if metric.name == "accuracy")
    p = calibration.probability @ calibration.weights
    below, above = _split(accuracy, dense[0], p)
    assert p[50] == pytest.approx(0.3)
    assert (below[0], above[0]) == pytest.approx((0.54 - 0.3, 0.9 - 0.54))  # 30 of 40 found: 60 + 30 are right
    assert one(estimate(bins, calibration, **SETTINGS), "accuracy")["reason_code"] == "not_identifiable"


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


def test_the_business_value_and_its_spread_are_those_of_many_draws(calibration):
    """Values per decision that pull both ways: a row found is worth 40, one missed -100, one called in vain -10."""
    rng, matrix = np.random.default_rng(74), np.array([[1.0, -100.0], [-10.0, 40.0]])
    scores, _ = draw(rng, 2_000, shift=0.5)
    probability = (calibration.probability @ calibration.weights)[np.minimum((scores * 256).astype(int), 255)]
    decided = (scores >= 0.5).astype(int)
    drawn = [matrix[decided, (rng.random(2_000) < probability).astype(int)].mean() for _ in range(400)]
    found = estimate(score_bins(scores, window=1), calibration, more=[business_value(matrix)], **SETTINGS)
    row = one(found, "business_value")
    assert abs(row["value"] - np.mean(drawn)) < 4 * np.std(drawn) / np.sqrt(400)
    assert np.sqrt(row["variance"]) == pytest.approx(np.std(drawn), rel=0.15)
    assert row["ci_high"] - row["value"] == pytest.approx(Z95 * np.sqrt(row["variance"]), rel=0.02)
    assert set(found["metric"]) == {*ESTIMATED, "business_value"}


def test_the_business_value_of_a_bin_with_both_decisions_may_fall_with_what_is_found():
    """40 of 100 rows of a bin are decided positive; a hit is worth less here than a miss."""
    dense = np.zeros((1, 2, 256))
    dense[0, :, 50] = 60, 40
    below, above = _split(business_value([[0.0, 0.0], [0.0, -1.0]]), dense, np.full(256, 0.3))
    assert (below[0], above[0]) == pytest.approx((0.30 - 0.12, 0.12))


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
