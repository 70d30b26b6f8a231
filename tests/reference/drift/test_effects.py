"""Effect sizes, intervals and design effects against scipy, published numbers and theory."""

from __future__ import annotations

import re
import time

import numpy as np
import pytest
from scipy import stats

from metrics_py.drift.design_effects import design_effect, rao_scott
from metrics_py.drift.effects import (
    newcombe,
    psi_effect,
    psi_interval,
    superiority,
    three_states,
)
from metrics_py.drift.words import describe_shift
from metrics_py.profile.build import build_profile, count
from metrics_py.wording import deviations, numbers, percent

RNG = np.random.default_rng(31)


@pytest.mark.parametrize("degrees", [1, 4, 31, 255])
@pytest.mark.parametrize("ratio", [0.5, 3.0, 30.0, 400.0, 19_000.0, 21_000.0, 1e6])
def test_psi_interval_inverts_the_noncentral_chi_square(degrees, ratio):
    unit = 0.001
    low, high = (float(x) for x in psi_interval(ratio * unit, degrees, unit))
    if low > 0:
        assert stats.ncx2.cdf(ratio, degrees, low / unit) == pytest.approx(0.975, abs=2e-3)
    else:
        assert stats.chi2.cdf(ratio, degrees) <= 0.975 + 1e-12
    usual = max(ratio, stats.chi2.median(degrees))  # rows that agree by chance do not say more than rows usually do
    assert stats.ncx2.cdf(usual, degrees, high / unit) == pytest.approx(0.025, abs=2e-3)


def test_psi_effect_by_hand():
    reference, current = np.array([500, 300, 200]), np.array([400, 300, 300])
    effect = psi_effect(reference, current)
    a, b = (reference + 0.5) / 1001.5, (current + 0.5) / 1001.5
    assert float(effect.psi) == pytest.approx(((b - a) * np.log(b / a)).sum())
    assert float(effect.noise_mean) == pytest.approx(2 * 0.002)
    assert float(effect.noise_p95) == pytest.approx(stats.chi2.ppf(0.95, 2) * 0.002)
    assert float(effect.debiased) == pytest.approx(float(effect.psi) - 0.004)
    assert float(effect.p_value) == pytest.approx(stats.chi2.sf(float(effect.psi) / 0.002, 2))
    wide = psi_effect(reference, current, design_effect=4.0)
    assert float(wide.ci_high - wide.ci_low) > float(effect.ci_high - effect.ci_low)


def test_psi_effect_without_rows_or_bins_is_undefined_or_nothing():
    empty = psi_effect([5, 5], [[0, 0], [4, 6]])
    assert np.isnan(empty.psi[0]) and np.isnan(empty.ci_low[0]) and np.isnan(empty.p_value[0])
    assert np.isfinite(empty.psi[1])
    one_bin = psi_effect([10, 0], [7, 0])
    assert (float(one_bin.psi), float(one_bin.ci_low), float(one_bin.p_value)) == (0, 0, 1)
    assert float(one_bin.ci_high) > 1


@pytest.mark.parametrize(("reference", "current"), [([1, 1], [1, 1]), ([2, 0], [2, 0]), ([5000, 5000], [1, 1])])
def test_two_rows_do_not_make_a_column_stable(reference, current):
    """The other rows could all be of one bin: a PSI of 0.1 is a share of 0.66 instead of 0.5."""
    effect = psi_effect(reference, current)
    assert (float(effect.psi), float(effect.ci_low)) == (0, 0)
    assert float(effect.ci_high) > 3
    assert three_states(effect.ci_low, effect.ci_high) == "unclear"
    many = psi_effect(np.multiply(reference, 50_000), np.multiply(current, 50_000))
    assert three_states(many.ci_low, many.ci_high) == "stable"


def test_states_of_windows_without_rows_are_unclear():
    empty = psi_effect([5, 5], [[0, 0], [4, 6]])
    assert three_states(empty.ci_low, empty.ci_high).tolist()[0] == "unclear"


def test_three_states_need_a_tolerance():
    assert three_states([0.11, 0.02, 0.05], [0.2, 0.09, 0.15], 0.1).tolist() == ["drift", "stable", "unclear"]
    with pytest.raises(ValueError, match="must be positive"):
        three_states(0.0, 0.1, 0.0)
    with pytest.raises(ValueError, match="between 0 and 1"):
        psi_interval(0.1, 3, 0.01, confidence=95)


def test_a_year_of_thirty_columns_takes_less_than_two_seconds():
    reference = np.full((30, 32), 700)
    current = RNG.multinomial(20_000, RNG.dirichlet(np.full(32, 50.0)), size=(365, 30))
    start = time.process_time()
    effect = psi_effect(reference, current)
    states = three_states(effect.ci_low, effect.ci_high)
    assert time.process_time() - start < 2
    assert states.shape == (365, 30)


