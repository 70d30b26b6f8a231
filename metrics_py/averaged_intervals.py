"""Intervals of weighted means of independent proportions, from the interval of each."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metrics_py.intervals import wilson

FloatArray = NDArray[np.float64]


def averaged_interval(
    successes: ArrayLike, n: ArrayLike, weights: ArrayLike, *, confidence: float = 0.95
) -> tuple[FloatArray, FloatArray]:
    """Interval of a weighted mean of independent proportions (method of variance estimates recovery).

    Parameters
    ----------
    successes, n, weights : array_like, shape (..., C)
        Counts (not negative, may be fractions) and weights of each proportion; the weights are divided by their sum. A
        proportion without trials counts as 0 and may be anything.
    confidence : float, default 0.95
        Two-sided coverage.

    Returns
    -------
    ci_low, ci_high : ndarray, shape (...)
        NaN without weights.

    Raises
    ------
    ValueError
        If successes are negative or more than `n`.

    Notes
    -----
    With Wilson's interval (l, u) of each proportion p and weights w, the ends are ``sum w p - sqrt(sum w^2 (p - l)^2)``
    and ``sum w p + sqrt(sum w^2 (u - p)^2)``. A proportion of few trials has a wide interval, also where all of its
    trials ended alike and their spread is none. Weights are taken to be known.

    References
    ----------
    Donner & Zou (2002), Biometrics 58:209. Newcombe (1998), Statistics in Medicine 17:873, method 10.

    Examples
    --------
    Newcombe's difference 56/70 - 48/80 = .2 [.0524, .3339] is twice a mean of 56/70 and 32/80, less one:

    >>> low, high = averaged_interval([56, 32], [70, 80], [1, 1])
    >>> round(2 * float(low) - 1, 4), round(2 * float(high) - 1, 4)
    (0.0524, 0.3339)

    One of three was tried once, and failed:

    >>> [round(float(end), 3) for end in averaged_interval([600, 450, 0], [1000, 900, 1], [1, 1, 1])]
    [0.352, 0.632]
    """
    successes, n, weights = (np.asarray(each, dtype=float) for each in (successes, n, weights))
    with np.errstate(divide="ignore", invalid="ignore"):
        share = weights / weights.sum(axis=-1, keepdims=True)
        proportion = np.where(n > 0, successes / n, 0.0)
    low, high = wilson(successes, n, confidence=confidence)
    low, high = np.where(n > 0, low, 0.0), np.where(n > 0, high, 1.0)
    mean = (share * proportion).sum(axis=-1)
    below = np.sqrt(((share * (proportion - low)) ** 2).sum(axis=-1))
    above = np.sqrt(((share * (high - proportion)) ** 2).sum(axis=-1))
    return mean - below, mean + above
