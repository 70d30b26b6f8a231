"""Ranking quality per query and its mean over queries, ties of the score counted as every order of them.

A query of one row has no order, and one whose rows are all irrelevant no right one: neither counts. Nor does a query
that lacks the label of a row, for the rows that have theirs are not all it ranked. How many queries count is told by
`relevant_query_rate` and `complete_query_rate`. Rows with equal scores stand in random order, so every metric is its
expectation over these orders; a score without ties gives the usual value. Queries are the unit: `n` is their number,
and intervals come from the jackknife over 64 buckets of them, or of the entities that they belong to.

References
----------
McSherry & Najork (2008), ECIR, LNCS 4956:414 (metrics of tied scores). Jarvelin & Kekalainen (2002), ACM TOIS 20:422
(NDCG). Manning, Raghavan & Schuetze (2008), Introduction to Information Retrieval, ch. 8 (precision, recall, average
precision). Voorhees (1999), TREC-8 (reciprocal rank).
"""

from __future__ import annotations

from functools import partial
from typing import cast

import polars as pl

from metrics_py.quality.queries import K, per_query, ranking_sums
from metrics_py.quality.ranking_metrics import COMPLETE, MANNING, ORDERED, RELEVANT, TIES
from metrics_py.quality.table import quality_table
from metrics_py.registry import metric

NAMES = ORDERED
"""Metrics of the order of a query's rows."""


def ranking_table(rows: pl.DataFrame, *, k: int = K, min_queries: int = 100) -> pl.DataFrame:
    """Mean of every metric over the queries with its 95 % interval, in the form of `quality_table`.

    Parameters
    ----------
    rows : DataFrame
        As for `per_query`; with a column ``entity`` the queries of one (a user, say) stand in one bucket.
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

    Queries (or entities) are independent; queries count alike, whatever their number of rows. Queries without a
    relevant row do not count, `relevant_query_rate` tells how many do. Relevance that is only known of rows that were
    shown makes recall too high.

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
    sums = ranking_sums(rows, k=k).with_columns(_all=pl.lit("all"))
    queries = int(sums.filter(metric=RELEVANT)["n"].sum())
    known = pl.DataFrame({"_all": ["all"], "n_labelled": [queries]})
    table = quality_table(custom=sums, label_counts=known, task="ranking", min_labels=min_queries, by=["_all"])
    return table.drop("_all")


def _mean(rows: pl.DataFrame, name: str, k: int) -> float:
    value = cast("float | None", per_query(rows, k=k)[name].mean())
    return float("nan") if value is None else float(value)


def _rate(rows: pl.DataFrame, name: str) -> float:
    own = ranking_sums(rows).filter(metric=name)
    n = int(own["n"].sum())
    return float(own["sum_value"].sum()) / n if n else float("nan")


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


@_ranking_metric(name="relevant_query_rate")
def relevant_query_rate(rows: pl.DataFrame) -> float:
    """Share of the fully labelled queries of two rows and more that have a relevant row; only they have an order.

    Parameters
    ----------
    rows : DataFrame
        As for `per_query`.

    Returns
    -------
    float
        In [0, 1]; NaN without a query whose labels are all there.

    Raises
    ------
    ValueError
        As `per_query`.

    Examples
    --------
    >>> rows = pl.DataFrame({"query": ["a", "a", "b", "b"], "score": [2.0, 1.0] * 2, "relevance": [0, 1, 0, 0]})
    >>> relevant_query_rate(rows)
    0.5
    """
    return _rate(rows, RELEVANT)


@_ranking_metric(name="complete_query_rate")
def complete_query_rate(rows: pl.DataFrame) -> float:
    """Share of the queries of two rows and more that have the labels of all their rows; no metric counts the others.

    Parameters
    ----------
    rows : DataFrame
        As for `per_query`.

    Returns
    -------
    float
        In [0, 1]; NaN without a query of two rows.

    Raises
    ------
    ValueError
        As `per_query`.

    Examples
    --------
    >>> rows = pl.DataFrame({"query": ["a", "a", "b", "b"], "score": [2.0, 1.0] * 2, "relevance": [0, 1, 0, None]})
    >>> complete_query_rate(rows)
    0.5
    """
    return _rate(rows, COMPLETE)
