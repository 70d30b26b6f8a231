"""The demo's flights are the documented ones, and the model behaves as measured independently."""

from __future__ import annotations

from datetime import date, datetime

import polars as pl
import pytest
from sklearn.metrics import brier_score_loss, roc_auc_score

from demo.data import FEATURES, build_flights
from demo.model import fit_and_score, is_odd_day, is_reference, is_training_period, score_year

MEASURED = {
    "reference": (0.247, 0.231, 0.662, 0.177, 3.6, 15.1),
    3: (0.228, 0.221, 0.683, 0.163, 3.0, 10.6),
    4: (0.279, 0.177, 0.636, 0.201, 2.4, 7.3),
    6: (0.308, 0.287, 0.649, 0.206, 3.6, 13.1),
    9: (0.132, 0.243, 0.612, 0.141, 1.6, 6.0),
    12: (0.326, 0.231, 0.670, 0.209, 3.6, 19.9),
}
"""Late rate, mean p, AUC, Brier score, cancelled %, pressure null %: another run of the same recipe."""


@pytest.fixture(scope="module")
def flights() -> pl.DataFrame:
    return build_flights()


@pytest.fixture(scope="module")
def scored(flights) -> pl.DataFrame:
    return fit_and_score(flights)


def part(rows: pl.DataFrame, month: int | str) -> pl.DataFrame:
    return rows.filter(is_reference() if month == "reference" else pl.col("day").dt.month() == month)


def test_flights(flights):
    assert flights.height == 336_776
    assert flights["flight_id"].n_unique() == flights.height
    assert flights["scheduled_departure_at"].is_sorted()
    assert flights["is_late"].null_count() == flights["landed_at"].null_count() == 9_430
    assert flights["is_cancelled"].sum() == 8_255
    assert set(FEATURES) <= set(flights.columns)
    assert (flights["day"].min(), flights["day"].max()) == (date(2013, 1, 1), date(2013, 12, 31))


def test_labels_arrive_when_planes_land(flights):
    hours = (flights["landed_at"] - flights["scheduled_departure_at"]).dt.total_minutes().drop_nulls() / 60
    assert hours.min() > 0
    assert hours.median() == pytest.approx(2.8, abs=0.05)
    assert hours.quantile(0.95) == pytest.approx(6.4, abs=0.05)
    next_morning = pl.col("day").cast(pl.Datetime("us")) + pl.duration(hours=30)
    arrived = flights.select((pl.col("landed_at") < next_morning).fill_null(False).mean()).item()
    assert arrived == pytest.approx(0.97, abs=0.005)


@pytest.mark.parametrize(
    ("flight", "landed"),
    [
        ("UA1545-EWR-0101", datetime(2013, 1, 1, 9, 30)),  # Houston, one hour behind: arrives 08:30 there
        ("HA51-JFK-0101", datetime(2013, 1, 1, 20, 16)),  # Honolulu, five hours behind: 15:16 there
    ],
)
def test_time_zones_of_destinations(flights, flight, landed):
    assert flights.row(by_predicate=pl.col("flight_id") == flight, named=True)["landed_at"] == landed


def test_weather_is_the_previous_hour_and_ends_with_the_feed(flights):
    last = flights.filter(pl.col("day") == date(2013, 12, 31))
    assert last.height == 776
    assert last["temp"].null_count() == 776
    assert flights.filter(pl.col("day") == date(2013, 12, 29))["temp"].null_count() < 20
    windy = flights.filter(pl.col("wind_max_3h") > 200)
    assert windy["day"].unique().to_list() == [date(2013, 2, 12)]
    assert windy["origin"].unique().to_list() == ["EWR"]
    assert flights["wind_speed"].max() < 60  # the reading itself lies at 03:00, when no flight departs


