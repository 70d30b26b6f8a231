"""Every drift method, one entry each; add one here.

An entry names the function, what it needs, how a pair of columns is measured (value, test, effect, interval), how large
an effect is tolerated, and whether monitors report it daily. The registry (names, docs/metrics.md), `compare`, suites,
the monitor's file (``drift.method``) and the daily judgement read the same entry. The interval of an effect is
compared with the tolerance: beyond it is drift, within it is stable, across it is unclear. Distances are positive;
rates and locations change in either direction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from metrics_py import registry
from metrics_py.drift import binned_distances, categorical_tests, effects, exact_distances, numeric_tests, rates
from metrics_py.drift.measures import (
    Measure,
    binned_wasserstein,
    counted_distance,
    counted_test,
    divergence,
    ks_limit,
    location,
    profiled,
    proportion_test,
    rate,
    sampled_distance,
    sampled_test,
)
from metrics_py.drift.pair import ColumnPair, Findings
from metrics_py.failures import told_failure
from metrics_py.profile.column_profile import BinKind
from metrics_py.registry import Invariance, Metric, Needs, Returns

FloatArray = NDArray[np.float64]
NUMERIC = ("numeric",)
CATEGORICAL = ("categorical", "boolean", "datetime")
ALL_KINDS = (*NUMERIC, *CATEGORICAL)
INVALID: tuple[BinKind, ...] = ("null", "not_finite")
PSI_TOLERANCE = 0.1
RATE_TOLERANCE = 0.05


@dataclass(frozen=True)
class DriftMethod(Metric):
    """A method of measuring change of one column.

    Attributes
    ----------
    name, task, needs, function, unit, direction, range, references, returns, invariances, summary : object
        As in `metrics_py.registry.Metric`; the task is ``drift``.
    kinds : tuple of str
        Profile kinds it applies to.
    measure : callable
        ColumnPair -> Findings.
    from_counts : callable, optional
        The same from counts per frozen bin alone, which is all that monitors keep; None where it needs the values.
    tolerance : callable, optional
        Distance of the effect from `no_change` that still counts as no drift, from the tolerated PSI; without one the
        method gives no verdict. All are as wide as that PSI is for a shift of a normal column, so that the methods
        agree.
    no_change : float, default 0
        Effect when nothing has changed.
    allows_for_entities : bool, default False
        Does it allow for rows of one entity that depend on each other?
    daily : tuple of str, default ()
        Profile kinds for which monitors report it.
    """

    kinds: tuple[str, ...] = ALL_KINDS
    measure: Measure | None = None
    from_counts: Measure | None = None
    tolerance: Callable[[float], float] | None = None
    no_change: float = 0.0
    allows_for_entities: bool = False
    daily: tuple[str, ...] = ()

    @property
    def can_decide(self) -> bool:
        """Whether ``drift.method`` may name it: it has a tolerance, and needs no more than counts, of any column."""
        return self.tolerance is not None and self.from_counts is not None and self.kinds == ALL_KINDS

    def applies_to(self, pair: ColumnPair) -> bool:
        """Whether the method can say anything about this column.

        Parameters
        ----------
        pair : ColumnPair
            The column of both tables.

        Returns
        -------
        bool
            Is the kind of the profile one of `kinds`?
        """
        return pair.profile.kind in self.kinds

    def find(self, pair: ColumnPair) -> Findings:
        """What the method says of a pair of columns.

        Parameters
        ----------
        pair : ColumnPair
            The column of both tables.

        Returns
        -------
        Findings
            One entry per group of current rows.

        Raises
        ------
        MethodFailed
            A user's own method raised, or returned what is no number.
        """
        assert self.measure is not None  # every entry has one
        return self.measure(pair)


class MethodFailed(Exception):
    """A user's own method raised, or returned what is no number."""


# ---------------------------------------------------------------- tolerances, from the tolerated PSI


def _shift(psi: float) -> float:
    """Shift of a normal column, in standard deviations, that has this PSI."""
    return float(np.sqrt(psi))


def _superiority(psi: float) -> float:
    return float(ndtr(_shift(psi) / np.sqrt(2)) - 0.5)


def _ks(psi: float) -> float:
    return float(2 * ndtr(_shift(psi) / 2) - 1)


def _rate(psi: float) -> float:
    return RATE_TOLERANCE


def _js(psi: float) -> float:
    return float(np.sqrt(psi / 8 / np.log(2)))


def _hellinger(psi: float) -> float:
    return float(np.sqrt(psi / 8))


# ---------------------------------------------------------------- the entries


def _identity(x: FloatArray) -> FloatArray:
    return x


def _js_distance(js: FloatArray) -> FloatArray:
    return np.sqrt(np.maximum(js, 0) / np.log(2))


