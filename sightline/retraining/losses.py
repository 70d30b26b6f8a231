"""The monitor's own metric of some rows, turned so that more is worse, and what a point of it is."""

from __future__ import annotations

import polars as pl

from metrics_py.quality.areas import areas_of_scores, exact_values
from metrics_py.quality.metrics import quality_metric
from metrics_py.quality.table import quality_table
from sightline.spec import plan
from sightline.spec.evaluation_sections import Retraining
from sightline.spec.model import MonitorSpec
from sightline.warehouse.reference_quality import aggregates_of, scored_rows

NO_SEGMENTS = pl.DataFrame(schema={"segment_column": pl.String, "value": pl.String})
BETWEEN_0_AND_1 = ("proportion", "unit", "skill")
TABLES = {"confusion": "confusion", "score_label_bins": "score_bins", "quality_sums": "sums", "custom_sums": "custom"}


def rules_of(spec: MonitorSpec) -> Retraining:
    """The section of the monitor's file, else its defaults."""
    return spec.retraining or Retraining()


def metric_of(spec: MonitorSpec) -> str:
    """The metric whose decay counts."""
    name = rules_of(spec).metric or plan.primary_metric(spec)
    assert name is not None  # the caller asks only where there is one
    return name


def sign_of(spec: MonitorSpec, metric: str) -> float:
    """What a value is multiplied by to be a loss: -1 where higher is better."""
    own = {each.name: each.direction for each in spec.metrics}
    direction = own.get(metric) or quality_metric(metric, spec.model.task).direction
    return -1.0 if direction == "higher_is_better" else 1.0


def point_of(spec: MonitorSpec, metric: str) -> float:
    """One point: 0.01 of a metric between 0 and 1 and of a skill, 1 of any other."""
    if metric in {each.name for each in spec.metrics}:
        return 1.0
    return 0.01 if quality_metric(metric, spec.model.task).scale in BETWEEN_0_AND_1 else 1.0


def without_segments(spec: MonitorSpec) -> MonitorSpec:
    """The same monitor, all rows together."""
    return spec.model_copy(update={"columns": spec.columns.model_copy(update={"segments": ()})})


def loss(spec: MonitorSpec, frame: pl.DataFrame, metric: str, min_rows: int) -> float | None:
    """Loss of labelled, scored rows; None where it is undefined or fewer rows than needed carry it.

    Parameters
    ----------
    spec : MonitorSpec
        From `without_segments`.
    frame : DataFrame
        In lake columns, with ``bucket``, ``label_class`` and ``label_value``.
    metric : str
        A built-in metric of the task, or the business value.
    min_rows : int
        Fewest labelled rows.
    """
    if len(frame) < min_rows:
        return None
    found = aggregates_of(spec, frame, NO_SEGMENTS)
    tables = {name: found[mart] for mart, name in TABLES.items() if not found[mart].is_empty()}
    exact = None
    if spec.model.task in ("binary_classification", "multiclass_classification"):
        areas = areas_of_scores(scored_rows(spec, frame, NO_SEGMENTS), ["segment", "class_name"])
        exact = exact_values(areas, ["segment"], spec.model.task)
    judged = quality_table(
        tables.get("confusion"),
        tables.get("score_bins"),
        tables.get("sums"),
        tables.get("custom"),
        task=spec.model.task,
        positive=spec.positive_class,
        min_labels=min_rows,
        by=("segment",),
        exact=exact,
    ).filter(metric=metric)
    if judged.is_empty() or judged["value"][0] is None:
        return None
    return sign_of(spec, metric) * float(judged["value"][0])
