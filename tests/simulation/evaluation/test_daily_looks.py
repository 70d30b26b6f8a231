"""Sixty daily looks at two versions that run beside each other: how often chance is called a difference, and power."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from metrics_py.evaluation.confidence_sequence import (
    FIRST_DAY,
    LEAST_EFFECTIVE,
    combined_error,
    interval_at,
    sequential_difference,
    weights_of_days,
)
from tests.support.measured import interval, record

SECTION = "Live comparison"
DAYS, BUCKETS = 60, 64
RUNS = [400, pytest.param(4000, marks=pytest.mark.full)]
FloatArray = NDArray[np.float64]


def world(
    rng: np.random.Generator,
    *,
    rows: FloatArray | float = 500.0,
    share: FloatArray | float = 0.5,
    tau: float = 0.0,
    entity: float = 0.0,
    sticky: bool = False,
    gain: float = 0.0,
    days: int = DAYS,
    users: int = 640,
) -> tuple[FloatArray, FloatArray]:
    """Right answers and rows of both versions by day and bucket, shape (2, days, buckets).

    Parameters
    ----------
    rng : Generator
    rows : float or ndarray
        Of a day, both versions together.
    share : float or ndarray
        Of the challenger in a day's rows.
    tau : float
        Standard deviation of what a day does to the difference.
    entity : float
        Standard deviation of what a user keeps on all days.
    sticky : bool
        A user is answered by one version on all days.
    gain : float
        True difference of the shares of right answers.
    """
    rows, share = np.broadcast_to(rows, days), np.broadcast_to(share, days)
    habit = rng.normal(0, entity, users)
    bucket = rng.integers(0, BUCKETS, users)
    own = rng.random(users) < share[0]
    level, moved = 0.8 + rng.normal(0, 0.03, days), rng.normal(0, tau, days)
    right, n = np.zeros((2, days, BUCKETS)), np.zeros((2, days, BUCKETS))
    for t in range(days):
        user = rng.integers(0, users, rng.poisson(rows[t]))
        version = own[user] if sticky else rng.random(len(user)) < share[t]
        p = level[t] + habit[user] + version * (gain + moved[t])
        answer = rng.random(len(user)) < p
        for v in (0, 1):
            here = version == v
            n[v, t] = np.bincount(bucket[user[here]], minlength=BUCKETS)
            right[v, t] = np.bincount(bucket[user[here]], weights=answer[here], minlength=BUCKETS)
    return right, n


def looks(right: FloatArray, n: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Difference and interval after each day, by sums that grow: what `sequential_difference` says of a share."""
    is_told = ((n > 0).sum(axis=2) >= 2).all(axis=0)
    right, n = right[:, is_told], n[:, is_told]
    per_day, correct = n.sum(axis=2), right.sum(axis=2)
    w = weights_of_days(per_day[0], per_day[1])
    days = len(w)
    value = correct / per_day
    rest_n = per_day[..., None] - n
    rest = (correct[..., None] - right) / rest_n
    occupied = (n > 0).any(axis=0)
    difference = np.full(days, np.nan)
    low, high = np.full(days, -np.inf), np.full(days, np.inf)
    for k in range(FIRST_DAY, days + 1):
        total = w[:k].sum()
        d = value[1, :k] - value[0, :k]
        theta = (w[:k] @ d) / total
        effective = total**2 / (w[:k] ** 2).sum()
        difference[k - 1] = theta
        if effective < LEAST_EFFECTIVE:
            continue
        without_day = (theta * total - w[:k] * d) / (total - w[:k])
        without_cell = theta + w[:k, None] * ((rest[1, :k] - rest[0, :k]) - d[:, None]) / total
        without_bucket = (w[:k] @ (rest[1, :k] - rest[0, :k]))[occupied[:k].any(axis=0)] / total
        parts = [without_day, without_bucket, without_cell[occupied[:k]]]
        error = combined_error(*((len(x) - 1) / len(x) * ((x - x.mean()) ** 2).sum() for x in parts))
        found = interval_at(theta, error, effective)
        low[k - 1], high[k - 1] = float(found[0]), float(found[1])
    return difference, low, high


def test_the_sums_that_grow_say_what_the_product_says():
    rng = np.random.default_rng(2024)
    right, n = world(rng, rows=200.0, share=np.linspace(0.1, 0.6, 20), tau=0.02, entity=0.1, days=20)
    difference, low, high = looks(right, n)
    for k in (7, 13, 20):
        found = sequential_difference(
            lambda c, m: c / m, lambda t: ([right[0, t], n[0, t]], [right[1, t], n[1, t]]), n[:, :k]
        )
        expected = [difference[k - 1], low[k - 1], high[k - 1]]
        np.testing.assert_allclose([found.difference, found.ci_low, found.ci_high], expected, rtol=1e-9)


NULLS = {
    "half and half": {},
    "day effects": {"tau": 0.02},
    "canary of 5 %": {"share": 0.05, "rows": 1000.0},
    "a share that grows, traffic that changes": {"share": np.linspace(0.02, 0.6, DAYS)},
    "users with habits": {"entity": 0.1},
    "users with habits, one version each": {"entity": 0.1, "sticky": True},
    "the same, with day effects": {"entity": 0.1, "sticky": True, "tau": 0.02},
    "canary of 5 % of the users": {"share": 0.05, "rows": 1000.0, "entity": 0.1, "sticky": True, "users": 1000},
    "quiet weekends": {"rows": np.where(np.arange(DAYS) % 7 < 5, 600.0, 100.0), "tau": 0.02},
}


@pytest.mark.parametrize("runs", RUNS)
@pytest.mark.parametrize("case", NULLS)
def test_sixty_looks_call_chance_a_difference_in_at_most_five_percent(case, runs):
    rng = np.random.default_rng([60, *case.encode()])
    ever = superior = 0
    for _ in range(runs):
        _, low, high = looks(*world(rng, **NULLS[case]))
        ever += bool(((low > 0) | (high < 0)).any())
        superior += bool((low > 0).any())
    rates = {"ever significant": ever / runs, "ever superior": superior / runs}
    name = "live-null-" + "-".join(case.replace(",", "").replace(" %", "").split())
    record(name, "60 daily looks at versions that do not differ: ever significant at most 0.05", rates, runs, SECTION)
    assert interval(ever, runs)[0] <= 0.05, rates


@pytest.mark.parametrize("runs", RUNS)
@pytest.mark.parametrize("tau", [0.0, 0.02])
def test_a_real_gain_is_found_and_how_soon(runs, tau):
    rng = np.random.default_rng([61, round(100 * tau)])
    gain = 0.018
    first: list[float] = []
    for _ in range(runs // 4):
        _, low, _ = looks(*world(rng, rows=1000.0, gain=gain, tau=tau))
        won = np.flatnonzero(low > 0)
        first.append(float(won[0]) + 1 if len(won) else np.inf)
    found = {"found by day 60": float(np.mean(np.isfinite(first))), "median day": float(np.median(first))}
    of = "days alike" if tau == 0 else f"day effects of {tau:g}"
    promise = f"a gain of {gain:g} at 1,000 rows a day is found by day 60 ({of})"
    record(f"live-gain-{'alike' if tau == 0 else 'effects'}", promise, found, runs // 4, SECTION)
    assert found["found by day 60"] > (0.8 if tau == 0 else 0.5), found
    assert found["median day"] < (45 if tau == 0 else 60), found
