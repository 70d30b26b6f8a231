"""The code location: every file in ``monitors/`` becomes assets, checks, jobs and sensors."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import dagster as dg

from orchestration.broken import broken_monitor
from orchestration.dagster_private import event_storage, warm_start
from orchestration.resources import dbt_resource, ensure_manifest
from orchestration.sensors import alert_sensor
from sightline.errors import SightlineError
from sightline.home import Home
from sightline.spec.loader import BrokenMonitor, load_monitors
from sightline.spec.model import MonitorSpec

event_storage.install()
warm_start.install()


def build(home: Home) -> dg.Definitions:
    """Definitions of every monitor in the home folder; a broken file is shown as such and never stops the others."""
    specs, broken = load_monitors(home)
    parts, failed = build_monitors(home, specs)
    parts += [broken_monitor(home, monitor) for monitor in (*broken, *failed)]
    common = dg.Definitions(
        resources={"dbt": dbt_resource()}, executor=dg.in_process_executor, sensors=[alert_sensor.build(home, specs)]
    )
    return dg.Definitions.merge(common, *parts)


def build_monitors(home: Home, specs: Mapping[str, MonitorSpec]) -> tuple[list[dg.Definitions], list[BrokenMonitor]]:
    """One set of definitions per monitor; those that cannot be built, with the reason."""
    from orchestration.monitor_definitions import monitor_definitions

    parts, failed = [], []
    manifest = ensure_manifest(home)
    for monitor_id, spec in specs.items():
        try:
            parts.append(monitor_definitions(home, spec, manifest))
        except Exception as error:
            logging.getLogger("sightline").exception("monitor %s cannot be built", monitor_id)
            path = home.monitors / f"{monitor_id}.yaml"
            failed.append(BrokenMonitor(path, SightlineError(f"{type(error).__name__}: {error}", where=str(path))))
    return parts, failed


defs = build(Home.from_env())
