"""One suite for every registered metric: a new entry inherits these tests."""

from __future__ import annotations

import json
import sys
import types

import numpy as np
import polars as pl
import pytest

from metrics_py import registry
from metrics_py.profile.build import build_profile, count
from metrics_py.quality.custom import estimate_rows
from metrics_py.registry import Metric, metric
from metrics_py.results import TestResult

DRIFT = registry.entries("drift")
RNG = np.random.default_rng(61)


def of_needs(*needs):
    found = [m for m in DRIFT if m.needs in needs]
    return pytest.mark.parametrize("entry", found, ids=[m.name for m in found])


def with_invariance(needs, invariance):
    found = [m for m in DRIFT if m.needs in needs and invariance in m.invariances]
    return pytest.mark.parametrize("entry", found, ids=[m.name for m in found])


def evidence(result) -> np.ndarray:
    """Statistic and p-value of a test, or the number itself."""
    if isinstance(result, TestResult):
        assert result.status == "ok", result.reason
        return np.array([result.statistic, result.p_value])
    return np.atleast_1d(np.asarray(result, dtype=float))


COUNTS = RNG.integers(5, 300, size=9), RNG.integers(5, 300, size=9)
VALUES = RNG.gamma(2.0, 3.0, size=300), RNG.gamma(2.6, 3.0, size=150)
TIED = RNG.poisson(4, size=300).astype(float), RNG.poisson(5, size=150).astype(float)


@pytest.mark.parametrize("entry", registry.entries(), ids=lambda m: f"{m.task}-{m.name}")
def test_an_entry_says_what_it_is(entry):
    assert entry.summary.endswith(".")
    assert callable(entry.function)
    described = json.loads(json.dumps(entry.describe()))
    assert described["name"] == entry.name
    assert registry.get(entry.name, entry.task) is entry
    assert entry.name in registry.names() and entry.name in registry.names(entry.task)


def test_the_registry_holds_the_promised_metrics():
    assert set(registry.names("drift")) >= {
        "psi", "js_divergence", "js_distance", "kl_divergence", "hellinger", "total_variation", "l_infinity",
        "wasserstein", "wasserstein_scaled", "energy_distance", "energy_coefficient", "ks", "anderson_darling",
        "cramer_von_mises", "epps_singleton", "welch_t", "mann_whitney", "two_proportion_z", "chi_square", "g_test",
        "fisher_exact", "smooth_test", "null_rate", "unseen_rate", "out_of_range_rate",
    }  # fmt: skip
    assert {"roc_auc", "recall"} <= set(registry.names("binary_classification"))
    assert {"mae", "r2"} <= set(registry.names("regression"))


@of_needs("bins", "ordered_bins")
def test_counts_without_change_give_nothing_and_change_something(entry):
    same = evidence(entry.function(COUNTS[0], COUNTS[0] * 3))
    changed = evidence(entry.function(COUNTS[0], COUNTS[1]))
    if entry.name == "ks_at_most":  # rows of one bin may lie anywhere in it
        assert same[0] == pytest.approx((COUNTS[0] / COUNTS[0].sum()).max())
        assert changed[0] > same[0]
        return
    assert same[0] == pytest.approx(entry.no_change, abs=0.01)
    assert abs(changed[0] - entry.no_change) > 10 * abs(same[0] - entry.no_change)
    low, high = entry.range
    assert low <= changed[0] <= high
    if entry.returns == "test":
        assert same[1] > 0.9 > changed[1]


@pytest.mark.parametrize(
    "entry", [m for m in DRIFT if m.needs == "bins" and m.returns == "number"], ids=lambda m: m.name
)
def test_counts_are_vectorised_over_windows(entry):
    windows = RNG.integers(1, 50, size=(4, 3, 9))
    together = entry.function(COUNTS[0], windows)
    assert together.shape == (4, 3)
    assert together[2, 1] == pytest.approx(float(entry.function(COUNTS[0], windows[2, 1])))


@with_invariance(("bins",), "relabel")
def test_relabelling_categories_changes_nothing(entry):
    order = RNG.permutation(9)
    np.testing.assert_allclose(
        evidence(entry.function(COUNTS[0][order], COUNTS[1][order])), evidence(entry.function(*COUNTS)), rtol=1e-9
    )


@of_needs("bins", "ordered_bins")
def test_reversing_the_order_of_bins_changes_nothing(entry):
    found, reversed_ = evidence(entry.function(*COUNTS)), evidence(entry.function(COUNTS[0][::-1], COUNTS[1][::-1]))
    expected = 1 - found if entry.name == "superiority" else found
    np.testing.assert_allclose(reversed_, expected, rtol=1e-9)


