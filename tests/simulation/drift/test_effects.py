"""Acceptance 1: effect sizes, their intervals and three states hold what they promise.

Each world is simulated through the code that the product runs. Failures are counted, and of a full run a true rate of
1.3 times the promise fails with a probability of 0.9 (`tests.support.acceptance`).
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from metrics_py.drift import binned_distances
from metrics_py.drift.categorical_tests import chi_square
from metrics_py.drift.design_effects import rao_scott
from metrics_py.drift.effects import psi_effect, three_states
from metrics_py.drift.exact_distances import ks_distance
from metrics_py.drift.methods import drift_method
from metrics_py.drift.pair import ColumnPair
from metrics_py.drift.smooth_components import smooth_components
from metrics_py.profile.build import build_profile, count
from tests.support import acceptance
from tests.support.measured import interval, record

SECTION = "Effect sizes and their intervals"
SIZES = [pytest.param(0.1, id="tenth"), pytest.param(1.0, id="full", marks=pytest.mark.full)]
SHIFTS = (0.0, 0.05, 0.1, 0.3, 0.5)  # of a normal column: true PSI 0, .0025, .010, .088, .245


def true_psi(profile, shift: float) -> float:
    """PSI of the two normal laws themselves, in the groups of a profile."""
    upper = profile.upper[profile.group_bins].copy()
    upper[-1] = np.inf
    a, b = (np.diff(norm.cdf(np.concatenate([[-np.inf], upper]), loc=m)) for m in (0.0, shift))
    return float(((b - a) * np.log(b / a)).sum())


def psi_coverage(runs: int, n: int, shift: float, *, bins: int, seed: int) -> float:
    """Share of runs whose interval holds the true PSI; reference and current have n rows each."""
    rng = np.random.default_rng([seed, n, round(1000 * shift)])
    held = 0
    for _ in range(runs):
        profile = build_profile(rng.normal(size=n), "numeric", bins=bins)
        counts = count(profile, rng.normal(shift, 1, size=n))
        effect = psi_effect(profile.merged(profile.n_reference), profile.merged(counts))
        held += float(effect.ci_low) <= true_psi(profile, shift) <= float(effect.ci_high)
    return held / runs


@pytest.mark.parametrize("size", SIZES)
def test_psi_interval_covers_the_true_psi(size):
    promise = 0.075  # missed; at least 0.025 in the mean of two sides: an interval that always holds says nothing
    runs = round(acceptance.repetitions(promise) * size)
    measured = {
        f"n={n}, shift {shift} sd": psi_coverage(runs, n, shift, bins=20, seed=1)
        for n in (2000, 20_000)
        for shift in SHIFTS
    }
    record("psi_interval_coverage", "coverage of the 95 % interval within [0.925, 0.975]", measured, runs, SECTION)
    for case, rate in measured.items():
        acceptance.check(runs - round(rate * runs), runs, promise, case)
        # without drift the interval [0, high] misses only on one side: 0.975
        assert interval(round(rate * runs), runs)[0] <= 0.975, (case, rate)


def shares_with_psi(target: float, bins: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Equal reference shares, and those of a shifted normal column at exactly this PSI."""
    edges = norm.ppf(np.arange(1, bins) / bins)
    p = np.full(bins, 1 / bins)

    def shares(shift: float) -> np.ndarray:
        return np.diff(np.concatenate([[0], norm.cdf(edges, loc=shift), [1]]))

    def excess(shift: float) -> float:
        q = shares(shift)
        return float(((q - p) * np.log(q / p)).sum()) - target

    return p, shares(brentq(excess, 0, 2))


def boundary_states(runs: int, n: int, target: float, *, bins: int, seed: int) -> dict[str, float]:
    """Rates of the three states when the true PSI is exactly `target`, tolerance 0.1."""
    rng = np.random.default_rng([seed, n])
    p, q = shares_with_psi(target, bins) if target else (np.full(bins, 1 / bins),) * 2
    effect = psi_effect(rng.multinomial(n, p, size=runs), rng.multinomial(n, q, size=runs))
    states = three_states(effect.ci_low, effect.ci_high, 0.1)
    fixed = float((effect.psi > 0.1).mean())
    return {state: float((states == state).mean()) for state in ("drift", "stable", "unclear")} | {"fixed_rule": fixed}


