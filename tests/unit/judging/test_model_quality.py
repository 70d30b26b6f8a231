"""What judgements of realised quality say beside their values."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from metrics_py.quality.areas import areas_of_scores, exact_values
from metrics_py.quality.table import quality_table
from sightline.judging.model_quality import told_areas

NONE = pl.DataFrame(schema={"day": pl.String, "metric": pl.String, "value": pl.Float64})


def table(score, label, exact=NONE):
    keys = ["day", "bucket", "class_name", "score_bin", "is_positive"]
    rows = pl.DataFrame({"day": "a", "bucket": np.arange(len(score)) % 64, "class_name": "", "is_positive": label})
    rows = rows.with_columns(score_bin=pl.Series((score * 256).astype(int)))
    return quality_table(
        score_bins=rows.group_by(keys).agg(n=pl.len()), task="binary_classification", by=["day"], exact=exact
    )


def test_the_bound_of_binned_scores_stands_beside_the_value():
    """Scores of a rare event crowd into the first bins: the exact areas lie within what the reason says."""
    rng = np.random.default_rng(61)
    label = rng.random(1039) < 0.1
    score = np.where(label, rng.beta(2, 60, 1039), rng.beta(1, 60, 1039))
    found = {row["metric"]: row for row in told_areas(table(score, label), NONE).to_dicts()}
    exact = {"roc_auc": roc_auc_score(label, score), "average_precision": average_precision_score(label, score)}
    for name, value in exact.items():
        row = found[name]
        start, _, bound = row["reason"].partition(" is within ")
        assert (row["status"], start) == ("ok", "of 256 score bins: the value of the scores themselves")
        assert float(bound) == pytest.approx(row["binning_bound"], abs=1e-4)
        assert abs(row["value"] - value) <= float(bound) + 1e-4
    assert found["roc_auc"]["binning_bound"] > 0.005


def test_nothing_is_said_where_the_bins_do_not_matter():
    rng = np.random.default_rng(62)
    label = np.arange(2000) % 2 == 0
    score = np.where(label, 0.9, 0.1) + rng.uniform(-0.05, 0.05, 2000)
    found = told_areas(table(score, label), NONE).filter(metric="roc_auc").to_dicts()[0]
    assert (found["value"], found["reason"]) == (1.0, None)


def test_areas_of_the_scores_themselves_are_said_to_be_exact():
    rng = np.random.default_rng(63)
    label = rng.random(800) < 0.1
    score = np.round(np.where(label, rng.beta(2, 60, 800), rng.beta(1, 60, 800)), 4)
    rows = pl.DataFrame({"day": "a", "score": score, "is_positive": label})
    exact = exact_values(areas_of_scores(rows, ["day"]), ["day"], "binary_classification")
    found = {row["metric"]: row for row in told_areas(table(score, label, exact), exact).to_dicts()}
    wanted = {"roc_auc": roc_auc_score(label, score), "average_precision": average_precision_score(label, score)}
    for name, value in wanted.items():
        assert found[name]["value"] == pytest.approx(value, abs=1e-12)
        assert found[name]["ci_low"] < value < found[name]["ci_high"]
        told = (found[name]["status"], found[name]["reason_code"], found[name]["reason"])
        assert told == ("ok", "exact", "of the scores themselves")
    assert found["calibration_error"]["reason_code"] != "exact"