def test_newcombe_against_published_examples():
    # Newcombe (1998), Statistics in Medicine 17:873, table II, method 10; current minus reference
    for x1, m, x2, n, low, high in (
        (48, 80, 56, 70, 0.0524, 0.3339),
        (3, 10, 9, 10, 0.1705, 0.8090),
        (0, 10, 10, 10, 0.6075, 1.0),
    ):
        found = newcombe(x1, m, x2, n)
        assert (float(found[0]), float(found[1])) == pytest.approx((low, high), abs=6e-5)


def test_design_effect_of_independent_rows_is_one_and_of_repeated_rows_their_number():
    k, h = 10, 64
    shares = np.full(k, 1 / k)
    independent = [design_effect(RNG.multinomial(500, shares, size=h)).value for _ in range(50)]
    assert np.mean(independent) == pytest.approx(1, abs=0.03)
    repeated = [design_effect(5 * RNG.multinomial(100, shares, size=h)).value for _ in range(50)]
    assert np.mean(repeated) == pytest.approx(5, rel=0.04)


def test_rao_scott_of_independent_rows_is_pearsons():
    reference = RNG.multinomial(20_000, np.full(8, 1 / 8))
    buckets = RNG.multinomial(100, RNG.dirichlet(np.full(8, 60.0)), size=64)
    statistic, p_value, design = rao_scott(reference, buckets)
    pearson = stats.chi2_contingency(np.array([reference, buckets.sum(axis=0)]), correction=False)
    assert statistic * design.trace == pytest.approx(pearson.statistic)
    assert np.log10(p_value + 1e-300) == pytest.approx(np.log10(pearson.pvalue), abs=1.5)
    assert rao_scott(buckets.sum(axis=0), buckets)[1] == pytest.approx(1)


def test_design_effects_refuse_too_few_buckets():
    for bad in (np.ones((3, 5)), np.ones((64, 1)), np.zeros((64, 5))):
        with pytest.raises(ValueError, match="at least 4 and 2"):
            design_effect(bad)
    with pytest.raises(ValueError, match="finite counts"):
        design_effect(np.full((64, 3), np.nan))


def test_superiority_of_shifted_normals_has_its_closed_form():
    profile = build_profile(RNG.normal(size=100_000), "numeric", bins=100)
    counts = count(profile, RNG.normal(0.5, 1, size=100_000))
    value, low, high = superiority(profile.merged(profile.n_reference), profile.merged(counts))
    truth = stats.norm.cdf(0.5 / np.sqrt(2))
    assert float(value) == pytest.approx(truth, abs=0.005)
    assert low <= truth + 0.001 and high >= truth - 0.001


def test_one_outlier_does_not_hide_a_shift_nor_invent_one():
    # Bins over the pooled range min..max hold everything in one bin as soon as one value is huge.
    reference, current = RNG.normal(size=20_000), RNG.normal(1, 1, size=20_000)
    profile = build_profile(reference, "numeric")

    def psi(values):
        return float(psi_effect(profile.merged(profile.n_reference), profile.merged(count(profile, values))).psi)

    assert psi(current) > 0.9
    assert psi(np.append(current, 1e6)) == pytest.approx(psi(current), rel=0.01)
    assert psi(np.append(RNG.normal(size=20_000), 1e6)) < 0.005