@pytest.mark.parametrize("size", SIZES)
def test_wrong_verdicts_at_the_boundary_are_rare(size):
    promise = 0.04
    runs = round(acceptance.repetitions(promise) * size)
    measured = {}
    for bins in (20, 32):
        for n in (500, 2000, 20_000):
            states = boundary_states(runs, n, 0.1, bins=bins, seed=2)
            measured |= {f"{bins} bins, n={n}, wrong {state}": states[state] for state in ("drift", "stable")}
    record("psi_states_at_the_boundary", "wrong 'drift' and wrong 'stable' at most 4 % each", measured, runs, SECTION)
    for case, rate in measured.items():
        acceptance.check(round(rate * runs), runs, promise, case)


@pytest.mark.parametrize("size", SIZES)
def test_a_handful_of_rows_is_never_called_stable_wrongly(size):
    """The true PSI is the tolerance; bins are not joined, as `compare` would do."""
    promise = 0.025
    runs = round(acceptance.repetitions(promise) * size)
    measured = {}
    for bins in (2, 20):
        for n in (2, 5, 10, 30, 100):
            wrong = boundary_states(runs, n, 0.1, bins=bins, seed=13)["stable"]
            measured[f"{bins} bins, n={n}, wrong stable"] = wrong
    record("psi_handful_of_rows", f"true PSI 0.1, few rows: 'stable' in at most {promise}", measured, runs, SECTION)
    for case, rate in measured.items():
        acceptance.check(round(rate * runs), runs, promise, case)


@pytest.mark.parametrize("size", SIZES)
def test_small_windows_are_unclear_where_a_fixed_threshold_alarms(size):
    promise = 0.025
    runs = round(acceptance.repetitions(promise) * size)
    states = boundary_states(runs, 100, 0.0, bins=20, seed=3)
    record(
        "psi_small_window",
        "no drift, n=100: 'drift' at most 2.5 %; fixed rule PSI > 0.1 for comparison",
        states,
        runs,
        SECTION,
    )
    acceptance.check(round(states["drift"] * runs), runs, promise)
    assert states["fixed_rule"] > 0.8
    assert states["unclear"] + states["stable"] > 0.97


def ks_violations(runs: int, *, seed: int) -> dict[str, float]:
    """Shares of runs in which the exact KS distance leaves its bounds, and the mean width of the bounds."""
    rng = np.random.default_rng(seed)
    worlds = (
        lambda n: rng.normal(size=n),
        lambda n: np.exp(5 * rng.normal(size=n)),
        lambda n: np.round(rng.normal(size=n), 1),
        lambda n: np.where(rng.random(n) < 0.3, 0.0, rng.normal(1, 1, size=n)),
        lambda n: rng.poisson(2, size=n).astype(float),
    )
    violated = dict.fromkeys((10, 20, 32, 50, 100), 0)
    gap = dict.fromkeys(violated, 0.0)
    for run in range(runs):
        world = worlds[run % len(worlds)]
        reference, current = world(1000), world(rng.integers(1, 1000)) + (run % 3) * 0.1
        current = np.round(current, 12)  # 0.1 + 0.2 is 0.3, as it is for the bins
        d = ks_distance(reference, current)
        for bins in violated:
            profile = build_profile(reference, "numeric", bins=bins)
            cells, points, loose = profile.ordered(np.stack([profile.n_reference, count(profile, current)]))
            low, high = binned_distances.ks_bounds(cells[0], cells[1], points=points, loose=loose)
            violated[bins] += not (low - 1e-12 <= d <= high + 1e-12)
            if run % len(worlds) == 0:  # the width for normal values
                gap[bins] += float(high - low) / (runs / len(worlds))
    return {f"{bins} bins, violations": v / runs for bins, v in violated.items()} | {
        f"{bins} bins, mean width for normal values": round(g, 4) for bins, g in gap.items()
    }


@pytest.mark.parametrize("size", SIZES)
def test_ks_bounds_are_never_violated(size):
    runs = round(2000 * size)
    measured = ks_violations(runs, seed=4)
    record("ks_bounds", "exact KS distance within its bounds in every run", measured, runs, SECTION)
    assert all(v == 0 for case, v in measured.items() if case.endswith("violations")), measured


