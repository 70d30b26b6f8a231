"""P-values from ranks and the pooled tail: right for atoms, safe as evidence, silent where nothing varies."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, stats

from metrics_py.alerting.evidence import LAMBDAS
from metrics_py.alerting.history import History
from metrics_py.alerting.predictive import LAG, Ranks, misfit, predictive_ranks
from metrics_py.alerting.replay import replay
from tests.support.alerting import daily, log


def ranked(past, value, tail=0.5, variance=0.0, heat=0.0, pooled=None):
    """Ranks of one value among past ones (scores are the values), with `LAG` windows of zeros between.

    `pooled` are the p-values that the pooled tail gave to the past.
    """
    recent = np.full(LAG, np.mean(past))
    history = History(1, len(past) + LAG + 5)
    one = np.array([0])
    for k, x in enumerate([*past, *recent]):
        history.append(one, np.array([k]), np.array([x]), np.zeros(1), np.zeros(1))
        history.score[0, k] = x
        history.weight[0, k] = 1.0
        history.pooled[0, k] = np.nan if pooled is None or k >= len(past) else pooled[k]
    ranks = predictive_ranks(
        history, one, np.array([value]), np.array([variance]), np.array([value]), np.array([tail]), np.array([heat])
    )
    return [(float(side.low[0]), float(side.high[0])) for side in ranks]


def test_an_atom_has_the_interval_of_its_ranks():
    past = [0.0] * 30 + [1.0] * 6 + [-1.0] * 3
    up, down = ranked(past, 0.0)
    assert up == pytest.approx((6 / 40, 37 / 40))
    assert down == pytest.approx((3 / 40, 34 / 40))


def test_values_within_their_sampling_error_are_ties():
    past = list(np.linspace(-0.01, 0.01, 39))
    assert ranked(past, 0.0, variance=1.0)[0] == pytest.approx((0.0, 1.0))
    narrow = ranked(past, 0.0)[0]
    assert narrow[0] == narrow[1]


def test_the_tail_decides_beyond_the_past_and_ranks_bound_it_within():
    past = list(np.arange(39.0))
    assert ranked(past, 100.0, tail=1e-6)[0] == (1e-6, 1e-6)
    assert ranked(past, 100.0, tail=0.4)[0] == (0.4, 0.4), "a new extreme that is not far out is no news"
    assert ranked(past, 18.5, tail=1e-6)[0] == pytest.approx(((20 - 2 * 20**0.5) / 40,) * 2), (
        "half of the past is farther"
    )


def test_a_tail_that_does_not_fit_the_stream_may_not_contradict_its_ranks():
    past = list(np.arange(39.0))
    fits, not_so = np.linspace(0.99, 0.01, 39), np.linspace(0.9, 0.4, 39)
    assert stats.kstest(fits, "uniform").pvalue > 0.9
    assert stats.kstest(not_so, "uniform").pvalue < 0.01
    assert ranked(past, 18.5, tail=1e-6, pooled=fits)[0] == pytest.approx(((20 - 2 * 20**0.5) / 40,) * 2)
    assert ranked(past, 18.5, tail=1e-6, pooled=not_so)[0] == pytest.approx((20 / 40,) * 2)


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_the_misfit_is_the_statistic_of_the_kolmogorov_smirnov_test(missing):
    rng = np.random.default_rng([45, int(10 * missing)])
    p = rng.random((20, 128)) ** rng.uniform(0.5, 1.5, (20, 1))
    p[rng.random(p.shape) < missing] = np.nan
    expected = [stats.kstest(row[np.isfinite(row)], "uniform").statistic * np.isfinite(row).sum() ** 0.5 for row in p]
    np.testing.assert_allclose(misfit(p), expected, rtol=1e-12)
    assert misfit(np.full((1, 128), np.nan)).tolist() == [0.0]


def test_few_windows_leave_it_to_the_tail():
    assert ranked(list(np.arange(15.0)), 7.0, tail=0.01)[0] == (0.01, 0.01)


@pytest.mark.parametrize(("low", "high"), [(0.0, 0.3), (0.15, 1.0), (0.2, 0.9), (0.0, 1.0), (0.04, 0.05)])
def test_averages_are_integrals_over_the_randomisation(low, high):
    ranks = Ranks(np.array([low]), np.array([high]))
    for k, lam in enumerate(LAMBDAS):
        exact, _ = integrate.quad(lambda p, lam=lam: np.exp(lam * stats.norm.isf(p) - lam**2 / 2), low, high, limit=500)
        assert ranks.e_values(LAMBDAS)[0, k] == pytest.approx(exact / (high - low), rel=1e-4)
    mean, _ = integrate.quad(stats.norm.isf, low, high, limit=500)
    assert ranks.normal_scores()[0] == pytest.approx(mean / (high - low), abs=1e-6)


def test_a_narrow_interval_is_nearly_its_point():
    narrow, point = Ranks(np.array([0.02]), np.array([0.0200001])), Ranks(np.array([0.02]), np.array([0.02]))
    np.testing.assert_allclose(narrow.e_values(LAMBDAS), point.e_values(LAMBDAS), rtol=1e-4)
    np.testing.assert_allclose(narrow.normal_scores(), point.normal_scores(), rtol=1e-4)


@pytest.mark.parametrize("kind", ["zeros", "counts", "skewed", "normal"])
def test_e_values_of_exchangeable_scores_have_mean_at_most_one(kind):
    rng = np.random.default_rng([5, len(kind)])
    draw = {
        "zeros": lambda n: np.where(rng.random(n) < 0.85, 0.0, rng.poisson(8, n)),
        "counts": lambda n: rng.poisson(2, n).astype(float),
        "skewed": lambda n: np.exp(rng.standard_normal(n)),
        "normal": rng.standard_normal,
    }[kind]
    streams, kept = 4000, 60
    history = History(streams, kept + LAG)
    i = np.arange(streams)
    values = draw(streams * (kept + LAG + 1)).reshape(-1, streams)
    for k, x in enumerate(values[:-1]):
        history.append(i, np.full(streams, k), x, np.zeros(streams), np.zeros(streams))
        history.score[i, k] = x
        history.weight[i, k] = 1.0
    new = values[-1]
    law = np.sort(draw(1_000_000))
    tail = (len(law) - np.searchsorted(law, new, side="left") + 0.5) / (len(law) + 1)
    up, down = predictive_ranks(history, i, new, np.zeros(streams), new, tail, np.zeros(streams))
    for side in (up, down):
        e = side.e_values(LAMBDAS[:3])
        error = 4 * e.std(axis=0) / np.sqrt(streams)
        assert (e.mean(axis=0) <= 1 + error + 0.05).all()


def test_a_stream_that_never_varies_gathers_no_evidence():
    streams = replay(log(np.full(2000, 3.0)), daily()).streams
    assert streams["evidence"].max() < 5, "nothing is added once it has a past"
    assert streams["status"].is_in(["ok", "insufficient_data"]).all()


def test_mostly_zero_days_are_no_news():
    rng = np.random.default_rng(31)
    values = np.where(rng.random((1000, 10)) < 0.85, 0.0, rng.poisson(8, (1000, 10)))
    names = [f"s{k}" for k in range(10)]
    found = replay(log(np.arcsin(np.sqrt((values + 0.375) / 5000.75)), names), daily())
    assert len(found.incidents) <= 5, "a smooth law makes some twenty of it; the budget allows eleven"
