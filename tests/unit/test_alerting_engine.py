"""The engine and its replay: incidents open, join, end and restart baselines; what is not counted; what a state holds."""

from __future__ import annotations

import json
import time
from datetime import datetime, timedelta

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

START = datetime(2025, 1, 6)  # a Monday


def daily(**settings):
    return EngineConfig.from_budget(1, timedelta(days=90), **settings)


def day(k):
    return START + timedelta(days=int(k))


def log(values, names=None, **extra):
    """Evidence of shape (days, streams) as a frame; extra columns are broadcast or given per row."""
    values = np.asarray(values, dtype=float)
    values = values[:, None] if values.ndim == 1 else values
    days, streams = values.shape
    names = names or [f"s{k}" for k in range(streams)]
    frame = pl.DataFrame(
        {
            "stream": names * days,
            "window_start": [day(k) for k in range(days) for _ in range(streams)],
            "value": values.ravel(),
        }
    )
    return frame.with_columns(**extra)


def noise(days, streams=1, seed=1):
    return np.random.default_rng(seed).standard_normal((days, streams))


def shifted(days=200, at=100, by=5.0, streams=1, seed=1, until=None):
    values = noise(days, streams, seed)
    values[at:until] += by
    return values


# -- life cycle --------------------------------------------------------------------------------------------------------


def test_a_shift_opens_one_incident_with_its_change_point_and_size():
    result = replay(log(shifted(110)), daily())
    assert len(result.incidents) == 1
    incident = result.incidents.row(0, named=True)
    assert incident["change_point"] == day(100)
    assert day(100) <= incident["opened_at"] <= day(103)
    assert incident["incident_id"].startswith(f"{incident['opened_at']:%Y-%m-%d}-")
    assert incident["status"] == "open"
    assert incident["evidence_days"] >= 90
    assert incident["main_shift_low"] < 5 < incident["main_shift_high"]
    rows = result.streams.sort("window_start")
    opened = rows.filter(status="alert")
    assert opened["window_start"].to_list() == [incident["opened_at"]]
    after = rows.filter(pl.col("window_start") > incident["opened_at"])
    assert after["status"].unique().to_list() == ["muted"]
    assert after["incident_id"].unique().to_list() == [incident["incident_id"]]
    assert after["expected"].abs().max() < 2, "a muted stream is compared with its old level"


def test_a_stream_that_comes_back_ends_its_incident_and_forgets_it():
    result = replay(log(shifted(until=110)), daily())
    member = result.members.row(0, named=True)
    assert (member["status"], member["ended_by"]) == ("closed", "recovered")
    assert day(116) <= member["ended_at"] <= day(125)
    last = result.streams.sort("window_start").row(-1, named=True)
    assert last["status"] == "ok"
    gone = (member["ended_at"] - member["change_point"]).days + 1
    assert last["n_history"] == 200 - gone
    clean = replay(log(noise(200)), daily()).streams.sort("window_start").row(-1, named=True)
    assert last["expected"] == pytest.approx(clean["expected"], abs=0.5)


def test_a_settled_level_becomes_the_new_normal():
    result = replay(log(shifted(260)), daily())
    member = result.members.row(0, named=True)
    assert (member["status"], member["ended_by"]) == ("accepted", "new normal")
    assert member["ended_at"] - member["joined_at"] >= timedelta(days=42)
    last = result.streams.sort("window_start").row(-1, named=True)
    assert last["expected"] == pytest.approx(5, abs=1.0)
    assert len(result.incidents) == 1


def test_without_the_automatic_rule_the_incident_stays_open():
    result = replay(log(shifted(400)), daily(new_normal_after=None))
    assert result.incidents["status"].to_list() == ["open"]


def test_a_level_that_keeps_moving_is_not_taken_as_normal():
    values = noise(220)
    values[100:, 0] += np.arange(120) * 0.2
    result = replay(log(values), daily())
    assert result.incidents["status"].to_list() == ["open"]


