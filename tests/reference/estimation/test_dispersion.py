"""How much windows differ beyond independent outcomes, beside worlds in which that is known."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn import metrics as sk

from metrics_py.estimation.calibration import calibrate
from metrics_py.estimation.dispersion import FEWEST_WINDOWS, between_windows
from tests.support.scores import clustered, label_bins, score_bins


def found(windows: list[tuple[np.ndarray, np.ndarray]], min_rows: int = 100):
    scores = pl.concat([score_bins(s, window_start=k) for k, (s, _) in enumerate(windows)])
    labels = pl.concat([label_bins(s, y).with_columns(window_start=pl.lit(k)) for k, (s, y) in enumerate(windows)])
    calibration = calibrate(labels)
    assert calibration is not None
    return between_windows(scores, labels, calibration, positive="1", min_rows=min_rows)


def test_independent_outcomes_differ_by_chance_only():
    rng = np.random.default_rng(71)
    runs = [found([clustered(rng, 900, 0.0) for _ in range(40)]) for _ in range(12)]
    assert np.mean([run["accuracy"] for run in runs]) < 0.2 * 0.76 * 0.24 / 900
    assert np.mean([run["brier"] for run in runs]) < 0.2 * 0.002


def test_a_common_effect_of_each_window_is_found_as_large_as_it_is():
    rng = np.random.default_rng(72)
    windows = [clustered(rng, 20_000, 0.5) for _ in range(60)]
    told = found(windows)
    accuracies = [sk.accuracy_score(y, s >= 0.5) for s, y in windows]
    assert told["accuracy"] == pytest.approx(np.var(accuracies), rel=0.15)
    briers = [sk.brier_score_loss(y, s) for s, y in windows]
    assert told["brier"] == pytest.approx(np.var(briers), rel=0.15)


def test_the_same_windows_give_the_same():
    windows = [clustered(np.random.default_rng([73, k]), 500, 0.3) for k in range(20)]
    assert found(windows) == found(windows)


def test_windows_without_scores_tell_nothing():
    windows = [clustered(np.random.default_rng([75, k]), 500, 0.3) for k in range(20)]
    scores = pl.concat([score_bins(s, window_start=k) for k, (s, _) in enumerate(windows)])
    labels = pl.concat([label_bins(s, y).with_columns(window_start=pl.lit(k)) for k, (s, y) in enumerate(windows)])
    calibration = calibrate(labels)
    asked = {"calibration": calibration, "positive": "1", "min_rows": 100}
    late = pl.col("window_start") >= 8
    assert between_windows(scores.filter(late), labels, **asked) == between_windows(
        scores.filter(late), labels.filter(late), **asked
    )
    assert between_windows(scores.clear(), labels, **asked) is None


def test_few_windows_or_few_labels_tell_nothing():
    windows = [clustered(np.random.default_rng([74, k]), 300, 0.3) for k in range(FEWEST_WINDOWS)]
    assert found(windows) is not None
    assert found(windows[1:]) is None
    assert found(windows, min_rows=400) is None
