"""Streams that may wander follow their level after an unattended incident; a return to the reference is no incident."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from metrics_py.alerting import Engine, EngineConfig, replay

START = datetime(2025, 1, 6)


def daily(**settings):
    """A budget of one in ten years: with it a single stream that does not change stays silent in these tests."""
    return EngineConfig.from_budget(1, timedelta(days=3650), **settings)


def log(values):
    """Evidence of one stream `s`, one value a day."""
    days = [START + timedelta(days=k) for k in range(len(values))]
    return pl.DataFrame({"stream": ["s"] * len(days), "window_start": days, "value": np.asarray(values, dtype=float)})


def noise(days, seed):
    return np.random.default_rng(seed).standard_normal(days)


def step(days, at, by, seed, until=None):
    values = noise(days, seed)
    values[at:until] += by
    return values


FOLLOWING = {"follows": ("s",)}


def test_a_wandering_stream_is_one_incident_and_then_followed():
    season = 2 * np.sin(2 * np.pi * np.arange(365) / 365)
    values = noise(365, 4) + season
    followed = replay(log(values), daily(**FOLLOWING))
    fixed_level = replay(log(values), daily())
    assert followed.incidents.height == 1
    assert followed.incidents["status"].to_list() == ["accepted"]
    assert followed.incidents["closed_by"].to_list() == ["new normal"]
    late = followed.streams.filter(pl.col("window_start") > START + timedelta(days=205))
    assert late["status"].is_in(["ok", "warn"]).all()
    assert (late["value"] - late["expected"]).mean() == pytest.approx(0, abs=1)
    assert (fixed_level.streams["status"] == "muted").sum() > (followed.streams["status"] == "muted").sum()


def test_a_followed_stream_still_tells_a_sudden_change():
    values = noise(365, 5) + 2 * np.sin(2 * np.pi * np.arange(365) / 365)
    values[300:] += 8
    found = replay(log(values), daily(**FOLLOWING))
    assert abs(found.incidents["change_point"].to_list()[-1] - START - timedelta(days=300)) <= timedelta(days=1)
    assert found.incidents.height == 2
    assert found.members["shift"].to_list()[-1] == pytest.approx(8, abs=2)


def test_a_followed_stream_recovers_to_the_level_before():
    values = noise(365, 7) + 2 * np.sin(2 * np.pi * np.arange(365) / 365)
    values[240:250] += 8
    found = replay(log(values), daily(**FOLLOWING))
    last = found.incidents.row(-1, named=True)
    assert (last["change_point"], last["closed_by"]) == (START + timedelta(days=240), "recovered")
    assert last["closed_at"] <= START + timedelta(days=265)


def test_a_person_who_accepts_pins_the_level():
    values = step(200, 100, 5.0, seed=4)
    opened = replay(log(values), daily(**FOLLOWING)).incidents.row(0, named=True)
    action = {"action": "accept", "incident": opened["incident_id"], "at": START + timedelta(days=120)}
    found = replay(log(values), daily(**FOLLOWING), [action])
    assert found.engine.states.baseline.near.tolist() == [0]
    assert found.incidents.height == 1


@pytest.mark.parametrize("reference", [0.0, float("-inf")])
def test_a_return_to_the_reference_makes_no_incident(reference):
    values = step(300, 100, 5.0, seed=5, until=200)
    settings = daily(follows=("s",), references={"s": reference})
    found = replay(log(values), settings)
    assert found.incidents["change_point"].to_list() == [START + timedelta(days=100)]
    returned = found.streams.filter(pl.col("reason").str.contains("towards the reference"))
    assert returned.height == 1
    assert returned["status"].to_list() == ["ok"]
    assert START + timedelta(days=200) <= returned["window_start"][0] <= START + timedelta(days=205)
    later = found.streams.filter(pl.col("window_start") > START + timedelta(days=230))
    assert later["expected"].mean() == pytest.approx(0, abs=0.7), "the baseline has moved along"
    assert replay(log(values), daily(follows=("s",))).incidents.height == 2, "without a reference it is told"


@pytest.mark.parametrize(("to", "n_incidents"), [(-5.0, 2), (10.0, 2), (2.5, 1)])
def test_only_moving_nearer_is_a_return(to, n_incidents):
    """From +5 through the reference 0 to -5, or farther away: told. Half of the way back: not."""
    values = step(300, 100, 5.0, seed=6, until=200)
    values[200:] += to
    found = replay(log(values), daily(follows=("s",), references={"s": 0.0}))
    assert found.incidents.height == n_incidents


def test_after_a_return_a_new_departure_is_told():
    values = step(400, 100, 5.0, seed=7, until=200)
    values[300:] += 5
    found = replay(log(values), daily(follows=("s",), references={"s": 0.0}))
    assert [start.date() for start in found.incidents["change_point"]] == [
        (START + timedelta(days=k)).date() for k in (100, 300)
    ]


def test_a_saved_engine_goes_on_following_identically():
    values = noise(340, 8) + 2 * np.sin(2 * np.pi * np.arange(340) / 365)
    config = daily(follows=("s",), references={"s": 0.0})
    straight, resumed = Engine(config), Engine(config)
    for k, value in enumerate(values):
        straight.update(START + timedelta(days=k), {"s": value})
        if k % 40 == 0:
            resumed = Engine.from_state(json.loads(json.dumps(resumed.to_state())), config)
        resumed.update(START + timedelta(days=k), {"s": value})
    assert straight.states.baseline.near.tolist() == [10]
    assert straight.to_state() == resumed.to_state()


def test_settings_of_following_are_checked():
    assert [daily(window=timedelta(hours=h)).follow_windows for h in (1, 24, 168)] == [240, 10, 4]
    with pytest.raises(ValueError, match="follow_windows is 1"):
        daily(follow_windows=1)
