"""Snapshots: small tables that are replaced whole."""

from __future__ import annotations

import polars as pl

from sightline.home import MonitorPaths
from sightline.results.append_only import publish, safe_name


def write_snapshot(paths: MonitorPaths, name: str, frame: pl.DataFrame) -> None:
    """Replace ``snapshots/<name>.parquet`` atomically."""
    publish(frame, paths.results / "snapshots" / f"{safe_name(name)}.parquet")


def read_snapshot(paths: MonitorPaths, name: str) -> pl.DataFrame | None:
    """A snapshot, or None before it was first written."""
    file = paths.results / "snapshots" / f"{safe_name(name)}.parquet"
    try:
        return pl.read_parquet(file, glob=False, hive_partitioning=False)
    except FileNotFoundError:
        return None
