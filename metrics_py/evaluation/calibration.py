"""Do scores come true? Intercept and slope of the line between the logits of score and outcome, with intervals.

References
----------
Cox (1958), Biometrika 45:562. Van Calster, McLernon, van Smeden, Wynants & Steyerberg (2019), BMC Medicine 17:230.
Liang & Zeger (1986), Biometrika 73:13 (variance that allows for rows that depend on each other).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit

from metrics_py.confidence import check_confidence
from metrics_py.intervals import t_quantile
from metrics_py.results import Estimate

FloatArray = NDArray[np.float64]
CLIP = 1e-6
"""Scores of 0 and 1 have no logit: they count as so far from them."""
FEWEST = 20
"""Rows of either class."""
STEPS, HALVINGS, CLOSE = 100, 60, 1e-10


def calibration_line(
    score: ArrayLike, outcome: ArrayLike, bucket: ArrayLike, *, confidence: float = 0.95
) -> tuple[Estimate, Estimate]:
    """Calibration in the large, and the slope of calibration.

    Parameters
    ----------
    score : array_like, shape (n,)
        Probabilities of the outcome.
    outcome : array_like of {0, 1}, shape (n,)
        What came true.
    bucket : array_like of int, shape (n,)
        Bucket of entities of each row.
    confidence : float, default 0.95
        Two-sided.

    Returns
    -------
    tuple of Estimate
        The intercept a of ``logit P(y = 1) = a + logit(score)`` (0 where scores come true on the whole, above 0 where
        they are too low), and the slope b of ``logit P(y = 1) = a + b logit(score)`` (1; below 1 where scores are too
        extreme). ``insufficient_data`` with fewer than 20 rows of either class, scores that are all alike or that
        separate the classes, or rows of fewer than two buckets.

    Raises
    ------
    ValueError
        Lengths differ, a score lies outside of [0, 1], an outcome is neither 0 nor 1, or `confidence` does not lie
        between 0 and 1.

    Notes
    -----
    Maximum likelihood by Newton's method with halved steps. The variance is the sandwich of the buckets' scores, times
    B / (B - 1), with Student's quantile of B - 1 degrees of freedom: rows of one bucket may depend on each other.
    Scores are moved inwards to 1e-6 and 1 - 1e-6.

    References
    ----------
    Cox (1958), Biometrika 45:562. Van Calster et al. (2019), BMC Medicine 17:230. Liang & Zeger (1986), Biometrika
    73:13.

    Examples
    --------
    Outcomes of scores that are twice as extreme as they should be:

    >>> rng = np.random.default_rng(5)
    >>> z = rng.normal(0, 1, 20000)
    >>> y = rng.random(20000) < expit(z)
    >>> large, slope = calibration_line(expit(2 * z), y, rng.integers(0, 64, 20000))
    >>> round(slope.value, 3), slope.ci_low < 0.5 < slope.ci_high, large.ci_low < 0 < large.ci_high
    (0.513, True, True)
    """
    check_confidence(confidence)
    p, y = np.asarray(score, dtype=np.float64), np.asarray(outcome).astype(np.float64)
    groups = np.asarray(bucket)
    if not (p.shape == y.shape == groups.shape) or p.ndim != 1:
        raise ValueError("calibration_line: score, outcome and bucket must be one-dimensional and of equal length")
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError("calibration_line: scores must lie between 0 and 1")
    if not np.isin(y, (0.0, 1.0)).all():
        raise ValueError("calibration_line: outcomes must be 0 or 1")
    n, positive = len(y), int(y.sum())
    if min(positive, n - positive) < FEWEST:
        reason = f"{positive} positive and {n - positive} negative rows, {FEWEST} of each needed"
        return _unknown(n, reason), _unknown(n, reason)
    names, place = np.unique(groups, return_inverse=True)
    if len(names) < 2:
        reason = "all rows stand in one bucket of entities: no interval"
        return _unknown(n, reason), _unknown(n, reason)
    z = logit(np.clip(p, CLIP, 1 - CLIP))
    one = np.ones((n, 1))
    large = _fitted(one, z, y, place, len(names), confidence)
    if np.ptp(z) <= 0:
        return large, _unknown(n, "all scores are alike: there is no slope")
    of_positive, of_negative = z[y == 1], z[y == 0]
    if of_positive.min() >= of_negative.max() or of_negative.min() >= of_positive.max():
        return large, _unknown(n, "the scores separate the classes: no line fits")
    unit = float(z.std())
    x = np.column_stack([one, (z - z.mean()) / unit])
    slope = _fitted(x, np.zeros(n), y, place, len(names), confidence)
    ends = {name: None if value is None else value / unit for name, value in _ends(slope).items()}
    return large, replace(slope, **ends)


def _fitted(
    x: FloatArray, offset: FloatArray, y: FloatArray, place: NDArray[np.intp], n_buckets: int, confidence: float
) -> Estimate:
    """The last coefficient of a logistic regression whose likelihood has a maximum.

    The likelihood is concave: steps that would make it smaller are halved, so Newton's method finds it from anywhere.
    """
    beta = np.zeros(x.shape[1])
    information = np.eye(x.shape[1])
    level = _log_likelihood(offset, y)
    for _ in range(STEPS):
        mean = expit(offset + x @ beta)
        information = (x * (mean * (1 - mean))[:, None]).T @ x
        if not np.linalg.cond(information) < 1e12:
            return _unknown(len(y), "the scores all but separate the classes: no line fits")
        step: FloatArray = np.asarray(np.linalg.solve(information, x.T @ (y - mean)), dtype=np.float64)
        if np.abs(step).max() < CLOSE:
            break
        for _ in range(HALVINGS):
            reached = _log_likelihood(offset + x @ (beta + step), y)
            if reached >= level - 1e-13 * abs(level):
                break
            step = step / 2
        else:
            break
        beta, level = beta + step, reached
    else:
        return _unknown(len(y), "the scores all but separate the classes: no line fits")
    parts = x * (y - expit(offset + x @ beta))[:, None]
    sums = np.column_stack([np.bincount(place, weights=part, minlength=n_buckets) for part in parts.T])
    bread: FloatArray = np.asarray(np.linalg.inv(information), dtype=np.float64)
    variance = bread @ (sums.T @ sums) @ bread * n_buckets / (n_buckets - 1)
    error = float(np.sqrt(variance[-1, -1]))
    value = float(beta[-1])
    if not error > 0:
        return Estimate(
            value, None, None, len(y), "insufficient_data", "it is the same without each bucket of entities"
        )
    half = float(t_quantile(n_buckets - 1, confidence)) * error
    return Estimate(value, value - half, value + half, len(y), "ok", None)


def _ends(found: Estimate) -> dict[str, float | None]:
    return {"value": found.value, "ci_low": found.ci_low, "ci_high": found.ci_high}


def _log_likelihood(z: FloatArray, y: FloatArray) -> float:
    return float(-np.logaddexp(0.0, np.where(y == 1, -z, z)).sum())


def _unknown(n: int, reason: str) -> Estimate:
    return Estimate(None, None, None, n, "insufficient_data", reason)
