"""Gaps between groups on the same rows as fairlearn's, and their parts against definitions."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from fairlearn import metrics as fl
from scipy import stats
from sklearn import metrics as sk

from metrics_py.evaluation.fairness import Rate, gap_change, largest_gap
from sightline.evaluation.suite.fairness import rates
from sightline.spec.model import MonitorSpec

GROUPS = ["a", "b", "c", "d"]


def spec(task: str = "binary_classification", **columns: object) -> MonitorSpec:
    named = {"score": "p"} if task == "binary_classification" else {"prediction": "p"}
    return MonitorSpec.model_validate(
        {
            "model": {"id": "m", "task": task},
            "columns": {**named, "segments": ["g"], **columns},
            "labels": {"column": "y"},
            "reference": {"path": "r.parquet"},
        }
    )


def rows(seed: int, n: int = 6000) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    group = rng.choice(GROUPS, n, p=[0.5, 0.3, 0.15, 0.05])
    truth = rng.random(n) < np.where(group == "a", 0.3, 0.4)
    score = 1 / (1 + np.exp(-(np.where(truth, 1.0, -0.7) + 0.3 * (group == "b") + rng.normal(0, 1, n))))
    return pl.DataFrame(
        {
            "g_g": group,
            "bucket": rng.integers(0, 64, n).astype(np.uint8),
            "score": score,
            "predicted_class": pl.Series([None] * n, dtype=pl.String),
            "prediction": pl.Series([None] * n, dtype=pl.Float64),
            "label_class": np.where(truth, "1", "0"),
            "label_value": truth.astype(float),
        }
    )


@pytest.mark.parametrize(
    ("metric", "as_ratio", "reference"),
    [
        ("demographic_parity", False, fl.demographic_parity_difference),
        ("demographic_parity", True, fl.demographic_parity_ratio),
        ("equal_opportunity", False, fl.equal_opportunity_difference),
        ("equalized_odds", False, fl.equalized_odds_difference),
    ],
)
def test_gaps_are_those_of_fairlearn(metric, as_ratio, reference):
    frame = rows(31)
    found = largest_gap(rates(spec(), frame, "g_g", GROUPS, metric), GROUPS, as_ratio=as_ratio)
    y, decided = frame["label_value"].to_numpy(), (frame["score"] >= 0.5).to_numpy()
    assert found.value == pytest.approx(reference(y, decided, sensitive_features=frame["g_g"].to_numpy()), abs=1e-12)
    assert found.ci_low <= found.value <= found.ci_high


@pytest.mark.parametrize(
    ("metric", "function"), [("accuracy", sk.accuracy_score), ("predictive_parity", sk.precision_score)]
)
def test_other_metrics_by_group_are_those_of_fairlearn(metric, function):
    frame = rows(32)
    decided = (frame["score"] >= 0.5).to_numpy()
    table = fl.MetricFrame(
        metrics=function,
        y_true=frame["label_value"].to_numpy(),
        y_pred=decided,
        sensitive_features=frame["g_g"].to_numpy(),
    )
    found = largest_gap(rates(spec(), frame, "g_g", GROUPS, metric), GROUPS)
    assert found.value == pytest.approx(table.difference(), abs=1e-12)
    assert {each.group: each.value for each in found.groups} == pytest.approx(table.by_group.to_dict())


def test_errors_of_a_regression_by_group_are_those_of_fairlearn():
    rng = np.random.default_rng(33)
    frame = rows(33).with_columns(label_value=pl.Series(rng.normal(10, 3, 6000)))
    frame = frame.with_columns(prediction=frame["label_value"] + pl.Series(rng.normal(0.2, 1, 6000)))
    table = fl.MetricFrame(
        metrics=sk.mean_absolute_error,
        y_true=frame["label_value"].to_numpy(),
        y_pred=frame["prediction"].to_numpy(),
        sensitive_features=frame["g_g"].to_numpy(),
    )
    found = largest_gap(rates(spec("regression"), frame, "g_g", GROUPS, "mae"), GROUPS)
    assert found.value == pytest.approx(table.difference(), abs=1e-12)


def test_several_classes_are_compared_one_by_one():
    rng = np.random.default_rng(34)
    n, names = 5000, np.array(["x", "y", "z"])
    truth, group = rng.choice(names, n), rng.choice(GROUPS, n)
    decided = np.where(rng.random(n) < np.where(group == "a", 0.5, 0.8), truth, rng.choice(names, n))
    frame = rows(34, n).with_columns(
        g_g=pl.Series(group), label_class=pl.Series(truth), predicted_class=pl.Series(decided), label_value=pl.lit(None)
    )
    monitor = spec("multiclass_classification")
    found = largest_gap(rates(monitor, frame, "g_g", GROUPS, "equal_opportunity"), GROUPS)
    gaps = [fl.equal_opportunity_difference(truth == name, decided == name, sensitive_features=group) for name in names]
    assert found.value == pytest.approx(max(gaps), abs=1e-12)
    assert found.rate == f"recall of {names[int(np.argmax(gaps))]}"
    found = largest_gap(rates(monitor, frame, "g_g", GROUPS, "accuracy"), GROUPS)
    by_group = [float((truth == decided)[group == name].mean()) for name in GROUPS]
    assert found.value == pytest.approx(max(by_group) - min(by_group), abs=1e-12)


def test_two_means_have_the_interval_of_welch():
    """One row per bucket: the limits of either mean are Student's, and those of the difference are joined from them."""
    rng = np.random.default_rng(35)
    x = rng.normal([[1.0], [0.0]], [[1.0], [2.0]], (2, 64))
    found = largest_gap({"mean": Rate(x, np.ones((2, 64)), is_share=False)}, ["a", "b"])
    error = np.sqrt((x.var(axis=1, ddof=1) / 64).sum())
    # the groups are correlated over the buckets by chance, which widens the interval where it is negative
    rho = min(np.corrcoef(x)[0, 1], 0.0)
    wider = error**2 - 2 * rho * np.prod(x.std(axis=1, ddof=1)) / 64
    half = stats.t.ppf(0.975, 63) * np.sqrt(wider)
    difference = x[0].mean() - x[1].mean()
    assert found.value == pytest.approx(abs(difference), abs=1e-12)
    assert found.ci_high == pytest.approx(abs(difference) + half, rel=1e-9)
    strict = stats.t.ppf(1 - 0.025 / 2, 63) * np.sqrt(wider)  # two ordered pairs
    assert found.ci_low == pytest.approx(max(abs(difference) - strict, 0.0), rel=1e-9)


