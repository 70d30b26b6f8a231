"""Tail of uncovered values against scipy's beta-binomial, and against sampling."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import betabinom

from metrics_py.drift.novel_values import uncovered_p


@pytest.mark.parametrize(("n", "m", "s"), [(1, 19, 1), (200, 2000, 1), (5000, 500, 1), (300, 1000, 40), (50, 60, 59)])
def test_the_tail_is_beta_binomial(n, m, s):
    x = np.arange(0, min(n, 40) + 1)
    expected = betabinom.sf(x - 1, n, s + 1, m - s)
    assert_allclose(uncovered_p(x, n, m, s), expected, rtol=1e-7, atol=1e-11)


def test_many_singletons_are_approximated_closely():
    x = np.arange(3000, 3400, 50)
    expected = betabinom.sf(x - 1, 10_000, 3001, 7000)
    assert_allclose(uncovered_p(x, 10_000, 10_000, 3000), expected, atol=0.01)


def test_nothing_outside_is_no_surprise():
    assert uncovered_p([0, 3, 2], [10, 0, 5], [10, 10, 2], [1, 1, 2]).tolist() == [1, 1, 1]
    assert uncovered_p(np.nan, 10, 10, 1).tolist() == [1]


def test_p_values_of_ranges_are_valid_without_drift():
    rng = np.random.default_rng(41)
    reference, current = rng.normal(size=(20_000, 50)), rng.normal(size=(20_000, 200))
    outside = (current < reference.min(axis=1, keepdims=True)) | (current > reference.max(axis=1, keepdims=True))
    p = uncovered_p(outside.sum(axis=1), 200, 50, 1)
    for level in (0.2, 0.05, 0.01):
        assert level * 0.7 < (p <= level).mean() < level * 1.1
