"""Acceptance 2, the null: alarms per stream and year, and incidents per monitor, stay within what was allowed."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from scipy.stats import chi2

from metrics_py.alerting import EngineConfig
from tests.simulation.alerting.worlds import (
    DAYS,
    FAMILIES,
    FIRST,
    UNSMOOTH,
    WARMUP,
    YEAR,
    World,
    autoregress,
    daily,
    gaussian,
    messy,
    seasonal,
    side_by_side,
    simulate,
    unit_noise,
)
from tests.support.measured import record

SECTION = "Alert budget"


def poisson_interval(count: int, confidence: float = 0.999) -> tuple[float, float]:
    """Exact interval of a Poisson mean."""
    tail = (1 - confidence) / 2
    low = chi2.ppf(tail, 2 * count) / 2 if count else 0.0
    return float(low), float(chi2.isf(tail, 2 * (count + 1)) / 2)


def holds(count: int, allowed: float, full: bool) -> bool:
    """Full size: the promise is shown (upper bound). A tenth: it is not refuted (lower bound)."""
    low, high = poisson_interval(count)
    return (high if full else low) <= allowed


@pytest.mark.parametrize("streams", [400, pytest.param(10_000, marks=pytest.mark.full)])
@pytest.mark.parametrize("c", [90, 365, 9000])
def test_alarms_per_stream_and_year(c, streams):
    """Every family, every stream with a budget of its own, tails pooled per 100 streams, state saved on the way."""
    measured, broken = {}, []
    for names in [list(FAMILIES)] if streams <= 1000 else [[name] for name in FAMILIES]:
        worlds = [
            FAMILIES[name](np.random.default_rng([20, len(name), len(FAMILIES)]), DAYS, streams) for name in names
        ]
        run = simulate(side_by_side(worlds), daily(c), own_budget=True, restart_at=WARMUP + 100)
        assert run.rejections.sum() == len(run.incidents)
        for k, name in enumerate(names):
            count = int(run.rejections[k * streams : (k + 1) * streams].sum())
            measured[name] = round(count / streams, 4)
            if not holds(count, streams * YEAR / c, streams >= 10_000):
                broken.append(name)
    promise = f"at most {YEAR / c:.4g} alarms per stream and year at c = {c} days"
    record(f"alert-null-c{c}", promise, measured, streams, SECTION)
    assert not broken, f"c = {c}: {broken} exceed {YEAR / c:.4g} alarms per stream: {measured}"


MONITORS = [20, pytest.param(200, marks=pytest.mark.full)]


def hold_the_budget(run, monitors: int, full: bool, slug: str, whose: str, case: str) -> None:
    """Record the incidents per monitor and 90 days in a year, and hold them against one."""
    count = len(run.incidents)
    rate = count / monitors * 90 / YEAR
    promise = f"at most 1 incident per 90 days{whose}"
    record(f"alert-monitor-{slug}", promise, {f"{case}: incidents per 90 days": round(rate, 3)}, monitors, SECTION)
    assert holds(count, monitors * YEAR / 90, full), f"{rate:.3f} incidents per 90 days"


@pytest.mark.parametrize("monitors", MONITORS)
@pytest.mark.parametrize(
    ("name", "family", "warmup"),
    [
        ("messy", messy, WARMUP),
        ("messy, default warm-up of 28 days", messy, 28),
        ("Gaussian", gaussian, WARMUP),
        ("AR(1) .6", FAMILIES["AR(1) .6"], WARMUP),
    ],
)
def test_incidents_per_monitor(monitors, name, family, warmup):
    """100 streams under `1 per 90d`: at most one incident per 90 days on average."""
    days = YEAR + warmup
    world = family(np.random.default_rng([21, warmup, len(name)]), days, 100 * monitors)
    run = simulate(world, daily(90, warmup=warmup, memory=128), restart_at=warmup + 50)
    slug = "".join(letter if letter.isalnum() else "-" for letter in name.lower())
    hold_the_budget(run, monitors, monitors >= 200, slug, " over 100 streams", name)


@pytest.mark.parametrize("monitors", [10, pytest.param(100, marks=pytest.mark.full)])
def test_incidents_when_half_the_streams_come_four_days_late(monitors):
    """Label streams lag: they share each day's common factor with streams already judged; the budget still holds."""
    world = messy(np.random.default_rng(22), DAYS, 100 * monitors)
    lag = np.where(np.arange(100 * monitors) % 2 == 0, 4, 0)
    run = simulate(world, daily(90, memory=128), lag=lag)
    whose = ", half of the 100 streams four days late"
    hold_the_budget(run, monitors, monitors >= 100, "lagged", whose, "messy, lagged")


@pytest.mark.parametrize("streams", [150, pytest.param(1500, marks=pytest.mark.full)])
def test_a_monitor_with_one_stream(streams):
    """No neighbours to learn the tails from: the prior (8 degrees of freedom, scale at least 1), default warm-up."""
    measured = {}
    for k, name in enumerate(["Gaussian", "t3", "messy", "AR(1) .6", "rate, 3 events a day"]):
        world = FAMILIES[name](np.random.default_rng([23, k]), 28 + YEAR, streams)
        run = simulate(world, daily(90, warmup=28), monitor=1)
        measured[name] = round(len(run.incidents) / streams, 3)
        assert holds(len(run.incidents), streams * YEAR / 90, streams >= 1500), name
    record(
        "alert-null-one-stream",
        f"at most {YEAR / 90:.3g} alarms a year, one stream per monitor, 28 days of warm-up, c = 90",
        measured,
        streams,
        SECTION,
    )


