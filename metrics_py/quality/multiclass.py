"""Multiclass quality from confusion matrices (..., C, C), predicted by actual, and one-versus-rest score histograms.

Leading axes are kept, NaN marks what is undefined (see `metrics_py.quality.classification`). Averages follow the usual
definitions: `macro` weighs the classes that occur (predicted or actual) alike, `weighted` by their actual rows, `micro`
pools the decisions. A class that occurs but was never predicted counts with precision 0.

References
----------
Sokolova & Lapalme (2009), Information Processing & Management 45:427. Kull et al. (2019), NeurIPS (classwise ECE).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metrics_py.quality import score_histograms
from metrics_py.quality.classification import divide

FloatArray = NDArray[np.float64]
Average = Literal["macro", "micro", "weighted"]
AVERAGES: tuple[Average, ...] = ("macro", "micro", "weighted")


def _matrix(confusion: ArrayLike) -> FloatArray:
    matrix = np.asarray(confusion, dtype=float)
    if matrix.ndim < 2 or matrix.shape[-1] != matrix.shape[-2]:
        raise ValueError(f"confusion matrix of shape {matrix.shape}: it must end in (C, C), predicted by actual")
    return matrix


def class_counts(confusion: ArrayLike) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Correct, predicted and actual rows per class, each of shape (..., C).

    Parameters
    ----------
    confusion : array_like, shape (..., C, C)
        Rows per predicted and actual class.

    Returns
    -------
    correct, predicted, actual : ndarray, shape (..., C)
        Rows.

    Raises
    ------
    ValueError
        If the last two axes differ.
    """
    matrix = _matrix(confusion)
    return np.einsum("...ii->...i", matrix), matrix.sum(axis=-1), matrix.sum(axis=-2)


