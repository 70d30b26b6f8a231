"""What must hold of every quality metric, whatever the counts.

Merging, order, repetition, relabelling, ranges, intervals.
"""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose

from metrics_py import intervals
from metrics_py.quality import classification, multiclass, score_histograms
from metrics_py.quality.metrics import BINARY, BY_TASK, MULTICLASS
from metrics_py.quality.table import quality_table

PROFILE = settings(deadline=None, max_examples=25, derandomize=True)

counts = st.integers(0, 40)
RANGES = {
    "proportion": (0, 1),
    "unit": (0, 1),
    "error": (0, np.inf),
    "skill": (-np.inf, 1),
    "identity": (-np.inf, np.inf),
}


def aggregates(task, seed, n_groups=3, n_buckets=8, k=3):
    """Consistent aggregates (G, B, ...) of random rows, some groups almost empty."""
    rng = np.random.default_rng(seed)
    shape = (n_groups, n_buckets)
    n_classes = 2 if task == "binary_classification" else k
    rows = rng.poisson(rng.choice([0.3, 2, 20], (n_groups, 1)), shape)
    data = {
        name: np.zeros(shape)
        for name in (
            "n_score",
            "sum_score",
            "sum_log_loss",
            "sum_brier",
            "sum_label",
            "sum_label_sq",
            "sum_error",
            "sum_abs_error",
            "sum_squared_error",
        )
    }
    data["confusion"] = np.zeros((*shape, n_classes, n_classes))
    bins = (*shape, 256) if n_classes == 2 else (*shape, n_classes, 256)
    data["positives"], data["negatives"] = np.zeros(bins), np.zeros(bins)
    for g, b in np.ndindex(*shape):
        n = int(rows[g, b])
        p = rng.dirichlet(np.ones(n_classes), n)
        y = rng.integers(0, n_classes, n)
        label, guess = rng.normal(5, 2, n), rng.normal(5, 2, n)
        np.add.at(data["confusion"][g, b], (p.argmax(axis=1), y), 1)
        cell = np.minimum((p * 256).astype(int), 255)
        for c in [1] if n_classes == 2 else range(n_classes):
            where = (g, b) if n_classes == 2 else (g, b, c)
            np.add.at(data["positives"][where], cell[y == c, c], 1)
            np.add.at(data["negatives"][where], cell[y != c, c], 1)
        one_hot = np.eye(n_classes)[y]
        brier = (p[:, 1] - y) ** 2 if n_classes == 2 else ((p - one_hot) ** 2).sum(axis=1)
        error = guess - label
        sums = {
            "n_score": n,
            "sum_score": p[:, 1].sum(),
            "sum_log_loss": -np.log((p * one_hot).sum(axis=1)).sum(),
            "sum_brier": brier.sum(),
            "sum_label": label.sum(),
            "sum_label_sq": (label**2).sum(),
            "sum_error": error.sum(),
            "sum_abs_error": np.abs(error).sum(),
            "sum_squared_error": (error**2).sum(),
        }
        for name, value in sums.items():
            data[name][g, b] = value
    return data


ALL = [(task, metric) for task, metrics in BY_TASK.items() for metric in metrics]
IDS = [f"{task}-{metric.name}" for task, metric in ALL]


def total(data):
    return {name: array.sum(axis=1) for name, array in data.items()}


@pytest.mark.parametrize(("task", "metric"), ALL, ids=IDS)
@PROFILE
@given(seed=st.integers(0, 10_000))
def test_range_repetition_and_broadcasting(task, metric, seed):
    data = total(aggregates(task, seed))
    with np.errstate(divide="ignore", invalid="ignore"):
        value = metric.value(data)
        low, high = RANGES[metric.scale]
        defined = np.isfinite(value)
        assert value.shape == (3,)
        assert ((value[defined] >= low - 1e-12) & (value[defined] <= high + 1e-12)).all()
        assert np.isfinite(value[data["n_score"] > 0]).all() or metric.undefined
        # a row of weight three is three rows
        assert_allclose(metric.value({name: 3 * array for name, array in data.items()}), value, rtol=1e-9, atol=1e-12)
        # one group alone gives what it gives among others
        alone = [metric.value({name: array[g : g + 1] for name, array in data.items()})[0] for g in range(3)]
        assert_allclose(alone, value, rtol=1e-12, equal_nan=True)


@pytest.mark.parametrize(("task", "metric"), ALL, ids=IDS)
@PROFILE
@given(seed=st.integers(0, 10_000))
def test_buckets_may_be_shuffled_and_merged(task, metric, seed):
    data = aggregates(task, seed)
    order = np.random.default_rng(seed).permutation(8)
    shuffled = {name: array[:, order] for name, array in data.items()}
    halves = {name: array[:, :4].sum(axis=1) + array[:, 4:].sum(axis=1) for name, array in data.items()}
    with np.errstate(divide="ignore", invalid="ignore"):
        value = metric.value(total(data))
        assert_allclose(metric.value(halves), value, rtol=1e-9, atol=1e-12, equal_nan=True)
        occupied = data["n_score"] > 0
        results = []
        for each, filled in ((data, occupied), (shuffled, occupied[:, order])):
            summed = total(each)
            left_out = {name: summed[name][:, None] - array for name, array in each.items()}
            results.append(intervals.jackknife_from_replicates(value, metric.value(left_out), filled))
    assert_allclose(results[0].ci_low, results[1].ci_low, rtol=1e-6, atol=1e-9, equal_nan=True)
    defined = np.isfinite(results[0].ci_low)
    assert (results[0].ci_low[defined] <= value[defined]).all()


