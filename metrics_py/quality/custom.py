"""Value and interval of a user's own metric, a Python function of the rows of one window."""

from __future__ import annotations

import math

import numpy as np
import polars as pl

from metrics_py.confidence import check_confidence
from metrics_py.failures import AnswerError
from metrics_py.intervals import NO_SPREAD, ONE_BUCKET, jackknife_from_replicates
from metrics_py.registry import Metric
from metrics_py.results import Estimate


def estimate_rows(entry: Metric, rows: pl.DataFrame, *, bucket: str = "bucket", confidence: float = 0.95) -> Estimate:
    """Evaluate a metric that ``needs="rows"``, with its 64-bucket jackknife interval.

    Parameters
    ----------
    entry : Metric
        From `metrics_py.registry.get` or `load`.
    rows : polars.DataFrame
        Joined rows of one window: lake columns, label columns and the bucket.
    bucket : str, default "bucket"
        Column with the hash bucket of the entity.
    confidence : float, default 0.95
        Two-sided coverage.

    Returns
    -------
    Estimate
        ``insufficient_data`` when there are no rows, the function returns None or NaN, all rows stand in one bucket, or
        the value is the same without each bucket.

    Raises
    ------
    ValueError
        If the metric needs something else than rows, the bucket column is missing, or `confidence` does not lie between
        0 and 1.
    TypeError
        If the function returns something that is no number.
    """
    check_confidence(confidence)
    if entry.needs != "rows":
        raise ValueError(f"metric {entry.name!r}: needs={entry.needs!r}; only a metric with needs='rows' takes rows")
    if bucket not in rows.columns:
        raise ValueError(f"metric {entry.name!r}: the rows have no column {bucket!r}; found {', '.join(rows.columns)}")
    n = len(rows)
    if n == 0:
        return Estimate(None, None, None, 0, "insufficient_data", "no rows in the window", "no_rows")
    value = _number(entry, rows)
    if not math.isfinite(value):
        return Estimate(None, None, None, n, "insufficient_data", "the metric is undefined on these rows", "undefined")
    occupied = rows[bucket].unique().drop_nulls().sort()
    if len(occupied) < 2:
        return Estimate(value, None, None, n, "insufficient_data", ONE_BUCKET, "one_bucket")
    replicates = [_number(entry, rows.filter(pl.col(bucket).ne_missing(b))) for b in occupied]
    found = jackknife_from_replicates(
        np.array([value]), np.array([replicates]), np.ones((1, len(occupied)), dtype=bool), confidence=confidence
    )
    if not np.isfinite(found.standard_error[0]):
        return Estimate(
            value, None, None, n, "insufficient_data", "the metric is undefined without one of the buckets", "undefined"
        )
    if found.standard_error[0] == 0:
        return Estimate(value, None, None, n, "insufficient_data", NO_SPREAD, "no_spread")
    return Estimate(value, float(found.ci_low[0]), float(found.ci_high[0]), n)


def _number(entry: Metric, rows: pl.DataFrame) -> float:
    value = entry.function(rows)
    if value is None:
        return math.nan
    try:
        if isinstance(value, (str, bytes)):  # float() would read a number off a text
            raise TypeError
        return float(value)
    except (TypeError, ValueError):
        raise AnswerError(
            f"metric {entry.name!r}: the function returned {type(value).__name__}; "
            "return one number, or None if undefined"
        ) from None
