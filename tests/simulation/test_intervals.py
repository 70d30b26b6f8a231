"""Coverage of the intervals, size of the paired test, and daily peeking, through the product's own functions.

Acceptance 5. All run at the stated sizes: they take seconds.
"""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from metrics_py import intervals
from metrics_py.quality import champion, score_histograms
from metrics_py.quality.table import quality_table
from tests.support import acceptance
from tests.support.measured import interval, record

SECTION = "Metric intervals and comparisons"
METRICS = ("accuracy", "precision", "recall", "f1", "roc_auc")


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def draw(rng, n_runs, n_users, mean_rows, intercept, spread):
    """Rows of `n_runs` data sets: users differ in their scores and in how well the model knows them."""
    users = n_runs * n_users
    rows = 1 + rng.poisson(mean_rows - 1, users) if mean_rows > 1 else np.ones(users, dtype=int)
    user = np.repeat(np.arange(users), rows)
    level, unknown = rng.normal(0, spread, users), rng.normal(0, spread, users)
    x = level[user] + rng.normal(0, 1, len(user))
    score = sigmoid(1.6 * x + intercept)
    label = rng.random(len(user)) < sigmoid(1.6 * x + intercept + unknown[user])
    bucket = rng.integers(0, 64, users)[user]
    return user // n_users, bucket, score, label


def tables(run, bucket, score, label):
    frame = pl.DataFrame({"run": run, "bucket": bucket, "score": score, "label": label})
    keys = ["run", "bucket"]
    decided = frame.with_columns(
        predicted_class=(pl.col("score") >= 0.5).cast(pl.Int8).cast(pl.String),
        actual_class=pl.col("label").cast(pl.Int8).cast(pl.String),
    )
    binned = frame.with_columns(
        class_name=pl.lit(""), score_bin=(pl.col("score") * 256).floor().cast(pl.Int32), is_positive="label"
    )
    return (
        decided.group_by(*keys, "predicted_class", "actual_class").agg(n=pl.len()),
        binned.group_by(*keys, "class_name", "score_bin", "is_positive").agg(n=pl.len()),
    )


def exact_area(score, label):
    order = np.argsort(score, kind="stable")
    ranks = np.empty(len(score))
    ranks[order] = np.arange(1, len(score) + 1)
    p = label.sum()
    return (ranks[label].sum() - p * (p + 1) / 2) / (p * (len(label) - p))


WORLDS = {
    "300 users of 8 rows": {"n_users": 300, "mean_rows": 8, "intercept": -1.0, "spread": 0.8},
    "1500 users of 8 rows": {"n_users": 1500, "mean_rows": 8, "intercept": -1.0, "spread": 0.8},
    "4000 independent rows, rare positives": {"n_users": 4000, "mean_rows": 1, "intercept": -3.3, "spread": 0.5},
}


LONG = "1500 users of 8 rows"


@pytest.mark.parametrize("world", [pytest.param(w, marks=[pytest.mark.full] if w == LONG else []) for w in WORLDS])
def test_coverage_of_the_quality_intervals(world):
    promise = 0.08  # missed
    n_runs = acceptance.repetitions(promise)
    rng = np.random.default_rng(501)
    truth_confusion, truth_bins = tables(*draw(rng, 1, **WORLDS[world] | {"n_users": 400_000}))
    by = ["run"]
    truth = quality_table(truth_confusion, truth_bins, task="binary_classification", by=by)
    expected = dict(zip(truth["metric"], truth["value"], strict=True))
    hits = dict.fromkeys(METRICS, 0)
    for start in range(0, n_runs, 60):
        confusion, bins = tables(*draw(rng, min(60, n_runs - start), **WORLDS[world]))
        found = quality_table(confusion, bins, task="binary_classification", by=by)
        assert found["status"].unique().to_list() == ["ok"]
        for metric in METRICS:
            rows = found.filter(pl.col("metric") == metric)
            widened = rows["binning_bound"]  # judge the sampling interval alone: without the bound it is narrower
            inside = (rows["ci_low"] + widened <= expected[metric]) & (expected[metric] <= rows["ci_high"] - widened)
            hits[metric] += int(inside.sum())
    rates = {metric: hits[metric] / n_runs for metric in METRICS}
    record(
        f"interval_coverage_{world.replace(' ', '_').replace(',', '')}",
        "coverage 0.92 to 0.975",
        rates,
        n_runs,
        SECTION,
    )
    for metric in METRICS:
        acceptance.check(n_runs - hits[metric], n_runs, promise, f"{metric}: missed")
        assert interval(hits[metric], n_runs)[0] <= 0.975, f"{metric}: covered {hits[metric]} of {n_runs}"


def test_the_binned_area_is_always_within_its_bound():
    n_runs = 600
    rng = np.random.default_rng(502)
    worst = 0.0
    for _ in range(n_runs):
        n, concentration = int(rng.integers(50, 5000)), 10 ** rng.uniform(-1, 2.5)
        label = rng.random(n) < rng.uniform(0.02, 0.5)
        label[:2] = (True, False)
        score = np.where(label, rng.beta(1.5, concentration, n), rng.beta(1, concentration, n))
        cell = np.minimum((score * 256).astype(int), 255)
        positives, negatives = (np.bincount(cell[label == flag], minlength=256) for flag in (True, False))
        bound = score_histograms.roc_auc_bound(positives, negatives)
        worst = max(worst, abs(score_histograms.roc_auc(positives, negatives) - exact_area(score, label)) / bound)
    record("binned_area_within_bound", "largest error / bound at most 1", worst, n_runs, SECTION)
    assert worst <= 1 + 1e-12