@pytest.mark.parametrize("streams", [60, pytest.param(600, marks=pytest.mark.full)])
@pytest.mark.parametrize("rho", [0.0, 0.5])
def test_hourly_windows(streams, rho):
    """Hour-of-week baseline, t6 noise, c = 2160 hours (90 days), 91 days after two weeks of warm-up."""
    rng = np.random.default_rng([24, int(10 * rho)])
    hours = 336 + 91 * 24
    noise = autoregress(unit_noise("t6", rng, (hours, streams)), np.full(streams, rho))
    world = World(noise + rng.standard_normal((168, streams))[np.arange(hours) % 168])
    config = EngineConfig.from_budget(1, timedelta(days=90), window=timedelta(hours=1))
    run = simulate(world, config, own_budget=True)
    record(
        f"alert-null-hourly-rho{int(10 * rho)}",
        "at most 1.01 alarms per stream in 91 days, hourly windows, c = 2160 hours",
        {f"t6, AR({rho:g})": round(len(run.incidents) / streams, 3)},
        streams,
        SECTION,
    )
    assert holds(len(run.incidents), streams * 91 / 90, streams >= 600)


@pytest.mark.parametrize("streams", [100, pytest.param(1000, marks=pytest.mark.full)])
def test_weekly_windows(streams):
    """No season, twelve weeks of warm-up, five years, `1 per 90d`: at most 20.2 alarms per stream."""
    measured = {}
    for rho in (0.0, 0.5):
        rng = np.random.default_rng([25, int(10 * rho)])
        noise = autoregress(unit_noise("t6", rng, (12 + 260, streams)), np.full(streams, rho))
        config = EngineConfig.from_budget(1, timedelta(days=90), window=timedelta(days=7))
        run = simulate(World(noise), config, own_budget=True)
        measured[f"t6, AR({rho:g})"] = round(len(run.incidents) / streams, 2)
        assert holds(len(run.incidents), streams * 260 * 7 / 90, streams >= 1000)
    promise = "at most 20.2 alarms per stream in 5 years, weekly windows, c = 12.9 weeks"
    record("alert-null-weekly", promise, measured, streams, SECTION)


@pytest.mark.parametrize("monitors", [10, pytest.param(100, marks=pytest.mark.full)])
@pytest.mark.parametrize("name", ["messy", "AR(1) .6", "rate, 3 events a day"])
def test_incidents_when_every_stream_follows_its_level(monitors, name):
    """As after unattended incidents: the one-step predictions of a followed level keep the budget too."""
    world = FAMILIES[name](np.random.default_rng([26, len(name)]), DAYS, 100 * monitors)
    run = simulate(world, daily(90, memory=128, follows=("*",)), follow_from=WARMUP)
    slug = "following-" + "".join(letter if letter.isalnum() else "-" for letter in name.lower())
    hold_the_budget(run, monitors, monitors >= 100, slug, " over 100 streams that all follow their level", name)


@pytest.mark.parametrize("monitors", [12, pytest.param(30, marks=pytest.mark.full)])
@pytest.mark.parametrize("name", list(UNSMOOTH))
def test_two_years_of_streams_that_no_smooth_law_fits(monitors, name):
    """40 streams a monitor; the second year by itself too, since a wrong law costs more the longer it is believed."""
    world = UNSMOOTH[name](np.random.default_rng([41, len(name)]), WARMUP + 2 * YEAR, 40 * monitors, monitor=40)
    run = simulate(world, daily(90), monitor=40)
    opened = np.array([incident.opened_at for incident in run.incidents], dtype=np.int64) - FIRST
    late = int((opened >= WARMUP + YEAR).sum())
    measured = {
        f"{name}: incidents per 90 days": round(len(opened) / monitors * 90 / (2 * YEAR), 3),
        f"{name}: in the second year": round(late / monitors * 90 / YEAR, 3),
    }
    slug = "".join(letter if letter.isalnum() else "-" for letter in name.lower())
    record(f"alert-unsmooth-{slug}", "at most 1 incident per 90 days, over two years", measured, monitors, SECTION)
    full = monitors >= 30
    assert holds(len(opened), monitors * 2 * YEAR / 90, full), measured
    assert holds(late, monitors * YEAR / 90, full), measured


@pytest.mark.parametrize("monitors", [8, pytest.param(20, marks=pytest.mark.full)])
@pytest.mark.parametrize("amplitude", [0.0, 1.0])
def test_the_years_after_a_season_was_learnt(monitors, amplitude):
    """Of three years the second and third: in the first, a season is a change to whoever has never seen one."""
    world = seasonal(amplitude)(np.random.default_rng([42, int(amplitude)]), WARMUP + 3 * YEAR, 40 * monitors)
    run = simulate(world, daily(90, follows=("*",)), monitor=40)
    opened = np.array([incident.opened_at for incident in run.incidents], dtype=np.int64) - FIRST
    late = int((opened >= WARMUP + YEAR).sum())
    share = float((run.engine.states.season.sin1 != 0).mean())
    measured = {
        f"season of {amplitude:g} sd: incidents per 90 days": round(late / monitors * 90 / (2 * YEAR), 3),
        f"season of {amplitude:g} sd: streams with a season": round(share, 3),
    }
    promise = "at most 1 incident per 90 days in the years after the first"
    record(f"alert-season-{amplitude:.0f}", promise, measured, monitors, SECTION)
    assert holds(late, monitors * 2 * YEAR / 90, monitors >= 20), measured
    assert share >= 0.95 if amplitude else share <= 0.05
