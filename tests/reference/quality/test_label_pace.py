"""Labels that came beside those that were expected: against a slow count of single labels, and known laws."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import poisson

from metrics_py.quality.label_pace import FEWEST_WINDOWS, arrivals
from metrics_py.scipy_functions import poisson_interval


def triangle_of(rng: np.random.Generator, days: int, law: np.ndarray, per_day: int, rate: float) -> np.ndarray:
    """Labels by day and delay; rows are multinomial."""
    labelled = rng.binomial(per_day, rate, days)
    return np.stack([rng.multinomial(n, law) for n in labelled]).astype(float)


def slow_count(triangle: np.ndarray, predictions: np.ndarray, at: int) -> tuple[float, float]:
    """The definition, label by label and with the chain ladder's development factors instead of hazards."""
    delays = triangle.shape[1]
    observed = sum(triangle[i, at - i] for i in range(at + 1) if at - i < delays)
    factor = []
    for u in range(1, delays):
        rows = [i for i in range(at) if i + u < at]
        before, upto = sum(triangle[i, :u].sum() for i in rows), sum(triangle[i, : u + 1].sum() for i in rows)
        factor.append(upto / before if before else 1.0)
    share = [0.0] + [1 / np.prod(factor[u:]) for u in range(delays - 1)] + [1.0]

    def come(age: int) -> float:
        return share[min(age, delays)]

    told = [i for i in range(at) if at - i <= 60 and come(at - i) >= 0.1]
    seen = sum(triangle[i, : min(at - i, delays)].sum() for i in told)
    rate = seen / sum(predictions[i] * come(at - i) for i in told)
    expected = sum(rate * predictions[i] * (come(at - i + 1) - come(at - i)) for i in range(at + 1))
    return observed, expected


@pytest.mark.parametrize("at", [14, 20, 33, 49])
def test_against_a_slow_count(at):
    rng = np.random.default_rng(311)
    law = rng.dirichlet(np.linspace(4, 1, 12))
    made = rng.integers(200, 900, 50).astype(float)
    triangle = np.stack([rng.multinomial(int(0.8 * n), law) for n in made]).astype(float)
    assert arrivals(triangle, made, at) == pytest.approx(slow_count(triangle, made, at), rel=1e-9)


def test_what_is_expected_of_a_stable_law_comes():
    rng = np.random.default_rng(312)
    law = np.diff(1 - np.exp(-np.arange(41) / 8), append=1.0)[:40]
    law /= law.sum()
    triangle = triangle_of(rng, 200, law, 1000, 0.7)
    found = np.array([arrivals(triangle, np.full(200, 1000.0), at) for at in range(120, 200)])
    z = (found[:, 0] - found[:, 1]) / np.sqrt(found[:, 1])
    assert abs(z.mean()) < 0.35 and 0.8 < z.std() < 1.3, "as many as expected, with the noise of a count"


def test_more_predictions_let_more_labels_be_expected():
    law = np.array([0.5, 0.3, 0.2])
    made = np.full(40, 100.0)
    made[-1] = 1000.0
    triangle = made[:, None] * law[None]
    assert arrivals(triangle, made, 39) == pytest.approx((550.0, 550.0))


def test_slower_labels_are_fewer_than_expected_at_first():
    law = np.array([0.5, 0.3, 0.2])
    made = np.full(60, 100.0)
    triangle = made[:, None] * law[None]
    triangle[50:] = 100 * np.array([0.2, 0.4, 0.4])
    assert arrivals(triangle, made, 50) == pytest.approx((70.0, 100.0))


def test_a_feed_that_stops_is_nothing_of_what_is_expected():
    made = np.full(40, 100.0)
    triangle = made[:, None] * np.array([[0.6, 0.4]])
    for at in (38, 39):
        for delay in (0, 1):
            triangle[at - delay, delay] = 0
    observed, expected = arrivals(triangle, made, 39)
    assert observed == 0 and expected == pytest.approx(100, rel=0.05)


@pytest.mark.parametrize("at", [0, 3, FEWEST_WINDOWS - 1])
def test_with_few_windows_before_nothing_is_expected(at):
    made = np.full(40, 100.0)
    triangle = made[:, None] * np.array([[0.6, 0.4]])
    assert np.isnan(arrivals(triangle, made, at)[1])
    assert np.isfinite(arrivals(triangle, made, FEWEST_WINDOWS)[1])


def test_windows_without_predictions_teach_nothing():
    made = np.full(40, 100.0)
    made[: 40 - FEWEST_WINDOWS] = 0
    triangle = made[:, None] * np.array([[0.6, 0.4]])
    assert np.isnan(arrivals(triangle, made, 39)[1]), "thirteen before it"
    made[40 - FEWEST_WINDOWS - 1] = 100
    assert np.isfinite(arrivals(made[:, None] * np.array([[0.6, 0.4]]), made, 39)[1])


def test_without_any_label_nothing_is_expected():
    observed, expected = arrivals(np.zeros((40, 3)), np.full(40, 100.0), 39)
    assert observed == 0 and np.isnan(expected)


@pytest.mark.parametrize("count", [0, 1, 7, 300])
def test_interval_of_a_count(count):
    low, high = poisson_interval(count)
    assert poisson.cdf(count, high) == pytest.approx(0.025, abs=1e-9)
    assert low == 0 if count == 0 else poisson.sf(count - 1, low) == pytest.approx(0.025, abs=1e-9)