def test_size_and_power_of_the_paired_comparison():
    """Two models of equal quality on 800 users; McNemar ignores the users, the jackknife does not."""
    promise = 0.065
    n_runs = acceptance.repetitions(promise)
    rng = np.random.default_rng(503)
    rejected = {"accuracy, jackknife": 0, "roc_auc, jackknife": 0, "accuracy, McNemar": 0, "power, roc_auc": 0}
    users = 800
    for _ in range(n_runs):
        rows = 1 + rng.poisson(7, users)
        user = np.repeat(np.arange(users), rows)
        n = len(user)
        x = rng.normal(0, 1, n) + rng.normal(0, 0.7, users)[user]
        label = rng.random(n) < sigmoid(1.6 * x - 1)
        bucket = rng.integers(0, 64, users)[user]
        # each model misreads every user in its own way
        models = [x + rng.normal(0, 0.8, users)[user] + rng.normal(0, 0.4, n) for _ in range(2)]
        better = x + 0.85 * (models[1] - x)
        scores = [sigmoid(1.6 * m - 1) for m in (*models, better)]
        right = [(s >= 0.5) == label for s in scores]

        def correct(values, bucket=bucket):
            return np.bincount(bucket, values, minlength=64)

        def histograms(score, bucket=bucket, label=label, n=n):
            address = bucket * 256 + np.minimum((score * 256).astype(int), 255)
            return [np.bincount(address[label == f], minlength=64 * 256).reshape(64, 256) for f in (True, False)]

        per_bucket = np.bincount(bucket, minlength=64)
        accuracy = champion.paired_difference(
            lambda c, n: c / n, [correct(right[0]), per_bucket], [correct(right[1]), per_bucket], n=n
        )
        incumbent, challenger, improved = (histograms(s) for s in scores)
        area = champion.paired_difference(score_histograms.roc_auc, incumbent, challenger, n=n)
        gain = champion.paired_difference(score_histograms.roc_auc, incumbent, improved, n=n)
        single = champion.mcnemar(int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum()), n)
        rejected["accuracy, jackknife"] += accuracy.p_value < 0.05
        rejected["roc_auc, jackknife"] += area.p_value < 0.05
        rejected["accuracy, McNemar"] += single.p_value < 0.05
        rejected["power, roc_auc"] += gain.ci_low > 0
    rates = {name: count / n_runs for name, count in rejected.items()}
    record("paired_comparison_size", "jackknife rejects equal models in at most 0.065", rates, n_runs, SECTION)
    for name in ("accuracy, jackknife", "roc_auc, jackknife"):
        acceptance.check(int(rejected[name]), n_runs, promise, name)
    assert rates["power, roc_auc"] > 0.5
    assert rates["accuracy, McNemar"] > rates["accuracy, jackknife"]


def test_sixty_daily_looks_do_not_promote_by_chance():
    """Equal models watched for 60 days: rows as units without day effects, days as units with them."""
    n_runs, days, rows = 4000, 60, 200
    rng = np.random.default_rng(504)
    fixed = rowwise = daywise = 0
    for _ in range(n_runs // 100):
        # per row: +1 only the challenger is right, -1 only the champion
        won = rng.binomial(rows, 0.05, (100, days))
        lost = rng.binomial(rows - won, 0.05 / 0.95)
        n = np.arange(1, days + 1) * rows
        mean = np.cumsum(won - lost, axis=1) / n
        deviation = np.sqrt(np.cumsum(won + lost, axis=1) / n - mean**2)
        low, high = intervals.confidence_sequence(mean, deviation, n, n_optimal=30 * rows)
        rowwise += int(((low > 0) | (high < 0)).any(axis=1).sum())
        fixed += int((np.abs(mean) > 1.96 * deviation / np.sqrt(n)).any(axis=1).sum())
        daily = rng.normal(0, 0.01, (100, days)) + (won - lost) / rows
        low, high = intervals.daily_confidence_sequence(daily)
        daywise += int(((low > 0) | (high < 0)).any(axis=1).sum())
    rates = {
        "rows as units": rowwise / n_runs,
        "days as units": daywise / n_runs,
        "fixed 95 % interval": fixed / n_runs,
    }
    record("daily_peeking", "ever significant in 60 looks at most 0.05", rates, n_runs, SECTION)
    assert n_runs >= acceptance.repetitions(0.05)
    acceptance.check(rowwise, n_runs, 0.05, "rows as units")
    acceptance.check(daywise, n_runs, 0.05, "days as units")
    assert rates["fixed 95 % interval"] > 0.2


def test_wilson_covers_where_wald_does_not():
    n_runs = 20_000
    rng = np.random.default_rng(505)
    rates = {}
    for n, p in ((30, 0.9), (100, 0.98), (2000, 0.001)):
        k = rng.binomial(n, p, n_runs)
        low, high = intervals.wilson(k, n)
        half = 1.96 * np.sqrt(k / n * (1 - k / n) / n)
        rates[f"n={n} p={p}"] = float(((low <= p) & (p <= high)).mean())
        rates[f"n={n} p={p} (Wald)"] = float((np.abs(k / n - p) <= half).mean())
        assert rates[f"n={n} p={p}"] > 0.92
        assert rates[f"n={n} p={p} (Wald)"] < 0.9
    record("wilson_coverage", "coverage about 0.95", rates, n_runs, SECTION)
