"""Weights of windows of which only positives are reported: totals, losses and expectations."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import polars as pl
import pytest

from metrics_py.quality.delay_law import DelayLaw
from metrics_py.quality.silence import MOST_POSITIVE, as_negatives, weigh_reported
from metrics_py.quality.table import quality_table

DAY = datetime(2026, 1, 1)
BY = ["window_start"]
SUMS = ("sum_label", "sum_label_sq", "sum_score", "sum_error", "sum_abs_error", "sum_squared_error", "sum_log_loss")


def law(share: float) -> DelayLaw:
    """Half of the rows of groups 0 and 1 each; `share` of all has come after one window."""
    cells = pl.DataFrame(
        {"label_class": ["positive"] * 2, "score_group": [0, 1], "cell": [0, 1]},
        schema_overrides={"score_group": pl.Int32},
    )
    curve = np.array([[0.0, share, 1.0]] * 2)
    half, known_to = np.array([0.5, 0.5]), np.array([2.0, 2.0])
    return DelayLaw(cells, np.array([0.0, 1.0, 2.0]), curve, 0.1 * (1 - curve), half, 1.0, 2.0, 1000, known_to)


def cells(score: np.ndarray, is_reported: np.ndarray) -> pl.DataFrame:
    """Rows as the mart `quality_cells` sums them up."""
    y = is_reported.astype(float)
    rows = pl.DataFrame(
        {
            "window_start": pl.Series([DAY] * len(score), dtype=pl.Datetime("us")),
            "bucket": np.arange(len(score)) % 8,
            "predicted_class": np.where(score >= 0.5, "1", "0"),
            "label_class": np.where(is_reported, "positive", "negative"),
            "actual_class": np.where(is_reported, "1", "0"),
            "score_group": (score >= 0.5).astype(np.int32),
            "n_score": 1,
            "sum_label": y,
            "sum_label_sq": y,
            "sum_score": score,
            "sum_error": score - y,
            "sum_abs_error": np.abs(score - y),
            "sum_squared_error": (score - y) ** 2,
            "sum_log_loss": -np.log(np.where(is_reported, score, 1 - score)),
            "sum_log_loss_negative": -np.log(1 - score),
        }
    ).with_columns(sum_brier="sum_squared_error")
    keys = [name for name in rows.columns if not name.startswith(("sum_", "n_"))]
    summed = rows.group_by(keys).agg(pl.col("^(sum_|n_).*$").sum(), n=pl.len())
    return summed.with_columns(kind=pl.lit("cells"), is_positive=pl.col("label_class") == "positive")


def weigh(rows: pl.DataFrame, share: float) -> pl.DataFrame:
    ages = pl.DataFrame({"window_start": [DAY], "age": [1.0]}, schema_overrides={"window_start": pl.Datetime("us")})
    return weigh_reported(rows, law(share), ages, BY, "positive", "0")


def world(seed: int, n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    score = rng.uniform(0.02, 0.98, n)
    return score, rng.random(n) < 0.5 * score


@pytest.mark.parametrize("share", [0.5, 0.7, 1.0])
def test_as_many_rows_as_there_are_and_positives_by_the_share_that_is_in(share):
    score, is_reported = world(1)
    found = weigh(cells(score, is_reported), share)
    n = pl.col("n") * pl.col("weight")
    assert found.select(n.sum()).item() == pytest.approx(len(score))
    by_decision = found.group_by("predicted_class").agg(total=n.sum())
    for decision, total in by_decision.iter_rows():
        assert total == pytest.approx(((score >= 0.5) == (decision == "1")).sum())
    positives = found.filter(actual_class="1").select(n.sum()).item()
    assert positives == pytest.approx(is_reported.sum() / share)
    assert found["seen"].sum() == is_reported.sum()
    assert found["completed"].sum() == pytest.approx(is_reported.sum() / share)


def test_what_is_complete_is_as_it_is():
    rows = cells(*world(2))
    found = weigh(rows, 1.0)
    for name in (*SUMS, "n", "n_score"):
        assert found.select((pl.col(name) * pl.col("weight")).sum()).item() == pytest.approx(rows[name].sum()), name


def test_a_positive_taken_for_a_negative_has_the_losses_of_one():
    score, _ = world(3)
    as_positives = cells(score, np.ones(len(score), dtype=bool))
    found, expected = as_negatives(as_positives, "0"), cells(score, np.zeros(len(score), dtype=bool))
    for name in (*SUMS, "sum_brier"):
        assert found[name].sum() == pytest.approx(expected[name].sum()), name


def test_sums_are_unbiased_whatever_has_been_reported():
    """The mean over ways to report a half of the positives is what all of them say."""
    score, is_positive = world(4, 200)
    truth = cells(score, is_positive)
    rng = np.random.default_rng(5)
    found = []
    for _ in range(400):
        weighed = weigh(cells(score, is_positive & (rng.random(200) < 0.5)), 0.5)
        found.append([weighed.select((pl.col(name) * pl.col("weight")).sum()).item() for name in SUMS])
    mean, error = np.mean(found, axis=0), np.std(found, axis=0) / np.sqrt(len(found))
    expected = np.array([truth[name].sum() for name in SUMS])
    assert (np.abs(mean - expected) <= 4 * error + 1e-9).all()


def test_no_more_positives_of_a_decision_than_rows():
    score = np.full(10, 0.9)
    found = weigh(cells(score, np.arange(10) < 8), 0.2)
    n = pl.col("n") * pl.col("weight")
    assert found.filter(actual_class="1").select(n.sum()).item() == pytest.approx(min(9.5, MOST_POSITIVE * 10))
    assert found.select(n.sum()).item() == pytest.approx(10)


def test_windows_without_a_report_are_negative_as_far_as_is_known():
    score, is_reported = world(6)
    found = weigh(cells(score, np.zeros_like(is_reported)), 0.5)
    assert (found["weight"] == 1).all() and found["n"].sum() == len(score) and found["seen"].sum() == 0


def test_a_value_beyond_its_range_that_is_equal_in_all_buckets_has_no_interval():
    bins = pl.DataFrame(
        {
            "window": 0,
            "bucket": [0, 0, 1, 1, 2, 2],
            "class_name": "1",
            "score_bin": 200,
            "is_positive": [True, False] * 3,
            "n": [1.5, -0.25] * 3,
            "sum_score": [1.2, -0.2] * 3,
        }
    )
    found = quality_table(score_bins=bins, task="binary_classification", min_labels=1, by=["window"])
    row = found.row(by_predicate=pl.col("metric") == "average_precision", named=True)
    assert row["value"] == pytest.approx(1.5 / 1.25)
    assert (row["ci_low"], row["ci_high"]) == (None, None)
