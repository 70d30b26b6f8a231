"""Sixty daily looks at regressions and rankings that do not differ: how often chance is called a difference, and power.

What is summed is what the marts sum: absolute and squared errors of rows, NDCG of queries.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import ndcg_score

from metrics_py.evaluation.confidence_sequence import (
    FIRST_DAY,
    LEAST_EFFECTIVE,
    combined_error,
    effective_number,
    interval_at,
    sequential_difference,
    weights_of_days,
)
from tests.support.measured import interval, record

FloatArray = NDArray[np.float64]
SECTION = "Live comparison"
DAYS, BUCKETS, USERS, ROWS = 60, 64, 300, 120
RUNS = [120, pytest.param(1200, marks=pytest.mark.full)]
DISCOUNTS = 1 / np.log2(np.arange(2, 7))
Finish = Callable[[FloatArray], FloatArray]


def summed(user: Any, bucket: Any, version: Any, values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Sums and rows of one day by version and bucket; of a shadow (`version` is None) values of both, shape (2, n)."""
    total, n = np.zeros((2, BUCKETS)), np.zeros((2, BUCKETS))
    for v in (0, 1):
        here = slice(None) if version is None else version == v
        own = values[v] if version is None else values[here]
        n[v] = np.bincount(bucket[user[here]], minlength=BUCKETS)
        total[v] = np.bincount(bucket[user[here]], weights=own, minlength=BUCKETS)
    return total, n


def regression(rng: np.random.Generator, *, squared: bool, shadow: bool, gain: float = 0.0, sticky: bool = True):
    """Errors with heavy tails; days are more or less hard, users keep a habit, weekends are quiet."""
    habit, bucket = rng.normal(0, 0.5, USERS), rng.integers(0, BUCKETS, USERS)
    own, parts = rng.random(USERS) < 0.5, list[tuple[FloatArray, FloatArray]]()
    hard = np.exp(rng.normal(0, 0.15, DAYS))
    for t in range(DAYS):
        user = rng.integers(0, USERS, rng.poisson(ROWS if t % 7 < 5 else ROWS / 3))
        version = None if shadow else (own[user] if sticky else rng.random(len(user)) < 0.5)
        shape = (2, len(user)) if shadow else (len(user),)
        common = rng.standard_t(5, len(user))
        error = hard[t] * (0.8 * common + 0.6 * rng.standard_t(5, shape)) + habit[user]
        scale = np.array([[1.0], [1.0 - gain]]) if version is None else 1.0 - gain * version
        off = error * scale
        parts.append(summed(user, bucket, version, off**2 if squared else np.abs(off)))
    return (np.stack(each, axis=1) for each in zip(*parts, strict=True))


def ranking(rng: np.random.Generator, *, shadow: bool, gain: float = 0.0):
    """NDCG of lists of six; users ask for things that are hard or easy to rank."""
    habit, bucket = rng.normal(0, 0.5, USERS), rng.integers(0, BUCKETS, USERS)
    own, parts = rng.random(USERS) < 0.5, list[tuple[FloatArray, FloatArray]]()
    hard = rng.normal(0, 0.2, DAYS)
    for t in range(DAYS):
        user = rng.integers(0, USERS, rng.poisson(ROWS))
        version = None if shadow else own[user]
        relevance = np.maximum(rng.integers(-2, 4, (len(user), 6)), 0).astype(float)
        relevance[:, 0] = np.maximum(relevance[:, 0], 1.0)
        sharp = np.exp(-0.5 + habit[user] + hard[t])[:, None]
        seen = sharp * relevance + rng.normal(0, 0.7, relevance.shape)
        if version is None:
            scores = [seen + rng.normal(0, 0.7, seen.shape), seen + gain * relevance + rng.normal(0, 0.7, seen.shape)]
            values = np.stack([ndcg(relevance, each) for each in scores])
        else:
            values = ndcg(relevance, seen + gain * version[:, None] * relevance + rng.normal(0, 0.7, seen.shape))
        parts.append(summed(user, bucket, version, values))
    return (np.stack(each, axis=1) for each in zip(*parts, strict=True))


def ndcg(relevance: FloatArray, scores: FloatArray) -> FloatArray:
    """NDCG at 5 of lists with something relevant and no ties."""
    placed = np.take_along_axis(relevance, np.argsort(-scores, axis=1), axis=1)[:, :5]
    ideal = -np.sort(-relevance, axis=1)[:, :5]
    return (placed @ DISCOUNTS) / (ideal @ DISCOUNTS)


