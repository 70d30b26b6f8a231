"""How the quality of each task is estimated: the aggregates it reads, what it learns of them, what it assumes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import duckdb
import polars as pl

from metrics_py.class_names import class_text
from metrics_py.estimation import cbpe, dle, multiclass
from metrics_py.estimation.calibration import Calibration, calibrate
from metrics_py.estimation.class_calibration import ClassCalibrations, calibrate_classes
from metrics_py.estimation.dispersion import between_windows
from metrics_py.quality.binary_metrics import BINARY
from metrics_py.quality.business_value import business_value, value_matrix
from metrics_py.quality.definition import QualityMetric
from metrics_py.quality.regression_metrics import REGRESSION
from metrics_py.reasons import ReasonCode
from sightline.judging.frames import BY
from sightline.judging.marts import read_mart
from sightline.spec.flows import is_estimated, is_value_estimated
from sightline.spec.model import MonitorSpec


class Estimator(Protocol):
    """What one task needs to estimate its quality.

    Parameters
    ----------
    spec : MonitorSpec
    """

    marts: tuple[str, str]
    """Aggregates of all predictions, and of the labelled ones."""

    not_known: str
    """Why there is no estimate where the reference teaches nothing."""

    metrics: Mapping[str, QualityMetric]
    """What is estimated, by its name in the judgement table without `ESTIMATED_AS`."""

    def counts(self, con: duckdb.DuckDBPyConnection, keys: Sequence[str]) -> pl.DataFrame:
        """Aggregates of all predictions of some windows."""
        ...

    def learn(self, outcomes: pl.DataFrame) -> Any:
        """What the reference tells, from rows of the second mart; None where that is nothing."""
        ...

    def between(self, counts: pl.DataFrame, outcomes: pl.DataFrame, model: Any) -> Mapping[str, float] | None:
        """Variance between whole windows; None where too few tell it."""
        ...

    def estimate(self, counts: pl.DataFrame, model: Any) -> pl.DataFrame:
        """`BY`, ``metric, value, ci_low, ci_high, n, status, reason, reason_code, variance``."""
        ...


class BinaryEstimator:
    """Two classes with a score: `metrics_py.estimation.cbpe`."""

    marts: tuple[str, str] = ("score_bins", "score_label_bins")
    not_known: str = "the reference has no labels of both classes yet: how often a score comes true is not known"

    def __init__(self, spec: MonitorSpec) -> None:
        self.spec = spec
        values = spec.value_matrix
        self.more = () if values is None else (business_value(_two_class_matrix(spec, values)),)
        built_in = (metric for metric in BINARY if metric.name in cbpe.ESTIMATED)
        self.metrics: Mapping[str, QualityMetric] = {metric.name: metric for metric in (*built_in, *self.more)}

    def counts(self, con: duckdb.DuckDBPyConnection, keys: Sequence[str]) -> pl.DataFrame:
        """Rows of the mart `score_bins`."""
        return read_mart(con, "score_bins", keys)

    def learn(self, outcomes: pl.DataFrame) -> Calibration | None:
        """The calibration of the score."""
        return calibrate(outcomes)

    def between(self, counts: pl.DataFrame, outcomes: pl.DataFrame, model: Calibration) -> Mapping[str, float] | None:
        """Beyond that of independent outcomes."""
        least, positive = self.spec.quality.min_labels, self.spec.positive_class
        return between_windows(counts, outcomes, model, positive=positive, min_rows=least, more=self.more)

    def estimate(self, counts: pl.DataFrame, model: Calibration, assumed: str = cbpe.ASSUMED) -> pl.DataFrame:
        """Estimates of each window, version and segment."""
        least, positive = self.spec.quality.min_labels, self.spec.positive_class
        return cbpe.estimate(counts, model, positive=positive, min_rows=least, by=BY, more=self.more, assumed=assumed)


class ClassesEstimator:
    """Several classes with a probability each: `metrics_py.estimation.multiclass`."""

    marts: tuple[str, str] = ("class_score_bins", "class_label_bins")
    not_known: str = "the reference has no labels of two classes yet: how often a score comes true is not known"

    def __init__(self, spec: MonitorSpec) -> None:
        self.spec = spec
        self.classes = tuple(spec.columns.class_scores)
        values = spec.value_matrix if is_value_estimated(spec) else None
        self.more = () if values is None else (business_value(_class_matrix(self.classes, values)),)
        self.metrics: Mapping[str, QualityMetric] = {m.name: m for m in multiclass.estimated_metrics(self.more)}

    def counts(self, con: duckdb.DuckDBPyConnection, keys: Sequence[str]) -> pl.DataFrame:
        """Rows of the mart `class_score_bins`."""
        return read_mart(con, "class_score_bins", keys)

    def learn(self, outcomes: pl.DataFrame) -> ClassCalibrations | None:
        """The calibrations of the classes."""
        return calibrate_classes(outcomes, self.classes)

    def between(
        self, counts: pl.DataFrame, outcomes: pl.DataFrame, model: ClassCalibrations
    ) -> Mapping[str, float] | None:
        """Beyond that of independent outcomes."""
        least = self.spec.quality.min_labels
        return multiclass.between_windows(counts, outcomes, model, min_rows=least, more=self.more)

    def estimate(self, counts: pl.DataFrame, model: ClassCalibrations) -> pl.DataFrame:
        """Estimates of each window, version and segment."""
        return multiclass.estimate(counts, model, min_rows=self.spec.quality.min_labels, by=BY, more=self.more)


class RegressionEstimator:
    """Regression: `metrics_py.estimation.dle`, over the bins of the prediction in which drift counts it."""

    marts: tuple[str, str] = ("prediction_bins", "error_bins")
    not_known: str = "the reference has no labels yet: how large the errors are is not known"

    def __init__(self, spec: MonitorSpec) -> None:
        self.spec = spec
        self.metrics: Mapping[str, QualityMetric] = {m.name: m for m in REGRESSION if m.name in dle.ESTIMATED}

    def counts(self, con: duckdb.DuckDBPyConnection, keys: Sequence[str]) -> pl.DataFrame:
        """Rows of the mart `prediction_bins`."""
        return read_mart(con, "prediction_bins", keys)

    def learn(self, outcomes: pl.DataFrame) -> dle.ErrorSizes | None:
        """How large errors are at each predicted value."""
        return dle.learn_errors(outcomes)

    def between(
        self, counts: pl.DataFrame, outcomes: pl.DataFrame, model: dle.ErrorSizes
    ) -> Mapping[str, float] | None:
        """Beyond that of independent errors; of the labelled rows alone."""
        return dle.between_windows(outcomes, model, min_rows=self.spec.quality.min_labels)

    def estimate(self, counts: pl.DataFrame, model: dle.ErrorSizes) -> pl.DataFrame:
        """Estimates of each window, version and segment."""
        return dle.estimate(counts, model, min_rows=self.spec.quality.min_labels, by=BY)


def untold(estimator: Estimator, counts: pl.DataFrame, reason: str, code: ReasonCode) -> pl.DataFrame:
    """No value for any group and metric, and why."""
    named = pl.DataFrame({"metric": list(estimator.metrics)})
    number = pl.lit(None, dtype=pl.Float64)
    return (
        counts.group_by(BY)
        .agg(n=pl.col("n").sum())
        .join(named, how="cross")
        .select(
            *(*BY, "metric"),
            **dict.fromkeys(("value", "ci_low", "ci_high"), number),
            n="n",
            status=pl.lit("insufficient_data"),
            reason=pl.lit(reason),
            reason_code=pl.lit(code),
            variance=number,
        )
    )


def _two_class_matrix(spec: MonitorSpec, values: Mapping[str, Mapping[str, float]]) -> Any:
    """Negative class first, as in the confusion matrices."""
    spelled = {class_text(p): {class_text(a): v for a, v in row.items()} for p, row in values.items()}
    return value_matrix(spelled, sorted(spelled, key=lambda name: name == spec.positive_class))


def _class_matrix(classes: Sequence[str], values: Mapping[str, Mapping[str, float]]) -> Any:
    """In the order of the classes with a score."""
    return value_matrix(
        {class_text(p): {class_text(a): v for a, v in row.items()} for p, row in values.items()}, classes
    )


ESTIMATORS: Mapping[str, Callable[[MonitorSpec], Estimator]] = {
    "binary_classification": BinaryEstimator,
    "multiclass_classification": ClassesEstimator,
    "regression": RegressionEstimator,
}


def estimator_of(spec: MonitorSpec) -> Estimator | None:
    """The estimator of a monitor; None where quality is not estimated (`sightline.spec.flows.is_estimated`)."""
    if not is_estimated(spec):
        return None
    return ESTIMATORS[spec.model.task](spec)


def marts_of(spec: MonitorSpec) -> tuple[str, ...]:
    """Marts that the estimates of a monitor read."""
    estimator = estimator_of(spec)
    return () if estimator is None else estimator.marts
