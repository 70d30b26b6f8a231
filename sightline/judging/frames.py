"""What all judgements share: reading marts once, the tidy shape, and bounds from the reference's own windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import duckdb
import polars as pl

from metrics_py.intervals import wilson
from metrics_py.profile.column_profile import ColumnProfile
from metrics_py.wording import count
from sightline.home import MonitorPaths
from sightline.judging.marts import ALL_VERSIONS
from sightline.results.withdrawn import SCOPE
from sightline.spec.model import MonitorSpec

SIGN = {"higher_is_better": -1, "lower_is_better": 1, "none": 0}
"""Direction of a metric -> its worse side: 1 above, -1 below, 0 both."""

BY = ("window_start", "model_version", "segment")
"""Groups that are judged apart."""

MIN_RATE_ROWS = 20
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
        "reason_code": pl.String(),
        "naive_value": pl.Float64(),
        "maturity": pl.Float64(),
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
        "reason_code": pl.String(),
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
    """What an asset found.

    `judgements` have shape `JUDGED`, `evidence` has shape `EVIDENCE` (segment and version 'all' only). `others` is what
    was judged completely beside the windows of the run, shape `SCOPE`.
    """

    judgements: pl.DataFrame
    evidence: pl.DataFrame
    others: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=SCOPE))

    def scope(self, spec: MonitorSpec, keys: Sequence[str]) -> pl.DataFrame:
        """What was judged completely, windows of the run and others, shape `SCOPE`."""
        return pl.concat([scope_of(spec, keys), self.others])

    def windows(self, spec: MonitorSpec, keys: Sequence[str]) -> list[str]:
        """Keys of the windows of the run and of the others, in time order."""
        return sorted({*keys, *(spec.key(start) for start in self.others["window_start"])})


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
        reason_code="reason_code",
    ).cast(EVIDENCE)


def rate(rows: pl.DataFrame, metric: str, x: str, n: str, by: Sequence[str] = BY) -> pl.DataFrame:
    """A share with its Wilson interval; too few rows are told as such."""
    counts = rows.filter(pl.col(n) > 0)
    low, high = wilson(counts[x].to_numpy(), counts[n].to_numpy())
    few = pl.col(n) < MIN_RATE_ROWS
    told = [f"{count(int(rows_here), 'rows')}, {MIN_RATE_ROWS} needed" for rows_here in counts[n]]
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
            reason=pl.when(few).then(pl.Series(told, dtype=pl.String)),
            reason_code=pl.when(few).then(pl.lit("too_few_rows")),
        )
    )


def scope_of(spec: MonitorSpec, keys: Sequence[str], ending: str = "") -> pl.DataFrame:
    """Windows, and with what the names of the metrics end of which all values were judged, shape `SCOPE`."""
    starts = [spec.window_start(key).replace(tzinfo=None) for key in keys]
    return pl.DataFrame({"window_start": starts, "ending": [ending] * len(starts)}, schema=SCOPE)


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
