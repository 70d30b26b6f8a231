"""The slope and its jackknife against least squares with a column for every window, and what is refused."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy import stats

from metrics_py.retraining.cadence import best_interval, cadence, saving
from metrics_py.retraining.decay import decay
from metrics_py.retraining.paired import mean_difference


def cells(seed: int, trained: tuple[int, ...] = (0, 3, 7, 12), slope: float = 0.01, weeks: int = 20) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    hard = rng.normal(0, 0.1, weeks)
    rows = [
        (f"v{k}", week, float(week - start), 0.3 + hard[week] + slope * (week - start) + rng.normal(0, 0.01))
        for k, start in enumerate(trained)
        for week in range(start, weeks)
    ]
    return pl.DataFrame(rows, schema=["version", "window", "age", "loss"], orient="row")


def dummies_slope(table: pl.DataFrame) -> float:
    """Every window has a column of its own."""
    windows = table["window"].unique().sort().to_list()
    design = np.column_stack(
        [table["age"].to_numpy(), *(np.asarray(table["window"].to_numpy() == w, dtype=float) for w in windows)]
    )
    return float(np.linalg.lstsq(design, table["loss"].to_numpy(), rcond=None)[0][0])


def test_the_slope_and_its_interval_are_those_of_least_squares_with_a_column_per_window():
    table = cells(1)
    found = decay(table, confidence=0.9)
    assert found.slope == pytest.approx(dummies_slope(table), rel=1e-9)
    without = [dummies_slope(table.filter(pl.col("version") != v)) for v in ("v0", "v1", "v2", "v3")]
    error = np.sqrt(3 / 4 * ((without - np.mean(without)) ** 2).sum())
    half = stats.t.ppf(0.95, 3) * error
    assert found.ci_low == pytest.approx(found.slope - half, rel=1e-6)
    assert found.ci_high == pytest.approx(found.slope + half, rel=1e-6)
    assert (found.n_versions, found.n_windows) == (4, 17)
    assert found.longest_age == 19
    assert found.change == "worse"


def test_what_makes_a_window_hard_moves_nothing():
    table = cells(2)
    harder = table.with_columns(loss=pl.col("loss") + pl.col("window") ** 2 / 7)
    one, other = decay(table), decay(harder)
    assert other.slope == pytest.approx(one.slope, rel=1e-6)
    assert other.ci_low == pytest.approx(one.ci_low, rel=1e-6)


def test_models_that_get_better_with_age_are_called_so():
    assert decay(cells(3, slope=-0.02)).change == "better"


def test_a_level_of_each_version_that_is_linear_in_its_training_time_looks_like_decay():
    """The limit that the documentation names: newer recipes that are better cannot be told from ageing."""
    table = cells(4, slope=0.0).join(
        pl.DataFrame({"version": ["v0", "v1", "v2", "v3"], "start": [0, 3, 7, 12]}), on="version"
    )
    better_recipes = table.with_columns(loss=pl.col("loss") - 0.01 * pl.col("start"))
    assert decay(better_recipes).slope == pytest.approx(decay(table).slope + 0.01, abs=1e-9)


def test_too_little_is_refused_with_its_reason():
    one = decay(cells(5, trained=(0,)))
    assert (one.slope, one.change, one.n_versions) == (None, None, 0)
    assert "no window" in str(one.reason)
    two = decay(cells(5, trained=(0, 5)))
    assert two.slope is not None
    assert two.change is None
    assert "2 versions" in str(two.reason)
    apart = (
        cells(5)
        .filter(pl.col("window").is_between(0, 2) | (pl.col("version") != "v0"))
        .with_columns(window=pl.struct("version", "window").rank("dense"))
    )
    assert "no window" in str(decay(apart).reason), "no two versions in one window"
    bridge = pl.DataFrame(
        {
            "version": ["a", "b", "a", "c"],
            "window": [1, 1, 2, 2],
            "age": [5.0, 1.0, 6.0, 3.0],
            "loss": [0.3, 0.1, 0.4, 0.2],
        }
    )
    assert "without one of the versions" in str(decay(bridge).reason), "all rests on version a"
    smooth = cells(6).with_columns(loss=pl.lit(0.25))
    assert "the same without each" in str(decay(smooth).reason)


def test_windows_before_the_training_and_cells_without_a_loss_do_not_count():
    table = cells(7)
    early = pl.DataFrame({"version": ["v3"], "window": [5], "age": [-7.0], "loss": [9.0]})
    empty = pl.DataFrame({"version": ["v3"], "window": [6], "age": [1.0], "loss": [float("nan")]})
    assert decay(pl.concat([table.with_columns(pl.col("window").cast(pl.Int64)), early, empty])) == decay(table)


def test_a_loss_that_bends_with_age_is_told():
    table = cells(8, trained=tuple(range(0, 16, 2)), slope=0.0)
    bent = table.with_columns(loss=pl.col("loss") + 0.2 * (1 - (-pl.col("age") / 3).exp()))
    assert decay(bent).is_bent is True
    assert decay(table).is_bent is False
    assert decay(cells(8)).is_bent is None, "four versions say nothing of a curve"


def test_bad_input_is_refused_by_name():
    table = cells(9)
    with pytest.raises(ValueError, match="'age' is missing"):
        decay(table.drop("age"))
    with pytest.raises(ValueError, match="two rows of one window"):
        decay(pl.concat([table, table.head(1)]))
    with pytest.raises(ValueError, match="positive lower bound"):
        cadence(0.01, -0.001, 0.02, cost=1, value=1)
    with pytest.raises(ValueError, match="cost=0"):
        best_interval(0.01, cost=0, value=1)
    with pytest.raises(ValueError, match="horizon=-1"):
        saving(0.1, 0.0, 0.2, cost=1, value=1, horizon=-1)
    with pytest.raises(ValueError, match="shapes"):
        mean_difference([1.0, 2.0, 3.0], [1.0, 2.0])


def test_the_best_interval_is_the_minimum_of_the_cost():
    from scipy.optimize import minimize_scalar

    cost, value, slope = 740.0, 13_000.0, 0.0031
    found = minimize_scalar(lambda t: cost / t + value * slope * t / 2, bounds=(0.1, 200), method="bounded")
    advised = cadence(slope, slope / 2, 2 * slope, cost=cost, value=value)
    assert advised.interval == pytest.approx(found.x, rel=1e-3)
    assert advised.rate == pytest.approx(found.fun, rel=1e-6)
    assert advised.ci_low < advised.interval < advised.ci_high


def test_a_gap_pays_only_where_it_is_no_chance():
    sure = saving(0.05, 0.04, 0.06, cost=100, value=10_000, horizon=2)
    assert (sure.pays, sure.is_sure, round(sure.value)) == (True, True, 900)
    chance = saving(0.05, -0.01, 0.11, cost=100, value=10_000, horizon=2)
    assert (chance.pays, chance.is_sure) == (False, False)
    small = saving(0.001, 0.0005, 0.0015, cost=100, value=10_000, horizon=2)
    assert (small.pays, small.is_sure) == (False, True)


def test_paired_blocks_give_students_interval_or_a_reason():
    rng = np.random.default_rng(10)
    first = rng.normal(0.3, 0.05, 8)
    second = first - 0.01 + rng.normal(0, 0.01, 8)
    plain = mean_difference(first, second)
    expected = stats.ttest_rel(second, first).confidence_interval(0.95)
    assert (plain.ci_low, plain.ci_high) == pytest.approx((expected.low, expected.high))
    few = mean_difference([0.1, 0.2, np.nan], [0.1, 0.1, 0.3])
    assert (few.status, few.n) == ("insufficient_data", 2)
    assert mean_difference([1, 2, 3], [2, 3, 4]).reason_code == "no_spread"
