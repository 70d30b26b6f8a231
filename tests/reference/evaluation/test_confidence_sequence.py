"""Live comparison against computations of its own: rows, deletions one by one, the published formula."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from metrics_py.evaluation.confidence_sequence import (
    SequentialDifference,
    combined_error,
    days_needed,
    interval_at,
    sequential_difference,
    weights_of_days,
)
from metrics_py.intervals import daily_confidence_sequence

BUCKETS = 6


def precision(tp, fp):
    return tp / (tp + fp)


def rows_of(seed: int, days: int = 9) -> dict[str, np.ndarray]:
    """Rows: version, day, bucket, decided, true."""
    rng = np.random.default_rng(seed)
    n = 900
    return {
        "version": (rng.random(n) < 0.35).astype(int),
        "day": rng.integers(0, days, n),
        "bucket": rng.integers(0, BUCKETS, n),
        "decided": rng.random(n) < 0.5,
        "true": rng.random(n) < 0.6,
    }


def sums(rows: dict[str, np.ndarray], what: np.ndarray, days: int) -> np.ndarray:
    found = np.zeros((2, days, BUCKETS))
    np.add.at(found, (rows["version"], rows["day"], rows["bucket"]), what.astype(float))
    return found


def by_rows(rows: dict[str, np.ndarray], kept: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Precision of both versions: every row weighs its day's weight over its version's rows on that day."""
    found = []
    for v in (0, 1):
        weight = np.zeros(len(kept))
        for t, w in enumerate(weights):
            here = kept & (rows["version"] == v) & (rows["day"] == t)
            if here.any():
                weight[here] = w / here.sum()
        hit, decided = rows["decided"] & rows["true"], rows["decided"]
        found.append((weight * hit).sum() / (weight * decided).sum())
    return np.array(found)


def variance(values: list[float]) -> float:
    return (len(values) - 1) ** 2 / len(values) * float(np.var(values, ddof=1))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_difference_and_its_error_are_those_of_rows_left_out_one_by_one(seed):
    days = 9
    rows = rows_of(seed, days)
    n, tp, fp = (
        sums(rows, what, days)
        for what in (
            np.ones(len(rows["day"])),
            rows["decided"] & rows["true"],
            rows["decided"] & ~rows["true"],
        )
    )
    found = sequential_difference(precision, lambda t: ([tp[0, t], fp[0, t]], [tp[1, t], fp[1, t]]), n)
    everything = np.ones(len(rows["day"]), dtype=bool)
    per_day = n.sum(axis=2)
    weights = per_day[0] * per_day[1] / per_day.sum(axis=0)
    old, new = by_rows(rows, everything, weights)
    assert_allclose([found.champion, found.challenger, found.difference], [old, new, new - old], rtol=1e-12)

    def without(gone: np.ndarray, used: np.ndarray = weights) -> float:
        first, second = by_rows(rows, ~gone, used)
        return second - first

    of_days = [without(rows["day"] == t, np.where(np.arange(days) == t, 0.0, weights)) for t in range(days)]
    of_buckets = [without(rows["bucket"] == b) for b in range(BUCKETS)]
    of_cells = [
        without((rows["day"] == t) & (rows["bucket"] == b))
        for t in range(days)
        for b in range(BUCKETS)
        if n[:, t, b].any()
    ]
    v = [variance(values) for values in (of_days, of_buckets, of_cells)]
    error = np.sqrt(max(v[0] + v[1] - v[2], v[0], v[1]))
    assert_allclose(found.standard_error, error, rtol=1e-9)
    effective = weights.sum() ** 2 / (weights**2).sum()
    half = error * published(effective, 30) * stats.t.ppf(0.975, effective - 1) / stats.norm.ppf(0.975)
    assert_allclose([found.ci_low, found.ci_high], [new - old - half, new - old + half], rtol=1e-9)
    assert (found.n_champion, found.n_challenger) == tuple(per_day.sum(axis=1))