def test_a_season_is_one_incident_and_not_two_hundred():
    """Sixteen streams follow one slow swing of ten sd; its turns are single incidents, whichever streams notice when."""
    days = 365
    swing = 10 * (1 - np.cos(2 * np.pi * np.clip(np.arange(days) - 60, 0, None) / 305)) / 2
    values = noise(days, 16) + swing[:, None] * np.linspace(0.3, 1, 16)
    names = [f"drift/temperature/{k}" for k in range(16)]
    result = replay(log(values, names, group=pl.lit("temperature")), daily())
    assert 1 <= len(result.incidents) <= 3
    assert len(replay(log(values, names, group=pl.lit("temperature")), daily(new_normal_after=None)).incidents) == 1


@pytest.mark.parametrize(("action", "status"), [("accept", "accepted"), ("fixed", "fixed")])
def test_actions_end_an_incident(action, status):
    evidence = log(shifted(140))
    before = replay(evidence, daily())
    name = before.incidents["incident_id"][0]
    result = replay(evidence, daily(), [{"action": action, "incident": name, "at": day(120)}])
    member = result.members.filter(incident_id=name).row(0, named=True)
    assert (member["status"], member["ended_by"]) == (status, "user")
    assert member["ended_at"] == day(119), "in force from the first window that ends after the action"
    row = result.streams.filter(window_start=day(120)).row(0, named=True)
    assert not row["muted"]
    if action == "accept":
        assert row["expected"] == pytest.approx(5, abs=1.5)
        assert len(result.incidents) == 1
    else:
        assert row["expected"] == pytest.approx(0, abs=1.5)
        assert len(result.incidents) == 2, "it was not fixed after all"


def test_an_action_after_the_last_window_counts_at_once():
    evidence = log(shifted(110))
    name = replay(evidence, daily()).incidents["incident_id"][0]
    result = replay(evidence, daily(), [{"action": "accept", "incident": name, "at": datetime(2030, 1, 1)}])
    assert result.incidents["status"].to_list() == ["accepted"]
    assert result.unapplied_actions == []


def test_an_action_follows_all_that_was_decided_with_its_window():
    """A backlog is decided at once: what is then called fixed must not be found broken by the rest of the backlog."""
    frame = log(shifted(110)).with_columns(decided_at=pl.max_horizontal("window_start", pl.lit(day(70))))
    frame = frame.with_columns(
        decided_at=pl.when(pl.col("window_start") > day(90)).then(pl.lit(day(109))).otherwise("decided_at")
    )
    name = replay(frame, daily()).incidents["incident_id"][0]
    said = {"action": "fixed", "incident": name, "at": day(109) + timedelta(hours=12)}
    result = replay(frame, daily(), [said])
    assert result.incidents["status"].to_list() == ["fixed"]
    assert result.members["status"].to_list() == ["fixed"]


def test_unknown_incidents_and_actions_are_told():
    evidence = log(noise(60))
    action = {"action": "accept", "incident": "2025-01-01-abcdef", "at": day(50)}
    assert replay(evidence, daily(), [action]).unapplied_actions == [action]
    with pytest.raises(ValueError, match="'accept' or 'fixed'"):
        replay(evidence, daily(), [{**action, "action": "ignore"}])
    with pytest.raises(ValueError, match="no time"):
        replay(evidence, daily(), [{"action": "accept", "incident": "x"}])
    with pytest.raises(KeyError, match="unknown"):
        Engine(daily()).accept("2025-01-01-abcdef")


def test_streams_that_move_together_are_one_incident():
    values = noise(120, 40)
    values[100:, :12] += 3
    result = replay(log(values), daily())
    assert len(result.incidents) == 1
    assert set(result.incidents["streams"][0]) >= {f"s{k}" for k in range(12)}
    assert result.incidents["n_streams"][0] <= 14
    assert result.incidents["change_point"][0] == day(100)


