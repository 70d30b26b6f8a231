"""How much of one window's deviation is carried into the next: lag-one correlations, steadied by the other streams.

A stream alone cannot tell a lasting change from a wander: both make neighbouring windows alike, and a correlation that
is learnt from the changed windows explains the change away. What the other streams of the monitor show is not moved by
one that changes.

References
----------
Marriott & Pope (1954), Biometrika 41:390 (bias of r). Efron & Morris (1975), JASA 70:311 (shrinkage towards the mean of
many).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
MIN_PAIRS = 8
"""Fewest pairs behind a correlation that counts among those of its pool."""
USUAL_VARIANCE = 0.09
"""Variance of true correlations between the streams of a pool, before any was seen."""
USUAL_WEIGHT = 8
"""Streams that `USUAL_VARIANCE` is worth."""
CAUTION = 1.0
"""Standard errors that are added: too low a correlation costs false alarms, too high a one only power."""
LOW, HIGH = -0.2, 0.9


def lag_one(raw: Floats, pairs: NDArray[np.int64], pool: NDArray[np.int64]) -> Floats:
    """Lag-one correlations of many streams.

    Parameters
    ----------
    raw : ndarray, shape (streams,)
        Mean product of consecutive deviations over their mean square.
    pairs : integer ndarray, shape (streams,)
        Pairs behind each.
    pool : integer ndarray, shape (streams,)
        Streams that may resemble each other.

    Returns
    -------
    ndarray, shape (streams,)
        In [-.2, .9].

    Notes
    -----
    Each is corrected for its small-sample bias, r + (1 + 3 r) / m with m pairs, and shrunk to 0 by m / (m + 3). The
    other streams may lower it and never raise it: a change does not explain itself away, and a stream that is like no
    other keeps what its own past says.

    How far they lower it: the center of a pool is the median of those with at least `MIN_PAIRS`, drawn to 0 as by one
    stream more; the variance between its streams is what the median absolute deviation has in excess of the sampling
    variance (1 - center^2) / m, averaged with `USUAL_WEIGHT` streams of `USUAL_VARIANCE`. A stream keeps at most what
    lies between the center and its own r, by the two variances, plus `CAUTION` standard errors; with fewer pairs, at
    most the center plus those.

    Medians, because some streams of a pool may have changed: up to half of them move the others little.

    Examples
    --------
    Twenty streams without correlation, and one in which a change has just begun:

    >>> raw, pairs = np.append(np.linspace(-0.2, 0.1, 20), 0.6), np.full(21, 30)
    >>> lag_one(raw, pairs, np.zeros(21, dtype=np.int64))[-1:].round(2)
    array([0.41])
    >>> lag_one(raw[-1:], pairs[-1:], np.zeros(1, dtype=np.int64)).round(2)
    array([0.63])
    """
    m = np.maximum(pairs, 1)
    corrected = raw + (1 + 3 * raw) / m
    found = np.where(pairs > 0, np.clip(corrected, LOW, HIGH) * m / (m + 3), 0.0)
    enough = pairs >= MIN_PAIRS
    for one in np.unique(pool[enough]):
        members = pool == one
        known = members & enough
        r = np.clip(corrected[known], -1.0, 1.0)
        middle = float(np.median(r))
        center = middle * len(r) / (len(r) + 1)
        noise = (1 - min(center, 0.95) ** 2) / m
        excess = max((1.4826 * float(np.median(np.abs(r - middle)))) ** 2 - float(noise[known].mean()), 0.0)
        between = (len(r) * excess + USUAL_WEIGHT * USUAL_VARIANCE) / (len(r) + USUAL_WEIGHT)
        own = np.where(enough, between / (between + noise), 0.0)
        error = np.sqrt(np.where(enough, own * noise, between))
        steadied = center + own * (corrected - center) + CAUTION * error
        found[members] = np.minimum(found[members], np.maximum(steadied[members], LOW))
    return found
