"""The items that a ranking model recommends: how often each stands in the reference, which is its popularity."""

from __future__ import annotations

import hashlib

import duckdb
import numpy as np
import polars as pl

from metrics_py.intervals import N_BUCKETS
from sightline.arrow import to_arrow
from sightline.lake.store.schema import quote
from sightline.spec.model import MonitorSpec
from sightline.warehouse.reference import ReferenceProfile

SCHEMA = {"item": pl.String, "bucket": pl.Int32, "popularity": pl.Float64, "novelty": pl.Float64}
COUNTS = {"item": pl.String, "n": pl.Int64}
KEPT = "control.item_counts"


def items(con: duckdb.DuckDBPyConnection, spec: MonitorSpec, reference: ReferenceProfile | None) -> pl.DataFrame:
    """Items of the reference, for the control table of that name; none for another task.

    Parameters
    ----------
    con : duckdb.DuckDBPyConnection
        A writing connection with schema ``control``. What was counted is kept there, by the reference's id: its rows
        are read once.
    spec : MonitorSpec
        `quality.item` names the feature.
    reference : ReferenceProfile or None
        The frozen reference.

    Returns
    -------
    DataFrame
        ``item, bucket, popularity, novelty``. The popularity of an item is its share of the reference's rows; novelty
        is ``-log2((n + 1) / (N + M + 1))`` of n rows out of N with M items, so that an item the reference never held
        has one too. No rows where the reference holds no item, or is a file without labels, of which none are kept.
        `bucket` is the first byte of the MD5 of the item, modulo 64.
    """
    if spec.model.task != "ranking" or spec.quality.item is None or reference is None:
        return pl.DataFrame(schema=SCHEMA)
    counts = _counts(con, spec, reference)
    if counts.is_empty():  # nothing is known to measure by
        return pl.DataFrame(schema=SCHEMA)
    total, distinct = int(counts["n"].sum()), len(counts)
    known = pl.concat([counts, pl.DataFrame({"item": [None], "n": [0]}, schema=COUNTS)])  # null: any other item
    n = known["n"].to_numpy().astype(float)
    return pl.DataFrame(
        {
            "item": known["item"],
            "bucket": [None if item is None else _bucket(item) for item in known["item"]],
            "popularity": n / max(total, 1),
            "novelty": -np.log2((n + 1) / (total + distinct + 1)),
        },
        schema=SCHEMA,
    )


def _bucket(item: str) -> int:
    return hashlib.md5(item.encode(), usedforsecurity=False).digest()[0] % N_BUCKETS


def _counts(con: duckdb.DuckDBPyConnection, spec: MonitorSpec, reference: ReferenceProfile) -> pl.DataFrame:
    """Rows of each item in the reference's windows, or in its file."""
    column, of_file = f"f_{spec.quality.item}", reference.quality.get("items")
    if of_file is not None:
        return of_file.cast(COUNTS)  # type: ignore[arg-type]
    con.execute(
        f"CREATE TABLE IF NOT EXISTS {KEPT} (reference_id VARCHAR, lake_column VARCHAR, item VARCHAR, n BIGINT)"
    )
    key = [reference.id, column]
    kept = con.sql(f"SELECT item, n FROM {KEPT} WHERE reference_id = ? AND lake_column = ?", params=key).pl()  # noqa: S608
    if len(kept) or reference.start is None or reference.end is None:
        return kept.cast(COUNTS).sort("item")  # type: ignore[arg-type]
    span = [spec.key(reference.start), spec.key(reference.end)]
    name = quote(column)
    counts = con.sql(
        f"SELECT {name} AS item, count(*) AS n FROM raw.production "  # noqa: S608 (quoted)
        f"WHERE window_key >= ? AND window_key < ? AND {name} IS NOT NULL GROUP BY 1 ORDER BY 1",
        params=span,
    ).pl()
    con.execute(f"DELETE FROM {KEPT}")  # noqa: S608 (our own name)
    con.register("item_counts", to_arrow(counts))
    con.execute(f"INSERT INTO {KEPT} SELECT ?, ?, item, n FROM item_counts", key)  # noqa: S608 (our own name)
    con.unregister("item_counts")
    return counts.cast(COUNTS)  # type: ignore[arg-type]