def test_a_later_rejection_of_the_same_column_joins_and_another_column_does_not():
    values = noise(160, 3)
    values[100:, 0] += 6
    values[130:, 1] += 6
    values[130:, 2] += 6
    joint = replay(log(values, ["a/mean", "a/null", "b"]).with_columns(group=pl.col("stream").str.slice(0, 1)), daily())
    first = joint.incidents["streams"].to_list()
    assert first[0] == ["a/mean"] or first == [["a/mean", "a/null"], ["b"]]
    alone = values[:, :2]
    joined = replay(log(alone, ["a/mean", "a/null"], group=pl.lit("a")), daily())
    assert joined.incidents["streams"].to_list() == [["a/mean", "a/null"]]
    apart = replay(log(alone, ["a/mean", "a/null"]), daily())
    assert len(apart.incidents) == 2


# -- what is not judged ------------------------------------------------------------------------------------------------


def test_warm_up_missing_values_and_holidays_are_insufficient_data():
    values = noise(60)
    values[40] = np.nan
    frame = log(values).with_columns(reason=pl.when(pl.col("value").is_nan()).then(pl.lit("12 rows, 200 needed")))
    result = replay(frame, daily(holidays=[day(45).date()]))
    rows = {row["window_start"]: row for row in result.streams.iter_rows(named=True)}
    assert rows[day(10)]["status"] == "insufficient_data"
    assert rows[day(10)]["reason"].startswith("warm-up")
    assert rows[day(27)]["status"] == "insufficient_data"
    assert rows[day(28)]["status"] == "ok"
    assert (rows[day(40)]["status"], rows[day(40)]["reason"]) == ("insufficient_data", "12 rows, 200 needed")
    assert (rows[day(45)]["status"], rows[day(45)]["reason"]) == ("insufficient_data", "holiday")
    assert rows[day(59)]["n_history"] == 58


def test_a_holiday_neither_alarms_nor_teaches():
    values = noise(120)
    values[100] = 1000.0
    quiet = replay(log(values), daily(holidays=[day(100).date()]))
    assert len(quiet.incidents) == 0
    without = replay(log(np.delete(values, 100, axis=0)[:100]), daily())
    assert (
        quiet.streams.filter(window_start=day(99))["expected"][0]
        == without.streams.filter(window_start=day(99))["expected"][0]
    )
    assert len(replay(log(values), daily()).incidents) == 1


def test_missing_windows_count_as_time_but_not_more_than_a_week():
    values = noise(80)
    gone = np.isin(np.arange(80), range(60, 75))
    whole, holed = (
        replay(frame, daily()).streams.sort("window_start") for frame in (log(values), log(values).filter(~gone))
    )
    before = holed.filter(window_start=day(59))["evidence"][0]
    after = holed.filter(window_start=day(75)).row(0, named=True)
    lam = np.array([0.5, 1, 1.5, 2, 3])
    most = (before * 10 + 7) * np.exp(lam * abs(after["z"]) - lam**2 / 2).max()
    assert 0 < after["evidence"] < most
    assert holed.filter(window_start=day(59)).equals(whole.filter(window_start=day(59)))


def test_a_constant_stream_may_change_once_without_an_alarm():
    values = np.zeros(120)
    values[100] = 1.0
    result = replay(log(values), daily())
    assert len(result.incidents) == 0
    moved = np.zeros(140)
    moved[100:] = 1.0 + noise(40)[:, 0] * 0.01
    assert len(replay(log(moved), daily()).incidents) == 1, "it may not stay changed unnoticed"


def test_a_half_empty_first_day_does_not_blind_the_stream():
    values = noise(120)
    values[0] = -200.0
    values[100:] += 4
    result = replay(log(values), daily())
    assert result.incidents["change_point"].to_list() == [day(100)]
    rows = result.streams.sort("window_start")
    assert rows["status"][28] == "insufficient_data", "the warm-up lasts one window longer"
    assert rows["status"][29] == "ok"
    clean = replay(log(values[1:]).with_columns(window_start=pl.col("window_start") + timedelta(days=1)), daily())
    both = rows.filter(pl.col("window_start") > day(30)).join(clean.streams, on="window_start")
    np.testing.assert_allclose(both["expected"], both["expected_right"])


def test_the_practical_gate_only_removes_alarms():
    values = shifted(120)
    gated = replay(log(values, may_alarm=pl.lit(False)), daily())
    assert len(gated.incidents) == 0
    late = log(values).with_columns(may_alarm=pl.col("window_start") >= day(110))
    assert replay(late, daily()).incidents["opened_at"].to_list() == [day(110)]


