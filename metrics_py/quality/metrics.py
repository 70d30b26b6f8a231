"""All realised-quality metrics: the entries of every task, registered, and those that the monitor's file makes.

The registry (names in YAML and suites, docs/metrics.md), the judgement of the marts (`metrics_py.quality.table`) and
the plan of a monitor's checks read the same entries. To add one: `binary_metrics`, `multiclass_metrics`,
`regression_metrics`.
"""

from __future__ import annotations

import numpy as np

from metrics_py.quality import classification
from metrics_py.quality.binary_metrics import BINARY
from metrics_py.quality.business_value import BUSINESS_VALUE, SUMMARY
from metrics_py.quality.definition import QualityMetric, Scale
from metrics_py.quality.multiclass_metrics import MULTICLASS
from metrics_py.quality.ranking_metrics import BY_NAME as RANKING_METRICS
from metrics_py.quality.regression_metrics import REGRESSION
from metrics_py.registry import Task, register

BY_TASK: dict[str, tuple[QualityMetric, ...]] = {
    "binary_classification": BINARY,
    "multiclass_classification": MULTICLASS,
    "regression": REGRESSION,
    "ranking": (),
    "text_generation": (),
}
_TASKS: tuple[Task, ...] = ("binary_classification", "multiclass_classification", "regression", "ranking")
for _task in _TASKS:
    for _metric in BY_TASK[_task]:
        register(_metric.entry(_task))

LABELLED_RATE = QualityMetric(
    name="labelled_rate",
    summary="Share of predictions that have a label by now.",
    direction="higher_is_better",
    value=lambda a: classification.divide(a["n_labelled"], a["n_predictions"]),
    needs=("label_counts",),
    scale="proportion",
    is_watched=True,
    counts=lambda a: (a["n_labelled"], a["n_predictions"]),
)
"""Of every task with labels; the marts count it, `metrics_py.quality.table` does not evaluate it."""

LABEL_ARRIVALS = QualityMetric(
    name="label_arrivals",
    summary="Labels that came in a window, whatever they belong to, over those that were expected to; the row of a "
    "window tells of the later one in which its own labels were due.",
    direction="none",
    value=lambda a: classification.divide(a["n_arrived"], a["n_expected"]),
    needs=("label_counts",),
    scale="error",
    is_watched=True,
    references=("Mack (1993), ASTIN Bulletin 23:213", "Stanard (1985), PCAS 72:124"),
)
"""Of every task with labels: `metrics_py.quality.label_pace`."""

OF_LABELS = (LABELLED_RATE, LABEL_ARRIVALS)

PINBALL = "pinball_"


def custom_metric(name: str, *, is_bounded: bool = False) -> QualityMetric:
    """Definition of a row of the custom sums: the mean of a per-row value.

    Parameters
    ----------
    name : str
        As in the mart: ``value`` is the business value of the value matrix, ``pinball_<quantile>`` a loss, any other
        name a metric of the user's, whose direction the monitor's file says.
    is_bounded : bool, default False
        Do all values lie between 0 and 1? Then the interval does, too.

    Returns
    -------
    QualityMetric
        The sum of the values over their number.

    Examples
    --------
    >>> found = custom_metric("pinball_0.9")
    >>> found.summary, found.direction
    ('Pinball loss of the quantile 0.9.', 'lower_is_better')
    """
    shown = BUSINESS_VALUE if name == "value" else name
    scale: Scale = "identity"
    summary, direction = "A metric of the user's.", "none"
    if shown == BUSINESS_VALUE:
        summary, direction = SUMMARY, "higher_is_better"
    elif name.startswith(PINBALL):
        summary, direction, scale = (
            f"Pinball loss of the quantile {name.removeprefix(PINBALL)}.",
            "lower_is_better",
            "error",
        )
    if is_bounded:
        scale = "proportion"
    return QualityMetric(
        name=shown,
        summary=summary,
        direction=direction,
        value=lambda a: classification.divide(a["sum_value"], a["n"]),
        needs=("n",),
        scale=scale,
        counts=(lambda a: (np.clip(a["sum_value"], 0.0, a["n"]), a["n"])) if is_bounded else None,
    )


def metric_of_sums(name: str, task: str, *, is_bounded: bool = False) -> QualityMetric:
    """Definition of a row of the custom sums, of a task.

    Parameters
    ----------
    name : str
        As in the mart.
    task : str
        Task of the model: of ranking the built-in metrics are such sums, too.
    is_bounded : bool, default False
        As of `custom_metric`.

    Returns
    -------
    QualityMetric
        That of ranking, else that of `custom_metric`.

    Examples
    --------
    >>> metric_of_sums("ndcg", "ranking").counted, metric_of_sums("refund", "ranking").scale
    ('queries', 'identity')
    """
    own = RANKING_METRICS.get(name) if task == "ranking" else None
    return own or custom_metric(name, is_bounded=is_bounded)


def quality_metric(name: str, task: str) -> QualityMetric:
    """The definition of a metric of the judgement table.

    Parameters
    ----------
    name : str
        As in the judgement table.
    task : str
        Task of the model.

    Returns
    -------
    QualityMetric
        That of the task (ranking: of means over queries); one of `OF_LABELS`; else that of the custom sums.

    Examples
    --------
    >>> quality_metric("rmse", "regression").scale
    'error'
    """
    named = {metric.name: metric for metric in (*BY_TASK[task], *OF_LABELS)}
    if task == "ranking":
        named |= RANKING_METRICS
    return named.get(name) or custom_metric("value" if name == BUSINESS_VALUE else name)
