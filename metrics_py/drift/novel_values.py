"""How surprising are values that the reference does not hold? Exact for ranges, by Good and Turing for categories.

References
----------
Wilks (1942), Annals of Mathematical Statistics 13:400 (coverage of a sample's range). Good (1953), Biometrika 40:237.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln, ndtr

FloatArray = NDArray[np.float64]
MAX_EXACT = 1000


def uncovered_p(events: ArrayLike, n: ArrayLike, m: ArrayLike, singletons: ArrayLike) -> FloatArray:
    """Probability of at least so many values outside what the reference covers, when nothing has changed.

    Parameters
    ----------
    events, n : array_like, shape (T,)
        Values outside, of so many; fractions are cut off.
    m : array_like, shape (T,)
        Reference values.
    singletons : array_like, shape (T,)
        s: 1 for the range of a continuous column, for categories those that the reference holds once.

    Returns
    -------
    ndarray, shape (T,)
        1 where there are no events.

    Notes
    -----
    The mass that m values leave uncovered is Beta(s + 1, m - s): with s = 1 that outside the range of a continuous
    column (exact, whatever its distribution), with s the categories seen once that of unseen categories (their mean is
    about Good and Turing's s / m). The number of events among n rows is then beta-binomial, whose tail is a sum of
    hypergeometric terms; beyond s = 1000 it is normal.

    Rows are independent: of clustered ones divide events and n by the design effect. A large p-value is no proof that
    the new values are harmless, and one value that cannot be (an age of 999) is a matter for a contract, not for a
    test.

    References
    ----------
    Wilks (1942), Annals of Mathematical Statistics 13:400. Good (1953), Biometrika 40:237.

    Examples
    --------
    One new value beyond the range of 19 others: 2 of 20 places are beyond.

    >>> float(uncovered_p([1], [1], [19], [1])[0].round(12))
    0.1
    """
    arrays = np.broadcast_arrays(
        *(np.floor(np.atleast_1d(np.asarray(x, dtype=float))) for x in (events, n, m, singletons))
    )
    return np.array([_tail(*(float(x) for x in row)) for row in zip(*arrays, strict=True)])


def _tail(x: float, n: float, m: float, s: float) -> float:
    a, b = s + 1, max(m - s, 0.0)
    if not np.isfinite(x + n + m + s) or x <= 0 or n <= 0 or b == 0:
        return 1.0
    if a > MAX_EXACT:
        share = a / (a + b)
        variance = n * share * (1 - share) * (1 + (n - 1) / (a + b + 1))
        return float(ndtr((n * share + 0.5 - x) / np.sqrt(variance)))
    drawn, k = x + a - 1, np.arange(a)
    possible = (k <= m) & (drawn - k <= n)
    k = k[possible]
    logs = _log_choose(m, k) + _log_choose(n, drawn - k) - _log_choose(n + m, drawn)
    return float(np.clip(np.exp(logs).sum(), 0.0, 1.0))


def _log_choose(n: float, k: ArrayLike) -> FloatArray:
    k = np.asarray(k, dtype=float)
    return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
