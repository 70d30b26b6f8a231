"""Streams whose values are over several windows: the engine counts them as a monitor with windows that long does."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from metrics_py.alerting import Engine, EngineConfig, replay
from metrics_py.alerting.baseline import Baseline
from metrics_py.alerting.evidence import LAMBDAS
from tests.support.alerting import START, daily, day, log, noise

WEEKLY = {"strides": {"@7d": 7}}


def calm(**settings):
    """Ten years a false incident: what opens one in these tests is the change."""
    return EngineConfig.from_budget(1, timedelta(days=3650), **settings, **WEEKLY)


def by_week(values, name="x@7d"):
    """One value per week, in its Sunday."""
    rows = log(values, [name])
    return rows.with_columns(window_start=pl.Series([day(7 * k + 6) for k in range(len(values))]))


def test_the_warm_up_is_counted_in_values():
    found = replay(by_week(noise(40, seed=3)), daily(**WEEKLY)).streams.sort("window_start")
    assert found["status"].to_list()[:12] == ["insufficient_data"] * 12
    assert "insufficient_data" not in found["status"].to_list()[12:]


@pytest.mark.parametrize(
    ("hours", "ending", "stride", "expected"),
    [
        (24, "@7d", 7, (7, 12, 8, 4, 12, 4)),
        (1, "@24h", 24, (24, 28, 8, 7, 42, 10)),
        (24, "@2d", 2, (2, 28, 8, 7, 42, 10)),
    ],
)
def test_the_counts_are_those_of_windows_as_long(hours, ending, stride, expected):
    pace = daily(window=timedelta(hours=hours), strides={ending: stride}).pace(f"drift/x/skew{ending}")
    assert (pace.stride, pace.taught, pace.residuals, pace.back, pace.settled, pace.followed) == expected


def test_a_longer_warm_up_and_no_new_normal_hold_for_them_too():
    config = daily(warmup=140, new_normal_after=None, **WEEKLY)
    assert (config.pace("x@7d").taught, config.pace("x@7d").settled) == (20, 0)


@pytest.mark.parametrize("strides", [{"@7d": 1}, {"": 7}])
def test_impossible_strides_are_refused(strides):
    with pytest.raises(ValueError, match="give at least 2 windows"):
        daily(strides=strides)


def test_patterns_mean_a_stream_with_and_without_its_ending():
    config = daily(
        weights={"drift/x/skew": 4, "*@7d": 2}, references={"drift/*/skew": 0.0}, follows=("drift/x/skew",), **WEEKLY
    )
    assert [config.weight(f"drift/{name}") for name in ("x/skew@7d", "y/skew@7d", "y/skew")] == [4, 2, 1]
    assert config.reference("drift/y/skew@7d") == 0 and config.may_follow("drift/x/skew@7d")
    assert not config.may_follow("drift/y/skew@7d")


def test_a_shift_begins_in_the_first_window_of_its_stretch_and_is_found_in_the_first_of_them():
    values = noise(40, seed=4)
    values[30:] += 8
    found = replay(by_week(values), daily(**WEEKLY))
    incident = found.incidents.row(0, named=True)
    assert incident["opened_at"] == day(7 * 30 + 6)
    assert incident["change_point"] == found.members["change_point"][0] == day(7 * 30)


def test_every_value_is_credited_with_all_of_its_windows():
    """Of the same values M is seven times that of one-window streams: M' = (M + 7) e, from nothing on."""
    values = noise(60, seed=5)
    weeks = replay(by_week(values), daily(**WEEKLY)).streams.sort("window_start")
    config = EngineConfig.from_budget(1, timedelta(days=90 / 7), season=None, warmup=12, memory=182)
    plain = replay(log(values, ["x"]), config).streams.sort("window_start")
    assert weeks["z"].to_list() == pytest.approx(plain["z"].to_list(), nan_ok=True)
    assert weeks["evidence"].to_list() == pytest.approx((7 * plain["evidence"]).to_list())
    assert weeks["evidence"].max() > 7


