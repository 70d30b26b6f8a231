"""Distances between counts in frozen bins, vectorised over any leading axes.

Conventions of every function: `reference` has shape (G,) or (..., G), `current` (..., G); the last axis holds the bins,
the result has the leading shape. Shares with a logarithm or a square root are smoothed by half a row per bin (a + 1/2)
/ (n + G/2), where bins that are empty on both sides do not count as bins. NaN marks an undefined value: no rows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "energy_coefficient",
    "energy_distance",
    "hellinger",
    "js_distance",
    "js_divergence",
    "kl_divergence",
    "ks_bounds",
    "l_infinity",
    "psi",
    "total_variation",
    "wasserstein",
]
FloatArray = NDArray[np.float64]
PSEUDO_COUNT = 0.5


def counts_of(name: str, reference: ArrayLike, current: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Both counts as floats of a common shape, checked.

    Parameters
    ----------
    name : str
        Function that asks, for its errors.
    reference, current : array_like, shape (..., G)
        Counts in the same bins.

    Returns
    -------
    reference, current : ndarray of float, shape (..., G)
        Broadcast against each other: do not write to them.

    Raises
    ------
    ValueError
        If the last axes differ or are empty, or a count is negative, NaN or infinite.
    """
    a, b = np.asarray(reference, dtype=float), np.asarray(current, dtype=float)
    if a.ndim < 1 or b.ndim < 1 or a.shape[-1] != b.shape[-1] or a.shape[-1] == 0:
        raise ValueError(
            f"{name}: reference has shape {a.shape}, current {b.shape}; the last axis of both must hold the same bins"
        )
    for side, array in (("reference", a), ("current", b)):
        if not np.isfinite(array).all() or (array < 0).any():
            raise ValueError(f"{name}: {side} counts hold a negative, NaN or infinite entry; count the rows again")
    a, b = np.broadcast_arrays(a, b)
    return a, b


def degrees_of_freedom(reference: ArrayLike, current: ArrayLike) -> FloatArray:
    """Bins that hold rows on either side, minus one.

    Parameters
    ----------
    reference, current : array_like, shapes (G,) and (..., G)
        Counts in the same bins.

    Returns
    -------
    ndarray of float, shape (...)
        At least 0.

    Raises
    ------
    ValueError
        As `counts_of`.
    """
    a, b = counts_of("degrees_of_freedom", reference, current)
    return np.maximum(((a + b) > 0).sum(axis=-1) - 1.0, 0.0)


