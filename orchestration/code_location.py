"""Definitions of monitors: all of a home folder, or some; what is broken is shown and stops nothing else."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

import dagster as dg

from orchestration.broken import broken_monitor
from orchestration.resources import ensure_manifest
from orchestration.sensors import alert_sensor
from sightline.errors import SightlineError
from sightline.home import Home
from sightline.spec.loader import BrokenMonitor, load_monitors
from sightline.spec.model import MonitorSpec


def build(home: Home) -> dg.Definitions:
    """Definitions of every monitor in the home folder; a broken file is shown as such and never stops the others."""
    specs, broken = load_monitors(home)
    common = dg.Definitions(executor=dg.in_process_executor)
    return dg.Definitions.merge(common, build_some(home, specs, broken))


def build_some(
    home: Home,
    specs: Mapping[str, MonitorSpec],
    broken: Iterable[BrokenMonitor],
    *,
    sensor: str = alert_sensor.NAME,
    upstream: Mapping[str, tuple[str, ...]] | None = None,
) -> dg.Definitions:
    """Definitions of some monitors, with one sensor for what happens to their runs.

    Parameters
    ----------
    home : Home
    specs : mapping of str to MonitorSpec
        Those that could be read.
    broken : iterable of BrokenMonitor
        Those that could not.
    sensor : str
        The sensor's name; a code location has one of a name.
    upstream : mapping of str to tuple of str, optional
        Feed -> keys of the assets that make what lands for it, beside those under `upstream:` in the file.
    """
    parts, failed = build_monitors(home, specs, upstream)
    parts += [broken_monitor(home, monitor) for monitor in (*broken, *failed)]
    return dg.Definitions.merge(dg.Definitions(sensors=[alert_sensor.build(home, specs, sensor)]), *parts)


def build_monitors(
    home: Home, specs: Mapping[str, MonitorSpec], upstream: Mapping[str, tuple[str, ...]] | None = None
) -> tuple[list[dg.Definitions], list[BrokenMonitor]]:
    """One set of definitions per monitor; those that cannot be built, with the reason."""
    from orchestration.monitor_definitions import monitor_definitions

    parts, failed = [], []
    manifest = ensure_manifest(home)
    for monitor_id, spec in specs.items():
        try:
            parts.append(monitor_definitions(home, spec, manifest, upstream))
        except Exception as error:
            logging.getLogger("sightline").exception("monitor %s cannot be built", monitor_id)
            path = home.monitors / f"{monitor_id}.yaml"
            failed.append(BrokenMonitor(path, SightlineError(f"{type(error).__name__}: {error}", where=str(path))))
    return parts, failed
