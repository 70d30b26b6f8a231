"""How well one column alone tells the label: nearly perfectly is a sign that the column knows it.

References
----------
Hanley & McNeil (1982), Radiology 143:29. Kaufman, Rosset, Perlich & Stitelman (2012), ACM TKDD 6:15 (leakage).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metrics_py.confidence import check_confidence
from metrics_py.intervals import jackknife_estimate
from metrics_py.quality.score_histograms import roc_auc
from metrics_py.results import Estimate
from metrics_py.wording import count

FloatArray = NDArray[np.float64]
FEWEST = 30
"""Rows of the rarer class."""
N_BUCKETS = 64


def separation(codes: ArrayLike, outcome: ArrayLike, bucket: ArrayLike, *, confidence: float = 0.95) -> Estimate:
    """ROC AUC of the share of positives of a column's bins, learnt on other entities.

    Parameters
    ----------
    codes : array_like of int, shape (n,)
        Bin of each value, from 0 on.
    outcome : array_like of {0, 1}, shape (n,)
        The label.
    bucket : array_like of int, shape (n,)
        Bucket of entities of each row, below 64.
    confidence : float, default 0.95
        Two-sided.

    Returns
    -------
    Estimate
        0.5 where the column tells nothing; ``insufficient_data`` with fewer than 30 rows of either class.

    Raises
    ------
    ValueError
        Lengths differ, or `confidence` does not lie between 0 and 1.

    Notes
    -----
    Each bin's share of positives is learnt on the rows of the even buckets for those of the odd ones and the other way
    round, so a column that differs in every row tells nothing. Delete-one-bucket jackknife, the shares held. Where no
    pair is ordered wrongly there is no spread: the lower end is then 1 - 3.69 / m with m rows of the rarer class, the
    largest rate of which nothing is seen in m rows with 2.5 %.

    References
    ----------
    Hanley & McNeil (1982), Radiology 143:29.

    Examples
    --------
    >>> rng = np.random.default_rng(6)
    >>> y = rng.random(2000) < 0.3
    >>> copy, noise, bucket = y.astype(int), rng.integers(0, 9, 2000), rng.integers(0, 64, 2000)
    >>> separation(copy, y, bucket).value, round(separation(noise, y, bucket).value, 2)
    (1.0, 0.52)
    """
    check_confidence(confidence)
    code, y = np.asarray(codes, dtype=np.int64), np.asarray(outcome).astype(np.float64)
    group = np.asarray(bucket).astype(np.int64) % N_BUCKETS
    if not (code.shape == y.shape == group.shape) or code.ndim != 1:
        raise ValueError("separation: codes, outcome and bucket must be one-dimensional and of equal length")
    n, positive = len(y), int(y.sum())
    rarer = min(positive, n - positive)
    if rarer < FEWEST:
        reason = f"{count(rarer, 'rows')} of the rarer class, {FEWEST} needed"
        return Estimate(None, None, None, n, "insufficient_data", reason, "too_few_rows")
    values, place = np.unique(_learnt(code, y, group % 2), return_inverse=True)
    cell = group * len(values) + place
    size = N_BUCKETS * len(values)
    positives, negatives = (
        np.bincount(cell, weights=part, minlength=size).reshape(N_BUCKETS, len(values)) for part in (y, 1 - y)
    )
    found = jackknife_estimate(roc_auc, positives, negatives, n=n, confidence=confidence)
    if found.value is not None and found.value >= 1:
        return Estimate(1.0, max(1 + float(np.log((1 - confidence) / 2)) / rarer, 0.0), 1.0, n, "ok", None)
    return found


def _learnt(code: NDArray[np.int64], y: FloatArray, half: NDArray[np.int64]) -> FloatArray:
    """Share of positives of each row's bin among the rows of the other half, drawn to the share of all."""
    width, mean = int(code.max()) + 1, float(y.mean())
    score = np.empty(len(y))
    for own in (0, 1):
        others = half != own
        n = np.bincount(code[others], minlength=width)
        total = np.bincount(code[others], weights=y[others], minlength=width)
        score[~others] = ((total + mean) / (n + 1))[code[~others]]
    return np.round(score, 12)
