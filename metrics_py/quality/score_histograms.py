"""Quality of the scores of two classes from histograms: areas under curves and calibration.

Score histograms have the shape (..., K): counts of positive and of negative rows per equal-width score bin, in
ascending order of the score. As in `metrics_py.quality.classification` every function reduces the last axis and keeps
all leading ones, and NaN marks what is undefined.

References
----------
DeLong, DeLong & Clarke-Pearson (1988), Biometrics 44:837.
Naeini, Cooper & Hauskrecht (2015), AAAI (expected calibration error).
Davis & Goadrich (2006), ICML (average precision without interpolation).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metrics_py.quality.classification import divide
from metrics_py.scipy_functions import digamma

FloatArray = NDArray[np.float64]

N_SCORE_BINS = 256
N_CALIBRATION_BINS = 16


def _histograms(positives: ArrayLike, negatives: ArrayLike) -> tuple[FloatArray, FloatArray]:
    positives, negatives = np.asarray(positives, dtype=float), np.asarray(negatives, dtype=float)
    if positives.shape[-1:] != negatives.shape[-1:] or positives.ndim == 0:
        raise ValueError(
            f"score histograms of shapes {positives.shape} and {negatives.shape}: the last axis (score bins) must agree"
        )
    return positives, negatives


def roc_auc(positives: ArrayLike, negatives: ArrayLike) -> FloatArray:
    """Area under the ROC curve: P(score of a positive > score of a negative), equal bins counting half.

    Exact for scores rounded to their bin; the exact area of the raw scores lies within `roc_auc_bound`.

    Parameters
    ----------
    positives, negatives : array_like, shape (..., K)
        Score histograms.

    Returns
    -------
    ndarray, shape (...)
        In [0, 1]; NaN unless both classes occur.

    Raises
    ------
    ValueError
        If the numbers of score bins differ.

    References
    ----------
    Hanley & McNeil (1982), Radiology 143:29.

    Examples
    --------
    >>> float(roc_auc([0, 1, 3], [3, 1, 0]))
    0.96875
    """
    positives, negatives = _histograms(positives, negatives)
    below = np.cumsum(negatives, axis=-1)
    below -= negatives / 2
    wins = np.einsum("...k,...k->...", positives, below)
    return divide(wins, positives.sum(axis=-1) * negatives.sum(axis=-1))


def roc_auc_bound(positives: ArrayLike, negatives: ArrayLike) -> FloatArray:
    """Largest possible difference between the binned and the exact area: half the share of pairs within one bin.

    Parameters
    ----------
    positives, negatives : array_like, shape (..., K)
        Score histograms.

    Returns
    -------
    ndarray, shape (...)
        In [0, 0.5]; NaN unless both classes occur.

    Raises
    ------
    ValueError
        If the numbers of score bins differ.

    Examples
    --------
    One of 16 pairs shares a bin:

    >>> float(roc_auc_bound([0, 1, 3], [3, 1, 0]))
    0.03125
    """
    positives, negatives = _histograms(positives, negatives)
    ties = np.einsum("...k,...k->...", positives, negatives)
    return divide(ties / 2, positives.sum(axis=-1) * negatives.sum(axis=-1))


def delong_variance(positives: ArrayLike, negatives: ArrayLike) -> FloatArray:
    """Variance of the area for independent rows (DeLong), in O(K) from histograms.

    Parameters
    ----------
    positives, negatives : array_like, shape (..., K)
        Score histograms.

    Returns
    -------
    ndarray, shape (...)
        NaN unless there are two rows of either class.

    Raises
    ------
    ValueError
        If the numbers of score bins differ.

    References
    ----------
    DeLong, DeLong & Clarke-Pearson (1988), Biometrics 44:837.

    Examples
    --------
    Either side has the shares of beaten rows 1, 1, 1 and 7/8, with variance 1/256; ``2 * (1 / 256) / 4``:

    >>> float(delong_variance([0, 1, 3], [3, 1, 0])) * 512
    1.0
    """
    positives, negatives = _histograms(positives, negatives)
    n_positive, n_negative = positives.sum(axis=-1), negatives.sum(axis=-1)
    area = roc_auc(positives, negatives)[..., None]
    wins_of_positive = divide(np.cumsum(negatives, axis=-1) - negatives / 2, n_negative[..., None])
    above = positives.sum(axis=-1, keepdims=True) - np.cumsum(positives, axis=-1) + positives / 2
    wins_of_negative = divide(above, n_positive[..., None])
    s10 = divide((positives * (wins_of_positive - area) ** 2).sum(axis=-1), n_positive - 1)
    s01 = divide((negatives * (wins_of_negative - area) ** 2).sum(axis=-1), n_negative - 1)
    return divide(s10, n_positive) + divide(s01, n_negative)


def average_precision(positives: ArrayLike, negatives: ArrayLike) -> FloatArray:
    """Average precision: sum over falling thresholds of precision times the gain in recall.

    Exact for scores rounded to their bin (rows of a bin share one threshold); see `average_precision_bounds`.

    Parameters
    ----------
    positives, negatives : array_like, shape (..., K)
        Score histograms, also of weighted rows. Where weights make a bin's negatives fewer than none, a threshold
        counts as holding one row at least.

    Returns
    -------
    ndarray, shape (...)
        In [0, 1], of weights below 0 also beyond; NaN without positives.

    Raises
    ------
    ValueError
        If the numbers of score bins differ.

    References
    ----------
    Davis & Goadrich (2006), ICML.

    Examples
    --------
    Precision 1 for three of four positives, 4/5 for the last: ``0.75 + 0.25 * 0.8``.

    >>> float(average_precision([0, 1, 3], [3, 1, 0]))
    0.95
    """
    positives, negatives = _histograms(positives, negatives)
    positives, negatives = positives[..., ::-1], negatives[..., ::-1]
    true_positives = np.cumsum(positives, axis=-1)
    predicted = true_positives + np.cumsum(negatives, axis=-1)
    is_sum_of_weights = (negatives < 0).any(axis=-1, keepdims=True)
    least = np.where(is_sum_of_weights, 1.0, np.finfo(float).tiny)
    gained = np.einsum("...k,...k->...", positives, true_positives / np.maximum(predicted, least))
    return divide(gained, true_positives[..., -1])


def average_precision_bounds(positives: ArrayLike, negatives: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Smallest and largest average precision that raw scores with these histograms can have.

    Lowest: within each bin all negatives score higher, and no two scores are equal. Highest: all positives of a bin
    share one score above its negatives. Sums of 1/i come from the digamma function.

    Parameters
    ----------
    positives, negatives : array_like, shape (..., K)
        Score histograms.

    Returns
    -------
    low, high : ndarray, shape (...)
        Around `average_precision`; NaN without positives.

    Raises
    ------
    ValueError
        If the numbers of score bins differ.

    Examples
    --------
    >>> low, high = average_precision_bounds([0, 1, 3], [3, 1, 0])
    >>> round(float(low), 6), round(float(high), 6)
    (0.95, 1.0)
    """
    positives, negatives = _histograms(positives, negatives)
    positives, negatives = positives[..., ::-1], negatives[..., ::-1]
    tp, fp = np.cumsum(positives, axis=-1), np.cumsum(negatives, axis=-1)
    total = tp[..., -1]
    before = tp - positives + fp  # rows above the first positive of the bin, its negatives included
    low = positives - fp * (digamma(before + positives + 1) - digamma(before + 1))
    high = positives * divide(tp, tp + fp - negatives)
    high = np.where(positives > 0, high, 0.0)
    return divide(np.maximum(low, 0).sum(axis=-1), total), divide(high.sum(axis=-1), total)


