"""Numeric columns of a table together: their correlations, random Fourier features and reconstruction, from sums.

The columns are read as clipped normal scores by the quantiles of the reference (module `normal_scores`),
so a change of one column alone is left to that column's own streams as far as it can be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metrics_py.drift.daily_statistics import MIN_ROWS, Stream
from metrics_py.multivariate.correlations import (
    CorrelationChange,
    MomentSums,
    correlation_change,
    moment_sums,
    pairs_of,
)
from metrics_py.multivariate.gauge import THE_WINDOW, Gauge, usual_rows
from metrics_py.multivariate.normal_scores import ScoreMap, fit_scores
from metrics_py.multivariate.random_features import (
    N_FEATURES,
    NullLaw,
    RandomFeatures,
    draw_features,
    median_heuristic,
    mmd2,
    null_law,
)
from metrics_py.multivariate.steady import shown, steady
from metrics_py.multivariate.told_apart import DOMAIN_ROWS, DomainSample, domain_sample, domain_stream
from metrics_py.multivariate.window_sums import ReferenceSums, Sums, reference_sums, stacked

FloatArray = NDArray[np.float64]
MIN_REFERENCE = 200
EXPLAINED = 0.8
"""Share of the variance that the components which reconstruct a row hold."""
MOMENTS = ("n", "first", "square", "product")
MIN_DAYS = 8
CLEAR = 4.0
"""Standard errors from which on a pair's change is told."""


@dataclass(frozen=True, eq=False)
class JointModel:
    """What is frozen of the reference's columns together.

    Attributes
    ----------
    columns : tuple of str
        Those that vary in the reference, in the order of all arrays; d of them.
    maps : tuple of ScoreMap
        One per column.
    features : RandomFeatures
        Of the reference.
        Of rows of scores.
    law : NullLaw
        What their distance is without any change.
    basis : ndarray, shape (d, k)
        Principal components of the scores that hold 80 % of their variance.
    sample : DomainSample
        Rows of scores that a classifier has to tell a window's from.
    sums : ReferenceSums
        As of `JointModel.window`.
    """

    columns: tuple[str, ...]
    maps: tuple[ScoreMap, ...]
    features: RandomFeatures
    law: NullLaw
    basis: FloatArray
    sample: DomainSample
    sums: ReferenceSums

    def scores(self, table: Mapping[str, ArrayLike]) -> FloatArray:
        """Columns as normal scores.

        Parameters
        ----------
        table : mapping of column to array_like of shape (n,)
            NaN: missing.

        Returns
        -------
        ndarray, shape (n, d)
            Clipped; NaN where a value is missing.
        """
        found = [mapping.transform(table[name]) for name, mapping in zip(self.columns, self.maps, strict=True)]
        return np.stack(found, axis=1)

    def window(self, table: Mapping[str, ArrayLike]) -> dict[str, FloatArray]:
        """Sums of one window.

        Parameters
        ----------
        table : mapping of column to array_like of shape (n,)
            NaN: missing.

        Returns
        -------
        dict of str to ndarray
            ``rows``; ``n, first, square, product`` of `MomentSums`; ``features``; ``error, error_square``; and, which
            do not add up, those of `DomainSample.area`.
        """
        scores = self.scores(table)
        return {**joint_sums(scores, self.features, self.basis), **self.sample.area(scores)}


def joint_sums(scores: FloatArray, features: RandomFeatures, basis: FloatArray) -> dict[str, FloatArray]:
    """Sums of rows of scores; a missing one counts as the middle of the reference, 0, but for correlations.

    Parameters
    ----------
    scores : ndarray, shape (n, d)
        NaN: missing.
    features : RandomFeatures
        Of the reference.
    basis : ndarray, shape (d, k)
        Orthonormal columns.

    Returns
    -------
    dict of str to ndarray
        As of `JointModel.window`, but for the areas.
    """
    moments = moment_sums(scores)
    filled = np.where(np.isfinite(scores), scores, 0.0)
    error = reconstruction_error(filled, basis)
    return {
        "rows": np.array(float(len(scores))),
        **{name: getattr(moments, name) for name in MOMENTS},
        "features": features.total(filled),
        "error": np.array(error.sum()),
        "error_square": np.array((error**2).sum()),
    }


