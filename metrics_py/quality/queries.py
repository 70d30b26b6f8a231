"""Ranking within a query: the metrics of each one, and their sums by bucket.

See `metrics_py.quality.ranking`.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import gammaln

from metrics_py.intervals import N_BUCKETS
from metrics_py.profile.values import categories_of
from metrics_py.quality.ranking_metrics import COMPLETE, ORDERED, RELEVANT

FloatArray = NDArray[np.float64]
K = 10


def per_query(rows: pl.DataFrame, *, k: int = K) -> pl.DataFrame:
    """Metrics of every query of two rows or more that has the labels of all of them, and a relevant one.

    Parameters
    ----------
    rows : DataFrame
        ``query`` (any scalar), ``score`` (higher is earlier), ``relevance`` (at least 0; above 0 is relevant). Rows
        without a query or a score were not ranked and do not count.
    k : int, default 10
        Places that are looked at.

    Returns
    -------
    DataFrame
        ``query, n_rows, n_relevant, ndcg, map, mrr, precision_at_k, recall_at_k, hit_rate_at_k``. NDCG takes the
        relevance itself as gain, ``map`` divides by the relevant rows that fit into k places, precision by k.

    Raises
    ------
    ValueError
        If a column is missing, k is below 1, or a relevance is negative.

    Examples
    --------
    >>> found = per_query(pl.DataFrame({"query": ["q"] * 3, "score": [3.0, 2.0, 1.0], "relevance": [0, 1, 0]}))
    >>> found.select(pl.col("ndcg").round(4), "map", "mrr").row(0)
    (0.6309, 0.5, 0.5)
    """
    rows = _checked(rows, k)
    rows = rows.join(_complete(rows), on="query", how="semi")
    ranked = _ranked(rows)
    gain = _sums(ranked, ranked["mean_gain"].to_numpy() * _discount(ranked["place"].to_numpy(), k))
    ideal = _ideal(rows, k)
    place, chance, before, after, offset = (
        ranked[name].to_numpy().astype(float) for name in ("place", "chance", "before", "after", "offset")
    )
    inside = place <= k
    first = _first(ranked) * inside
    precision = chance * (before + offset * after + 1) / place * inside
    found = (
        ranked.select("query")
        .unique(maintain_order=True)
        .with_columns(
            dcg=gain,
            sum_precision=_sums(ranked, precision),
            hits=_sums(ranked, chance * inside),
            mrr=_sums(ranked, first / place),
            hit_rate_at_k=_sums(ranked, first),
        )
    )
    relevant = pl.col("n_relevant")
    return (
        found.join(ideal, on="query")
        .filter(relevant > 0)
        .select(
            "query",
            "n_rows",
            "n_relevant",
            ndcg=pl.col("dcg") / pl.col("ideal"),
            map=pl.col("sum_precision") / pl.min_horizontal(relevant, k),
            mrr="mrr",
            precision_at_k=pl.col("hits") / k,
            recall_at_k=pl.col("hits") / relevant,
            hit_rate_at_k="hit_rate_at_k",
        )
    )


def ranking_sums(rows: pl.DataFrame, *, k: int = K) -> pl.DataFrame:
    """Sums of every metric over the queries of each bucket, as the mart `custom_sums` has them.

    Parameters
    ----------
    rows : DataFrame
        As for `per_query`; where there is a column ``bucket`` that of a query's first row is the query's, else the
        ``entity``, else the query itself is hashed into one of 64.
    k : int, default 10
        Places that are looked at.

    Returns
    -------
    DataFrame
        ``bucket, metric, n, sum_value, sum_value_sq``; `n` counts queries. A metric without any query has one row.

    Raises
    ------
    ValueError
        As `per_query`.

    Examples
    --------
    >>> rows = pl.DataFrame({"query": ["a", "a", "b", "b"], "score": [2.0, 1.0] * 2, "relevance": [0, 1, 0, 0]})
    >>> ranking_sums(rows).filter(metric="relevant_query_rate").select(pl.col("n", "sum_value").sum()).row(0)
    (2, 1.0)
    """
    checked = _checked(rows, k)
    whole = _complete(checked).select("query", complete=pl.lit(value=True))
    known = (
        checked.group_by("query")
        .agg(bucket=_bucket(checked), n_rows=pl.len(), relevant=(pl.col("relevance") > 0).any())
        .filter(pl.col("n_rows") > 1)
        .join(whole, on="query", how="left")
        .with_columns(pl.col("complete").fill_null(value=False))
        .join(per_query(rows, k=k).drop("n_rows"), on="query", how="left")
        .with_columns(
            pl.when("complete").then(pl.col("relevant").cast(pl.Float64)).alias(RELEVANT),
            pl.col("complete").cast(pl.Float64).alias(COMPLETE),
        )
    )
    names = (*ORDERED, RELEVANT, COMPLETE)
    long = known.unpivot(on=names, index="bucket", variable_name="metric").drop_nulls("value")
    sums = long.group_by("bucket", "metric").agg(
        n=pl.len().cast(pl.Int64), sum_value=pl.col("value").sum(), sum_value_sq=(pl.col("value") ** 2).sum()
    )
    lost = [name for name in names if name not in set(sums["metric"])]
    nothing = pl.DataFrame({"metric": lost}, schema={"metric": pl.String}).with_columns(
        bucket=pl.lit(0, pl.Int32), n=pl.lit(0, pl.Int64), sum_value=0.0, sum_value_sq=0.0
    )
    return pl.concat([sums, nothing.select(sums.columns)])


def _bucket(rows: pl.DataFrame) -> pl.Expr:
    if "bucket" in rows.columns:
        return pl.col("bucket").first().cast(pl.Int32)
    unit = pl.col("entity") if "entity" in rows.columns else pl.col("query")
    return (unit.first().cast(pl.String).hash(seed=0) % N_BUCKETS).cast(pl.Int32)


def _complete(rows: pl.DataFrame) -> pl.DataFrame:
    """Queries of two rows or more, all of them with a label."""
    counts = rows.group_by("query", maintain_order=True).agg(n_rows=pl.len(), n_labelled=pl.col("relevance").count())
    return counts.filter((pl.col("n_rows") > 1) & (pl.col("n_labelled") == pl.col("n_rows"))).select("query")


def _checked(rows: pl.DataFrame, k: int) -> pl.DataFrame:
    if k < 1:
        raise ValueError(f"ranking: k={k} must be at least 1")
    for name in ("query", "score", "relevance"):
        if name not in rows.columns:
            raise ValueError(f"ranking: there is no column {name!r}; there are: {', '.join(rows.columns)}")
    numbers = [pl.col(name).cast(pl.Float64) for name in ("score", "relevance")]
    query = categories_of(rows["query"], "categorical", "query")
    more = [name for name in ("bucket", "entity") if name in rows.columns]
    known = (
        rows.select(query.alias("query"), *numbers, *more)
        .drop_nulls(["query", "score"])
        .filter(pl.col("score").is_finite())
        .with_columns(relevance=pl.when(pl.col("relevance").is_finite()).then("relevance"))
    )
    if (known["relevance"] < 0).any():
        raise ValueError("ranking: the column 'relevance' holds negative values; 0 is irrelevant, more is better")
    return known


def _ranked(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows by query and falling score.

    With their place, and of the tied rows number, mean gain, chance to be relevant and place within.
    """
    ties = ["query", "score"]
    relevant = pl.col("relevance") > 0
    ordered = rows.sort(ties, descending=[False, True]).with_columns(
        place=pl.int_range(1, pl.len() + 1).over("query"),
        offset=pl.int_range(pl.len()).over(ties),
        tied=pl.len().over(ties),
        tied_relevant=relevant.sum().over(ties),
        mean_gain=pl.col("relevance").mean().over(ties),
        seen=relevant.cast(pl.Int64).cum_sum().over("query"),
    )
    return ordered.with_columns(
        chance=pl.col("tied_relevant") / pl.col("tied"),
        before=pl.col("seen").max().over(ties) - pl.col("tied_relevant").cast(pl.Int64),
        after=pl.when(pl.col("tied") > 1)
        .then((pl.col("tied_relevant").cast(pl.Float64) - 1) / (pl.col("tied") - 1))
        .otherwise(0.0),
    )


