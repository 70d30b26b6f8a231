"""Evidence for the alert engine: one statistic per stream and closed window, written once and never revised."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl

from sightline.home import MonitorPaths
from sightline.lake.store.schema import TIMESTAMP
from sightline.results.append_only import locked, merge_if_many, next_stamp, publish, safe_name, scan_folders
from sightline.results.tables import NUMBER, TEXT, conform

EVIDENCE_SCHEMA: dict[str, pl.DataType] = {
    "stream": TEXT,
    "asset": TEXT,
    "column": TEXT,
    "statistic": TEXT,
    "window_key": TEXT,
    "window_start": TIMESTAMP,
    "value": NUMBER,
    "display_value": NUMBER,
    "n": NUMBER,
    "variance": NUMBER,
    "reason": TEXT,
    "reason_code": TEXT,
    "decided_at": TIMESTAMP,
    "written_at": TIMESTAMP,
    "run_id": TEXT,
}
EVIDENCE_KEY = ["stream", "window_key"]


def append_evidence(paths: MonitorPaths, frame: pl.DataFrame, run_id: str) -> int:
    """Publish evidence for the alert engine: one row per (stream, window), written once and never revised.

    Parameters
    ----------
    paths : MonitorPaths
        `paths.results`.
    frame : polars.DataFrame
        Columns of `EVIDENCE_SCHEMA`; ``reason`` and ``reason_code`` (why there is no value), ``decided_at`` (start
        of the window with which the alert engine first sees the row, default its own), ``written_at`` (default
        now) and ``run_id`` may be absent.
    run_id : str
        Run that computed them.

    Returns
    -------
    int
        Rows written; those whose (stream, window_key) is there already are ignored.
    """
    frame = conform(frame, EVIDENCE_SCHEMA, ("reason", "reason_code", "decided_at", "written_at", "run_id"), "evidence")
    folder = paths.results / "evidence"
    now = datetime.now(UTC)
    with locked(folder):
        known = scan_folders([folder], EVIDENCE_SCHEMA, lambda lazy: lazy.select(EVIDENCE_KEY))
        fresh = frame.join(known, on=EVIDENCE_KEY, how="anti").unique(EVIDENCE_KEY, keep="first", maintain_order=True)
        if fresh.is_empty():
            return 0
        fresh = fresh.with_columns(
            pl.col("written_at").fill_null(now.replace(tzinfo=None)),
            pl.col("decided_at").fill_null(pl.col("window_start")),
            pl.lit(run_id).alias("run_id"),
        )
        publish(fresh.sort("window_start", "stream"), folder / f"{next_stamp(folder, now)}-{safe_name(run_id)}.parquet")
        merge_if_many(folder, EVIDENCE_SCHEMA, EVIDENCE_KEY)
    return len(fresh)


def read_evidence(paths: MonitorPaths) -> pl.DataFrame:
    """All evidence, sorted by window and stream."""
    return scan_folders(
        [paths.results / "evidence"], EVIDENCE_SCHEMA, lambda lazy: lazy.unique(EVIDENCE_KEY, keep="first")
    ).sort("window_start", "stream")
