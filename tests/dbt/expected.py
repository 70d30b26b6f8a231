"""The marts computed once more, independently: Polars and hashlib on the rows as they were landed."""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl

from metrics_py.profile.build import count
from sightline.warehouse import load_reference
from tests.dbt.support import Bench

KEYS = ["window_key", "model_version", "segment"]


def rows(bench: Bench) -> pl.DataFrame:
    """Predictions with their label, once per segment they belong to.

    Columns have the user's names, derived ones begin with _.
    """
    spec, columns = bench.spec, bench.spec.columns
    frame = bench.inferences.join(
        bench.labels.rename({spec.labels.column: "_label"}), on=columns.prediction_id, how="left", maintain_order="left"
    )
    units = frame[columns.entity_id or columns.prediction_id].to_list()
    frame = frame.with_columns(
        window_key=pl.Series([spec.key(t) for t in frame[columns.timestamp].to_list()]),
        model_version=pl.col(columns.model_version) if columns.model_version else pl.lit("unversioned"),
        bucket=pl.Series([hashlib.md5(str(unit).encode()).digest()[0] % 64 for unit in units], dtype=pl.Int32),
    )
    known = load_reference(bench.paths).segments
    parts = [frame.with_columns(segment=pl.lit("all"))]
    for name in columns.segments:
        named = set(known.filter(pl.col("segment_column") == name)["value"])
        values = [
            "(null)" if v is None else v if v in named else "(other)" for v in frame[name].cast(pl.String).to_list()
        ]
        segment = pl.Series([f"{name}={value}" for value in values])
        parts.append(frame.with_columns(segment=segment, bucket=pl.col("bucket") % 16))
    return pl.concat(parts)


def labelled(bench: Bench) -> pl.DataFrame:
    """Rows with a label."""
    return rows(bench).filter(pl.col("_label").is_not_null())


def aggregate(frame: pl.DataFrame, by: list[str], **measures: pl.Expr) -> pl.DataFrame:
    """Group, in the order of the mart's columns."""
    return frame.group_by([*KEYS, *by]).agg(**measures).sort([*KEYS, *by])


def bins(bench: Bench, frame: pl.DataFrame, readings: dict[str, pl.Expr]) -> pl.DataFrame:
    """Counts per reference bin with the profile's own counting; `readings`: judged column -> its value."""
    profiles = load_reference(bench.paths).columns
    found = []
    for key, part in frame.group_by(KEYS):
        for name, reading in readings.items():
            counts = count(profiles[name], part.select(reading).to_series())
            found += [(*key, name, int(i), int(counts[i])) for i in np.flatnonzero(counts)]
    names = [*KEYS, "column_name", "bin_id", "n"]
    frame = pl.DataFrame(found, schema=names, orient="row").with_columns(pl.col("bin_id").cast(pl.Int32))
    return frame.sort(names)


def moments(
    frame: pl.DataFrame, name: str, x: pl.Expr, *, contract: pl.Expr | None = None, is_true: bool = False
) -> pl.DataFrame:
    """Moments of a number."""
    nothing = pl.lit(None, pl.Int64)
    return aggregate(
        frame.with_columns(column_name=pl.lit(name)),
        ["column_name"],
        n_rows=pl.len().cast(pl.Int64),
        n_null=x.is_null().sum().cast(pl.Int64),
        n_not_finite=pl.lit(0, pl.Int64),
        n_contract=(contract if contract is not None else pl.lit(False)).fill_null(False).sum().cast(pl.Int64),
        sum_x=x.sum(),
        sum_xx=(x**2).sum(),
        min_x=x.min(),
        max_x=x.max(),
        n_true=(x == 1).sum().cast(pl.Int64) if is_true else nothing,
    )
