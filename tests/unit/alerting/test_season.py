"""The season of the year: found where there is one, taken out of the values, and not mistaken for anything else."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from metrics_py.alerting import Engine, EngineConfig, replay
from metrics_py.alerting.changes import last_level_shift
from metrics_py.alerting.season import WEEKS_PER_YEAR, Season, yearly_harmonics

START = datetime(2023, 1, 2)


def weeks(n, seed, amplitude=0.0, harmonic=1, shifts=()):
    """Times and means of n weeks of unit noise."""
    time = np.arange(n) + 0.5
    means = np.random.default_rng(seed).standard_normal(n)
    means += amplitude * np.sin(2 * np.pi * harmonic * time / WEEKS_PER_YEAR + 0.7)
    for at, by in shifts:
        means[at:] += by
    return time, means


def season_of(coefficients, time):
    angle = 2 * np.pi * time / WEEKS_PER_YEAR
    basis = [np.sin(angle), np.sin(2 * angle), np.cos(angle), np.cos(2 * angle)]
    return sum(c * b for c, b in zip(coefficients, basis, strict=True))


@pytest.mark.parametrize("harmonic", [1, 2])
@pytest.mark.parametrize("n", [53, 104, 157])
def test_a_season_is_found_with_its_phase(n, harmonic):
    time, means = weeks(n, seed=[1, n, harmonic], amplitude=3, harmonic=harmonic)
    found, noise = yearly_harmonics(time, means)
    true = 3 * np.sin(2 * np.pi * harmonic * time / WEEKS_PER_YEAR + 0.7)
    assert np.sqrt(np.mean((season_of(found, time) - true) ** 2)) < 0.6
    assert 0.6 < noise < 1.6


@pytest.mark.parametrize("n", [53, 104])
@pytest.mark.parametrize("shifts", [(), ((20, 3.0),), ((15, 2.5), (40, -3.0)), ((10, 4), (25, -4), (45, 4))])
def test_level_shifts_are_no_season(n, shifts):
    believed = [yearly_harmonics(*weeks(n, seed=[2, n, s, len(shifts)], shifts=shifts))[0].any() for s in range(20)]
    assert sum(believed) <= 1


def test_a_season_is_found_beside_a_level_shift():
    time, means = weeks(110, seed=3, amplitude=3, shifts=((70, 5.0),))
    found, _ = yearly_harmonics(time, means)
    true = 3 * np.sin(2 * np.pi * time / WEEKS_PER_YEAR + 0.7)
    assert np.sqrt(np.mean((season_of(found, time) - true) ** 2)) < 0.7


def test_outlying_weeks_do_not_bend_the_season():
    time, means = weeks(104, seed=4, amplitude=3)
    spoilt = means.copy()
    spoilt[[10, 50, 90]] += 40
    clean, bent = (season_of(yearly_harmonics(time, y)[0], time) for y in (means, spoilt))
    assert np.abs(clean - bent).max() < 1.0


def test_constant_weeks_have_no_season():
    coefficients, noise = yearly_harmonics(np.arange(60) + 0.5, np.full(60, 2.0))
    assert not coefficients.any() and noise == 0


def test_half_empty_weeks_and_the_present_one_are_left_out():
    season = Season(1)
    rng = np.random.default_rng(5)
    one = np.array([0])
    for day in range(60 * 7 + 3):
        time = np.array([(day + 0.5) / 7])
        season.add(one, time, 3 * np.sin(2 * np.pi * time / WEEKS_PER_YEAR) + rng.standard_normal(1))
    assert season.due(one, np.array([60.4])).tolist() == [0]
    season.sum[0, 60] = 1e9
    assert season.fit(0, 60)
    assert season.at(one, np.array([WEEKS_PER_YEAR / 4]))[0] == pytest.approx(3, abs=0.5)
    assert not season.due(one, np.array([60.6])).size, "looked at a moment ago"
    assert not season.fit(0, 60), "the same weeks give the same season"


def test_the_latest_clear_shift_is_found():
    values = np.random.default_rng(6).standard_normal(180)
    assert last_level_shift(values) == 0
    values[120:] += 3
    assert last_level_shift(values) == pytest.approx(120, abs=3)
    assert last_level_shift(np.zeros(180)) == 0


# -- in the engine -----------------------------------------------------------------------------------------------------


def config():
    return EngineConfig.from_budget(1, timedelta(days=900), follows=("s",))


def stream(days, seed, amplitude=1.5):
    t = np.arange(days)
    return np.random.default_rng(seed).standard_normal(days) + amplitude * np.sin(2 * np.pi * t / 365.2425)


def evidence(values):
    return pl.DataFrame(
        {"stream": "s", "window_start": [START + timedelta(days=k) for k in range(len(values))], "value": values}
    )


def test_after_a_year_the_season_is_expected_and_a_shift_is_told_within_days():
    values = stream(520, 7)
    values[460:] += 3
    found = replay(evidence(values), config())
    last = found.incidents.row(-1, named=True)
    assert abs(last["change_point"] - START - timedelta(days=460)) <= timedelta(days=2)
    assert last["opened_at"] <= START + timedelta(days=474)
    quiet = found.streams.filter(pl.col("window_start").is_between(START + timedelta(days=380), START + timedelta(459)))
    assert quiet["status"].is_in(["ok", "warn"]).all()
    error = quiet["expected"].to_numpy() - 1.5 * np.sin(2 * np.pi * np.arange(380, 460) / 365.2425)
    assert np.sqrt(np.mean(error**2)) < 0.6, "what is shown as expected includes the season"
    assert np.allclose(quiet["value"].to_numpy(), values[380:460]), "values are shown as they came"
    member = found.members.row(-1, named=True)
    assert member["shift"] == pytest.approx(3, abs=1.2)
    since = values[460 : (last["opened_at"] - START).days + 1]
    assert member["level_after"] == pytest.approx(since.mean(), abs=0.8), "levels are told with the season"


def test_the_engine_goes_on_from_a_saved_state_with_its_season():
    values = stream(480, 8)
    straight, resumed = Engine(config()), Engine(config())
    for k, value in enumerate(values):
        straight.update(START + timedelta(days=k), {"s": value})
        if k % 90 == 0:
            resumed = Engine.from_state(json.loads(json.dumps(resumed.to_state())), config())
        resumed.update(START + timedelta(days=k), {"s": value})
    assert straight.states.season.sin1[0] != 0
    assert straight.to_state() == resumed.to_state()


def test_an_open_incident_waits_for_its_season():
    values = stream(400, 9, amplitude=0)
    values[350:] += 6
    engine = Engine(EngineConfig.from_budget(1, timedelta(days=900), new_normal_after=None))
    for k, value in enumerate(values):
        engine.update(START + timedelta(days=k), {"s": value})
    assert engine.lifecycle.columns.incident[0] >= 0
    assert engine.states.season.fitted[0] < 0, "its weeks are looked at when it is over"
