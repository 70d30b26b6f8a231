"""What `compare` says of embeddings, and of numeric columns together, beside each column by itself.

The tolerance is that of the PSI in other words: a normal column that shifts by s standard deviations has the PSI s^2,
and where each of k directions shifts so far, the best classifier tells the tables apart with a certain area under the
curve. k is how many directions the reference varies in: what is tolerated of each alone is tolerated of all together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

from metrics_py.multivariate.correlations import MomentSums, moment_sums, pairs_of
from metrics_py.multivariate.domain_classifier import MIN_ROWS as LEAST_FOR_CLASSIFIER
from metrics_py.multivariate.domain_classifier import domain_classifier
from metrics_py.multivariate.embeddings import MIN_REFERENCE, cosine_distance, fit_embeddings
from metrics_py.multivariate.normal_scores import fit_scores
from metrics_py.multivariate.random_features import mmd2
from metrics_py.multivariate.vectors import Vectors, read_vectors
from metrics_py.scipy_functions import wasserstein_distance
from metrics_py.wording import number

FloatArray = NDArray[np.float64]
Row = dict[str, Any]
TOGETHER = "@features"
MOST_VECTORS = 50_000
MOST_COLUMNS = 100
CORRELATION_TOLERANCE = 0.1
SHOWN = 3
MUCH_WRONG = 0.01
"""Share of vectors of another dimension, beyond that of the reference, from which on they are drift."""
COMPONENT_FAR = 0.1
SEED = 20_260_105


def area_tolerance(psi: float, directions: float = 1.0) -> float:
    """What the best classifier has above .5 where independent normal columns have shifted so that each has this PSI.

    Parameters
    ----------
    psi : float
        Tolerance of the PSI.
    directions : float, default 1
        How many columns.

    Returns
    -------
    float
        Of the area under the curve, less .5.

    Examples
    --------
    >>> round(area_tolerance(0.1), 3)
    0.088
    """
    return float(ndtr(np.sqrt(psi * directions / 2))) - 0.5


def directions_of(variances: FloatArray) -> float:
    """In how many directions rows vary, by the variances of their principal components (participation ratio).

    Parameters
    ----------
    variances : ndarray, shape (k,)
        Not negative.

    Returns
    -------
    float
        From 1 (one of them is all) to k (all are equal).

    Examples
    --------
    >>> directions_of(np.array([1.0, 1.0, 0.0]))
    2.0
    """
    square = float((variances**2).sum())
    return float(variances.sum()) ** 2 / square if square > 0 else 1.0


def embedding_rows(name: str, old: pl.Series, new: pl.Series, psi: float, min_rows: int) -> list[Row]:
    """Result rows of one embedding column beside those of its norms.

    Parameters
    ----------
    name : str
        Of the column.
    old, new : Series of lists or arrays of numbers
        Reference and current vectors.
    psi : float
        Tolerance of the PSI.
    min_rows : int
        Fewer vectors on either side: insufficient_data.

    Returns
    -------
    list of dict
        ``dimension`` where vectors have another one than the reference's; ``domain_auc``, which gives the verdict;
        ``rff_distance`` with the p-value of no change at all; ``centroid_distance`` and ``centroid_cosine``; and
        ``component_drift_share``, of the numbers of a vector that moved by themselves.
    """
    before, after = read_vectors(_thinned(old)), Vectors(np.empty((0, 0), dtype=np.float32), 0, 0, 0, {})
    base: Row = {"column": name, "kind": "embedding", "segment": "all"}
    dimension = before.rows.shape[1]
    after = read_vectors(_thinned(new), dimension)
    m, n = len(before.rows), len(after.rows)
    base |= {"n_reference": m, "n_current": n}
    rows: list[Row] = []
    if after.n_wrong and dimension:
        others = ", ".join(f"{length}" for length in after.dimensions if length != dimension)
        what = f"{after.n_wrong} of {after.n_given} vectors have {others} numbers, the reference's {dimension}"
        share = after.n_wrong / after.n_given
        state = "drift" if share >= before.n_wrong / max(before.n_given, 1) + MUCH_WRONG else "stable"
        rows.append(base | {"metric": "wrong_dimension_rate", "value": share, "state": state, "direction": what})
    if min(m, n) < max(min_rows, MIN_REFERENCE):
        side, few = ("reference", m) if m <= n else ("current", n)
        reason = f"{few} {side} vectors, {max(min_rows, MIN_REFERENCE)} needed"
        return [*rows, base | {"metric": "domain_auc", "state": "insufficient_data", "reason": reason}]
    if not dimension or not np.ptp(before.rows, axis=0).any():
        reason = "all vectors of the reference are the same: nothing is known of what is usual"
        return [*rows, base | {"metric": "domain_auc", "state": "insufficient_data", "reason": reason}]
    mixed = before.rows[np.random.Generator(np.random.PCG64(SEED)).permutation(m)]
    model = fit_embeddings(mixed, [], [before], domain_rows=0)
    places = [(part.rows - model.center) @ model.basis for part in (before, after)]
    directions = directions_of(1 / np.maximum((model.basis**2).sum(axis=0), 1e-300))
    rows.append(base | _classified(places[0], places[1], None, area_tolerance(psi, directions)))
    sums, own = model.sums.whole, model.window(after)
    unit = 1 / m + 1 / n
    distance = float(mmd2(own["features"], n, sums["features"], m))
    p_value = float(model.law.p_value(distance, unit))
    excess = max(distance - float(model.law.mean(unit)), 0.0)
    rows.append(base | {"metric": "rff_distance", "value": distance**0.5, "effect": excess**0.5, "p_value": p_value})
    first, second = sums["total"] / m, own["total"] / n
    euclid = float(np.sqrt(((first - second) ** 2).sum()))
    rows.append(base | {"metric": "centroid_distance", "value": euclid})
    cosine = float(cosine_distance(first, second))
    rows.append(base | {"metric": "centroid_cosine", "value": cosine if np.isfinite(cosine) else None})
    return [*rows, base | {"metric": "component_drift_share", "value": component_drift_share(before.rows, after.rows)}]


def component_drift_share(old: ArrayLike, new: ArrayLike) -> float:
    """Share of the numbers of a vector whose Wasserstein distance is .1 standard deviations of the reference or more.

    Parameters
    ----------
    old, new : array_like, shape (m, d) and (n, d)
        Finite vectors.

    Returns
    -------
    float
        From 0 to 1. It counts rotations of the same change differently, so no verdict rests on it.
    """
    before, after = (np.asarray(rows, dtype=np.float64) for rows in (old, new))
    far = [
        wasserstein_distance(x, y) / max(float(x.std()), 1e-3) >= COMPONENT_FAR
        for x, y in zip(before.T, after.T, strict=True)
    ]
    return float(np.mean(far))


def beside(
    rows: Sequence[Mapping[str, Any]], old: pl.DataFrame, new: pl.DataFrame, psi: float, min_rows: int, *, joint: bool
) -> list[Row]:
    """What there is to say beside the columns by themselves.

    Parameters
    ----------
    rows : sequence of mapping
        Result rows of the columns (``column``, ``kind``).
    old, new : DataFrame
        Both tables.
    psi : float
        Tolerance of the PSI.
    min_rows : int
        Fewer rows on either side: insufficient_data.
    joint : bool
        Look at the numeric columns together as well.

    Returns
    -------
    list of dict
        Of embeddings, and of `TOGETHER`.
    """
    kinds = {row["column"]: row.get("kind") for row in rows}
    shared = [name for name in kinds if name in old.columns and name in new.columns]
    found: list[Row] = []
    for name in shared:
        if kinds[name] == "embedding" and all(isinstance(t[name].dtype, pl.List | pl.Array) for t in (old, new)):
            found += embedding_rows(name, old[name], new[name], psi, min_rows)
    numeric = [
        name
        for name in shared
        if kinds[name] in ("numeric", "boolean")
        and all(t[name].dtype.is_numeric() or t[name].dtype == pl.Boolean for t in (old, new))
    ]
    if joint:
        found += together_rows({c: old[c] for c in numeric}, {c: new[c] for c in numeric}, psi, min_rows)
    return found


def _thinned(column: pl.Series) -> pl.Series:
    return column.sample(MOST_VECTORS, seed=SEED) if len(column) > MOST_VECTORS else column


def together_rows(old: Mapping[str, pl.Series], new: Mapping[str, pl.Series], psi: float, min_rows: int) -> list[Row]:
    """Result rows of the numeric columns together.

    Parameters
    ----------
    old, new : mapping of column to Series of numbers
        The same columns of both tables.
    psi : float
        Tolerance of the PSI.
    min_rows : int
        Fewer rows on either side: insufficient_data.

    Returns
    -------
    list of dict
        Of the column ``@features``: ``correlation_change``, the largest change of a correlation of normal scores, with
        an interval that holds for all pairs (Bonferroni), and the pairs in words; ``domain_auc``, with the columns that
        tell the tables apart.
    """
    names = [name for name in old if not fit_scores(_numbers(old[name])).is_constant][:MOST_COLUMNS]
    m, n = (len(next(iter(side.values()))) if side else 0 for side in (old, new))
    base: Row = {"column": TOGETHER, "kind": "numeric", "segment": "all", "n_reference": m, "n_current": n}
    few = max(min_rows, LEAST_FOR_CLASSIFIER)
    if len(names) < 2 or min(m, n) < few:
        reason = f"{len(names)} numeric columns that vary, {m} and {n} rows; 2 columns and {few} rows needed"
        return [base | {"metric": "correlation_change", "state": "insufficient_data", "reason": reason}]
    maps = {name: fit_scores(_numbers(old[name])) for name in names}
    scores = [np.stack([maps[c].transform(_numbers(side[c])) for c in names], axis=1) for side in (old, new)]
    filled = np.where(np.isfinite(scores[0]), scores[0], 0.0)
    directions = directions_of(np.maximum(np.linalg.eigvalsh(np.cov(filled, rowvar=False)), 0.0))
    tolerance = area_tolerance(psi, directions)
    classified = base | _classified(scores[0], scores[1], names, tolerance)
    return [base | _correlated(names, scores[0], scores[1]), classified]


def _numbers(column: pl.Series) -> FloatArray:
    return column.cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy()


def _correlated(names: Sequence[str], old: FloatArray, new: FloatArray) -> Row:
    i, j = pairs_of(len(names))
    sums: list[MomentSums] = [moment_sums(side) for side in (old, new)]
    before, after = (np.clip(side.correlations()[i, j], -0.9999, 0.9999) for side in sums)
    change = after - before
    known = np.isfinite(change)
    metric = {"metric": "correlation_change", "tolerance": CORRELATION_TOLERANCE}
    if not known.any():
        return {**metric, "state": "insufficient_data", "reason": "no pair of columns has 30 rows with both values"}
    z = float(ndtri(1 - 0.025 / int(known.sum())))
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = sum((1 - r**2) ** 2 / side.n[i, j] for r, side in zip((before, after), sums, strict=True))
        half = z * np.sqrt(np.asarray(variance, dtype=np.float64))
    size = np.where(known, np.abs(change), 0.0)
    half = np.where(known, half, 0.0)
    low, high = np.maximum(size - half, 0.0), size + half
    top = int(size.argmax())
    state = (
        "drift" if low.max() > CORRELATION_TOLERANCE else "stable" if high.max() < CORRELATION_TOLERANCE else "unclear"
    )
    order: list[int] = [k for k in np.argsort(-low).tolist() if low[k] > 0][:SHOWN]
    pairs = [(names[int(i[k])], names[int(j[k])], float(before[k]), float(after[k])) for k in order]
    told = "; ".join(f"{a} and {b}: {number(was, 2)} -> {number(now, 2)}" for a, b, was, now in pairs)
    numbers = {
        "value": float(size[top]),
        "effect": float(size[top]),
        "ci_low": float(low[top]),
        "ci_high": float(high[top]),
    }
    return {**metric, **numbers, "state": state, "direction": told or "no visible change"}


def _classified(old: FloatArray, new: FloatArray, names: Sequence[str] | None, tolerance: float) -> Row:
    found = domain_classifier(old, new, names)
    low, high = found.ci_low - 0.5, found.ci_high - 0.5
    state = "drift" if low > tolerance else "stable" if high < tolerance else "unclear"
    told = "no visible change"
    if low > 0:
        needed = [name for name, lost in found.importance.items() if lost > 0.01][:SHOWN] if names is not None else []
        told = f"told apart{' by ' + ', '.join(needed) if needed else ''}: area under the curve {number(found.auc, 3)}"
    return {
        "metric": "domain_auc",
        "value": found.auc,
        "p_value": found.p_value,
        "effect": found.auc - 0.5,
        "ci_low": low,
        "ci_high": high,
        "tolerance": tolerance,
        "state": state,
        "direction": told,
    }