def reconstruction_error(rows: ArrayLike, basis: ArrayLike) -> FloatArray:
    """Squared distance of each row from what some components make of it.

    Parameters
    ----------
    rows : array_like, shape (n, d)
        Finite numbers.
    basis : array_like, shape (d, k)
        Orthonormal columns.

    Returns
    -------
    ndarray, shape (n,)
        In the squared units of the rows; 0 where the components hold all of a row.

    References
    ----------
    Jackson & Mudholkar (1979), Technometrics 21:341 (control of residuals from principal components).

    Examples
    --------
    >>> reconstruction_error([[3.0, 1.0]], [[1.0], [0.0]]).tolist()
    [1.0]
    """
    array, components = np.asarray(rows, dtype=float), np.asarray(basis, dtype=float)
    place = array @ components
    return np.maximum((array**2).sum(axis=1) - (place**2).sum(axis=1), 0.0)


def fit_joint(
    sample: Mapping[str, ArrayLike],
    keys: Sequence[str],
    parts: Sequence[Mapping[str, ArrayLike]],
    n_features: int = N_FEATURES,
    domain_rows: int = DOMAIN_ROWS,
) -> JointModel:
    """Freeze the reference's columns together.

    Parameters
    ----------
    sample : mapping of column to array_like of shape (n,)
        Rows of all of the reference, in an order that has nothing to do with their content; 20,000 are enough.
    keys : sequence of str
        Names of its windows; none where it has no windows.
    parts : sequence of mapping
        The columns of its windows, else one part.
    n_features : int, default 512
        Random Fourier features.
    domain_rows : int, default 4000
        Rows that a classifier has to tell a window's from; 0: none is asked.

    Returns
    -------
    JointModel
        Frozen.

    Raises
    ------
    ValueError
        If fewer than two columns vary, or there are fewer than 200 rows.
    """
    maps = {name: fit_scores(values) for name, values in sample.items()}
    columns = [name for name, mapping in maps.items() if not mapping.is_constant]
    n = len(np.asarray(next(iter(sample.values())))) if sample else 0
    if len(columns) < 2 or n < MIN_REFERENCE:
        raise ValueError(
            f"fit_joint: {len(columns)} columns that vary in {n} rows: pass at least 2 columns and {MIN_REFERENCE} rows"
        )
    scores = np.stack([maps[name].transform(sample[name]) for name in columns], axis=1)
    filled = np.where(np.isfinite(scores), scores, 0.0)
    value, vector = np.linalg.eigh(np.cov(filled, rowvar=False))
    order = np.argsort(-value)
    share = np.cumsum(value[order]) / value.sum()
    k = min(int(np.searchsorted(share, EXPLAINED)) + 1, len(columns) - 1)
    basis = vector[:, order[:k]]
    features = draw_features(len(columns), median_heuristic(filled), n_features)
    law = null_law(features.transform(filled[:10_000]))

    rows = [np.stack([maps[c].transform(part[c]) for c in columns], axis=1) for part in parts]
    apart = domain_sample(rows, keys, domain_rows)
    found = [
        {**joint_sums(part, features, basis), **apart.area(part, k if keys else -1)} for k, part in enumerate(rows)
    ]
    own = tuple(maps[name] for name in columns)
    return JointModel(tuple(columns), own, features, law, basis, apart, reference_sums(keys, found))


@dataclass(frozen=True, eq=False)
class JointDistances:
    """T windows against the reference, each without itself where it is of the reference.

    Attributes
    ----------
    streams : list of Stream
        ``correlation_distance``, ``rff_distance``, ``pca_error``, ``domain_auc``.
    importance : ndarray, shape (T, d)
        What the classifier's area loses where a column is shuffled.
    change : CorrelationChange
        Pair by pair.
    pair_error : ndarray, shape (p,)
        How much a pair's correlation scatters between the reference's windows; NaN with fewer than 8 of them.
    """

    streams: list[Stream]
    importance: FloatArray
    change: CorrelationChange
    pair_error: FloatArray

    def moved_pairs(self, columns: Sequence[str], t: int, most: int = 3) -> list[tuple[str, str, float, float, float]]:
        """Pairs whose correlation in a window is not that of the reference, the clearest first.

        Parameters
        ----------
        columns : sequence of str
            Of the model.
        t : int
            Window.
        most : int, default 3
            Pairs.

        Returns
        -------
        list of (str, str, float, float, float)
            Both columns, the correlation in the reference and in the window, and the change in standard errors (of
            rows, or of the reference's windows where these scatter more), 4 or more.
        """
        error = np.fmax(self.change.error[t], self.pair_error)
        with np.errstate(divide="ignore", invalid="ignore"):
            z = np.nan_to_num(self.change.difference[t] / error, posinf=0.0, neginf=0.0)
        i, j = pairs_of(len(columns))
        first: list[str] = [columns[int(k)] for k in i]
        second: list[str] = [columns[int(k)] for k in j]
        found: list[int] = [p for p in np.argsort(-np.abs(z))[:most].tolist() if abs(z[p]) >= CLEAR]
        old, new = self.change.reference[t], self.change.current[t]
        return [(first[p], second[p], float(old[p]), float(new[p]), float(z[p])) for p in found]


