"""Two-sample tests of numbers. Every test returns statistic, p-value and an effect that does not grow with the rows.

A p-value answers "could both sides be the same, to the last digit?", which no two days of a live stream are: with many
rows it is always small. Judge by the effect and its interval; use the p-value to rank the columns of one report.

References
----------
Scholz & Stephens (1987), JASA 82:918 (k-sample Anderson-Darling). Marsaglia & Marsaglia (2004), JSS 9(2) (its limit
law). Zolotarev (1961), Theory of Probability and its Applications 6:201 (tail of a weighted sum of chi-squares).
Anderson (1962), Annals of Mathematical Statistics 33:1148 (Cramer-von Mises). Epps & Singleton (1986), JSCS 26:177.
Massart (1990), Annals of Probability 18:1269 (band of an ECDF). Welch (1947), Biometrika 34:28. Bonett (2008),
Psychological Methods 13:99 (interval of a standardised difference).
"""

from __future__ import annotations

import warnings
from typing import cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtrc, stdtr, stdtrit

from metrics_py import scipy_functions
from metrics_py.confidence import check_confidence
from metrics_py.drift.ecdf_laws import anderson_darling_tail, cramer_von_mises_statistic, cramer_von_mises_tail
from metrics_py.drift.effects import superiority
from metrics_py.drift.samples import pair, tabulate
from metrics_py.results import TestResult

FloatArray = NDArray[np.float64]
EPPS_SINGLETON_ROWS = 5
EPPS_SINGLETON_PLACES = np.array([0.4, 0.8])
SINGULAR = 1e-12
FAR = 1e9
CRAMER_VON_MISES_EXACT, CRAMER_VON_MISES_FAR = 20, 1e-6
"""Rows of the larger side up to which scipy's p-value is exact; p-value below which the far tail stands in (1 %)."""


def undefined(method: str, m: int, n: int, reason: str) -> TestResult:
    """Result without a p-value, with the reason.

    Parameters
    ----------
    method : str
        Name and variant of the test.
    m, n : int
        Reference and current rows.
    reason : str
        Why the test is undefined on these data.

    Returns
    -------
    TestResult
        With the status ``insufficient_data``.
    """
    return TestResult(None, None, None, None, None, m, n, method, "insufficient_data", reason)


def too_few(method: str, m: int, n: int, needed: int = 1) -> TestResult | None:
    """The undefined result when a side has fewer rows than needed.

    Parameters
    ----------
    method : str
        Name and variant of the test.
    m, n : int
        Reference and current rows.
    needed : int, default 1
        Fewest rows of either side.

    Returns
    -------
    TestResult or None
        None when both sides have enough.
    """
    if min(m, n) >= needed:
        return None
    side = "reference" if m < needed else "current"
    return undefined(method, m, n, f"{min(m, n)} {side} values, at least {needed} needed")


def _superiority(a: FloatArray, b: FloatArray, confidence: float) -> tuple[float, float | None, float | None]:
    """P(current > reference) + P(equal) / 2 and its interval; none with a single row on a side."""
    _, m, n = tabulate(a, b)
    value, low, high = superiority(m, n, confidence=confidence)
    if min(len(a), len(b)) < 2:
        return float(value), None, None
    return float(value), float(low), float(high)