def test_one_outlier_changes_the_psi_by_less_than_one_percent():
    rng = np.random.default_rng(5)
    reference, current = rng.normal(size=20_000), rng.normal(1, 1, size=20_000)
    changes = {}
    for value in (1e6, -1e300, 1e308):
        clean = build_profile(reference, "numeric")
        psi = [
            float(psi_effect(p.merged(p.n_reference), p.merged(count(p, c))).psi)
            for p, c in (
                (clean, current),
                (clean, np.append(current, value)),
                (build_profile(np.append(reference, value), "numeric"), current),
            )
        ]
        changes[f"{value:g} in the current data"] = abs(psi[1] / psi[0] - 1)
        changes[f"{value:g} in the reference"] = abs(psi[2] / psi[0] - 1)
    record("outlier_and_psi", "one outlier changes the PSI of a 1-sd shift by less than 1 %", changes, 1, SECTION)
    assert max(changes.values()) < 0.01, changes


@pytest.mark.parametrize("size", SIZES)
def test_fifty_levels_and_few_rows_do_not_flag_without_drift(size):
    promise, n = 0.05, 300
    runs = round(acceptance.repetitions(promise) * size)
    rng = np.random.default_rng(6)
    labels = np.array([f"level {i:02d}" for i in range(50)])
    shares = rng.dirichlet(np.full(50, 5.0))
    profile = build_profile(rng.choice(labels, size=20_000, p=shares), "categorical")
    counts = np.stack([count(profile, rng.choice(labels, size=n, p=shares)) for _ in range(runs)])
    effect = psi_effect(profile.merged(profile.n_reference), profile.merged(counts))
    flagged = float((three_states(effect.ci_low, effect.ci_high) == "drift").mean())
    significant = float((effect.p_value < 0.05).mean())
    fixed = float((effect.psi > 0.1).mean())
    measured = {"drift": flagged, "p < 0.05": significant, "fixed rule PSI > 0.1": fixed}
    record("fifty_levels", "no drift, 50 levels, n=300: flagged at most 5 %", measured, runs, SECTION)
    acceptance.check(round(flagged * runs), runs, promise, "drift")
    acceptance.check(round(significant * runs), runs, promise, "p < 0.05")


def zipf(levels: int) -> np.ndarray:
    shares = 1 / np.arange(1, levels + 1) ** 1.1
    return shares / shares.sum()


