"""Values of decisions, own metrics and areas of three classes while labels are on their way: bias and coverage."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from metrics_py.quality.completed import complete, weigh
from metrics_py.quality.delay_law import DelayLaw, fit
from sightline.judging.frames import BY
from sightline.judging.joint_rows import BINS, CELLS, CUSTOM, evaluation_of, tables_of
from sightline.spec.model import MonitorSpec
from tests.support.acceptance import check
from tests.support.measured import record

SECTION = "Delayed labels"
FIRST, DAYS, PER_DAY, BLOCK = datetime(2026, 1, 1), 90, 1000, 7
AGES = (2, 5, 12)
NAMES = np.array(["a", "b", "c"])
METRICS = ("business_value", "loss", "roc_auc_macro", "average_precision_macro", "recall_macro")
SPEC = MonitorSpec.model_validate(
    {
        "model": {"id": "simulated", "task": "multiclass_classification"},
        "columns": {"class_scores": {name: f"p_{name}" for name in NAMES}},
        "labels": {"column": "y"},
        "value_matrix": {x: {y: 10.0 * (x == y) - 30.0 * (y == "c" != x) for y in NAMES} for x in NAMES},
        "reference": {"kind": "window", "start": "2026-01-01", "end": "2026-01-05"},
    }
)


def world(rng: np.random.Generator) -> pl.DataFrame:
    """Class c is known late, the later the less it was expected; rows of a large amount are of it more often."""
    n = DAYS * PER_DAY
    truth = rng.choice(3, n, p=[0.5, 0.35, 0.15])
    raw = rng.normal(size=(n, 3)) + 1.3 * np.eye(3)[truth]
    p = np.exp(raw) / np.exp(raw).sum(axis=1, keepdims=True)
    of_truth = p[np.arange(n), truth]
    delay = rng.exponential(np.where(truth == 2, 3 + 14 * (1 - of_truth), 2.0)) + rng.random(n)
    day = np.repeat(np.arange(DAYS), PER_DAY)
    loss = np.where(truth == 2, rng.gamma(4, 25, n) * (1 + (p[:, 2] < 0.5)), 0.0)
    return pl.DataFrame(
        {
            "day": day,
            "window_start": pl.Series([FIRST + timedelta(days=k) for k in range(DAYS)], dtype=pl.Datetime("us"))[day],
            "label_class": NAMES[truth],
            "actual_class": NAMES[truth],
            "predicted_class": NAMES[p.argmax(axis=1)],
            "score_group": np.minimum((10 * of_truth).astype(np.int32), 9),
            "delay": delay,
            "delay_bin": np.where(delay < 4, 4 * delay, 12 + delay).astype(np.int32),
            "bucket": rng.integers(0, 64, n).astype(np.int32),
            "loss": loss,
            **{f"p_{name}": p[:, i] for i, name in enumerate(NAMES)},
        }
    )


def joint(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows as the marts hold them: cells, score bins of every class, and the sums of one own metric."""
    keys = ["window_start", "bucket", "label_class", "score_group"]
    cells = rows.group_by(*keys, "predicted_class", "actual_class").agg(n=pl.len(), n_score=pl.len())
    custom = rows.group_by(keys).agg(n=pl.len(), sum_value=pl.col("loss").sum())
    custom = custom.with_columns(kind=pl.lit(f"{CUSTOM}loss"), metric=pl.lit("loss"))
    parts = [cells.with_columns(kind=pl.lit(CELLS)), custom]
    for name in NAMES:
        score_bin = (pl.col(f"p_{name}") * 256).floor().clip(0, 255).cast(pl.Int32)
        bins = rows.with_columns(pl.col("bucket") % 16).group_by(*keys, score_bin=score_bin).agg(n=pl.len())
        is_positive = pl.col("label_class") == name
        parts.append(bins.with_columns(kind=pl.lit(BINS), class_name=pl.lit(name), is_positive=is_positive))
    over = {"over": pl.lit(FIRST, pl.Datetime("us")), "model_version": pl.lit("all"), "segment": pl.lit("all")}
    return pl.concat(parts, how="diagonal_relaxed").with_columns(**over)


def told(weighed: pl.DataFrame) -> pl.DataFrame:
    """Values of weighted rows."""
    found = evaluation_of(SPEC)(tables_of(SPEC)(weighed.drop("window_start").rename({"over": "window_start"})), BY)
    return found.filter(pl.col("metric").is_in(METRICS)).select("metric", "value")


def week(rows: pl.DataFrame, law: DelayLaw, ages: pl.DataFrame, age: int) -> pl.DataFrame:
    """Corrected, naive and final values of the week whose youngest day has this age."""
    block = rows.filter(pl.col("day").is_between(DAYS - age - BLOCK + 1, DAYS - age))
    seen = joint(block.filter(pl.col("delay") <= DAYS - pl.col("day")))
    weighed = weigh(seen, law, ages, ["over", "model_version", "segment", "kind"])
    weighed = weighed.drop("window_start").rename({"over": "window_start"})
    found = complete(weighed, tables_of(SPEC), evaluation_of(SPEC), law, BY).table
    one = pl.lit(1.0)
    naive = told(seen.with_columns(weight=one)).rename({"value": "naive"})
    final = told(joint(block).with_columns(weight=one)).rename({"value": "final"})
    return found.join(naive, on="metric").join(final, on="metric").with_columns(age=pl.lit(age))


def simulate(runs: int, seed: int) -> pl.DataFrame:
    found: list[pl.DataFrame] = []
    for run in range(runs):
        rows = world(np.random.default_rng([seed, run]))
        starts = rows.select("window_start", "day").unique()
        ages = starts.select("window_start", age=(DAYS - pl.col("day")).cast(pl.Float64))
        seen = rows.filter(pl.col("delay") <= DAYS - pl.col("day"))
        law = fit(seen.group_by("window_start", "label_class", "score_group", "delay_bin").agg(n=pl.len()), ages)
        found += [week(rows, law, ages, age) for age in AGES]
    return pl.concat(found)


def judge(runs: int, seed: int) -> None:
    found = simulate(runs, seed)
    assert set(found["metric"]) == set(METRICS)
    near = (pl.col("value") - pl.col("final")).abs() <= pl.col("final_half")
    summary = (
        found.group_by("age", "metric")
        .agg(
            bias=(pl.col("value") - pl.col("final")).mean(),
            naive_bias=(pl.col("naive") - pl.col("final")).mean(),
            holds_final=pl.col("final").is_between("ci_low", "ci_high").mean(),
            final_within=near.mean(),
            lost=(~near).sum(),
            half=pl.col("final_half").mean(),
        )
        .sort("age", "metric")
    )
    measured = {
        f"{row['age']} d, {row['metric']}, {name}": round(row[name], 4)
        for row in summary.to_dicts()
        for name in ("naive_bias", "bias", "holds_final", "final_within")
    }
    record("delayed_values", "the final value lies within what is still to come in 0.95", measured, runs, SECTION)
    for row in summary.to_dicts():
        check(row["lost"], runs, 0.07, (row["age"], row["metric"]))
        error = 4 * row["half"] / 1.96 / np.sqrt(runs)
        assert abs(row["bias"]) < max(abs(row["naive_bias"]) / 5, 0.003) + error, row
        assert row["holds_final"] >= 0.9 or row["lost"] <= max(2, 0.12 * runs), row


def test_values_of_young_windows_hold_the_final_ones():
    judge(6, seed=94)


@pytest.mark.full
def test_values_of_young_windows_hold_the_final_ones_in_full():
    judge(120, seed=95)
