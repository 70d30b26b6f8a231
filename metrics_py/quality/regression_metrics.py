"""The metrics of regression, one entry each; add one here."""

from __future__ import annotations

from collections.abc import Callable

from metrics_py.quality import classification, regression
from metrics_py.quality.definition import UNDEFINED, Aggregates, FloatArray, QualityMetric, Scale
from metrics_py.registry import Direction


def _of_errors(
    name: str,
    summary: str,
    direction: Direction,
    value: Callable[[Aggregates], FloatArray],
    scale: Scale,
    *,
    is_watched: bool = False,
    undefined: str = UNDEFINED,
    tail: Callable[[Aggregates], tuple[FloatArray, FloatArray]] | None = None,
) -> QualityMetric:
    """A regression metric; errors and identities are in units of the label."""
    unit = "units of the label" if scale in ("error", "identity") else ""
    return QualityMetric(
        name=name,
        summary=summary,
        direction=direction,
        value=value,
        needs=("n_score",),
        scale=scale,
        unit=unit,
        is_watched=is_watched,
        undefined=undefined,
        tail=tail,
    )


def _squared_and_absolute(a: Aggregates) -> tuple[FloatArray, FloatArray]:
    """Mean squared error, and the square of the mean absolute one."""
    absolute = regression.mae(a["sum_abs_error"], a["n_score"])
    return classification.divide(a["sum_squared_error"], a["n_score"]), absolute**2


REGRESSION: tuple[QualityMetric, ...] = (
    _of_errors(
        "mae",
        "Mean absolute error.",
        "lower_is_better",
        lambda a: regression.mae(a["sum_abs_error"], a["n_score"]),
        "error",
        is_watched=True,
    ),
    _of_errors(
        "rmse",
        "Root mean squared error.",
        "lower_is_better",
        lambda a: regression.rmse(a["sum_squared_error"], a["n_score"]),
        "error",
        is_watched=True,
        tail=_squared_and_absolute,
    ),
    _of_errors(
        "r2",
        "1 - sum of squared errors / sum of squares around the mean label.",
        "higher_is_better",
        lambda a: regression.r2(a["sum_squared_error"], a["sum_label"], a["sum_label_sq"], a["n_score"]),
        "skill",
        is_watched=True,
        undefined="the labels are constant, or vary too little beside their mean",
        tail=_squared_and_absolute,
    ),
    _of_errors(
        "mean_error",
        "Mean of prediction minus label: positive predicts too much.",
        "none",
        lambda a: regression.mean_error(a["sum_error"], a["n_score"]),
        "identity",
        is_watched=True,
    ),
    _of_errors(
        "mean_label",
        "Mean of the labels.",
        "none",
        lambda a: classification.divide(a["sum_label"], a["n_score"]),
        "identity",
    ),
)
