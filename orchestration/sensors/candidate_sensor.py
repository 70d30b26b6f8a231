"""The sensor ``<id>__candidates``: a version whose file has landed, or has changed, is evaluated."""

import json
import os
from typing import Any

import dagster as dg

from orchestration.assets import evaluation
from orchestration.monitor import Monitor
from orchestration.sensors.flow_sensors import SENSOR_SECONDS
from sightline.evaluation.landed import candidates
from sightline.spec import names

MOST_RUNS = 20
"""Versions asked for per tick; the others follow."""


def build(monitor: Monitor, job: Any) -> dg.SensorDefinition:
    """Its cursor holds the mark of the file of each version that was asked for, and that it had at the last look.

    A file is asked for once two looks have found it the same: one that is being copied grows.
    """

    @dg.sensor(
        name=names.sensor_name(monitor.spec, "candidates"),
        job=job,
        minimum_interval_seconds=int(os.environ.get("SIGHTLINE_SENSOR_SECONDS", SENSOR_SECONDS)),
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="A scored evaluation set in `landing/candidates/<version>/` starts the evaluation of that version.",
    )
    def watch(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        before: dict[str, dict[str, str]] = json.loads(context.cursor) if context.cursor else {}
        asked, seen = before.get("asked", {}), before.get("seen", {})
        found, refused = candidates(monitor.paths)
        for name, why in refused.items():
            context.log.warning(f"{name!r} in {monitor.paths.landing_candidates.name} is no candidate: {why}")
        still = [each for each in found if seen.get(each.version) == each.mark]
        new = [each for each in still if asked.get(each.version) != each.mark][:MOST_RUNS]
        requests = [dg.RunRequest(run_key=f"{each.version}|{each.mark}", partition_key=each.version) for each in new]
        partitions = evaluation.versions(monitor)
        known = context.instance.get_dynamic_partitions(partitions.name or "")
        fresh = [each.version for each in new if each.version not in known]
        asked |= {each.version: each.mark for each in new}
        return dg.SensorResult(
            run_requests=requests,
            dynamic_partitions_requests=[partitions.build_add_request(fresh)] if fresh else [],
            cursor=json.dumps({"asked": asked, "seen": {each.version: each.mark for each in found}}, sort_keys=True),
            skip_reason=None if requests else "no new candidate",
        )

    return watch
