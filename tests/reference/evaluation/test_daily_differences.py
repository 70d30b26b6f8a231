"""Live comparison of areas: bins put right by the exact values of single days, and where bins hide too much."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from metrics_py.evaluation.daily_differences import daily_differences, difference_of_days

DAYS, ROWS, BINS = 10, 400, 256


def world(seed: int, squeeze: float) -> pl.DataFrame:
    """Rows of two versions; a small `squeeze` puts most scores into few bins."""
    rng = np.random.default_rng(seed)
    n = 2 * DAYS * ROWS
    truth = rng.random(n) < 0.3
    is_new = np.repeat([False, True], n // 2)
    signal = truth * np.where(is_new, 1.6, 1.2) + rng.normal(size=n)
    return pl.DataFrame(
        {
            "version": np.where(is_new, "challenger", "champion").tolist(),
            "day": np.tile(np.repeat(np.arange(DAYS), ROWS), 2),
            "bucket": rng.integers(0, 64, n),
            "is_positive": truth,
            "score": squeeze / (1 + np.exp(-signal)),
            "segment": ["all"] * n,
            "class_name": [""] * n,
        }
    ).with_columns(score_bin=(pl.col("score") * BINS).floor().clip(0, BINS - 1).cast(pl.Int64))


def binned(rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
    keys = ("segment", "version", "day", "bucket", "class_name", "score_bin", "is_positive")
    return {"score_bins": rows.group_by(keys).agg(n=pl.len().cast(pl.Int64))}


def exact_of(rows: pl.DataFrame) -> pl.DataFrame:
    found = [
        {
            "segment": "all",
            "version": v,
            "day": d,
            "metric": "roc_auc",
            "value": roc_auc_score(own["is_positive"], own["score"]),
        }
        for (v, d), own in rows.group_by("version", "day")
    ]
    return pl.DataFrame(found)


def area(rows: pl.DataFrame, exact: pl.DataFrame | None) -> dict:
    found = daily_differences(binned(rows), task="binary_classification", metrics=["roc_auc"], exact=exact)
    return found.row(0, named=True)


def test_areas_are_those_of_the_scores_themselves():
    rows = world(1, 0.4)  # some 100 of the bins
    own = {v: roc_auc_score(part["is_positive"], part["score"]) for (v,), part in rows.group_by("version")}
    coarse, put_right = area(rows, None), area(rows, exact_of(rows))
    for name in ("champion", "challenger"):
        assert put_right[name] == pytest.approx(own[name], abs=3e-4)
    assert put_right["ci_low"] < own["challenger"] - own["champion"] < put_right["ci_high"]
    width = {id(found): found["ci_high"] - found["ci_low"] for found in (coarse, put_right)}
    assert width[id(coarse)] > width[id(put_right)], "without exact values the interval allows for the bins"


def test_bins_that_hold_most_scores_give_no_interval():
    rows = world(2, 0.01)
    for exact in (None, exact_of(rows)):
        found = area(rows, exact)
        assert (found["status"], found["ci_low"]) == ("insufficient_data", None)
        assert "most scores lie in few of the bins" in found["reason"]


def test_few_rows_have_no_interval():
    rows = world(3, 1.0).filter((pl.col("version") == "champion") | (pl.int_range(pl.len()) % 60 == 0))
    assert "rows, 100 needed" in area(rows, None)["reason"]


def test_a_mean_of_days_weighs_them_alike_for_both():
    n = np.array([[100.0] * 8, [10.0, 20.0, 40.0, 80.0, 80.0, 80.0, 80.0, 80.0]])
    rate = np.array([0.1, 0.1, 0.2, 0.2, 0.3, 0.3, 0.4, 0.4])
    found = difference_of_days(n * rate, n)
    assert found.difference == pytest.approx(0.0, abs=1e-12)
    weights = n.prod(axis=0) / n.sum(axis=0)
    assert found.champion == pytest.approx(rate @ weights / weights.sum())
    assert (found.n_champion, found.n_challenger) == (800, 470)
