"""Intervals against textbooks, closed forms and published numbers."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from metrics_py import intervals


def test_jackknife_of_a_mean_is_students_interval():
    x = np.random.default_rng(3).normal(10, 2, 64)
    found = intervals.jackknife(lambda s, n: s / n, x[None], np.ones((1, 64)))
    low, high = stats.t.interval(0.95, 63, x.mean(), stats.sem(x))
    assert_allclose([found.ci_low[0], found.ci_high[0]], [low, high], rtol=1e-12)
    assert found.degrees_of_freedom[0] == 63


def test_jackknife_of_a_ratio_matches_its_linearisation():
    rng = np.random.default_rng(4)
    n = rng.poisson(200, 64).astype(float)
    s = rng.normal(0.3, 0.01, 64) * n
    found = intervals.jackknife(lambda s, n: s / n, s[None], n[None])
    ratio = s.sum() / n.sum()
    linear = np.sqrt(((s - ratio * n) ** 2).sum() * 64 / 63) / n.sum()
    assert_allclose(found.standard_error[0], linear, rtol=0.02)


def test_empty_buckets_do_not_count():
    x, n = np.zeros((1, 64)), np.zeros((1, 64))
    x[0, :10], n[0, :10] = np.arange(10.0) + 1, 1
    short = intervals.jackknife(lambda s, n: s / n, x[:, :10], n[:, :10])
    long = intervals.jackknife(lambda s, n: s / n, x, n)
    assert_allclose(long.ci_low, short.ci_low)
    assert long.degrees_of_freedom[0] == 9


def test_a_bucket_whose_sum_is_zero_counts():
    """By hand: the rates without each bucket are 8/30, 5/30, 8/30 and 3/30, so 3/4 of their squares' sum is .015."""
    sums, rows = [0, 3, 0, 5], [10, 10, 10, 10]
    found = intervals.jackknife(lambda s, n: s / n, [sums], [rows])
    assert_allclose(found.standard_error, np.sqrt(0.015), rtol=1e-12)
    assert found.degrees_of_freedom[0] == 3
    low, high = stats.t.interval(0.95, 3, np.mean(sums) / 10, stats.sem(sums) / 10)
    estimate = intervals.jackknife_estimate(lambda s, n: s / n, sums, rows, n=40)
    assert_allclose([estimate.ci_low, estimate.ci_high], [low, high], rtol=1e-12)
    alone = intervals.jackknife_estimate(lambda s: s / 4, sums, n=4, occupied=[True] * 4)
    assert_allclose(alone.ci_high - alone.value, stats.t.ppf(0.975, 3) * np.sqrt(3 / 4 * 18) / 4, rtol=1e-12)


@pytest.mark.parametrize("value", [0.0, 0.3, 1 / 3, 7e9])
def test_values_without_spread_have_no_interval(value):
    rows = np.arange(1.0, 65)
    found = intervals.jackknife_estimate(lambda s, n: s / n, value * rows, rows, n=2080)
    assert found.value == pytest.approx(value)
    assert (found.ci_low, found.status, found.reason_code) == (None, "insufficient_data", "no_spread")
    low, high = intervals.daily_confidence_sequence(np.full(30, value))
    assert np.isinf(low).all() and np.isinf(high).all()


def test_the_interval_of_a_bounded_mean_stays_in_its_range():
    """Zeros and ones vary most of all values between 0 and 1 with their mean: Wilson's interval holds for any."""
    low, high, _ = intervals.proportion_interval([0.75 * 2, 1.0, 2.0], [2, 2, 2], [0.25, 0.0, 0.0], [1, 1, 1])
    assert ((low >= 0) & (high <= 1) & (high - low > 0.5)).all()
    low, high, design = intervals.proportion_interval(60.0, 120.0, 0.0, 63.0)
    assert design == 1
    assert_allclose((low, high), intervals.wilson(60.0, 120.0, degrees_of_freedom=63.0))


def test_groups_are_independent_of_each_other():
    rng = np.random.default_rng(5)
    s, n = rng.random((7, 16)), rng.integers(1, 9, (7, 16)).astype(float)
    together = intervals.jackknife(lambda s, n: s / n, s, n)
    for g in range(7):
        alone = intervals.jackknife(lambda s, n: s / n, s[g : g + 1], n[g : g + 1])
        assert_allclose(together.ci_high[g], alone.ci_high[0], rtol=1e-12)


