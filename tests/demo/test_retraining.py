"""The demo's advice on retraining: its section of the monitor file, its estimator and its later versions."""

from __future__ import annotations

from datetime import datetime, timedelta

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
    assert {name: f"{moment:%m-%d}" for name, moment in rules.trained_at.items()} == {
        "hgb-1": "03-01",
        "hgb-2": "05-01",
        "hgb-3": "09-01",
    }
    assert list(spec.shadow_ends) == ["hgb-2", "hgb-3"]


@pytest.fixture(scope="module")
def flights() -> pl.DataFrame:
    return data.build_flights()


def test_a_training_sees_only_what_had_landed(flights):
    for day in retraining.RETRAININGS.values():
        seen = retraining.training_rows(flights, day)
        assert 70_000 < seen.height < 90_000
        assert seen["day"].max() < day
        assert seen["landed_at"].max() < datetime(day.year, day.month, day.day)


def test_later_versions_judge_every_flight_of_their_first_two_weeks(flights):
    found = retraining.later_versions(flights)
    assert found["version"].unique().sort().to_list() == ["hgb-2", "hgb-3"]
    for version, day in retraining.RETRAININGS.items():
        own = found.filter(version=version)
        beside = flights.filter(pl.col("day").is_between(day, day + timedelta(days=13)))
        assert own.drop("score", "version").equals(beside)
        known = own.drop_nulls("is_late")
        assert 0.6 < roc_auc_score(known["is_late"].to_numpy(), known["score"].to_numpy()) < 0.85
