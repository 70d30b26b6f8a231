"""Facts of a test suite about embeddings, and about the numeric columns of a table together, against the reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from metrics_py.comparison.reading import infer_reading
from metrics_py.comparison.together import area_tolerance, directions_of, embedding_rows, together_rows
from metrics_py.drift.methods import PSI_TOLERANCE
from metrics_py.multivariate.embeddings import MOST_DIMENSIONS
from metrics_py.multivariate.vectors import read_vectors
from metrics_py.profile.values import column_of
from metrics_py.results import Estimate

MIN_ROWS = 50
MOST_FITTED = 20_000


def _told(rows: Sequence[Mapping[str, Any]], metric: str, *, above: float = 0.0) -> Estimate:
    """The result row of a metric as an estimate; `above` is what its effect is less than its value."""
    row = next((row for row in rows if row["metric"] == metric), None)
    if row is None or row.get("value") is None:
        reason = next((str(r["reason"]) for r in rows if r.get("reason")), "nothing to compare")
        return Estimate(None, None, None, 0, "insufficient_data", reason)
    low, high = (None if row.get(end) is None else float(row[end]) + above for end in ("ci_low", "ci_high"))
    return Estimate(float(row["value"]), low, high, int(row["n_current"]))


def domain_auc(values: pl.Series, reference: pl.Series) -> Estimate:
    """Area under the curve of a classifier that tells vectors from those of the reference: .5 where it cannot.

    Parameters
    ----------
    values, reference : polars.Series
        Vectors of the table and of the reference.

    Returns
    -------
    Estimate
        With the interval of Hanley and McNeil.
    """
    return _told(embedding_rows("", reference, values, PSI_TOLERANCE, MIN_ROWS), "domain_auc", above=0.5)


def area_bound(reference: pl.Series) -> float | None:
    """Largest area under the curve that is no drift: as if each direction of the reference moved by the tolerated PSI.

    Parameters
    ----------
    reference : polars.Series
        Vectors.

    Returns
    -------
    float or None
        None where there are too few of them to be compared with.
    """
    held = read_vectors(reference)
    if len(held.rows) < MIN_ROWS:
        return None
    rows = held.rows[:MOST_FITTED].astype(np.float64)
    variances = np.maximum(np.linalg.eigvalsh(np.cov(rows, rowvar=False).reshape(rows.shape[1], -1)), 0.0)
    kept = np.sort(variances)[::-1][:MOST_DIMENSIONS]
    return 0.5 + area_tolerance(PSI_TOLERANCE, directions_of(kept)) if kept.sum() > 0 else None


def centroid_cosine(values: pl.Series, reference: pl.Series) -> Estimate:
    """Cosine distance of the mean vector from the reference's.

    Parameters
    ----------
    values, reference : polars.Series
        Vectors of the table and of the reference.

    Returns
    -------
    Estimate
        Without an interval.
    """
    return _told(embedding_rows("", reference, values, PSI_TOLERANCE, MIN_ROWS), "centroid_cosine")


def wrong_dimension_rate(values: pl.Series, reference: pl.Series) -> Estimate:
    """Share of vectors of another length than most of the reference's.

    Parameters
    ----------
    values, reference : polars.Series
        Vectors of the table and of the reference.

    Returns
    -------
    Estimate
        Without an interval.
    """
    found = read_vectors(values, read_vectors(reference).rows.shape[1])
    if not found.n_given:
        return Estimate(None, None, None, 0, "insufficient_data", "no vectors")
    return Estimate(found.n_wrong / found.n_given, None, None, found.n_given)


def correlation_change(table: pl.DataFrame, reference: pl.DataFrame, columns: Sequence[str]) -> Estimate:
    """Largest change of a correlation of two numeric columns (normal scores by the reference).

    Parameters
    ----------
    table, reference : polars.DataFrame
        The table in question and the reference.
    columns : sequence of str
        Not used.

    Returns
    -------
    Estimate
        With an interval that holds for all pairs (Bonferroni).
    """
    names = [
        name
        for name in reference.columns
        if name in table.columns
        and infer_reading(column_of(reference, name)).kind in ("numeric", "boolean")
        and all(t[name].dtype.is_numeric() or t[name].dtype == pl.Boolean for t in (table, reference))
    ]
    old, new = ({name: side[name] for name in names} for side in (reference, table))
    return _told(together_rows(old, new, PSI_TOLERANCE, MIN_ROWS), "correlation_change")
