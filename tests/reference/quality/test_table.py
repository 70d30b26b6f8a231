"""The whole quality table against scikit-learn on the same rows, its intervals, and what it says of missing data."""

from __future__ import annotations

import time

import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose
from scipy.stats import skew, t
from sklearn import metrics as sk

from metrics_py.intervals import jackknife, wilson
from metrics_py.quality.table import quality_table

BY = ["window_key", "segment"]


def binary_rows(n=6000, seed=1, windows=1):
    rng = np.random.default_rng(seed)
    score = rng.beta(2, 5, n)
    return pl.DataFrame(
        {
            "window_key": [f"2026-01-{1 + i % windows:02d}" for i in range(n)],
            "segment": "all",
            "bucket": rng.integers(0, 64, n),
            "score": score,
            "label": (rng.random(n) < score).astype(int),
        }
    )


def binary_tables(rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """What the marts hold of these rows."""
    score, label, keys = pl.col("score"), pl.col("label"), [*BY, "bucket"]
    decided = rows.with_columns(
        predicted_class=(score >= 0.5).cast(pl.Int8).cast(pl.String), actual_class=label.cast(pl.String)
    )
    binned = rows.with_columns(
        class_name=pl.lit(""), score_bin=(score * 256).floor().clip(0, 255).cast(pl.Int32), is_positive=label == 1
    )
    clipped = pl.when(label == 1).then(score).otherwise(1 - score).clip(1e-15, 1 - 1e-15)
    return {
        "confusion": decided.group_by(*keys, "predicted_class", "actual_class").agg(n=pl.len()),
        "score_bins": binned.group_by(*keys, "class_name", "score_bin", "is_positive").agg(n=pl.len()),
        "sums": rows.group_by(keys).agg(
            n=pl.len(),
            n_score=pl.len(),
            sum_label=label.sum(),
            sum_score=score.sum(),
            sum_log_loss=-clipped.log().sum(),
            sum_brier=((score - label) ** 2).sum(),
        ),
    }


def judge(rows, **options):
    return quality_table(**binary_tables(rows), task="binary_classification", by=BY, **options)


def by_metric(table):
    return {row["metric"]: row for row in table.to_dicts()}


def test_binary_agrees_with_sklearn_on_the_same_rows():
    rows = binary_rows()
    found = by_metric(judge(rows))
    score, actual = rows["score"].to_numpy(), rows["label"].to_numpy()
    predicted = (score >= 0.5).astype(int)
    exact = {
        "accuracy": sk.accuracy_score(actual, predicted),
        "precision": sk.precision_score(actual, predicted),
        "recall": sk.recall_score(actual, predicted),
        "specificity": sk.recall_score(actual, predicted, pos_label=0),
        "f1": sk.f1_score(actual, predicted),
        "balanced_accuracy": sk.balanced_accuracy_score(actual, predicted),
        "log_loss": sk.log_loss(actual, score),
        "brier": sk.brier_score_loss(actual, score),
        "brier_skill": 1 - sk.brier_score_loss(actual, score) / actual.var(),
        "positive_rate": actual.mean(),
        "calibration_bias": score.mean() - actual.mean(),
    }
    for metric, expected in exact.items():
        assert_allclose(found[metric]["value"], expected, rtol=0, atol=1e-9, err_msg=metric)
        assert found[metric]["binning_bound"] == 0
    for metric, expected in {
        "roc_auc": sk.roc_auc_score(actual, score),
        "average_precision": sk.average_precision_score(actual, score),
    }.items():
        assert abs(found[metric]["value"] - expected) <= found[metric]["binning_bound"]
        assert 0 < found[metric]["binning_bound"] < 0.01
    assert set(found) == {*exact, "roc_auc", "average_precision", "calibration_error"}
    assert all(row["status"] == "ok" and row["reason"] is None for row in found.values())
    assert all(row["ci_low"] <= row["value"] <= row["ci_high"] for row in found.values())


def test_denominators_are_the_n_of_proportions():
    rows = binary_rows()
    found = by_metric(judge(rows))
    predicted, actual = (rows["score"] >= 0.5).sum(), rows["label"].sum()
    assert found["precision"]["n"] == predicted
    assert found["recall"]["n"] == actual
    assert found["specificity"]["n"] == rows.height - actual
    assert found["accuracy"]["n"] == found["roc_auc"]["n"] == found["brier"]["n"] == rows.height


def hall(value, standard_error, without):
    """Student's ends, or Hall's (1992, his equation 2.4) where these lie further out."""
    n = len(without)
    g, point = skew(-without) / np.sqrt(n), t.ppf(0.975, n - 1)
    ends = [value - standard_error * 3 / g * (np.cbrt(1 + g * (x - g / 6)) - 1) for x in (point, -point)]
    return min(ends[0], value - standard_error * point), max(ends[1], value + standard_error * point)


def test_the_interval_is_the_textbook_jackknife():
    rows = binary_rows()
    found = by_metric(judge(rows))["log_loss"]
    per_bucket = rows.with_columns(
        loss=-pl.when(pl.col("label") == 1).then(pl.col("score")).otherwise(1 - pl.col("score")).log()
    )
    losses, buckets = per_bucket["loss"].to_numpy(), per_bucket["bucket"].to_numpy()
    without = np.array([losses[buckets != b].mean() for b in range(64)])
    standard_error = np.sqrt(63 / 64 * ((without - without.mean()) ** 2).sum())
    low, high = hall(losses.mean(), standard_error, without)
    assert_allclose([found["ci_low"], found["ci_high"]], [low, high], rtol=1e-9)
    half = t.ppf(0.975, 63) * standard_error
    assert low == losses.mean() - half  # losses are skewed to the right: only the upper end moves
    assert 0 < high - (losses.mean() + half) < 0.1 * half
    assert_allclose(found["stabilised_value"], np.log(losses.mean()), rtol=1e-12)
    assert_allclose(found["variance"], (standard_error / losses.mean()) ** 2, rtol=1e-9)


def test_segments_use_sixteen_buckets():
    rows = binary_rows(1500).with_columns(segment=pl.lit("origin=JFK"), bucket=pl.col("bucket") % 16)
    found = by_metric(judge(rows))["brier"]
    squared, buckets = ((rows["score"] - rows["label"]) ** 2).to_numpy(), rows["bucket"].to_numpy()
    without = np.array([squared[buckets != b].mean() for b in range(16)])
    standard_error = np.sqrt(15 / 16 * ((without - without.mean()) ** 2).sum())
    low, high = hall(found["value"], standard_error, without)
    assert_allclose([found["ci_low"], found["ci_high"]], [low, high], rtol=1e-9)
    with pytest.raises(ValueError, match="'bucket' must hold whole numbers from 0 to 15"):
        judge(binary_rows().with_columns(segment=pl.lit("origin=JFK")))


def test_few_events_get_a_wilson_interval():
    rows = binary_rows(300).with_columns(score=pl.lit(0.9), label=pl.lit(1))
    found = by_metric(judge(rows))["precision"]
    assert found["value"] == 1
    low, high = wilson(300, 300, degrees_of_freedom=rows["bucket"].n_unique() - 1)
    assert_allclose([found["ci_low"], found["ci_high"]], [low, high])
    assert 0.98 < found["ci_low"] < 0.995


def test_every_group_is_judged_on_its_own():
    rows = binary_rows(9000, windows=3)
    whole = judge(rows)
    for (window,), part in rows.group_by("window_key"):
        assert whole.filter(pl.col("window_key") == window).equals(judge(part))


def test_rows_of_the_same_key_add_up():
    rows = binary_rows(5000, windows=2)
    split = judge(rows.with_columns(window_key=pl.lit("both")))
    tables = binary_tables(rows)
    merged = {name: table.with_columns(window_key=pl.lit("both")) for name, table in tables.items()}
    added = quality_table(**merged, task="binary_classification", by=BY)
    assert added.drop("ci_low", "ci_high", "variance", "stabilised_value", "value").equals(
        split.drop("ci_low", "ci_high", "variance", "stabilised_value", "value")
    )
    for column in ("value", "ci_low", "ci_high", "variance"):
        assert_allclose(added[column].to_numpy(), split[column].to_numpy(), rtol=1e-9)


def test_no_labels_yet_is_a_result():
    known = pl.DataFrame({"window_key": ["2026-01-01"], "segment": ["all"], "n_labelled": [0]})
    empty = {name: table.clear() for name, table in binary_tables(binary_rows(10)).items()}
    table = quality_table(**empty, label_counts=known, task="binary_classification", by=BY)
    assert table.height == 14
    assert table["status"].unique().to_list() == ["insufficient_data"]
    assert table["reason"].unique().to_list() == ["no labelled rows"]
    assert (
        table.select("value", "ci_low", "ci_high", "stabilised_value", "variance").null_count().sum_horizontal()[0]
        == 70
    )


def test_no_groups_give_an_empty_table():
    empty = {name: table.clear() for name, table in binary_tables(binary_rows(10)).items()}
    table = quality_table(**empty, task="binary_classification", by=BY)
    assert table.is_empty()
    assert table.columns[:4] == [*BY, "metric", "value"]


@pytest.mark.parametrize(
    ("change", "metric", "reason"),
    [
        ({"label": pl.lit(0)}, "recall", "no positive labels"),
        ({"label": pl.lit(0)}, "roc_auc", "only one class among the labels"),
        ({"label": pl.lit(0)}, "brier_skill", "only one class among the labels"),
        ({"label": pl.lit(0)}, "average_precision", "no positive labels"),
        ({"label": pl.lit(1)}, "specificity", "no negative labels"),
        ({"score": pl.lit(0.1)}, "precision", "no row was predicted positive"),
        (
            {"bucket": pl.lit(3)},
            "log_loss",
            "everything the metric needs stands in one bucket of entities: no interval",
        ),
        ({"bucket": pl.lit(3)}, "recall", "everything the metric needs stands in one bucket of entities: no interval"),
    ],
)
def test_undefined_metrics_say_why(change, metric, reason):
    row = by_metric(judge(binary_rows(500).with_columns(**change)))[metric]
    assert (row["status"], row["reason"]) == ("insufficient_data", reason)
    assert row["stabilised_value"] is None
    assert row["ci_low"] is None


def test_too_few_labels_keep_the_number_but_not_the_verdict():
    found = by_metric(judge(binary_rows(99)))
    assert found["accuracy"]["reason"] == "99 labelled rows, 100 needed"
    assert found["accuracy"]["status"] == "insufficient_data"
    assert 0 < found["accuracy"]["value"] < 1
    assert found["accuracy"]["stabilised_value"] is None
    assert by_metric(judge(binary_rows(100)))["accuracy"]["status"] == "ok"


def test_labels_without_scores_still_give_the_decisions():
    tables = binary_tables(binary_rows(500))
    tables["score_bins"] = tables["score_bins"].clear()
    tables["sums"] = tables["sums"].with_columns(n_score=0, sum_score=0.0, sum_log_loss=0.0, sum_brier=0.0)
    found = by_metric(quality_table(**tables, task="binary_classification", by=BY))
    assert found["accuracy"]["status"] == "ok"
    assert {found[m]["reason"] for m in ("roc_auc", "log_loss", "brier")} == {"no forecast on the labelled rows"}


def test_only_the_given_tables_are_judged():
    confusion = binary_tables(binary_rows(500))["confusion"]
    table = quality_table(confusion, task="binary_classification", by=BY)
    assert set(table["metric"]) == {
        "accuracy", "precision", "recall", "specificity", "positive_rate", "f1", "balanced_accuracy",
    }  # fmt: skip


def test_the_positive_class_is_the_users():
    rows = binary_rows(2000)
    tables = binary_tables(rows)
    renamed = {"1": "late", "0": "on time"}
    tables["confusion"] = tables["confusion"].with_columns(pl.col("predicted_class", "actual_class").replace(renamed))
    late = quality_table(**tables, task="binary_classification", positive="late", by=BY)
    assert late.equals(judge(rows))


def test_multiclass_agrees_with_sklearn():
    rng = np.random.default_rng(9)
    n, names = 4000, ["bus", "car", "on foot"]
    scores = rng.dirichlet([1, 1, 1], n)
    actual = np.array([rng.choice(3, p=row) for row in scores])
    predicted = scores.argmax(axis=1)
    keys = {"window_key": "w", "segment": "all", "bucket": rng.integers(0, 64, n)}
    rows = pl.DataFrame(keys | {"actual_class": np.array(names)[actual], "predicted_class": np.array(names)[predicted]})
    confusion = rows.group_by(*BY, "bucket", "predicted_class", "actual_class").agg(n=pl.len())
    per_class = [
        pl.DataFrame(
            keys
            | {
                "class_name": name,
                "score_bin": (scores[:, c] * 256).astype(int).clip(0, 255),
                "is_positive": actual == c,
            }
        )
        for c, name in enumerate(names)
    ]
    bins = pl.concat(per_class).group_by(*BY, "bucket", "class_name", "score_bin", "is_positive").agg(n=pl.len())
    loss, brier = -np.log(scores[np.arange(n), actual]), ((scores - np.eye(3)[actual]) ** 2).sum(axis=1)
    sums = pl.DataFrame(keys | {"n": 1, "n_score": 1, "sum_log_loss": loss, "sum_brier": brier})
    found = by_metric(quality_table(confusion, bins, sums, task="multiclass_classification", by=BY))
    expected = {
        "accuracy": sk.accuracy_score(actual, predicted),
        "log_loss": sk.log_loss(actual, scores),
        "brier": brier.mean(),
    }
    for average in ("macro", "micro", "weighted"):
        expected[f"precision_{average}"] = sk.precision_score(actual, predicted, average=average)
        expected[f"recall_{average}"] = sk.recall_score(actual, predicted, average=average)
        expected[f"f1_{average}"] = sk.f1_score(actual, predicted, average=average)
    for metric, value in expected.items():
        assert_allclose(found[metric]["value"], value, atol=1e-9, err_msg=metric)
    for average in ("macro", "weighted"):
        row = found[f"roc_auc_{average}"]
        exact = sk.roc_auc_score(actual, scores, multi_class="ovr", average=average)
        assert abs(row["value"] - exact) <= row["binning_bound"]
    assert all(row["status"] == "ok" for row in found.values())


def test_regression_agrees_with_sklearn():
    rng = np.random.default_rng(4)
    n = 3000
    label = rng.lognormal(1, 1, n)
    prediction = label * rng.lognormal(0, 0.3, n)
    error = prediction - label
    sums = pl.DataFrame(
        {
            "window_key": "w", "segment": "all", "bucket": rng.integers(0, 64, n), "n": 1, "n_score": 1,
            "sum_label": label, "sum_label_sq": label**2, "sum_error": error, "sum_abs_error": np.abs(error),
            "sum_squared_error": error**2,
        }
    )  # fmt: skip
    loss = np.maximum(0.9 * -error, -0.1 * -error)
    custom = pl.DataFrame(
        {"window_key": "w", "segment": "all", "bucket": sums["bucket"], "metric": "pinball_0.9", "n": 1}
    )
    found = by_metric(
        quality_table(sums=sums, custom=custom.with_columns(sum_value=pl.Series(loss)), task="regression", by=BY)
    )
    expected = {
        "mae": sk.mean_absolute_error(label, prediction),
        "rmse": sk.root_mean_squared_error(label, prediction),
        "r2": sk.r2_score(label, prediction),
        "mean_error": error.mean(),
        "mean_label": label.mean(),
        "pinball_0.9": sk.mean_pinball_loss(label, prediction, alpha=0.9),
    }
    assert set(found) == set(expected)
    for metric, value in expected.items():
        assert_allclose(found[metric]["value"], value, rtol=1e-9, err_msg=metric)
    assert_allclose(found["r2"]["stabilised_value"], -np.log(1 - expected["r2"]), rtol=1e-9)


def test_custom_metrics_and_business_value():
    rng = np.random.default_rng(4)
    keys = {"window_key": "w", "segment": "all", "bucket": np.arange(64)}
    value, n = rng.normal(2, 1, 64) * 10, np.full(64, 10)
    custom = pl.concat(
        pl.DataFrame(keys | {"metric": name, "n": n, "sum_value": value}) for name in ("value", "basket_size")
    )
    found = by_metric(quality_table(custom=custom, task="ranking", by=BY))
    assert_allclose(found["business_value"]["value"], value.sum() / 640)
    assert_allclose(found["business_value_total"]["value"], value.sum())
    own = jackknife(lambda s, n: s / n, value[None], n[None])
    assert_allclose(found["basket_size"]["ci_low"], own.ci_low[0])
    assert_allclose(found["business_value_total"]["ci_low"], own.ci_low[0] * 640)
    assert set(found) == {"business_value", "business_value_total", "basket_size"}


def test_mistakes_are_named():
    tables = binary_tables(binary_rows(50))
    with pytest.raises(ValueError, match="task='binary' is unknown"):
        quality_table(**tables, task="binary", by=BY)
    with pytest.raises(ValueError, match="confusion lacks the column 'actual_class'"):
        quality_table(tables["confusion"].drop("actual_class"), task="binary_classification", by=BY)
    with pytest.raises(ValueError, match="'score_bin' must hold whole numbers from 0 to 255, found 0 to 256"):
        quality_table(
            score_bins=tables["score_bins"].with_columns(score_bin=256 * (pl.int_range(pl.len()) % 2)),
            task="binary_classification",
            by=BY,
        )
    with pytest.raises(ValueError, match="'sum_brier' holds NaN"):
        quality_table(sums=tables["sums"].with_columns(sum_brier=float("nan")), task="binary_classification", by=BY)
    with pytest.raises(ValueError, match="no aggregates"):
        quality_table(task="regression", by=BY)


def test_perfect_separation_is_not_perfect_knowledge():
    rows = binary_rows(400).with_columns(score=pl.col("label") * 0.8 + 0.1)
    found = by_metric(judge(rows))
    assert found["roc_auc"]["value"] == found["f1"]["value"] == 1
    assert 0.9 < found["roc_auc"]["ci_low"] < 0.995
    assert 0.9 < found["f1"]["ci_low"] < 0.995


def test_a_year_of_segments_takes_seconds():
    rng = np.random.default_rng(1)
    n = 400_000
    base = pl.DataFrame(
        {
            "window_key": rng.integers(0, 365, n).astype(str),
            "bucket": rng.integers(0, 64, n),
            "score": rng.beta(2, 5, n),
            "label": rng.integers(0, 2, n),
            "group": rng.integers(0, 20, n),
        }
    )
    segments = base.with_columns(segment=pl.format("group={}", "group"), bucket=pl.col("bucket") % 16)
    tables = binary_tables(pl.concat([base.with_columns(segment=pl.lit("all")), segments], how="diagonal_relaxed"))
    start = time.process_time()
    table = quality_table(**tables, task="binary_classification", by=BY, min_labels=10)
    assert table.height == 365 * 21 * 14
    assert time.process_time() - start < 15


@pytest.mark.parametrize(("tp", "fp", "fn"), [(1, 3, 4), (1, 0, 1), (30, 1, 0), (2, 90, 1)])
def test_the_interval_of_f1_stays_between_zero_and_one_and_is_not_cut_off(tp, fp, fn):
    """Few rows, one per bucket: the ends are of the logit scale, so none of them is the limit itself."""
    cells = [("1", "1")] * tp + [("1", "0")] * fp + [("0", "1")] * fn + [("0", "0")] * 30
    keys = {"window_key": "a", "segment": "all", "bucket": np.arange(len(cells)) % 64, "n": 1}
    frame = pl.DataFrame(
        keys | {f"{side}_class": [cell[i] for cell in cells] for i, side in enumerate(("predicted", "actual"))}
    )
    found = by_metric(quality_table(frame, task="binary_classification", min_labels=1, by=BY))["f1"]
    assert found["value"] == pytest.approx(2 * tp / (2 * tp + fp + fn))
    assert 0 < found["ci_low"] < found["value"] < found["ci_high"] < 1


def regression_sums(error, bucket, label=None):
    label = error if label is None else label
    frame = pl.DataFrame({"window_key": "a", "segment": "all", "bucket": bucket, "e": error, "y": label})
    return frame.group_by("window_key", "segment", "bucket").agg(
        n=pl.len(),
        n_score=pl.len(),
        sum_label=pl.col("y").sum(),
        sum_label_sq=(pl.col("y") ** 2).sum(),
        sum_error=pl.col("e").sum(),
        sum_abs_error=pl.col("e").abs().sum(),
        sum_squared_error=(pl.col("e") ** 2).sum(),
    )


def test_a_tail_that_one_row_decides_has_no_interval_and_says_so():
    rng = np.random.default_rng(71)
    error, bucket = rng.normal(size=2000), rng.integers(0, 64, 2000)
    label = rng.normal(0, 2, 2000) + error
    plain = by_metric(quality_table(sums=regression_sums(error, bucket, label), task="regression", by=BY))
    assert {plain[name]["status"] for name in ("rmse", "r2", "mae", "mean_error")} == {"ok"}
    label[7] += 200 - error[7]
    error[7] = 200.0
    found = by_metric(quality_table(sums=regression_sums(error, bucket, label), task="regression", by=BY))
    for name in ("rmse", "r2"):
        row = found[name]
        assert (row["status"], row["reason_code"], row["ci_low"]) == ("insufficient_data", "heavy_tail", None)
        assert row["reason"].startswith("heavy tail: ") and "mae" in row["reason"]
        assert row["stabilised_value"] is not None  # how it changes from day to day is the engine's question
    assert found["rmse"]["value"] == pytest.approx(np.sqrt(np.mean(error**2)))
    assert (found["mae"]["status"], found["mae"]["ci_low"] < found["mae"]["value"]) == ("ok", True)


@pytest.mark.parametrize("offset", [0.1, 1 / 3, -2.7])
def test_predictions_that_are_all_off_by_the_same_have_no_heavy_tail(offset):
    """Label and prediction are rounded, so the errors differ in their last digits: that is no tail."""
    for seed in range(5):
        rng = np.random.default_rng(900 + seed)
        label = rng.normal(5, 10, 3000)
        error = (label + offset) - label
        sums = regression_sums(error, rng.integers(0, 64, 3000), label)
        found = by_metric(quality_table(sums=sums, task="regression", by=BY))
        for name in ("rmse", "mae", "mean_error"):
            row = found[name]
            assert (row["ci_low"], row["reason_code"]) == (None, "no_spread"), name
            assert row["value"] == pytest.approx(offset if name == "mean_error" else abs(offset), rel=1e-12)
        assert found["r2"]["status"] == "ok"
        assert found["r2"]["ci_low"] < found["r2"]["value"] < found["r2"]["ci_high"]
        assert found["r2"]["value"] == pytest.approx(sk.r2_score(label, label + error), rel=1e-9)


def test_errors_that_are_all_equal_have_no_interval():
    found = by_metric(
        quality_table(sums=regression_sums(np.full(640, 0.1), np.arange(640) % 64), task="regression", by=BY)
    )
    for name in ("mae", "rmse", "mean_error", "mean_label"):
        row = found[name]
        assert row["value"] == pytest.approx(0.1)
        assert (row["status"], row["reason_code"], row["ci_high"]) == ("insufficient_data", "no_spread", None)