def _squared_hellinger(reference: NDArray[np.int64], current: NDArray[np.int64]) -> FloatArray:
    return binned_distances.hellinger(reference, current) ** 2


def _superiority_value(reference: NDArray[np.int64], current: NDArray[np.int64]) -> FloatArray:
    """Probability that a current row lies above one of the reference, ties counting half."""
    return effects.superiority(reference, current)[0]


def _ks_at_least(reference: NDArray[np.int64], current: NDArray[np.int64]) -> FloatArray:
    """Lower limit of the Kolmogorov-Smirnov distance of the rows behind the bins."""
    return binned_distances.ks_bounds(reference, current)[0]


def _ks_at_most(reference: NDArray[np.int64], current: NDArray[np.int64]) -> FloatArray:
    """Upper limit of the Kolmogorov-Smirnov distance of the rows behind the bins."""
    return binned_distances.ks_bounds(reference, current)[1]


def _binned(
    name: str,
    function: Callable[..., FloatArray],
    measure: Measure,
    tolerance: Callable[[float], float] | None,
    *,
    range: tuple[float, float],
    references: tuple[str, ...],
    invariances: Iterable[Invariance] = ("relabel", "symmetric"),
    unit: str = "",
    allows_for_entities: bool = True,
    daily: tuple[str, ...] = (),
) -> DriftMethod:
    """A distance of counts in any order."""
    return _entry(
        name,
        function,
        "bins",
        "number",
        ALL_KINDS,
        measure,
        tolerance,
        direction="lower_is_better",
        range=range,
        references=references,
        invariances=invariances,
        unit=unit,
        from_counts=measure,
        allows_for_entities=allows_for_entities,
        daily=daily,
    )


def _share(
    name: str,
    function: Callable[..., object],
    kinds: tuple[str, ...],
    measure: Measure,
    *,
    references: tuple[str, ...] = (),
) -> DriftMethod:
    """A share of all rows."""
    return _entry(
        name,
        function,
        "profile",
        "number",
        kinds,
        measure,
        _rate,
        direction="lower_is_better",
        range=(0, 1),
        references=references,
        allows_for_entities=True,
    )


def _entry(
    name: str,
    function: Callable[..., object],
    needs: Needs,
    returns: Returns,
    kinds: tuple[str, ...],
    measure: Measure,
    tolerance: Callable[[float], float] | None = None,
    *,
    direction: registry.Direction = "none",
    range: tuple[float, float] = registry.UNBOUNDED,
    references: tuple[str, ...] = (),
    invariances: Iterable[Invariance] = (),
    unit: str = "",
    summary: str = "",
    from_counts: Measure | None = None,
    no_change: float = 0.0,
    allows_for_entities: bool = False,
    daily: tuple[str, ...] = (),
) -> DriftMethod:
    return DriftMethod(
        name=name,
        task="drift",
        needs=needs,
        function=function,
        unit=unit,
        direction=direction,
        range=range,
        references=references,
        returns=returns,
        invariances=frozenset(invariances),
        summary=summary or registry.summary_of(function),
        kinds=kinds,
        measure=measure,
        from_counts=from_counts,
        tolerance=tolerance,
        no_change=no_change,
        allows_for_entities=allows_for_entities,
        daily=daily,
    )


_MONOTONE: tuple[Invariance, ...] = ("symmetric", "scale", "shift", "monotone")
_SZEKELY = ("Szekely & Rizzo (2013), JSPI 143:1249",)
_VILLANI = ("Villani (2009), Optimal Transport",)
_NONNEGATIVE = (0.0, np.inf)

