"""Binary classification quality from counts: confusion matrices, score histograms and sums.

Every function reduces the last axes and keeps all leading ones, so one call serves all windows, segments and jackknife
replicates. NaN marks what is undefined; `metrics_py.quality.table` turns it into ``insufficient_data`` with a reason.

Confusion matrices have the shape (..., 2, 2): predicted class, actual class; index 1 is positive. Score histograms have
the shape (..., K): counts of positive and of negative rows per equal-width score bin, in ascending order of the score.

References
----------
DeLong, DeLong & Clarke-Pearson (1988), Biometrics 44:837. Brier (1950). Murphy (1973), skill score.
Naeini, Cooper & Hauskrecht (2015), AAAI (expected calibration error).
Davis & Goadrich (2006), ICML (average precision without interpolation).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metrics_py.scipy_functions import digamma

FloatArray = NDArray[np.float64]

N_SCORE_BINS = 256
N_CALIBRATION_BINS = 16


def divide(numerator: ArrayLike, denominator: ArrayLike) -> FloatArray:
    """Quotient; NaN where the denominator is not positive.

    Parameters
    ----------
    numerator, denominator : array_like
        Broadcast against each other.

    Returns
    -------
    ndarray
        Without a warning.
    """
    numerator, denominator = np.asarray(numerator, dtype=float), np.asarray(denominator, dtype=float)
    defined = denominator > 0
    return np.where(defined, numerator / np.where(defined, denominator, 1.0), np.nan)


def confusion_counts(confusion: ArrayLike) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """True positives, false positives, false negatives and true negatives of (..., 2, 2) matrices.

    Parameters
    ----------
    confusion : array_like, shape (..., 2, 2)
        Rows per predicted and actual class; index 1 is positive.

    Returns
    -------
    tp, fp, fn, tn : ndarray, shape (...)
        Rows.

    Raises
    ------
    ValueError
        If the last axes are not (2, 2).
    """
    matrix = np.asarray(confusion, dtype=float)
    if matrix.shape[-2:] != (2, 2):
        raise ValueError(f"confusion matrix of shape {matrix.shape}: a binary one ends in (2, 2), predicted by actual")
    return matrix[..., 1, 1], matrix[..., 1, 0], matrix[..., 0, 1], matrix[..., 0, 0]


def accuracy_counts(confusion: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Correct rows and all rows.

    Parameters
    ----------
    confusion : array_like, shape (..., 2, 2)
        Rows per predicted and actual class.

    Returns
    -------
    successes, n : ndarray, shape (...)
        Numerator and denominator of `accuracy`.
    """
    tp, fp, fn, tn = confusion_counts(confusion)
    return tp + tn, tp + fp + fn + tn


