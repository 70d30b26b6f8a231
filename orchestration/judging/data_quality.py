"""Service health and data quality: volume, errors, latency; per column missing, unseen, out-of-range and constant values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import duckdb
import numpy as np
import polars as pl

from metrics_py.intervals import wilson
from metrics_py.profiles import ColumnProfile
from metrics_py.quality import quality_table
from orchestration import partitions
from orchestration.judging import custom_python
from orchestration.judging.common import (
    EVIDENCE,
    SIGN,
    Judged,
    conform,
    quality_evidence,
    read_mart,
    window_frame,
    with_all_versions,
    with_bounds,
)
from sightline.home import MonitorPaths
from sightline.spec.model import MonitorSpec

ASSET = "data_quality"
BY = ["window_start", "model_version", "segment"]
LATENCY_STEP = 1.02
LATENCY_QUANTILES = {"latency_p50_ms": 0.5, "latency_p95_ms": 0.95, "latency_p99_ms": 0.99}
MIN_RATE_ROWS = 20
RATE_LIMITS = dict.fromkeys(
    ("error_rate", "rejected_rate", "null_rate", "not_finite_rate", "unseen_rate", "out_of_range_rate"), (0.0, 1.0)
)
DIRECTIONS: Mapping[str, int] = {
    "n_rows": 0,
    "error_rate": 1,
    "rejected_rate": 1,
    **dict.fromkeys(LATENCY_QUANTILES, 1),
    "null_rate": 1,
    "not_finite_rate": 1,
    "unseen_rate": 1,
    "out_of_range_rate": 1,
}
LIMITS = {**RATE_LIMITS, "n_rows": (0.0, np.inf), **dict.fromkeys(LATENCY_QUANTILES, (0.0, np.inf))}


def judge(
    spec: MonitorSpec,
    paths: MonitorPaths,
    con: duckdb.DuckDBPyConnection,
    keys: Sequence[str],
    profiles: Mapping[str, ColumnProfile],
    now: datetime,
) -> Judged:
    """Service health and data quality of every window of a run.

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
        Decides which windows are closed.
    """
    windows = window_frame(spec, keys).with_columns(
        closed=pl.Series([now >= partitions.closes_at(spec, key) for key in keys], dtype=pl.Boolean)
    )
    health = read_mart(con, "service_health", keys)
    service = _service(spec, con, keys, health, windows)
    moments = with_all_versions(spec, read_mart(con, "column_moments", keys))
    bins = with_all_versions(spec, read_mart(con, "column_bins", keys))
    columns = [
        _column_rates(spec, moments),
        _bin_rates(bins, profiles),
        _constants(bins, moments, profiles, spec.drift.min_rows),
    ]
    python = custom_python.evaluate(spec, paths, con, keys, needs_label=False, min_rows=MIN_RATE_ROWS)
    custom = pl.concat([_custom(spec, con, keys), python.table], how="diagonal")
    judged = pl.concat([service, conform(custom.with_columns(column=pl.lit(""))), *columns])
    own = {metric.name: SIGN[metric.direction] for metric in spec.metrics if not metric.needs_label}
    worse = {**DIRECTIONS, **own, **python.directions}
    judged = with_bounds(spec, paths, ASSET, judged, worse, {**LIMITS, **python.limits})
    judged = _expected_unseen(judged, profiles)
    judged = _hard_rules(spec, judged)
    return Judged(judged, pl.concat([_evidence(spec, judged), quality_evidence(custom, ASSET)]))


def _custom(spec: MonitorSpec, con: duckdb.DuckDBPyConnection, keys: Sequence[str]) -> pl.DataFrame:
    """The user's metrics that need no label, with jackknife intervals."""
    sums = with_all_versions(spec, read_mart(con, "custom_input_sums", keys))
    if sums.is_empty():
        return pl.DataFrame(schema=custom_python.TABLE)
    return quality_table(custom=sums, task="ranking", min_labels=MIN_RATE_ROWS, by=BY)


# ---------------------------------------------------------------- service


def _service(
    spec: MonitorSpec, con: duckdb.DuckDBPyConnection, keys: Sequence[str], health: pl.DataFrame, windows: pl.DataFrame
) -> pl.DataFrame:
    sums = (
        with_all_versions(spec, health)
        .group_by(BY)
        .agg(pl.col("n_rows", "n_errors", "n_latency", "sum_latency_ms").sum())
    )
    parts = [_volume(sums, windows)]
    if spec.columns.status or (health["n_errors"] > 0).any():
        parts.append(_rate(sums, "error_rate", "n_errors", "n_rows"))
    if spec.columns.latency_ms or (health["n_latency"] > 0).any():
        parts.append(_latency(with_all_versions(spec, read_mart(con, "latency_bins", keys))))
        mean = sums.filter(pl.col("n_latency") > 0).select(
            *BY, value=pl.col("sum_latency_ms") / pl.col("n_latency"), n="n_latency"
        )
        parts.append(
            conform(mean.with_columns(column=pl.lit(""), metric=pl.lit("latency_mean_ms"), status=pl.lit("ok")))
        )
    parts.append(_rejected(sums, read_mart(con, "rejections", keys)))
    return pl.concat(parts)


