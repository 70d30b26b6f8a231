"""How different a window is from the reference, how precisely that is known, and in which of three states it is.

The interval says how far the window is from the reference; whether that is unusual for the stream is the alert engine's
question (day effects are not in the interval).

References
----------
Yurdakul (2018), Western Michigan University dissertation 3208 (PSI is about chi-square).
du Pisanie, Allison & Visagie (2023), arXiv 2303.01227 (distribution of the PSI).
Newcombe (1998), Statistics in Medicine 17:873, method 10 (difference of two proportions).
DeLong, DeLong & Clarke-Pearson (1988), Biometrics 44:837 (variance of the area under the curve).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtr, chdtrc, chdtri, chndtrinc, expit, logit, ndtri

from metrics_py.confidence import check_confidence
from metrics_py.drift.binned_distances import counts_of, degrees_of_freedom, psi
from metrics_py.intervals import wilson

FloatArray = NDArray[np.float64]
State = Literal["drift", "stable", "unclear"]
DEFAULT_TOLERANCE = 0.1
_LARGE = 2e4
ROUNDING = 1e-24
"""A variance of the superiority below this is the rounding of equal shares; the smallest real one is n^-3."""


@dataclass(frozen=True)
class PsiEffect:
    """PSI of any number of windows with interval and noise floor; every array has the leading shape of the counts.

    Attributes
    ----------
    psi : ndarray
        As observed; NaN where a side has no rows.
    debiased : ndarray
        ``max(0, psi - noise_mean)``: what is left of it without sampling noise.
    ci_low, ci_high : ndarray
        Interval of the true PSI.
    noise_mean, noise_p95 : ndarray
        Mean and 95 % point of the PSI when nothing has changed.
    p_value : ndarray
        Chi-square test of no change at all.
    degrees_of_freedom : ndarray
        Bins that hold rows, minus one.
    n_reference, n_current : ndarray
        Rows compared.
    """

    psi: FloatArray
    debiased: FloatArray
    ci_low: FloatArray
    ci_high: FloatArray
    noise_mean: FloatArray
    noise_p95: FloatArray
    p_value: FloatArray
    degrees_of_freedom: FloatArray
    n_reference: FloatArray
    n_current: FloatArray


def psi_effect(
    reference: ArrayLike,
    current: ArrayLike,
    *,
    design_effect: ArrayLike = 1.0,
    reference_design_effect: ArrayLike = 1.0,
    confidence: float = 0.95,
) -> PsiEffect:
    """PSI with its noncentral chi-square interval.

    Parameters
    ----------
    reference, current : array_like, shapes (G,) and (..., G)
        Counts per group, see `ColumnProfile.merged`.
    design_effect, reference_design_effect : array_like, default 1
        Variance relative to independent rows (`design_effect`), for rows that depend on each other.
    confidence : float, default 0.95
        Two-sided coverage.

    Returns
    -------
    PsiEffect
        Arrays of the leading shape; NaN where a side has no rows.

    Raises
    ------
    ValueError
        If the sides have different groups, a count is negative, NaN or infinite, or `confidence` does not lie between 0
        and 1.

    Notes
    -----
    With ``s = design_effect / n + reference_design_effect / m`` the ratio PSI / s is about noncentral chi-square with
    one degree of freedom less than bins and noncentrality (true PSI) / s; the interval inverts that distribution, and
    ``df s`` is the mean of the PSI when nothing has changed.

    This needs some ten rows expected in every bin: join bins first (`metrics_py.drift.rare_bins.coarsen`). The true PSI
    is that of these bins; other bins have another one. Not for bins that are made anew for every window, or from the
    current rows.

    References
    ----------
    Yurdakul (2018), Western Michigan University dissertation 3208. du Pisanie, Allison & Visagie (2023), arXiv
    2303.01227.

    Examples
    --------
    >>> effect = psi_effect([500, 300, 200], [400, 300, 300])
    >>> round(float(effect.psi), 3), round(float(effect.ci_low), 3), round(float(effect.ci_high), 3)
    (0.063, 0.025, 0.112)

    Without a change the PSI is on average ``2 (1/1000 + 1/1000)``, not 0:

    >>> round(float(effect.noise_mean), 6), round(float(effect.debiased), 3)
    (0.004, 0.059)
    """
    a, b = counts_of("psi_effect", reference, current)
    m, n = a.sum(axis=-1), b.sum(axis=-1)
    df = degrees_of_freedom(a, b)
    with np.errstate(divide="ignore", invalid="ignore"):
        unit = np.asarray(design_effect, float) / n + np.asarray(reference_design_effect, float) / m
        value = psi(a, b)
        known = np.isfinite(value) & np.isfinite(unit)
        low, high = psi_interval(value, df, unit, confidence=confidence)
        p_value = np.where(known, np.where(df > 0, chdtrc(np.maximum(df, 1), value / unit), 1.0), np.nan)
        noise = np.where(known, df * unit, np.nan)
        p95 = np.where(known, np.where(df > 0, chdtri(np.maximum(df, 1), 0.05) * unit, 0.0), np.nan)
    return PsiEffect(value, np.maximum(0.0, value - noise), low, high, noise, p95, p_value, df, m, n)


def psi_interval(
    value: ArrayLike, degrees: ArrayLike, unit: ArrayLike, *, confidence: float = 0.95
) -> tuple[FloatArray, FloatArray]:
    """Interval of the true PSI from the observed one.

    Parameters
    ----------
    value : array_like
        Observed PSI.
    degrees : array_like
        Bins minus one; 0 counts as 1: that no row has been seen in a second bin does not say that none can be.
    unit : array_like
        ``deff / n + deff_reference / m``.
    confidence : float, default 0.95
        Two-sided coverage.

    Returns
    -------
    ci_low, ci_high : ndarray
        NaN where the value is.

    Raises
    ------
    ValueError
        If `confidence` does not lie between 0 and 1.

    Notes
    -----
    The ends are `unit` times the noncentralities at which the noncentral chi-square distribution with `degrees` degrees
    of freedom has ``value / unit`` as its upper and lower ``(1 - confidence) / 2`` point; 0 where there is none. Beyond
    2e4 the normal law of the square root stands in (five digits).

    The upper end is not taken below that of a value as large as the median of pure noise (a power-constrained limit):
    without it the end would be 0 in ``(1 - confidence) / 2`` of all unchanged windows, because the rows happened to
    agree, however few they are. So the interval of [1, 1] against [1, 1] is [0, 6.9], which is what two rows say; where
    there are enough rows to call half of the unchanged windows stable, none of those is changed. Other divergences of
    the same kind use it scaled: 2 KL, 8 Jensen-Shannon, 8 squared Hellinger, X2 (1/m + 1/n).

    References
    ----------
    Yurdakul (2018), Western Michigan University dissertation 3208. du Pisanie, Allison & Visagie (2023), arXiv
    2303.01227. Cowan, Cranmer, Gross & Vitells (2011), arXiv 1105.3166 (power-constrained limits).

    Examples
    --------
    One degree of freedom is a squared normal variable: of ``z = 10`` with unit 1 the ends are ``(10 -+ 1.96)^2``.

    >>> low, high = psi_interval(100.0, 1, 1.0)
    >>> round(float(low) ** 0.5, 2), round(float(high) ** 0.5, 2)
    (8.04, 11.96)
    """
    check_confidence(confidence)
    value, degrees, unit = np.broadcast_arrays(*(np.asarray(x, dtype=float) for x in (value, degrees, unit)))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = value / unit
    tail, df = (1 - confidence) / 2, np.maximum(degrees, 1.0)
    usual = np.maximum(ratio, chdtri(df, 0.5))  # NaN stays NaN
    return _noncentrality(ratio, df, 1 - tail) * unit, _noncentrality(usual, df, tail) * unit


def _noncentrality(x: FloatArray, df: FloatArray, p: float) -> FloatArray:
    """Noncentrality at which the noncentral chi-square cdf at `x` is `p`; 0 if there is none, NaN where x is."""
    result = np.where(np.isfinite(x), 0.0, np.nan)
    with np.errstate(invalid="ignore"):
        rooted = np.isfinite(x) & (chdtr(df, np.maximum(x, 0.0)) > p)
    small = rooted & (x <= _LARGE)
    result[small] = chndtrinc(x[small], df[small], p)
    # Far from zero sqrt(X - (df - 1) / 2) is normal with unit variance around sqrt(lambda + (df - 1) / 2), exact to 5
    # digits.
    large = rooted & ~small
    half = (df[large] - 1) / 2
    result[large] = (np.sqrt(x[large] - half) - ndtri(p)) ** 2 - half
    return result


def three_states(ci_low: ArrayLike, ci_high: ArrayLike, tolerance: ArrayLike = DEFAULT_TOLERANCE) -> NDArray[np.str_]:
    """``drift`` if the whole interval lies above the tolerance, ``stable`` if below, else ``unclear``.

    Parameters
    ----------
    ci_low, ci_high : array_like
        Ends of the interval of a distance.
    tolerance : array_like, default 0.1
        Distance that does not matter, in the unit of the interval; positive.

    Returns
    -------
    ndarray of str
        ``drift``, ``stable`` or ``unclear`` (not enough data); NaN ends are unclear.

    Raises
    ------
    ValueError
        If a tolerance is not positive: no data can prove a difference of nothing.

    Notes
    -----
    With a two-sided 95 % interval a distance of at most the tolerance is called ``drift``, and one of at least the
    tolerance ``stable``, in at most 2.5 % of the windows each: a test and an equivalence test at once. A p-value alone
    has no third state: it takes few rows for no drift and many rows for drift.

    The tolerance is a matter of what the model bears, not of the data; choose it before looking. For many windows in a
    row the rates add up: for alarms over time take the engine of `metrics_py.alerting`.

    References
    ----------
    Schuirmann (1987), Journal of Pharmacokinetics and Biopharmaceutics 15:657 (two one-sided tests).

    Examples
    --------
    >>> three_states([0.12, 0.0, 0.05], [0.3, 0.02, 0.2]).tolist()
    ['drift', 'stable', 'unclear']
    """
    low, high, bound = (np.asarray(x, dtype=float) for x in (ci_low, ci_high, tolerance))
    if not (bound > 0).all():
        raise ValueError(
            f"three_states: tolerance={tolerance} must be positive: no data can prove a difference of nothing"
        )
    return np.where(low > bound, "drift", np.where(high < bound, "stable", "unclear"))


def newcombe(
    successes_reference: ArrayLike,
    n_reference: ArrayLike,
    successes_current: ArrayLike,
    n_current: ArrayLike,
    *,
    design_effect: ArrayLike = 1.0,
    confidence: float = 0.95,
) -> tuple[FloatArray, FloatArray]:
    """Interval of a difference of two proportions (current minus reference) from their Wilson intervals.

    Parameters
    ----------
    successes_reference, n_reference : array_like
        Counts of the reference; `n_reference` = 0 gives NaN.
    successes_current, n_current : array_like
        Counts of the current side.
    design_effect : array_like, default 1
        Variance of the current rows relative to independent ones; the reference's rows count as independent.
    confidence : float, default 0.95
        Two-sided coverage.

    Returns
    -------
    ci_low, ci_high : ndarray
        Within [-1, 1].

    Raises
    ------
    ValueError
        If successes are negative or more than the rows, or `confidence` does not lie between 0 and 1.

    Notes
    -----
    With Wilson's intervals (l, u) of either side and d = q - p the ends are ``d - sqrt((q - l_q)^2 + (u_p - p)^2)`` and
    ``d + sqrt((u_q - q)^2 + (p - l_p)^2)``: squared distances add, so the interval keeps its coverage near 0 and 1
    where the normal one fails.

    Sides are independent of each other: for two models on the same rows take
    `metrics_py.quality.champion.paired_difference`. Rows are independent, or their dependence is in `design_effect`.

    References
    ----------
    Newcombe (1998), Statistics in Medicine 17:873, method 10.

    Examples
    --------
    Newcombe's first example, 48/80 against 56/70:

    >>> low, high = newcombe(48, 80, 56, 70)
    >>> round(float(low), 4), round(float(high), 4)
    (0.0524, 0.3339)
    """
    x1, m, x2, n = (
        np.asarray(x, dtype=float) for x in (successes_reference, n_reference, successes_current, n_current)
    )
    low1, high1 = wilson(x1, m, confidence=confidence)
    low2, high2 = wilson(x2, n, confidence=confidence, design_effect=design_effect)
    with np.errstate(divide="ignore", invalid="ignore"):
        p1, p2 = x1 / m, x2 / n
    difference = p2 - p1
    return (
        difference - np.sqrt((p2 - low2) ** 2 + (high1 - p1) ** 2),
        difference + np.sqrt((high2 - p2) ** 2 + (p1 - low1) ** 2),
    )


def superiority(
    reference: ArrayLike, current: ArrayLike, *, confidence: float = 0.95
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """P(current > reference) + P(equal) / 2 from counts in ordered bins, with DeLong's interval.

    0.5 is no shift; 0.58 means that a current row beats a reference row in 58 of 100 pairs. The most readable effect
    size of location, free of units and of outliers.

    Parameters
    ----------
    reference, current : array_like, shapes (G,) and (..., G)
        Counts in bins ordered by value.
    confidence : float, default 0.95
        Two-sided coverage.

    Returns
    -------
    value, ci_low, ci_high : ndarray
        NaN where a side has no rows. The interval is symmetric on the logit scale, where it holds near 0 and 1 too;
        where no pair is the other way round, or all values are equal, it is Wilson's of the smaller side.

    Raises
    ------
    ValueError
        If the sides have different bins, a count is negative, NaN or infinite, or `confidence` does not lie between 0
        and 1.

    Notes
    -----
    The value is U / (m n) of Mann and Whitney, and the area under the ROC curve of a score that tells the sides apart.
    Its variance is DeLong's: that of ``P(reference < b) + P(equal) / 2`` over the current rows b, over n, plus the same
    of the reference rows. ``N1 / (2 sqrt 3)`` of Neyman's smooth test is about this minus one half.

    Rows are independent, and rows of one bin count as equal: with few bins the value is nearer to 0.5 than that of the
    rows. Two distributions of one location and different spread give 0.5; look at `smooth_components` too.

    References
    ----------
    DeLong, DeLong & Clarke-Pearson (1988), Biometrics 44:837. Vargha & Delaney (2000), Journal of Educational and
    Behavioral Statistics 25:101 (as an effect size).

    Examples
    --------
    Two bins: ``0.6 * 0.5`` wins, and ``(0.4 * 0.5 + 0.6 * 0.5) / 2`` for equal ones.

    >>> value, low, high = superiority([50, 50], [40, 60])
    >>> round(float(value), 3), round(float(low), 3), round(float(high), 3)
    (0.55, 0.481, 0.618)
    """
    a, b = counts_of("superiority", reference, current)
    m, n = a.sum(axis=-1), b.sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        below_a = (np.cumsum(a, axis=-1) - a / 2) / m[..., None]
        above_b = 1 - (np.cumsum(b, axis=-1) - b / 2) / n[..., None]
        value = (b * below_a).sum(axis=-1) / n
        variance_b = (b * (below_a - value[..., None]) ** 2).sum(axis=-1) / n / np.maximum(n - 1, 1)
        variance_a = (a * (above_b - value[..., None]) ** 2).sum(axis=-1) / m / np.maximum(m - 1, 1)
        inside = (value > 0) & (value < 1)
        spread = np.where(inside, value * (1 - value), np.nan)
        half = ndtri(0.5 + confidence / 2) * np.sqrt(variance_a + variance_b) / spread
        low, high = expit(logit(value) - half), expit(logit(value) + half)
        rows = np.minimum(m, n)
        extreme = (value == 0) | (value == 1) | (variance_a + variance_b <= ROUNDING)
        extreme_low, extreme_high = wilson(np.where(extreme, value, 0) * rows, rows, confidence=confidence)
    return value, np.where(extreme, extreme_low, low), np.where(extreme, extreme_high, high)