def test_after_a_gap_the_credit_is_that_of_seven_values_at_most():
    engine = Engine(calm(), ["x@7d"])
    i = np.array([0])
    first = engine.config.index(START) + 6
    for k, value in enumerate(noise(30, seed=6).ravel()):
        engine.step(first + 7 * k, i, np.array([value]))
    up, down = engine.states.evidence.up.copy(), engine.states.evidence.down.copy()
    found = engine.step(first + 7 * 60, i, np.array([0.1]))
    e_up = np.exp(LAMBDAS * found.z[0] - LAMBDAS**2 / 2)
    e_down = np.exp(-LAMBDAS * found.z[0] - LAMBDAS**2 / 2)
    assert engine.states.evidence.up[0] == pytest.approx((up[0] + 49) * e_up, rel=1e-6)
    assert engine.states.evidence.down[0] == pytest.approx((down[0] + 49) * e_down, rel=1e-6)


def test_the_correlation_is_that_of_neighbouring_values():
    rng = np.random.default_rng(7)
    value, series = 0.0, []
    for _ in range(150):
        value = 0.7 * value + np.sqrt(1 - 0.49) * rng.standard_normal()
        series.append(value)
    weekly, plain = Baseline(1, 1), Baseline(1, 1)
    weekly.stride[:] = 7
    one, zero = np.array([0]), np.array([0.0])
    for baseline, step in ((weekly, 7), (plain, 1)):
        baseline.center[:] = series[0]
        for k, x in enumerate(series):
            at = np.array([step * k])
            prediction = baseline.predict(one, np.array([x]), zero, 0, at, baseline.correlations(one, one))
            baseline.teach(one, np.array([x]), zero, 0, at, prediction)
    assert weekly.correlations(one, one)[0] == plain.correlations(one, one)[0] > 0.5


def test_a_value_over_a_listed_day_neither_alarms_nor_teaches():
    values = noise(40, seed=8)
    values[30] = 1000.0
    in_the_week = day(7 * 30 + 2).date()
    found = replay(by_week(values), calm(holidays=[in_the_week]))
    row = found.streams.filter(window_start=day(7 * 30 + 6)).row(0, named=True)
    assert (row["status"], row["reason"], len(found.incidents)) == ("insufficient_data", "holiday", 0)
    assert found.streams["n_history"].max() == 39


def test_it_joins_the_incident_of_a_stream_that_changed_in_its_stretch():
    days, weeks = noise(7 * 40, seed=9), noise(40, seed=10)
    days[7 * 30 + 2 :] += 5
    weeks[30:] += 9
    rows = pl.concat([log(days, ["y"]), by_week(weeks)])
    found = replay(rows, calm())
    assert len(found.incidents) == 1
    assert found.incidents["streams"][0].to_list() == ["y", "x@7d"]


def test_a_muted_one_recovers_after_as_many_values_as_a_weekly_monitor_waits_for():
    values = noise(60, seed=11)
    values[30:32] += 9
    member = replay(by_week(values), calm()).members.row(0, named=True)
    assert (member["status"], member["ended_by"]) == ("closed", "recovered")
    assert member["ended_at"] - datetime(2025, 1, 6) <= timedelta(days=7 * 38)


def test_it_settles_at_a_new_level_after_twelve_values():
    values = 0.3 * noise(60, seed=12)
    values[30:] += 6
    member = replay(by_week(values), calm()).members.row(0, named=True)
    assert member["ended_by"] == "new normal"
    assert timedelta(days=7 * 12) <= member["ended_at"] - member["joined_at"] <= timedelta(days=7 * 16)


def test_a_saved_engine_goes_on_with_its_pace():
    rows = by_week(noise(60, seed=13))
    config = calm()
    whole = replay(rows, config, save_through=day(7 * 20))
    later = replay(rows.filter(pl.col("window_start") > day(7 * 20)), config, resume=whole.saved)
    assert_frame_equal(later.streams, whole.streams.filter(pl.col("window_start") > day(7 * 20)))
