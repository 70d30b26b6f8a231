"""The sensor ``alerts__operations``: one per code location, over all runs; and the daemon's heartbeat."""

import os
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import dagster as dg
from dagster import DagsterEventType

from orchestration.sensors.flow_sensors import SENSOR_SECONDS
from orchestration.sensors.operations import Cursor, look, seen_in, seen_of_freshness
from sightline.alerts import operational
from sightline.alerts.delivery.sending import deliver_in_passing
from sightline.alerts.operational import Seen
from sightline.clock import utc_now
from sightline.home import Home
from sightline.spec.model import MonitorSpec

NAME = "alerts__operations"
HEARTBEAT_URL = "SIGHTLINE_HEARTBEAT_URL"
MAX_FRESHNESS = 500


def build(home: Home, specs: Mapping[str, MonitorSpec], name: str = NAME) -> dg.SensorDefinition:
    """The sensor of a code location, or of a part of one under another name."""

    @dg.sensor(
        name=name,
        minimum_interval_seconds=int(os.environ.get("SIGHTLINE_SENSOR_SECONDS", SENSOR_SECONDS)),
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "Failed and recovered runs, hard rules and freshness become operational facts beside the incidents; each "
            "tick delivers what is due and writes the heartbeat."
        ),
    )
    def watch(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        now = utc_now()
        operational.beat(home, list(specs), now)
        cursor = Cursor.load(context.cursor, now)
        after, added = tick(context.instance, home, specs, cursor, now)
        if said := deliver_in_passing(home):
            context.log.warning(said)
        if url := os.environ.get(HEARTBEAT_URL):
            operational.ping(url)
        return dg.SensorResult(cursor=after.dump(), skip_reason=f"{added} new operational facts")

    return watch


def tick(
    instance: dg.DagsterInstance, home: Home, specs: Mapping[str, MonitorSpec], cursor: Cursor, now: datetime
) -> tuple[Cursor, int]:
    """Look, keep what was seen, and hand over what is to be told; the cursor goes on only when all of that is done.

    Parameters
    ----------
    instance : DagsterInstance
    home : Home
    specs : mapping of str to MonitorSpec
    cursor : Cursor
    now : datetime
        Aware.

    Returns
    -------
    (Cursor, int)
        Where the next tick goes on, and how many facts are new.
    """
    listing = look(instance, cursor, specs)
    changed, event = freshness_changes(instance, cursor.event)
    seen: dict[str, list[Seen]] = seen_of_freshness(changed, specs)
    for run in listing.runs:
        seen.setdefault(run.monitor, []).extend(seen_in(run))
    added = {name: operational.record(home.monitor(name), facts, now) for name, facts in seen.items()}
    tell(home, specs, [name for name in specs if seen.get(name)], now)
    return Cursor(listing.cursor.at, listing.cursor.recent, event), sum(added.values())


def freshness_changes(instance: dg.DagsterInstance, after: int) -> tuple[list[tuple[int, Any]], int]:
    """Changes of freshness since an event, and the newest event looked at; before the first look there are none."""
    kind = DagsterEventType.FRESHNESS_STATE_CHANGE
    if after < 0:
        latest = instance.get_event_records(dg.EventRecordsFilter(kind), limit=1)
        return [], max((record.storage_id for record in latest), default=0)
    records = instance.get_event_records(
        dg.EventRecordsFilter(kind, after_cursor=after), limit=MAX_FRESHNESS, ascending=True
    )
    found = [(r.storage_id, r.event_log_entry.get_dagster_event().event_specific_data) for r in records]
    return found, max((number for number, _ in found), default=after)


def tell(home: Home, specs: Mapping[str, MonitorSpec], monitors: Iterable[str], now: datetime) -> None:
    """Put what is to be told of some monitors into the outbox, which knows what it has."""
    from sightline.alerts.outbox import enqueue

    found = [
        change
        for name in monitors
        for change in operational.changes(name, specs[name].model.owner, home.monitor(name), now)
    ]
    if found:
        enqueue(home, found)
