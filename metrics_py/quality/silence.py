"""Windows of which only positives are reported: what has no label yet is negative, or a positive that is still to come.

A positive that has been reported stands for ``1 / F(age)`` positives of its kind, F being the share of them that has
been reported by now (`metrics_py.quality.delay_law`, of positives alone). How many rows there are is known, so each of
the positives still to come is one of the rows that count as negative: as many negatives of its kind are taken out
again. Of N rows of a kind, n of them reported, ``n / F`` are positive and ``N - n / F`` negative, which sums to N.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from metrics_py.quality.completed import weigh
from metrics_py.quality.delay_law import DelayLaw

MOST_POSITIVE = 0.99
FEWEST_REPORTED = 10
"""Positives that must have been reported before those to come are counted by them."""


def weigh_reported(
    rows: pl.DataFrame, law: DelayLaw, ages: pl.DataFrame, by: Sequence[str], positive: str, negative: str
) -> pl.DataFrame:
    """Rows of aggregates with weights of which the sums estimate what all reports will say.

    Parameters
    ----------
    rows : DataFrame
        As of `metrics_py.quality.completed.weigh`, every row of a window, reported or not; of the kind ``cells`` also
        ``actual_class`` and the sums of the mart `quality_cells`, of the kind ``bins`` ``is_positive``.
    law : DelayLaw
        How the reports of positives arrive.
    ages : DataFrame
        ``window_start, age``.
    by : sequence of str
        Groups.
    positive : str
        ``label_class`` of positives.
    negative : str
        ``actual_class`` of negatives.

    Returns
    -------
    DataFrame
        As of `metrics_py.quality.completed.weigh`. Positives three times: as negatives, which they would be without
        their report; as positives of weight w = 1 / F; and as negatives of weight -w. ``seen`` and ``completed`` count
        those that are reported and those expected at last.

    Notes
    -----
    Assumed: given the score group, how late a positive is reported depends neither on what else the metric measures nor
    on the window, and what is not reported by `labels.give_up_after` is negative. Reported negatives have no weight of
    their own: they are among the N rows as those of which nothing is heard are. The estimate is unbiased for the sums,
    whatever the share of positives; single bins may hold less than no negatives.

    References
    ----------
    Lawless (1994), Canadian Journal of Statistics 22:15 (events that are reported late). Chapelle (2014), KDD
    (conversions that are not there yet are no negatives). Elkan & Noto (2008), KDD (positives that are labelled at a
    known rate stand for 1 / rate of their kind).
    """
    is_positive = pl.col("label_class") == positive
    reported = rows.filter(is_positive)
    weighed = _no_more_than_there_are(weigh(reported, law, ages, by).with_columns(weight=1 / pl.col("share")), rows, by)
    counted = weighed.with_columns(seen=pl.col("n"))
    nothing = pl.lit(None, dtype=pl.Int64).alias("cell")
    plain = pl.concat([rows.filter(~is_positive), as_negatives(reported, negative)], how="diagonal_relaxed")
    plain = plain.with_columns(nothing, share=1.0, log_variance=0.0, weight=1.0, completed=0.0, seen=0)
    taken = as_negatives(weighed, negative).with_columns(weight=-pl.col("weight"), completed=0.0, seen=0)
    return pl.concat([plain, counted, taken], how="diagonal_relaxed")


def _no_more_than_there_are(weighed: pl.DataFrame, rows: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    """Weights scaled down where the positives expected of one decision outnumber the rows it was taken for.

    By chance they do where few rows are nearly all positive. Less than one row in a hundred (or half of one) stays
    negative then: a share of exactly 1 would look like one that is known.
    """
    keys = [*by, "predicted_class"]
    most = rows.group_by(keys).agg(most=pl.min_horizontal(pl.col("n").sum() - 0.5, pl.col("n").sum() * MOST_POSITIVE))
    expected = weighed.group_by(keys).agg(expected=(pl.col("weight") * pl.col("n")).sum())
    factor = pl.min_horizontal(pl.lit(1.0), pl.col("most") / pl.col("expected"))
    factors = expected.join(most, on=keys, nulls_equal=True).select(*keys, factor=factor)
    joined = weighed.join(factors, on=keys, how="left", nulls_equal=True)
    return joined.with_columns(weight=pl.col("weight") * pl.col("factor")).drop("factor")


def as_negatives(rows: pl.DataFrame, negative: str) -> pl.DataFrame:
    """Positive rows with the class and the losses that they would have as negatives.

    Parameters
    ----------
    rows : DataFrame
        As of `weigh_reported`, of positives.
    negative : str
        ``actual_class`` of negatives.

    Returns
    -------
    DataFrame
        The same rows. With outcome 0 the error is the score s itself: ``s^2 = (s - 1)^2 + 2 s - 1``.
    """
    squared = pl.col("sum_squared_error") + 2 * pl.col("sum_score") - pl.col("n_score")
    return rows.with_columns(
        actual_class=pl.lit(negative),
        is_positive=pl.lit(value=False),
        sum_label=pl.lit(0.0),
        sum_label_sq=pl.lit(0.0),
        sum_error=pl.col("sum_score"),
        sum_abs_error=pl.col("sum_score"),
        sum_squared_error=squared,
        sum_brier=squared,
        sum_log_loss=pl.col("sum_log_loss_negative"),
    )
