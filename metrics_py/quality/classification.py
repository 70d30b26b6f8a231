"""Binary classification quality from counts: confusion matrices and sums.

Every function reduces the last axes and keeps all leading ones, so one call serves all windows, segments and jackknife
replicates. NaN marks what is undefined; `metrics_py.quality.table` turns it into ``insufficient_data`` with a reason.

Confusion matrices have the shape (..., 2, 2): predicted class, actual class; index 1 is positive. What is read off
score histograms stands in `metrics_py.quality.score_histograms`.

References
----------
Brier (1950), Monthly Weather Review 78:1. Murphy (1973), Journal of Applied Meteorology 12:595 (skill score).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


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
