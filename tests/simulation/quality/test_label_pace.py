"""Labels that become slower: found by the stream of arrivals, and how often it alarms where nothing changed."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from scipy.stats import gamma

from metrics_py.alerting import EngineConfig
from metrics_py.quality.label_pace import arrivals
from tests.simulation.alerting.worlds import WARMUP, World, simulate
from tests.support.acceptance import check
from tests.support.measured import record

SECTION = "Delayed labels"
STREAMS, CHANGE, AFTER, PER_DAY = 40, 200, 45, 3000
HORIZON = 60


def law(mean: float) -> np.ndarray:
    """Delays in days: gamma of shape 2, made at any hour of their day."""
    hours = np.linspace(0, 1, 24, endpoint=False)[:, None]
    upto = gamma.cdf(np.arange(HORIZON + 1)[None] - hours, 2, scale=mean / 2).mean(axis=0)
    return np.append(np.diff(upto), 1 - upto[-1])


def stream(rng: np.random.Generator, slower: float, labelled: float) -> tuple[np.ndarray, np.ndarray]:
    """Logarithms of arrived over expected labels, and their variances, by day."""
    days = CHANGE + AFTER
    usual, slow = law(10.0), law(10.0 * slower)
    made = rng.poisson(PER_DAY * np.exp(0.1 * rng.standard_normal(days))).astype(float)
    rows = [rng.multinomial(rng.binomial(int(n), labelled), usual if d < CHANGE else slow) for d, n in enumerate(made)]
    triangle = np.stack(rows).astype(float)
    found = np.array([arrivals(triangle, made, at) for at in range(days)])
    observed, expected = found.T
    return np.log((observed + 0.5) / (expected + 0.5)), 1 / (expected + 0.5)


def share_found(runs: int, slower: float, labelled: float, seed: int) -> tuple[int, float]:
    """Monitors in which the stream of arrivals alarms within `AFTER` days, beside 39 others; and the median delay."""
    rng = np.random.default_rng([seed, int(100 * slower), int(100 * labelled)])
    values = rng.standard_normal((CHANGE + AFTER, runs * STREAMS))
    variance = np.zeros_like(values)
    own = np.arange(runs) * STREAMS
    for k in own:
        values[:, k], variance[:, k] = stream(rng, slower, labelled)
    values[~np.isfinite(values)] = 0.0
    known = np.where(np.isfinite(variance), variance, 0.0)
    skipped = 40  # days until delays are learnt
    config = EngineConfig(threshold_windows=90, window=timedelta(days=1), warmup=WARMUP, memory=182)
    apart = np.where(np.isin(np.arange(runs * STREAMS), own), runs + np.arange(runs * STREAMS) // STREAMS, 0)
    pools = np.where(apart > 0, apart, np.arange(runs * STREAMS) // STREAMS)
    world = World(values[skipped:], known[skipped:])
    run = simulate(world, config, monitor=STREAMS, watch_from=CHANGE - skipped, pools=pools)
    first = run.first_alarm[own]
    waited = first[first >= 0] - (CHANGE - skipped) + 1
    return int((first >= 0).sum()), float(np.median(waited)) if len(waited) else np.nan


def judge(runs: int, seed: int) -> None:
    measured: dict[str, object] = {}
    for slower, labelled, missed in ((1.25, 0.06, 0.25), (1.25, 0.2, 0.05), (1.5, 0.06, 0.05)):
        found, days = share_found(runs, slower, labelled, seed)
        case = f"{slower} times as slow, {PER_DAY * labelled:.0f} labels a day"
        measured[f"{case}: found within {AFTER} days"] = round(found / runs, 3)
        measured[f"{case}: median days"] = days
        check(runs - found, runs, missed, case)
    alarms, _ = share_found(runs, 1.0, 0.2, seed + 1)
    measured[f"unchanged: an alarm of this stream within {AFTER} days"] = round(alarms / runs, 3)
    check(alarms, runs, 0.05, "unchanged")
    record(
        "label_pace",
        "labels (delays gamma, 10 days in the mean) that become 1.25 times as slow are found within 45 days by one of "
        "40 streams under 1 per 90d: of 600 a day in 0.95, of 180 in 0.75; unchanged ones alarm in at most 0.05",
        measured,
        runs,
        SECTION,
    )


def test_slower_labels_are_found():
    judge(20, seed=321)


@pytest.mark.full
def test_slower_labels_are_found_in_full():
    judge(200, seed=322)
