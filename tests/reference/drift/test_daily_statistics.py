"""Day-level decision statistics: scales, variances, volume, small windows, awkward columns."""

from __future__ import annotations

import numpy as np
import pytest

from metrics_py.drift.daily_statistics import column_streams
from metrics_py.drift.effects import psi_effect
from metrics_py.drift.smooth_components import smooth_components
from metrics_py.profile.build import build_profile, count

RNG = np.random.default_rng(41)


def by_name(streams):
    return {stream.statistic: stream for stream in streams}


def normal_days(profile, sizes, **law):
    return np.stack([count(profile, RNG.normal(size=n, **law)) for n in sizes])


@pytest.fixture(scope="module")
def profile():
    return build_profile(RNG.normal(size=200_000), "numeric", column="x", rows_per_window=5000)


def test_streams_of_each_kind(profile):
    days = normal_days(profile, [1000, 1000])
    assert list(by_name(column_streams(profile, days))) == [
        "location", "spread", "skew", "tails", "log_psi", "null_rate", "out_of_range_rate"
    ]  # fmt: skip
    words = build_profile(["a", "b", None] * 500, "categorical")
    assert list(by_name(column_streams(words, words.n_reference[None]))) == ["log_psi", "null_rate", "unseen_rate"]
    flags = build_profile([True, False] * 500, "boolean")
    assert list(by_name(column_streams(flags, flags.n_reference[None]))) == ["true_rate", "null_rate"]
    spiky = build_profile(np.r_[np.zeros(500), np.full(200, -1.0), RNG.normal(size=500)], "numeric")
    names = list(by_name(column_streams(spiky, spiky.n_reference[None])))
    assert names[-2:] == ["atom_rate:0", "atom_rate:-1"]


def test_values_are_the_documented_statistics(profile):
    days = normal_days(profile, [4000, 6000], loc=0.2, scale=1.1)
    streams = by_name(column_streams(profile, days))
    reference, current = profile.merged(profile.n_reference), profile.merged(days)
    components = smooth_components(reference, current)
    for j, name in enumerate(("location", "spread", "skew", "tails")):
        np.testing.assert_allclose(streams[name].value, components[:, j])
        np.testing.assert_allclose(streams[name].variance, 1 / np.array([4000, 6000]))
    np.testing.assert_allclose(streams["log_psi"].display, psi_effect(reference, current).debiased)
    np.testing.assert_allclose(streams["location"].display, 0.2, atol=0.05)
    np.testing.assert_allclose(streams["spread"].display, 1.1, atol=0.04)
    nulls = days.copy()
    nulls[:, profile.bin_kind.index("null")] = 1000
    rate = by_name(column_streams(profile, nulls))["null_rate"]
    np.testing.assert_allclose(rate.value, np.arcsin(np.sqrt(1000.375 / (np.array([5000, 7000]) + 0.75))))
    np.testing.assert_allclose(rate.variance, 1 / (4 * np.array([5000, 7000])))
    np.testing.assert_allclose(rate.display, 1000 / np.array([5000, 7000]))


def test_rows_without_the_column_are_missing(profile):
    days = normal_days(profile, [1000])
    rate = by_name(column_streams(profile, days, n=[1500]))["null_rate"]
    assert rate.display[0] == pytest.approx(1 / 3)
    with pytest.raises(ValueError, match="not be below"):
        column_streams(profile, days, n=[500])


def test_sampling_variances_are_right_without_drift(profile):
    days = normal_days(profile, [5000] * 600)
    for name, stream in by_name(column_streams(profile, days)).items():
        if name in ("null_rate", "out_of_range_rate"):  # hardly any events: the variance is a floor
            assert stream.value.var() <= stream.variance.mean()
        else:
            assert stream.value.var() == pytest.approx(stream.variance.mean(), rel=0.25), name


@pytest.mark.parametrize("quiet", [300, 1000, 20_000])
def test_a_quiet_or_busy_day_moves_no_stream(profile, quiet):
    # The plain logarithm of the PSI would move by log(5000 / n), tens of its standard deviations.
    usual = by_name(column_streams(profile, normal_days(profile, [5000] * 200)))
    other = by_name(column_streams(profile, normal_days(profile, [quiet] * 200)))
    for name, stream in usual.items():
        spread = np.sqrt(
            np.maximum(stream.value.var(), stream.variance.mean())
            + np.maximum(other[name].variance - stream.variance.mean(), 0)
        )
        z = (other[name].value - stream.value.mean()) / spread
        assert abs(z.mean()) < 1.0, (name, z.mean())
        assert (np.abs(z) > 4).mean() < 0.02, (name, np.abs(z).max())


def test_changes_stand_out(profile):
    usual = by_name(column_streams(profile, normal_days(profile, [5000] * 100)))

    def z(name, days):
        stream = by_name(column_streams(profile, days))[name]
        return float((stream.value[0] - usual[name].value.mean()) / np.sqrt(usual[name].variance.mean()))

    assert z("location", normal_days(profile, [5000], loc=0.1)) > 4
    assert z("location", normal_days(profile, [5000], loc=-0.1)) < -4
    assert z("spread", normal_days(profile, [5000], scale=1.1)) > 4
    assert z("log_psi", normal_days(profile, [5000], loc=0.2)) > 4
    spiked = count(profile, np.where(RNG.random(5000) < 0.02, 0.5, RNG.normal(size=5000)))[None]
    assert z("log_psi", spiked) > 2
    assert z("out_of_range_rate", count(profile, np.r_[RNG.normal(size=4800), np.full(200, 99.0)])[None]) > 10