def precision_counts(confusion: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """True positives and predicted positives.

    Parameters
    ----------
    confusion : array_like, shape (..., 2, 2)
        Rows per predicted and actual class.

    Returns
    -------
    successes, n : ndarray, shape (...)
        Numerator and denominator of `precision`.
    """
    tp, fp, _, _ = confusion_counts(confusion)
    return tp, tp + fp


def recall_counts(confusion: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """True positives and actual positives.

    Parameters
    ----------
    confusion : array_like, shape (..., 2, 2)
        Rows per predicted and actual class.

    Returns
    -------
    successes, n : ndarray, shape (...)
        Numerator and denominator of `recall`.
    """
    tp, _, fn, _ = confusion_counts(confusion)
    return tp, tp + fn


def specificity_counts(confusion: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """True negatives and actual negatives.

    Parameters
    ----------
    confusion : array_like, shape (..., 2, 2)
        Rows per predicted and actual class.

    Returns
    -------
    successes, n : ndarray, shape (...)
        Numerator and denominator of `specificity`.
    """
    _, fp, _, tn = confusion_counts(confusion)
    return tn, tn + fp


def positive_rate_counts(confusion: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Actual positives and all rows: the base rate.

    Parameters
    ----------
    confusion : array_like, shape (..., 2, 2)
        Rows per predicted and actual class.

    Returns
    -------
    successes, n : ndarray, shape (...)
        Numerator and denominator of the base rate.
    """
    tp, fp, fn, tn = confusion_counts(confusion)
    return tp + fn, tp + fp + fn + tn


def accuracy(confusion: ArrayLike) -> FloatArray:
    """Share of rows whose class was predicted right.

    Parameters
    ----------
    confusion : array_like, shape (..., 2, 2)
        Rows per predicted and actual class.

    Returns
    -------
    ndarray, shape (...)
        In [0, 1]; NaN without rows.

    Examples
    --------
    >>> float(accuracy([[50, 10], [5, 35]]))
    0.85
    """
    return divide(*accuracy_counts(confusion))


def precision(confusion: ArrayLike) -> FloatArray:
    """Share of positives among the rows predicted positive; undefined when none is.

    Parameters
    ----------
    confusion : array_like, shape (..., 2, 2)
        Rows per predicted and actual class.

    Returns
    -------
    ndarray, shape (...)
        In [0, 1], or NaN.

    Examples
    --------
    >>> float(precision([[50, 10], [5, 35]]))
    0.875
    """
    return divide(*precision_counts(confusion))


def recall(confusion: ArrayLike) -> FloatArray:
    """Share of the positives that were predicted positive; undefined without positives.

    Parameters
    ----------
    confusion : array_like, shape (..., 2, 2)
        Rows per predicted and actual class.

    Returns
    -------
    ndarray, shape (...)
        In [0, 1], or NaN.

    Examples
    --------
    >>> float(recall([[50, 15], [5, 35]]))
    0.7
    """
    return divide(*recall_counts(confusion))


def specificity(confusion: ArrayLike) -> FloatArray:
    """Share of the negatives that were predicted negative; undefined without negatives.

    Parameters
    ----------
    confusion : array_like, shape (..., 2, 2)
        Rows per predicted and actual class.

    Returns
    -------
    ndarray, shape (...)
        In [0, 1], or NaN.

    Examples
    --------
    >>> float(specificity([[45, 10], [5, 40]]))
    0.9
    """
    return divide(*specificity_counts(confusion))


def f1(confusion: ArrayLike) -> FloatArray:
    """Harmonic mean of precision and recall; undefined when nothing is positive, predicted or actual.

    Parameters
    ----------
    confusion : array_like, shape (..., 2, 2)
        Rows per predicted and actual class.

    Returns
    -------
    ndarray, shape (...)
        In [0, 1], or NaN.

    Examples
    --------
    ``2 * 30 / (2 * 30 + 5 + 15)``:

    >>> float(f1([[50, 15], [5, 30]]))
    0.75
    """
    tp, fp, fn, _ = confusion_counts(confusion)
    return divide(2 * tp, 2 * tp + fp + fn)


def balanced_accuracy(confusion: ArrayLike) -> FloatArray:
    """Mean of recall and specificity; undefined unless both classes occur.

    Parameters
    ----------
    confusion : array_like, shape (..., 2, 2)
        Rows per predicted and actual class.

    Returns
    -------
    ndarray, shape (...)
        In [0, 1], or NaN.

    Examples
    --------
    >>> round(float(balanced_accuracy([[45, 15], [5, 35]])), 6)
    0.8
    """
    return (recall(confusion) + specificity(confusion)) / 2


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
        Score histograms.

    Returns
    -------
    ndarray, shape (...)
        In [0, 1]; NaN without positives.

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
    gained = np.einsum("...k,...k->...", positives, true_positives / np.maximum(predicted, 1.0))
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


def calibration_error(positives: ArrayLike, negatives: ArrayLike, *, bins: int = N_CALIBRATION_BINS) -> FloatArray:
    """Expected calibration error: mean distance between score and observed rate over equal-width bins.

    Parameters
    ----------
    positives, negatives : array_like, shape (..., K)
        Score histograms; K is a multiple of `bins`.
    bins : int, default 16
        Calibration bins. The mean score of a bin is taken from the middles of its score bins, so the result is within
        1 / (2 K) of that of the raw scores.

    Returns
    -------
    ndarray, shape (...)
        In [0, 1]; NaN without rows. Noise alone makes it positive, see `calibration_noise`.

    Raises
    ------
    ValueError
        If the numbers of score bins differ, or `bins` does not divide them.

    References
    ----------
    Naeini, Cooper & Hauskrecht (2015), AAAI.

    Examples
    --------
    Scores near 1/4 and 3/4, of which 3/10 and 9/10 are positive: ``(0.05 + 0.15) / 2``.

    >>> round(float(calibration_error([3, 9], [7, 1], bins=2)), 6)
    0.1
    """
    positives, negatives = _histograms(positives, negatives)
    k: int = positives.shape[-1]
    if k % bins:
        raise ValueError(f"calibration_error: {k} score bins cannot be grouped into {bins}; choose a divisor of {k}")
    rows = positives + negatives
    middles = (np.arange(k) + 0.5) / k
    gap = (positives - rows * middles).reshape(*positives.shape[:-1], bins, k // bins).sum(axis=-1)
    return divide(np.abs(gap).sum(axis=-1), rows.sum(axis=-1))


def calibration_noise(positives: ArrayLike, negatives: ArrayLike, *, bins: int = N_CALIBRATION_BINS) -> FloatArray:
    """How much of the calibration error is noise: a mean of distances is above 0 for a perfectly calibrated model too.

    Parameters
    ----------
    positives, negatives : array_like, shape (..., K)
        Score histograms; K is a multiple of `bins`.
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
        If the numbers of score bins differ.
    """
    positives, negatives = _histograms(positives, negatives)
    k: int = positives.shape[-1]
    middles = (np.arange(k) + 0.5) / k
    rows = positives + negatives

    def grouped(values: FloatArray) -> FloatArray:
        return values.reshape(*positives.shape[:-1], bins, k // bins).sum(axis=-1)

    per_bin, held = grouped(rows), grouped(positives)
    seen = held - held**2 / np.maximum(per_bin, 1.0)
    error = np.sqrt(np.maximum(grouped(rows * middles * (1 - middles)), seen))
    gap = np.abs(grouped(positives - rows * middles))
    return divide((np.sqrt(2 / np.pi) * np.where(gap < 2 * error, error, 0.0)).sum(axis=-1), rows.sum(axis=-1))


def calibration_bias(sum_score: ArrayLike, n_positive: ArrayLike, n: ArrayLike) -> FloatArray:
    """Mean score minus observed rate: positive when the model promises too much.

    Parameters
    ----------
    sum_score : array_like, shape (...)
        Summed scores.
    n_positive, n : array_like, shape (...)
        Positive rows, all rows with a score.

    Returns
    -------
    ndarray, shape (...)
        In [-1, 1]; NaN without rows.

    Examples
    --------
    >>> float(calibration_bias(30.0, 25, 100))
    0.05
    """
    return divide(np.asarray(sum_score, dtype=float) - np.asarray(n_positive, dtype=float), n)


def log_loss(sum_log_loss: ArrayLike, n: ArrayLike) -> FloatArray:
    """Mean negative log likelihood in nats; per-row losses are clipped at probabilities 1e-15 where they are summed.

    Parameters
    ----------
    sum_log_loss : array_like, shape (...)
        Summed ``-ln(probability of the actual class)``.
    n : array_like, shape (...)
        Rows.

    Returns
    -------
    ndarray, shape (...)
        0 and more; NaN without rows.
    """
    return divide(sum_log_loss, n)


def brier(sum_brier: ArrayLike, n: ArrayLike) -> FloatArray:
    """Brier score: mean squared distance between score and outcome (multiclass: summed over the classes).

    Parameters
    ----------
    sum_brier : array_like, shape (...)
        Summed squared distances.
    n : array_like, shape (...)
        Rows.

    Returns
    -------
    ndarray, shape (...)
        In [0, 1] (multiclass: [0, 2]); NaN without rows.

    References
    ----------
    Brier (1950), Monthly Weather Review 78:1.
    """
    return divide(sum_brier, n)


def brier_skill(sum_brier: ArrayLike, class_counts: ArrayLike) -> FloatArray:
    """Brier skill score against always predicting the base rates of the same rows: 1 perfect, 0 no better.

    Parameters
    ----------
    sum_brier : array_like, shape (...)
        Summed squared distances. With two classes the distance is that of the positive class alone, with more it is
        summed over the classes.
    class_counts : array_like, shape (..., C)
        Rows per actual class.

    Returns
    -------
    ndarray, shape (...)
        At most 1; NaN where all rows are of one class.

    References
    ----------
    Murphy (1973), Journal of Applied Meteorology 12:215.

    Examples
    --------
    The base rate 1/4 has a Brier score of 3/16; ``1 - 0.15 / 0.1875``:

    >>> round(float(brier_skill(15.0, [75, 25])), 6)
    0.2
    """
    counts = np.asarray(class_counts, dtype=float)
    n = counts.sum(axis=-1)
    gini = n - divide((counts**2).sum(axis=-1), n)
    if counts.shape[-1] == 2:
        gini = gini / 2
    return 1 - divide(sum_brier, np.where(gini > 0, gini, np.nan))