@with_invariance(("bins", "ordered_bins"), "symmetric")
def test_swapping_the_counts_changes_nothing(entry):
    np.testing.assert_allclose(evidence(entry.function(*COUNTS[::-1])), evidence(entry.function(*COUNTS)), rtol=1e-9)


@of_needs("bins", "ordered_bins")
def test_counts_from_shards_are_counts_of_all(entry):
    profile = build_profile(VALUES[0], "numeric", bins=8)
    shards = np.array_split(RNG.permutation(VALUES[1]), 5)
    merged = profile.merged(sum(count(profile, shard) for shard in shards))
    whole = profile.merged(count(profile, VALUES[1]))
    reference = profile.merged(profile.n_reference)
    assert (evidence(entry.function(reference, merged)) == evidence(entry.function(reference, whole))).all()


@of_needs("bins", "ordered_bins")
def test_impossible_counts_are_refused(entry):
    for bad in ([1.0, np.nan], [1.0, np.inf], [1.0, -1.0]):
        with pytest.raises(ValueError, match="negative, NaN or infinite"):
            entry.function([1, 2], bad)
    with pytest.raises(ValueError, match="same bins"):
        entry.function([1, 2, 3], [1, 2])
    nothing = entry.function([1, 2], [0, 0])
    assert nothing.status == "insufficient_data" if entry.returns == "test" else np.isnan(nothing)


@of_needs("values")
@pytest.mark.parametrize("pair", [VALUES, TIED], ids=["continuous", "tied"])
def test_the_order_of_values_changes_nothing(entry, pair):
    shuffled = [RNG.permutation(side) for side in pair]
    np.testing.assert_allclose(evidence(entry.function(*shuffled)), evidence(entry.function(*pair)), rtol=1e-7)


@of_needs("values")
def test_values_see_a_shift_and_stay_in_range(entry):
    found = evidence(entry.function(VALUES[0], VALUES[1] + 10))
    assert entry.range[0] <= found[0] <= entry.range[1]
    if entry.returns == "test":
        assert found[1] < 1e-6
    else:
        assert found[0] > 3 * evidence(entry.function(VALUES[0], VALUES[1]))[0]


@with_invariance(("values",), "symmetric")
@pytest.mark.parametrize("pair", [VALUES, TIED], ids=["continuous", "tied"])
def test_swapping_the_samples_changes_nothing(entry, pair):
    np.testing.assert_allclose(evidence(entry.function(*pair[::-1])), evidence(entry.function(*pair)), rtol=1e-6)


@with_invariance(("values",), "scale")
@pytest.mark.parametrize("factor", [1e-12, 3.0, 1e9])
def test_the_unit_changes_nothing(entry, factor):
    scaled = evidence(entry.function(*(factor * side for side in VALUES)))
    np.testing.assert_allclose(scaled, evidence(entry.function(*VALUES)), rtol=1e-6)


@with_invariance(("values",), "shift")
def test_the_origin_changes_nothing(entry):
    moved = evidence(entry.function(*(side + 1000.0 for side in VALUES)))
    np.testing.assert_allclose(moved, evidence(entry.function(*VALUES)), rtol=1e-6)


@with_invariance(("values",), "monotone")
def test_an_increasing_transformation_changes_nothing(entry):
    transformed = evidence(entry.function(*(np.exp(side / 3) for side in VALUES)))
    np.testing.assert_allclose(transformed, evidence(entry.function(*VALUES)), rtol=1e-9)


@of_needs("values")
def test_impossible_values_are_refused(entry):
    for bad in ([1.0, np.nan], [1.0, np.inf]):
        with pytest.raises(ValueError, match="NaN or infinity"):
            entry.function(VALUES[0], bad)
    with pytest.raises(TypeError, match="not numbers"):
        entry.function(VALUES[0], ["a"])
    nothing = entry.function(VALUES[0], [])
    assert nothing.status == "insufficient_data" if entry.returns == "test" else np.isnan(nothing)


@of_needs("rates")
def test_rates_see_a_change_and_only_a_change(entry):
    same, changed = entry.function(50, 1000, 100, 2000), entry.function(50, 1000, 300, 2000)
    assert same.p_value == pytest.approx(1) and same.effect == 0
    assert changed.p_value < 1e-6 and changed.effect == pytest.approx(0.1)
    assert changed.effect_ci_low < 0.1 < changed.effect_ci_high
    mirrored = entry.function(950, 1000, 1700, 2000)
    assert (mirrored.p_value, mirrored.effect) == pytest.approx((changed.p_value, -changed.effect))


