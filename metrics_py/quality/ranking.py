"""Ranking quality per query and its mean over queries, ties of the score counted as every order of them.

A query whose rows are all irrelevant has no right order: it does not count. Rows with equal scores stand in random
order, so every metric is its expectation over these orders; a score without ties gives the usual value. Queries are the
unit: `n` is their number, and intervals come from the jackknife over 64 buckets of queries.

References
----------
McSherry & Najork (2008), ECIR, LNCS 4956:414 (metrics of tied scores). Jarvelin & Kekalainen (2002), ACM TOIS 20:422
(NDCG). Manning, Raghavan & Schuetze (2008), Introduction to Information Retrieval, ch. 8 (precision, recall, average
precision). Voorhees (1999), TREC-8 (reciprocal rank).
"""

from __future__ import annotations

from functools import partial
from typing import cast

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import gammaln

from metrics_py.intervals import N_BUCKETS
from metrics_py.profile.values import categories_of
from metrics_py.quality.table import quality_table
from metrics_py.registry import metric

FloatArray = NDArray[np.float64]
NAMES = ("ndcg", "map", "mrr", "precision_at_k", "recall_at_k", "hit_rate_at_k")
K = 10


def per_query(rows: pl.DataFrame, *, k: int = K) -> pl.DataFrame:
    """Metrics of every query that has a relevant row.

    Parameters
    ----------
    rows : DataFrame
        ``query`` (any scalar), ``score`` (higher is earlier), ``relevance`` (at least 0; above 0 is relevant). Rows
        without one of them do not count.
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


def ranking_table(rows: pl.DataFrame, *, k: int = K, min_queries: int = 100) -> pl.DataFrame:
    """Mean of every metric over the queries with its 95 % interval, in the form of `quality_table`.

    Parameters
    ----------
    rows : DataFrame
        As for `per_query`.
    k : int, default 10
        Places that are looked at.
    min_queries : int, default 100
        Fewer queries with a relevant row: insufficient_data.

    Returns
    -------
    DataFrame
        ``metric, value, ci_low, ci_high, n, status, reason, ...``; `n` counts queries.

    Raises
    ------
    ValueError
        If a column is missing, k is below 1, or a relevance is negative.

    Notes
    -----
    Queries are hashed into 64 buckets. The interval is Wilson's for the number of zeros and ones that would give the
    mean the delete-one-bucket jackknife's standard error: it stays within [0, 1]. With fewer than 20 queries' worth of
    either, or where all queries have one value, it is not taken to be shorter than that of as many zeros and ones,
    which no values between 0 and 1 vary more than.

    Queries are independent and count alike, whatever their number of rows; queries without a relevant row do not count,
    so a rise of their number is not seen here. Relevance that is only known of rows that were shown makes recall too
    high.

    References
    ----------
    Jarvelin & Kekalainen (2002), ACM TOIS 20:422 (NDCG). Manning, Raghavan & Schuetze (2008), Introduction to
    Information Retrieval, ch. 8. Voorhees (1999), TREC-8 (reciprocal rank). McSherry & Najork (2008), ECIR, LNCS
    4956:414 (ties). Wilson (1927), JASA 22:209. Franco, Little, Louis & Slud (2019), JSSAM 7:334.

    Examples
    --------
    The relevant row is second of one query and first of the other; ``(1/log2(3) + 1) / 2`` and ``(1/2 + 1) / 2``:

    >>> score, relevance = [3.0, 2.0, 1.0] * 2, [0, 1, 0, 1, 0, 0]
    >>> rows = pl.DataFrame({"query": ["a"] * 3 + ["b"] * 3, "score": score, "relevance": relevance})
    >>> found = ranking_table(rows, min_queries=2).filter(pl.col("metric").is_in(["ndcg", "mrr"]))
    >>> found.select("metric", pl.col("value").round(4), "n").rows()
    [('mrr', 0.75, 2), ('ndcg', 0.8155, 2)]
    """
    found = per_query(rows, k=k)
    bucket = (pl.col("query").hash(seed=0) % N_BUCKETS).cast(pl.Int64)
    long = found.select(pl.lit("all").alias("_all"), bucket.alias("bucket"), *NAMES).unpivot(
        on=NAMES, index=["_all", "bucket"], variable_name="metric"
    )
    sums = long.group_by("_all", "bucket", "metric").agg(n=pl.len(), sum_value=pl.col("value").sum())
    if sums.is_empty():  # the metrics are named even though nothing is known of them
        sums = pl.DataFrame({"_all": "all", "bucket": 0, "metric": NAMES, "n": 0, "sum_value": 0.0})
    known = pl.DataFrame({"_all": ["all"], "n_labelled": [found.height]})
    table = quality_table(
        custom=sums, label_counts=known, task="ranking", min_labels=min_queries, by=["_all"], bounded=NAMES
    )
    return table.drop("_all")


def _checked(rows: pl.DataFrame, k: int) -> pl.DataFrame:
    if k < 1:
        raise ValueError(f"ranking: k={k} must be at least 1")
    for name in ("query", "score", "relevance"):
        if name not in rows.columns:
            raise ValueError(f"ranking: there is no column {name!r}; there are: {', '.join(rows.columns)}")
    numbers = [pl.col(name).cast(pl.Float64) for name in ("score", "relevance")]
    query = categories_of(rows["query"], "categorical", "query")
    known = (
        rows.select(query.alias("query"), *numbers)
        .drop_nulls()
        .filter(pl.all_horizontal(pl.col("score", "relevance").is_finite()))
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


def _mean(rows: pl.DataFrame, name: str, k: int) -> float:
    value = cast("float | None", per_query(rows, k=k)[name].mean())
    return float("nan") if value is None else float(value)


MANNING = "Manning, Raghavan & Schuetze (2008), ch. 8"
TIES = "McSherry & Najork (2008), LNCS 4956:414"

_ranking_metric = partial(metric, task="ranking", needs="rows", direction="higher_is_better", range=(0, 1))


@_ranking_metric(name="ndcg", references=("Jarvelin & Kekalainen (2002), ACM TOIS 20:422", TIES))
def ndcg(rows: pl.DataFrame, k: int = K) -> float:
    """Discounted gain of the first k places of a query, relative to the best order; mean over queries.

    Parameters
    ----------
    rows : DataFrame
        As for `per_query`.
    k : int, default 10
        Places that are looked at.

    Returns
    -------
    float
        In [0, 1]; NaN without a query that has a relevant row.

    Raises
    ------
    ValueError
        As `per_query`.

    Notes
    -----
    ``sum_i r_i / log2(i + 1)`` over the first k places, over the same sum of the best order; the gain is the relevance
    itself, not ``2^r - 1``.

    References
    ----------
    Jarvelin & Kekalainen (2002), ACM TOIS 20:422.

    Examples
    --------
    The only relevant row is second: ``1 / log2(3)``.

    >>> round(ndcg(pl.DataFrame({"query": ["q"] * 3, "score": [3.0, 2.0, 1.0], "relevance": [0, 1, 0]})), 4)
    0.6309
    """
    return _mean(rows, "ndcg", k)


@_ranking_metric(name="map", references=(MANNING, TIES))
def mean_average_precision(rows: pl.DataFrame, k: int = K) -> float:
    """Precision averaged over the places of the relevant rows among the first k; mean over queries.

    Parameters
    ----------
    rows : DataFrame
        As for `per_query`.
    k : int, default 10
        Places that are looked at.

    Returns
    -------
    float
        In [0, 1]; NaN without a query that has a relevant row.

    Raises
    ------
    ValueError
        As `per_query`.

    Examples
    --------
    Relevant rows are first and third: ``(1/1 + 2/3) / 2``.

    >>> rows = pl.DataFrame({"query": ["q"] * 3, "score": [3.0, 2.0, 1.0], "relevance": [1, 0, 1]})
    >>> round(mean_average_precision(rows), 4)
    0.8333
    """
    return _mean(rows, "map", k)


@_ranking_metric(name="mrr", references=("Voorhees (1999), TREC-8", TIES))
def mean_reciprocal_rank(rows: pl.DataFrame, k: int = K) -> float:
    """1 / place of the first relevant row, 0 beyond place k; mean over queries.

    Parameters
    ----------
    rows : DataFrame
        As for `per_query`.
    k : int, default 10
        Places that are looked at.

    Returns
    -------
    float
        In [0, 1]; NaN without a query that has a relevant row.

    Raises
    ------
    ValueError
        As `per_query`.

    Examples
    --------
    >>> rows = pl.DataFrame({"query": ["q"] * 3, "score": [3.0, 2.0, 1.0], "relevance": [0, 1, 1]})
    >>> mean_reciprocal_rank(rows), mean_reciprocal_rank(rows, k=1)
    (0.5, 0.0)
    """
    return _mean(rows, "mrr", k)


@_ranking_metric(name="precision_at_k", references=(MANNING, TIES))
def precision_at_k(rows: pl.DataFrame, k: int = K) -> float:
    """Share of the first k places that hold a relevant row; mean over queries.

    Parameters
    ----------
    rows : DataFrame
        As for `per_query`.
    k : int, default 10
        Places that are looked at; places that a short query leaves empty count as irrelevant.

    Returns
    -------
    float
        In [0, 1]; NaN without a query that has a relevant row.

    Raises
    ------
    ValueError
        As `per_query`.

    Examples
    --------
    >>> rows = pl.DataFrame({"query": ["q"] * 3, "score": [3.0, 2.0, 1.0], "relevance": [0, 1, 1]})
    >>> precision_at_k(rows, k=2), precision_at_k(rows, k=4)
    (0.5, 0.5)
    """
    return _mean(rows, "precision_at_k", k)


@_ranking_metric(name="recall_at_k", references=(MANNING, TIES))
def recall_at_k(rows: pl.DataFrame, k: int = K) -> float:
    """Share of the relevant rows that stand among the first k; mean over queries.

    Parameters
    ----------
    rows : DataFrame
        As for `per_query`.
    k : int, default 10
        Places that are looked at.

    Returns
    -------
    float
        In [0, 1]; NaN without a query that has a relevant row.

    Raises
    ------
    ValueError
        As `per_query`.

    Examples
    --------
    >>> rows = pl.DataFrame({"query": ["q"] * 3, "score": [3.0, 2.0, 1.0], "relevance": [0, 1, 1]})
    >>> recall_at_k(rows, k=2)
    0.5
    """
    return _mean(rows, "recall_at_k", k)


@_ranking_metric(name="hit_rate_at_k", references=(MANNING, TIES))
def hit_rate_at_k(rows: pl.DataFrame, k: int = K) -> float:
    """Share of the queries with a relevant row among the first k.

    Parameters
    ----------
    rows : DataFrame
        As for `per_query`.
    k : int, default 10
        Places that are looked at.

    Returns
    -------
    float
        In [0, 1]; NaN without a query that has a relevant row.

    Raises
    ------
    ValueError
        As `per_query`.

    Examples
    --------
    A tie of one relevant and one irrelevant row hits the first place in half of its orders:

    >>> round(hit_rate_at_k(pl.DataFrame({"query": ["q"] * 2, "score": [1.0, 1.0], "relevance": [0, 1]}), k=1), 6)
    0.5
    """
    return _mean(rows, "hit_rate_at_k", k)
