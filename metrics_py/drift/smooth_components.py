"""Neyman's smooth components of a change between ordered bins: shift, spread, skew and tails, one number each.

References
----------
Neyman (1937), Skandinavisk Aktuarietidskrift 20:149. Rayner, Thas & Best (2009), Smooth Tests of Goodness of Fit,
Wiley.
"""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.polynomial.legendre import legvander
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
MIN_SHARE = 0.01
COMPONENTS = 4


def smooth_basis(reference: ArrayLike, *, components: int = COMPONENTS) -> FloatArray:
    """Polynomials of the reference's mid-ranks, orthonormal under the reference.

    Over many equal bins they are the normalised Legendre polynomials ``sqrt(2 j + 1) P_j(2 u - 1)`` at
    ``u = (k - 1/2) / K``; over few or unequal bins they stay uncorrelated with unit variance, which those do not.

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

    Raises
    ------
    ValueError
        If the counts are not one-dimensional, or negative, NaN or infinite.

    Examples
    --------
    >>> smooth_basis([50, 50]).round(6).tolist()
    [[-1.0], [1.0]]
    """
    counts = np.asarray(reference, dtype=float)
    if counts.ndim != 1 or not np.isfinite(counts).all() or (counts < 0).any():
        raise ValueError(f"smooth_basis: reference has shape {counts.shape}; pass finite counts of shape (bins,)")
    total = float(counts.sum())
    if total == 0:
        return np.zeros((len(counts), 0))
    p = counts / total
    enough = min(MIN_SHARE, 0.5 / (p > 0).sum())
    degree = max(min(components, int((p >= enough).sum()) - 1), 0)
    u = np.cumsum(p) - p / 2
    powers = legvander(2 * u - 1, degree)
    factor = np.linalg.cholesky((powers * p[:, None]).T @ powers)
    return cast("FloatArray", np.linalg.solve(factor, powers.T)).T[:, 1:]


def smooth_components(reference: ArrayLike, current: ArrayLike, *, components: int = COMPONENTS) -> FloatArray:
    """Components ``N_j = sum_k f_k phi_j(k)`` of the current shares f.

    Parameters
    ----------
    reference, current : array_like, shapes (G,) and (..., G)
        Counts in bins ordered by value.
    components : int, default 4
        Most components, see `smooth_basis`.

    Returns
    -------
    ndarray, shape (..., J)
        NaN where there are no current rows.

    Raises
    ------
    ValueError
        If the reference is not one-dimensional, or negative, NaN or infinite.

    Notes
    -----
    phi_j is a polynomial of degree j in the mid-ranks of the bins, orthonormal under the reference's shares. Without
    drift each N_j has mean 0 and, given the reference, variance 1 / n, and they are uncorrelated. N1 is the shift of
    location (P(current > reference) + P(equal) / 2 - 1/2 is N1 times the standard deviation of the mid-ranks, about N1
    / (2 sqrt 3)), N2 the spread, N3 the skew, N4 the tails.

    The reference is taken for the truth here: with a small one add 1 / m to the variance, or test with `smooth_test`.
    Rows are independent; not for categories without an order.

    References
    ----------
    Neyman (1937), Skandinavisk Aktuarietidskrift 20:149. Rayner, Thas & Best (2009), Smooth Tests of Goodness of Fit,
    Wiley.

    Examples
    --------
    Halves of the reference hold 40 and 60 rows now. The polynomial is -1 and 1, so N1 = 0.6 - 0.4; the mid-ranks 1/4
    and 3/4 have standard deviation 1/4, so P(current > reference) + P(equal) / 2 is 0.5 + 0.2 / 4.

    >>> smooth_components([50, 50], [40, 60]).round(6).tolist()
    [0.2]
    >>> from metrics_py.drift.effects import superiority
    >>> round(float(superiority([50, 50], [40, 60])[0]), 6)
    0.55
    """
    counts = np.asarray(current, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = counts / counts.sum(axis=-1, keepdims=True)
    return shares @ smooth_basis(reference, components=components)
