"""Windows as Dagster partitions: one definition per schedule, and the windows of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import dagster as dg

from sightline.spec.model import MonitorSpec
from sightline.spec.windows import keys_between

PARTITION = "dagster/partition"
RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"


def definition(spec: MonitorSpec) -> dg.TimeWindowPartitionsDefinition:
    """Partitions of a monitor: its windows from the first one to the current one.

    The current one is included, so that the windows of today are judged while they fill.
    """
    start = spec.first_window
    if spec.schedule == "hourly":
        return dg.HourlyPartitionsDefinition(start_date=start, fmt="%Y-%m-%d-%H", timezone="UTC", end_offset=1)
    if spec.schedule == "daily":
        return dg.DailyPartitionsDefinition(start_date=start, fmt="%Y-%m-%d", timezone="UTC", end_offset=1)
    return dg.WeeklyPartitionsDefinition(start_date=start, fmt="%Y-%m-%d", timezone="UTC", day_offset=1, end_offset=1)


def run_tags(first: str, last: str) -> dict[str, str]:
    """Run tags that select a partition, or a range of them."""
    return {PARTITION: first} if first == last else {RANGE_START: first, RANGE_END: last}


def windows_of(context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext) -> Sequence[str]:
    """Partition keys of this run, single or ranged.

    Empty when started without a partition ("Execute all" in the UI).
    """
    op = context.op_execution_context
    if op.has_partition_key:
        return [op.partition_key]
    if op.has_partition_key_range:
        return list(op.partition_keys)
    return []


def windows_in(spec: MonitorSpec, tags: Mapping[str, str]) -> list[str]:
    """Windows that a run's tags select; empty when they select none."""
    if PARTITION in tags:
        return [tags[PARTITION]]
    return keys_between(spec, tags[RANGE_START], tags[RANGE_END]) if RANGE_START in tags else []
