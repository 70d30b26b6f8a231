"""What all judgements share: reading marts once, the tidy shape, and bounds from the reference's own windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import duckdb
import numpy as np
import polars as pl

from metrics_py.intervals import wilson
from metrics_py.profile.column_profile import ColumnProfile
from metrics_py.quality.table import quality_table
from sightline.home import MonitorPaths
from sightline.results.judgements import read_judgements
from sightline.spec.model import MonitorSpec
from sightline.warehouse.reference import load_reference

ALL_VERSIONS = "all"
"""`model_version` of the rows over all versions together."""

SIGN = {"higher_is_better": -1, "lower_is_better": 1, "none": 0}
"""Direction of a metric -> its worse side: 1 above, -1 below, 0 both."""

BY = ("window_start", "model_version", "segment")
"""Groups that are judged apart."""

MIN_RATE_ROWS = 20
MIN_REFERENCE_WINDOWS = 8
BOUND_LEVEL = 0.995
"""Each side of the predictive interval: one stable window in 200 lies beyond a bound."""

JUDGED = pl.Schema(
    {
        "window_start": pl.Datetime("us"),
        "model_version": pl.String(),
        "segment": pl.String(),
        "column": pl.String(),
        "metric": pl.String(),
        "value": pl.Float64(),
        "ci_low": pl.Float64(),
        "ci_high": pl.Float64(),
        "n": pl.Int64(),
        "reference_value": pl.Float64(),
        "bound_low": pl.Float64(),
        "bound_high": pl.Float64(),
        "status": pl.String(),
        "reason": pl.String(),
    }
)
"""Judgements before the results API adds monitor, window_end, revision, computed_at and run_id."""

EVIDENCE = pl.Schema(
    {
        "asset": pl.String(),
        "column": pl.String(),
        "statistic": pl.String(),
        "window_start": pl.Datetime("us"),
        "value": pl.Float64(),
        "display_value": pl.Float64(),
        "n": pl.Float64(),
        "variance": pl.Float64(),
        "reason": pl.String(),
    }
)
"""Evidence before stream names and window keys are added: `value` on a stabilised scale, null without enough data."""


@dataclass(frozen=True)
class Work:
    """What a judgement of some windows needs.

    Parameters
    ----------
    spec, paths
        The monitor.
    con : duckdb.DuckDBPyConnection
        Its warehouse.
    keys : sequence of str
        Window keys.
    profiles : mapping of column to ColumnProfile
        The frozen reference; empty before there is one (bins are then unknown).
    now : datetime
        Decides which windows are closed, and whose labels are due.
    """

    spec: MonitorSpec
    paths: MonitorPaths
    con: duckdb.DuckDBPyConnection
    keys: Sequence[str]
    profiles: Mapping[str, ColumnProfile]
    now: datetime


@dataclass(frozen=True)
class Judged:
    """What an asset found: `judgements` in shape `JUDGED`, `evidence` in shape `EVIDENCE` (segment and version 'all' only)."""

    judgements: pl.DataFrame
    evidence: pl.DataFrame


def read_mart(con: duckdb.DuckDBPyConnection, name: str, keys: Sequence[str]) -> pl.DataFrame:
    """Rows of a mart for some windows.

    Parameters
    ----------
    con : duckdb.DuckDBPyConnection
    name : str
        Name of the mart.
    keys : sequence of str
        Window keys.
    """
    query = (
        f"select * from marts.{name} where window_key between ? and ? and window_key in (select unnest(?::varchar[]))"
    )
    return con.sql(query, params=[min(keys), max(keys), list(keys)]).pl()


def with_all_versions(spec: MonitorSpec, frame: pl.DataFrame) -> pl.DataFrame:
    """Add the rows again under the version 'all'; without a version column these are the only ones."""
    together = frame.with_columns(model_version=pl.lit(ALL_VERSIONS))
    return together if spec.columns.model_version is None else pl.concat([frame, together])


def quality_evidence(table: pl.DataFrame, asset: str) -> pl.DataFrame:
    """Evidence from a table of `metrics_py.quality.table`: one stream per metric, segment and version 'all'."""
    rows = table.filter(pl.col("segment") == "all", pl.col("model_version") == ALL_VERSIONS)
    return rows.select(
        asset=pl.lit(asset),
        column=pl.lit(""),
        statistic="metric",
        window_start="window_start",
        value="stabilised_value",
        display_value="value",
        n=pl.col("n").cast(pl.Float64),
        variance="variance",
        reason="reason",
    ).cast(EVIDENCE)


def rate(rows: pl.DataFrame, metric: str, x: str, n: str, by: Sequence[str] = BY) -> pl.DataFrame:
    """A share with its Wilson interval; too few rows are told as such."""
    counts = rows.filter(pl.col(n) > 0)
    low, high = wilson(counts[x].to_numpy(), counts[n].to_numpy())
    few = pl.col(n) < MIN_RATE_ROWS
    column = {} if "column" in by else {"column": pl.lit("")}
    return conform(
        counts.select(
            *by,
            **column,
            metric=pl.lit(metric),
            value=pl.col(x) / pl.col(n),
            ci_low=pl.Series(low, dtype=pl.Float64),
            ci_high=pl.Series(high, dtype=pl.Float64),
            n=n,
            status=pl.when(few).then(pl.lit("insufficient_data")).otherwise(pl.lit("ok")),
            reason=pl.when(few).then(pl.format("{} rows, {} needed", n, pl.lit(MIN_RATE_ROWS))),
        )
    )


def window_frame(spec: MonitorSpec, keys: Sequence[str]) -> pl.DataFrame:
    """The run's windows: `window_key`, `window_start` (naive UTC)."""
    starts = [spec.window_start(key).replace(tzinfo=None) for key in keys]
    return pl.DataFrame(
        {"window_key": list(keys), "window_start": starts},
        schema={"window_key": pl.String, "window_start": pl.Datetime("us")},
    )


