"""Statistics for model monitoring: pure functions on arrays, frames and mergeable aggregates.

Everything a user calls can be imported from here; a name is loaded when it is first used. Distances of counts in bins
and of values have the same names (`psi`, `wasserstein`, ...), so they stand in the modules `binned_distances` and
`exact_distances`.

Examples
--------
>>> from metrics_py import binned_distances, chi_square
>>> round(float(binned_distances.psi([500, 300, 200], [400, 300, 300])), 4)
0.0627
>>> round(chi_square([189, 10845], [104, 10933]).statistic, 2)
25.01
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from metrics_py.alerting import Engine, EngineConfig, Statistic, replay
    from metrics_py.comparison.compare import compare
    from metrics_py.comparison.result import Comparison
    from metrics_py.drift import binned_distances, exact_distances
    from metrics_py.drift.categorical_tests import chi_square, fisher_exact, g_test, smooth_test, two_proportion_z
    from metrics_py.drift.design_effects import design_effect, rao_scott
    from metrics_py.drift.effects import (
        newcombe,
        psi_effect,
        psi_interval,
        superiority,
        three_states,
    )
    from metrics_py.drift.novel_values import uncovered_p
    from metrics_py.drift.numeric_tests import (
        anderson_darling,
        cramer_von_mises,
        epps_singleton,
        ks_test,
        mann_whitney,
        welch_t,
    )
    from metrics_py.drift.smooth_components import smooth_components
    from metrics_py.drift.words import describe_shift
    from metrics_py.intervals import (
        confidence_sequence,
        daily_confidence_sequence,
        jackknife,
        jackknife_estimate,
        proportion_interval,
        wilson,
    )
    from metrics_py.profile.build import build_profile
    from metrics_py.profile.column_profile import ColumnProfile
    from metrics_py.profile.counts import count
    from metrics_py.quality.business_value import value_matrix, value_per_prediction
    from metrics_py.quality.champion import delong_test, mcnemar, paired_difference, promotion
    from metrics_py.quality.ranking import ranking_table
    from metrics_py.quality.rows import Roles, quality_of_rows
    from metrics_py.quality.table import quality_table
    from metrics_py.registry import Metric, metric
    from metrics_py.results import Estimate, TestResult
    from metrics_py.suite.checks import Check, Suite, run_suite
    from metrics_py.suite.draft import draft_suite

__all__ = [
    "Check",
    "ColumnProfile",
    "Comparison",
    "Engine",
    "EngineConfig",
    "Estimate",
    "Metric",
    "Roles",
    "Statistic",
    "Suite",
    "TestResult",
    "anderson_darling",
    "binned_distances",
    "build_profile",
    "chi_square",
    "compare",
    "confidence_sequence",
    "count",
    "cramer_von_mises",
    "daily_confidence_sequence",
    "delong_test",
    "describe_shift",
    "design_effect",
    "draft_suite",
    "epps_singleton",
    "exact_distances",
    "fisher_exact",
    "g_test",
    "jackknife",
    "jackknife_estimate",
    "ks_test",
    "mann_whitney",
    "mcnemar",
    "metric",
    "newcombe",
    "paired_difference",
    "promotion",
    "proportion_interval",
    "psi_effect",
    "psi_interval",
    "quality_of_rows",
    "quality_table",
    "ranking_table",
    "rao_scott",
    "replay",
    "run_suite",
    "smooth_components",
    "smooth_test",
    "superiority",
    "three_states",
    "two_proportion_z",
    "uncovered_p",
    "value_matrix",
    "value_per_prediction",
    "welch_t",
    "wilson",
]

_NAMES = {
    "alerting": "Engine EngineConfig Statistic replay",
    "comparison.compare": "compare",
    "comparison.result": "Comparison",
    "drift": "binned_distances exact_distances",
    "drift.categorical_tests": "chi_square fisher_exact g_test smooth_test two_proportion_z",
    "drift.design_effects": "design_effect rao_scott",
    "drift.effects": "newcombe psi_effect psi_interval superiority three_states",
    "drift.novel_values": "uncovered_p",
    "drift.numeric_tests": "anderson_darling cramer_von_mises epps_singleton ks_test mann_whitney welch_t",
    "drift.smooth_components": "smooth_components",
    "drift.words": "describe_shift",
    "intervals": (
        "confidence_sequence daily_confidence_sequence jackknife jackknife_estimate proportion_interval wilson"
    ),
    "profile.build": "build_profile",
    "profile.column_profile": "ColumnProfile",
    "profile.counts": "count",
    "quality.business_value": "value_matrix value_per_prediction",
    "quality.champion": "delong_test mcnemar paired_difference promotion",
    "quality.ranking": "ranking_table",
    "quality.rows": "Roles quality_of_rows",
    "quality.table": "quality_table",
    "registry": "Metric metric",
    "results": "Estimate TestResult",
    "suite.checks": "Check Suite run_suite",
    "suite.draft": "draft_suite",
}
_MODULE = {name: f"{__name__}.{module}" for module, names in _NAMES.items() for name in names.split()}


def __getattr__(name: str) -> object:
    """Import the public names when they are first used: the package itself costs nothing to import."""
    if name not in _MODULE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in ("binned_distances", "exact_distances"):
        return import_module(f"{_MODULE[name]}.{name}")
    return getattr(import_module(_MODULE[name]), name)


def __dir__() -> list[str]:
    """Names of the module, those not yet imported included."""
    return sorted({*globals(), *__all__})
