"""Two-sample tests of numbers. Every test returns statistic, p-value and an effect that does not grow with the rows.

A p-value answers "could both sides be the same, to the last digit?", which no two days of a live stream are: with many rows it
is always small. Judge by the effect and its interval; use the p-value to rank the columns of one report.

References
----------
Scholz & Stephens (1987), JASA 82:918 (k-sample Anderson-Darling). Marsaglia & Marsaglia (2004), JSS 9(2) (its limit law).
Zolotarev (1961), Theory of Probability and its Applications 6:201 (tail of a weighted sum of chi-squares).
Anderson (1962), Annals of Mathematical Statistics 33:1148 (Cramer-von Mises). Epps & Singleton (1986), JSCS 26:177.
Massart (1990), Annals of Probability 18:1269 (band of an ECDF). Welch (1947), Biometrika 34:28. Bonett (2008), Psychological
Methods 13:99 (interval of a standardised difference).
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtrc, stdtr, stdtrit

from metrics_py.drift.ecdf_laws import anderson_darling_tail, cramer_von_mises_statistic, cramer_von_mises_tail
from metrics_py.drift.effects import superiority
from metrics_py.drift.samples import pair, tabulate
from metrics_py.registry import metric
from metrics_py.results import TestResult

FloatArray = NDArray[np.float64]
EPPS_SINGLETON_ROWS = 5
EPPS_SINGLETON_PLACES = np.array([0.4, 0.8])
SINGULAR = 1e-12
FAR = 1e9


def undefined(method: str, m: int, n: int, reason: str) -> TestResult:
    """Result without a p-value, with the reason."""
    return TestResult(None, None, None, None, None, m, n, method, "insufficient_data", reason)


def too_few(method: str, m: int, n: int, needed: int = 1) -> TestResult | None:
    """The undefined result when a side has fewer rows than needed."""
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


@metric(
    name="ks",
    task="drift",
    needs="values",
    returns="test",
    range=(0, 1),
    references=("Smirnov (1939)", "Massart (1990), Annals of Probability 18:1269"),
    invariances=("symmetric", "scale", "shift", "monotone"),
)
def ks_test(reference: ArrayLike, current: ArrayLike, *, confidence: float = 0.95) -> TestResult:
    """Kolmogorov-Smirnov test, two-sided.

    Returns
    -------
    TestResult
        Statistic and effect: D, the largest gap between the ECDFs, in [0, 1]; its interval comes from the bands of both
        ECDFs (Dvoretzky-Kiefer-Wolfowitz with Massart's constant) and holds for any distribution and any n. With ties the
        p-value is an upper bound: for values that repeat, Anderson-Darling or Cramer-von Mises find more.
    """
    a, b = pair("ks_test", reference, current)
    method = "Kolmogorov-Smirnov, two-sided"
    if few := too_few(method, len(a), len(b)):
        return few
    from scipy.stats import ks_2samp

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # exact p-value not reachable: scipy takes the asymptotic one
        found: Any = ks_2samp(a, b)
    band = float(sum(np.sqrt(np.log(4 / (1 - confidence)) / (2 * len(x))) for x in (a, b)))
    d = float(found.statistic)
    return TestResult(d, float(found.pvalue), d, max(0.0, d - band), min(1.0, d + band), len(a), len(b), method)


@metric(
    name="anderson_darling",
    task="drift",
    needs="values",
    returns="test",
    references=("Scholz & Stephens (1987), JASA 82:918", "Marsaglia & Marsaglia (2004), JSS 9(2)"),
    invariances=("symmetric", "scale", "shift", "monotone"),
)
def anderson_darling(reference: ArrayLike, current: ArrayLike, *, confidence: float = 0.95) -> TestResult:
    """Anderson-Darling k-sample test (midranks), with a p-value of any size.

    Returns
    -------
    TestResult
        Statistic: Scholz and Stephens' standardised T. p-value: from the limit law of ``A2 = 1 + sigma T``, with ties from the
        law that they give it (`ecdf_laws`; the tables' p-values would be half as large). Effect: P(current > reference) +
        P(equal) / 2.
    """
    a, b = pair("anderson_darling", reference, current)
    method = "Anderson-Darling, k-sample, midranks"
    if few := too_few(method, len(a), len(b)):
        return few
    effect = _superiority(a, b, confidence)
    if a.min() == a.max() == b.min() == b.max():
        return TestResult(0.0, 1.0, *effect, len(a), len(b), method)
    if len(a) + len(b) < 4:
        return undefined(method, len(a), len(b), f"{len(a) + len(b)} values on both sides together, at least 4 needed")
    from scipy.stats import anderson_ksamp

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # scipy's p-value is a table look-up with two ends: not used
        found: Any = anderson_ksamp([a, b], variant="midrank")
    statistic = float(found.statistic)
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


@metric(
    name="cramer_von_mises",
    task="drift",
    needs="values",
    returns="test",
    range=(0, np.inf),
    references=("Anderson (1962), AMS 33:1148", "Choulakian, Lockhart & Stephens (1994), CJS 22:125"),
    invariances=("symmetric", "scale", "shift", "monotone"),
)
def cramer_von_mises(reference: ArrayLike, current: ArrayLike, *, confidence: float = 0.95) -> TestResult:
    """Two-sample Cramer-von Mises test.

    Returns
    -------
    TestResult
        Statistic: T as scipy's, with ties the mean of its values just below and at each of them. p-value: scipy's, with ties from
        the law that they give T (`ecdf_laws`; scipy's formula for T holds without ties only). Effect: P(current > reference) +
        P(equal) / 2.
    """
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
        from scipy.stats import cramervonmises_2samp

        found: Any = cramervonmises_2samp(a, b)
        p_value = float(np.clip(found.pvalue, 0, 1))
    return TestResult(statistic, p_value, *effect, len(a), len(b), method)


@metric(
    name="epps_singleton",
    task="drift",
    needs="values",
    returns="test",
    range=(0, np.inf),
    references=("Epps & Singleton (1986), JSCS 26:177",),
    invariances=("symmetric", "scale", "shift"),
)
def epps_singleton(reference: ArrayLike, current: ArrayLike, *, confidence: float = 0.95) -> TestResult:
    """Epps-Singleton test of equal characteristic functions; good for discrete values.

    Returns
    -------
    TestResult
        Statistic: W with the covariance of all values together, chi-square with 4 degrees of freedom. (With a covariance for
        each side, as scipy's, one of five unchanged samples of 100 values differs from 2,000 at the 5 % level.) Effect:
        P(current > reference) + P(equal) / 2. Undefined with fewer than 5 values on a side, where half of all values are equal (no interquartile range), or where there are too few
        distinct values. Values 1e9 interquartile ranges from the median count as that far.
    """
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
    statistic = float(gap @ np.linalg.solve(covariance, gap))
    effect = _superiority(a, b, confidence)
    return TestResult(statistic, float(chdtrc(len(gap), statistic)), *effect, len(a), len(b), method)


@metric(
    name="welch_t",
    task="drift",
    needs="values",
    returns="test",
    references=("Welch (1947), Biometrika 34:28", "Bonett (2008), Psychological Methods 13:99"),
    invariances=("scale", "shift"),
)
def welch_t(reference: ArrayLike, current: ArrayLike, *, confidence: float = 0.95) -> TestResult:
    """Welch's t test of equal means, two-sided.

    Returns
    -------
    TestResult
        Statistic: t, positive when the current mean is higher. Effect: difference of the means in pooled standard deviations
        (Cohen's d), with an interval that allows for the noise of the standard deviations too (Bonett 2008).
    """
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
            return TestResult(0.0, 1.0, 0.0, 0.0, 0.0, m, n, method)
        return undefined(method, m, n, "both sides are constant: there is no variance to compare the means with")
    error = np.sqrt(va + vb)
    df = (va + vb) ** 2 / (va**2 / (m - 1) + vb**2 / (n - 1))
    t = difference / error
    squared = (va * m + vb * n) / 2
    d = difference / float(np.sqrt(squared))
    of_scale = d**2 * ((va * m) ** 2 / (m - 1) + (vb * n) ** 2 / (n - 1)) / (8 * squared**2)
    half = float(stdtrit(df, 0.5 + confidence / 2) * np.sqrt((va + vb) / squared + of_scale))
    return TestResult(float(t), float(2 * stdtr(df, -abs(t))), d, d - half, d + half, m, n, method)


@metric(
    name="mann_whitney",
    task="drift",
    needs="values",
    returns="test",
    range=(0, np.inf),
    references=("Mann & Whitney (1947), AMS 18:50", "DeLong et al. (1988), Biometrics 44:837"),
    invariances=("scale", "shift", "monotone"),
)
def mann_whitney(reference: ArrayLike, current: ArrayLike, *, confidence: float = 0.95) -> TestResult:
    """Mann-Whitney U test, two-sided, with tie correction (exact for small samples without ties).

    Returns
    -------
    TestResult
        Statistic: U of the current rows. Effect: U / (m n) = P(current > reference) + P(equal) / 2, with DeLong's interval.
    """
    a, b = pair("mann_whitney", reference, current)
    method = "Mann-Whitney U, two-sided"
    if few := too_few(method, len(a), len(b)):
        return few
    effect = _superiority(a, b, confidence)
    if a.min() == a.max() == b.min() == b.max():
        return TestResult(len(a) * len(b) / 2, 1.0, *effect, len(a), len(b), method)
    from scipy.stats import mannwhitneyu

    found: Any = mannwhitneyu(b, a, alternative="two-sided")
    return TestResult(float(found.statistic), float(found.pvalue), *effect, len(a), len(b), method)