def test_a_stream_that_begins_later_warms_up_by_itself():
    values = noise(150, 2)
    values[:80, 1] = np.nan
    values[140:, 1] += 8
    frame = log(values).filter(~pl.col("value").is_nan())
    result = replay(frame, daily())
    late = result.streams.filter(stream="s1").sort("window_start")
    assert late["status"][:28].unique().to_list() == ["insufficient_data"]
    assert late["status"][28] == "ok"
    assert result.incidents["streams"].to_list() == [["s1"]]


def test_labels_that_come_late_are_decided_when_they_come():
    """`decided_at` keeps published decisions: the row counts at its own decision, about its own window."""
    values = noise(120, 2, seed=4)
    values[100:, 1] += 8
    lagged = pl.when(pl.col("stream") == "s1").then(pl.col("window_start") + timedelta(days=4))
    frame = log(values).with_columns(decided_at=lagged.otherwise(pl.col("window_start")))
    result = replay(frame, daily())
    incident = result.incidents.row(0, named=True)
    assert incident["streams"] == ["s1"]
    assert incident["change_point"] == day(100)
    assert incident["opened_at"] >= day(104)
    on_time = frame.filter(pl.col("decided_at") <= day(90))
    stable = ["stream", "window_start", "decided_at"]
    assert (
        replay(on_time, daily())
        .streams.sort(stable)
        .equals(result.streams.filter(pl.col("decided_at") <= day(90)).sort(stable))
    )


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
    np.testing.assert_allclose(engine.weight, [0.9, 0.1])
    engine.register(["third"])
    np.testing.assert_allclose(engine.weight, [9 / 11, 1 / 11, 1 / 11])
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


def test_a_year_of_200_streams_replays_in_seconds():
    frame = log(noise(365, 200))
    began = time.perf_counter()
    replay(frame, daily())
    assert time.perf_counter() - began < 6, "about half a second on an idle core"


def test_a_muted_stream_that_gets_worse_shows_in_its_latest_effect():
    values = shifted(130, at=100, by=5.0)
    values[120:] += 20
    result = replay(log(values), daily())
    [member] = result.members.iter_rows(named=True)
    assert member["effect"] == pytest.approx(5, abs=2)
    assert member["latest_effect"] == pytest.approx(25, abs=5)
    assert member["moved_again_at"] == day(120)
    assert member["moved_again_effect"] == pytest.approx(25, abs=5)


def test_a_spike_of_one_window_tells_when_it_was_over():
    [member] = replay(log(shifted(110, at=100, by=30.0, until=101)), daily()).members.iter_rows(named=True)
    assert (member["change_point"], member["moved_again_at"]) == (day(100), day(101))


def test_a_muted_stream_that_stays_has_no_second_change_and_one_that_returns_tells_when():
    stays, returns = shifted(115, at=100, by=6.0), shifted(140, at=100, by=8.0, until=110)
    [member] = replay(log(stays), daily()).members.iter_rows(named=True)
    assert (member["moved_again_at"], member["moved_again_effect"]) == (None, None)
    [member] = replay(log(returns), daily()).members.iter_rows(named=True)
    assert member["status"] == "closed"
    assert member["moved_again_at"] == day(110)
    assert member["moved_again_effect"] == pytest.approx(0, abs=1)


@pytest.mark.parametrize(("until", "ended"), [(None, "new normal"), (115, "recovered")])
def test_holidays_do_not_keep_an_incident_open(until, ended):
    """A day off in every week: the windows beside them count, as many as without."""
    values = shifted(200, at=100, by=6.0, until=until)
    holidays = frozenset(day(k).date() for k in range(104, 200, 7))
    plain = replay(log(values), daily()).incidents.row(0, named=True)
    found = replay(log(values), daily(holidays=holidays)).incidents.row(0, named=True)
    assert (plain["closed_by"], found["closed_by"]) == (ended, ended)
    assert timedelta(0) <= found["closed_at"] - plain["closed_at"] <= timedelta(days=14)
