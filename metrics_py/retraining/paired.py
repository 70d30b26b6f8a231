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


def mean_difference(first: ArrayLike, second: ArrayLike, *, confidence: float = 0.95) -> Estimate:
    """Mean of paired differences over blocks of time, with Student's interval.

    Parameters
    ----------
    first, second : array_like, shape (B,)
        Loss of both ways on each block; NaN where one has none.
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
        If the shapes disagree, or `confidence` does not lie between 0 and 1.

    Notes
    -----
    What makes a block hard is common to both ways and cancels. The differences count as independent. Blocks that follow
    each other are trained on rows they share, which in cross-validation makes such an interval too narrow; here the
    rows that are judged are others in each block, and with training sets that overlap by two thirds to four fifths the
    interval covered in 0.94 to 0.97 (`tests/simulation/retraining`).

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
    found = (other - one)[np.isfinite(other - one)]
    n = len(found)
    if n < FEWEST_BLOCKS:
        reason = f"{n} blocks were judged in both ways, at least {FEWEST_BLOCKS} are needed"
        value = float(found.mean()) if n else None
        return Estimate(value, None, None, n, "insufficient_data", reason, "too_few_rows")
    value, error = float(found.mean()), float(found.std(ddof=1) / np.sqrt(n))
    if error <= 1e-12 * float(np.abs(found).max()):
        reason = "the difference is the same in every block: that does not say how precise it is"
        return Estimate(value, None, None, n, "insufficient_data", reason, "no_spread")
    half = float(t_quantile(n - 1, confidence)) * error
    return Estimate(value, value - half, value + half, n)
