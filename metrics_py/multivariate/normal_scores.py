"""Numbers as clipped normal scores by the quantiles of the reference: no outlier and no unit decides a correlation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

FloatArray = NDArray[np.float64]
CLIP = 3.0
"""Standard deviations beyond which a score is cut."""
MOST_KNOTS = 512


@dataclass(frozen=True, eq=False)
class ScoreMap:
    """The normal score of each value, linear between knots.

    Attributes
    ----------
    knots, scores : ndarray, shape (K,)
        Values of the reference, ascending and distinct, and their scores.
    """

    knots: FloatArray
    scores: FloatArray

    @property
    def is_constant(self) -> bool:
        """Whether the reference holds one value or none: there is nothing to correlate."""
        return len(self.knots) < 2

    def transform(self, values: ArrayLike) -> FloatArray:
        """Scores of values, within `CLIP` of 0; NaN and infinite values are NaN.

        Parameters
        ----------
        values : array_like, shape (n,)
            In the units of the reference.

        Returns
        -------
        ndarray, shape (n,)
            Within `CLIP` of 0.
        """
        array = np.asarray(values, dtype=np.float64)
        if self.is_constant:
            return np.where(np.isfinite(array), 0.0, np.nan)
        found = np.interp(array, self.knots, self.scores)
        return found if np.isfinite(array).all() else np.where(np.isfinite(array), found, np.nan)


def fit_scores(values: ArrayLike) -> ScoreMap:
    """Normal scores by mid-ranks of the reference: ties share the middle of their ranks.

    Parameters
    ----------
    values : array_like, shape (n,)
        Of the reference; NaN and infinite ones are left out.

    Returns
    -------
    ScoreMap
        Through at most some 512 quantiles.

    References
    ----------
    van der Waerden (1952), Indagationes Mathematicae 14:453 (normal scores).

    Examples
    --------
    >>> fit_scores([1, 2, 2, 9]).transform([1, 2, 9, 100]).round(2).tolist()
    [-1.15, 0.0, 1.15, 1.15]
    """
    array = np.asarray(values, dtype=np.float64)
    array = np.sort(array[np.isfinite(array)])
    distinct, first, count = np.unique(array, return_index=True, return_counts=True)
    if len(distinct) > MOST_KNOTS:
        places = np.linspace(0, len(array) - 1, MOST_KNOTS).round().astype(np.int64)
        chosen = np.unique(np.searchsorted(distinct, array[places]))
        distinct, first, count = distinct[chosen], first[chosen], count[chosen]
    middle = (first + count / 2) / max(len(array), 1)
    return ScoreMap(distinct, np.clip(ndtri(middle), -CLIP, CLIP))
