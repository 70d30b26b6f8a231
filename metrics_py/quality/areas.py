"""Areas of the scores themselves: every distinct score is a bin of its own.

Ranks cannot be added up, so unlike histograms these areas are those of one group of rows and of no other.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl


def areas_of_scores(rows: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    """ROC AUC and average precision of each group of rows, equal scores counting half.

    Parameters
    ----------
    rows : DataFrame
        `by`, ``score`` and ``is_positive`` (Boolean), without nulls.
    by : sequence of str
        Columns whose values make a group.

    Returns
    -------
    DataFrame
        `by`, ``n_positive, n_negative, roc_auc, average_precision``; null where an area is undefined.

    References
    ----------
    Hanley & McNeil (1982), Radiology 143:29. Davis & Goadrich (2006), ICML.

    Examples
    --------
    >>> rows = pl.DataFrame({"day": "Mon", "score": [0.9, 0.5, 0.5, 0.1], "is_positive": [True, True, False, False]})
    >>> areas_of_scores(rows, ["day"]).select("roc_auc", pl.col("average_precision").round(4)).rows()
    [(0.875, 0.8333)]
    """
    by = list(by)
    positive, negative = pl.col("n_positive"), pl.col("n_negative")
    counts = rows.group_by(*by, "score").agg(
        n_positive=pl.col("is_positive").sum().cast(pl.Float64),
        n_negative=(~pl.col("is_positive")).sum().cast(pl.Float64),
    )
    ranked = counts.sort(*by, "score").with_columns(
        below=negative.cum_sum().over(by) - negative / 2,
        caught=positive.cum_sum(reverse=True).over(by),
        decided=(positive + negative).cum_sum(reverse=True).over(by),
    )
    n_positive, n_negative = positive.sum(), negative.sum()
    wins, gained = (positive * pl.col("below")).sum(), (positive * pl.col("caught") / pl.col("decided")).sum()
    return ranked.group_by(by, maintain_order=True).agg(
        n_positive=n_positive.cast(pl.Int64),
        n_negative=n_negative.cast(pl.Int64),
        roc_auc=pl.when((n_positive > 0) & (n_negative > 0)).then(wins / (n_positive * n_negative)),
        average_precision=pl.when(n_positive > 0).then(gained / n_positive),
    )


def exact_values(areas: pl.DataFrame, by: Sequence[str], task: str) -> pl.DataFrame:
    """Metrics that the areas give, as `metrics_py.quality.table.quality_table` takes them.

    Parameters
    ----------
    areas : DataFrame
        `by`, ``n_positive, roc_auc, average_precision``; of several classes one row per class.
    by : sequence of str
        Key columns.
    task : str
        binary_classification or multiclass_classification.

    Returns
    -------
    DataFrame
        `by`, ``metric, value``: of two classes ``roc_auc`` and ``average_precision``; of several their means over the
        classes that occur, plain (``_macro``) and, of the ROC AUC, weighted by the rows of each (``_weighted``).

    Examples
    --------
    >>> areas = pl.DataFrame(
    ...     {"day": ["Mon"] * 2, "n_positive": [1, 3], "roc_auc": [0.5, 0.9], "average_precision": [0.2, 0.8]}
    ... )
    >>> exact_values(areas, ["day"], "multiclass_classification").rows()
    [('Mon', 'average_precision_macro', 0.5), ('Mon', 'roc_auc_macro', 0.7), ('Mon', 'roc_auc_weighted', 0.8)]
    """
    by, n = list(by), pl.col("n_positive")
    if task == "binary_classification":
        return areas.unpivot(["average_precision", "roc_auc"], index=by, variable_name="metric").drop_nulls("value")
    occurs, auc = areas.filter(n > 0), pl.col("roc_auc")
    known = auc.is_not_null()
    means = occurs.group_by(by, maintain_order=True).agg(
        average_precision_macro=pl.col("average_precision").mean(),
        roc_auc_macro=auc.mean(),
        roc_auc_weighted=(auc * n).sum() / n.filter(known).sum(),
    )
    return means.unpivot(index=by, variable_name="metric").fill_nan(None).drop_nulls("value")
