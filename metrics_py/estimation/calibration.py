"""How often rows of a score are positive, learnt from the labelled rows of the reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

N_SCORE_BINS = 256
"""Equal-width bins of the score in the aggregates."""

MOST_GROUPS = 256
"""A group has one in so many of the reference rows, at least, where scores are dense."""

ROWS_PER_GROUP = 60
"""And at least so many."""

WIDEST, LEAST_ROWS = 4, 20
"""Where scores are rare, a group ends after so many score bins if it has so many rows.

High scores of a rare class are few, and they decide its precision and recall: in one group they would be told alike.
"""

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Calibration:
    """Probability of the positive class by score.

    Attributes
    ----------
    block : integer ndarray, shape (256,)
        Block of each score bin; blocks are ranges of the score, in its order.
    probability : ndarray, shape (blocks,)
        Share of positives in the block, rising with the score.
    n : ndarray, shape (blocks,)
        Labelled reference rows of the block.
    centre : ndarray, shape (blocks,)
        Mean score bin of these rows.
    rows : ndarray, shape (256,)
        Labelled reference rows of each score bin.
    positives : ndarray, shape (256,)
        Those of them that are positive.
    """

    block: IntArray
    probability: FloatArray
    n: FloatArray
    centre: FloatArray
    rows: FloatArray
    positives: FloatArray

    @property
    def weights(self) -> FloatArray:
        """Weight of each block in the probability of each score bin, shape (blocks, 256): linear between centres.

        A step at the edge of each block would rank all rows of a block alike.
        """
        bins = np.arange(N_SCORE_BINS)
        return np.stack([np.interp(bins, self.centre, row) for row in np.eye(len(self.n))])

    @property
    def spread(self) -> FloatArray:
        """Variance of one row's outcome in each block; not 0 where all reference rows are of one class."""
        share = (self.probability * self.n + 0.5) / (self.n + 1)
        return share * (1 - share)


def calibrate(score_label_bins: pl.DataFrame) -> Calibration | None:
    """Learn the calibration.

    Parameters
    ----------
    score_label_bins : DataFrame
        ``score_bin, is_positive, n`` of labelled reference rows; rows with equal keys are added up.

    Returns
    -------
    Calibration or None
        None without rows of both classes.

    Notes
    -----
    Score bins are joined to groups of about equal numbers of rows, narrower ones where scores are rare, and the shares
    of positives made monotone by pooling adjacent violators (isotonic regression); groups pooled are one block. Between
    the centres of blocks the probability is linear.

    References
    ----------
    Ayer, Brunk, Ewing, Reid & Silverman (1955), Ann. Math. Statist. 26:641. Zadrozny & Elkan (2002), KDD.

    Examples
    --------
    >>> bins = pl.DataFrame(
    ...     {"score_bin": [50, 50, 200, 200], "is_positive": [False, True, False, True], "n": [90, 10, 20, 80]}
    ... )
    >>> calibrate(bins).probability.tolist()
    [0.1, 0.8]
    """
    bins = score_label_bins.select("score_bin", "is_positive", "n").drop_nulls()
    counts = np.zeros((2, N_SCORE_BINS))
    outcome = bins["is_positive"].to_numpy().astype(np.int64)
    score_bin = bins["score_bin"].to_numpy().astype(np.int64)
    np.add.at(counts, (outcome, score_bin), bins["n"].to_numpy().astype(np.float64))
    return fit(counts.sum(axis=0), counts[1]) if counts[0].any() and counts[1].any() else None


def fit(n: FloatArray, positive: FloatArray) -> Calibration:
    """The calibration of rows and positives by score bin.

    Parameters
    ----------
    n, positive : ndarray, shape (256,)
        Labelled reference rows of each score bin, at least one, and those of them that are positive.

    Returns
    -------
    Calibration
        As of `calibrate`; rows of one class alone have one probability.

    Examples
    --------
    >>> n = np.zeros(256)
    >>> n[100] = 40
    >>> fit(n, n).probability.tolist()
    [1.0]
    """
    from scipy.optimize import isotonic_regression  # pyright: ignore[reportMissingTypeStubs] (scipy has none)

    group = score_groups(n)
    rows = np.bincount(group, n)
    found = cast("Any", isotonic_regression)(np.bincount(group, positive) / rows, weights=rows)
    starts: IntArray = found.blocks
    shares: FloatArray = found.x
    block = np.repeat(np.arange(len(starts) - 1), np.diff(starts))[group]
    return Calibration(
        block,
        shares[starts[:-1]].clip(0, 1),
        np.bincount(block, n).astype(np.float64),
        np.bincount(block, n * np.arange(N_SCORE_BINS)) / np.bincount(block, n),
        n,
        positive,
    )


def score_groups(n: FloatArray) -> IntArray:
    """Group of each score bin; each holds some rows.

    Parameters
    ----------
    n : ndarray, shape (256,)
        Rows of the reference in each, effective ones where rows are weighted.

    Returns
    -------
    integer ndarray, shape (256,)
        Numbers of the groups, which rise with the score.
    """
    enough = max(n.sum() / MOST_GROUPS, ROWS_PER_GROUP)
    starts, rows, first = [0], 0.0, 0
    for score_bin, more in enumerate(n):
        if rows >= enough or (rows >= LEAST_ROWS and score_bin - first >= WIDEST):
            starts.append(score_bin)
            rows, first = 0.0, score_bin
        rows += more
    if rows < LEAST_ROWS and len(starts) > 1:
        starts.pop()
    return np.searchsorted(starts, np.arange(N_SCORE_BINS), side="right") - 1
