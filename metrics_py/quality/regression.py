"""Regression quality from sums over rows. Leading axes are kept, NaN marks what is undefined.

The error of a row is prediction minus label, in the label's unit.

References
----------
Koenker & Bassett (1978), Econometrica 46:33 (pinball loss).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metrics_py.quality.classification import divide

FloatArray = NDArray[np.float64]

# Below this share of the summed squares, the variance of the labels is rounding noise of the subtraction.
SMALLEST_RELATIVE_VARIANCE = 2e-10


def mae(sum_abs_error: ArrayLike, n: ArrayLike) -> FloatArray:
    """Mean absolute error.

    Parameters
    ----------
    sum_abs_error : array_like, shape (...)
        Summed distances of prediction and label.
    n : array_like, shape (...)
        Rows.

    Returns
    -------
    ndarray, shape (...)
        In the unit of the label; NaN without rows.
    """
    return divide(sum_abs_error, n)


def rmse(sum_squared_error: ArrayLike, n: ArrayLike) -> FloatArray:
    """Root mean squared error.

    Parameters
    ----------
    sum_squared_error : array_like, shape (...)
        Summed squared errors.
    n : array_like, shape (...)
        Rows.

    Returns
    -------
    ndarray, shape (...)
        In the unit of the label; NaN without rows.

    Examples
    --------
    >>> float(rmse(36.0, 4))
    3.0
    """
    return np.sqrt(np.maximum(divide(sum_squared_error, n), 0))


def mean_error(sum_error: ArrayLike, n: ArrayLike) -> FloatArray:
    """Mean of prediction minus label: positive when the model predicts too high.

    Parameters
    ----------
    sum_error : array_like, shape (...)
        Summed errors.
    n : array_like, shape (...)
        Rows.

    Returns
    -------
    ndarray, shape (...)
        In the unit of the label; NaN without rows.
    """
    return divide(sum_error, n)


def pinball(sum_loss: ArrayLike, n: ArrayLike) -> FloatArray:
    """Mean pinball loss ``max(q (y - f), (q - 1) (y - f))`` of a prediction `f` of the quantile `q`.

    Parameters
    ----------
    sum_loss : array_like, shape (...)
        Summed losses.
    n : array_like, shape (...)
        Rows.

    Returns
    -------
    ndarray, shape (...)
        In the unit of the label; NaN without rows.

    References
    ----------
    Koenker & Bassett (1978), Econometrica 46:33.
    """
    return divide(sum_loss, n)


def r2(sum_squared_error: ArrayLike, sum_label: ArrayLike, sum_label_sq: ArrayLike, n: ArrayLike) -> FloatArray:
    """Coefficient of determination: 1 - squared error / squared distance of the labels from their mean.

    Undefined when the labels are constant, or vary so little beside their mean that the sums cannot tell.

    Parameters
    ----------
    sum_squared_error : array_like, shape (...)
        Summed squared errors.
    sum_label, sum_label_sq : array_like, shape (...)
        Summed labels and their squares.
    n : array_like, shape (...)
        Rows.

    Returns
    -------
    ndarray, shape (...)
        At most 1, or NaN.

    Examples
    --------
    >>> float(r2(1.0, 6.0, 14.0, 3))  # labels 1, 2, 3
    0.5
    """
    sum_label, sum_label_sq = np.asarray(sum_label, dtype=float), np.asarray(sum_label_sq, dtype=float)
    variation = sum_label_sq - divide(sum_label**2, n)
    variation = np.where(variation > SMALLEST_RELATIVE_VARIANCE * sum_label_sq, variation, 0.0)
    return 1 - divide(sum_squared_error, variation)
