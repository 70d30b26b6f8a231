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


def test_scores_of_nothing_but_zero_and_one_have_a_line():
    """57 % of them come true: the line runs through two points, logits of 1e-6 and of the shares that came true."""
    rng = np.random.default_rng(47)
    y = rng.random(4000) < 0.6
    score = np.where(rng.random(4000) < 0.57, y, ~y).astype(float)
    large, slope = calibration_line(score, y, rng.integers(0, 64, 4000))
    shares = logit([y[score == 0].mean(), y[score == 1].mean()])
    assert slope.value == pytest.approx((shares[1] - shares[0]) / (2 * logit(1 - 1e-6)), rel=1e-6)
    assert slope.status == large.status == "ok" and slope.ci_high < 0.05
    assert expit(logit(np.clip(score, 1e-6, 1 - 1e-6)) + large.value).mean() == pytest.approx(y.mean(), abs=1e-9)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
def test_stuck_scores_among_others_fit_as_in_scikit_learn(share):
    score, y, bucket = rows(48, 3000, 0.7, 0.3)
    score = np.where(np.random.default_rng(49).random(3000) < share, np.round(score), score)
    z = logit(np.clip(score, 1e-6, 1 - 1e-6))
    found = LogisticRegression(C=np.inf, tol=1e-12, max_iter=10_000, solver="newton-cholesky").fit(z[:, None], y)
    assert calibration_line(score, y, bucket)[1].value == pytest.approx(found.coef_[0, 0], rel=1e-6)


def test_scores_separate_only_where_no_score_is_shared_or_crossed():
    score, y, bucket = rows(50, 500)
    score = np.where(y, 0.5 + score / 2, score / 2)
    assert "separate" in calibration_line(1 - score, y, bucket)[1].reason
    touching = np.where(score > 0.5, np.maximum(score, 0.6), 0.6)
    assert "separate" in calibration_line(touching, y, bucket)[1].reason
    score[np.flatnonzero(y)[0]] = 0.1
    assert calibration_line(score, y, bucket)[1].status == "ok"


def test_hardly_different_scores_have_their_slope():
    score, y, bucket = rows(51, 2000)
    wide = calibration_line(score, y, bucket)[1]
    narrow = calibration_line(expit(1 + logit(score) * 1e-5), y, bucket)[1]
    assert narrow.value == pytest.approx(wide.value * 1e5, rel=1e-4)
    assert narrow.ci_low == pytest.approx(wide.ci_low * 1e5, rel=1e-4)
