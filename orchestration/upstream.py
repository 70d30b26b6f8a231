"""The user's own Dagster assets that a monitor's data come from: in its lineage, and what is known of them."""

import dagster as dg
import polars as pl

from orchestration.monitor import Monitor
from sightline.results.upstream import SCHEMA, publish_upstream

LATEST = 100
"""Materializations of an asset that are read each time; those read before are kept."""

CODE_VERSION, DATA_VERSION = "dagster/code_version", "dagster/data_version"


def keys(monitor: Monitor, *feeds: str) -> list[dg.AssetKey]:
    """Keys of the assets that make what lands for some feeds, default all: those under `upstream:` for inferences."""
    of_file = {"inferences": tuple(monitor.spec.upstream)}
    named = [
        name
        for feed in feeds or ("inferences", "labels")
        for name in (*of_file.get(feed, ()), *monitor.upstream.get(feed, ()))
    ]
    return [dg.AssetKey(name.split("/")) for name in dict.fromkeys(named)]


def observe(instance: dg.DagsterInstance, monitor: Monitor) -> pl.DataFrame:
    """Publish when the assets upstream were made and by which code, so that `sightline` knows it without Dagster.

    Parameters
    ----------
    instance : DagsterInstance
        Whose event log is read.
    monitor : Monitor
        With or without `upstream:`.

    Returns
    -------
    DataFrame
        All that is known, shape `sightline.results.upstream.SCHEMA`.
    """
    rows = [pl.DataFrame(schema=SCHEMA)]
    for key in keys(monitor):
        found = instance.fetch_materializations(key, limit=LATEST).records
        rows.append(pl.DataFrame([_row(key, record) for record in found], schema=SCHEMA))
    seen = pl.concat(rows)
    return publish_upstream(monitor.paths, seen) if len(seen) else seen


def _row(key: dg.AssetKey, record: dg.EventLogRecord) -> dict[str, object]:
    made = record.asset_materialization
    tags = (made.tags if made else None) or {}
    return {
        "asset": "/".join(key.path),
        "code_version": tags.get(CODE_VERSION),
        "data_version": tags.get(DATA_VERSION),
        "partition": record.partition_key or "",
        "materialized_at": pl.Series([record.timestamp * 1e6]).cast(pl.Int64).cast(pl.Datetime("us"))[0],
        "run_id": record.run_id,
    }
