"""Worst and best case of rows whose label never came: what holds whatever these labels would have said.

Labels that never come are seldom missing at random: a cancelled flight has no delay, a refused loan no default. No
weight mends that. But every such row is positive or negative, so a metric of two classes lies between the worst and the
best way to count them. These are the only bounds without an assumption, and they are sharp: some way to count reaches
each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_Ratio = Callable[[FloatArray, FloatArray, FloatArray, FloatArray], tuple[FloatArray, FloatArray]]
_RATIOS: Mapping[str, _Ratio] = {
    "accuracy": lambda tp, fp, fn, tn: (tp + tn, tp + fp + fn + tn),
    "precision": lambda tp, fp, fn, tn: (tp, tp + fp),
    "recall": lambda tp, fp, fn, tn: (tp, tp + fn),
    "specificity": lambda tp, fp, fn, tn: (tn, tn + fp),
    "f1": lambda tp, fp, fn, tn: (2 * tp, 2 * tp + fp + fn),
    "positive_rate": lambda tp, fp, fn, tn: (tp + fn, tp + fp + fn + tn),
}
BOUNDED = tuple(_RATIOS)
"""Metrics with bounds. Those of scores are left out: how they change depends on which row the label is of."""


def worst_and_best(
    metric: str,
    tp: FloatArray,
    fp: FloatArray,
    fn: FloatArray,
    tn: FloatArray,
    unlabelled_positive: FloatArray,
    unlabelled_negative: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Lowest and highest value of a metric over all ways to label the rows without a label.

    Parameters
    ----------
    metric : str
        One of `BOUNDED`.
    tp, fp, fn, tn : ndarray, shape (k,)
        Labelled rows by decision and label.
    unlabelled_positive, unlabelled_negative : ndarray, shape (k,)
        Rows without a label that were predicted positive, and negative.

    Returns
    -------
    lowest, highest : ndarray, shape (k,)
        NaN where the metric is undefined however they are labelled.

    Notes
    -----
    Of the rows predicted positive x, of those predicted negative y are positive. Each metric here is a ratio of linear
    functions, so it is monotonic in x for a fixed y and in y for a fixed x: its extremes lie where both are none or
    all. Where such a corner is undefined (no row that counts), one row more or less defines it.

    Examples
    --------
    60 of 80 rows are right, 20 have no label:

    >>> low, high = worst_and_best("accuracy", *(np.array([float(n)]) for n in (30, 10, 10, 30, 10, 10)))
    >>> float(low[0]), float(high[0])
    (0.6, 0.8)
    """
    ratio = _RATIOS[metric]
    found: list[FloatArray] = []
    for x in _candidates(unlabelled_positive):
        for y in _candidates(unlabelled_negative):
            top, bottom = ratio(tp + x, fp + unlabelled_positive - x, fn + y, tn + unlabelled_negative - y)
            found.append(np.divide(top, bottom, out=np.full(len(top), np.nan), where=bottom > 0))
    values = np.stack(found)
    defined = np.isfinite(values)
    lowest = np.where(defined, values, np.inf).min(axis=0)
    highest = np.where(defined, values, -np.inf).max(axis=0)
    nothing = ~defined.any(axis=0)
    return np.where(nothing, np.nan, lowest), np.where(nothing, np.nan, highest)


def _candidates(n: FloatArray) -> list[FloatArray]:
    """None, one, all but one and all of n rows."""
    return [np.zeros(len(n)), np.minimum(n, 1.0), np.maximum(n - 1, 0.0), n]