def test_the_gap_to_be_expected_of_equal_groups_is_that_of_drawn_ones():
    rng = np.random.default_rng(36)
    n = np.tile(np.array([[2.0], [10.0], [40.0], [10.0]]), (1, 64))
    found = largest_gap({"share": Rate(rng.binomial(n.astype(int), 0.3).astype(float), n)}, GROUPS, min_rows=50)
    draws = rng.binomial((n.sum(axis=1)).astype(int), 0.3, (200_000, 4)) / n.sum(axis=1)
    assert found.by_chance == pytest.approx(
        float(np.ptp(draws, axis=1).mean()), rel=0.12
    )  # design effects are estimated


def test_the_change_of_a_gap_is_a_paired_jackknife():
    """By hand: the difference of the differences without each bucket."""
    old, new = rows(37), rows(37).with_columns(score=(pl.col("score") + 0.1 * (pl.col("g_g") == "b")).clip(0, 1))
    both = [rates(spec(), frame, "g_g", GROUPS, "demographic_parity") for frame in (old, new)]
    found = gap_change(*both, GROUPS)
    assert found is not None
    change, rate, high, low = found
    assert rate == "selection_rate"

    def gap(frame: pl.DataFrame, without: int | None) -> float:
        kept = frame if without is None else frame.filter(pl.col("bucket") != without)
        share = {g: (kept.filter(g_g=g)["score"] >= 0.5).mean() for g in (high, low)}
        return share[high] - share[low]

    values = np.array([gap(new, b) - gap(old, b) for b in range(64)])
    error = np.sqrt(63 / 64 * ((values - values.mean()) ** 2).sum())
    assert change.difference == pytest.approx(gap(new, None) - gap(old, None), abs=1e-12)
    assert change.ci_high - change.difference == pytest.approx(stats.t.ppf(0.975, 63) * error, rel=1e-9)
