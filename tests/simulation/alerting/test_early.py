"""A step early in a monitor's life: the changed windows must not teach a correlation that explains them away."""

from __future__ import annotations

import numpy as np
import pytest

from tests.simulation.alerting.worlds import daily, gaussian, simulate
from tests.support.measured import record

STREAMS, WATCHED = 49, 30
FOUND = {(30, 2): 0.45, (30, 3): 0.92, (30, 5.8): 0.97, (45, 2): 0.9, (45, 3): 0.97, (45, 5.8): 0.97}
"""Share of the monitors in which the step is an incident within 30 days, by the days before it and its size."""


@pytest.mark.parametrize("monitors", [20, pytest.param(200, marks=pytest.mark.full)])
@pytest.mark.parametrize(("before", "shift"), list(FOUND))
def test_a_step_in_one_stream_is_found_within_a_month(before, shift, monitors):
    rng = np.random.default_rng([31, before, int(10 * shift)])
    world = gaussian(rng, before + WATCHED, monitors * STREAMS)
    chosen = np.arange(monitors) * STREAMS + rng.integers(0, STREAMS, monitors)
    world.values[before:, chosen] += shift
    run = simulate(world, daily(90, warmup=28, memory=128), monitor=STREAMS, watch_from=before)
    first = run.first_alarm[chosen]
    found = float((first >= 0).mean())
    days = np.where(first >= 0, first - before + 1, 10 * WATCHED)
    measured = {"found within 30 days": round(found, 3), "median days": float(np.median(days))}
    promise = f"in {FOUND[before, shift]:.0%} of monitors at least"
    name = f"{shift} sd in one of {STREAMS} Gaussian streams after {before} days"
    record(f"alert-early-{before}-{int(10 * shift)}", f"{name}: {promise}", measured, monitors, "Alert budget")
    share = FOUND[before, shift] if monitors >= 200 else FOUND[before, shift] - 0.25
    assert found >= share
