"""What is known of assets outside of Sightline that a monitor's data come from: when they were made, and by what."""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from sightline.home import MonitorPaths
from sightline.results.append_only import locked
from sightline.results.snapshots import read_snapshot, write_snapshot

NAME = "upstream_facts"
SCHEMA = pl.Schema(
    {
        "asset": pl.String,
        "code_version": pl.String,
        "data_version": pl.String,
        "partition": pl.String,
        "materialized_at": pl.Datetime("us"),
        "run_id": pl.String,
    }
)
"""One row per materialization (naive UTC)."""

KEPT = timedelta(days=400)


def publish_upstream(paths: MonitorPaths, seen: pl.DataFrame) -> pl.DataFrame:
    """Add materializations to those that are known, once each; those of more than 400 days before the latest go.

    Parameters
    ----------
    paths : MonitorPaths
        `paths.results`.
    seen : DataFrame
        Shape `SCHEMA`.

    Returns
    -------
    DataFrame
        All that are known, by time.
    """
    with locked(paths.results):
        known = read_upstream(paths)
        rows = pl.concat([known, seen.select(pl.col(name).cast(kind) for name, kind in SCHEMA.items())])
        rows = rows.unique(["asset", "partition", "materialized_at"], keep="last", maintain_order=True)
        rows = rows.filter(pl.col("materialized_at") >= pl.col("materialized_at").max() - KEPT)
        rows = rows.sort("materialized_at", "asset", "partition")
        if not rows.equals(known):
            write_snapshot(paths, NAME, rows)
    return rows


def read_upstream(paths: MonitorPaths) -> pl.DataFrame:
    """All materializations that are known, by time; shape `SCHEMA`."""
    found = read_snapshot(paths, NAME)
    return pl.DataFrame(schema=SCHEMA) if found is None else found