@of_needs("profile")
def test_shares_of_rows(entry):
    profile = build_profile(np.append(np.linspace(0, 1, 100), np.nan), "numeric")
    words = build_profile(["a", "b"], "categorical")
    numbers = count(profile, pl.Series([0.5, None, np.nan, 7.0, 0.1, 0.2, 0.3, 0.4]))
    texts = count(words, ["a", None, "z", "a", "b"])
    expected = {
        "null_rate": (1 / 8, 1 / 5),
        "not_finite_rate": (1 / 8, 0),
        "out_of_range_rate": (1 / 6, 0),
        "unseen_rate": (0, 1 / 4),
    }
    found = entry.function(profile, np.stack([numbers, numbers])), entry.function(words, texts)
    assert found[0].shape == (2,)
    assert (found[0][1], float(found[1])) == pytest.approx(expected[entry.name])
    assert np.isnan(entry.function(profile, np.zeros(len(profile), dtype=int)))
    with pytest.raises(ValueError, match="last axis"):
        entry.function(profile, [1, 2])


@pytest.fixture
def scratch(monkeypatch):
    """Entries made by a test vanish after it."""
    registry.names()
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(ValueError, match="metric 'pssi' is unknown; did you mean 'psi'"):
        registry.get("pssi")
    with pytest.raises(ValueError, match="for task regression; allowed: "):
        registry.get("psi", "regression")


def test_malformed_entries_are_refused(scratch):
    def nothing(rows):
        """Nothing."""

    for wrong, words in (
        ({"name": "Bad Name"}, "lower case"),
        ({"task": "drfit"}, "did you mean 'drift'"),
        ({"needs": "columns"}, "is unknown"),
        ({"direction": "up"}, "is unknown"),
        ({"invariances": ("sacle",)}, "did you mean 'scale'"),
        ({"range": (1.0, 0.0)}, "is empty"),
        ({"name": "psi", "task": "drift"}, "the name is taken by metrics_py.drift.binned_distances.psi"),
    ):
        with pytest.raises(ValueError, match=words):
            metric(**({"name": "fine", "task": "custom", "needs": "rows"} | wrong))(nothing)


def profit(rows: pl.DataFrame) -> float | None:
    """Mean profit of a row."""
    return rows["profit"].mean()


def test_a_custom_metric_lives_like_any_other(scratch, monkeypatch):
    module = types.ModuleType("my_metrics")
    module.profit = metric(name="profit", task="custom", needs="rows", unit="EUR", direction="higher_is_better")(profit)
    module.plain = len
    monkeypatch.setitem(sys.modules, "my_metrics", module)
    entry = registry.load("my_metrics:profit")
    assert (entry.name, entry.unit, entry.summary) == ("profit", "EUR", "Mean profit of a row.")
    assert registry.get("profit") is entry
    assert "profit" in registry.names("custom")
    for path, words in (
        ("my_metrics", "package.module:function"),
        ("no_such_module:f", "cannot be imported"),
        ("my_metrics:proft", "did you mean 'profit'"),
        ("my_metrics:plain", "decorate the function"),
    ):
        with pytest.raises(ValueError, match=words):
            registry.load(path)


def test_the_interval_of_a_custom_mean_covers():
    entry = Metric("profit", "custom", "rows", profit)
    rng = np.random.default_rng(62)
    held = 0
    for _ in range(200):
        rows = pl.DataFrame({"profit": rng.normal(3, 2, size=640), "bucket": rng.integers(64, size=640)})
        found = estimate_rows(entry, rows)
        held += found.ci_low <= 3 <= found.ci_high
    assert 180 <= held <= 199


def test_custom_metrics_without_enough_data_or_with_nonsense():
    entry = Metric("profit", "custom", "rows", profit)
    empty = pl.DataFrame({"profit": [], "bucket": []}, schema={"profit": pl.Float64, "bucket": pl.UInt8})
    assert estimate_rows(entry, empty).reason == "no rows in the window"
    nulls = pl.DataFrame({"profit": [None, None], "bucket": [1, 2]}, schema_overrides={"profit": pl.Float64})
    assert estimate_rows(entry, nulls).reason == "the metric is undefined on these rows"
    one = estimate_rows(entry, pl.DataFrame({"profit": [1.0, 2.0], "bucket": [5, 5]}))
    assert (one.value, one.status) == (1.5, "insufficient_data")
    with pytest.raises(TypeError, match="return one number"):
        estimate_rows(Metric("text", "custom", "rows", lambda rows: "much"), nulls)
    with pytest.raises(ValueError, match="only a metric with needs='rows'"):
        estimate_rows(registry.get("psi"), nulls)
    with pytest.raises(ValueError, match="no column 'bucket'"):
        estimate_rows(entry, nulls.drop("bucket"))
