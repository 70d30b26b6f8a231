"""The realised-quality metrics of every task: which aggregates each needs, its scale, and when it is undefined.

`metrics_py.quality.table` evaluates these definitions on all groups and on their jackknife replicates alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from metrics_py.quality import classification, multiclass, regression

FloatArray = NDArray[np.float64]
Aggregates = Mapping[str, FloatArray]
Scale = Literal["proportion", "unit", "error", "skill", "identity"]
Needs = Literal["confusion", "scores", "n_score", "n"]

ONE_CLASS = "only one class among the labels"
NO_POSITIVES = "no positive labels"


@dataclass(frozen=True)
class QualityMetric:
    """One metric as a function of additive aggregates.

    Attributes
    ----------
    name : str
        Name in the tables.
    value : callable
        Aggregates with any leading axes -> metric, NaN where undefined.
    needs : tuple of str
        Aggregates it reads, of ``confusion``, ``scores``, ``n_score`` (sums over the rows with a forecast) and ``n`` (custom
        sums); the first one counts the rows behind the metric.
    scale : str
        Stabilising transform: ``proportion`` arcsine, ``unit`` logit, ``error`` log, ``skill`` -log(1 - x), ``identity``.
    undefined : str
        Reason given where the value is NaN though there are rows.
    counts : callable, optional
        Successes and trials of a proportion.
    size : callable, optional
        Rows that carry the information (the rarer class, say); default: the rows behind the metric.
    formula_variance : callable, optional
        Variance for independent rows, used as a floor where few rows carry the information.
    binning : callable, optional
        Guaranteed distances (below, above) from the binned value to the value of the raw scores.
    noise : callable, optional
        What noise alone adds to a value that cannot be negative; the lower bound allows for it.
    """

    name: str
    value: Callable[[Aggregates], FloatArray]
    needs: tuple[Needs, ...]
    scale: Scale
    undefined: str = "the metric is undefined on these rows"
    counts: Callable[[Aggregates], tuple[FloatArray, FloatArray]] | None = None
    size: Callable[[Aggregates], FloatArray] | None = None
    formula_variance: Callable[[Aggregates], FloatArray] | None = None
    binning: Callable[[Aggregates], tuple[FloatArray, FloatArray]] | None = None
    noise: Callable[[Aggregates], FloatArray] | None = None

    @property
    def reads_labels(self) -> bool:
        """Custom sums may need no label; everything else does."""
        return self.needs[0] != "n"


def _proportion(
    name: str, counts: Callable[[FloatArray], tuple[FloatArray, FloatArray]], undefined: str = ""
) -> QualityMetric:
    return QualityMetric(
        name,
        value=lambda a: classification.divide(*counts(a["confusion"])),
        needs=("confusion",),
        scale="proportion",
        undefined=undefined,
        counts=lambda a: counts(a["confusion"]),
    )


def _rarer_class(a: Aggregates) -> FloatArray:
    return np.minimum(a["positives"].sum(axis=-1), a["negatives"].sum(axis=-1))


def _positive_scores(a: Aggregates) -> FloatArray:
    return a["positives"].sum(axis=-1)


def _auc_bound(a: Aggregates) -> tuple[FloatArray, FloatArray]:
    bound = classification.roc_auc_bound(a["positives"], a["negatives"])
    return bound, bound


def _ap_bound(a: Aggregates) -> tuple[FloatArray, FloatArray]:
    value = classification.average_precision(a["positives"], a["negatives"])
    low, high = classification.average_precision_bounds(a["positives"], a["negatives"])
    return value - low, high - value


def _middle_bound(a: Aggregates) -> tuple[FloatArray, FloatArray]:
    bound = np.asarray(0.5 / classification.N_SCORE_BINS)
    return bound, bound


BINARY: tuple[QualityMetric, ...] = (
    _proportion("accuracy", classification.accuracy_counts),
    _proportion("precision", classification.precision_counts, "no row was predicted positive"),
    _proportion("recall", classification.recall_counts, NO_POSITIVES),
    _proportion("specificity", classification.specificity_counts, "no negative labels"),
    _proportion("positive_rate", classification.positive_rate_counts),
    QualityMetric(
        "f1",
        lambda a: classification.f1(a["confusion"]),
        ("confusion",),
        "unit",
        "no row is positive, predicted or actual",
        size=lambda a: a["confusion"][..., 1, :].sum(axis=-1) + a["confusion"][..., 0, 1],
    ),
    QualityMetric(
        "balanced_accuracy",
        lambda a: classification.balanced_accuracy(a["confusion"]),
        ("confusion",),
        "unit",
        ONE_CLASS,
        size=lambda a: a["confusion"].sum(axis=-2).min(axis=-1),
    ),
    QualityMetric(
        "roc_auc",
        lambda a: classification.roc_auc(a["positives"], a["negatives"]),
        ("scores",),
        "unit",
        ONE_CLASS,
        size=_rarer_class,
        formula_variance=lambda a: classification.delong_variance(a["positives"], a["negatives"]),
        binning=_auc_bound,
    ),
    QualityMetric(
        "average_precision",
        lambda a: classification.average_precision(a["positives"], a["negatives"]),
        ("scores",),
        "unit",
        NO_POSITIVES,
        size=_positive_scores,
        binning=_ap_bound,
    ),
    QualityMetric(
        "log_loss", lambda a: classification.log_loss(a["sum_log_loss"], a["n_score"]), ("n_score",), "error"
    ),
    QualityMetric("brier", lambda a: classification.brier(a["sum_brier"], a["n_score"]), ("n_score",), "error"),
    QualityMetric(
        "brier_skill",
        lambda a: classification.brier_skill(
            a["sum_brier"], np.stack([a["negatives"].sum(axis=-1), a["positives"].sum(axis=-1)], axis=-1)
        ),
        ("scores", "n_score"),
        "skill",
        ONE_CLASS,
    ),
    QualityMetric(
        "calibration_error",
        lambda a: classification.calibration_error(a["positives"], a["negatives"]),
        ("scores",),
        "error",
        binning=_middle_bound,
        noise=lambda a: classification.calibration_noise(a["positives"], a["negatives"]),
    ),
    QualityMetric(
        "calibration_bias",
        lambda a: classification.calibration_bias(a["sum_score"], _positive_scores(a), a["n_score"]),
        ("scores", "n_score"),
        "identity",
    ),
)


def _averaged(name: str, function: Callable[..., FloatArray], average: str) -> QualityMetric:
    return QualityMetric(
        f"{name}_{average}", lambda a: function(a["confusion"], average=average), ("confusion",), "unit"
    )


def _score_averaged(
    name: str, function: Callable[..., FloatArray], average: str, bounds: Callable[..., object], undefined: str
) -> QualityMetric:
    def binning(a: Aggregates) -> tuple[FloatArray, FloatArray]:
        found = bounds(a["positives"], a["negatives"], average=average)
        if not isinstance(found, tuple):
            return np.asarray(found), np.asarray(found)
        value = function(a["positives"], a["negatives"], average=average)
        return value - found[0], found[1] - value

    return QualityMetric(
        f"{name}_{average}",
        lambda a: function(a["positives"], a["negatives"], average=average),
        ("scores",),
        "unit",
        undefined,
        size=lambda a: a["positives"].sum(axis=-1).max(axis=-1),
        binning=binning,
    )


MULTICLASS: tuple[QualityMetric, ...] = (
    _proportion("accuracy", multiclass.accuracy_counts),
    QualityMetric("balanced_accuracy", lambda a: multiclass.balanced_accuracy(a["confusion"]), ("confusion",), "unit"),
    *(
        _averaged(name, function, average)
        for name, function in (
            ("precision", multiclass.precision),
            ("recall", multiclass.recall),
            ("f1", multiclass.f1),
        )
        for average in multiclass.AVERAGES
    ),
    _averaged("specificity", multiclass.specificity, "macro"),
    *(
        _score_averaged("roc_auc", multiclass.roc_auc, average, multiclass.roc_auc_bound, ONE_CLASS)
        for average in ("macro", "weighted")
    ),
    _score_averaged(
        "average_precision",
        multiclass.average_precision,
        "macro",
        multiclass.average_precision_bounds,
        "no labels of a class with scores",
    ),
    QualityMetric(
        "log_loss", lambda a: classification.log_loss(a["sum_log_loss"], a["n_score"]), ("n_score",), "error"
    ),
    QualityMetric("brier", lambda a: classification.brier(a["sum_brier"], a["n_score"]), ("n_score",), "error"),
    QualityMetric(
        "brier_skill",
        lambda a: classification.brier_skill(a["sum_brier"], a["positives"].sum(axis=-1)),
        ("scores", "n_score"),
        "skill",
        ONE_CLASS,
    ),
    QualityMetric(
        "calibration_error",
        lambda a: multiclass.calibration_error(a["positives"], a["negatives"]),
        ("scores",),
        "error",
        binning=_middle_bound,
        noise=lambda a: multiclass.calibration_noise(a["positives"], a["negatives"]),
    ),
)

REGRESSION: tuple[QualityMetric, ...] = (
    QualityMetric("mae", lambda a: regression.mae(a["sum_abs_error"], a["n_score"]), ("n_score",), "error"),
    QualityMetric("rmse", lambda a: regression.rmse(a["sum_squared_error"], a["n_score"]), ("n_score",), "error"),
    QualityMetric(
        "r2",
        lambda a: regression.r2(a["sum_squared_error"], a["sum_label"], a["sum_label_sq"], a["n_score"]),
        ("n_score",),
        "skill",
        "the labels are constant, or vary too little beside their mean",
    ),
    QualityMetric(
        "mean_error", lambda a: regression.mean_error(a["sum_error"], a["n_score"]), ("n_score",), "identity"
    ),
    QualityMetric(
        "mean_label", lambda a: classification.divide(a["sum_label"], a["n_score"]), ("n_score",), "identity"
    ),
)

BY_TASK: dict[str, tuple[QualityMetric, ...]] = {
    "binary_classification": BINARY,
    "multiclass_classification": MULTICLASS,
    "regression": REGRESSION,
    "ranking": (),
}


def custom_metric(name: str) -> QualityMetric:
    """Definition of a row of the custom sums: the mean of a per-row value; losses (``pinball_<q>``) on the log scale."""
    shown = "business_value" if name == "value" else name
    scale: Scale = "error" if name.startswith("pinball_") else "identity"
    return QualityMetric(shown, lambda a: classification.divide(a["sum_value"], a["n"]), ("n",), scale)
