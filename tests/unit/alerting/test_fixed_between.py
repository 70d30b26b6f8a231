"""An incident whose bad windows a person names: those alone are kept out of the baselines."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from metrics_py.alerting import EngineConfig, replay
from metrics_py.alerting.engine import Engine

DAYS = [datetime(2026, 1, 5, tzinfo=UTC) + timedelta(days=k) for k in range(120)]
CONFIG = EngineConfig.from_budget(1, timedelta(days=90))
BAD = range(60, 64)
NAMED = tuple(DAYS[k].replace(tzinfo=None) for k in (64, 69))
"""First and last day of those that are judged after somebody has called them bad."""


def log(until: int, seed: int = 11, bad: range = BAD) -> pl.DataFrame:
    value = np.random.default_rng(seed).normal(size=len(DAYS))
    value[list(bad)] += 9
    return pl.DataFrame({"stream": "x", "window_start": DAYS, "value": value}).head(until)


def opened(rows: pl.DataFrame) -> dict[str, Any]:
    [incident] = replay(rows, CONFIG).incidents.to_dicts()
    return incident


def fixed(incident: str, at: datetime, bad: tuple[datetime | None, datetime] | None) -> dict[str, Any]:
    return {"action": "fixed", "incident": incident, "at": at, **({"bad": bad} if bad else {})}


def baseline(engine: Engine) -> tuple[float, float]:
    """Taught windows and their mean."""
    states = engine.states
    taught = states.history.weight[0] > 0
    return float(taught.sum()), float(states.history.value[0][taught].mean())


def test_only_the_named_windows_stay_out_of_the_baseline():
    until = 66
    incident = opened(log(until))["incident_id"]
    without = replay(log(until), CONFIG, [fixed(incident, DAYS[until - 1], None)])
    named = replay(log(until), CONFIG, [fixed(incident, DAYS[until - 1], (DAYS[60], DAYS[64]))])
    assert named.incidents["status"].to_list() == without.incidents["status"].to_list() == ["fixed"]
    n_without, _ = baseline(without.engine)
    n_named, mean = baseline(named.engine)
    assert n_named == n_without + 1 == until - len(BAD), "day 64 was good, and was muted when it was decided"
    good = log(until).filter(~pl.col("window_start").is_between(DAYS[60], DAYS[63]))["value"].mean()
    assert mean == pytest.approx(good)


def test_without_a_beginning_the_windows_are_bad_since_the_change_point():
    rows = log(66)
    incident = opened(rows)
    assert incident["change_point"] == DAYS[60].replace(tzinfo=None)
    both = [replay(rows, CONFIG, [fixed(incident["incident_id"], DAYS[65], bad)]) for bad in
            ((None, DAYS[64]), (DAYS[60], DAYS[64]))]  # fmt: skip
    assert baseline(both[0].engine) == baseline(both[1].engine)


def test_bad_windows_before_the_change_point_are_taken_back():
    rows = log(66)
    incident = opened(rows)["incident_id"]
    n, _ = baseline(replay(rows, CONFIG, [fixed(incident, DAYS[65], (DAYS[57], DAYS[64]))]).engine)
    assert n == 66 - 7


def test_bad_windows_that_are_judged_later_neither_alarm_nor_teach():
    """Labels of the bad days come after the word: the days are known to be bad, and are not told again."""
    rows = log(90, bad=range(60, 70))
    late = rows.with_columns(
        decided_at=pl.when(pl.col("window_start") >= DAYS[64])
        .then(pl.col("window_start") + pl.duration(days=8))
        .otherwise(pl.col("window_start"))
    )
    incident = opened(late.filter(pl.col("window_start") < DAYS[64]))["incident_id"]
    said_at = DAYS[70]
    without = replay(late, CONFIG, [fixed(incident, said_at, None)])
    assert len(without.incidents) > 1, "without the dates the same days are another incident"
    named = replay(late, CONFIG, [fixed(incident, said_at, (DAYS[60], DAYS[70]))])
    assert named.incidents["status"].to_list() == ["fixed"]
    told = named.streams.filter(pl.col("window_start").is_between(NAMED[0], NAMED[1]))
    assert set(told["reason_code"]) == {"named_bad"} and set(told["status"]) == {"insufficient_data"}


def test_a_replay_that_is_saved_half_way_goes_on_the_same():
    rows = log(110)
    incident = opened(log(66))["incident_id"]
    action = fixed(incident, DAYS[65], (DAYS[60], DAYS[64]))
    whole = replay(rows, CONFIG, [action], save_through=DAYS[80])
    assert whole.saved is not None
    later = replay(rows.filter(pl.col("window_start") > DAYS[80]), CONFIG, resume=whole.saved)
    assert later.incidents.equals(whole.incidents)
    assert later.engine.states.baseline.pack() == whole.engine.states.baseline.pack()
