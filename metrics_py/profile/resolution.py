"""How far a number may lie from a value of the reference and still be that value.

The same rows in another floating-point type, or after another order of additions, differ in their last digits. Values
that repeat would then all be new ones, and a bin that ends at such a value would lose it. So a value of the reference
reaches as far as the resolution of single precision goes, and never further than a quarter of the way to the next
value that the reference holds: what the reference tells apart stays apart.

References
----------
IEEE 754-2019 (binary32: 24 significant bits, an error of 2^-24 by rounding).
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
RESOLUTION = 2.0**-22
"""Single precision, and two bits for what arithmetic in it leaves."""
HALF_RESOLUTION = 2.0**-9
"""Half precision (11 significant bits), and two bits for arithmetic."""
EXACT_UP_TO = 2.0**53
LOST = 0.01
LOSSY = "values that differ are one and the same as 64-bit floats: subtract a constant, or {instead}"
SHARE_OF_GAP = 0.25
SHARE_OF_SCALE = 0.25
MEAN_ROWS = 1.5
"""Rows per value from which all values of a column count as such that repeat."""


def resolution_of(*dtypes: pl.DataType) -> float:
    """Relative resolution of the coarsest of some types.

    Parameters
    ----------
    *dtypes : polars.DataType
        Of the columns that are compared.

    Returns
    -------
    float
        `RESOLUTION`, or that of half precision.
    """
    return HALF_RESOLUTION if pl.Float16 in dtypes else RESOLUTION


def is_lossy(*columns: pl.Series) -> bool:
    """Whether whole numbers or decimals that differ become one double: more than 1 % of their distinct values.

    Parameters
    ----------
    *columns : polars.Series
        Of the tables that are compared, of any type.

    Returns
    -------
    bool
        False of floats, and of numbers up to 2^53.

    Examples
    --------
    >>> is_lossy(pl.Series([2**53 + k for k in range(8)])), is_lossy(pl.Series([2**60, 2**61]))
    (True, False)
    """
    exact = [series for series in columns if series.dtype.is_integer() or series.dtype.is_decimal()]
    if len({str(series.dtype) for series in exact}) == 1:
        exact = [pl.concat([series.rename("x") for series in exact])]
    return any(loses(series) for series in exact)


def loses(exact: pl.Series, column: pl.Series | None = None) -> bool:
    """Whether 64-bit floats make more than 1 % of the different values of a column equal: it is then imprecise.

    Parameters
    ----------
    exact : polars.Series
        Whole numbers or decimals.
    column : polars.Series, optional
        The whole column as floats, where `exact` holds only those of its values that may be lost, and null for others.

    Returns
    -------
    bool
        False of whole numbers up to 2^53.

    Examples
    --------
    >>> loses(pl.Series([2**53, 2**53 + 1])), loses(pl.Series([1, 2]))
    (True, False)
    """
    doubles = exact.cast(pl.Float64)
    if exact.dtype.is_integer() and not (doubles.abs() >= EXACT_UP_TO).any():
        return False
    n = exact.n_unique()
    n_lost = n - doubles.n_unique()
    return n_lost > LOST * (n if column is None else column.n_unique() + n_lost)


def is_dense(n: ArrayLike, low: ArrayLike, high: ArrayLike) -> NDArray[np.bool_]:
    """Whether whole numbers spread over a range lie so close that 64-bit floats make more than 1 % of them equal.

    Parameters
    ----------
    n : array_like, shape (...)
        How many there are.
    low, high : array_like, shape (...)
        The smallest and the largest of them, as floats.

    Returns
    -------
    ndarray of bool, shape (...)
        False where the limits are unknown (NaN), or are below 2^53.

    Examples
    --------
    >>> bool(is_dense(1000, 2.0**60, 2.0**60 + 2000)), bool(is_dense(10**6, 1.7e18, 1.7e18 + 8.64e13))
    (True, False)
    """
    ends = np.asarray(low, dtype=float), np.asarray(high, dtype=float)
    size = np.maximum(np.abs(ends[0]), np.abs(ends[1]))
    with np.errstate(over="ignore", invalid="ignore"):
        step = np.spacing(size)
        return (size >= EXACT_UP_TO) & (np.asarray(n, dtype=float) * step > 2 * LOST * (ends[1] - ends[0]))


def reach(
    distinct: FloatArray, mass: FloatArray, scale: float | None, resolution: float = RESOLUTION
) -> tuple[FloatArray, FloatArray]:
    """How far each value reaches downwards and upwards.

    Parameters
    ----------
    distinct : ndarray, shape (D,)
        Finite values of the reference, ascending.
    mass : ndarray, shape (D,)
        Rows of each value.
    scale : float or None
        Their standard deviation: what is far below it is no difference where values repeat, also around 0.
    resolution : float, default 2**-22
        Relative to the value, or to a quarter of the scale.

    Returns
    -------
    down, up : ndarray, shape (D,)
        Not negative.

    Examples
    --------
    >>> down, up = reach(np.array([0.0, 1e-9, 1.0]), np.array([2, 1, 1]), 1.0)
    >>> bool(up[0] == 2.5e-10), bool(up[2] == 2.0**-22), bool(down[1] == 2.0**-22 * 1e-9)
    (True, True, True)

    Whole numbers never reach another one:

    >>> reach(np.array([20260101.0]), np.array([9]), 0.0)[1].tolist()
    [0.25]
    """
    with np.errstate(over="ignore"):  # gaps between the largest floats
        repeats = (mass > 1) | (mass.sum() >= MEAN_ROWS * len(mass))
        repeated = np.where(repeats, (scale or 0.0) * SHARE_OF_SCALE, 0.0)
        widest = np.maximum(np.abs(distinct), repeated) * resolution
        gap = np.diff(distinct) * SHARE_OF_GAP
        if (distinct == np.round(distinct)).all():  # the gap between whole numbers, whichever of them are there
            widest = np.minimum(widest, SHARE_OF_GAP)
    if not len(gap):
        return widest, widest
    return np.minimum(widest, np.append(gap[:1], gap)), np.minimum(widest, np.append(gap, gap[-1:]))


def snap(
    numbers: FloatArray,
    distinct: FloatArray,
    mass: FloatArray,
    scale: float | None,
    resolution: float = RESOLUTION,
) -> FloatArray:
    """Numbers, with those within reach of a value of the reference replaced by it.

    Parameters
    ----------
    numbers : ndarray, shape (n,)
        Finite.
    distinct : ndarray, shape (D,)
        Finite values of the reference, ascending.
    mass : ndarray, shape (D,)
        As of `reach`.
    scale : float or None
        As of `reach`.
    resolution : float, default 2**-22
        As of `reach`.

    Returns
    -------
    ndarray, shape (n,)
        All others as they are.

    Examples
    --------
    >>> snap(np.array([np.float32(0.1), 0.15]), np.array([0.1, 0.2]), np.ones(2), 0.05).tolist()
    [0.1, 0.15]
    """
    if not len(distinct):
        return numbers
    down, up = reach(distinct, mass, scale, resolution)
    place = np.searchsorted(distinct, numbers)
    above, below = np.minimum(place, len(distinct) - 1), np.maximum(place - 1, 0)
    with np.errstate(over="ignore"):
        is_above = np.abs(distinct[above] - numbers) <= down[above]
        is_below = np.abs(numbers - distinct[below]) <= up[below]
    return np.where(is_above, distinct[above], np.where(is_below, distinct[below], numbers))


def decision_threshold(threshold: float) -> float:
    """A threshold that decides 32-bit and 64-bit scores alike.

    A score of 0.7 in 32 bits is 0.699999988: below 0.7, though both are written 0.7.

    Parameters
    ----------
    threshold : float
        As it is written.

    Returns
    -------
    float
        The lower of the threshold and its nearest 32-bit float; the decision is ``score >= decision_threshold(t)``.

    Examples
    --------
    >>> decision_threshold(0.5), decision_threshold(0.7) < 0.7
    (0.5, True)
    """
    return min(threshold, float(np.float32(threshold)))