def conform(frame: pl.DataFrame) -> pl.DataFrame:
    """Fill absent columns with null and put `JUDGED` in order."""
    missing = [pl.lit(None).alias(name) for name in JUDGED if name not in frame.columns]
    return frame.with_columns(missing).select(pl.col(name).cast(dtype) for name, dtype in JUDGED.items())


def with_bounds(
    spec: MonitorSpec,
    paths: MonitorPaths,
    asset: str,
    judged: pl.DataFrame,
    direction: Mapping[str, int],
    limits: Mapping[str, tuple[float, float]],
) -> pl.DataFrame:
    """Compare with the reference's windows: reference value, bounds, and the status ``warn`` beyond them.

    The reference value is the mean over the reference's windows, weighted by `n`; the bounds are the predictive interval of
    one more window (mean, standard deviation and Student's t over the reference's windows). A reference file has no windows:
    its own values are the reference's, and the bounds come from the first windows of the history, as many as the alert
    engine warms up on. A value warns when it lies beyond a bound on its worse side and its own interval leaves out the
    reference value.

    Parameters
    ----------
    spec, paths
        The monitor; published judgements of reference windows outside the run are read from `paths.results`.
    asset : str
        Whose judgements.
    judged : DataFrame
        Shape `JUDGED`.
    direction : mapping of metric to {-1, 0, 1}
        Worse side: 1 above, -1 below, 0 both; metrics not named are never judged.
    limits : mapping of metric to (low, high)
        Range of the metric, to which bounds are cut.

    Returns
    -------
    DataFrame
        Shape `JUDGED`; rows that already have a status other than ``ok`` keep it.
    """
    told = pl.DataFrame(
        {
            "metric": list(direction),
            "side": list(direction.values()),
            "least": [limits.get(m, (-np.inf, np.inf))[0] for m in direction],
            "most": [limits.get(m, (-np.inf, np.inf))[1] for m in direction],
        },
        schema={"metric": pl.String, "side": pl.Int8, "least": pl.Float64, "most": pl.Float64},
    )
    facts = reference_facts(spec, paths, asset, judged)
    on = [name for name in ("window_start", "segment", "column", "metric") if name in facts.columns]
    frame = (
        judged.drop("reference_value", "bound_low", "bound_high")
        .join(facts, on=on, how="left")
        .join(told, on="metric", how="left")
    )
    half = pl.col("sd") * pl.col("t") * (1 + 1 / pl.col("k")).sqrt()
    enough = (pl.col("k") >= MIN_REFERENCE_WINDOWS) & pl.col("side").is_not_null()
    frame = frame.with_columns(
        bound_low=pl.when(enough & (pl.col("side") <= 0)).then(pl.max_horizontal(pl.col("mean") - half, "least")),
        bound_high=pl.when(enough & (pl.col("side") >= 0)).then(pl.min_horizontal(pl.col("mean") + half, "most")),
    )
    above = (pl.col("value") > pl.col("bound_high")) & (
        pl.col("ci_low").fill_null(pl.col("value")) > pl.col("reference_value")
    )
    below = (pl.col("value") < pl.col("bound_low")) & (
        pl.col("ci_high").fill_null(pl.col("value")) < pl.col("reference_value")
    )
    words = (
        pl.when(above)
        .then(pl.lit("above what the reference's windows show"))
        .otherwise(pl.lit("below what the reference's windows show"))
    )
    beyond = (pl.col("status") == "ok") & (above | below).fill_null(False)
    return conform(
        frame.with_columns(
            status=pl.when(beyond).then(pl.lit("warn")).otherwise("status"),
            reason=pl.when(beyond).then(words).otherwise("reason"),
        )
    )


