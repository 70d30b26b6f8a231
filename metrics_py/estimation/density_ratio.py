"""How much more often rows like each one of the reference come in a window: weights that make the one like the other.

A ridge logistic regression tells rows of the window from rows of the reference; the odds of its answer are the ratio of
the two densities. Each row's weight comes from a model that was fitted without it, and where such models tell no better
than chance which rows are of the window, all rows weigh alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metrics_py.estimation.ratio_columns import Encoded, encode

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

MOST_WEIGHT = 100.0
"""Ratios are cut here: single rows would decide otherwise."""

FOLDS = 3
PENALTIES = (1000.0, 100.0, 10.0)
"""Of the squared coefficients; the one that tells rows apart best in the other folds is taken."""

FOUND_AT = 2.0
"""Standard errors by which the held-out log loss has to be better than that of chance: then the inputs have moved."""

ROUNDS = 60
CLOSE_ENOUGH = 0.05
"""Log likelihood that another step of a fit would gain: that of a coefficient that is noise is 0.5."""

LEAST_IN_FOLD = 0.05


@dataclass(frozen=True, eq=False)
class DensityRatio:
    """Weights of the rows of the reference.

    Attributes
    ----------
    weight : ndarray, shape (reference rows,)
        Density in the window divided by that in the reference, with mean 1.
    effective_n : float
        ``(sum w)^2 / sum w^2`` (Kish).
    is_moved : bool
        Held-out rows were told apart; else all weights are 1.
    cut : int
        Weights that were cut at `MOST_WEIGHT`.
    rare : float
        Share of the window's rows whose ratio lies above it: the reference has next to none like them.
    unseen : float
        Largest share of the window's rows with values of one column that the reference does not have.
    unseen_column : str
        That column.
    """

    weight: FloatArray
    effective_n: float
    is_moved: bool
    cut: int
    rare: float
    unseen: float
    unseen_column: str


def density_ratio(
    reference: pl.DataFrame,
    window: pl.DataFrame,
    *,
    reference_fold: IntArray | None = None,
    window_fold: IntArray | None = None,
) -> DensityRatio:
    """Weigh the rows of the reference by how often such rows come in the window.

    Parameters
    ----------
    reference, window : DataFrame
        Rows of both with the same columns: numbers, text or booleans. Nulls and numbers that are not finite are a value
        of their own.
    reference_fold, window_fold : integer ndarray, optional
        Any numbers that are equal for rows which depend on each other, such as those of one entity; default: each row
        is independent of all others.

    Returns
    -------
    DensityRatio
        Weights of the reference's rows, and how far they can be trusted.

    Raises
    ------
    ValueError
        A frame has fewer rows than there are folds.

    Notes
    -----
    Numbers enter by their normal scores in the reference with squares and kinks, categories by indicators, and the six
    numeric columns that moved most by their products (`metrics_py.estimation.ratio_columns.encode`).

    References
    ----------
    Sugiyama, Suzuki & Kanamori (2012), Density Ratio Estimation in Machine Learning, ch. 4.
    Bickel, Bruckner & Scheffer (2009), JMLR 10:2137.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> was, now = (pl.DataFrame({"x": rng.normal(mean, 1, 4000)}) for mean in (0, 1))
    >>> found = density_ratio(was, now)
    >>> found.is_moved, round(float((found.weight * was["x"].to_numpy()).mean()), 1)
    (True, 1.0)
    """
    if min(len(reference), len(window)) < FOLDS:
        raise ValueError(f"density_ratio: {len(reference)} and {len(window)} rows, at least {FOLDS} of each are needed")
    encoded = encode(reference, window)
    fold = np.concatenate([_folds(reference_fold, len(reference)), _folds(window_fold, len(window))])
    log_ratio, is_moved = _held_out(encoded, fold)
    n = len(reference)
    ratio = np.exp(np.minimum(log_ratio, 30.0))
    weight = np.minimum(ratio[:n], MOST_WEIGHT) if is_moved else np.ones(n)
    weight = weight / weight.mean()
    return DensityRatio(
        weight,
        float(weight.sum() ** 2 / (weight**2).sum()),
        is_moved,
        int((ratio[:n] > MOST_WEIGHT).sum()) if is_moved else 0,
        float((ratio[n:] > MOST_WEIGHT).mean()) if is_moved else 0.0,
        encoded.unseen,
        encoded.unseen_column,
    )


def _folds(given: IntArray | None, n: int) -> IntArray:
    """Fold of each row; by rows where the groups that are given are too few or too unequal to fold by."""
    by_row = np.arange(n) % FOLDS
    if given is None:
        return by_row
    fold = given % FOLDS
    return fold if (np.bincount(fold, minlength=FOLDS) >= LEAST_IN_FOLD * n).all() else by_row


def _held_out(encoded: Encoded, fold: IntArray) -> tuple[FloatArray, bool]:
    """Log of the density ratio of each row by the models fitted without it, and whether they tell anything."""
    x, is_window = encoded.x, encoded.is_window
    logit = np.zeros((len(PENALTIES), len(x)))
    prior = np.zeros(len(x))
    for k in range(FOLDS):
        out = fold == k
        odds = float(np.log(is_window[~out].sum() / (~is_window[~out]).sum()))
        prior[out] = odds
        for i, coefficients in enumerate(_fit_path(x[~out], is_window[~out], odds)):
            logit[i, out] = x[out] @ coefficients
    sign = np.where(is_window, -1.0, 1.0)
    loss = np.logaddexp(0, sign * logit)
    best = int(loss.sum(axis=1).argmin())
    gain = np.logaddexp(0, sign * prior) - loss[best]
    noise = sum(part.var() * len(part) for part in (gain[is_window], gain[~is_window]))
    return logit[best] - prior, bool(gain.sum() > FOUND_AT * np.sqrt(noise) and gain.sum() > 0)


def _fit_path(x: FloatArray, is_window: BoolArray, log_odds: float) -> Sequence[FloatArray]:
    """Coefficients for each penalty, each fit beginning at the last one's; the first column, of ones, has no penalty.

    In the coordinates in which the curvature of chance is the identity L-BFGS needs few steps.
    """
    from scipy import optimize  # pyright: ignore[reportMissingTypeStubs] (scipy has none)

    share = float(is_window.mean())
    curvature = share * (1 - share) * (x.T @ x)
    free = np.ones(x.shape[1])
    free[0] = 1e-9
    coefficients = np.zeros(x.shape[1])
    coefficients[0] = log_odds
    found: list[FloatArray] = []
    for penalty in PENALTIES:
        root = np.linalg.cholesky(curvature + np.diag(penalty * free + 1e-9 * curvature.trace()))
        inverse: FloatArray = np.linalg.inv(root).astype(np.float64)

        def loss(u: FloatArray, inverse: FloatArray = inverse, penalty: float = penalty) -> tuple[float, FloatArray]:
            value, slope = _loss(x, is_window, penalty * free, inverse.T @ u)
            return value, inverse @ slope

        options = {"maxiter": ROUNDS, "ftol": CLOSE_ENOUGH / len(x), "gtol": 0.0}
        done: Any = cast("Any", optimize).minimize(
            loss, root.T @ coefficients, jac=True, method="L-BFGS-B", options=options
        )
        solution: FloatArray = done.x
        coefficients = inverse.T @ solution
        found.append(coefficients)
    return found


def _loss(x: FloatArray, is_window: BoolArray, penalty: FloatArray, b: FloatArray) -> tuple[float, FloatArray]:
    """Penalised negative log likelihood of a logistic regression and its gradient."""
    eta = x @ b
    tail = np.exp(-np.abs(eta))
    value = np.log1p(tail).sum() + np.maximum(eta, 0).sum() - eta[is_window].sum() + (penalty * b**2).sum() / 2
    p = np.where(eta > 0, 1, tail) / (1 + tail)
    return float(value), x.T @ (p - is_window) + penalty * b