def looks(total: FloatArray, n: FloatArray, finish: Finish) -> tuple[FloatArray, FloatArray]:
    """Ends of the interval after each day: `sequential_difference` of ``finish(weighed mean)``, all days at once."""
    a, m = total.sum(axis=2), n.sum(axis=2)
    w, mean = weights_of_days(*m), a / m
    rest = (a[..., None] - total) / (m[..., None] - n)
    occupied = (n > 0).any(axis=0)
    weight, level = np.cumsum(w), np.cumsum(w * mean, axis=1)
    of_bucket = np.cumsum(w[:, None] * rest, axis=1)
    low, high = np.full(DAYS, -np.inf), np.full(DAYS, np.inf)
    for k in range(FIRST_DAY, DAYS + 1):
        effective = effective_number(w[:k])
        if effective < LEAST_EFFECTIVE:
            continue
        whole = level[:, k - 1]

        def difference(sums: FloatArray, over: FloatArray | float) -> FloatArray:
            found = finish(sums / over)
            return found[1] - found[0]

        days = difference(whole[:, None] - w[:k] * mean[:, :k], weight[k - 1] - w[:k])
        buckets = difference(of_bucket[:, k - 1], weight[k - 1])[occupied[:k].any(axis=0)]
        changed = whole[:, None, None] + w[:k, None] * (rest[:, :k] - mean[:, :k, None])
        cells = difference(changed, weight[k - 1])[occupied[:k]]
        parts = [(len(x) - 1) / len(x) * ((x - x.mean()) ** 2).sum() for x in (days, buckets, cells)]
        found = interval_at(difference(whole, weight[k - 1]), combined_error(*parts), effective)
        low[k - 1], high[k - 1] = float(found[0]), float(found[1])
    return low, high


WORLDS: dict[str, tuple[Callable[..., Any], dict[str, Any], Finish]] = {
    "regression, mean absolute error, A/B by user": (regression, {"squared": False, "shadow": False}, np.asarray),
    "regression, root mean squared error, shadow": (regression, {"squared": True, "shadow": True}, np.sqrt),
    "ranking, NDCG, A/B by user": (ranking, {"shadow": False}, np.asarray),
    "ranking, NDCG, shadow": (ranking, {"shadow": True}, np.asarray),
}
GAINS = {"regression": 0.12, "ranking": 0.25}


def test_the_sums_at_once_say_what_the_product_says():
    rng = np.random.default_rng(2025)
    make, options, finish = WORLDS["regression, root mean squared error, shadow"]
    total, n = make(rng, **options)
    low, high = looks(total, n, finish)
    for k in (7, 20, 60):
        found = sequential_difference(
            lambda c, m: np.sqrt(c / m), lambda t: ([total[0, t], n[0, t]], [total[1, t], n[1, t]]), n[:, :k]
        )
        np.testing.assert_allclose([found.ci_low, found.ci_high], [low[k - 1], high[k - 1]], rtol=1e-8)


def test_ndcg_here_is_that_of_scikit_learn():
    rng = np.random.default_rng(2026)
    relevance = np.maximum(rng.integers(-2, 4, (50, 6)), 0).astype(float)
    relevance[:, 0] += 1
    scores = rng.normal(size=relevance.shape)
    expected = [ndcg_score([y], [p], k=5) for y, p in zip(relevance, scores, strict=True)]
    np.testing.assert_allclose(ndcg(relevance, scores), expected, rtol=1e-12)


@pytest.mark.parametrize("runs", RUNS)
@pytest.mark.parametrize("case", WORLDS)
def test_sixty_looks_call_chance_a_difference_in_at_most_five_percent(case, runs):
    rng = np.random.default_rng([62, *case.encode()])
    make, options, finish = WORLDS[case]
    ever = 0
    for _ in range(runs):
        low, high = looks(*make(rng, **options), finish)
        ever += bool(((low > 0) | (high < 0)).any())
    name = "live-tasks-null-" + "-".join(case.replace(",", "").replace("/", "").split())
    promise = f"60 daily looks at versions that do not differ ({case}): ever significant at most 0.05"
    record(name, promise, {"ever significant": ever / runs}, runs, SECTION)
    assert interval(ever, runs)[0] <= 0.05, ever / runs


@pytest.mark.parametrize("runs", RUNS)
@pytest.mark.parametrize("case", WORLDS)
def test_a_real_gain_is_found(case, runs):
    rng = np.random.default_rng([63, *case.encode()])
    make, options, finish = WORLDS[case]
    gain = GAINS[case.partition(",")[0]]
    first: list[float] = []
    for _ in range(runs // 4):
        low, high = looks(*make(rng, **options, gain=gain), finish)
        won = np.flatnonzero(high < 0 if case.startswith("regression") else low > 0)
        first.append(float(won[0]) + 1 if len(won) else np.inf)
    found = {"found by day 60": float(np.mean(np.isfinite(first))), "median day": float(np.median(first))}
    of = f"errors smaller by {gain:.0%}" if case.startswith("regression") else f"scores that see {gain:g} more"
    name = "live-tasks-gain-" + "-".join(case.replace(",", "").replace("/", "").split())
    record(name, f"a real gain at {ROWS} rows a day is found by day 60 ({case}, {of})", found, runs // 4, SECTION)
    assert found["found by day 60"] > 0.5, found
