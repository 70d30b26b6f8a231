"""Business value of a classifier's decisions from a value matrix: predicted class x actual class -> value per row.

References
----------
Elkan (2001), IJCAI (cost matrices, and why only the decision and the outcome matter).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metrics_py.quality.classification import divide
from metrics_py.quality.definition import QualityMetric

FloatArray = NDArray[np.float64]
BUSINESS_VALUE = "business_value"
SUMMARY = "Mean value of one prediction, from the value matrix."


def value_matrix(values: Mapping[str, Mapping[str, float]], classes: Sequence[str]) -> FloatArray:
    """Matrix of shape (C, C) in the order of `classes`, predicted by actual.

    Parameters
    ----------
    values : mapping
        ``values[predicted][actual]`` in units of money, minutes, ...
    classes : sequence of str
        All classes.

    Returns
    -------
    ndarray, shape (C, C)
        Value of a row, predicted by actual class.

    Raises
    ------
    ValueError
        If a pair is missing, a class is unknown, or a value is not finite: a forgotten cell must not count as zero.

    Notes
    -----
    Entry (i, j) is what a row is worth that was predicted as class i and is of class j. Adding a constant to a column
    (what a class is worth whatever is decided) changes no comparison of two models on the same rows. Values that differ
    from row to row, such as the amount of a loan, are no matrix: write them as a metric of rows.

    References
    ----------
    Elkan (2001), The foundations of cost-sensitive learning, IJCAI.

    Examples
    --------
    >>> values = {"fraud": {"fraud": 40, "ok": -10}, "ok": {"fraud": -100, "ok": 0}}
    >>> value_matrix(values, ["ok", "fraud"]).tolist()
    [[0.0, -100.0], [-10.0, 40.0]]
    """
    unknown = sorted((set(values) | {actual for row in values.values() for actual in row}) - set(classes))
    if unknown:
        raise ValueError(f"value matrix names the class {unknown[0]!r}; known classes: {', '.join(sorted(classes))}")
    for predicted in classes:
        for actual in classes:
            if actual not in values.get(predicted, {}):
                raise ValueError(
                    f"value matrix lacks predicted {predicted!r}, actual {actual!r}; "
                    "write 0 if such a row is worth nothing"
                )
    matrix = np.array([[values[predicted][actual] for actual in classes] for predicted in classes], dtype=float)
    if not np.isfinite(matrix).all():
        raise ValueError("value matrix holds NaN or infinity; every value must be a finite number")
    return matrix


def total_value(confusion: ArrayLike, matrix: ArrayLike) -> FloatArray:
    """Summed value of all decisions.

    Parameters
    ----------
    confusion : array_like, shape (..., C, C)
        Rows per predicted and actual class.
    matrix : array_like, shape (C, C)
        Value of a row, as of `value_matrix`.

    Returns
    -------
    ndarray, shape (...)
        In the unit of the matrix.

    Examples
    --------
    >>> float(total_value([[90, 2], [3, 5]], [[0, -100], [-10, 40]]))
    -30.0
    """
    return np.einsum("...pa,pa->...", np.asarray(confusion, dtype=float), np.asarray(matrix, dtype=float))


def value_per_prediction(confusion: ArrayLike, matrix: ArrayLike) -> FloatArray:
    """Mean value of one decision, over the labelled rows.

    Parameters
    ----------
    confusion : array_like, shape (..., C, C)
        Rows per predicted and actual class.
    matrix : array_like, shape (C, C)
        Value of a row, as of `value_matrix`.

    Returns
    -------
    ndarray, shape (...)
        In the unit of the matrix; NaN without rows.

    Notes
    -----
    ``sum_ij n_ij v_ij / sum_ij n_ij``. An interval comes from `metrics_py.intervals.jackknife` over bucketed confusion
    matrices. Rows whose label has not come are not in it: where labels come sooner for one class the mean is biased
    until they are there.

    References
    ----------
    Elkan (2001), The foundations of cost-sensitive learning, IJCAI.

    Examples
    --------
    ``(2 * -100 + 3 * -10 + 5 * 40) / 100``:

    >>> float(value_per_prediction([[90, 2], [3, 5]], [[0, -100], [-10, 40]]))
    -0.3
    """
    counts = np.asarray(confusion, dtype=float)
    return divide(total_value(counts, matrix), counts.sum(axis=(-2, -1)))


def business_value(matrix: ArrayLike) -> QualityMetric:
    """The metric `value_per_prediction` of one value matrix, a function of the confusion matrix.

    Parameters
    ----------
    matrix : array_like, shape (C, C)
        Value of a row, as of `value_matrix`, in the order of the confusion matrices.

    Returns
    -------
    QualityMetric
        Its range is that of the matrix: no mean lies beyond its least and its largest value.

    References
    ----------
    Elkan (2001), The foundations of cost-sensitive learning, IJCAI.

    Examples
    --------
    >>> metric = business_value([[0, -100], [-10, 40]])
    >>> float(metric.value({"confusion": np.array([[90.0, 2.0], [3.0, 5.0]])})), metric.range
    (-0.3, (-100.0, 40.0))
    """
    values = np.asarray(matrix, dtype=float)
    return QualityMetric(
        name=BUSINESS_VALUE,
        summary=SUMMARY,
        direction="higher_is_better",
        value=lambda a: value_per_prediction(a["confusion"], values),
        needs=("confusion",),
        scale="identity",
        references=("Elkan (2001), IJCAI",),
        possible=(float(values.min()), float(values.max())),
    )
