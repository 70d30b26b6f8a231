"""Two-sample tests of counts: both sides are samples, so a finite reference is never taken for the truth.

References
----------
Pearson (1900), Philosophical Magazine 50:157. Wilks (1935), Annals of Mathematical Statistics 6:190 (G).
Fisher (1935), JRSS 98:39. Cohen (1988), Statistical Power Analysis, ch. 7 (effect w). Newcombe (1998), SiM 17:873.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtrc, ndtr, xlogy

from metrics_py import scipy_functions
from metrics_py.confidence import check_confidence
from metrics_py.drift.binned_distances import counts_of
from metrics_py.drift.effects import newcombe, psi_interval, superiority
from metrics_py.drift.numeric_tests import too_few, undefined
from metrics_py.drift.smooth_components import smooth_basis
from metrics_py.results import TestResult

FloatArray = NDArray[np.float64]


def chi_square(reference: ArrayLike, current: ArrayLike, *, confidence: float = 0.95) -> TestResult:
    """Pearson's chi-square test of a 2 x G contingency table, no continuity correction.

    Parameters
    ----------
    reference, current : array_like of int, shape (G,)
        Counts of the same categories; categories that neither side holds do not count.
    confidence : float, default 0.95
        Of the interval of the effect.

    Returns
    -------
    TestResult
        Statistic: X2 with (categories held) - 1 degrees of freedom. Effect: Cohen's w,
        ``sqrt(sum (b - a)^2 / pooled share)``, with its noncentral chi-square interval. ``insufficient_data`` without
        rows on a side, or with one category only.

    Raises
    ------
    ValueError
        If the sides have different categories or more than one window, a count is negative, NaN or infinite, or
        `confidence` does not lie between 0 and 1.

    Notes
    -----
    With the pooled shares p of N rows, ``X2 = sum (x_a - m p)^2 / (m p) + sum (x_b - n p)^2 / (n p)``, and
    ``w^2 = X2 (1/m + 1/n)``. The interval inverts the noncentral chi-square distribution of X2
    (`metrics_py.drift.effects.psi_interval`); w of the noise itself is about sqrt(df (1/m + 1/n)).

    Rows are independent (else `rao_scott`), and some five are expected in most categories (Cochran's rule): join rare
    categories first. With two categories and few rows take `fisher_exact`; the order of ordered bins is not used,
    `smooth_test` does that.

    References
    ----------
    Pearson (1900), Philosophical Magazine 50:157. Cohen (1988), Statistical Power Analysis, ch. 7. Cochran (1954),
    Biometrics 10:417. Agresti (2002), Categorical Data Analysis, table 3.1 (the data below).

    Examples
    --------
    Heart attacks of 11,034 physicians on placebo and 11,037 on aspirin, X2 = 25.01:

    >>> found = chi_square([189, 10845], [104, 10933])
    >>> round(found.statistic, 2), round(found.effect, 3)
    (25.01, 0.067)
    """
    check_confidence(confidence)
    return _contingency("chi_square", "Pearson chi-square, two-sample", reference, current, _pearson, confidence)


def g_test(reference: ArrayLike, current: ArrayLike, *, confidence: float = 0.95) -> TestResult:
    """Likelihood-ratio (G) test of a 2 x G contingency table.

    Parameters
    ----------
    reference, current : array_like of int, shape (G,)
        Counts of the same categories; categories that neither side holds do not count.
    confidence : float, default 0.95
        Of the interval of the effect.

    Returns
    -------
    TestResult
        Statistic: G with (categories held) - 1 degrees of freedom. Effect: ``sqrt(G (1/m + 1/n))``, which is Cohen's w
        for small changes. ``insufficient_data`` without rows on a side, or with one category only.

    Raises
    ------
    ValueError
        If the sides have different categories or more than one window, a count is negative, NaN or infinite, or
        `confidence` does not lie between 0 and 1.

    Notes
    -----
    ``G = 2 sum x ln(x / expected)`` over both sides and all categories, expected as for `chi_square`, and the same law.

    Rows are independent. Where fewer than five rows are expected in a category its p-value is too small (12 % below
    0.05 with 40 Zipf categories and 200 rows); Pearson's holds, so `chi_square` is the default choice.

    References
    ----------
    Wilks (1935), Annals of Mathematical Statistics 6:190. Agresti (2002), Categorical Data Analysis, table 3.1 (the
    data below).

    Examples
    --------
    Heart attacks on placebo and on aspirin, see `chi_square`; by hand
    ``2 (189 ln(189 / 146.48) + 10845 ln(10845 / 10887.52) + 104 ln(104 / 146.52) + 10933 ln(10933 / 10890.48))``:

    >>> round(g_test([189, 10845], [104, 10933]).statistic, 2)
    25.37
    """
    check_confidence(confidence)
    return _contingency("g_test", "G (likelihood ratio), two-sample", reference, current, _likelihood_ratio, confidence)


def _pearson(a: FloatArray, b: FloatArray) -> float:
    m, n = a.sum(), b.sum()
    pooled = (a + b) / (m + n)
    return float((((a - m * pooled) ** 2 / (m * pooled)) + (b - n * pooled) ** 2 / (n * pooled)).sum())


def _likelihood_ratio(a: FloatArray, b: FloatArray) -> float:
    m, n = a.sum(), b.sum()
    pooled = (a + b) / (m + n)
    return max(0.0, float(2 * (xlogy(a, a / (m * pooled)) + xlogy(b, b / (n * pooled))).sum()))


def _contingency(
    name: str,
    method: str,
    reference: ArrayLike,
    current: ArrayLike,
    statistic: Callable[[FloatArray, FloatArray], float],
    confidence: float,
) -> TestResult:
    a, b = counts_of(name, reference, current)
    if a.ndim != 1:
        raise ValueError(f"{name}: counts have shape {a.shape}; pass one window, shape (categories,)")
    m, n = round(a.sum()), round(b.sum())
    if few := too_few(method, m, n):
        return few
    held = (a + b) > 0
    df = int(held.sum()) - 1
    if df == 0:
        return undefined(method, m, n, "all rows of both sides are of one category: nothing can differ")
    value = statistic(a[held], b[held])
    unit = 1 / m + 1 / n
    low, high = psi_interval(value * unit, df, unit, confidence=confidence)
    effect, ci_low, ci_high = (float(np.sqrt(x)) for x in (value * unit, low, high))
    return TestResult(value, float(chdtrc(df, value)), effect, ci_low, ci_high, m, n, method)


def _events(name: str, *numbers: int) -> tuple[int, int, int, int]:
    found: list[int] = []
    for number in numbers:
        if not np.isfinite(number) or number < 0 or number != int(number):
            raise ValueError(f"{name}: {number!r} is no count; pass whole numbers of at least 0")
        found.append(int(number))
    x1, m, x2, n = found
    if x1 > m or x2 > n:
        raise ValueError(f"{name}: {x1} of {m} and {x2} of {n}; events cannot outnumber rows")
    return x1, m, x2, n


def _difference(x1: int, m: int, x2: int, n: int, confidence: float) -> tuple[float, float, float]:
    low, high = newcombe(x1, m, x2, n, confidence=confidence)
    return x2 / n - x1 / m, float(low), float(high)


def two_proportion_z(
    events_reference: int, n_reference: int, events_current: int, n_current: int, *, confidence: float = 0.95
) -> TestResult:
    """Two-sided z test of equal proportions, pooled variance.

    Parameters
    ----------
    events_reference, n_reference : int
        Events among so many rows.
    events_current, n_current : int
        The same of the current side.
    confidence : float, default 0.95
        Of the interval of the effect.

    Returns
    -------
    TestResult
        Statistic: z, positive when the current rate is higher. Effect: difference of the rates with Newcombe's
        interval. ``insufficient_data`` without rows on a side.

    Raises
    ------
    ValueError
        If a count is negative or not whole, events outnumber rows, or `confidence` does not lie between 0 and 1.

    Notes
    -----
    ``z = (q - p) / sqrt(r (1 - r) (1/m + 1/n))`` with the pooled rate r; z squared is X2 of `chi_square`. Test and
    interval are made differently (pooled variance, score intervals of either side), so at the border they can disagree.

    Rows are independent, and some five events and non-events are expected on either side; with fewer take
    `fisher_exact`.

    References
    ----------
    Newcombe (1998), Statistics in Medicine 17:873, method 10.

    Examples
    --------
    Newcombe's example (a), 48/80 against 56/70, interval 0.0524 to 0.3339:

    >>> found = two_proportion_z(48, 80, 56, 70)
    >>> round(found.statistic, 4), round(found.p_value, 4)
    (2.6502, 0.008)
    >>> round(found.effect, 4), round(found.effect_ci_low, 4), round(found.effect_ci_high, 4)
    (0.2, 0.0524, 0.3339)
    """
    check_confidence(confidence)
    x1, m, x2, n = _events("two_proportion_z", events_reference, n_reference, events_current, n_current)
    method = "two-proportion z, pooled, two-sided"
    if few := too_few(method, m, n):
        return few
    effect = _difference(x1, m, x2, n, confidence)
    pooled = (x1 + x2) / (m + n)
    error = np.sqrt(pooled * (1 - pooled) * (1 / m + 1 / n))
    z = float(effect[0] / error) if error > 0 else 0.0  # all rows alike: no difference at all
    return TestResult(z, float(2 * ndtr(-abs(z))), *effect, m, n, method)


def fisher_exact(
    events_reference: int, n_reference: int, events_current: int, n_current: int, *, confidence: float = 0.95
) -> TestResult:
    """Fisher's exact test of equal proportions, two-sided; right for any number of events.

    Parameters
    ----------
    events_reference, n_reference : int
        Events among so many rows.
    events_current, n_current : int
        The same of the current side.
    confidence : float, default 0.95
        Of the interval of the effect.

    Returns
    -------
    TestResult
        Statistic: sample odds ratio (current over reference), None where it is infinite or undefined. Effect:
        difference of the rates with Newcombe's interval. ``insufficient_data`` without rows on a side.

    Raises
    ------
    ValueError
        If a count is negative or not whole, events outnumber rows, or `confidence` does not lie between 0 and 1.

    Notes
    -----
    Given all four margins the events of a side are hypergeometric; the p-value adds up the tables that are at most as
    likely as the one seen. The level is never exceeded, and usually far from used up: with few events a real change is
    seldom found. The interval is not exact and can disagree with the test.

    Rows are independent. With many events `two_proportion_z` finds the same faster.

    References
    ----------
    Fisher (1935), JRSS 98:39. Fisher (1935), The Design of Experiments, ch. 2 (the data below).

    Examples
    --------
    The lady tasting tea names 3 of 4 cups right; 34 of the 70 possible choices are at most as likely:

    >>> found = fisher_exact(1, 4, 3, 4)
    >>> found.statistic, round(found.p_value, 4), round(34 / 70, 4)
    (9.0, 0.4857, 0.4857)
    """
    check_confidence(confidence)
    x1, m, x2, n = _events("fisher_exact", events_reference, n_reference, events_current, n_current)
    method = "Fisher exact, two-sided"
    if few := too_few(method, m, n):
        return few
    odds_ratio, p_value = scipy_functions.fisher_exact([[x2, n - x2], [x1, m - x1]])
    shown = odds_ratio if np.isfinite(odds_ratio) else None
    return TestResult(shown, float(np.clip(p_value, 0, 1)), *_difference(x1, m, x2, n, confidence), m, n, method)


def smooth_test(reference: ArrayLike, current: ArrayLike, *, confidence: float = 0.95) -> TestResult:
    """Neyman's smooth test with up to four components, from counts in bins ordered by value.

    Parameters
    ----------
    reference, current : array_like of int, shape (G,)
        Counts in the same bins, in the order of the values.
    confidence : float, default 0.95
        Of the interval of the effect.

    Returns
    -------
    TestResult
        Statistic: ``sum_j D_j^2 / (1/n + 1/m)``, chi-square with one degree of freedom per component. Effect: P(current
        > reference) + P(equal) / 2. ``insufficient_data`` without rows on a side, or with all rows in one bin.

    Raises
    ------
    ValueError
        If the sides have different bins or more than one window, a count is negative, NaN or infinite, or `confidence`
        does not lie between 0 and 1.

    Notes
    -----
    D_j is the difference of the j-th component of both sides, on polynomials that are orthonormal under the pooled
    shares: location, spread, skew and tails. Changes that go smoothly along the order are found with fewer rows than by
    `chi_square`, which spends a degree of freedom on every bin; with as many components as bins less one it is
    `chi_square`. The components of a window by themselves: `metrics_py.drift.smooth_components.smooth_components`.

    Rows are independent. Not for categories without an order, nor for a change of one bin among many.

    References
    ----------
    Neyman (1937), Skandinavisk Aktuarietidskrift 20:149. Rayner, Thas & Best (2009), Smooth Tests of Goodness of Fit,
    Wiley.

    Examples
    --------
    Two bins have one component, and Pearson's X2, ``(0.1)^2 / (0.45 * 0.55 * (1/100 + 1/100))``:

    >>> round(smooth_test([50, 50], [40, 60]).statistic, 4), round(chi_square([50, 50], [40, 60]).statistic, 4)
    (2.0202, 2.0202)
    """
    check_confidence(confidence)
    a, b = counts_of("smooth_test", reference, current)
    if a.ndim != 1:
        raise ValueError(f"smooth_test: counts have shape {a.shape}; pass one window, shape (bins,)")
    method = "Neyman smooth, 4 components"
    m, n = round(a.sum()), round(b.sum())
    if few := too_few(method, m, n):
        return few
    basis = smooth_basis(a + b)
    components = (b / n - a / m) @ basis
    if not len(components):
        return undefined(method, m, n, "both sides have all rows in one bin: there is no shape to compare")
    value = float((components**2).sum() / (1 / m + 1 / n))
    effect, low, high = (float(x) for x in superiority(a, b, confidence=confidence))
    return TestResult(value, float(chdtrc(len(components), value)), effect, low, high, m, n, method)