def _volume(sums: pl.DataFrame, windows: pl.DataFrame) -> pl.DataFrame:
    """Predictions per window; a closed window without any has a row of its own."""
    counted = sums.select(*BY, "n_rows")
    empty = windows.join(counted.select("window_start").unique(), on="window_start", how="anti")
    zero = empty.select(
        "window_start",
        model_version=pl.lit("all"),
        segment=pl.lit("all"),
        n_rows=pl.lit(0, dtype=counted.schema["n_rows"]),
    )
    rows = pl.concat([counted, zero]).join(windows.select("window_start", "closed"), on="window_start", how="left")
    is_open = ~pl.col("closed")
    return conform(
        rows.select(
            *BY,
            column=pl.lit(""),
            metric=pl.lit("n_rows"),
            value=pl.col("n_rows").cast(pl.Float64),
            n="n_rows",
            status=pl.when(is_open).then(pl.lit("insufficient_data")).otherwise(pl.lit("ok")),
            reason=pl.when(is_open).then(pl.lit("the window is still open")),
        )
    )


def _latency(bins: pl.DataFrame) -> pl.DataFrame:
    """Quantiles from logarithmic bins of 2 %: each is exact to 1 %."""
    counted = bins.group_by(*BY, "bin").agg(pl.col("n").sum()).sort(*BY, "bin")
    running = counted.with_columns(rank=pl.col("n").cum_sum().over(BY), total=pl.col("n").sum().over(BY))
    parts = []
    for metric, level in LATENCY_QUANTILES.items():
        found = (
            running.filter(pl.col("rank") >= (level * pl.col("total")).ceil().clip(1))
            .group_by(BY)
            .agg(pl.col("bin").min(), pl.col("total").first())
        )
        few = pl.col("total") < MIN_RATE_ROWS
        parts.append(
            found.select(
                *BY,
                column=pl.lit(""),
                metric=pl.lit(metric),
                value=pl.lit(LATENCY_STEP).pow(pl.col("bin").cast(pl.Float64) - 0.5),
                n="total",
                status=pl.when(few).then(pl.lit("insufficient_data")).otherwise(pl.lit("ok")),
                reason=pl.when(few).then(pl.format("{} latencies, {} needed", "total", pl.lit(MIN_RATE_ROWS))),
            )
        )
    return conform(pl.concat(parts))


def _rejected(sums: pl.DataFrame, rejections: pl.DataFrame) -> pl.DataFrame:
    """Share of the rows that intake refused, of all that came."""
    refused = (
        rejections.filter(pl.col("severity") == "row", pl.col("kind") == "inferences")
        .group_by("window_start")
        .agg(n_refused=pl.col("n").sum())
    )
    accepted = sums.filter(pl.col("segment") == "all", pl.col("model_version") == "all").select(
        "window_start", "n_rows"
    )
    rows = accepted.join(refused, on="window_start", how="full", coalesce=True).with_columns(
        pl.col("n_rows", "n_refused").fill_null(0)
    )
    rows = rows.with_columns(
        n_all=pl.col("n_rows") + pl.col("n_refused"), model_version=pl.lit("all"), segment=pl.lit("all")
    )
    return _rate(rows, "rejected_rate", "n_refused", "n_all")


# ---------------------------------------------------------------- columns


def _column_rates(spec: MonitorSpec, moments: pl.DataFrame) -> pl.DataFrame:
    by = [*BY, "column"]
    counts = ["n_rows", "n_null", "n_not_finite", "n_contract", "sum_x", "sum_xx", "n_true"]
    sums = (
        moments.rename({"column_name": "column"})
        .group_by(by)
        .agg(pl.col(counts).sum(), pl.col("min_x").min(), pl.col("max_x").max(), numbers=pl.col("sum_x").count() > 0)
    )
    whole = sums.filter(pl.col("segment") == "all")
    parts = [_rate(sums, "null_rate", "n_null", "n_rows", by)]
    numeric = whole.filter("numbers")
    parts.append(_rate(numeric, "not_finite_rate", "n_not_finite", "n_rows", by))
    bound = [name for name, feature in spec.columns.features.items() if has_contract(feature)]
    parts.append(_rate(whole.filter(pl.col("column").is_in(bound)), "contract_rate", "n_contract", "n_rows", by))
    truth = [name for name, feature in spec.columns.features.items() if feature.kind == "boolean"]
    known = whole.filter(pl.col("column").is_in(truth)).with_columns(n_known=pl.col("n_rows") - pl.col("n_null"))
    parts.append(_rate(known, "true_rate", "n_true", "n_known", by))
    finite = numeric.with_columns(n=pl.col("n_rows") - pl.col("n_null") - pl.col("n_not_finite")).filter(
        pl.col("n") > 0
    )
    mean = pl.col("sum_x") / pl.col("n")
    spread = (pl.col("sum_xx") / pl.col("n") - mean**2).clip(0) * pl.col("n") / (pl.col("n") - 1)
    facts = {
        "mean": mean,
        "standard_deviation": pl.when(pl.col("n") > 1).then(spread.sqrt()),
        "minimum": pl.col("min_x"),
        "maximum": pl.col("max_x"),
    }
    for metric, value in facts.items():
        rows = finite.select(*by, metric=pl.lit(metric), value=value, n="n").filter(pl.col("value").is_finite())
        parts.append(conform(rows.with_columns(status=pl.lit("ok"))))
    return pl.concat(parts)


