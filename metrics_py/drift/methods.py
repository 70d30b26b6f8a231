"""What `compare` can measure per column: each metric with its value, test, effect, interval and tolerance.

The interval of an effect is compared with the tolerance: beyond it is drift, within it is stable, across it is unclear.
Distances are positive; rates and locations change in either direction.

References
----------
Yurdakul (2018): the PSI, and with it 8 times the Jensen-Shannon divergence, 8 times the squared Hellinger distance and twice
the KL divergence, divided by 1/n + 1/m, is about noncentral chi-square.
Massart (1990), Annals of Probability 18:1269 (tight constant of the Dvoretzky-Kiefer-Wolfowitz inequality).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, ndtr, ndtri

from metrics_py import registry
from metrics_py.drift import binned_distances
from metrics_py.drift.effects import design_effect, newcombe, psi_interval, rao_scott
from metrics_py.drift.novel_values import uncovered_p
from metrics_py.drift.rare_bins import coarsen
from metrics_py.intervals import wilson
from metrics_py.profile.column_profile import BinKind, ColumnProfile
from metrics_py.results import TestResult

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
N_BUCKETS = 64
RARE = "the values hardly repeat: their shares cannot be compared"
Z = float(ndtri(0.975))


@dataclass(frozen=True, eq=False)
class ColumnPair:
    """One column of both tables, for T groups.

    Attributes
    ----------
    profile : ColumnProfile
        Bins frozen from the whole reference.
    reference, current : integer ndarray, shape (T, K)
        Rows per bin.
    reference_buckets, current_buckets : integer ndarray, shape (T, 64, K), optional
        The same per hash bucket of the entity.
    values : callable
        Finite values of both sides of a group, for tests that need them (numeric columns).
    """

    profile: ColumnProfile
    reference: IntArray
    current: IntArray
    reference_buckets: IntArray | None = None
    current_buckets: IntArray | None = None
    values: Callable[[int], tuple[FloatArray, FloatArray]] | None = None

    @cached_property
    def merged(self) -> tuple[IntArray, IntArray]:
        """Counts of the groups that distances compare (no nulls), so coarse that none is nearly empty."""
        both = (self.profile.merged(counts) for counts in (self.reference, self.current))
        rest = -1 if "other" in self.profile.bin_kind else None
        return coarsen(*both, is_ordered=self.profile.kind == "numeric", rest=rest)

    @property
    def hardly_repeats(self) -> NDArray[np.bool_]:
        """Groups in which every category is so rare that only all of them together can be compared; shape (T,)."""
        one = ((self.merged[0] > 0).sum(axis=-1) == 1) & (self.merged[0][..., -1] > 0)
        return one & (self.profile.kind == "categorical") & (self.profile.n_distinct > 1)

    @cached_property
    def clustering(self) -> tuple[FloatArray, FloatArray]:
        """Design effects of the merged counts of both sides, 1 where rows count as independent; shape (T,) each."""
        return _design_effects(self, self.reference_buckets), _design_effects(self, self.current_buckets)


@dataclass(frozen=True)
class Findings:
    """Result of one metric for T groups; NaN marks what is undefined or not given."""

    value: FloatArray
    p_value: FloatArray
    effect: FloatArray
    ci_low: FloatArray
    ci_high: FloatArray
    n_reference: FloatArray
    n_current: FloatArray
    reasons: tuple[str | None, ...] = ()


@dataclass(frozen=True)
class DriftMetric:
    """A metric of change of one column.

    Attributes
    ----------
    name : str
    kinds : tuple of str
        Profile kinds it applies to.
    measure : callable
        ColumnPair -> Findings.
    tolerance : callable, optional
        Distance of the effect from `no_change` that still counts as no drift, from the tolerated PSI; without one the metric
        gives no verdict. All are as wide as that PSI is for a shift of a normal column, so that the metrics agree.
    no_change : float, default 0
        Effect when nothing has changed.
    """

    name: str
    kinds: tuple[str, ...]
    measure: Callable[[ColumnPair], Findings]
    tolerance: Callable[[float], float] | None = None
    no_change: float = 0.0

    def applies_to(self, pair: ColumnPair) -> bool:
        """Can the metric say anything about this column?"""
        return pair.profile.kind in self.kinds


def _design_effects(pair: ColumnPair, buckets: IntArray | None) -> FloatArray:
    ones = np.ones(len(pair.current))
    if buckets is None:
        return ones
    return np.array([_design_effect(pair.profile.merged(counts)) for counts in buckets])


def _design_effect(counts: IntArray) -> float:
    """Design effect from counts (64, G), at least 1; NaN where rows stand in fewer than 4 buckets."""
    occupied, used = (counts.sum(axis=1) > 0).sum(), (counts.sum(axis=0) > 0).sum()
    if occupied < 4:
        return np.nan
    return max(design_effect(counts).value, 1.0) if used >= 2 else 1.0


def _divergence(factor: float, function: Callable[..., FloatArray], transform: Callable[[FloatArray], FloatArray]):
    """Metric whose `factor` times divergence is about chi-square; shown after `transform`."""

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
        reference = pair.profile.merged(pair.reference)
        for t in np.flatnonzero((degrees > 0) & np.isfinite(statistic)):
            counts = pair.profile.merged(pair.current_buckets[t])
            if (counts.sum(axis=1) > 0).sum() < 4:
                p_value[t] = np.nan
                continue
            own = None if pair.reference_buckets is None else pair.profile.merged(pair.reference_buckets[t])
            p_value[t] = rao_scott(reference[t], counts, reference_buckets=own)[1]
    return np.where(np.isfinite(statistic), p_value, np.nan)


def _rate(bins: tuple[BinKind, ...], among: tuple[BinKind, ...] = (), *, expected: bool = False):
    """Metric of the share of rows in some bins; `among` are left out of the denominator.

    With `expected` the reference's own share is replaced by the share that is expected without drift, and only more counts.
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
            inflation = np.array([_design_effect(p) for p in pairs])
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
    """Interval of a share less the one that is expected, which is an estimate itself (squared distances add: Newcombe)."""
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


