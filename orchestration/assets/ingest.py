"""`inferences` and `labels`: what has landed becomes partitions of the lake."""

import dagster as dg

from metrics_py.wording import count
from orchestration import freshness, partitions, silent_windows, upstream
from orchestration.metadata import column_schema, markdown_table
from orchestration.monitor import Monitor
from sightline.clock import utc_now
from sightline.lake.intake.fetching import fetch_all
from sightline.lake.intake.growing import told
from sightline.lake.intake.load import intake
from sightline.lake.intake.report import IntakeReport
from sightline.lake.store.progress import open_progress
from sightline.lake.store.schema import lake_schema
from sightline.spec.flows import FLOWS

DESCRIPTIONS = {
    "inferences": (
        "What the model answered: one row per prediction, deduplicated by id and version, filed by the window of the "
        "prediction."
    ),
    "labels": "What turned out to be true: every revision of every label, filed by the window of its prediction.",
}


def build(monitor: Monitor, kind: str) -> dg.AssetsDefinition:
    """The asset ``inferences`` or ``labels`` of a monitor."""
    before = [*([monitor.key("inferences")] if kind == "labels" else []), *upstream.keys(monitor, kind)]
    flow = next(flow.name for flow in FLOWS.values() if flow.intake == kind)

    @dg.asset(
        **monitor.asset_args(kind),
        deps=before,
        description=DESCRIPTIONS[kind],
        metadata={
            "dagster/column_schema": column_schema(lake_schema(monitor.spec, kind)),
            "lake": f"data/{monitor.id}/lake/{kind}",
        },
        freshness_policy=freshness.policy(monitor.current_spec, kind),
    )
    def landed(context: dg.AssetExecutionContext) -> None:
        keys = partitions.windows_of(context)
        labels = monitor.current_spec.labels
        found = fetch_all(monitor.spec, monitor.paths, kind, monitor.home)
        if found is not None and found.problem:
            context.log.error(f"{found.problem}")
        report = intake(
            monitor.spec,
            monitor.paths,
            kind,
            monitor.home,
            now=utc_now(),
            windows=keys,
            give_up_after=labels.give_up_after if labels else None,
        )
        with open_progress(monitor.paths.ledger) as progress:
            rows = progress.rows(kind, keys)
        silent_windows.report(context, monitor, flow, [monitor.key(kind)], list(keys))
        for key in keys:
            facts = {"dagster/partition_row_count": rows.get(key, 0), "new rows": report.windows.get(key, 0)}
            context.add_asset_metadata(facts, partition_key=key)
        context.add_asset_metadata({"intake of this run": _report(report, kind)}, partition_key=max(keys))
        for path, reason, message in report.refused:
            context.log.warning(f"refused as a whole: {path} ({reason}: {message})")
        if report.unfinished:
            context.log.warning(told(report.unfinished))
        if report.rejected or report.value_issues:
            context.log.warning(
                f"{count(report.rejected, 'rows')} refused, {count(report.value_issues, 'values')} set to null: see "
                f"data/{monitor.id}/quarantine"
            )

    return landed


def _report(report: IntakeReport, kind: str) -> dg.MarkdownMetadataValue:
    counts = [
        ("batches", len(report.batches)),
        ("rows accepted", report.accepted),
        ("duplicates", report.duplicates),
        ("rows refused", report.rejected),
        ("values set to null", report.value_issues),
        (f"{'labels' if kind == 'labels' else 'halves and withdrawals'} without a prediction yet", report.unmatched),
        ("labels that wait for their prediction, of all intakes", report.waiting),
        ("files refused", len(report.refused)),
        ("files still being written", len(report.unfinished)),
        *((f"quarantined: {reason}", n) for reason, n in sorted(report.quarantined_by_reason.items())),
    ]
    return markdown_table(
        ("what", "rows"), [(what, n) for what, n in counts if n or what in ("batches", "rows accepted")]
    )
