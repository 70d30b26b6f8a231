"""Paired comparisons against definitions, closed forms and published numbers."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats
from sklearn import metrics as sk

from metrics_py.quality import score_histograms
from metrics_py.quality.champion import PairedDifference, delong_test, mcnemar, paired_difference, promotion


def test_paired_difference_of_means_is_the_paired_t_test():
    rng = np.random.default_rng(6)
    champion = rng.normal(0.7, 0.1, 64)
    challenger = champion + rng.normal(0.01, 0.02, 64)
    rows = np.ones(64)
    found = paired_difference(lambda s, n: s / n, [champion, rows], [challenger, rows], n=64)
    expected = stats.ttest_rel(challenger, champion)
    assert_allclose(found.p_value, expected.pvalue, rtol=1e-9)
    interval = expected.confidence_interval(0.95)
    assert_allclose([found.ci_low, found.ci_high], [interval.low, interval.high], rtol=1e-9)
    assert_allclose(found.difference, found.challenger - found.champion)


def test_paired_difference_of_areas_from_marginal_histograms():
    rng = np.random.default_rng(7)
    n = 20_000
    y, bucket = (rng.random(n) < 0.3).astype(int), rng.integers(0, 64, n)
    shared = y + rng.normal(0, 1, n)
    old, new = (1 / (1 + np.exp(-(shared + rng.normal(0, s, n)))) for s in (0.6, 0.5))

    def histogram(score, flag):
        table = np.zeros((64, 256))
        np.add.at(table, (bucket[y == flag], (score[y == flag] * 256).astype(int)), 1)
        return table

    sides = [[histogram(s, 1), histogram(s, 0)] for s in (old, new)]
    found = paired_difference(score_histograms.roc_auc, *sides, n=n)
    exact = delong_test(y, old, new)
    assert_allclose(found.difference, exact.effect, atol=5e-4)
    width, reference = found.ci_high - found.ci_low, exact.effect_ci_high - exact.effect_ci_low
    assert 0.75 < width / reference < 1.3


def test_paired_difference_reports_what_is_undefined():
    two = [np.array([3.0, 4.0]), np.array([5.0, 5.0])]
    none = [np.zeros(2), np.zeros(2)]
    found = paired_difference(lambda s, n: s / np.where(n > 0, n, np.nan), two, none, n=10)
    assert (found.status, found.champion, found.challenger) == ("insufficient_data", 0.7, None)
    assert "challenger is undefined" in found.reason
    single = paired_difference(lambda s, n: s / n, [[3.0], [5.0]], [[4.0], [5.0]], n=5)
    assert single.status == "insufficient_data"
    assert single.difference == pytest.approx(0.2)
    for challenger in (two, [np.array([4.0, 5.0]), two[1]]):  # equal, and better by the same in every bucket
        same = paired_difference(lambda s, n: s / n, two, challenger, n=10)
        assert (same.p_value, same.ci_low, same.status) == (None, None, "insufficient_data")
        assert same.difference == pytest.approx(float(np.sum(challenger[0]) - 7) / 10)
        assert "does not say how precise" in same.reason
        assert promotion(same, margin=0.01).decision == "insufficient_data"
    with pytest.raises(ValueError, match="1 aggregates of the champion, 2 of the challenger"):
        paired_difference(lambda s, n: s / n, two[:1], two, n=10)


@pytest.mark.parametrize(("b", "c"), [(10, 2), (0, 0), (0, 5), (59, 6), (150, 150)])
def test_mcnemar_is_the_exact_binomial_test(b, c):
    result = mcnemar(b, c, 1000)
    expected = stats.binomtest(c, b + c, 0.5).pvalue if b + c else 1.0
    assert_allclose(result.p_value, expected, rtol=1e-9)
    assert_allclose(result.effect, (c - b) / 1000)
    assert result.effect_ci_low <= result.effect <= result.effect_ci_high


def test_mcnemar_published():
    # Agresti, Categorical Data Analysis, table 10.1: 794 approve twice, 150 change to no, 86 to yes; 570 never
    result = mcnemar(150, 86, 1600)
    assert_allclose(result.effect, -0.04, atol=1e-12)
    assert_allclose([result.effect_ci_low, result.effect_ci_high], [-0.0587, -0.0212], atol=2e-4)
    assert result.p_value < 1e-4
    empty = mcnemar(0, 0, 0)
    assert (empty.p_value, empty.status, empty.reason) == (None, "insufficient_data", "no rows to compare")
    with pytest.raises(ValueError, match="at most n=5"):
        mcnemar(4, 3, 5)


def delong_by_definition(y, old, new):
    """Covariance of structural components in O(P N)."""
    components = []
    for score in (old, new):
        pos, neg = score[y == 1][:, None], score[y == 0]
        wins = (pos > neg) + 0.5 * (pos == neg)
        components.append((wins.mean(axis=1), wins.mean(axis=0)))
    s10, s01 = (np.cov(components[0][i], components[1][i]) for i in (0, 1))
    total = s10 / (y == 1).sum() + s01 / (y == 0).sum()
    contrast = np.array([-1, 1])
    return contrast @ total @ contrast


@pytest.mark.parametrize("decimals", [12, 1])
def test_delong_matches_the_definition_with_and_without_ties(decimals):
    rng = np.random.default_rng(8)
    y = (rng.random(300) < 0.4).astype(int)
    old, new = (np.round(y + rng.normal(0, s, 300), decimals) for s in (1.2, 1.0))
    result = delong_test(y, old, new)
    assert_allclose(result.effect, sk.roc_auc_score(y, new) - sk.roc_auc_score(y, old), atol=1e-12)
    error = np.sqrt(delong_by_definition(y, old, new))
    assert_allclose(result.statistic, result.effect / error, rtol=1e-9)
    assert_allclose(result.p_value, 2 * stats.norm.sf(abs(result.statistic)), rtol=1e-9)


def test_delong_edges():
    y = np.array([0, 1, 0, 1, 1])
    same = delong_test(y, [1, 2, 3, 4, 5], [1, 2, 3, 4, 5])
    assert (same.effect, same.p_value, same.status) == (0.0, None, "insufficient_data")
    turned = delong_test([0, 0, 1, 1], [4, 3, 2, 1], [1, 2, 3, 4])  # every pair wrong against every pair right
    assert (turned.effect, turned.p_value, turned.effect_ci_low) == (1.0, None, None)
    assert "no variance" in turned.reason
    few = delong_test([0, 1, 1], [1, 2, 3], [1, 3, 2])
    assert (few.p_value, few.status) == (None, "insufficient_data")
    assert few.reason == "2 positive and 1 negative rows, 2 of each needed"
    with pytest.raises(ValueError, match="equal length"):
        delong_test(y, [1, 2], [1, 2, 3, 4, 5])
    with pytest.raises(ValueError, match="0 and 1"):
        delong_test([0, 1, 2, 0, 1], [1, 2, 3, 4, 5], [1, 2, 3, 4, 5])
    with pytest.raises(ValueError, match="NaN"):
        delong_test(y, [1, 2, np.nan, 4, 5], [1, 2, 3, 4, 5])


def difference(low, high):
    return PairedDifference(0.8, 0.8 + (low + high) / 2, (low + high) / 2, low, high, 0.5, 1000)


UNKNOWN = PairedDifference(0.8, None, None, None, None, None, 10, "insufficient_data", "undefined")


@pytest.mark.parametrize(
    ("primary", "guardrails", "decision", "is_superior"),
    [
        (difference(0.001, 0.02), {}, "promote", True),
        (difference(-0.004, 0.02), {}, "promote", False),
        (difference(-0.006, 0.02), {}, "keep", False),
        (difference(0.001, 0.02), {"carrier=HA": difference(-0.02, -0.006)}, "keep", True),
        (difference(0.001, 0.02), {"carrier=HA": difference(-0.03, 0.03)}, "keep", True),
        (difference(0.001, 0.02), {"carrier=HA": UNKNOWN}, "insufficient_data", True),
        (difference(-0.03, -0.02), {"carrier=HA": UNKNOWN}, "keep", False),
        (UNKNOWN, {}, "insufficient_data", False),
    ],
)
def test_promotion_rule(primary, guardrails, decision, is_superior):
    verdict = promotion(primary, guardrails, margin=0.005)
    assert (verdict.decision, verdict.is_superior) == (decision, is_superior)
    assert set(verdict.criteria) == {"primary", *guardrails}


def test_promotion_turns_errors_round():
    smaller_error = difference(-0.02, -0.001)
    assert promotion(smaller_error, margin=0.005, direction="lower_is_better").is_superior
    verdict = promotion(
        difference(0.001, 0.02),
        {"log_loss": smaller_error},
        margin=0.005,
        guardrail_directions={"log_loss": "lower_is_better"},
        guardrail_margins={"log_loss": 0.01},
    )
    assert verdict.decision == "promote"
    assert verdict.criteria["log_loss"] == "superior"


def test_promotion_refuses_what_cannot_work():
    with pytest.raises(ValueError, match="must be positive"):
        promotion(UNKNOWN, margin=0)
    with pytest.raises(ValueError, match="'x' is no guardrail"):
        promotion(UNKNOWN, margin=0.1, guardrail_margins={"x": 1.0})
    with pytest.raises(ValueError, match="direction='up'"):
        promotion(difference(0.0, 1.0), margin=0.1, direction="up")
