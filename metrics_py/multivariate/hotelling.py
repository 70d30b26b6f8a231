"""Hotelling's T squared of one more window's mean, with the window as the unit of chance.

References
----------
Hotelling (1931), The generalization of Student's ratio, Annals of Mathematical Statistics 2:360.
Schäfer & Strimmer (2005), A shrinkage approach to large-scale covariance matrix estimation, SAGMB 4:32.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import fdtrc

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Hotelling:
    """Result of `hotelling`.

    Attributes
    ----------
    t_squared : float
    p_value : float
        Of one more ordinary window, by the F law.
    """

    t_squared: float
    p_value: float


def hotelling(mean: ArrayLike, reference: ArrayLike) -> Hotelling:
    """T squared of the mean of one window against the means of D other windows.

    Parameters
    ----------
    mean : array_like, shape (k,)
        Mean of the window.
    reference : array_like, shape (D, k)
        Means of ordinary windows; D > k.

    Returns
    -------
    Hotelling
        The statistic and its p-value.

    Raises
    ------
    ValueError
        If there are too few windows, or their covariance is singular.

    Notes
    -----
    Windows are independent and their means normal: T^2 = D / (D + 1) (x - m)' S^-1 (x - m), and
    (D - k) T^2 / (k (D - 1)) has the F law with k and D - k degrees of freedom. What rows scatter within a day plays no
    part: days differ for reasons of their own.

    References
    ----------
    Hotelling (1931), Annals of Mathematical Statistics 2:360.

    Examples
    --------
    >>> found = hotelling([2.0, 2.0], [[0, 0], [1, 0], [0, 1], [1, 1], [0.5, 0.4]])
    >>> round(found.t_squared, 2), round(found.p_value, 3)
    (15.14, 0.096)
    """
    x, days = np.asarray(mean, dtype=float), np.asarray(reference, dtype=float)
    n, k = days.shape
    if n <= k:
        raise ValueError(
            f"hotelling: {n} windows for {k} dimensions: pass more windows, or project to fewer dimensions"
        )
    difference = x - days.mean(axis=0)
    covariance = _covariance(days)
    try:
        distance = _quadratic(covariance, difference)
    except np.linalg.LinAlgError as error:
        raise ValueError("hotelling: the windows' covariance is singular: leave constant dimensions out") from error
    t_squared = n / (n + 1) * distance
    return Hotelling(t_squared, float(fdtrc(k, n - k, (n - k) * t_squared / (k * (n - 1)))))


def _covariance(rows: FloatArray) -> FloatArray:
    centred = rows - rows.mean(axis=0)
    return centred.T @ centred / (len(rows) - 1)


def _quadratic(matrix: FloatArray, x: FloatArray) -> float:
    solved = np.asarray(np.linalg.solve(matrix, x), dtype=np.float64)
    return float((x * solved).sum())


def shrunk_covariance(rows: ArrayLike) -> tuple[FloatArray, float]:
    """Covariance with its off-diagonal part shrunk as far as chance alone explains it.

    Parameters
    ----------
    rows : array_like, shape (D, k)
        At least two; fewer than k are fine: the result is positive definite where every column varies.

    Returns
    -------
    covariance : ndarray, shape (k, k)
        Positive definite where every column varies.
    intensity : float
        From 0 (as it is) to 1 (its diagonal alone).

    References
    ----------
    Schäfer & Strimmer (2005), SAGMB 4:32, target D.
    """
    array = np.asarray(rows, dtype=float)
    n = len(array)
    centred = array - array.mean(axis=0)
    covariance = _covariance(array)
    scale = np.sqrt(np.maximum(covariance.diagonal(), np.finfo(float).tiny))
    unit = centred / scale
    products = unit.T @ unit / (n - 1)
    spread = (unit**2).T @ (unit**2) / n - (products * (n - 1) / n) ** 2
    chance = n**2 / (n - 1) ** 3 * np.maximum(spread, 0.0)
    off = ~np.eye(len(covariance), dtype=np.bool_)
    total = float((products[off] ** 2).sum())
    intensity = 1.0 if total <= 0 else float(np.clip(chance[off].sum() / total, 0.0, 1.0))
    return covariance * np.where(off, 1 - intensity, 1.0), intensity


def scaled_distance(mean: ArrayLike, reference: ArrayLike) -> float:
    """T squared per dimension by `shrunk_covariance`: about 1 for an ordinary window, also where D <= k.

    Parameters
    ----------
    mean : array_like, shape (k,)
        Mean of the window.
    reference : array_like, shape (D, k)
        Means of ordinary windows, this one not among them.

    Returns
    -------
    float
        NaN with fewer than four windows, or where a dimension does not vary.
    """
    x, days = np.asarray(mean, dtype=float), np.asarray(reference, dtype=float)
    n, k = days.shape
    if n < 4 or not k:
        return float("nan")
    covariance, _ = shrunk_covariance(days)
    difference = x - days.mean(axis=0)
    if not (covariance.diagonal() > 0).all():
        return float("nan")
    # correlation form: scales of the dimensions may differ by orders of magnitude
    scale = np.sqrt(covariance.diagonal())
    unit = difference / scale
    correlation = covariance / np.outer(scale, scale)
    try:
        distance = _quadratic(correlation, unit)
    except np.linalg.LinAlgError:
        return float("nan")
    return n / (n + 1) * distance / k if distance >= 0 else float("nan")
