"""The two flows of a monitor as jobs."""

from __future__ import annotations

import dagster as dg

from orchestration.monitor import Monitor
from sightline.spec import names

INTAKE = {"immediate": "inferences", "delayed": "labels"}
JUDGES = {"immediate": ("data_quality", "drift"), "delayed": ("model_quality",)}
DESCRIPTIONS = {
    "immediate": "New inferences: intake, aggregates, data quality, drift, alerts and their checks, for the chosen windows.",
    "delayed": "New labels: intake, labelled aggregates, realised quality, alerts and their checks, for the windows of the predictions.",
}


def asset_keys(monitor: Monitor, flow: str, *, with_intake: bool = True) -> list[dg.AssetKey]:
    """Assets of a flow, all with the monitor's partitions."""
    own = ([INTAKE[flow]] if with_intake else []) + [*JUDGES[flow], "alerts"]
    return [monitor.key(name) for name in [*own, *monitor.models[flow]]]


def build(monitor: Monitor, flow: str) -> dg.UnresolvedAssetJobDefinition:
    """``<id>__immediate`` or ``<id>__delayed``."""
    return dg.define_asset_job(
        names.job_name(monitor.spec, flow),
        selection=dg.AssetSelection.assets(*asset_keys(monitor, flow)),
        description=DESCRIPTIONS[flow],
        tags={"sightline/monitor": monitor.id, "sightline/flow": flow},
        partitions_def=monitor.partitions,
    )
