"""Windows for which nothing has come: reported as materialized without rows.

Dagster draws an asset grey while any of its partitions is missing: after a pause, and from the start of a window until
its labels come, so nearly always. A run that works up windows of an asset therefore reports those without data, too.
Only such a run does: it has news at this moment, so the freshness of the asset stays the age of its data.
"""

from __future__ import annotations

from collections.abc import Collection

import dagster as dg

from orchestration.dagster_private import event_storage
from orchestration.monitor import Monitor
from sightline.clock import utc_now
from sightline.lake.store.progress import open_progress
from sightline.spec.flows import FLOWS
from sightline.spec.windows import keys_between, next_key

LOOK_BACK = 60
"""So many windows before the current one are looked at; ranges that were worked up hold no gaps."""
NOTE = "nothing has come for this window"


def report(
    context: dg.AssetExecutionContext, monitor: Monitor, flow: str, assets: Collection[dg.AssetKey], keys: list[str]
) -> None:
    """Report the silent windows of some assets that no run has materialized.

    Parameters
    ----------
    context : dagster.AssetExecutionContext
        Of the step that materializes these assets. Call it first: the UI shows what was stored last.
    monitor : Monitor
    flow : {'immediate', 'delayed'}
        Whose data must have come.
    assets : collection of dagster.AssetKey
    keys : list of str
        Windows of the run: it materializes them itself.
    """
    silent = _silent(monitor, flow) - set(keys)
    if not silent:
        return
    found: list[dg.AssetMaterialization] = []
    for asset in assets:
        known = context.instance.get_latest_storage_id_by_partition(
            asset, dg.DagsterEventType.ASSET_MATERIALIZATION, silent
        )
        found += [
            dg.AssetMaterialization(asset, partition=key, metadata={"note": NOTE})
            for key in sorted(silent - known.keys())
        ]
    event_storage.store_materializations(context, found)


def _silent(monitor: Monitor, flow: str) -> set[str]:
    """The latest windows, the current one included, for which the flow's intake has loaded nothing."""
    spec = monitor.spec
    current = spec.key(utc_now())
    first = max(spec.key(spec.first_window), next_key(spec, current, -LOOK_BACK))
    with open_progress(monitor.paths.ledger) as progress:
        return set(keys_between(spec, first, current)) - progress.changes([FLOWS[flow].intake]).keys()
