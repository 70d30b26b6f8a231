"""Replay of the evidence.

Rows that repeat, come late or lack something; weights; what a state holds; the shape of the frames.
"""

from __future__ import annotations

import json
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from metrics_py.alerting import (
    INCIDENTS_SCHEMA,
    MEMBERS_SCHEMA,
    STREAMS_SCHEMA,
    Engine,
    EngineConfig,
    Statistic,
    replay,
)
from tests.support.alerting import START, daily, day, log, noise, shifted

# -- never twice -------------------------------------------------------------------------------------------------------


def test_repeated_and_late_rows_are_ignored_and_listed():
    frame = log(noise(60, 2))
    again = frame.filter(pl.col("window_start").is_between(day(20), day(30))).with_columns(value=pl.col("value") + 100)
    late = frame.filter(window_start=day(40), stream="s0").with_columns(window_start=day(35), decided_at=day(50))
    base = frame.with_columns(decided_at=pl.col("window_start"))
    both = pl.concat([base, again.with_columns(decided_at=pl.col("window_start")), late.select(base.columns)])
    result = replay(both, daily())
    assert result.streams.equals(replay(frame, daily()).streams)
    assert len(result.ignored) == 2 * 11 + 1
    assert set(result.ignored["reason"]) == {"repeated window", "earlier than a window already decided"}


def test_the_engine_ignores_and_names_late_statistics():
    engine = Engine(daily())
    values = noise(50)[:, 0]
    for k in range(50):
        engine.update(day(k), {"a": values[k]})
    state = json.dumps(engine.to_state())
    repeated = engine.update(day(49), {"a": 100.0})
    assert repeated.ignored == {"a": "repeated window"}
    late = engine.update(day(49), {"a": 100.0}, windows={"a": engine.config.index(day(10))})
    assert late.ignored == {"a": "earlier than a window already decided"}
    assert json.dumps(engine.to_state()) == state
    with pytest.raises(ValueError, match="before the last one decided"):
        engine.update(day(3), {"a": 1.0})


def test_insufficient_statistics_change_nothing_and_are_named():
    engine = Engine(daily())
    engine.update(day(0), {"a": 1.0, "b": 2.0})
    state = engine.to_state()
    decision = engine.update(day(1), {"a": Statistic(None, reason="30 rows, 200 needed"), "b": float("nan")})
    assert decision.insufficient == {"a": "30 rows, 200 needed", "b": "no value"}
    assert {**engine.to_state(), "decided": 0} == {**state, "decided": 0}
    with pytest.raises(ValueError, match="negative"):
        engine.update(day(2), {"a": Statistic(1.0, variance=-1.0)})


# -- budget and weights ------------------------------------------------------------------------------------------------


def test_weights_sum_to_one_and_favour_their_streams():
    engine = Engine(daily(weights={"important": 9.0}), ["important", "other"])
    np.testing.assert_allclose(engine.states.weight, [0.9, 0.1])
    engine.register(["third"])
    np.testing.assert_allclose(engine.states.weight, [9 / 11, 1 / 11, 1 / 11])
    with pytest.raises(ValueError, match="twice"):
        engine.register(["third"])


def test_update_and_replay_agree():
    values = shifted(130, streams=3, by=4.0)
    engine = Engine(daily())
    evidence = []
    for k in range(130):
        evidence.append(engine.update(day(k), {f"s{j}": values[k, j] for j in range(3)}).evidence)
    result = replay(log(values), daily())
    for j in range(3):
        np.testing.assert_array_equal(result.streams.filter(stream=f"s{j}")["evidence"], np.array(evidence)[:, j])
    assert [incident.incident_id for incident in engine.incidents] == result.incidents["incident_id"].to_list()


def test_state_of_another_version_or_season_is_refused():
    engine = Engine(daily(), ["a"])
    with pytest.raises(ValueError, match="replay the evidence log"):
        Engine.from_state({**engine.to_state(), "version": 99}, daily())
    with pytest.raises(ValueError, match="season or memory"):
        Engine.from_state(engine.to_state(), daily(memory=100))


# -- frames ------------------------------------------------------------------------------------------------------------


def test_an_empty_log_gives_empty_frames():
    result = replay(log(noise(1)).head(0), daily())
    assert result.streams.schema == STREAMS_SCHEMA
    assert result.incidents.schema == INCIDENTS_SCHEMA
    assert result.members.schema == MEMBERS_SCHEMA


def test_frames_have_no_nan_and_their_schema():
    result = replay(log(shifted(150, streams=4)), daily())
    for frame, schema in (
        (result.streams, STREAMS_SCHEMA),
        (result.incidents, INCIDENTS_SCHEMA),
        (result.members, MEMBERS_SCHEMA),
    ):
        assert frame.schema == schema
        for name, dtype in schema.items():
            if dtype == pl.Float64:
                assert not frame[name].is_nan().any(), name
    assert result.streams.filter(status="insufficient_data")["reason"].null_count() == 0


def test_time_zones_are_read_as_utc():
    frame = log(noise(40))
    aware = frame.with_columns(
        pl.col("window_start").dt.replace_time_zone("UTC").dt.convert_time_zone("America/New_York")
    )
    assert replay(aware, daily()).streams.equals(replay(frame, daily()).streams)


def test_missing_columns_are_refused():
    with pytest.raises(ValueError, match="value"):
        replay(pl.DataFrame({"stream": ["a"], "window_start": [START]}), daily())


def test_weekly_and_hourly_windows():
    weekly = EngineConfig.from_budget(1, timedelta(days=900), window=timedelta(days=7))
    week = pl.lit(START) + (pl.col("window_start") - START) * 7
    weeks = replay(log(shifted(60, at=45, by=8, seed=2)).with_columns(window_start=week), weekly)
    assert weeks.incidents["change_point"][0] == START + timedelta(days=45 * 7)
    hours = pl.DataFrame(
        {
            "stream": "a",
            "window_start": [START + timedelta(hours=k) for k in range(600)],
            "value": shifted(600, at=500, by=6)[:, 0] + 10 * np.sin(np.arange(600) * np.pi / 84),
        }
    )
    result = replay(hours, EngineConfig.from_budget(1, timedelta(days=90), window=timedelta(hours=1)))
    assert result.incidents["change_point"][0] == START + timedelta(hours=500)
    assert result.incidents["incident_id"][0].startswith("2025-01-26-")


def test_a_stream_with_a_pool_of_its_own_leaves_the_tails_of_the_others_alone():
    """A feed on which half of the labels fail to come now and then says nothing of how far a metric may stray."""
    rng = np.random.default_rng(341)
    values = rng.normal(size=(160, 7))
    values[:, 6] = rng.standard_t(1.5, size=160)
    frame = log(values, [f"s{k}" for k in range(7)])
    quiet = replay(frame.filter(pl.col("stream") != "s6"), daily()).engine.states.tails
    apart = replay(frame.with_columns(pool=(pl.col("stream") == "s6").cast(pl.Int64)), daily()).engine.states.tails
    together = replay(frame, daily()).engine.states.tails
    assert (apart.scale_low[0], apart.df_low[0]) == (quiet.scale_low[0], quiet.df_low[0])
    assert apart.sizes()[1] > 0
    assert together.scale_low[0] > quiet.scale_low[0] or together.df_low[0] < quiet.df_low[0]