def accuracy_counts(confusion: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Correct rows and all rows.

    Parameters
    ----------
    confusion : array_like, shape (..., C, C)
        Rows per predicted and actual class.

    Returns
    -------
    successes, n : ndarray, shape (...)
        Numerator and denominator of `accuracy`.
    """
    correct, predicted, _ = class_counts(confusion)
    return correct.sum(axis=-1), predicted.sum(axis=-1)


def accuracy(confusion: ArrayLike) -> FloatArray:
    """Share of rows whose class was predicted right.

    Parameters
    ----------
    confusion : array_like, shape (..., C, C)
        Rows per predicted and actual class.

    Returns
    -------
    ndarray, shape (...)
        In [0, 1]; NaN without rows.

    Examples
    --------
    >>> round(float(accuracy([[5, 1, 0], [0, 3, 1], [0, 0, 2]])), 4)
    0.8333
    """
    return divide(*accuracy_counts(confusion))


def _average(per_class: FloatArray, predicted: FloatArray, actual: FloatArray, average: Average) -> FloatArray:
    weights = actual if average == "weighted" else ((predicted + actual) > 0).astype(float)
    filled = np.where(weights > 0, np.nan_to_num(per_class, nan=0.0), 0.0)
    return divide((filled * weights).sum(axis=-1), weights.sum(axis=-1))


def _check_average(average: str) -> None:
    if average not in AVERAGES:
        raise ValueError(f"average={average!r} is unknown; allowed: {', '.join(AVERAGES)}")


def precision(confusion: ArrayLike, *, average: Average = "macro") -> FloatArray:
    """Precision averaged over classes.

    Parameters
    ----------
    confusion : array_like, shape (..., C, C)
        Rows per predicted and actual class.
    average : {"macro", "micro", "weighted"}, default "macro"
        See the module.

    Returns
    -------
    ndarray, shape (...)
        In [0, 1]; NaN without rows.

    Raises
    ------
    ValueError
        If `average` is unknown, or the last two axes differ.

    Examples
    --------
    >>> float(precision([[5, 1, 0], [0, 3, 1], [0, 0, 2]], average="micro"))
    0.8333333333333334

    ``(5/6 + 3/4 + 2/2) / 3``:

    >>> round(float(precision([[5, 1, 0], [0, 3, 1], [0, 0, 2]])), 4)
    0.8611
    """
    _check_average(average)
    correct, predicted, actual = class_counts(confusion)
    if average == "micro":
        return divide(correct.sum(axis=-1), predicted.sum(axis=-1))
    return _average(divide(correct, predicted), predicted, actual, average)


def recall(confusion: ArrayLike, *, average: Average = "macro") -> FloatArray:
    """Recall averaged over classes; `weighted` equals accuracy.

    Parameters
    ----------
    confusion : array_like, shape (..., C, C)
        Rows per predicted and actual class.
    average : {"macro", "micro", "weighted"}, default "macro"
        See the module.

    Returns
    -------
    ndarray, shape (...)
        In [0, 1]; NaN without rows.

    Raises
    ------
    ValueError
        If `average` is unknown, or the last two axes differ.

    Examples
    --------
    ``(5/5 + 3/4 + 2/3) / 3``:

    >>> round(float(recall([[5, 1, 0], [0, 3, 1], [0, 0, 2]])), 4)
    0.8056
    """
    _check_average(average)
    correct, predicted, actual = class_counts(confusion)
    if average == "micro":
        return divide(correct.sum(axis=-1), actual.sum(axis=-1))
    return _average(divide(correct, actual), predicted, actual, average)


def f1(confusion: ArrayLike, *, average: Average = "macro") -> FloatArray:
    """F1 averaged over classes (the mean of the classes' F1, not the F1 of mean precision and recall).

    Parameters
    ----------
    confusion : array_like, shape (..., C, C)
        Rows per predicted and actual class.
    average : {"macro", "micro", "weighted"}, default "macro"
        See the module.

    Returns
    -------
    ndarray, shape (...)
        In [0, 1]; NaN without rows.

    Raises
    ------
    ValueError
        If `average` is unknown, or the last two axes differ.

    Examples
    --------
    ``(10/11 + 6/8 + 4/5) / 3``:

    >>> round(float(f1([[5, 1, 0], [0, 3, 1], [0, 0, 2]])), 4)
    0.8197
    """
    _check_average(average)
    correct, predicted, actual = class_counts(confusion)
    if average == "micro":
        return divide(2 * correct.sum(axis=-1), predicted.sum(axis=-1) + actual.sum(axis=-1))
    return _average(divide(2 * correct, predicted + actual), predicted, actual, average)


def class_proportions(
    confusion: ArrayLike, of: Literal["precision", "recall", "f1"], *, average: Literal["macro", "weighted"]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Proportions of the classes whose weighted mean is `precision`, `recall` or `f1`.

    Parameters
    ----------
    confusion : array_like, shape (..., C, C)
        Rows per predicted and actual class.
    of : {"precision", "recall", "f1"}
        F1 is the share of the right rows in the mean of the predicted and the actual ones.
    average : {"macro", "weighted"}
        See the module.

    Returns
    -------
    successes, n, weights : ndarray, shape (..., C)
        Rows; of F1, `n` may be a half.

    Examples
    --------
    >>> successes, n, weights = class_proportions([[5, 1, 0], [0, 3, 1], [0, 0, 2]], "precision", average="macro")
    >>> successes.tolist(), n.tolist(), weights.tolist()
    ([5.0, 3.0, 2.0], [6.0, 4.0, 2.0], [1.0, 1.0, 1.0])
    """
    correct, predicted, actual = class_counts(confusion)
    n = {"precision": predicted, "recall": actual, "f1": (predicted + actual) / 2}[of]
    return correct, n, actual if average == "weighted" else ((predicted + actual) > 0).astype(float)


def specificity(confusion: ArrayLike, *, average: Average = "macro") -> FloatArray:
    """Specificity (one versus rest) averaged over classes.

    Parameters
    ----------
    confusion : array_like, shape (..., C, C)
        Rows per predicted and actual class.
    average : {"macro", "micro", "weighted"}, default "macro"
        See the module; `micro` pools the classes that occur.

    Returns
    -------
    ndarray, shape (...)
        In [0, 1]; NaN without rows.

    Raises
    ------
    ValueError
        If `average` is unknown, or the last two axes differ.

    Examples
    --------
    ``(6/7 + 7/8 + 9/9) / 3``:

    >>> round(float(specificity([[5, 1, 0], [0, 3, 1], [0, 0, 2]])), 4)
    0.9107
    """
    _check_average(average)
    correct, predicted, actual = class_counts(confusion)
    total = predicted.sum(axis=-1, keepdims=True)
    true_negatives, negatives = total - predicted - actual + correct, total - actual
    if average == "micro":
        occurs = (predicted + actual) > 0
        return divide((true_negatives * occurs).sum(axis=-1), (negatives * occurs).sum(axis=-1))
    return _average(divide(true_negatives, negatives), predicted, actual, average)


def balanced_accuracy(confusion: ArrayLike) -> FloatArray:
    """Mean recall of the classes with actual rows.

    Parameters
    ----------
    confusion : array_like, shape (..., C, C)
        Rows per predicted and actual class.

    Returns
    -------
    ndarray, shape (...)
        In [0, 1]; NaN without rows.

    Raises
    ------
    ValueError
        If the last two axes differ.

    Examples
    --------
    >>> round(float(balanced_accuracy([[5, 1, 0], [0, 3, 1], [0, 0, 2]])), 4)
    0.8056
    """
    correct, _, actual = class_counts(confusion)
    occurs = actual > 0
    return divide(np.where(occurs, divide(correct, actual), 0.0).sum(axis=-1), occurs.sum(axis=-1))


def _over_classes(per_class: FloatArray, positives: ArrayLike, average: str) -> FloatArray:
    """Mean over classes (axis -1) with a defined value; `weighted` by their positives."""
    if average not in ("macro", "weighted"):
        raise ValueError(f"average={average!r} is unknown here; allowed: macro, weighted")
    n_positive = np.asarray(positives, dtype=float).sum(axis=-1)
    defined = np.isfinite(per_class) & (n_positive > 0)
    weights = np.where(defined, n_positive if average == "weighted" else 1.0, 0.0)
    return divide((np.where(defined, per_class, 0.0) * weights).sum(axis=-1), weights.sum(axis=-1))


def roc_auc(positives: ArrayLike, negatives: ArrayLike, *, average: str = "macro") -> FloatArray:
    """One-versus-rest ROC AUC averaged over the classes that occur.

    Parameters
    ----------
    positives, negatives : array_like, shape (..., C, K)
        Score histograms per class: rows of the class, and all others, by the class's own score.
    average : {"macro", "weighted"}, default "macro"
        Classes alike, or by their rows.

    Returns
    -------
    ndarray, shape (...)
        In [0, 1]; NaN unless two classes occur.

    Raises
    ------
    ValueError
        If `average` is unknown, or the numbers of score bins differ.
    """
    return _over_classes(score_histograms.roc_auc(positives, negatives), positives, average)


def roc_auc_bound(positives: ArrayLike, negatives: ArrayLike, *, average: str = "macro") -> FloatArray:
    """Largest possible difference between the binned and the exact `roc_auc`.

    Parameters
    ----------
    positives, negatives : array_like, shape (..., C, K)
        Score histograms per class.
    average : {"macro", "weighted"}, default "macro"
        As for `roc_auc`.

    Returns
    -------
    ndarray, shape (...)
        In [0, 0.5]; NaN unless two classes occur.

    Raises
    ------
    ValueError
        If `average` is unknown, or the numbers of score bins differ.
    """
    return _over_classes(score_histograms.roc_auc_bound(positives, negatives), positives, average)


def average_precision(positives: ArrayLike, negatives: ArrayLike, *, average: str = "macro") -> FloatArray:
    """One-versus-rest average precision averaged over the classes that occur.

    Parameters
    ----------
    positives, negatives : array_like, shape (..., C, K)
        Score histograms per class.
    average : {"macro", "weighted"}, default "macro"
        Classes alike, or by their rows.

    Returns
    -------
    ndarray, shape (...)
        In [0, 1]; NaN without rows.

    Raises
    ------
    ValueError
        If `average` is unknown, or the numbers of score bins differ.
    """
    return _over_classes(score_histograms.average_precision(positives, negatives), positives, average)


def average_precision_bounds(
    positives: ArrayLike, negatives: ArrayLike, *, average: str = "macro"
) -> tuple[FloatArray, FloatArray]:
    """Smallest and largest `average_precision` of raw scores with these histograms.

    Parameters
    ----------
    positives, negatives : array_like, shape (..., C, K)
        Score histograms per class.
    average : {"macro", "weighted"}, default "macro"
        As for `average_precision`.

    Returns
    -------
    low, high : ndarray, shape (...)
        NaN without rows.

    Raises
    ------
    ValueError
        If `average` is unknown, or the numbers of score bins differ.
    """
    low, high = score_histograms.average_precision_bounds(positives, negatives)
    return _over_classes(low, positives, average), _over_classes(high, positives, average)


def calibration_error(positives: ArrayLike, negatives: ArrayLike, score_sums: ArrayLike | None = None) -> FloatArray:
    """Classwise expected calibration error: mean over the classes (all of them) of the one-versus-rest error.

    Parameters
    ----------
    positives, negatives : array_like, shape (..., C, K)
        Score histograms per class; K is a multiple of 16.
    score_sums : array_like, shape (..., C, 16), optional
        As for `metrics_py.quality.score_histograms.calibration_error`.

    Returns
    -------
    ndarray, shape (...)
        In [0, 1]; NaN without rows.

    Raises
    ------
    ValueError
        If the numbers of score bins differ, or are no multiple of 16.

    References
    ----------
    Kull et al. (2019), NeurIPS.
    """
    return _mean_of_classes(score_histograms.calibration_error(positives, negatives, score_sums))


def calibration_noise(positives: ArrayLike, negatives: ArrayLike, score_sums: ArrayLike | None = None) -> FloatArray:
    """Mean over the classes of `metrics_py.quality.score_histograms.calibration_noise`.

    Parameters
    ----------
    positives, negatives : array_like, shape (..., C, K)
        Score histograms per class; K is a multiple of 16.
    score_sums : array_like, shape (..., C, 16), optional
        As for `metrics_py.quality.score_histograms.calibration_error`.

    Returns
    -------
    ndarray, shape (...)
        What noise alone adds to `calibration_error`; NaN without rows.
    """
    return _mean_of_classes(score_histograms.calibration_noise(positives, negatives, score_sums))


def _mean_of_classes(per_class: FloatArray) -> FloatArray:
    defined = np.isfinite(per_class)
    return divide(np.where(defined, per_class, 0.0).sum(axis=-1), defined.sum(axis=-1))
