"""The demo's advice on retraining: its section of the monitor file, its estimator and its later versions."""

from __future__ import annotations

from datetime import date, datetime

import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from demo import data, retraining
from demo.calendar import Calendar
from demo.monitor_file import write_monitor
from sightline.home import Home
from sightline.spec.loader import load_monitor


def test_the_monitor_file_asks_for_advice(tmp_path):
    home = Home(tmp_path)
    (tmp_path / "data" / "flight_delay").mkdir(parents=True)
    spec = load_monitor(write_monitor(home, Calendar.as_recorded()), home=home)
    rules = spec.retraining
    assert rules is not None
    assert rules.estimator == "demo.retraining:estimator"
    assert (rules.cost, rules.value_per_point, rules.unit) == (500, 200, "USD")
    assert rules.trained_at["hgb-1"].date() == date(2013, 3, 1)


@pytest.fixture(scope="module")
def flights() -> pl.DataFrame:
    return data.build_flights()


def test_a_training_sees_only_what_had_landed(flights):
    for day in retraining.RETRAININGS.values():
        seen = retraining.training_rows(flights, day)
        assert 70_000 < seen.height < 90_000
        assert seen["day"].max() < day
        assert seen["landed_at"].max() < datetime(day.year, day.month, day.day)


def test_later_versions_judge_every_flight_from_their_day_on(flights):
    found = retraining.later_versions(flights)
    assert found["version"].unique().sort().to_list() == ["hgb-2", "hgb-3"]
    for version, day in retraining.RETRAININGS.items():
        own = found.filter(version=version)
        assert own["day"].min() == day
        assert own.height == flights.filter(pl.col("day") >= day).height
        known = own.join(flights.select("flight_id", "is_late"), on="flight_id").drop_nulls()
        assert 0.6 < roc_auc_score(known["is_late"].to_numpy(), known["score"].to_numpy()) < 0.85
