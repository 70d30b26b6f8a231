"""Distances against scipy, definitions worked by hand, and theory."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import jensenshannon

from metrics_py.drift import binned_distances, exact_distances
from metrics_py.profile.build import build_profile, count

RNG = np.random.default_rng(11)
REFERENCE = RNG.integers(1, 200, size=12)
CURRENT = RNG.integers(1, 200, size=(3, 12))


def smooth(counts):
    return (counts + 0.5) / (counts.sum(axis=-1, keepdims=True) + 0.5 * counts.shape[-1])


def test_psi_and_kl_against_scipy_entropy():
    a, b = smooth(REFERENCE), smooth(CURRENT)
    kl = stats.entropy(b, np.broadcast_to(a, b.shape), axis=-1)
    np.testing.assert_allclose(binned_distances.kl_divergence(REFERENCE, CURRENT), kl, rtol=1e-12)
    reverse = stats.entropy(np.broadcast_to(a, b.shape), b, axis=-1)
    np.testing.assert_allclose(binned_distances.psi(REFERENCE, CURRENT), kl + reverse, rtol=1e-12)


def test_jensen_shannon_against_scipy():
    a, b = smooth(REFERENCE), smooth(CURRENT)
    expected = [jensenshannon(a, row, base=2) for row in b]
    np.testing.assert_allclose(binned_distances.js_distance(REFERENCE, CURRENT), expected, rtol=1e-10)
    nats = [jensenshannon(a, row) ** 2 for row in b]
    np.testing.assert_allclose(binned_distances.js_divergence(REFERENCE, CURRENT), nats, rtol=1e-10)


def test_hellinger_total_variation_and_l_infinity_by_definition():
    a, b = smooth(REFERENCE), smooth(CURRENT)
    np.testing.assert_allclose(
        binned_distances.hellinger(REFERENCE, CURRENT), np.sqrt(1 - np.sqrt(a * b).sum(axis=-1)), rtol=1e-10
    )
    p, q = REFERENCE / REFERENCE.sum(), CURRENT / CURRENT.sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(binned_distances.total_variation(REFERENCE, CURRENT), np.maximum(q - p, 0).sum(axis=-1))
    np.testing.assert_allclose(binned_distances.l_infinity(REFERENCE, CURRENT), np.abs(q - p).max(axis=-1))


def test_published_psi_example_without_smoothing_effect():
    # Two laws (.2,.3,.5) and (.3,.3,.4): sum (b - a) ln(b / a), with counts so large that half a row does not matter.
    expected = 0.1 * np.log(1.5) + 0.1 * np.log(1.25)
    assert float(binned_distances.psi([2e9, 3e9, 5e9], [3e9, 3e9, 4e9])) == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize(
    "name", ["psi", "kl_divergence", "js_divergence", "js_distance", "hellinger", "total_variation", "l_infinity"]
)
def test_awkward_counts_are_defined(name):
    function = getattr(binned_distances, name)
    assert float(function([5, 5, 0], [10, 10, 0])) == pytest.approx(0, abs=0.02)  # a bin that is empty on both sides
    assert float(function([7], [3])) == pytest.approx(0, abs=1e-12)  # one bin
    disjoint = float(function([1000, 0], [0, 1000]))
    assert np.isfinite(disjoint)
    assert disjoint > 0.6
    assert np.isnan(function([1, 2], [0, 0]))  # no rows: undefined, not zero
    assert np.isnan(function([0, 0], [1, 2]))
    for bad in ([1, np.nan], [1, -1], [np.inf, 1]):
        with pytest.raises(ValueError, match="negative, NaN or infinite"):
            function([1, 2], bad)
    with pytest.raises(ValueError, match="same bins"):
        function([1, 2, 3], [1, 2])


@pytest.mark.parametrize(
    ("reference", "current"),
    [
        (RNG.normal(size=200), RNG.normal(0.3, 2, size=150)),
        (RNG.integers(0, 5, size=300), RNG.integers(1, 6, size=40)),
        (np.full(20, 3.0), np.full(7, 3.0)),
        (np.full(20, 3.0), np.full(7, 4.0)),
        (np.array([1.0]), np.array([2.5])),
        (np.exp(5 * RNG.normal(size=500)), np.exp(5 * RNG.normal(0.2, 1, size=400))),
        (RNG.normal(size=50), np.append(RNG.normal(size=50), 1e12)),
    ],
    ids=["normal", "ties", "constant", "two constants", "one row", "heavy tail", "outlier"],
)
def test_exact_distances_against_scipy(reference, current):
    assert exact_distances.ks_distance(reference, current) == pytest.approx(
        stats.ks_2samp(reference, current).statistic
    )
    assert exact_distances.wasserstein(reference, current) == pytest.approx(
        stats.wasserstein_distance(reference, current)
    )
    assert exact_distances.energy_distance(reference, current) == pytest.approx(
        stats.energy_distance(reference, current)
    )
    expected = np.abs(np.subtract.outer(np.asarray(reference, float), np.asarray(current, float))).mean()
    squared = stats.energy_distance(reference, current) ** 2
    coefficient = squared / (2 * expected) if expected else 0.0
    assert exact_distances.energy_coefficient(reference, current) == pytest.approx(coefficient, rel=1e-9, abs=1e-12)
    assert 0 <= exact_distances.energy_coefficient(reference, current) <= 1


def test_exact_distances_refuse_what_is_no_sample():
    for function in (
        exact_distances.ks_distance,
        exact_distances.wasserstein,
        exact_distances.wasserstein_scaled,
        exact_distances.energy_distance,
        exact_distances.energy_coefficient,
    ):
        assert np.isnan(function([], [1.0]))
        assert np.isnan(function([1.0], []))
        with pytest.raises(ValueError, match="NaN or infinity"):
            function([1.0, np.nan], [1.0])
        with pytest.raises(ValueError, match="one dimension"):
            function([[1.0]], [1.0])
        with pytest.raises(TypeError, match="not numbers"):
            function(["a"], [1.0])


def test_scaled_wasserstein_is_the_shift_in_standard_deviations_and_ignores_outliers():
    rng = np.random.default_rng(12)
    reference, current = rng.normal(5, 2, size=50_000), rng.normal(5.6, 2, size=50_000)
    scaled = exact_distances.wasserstein_scaled(reference, current)
    assert scaled == pytest.approx(0.3, abs=0.02)
    assert exact_distances.wasserstein_scaled(reference, np.append(current, 1e6)) == pytest.approx(scaled, rel=0.01)
    assert exact_distances.wasserstein(reference, np.append(current, 1e6)) > 10  # the raw one is all outlier
    assert np.isnan(exact_distances.wasserstein_scaled(np.full(10, 2.0), current))
    # a column of tiny scale is no constant: a shift by 5 of its sd is seen
    assert exact_distances.wasserstein_scaled(1e-9 * reference, 1e-9 * reference + 1e-8) == pytest.approx(5, rel=0.03)


def test_binned_wasserstein_and_energy_follow_the_exact_ones():
    rng = np.random.default_rng(13)
    reference, current = rng.normal(size=20_000), rng.normal(0.3, 1.2, size=5000)
    profile = build_profile(reference, "numeric", bins=50)
    a, b = profile.merged(np.stack([profile.n_reference, count(profile, current)]))
    centers = profile.center[profile.group_bins]
    assert float(binned_distances.wasserstein(a, b, centers)) == pytest.approx(
        exact_distances.wasserstein(reference, current), rel=0.1
    )
    assert float(binned_distances.energy_distance(a, b, centers)) == pytest.approx(
        exact_distances.energy_distance(reference, current), rel=0.06
    )
    assert float(binned_distances.energy_coefficient(a, b, centers)) == pytest.approx(
        exact_distances.energy_coefficient(reference, current), rel=0.06
    )
    point_masses = np.repeat(centers, a), np.repeat(centers, b)
    assert float(binned_distances.wasserstein(a, b, centers)) == pytest.approx(
        stats.wasserstein_distance(*point_masses)
    )
    assert float(binned_distances.energy_distance(a, b, centers)) == pytest.approx(stats.energy_distance(*point_masses))


def test_ks_bounds_hold_the_exact_distance_and_are_tight():
    rng = np.random.default_rng(14)
    for current in (rng.normal(0.1, 1, 2000), np.array([0.4]), np.array([-50.0, 60.0]), np.full(30, 1e300)):
        reference = rng.normal(size=10_000)
        profile = build_profile(reference, "numeric", bins=32)
        cells, points, loose = profile.ordered(np.stack([profile.n_reference, count(profile, current)]))
        low, high = binned_distances.ks_bounds(cells[0], cells[1], points=points, loose=loose)
        d = stats.ks_2samp(reference, current).statistic
        assert low - 1e-12 <= d <= high + 1e-12
        assert d - low < 0.032


def test_exp_of_five_z_keeps_its_drift_in_quantile_bins():
    # Equal-width bins over such a range hold nearly everything in the first bin.
    rng = np.random.default_rng(15)
    z, shifted = rng.normal(size=20_000), rng.normal(0.5, 1, size=20_000)
    heavy = build_profile(np.exp(5 * z), "numeric")
    light = build_profile(z, "numeric")
    psi = [
        float(binned_distances.psi(p.merged(p.n_reference), p.merged(count(p, current))))
        for p, current in ((heavy, np.exp(5 * shifted)), (light, shifted))
    ]
    assert psi[0] == pytest.approx(psi[1], rel=1e-6)
    assert psi[0] > 0.2