def ks_test(reference: ArrayLike, current: ArrayLike, *, confidence: float = 0.95) -> TestResult:
    """Kolmogorov-Smirnov test, two-sided.

    Parameters
    ----------
    reference, current : array_like, shapes (m,) and (n,)
        Finite numbers or booleans.
    confidence : float, default 0.95
        Of the interval of the effect.

    Returns
    -------
    TestResult
        Statistic and effect: D, the largest gap between the ECDFs, in [0, 1]; its interval comes from the bands of both
        ECDFs and holds for any distribution and any n. ``insufficient_data`` without rows on a side.

    Raises
    ------
    ValueError
        If a side is not one-dimensional or holds NaN or infinity, or `confidence` does not lie between 0 and 1.
    TypeError
        If a side does not hold numbers.

    Notes
    -----
    ``D = max_x |F(x) - G(x)|``, F and G the ECDFs. The p-value is exact for samples of up to 10,000 rows where that can
    be computed, else asymptotic (scipy's `ks_2samp`). The interval adds up the half-widths
    ``sqrt(ln(4 / (1 - confidence)) / (2 n))`` of both sides (Dvoretzky-Kiefer-Wolfowitz with Massart's constant):
    guaranteed, so wider than needed.

    Rows are independent. With ties the p-value is an upper bound: for values that repeat, `anderson_darling` or
    `cramer_von_mises` find more. D looks at the middle of a distribution; for tails take `anderson_darling`.

    References
    ----------
    Smirnov (1939), Bull. Math. Univ. Moscou 2(2):3. Hodges (1958), Arkiv for Matematik 3:469 (exact p).
    Massart (1990), Annals of Probability 18:1269. Conover (1971), Practical Nonparametric Statistics, ch. 6.

    Examples
    --------
    Conover's samples, D = 0.4:

    >>> x = [7.6, 8.4, 8.6, 8.7, 9.3, 9.9, 10.1, 10.6, 11.2]
    >>> y = [5.2, 5.7, 5.9, 6.5, 6.8, 8.2, 9.1, 9.8, 10.8, 11.3, 11.5, 12.3, 12.5, 13.4, 14.6]
    >>> found = ks_test(x, y)
    >>> round(found.statistic, 3), round(found.p_value, 4)
    (0.4, 0.2653)

    Of the 70 ways to deal eight values to two sides, 2 keep all of one side below the other:

    >>> round(70 * ks_test([1, 2, 3, 4], [5, 6, 7, 8]).p_value, 9)
    2.0
    """
    check_confidence(confidence)
    a, b = pair("ks_test", reference, current)
    method = "Kolmogorov-Smirnov, two-sided"
    if few := too_few(method, len(a), len(b)):
        return few
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # exact p-value not reachable: scipy takes the asymptotic one
        d, p_value = scipy_functions.ks_2samp(a, b)
    band = float(sum(np.sqrt(np.log(4 / (1 - confidence)) / (2 * len(x))) for x in (a, b)))
    return TestResult(d, p_value, d, max(0.0, d - band), min(1.0, d + band), len(a), len(b), method)


