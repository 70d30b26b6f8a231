"""The sensor ``<id>__candidates``: a version that has landed or changed, or runs beside another, is judged."""

import json
import os
from typing import Any

import dagster as dg

from orchestration.assets import evaluation, live_evaluation
from orchestration.monitor import Monitor
from orchestration.sensors.flow_sensors import SENSOR_SECONDS
from sightline.clock import utc_now
from sightline.evaluation.landed import candidates
from sightline.evaluation.running import running
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
        description=(
            "A scored evaluation set in `landing/candidates/<version>/` starts the evaluation of that version; so does "
            "every day with labels of a version that runs beside an earlier one (`evaluation.live`)."
        ),
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
        asked_live: dict[str, str] = before.get("live", {})
        beside = [e for e in running(monitor.spec, monitor.paths, utc_now()) if asked_live.get(e.version) != e.mark]
        for each in beside[: MOST_RUNS - len(new)]:
            key, tags = f"live|{each.version}|{each.mark}", {live_evaluation.TAG: each.mark}
            requests.append(dg.RunRequest(run_key=key, partition_key=each.version, tags=tags))
            asked_live = {**asked_live, each.version: each.mark}
        partitions = evaluation.versions(monitor)
        known = context.instance.get_dynamic_partitions(partitions.name or "")
        fresh = list(dict.fromkeys(str(r.partition_key) for r in requests if r.partition_key not in known))
        asked |= {each.version: each.mark for each in new}
        return dg.SensorResult(
            run_requests=requests,
            dynamic_partitions_requests=[partitions.build_add_request(fresh)] if fresh else [],
            cursor=json.dumps(
                {"asked": asked, "seen": {each.version: each.mark for each in found}, "live": asked_live},
                sort_keys=True,
            ),
            skip_reason=None if requests else "no new candidate",
        )

    return watch
