"""Fairness metrics by task, and what a section `fairness` may not say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from sightline.errors import nearest

if TYPE_CHECKING:
    from sightline.spec.model import MonitorSpec
    from sightline.spec.yaml_lines import KeyPath

METRICS: dict[str, tuple[str, ...]] = {
    "binary_classification": (
        *("demographic_parity", "equal_opportunity", "equalized_odds", "predictive_parity", "accuracy", "mean_error"),
    ),
    "multiclass_classification": ("demographic_parity", "equal_opportunity", "accuracy"),
    "regression": ("mean_error", "mae"),
    "ranking": (),
    "text_generation": (),
}
DEFAULT_METRICS: dict[str, tuple[str, ...]] = {
    "binary_classification": ("demographic_parity", "equal_opportunity", "equalized_odds"),
    "multiclass_classification": ("demographic_parity", "equal_opportunity", "accuracy"),
    "regression": ("mean_error", "mae"),
    "ranking": (),
    "text_generation": (),
}
RATIO = "demographic_parity_ratio"
GROUP_KINDS = ("categorical", "boolean")


def mistakes(spec: MonitorSpec) -> Iterator[tuple[KeyPath, str, str]]:
    """Key path, what is wrong and the fix."""
    rules, task = spec.fairness, spec.model.task
    if not rules.model_fields_set:
        return
    if not METRICS[task]:
        yield ("fairness",), f"fairness has no meaning for {task}", "remove it"
        return
    if spec.labels is None:
        yield ("fairness",), "fairness is looked at where candidates are evaluated, which needs labels", "add `labels`"
    if not rules.columns:
        yield ("fairness",), "fairness names no columns", "name the columns whose groups are compared: `columns: [sex]`"
    features = spec.columns.features
    known = [*spec.columns.segments, *(name for name, f in features.items() if f.kind in GROUP_KINDS)]
    for index, column in enumerate(rules.columns):
        path: KeyPath = ("fairness", "columns", index)
        if rules.columns.index(column) != index:
            yield path, f"{column!r} is named twice", "name it once"
        elif column not in known and column in features:
            fix = "name a column of bands of it (age_band) under columns.segments, or the column itself if it is a code"
            yield path, f"{column!r} is {features[column].kind}: groups are values of a category", fix
        elif column not in known:
            fix = nearest(column, known) if known else "name it under columns.segments"
            yield path, f"{column!r} is no segment and no categorical or boolean feature", fix
    for index, metric in enumerate(rules.metrics):
        if metric not in METRICS[task]:
            what = f"{metric!r} is no fairness metric of {task}"
            yield ("fairness", "metrics", index), what, nearest(metric, METRICS[task])
    yield from _margins(spec)


def _margins(spec: MonitorSpec) -> Iterator[tuple[KeyPath, str, str]]:
    rules = spec.fairness
    if not isinstance(rules.margin, Mapping):
        return
    wanted = rules.metrics or DEFAULT_METRICS[spec.model.task]
    known = [*wanted, *(f"{name}_difference" for name in wanted)]
    if "demographic_parity" in wanted and spec.model.task == "binary_classification":
        known.append(RATIO)
    for name, value in rules.margin.items():
        if name not in known:
            yield ("fairness", "margin", name), f"{name!r} is none of fairness.metrics", nearest(name, known)
        elif name == RATIO and value >= 1:
            yield ("fairness", "margin", name), "a ratio is below 1", "write the smallest ratio that is fair, e.g. 0.8"
