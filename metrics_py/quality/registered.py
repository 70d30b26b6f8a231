"""Registry entries of the realised-quality metrics, which `metrics_py.quality.table` evaluates from the marts' aggregates."""

from __future__ import annotations

from metrics_py.quality.metrics import BY_TASK, QualityMetric
from metrics_py.registry import Direction, Metric, Needs, Task, register

HAND_TILL = "Hand & Till (2001), Machine Learning 45:171"
LOWER: tuple[str, ...] = ("log_loss", "brier", "calibration_error", "mae", "rmse")
NEUTRAL: tuple[str, ...] = ("positive_rate", "calibration_bias", "mean_error", "mean_label", "mean_prediction")
RANGES: dict[str, tuple[float, float]] = {
    "proportion": (0, 1),
    "unit": (0, 1),
    "error": (0, float("inf")),
    "skill": (float("-inf"), 1),
    "identity": (float("-inf"), float("inf")),
}
SUMMARIES: dict[str, tuple[str, str]] = {
    "accuracy": ("Share of rows whose predicted class is the actual one.", ""),
    "precision": (
        "Share of rows predicted positive that are positive.",
        "van Rijsbergen (1979), Information Retrieval",
    ),
    "recall": ("Share of positive rows that are predicted positive.", "van Rijsbergen (1979), Information Retrieval"),
    "specificity": ("Share of negative rows that are predicted negative.", "Altman & Bland (1994), BMJ 308:1552"),
    "positive_rate": ("Share of rows that are positive: the base rate.", ""),
    "f1": ("Harmonic mean of precision and recall.", "van Rijsbergen (1979), Information Retrieval"),
    "balanced_accuracy": ("Mean recall over the classes.", "Brodersen et al. (2010), ICPR"),
    "roc_auc": (
        "Probability that a positive row scores above a negative one, ties counting half.",
        "Hanley & McNeil (1982)",
    ),
    "average_precision": (
        "Precision averaged over the recall gained at each score.",
        "Saito & Rehmsmeier (2015), PLoS ONE",
    ),
    "log_loss": ("Mean negative log probability of the actual class.", "Good (1952), JRSS B 14:107"),
    "brier": ("Mean squared error of the probabilities.", "Brier (1950), Monthly Weather Review 78:1"),
    "brier_skill": ("1 - Brier score / Brier score of the base rate.", "Murphy (1973), J. Applied Meteorology 12:215"),
    "calibration_error": ("Mean gap between score and frequency over score bins.", "Naeini et al. (2015), AAAI"),
    "calibration_bias": ("Mean score minus share of positives.", "Cox (1958), Biometrika 45:562"),
    "mae": ("Mean absolute error.", ""),
    "rmse": ("Root mean squared error.", ""),
    "r2": ("1 - sum of squared errors / sum of squares around the mean label.", ""),
    "mean_error": ("Mean of prediction minus label: positive predicts too much.", ""),
    "mean_label": ("Mean of the labels.", ""),
}
AVERAGES = {
    "macro": " Plain mean over the classes.",
    "micro": " Over all decisions together.",
    "weighted": " Mean over the classes, weighted by their rows.",
}


def _entry(task: Task, definition: QualityMetric) -> Metric:
    base, _, average = definition.name.rpartition("_")
    family = base if average in AVERAGES else definition.name
    summary, reference = SUMMARIES.get(family, ("", ""))
    direction: Direction = "higher_is_better"
    if family in LOWER:
        direction = "lower_is_better"
    elif family in NEUTRAL:
        direction = "none"
    first: Needs = "sums"
    if "confusion" in definition.needs:
        first = "confusion"
    elif "scores" in definition.needs:
        first = "scores"
    references = [reference] if reference else []
    if task == "multiclass_classification" and family == "roc_auc":
        references.append(HAND_TILL)
    return Metric(
        definition.name, task, first, definition.value,
        unit="units of the label" if task == "regression" and definition.scale in ("error", "identity") else "",
        direction=direction, range=(-1.0, 1.0) if family == "calibration_bias" else RANGES[definition.scale],
        references=tuple(references), summary=summary + AVERAGES.get(average if family == base else "", ""),
    )  # fmt: skip


_TASKS: tuple[Task, ...] = ("binary_classification", "multiclass_classification", "regression", "ranking")
for _task in _TASKS:
    for _definition in BY_TASK[_task]:
        register(_entry(_task, _definition))