def calibration_error(
    positives: ArrayLike,
    negatives: ArrayLike,
    score_sums: ArrayLike | None = None,
    *,
    bins: int = N_CALIBRATION_BINS,
) -> FloatArray:
    """Expected calibration error: mean distance between score and observed rate over equal-width bins.

    Parameters
    ----------
    positives, negatives : array_like, shape (..., K)
        Score histograms; K is a multiple of `bins`.
    score_sums : array_like, shape (..., bins), optional
        Sum of the scores in each calibration bin: the result is that of the raw scores. Without it the mean score of a
        bin is taken from the middles of its score bins, so the result is within 1 / (2 K) of that.
    bins : int, default 16
        Calibration bins.

    Returns
    -------
    ndarray, shape (...)
        In [0, 1]; NaN without rows. Noise alone makes it positive, see `calibration_noise`.

    Raises
    ------
    ValueError
        If the numbers of score bins differ, `bins` does not divide them, or there is not one sum of scores per
        calibration bin.

    References
    ----------
    Naeini, Cooper & Hauskrecht (2015), AAAI.

    Examples
    --------
    Scores near 1/4 and 3/4, of which 3/10 and 9/10 are positive: ``(0.05 + 0.15) / 2``.

    >>> round(float(calibration_error([3, 9], [7, 1], bins=2)), 6)
    0.1

    All ten scores of the lower bin are 0.01: ``(0.29 + 0.15) / 2``.

    >>> round(float(calibration_error([3, 9], [7, 1], [0.1, 7.5], bins=2)), 6)
    0.22
    """
    positives, negatives = _histograms(positives, negatives)
    rows = positives + negatives
    gap = _grouped(positives, bins) - _scores_of_bins(rows, score_sums, bins)
    return divide(np.abs(gap).sum(axis=-1), rows.sum(axis=-1))


