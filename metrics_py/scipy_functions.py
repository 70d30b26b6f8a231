"""The functions of scipy whose modules are slow to import or have no types: typed, and imported when first called.

``scipy.stats`` takes 0.5 s to import, more than everything else here together.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def _function(module: str, name: str) -> Callable[..., Any]:
    return cast("Callable[..., Any]", getattr(import_module(module), name))


def _test(name: str, *arguments: object, **settings: object) -> tuple[float, float]:
    found = _function("scipy.stats", name)(*arguments, **settings)
    return float(found.statistic), float(found.pvalue)


def ks_2samp(a: FloatArray, b: FloatArray) -> tuple[float, float]:
    """Two-sided Kolmogorov-Smirnov test (``scipy.stats.ks_2samp``).

    Parameters
    ----------
    a, b : ndarray, shapes (m,) and (n,)
        Finite values.

    Returns
    -------
    statistic, p_value : float
        The p-value is exact where it can be computed.
    """
    return _test("ks_2samp", a, b)


def anderson_ksamp(a: FloatArray, b: FloatArray) -> tuple[float, float]:
    """Anderson-Darling test of two samples, by midranks (``scipy.stats.anderson_ksamp``).

    Parameters
    ----------
    a, b : ndarray, shapes (m,) and (n,)
        Finite values, not all equal.

    Returns
    -------
    statistic, p_value : float
        The p-value is looked up in a table with two ends.
    """
    return _test("anderson_ksamp", [a, b], variant="midrank")


def cramervonmises_2samp(a: FloatArray, b: FloatArray) -> tuple[float, float]:
    """Cramer-von Mises test of two samples (``scipy.stats.cramervonmises_2samp``).

    Parameters
    ----------
    a, b : ndarray, shapes (m,) and (n,)
        Finite values without ties.

    Returns
    -------
    statistic, p_value : float
        The p-value may lie beyond [0, 1] by rounding.
    """
    return _test("cramervonmises_2samp", a, b)


def mannwhitneyu(a: FloatArray, b: FloatArray) -> tuple[float, float]:
    """Two-sided Mann-Whitney test (``scipy.stats.mannwhitneyu``).

    Parameters
    ----------
    a, b : ndarray, shapes (m,) and (n,)
        Finite values, not all equal.

    Returns
    -------
    statistic, p_value : float
        The statistic is U of `a`.
    """
    return _test("mannwhitneyu", a, b, alternative="two-sided")


def fisher_exact(table: list[list[int]]) -> tuple[float, float]:
    """Fisher's exact test, two-sided (``scipy.stats.fisher_exact``).

    Parameters
    ----------
    table : list of list of int, shape (2, 2)
        Counts.

    Returns
    -------
    statistic, p_value : float
        The statistic is the sample's odds ratio; the p-value may lie beyond [0, 1] by rounding.
    """
    return _test("fisher_exact", table)


def wasserstein_distance(a: FloatArray, b: FloatArray) -> float:
    """Wasserstein-1 distance (``scipy.stats.wasserstein_distance``).

    Parameters
    ----------
    a, b : ndarray, shapes (m,) and (n,)
        Finite values.

    Returns
    -------
    float
        In the unit of the values.
    """
    return float(_function("scipy.stats", "wasserstein_distance")(a, b))


def energy_distance(a: FloatArray, b: FloatArray) -> float:
    """Energy distance (``scipy.stats.energy_distance``).

    Parameters
    ----------
    a, b : ndarray, shapes (m,) and (n,)
        Finite values.

    Returns
    -------
    float
        In the root of the unit of the values.
    """
    return float(_function("scipy.stats", "energy_distance")(a, b))


def rankdata(values: FloatArray) -> FloatArray:
    """Midranks, as ``scipy.stats.rankdata`` has them.

    Parameters
    ----------
    values : ndarray, shape (n,)
        Finite.

    Returns
    -------
    ndarray, shape (n,)
        From 1 to n, ties sharing the mean of theirs.

    Examples
    --------
    >>> rankdata(np.array([3.0, 1.0, 3.0])).tolist()
    [2.5, 1.0, 2.5]
    """
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[places]


def brentq(function: Callable[[float], float], low: float, high: float, *, xtol: float) -> float:
    """Root of a function between two places where it differs in sign (``scipy.optimize.brentq``).

    Parameters
    ----------
    function : callable
        Continuous.
    low, high : float
        Places around the root.
    xtol : float
        How precise the root is.

    Returns
    -------
    float
        The root.
    """
    return float(_function("scipy.optimize", "brentq")(function, low, high, xtol=xtol))


def digamma(x: FloatArray) -> FloatArray:
    """Logarithmic derivative of the gamma function (``scipy.special.digamma``).

    Parameters
    ----------
    x : ndarray
        Positive.

    Returns
    -------
    ndarray
        Of the same shape.
    """
    return _function("scipy.special", "digamma")(x)


def median_filter(values: FloatArray, size: int) -> FloatArray:
    """Running median (``scipy.ndimage.median_filter``); the ends are repeated.

    Parameters
    ----------
    values : ndarray, shape (n,)
        Finite values.
    size : int
        Width of the window.

    Returns
    -------
    ndarray, shape (n,)
        Median of the values around each.
    """
    return np.asarray(_function("scipy.ndimage", "median_filter")(values, size=size, mode="nearest"), dtype=np.float64)


def poisson_interval(count: float) -> tuple[float, float]:
    """95 % interval of the mean of a Poisson count, exact on both sides (Garwood).

    Parameters
    ----------
    count : float
        Events seen.

    Returns
    -------
    low, high : float
        Each is missed with a probability of at most 0.025.

    References
    ----------
    Garwood (1936), Biometrika 28:437.

    Examples
    --------
    >>> [round(bound, 3) for bound in poisson_interval(10)]
    [4.795, 18.39]
    """
    inverse = _function("scipy.special", "gammaincinv")
    return float(inverse(count, 0.025)) if count else 0.0, float(inverse(count + 1, 0.975))


def hypergeometric_tail(count: FloatArray, n_all: int, n_marked: float, n_drawn: NDArray[np.int64]) -> FloatArray:
    """Probability of so many marked rows or more among rows drawn without looking (``scipy.stats.hypergeom.sf``).

    Parameters
    ----------
    count : ndarray, shape (k,)
        Marked rows among those drawn.
    n_all : int
        Rows there are.
    n_marked : float
        Marked ones among them.
    n_drawn : integer ndarray, shape (k,)
        Rows drawn.

    Returns
    -------
    ndarray, shape (k,)
        One-sided p-values of Fisher's exact test.
    """
    distribution = getattr(import_module("scipy.stats"), "hypergeom")  # noqa: B009 (scipy has no types)
    return np.asarray(distribution.sf(np.asarray(count) - 1, n_all, n_marked, n_drawn), dtype=np.float64)


def normal_tail(z: FloatArray) -> FloatArray:
    """Probability that a normal number exceeds z (``scipy.special.ndtr`` of ``-z``).

    Parameters
    ----------
    z : ndarray
        In standard deviations.

    Returns
    -------
    ndarray
        Of the same shape.
    """
    return np.asarray(_function("scipy.special", "ndtr")(-np.asarray(z)), dtype=np.float64)


def t_tail(t: float, degrees_of_freedom: float) -> float:
    """Probability that Student's t exceeds a number (``scipy.special.stdtr``).

    Parameters
    ----------
    t : float
        The number.
    degrees_of_freedom : float
        Positive.

    Returns
    -------
    float
        One-sided.
    """
    return float(_function("scipy.special", "stdtr")(degrees_of_freedom, -t))


def t_tails(t: FloatArray, degrees_of_freedom: float) -> FloatArray:
    """As `t_tail`, of many numbers.

    Parameters
    ----------
    t : ndarray
        The numbers.
    degrees_of_freedom : float
        Positive; infinite for the normal law.

    Returns
    -------
    ndarray
        Of the same shape.
    """
    return np.asarray(_function("scipy.special", "stdtr")(degrees_of_freedom, -np.asarray(t)), dtype=np.float64)


def trigamma(x: FloatArray) -> FloatArray:
    """Second logarithmic derivative of the gamma function (``scipy.special.polygamma`` of order 1).

    Parameters
    ----------
    x : ndarray
        Positive.

    Returns
    -------
    ndarray
        Of the same shape.
    """
    return np.asarray(_function("scipy.special", "polygamma")(1, np.asarray(x)), dtype=np.float64)


def minimize(function: Callable[[FloatArray], tuple[float, FloatArray]], start: FloatArray) -> FloatArray:
    """Minimum of a smooth function by L-BFGS (``scipy.optimize.minimize``).

    Parameters
    ----------
    function : callable
        Returns its value and its gradient.
    start : ndarray, shape (k,)
        Where to begin.

    Returns
    -------
    ndarray, shape (k,)
        The place found.

    Examples
    --------
    >>> minimize(lambda x: (float(((x - 3) ** 2).sum()), 2 * (x - 3)), np.zeros(1)).round(3).tolist()
    [3.0]
    """
    found = _function("scipy.optimize", "minimize")(function, start, jac=True, method="L-BFGS-B")
    return np.asarray(found.x, dtype=np.float64)


def sparse_rows(value: FloatArray, row: NDArray[Any], column: NDArray[Any], shape: tuple[int, int]) -> Any:
    """A sparse matrix (``scipy.sparse.csr_array``).

    Parameters
    ----------
    value, row, column : ndarray, shape (n,)
        What stands where.
    shape : tuple of int
        Rows and columns.

    Returns
    -------
    scipy.sparse.csr_array
        With ``@``.
    """
    return _function("scipy.sparse", "csr_array")((value, (row, column)), shape=shape)


def truncated_svd(matrix: Any, k: int) -> tuple[FloatArray, FloatArray]:
    """Largest singular values and their right vectors (``scipy.sparse.linalg.svds``), from a fixed start.

    Parameters
    ----------
    matrix : sparse array, shape (n, d)
        Of floats.
    k : int
        Fewer than n and d.

    Returns
    -------
    value : ndarray, shape (k,)
        The largest first.
    vector : ndarray, shape (d, k)
        Orthonormal columns.
    """
    size = int(min(matrix.shape))
    start = np.random.Generator(np.random.PCG64(k)).standard_normal(size)
    _, value, vector = _function("scipy.sparse.linalg", "svds")(matrix, k=k, v0=start, return_singular_vectors="vh")
    order = np.argsort(-value)
    return np.asarray(value[order], dtype=np.float64), np.asarray(vector[order].T, dtype=np.float64)
