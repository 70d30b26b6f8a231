"""`alerts`: evidence per stream and the incidents under the alert budget."""

import dagster as dg
import polars as pl

from metrics_py.alerting import Replay
from metrics_py.wording import day, number
from orchestration import partitions, silent_windows, upstream
from orchestration.metadata import markdown_table, sparkline
from orchestration.monitor import Monitor
from orchestration.resources import IS_QUIET
from sightline.alerts import causes, decisions, life
from sightline.alerts.delivery.sending import tell
from sightline.lake.store.progress import open_progress
from sightline.spec import plan
from sightline.spec.flows import FLOWS, IMMEDIATE, flows_of

SHOWN_STREAMS = 10
SHOWN_INCIDENTS = 20
SHOWN_CAUSES = 3


def build(monitor: Monitor) -> dg.AssetsDefinition:
    """The asset ``alerts``: one decision over all streams of the monitor."""
    about = f"**{monitor.spec.model.description}** " if monitor.spec.model.description else ""
    judged = [name for flow in flows_of(monitor.spec) for name in FLOWS[flow].judges]

    @dg.asset(
        **monitor.asset_args("alerts"),
        deps=[monitor.key(name) for name in judged],
        description=(
            f"{about}Evidence per stream, and the incidents it adds up to. The promise: {plan.promise(monitor.spec)}."
        ),
        metadata={
            "budget": str(monitor.spec.alerts.budget),
            "to be told": ", ".join(monitor.spec.alerts.notify) or "nobody",
        },
    )
    def alerts(context: dg.AssetExecutionContext) -> None:
        keys = partitions.windows_of(context)
        silent_windows.report(context, monitor, IMMEDIATE.name, [monitor.key("alerts")], list(keys))
        found = decisions.run(monitor.spec, monitor.paths)
        with open_progress(monitor.paths.ledger) as progress:
            progress.write_alerted(context.run.run_id)
        upstream.observe(context.instance, monitor)
        found_causes = causes.publish(monitor.spec, monitor.paths)
        describe(context, monitor, found, list(keys))
        context.add_asset_metadata(
            {"likely causes": cause_table(found.incidents, found_causes)}, partition_key=max(keys)
        )
        for action in found.unapplied_actions:
            context.log.warning(f"{action['action']} of the incident {action['incident']!r}: there is no such incident")
        if not IS_QUIET.get():  # a backfill tells at its end, so that what came and went within it is one line
            for line in filter(None, tell(monitor.home, monitor.spec, monitor.paths).split("\n")):
                context.log.warning(line)

    return alerts


def describe(context: dg.AssetExecutionContext, monitor: Monitor, found: Replay, keys: list[str]) -> None:
    """Numbers by partition to plot; the latest streams and incidents as tables."""
    spec = monitor.spec
    threshold = decisions.config(spec).threshold_windows * decisions.config(spec).days_per_window
    by_window = found.streams.group_by("window_start").agg(
        top=pl.col("adjusted_evidence_days").max(), in_incident=pl.col("in_incident").sum(), n=pl.len()
    )
    facts = {row["window_start"]: row for row in by_window.iter_rows(named=True)}
    opened = dict(found.incidents.group_by("opened_at").len().iter_rows())
    for key in keys:
        start = spec.window_start(key).replace(tzinfo=None)
        row = facts.get(start, {"top": None, "in_incident": 0, "n": 0})
        metadata = {
            "streams": row["n"],
            "streams in an incident": row["in_incident"],
            "incidents opened": opened.get(start, 0),
            "share of the budget's threshold": min(1e6, (row["top"] or 0.0) / threshold),
        }
        context.add_asset_metadata(metadata, partition_key=key)
    tables = {"incidents": incident_table(found.incidents), "streams now": stream_table(found.streams)}
    context.add_asset_metadata(tables, partition_key=max(keys))


def incident_table(incidents: pl.DataFrame) -> dg.MarkdownMetadataValue:
    """The latest incidents, newest first."""
    rows = [
        (
            r["incident_id"],
            life.life_of(r, ())["state"],
            day(r["change_point"]),
            day(r["opened_at"]),
            day(r["closed_at"]),
            r["main_stream"],
            r["n_streams"],
        )
        for r in incidents.sort("opened_at", descending=True).head(SHOWN_INCIDENTS).iter_rows(named=True)
    ]
    return markdown_table(("incident", "status", "began", "opened", "closed", "strongest stream", "streams"), rows)


def cause_table(incidents: pl.DataFrame, found: pl.DataFrame) -> dg.MarkdownMetadataValue:
    """Likely causes of the latest incidents, the likeliest first."""
    latest = incidents.sort("opened_at", descending=True).head(SHOWN_INCIDENTS).select("incident_id", "opened_at")
    rows = latest.join(found.filter(pl.col("rank") <= SHOWN_CAUSES), on="incident_id").sort(
        ["opened_at", "incident_id", "rank"], descending=[True, False, False]
    )
    told = [(r["incident_id"], r["rank"], r["words"], r["evidence"]) for r in rows.iter_rows(named=True)]
    return markdown_table(("incident", "rank", "likely cause", "how that is known"), told)


def stream_table(streams: pl.DataFrame) -> dg.MarkdownMetadataValue:
    """The streams with the most evidence at the latest window, with their recent course."""
    if streams.is_empty():
        return markdown_table(("stream", "evidence"), [])
    latest = streams.sort("window_start").group_by("stream", maintain_order=True).agg(pl.all().tail(30))
    latest = latest.with_columns(now=pl.col("adjusted_evidence_days").list.last(), state=pl.col("status").list.last())
    rows = [
        (r["stream"], r["state"], f"once in {number(r['now'], 2)} days" if r["now"] else "–", sparkline(r["value"]))
        for r in latest.sort("now", descending=True, nulls_last=True).head(SHOWN_STREAMS).iter_rows(named=True)
    ]
    return markdown_table(("stream", "state", "appears by chance at most", "last 30 windows"), rows)
