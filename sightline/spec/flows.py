"""The flows of a monitor: what starts each, and which assets it judges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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
BACKFILL = "backfill"
"""The job that runs all flows over a range of windows."""


def flows_of(spec: MonitorSpec) -> tuple[str, ...]:
    """Names of a monitor's flows; without labels only ``immediate``."""
    return tuple(FLOWS) if spec.labels else (IMMEDIATE.name,)


def is_estimated(spec: MonitorSpec) -> bool:
    """Is quality estimated before labels come? That needs labels in the reference, and a score or a prediction."""
    columns = spec.columns
    reads = {"binary_classification": columns.score, "regression": columns.prediction}
    return spec.labels is not None and bool(reads.get(spec.model.task))


def judges_of(spec: MonitorSpec, flow: str) -> tuple[str, ...]:
    """The assets that a monitor's flow judges; without `ESTIMATES` it is complete nevertheless."""
    more = (ESTIMATES,) if flow == IMMEDIATE.name and is_estimated(spec) else ()
    return (*FLOWS[flow].judges, *more)


def flow_of(asset: str) -> str:
    """Name of the flow that judges an asset."""
    if asset == ESTIMATES:
        return IMMEDIATE.name
    return next(flow.name for flow in FLOWS.values() if asset in flow.judges)
