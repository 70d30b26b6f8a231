"""Realised quality: the metrics of the task by window, segment and model version, from the label-side aggregates."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import duckdb
import polars as pl

from metrics_py.quality.areas import exact_values
from metrics_py.quality.classification import N_SCORE_BINS
from metrics_py.quality.metrics import quality_metric
from metrics_py.quality.table import quality_table
from sightline.home import MonitorPaths
from sightline.judging import custom_python, custom_sql, drift, maturity
from sightline.judging.estimate_audit import audit
from sightline.judging.frames import BY, EVIDENCE, SIGN, Judged, Work, conform, quality_evidence
from sightline.judging.marts import ALL_VERSIONS, read_areas, read_mart, with_all_versions
from sightline.judging.reference_bounds import with_bounds
from sightline.judging.scales import on_scale, scales
from sightline.spec import plan
from sightline.spec.model import MonitorSpec
from sightline.spec.windows import matures_at

ASSET = "model_quality"
NOT_DUE = "the labels are not due yet"
SMALLEST_TOLD = 5e-4
EXACT = "of the scores themselves"


def directions(spec: MonitorSpec) -> dict[str, int]:
    """Metric -> its worse side: 1 above, -1 below, 0 both."""
    task, own = spec.model.task, {metric.name: SIGN[metric.direction] for metric in spec.metrics if metric.needs_label}
    built_in = {name: SIGN[quality_metric(name, task).direction] for name in plan.quality_metrics(spec)}
    return built_in | own


def limits(spec: MonitorSpec) -> dict[str, tuple[float, float]]:
    """Metric -> its range, to which bounds are cut."""
    return {name: quality_metric(name, spec.model.task).range for name in plan.quality_metrics(spec)}


def judge(work: Work) -> Judged:
    """Quality of every window of a run, and drift of the label; windows without any prediction have no rows."""
    spec, paths, con, keys, profiles, now = work.spec, work.paths, work.con, work.keys, work.profiles, work.now
    label = {name: profile for name, profile in profiles.items() if name == "@label"}
    moved = drift.judge_bins(spec, con, "label_bins", keys, label, ASSET)
    known = maturity.delays(spec, con, now)
    quality = _quality(spec, paths, con, keys, now, known)
    late = maturity.immature(spec, keys, now, known)
    told = maturity.only_told(moved.judgements, [*late, *known.lacking()])
    moved = Judged(told, _without(moved.evidence, late))
    audited = audit(spec, paths, quality.judgements)
    parts = (quality, moved, audited)
    return Judged(pl.concat([p.judgements for p in parts]), pl.concat([p.evidence for p in parts]))


def _without(rows: pl.DataFrame, windows: Sequence[datetime]) -> pl.DataFrame:
    return rows.filter(~pl.col("window_start").is_in(list(windows)))


def _quality(
    spec: MonitorSpec,
    paths: MonitorPaths,
    con: duckdb.DuckDBPyConnection,
    keys: Sequence[str],
    now: datetime,
    known: maturity.Delays,
) -> Judged:
    marts = {
        name: _read(spec, con, name, keys)
        for name in ("confusion", "score_label_bins", "quality_sums", "custom_sums", "label_counts")
    }
    exact = exact_values(read_areas(spec, con, keys), BY, spec.model.task)
    if all(mart.is_empty() for mart in marts.values()):
        return Judged(conform(pl.DataFrame(schema=dict.fromkeys(BY, pl.String))), pl.DataFrame(schema=EVIDENCE))
    table = quality_table(
        marts["confusion"],
        marts["score_label_bins"],
        marts["quality_sums"],
        marts["custom_sums"],
        marts["label_counts"],
        task=spec.model.task,
        positive=spec.positive_class,
        min_labels=spec.quality.min_labels,
        by=BY,
        exact=exact,
    )
    own = custom_python.evaluate(spec, paths, con, keys, needs_label=True, min_rows=spec.quality.min_labels)
    counts = marts["label_counts"].filter(model_version=ALL_VERSIONS, segment="all")
    counts = counts.group_by("window_start").agg(n=pl.col("n_labelled").sum().cast(pl.Int64))
    gaps = custom_sql.without_value(spec, table, counts, needs_label=True)
    table = pl.concat([table, own.table, gaps], how="diagonal_relaxed")
    late = maturity.immature(spec, keys, now, known)
    rates = _label_rates(marts["label_counts"])
    table = _in_range(spec, maturity.corrected(spec, con, keys, now, table, known))
    young = table.filter(pl.col(maturity.NAIVE).is_not_null()).select(BY).unique()
    told = told_areas(table, exact.join(young, on=list(BY), how="anti", nulls_equal=True))
    judged = conform(pl.concat([told, rates], how="diagonal_relaxed").with_columns(column=pl.lit("")))
    worse = {**directions(spec), **own.directions}
    not_due = pl.col("window_start").is_in(late) & (pl.col("metric") == "labelled_rate")
    waiting = maturity.only_told(judged.filter(not_due), late)
    judged = with_bounds(spec, paths, ASSET, judged.filter(~not_due), worse, {**limits(spec), **own.limits})
    table = on_scale(table, scales(spec))
    waits = pl.col("window_start").is_in(late) & (pl.col("is_biased") | pl.col("stabilised_value").is_null())
    streams = pl.concat([table.filter(~waits), _without(rates, late)], how="diagonal_relaxed").filter(
        pl.col("metric").is_in(plan.quality_metrics(spec))
    )
    return Judged(_not_due(spec, pl.concat([judged, waiting]), keys, now), quality_evidence(streams, ASSET))


def _in_range(spec: MonitorSpec, table: pl.DataFrame) -> pl.DataFrame:
    """Intervals that were widened for missing labels end where the metric does."""
    ranges = limits(spec)
    least, most = (
        pl.col("metric").replace_strict(
            {m: float(r[i]) for m, r in ranges.items()}, default=None, return_dtype=pl.Float64
        )
        for i in (0, 1)
    )
    return table.with_columns(
        ci_low=pl.max_horizontal("ci_low", pl.when(pl.col("ci_low").is_not_null()).then(least.cast(pl.Float64))),
        ci_high=pl.min_horizontal("ci_high", pl.when(pl.col("ci_high").is_not_null()).then(most.cast(pl.Float64))),
    )


def told_areas(table: pl.DataFrame, exact: pl.DataFrame) -> pl.DataFrame:
    """Say beside a value whether it is of the scores themselves, or how far from that one of binned scores can be.

    Parameters
    ----------
    table : DataFrame
        As of `metrics_py.quality.table.quality_table`.
    exact : DataFrame
        Values that it was given: keys and ``metric``.
    """
    bound = pl.col("binning_bound")
    told = pl.format("of {} score bins: the value of the scores themselves is within {}", N_SCORE_BINS, bound.round(4))
    is_ok = (pl.col("status") == "ok") & pl.col("reason").is_null()
    is_told = is_ok & (bound >= SMALLEST_TOLD)
    keys = [name for name in exact.columns if name != "value"]
    found = table.join(exact.select(*keys, is_exact=True), on=keys, how="left", nulls_equal=True, maintain_order="left")
    is_exact = is_ok & pl.col("is_exact").fill_null(False)
    return found.with_columns(
        reason=pl.when(is_exact).then(pl.lit(EXACT)).when(is_told).then(told).otherwise("reason"),
        reason_code=pl.when(is_exact)
        .then(pl.lit("exact"))
        .when(is_told)
        .then(pl.lit("binned"))
        .otherwise("reason_code"),
    ).drop("is_exact")


def _not_due(spec: MonitorSpec, judged: pl.DataFrame, keys: Sequence[str], now: datetime) -> pl.DataFrame:
    """Say of windows whose labels are not due yet that this is why there is not enough."""
    waits = pl.col("window_start").is_in(_early(spec, keys, now)) & (pl.col("status") == "insufficient_data")
    return judged.with_columns(
        reason=pl.when(waits).then(pl.format("{}: {}", pl.lit(NOT_DUE), "reason")).otherwise("reason"),
        reason_code=pl.when(waits).then(pl.lit("labels_not_due")).otherwise("reason_code"),
    )


def _early(spec: MonitorSpec, keys: Sequence[str], now: datetime) -> list[datetime]:
    """Windows (naive UTC) whose labels are not due yet."""
    return [spec.window_start(key).replace(tzinfo=None) for key in keys if now < matures_at(spec, key)]


def _read(spec: MonitorSpec, con: duckdb.DuckDBPyConnection, name: str, keys: Sequence[str]) -> pl.DataFrame:
    return with_all_versions(spec, read_mart(con, name, keys))


def _label_rates(counts: pl.DataFrame) -> pl.DataFrame:
    """Share of predictions that have a label by now, on the arcsine scale for the engine.

    It is judged when the labels are due.
    """
    sums = counts.group_by(BY).agg(
        pl.col("n_predictions").sum().cast(pl.Int64), pl.col("n_labelled").sum().cast(pl.Int64)
    )
    n, labelled = pl.col("n_predictions"), pl.col("n_labelled")
    return sums.filter(n > 0).select(
        *BY,
        metric=pl.lit("labelled_rate"),
        value=labelled / n,
        n=n,
        status=pl.lit("ok"),
        reason=pl.lit(None, dtype=pl.String),
        reason_code=pl.lit(None, dtype=pl.String),
        stabilised_value=((labelled + 0.375) / (n + 0.75)).sqrt().arcsin(),
        variance=1 / (4 * n),
    )