METHODS: tuple[DriftMethod, ...] = (
    _binned(
        "psi", binned_distances.psi, divergence(1, binned_distances.psi, _identity), float,
        range=_NONNEGATIVE, unit="nats", daily=ALL_KINDS,
        references=("Yurdakul (2018)", "Siddiqi (2006), Credit Risk Scorecards, Wiley"),
    ),
    _binned(
        "kl_divergence", binned_distances.kl_divergence, divergence(2, binned_distances.kl_divergence, _identity),
        lambda psi: psi / 2, range=_NONNEGATIVE, unit="nats", references=("Kullback & Leibler (1951), AMS 22:79",),
        invariances=("relabel",),
    ),
    _binned(
        "js_divergence", binned_distances.js_divergence, divergence(8, binned_distances.js_divergence, _identity),
        lambda psi: psi / 8, range=(0, 0.6931472), unit="nats", references=("Lin (1991), IEEE TIT 37:145",),
    ),
    _binned(
        "js_distance", binned_distances.js_distance, divergence(8, binned_distances.js_divergence, _js_distance), _js,
        range=(0, 1), references=("Endres & Schindelin (2003), IEEE TIT 49:1858",), daily=ALL_KINDS,
    ),
    _binned(
        "hellinger", binned_distances.hellinger, divergence(8, _squared_hellinger, np.sqrt), _hellinger,
        range=(0, 1), references=("Hellinger (1909), J. reine angew. Math. 136:210",),
    ),
    _binned(
        "total_variation", binned_distances.total_variation, counted_distance(binned_distances.total_variation), None,
        range=(0, 1), references=("Levin & Peres (2017), Markov Chains and Mixing Times, ch. 4",),
        allows_for_entities=False, daily=CATEGORICAL,
    ),
    _binned(
        "l_infinity", binned_distances.l_infinity, counted_distance(binned_distances.l_infinity), None,
        range=(0, 1), references=("Breck et al. (2019), SysML (data validation)",), allows_for_entities=False,
    ),
    _entry(
        "superiority", _superiority_value, "ordered_bins", "number", NUMERIC, location, _superiority, no_change=0.5,
        range=(0, 1), references=("DeLong et al. (1988), Biometrics 44:837",), from_counts=location, daily=NUMERIC,
    ),
    _entry(
        "ks_at_least", _ks_at_least, "ordered_bins", "number", NUMERIC, ks_limit(0), direction="lower_is_better",
        range=(0, 1), references=("Smirnov (1939)",), invariances=("symmetric",), from_counts=ks_limit(0),
        daily=NUMERIC,
    ),
    _entry(
        "ks_at_most", _ks_at_most, "ordered_bins", "number", NUMERIC, ks_limit(1), direction="lower_is_better",
        range=(0, 1), references=("Smirnov (1939)",), invariances=("symmetric",), from_counts=ks_limit(1),
        daily=NUMERIC,
    ),
    _share("null_rate", rates.null_rate, ALL_KINDS, rate(("null",))),
    _share("not_finite_rate", rates.not_finite_rate, NUMERIC, rate(("not_finite",))),
    _share("out_of_range_rate", rates.out_of_range_rate, NUMERIC, rate(("below", "above"), INVALID, expected=True)),
    _share(
        "unseen_rate", rates.unseen_rate, ("categorical",), rate(("unseen",), INVALID, expected=True),
        references=("Good (1953), Biometrika 40:237",),
    ),
    _entry(
        "wasserstein", exact_distances.wasserstein, "values", "number", NUMERIC,
        sampled_distance(exact_distances.wasserstein), direction="lower_is_better", range=_NONNEGATIVE,
        unit="units of the column", references=_VILLANI, invariances=("symmetric", "shift"),
        summary=f"{registry.summary_of(exact_distances.wasserstein)} One huge value decides it: "
        "for a robust number use `wasserstein_scaled`.",
    ),
    _entry(
        "wasserstein_scaled", exact_distances.wasserstein_scaled, "values", "number", NUMERIC,
        sampled_distance(exact_distances.wasserstein_scaled), direction="lower_is_better", range=_NONNEGATIVE,
        unit="sd", references=_VILLANI, invariances=("scale", "shift"), from_counts=binned_wasserstein, daily=NUMERIC,
    ),
    _entry(
        "energy_distance", exact_distances.energy_distance, "values", "number", NUMERIC,
        sampled_distance(exact_distances.energy_distance), direction="lower_is_better", range=_NONNEGATIVE,
        unit="root of the units of the column", references=_SZEKELY, invariances=("symmetric", "shift"),
    ),
    _entry(
        "energy_coefficient", exact_distances.energy_coefficient, "values", "number", NUMERIC,
        sampled_distance(exact_distances.energy_coefficient), direction="lower_is_better", range=(0, 1),
        references=_SZEKELY, invariances=("symmetric", "scale", "shift"),
    ),
    _entry(
        "ks", numeric_tests.ks_test, "values", "test", NUMERIC, sampled_test(numeric_tests.ks_test), _ks,
        range=(0, 1), references=("Smirnov (1939)", "Massart (1990), Annals of Probability 18:1269"),
        invariances=_MONOTONE,
    ),
    _entry(
        "anderson_darling", numeric_tests.anderson_darling, "values", "test", NUMERIC,
        sampled_test(numeric_tests.anderson_darling), invariances=_MONOTONE,
        references=("Scholz & Stephens (1987), JASA 82:918", "Marsaglia & Marsaglia (2004), JSS 9(2)"),
    ),
    _entry(
        "cramer_von_mises", numeric_tests.cramer_von_mises, "values", "test", NUMERIC,
        sampled_test(numeric_tests.cramer_von_mises), range=_NONNEGATIVE, invariances=_MONOTONE,
        references=("Anderson (1962), AMS 33:1148", "Choulakian, Lockhart & Stephens (1994), CJS 22:125"),
    ),
    _entry(
        "epps_singleton", numeric_tests.epps_singleton, "values", "test", NUMERIC,
        sampled_test(numeric_tests.epps_singleton), range=_NONNEGATIVE, invariances=("symmetric", "scale", "shift"),
        references=("Epps & Singleton (1986), JSCS 26:177",),
    ),
    _entry(
        "welch_t", numeric_tests.welch_t, "values", "test", NUMERIC, sampled_test(numeric_tests.welch_t), _shift,
        invariances=("scale", "shift"),
        references=("Welch (1947), Biometrika 34:28", "Bonett (2008), Psychological Methods 13:99"),
    ),
    _entry(
        "mann_whitney", numeric_tests.mann_whitney, "values", "test", NUMERIC, sampled_test(numeric_tests.mann_whitney),
        _superiority, no_change=0.5, range=_NONNEGATIVE, invariances=("scale", "shift", "monotone"),
        references=("Mann & Whitney (1947), AMS 18:50", "DeLong et al. (1988), Biometrics 44:837"),
    ),
    _entry(
        "chi_square", categorical_tests.chi_square, "bins", "test", ALL_KINDS,
        counted_test(categorical_tests.chi_square), _shift, range=_NONNEGATIVE, invariances=("relabel", "symmetric"),
        references=("Pearson (1900), Philosophical Magazine 50:157", "Cohen (1988), ch. 7"),
    ),
    _entry(
        "g_test", categorical_tests.g_test, "bins", "test", ALL_KINDS, counted_test(categorical_tests.g_test), _shift,
        range=_NONNEGATIVE, invariances=("relabel", "symmetric"), references=("Wilks (1935), AMS 6:190",),
    ),
    _entry(
        "two_proportion_z", categorical_tests.two_proportion_z, "rates", "test", ("boolean",),
        proportion_test(categorical_tests.two_proportion_z), _rate, references=("Newcombe (1998), SiM 17:873",),
    ),
    _entry(
        "fisher_exact", categorical_tests.fisher_exact, "rates", "test", ("boolean",),
        proportion_test(categorical_tests.fisher_exact), _rate, range=_NONNEGATIVE,
        references=("Fisher (1935), JRSS 98:39",),
    ),
    _entry(
        "smooth_test", categorical_tests.smooth_test, "ordered_bins", "test", NUMERIC,
        counted_test(categorical_tests.smooth_test), range=_NONNEGATIVE, invariances=("symmetric",),
        references=("Neyman (1937)", "Rayner, Thas & Best (2009)"),
    ),
)  # fmt: skip
for _method in METHODS:
    registry.register(_method)

