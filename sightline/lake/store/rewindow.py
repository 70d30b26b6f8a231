"""Stored rows filed anew by the windows of another schedule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import polars as pl

from sightline.lake.store.parts import Staging, quarantine_frame, window_key_expr, window_starts
from sightline.lake.store.supersede import HISTORY
from sightline.spec.model import MonitorSpec

KEY = ["prediction_id", "model_version"]


def rewindow(spec: MonitorSpec, staging: Staging) -> int:
    """File all inferences, labels and quarantined rows by the spec's windows, as part of an open commit.

    Returns
    -------
    int
        Predictions that share their id, version and now also their window with an earlier one: the first is kept, the
        others go to the history, with a row in the quarantine.
    """
    repeated: list[pl.DataFrame] = []
    for kind in ("inferences", "labels", "replaced"):
        for key, frame, seq in _by_window(spec, staging, kind):
            kept = frame
            if kind == "inferences":
                is_first = frame.select(pl.struct(KEY).is_first_distinct()).to_series()
                kept, rest = frame.filter(is_first), frame.filter(~is_first)
                if len(rest):
                    staging.add(f"{HISTORY}{kind}", key, rest, seq)
                    repeated.append(rest)
            staging.add(kind, key, kept, seq)
            if kind == "replaced":
                continue
            counts = kept.group_by("batch_id").len().sort("batch_id")
            staging.changes += [(kind, key, batch_id, n) for batch_id, n in counts.iter_rows()]
    _refile_quarantine(spec, staging)
    if not repeated:
        return 0
    rows = pl.concat(repeated, how="diagonal_relaxed")
    told: list[dict[str, object]] = [
        {**row, "kind": "inferences", "reason": "conflicting_duplicate", "severity": "row"}
        for row in rows.select(
            "batch_id", "row_number", "prediction_id", "predicted_at", "window_start", "received_at"
        ).to_dicts()
    ]
    staging.add("quarantine", None, quarantine_frame(told), staging.ledger.newest("inferences"))
    counted: Counter[str] = Counter(rows["batch_id"].to_list())
    staging.rematched += [(0, -n, n, batch_id) for batch_id, n in counted.items()]
    return len(rows)


def _by_window(spec: MonitorSpec, staging: Staging, kind: str) -> Iterator[tuple[str, pl.DataFrame, int]]:
    """Rows of each new window, in load order, with the newest batch among them; old windows are read one by one."""
    held: dict[str, list[tuple[int, pl.DataFrame]]] = {}
    parts = staging.live(kind)
    for old_key in sorted({part.window_key or "" for part in parts}):
        for part in [part for part in parts if part.window_key == old_key]:
            frame = pl.read_parquet(staging.file(part), hive_partitioning=False, glob=False)
            frame = frame.with_columns(window_start=window_starts(pl.col("predicted_at"), spec))
            staging.replace(part)
            keyed = frame.with_columns(new_key=window_key_expr(pl.col("window_start"), spec))
            for (key,), rows in keyed.partition_by("new_key", as_dict=True, include_key=False).items():
                held.setdefault(key, []).append((part.seq, rows))
        done = [key for key in held if key < max(held)]
        for key in done:
            yield key, *_joined(held.pop(key))
    for key, frames in held.items():
        yield key, *_joined(frames)


def _joined(frames: list[tuple[int, pl.DataFrame]]) -> tuple[pl.DataFrame, int]:
    in_order = sorted(frames, key=lambda item: item[0])
    return pl.concat([frame for _, frame in in_order], how="diagonal_relaxed"), in_order[-1][0]


def _refile_quarantine(spec: MonitorSpec, staging: Staging) -> None:
    for part in staging.live("quarantine"):
        frame = pl.read_parquet(staging.file(part), hive_partitioning=False, glob=False)
        moment = pl.coalesce("predicted_at", "window_start")
        placed = pl.when(pl.col("window_start").is_not_null()).then(window_starts(moment, spec))
        staging.replace(part)
        staging.add("quarantine", None, frame.with_columns(window_start=placed), part.seq)
