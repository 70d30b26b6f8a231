"""One verdict per column and window, whatever decides for its kind, and the newest verdict of each column."""

from __future__ import annotations

import polars as pl

from sightline.spec.model import MonitorSpec
from sightline.spec.multivariate import JOINT, embedding_columns
from sightline.spec.words import text_columns

FAR = ("warn", "alert")
RANKS = {"insufficient_data": -1, "ok": 0, "provisional": 0, "warn": 1, "alert": 2}


def verdicts(rows: pl.DataFrame, spec: MonitorSpec) -> pl.DataFrame:
    """Judgements of `drift`, one per column and window.

    Parameters
    ----------
    rows : DataFrame
        All judgements of the asset `drift` of one segment and version.
    spec : MonitorSpec

    Returns
    -------
    DataFrame
        Rows of the deciding distance (`drift.method`); of embeddings, texts and all columns together, which have
        several, the one with the gravest state, and of those the farthest beyond its bound. Sorted by window.
    """
    several = {*embedding_columns(spec), *text_columns(spec), JOINT}
    is_several = pl.col("column").is_in(sorted(several))
    plain = rows.filter(~is_several, pl.col("metric") == spec.drift.method)
    beyond = pl.col("value") / pl.col("bound_high")
    worst = (
        rows.filter(is_several)
        .with_columns(rank=pl.col("status").replace_strict(RANKS, default=0), beyond=beyond)
        .sort("rank", "beyond", nulls_last=False)
        .group_by("column", "window_start", maintain_order=True)
        .last()
        .select(rows.columns)
    )
    return pl.concat([plain, worst]).sort("window_start", maintain_order=True)


def newest(rows: pl.DataFrame) -> pl.DataFrame:
    """The newest verdict of each column: columns judged over several windows have none in most of them."""
    known = rows.with_columns(has_value=pl.col("value").is_not_null()).sort("has_value", "window_start")
    return known.group_by("column", maintain_order=True).last().drop("has_value")
