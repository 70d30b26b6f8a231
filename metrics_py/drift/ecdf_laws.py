"""Distributions of Cramer-von Mises' and Anderson-Darling's statistics when values are tied.

Both are quadratic forms in the differences D_k of the two ECDFs at the distinct values. Given the pooled values, D has
mean 0 and the covariance ``N^2 / ((N - 1) m n) (min(H_k, H_l) - H_k H_l)``, H the pooled ECDF; so the statistics are
about weighted sums of chi-squares with one degree of freedom. For continuous values these are the limit laws of the
tables; with ties they are others, and the tables' p-values are far too small.

References
----------
Choulakian, Lockhart & Stephens (1994), Canadian Journal of Statistics 22:125 (discrete distributions). Scholz &
Stephens (1987), JASA 82:918, equation 7 (midranks). Kuonen (1999), Biometrika 86:929 (tail of a quadratic form).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtrc, ndtr

from metrics_py.scipy_functions import brentq

FloatArray = NDArray[np.float64]
MAX_CELLS = 256
NEGLIGIBLE = 1e-9


def cramer_von_mises_statistic(reference: FloatArray, current: FloatArray) -> float:
    """T, with the mean of its values just below and at each distinct value; the usual T where nothing is tied.

    Parameters
    ----------
    reference, current : ndarray, shape (G,)
        Rows of both sides at each distinct value, in order.

    Returns
    -------
    float
        ``m n / N^2 * sum_k D_k^2 (t_k + t_(k+1)) / 2``, D_k the difference of the ECDFs at the k-th distinct value and
        t_k the rows of both sides that share it.

    Examples
    --------
    Two values below two others; by Anderson's formula for ranks ``16 / 16 - 15 / 24``:

    >>> cramer_von_mises_statistic(np.array([1.0, 1.0, 0.0, 0.0]), np.array([0.0, 0.0, 1.0, 1.0]))
    0.375
    """
    m, n, tied = reference.sum(), current.sum(), reference + current
    gaps = np.cumsum(reference)[:-1] / m - np.cumsum(current)[:-1] / n
    return float(m * n / (m + n) ** 2 * (gaps**2 * (tied[:-1] + tied[1:]) / 2).sum())


def cramer_von_mises_tail(statistic: float, tied: FloatArray) -> float:
    """P(T > statistic) when nothing has changed, for distinct values that `tied` rows of both sides together share.

    Parameters
    ----------
    statistic : float
        As of `cramer_von_mises_statistic`.
    tied : ndarray, shape (G,)
        Rows of both sides together at each distinct value, in order; at least two values.

    Returns
    -------
    float
        From the limit law, so for some ten rows and more on either side.

    Examples
    --------
    Many distinct values give the continuous law, whose 5 % point is 0.461 (Anderson & Darling 1952), within a few per
    cent of p:

    >>> round(cramer_von_mises_tail(0.461, np.ones(2000)), 2)
    0.05
    """
    rows = _cells(tied)
    total = rows.sum()
    root = np.sqrt((rows[:-1] + rows[1:]) / 2)
    return quadratic_form_tail(statistic, np.linalg.eigvalsh(root[:, None] * _bridge(rows) * root) / (total - 1))


def anderson_darling_tail(statistic: float, tied: FloatArray) -> float:
    """P(A2 > statistic) for Scholz and Stephens' midrank version with two samples.

    Parameters
    ----------
    statistic : float
        A2 itself, not standardised.
    tied : ndarray, shape (G,)
        Rows of both sides together at each distinct value, in order; at least two values.

    Returns
    -------
    float
        From the limit law, so for some ten rows and more on either side.

    Examples
    --------
    Many distinct values give the continuous law, whose 5 % point is 2.492 (Anderson & Darling 1952), within a few per
    cent of p:

    >>> round(anderson_darling_tail(2.492, np.ones(2000)), 2)
    0.05
    """
    rows = _cells(tied)
    total = rows.sum()
    middle = np.cumsum(rows) - rows / 2
    weight = rows / (middle * (total - middle) - total * rows / 4) * total
    padded = np.zeros((len(rows) + 1, len(rows) + 1))
    padded[1:-1, 1:-1] = _bridge(rows)
    covariance = (padded[1:, 1:] + padded[1:, :-1] + padded[:-1, 1:] + padded[:-1, :-1]) / 4
    root = np.sqrt(weight)
    return quadratic_form_tail(statistic, np.linalg.eigvalsh(root[:, None] * covariance * root))


def _bridge(rows: FloatArray) -> FloatArray:
    """Covariance ``min(H_k, H_l) - H_k H_l`` at all distinct values but the last."""
    pooled = np.cumsum(rows)[:-1] / float(rows.sum())
    return np.minimum(pooled[:, None], pooled) - pooled[:, None] * pooled


def _cells(tied: FloatArray) -> FloatArray:
    """At most about `MAX_CELLS` groups of neighbours: the law depends on the large ties, not on many small ones."""
    if len(tied) <= MAX_CELLS:
        return tied
    middle = np.cumsum(tied) - tied / 2
    cell = np.floor(middle / tied.sum() * MAX_CELLS).astype(np.int64)
    sums = np.bincount(cell, weights=tied).astype(float)
    return sums[sums > 0]


def quadratic_form_tail(statistic: float, weights: ArrayLike) -> float:
    """P(sum_j w_j Z_j^2 > statistic) for independent standard normal Z, by the saddlepoint.

    Right to a few per cent of p, at any size.

    Parameters
    ----------
    statistic : float
        The sum; at or below 0 the result is 1.
    weights : array_like, shape (J,)
        At least one positive; those below 1e-9 of the largest are left out.

    Returns
    -------
    float
        In [0, 1].

    Notes
    -----
    With ``K(t) = -1/2 sum_j ln(1 - 2 t w_j)`` and t the root of ``K'(t) = statistic`` the tail is
    ``Phi(-(w + ln(v / w) / w))``, ``w = sign(t) sqrt(2 (t statistic - K(t)))``, ``v = t sqrt(K''(t))``. At the mean,
    where this is 0 / 0, a chi-square with the same mean and variance stands in; equal weights are a chi-square exactly.

    References
    ----------
    Kuonen (1999), Biometrika 86:929.

    Examples
    --------
    A single weight is a chi-square with one degree of freedom:

    >>> round(quadratic_form_tail(2 * 3.841459, [2.0]), 4)
    0.05
    """
    weights = np.asarray(weights, dtype=float)
    weights = weights[weights > NEGLIGIBLE * weights.max()]
    if statistic <= 0:
        return 1.0
    mean, variance = float(weights.sum()), float(2 * (weights**2).sum())
    if len(weights) == 1 or np.ptp(weights) < 1e-12 * weights[0]:
        return float(chdtrc(len(weights), statistic / weights[0]))
    if abs(statistic - mean) < 1e-3 * np.sqrt(variance):
        # The formula is 0 / 0 at the mean: a chi-square of equal moments.
        return float(chdtrc(2 * mean**2 / variance, 2 * mean / variance * statistic))
    top = float(weights.max())

    def slope(t: float) -> float:
        return float((weights / (1 - 2 * t * weights)).sum()) - statistic

    low = -len(weights) / (2 * statistic) - 1 / top
    high = (1 - min(top / (2 * statistic), 0.5)) / (2 * top)
    t = brentq(slope, low, high, xtol=1e-14 / top)
    w = np.sign(t) * np.sqrt(2 * (t * statistic + 0.5 * float(np.log1p(-2 * t * weights).sum())))
    v = t * np.sqrt(2 * float(((weights / (1 - 2 * t * weights)) ** 2).sum()))
    return float(np.clip(ndtr(-(w + np.log(v / w) / w)), 0.0, 1.0))
