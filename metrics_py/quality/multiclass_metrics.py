"""The metrics of multiclass classification, one entry each; add one here."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from metrics_py.quality import classification, multiclass
from metrics_py.quality.binary_metrics import (
    ACCURACY,
    ALTMAN,
    AVERAGE_PRECISION,
    BALANCED_ACCURACY,
    BRIER,
    BRIER_SKILL,
    BRODERSEN,
    CALIBRATION_ERROR,
    F1,
    LOG_LOSS,
    MURPHY,
    NAEINI,
    ONE_CLASS,
    PRECISION,
    RECALL,
    ROC_AUC,
    SAITO,
    SPECIFICITY,
    VAN_RIJSBERGEN,
    middle_bound,
)
from metrics_py.quality.definition import Aggregates, FloatArray, QualityMetric, proportion
from metrics_py.quality.probabilities import of_probabilities

AVERAGES = {
    "macro": " Plain mean over the classes.",
    "micro": " Over all decisions together.",
    "weighted": " Mean over the classes, weighted by their rows.",
}


def _averaged(
    name: str,
    summary: str,
    function: Callable[..., FloatArray],
    average: str,
    *,
    references: tuple[str, ...],
    is_watched: bool = False,
) -> QualityMetric:
    return QualityMetric(
        name=f"{name}_{average}",
        summary=summary + AVERAGES[average],
        direction="higher_is_better",
        value=lambda a: function(a["confusion"], average=average),
        needs=("confusion",),
        scale="unit",
        references=references,
        is_watched=is_watched,
        classes=_classes(name, average),
    )


def _classes(name: str, average: str) -> Callable[[Aggregates], tuple[FloatArray, FloatArray, FloatArray]] | None:
    """Of means over classes: their proportions, of which one may have few trials."""
    if name not in ("precision", "recall", "f1") or average not in ("macro", "weighted"):
        return None
    return lambda a: multiclass.class_proportions(a["confusion"], name, average=average)


def _actual_classes(a: Aggregates) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Of the mean recall of the classes with actual rows."""
    correct, _, actual = multiclass.class_counts(a["confusion"])
    return correct, actual, (actual > 0).astype(float)


def _rows_of_classes(a: Aggregates) -> FloatArray:
    """Labelled rows of each class with a score, and last of all others together."""
    scored = a["positives"].sum(axis=-1)
    others = np.maximum(a["n_score"] - scored.sum(axis=-1), 0.0)
    return np.concatenate([scored, others[..., None]], axis=-1)


def _score_averaged(
    name: str,
    summary: str,
    function: Callable[..., FloatArray],
    average: str,
    bounds: Callable[..., FloatArray | tuple[FloatArray, FloatArray]],
    *,
    undefined: str,
    references: tuple[str, ...],
    is_watched: bool = False,
) -> QualityMetric:
    def binning(a: Aggregates) -> tuple[FloatArray, FloatArray]:
        found = bounds(a["positives"], a["negatives"], average=average)
        if not isinstance(found, tuple):
            return np.asarray(found), np.asarray(found)
        value = function(a["positives"], a["negatives"], average=average)
        return value - found[0], found[1] - value

    return QualityMetric(
        name=f"{name}_{average}",
        summary=summary + AVERAGES[average],
        direction="higher_is_better",
        value=lambda a: function(a["positives"], a["negatives"], average=average),
        needs=("scores",),
        scale="unit",
        references=references,
        is_watched=is_watched,
        undefined=undefined,
        size=lambda a: a["positives"].sum(axis=-1).max(axis=-1),
        binning=binning,
    )


MULTICLASS: tuple[QualityMetric, ...] = (
    proportion("accuracy", ACCURACY, multiclass.accuracy_counts, is_watched=True),
    QualityMetric(
        name="balanced_accuracy",
        summary=BALANCED_ACCURACY,
        direction="higher_is_better",
        value=lambda a: multiclass.balanced_accuracy(a["confusion"]),
        needs=("confusion",),
        scale="unit",
        references=(BRODERSEN,),
        classes=_actual_classes,
    ),
    *(
        _averaged(name, summary, function, average, references=(VAN_RIJSBERGEN,), is_watched=True)
        for name, summary, function in (
            ("precision", PRECISION, multiclass.precision),
            ("recall", RECALL, multiclass.recall),
            ("f1", F1, multiclass.f1),
        )
        for average in multiclass.AVERAGES
    ),
    _averaged("specificity", SPECIFICITY, multiclass.specificity, "macro", references=(ALTMAN,)),
    *(
        _score_averaged(
            "roc_auc",
            ROC_AUC,
            multiclass.roc_auc,
            average,
            multiclass.roc_auc_bound,
            undefined=ONE_CLASS,
            references=("Hanley & McNeil (1982)", "Hand & Till (2001), Machine Learning 45:171"),
            is_watched=average == "macro",
        )
        for average in ("macro", "weighted")
    ),
    _score_averaged(
        "average_precision",
        AVERAGE_PRECISION,
        multiclass.average_precision,
        "macro",
        multiclass.average_precision_bounds,
        undefined="no labels of a class with scores",
        references=(SAITO,),
    ),
    LOG_LOSS,
    BRIER,
    QualityMetric(
        name="brier_skill",
        summary=BRIER_SKILL,
        direction="higher_is_better",
        value=of_probabilities(lambda a: classification.brier_skill(a["sum_brier"], _rows_of_classes(a))),
        needs=("scores", "n_score"),
        scale="skill",
        references=(MURPHY,),
        undefined=ONE_CLASS,
        needs_probabilities=True,
    ),
    QualityMetric(
        name="calibration_error",
        summary=CALIBRATION_ERROR,
        direction="lower_is_better",
        value=lambda a: multiclass.calibration_error(a["positives"], a["negatives"], a.get("score_sums")),
        needs=("scores",),
        scale="error",
        references=(NAEINI,),
        binning=middle_bound,
        noise=lambda a: multiclass.calibration_noise(a["positives"], a["negatives"], a.get("score_sums")),
    ),
)
