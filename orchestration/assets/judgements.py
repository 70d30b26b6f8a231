"""Data quality, drift, realised and estimated quality: aggregates judged against the reference, as revisions."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import dagster as dg
import polars as pl

from metrics_py.profile.column_profile import ColumnProfile
from metrics_py.wording import number
from orchestration import freshness, partitions, silent_windows
from orchestration.metadata import column_schema, markdown_table, sparkline
from orchestration.monitor import Monitor
from sightline.alerts import decisions
from sightline.clock import utc_now
from sightline.home import MonitorPaths
from sightline.judging import data_quality, drift, estimated_quality, evidence, maturity, model_quality
from sightline.judging.distributions import distributions
from sightline.judging.estimate_record import outdated
from sightline.judging.estimators import marts_of
from sightline.judging.frames import Judged, Work
from sightline.judging.marts import ALL_VERSIONS
from sightline.judging.weights import told_weights
from sightline.lake.store.progress import open_progress
from sightline.results.distributions import append_distributions
from sightline.results.evidence import append_evidence, read_evidence
from sightline.results.judgements import JUDGEMENT_SCHEMA, append_judgements, read_judgements
from sightline.results.label_completion import publish_law, publish_provisional
from sightline.results.learnt_delays import left_open, publish_delays
from sightline.results.withdrawn import is_withdrawn
from sightline.spec import plan
from sightline.spec.flows import DELAYED, ESTIMATES, flow_of, is_estimated
from sightline.spec.model import MonitorSpec
from sightline.warehouse import connect
from sightline.warehouse.reference import load_reference, reference_id

MARTS = {
    "data_quality": (
        "service_health",
        "latency_bins",
        "rejections",
        "column_moments",
        "column_bins",
        "custom_input_sums",
    ),
    "drift": ("column_bins", "column_moments", "rejections"),
    "model_quality": (
        "confusion",
        "score_label_bins",
        "score_areas",
        "quality_sums",
        "quality_cells",
        "label_arrivals",
        "custom_sums",
        "custom_cells",
        "class_score_cells",
        "label_counts",
        "label_bins",
        "label_moments",
    ),
}
SHOWN_WINDOWS = 60
MAX_PLOTTED = 40


JUDGES: Mapping[str, Callable[[Work], Judged]] = {
    "data_quality": data_quality.judge,
    "drift": drift.judge_run,
    "model_quality": model_quality.judge,
    "estimated_quality": estimated_quality.judge,
}


def build(monitor: Monitor, asset: str) -> dg.AssetsDefinition:
    """One judgement asset of a monitor."""
    flow = flow_of(asset)
    marts = marts_of(monitor.spec) if asset == ESTIMATES else MARTS[asset]
    upstream = [monitor.key(name) for name in marts if any(name in models for models in monitor.models.values())]
    if asset == "model_quality" and is_estimated(monitor.spec):
        upstream.append(monitor.key(ESTIMATES))

    @dg.asset(
        **monitor.asset_args(asset),
        deps=[*upstream, monitor.key("reference")],
        description=plan.assets(monitor.spec)[asset],
        metadata={
            "dagster/column_schema": column_schema(JUDGEMENT_SCHEMA),
            "table": f"data/{monitor.id}/results/judgements/{asset}",
        },
        freshness_policy=freshness.policy(monitor.current_spec, asset),
    )
    def judgement(context: dg.AssetExecutionContext) -> None:
        spec, paths = monitor.current_spec, monitor.paths
        keys, now = list(partitions.windows_of(context)), utc_now()
        if flow == DELAYED.name:
            with connect(paths, read_only=True) as con:  # first of all: what is due goes by what is learnt
                publish_delays(paths, maturity.delays(left_open(spec), con, now).learnt(spec.window))
            spec = monitor.current_spec
        silent_windows.report(context, monitor, flow, [monitor.key(asset)], keys)
        frozen = load_reference(paths)
        reference = frozen.columns if frozen else {}
        with connect(paths, read_only=True) as con:
            work = Work(spec, paths, con, keys, reference, now)
            judged = told_weights(work, JUDGES[asset](work))
            if asset == drift.ASSET and reference:
                counted = distributions(spec, con, keys, reference, reference_id(paths, with_label=False))
                append_distributions(paths, counted, context.run.run_id, now)
            if flow == DELAYED.name:
                publish_law(paths, maturity.delays(spec, con, now).law)
                starts = [spec.window_start(key).replace(tzinfo=None) for key in keys]
                publish_provisional(paths, judged.judgements.filter(pl.col("window_start").is_in(starts)), starts)
        scope = judged.scope(spec, keys)
        written = append_judgements(paths, asset, of_monitor(spec, judged), context.run.run_id, now, scope)
        if asset == "model_quality" and is_estimated(spec):
            tell_estimates(spec, paths, keys, reference, now, context.run.run_id)
        mature = flow == DELAYED.name
        found = evidence.publishable(
            spec,
            judged.evidence,
            judged.windows(spec, keys),
            now,
            decisions.published_through(paths),
            mature=mature,
        )
        known = reference_id(paths, with_label=flow == DELAYED.name)
        found = found.with_columns(reference=evidence.rests_on(known))
        gone = evidence.withdrawals(asset, judged, scope, read_evidence(paths))
        append_evidence(paths, pl.concat([found, gone], how="diagonal_relaxed"), context.run.run_id, keys)
        with open_progress(paths.ledger) as progress:
            progress.write_judged(flow, asset, keys, now, context.run.run_id)
        describe(context, monitor, asset, judged.judgements, keys, written)

    return judgement


def of_monitor(spec: MonitorSpec, judged: Judged) -> pl.DataFrame:
    """Judgements as they are published."""
    end = pl.col("window_start") + pl.lit(spec.window, dtype=pl.Duration("us"))
    return judged.judgements.with_columns(monitor=pl.lit(spec.id), window_end=end)


def tell_estimates(
    spec: MonitorSpec,
    paths: MonitorPaths,
    keys: Sequence[str],
    reference: Mapping[str, ColumnProfile],
    now: datetime,
    run_id: str,
) -> None:
    """Estimates of later windows, whose own labels may still be to come, say what the audits of these make of them."""
    stale = outdated(spec, paths, keys)
    if not stale:
        return
    with connect(paths, read_only=True) as con:
        work = Work(spec, paths, con, stale, reference, now)
        judged = told_weights(work, JUDGES[ESTIMATES](work))
    append_judgements(paths, ESTIMATES, of_monitor(spec, judged), run_id, now, judged.scope(spec, stale))


def describe(
    context: dg.AssetExecutionContext,
    monitor: Monitor,
    asset: str,
    judged: pl.DataFrame,
    keys: Sequence[str],
    written: int,
) -> None:
    """The main numbers as metadata by partition, to plot; a table with their recent course."""
    spec = monitor.spec
    whole = judged.filter(pl.col("segment") == "all", pl.col("model_version") == ALL_VERSIONS)
    plotted = whole.filter(pl.col("value").is_not_null() & is_plotted(asset, spec.drift.method)).with_columns(
        name=label()
    )
    names = plotted["name"].unique().sort().to_list()[:MAX_PLOTTED]
    values = (
        {
            row["window_start"]: row
            for row in plotted.filter(pl.col("name").is_in(names))
            .pivot("name", index="window_start", values="value")
            .iter_rows(named=True)
        }
        if names
        else {}
    )
    counts = {
        row["window_start"]: row
        for row in judged.group_by("window_start")
        .agg(
            rows=pl.len(),
            warn=(pl.col("status") == "warn").sum(),
            alert=(pl.col("status") == "alert").sum(),
            insufficient=(pl.col("status") == "insufficient_data").sum(),
        )
        .iter_rows(named=True)
    }
    for key in keys:
        start = spec.window_start(key).replace(tzinfo=None)
        row, count = values.get(start, {}), counts.get(start, {"rows": 0, "warn": 0, "alert": 0, "insufficient": 0})
        metadata = {name: row[name] for name in names if row.get(name) is not None}
        metadata |= {
            "dagster/partition_row_count": count["rows"],
            "judged warn": count["warn"],
            "judged alert": count["alert"],
            "not enough data": count["insufficient"],
        }
        context.add_asset_metadata(metadata, partition_key=key)
    context.add_asset_metadata(
        {"rows published": written, "overview": overview(monitor, asset, keys)}, partition_key=max(keys)
    )


def is_plotted(asset: str, method: str) -> pl.Expr:
    """Which judgements become metadata.

    The deciding distance of every column, the quality metrics, the service and the missing rates do.
    """
    metric = pl.col("metric")
    if asset == "drift":
        return metric == method
    if asset in ("model_quality", "estimated_quality"):
        return (pl.col("column") == "") | (metric == method)
    return metric.is_in(["n_rows", "error_rate", "rejected_rate", "latency_p50_ms", "latency_p95_ms", "null_rate"])


def label() -> pl.Expr:
    """`roc_auc`, `psi: carrier`."""
    return pl.when(pl.col("column") == "").then("metric").otherwise(pl.format("{}: {}", "metric", "column"))


def overview(monitor: Monitor, asset: str, keys: Sequence[str]) -> dg.MarkdownMetadataValue:
    """Latest value and recent course of the main numbers, also before this run's windows."""
    spec = monitor.spec
    last = spec.window_start(max(keys))
    found = read_judgements(
        monitor.paths,
        asset=asset,
        start=last - (SHOWN_WINDOWS - 1) * spec.window,
        end=last + spec.window,
        segment="all",
    )
    found = (
        found.filter(~is_withdrawn(), pl.col("model_version") == ALL_VERSIONS, is_plotted(asset, spec.drift.method))
        .with_columns(name=label())
        .sort("window_start")
    )
    rows = [
        (
            name,
            number(part["value"][-1]),
            number(part["reference_value"][-1]),
            part["status"][-1],
            sparkline(part["value"].to_list()),
        )
        for (name,), part in found.group_by(["name"], maintain_order=True)
    ]
    primary = plan.primary_metric(spec)
    rows.sort(key=lambda row: (row[0] != primary, row[0]))
    return markdown_table(("judged", f"at {max(keys)}", "reference", "status", f"last {SHOWN_WINDOWS} windows"), rows)