def smoothed(name: str, reference: ArrayLike, current: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Smoothed shares of both sides; a bin that is empty on both has share 0.

    Parameters
    ----------
    name : str
        Function that asks, for its errors.
    reference, current : array_like, shapes (G,) and (..., G)
        Counts in the same bins.

    Returns
    -------
    reference, current : ndarray, shape (..., G)
        ``(a + 1/2) / (n + G'/2)`` with G' the bins that hold rows on either side; NaN where a side has no rows.

    Raises
    ------
    ValueError
        As `counts_of`.
    """
    a, b = counts_of(name, reference, current)
    used = (a + b) > 0
    bins = used.sum(axis=-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = [
            np.where(used, (x + PSEUDO_COUNT) / (x.sum(axis=-1, keepdims=True) + PSEUDO_COUNT * bins), 0.0)
            for x in (a, b)
        ]
    empty = ((a.sum(axis=-1) == 0) | (b.sum(axis=-1) == 0))[..., None]
    return np.where(empty, np.nan, shares[0]), np.where(empty, np.nan, shares[1])


def shares(name: str, reference: ArrayLike, current: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Plain shares of both sides, NaN where a side has no rows.

    Parameters
    ----------
    name : str
        Function that asks, for its errors.
    reference, current : array_like, shapes (G,) and (..., G)
        Counts in the same bins.

    Returns
    -------
    reference, current : ndarray, shape (..., G)
        Adding up to 1.

    Raises
    ------
    ValueError
        As `counts_of`.
    """
    a, b = counts_of(name, reference, current)
    with np.errstate(divide="ignore", invalid="ignore"):
        return a / a.sum(axis=-1, keepdims=True), b / b.sum(axis=-1, keepdims=True)


def _log_ratio(b: FloatArray, a: FloatArray) -> FloatArray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((a == 0) & (b == 0), 0.0, np.log(b / a))


def psi(reference: ArrayLike, current: ArrayLike) -> FloatArray:
    """Population stability index ``sum (b - a) ln(b / a)`` in nats, the symmetrised KL divergence.

    Parameters
    ----------
    reference, current : array_like, shapes (G,) and (..., G)
        Counts in the same bins.

    Returns
    -------
    ndarray, shape (...)
        0 and more; NaN where a side has no rows.

    Raises
    ------
    ValueError
        If the sides have different bins, or a count is negative, NaN or infinite.

    Notes
    -----
    a and b are the smoothed shares (see the module), so an empty bin adds a large number, not infinity. The value
    depends on the bins: compare values of the same bins only.

    Without drift ``PSI / (1/n + 1/m)`` is about chi-square with G - 1 degrees of freedom, so its size depends on the
    number of rows: judge it by `metrics_py.drift.effects.psi_effect`, never by a fixed threshold alone.

    References
    ----------
    Yurdakul (2018), Western Michigan University dissertation 3208. Siddiqi (2006), Credit Risk Scorecards, Wiley.
    Kullback & Leibler (1951), AMS 22:79 (as the divergence J).

    Examples
    --------
    Without smoothing ``-0.1 ln 0.8 + 0.1 ln 1.5`` = 0.0629:

    >>> round(float(psi([500, 300, 200], [400, 300, 300])), 4)
    0.0627
    """
    a, b = smoothed("psi", reference, current)
    return ((b - a) * _log_ratio(b, a)).sum(axis=-1)


def kl_divergence(reference: ArrayLike, current: ArrayLike) -> FloatArray:
    """Kullback-Leibler divergence of the current from the reference, ``sum b ln(b / a)``, in nats.

    Parameters
    ----------
    reference, current : array_like, shapes (G,) and (..., G)
        Counts in the same bins.

    Returns
    -------
    ndarray, shape (...)
        0 and more; NaN where a side has no rows.

    Raises
    ------
    ValueError
        If the sides have different bins, or a count is negative, NaN or infinite.

    Notes
    -----
    a and b are the smoothed shares (see the module). Not symmetric: `psi` is the sum of both directions. Without drift
    ``2 KL / (1/n + 1/m)`` is about chi-square with G - 1 degrees of freedom. No fixed threshold fits all bins and
    sizes.

    References
    ----------
    Kullback & Leibler (1951), Annals of Mathematical Statistics 22:79.

    Examples
    --------
    >>> a, b = [500, 300, 200], [400, 300, 300]
    >>> round(float(kl_divergence(a, b)), 4), round(float(kl_divergence(a, b) + kl_divergence(b, a)), 4)
    (0.0323, 0.0627)
    """
    a, b = smoothed("kl_divergence", reference, current)
    return (b * _log_ratio(b, a)).sum(axis=-1)


def js_divergence(reference: ArrayLike, current: ArrayLike) -> FloatArray:
    """Jensen-Shannon divergence in nats, between 0 and ln 2.

    Parameters
    ----------
    reference, current : array_like, shapes (G,) and (..., G)
        Counts in the same bins.

    Returns
    -------
    ndarray, shape (...)
        NaN where a side has no rows.

    Raises
    ------
    ValueError
        If the sides have different bins, or a count is negative, NaN or infinite.

    Notes
    -----
    ``(KL(a, c) + KL(b, c)) / 2`` with the middle c = (a + b) / 2 of the smoothed shares (see the module). Smoothing
    keeps it below ln 2 for any number of rows. Without drift 8 times it, over ``1/n + 1/m``, is about chi-square with G
    - 1 degrees of freedom.

    References
    ----------
    Lin (1991), IEEE Transactions on Information Theory 37:145.

    Examples
    --------
    About an eighth of the PSI, 0.0627, where the change is small; nothing in common is nearly ln 2 = 0.6931:

    >>> round(8 * float(js_divergence([500, 300, 200], [400, 300, 300])), 4)
    0.0623
    >>> round(float(js_divergence([10**6, 0], [0, 10**6])), 4)
    0.6931
    """
    a, b = smoothed("js_divergence", reference, current)
    middle = (a + b) / 2
    return (a * _log_ratio(a, middle) + b * _log_ratio(b, middle)).sum(axis=-1) / 2


def js_distance(reference: ArrayLike, current: ArrayLike) -> FloatArray:
    """Jensen-Shannon distance: square root of the divergence in bits, between 0 and 1.

    Parameters
    ----------
    reference, current : array_like, shapes (G,) and (..., G)
        Counts in the same bins.

    Returns
    -------
    ndarray, shape (...)
        NaN where a side has no rows.

    Raises
    ------
    ValueError
        If the sides have different bins, or a count is negative, NaN or infinite.

    Notes
    -----
    ``sqrt(JS / ln 2)`` of `js_divergence`. Unlike the divergence it obeys the triangle inequality. Beside 0 it is
    steep: noise of n rows makes it about sqrt((G - 1) / (8 n ln 2)), so a small sample never has a small distance.

    References
    ----------
    Endres & Schindelin (2003), IEEE Transactions on Information Theory 49:1858.

    Examples
    --------
    >>> round(float(js_distance([500, 300, 200], [400, 300, 300])), 3)
    0.106
    """
    return np.sqrt(np.maximum(js_divergence(reference, current), 0.0) / np.log(2))


def hellinger(reference: ArrayLike, current: ArrayLike) -> FloatArray:
    """Hellinger distance ``sqrt(1/2 sum (sqrt a - sqrt b)^2)``, between 0 and 1.

    Parameters
    ----------
    reference, current : array_like, shapes (G,) and (..., G)
        Counts in the same bins.

    Returns
    -------
    ndarray, shape (...)
        NaN where a side has no rows.

    Raises
    ------
    ValueError
        If the sides have different bins, or a count is negative, NaN or infinite.

    Notes
    -----
    a and b are the smoothed shares (see the module). A distance; 8 times its square, over ``1/n + 1/m``, is about
    chi-square with G - 1 degrees of freedom without drift. As `js_distance` it is never small for few rows.

    References
    ----------
    Hellinger (1909), Journal fuer die reine und angewandte Mathematik 136:210.

    Examples
    --------
    An eighth of the PSI, 0.0627, is about its square:

    >>> round(8 * float(hellinger([500, 300, 200], [400, 300, 300])) ** 2, 4)
    0.0625
    """
    a, b = smoothed("hellinger", reference, current)
    return np.sqrt(0.5 * ((np.sqrt(a) - np.sqrt(b)) ** 2).sum(axis=-1))


def total_variation(reference: ArrayLike, current: ArrayLike) -> FloatArray:
    """Total variation distance ``1/2 sum |a - b|``: the share of rows that would have to change bin.

    Parameters
    ----------
    reference, current : array_like, shapes (G,) and (..., G)
        Counts in the same bins.

    Returns
    -------
    ndarray, shape (...)
        In [0, 1]; NaN where a side has no rows.

    Raises
    ------
    ValueError
        If the sides have different bins, or a count is negative, NaN or infinite.

    Notes
    -----
    a and b are the plain shares. The largest difference of the probability of any set of bins. Noise grows with the
    number of bins, and the order of ordered bins is not used: a shift to the next bin is as far as one across all (take
    `wasserstein`).

    References
    ----------
    Levin & Peres (2017), Markov Chains and Mixing Times, ch. 4.

    Examples
    --------
    >>> round(float(total_variation([500, 300, 200], [400, 300, 300])), 3)
    0.1
    """
    a, b = shares("total_variation", reference, current)
    return 0.5 * np.abs(a - b).sum(axis=-1)


def l_infinity(reference: ArrayLike, current: ArrayLike) -> FloatArray:
    """Largest change of the share of one bin.

    Parameters
    ----------
    reference, current : array_like, shapes (G,) and (..., G)
        Counts in the same bins.

    Returns
    -------
    ndarray, shape (...)
        In [0, 1]; NaN where a side has no rows.

    Raises
    ------
    ValueError
        If the sides have different bins, or a count is negative, NaN or infinite.

    Notes
    -----
    ``max |a - b|`` of the plain shares. It hardly sees a change that is spread over many bins: take `total_variation`
    or `psi`.

    References
    ----------
    Breck, Polyzotis, Roy, Whang & Zinkevich (2019), SysML (data validation).

    Examples
    --------
    >>> round(float(l_infinity([500, 300, 200], [400, 380, 220])), 3)
    0.1
    """
    a, b = shares("l_infinity", reference, current)
    return np.abs(a - b).max(axis=-1)


def ks_bounds(
    reference: ArrayLike, current: ArrayLike, *, points: ArrayLike | None = None, loose: ArrayLike | None = None
) -> tuple[FloatArray, FloatArray]:
    """Guaranteed limits of the exact two-sample Kolmogorov-Smirnov distance of the rows behind ordered bins.

    Parameters
    ----------
    reference, current : array_like, shape (..., G)
        Counts in bins ordered by value.
    points : array_like of bool, shape (G,), optional
        Bins that hold one single value (atoms).
    loose : array_like of bool, shape (G,), optional
        Bins that overlap others.

    Returns
    -------
    lower, upper : ndarray, shape (...)
        In [0, 1]; NaN where a side has no rows.

    Raises
    ------
    ValueError
        If the sides have different bins, or a count is negative, NaN or infinite.

    Notes
    -----
    With F, G the cumulative shares at the ends of the bins, D is at least ``max_k |F_k - G_k|`` and at most
    ``max_k max(F_(k+1) - G_k, G_(k+1) - F_k)``; in a bin that is a single value the ECDFs jump together. Rows whose
    place is not known widen both limits by their share. The limits are those of D of these rows; they are no confidence
    interval.

    References
    ----------
    Smirnov (1939), Bull. Math. Univ. Moscou 2(2):3 (the distance).

    Examples
    --------
    >>> low, high = ks_bounds([10, 10, 10, 10], [5, 10, 10, 15])
    >>> float(low), float(high)
    (0.125, 0.375)
    """
    a, b = shares("ks_bounds", reference, current)
    slack = np.zeros(a.shape[:-1])
    if loose is not None:
        free = np.asarray(loose, dtype=bool)
        slack = np.maximum(a, b)[..., free].sum(axis=-1)
        a, b = np.where(free, 0.0, a), np.where(free, 0.0, b)
    f = np.concatenate([np.zeros((*a.shape[:-1], 1)), np.cumsum(a, axis=-1)], axis=-1)
    g = np.concatenate([np.zeros((*b.shape[:-1], 1)), np.cumsum(b, axis=-1)], axis=-1)
    lower = np.abs(f - g).max(axis=-1)
    inside = np.maximum(f[..., 1:] - g[..., :-1], g[..., 1:] - f[..., :-1])
    if points is not None:
        inside = np.where(np.asarray(points, dtype=bool), 0.0, inside)
    upper = np.maximum(inside.max(axis=-1), lower)
    return np.maximum(lower - slack, 0.0), np.minimum(upper + slack, 1.0)


def wasserstein(reference: ArrayLike, current: ArrayLike, centers: ArrayLike) -> FloatArray:
    """Wasserstein-1 distance with the mass of each bin at its center, in the units of `centers`.

    Parameters
    ----------
    reference, current : array_like, shapes (G,) and (..., G)
        Counts in the same bins.
    centers : array_like, shape (G,)
        Places of the bins, in any order; `ColumnProfile.center` is clipped, so that no outlier enters.

    Returns
    -------
    ndarray, shape (...)
        0 and more; NaN where a side has no rows.

    Raises
    ------
    ValueError
        If the sides have different bins, a count is negative, NaN or infinite, or there is not one finite center per
        bin.

    Notes
    -----
    ``integral |F - G| dx``: how far the mass has to be moved, on average. What moves within a bin is not seen, and bins
    without an upper end (values beyond the reference's range) count as at their center. Of raw values:
    `metrics_py.drift.exact_distances.wasserstein`.

    References
    ----------
    Villani (2009), Optimal Transport, Springer.

    Examples
    --------
    Half of the rows move from 0 to 3:

    >>> float(wasserstein([10, 10, 0], [0, 10, 10], [0.0, 1.0, 3.0]))
    1.5
    """
    f_minus_g, gaps = _ecdf_difference("wasserstein", reference, current, centers)
    return (np.abs(f_minus_g) * gaps).sum(axis=-1)


def energy_distance(reference: ArrayLike, current: ArrayLike, centers: ArrayLike) -> FloatArray:
    """Energy distance ``sqrt(2 integral (F - G)^2)`` with the mass of each bin at its center, as scipy's.

    Parameters
    ----------
    reference, current : array_like, shapes (G,) and (..., G)
        Counts in the same bins.
    centers : array_like, shape (G,)
        Places of the bins, in any order.

    Returns
    -------
    ndarray, shape (...)
        In the square root of the unit of the centers; NaN where a side has no rows.

    Raises
    ------
    ValueError
        If the sides have different bins, a count is negative, NaN or infinite, or there is not one finite center per
        bin.

    Notes
    -----
    Its square is ``2 E|X - Y| - E|X - X'| - E|Y - Y'|``, X and X' drawn from one side, Y and Y' from the other. Without
    units: `energy_coefficient`.

    References
    ----------
    Szekely & Rizzo (2013), Journal of Statistical Planning and Inference 143:1249.

    Examples
    --------
    F - G is 1/2 on a length of 3, so ``sqrt(2 * 3 / 4)``:

    >>> round(float(energy_distance([10, 10, 0], [0, 10, 10], [0.0, 1.0, 3.0])), 4), round(1.5**0.5, 4)
    (1.2247, 1.2247)
    """
    f_minus_g, gaps = _ecdf_difference("energy_distance", reference, current, centers)
    return np.sqrt(2 * (f_minus_g**2 * gaps).sum(axis=-1))


def energy_coefficient(reference: ArrayLike, current: ArrayLike, centers: ArrayLike) -> FloatArray:
    """Energy coefficient of inhomogeneity ``D^2 / (2 E|X - Y|)`` in [0, 1]: the energy distance without units.

    Parameters
    ----------
    reference, current : array_like, shapes (G,) and (..., G)
        Counts in the same bins.
    centers : array_like, shape (G,)
        Places of the bins, in any order.

    Returns
    -------
    ndarray, shape (...)
        0 for equal shares, 1 where each side stands in one place of its own; NaN where a side has no rows.

    Raises
    ------
    ValueError
        If the sides have different bins, a count is negative, NaN or infinite, or there is not one finite center per
        bin.

    Notes
    -----
    D is `energy_distance`, X a reference and Y a current row. Takes G^2 numbers: for some hundreds of bins.

    References
    ----------
    Szekely & Rizzo (2013), Journal of Statistical Planning and Inference 143:1249.

    Examples
    --------
    ``D^2 = 1.5``, and ``E|X - Y| = (1 + 3 + 0 + 2) / 4``:

    >>> round(float(energy_coefficient([10, 10, 0], [0, 10, 10], [0.0, 1.0, 3.0])), 4)
    0.5
    """
    a, b = shares("energy_coefficient", reference, current)
    places = np.asarray(centers, dtype=float)
    expected = np.einsum("...i,ij,...j->...", a, np.abs(places[:, None] - places), b)
    squared = energy_distance(reference, current, centers) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((expected == 0) & np.isfinite(squared), 0.0, squared / (2 * expected))


def _ecdf_difference(
    name: str, reference: ArrayLike, current: ArrayLike, centers: ArrayLike
) -> tuple[FloatArray, FloatArray]:
    a, b = shares(name, reference, current)
    places = np.asarray(centers, dtype=float)
    if places.shape != a.shape[-1:] or not np.isfinite(places).all():
        raise ValueError(
            f"{name}: centers have shape {places.shape}; pass one finite place per bin, shape {a.shape[-1:]}"
        )
    order = np.argsort(places, kind="stable")
    difference = np.cumsum((a - b)[..., order], axis=-1)[..., :-1]
    return difference, np.diff(places[order])
