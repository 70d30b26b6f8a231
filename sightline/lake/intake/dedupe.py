"""Inference rows are identified by (prediction_id, model_version) within their window: the first one wins."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from metrics_py.intervals import N_BUCKETS
from sightline.arrow import to_arrow
from sightline.lake.intake.chunks import to_json
from sightline.lake.store.parts import Staging, scan_parts
from sightline.lake.store.schema import QUARANTINE_SCHEMA
from sightline.spec.model import MonitorSpec

KEY = ["window_start", "prediction_id", "model_version"]
NOT_CONTENT = {*KEY, "bucket", "received_at", "batch_id", "row_number"}
SMALL = 2_000


def add_buckets(frame: pl.DataFrame) -> pl.DataFrame:
    """Fill ``bucket``: first byte of the MD5 of the entity id (else the query id, else the prediction id), modulo 64.

    It is the same in every engine.
    """
    named = [name for name in ("entity_id", "query_id") if name in frame.columns]
    known = [name for name in named if frame[name].null_count() < len(frame)]
    units = frame.select(unit=pl.coalesce(*known, "prediction_id") if known else "prediction_id")
    if len(frame) <= SMALL:
        values = [
            hashlib.md5(unit.encode(), usedforsecurity=False).digest()[0] % N_BUCKETS
            for unit in units["unit"].to_list()
        ]
        buckets = pl.Series("bucket", values, dtype=pl.UInt8)
    else:
        import duckdb

        with duckdb.default_connection().cursor() as con:  # opening a database costs as much as hashing 100,000 ids
            con.register("units", to_arrow(units))
            bucket = f"(md5_number(unit) & 255)::UTINYINT % {N_BUCKETS} AS bucket"  # the first byte is the lowest
            buckets = con.sql(f"SELECT {bucket} FROM units").pl()["bucket"]  # noqa: S608 (a constant)
    return frame.with_columns(buckets)


@dataclass
class Split:
    """Rows that are new, and what became of the others."""

    accepted: pl.DataFrame
    quarantine: list[pl.DataFrame] = field(default_factory=list[pl.DataFrame])
    duplicates_by_batch: dict[str, int] = field(default_factory=dict[str, int])


def split_duplicates(
    spec: MonitorSpec,
    frame: pl.DataFrame,
    staging: Staging,
    paths_of: Mapping[str, str],
    kinds: Sequence[str] = ("inferences",),
    corrections: pl.DataFrame | None = None,
) -> Split:
    """Drop rows that are already there, in the frame itself, the open commit or the lake.

    Parameters
    ----------
    spec : MonitorSpec
        The monitor.
    frame : polars.DataFrame
        Canonical rows in the order in which they arrived.
    staging : Staging
        Knows the parts of the windows.
    paths_of : mapping of str to str
        Batch id -> path for the batches being loaded.
    kinds : sequence of str
        Where stored rows are.
    corrections : polars.DataFrame, optional
        Batch, row number and id of stored rows that correct others: a row that corrects nothing is no repeat of them.

    Returns
    -------
    Split
        Exact repeats are quarantined as ``duplicate``, other content under the same key as ``conflicting_duplicate``
        (with the refused row as payload). Repeats of rows from an earlier state of the same file are counted only: a
        growing file or table is read again by design.
    """
    is_first = _first_of_key(frame)
    keys = [spec.key(start) for start in frame["window_start"].unique().to_list()]
    files = [staging.file(part) for kind in kinds for part in staging.live(kind, keys)]
    stored = scan_parts(files, dict(frame.schema))
    if corrections is not None:
        stored = stored.join(corrections.lazy(), on=["batch_id", "row_number", "prediction_id"], how="anti")
    known = pl.DataFrame(schema={name: frame.schema[name] for name in KEY})
    if files:
        known = stored.select(KEY).join(frame.lazy().select(KEY), on=KEY, how="semi").collect()
    if is_first.all() and known.is_empty():
        return Split(frame)
    rows = frame.with_row_index("position").with_columns(is_first.alias("is_first"))
    is_known = rows.select(KEY).join(
        known.unique().with_columns(is_known=pl.lit(True)), on=KEY, how="left", maintain_order="left"
    )["is_known"]
    is_new = is_first & is_known.is_null()
    repeats = rows.filter(~is_new).drop("is_first")
    accepted = frame.filter(is_new)
    originals = [accepted.join(repeats.select(KEY), on=KEY, how="semi")]
    if len(known):
        originals.insert(0, stored.join(known.lazy(), on=KEY, how="semi").collect())
    return _judge(
        accepted, repeats, pl.concat(originals).unique(KEY, keep="first", maintain_order=True), staging, paths_of
    )


def are_distinct(ids: pl.Series) -> bool:
    """Whether no two ids are equal.

    Distinct hashes, which cost a seventh, say so; equal ones say nothing.

    Examples
    --------
    >>> are_distinct(pl.Series(["a", "b"])), are_distinct(pl.Series(["a", "a"]))
    (True, False)
    """
    return ids.hash().n_unique() == len(ids) or ids.n_unique() == len(ids)


def _first_of_key(frame: pl.DataFrame) -> pl.Series:
    """Whether a row is the first of its key; where no id occurs twice, each is."""
    if are_distinct(frame["prediction_id"]):
        return pl.Series([True], dtype=pl.Boolean).new_from_index(0, len(frame))
    return frame.select(pl.struct(KEY).is_first_distinct()).to_series()


def _judge(
    accepted: pl.DataFrame,
    repeats: pl.DataFrame,
    originals: pl.DataFrame,
    staging: Staging,
    paths_of: Mapping[str, str],
) -> Split:
    """Compare each repeat with the row that came first."""
    content = [name for name in originals.columns if name not in NOT_CONTENT]
    pairs = repeats.join(originals, on=KEY, how="left", suffix="@first", maintain_order="left")
    same = pairs.select(
        pl.all_horizontal(pl.col(name).eq_missing(pl.col(f"{name}@first")) for name in content)
    ).to_series()
    paths = {**staging.ledger.batch_paths(originals["batch_id"].unique().to_list()), **paths_of}
    here, there = (
        pairs[name].replace_strict(list(paths), list(paths.values()), default=None, return_dtype=pl.String)
        for name in ("batch_id", "batch_id@first")
    )
    is_reload = same & (here == there).fill_null(False) & (pairs["batch_id"] != pairs["batch_id@first"])
    counts = dict(repeats.group_by("batch_id").len().iter_rows())
    pairs = pairs.select(repeats.columns).with_columns(same=same, source=here).filter(~is_reload)
    if pairs.is_empty():
        return Split(accepted, [], counts)
    payload = (
        [
            None
            if row["same"]
            else to_json({k: v for k, v in row.items() if v is not None and k not in ("position", "same", "source")})
            for row in pairs.to_dicts()
        ]
        if not pairs["same"].all()
        else [None] * len(pairs)
    )
    found = pairs.select(
        kind=pl.lit("inferences"),
        batch_id="batch_id",
        source="source",
        row_number="row_number",
        prediction_id="prediction_id",
        predicted_at="predicted_at",
        window_start="window_start",
        column=pl.lit(None, dtype=pl.String),
        reason=pl.when("same").then(pl.lit("duplicate")).otherwise(pl.lit("conflicting_duplicate")),
        value=pl.lit(None, dtype=pl.String),
        severity=pl.lit("row"),
        payload=pl.Series(payload, dtype=pl.String),
        received_at="received_at",
    )
    return Split(accepted, [found.select(QUARANTINE_SCHEMA.keys())], counts)