def published(n: float, n_optimal: float, alpha: float = 0.05) -> float:
    """Half-width over standard error: Waudby-Smith et al. (2024), equation 4 and the choice of rho under it."""
    rho2 = (-2 * np.log(alpha) + np.log(-2 * np.log(alpha) + 1)) / n_optimal
    return float(np.sqrt(n) * np.sqrt(2 * (n * rho2 + 1) / (n**2 * rho2) * np.log(np.sqrt(n * rho2 + 1) / alpha)))


def test_days_alike_give_the_confidence_sequence_of_daily_differences():
    """One row of each version per bucket and day, no habit of entities: only the days are left."""
    rng = np.random.default_rng(8)
    daily = rng.normal(0.01, 0.02, 25)
    ones = np.ones((2, 25, BUCKETS))
    found = sequential_difference(
        lambda s, n: s / n,
        lambda t: ([np.zeros(BUCKETS), ones[0, t]], [np.full(BUCKETS, daily[t]), ones[1, t]]),
        ones,
    )
    low, high = daily_confidence_sequence(daily)
    assert_allclose([found.ci_low, found.ci_high], [low[-1], high[-1]], rtol=1e-9)


def test_a_share_that_grows_with_the_level_is_no_difference():
    """Both versions are right as often on every day; the days get easier while the challenger's share grows."""
    level, share = np.linspace(0.6, 0.9, 12), np.linspace(0.05, 0.8, 12)
    n = np.stack([np.tile((1 - share)[:, None], 8), np.tile(share[:, None], 8)]) * 1000
    found = sequential_difference(
        lambda c, m: c / m,
        lambda t: ([n[0, t] * level[t], n[0, t]], [n[1, t] * level[t], n[1, t]]),
        n,
    )
    pooled = [(n[v] * level[:, None]).sum() / n[v].sum() for v in (0, 1)]
    assert pooled[1] - pooled[0] > 0.05
    assert found.difference == pytest.approx(0.0, abs=1e-12)
    assert (found.status, found.ci_low) == ("insufficient_data", None)


def day_of(n: np.ndarray):
    return lambda t: ([n[0, t] * 0.5, n[0, t]], [n[1, t] * 0.6, n[1, t]])


@pytest.mark.parametrize(
    ("n", "reason"),
    [
        (np.ones((2, 6, 4)) * 5, "6 days on which both ran, 7 needed"),
        (np.stack([np.ones((9, 4)), np.zeros((9, 4))]), "no day on which both"),
        (np.ones((2, 9, 1)), "one bucket of entities"),
        (np.ones((2, 9, 4)) * np.array([1] * 7 + [1000] * 2)[:, None], "tell as much as 2.0 equal ones"),
        (np.ones((2, 9, 4)), "does not say how precise"),
    ],
)
def test_what_cannot_be_told_has_its_reason(n, reason):
    found = sequential_difference(lambda c, m: c / m, day_of(n), n)
    assert (found.status, found.ci_low, found.ci_high) == ("insufficient_data", None, None)
    assert reason in str(found.reason)


def test_rows_must_be_counts():
    with pytest.raises(ValueError, match="shape"):
        sequential_difference(lambda c: c, lambda t: ([], []), np.ones((3, 2, 2)))
    with pytest.raises(ValueError, match="counts"):
        sequential_difference(lambda c: c, lambda t: ([], []), -np.ones((2, 2, 2)))


def test_weights_and_errors():
    assert_allclose(weights_of_days([10, 30], [10, 10]), [5, 7.5])
    assert combined_error(1.0, 2.0, 3.0) == pytest.approx(2**0.5)


def test_the_days_named_are_the_first_that_do():
    found = SequentialDifference(0.8, 0.82, 0.02, -0.01, 0.05, 0.01, 20, 20.0, 400, 400)
    more = days_needed(found, 0.03)
    assert more is not None

    def bound(days: int) -> float:
        error = 0.01 * np.sqrt(20 / days)
        return float(interval_at(0.0, error, float(days))[1]) + stats.norm.ppf(0.8) * error

    assert bound(20 + more) <= 0.03 < bound(20 + more - 1)
    assert days_needed(found, 1e-9) is None
