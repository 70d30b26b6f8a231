"""Quality of windows whose labels are still coming, corrected for which labels come first.

Every labelled row stands for those of its cell that have no label yet: it counts ``1 / F(age)`` times, F being the
share of the cell's labels that has come (`metrics_py.quality.delay_law`). Ratios, areas and means of the weighted sums
estimate what all labels will say (Hajek). The interval of a metric joins three errors: of the rows that happened and of
which labels came (delete-one-bucket jackknife of the weighted sums, widened for arrivals that clump), and of F itself
(delta method over the cells).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from metrics_py.quality.delay_law import DelayLaw, nearest_cells

STEP = 1e-3
"""Relative change of a cell's weight in the numerical derivative."""

MATURE_SHARE = 0.95
"""Of the labels of every kind of row, from which on a window is called mature."""

IDENTIFIABLE_SHARE = 0.10
"""Below it the rows that have a label tell nothing of the others."""

Z95 = 1.959964
Tables = Mapping[str, pl.DataFrame]
Evaluate = Callable[[Tables, Sequence[str]], pl.DataFrame]


@dataclass(frozen=True)
class Completed:
    """What the labels that came say of all.

    Attributes
    ----------
    table : DataFrame
        As of `metrics_py.quality.table.quality_table`, of the weighted sums, with intervals that know of the delay.
    states : DataFrame
        One row per group: ``seen``, the labels that are in, and ``share_in``, their share of those expected (null where
        there is none).
    """

    table: pl.DataFrame
    states: pl.DataFrame


