"""Do labels come as fast as they used to? Those that came in one window, beside those that were expected to.

A delay law takes for complete what is slower than it used to be. The labels that arrive within one window of the
calendar, whatever window their prediction was made in, tell first: as many are expected as the predictions made until
then, the share that gets a label and the delays seen so far let come.
"""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

LEARNT_FROM = 180
"""Windows before the one in question from which delays are learnt."""

RATE_FROM = 60
"""Windows from which the share of predictions that get a label is."""

FEWEST_WINDOWS = 14
"""Windows with predictions before the one in question without which nothing is expected."""

SEEN_ENOUGH = 0.1
"""Share of the labels of a window that should be in before it tells of the share that gets one."""


def arrivals(triangle: FloatArray, predictions: FloatArray, at: int) -> tuple[float, float]:
    """Labels that arrived in a window, and how many were expected by what was known before it.

    Parameters
    ----------
    triangle : ndarray, shape (W, U)
        Labels of the predictions of window i that arrived u windows after it began (0: within it).
    predictions : ndarray, shape (W,)
        Predictions by window.
    at : int
        The window, 0 <= `at` < W.

    Returns
    -------
    observed, expected : float
        `expected` is NaN with fewer than `FEWEST_WINDOWS` windows with predictions before, or none that tells the share
        labelled.

    Notes
    -----
    With F the share that has come by an age, of reverse hazards over the triangle as it was when the window began
    (chain ladder), and r the labels there were then over ``sum predictions F(age)``, the estimator of Cape Cod,
    expected are ``sum_i predictions_i r (F(at - i + 1) - F(at - i))``. What windows of the calendar hold is disjoint:
    one slower day does not tell twice. Assumed: delays and the share labelled are stable over the windows learnt from.

    References
    ----------
    Mack (1993), ASTIN Bulletin 23:213 (chain ladder). Stanard (1985), PCAS 72:124 (Cape Cod).
    """
    first = max(at - LEARNT_FROM, 0)
    own, made = triangle[first : at + 1], predictions[first : at + 1]
    n, horizon = len(own) - 1, int(own.shape[1])
    delays: IntArray = np.arange(horizon)
    ages: IntArray = n - np.arange(n + 1)  # windows that each one is old when the window in question begins
    observed = float(own[ages < horizon, ages[ages < horizon]].sum())
    known = np.where(delays[None] < ages[:, None], own, 0.0)
    if np.count_nonzero(made[:-1]) < FEWEST_WINDOWS or not known.any():
        return observed, np.nan
    upto = known.cumsum(axis=1)
    at_risk = np.where(delays[None] < ages[:, None], upto, 0.0).sum(axis=0)
    hazard = np.divide(known.sum(axis=0), at_risk, out=np.zeros(horizon), where=at_risk > 0)
    hazard[0] = 0.0
    # Share that has come by each age: products of 1 - h over all later delays; of age 0 nothing has
    later = cast("FloatArray", np.cumprod((1 - hazard)[::-1]))[::-1]
    share: FloatArray = np.concatenate([np.zeros(1), later[1:], np.ones(1)])
    of_age = share[np.minimum(ages, horizon)]
    tells = (of_age >= SEEN_ENOUGH) & (ages > 0) & (ages <= RATE_FROM)
    base = float((made * of_age)[tells].sum())
    if not base:
        return observed, np.nan
    rate = float(known[tells].sum()) / base
    grown = share[np.minimum(ages + 1, horizon)] - of_age
    return observed, float(rate * (made * grown).sum())
