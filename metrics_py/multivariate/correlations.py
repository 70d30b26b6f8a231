"""Correlations of columns from sums that merge, how far two sets of them lie apart, and which pairs changed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
MIN_PAIR_ROWS = 30
"""Rows with both values; with fewer a pair is not compared."""


@dataclass(frozen=True, eq=False)
class MomentSums:
    """Sums over the rows in which both columns of a pair have a value; each of shape (..., d, d).

    Attributes
    ----------
    n : ndarray
        Rows.
    first : ndarray
        Sum of the first column of the pair (that of the second is the transpose).
    square : ndarray
        Sum of its square.
    product : ndarray
        Sum of the product.
    """

    n: FloatArray
    first: FloatArray
    square: FloatArray
    product: FloatArray

    def __add__(self, other: MomentSums) -> MomentSums:
        return MomentSums(
            self.n + other.n, self.first + other.first, self.square + other.square, self.product + other.product
        )

    def __sub__(self, other: MomentSums) -> MomentSums:
        return MomentSums(
            self.n - other.n, self.first - other.first, self.square - other.square, self.product - other.product
        )

    def correlations(self) -> FloatArray:
        """Pearson correlation of each pair over the rows with both values.

        Returns
        -------
        ndarray, shape (..., d, d)
            NaN where there are fewer than `MIN_PAIR_ROWS` rows, or a column does not vary.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = self.first / self.n
            other = np.swapaxes(mean, -1, -2)
            spread = self.square / self.n - mean**2
            found = (self.product / self.n - mean * other) / np.sqrt(spread * np.swapaxes(spread, -1, -2))
        varies = (spread > 1e-12) & (np.swapaxes(spread, -1, -2) > 1e-12)
        return np.where((self.n >= MIN_PAIR_ROWS) & varies, np.clip(found, -1.0, 1.0), np.nan)


def moment_sums(rows: ArrayLike) -> MomentSums:
    """Sums of one set of rows.

    Parameters
    ----------
    rows : array_like, shape (n, d)
        NaN: missing.

    Returns
    -------
    MomentSums
        Each of shape (d, d).
    """
    array = np.asarray(rows, dtype=np.float64)
    known = np.isfinite(array)
    filled = np.where(known, array, 0.0)
    mask = known.astype(np.float64)
    return MomentSums(mask.T @ mask, filled.T @ mask, (filled**2).T @ mask, filled.T @ filled)


@dataclass(frozen=True, eq=False)
class CorrelationChange:
    """How far the correlations of T windows lie from the reference's.

    Attributes
    ----------
    squared : ndarray, shape (T,)
        Sum over the pairs of the squared difference.
    noise, variance : ndarray, shape (T,)
        Mean and variance of it without any change, rows being independent, pairs taken as such.
    n_pairs : ndarray, shape (T,)
        Pairs that could be compared.
    difference, error : ndarray, shape (T, p)
        Difference of each pair, and its standard error by rows; NaN where it was not compared.
    current, reference : ndarray, shape (T, p)
        Both correlations.
    """

    squared: FloatArray
    noise: FloatArray
    variance: FloatArray
    n_pairs: NDArray[np.int64]
    difference: FloatArray
    error: FloatArray
    current: FloatArray
    reference: FloatArray


def pairs_of(d: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Indices of the pairs of d columns, in the order of `CorrelationChange`.

    Parameters
    ----------
    d : int
        Columns.

    Returns
    -------
    tuple of integer ndarray, shape (d (d - 1) / 2,)
        First and second column of each pair.
    """
    return np.triu_indices(d, 1)


def correlation_change(reference: MomentSums, current: MomentSums, design_effect: float = 1.0) -> CorrelationChange:
    """Compare the correlations of windows with the reference's.

    Parameters
    ----------
    reference : MomentSums, shape (T, d, d) or (d, d)
        What each window is compared with.
    current : MomentSums, shape (T, d, d)
        Of the windows.
    design_effect : float, default 1
        Of rows that depend on each other.

    Returns
    -------
    CorrelationChange
        Pair by pair and in all.

    Notes
    -----
    A sample correlation of n normal rows has the variance (1 - rho^2)^2 / n (Fisher 1915); it is taken at the
    reference's rho.

    References
    ----------
    Fisher (1915), Biometrika 10:507. Steiger (1980), Psychological Bulletin 87:245 (matrices of correlations).
    """
    i, j = pairs_of(current.n.shape[-1])
    now = current.correlations()[..., i, j]
    old = np.broadcast_to(reference.correlations()[..., i, j], now.shape)
    n, m = current.n[..., i, j], np.broadcast_to(reference.n[..., i, j], now.shape)
    known = np.isfinite(now) & np.isfinite(old)
    with np.errstate(divide="ignore", invalid="ignore"):
        chance = np.where(known, design_effect * (1 - old**2) ** 2 * (1 / n + 1 / m), 0.0)
    difference = np.where(known, now - old, 0.0)
    squared = difference**2
    return CorrelationChange(
        squared.sum(axis=-1),
        chance.sum(axis=-1),
        (2 * chance**2 + 4 * chance * np.maximum(squared - chance, 0.0)).sum(axis=-1),
        known.sum(axis=-1),
        np.where(known, difference, np.nan),
        np.where(known, np.sqrt(chance), np.nan),
        now,
        old,
    )
