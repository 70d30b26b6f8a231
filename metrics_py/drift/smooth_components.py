"""Neyman's smooth components of a change between ordered bins: shift, spread, skew and tails, one number each.

References
----------
Neyman (1937), Skandinavisk Aktuarietidskrift 20:149. Rayner, Thas & Best (2009), Smooth Tests of Goodness of Fit, Wiley.
"""

from __future__ import annotations

import numpy as np
from numpy.polynomial.legendre import legvander
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
MIN_SHARE = 0.01
COMPONENTS = 4


def smooth_basis(reference: ArrayLike, *, components: int = COMPONENTS) -> FloatArray:
    """Polynomials of the reference's mid-ranks, orthonormal under the reference.

    Over many equal bins they are the normalised Legendre polynomials ``sqrt(2 j + 1) P_j(2 u - 1)`` at ``u = (k - 1/2) / K``;
    over few or unequal bins they stay uncorrelated with unit variance, which those do not.

    Parameters
    ----------
    reference : array_like, shape (G,)
        Reference counts in bins ordered by value.
    components : int, default 4
        Most components; J + 1 bins that carry 1 % of the rows (or half of their share) give at most J.

    Returns
    -------
    ndarray, shape (G, J)
        Possibly with J = 0.
    """
    counts = np.asarray(reference, dtype=float)
    if counts.ndim != 1 or not np.isfinite(counts).all() or (counts < 0).any():
        raise ValueError(f"smooth_basis: reference has shape {counts.shape}; pass finite counts of shape (bins,)")
    total = counts.sum()
    if total == 0:
        return np.zeros((len(counts), 0))
    p = counts / total
    enough = min(MIN_SHARE, 0.5 / (p > 0).sum())
    degree = max(min(components, int((p >= enough).sum()) - 1), 0)
    u = np.cumsum(p) - p / 2
    powers = legvander(2 * u - 1, degree)
    factor = np.linalg.cholesky((powers * p[:, None]).T @ powers)
    return np.linalg.solve(factor, powers.T).T[:, 1:]


def smooth_components(reference: ArrayLike, current: ArrayLike, *, components: int = COMPONENTS) -> FloatArray:
    """Components ``N_j = sum_k f_k phi_j(k)`` of the current shares f.

    Without drift each has mean 0 and, given the reference, variance 1 / n. N1 is the shift of location
    (P(current > reference) + P(equal) / 2 - 1/2 is N1 times the standard deviation of the mid-ranks, about N1 / (2 sqrt 3)),
    N2 the spread, N3 the skew, N4 the tails.

    Parameters
    ----------
    reference, current : array_like, shapes (G,) and (..., G)
        Counts in bins ordered by value.

    Returns
    -------
    ndarray, shape (..., J)
        NaN where there are no current rows.
    """
    counts = np.asarray(current, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = counts / counts.sum(axis=-1, keepdims=True)
    return shares @ smooth_basis(reference, components=components)