def _sampled_test(test: Callable[[FloatArray, FloatArray], TestResult]):
    """Metric from a two-sample test of the values, group by group. Rows count as independent."""

    def measure(pair: ColumnPair) -> Findings:
        assert pair.values is not None
        return _collect([test(*pair.values(t)) for t in range(len(pair.current))])

    return measure


def _counted_test(test: Callable[..., TestResult]):
    """Metric from a two-sample test of counts, group by group. Rows count as independent."""

    def measure(pair: ColumnPair) -> Findings:
        return _collect([test(a, b) for a, b in zip(*pair.merged, strict=True)])

    return measure


def _proportion_test(test: Callable[[int, int, int, int], TestResult]):
    """Metric from a test of the share of true rows."""

    def of_counts(reference: IntArray, current: IntArray) -> TestResult:
        return test(int(reference[1]), int(reference.sum()), int(current[1]), int(current.sum()))

    return _counted_test(of_counts)


def _collect(results: list[TestResult]) -> Findings:
    def column(name: str) -> FloatArray:
        found = [getattr(result, name) for result in results]
        return np.array([np.nan if x is None else x for x in found], dtype=float)

    fields = ("statistic", "p_value", "effect", "effect_ci_low", "effect_ci_high", "n_reference", "n_current")
    return Findings(*(column(name) for name in fields), reasons=tuple(result.reason for result in results))


def _sampled_distance(function: Callable[[FloatArray, FloatArray], float]):
    """Distance of the values without a test or an interval."""

    def measure(pair: ColumnPair) -> Findings:
        assert pair.values is not None
        samples = [pair.values(t) for t in range(len(pair.current))]
        m, n = (np.array([len(sides[i]) for sides in samples], dtype=float) for i in (0, 1))
        return _number(np.array([function(*sides) for sides in samples]), m, n)

    return measure


def _counted_distance(function: Callable[..., FloatArray]):
    """Distance of counts without a test or an interval."""

    def measure(pair: ColumnPair) -> Findings:
        return _number(function(*pair.merged), *_rows(*pair.merged))

    return measure


def _profiled(function: Callable[[ColumnProfile, IntArray], FloatArray]):
    """Number of the current counts alone."""

    def measure(pair: ColumnPair) -> Findings:
        value = np.asarray(function(pair.profile, pair.current), dtype=float)
        return _number(value, *_rows(pair.reference, pair.current))

    return measure


def _identity(x: FloatArray) -> FloatArray:
    return x


def _js_distance(divergence: FloatArray) -> FloatArray:
    return np.sqrt(np.maximum(divergence, 0) / np.log(2))


def _squared_hellinger(reference: IntArray, current: IntArray) -> FloatArray:
    return binned_distances.hellinger(reference, current) ** 2


def _shift(psi: float) -> float:
    """Shift of a normal column, in standard deviations, that has this PSI."""
    return float(np.sqrt(psi))


def _superiority_tolerance(psi: float) -> float:
    return float(ndtr(_shift(psi) / np.sqrt(2)) - 0.5)


def _ks_tolerance(psi: float) -> float:
    return float(2 * ndtr(_shift(psi) / 2) - 1)


