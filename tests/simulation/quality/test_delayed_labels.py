"""Quality while labels are on their way: bias and coverage of the corrected values; frauds come early, or late."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from scipy.special import expit

from metrics_py.quality.completed import MATURE_SHARE, Tables, complete, weigh
from metrics_py.quality.delay_law import fit
from metrics_py.quality.table import quality_table
from tests.support.acceptance import check
from tests.support.measured import record

SECTION = "Delayed labels"
FIRST, DAYS, PER_DAY, BLOCK = datetime(2026, 1, 1), 120, 3000, 7
AGES = (3, 7, 14, 30)
METRICS = ("accuracy", "precision", "recall", "f1", "roc_auc")
KEY = ["block"]
NEGATIVES = {"delayed_labels": 20.0, "rare_late_class": 0.3}
"""Mean delay of negatives in days: known after weeks, or at once while frauds, a class of 5 %, come for weeks."""


def world(rng: np.random.Generator, negatives: float) -> pl.DataFrame:
    """3,000 predictions a day, 5 % frauds; those with a high score are reported first."""
    n = DAYS * PER_DAY
    score = expit(-4.2 + 1.9 * rng.normal(size=n))
    is_fraud = rng.random(n) < score
    delay = rng.exponential(np.where(is_fraud, 4 + 26 * (1 - score), negatives)) + rng.random(n)
    score_bin = np.minimum((score * 256).astype(np.int32), 255)
    day = np.repeat(np.arange(DAYS), PER_DAY)
    return pl.DataFrame(
        {
            "day": day,
            "window_start": pl.Series([FIRST + timedelta(days=k) for k in range(DAYS)], dtype=pl.Datetime("us"))[day],
            "label_class": np.where(is_fraud, "positive", "negative"),
            "actual_class": np.where(is_fraud, "1", "0"),
            "predicted_class": np.where(score >= 0.3, "1", "0"),
            "score_bin": score_bin,
            "score_group": score_bin // 8,
            "delay": delay,
            "delay_bin": np.where(delay < 4, 4 * delay, 12 + delay).astype(np.int32),
            "bucket": rng.integers(0, 64, n).astype(np.int32),
        }
    )


def tables(rows: pl.DataFrame) -> Tables:
    keys = [name for name in (*KEY, "moved") if name in rows.columns]
    weighted = (pl.col("n") * pl.col("weight")).sum()
    bins = rows.group_by(*keys, "bucket", "score_bin", is_positive=pl.col("label_class") == "positive").agg(n=weighted)
    return {
        "confusion": rows.group_by(*keys, "bucket", "predicted_class", "actual_class").agg(n=weighted),
        "score_bins": bins.with_columns(class_name=pl.lit("")),
    }


def evaluate(given: Tables, by) -> pl.DataFrame:
    found = quality_table(given["confusion"], given["score_bins"], task="binary_classification", by=list(by))
    return found.filter(pl.col("metric").is_in(METRICS))


def cells(rows: pl.DataFrame) -> pl.DataFrame:
    keys = ["window_start", "bucket", "label_class", "actual_class", "predicted_class", "score_bin", "score_group"]
    return rows.group_by(keys).agg(n=pl.len()).with_columns(block=pl.lit("b"), kind=pl.lit("cells"))


def week(rows: pl.DataFrame, law, ages: pl.DataFrame, age: int) -> pl.DataFrame:
    """Corrected, naive and final values of the week whose youngest day has this age."""
    block = rows.filter(pl.col("day").is_between(DAYS - age - BLOCK + 1, DAYS - age))
    seen = cells(block.filter(pl.col("delay") <= DAYS - pl.col("day")))
    found = complete(weigh(seen, law, ages, KEY), tables, evaluate, law, KEY).table
    one = pl.lit(1.0)
    naive = evaluate(tables(seen.with_columns(weight=one)), KEY).select("metric", naive="value")
    final = evaluate(tables(cells(block).with_columns(weight=one)), KEY).select("metric", final="value")
    return found.join(naive, on="metric").join(final, on="metric").with_columns(age=pl.lit(age))


def simulate(runs: int, seed: int, negatives: float) -> pl.DataFrame:
    found: list[pl.DataFrame] = []
    for run in range(runs):
        rows = world(np.random.default_rng([seed, run]), negatives)
        starts = rows.select("window_start", "day").unique()
        ages = starts.select("window_start", age=(DAYS - pl.col("day")).cast(pl.Float64))
        seen = rows.filter(pl.col("delay") <= DAYS - pl.col("day"))
        law = fit(seen.group_by("window_start", "label_class", "score_group", "delay_bin").agg(n=pl.len()), ages)
        found += [week(rows, law, ages, age).with_columns(slowest=law.slowest(age)) for age in AGES]
    return pl.concat(found)


def judge(name: str, runs: int, seed: int) -> None:
    found = simulate(runs, seed, NEGATIVES[name])
    assert found["slowest"].max() < MATURE_SHARE, "a tenth of the frauds of a low score come after 60 days"  # pyright: ignore
    inside = pl.col("final").is_between("ci_low", "ci_high")
    near = (pl.col("value") - pl.col("final")).abs() <= pl.col("final_half")
    told = (
        found.group_by("age", "metric")
        .agg(
            bias=(pl.col("value") - pl.col("final")).mean(),
            naive_bias=(pl.col("naive") - pl.col("final")).mean(),
            holds_final=inside.mean(),
            final_within=near.mean(),
            lost=(~near).sum(),
        )
        .sort("age", "metric")
    )
    measured = {
        f"{row['age']} d, {row['metric']}, {name}": round(row[name], 4)
        for row in told.to_dicts()
        for name in ("naive_bias", "bias", "holds_final", "final_within")
    }
    record(name, "the final value lies within the interval in 0.95; bias below 0.01", measured, runs, SECTION)
    for row in told.to_dicts():
        check(row["lost"], runs, 0.07, (row["age"], row["metric"]))
        error = 4 * (found.filter(age=row["age"], metric=row["metric"])["final_half"].mean() / 1.96) / np.sqrt(runs)
        assert abs(row["bias"]) <= 0.01 + error
        assert abs(row["bias"]) < max(abs(row["naive_bias"]) / 2, 0.005) + error


@pytest.mark.parametrize("name", NEGATIVES)
def test_corrected_quality_holds_the_final_value(name):
    judge(name, 6, seed=91)


@pytest.mark.full
@pytest.mark.parametrize("name", NEGATIVES)
def test_corrected_quality_holds_the_final_value_in_full(name):
    judge(name, 120, seed=92)
