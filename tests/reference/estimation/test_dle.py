"""Estimated errors of a regression beside scikit-learn: a tree over the bins, and many draws of the errors."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from sklearn import metrics as sk
from sklearn.tree import DecisionTreeRegressor

from metrics_py.estimation.cbpe import Z95
from metrics_py.estimation.dispersion import FEWEST_WINDOWS
from metrics_py.estimation.dle import (
    ASSUMED,
    ESTIMATED,
    HEAVY_TAIL,
    NO_SPREAD,
    ROWS_PER_GROUP,
    between_windows,
    estimate,
    learn_errors,
)
from tests.support.errors import bins_of, draw_errors, error_bins, prediction_bins, profile_of

SETTINGS = {"min_rows": 100, "by": ["window"]}


@pytest.fixture(scope="module")
def reference() -> tuple[np.ndarray, np.ndarray]:
    return draw_errors(np.random.default_rng(81), 200_000)


@pytest.fixture(scope="module")
def profile(reference):
    return profile_of(reference[0])


@pytest.fixture(scope="module")
def sizes(reference, profile):
    return learn_errors(error_bins(profile, *reference))


def one(found: pl.DataFrame, metric: str) -> dict:
    return found.row(by_predicate=pl.col("metric") == metric, named=True)


def test_expected_errors_are_those_of_a_regression_tree_over_the_bins(reference, profile, sizes):
    """A tree that is grown out on the bins alone predicts the mean of each: an independent model of the errors.

    Of rows that lie in their bins as those of the reference do: some of these themselves, more of the high ones.
    """
    predictions, labels = reference
    rng = np.random.default_rng(82)
    new = np.concatenate([np.resize(predictions[bins_of(profile, predictions) == k], 40 * k) for k in range(1, 33)])
    new = np.concatenate([new, rng.permutation(predictions)[:100]])
    found = estimate(prediction_bins(profile, new, window=1), sizes, **SETTINGS)
    bins, errors = bins_of(profile, predictions)[:, None], np.abs(predictions - labels)
    tree = DecisionTreeRegressor().fit(bins, errors)
    expected = tree.predict(bins_of(profile, new)[:, None])
    assert one(found, "mae")["value"] == pytest.approx(expected.mean(), rel=0.002)
    tree = DecisionTreeRegressor().fit(bins, errors**2)
    expected = tree.predict(bins_of(profile, new)[:, None])
    assert one(found, "rmse")["value"] == pytest.approx(np.sqrt(expected.mean()), rel=0.002)


def test_where_predictions_move_within_their_bins_the_errors_go_along(profile, sizes):
    """Beside the formula by which the errors were drawn: 19 % of the rows are in the highest bin, of 3 %."""
    new, _ = draw_errors(np.random.default_rng(79), 200_000, shift=1.0)
    new = new[new <= 90]
    found = estimate(prediction_bins(profile, new, window=1), sizes, **SETTINGS)
    size = np.exp(0.04 * (new - 50))
    assert one(found, "mae")["value"] == pytest.approx(np.sqrt(2 / np.pi) * size.mean(), rel=0.01)
    assert one(found, "rmse")["value"] == pytest.approx(np.sqrt((size**2).mean()), rel=0.02)


def test_the_spread_is_that_of_many_draws_of_errors(reference, profile, sizes):
    rng = np.random.default_rng(83)
    predictions, labels = reference
    bins, errors = bins_of(profile, predictions), np.abs(predictions - labels)
    new = bins_of(profile, rng.choice(predictions, 1_000))
    drawn: dict[str, list[float]] = {name: [] for name in ESTIMATED}
    pools = {k: errors[bins == k] for k in np.unique(new)}
    for _ in range(600):
        found = np.concatenate([rng.choice(pool, (new == k).sum()) for k, pool in pools.items()])
        drawn["mae"].append(sk.mean_absolute_error(found, np.zeros_like(found)))
        drawn["rmse"].append(sk.root_mean_squared_error(found, np.zeros_like(found)))
    mean = np.array([predictions[bins == k].mean() for k in new])
    rows = pl.DataFrame({"prediction_bin": new, "n": 1, "sum_prediction": mean, "window": 1})
    for row in estimate(rows, sizes, **SETTINGS).to_dicts():
        spread = np.std(drawn[row["metric"]])
        assert abs(row["value"] - np.mean(drawn[row["metric"]])) < 4 * spread / np.sqrt(600) + 0.002
        assert np.sqrt(row["variance"]) == pytest.approx(spread, rel=0.12), row["metric"]
        assert (row["status"], row["reason"], row["reason_code"]) == ("ok", ASSUMED, "estimated")
        assert row["ci_high"] - row["ci_low"] == pytest.approx(2 * Z95 * np.sqrt(row["variance"]), rel=0.02)


def test_a_small_reference_widens_the_interval_and_its_bins_are_joined(reference, profile, sizes):
    new, _ = draw_errors(np.random.default_rng(84), 20_000)
    small = learn_errors(error_bins(profile, *(part[:500] for part in reference)))
    assert small.n.min() >= ROWS_PER_GROUP and len(small.n) < len(sizes.n) and small.n.sum() == 500
    width = pl.col("ci_high") - pl.col("ci_low")
    far, near = (
        estimate(prediction_bins(profile, new, window=1), known, **SETTINGS).select(width).to_series()
        for known in (small, sizes)
    )
    assert (far > 2 * near).all()


def test_each_window_alone_gives_the_same_as_all_together(profile, sizes):
    rng = np.random.default_rng(85)
    windows = [prediction_bins(profile, draw_errors(rng, 300)[0], window=k) for k in range(20)]
    together = estimate(pl.concat(windows), sizes, **SETTINGS)
    alone = pl.concat([estimate(window, sizes, **SETTINGS) for window in windows])
    assert_frame_equal(together, alone.sort("window", "metric"), rel_tol=1e-12)
    assert estimate(windows[0].clear(), sizes, **SETTINGS).is_empty()


def test_what_cannot_be_estimated_says_why(reference, profile, sizes):
    rng = np.random.default_rng(86)
    new = draw_errors(rng, 2_000)[0]
    few = estimate(prediction_bins(profile, new[:60], window=1), sizes, **SETTINGS)
    assert (
        set(few["reason"]) == {"60 rows, 100 needed"} and few["ci_low"].null_count() == few["value"].null_count() == 2
    )
    young = learn_errors(error_bins(profile, *(part[:200] for part in reference)))
    assert set(estimate(prediction_bins(profile, new, window=1), young, **SETTINGS)["reason_code"]) == {"too_few_rows"}
    beyond = estimate(prediction_bins(profile, new + 1_000, window=1), sizes, **SETTINGS)
    assert set(beyond["reason"]) == {"100 % of the predictions lie where the reference has no labelled rows"}
    exact = learn_errors(error_bins(profile, reference[0], reference[0] + 1))
    assert set(estimate(prediction_bins(profile, new, window=1), exact, **SETTINGS)["reason"]) == {NO_SPREAD}
    assert learn_errors(error_bins(profile, *reference).clear()) is None


def test_of_a_heavy_tail_the_rmse_is_not_told_and_the_mae_is(profile):
    rng = np.random.default_rng(87)
    wild = learn_errors(error_bins(profile, *draw_errors(rng, 50_000, tail=2.1)))
    found = estimate(prediction_bins(profile, draw_errors(rng, 1_000)[0], window=1), wild, **SETTINGS)
    assert one(found, "mae")["status"] == "ok"
    assert (one(found, "rmse")["reason"], one(found, "rmse")["value"]) == (HEAVY_TAIL, None)
    labels = np.full(50_000, 50.0)
    labels[0] = 1e200
    broken = learn_errors(error_bins(profile, draw_errors(rng, 50_000)[0], labels))
    found = estimate(prediction_bins(profile, draw_errors(rng, 1_000)[0], window=1), broken, **SETTINGS)
    assert set(found["status"]) == {"insufficient_data"} and set(found["reason_code"]) == {"heavy_tail"}


def windows_of(effect: float, n: int, k: int, seed: int, profile) -> tuple[pl.DataFrame, list[tuple]]:
    rng = np.random.default_rng(seed)
    windows = [draw_errors(rng, n, effect=effect) for _ in range(k)]
    return pl.concat([error_bins(profile, *rows, window_start=i) for i, rows in enumerate(windows)]), windows


def test_independent_errors_differ_by_chance_only(profile):
    runs = []
    for seed in range(12):
        outcomes, _ = windows_of(0.0, 900, 40, 880 + seed, profile)
        runs.append(between_windows(outcomes, learn_errors(outcomes), min_rows=100)["mae"])
    assert np.mean(runs) < 0.2 * 0.6 / 900


def test_a_common_effect_of_each_window_is_found_as_large_as_it_is(profile):
    outcomes, windows = windows_of(0.2, 20_000, 60, 88, profile)
    told = between_windows(outcomes, learn_errors(outcomes), min_rows=100)
    for name, function in (("mae", sk.mean_absolute_error), ("rmse", sk.root_mean_squared_error)):
        assert told[name] == pytest.approx(np.var([function(y, p) for p, y in windows]), rel=0.15), name


def test_few_windows_or_few_labels_tell_nothing(profile):
    outcomes, _ = windows_of(0.2, 300, FEWEST_WINDOWS, 89, profile)
    sizes = learn_errors(outcomes)
    assert between_windows(outcomes, sizes, min_rows=100) is not None
    assert between_windows(outcomes.filter(pl.col("window_start") > 0), sizes, min_rows=100) is None
    assert between_windows(outcomes, sizes, min_rows=400) is None
