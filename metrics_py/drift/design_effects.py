"""How much more the counts of clustered rows vary than those of independent ones, and chi-square tests that know it.

References
----------
Rao & Scott (1981), JASA 76:221; (1984), Annals of Statistics 12:46 (chi-square tests of clustered rows).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import fdtrc

from metrics_py.drift.binned_distances import counts_of

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class DesignEffect:
    """Variance of bin counts of dependent rows, relative to independent ones.

    Attributes
    ----------
    value : float
        Mean design effect, ``t1 / (G - 1)``; 1 for independent rows.
    trace : float
        t1, the mean of Pearson's X2 when nothing has changed.
    degrees_of_freedom : float
        Satterthwaite's, G - 1 if all directions are equally inflated.
    n_buckets : int
        Buckets that hold rows.
    """

    value: float
    trace: float
    degrees_of_freedom: float
    n_buckets: int


def design_effect(buckets: ArrayLike, shares: ArrayLike | None = None) -> DesignEffect:
    """Design effect from counts per hash bucket of the entity.

    Parameters
    ----------
    buckets : array_like, shape (H, G)
        Rows per bucket and bin; rows of one entity stand in one bucket. 64 buckets are usual.
    shares : array_like, shape (G,), optional
        Shares that scale the bins (the reference's); default: those of the buckets together.

    Returns
    -------
    DesignEffect
        1 for independent rows, 5 where every row stands there five times.

    Raises
    ------
    ValueError
        If counts are not finite or negative, or fewer than 4 buckets or 2 bins hold rows.

    Notes
    -----
    With ``d_hg = x_hg - x_h p_g`` the covariance of the counts between buckets is ``V = H / (H - 1) D' D`` of
    ``d_hg / sqrt(n q_g)``, and the mean design effect ``trace(V) / (G - 1)``: the variance of the shares, over that of
    as many independent rows. The degrees of freedom are Satterthwaite's of the eigenvalues of V, with the noise of V
    taken out of its square.

    Buckets are independent, and there are many of them: the estimate has a relative error of some sqrt(2 / (H df)). Not
    for rows that depend on each other across entities, such as those of one day.

    References
    ----------
    Rao & Scott (1981), JASA 76:221; (1984), Annals of Statistics 12:46. Kish (1965), Survey Sampling, Wiley (the name).

    Examples
    --------
    Entities of 10 equal rows, one in each of 8 buckets: 10 rows count as one, ``10 * 8 / 7`` as estimated from 8
    buckets.

    >>> found = design_effect([[10, 0], [0, 10]] * 4)
    >>> round(found.value, 3), round(80 / 7, 3)
    (11.429, 11.429)
    """
    counts = np.asarray(buckets, dtype=float)
    if counts.ndim != 2 or not np.isfinite(counts).all() or (counts < 0).any():
        raise ValueError(
            f"design_effect: buckets have shape {counts.shape}; pass finite counts of shape (buckets, bins)"
        )
    counts = counts[counts.sum(axis=1) > 0]
    used = counts.sum(axis=0) > 0 if shares is None else np.asarray(shares, dtype=float) > 0
    counts = counts[:, used]
    h, g = counts.shape
    if h < 4 or g < 2:
        raise ValueError(f"design_effect: {h} buckets and {g} bins hold rows; at least 4 and 2 are needed")
    n = counts.sum()
    p = counts.sum(axis=0) / n
    q = p if shares is None else np.asarray(shares, dtype=float)[used]
    return _moments(_covariance(counts, p, q, n), h, g)


def _covariance(counts: FloatArray, p: FloatArray, q: FloatArray, n: float) -> FloatArray:
    deviation = (counts - counts.sum(axis=1, keepdims=True) * p) / np.sqrt(n * q)
    h = len(counts)
    return deviation.T @ deviation * h / (h - 1)


def _moments(v: FloatArray, h: int, g: int) -> DesignEffect:
    trace = float(np.trace(v))
    squared = (float((v * v).sum()) - trace**2 / (h - 1)) * (h - 1) ** 2 / ((h - 2) * (h + 1))
    if trace <= 0:
        return DesignEffect(0.0, 0.0, g - 1.0, h)
    spread = max((g - 1) * squared / trace**2 - 1, 0.0)
    return DesignEffect(trace / (g - 1), trace, (g - 1) / (1 + spread), h)


def rao_scott(
    reference: ArrayLike, current_buckets: ArrayLike, *, reference_buckets: ArrayLike | None = None
) -> tuple[float, float, DesignEffect]:
    """Chi-square test of equal shares for rows that depend on each other (Rao-Scott, second order, F version).

    Parameters
    ----------
    reference : array_like, shape (G,)
        Reference counts; its rows count as independent unless `reference_buckets` are given.
    current_buckets, reference_buckets : array_like, shape (H, G)
        Counts per hash bucket of the entity.

    Returns
    -------
    statistic : float
        Pearson's X2 divided by its mean under no change.
    p_value : float
        From F(nu, (H - 1) nu).
    design : DesignEffect
        Of the comparison.

    Raises
    ------
    ValueError
        If the sides have different bins, a count is negative, NaN or infinite, fewer than 4 buckets or 2 bins hold
        rows, or the reference is empty.

    Notes
    -----
    Without a change X2 of dependent rows is a weighted sum of chi-squares whose weights are the eigenvalues of the
    covariance of the shares, relative to that of independent rows. Its mean is the trace of that covariance, estimated
    from the buckets of both sides (`design_effect`); nu are Satterthwaite's degrees of freedom, and the denominator
    allows for the estimate.

    Buckets are independent. With few buckets (below some 20) or few entities the p-value is rough. For independent rows
    take `chi_square`, which has more power.

    References
    ----------
    Rao & Scott (1981), JASA 76:221; (1984), Annals of Statistics 12:46.

    Examples
    --------
    Eight entities of ten rows each: what looks clear for 80 independent rows is nothing for eight entities.

    >>> buckets = np.array([[9, 1], [2, 8], [8, 2], [7, 3], [9, 1], [8, 2], [1, 9], [8, 2]])
    >>> statistic, p_value, design = rao_scott([500, 500], buckets)
    >>> round(p_value, 3), round(design.value, 2)
    (0.226, 3.78)
    >>> from metrics_py.drift.categorical_tests import chi_square
    >>> round(chi_square([500, 500], buckets.sum(axis=0)).p_value, 3)
    0.01
    """
    a = np.asarray(reference, dtype=float)
    counts = np.asarray(current_buckets, dtype=float)
    counts = counts[counts.sum(axis=1) > 0]
    counts_of("rao_scott", a, counts)
    used = (a + counts.sum(axis=0)) > 0
    a, counts = a[used], counts[:, used]
    h, g = counts.shape
    m, n = a.sum(), counts.sum()
    if h < 4 or g < 2 or m == 0:
        raise ValueError(f"rao_scott: {h} buckets, {g} bins, {m:.0f} reference rows; at least 4, 2 and 1 are needed")
    p, pooled = counts.sum(axis=0) / n, (a + counts.sum(axis=0)) / (m + n)
    independent = np.eye(g) - np.sqrt(np.outer(pooled, pooled))
    if reference_buckets is None:
        v_reference = independent
    else:
        given = np.asarray(reference_buckets, dtype=float)[:, used]
        v_reference = _covariance(given[given.sum(axis=1) > 0], a / m, pooled, m)
    v = (_covariance(counts, p, pooled, n) / n + v_reference / m) / (1 / n + 1 / m)
    design = _moments(v, h, g)
    x2 = float((((p - a / m) ** 2) / pooled).sum() / (1 / n + 1 / m))
    if design.trace == 0:
        return 0.0, 1.0, design
    nu = design.degrees_of_freedom
    statistic = x2 / design.trace
    return statistic, float(fdtrc(nu, (h - 1) * nu, statistic)), design
