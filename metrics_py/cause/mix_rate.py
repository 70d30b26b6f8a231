"""The change of a mean over segments, split exactly into other shares of the rows and other means within them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

Z95 = 1.959963984540054


@dataclass(frozen=True, eq=False)
class Decomposition:
    """Parts of a change; S segments.

    Attributes
    ----------
    mix, rate : ndarray, shape (S,)
        What a segment adds to the change by another share of the rows, and by another mean. All parts add up to
        `change`.
    mix_se, rate_se : ndarray, shape (S,)
        Their standard errors.
    total_mix, total_rate : float
        Sums over the segments.
    total_mix_se, total_rate_se : float
        Their standard errors.
    change : float
        Mean after minus mean before.
    """

    mix: FloatArray
    rate: FloatArray
    mix_se: FloatArray
    rate_se: FloatArray
    total_mix: float
    total_rate: float
    total_mix_se: float
    total_rate_se: float
    change: float

    def interval(self, part: str) -> tuple[FloatArray, FloatArray]:
        """Limits of the 95 % intervals of one part.

        Parameters
        ----------
        part : {'mix', 'rate', 'total_mix', 'total_rate'}
            Which one.

        Returns
        -------
        low, high : ndarray
            By segment, of no dimension for totals.
        """
        value, se = np.asarray(getattr(self, part)), np.asarray(getattr(self, f"{part}_se"))
        return value - Z95 * se, value + Z95 * se


def decompose(
    n_before: ArrayLike,
    mean_before: ArrayLike,
    variance_before: ArrayLike,
    n_after: ArrayLike,
    mean_after: ArrayLike,
    variance_after: ArrayLike,
    *,
    design_effect: float = 1.0,
) -> Decomposition:
    """Split the change of a mean by segment, averaged over the order in which shares and means change.

    Parameters
    ----------
    n_before : array_like, shape (S,)
        Rows of each segment; the segments are disjoint and hold all rows.
    mean_before : array_like, shape (S,)
        Mean of each segment, for rates the share. Where a segment has no rows on one side, its mean there is taken to
        be that of the other side: all of its change is mix.
    variance_before : array_like, shape (S,)
        Variance of one row, for rates ``p (1 - p)``.
    n_after, mean_after, variance_after : array_like, shape (S,)
        The same after the change.
    design_effect : float, default 1
        By how much rows that depend on each other inflate variances.

    Returns
    -------
    Decomposition
        With standard errors by the delta method; shares are multinomial.

    Raises
    ------
    ValueError
        Shapes differ, a side has no rows, or a number is not finite where a segment has rows.

    Notes
    -----
    ``rate_s = (r1 - r0) (w0 + w1) / 2`` and ``mix_s = (w1 - w0) ((r0 + r1) / 2 - R)`` with
    ``R = sum (w0 + w1) (r0 + r1) / 4``: subtracting R changes no sum, and a segment that grows adds to the change only
    as far as it lies away from the others. For two factors this is the Shapley value.

    References
    ----------
    Kitagawa (1955), JASA 50:1168. Das Gupta (1993), Standardization and Decomposition of Rates, US Census Bureau.

    Examples
    --------
    Half of the rows, in one segment, fail twice as often:

    >>> p = np.array([0.1, 0.1]); q = np.array([0.1, 0.2])
    >>> found = decompose([500, 500], p, p * (1 - p), [500, 500], q, q * (1 - q))
    >>> found.rate.round(3).tolist(), found.mix.round(3).tolist(), round(found.change, 3)
    ([0.0, 0.05], [-0.0, 0.0], 0.05)
    """
    n0, n1 = (np.asarray(n, dtype=np.float64) for n in (n_before, n_after))
    r0, r1, v0, v1 = (
        np.asarray(x, dtype=np.float64) for x in (mean_before, mean_after, variance_before, variance_after)
    )
    if n0.ndim != 1 or len({x.shape for x in (n0, n1, r0, r1, v0, v1)}) != 1:
        raise ValueError("decompose: counts, means and variances must have one entry per segment, all the same number")
    if (n0 < 0).any() or (n1 < 0).any() or n0.sum() == 0 or n1.sum() == 0:
        raise ValueError("decompose: both sides need rows, and counts must not be negative")
    r0, r1 = np.where(n0 > 0, r0, r1), np.where(n1 > 0, r1, r0)
    v0, v1 = np.where(n0 > 0, v0, 0.0), np.where(n1 > 0, v1, 0.0)
    empty = (n0 == 0) & (n1 == 0)
    r0, r1 = np.where(empty, 0.0, r0), np.where(empty, 0.0, r1)
    if not all(np.isfinite(x).all() for x in (r0, r1, v0, v1)):
        raise ValueError("decompose: means and variances must be finite where a segment has rows")
    w0, w1 = n0 / n0.sum(), n1 / n1.sum()
    wbar, rbar, dw, dr = (w0 + w1) / 2, (r0 + r1) / 2, w1 - w0, r1 - r0
    centre = float(wbar @ rbar)
    rate, mix = dr * wbar, dw * (rbar - centre)
    gradients = _gradients(wbar, rbar - centre, dw, dr, rbar)
    mean_variance = [design_effect * v / np.maximum(n, 1.0) for v, n in ((v0, n0), (v1, n1))]
    shares = [design_effect * (np.diag(w) - np.outer(w, w)) / n.sum() for w, n in ((w0, n0), (w1, n1))]
    se: dict[str, FloatArray] = {}
    for name, (by_r0, by_r1, by_w0, by_w1) in gradients.items():
        whole = [np.vstack([g, g.sum(axis=0)]) for g in (by_r0, by_r1, by_w0, by_w1)]
        variance = (
            whole[0] ** 2 @ mean_variance[0]
            + whole[1] ** 2 @ mean_variance[1]
            + np.einsum("ij,jk,ik->i", whole[2], shares[0], whole[2])
            + np.einsum("ij,jk,ik->i", whole[3], shares[1], whole[3])
        )
        se[name] = np.sqrt(np.maximum(variance, 0.0))
    return Decomposition(
        mix,
        rate,
        se["mix"][:-1],
        se["rate"][:-1],
        float(mix.sum()),
        float(rate.sum()),
        float(se["mix"][-1]),
        float(se["rate"][-1]),
        float(w1 @ r1 - w0 @ r0),
    )


def _gradients(
    wbar: FloatArray, away: FloatArray, dw: FloatArray, dr: FloatArray, rbar: FloatArray
) -> dict[str, tuple[FloatArray, FloatArray, FloatArray, FloatArray]]:
    """Derivatives of each segment's part (rows) by the means before and after, and the shares before and after."""
    by_mean = np.diag(dw) / 2 - np.outer(dw, wbar) / 2
    by_share = np.outer(dw, rbar) / 2
    half = np.diag(dr) / 2
    return {
        "rate": (-np.diag(wbar), np.diag(wbar), half, half),
        "mix": (by_mean, by_mean, -np.diag(away) - by_share, np.diag(away) - by_share),
    }