def test_small_windows_have_a_reason_and_no_value(profile):
    days = np.stack([count(profile, RNG.normal(size=n)) for n in (0, 199, 200)])
    for stream in column_streams(profile, days):
        assert stream.reason[0] and stream.reason[1] and stream.reason[2] is None
        assert (
            np.isnan(stream.value[:2]).all()
            and np.isfinite([stream.value[2], stream.variance[2], stream.display[2]]).all()
        )
    assert "199 rows in the window, 200 needed" in column_streams(profile, days)[0].reason[1]
    clustered = build_profile(RNG.normal(size=5000), "numeric", design_effect=4.0)
    stream = column_streams(clustered, count(clustered, RNG.normal(size=600))[None])[0]
    assert "count as 150 independent ones" in stream.reason[0]
    assert column_streams(clustered, count(clustered, RNG.normal(size=900))[None])[0].variance[0] == pytest.approx(
        4 / 900
    )
    assert column_streams(profile, days, min_rows=100)[0].reason[1] is None


def test_the_first_null_of_an_always_full_column_is_no_event(profile):
    days = normal_days(profile, [5000] * 2)
    days[1, profile.bin_kind.index("null")] = 1
    rate = by_name(column_streams(profile, days))["null_rate"]
    assert (rate.value[1] - rate.value[0]) / np.sqrt(rate.variance[0]) < 2


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([], "numeric"), ([None] * 500, "numeric"), ([3.0] * 500, "numeric"), ([np.nan, np.inf] * 250, "numeric"),
        ([0.0, 1.0] * 250, "numeric"), ([1e308, -1e308] * 250, "numeric"), ([1.0], "numeric"), ([], "categorical"),
        ([None] * 500, "categorical"), (["a"] * 500, "categorical"), ([str(i) for i in range(500)], "categorical"),
        ([], "boolean"), ([True] * 500, "boolean"), ([], "datetime"),
    ],
)  # fmt: skip
def test_awkward_references_give_values_or_reasons(values, kind):
    profile = build_profile(values, kind)
    current = np.stack([profile.n_reference, np.full(len(profile), 100), np.zeros(len(profile), dtype=int)])
    for stream in column_streams(profile, current):
        for t, reason in enumerate(stream.reason):
            finite = np.isfinite([stream.value[t], stream.variance[t], stream.display[t]])
            assert finite.all() if reason is None else not finite.any(), (stream.statistic, t)
    everything_else = by_name(column_streams(profile, np.full((1, len(profile)), 100)))
    assert all(stream.reason[0] is None for stream in everything_else.values())


def test_a_constant_column_that_changes_is_seen():
    profile = build_profile([3.0] * 5000, "numeric", rows_per_window=1000)
    streams = by_name(column_streams(profile, np.stack([count(profile, [3.0] * 1000), count(profile, [4.0] * 1000)])))
    assert streams["log_psi"].value[1] > streams["log_psi"].value[0] + 5
    assert streams["atom_rate:3"].display.tolist() == [1.0, 0.0]
    assert streams["out_of_range_rate"].display.tolist() == [0.0, 1.0]


def test_shapes_and_bad_counts_are_refused(profile):
    with pytest.raises(ValueError, match="pass \\(windows"):
        column_streams(profile, profile.n_reference)
    with pytest.raises(ValueError, match="negative"):
        column_streams(profile, -profile.n_reference[None])


def test_a_year_of_thirty_columns_takes_a_second(profile):
    import time

    days = normal_days(profile, [5000] * 12)[np.arange(365) % 12]
    start = time.process_time()
    for _ in range(30):
        column_streams(profile, days)
    assert time.process_time() - start < 2


def test_only_atoms_that_stand_out_have_a_stream():
    """A sentinel, a limit and a spike do; frequent values of a rounded measurement and of a small integer do not."""
    rng = np.random.default_rng(43)
    rounded = np.round(rng.normal(40, 5, 20_000))
    capped = np.minimum(rng.normal(9, 1, 20_000), 10.0)
    spike = np.r_[rng.normal(size=18_000), np.full(2_000, 0.25)]
    with_sentinel = np.r_[rng.gamma(2.0, size=19_000), np.full(1_000, -1.0)]
    expected = {"rounded": [], "capped": ["atom_rate:10"], "spike": ["atom_rate:0.25"], "sentinel": ["atom_rate:-1"]}
    for name, values in zip(expected, (rounded, capped, spike, with_sentinel), strict=True):
        profile = build_profile(values, "numeric", column=name)
        names = [stream.statistic for stream in column_streams(profile, profile.n_reference[None])]
        assert [text for text in names if text.startswith("atom")] == expected[name], name


def test_the_spread_of_values_beyond_the_bins_is_not_told_but_judged():
    """A hundred times as large, all lie in the outer bin: within it they would seem narrower."""
    rng = np.random.default_rng(77)
    profile = build_profile(rng.normal(50, 5, 20_000), "numeric")
    days = [count(profile, rng.normal(50, 5, 600) * factor) for factor in (1, 1, 100)]
    spread = next(s for s in column_streams(profile, np.array(days)) if s.statistic == "spread")
    assert np.isfinite(spread.value).all()
    assert np.isfinite(spread.display[:2]).all() and np.isnan(spread.display[2])
