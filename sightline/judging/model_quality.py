"""Realised quality: the metrics of the task by window, segment and model version, from the label-side aggregates."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import duckdb
import polars as pl

from metrics_py.quality.areas import exact_values
from metrics_py.quality.metrics import quality_metric
from metrics_py.quality.score_histograms import N_SCORE_BINS
from metrics_py.quality.table import quality_table
from sightline.home import MonitorPaths
from sightline.judging import corrected_quality, custom_python, custom_sql, drift, label_pace, maturity
from sightline.judging.estimate_audit import audit
from sightline.judging.frames import BY, EVIDENCE, JUDGED, SIGN, Judged, Work, conform, quality_evidence, scope_of
from sightline.judging.label_rates import at_one_age, label_rates
from sightline.judging.marts import ALL_VERSIONS, read_areas, read_mart, with_all_versions
from sightline.judging.never_labelled import with_bounds_of_missing
from sightline.judging.query_labels import with_incomplete
from sightline.judging.reference_bounds import with_bounds
from sightline.judging.scales import on_scale, scales
from sightline.judging.sliding import as_sums, ends_of, parts_of, sums_at_once
from sightline.spec import plan
from sightline.spec.model import MonitorSpec
from sightline.spec.shadows import is_production
from sightline.spec.stretches import SlidingWindow, sliding_windows
from sightline.spec.windows import closes_at, matures_at

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
    """Quality of every window of a run, and drift of the label; windows without any prediction have no rows.

    Rows over sliding windows (`quality.windows`) are also of windows after those of the run: of published ones that
    hold one of them.
    """
    spec, paths, con, keys, profiles, now = work.spec, work.paths, work.con, work.keys, work.profiles, work.now
    label = {name: profile for name, profile in profiles.items() if name == "@label"}
    moved = drift.judge_bins(spec, con, "label_bins", keys, label, ASSET)
    known = maturity.delays(spec, con, now)
    quality = _quality(spec, paths, con, keys, now, known)
    late = maturity.immature(spec, keys, now, known)
    told = maturity.only_told(moved.judgements, [*late, *known.lacking()], maturity.still_coming(spec, known, late))
    moved = Judged(told, _without(moved.evidence, late))
    audited = audit(spec, paths, quality.judgements)
    sliding = [_sliding(work, known, over) for over in sliding_windows(spec)]
    parts = (quality, moved, audited, label_pace.judge(work, known), *sliding)
    return Judged(
        pl.concat([p.judgements for p in parts]),
        pl.concat([p.evidence for p in parts]),
        pl.concat([p.others for p in parts]),
    )


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
    exact = exact_values(read_areas(spec, con, keys), BY, spec.model.task)
    found = _of_labels(spec, con, keys, exact)
    if found is None:
        return Judged(conform(pl.DataFrame(schema=dict.fromkeys(BY, pl.String))), pl.DataFrame(schema=EVIDENCE))
    table, label_counts = found
    own = custom_python.evaluate(spec, paths, con, keys, needs_label=True, min_rows=spec.quality.min_labels)
    counts = label_counts.filter(model_version=ALL_VERSIONS, segment="all")
    n = pl.col("n_predictions" if spec.is_silence_negative else "n_labelled")
    counts = counts.group_by("window_start").agg(n=n.sum().cast(pl.Int64))
    gaps = custom_sql.without_value(con, spec, table, counts, needs_label=True)
    table = pl.concat([table, own.table, gaps], how="diagonal_relaxed")
    late = maturity.immature(spec, keys, now, known)
    rates = label_rates(label_counts)
    table = _in_range(spec, corrected_quality.corrected(spec, con, keys, now, table, known))
    young = table.filter(pl.col(corrected_quality.NAIVE).is_not_null()).select(BY).unique()
    told = told_areas(table, exact.join(young, on=list(BY), how="anti", nulls_equal=True))
    judged = conform(pl.concat([told, rates], how="diagonal_relaxed").with_columns(column=pl.lit("")))
    worse = {**directions(spec), **own.directions}
    not_due = pl.col("window_start").is_in(late) & (pl.col("metric") == "labelled_rate")
    waiting = maturity.only_told(judged.filter(not_due), late, maturity.still_coming(spec, known, late))
    judged = with_bounds(spec, paths, ASSET, judged.filter(~not_due), worse, {**limits(spec), **own.limits})
    judged = with_bounds_of_missing(spec, con, judged, now)
    waiting_for = [*late, *known.lacking()]
    streams = pl.concat(
        [_streams(spec, table, waiting_for), _without(at_one_age(spec, con, rates, known), late)],
        how="diagonal_relaxed",
    ).filter(pl.col("metric").is_in(plan.quality_metrics(spec)))
    return Judged(_not_due(spec, pl.concat([judged, waiting]), keys, now), quality_evidence(streams, ASSET))


def _of_labels(
    spec: MonitorSpec,
    con: duckdb.DuckDBPyConnection,
    keys: Sequence[str],
    exact: pl.DataFrame | None = None,
    parts: pl.DataFrame | None = None,
) -> tuple[pl.DataFrame, pl.DataFrame] | None:
    """Quality by the labels that are there, and label counts; None without any row.

    `parts` names the windows that others are sums of (``window_start, part``); default: each is its own.
    """
    marts = {
        name: _read(spec, con, name, keys)
        for name in ("confusion", "score_label_bins", "quality_sums", "custom_sums", "label_counts")
    }
    if all(mart.is_empty() for mart in marts.values()):
        return None
    if parts is not None:
        marts = {name: as_sums(mart, parts) for name, mart in marts.items()}
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
    table = with_incomplete(table) if spec.model.task == "ranking" else table
    return table, marts["label_counts"]


def _streams(spec: MonitorSpec, table: pl.DataFrame, late: Sequence[datetime]) -> pl.DataFrame:
    """What the alert engine may see: on its scale, and not before it is known without bias."""
    scaled = on_scale(table, scales(spec))
    waits = pl.col("window_start").is_in(list(late)) & (pl.col("is_biased") | pl.col("stabilised_value").is_null())
    return scaled.filter(~waits)


def _sliding(work: Work, known: maturity.Delays, over: SlidingWindow) -> Judged:
    """Quality of the sliding windows of one length that hold a window of the run.

    Sums of the same aggregates; evidence is a block's, so that no row is counted twice.
    """
    spec, now = work.spec, work.now
    ends = ends_of(spec, work.paths, _begun(work), over)
    parcels = [_sums(work, known, parcel, over) for parcel in sums_at_once(ends, over)]
    tables = [table for table in parcels if table is not None]
    whole = scope_of(spec, ends, over.ending)
    if not tables:
        return Judged(pl.DataFrame(schema=JUDGED), pl.DataFrame(schema=EVIDENCE), whole)
    table, named = pl.concat(tables), pl.col("metric") + over.ending
    judged = conform(told_areas(table, table.select(*BY, "metric").clear()).with_columns(named, column=pl.lit("")))
    worse = {metric + over.ending: side for metric, side in directions(spec).items()}
    ranges = {metric + over.ending: limit for metric, limit in limits(spec).items()}
    judged = with_bounds(spec, work.paths, ASSET, judged, worse, ranges, over)
    judged = with_bounds_of_missing(spec, work.con, judged, now, parts_of(spec, ends, over), over.ending)
    blocks = _streams(spec, table, [*maturity.immature(spec, ends, now, known), *known.lacking()])
    blocks = blocks.filter(over.ends_block(spec, pl.col("window_start"))).with_columns(named)
    return Judged(_not_due(spec, judged, ends, now), quality_evidence(blocks, ASSET), whole)


def _begun(work: Work) -> list[str]:
    """Windows of the run that have closed, or hold predictions by now: with an empty one that is open none ends yet."""
    filled = set(read_mart(work.con, "label_counts", work.keys).filter(is_production(work.spec))["window_start"])
    starts = {key: work.spec.window_start(key).replace(tzinfo=None) for key in work.keys}
    return [key for key, start in starts.items() if start in filled or work.now >= closes_at(work.spec, key)]


def _sums(work: Work, known: maturity.Delays, ends: Sequence[str], over: SlidingWindow) -> pl.DataFrame | None:
    """Metrics of some sliding windows, corrected; None where none of them holds any row."""
    spec, parts = work.spec, parts_of(work.spec, ends, over)
    found = _of_labels(spec, work.con, [spec.key(start) for start in parts["part"].unique()], parts=parts)
    if found is None:
        return None
    table = found[0].filter(pl.col("metric").is_in(plan.sliding_metrics(spec)))
    return _in_range(spec, corrected_quality.corrected(spec, work.con, ends, work.now, table, known, parts))


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
