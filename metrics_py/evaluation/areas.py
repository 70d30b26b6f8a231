"""Areas of the scores themselves without each bucket of entities: how precise they are, bins play no part."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metrics_py.quality.areas import areas_of_scores, exact_values

FloatArray = NDArray[np.float64]
ALL = -1
"""In the column ``without``: no bucket is left out."""
SCHEMA = pl.Schema(
    {
        "segment": pl.String,
        "class_name": pl.String,
        "without": pl.Int64,
        "n_positive": pl.Int64,
        "roc_auc": pl.Float64,
        "average_precision": pl.Float64,
    }
)


def deleted_areas(rows: pl.DataFrame, task: str) -> pl.DataFrame:
    """Metrics of ranks, of all rows and without each bucket that holds some.

    Ranks cannot be added up, so a delete-one-bucket jackknife of exact areas needs each area without each bucket.

    Parameters
    ----------
    rows : DataFrame
        ``segment, bucket, class_name, score, is_positive``.
    task : str
        binary_classification or multiclass_classification.

    Returns
    -------
    DataFrame
        ``segment, without, metric, value``; ``without`` is the bucket, -1 for none. A metric that is undefined has no
        row.

    Notes
    -----
    Equal scores count half (ROC AUC) or as one threshold (average precision), as in
    `metrics_py.quality.areas.areas_of_scores`. Scores are sorted once per segment and class.

    Examples
    --------
    >>> rows = pl.DataFrame(
    ...     {
    ...         "segment": "all",
    ...         "bucket": [0, 0, 1, 1],
    ...         "class_name": "",
    ...         "score": [0.9, 0.1, 0.4, 0.6],
    ...         "is_positive": [True, False, True, False],
    ...     }
    ... )
    >>> deleted_areas(rows, "binary_classification").filter(metric="roc_auc").rows()
    [('all', -1, 'roc_auc', 0.75), ('all', 0, 'roc_auc', 0.0), ('all', 1, 'roc_auc', 1.0)]
    """
    whole = areas_of_scores(rows, ["segment", "class_name"]).with_columns(without=pl.lit(ALL, pl.Int64))
    found = [whole.select(pl.col(name).cast(dtype) for name, dtype in SCHEMA.items())]
    for (segment,), own in rows.group_by("segment", maintain_order=True):
        buckets = own["bucket"].unique().sort().to_list()
        for (name,), scores in own.group_by("class_name", maintain_order=True):
            parts = [(segment, name, b, *areas) for b, areas in zip(buckets, _without(scores, buckets), strict=True)]
            found.append(pl.DataFrame(parts, schema=SCHEMA, orient="row"))
    return exact_values(pl.concat(found), ["segment", "without"], task).sort("segment", "without", "metric")


def _without(rows: pl.DataFrame, buckets: list[int]) -> Iterator[tuple[int, float | None, float | None]]:
    """Positive rows, ROC AUC and average precision without each bucket."""
    values, place = np.unique(rows["score"].to_numpy(), return_inverse=True)
    bucket, is_positive = rows["bucket"].to_numpy(), rows["is_positive"].to_numpy()
    positives, negatives = (np.bincount(place[is_positive == side], minlength=len(values)) for side in (True, False))
    for each in buckets:
        inside = bucket == each
        own = [np.bincount(place[inside & (is_positive == side)], minlength=len(values)) for side in (True, False)]
        yield _areas((positives - own[0]).astype(float), (negatives - own[1]).astype(float))


def _areas(positives: FloatArray, negatives: FloatArray) -> tuple[int, float | None, float | None]:
    """From rows per distinct score, ascending."""
    n, m = positives.sum(), negatives.sum()
    below = np.cumsum(negatives) - negatives / 2
    caught, decided = (np.cumsum(rows[::-1])[::-1] for rows in (positives, positives + negatives))
    wins, gained = (positives * below).sum(), (positives * caught / np.maximum(decided, 1.0)).sum()
    return int(n), float(wins / (n * m)) if n and m else None, float(gained / n) if n else None