def reference_facts(spec: MonitorSpec, paths: MonitorPaths, asset: str, judged: pl.DataFrame) -> pl.DataFrame:
    """Mean, deviation and number of the reference's windows per segment, column and metric (rolling: per window too)."""
    group = ["segment", "column", "metric"]
    span = reference_span(spec, judged)
    if span is None or judged.is_empty():
        numbers = dict.fromkeys(("reference_value", "mean", "sd", "k", "t"), pl.Float64)
        return pl.DataFrame(schema={**dict.fromkeys(group, pl.String), **numbers})
    start, end = span
    published = read_judgements(paths, asset=asset, start=start, end=end)
    columns = ["window_start", "model_version", "segment", "column", "metric", "value", "n", "status"]
    own = judged.select(columns)
    other = published.select(columns).join(own.select("window_start").unique(), on="window_start", how="anti")
    history = pl.concat([own, other]).filter(
        pl.col("model_version") == ALL_VERSIONS,
        pl.col("status") != "insufficient_data",
        pl.col("value").is_not_null(),
    )
    if spec.reference.kind == "rolling":
        return _rolling_facts(spec, history, group)
    inside = history.filter(pl.col("window_start").is_between(pl.lit(start), pl.lit(end), closed="left"))
    facts = _with_t(inside.group_by(group).agg(**_facts(pl.col("value"), pl.col("n"))))
    if spec.reference.kind != "file":
        return facts
    known = file_values(spec, paths, asset)
    return facts.join(known, on=group, how="full", coalesce=True).with_columns(
        reference_value=pl.coalesce("known", "reference_value")
    )


def file_values(spec: MonitorSpec, paths: MonitorPaths, asset: str) -> pl.DataFrame:
    """What a reference file itself says: quality of its labelled rows, shares of its missing values (`known`)."""
    schema = {**dict.fromkeys(("segment", "column", "metric"), pl.String), "known": pl.Float64}
    frozen = load_reference(paths)
    if frozen is None:
        return pl.DataFrame(schema=schema)
    if asset == "model_quality" and frozen.quality:
        names = ("confusion", "score_label_bins", "quality_sums", "custom_sums")
        table = quality_table(
            *(frozen.quality.get(name) for name in names),
            task=spec.model.task,
            positive=spec.positive_class,
            min_labels=spec.quality.min_labels,
            by=["segment"],
        )
        known = table.filter(pl.col("value").is_not_null())
        return known.select("segment", column=pl.lit(""), metric="metric", known="value")
    if asset != "data_quality":
        return pl.DataFrame(schema=schema)
    rates = [
        {
            "segment": "all",
            "column": name,
            "metric": metric,
            "known": float(p.n_reference[p.where(kind)].sum()) / p.n_rows,
        }
        for name, p in frozen.columns.items()
        for metric, kind in (("null_rate", "null"), ("not_finite_rate", "not_finite"))
        if p.n_rows and name != "@label"
    ]
    return pl.DataFrame(rates, schema=schema)


def _facts(value: pl.Expr, n: pl.Expr) -> dict[str, pl.Expr]:
    weight = n.clip(1).cast(pl.Float64)
    return {
        "reference_value": (value * weight).sum() / weight.sum(),
        "mean": value.mean(),
        "sd": value.std(),
        "k": value.len().cast(pl.Float64),
    }


def _rolling_facts(spec: MonitorSpec, history: pl.DataFrame, group: list[str]) -> pl.DataFrame:
    period = spec.reference.length
    rolled = history.sort("window_start").rolling(
        "window_start", period=period, offset=-period, closed="left", group_by=group
    )
    return _with_t(rolled.agg(**_facts(pl.col("value"), pl.col("n"))))


def _with_t(facts: pl.DataFrame) -> pl.DataFrame:
    from scipy.stats import t

    degrees = np.maximum(facts["k"].to_numpy() - 1, 1)
    return facts.with_columns(t=pl.Series(t.ppf(BOUND_LEVEL, degrees), dtype=pl.Float64))


def reference_span(spec: MonitorSpec, judged: pl.DataFrame) -> tuple[datetime, datetime] | None:
    """Windows ``[start, end)`` (naive UTC) that bounds come from: the reference's; rolling: from `length` before the run's first
    window to its last; of a file: the first ones of the history."""
    reference = spec.reference
    if reference.kind == "window" and reference.start and reference.end:
        return spec.floor(reference.start).replace(tzinfo=None), reference.end.replace(tzinfo=None)
    if reference.kind == "file":
        start = spec.first_window.replace(tzinfo=None)
        return start, start + spec.warmup_windows * spec.window
    if reference.kind == "rolling" and not judged.is_empty():
        first, last = judged["window_start"].min(), judged["window_start"].max()
        assert isinstance(first, datetime) and isinstance(last, datetime)
        return first - reference.length, last
    return None
