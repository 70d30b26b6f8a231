"""Weights of rows: no metric is weighted, and windows in which that matters say so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import duckdb
import polars as pl

from sightline.judging.frames import Judged, Work

CODE = "unweighted"
OF_ROWS = ("n_rows", "rejected_rate", "labelled_rate", "label_arrivals")
"""Metrics that are about the rows that came."""
REPLACED = ("exact", "binned")
"""Codes of good values that this one goes before."""


def unequal_weights(con: duckdb.DuckDBPyConnection, keys: Sequence[str]) -> pl.DataFrame:
    """Windows whose rows have different weights.

    Parameters
    ----------
    con : duckdb.DuckDBPyConnection
        The warehouse; the view ``raw.production`` is read.
    keys : sequence of str
        Window keys.

    Returns
    -------
    DataFrame
        ``window_start, low, high``: the smallest and the largest weight.
    """
    query = """
        select window_start, min(weight) as low, max(weight) as high from raw.production
        where window_key between ? and ? and window_key in (select unnest(?::varchar[]))
        group by window_start having min(weight) < max(weight)
    """
    return con.sql(query, params=[min(keys), max(keys), list(keys)]).pl()


def told_weights(work: Work, judged: Judged) -> Judged:
    """Say of values in windows of unequal weights that every row counted once.

    Rows of equal weights need no word: weighted and unweighted metrics are the same.

    Parameters
    ----------
    work : Work
        Windows and warehouse.
    judged : Judged
        What an asset found.
    """
    unequal = unequal_weights(work.con, judged.windows(work.spec, work.keys))
    if unequal.is_empty():
        return judged
    rows = judged.judgements.join(unequal, on="window_start", how="left", maintain_order="left")
    told = pl.format(
        "every row counts once: weights ({} to {}) are added up as sum_weight, and weighted metrics are not computed",
        pl.col("low").round(4),
        pl.col("high").round(4),
    )
    is_told = pl.col("low").is_not_null() & pl.col("value").is_not_null() & ~pl.col("metric").is_in(OF_ROWS)
    is_free = pl.col("reason_code").is_null() | pl.col("reason_code").is_in(REPLACED)
    rows = rows.with_columns(
        reason=pl.when(is_told)
        .then(pl.concat_str("reason", told, separator="; ", ignore_nulls=True))
        .otherwise("reason"),
        reason_code=pl.when(is_told & is_free).then(pl.lit(CODE)).otherwise("reason_code"),
    )
    return replace(judged, judgements=rows.select(judged.judgements.columns))