def test_documented_data_incidents(flights):
    cancelled = dict(flights.group_by("day").agg(pl.col("is_cancelled").mean()).iter_rows())
    assert cancelled[date(2013, 2, 8)] == pytest.approx(0.51, abs=0.005)
    assert cancelled[date(2013, 2, 9)] == pytest.approx(0.57, abs=0.005)
    cold = flights.filter(pl.col("temp") < 20, pl.col("day").dt.month() == 5)
    assert cold["day"].unique().to_list() == [date(2013, 5, 8)] and cold.height == 3
    missing = dict(flights.group_by("carrier").agg(pl.col("plane_year").is_null().mean()).iter_rows())
    assert missing["MQ"] == pytest.approx(0.96, abs=0.005) and missing["AA"] == pytest.approx(0.70, abs=0.006)
    assert (flights["precip"] == 0).mean() > 0.9


def test_storms_of_march_may_and_december(flights):
    cancelled = dict(flights.group_by("day").agg(pl.col("is_cancelled").mean()).iter_rows())
    for month, day, share in ((3, 6, 0.185), (3, 8, 0.184), (5, 23, 0.224), (12, 10, 0.216)):
        assert cancelled[date(2013, month, day)] == pytest.approx(share, abs=0.001)
    assert sorted(cancelled.values())[len(cancelled) // 2] < 0.02


def test_weather_that_may_be_told(flights):
    by_day = flights.group_by("day").agg(
        rainy=(pl.col("precip") > 0).mean(),
        hazy=(pl.col("visib") < 10).mean(),
        no_weather=pl.col("temp").is_null().mean(),
        no_pressure=pl.col("pressure").is_null().mean(),
        driest=pl.col("humid").min(),
        pressure=pl.col("pressure").max(),
    )
    day = {row["day"]: row for row in by_day.iter_rows(named=True)}
    reference = flights.filter(is_reference())
    assert day[date(2013, 2, 19)]["rainy"] == pytest.approx(0.42, abs=0.005)
    assert [day[date(2013, 2, 23 + d)]["rainy"] > 0.4 for d in range(5)] == [True, False, False, False, True]
    assert [day[date(2013, 3, d)]["no_pressure"] > 0.15 for d in (16, 17, 18, 19)] == [True, False, True, True]
    assert [day[date(2013, 3, d)]["rainy"] > 0.15 for d in (16, 17, 18, 19)] == [True, False, True, True]
    assert day[date(2013, 4, 6)]["driest"] == 13.0 < reference["humid"].min() == 16.42
    for month, d in ((4, 21), (4, 22), (11, 4), (11, 5), (11, 20), (11, 21), (11, 29), (11, 30)):
        assert day[date(2013, month, d)]["pressure"] > reference["pressure"].max() == 1034.5
    assert day[date(2013, 10, 23)]["no_weather"] == pytest.approx(0.054, abs=0.001)
    assert day[date(2013, 10, 25)]["no_weather"] == pytest.approx(0.039, abs=0.001)
    assert max(day[date(2013, 9, 3 + d)]["no_weather"] for d in range(27)) < 0.02
    for d in (2, 3, 4):
        assert day[date(2013, 12, d)]["hazy"] > 0.7 and day[date(2013, 12, d)]["rainy"] == 0


def test_seasons(flights, scored):
    mean = dict(flights.group_by(pl.col("day").dt.month()).agg(pl.col("temp").mean()).iter_rows())
    assert mean[7] - mean[1] > 40 and mean[12] < mean[9] - 20
    assert (
        flights.filter(pl.col("day") == date(2013, 4, 9))["temp"].max() > flights.filter(is_reference())["temp"].max()
    )
    gusts = dict(flights.group_by(pl.col("day").dt.month()).agg(pl.col("wind_gust").mean()).iter_rows())
    assert max(gusts[month] for month in (5, 6, 7, 8, 9)) < min(gusts[1], gusts[2]) - 2
    scores = dict(scored.group_by(pl.col("day").dt.month()).agg(pl.col("score").mean()).iter_rows())
    assert scores[4] == pytest.approx(0.17, abs=0.01)


def test_summer_timetable(flights):
    route = ["origin", "dest", "carrier"]
    means = flights.group_by(pl.col("day").dt.month(), *route).agg(pl.col("scheduled_minutes").mean(), pl.len())
    frequent = means.filter(pl.col("len") >= 20)
    both = frequent.filter(pl.col("day") == 2).join(frequent.filter(pl.col("day") == 7), on=route)
    change = both["scheduled_minutes_right"] - both["scheduled_minutes"]
    assert change.mean() == pytest.approx(-7.4, abs=0.1) and (change < 0).mean() > 0.75


def test_worst_week_and_thanksgiving(flights, scored):
    week = scored.filter(pl.col("day").is_between(date(2013, 6, 25), date(2013, 7, 1)), pl.col("is_late").is_not_null())
    assert week["is_late"].mean() == pytest.approx(0.478, abs=0.001)
    assert week["score"].mean() == pytest.approx(0.26, abs=0.02)
    fewest = flights.group_by("day").len().sort("len")["day"][:2].to_list()
    assert fewest == [date(2013, 11, 28), date(2013, 11, 29)]


@pytest.mark.parametrize("month", MEASURED)
def test_measured_table(scored, month):
    rows = part(scored, month)
    labelled = rows.filter(pl.col("is_late").is_not_null())
    late_rate, mean_p, auc, brier, cancelled, no_pressure = MEASURED[month]
    assert labelled["is_late"].mean() == pytest.approx(late_rate, abs=0.0006)
    assert rows["is_cancelled"].mean() * 100 == pytest.approx(cancelled, abs=0.06)
    assert rows["pressure"].null_count() / rows.height * 100 == pytest.approx(no_pressure, abs=0.06)
    assert labelled["score"].mean() == pytest.approx(mean_p, abs=0.04)
    assert roc_auc_score(labelled["is_late"], labelled["score"]) == pytest.approx(auc, abs=0.025)
    assert brier_score_loss(labelled["is_late"], labelled["score"]) == pytest.approx(brier, abs=0.011)


def test_september_has_the_best_brier_score_and_the_worst_skill(scored):
    labelled = scored.filter(pl.col("is_late").is_not_null())
    by_month = labelled.group_by(pl.col("day").dt.month().alias("month")).agg(
        brier=((pl.col("score") - pl.col("is_late")) ** 2).mean(), base=pl.col("is_late").mean()
    )
    by_month = by_month.with_columns(skill=1 - pl.col("brier") / (pl.col("base") * (1 - pl.col("base"))))
    assert by_month.sort("brier")["month"][0] == 9
    assert by_month.sort("skill")["month"][0] == 9
    assert by_month.filter(pl.col("month") == 9)["skill"].item() < -0.1


def test_concept_drift_in_april(scored):
    rows = scored.filter(
        pl.col("day").is_between(date(2013, 4, 16), date(2013, 4, 29)), pl.col("is_late").is_not_null()
    )
    assert rows["is_late"].mean() - rows["score"].mean() > 0.15


def test_every_score_is_out_of_sample(scored):
    aucs = []
    for days in (is_odd_day(), ~is_odd_day()):
        rows = scored.filter(is_training_period() & days & pl.col("is_late").is_not_null())
        aucs.append(roc_auc_score(rows["is_late"], rows["score"]))
    assert all(0.64 < auc < 0.70 for auc in aucs)  # in sample it is about .78
    assert scored["score"].is_between(0, 1).all() and scored["score"].null_count() == 0


def test_scores_are_cached_and_the_cache_is_the_same(tmp_path, flights, scored, monkeypatch):
    monkeypatch.setattr("demo.data.build_flights", lambda: flights)
    first, was_cached = score_year(tmp_path)
    again, is_cached = score_year(tmp_path)
    assert (was_cached, is_cached) == (False, True)
    assert first.equals(again)
    assert first["score"].to_numpy() == pytest.approx(scored["score"].to_numpy(), abs=1e-12)
    assert [path.suffix for path in tmp_path.iterdir()] == [".parquet"]