@pytest.mark.parametrize("metric", [m for m in MULTICLASS if m.needs == ("confusion",)], ids=lambda m: m.name)
@PROFILE
@given(matrix=hnp.arrays(np.int64, (4, 4), elements=counts), seed=st.integers(0, 100))
def test_classes_may_be_renamed(metric, matrix, seed):
    order = np.random.default_rng(seed).permutation(4)
    renamed = matrix[np.ix_(order, order)]
    assert_allclose(
        metric.value({"confusion": renamed}), metric.value({"confusion": matrix}), rtol=1e-9, equal_nan=True
    )


@PROFILE
@given(matrix=hnp.arrays(np.int64, (2, 2), elements=counts))
def test_two_classes_are_the_binary_case(matrix):
    assert_allclose(multiclass.accuracy(matrix), classification.accuracy(matrix), equal_nan=True)
    if matrix.sum(axis=0).all():
        assert_allclose(multiclass.balanced_accuracy(matrix), classification.balanced_accuracy(matrix))
    flipped = matrix[::-1, ::-1]
    assert_allclose(classification.recall(flipped), classification.specificity(matrix), equal_nan=True)


@PROFILE
@given(
    positives=hnp.arrays(np.int64, 16, elements=st.integers(0, 30)),
    negatives=hnp.arrays(np.int64, 16, elements=st.integers(0, 30)),
)
def test_area_under_the_curve(positives, negatives):
    area = score_histograms.roc_auc(positives, negatives)
    if not positives.sum() or not negatives.sum():
        assert np.isnan(area)
        return
    assert_allclose(score_histograms.roc_auc(negatives, positives), 1 - area, atol=1e-12)
    assert_allclose(score_histograms.roc_auc(positives[::-1], negatives[::-1]), 1 - area, atol=1e-12)
    spread = np.zeros((2, 48))  # any increasing transformation of the scores
    spread[0, 1::3], spread[1, 1::3] = positives, negatives
    assert_allclose(score_histograms.roc_auc(*spread), area, atol=1e-12)
    low, high = score_histograms.average_precision_bounds(positives, negatives)
    assert low - 1e-12 <= score_histograms.average_precision(positives, negatives) <= high + 1e-12
    assert 0 <= low <= high <= 1 + 1e-12


@PROFILE
@given(successes=st.integers(0, 500), failures=st.integers(0, 500), error=st.floats(0, 0.2), buckets=st.integers(2, 64))
def test_proportion_intervals_hold_their_value(successes, failures, error, buckets):
    n = successes + failures
    if not n:
        return
    low, high, _ = intervals.proportion_interval(successes, n, error, buckets - 1)
    assert 0 <= low <= successes / n + 1e-12
    assert successes / n - 1e-12 <= high <= 1


@PROFILE
@given(seed=st.integers(0, 10_000), n=st.integers(0, 300))
def test_any_rows_give_a_complete_table(seed, n):
    rng = np.random.default_rng(seed)
    frame = pl.DataFrame(
        {
            "segment": rng.choice(["all", "a=1"], n),
            "bucket": rng.integers(0, 16, n),
            "predicted_class": rng.choice(["0", "1"], n),
            "actual_class": rng.choice(["0", "1"], n),
            "class_name": [""] * n,
            "score_bin": rng.integers(0, 256, n),
            "is_positive": rng.random(n) < 0.3,
            "n": rng.integers(1, 5, n),
        },
        schema_overrides={
            "segment": pl.String,
            "predicted_class": pl.String,
            "actual_class": pl.String,
            "class_name": pl.String,
        },
    )
    known = pl.DataFrame({"segment": ["all", "a=1", "b=2"], "n_labelled": [0, 0, 0]})
    table = quality_table(frame, frame, label_counts=known, task="binary_classification", by=["segment"], min_labels=20)
    expected = [m for m in BINARY if set(m.needs) <= {"confusion", "scores"}]
    assert table.height == 3 * len(expected)
    for row in table.to_dicts():
        assert (row["status"] == "ok") == (row["reason"] is None) == (row["stabilised_value"] is not None)
        if row["status"] == "ok":
            assert row["ci_low"] <= row["value"] + 1e-12 and row["value"] <= row["ci_high"] + 1e-12
            assert row["variance"] >= 0
    assert not table.select(pl.col(pl.Float64).is_nan().any()).to_numpy().any()
