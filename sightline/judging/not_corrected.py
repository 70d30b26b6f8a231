"""Metrics that are not corrected while labels are coming, and why: there is no number until a window is mature.

The naive value of such a window would be a number about the rows whose labels come first.
"""

from __future__ import annotations

import polars as pl

from metrics_py.quality.business_value import BUSINESS_VALUE
from metrics_py.quality.ranking_metrics import RANKING
from sightline.spec.model import MonitorSpec

TOTAL = f"{BUSINESS_VALUE}_total"
OF_LABELS = "its labels vary with how fast they come, and delays are known by the size of the error alone"
OF_ROWS = "a Python function sees rows, which cannot be weighted by what is missing of their kind"
OF_ERRORS = "delays are known by the size of the error alone, and it may depend on more"
OF_SILENCE = "what silent rows would be worth as positives is not known"
OF_RANKS = "how late labels of a ranking come is not known by their kind"
OF_QUERIES = "a query is judged by the labels of all its rows, and which of them come first is not known"
OF_REPORTS = (
    "relevant rows are reported until `labels.give_up_after` has passed, and a query is not judged by a part of them"
)
OF_NUMBER = f"how many labels will come is not known; {BUSINESS_VALUE}, of one prediction, is corrected"
OF_BUCKETS = "it joins scores and losses, which are kept by different parts of the entities"
NOT_KEPT = (
    "what that takes is not kept of all its windows, as an earlier release worked them up: "
    "`sightline backfill MONITOR FROM TO` works them up again"
)


OF_OWN = "assuming that within a class and a score the delay does not depend on what it measures"


def assumes_more(spec: MonitorSpec) -> pl.Expr:
    """Of the column ``metric``: whether it may depend on more than the class and the score, as built-in ones do not.

    Parameters
    ----------
    spec : MonitorSpec

    Returns
    -------
    Expr
        Boolean: a SQL metric is corrected under the assumption `OF_OWN`, which nothing tests.
    """
    return pl.col("metric").is_in(
        [metric.name for metric in spec.metrics if metric.needs_label and metric.sql is not None]
    )


def never_corrected(spec: MonitorSpec) -> dict[str, str]:
    """Metrics of a monitor that no kept sum corrects.

    Parameters
    ----------
    spec : MonitorSpec

    Returns
    -------
    dict of str to str
        Metric -> why.
    """
    task, is_silence_negative = spec.model.task, spec.is_silence_negative
    found = {
        "regression": {"r2": OF_LABELS, "mean_label": OF_LABELS},
        "multiclass_classification": {"brier_skill": OF_BUCKETS},
        "ranking": dict.fromkeys((metric.name for metric in RANKING), OF_QUERIES),
    }.get(task, {})
    found = dict(found) if is_silence_negative else {**found, TOTAL: OF_NUMBER}
    of_sql = {"regression": OF_ERRORS, "ranking": OF_RANKS}.get(task, OF_SILENCE if is_silence_negative else None)
    for metric in (m for m in spec.metrics if m.needs_label):
        why = of_sql if metric.sql is not None else OF_ROWS
        found |= {} if why is None else {metric.name: why}
    return found


def why_not(spec: MonitorSpec) -> pl.Expr:
    """Of the column ``metric``: why it is not corrected, in words.

    Parameters
    ----------
    spec : MonitorSpec

    Returns
    -------
    Expr
        Text, also of a metric that is corrected where its sums are kept.
    """
    return pl.col("metric").replace_strict(never_corrected(spec), default=NOT_KEPT, return_dtype=pl.String)