def has_contract(feature) -> bool:
    """Does the spec bound the values of this feature?"""
    return feature.min is not None or feature.max is not None or feature.allowed is not None or not feature.nullable


def _bin_rates(bins: pl.DataFrame, profiles: Mapping[str, ColumnProfile]) -> pl.DataFrame:
    """Shares of the rows with a value that fall outside the reference's range or in categories it does not hold."""
    by = [*BY, "column"]
    kinds = pl.concat(
        [pl.DataFrame(schema={"column_name": pl.String, "bin_id": pl.Int32, "bin_kind": pl.String})]
        + [p.to_frame().select("column_name", "bin_id", "bin_kind") for p in profiles.values()]
    )
    whole = (
        bins.filter(pl.col("segment") == "all")
        .join(kinds, on=["column_name", "bin_id"])
        .rename({"column_name": "column"})
    )
    outside, unseen, missing = (
        pl.col("bin_kind").is_in(["below", "above"]),
        pl.col("bin_kind") == "unseen",
        pl.col("bin_kind").is_in(["null", "not_finite"]),
    )
    sums = whole.group_by(by).agg(
        n_outside=pl.col("n").filter(outside).sum(),
        n_unseen=pl.col("n").filter(unseen).sum(),
        n_known=pl.col("n").filter(~missing).sum(),
    )
    numeric = [name for name, profile in profiles.items() if profile.kind == "numeric"]
    categorical = [name for name, profile in profiles.items() if profile.kind == "categorical"]
    return pl.concat(
        [
            _rate(sums.filter(pl.col("column").is_in(numeric)), "out_of_range_rate", "n_outside", "n_known", by),
            _rate(sums.filter(pl.col("column").is_in(categorical)), "unseen_rate", "n_unseen", "n_known", by),
        ]
    )


def _constants(
    bins: pl.DataFrame, moments: pl.DataFrame, profiles: Mapping[str, ColumnProfile], min_rows: int
) -> pl.DataFrame:
    """1 where a column that varied in the reference holds a single value in a window, else 0."""
    by = [*BY, "column"]
    varied = [
        name
        for name, profile in profiles.items()
        if profile.n_distinct > 1 and profile.kind in ("numeric", "categorical", "boolean")
    ]
    ends = (
        moments.filter(pl.col("segment") == "all")
        .rename({"column_name": "column"})
        .group_by(by)
        .agg(
            pl.col("min_x").min(),
            pl.col("max_x").max(),
            n=(pl.col("n_rows") - pl.col("n_null") - pl.col("n_not_finite")).sum(),
        )
    )
    single = [
        p.to_frame().filter(pl.col("bin_kind") == "category").select("column_name", "bin_id") for p in profiles.values()
    ]
    named = pl.concat([pl.DataFrame(schema={"column_name": pl.String, "bin_id": pl.Int32}), *single]).with_columns(
        is_one=pl.lit(True)
    )
    used = (
        bins.filter(pl.col("segment") == "all")
        .join(named, on=["column_name", "bin_id"], how="left")
        .rename({"column_name": "column"})
    )
    levels = used.group_by(by).agg(
        levels=pl.col("bin_id").filter(pl.col("is_one").fill_null(False)).n_unique(),
        others=pl.col("n").filter(pl.col("is_one").is_null()).sum(),
    )
    rows = ends.filter(pl.col("column").is_in(varied), pl.col("n") >= min_rows).join(levels, on=by, how="left")
    constant = (
        pl.when(pl.col("min_x").is_not_null())
        .then(pl.col("min_x") == pl.col("max_x"))
        .otherwise((pl.col("levels") == 1) & (pl.col("n") > 0))
    )
    rows = rows.with_columns(constant=constant.fill_null(False))
    return conform(
        rows.select(
            *by,
            metric=pl.lit("is_constant"),
            value=pl.col("constant").cast(pl.Float64),
            n="n",
            reference_value=pl.lit(0.0),
            status=pl.when("constant").then(pl.lit("warn")).otherwise(pl.lit("ok")),
            reason=pl.when("constant").then(pl.lit("a single value; the reference holds several")),
        )
    )


