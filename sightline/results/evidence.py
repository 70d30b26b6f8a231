"""Evidence for the alert engine: one statistic per stream and closed window, written once and never revised.

What later rows or corrections make of it is kept beside it: no decision changes, but whoever tells of a window that was
decided knows what it is by now.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from sightline.home import MonitorPaths
from sightline.lake.store.schema import TIMESTAMP
from sightline.results.append_only import Keep, locked, merge_if_many, next_stamp, publish, safe_name, scan_folders
from sightline.results.tables import NUMBER, TEXT, conform
from sightline.results.withdrawn import is_withdrawn

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
    "reference": TEXT,
    "written_at": TIMESTAMP,
    "run_id": TEXT,
}
EVIDENCE_KEY = ["stream", "window_key"]
OPTIONAL = ("reason", "reason_code", "decided_at", "reference", "written_at", "run_id")
SAME = 1e-9
"""Values that differ by less, of their size, are the same."""


def append_evidence(paths: MonitorPaths, frame: pl.DataFrame, run_id: str, windows: Sequence[str] | None = None) -> int:
    """Publish evidence for the alert engine: one row per (stream, window), written once and never revised.

    Parameters
    ----------
    paths : MonitorPaths
        `paths.results`.
    frame : polars.DataFrame
        Columns of `EVIDENCE_SCHEMA`; ``reason`` and ``reason_code`` (why there is no value), ``decided_at`` (start
        of the window with which the alert engine first sees the row, default its own), ``reference`` (id of the
        reference profile), ``written_at`` (default now) and ``run_id`` may be absent.
    run_id : str
        Run that computed them.
    windows : sequence of str, optional
        Keys of the windows that may be written for the first time; of others only what has become of them is kept.
        Default: all.

    Returns
    -------
    int
        Rows written; those whose (stream, window_key) is there already are not, but where they have another value
        under the same reference, that is kept as what has become of it (`read_revised`).
    """
    frame = conform(frame, EVIDENCE_SCHEMA, OPTIONAL, "evidence").unique(
        EVIDENCE_KEY, keep="first", maintain_order=True
    )
    folder = paths.results / "evidence"
    now = datetime.now(UTC)
    with locked(folder):
        known = scan_folders([folder], EVIDENCE_SCHEMA, lambda lazy: lazy.unique(EVIDENCE_KEY, keep="first"))
        fresh = frame.join(known, on=EVIDENCE_KEY, how="anti")
        if windows is not None:
            fresh = fresh.filter(pl.col("window_key").is_in(list(windows)))
        _append(folder, fresh.with_columns(pl.col("decided_at").fill_null(pl.col("window_start"))), run_id, now)
        later = frame.join(known.select(*EVIDENCE_KEY, "reference"), on=[*EVIDENCE_KEY, "reference"])
    revised = _revised_folder(paths)
    with locked(revised):
        newest = pl.concat([known, read_revised(paths)]).unique(EVIDENCE_KEY, keep="last")
        _append(revised, _changed(later, newest), run_id, now, keep="last")
    return len(fresh)


def _append(folder: Path, rows: pl.DataFrame, run_id: str, now: datetime, keep: Keep = "first") -> None:
    if rows.is_empty():
        return
    written = pl.col("written_at").fill_null(now.replace(tzinfo=None))
    rows = rows.with_columns(written, pl.lit(run_id).alias("run_id")).sort("window_start", "stream")
    publish(rows, folder / f"{next_stamp(folder, now)}-{safe_name(run_id)}.parquet")
    merge_if_many(folder, EVIDENCE_SCHEMA, EVIDENCE_KEY, keep)


def _changed(rows: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """Rows with another value than the known one, or with one where there was none, and the other way round.

    And those that are withdrawn, or are there again.
    """
    before = pl.col("value_before")
    same = (
        (pl.col("value") - before).abs() <= SAME * pl.max_horizontal(pl.col("value").abs(), before.abs())
    ).fill_null(pl.col("value").is_null() & before.is_null())
    same &= is_withdrawn() == pl.col("was_withdrawn")
    told = known.select(*EVIDENCE_KEY, value_before="value", was_withdrawn=is_withdrawn())
    joined = rows.join(told, on=EVIDENCE_KEY, maintain_order="left")
    return joined.filter(~same).drop("value_before", "was_withdrawn")


def read_evidence(paths: MonitorPaths) -> pl.DataFrame:
    """All evidence, sorted by window and stream."""
    return scan_folders(
        [paths.results / "evidence"], EVIDENCE_SCHEMA, lambda lazy: lazy.unique(EVIDENCE_KEY, keep="first")
    ).sort("window_start", "stream")


def read_revised(paths: MonitorPaths) -> pl.DataFrame:
    """What has become of evidence since it was written: the newest row of each stream and window whose value changed.

    Sorted by window and stream. It decides nothing.
    """
    return scan_folders(
        [_revised_folder(paths)], EVIDENCE_SCHEMA, lambda lazy: lazy.unique(EVIDENCE_KEY, keep="last")
    ).sort("window_start", "stream")


def _revised_folder(paths: MonitorPaths) -> Path:
    return paths.results / "evidence" / "revised"
