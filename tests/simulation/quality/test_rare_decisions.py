"""Means over classes of which one is decided now and then: their intervals hold the value of the process."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from metrics_py.quality import multiclass
from metrics_py.quality.table import quality_table
from tests.support.acceptance import check
from tests.support.measured import record

SECTION = "Metric intervals and comparisons"
ROWS = 700
BUCKETS = 64
SHARES = np.array([[0.46, 0.05, 0.03, 0.04], [0.05, 0.17, 0.02, 0.03], [0.03, 0.02, 0.04, 0.02], [0, 0, 0, 0]])
"""Of all rows, by decision and class, without those decided to be of the last class."""

RIGHT = 0.6
"""Share of the decisions for the last class that are right."""

METRICS = ("precision_macro", "precision_weighted", "recall_macro", "f1_macro", "balanced_accuracy", "accuracy")
EXPECTED_DECISIONS = (0.5, 2, 8, 40)
MOST_MISSED = 0.05


def process(decisions: float) -> np.ndarray:
    """Probability of each decision and class."""
    rare = decisions / ROWS
    shares = SHARES.copy()
    shares[3] = rare * np.array([(1 - RIGHT) / 3] * 3 + [RIGHT])
    shares[:3] *= (1 - rare) / shares[:3].sum()
    return shares


def days(rng: np.random.Generator, shares: np.ndarray, n: int) -> pl.DataFrame:
    """Confusion tables of `n` windows."""
    cells = rng.choice(shares.size, size=(n, ROWS), p=shares.ravel())
    window = np.repeat(np.arange(n), ROWS)
    frame = pl.DataFrame(
        {"day": window, "bucket": rng.integers(0, BUCKETS, n * ROWS), "cell": cells.ravel()},
    )
    named = frame.with_columns(
        predicted_class=(pl.col("cell") // 4).cast(pl.String), actual_class=(pl.col("cell") % 4).cast(pl.String)
    )
    return named.group_by("day", "bucket", "predicted_class", "actual_class").agg(n=pl.len())


def long_run(metric: str, shares: np.ndarray) -> float:
    """The metric of endlessly many rows."""
    if metric == "accuracy":
        return float(multiclass.accuracy(shares))
    if metric == "balanced_accuracy":
        return float(multiclass.balanced_accuracy(shares))
    name, _, average = metric.partition("_")
    return float(getattr(multiclass, name)(shares, average=average))


def judge(decisions: float, n: int, seed: int) -> None:
    shares = process(decisions)
    confusion = days(np.random.default_rng(seed), shares, n)
    found = quality_table(confusion, task="multiclass_classification", by=["day"])
    measured: dict[str, object] = {}
    missed: dict[str, int] = {}
    for metric in METRICS:
        rows = found.filter(metric=metric, status="ok")
        truth = long_run(metric, shares)
        missed[metric] = int(
            (~pl.lit(truth).is_between(rows["ci_low"], rows["ci_high"])).pipe(rows.select).sum().item()
        )
        measured[f"{metric}, holds"] = round(1 - missed[metric] / len(rows), 3)
    record(
        f"rare_decisions_{decisions:g}".replace(".", "-"),
        f"4 classes, {ROWS} rows a window, {decisions:g} of them decided to be of the last class on average: the 95 % "
        "interval holds the value of endlessly many rows in 0.95 to 1 of the windows",
        measured,
        n,
        SECTION,
    )
    for metric, count in missed.items():
        check(count, n, MOST_MISSED, f"{metric}, {decisions:g} decisions")


@pytest.mark.parametrize("decisions", EXPECTED_DECISIONS)
def test_means_over_classes_hold_their_value(decisions):
    judge(decisions, 400, seed=31)


@pytest.mark.full
@pytest.mark.parametrize("decisions", EXPECTED_DECISIONS)
def test_means_over_classes_hold_their_value_in_full(decisions):
    judge(decisions, 4000, seed=32)