DEFAULT_METHODS = ("psi", "null_rate", "not_finite_rate", "out_of_range_rate", "unseen_rate")
"""What `compare` measures unless it is told otherwise."""


def drift_method(name: str) -> DriftMethod:
    """A registered drift method, a user's own included.

    Parameters
    ----------
    name : str
        As in the registry, task ``drift``.

    Returns
    -------
    DriftMethod
        The entry itself; a user's `Metric` with a measure made for what it needs.

    Raises
    ------
    ValueError
        If there is none of this name, or it needs what two tables cannot give.

    Examples
    --------
    >>> method = drift_method("js_distance")
    >>> method.kinds, round(method.tolerance(0.1), 4)
    (('numeric', 'categorical', 'boolean', 'datetime'), 0.1343)
    """
    entry = registry.get(name, "drift")
    if isinstance(entry, DriftMethod):
        return entry
    kinds = {"values": NUMERIC, "ordered_bins": NUMERIC, "rates": ("boolean",)}.get(entry.needs, ALL_KINDS)
    is_test = entry.returns == "test"
    if entry.needs == "values":
        measure = sampled_test(entry.function) if is_test else sampled_distance(entry.function)
    elif entry.needs in ("bins", "ordered_bins"):
        measure = counted_test(entry.function) if is_test else counted_distance(entry.function)
    elif entry.needs == "rates" and is_test:
        measure = proportion_test(entry.function)
    elif entry.needs == "profile" and not is_test:
        measure = profiled(entry.function)
    else:
        raise ValueError(f"metric {name!r}: needs={entry.needs!r}, which two tables cannot give")
    guarded = _guarded(measure)
    return DriftMethod(
        **vars(entry), kinds=kinds, measure=guarded, from_counts=None if entry.needs == "values" else guarded
    )


def _guarded(measure: Measure) -> Measure:
    """A user's method that fails is a result of its own, not the end of the report."""

    def guarded(pair: ColumnPair) -> Findings:
        try:
            found = measure(pair)
            numbers = np.asarray(found.value, dtype=float)
        except Exception as error:
            raise MethodFailed(f"the metric failed: {told_failure(error)}") from error
        if numbers.shape != (len(pair.current),):
            raise MethodFailed(f"the metric returned an array of shape {numbers.shape[1:]}; return one number")
        return found

    return guarded
