"""What a metric means and how a column is called, in a sentence for people."""

from __future__ import annotations

from metrics_py.registry import get
from sightline.spec import plan
from sightline.spec.model import MonitorSpec

SPECIAL = {
    "@features": "all columns together",
    "@score": "the score",
    "@prediction": "the prediction",
    "@label": "the label",
}


def meaning(spec: MonitorSpec, metric: str, column: str = "") -> str:
    """One sentence on a metric: of its check, else of the registry; empty where neither knows it."""
    for check in plan.checks(spec):
        if metric in plan.metrics_of(check) and (check.column or "") == column:
            return check.description
    for task in (spec.model.task, "drift"):
        try:
            return get(metric, task).summary
        except (KeyError, ValueError):
            continue
    return ""


def direction(spec: MonitorSpec, metric: str) -> str:
    """Which way a metric of quality is better: ``higher_is_better``, ``lower_is_better`` or ``none``."""
    for own in spec.metrics:
        if own.name == metric:
            return own.direction
    try:
        return str(get(metric, spec.model.task).direction)
    except (KeyError, ValueError):
        return "none"


def column_words(column: str) -> str:
    """A column's name for people; special columns in words.

    Examples
    --------
    >>> column_words("@score"), column_words("@class_score:cat"), column_words("age")
    ('the score', 'the score of cat', 'age')
    """
    if column.startswith("@class_score:"):
        return f"the score of {column.partition(':')[2]}"
    return SPECIAL.get(column, column)
