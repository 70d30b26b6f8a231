"""Random Fourier features: a kernel's distance between two sets of rows from sums that merge.

References
----------
Rahimi & Recht (2007), Random features for large-scale kernel machines, NeurIPS 20.
Gretton, Borgwardt, Rasch, Schölkopf & Smola (2012), A kernel two-sample test, JMLR 13:723.
Sutherland & Schneider (2015), On the error of random Fourier features, UAI (cosines and sines in pairs).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaincc

FloatArray = NDArray[np.float64]
N_FEATURES = 512
SEED = 20_260_105
HEURISTIC_ROWS = 1000
BLOCK = 4096
"""Rows that are worked up at once: the features of more would not fit into the cache."""


@dataclass(frozen=True, eq=False)
class RandomFeatures:
    """A map of rows to features whose inner product is close to a Gaussian kernel.

    Attributes
    ----------
    frequencies : ndarray of float32, shape (d, m / 2)
        Drawn from the kernel's spectral density.
    """

    frequencies: NDArray[np.float32]

    @property
    def size(self) -> int:
        """Number of features m."""
        return 2 * self.frequencies.shape[1]

    def transform(self, rows: ArrayLike) -> NDArray[np.float32]:
        """Features of rows: cosines, then sines, so that each row has length 1.

        Parameters
        ----------
        rows : array_like, shape (n, d)
            Finite numbers.

        Returns
        -------
        ndarray of float32, shape (n, m)
            Zeros for a row too large for 32-bit floats.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            angles = np.asarray(rows, dtype=np.float32) @ self.frequencies
            found = np.concatenate([np.cos(angles), np.sin(angles)], axis=1)
        found *= np.float32(1 / np.sqrt(self.frequencies.shape[1]))
        if not np.isfinite(angles).all():
            found[~np.isfinite(angles).all(axis=1)] = 0.0
        return found

    def total(self, rows: ArrayLike) -> FloatArray:
        """Sum of the features over rows; sums of parts add up to that of the whole.

        Parameters
        ----------
        rows : array_like, shape (n, d)
            Finite numbers.

        Returns
        -------
        ndarray, shape (m,)
            In double precision.
        """
        array = np.asarray(rows)
        found = np.zeros(self.size)
        for first in range(0, len(array), BLOCK):
            found += self.transform(array[first : first + BLOCK]).sum(axis=0, dtype=np.float64)
        return found


