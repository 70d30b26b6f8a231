"""Labels whose prediction is gone from their window: they are matched anew, or wait for another one."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from sightline.lake.intake.match_labels import Predictions, match_labels, no_labels, sort_revisions
from sightline.lake.store.parts import Staging, scan_parts
from sightline.lake.store.schema import LABEL_SCHEMA, TIMESTAMP
from sightline.lake.store.supersede import take_out
from sightline.spec.model import MonitorSpec

PAIR = ["window_start", "prediction_id"]


def take_orphans(staging: Staging, keys: Iterable[str]) -> pl.DataFrame:
    """Take the labels of some windows that have no prediction in their window out of it, as labels that wait are."""
    waiting: list[pl.DataFrame] = []
    for key in sorted(keys):
        files = {kind: [staging.file(part) for part in staging.live(kind, [key])] for kind in ("inferences", "labels")}
        if not files["labels"]:
            continue
        seen, there = (
            pl.concat(
                [
                    pl.LazyFrame(schema={name: LABEL_SCHEMA[name] for name in PAIR}),
                    *(pl.scan_parquet(file, hive_partitioning=False, glob=False).select(PAIR) for file in files[kind]),
                ]
            )
            for kind in ("labels", "inferences")
        )
        orphans = seen.unique().join(there, on=PAIR, how="anti").collect()
        if len(orphans):
            waiting += [rows for _, rows in take_out(staging, "labels", orphans, [key], keep=False)]
    rows = pl.concat([no_labels(), *waiting], how="diagonal_relaxed").select(LABEL_SCHEMA.keys())
    return rows.with_columns(predicted_at="hinted_at", window_start=pl.lit(None, dtype=TIMESTAMP))


def release_orphans(staging: Staging, keys: Iterable[str]) -> int:
    """Let the labels of some windows that have no prediction in their window wait for one; how many there are."""
    rows = take_orphans(staging, keys)
    _wait(staging, rows)
    return len(rows)


def _wait(staging: Staging, rows: pl.DataFrame) -> None:
    if rows.is_empty():
        return
    staging.add("unmatched", None, rows, staging.ledger.newest("labels"))
    staging.rematched += [(-n, -n, 0, batch_id) for batch_id, n in rows.group_by("batch_id").len().iter_rows()]


def rehome_orphans(spec: MonitorSpec, staging: Staging, keys: Iterable[str]) -> set[str]:
    """Match the labels of some windows that have no prediction there any more with all others, or let them wait.

    Returns
    -------
    set of str
        Windows that labels came to.
    """
    rows = take_orphans(staging, keys)
    if rows.is_empty():
        return set()
    matched, rest = match_labels(rows, Predictions(spec, staging.live("inferences"), staging.file))
    _wait(staging, rest)
    homes = [spec.key(start) for start in matched["window_start"].unique().to_list()]
    files = [staging.file(part) for part in staging.live("labels", homes)] if homes else []
    existing = scan_parts(files, LABEL_SCHEMA).collect()
    no_source = pl.lit(None, dtype=pl.String)
    sorted_anew = sort_revisions(matched.with_columns(source=no_source), existing.with_columns(source=no_source))
    repeated = sorted_anew.duplicates.group_by("batch_id").len()
    staging.rematched += [(0, -n, n, batch_id) for batch_id, n in repeated.iter_rows()]
    for (start,), labels in sorted_anew.accepted.partition_by(
        "window_start", as_dict=True, maintain_order=True
    ).items():
        key = spec.key(start)
        staging.add("labels", key, labels, staging.ledger.newest("labels"))
        counts = labels.group_by("batch_id").len().sort("batch_id")
        staging.changes += [("labels", key, batch_id, n) for batch_id, n in counts.iter_rows()]
    return set(homes)
