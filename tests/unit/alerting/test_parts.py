"""The parts of the alert engine, each against a plain computation of the same thing."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from metrics_py.alerting import EngineConfig
from metrics_py.alerting.baseline import Baseline
from metrics_py.alerting.columns import decode, encode
from metrics_py.alerting.evidence import LAMBDAS, Evidence, adjusted_evidence
from metrics_py.alerting.incidents import change_gain, change_point, incident_id
from metrics_py.alerting.tails import GRID, Tails

ONE = np.array([0])


def daily(**settings):
    return EngineConfig.from_budget(1, timedelta(days=90), **settings)


# -- settings and calendar ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("window", "c", "season", "slots"),
    [
        (timedelta(days=1), 90, "weekday", 7),
        (timedelta(hours=1), 2160, "hour_of_week", 168),
        (timedelta(days=7), 90 / 7, None, 1),
    ],
)
def test_budget_in_windows(window, c, season, slots):
    config = EngineConfig.from_budget(1, timedelta(days=90), window=window)
    assert config.threshold_windows == pytest.approx(c)
    assert (config.season, config.slots) == (season, slots)


def test_two_incidents_halve_the_threshold():
    assert EngineConfig.from_budget(2, timedelta(days=90)).threshold_windows == 45


@pytest.mark.parametrize(
    "settings",
    [
        {"threshold_windows": 0.5},
        {"threshold_windows": float("nan")},
        {"threshold_windows": 90, "season": "month"},
        {"threshold_windows": 90, "warmup": 3},
        {"threshold_windows": 90, "weights": {"a": 0}},
        {"threshold_windows": 90, "window": timedelta(0)},
        {"threshold_windows": 90, "new_normal_after": 10_000},
        {"threshold_windows": 90, "warmup": 60, "memory": 50},
    ],
)
def test_impossible_settings_are_refused_with_a_fix(settings):
    with pytest.raises(ValueError, match="fix:"):
        EngineConfig(**settings)


@pytest.mark.parametrize("window", [timedelta(hours=1), timedelta(days=1), timedelta(days=7)])
def test_index_and_start_are_inverse(window):
    config = EngineConfig.from_budget(1, timedelta(days=90), window=window)
    moment = datetime(2026, 3, 4, 17, 25, tzinfo=UTC)
    start = config.start(config.index(moment))
    assert start <= moment < start + window
    assert config.index(start) == config.index(moment)
    assert config.index(moment.replace(tzinfo=None)) == config.index(moment)


def test_slots_follow_the_calendar():
    wednesday = date(2026, 3, 4)
    assert daily().slot(np.array(daily().index(wednesday))) == wednesday.weekday()
    hourly = EngineConfig.from_budget(1, timedelta(days=90), window=timedelta(hours=1))
    assert hourly.slot(np.array(hourly.index(datetime(2026, 3, 4, 17)))) == 2 * 24 + 17
    weekly = EngineConfig.from_budget(1, timedelta(days=90), window=timedelta(days=7))
    assert weekly.start(weekly.index(wednesday)).weekday() == 0


def test_holidays_mask_windows_that_lie_in_them():
    day = date(2026, 12, 25)
    config = daily(holidays=[day])
    assert config.is_holiday(config.index(day))
    assert not config.is_holiday(config.index(date(2026, 12, 26)))
    hourly = EngineConfig.from_budget(1, timedelta(days=90), window=timedelta(hours=1), holidays=[day])
    assert hourly.is_holiday(hourly.index(datetime(2026, 12, 25, 23)))
    weekly = EngineConfig.from_budget(1, timedelta(days=90), window=timedelta(days=7), holidays=[day])
    assert not weekly.is_holiday(weekly.index(day))


def test_weights_take_the_first_pattern_that_matches():
    config = daily(weights={"drift/*": 2.0, "*": 0.5})
    assert [config.weight(name) for name in ("drift/age", "volume")] == [2.0, 0.5]
    assert daily().weight("volume") == 1.0


# -- baseline ----------------------------------------------------------------------------------------------------------


def run_baseline(values, slots=7, variances=None, gaps=None):
    """Feed one stream; returns the predictions and the baseline."""
    baseline = Baseline(1, slots)
    baseline.center[0] = values[0]
    windows = np.arange(len(values)) if gaps is None else gaps
    out = []
    for k, value in enumerate(values):
        variance = np.array([0.0 if variances is None else variances[k]])
        at, slot = np.array([windows[k]]), windows[k : k + 1] % slots
        prediction = baseline.predict(ONE, np.array([value]), variance, slot, at, baseline.correlations(ONE, ONE))
        lesson = baseline.teach(ONE, np.array([value]), variance, slot, at, prediction)
        out.append((prediction, lesson))
    return out, baseline


def alone(r, m):
    """The correlation of a stream without others: its own, at most half of it and back by the two variances."""
    own_past = np.clip(r, -0.2, 0.9) * m / (m + 3)
    if m < 8:
        return own_past
    center = np.clip(r, -1, 1) / 2
    between, noise = 8 * 0.09 / 9, (1 - min(center, 0.95) ** 2) / m
    own = between / (between + noise)
    return min(own_past, max(center + own * (r - center) + np.sqrt(own * noise), -0.2))


def plain_residuals(values, slots=7):
    """The same residuals with lists and loops, from the definition."""
    seen = {k: [] for k in range(slots)}
    deviations, residuals, crosses, squares = [], [], [], []
    for t, value in enumerate(values):
        past = seen[t % slots]
        if past:
            d = (value - np.mean(past)) / np.sqrt(1 + 1 / len(past))
            m = len(crosses)
            rho = 0.0
            if m and np.mean(squares) > 0:
                raw = np.mean(crosses) / np.mean(squares)
                rho = alone(raw + (1 + 3 * raw) / m, m)
            w = d - rho * deviations[-1] if deviations and deviations[-1] is not None else d
            residuals.append((value - d * np.sqrt(1 + 1 / len(past)), w))
            if deviations and deviations[-1] is not None:
                crosses.append(d * deviations[-1])
            squares.append(d * d)
            deviations.append(d)
        else:
            residuals.append((None, None))
            deviations.append(None)
        past.append(value)
    return residuals


def test_residuals_follow_their_definition():
    values = 1e6 + np.random.default_rng(1).standard_normal(60)
    got, _ = run_baseline(values)
    for (prediction, _), (level, w) in zip(got, plain_residuals(values), strict=True):
        if w is None:
            assert np.isnan(prediction.residual[0])
        else:
            assert prediction.level[0] == pytest.approx(level, abs=1e-6)
            assert prediction.residual[0] == pytest.approx(w, abs=1e-6)


def test_scores_of_normal_days_are_exactly_t():
    """With no autocorrelation estimated, u is t with as many degrees of freedom as residuals: uniform given it."""
    rng = np.random.default_rng(2)
    streams, days = 4000, 40
    baseline = Baseline(streams, 7)
    i, none = np.arange(streams), np.zeros(streams)
    baseline.center[:] = 0.0
    for t in range(days):
        at = np.full(streams, t)
        prediction = baseline.predict(i, x := rng.standard_normal(streams), none, at % 7, at, none)
        baseline.teach(i, x, none, at % 7, at, prediction)
    p = stats.t.sf(prediction.score, days - 8)
    assert stats.kstest(p, "uniform").pvalue > 1e-3


def test_forgetting_is_as_if_never_taught():
    values = np.random.default_rng(3).standard_normal(50)
    got, baseline = run_baseline(values)
    _, short = run_baseline(values[:40])
    lessons = [lesson for _, lesson in got[40:]]
    stacked = type(lessons[0])(
        **{name: np.concatenate([getattr(x, name) for x in lessons]) for name in vars(lessons[0])}
    )
    baseline.forget(0, np.arange(40, 50) % 7, stacked, np.zeros(10))
    for name in Baseline.FIELDS:
        if name not in ("last_deviation", "last_weight", "last_window"):
            np.testing.assert_allclose(getattr(baseline, name), getattr(short, name), atol=1e-9, err_msg=name)


def test_an_outlier_teaches_as_eight_sigma():
    values = np.random.default_rng(4).standard_normal(60)
    calm, _ = run_baseline(values)
    values[50] = 1e9
    _, baseline = run_baseline(values)
    assert np.sqrt(baseline.square_sum[0] / baseline.square_count[0]) < 3
    assert calm[-1][0].sigma[0] < 2


def test_noisy_windows_are_judged_by_their_own_variance():
    values = np.random.default_rng(5).standard_normal(60) * 0.1
    values[-1] = 1.0
    variances = np.full(60, 0.01)
    got, _ = run_baseline(values, variances=variances)
    variances[-1] = 1.0
    noisy, _ = run_baseline(values, variances=variances)
    assert got[-1][0].score[0] > 5
    assert noisy[-1][0].score[0] < 1.2
    assert noisy[-1][1].weight[0] < 0.05


def test_a_constant_stream_keeps_its_sampling_variance():
    """An always-zero null rate: the first null is not infinitely surprising."""
    n = 5000
    none, first = (np.arcsin(np.sqrt((x + 0.375) / (n + 0.75))) for x in (0, 1))
    got, _ = run_baseline(np.r_[np.full(50, none), first], variances=np.full(51, 1 / (4 * n + 2)))
    assert 0 < got[-1][0].score[0] < 2


def test_noisy_windows_weigh_alike_in_the_correlation_and_the_spread():
    """From 0 to 1 % for good: two windows that are 35 times as noisy as those before are no correlation of 0.9."""
    values = np.r_[np.random.default_rng(6).normal(0.0045, 2e-4, 60), 0.0915, 0.1002, 0.088, 0.0843]
    variances = np.r_[np.full(60, 1.4e-5), np.full(4, 5e-4)]
    got, _ = run_baseline(values, slots=1, variances=variances)
    assert all(prediction.expected[0] < 0.065 for prediction, _ in got[60:])
    shares = [
        lesson.cross[0] / np.sqrt(a.deviation[0] * lesson.deviation[0]) for (_, a), (_, lesson) in pairwise(got[2:])
    ]
    np.testing.assert_allclose(np.abs(shares), 1.0)


def test_after_a_gap_the_past_says_less():
    rng = np.random.default_rng(6)
    values = np.zeros(200)
    for t in range(1, 200):
        values[t] = 0.8 * values[t - 1] + rng.standard_normal()
    days = np.arange(200)
    near, _ = run_baseline(values, gaps=days)
    far, _ = run_baseline(values, gaps=np.r_[days[:-1], 199 + 7 * 4])
    assert far[-1][0].sigma[0] > 1.2 * near[-1][0].sigma[0]
    assert far[-1][0].expected[0] == pytest.approx(far[-1][0].level[0])


# -- tails -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("df", "low", "high"), [(3.0, 2.5, 4.0), (5.0, 3.5, 7.0), (30.0, 8.0, 8.0)])
def test_degrees_of_freedom_are_found(df, low, high):
    rng = np.random.default_rng(7)
    u = rng.standard_t(df, 4000) / np.sqrt(df / (df - 2)) * 1.1
    tails = Tails(1)
    tails.learn(np.zeros(4000, dtype=int), u)
    tails.refit()
    assert low <= tails.df_low[0] <= high
    assert low <= tails.df_high[0] <= high
    assert tails.scale_high[0] == pytest.approx(1.1, abs=0.12)


def test_a_small_pool_uses_the_prior():
    tails = Tails(1)
    tails.learn(np.zeros(40, dtype=int), np.random.default_rng(8).standard_t(3, 40))
    tails.refit()
    assert tails.df_low[0] == tails.df_high[0] == GRID[-1]


def test_tail_probability_is_that_of_the_scaled_t():
    tails = Tails(1)
    u = np.array([-5.0, -0.3, 0.0, 2.0, 50.0])
    p = tails.p_upper(np.zeros(5, dtype=int), u)
    np.testing.assert_allclose(p, stats.t.sf(np.abs(u) * np.sqrt(8 / 6), 8))
    z = tails.normal_score(np.zeros(5, dtype=int), u)
    np.testing.assert_allclose(z[[0, 1, 3]], np.sign(u[[0, 1, 3]]) * stats.norm.isf(p[[0, 1, 3]]))
    assert z[2] == 0
    assert np.abs(z).max() <= 8


def test_unlearning_restores_the_pool():
    rng = np.random.default_rng(9)
    pool = np.zeros(300, dtype=int)
    kept, gone = rng.standard_normal(300), rng.standard_normal(300)
    tails, same = Tails(1), Tails(1)
    for part in (tails, same):
        part.learn(pool, kept)
    tails.learn(pool, gone)
    tails.learn(pool, gone, -1)
    np.testing.assert_array_equal(tails.counts, same.counts)
    assert tails.square_low[0] == pytest.approx(same.square_low[0])


# -- evidence ----------------------------------------------------------------------------------------------------------


def test_evidence_is_the_shiryaev_roberts_sum():
    """M by recursion equals the sum over all starting points of the product of e-values, with the gaps as credit."""
    rng = np.random.default_rng(10)
    z, elapsed = rng.standard_normal(12), rng.integers(1, 4, 12).astype(float)
    evidence = Evidence(1)
    for score, dt in zip(z, elapsed, strict=True):
        up, down = (np.exp(sign * LAMBDAS * score - LAMBDAS**2 / 2)[None, :] for sign in (1, -1))
        evidence.update(ONE, up, down, np.array([dt]))
    total = 0.0
    for sign in (1, -1):
        for lam in LAMBDAS:
            e = np.exp(sign * lam * z - lam**2 / 2)
            total += sum(elapsed[k] * np.prod(e[k:]) for k in range(12)) / (2 * len(LAMBDAS))
    assert evidence.total()[0] == pytest.approx(total)


def test_e_values_have_mean_one():
    z = np.random.default_rng(11).standard_normal(400_000)
    for lam in LAMBDAS[:3]:
        assert np.exp(lam * z - lam**2 / 2).mean() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("seed", range(20))
def test_adjusted_evidence_decides_as_e_d_bh(seed):
    rng = np.random.default_rng(seed)
    family = rng.integers(0, 4, 40)
    weighted = rng.exponential(20, 40)
    adjusted = adjusted_evidence(weighted, family)
    c = 60.0
    for f in range(4):
        mine = np.flatnonzero(family == f)
        ordered = np.sort(weighted[mine])[::-1]
        passing = [k for k in range(1, len(ordered) + 1) if ordered[k - 1] >= c / k]
        limit = ordered[max(passing) - 1] if passing else np.inf
        np.testing.assert_array_equal(adjusted[mine] >= c - 1e-9, weighted[mine] >= limit)


def test_rejection_removes_at_least_c():
    """The accounting behind the budget: the weighted evidence of the rejected streams sums to at least c."""
    rng = np.random.default_rng(12)
    for _ in range(200):
        weighted = rng.exponential(rng.uniform(1, 30), 30)
        rejected = adjusted_evidence(weighted, np.zeros(30, dtype=int)) >= 90
        assert not rejected.any() or weighted[rejected].sum() >= 90 - 1e-9


# -- change points and names -------------------------------------------------------------------------------------------


def test_change_point_is_the_brute_force_maximum():
    rng = np.random.default_rng(13)
    z = rng.standard_normal((3, 30))
    z[:, 20:] += 1.5
    z[1, 5:9] = np.nan
    gains = [sum((np.nansum(row[k:]) ** 2) / np.isfinite(row[k:]).sum() for row in z) for k in range(z.shape[1])]
    np.testing.assert_allclose(change_gain(z), gains)
    assert change_point(z) == int(np.argmax(gains))


def test_incident_names_do_not_depend_on_the_order_of_streams():
    assert incident_id("2026-01-31", ["a", "b"]) == incident_id("2026-01-31", ["b", "a"])
    assert incident_id("2026-01-31", ["a"]) != incident_id("2026-01-31", ["b"])


@pytest.mark.parametrize(
    "array", [np.arange(6.0).reshape(2, 3), np.array([np.nan, np.inf]), np.array([], dtype=np.int64)]
)
def test_arrays_travel_bit_for_bit(array):
    back = decode(encode(array))
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)
    back[...] = 0
