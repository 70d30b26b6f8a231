"""Two ways of training compared on the same blocks of time.

References
----------
Nadeau & Bengio (2003), Machine Learning 52:239 (training sets that overlap make such intervals too narrow).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from metrics_py.confidence import check_confidence
from metrics_py.intervals import t_quantile
from metrics_py.results import Estimate

FEWEST_BLOCKS = 3


def mean_difference(first: ArrayLike, second: ArrayLike, *, overlap: float = 0.0, confidence: float = 0.95) -> Estimate:
    """Mean of paired differences over blocks of time, with Student's interval.

    Parameters
    ----------
    first, second : array_like, shape (B,)
        Loss of both ways on each block; NaN where one has none.
    overlap : float, default 0.0
        Share of its training rows that a block has in common with the next one; 0 where none are.
    confidence : float, default 0.95
        Two-sided coverage.

    Returns
    -------
    Estimate
        Of ``second - first``, with ``n`` the blocks that both have; insufficient_data with fewer than three, or where
        all differences are the same.

    Raises
    ------
    ValueError
        If the shapes disagree, `overlap` does not lie in [0, 1), or `confidence` does not lie between 0 and 1.

    Notes
    -----
    Blocks that follow each other are trained on rows they share: their errors are correlated and the plain variance of
    the mean is too small. It is multiplied by ``1 + 2 sum_k rho_k (1 - k / B)`` with ``rho_k = max(0, 1 - k (1 -
    overlap))``, the correlation that the shared rows alone would make (a moving sum's), and the variance among blocks
    is divided by what such a correlation leaves of it. That is on the safe side: the rows that are judged differ, so
    the true correlation is smaller.

    Examples
    --------
    >>> found = mean_difference([0.30, 0.32, 0.29], [0.27, 0.30, 0.25])
    >>> round(found.value, 3), round(found.ci_low, 4), round(found.ci_high, 4)
    (-0.03, -0.0548, -0.0052)
    """
    check_confidence(confidence)
    one, other = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if one.shape != other.shape or one.ndim != 1:
        raise ValueError(f"mean_difference: shapes {one.shape} and {other.shape}; give one number per block of both")
    if not 0 <= overlap < 1:
        raise ValueError(f"mean_difference: overlap={overlap} must lie in [0, 1)")
    found = (other - one)[np.isfinite(other - one)]
    n = len(found)
    value = float(found.mean()) if n else None
    if n < FEWEST_BLOCKS:
        reason = f"{n} blocks were judged in both ways, at least {FEWEST_BLOCKS} are needed"
        return Estimate(value, None, None, n, "insufficient_data", reason, "too_few_rows")
    variance = float(found.var(ddof=1))
    if not variance > 0:
        reason = "the difference is the same in every block: that does not say how precise it is"
        return Estimate(value, None, None, n, "insufficient_data", reason, "no_spread")
    lags = np.arange(1, n)
    shared = np.maximum(0.0, 1 - lags * (1 - overlap))
    inflation = 1 + 2 * float((shared * (1 - lags / n)).sum())
    left = (n - inflation) / (n - 1)
    if overlap and left <= 1 / n:
        reason = f"the {n} blocks are trained on nearly the same rows: that does not say how precise the difference is"
        return Estimate(value, None, None, n, "insufficient_data", reason, "no_spread")
    error = float(np.sqrt(variance / left * inflation / n))
    half = float(t_quantile(n - 1, confidence)) * error
    assert value is not None
    return Estimate(value, value - half, value + half, n)
