"""What an estimator of each task is given, and what becomes of what it says."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
import pytest

from sightline.errors import SightlineError
from sightline.retraining.estimator import FewClassesError, Trained, inputs
from sightline.retraining.losses import loss, point_of, sign_of, without_segments
from sightline.spec.model import MonitorSpec


def spec(task: str, columns: dict[str, Any], **more: Any) -> MonitorSpec:
    return MonitorSpec.model_validate(
        {
            "model": {"id": "m", "task": task},
            "columns": {**columns, "segments": ["c"]},
            "labels": {"column": "y"},
            "reference": {"path": "r.parquet"},
            **more,
        }
    )


FEATURES = {"x": "numeric", "b": "boolean", "t": "datetime", "c": "categorical"}
ROWS = pl.DataFrame(
    {
        "prediction_id": ["1", "2", "3"],
        "bucket": [1, 2, 3],
        "f_x": [1.5, None, 3.0],
        "f_b": [True, None, False],
        "f_t": [datetime(1970, 1, 2), None, datetime(1970, 1, 1)],
        "f_c": ["a", None, "b"],
        "label_class": ["1", "0", "1"],
        "label_value": [1.0, 0.0, 1.0],
    }
)


class Fixed:
    """Says what it is told to, and keeps what it was taught."""

    def __init__(self, said: Any, classes: Any = (0, 1)) -> None:
        self.said, self.classes_ = said, np.asarray(classes)

    def fit(self, x, y):
        self.x, self.y = x, y
        return self

    def predict(self, x):
        return self.said

    predict_proba = predict


def trained(of: MonitorSpec, said: Any, classes: Any = (0, 1), rows: pl.DataFrame = ROWS) -> Trained:
    return Trained(of, lambda: Fixed(said, classes), rows, "training")


BINARY = spec("binary_classification", {"score": "p", "features": FEATURES})


def test_inputs_come_under_their_own_names_with_nan_for_missing_numbers():
    found = inputs(BINARY, ROWS)
    assert found.columns == ["x", "b", "t", "c"]
    assert found["x"].to_list()[0] == 1.5
    assert np.isnan(found["x"][1])
    assert found["b"].to_list()[::2] == [1.0, 0.0]
    assert found["t"][0] == 86_400
    assert found["c"].to_list() == ["a", None, "b"]


def test_scores_are_those_of_the_positive_class_wherever_it_stands():
    said = np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]])
    one = trained(BINARY, said, classes=(1, 0))
    assert one.estimator.y.tolist() == [1, 0, 1]
    assert one.scored(ROWS)["score"].to_list() == [0.9, 0.2, 0.5]


def test_decisions_are_taken_where_the_monitor_judges_no_scores():
    decisions = spec("binary_classification", {"prediction": "d", "features": FEATURES})
    assert trained(decisions, np.array([1.0, 0.0, 1.0])).scored(ROWS)["predicted_class"].to_list() == ["1", "0", "1"]
    named = spec(
        "binary_classification", {"prediction": "d", "features": FEATURES}, labels={"column": "y", "positive": "yes"}
    )
    assert trained(named, np.array([1, 0, 1])).scored(ROWS)["predicted_class"].to_list() == ["yes", "no", "yes"]


def test_classes_that_a_training_never_saw_have_no_chance():
    several = spec(
        "multiclass_classification", {"class_scores": {"a": "pa", "b": "pb", "c": "pc"}, "features": FEATURES}
    )
    rows = ROWS.with_columns(label_class=pl.Series(["a", "b", "a"]))
    found = trained(several, np.array([[0.3, 0.7], [0.6, 0.4], [1.0, 0.0]]), ("a", "b"), rows).scored(rows)
    assert found["p_c"].to_list() == [0.0, 0.0, 0.0]
    assert found["p_b"].to_list() == [0.7, 0.4, 0.0]
    assert found["predicted_class"].to_list() == ["b", "a", "a"]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (np.array([[0.9, 0.1]]), "shape"),
        (np.array([[0.9, 1.1]] * 3), "no probabilities"),
        (np.array([[0.9, np.nan]] * 3), "no probabilities"),
    ],
)
def test_what_is_no_probability_is_refused(said, words):
    with pytest.raises(SightlineError, match=words):
        trained(BINARY, said).scored(ROWS)


def test_an_estimator_that_does_not_know_the_positive_class_is_refused():
    with pytest.raises(SightlineError, match="without the positive class 1"):
        trained(BINARY, np.array([[1.0]] * 3), classes=(0,)).scored(ROWS)


def test_a_regression_must_be_finite():
    numbers = spec("regression", {"prediction": "v", "features": FEATURES})
    assert trained(numbers, np.array([1.0, 2.0, 3.0])).scored(ROWS)["prediction"].to_list() == [1, 2, 3]
    with pytest.raises(SightlineError, match="not finite"):
        trained(numbers, np.array([1.0, np.inf, 3.0])).scored(ROWS)


def test_labels_of_one_class_teach_nothing():
    with pytest.raises(FewClassesError):
        trained(BINARY, None, rows=ROWS.filter(label_value=1.0))


def test_losses_are_the_metrics_turned_so_that_more_is_worse():
    rng = np.random.default_rng(3)
    n = 400
    truth = (rng.random(n) < 0.4).astype(float)
    score = np.clip(0.3 * truth + 0.6 * rng.random(n), 0, 1)
    frame = pl.DataFrame(
        {
            "bucket": np.arange(n) % 64,
            "label_class": np.where(truth > 0, "1", "0").tolist(),
            "label_value": truth,
            "score": score,
            "prediction": pl.Series([None] * n, dtype=pl.Float64),
            "predicted_class": pl.Series([None] * n, dtype=pl.String),
        }
    )
    from sklearn.metrics import brier_score_loss, roc_auc_score

    plain = without_segments(BINARY)
    assert loss(plain, frame, "roc_auc", 100) == pytest.approx(-roc_auc_score(truth, score))
    assert loss(plain, frame, "brier", 100) == pytest.approx(brier_score_loss(truth, score))
    assert loss(plain, frame.head(50), "roc_auc", 100) is None
    assert loss(plain, frame.filter(label_value=1.0), "roc_auc", 100) is None, "one class only"
    assert (sign_of(BINARY, "roc_auc"), point_of(BINARY, "roc_auc")) == (-1.0, 0.01)
    numbers = spec("regression", {"prediction": "v", "features": FEATURES})
    assert (sign_of(numbers, "mae"), point_of(numbers, "mae")) == (1.0, 1.0)
