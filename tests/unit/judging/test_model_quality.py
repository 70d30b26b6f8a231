"""What judgements of realised quality say beside their values."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from metrics_py.quality.table import quality_table
from sightline.judging.model_quality import told_bins


def table(score, label):
    keys = ["day", "bucket", "class_name", "score_bin", "is_positive"]
    rows = pl.DataFrame({"day": "a", "bucket": np.arange(len(score)) % 64, "class_name": "", "is_positive": label})
    rows = rows.with_columns(score_bin=pl.Series((score * 256).astype(int)))
    return quality_table(score_bins=rows.group_by(keys).agg(n=pl.len()), task="binary_classification", by=["day"])


def test_the_bound_of_binned_scores_stands_beside_the_value():
    """Scores of a rare event crowd into the first bins: the exact areas lie within what the reason says."""
    rng = np.random.default_rng(61)
    label = rng.random(1039) < 0.1
    score = np.where(label, rng.beta(2, 60, 1039), rng.beta(1, 60, 1039))
    found = {row["metric"]: row for row in told_bins(table(score, label)).to_dicts()}
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
    found = told_bins(table(score, label)).filter(metric="roc_auc").to_dicts()[0]
    assert (found["value"], found["reason"]) == (1.0, None)