def _first(ranked: pl.DataFrame) -> FloatArray:
    """Probability that a place holds the first relevant row of its query: none before it, in its ties or above."""
    n, r, j = (ranked[name].to_numpy().astype(float) for name in ("tied", "tied_relevant", "offset"))
    possible = (ranked["before"].to_numpy() == 0) & (r > 0) & (n - 1 - j >= r - 1)
    n, r, j = n[possible], r[possible], j[possible]
    chance = np.zeros(len(ranked))
    chance[possible] = np.exp(_log_choose(n - 1 - j, r - 1) - _log_choose(n, r))
    return chance


def _log_choose(n: FloatArray, k: FloatArray) -> FloatArray:
    return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)


def _discount(place: NDArray[np.integer], k: int) -> FloatArray:
    return np.where(place <= k, 1 / np.log2(place + 1.0), 0.0)


def _ideal(rows: pl.DataFrame, k: int) -> pl.DataFrame:
    """Rows, relevant rows and the best possible DCG of every query."""
    best = rows.sort("query", "relevance", descending=[False, True]).with_columns(
        place=pl.int_range(1, pl.len() + 1).over("query")
    )
    gain = best["relevance"].to_numpy() * _discount(best["place"].to_numpy(), k)
    return (
        best.with_columns(gain=gain)
        .group_by("query")
        .agg(n_rows=pl.len(), n_relevant=(pl.col("relevance") > 0).sum().cast(pl.Int64), ideal=pl.col("gain").sum())
    )


def _sums(ranked: pl.DataFrame, values: FloatArray) -> pl.Series:
    """Sum of a value over the rows of each query, in their order."""
    summed = ranked.select("query", value=values).group_by("query", maintain_order=True).agg(pl.col("value").sum())
    return summed["value"]
