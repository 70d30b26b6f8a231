"""Rows of a reference and a window as the numbers by which a regression tells them apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import polars as pl
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

FEW_VALUES = 10
"""Numbers with so many values in the reference, or fewer, are told apart by value."""

MOST_LEVELS, LEAST_ROWS = 20, 20
"""Categories with an indicator of their own, and the reference rows that each needs."""

KINKS = (-1.0, 1.0)
"""Where the log ratio may bend, in normal scores."""

CROSSED = 6
"""Numeric columns whose products are taken in: those whose mean normal score moved most."""


@dataclass(frozen=True, eq=False)
class Encoded:
    """Numbers of all rows, those of the reference first.

    Attributes
    ----------
    x : ndarray, shape (rows, columns)
        The first column is one.
    is_window : boolean ndarray, shape (rows,)
    unseen : float
        Largest share of the window's rows with values of one column that the reference does not have, beyond the share
        that is expected without any change (Good and Turing: that of the values which it has once).
    unseen_column : str
        That column.
    """

    x: FloatArray
    is_window: BoolArray
    unseen: float
    unseen_column: str


def encode(reference: pl.DataFrame, window: pl.DataFrame) -> Encoded:
    """Numbers by which rows are told apart.

    Parameters
    ----------
    reference, window : DataFrame
        The same columns: numbers, text or booleans.

    Returns
    -------
    Encoded
        Columns that are equal in all rows give nothing.

    Notes
    -----
    A number is told by its normal score in the reference, the square of it and kinks: a normal column that moves or
    widens has exactly such a log ratio, and far tails have no more leverage than ranks have. Missing is an indicator.
    """
    n = len(reference)
    pooled = pl.concat([reference, window.select(reference.columns)], how="vertical_relaxed")
    is_window = np.arange(len(pooled)) >= n
    parts: list[FloatArray] = []
    scores: list[FloatArray] = []
    unseen: dict[str, float] = {}
    for column in pooled:
        values = _finite(column)
        known = values[:n].drop_nulls()
        if values.dtype.is_numeric() and known.n_unique() > FEW_VALUES:
            score, share = _normal_scores(values.to_numpy().astype(np.float64), n)
            scores.append(score)
            kinks = (np.maximum(np.sign(at) * (score - at), 0) for at in KINKS)
            parts += [score, score**2, *kinks, np.asarray(values.is_null().to_numpy(), dtype=np.float64)]
        else:
            indicators, share = _levels(values, n)
            parts += indicators
        unseen[column.name] = max(share, _missing_anew(values, n))
    moved = sorted(scores, key=lambda score: -abs(score[n:].mean() - score[:n].mean()))[:CROSSED]
    parts += [a * b for a, b in combinations(moved, 2)]
    told = [part for part in parts if np.ptp(part) > 0]
    worst = _largest(unseen)
    return Encoded(np.column_stack([np.ones(len(pooled)), *told]), is_window, unseen.get(worst, 0.0), worst)


def _finite(column: pl.Series) -> pl.Series:
    """Numbers with null for what is not finite; all else as text."""
    if not column.dtype.is_numeric():
        return column.cast(pl.String)
    number = column.cast(pl.Float64)
    return number.set(~number.is_finite().fill_null(True), None)


def _largest(unseen: Mapping[str, float]) -> str:
    return max(unseen, key=lambda name: unseen[name], default="")


def _missing_anew(values: pl.Series, n: int) -> float:
    """Share of the window's rows without a value, where the reference has them all."""
    return 0.0 if values[:n].null_count() else values[n:].null_count() / max(len(values) - n, 1)


def _normal_scores(values: FloatArray, n: int) -> tuple[FloatArray, float]:
    """Normal score of each value among those of the first n rows, 0 where it is missing; share beyond their range."""
    from scipy.special import ndtri  # pyright: ignore[reportMissingTypeStubs] (scipy has none)

    known = np.sort(values[:n][~np.isnan(values[:n])])
    rank = (np.searchsorted(known, values, "left") + np.searchsorted(known, values, "right")) / (2 * len(known))
    least = 0.5 / len(known)
    score = np.where(np.isnan(values), 0.0, ndtri(np.clip(rank, least, 1 - least)))
    beyond = (values[n:] < known[0]) | (values[n:] > known[-1])
    return score, float(beyond.mean())


def _levels(values: pl.Series, n: int) -> tuple[list[FloatArray], float]:
    """Indicators of the most frequent levels, of all others and of null; share of the window that has new ones."""
    named = values.alias("level")
    counts = named[:n].drop_nulls().value_counts(name="n").sort(["n", "level"], descending=[True, False])
    own = counts.filter(pl.col("n") >= LEAST_ROWS)["level"][:MOST_LEVELS]
    known, is_missing = named.is_in(counts["level"].implode()), named.is_null()
    is_own = named.is_in(own.implode())
    columns = [(named == level).fill_null(False) for level in own]
    columns += [~is_own.fill_null(False) & ~is_missing, is_missing]
    new = float((~known.fill_null(True))[n:].mean() or 0.0)  # pyright: ignore[reportArgumentType] (a share)
    once = int((counts["n"] == 1).sum()) / max(n, 1)
    return [np.asarray(column.to_numpy(), dtype=np.float64) for column in columns], max(new - once, 0.0)
