"""How a drift method measures a pair of columns.

From counts with the interval of a divergence, from rates, from values.

References
----------
Yurdakul (2018): the PSI, and with it 8 times the Jensen-Shannon divergence, 8 times the squared Hellinger distance and
twice the KL divergence, divided by 1/n + 1/m, is about noncentral chi-square.
Massart (1990), Annals of Probability 18:1269 (tight constant of the Dvoretzky-Kiefer-Wolfowitz inequality).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, ndtr, ndtri

from metrics_py.drift import binned_distances
from metrics_py.drift.design_effects import rao_scott
from metrics_py.drift.effects import newcombe, psi_interval, superiority
from metrics_py.drift.novel_values import uncovered_p
from metrics_py.drift.pair import ColumnPair, Findings, group_design_effect
from metrics_py.intervals import wilson
from metrics_py.profile.column_profile import BinKind, ColumnProfile
from metrics_py.results import TestResult

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Measure = Callable[[ColumnPair], Findings]
RARE = "the values hardly repeat: their shares cannot be compared"
Z = float(ndtri(0.975))


def divergence(
    factor: float, function: Callable[..., FloatArray], transform: Callable[[FloatArray], FloatArray]
) -> Measure:
    """Measure of a divergence, `factor` times which is about noncentral chi-square.

    Parameters
    ----------
    factor : float
        See the module's references.
    function : callable
        Reference and current counts -> divergence, shape (T,).
    transform : callable
        Divergence -> what is shown (its square root, say), increasing.

    Returns
    -------
    callable
        ColumnPair -> Findings, with p-value, effect (without what noise adds) and interval.
    """

    def measure(pair: ColumnPair) -> Findings:
        reference, current = pair.merged
        divergence = function(reference, current)
        degrees = binned_distances.degrees_of_freedom(reference, current)
        m, n = reference.sum(axis=-1).astype(float), current.sum(axis=-1).astype(float)
        with np.errstate(divide="ignore", invalid="ignore"):
            unit = pair.clustering[1] / n + pair.clustering[0] / m
            scaled = factor * divergence
            low, high = psi_interval(scaled, degrees, unit)
            debiased = np.maximum(scaled - degrees * unit, 0.0)
            p_value = _chi_square_p(pair, scaled / unit, degrees)
        low, high, effect = (transform(x / factor) for x in (low, high, debiased))
        rare = pair.hardly_repeats
        low, high, p_value = (np.where(rare, np.nan, x) for x in (low, high, p_value))
        reasons = tuple(RARE if r else None for r in rare)
        return Findings(transform(divergence), p_value, effect, low, high, m, n, reasons)

    return measure


def _chi_square_p(pair: ColumnPair, statistic: FloatArray, degrees: FloatArray) -> FloatArray:
    p_value = np.where(degrees > 0, chdtrc(np.maximum(degrees, 1), statistic), 1.0)
    if pair.current_buckets is not None:
        reference = pair.profile.merged(pair.compared)
        for t in np.flatnonzero((degrees > 0) & np.isfinite(statistic)):
            counts = pair.profile.merged(pair.current_buckets[t])
            if (counts.sum(axis=1) > 0).sum() < 4:
                p_value[t] = np.nan
                continue
            own = None if pair.reference_buckets is None else pair.profile.merged(pair.reference_buckets[t])
            p_value[t] = rao_scott(reference[t], counts, reference_buckets=own)[1]
    return np.where(np.isfinite(statistic), p_value, np.nan)


def rate(bins: tuple[BinKind, ...], among: tuple[BinKind, ...] = (), *, expected: bool = False) -> Measure:
    """Measure of the share of rows in some bins.

    Parameters
    ----------
    bins : tuple of str
        Kinds of bins that count.
    among : tuple of str, default ()
        Kinds that are left out of the denominator.
    expected : bool, default False
        Compare with the share that is expected without drift instead of the reference's own; only more counts.

    Returns
    -------
    callable
        ColumnPair -> Findings.
    """

    def measure(pair: ColumnPair) -> Findings:
        profile = pair.profile
        hit, left_out = profile.where(*bins), profile.where(*among)

        def counts(table: IntArray) -> tuple[FloatArray, FloatArray]:
            rows = table.sum(axis=-1) - table[..., left_out].sum(axis=-1)
            return table[..., hit].sum(axis=-1).astype(float), rows.astype(float)

        (x1, m), (x2, n) = counts(pair.reference), counts(pair.current)
        inflation = np.ones(len(n))
        if pair.current_buckets is not None:
            inside, rows = counts(pair.current_buckets)
            pairs = np.stack([inside, rows - inside], axis=-1)
            inflation = np.array([group_design_effect(p) for p in pairs])
        with np.errstate(divide="ignore", invalid="ignore"):
            value = x2 / n
            if expected:  # fewer than expected beyond what the reference knows are no change for the worse
                effect = value - profile.expected_unseen
                low, high = (
                    np.clip(x, 0.0, 1.0)
                    for x in _beyond_expected(profile, value, wilson(x2, n, design_effect=inflation))
                )
                p_value = uncovered_p(x2 / inflation, n / inflation, m, _singletons(profile, m))
            else:
                effect = value - x1 / m
                low, high = newcombe(x1, m, x2, n, design_effect=inflation)
                pooled = (x1 + x2) / (m + n)
                error = np.sqrt(pooled * (1 - pooled) * (inflation / n + 1 / m))
                p_value = 2 * ndtr(-np.abs(np.where(effect == 0, 0.0, effect / error)))
        known = np.isfinite(effect)
        effect = np.maximum(effect, 0.0) if expected else effect
        p_value = np.where(known, p_value, np.nan)
        return Findings(value, p_value, effect, np.where(known, low, np.nan), np.where(known, high, np.nan), m, n)

    return measure


def _beyond_expected(
    profile: ColumnProfile, value: FloatArray, interval: tuple[FloatArray, FloatArray]
) -> tuple[FloatArray, FloatArray]:
    """Interval of a share less the one expected, which is an estimate itself (squared distances add: Newcombe)."""
    effect, doubt = value - profile.expected_unseen, Z * profile.expected_unseen_error
    low, high = interval
    return effect - np.hypot(value - low, doubt), effect + np.hypot(high - value, doubt)


def _number(value: FloatArray, m: FloatArray, n: FloatArray) -> Findings:
    """A number without a test or an interval."""
    nothing = np.full(len(value), np.nan)
    return Findings(value, nothing, value, nothing, nothing, m, n)


def _rows(reference: IntArray, current: IntArray) -> tuple[FloatArray, FloatArray]:
    return reference.sum(axis=-1).astype(float), current.sum(axis=-1).astype(float)


def _singletons(profile: ColumnProfile, m: FloatArray) -> FloatArray:
    """Reference values behind the mass it does not cover: its two ends, or the categories it holds once."""
    return np.full(len(m), 1.0) if profile.kind == "numeric" else np.rint(profile.expected_unseen * m)


def sampled_test(test: Callable[[FloatArray, FloatArray], TestResult]) -> Measure:
    """Measure by a two-sample test of the values, group by group; rows count as independent.

    Parameters
    ----------
    test : callable
        Finite values of the reference and of the group -> TestResult.

    Returns
    -------
    callable
        ColumnPair -> Findings.
    """

    def measure(pair: ColumnPair) -> Findings:
        assert pair.values is not None
        return _collect([test(*pair.values(t)) for t in range(len(pair.current))])

    return measure


def counted_test(test: Callable[..., TestResult]) -> Measure:
    """Measure by a two-sample test of counts, group by group; rows count as independent.

    Parameters
    ----------
    test : callable
        Merged counts of the reference and of the group -> TestResult.

    Returns
    -------
    callable
        ColumnPair -> Findings.
    """

    def measure(pair: ColumnPair) -> Findings:
        return _collect([test(a, b) for a, b in zip(*pair.merged, strict=True)])

    return measure


def proportion_test(test: Callable[[int, int, int, int], TestResult]) -> Measure:
    """Measure by a test of the share of true rows.

    Parameters
    ----------
    test : callable
        (events, rows) of the reference, (events, rows) of the group -> TestResult.

    Returns
    -------
    callable
        ColumnPair -> Findings.
    """

    def of_counts(reference: IntArray, current: IntArray) -> TestResult:
        return test(int(reference[1]), int(reference.sum()), int(current[1]), int(current.sum()))

    return counted_test(of_counts)


def _collect(results: list[TestResult]) -> Findings:
    def column(name: str) -> FloatArray:
        found = [getattr(result, name) for result in results]
        return np.array([np.nan if x is None else x for x in found], dtype=float)

    fields = ("statistic", "p_value", "effect", "effect_ci_low", "effect_ci_high", "n_reference", "n_current")
    return Findings(*(column(name) for name in fields), reasons=tuple(result.reason for result in results))


def sampled_distance(function: Callable[[FloatArray, FloatArray], float]) -> Measure:
    """Measure by a distance of the values, without a test or an interval.

    Parameters
    ----------
    function : callable
        Finite values of the reference and of the group -> number.

    Returns
    -------
    callable
        ColumnPair -> Findings.
    """

    def measure(pair: ColumnPair) -> Findings:
        assert pair.values is not None
        samples = [pair.values(t) for t in range(len(pair.current))]
        m, n = (np.array([len(sides[i]) for sides in samples], dtype=float) for i in (0, 1))
        return _number(np.array([function(*sides) for sides in samples]), m, n)

    return measure


def counted_distance(function: Callable[..., FloatArray]) -> Measure:
    """Measure by a distance of counts, without a test or an interval.

    Parameters
    ----------
    function : callable
        Merged counts of both sides -> numbers, shape (T,).

    Returns
    -------
    callable
        ColumnPair -> Findings.
    """

    def measure(pair: ColumnPair) -> Findings:
        return _number(function(*pair.merged), *_rows(*pair.merged))

    return measure


def profiled(function: Callable[[ColumnProfile, IntArray], FloatArray]) -> Measure:
    """Measure by a number of the current counts alone.

    Parameters
    ----------
    function : callable
        Profile and counts, shape (T, K) -> numbers, shape (T,).

    Returns
    -------
    callable
        ColumnPair -> Findings.
    """

    def measure(pair: ColumnPair) -> Findings:
        value = np.asarray(function(pair.profile, pair.current), dtype=float)
        return _number(value, *_rows(pair.reference, pair.current))

    return measure


def binned_wasserstein(pair: ColumnPair) -> Findings:
    """Wasserstein-1 distance in standard deviations of the reference, the mass of each bin at its centre.

    Parameters
    ----------
    pair : ColumnPair
        A numeric column.

    Returns
    -------
    Findings
        Undefined where the reference does not vary.
    """
    before, now = pair.merged
    centers = pair.profile.center[pair.profile.group_bins]
    if not pair.profile.scale or not np.isfinite(centers).all():
        return _number(np.full(len(now), np.nan), *_rows(before, now))
    return _number(binned_distances.wasserstein(before, now, centers) / pair.profile.scale, *_rows(before, now))


def location(pair: ColumnPair) -> Findings:
    """P(current > reference) + P(equal) / 2 from bins in the order of the values, with DeLong's interval.

    Parameters
    ----------
    pair : ColumnPair
        A numeric column.

    Returns
    -------
    Findings
        The effect is the value itself; nothing has changed at 1/2.
    """
    before, now = pair.merged
    value, low, high = superiority(before, now)
    m, n = _rows(before, now)
    return Findings(value, np.full(len(value), np.nan), value, low, high, m, n)


def ks_limit(end: int) -> Measure:
    """Measure by a limit of the exact Kolmogorov-Smirnov distance, from all bins in the order of their values.

    Parameters
    ----------
    end : {0, 1}
        Lower or upper limit.

    Returns
    -------
    callable
        ColumnPair -> Findings.
    """

    def measure(pair: ColumnPair) -> Findings:
        before, points, loose = pair.profile.ordered(pair.reference)
        now = pair.profile.ordered(pair.current)[0]
        limits = binned_distances.ks_bounds(before, now, points=points, loose=loose)
        return _number(limits[end], *_rows(before, now))

    return measure
