"""Acceptance 9: the slope of the loss against age, the cadence that follows from it, and when nothing is advised."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from metrics_py.retraining.cadence import best_interval, cadence, saving
from metrics_py.retraining.decay import decay
from tests.support.measured import interval, record

SECTION = "When to retrain"
RUNS = [40, pytest.param(300, marks=pytest.mark.full)]
WEEKS, SLOPE, COST, VALUE = 52, 0.002, 500.0, 20_000.0


def world(
    rng: np.random.Generator,
    trained: list[int],
    slope: float,
    *,
    weeks: int = WEEKS,
    luck: float = 0.002,
    season: float = 0.05,
) -> pl.DataFrame:
    """Losses of versions on every week after their training.

    A random walk and a season make weeks hard for all versions; one training succeeds better than another.
    """
    week = np.arange(weeks)
    difficulty = 0.3 + np.cumsum(rng.normal(0, 0.01, weeks)) + season * np.sin(2 * np.pi * week / 52)
    parts = []
    for number, start in enumerate(trained):
        after = week[week >= start]
        age = after - start + 0.5
        noise = rng.normal(0, luck) + rng.normal(0, 0.004, len(after))
        loss = difficulty[after] + slope * age + noise
        parts.append(pl.DataFrame({"version": f"v{number}", "window": after, "age": age, "loss": loss}))
    return pl.concat(parts)


SCHEDULES = {"3 versions": [0, 12, 24], "5 versions": [0, 8, 16, 24, 32], "10 versions": list(range(0, 40, 4))}


@pytest.mark.parametrize("runs", RUNS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_interval_of_the_slope_covers_it(schedule, runs):
    rng = np.random.default_rng([9, len(SCHEDULES[schedule])])
    covered = 0
    for _ in range(runs):
        found = decay(world(rng, SCHEDULES[schedule], SLOPE))
        assert found.ci_low is not None
        assert found.ci_high is not None
        covered += found.ci_low <= SLOPE <= found.ci_high
    record(
        f"retraining-slope-{schedule.replace(' ', '-')}",
        "the 95 % interval of the loss per week of age covers it in 0.91 to 0.99",
        {schedule: covered / runs},
        runs,
        SECTION,
    )
    low, high = interval(covered, runs)
    assert low <= 0.99, covered / runs
    assert high >= 0.91, covered / runs
    if runs >= 300:
        assert 0.91 <= covered / runs <= 0.99, covered / runs


def cost_rate(weeks: float, slope: float) -> float:
    return COST / weeks + VALUE * slope * weeks / 2


@pytest.mark.parametrize("runs", RUNS)
def test_the_advised_cadence_costs_hardly_more_than_the_best(runs):
    """Against what a person reads off the served model alone: its loss by week, whatever made the weeks hard."""
    rng = np.random.default_rng(91)
    best = float(best_interval(SLOPE, cost=COST, value=VALUE))
    regrets, naive = [], []
    for _ in range(runs):
        cells = world(rng, SCHEDULES["10 versions"], SLOPE)
        found = decay(cells)
        assert found.slope is not None
        assert found.ci_low is not None
        assert found.ci_high is not None
        assert found.change == "worse"
        advised = cadence(found.slope, found.ci_low, found.ci_high, cost=COST, value=VALUE)
        regrets.append(cost_rate(advised.interval, SLOPE) / cost_rate(best, SLOPE) - 1)
        served = cells.filter(version="v0")
        trend = np.polyfit(served["age"].to_numpy(), served["loss"].to_numpy(), 1)[0]
        weeks = min(float(best_interval(trend, cost=COST, value=VALUE)), float(WEEKS))
        naive.append(cost_rate(weeks, SLOPE) / cost_rate(best, SLOPE) - 1)
    regret = float(np.quantile(regrets, 0.9))
    measured = {"p90 regret": regret, "p90 regret by the served model's trend": float(np.quantile(naive, 0.9))}
    record(
        "retraining-cost", "cost above the best cadence's, at most 0.05 in nine of ten cases", measured, runs, SECTION
    )
    assert regret <= 0.05
    assert measured["p90 regret by the served model's trend"] > 5 * regret


@pytest.mark.parametrize("runs", RUNS)
def test_without_decay_a_schedule_is_advised_by_chance_only(runs):
    rng = np.random.default_rng(92)
    kinds = [decay(world(rng, SCHEDULES["5 versions"], 0.0)).change for _ in range(runs)]
    measured = {"advised": kinds.count("worse") / runs, "refused": kinds.count("not_measurable") / runs}
    record(
        "retraining-no-decay", "models that do not age: a schedule is advised in at most 0.05", measured, runs, SECTION
    )
    assert None not in kinds
    assert interval(kinds.count("worse"), runs)[0] <= 0.05, measured


@pytest.mark.parametrize("runs", RUNS)
def test_two_versions_are_always_refused(runs):
    rng = np.random.default_rng(93)
    found = [decay(world(rng, [0, 20], SLOPE)) for _ in range(runs)]
    assert {each.change for each in found} == {None}
    assert all("2 versions" in str(each.reason) for each in found)


def lived(rng: np.random.Generator, slope: float, shocks: float, policy: str, weeks: int = 4000) -> float:
    """Cost per week of a policy; a shock adds to the loss until the next training, and its size is measured.

    Where nothing decays the hybrid has no schedule, as none is advised; the schedule alone is four weeks then.
    """
    schedule = float(best_interval(slope, cost=COST, value=VALUE)) if slope else 4.0
    horizon = schedule / 2 if slope and not shocks else 1 / shocks if shocks else 1.0
    age, shock, spent = 0.0, 0.0, 0.0
    for _ in range(weeks):
        age += 1
        shock += 0.05 * (rng.random() < shocks)
        gap = slope * age + shock
        spent += VALUE * (slope * (age - 0.5) + shock)
        seen = gap + rng.normal(0, 0.004)
        due = (policy == "schedule" or (policy == "hybrid" and slope > 0)) and age >= round(schedule)
        pays = saving(seen, seen - 0.008, seen + 0.008, cost=COST, value=VALUE, horizon=horizon).pays
        if due or (policy in ("trigger", "hybrid") and pays):
            spent, age, shock = spent + COST, 0.0, 0.0
    return spent / weeks


@pytest.mark.parametrize("weeks", [4000, pytest.param(40_000, marks=pytest.mark.full)])
def test_schedule_trigger_and_both_cost_what_is_known_of_them(weeks):
    """A schedule is for steady ageing, a trigger for shocks; both together are never much worse than the better one."""
    cases = {"decay": (SLOPE, 0.0), "shocks": (0.0, 0.05), "both": (SLOPE, 0.05)}
    costs = {
        f"{case}: {policy}": lived(np.random.default_rng([94, k]), slope, shocks, policy, weeks)
        for case, (slope, shocks) in cases.items()
        for k, policy in enumerate(("schedule", "trigger", "hybrid"))
    }
    measured = {name: round(cost, 1) for name, cost in costs.items()}
    record("retraining-policies", "cost per week; on steady decay the least possible is 200", measured, weeks, SECTION)
    assert costs["decay: trigger"] <= 1.15 * costs["decay: schedule"], measured
    assert costs["shocks: trigger"] < 0.6 * costs["shocks: schedule"], measured
    for case in cases:
        assert costs[f"{case}: hybrid"] <= 1.15 * min(costs[f"{case}: schedule"], costs[f"{case}: trigger"]), measured
