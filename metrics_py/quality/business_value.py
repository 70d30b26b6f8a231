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

FloatArray = NDArray[np.float64]


def value_matrix(values: Mapping[str, Mapping[str, float]], classes: Sequence[str]) -> FloatArray:
    """Matrix of shape (C, C) in the order of `classes`, predicted by actual.

    Parameters
    ----------
    values : mapping
        ``values[predicted][actual]`` in units of money, minutes, ...
    classes : sequence of str
        All classes.

    Raises
    ------
    ValueError
        If a pair is missing, a class is unknown, or a value is not finite: a forgotten cell must not count as zero.
    """
    unknown = sorted((set(values) | {actual for row in values.values() for actual in row}) - set(classes))
    if unknown:
        raise ValueError(f"value matrix names the class {unknown[0]!r}; known classes: {', '.join(sorted(classes))}")
    for predicted in classes:
        for actual in classes:
            if actual not in values.get(predicted, {}):
                raise ValueError(
                    f"value matrix lacks predicted {predicted!r}, actual {actual!r}; write 0 if such a row is worth nothing"
                )
    matrix = np.array([[values[predicted][actual] for actual in classes] for predicted in classes], dtype=float)
    if not np.isfinite(matrix).all():
        raise ValueError("value matrix holds NaN or infinity; every value must be a finite number")
    return matrix


def total_value(confusion: ArrayLike, matrix: ArrayLike) -> FloatArray:
    """Summed value of all decisions; `confusion` has shape (..., C, C), `matrix` (C, C)."""
    return np.einsum("...pa,pa->...", np.asarray(confusion, dtype=float), np.asarray(matrix, dtype=float))


def value_per_prediction(confusion: ArrayLike, matrix: ArrayLike) -> FloatArray:
    """Mean value of one decision, over the labelled rows.

    Examples
    --------
    >>> float(value_per_prediction([[90, 2], [3, 5]], [[0, -100], [-10, 40]]))
    -0.3
    """
    counts = np.asarray(confusion, dtype=float)
    return divide(total_value(counts, matrix), counts.sum(axis=(-2, -1)))