# law -> (shares, reference rows, current rows)
CATEGORIES = {
    "200 equal levels": (np.full(200, 1 / 200), 2000, 2000),
    "500 equal levels": (np.full(500, 1 / 500), 20_000, 20_000),
    "40 equal levels, few rows": (np.full(40, 1 / 40), 400, 400),
    "500 levels, Zipf": (zipf(500), 2000, 2000),
    "5,000 levels, Zipf": (zipf(5000), 5000, 5000),
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("law", CATEGORIES)
def test_p_values_of_many_categories_hold_their_level(law, size):
    """The 50 categories with a bin of their own are chosen by the reference: by rows that are not compared."""
    shares, m, n = CATEGORIES[law]
    promise = 0.06
    runs = round(acceptance.repetitions(promise) * size)
    rng = np.random.default_rng([14, list(CATEGORIES).index(law)])
    significant = dict.fromkeys(("psi", "chi_square"), 0)
    for _ in range(runs):
        profile = build_profile(category_names(rng.multinomial(m, shares)), "categorical")
        counts = count(profile, category_names(rng.multinomial(n, shares)))
        pair = ColumnPair(profile, profile.n_reference[None], counts[None])
        for method in significant:
            significant[method] += int(drift_method(method).measure(pair).p_value[0] < 0.05)
    record(
        f"many_categories_{law.replace(' ', '_').replace(',', '')}",
        f"no drift: p < 0.05 in at most {promise}",
        {method: hits / runs for method, hits in significant.items()},
        runs,
        SECTION,
    )
    for method, hits in significant.items():
        acceptance.check(hits, runs, promise, (law, method))


def category_names(counts: np.ndarray) -> np.ndarray:
    return np.repeat(np.array([f"c{i}" for i in range(len(counts))]), counts)


@pytest.mark.parametrize("size", SIZES)
def test_the_unseen_share_is_good_and_turings_without_drift(size):
    promise = 0.05
    runs = round(acceptance.repetitions(promise) * size)
    rng = np.random.default_rng(7)
    shares, outside = zipf(5000), 0
    for _ in range(runs):
        profile = build_profile(category_names(rng.multinomial(5000, shares)), "categorical")
        counts = count(profile, category_names(rng.multinomial(5000, shares)))
        unseen = counts[profile.where("unseen")].sum() / counts.sum()
        expected, error = profile.expected_unseen, profile.expected_unseen_error
        outside += abs(unseen - expected) > 1.96 * np.sqrt(expected * (1 - expected) / 5000 + error**2)
    measured = {"unseen share outside Good-Turing": outside / runs}
    record(
        "unseen_share", f"5,000 levels, no drift: outside of its interval in at most {promise}", measured, runs, SECTION
    )
    acceptance.check(outside, runs, promise)


def clustered_p_values(runs: int, *, users: int, rows: int, keep: float, seed: int) -> dict[str, float]:
    """Type I rates at 5 % when each user repeats the own category with probability `keep`."""
    rng = np.random.default_rng([seed, rows])
    k = 20
    reference = rng.multinomial(1_000_000, np.full(k, 1 / k))
    naive = corrected = 0
    for _ in range(runs):
        own = rng.integers(k, size=users)
        values = np.where(rng.random((users, rows)) < keep, own[:, None], rng.integers(k, size=(users, rows)))
        bucket = np.broadcast_to(rng.integers(64, size=users)[:, None], values.shape)
        buckets = np.bincount(bucket.ravel() * k + values.ravel(), minlength=64 * k).reshape(64, k)
        naive += chi_square(reference, buckets.sum(axis=0)).decide().decision == "different"
        corrected += rao_scott(reference, buckets)[1] <= 0.05
    return {"Pearson": naive / runs, "Rao-Scott": corrected / runs}


@pytest.mark.parametrize("size", SIZES)
def test_rao_scott_holds_its_level_for_clustered_rows(size):
    promise = 0.08
    runs = round(acceptance.repetitions(promise) * size)
    measured = {}
    for rows, keep in ((1, 0.0), (3, 0.3), (10, 0.9)):
        found = clustered_p_values(runs, users=400, rows=rows, keep=keep, seed=8)
        measured |= {f"{rows} rows per user, {test}": rate for test, rate in found.items()}
    record(
        "clustered_rows", "type I error at 5 %: Rao-Scott at most 8 %, Pearson for comparison", measured, runs, SECTION
    )
    for case, rate in measured.items():
        if case.endswith("Rao-Scott"):
            acceptance.check(round(rate * runs), runs, promise, case)
    assert measured["10 rows per user, Pearson"] > 0.3


def test_noise_floor_and_smooth_components_without_drift():
    rng = np.random.default_rng(9)
    runs, n, k = 4000, 1000, 20
    reference, current = (rng.multinomial(n, np.full(k, 1 / k), size=runs) for _ in range(2))
    effect = psi_effect(reference, current)
    assert effect.psi.mean() == pytest.approx(0.038, rel=0.03)
    low, high = interval(int((effect.psi > effect.noise_p95).sum()), runs)
    assert low <= 0.05 <= high
    equal = np.full(k, 1000)
    components = smooth_components(equal, current) * np.sqrt(n)
    assert np.abs(components.mean(axis=0)).max() < 0.07
    assert np.abs(components.var(axis=0) - 1).max() < 0.1
    assert np.abs(np.corrcoef(components.T) - np.eye(4)).max() < 0.07


def test_counts_of_shards_add_up_bit_for_bit():
    rng = np.random.default_rng(10)
    values = np.where(rng.random(30_000) < 0.2, 0.0, np.exp(5 * rng.normal(size=30_000)))
    values[::97], values[::89] = np.nan, np.inf
    profile = build_profile(values[:5000], "numeric")
    shards = np.array_split(rng.permutation(values), 17)
    assert (sum(count(profile, shard) for shard in shards) == count(profile, values)).all()
    words = rng.choice([None, *(f"w{i}" for i in range(200))], size=5000)
    profile = build_profile(words[:2000], "categorical")
    shards = np.array_split(words, 13)
    assert (sum(count(profile, shard) for shard in shards) == count(profile, words)).all()
