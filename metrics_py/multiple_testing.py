"""P-values of many tests at once: the rate of false discoveries (Benjamini and Hochberg), or of any (Holm)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


def benjamini_hochberg(p_values: ArrayLike) -> FloatArray:
    """Adjusted p-values that control the false discovery rate: of all with q <= 0.1, at most 10 % are expected false.

    Parameters
    ----------
    p_values : array_like, shape (k,)
        Of tests that are independent or positively dependent.

    Returns
    -------
    ndarray, shape (k,)
        At least as large as the p-values, at most 1.

    References
    ----------
    Benjamini & Hochberg (1995), JRSS B 57:289.

    Examples
    --------
    >>> benjamini_hochberg([0.01, 0.04, 0.03, 0.5]).round(4).tolist()
    [0.04, 0.0533, 0.0533, 0.5]
    """
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p)[::-1]
    ranks = np.arange(len(p), 0, -1)
    result = np.empty(len(p))
    result[order] = np.minimum.accumulate(np.minimum(p[order] * (len(p) / ranks), 1.0))  # factor first: never below p
    return result


def holm(p_values: ArrayLike) -> FloatArray:
    """Adjusted p-values that control the chance of any false finding.

    Parameters
    ----------
    p_values : array_like, shape (k,)
        Of any tests, however they depend on each other.

    Returns
    -------
    ndarray, shape (k,)
        At least as large as the p-values, at most 1.

    References
    ----------
    Holm (1979), Scandinavian Journal of Statistics 6:65.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03, 0.5]).round(4).tolist()
    [0.04, 0.09, 0.09, 0.5]
    """
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p)
    result = np.empty(len(p))
    result[order] = np.maximum.accumulate(np.minimum(p[order] * np.arange(len(p), 0, -1), 1.0))
    return result
