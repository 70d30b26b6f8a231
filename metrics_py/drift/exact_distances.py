"""Exact distances between two samples of numbers. NaN marks an undefined value: a side without rows.

References
----------
Szekely & Rizzo (2013), Journal of Statistical Planning and Inference 143:1249 (energy distance).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metrics_py import scipy_functions
from metrics_py.drift.samples import pair, tabulate

FloatArray = NDArray[np.float64]
CLIP_LEVELS = (0.005, 0.995)
FURTHEST = 10.0


def ks_distance(reference: ArrayLike, current: ArrayLike) -> float:
    """Two-sample Kolmogorov-Smirnov distance: the largest gap between the ECDFs.

    Parameters
    ----------
    reference, current : array_like, shapes (m,) and (n,)
        Finite numbers or booleans.

    Returns
    -------
    float
        In [0, 1]; NaN without rows on a side.

    Raises
    ------
    ValueError
        If a side is not one-dimensional or holds NaN or infinity.
    TypeError
        If a side does not hold numbers.

    Notes
    -----
    ``max_x |F(x) - G(x)|``. With p-value and interval: `metrics_py.drift.numeric_tests.ks_test`.

    References
    ----------
    Smirnov (1939), Bull. Math. Univ. Moscou 2(2):3.

    Examples
    --------
    >>> ks_distance([1, 2, 3, 4], [3, 4, 5, 6])
    0.5
    """
    a, b = pair("ks_distance", reference, current)
    if not len(a) or not len(b):
        return float("nan")
    _, m, n = tabulate(a, b)
    return float(np.abs(np.cumsum(m) / len(a) - np.cumsum(n) / len(b)).max())


def wasserstein(reference: ArrayLike, current: ArrayLike) -> float:
    """Wasserstein-1 distance in the units of the values.

    One huge value decides it: for a robust number use `wasserstein_scaled`.

    Parameters
    ----------
    reference, current : array_like, shapes (m,) and (n,)
        Finite numbers or booleans.

    Returns
    -------
    float
        0 and more; NaN without rows on a side.

    Raises
    ------
    ValueError
        If a side is not one-dimensional or holds NaN or infinity.
    TypeError
        If a side does not hold numbers.

    Notes
    -----
    ``integral |F - G| dx`` of the ECDFs: how far the mass has to be moved, on average. It says nothing about noise: of
    two samples of one distribution it is positive.

    References
    ----------
    Villani (2009), Optimal Transport, Springer.

    Examples
    --------
    A shift by 5 is a distance of 5:

    >>> wasserstein([0, 1, 3], [5, 6, 8])
    5.0
    """
    a, b = pair("wasserstein", reference, current)
    if not len(a) or not len(b):
        return float("nan")
    return scipy_functions.wasserstein_distance(a, b)


def wasserstein_scaled(reference: ArrayLike, current: ArrayLike) -> float:
    """Wasserstein-1 distance in standard deviations of the reference, outliers of either side held back.

    Parameters
    ----------
    reference, current : array_like, shapes (m,) and (n,)
        Finite numbers or booleans.

    Returns
    -------
    float
        NaN without rows on a side, or if the reference is constant between the quantiles below: it has no scale.

    Raises
    ------
    ValueError
        If a side is not one-dimensional or holds NaN or infinity.
    TypeError
        If a side does not hold numbers.

    Notes
    -----
    The standard deviation is that of the reference clipped to its 0.5 % and 99.5 % quantiles; values further than 10 of
    them beyond these quantiles count as that far. A shift by 0.3 sd gives about 0.3; an outlier among n rows moves it
    by at most about 12 / n. Not symmetric: the scale is the reference's.

    References
    ----------
    Villani (2009), Optimal Transport, Springer.

    Examples
    --------
    One value of 1e9 among 1,000 moves the distance by a million, the scaled one by 0.01:

    >>> reference = np.arange(1000.0)
    >>> current = np.append(reference[:-1], 1e9)
    >>> round(wasserstein(reference, current)), round(wasserstein_scaled(reference, current), 2)
    (999999, 0.01)
    """
    a, b = pair("wasserstein_scaled", reference, current)
    if not len(a) or not len(b):
        return float("nan")
    low, high = np.quantile(a, CLIP_LEVELS, method="inverted_cdf")
    unit = float(max(abs(low), abs(high)))  # keeps squares of huge and tiny values in range
    if low == high or unit == 0:
        return float("nan")
    low, high = low / unit, high / unit
    scale = float(np.clip(a / unit, low, high).std())
    if scale == 0:
        return float("nan")
    a, b = (np.clip(x / unit, low - FURTHEST * scale, high + FURTHEST * scale) for x in (a, b))
    return wasserstein(a, b) / scale


def energy_distance(reference: ArrayLike, current: ArrayLike) -> float:
    """Energy distance ``sqrt(2 integral (F - G)^2)``, in the square root of the units of the values.

    Parameters
    ----------
    reference, current : array_like, shapes (m,) and (n,)
        Finite numbers or booleans.

    Returns
    -------
    float
        0 and more; NaN without rows on a side.

    Raises
    ------
    ValueError
        If a side is not one-dimensional or holds NaN or infinity.
    TypeError
        If a side does not hold numbers.

    Notes
    -----
    Its square is ``2 E|X - Y| - E|X - X'| - E|Y - Y'|``, X and X' drawn from one side, Y and Y' from the other. Without
    units: `energy_coefficient`.

    References
    ----------
    Szekely & Rizzo (2013), Journal of Statistical Planning and Inference 143:1249.

    Examples
    --------
    F - G is 1 on a length of 8, so ``sqrt(2 * 8)``:

    >>> round(energy_distance([0], [8]), 6)
    4.0
    """
    a, b = pair("energy_distance", reference, current)
    if not len(a) or not len(b):
        return float("nan")
    return scipy_functions.energy_distance(a, b)


def energy_coefficient(reference: ArrayLike, current: ArrayLike) -> float:
    """Energy coefficient of inhomogeneity ``D^2 / (2 E|X - Y|)`` in [0, 1]: the energy distance without units.

    Parameters
    ----------
    reference, current : array_like, shapes (m,) and (n,)
        Finite numbers or booleans.

    Returns
    -------
    float
        0 for equal samples, 1 where each side is one constant; NaN without rows on a side.

    Raises
    ------
    ValueError
        If a side is not one-dimensional or holds NaN or infinity.
    TypeError
        If a side does not hold numbers.

    Notes
    -----
    D is `energy_distance`, X a reference and Y a current row. Means are taken from the ECDFs, so the cost is that of
    sorting.

    References
    ----------
    Szekely & Rizzo (2013), Journal of Statistical Planning and Inference 143:1249.

    Examples
    --------
    Two places against two others: ``2 E|X - Y| = 10``, ``E|X - X'| = E|Y - Y'| = 1/2``, so 9/10, in any unit.

    >>> round(energy_coefficient([0, 1], [5, 6]), 6), round(energy_coefficient([0, 0.001], [0.005, 0.006]), 6)
    (0.9, 0.9)
    """
    a, b = pair("energy_coefficient", reference, current)
    if not len(a) or not len(b):
        return float("nan")
    expected = _mean_absolute_difference(a, b)
    return min(float(energy_distance(a, b) ** 2 / (2 * expected)), 1.0) if expected > 0 else 0.0


def _mean_absolute_difference(a: FloatArray, b: FloatArray) -> float:
    """``E|X - Y|`` from ECDFs: the integral of F (1 - G) + G (1 - F)."""
    places, m, n = tabulate(a, b)
    f, g = (np.cumsum(m) / len(a))[:-1], (np.cumsum(n) / len(b))[:-1]
    return float(((f * (1 - g) + g * (1 - f)) * np.diff(places)).sum())


__all__ = ["energy_coefficient", "energy_distance", "ks_distance", "wasserstein", "wasserstein_scaled"]
