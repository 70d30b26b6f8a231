"""Bounds of rows without a label against every way to label them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score

from metrics_py.quality.missing_labels import BOUNDED, worst_and_best

SCORES = {
    "accuracy": accuracy_score,
    "precision": lambda y, d: precision_score(y, d, zero_division=np.nan),
    "recall": lambda y, d: recall_score(y, d, zero_division=np.nan),
    "specificity": lambda y, d: recall_score(y, d, pos_label=0, zero_division=np.nan),
    "f1": lambda y, d: f1_score(y, d, zero_division=np.nan),
    "positive_rate": lambda y, d: float(np.mean(y)),
}


def every_way(metric: str, tp: int, fp: int, fn: int, tn: int, u1: int, u0: int) -> tuple[float, float]:
    """Lowest and highest value over all labels of each single row, where it is defined."""
    decisions = np.array([1] * (tp + fp) + [0] * (fn + tn) + [1] * u1 + [0] * u0)
    known = [1] * tp + [0] * fp + [1] * fn + [0] * tn
    found = [
        SCORES[metric](np.array(known + list(rest)), decisions) for rest in itertools.product((0, 1), repeat=u1 + u0)
    ]
    values = np.array([value for value in found if np.isfinite(value)])
    return (float(values.min()), float(values.max())) if len(values) else (np.nan, np.nan)


CASES = [
    (3, 1, 2, 5, 2, 3),
    (0, 0, 0, 0, 2, 2),
    (0, 0, 0, 0, 3, 0),
    (0, 0, 0, 0, 0, 3),
    (0, 4, 0, 3, 2, 0),
    (0, 0, 0, 4, 0, 2),
    (5, 0, 0, 0, 0, 1),
    (2, 2, 2, 2, 1, 0),
    (0, 0, 3, 0, 2, 1),
    (0, 2, 0, 0, 0, 0),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("metric", BOUNDED)
def test_they_are_those_of_the_worst_and_the_best_way(metric):
    rng = np.random.default_rng(401)
    cases = [*CASES, *map(tuple, rng.integers(0, 4, (40, 6)).tolist())]
    cases = [case for case in cases if sum(case)]
    columns = [np.array(column, dtype=float) for column in zip(*cases, strict=True)]
    low, high = worst_and_best(metric, *columns)
    wanted = np.array([every_way(metric, *case) for case in cases])
    np.testing.assert_allclose(low, wanted[:, 0], atol=1e-12)
    np.testing.assert_allclose(high, wanted[:, 1], atol=1e-12)


def test_without_missing_labels_they_are_the_value():
    counts = [np.array([n]) for n in (30.0, 10.0, 20.0, 40.0, 0.0, 0.0)]
    for metric in BOUNDED:
        low, high = worst_and_best(metric, *counts)
        assert low == high
