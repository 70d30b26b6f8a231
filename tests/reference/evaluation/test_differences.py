"""Differences between models against definitions: sklearn's values, a paired jackknife by hand, Welch's interval."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose
from scipy import stats
from sklearn import metrics as sk

from metrics_py.evaluation.differences import differences
from metrics_py.evaluation.verdict import judge
from metrics_py.quality.champion import PairedDifference


def tables(rng: np.random.Generator, n: int, right: float, names: tuple[str, ...] = ("a", "b", "c")):
    """Truth, decision and bucket of n rows, and their confusion by bucket."""
    truth = rng.choice(names, n)
    decided = np.where(rng.random(n) < right, truth, rng.choice(names, n))
    bucket = rng.integers(0, 64, n)
    rows = pl.DataFrame({"actual_class": truth, "predicted_class": decided, "bucket": bucket})
    counts = rows.group_by("bucket", "actual_class", "predicted_class").agg(n=pl.len().cast(pl.Int64))
    return rows, {"confusion": counts.with_columns(segment=pl.lit("all"))}


def row_of(found: pl.DataFrame, metric: str) -> dict:
    return found.filter(metric=metric, segment="all").row(0, named=True)


def test_values_of_several_classes_are_those_of_sklearn():
    rng = np.random.default_rng(1801)
    (old, first), (new, second) = tables(rng, 900, 0.6), tables(rng, 700, 0.7)
    found = differences(first, second, task="multiclass_classification", paired=False)
    for rows, side in ((old, "champion"), (new, "challenger")):
        y, p = rows["actual_class"].to_numpy(), rows["predicted_class"].to_numpy()
        assert_allclose(row_of(found, "accuracy")[side], sk.accuracy_score(y, p))
        assert_allclose(row_of(found, "f1_macro")[side], sk.f1_score(y, p, average="macro"))


def test_a_class_that_only_one_model_decides_for_counts_for_both():
    rng = np.random.default_rng(1802)
    rows, first = tables(rng, 800, 0.9)
    never_c = rows.with_columns(
        predicted_class=pl.when(pl.col("predicted_class") == "c").then(pl.lit("a")).otherwise("predicted_class")
    )
    counts = never_c.group_by("bucket", "actual_class", "predicted_class").agg(n=pl.len().cast(pl.Int64))
    second = {"confusion": counts.with_columns(segment=pl.lit("all"))}
    found = row_of(differences(first, second, task="multiclass_classification"), "recall_macro")
    expected = sk.recall_score(
        never_c["actual_class"].to_numpy(), never_c["predicted_class"].to_numpy(), average="macro"
    )
    assert_allclose(found["challenger"], expected)


@pytest.mark.parametrize("swapped", [False, True])
def test_a_class_without_a_label_that_only_one_model_decides_for_counts_for_both(swapped):
    rng = np.random.default_rng(1812)
    rows, second = tables(rng, 900, 0.5)
    also = rows.with_columns(
        predicted_class=pl.when(pl.Series(rng.random(900) < 0.1)).then(pl.lit("rare")).otherwise("actual_class")
    )
    counts = also.group_by("bucket", "actual_class", "predicted_class").agg(n=pl.len().cast(pl.Int64))
    first = {"confusion": counts.with_columns(segment=pl.lit("all"))}
    models, sides = [first, second], ["champion", "challenger"]
    found = differences(*(models[::-1] if swapped else models), task="multiclass_classification")
    sides = sides[::-1] if swapped else sides
    for of, side in zip((also, rows), sides, strict=True):
        y, p = of["actual_class"].to_numpy(), of["predicted_class"].to_numpy()
        for name, function in (("f1", sk.f1_score), ("precision", sk.precision_score), ("recall", sk.recall_score)):
            expected = function(y, p, average="macro", labels=["a", "b", "c", "rare"], zero_division=0)
            assert_allclose(row_of(found, f"{name}_macro")[side], expected, rtol=1e-6, err_msg=f"{name} {side}")
    assert row_of(found, "accuracy")["n_champion"] == 900


def test_the_paired_interval_is_the_jackknife_of_the_difference():
    rng = np.random.default_rng(1803)
    n = 2000
    truth = rng.choice(["0", "1"], n)
    bucket = rng.integers(0, 64, n)
    sides, right = [], []
    for share in (0.7, 0.75):
        decided = np.where(rng.random(n) < share, truth, np.where(truth == "0", "1", "0"))
        right.append(decided == truth)
        rows = pl.DataFrame({"actual_class": truth, "predicted_class": decided, "bucket": bucket})
        counts = rows.group_by("bucket", "actual_class", "predicted_class").agg(n=pl.len().cast(pl.Int64))
        sides.append({"confusion": counts.with_columns(segment=pl.lit("all"))})
    found = row_of(differences(*sides, task="binary_classification"), "accuracy")
    gain = right[1].astype(float) - right[0]
    without = np.array([gain[bucket != b].mean() for b in range(64)])
    error = np.sqrt(63 / 64 * ((without - without.mean()) ** 2).sum())
    half = stats.t.ppf(0.975, 63) * error
    assert_allclose(
        [found["difference"], found["ci_low"], found["ci_high"]], [gain.mean(), gain.mean() - half, gain.mean() + half]
    )


def test_the_interval_of_other_rows_is_welchs():
    rng = np.random.default_rng(1804)
    (old, first), (new, second) = tables(rng, 4000, 0.5), tables(rng, 1000, 0.6)
    found = row_of(differences(first, second, task="multiclass_classification", paired=False), "accuracy")
    hits = [(rows["actual_class"] == rows["predicted_class"]).to_numpy().astype(float) for rows in (new, old)]
    welch = stats.ttest_ind(*hits, equal_var=False).confidence_interval(0.95)
    assert found["difference"] == pytest.approx(hits[0].mean() - hits[1].mean())
    assert found["ci_high"] - found["ci_low"] == pytest.approx(welch.high - welch.low, rel=0.25)


def test_rows_needed_follow_from_the_standard_error():
    """An error of 0.0102 on 1,000 rows; a gap of 0.01 needs (2.802 x 0.0102 / 0.01)^2 times as many."""
    found = judge(PairedDifference(0.8, 0.8, 0.0, -0.02, 0.02, 1.0, 1000), margin=0.01, direction="higher_is_better")
    factor = ((stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) * (0.02 / stats.norm.ppf(0.975)) / 0.01) ** 2
    assert found.more_rows == int(np.ceil(1000 * factor)) - 1000


@pytest.mark.parametrize(("low", "high", "outcome"), [(-0.02, -0.001, "inferior"), (0.001, 0.02, "superior")])
def test_lower_is_better_turns_the_sides_round(low, high, outcome):
    middle = (low + high) / 2
    gain = PairedDifference(0.5, 0.5 + middle, middle, low, high, 0.01, 5000)
    assert judge(gain, margin=0.0005, direction="higher_is_better").outcome == outcome
    other = {"inferior": "superior", "superior": "inferior"}[outcome]
    assert judge(gain, margin=0.0005, direction="lower_is_better").outcome == other
