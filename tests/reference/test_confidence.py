"""Every public function that takes a confidence level refuses what is none."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import numpy as np
import polars as pl
import pytest

import metrics_py
from metrics_py import averaged_intervals, intervals, registry, skewed_intervals
from metrics_py.confidence import check_confidence
from metrics_py.drift import categorical_tests, effects, numeric_tests
from metrics_py.evaluation import calibration, fairness, separation
from metrics_py.multivariate import domain_classifier
from metrics_py.quality import champion, custom
from metrics_py.retraining import decay, paired

SAMPLES = ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [2.0, 3.0, 5.0, 7.0, 8.0, 9.0])
COUNTS = ([30, 40, 30], [20, 50, 40])
RATES = (3, 30, 5, 40)
BUCKETS = np.array([[1.0, 2.0, 4.0]])
ENTRY = registry.Metric("own", "custom", "rows", lambda rows: float(rows["x"].mean()))
ROWS = pl.DataFrame({"bucket": [0, 1, 2], "x": [1.0, 2.0, 4.0]})
AGES = pl.DataFrame(
    {"version": ["a", "b", "c"], "window": [1, 1, 1], "age": [3.0, 2.0, 0.0], "loss": [0.3, 0.1, 0.2]},
)


def mean(sums, rows):
    return sums / rows


SCORES = (np.tile([0.2, 0.4, 0.6, 0.8], 40), np.tile([0, 1, 0, 1, 1], 32), np.arange(160) % 64)
GROUPS = {"rate": fairness.Rate(np.array([[30.0, 20.0], [25.0, 25.0]]), np.full((2, 2), 60.0))}
FOUND = intervals.jackknife_from_replicates([3.0], [[4.0, 3.5, 1.5]], [[True, True, True]])
CALLS = {
    numeric_tests.ks_test: SAMPLES,
    numeric_tests.anderson_darling: SAMPLES,
    numeric_tests.cramer_von_mises: SAMPLES,
    numeric_tests.epps_singleton: SAMPLES,
    numeric_tests.welch_t: SAMPLES,
    numeric_tests.mann_whitney: SAMPLES,
    categorical_tests.chi_square: COUNTS,
    categorical_tests.g_test: COUNTS,
    categorical_tests.smooth_test: COUNTS,
    categorical_tests.two_proportion_z: RATES,
    categorical_tests.fisher_exact: RATES,
    effects.psi_effect: COUNTS,
    effects.psi_interval: (0.1, 3, 0.01),
    effects.newcombe: RATES,
    effects.superiority: COUNTS,
    intervals.jackknife: (mean, BUCKETS, np.ones((1, 3))),
    intervals.jackknife_from_replicates: ([3.0], [[4.0, 3.5, 1.5]], [[True, True, True]]),
    intervals.jackknife_estimate: (mean, BUCKETS[0], np.ones(3)),
    intervals.t_quantile: (7.0,),
    intervals.wilson: (3, 30),
    intervals.proportion_interval: (3, 30, 0.05, 63),
    averaged_intervals.averaged_interval: ([3, 5], [30, 10], [1, 1]),
    skewed_intervals.skewed_interval: (FOUND, [0.5]),
    champion.paired_difference: (mean, [BUCKETS[0], np.ones(3)], [BUCKETS[0] ** 2, np.ones(3)]),
    champion.mcnemar: (3, 5, 40),
    champion.delong_test: ([0, 0, 1, 1], [1, 3, 2, 4], [1, 2, 3, 4]),
    custom.estimate_rows: (ENTRY, ROWS),
    calibration.calibration_line: SCORES,
    fairness.largest_gap: (GROUPS, ["a", "b"]),
    separation.separation: (np.arange(160) % 4, *SCORES[1:]),
    decay.decay: (AGES,),
    domain_classifier: (np.arange(120.0).reshape(60, 2), np.ones((60, 2))),
    paired.mean_difference: ([0.3, 0.2, 0.4], [0.2, 0.2, 0.1]),
    check_confidence: (),
}
NAMED = {champion.paired_difference: {"n": 3}, intervals.jackknife_estimate: {"n": 3}}


def takers() -> set:
    """All public functions of the statistics with a parameter `confidence`."""
    found = set()
    for module in pkgutil.walk_packages(metrics_py.__path__, "metrics_py."):
        for name, value in vars(importlib.import_module(module.name)).items():
            is_ours = inspect.isfunction(value) and value.__module__ == module.name and not name.startswith("_")
            if is_ours and "confidence" in inspect.signature(value).parameters:
                found.add(value)
    return found


def test_no_function_is_forgotten():
    assert takers() == set(CALLS)


@pytest.mark.parametrize("function", CALLS, ids=lambda function: function.__name__)
@pytest.mark.parametrize("confidence", [95, 1, 0, -0.5, float("nan")])
def test_a_level_that_is_no_probability_is_refused(function, confidence):
    with pytest.raises(ValueError, match=r"confidence=.* must lie between 0 and 1"):
        function(*CALLS[function], **NAMED.get(function, {}), confidence=confidence)


@pytest.mark.parametrize("function", CALLS, ids=lambda function: function.__name__)
def test_a_probability_is_taken(function):
    function(*CALLS[function], **NAMED.get(function, {}), confidence=0.9)


def test_percent_are_told_how_to_be_written():
    with pytest.raises(ValueError, match=r"for 95 % write 0.95"):
        check_confidence(95)
