"""More rows against fewer, and all history against the newest, where trainings that follow each other share rows."""

from __future__ import annotations

import numpy as np
import pytest

from metrics_py.retraining.paired import mean_difference
from tests.support.measured import interval, record

RUNS = [100, pytest.param(1500, marks=pytest.mark.full)]
INPUTS = 10


def losses(rng: np.random.Generator, blocks: int, rows: int, reach: int, way: str) -> tuple[list[float], list[float]]:
    """Squared error on each block of a least-squares fit on the `reach` blocks before it, and of another fit."""
    n = (reach + blocks) * rows
    x = rng.normal(size=(n, INPUTS))
    y = x.sum(axis=1) + 2 * rng.normal(size=n)
    first, second = [], []
    for block in range(1 if way == "all history" else 0, blocks):
        now = (reach + block) * rows
        newest = np.arange(now - reach * rows, now)
        pair = (newest[::2], newest) if way == "twice the rows" else (newest, np.arange(now))
        for found, chosen in zip((first, second), pair, strict=True):
            weights = np.linalg.lstsq(x[chosen], y[chosen], rcond=None)[0]
            judged = slice(now, now + rows)
            found.append(float(((y[judged] - x[judged] @ weights) ** 2).mean()))
    return first, second


@pytest.mark.parametrize("runs", RUNS)
@pytest.mark.parametrize("way", ["twice the rows", "all history"])
@pytest.mark.parametrize(("blocks", "rows", "reach"), [(8, 40, 3), (8, 40, 5), (5, 60, 4)])
def test_the_interval_of_the_difference_covers_it(way, blocks, rows, reach, runs):
    rng = np.random.default_rng([95, blocks, reach, len(way)])
    found = [losses(rng, blocks, rows, reach, way) for _ in range(runs)]
    truth = float(np.mean([np.mean(np.subtract(second, first)) for first, second in found]))
    intervals = [mean_difference(first, second) for first, second in found]
    covered = sum(each.ci_low <= truth <= each.ci_high for each in intervals)
    overlap = 1 - 1 / reach
    name = f"{way}, {blocks} blocks, {overlap:.2f} of the rows shared"
    record(
        f"retraining-paired-{way.replace(' ', '-')}-{blocks}-{reach}",
        "the 95 % interval of the difference covers it in 0.92 to 0.98",
        {name: covered / runs},
        runs,
        "When to retrain",
    )
    low, high = interval(covered, runs)
    assert low <= 0.98, covered / runs
    assert high >= 0.92, covered / runs
