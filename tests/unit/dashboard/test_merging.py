"""Days, weeks and months of windows: the numbers of all rows, or the windows as they are."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from scipy.stats import binomtest

from sightline.dashboard.merging import HOW, course, offered
from sightline.results.judgements import JUDGEMENT_SCHEMA
from tests.support.dashboard import served
from tests.support.published import make_published

DAY = timedelta(days=1)
MONDAY = datetime(2026, 3, 2)


def judged(values: list[float | None], n: list[int], **more: list[object]) -> pl.DataFrame:
    starts = [MONDAY + k * DAY for k in range(len(values))]
    own = {"window_start": starts, "value": values, "n": n, "status": ["ok"] * len(values), **more}
    absent = {name: [None] * len(values) for name in JUDGEMENT_SCHEMA if name not in own}
    return pl.DataFrame({**own, **absent}, schema_overrides=JUDGEMENT_SCHEMA).select(*JUDGEMENT_SCHEMA)


def test_each_way_gives_the_number_of_all_rows():
    rng = np.random.default_rng(5)
    parts = [rng.normal(3, 2, size) for size in (20, 300, 45, 7, 80, 150, 33)]
    hits = [part > 3 for part in parts]
    n, whole, all_hits = [len(part) for part in parts], np.concatenate(parts), np.concatenate(hits)
    of = {
        "n_rows": ([float(k) for k in n], float(sum(n))),
        "mean": ([part.mean() for part in parts], whole.mean()),
        "accuracy": ([hit.mean() for hit in hits], all_hits.mean()),
        "null_rate": ([hit.mean() for hit in hits], all_hits.mean()),
        "rmse": ([np.sqrt((part**2).mean()) for part in parts], np.sqrt((whole**2).mean())),
        "minimum": ([part.min() for part in parts], whole.min()),
        "maximum": ([part.max() for part in parts], whole.max()),
    }
    for metric, (values, expected) in of.items():
        found = course(judged([float(v) for v in values], n), metric, "week", DAY)
        (row,) = found.rows.iter_rows(named=True)
        assert row["value"] == pytest.approx(expected, rel=1e-12), metric
        assert (row["n"], row["status"], row["window_start"]) == (sum(n), "merged", MONDAY)
    rate = course(judged([float(hit.mean()) for hit in hits], n), "null_rate", "week", DAY).rows.row(0, named=True)
    interval = binomtest(int(all_hits.sum()), len(whole)).proportion_ci(method="wilson")
    assert (rate["ci_low"], rate["ci_high"]) == pytest.approx((interval.low, interval.high), rel=1e-9)


@pytest.mark.parametrize("metric", ["roc_auc", "psi", "f1", "standard_deviation", "latency_p95_ms"])
def test_what_does_not_add_up_stays_by_window_and_says_so(metric):
    rows = judged([0.5, 0.6], [10, 10])
    found = course(rows, metric, "week", DAY)
    assert metric not in HOW and found.rows.equals(rows) and found.moments is None
    assert metric in found.note and found.note.startswith("By window")


def test_labels_that_are_missing_leave_the_stretch_without_a_value():
    late = judged([0.5, 0.6, 0.7], [10, 10, 10], status=["ok", "ok", "provisional"])
    corrected = judged([0.5, 0.6, 0.7], [10, 10, 10], naive_value=[None, 0.4, None])
    for rows in (late, corrected):
        row = course(rows, "accuracy", "week", DAY).rows.row(0, named=True)
        assert row["value"] is None and row["status"] == "insufficient_data"
        assert row["reason"].startswith("labels are missing in 1 of 3 windows")


def test_windows_without_a_value_are_left_out_and_counted():
    row = course(judged([0.5, None], [10, 3]), "accuracy", "week", DAY).rows.row(0, named=True)
    assert (row["value"], row["n"]) == (0.5, 10) and "1 of them without a value" in row["reason"]
    none = course(judged([None, None], [0, 0]), "accuracy", "week", DAY).rows.row(0, named=True)
    assert none["value"] is None and none["status"] == "insufficient_data"


def test_months_follow_the_calendar_and_gaps_are_seen():
    rows = judged([1.0] * 120, [1] * 120).filter(pl.col("window_start").dt.month() != 4)
    found = course(rows, "n_rows", "month", DAY)
    assert found.rows["value"].to_list() == [30.0, 31.0, 29.0]
    assert found.moments == [datetime(2026, month, 1) for month in (3, 4, 5, 6)]


def test_a_finer_stretch_than_the_window_changes_nothing():
    week = timedelta(days=7)
    rows = judged([1.0], [1])
    assert offered(week) == ["window"]
    assert course(rows, "n_rows", "day", week).rows.equals(rows)


def test_the_address_keeps_it_across_pages(tmp_path):
    world = make_published(tmp_path / "home")
    with served(world.home) as client:
        kept = "granularity=week"
        for address in ("monitors/churn", "monitors/churn/metric", "monitors/churn/columns"):
            text = client.get(f"/{address}?metric=roc_auc&{kept}").text
            assert f"/monitors/churn/health?{kept}" in text and '<option value="week" selected>' in text
        found = client.get(f"/monitors/churn.json?{kept}").json()
        volume = next(chart for chart in found["charts"] if chart["title"] == "Predictions")
        assert found["granularity"] == "week" and 9 <= len(volume["rows"]) <= 10
        wrong = client.get("/monitors/churn.json?granularity=weeks")
        assert wrong.status_code == 400 and wrong.json()["fix"] == "Did you mean 'week'?"
        pills = client.get(f"/monitors/churn/metric?metric=roc_auc&{kept}").text
        assert f"{kept}&amp;metric=roc_auc" in pills
