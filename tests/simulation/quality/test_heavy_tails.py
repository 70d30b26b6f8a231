"""Intervals of regression errors with light and heavy tails, through the table that the product judges by.

Where a few rows decide the mean squared error there is no interval; the promise is that an interval which is given is
wrong in few of all windows, whatever the tail, and that light tails do get theirs.
"""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from metrics_py.intervals import N_BUCKETS, N_SEGMENT_BUCKETS
from metrics_py.quality.table import quality_table
from tests.support import acceptance
from tests.support.measured import record

SECTION = "Metric intervals and comparisons"
SIZES = [pytest.param(0.1, id="tenth"), pytest.param(1.0, id="full", marks=pytest.mark.full)]
SPREAD = 2  # of the labels, in standard deviations of the error

# error law -> (draw, mean square, mean absolute value, variance)
LAWS = {
    "normal": (lambda r, n: r.normal(size=n), 1.0, np.sqrt(2 / np.pi), 1.0),
    "t3": (lambda r, n: r.standard_t(3, size=n), 3.0, 2 * np.sqrt(3) / np.pi, 3.0),
    "lognormal(1.5)": (
        lambda r, n: r.lognormal(0, 1.5, n),
        np.exp(4.5),
        np.exp(1.125),
        np.exp(4.5) - np.exp(2.25),
    ),
}
PROMISED = {
    N_BUCKETS: {"rmse": 0.06, "r2": 0.06, "mae": 0.075},
    N_SEGMENT_BUCKETS: {"rmse": 0.08, "r2": 0.08, "mae": 0.08},
}


def sums(rng, law, n, windows, n_buckets):
    """Bucket sums of so many windows, and the true value of each metric."""
    draw, square, absolute, variance = LAWS[law]
    parts = []
    for window in range(windows):
        error = draw(rng, n)
        label = rng.normal(0, SPREAD * np.sqrt(square), n) - error
        bucket = rng.integers(0, n_buckets, n)
        columns = (np.ones(n), label, label**2, error, np.abs(error), error**2)
        parts.append(np.stack([np.full(n_buckets, window), *(np.bincount(bucket, c, n_buckets) for c in columns)]))
    names = ("window", "n", "sum_label", "sum_label_sq", "sum_error", "sum_abs_error", "sum_squared_error")
    frame = pl.DataFrame(dict(zip(names, np.concatenate(parts, axis=1), strict=True)))
    segment = "all" if n_buckets == N_BUCKETS else "part"
    frame = frame.with_columns(segment=pl.lit(segment), bucket=pl.int_range(pl.len()) % n_buckets, n_score="n").filter(
        pl.col("n") > 0
    )
    truth = {"rmse": np.sqrt(square), "mae": absolute, "r2": 1 - square / (SPREAD**2 * square + variance)}
    return frame, truth


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("n_buckets", PROMISED)
def test_a_given_interval_is_seldom_wrong(n_buckets, law, size):
    rng = np.random.default_rng([81, n_buckets, list(LAWS).index(law)])
    measured, failures, runs = {}, {}, 0
    for n in (200, 2000, 20_000):
        runs = round(acceptance.repetitions(min(PROMISED[n_buckets].values())) * size)
        frame, truth = sums(rng, law, n, runs, n_buckets)
        found = quality_table(sums=frame, task="regression", by=["window", "segment"])
        for metric, true in truth.items():
            rows = found.filter(pl.col("metric") == metric)
            given = rows.filter(pl.col("status") == "ok")
            assert given["ci_low"].null_count() == 0
            assert set(rows["reason_code"].drop_nulls()) <= {"heavy_tail"}
            missed = given.filter((pl.col("ci_low") > true) | (pl.col("ci_high") < true)).height
            measured |= {f"n={n}, {metric}: wrong": missed / runs, f"n={n}, {metric}: given": given.height / runs}
            failures[n, metric] = missed
            assert (given.height == runs) or metric != "mae"
        if law == "normal":
            assert measured[f"n={n}, rmse: given"] > (0.8 if n_buckets == N_BUCKETS or n > 200 else 0.7)
        if law == "lognormal(1.5)":
            assert measured[f"n={n}, rmse: given"] < 0.05
    name = f"regression_intervals_{law.replace('(', '_').replace(')', '').replace('.', '_')}_{n_buckets}_buckets"
    told = ", ".join(f"{metric} {rate}" for metric, rate in PROMISED[n_buckets].items())
    record(name, f"an interval is given and wrong in at most: {told} of the windows", measured, runs, SECTION)
    for (n, metric), missed in failures.items():
        acceptance.check(missed, runs, PROMISED[n_buckets][metric], f"{law}, n={n}, {metric}")