def test_an_interval_that_hangs_on_one_bucket_is_undefined():
    positives = np.zeros((1, 64))
    positives[0, 5] = 3
    found = intervals.jackknife(lambda tp, n: tp / n, positives / 3, positives)
    assert found.value[0] == pytest.approx(1 / 3)
    assert np.isnan(found.ci_low[0])
    estimate = intervals.jackknife_estimate(lambda s: s / 1.0, [3.0], n=3)
    assert (estimate.value, estimate.ci_low, estimate.status) == (3.0, None, "insufficient_data")
    assert "one bucket" in estimate.reason
    undefined = intervals.jackknife_estimate(lambda s, n: s / n, [0.0, 0.0], [0.0, 0.0], n=0)
    assert (undefined.value, undefined.status) == (None, "insufficient_data")


def test_jackknife_refuses_bad_input():
    with pytest.raises(ValueError, match="no bucket sums"):
        intervals.jackknife(np.mean)
    with pytest.raises(ValueError, match="leading shape"):
        intervals.jackknife(lambda a, b: a, np.ones((2, 3)), np.ones((2, 4)))
    with pytest.raises(ValueError, match="NaN or infinity"):
        intervals.jackknife(lambda a: a, np.array([[1.0, np.nan]]))
    with pytest.raises(ValueError, match="confidence=95"):
        intervals.jackknife(lambda a: a, np.ones((1, 4)), confidence=95)


@pytest.mark.parametrize(("k", "n"), [(0, 10), (1, 30), (27, 30), (98, 100), (500, 1000), (10, 10)])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_wilson_matches_scipy(k, n, confidence):
    expected = stats.binomtest(k, n).proportion_ci(confidence, method="wilson")
    assert_allclose(np.array(intervals.wilson(k, n, confidence=confidence)), [expected.low, expected.high], atol=1e-12)


def test_wilson_design_effect_is_fewer_rows():
    assert_allclose(intervals.wilson(60, 300, design_effect=3.0), intervals.wilson(20, 100))
    low, _ = intervals.wilson(0, 0)
    assert np.isnan(low)
    with pytest.raises(ValueError, match="between 0 and n"):
        intervals.wilson(5, 4)


def test_proportion_interval_joins_jackknife_and_wilson():
    # many events: the jackknife's t interval
    low, high, effect = intervals.proportion_interval(40_000, 100_000, 0.004, 63)
    half = stats.t.ppf(0.975, 63) * 0.004
    assert_allclose([low, high], [0.4 - half, 0.4 + half], atol=1e-4)
    assert_allclose(effect, 0.004**2 / (0.24 / 100_000))
    # few events: never narrower than Wilson, and defined although the jackknife saw no variation
    low, high, effect = intervals.proportion_interval(100, 100, 0.0, np.inf)
    assert_allclose([low, high], intervals.wilson(100, 100))
    assert effect == 1
    assert intervals.proportion_interval(3, 1000, 1e-5, np.inf)[2] == 1


@pytest.mark.parametrize("n", [10, 1000, 50_000])
def test_confidence_sequence_is_the_published_formula(n):
    # Waudby-Smith et al. (2024), eq. 4, with rho chosen for n_optimal = 1000
    alpha, rho2 = 0.05, (-2 * np.log(0.05) + np.log(-2 * np.log(0.05) + 1)) / 1000
    expected = 2.0 * np.sqrt(2 * (n * rho2 + 1) / (n**2 * rho2) * np.log(np.sqrt(n * rho2 + 1) / alpha))
    low, high = intervals.confidence_sequence(5.0, 2.0, n, alpha=alpha, n_optimal=1000)
    assert_allclose([low, high], [5 - expected, 5 + expected])


def test_confidence_sequence_edges():
    low, high = intervals.confidence_sequence(0.0, 1.0, 0)
    assert (low, high) == (-np.inf, np.inf)
    with pytest.raises(ValueError, match="alpha"):
        intervals.confidence_sequence(0.0, 1.0, 5, alpha=0)
    with pytest.raises(ValueError, match="n_optimal"):
        intervals.confidence_sequence(0.0, 1.0, 5, n_optimal=0)


def test_daily_confidence_sequence_waits_and_stays_finite():
    daily = np.array([0.1, 0.1, 0.1, 0.2, 0.0, 0.1, 0.15, 0.05, 0.1, 0.1]) + 1e6
    low, high = intervals.daily_confidence_sequence(daily)
    assert np.isinf(low[:6]).all()
    assert np.isfinite(high[6:]).all()
    mean, deviation = daily[:7].mean(), daily[:7].std(ddof=1)
    inflation = stats.t.ppf(0.975, 6) / stats.norm.ppf(0.975)
    expected = intervals.confidence_sequence(mean, deviation * inflation, 7, n_optimal=30)
    assert_allclose([low[6], high[6]], expected, rtol=1e-9)
    with pytest.raises(ValueError, match="finite"):
        intervals.daily_confidence_sequence([0.1, np.nan])
    with pytest.raises(ValueError, match="first_day"):
        intervals.daily_confidence_sequence([0.1, 0.2], first_day=1)