NUMERIC = ("numeric",)
ALL_KINDS = ("numeric", "categorical", "boolean", "datetime")
PSI_TOLERANCE = 0.1
RATE_TOLERANCE = 0.05
INVALID: tuple[BinKind, ...] = ("null", "not_finite")


def _rate_tolerance(psi: float) -> float:
    return RATE_TOLERANCE


def _js_tolerance(psi: float) -> float:
    return float(np.sqrt(psi / 8 / np.log(2)))


def _hellinger_tolerance(psi: float) -> float:
    return float(np.sqrt(psi / 8))


_SPECIAL: tuple[DriftMetric, ...] = (
    DriftMetric("psi", ALL_KINDS, _divergence(1, binned_distances.psi, _identity), float),
    DriftMetric(
        "kl_divergence", ALL_KINDS, _divergence(2, binned_distances.kl_divergence, _identity), lambda psi: psi / 2
    ),
    DriftMetric(
        "js_divergence", ALL_KINDS, _divergence(8, binned_distances.js_divergence, _identity), lambda psi: psi / 8
    ),
    DriftMetric("js_distance", ALL_KINDS, _divergence(8, binned_distances.js_divergence, _js_distance), _js_tolerance),
    DriftMetric("hellinger", ALL_KINDS, _divergence(8, _squared_hellinger, np.sqrt), _hellinger_tolerance),
    DriftMetric("null_rate", ALL_KINDS, _rate(("null",)), _rate_tolerance),
    DriftMetric("not_finite_rate", NUMERIC, _rate(("not_finite",)), _rate_tolerance),
    DriftMetric("out_of_range_rate", NUMERIC, _rate(("below", "above"), INVALID, expected=True), _rate_tolerance),
    DriftMetric("unseen_rate", ("categorical",), _rate(("unseen",), INVALID, expected=True), _rate_tolerance),
)
METRICS = {metric.name: metric for metric in _SPECIAL}
CLUSTERED = frozenset(METRICS)
"""Metrics that allow for rows of one entity that depend on each other."""
DEFAULT_METRICS = ("psi", "null_rate", "not_finite_rate", "out_of_range_rate", "unseen_rate")
_VERDICTS: dict[str, tuple[Callable[[float], float], float]] = {
    "ks": (_ks_tolerance, 0.0),
    "welch_t": (_shift, 0.0),
    "mann_whitney": (_superiority_tolerance, 0.5),
    "chi_square": (_shift, 0.0),
    "g_test": (_shift, 0.0),
    "two_proportion_z": (_rate_tolerance, 0.0),
    "fisher_exact": (_rate_tolerance, 0.0),
}
"""Tests whose effect tells how large the change is: its tolerance from the PSI, and its value without change."""


def drift_metric(name: str) -> DriftMetric:
    """A registered drift metric, ready for `compare`; users' own included.

    Raises
    ------
    ValueError
        If there is none of this name.
    """
    if name in METRICS:
        return METRICS[name]
    entry = registry.get(name, "drift")
    kinds = {"values": NUMERIC, "ordered_bins": NUMERIC, "rates": ("boolean",)}.get(entry.needs, ALL_KINDS)
    tolerance, no_change = _VERDICTS.get(name, (None, 0.0))
    is_test = entry.returns == "test"
    if entry.needs == "values":
        measure = _sampled_test(entry.function) if is_test else _sampled_distance(entry.function)
    elif entry.needs in ("bins", "ordered_bins"):
        measure = _counted_test(entry.function) if is_test else _counted_distance(entry.function)
    elif entry.needs == "rates" and is_test:
        measure = _proportion_test(entry.function)
    elif entry.needs == "profile" and not is_test:
        measure = _profiled(entry.function)
    else:
        raise ValueError(f"metric {name!r}: needs={entry.needs!r}, which two tables cannot give")
    if not registry.is_builtin(entry):
        measure = _guarded(name, measure)
    return DriftMetric(name, kinds, measure, tolerance, no_change)


class MetricFailed(Exception):
    """A user's own metric raised, or returned what is no number."""


def _guarded(name: str, measure: Callable[[ColumnPair], Findings]) -> Callable[[ColumnPair], Findings]:
    """A user's metric that fails is a result of its own, not the end of the report."""

    def guarded(pair: ColumnPair) -> Findings:
        try:
            found = measure(pair)
            numbers = np.asarray(found.value, dtype=float)
        except Exception as error:
            raise MetricFailed(f"the metric failed: {type(error).__name__}: {error}") from error
        if numbers.shape != (len(pair.current),):
            raise MetricFailed(f"the metric returned an array of shape {numbers.shape[1:]}; return one number")
        return found

    return guarded
