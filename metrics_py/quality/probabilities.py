"""Scores of several classes: whether they are probabilities, without which their log loss and Brier score mean nothing.

A model that gives every class the score 1 has a log loss of 0. Dividing by the sum would judge scores that nobody
served. Areas, decisions and the calibration of each class by itself need no sum.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metrics_py.wording import count

FloatArray = NDArray[np.float64]

HALF_A_DIGIT = 0.005
"""Scores that are written with two decimals are off by so much, each."""

LEAST, MOST = 0.02, 0.05
SINGLE_PRECISION = 1e-6
"""Sums of 32-bit floats are off by less."""


def sum_tolerance(n_classes: int) -> float:
    """How far from 1 the scores of all classes may sum and still be probabilities.

    Parameters
    ----------
    n_classes : int
        Classes with a score.

    Returns
    -------
    float
        0.005 per class, for scores that are rounded to two decimals; not below 0.02 and not above 0.05.

    Examples
    --------
    >>> [round(sum_tolerance(n), 3) for n in (3, 6, 100)]
    [0.02, 0.03, 0.05]
    """
    return min(max(HALF_A_DIGIT * n_classes, LEAST), MOST) + SINGLE_PRECISION


def is_improper(columns: Sequence[str]) -> pl.Expr:
    """Rows with a score of every class that do not sum to 1.

    Parameters
    ----------
    columns : sequence of str
        One for each class.

    Returns
    -------
    Expr
        False where a score is missing.

    Examples
    --------
    >>> rows = pl.DataFrame({"a": [0.7, 0.99, None], "b": [0.3, 0.99, 2.0]})
    >>> rows.select(is_improper(["a", "b"]))["a"].to_list()
    [False, True, False]
    """
    total = pl.sum_horizontal(*(pl.col(name) for name in columns), ignore_nulls=False)
    return ((total - 1).abs() > sum_tolerance(len(columns))).fill_null(value=False)


def improper_words(counts: Mapping[str, float]) -> str:
    """Why there is no log loss and no Brier score.

    Parameters
    ----------
    counts : mapping of str to float
        Whose rows they are ('' where there is one model only) -> how many do not sum to 1; those without any are left
        out.

    Returns
    -------
    str
        For people.

    Examples
    --------
    >>> improper_words({"": 3})
    'the class scores of 3 rows do not sum to 1: they are no probabilities'
    >>> improper_words({"champion": 0, "challenger": 1})
    'the class scores of 1 row of the challenger do not sum to 1: they are no probabilities'
    """
    told = [
        f"the class scores of {count(max(round(n), 1), 'rows')}{f' of the {whose}' if whose else ''} do not sum to 1"
        for whose, n in counts.items()
        if n > 0
    ]
    return f"{' and '.join(told)}: they are no probabilities"


def of_probabilities(
    value: Callable[[Mapping[str, FloatArray]], FloatArray],
) -> Callable[[Mapping[str, FloatArray]], FloatArray]:
    """A metric that is undefined on rows whose scores are no probabilities.

    Parameters
    ----------
    value : callable
        Aggregates -> metric.

    Returns
    -------
    callable
        The same, but NaN where there is an aggregate ``n_improper`` that is not 0.
    """

    def proper(aggregates: Mapping[str, FloatArray]) -> FloatArray:
        found = np.asarray(value(aggregates), dtype=float)
        n_improper = aggregates.get("n_improper")
        return found if n_improper is None else np.where(n_improper > 0, np.nan, found)

    return proper
