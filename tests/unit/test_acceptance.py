"""The region in which a simulation's promise counts as kept, against exact binomial tails."""

from __future__ import annotations

import pytest
from scipy.stats import binom

from tests.support import acceptance


@pytest.mark.parametrize("promise", [0.01, 0.025, 0.05, 0.075, 0.2])
def test_a_kept_promise_passes_and_one_broken_by_a_third_fails(promise):
    n = acceptance.repetitions(promise)
    for runs in (n, n + 1, n + 7, 2 * n):
        bearable = acceptance.most(runs, promise)
        assert binom.sf(bearable, runs, promise) <= 0.01 < binom.sf(bearable - 1, runs, promise)
        assert binom.sf(bearable, runs, 1.3 * promise) >= 0.9
    assert binom.sf(acceptance.most(n // 2, promise), n // 2, 1.3 * promise) < 0.9


def test_a_smaller_run_says_what_it_can_find():
    n = acceptance.repetitions(0.05)
    assert acceptance.found_rate(n, 0.05) == pytest.approx(0.065, abs=1e-3)
    assert 0.09 < acceptance.found_rate(n // 10, 0.05) < 0.12


def test_more_failures_than_are_borne_fail_the_test():
    acceptance.check(acceptance.most(300, 0.05), 300, 0.05)
    with pytest.raises(AssertionError, match="at most 24 are borne"):
        acceptance.check(25, 300, 0.05, "a case")
