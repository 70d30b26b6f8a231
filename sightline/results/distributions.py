"""Rows per frozen bin of every judged column, window by window: what a page draws beside the reference."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from sightline.home import MonitorPaths
from sightline.lake.store.schema import TIMESTAMP
from sightline.results.append_only import locked, merge_if_many, next_stamp, publish, safe_name, scan_folders
from sightline.results.tables import TEXT

DISTRIBUTION_SCHEMA: dict[str, pl.DataType] = {
    "window_start": TIMESTAMP,
    "column": TEXT,
    "reference": TEXT,
    "counts": pl.List(pl.Int64()),
}
KEY = ["window_start", "column"]


def append_distributions(paths: MonitorPaths, frame: pl.DataFrame, run_id: str, now: datetime) -> int:
    """Publish counts; those of a window and column that differ from what was known replace it.

    Parameters
    ----------
    paths : MonitorPaths
        `paths.results`.
    frame : DataFrame
        `DISTRIBUTION_SCHEMA`: ``counts`` has one number per bin of the column in the frozen reference ``reference``.
    run_id : str
        Run that counted them.
    now : datetime
        Aware.

    Returns
    -------
    int
        Rows written.
    """
    folder = paths.results / "distributions"
    if frame.is_empty():
        return 0
    frame = frame.select(pl.col(name).cast(dtype) for name, dtype in DISTRIBUTION_SCHEMA.items())
    with locked(folder):
        known = _latest(paths, frame["window_start"].min(), frame["window_start"].max())
        new = frame.join(known, on=[*KEY, "reference", "counts"], how="anti")
        if len(new):
            publish(new, folder / f"{next_stamp(folder, now)}-{safe_name(run_id)}.parquet")
            merge_if_many(folder, DISTRIBUTION_SCHEMA, KEY, keep="last")
    return len(new)


def _latest(paths: MonitorPaths, first: object, last: object, column: str | None = None) -> pl.DataFrame:
    wanted = pl.col("window_start").is_between(pl.lit(first, TIMESTAMP), pl.lit(last, TIMESTAMP))
    wanted = wanted if column is None else wanted & (pl.col("column") == column)
    return scan_folders(
        [paths.results / "distributions"],
        DISTRIBUTION_SCHEMA,
        lambda lazy: lazy.filter(wanted).unique(KEY, keep="last", maintain_order=True),
    )


def read_distributions(paths: MonitorPaths, column: str, start: datetime, end: datetime) -> pl.DataFrame:
    """Counts of one column in windows that start in ``[start, end)`` (naive UTC), sorted by window.

    Parameters
    ----------
    paths : MonitorPaths
        `paths.results`.
    column : str
        Name, as in the judgements.
    start, end : datetime
        Of the windows.

    Returns
    -------
    DataFrame
        `DISTRIBUTION_SCHEMA`.
    """
    found = _latest(paths, start, end, column)
    return found.filter(pl.col("window_start") < end).sort("window_start")
