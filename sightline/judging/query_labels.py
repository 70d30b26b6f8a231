"""Ranking: what queries that lack the label of a row could change, and where they are too many for a number."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from metrics_py.quality.ranking_metrics import COMPLETE, ORDERED, RELEVANT
from metrics_py.wording import percent
from sightline.judging.frames import BY

TOLERATED = 0.05
"""Share of incomplete queries up to which there is a number, with an interval that allows for whatever they are."""

JUDGED = (*ORDERED, RELEVANT)
NUMBERS = ("value", "ci_low", "ci_high", "stabilised_value", "variance")
SILENCE = "where no label means irrelevant, the monitor's file can say so: `labels.silence: negative`"


def with_incomplete(table: pl.DataFrame, by: Sequence[str] = BY) -> pl.DataFrame:
    """Widen the intervals of ranking metrics by what incomplete queries could be, or withhold the numbers.

    Parameters
    ----------
    table : DataFrame
        As of `metrics_py.quality.table.quality_table`, with the metric ``complete_query_rate``.
    by : sequence of str
        Its key columns.

    Returns
    -------
    DataFrame
        The same rows. A query without the label of some row does not count: of n that count and M that lack labels the
        mean lies in ``[n low / (n + M), (n high + M) / (n + M)]`` whatever the M would be. Where M is more than
        `TOLERATED` of the queries there is no number: which queries are complete depends on how long they are, and on
        what their rows are worth.
    """
    shares = table.filter(pl.col("metric") == COMPLETE).select(
        *by, lost=(1 - pl.col("value")) * pl.col("n"), queries=pl.col("n")
    )
    joined = table.join(shares, on=list(by), how="left", nulls_equal=True, maintain_order="left")
    is_ours = pl.col("metric").is_in(list(JUDGED)) & (pl.col("lost") > 0.5).fill_null(value=False)
    lost, n = pl.col("lost"), pl.col("n").cast(pl.Float64)
    share = lost / pl.col("queries")
    is_withheld = is_ours & (share > TOLERATED)
    is_widened = is_ours & ~is_withheld & pl.col("value").is_not_null()
    lacking = pl.format(
        "{} of {} queries lack the label of a row", share.map_elements(percent, return_dtype=pl.String), "queries"
    )
    why = pl.format("{}, and what their order is worth is not known; {}", lacking, pl.lit(SILENCE))
    ends = {"ci_low": pl.col("ci_low") * n / (n + lost), "ci_high": (pl.col("ci_high") * n + lost) / (n + lost)}
    told = pl.concat_str(
        "reason", pl.format("{}: the interval allows for whatever they are", lacking), separator="; ", ignore_nulls=True
    )
    return joined.with_columns(
        *(pl.when(is_withheld).then(None).otherwise(name).alias(name) for name in NUMBERS if name not in ends),
        *(
            pl.when(is_withheld).then(None).when(is_widened).then(end).otherwise(name).alias(name)
            for name, end in ends.items()
        ),
        status=pl.when(is_withheld).then(pl.lit("insufficient_data")).otherwise("status"),
        reason=pl.when(is_withheld).then(why).when(is_widened).then(told).otherwise("reason"),
        reason_code=pl.when(is_withheld)
        .then(pl.lit("not_identifiable"))
        .when(is_widened & pl.col("reason_code").is_null())
        .then(pl.lit("never_labelled"))
        .otherwise("reason_code"),
    ).drop("lost", "queries")
