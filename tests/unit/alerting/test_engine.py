"""The engine: incidents open, join, end and restart baselines; what is not counted."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from metrics_py.alerting import (
    Engine,
    replay,
)
from tests.support.alerting import daily, day, log, noise, shifted


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
    """Sixteen streams follow one slow swing of ten sd; its turns are single incidents, whoever notices when."""
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
    with pytest.raises(ValueError, match="use one of"):
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


def test_changes_of_one_column_within_days_are_one_incident_and_weeks_apart_two():
    values = noise(200, 3)
    values[100:, 0] += 6
    values[106:, 1] += 6
    values[140:, 2] += 6
    names = ["a/mean", "a/null", "a/spread"]
    grouped = replay(log(values, names, group=pl.lit("a")), daily())
    assert grouped.incidents["streams"].to_list() == [["a/mean", "a/null"], ["a/spread"]]
    assert grouped.incidents["change_point"].to_list() == [day(100), day(140)]
    alone = replay(log(values, names), daily())
    assert alone.incidents["streams"].to_list() == [["a/mean"], ["a/null"], ["a/spread"]]


def test_streams_that_go_up_and_down_together_are_one_incident():
    values = noise(220, 3)
    values[:, 1] = 0.95 * values[:, 0] + 0.3 * values[:, 1]
    values[100:, 0] += 6
    values[110:, 1:] += 6
    found = replay(log(values), daily()).incidents["streams"].to_list()
    assert found == [["s0", "s1"], ["s2"]]


def test_metrics_that_go_together_but_changed_months_apart_are_two_incidents():
    """The first change is small: it takes the incident of the second to be noticed, and is no part of it."""
    values = noise(260, 2, seed=21)
    values[:, 1] = 0.9 * values[:, 0] + 0.4 * values[:, 1]
    values[160:, 0] += 6
    values[100:, 1] += 3
    evidence = log(values, group=pl.lit("model_quality/")).with_columns(may_alarm=pl.col("window_start") >= day(165))
    found = replay(evidence, daily()).incidents.sort("change_point")
    assert found["streams"].to_list() == [["s1"], ["s0"]]
    assert abs(found["change_point"][0] - day(100)) <= timedelta(days=3) and found["change_point"][1] == day(160)


@pytest.mark.parametrize("seed", [23, 26, 31, 34])
def test_a_member_that_may_have_changed_with_the_others_is_told_to_have_done_so(seed):
    """Each by itself would be dated up to 23 days before the day on which all ten changed."""
    values = noise(130, 30, seed=seed)
    values[100:, :10] += 1.5
    found = replay(log(values), daily())
    (began,) = found.incidents["change_point"]
    assert found.members.height >= 10
    assert ((found.members["change_point"] - began).abs() <= timedelta(days=3)).all()


def test_streams_rejected_at_once_for_two_causes_are_two_incidents():
    values = noise(200, 3)
    values[80:, 0] += 5
    values[110:, 1:] += 5
    evidence = log(values).with_columns(may_alarm=pl.col("window_start") >= day(125))
    result = replay(evidence, daily())
    assert sorted(sorted(streams) for streams in result.incidents["streams"].to_list()) == [["s0"], ["s1", "s2"]]
    began = sorted(result.incidents["change_point"].to_list())
    assert abs(began[0] - day(80)) <= timedelta(days=3) and abs(began[1] - day(110)) <= timedelta(days=3)
    assert result.incidents["opened_at"].unique().to_list() == [day(125)]
    assert (result.incidents["evidence_days"] >= 90).all()


def test_an_incident_is_worth_a_whole_threshold_by_itself():
    """Of its first m members each has a share of 1 / m of the threshold, whatever was rejected for other causes."""
    rng = np.random.default_rng(7)
    streams, days = 30, 300
    values = noise(days, streams, seed=8)
    for stream in range(streams):
        values[int(rng.integers(60, 250)) :, stream] += rng.uniform(0.7, 4)
    found = replay(log(values), daily())
    assert len(found.incidents) >= 8
    for incident in found.incidents.to_dicts():
        first = found.members.filter(incident_id=incident["incident_id"], joined_at=incident["opened_at"])
        assert len(first) * first["evidence"].min() / streams >= 90 * (1 - 1e-9)


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


@pytest.mark.parametrize(
    ("lull", "again_after", "by", "incidents"),
    [(0.8, 0, 5.0, 1), (0.0, 0, 5.0, 2), (0.8, 0, -5.0, 2), (0.8, 5, 5.0, 2), (0.8, 15, 5.0, 2)],
    ids=["never back", "back", "opposite", "days later", "weeks later"],
)
def test_a_member_that_only_seemed_to_recover_returns_to_its_incident(lull, again_after, by, incidents):
    """One that was truly back, changes the other way, or days later has a cause of its own."""
    values = noise(150, 2, seed=2)
    values[100:, 0] += 5
    values[100:106, 1] += 5
    values[106:116, 1] = 0.2 * values[106:116, 1] + lull
    names = ["stays", "seemed"]
    [left] = replay(log(values, names), daily()).members.filter(stream="seemed").iter_rows(named=True)
    assert left["ended_by"] == "recovered"
    values[(left["ended_at"] - day(0)).days + 1 + again_after :, 1] += by
    members = replay(log(values, names), daily()).members
    assert members.filter(stream="stays")["status"].to_list() == ["accepted"]
    assert members.filter(stream="seemed")["status"].to_list() == ["closed", "open"]
    assert members["incident_id"].n_unique() == incidents
