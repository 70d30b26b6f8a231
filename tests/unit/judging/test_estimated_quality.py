"""Estimates from the marts: what the reference's windows tell, and from which of them a window may learn."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from metrics_py.estimation.cbpe import ASSUMED
from sightline.judging import estimated_quality, estimators
from sightline.judging.frames import Work
from tests.support.scores import clustered, label_bins, score_bins

FIRST = datetime(2026, 1, 5)
DAYS, PER_DAY, EFFECT = 50, 600, 0.6
LABELS = {"column": "y", "expected_delay": "2d", "give_up_after": "10d"}
WINDOW = {"kind": "window", "start": FIRST.isoformat() + "Z", "end": (FIRST + timedelta(days=30)).isoformat() + "Z"}
ROLLING = {"kind": "rolling", "length": "14d"}


@pytest.fixture(scope="module")
def days() -> list[tuple[np.ndarray, np.ndarray]]:
    """Days that differ as a whole: given the scores the rows of a day depend on each other."""
    return [clustered(np.random.default_rng([77, k]), PER_DAY, EFFECT) for k in range(DAYS)]


@pytest.fixture
def judged(con, home, make_spec, days):
    for mart, rows in (("score_bins", lambda s, y: score_bins(s)), ("score_label_bins", label_bins)):
        for k, (scores, outcomes) in enumerate(days):
            start = FIRST + timedelta(days=k)
            keys = {"window_key": f"{start:%Y-%m-%d}", "model_version": "unversioned", "segment": "all"}
            frame = rows(scores, outcomes).with_columns(  # noqa: F841 (DuckDB reads it by its name)
                *(pl.lit(value).alias(name) for name, value in keys.items()), window_start=pl.lit(start)
            )
            con.execute(f"insert into marts.{mart} by name select * from frame")

    def judge(
        reference: dict,
        numbers: range,
        now: datetime = datetime(2026, 6, 1, tzinfo=UTC),
        metrics: str = "^estimated_accuracy$",
        **more: object,
    ) -> pl.DataFrame:
        columns = {"score": "p", "features": {"age": "numeric"}}
        spec = make_spec(columns=columns, labels=LABELS, reference=reference, **more)
        keys = [f"{FIRST + timedelta(days=k):%Y-%m-%d}" for k in numbers]
        work = Work(spec, home.monitor(spec.id), con, keys, {}, now)
        found = estimated_quality.judge(work)
        assert found.evidence.is_empty(), "estimates call nobody"
        return found.judgements.filter(pl.col("metric").str.contains(metrics)).sort("window_start")

    return judge


def accuracies(days) -> np.ndarray:
    return np.array([((scores >= 0.5) == outcomes).mean() for scores, outcomes in days])


def test_the_interval_knows_how_much_single_days_differ(judged, days):
    told = judged(WINDOW, range(30, DAYS))
    final = pl.Series(accuracies(days)[30:])
    assert set(told["status"]) == {"ok"} and set(told["n"]) == {PER_DAY}
    assert final.is_between(told["ci_low"], told["ci_high"]).sum() >= 18
    alone = np.sqrt(0.25 * 0.75 / PER_DAY)
    half = (told["ci_high"] - told["ci_low"]) / 2
    assert half.min() > 2 * 1.96 * alone, "far more than independent rows would say"
    assert told["reason"].unique().to_list() == ["estimated without labels: assumes P(y | score) as in the reference"]


def test_the_business_value_is_estimated_with_an_interval_that_knows_of_the_days(judged, days):
    values = {"1": {"1": 40, "0": -10}, "0": {"1": -100, "0": 0}}
    told = judged(WINDOW, range(30, DAYS), metrics="^estimated_business_value$", value_matrix=values)
    matrix = np.array([[0.0, -100.0], [-10.0, 40.0]])
    final = pl.Series([matrix[(s >= 0.5).astype(int), y.astype(int)].mean() for s, y in days[30:]])
    assert set(told["status"]) == {"ok"} and set(told["reason"]) == {ASSUMED}
    assert final.is_between(told["ci_low"], told["ci_high"]).sum() >= 18
    assert abs(told["value"].mean() - final.mean()) < 3 * final.std() / np.sqrt(20)
    assert judged(WINDOW, range(30, 31), metrics="business").is_empty(), "without a value matrix there is none"


def test_a_window_of_few_rows_has_neither_value_nor_interval(judged, con):
    con.execute("update marts.score_bins set n = 1 where window_key = '2026-02-10'")
    con.execute("delete from marts.score_bins where window_key = '2026-02-10' and score_bin > 40")
    told = judged(WINDOW, range(36, 37), metrics=".*")
    assert told["window_start"].unique().to_list() == [datetime(2026, 2, 10)]
    assert set(told["status"]) == {"insufficient_data"} and set(told["reason_code"]) == {"too_few_rows"}
    assert told.select("value", "ci_low", "ci_high").null_count().row(0) == (len(told),) * 3


def test_a_rolling_reference_gives_each_window_its_own_and_the_same_in_a_backfill(judged):
    together = judged(ROLLING, range(20, 30))
    alone = pl.concat([judged(ROLLING, range(k, k + 1)) for k in range(20, 30)])
    of_reference = ("reference_value", "bound_low", "bound_high")  # of published windows: there are none here
    assert_frame_equal(together.drop(of_reference), alone.drop(of_reference))
    assert alone["reference_value"].to_list() == [None] * 10
    assert set(together["status"]) == {"ok"}
    first = judged(ROLLING, range(4))
    assert first["status"].to_list() == ["insufficient_data"] * 2 + ["ok"] * 2, "labels are due two days after a day"
    assert first["reason"][0] == estimators.BinaryEstimator.not_known and first["reason_code"][0] == "no_labels"
    assert first["reason"][2].endswith(estimated_quality.ALIKE)


def test_labels_of_the_reference_that_are_not_due_teach_nothing(judged):
    early = FIRST.replace(tzinfo=UTC) + timedelta(days=2)
    assert set(judged(WINDOW, range(2), early)["reason"]) == {estimators.BinaryEstimator.not_known}


def test_a_warehouse_of_an_earlier_release_has_no_estimates(con, home, make_spec):
    con.execute("drop table marts.score_bins")
    spec = make_spec(columns={"score": "p", "features": {"age": "numeric"}}, labels=LABELS, reference=WINDOW)
    work = Work(spec, home.monitor(spec.id), con, ["2026-01-05"], {}, datetime(2026, 6, 1, tzinfo=UTC))
    assert estimated_quality.judge(work).judgements.is_empty()
