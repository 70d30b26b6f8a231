"""Estimates beside those of NannyML 0.13.1 on the same rows, as `benchmarks estimate_peers --rows 50000` told them.

Its CBPE calibrates the score of every row, of several classes each one versus the rest; its DLE boosts a model of the
three features. Means over ten days.
"""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from benchmarks.estimate_peers import CLASSES, realised, sample
from metrics_py.estimation import cbpe, dle, multiclass
from metrics_py.estimation.calibration import calibrate
from metrics_py.estimation.class_calibration import calibrate_classes
from tests.support.class_scores import class_label_bins, class_score_bins
from tests.support.errors import error_bins, prediction_bins, profile_of
from tests.support.scores import label_bins, score_bins

ROWS, DAYS = 50_000, 10
CBPE = {
    "roc_auc": 0.7970,
    "accuracy": 0.7317,
    "precision": 0.6980,
    "recall": 0.6110,
    "f1": 0.6516,
    "average_precision": 0.7306,
}
SEVERAL = {"roc_auc": 0.8770, "accuracy": 0.7442, "precision": 0.7103, "recall": 0.6698, "f1": 0.6847}
DLE = {"mae": 1.0033, "rmse": 1.3685}


@pytest.fixture(scope="module")
def rows():
    def draw(task: str) -> tuple[pl.DataFrame, list[pl.DataFrame]]:
        current = sample(task, ROWS, DAYS, 0.5, 2)
        days = [day for _, day in current.group_by(pl.col("at").dt.date(), maintain_order=True)]
        return sample(task, ROWS, 30, 0.0, 1), days

    return draw


def means(found: pl.DataFrame) -> dict[str, float]:
    assert set(found["status"]) == {"ok"} and found["window"].n_unique() == DAYS
    return dict(found.group_by("metric").agg(pl.col("value").mean()).iter_rows())


def test_confidence_based_estimates(rows):
    reference, days = rows("cbpe")
    calibration = calibrate(label_bins(reference["score"].to_numpy(), reference["y"].to_numpy() == 1))
    bins = pl.concat([score_bins(day["score"].to_numpy(), window=k) for k, day in enumerate(days)])
    ours = means(cbpe.estimate(bins, calibration, positive="1", min_rows=100, by=["window"]))
    for name, theirs in CBPE.items():
        tolerance = 0.003 if name == "average_precision" else 0.0005  # areas are of 256 score bins
        assert ours[name] == pytest.approx(theirs, abs=tolerance), name


def test_estimates_of_several_classes(rows):
    """Within 0.006 of each other, as rows are calibrated by decision here; as near to what the labels say."""
    reference, days = rows("classes")

    def scores(frame: pl.DataFrame) -> np.ndarray:
        return frame.select(f"p_{name}" for name in CLASSES).to_numpy()

    places = np.array([CLASSES.index(name) for name in reference["y"]])
    model = calibrate_classes(class_label_bins(scores(reference), places, names=CLASSES), CLASSES)
    bins = pl.concat([class_score_bins(scores(day), names=CLASSES, window=k) for k, day in enumerate(days)])
    ours = means(multiclass.estimate(bins, model, min_rows=100, by=["window"]))
    final = realised("classes", pl.concat(days))
    for name, theirs in SEVERAL.items():
        own = ours[name if name == "accuracy" else f"{name}_macro"]
        assert own == pytest.approx(theirs, abs=0.006), name
        assert own == pytest.approx(final[name], abs=0.006), name


def test_direct_loss_estimates(rows):
    """Of two models of the errors that see different things: half a percent apart, and both near the truth."""
    reference, days = rows("dle")
    predictions, labels = (reference[name].to_numpy() for name in ("prediction", "y"))
    profile = profile_of(predictions)
    sizes = dle.learn_errors(error_bins(profile, predictions, labels))
    counts = pl.concat([prediction_bins(profile, day["prediction"].to_numpy(), window=k) for k, day in enumerate(days)])
    ours = means(dle.estimate(counts, sizes, min_rows=100, by=["window"]))
    errors = np.concatenate([(day["prediction"] - day["y"]).to_numpy() for day in days])
    final = {"mae": np.abs(errors).mean(), "rmse": np.sqrt((errors**2).mean())}
    for name, theirs in DLE.items():
        assert ours[name] == pytest.approx(theirs, rel=0.006), name
        assert abs(ours[name] - final[name]) < abs(theirs - final[name]) + 0.001, name