def test_missing_values_are_a_change_of_their_own():
    # Dropping nulls first calls 75 % missing "no drift".
    reference = RNG.normal(size=5000)
    current = RNG.normal(size=5000).astype(object)
    current[: 3 * len(current) // 4] = None
    profile = build_profile(reference, "numeric")
    words = describe_shift(profile, count(profile, current))
    assert words == "missing 0 % -> 75 %"


DESCRIBED = {
    "shift": (
        RNG.normal(size=50_000),
        RNG.normal(0.3, 1, 20_000),
        r"^higher by 0\.(2[789]|3|31) sd; \d\.\d % more in the top bin \(> 1\.8",
    ),
    "spread": (RNG.normal(size=50_000), RNG.normal(0, 1.5, 20_000), r"^spread more than \d\d % wider; .*outside"),
    "nothing": (RNG.normal(size=50_000), RNG.normal(size=20_000), "^no visible change$"),
    "lower": (RNG.normal(size=50_000), RNG.normal(-1, 1, 20_000), r"^lower by \d.*bottom bin \(<= "),
    "few rows": (RNG.normal(size=50_000), np.array([5.0, 6.0]), r"^higher by|^no visible"),
    "outside": (RNG.random(10_000), RNG.random(10_000) + 0.5, r"outside .* 0 % -> 50 %"),
    "other unit": (
        RNG.normal(50, 3, 9000),
        1000 * RNG.normal(50, 3, 9000),
        r"^higher by more than 2\.\d sd; outside \S+ to \S+ 0 % -> 100 %$",
    ),
    "scaled around 0": (RNG.normal(size=9000), 1000 * RNG.normal(size=9000), r"^spread more than \d+ % wider; outside"),
    "large numbers": (
        1e9 + RNG.random(5000),
        1e9 + 0.5 + RNG.random(5000),
        r"outside 1000000000 to 1000000001 0 % -> 50 %$",
    ),
    "constant moved": (np.full(100, 3.0), np.full(100, 4.0), "^values other than 3 0 % -> 100 %$"),
    "constant": (np.full(100, 3.0), np.r_[np.full(90, 3.0), np.full(10, 4.0)], "^values other than 3 0 % -> 10 %$"),
    "spike": (
        np.r_[np.zeros(500), RNG.normal(9, 1, 500)],
        np.r_[np.zeros(900), RNG.normal(9, 1, 100)],
        r"; the value 0: 50 % -> 90 %$",
    ),
    "all null reference": ([None] * 100, [1.0] * 100, r"^missing 100 % -> 0 %$"),
    "all null current": ([1.0, 2.0] * 100, [None] * 100, r"^no values in the window; missing 0 % -> 100 %$"),
    "empty": ([1.0] * 100, [], "^no rows$"),
    "no reference": ([], [1.0], "^no reference rows"),
}


@pytest.mark.parametrize(("reference", "current", "words"), DESCRIBED.values(), ids=DESCRIBED)
def test_shifts_in_words(reference, current, words):
    profile = build_profile(reference, "numeric")
    assert re.search(words, describe_shift(profile, count(profile, current)))


def test_category_shifts_in_words():
    profile = build_profile(["JFK"] * 310 + ["LGA"] * 330 + ["EWR"] * 360, "categorical")
    current = ["JFK"] * 400 + ["LGA"] * 330 + ["EWR"] * 270
    assert describe_shift(profile, count(profile, current)) == "JFK 31 % -> 40 %; EWR 36 % -> 27 %"
    assert "categories never seen 0 % -> 10 %" in describe_shift(
        profile, count(profile, [*["JFK"] * 900, *["SFO"] * 100])
    )
    flags = build_profile([True] * 20 + [False] * 980, "boolean")
    assert describe_shift(flags, count(flags, [True] * 150 + [False] * 850)) == "true 2.0 % -> 15 %"


def test_clustered_rows_are_not_described_as_a_shift():
    reference, current = ["a"] * 500 + ["b"] * 500, ["a"] * 600 + ["b"] * 400
    independent = build_profile(reference, "categorical")
    clustered = build_profile(reference, "categorical", design_effect=20.0)
    assert describe_shift(independent, count(independent, current)).startswith("a 50 % -> 60 %")
    assert describe_shift(clustered, count(clustered, current)) == "no visible change"


def test_percent_spelling():
    assert [percent(x) for x in (0, 1, 0.5, 0.0999, 0.0123, 0.00123, 0.9999)] == [
        "0 %",
        "100 %",
        "50 %",
        "10 %",
        "1.2 %",
        "0.12 %",
        "99.99 %",
    ]


def test_standard_deviations_are_spelled_without_exponents():
    assert deviations(-338.2, sign=True) == "-340 sd"
    assert [deviations(x) for x in (0.0, 0.061, 0.3, 9.96, 12.3, 1e5, 1e6, -3e7)] == [
        "0 sd", "0.061 sd", "0.3 sd", "10 sd", "12 sd", "100,000 sd", "1,000,000 sd", "under -1,000,000 sd",
    ]  # fmt: skip


def test_different_numbers_look_different():
    assert numbers([0.1, 0.25]) == ["0.1", "0.25"]
    assert numbers([1e9, 1e9 + 1e-3, 1e9 + 2e-3]) == ["1000000000", "1000000000.001", "1000000000.002"]
    assert numbers([1e300, -2.5e-8, float("inf")]) == ["1e+300", "-2.5e-08", "inf"]
    profile = build_profile(1_767_225_600 + np.arange(1000.0), "numeric", bins=4)
    assert len(set(profile.label)) == len(profile)


def test_categories_the_reference_has_not_met_by_chance_are_no_news():
    """Of a long tail a tenth is new in every sample; Good and Turing say so from the reference alone."""
    rng = np.random.default_rng(41)
    old, new = (rng.zipf(1.5, 4000).astype(str).tolist() for _ in range(2))
    profile = build_profile(old, "categorical")
    assert profile.expected_unseen > 0.02
    assert "never seen" not in describe_shift(profile, count(profile, new))
    assert "(other)" not in describe_shift(profile, count(profile, new))
    words = describe_shift(profile, count(profile, [*new[:3000], *["NEW"] * 1000]))
    assert re.search(r"categories never seen 0 % -> 2\d % \(\d\.\d % by chance\)", words)
