"""Acceptance 6: p-values of rows that are the same law are p-values."""

from __future__ import annotations

import numpy as np
import pytest

from metrics_py.multivariate import domain_classifier, draw_features, median_heuristic, mmd2
from metrics_py.multivariate.random_features import null_law
from tests.support.measured import interval, record

SECTION = "Multivariate and embeddings"
LEVEL = 0.05
RUNS = [60, pytest.param(600, marks=pytest.mark.full)]


def _judge(name: str, promised: str, hits: int, runs: int) -> None:
    record(name, promised, hits / runs, runs, SECTION)
    low, high = interval(hits, runs)
    assert low <= 0.07
    assert high >= 0.03
    if runs >= 600:
        assert 0.03 <= hits / runs <= 0.07


@pytest.mark.parametrize("runs", RUNS)
def test_type_one_error_of_the_gamma_law(runs):
    rng = np.random.default_rng(71)
    reference = rng.standard_normal((4000, 10)) @ rng.standard_normal((10, 10))
    root = np.linalg.cholesky(np.cov(reference.T))
    features = draw_features(10, median_heuristic(reference))
    law = null_law(features.transform(reference))
    hits = 0
    for _ in range(runs):
        x, y = rng.standard_normal((500, 10)) @ root.T, rng.standard_normal((300, 10)) @ root.T
        distance = mmd2(features.total(x), 500, features.total(y), 300)
        hits += float(law.p_value(distance, 1 / 500 + 1 / 300)) < LEVEL
    _judge("rff-gamma-type-one", "type I error at .05 of the gamma law of the kernel distance: .03 to .07", hits, runs)


@pytest.mark.parametrize("runs", RUNS)
def test_type_one_error_of_the_classifier(runs):
    rng = np.random.default_rng(72)
    hits = 0
    for run in range(runs):
        old, new = rng.standard_normal((400, 6)), rng.standard_normal((300, 6))
        hits += domain_classifier(old, new, seed=run).p_value < LEVEL
    _judge(
        "domain-classifier-type-one", "type I error at .05 of the classifier judged on one half: .03 to .07", hits, runs
    )
