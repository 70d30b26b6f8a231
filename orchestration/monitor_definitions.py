"""From one spec to one monitor's Dagster definitions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import dagster as dg

from orchestration import jobs
from orchestration.assets import aggregates, alerts, evaluation, ingest, judgements, reference, report, retraining
from orchestration.checks import asset_checks
from orchestration.monitor import Monitor
from orchestration.previews import without_preview_warnings
from orchestration.resources import DBT_KEY, dbt_resource
from orchestration.sensors import candidate_sensor, flow_sensors, registry_sensor
from sightline.home import Home
from sightline.spec import plan
from sightline.spec.flows import FLOWS, flows_of, judges_of
from sightline.spec.model import MonitorSpec


def models_of(manifest_path: Path) -> Mapping[str, tuple[str, ...]]:
    """Names of the dbt models by flow, from their tags."""
    manifest = aggregates.read_manifest(manifest_path, manifest_path.stat().st_mtime_ns)
    nodes = [
        n
        for n in manifest["nodes"].values()
        if n["resource_type"] == "model" and n["config"]["materialized"] != "ephemeral"
    ]
    return {flow: tuple(sorted(n["name"] for n in nodes if flow in n["tags"])) for flow in FLOWS}


@without_preview_warnings()
def monitor_definitions(
    home: Home, spec: MonitorSpec, manifest: Path, upstream: Mapping[str, tuple[str, ...]] | None = None
) -> dg.Definitions:
    """All assets, checks, jobs and sensors of one monitor; `upstream` are keys of assets beside those in its file."""
    monitor = Monitor(spec, home, models_of(manifest), upstream or {})
    own = flows_of(spec)
    assets = [ingest.build(monitor, FLOWS[flow].intake) for flow in own]
    assets += [aggregates.build(monitor, flow, manifest) for flow in own]
    assets += [judgements.build(monitor, name) for flow in own for name in judges_of(spec, flow)]
    assets += [reference.build(monitor), alerts.build(monitor)]
    assets += [report.build(monitor)] if spec.report is not None else []
    own_jobs = jobs.build(monitor, own)
    sensors = [flow_sensors.build(monitor, flow, own_jobs) for flow in own]
    if plan.is_evaluated(spec):
        assets.append(evaluation.build(monitor))
        own_jobs.append(jobs.evaluation(monitor))
        sensors.append(candidate_sensor.build(monitor, own_jobs[-1]))
    if plan.has_registry(spec):
        own_jobs.append(registry_sensor.job(monitor))
        sensors.append(registry_sensor.build(monitor, own_jobs[-1]))
    if plan.is_retraining_advised(spec):
        assets.append(retraining.build(monitor))
    return dg.Definitions(
        assets=assets,
        asset_checks=asset_checks.build(monitor),
        jobs=own_jobs,
        sensors=sensors,
        resources={DBT_KEY: dbt_resource()},
    )
