"""The two flows of a monitor as jobs."""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from orchestration.monitor import Monitor
from sightline.spec import names
from sightline.spec.flows import BACKFILL, EVALUATION, FLOWS, judges_of

DESCRIPTIONS = {
    "immediate": (
        "New inferences: intake, aggregates, data quality, drift, estimated quality, alerts and their checks, for the "
        "chosen windows."
    ),
    "delayed": (
        "New labels: intake, labelled aggregates, realised quality, alerts and their checks, for the windows of the "
        "predictions."
    ),
    BACKFILL: "Both flows and all checks in one run, for a range of windows: history, or a range to be worked up anew.",
}


def asset_keys(monitor: Monitor, flow: str, *, with_intake: bool = True) -> list[dg.AssetKey]:
    """Assets of a flow, all with the monitor's partitions."""
    own = ([FLOWS[flow].intake] if with_intake else []) + [*judges_of(monitor.spec, flow), "alerts"]
    own += ["report"] if monitor.spec.report is not None else []
    return [monitor.key(name) for name in [*own, *monitor.models[flow]]]


def build(monitor: Monitor, flows: Sequence[str]) -> list[dg.UnresolvedAssetJobDefinition]:
    """``<id>__immediate``, ``<id>__delayed`` and, of both, ``<id>__backfill``."""
    return [_job(monitor, flow, asset_keys(monitor, flow)) for flow in flows] + [
        _job(monitor, BACKFILL, list(dict.fromkeys(key for flow in flows for key in asset_keys(monitor, flow))))
    ]


def evaluation(monitor: Monitor) -> dg.UnresolvedAssetJobDefinition:
    """``<id>__candidate``: one candidate version."""
    return dg.define_asset_job(
        names.job_name(monitor.spec, EVALUATION),
        selection=dg.AssetSelection.assets(monitor.key("evaluation")),
        description="A candidate version against the champion; its check `promote` says whether it may take its place.",
        tags={"sightline/monitor": monitor.id, "sightline/flow": EVALUATION},
        executor_def=dg.in_process_executor,
    )


def _job(monitor: Monitor, name: str, keys: Sequence[dg.AssetKey]) -> dg.UnresolvedAssetJobDefinition:
    return dg.define_asset_job(
        names.job_name(monitor.spec, name),
        selection=dg.AssetSelection.assets(*keys),
        description=DESCRIPTIONS[name],
        tags={"sightline/monitor": monitor.id, "sightline/flow": name},
        partitions_def=monitor.partitions,
        executor_def=dg.in_process_executor,
    )
