"""Columns whose numbers 64-bit floats cannot tell apart: nothing is said of their values, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import duckdb
import polars as pl

from metrics_py.profile.column_profile import ColumnProfile
from metrics_py.profile.resolution import LOSSY, is_dense
from metrics_py.reasons import ReasonCode
from sightline.judging.frames import EVIDENCE, Judged, conform
from sightline.judging.marts import read_mart
from sightline.judging.stretches import Stretches
from sightline.lake.intake.roles import roles
from sightline.lake.intake.rounding import IMPRECISE, ROUNDED, ROUNDINGS
from sightline.spec.model import MonitorSpec
from sightline.spec.shadows import is_production
from sightline.spec.stretches import STRETCHES
from sightline.warehouse.reference_data import column_roles

CODE: ReasonCode = "imprecise"
REASON = LOSSY.format(instead="declare the column categorical")
OF_REFERENCE = f"in the reference {REASON}"
OF_ROWS = ("null_rate", "not_finite_rate", "contract_rate", "unseen_rate", "true_rate")
"""What does not look at the distance between numbers stays as it is."""
STREAMS_OF_ROWS = (*OF_ROWS, *(f"{name}{stretch.ending}" for stretch in STRETCHES.values() for name in OF_ROWS))
SCHEMA = {"window_start": pl.Datetime("us"), "column": pl.String, "imprecise": pl.String}


def imprecise(
    spec: MonitorSpec, con: duckdb.DuckDBPyConnection, keys: Sequence[str], profiles: Mapping[str, ColumnProfile]
) -> pl.DataFrame:
    """Windows and columns of which nothing can be said, from the notes of the intake.

    Parameters
    ----------
    spec : MonitorSpec
    con : duckdb.DuckDBPyConnection
        The monitor's warehouse.
    keys : sequence of str
        Window keys.
    profiles : mapping of column to ColumnProfile
        The frozen reference.

    Returns
    -------
    DataFrame
        ``window_start, column, imprecise``: the reason in words. No row twice.
    """
    judged = {role.lake_column: role.column_name for role in column_roles(spec)}
    sources = pl.DataFrame(
        [(role.column, judged[role.name]) for role in roles(spec, "inferences") if role.name in judged],
        schema={"column_name": pl.String, "column": pl.String},
        orient="row",
    )
    notes = read_mart(con, "rejections", keys).filter(
        pl.col("kind") == "inferences", pl.col("severity") == "note", pl.col("reason").is_in(ROUNDINGS)
    )
    of_reference = [name for name, profile in profiles.items() if profile.is_imprecise]
    if notes.is_empty() and not of_reference:
        return pl.DataFrame(schema=SCHEMA)
    moments = read_mart(con, "column_moments", keys).filter(is_production(spec), pl.col("segment") == "all")
    ends = moments.group_by("window_start", column="column_name").agg(
        n=(pl.col("n_rows") - pl.col("n_null") - pl.col("n_not_finite")).sum(),
        low=pl.col("min_x").min(),
        high=pl.col("max_x").max(),
    )
    noted = notes.select("window_start", "column_name", "reason").join(sources, on="column_name")
    noted = noted.join(ends, on=["window_start", "column"], how="left")
    limits = [noted[name].cast(pl.Float64).fill_null(float("nan")).to_numpy() for name in ("n", "low", "high")]
    is_lost = (pl.col("reason") == IMPRECISE) | ((pl.col("reason") == ROUNDED) & pl.Series(is_dense(*limits)))
    reference = ends.filter(pl.col("column").is_in(of_reference)).with_columns(imprecise=pl.lit(OF_REFERENCE))
    found = [noted.filter(is_lost).with_columns(imprecise=pl.lit(REASON)), reference]
    lost = pl.concat([frame.select(pl.col(name).cast(dtype) for name, dtype in SCHEMA.items()) for frame in found])
    return lost.unique(["window_start", "column"], keep="first", maintain_order=True)


def with_stretches(lost: pl.DataFrame, stretches: Stretches) -> pl.DataFrame:
    """The same, and the stretches that hold such a window of a column that is judged over them.

    Parameters
    ----------
    lost : DataFrame
        From `imprecise`, of all windows of the stretches.
    stretches : Stretches

    Returns
    -------
    DataFrame
        As of `imprecise`.
    """
    if stretches.stretch is None or lost.is_empty():
        return lost
    last = stretches.stretch.last(stretches.spec, pl.col("window_start"))
    long = lost.filter(pl.col("column").is_in(list(stretches.columns))).with_columns(window_start=last)
    return pl.concat([lost, long]).unique(["window_start", "column"], keep="first", maintain_order=True)


def withheld(judged: Judged, lost: pl.DataFrame) -> Judged:
    """Judgements and evidence without what looks at the values of some windows and columns.

    Parameters
    ----------
    judged : Judged
    lost : DataFrame
        From `imprecise`.
    """
    if lost.is_empty():
        return judged
    on = ["window_start", "column"]
    numbers = ("value", "ci_low", "ci_high")
    rows = judged.judgements.join(lost, on=on, how="left", maintain_order="left")
    is_lost = pl.col("imprecise").is_not_null() & ~pl.col("metric").is_in(OF_ROWS)
    rows = _without(rows, is_lost, numbers).with_columns(
        status=pl.when(is_lost).then(pl.lit("insufficient_data")).otherwise("status")
    )
    streams = judged.evidence.join(lost, on=on, how="left", maintain_order="left")
    is_lost = pl.col("imprecise").is_not_null() & ~pl.col("statistic").is_in(STREAMS_OF_ROWS)
    streams = _without(streams, is_lost, ("value", "display_value", "variance"))
    return replace(judged, judgements=conform(rows), evidence=streams.select(EVIDENCE.names()))


def _without(frame: pl.DataFrame, is_lost: pl.Expr, numbers: Sequence[str]) -> pl.DataFrame:
    return frame.with_columns(
        *(pl.when(~is_lost).then(pl.col(name)).alias(name) for name in numbers),
        reason=pl.when(is_lost).then("imprecise").otherwise("reason"),
        reason_code=pl.when(is_lost).then(pl.lit(CODE)).otherwise("reason_code"),
    )