def draw_features(dimension: int, bandwidth: float, n_features: int = N_FEATURES, seed: int = SEED) -> RandomFeatures:
    """Random features of the kernel ``exp(-|x - y|^2 / (2 bandwidth^2))``.

    Parameters
    ----------
    dimension : int
        Numbers d in a row.
    bandwidth : float
        In the units of the rows, from `median_heuristic`; positive.
    n_features : int, default 512
        Even. The error of the kernel falls as one over its root.
    seed : int
        The same seed gives the same features.

    Returns
    -------
    RandomFeatures
        Frozen frequencies.

    Raises
    ------
    ValueError
        If the bandwidth is not positive or the number of features is odd.
    """
    if not (np.isfinite(bandwidth) and bandwidth > 0) or n_features % 2 or n_features < 2:
        raise ValueError(
            f"draw_features: bandwidth {bandwidth} and {n_features} features: "
            "pass a positive bandwidth and an even number"
        )
    normal = np.random.Generator(np.random.PCG64(seed)).standard_normal((dimension, n_features // 2))
    return RandomFeatures((normal / bandwidth).astype(np.float32))


def median_heuristic(rows: ArrayLike, most: int = HEURISTIC_ROWS) -> float:
    """Median distance of pairs of rows: the usual bandwidth of a Gaussian kernel.

    Parameters
    ----------
    rows : array_like, shape (n, d)
        In an order that has nothing to do with their content; evenly spread ones of them are looked at.
    most : int, default 1000
        Rows looked at.

    Returns
    -------
    float
        In the units of the rows; 1 where all rows are the same, or there are fewer than two.

    Examples
    --------
    >>> median_heuristic([[0.0], [1.0], [3.0]])
    2.0
    """
    array = np.asarray(rows, dtype=np.float64)
    array = array[:: max(1, len(array) // most)][:most]
    if len(array) < 2:
        return 1.0
    square = (array**2).sum(axis=1)
    distances = np.maximum(square[:, None] + square[None] - 2 * array @ array.T, 0.0)
    pairs = np.sqrt(distances[np.triu_indices(len(array), 1)])
    scale = np.sqrt(square.max())
    pairs = pairs[pairs > 1e-6 * scale] if scale > 0 else pairs[:0]  # below is what rounding leaves of equal rows
    return float(np.median(pairs)) if len(pairs) else 1.0


def mmd2(sum_x: ArrayLike, n_x: ArrayLike, sum_y: ArrayLike, n_y: ArrayLike) -> FloatArray:
    """Squared distance of two mean features, V-statistic: without any change its mean is ``(1/n + 1/m) tr C``.

    Parameters
    ----------
    sum_x : array_like, shape (..., m)
        Sum of features (`RandomFeatures.total`).
    n_x : array_like, shape (...)
        Rows behind it, at least one.
    sum_y, n_y : array_like
        As the first two, of the other rows.

    Returns
    -------
    ndarray, shape (...)
        Maximum mean discrepancy, squared; between 0 and 4.
    """
    means = (
        np.asarray(s, dtype=float) / np.asarray(n, dtype=float)[..., None] for s, n in ((sum_x, n_x), (sum_y, n_y))
    )
    first, second = means
    return ((first - second) ** 2).sum(axis=-1)


@dataclass(frozen=True)
class NullLaw:
    """What `mmd2` is without any change, by the covariance C of the features of the reference.

    Attributes
    ----------
    trace, square_trace : float
        ``tr C`` and ``tr C^2``.
    """

    trace: float
    square_trace: float

    def mean(self, unit: ArrayLike) -> FloatArray:
        """Mean of `mmd2`.

        Parameters
        ----------
        unit : array_like
            ``1/n + 1/m`` of independent rows; times the design effect of dependent ones.

        Returns
        -------
        ndarray
            Of the same shape.
        """
        return np.asarray(unit, dtype=float) * self.trace

    def variance(self, unit: ArrayLike) -> FloatArray:
        """Variance of `mmd2`.

        Parameters
        ----------
        unit : array_like
            As of `mean`.

        Returns
        -------
        ndarray
            Of the same shape.
        """
        return 2 * np.asarray(unit, dtype=float) ** 2 * self.square_trace

    def p_value(self, distance: ArrayLike, unit: ArrayLike) -> FloatArray:
        """Probability of a distance at least as large without any change, rows being independent.

        Parameters
        ----------
        distance : array_like
            Values of `mmd2`.
        unit : array_like
            As of `mean`.

        Returns
        -------
        ndarray
            NaN where the features do not vary.

        Notes
        -----
        n times the distance is a weighted sum of chi-squares; a gamma law of the same mean and variance stands for it
        (Satterthwaite). No permutations are needed. Days differ from each other for reasons that are no drift, so this
        p-value is of rows, never of days.

        References
        ----------
        Gretton et al. (2012), JMLR 13:723, section 3. Satterthwaite (1946), Biometrics Bulletin 2:110.
        """
        mean, variance = self.mean(unit), self.variance(unit)
        with np.errstate(divide="ignore", invalid="ignore"):
            shape, scale = mean**2 / variance, variance / mean
            return np.asarray(gammaincc(shape, np.asarray(distance, dtype=float) / scale))


def null_law(features: ArrayLike) -> NullLaw:
    """Traces of the covariance of features, of its square without the part that sampling adds.

    Parameters
    ----------
    features : array_like, shape (n, m)
        Of some rows of the reference (`RandomFeatures.transform`); some thousand are enough.

    Returns
    -------
    NullLaw
        Of the rows given.
    """
    array = np.asarray(features, dtype=np.float64)
    n = len(array)
    if n < 2:
        return NullLaw(0.0, 0.0)
    covariance = np.atleast_2d(np.cov(array, rowvar=False))
    trace = float(np.trace(covariance))
    square = float((covariance**2).sum()) - trace**2 / (n - 1)
    return NullLaw(trace, max(square, trace**2 / array.shape[1]))