def calibration_noise(
    positives: ArrayLike,
    negatives: ArrayLike,
    score_sums: ArrayLike | None = None,
    *,
    bins: int = N_CALIBRATION_BINS,
) -> FloatArray:
    """How much of the calibration error is noise: a mean of distances is above 0 for a perfectly calibrated model too.

    Parameters
    ----------
    positives, negatives : array_like, shape (..., K)
        Score histograms; K is a multiple of `bins`.
    score_sums : array_like, shape (..., bins), optional
        As for `calibration_error`.
    bins : int, default 16
        Calibration bins, as for `calibration_error`.

    Returns
    -------
    ndarray, shape (...)
        Expected contribution of the bins whose gap is within two standard errors, of independent rows that are as often
        positive as their scores, or as is seen, whichever varies more; NaN without rows.

    Raises
    ------
    ValueError
        As `calibration_error`.
    """
    positives, negatives = _histograms(positives, negatives)
    rows = positives + negatives
    per_bin, held, scores = _grouped(rows, bins), _grouped(positives, bins), _scores_of_bins(rows, score_sums, bins)
    expected, seen = (sums - sums**2 / np.maximum(per_bin, 1.0) for sums in (scores, held))
    error = np.sqrt(np.maximum(expected, seen))
    gap = np.abs(held - scores)
    return divide((np.sqrt(2 / np.pi) * np.where(gap < 2 * error, error, 0.0)).sum(axis=-1), rows.sum(axis=-1))


def _grouped(values: FloatArray, bins: int) -> FloatArray:
    """Sums over the score bins of each calibration bin."""
    k: int = values.shape[-1]
    if k % bins:
        raise ValueError(f"calibration_error: {k} score bins cannot be grouped into {bins}; choose a divisor of {k}")
    return values.reshape(*values.shape[:-1], bins, k // bins).sum(axis=-1)


def _scores_of_bins(rows: FloatArray, score_sums: ArrayLike | None, bins: int) -> FloatArray:
    """Sum of the scores in each calibration bin, as it is known or from the middles of the score bins."""
    if score_sums is None:
        k: int = rows.shape[-1]
        return _grouped(rows * ((np.arange(k) + 0.5) / k), bins)
    sums = np.asarray(score_sums, dtype=float)
    if sums.shape[-1] != bins:
        raise ValueError(f"calibration_error: {sums.shape[-1]} sums of scores for {bins} bins; give one per bin")
    return sums
