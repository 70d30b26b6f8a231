"""Whether a loss rose because other rows come, or because the same rows have another truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from metrics_py.estimation.density_ratio import FOLDS, density_ratio
from metrics_py.estimation.ratio_columns import encode

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MOST_WEIGHT = 20.0
"""Weights are cut here: single rows would decide otherwise."""

LEAST_EFFECTIVE = 0.1
"""Share of the rows before that must count effectively (Kish): else the two have too little in common."""

MOST_UNSEEN = 0.1
"""Share of the rows after that may be unlike any before."""

LEAST_ROWS = 200
RIDGE = 10.0
Z95 = 1.959963984540054


@dataclass(frozen=True)
class ShiftKind:
    """A rise of the mean loss in two parts.

    Attributes
    ----------
    covariate, concept : float or None
        By other rows, and by another truth of like rows; together the whole change. None where it cannot be told.
    covariate_se, concept_se : float or None
        Their standard errors.
    effective_share : float or None
        Share of the rows before that count effectively once they are weighted to be like those after.
    reason : str
        Why it cannot be told; empty where it can.
    """

    covariate: float | None
    concept: float | None
    covariate_se: float | None
    concept_se: float | None
    effective_share: float | None
    reason: str = ""


def shift_kind(before: pl.DataFrame, loss_before: ArrayLike, after: pl.DataFrame, loss_after: ArrayLike) -> ShiftKind:
    """Split the rise of a loss into covariate and concept shift, by a cross-fitted doubly robust estimate.

    Parameters
    ----------
    before : DataFrame
        Inputs of the rows before: numbers, text or booleans.
    loss_before : array_like, shape (rows before,)
        Loss of each of them.
    after, loss_after : DataFrame and array_like
        The same after the change; the same columns.

    Returns
    -------
    ShiftKind
        With a reason in place of numbers where there are fewer than 200 rows, or the two have too little in common.

    Raises
    ------
    ValueError
        Shapes differ, or a loss is not finite.

    Notes
    -----
    Between both lies the loss that the rows after would have under the truth before, ``mean_before w (l - m) +
    mean_after m``: w is the ratio of the densities of the rows (`metrics_py.estimation.density_ratio`, cut at 20) and m
    a ridge regression of the loss on the inputs; neither has seen the row that it is applied to. It is right where one
    of the two is. Standard errors are those of the influence values.

    References
    ----------
    Cai, Namkoong & Yadlowsky (2023), Diagnosing Model Performance Under Distribution Shift, arXiv 2303.02011.
    Chernozhukov et al. (2018), Econometrics Journal 21:C1.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> x, moved = rng.normal(0, 1, 4000), rng.normal(1, 1, 4000)
    >>> found = shift_kind(pl.DataFrame({"x": x}), x + rng.normal(size=4000),
    ...                    pl.DataFrame({"x": moved}), moved + rng.normal(size=4000))
    >>> round(found.covariate, 1), abs(found.concept) < 3 * found.concept_se
    (1.0, True)
    """
    l0, l1 = np.asarray(loss_before, dtype=np.float64), np.asarray(loss_after, dtype=np.float64)
    if l0.shape != (len(before),) or l1.shape != (len(after),):
        raise ValueError("shift_kind: one loss per row is needed")
    if not (np.isfinite(l0).all() and np.isfinite(l1).all()):
        raise ValueError("shift_kind: losses must be finite")
    if min(len(l0), len(l1)) < LEAST_ROWS:
        return _untold(f"{min(len(l0), len(l1))} rows with a label, {LEAST_ROWS} are needed before and after")
    seen = encode(before, after)  # looked at first: weights take a hundred times as long
    if seen.unseen > MOST_UNSEEN:
        column = seen.unseen_column.removeprefix("f_")
        return _untold(f"{100 * seen.unseen:.0f} % of the rows have values of {column} that did not occur before")
    ratio = density_ratio(before, after)
    weight = np.minimum(ratio.weight, MOST_WEIGHT)
    weight = weight / weight.mean()
    share = float(weight.sum() ** 2 / (weight**2).sum() / len(weight))
    if share < LEAST_EFFECTIVE or ratio.rare > MOST_UNSEEN:
        return _untold("the rows before and after have too little in common", share)
    m0, m1 = _regressions(before, l0, after)
    residual = weight * (l0 - m0)
    middle = float(residual.mean() + m1.mean())
    n0, n1 = len(l0), len(l1)
    return ShiftKind(
        middle - float(l0.mean()),
        float(l1.mean()) - middle,
        float(np.sqrt((residual - l0).var(ddof=1) / n0 + m1.var(ddof=1) / n1)),
        float(np.sqrt(residual.var(ddof=1) / n0 + (l1 - m1).var(ddof=1) / n1)),
        share,
    )


def expected_loss(before: pl.DataFrame, loss: ArrayLike, after: pl.DataFrame) -> FloatArray:
    """Loss that each row after would have, had it come before.

    Parameters
    ----------
    before : DataFrame
        Inputs of the rows before.
    loss : array_like, shape (rows before,)
        Their losses.
    after : DataFrame
        Inputs of the rows after.

    Returns
    -------
    ndarray, shape (rows after,)
        By a ridge regression of the loss on the inputs.
    """
    return _regressions(before, np.asarray(loss, dtype=np.float64), after)[1]


def _untold(reason: str, share: float | None = None) -> ShiftKind:
    return ShiftKind(None, None, None, None, share, reason)


def _regressions(before: pl.DataFrame, loss: FloatArray, after: pl.DataFrame) -> tuple[FloatArray, FloatArray]:
    """Expected loss of the rows before, each by the model that was fitted without it, and of the rows after."""
    encoded = encode(before, after)
    x0, x1 = encoded.x[: len(loss)], encoded.x[len(loss) :]
    fold0: IntArray = np.arange(len(x0)) % FOLDS
    fold1: IntArray = np.arange(len(x1)) % FOLDS
    m0, m1 = np.zeros(len(x0)), np.zeros(len(x1))
    free = np.full(x0.shape[1], RIDGE)
    free[0] = 1e-9
    for k in range(FOLDS):
        own = fold0 != k
        x, y = x0[own], loss[own]
        coefficients = np.linalg.solve(x.T @ x + np.diag(free), x.T @ y)
        m0[fold0 == k] = x0[fold0 == k] @ coefficients
        m1[fold1 == k] = x1[fold1 == k] @ coefficients
    return m0, m1
