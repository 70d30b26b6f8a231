"""The sensor ``<id>__registry`` and its job: new versions of a model registry land, verdicts are written back.

A tick asks the registry what there is (seconds at most); fetching and writing are the job's. A registry that is down
fails the tick with its reason, and the next one asks again: no other monitor waits for it.
"""

import os
import time
from dataclasses import dataclass
from typing import Any

import dagster as dg

from orchestration.monitor import Monitor
from sightline.collector.signed_calls import read_calls
from sightline.errors import SightlineError
from sightline.registries import sync
from sightline.registries.build import registry_of
from sightline.spec import names
from sightline.spec.flows import REGISTRY_SYNC

TICK_SECONDS, CALLED_TICK_SECONDS = 60, 5
"""Between two looks at a registry, and between two at whether it called."""
AGAIN_SECONDS = 600.0
"""What failed is tried again after so long."""


def job(monitor: Monitor) -> dg.JobDefinition:
    """``<id>__registry_sync``: fetch evaluation sets, tell verdicts."""

    @dg.op(name=f"{monitor.id}__registry_sync_step")
    def step(context: dg.OpExecutionContext) -> None:
        try:
            with registry_of(monitor.spec, monitor.home) as registry:
                told = sync.sync(monitor.spec, monitor.paths, registry)
        except SightlineError as error:
            raise dg.Failure(description=str(error), allow_retries=False) from error
        for line in told or ["nothing to do"]:
            context.log.info(line)

    @dg.job(
        name=names.job_name(monitor.spec, REGISTRY_SYNC),
        description="Evaluation sets of new versions in the model registry land; verdicts are written back to it.",
        tags={"sightline/monitor": monitor.id, "sightline/flow": REGISTRY_SYNC},
        executor_def=dg.in_process_executor,
    )
    def synchronize() -> None:
        step()

    return synchronize


@dataclass
class _Look:
    """The last look of this process: when, and the registry's call it answered."""

    at: float = 0.0
    asked_at: float = 0.0


def build(monitor: Monitor, target: Any) -> dg.SensorDefinition:
    """Asks for a run when there is something to fetch or to tell."""
    link = monitor.spec.registry
    is_called = link is not None and link.webhook_secret_env is not None
    last = _Look()
    seconds = int(os.environ.get("SIGHTLINE_SENSOR_SECONDS", CALLED_TICK_SECONDS if is_called else TICK_SECONDS))

    @dg.sensor(
        name=names.sensor_name(monitor.spec, "registry"),
        job=target,
        minimum_interval_seconds=seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="A new version in the model registry, or a verdict that it does not have yet, starts a run.",
    )
    def watch(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        now = time.time()
        asked_at = read_calls(monitor.paths).asked_at if is_called else 0.0
        if is_called and asked_at == last.asked_at and now - last.at < TICK_SECONDS:
            return dg.SensorResult(skip_reason="the registry has not called since the last look")
        last.at, last.asked_at = now, asked_at
        with registry_of(monitor.spec, monitor.home) as registry:
            versions = registry.versions()
        work = sync.look(monitor.spec, monitor.paths, versions, now)
        if not (work.fetch or work.write):
            return dg.SensorResult(skip_reason="the registry has no new version, and knows every verdict")
        return dg.SensorResult(run_requests=[dg.RunRequest(run_key=f"{work.mark}|{int(now // AGAIN_SECONDS)}")])

    return watch
