"""Intercept and slope of calibration against scikit-learn's logistic regression and a bootstrap of buckets."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from metrics_py.evaluation.calibration import calibration_line


def rows(seed: int, n: int, slope: float = 1.0, shift: float = 0.0, habit: float = 0.0):
    """Score, outcome, bucket; outcomes follow ``shift + slope * logit(score)`` and a habit of the bucket."""
    rng = np.random.default_rng(seed)
    score = expit(rng.normal(-0.5, 1.2, n))
    bucket = rng.integers(0, 64, n)
    return score, rng.random(n) < expit(shift + slope * logit(score) + rng.normal(0, habit, 64)[bucket]), bucket


def test_the_slope_is_that_of_a_logistic_regression():
    score, y, bucket = rows(41, 3000, 0.7, 0.3)
    found = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(logit(score)[:, None], y)
    assert calibration_line(score, y, bucket)[1].value == pytest.approx(found.coef_[0, 0], abs=1e-6)


def test_the_intercept_makes_the_mean_score_the_share_of_positives():
    score, y, bucket = rows(42, 3000, 1.0, 0.4)
    large = calibration_line(score, y, bucket)[0]
    assert expit(logit(score) + large.value).mean() == pytest.approx(y.mean(), abs=1e-9)


def test_the_standard_error_is_that_of_a_bootstrap_of_buckets():
    score, y, bucket = rows(43, 4000, habit=0.5)
    found = calibration_line(score, y, bucket)
    rng = np.random.default_rng(44)
    of_bucket = [np.flatnonzero(bucket == b) for b in range(64)]
    draws = []
    for _ in range(300):
        drawn = rng.integers(0, 64, 64)
        index = np.concatenate([of_bucket[b] for b in drawn])
        own = np.repeat(np.arange(64), [len(of_bucket[b]) for b in drawn])
        draws.append([each.value for each in calibration_line(score[index], y[index], own)])
    for each, error in zip(found, np.std(draws, axis=0), strict=True):
        assert (each.ci_high - each.ci_low) / 2 / 1.998 == pytest.approx(error, rel=0.15)


@pytest.mark.parametrize("habit", [0.0, 0.4])
def test_intervals_hold_the_truth(habit):
    """300 data sets: at 95 % between 0.92 and 0.98. With a habit the slope of the whole is a little flatter."""
    truth = [each.value for each in calibration_line(*rows(45, 2_000_000, habit=habit))] if habit else [0.0, 1.0]
    hits = np.zeros(2)
    for seed in range(300):
        found = calibration_line(*rows(1000 + seed, 1500, habit=habit))
        hits += [each.ci_low <= value <= each.ci_high for each, value in zip(found, truth, strict=True)]
    own = hits / 300
    assert own[1] == pytest.approx(0.95, abs=0.035)
    if not habit:  # the mean of 64 habits of one draw is not that of all buckets
        assert own[0] == pytest.approx(0.95, abs=0.035)


def test_what_has_no_line_says_why():
    score, y, bucket = rows(46, 500)
    assert "needed" in calibration_line(score[:30], np.arange(30) < 3, bucket[:30])[1].reason
    assert "alike" in calibration_line(np.full(500, 0.3), y, bucket)[1].reason
    assert "one bucket" in calibration_line(score, y, np.zeros(500))[0].reason
    assert "separate" in calibration_line(score, score > 0.5, bucket)[1].reason
    with pytest.raises(ValueError, match="between 0 and 1"):
        calibration_line(score + 1, y, bucket)
