"""Service health: volume, errors, latency and refused rows of every window."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import polars as pl

from sightline.judging.frames import BY, EVIDENCE, MIN_RATE_ROWS, conform, rate
from sightline.judging.marts import read_mart, with_all_versions
from sightline.spec.model import MonitorSpec
from sightline.spec.shadows import production_sql

LATENCY_STEP = 1.02
LATENCY_QUANTILES = {"latency_p50_ms": 0.5, "latency_p95_ms": 0.95, "latency_p99_ms": 0.99}


def judge_service(
    spec: MonitorSpec, con: duckdb.DuckDBPyConnection, keys: Sequence[str], health: pl.DataFrame, windows: pl.DataFrame
) -> pl.DataFrame:
    """Judgements of the service, shape `JUDGED`, before they are compared with the reference.

    Parameters
    ----------
    spec : MonitorSpec
    con : duckdb.DuckDBPyConnection
        The monitor's warehouse.
    keys : sequence of str
        Window keys.
    health : DataFrame
        The mart `service_health` for these windows.
    windows : DataFrame
        ``window_start, closed``.
    """
    sums = (
        with_all_versions(spec, health)
        .group_by(BY)
        .agg(pl.col("n_rows", "n_errors", "n_latency", "sum_latency_ms").sum())
    )
    parts = [_volume(sums, windows)]
    if spec.columns.status or _had_errors(spec, con):
        parts.append(rate(sums, "error_rate", "n_errors", "n_rows"))
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


def _had_errors(spec: MonitorSpec, con: duckdb.DuckDBPyConnection) -> bool:
    """Whether a call ever failed: what a window is told does not depend on those that are judged along with it."""
    rows = f"select 1 from marts.service_health where n_errors > 0 and {production_sql(spec)} limit 1"  # noqa: S608 (quoted)
    found = con.sql(rows)
    return bool(found.fetchall())


def _volume(sums: pl.DataFrame, windows: pl.DataFrame) -> pl.DataFrame:
    """Predictions per window; a closed window without any has a row of its own, of an open one nothing is known yet."""
    counted = sums.select(*BY, "n_rows")
    of_production = counted.filter(model_version="all").select("window_start").unique()
    empty = windows.filter("closed").join(of_production, on="window_start", how="anti")
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
            reason_code=pl.when(is_open).then(pl.lit("window_open")),
        )
    )


def _latency(bins: pl.DataFrame) -> pl.DataFrame:
    """Quantiles from logarithmic bins of 2 %: each is exact to 1 %."""
    counted = bins.group_by(*BY, "bin").agg(pl.col("n").sum()).sort(*BY, "bin")
    running = counted.with_columns(rank=pl.col("n").cum_sum().over(BY), total=pl.col("n").sum().over(BY))
    parts: list[pl.DataFrame] = []
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
                reason_code=pl.when(few).then(pl.lit("too_few_rows")),
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
    return rate(rows, "rejected_rate", "n_refused", "n_all")


def service_evidence(spec: MonitorSpec, judged: pl.DataFrame) -> pl.DataFrame:
    """Streams of the service.

    Those of the columns come with the drift statistics of `metrics_py.drift.daily_statistics`.
    """
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
        asset=pl.lit("data_quality"),
        column=pl.lit(""),
        statistic="metric",
        window_start="window_start",
        value=pl.when(usable).then(stabilised),
        display_value="value",
        n=n,
        variance=pl.when(usable).then(variance),
        reason="reason",
        reason_code="reason_code",
    ).cast(EVIDENCE)