def joint_distances(
    model: JointModel,
    keys: Sequence[str],
    windows: Sequence[Sums],
    *,
    min_rows: int = MIN_ROWS,
    design_effect: float = 1.0,
    period: str = THE_WINDOW,
) -> JointDistances:
    """Distances of windows from the reference, on scales on which days scatter evenly.

    Parameters
    ----------
    model : JointModel
        The frozen reference.
    keys : sequence of str
        Names of T windows.
    windows : sequence of mapping
        Their sums (`JointModel.window`).
    min_rows : int, default 200
        Fewer effective rows: not enough data.
    design_effect : float, default 1
        Of rows that depend on each other.
    period : str, default 'the window'
        What the rows lie in, for the reasons.

    Returns
    -------
    JointDistances
        Streams, and the change of each pair.

    Notes
    -----
    ``correlation_distance``: root of the sum over pairs of the squared difference of their correlations.
    ``rff_distance``: maximum mean discrepancy by random Fourier features. Both are watched as
    `metrics_py.multivariate.steady.steady` of their square and shown without what sampling alone gives to them.
    ``pca_error``: mean squared error of rows that the reference's principal components reconstruct, as a multiple of
    the reference's; watched as its logarithm. ``domain_auc``: area under the curve of a classifier that tells the
    window from the reference; watched as its probit.

    References
    ----------
    Gretton et al. (2012), JMLR 13:723. Steiger (1980), Psychological Bulletin 87:245. Jackson & Mudholkar (1979),
    Technometrics 21:341.
    """
    now, old = stacked(windows), model.sums.others(keys)
    n, m = now["rows"], np.maximum(old["rows"], 1)
    size = np.maximum(n, 1)
    unit = design_effect * (1 / size + 1 / m)
    whole = max(float(model.sums.whole["rows"]), 1.0)
    usual_unit = design_effect * (1 / usual_rows(model.sums, "rows") + 1 / whole)
    gauge = Gauge(n, min_rows, design_effect, "rows", period)
    change = correlation_change(_moments(old), _moments(now), design_effect)
    value, slope = steady(change.squared, change.noise, _noise_of_rows(model) * usual_unit)
    value = np.where(change.n_pairs > 0, value, np.nan)
    correlation = gauge.stream(
        "correlation_distance", value, change.variance * slope**2, shown(change.squared, change.noise)
    )
    rff = gauge.distance("rff_distance", mmd2(now["features"], size, old["features"], m), model.law, unit, usual_unit)
    mean, before = now["error"] / size, old["error"] / m
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.maximum(now["error_square"] / size - mean**2, 0.0) / mean**2
        log = np.log(mean / before)
    error = gauge.stream(
        "pca_error", np.where(np.isfinite(log), log, np.nan), design_effect * spread / size, mean / before
    )
    streams = [correlation, rff, error] + ([domain_stream(now, gauge)] if len(model.sample.rows) else [])
    return JointDistances(streams, now["importance"], change, _pair_error(model))


def _noise_of_rows(model: JointModel) -> float:
    """What sampling gives to the squared distance of correlations, times the rows: by the whole reference alone."""
    whole, (i, j) = _moments(model.sums.whole), pairs_of(len(model.columns))
    rho, n = whole.correlations()[i, j], whole.n[i, j]
    with np.errstate(divide="ignore", invalid="ignore"):
        noise = (1 - rho**2) ** 2 * float(model.sums.whole["rows"]) / n
    return float(np.where(np.isfinite(noise), noise, 0.0).sum())


def _moments(sums: Sums) -> MomentSums:
    return MomentSums(*(sums[name] for name in MOMENTS))


def _pair_error(model: JointModel) -> FloatArray:
    d = len(model.columns)
    i, j = pairs_of(d)
    if len(model.sums.keys) < MIN_DAYS:
        return np.full(len(i), np.nan)
    found = _moments(model.sums.windows).correlations()[:, i, j]
    with np.errstate(invalid="ignore"):
        known = np.isfinite(found).sum(axis=0)
        mean = np.where(np.isfinite(found), found, 0.0).sum(axis=0) / np.maximum(known, 1)
        square = np.where(np.isfinite(found), (found - mean) ** 2, 0.0).sum(axis=0)
    return np.where(known >= MIN_DAYS, np.sqrt(square / np.maximum(known - 1, 1)), np.nan)