def anderson_darling(reference: ArrayLike, current: ArrayLike, *, confidence: float = 0.95) -> TestResult:
    """Anderson-Darling k-sample test (midranks), with a p-value of any size.

    Parameters
    ----------
    reference, current : array_like, shapes (m,) and (n,)
        Finite numbers or booleans.
    confidence : float, default 0.95
        Of the interval of the effect.

    Returns
    -------
    TestResult
        Statistic: Scholz and Stephens' standardised T. p-value: from the limit law of ``A2 = 1 + sigma T``, with ties
        from the law that they give it. Effect: P(current > reference) + P(equal) / 2. ``insufficient_data`` without
        rows on a side, or with fewer than four altogether.

    Raises
    ------
    ValueError
        If a side is not one-dimensional or holds NaN or infinity, or `confidence` does not lie between 0 and 1.
    TypeError
        If a side does not hold numbers.

    Notes
    -----
    A2 is the integral of ``m n / N (F - G)^2 / (H (1 - H)) dH``, H the pooled ECDF, taken at midranks: squared gaps of
    the ECDFs with more weight on the tails than `cramer_von_mises` gives them. T is A2 less its mean 1, in its standard
    deviations for m and n values without ties. Without ties P(A2 > z) is Marsaglia's approximation, beyond 8 the
    leading term of the exact tail ``sqrt(3) P(chi2_1 > 2 z)``; with ties the law is that of the tied values
    (`metrics_py.drift.ecdf_laws`): the tables' p-values are about half as large there.

    Rows are independent. The law is a limit: below some ten rows on a side the p-value is rough. The effect sees a
    shift of location only, the test any difference.

    References
    ----------
    Scholz & Stephens (1987), JASA 82:918. Marsaglia & Marsaglia (2004), JSS 9(2). Zolotarev (1961), Theory of
    Probability and its Applications 6:201 (tail). Conover (1971), Practical Nonparametric Statistics, ch. 6 (the
    samples below).

    Examples
    --------
    >>> x = [7.6, 8.4, 8.6, 8.7, 9.3, 9.9, 10.1, 10.6, 11.2]
    >>> y = [5.2, 5.7, 5.9, 6.5, 6.8, 8.2, 9.1, 9.8, 10.8, 11.3, 11.5, 12.3, 12.5, 13.4, 14.6]
    >>> found = anderson_darling(x, y)
    >>> round(found.statistic, 3), round(found.p_value, 3)
    (0.887, 0.149)
    """
    check_confidence(confidence)
    a, b = pair("anderson_darling", reference, current)
    method = "Anderson-Darling, k-sample, midranks"
    if few := too_few(method, len(a), len(b)):
        return few
    effect = _superiority(a, b, confidence)
    if a.min() == a.max() == b.min() == b.max():
        return TestResult(0.0, 1.0, *effect, len(a), len(b), method)
    if len(a) + len(b) < 4:
        return undefined(method, len(a), len(b), f"{len(a) + len(b)} values on both sides together, at least 4 needed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # scipy's p-value is a table look-up with two ends: not used
        statistic, _ = scipy_functions.anderson_ksamp(a, b)
    a2 = 1 + statistic * _anderson_darling_sd(len(a), len(b))
    _, x, y = tabulate(a, b)
    p_value = anderson_darling_tail(a2, x + y) if len(x) < len(a) + len(b) else _anderson_darling_tail(a2)
    return TestResult(statistic, p_value, *effect, len(a), len(b), method)


def _anderson_darling_sd(m: int, n: int) -> float:
    """Standard deviation of A2 for two samples without ties (Scholz & Stephens 1987, equation 4)."""
    total = m + n
    h_sizes = 1 / m + 1 / n
    h = float((1 / np.arange(1, total)).sum())
    i = np.arange(1, total - 1)
    tails = np.cumsum((1 / np.arange(1, total))[::-1])[::-1]  # sum_{j >= i} 1 / j up to N - 1
    g = float((tails[i] / (total - i)).sum())
    k = 2
    c3 = (4 * g - 6) * (k - 1) + (10 - 6 * g) * h_sizes
    c2 = (2 * g - 4) * k**2 + 8 * h * k + (2 * g - 14 * h - 4) * h_sizes - 8 * h + 4 * g - 6
    c1 = (6 * h + 2 * g - 2) * k**2 + (4 * h - 4 * g + 6) * k + (2 * h - 6) * h_sizes + 4 * h
    c0 = (2 * h + 6) * k**2 - 4 * h * k
    variance = (c3 * total**3 + c2 * total**2 + c1 * total + c0) / ((total - 1) * (total - 2) * (total - 3))
    return float(np.sqrt(variance))


def _anderson_darling_tail(z: float) -> float:
    """P(sum_j Z_j^2 / (j (j + 1)) > z): Marsaglia's approximation, beyond 8 the leading term of the exact tail."""
    if z <= 0.02:
        return 1.0
    if z >= 8:
        return float(np.sqrt(3) * chdtrc(1, 2 * z))
    if z < 2:
        poly = np.polynomial.polynomial.polyval(z, [2.00012, 0.247105, -0.0649821, 0.0347962, -0.0116720, 0.00168691])
        return float(np.clip(1 - np.exp(-1.2337141 / z) / np.sqrt(z) * poly, 0, 1))
    poly = np.polynomial.polynomial.polyval(z, [1.0776, -2.30695, 0.43424, -0.082433, 0.008056, -0.0003146])
    return float(-np.expm1(-np.exp(poly)))


def cramer_von_mises(reference: ArrayLike, current: ArrayLike, *, confidence: float = 0.95) -> TestResult:
    """Two-sample Cramer-von Mises test.

    Parameters
    ----------
    reference, current : array_like, shapes (m,) and (n,)
        Finite numbers or booleans.
    confidence : float, default 0.95
        Of the interval of the effect.

    Returns
    -------
    TestResult
        Statistic: T as scipy's, with ties the mean of its values just below and at each of them. p-value: scipy's, with
        ties from the law that they give T. Effect: P(current > reference) + P(equal) / 2. ``insufficient_data`` with
        fewer than two rows on a side.

    Raises
    ------
    ValueError
        If a side is not one-dimensional or holds NaN or infinity, or `confidence` does not lie between 0 and 1.
    TypeError
        If a side does not hold numbers.

    Notes
    -----
    ``T = m n / N^2 * sum (F - G)^2`` over all N values, F and G the ECDFs: every gap counts, not the largest alone as
    in `ks_test`. Without ties the p-value is scipy's (`cramervonmises_2samp`): exact for small samples, else Anderson's
    limit law. Scipy's formula for T and its p-value hold without ties only; here ties have a law of their own
    (`metrics_py.drift.ecdf_laws`). Below 1e-6 the leading term of the limit law's tail stands in, within 1 %.

    Rows are independent. Differences in the tails weigh little: take `anderson_darling` for these.

    References
    ----------
    Anderson (1962), Annals of Mathematical Statistics 33:1148. Zolotarev (1961), Theory of Probability and its
    Applications 6:201 (tail). Choulakian, Lockhart & Stephens (1994), Canadian Journal of Statistics 22:125 (ties).
    Conover (1971), Practical Nonparametric Statistics, ch. 6.

    Examples
    --------
    Conover's samples, T = 0.262:

    >>> x = [7.6, 8.4, 8.6, 8.7, 9.3, 9.9, 10.1, 10.6, 11.2]
    >>> y = [5.2, 5.7, 5.9, 6.5, 6.8, 8.2, 9.1, 9.8, 10.8, 11.3, 11.5, 12.3, 12.5, 13.4, 14.6]
    >>> found = cramer_von_mises(x, y)
    >>> round(found.statistic, 3), round(found.p_value, 3)
    (0.262, 0.187)
    """
    check_confidence(confidence)
    a, b = pair("cramer_von_mises", reference, current)
    method = "Cramer-von Mises, two-sample"
    if few := too_few(method, len(a), len(b), 2):
        return few
    effect = _superiority(a, b, confidence)
    if a.min() == a.max() == b.min() == b.max():
        return TestResult(0.0, 1.0, *effect, len(a), len(b), method)
    _, x, y = tabulate(a, b)
    statistic = cramer_von_mises_statistic(x, y)
    if len(x) < len(a) + len(b):
        p_value = cramer_von_mises_tail(statistic, x + y)
    else:
        p_value = float(np.clip(scipy_functions.cramervonmises_2samp(a, b)[1], 0, 1))
        if max(len(a), len(b)) > CRAMER_VON_MISES_EXACT:  # scipy's law is 1 - cdf: rounding where the tail is small
            far = _cramer_von_mises_far_tail(statistic, len(a), len(b))
            p_value = far if far < CRAMER_VON_MISES_FAR else p_value
    return TestResult(statistic, p_value, *effect, len(a), len(b), method)


def _cramer_von_mises_far_tail(statistic: float, m: int, n: int) -> float:
    """Leading term of the limit law's tail, ``sqrt(2) P(chi2_1 > pi^2 z)``, z with the law's mean and variance."""
    total = m + n
    mean = (1 + 1 / total) / 6
    variance = (total + 1) * (4 * m * n * total - 3 * (m**2 + n**2) - 2 * m * n) / (45 * total**2 * 4 * m * n)
    z = 1 / 6 + (statistic - mean) / np.sqrt(45 * variance)
    return float(np.sqrt(2) * chdtrc(1, np.pi**2 * max(z, 0.0)))


def epps_singleton(reference: ArrayLike, current: ArrayLike, *, confidence: float = 0.95) -> TestResult:
    """Epps-Singleton test of equal characteristic functions; good for discrete values.

    Parameters
    ----------
    reference, current : array_like, shapes (m,) and (n,)
        Finite numbers or booleans.
    confidence : float, default 0.95
        Of the interval of the effect.

    Returns
    -------
    TestResult
        Statistic: W, chi-square with 4 degrees of freedom. Effect: P(current > reference) + P(equal) / 2.
        ``insufficient_data`` with fewer than 5 values on a side, where half of all values are equal (no interquartile
        range), or where there are too few distinct values.

    Raises
    ------
    ValueError
        If a side is not one-dimensional or holds NaN or infinity, or `confidence` does not lie between 0 and 1.
    TypeError
        If a side does not hold numbers.

    Notes
    -----
    With g the difference of the sides' means of ``cos(t x / s), sin(t x / s)`` at t = 0.4 and 0.8, s half the
    interquartile range of all values, and S the covariance of these four of all values together,
    ``W = g' S^-1 g / (1/m + 1/n)``. Epps and Singleton take a covariance for each side, as scipy does; then one of five
    unchanged samples of 100 values differs from 2,000 at the 5 % level. Values 1e9 interquartile ranges from the median
    count as that far.

    Rows are independent. The law is a limit; below some 25 rows on a side it is rough. Not for values of which half are
    equal, and not where only a shift matters: `mann_whitney` finds that with fewer rows.

    References
    ----------
    Epps & Singleton (1986), JSCS 26:177. Goerg & Kaiser (2009), Stata Journal 9:454.

    Examples
    --------
    The ten values per side of Goerg and Kaiser; with a covariance per side scipy gives W = 15.16:

    >>> x = [-0.35, 2.55, 1.73, 0.73, 0.35, 2.69, 0.46, -0.94, -0.37, 12.07]
    >>> y = [-1.15, -0.15, 2.48, 3.25, 3.71, 4.29, 5.00, 7.74, 8.38, 8.60]
    >>> found = epps_singleton(x, y)
    >>> round(found.statistic, 2), round(found.p_value, 4)
    (10.6, 0.0315)
    """
    check_confidence(confidence)
    a, b = pair("epps_singleton", reference, current)
    method = "Epps-Singleton, t = 0.4, 0.8"
    if few := too_few(method, len(a), len(b), EPPS_SINGLETON_ROWS):
        return few
    unit = float(max(np.abs(a).max(), np.abs(b).max())) or 1.0
    low, middle, high = np.percentile(np.concatenate([a / unit, b / unit]), [25, 50, 75])
    if high == low:
        return undefined(method, len(a), len(b), "half of all values are equal: the interquartile range is 0")
    # The test does not depend on unit and origin, its arithmetic does; cosines of farther values would be noise.
    values = np.concatenate([a / unit, b / unit])
    angles = np.outer(EPPS_SINGLETON_PLACES * 2, np.clip((values - middle) / (high - low), -FAR, FAR))
    parts = np.concatenate([np.cos(angles), np.sin(angles)])
    covariance = np.cov(parts) * (1 / len(a) + 1 / len(b))
    spread = np.linalg.eigvalsh(covariance)
    if spread[0] <= SINGULAR * spread[-1]:
        return undefined(method, len(a), len(b), "the covariance of the characteristic functions cannot be inverted")
    gap = parts[:, : len(a)].mean(axis=1) - parts[:, len(a) :].mean(axis=1)
    statistic = float(gap @ cast("FloatArray", np.linalg.solve(covariance, gap)))
    effect = _superiority(a, b, confidence)
    return TestResult(statistic, float(chdtrc(len(gap), statistic)), *effect, len(a), len(b), method)


def welch_t(reference: ArrayLike, current: ArrayLike, *, confidence: float = 0.95) -> TestResult:
    """Welch's t test of equal means, two-sided.

    Parameters
    ----------
    reference, current : array_like, shapes (m,) and (n,)
        Finite numbers or booleans.
    confidence : float, default 0.95
        Of the interval of the effect.

    Returns
    -------
    TestResult
        Statistic: t, positive when the current mean is higher. Effect: difference of the means in pooled standard
        deviations (Cohen's d), with an interval that allows for the noise of the standard deviations too.
        ``insufficient_data`` with fewer than two rows on a side, or where both sides are constant and differ; of equal
        constants there is a p-value of 1, but no interval.

    Raises
    ------
    ValueError
        If a side is not one-dimensional or holds NaN or infinity, or `confidence` does not lie between 0 and 1.
    TypeError
        If a side does not hold numbers.

    Notes
    -----
    ``t = (b - a) / sqrt(v_a / m + v_b / n)`` with the sample variances v and Welch's degrees of freedom
    ``(v_a / m + v_b / n)^2 / ((v_a / m)^2 / (m - 1) + (v_b / n)^2 / (n - 1))``. The effect is ``(b - a) / s`` with
    ``s^2 = (v_a + v_b) / 2``; its interval is Bonett's equation 5 with Student's quantile.

    Rows are independent, and means are about normal: with heavy tails or one huge value the test sees little, take
    `mann_whitney`. Equal variances are not assumed. It sees means only.

    References
    ----------
    Welch (1947), Biometrika 34:28. Bonett (2008), Psychological Methods 13:99. Student (1908), Biometrika 6:1 (the data
    below).

    Examples
    --------
    Student's hours of sleep gained by ten patients with either drug; R's ``t.test`` gives t = 1.8608, p = 0.07939:

    >>> first = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    >>> second = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    >>> found = welch_t(first, second)
    >>> round(found.statistic, 4), round(found.p_value, 5), round(found.effect, 3)
    (1.8608, 0.07939, 0.832)
    """
    check_confidence(confidence)
    a, b = pair("welch_t", reference, current)
    method = "Welch t, two-sided"
    m, n = len(a), len(b)
    if few := too_few(method, m, n, 2):
        return few
    unit = float(max(np.abs(a).max(), np.abs(b).max()))
    if unit > 0:  # squares of huge or tiny values must stay finite
        a, b = a / unit, b / unit
    va, vb = float(a.var(ddof=1)) / m, float(b.var(ddof=1)) / n
    difference = float(b.mean() - a.mean())
    if va + vb == 0:
        if difference == 0:
            return TestResult(0.0, 1.0, 0.0, None, None, m, n, method)
        return undefined(method, m, n, "both sides are constant: there is no variance to compare the means with")
    error = np.sqrt(va + vb)
    df = (va + vb) ** 2 / (va**2 / (m - 1) + vb**2 / (n - 1))
    t = difference / error
    squared = (va * m + vb * n) / 2
    d = difference / float(np.sqrt(squared))
    of_scale = d**2 * ((va * m) ** 2 / (m - 1) + (vb * n) ** 2 / (n - 1)) / (8 * squared**2)
    half = float(stdtrit(df, 0.5 + confidence / 2) * np.sqrt((va + vb) / squared + of_scale))
    return TestResult(float(t), float(2 * stdtr(df, -abs(t))), d, d - half, d + half, m, n, method)


def mann_whitney(reference: ArrayLike, current: ArrayLike, *, confidence: float = 0.95) -> TestResult:
    """Mann-Whitney U test, two-sided, with tie correction (exact for small samples without ties).

    Parameters
    ----------
    reference, current : array_like, shapes (m,) and (n,)
        Finite numbers or booleans.
    confidence : float, default 0.95
        Of the interval of the effect.

    Returns
    -------
    TestResult
        Statistic: U of the current rows. Effect: U / (m n) = P(current > reference) + P(equal) / 2, with DeLong's
        interval. ``insufficient_data`` without rows on a side.

    Raises
    ------
    ValueError
        If a side is not one-dimensional or holds NaN or infinity, or `confidence` does not lie between 0 and 1.
    TypeError
        If a side does not hold numbers.

    Notes
    -----
    U is the number of pairs in which the current value is the larger one, ties counting half. The p-value is scipy's
    (`mannwhitneyu`): exact without ties where a side has at most 8 rows, else normal with corrections for ties and
    continuity. The interval is that of `metrics_py.drift.effects.superiority`.

    Rows are independent. The p-value is of equal distributions; where only the spreads differ it does not keep its
    level as a test of ``U / (m n) = 1/2``, but the interval does. It sees a shift, not a change of spread or shape.

    References
    ----------
    Mann & Whitney (1947), AMS 18:50. DeLong, DeLong & Clarke-Pearson (1988), Biometrics 44:837. Hollander & Wolfe
    (1973), Nonparametric Statistical Methods, p. 69 (the data below).

    Examples
    --------
    Permeability of membranes at term and at 12 to 26 weeks; R's ``wilcox.test`` gives W = 35 and p = 0.2544:

    >>> weeks = [1.15, 0.88, 0.90, 0.74, 1.21]
    >>> at_term = [0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46]
    >>> found = mann_whitney(weeks, at_term)
    >>> found.statistic, round(found.p_value, 4), round(found.effect, 3)
    (35.0, 0.2544, 0.7)
    """
    check_confidence(confidence)
    a, b = pair("mann_whitney", reference, current)
    method = "Mann-Whitney U, two-sided"
    if few := too_few(method, len(a), len(b)):
        return few
    effect = _superiority(a, b, confidence)
    if a.min() == a.max() == b.min() == b.max():
        return TestResult(len(a) * len(b) / 2, 1.0, *effect, len(a), len(b), method)
    return TestResult(*scipy_functions.mannwhitneyu(b, a), *effect, len(a), len(b), method)