def weigh(cells: pl.DataFrame, law: DelayLaw, ages: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    """Rows of aggregates with their cell, the share of its labels that is in, and their weight.

    Parameters
    ----------
    cells : DataFrame
        `by` (with ``window_start``), ``label_class, score_group, n, kind``; those of the kind ``cells`` count every
        labelled row once.
    law : DelayLaw
        How the labels arrive.
    ages : DataFrame
        ``window_start, age``.
    by : sequence of str
        Groups within which weights are scaled, so that they sum to the number of labels.

    Returns
    -------
    DataFrame
        `cells` with ``cell, share, log_variance, weight``, and ``seen, completed``: labels that are in, and those
        expected at last. A class that the law does not know has the share of the slowest cell.
    """
    known = ages.join(cells.select("window_start").unique(), on="window_start")
    curves = [law.completion(float(age)) for age in known["age"]]
    frames = [
        pl.DataFrame(
            {
                "window_start": [start] * law.n_cells,
                "cell": np.arange(law.n_cells),
                "share": np.maximum(share, 1e-3),
                "log_variance": variance,
            },
            schema_overrides={"window_start": pl.Datetime("us")},
        )
        for start, (share, variance) in zip(known["window_start"], curves, strict=True)
    ]
    placed = cells.join(nearest_cells(law, cells), on=["label_class", "score_group"], how="left")
    schema = {"window_start": pl.Datetime("us"), "cell": pl.Int64, "share": pl.Float64, "log_variance": pl.Float64}
    of_windows = pl.concat([pl.DataFrame(schema=schema), *frames])
    joined = placed.join(of_windows, on=["window_start", "cell"], how="left")
    slowest = pl.col("share").min().over("window_start")
    joined = joined.with_columns(share=pl.col("share").fill_null(slowest).fill_null(1.0))
    raw = 1 / pl.col("share")
    scaled = raw * pl.col("n").sum().over(list(by)) / (raw * pl.col("n")).sum().over(list(by))
    return joined.with_columns(weight=scaled, seen=pl.col("n"), completed=raw * pl.col("n"))


def complete(
    weighed: pl.DataFrame,
    make: Callable[[pl.DataFrame], Tables],
    evaluate: Evaluate,
    law: DelayLaw,
    by: Sequence[str],
    whole: pl.Expr | None = None,
    shared: str | None = None,
) -> Completed:
    """Corrected quality of some groups.

    Parameters
    ----------
    weighed : DataFrame
        Result of `weigh`, of the joint aggregates.
    make : callable
        Weighed rows -> tables of `quality_table`; must keep key columns that it does not know.
    evaluate : callable
        (tables, keys) -> result of `quality_table`.
    law : DelayLaw
        How the labels arrive.
    by : sequence of str
        Keys of the groups.
    whole : Expr, optional
        The error of the law is computed for these rows only...
    shared : str, optional
        ... and is that of all groups with the same value of this key. Default: each group has its own.

    Returns
    -------
    Completed
        Table and states of all groups.
    """
    keys = list(by)
    cells = weighed.filter(pl.col("kind") == "cells")
    seen = pl.col("seen").sum()
    states = cells.group_by(keys).agg(seen=seen, share_in=(seen / pl.col("completed").sum()).fill_nan(None))
    states = states.join(_share_of_slowest_class(cells, law, keys), on=keys, how="left")
    table = evaluate(make(weighed), keys)
    errors = _error_of_law(weighed if whole is None else weighed.filter(whole), make, evaluate, keys)
    on = keys if shared is None else [shared]
    errors = errors.group_by(*on, "metric").agg(pl.col("law_variance").max())
    table = _widened(table, states, errors, law.overdispersion, keys, on)
    return Completed(table, states.drop("share_of_class"))


def _share_of_slowest_class(cells: pl.DataFrame, law: DelayLaw, keys: list[str]) -> pl.DataFrame:
    """``share_of_class``: labels that are in, of those expected, of the class that lacks most.

    Of all classes together they say nothing of a rare one, on which precision and recall depend. Cells that decide
    nothing (`metrics_py.quality.delay_law.DelayLaw.decides`) do not count.
    """
    decisive = cells.filter(pl.col("cell").is_in(np.flatnonzero(law.decides)))
    share = (pl.col("seen").sum() / pl.col("completed").sum()).fill_nan(None)
    return decisive.group_by(*keys, "label_class").agg(share=share).group_by(keys).agg(share_of_class=pl.min("share"))


def _error_of_law(
    weighed: pl.DataFrame, make: Callable[[pl.DataFrame], Tables], evaluate: Evaluate, keys: list[str]
) -> pl.DataFrame:
    """Variance of each metric that comes from the law: derivative by the logarithm of each cell's share, squared.

    Of a group with rows of several ages, the errors of a cell at all of them are taken for one, each as large as it is:
    what comes after the oldest is unknown to all.
    """
    largest = pl.col("log_variance").max()
    cells = weighed.group_by(*keys, "cell").agg(largest).filter(pl.col("log_variance") > 0)
    base = pl.concat([cells.select(*keys, "cell"), cells.select(keys).unique().with_columns(cell=pl.lit(-1, pl.Int64))])
    moved = base.rename({"cell": "moved"}).join(weighed, on=keys)
    part = (pl.col("log_variance") / pl.col("log_variance").max().over(*keys, "moved", "cell")).sqrt().fill_nan(0.0)
    factor = pl.when(pl.col("moved") == pl.col("cell")).then(1 + STEP * part.fill_null(0.0)).otherwise(1.0)
    moved = moved.with_columns(weight=pl.col("weight") * factor, bucket=pl.lit(0, pl.Int32))
    found = evaluate(make(moved), [*keys, "moved"]).select(*keys, "moved", "metric", "value")
    still = found.filter(pl.col("moved") == -1).drop("moved").rename({"value": "still"})
    slopes = (
        found.filter(pl.col("moved") >= 0)
        .join(still, on=[*keys, "metric"])
        .join(cells.rename({"cell": "moved"}), on=[*keys, "moved"])
    )
    slope = (pl.col("value") - pl.col("still")) / STEP
    return slopes.group_by(*keys, "metric").agg(law_variance=(slope**2 * pl.col("log_variance")).sum())


def _widened(
    table: pl.DataFrame,
    states: pl.DataFrame,
    errors: pl.DataFrame,
    overdispersion: float,
    keys: list[str],
    shared: list[str],
) -> pl.DataFrame:
    """Intervals and variances with the errors that the delay adds; ``final_half``: of the value to come."""
    joined = table.join(errors, on=[*shared, "metric"], how="left").join(states, on=keys, how="left")
    error = (pl.col("ci_high") - pl.col("ci_low")) / (2 * Z95)
    missing = (1 - pl.coalesce("share_of_class", "share_in")).clip(0, 1).fill_null(1.0)
    law = pl.col("law_variance").fill_null(0.0)
    more = law + (overdispersion - 1) * missing * error**2
    low = pl.col("value") - ((pl.col("value") - pl.col("ci_low")) ** 2 + Z95**2 * more).sqrt()
    high = pl.col("value") + ((pl.col("ci_high") - pl.col("value")) ** 2 + Z95**2 * more).sqrt()
    factor = pl.when(error > 0).then(1 + more / error**2).otherwise(1.0)
    return joined.with_columns(
        ci_low=low,
        ci_high=high,
        variance=pl.col("variance") * factor,
        final_half=Z95 * (overdispersion * missing * error**2 + law).sqrt(),
    ).drop("law_variance", "share_in", "share_of_class", "seen")