def _rate(rows: pl.DataFrame, metric: str, x: str, n: str, by: Sequence[str] = BY) -> pl.DataFrame:
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


# ---------------------------------------------------------------- rules and evidence


def _expected_unseen(judged: pl.DataFrame, profiles: Mapping[str, ColumnProfile]) -> pl.DataFrame:
    """New categories are compared with the share that is expected without any drift (Good-Turing), not with zero."""
    expected = pl.DataFrame(
        {
            "column": list(profiles),
            "metric": ["unseen_rate"] * len(profiles),
            "expected": [p.expected_unseen for p in profiles.values()],
        },
        schema={"column": pl.String, "metric": pl.String, "expected": pl.Float64},
    )
    frame = judged.join(expected, on=["column", "metric"], how="left")
    tolerable = (pl.col("ci_low") <= pl.col("expected")).fill_null(False) & (pl.col("status") == "warn")
    return conform(
        frame.with_columns(
            reference_value=pl.coalesce("expected", "reference_value"),
            bound_high=pl.max_horizontal("bound_high", "expected"),
            status=pl.when(tolerable).then(pl.lit("ok")).otherwise("status"),
            reason=pl.when(tolerable).then(None).otherwise("reason"),
        )
    )


def _hard_rules(spec: MonitorSpec, judged: pl.DataFrame) -> pl.DataFrame:
    """Deterministic rules outside the alert budget: no predictions, broken contract, too many missing values."""
    limits = pl.DataFrame(
        {
            "column": list(spec.alerts.max_null_rate),
            "metric": ["null_rate"] * len(spec.alerts.max_null_rate),
            "limit": list(spec.alerts.max_null_rate.values()),
        },
        schema={"column": pl.String, "metric": pl.String, "limit": pl.Float64},
    )
    frame = judged.join(limits, on=["column", "metric"], how="left")
    metric, value, whole = (
        pl.col("metric"),
        pl.col("value"),
        (pl.col("segment") == "all") & (pl.col("model_version") == "all"),
    )
    empty = (metric == "n_rows") & (value == 0) & (pl.col("status") != "insufficient_data")
    broken = (metric == "contract_rate") & (value > 0)
    missing = (metric == "null_rate") & (value > pl.col("limit")).fill_null(False) & whole
    reason = (
        pl.when(empty).then(pl.lit("no predictions in a closed window"))
        .when(broken).then(pl.format("{} of the rows break the column's contract", value.round(6)))
        .when(missing).then(pl.format("missing in {} of the rows, {} allowed", value.round(4), pl.col("limit")))
    )  # fmt: skip
    return conform(
        frame.with_columns(
            bound_high=pl.when(metric == "contract_rate")
            .then(0.0)
            .when(pl.col("limit").is_not_null())
            .then("limit")
            .otherwise("bound_high"),
            status=pl.when(empty | broken | missing).then(pl.lit("alert")).otherwise("status"),
            reason=pl.coalesce(reason, "reason"),
        )
    )


def _evidence(spec: MonitorSpec, judged: pl.DataFrame) -> pl.DataFrame:
    """Streams of the service; those of the columns come with the drift statistics of `metrics_py.streams`."""
    streams = ["n_rows", "rejected_rate"]
    streams += ["error_rate"] if spec.columns.status else []
    streams += ["latency_p95_ms"] if spec.columns.latency_ms else []
    rows = judged.filter(
        pl.col("metric").is_in(streams),
        pl.col("column") == "",
        pl.col("segment") == "all",
        pl.col("model_version") == "all",
    )
    n, value = pl.col("n").cast(pl.Float64), pl.col("value")
    successes = value * n
    stabilised = (
        pl.when(pl.col("metric") == "n_rows").then((value + 1).log())
        .when(pl.col("metric") == "latency_p95_ms").then(value.log())
        .otherwise(((successes + 0.375) / (n + 0.75)).sqrt().arcsin())
    )  # fmt: skip
    variance = (
        pl.when(pl.col("metric") == "n_rows").then(1 / (value + 1))
        .when(pl.col("metric") == "latency_p95_ms").then(pl.lit(0.0))
        .otherwise(1 / (4 * n))
    )  # fmt: skip
    usable = pl.col("status") != "insufficient_data"
    return rows.select(
        asset=pl.lit(ASSET),
        column=pl.lit(""),
        statistic="metric",
        window_start="window_start",
        value=pl.when(usable).then(stabilised),
        display_value="value",
        n=n,
        variance=pl.when(usable).then(variance),
        reason="reason",
    ).cast(dict(EVIDENCE))
