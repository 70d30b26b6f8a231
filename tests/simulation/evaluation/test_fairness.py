"""How often equal groups are called unequal, and how often the interval of the largest gap holds the true one."""

from __future__ import annotations

import numpy as np
import pytest

from metrics_py.evaluation.fairness import Rate, largest_gap
from tests.support.measured import interval, record

SECTION = "Fairness of a candidate"
RUNS = [100, pytest.param(2000, marks=pytest.mark.full)]
SIZES = {
    "2 groups of 200": [200, 200],
    "5 groups of 200": [200] * 5,
    "5 groups of 1,000": [1000] * 5,
    "12 groups of 5,000": [5000] * 12,
    "200, 5,000, 5,000, 1,000": [200, 5000, 5000, 1000],
}


def drawn(rng: np.random.Generator, sizes: list[int], shares: list[float], per_entity: int) -> Rate:
    """Rows of entities with a habit of their own: each counts with the probability of its entity."""
    total, n = np.zeros((len(sizes), 64)), np.zeros((len(sizes), 64))
    for g, (size, share) in enumerate(zip(sizes, shares, strict=True)):
        entities = max(size // per_entity, 1)
        habit = rng.beta(6 * share, 6 * (1 - share), entities) if per_entity > 1 else np.full(entities, share)
        entity = rng.integers(0, entities, size) if per_entity > 1 else np.arange(size)
        bucket = rng.integers(0, 64, entities)[entity]
        total[g] = np.bincount(bucket, weights=rng.random(size) < habit[entity], minlength=64)
        n[g] = np.bincount(bucket, minlength=64)
    return Rate(total, n)


@pytest.mark.parametrize("runs", RUNS)
@pytest.mark.parametrize("per_entity", [1, 4])
@pytest.mark.parametrize("share", [0.05, 0.3])
@pytest.mark.parametrize("sizes", SIZES)
def test_equal_groups_are_called_unequal_by_chance_only(sizes, share, per_entity, runs):
    rng = np.random.default_rng([18, len(sizes), round(100 * share), per_entity])
    own = SIZES[sizes]
    wrong = 0
    for _ in range(runs):
        found = largest_gap(
            {"share": drawn(rng, own, [share] * len(own), per_entity)}, [str(g) for g in range(len(own))]
        )
        wrong += found.ci_low > 0
    name = f"{sizes}, share {share:g}, {per_entity} row{'s' if per_entity > 1 else ''} per entity"
    promise = "a gap between equal groups is shown in at most 0.025"
    key = f"fairness-equal-{''.join(c for c in name if c.isalnum() or c == ' ').replace(' ', '-')}"
    record(key, promise, {name: wrong / runs}, runs, SECTION)
    assert interval(wrong, runs)[0] <= 0.025, wrong / runs


@pytest.mark.parametrize("runs", RUNS)
@pytest.mark.parametrize("sizes", ["5 groups of 200", "200, 5,000, 5,000, 1,000"])
def test_the_interval_holds_the_true_largest_gap(sizes, runs):
    rng = np.random.default_rng([19, len(sizes)])
    own = SIZES[sizes]
    shares = np.linspace(0.25, 0.35, len(own)).tolist()
    above = below = 0
    for _ in range(runs):
        found = largest_gap({"share": drawn(rng, own, shares, 2)}, [str(g) for g in range(len(own))])
        above += found.ci_low > 0.1 + 1e-9
        below += found.ci_high < 0.1 - 1e-9
    promise = "each end of the interval of the largest gap fails in at most 0.025"
    rates = {f"{sizes}: true gap below": above / runs, f"{sizes}: true gap above": below / runs}
    record(f"fairness-coverage-{len(own)}", promise, rates, runs, SECTION)
    assert interval(above, runs)[0] <= 0.025, rates
    assert interval(below, runs)[0] <= 0.025, rates
