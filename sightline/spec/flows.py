"""The flows of a monitor: what starts each, and which assets it judges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from metrics_py.class_names import class_text
from sightline.spec.field_types import FeatureKind
from sightline.spec.model import MonitorSpec


@dataclass(frozen=True)
class Flow:
    """One flow.

    Parameters
    ----------
    name : str
        As in jobs, tags of dbt models and the ledger.
    intake : str
        The asset that takes in what has landed.
    judges : tuple of str
        The assets whose judgements complete it.
    """

    name: str
    intake: str
    judges: tuple[str, ...]


IMMEDIATE = Flow("immediate", "inferences", ("data_quality", "drift"))
DELAYED = Flow("delayed", "labels", ("model_quality",))
FLOWS: Mapping[str, Flow] = {flow.name: flow for flow in (IMMEDIATE, DELAYED)}
INTAKE_ASSETS = tuple(flow.intake for flow in FLOWS.values())
ESTIMATES = "estimated_quality"
JUDGED_ASSETS = (*(asset for flow in FLOWS.values() for asset in flow.judges), ESTIMATES)
"""All assets with judgements."""

MOST_CLASSES = 30
"""Of more classes nothing is estimated: the aggregates have up to 256 rows for each pair of them."""

WEIGHTED_KINDS = ("numeric", "categorical", "boolean")

BACKFILL = "backfill"
"""The job that runs all flows over a range of windows."""
EVALUATION = "candidate"
"""The job that judges a candidate version."""
REGISTRY_SYNC = "registry_sync"
"""The job that fetches evaluation sets from a model registry and tells it the verdicts."""


def flows_of(spec: MonitorSpec) -> tuple[str, ...]:
    """Names of a monitor's flows; without labels only ``immediate``."""
    return tuple(FLOWS) if spec.labels else (IMMEDIATE.name,)


def is_estimated(spec: MonitorSpec) -> bool:
    """Is quality estimated before labels come? That needs labels in the reference, and scores or a prediction."""
    columns = spec.columns
    reads = {
        "binary_classification": columns.score,
        "regression": columns.prediction,
        "multiclass_classification": columns.class_scores if len(columns.class_scores) <= MOST_CLASSES else None,
    }
    return spec.labels is not None and bool(reads.get(spec.model.task))


def is_weighted(spec: MonitorSpec) -> bool:
    """Whether estimates are made from reference rows that are weighted to each window's inputs (PAPE)."""
    return spec.quality.estimation == "pape" and is_estimated(spec)


def weighted_inputs(spec: MonitorSpec) -> dict[str, FeatureKind]:
    """Inputs by which these rows are weighted, with their kinds: numbers, categories and booleans that may drift."""
    features = spec.columns.features.items()
    return {name: feature.kind for name, feature in features if feature.kind in WEIGHTED_KINDS and feature.drift}


def unweighted_inputs(spec: MonitorSpec) -> list[str]:
    """All others."""
    return [name for name in spec.columns.features if name not in weighted_inputs(spec)]


def is_value_estimated(spec: MonitorSpec) -> bool:
    """Is the business value among the estimates? Of several classes the value matrix has to name all with a score."""
    if spec.value_matrix is None or not is_estimated(spec):
        return False
    named = {class_text(name) for name in spec.value_matrix}
    scored = {class_text(name) for name in spec.columns.class_scores}
    return spec.model.task == "binary_classification" or named == scored


def judges_of(spec: MonitorSpec, flow: str) -> tuple[str, ...]:
    """The assets that a monitor's flow judges; without `ESTIMATES` it is complete nevertheless."""
    more = (ESTIMATES,) if flow == IMMEDIATE.name and is_estimated(spec) else ()
    return (*FLOWS[flow].judges, *more)


def flow_of(asset: str) -> str:
    """Name of the flow that judges an asset."""
    if asset == ESTIMATES:
        return IMMEDIATE.name
    return next(flow.name for flow in FLOWS.values() if asset in flow.judges)
